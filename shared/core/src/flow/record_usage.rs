//! Record what a run's LLM calls used, and end a run that has spent more than it may.
//!
//! **Invariants:** a call counts once, also one that was governed and is reported as well; the total of what is reported, and the
//! stop that follows from it and from what governed calls have spent, are one transaction.
//!
//! Decision (2026-11-22): the runner hands over the usage in a result before it records the result. If that fails
//! for good the node fails: what cannot be counted must not go on being spent.

use crate::caller::Caller;
use crate::change::{RunChange, UsageChange};
use crate::flow::cancel_run::stop;
use crate::flow::used::used;
use crate::flow::{Answer, Refusal, TRIES, keeps_changing, unknown};
use crate::governor::call_id::CallId;
use crate::id::{NodeId, RunId, TenantId};
use crate::lifecycle::{RunEvent, StopIntent};
use crate::limits;
use crate::place::{self, Field};
use crate::ports::{Loaded, Part, RecordUsage, StopExecution};
use crate::refusal::{ConflictCode, Thing};
use crate::run::{Run, RunState};
use crate::spending::Used;
use crate::together::both;
use crate::usage::{LlmCall, UsageLedger};
use crate::violation::{Invalid, ViolationCode};
use jiff::Timestamp;
use std::collections::BTreeSet;

/// What became of reported calls.
#[derive(Clone, Debug, PartialEq)]
pub struct UsageRecorded {
    pub run: Run,
    pub ledger: UsageLedger,
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
    let given = calls.len() as u32;
    let mut is_checked = false;
    for _ in 0..TRIES {
        let loaded = store.load_with(tenant, run_id, &[Part::Ledger, Part::Governed]);
        let known = store.known_calls(tenant, run_id, &call_ids, &node_ids);
        let (loaded, known) = if governed_ids.is_empty() {
            both(loaded, known).await
        } else {
            // A governed call has a hold until it has a record: whoever looks for the hold first misses neither.
            (loaded.await, known.await)
        };
        let loaded = loaded.map_err(Refusal::Store)?.filter(|loaded| loaded.run.is_visible(now));
        let Loaded { run, ledger, governed, .. } = loaded.ok_or_else(|| unknown(run_id))?;
        let (mut known, begun) = known.map_err(Refusal::Store)?;
        let held = governed.iter().flat_map(|governed| governed.holds.keys());
        known.extend(held.filter(|call_id| governed_ids.contains(*call_id)).map(CallId::to_string));
        if !is_checked {
            check(store, &run, &calls, &begun).await?;
            is_checked = true;
        }
        let fresh: Vec<LlmCall> = calls.iter().filter(|call| known.insert(call.call_id.clone())).cloned().collect();
        let recorded = fresh.len() as u32;
        let repeated = given - recorded;
        if fresh.is_empty() {
            // The stop that earlier calls led to may not have reached the engine.
            stop_if_asked(engine, &run).await;
            let used = used(store, tenant, run_id, ledger, governed).await.map_err(Refusal::Store)?;
            return Ok(UsageRecorded { run, ledger: used.usage, recorded, repeated, stopped: false });
        }
        let too_many = |message| Refusal::Invalid(Invalid::one(Field::Usage, ViolationCode::TooMany, message));
        let next = ledger.with(&fresh).map_err(too_many)?;
        let asked = RunEvent::StopAsked(StopIntent::BudgetExceeded);
        let spends = Used::new(next.clone(), governed.clone(), &[]);
        let stopped = run.after(asked, now).filter(|_| spends.exceeds(run.spec.spending_cap()));
        let stop = stopped.map(|after| RunChange::new(&run, after));
        let change = UsageChange { tenant_id: tenant.clone(), run_id, calls: fresh, ledger: next, stop };
        if store.record_usage(&change).await.map_err(Refusal::Store)? {
            let stopped = change.stop.is_some();
            let run = change.stop.map_or(run, |stop| stop.run);
            stop_if_asked(engine, &run).await;
            let used = used(store, tenant, run_id, change.ledger, governed).await.map_err(Refusal::Store)?;
            return Ok(UsageRecorded { run, ledger: used.usage, recorded, repeated, stopped });
        }
    }
    Err(keeps_changing())
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
