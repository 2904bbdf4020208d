//! What Step Functions and the event bus are asked, to the letter, and what their answers mean.

use crate::support::http::{Asked, Scripted};
use crate::support::sample::{mine, run_id};
use serde_json::{Value, json};
use sluice_aws::config::{Endpoints, Settings};
use sluice_aws::{Aws, Engine};
use sluice_core::arn::{ExecutionArn, StateMachineArn};
use sluice_core::concurrency::QueueRef;
use sluice_core::delivery::AttemptOutcome;
use sluice_core::lifecycle::EngineEnd;
use sluice_core::ports::{
    AnnounceDue, AnswerTask, DeliveryRef, DescribeExecution, ExecutionState, ListExecutions, LoadRun, Page,
    PublishStatus, StartExecution, StartOutcome, StartRequest, StopExecution, StoreErrorClass, TaskAnswer,
    TaskAnswered,
};
use sluice_core::run::{EndDetails, RunError};
use sluice_testkit::fixture::{RUNNER_ARN, definition_id, runner_arn};
use std::sync::LazyLock;
use std::time::Duration;

const ARN: &str = "arn:aws:states:eu-west-1:123456789012:execution:sluice-runner:0190163d-8694-439b-aea5-000000000001";
static RUNNER: LazyLock<StateMachineArn> = LazyLock::new(runner_arn);

fn arn() -> ExecutionArn {
    ARN.parse().expect("an ARN")
}
const INPUT: &str = r#"{"runId":"…","n":1.10}"#;

fn ok(body: Value) -> (u16, String) {
    (200, body.to_string())
}

fn error(status: u16, code: &str, message: &str) -> (u16, String) {
    (status, json!({"__type": code, "message": message}).to_string())
}

async fn engine(script: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> (Engine, Scripted) {
    let service = Scripted::start(script).await;
    (Aws::connect(&Settings::for_test(&service.endpoint)).await.engine, service)
}

fn body(asked: &Asked) -> Value {
    serde_json::from_str(&asked.body).expect("JSON")
}

fn request() -> StartRequest<'static> {
    StartRequest { state_machine_arn: &RUNNER, run_id: run_id(1), input: INPUT }
}

#[tokio::test]
async fn an_execution_is_started_under_the_name_of_its_run() {
    let (engine, service) = engine(|_| ok(json!({"executionArn": ARN, "startDate": 1_795_322_388.123}))).await;
    assert_eq!(engine.start_execution(&request()).await.expect("an answer"), StartOutcome::Started);
    let asked = service.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].target, "AWSStepFunctions.StartExecution");
    let expected = json!({"stateMachineArn": RUNNER_ARN, "name": run_id(1), "input": INPUT});
    assert_eq!(body(&asked[0]), expected);
}

