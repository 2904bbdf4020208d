//! What a caller can rely on, request by request.

mod support;

use lambda_runtime::Context;
use serde_json::{Value, json};
use sluice_core::budget::MicroUsd;
use sluice_core::concurrency::{Concurrency, OnLimit};
use sluice_core::governor::quota::{Budget, Period};
use sluice_core::lifecycle::{RunEvent, StopIntent};
use sluice_core::limits;
use sluice_core::operator::TenantSettings;
use sluice_core::ports::{Clock, LoadRun, ManageOperator, StoreErrorClass};
use sluice_core::tenant_limits::OwnLimits;
use sluice_edge::http::Response;
use sluice_edge::identity::IdentityConfig;
use sluice_testkit::block_on;
use sluice_testkit::fault::{Fault, lock};
use sluice_testkit::fixture::{fresh, tenant};
use sluice_testkit::metrics::during;
use sluice_testkit::samples::{CALLBACK_URL, NEW_RUN, World, request, run_id};
use std::sync::{Arc, Mutex};
use support::{TestApp, answer, answer_in, app};

const BODY: &str = r#"{"workflowInstanceConfiguration":{"workflowDefinitionId":"text-report"},"name":"a"}"#;

fn post(app: &TestApp, body: &str) -> Response {
    answer(app, &request("dev", "POST", "/v1/workflow-runs", body).to_string())
}

fn post_with_key(app: &TestApp, key: &str, body: &str) -> Response {
    let mut event = request("dev", "POST", "/v1/workflow-runs", body);
    event["headers"]["idempotency-key"] = json!(key);
    answer(app, &event.to_string())
}

/// The answer of an invocation that Lambda ends in so many seconds.
fn post_within(seconds: u64, app: &TestApp) -> Response {
    let mut context = Context::default();
    context.deadline = app.clock.now().as_millisecond().unsigned_abs() + seconds * 1_000;
    answer_in(context, IdentityConfig::for_test(), app, &request("dev", "POST", "/v1/workflow-runs", BODY).to_string())
}

/// The function in a later request, which gets another id.
fn later(app: TestApp) -> TestApp {
    TestApp { new_run: || fresh(run_id("7f1d2c4b-5a60-4e11-9a55-0190b2a47c3e")), ..app }
}

fn json_of(response: &Response) -> Value {
    serde_json::from_str(response.body()).expect("JSON")
}

#[test]
fn the_same_key_and_payload_get_the_first_answer_again() {
    let world = block_on(World::new());
    let app = app(&world);
    let first = post_with_key(&app, "k-1", BODY);
    let (writes, starts) = (world.store.writes(), world.engine.starts());
    world.clock.advance(3_600);
    // Other white space and another order of keys are the same payload.
    let again = r#"{ "name": "a", "workflowInstanceConfiguration": {"workflowDefinitionId": "text-report"} }"#;
    let second = post_with_key(&later(app), "k-1", again);
    assert_eq!((first.status(), first.header("idempotent-replayed")), (201, None));
    assert_eq!((second.status(), second.header("idempotent-replayed")), (201, Some("true")));
    assert_eq!((second.body(), second.header("location")), (first.body(), first.header("location")));
    assert_eq!((world.store.writes(), world.engine.starts()), (writes, starts));
}

#[test]
fn the_same_key_with_another_payload_is_a_conflict() {
    let world = block_on(World::new());
    let app = app(&world);
    assert_eq!(post_with_key(&app, "k-1", BODY).status(), 201);
    let (writes, starts) = (world.store.writes(), world.engine.starts());
    let response = post_with_key(&later(app), "k-1", &BODY.replace("\"a\"", "\"b\""));
    let problem = json_of(&response);
    assert_eq!(response.status(), 409);
    assert_eq!((&problem["code"], &problem["runId"]), (&json!("idempotency_key_reused"), &json!(NEW_RUN)));
    assert_eq!((world.store.writes(), world.engine.starts()), (writes, starts));
}

