//! Every operation, whole and in a stream: what is told of its usage is what is in the books.

use serde_json::{Value, json};
use sluice_bedrock::books::{Entry, State};
use sluice_bedrock::{Bedrock, tokens};

use crate::client::{Answer, Call, DOORS, Door, bedrock};
use crate::frames::{Message, messages, sse};

pub const CLAUDE: &str = "anthropic.claude-haiku-4-5-20251001-v1:0";
pub const PROFILE: &str = "us.anthropic.claude-haiku-4-5-20251001-v1:0";

pub fn converse(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": [{"text": text}]}], "inferenceConfig": {"maxTokens": 400}})
}

pub fn anthropic(text: &str) -> Value {
    json!({
        "anthropic_version": "bedrock-2023-05-31", "max_tokens": 400, "messages": [{"role": "user", "content": text}],
    })
}

fn chat(text: &str) -> Value {
    json!({"model": "openai.gpt-oss-120b-1:0", "messages": [{"role": "user", "content": text}], "max_tokens": 400})
}

pub fn last(bedrock: &Bedrock) -> Entry {
    bedrock.service().books.entries().pop().expect("a call")
}

/// The call that was served last, when it is.
pub async fn served(bedrock: &Bedrock) -> Entry {
    let books = &bedrock.service().books;
    let is_over = books
        .wait(crate::client::PATIENCE, |books| books.entries().last().is_some_and(|entry| entry.state != State::Open));
    assert!(is_over.await);
    last(bedrock)
}

pub fn counted(answer: &Answer, name: &str) -> Option<u64> {
    answer.header(&format!("x-amzn-bedrock-{name}-token-count")).and_then(|count| count.parse().ok())
}

fn names(messages: &[Message]) -> Vec<&str> {
    let mut names: Vec<&str> = messages.iter().map(|message| message.name.as_str()).collect();
    names.dedup();
    names
}

#[tokio::test]
async fn converse_and_its_stream_say_the_same_through_every_door() {
    let bedrock = bedrock();
    for door in DOORS {
        let body = converse(&format!("Through {door:?}. [[bedrock tokens=30]]"));
        for model in [
            CLAUDE.to_owned(),
            PROFILE.replace(':', "%3A"),
            format!("arn:aws:bedrock:us-east-1::foundation-model/{CLAUDE}"),
        ] {
            let whole = door.call(&bedrock, Call::new(format!("/model/{model}/converse"), &body)).await;
            assert_eq!(whole.status, 200, "{door:?} {model} {whole:?}");
            let whole = whole.json();
            let entry = served(&bedrock).await;
            let usage = &whole["usage"];
            assert_eq!(usage["inputTokens"], entry.used.input);
            assert_eq!(usage["outputTokens"], 30);
            assert_eq!(whole["stopReason"], "end_turn");
            let streamed = door.call(&bedrock, Call::new(format!("/model/{model}/converse-stream"), &body)).await;
            let messages = messages(&streamed.body);
            let expected = ["messageStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"];
            assert_eq!(names(&messages), expected);
            let deltas = messages.iter().filter_map(|message| message.body["delta"]["text"].as_str());
            assert_eq!(deltas.collect::<String>(), whole["output"]["message"]["content"][0]["text"]);
            assert_eq!(messages.last().expect("metadata").body["usage"], *usage);
        }
    }
}

#[tokio::test]
async fn chat_completions_answer_at_both_paths_whole_and_in_events() {
    let bedrock = bedrock();
    for (path, door) in [("/openai/v1/chat/completions", Door::Http1), ("/v1/chat/completions", Door::Http2)] {
        let mut body = chat("Hello. [[bedrock tokens=12]]");
        let whole = door.call(&bedrock, Call::new(path, &body)).await.json();
        let entry = served(&bedrock).await;
        assert_eq!(whole["usage"]["prompt_tokens"], entry.used.context());
        assert_eq!(whole["usage"]["completion_tokens"], 12);
        for includes_usage in [false, true] {
            body["stream"] = true.into();
            body["stream_options"] = json!({"include_usage": includes_usage});
            let streamed = door.call(&bedrock, Call::new(path, &body)).await;
            let events = sse(&streamed.body);
            let usage = events.iter().filter(|event| event["usage"].is_object()).count();
            assert_eq!(usage, usize::from(includes_usage));
            let text: String =
                events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
            assert_eq!(tokens::count(&text), 12);
        }
    }
}

