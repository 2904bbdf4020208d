//! Answers of `InvokeModel`, one form for each family.
//! Source: <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html>

use serde_json::{Value, json};

use super::{Event, Served, anthropic, chat, converse};
use crate::family::Family;
use crate::generation::{Answer, Content, Stop};

const METRICS: &str = "amazon-bedrock-invocationMetrics";

/// One of two words: the limit was reached, or not.
const fn ended(stop: Stop, limit: &'static str, end: &'static str) -> &'static str {
    match stop {
        Stop::MaxTokens => limit,
        Stop::EndTurn | Stop::ToolUse => end,
    }
}

pub(super) fn body(family: Family, served: &Served) -> Value {
    let stop = converse::stop(served);
    let text = served.generation.answers.first().map(Answer::text).unwrap_or_default();
    let reported = served.reported;
    let mut body = match family {
        Family::Anthropic => anthropic::body(served),
        Family::OpenAi => chat::body(served),
        Family::Ai21 => without_usage(chat::body(served)),
        Family::Nova => {
            let mut body = converse::body(served);
            if let Some(fields) = body.as_object_mut() {
                fields.retain(|name, _| ["output", "stopReason"].contains(&name.as_str()));
            }
            body["usage"] = nova_usage(served);
            body
        }
        Family::Llama => json!({
            "generation": text,
            "prompt_token_count": reported.map(|usage| usage.context()),
            "generation_token_count": reported.map(|usage| usage.output),
            "stop_reason": ended(stop, "length", "stop"),
        }),
        Family::Titan => json!({
            "inputTextTokenCount": reported.map(|usage| usage.context()),
            "results": [{
                "tokenCount": reported.map(|usage| usage.output),
                "outputText": text,
                "completionReason": ended(stop, "LENGTH", "FINISH"),
            }],
        }),
        Family::Mistral => json!({"outputs": [{"text": text, "stop_reason": ended(stop, "length", "stop")}]}),
        Family::Cohere => {
            let generations = served.generation.answers.iter().map(|answer| {
                let reason = ended(answer.stop, "MAX_TOKENS", "COMPLETE");
                json!({"id": served.id, "text": answer.text(), "finish_reason": reason})
            });
            json!({
                "response_id": served.id, "generation_id": served.id, "text": text,
                "finish_reason": ended(stop, "MAX_TOKENS", "COMPLETE"),
                "generations": generations.collect::<Vec<_>>(),
            })
        }
    };
    if let Some(guarded) = &served.guardrail {
        body["amazon-bedrock-guardrailAction"] = "NONE".into();
        if guarded.guardrail.is_traced {
            body["amazon-bedrock-trace"] = json!({"guardrail": guarded.trace()});
        }
    }
    body
}

fn without_usage(mut body: Value) -> Value {
    if let Some(fields) = body.as_object_mut() {
        fields.remove("usage");
    }
    body
}

fn nova_usage(served: &Served) -> Value {
    served.reported.map_or(Value::Null, |usage| {
        json!({
            "inputTokens": usage.input, "outputTokens": usage.output, "totalTokens": usage.context() + usage.output,
            "cacheReadInputTokenCount": usage.cache_read, "cacheWriteInputTokenCount": usage.cache_write(),
        })
    })
}

/// The chunks of a family. The last of them has the metrics, where the family tells its usage.
pub(super) fn events(family: Family, served: &Served) -> Vec<Event> {
    let mut events = match family {
        Family::Anthropic => anthropic::events(served),
        Family::OpenAi => chat::events(served),
        Family::Ai21 => {
            let silent = Served { includes_usage: false, ..served.clone() };
            chat::events(&silent)
        }
        Family::Nova => nova(served),
        Family::Llama | Family::Titan | Family::Mistral | Family::Cohere => texts(family, served),
    };
    if let Some(guarded) = served.guardrail.as_ref().filter(|guarded| guarded.guardrail.is_traced)
        && let Some(last) = events.last_mut()
    {
        last.body["amazon-bedrock-trace"] = json!({"guardrail": guarded.trace()});
    }
    if let Some(usage) = served.reported.filter(|_| family.tells_usage())
        && let Some(last) = events.last_mut()
    {
        last.body[METRICS] = json!({
            "inputTokenCount": usage.input, "outputTokenCount": usage.output, "invocationLatency": 1, "firstByteLatency": 1,
            "cacheReadInputTokenCount": usage.cache_read, "cacheWriteInputTokenCount": usage.cache_write(),
        });
    }
    events
}

