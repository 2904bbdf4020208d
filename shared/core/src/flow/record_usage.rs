//! Record what a run's LLM calls used, and end a run that has spent more than it may.
//!
//! **Invariants:** a call counts once, also one that was governed and is reported as well; what takes a run above its cap is counted
//! in the transaction that stops the run.
//!
//! Decision (2026-11-22): the runner hands over the usage in a result before it records the result. If that fails
//! for good the node fails: what cannot be counted must not go on being spent.

use crate::budget::NanoUsd;
use crate::call_id::CallId;
use crate::caller::Caller;
use crate::change::standing;
use crate::flow::cancel_run::stop;
use crate::flow::count_report::{Counted, count_report, finish_report, report_at_once};
use crate::flow::used::used;
use crate::flow::{Answer, Refusal, TRIES, keeps_changing, unknown};
use crate::governor::access::Grant;
use crate::governor::ledger::Ledger;
use crate::governor::ledger::change::ReportTotal;
use crate::id::{NodeId, RunId, TenantId};
use crate::lifecycle::StopIntent;
use crate::limits;
use crate::place::{self, Field};
use crate::ports::{Loaded, Part, RecordUsage, ReportBegun, ReportReceipt, RunRef, StopExecution};
use crate::refusal::{ConflictCode, Thing};
use crate::run::{Run, RunState};
use crate::spending::Used;
use crate::together::both;
use crate::usage::{LlmCall, RecordedCall, UsageSums};
use crate::violation::{Invalid, ViolationCode};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// What became of reported calls.
#[derive(Clone, Debug, PartialEq)]
pub struct UsageRecorded {
    pub run: Run,
    /// Of the run, with these calls; what others report at the same moment may be missing.
    pub usage: UsageSums,
    pub recorded: u32,
    /// Calls that had been reported before: they count as they did then.
    pub repeated: u32,
    /// Whether these calls took the total above what the run may spend, so that it is stopped.
    pub stopped: bool,
}

/// Records the calls that a caller calls.
///
/// # Errors
/// `NotFound`; `Invalid` for calls or nodes that cannot be; `Conflict` for a run that has not begun.
pub async fn record_usage<S: RecordUsage, E: StopExecution>(
    store: &S,
    engine: &E,
    caller: &Caller,
    run_id: RunId,
    calls: Vec<LlmCall>,
    now: Timestamp,
) -> Answer<UsageRecorded> {
    record_calls(store, engine, &caller.tenant, run_id, calls, now).await
}

