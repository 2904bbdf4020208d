//! Every sample event of this function, with what it does; and what holds whatever events come.

use lambda_runtime::{Context, Diagnostic, LambdaEvent};
use run_callback::App;
use serde_json::Value;
use sluice_core::callback::{AttemptOutcome, DeliveryStatus};
use sluice_core::lifecycle::EngineEnd;
use sluice_core::ports::{Clock, StoreErrorClass};
use sluice_core::run::Run;
use sluice_testkit::block_on;
use sluice_testkit::fault::Fault;
use sluice_testkit::fixture::tenant;
use sluice_testkit::samples::{self, CALLBACK_URL, CONTEXT, OUTPUT, RUNNING, SUCCEEDED, World};

fn take(world: &World, event: &str) -> Result<(), Diagnostic> {
    let app = App {
        store: world.store.clone(),
        engine: world.engine.clone(),
        webhook: world.receiver.clone(),
        clock: world.clock.clone(),
    };
    let event = serde_json::from_str(event).expect("an event");
    block_on(app.handle(LambdaEvent::new(event, Context::default())))
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
const IGNORED: [&str; 11] = [
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
];

#[test]
fn every_sample_is_tested() {
    for case in samples::cases("run-callback").keys() {
        let ends = ENDS.iter().any(|(end, ..)| end == case);
        let deliveries = ["delivery-due", "delivery-due-unknown"].contains(&case.as_str());
        assert!(ends || IGNORED.contains(&case.as_str()) || deliveries, "{case} is not tested");
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
        assert_eq!(run.status.as_str(), status, "{case}");
        assert_eq!(run.termination_reason.map(|reason| reason.as_str()), Some(reason), "{case}");
        let found = run.error.as_ref().map(|error| (error.code.as_str(), error.message.as_str()));
        assert_eq!(found, error, "{case}");
        assert!(run.completed_at >= run.started_at, "{case}");

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
    take(&world, &sample("succeeded")).expect("taken");
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
    assert!(!running(&world).status.is_terminal());
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
