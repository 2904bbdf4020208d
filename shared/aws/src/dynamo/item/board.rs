//! The board of a run, what its workers wait with, and what its changes write of steps and their parts.
//!
//! Decision (2026-11-28): the wake lies on the item of its board, so that one read shows both as they are at one moment, and a
//! change writes both at once. Its keys are those of an index that holds keys alone: a board is not written to it a second time.

use super::form::{
    DOCUMENT, Item, ItemError, ItemResult, attributes, check, document, n, number, s, set, stamped, text,
};
use super::report::OF_AN_INPUT;
use crate::dynamo::keys::{self, Key};
use jiff::Timestamp;
use serde_dynamo::AttributeValue;
use sluice_core::board::{Record, Wake};
use sluice_core::id::{NodeId, RunId, TenantId};
use sluice_core::ports::{BoardChange, RunRef, StepPart, WaitingWorker};
use sluice_core::report::NodeOutcome;
use sluice_core::step::Step;
use sluice_core::time::rfc3339_millis;
use std::collections::{BTreeMap, BTreeSet};

const BOARD: &str = "board";
const WORKER: &str = "worker";
const PART: &str = "part";

const REV: &str = "rev";
/// Since when each external node waits, by its number.
const WAITS: &str = "waits";
/// Those whom the wake names. When it is due says its key in the index.
pub const WAKES: &str = "wakes";

/// A board with its wake. Both are written whole, so what a board no longer has is no more.
pub fn from_board(tenant: &TenantId, run_id: RunId, record: &Record) -> ItemResult<Item> {
    let mut item = stamped(Item::new(), BOARD, keys::board(tenant, run_id));
    let board = serde_json::to_string(&record.board);
    let board = board.map_err(|source| ItemError::Document { kind: BOARD, source })?;
    set(&mut item, [(DOCUMENT, board)]);
    item.insert(REV.into(), n(record.rev));
    let waits = record.waits.iter().map(|(node, since)| (node.to_string(), s(rfc3339_millis(*since)))).collect();
    item.insert(WAITS.into(), AttributeValue::M(waits));
    if let Some(wake) = &record.wake {
        set(&mut item, wake_keys(run_id, wake.due_at));
        item.insert(WAKES.into(), AttributeValue::L(wake.workers.iter().map(n).collect()));
    }
    Ok(item)
}

