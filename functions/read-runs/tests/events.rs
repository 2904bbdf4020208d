//! Every sample event of this function, with what it is answered; and what a caller can rely on beyond them.

mod support;

use serde_json::{Value, json};
use sluice_core::budget::NanoUsd;
use sluice_core::concurrency::{Concurrency, OnLimit};
use sluice_core::definition::{Definition, Version};
use sluice_core::flow::control_run::answer_node;
use sluice_core::flow::create_run::Source;
use sluice_core::flow::record_usage::record_usage;
use sluice_core::flow::report_run::comment_on;
use sluice_core::flow::{create_run, replay_run};
use sluice_core::id::{DefinitionRef, NodeId};
use sluice_core::limits;
use sluice_core::meter::{Count, Meter};
use sluice_core::operator::TenantSettings;
use sluice_core::ports::{Clock, CountOnMeter, ManageDefinitions, ManageOperator};
use sluice_core::report::{NodeAnswer, NodeOutcome};
use sluice_core::retention::Retention;
use sluice_core::run::Run;
use sluice_core::usage::LlmCall;
use sluice_edge::http::Response;
use sluice_testkit::block_on;
use sluice_testkit::fixture::{active, caller, definition_id, fresh, tenant};
use sluice_testkit::samples::{self, CALLBACK_URL, NEW_RUN, OUTPUT, RUNNING, SUCCEEDED, World, request};
use support::answer;

