//! Every sample event of this function; and what a sweep does in the world of the samples.

use lambda_runtime::{Context, Diagnostic, LambdaEvent};
use reconcile_runs::App;
use sluice_core::concurrency::{Concurrency, OnLimit};
use sluice_core::flow::create_run::{Command, Source, create_run};
use sluice_core::flow::deliver::deliver;
use sluice_core::lifecycle::{EngineEnd, RunStatus};
use sluice_core::operator::TenantSettings;
use sluice_core::ports::{Clock, DeliveryRef, ManageOperator, StoreErrorClass};
use sluice_core::retention::Retention;
use sluice_edge::metrics::{self, Emitter};
use sluice_testkit::block_on;
use sluice_testkit::fault::Fault;
use sluice_testkit::fixture::{caller, fresh, tenant};
use sluice_testkit::metrics::during;
use sluice_testkit::samples::{self, OUTPUT, PENDING, RUNNING, SUCCEEDED, World};

fn sweep(world: &World, event: &str) -> Result<(), Diagnostic> {
    sweep_within(world, event, 60_000)
}

fn sweep_within(world: &World, event: &str, millis: u64) -> Result<(), Diagnostic> {
    metrics::init(Emitter::for_test(sluice_testkit::metrics::keep));
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
fn every_call_ends_within_its_invocation() {
    let world = block_on(World::new());
    let end = world.clock.now().as_millisecond() + 60_000;
    sweep(&world, "{}").expect("swept");
    let ends: Vec<i64> = world.clock.take_ends().into_iter().map(|end| end.as_millisecond()).collect();
    assert_eq!(ends, [end - 1_000]);
}

#[test]
fn a_lost_end_is_found() {
    let world = block_on(World::new());
    let arn = block_on(world.load("dev", RUNNING)).execution_arn();
    world.engine.end(&arn, EngineEnd::Succeeded, Some(OUTPUT), world.clock.now());
    world.clock.advance(120);
    sweep(&world, "{}").expect("swept");
    assert_eq!(block_on(world.load("dev", RUNNING)).status(), RunStatus::Succeeded);
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

#[test]
fn what_a_sweep_did_is_counted() {
    let world = block_on(World::new());
    let arn = block_on(world.load("dev", RUNNING)).execution_arn();
    world.engine.end(&arn, EngineEnd::Succeeded, Some(OUTPUT), world.clock.now());
    world.engine.forget(&block_on(world.load("dev", PENDING)).execution_arn());
    world.clock.advance(120);
    let counted = during(|| sweep(&world, "{}").expect("swept"));
    // Both tenants of the samples have runs of these ids, hence executions of the same names: the start of one of the
    // pending runs is refused.
    let expected = [
        "ExecutionsDescribed 3",
        "HandedOver 0",
        "HoldsLost 0",
        "OpenRuns 4",
        "QueuedRuns 0",
        "RunsPurged 0",
        "RunsSettled 1 Source=reconciler Status=FAILED",
        "RunsSettled 2 Source=reconciler Status=SUCCEEDED",
        "RunsStarted 1 Source=reconciler",
        "SlotsHeld 0",
        "StartsAsked 2",
        "StopsAsked 0",
        "SweepCutShort 0",
        "SweepFaults 0",
    ];
    assert_eq!(counted, expected);
}

#[test]
fn a_sweep_in_trouble_says_so() {
    let world = block_on(World::new());
    world.store.faults.set(|_| Some(Fault::Before(StoreErrorClass::Unavailable)));
    let counted = during(|| drop(sweep(&world, "{}")));
    assert!(counted.contains(&"SweepFaults 65".to_owned()), "{counted:?}");
    assert!(counted.contains(&"EventsFailed 1".to_owned()), "{counted:?}");
    world.store.faults.clear();
    let counted = during(|| sweep_within(&world, "{}", 9_000).expect("swept"));
    assert!(counted.contains(&"SweepCutShort 1".to_owned()), "{counted:?}");
}

#[test]
fn a_run_whose_time_is_over_is_deleted() {
    let world = block_on(World::new());
    let retention = Retention { max_age_seconds: 60, preserve_on_failure: false };
    let (dev, run_id, now) = (tenant("dev"), samples::run_id(SUCCEEDED), world.clock.now());
    assert!(world.store.update_run(&dev, run_id, |run| Some(run.kept_by(retention, now))));
    world.clock.advance(120);
    sweep(&world, "{}").expect("swept");
    assert!(world.store.knows(&dev, run_id), "its receiver has yet to be told");
    for number in [1, 2] {
        let owed = DeliveryRef { tenant_id: dev.clone(), run_id, number };
        block_on(deliver(&world.store, &world.engine, &world.receiver, &world.clock, &owed)).expect("delivered");
    }
    sweep(&world, "{}").expect("swept");
    assert!(!world.store.knows(&dev, run_id));
}

#[test]
fn a_queue_that_nobody_told_of_is_looked_at() {
    let world = block_on(World::new());
    let limited = |most| {
        let concurrency = Some(Concurrency { max_concurrent_runs: most, on_limit: OnLimit::Queue });
        let settings = TenantSettings { concurrency, rev: most.into(), ..TenantSettings::open(tenant("dev")) };
        assert!(block_on(world.store.save_tenant(&settings)).expect("asked"), "each over the revision before");
    };
    limited(1);
    let ids = [samples::NEW_RUN, "7f1d2c4b-5a60-4e11-9a55-0190b2a47c3e"];
    for id in ids {
        let (run_id, now, policy) = (samples::run_id(id), world.clock.now(), samples::policy());
        let command = Command::new(Source::Instance(samples::instance("dev", &world).id));
        let dev = caller("dev");
        let created = create_run(&world.store, &world.engine, &policy, &dev, command, fresh(run_id), now);
        block_on(created).expect("created");
    }
    assert_eq!(block_on(world.load("dev", ids[1])).status(), RunStatus::Queued);
    limited(2);
    world.clock.advance(10);
    sweep(&world, "{}").expect("swept");
    assert_eq!(block_on(world.load("dev", ids[1])).status(), RunStatus::Pending);
}
