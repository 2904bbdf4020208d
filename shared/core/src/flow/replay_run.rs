//! Replay a run: a new run from the old one's frozen snapshot, whole or from a node.

use crate::caller::Caller;
use crate::flow::create_run::{Accepted, check_name, record_and_start};
use crate::flow::{Answer, Refusal, read_runs};
use crate::id::{NodeId, RunId};
use crate::idempotency::{IdempotencyClaim, IdempotencyRecord};
use crate::invalid::Invalid;
use crate::limits;
use crate::ports::{AnnounceDue, ChangeRun, ReadRuns, RecordRun, StartExecution, StoreError, StoreErrorClass};
use crate::run::Run;
use crate::snapshot::{NodeRun, Snapshot, inline_result_bytes};
use crate::step::{Step, StepStatus};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What a caller asks for.
#[derive(Clone, Debug, Default)]
pub struct Command {
    /// Run this node and everything after it again; reuse the results of finished steps that do not depend on it.
    /// Absent: run everything again.
    pub from_node: Option<NodeId>,
    pub name: Option<String>,
    pub idempotency: Option<IdempotencyClaim>,
}

/// Replays a run.
///
/// # Errors
/// `NotFound`, `Invalid`; `Conflict` for a run that is still open, or that is itself too deep a replay.
pub async fn replay_run<S, E>(
    store: &S,
    engine: &E,
    caller: &Caller,
    original: RunId,
    command: Command,
    run_id: RunId,
    now: Timestamp,
) -> Answer<Accepted>
where
    S: ReadRuns + RecordRun + ChangeRun,
    E: StartExecution + AnnounceDue,
{
    let unknown = || Refusal::NotFound { what: "workflow run", id: original.to_string() };
    let old = store.load_run(&caller.tenant, original).await.map_err(Refusal::Store)?.ok_or_else(unknown)?;
    let snapshot = store.load_snapshot(&caller.tenant, original).await.map_err(Refusal::Store)?.ok_or_else(unknown)?;
    let mut steps = Vec::new();
    if command.from_node.is_some() {
        let inline = inline_result_bytes(snapshot.nodes.len()) as u64;
        for listed in store.list_steps(&caller.tenant, original).await.map_err(Refusal::Store)? {
            let listed = listed.as_seen_in(&old);
            if listed.status != StepStatus::Succeeded {
                continue;
            }
            // A large result is only referred to: no need to read it.
            let is_large = listed.result_bytes.is_some_and(|bytes| bytes > inline);
            steps.push(match is_large {
                true => listed,
                false => read_runs::get_step(store, caller, original, &listed.node_id).await?,
            });
        }
    }
    let keys = store.record_keys(&caller.tenant, run_id);
    let (run, snapshot) = plan(caller, &old, snapshot, steps, &command, run_id, now)?;
    let unprintable = |error: serde_json::Error| {
        Refusal::Store(StoreError::new("write the snapshot as JSON", StoreErrorClass::Corrupt, error))
    };
    let start_input = snapshot.execution_input(&keys).map_err(unprintable)?;
    let (snapshot_text, snapshot_hash) = snapshot.to_text().map_err(unprintable)?;
    if start_input.len() > limits::EXECUTION_INPUT_BYTES || snapshot_text.len() > limits::SNAPSHOT_BYTES {
        let message = "the reused results do not fit the execution's input: replay the whole run".to_owned();
        return Err(Refusal::Invalid(Invalid::one("/fromNodeId", "too_large", message)));
    }
    let run = Run { snapshot_hash, ..run };
    let idempotency = command.idempotency.map(|claim| {
        let record = IdempotencyRecord::first(&claim, &run, now);
        (claim, record)
    });
    record_and_start(store, engine, run, snapshot_text, idempotency, &start_input, now).await
}

/// The new run and its snapshot. Pure.
fn plan(
    caller: &Caller,
    old: &Run,
    snapshot: Snapshot,
    steps: Vec<Step>,
    command: &Command,
    run_id: RunId,
    now: Timestamp,
) -> Answer<(Run, Snapshot)> {
    if !old.status.is_terminal() {
        let message =
            format!("run {} is {}: only a run that has ended can be replayed", old.run_id, old.status.as_str());
        return Err(Refusal::Conflict { code: "run_open", message });
    }
    if old.replay_depth >= limits::REPLAY_DEPTH {
        let message = format!("run {} is a replay of a replay, {} deep already", old.run_id, old.replay_depth);
        return Err(Refusal::Conflict { code: "looping_risk", message });
    }
    let mut invalid = Invalid::default();
    check_name(command.name.as_deref(), &mut invalid);
    invalid.into_result().map_err(Refusal::Invalid)?;
    let mut snapshot = Snapshot { run_id, created_at: now, created_by: caller.principal.0.clone(), ..snapshot };
    if let Some(from) = &command.from_node {
        if !snapshot.nodes.iter().any(|node| node.node_id == *from) {
            let message = format!("the run has no node {from}");
            return Err(Refusal::Invalid(Invalid::one("/fromNodeId", "unknown_node", message)));
        }
        reuse_finished(&mut snapshot, old.run_id, from, steps);
    }
    let run = Run {
        run_id,
        name: command.name.clone().unwrap_or_else(|| old.name.clone()),
        created_by: caller.principal.0.clone(),
        replay_of: Some(old.run_id),
        replay_depth: old.replay_depth + 1,
        ..old.as_new(now)
    };
    Ok((run, snapshot))
}

/// Turns every finished node that does not depend on `from` into its result.
fn reuse_finished(snapshot: &mut Snapshot, original: RunId, from: &NodeId, steps: Vec<Step>) {
    let mut again = BTreeSet::from([from.clone()]);
    for stage in &snapshot.stages {
        for node_id in stage {
            let depends = snapshot.edges.iter().any(|edge| edge.to == *node_id && again.contains(&edge.from));
            if depends {
                again.insert(node_id.clone());
            }
        }
    }
    let inline = inline_result_bytes(snapshot.nodes.len());
    let mut finished: BTreeMap<NodeId, Step> = steps
        .into_iter()
        .filter(|step| step.status == StepStatus::Succeeded && !again.contains(&step.node_id))
        .map(|step| (step.node_id.clone(), step))
        .collect();
    for node in &mut snapshot.nodes {
        let Some(step) = finished.remove(&node.node_id) else { continue };
        let inline_text = step.result.as_deref().filter(|text| text.len() <= inline);
        let result = match (inline_text, step.result_bytes) {
            (Some(text), _) => serde_json::from_str(text).unwrap_or_default(),
            (None, None) => Value::Null,
            (None, Some(bytes)) => {
                let href = format!("/v1/workflow-runs/{original}/steps/{}", node.node_id);
                json!({"resultRef": {"runId": original, "nodeId": node.node_id, "href": href, "bytes": bytes}})
            }
        };
        node.run = NodeRun::Value;
        node.reused_from = Some(original);
        node.data_source = Some(result);
    }
}
