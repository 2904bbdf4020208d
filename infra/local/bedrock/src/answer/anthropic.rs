//! Anthropic's messages, as `InvokeModel` gives them.
//! Source: <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages-request-response.html>

use serde_json::{Value, json};

use super::converse::{stop, stop_reason};
use super::{Event, Served};
use crate::generation::Content;
use crate::usage::Usage;

const SIGNATURE: &str = "c2lnbmVk";

fn usage(usage: &Usage, output: u64) -> Value {
    json!({
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write(),
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_5m, "ephemeral_1h_input_tokens": usage.cache_write_1h,
        },
        "output_tokens": output,
    })
}

fn message(served: &Served, content: Value) -> Value {
    json!({
        "id": format!("msg_bdrk_{}", served.id), "type": "message", "role": "assistant", "model": served.model,
        "content": content, "stop_reason": null, "stop_sequence": null,
    })
}

pub(super) fn body(served: &Served) -> Value {
    let mut content = Vec::new();
    if !served.generation.thinking.is_empty() {
        let text = served.generation.thinking.join(" ");
        content.push(json!({"type": "thinking", "thinking": text, "signature": SIGNATURE}));
    }
    for answer in &served.generation.answers {
        match &answer.tool {
            None => content.push(json!({"type": "text", "text": answer.text()})),
            Some(tool) => {
                let input: Value = serde_json::from_str(&tool.arguments).unwrap_or_default();
                content.push(json!({"type": "tool_use", "id": tool.id, "name": tool.name, "input": input}));
            }
        }
    }
    let mut body = message(served, content.into());
    body["stop_reason"] = stop_reason(stop(served)).into();
    if let Some(reported) = &served.reported {
        body["usage"] = usage(reported, reported.output);
    }
    body
}

pub(super) fn events(served: &Served) -> Vec<Event> {
    let mut start = message(served, json!([]));
    if let Some(reported) = &served.reported {
        // The first count of the output is of what has been written so far; the last event has the whole.
        start["usage"] = usage(reported, 1.min(reported.output));
    }
    let chunk = |body: Value, output: u64| Event { kind: "chunk", body, output };
    let mut events = vec![chunk(json!({"type": "message_start", "message": start}), 0)];
    let (mut index, mut within, mut output) = (0_u64, None, 0);
    for step in served.generation.steps() {
        let kind = std::mem::discriminant(&step.content);
        let open = within.replace(kind);
        if open != Some(kind) {
            if open.is_some() {
                events.push(chunk(json!({"type": "content_block_stop", "index": index}), output));
                index += 1;
            }
            let block = empty_block(&step.content);
            events.push(chunk(json!({"type": "content_block_start", "index": index, "content_block": block}), output));
        }
        output = step.output;
        let delta = match step.content {
            Content::Thinking(text) => json!({"type": "thinking_delta", "thinking": text}),
            Content::Text(text) => json!({"type": "text_delta", "text": text}),
            Content::Tool(tool) => json!({"type": "input_json_delta", "partial_json": tool.arguments}),
        };
        events.push(chunk(json!({"type": "content_block_delta", "index": index, "delta": delta}), output));
    }
    if within.is_some() {
        events.push(chunk(json!({"type": "content_block_stop", "index": index}), output));
    }
    let mut delta = json!({
        "type": "message_delta", "delta": {"stop_reason": stop_reason(stop(served)), "stop_sequence": null},
    });
    if let Some(reported) = &served.reported {
        delta["usage"] = json!({"output_tokens": reported.output});
    }
    events.push(chunk(delta, output));
    events.push(chunk(json!({"type": "message_stop"}), output));
    events
}

fn empty_block(content: &Content) -> Value {
    match content {
        Content::Thinking(_) => json!({"type": "thinking", "thinking": "", "signature": ""}),
        Content::Text(_) => json!({"type": "text", "text": ""}),
        Content::Tool(tool) => json!({"type": "tool_use", "id": tool.id, "name": tool.name, "input": {}}),
    }
}
