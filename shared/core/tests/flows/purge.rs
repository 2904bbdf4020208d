//! Runs whose time is over go, whatever others are owed.

use crate::world::{World, command, with_callback};
use jiff::SignedDuration;
use sluice_core::delivery::{AttemptOutcome, Delivery, DeliveryStatus};
use sluice_core::flow::create_run::Command;
use sluice_core::flow::reconcile_runs::Bounds;
use sluice_core::flow::retain_run::{Purged, purge_expired};
use sluice_core::flow::transition_run::transition;
use sluice_core::lifecycle::{EngineEnd, RunEvent};
use sluice_core::ports::{Clock, DeliveryRef, RunRef};
use sluice_core::retention::Retention;
use sluice_core::run::{EndDetails, Run};
use sluice_testkit::{block_on, fixture};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Runs of the tenant that has many.
const MANY: u128 = 3_200;

impl World {
    /// An ended run of a tenant that is kept for a second, and its webhook.
    pub fn ended(&self, tenant: &str, id: u128) -> (Run, Delivery) {
        let retention = Some(Retention { max_age_seconds: 1, preserve_on_failure: false });
        let command = Command { retention, ..with_callback(command()) };
        let caller = fixture::caller(tenant);
        let run = self.create_as(&caller, command, id).expect("accepted").run;
        assert!(self.engine.claim(&self.store, &run.execution_arn(), self.clock.now()));
        let claimed = self.store.run(&caller.tenant, run.run_id).expect("a run");
        let (event, details) = (RunEvent::EngineEnded(EngineEnd::Failed), EndDetails::default());
        block_on(transition(&self.store, claimed, event, &details, self.clock.now())).expect("settled");
        drop(self.engine.take_announced());
        let run = self.store.run(&caller.tenant, run.run_id).expect("a run");
        let mut deliveries = self.store.deliveries().into_iter().map(|(delivery, _)| delivery);
        let webhook = deliveries.find(|delivery| delivery.run_id == run.run_id && delivery.number == 1);
        (run, webhook.expect("a webhook"))
    }

    /// [`MANY`] such runs of a tenant, each with one delivery, as `owes` makes it of the first one's.
    fn flood(&self, tenant: &str, owes: impl Fn(Delivery) -> Delivery) -> Vec<RunAndDelivery> {
        let (run, delivery) = self.ended(tenant, 1_000_000);
        let copy = |id| {
            let run_id = fixture::run_id(2_000_000 + id);
            let (run, delivery) = (Run { run_id, ..run.clone() }, Delivery { run_id, ..delivery.clone() });
            let delivery = owes(delivery);
            self.store.seed_run(run.clone(), None);
            self.store.seed_delivery(delivery.clone(), Vec::new());
            (run, delivery)
        };
        let many = (0..MANY).map(copy).collect();
        self.deliver_all(&run);
        many
    }

    fn deliver_all(&self, run: &Run) {
        for number in [1, 2] {
            self.deliver(&DeliveryRef { tenant_id: run.tenant_id.clone(), run_id: run.run_id, number });
        }
    }

    fn is_there(&self, run: &Run) -> bool {
        self.store.run(&run.tenant_id, run.run_id).is_some()
    }

    /// Counts the calls of this name from now on.
    fn count_calls(&self, of: &'static str) -> Arc<AtomicU32> {
        let count = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&count);
        self.store.faults.set(move |called| {
            if called == of {
                counted.fetch_add(1, Ordering::Relaxed);
            }
            None
        });
        count
    }
}

type RunAndDelivery = (Run, Delivery);

fn delivered(delivery: Delivery) -> Delivery {
    let ended_at = Some(delivery.created_at);
    Delivery { status: DeliveryStatus::Delivered, next_attempt_at: None, ended_at, ..delivery }
}

/// Another tenant with one run that owes nothing, and whose time is over last of all.
fn with_another(world: &World) -> Run {
    block_on(fixture::seed(&world.store, "other", world.clock.now()));
    world.clock.advance(30);
    let (run, _) = world.ended("other", 7);
    world.deliver_all(&run);
    world.clock.advance(5);
    run
}

fn purging(bounds: Bounds) -> Bounds {
    Bounds { purges_per_shard: 25, deliveries_per_shard: 0, ..bounds }
}

#[test]
fn a_tenants_many_runs_stop_nobodys_retention_whatever_they_owe() {
    // When their deliveries are due, if they are owed.
    for due_in in [None, Some(0), Some(1_800)] {
        let world = World::new();
        let now = world.clock.now();
        let many = world.flood("acme", |delivery| match due_in {
            None => delivered(delivery),
            Some(seconds) => Delivery { next_attempt_at: Some(now + SignedDuration::from_secs(seconds)), ..delivery },
        });
        let other = with_another(&world);
        let first = world.reconcile_within(purging(world.bounds()));
        assert!(!world.is_there(&other), "due in {due_in:?}: {first:?}");
        assert_eq!(due_in.is_some(), many.iter().all(|(run, _)| world.is_there(run)), "none is lost that is owed");
        assert_eq!(first.put_off > 0, due_in.is_some_and(|seconds| seconds > 0));
    }
}

