//! Calls through the function, with the stand-in for Bedrock behind it: what is granted, what is not, what comes back, and what
//! the ledger says of it beside the referee.

use crate::asked::{Answered, read};
use crate::support::{
    self, Bench, CLAUDE, MILLI, PROFILE, converse, grant_path, key_of, ledger, node, processor, settings,
};
use govern_calls::{App, Known};
use http_body_util::BodyExt;
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};
use sluice_aws::bedrock::Bedrock;
use sluice_aws::clock::SystemClock;
use sluice_aws::config::Settings;
use sluice_bedrock::Options;
use sluice_bedrock::books::State;
use sluice_core::budget::NanoUsd;
use sluice_core::call_id::CallId;
use sluice_core::governor::access::Grant;
use sluice_core::governor::ledger::Standing;
use sluice_core::governor::record::Outcome;
use sluice_core::limits;
use sluice_core::ports::{Clock, ManageKeys, ReadLedgers, RecordReports, RunRef};
use sluice_core::report::{ReportToken, TokenText};
use sluice_testkit::fault::Fault;
use sluice_testkit::samples::{SUCCEEDED, run_id};
use std::collections::BTreeSet;
use std::task::Poll;
use std::time::Duration;

const CONVERSE: &str = "/model/anthropic.claude-haiku-4-5-20251001-v1%3A0/converse";
const CONVERSE_STREAM: &str = "/model/anthropic.claude-haiku-4-5-20251001-v1%3A0/converse-stream";
const CHAT: &str = "/openai/v1/chat/completions";

fn messages(words: &str, max_tokens: u64) -> Value {
    json!({
        "anthropic_version": "bedrock-2023-05-31", "max_tokens": max_tokens,
        "messages": [{"role": "user", "content": [{"type": "text", "text": format!("Say something. {words}")}]}],
    })
}

fn chat(words: &str, is_stream: bool) -> Value {
    let messages = json!([{"role": "user", "content": format!("Say something. {words}")}]);
    json!({"model": "openai.gpt-oss-120b-1:0", "messages": messages, "max_tokens": 500, "stream": is_stream})
}

/// A call of each API and family: its path, its body, and whether it says what it used.
fn each(words: &str) -> Vec<(String, Value, bool)> {
    let path = |model: &str, operation: &str| format!("/model/{}/{operation}", model.replace(':', "%3A"));
    let nova =
        json!({"messages": [{"role": "user", "content": [{"text": words}]}], "inferenceConfig": {"maxTokens": 500}});
    let llama = json!({"prompt": format!("Say {words}"), "max_gen_len": 500});
    let command = json!({"message": format!("Say {words}"), "max_tokens": 500});
    let mut each = vec![
        (path(CLAUDE, "converse"), converse(words, 500), true),
        (format!("/model/{PROFILE}/converse"), converse(words, 500), true),
        (path(CLAUDE, "converse-stream"), converse(words, 500), true),
        ("/v1/chat/completions".to_owned(), chat(words, false), true),
        (CHAT.to_owned(), chat(words, true), true),
    ];
    for operation in ["invoke", "invoke-with-response-stream"] {
        each.extend([
            (path(CLAUDE, operation), messages(words, 500), true),
            (path("amazon.nova-lite-v1:0", operation), nova.clone(), true),
            (path("meta.llama3-1-8b-instruct-v1:0", operation), llama.clone(), true),
            (path("cohere.command-r-v1:0", operation), command.clone(), false),
        ]);
    }
    each
}

