//! Answers of `Converse` and `ConverseStream`.
//! Source: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html>

use serde_json::{Value, json};

use super::{Event, Served};
use crate::generation::{Content, Stop};
use crate::usage::Usage;

/// What a model signs its thoughts with.
const SIGNATURE: &str = "c2lnbmVk";

pub(super) const fn stop_reason(stop: Stop) -> &'static str {
    match stop {
        Stop::EndTurn => "end_turn",
        Stop::MaxTokens => "max_tokens",
        Stop::ToolUse => "tool_use",
    }
}

pub(super) fn usage(usage: &Usage) -> Value {
    let details = [("5m", usage.cache_write_5m), ("1h", usage.cache_write_1h)];
    let details: Vec<Value> = details
        .into_iter()
        .filter(|(_, tokens)| *tokens > 0)
        .map(|(ttl, tokens)| json!({"ttl": ttl, "inputTokens": tokens}))
        .collect();
    json!({
        "inputTokens": usage.input,
        "outputTokens": usage.output,
        "totalTokens": usage.context() + usage.output,
        "cacheReadInputTokens": usage.cache_read,
        "cacheWriteInputTokens": usage.cache_write(),
        "cacheDetails": details,
    })
}

/// The blocks of the answer, in the order in which it was written.
pub(super) fn content(served: &Served) -> Vec<Value> {
    let mut blocks = Vec::new();
    if !served.generation.thinking.is_empty() {
        let text = served.generation.thinking.join(" ");
        blocks.push(json!({"reasoningContent": {"reasoningText": {"text": text, "signature": SIGNATURE}}}));
    }
    for answer in &served.generation.answers {
        match &answer.tool {
            None => blocks.push(json!({"text": answer.text()})),
            Some(tool) => {
                let input: Value = serde_json::from_str(&tool.arguments).unwrap_or_default();
                blocks.push(json!({"toolUse": {"toolUseId": tool.id, "name": tool.name, "input": input}}));
            }
        }
    }
    blocks
}

pub(super) fn stop(served: &Served) -> Stop {
    served.generation.answers.first().map_or(Stop::EndTurn, |answer| answer.stop)
}

pub(super) fn body(served: &Served) -> Value {
    let mut body = json!({
        "output": {"message": {"role": "assistant", "content": content(served)}},
        "stopReason": stop_reason(stop(served)),
        "metrics": {"latencyMs": 1},
        "serviceTier": {"type": served.tier},
    });
    if let Some(reported) = &served.reported {
        body["usage"] = usage(reported);
    }
    if let Some(guarded) = served.guardrail.as_ref().filter(|guarded| guarded.guardrail.is_traced) {
        body["trace"] = json!({"guardrail": guarded.trace()});
    }
    body
}

pub(super) fn events(served: &Served) -> Vec<Event> {
    let mut events = vec![Event { kind: "messageStart", body: json!({"role": "assistant"}), output: 0 }];
    events.extend(blocks(served));
    let output = served.generation.tokens();
    let stop = json!({"stopReason": stop_reason(stop(served))});
    events.push(Event { kind: "messageStop", body: stop, output });
    if let Some(reported) = &served.reported {
        let mut body = json!({
            "usage": usage(reported), "metrics": {"latencyMs": 1}, "serviceTier": {"type": served.tier},
        });
        if let Some(guarded) = served.guardrail.as_ref().filter(|guarded| guarded.guardrail.is_traced) {
            body["trace"] = json!({"guardrail": guarded.trace()});
        }
        events.push(Event { kind: "metadata", body, output });
    }
    events
}

/// The parts of the answer, each block with its end, a tool's with its start.
pub(super) fn blocks(served: &Served) -> Vec<Event> {
    let mut events = Vec::new();
    let (mut index, mut within, mut output) = (0_u64, None, 0);
    for step in served.generation.steps() {
        let kind = std::mem::discriminant(&step.content);
        if let Some(open) = within.replace(kind)
            && open != kind
        {
            events.push(Event { kind: "contentBlockStop", body: json!({"contentBlockIndex": index}), output });
            index += 1;
        }
        output = step.output;
        let delta = match step.content {
            Content::Thinking(text) => json!({"reasoningContent": {"text": text}}),
            Content::Text(text) => json!({"text": text}),
            Content::Tool(tool) => {
                let start = json!({"toolUse": {"toolUseId": tool.id, "name": tool.name}});
                let body = json!({"start": start, "contentBlockIndex": index});
                events.push(Event { kind: "contentBlockStart", body, output });
                json!({"toolUse": {"input": tool.arguments}})
            }
        };
        let body = json!({"delta": delta, "contentBlockIndex": index});
        events.push(Event { kind: "contentBlockDelta", body, output });
    }
    if within.is_some() {
        events.push(Event { kind: "contentBlockStop", body: json!({"contentBlockIndex": index}), output });
    }
    events
}
