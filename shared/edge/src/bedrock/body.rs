//! Reads the body of each operation into a [`Call`].

use super::family::Family;
use super::field::{Unreadable, is_limit, is_optimized, limit, number, object, tier};
use super::reading::Reading;
use serde_json::{Map, Value};
use sluice_core::governor::call::{Call, Input};

/// What a call by InvokeModel says in its headers.
#[derive(Clone, Copy, Debug, Default)]
pub struct InvokeHeaders<'a> {
    /// `X-Amzn-Bedrock-Service-Tier`
    pub service_tier: Option<&'a str>,
    /// `X-Amzn-Bedrock-PerformanceConfig-Latency`
    pub latency: Option<&'a str>,
    /// `X-Amzn-Bedrock-GuardrailIdentifier`
    pub guardrail: Option<&'a str>,
}

/// A body of Converse or ConverseStream.
///
/// # Errors
/// When it is none that can be governed.
pub fn converse(body: &Value) -> Result<Call, Unreadable> {
    let fields = object(body)?;
    let mut reading = Reading::default();
    let mut call = Call::default();
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        match name.as_str() {
            "messages" => reading.messages(value),
            "system" => system(&mut reading, value),
            "inferenceConfig" => call.max_tokens = number(value.get("maxTokens"), "inferenceConfig.maxTokens")?,
            "toolConfig" => {
                reading.input.has_tools = true;
                reading.data(value);
                let tools = value.get("tools").and_then(Value::as_array);
                let is_systems = |tool: &Value| tool.get("systemTool").is_some();
                call.uses_system_tools |= tools.is_some_and(|tools| tools.iter().any(is_systems));
            }
            "guardrailConfig" => call.has_guardrail = true,
            "performanceConfig" => {
                call.is_latency_optimized = is_optimized(value.get("latency").and_then(Value::as_str))
            }
            "serviceTier" => call.tier = tier(value.get("type").and_then(Value::as_str), "serviceTier.type")?,
            "additionalModelRequestFields" => additional(&mut reading, &mut call, value)?,
            // A schema that the answer has to keep, which the model is shown.
            "outputConfig" => {
                reading.input.has_tools = true;
                reading.data(value);
            }
            "promptVariables" => reading.input.has_other_content = true,
            "additionalModelResponseFieldPaths" | "requestMetadata" => {}
            // Of the path, in the SDKs' own models.
            "modelId" => {}
            other => return Err(Unreadable::Ungoverned(other.to_owned())),
        }
    }
    Ok(with(call, reading))
}

/// What Converse hands on to the model as it is.
fn additional(reading: &mut Reading, call: &mut Call, value: &Value) -> Result<(), Unreadable> {
    for (name, member) in value.as_object().into_iter().flatten() {
        match name.as_str() {
            "thinking" => call.thinking_tokens = number(member.get("budget_tokens"), "thinking.budget_tokens")?,
            "reasoning_config" => {
                call.thinking_tokens = number(member.get("budget_tokens"), "reasoning_config.budget_tokens")?;
            }
            // Nova's highest effort takes no limit.
            "reasoningConfig" => {
                call.takes_limit &= member.get("maxReasoningEffort").and_then(Value::as_str) != Some("high");
            }
            "tools" => {
                reading.input.has_tools = true;
                reading.data(member);
            }
            // A limit, a model, a tier or more answers behind the back of what was read above.
            name if is_limit(name) || ["n", "num_generations", "service_tier", "model", "messages"].contains(&name) => {
                return Err(Unreadable::Ungoverned(format!("additionalModelRequestFields.{name}")));
            }
            "inferenceConfig" if member.as_object().into_iter().flatten().any(|(name, _)| is_limit(name)) => {
                let name = "additionalModelRequestFields.inferenceConfig";
                return Err(Unreadable::Ungoverned(name.to_owned()));
            }
            name => {
                reading.text(name);
                reading.wary(member);
            }
        }
    }
    Ok(())
}

/// A body of InvokeModel or InvokeModelWithResponseStream. A family that is not known is bounded by the model alone: by its whole
/// context, and by the longest answer that it gives.
///
/// # Errors
/// When it is none that can be governed.
pub fn invoke(family: Option<Family>, body: &Value, headers: InvokeHeaders<'_>) -> Result<Call, Unreadable> {
    let fields = object(body)?;
    let call = match family {
        Some(Family::Anthropic) => anthropic(fields)?,
        Some(Family::Nova) => nova(fields)?,
        Some(Family::Chat) => chat_fields(fields)?,
        Some(Family::Llama) => plain(fields, &["max_gen_len"], None)?,
        Some(Family::Mistral) => plain(fields, &["max_tokens"], None)?,
        Some(Family::Cohere) => plain(fields, &["max_tokens"], Some("num_generations"))?,
        Some(Family::Titan) => titan(fields)?,
        None => {
            let input = Input { has_other_content: true, ..Input::default() };
            Call { input, takes_limit: false, ..Call::default() }
        }
    };
    headed(call, headers)
}

