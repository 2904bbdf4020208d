//! What a receiver of webhooks is told.

use super::schemas::{to_header, to_schema};
use serde_json::{Value, json};
use sluice_core::delivery::RETRY_SCHEDULE_SECONDS;
use sluice_core::limits;

pub(super) fn webhook(envelope: Value) -> Value {
    let waits: Vec<String> = RETRY_SCHEDULE_SECONDS.iter().map(ToString::to_string).collect();
    let header = |name: &str, schema: Value, meaning: &str| json!({"name": name, "in": "header", "required": true, "schema": schema, "description": meaning});
    let text = || json!({"type": "string"});
    let whole = || json!({"type": "string", "pattern": "^[0-9]+$"});
    json!({
        "operationId": "receiveRunTerminal",
        "summary": "A run has ended",
        "description": format!(
            "Sent to `completionCallbackUrl` once the terminal status is durable, at least once. The body is built once and is \
             the same, byte for byte, on every attempt; its output is left out, and `outputOmitted` says so, above {} bytes. \
             Every attempt is signed anew with AWS Signature Version 4 (service `lambda`, the region of the URL), the headers \
             named here included. A receiver need not check the signature, its Function URL did: it checks \
             `requestContext.authorizer.iam.userArn` and drops what has a `webhook-id` it has seen. What is not delivered is \
             tried again after {} seconds, then dead-lettered.",
            limits::WEBHOOK_BODY_BYTES,
            waits.join(", "),
        ),
        "security": [{"iam": []}],
        "parameters": [
            header("webhook-id", text(), "The same on every attempt: drop repeats by it"),
            header("webhook-timestamp", whole(), "When the attempt was made, in seconds since 1970"),
            header("webhook-attempt", whole(), "The attempt's number, from 1"),
            header("sluice-tenant-id", text(), "The run's tenant"),
            header("sluice-run-id", to_schema("RunId"), "The run"),
        ],
        "requestBody": {"required": true, "content": {"application/json": {"schema": envelope}}},
        "responses": {
            "2XX": {"description": "Delivered"},
            "410": {"description": "The receiver wants no more of it: it is dead-lettered at once"},
            "429": {"description": "Not now. `Retry-After` is followed, within an hour", "headers": {"Retry-After": to_header("Retry-After")}},
            "503": {"description": "Not now. `Retry-After` is followed, within an hour", "headers": {"Retry-After": to_header("Retry-After")}},
            "default": {"description": "Tried again"},
        },
    })
}