#[test]
fn a_refused_request_does_not_use_up_its_key() {
    let world = block_on(World::new());
    let app = app(&world);
    assert_eq!(post_with_key(&app, "k-1", &BODY.replace("text-report", "nobody")).status(), 400);
    assert_eq!(post_with_key(&app, "k-1", BODY).status(), 201);
}

#[test]
fn a_key_may_come_by_header_or_body_and_means_the_same() {
    let world = block_on(World::new());
    let app = app(&world);
    let body = BODY.replace("\"name\"", "\"clientToken\":\"k-1\",\"name\"");
    assert_eq!(post(&app, &body).status(), 201);
    let second = post_with_key(&later(app), "k-1", &body);
    assert_eq!((second.status(), second.header("idempotent-replayed")), (201, Some("true")));
}

#[test]
fn one_request_has_one_hash_wherever_its_key_stands() {
    let world = block_on(World::new());
    let app = app(&world);
    assert_eq!(post_with_key(&app, "k-1", BODY).status(), 201);
    let (writes, app) = (world.store.writes(), later(app));
    let with = |field: &str| BODY.replace("\"name\"", &format!("{field},\"name\""));
    for again in [
        post(&app, &with("\"clientToken\":\"k-1\"")),
        post_with_key(&app, "k-1", &with("\"clientToken\":\"k-1\"")),
        post_with_key(&app, "k-1", &with("\"clientToken\":null,\"labels\":null")),
        // As a proxy joins them.
        post_with_key(&app, "k-1, k-1", BODY),
        post_with_key(&app, "k-1,k-1", BODY),
    ] {
        assert_eq!((again.status(), again.header("idempotent-replayed")), (201, Some("true")), "{}", again.body());
    }
    let two_keys = post_with_key(&app, "k-1, k-2", BODY);
    assert_eq!(two_keys.status(), 400);
    let error = &json_of(&two_keys)["errors"][0];
    assert_eq!((&error["pointer"], &error["code"]), (&json!("header:Idempotency-Key"), &json!("repeated")));
    assert_eq!(world.store.writes(), writes);
}

#[test]
fn another_tenant_cannot_run_or_replay_what_is_not_its_own() {
    let world = block_on(World::new());
    let app = app(&world);
    assert_eq!(post_with_key(&app, "k-1", BODY).status(), 201);
    let mut event = request("other", "POST", "/v1/workflow-runs", BODY);
    event["headers"]["idempotency-key"] = json!("k-1");
    let response = answer(&app, &event.to_string());
    assert_eq!(response.status(), 400);
    assert_eq!(json_of(&response)["errors"][0]["code"], "not_found");
}

#[test]
fn the_context_is_kept_byte_for_byte() {
    for context in [
        r#"{"n":12345678901234567890123,"x":1.10,"k":"\u00e9"}"#,
        r#"{ "z" : [ 1.0, 2e5 ], "a":{}, "\u0041": "\/" }"#,
        r#""plain""#,
        "0.10",
    ] {
        let world = block_on(World::new());
        let body = format!(
            "{{\"completionCallbackContext\":{context} ,\"completionCallbackUrl\":\"{CALLBACK_URL}\",\
             \"workflowInstanceConfiguration\":{{\"workflowDefinitionId\":\"text-report\"}}}}"
        );
        assert_eq!(post(&app(&world), &body).status(), 201, "{context}");
        let snapshot = block_on(world.store.load_snapshot(&tenant("dev"), run_id(NEW_RUN))).expect("store");
        let callback = snapshot.expect("a snapshot").callback.expect("a callback");
        assert_eq!(callback.context.expect("a context").get(), context);
    }
}

