//! Every sample event of this function, with what it does; and what holds whatever events come.

use lambda_runtime::{Context, Diagnostic, LambdaEvent};
use run_callback::{Answer, App};
use serde_json::{Value, json};
use sluice_core::budget::NanoUsd;
use sluice_core::concurrency::{Concurrency, OnLimit, SlotScope};
use sluice_core::delivery::{AttemptOutcome, DeliveryStatus};
use sluice_core::flow::create_run::{Command, Source, create_run};
use sluice_core::flow::transition_run::transition;
use sluice_core::id::{NodeId, RunId};
use sluice_core::lifecycle::{EngineEnd, RunEvent, RunStatus, StopIntent, TerminationReason};
use sluice_core::operator::TenantSettings;
use sluice_core::ports::{Clock, ManageOperator, StoreErrorClass};
use sluice_core::run::{EndDetails, Run};
use sluice_edge::event::{BatchFailures, ItemFailure};
use sluice_edge::metrics::{self, Emitter};
use sluice_edge::wire::usage::UsageCounts;
use sluice_testkit::block_on;
use sluice_testkit::fault::Fault;
use sluice_testkit::fixture::{caller, fresh, tenant};
use sluice_testkit::metrics::during;
use sluice_testkit::samples::{self, CALLBACK_URL, CONTEXT, OUTPUT, RUNNING, SUCCEEDED, World};
use std::collections::BTreeSet;
use std::time::Duration;

/// An event of the bus: nothing is answered.
fn take(world: &World, event: &str) -> Result<(), Diagnostic> {
    handle(world, event).map(|answer| assert_eq!(answer, Answer::Nothing))
}

/// A report of usage.
fn ask(world: &World, event: &str) -> Result<Option<UsageCounts>, Diagnostic> {
    handle(world, event).map(|answer| {
        let Answer::Usage(counts) = answer else { panic!("{answer:?}") };
        Some(counts)
    })
}

/// Messages of the queue: those that shall come again.
fn take_batch(world: &World, event: &str) -> Vec<String> {
    let answer = handle(world, event).expect("a batch is always answered");
    let Answer::Batch(BatchFailures { batch_item_failures }) = answer else { panic!("{answer:?}") };
    batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
}

fn handle(world: &World, event: &str) -> Result<Answer, Diagnostic> {
    handle_within(world, event, Duration::from_secs(60))
}

fn handle_within(world: &World, event: &str, time: Duration) -> Result<Answer, Diagnostic> {
    metrics::init(Emitter::for_test(sluice_testkit::metrics::keep));
    let app = App {
        store: world.store.clone(),
        engine: world.engine.clone(),
        webhook: world.receiver.clone(),
        clock: world.clock.clone(),
    };
    let event = serde_json::from_str(event).expect("an event");
    let now = u64::try_from(world.clock.now().as_millisecond()).expect("after 1970");
    let mut context = Context::default();
    context.deadline = now + u64::try_from(time.as_millis()).expect("a short time");
    block_on(app.handle(LambdaEvent::new(event, context)))
}

#[test]
fn every_call_ends_within_its_invocation() {
    for (case, event) in samples::cases("run-callback") {
        let world = block_on(World::new());
        let end = world.clock.now().as_millisecond() + 60_000;
        // Whatever comes of it.
        let _answer = handle_within(&world, &event, Duration::from_secs(60));
        let ends: Vec<i64> = world.clock.take_ends().into_iter().map(|end| end.as_millisecond()).collect();
        assert_eq!(ends, [end - 1_000], "{case}");
    }
}

fn sample(case: &str) -> String {
    samples::cases("run-callback")[case].clone()
}

fn running(world: &World) -> Run {
    block_on(world.load("dev", RUNNING))
}