#[tokio::test]
async fn a_granted_call_passes_and_costs_what_it_used() {
    for (path, body, tells) in each("[[bedrock tokens=50]]") {
        let bench = Bench::start(Some(1_000 * MILLI)).await;
        let answered = bench.ask(&path, &body).await;
        assert_eq!((answered.status, answered.kind()), (200, ""), "{path}: {}", answered.body);
        let call_id: CallId = answered.headers["x-amzn-requestid"].parse().expect("a call's id");
        assert_eq!(answered.headers["sluice-call-id"], call_id.to_string());
        assert!(!answered.headers.contains_key("sluice-max-tokens"));
        bench.check(&path);
        let entry = bench.last().await;
        assert_eq!((&entry.state, entry.caller.as_deref()), (&State::Served, Some("ASIASTANDIN")), "{path}");
        let record =
            bench.world.store.see_ledger(&bench.run, |_, records, _| records[&call_id].clone()).expect("a ledger");
        assert_eq!(record.outcome, if tells { Outcome::Used } else { Outcome::Lost }, "{path}");
        if tells {
            assert_eq!(
                (record.tokens.context(), record.tokens.output),
                (entry.used.context(), entry.used.output),
                "{path}"
            );
        } else {
            assert_eq!(record.cost, record.held, "{path}");
        }
        assert_eq!(bench.ledger().spent, record.cost);
    }
}

#[tokio::test]
async fn bytes_pass_as_they_are() {
    let bench = Bench::start(Some(1_000 * MILLI)).await;
    let direct = directly(&bench, CONVERSE, &converse("[[bedrock tokens=30]]", 500)).await;
    let through = bench.ask(CONVERSE, &converse("[[bedrock tokens=30]]", 500)).await;
    assert_eq!(through.json()["output"], direct["output"], "the same request gets the same words");
}

/// What Bedrock itself answers.
async fn directly(bench: &Bench, path: &str, body: &Value) -> Value {
    let mut headers = http::HeaderMap::new();
    headers.insert("content-type", http::HeaderValue::from_static("application/json"));
    let sent = sluice_aws::bedrock::Sent { path: path.to_owned(), headers, body: body.to_string().into() };
    let mut answer = bench.app.bedrock.call(sent, SystemClock.now()).await.expect("an answer");
    let mut whole = Vec::new();
    while let Some(bytes) = answer.next().await {
        whole.extend_from_slice(&bytes.expect("bytes"));
    }
    // It is no call of the run: the referee counts it none the less, so what was spent begins with it.
    let mut ledger = bench.ledger();
    ledger.spent = NanoUsd(bench.referee());
    bench.world.store.open_ledger(&bench.run, ledger);
    serde_json::from_slice(&whole).expect("JSON")
}

#[tokio::test]
async fn an_answer_is_lowered_to_what_is_left_and_the_header_says_so() {
    for (path, body, _) in each("[[bedrock tokens=max]]") {
        if path.contains("cohere") {
            continue;
        }
        // Two thousand tokens of output are asked for, and eighteen hundred are paid for with their input.
        let nano_a_token = match path.as_str() {
            path if path.contains("us.anthropic") => 5_500,
            path if path.contains("anthropic") => 5_000,
            path if path.contains("nova") => 240,
            path if path.contains("llama") => 220,
            _ => 600,
        };
        let bench = Bench::start(Some(1_800 * nano_a_token)).await;
        let mut body = body;
        for limit in ["/inferenceConfig/maxTokens", "/max_tokens", "/max_gen_len"] {
            if let Some(limit) = body.pointer_mut(limit) {
                *limit = 2_000.into();
            }
        }
        let answered = bench.ask(&path, &body).await;
        assert_eq!(answered.status, 200, "{path}: {}", answered.body);
        let lowered: u64 = answered.headers["sluice-max-tokens"].parse().expect("a number");
        assert!((1_024..2_000).contains(&lowered), "{path}: {lowered}");
        let entry = bench.last().await;
        assert_eq!((entry.max_tokens, entry.used.output), (Some(lowered), lowered), "{path}");
        assert_eq!(bench.ledger().counts.lowered, 1);
        bench.check(&path);
    }
}

