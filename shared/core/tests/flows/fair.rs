//! The sweep is fair: what is much, slow or stuck in one place takes nothing from the others.

use crate::course::plain;
use crate::crew::{Crew, echo, world_of};
use crate::usage::disturb;
use crate::world::{World, command};
use jiff::SignedDuration;
use serde_json::json;
use sluice_core::flow::control_run::{pause_run, resume_run};
use sluice_core::flow::create_run::Command;
use sluice_core::flow::reconcile_runs::{Bounds, SweepSummary};
use sluice_core::flow::record_usage::record_usage;
use sluice_core::lifecycle::{EngineEnd, RunStatus};
use sluice_core::ports::{Clock, SHARDS, StoreErrorClass};
use sluice_core::retention::Retention;
use sluice_core::run::Run;
use sluice_core::usage::LlmCall;
use sluice_testkit::contract::store::reports;
use sluice_testkit::fault::Fault;
use sluice_testkit::{block_on, fixture};
use std::sync::{Arc, Mutex};

impl World {
    /// A run whose end no event told of.
    fn lost(&self, id: u128) -> Run {
        let run = self.running(id);
        self.engine.end(&run.execution_arn(), EngineEnd::Succeeded, Some("{}"), self.clock.now());
        run
    }

    /// A run whose start was lost.
    fn unstarted(&self, id: u128) -> Run {
        let run = self.pending(id);
        self.engine.forget(&run.execution_arn());
        run
    }

    /// A run that is over and owes nothing, and whose time is over as well.
    fn expired(&self, id: u128) -> Run {
        let retention = Some(Retention { max_age_seconds: 1, preserve_on_failure: false });
        let run = self.create(Command { retention, ..command() }, id).expect("accepted").run;
        assert!(self.engine.claim(&self.store, &run.execution_arn(), self.clock.now()));
        let settled = self.end(&run, EngineEnd::Succeeded, Some("{}")).expect("settled");
        settled.owed.iter().for_each(|delivery| drop(self.deliver(delivery)));
        run
    }

    /// So many sweeps, one a minute, however long each of them takes.
    fn sweep_every_minute(&self, sweeps: i64, bounds: impl Fn(Bounds) -> Bounds) -> Vec<SweepSummary> {
        let begin = self.clock.now();
        let sweep = |minute| {
            let start = begin + SignedDuration::from_mins(minute);
            self.clock.advance(start.duration_since(self.clock.now()).as_secs());
            self.reconcile_within(bounds(self.bounds()))
        };
        (0..sweeps).map(sweep).collect()
    }

    /// Every call of this name takes so many seconds from now on.
    fn slow_down(&self, slow: &'static str, seconds: i64) {
        for faults in [&self.store.faults, &self.engine.faults] {
            let clock = self.clock.clone();
            faults.set(move |called| {
                if called == slow {
                    clock.advance(seconds);
                }
                None
            });
        }
    }
}

#[test]
fn starts_that_hang_take_nothing_from_lost_ends_and_each_has_its_turn() {
    let world = World::new();
    let lost: Vec<Run> = (1..=5).map(|id| world.lost(id)).collect();
    (101..=200).for_each(|id| drop(world.unstarted(id)));
    world.clock.advance(120);
    let (started, bounds) = (world.engine.starts(), |bounds| Bounds { starts: 10, describes: 5, ..bounds });
    let first = world.sweep_every_minute(1, bounds).remove(0);
    assert!(lost.iter().all(|run| world.run(run.run_id).status() == RunStatus::Succeeded));
    assert_eq!((first.settled, first.starts_asked, first.started, first.described), (5, 10, 10, 15));
    assert!(first.cut_short, "ninety starts are still to come");
    // Nobody claims them, so they hang on, and those whose turn it was are not tried again before the others.
    world.clock.advance(60);
    let rest = world.sweep_every_minute(9, bounds);
    assert!(rest.iter().all(|summary| summary.starts_asked == 10));
    assert_eq!(world.engine.starts() - started, 100);
}

