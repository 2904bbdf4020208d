//! Every sample event of this function, with what it is answered; and what a caller can rely on beyond them.

mod support;

use sluice_core::lifecycle::{EngineEnd, RunEvent};
use sluice_testkit::block_on;
use sluice_testkit::fixture::tenant;
use sluice_testkit::metrics::during;
use sluice_testkit::samples::{self, PENDING, RUNNING, World, request, run_id};
use support::answer;

/// Case, status, and what the body says.
const EXPECTED: [(&str, u16, &[&str]); 9] = [
    ("running", 202, &[r#""status":"CANCELING","terminationReason":null"#]),
    ("pending", 200, &[r#""status":"CANCELED","terminationReason":"canceled_by_caller""#]),
    ("ended", 409, &[r#""code":"run_ended""#, r#""runStatus":"SUCCEEDED""#]),
    ("function-url-iam", 202, &[r#""status":"CANCELING""#]),
    ("unknown-run", 404, &[r#""code":"not_found""#]),
    ("not-a-run-id", 404, &[r#""code":"not_found""#]),
    ("other-tenant", 404, &[r#""code":"not_found""#]),
    ("no-identity", 401, &[r#""code":"unauthenticated""#]),
    ("wrong-method", 405, &[r#""code":"method_not_allowed""#]),
];

#[test]
fn every_sample_is_answered_as_expected() {
    let cases = samples::cases("cancel-run");
    for case in cases.keys() {
        assert!(EXPECTED.iter().any(|(expected, ..)| expected == case), "{case} is not tested");
    }
    for (case, status, says) in EXPECTED {
        let world = block_on(World::new());
        let (writes, stops) = (world.store.writes(), world.engine.stops().len());
        let response = answer(&world, &cases[case]);
        assert_eq!(response.status(), status, "{case}: {}", response.body());
        for text in says {
            assert!(response.body().contains(text), "{case} does not say {text}: {}", response.body());
        }
        if status >= 400 {
            assert_eq!((world.store.writes(), world.engine.stops().len()), (writes, stops), "{case} left a trace");
        }
    }
}

#[test]
fn a_refused_method_names_the_one_that_is_taken() {
    let world = block_on(World::new());
    let response = answer(&world, &samples::cases("cancel-run")["wrong-method"]);
    assert_eq!(response.header("allow"), Some("POST"));
}

#[test]
fn canceling_twice_asks_the_engine_again_and_says_the_same() {
    let world = block_on(World::new());
    let event = request("dev", "POST", &format!("/v1/workflow-runs/{RUNNING}/cancel"), "").to_string();
    let (first, second) = (answer(&world, &event), answer(&world, &event));
    assert_eq!((first.status(), second.status()), (202, 202));
    assert_eq!(world.engine.stops().len(), 2);
    let ended = |run: &sluice_core::run::Run| run.after(RunEvent::EngineEnded(EngineEnd::Aborted), run.updated_at);
    assert!(world.store.update_run(&tenant("dev"), run_id(RUNNING), ended));
    let third = answer(&world, &event);
    assert_eq!(third.status(), 200);
    assert!(third.body().contains(r#""terminationReason":"canceled_by_caller""#), "{}", third.body());
}

#[test]
fn a_canceled_pending_run_owes_its_webhook_and_never_runs() {
    let world = block_on(World::new());
    let before = world.store.deliveries().len();
    let event = request("dev", "POST", &format!("/v1/workflow-runs/{PENDING}/cancel"), "").to_string();
    assert_eq!(answer(&world, &event).status(), 200);
    assert_eq!(world.store.deliveries().len(), before + 2);
    let run = block_on(world.load("dev", PENDING));
    assert!(!world.engine.claim(&world.store, &run.execution_arn(), run.updated_at));
}

#[test]
fn a_stop_and_an_end_are_counted_once() {
    let world = block_on(World::new());
    let cancel = |run_id: &str| request("dev", "POST", &format!("/v1/workflow-runs/{run_id}/cancel"), "").to_string();
    assert_eq!(during(|| drop(answer(&world, &cancel(RUNNING)))), ["StopsAsked 1"]);
    let ended = during(|| drop(answer(&world, &cancel(PENDING))));
    assert_eq!(ended, ["RunsSettled 1 Source=request Status=CANCELED"]);
    world.clock.advance(1);
    assert!(during(|| drop(answer(&world, &cancel(PENDING)))).is_empty(), "it had ended before");
}