#[tokio::test]
async fn a_call_is_throttled_while_others_hold_what_is_left() {
    let bench = Bench::start(Some(10 * MILLI)).await;
    let mut held = ledger(Some(10 * MILLI));
    held.holds.insert(CallId::new(bench.world.clock.now(), 99), NanoUsd(10 * MILLI - 1_000));
    bench.world.store.open_ledger(&bench.run, held);
    let began = bench.world.clock.now();
    for (path, body) in [(CONVERSE, converse("", 1_500)), (CHAT, chat("", true))] {
        let answered = bench.ask(path, &body).await;
        assert_eq!((answered.status, answered.kind()), (429, "ThrottlingException"), "{}", answered.body);
        assert_eq!(answered.headers["retry-after"], "5");
    }
    assert!(bench.world.clock.now().duration_since(began).as_secs() >= 60, "it waits for thirty seconds");
    assert!(bench.called().is_empty());
    assert_eq!(bench.ledger().spent, NanoUsd(0));
}

#[tokio::test]
async fn what_could_never_fit_is_denied_and_stops_the_run() {
    let bench = Bench::start(Some(MILLI)).await;
    let answered = bench.ask(CONVERSE, &converse("", 4_000)).await;
    assert_eq!((answered.status, answered.kind()), (403, "AccessDeniedException"), "{}", answered.body);
    assert!(answered.json()["message"].as_str().is_some_and(|message| message.contains("budget")));
    assert!(!answered.headers.contains_key("retry-after"));
    assert_eq!(bench.ledger().standing, Standing::Exhausted, "the run is being stopped");
    let of_chat = bench.ask(CHAT, &chat("", false)).await;
    assert_eq!((of_chat.status, &of_chat.json()["error"]["code"]), (403, &json!("AccessDeniedException")));
    assert!(bench.called().is_empty());
}

/// The same, but for the ids of the calls.
fn without_id(mut answered: Answered) -> Answered {
    for name in ["x-amzn-requestid", "sluice-call-id"] {
        assert!(answered.headers.remove(name).is_some_and(|id| id.parse::<CallId>().is_ok()));
    }
    answered
}

