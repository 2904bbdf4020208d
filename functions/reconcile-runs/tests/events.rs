//! Every sample event of this function; and what a sweep does in the world of the samples.

use lambda_runtime::{Context, Diagnostic, LambdaEvent};
use reconcile_runs::App;
use sluice_core::lifecycle::{EngineEnd, RunStatus};
use sluice_core::ports::{Clock, StoreErrorClass};
use sluice_testkit::block_on;
use sluice_testkit::fault::Fault;
use sluice_testkit::samples::{self, OUTPUT, PENDING, RUNNING, SUCCEEDED, World};

fn sweep(world: &World, event: &str) -> Result<(), Diagnostic> {
    sweep_within(world, event, 60_000)
}

fn sweep_within(world: &World, event: &str, millis: u64) -> Result<(), Diagnostic> {
    let app = App { store: world.store.clone(), engine: world.engine.clone(), clock: world.clock.clone() };
    let event = serde_json::from_str(event).expect("an event");
    let mut context = Context::default();
    context.deadline = u64::try_from(world.clock.now().as_millisecond()).expect("after 1970") + millis;
    block_on(app.handle(LambdaEvent::new(event, context)))
}

#[test]
fn every_sample_starts_a_sweep() {
    for (case, event) in samples::cases("reconcile-runs") {
        let world = block_on(World::new());
        assert!(["scheduler", "rule", "empty"].contains(&case.as_str()), "{case} is not tested");
        sweep(&world, &event).expect("swept");
        let due = world.engine.take_announced();
        assert!(due.iter().any(|delivery| delivery.run_id == samples::run_id(SUCCEEDED)), "{case}");
    }
}

#[test]
fn a_lost_end_is_found() {
    let world = block_on(World::new());
    let arn = block_on(world.load("dev", RUNNING)).execution_arn();
    world.engine.end(&arn, EngineEnd::Succeeded, Some(OUTPUT), world.clock.now());
    world.clock.advance(120);
    sweep(&world, "{}").expect("swept");
    assert_eq!(block_on(world.load("dev", RUNNING)).status, RunStatus::Succeeded);
    let due = world.engine.take_announced();
    assert!(due.iter().any(|delivery| delivery.run_id == samples::run_id(RUNNING)), "its deliveries are handed out");
}

#[test]
fn a_lost_start_is_repeated() {
    let world = block_on(World::new());
    let run = block_on(world.load("dev", PENDING));
    world.engine.forget(&run.execution_arn());
    world.clock.advance(120);
    sweep(&world, "{}").expect("swept");
    assert!(world.engine.execution(&run.execution_arn()).is_some());
}

#[test]
fn a_sweep_fails_only_when_it_could_read_nothing() {
    let world = block_on(World::new());
    let unavailable = Some(Fault::Before(StoreErrorClass::Unavailable));
    world.store.faults.set(move |_| unavailable);
    assert!(sweep(&world, "{}").is_err());
    let mut calls = 0;
    world.store.faults.set(move |_| {
        calls += 1;
        if calls == 1 { None } else { unavailable }
    });
    world.clock.advance(1);
    let partly = sweep(&world, "{}");
    assert!(partly.is_ok(), "one shard answered: {partly:?}");
}

#[test]
fn a_sweep_begins_nothing_shortly_before_its_invocation_ends() {
    let world = block_on(World::new());
    let run = block_on(world.load("dev", PENDING));
    world.engine.forget(&run.execution_arn());
    world.clock.advance(120);
    sweep_within(&world, "{}", 9_000).expect("swept");
    assert!(world.engine.execution(&run.execution_arn()).is_none(), "there was no time left");
}
