//! Every sample event of this function, with what it is answered; and what a caller can rely on beyond them.

mod support;

use serde_json::{Value, json};
use sluice_core::ports::{AnswerNode, LoadRun, StoreErrorClass};
use sluice_edge::http::Response;
use sluice_testkit::block_on;
use sluice_testkit::fault::Fault;
use sluice_testkit::fixture::tenant;
use sluice_testkit::samples::{self, NEW_RUN, RUNNING, SUCCEEDED, World, request, run_id};
use support::{APPROVE, GATE, PAUSED, WAITING, answer, answer_with, world};

/// Case, status, and what the body says.
const EXPECTED: [(&str, u16, &[&str]); 31] = [
    ("pause", 202, &[r#""status":"RUNNING""#, r#""pauseRequested":true"#]),
    ("pause-function-url-iam", 202, &[r#""pauseRequested":true"#]),
    ("pause-pending", 202, &[r#""status":"PENDING""#, r#""pauseRequested":true"#]),
    ("pause-paused", 200, &[r#""status":"PAUSED""#]),
    ("pause-ended", 409, &[r#""code":"run_ended""#]),
    ("pause-unknown-run", 404, &[r#""code":"not_found""#]),
    ("pause-not-a-run-id", 404, &[r#""code":"not_found""#]),
    ("pause-other-tenant", 404, &[r#""code":"not_found""#]),
    ("pause-no-identity", 401, &[r#""code":"unauthenticated""#]),
    ("resume", 200, &[r#""status":"RUNNING""#, r#""pauseRequested":false"#]),
    ("resume-running", 200, &[r#""status":"RUNNING""#]),
    ("resume-ended", 409, &[r#""code":"run_ended""#]),
    ("data", 202, &[r#""status":"RUNNING""#, r#""waitingNodes":[]"#]),
    ("data-not-waiting", 409, &[r#""code":"not_waiting""#]),
    ("data-unknown-node", 400, &[r#""pointer":"/nodeId","code":"unknown_node""#]),
    ("data-schema-violation", 400, &[r#""pointer":"/data/approved","code":"schema_violation""#]),
    ("data-no-data", 400, &[r#""pointer":"/data","code":"missing_field""#]),
    ("data-no-body", 400, &[r#""pointer":"","code":"missing_body""#]),
    ("data-form-encoded", 415, &[r#""code":"unsupported_media_type""#]),
    ("replay", 201, &[r#""status":"PENDING""#, r#""replayOf":"9c1e7d52-8f3b-4a6c-b0d9-4e2f6a8b1c3d""#]),
    ("replay-from-node", 201, &[r#""name":"report again""#]),
    ("replay-function-url-iam", 201, &[r#""createdBy":"arn:aws:sts::123456789012:assumed-role/chat-service/i-0abc""#]),
    ("replay-unknown-node", 400, &[r#""pointer":"/fromNodeId","code":"unknown_node""#]),
    ("replay-empty-name", 400, &[r#""pointer":"/name","code":"out_of_range""#]),
    ("replay-key-mismatch", 400, &[r#""pointer":"/idempotencyKey","code":"key_mismatch""#]),
    ("replay-open-run", 409, &[r#""code":"run_open""#]),
    (
        "redeliver",
        202,
        &[r#""number":2,"links":{"deliveries":"/v1/workflow-runs/9c1e7d52-8f3b-4a6c-b0d9-4e2f6a8b1c3d/deliveries"}"#],
    ),
    ("redeliver-unknown-delivery", 404, &[r#""code":"not_found""#]),
    ("redeliver-not-a-number", 404, &[r#""code":"not_found""#]),
    ("wrong-path", 404, &[r#""code":"no_route""#]),
    ("wrong-method", 405, &[r#""code":"method_not_allowed""#]),
];

#[test]
fn every_sample_is_answered_as_expected() {
    let cases = samples::cases("control-run");
    for case in cases.keys() {
        assert!(EXPECTED.iter().any(|(expected, ..)| expected == case), "{case} is not tested");
    }
    for (case, status, says) in EXPECTED {
        let world = world();
        let before = (world.store.writes(), world.engine.changes());
        let response = answer(&world, &cases[case]);
        assert_eq!(response.status(), status, "{case}: {}", response.body());
        for text in says {
            assert!(response.body().contains(text), "{case} does not say {text}: {}", response.body());
        }
        if status >= 400 {
            assert_eq!((world.store.writes(), world.engine.changes()), before, "{case} left a trace");
        }
    }
}

fn post(world: &World, path: &str, body: &str) -> Response {
    answer(world, &request("dev", "POST", &format!("/v1/workflow-runs/{path}"), body).to_string())
}

fn json_of(response: &Response) -> Value {
    serde_json::from_str(response.body()).expect("JSON")
}

#[test]
fn a_refused_method_names_the_one_that_is_taken() {
    let response = answer(&world(), &samples::cases("control-run")["wrong-method"]);
    assert_eq!(response.header("allow"), Some("POST"));
}

#[test]
fn asking_twice_is_answered_the_same_and_writes_once() {
    let world = world();
    let path = format!("{RUNNING}/pause");
    let first = post(&world, &path, "");
    let writes = world.store.writes();
    let second = post(&world, &path, "");
    assert_eq!((first.status(), first.body()), (second.status(), second.body()));
    assert_eq!(world.store.writes(), writes);
}

#[test]
fn a_resume_hands_the_runner_its_token_and_says_when_it_could_not() {
    let resumed = world();
    assert_eq!(post(&resumed, &format!("{PAUSED}/resume"), "").status(), 200);
    assert_eq!(resumed.engine.take_answer(GATE).as_deref(), Some("{}"));
    let delayed = world();
    delayed.engine.faults.once("answer the task", Fault::Before(StoreErrorClass::Unavailable));
    let response = post(&delayed, &format!("{PAUSED}/resume"), "");
    assert_eq!((response.status(), &json_of(&response)["status"]), (202, &json!("RUNNING")));
    assert_eq!(delayed.engine.take_answer(GATE), None);
    assert_eq!(post(&delayed, &format!("{PAUSED}/resume"), "").status(), 200, "asked again, handed over");
}

#[test]
fn an_answer_reaches_the_runner_as_it_is_written() {
    for data in [r#"{ "approved" : true, "n":12345678901234567890123,"x":1.10,"k":"\u00e9"}"#, r#"{"approved":false}"#]
    {
        let world = world();
        let response = post(&world, &format!("{WAITING}/data"), &format!(r#"{{"data":{data} ,"nodeId":"approve"}}"#));
        assert_eq!(response.status(), 202, "{}", response.body());
        assert_eq!(world.engine.take_answer(APPROVE).as_deref(), Some(data));
        let again = post(&world, &format!("{WAITING}/data"), r#"{"nodeId":"approve","data":{"approved":true}}"#);
        assert_eq!((again.status(), &json_of(&again)["code"]), (409, &json!("not_waiting")), "one answer is enough");
    }
}

#[test]
fn null_is_an_answer_that_is_checked_like_any_other() {
    let world = world();
    let response = post(&world, &format!("{WAITING}/data"), r#"{"nodeId":"approve","data":null}"#);
    assert_eq!(json_of(&response)["errors"][0]["pointer"], "/data", "{}", response.body());
    assert_eq!(json_of(&response)["errors"][0]["code"], "schema_violation");
    let approve = "approve".parse().expect("a node");
    assert_eq!(block_on(world.store.load_answer(&tenant("dev"), run_id(WAITING), &approve)).expect("store"), None);
}

#[test]
fn a_replay_runs_what_the_old_run_ran() {
    let world = world();
    let response = post(&world, &format!("{SUCCEEDED}/replay"), "");
    assert_eq!(response.header("location"), Some(format!("/v1/workflow-runs/{NEW_RUN}").as_str()));
    let old = block_on(world.store.load_snapshot(&tenant("dev"), run_id(SUCCEEDED))).expect("store").expect("there");
    let new = block_on(world.store.load_snapshot(&tenant("dev"), run_id(NEW_RUN))).expect("store").expect("there");
    assert_eq!((new.nodes, new.edges, new.stages), (old.nodes, old.edges, old.stages));
    let view = json_of(&response);
    assert_eq!((&view["id"], &view["createdBy"]), (&json!(NEW_RUN), &json!("ada")));
    let run = block_on(world.load("dev", NEW_RUN));
    assert!(world.engine.execution(&run.execution_arn()).is_some(), "it is started");
}

#[test]
fn a_replay_from_a_node_reuses_what_finished_before_it() {
    let world = world();
    let response = post(&world, &format!("{SUCCEEDED}/replay"), r#"{"fromNodeId":"report"}"#);
    assert_eq!(response.status(), 201, "{}", response.body());
    let snapshot = block_on(world.store.load_snapshot(&tenant("dev"), run_id(NEW_RUN))).expect("store").expect("there");
    let reused = snapshot.nodes.iter().filter(|node| node.reused_from == Some(run_id(SUCCEEDED)));
    assert_eq!(reused.map(|node| node.node_id.as_str()).collect::<Vec<_>>(), ["frequencies"], "the one with a result");
}

#[test]
fn the_same_key_replays_once() {
    let world = world();
    let path = format!("/v1/workflow-runs/{SUCCEEDED}/replay");
    let with_key = |body: &str, new_run_id| {
        let mut event = request("dev", "POST", &path, body);
        event["headers"]["idempotency-key"] = json!("k-1");
        answer_with(&world, &event.to_string(), new_run_id)
    };
    let other_id = || run_id("7f1d2c4b-5a60-4e11-9a55-0190b2a47c3e");
    let first = with_key(r#"{"name":"a"}"#, || run_id(NEW_RUN));
    let (writes, starts) = (world.store.writes(), world.engine.starts());
    world.clock.advance(60);
    let second = with_key(r#"{ "name": "a" }"#, other_id);
    assert_eq!((first.status(), first.header("idempotent-replayed")), (201, None));
    assert_eq!((second.status(), second.header("idempotent-replayed")), (201, Some("true")));
    assert_eq!((second.body(), second.header("location")), (first.body(), first.header("location")));
    let other = with_key(r#"{"name":"b"}"#, other_id);
    assert_eq!((other.status(), &json_of(&other)["runId"]), (409, &json!(NEW_RUN)));
    assert_eq!((world.store.writes(), world.engine.starts()), (writes, starts));
}

#[test]
fn a_replay_that_cannot_be_started_at_once_is_recorded_all_the_same() {
    let world = world();
    world.engine.faults.once("start the execution", Fault::Before(StoreErrorClass::Unavailable));
    let response = post(&world, &format!("{SUCCEEDED}/replay"), "");
    assert_eq!((response.status(), &json_of(&response)["status"]), (201, &json!("PENDING")));
}

#[test]
fn a_delivery_that_was_delivered_is_owed_again() {
    let world = world();
    world.engine.take_announced();
    assert_eq!(post(&world, &format!("{SUCCEEDED}/deliveries/2/redeliver"), "").status(), 202);
    let due = world.engine.take_announced();
    assert_eq!(due.iter().map(|delivery| delivery.number).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_store_that_is_away_is_said_to_be() {
    for verb in ["pause", "resume", "replay", "deliveries/1/redeliver"] {
        let world = world();
        let away = Some(Fault::Before(StoreErrorClass::Unavailable));
        world.store.faults.set(move |_| away);
        let response = post(&world, &format!("{SUCCEEDED}/{verb}"), "");
        assert_eq!((response.status(), response.header("retry-after")), (503, Some("1")), "{verb}");
    }
}
