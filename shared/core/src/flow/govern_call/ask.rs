//! Asks for one call, again and again while there is reason to.

use super::request::{Ports, Request, Ticket, Verdict};
use super::settle::settle_by;
use super::stop::exhausted;
use crate::budget::NanoUsd;
use crate::flow::TRIES;
use crate::governor::call::Call;
use crate::governor::ledger::Ledger;
use crate::governor::ledger::change::{Draw, DrawPart, Reserve};
use crate::governor::model::Tariff;
use crate::governor::quota::{Period, QuotaOwner};
use crate::governor::record::{AboutCall, CallRecord, Outcome};
use crate::governor::usage::TokenUsage;
use crate::governor::verdict::{Next, Obstacle, PATIENCE, Shortfall, Standpoint, next};
use crate::governor::worst_case::WorstCase;
use crate::ports::{
    ChangeRun, Clock, CountInput, Drawn, FindQuotas, GovernCalls, Reserved, StopExecution, StoreError, StoreErrorClass,
};
use crate::refusal::{Answer, Refusal};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The first pause, and the longest: each is half as long again as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// A call that is being asked for.
#[derive(Debug)]
pub struct Asking<'a, S, E, C, T> {
    ports: &'a Ports<'a, S, E, C, T>,
    request: &'a Request<'a>,
    /// The call, with its input counted once that was worth while.
    call: Call,
    has_counted: bool,
    /// The length to which its answer is lowered.
    limit: Option<u64>,
    /// Quotas that have nothing left for it.
    dry: BTreeSet<QuotaOwner>,
    /// When it waits no more.
    end: Timestamp,
    pause: Duration,
    /// How often it was asked for without a pause.
    tries: u32,
}