#[tokio::test]
async fn counting_is_free_exact_and_for_plain_ids_only() {
    let bedrock = bedrock();
    let question = json!({"messages": [{"role": "user", "content": [{"text": "How many? \u{FDFA} éèê"}]}]});
    let count = |model: &str, input: Value| Call::new(format!("/model/{model}/count-tokens"), &json!({"input": input}));
    let answer = Door::Http1.call(&bedrock, count(CLAUDE, json!({"converse": question}))).await;
    let counted = answer.json()["inputTokens"].as_u64().expect("a count");
    assert_eq!(last(&bedrock).cost.0, 0);
    let mut asked = question.clone();
    asked["inferenceConfig"] = json!({"maxTokens": 10});
    Door::Http1.call(&bedrock, Call::new(format!("/model/{CLAUDE}/converse"), &asked)).await;
    assert_eq!(served(&bedrock).await.used.input, counted);
    // The bound of a governor: bytes of the longer form, 64, and 16 a message.
    assert!(counted <= 10 + 33 + 1 + 6 + 64 + 16, "{counted}");

    let body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, anthropic("How many?").to_string());
    let answer = Door::Http2.call(&bedrock, count(CLAUDE, json!({"invokeModel": {"body": body}}))).await;
    assert!(answer.json()["inputTokens"].as_u64().is_some_and(|count| count > 10));
    let answer = Door::Http2.call(&bedrock, count(PROFILE, json!({"converse": question}))).await;
    assert_eq!(answer.error(), (400, "ValidationException"));
}

#[tokio::test]
async fn thinking_counts_as_output_and_within_the_limit() {
    let bedrock = bedrock();
    let mut body = converse("Think. [[bedrock thinking=50 tokens=max]]");
    body["inferenceConfig"]["maxTokens"] = 2_000.into();
    body["additionalModelRequestFields"] = json!({"thinking": {"type": "enabled", "budget_tokens": 1_024}});
    let answer = Door::Http1.call(&bedrock, Call::new(format!("/model/{CLAUDE}/converse"), &body)).await.json();
    let content = &answer["output"]["message"]["content"];
    let thought = content[0]["reasoningContent"]["reasoningText"]["text"].as_str().expect("a thought");
    assert_eq!((tokens::count(thought), answer["stopReason"].as_str()), (50, Some("max_tokens")));
    assert_eq!(served(&bedrock).await.used.output, 2_000);
    let streamed = Door::Http1.call(&bedrock, Call::new(format!("/model/{CLAUDE}/converse-stream"), &body)).await;
    let messages = messages(&streamed.body);
    let thoughts = messages.iter().filter_map(|message| message.body["delta"]["reasoningContent"]["text"].as_str());
    assert_eq!(thoughts.collect::<String>(), thought);
}

#[tokio::test]
async fn a_tool_is_called_and_its_call_streams_as_json() {
    let bedrock = bedrock();
    let mut body = converse("Find it.");
    let schema = json!({"json": {"type": "object"}});
    body["toolConfig"] = json!({
        "tools": [{"toolSpec": {"name": "find", "inputSchema": schema}}], "toolChoice": {"any": {}},
    });
    let answer = Door::Http2.call(&bedrock, Call::new(format!("/model/{CLAUDE}/converse"), &body)).await.json();
    let tool = &answer["output"]["message"]["content"][0]["toolUse"];
    assert_eq!((answer["stopReason"].as_str(), tool["name"].as_str()), (Some("tool_use"), Some("find")));
    let streamed = Door::Http2.call(&bedrock, Call::new(format!("/model/{CLAUDE}/converse-stream"), &body)).await;
    let messages = messages(&streamed.body);
    let arguments: String =
        messages.iter().filter_map(|message| message.body["delta"]["toolUse"]["input"].as_str()).collect();
    let arguments: Value = serde_json::from_str(&arguments).expect("JSON");
    assert_eq!(arguments, tool["input"]);
    assert_eq!(names(&messages)[1], "contentBlockStart");
}

