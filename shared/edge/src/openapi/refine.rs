//! What the wire types do not say: fields that go together, values, examples.

use super::schemas::to_schema;
use serde_json::{Map, Value, json};
use sluice_core::governor::terms::ServiceTier;

/// What the types do not say.
pub(super) fn refine(schemas: &mut Map<String, Value>) {
    let given = |field: &str| json!({"required": [field], "properties": {field: {"not": {"type": "null"}}}});
    // Each kind of processor has fields of its own, and takes no other's.
    let fields = [
        ("lambda", "functionArn"),
        ("stateMachine", "stateMachineArn"),
        ("ecs", "clusterArn"),
        ("ecs", "taskDefinitionArn"),
        ("ecs", "containerName"),
    ];
    let optional = ["launchType", "subnets", "securityGroups", "assignPublicIp"].map(|field| ("ecs", field));
    let of_kind = |kind: &str| {
        let needed: Vec<&str> = fields.iter().filter(|(of, _)| *of == kind).map(|(_, field)| *field).collect();
        let mut properties = json!({"kind": {"const": kind}});
        for (_, field) in fields.iter().chain(&optional).filter(|(of, _)| *of != kind) {
            properties[*field] = json!({"type": "null"});
        }
        for field in &needed {
            properties[*field] = json!({"type": "string"});
        }
        json!({"required": needed, "properties": properties})
    };
    // A context needs somewhere to go.
    let context =
        json!([{"properties": {"completionCallbackContext": {"type": "null"}}}, given("completionCallbackUrl")]);
    for (name, key, value) in [
        ("CreateRun", "anyOf", context.clone()),
        ("InvokeDefinition", "anyOf", context),
        ("CreateRun", "oneOf", json!([given("workflowInstanceId"), given("workflowInstanceConfiguration")])),
        ("DeclareProcessor", "oneOf", json!(["lambda", "stateMachine", "ecs"].map(of_kind))),
    ] {
        schemas[name][key] = value;
    }
    schemas["Budget"]["anyOf"] = json!([given("maxUsd"), given("perUserMaxUsd")]);
    for (name, field, values) in [
        ("Delivery", "channel", json!(["webhook", "event-bus"])),
        ("Attempt", "outcome", json!(["delivered", "gone", "rejected", "unreachable"])),
        ("SnapshotNodeRun", "kind", json!(["value", "lambda", "stateMachine", "ecs", "external", "hidden"])),
        ("RunInput", "kind", json!(["start", "data", "failure"])),
        ("Envelope", "specVersion", json!(["1"])),
        ("Envelope", "type", json!(["workflow.run.terminal"])),
        ("Envelope", "status", json!(["SUCCEEDED", "FAILED", "CANCELED"])),
    ] {
        let property = &mut schemas[name]["properties"][field];
        let description = property["description"].take();
        *property = json!({"type": "string", "enum": values});
        if description.is_string() {
            property["description"] = description;
        }
    }
    schemas["Node"]["properties"]["schema"]["oneOf"] = json!([to_schema("JsonSchema"), {"type": "null"}]);
    schemas["Node"]["properties"]["parameters"]["propertyNames"] =
        json!({"type": "string", "minLength": 1, "maxLength": 128});
    let tiers = ServiceTier::ALL.map(ServiceTier::as_str);
    schemas["ModelPrice"]["properties"]["tiers"]["propertyNames"] = json!({"type": "string", "enum": tiers});
    schemas["ModelPrice"]["properties"]["tiers"]["minProperties"] = json!(1);
    for (name, example) in examples() {
        schemas[&name]["examples"] = json!([example]);
    }
}

/// Examples of what the API answers, by the names of their schemas.
fn examples() -> Map<String, Value> {
    serde_json::from_str(include_str!("examples.json")).unwrap_or_default()
}
