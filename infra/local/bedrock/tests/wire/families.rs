//! `InvokeModel`, in the form of each family, whole and in a stream.

use serde_json::{Value, json};
use sluice_bedrock::books::State;
use sluice_bedrock::tokens;

use crate::client::{Call, DOORS, bedrock};
use crate::frames::chunks;
use crate::operations::{CLAUDE, anthropic, counted, served};

/// Context and output as an answer in one piece tells them, and its text.
struct Told {
    context: Option<u64>,
    output: Option<u64>,
    text: String,
    is_cut: bool,
}

fn told(context: &Value, output: &Value, text: &Value, stop: &Value) -> Told {
    Told {
        context: context.as_u64(),
        output: output.as_u64(),
        text: text.as_str().expect("a text").to_owned(),
        is_cut: ["max_tokens", "length", "LENGTH", "MAX_TOKENS"].contains(&stop.as_str().expect("a reason")),
    }
}

/// A family's row: its model, its body with a text and a limit, how its answer is read, and how a chunk's text is.
struct Row {
    model: &'static str,
    body: fn(&str, u64) -> Value,
    read: fn(&Value) -> Told,
    text_of_chunk: fn(&Value) -> Option<&str>,
    tells_usage: bool,
}

const FAMILIES: [Row; 9] = [
    Row {
        model: CLAUDE,
        body: |text, most| {
            let mut body = anthropic(text);
            body["max_tokens"] = most.into();
            body
        },
        read: |body| {
            let usage = &body["usage"];
            told(&usage["input_tokens"], &usage["output_tokens"], &body["content"][0]["text"], &body["stop_reason"])
        },
        text_of_chunk: |chunk| chunk["delta"]["text"].as_str(),
        tells_usage: true,
    },
    Row {
        model: "us.amazon.nova-lite-v1:0",
        body: |text, most| {
            json!({
                "schemaVersion": "messages-v1", "messages": [{"role": "user", "content": [{"text": text}]}],
                "inferenceConfig": {"max_new_tokens": most},
            })
        },
        read: |body| {
            let (usage, text) = (&body["usage"], &body["output"]["message"]["content"][0]["text"]);
            told(&usage["inputTokens"], &usage["outputTokens"], text, &body["stopReason"])
        },
        text_of_chunk: |chunk| chunk["contentBlockDelta"]["delta"]["text"].as_str(),
        tells_usage: true,
    },
    Row {
        model: "meta.llama3-1-8b-instruct-v1:0",
        body: |text, most| json!({"prompt": text, "max_gen_len": most}),
        read: |body| {
            let (context, output) = (&body["prompt_token_count"], &body["generation_token_count"]);
            told(context, output, &body["generation"], &body["stop_reason"])
        },
        text_of_chunk: |chunk| chunk["generation"].as_str(),
        tells_usage: true,
    },
    Row {
        model: "amazon.titan-text-express-v1",
        body: |text, most| json!({"inputText": text, "textGenerationConfig": {"maxTokenCount": most}}),
        read: |body| {
            let result = &body["results"][0];
            told(
                &body["inputTextTokenCount"],
                &result["tokenCount"],
                &result["outputText"],
                &result["completionReason"],
            )
        },
        text_of_chunk: |chunk| chunk["outputText"].as_str(),
        tells_usage: true,
    },
    Row {
        model: "mistral.mistral-large-2402-v1:0",
        body: |text, most| json!({"prompt": text, "max_tokens": most}),
        read: |body| {
            let output = &body["outputs"][0];
            told(&Value::Null, &Value::Null, &output["text"], &output["stop_reason"])
        },
        text_of_chunk: |chunk| chunk["outputs"][0]["text"].as_str(),
        tells_usage: true,
    },
    Row {
        model: "cohere.command-r-v1:0",
        body: |text, most| json!({"message": text, "max_tokens": most}),
        read: |body| told(&Value::Null, &Value::Null, &body["text"], &body["finish_reason"]),
        text_of_chunk: |chunk| chunk["text"].as_str(),
        tells_usage: false,
    },
    Row {
        model: "cohere.command-text-v14",
        body: |text, most| json!({"prompt": text, "max_tokens": most}),
        read: |body| {
            let generation = &body["generations"][0];
            told(&Value::Null, &Value::Null, &generation["text"], &generation["finish_reason"])
        },
        text_of_chunk: |chunk| chunk["text"].as_str(),
        tells_usage: false,
    },
    Row {
        model: "ai21.jamba-1-5-mini-v1:0",
        body: |text, most| json!({"messages": [{"role": "user", "content": text}], "max_tokens": most}),
        read: |body| {
            assert!(body["usage"].is_null());
            let choice = &body["choices"][0];
            told(&Value::Null, &Value::Null, &choice["message"]["content"], &choice["finish_reason"])
        },
        text_of_chunk: |chunk| chunk["choices"][0]["delta"]["content"].as_str(),
        tells_usage: false,
    },
    Row {
        model: "openai.gpt-oss-120b-1:0",
        body: |text, most| json!({"messages": [{"role": "user", "content": text}], "max_completion_tokens": most}),
        read: |body| {
            let (usage, choice) = (&body["usage"], &body["choices"][0]);
            let text = &choice["message"]["content"];
            told(&usage["prompt_tokens"], &usage["completion_tokens"], text, &choice["finish_reason"])
        },
        text_of_chunk: |chunk| chunk["choices"][0]["delta"]["content"].as_str(),
        tells_usage: true,
    },
];