#[tokio::test]
async fn whoever_may_not_call_is_told_one_thing() {
    let bench = Bench::start(Some(1_000 * MILLI)).await;
    let editor = "readability".parse().expect("a key");
    bench.make_key(&editor).await;
    let ended = RunRef { run_id: run_id(SUCCEEDED), ..bench.run.clone() };
    bench.world.store.open_ledger(&ended, ledger(Some(1_000 * MILLI)).close(Standing::Closed, bench.world.clock.now()));
    let own = grant_path(&bench.run);
    let path = |change: &dyn Fn(&mut sluice_core::governor::access::GrantPath)| {
        let mut path = own.clone();
        change(&mut path);
        format!("/g/{}{CONVERSE}", path.write())
    };
    let (good, key) = (path(&|_| ()), key_of(&processor()).reveal().to_owned());
    let other_key = sluice_core::governor::access::KeyText::new(&processor(), [3, 4]).reveal().to_owned();
    let token = TokenText::new(&own.tenant, "a-secret-that-nobody-was-given").reveal().to_owned();
    let body = converse("", 100).to_string();
    let mut seen = Vec::new();
    for (what, path, bearer) in [
        ("the grant alone", good.clone(), String::new()),
        ("another key", good.clone(), other_key),
        ("another processor's key", good.clone(), key_of(&editor).reveal().to_owned()),
        ("a key of nobody", good.clone(), "spk.nobody.0".to_owned()),
        ("no key at all", good.clone(), "x".to_owned()),
        ("an unknown token", good, token),
        ("a key alone", CONVERSE.to_owned(), key.clone()),
        ("another grant", path(&|path| path.grant = Grant::new(8)), key.clone()),
        ("another tenant", path(&|path| path.tenant = "other".parse().expect("a tenant")), key.clone()),
        ("an unknown run", path(&|path| path.run_id = run_id("00000000-0000-4000-8000-000000000001")), key.clone()),
        ("an ended run", path(&|path| path.run_id = ended.run_id), key.clone()),
        ("another node", path(&|path| path.node_id = "store".parse().expect("a node")), key.clone()),
    ] {
        let changes = bench.world.store.governed_changes();
        // Whether the body is good makes no difference either.
        for body in [body.as_str(), "no JSON", "{\"surprise\":1}"] {
            let answered = without_id(bench.ask_as(&path, &bearer, body).await);
            assert_eq!((answered.status, answered.kind()), (403, "AccessDeniedException"), "{what}");
            seen.push(answered);
        }
        assert_eq!(bench.world.store.governed_changes(), changes, "{what}");
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(bench.called().is_empty());
    assert_eq!(bench.ask_as(&path(&|_| ()), &key, &body).await.status, 200);
}

#[tokio::test]
async fn a_worker_calls_with_its_report_token() {
    let bench = Bench::start(Some(1_000 * MILLI)).await;
    let RunRef { tenant_id, run_id } = &bench.run;
    for (secret, node_id, seconds, status) in [
        ("of-the-run", None, 60, 200),
        ("of-the-node", Some(node()), 60, 200),
        ("of-another-node", "store".parse().ok(), 60, 403),
        ("over", None, -1, 403),
    ] {
        let text = TokenText::new(tenant_id, secret);
        let now = bench.world.clock.now();
        let expires_at = now + jiff::SignedDuration::from_secs(seconds);
        let token =
            ReportToken { hash: text.hash(), node_id, expires_at, created_by: "ada".to_owned(), created_at: now };
        assert!(bench.world.store.save_report_token(tenant_id, *run_id, &token).await.expect("saved"));
        let answered = bench.ask_as(&bench.path(CONVERSE), text.reveal(), &converse("", 50).to_string()).await;
        assert_eq!(answered.status, status, "{secret}: {}", answered.body);
    }
    bench.check("a worker");
}

#[tokio::test]
async fn every_fault_leaves_the_books_between_the_referee_and_the_cap() {
    for words in [
        "error=400",
        "error=403",
        "error=404",
        "error=429 retry-after=7",
        "error=408",
        "error=424",
        "error=500",
        "error=503",
        "late-error=500",
        "late-error=503",
        "late-error=408",
        "abort after=0",
        "abort after=1",
        "abort after=4",
        "exception=modelStreamErrorException after=3",
        "reset",
        "no-usage",
        "cache-twice",
        "tokens=max",
        "thinking=50 tokens=100",
    ] {
        let bench = Bench::start(Some(1_000 * MILLI)).await;
        for (path, body, _) in each(&format!("[[bedrock {words}]]")) {
            let is_stream = path.contains("stream") || body["stream"] == true;
            if words.starts_with("exception") && (!is_stream || path == CHAT) {
                continue;
            }
            let before = bench.ledger().spent;
            let answered = bench.ask(&path, &body).await;
            let what = format!("{words} {path} {}", answered.status);
            bench.check(&what);
            let is_refused = matches!(bench.last().await.state, State::Refused(_));
            if is_refused
                && ["error=400", "error=403", "error=404", "error=429"].iter().any(|free| words.starts_with(free))
            {
                assert_eq!(bench.ledger().spent, before, "{what}");
                assert_eq!(answered.status.to_string(), words[6..9], "{what}");
            }
            if words.starts_with("error=429") {
                assert_eq!(
                    (answered.kind(), answered.headers["retry-after"].as_str()),
                    ("ThrottlingException", "7"),
                    "{what}"
                );
            }
            if words == "reset" {
                assert_eq!(answered.status, 424, "{what}: no SDK repeats it");
            }
        }
    }
}

#[tokio::test]
async fn what_a_cache_has_part_in_is_paid_at_its_own_price() {
    let bench = Bench::start(Some(1_000 * MILLI)).await;
    let mark = json!({"cachePoint": {"type": "default"}});
    let mut body = converse("[[bedrock cache-read=40 cache-write=20 tokens=30]]", 100);
    body["messages"][0]["content"].as_array_mut().expect("content").push(mark);
    for path in [CONVERSE, CONVERSE_STREAM] {
        assert_eq!(bench.ask(path, &body).await.status, 200);
        assert_eq!(bench.ledger().spent.0, bench.referee(), "{path}");
    }
    let mut twice = converse("[[bedrock cache-twice cache-write=20 tokens=30]]", 100);
    twice["messages"][0]["content"].as_array_mut().expect("content").push(json!({"cachePoint": {"type": "default"}}));
    assert_eq!(bench.ask(CONVERSE_STREAM, &twice).await.status, 200);
    bench.check("told twice");
    assert!(bench.ledger().spent.0 > bench.referee(), "it counts what is told");
}

#[tokio::test]
async fn an_answer_that_breaks_off_says_so_to_its_caller() {
    let bench = Bench::start(Some(1_000 * MILLI)).await;
    let stream = bench.ask(CONVERSE_STREAM, &converse("[[bedrock abort after=3]]", 500)).await;
    assert!(stream.body.contains("modelStreamErrorException"), "{}", stream.body);
    let lines = bench.ask(CHAT, &chat("[[bedrock abort after=3]]", true)).await;
    assert!(lines.body.contains("data: {\"error\""), "{}", lines.body);
    // In one piece it would be half of a JSON text.
    let whole = bench.ask(CONVERSE, &converse("[[bedrock abort after=3]]", 500)).await;
    assert_eq!((whole.status, whole.kind()), (424, "ModelErrorException"), "{}", whole.body);
    bench.check("broken off");
    assert_eq!(bench.ledger().counts.lost, 3);
}

#[tokio::test]
async fn a_stream_of_chat_completions_shows_usage_to_those_who_asked() {
    let bench = Bench::start(Some(1_000 * MILLI)).await;
    let plain = bench.ask(CHAT, &chat("[[bedrock tokens=20]]", true)).await;
    assert!(!plain.body.contains("prompt_tokens") && plain.body.ends_with("data: [DONE]\n\n"), "{}", plain.body);
    let mut asking = chat("[[bedrock tokens=20]]", true);
    asking["stream_options"] = json!({"include_usage": true});
    let asked = bench.ask(CHAT, &asking).await;
    assert!(asked.body.contains("prompt_tokens") && asked.body.ends_with("data: [DONE]\n\n"), "{}", asked.body);
    assert_eq!(bench.ledger().spent.0, bench.referee());
    assert_eq!(bench.ledger().counts.lost, 0);
}

#[tokio::test]
async fn bad_input_is_the_operations_own_error_and_writes_nothing() {
    let bench = Bench::start(Some(1_000 * MILLI)).await;
    let deep = format!("{{\"messages\":{}{}}}", "[".repeat(70), "]".repeat(70));
    let huge = format!("{{\"messages\":[],\"x\":\"{}\"}}", "x".repeat(limits::GOVERNED_BODY_BYTES));
    let changes = bench.world.store.governed_changes();
    for body in [
        "",
        "no JSON",
        "[]",
        "{\"messages\":[],\"messages\":[]}",
        &deep,
        &huge,
        "{\"inferenceConfig\":{\"maxTokens\":-1}}",
        "{\"inferenceConfig\":{\"maxTokens\":1.5}}",
        "{\"inferenceConfig\":{\"maxTokens\":\"5\"}}",
        "{\"surprise\":1}",
        "{\"serviceTier\":{\"type\":\"reserved\"}}",
    ] {
        for path in [CONVERSE, CONVERSE_STREAM] {
            let answered = bench.ask_as(&bench.path(path), key_of(&processor()).reveal(), body).await;
            let start: String = body.chars().take(60).collect();
            assert_eq!((answered.status, answered.kind()), (400, "ValidationException"), "{start}");
            assert!(answered.json()["message"].is_string(), "{start}");
        }
    }
    for (path, body, status, kind) in [
        ("/model/anthropic.claude-unheard-of/converse", "{}", 400, "ValidationException"),
        ("/model/no-id/converse", "{}", 400, "ValidationException"),
        ("/async-invoke", "{}", 403, "AccessDeniedException"),
        ("/model/a.b/invoke-with-bidirectional-stream", "{}", 403, "AccessDeniedException"),
        ("", "{}", 403, "AccessDeniedException"),
    ] {
        let answered = bench.ask_as(&bench.path(path), key_of(&processor()).reveal(), body).await;
        assert_eq!((answered.status, answered.kind()), (status, kind), "{path}");
    }
    let bidirectional = "/model/a.b/invoke-with-bidirectional-stream";
    let named = bench.ask(bidirectional, &json!({})).await;
    assert!(named.body.contains("InvokeModelWithBidirectionalStream"), "{}", named.body);
    for body in [
        "",
        "no JSON",
        "{}",
        "{\"model\":\"openai.unheard-of\"}",
        "{\"model\":\"openai.gpt-oss-120b-1:0\",\"max_tokens\":-1}",
    ] {
        let answered = bench.ask_as(&bench.path(CHAT), key_of(&processor()).reveal(), body).await;
        assert_eq!(
            (answered.status, &answered.json()["error"]["type"]),
            (400, &json!("invalid_request_error")),
            "{body}"
        );
    }
    assert_eq!(bench.world.store.governed_changes(), changes, "nothing is written");
    // What the model would refuse, and what has no price, is counted as refused.
    for body in [converse("", 64_001), converse("", 0)] {
        let answered = bench.ask(CONVERSE, &body).await;
        assert_eq!((answered.status, answered.kind()), (400, "ValidationException"), "{}", answered.body);
    }
    let mut flex = converse("", 10);
    flex["serviceTier"] = json!({"type": "flex"});
    assert_eq!(bench.ask(CONVERSE, &flex).await.kind(), "ValidationException");
    assert_eq!((bench.ledger().counts.refused, bench.ledger().spent), (3, NanoUsd(0)));
    assert!(bench.called().is_empty());
}

#[tokio::test]
async fn counting_tokens_is_free_for_those_who_may_call() {
    let bench = Bench::start(Some(1)).await;
    let path = "/model/anthropic.claude-haiku-4-5-20251001-v1%3A0/count-tokens";
    let body = json!({"input": {"converse": {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}}});
    let changes = bench.world.store.governed_changes();
    let answered = bench.ask(path, &body).await;
    assert_eq!((answered.status, answered.json()["inputTokens"].is_u64()), (200, true), "{}", answered.body);
    let stranger = bench.ask_as(&bench.path(path), "spk.nobody.0", &body.to_string()).await;
    assert_eq!(stranger.status, 403);
    assert_eq!(bench.world.store.governed_changes(), changes);
    assert_eq!(bench.bedrock.service().books.entries().len(), 1);
}

#[tokio::test]
async fn an_input_is_counted_where_its_bound_does_not_fit() {
    // A hundred thousand bytes of text are bounded by as many tokens, which is dearer than the cap.
    let text = "word ".repeat(20_000);
    let body =
        json!({"messages": [{"role": "user", "content": [{"text": text}]}], "inferenceConfig": {"maxTokens": 1_000}});
    let bench = Bench::start(Some(50 * MILLI)).await;
    let answered = bench.ask(CONVERSE, &body).await;
    assert_eq!(answered.status, 200, "{}", answered.body);
    let operations: Vec<String> =
        bench.bedrock.service().books.entries().into_iter().map(|entry| entry.operation).collect();
    assert_eq!(operations, ["CountTokens", "Converse"]);
    bench.check("counted");
}

#[tokio::test]
async fn a_deleted_key_opens_nothing_after_fifteen_seconds_and_a_new_one_opens_at_once() {
    let bench = Bench::start(Some(1_000 * MILLI)).await;
    let body = converse("", 50);
    assert_eq!(bench.ask(CONVERSE, &body).await.status, 200);
    let keys = bench.world.store.load_keys(&processor()).await.expect("keys");
    let later = keys.without(keys.alive[0].id()).expect("it is there");
    assert!(bench.world.store.save_keys(&processor(), &later).await.expect("saved"));
    assert_eq!(bench.ask(CONVERSE, &body).await.status, 200, "it is remembered");
    bench.world.clock.advance(15);
    assert_eq!(bench.ask(CONVERSE, &body).await.status, 403);
    bench.make_key(&processor()).await;
    assert_eq!(bench.ask(CONVERSE, &body).await.status, 200);
}

#[tokio::test]
async fn a_caller_that_hangs_up_changes_nothing() {
    let bench = Bench::start(Some(1_000 * MILLI)).await;
    let body = converse("[[bedrock name=mine stepped tokens=20]]", 100).to_string();
    let event = bench.event(&bench.path(CONVERSE_STREAM), key_of(&processor()).reveal(), &body);
    let books = &bench.bedrock.service().books;
    books.step("mine", 1);
    let reply = bench.reply(&event).await;
    assert_eq!(reply.metadata_prelude.status_code, 200);
    assert!(!bench.ledger().holds.is_empty());
    drop(reply);
    books.release("mine");
    let settled = async {
        while !bench.ledger().holds.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), settled).await.expect("settled");
    assert_eq!((bench.ledger().spent.0, bench.ledger().counts.lost), (bench.referee(), 0), "by what it used");
}

