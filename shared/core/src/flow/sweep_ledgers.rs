//! Look after ledgers: settle the holds of calls that nobody settled, and balance closed ledgers with their quotas.
//!
//! **Invariant:** at the end of its lease a hold is settled by the record of its call; where there is none, the call costs all that
//! was held, because nobody can tell that it was not made. A report that broke off is counted by its receipt; where there is none,
//! its calls were not recorded, and whoever made them reports them again.

use crate::flow::count_report::finish_report;
use crate::flow::govern_call::{settle_by, stop_run};
use crate::governor::record::{CallRecord, Outcome};
use crate::governor::usage::TokenUsage;
use crate::ports::{RunRef, StopExecution, StoreResult, SweepLedgers};
use jiff::Timestamp;

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgersSwept {
    /// Holds that cost all that was held.
    pub lost: u32,
    /// Holds that a record had something better of, and reports that were counted or given up.
    pub settled: u32,
    /// Runs that have spent more than their cap, and whose stop was asked for.
    pub stopped: u32,
    /// Quotas that were given back a rest, or charged a cost.
    pub balanced: u32,
    /// Ledgers of which something was left undone. The next sweep finds them again.
    pub failed: u32,
}

/// Looks after at most `limit` ledgers that are due.
///
/// # Errors
/// When the list of them cannot be read.
pub async fn sweep_ledgers<S: SweepLedgers, E: StopExecution>(
    store: &S,
    engine: &E,
    now: Timestamp,
    limit: u32,
) -> StoreResult<LedgersSwept> {
    let mut swept = LedgersSwept::default();
    for run in store.due_ledgers(now, limit).await? {
        if sweep_ledger(store, engine, &run, now, &mut swept).await.is_err() {
            swept.failed += 1;
        }
    }
    Ok(swept)
}

/// Looks after one ledger, and adds to `swept` what was done.
///
/// # Errors
/// When the store fails. What is left undone, the next sweep finds again.
pub async fn sweep_ledger<S: SweepLedgers, E: StopExecution>(
    store: &S,
    engine: &E,
    run: &RunRef,
    now: Timestamp,
    swept: &mut LedgersSwept,
) -> StoreResult<()> {
    let Some(ledger) = store.load_ledger(run).await? else { return Ok(()) };
    let overdue: Vec<_> = ledger.overdue(now).collect();
    for (call_id, hold) in overdue {
        let lost = CallRecord {
            call_id,
            about: None,
            outcome: Outcome::Lost,
            tokens: TokenUsage::default(),
            held: hold,
            cost: hold,
            settled_at: now,
        };
        // Another sweep may have settled it, and the run been purged, since the ledger was read.
        let Some(standing) = store.record_beside_ledger(run, &lost).await? else { return Ok(()) };
        settle_by(store, run, &standing, now).await?;
        match standing.outcome {
            Outcome::Lost => swept.lost += 1,
            Outcome::Used | Outcome::NotRun => swept.settled += 1,
        }
    }
    for (report_id, _) in ledger.overdue_reports(now) {
        let counted = finish_report(store, engine, run, &ledger, report_id, now).await?;
        swept.settled += 1;
        swept.stopped += u32::from(counted.stopped.is_some());
    }
    // Calls may have been settled, and others held, since it was read.
    let Some(ledger) = store.load_ledger(run).await? else { return Ok(()) };
    if ledger.is_above() {
        swept.stopped += u32::from(stop_run(store, engine, run, now).await?);
    }
    let mut is_done = true;
    for balance in ledger.balances() {
        let is_made = store.balance(run, &balance).await?;
        swept.balanced += u32::from(is_made);
        is_done &= is_made;
    }
    if is_done {
        // Where something has happened since, it stays due, and the next sweep looks after that.
        store.swept(run, &ledger).await?;
    }
    Ok(())
}
