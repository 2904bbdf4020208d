//! The stored shape of every item kind, written and read in one place.
//!
//! **Invariants:** every item has `kind` and `v`; documents of callers are stored as JSON text, never as maps, so that
//! no number is rewritten; what the runner adds to a head or writes as a step is read as it is.

use super::keys;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};
use sluice_core::budget::MicroUsd;
use sluice_core::callback::{Attempt, Delivery};
use sluice_core::canonical;
use sluice_core::definition::{Definition, Version, VersionDocument};
use sluice_core::id::{
    ComputeNodeKey, DefinitionId, DefinitionName, InstanceId, LayerName, NodeId, ProcessorKey, RunId, TenantId,
};
use sluice_core::idempotency::{IdempotencyClaim, IdempotencyRecord};
use sluice_core::instance::{Instance, InstanceContent};
use sluice_core::operator::{ComputeNode, LayerStatus, Processor, ProcessorTarget, Tenants};
use sluice_core::ports::DeliveryRef;
use sluice_core::run::{Run, RunError};
use sluice_core::snapshot::Snapshot;
use sluice_core::step::{Step, StepStatus};
use sluice_core::time::{millis, millis_opt};
use std::collections::{BTreeMap, HashMap};

pub type Item = HashMap<String, AttributeValue>;

/// The version of every stored shape.
const V: &str = "1";

/// The table key of an item.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub pk: String,
    pub sk: String,
}

impl Key {
    pub fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self { pk: pk.into(), sk: sk.into() }
    }

    pub fn into_item(self) -> Item {
        Item::from([
            (keys::PK.to_owned(), AttributeValue::S(self.pk)),
            (keys::SK.to_owned(), AttributeValue::S(self.sk)),
        ])
    }

    /// The key of an item that was read.
    pub fn of(item: &Item) -> Option<Self> {
        Some(Self::new(text(item, keys::PK)?, text(item, keys::SK)?))
    }
}

