//! Reads that wait: how many may at once, and that one too many is answered and not refused.

use crate::world::{World, command};
use sluice_core::caller::Caller;
use sluice_core::flow::manage_operator::save_tenant;
use sluice_core::flow::read_runs::{Waited, wait_for_run};
use sluice_core::flow::waiting::WaitLimits;
use sluice_core::id::TenantId;
use sluice_core::lifecycle::{EngineEnd, RunStatus};
use sluice_core::meter::{Chance, Count, Meter};
use sluice_core::operator::TenantSettings;
use sluice_core::ports::{Clock, CountOnMeter, StoreErrorClass};
use sluice_core::run::Run;
use sluice_core::tenant_limits::{OwnLimits, TenantLimits};
use sluice_testkit::fault::Fault;
use sluice_testkit::{block_on, fixture};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

const LIMITS: WaitLimits = WaitLimits { tenant: TenantLimits { waits_at_once: 3, ..TenantLimits::DEFAULT }, all: 5 };

impl World {
    /// How the read went, and for how many seconds it waited.
    fn wait(&self, run: &Run, seconds: u32) -> (Waited, i64) {
        let begun = self.clock.now();
        let (store, clock, caller) = (&self.store, &self.clock, &self.caller);
        let waited = block_on(wait_for_run(store, clock, LIMITS, Chance(0), caller, run.run_id, seconds));
        (waited.expect("reads"), self.clock.now().duration_since(begun).as_secs())
    }

    /// Waits of others that began so many seconds ago.
    fn others_wait(&self, meter: Meter, ago: i64, by: i64) {
        let key = meter.at(self.clock.now() - jiff::SignedDuration::from_secs(ago));
        block_on(self.store.count(&Count { key, by })).expect("counted");
    }
}

fn of(tenant: &TenantId) -> Meter {
    Meter::Waits(tenant.clone())
}

#[test]
fn a_wait_is_as_long_as_its_caller_wants_and_leaves_nothing_behind() {
    let world = World::new();
    let run = world.running(1);
    let (own, all) = (of(&world.caller.tenant).at(world.clock.now()), Meter::AllWaits.at(world.clock.now()));
    for _ in 0..10 {
        let (waited, seconds) = world.wait(&run, 4);
        assert_eq!((waited.run.status(), waited.is_crowded, seconds), (RunStatus::Running, false, 4));
    }
    assert_eq!((world.store.counted(&own), world.store.counted(&all)), (0, 0));
    world.end(&run, EngineEnd::Succeeded, Some("{}")).expect("settled");
    let (waited, seconds) = world.wait(&run, 20);
    assert_eq!((waited.output.as_deref(), waited.is_crowded, seconds), (Some("{}"), false, 0));
}

#[test]
fn a_wait_is_counted_while_it_lasts() {
    let world = World::new();
    let run = world.running(1);
    for meter in [of(&world.caller.tenant), Meter::AllWaits] {
        let most = Arc::new(AtomicI64::new(0));
        let (seen, store, key) = (Arc::clone(&most), world.store.clone(), meter.at(world.clock.now()));
        world.store.faults.set(move |_| {
            seen.fetch_max(store.counted(&key), Ordering::Relaxed);
            None
        });
        world.wait(&run, 4);
        world.store.faults.clear();
        assert_eq!(most.load(Ordering::Relaxed), 1);
    }
}

/// The meter that a case is about.
type Whose = fn(&World) -> Meter;

#[test]
fn one_wait_too_many_is_answered_at_once_with_what_was_read() {
    // Whose waits, since when, how many, and whether one more may wait: 3 of a tenant, 5 of all.
    let mine = |world: &World| of(&world.caller.tenant);
    let yours = |_: &World| of(&fixture::tenant("another"));
    let everybody = |_: &World| Meter::AllWaits;
    let cases: [(Whose, i64, i64, bool); 10] = [
        (mine, 0, 2, true),
        (mine, 0, 3, false),
        (mine, 19, 3, false),
        (mine, 26, 3, true),
        (mine, 26, 1_000, true),
        (yours, 0, 1_000, true),
        (everybody, 0, 4, true),
        (everybody, 0, 5, false),
        (everybody, 19, 5, false),
        (everybody, 26, 5, true),
    ];
    for (index, (whose, ago, number, waits)) in cases.into_iter().enumerate() {
        let world = World::new();
        let run = world.running(1);
        world.others_wait(whose(&world), ago, number);
        let writes = world.store.writes();
        let (waited, seconds) = world.wait(&run, 10);
        assert_eq!((waited.is_crowded, seconds), (!waits, if waits { 10 } else { 0 }), "{index}");
        assert_eq!(waited.run.status(), RunStatus::Running, "{index}");
        if !waits {
            assert_eq!(world.store.writes(), writes, "{index}: who does not wait is not counted");
        }
    }
}

#[test]
fn the_operator_says_how_many_of_one_tenant_may_wait() {
    let world = World::new();
    let run = world.running(1);
    world.others_wait(of(&world.caller.tenant), 0, 3);
    assert!(world.wait(&run, 1).0.is_crowded);
    let operator = Caller { is_operator: true, ..world.caller.clone() };
    let limits = OwnLimits { waits_at_once: Some(4), ..OwnLimits::default() };
    let settings = TenantSettings { limits, ..TenantSettings::open(world.caller.tenant.clone()) };
    block_on(save_tenant(&world.store, &operator, &fixture::policy().destinations, settings)).expect("saved");
    assert!(!world.wait(&run, 1).0.is_crowded);
}

#[test]
fn who_does_not_wait_pays_nothing_and_is_never_told_of_a_crowd() {
    let world = World::new();
    let (open, ended) = (world.running(1), world.running(2));
    world.end(&ended, EngineEnd::Failed, None).expect("settled");
    for meter in [of(&world.caller.tenant), Meter::AllWaits] {
        world.others_wait(meter, 0, 1_000);
    }
    world.store.faults.set(|called| {
        let costs = ["read the catalog", "count on a meter"].contains(&called);
        costs.then_some(Fault::Before(StoreErrorClass::Corrupt))
    });
    assert_eq!((world.wait(&open, 0).0.is_crowded, world.wait(&ended, 20).0.is_crowded), (false, false));
}

#[test]
fn a_meter_that_cannot_be_read_ends_the_wait_and_one_that_does_not_count_does_not() {
    let world = World::new();
    let run = world.create(command(), 1).expect("accepted").run;
    world.store.faults.once("read the catalog", Fault::Before(StoreErrorClass::Throttled));
    let (waited, seconds) = world.wait(&run, 5);
    assert_eq!((waited.run.status(), waited.is_crowded, seconds), (RunStatus::Pending, true, 0));
    world
        .store
        .faults
        .set(|called| (called == "count on a meter").then_some(Fault::Before(StoreErrorClass::Throttled)));
    assert_eq!((world.wait(&run, 5).0.is_crowded, world.wait(&run, 5).1), (false, 5));
}