#[test]
fn a_start_that_hangs_with_the_engine_away_is_given_up_after_its_hour_wherever_it_stands() {
    let world = World::new();
    (1..=60).for_each(|id| drop(world.unstarted(id)));
    world
        .engine
        .faults
        .set(|called| (called == "start the execution").then_some(Fault::Before(StoreErrorClass::Unavailable)));
    world.clock.advance(3_600);
    let sweeps = world.sweep_every_minute(6, |bounds| Bounds { starts: 10, ..bounds });
    assert_eq!(sweeps.iter().map(|summary| summary.settled).collect::<Vec<_>>(), [10; 6]);
}

#[test]
fn all_lost_ends_of_one_shard_have_all_the_describes() {
    let world = World::new();
    (1..=50).for_each(|id| drop(world.lost(id * u128::from(SHARDS))));
    world.clock.advance(60);
    let sweeps = world.sweep_every_minute(3, |bounds| Bounds { describes: 20, ..bounds });
    assert_eq!(sweeps.iter().map(|summary| summary.settled).collect::<Vec<_>>(), [20, 20, 10]);
    assert_eq!(sweeps.iter().map(|summary| summary.cut_short).collect::<Vec<_>>(), [true, true, false]);
}

#[test]
fn what_cannot_be_described_does_not_stand_before_the_others() {
    let world = World::new();
    let (stuck, fine): (Vec<Run>, Vec<Run>) = (1..=40).map(|id| (world.lost(2 * id), world.lost(2 * id + 1))).unzip();
    // Half of them are unknown to the engine, and have to wait before they count as vanished.
    stuck.iter().for_each(|run| world.engine.forget(&run.execution_arn()));
    world.clock.advance(60);
    let bounds = |bounds| Bounds { describes: 16, ..bounds };
    let settled: u32 = world.sweep_every_minute(6, bounds).iter().map(|summary| summary.settled).sum();
    assert_eq!(settled, fine.len() as u32);
}

#[test]
fn open_runs_are_compared_shard_by_shard_with_one_list() {
    let world = World::new();
    (0..u128::from(SHARDS)).for_each(|id| drop(world.lost(id + 1)));
    world.clock.advance(60);
    let calls = Arc::new(Mutex::new(Vec::new()));
    for faults in [&world.store.faults, &world.engine.faults] {
        let calls = Arc::clone(&calls);
        faults.set(move |called| {
            calls.lock().expect("no panic").push(called);
            None
        });
    }
    let summary = world.reconcile();
    assert_eq!((summary.settled, summary.listed), (u32::from(SHARDS), 1));
    let calls = calls.lock().expect("no panic");
    for shard in 0..SHARDS {
        let read = calls.iter().enumerate().filter(|(_, called)| **called == "list open runs").map(|(at, _)| at);
        let read: Vec<usize> = read.chain([calls.len()]).collect();
        let of_shard = &calls[read[usize::from(shard)]..read[usize::from(shard) + 1]];
        assert!(of_shard.contains(&"describe the execution"), "before the next shard is read");
    }
}

#[test]
fn a_phase_that_is_slow_is_cut_short_and_the_others_do_their_work() {
    // What is slow, and what is not done for it by the first sweep.
    let cases = [
        ("list due deliveries", "announced"),
        ("list open runs", "settled started"),
        ("list running executions", ""),
        ("describe the execution", ""),
        ("start the execution", ""),
        ("list expired runs", "purged"),
    ];
    for (slow, left) in cases {
        let world = World::new();
        // Each in a shard that comes late in the first sweep.
        let at = |place: u128| {
            let first = world.clock.now().as_second() / 60 + 2;
            u128::from(first.unsigned_abs()) % 16 + place
        };
        let due = world.running(at(12));
        world.end(&due, EngineEnd::Succeeded, Some("{}")).expect("settled");
        let (lost, unstarted, expired) = (world.lost(at(13)), world.unstarted(at(14)), world.expired(at(15)));
        world.clock.advance(120);
        drop(world.engine.take_announced());
        world.slow_down(slow, 10);
        let is_done = |summary: &SweepSummary| {
            let started = world.engine.execution(&unstarted.execution_arn()).is_some();
            [
                ("announced", world.engine.take_announced().iter().any(|delivery| delivery.run_id == due.run_id)),
                ("settled", world.run(lost.run_id).status().is_terminal()),
                ("started", started),
                ("purged", !world.store.knows(&expired.tenant_id, expired.run_id)),
            ]
            .map(|(what, is_done)| (what, is_done, summary.cut_short))
        };
        let first = world.sweep_every_minute(1, |bounds| bounds).remove(0);
        let mut done = is_done(&first);
        for (what, is_done, cut_short) in done {
            assert_eq!(is_done, !left.contains(what), "{what}, with a slow {slow}: {first:?}");
            assert!(is_done || cut_short);
        }
        // Whatever is slow, everybody has come first after as many sweeps as there are shards.
        for _ in 1..SHARDS {
            world.clock.advance(60 - world.clock.now().as_second().rem_euclid(60));
            let summary = world.reconcile();
            for (before, now) in done.iter_mut().zip(is_done(&summary)) {
                before.1 |= now.1;
            }
        }
        assert!(done.iter().all(|(_, is_done, _)| *is_done), "{slow}: {done:?}");
    }
}

