//! What a tenant may take of the service, and that nobody else is held up by it.

use crate::world::{World, command, with_key};
use sluice_core::caller::Caller;
use sluice_core::concurrency::{Concurrency, OnLimit};
use sluice_core::flow::create_run::Accepted;
use sluice_core::flow::manage_operator::save_tenant;
use sluice_core::flow::replay_run::{self, replay_run};
use sluice_core::flow::{Answer, Refusal};
use sluice_core::lifecycle::EngineEnd;
use sluice_core::meter::{Chance, Count, Meter, MeterKey};
use sluice_core::open_runs::OpenRuns;
use sluice_core::operator::TenantSettings;
use sluice_core::ports::{Clock, CountOnMeter, StoreErrorClass, Sweep};
use sluice_core::tenant_limits::{OwnLimits, TenantLimits};
use sluice_testkit::fault::Fault;
use sluice_testkit::{block_on, fixture};

fn starts(starts_per_minute: u32) -> OwnLimits {
    OwnLimits { starts_per_minute: Some(starts_per_minute), ..OwnLimits::default() }
}

impl World {
    fn allow(&self, limits: OwnLimits, concurrency: Option<Concurrency>) {
        let operator = Caller { is_operator: true, ..self.caller.clone() };
        let settings = TenantSettings { limits, concurrency, ..TenantSettings::open(self.caller.tenant.clone()) };
        block_on(save_tenant(&self.store, &operator, &fixture::policy().destinations, settings)).expect("saved");
    }

    fn repeat(&self, original: u128, id: u128) -> Answer<Accepted> {
        let (policy, original, command) =
            (fixture::policy(), fixture::run_id(original), replay_run::Command::default());
        let (run_id, now) = (fixture::run_id(id), self.clock.now());
        let (store, engine, caller) = (&self.store, &self.engine, &self.caller);
        block_on(replay_run(store, engine, &policy, caller, original, command, fixture::fresh(run_id), now))
    }

    fn meter(&self) -> MeterKey {
        Meter::Starts(self.caller.tenant.clone()).at(self.clock.now())
    }

    fn counted(&self) -> i64 {
        self.store.counted(&self.meter())
    }
}

#[test]
fn a_tenant_above_its_rate_is_refused_before_anything_is_written_and_others_go_on() {
    let world = World::new();
    block_on(fixture::seed(&world.store, "another", world.clock.now()));
    world.allow(starts(3), None);
    for id in 1..=3 {
        world.create(command(), id).expect("accepted");
    }
    world.clock.advance(18);
    let writes = world.store.writes();
    for id in 4..50 {
        let refused = world.create(with_key(command(), "a-key", "payload"), id);
        let is_told = matches!(refused, Err(Refusal::RateLimited { limit: 3, retry_after_seconds: 42 }));
        assert!(is_told, "{refused:?}");
    }
    assert_eq!((world.store.writes(), world.counted()), (writes, 3));
    world.create_as(&fixture::caller("another"), command(), 50).expect("another tenant goes on");
    // The minute is over when it was said.
    world.clock.advance(42);
    let accepted = world.create(with_key(command(), "a-key", "payload"), 51).expect("the key was not used up");
    assert!(!accepted.replayed);
}

#[test]
fn a_repeated_request_is_told_of_its_first_run_whatever_was_started_since() {
    let world = World::new();
    world.allow(starts(2), None);
    let first = world.create(with_key(command(), "a-key", "payload"), 1).expect("accepted").run;
    world.create(command(), 2).expect("accepted");
    world.create(command(), 3).expect_err("the limit is reached");
    let again = world.create(with_key(command(), "a-key", "payload"), 4).expect("answered");
    assert!(again.replayed);
    assert_eq!((again.run, world.counted()), (first, 2));
}

#[test]
fn a_replay_is_a_start() {
    let world = World::new();
    let run = world.running(1);
    world.end(&run, EngineEnd::Succeeded, Some("{}")).expect("settled");
    world.clock.advance(60);
    world.allow(starts(2), None);
    world.repeat(1, 2).expect("accepted");
    world.create(command(), 3).expect("accepted");
    assert_eq!(world.counted(), 2);
    let refused = world.repeat(1, 4);
    assert!(matches!(refused, Err(Refusal::RateLimited { limit: 2, .. })), "{refused:?}");
}

