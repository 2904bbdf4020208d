//! Every sample event of this function, with what it is answered; and what a caller can rely on beyond them.

mod support;

use serde_json::{Value, json};
use sluice_core::delivery::AttemptOutcome;
use sluice_core::flow::deliver::deliver;
use sluice_core::limits;
use sluice_core::ports::{AnswerNode, DeliveryRef, LoadRun, StoreErrorClass};
use sluice_edge::http::Response;
use sluice_testkit::block_on;
use sluice_testkit::fault::Fault;
use sluice_testkit::fixture::{fresh, tenant};
use sluice_testkit::metrics::during;
use sluice_testkit::samples::{self, NEW_RUN, RUNNING, SUCCEEDED, World, request, run_id};
use support::{APPROVE, DONE, GATE, PAUSED, SECRET, WAITING, answer, answer_with, world};

/// Case, status, and what the body says.
const EXPECTED: [(&str, u16, &[&str]); 76] = [
    ("pause", 202, &[r#""status":"RUNNING""#, r#""pauseRequested":true"#]),
    ("pause-function-url-iam", 202, &[r#""pauseRequested":true"#]),
    ("pause-pending", 202, &[r#""status":"PENDING""#, r#""pauseRequested":true"#]),
    ("pause-paused", 200, &[r#""status":"PAUSED""#]),
    ("pause-ended", 409, &[r#""code":"run_ended""#]),
    ("pause-unknown-run", 404, &[r#""code":"not_found""#]),
    ("pause-not-a-run-id", 404, &[r#""code":"not_found""#]),
    ("pause-other-tenant", 404, &[r#""code":"not_found""#]),
    ("pause-no-identity", 401, &[r#""code":"unauthenticated""#]),
    ("pause-with-body", 400, &[r#""pointer":"/specVersion","code":"unknown_field""#]),
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
    ("replay-for-user", 201, &[r#""userId":"bob""#]),
    ("replay-bad-user", 400, &[r#""pointer":"/userId","code":"invalid""#]),
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
    ("redeliver-failed", 202, &[r#"{"redelivered":0,"more":false}"#]),
    ("redeliver-failed-not-a-time", 400, &[r#""pointer":"/failedSince","code":"invalid""#]),
    ("replay-version", 201, &[r#""name":"report of the latest version""#, r#""workflowVersion":1"#]),
    ("replay-unknown-version", 400, &[r#""pointer":"/version","code":"no_such_version""#]),
    ("replay-bad-version", 400, &[r#""pointer":"/version","code":"invalid""#]),
    (
        "report-token",
        201,
        &[
            r#"{"token":"srt.646576.redacted","reportPath":"/v1/workflow-runs/c2a7e9d4-3b61-4f58-9e0c-6d8b1f4a7e25/report""#,
            r#""nodeId":"approve","expiresAt":"2026-11-23T"#,
        ],
    ),
    ("report-token-no-body", 201, &[r#""nodeId":null,"expiresAt":"2026-11-22T"#]),
    ("report-token-ended", 409, &[r#""code":"run_ended""#]),
    ("report-token-unknown-node", 400, &[r#""pointer":"/nodeId","code":"unknown_node""#]),
    ("report-token-too-long", 400, &[r#""pointer":"/expiresInSeconds","code":"out_of_range""#]),
    ("report", 202, &[r#""nodeId":"approve","status":"RUNNING","usage":{"recorded":1,"repeated":0}}"#]),
    ("report-failed", 202, &[r#""nodeId":"approve","status":"RUNNING"}"#]),
    ("report-progress", 202, &[r#""nodeId":"approve","status":"WAITING_FOR_INPUT"}"#]),
    ("report-function-url-iam", 202, &[r#""status":"WAITING_FOR_INPUT"}"#]),
    ("report-no-token", 401, &[r#""code":"invalid_report_token""#]),
    ("report-unknown-token", 401, &[r#""code":"invalid_report_token""#]),
    ("report-unknown-token-bad-body", 401, &[r#""code":"invalid_report_token""#]),
    ("report-other-run", 401, &[r#""code":"invalid_report_token""#]),
    ("report-not-a-run-id", 401, &[r#""code":"invalid_report_token""#]),
    (
        "report-many-violations",
        400,
        &[
            r#""pointer":"/result","code":"needs_other_field""#,
            r#""pointer":"/error","code":"needs_other_field""#,
            r#""pointer":"/progress/percent","code":"out_of_range""#,
            r#""pointer":"/usage/0/nodeId","code":"unknown_node""#,
            r#""pointer":"/usage/0/costUsd","code":"out_of_range""#,
            r#""pointer":"/usage/1/callId","code":"missing_field""#,
        ],
    ),
    ("report-failed-without-error", 400, &[r#""pointer":"/error","code":"missing_field""#]),
    ("report-schema-violation", 400, &[r#""pointer":"/result/approved","code":"schema_violation""#]),
    ("report-not-under-way", 409, &[r#""code":"not_waiting""#]),
    (
        "usage",
        200,
        &[
            r#"{"recorded":2,"repeated":0,"total":{"calls":2,"inputTokens":812,"outputTokens":64,"cachedTokens":512,"costUsd":0.250412,"#,
            r#""stopping":false}"#,
        ],
    ),
    ("usage-function-url-iam", 200, &[r#""recorded":1,"repeated":0"#]),
    ("usage-above-the-cap", 200, &[r#""costUsd":1.100000001,"#, r#""stopping":true}"#]),
    (
        "usage-many-violations",
        400,
        &[
            r#""pointer":"/usage/0/nodeId","code":"invalid""#,
            r#""pointer":"/usage/0/costUsd","code":"out_of_range""#,
            r#""pointer":"/usage/1/callId","code":"missing_field""#,
            r#""pointer":"/usage/1/costUsd","code":"wrong_type""#,
        ],
    ),
    ("usage-unknown-node", 400, &[r#""pointer":"/usage/0/nodeId","code":"unknown_node""#]),
    ("usage-none", 400, &[r#""pointer":"/usage","code":"out_of_range""#]),
    ("usage-pending", 409, &[r#""code":"wrong_status""#]),
    (
        "comment",
        201,
        &[r#"{"id":"019a6b3c-4d5e-7f60-8a1b-2c3d4e5f6072","text":"größer als gestern: looks right","by":"ada","#],
    ),
    ("comment-blank", 400, &[r#""pointer":"/text","code":"out_of_range""#]),
    ("comment-unknown-run", 404, &[r#""code":"not_found""#]),
    (
        "retention",
        200,
        &[
            r#""retention":{"maxAgeSeconds":604800,"preserveOnFailure":true},"retentionDueAt":"2026-11-29T04:41:00.000Z""#,
        ],
    ),
    (
        "retention-for-good",
        200,
        &[r#""retention":{"maxAgeSeconds":-1,"preserveOnFailure":false},"retentionDueAt":null"#],
    ),
    ("retention-out-of-range", 400, &[r#""pointer":"/maxAgeSeconds","code":"out_of_range""#]),
    ("retention-no-body", 400, &[r#""pointer":"","code":"missing_body""#]),
    ("delete", 204, &[]),
    ("delete-open", 409, &[r#""code":"run_open""#]),
    ("delete-owing", 409, &[r#""code":"deliveries_open""#]),
    ("delete-function-url-iam", 409, &[r#""code":"run_open""#]),
    ("delete-other-tenant", 404, &[r#""code":"not_found""#]),
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
    let with_key = |body: &str, new_run| {
        let mut event = request("dev", "POST", &path, body);
        event["headers"]["idempotency-key"] = json!("k-1");
        answer_with(&world, &event.to_string(), new_run)
    };
    let other_id = || fresh(run_id("7f1d2c4b-5a60-4e11-9a55-0190b2a47c3e"));
    let first = with_key(r#"{"name":"a"}"#, || fresh(run_id(NEW_RUN)));
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

/// A report with a token in the header that is for it, by nobody that an authorizer knows.
fn report(world: &World, token: &str, body: &str) -> Response {
    let mut event = request("dev", "POST", &format!("/v1/workflow-runs/{WAITING}/report"), body);
    event["requestContext"]["authorizer"] = Value::Null;
    event["headers"]["authorization"] = json!(format!("bearer {token}"));
    answer(world, &event.to_string())
}

const TOKEN: &str = "srt.646576.redacted";
const ALIVE: &str = r#"{"nodeId":"approve","status":"RUNNING"}"#;

#[test]
fn whatever_is_wrong_with_a_token_its_holder_is_told_the_same() {
    let world = world();
    assert!(TOKEN.ends_with(SECRET));
    let writes = world.store.writes();
    let mut said = Vec::new();
    for token in ["", "srt", "srt.646576.", "srt.646576.other", "srt.6f74686572.redacted", "eyJhbGciOiJub25lIn0.e30."] {
        let response = report(&world, token, ALIVE);
        assert_eq!((response.status(), response.header("www-authenticate")), (401, Some("Bearer realm=\"sluice\"")));
        said.push(response.body().to_owned());
    }
    world.clock.advance(3_600);
    said.push(report(&world, TOKEN, ALIVE).body().to_owned());
    said.dedup();
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(world.store.writes(), writes);
}

#[test]
fn a_reported_result_and_a_reported_failure_reach_the_runner() {
    let succeeded = world();
    let result = r#"{ "approved" : true, "x":1.10 }"#;
    let body = format!(r#"{{"nodeId":"approve","status":"SUCCEEDED","result":{result}}}"#);
    assert_eq!(report(&succeeded, TOKEN, &body).status(), 202);
    assert_eq!(succeeded.engine.take_answer(APPROVE).as_deref(), Some(result));
    let again = report(&succeeded, TOKEN, &body);
    assert_eq!((again.status(), &json_of(&again)["code"]), (409, &json!("not_waiting")));

    let failed = world();
    let body = r#"{"nodeId":"approve","status":"FAILED","error":{"code":"Review.Unavailable","message":"nobody"}}"#;
    assert_eq!(report(&failed, TOKEN, body).status(), 202);
    assert_eq!(failed.engine.take_answer(APPROVE).as_deref(), Some("Review.Unavailable"));
}

#[test]
fn a_report_is_small_and_nothing_of_a_larger_one_is_looked_at() {
    let world = world();
    let padded = |bytes: usize| format!("{ALIVE}{}", " ".repeat(bytes - ALIVE.len()));
    let (ordinary, largest) = (report(&world, TOKEN, ALIVE), report(&world, TOKEN, &padded(limits::REPORT_BODY_BYTES)));
    assert_eq!((largest.status(), largest.body()), (ordinary.status(), ordinary.body()));
    // Not even the token is: the store, which is away, is not asked.
    world.store.faults.set(|_| Some(Fault::Before(StoreErrorClass::Unavailable)));
    for token in [TOKEN, "srt.646576.other", ""] {
        for body in [padded(limits::REPORT_BODY_BYTES + 1), "[".repeat(limits::REPORT_BODY_BYTES + 1)] {
            let refused = report(&world, token, &body);
            assert_eq!((refused.status(), &json_of(&refused)["code"]), (413, &json!("body_too_large")), "{token}");
        }
    }
}

#[test]
fn a_token_of_a_node_is_for_no_other() {
    let world = world();
    let made = post(&world, &format!("{WAITING}/report-tokens"), r#"{"nodeId":"text"}"#);
    let token = json_of(&made)["token"].as_str().expect("a token").to_owned();
    let response = report(&world, &token, ALIVE);
    assert_eq!(json_of(&response)["errors"][0]["pointer"], "/nodeId", "{}", response.body());
}

#[test]
fn a_call_counts_once_and_the_run_that_spends_too_much_is_stopped() {
    let world = world();
    let path = format!("{RUNNING}/usage");
    let call = |id: &str, cost: &str| {
        format!(r#"{{"usage":[{{"callId":"{id}","provider":"acme","model":"small","costUsd":{cost}}}]}}"#)
    };
    let first = json_of(&post(&world, &path, &call("a", "1.1")));
    assert_eq!((&first["recorded"], &first["stopping"]), (&json!(1), &json!(false)), "exactly the cap");
    let again = json_of(&post(&world, &path, &call("a", "99")));
    assert_eq!((&again["recorded"], &again["repeated"], &again["total"]), (&json!(0), &json!(1), &first["total"]));
    let stops = world.engine.stops().len();
    let last = json_of(&post(&world, &path, &call("b", "1e-9")));
    assert_eq!((&last["recorded"], &last["stopping"]), (&json!(1), &json!(true)));
    assert_eq!(world.engine.stops().len(), stops + 1);
}

#[test]
fn a_deleted_run_is_gone() {
    let world = world();
    let delete = request("dev", "DELETE", &format!("/v1/workflow-runs/{DONE}"), "").to_string();
    let response = answer(&world, &delete);
    assert_eq!((response.status(), response.body(), response.header("content-type")), (204, "", None));
    assert!(!world.store.knows(&tenant("dev"), run_id(DONE)));
    assert_eq!(answer(&world, &delete).status(), 404);
}

#[test]
fn a_rule_that_has_run_out_lets_the_run_go_at_once() {
    let world = world();
    let patch = |body: &str| {
        answer(&world, &request("dev", "PATCH", &format!("/v1/workflow-runs/{DONE}/retention"), body).to_string())
    };
    assert_eq!(patch(r#"{"maxAgeSeconds":60}"#).status(), 200);
    world.clock.advance(61);
    assert_eq!(patch(r#"{"maxAgeSeconds":-1}"#).status(), 404);
}

#[test]
fn what_a_patch_of_the_rule_leaves_out_stays_as_it_is() {
    let world = world();
    let patch = |body: &str| {
        let path = format!("/v1/workflow-runs/{RUNNING}/retention");
        let response = answer(&world, &request("dev", "PATCH", &path, body).to_string());
        assert_eq!(response.status(), 200, "{}", response.body());
        json_of(&response)["retention"].clone()
    };
    for (body, seconds, preserves) in [
        (r#"{"maxAgeSeconds":600,"preserveOnFailure":true}"#, 600, true),
        (r#"{"maxAgeSeconds":60}"#, 60, true),
        (r#"{"preserveOnFailure":false}"#, 60, false),
        (r#"{"maxAgeSeconds":null}"#, 60, false),
        ("{}", 60, false),
    ] {
        assert_eq!(patch(body), json!({"maxAgeSeconds": seconds, "preserveOnFailure": preserves}), "{body}");
    }
}

#[test]
fn what_was_given_up_is_sent_again_all_at_once() {
    let world = world();
    world.receiver.answer_next([AttemptOutcome::Gone]);
    let owed = DeliveryRef { tenant_id: tenant("dev"), run_id: run_id(SUCCEEDED), number: 1 };
    block_on(deliver(&world.store, &world.engine, &world.receiver, &world.clock, &owed)).expect("given up");
    world.engine.take_announced();
    let redeliver = |since: &str| {
        let body = format!(r#"{{"failedSince":"{since}"}}"#);
        json_of(&answer(&world, &request("dev", "POST", "/v1/deliveries/redeliver", &body).to_string()))
    };
    assert_eq!(redeliver("2027-01-01T00:00:00Z"), json!({"redelivered": 0, "more": false}));
    assert_eq!(redeliver("2026-01-01T00:00:00+01:00"), json!({"redelivered": 1, "more": false}));
    assert_eq!(world.engine.take_announced(), [owed]);
    assert_eq!(redeliver("2026-01-01T00:00:00Z"), json!({"redelivered": 0, "more": false}), "it is under way");
}

#[test]
fn a_refused_method_of_each_path_names_the_one_that_is_taken() {
    for (path, allowed) in [
        (format!("/v1/workflow-runs/{RUNNING}"), "DELETE"),
        (format!("/v1/workflow-runs/{RUNNING}/retention"), "PATCH"),
        (format!("/v1/workflow-runs/{RUNNING}/report"), "POST"),
        ("/v1/deliveries/redeliver".to_owned(), "POST"),
    ] {
        let response = answer(&world(), &request("dev", "PUT", &path, "").to_string());
        assert_eq!((response.status(), response.header("allow")), (405, Some(allowed)), "{path}");
    }
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

#[test]
fn a_replay_is_counted_as_a_run_and_nothing_else_is() {
    let world = world();
    let counted = |path: &str| during(|| drop(post(&world, path, "")));
    assert_eq!(counted(&format!("{SUCCEEDED}/replay")), ["RunsAccepted 1", "RunsStarted 1 Source=request"]);
    assert_eq!(counted(&format!("{RUNNING}/replay")), ["RunsRefused 1 Reason=run_open"]);
    assert!(counted(&format!("{RUNNING}/pause")).is_empty());
    assert!(counted(&format!("{SUCCEEDED}/pause")).is_empty(), "it is no request for a run");
}