#[tokio::test]
async fn the_cache_is_written_once_then_read_and_told_apart() {
    let bedrock = bedrock();
    let long = "word ".repeat(50);
    let body = json!({
        "system": [{"text": long}, {"cachePoint": {"type": "default", "ttl": "1h"}}],
        "messages": [{"role": "user", "content": [{"text": "And now?"}]}],
    });
    for (read, written) in [(false, true), (true, false)] {
        let answer = Door::Http1.call(&bedrock, Call::new(format!("/model/{CLAUDE}/converse"), &body)).await.json();
        let (usage, entry) = (&answer["usage"], served(&bedrock).await);
        assert_eq!((entry.used.cache_read > 50, entry.used.cache_write_1h > 50), (read, written));
        assert_eq!(usage["cacheReadInputTokens"], entry.used.cache_read);
        assert_eq!(usage["cacheWriteInputTokens"], entry.used.cache_write_1h);
        assert_eq!(usage["cacheDetails"][0]["ttl"] == "1h", written);
    }
    // Anthropic's own marker, in a body of its own: another prefix.
    let block = json!({"type": "text", "text": long, "cache_control": {"type": "ephemeral"}});
    let mut body = anthropic("And now?");
    body["system"] = json!([block]);
    let answer = Door::Http1.call(&bedrock, Call::new(format!("/model/{PROFILE}/invoke"), &body)).await;
    let entry = served(&bedrock).await;
    let usage = &answer.json()["usage"];
    assert_eq!(usage["cache_creation"]["ephemeral_5m_input_tokens"], entry.used.cache_write_5m);
    assert!(entry.used.cache_write_5m > 50);
    assert_eq!(counted(&answer, "cache-write-input"), Some(entry.used.cache_write_5m));
}

#[tokio::test]
async fn the_tier_that_serves_is_told_and_billed() {
    let bedrock = bedrock();
    let mut cost = Vec::new();
    for (asked, play, served_by) in
        [("default", "", "default"), ("priority", "", "priority"), ("priority", "tier=default", "default")]
    {
        let mut body = converse("Fast. ");
        body["serviceTier"] = json!({"type": asked});
        let call = Call::new(format!("/model/{CLAUDE}/converse"), &body)
            .header("x-bedrock-play", &format!("tokens=10 {play}"));
        let answer = Door::Http1.call(&bedrock, call).await.json();
        assert_eq!(answer["serviceTier"]["type"], served_by);
        cost.push(served(&bedrock).await.cost.0);
    }
    assert_eq!((cost[1] * 4, cost[2]), (cost[0] * 7, cost[0]));
    let mut body = converse("Cheap.");
    body["serviceTier"] = json!({"type": "flex"});
    let answer = Door::Http1.call(&bedrock, Call::new(format!("/model/{CLAUDE}/converse"), &body)).await;
    assert_eq!(answer.error(), (400, "ValidationException"));
}