#[tokio::test]
async fn an_execution_of_that_name_is_ours_if_its_input_is() {
    for (input, is_ours) in [
        (INPUT, true),
        (r#"{ "n": 1.10, "runId": "…" }"#, true),
        (r#"{"runId":"…","n":1.1}"#, false),
        ("not JSON", false),
    ] {
        let (engine, service) = engine(move |asked| match asked.target.as_str() {
            "AWSStepFunctions.StartExecution" => error(400, "ExecutionAlreadyExists", "it does"),
            _ => ok(json!({"executionArn": ARN, "stateMachineArn": RUNNER_ARN, "status": "SUCCEEDED", "startDate": 1.0, "input": input})),
        })
        .await;
        match engine.start_execution(&request()).await.expect("an answer") {
            StartOutcome::Started => assert!(is_ours, "{input}"),
            StartOutcome::Refused { code, .. } => assert!(!is_ours && code == "ExecutionAlreadyExists", "{input}"),
        }
        let asked = service.asked();
        assert_eq!(asked[1].target, "AWSStepFunctions.DescribeExecution");
        assert_eq!(body(&asked[1]), json!({"executionArn": ARN}));
    }
}

#[tokio::test]
async fn an_execution_whose_input_cannot_be_compared_is_not_decided() {
    let (engine, _) = engine(|asked| match asked.target.as_str() {
        "AWSStepFunctions.StartExecution" => error(400, "ExecutionAlreadyExists", "it does"),
        _ => error(400, "ExecutionDoesNotExist", "not yet"),
    })
    .await;
    engine.start_execution(&request()).await.expect_err("undecided");
}

#[tokio::test]
async fn a_permanent_refusal_says_why() {
    for code in [
        "StateMachineDoesNotExist",
        "StateMachineDeleting",
        "InvalidArn",
        "InvalidName",
        "InvalidExecutionInput",
        "ValidationException",
    ] {
        let (engine, service) = engine(move |_| error(400, code, "never")).await;
        let refused = StartOutcome::Refused { code: code.to_owned(), message: "never".to_owned() };
        assert_eq!(engine.start_execution(&request()).await.expect("an answer"), refused);
        assert_eq!(service.asked().len(), 1, "{code} is not asked again");
    }
}

#[tokio::test]
async fn what_may_pass_is_no_refusal_and_is_asked_again_a_bounded_number_of_times() {
    for (status, code, calls) in [
        (400, "ThrottlingException", 3),
        (400, "ExecutionLimitExceeded", 1),
        (500, "InternalFailure", 3),
        (503, "ServiceUnavailable", 3),
        (400, "AccessDeniedException", 1),
    ] {
        let (engine, service) = engine(move |_| error(status, code, "not now")).await;
        let failed = engine.start_execution(&request()).await.expect_err(code);
        assert_eq!(failed.to_string(), "the engine failed to start an execution");
        assert_eq!(failed.source.expect("a source").to_string(), format!("{code}: not now"));
        assert_eq!(service.asked().len(), calls, "{code}");
    }
}

#[tokio::test]
async fn an_engine_that_cannot_be_reached_is_no_refusal() {
    let mut settings = Settings::for_test("http://127.0.0.1:1");
    settings.endpoints = Endpoints { sfn: Some("http://127.0.0.1:1".to_owned()), ..Endpoints::default() };
    let engine = Aws::connect(&settings).await.engine;
    engine.start_execution(&request()).await.expect_err("no answer");
}

#[tokio::test]
async fn services_that_hang_are_given_up_while_there_is_time_to_answer() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let settings = Settings::for_test(&format!("http://{}", listener.local_addr().expect("an address")));
    let aws = Aws::connect(&settings).await;
    // The listener's backlog takes connections that nobody will ever serve; time passes by itself.
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    aws.engine.start_execution(&request()).await.expect_err("no answer");
    assert!(begun.elapsed() < Duration::from_millis(6_100), "{:?}", begun.elapsed());
    let begun = tokio::time::Instant::now();
    let error = aws.store.load_run(&mine(), run_id(1)).await.expect_err("no answer");
    assert_eq!(error.class, StoreErrorClass::Unavailable);
    assert!(begun.elapsed() < Duration::from_millis(8_100), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn stopping_says_why_and_stopping_what_has_ended_is_no_error() {
    for answer in [
        ok(json!({"stopDate": 1.0})),
        error(400, "ExecutionDoesNotExist", "never was"),
        error(400, "ValidationException", "Execution is not running"),
        error(400, "ValidationException", "Execution has already finished"),
    ] {
        let (engine, service) = engine(move |_| answer.clone()).await;
        engine.stop_execution(&arn(), "Sluice.canceled_by_caller", "canceled_by_caller").await.expect("stopped");
        let asked = service.asked();
        assert_eq!(asked[0].target, "AWSStepFunctions.StopExecution");
        let expected =
            json!({"executionArn": ARN, "error": "Sluice.canceled_by_caller", "cause": "canceled_by_caller"});
        assert_eq!(body(&asked[0]), expected);
    }
    for answer in
        [error(400, "InvalidArn", "no"), error(400, "ValidationException", "no"), error(500, "InternalFailure", "no")]
    {
        let (engine, _) = engine(move |_| answer.clone()).await;
        engine.stop_execution(&arn(), "x", "y").await.expect_err("not stopped");
    }
}

#[tokio::test]
async fn texts_too_long_for_a_stop_are_cut() {
    let (engine, service) = engine(|_| ok(json!({"stopDate": 1.0}))).await;
    engine.stop_execution(&arn(), &"é".repeat(300), &"é".repeat(40_000)).await.expect("stopped");
    let body = body(&service.asked()[0]);
    let chars = |name: &str| body[name].as_str().map(|text| text.chars().count());
    assert_eq!((chars("error"), chars("cause")), (Some(256), Some(32_768)));
}

#[tokio::test]
async fn a_task_is_answered_with_the_text_as_it_was_given() {
    let (engine, service) = engine(|_| ok(json!({}))).await;
    let success = TaskAnswer::Success(r#"{"n": 1.10, "big": 12345678901234567890123}"#);
    assert_eq!(engine.answer_task("token", &success).await.expect("an answer"), TaskAnswered::Taken);
    let (error, cause) = (&"é".repeat(300), &"é".repeat(40_000));
    let failure = TaskAnswer::Failure { error, cause };
    assert_eq!(engine.answer_task("token", &failure).await.expect("an answer"), TaskAnswered::Taken);
    let asked = service.asked();
    assert_eq!(service.targets(), ["AWSStepFunctions.SendTaskSuccess", "AWSStepFunctions.SendTaskFailure"]);
    let expected = json!({"taskToken": "token", "output": r#"{"n": 1.10, "big": 12345678901234567890123}"#});
    assert_eq!(body(&asked[0]), expected);
    let expected = json!({"taskToken": "token", "error": "é".repeat(256), "cause": "é".repeat(32_768)});
    assert_eq!(body(&asked[1]), expected);
}

#[tokio::test]
async fn a_token_that_nobody_waits_for_is_no_error_and_a_failing_engine_has_taken_nothing() {
    let failure = TaskAnswer::Failure { error: "E", cause: "C" };
    for code in ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"] {
        let (engine, service) = engine(move |_| error(400, code, "no more")).await;
        for answer in [TaskAnswer::Success("{}"), failure] {
            assert_eq!(engine.answer_task("token", &answer).await.expect(code), TaskAnswered::NotWaiting);
        }
        assert_eq!(service.asked().len(), 2, "{code} is not asked again");
    }
    for (status, code) in [
        (400, "InvalidOutput"),
        (400, "AccessDeniedException"),
        (400, "ThrottlingException"),
        (400, "ValidationException"),
        (500, "InternalFailure"),
    ] {
        let (engine, _) = engine(move |_| error(status, code, "no")).await;
        for answer in [TaskAnswer::Success("{}"), failure] {
            let failed = engine.answer_task("secret token", &answer).await.expect_err(code);
            let shown = format!("{failed} {failed:?}");
            assert!(shown.contains(code) && !shown.contains("secret"), "{shown}");
        }
    }
}

#[tokio::test]
async fn every_status_of_an_execution_has_its_meaning() {
    let stopped_at = Some("2026-11-22T04:39:48.123Z".parse().expect("a time"));
    let ended = |end, output: Option<&str>, error: Option<(&str, &str)>| {
        let error = error.map(|(code, message)| RunError { code: code.to_owned(), message: message.to_owned() });
        ExecutionState::Ended(end, EndDetails { stopped_at, output: output.map(str::to_owned), error })
    };
    for (status, extra, expected) in [
        ("RUNNING", json!({}), ExecutionState::Running),
        ("PENDING_REDRIVE", json!({}), ExecutionState::Running),
        ("SUCCEEDED", json!({"output": r#"{"n": 1.10}"#}), ended(EngineEnd::Succeeded, Some(r#"{"n": 1.10}"#), None)),
        ("FAILED", json!({"error": "E", "cause": "C"}), ended(EngineEnd::Failed, None, Some(("E", "C")))),
        (
            "TIMED_OUT",
            json!({"error": "States.Timeout"}),
            ended(EngineEnd::TimedOut, None, Some(("States.Timeout", ""))),
        ),
        ("ABORTED", json!({}), ended(EngineEnd::Aborted, None, None)),
    ] {
        let mut answer = json!({
            "executionArn": ARN, "stateMachineArn": RUNNER_ARN, "status": status, "startDate": 1.0, "stopDate": 1_795_322_388.123
        });
        answer.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        let (engine, _) = engine(move |_| ok(answer.clone())).await;
        assert_eq!(engine.describe_execution(&arn()).await.expect("an answer"), expected, "{status}");
    }
}

#[tokio::test]
async fn an_execution_that_the_engine_does_not_know_is_unknown_and_a_failing_engine_knows_nothing() {
    let (unknown, _) = engine(|_| error(400, "ExecutionDoesNotExist", "never was")).await;
    assert_eq!(unknown.describe_execution(&arn()).await.expect("an answer"), ExecutionState::Unknown);
    let (failing, _) = engine(|_| error(500, "InternalFailure", "no")).await;
    failing.describe_execution(&arn()).await.expect_err("no answer");
    let strange = json!({"executionArn": ARN, "stateMachineArn": RUNNER_ARN, "status": "DREAMING", "startDate": 1.0});
    let (strange, _) = engine(move |_| ok(strange.clone())).await;
    strange.describe_execution(&arn()).await.expect_err("a status of the future is no end");
}

#[tokio::test]
async fn running_executions_are_listed_by_name_page_by_page() {
    let (engine, service) = engine(|asked| {
        let execution = |name: &str| {
            json!({"executionArn": ARN, "stateMachineArn": RUNNER_ARN, "name": name, "status": "RUNNING", "startDate": 1.0})
        };
        match body(asked).get("nextToken") {
            None => ok(json!({"executions": [execution("a"), execution("b")], "nextToken": "on"})),
            Some(_) => ok(json!({"executions": [execution("c")]})),
        }
    })
    .await;
    let first = engine.running_executions(&RUNNER, None).await.expect("a page");
    assert_eq!(first, Page { items: vec!["a".to_owned(), "b".to_owned()], next: Some("on".to_owned()) });
    let second = engine.running_executions(&RUNNER, first.next.as_deref()).await.expect("a page");
    assert_eq!(second, Page { items: vec!["c".to_owned()], next: None });
    let asked = service.asked();
    assert_eq!(asked[0].target, "AWSStepFunctions.ListExecutions");
    let expected = json!({"stateMachineArn": RUNNER_ARN, "statusFilter": "RUNNING", "maxResults": 1000});
    assert_eq!(body(&asked[0]), expected);
    assert_eq!(body(&asked[1])["nextToken"], "on");
}

fn due(count: u32) -> Vec<DeliveryRef> {
    (1..=count).map(|number| DeliveryRef { tenant_id: mine(), run_id: run_id(1), number }).collect()
}

#[tokio::test]
async fn due_deliveries_are_announced_ten_at_a_time() {
    let (engine, service) = engine(|_| ok(json!({"FailedEntryCount": 0, "Entries": []}))).await;
    engine.announce_due(&due(23)).await.expect("announced");
    let asked = service.asked();
    let counts: Vec<_> = asked.iter().map(|asked| body(asked)["Entries"].as_array().map(Vec::len)).collect();
    assert_eq!(counts, [Some(10), Some(10), Some(3)]);
    assert_eq!(asked[0].target, "AWSEvents.PutEvents");
    assert_eq!(
        body(&asked[2])["Entries"][0],
        json!({
            "EventBusName": "default",
            "Source": "sluice",
            "DetailType": "Delivery Due",
            "Detail": r#"{"tenantId":"mine","runId":"0190163d-8694-439b-aea5-000000000001","delivery":21}"#,
        })
    );
    engine.announce_due(&[]).await.expect("nothing to do");
    assert_eq!(service.asked().len(), 3);
}

#[tokio::test]
async fn freed_slots_are_announced_ten_at_a_time() {
    let (engine, service) = engine(|_| ok(json!({"FailedEntryCount": 0, "Entries": []}))).await;
    let of_tenant = QueueRef { tenant_id: mine(), definition_id: None };
    let of_definition = QueueRef { tenant_id: mine(), definition_id: Some(definition_id(7)) };
    let mut queues = vec![of_tenant; 10];
    queues.push(of_definition);
    engine.announce_free(&queues).await.expect("announced");
    let asked = service.asked();
    let entry = |detail: &str| json!({"EventBusName": "default", "Source": "sluice", "DetailType": "Slot Freed", "Detail": detail});
    assert_eq!(asked.len(), 2);
    assert_eq!(body(&asked[0])["Entries"].as_array().map(Vec::len), Some(10));
    assert_eq!(body(&asked[0])["Entries"][9], entry(r#"{"tenantId":"mine"}"#));
    let detail = r#"{"tenantId":"mine","definitionId":"00000000-0000-0000-0000-000000000007"}"#;
    assert_eq!(body(&asked[1]), json!({"Entries": [entry(detail)]}));
    engine.announce_free(&[]).await.expect("nothing to do");
    assert_eq!(service.asked().len(), 2);
    let refused = json!({"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure", "ErrorMessage": "no"}]});
    let (refusing, _) = self::engine(move |_| ok(refused.clone())).await;
    refusing.announce_free(&queues).await.expect_err("refused");
}

#[tokio::test]
async fn an_entry_that_the_bus_refuses_is_a_failure() {
    let refused = json!({"FailedEntryCount": 1, "Entries": [{"EventId": "1"}, {"ErrorCode": "InternalFailure", "ErrorMessage": "no"}]});
    let (engine, _) = engine(move |_| ok(refused.clone())).await;
    let failed = engine.announce_due(&due(2)).await.expect_err("refused");
    assert_eq!(failed.source.expect("a source").to_string(), "InternalFailure: no");
    let outcome = engine.publish_status("{}").await;
    assert_eq!(outcome, AttemptOutcome::Unreachable { error_class: "bus".to_owned() });
}

#[tokio::test]
async fn a_status_is_published_as_it_was_built() {
    let (engine, service) = engine(|_| ok(json!({"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}))).await;
    let detail = r#"{"specVersion":"1","n":1.10}"#;
    assert_eq!(engine.publish_status(detail).await, AttemptOutcome::Delivered { http_status: None });
    let entry = json!({
        "EventBusName": "default", "Source": "sluice", "DetailType": "Workflow Run Status Changed", "Detail": detail
    });
    assert_eq!(body(&service.asked()[0]), json!({"Entries": [entry]}));
}

#[tokio::test]
async fn a_bus_that_fails_leaves_the_delivery_owed() {
    let (engine, _) = engine(|_| error(500, "InternalException", "no")).await;
    let outcome = engine.publish_status("{}").await;
    assert_eq!(outcome, AttemptOutcome::Unreachable { error_class: "bus".to_owned() });
}