/// With what the headers say beside the body.
fn headed(mut call: Call, headers: InvokeHeaders<'_>) -> Result<Call, Unreadable> {
    if headers.service_tier.is_some() {
        call.tier = tier(headers.service_tier, "X-Amzn-Bedrock-Service-Tier")?;
    }
    call.is_latency_optimized |= is_optimized(headers.latency);
    call.has_guardrail |= headers.guardrail.is_some();
    Ok(call)
}

fn anthropic(fields: &Map<String, Value>) -> Result<Call, Unreadable> {
    let mut reading = Reading::default();
    let mut call = Call::default();
    let limits = ["max_tokens", "max_tokens_to_sample"];
    call.max_tokens = limit(fields, &limits)?;
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        match name.as_str() {
            "messages" => reading.messages(value),
            "system" => system(&mut reading, value),
            "tools" => {
                reading.input.has_tools = true;
                reading.data(value);
                // Of those that the service runs: not one of a client, which has a schema or none that is billed.
                let is_served = |tool: &Value| {
                    let kind = tool.get("type").and_then(Value::as_str).unwrap_or("custom");
                    ["web_search", "web_fetch", "code_execution"].iter().any(|served| kind.starts_with(served))
                };
                call.uses_system_tools = value.as_array().is_some_and(|tools| tools.iter().any(is_served));
            }
            "thinking" => call.thinking_tokens = number(value.get("budget_tokens"), "thinking.budget_tokens")?,
            "mcp_servers" | "container" => return Err(Unreadable::Ungoverned(name.clone())),
            name if limits.contains(&name) => {}
            name => {
                reading.text(name);
                reading.wary(value);
            }
        }
    }
    Ok(with(call, reading))
}

fn nova(fields: &Map<String, Value>) -> Result<Call, Unreadable> {
    let mut reading = Reading::default();
    let mut call = Call::default();
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        match name.as_str() {
            "messages" => reading.messages(value),
            "system" => system(&mut reading, value),
            "inferenceConfig" => {
                let config = object(value)?;
                call.max_tokens = limit(config, &["maxTokens", "max_new_tokens"])?;
                let reasoning = config.get("reasoningConfig");
                call.takes_limit &= !has_high_effort(reasoning);
            }
            "reasoningConfig" => call.takes_limit &= !has_high_effort(Some(value)),
            "toolConfig" => {
                reading.input.has_tools = true;
                reading.data(value);
                let tools = value.get("tools").and_then(Value::as_array);
                call.uses_system_tools =
                    tools.is_some_and(|tools| tools.iter().any(|tool| tool.get("systemTool").is_some()));
            }
            "schemaVersion" => {}
            other => return Err(Unreadable::Ungoverned(other.to_owned())),
        }
    }
    Ok(with(call, reading))
}

fn has_high_effort(reasoning: Option<&Value>) -> bool {
    reasoning.and_then(|reasoning| reasoning.get("maxReasoningEffort")).and_then(Value::as_str) == Some("high")
}

fn titan(fields: &Map<String, Value>) -> Result<Call, Unreadable> {
    let config = fields.get("textGenerationConfig");
    let max_tokens =
        number(config.and_then(|config| config.get("maxTokenCount")), "textGenerationConfig.maxTokenCount")?;
    let mut call = plain(fields, &[], None)?;
    call.max_tokens = max_tokens;
    Ok(call)
}

/// A body of which everything is text but what is known not to be, and the limit is one of these fields.
fn plain(fields: &Map<String, Value>, limits: &[&'static str], answers: Option<&str>) -> Result<Call, Unreadable> {
    let mut reading = Reading::default();
    let mut call = Call { max_tokens: limit(fields, limits)?, ..Call::default() };
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        match name.as_str() {
            "messages" | "chat_history" => reading.messages(value),
            "tools" => {
                reading.input.has_tools = true;
                reading.data(value);
            }
            name if Some(name) == answers => call.answers = number(Some(value), name)?.unwrap_or(1),
            name if limits.contains(&name) => {}
            name => {
                reading.text(name);
                reading.wary(value);
            }
        }
    }
    // What is no conversation is one message.
    reading.input.messages += 1;
    Ok(with(call, reading))
}

/// A body of Bedrock's chat completions.
///
/// # Errors
/// When it is none that can be governed.
pub fn chat(body: &Value, headers: InvokeHeaders<'_>) -> Result<Call, Unreadable> {
    headed(chat_fields(object(body)?)?, headers)
}