/// An item that no released version wrote, or that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ItemError {
    #[error("the item is no {expected} but {found}")]
    Kind { expected: &'static str, found: String },
    #[error("the item has shape {0:?}, which this version does not know")]
    Shape(Option<String>),
    #[error("the {kind} does not read or write as attributes: {source}")]
    Attributes { kind: &'static str, source: serde_dynamo::Error },
    #[error("the {kind} has no valid {attribute}")]
    Attribute { kind: &'static str, attribute: &'static str },
    #[error("the document of the {kind} does not read or write as JSON: {source}")]
    Document { kind: &'static str, source: serde_json::Error },
}

pub type ItemResult<T> = Result<T, ItemError>;

/// A text attribute.
pub fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    match item.get(name) {
        Some(AttributeValue::S(text)) => Some(text),
        Some(_) | None => None,
    }
}

pub fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub fn n(number: impl std::fmt::Display) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

const RUN: &str = "run";
const SNAPSHOT: &str = "snapshot";
const OUTPUT: &str = "output";
const STEP: &str = "step";
const REPLAY: &str = "replay";
const DELIVERY: &str = "delivery";
const BODY: &str = "delivery-body";
const ATTEMPT: &str = "attempt";
const IDEMPOTENCY: &str = "idempotency";
pub const DEFINITION: &str = "definition";
pub const DEFINITION_NAME: &str = "definition-name";
pub const VERSION: &str = "version";
pub const INSTANCE: &str = "instance";
pub const PROCESSOR: &str = "processor";
pub const COMPUTE_NODE: &str = "compute-node";

/// Gives an item what every item has.
fn stamped(mut item: Item, kind: &'static str, key: Key) -> Item {
    item.extend(key.into_item());
    item.insert("kind".to_owned(), s(kind));
    item.insert("v".to_owned(), n(V));
    item
}

fn write<T: Serialize>(kind: &'static str, stored: &T, key: Key) -> ItemResult<Item> {
    let item: Item = to_item(stored).map_err(|source| ItemError::Attributes { kind, source })?;
    Ok(stamped(item, kind, key))
}

fn check(kind: &'static str, item: &Item) -> ItemResult<()> {
    let found = text(item, "kind");
    if found != Some(kind) {
        return Err(ItemError::Kind { expected: kind, found: found.unwrap_or("of no kind").to_owned() });
    }
    match item.get("v") {
        Some(AttributeValue::N(shape)) if shape == V => Ok(()),
        Some(AttributeValue::N(shape)) => Err(ItemError::Shape(Some(shape.clone()))),
        Some(_) | None => Err(ItemError::Shape(None)),
    }
}

fn read<T: DeserializeOwned>(kind: &'static str, item: Item) -> ItemResult<T> {
    check(kind, &item)?;
    from_item(item).map_err(|source| ItemError::Attributes { kind, source })
}

fn set(item: &mut Item, attributes: impl IntoIterator<Item = (&'static str, String)>) {
    item.extend(attributes.into_iter().map(|(name, value)| (name.to_owned(), s(value))));
}

// ---- runs

/// Attributes of a head that it has only sometimes; a change removes those that it does not set.
pub const RUN_OPTIONAL: &[&str] = &[
    "terminationReason",
    "stopIntent",
    "error",
    "executionBudgetMicroUsd",
    "maxRunDurationSeconds",
    "labels",
    "startedAt",
    "completedAt",
    "stageIndex",
    "pauseRequestedAt",
    "pauseToken",
    WAITING_NODES,
    ANSWERED_NODES,
    "replayOf",
    keys::OPEN_SHARD,
    keys::OPEN_AT,
];

const WAITING_NODES: &str = "waitingNodes";
const ANSWERED_NODES: &str = "answeredNodes";

/// A run's head, with the keys that put it into its lists.
pub fn from_run(run: &Run) -> ItemResult<Item> {
    let mut item = write(RUN, run, keys::run_head(&run.tenant_id, run.run_id))?;
    // The runner adds to those that wait, so they are sets; an empty set cannot be stored.
    for (name, nodes) in [(WAITING_NODES, &run.waiting_nodes), (ANSWERED_NODES, &run.answered_nodes)] {
        item.remove(name);
        if !nodes.is_empty() {
            item.insert(name.to_owned(), AttributeValue::Ss(nodes.iter().cloned().collect()));
        }
    }
    let time_key = keys::time_key(run.created_at, run.run_id);
    set(
        &mut item,
        [
            (keys::TENANT_KEY, keys::runs_of_tenant(&run.tenant_id)),
            (keys::DEFINITION_KEY, keys::runs_of_definition(&run.tenant_id, run.definition_id)),
            (keys::STATUS_KEY, keys::runs_in_status(&run.tenant_id, run.status)),
            (keys::TIME_KEY, time_key.clone()),
        ],
    );
    if !run.status.is_terminal() {
        set(&mut item, [(keys::OPEN_SHARD, keys::open_shard(keys::shard(run.run_id))), (keys::OPEN_AT, time_key)]);
    }
    Ok(item)
}

pub fn to_run(item: Item) -> ItemResult<Run> {
    read(RUN, item)
}

/// A run's frozen snapshot, as the text whose hash its head keeps.
pub fn from_snapshot(run: &Run, snapshot_text: &str) -> Item {
    let mut item = stamped(Item::new(), SNAPSHOT, keys::snapshot(&run.tenant_id, run.run_id));
    set(&mut item, [("document", snapshot_text.to_owned())]);
    item
}

pub fn to_snapshot(item: &Item) -> ItemResult<Snapshot> {
    check(SNAPSHOT, item)?;
    let document = text(item, "document").ok_or(ItemError::Attribute { kind: SNAPSHOT, attribute: "document" })?;
    serde_json::from_str(document).map_err(|source| ItemError::Document { kind: SNAPSHOT, source })
}

/// A run's output, JSON text as the engine gave it.
pub fn from_output(run: &Run, output: &str) -> Item {
    let mut item = stamped(Item::new(), OUTPUT, keys::output(&run.tenant_id, run.run_id));
    set(&mut item, [("document", output.to_owned())]);
    item
}

pub fn to_output(item: &Item) -> ItemResult<String> {
    check(OUTPUT, item)?;
    let document = text(item, "document").ok_or(ItemError::Attribute { kind: OUTPUT, attribute: "document" })?;
    Ok(document.to_owned())
}

/// Links a run to one that repeats it.
pub fn from_replay(original: RunId, replay: &Run) -> Item {
    let key = keys::replay(&replay.tenant_id, original, replay.created_at, replay.run_id);
    let mut item = stamped(Item::new(), REPLAY, key);
    set(&mut item, [(RUN_ID, replay.run_id.to_string())]);
    item
}

pub fn to_replay(item: &Item) -> ItemResult<RunId> {
    check(REPLAY, item)?;
    let id = text(item, RUN_ID).and_then(|id| id.parse().ok());
    id.ok_or(ItemError::Attribute { kind: REPLAY, attribute: RUN_ID })
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
];

const RUN_ID: &str = "runId";

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
        result_bytes: Option<u64>,
        error_code: Option<String>,
        error_message: Option<String>,
    }
    let stored: Stored = read(STEP, item)?;
    let error = match (stored.error_code, stored.error_message) {
        (None, None) => None,
        (code, message) => Some(RunError { code: code.unwrap_or_default(), message: message.unwrap_or_default() }),
    };
    Ok(Step {
        run_id: stored.run_id,
        node_id: stored.node_id,
        node_type: stored.node_type,
        stage: stored.stage,
        status: stored.status.parse().map_err(|_| ItemError::Attribute { kind: STEP, attribute: "status" })?,
        attempt: stored.attempt,
        started_at: stored.started_at,
        ended_at: stored.ended_at,
        result: stored.result,
        result_bytes: stored.result_bytes,
        error,
    })
}

