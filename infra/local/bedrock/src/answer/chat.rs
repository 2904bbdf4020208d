//! OpenAI's chat completions.

use serde_json::{Value, json};

use super::{Event, Served};
use crate::generation::{Answer, Content, Stop};
use crate::usage::Usage;

const fn finish_reason(stop: Stop) -> &'static str {
    match stop {
        Stop::EndTurn => "stop",
        Stop::MaxTokens => "length",
        Stop::ToolUse => "tool_calls",
    }
}

/// Everything that was read is in `prompt_tokens`, what the cache had part in too.
fn usage(served: &Served, usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.context(),
        "completion_tokens": usage.output,
        "total_tokens": usage.context() + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read, "cache_write_tokens": usage.cache_write()},
        "completion_tokens_details": {"reasoning_tokens": served.generation.thinking.len()},
    })
}

fn head(served: &Served, object: &str, choices: Value) -> Value {
    json!({
        "id": format!("chatcmpl-{}", served.id), "object": object, "created": served.created, "model": served.model,
        "service_tier": served.tier, "choices": choices,
    })
}

fn tool_calls(answer: &Answer) -> Option<Value> {
    let tool = answer.tool.as_ref()?;
    let function = json!({"name": tool.name, "arguments": tool.arguments});
    Some(json!([{"id": tool.id, "type": "function", "function": function}]))
}

pub(super) fn body(served: &Served) -> Value {
    let choice = |(index, answer): (usize, &Answer)| {
        let mut message = json!({"role": "assistant", "content": answer.text()});
        if index == 0 && !served.generation.thinking.is_empty() {
            message["reasoning_content"] = served.generation.thinking.join(" ").into();
        }
        if let Some(calls) = tool_calls(answer) {
            message["content"] = Value::Null;
            message["tool_calls"] = calls;
        }
        json!({"index": index, "message": message, "finish_reason": finish_reason(answer.stop), "logprobs": null})
    };
    let choices: Vec<Value> = served.generation.answers.iter().enumerate().map(choice).collect();
    let mut body = head(served, "chat.completion", choices.into());
    if let Some(reported) = &served.reported {
        body["usage"] = usage(served, reported);
    }
    body
}

pub(super) fn events(served: &Served) -> Vec<Event> {
    let chunk = |choices: Value, output: u64| Event {
        kind: "chunk",
        body: head(served, "chat.completion.chunk", choices),
        output,
    };
    let choice = |index: usize, delta: Value, finish: Option<&str>| json!([{"index": index, "delta": delta, "finish_reason": finish}]);
    let mut events = Vec::new();
    for index in 0..served.generation.answers.len() {
        events.push(chunk(choice(index, json!({"role": "assistant", "content": ""}), None), 0));
    }
    for step in served.generation.steps() {
        let delta = match step.content {
            Content::Thinking(text) => json!({"reasoning_content": text}),
            Content::Text(text) => json!({"content": text}),
            Content::Tool(tool) => {
                let function = json!({"name": tool.name, "arguments": tool.arguments});
                json!({"tool_calls": [{"index": 0, "id": tool.id, "type": "function", "function": function}]})
            }
        };
        events.push(chunk(choice(step.answer, delta, None), step.output));
    }
    let output = served.generation.tokens();
    for (index, answer) in served.generation.answers.iter().enumerate() {
        events.push(chunk(choice(index, json!({}), Some(finish_reason(answer.stop))), output));
    }
    if let Some(reported) = served.reported.as_ref().filter(|_| served.includes_usage) {
        let mut last = chunk(json!([]), output);
        last.body["usage"] = usage(served, reported);
        events.push(last);
    }
    events
}
