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
use crate::invalid::Invalid;
use crate::lifecycle::{RunEvent, StopIntent};
use crate::limits;
use crate::ports::{RecordUsage, StopExecution};
use crate::run::{Run, RunState};
use crate::usage::{UsageLedger, UsageReport};
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

/// Records the calls that a caller reports.
///
/// # Errors
/// `NotFound`; `Invalid` for calls or nodes that cannot be; `Conflict` for a run that has not begun.
pub async fn report_usage<S: RecordUsage, E: StopExecution>(
    store: &S,
    engine: &E,
    caller: &Caller,
    run_id: RunId,
    reports: Vec<UsageReport>,
    now: Timestamp,
) -> Answer<UsageRecorded> {
    let run = find_run(store, caller, run_id, now).await?;
    record_usage(store, engine, run, reports, now).await
}

/// Records the calls that the runner found in a node's result. `None` for a run that is gone.
///
/// # Errors
/// As [`report_usage`].
pub async fn report_result_usage<S: RecordUsage, E: StopExecution>(
    store: &S,
    engine: &E,
    tenant: &TenantId,
    run_id: RunId,
    reports: Vec<UsageReport>,
    now: Timestamp,
) -> Answer<Option<UsageRecorded>> {
    match store.load_run(tenant, run_id).await.map_err(Refusal::Store)? {
        Some(run) => record_usage(store, engine, run, reports, now).await.map(Some),
        None => Ok(None),
    }
}

pub(super) async fn record_usage<S: RecordUsage, E: StopExecution>(
    store: &S,
    engine: &E,
    mut run: Run,
    reports: Vec<UsageReport>,
    now: Timestamp,
) -> Answer<UsageRecorded> {
    if run.state.started_at().is_none() {
        let message = format!("run {} has not begun: it can have used nothing", run.run_id);
        return Err(Refusal::Conflict { code: "wrong_status", message });
    }
    check(store, &run, &reports).await?;
    let (tenant, run_id) = (run.tenant_id.clone(), run.run_id);
    // Of two reports of one call in one request, the first counts too.
    let mut seen = BTreeSet::new();
    let given = reports.len();
    let reports: Vec<UsageReport> = reports.into_iter().filter(|report| seen.insert(report.call_id.clone())).collect();
    let call_ids: Vec<String> = seen.into_iter().collect();
    for _ in 0..TRIES {
        let ledger = store.load_usage(&tenant, run_id).await.map_err(Refusal::Store)?;
        let known = store.known_calls(&tenant, run_id, &call_ids).await.map_err(Refusal::Store)?;
        let fresh: Vec<UsageReport> =
            reports.iter().filter(|report| !known.contains(&report.call_id)).cloned().collect();
        let recorded = fresh.len() as u32;
        let repeated = given as u32 - recorded;
        let counted = move |ledger, run, stopped| UsageRecorded { run, ledger, recorded, repeated, stopped };
        if fresh.is_empty() {
            // The stop that an earlier report asked for may not have been heard.
            stop_if_asked(engine, &run).await;
            return Ok(counted(ledger, run, false));
        }
        let too_many = |message| Refusal::Invalid(Invalid::one("/usage", "too_many", message));
        let next = ledger.with(&fresh).map_err(too_many)?;
        let asked = RunEvent::StopAsked(StopIntent::BudgetExceeded);
        let stopped = run.after(asked, now).filter(|_| next.exceeds(run.spec.spending_cap()));
        let stop = stopped.map(|after| RunChange::new(&run, after));
        let change = UsageChange { tenant_id: tenant.clone(), run_id, reports: fresh, ledger: next, stop };
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

async fn check<S: RecordUsage>(store: &S, run: &Run, reports: &[UsageReport]) -> Answer<()> {
    let mut invalid = Invalid::default();
    if reports.is_empty() || reports.len() > limits::USAGE_REPORTS {
        invalid.add("/usage", "too_many", format!("must be 1 to {} reports", limits::USAGE_REPORTS));
    }
    for (index, report) in reports.iter().enumerate() {
        report.check(&format!("/usage/{index}"), &mut invalid);
    }
    if reports.iter().any(|report| report.node_id.is_some()) {
        let snapshot = store.load_snapshot(&run.tenant_id, run.run_id).await.map_err(Refusal::Store)?;
        let nodes: BTreeSet<_> =
            snapshot.iter().flat_map(|snapshot| &snapshot.nodes).map(|node| &node.node_id).collect();
        for (index, report) in reports.iter().enumerate() {
            if let Some(node) = report.node_id.as_ref().filter(|node| !nodes.contains(node)) {
                invalid.add(format!("/usage/{index}/nodeId"), "unknown_node", format!("the run has no node {node}"));
            }
        }
    }
    invalid.into_result().map_err(Refusal::Invalid)
}