/// Case, status, and what the body says.
const EXPECTED: [(&str, u16, &[&str]); 30] = [
    (
        "get-run",
        200,
        &[
            r#""status":"SUCCEEDED","terminationReason":"completed""#,
            r#""executionBudgetUsd":1.1,"#,
            r#""completedAt":"2026-11-22T04:41:00.000Z""#,
            r#""ratio":1.10"#,
        ],
    ),
    ("get-run-wait", 200, &[r#""status":"RUNNING""#, r#""startedAt":"2026-11-22T04:40:05.000Z""#]),
    ("get-run-wait-too-long", 400, &[r#""pointer":"query:waitSeconds","code":"out_of_range""#]),
    (
        "get-run-snapshot",
        200,
        &[
            r#""limits":{"executionBudgetUsd":1.1,"computeNodeBudgetUsd":null,"maxRunDurationSeconds":null},"input":null"#,
            r#""run":{"kind":"lambda","arn":"arn:aws:lambda:us-east-1:123456789012:function:sluice-processor-report"}"#,
            r#""params":{"top":20},"dependsOn":["text"]"#,
            r#""dataSource":{"bucket":"corpora"}"#,
            r#""dataTarget":{"uploadBucket":"uploads"}"#,
            r#""stages":[["text"],["frequencies","readability"],["report"],["store"]]"#,
        ],
    ),
    ("get-run-include-unknown", 400, &[r#""pointer":"query:include","code":"invalid""#]),
    ("get-run-function-url-iam", 200, &[r#""status":"SUCCEEDED""#]),
    ("get-run-unknown", 404, &[r#""code":"not_found""#]),
    ("get-run-other-tenant", 404, &[r#""code":"not_found""#]),
    ("get-run-no-identity", 401, &[r#""code":"unauthenticated""#]),
    ("list-runs", 200, &[r#""runs":[{"id":""#, r#""nextCursor":null"#]),
    ("list-runs-filtered", 200, &[r#""runs":[{"id":"9c1e7d52-8f3b-4a6c-b0d9-4e2f6a8b1c3d""#]),
    (
        "list-runs-bad-query",
        400,
        &[
            r#""pointer":"query:status","code":"invalid""#,
            r#""pointer":"query:createdFrom","code":"invalid""#,
            r#""pointer":"query:order","code":"invalid""#,
            r#""pointer":"query:limit","code":"out_of_range""#,
            r#""pointer":"query:cursor","code":"invalid_cursor""#,
            r#""pointer":"query:state","code":"unknown_field""#,
        ],
    ),
    (
        "list-runs-every-filter",
        200,
        &[r#"{"runs":[{"id":"9c1e7d52-8f3b-4a6c-b0d9-4e2f6a8b1c3d""#, r#""nextCursor":null}"#],
    ),
    ("list-runs-no-such-replays", 200, &[r#"{"runs":[],"nextCursor":null}"#]),
    (
        "list-runs-bad-filters",
        400,
        &[
            r#""pointer":"query:status","code":"invalid""#,
            r#""pointer":"query:label","code":"invalid""#,
            r#""pointer":"query:createdBy","code":"out_of_range""#,
            r#""pointer":"query:replayOf","code":"invalid""#,
            r#""pointer":"query:evaluationOf","code":"invalid""#,
            r#""pointer":"query:workflowInstanceId","code":"invalid""#,
        ],
    ),
    (
        "list-inputs",
        200,
        &[
            r#"{"items":[{"sequence":1,"kind":"start","nodeId":null,"at":"2026-11-22T04:40:00.000Z","by":"ada","#,
            r#""produced":[{"nodeId":"frequencies","status":"SUCCEEDED","endedAt":"2026-11-22T04:40:06.250Z"}]}],"nextCursor":null}"#,
        ],
    ),
    ("get-input", 200, &[r#"{"sequence":1,"kind":"start","nodeId":null,"at":"2026-11-22T04:40:00.000Z","by":"ada","#]),
    ("list-inputs-unknown", 404, &[r#""code":"not_found""#]),
    (
        "get-usage",
        200,
        &[r#"{"total":{"calls":0,"#, r#""byNode":{},"byProvider":{},"byModel":{},"items":[],"nextCursor":null}"#],
    ),
    ("get-usage-bad-cursor", 400, &[r#""pointer":"query:cursor","code":"invalid_cursor""#]),
    ("list-comments", 200, &[r#"{"items":[],"nextCursor":null}"#]),
    ("list-comments-unknown", 404, &[r#""code":"not_found""#]),
    (
        "list-steps",
        200,
        &[
            r#"{"steps":[{"nodeId":"text""#,
            r#""nodeId":"frequencies","nodeType":"processor","stage":1,"status":"SUCCEEDED","attempt":1"#,
            r#""durationMs":1250,"error":null,"resultBytes":26,"progress":null,"iterations":null,"items":null}"#,
        ],
    ),
    ("get-step", 200, &[r#""result":{"the":14431,"ratio":1.10}"#]),
    ("get-step-unknown", 404, &[r#""code":"not_found""#]),
    ("get-step-item-unknown", 404, &[r#""code":"not_found""#]),
    ("get-step-iteration-unknown", 404, &[r#""code":"not_found""#]),
    (
        "list-deliveries",
        200,
        &[
            r#""number":1,"channel":"webhook","url":"https://abcdefghijklmnopqrstuvwxyz012345.lambda-url.us-east-1.on.aws/hook""#,
            r#""status":"SCHEDULED","attempts":[]"#,
            r#""number":2,"channel":"event-bus","webhookId":"9c1e7d52-8f3b-4a6c-b0d9-4e2f6a8b1c3d.2","status":"DELIVERED""#,
            r#""outcome":"delivered","httpStatus":null"#,
        ],
    ),
    ("wrong-path", 404, &[r#""code":"no_route""#]),
    ("wrong-method", 405, &[r#""code":"method_not_allowed""#]),
];

#[test]
fn every_sample_is_answered_as_expected() {
    let cases = samples::cases("read-runs");
    for case in cases.keys() {
        assert!(EXPECTED.iter().any(|(expected, ..)| expected == case), "{case} is not tested");
    }
    let world = block_on(World::new());
    for (case, status, says) in EXPECTED {
        let writes = world.store.writes();
        let response = answer(&world, &cases[case]);
        assert_eq!(response.status(), status, "{case}: {}", response.body());
        for text in says {
            assert!(response.body().contains(text), "{case} does not say {text}: {}", response.body());
        }
        assert_eq!(response.header("cache-control"), Some("no-store"), "{case}");
        let waits = cases[case].contains("waitSeconds");
        assert!(waits || world.store.writes() == writes, "{case}: reading writes nothing, but what a wait counts");
    }
}

fn get(world: &World, tenant: &str, path: &str) -> Response {
    answer(world, &request(tenant, "GET", path, "").to_string())
}

fn json_of(response: &Response) -> Value {
    serde_json::from_str(response.body()).expect("JSON")
}

#[test]
fn the_output_is_shown_as_the_engine_gave_it() {
    let world = block_on(World::new());
    let response = get(&world, "dev", &format!("/v1/workflow-runs/{SUCCEEDED}"));
    assert!(response.body().contains(&format!("\"output\":{OUTPUT},")), "{}", response.body());
    let list = get(&world, "dev", "/v1/workflow-runs");
    assert!(!list.body().contains("\"output\""), "lists read heads only");
}

#[test]
fn a_snapshot_says_everything_but_where_the_run_calls_back() {
    let world = block_on(World::new());
    let path = format!("/v1/workflow-runs/{SUCCEEDED}");
    let response = get(&world, "dev", &format!("{path}?include=snapshot"));
    let run = json_of(&response);
    assert_eq!(run["snapshot"]["hash"], run["snapshotHash"]);
    assert_eq!(run["snapshot"]["createdBy"], "ada");
    for secret in [CALLBACK_URL, "12345678901234567890123", "allback"] {
        assert!(!response.body().contains(secret), "{secret}: {}", response.body());
    }
    assert!(json_of(&get(&world, "dev", &path)).get("snapshot").is_none(), "only when it is asked for");
}

#[test]
fn a_snapshot_has_the_input_as_it_was_written() {
    let world = block_on(World::new());
    let input = r#"{ "title" : "\u00e9" }"#;
    let command = create_run::Command {
        input: Some(serde_json::from_str(input).expect("JSON")),
        ..create_run::Command::new(create_run::Source::Instance(samples::instance("dev", &world).id))
    };
    let (run_id, now) = (samples::run_id(NEW_RUN), world.clock.now());
    let (policy, caller) = (samples::policy(), caller("dev"));
    let created = create_run::create_run(&world.store, &world.engine, &policy, &caller, command, fresh(run_id), now);
    block_on(created).expect("created");
    let response = get(&world, "dev", &format!("/v1/workflow-runs/{NEW_RUN}?include=snapshot"));
    assert!(response.body().contains(&format!("\"input\":{input},")), "{}", response.body());
}

#[test]
fn a_run_and_its_replays_name_each_other() {
    let world = block_on(World::new());
    let (run_id, now) = (samples::run_id(NEW_RUN), world.clock.now());
    let command = replay_run::Command { from_node: Some("report".parse().expect("a node")), ..Default::default() };
    let (original, caller, policy) = (samples::run_id(SUCCEEDED), caller("dev"), samples::policy());
    let replayed =
        replay_run::replay_run(&world.store, &world.engine, &policy, &caller, original, command, fresh(run_id), now);
    block_on(replayed).expect("replayed");
    let old = json_of(&get(&world, "dev", &format!("/v1/workflow-runs/{SUCCEEDED}")));
    assert_eq!((&old["replays"], &old["replayOf"]), (&json!([NEW_RUN]), &Value::Null));
    let new = json_of(&get(&world, "dev", &format!("/v1/workflow-runs/{NEW_RUN}?include=snapshot")));
    assert_eq!((&new["replays"], &new["replayOf"]), (&json!([]), &json!(SUCCEEDED)));
    let nodes = new["snapshot"]["nodes"].as_array().expect("nodes");
    let reused: Vec<_> = nodes.iter().filter(|node| node["reusedFrom"] == SUCCEEDED).collect();
    assert_eq!(reused.len(), 1, "{reused:?}");
    assert_eq!((&reused[0]["nodeId"], &reused[0]["run"]), (&json!("frequencies"), &json!({"kind": "value"})));
    let list = get(&world, "dev", "/v1/workflow-runs");
    assert!(!list.body().contains("\"replays\""), "lists read heads only");
}

fn create(world: &World, id: &str, source: Source) -> Run {
    let (now, policy, caller) = (world.clock.now(), samples::policy(), caller("dev"));
    let command = create_run::Command::new(source);
    let created =
        create_run::create_run(&world.store, &world.engine, &policy, &caller, command, fresh(samples::run_id(id)), now);
    block_on(created).expect("created").run
}

#[test]
fn a_queued_run_knows_its_place() {
    let world = block_on(World::new());
    let concurrency = Some(Concurrency { max_concurrent_runs: 1, on_limit: OnLimit::Queue });
    let settings = TenantSettings { concurrency, rev: 1, ..TenantSettings::open(tenant("dev")) };
    block_on(world.store.save_tenant(&settings)).expect("saved");
    let ids = [NEW_RUN, "7f1d2c4b-5a60-4e11-9a55-0190b2a47c3e", "8f1d2c4b-5a60-4e11-9a55-0190b2a47c3e"];
    let places = ids.map(|id| {
        world.clock.advance(1);
        create(&world, id, Source::Instance(samples::instance("dev", &world).id));
        json_of(&get(&world, "dev", &format!("/v1/workflow-runs/{id}"))).get("queuePosition").cloned()
    });
    assert_eq!(places, [None, Some(json!(1)), Some(json!(2))]);
    let queued = get(&world, "dev", "/v1/workflow-runs?status=QUEUED,RUNNING&order=asc");
    let ids_listed: Vec<Value> =
        json_of(&queued)["runs"].as_array().expect("runs").iter().map(|run| run["id"].clone()).collect();
    assert_eq!(ids_listed, [json!(RUNNING), json!(ids[1]), json!(ids[2])]);
    assert!(!queued.body().contains("queuePosition"), "lists read heads only");
}

/// Bytes of what Lambda is given for a response: its body is a text in it.
fn sent_bytes(response: &Response) -> usize {
    serde_json::to_string(response).expect("JSON").len()
}

#[test]
fn a_run_that_was_given_much_is_listed_in_answers_that_can_be_sent() {
    let world = block_on(World::new());
    let (run_id, node) = (samples::run_id(RUNNING), "report".parse().expect("a node"));
    // As many and as large as can be, of what takes the most room.
    let largest = format!("\"{}\"", "\\\\".repeat(limits::REQUEST_BODY_BYTES / 2 - 1));
    let small = format!("\"{}\"", "\\\\".repeat(limits::LISTED_VALUE_BYTES / 2 - 1));
    let values: Vec<&String> = (0..24).map(|_| &largest).chain((0..400).map(|_| &small)).collect();
    for value in &values {
        let outcome = NodeOutcome::Result((*value).clone());
        let answer = NodeAnswer { outcome, by: "dev/ada".to_owned(), at: world.clock.now() };
        world.store.seed_input(&tenant("dev"), run_id, &node, answer);
    }
    let list = format!("/v1/workflow-runs/{RUNNING}/inputs?limit=100");
    let (mut listed, mut path) = (Vec::new(), list.clone());
    loop {
        let page = get(&world, "dev", &path);
        assert_eq!(page.status(), 200, "{}", page.body());
        assert!(sent_bytes(&page) < 6 * 1024 * 1024, "{path}: {}", sent_bytes(&page));
        let page = json_of(&page);
        listed.extend(page["items"].as_array().expect("items").iter().cloned());
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        path = format!("{list}&cursor={cursor}");
    }
    assert_eq!(listed.len(), 1 + values.len());
    for (number, (input, value)) in (2_u64..).zip(listed[1..].iter().zip(values)) {
        assert_eq!(input["sequence"], number);
        let value: Value = serde_json::from_str(value).expect("JSON");
        if value.as_str().map(str::len) == Some(limits::REQUEST_BODY_BYTES / 2 - 1) {
            assert_eq!((input.get("value"), &input["valueRef"]["bytes"]), (None, &json!(limits::REQUEST_BODY_BYTES)));
            let whole = get(&world, "dev", input["valueRef"]["href"].as_str().expect("a path"));
            assert!(sent_bytes(&whole) < 6 * 1024 * 1024);
            assert_eq!(json_of(&whole)["value"], value);
        } else {
            assert_eq!((&input["value"], input.get("valueRef")), (&value, None));
        }
    }
}

#[test]
fn a_run_whose_time_is_over_is_nowhere() {
    let world = block_on(World::new());
    let retention = Retention { max_age_seconds: 60, preserve_on_failure: false };
    let now = world.clock.now();
    assert!(
        world.store.update_run(&tenant("dev"), samples::run_id(SUCCEEDED), |run| Some(run.kept_by(retention, now)))
    );
    let path = format!("/v1/workflow-runs/{SUCCEEDED}");
    assert_eq!(json_of(&get(&world, "dev", &path))["retentionDueAt"], "2026-11-22T04:42:00.000Z");
    world.clock.advance(120);
    for below in ["", "/steps", "/steps/frequencies", "/deliveries", "/inputs", "/inputs/1", "/usage", "/comments"] {
        assert_eq!(get(&world, "dev", &format!("{path}{below}")).status(), 404, "{below}");
    }
    assert!(!get(&world, "dev", "/v1/workflow-runs").body().contains(SUCCEEDED));
}

#[test]
fn usage_is_shown_in_all_by_name_and_call_by_call() {
    let world = block_on(World::new());
    let calls = ["a", "b"].map(|id| LlmCall {
        call_id: id.to_owned(),
        node_id: Some("frequencies".parse().expect("a node")),
        provider: "acme".to_owned(),
        model: format!("model-{id}"),
        input_tokens: 10,
        output_tokens: 5,
        cached_tokens: 1,
        cost_nano_usd: NanoUsd(100_000_001),
        latency_ms: 20,
        reported_at: world.clock.now(),
    });
    let (run_id, now) = (samples::run_id(RUNNING), world.clock.now());
    let dev = caller("dev");
    let reported = record_usage(&world.store, &world.engine, &dev, run_id, calls.into(), now);
    block_on(reported).expect("reported");
    let path = format!("/v1/workflow-runs/{RUNNING}/usage?limit=1");
    let first = json_of(&get(&world, "dev", &path));
    assert_eq!(
        first["total"],
        json!({
            "calls": 2, "inputTokens": 20, "outputTokens": 10, "cachedTokens": 2,
            "costUsd": serde_json::from_str::<Value>("0.200000002").expect("a number"),
            "latencyMsAverage": 20, "latencyMsMax": 20,
        })
    );
    assert_eq!((&first["byNode"]["frequencies"], &first["byModel"]["model-a"]["calls"]), (&first["total"], &json!(1)));
    assert_eq!((first["items"].as_array().map(Vec::len), &first["items"][0]["callId"]), (Some(1), &json!("a")));
    let cursor = first["nextCursor"].as_str().expect("more");
    let second = json_of(&get(&world, "dev", &format!("{path}&cursor={cursor}")));
    assert_eq!(second["items"][0]["callId"], "b");
    let elsewhere = format!("/v1/workflow-runs/{RUNNING}/comments?cursor={cursor}");
    assert_eq!(get(&world, "dev", &elsewhere).status(), 400, "a cursor of another list");
}

#[test]
fn comments_are_shown_in_their_order() {
    let world = block_on(World::new());
    for (id, text) in [("019a6b3c-4d5e-7f60-8a1b-2c3d4e5f6071", "one"), ("019a6b3c-4d5e-7f60-8a1b-2c3d4e5f6072", "two")]
    {
        let (run_id, now) = (samples::run_id(SUCCEEDED), world.clock.now());
        let dev = caller("dev");
        let made = comment_on(&world.store, &dev, run_id, id.to_owned(), text.to_owned(), now);
        block_on(made).expect("made");
    }
    let comments = json_of(&get(&world, "dev", &format!("/v1/workflow-runs/{SUCCEEDED}/comments")));
    let texts: Vec<&Value> = comments["items"].as_array().expect("items").iter().map(|one| &one["text"]).collect();
    assert_eq!(texts, ["one", "two"]);
}

#[test]
fn an_answer_begins_a_new_part_of_the_sequence() {
    let world = block_on(World::new());
    let (dev, run_id) = (tenant("dev"), samples::run_id(RUNNING));
    let node: NodeId = "report".parse().expect("a node");
    let now = world.clock.now();
    assert!(world.store.update_run(&dev, run_id, |run| run.awaiting(node.to_string(), now)));
    world.store.begin_wait(&dev, run_id, &node, "token");
    world.clock.advance(5);
    let value = r#"{ "n":1.10 }"#.to_owned();
    let now = world.clock.now();
    let ada = caller("dev");
    let answered = answer_node(&world.store, &world.engine, &ada, run_id, &node, value.clone(), now);
    block_on(answered).expect("answered");
    let response = get(&world, "dev", &format!("/v1/workflow-runs/{RUNNING}/inputs"));
    assert!(response.body().contains(&format!(r#""value":{value}"#)), "{}", response.body());
    let items = json_of(&response)["items"].clone();
    assert_eq!((&items[0]["kind"], &items[1]["kind"]), (&json!("start"), &json!("data")));
    assert_eq!(
        (&items[1]["sequence"], &items[1]["nodeId"], &items[1]["by"]),
        (&json!(2), &json!("report"), &json!("dev/someone"))
    );
}

#[test]
fn a_foreign_definition_keeps_its_private_parts_to_itself() {
    let world = block_on(World::new());
    let id = definition_id(9);
    let mut document = samples::pipeline();
    document["nodes"][1]["private"] = json!(true);
    document["nodes"][2]["parameters"] = json!({"prompt": {"type": "string", "default": "hush", "private": true}});
    let document = serde_json::from_value(document).expect("a document");
    let now = world.clock.now();
    let definition = Definition {
        discoverable: true,
        active_version: Some(1),
        latest_version: 1,
        ..Definition::new(tenant("owner"), id, "shared".parse().expect("a name"), now)
    };
    let version = Version { definition_id: id, number: 1, document, created_at: now, created_by: "olga".to_owned() };
    let saved = async {
        world.store.create_definition(&definition, 1_000).await?;
        world.store.change_definition(&Definition { rev: 2, ..definition.clone() }, Some(&version)).await
    };
    assert!(block_on(saved).expect("saved"));
    create(&world, NEW_RUN, active(DefinitionRef::Id(id)));
    let response = get(&world, "dev", &format!("/v1/workflow-runs/{NEW_RUN}?include=snapshot"));
    let run = json_of(&response);
    assert_eq!(run["workflowDefinitionOwner"], "owner");
    let nodes = &run["snapshot"]["nodes"];
    assert_eq!((&nodes[1]["run"], &nodes[1]["params"]), (&json!({"kind": "hidden"}), &json!({})));
    assert_eq!((&nodes[2]["run"]["kind"], &nodes[2]["params"]), (&json!("lambda"), &json!({})));
    assert!(!response.body().contains("hush"), "{}", response.body());
}

#[test]
fn a_list_goes_on_where_its_page_ended() {
    let world = block_on(World::new());
    let mut seen = Vec::new();
    let mut path = "/v1/workflow-runs?limit=2&order=asc".to_owned();
    loop {
        let page = json_of(&get(&world, "dev", &path));
        seen.extend(page["runs"].as_array().expect("runs").iter().map(|run| run["id"].clone()));
        let Some(cursor) = page["nextCursor"].as_str() else {
            break;
        };
        path = format!("/v1/workflow-runs?limit=1&order=asc&cursor={cursor}");
    }
    assert_eq!(seen.len(), 3);
    seen.dedup();
    assert_eq!(seen.len(), 3);
}

#[test]
fn a_cursor_of_another_list_is_refused() {
    let world = block_on(World::new());
    let page = json_of(&get(&world, "dev", "/v1/workflow-runs?limit=1&order=asc"));
    let cursor = page["nextCursor"].as_str().expect("a cursor").to_owned();
    for (tenant, query) in [("dev", "order=desc"), ("dev", "order=asc&status=RUNNING"), ("another", "order=asc")] {
        let response = get(&world, tenant, &format!("/v1/workflow-runs?limit=1&{query}&cursor={cursor}"));
        assert_eq!(response.status(), 400, "{tenant} {query}");
        assert_eq!(json_of(&response)["errors"][0]["pointer"], "query:cursor");
    }
}

#[test]
fn a_waiting_read_returns_as_soon_as_the_run_has_ended() {
    let world = block_on(World::new());
    let before = world.clock.now();
    let ended = get(&world, "dev", &format!("/v1/workflow-runs/{SUCCEEDED}?waitSeconds=20"));
    assert_eq!(ended.status(), 200);
    assert_eq!(world.clock.now(), before, "no wait for what has ended");
    let running = get(&world, "dev", &format!("/v1/workflow-runs/{RUNNING}?waitSeconds=3"));
    assert_eq!(json_of(&running)["status"], "RUNNING");
    let waited = world.clock.now().duration_since(before);
    assert_eq!(waited.as_secs(), 3);
}

#[test]
fn a_wait_gives_up_early_where_too_many_wait_and_says_when_there_may_be_room() {
    let world = block_on(World::new());
    let get = |query: &str| {
        let event = request("dev", "GET", &format!("/v1/workflow-runs/{RUNNING}?{query}"), "");
        let begun = world.clock.now();
        let response = answer(&world, &event.to_string());
        let seconds = world.clock.now().duration_since(begun).as_secs();
        assert!(response.body().contains(r#""status":"RUNNING""#), "{}", response.body());
        (response.status(), response.header("retry-after").map(str::to_owned), seconds)
    };
    assert_eq!(get("waitSeconds=3"), (200, None, 3));
    // Seven of the ten that are set aside for the function.
    let count = Count { key: Meter::AllWaits.at(world.clock.now()), by: 7 };
    block_on(world.store.count(&count)).expect("counted");
    assert_eq!(get("waitSeconds=3"), (200, Some("5".to_owned()), 0));
    assert_eq!(get(""), (200, None, 0));
    world.clock.advance(30);
    assert_eq!(get("waitSeconds=3"), (200, None, 3));
}