/// Task token and answer of a step that waits and has an answer to this very wait.
pub fn to_answer(item: &Item) -> ItemResult<Option<(String, String)>> {
    check(STEP, item)?;
    let (status, token) = (text(item, "status"), text(item, "taskToken"));
    if status != Some(StepStatus::Waiting.as_str()) || text(item, "answeredToken") != token {
        return Ok(None);
    }
    let answered = token.zip(text(item, "answer"));
    Ok(answered.map(|(token, answer)| (token.to_owned(), answer.to_owned())))
}

// ---- idempotency

/// What is kept of the first request with a key. `ttl` lets DynamoDB clean up some time after the key is free.
pub fn from_idempotency(claim: &IdempotencyClaim, record: &IdempotencyRecord) -> ItemResult<Item> {
    let key = keys::idempotency(&record.run.tenant_id, claim.operation, &claim.key);
    let mut item = write(IDEMPOTENCY, record, key)?;
    match record.expires_at {
        Some(at) => item.insert("ttl".to_owned(), n(at.as_second().saturating_add(1))),
        None => item.remove("expiresAt"),
    };
    Ok(item)
}

pub fn to_idempotency(item: Item) -> ItemResult<IdempotencyRecord> {
    read(IDEMPOTENCY, item)
}

// ---- deliveries

/// A delivery without its body, in the index of due ones while it is owed.
pub fn from_delivery(delivery: &Delivery) -> ItemResult<Item> {
    let key = keys::delivery(&delivery.tenant_id, delivery.run_id, delivery.number);
    let mut item = write(DELIVERY, delivery, key)?;
    if let Some(at) = delivery.next_attempt_at {
        set(
            &mut item,
            [
                (keys::DUE_SHARD, keys::due_shard(keys::shard(delivery.run_id))),
                (keys::DUE_AT, keys::due_at(at, delivery.run_id, delivery.number)),
            ],
        );
    }
    Ok(item)
}

/// The body is left empty.
pub fn to_delivery(item: Item) -> ItemResult<Delivery> {
    read(DELIVERY, item)
}

pub fn to_delivery_ref(item: Item) -> ItemResult<DeliveryRef> {
    let delivery = to_delivery(item)?;
    Ok(DeliveryRef { tenant_id: delivery.tenant_id, run_id: delivery.run_id, number: delivery.number })
}

pub fn from_delivery_body(delivery: &Delivery) -> Item {
    let key = keys::delivery_body(&delivery.tenant_id, delivery.run_id, delivery.number);
    let mut item = stamped(Item::new(), BODY, key);
    set(&mut item, [("body", delivery.body.clone())]);
    item
}

pub fn to_delivery_body(mut item: Item) -> ItemResult<String> {
    check(BODY, &item)?;
    match item.remove("body") {
        Some(AttributeValue::S(body)) => Ok(body),
        Some(_) | None => Err(ItemError::Attribute { kind: BODY, attribute: "body" }),
    }
}

