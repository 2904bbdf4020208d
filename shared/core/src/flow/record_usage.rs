//! Record what a run's LLM calls used, and end a run that has spent more than it may.
//!
//! **Invariants:** a call counts once; the total, and the stop that follows from it, are one transaction.
//!
//! Decision (2026-11-22): the runner hands over the usage in a result before it records the result. If that fails
//! for good the node fails: what cannot be counted must not go on being spent.

use crate::caller::Caller;
use crate::change::{RunChange, UsageChange};
use crate::flow::cancel_run::stop;
use crate::flow::{Answer, Refusal, TRIES, find_run, keeps_changing, unknown};
use crate::id::{RunId, TenantId};
use crate::lifecycle::{RunEvent, StopIntent};
use crate::limits;
use crate::place::{Field, Part};
use crate::ports::{RecordUsage, StopExecution};
use crate::refusal::ConflictCode;
use crate::run::{Run, RunState};
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
    let run = find_run(store, caller, run_id, now).await?;
    record_calls(store, engine, run, calls, now).await
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
    match store.load_run(tenant, run_id).await.map_err(Refusal::Store)? {
        Some(run) => record_calls(store, engine, run, calls, now).await.map(Some),
        None => Ok(None),
    }
}

pub(super) async fn record_calls<S: RecordUsage, E: StopExecution>(
    store: &S,
    engine: &E,
    mut run: Run,
    calls: Vec<LlmCall>,
    now: Timestamp,
) -> Answer<UsageRecorded> {
    if run.state.started_at().is_none() {
        let message = format_args!("run {} has not begun: it can have used nothing", run.run_id);
        return Err(Refusal::conflict(ConflictCode::WrongStatus, message));
    }
    check(store, &run, &calls).await?;
    let (tenant, run_id) = (run.tenant_id.clone(), run.run_id);
    // Where one request names a call twice, the first of the two counts.
    let mut seen = BTreeSet::new();
    let given = calls.len();
    let calls: Vec<LlmCall> = calls.into_iter().filter(|call| seen.insert(call.call_id.clone())).collect();
    let call_ids: Vec<String> = seen.into_iter().collect();
    for _ in 0..TRIES {
        let ledger = store.load_usage(&tenant, run_id).await.map_err(Refusal::Store)?;
        let known = store.known_calls(&tenant, run_id, &call_ids).await.map_err(Refusal::Store)?;
        let fresh: Vec<LlmCall> = calls.iter().filter(|call| !known.contains(&call.call_id)).cloned().collect();
        let recorded = fresh.len() as u32;
        let repeated = given as u32 - recorded;
        let counted = move |ledger, run, stopped| UsageRecorded { run, ledger, recorded, repeated, stopped };
        if fresh.is_empty() {
            // The stop that earlier calls led to may not have reached the engine.
            stop_if_asked(engine, &run).await;
            return Ok(counted(ledger, run, false));
        }
        let too_many = |message| Refusal::Invalid(Invalid::one(Field::Usage, ViolationCode::TooMany, message));
        let next = ledger.with(&fresh).map_err(too_many)?;
        let asked = RunEvent::StopAsked(StopIntent::BudgetExceeded);
        let stopped = run.after(asked, now).filter(|_| next.exceeds(run.spec.spending_cap()));
        let stop = stopped.map(|after| RunChange::new(&run, after));
        let change = UsageChange { tenant_id: tenant.clone(), run_id, calls: fresh, ledger: next, stop };
        if store.record_usage(&change).await.map_err(Refusal::Store)? {
            let stopped = change.stop.is_some();
            let run = change.stop.map_or(run, |stop| stop.run);
            stop_if_asked(engine, &run).await;
            return Ok(counted(change.ledger, run, stopped));
        }
        let current = store.load_run(&tenant, run_id).await.map_err(Refusal::Store)?;
        run = current.filter(|run| run.is_visible(now)).ok_or_else(|| unknown(run_id))?;
    }
    Err(keeps_changing())
}

async fn stop_if_asked<E: StopExecution>(engine: &E, run: &Run) {
    if let RunState::Stopping { intent: StopIntent::BudgetExceeded, .. } = run.state {
        stop(engine, run).await;
    }
}

async fn check<S: RecordUsage>(store: &S, run: &Run, calls: &[LlmCall]) -> Answer<()> {
    let mut invalid = Invalid::default();
    check_each(calls, &mut invalid);
    if calls.iter().any(|call| call.node_id.is_some()) {
        let snapshot = store.load_snapshot(&run.tenant_id, run.run_id).await.map_err(Refusal::Store)?;
        let nodes: BTreeSet<_> =
            snapshot.iter().flat_map(|snapshot| &snapshot.nodes).map(|node| &node.node_id).collect();
        let at = Field::Usage.at();
        for (index, call) in calls.iter().enumerate() {
            if let Some(node) = call.node_id.as_ref().filter(|node| !nodes.contains(node)) {
                let message = format_args!("the run has no node {node}");
                invalid.add(at.index(index).part(Part::NodeId), ViolationCode::UnknownNode, message);
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