#[test]
fn what_was_refused_is_not_counted() {
    let world = World::new();
    world.allow(starts(5), Some(Concurrency { max_concurrent_runs: 1, on_limit: OnLimit::Reject }));
    world.create(command(), 1).expect("accepted");
    for id in 2..20 {
        let refused = world.create(command(), id);
        assert!(matches!(refused, Err(Refusal::TooManyRuns { .. })), "{refused:?}");
    }
    assert_eq!(world.counted(), 1);
}

#[test]
fn a_queued_run_is_counted_when_it_is_made() {
    let world = World::new();
    world.allow(starts(2), Some(Concurrency { max_concurrent_runs: 1, on_limit: OnLimit::Queue }));
    world.create(command(), 1).expect("accepted");
    world.create(command(), 2).expect("queued");
    assert_eq!(world.counted(), 2);
    world.create(command(), 3).expect_err("the limit is reached");
}

#[test]
fn a_large_limit_is_counted_by_samples() {
    let limit = TenantLimits::DEFAULT.starts_per_minute;
    let world = World::new();
    let mut expected = 0;
    for id in 1..=70 {
        world.create(command(), id).expect("accepted");
        expected += Chance::from(fixture::run_id(id)).weight(limit).unwrap_or_default();
    }
    assert_eq!((world.counted(), expected), (60, 60), "two of the ids count, for thirty each");
    // One below the limit is let in, one at the limit is not.
    let key = world.meter();
    block_on(world.store.count(&Count { key, by: i64::from(limit) - 61 })).expect("counted");
    world.create(command(), 71).expect("accepted");
    block_on(world.store.count(&Count { key: world.meter(), by: 1 })).expect("counted");
    let refused = world.create(command(), 72);
    assert!(matches!(refused, Err(Refusal::RateLimited { limit: 3_000, .. })), "{refused:?}");
}

#[test]
fn a_count_that_fails_holds_nobody_up() {
    let world = World::new();
    world.allow(starts(5), None);
    let mut id = 1;
    for class in [StoreErrorClass::Throttled, StoreErrorClass::Unavailable] {
        for fault in [Fault::Before, Fault::After] {
            world.store.faults.once("count on a meter", fault(class));
            let accepted = world.create(command(), id).expect("accepted");
            id += 1;
            assert!(!accepted.start_delayed && world.engine.execution(&accepted.run.execution_arn()).is_some());
        }
    }
}

#[test]
fn a_tenant_with_too_many_open_runs_starts_no_more_until_the_sweep_has_counted_fewer() {
    let world = World::new();
    block_on(fixture::seed(&world.store, "another", world.clock.now()));
    world.allow(OwnLimits { open_runs: Some(100), ..OwnLimits::default() }, None);
    let runs: Vec<_> = (1..=99).map(|id| world.running(id)).collect();
    assert_eq!(world.reconcile().faults, Vec::<String>::new());
    // What the sweep has not counted yet gets in.
    let last = [world.running(100), world.running(101)];
    world.clock.advance(60);
    world.reconcile();
    let writes = world.store.writes();
    let refused = world.create(command(), 102);
    assert!(matches!(refused, Err(Refusal::TooManyOpenRuns { open: 101, limit: 100 })), "{refused:?}");
    assert_eq!(world.store.writes(), writes);
    world.create_as(&fixture::caller("another"), command(), 103).expect("another tenant goes on");
    for run in runs.iter().chain(&last).take(2) {
        world.end(run, EngineEnd::Succeeded, Some("{}")).expect("settled");
    }
    world.create(command(), 104).expect_err("nobody has counted since");
    world.clock.advance(60);
    world.reconcile();
    world.create(command(), 105).expect("there are fewer now");
}

#[test]
fn a_count_of_a_sweep_that_does_not_run_any_more_keeps_nobody_out() {
    let world = World::new();
    world.allow(OwnLimits { open_runs: Some(100), ..OwnLimits::default() }, None);
    let noted = OpenRuns { count: 1_000, at: world.clock.now() };
    block_on(world.store.note_open_runs(&world.caller.tenant, &noted)).expect("noted");
    for (id, (seconds, is_let_in)) in (1..).zip([(0, false), (179, false), (1, true)]) {
        world.clock.advance(seconds);
        assert_eq!(world.create(command(), id).is_ok(), is_let_in, "{seconds} s later");
    }
}