/// Case, status, reason, and the error's code and message.
type End = (&'static str, &'static str, &'static str, Option<(&'static str, &'static str)>);

/// Ends of the running run.
const ENDS: [End; 8] = [
    ("succeeded", "SUCCEEDED", "completed", None),
    ("succeeded-output-left-out", "SUCCEEDED", "completed", None),
    ("succeeded-input-left-out", "SUCCEEDED", "completed", None),
    ("failed", "FAILED", "execution_error", Some(("Text.TooShort", "node readability: the text has only 3 words"))),
    (
        "failed-before-the-nodes",
        "FAILED",
        "execution_error",
        Some(("States.Runtime", "An error occurred while executing the state 'Claim'.")),
    ),
    ("timed-out", "FAILED", "timed_out", Some(("States.Timeout", "the execution timed out"))),
    ("aborted", "CANCELED", "aborted_in_engine", None),
    ("aborted-without-details", "CANCELED", "aborted_in_engine", None),
];

/// Events that change no run and send nothing.
const IGNORED: [&str; 14] = [
    "running",
    "pending-redrive",
    "repeated-end",
    "redriven-to-failure",
    "unknown-status",
    "malformed",
    "not-our-name",
    "foreign-execution",
    "unknown-run",
    "foreign-source",
    "delivery-due-malformed",
    "slot-freed",
    "slot-freed-definition",
    "slot-freed-malformed",
];

/// Usage that can never be recorded, and what the runner is told of it.
const UNUSABLE: [(&str, &str); 3] = [
    ("usage-reported-unusable", "/usage/0/cost: is not a field here"),
    ("usage-reported-no-list", "/usage/0: must be an object"),
    ("usage-reported-malformed", "the report does not name its run, node and attempt"),
];

/// Usage, with how much of it is recorded.
const USAGE: [(&str, u32); 3] =
    [("usage-reported", 2), ("usage-reported-above-the-cap", 1), ("usage-reported-unknown-run", 0)];

/// Messages of the queue.
const BATCHES: [&str; 2] = ["queue-delivery-due", "queue-batch"];

#[test]
fn every_sample_is_tested() {
    for case in samples::cases("run-callback").keys() {
        let ends = ENDS.iter().any(|(end, ..)| end == case);
        let deliveries =
            ["delivery-due", "delivery-due-unknown"].contains(&case.as_str()) || BATCHES.contains(&case.as_str());
        let usage = UNUSABLE.iter().any(|(one, _)| one == case) || USAGE.iter().any(|(one, _)| one == case);
        assert!(ends || IGNORED.contains(&case.as_str()) || deliveries || usage, "{case} is not tested");
    }
}

#[test]
fn an_end_settles_its_run_and_tells_of_it() {
    for (case, status, reason, error) in ENDS {
        let world = block_on(World::new());
        let before = world.engine.published().len();
        let arn = running(&world).execution_arn();
        world.engine.end(&arn, EngineEnd::Succeeded, Some(OUTPUT), world.clock.now());
        take(&world, &sample(case)).expect(case);
        let run = running(&world);
        assert_eq!(run.status().as_str(), status, "{case}");
        assert_eq!(run.state.ended().map(|ended| ended.reason).map(|reason| reason.as_str()), Some(reason), "{case}");
        let found = run
            .state
            .ended()
            .and_then(|ended| ended.error.as_ref())
            .map(|error| (error.code.as_str(), error.message.as_str()));
        assert_eq!(found, error, "{case}");
        assert!(run.state.ended().map(|ended| ended.completed_at) >= run.state.started_at(), "{case}");

        let received = world.receiver.received();
        assert_eq!(received.len(), 1, "{case}");
        assert_eq!(received[0].url, CALLBACK_URL);
        assert!(received[0].body.contains(&format!("\"completionCallbackContext\":{CONTEXT}")), "{}", received[0].body);
        assert_eq!(received[0].body.contains(&format!("\"output\":{OUTPUT}")), status == "SUCCEEDED", "{case}");
        assert_eq!(world.engine.published().len(), before + 1, "{case}");
    }
}

#[test]
fn what_is_no_end_of_ours_changes_nothing_and_is_not_retried() {
    for case in IGNORED {
        let world = block_on(World::new());
        let (writes, published) = (world.store.writes(), world.engine.published().len());
        take(&world, &sample(case)).expect(case);
        assert_eq!(world.store.writes(), writes, "{case}");
        assert_eq!(world.engine.published().len(), published, "{case}");
        assert!(world.receiver.received().is_empty(), "{case}");
    }
}

#[test]
fn a_due_delivery_is_sent() {
    let world = block_on(World::new());
    take(&world, &sample("delivery-due")).expect("taken");
    let received = world.receiver.received();
    assert_eq!((received.len(), received[0].webhook_id.clone()), (1, format!("{SUCCEEDED}.1")));
    take(&world, &sample("delivery-due")).expect("taken");
    assert_eq!(world.receiver.received().len(), 1, "delivered once");
    take(&world, &sample("delivery-due-unknown")).expect("taken");
}

#[test]
fn a_message_of_the_queue_is_taken_like_the_event_in_it() {
    let world = block_on(World::new());
    for _ in 0..3 {
        // SQS delivers at least once.
        assert!(take_batch(&world, &sample("queue-delivery-due")).is_empty());
    }
    let received = world.receiver.received();
    assert_eq!((received.len(), received[0].webhook_id.clone()), (1, format!("{SUCCEEDED}.1")));
    assert_eq!(received[0].patience.as_secs(), 10);
}

#[test]
fn of_a_batch_only_what_failed_comes_again() {
    // One is due, one nobody knows, one is no event, one reports usage, which only the runner itself may.
    let batch: Value = serde_json::from_str(&sample("queue-batch")).expect("JSON");
    let ids: Vec<&str> =
        batch["Records"].as_array().into_iter().flatten().map(|it| it["messageId"].as_str().expect("an id")).collect();
    assert_eq!(ids.len(), 4);
    let world = block_on(World::new());
    let usage = world.store.calls(&tenant("dev"), samples::run_id(RUNNING)).len();
    let counted = during(|| assert!(take_batch(&world, &batch.to_string()).is_empty()));
    assert_eq!(counted.iter().filter(|line| line.starts_with("PoisonEvents")).count(), 2, "{counted:?}");
    assert_eq!(world.receiver.received().len(), 1);
    assert_eq!(world.store.calls(&tenant("dev"), samples::run_id(RUNNING)).len(), usage);

    let world = block_on(World::new());
    world.store.faults.once("load the delivery", Fault::Before(StoreErrorClass::Throttled));
    assert_eq!(take_batch(&world, &batch.to_string()), ids[..1], "the others are done");
    assert!(take_batch(&world, &json!({"Records": [batch["Records"][0]]}).to_string()).is_empty());
    assert_eq!(world.receiver.received().len(), 1);
    assert!(take_batch(&world, r#"{"Records": []}"#).is_empty());
}

#[test]
fn a_batch_that_there_is_no_time_for_comes_again() {
    let world = block_on(World::new());
    let batch: Value = serde_json::from_str(&sample("queue-batch")).expect("JSON");
    let ids = |range: std::ops::Range<usize>| -> Vec<&str> {
        range.map(|at| batch["Records"][at]["messageId"].as_str().expect("an id")).collect()
    };
    world.receiver.answer_after(CALLBACK_URL, Duration::from_secs(9), &world.clock);
    // The first one takes nine seconds, and then less is left than another may take.
    let answer = handle_within(&world, &batch.to_string(), Duration::from_secs(28)).expect("answered");
    let Answer::Batch(failures) = answer else { panic!("{answer:?}") };
    let again: Vec<_> = failures.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str()).collect();
    assert_eq!((world.receiver.received().len(), again), (1, ids(1..4)));
}

#[test]
fn an_answer_is_what_lambda_reads() {
    let failure = ItemFailure { item_identifier: "1".to_owned() };
    let failures = BatchFailures { batch_item_failures: vec![failure] };
    let counts = UsageCounts { recorded: 2, repeated: 1 };
    for (answer, expected) in [
        (Answer::Nothing, Value::Null),
        (Answer::Batch(failures), json!({"batchItemFailures": [{"itemIdentifier": "1"}]})),
        (Answer::Usage(counts), json!({"recorded": 2, "repeated": 1})),
    ] {
        assert_eq!(serde_json::to_value(answer).expect("JSON"), expected);
    }
}

#[test]
fn a_repeated_event_sends_nothing_again() {
    let world = block_on(World::new());
    for _ in 0..3 {
        take(&world, &sample("succeeded")).expect("taken");
    }
    assert_eq!(world.receiver.received().len(), 1);
    let run = running(&world);
    take(&world, &sample("failed")).expect("taken");
    assert_eq!(running(&world), run, "a late failure changes nothing");
}

#[test]
fn a_receiver_in_trouble_is_tried_once_more_and_then_left_to_the_sweep() {
    let world = block_on(World::new());
    let rejected = AttemptOutcome::Rejected { http_status: 500, retry_after_seconds: None };
    world.receiver.answer_next([rejected.clone(), rejected]);
    world.engine.take_announced();
    take(&world, &sample("succeeded")).expect("taken");
    assert_eq!(world.receiver.received().len(), 1, "the end of the run waits for one answer");
    let [retry] = &world.engine.take_announced()[..] else { panic!("the second attempt is told") };
    assert_eq!((retry.run_id, retry.number), (samples::run_id(RUNNING), 1));
    take(&world, &sample("delivery-due").replace(SUCCEEDED, RUNNING)).expect("taken");
    assert!(world.engine.take_announced().is_empty(), "the third is the sweep's");
    let received = world.receiver.received();
    assert_eq!(received.len(), 2);
    assert_eq!((&received[0].webhook_id, &received[0].body), (&received[1].webhook_id, &received[1].body));
    let deliveries = world.store.deliveries();
    let of_run = |number: u32| {
        let mut found =
            deliveries.iter().filter(|(delivery, _)| delivery.webhook_id() == format!("{RUNNING}.{number}"));
        found.next().expect("a delivery").clone()
    };
    let (webhook, attempts) = of_run(1);
    assert_eq!((webhook.status, attempts.len()), (DeliveryStatus::Scheduled, 2));
    assert_eq!(of_run(2).0.status, DeliveryStatus::Delivered, "the event bus does not wait for the receiver");
}

#[test]
fn an_answer_is_waited_for_by_the_queues_deliverer_and_not_by_who_settles() {
    let world = block_on(World::new());
    world.receiver.answer_after(CALLBACK_URL, Duration::from_secs(5), &world.clock);
    take(&world, &sample("succeeded")).expect("taken");
    take(&world, &sample("delivery-due").replace(SUCCEEDED, RUNNING)).expect("taken");
    let waited: Vec<u64> = world.receiver.received().iter().map(|received| received.patience.as_secs()).collect();
    assert_eq!(waited, [2, 10]);
    assert!(world.store.deliveries().iter().any(|(delivery, _)| {
        delivery.webhook_id() == format!("{RUNNING}.1") && delivery.status == DeliveryStatus::Delivered
    }));
}

#[test]
fn a_receiver_in_trouble_does_not_hold_who_settles() {
    let world = block_on(World::new());
    world.receiver.answer_next([AttemptOutcome::Rejected { http_status: 500, retry_after_seconds: None }]);
    take(&world, &sample("delivery-due")).expect("taken");
    world.engine.take_announced();
    let counted = during(|| take(&world, &sample("succeeded")).expect("taken"));
    assert_eq!(world.receiver.received().len(), 1, "of the run before");
    assert!(counted.contains(&"DeliveriesHeldBack 1".to_owned()), "{counted:?}");
    let [owed] = &world.engine.take_announced()[..] else { panic!("it is left to the queue") };
    assert_eq!((owed.run_id, owed.number), (samples::run_id(RUNNING), 1));
    take(&world, &sample("delivery-due").replace(SUCCEEDED, RUNNING)).expect("taken");
    assert_eq!(world.receiver.received().len(), 2);
}

#[test]
fn nothing_is_sent_before_the_end_is_durable() {
    for class in [StoreErrorClass::Unavailable, StoreErrorClass::Throttled, StoreErrorClass::Conflict] {
        let world = block_on(World::new());
        world.store.faults.once("change the run", Fault::Before(class));
        let published = world.engine.published().len();
        assert!(take(&world, &sample("succeeded")).is_err(), "a retry can mend this");
        assert!(world.receiver.received().is_empty());
        assert_eq!(world.engine.published().len(), published);
        take(&world, &sample("succeeded")).expect("the retry");
        assert_eq!(world.receiver.received().len(), 1);
    }
}

#[test]
fn an_engine_that_does_not_describe_is_asked_again_later() {
    for (case, operation) in [
        ("succeeded-output-left-out", "describe the execution"),
        ("succeeded-input-left-out", "read the execution's input"),
    ] {
        let world = block_on(World::new());
        world.engine.faults.once(operation, Fault::Before(StoreErrorClass::Throttled));
        let writes = world.store.writes();
        assert!(take(&world, &sample(case)).is_err(), "{case}");
        assert_eq!(world.store.writes(), writes, "{case}");
    }
}

#[test]
fn a_run_does_not_end_without_the_output_it_has() {
    let world = block_on(World::new());
    let writes = world.store.writes();
    assert!(take(&world, &sample("succeeded-output-left-out")).is_err(), "its description is not there yet");
    assert_eq!(world.store.writes(), writes);
}

#[test]
fn an_event_of_another_tenants_run_is_not_taken_for_ours() {
    // The run id is the same in both tenants; the input says whose execution it is.
    let world = block_on(World::new());
    let mut event: Value = serde_json::from_str(&sample("succeeded")).expect("JSON");
    event["detail"]["input"] = r#"{"tenantId":"stranger"}"#.into();
    take(&world, &event.to_string()).expect("taken");
    assert!(!running(&world).status().is_terminal());
    assert!(world.store.run(&tenant("stranger"), samples::run_id(RUNNING)).is_none());
}

#[test]
fn anything_is_an_event() {
    let world = block_on(World::new());
    for event in
        ["{}", r#"{"source":"aws.states","detail-type":"Step Functions Execution Status Change","detail":[1,2]}"#]
    {
        take(&world, event).expect("dropped");
    }
}

#[test]
fn an_end_and_its_deliveries_are_counted() {
    let world = block_on(World::new());
    // The sample's execution ended a while before its event came.
    let counted = during(|| take(&world, &sample("succeeded")).expect("taken"));
    let completed_at = running(&world).state.ended().map(|ended| ended.completed_at).expect("ended");
    let lag_ms = world.clock.now().duration_since(completed_at).as_millis();
    let expected = [
        "DeliveriesDelivered 1 Channel=event-bus".to_owned(),
        "DeliveriesDelivered 1 Channel=webhook".to_owned(),
        "DeliveryAttempts 1 Channel=event-bus".to_owned(),
        "DeliveryAttempts 1 Channel=webhook".to_owned(),
        format!("DeliveryLag {lag_ms} Channel=event-bus"),
        format!("DeliveryLag {lag_ms} Channel=webhook"),
        "RunsSettled 1 Source=event Status=SUCCEEDED".to_owned(),
    ];
    assert_eq!(counted, expected);
    assert!(during(|| take(&world, &sample("succeeded")).expect("taken")).is_empty(), "a repetition counts nothing");
    assert_eq!(during(|| take(&world, &sample("failed")).expect("taken")), ["RedrivenExecutions 1"]);
}

#[test]
fn a_delivery_that_is_given_up_is_counted_by_its_reason() {
    let world = block_on(World::new());
    world.receiver.answer_next([AttemptOutcome::Gone]);
    let counted = during(|| take(&world, &sample("delivery-due")).expect("taken"));
    assert_eq!(counted, ["DeliveriesDeadLettered 1 Channel=webhook Reason=gone", "DeliveryAttempts 1 Channel=webhook"]);

    let world = block_on(World::new());
    let rejected = AttemptOutcome::Rejected { http_status: 500, retry_after_seconds: None };
    world.receiver.answer_next(vec![rejected; 8]);
    let mut counted = during(|| take(&world, &sample("delivery-due")).expect("taken"));
    assert_eq!(counted, ["DeliveryAttempts 1 Channel=webhook"]);
    for _ in 0..7 {
        world.clock.advance(60_000);
        counted = during(|| take(&world, &sample("delivery-due")).expect("taken"));
    }
    let given_up = "DeliveriesDeadLettered 1 Channel=webhook Reason=attempts_exhausted";
    assert_eq!(counted, [given_up, "DeliveryAttempts 1 Channel=webhook"]);
}

#[test]
fn what_no_retry_can_mend_and_what_one_can_are_counted_apart() {
    let world = block_on(World::new());
    for case in [
        "malformed",
        "unknown-status",
        "not-our-name",
        "foreign-source",
        "delivery-due-malformed",
        "slot-freed-malformed",
    ] {
        assert_eq!(during(|| take(&world, &sample(case)).expect(case)), ["PoisonEvents 1"], "{case}");
    }
    world.store.faults.once("change the run", Fault::Before(StoreErrorClass::Unavailable));
    assert_eq!(during(|| drop(take(&world, &sample("succeeded")))), ["EventsFailed 1"]);
}

#[test]
fn usage_in_a_result_is_recorded_once() {
    for (case, recorded) in USAGE {
        let world = block_on(World::new());
        assert_eq!(ask(&world, &sample(case)), Ok(Some(UsageCounts { recorded, repeated: 0 })), "{case}");
        // The runner's answer was lost, and it asks again.
        let repeated = Ok(Some(UsageCounts { recorded: 0, repeated: recorded }));
        assert_eq!(ask(&world, &sample(case)), repeated, "{case}");
    }
}

#[test]
fn a_call_without_an_id_is_known_by_its_place_and_belongs_to_its_node() {
    let world = block_on(World::new());
    ask(&world, &sample("usage-reported")).expect("recorded");
    let calls = world.store.calls(&tenant("dev"), samples::run_id(RUNNING));
    let found: Vec<(&str, Option<&str>)> =
        calls.iter().map(|call| (call.call_id.as_str(), call.node_id.as_ref().map(NodeId::as_str))).collect();
    assert_eq!(found, [("frequencies/1/0", Some("frequencies")), ("summary", Some("frequencies"))]);
    assert_eq!(calls[0].cost_nano_usd, NanoUsd(412_000), "as it was written");
}

#[test]
fn a_result_may_report_more_calls_than_are_recorded_at_once() {
    let world = block_on(World::new());
    let mut event: Value = serde_json::from_str(&sample("usage-reported")).expect("JSON");
    event["detail"]["usage"] = json!(vec![json!({"provider": "acme", "model": "small"}); 120]);
    assert_eq!(ask(&world, &event.to_string()), Ok(Some(UsageCounts { recorded: 120, repeated: 0 })));
}

#[test]
fn usage_above_the_cap_stops_the_run() {
    let world = block_on(World::new());
    ask(&world, &sample("usage-reported-above-the-cap")).expect("recorded");
    assert_eq!(running(&world).status(), RunStatus::Canceling);
    assert_eq!(world.engine.stops(), [running(&world).execution_arn()]);
    take(&world, &sample("aborted")).expect("taken");
    assert_eq!(running(&world).state.ended().map(|ended| ended.reason), Some(TerminationReason::BudgetExceeded));
}

#[test]
fn usage_that_is_none_is_refused_for_good() {
    let world = block_on(World::new());
    let writes = world.store.writes();
    for (case, says) in UNUSABLE {
        let refused = ask(&world, &sample(case)).expect_err(case);
        assert_eq!(refused.error_type, "Sluice.InvalidUsage", "{case}");
        assert!(refused.error_message.contains(says), "{case}: {}", refused.error_message);
    }
    for usage in [json!([]), json!({}), Value::Null, json!([{"provider": "acme", "model": "small", "costUsd": -1}])] {
        let mut event: Value = serde_json::from_str(&sample("usage-reported")).expect("JSON");
        event["detail"]["usage"] = usage.clone();
        let answer = ask(&world, &event.to_string());
        if usage == json!([]) {
            assert_eq!(answer, Ok(Some(UsageCounts { recorded: 0, repeated: 0 })), "there is nothing to record");
        } else {
            assert_eq!(answer.expect_err("refused").error_type, "Sluice.InvalidUsage", "{usage}");
        }
    }
    assert_eq!(world.store.writes(), writes);
}

#[test]
fn usage_that_could_not_be_recorded_is_reported_again() {
    let world = block_on(World::new());
    world.store.faults.once("report at once", Fault::Before(StoreErrorClass::Throttled));
    let failed = ask(&world, &sample("usage-reported")).expect_err("not now");
    assert_eq!(failed.error_type, "Sluice.EventFailed");
    assert_eq!(ask(&world, &sample("usage-reported")), Ok(Some(UsageCounts { recorded: 2, repeated: 0 })));
}

/// A run that waits until another ends: the one that has the tenant's only slot, and the one that wants it.
fn queue_up(world: &World) -> [RunId; 2] {
    let concurrency = Some(Concurrency { max_concurrent_runs: 1, on_limit: OnLimit::Queue });
    let settings = TenantSettings { concurrency, rev: 1, ..TenantSettings::open(tenant("dev")) };
    block_on(world.store.save_tenant(&settings)).expect("saved");
    [samples::NEW_RUN, "7f1d2c4b-5a60-4e11-9a55-0190b2a47c3e"].map(|id| {
        let (run_id, now, policy) = (samples::run_id(id), world.clock.now(), samples::policy());
        let command = Command::new(Source::Instance(samples::instance("dev", world).id));
        let dev = caller("dev");
        let created = create_run(&world.store, &world.engine, &policy, &dev, command, fresh(run_id), now);
        block_on(created).expect("created").run.run_id
    })
}

fn status(world: &World, run_id: RunId) -> RunStatus {
    world.store.run(&tenant("dev"), run_id).expect("a run").status()
}

#[test]
fn the_end_of_a_run_gives_its_slot_to_the_next() {
    let world = block_on(World::new());
    let [first, next] = queue_up(&world);
    assert_eq!((status(&world, first), status(&world, next)), (RunStatus::Pending, RunStatus::Queued));
    let run = world.store.run(&tenant("dev"), first).expect("a run");
    assert!(world.engine.claim(&world.store, &run.execution_arn(), world.clock.now()));
    let end = sample("succeeded").replace(RUNNING, &first.to_string());
    let counted = during(|| take(&world, &end).expect("taken"));
    assert_eq!(status(&world, next), RunStatus::Pending);
    let started = world.store.run(&tenant("dev"), next).expect("a run").execution_arn();
    assert!(world.engine.execution(&started).is_some());
    assert!(counted.contains(&"RunsStarted 1 Source=event".to_owned()), "{counted:?}");
}

#[test]
fn a_freed_slot_is_told_again_until_the_queue_was_looked_at() {
    let world = block_on(World::new());
    let [first, next] = queue_up(&world);
    let canceled = world.store.run(&tenant("dev"), first).expect("a run");
    let event = RunEvent::StopAsked(StopIntent::CanceledByCaller);
    let end = EndDetails::default();
    let settled = transition(&world.store, canceled, event, &end, world.clock.now());
    block_on(settled).expect("settled").expect("ended");
    world.store.faults.once("change the run", Fault::Before(StoreErrorClass::Unavailable));
    assert!(take(&world, &sample("slot-freed")).is_err(), "a retry can mend this");
    take(&world, &sample("slot-freed")).expect("taken");
    assert_eq!(status(&world, next), RunStatus::Pending);
}

#[test]
fn a_queue_that_cannot_be_looked_at_keeps_no_delivery_waiting() {
    let world = block_on(World::new());
    queue_up(&world);
    let slots = BTreeSet::from([SlotScope::Tenant]);
    assert!(world.store.update_run(&tenant("dev"), samples::run_id(RUNNING), |run| {
        Some(Run { slots: slots.clone(), ..run.clone() })
    }));
    world.store.faults.once("read the queue", Fault::Before(StoreErrorClass::Unavailable));
    take(&world, &sample("succeeded")).expect("taken");
    assert_eq!(world.receiver.received().len(), 1);
}