/// With the end of an answer Lambda may freeze the process.
#[tokio::test]
async fn no_answer_is_over_before_its_call_is_settled() {
    let bench = Bench::start(Some(1_000 * MILLI)).await;
    let recorded = async |calls: usize| {
        let records = || bench.world.store.see_ledger(&bench.run, |_, records, _| records.len());
        while records() != Some(calls) {
            tokio::task::yield_now().await;
        }
    };
    let within = Duration::from_secs(20);
    let body = converse("[[bedrock tokens=20]]", 100).to_string();
    let event = |path: &str| bench.event(&bench.path(path), key_of(&processor()).reveal(), &body);
    // From its record on, its settlement hangs.
    bench.world.store.faults.once("settle a call", Fault::SilentBefore);
    let mut reply = bench.reply(&event(CONVERSE_STREAM)).await;
    let mut stream = Vec::new();
    while !String::from_utf8_lossy(&stream).contains("metadata") {
        let frame = reply.stream.frame().await.expect("a frame").expect("bytes");
        stream.extend_from_slice(&frame.into_data().expect("data"));
    }
    tokio::time::timeout(within, recorded(1)).await.expect("recorded");
    let mut next = std::pin::pin!(reply.stream.frame());
    let is_open = std::future::poll_fn(|context| Poll::Ready(next.as_mut().poll(context).is_pending())).await;
    assert!(is_open, "the stream is over");
    bench.world.store.faults.once("settle a call", Fault::SilentBefore);
    let event = event(CONVERSE);
    tokio::select! {
        _ = bench.reply(&event) => panic!("the answer is there"),
        recorded = tokio::time::timeout(within, recorded(2)) => recorded.expect("recorded"),
    }
    assert_eq!(bench.ledger().holds.len(), 2);
}

