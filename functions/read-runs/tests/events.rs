//! Every sample event of this function, with what it is answered; and what a caller can rely on beyond them.

mod support;

use serde_json::{Value, json};
use sluice_core::flow::{create_run, replay_run};
use sluice_core::ports::Clock;
use sluice_edge::http::Response;
use sluice_testkit::block_on;
use sluice_testkit::fixture::caller;
use sluice_testkit::samples::{self, CALLBACK_URL, NEW_RUN, OUTPUT, RUNNING, SUCCEEDED, World, request};
use support::answer;

/// Case, status, and what the body says.
const EXPECTED: [(&str, u16, &[&str]); 18] = [
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
    ("get-run-wait-too-long", 400, &[r#""pointer":"query:waitSeconds","code":"invalid""#]),
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
            r#""pointer":"query:limit","code":"invalid""#,
            r#""pointer":"query:cursor","code":"invalid_cursor""#,
            r#""pointer":"query:state","code":"unknown_field""#,
        ],
    ),
    (
        "list-steps",
        200,
        &[
            r#"{"steps":[{"nodeId":"text""#,
            r#""nodeId":"frequencies","nodeType":"processor","stage":1,"status":"SUCCEEDED","attempt":1"#,
            r#""durationMs":1250,"error":null,"resultBytes":26}"#,
        ],
    ),
    ("get-step", 200, &[r#""result":{"the":14431,"ratio":1.10}"#]),
    ("get-step-unknown", 404, &[r#""code":"not_found""#]),
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
    let writes = world.store.writes();
    for (case, status, says) in EXPECTED {
        let response = answer(&world, &cases[case]);
        assert_eq!(response.status(), status, "{case}: {}", response.body());
        for text in says {
            assert!(response.body().contains(text), "{case} does not say {text}: {}", response.body());
        }
        assert_eq!(response.header("cache-control"), Some("no-store"), "{case}");
    }
    assert_eq!(world.store.writes(), writes, "reading writes nothing");
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
    let created = create_run::create_run(&world.store, &world.engine, &policy, &caller, command, run_id, now);
    block_on(created).expect("created");
    let response = get(&world, "dev", &format!("/v1/workflow-runs/{NEW_RUN}?include=snapshot"));
    assert!(response.body().contains(&format!("\"input\":{input},")), "{}", response.body());
}

#[test]
fn a_run_and_its_replays_name_each_other() {
    let world = block_on(World::new());
    let (run_id, now) = (samples::run_id(NEW_RUN), world.clock.now());
    let command = replay_run::Command { from_node: Some("report".parse().expect("a node")), ..Default::default() };
    let (original, caller) = (samples::run_id(SUCCEEDED), caller("dev"));
    let replayed = replay_run::replay_run(&world.store, &world.engine, &caller, original, command, run_id, now);
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
    for (tenant, query) in [("dev", "order=desc"), ("dev", "order=asc&status=RUNNING"), ("123456789012", "order=asc")] {
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
