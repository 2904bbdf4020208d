//! What journeys ask for: versions to define, bodies to send.

use serde_json::{Value, json};

/// A version with one node that has its value at once: the quickest run there is.
pub fn instant() -> Value {
    json!({"nodes": [{"id": "value", "type": "data-source"}]})
}

/// A version that waits for the answer of its node `ask`, which its node `work` gives back.
pub fn asking() -> Value {
    json!({
        "nodes": [
            {"id": "ask", "type": "external", "schema": {"type": "object", "required": ["approved"]}},
            {"id": "work", "type": "processor", "processor": "echo"}
        ],
        "edges": [{"from": "ask", "to": "work"}]
    })
}

/// A version with one node that takes its time; parameters `seconds`, `failWith`, `succeedOnAttempt`.
pub fn hold(retry: Value) -> Value {
    json!({"nodes": [hold_node("hold", retry)]})
}

pub fn hold_node(id: &str, retry: Value) -> Value {
    json!({
        "id": id, "type": "processor", "processor": "hold", "retry": retry,
        "parameters": {
            "seconds": {"type": "integer", "default": 0},
            "failWith": {"type": "string", "default": ""},
            "succeedOnAttempt": {"type": "integer", "default": 0},
        },
    })
}

/// Parameters of the node `hold`.
pub fn holding(params: Value) -> Value {
    json!({"processorParams": {"hold": params}})
}

/// The body of a request for a run of a definition.
pub fn body(definition: &str, fields: Value) -> Value {
    let mut body = fields;
    body["workflowInstanceConfiguration"] = json!({"workflowDefinitionId": definition});
    body
}