#[test]
fn a_list_without_end_is_left_in_time_and_lost_ends_are_found_all_the_same() {
    let world = World::new();
    (1..=100).for_each(|id| drop(world.running(id)));
    let (lost, expired) = (world.lost(200), world.expired(201));
    world.clock.advance(60);
    world.engine.list_in_pages_of(1);
    world.slow_down("list running executions", 1);
    let begin = world.clock.now();
    let summary = world.reconcile();
    assert!(world.clock.now() < begin + SignedDuration::from_secs(50));
    assert!(summary.cut_short && summary.listed < 100, "{summary:?}");
    // What is not on the list is asked about, although some of it is running.
    assert_eq!(world.run(lost.run_id).status(), RunStatus::Succeeded);
    assert!(!world.store.knows(&expired.tenant_id, expired.run_id));
}

#[test]
fn a_few_runs_are_worked_on_at_once() {
    for at_once in [1, 4] {
        let world = World::new();
        (1..=40).for_each(|id| drop(world.lost(id * 16)));
        world.clock.advance(60);
        let under_way = Arc::new(Mutex::new((0_u32, 0_u32)));
        let begun = Arc::clone(&under_way);
        world.engine.faults.set(move |called| {
            let mut under_way = begun.lock().expect("no panic");
            match called {
                "describe the execution" => under_way.0 += 1,
                "announce due deliveries" => under_way.0 -= 1,
                _ => {}
            }
            under_way.1 = under_way.1.max(under_way.0);
            None
        });
        let summary = world.reconcile_within(Bounds { at_once, ..world.bounds() });
        assert_eq!(summary.settled, 40);
        assert_eq!(under_way.lock().expect("no panic").1, at_once as u32);
    }
}

#[test]
fn a_sweep_is_cut_short_where_more_ends_were_lost_than_it_may_ask_about_and_not_where_as_many_were() {
    for describes in [0, 1, 20_u32] {
        for lost in describes.saturating_sub(1)..=describes + 1 {
            // All in one shard, and one shard after the other.
            for step in [u128::from(SHARDS), 1] {
                let world = World::new();
                (1..=u128::from(lost)).for_each(|id| drop(world.lost(id * step)));
                world.clock.advance(60);
                let summary = world.reconcile_within(Bounds { describes, ..world.bounds() });
                let (settled, is_more) = (lost.min(describes), lost > describes);
                assert_eq!((summary.settled, summary.described), (settled, settled), "{lost} of {describes}");
                assert_eq!(summary.cut_short, is_more, "{lost} of {describes}: {summary:?}");
            }
        }
    }
}

/// What may be in need of a sweep, of which one sweep takes so much and leaves the rest to the next.
struct Bounded {
    what: &'static str,
    /// Makes one that is in need after twenty minutes.
    make: fn(&World, u128),
    bounds: fn(Bounds, u32) -> Bounds,
    /// How many of those with these ids have been looked after.
    done: fn(&World, &SweepSummary, &[u128]) -> u32,
    /// Whether the sweep cannot know that there are no more once it has taken all that it may.
    asks_for_no_more: bool,
}

fn fail(world: &World, call: &'static str) {
    for faults in [&world.store.faults, &world.engine.faults] {
        faults.set(move |called| (called == call).then_some(Fault::Before(StoreErrorClass::Unavailable)));
    }
}