#[tokio::test]
async fn a_ledger_that_cannot_be_written_makes_no_call() {
    use sluice_core::ports::StoreErrorClass::Unavailable;
    for fault in [Fault::Before(Unavailable), Fault::After(Unavailable)] {
        for operation in ["reserve for a call", "load the keys of a processor", "find a model"] {
            let bench = Bench::start(Some(1_000 * MILLI)).await;
            bench.world.store.faults.once(operation, fault);
            let answered = bench.ask(CONVERSE, &converse("", 50)).await;
            assert_eq!((answered.status, answered.kind()), (503, "ServiceUnavailableException"), "{operation}");
            assert!(answered.headers.contains_key("retry-after"));
            assert!(bench.called().is_empty());
            bench.check(operation);
        }
    }
}

#[tokio::test]
async fn silence_ends_with_the_time_of_the_invocation_and_costs_the_hold() {
    let bench = Bench::start(Some(1_000 * MILLI)).await;
    let app = App {
        store: bench.world.store.clone(),
        engine: bench.world.engine.clone(),
        clock: SystemClock,
        bedrock: Bedrock::new(&settings(&bench.bedrock)),
        known: Known::default(),
        new_random: support::new_random,
    };
    for (path, words) in [(CONVERSE, "silence"), (CONVERSE_STREAM, "name=slow stepped")] {
        bench.bedrock.service().books.step("slow", 2);
        let body = converse(&format!("[[bedrock {words}]]"), 100).to_string();
        let event = bench.event(&bench.path(path), key_of(&processor()).reveal(), &body);
        let mut context = Context::default();
        // A second is the runtime's, six are for settling: so much is left for the answer.
        let end = SystemClock.now() + jiff::SignedDuration::from_millis(9_000);
        context.deadline = end.as_millisecond().unsigned_abs();
        let event = serde_json::from_str(&event.to_string()).expect("an event");
        let reply = Box::pin(app.handle(LambdaEvent::new(event, context))).await.unwrap_or_else(|never| match never {});
        let answered = read(reply).await;
        match words {
            "silence" => assert_eq!((answered.status, answered.kind()), (408, "ModelTimeoutException")),
            _ => assert!(answered.status == 200 && answered.body.contains("modelStreamErrorException"), "{answered:?}"),
        }
        assert!(SystemClock.now() < end, "there is time left");
        bench.check(words);
    }
    assert_eq!(bench.ledger().counts.lost, 2);
}