#[test]
fn runs_that_owe_something_are_not_looked_at_until_it_may_be_over_and_then_go() {
    let world = World::new();
    let due_at = world.clock.now() + SignedDuration::from_mins(30);
    let many = world.flood("acme", |delivery| Delivery { next_attempt_at: Some(due_at), ..delivery });
    world.clock.advance(5);
    let put_off: u32 = (0..3).map(|_| world.reconcile_within(purging(world.bounds())).put_off).sum();
    assert!(u128::from(put_off) >= MANY, "{put_off}");
    let looks = world.count_calls("look for open deliveries");
    world.clock.advance(60);
    assert_eq!(world.reconcile_within(purging(world.bounds())).put_off, 0);
    assert_eq!(looks.load(Ordering::Relaxed), 0, "they have left the candidates");
    // Half an hour later the receiver is there again.
    world.clock.advance(1_740);
    for (run, delivery) in &many {
        let owed = DeliveryRef { tenant_id: run.tenant_id.clone(), run_id: run.run_id, number: delivery.number };
        world.deliver(&owed);
    }
    world.clock.advance(120);
    let purged: u32 = (0..8).map(|_| world.reconcile_within(purging(world.bounds())).purged).sum();
    assert_eq!(u128::from(purged), MANY);
    assert!(!many.iter().any(|(run, _)| world.is_there(run)));
}

#[test]
fn a_run_that_owes_something_is_put_off_until_a_minute_after_that_is_due() {
    // Seconds from the end of the run's time to the look, and from there to when it is due again, if it is put off.
    let cases = [(0, 0, None), (599, -599, None), (600, -600, Some(60)), (5, 1, Some(61)), (5, 1_800, Some(1_860))];
    for (looked_at_after, due_in, put_off_for) in cases {
        let world = World::new();
        let (run, delivery) = world.ended("acme", 1);
        world.clock.advance(1 + looked_at_after);
        let now = world.clock.now();
        let due_at = now + SignedDuration::from_secs(due_in);
        for number in [1, 2] {
            let owed = Delivery { number, next_attempt_at: Some(due_at), ..delivery.clone() };
            world.store.seed_delivery(owed, Vec::new());
        }
        let reference = RunRef { tenant_id: run.tenant_id.clone(), run_id: run.run_id };
        let purged = block_on(purge_expired(&world.store, &reference, now)).expect("looked at");
        let put_off = world.store.run(&run.tenant_id, run.run_id).and_then(|run| run.state.ended()?.purge_from);
        let expected = put_off_for.map(|seconds| now + SignedDuration::from_secs(seconds));
        assert_eq!(put_off, expected, "after {looked_at_after}, due in {due_in}: {purged:?}");
        assert_eq!(purged, if expected.is_some() { Purged::PutOff } else { Purged::Owed });
    }
}

#[test]
fn a_sweep_looks_at_so_many_runs_for_each_that_it_may_delete_and_says_where_there_are_more() {
    for (more, is_cut_short) in [(0, false), (1, true)] {
        let world = World::new();
        let due_at = world.clock.now() + SignedDuration::from_mins(30);
        // All in one shard, eight for each that may be deleted.
        for number in 0..16 + more {
            let (run, delivery) = world.ended("acme", number * 16);
            world.deliver_all(&run);
            world.store.seed_delivery(Delivery { next_attempt_at: Some(due_at), ..delivery }, Vec::new());
        }
        world.clock.advance(5);
        let bounds = Bounds { purges_per_shard: 2, deliveries_per_shard: 0, ..world.bounds() };
        let summary = world.reconcile_within(bounds);
        assert_eq!((summary.put_off, summary.cut_short), (16, is_cut_short), "{more} more");
    }
}

#[test]
fn a_run_with_a_dead_receiver_is_looked_at_a_few_times_a_day_and_goes_soon_after_it_is_given_up() {
    let world = World::new();
    let (run, _) = world.ended("acme", 1);
    let looks = world.count_calls("look for open deliveries");
    let mut given_up = None;
    for minute in 0..2_000 {
        let now = world.clock.now();
        world.reconcile();
        if !world.is_there(&run) {
            let given_up = given_up.expect("it was given up before");
            assert!(now.duration_since(given_up) <= SignedDuration::from_mins(3), "{now} {given_up}");
            assert!(minute > 60 * 20, "not before the schedule is over");
            let looks = looks.load(Ordering::Relaxed);
            assert!(looks < 40, "{looks} looks");
            return;
        }
        for due in world.engine.take_announced() {
            if due.number == 1 {
                let dead = AttemptOutcome::Unreachable { error_class: "connect".to_owned() };
                world.receiver.answer_next([dead.clone(), dead]);
            }
            world.deliver(&due);
        }
        let webhook = world.store.deliveries().into_iter().find(|(delivery, _)| delivery.number == 1);
        given_up = webhook.and_then(|(delivery, _)| delivery.ended_at);
        world.clock.advance(60 - world.clock.now().as_second().rem_euclid(60));
    }
    panic!("it never went");
}