/// Records the calls that the runner found in a node's result. `None` for a run that is gone.
///
/// # Errors
/// As [`record_usage`].
pub async fn record_result_usage<S: RecordUsage, E: StopExecution>(
    store: &S,
    engine: &E,
    tenant: &TenantId,
    run_id: RunId,
    calls: Vec<LlmCall>,
    now: Timestamp,
) -> Answer<Option<UsageRecorded>> {
    match record_calls(store, engine, tenant, run_id, calls, now).await {
        Ok(recorded) => Ok(Some(recorded)),
        Err(Refusal::NotFound { what: Thing::WorkflowRun, .. }) => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

pub(super) async fn record_calls<S: RecordUsage, E: StopExecution>(
    store: &S,
    engine: &E,
    tenant: &TenantId,
    run_id: RunId,
    calls: Vec<LlmCall>,
    now: Timestamp,
) -> Answer<UsageRecorded> {
    // Where one request names a call twice, the first of the two counts.
    let call_ids: BTreeSet<String> = calls.iter().map(|call| call.call_id.clone()).collect();
    let node_ids: BTreeSet<NodeId> = calls.iter().filter_map(|call| call.node_id.clone()).collect();
    let governed_ids: BTreeSet<CallId> = call_ids.iter().filter_map(|id| id.parse().ok()).collect();
    let reference = RunRef { tenant_id: tenant.clone(), run_id };
    let given = calls.len() as u32;
    let (mut is_checked, mut is_crowded) = (false, false);
    for _ in 0..TRIES {
        let loaded = store.load_with(tenant, run_id, &[Part::Ledger, Part::Earlier]);
        let of_calls =
            both(store.known_calls(tenant, run_id, &call_ids, &node_ids), store.recorded_calls(tenant, run_id));
        let (loaded, (known, recorded_calls)) = if governed_ids.is_empty() {
            both(loaded, of_calls).await
        } else {
            // A governed call has a hold until it has a record: whoever looks for the hold first misses neither.
            (loaded.await, of_calls.await)
        };
        let loaded = loaded.map_err(Refusal::Store)?.filter(|loaded| loaded.run.is_visible(now));
        let Loaded { mut run, ledger, earlier, .. } = loaded.ok_or_else(|| unknown(run_id))?;
        let (known, begun) = known.map_err(Refusal::Store)?;
        let mut recorded_calls = recorded_calls.map_err(Refusal::Store)?;
        if !is_checked {
            check(store, &run, &calls, &begun).await?;
            is_checked = true;
        }
        let ledger = ledger.filter(|ledger| ledger.took_over || earlier.is_none());
        let Some(ledger) = ledger else {
            store.take_over(&reference, &opening(&run), earlier.unwrap_or_default()).await.map_err(Refusal::Store)?;
            continue;
        };
        // What broke off after its calls were recorded is counted by whoever finds them.
        let mut counted = None;
        for report_id in known.values().flatten().copied().collect::<BTreeSet<_>>() {
            if ledger.reports.contains_key(&report_id) {
                let finished = finish_report(store, engine, &reference, &ledger, report_id, now).await;
                let finished = finished.map_err(Refusal::Store)?;
                run = finished.stopped.unwrap_or(run);
                counted = finished.ledger.or(counted);
            }
        }
        let mut seen: BTreeSet<String> = known.into_keys().collect();
        let held = ledger.holds.keys().filter(|call_id| governed_ids.contains(*call_id));
        seen.extend(held.map(CallId::to_string));
        let fresh: Vec<LlmCall> = calls.iter().filter(|call| seen.insert(call.call_id.clone())).cloned().collect();
        let recorded = fresh.len() as u32;
        let repeated = given - recorded;
        if fresh.is_empty() {
            // The stop that earlier calls led to may not have reached the engine.
            stop_if_asked(engine, &run).await;
            let used = Used::new(earlier, Some(counted.unwrap_or(ledger)), &recorded_calls);
            return Ok(UsageRecorded { run, usage: used.usage, recorded, repeated, stopped: false });
        }
        let cost = NanoUsd(fresh.iter().fold(0, |sum: u64, call| sum.saturating_add(call.cost_nano_usd.0)));
        let total = ReportTotal { cost, calls: fresh.len() as u64, cap: ledger.cap };
        // Where reports are under way already, others would be in the way of a transaction.
        if !is_crowded && ledger.reports.is_empty() {
            let reported = report_at_once(store, engine, &run, &ledger, &fresh, total, now).await;
            let Some(reported) = reported.map_err(Refusal::Store)? else {
                is_crowded = true;
                continue;
            };
            recorded_calls.extend(fresh.into_iter().map(|call| RecordedCall { call, report: None }));
            let usage = Used::new(earlier, Some(ledger), &recorded_calls).usage;
            let is_stopped = reported.stopped.is_some();
            let run = reported.stopped.unwrap_or(run);
            return Ok(UsageRecorded { run, usage, recorded, repeated, stopped: is_stopped });
        }
        let begun = match store.begin_report(&reference, cost, now).await {
            // Nothing was written.
            Err(error) if error.is_conflict() => continue,
            begun => begun.map_err(Refusal::Store)?.ok_or_else(|| unknown(run_id))?,
        };
        let ReportBegun { report_id, ledger: held_on } = begun;
        if !store.record_calls(&reference, report_id, &fresh, now).await.map_err(Refusal::Store)? {
            // Somebody else was first with one of them.
            let finished = finish_report(store, engine, &reference, &held_on, report_id, now).await;
            finished.map_err(Refusal::Store)?;
            continue;
        }
        let receipt = ReportReceipt { calls: total.calls, cost };
        let counted = count_report(store, engine, &reference, &held_on, report_id, receipt, now).await;
        let Counted { ledger: after, stopped } = counted.map_err(Refusal::Store)?;
        let is_stopped = stopped.is_some();
        let run = stopped.unwrap_or(run);
        let used = used(store, tenant, run_id, earlier, after.or(Some(held_on))).await.map_err(Refusal::Store)?;
        return Ok(UsageRecorded { run, usage: used.usage, recorded, repeated, stopped: is_stopped });
    }
    Err(keeps_changing())
}

/// The ledger of a run that was recorded before there were any: nobody may call by it.
fn opening(run: &Run) -> Ledger {
    let cap = run.spec.spending_cap().map(NanoUsd::from);
    let ledger = Ledger::new(Grant::new(0), BTreeMap::new(), cap);
    standing(run).map_or_else(|| ledger.clone(), |standing| ledger.close(standing, run.updated_at))
}

async fn stop_if_asked<E: StopExecution>(engine: &E, run: &Run) {
    if let RunState::Stopping { intent: StopIntent::BudgetExceeded, .. } = run.state {
        stop(engine, run).await;
    }
}

/// Refuses calls that cannot be. `begun` are those of their nodes that the run has begun; only where there are others does
/// anybody have to look which nodes it has.
async fn check<S: RecordUsage>(store: &S, run: &Run, calls: &[LlmCall], begun: &BTreeSet<NodeId>) -> Answer<()> {
    if run.state.started_at().is_none() {
        let message = format_args!("run {} has not begun: it can have used nothing", run.run_id);
        return Err(Refusal::conflict(ConflictCode::WrongStatus, message));
    }
    let mut invalid = Invalid::default();
    check_each(calls, &mut invalid);
    let is_begun = |call: &LlmCall| call.node_id.as_ref().is_none_or(|node| begun.contains(node));
    if !calls.iter().all(is_begun) {
        let snapshot = store.load_snapshot(&run.tenant_id, run.run_id).await.map_err(Refusal::Store)?;
        let nodes: BTreeSet<_> =
            snapshot.iter().flat_map(|snapshot| &snapshot.nodes).map(|node| &node.node_id).collect();
        let at = Field::Usage.at();
        for (index, call) in calls.iter().enumerate() {
            let node = call.node_id.as_ref().filter(|node| !begun.contains(*node) && !nodes.contains(node));
            if let Some(node) = node {
                let message = format_args!("the run has no node {node}");
                invalid.add(at.index(index).part(place::Part::NodeId), ViolationCode::UnknownNode, message);
            }
        }
    }
    invalid.into_result().map_err(Refusal::Invalid)
}

/// Reports what is wrong with the calls, whatever run they are of.
fn check_each(calls: &[LlmCall], invalid: &mut Invalid) {
    let at = Field::Usage.at();
    let message = format_args!("must be 1 to {} reports", limits::USAGE_CALLS);
    if calls.is_empty() {
        invalid.add(at, ViolationCode::OutOfRange, message);
    } else if calls.len() > limits::USAGE_CALLS {
        invalid.add(at, ViolationCode::TooMany, message);
    }
    for (index, call) in calls.iter().enumerate() {
        call.check(&at.index(index), invalid);
    }
}
