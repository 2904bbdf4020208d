//! Read a run, its steps and its deliveries.

use crate::caller::Caller;
use crate::flow::{Answer, Refusal};
use crate::id::{NodeId, RunId};
use crate::ports::{Clock, ReadRuns, StoreError, StoreErrorClass};
use crate::run::Run;
use crate::snapshot::Snapshot;
use crate::step::{Step, StepStatus};
use jiff::SignedDuration;
use std::collections::BTreeMap;
use std::time::Duration;

/// Between two looks of a waiting read.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The run, and its output once it has one. Waits up to `wait_seconds` for the run to end.
///
/// # Errors
/// [`Refusal::NotFound`] for an unknown run, [`Refusal::Store`] when the store fails.
pub async fn get_run<S: ReadRuns, C: Clock>(
    store: &S,
    clock: &C,
    caller: &Caller,
    run_id: RunId,
    wait_seconds: u32,
) -> Answer<(Run, Option<String>)> {
    let until = clock.now() + SignedDuration::from_secs(i64::from(wait_seconds));
    loop {
        let run = find_run(store, caller, run_id).await?;
        if run.status.is_terminal() {
            let output = store.load_output(&caller.tenant, run_id).await.map_err(Refusal::Store)?;
            return Ok((run, output));
        }
        let left = Duration::try_from(until.duration_since(clock.now())).unwrap_or_default();
        if left.is_zero() {
            return Ok((run, None));
        }
        clock.sleep(left.min(LOOK_EVERY)).await;
    }
}

/// Every node of the run in the order of its stages: begun ones as recorded, the others `PENDING` (or `CANCELED` once
/// the run has ended without them).
///
/// # Errors
/// As [`get_run`].
pub async fn list_steps<S: ReadRuns>(store: &S, caller: &Caller, run_id: RunId) -> Answer<Vec<Step>> {
    let run = find_run(store, caller, run_id).await?;
    let recorded = store.list_steps(&caller.tenant, run_id).await.map_err(Refusal::Store)?;
    let snapshot = find_snapshot(store, caller, run_id).await?;
    let mut recorded: BTreeMap<NodeId, Step> = recorded.into_iter().map(|step| (step.node_id.clone(), step)).collect();
    let seen = snapshot.stages.iter().flatten().map(|node_id| match recorded.remove(node_id) {
        Some(step) => step.as_seen_in(&run),
        None => not_begun(&run, &snapshot, node_id),
    });
    Ok(seen.collect())
}

/// One step with its result.
///
/// # Errors
/// [`Refusal::NotFound`] for an unknown run, or a node that the run does not have.
pub async fn get_step<S: ReadRuns>(store: &S, caller: &Caller, run_id: RunId, node_id: &NodeId) -> Answer<Step> {
    let run = find_run(store, caller, run_id).await?;
    if let Some(step) = store.load_step(&caller.tenant, run_id, node_id).await.map_err(Refusal::Store)? {
        return Ok(step.as_seen_in(&run));
    }
    let snapshot = find_snapshot(store, caller, run_id).await?;
    if snapshot.nodes.iter().any(|node| node.node_id == *node_id) {
        Ok(not_begun(&run, &snapshot, node_id))
    } else {
        Err(Refusal::NotFound { what: "step", id: node_id.to_string() })
    }
}

/// The step of a node that has not begun, or that never will since its run has ended.
fn not_begun(run: &Run, snapshot: &Snapshot, node_id: &NodeId) -> Step {
    let node = snapshot.nodes.iter().find(|node| node.node_id == *node_id);
    let stage = snapshot.stages.iter().position(|stage| stage.contains(node_id)).unwrap_or_default();
    Step {
        run_id: run.run_id,
        node_id: node_id.clone(),
        node_type: node.map(|node| node.node_type.as_str().to_owned()).unwrap_or_default(),
        stage: stage as u32,
        status: if run.status.is_terminal() { StepStatus::Canceled } else { StepStatus::Pending },
        attempt: 0,
        started_at: None,
        ended_at: None,
        result: None,
        result_bytes: None,
        error: None,
    }
}

async fn find_snapshot<S: ReadRuns>(store: &S, caller: &Caller, run_id: RunId) -> Answer<Snapshot> {
    let snapshot = store.load_snapshot(&caller.tenant, run_id).await.map_err(Refusal::Store)?;
    snapshot.ok_or_else(|| {
        let missing = format!("run {run_id} has no snapshot");
        Refusal::Store(StoreError::new("load the snapshot", StoreErrorClass::Corrupt, missing))
    })
}

/// The run's head.
///
/// # Errors
/// As [`get_run`].
pub async fn find_run<S: ReadRuns>(store: &S, caller: &Caller, run_id: RunId) -> Answer<Run> {
    let run = store.load_run(&caller.tenant, run_id).await.map_err(Refusal::Store)?;
    run.ok_or_else(|| Refusal::NotFound { what: "workflow run", id: run_id.to_string() })
}
