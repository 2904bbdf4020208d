use crate::world::World;
use sluice_core::flow::Refusal;
use sluice_core::flow::cancel_run::Canceled;
use sluice_core::lifecycle::{EngineEnd, RunStatus, StopIntent, TerminationReason};
use sluice_core::ports::{Clock, StoreErrorClass};
use sluice_core::run::{EndDetails, RunError};
use sluice_testkit::fault::Fault;
use sluice_testkit::fixture;

#[test]
fn a_pending_run_is_cancelled_at_once_and_never_runs_a_node() {
    let world = World::new();
    let run = world.pending(1);
    assert!(matches!(world.cancel(run.run_id), Ok(Canceled::Already(run)) if run.status() == RunStatus::Canceled));
    assert!(!world.engine.claim(&world.store, &run.execution_arn(), world.clock.now()), "the claim is refused");
    assert_eq!(
        world.run(run.run_id).state.ended().map(|ended| ended.reason),
        Some(TerminationReason::CanceledByCaller)
    );
    assert_eq!(world.run(run.run_id).state.started_at(), None);
    assert_eq!(world.store.deliveries().len(), 2);
}

#[test]
fn a_running_run_is_stopped_and_ends_cancelled_by_its_caller() {
    let world = World::new();
    let run = world.running(1);
    assert!(
        matches!(world.cancel(run.run_id), Ok(Canceled::Underway(run)) if run.state.intent() == Some(StopIntent::CanceledByCaller))
    );
    assert_eq!(world.engine.stops(), [run.execution_arn()]);
    assert!(world.store.deliveries().is_empty(), "nothing is owed before the end is durable");
    let settled = world.settle(&run, EngineEnd::Aborted, &Default::default()).expect("settled");
    assert_eq!(
        (settled.after.status(), settled.after.state.ended().map(|ended| ended.reason)),
        (RunStatus::Canceled, Some(TerminationReason::CanceledByCaller))
    );
}

#[test]
fn cancelling_again_changes_nothing_and_says_the_same() {
    let world = World::new();
    let run = world.running(1);
    world.cancel(run.run_id).expect("accepted");
    let rev = world.run(run.run_id).rev;
    assert!(matches!(world.cancel(run.run_id), Ok(Canceled::Underway(_))));
    assert_eq!(world.run(run.run_id).rev, rev);
    world.settle(&run, EngineEnd::Aborted, &Default::default()).expect("settled");
    assert!(matches!(world.cancel(run.run_id), Ok(Canceled::Already(_))));
}

#[test]
fn a_finished_run_says_that_it_is_too_late() {
    for (end, status) in [(EngineEnd::Succeeded, RunStatus::Succeeded), (EngineEnd::Failed, RunStatus::Failed)] {
        let world = World::new();
        let run = world.running(1);
        world.end(&run, end, Some("{}")).expect("settled");
        assert!(matches!(world.cancel(run.run_id), Ok(Canceled::TooLate(run)) if run.status() == status));
    }
}

#[test]
fn a_succeeded_engine_beats_the_cancel() {
    let world = World::new();
    let run = world.running(1);
    let (end, details) =
        world.engine.end(&run.execution_arn(), EngineEnd::Succeeded, Some("{}"), world.clock.now()).expect("ended");
    assert!(matches!(world.cancel(run.run_id), Ok(Canceled::Underway(_))));
    let settled = world.settle(&run, end, &details).expect("settled");
    assert_eq!(settled.after.status(), RunStatus::Succeeded);
}

#[test]
fn a_stop_that_fails_is_asked_for_again_by_the_sweep() {
    let world = World::new();
    let run = world.running(1);
    world.engine.faults.once("stop the execution", Fault::Before(StoreErrorClass::Throttled));
    assert!(matches!(world.cancel(run.run_id), Ok(Canceled::Underway(_))));
    assert!(world.engine.stops().is_empty());
    world.clock.advance(60);
    world.reconcile();
    assert_eq!(world.engine.stops().len(), 1);
    world.reconcile();
    assert_eq!(world.run(run.run_id).status(), RunStatus::Canceled, "and its end is found although no event came");
}

#[test]
fn an_unknown_run_and_another_tenants_run_look_the_same() {
    let mut world = World::new();
    let run = world.running(1);
    let unknown = world.cancel(fixture::run_id(99)).expect_err("refused").to_string();
    world.caller = fixture::caller("other");
    let foreign = world.cancel(run.run_id).expect_err("refused");
    assert!(matches!(foreign, Refusal::NotFound { .. }));
    assert_eq!(
        foreign.to_string().replace(&run.run_id.to_string(), "X"),
        unknown.replace(&fixture::run_id(99).to_string(), "X")
    );
    assert!(world.engine.stops().is_empty());
}

#[test]
fn an_execution_that_could_not_claim_its_run_again_after_a_cancel_is_that_cancel() {
    let world = World::new();
    let run = world.running(1);
    world.cancel(run.run_id).expect("accepted");
    let refused = RunError::new("Sluice.ClaimRefused", "not pending", 512);
    let details = EndDetails { error: Some(refused), ..EndDetails::default() };
    world.settle(&run, EngineEnd::Failed, &details).expect("settled");
    let ended = world.run(run.run_id);
    assert_eq!(
        (ended.status(), ended.state.ended().map(|ended| ended.reason)),
        (RunStatus::Canceled, Some(TerminationReason::CanceledByCaller))
    );
}

#[test]
fn a_cancel_that_the_store_did_not_take_is_not_said_to_be_under_way() {
    for class in [StoreErrorClass::Throttled, StoreErrorClass::Unavailable, StoreErrorClass::Corrupt] {
        let world = World::new();
        let run = world.running(1);
        world.store.faults.once("ask to stop the run", Fault::Before(class));
        let answer = world.cancel(run.run_id);
        assert!(matches!(&answer, Err(Refusal::Store(error)) if error.class == class), "{answer:?}");
        assert_eq!((world.run(run.run_id), world.engine.stops()), (run, Vec::new()));
    }
    // Who is only in the way is waited for.
    let world = World::new();
    let run = world.running(1);
    world.store.faults.once("ask to stop the run", Fault::Before(StoreErrorClass::Conflict));
    assert!(matches!(world.cancel(run.run_id), Ok(Canceled::Underway(_))));
    assert_eq!(world.engine.stops(), [run.execution_arn()]);
}