#[tokio::test]
async fn a_call_goes_over_tls_to_an_authority_that_the_environment_names() {
    let bench = Bench::start(Some(1_000 * MILLI)).await;
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let authority = folder.join("govern-calls-authority.pem");
    let tls = sluice_bedrock::Bedrock::start(Options { authority_path: Some(authority.clone()), ..Options::test() });
    let tls = tls.expect("a stand-in");
    let authority = authority.to_string_lossy().into_owned();
    let variables = [
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "ASIASTANDIN"),
        ("AWS_SECRET_ACCESS_KEY", "a secret of tests"),
        ("AWS_SESSION_TOKEN", "a session of tests"),
        ("AWS_CA_BUNDLE", authority.as_str()),
        ("SLUICE_TABLE", "none"),
        ("SLUICE_BEDROCK_ENDPOINT", tls.door_url.as_str()),
    ];
    let value = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let app = App { bedrock: Bedrock::new(&Settings::from_variables(value).expect("settings")), ..bench.app.clone() };
    let event = bench.event(&bench.path(CONVERSE), key_of(&processor()).reveal(), &converse("", 50).to_string());
    for _ in 0..2 {
        let event = serde_json::from_str(&event.to_string()).expect("an event");
        let reply = app.handle(LambdaEvent::new(event, Context::default()));
        let answered = read(Box::pin(reply).await.unwrap_or_else(|never| match never {})).await;
        assert_eq!(answered.status, 200, "{}", answered.body);
    }
    assert_eq!(tls.service().books.entries().len(), 2);
}

