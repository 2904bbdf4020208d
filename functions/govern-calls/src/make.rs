//! Makes a call that was granted, hands its answer on as it comes, and settles it.
//!
//! **Invariant:** from the moment in which a request may have been sent on, the call is settled whatever its caller does.

use crate::caller::Caller;
use crate::{App, Asked};
use bytes::Bytes;
use lambda_runtime::streaming::Sender;
use sluice_aws::bedrock::{Answer, NoAnswer, Sent, in_time, spawn};
use sluice_core::call_id::CallId;
use sluice_core::flow::govern_call::{Ticket, settle};
use sluice_core::governor::record::Outcome;
use sluice_core::governor::usage::CallEnd;
use sluice_core::ports::{ChangeRun, Clock, FindModel, GovernCalls, ReadLedgers, RecordReports, StopExecution};
use sluice_edge::bedrock::ask::sent_headers;
use sluice_edge::bedrock::event::Arrived;
use sluice_edge::bedrock::meter::Meter;
use sluice_edge::bedrock::operation::Target;
use sluice_edge::bedrock::refused::Refused;
use sluice_edge::bedrock::reply::{Reply, about, passed_on, streamed};
use sluice_edge::metrics::{self, GovernedCall};
use sluice_edge::telemetry;
use tracing::{Instrument, Span};

/// What is said within an answer that ends too early.
const BROKEN: &str = "the model's answer broke off: the call counts with all that was set aside for it";

impl<S, E, C> App<S, E, C>
where
    S: GovernCalls + ReadLedgers + FindModel + ChangeRun + RecordReports + Clone + 'static,
    E: StopExecution + Clone + 'static,
    C: Clock + Clone + 'static,
{
    /// Makes a call. Its answer goes by beside this: it begins with the first bytes, and is over when the call is settled.
    pub(crate) async fn make(
        &self,
        asked: Asked,
        ticket: Ticket,
        governed: GovernedCall,
        overhead_ms: u64,
    ) -> Result<Reply, Refused> {
        let Asked { call_id, target, ask, headers, family, call, .. } = asked;
        let (operation, is_stream) = (target.operation, ask.is_stream());
        let lowered_to = ticket.lowered_to;
        let settling = Settling {
            store: self.store.clone(),
            engine: self.engine.clone(),
            clock: self.clock.clone(),
            ticket,
            governed: GovernedCall { is_clamped: lowered_to.is_some(), overhead_ms, ..governed },
        };
        let Some((body, hides_usage)) = ask.sent(family, lowered_to) else {
            settling.settle(&CallEnd::NotRun).await;
            return Err(Refused::invalid("no limit can be written into this body"));
        };
        let sent = Sent { path: target.path().to_owned(), headers, body: body.into() };
        let answer = match self.bedrock.call(sent, self.clock.now()).await {
            Ok(answer) => answer,
            Err(fault) => {
                tracing::warn!(error.cause = telemetry::causes(&fault), "the model has not answered");
                let (end, refused) = match fault {
                    NoAnswer::NotSent(_) => (CallEnd::NotRun, Refused::unreachable()),
                    NoAnswer::Broken(_) => (CallEnd::Unknown, Refused::broken()),
                    NoAnswer::TooLate => (CallEnd::Unknown, Refused::too_late()),
                };
                settling.settle(&end).await;
                return Err(refused);
            }
        };
        let is_success = (200..300).contains(&answer.status);
        let mut meter = is_success.then(|| Meter::new(operation, family, &call, is_stream, hides_usage));
        if let Some(meter) = &mut meter {
            meter.head(&answer.headers);
        }
        let mut headers = passed_on(&answer.headers);
        about(&mut headers, call_id, lowered_to);
        let (sender, reply) = streamed(answer.status, headers);
        spawn(settling.follow(answer, meter, Taker { sender, takes: true }).instrument(Span::current()));
        Ok(reply)
    }

    /// Counts tokens: free, and passed on as it is; but only for those who may call, and of declared models.
    pub(crate) async fn count(
        &self,
        arrived: Arrived,
        caller: &Caller,
        target: Target,
        call_id: CallId,
    ) -> Result<Reply, Refused> {
        self.is_admitted(caller).await?;
        let body = Bytes::copy_from_slice(arrived.body()?);
        let headers = sent_headers(target.operation, &arrived.headers)?;
        let id = target.model_id(None).ok_or_else(Refused::unknown_model)?;
        self.model(&id, caller).await?;
        let sent = Sent { path: target.path().to_owned(), headers, body };
        let mut answer = self.bedrock.call(sent, self.clock.now()).await.map_err(|fault| {
            tracing::warn!(error.cause = telemetry::causes(&fault), "the count has no answer");
            Refused::unreachable()
        })?;
        let mut headers = passed_on(&answer.headers);
        about(&mut headers, call_id, None);
        let (mut sender, reply) = streamed(answer.status, headers);
        spawn(async move {
            while let Some(Ok(bytes)) = answer.next().await {
                if sender.send_data(bytes).await.is_err() {
                    break;
                }
            }
        });
        Ok(reply)
    }
}