impl<'a, S, E, C, T> Asking<'a, S, E, C, T>
where
    S: GovernCalls + ChangeRun + FindQuotas,
    E: StopExecution,
    C: Clock,
    T: CountInput,
{
    pub fn new(ports: &'a Ports<'a, S, E, C, T>, request: &'a Request<'a>) -> Self {
        let patience = SignedDuration::try_from(PATIENCE).unwrap_or(SignedDuration::ZERO);
        let end = ports.clock.now().saturating_add(patience).unwrap_or(Timestamp::MAX);
        let (call, dry) = (request.call.clone(), BTreeSet::new());
        Self { ports, request, call, has_counted: false, limit: None, dry, end, pause: FIRST_PAUSE, tries: 0 }
    }

    /// What becomes of it.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn ask(mut self) -> Answer<Verdict> {
        loop {
            let now = self.ports.clock.now();
            // Prices may have changed while it waited.
            let (worst, tariff) = match WorstCase::of(&self.call, self.request.model, now) {
                Ok(worst) => worst,
                Err(reason) => return Ok(Verdict::NotCallable(reason)),
            };
            let tokens = self.limit.take().map_or(worst.output.most, |limit| limit.min(worst.output.most));
            let reserve = Reserve {
                call_id: self.request.call_id,
                pass: self.request.pass.clone(),
                amount: worst.cost(tokens),
                is_lowered: tokens < worst.output.most,
            };
            match hold(self.ports.store, self.request, &reserve, now).await {
                Ok(None) => {
                    let lowered_to = reserve.is_lowered.then_some(tokens);
                    return Ok(Verdict::Granted(Box::new(self.ticket(&reserve, lowered_to, tariff))));
                }
                Ok(Some(None)) => return Ok(Verdict::NotAdmitted),
                Ok(Some(Some(ledger))) => {
                    if let Some(verdict) = self.follow(&ledger, &reserve, &worst).await? {
                        return Ok(verdict);
                    }
                }
                Err(error) => self.try_again(error).await?,
            }
        }
    }

    fn ticket(&self, reserve: &Reserve, lowered_to: Option<u64>, tariff: Tariff) -> Ticket {
        let Request { run, pass, attempt, call_id, model, .. } = *self.request;
        let (node_id, model) = (pass.node_id.clone(), model.key.clone());
        let about = AboutCall { node_id, attempt, model, latency_ms: 0 };
        Ticket { run: run.clone(), call_id, hold: reserve.amount, lowered_to, tariff, about }
    }

    /// Does what is to be done about a denial. `None`: it is asked again.
    async fn follow(&mut self, ledger: &Ledger, reserve: &Reserve, worst: &WorstCase) -> Answer<Option<Verdict>> {
        let is_patient = self.ports.clock.now() < self.end;
        let next = next(ledger, reserve, Standpoint { worst, is_patient, dry: &self.dry });
        let is_short = match &next {
            Next::Lower(_) | Next::Exhausted { is_being_stopped: false } => true,
            Next::Wait(obstacle) | Next::Throttle(obstacle) => *obstacle != Obstacle::Crowd,
            Next::Refuse | Next::Again | Next::AgainAsAnother | Next::Draw(_) | Next::Exhausted { .. } => false,
        };
        if is_short && self.counts().await {
            return Ok(None);
        }
        match next {
            Next::Refuse => return Ok(Some(Verdict::NotAdmitted)),
            Next::AgainAsAnother => {
                let message = "the id of this call was used before";
                let error = StoreError::new("reserve for a call", StoreErrorClass::Conflict, message);
                return Err(Refusal::Store(error));
            }
            Next::Again => self.hurry("reserve for a call").await?,
            Next::Draw(short) => self.draw(&short).await?,
            Next::Lower(tokens) => {
                self.limit = Some(tokens);
                self.hurry("reserve for a lowered call").await?;
            }
            Next::Wait(_) => {
                // Others may give back meanwhile.
                self.dry.clear();
                self.tries = 0;
                self.rest().await;
            }
            Next::Throttle(obstacle) => {
                let retry_after_seconds = match obstacle {
                    Obstacle::Holds | Obstacle::Crowd => 5,
                    Obstacle::Quota => 60,
                };
                return Ok(Some(Verdict::Throttled { obstacle, retry_after_seconds }));
            }
            Next::Exhausted { is_being_stopped } => {
                exhausted(self.ports, self.request, is_being_stopped).await?;
                return Ok(Some(Verdict::Exhausted));
            }
        }
        Ok(None)
    }

    /// Whether the input is known better than before.
    async fn counts(&mut self) -> bool {
        if self.has_counted || !self.request.model.counts_tokens {
            return false;
        }
        self.has_counted = true;
        let context = self.request.model.context_tokens;
        let before = self.call.input.most_tokens(context);
        match self.ports.counter.count_input().await {
            Some(tokens) if tokens < before => {
                self.call.input.counted = Some(tokens);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Draws what is short, or finds out that there is not so much.
    async fn draw(&mut self, short: &BTreeMap<QuotaOwner, Shortfall>) -> Answer<()> {
        self.hurry("draw on a quota").await?;
        let owners = short.keys().cloned().collect();
        let rules = match self.ports.store.find_quotas(&owners).await {
            Ok(rules) => rules,
            Err(error) => return self.try_again(error).await,
        };
        let now = self.ports.clock.now();
        let mut parts: BTreeMap<QuotaOwner, DrawPart> = BTreeMap::new();
        for (owner, shortfall) in short {
            // Where there is no quota any more, nothing bounds what is drawn on it.
            let rule = rules.iter().find(|rule| rule.owner == *owner);
            let (period, most) = rule.map_or((Period::Day, NanoUsd(u64::MAX)), |rule| (rule.period, rule.most));
            let amount = rule.map_or(shortfall.wanted, |rule| rule.tranche(shortfall.wanted, shortfall.of_use));
            parts.insert(owner.clone(), DrawPart { period: period.at(now), amount, most });
        }
        for _ in 0..TRIES {
            let draw = Draw { parts: parts.clone() };
            let left = match self.ports.store.draw(self.request.run, &draw).await {
                Ok(Drawn::Done | Drawn::Closed) => return Ok(()),
                Ok(Drawn::Short(left)) => left,
                Err(error) => return self.try_again(error).await,
            };
            for (owner, left) in left {
                let Some((part, shortfall)) = parts.get_mut(&owner).zip(short.get(&owner)) else { continue };
                part.amount = left;
                if left < shortfall.wanted {
                    self.dry.insert(owner);
                }
                if left < shortfall.least || left == NanoUsd(0) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Goes on at once, for some times; then after a pause, while there is time.
    async fn hurry(&mut self, operation: &'static str) -> Answer<()> {
        self.tries += 1;
        if self.tries <= TRIES {
            return Ok(());
        }
        if self.ports.clock.now() >= self.end {
            return Err(Refusal::Store(StoreError { operation, class: StoreErrorClass::Conflict, source: None }));
        }
        self.rest().await;
        Ok(())
    }

    /// Goes on after a fault in which nothing was written; gives up after any other.
    async fn try_again(&mut self, error: StoreError) -> Answer<()> {
        self.tries += 1;
        let is_harmless = matches!(error.class, StoreErrorClass::Conflict | StoreErrorClass::Throttled);
        if !is_harmless || self.tries > TRIES {
            return Err(Refusal::Store(error));
        }
        self.rest().await;
        Ok(())
    }

    async fn rest(&mut self) {
        let left = self.end.duration_since(self.ports.clock.now());
        let left = Duration::try_from(left).unwrap_or(FIRST_PAUSE);
        self.ports.clock.sleep(self.pause.min(left.max(Duration::from_millis(1)))).await;
        self.pause = (self.pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

/// Holds the worst case: `None` when it is held, otherwise the ledger that denies it, if there is one.
async fn hold<S: GovernCalls>(
    store: &S,
    request: &Request<'_>,
    reserve: &Reserve,
    now: Timestamp,
) -> Result<Option<Option<Box<Ledger>>>, StoreError> {
    match store.reserve(request.run, reserve).await {
        Ok(Reserved::Done) => Ok(None),
        Ok(Reserved::Denied(ledger)) => Ok(Some(ledger)),
        Err(error) => {
            // It may be written, or come to be written: whoever finds it has to find as well that the call was not made.
            if error.class == StoreErrorClass::Unavailable {
                let record = CallRecord {
                    call_id: reserve.call_id,
                    about: None,
                    outcome: Outcome::NotRun,
                    tokens: TokenUsage::default(),
                    held: reserve.amount,
                    cost: NanoUsd(0),
                    settled_at: now,
                };
                // What cannot be written now costs its hold when the lease is over.
                if let Ok(Some(standing)) = store.record_beside_ledger(request.run, &record).await {
                    let _lost = settle_by(store, request.run, &standing, now).await;
                }
            }
            Err(error)
        }
    }
}