#[tokio::test]
async fn every_family_answers_in_its_own_form_and_tells_what_the_books_have() {
    let bedrock = bedrock();
    for (index, row) in FAMILIES.iter().enumerate() {
        let door = DOORS[index % DOORS.len()];
        for (most, play, is_cut) in [(90, "tokens=40", false), (7, "tokens=max", true)] {
            let body = (row.body)(&format!("Say something. [[bedrock {play}]]"), most);
            let answer = door.call(&bedrock, Call::new(format!("/model/{}/invoke", row.model), &body)).await;
            assert_eq!(answer.status, 200, "{}: {answer:?}", row.model);
            let (told, entry) = ((row.read)(&answer.json()), served(&bedrock).await);
            assert_eq!((entry.state, entry.max_tokens), (State::Served, Some(most)), "{}", row.model);
            assert_eq!((told.is_cut, tokens::count(&told.text)), (is_cut, entry.used.output), "{}", row.model);
            assert_eq!(entry.used.output, if is_cut { most } else { 40 }, "{}", row.model);
            let (context, output) = (entry.used.context(), entry.used.output);
            assert!(told.context.is_none_or(|told| told == context), "{}", row.model);
            assert!(told.output.is_none_or(|told| told == output), "{}", row.model);
            let expected = row.tells_usage.then_some(context);
            assert_eq!(counted(&answer, "input"), expected, "{}", row.model);
            assert_eq!(counted(&answer, "output"), row.tells_usage.then_some(output), "{}", row.model);
        }
    }
}

#[tokio::test]
async fn every_family_streams_the_words_that_it_would_answer_with() {
    let bedrock = bedrock();
    for (index, row) in FAMILIES.iter().enumerate() {
        let door = DOORS[index % DOORS.len()];
        let body = (row.body)("Say it in parts. [[bedrock tokens=33]]", 90);
        let whole = door.call(&bedrock, Call::new(format!("/model/{}/invoke", row.model), &body)).await;
        let target = format!("/model/{}/invoke-with-response-stream", row.model.replace(':', "%3A"));
        let streamed = door.call(&bedrock, Call::new(target, &body)).await;
        assert_eq!(streamed.header("content-type"), Some("application/vnd.amazon.eventstream"));
        let (chunks, entry) = (chunks(&streamed.body), served(&bedrock).await);
        let text: String = chunks.iter().filter_map(row.text_of_chunk).collect();
        assert_eq!(text, (row.read)(&whole.json()).text, "{}", row.model);
        let last = chunks.last().expect("a chunk");
        let metrics = &last["amazon-bedrock-invocationMetrics"];
        let told = (metrics["inputTokenCount"].as_u64(), metrics["outputTokenCount"].as_u64());
        let books = (Some(entry.used.context()), Some(entry.used.output));
        assert_eq!(told, if row.tells_usage { books } else { (None, None) }, "{}", row.model);
        assert_eq!((entry.used.output, entry.state), (33, State::Served), "{}", row.model);
        assert_eq!(entry.frames, chunks.len());
    }
}
