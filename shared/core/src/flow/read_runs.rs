//! Read runs, and what belongs to a run.

use crate::caller::Caller;
use crate::flow::{Answer, Refusal, find_run};
use crate::id::{NodeId, RunId};
use crate::ports::{Clock, Page, ReadRuns, RunFilter, StoreError, StoreErrorClass};
use crate::refusal::Thing;
use crate::report::{Comment, NodeOutcome};
use crate::run::Run;
use crate::snapshot::Snapshot;
use crate::step::{Step, StepStatus};
use crate::usage::{LlmCall, UsageLedger};
use jiff::{SignedDuration, Timestamp};
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
        let run = find_run(store, caller, run_id, clock.now()).await?;
        if run.status().is_terminal() {
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
pub async fn list_steps<S: ReadRuns>(store: &S, caller: &Caller, run_id: RunId, now: Timestamp) -> Answer<Vec<Step>> {
    let run = find_run(store, caller, run_id, now).await?;
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
pub async fn get_step<S: ReadRuns>(
    store: &S,
    caller: &Caller,
    run_id: RunId,
    node_id: &NodeId,
    now: Timestamp,
) -> Answer<Step> {
    let run = find_run(store, caller, run_id, now).await?;
    if let Some(mut step) = store.load_step(&caller.tenant, run_id, node_id).await.map_err(Refusal::Store)? {
        // What was in the plan already is not written a second time.
        if step.status == StepStatus::Succeeded && step.result.is_none() {
            step.result = find_snapshot(store, caller, run_id).await?.value_of(node_id);
        }
        return Ok(step.as_seen_in(&run));
    }
    let snapshot = find_snapshot(store, caller, run_id).await?;
    if snapshot.nodes.iter().any(|node| node.node_id == *node_id) {
        Ok(not_begun(&run, &snapshot, node_id))
    } else {
        Err(Refusal::not_found(Thing::Step, node_id))
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
        status: if run.status().is_terminal() { StepStatus::Canceled } else { StepStatus::Pending },
        attempt: 0,
        started_at: None,
        ended_at: None,
        result: None,
        result_bytes: None,
        error: None,
        progress: None,
    }
}

async fn find_snapshot<S: ReadRuns>(store: &S, caller: &Caller, run_id: RunId) -> Answer<Snapshot> {
    let snapshot = store.load_snapshot(&caller.tenant, run_id).await.map_err(Refusal::Store)?;
    snapshot.ok_or_else(|| {
        let missing = format!("run {run_id} has no snapshot");
        Refusal::Store(StoreError::new("load the snapshot", StoreErrorClass::Corrupt, missing))
    })
}

/// A page of the tenant's runs. Those that are no longer kept are left out, so a page may be short.
///
/// # Errors
/// [`Refusal::Store`] when the store fails or the cursor belongs to another list.
pub async fn list_runs<S: ReadRuns>(
    store: &S,
    caller: &Caller,
    filter: &RunFilter,
    limit: u32,
    cursor: Option<&str>,
    now: Timestamp,
) -> Answer<Page<Run>> {
    let mut page = store.list_runs(&caller.tenant, filter, limit, cursor).await.map_err(Refusal::Store)?;
    page.items.retain(|run| run.is_visible(now));
    Ok(page)
}

/// What a run, or one of its nodes, was given at some time, and what came of it until it was given something again.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    pub given: Given,
    pub at: Timestamp,
    pub by: String,
    /// Steps that ended in this segment, in the order of their ends, without results.
    pub produced: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// The run's input, JSON text; `None` when it has none.
    Start(Option<String>),
    Answer(NodeId, NodeOutcome),
}

/// The sequence of a run's inputs, the first of which started it, each with what it led to.
///
/// # Errors
/// As [`get_run`].
pub async fn list_inputs<S: ReadRuns>(
    store: &S,
    caller: &Caller,
    run_id: RunId,
    now: Timestamp,
) -> Answer<Vec<Segment>> {
    let run = find_run(store, caller, run_id, now).await?;
    let snapshot = find_snapshot(store, caller, run_id).await?;
    let answers = store.list_inputs(&caller.tenant, run_id).await.map_err(Refusal::Store)?;
    let steps = store.list_steps(&caller.tenant, run_id).await.map_err(Refusal::Store)?;
    let mut segments = vec![Segment {
        given: Given::Start(snapshot.input.map(|input| input.get().to_owned())),
        at: run.spec.created_at,
        by: run.spec.created_by.clone(),
        produced: Vec::new(),
    }];
    segments.extend(answers.into_iter().map(|(node_id, answer)| Segment {
        given: Given::Answer(node_id, answer.outcome),
        at: answer.at,
        by: answer.by,
        produced: Vec::new(),
    }));
    let mut ended: Vec<Step> =
        steps.into_iter().map(|step| step.as_seen_in(&run)).filter(|step| step.ended_at.is_some()).collect();
    ended.sort_by_key(|step| step.ended_at);
    for step in ended {
        let segment = segments.iter().rposition(|segment| step.ended_at.is_some_and(|ended| ended >= segment.at));
        segments[segment.unwrap_or(0)].produced.push(step);
    }
    Ok(segments)
}

/// What a run has used, and a page of its calls.
///
/// # Errors
/// As [`list_runs`], and [`Refusal::NotFound`].
pub async fn get_usage<S: ReadRuns>(
    store: &S,
    caller: &Caller,
    run_id: RunId,
    limit: u32,
    cursor: Option<&str>,
    now: Timestamp,
) -> Answer<(UsageLedger, Page<LlmCall>)> {
    find_run(store, caller, run_id, now).await?;
    let ledger = store.load_usage(&caller.tenant, run_id).await.map_err(Refusal::Store)?;
    let calls = store.list_usage(&caller.tenant, run_id, limit, cursor).await.map_err(Refusal::Store)?;
    Ok((ledger, calls))
}

/// A page of the remarks on a run.
///
/// # Errors
/// As [`get_usage`].
pub async fn list_comments<S: ReadRuns>(
    store: &S,
    caller: &Caller,
    run_id: RunId,
    limit: u32,
    cursor: Option<&str>,
    now: Timestamp,
) -> Answer<Page<Comment>> {
    find_run(store, caller, run_id, now).await?;
    store.list_comments(&caller.tenant, run_id, limit, cursor).await.map_err(Refusal::Store)
}