/// What puts the board of a run into the index of those that somebody has to look at.
pub fn wake_keys(run_id: RunId, due_at: Timestamp) -> [(&'static str, String); 2] {
    let shard = keys::boards_shard(keys::shard(run_id));
    [(keys::QUEUE_KEY, shard), (keys::QUEUE_AT, keys::time_key(due_at, run_id))]
}

pub fn to_board(item: &Item) -> ItemResult<Record> {
    let board = serde_json::from_str(document(BOARD, item)?);
    let board = board.map_err(|source| ItemError::Document { kind: BOARD, source })?;
    let wake = text(item, keys::QUEUE_AT).map(|due| to_wake(item, due)).transpose()?;
    Ok(Record { rev: number(BOARD, item, REV)?, board, waits: to_waits(item)?, wake })
}

fn to_waits(item: &Item) -> ItemResult<BTreeMap<usize, Timestamp>> {
    let bad = ItemError::Attribute { kind: BOARD, attribute: WAITS };
    let Some(AttributeValue::M(waits)) = item.get(WAITS) else { return Err(bad) };
    let read = |(node, since): (&String, &AttributeValue)| {
        let AttributeValue::S(since) = since else { return None };
        Some((node.parse().ok()?, since.parse::<Timestamp>().ok()?))
    };
    waits.iter().map(read).collect::<Option<_>>().ok_or(bad)
}

fn to_wake(item: &Item, due: &str) -> ItemResult<Wake> {
    let due_at = keys::time_in_key(due).ok_or(ItemError::Attribute { kind: BOARD, attribute: keys::QUEUE_AT })?;
    let bad = ItemError::Attribute { kind: BOARD, attribute: WAKES };
    let Some(AttributeValue::L(workers)) = item.get(WAKES) else { return Err(bad) };
    let number = |worker: &AttributeValue| {
        let AttributeValue::N(number) = worker else { return None };
        number.parse().ok()
    };
    let workers: Option<BTreeSet<usize>> = workers.iter().map(number).collect();
    workers.map(|workers| Wake { due_at, workers }).ok_or(bad)
}

/// Whose board an entry in the index is, which holds nothing but keys.
pub fn to_due_board(item: Item) -> ItemResult<RunRef> {
    let run = Key::of(&item).and_then(|key| keys::run_of_pk(&key.pk));
    let (tenant_id, run_id) = run.ok_or(ItemError::Attribute { kind: BOARD, attribute: keys::PK })?;
    Ok(RunRef { tenant_id, run_id })
}

pub fn from_worker(tenant: &TenantId, run_id: RunId, waiting: &WaitingWorker) -> Item {
    let mut item = stamped(Item::new(), WORKER, keys::worker(tenant, run_id, waiting.worker));
    item.extend([("worker", n(waiting.worker)), ("turn", n(waiting.turn))].map(|(name, of)| (name.into(), of)));
    set(&mut item, [("token", waiting.token.clone())]);
    item
}

pub fn to_worker(item: &Item) -> ItemResult<WaitingWorker> {
    check(WORKER, item)?;
    let token = text(item, "token").ok_or(ItemError::Attribute { kind: WORKER, attribute: "token" })?;
    let (worker, turn) = (number(WORKER, item, "worker")?, number(WORKER, item, "turn")?);
    Ok(WaitingWorker { worker, turn, token: token.to_owned() })
}

pub fn from_part(change: &BoardChange, node_id: &NodeId, part: StepPart, outcome: &NodeOutcome) -> Item {
    let mut item = stamped(Item::new(), PART, keys::part(&change.tenant_id, change.run_id, node_id, part));
    let (name, place) = match part {
        StepPart::Item(item) => ("item", item),
        StepPart::Iteration(iteration) => ("iteration", iteration),
    };
    item.insert(name.into(), n(place));
    OF_AN_INPUT.write(&mut item, outcome);
    item
}

pub fn to_part(item: &Item) -> ItemResult<(StepPart, NodeOutcome)> {
    check(PART, item)?;
    let part = if item.contains_key("item") {
        StepPart::Item(number(PART, item, "item")?)
    } else {
        StepPart::Iteration(number(PART, item, "iteration")?)
    };
    let outcome = OF_AN_INPUT.read(item).ok_or(ItemError::Attribute { kind: PART, attribute: "value" })?;
    Ok((part, outcome))
}

/// Attributes of a step that it has only sometimes; a change removes those that it does not set.
pub const STEP_OPTIONAL: &[&str] =
    &["endedAt", "result", "resultBytes", "errorCode", "errorMessage", "iteration", "fan"];

/// What a change sets of a step, and what it only sets where there is none yet: the same that the runner of the first generation
/// writes, so that [`to_step`](super::run::to_step) reads both.
pub fn from_step(tenant: &TenantId, step: &Step) -> ItemResult<(Item, Item)> {
    let kind = super::run::STEP;
    let mut item = stamped(Item::new(), kind, keys::step(tenant, step.run_id, &step.node_id));
    item.retain(|name, _| name != keys::PK && name != keys::SK);
    set(
        &mut item,
        [
            ("runId", step.run_id.to_string()),
            ("tenantId", tenant.to_string()),
            ("nodeId", step.node_id.to_string()),
            ("nodeType", step.node_type.clone()),
            ("status", step.status.as_str().to_owned()),
        ],
    );
    set(&mut item, step.ended_at.map(|at| ("endedAt", rfc3339_millis(at))));
    set(&mut item, step.result.clone().map(|result| ("result", result)));
    let error = step.error.iter();
    set(&mut item, error.clone().map(|error| ("errorCode", error.code.clone())));
    set(&mut item, error.map(|error| ("errorMessage", error.message.clone())));
    let numbers = [
        ("stage", Some(n(step.stage))),
        ("attempt", Some(n(step.attempt))),
        ("resultBytes", step.result_bytes.map(n)),
        ("iteration", step.iteration.map(n)),
    ];
    item.extend(numbers.into_iter().filter_map(|(name, number)| Some((name.into(), number?))));
    if let Some(fan) = &step.fan {
        item.insert("fan".into(), AttributeValue::M(attributes(kind, fan)?));
    }
    let mut keep = Item::new();
    set(&mut keep, step.started_at.map(|at| ("startedAt", rfc3339_millis(at))));
    if let Some(progress) = &step.progress {
        keep.insert("progress".into(), AttributeValue::M(super::report::progress(progress)?));
    }
    Ok((item, keep))
}
