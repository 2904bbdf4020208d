//! A run's head, and the documents and steps that lie with it.

use super::form::{
    DOCUMENT, Item, ItemError, ItemResult, RUN_ID, TENANT_ID, check, document, parsed, read, set, stamped, text, write,
};
use super::head::{RUN, StoredRun};
use crate::dynamo::keys::{self, Link};
use jiff::Timestamp;
use serde::Deserialize;
use serde_dynamo::AttributeValue;
use sluice_core::board::Fan;
use sluice_core::concurrency::QueueRef;
use sluice_core::definition::NodeType;
use sluice_core::id::{NodeId, RunId};
use sluice_core::lifecycle::RunStatus;
use sluice_core::ports::RunRef;
use sluice_core::report::Progress;
use sluice_core::run::{Run, RunError};
use sluice_core::snapshot::{Ending, Snapshot};
use sluice_core::step::{Step, StepStatus};
use sluice_core::time::millis_opt;

const SNAPSHOT: &str = "snapshot";
const REQUEST: &str = "request";
const ENDING: &str = "ending";
const OUTPUT: &str = "output";
pub(super) const STEP: &str = "step";

/// Attributes of a head that it has only sometimes; a change removes those that it does not set.
pub const RUN_OPTIONAL: &[&str] = &[
    "terminationReason",
    "stopIntent",
    "error",
    "definitionOwner",
    "executionBudgetMicroUsd",
    "computeNodeBudgetMicroUsd",
    "maxRunDurationSeconds",
    "excludePausedTime",
    "labels",
    "dispatchedAt",
    "startedAt",
    "completedAt",
    "stageIndex",
    "pauseRequestedAt",
    "pauses",
    "pausedAt",
    "pausedMs",
    "pauseToken",
    WAITING_NODES,
    ANSWERED_NODES,
    "replayOf",
    "evaluationOf",
    "slots",
    "queuedIn",
    "retention",
    "retentionDueAt",
    "purgeFrom",
    keys::OPEN_SHARD,
    keys::OPEN_AT,
    keys::QUEUE_KEY,
    keys::QUEUE_AT,
    keys::DUE_SHARD,
    keys::DUE_AT,
];

const WAITING_NODES: &str = "waitingNodes";
const ANSWERED_NODES: &str = "answeredNodes";

/// A run's head, with the keys that put it into its lists.
pub fn from_run(run: &Run) -> ItemResult<Item> {
    from_stored_run(&StoredRun::from(run))
}

/// The head that [`StoredRun`] describes. A [`Run`] makes only such as there can be.
pub fn from_stored_run(run: &StoredRun) -> ItemResult<Item> {
    let mut item = write(RUN, run, keys::run_head(&run.tenant_id, run.run_id))?;
    // The runner adds to those that wait, so they are sets; an empty set cannot be stored.
    for (name, nodes) in [(WAITING_NODES, &run.waiting_nodes), (ANSWERED_NODES, &run.answered_nodes)] {
        item.remove(name);
        if !nodes.is_empty() {
            item.insert(name.into(), AttributeValue::Ss(nodes.iter().cloned().collect()));
        }
    }
    let time_key = keys::time_key(run.spec.created_at, run.run_id);
    set(
        &mut item,
        [
            (keys::TENANT_KEY, keys::runs_of_tenant(&run.tenant_id)),
            (keys::DEFINITION_KEY, keys::runs_of_definition(&run.tenant_id, run.spec.definition_id)),
            (keys::STATUS_KEY, keys::runs_in_status(&run.tenant_id, run.status)),
            (keys::TIME_KEY, time_key.clone()),
        ],
    );
    if run.status.is_terminal() {
        if let Some(due_at) = run.retention_due_at {
            let at = run.purge_from.unwrap_or(due_at);
            let shard = keys::expiry_shard(keys::shard(run.run_id));
            set(&mut item, [(keys::DUE_SHARD, shard), (keys::DUE_AT, keys::time_key(at, run.run_id))]);
        }
        return Ok(item);
    }
    if let Some(scope) = run.queued_in.filter(|_| run.status == RunStatus::Queued) {
        let queue = keys::queue(&QueueRef::of(&run.tenant_id, run.spec.definition_id, scope));
        set(&mut item, [(keys::QUEUE_KEY, queue), (keys::QUEUE_AT, time_key.clone())]);
    }
    set(&mut item, [(keys::OPEN_SHARD, keys::open_shard(keys::shard(run.run_id))), (keys::OPEN_AT, time_key)]);
    Ok(item)
}

pub fn to_run(item: Item) -> ItemResult<Run> {
    to_stored_run(item)?.try_into()
}

/// A head as it was written, whether or not there can be such a run.
pub fn to_stored_run(item: Item) -> ItemResult<StoredRun> {
    read(RUN, item)
}

/// Whose run a head is, for whoever needs no more of it.
pub fn to_run_ref(item: Item) -> ItemResult<RunRef> {
    check(RUN, &item)?;
    Ok(RunRef { tenant_id: parsed(RUN, &item, TENANT_ID)?, run_id: parsed(RUN, &item, RUN_ID)? })
}

/// The run behind an entry in the index of queues, which holds nothing but keys.
pub fn to_queued_run(item: &Item) -> ItemResult<RunId> {
    let id = text(item, keys::QUEUE_AT).and_then(keys::id_in_time_key);
    id.ok_or(ItemError::Attribute { kind: RUN, attribute: keys::QUEUE_AT })
}

