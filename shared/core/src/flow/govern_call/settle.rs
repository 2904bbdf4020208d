//! Settles a call that is over.

use super::request::Ticket;
use crate::budget::NanoUsd;
use crate::governor::ledger::change::Settle;
use crate::governor::record::{AboutCall, CallRecord, Outcome};
use crate::governor::usage::{CallEnd, TokenUsage};
use crate::ports::{GovernCalls, RunRef, StoreError};
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

/// Puts the call's record, then removes its hold and adds what it cost. Gives the record that stands: another one, where the
/// lease was over before. What is left undone by a crash or an error, the sweep does at the end of the lease.
///
/// # Errors
/// [`Refusal::Store`].
pub async fn settle<S: GovernCalls>(store: &S, ticket: &Ticket, end: &CallEnd, now: Timestamp) -> Answer<CallRecord> {
    let record = ticket.record(end, now);
    put(store, &ticket.run, &record).await.map_err(Refusal::Store)
}

/// Puts a record, and settles by the one that stands.
pub(crate) async fn put<S: GovernCalls>(
    store: &S,
    run: &RunRef,
    record: &CallRecord,
) -> Result<CallRecord, StoreError> {
    // Not by a closure: whoever spawns this needs it to be `Send`, which the compiler does not see of an asynchronous one.
    let mut tries = 1;
    let standing = loop {
        match store.record_call(run, record).await {
            Err(_) if tries < TRIES => tries += 1,
            result => break result?,
        }
    };
    let settle = Settle::from(&standing);
    let mut tries = 1;
    let after = loop {
        match store.settle(run, &settle).await {
            Err(_) if tries < TRIES => tries += 1,
            result => break result?,
        }
    };
    // The last call of a run that is over leaves something for the sweep, which finds it at the end of the lease in any case.
    if after.is_some_and(|ledger| !ledger.balances().is_empty()) {
        let _found_later = store.sweep_at(run, record.settled_at).await;
    }
    Ok(standing)
}