fn chat_fields(fields: &Map<String, Value>) -> Result<Call, Unreadable> {
    let limits = ["max_completion_tokens", "max_tokens"];
    let mut call = Call { max_tokens: limit(fields, &limits)?, ..Call::default() };
    let mut reading = Reading::default();
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        match name.as_str() {
            "messages" => reading.messages(value),
            "tools" | "functions" | "response_format" => {
                reading.input.has_tools = true;
                reading.data(value);
            }
            "n" => call.answers = number(Some(value), "n")?.unwrap_or(1),
            // `auto` is what the account is set to, which for Bedrock is the default.
            "service_tier" if value.as_str() == Some("auto") => {}
            "service_tier" => call.tier = tier(value.as_str(), "service_tier")?,
            "web_search_options" => call.uses_system_tools = true,
            "audio" | "modalities" | "prediction" => return Err(Unreadable::Ungoverned(name.clone())),
            "model" | "stream" | "stream_options" => {}
            name if limits.contains(&name) => {}
            name => {
                reading.text(name);
                reading.wary(value);
            }
        }
    }
    Ok(with(call, reading))
}

fn system(reading: &mut Reading, value: &Value) {
    reading.input.messages += 1;
    reading.content(value);
}

fn with(call: Call, reading: Reading) -> Call {
    Call { input: reading.input, cache_writes: reading.cache_writes, ..call }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use sluice_core::governor::terms::ServiceTier;

    #[test]
    fn each_operation_says_its_limit() {
        let message = json!([{"role": "user", "content": "hi"}]);
        let call = |family, body: Value| invoke(Some(family), &body, InvokeHeaders::default()).expect("understood");
        for (call, max_tokens) in [
            (converse(&json!({"messages": []})).expect("understood"), None),
            (converse(&json!({"messages": [], "inferenceConfig": {"maxTokens": 5.0}})).expect("understood"), Some(5)),
            (converse(&json!({"inferenceConfig": {"maxTokens": null}})).expect("understood"), None),
            (call(Family::Anthropic, json!({"messages": message, "max_tokens": 7})), Some(7)),
            (call(Family::Anthropic, json!({"prompt": "hi", "max_tokens_to_sample": 7})), Some(7)),
            (call(Family::Nova, json!({"messages": message, "inferenceConfig": {"max_new_tokens": 7}})), Some(7)),
            (call(Family::Nova, json!({"messages": message, "inferenceConfig": {"maxTokens": 7}})), Some(7)),
            (call(Family::Llama, json!({"prompt": "hi", "max_gen_len": 7})), Some(7)),
            (call(Family::Titan, json!({"inputText": "hi", "textGenerationConfig": {"maxTokenCount": 7}})), Some(7)),
            (call(Family::Mistral, json!({"prompt": "hi", "max_tokens": 7})), Some(7)),
            (call(Family::Cohere, json!({"message": "hi", "max_tokens": 7})), Some(7)),
            (call(Family::Chat, json!({"messages": message, "max_completion_tokens": 7})), Some(7)),
            (
                chat(&json!({"messages": message, "max_tokens": 7}), InvokeHeaders::default()).expect("understood"),
                Some(7),
            ),
            (chat(&json!({"messages": message}), InvokeHeaders::default()).expect("understood"), None),
        ] {
            assert_eq!((call.max_tokens, call.takes_limit), (max_tokens, true), "{call:?}");
        }
    }

    #[test]
    fn a_limit_that_is_none_is_refused_in_every_operation() {
        for bad in [json!(-1), json!(1.5), json!("5"), json!(true), json!([5]), json!({})] {
            let bodies = [
                converse(&json!({"inferenceConfig": {"maxTokens": bad}})),
                invoke(Some(Family::Anthropic), &json!({"max_tokens": bad}), InvokeHeaders::default()),
                invoke(Some(Family::Llama), &json!({"max_gen_len": bad}), InvokeHeaders::default()),
                chat(&json!({"max_tokens": bad}), InvokeHeaders::default()),
                chat(&json!({"n": bad}), InvokeHeaders::default()),
            ];
            for body in bodies {
                assert!(matches!(body, Err(Unreadable::NotWhole(_))), "{bad}: {body:?}");
            }
        }
        let twice = chat(&json!({"max_tokens": 1, "max_completion_tokens": 2}), InvokeHeaders::default());
        assert_eq!(twice, Err(Unreadable::Twice("max_tokens")));
        assert_eq!(converse(&json!([])), Err(Unreadable::NotAnObject));
    }

    #[test]
    fn nothing_changes_a_limit_or_a_price_behind_the_back() {
        for (name, value) in [
            ("max_tokens", json!(5)),
            ("maxTokens", json!(5)),
            ("max_new_tokens", json!(5)),
            ("max_gen_len", json!(5)),
            ("maxTokenCount", json!(5)),
            ("max_completion_tokens", json!(5)),
            ("n", json!(5)),
            ("service_tier", json!("priority")),
            ("inferenceConfig", json!({"max_new_tokens": 5})),
        ] {
            let body = json!({"additionalModelRequestFields": {name: value}});
            assert!(matches!(converse(&body), Err(Unreadable::Ungoverned(_))), "{body}");
        }
        for body in [json!({"surprise": 1}), json!({"promptCaching": {}})] {
            assert!(matches!(converse(&body), Err(Unreadable::Ungoverned(_))), "{body}");
        }
        let servers = json!({"mcp_servers": [{}], "max_tokens": 1});
        assert!(invoke(Some(Family::Anthropic), &servers, InvokeHeaders::default()).is_err());
    }

    #[test]
    fn what_has_a_price_of_its_own_is_seen() {
        let seen = converse(&json!({
            "messages": [{"role": "user", "content": [{"text": "hi"}, {"cachePoint": {"type": "default"}}]}],
            "system": [{"text": "be kind"}],
            "toolConfig": {"tools": [{"toolSpec": {"name": "look", "inputSchema": {"json": {}}}}, {"systemTool": {"name": "x"}}]},
            "guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"},
            "performanceConfig": {"latency": "optimized"},
            "serviceTier": {"type": "flex"},
            "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 2000}, "top_k": 5},
        }))
        .expect("understood");
        assert!(seen.uses_system_tools && seen.has_guardrail && seen.is_latency_optimized && seen.input.has_tools);
        assert_eq!((seen.tier, seen.thinking_tokens, seen.input.messages), (ServiceTier::Flex, Some(2_000), 2));
        assert_eq!(seen.cache_writes.len(), 1);
        let headers =
            InvokeHeaders { service_tier: Some("priority"), latency: Some("optimized"), guardrail: Some("g") };
        let seen =
            invoke(Some(Family::Anthropic), &json!({"thinking": {"budget_tokens": 9}}), headers).expect("understood");
        assert_eq!((seen.tier, seen.is_latency_optimized, seen.has_guardrail), (ServiceTier::Priority, true, true));
        assert_eq!(seen.thinking_tokens, Some(9));
        assert_eq!(chat(&json!({"n": 3}), InvokeHeaders::default()).expect("understood").answers, 3);
        assert_eq!(converse(&json!({"serviceTier": {"type": "reserved"}})), Err(Unreadable::Tier("serviceTier.type")));
        assert!(
            chat(&json!({"web_search_options": {}}), InvokeHeaders::default()).expect("understood").uses_system_tools
        );
        let effort = json!({"additionalModelRequestFields": {"reasoningConfig": {"maxReasoningEffort": "high"}}});
        assert!(!converse(&effort).expect("understood").takes_limit);
    }

    #[test]
    fn an_unknown_family_is_bounded_by_its_model_alone() {
        let call =
            invoke(None, &json!({"whatever": "hi", "max_tokens": 5}), InvokeHeaders::default()).expect("understood");
        assert!(call.input.has_other_content && !call.takes_limit && call.max_tokens.is_none());
    }

    #[test]
    fn all_text_counts_in_every_operation() {
        let long = "word ".repeat(100);
        let least = long.len() as u64;
        let headers = InvokeHeaders::default();
        let blocks = json!([{"role": "user", "content": [{"text": long}]}]);
        let typed = json!([{"role": "user", "content": [{"type": "text", "text": long}]}]);
        for call in [
            converse(&json!({"messages": blocks})),
            converse(&json!({"system": [{"text": long}]})),
            converse(&json!({"toolConfig": {"tools": [{"toolSpec": {"description": long}}]}})),
            converse(&json!({"additionalModelRequestFields": {"unknown": long}})),
            invoke(Some(Family::Anthropic), &json!({"messages": typed}), headers),
            invoke(Some(Family::Anthropic), &json!({"system": long}), headers),
            invoke(Some(Family::Anthropic), &json!({"prompt": long}), headers),
            invoke(Some(Family::Nova), &json!({"messages": blocks}), headers),
            invoke(Some(Family::Llama), &json!({"prompt": long}), headers),
            invoke(Some(Family::Titan), &json!({"inputText": long}), headers),
            invoke(Some(Family::Cohere), &json!({"chat_history": [{"role": "USER", "message": long}]}), headers),
            chat(&json!({"messages": typed}), InvokeHeaders::default()),
            chat(
                &json!({"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": long}}]}]}),
                InvokeHeaders::default(),
            ),
        ] {
            let call = call.expect("understood");
            assert!(call.input.text_tokens >= least && !call.input.has_other_content, "{call:?}");
            assert!(call.input.text_tokens <= least + 100, "{call:?}");
        }
    }
}
