use crate::world::{World, command, with_callback};
use sluice_core::flow::create_run::Command;
use sluice_core::lifecycle::{EngineEnd, RunStatus, TerminationReason};
use sluice_core::ports::{Clock, StoreErrorClass};
use sluice_testkit::fault::Fault;

#[test]
fn a_run_that_was_never_started_is_started() {
    let world = World::new();
    world.engine.faults.once("start the execution", Fault::Before(StoreErrorClass::Throttled));
    let run = world.pending(1);
    assert_eq!(world.reconcile().started, 0, "its creator may still be at it");
    world.clock.advance(30);
    assert_eq!(world.reconcile().started, 1);
    assert!(world.engine.claim(&world.store, &run.execution_arn(), world.clock.now()));
    assert_eq!(world.run(run.run_id).status(), RunStatus::Running);
}

#[test]
fn starting_again_repeats_the_same_input() {
    let world = World::new();
    let run = world.pending(1);
    world.clock.advance(30);
    assert_eq!(world.reconcile().started, 1);
    assert_eq!(world.engine.starts(), 1, "the engine knew it by its name and input");
    assert_eq!(world.run(run.run_id).status(), RunStatus::Pending);
}

#[test]
fn an_hour_without_a_start_ends_the_run() {
    let world = World::new();
    world
        .engine
        .faults
        .set(|operation| (operation == "start the execution").then_some(Fault::Before(StoreErrorClass::Unavailable)));
    let run = world.pending(1);
    world.clock.advance(3_500);
    world.reconcile();
    assert_eq!(world.run(run.run_id).status(), RunStatus::Pending);
    world.clock.advance(200);
    assert_eq!(world.reconcile().settled, 1);
    let run = world.run(run.run_id);
    assert_eq!(
        (run.status(), run.state.ended().map(|ended| ended.reason)),
        (RunStatus::Failed, Some(TerminationReason::StartFailed))
    );
    assert_eq!(world.engine.take_announced().len(), 2);
}

#[test]
fn a_lost_terminal_event_is_found_and_its_webhook_goes_out() {
    for (end, status) in [
        (EngineEnd::Succeeded, RunStatus::Succeeded),
        (EngineEnd::Failed, RunStatus::Failed),
        (EngineEnd::TimedOut, RunStatus::Failed),
        (EngineEnd::Aborted, RunStatus::Canceled),
    ] {
        let world = World::new();
        let run = world.running(1);
        world.engine.end(&run.execution_arn(), end, Some("{}"), world.clock.now());
        world.clock.advance(60);
        let summary = world.reconcile();
        assert_eq!((summary.settled, summary.described), (1, 1));
        assert_eq!(world.run(run.run_id).status(), status);
        assert_eq!(world.engine.take_announced().len(), 2);
    }
}

#[test]
fn only_the_difference_is_described() {
    let world = World::new();
    let runs: Vec<_> = (1..=40).map(|id| world.running(id)).collect();
    world.engine.end(&runs[7].execution_arn(), EngineEnd::Succeeded, None, world.clock.now());
    world.clock.advance(60);
    let summary = world.reconcile();
    assert_eq!((summary.open, summary.described, summary.settled), (40, 1, 1));
}

#[test]
fn a_run_past_its_duration_is_stopped_and_ends_timed_out() {
    let world = World::new();
    let run = world
        .create(Command { max_run_duration_seconds: Some(90), ..with_callback(command()) }, 1)
        .expect("accepted")
        .run;
    world.clock.advance(10);
    assert!(world.engine.claim(&world.store, &run.execution_arn(), world.clock.now()));
    world.clock.advance(89);
    assert_eq!(world.reconcile().timed_out, 0);
    world.clock.advance(1);
    assert_eq!(world.reconcile().timed_out, 1);
    assert_eq!(world.run(run.run_id).status(), RunStatus::Canceling);
    world.clock.advance(60);
    world.reconcile();
    let run = world.run(run.run_id);
    assert_eq!(
        (run.status(), run.state.ended().map(|ended| ended.reason)),
        (RunStatus::Failed, Some(TerminationReason::TimedOut))
    );
}

#[test]
fn an_execution_the_engine_no_longer_knows_ends_its_run() {
    let world = World::new();
    let run = world.running(1);
    world.engine.forget(&run.execution_arn());
    world.clock.advance(60);
    assert_eq!(world.reconcile().settled, 0, "the engine's answers lag");
    world.clock.advance(600);
    assert_eq!(world.reconcile().settled, 1);
    assert_eq!(world.run(run.run_id).state.ended().map(|ended| ended.reason), Some(TerminationReason::StaleRunReaper));
}

#[test]
fn an_execution_that_ended_before_it_could_claim_its_run_is_settled() {
    let world = World::new();
    let run = world.pending(1);
    world.engine.end(&run.execution_arn(), EngineEnd::Aborted, None, world.clock.now());
    world.clock.advance(61);
    assert_eq!(world.reconcile().settled, 1);
    assert_eq!(world.run(run.run_id).state.ended().map(|ended| ended.reason), Some(TerminationReason::AbortedInEngine));
}

#[test]
fn one_runs_trouble_does_not_keep_the_sweep_from_the_others() {
    let world = World::new();
    let runs: Vec<_> = (1..=3).map(|id| world.running(id)).collect();
    for run in &runs {
        world.engine.end(&run.execution_arn(), EngineEnd::Succeeded, None, world.clock.now());
    }
    world.clock.advance(60);
    world.engine.faults.once("describe the execution", Fault::Before(StoreErrorClass::Throttled));
    let summary = world.reconcile();
    assert_eq!((summary.settled, summary.faults.len()), (2, 1));
    assert_eq!(world.reconcile().settled, 1);
}