/// A report whose calls were recorded, and not counted.
fn broken_off_report(world: &World, id: u128) {
    let run = world.running(id);
    let call = LlmCall { reported_at: world.clock.now(), ..reports::call("a-call", 1) };
    disturb(world, "count a report", Fault::Before(StoreErrorClass::Unavailable));
    let recorded = record_usage(&world.store, &world.engine, &world.caller, run.run_id, vec![call], world.clock.now());
    block_on(recorded).expect_err("it breaks off");
}

const BOUNDED: [Bounded; 7] = [
    Bounded {
        what: "stops",
        make: |world, id| {
            let run = world.running(id);
            fail(world, "stop the execution");
            world.cancel(run.run_id).expect("taken");
        },
        bounds: |bounds, most| Bounds { stops: most, ..bounds },
        done: |_, summary, _| summary.stops_asked,
        asks_for_no_more: false,
    },
    Bounded {
        what: "resumes",
        make: |world, id| {
            let (run, now) = (world.running(id), world.clock.now());
            let token = format!("token-{id}");
            block_on(pause_run(&world.store, &world.engine, &world.caller, run.run_id, now)).expect("asked");
            assert!(world.store.update_run(&run.tenant_id, run.run_id, |run| run.parked(&*token, now)));
            fail(world, "answer the task");
            block_on(resume_run(&world.store, &world.engine, &world.caller, run.run_id, now)).expect("resumed");
        },
        bounds: |bounds, most| Bounds { hand_overs: most, ..bounds },
        done: |_, summary, _| summary.handed_over,
        asks_for_no_more: false,
    },
    Bounded {
        what: "starts",
        make: |world, id| drop(world.unstarted(id)),
        bounds: |bounds, most| Bounds { starts: most, ..bounds },
        done: |_, summary, _| summary.starts_asked,
        asks_for_no_more: false,
    },
    Bounded {
        what: "deliveries",
        make: |world, id| {
            let run = world.running(id);
            world.end(&run, EngineEnd::Succeeded, Some("{}")).expect("settled");
        },
        bounds: |bounds, most| Bounds { deliveries_per_shard: 2 * most, ..bounds },
        done: |_, summary, _| summary.announced / 2,
        asks_for_no_more: false,
    },
    Bounded {
        what: "boards",
        make: |world, id| Crew::plain(world, id).go(&echo),
        bounds: |bounds, most| Bounds { boards: most, ..bounds },
        done: |_, summary, _| summary.woken,
        asks_for_no_more: true,
    },
    Bounded {
        what: "ledgers",
        make: broken_off_report,
        bounds: |bounds, most| Bounds { ledgers: most, ..bounds },
        done: |world, _, ids| {
            let ledger = |id| world.store.used(&world.caller.tenant, fixture::run_id(id)).ledger;
            let counted = ids.iter().filter(|id| ledger(**id).is_some_and(|ledger| ledger.is_idle()));
            counted.count() as u32
        },
        asks_for_no_more: true,
    },
    Bounded {
        what: "purges",
        make: |world, id| drop(world.expired(id)),
        bounds: |bounds, most| Bounds { purges_per_shard: most, ..bounds },
        done: |_, summary, _| summary.purged,
        asks_for_no_more: false,
    },
];

#[test]
fn a_sweep_takes_as_much_as_it_may_and_says_where_there_may_be_more() {
    for Bounded { what, make, bounds, done, asks_for_no_more } in BOUNDED {
        for most in [1_u32, 2, 5] {
            for count in most - 1..=most + 1 {
                let world = match what {
                    "boards" => {
                        let person = json!({"id": "person", "type": "external", "expiresAfterSeconds": 30});
                        world_of(json!([person, plain("b")]), &[("person", "b")])
                    }
                    _ => World::new(),
                };
                let ids: Vec<u128> = (1..=u128::from(count)).map(|id| id * u128::from(SHARDS)).collect();
                ids.iter().for_each(|id| make(&world, *id));
                [&world.store.faults, &world.engine.faults].into_iter().for_each(|faults| faults.clear());
                world.clock.advance(1_200);
                let summary = world.reconcile_within(bounds(world.bounds(), most));
                let case = format!("{count} of {most} {what}: {summary:?}");
                assert_eq!(done(&world, &summary, &ids), count.min(most), "{case}");
                assert_eq!(summary.cut_short, if asks_for_no_more { count >= most } else { count > most }, "{case}");
                assert_eq!(summary.faults, [""; 0], "{case}");
            }
        }
    }
}