pub fn from_attempt(delivery: &Delivery, attempt: &Attempt) -> ItemResult<Item> {
    let key = keys::attempt(&delivery.tenant_id, delivery.run_id, delivery.number, attempt.number);
    let mut item = write(ATTEMPT, attempt, key)?;
    item.insert("delivery".to_owned(), n(delivery.number));
    Ok(item)
}

/// The attempt and the number of its delivery.
pub fn to_attempt(item: Item) -> ItemResult<(u32, Attempt)> {
    let delivery = match item.get("delivery") {
        Some(AttributeValue::N(number)) => number.parse().ok(),
        Some(_) | None => None,
    };
    let delivery = delivery.ok_or(ItemError::Attribute { kind: ATTEMPT, attribute: "delivery" })?;
    Ok((delivery, read(ATTEMPT, item)?))
}

// ---- definitions, versions, instances

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredDefinition {
    tenant_id: TenantId,
    definition_id: DefinitionId,
    name: DefinitionName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    active_version: Option<u32>,
    latest_version: u32,
    #[serde(with = "millis")]
    created_at: Timestamp,
    #[serde(with = "millis")]
    updated_at: Timestamp,
    rev: u64,
}

pub fn from_definition(definition: &Definition) -> ItemResult<Item> {
    let stored = StoredDefinition {
        tenant_id: definition.tenant.clone(),
        definition_id: definition.id,
        name: definition.name.clone(),
        display_name: definition.display_name.clone(),
        description: definition.description.clone(),
        active_version: definition.active_version,
        latest_version: definition.latest_version,
        created_at: definition.created_at,
        updated_at: definition.updated_at,
        rev: definition.rev,
    };
    let mut item = write(DEFINITION, &stored, keys::definition(&definition.tenant, definition.id))?;
    set(
        &mut item,
        [
            (keys::TENANT_KEY, keys::definitions_of_tenant(&definition.tenant)),
            (keys::TIME_KEY, keys::time_key(definition.created_at, definition.id)),
        ],
    );
    Ok(item)
}

pub fn to_definition(item: Item) -> ItemResult<Definition> {
    let stored: StoredDefinition = read(DEFINITION, item)?;
    Ok(Definition {
        tenant: stored.tenant_id,
        id: stored.definition_id,
        name: stored.name,
        display_name: stored.display_name,
        description: stored.description,
        active_version: stored.active_version,
        latest_version: stored.latest_version,
        created_at: stored.created_at,
        updated_at: stored.updated_at,
        rev: stored.rev,
    })
}

/// Holds a name for its definition.
pub fn from_definition_name(definition: &Definition) -> Item {
    let key = keys::definition_name(&definition.tenant, &definition.name);
    let mut item = stamped(Item::new(), DEFINITION_NAME, key);
    set(&mut item, [("definitionId", definition.id.to_string())]);
    item
}

