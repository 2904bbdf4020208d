//! Settles a call that is over.

use super::request::Ticket;
use super::stop::stop_run;
use crate::budget::NanoUsd;
use crate::governor::ledger::Ledger;
use crate::governor::ledger::change::Settle;
use crate::governor::record::{AboutCall, CallRecord, Outcome};
use crate::governor::usage::{CallEnd, TokenUsage};
use crate::ports::{ChangeRun, GovernCalls, RunRef, StopExecution, StoreResult};
use crate::refusal::{Answer, Refusal};
use jiff::{SignedDuration, Timestamp};

/// Times that each of the two writes is tried: both may be repeated.
const TRIES: u32 = 3;

impl Ticket {
    /// What is to be kept of the call, which came to this end.
    pub fn record(&self, end: &CallEnd, now: Timestamp) -> CallRecord {
        let (outcome, tokens, cost) = match end {
            CallEnd::Used(usage) => (Outcome::Used, usage.tokens, self.tariff.cost(usage, now)),
            CallEnd::NotRun => (Outcome::NotRun, TokenUsage::default(), NanoUsd(0)),
            CallEnd::Unknown => (Outcome::Lost, TokenUsage::default(), self.hold),
        };
        let taken = now.duration_since(self.tariff.since).max(SignedDuration::ZERO);
        let latency_ms = u64::try_from(taken.as_millis()).unwrap_or_default();
        CallRecord {
            call_id: self.call_id,
            about: Some(AboutCall { latency_ms, ..self.about.clone() }),
            outcome,
            tokens,
            held: self.hold,
            cost,
            settled_at: now,
        }
    }
}

/// Puts the call's record, then removes its hold and adds what it cost; stops the run that this takes above its cap. Gives the
/// record that stands: another one, where the lease was over before. What is left undone by a crash or an error, the sweep does at
/// the end of the lease.
///
/// # Errors
/// [`Refusal::Store`].
pub async fn settle<S, E>(store: &S, engine: &E, ticket: &Ticket, end: &CallEnd, now: Timestamp) -> Answer<CallRecord>
where
    S: GovernCalls + ChangeRun,
    E: StopExecution,
{
    let record = ticket.record(end, now);
    let mut tries = 1;
    let standing = loop {
        match store.record_call(&ticket.run, &record).await {
            Err(_) if tries < TRIES => tries += 1,
            result => break result.map_err(Refusal::Store)?,
        }
    };
    let after = settle_by(store, &ticket.run, &standing, now).await.map_err(Refusal::Store)?;
    if after.is_some_and(|ledger| ledger.is_above()) && stop_run(store, engine, &ticket.run, now).await.is_err() {
        // The call is settled all the same. The next sweep stops the run.
        let _found_later = store.sweep_at(&ticket.run, now).await;
    }
    Ok(standing)
}

/// Settles by the record that stands. Gives the ledger after it, where it is known.
///
/// # Errors
/// When the store fails.
pub(crate) async fn settle_by<S: GovernCalls>(
    store: &S,
    run: &RunRef,
    standing: &CallRecord,
    now: Timestamp,
) -> StoreResult<Option<Ledger>> {
    let settle = Settle::from(standing);
    // Not by a closure: whoever spawns this needs it to be `Send`, which the compiler does not see of an asynchronous one.
    let mut tries = 1;
    let after = loop {
        match store.settle(run, &settle).await {
            Err(_) if tries < TRIES => tries += 1,
            result => break result?,
        }
    };
    // The last call of a run that is over leaves something for the sweep, and after a lost answer nobody knows what the ledger has
    // come to. The sweep finds both at the end of the lease in any case.
    let leaves_something = match &after {
        Some(ledger) => !ledger.balances().is_empty(),
        None => tries > 1,
    };
    if leaves_something {
        let _found_later = store.sweep_at(run, now).await;
    }
    Ok(after)
}