/// What settles one call.
struct Settling<S, E, C> {
    store: S,
    engine: E,
    clock: C,
    ticket: Ticket,
    governed: GovernedCall,
}

impl<S: GovernCalls + ChangeRun, E: StopExecution, C: Clock> Settling<S, E, C> {
    /// Reads an answer to its end, hands it on while somebody takes it, and settles its call. A caller that hangs up changes
    /// nothing but that.
    async fn follow(self, mut answer: Answer, mut meter: Option<Meter>, mut taker: Taker) {
        let mut is_whole = true;
        while let Some(bytes) = answer.next().await {
            match bytes {
                Ok(bytes) => {
                    let on = match &mut meter {
                        Some(meter) => meter.push(bytes),
                        None => bytes,
                    };
                    taker.hand_on(on).await;
                }
                Err(fault) => {
                    tracing::warn!(error.cause = telemetry::causes(&fault), "the model's answer broke off");
                    is_whole = false;
                    break;
                }
            }
        }
        let end = match &mut meter {
            // Refused before the model ran, or failed in it.
            None => CallEnd::of_error(answer.status),
            Some(meter) if is_whole => {
                taker.hand_on(meter.end()).await;
                meter.call_end()
            }
            Some(meter) => {
                taker.hand_on(meter.broken(BROKEN)).await;
                // What came of it may have told the usage.
                meter.end();
                meter.call_end()
            }
        };
        self.settle(&end).await;
        // Only now is the answer over: with it Lambda may freeze this process, or end it.
        drop(taker);
    }

    async fn settle(&self, end: &CallEnd) {
        let Self { store, engine, clock, ticket, governed } = self;
        match settle(store, engine, ticket, end, clock.now()).await {
            Ok(record) => {
                let is_breach = record.cost > record.held;
                if is_breach {
                    tracing::error!(
                        model.key = %ticket.about.model,
                        call.cost_nano_usd = record.cost.0,
                        call.held_nano_usd = record.held.0,
                        "a call cost more than its worst case"
                    );
                }
                tracing::info!(call.outcome = ?record.outcome, call.cost_nano_usd = record.cost.0, "call settled");
                metrics::call_settled(&GovernedCall {
                    is_lost: record.outcome == Outcome::Lost,
                    is_breach,
                    ..*governed
                });
            }
            Err(error) => {
                tracing::error!(error.cause = telemetry::causes(&error), "a call is left to be settled by the sweep");
                metrics::call_settled(governed);
            }
        }
    }
}

/// Whoever takes the answer. **Invariant:** the answer is not over before this is dropped, also when nobody takes it any more.
struct Taker {
    sender: Sender,
    takes: bool,
}

impl Taker {
    /// Hands bytes on while they are taken.
    async fn hand_on(&mut self, bytes: Bytes) {
        if bytes.is_empty() || !self.takes {
            return;
        }
        self.takes = matches!(in_time(self.sender.send_data(bytes)).await, Some(Ok(())));
        if !self.takes {
            tracing::info!("the caller takes no more of the answer: it is read to its end all the same");
        }
    }
}