pub fn to_definition_name(item: &Item) -> ItemResult<DefinitionId> {
    const ATTRIBUTE: &str = "definitionId";
    check(DEFINITION_NAME, item)?;
    let id = text(item, ATTRIBUTE).and_then(|id| id.parse().ok());
    id.ok_or(ItemError::Attribute { kind: DEFINITION_NAME, attribute: ATTRIBUTE })
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredVersion {
    definition_id: DefinitionId,
    version: u32,
    document: String,
    #[serde(with = "millis")]
    created_at: Timestamp,
    created_by: String,
}

pub fn from_version(tenant: &TenantId, version: &Version) -> ItemResult<Item> {
    let document = serde_json::to_string(&version.document);
    let stored = StoredVersion {
        definition_id: version.definition_id,
        version: version.number,
        document: document.map_err(|source| ItemError::Document { kind: VERSION, source })?,
        created_at: version.created_at,
        created_by: version.created_by.clone(),
    };
    write(VERSION, &stored, keys::version(tenant, version.definition_id, version.number))
}

pub fn to_version(item: Item) -> ItemResult<Version> {
    let stored: StoredVersion = read(VERSION, item)?;
    let document: VersionDocument =
        serde_json::from_str(&stored.document).map_err(|source| ItemError::Document { kind: VERSION, source })?;
    Ok(Version {
        definition_id: stored.definition_id,
        number: stored.version,
        document,
        created_at: stored.created_at,
        created_by: stored.created_by,
    })
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredInstance {
    tenant_id: TenantId,
    instance_id: InstanceId,
    document: String,
    #[serde(with = "millis")]
    created_at: Timestamp,
}

pub fn from_instance(instance: &Instance) -> ItemResult<Item> {
    let stored = StoredInstance {
        tenant_id: instance.tenant.clone(),
        instance_id: instance.id,
        document: canonical::text(&instance.content.to_json()),
        created_at: instance.created_at,
    };
    let mut item = write(INSTANCE, &stored, keys::instance(&instance.tenant, instance.id))?;
    set(
        &mut item,
        [
            (keys::TENANT_KEY, keys::instances_of_tenant(&instance.tenant)),
            (keys::TIME_KEY, keys::time_key(instance.created_at, instance.id)),
        ],
    );
    Ok(item)
}

pub fn to_instance(item: Item) -> ItemResult<Instance> {
    let stored: StoredInstance = read(INSTANCE, item)?;
    let content = serde_json::from_str(&stored.document).and_then(|value| InstanceContent::from_json(&value));
    Ok(Instance {
        tenant: stored.tenant_id,
        id: stored.instance_id,
        content: content.map_err(|source| ItemError::Document { kind: INSTANCE, source })?,
        created_at: stored.created_at,
    })
}

// ---- what the operator declares

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredProcessor {
    key: ProcessorKey,
    target: ProcessorTarget,
    tenants: Tenants,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(with = "millis")]
    updated_at: Timestamp,
}

pub fn from_processor(processor: &Processor) -> ItemResult<Item> {
    let stored = StoredProcessor {
        key: processor.key.clone(),
        target: processor.target.clone(),
        tenants: processor.tenants.clone(),
        description: processor.description.clone(),
        updated_at: processor.updated_at,
    };
    let mut item = write(PROCESSOR, &stored, keys::processor(&processor.key))?;
    set(&mut item, [(keys::TENANT_KEY, keys::processors()), (keys::TIME_KEY, processor.key.to_string())]);
    Ok(item)
}

pub fn to_processor(item: Item) -> ItemResult<Processor> {
    let stored: StoredProcessor = read(PROCESSOR, item)?;
    Ok(Processor {
        key: stored.key,
        target: stored.target,
        tenants: stored.tenants,
        description: stored.description,
        updated_at: stored.updated_at,
    })
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredComputeNode {
    key: ComputeNodeKey,
    state_machine_arn: String,
    tenants: Tenants,
    registry: String,
    layers: BTreeMap<LayerName, LayerStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_budget_micro_usd: Option<MicroUsd>,
    #[serde(with = "millis")]
    updated_at: Timestamp,
}

pub fn from_compute_node(node: &ComputeNode) -> ItemResult<Item> {
    let registry = serde_json::to_string(&node.registry);
    let stored = StoredComputeNode {
        key: node.key.clone(),
        state_machine_arn: node.state_machine_arn.clone(),
        tenants: node.tenants.clone(),
        registry: registry.map_err(|source| ItemError::Document { kind: COMPUTE_NODE, source })?,
        layers: node.layers.clone(),
        max_budget_micro_usd: node.max_budget,
        updated_at: node.updated_at,
    };
    let mut item = write(COMPUTE_NODE, &stored, keys::compute_node(&node.key))?;
    set(&mut item, [(keys::TENANT_KEY, keys::compute_nodes()), (keys::TIME_KEY, node.key.to_string())]);
    Ok(item)
}

pub fn to_compute_node(item: Item) -> ItemResult<ComputeNode> {
    let stored: StoredComputeNode = read(COMPUTE_NODE, item)?;
    Ok(ComputeNode {
        key: stored.key,
        state_machine_arn: stored.state_machine_arn,
        tenants: stored.tenants,
        registry: serde_json::from_str(&stored.registry)
            .map_err(|source| ItemError::Document { kind: COMPUTE_NODE, source })?,
        layers: stored.layers,
        max_budget: stored.max_budget_micro_usd,
        updated_at: stored.updated_at,
    })
}
