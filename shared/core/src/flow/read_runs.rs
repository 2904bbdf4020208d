//! Read a run, its steps and its deliveries.

use crate::caller::Caller;
use crate::flow::{Answer, Refusal};
use crate::id::{NodeId, RunId};
use crate::ports::{Clock, ReadRuns};
use crate::run::Run;
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
            let output = store
                .load_output(&caller.tenant, run_id)
                .await
                .map_err(Refusal::Store)?;
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
    let snapshot = store
        .load_snapshot(&caller.tenant, run_id)
        .await
        .map_err(Refusal::Store)?;
    let mut recorded: BTreeMap<NodeId, Step> = recorded.into_iter().map(|step| (step.node_id.clone(), step)).collect();
    let Some(snapshot) = snapshot else {
        return Ok(Vec::new());
    };
    let mut steps = Vec::with_capacity(snapshot.nodes.len());
    for (stage, node_ids) in snapshot.stages.iter().enumerate() {
        for node_id in node_ids {
            let step = recorded
                .remove(node_id)
                .map(|step| step.as_seen_in(&run))
                .unwrap_or_else(|| Step {
                    run_id,
                    node_id: node_id.clone(),
                    node_type: snapshot
                        .nodes
                        .iter()
                        .find(|node| node.node_id == *node_id)
                        .map(|node| node.node_type.as_str().to_owned())
                        .unwrap_or_default(),
                    stage: stage as u32,
                    status: if run.status.is_terminal() {
                        StepStatus::Canceled
                    } else {
                        StepStatus::Pending
                    },
                    attempt: 0,
                    started_at: None,
                    ended_at: None,
                    result: None,
                    error: None,
                });
            steps.push(step);
        }
    }
    Ok(steps)
}

/// One step with its result.
///
/// # Errors
/// [`Refusal::NotFound`] for an unknown run or a step that has not begun.
pub async fn get_step<S: ReadRuns>(store: &S, caller: &Caller, run_id: RunId, node_id: &NodeId) -> Answer<Step> {
    let run = find_run(store, caller, run_id).await?;
    let step = store
        .load_step(&caller.tenant, run_id, node_id)
        .await
        .map_err(Refusal::Store)?;
    let step = step.ok_or_else(|| Refusal::NotFound {
        what: "step",
        id: node_id.to_string(),
    })?;
    Ok(step.as_seen_in(&run))
}

/// The run's head.
///
/// # Errors
/// As [`get_run`].
pub async fn find_run<S: ReadRuns>(store: &S, caller: &Caller, run_id: RunId) -> Answer<Run> {
    let run = store.load_run(&caller.tenant, run_id).await.map_err(Refusal::Store)?;
    run.ok_or_else(|| Refusal::NotFound {
        what: "workflow run",
        id: run_id.to_string(),
    })
}