/// How often a list was asked for in one sweep, of which each page takes a second.
fn listed(world: &World, list: &'static str, bounds: Bounds) -> usize {
    let listed = Arc::new(Mutex::new(0));
    for faults in [&world.store.faults, &world.engine.faults] {
        let (noted, clock) = (Arc::clone(&listed), world.clock.clone());
        faults.set(move |called| {
            if called == list {
                clock.advance(1);
                *noted.lock().expect("no panic") += 1;
            }
            None
        });
    }
    world.reconcile_within(bounds);
    let listed = listed.lock().expect("no panic");
    *listed
}

/// A world in which boards may become due, and the shard with which the sweep begins that comes so many minutes later.
fn world_of_boards(minutes: i64) -> (World, u128) {
    let person = json!({"id": "person", "type": "external", "expiresAfterSeconds": 30});
    let world = world_of(json!([person, plain("b")]), &[("person", "b")]);
    let first = first_shard(&world, minutes);
    (world, first)
}

fn first_shard(world: &World, minutes: i64) -> u128 {
    let turn = world.clock.now().as_second() / 60 + minutes;
    u128::from(turn.unsigned_abs()) % u128::from(SHARDS)
}

#[test]
fn a_shard_is_listed_for_half_of_its_share_of_the_time_however_much_there_is_in_it() {
    // Each phase has 640 seconds: 4 of the 13 parts of what is left, and 2 of 9.
    for (list, seconds) in [("list open runs", 640 * 13 / 4), ("list due boards", 640 * 9 / 2)] {
        let (world, first) = world_of_boards(2);
        (1..=60).for_each(|id| Crew::plain(&world, id * u128::from(SHARDS) + first).go(&echo));
        world.clock.advance(120);
        world.store.list_in_pages_of(1);
        let until = world.clock.now() + SignedDuration::from_secs(seconds);
        let pages = listed(&world, list, Bounds { until, boards: 1_000, ..world.bounds() });
        // A sixteenth of them, and half of that; and one page of every other shard.
        assert_eq!(pages, 640 / 16 / 2 + usize::from(SHARDS) - 1, "{list}");
    }
}

#[test]
fn expired_runs_of_a_shard_are_listed_for_half_of_its_share_of_the_time() {
    let world = World::new();
    let first = first_shard(&world, 2);
    for number in 1..=9 {
        world.ended("acme", number * u128::from(SHARDS) + first);
    }
    world.clock.advance(120);
    world.store.list_in_pages_of(1);
    // What is left when this phase begins, the last one, is all its own: five seconds are half of a sixteenth.
    let until = world.clock.now() + SignedDuration::from_secs(160);
    let bounds = Bounds { until, deliveries_per_shard: 0, ..world.bounds() };
    assert_eq!(listed(&world, "list expired runs", bounds), 5 + usize::from(SHARDS) - 1);
}

#[test]
fn a_list_that_fails_is_told_with_its_shard() {
    for list in ["list due deliveries", "list open runs", "list due boards", "list expired runs"] {
        let world = World::new();
        fail(&world, list);
        let faults = world.reconcile().faults;
        let told = (0..SHARDS).filter(|shard| faults.iter().any(|fault| fault.contains(&format!("shard {shard}:"))));
        assert_eq!((told.count(), faults.len()), (usize::from(SHARDS), usize::from(SHARDS)), "{list}: {faults:?}");
    }
}

#[test]
fn a_sweep_that_has_as_many_boards_as_it_may_take_looks_for_no_more() {
    for (count, lists) in [(4, usize::from(SHARDS)), (5, 1), (6, 1)] {
        let (world, first) = world_of_boards(2);
        (1..=count).for_each(|id| Crew::plain(&world, id * u128::from(SHARDS) + first).go(&echo));
        world.clock.advance(120);
        let until = world.clock.now() + SignedDuration::from_mins(10);
        let bounds = Bounds { until, boards: 5, ..world.bounds() };
        assert_eq!(listed(&world, "list due boards", bounds), lists, "{count}");
    }
}