/// A run's frozen snapshot, as the text whose hash its head keeps.
pub fn from_snapshot(run: &Run, snapshot_text: &str) -> Item {
    let mut item = stamped(Item::new(), SNAPSHOT, keys::snapshot(&run.tenant_id, run.run_id));
    set(&mut item, [(DOCUMENT, snapshot_text.to_owned())]);
    item
}

pub fn to_snapshot(item: &Item) -> ItemResult<Snapshot> {
    let document = document(SNAPSHOT, item)?;
    serde_json::from_str(document).map_err(|source| ItemError::Document { kind: SNAPSHOT, source })
}

/// What a run was made from, JSON text.
pub fn from_request(run: &Run, request_text: &str) -> Item {
    let mut item = stamped(Item::new(), REQUEST, keys::request(&run.tenant_id, run.run_id));
    set(&mut item, [(DOCUMENT, request_text.to_owned())]);
    item
}

pub fn to_request(item: &Item) -> ItemResult<String> {
    document(REQUEST, item).map(str::to_owned)
}

/// What the end of a run needs of its snapshot, JSON text.
pub fn from_ending(run: &Run, ending_text: &str) -> Item {
    let mut item = stamped(Item::new(), ENDING, keys::ending(&run.tenant_id, run.run_id));
    set(&mut item, [(DOCUMENT, ending_text.to_owned())]);
    item
}

pub fn to_ending(item: &Item) -> ItemResult<Ending> {
    let document = document(ENDING, item)?;
    serde_json::from_str(document).map_err(|source| ItemError::Document { kind: ENDING, source })
}

/// A run's output, JSON text as the engine gave it.
pub fn from_output(run: &Run, output: &str) -> Item {
    let mut item = stamped(Item::new(), OUTPUT, keys::output(&run.tenant_id, run.run_id));
    set(&mut item, [(DOCUMENT, output.to_owned())]);
    item
}

pub fn to_output(item: &Item) -> ItemResult<String> {
    document(OUTPUT, item).map(str::to_owned)
}

impl Link {
    const fn kind(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Evaluation => "evaluation",
        }
    }

    /// The run that `run` comes from in this way.
    pub fn original(self, run: &Run) -> Option<RunId> {
        match self {
            Self::Replay => run.about.replay_of,
            Self::Evaluation => run.about.evaluation_of,
        }
    }
}

/// The links from the runs that `run` comes from, where there are any.
pub fn links(run: &Run) -> impl Iterator<Item = (Link, RunId)> {
    [Link::Replay, Link::Evaluation].into_iter().filter_map(|link| Some((link, link.original(run)?)))
}

/// Links a run to one that was made from it.
pub fn from_link(link: Link, original: RunId, run: &Run) -> Item {
    let mut item = stamped(Item::new(), link.kind(), keys::link(link, original, run));
    set(&mut item, [(RUN_ID, run.run_id.to_string())]);
    item
}

pub fn to_link(link: Link, item: &Item) -> ItemResult<RunId> {
    check(link.kind(), item)?;
    parsed(link.kind(), item, RUN_ID)
}

/// What [`to_step`] reads, but for the result.
pub const STEP_WITHOUT_RESULT: &[&str] = &[
    "kind",
    "v",
    RUN_ID,
    "nodeId",
    "nodeType",
    "status",
    "stage",
    "attempt",
    "startedAt",
    "endedAt",
    "resultBytes",
    "errorCode",
    "errorMessage",
    "progress",
    "iteration",
    "fan",
];

/// A step, as the runner writes it. Anything it leaves out has a meaning.
pub fn to_step(item: Item) -> ItemResult<Step> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Stored {
        run_id: RunId,
        node_id: NodeId,
        node_type: String,
        status: String,
        #[serde(default)]
        stage: u32,
        #[serde(default)]
        attempt: u32,
        #[serde(default, with = "millis_opt")]
        started_at: Option<Timestamp>,
        #[serde(default, with = "millis_opt")]
        ended_at: Option<Timestamp>,
        result: Option<String>,
        answer: Option<String>,
        result_bytes: Option<u64>,
        error_code: Option<String>,
        error_message: Option<String>,
        #[serde(default)]
        progress: Option<Progress>,
        iteration: Option<u32>,
        fan: Option<Fan>,
    }
    let stored: Stored = read(STEP, item)?;
    let error = match (stored.error_code, stored.error_message) {
        (None, None) => None,
        (code, message) => {
            let (code, message) = (code.unwrap_or_default(), message.unwrap_or_default());
            // What an external node's worker reports is shown as it was said.
            let is_reported = stored.node_type == NodeType::External.as_str();
            Some(if is_reported { RunError { code, message } } else { RunError::of_processor(&code, &message) })
        }
    };
    let status = stored.status.parse().map_err(|_| ItemError::Attribute { kind: STEP, attribute: "status" })?;
    // The result of an external node is what was answered, as it was sent.
    let result = stored.result.or_else(|| stored.answer.filter(|_| status == StepStatus::Succeeded));
    Ok(Step {
        run_id: stored.run_id,
        node_id: stored.node_id,
        node_type: stored.node_type,
        stage: stored.stage,
        status,
        attempt: stored.attempt,
        started_at: stored.started_at,
        ended_at: stored.ended_at,
        result,
        result_bytes: stored.result_bytes,
        error,
        progress: stored.progress,
        iteration: stored.iteration,
        fan: stored.fan,
    })
}