#[tokio::test]
async fn a_guardrail_counts_thousands_of_characters_and_its_trace_tells_them() {
    let bedrock = bedrock();
    let mut body = converse(&"abcde ".repeat(300));
    body["guardrailConfig"] = json!({"guardrailIdentifier": "g1", "guardrailVersion": "1", "trace": "enabled"});
    let answer = Door::Http1.call(&bedrock, Call::new(format!("/model/{CLAUDE}/converse"), &body)).await.json();
    let entry = served(&bedrock).await;
    let trace = &answer["trace"]["guardrail"];
    assert_eq!(trace["inputAssessment"]["g1"]["invocationMetrics"]["usage"]["contentPolicyUnits"], 2);
    assert_eq!(trace["outputAssessments"]["g1"][0]["invocationMetrics"]["usage"]["contentPolicyUnits"], 1);
    assert_eq!(entry.used.guardrail_text_units, 3);
    let call = Call::new(format!("/model/{CLAUDE}/invoke"), &anthropic("Short."));
    let call = call.header("x-amzn-bedrock-guardrailidentifier", "g1").header("x-amzn-bedrock-trace", "ENABLED");
    let answer = Door::Http1.call(&bedrock, call).await.json();
    assert_eq!(answer["amazon-bedrock-guardrailAction"], "NONE");
    assert_eq!(served(&bedrock).await.used.guardrail_text_units, 2);
}

#[tokio::test]
async fn several_answers_cost_as_many() {
    let bedrock = bedrock();
    let mut body = chat("Thrice. [[bedrock tokens=max]]");
    body["n"] = 3.into();
    body["max_tokens"] = 20.into();
    let answer = Door::Http1.call(&bedrock, Call::new("/v1/chat/completions", &body)).await.json();
    assert_eq!(answer["choices"].as_array().map(Vec::len), Some(3));
    assert_eq!(served(&bedrock).await.used.output, 60);
}

#[tokio::test]
async fn what_the_service_would_refuse_is_refused_and_free() {
    let bedrock = bedrock();
    let with = |path: &str, value: Value| {
        let mut body = converse("x");
        *body.pointer_mut(path).expect("a place") = value;
        body
    };
    let thinking = json!({
        "messages": [{"role": "user", "content": [{"text": "x"}]}], "inferenceConfig": {"maxTokens": 1_024},
        "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1_024}},
    });
    let path = format!("/model/{CLAUDE}/converse");
    for (target, body, error) in [
        (path.as_str(), with("/inferenceConfig/maxTokens", 64_001.into()), (400, "ValidationException")),
        (&path, with("/inferenceConfig/maxTokens", 0.into()), (400, "ValidationException")),
        (&path, with("/inferenceConfig/maxTokens", (-1).into()), (400, "ValidationException")),
        (&path, with("/inferenceConfig/maxTokens", json!(1.5)), (400, "ValidationException")),
        (&path, with("/messages", json!([])), (400, "ValidationException")),
        (&path, with("/messages/0/content/0", json!({})), (400, "ValidationException")),
        (&path, json!([]), (400, "ValidationException")),
        (&path, thinking, (400, "ValidationException")),
        (&path, with("/messages/0/content/0/text", "a b ".repeat(150_000).into()), (400, "ValidationException")),
        (&path, with("/messages/0/content/0/text", "[[bedrock typo]]".into()), (400, "ValidationException")),
        ("/model/nobody.model/converse", converse("x"), (400, "ValidationException")),
        (
            "/model/arn:aws:bedrock:us-east-1:000000000000:provisioned-model%2Fx/converse",
            converse("x"),
            (404, "ResourceNotFoundException"),
        ),
        ("/model/amazon.titan-text-express-v1/invoke", json!({}), (400, "ValidationException")),
        (&format!("/model/{CLAUDE}/async-invoke"), converse("x"), (404, "UnknownOperationException")),
        (&format!("/prefix/model/{CLAUDE}/converse"), converse("x"), (404, "UnknownOperationException")),
        ("/guardrail/g/version/1/apply", json!({}), (404, "UnknownOperationException")),
    ] {
        let answer = Door::Http2.call(&bedrock, Call::new(target, &body)).await;
        assert_eq!(answer.error(), error, "{target} {}", &body.to_string()[..body.to_string().len().min(200)]);
        assert!(answer.json()["message"].is_string(), "{answer:?}");
        let entry = last(&bedrock);
        assert_eq!((entry.state.name(), entry.cost.0), ("refused", 0), "{target}");
    }
}
