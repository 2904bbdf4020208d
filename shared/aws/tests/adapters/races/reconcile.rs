//! Two sweeps at once.

use super::arena::{Arena, Tally, put_with, rounds, start};
use crate::support::sample::{self, mine, new_run, noon};
use crate::support::table::Table;
use jiff::SignedDuration;
use sluice_core::change::NewRun;
use sluice_core::flow::reconcile_runs::{Bounds, SweepSummary, reconcile_runs};
use sluice_core::lifecycle::{EngineEnd, RunStatus, StopIntent, TerminationReason};
use sluice_core::ports::{Clock, DeliveryRef, LoadRun, ManageOperator, ReadRuns};
use sluice_core::run::{Run, RunSpec};
use sluice_core::snapshot::{Callback, Snapshot};
use sluice_testkit::clock::FixedClock;
use sluice_testkit::engine::MemoryEngine;
use sluice_testkit::fixture::{self, CALLBACK_URL};
use std::collections::BTreeSet;

/// Runs that two sweeps meet at the same time. Each is a race of its own.
const RUNS: u32 = 50;

/// What has happened to a run without Sluice's knowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missed {
    /// Its execution succeeded.
    Success,
    /// Its execution failed.
    Failure,
    /// A cancel was recorded, and the stop was lost.
    Stop,
    /// It was recorded, and the start was lost.
    Start,
    /// Its time is up.
    Deadline,
}

const ALL: [Missed; 5] = [Missed::Success, Missed::Failure, Missed::Stop, Missed::Start, Missed::Deadline];

/// One of them, with a webhook.
async fn put(table: &Table, engine: &MemoryEngine, number: u32) -> (Missed, Run) {
    let missed = ALL[number as usize % ALL.len()];
    let mut run = sample::run(&mine(), number, noon());
    run.snapshot.has_callback = true;
    let claimed = Run { state: sample::running(), rev: 2, ..run.clone() };
    let run = match missed {
        Missed::Success => claimed,
        Missed::Failure => Run { state: sample::waiting(&["ask"]), ..claimed },
        Missed::Stop => Run { state: sample::stopping(StopIntent::CanceledByCaller), ..claimed },
        Missed::Start => run,
        Missed::Deadline => Run { spec: RunSpec { max_run_duration_seconds: Some(1), ..claimed.spec }, ..claimed },
    };
    let callback = Some(Callback { url: CALLBACK_URL.to_owned(), context: None });
    let snapshot_text = Snapshot { callback, ..sample::snapshot(&run) }.to_text().expect("JSON");
    put_with(table, NewRun { snapshot_text, ..new_run(&run, None, None) }).await;
    if missed != Missed::Start {
        start(engine, &run).await;
    }
    let end = match missed {
        Missed::Success => Some((EngineEnd::Succeeded, Some("{}"))),
        Missed::Failure => Some((EngineEnd::Failed, None)),
        Missed::Stop | Missed::Start | Missed::Deadline => None,
    };
    if let Some((end, output)) = end {
        engine.end(&run.execution_arn(), end, output, noon()).expect("it ran");
    }
    (missed, run)
}

async fn sweep(table: Table, engine: MemoryEngine, clock: FixedClock) -> SweepSummary {
    let until = clock.now() + SignedDuration::from_mins(1);
    let bounds = Bounds {
        describes: 1_000,
        starts: 1_000,
        deliveries_per_shard: 100,
        deliveries_per_receiver: 100,
        purges_per_shard: 10,
        at_once: 4,
        ..Bounds::of_a_minute(until)
    };
    let summary = Box::pin(reconcile_runs(&table.store, &engine, &clock, bounds)).await;
    assert_eq!(summary.faults, Vec::<String>::new());
    assert!(!summary.cut_short);
    summary
}

/// One batch of runs in a table of its own.
async fn sweep_against_sweep(round: u32, tally: &mut Tally) {
    let (arena, engine) = (Arena::new(2).await, MemoryEngine::default());
    arena.party(0).store.save_compute_node(&fixture::compute_node(noon())).await.expect("saved");
    let mut runs = Vec::new();
    for number in 0..RUNS {
        runs.push(put(arena.party(0), &engine, round * RUNS + number).await);
    }
    let of = |missed: &[Missed]| runs.iter().filter(|(this, _)| missed.contains(this)).count() as u32;
    let starts = engine.starts();
    let clock = FixedClock::at(&(noon() + SignedDuration::from_mins(2)).to_string());
    let (one, other) = arena
        .race(
            round,
            |table| sweep(table, engine.clone(), clock.clone()),
            |table| sweep(table, engine.clone(), clock.clone()),
        )
        .await;
    // Each thing was done once, by the one or by the other, although both came across most of them.
    assert_eq!(one.settled + other.settled, of(&[Missed::Success, Missed::Failure, Missed::Stop]), "{one:?} {other:?}");
    assert_eq!(one.timed_out + other.timed_out, of(&[Missed::Deadline]));
    assert_eq!(engine.starts() - starts, of(&[Missed::Start]));
    tally.add("settled by the one", one.settled);
    tally.add("settled by the other", other.settled);
    tally.add("timed out by the one", one.timed_out);
    tally.add("timed out by the other", other.timed_out);
    tally.add("met by both", one.described + other.described - one.settled - other.settled);

    // A minute later a third sweep finishes what was stopped, and the rest is as it was.
    clock.advance(60);
    let third = sweep(arena.party(0).clone(), engine.clone(), clock.clone()).await;
    assert_eq!((third.settled, third.timed_out), (of(&[Missed::Deadline]), 0));
    let mut owed = BTreeSet::new();
    for (missed, before) in &runs {
        let store = &arena.party(1).store;
        let after = store.load_run(&mine(), before.run_id).await.expect("loaded").expect("a run");
        let (status, reason, changes) = match missed {
            Missed::Success => (RunStatus::Succeeded, Some(TerminationReason::Completed), 1),
            Missed::Failure => (RunStatus::Failed, Some(TerminationReason::ExecutionError), 1),
            Missed::Stop => (RunStatus::Canceled, Some(TerminationReason::CanceledByCaller), 1),
            // Its execution runs; it is for the runner to claim it.
            Missed::Start => (RunStatus::Pending, None, 0),
            Missed::Deadline => (RunStatus::Failed, Some(TerminationReason::TimedOut), 2),
        };
        assert_eq!((after.status(), after.state.ended().map(|ended| ended.reason)), (status, reason), "{missed:?}");
        assert_eq!(after.rev, before.rev + changes, "{missed:?}");
        let deliveries = store.list_deliveries(&mine(), before.run_id).await.expect("listed");
        assert_eq!(deliveries.len(), if *missed == Missed::Start { 0 } else { 2 }, "{missed:?}");
        owed.extend(deliveries.into_iter().map(|(delivery, _)| DeliveryRef {
            tenant_id: delivery.tenant_id,
            run_id: delivery.run_id,
            number: delivery.number,
        }));
    }
    let announced: BTreeSet<DeliveryRef> = engine.take_announced().into_iter().collect();
    assert_eq!(announced, owed, "every one is handed out, and nothing that is not owed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_sweeps_one_mends_a_run() {
    let mut tally = Tally::default();
    for round in 0..rounds(300) / RUNS {
        sweep_against_sweep(round, &mut tally).await;
    }
    let outcomes =
        ["met by both", "settled by the one", "settled by the other", "timed out by the one", "timed out by the other"];
    tally.has_all("sweep against sweep", &outcomes);
}