#[test]
fn what_happens_is_counted() {
    let run = |future: std::pin::Pin<Box<dyn Future<Output = ()>>>| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        sluice_testkit::metrics::during(|| runtime.block_on(future))
    };
    let names = |lines: &[String]| {
        let counted =
            lines.iter().filter(|line| line.split(' ').nth(1) != Some("0") && !line.starts_with("GovernorOverhead"));
        counted.cloned().collect::<BTreeSet<String>>()
    };
    let granted = run(Box::pin(async {
        let bench = Bench::start(Some(9 * MILLI)).await;
        bench.ask(CONVERSE, &converse("", 2_000)).await;
    }));
    assert_eq!(names(&granted), BTreeSet::from(["CallsClamped 1".to_owned(), "CallsGoverned 1".to_owned()]));
    assert!(granted.iter().any(|line| line.starts_with("GovernorOverhead")), "{granted:?}");
    let refused = run(Box::pin(async {
        let bench = Bench::start(Some(1)).await;
        bench.ask(CONVERSE, &converse("", 2_000)).await;
        bench.ask("/async-invoke", &json!({})).await;
        bench.ask_as(CONVERSE, "x", "{}").await;
        let bench = Bench::start(Some(1_000 * MILLI)).await;
        bench.ask(CONVERSE, &converse("[[bedrock no-usage]]", 100)).await;
    }));
    for line in
        ["CallsRefused 1 Reason=exhausted", "CallsRefused 1 Reason=not_admitted", "CallsGoverned 1", "HoldsLost 1"]
    {
        assert!(names(&refused).contains(line), "{line}: {refused:?}");
    }
}