#[test]
fn the_budget_reaches_the_execution_exactly() {
    for (literal, usd, micro) in [
        ("0.1", "0.1", "100000"),
        ("1.25", "1.25", "1250000"),
        ("0.000001", "0.000001", "1"),
        ("1e-6", "0.000001", "1"),
        ("0", "null", "null"),
        ("null", "null", "null"),
    ] {
        let world = block_on(World::new());
        let body = BODY.replace("\"name\"", &format!("\"executionBudgetUsd\":{literal},\"name\""));
        let response = post(&app(&world), &body);
        assert!(response.body().contains(&format!("\"executionBudgetUsd\":{usd},")), "{}", response.body());
        let run = block_on(world.load("dev", NEW_RUN));
        let input = world.engine.execution(&run.execution_arn()).expect("an execution").input;
        let carried = format!("\"executionBudgetUsd\":{usd},\"executionBudgetMicroUsd\":{micro},");
        assert!(input.contains(&carried), "{literal}: {input}");
    }
}

#[test]
fn bad_input_of_every_kind_is_named_and_leaves_no_trace() {
    let configuration = |fields: &str| {
        format!(r#"{{"workflowInstanceConfiguration":{{"workflowDefinitionId":"text-report"{fields}}}}}"#)
    };
    let with = |fields: &str| BODY.replace("\"name\":\"a\"", fields);
    let deep = format!("{}1{}", "[".repeat(70), "]".repeat(70));
    let long = "x".repeat(300);
    let cases = [
        ("[]".to_owned(), "", "wrong_type"),
        ("null".to_owned(), "", "wrong_type"),
        ("{}".to_owned(), "", "exactly_one"),
        (with("\"name\":\"\""), "/name", "out_of_range"),
        (with(&format!("\"name\":\"{long}\"")), "/name", "out_of_range"),
        (with("\"name\":7"), "/name", "wrong_type"),
        (with("\"input\":[1]"), "/input", "schema_violation"),
        (with("\"input\":{\"title\":1}"), "/input/title", "schema_violation"),
        (with(&format!("\"input\":{deep}")), "", "too_deep"),
        (with("\"input\":{\"a\":1,\"\\u0061\":2}"), "/input/a", "duplicate_key"),
        (with("\"dataSources\":{\"no/node\":1}"), "/dataSources/no~1node", "invalid"),
        (with("\"dataSources\":{\"store\":1}"), "/dataSources/store", "unknown_node"),
        (with("\"dataSources\":[]"), "/dataSources", "wrong_type"),
        (with("\"dataTargets\":{\"text\":{}}"), "/dataTargets/text", "unknown_node"),
        (with("\"dataTargets\":{\"store\":1}"), "/dataTargets/store", "wrong_type"),
        (
            with("\"processorParams\":{\"frequencies\":{\"top\":\"x\"}}"),
            "/processorParams/frequencies/top",
            "wrong_type",
        ),
        (
            with("\"processorParams\":{\"frequencies\":{\"x\":1}}"),
            "/processorParams/frequencies/x",
            "unknown_parameter",
        ),
        (with("\"processorParams\":{\"frequencies\":1}"), "/processorParams/frequencies", "wrong_type"),
        (with("\"tags\":{\"frequencies\":\"a b\"}"), "/tags/frequencies", "invalid"),
        (with("\"tags\":{\"nobody\":\"1\"}"), "/tags/nobody", "unknown_node"),
        (with("\"layers\":[\"a b\"]"), "/layers/0", "invalid"),
        (with("\"layers\":[\"none\"]"), "/layers/0", "not_found"),
        (with("\"layers\":\"models\""), "/layers", "wrong_type"),
        (with("\"labels\":{\"a\":1}"), "/labels/a", "wrong_type"),
        (with("\"labels\":{\"\":\"1\"}"), "/labels/", "out_of_range"),
        (with("\"executionBudgetUsd\":\"1\""), "/executionBudgetUsd", "wrong_type"),
        (with("\"executionBudgetUsd\":true"), "/executionBudgetUsd", "wrong_type"),
        (with("\"executionBudgetUsd\":-0.01"), "/executionBudgetUsd", "out_of_range"),
        (with("\"executionBudgetUsd\":0.0000001"), "/executionBudgetUsd", "out_of_range"),
        (with("\"executionBudgetUsd\":100000.000001"), "/executionBudgetUsd", "out_of_range"),
        (with("\"maxRunDurationSeconds\":0"), "/maxRunDurationSeconds", "out_of_range"),
        (with("\"maxRunDurationSeconds\":2592001"), "/maxRunDurationSeconds", "out_of_range"),
        (with("\"maxRunDurationSeconds\":1.5"), "/maxRunDurationSeconds", "wrong_type"),
        (
            with("\"completionCallbackUrl\":\"http://example.com\""),
            "/completionCallbackUrl",
            "callback_url_not_allowed",
        ),
        (with("\"completionCallbackContext\":{}"), "/completionCallbackContext", "needs_other_field"),
        (with("\"clientToken\":\"a b\""), "/clientToken", "invalid"),
        (with("\"clientToken\":\"\""), "/clientToken", "invalid"),
        (with("\"retention\":{}"), "/retention/maxAgeSeconds", "missing_field"),
        (with("\"retention\":[60]"), "/retention", "wrong_type"),
        (with("\"retention\":{\"maxAgeSeconds\":0}"), "/retention/maxAgeSeconds", "out_of_range"),
        (with("\"retention\":{\"maxAgeSeconds\":1,\"keep\":true}"), "/retention/keep", "unknown_field"),
        (with("\"evaluationOf\":\"1\""), "/evaluationOf", "invalid"),
        (with("\"evaluationOf\":\"7f1d2c4b-5a60-4e11-9a55-0190b2a47c3e\""), "/evaluationOf", "not_found"),
        (r#"{"workflowInstanceId":"1"}"#.to_owned(), "/workflowInstanceId", "invalid"),
        (
            r#"{"workflowInstanceConfiguration":{}}"#.to_owned(),
            "/workflowInstanceConfiguration/workflowDefinitionId",
            "missing_field",
        ),
        (
            r#"{"workflowInstanceConfiguration":["text-report"]}"#.to_owned(),
            "/workflowInstanceConfiguration",
            "wrong_type",
        ),
        (configuration(",\"version\":0"), "/workflowInstanceConfiguration/version", "out_of_range"),
        (configuration(",\"version\":\"1\""), "/workflowInstanceConfiguration/version", "invalid"),
        (configuration(",\"version\":9"), "/workflowInstanceConfiguration/version", "no_such_version"),
        (configuration(",\"version\":\"draft\""), "/workflowInstanceConfiguration/version", "no_such_version"),
        (configuration(",\"computeNodeId\":\"gpu\""), "/workflowInstanceConfiguration/computeNodeId", "not_found"),
        (configuration(",\"computeNodeId\":\"g p\""), "/workflowInstanceConfiguration/computeNodeId", "invalid"),
        (
            configuration(",\"processorConfigs\":[{\"nodeId\":\"frequencies\"},{\"nodeId\":\"frequencies\"}]"),
            "/workflowInstanceConfiguration/processorConfigs/1/nodeId",
            "repeated",
        ),
        (
            configuration(",\"processorConfigs\":[{\"nodeId\":\"report\"},{\"nodeId\":\"text\"}]"),
            "/workflowInstanceConfiguration/processorConfigs/1",
            "unknown_node",
        ),
        (
            configuration(",\"processorConfigs\":[[\"frequencies\"]]"),
            "/workflowInstanceConfiguration/processorConfigs/0",
            "wrong_type",
        ),
    ];
    let world = block_on(World::new());
    let (writes, starts) = (world.store.writes(), world.engine.starts());
    let app = app(&world);
    for (body, pointer, code) in cases {
        let response = post(&app, &body);
        let problem = json_of(&response);
        assert_eq!(response.status(), 400, "{body}: {problem}");
        let errors = problem["errors"].as_array().expect("errors");
        let found = errors.iter().any(|error| {
            error["code"] == code && (error["pointer"] == pointer || (code == "too_deep" && error["pointer"] != ""))
        });
        assert!(found, "{body}: {code} at {pointer} is not in {problem}");
    }
    assert_eq!((world.store.writes(), world.engine.starts()), (writes, starts));
}

#[test]
fn a_body_above_the_bound_is_refused() {
    let world = block_on(World::new());
    let body = BODY.replace("\"a\"", &format!("\"{}\"", "a".repeat(limits::REQUEST_BODY_BYTES)));
    let response = post(&app(&world), &body);
    assert_eq!((response.status(), json_of(&response)["code"].as_str()), (413, Some("body_too_large")));
}

#[test]
fn a_context_above_the_bound_is_refused() {
    let world = block_on(World::new());
    let context = format!("\"{}\"", "c".repeat(limits::CALLBACK_CONTEXT_BYTES));
    let fields = format!("\"completionCallbackUrl\":\"{CALLBACK_URL}\",\"completionCallbackContext\":{context}");
    let response = post(&app(&world), &BODY.replace("\"name\":\"a\"", &fields));
    assert_eq!(json_of(&response)["errors"][0]["pointer"], "/completionCallbackContext");
}

#[test]
fn a_store_in_trouble_is_a_503_that_may_be_tried_again() {
    for (class, code) in [
        (StoreErrorClass::Conflict, "busy"),
        (StoreErrorClass::Throttled, "busy"),
        (StoreErrorClass::Unavailable, "unavailable"),
    ] {
        let world = block_on(World::new());
        world.store.faults.once("record the run", Fault::Before(class));
        let response = post(&app(&world), BODY);
        assert_eq!((response.status(), response.header("retry-after")), (503, Some("1")));
        let problem = json_of(&response);
        assert_eq!(problem["code"], code);
        assert!(!response.body().contains("injected"));
        // Only a run that may be there is named.
        let named = (class == StoreErrorClass::Unavailable).then(|| json!(NEW_RUN));
        assert_eq!(problem.get("runId"), named.as_ref());
    }
}

#[test]
fn whoever_is_not_answered_in_time_is_told_which_run_it_may_have_been() {
    // Every call that a create makes, found by watching one.
    let calls: Arc<Mutex<Vec<&'static str>>> = Arc::default();
    let world = block_on(World::new());
    for faults in [&world.store.faults, &world.engine.faults] {
        let calls = Arc::clone(&calls);
        faults.set(move |operation| {
            lock(&calls).push(operation);
            None
        });
    }
    assert_eq!(post(&app(&world), BODY).status(), 201);
    let calls = lock(&calls).clone();
    assert!(calls.contains(&"record the run") && calls.contains(&"start the execution"), "{calls:?}");
    for call in calls {
        for fault in [Fault::SilentBefore, Fault::SilentAfter] {
            let world = block_on(World::new());
            for faults in [&world.store.faults, &world.engine.faults] {
                faults.once(call, fault);
            }
            let response = post_within(10, &app(&world));
            let problem = json_of(&response);
            assert_eq!((response.status(), response.header("retry-after")), (503, Some("1")), "{call} {fault:?}");
            assert_eq!((&problem["code"], &problem["runId"]), (&json!("unavailable"), &json!(NEW_RUN)));
            assert_eq!(problem["runHref"], format!("/v1/workflow-runs/{NEW_RUN}"));
            // What was recorded is there under the id that was told, for its reader and for the sweep.
            let found = block_on(world.store.load_run(&tenant("dev"), run_id(NEW_RUN))).expect("loaded");
            let is_recorded =
                call == "start the execution" || (call == "record the run" && fault == Fault::SilentAfter);
            assert_eq!(found.is_some(), is_recorded, "{call} {fault:?}");
        }
    }
    // In time, nobody notices the deadline.
    let world = block_on(World::new());
    let response = post_within(10, &app(&world));
    assert_eq!(response.status(), 201);
}

#[test]
fn a_start_that_is_not_answered_is_left_to_the_reconciler() {
    let world = block_on(World::new());
    world.engine.faults.once("start the execution", Fault::Before(StoreErrorClass::Unavailable));
    let response = post(&app(&world), BODY);
    assert_eq!((response.status(), json_of(&response)["status"].as_str()), (201, Some("PENDING")));
}

/// One open run at once, and no more.
fn limit(world: &World, on_limit: OnLimit) {
    let concurrency = Some(Concurrency { max_concurrent_runs: 1, on_limit });
    let settings = TenantSettings { concurrency, rev: 1, ..TenantSettings::open(tenant("dev")) };
    block_on(world.store.save_tenant(&settings)).expect("saved");
}

#[test]
fn one_run_too_many_is_refused_and_asked_to_come_again() {
    let world = block_on(World::new());
    limit(&world, OnLimit::Reject);
    let app = app(&world);
    assert_eq!(post(&app, BODY).status(), 201);
    let (writes, starts) = (world.store.writes(), world.engine.starts());
    let response = post_with_key(&later(app), "k-1", BODY);
    assert_eq!((response.status(), response.header("retry-after")), (429, Some("10")));
    assert_eq!(json_of(&response)["code"], "too_many_runs");
    assert_eq!((world.store.writes(), world.engine.starts()), (writes, starts));
}

#[test]
fn one_run_too_many_waits_where_its_limit_says_so() {
    let world = block_on(World::new());
    limit(&world, OnLimit::Queue);
    let app = app(&world);
    assert_eq!(post(&app, BODY).status(), 201);
    let (app, starts) = (later(app), world.engine.starts());
    let counted = during(|| {
        let response = post_with_key(&app, "k-1", BODY);
        assert_eq!((response.status(), json_of(&response)["status"].as_str()), (201, Some("QUEUED")));
    });
    assert_eq!(world.engine.starts(), starts);
    assert_eq!(counted, ["RunsAccepted 1"], "it is not started yet");
    let app = TestApp { new_run: || fresh(run_id("8f1d2c4b-5a60-4e11-9a55-0190b2a47c3e")), ..app };
    let again = post_with_key(&app, "k-1", BODY);
    assert_eq!((again.status(), again.header("idempotent-replayed")), (201, Some("true")));
}

#[test]
fn a_key_whose_run_is_gone_says_so() {
    let world = block_on(World::new());
    let app = app(&world);
    let body = BODY.replace("\"name\"", "\"retention\":{\"maxAgeSeconds\":1},\"name\"");
    assert_eq!(post_with_key(&app, "k-1", &body).status(), 201);
    let ended = world.store.update_run(&tenant("dev"), run_id(NEW_RUN), |run| {
        run.after(RunEvent::StopAsked(StopIntent::CanceledByCaller), world.clock.now())
    });
    assert!(ended);
    let app = later(app);
    assert_eq!(post_with_key(&app, "k-1", &body).status(), 201, "it is kept for a second");
    world.clock.advance(2);
    let response = post_with_key(&app, "k-1", &body);
    let problem = json_of(&response);
    assert_eq!((response.status(), &problem["code"], &problem["runId"]), (410, &json!("run_expired"), &json!(NEW_RUN)));
}

#[test]
fn what_became_of_a_request_is_counted() {
    let world = block_on(World::new());
    let app = app(&world);
    let counted = during(|| drop(post_with_key(&app, "k-1", BODY)));
    assert_eq!(counted, ["RunsAccepted 1", "RunsStarted 1 Source=request"]);
    let app = later(app);
    assert_eq!(during(|| drop(post_with_key(&app, "k-1", BODY))), ["RunsReplayed 1"]);
    let refused = during(|| drop(post_with_key(&app, "k-1", &BODY.replace("\"a\"", "\"b\""))));
    assert_eq!(refused, ["RunsRefused 1 Reason=idempotency_key_reused"]);
    assert_eq!(during(|| drop(post(&app, "{}"))), ["RunsRefused 1 Reason=invalid_request"]);

    world.engine.faults.once("start the execution", Fault::Before(StoreErrorClass::Throttled));
    assert_eq!(during(|| drop(post(&app, BODY))), ["RunsAccepted 1", "StartsDelayed 1"]);
}

#[test]
fn a_run_that_ends_at_once_is_counted_as_ended_and_not_as_started() {
    let world = block_on(World::new());
    world.engine.refuse_starts(Some("StateMachineDoesNotExist"));
    let counted = during(|| drop(post(&app(&world), BODY)));
    assert_eq!(counted, ["RunsAccepted 1", "RunsSettled 1 Source=request Status=FAILED"]);
}

#[test]
fn a_tenant_that_starts_too_much_is_told_why_and_until_when() {
    let world = block_on(World::new());
    // A minute in which nothing was started yet.
    world.clock.advance(60 - world.clock.now().as_second() % 60);
    let limits = OwnLimits { starts_per_minute: Some(1), ..OwnLimits::default() };
    let settings = TenantSettings { limits, rev: 1, ..TenantSettings::open(tenant("dev")) };
    assert!(block_on(world.store.save_tenant(&settings)).expect("saved"));
    let app = app(&world);
    assert_eq!(post_with_key(&app, "k-1", BODY).status(), 201);
    let (app, writes) = (later(app), world.store.writes());
    world.clock.advance(7);
    let refused = post(&app, BODY);
    let problem = json_of(&refused);
    assert_eq!((refused.status(), &problem["code"]), (429, &json!("rate_limited")));
    assert_eq!(problem["detail"], "1 runs were started in this minute, as many as this tenant may");
    assert_eq!(refused.header("retry-after"), Some("53"));
    assert_eq!(post_with_key(&app, "k-1", BODY).header("idempotent-replayed"), Some("true"));
    assert_eq!(world.store.writes(), writes);
    world.clock.advance(53);
    assert_eq!(post(&app, BODY).status(), 201);
}

#[test]
fn a_tenant_or_a_user_whose_budget_is_spent_is_told_whose_and_until_when() {
    let world = block_on(World::new());
    // An hour before midnight.
    world.clock.advance(82_800 - world.clock.now().as_second() % 86_400);
    let budget = |max: Option<u64>, per_user: Option<u64>| Budget {
        period: Period::Day,
        max: max.map(MicroUsd),
        per_user_max: per_user.map(MicroUsd),
    };
    let for_ann = BODY.replace(r#""name":"a""#, r#""name":"a","userId":"ann""#);
    for (rev, budget, body, whose) in
        [(1, budget(Some(0), None), BODY, "this tenant"), (2, budget(Some(1), Some(0)), for_ann.as_str(), "this user")]
    {
        let settings = TenantSettings { budget: Some(budget), rev, ..TenantSettings::open(tenant("dev")) };
        assert!(block_on(world.store.save_tenant(&settings)).expect("saved"));
        let (app, writes, starts) = (app(&world), world.store.writes(), world.engine.starts());
        let refused = post_with_key(&app, "k-1", body);
        let problem = json_of(&refused);
        assert_eq!((refused.status(), &problem["code"]), (429, &json!("budget_exhausted")));
        let told = format!("what {whose} may spend on governed calls in this day is spent");
        assert_eq!(problem["detail"], told);
        let after: u32 = refused.header("retry-after").expect("a time").parse().expect("seconds");
        assert!((3_600..=3_601).contains(&after), "{after}");
        assert_eq!((world.store.writes(), world.engine.starts()), (writes, starts), "nothing was written");
    }
    assert_eq!(post_with_key(&app(&world), "k-1", BODY).status(), 201, "somebody else's, and the key was not used up");
}
