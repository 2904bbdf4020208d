//! What operations refer to: parameters, headers, and what the gateway says by itself.

use super::schemas::Schemas;
use crate::route::described;
use crate::wire::schema::{Cursor, DefinitionReference, DefinitionTag};
use serde_json::{Map, Value, json};
use sluice_core::id::{
    ComputeNodeKey, DefinitionId, IdempotencyKey, InstanceId, LayerName, ModelKey, NodeId, ProcessorKey, RunId,
    TenantId, UserId,
};
use sluice_core::lifecycle::RunStatus;
use sluice_core::limits;

pub(super) fn parameters(schemas: &mut Schemas) -> Value {
    let mut all = Map::new();
    let mut add = |name: &str, spelled: &str, place: &str, schema: Value, meaning: &str| {
        let parameter = json!({
            "name": spelled, "in": place, "required": place == "path", "schema": schema, "description": meaning,
        });
        all.insert(name.to_owned(), parameter);
    };
    let number = |from: u32| json!({"type": "integer", "minimum": from});
    let time = json!({"type": "string", "format": "date-time"});
    for (name, schema, meaning) in [
        ("runId", schemas.reference(described::<RunId>), "The run's id"),
        ("nodeId", schemas.reference(described::<NodeId>), "The node's id in its version"),
        ("definition", schemas.reference(described::<DefinitionReference>), "The definition's id or name"),
        ("instanceId", schemas.reference(described::<InstanceId>), "The instance's id"),
        ("definitionId", schemas.reference(described::<DefinitionId>), "The definition's id"),
        ("tenant", schemas.reference(described::<TenantId>), "The tenant's id"),
        ("version", number(1), "The version's number"),
        ("number", number(1), "The delivery's number within its run"),
        ("sequence", number(1), "The input's place in the run's sequence of inputs, from 1"),
        ("itemIndex", number(0), "The item's place in the list of items, from 0"),
        ("iteration", number(1), "The iteration's number, from 1"),
    ] {
        add(name, name, "path", schema, meaning);
    }
    let key = schemas.reference(described::<ProcessorKey>);
    add("processorKey", "key", "path", key, "The operator's name for the processor");
    add("keyId", "keyId", "path", json!({"type": "string"}), "The id of the processor's key");
    let key = schemas.reference(described::<ComputeNodeKey>);
    add("computeNodeKey", "key", "path", key, "The operator's name for the compute node");
    let key = schemas.reference(described::<ModelKey>);
    add("modelKey", "key", "path", key, "The operator's name for the model");
    let rule = json!({"type": "string", "pattern": "^(active|latest|[1-9][0-9]*)$"});
    add("versionRule", "version", "path", rule, "The version's number, `active` or `latest`");
    add("layerName", "name", "path", schemas.reference(described::<LayerName>), "The layer's name");
    for (name, schema, meaning) in [
        (
            "status",
            json!({
                "type": "array", "items": schemas.reference(described::<RunStatus>),
                "minItems": 1, "maxItems": limits::FILTER_STATUSES,
            }),
            "Only runs with one of these statuses",
        ),
        ("workflowDefinitionId", schemas.reference(described::<DefinitionId>), "Only runs of this definition"),
        ("workflowInstanceId", schemas.reference(described::<InstanceId>), "Only runs of this instance"),
        (
            "label",
            json!({"type": "string", "pattern": r"^([^:\\]|\\[:\\])+:"}),
            r"Only runs with this label: its name, a colon, its value. In the name, `\:` is a colon and `\\` is a backslash",
        ),
        ("userId", schemas.reference(described::<UserId>), "The person whose budgets are asked for"),
        ("createdBy", json!({"type": "string", "minLength": 1}), "Only runs that this principal made"),
        ("replayOf", schemas.reference(described::<RunId>), "Only runs that repeat this one"),
        ("evaluationOf", schemas.reference(described::<RunId>), "Only runs that evaluate this one"),
        ("createdFrom", time.clone(), "Only runs created at this time or later"),
        ("createdBefore", time, "Only runs created before this time"),
        (
            "text",
            json!({"type": "string", "minLength": 1, "maxLength": limits::DISPLAY_NAME_CHARS}),
            "Only what has this text in its name, display name, description or a tag, in any case",
        ),
        ("tag", schemas.reference(described::<DefinitionTag>), "Only what has this tag"),
        ("order", json!({"enum": ["asc", "desc"], "default": "desc"}), "`asc` for the oldest first"),
        (
            "limit",
            json!({"type": "integer", "minimum": 1, "maximum": limits::PAGE_ITEMS, "default": crate::wire::paging::DEFAULT_LIMIT}),
            "Items on a page at most",
        ),
        ("cursor", schemas.reference(described::<Cursor>), "The `nextCursor` of the page before"),
        (
            "waitSeconds",
            json!({"type": "integer", "minimum": 0, "maximum": limits::WAIT_SECONDS, "default": 0}),
            "How long to wait for the run to end before answering with what it is",
        ),
        ("include", json!({"const": "snapshot"}), "`snapshot` for what the run executes, as it was frozen"),
    ] {
        add(name, name, "query", schema, meaning);
    }
    let key = schemas.reference(described::<IdempotencyKey>);
    let meaning = "Does the request at most once. The body has a field for it too; where both are given they are equal";
    add("idempotencyKey", "Idempotency-Key", "header", key, meaning);
    // Several statuses stand in one parameter, with commas between them.
    (all["status"]["style"], all["status"]["explode"]) = (json!("form"), json!(false));
    Value::Object(all)
}

pub(super) fn headers() -> Value {
    let text = json!({"type": "string"});
    json!({
        "Location": {"description": "The path of the thing", "required": true, "schema": {"type": "string", "pattern": "^/v1/"}},
        "Idempotent-Replayed": {
            "description": "This is the first answer to the idempotency key, given again",
            "schema": {"type": "string", "const": "true"},
        },
        "Retry-After": {"description": "Seconds to wait", "schema": {"type": "string", "pattern": "^[0-9]+$"}},
        "WWW-Authenticate": {"description": "How to say who you are", "schema": text},
        "Allow": {"description": "The methods that the path takes", "schema": text},
    })
}

pub(super) fn gateway_message() -> Value {
    json!({
        "description": "What API Gateway (`message`) or a Function URL (`Message`) says when the request does not reach its \
            function, or the function does not answer",
        "type": "object",
        "properties": {"message": {"type": ["string", "null"]}, "Message": {"type": ["string", "null"]}},
        "anyOf": [{"required": ["message"]}, {"required": ["Message"]}],
    })
}