/// The events of Converse, each under its name.
fn nova(served: &Served) -> Vec<Event> {
    let wrapped = |event: Event| Event { kind: "chunk", body: json!({event.kind: event.body}), output: event.output };
    let output = served.generation.tokens();
    let start = Event { kind: "messageStart", body: json!({"role": "assistant"}), output: 0 };
    let stop = json!({"stopReason": converse::stop_reason(converse::stop(served))});
    let stop = Event { kind: "messageStop", body: stop, output };
    let metadata = Event { kind: "metadata", body: json!({"usage": nova_usage(served), "metrics": {}}), output };
    let last = served.reported.is_some().then_some(metadata);
    [start].into_iter().chain(converse::blocks(served)).chain([stop]).chain(last).map(wrapped).collect()
}

/// Families that stream nothing but text, with a last chunk that says why it ends.
fn texts(family: Family, served: &Served) -> Vec<Event> {
    let chunk = |body: Value, output: u64| Event { kind: "chunk", body, output };
    let texts = served.generation.steps().into_iter().filter_map(|step| match step.content {
        Content::Text(text) if step.answer == 0 => Some((text, step.output)),
        Content::Text(_) | Content::Thinking(_) | Content::Tool(_) => None,
    });
    let mut events: Vec<Event> =
        texts.map(|(text, output)| chunk(part(family, served, &text, output), output)).collect();
    events.push(chunk(end(family, served), served.generation.tokens()));
    events
}

fn part(family: Family, served: &Served, text: &str, output: u64) -> Value {
    let reported = served.reported;
    match family {
        Family::Llama => json!({
            "generation": text, "stop_reason": null,
            "prompt_token_count": reported.filter(|_| output <= 5).map(|usage| usage.context()),
            "generation_token_count": reported.map(|_| output),
        }),
        Family::Titan => json!({
            "outputText": text, "index": 0, "completionReason": null,
            "inputTextTokenCount": reported.map(|usage| usage.context()),
            "totalOutputTextTokenCount": reported.map(|_| output),
        }),
        Family::Cohere => json!({"event_type": "text-generation", "is_finished": false, "text": text}),
        Family::Mistral | Family::Ai21 | Family::Anthropic | Family::Nova | Family::OpenAi => {
            json!({"outputs": [{"text": text, "stop_reason": null}]})
        }
    }
}

fn end(family: Family, served: &Served) -> Value {
    let (stop, reported) = (converse::stop(served), served.reported);
    match family {
        Family::Llama => json!({
            "generation": "", "stop_reason": ended(stop, "length", "stop"), "prompt_token_count": null,
            "generation_token_count": reported.map(|usage| usage.output),
        }),
        Family::Titan => json!({
            "outputText": "", "index": 0, "completionReason": ended(stop, "LENGTH", "FINISH"),
            "inputTextTokenCount": reported.map(|usage| usage.context()),
            "totalOutputTextTokenCount": reported.map(|usage| usage.output),
        }),
        Family::Cohere => json!({
            "event_type": "stream-end", "is_finished": true, "finish_reason": ended(stop, "MAX_TOKENS", "COMPLETE"),
        }),
        Family::Mistral | Family::Ai21 | Family::Anthropic | Family::Nova | Family::OpenAi => {
            json!({"outputs": [{"text": "", "stop_reason": ended(stop, "length", "stop")}]})
        }
    }
}
