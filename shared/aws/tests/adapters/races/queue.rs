//! Dispatch from a queue against a cancel, and against another dispatch.

use super::arena::{Arena, found, play, rounds};
use crate::support::sample::{noon, queued, run, slot_run};
use crate::support::table::Table;
use jiff::{SignedDuration, Timestamp};
use sluice_aws::dynamo::item::{self, Counter};
use sluice_aws::dynamo::keys;
use sluice_core::concurrency::{Concurrency, Limit, OnLimit, QueueRef, SlotScope};
use sluice_core::flow::cancel_run::{Canceled, cancel_run};
use sluice_core::flow::dispatch_runs::{Dispatched, dispatch_runs};
use sluice_core::flow::transition_run::transition;
use sluice_core::id::TenantId;
use sluice_core::lifecycle::{RunEvent, RunStatus, StopIntent};
use sluice_core::operator::TenantSettings;
use sluice_core::ports::{ManageOperator, RecordRun, Recorded};
use sluice_core::run::{EndDetails, Run};
use sluice_testkit::engine::MemoryEngine;
use sluice_testkit::fixture;

/// Runs that wait in a round of two dispatchers, and slots for them.
const WAITING: u32 = 3;
const SLOTS: u32 = 2;

fn later() -> Timestamp {
    noon() + SignedDuration::from_secs(30)
}

fn limit(most: u32) -> Limit {
    let concurrency = Concurrency { max_concurrent_runs: most, on_limit: OnLimit::Queue };
    Limit { scope: SlotScope::Tenant, concurrency }
}

/// A tenant of the round's own with so many slots, all of them free, and runs that wait for them.
async fn waiting(table: &Table, kind: &str, round: u32, slots: u32, waiting: u32) -> (QueueRef, Vec<Run>) {
    let tenant: TenantId = format!("{kind}-{round}").parse().expect("a tenant");
    let concurrency = Some(limit(slots).concurrency);
    let settings = TenantSettings { concurrency, rev: 1, ..TenantSettings::open(tenant.clone()) };
    table.store.save_tenant(&settings).await.expect("saved");
    // That of all rounds: a run that waited is started only where its tenant may still use its node.
    table.store.save_compute_node(&fixture::compute_node(noon())).await.expect("saved");
    let holding = |number| slot_run(run(&tenant, 10 * round + number, noon()), &[limit(slots)]);
    let before: Vec<_> = (0..slots).map(holding).collect();
    for new in &before {
        assert_eq!(table.store.record_run(new).await.expect("recorded"), Recorded::Created);
    }
    let mut runs = Vec::new();
    for number in 0..waiting {
        let created_at = noon() + SignedDuration::from_secs(1 + i64::from(number));
        let new = queued(run(&tenant, 10 * round + slots + number, created_at), limit(slots));
        assert_eq!(table.store.record_run(&new).await.expect("recorded"), Recorded::Created);
        runs.push(new.run);
    }
    for new in before {
        let canceled = RunEvent::StopAsked(StopIntent::CanceledByCaller);
        let settled =
            transition(&table.store, new.run, canceled, &EndDetails::default(), later()).await.expect("settles");
        assert!(settled.is_some_and(|settled| settled.after.slots.is_empty()));
    }
    (QueueRef { tenant_id: tenant, definition_id: None }, runs)
}

async fn dispatch(table: Table, engine: MemoryEngine, queue: QueueRef) -> Dispatched {
    Box::pin(dispatch_runs(&table.store, &engine, &queue, later())).await.expect("dispatches")
}

async fn cancel(table: Table, engine: MemoryEngine, run: Run) -> Canceled {
    let caller = fixture::caller(run.tenant_id.as_str());
    Box::pin(cancel_run(&table.store, &engine, &caller, run.run_id, later())).await.expect("an answer")
}

async fn counter(table: &Table, queue: &QueueRef) -> Counter {
    let found = table.item(keys::slots(queue)).await;
    found.map(|found| item::to_counter(&found).expect("a counter")).unwrap_or_default()
}

async fn dispatch_against_cancel(arena: Arena, round: u32) -> &'static str {
    let (queue, runs) = waiting(arena.party(0), "cancel", round, 1, 1).await;
    let engine = MemoryEngine::default();
    let (dispatched, canceled) = arena
        .race(
            round,
            |table| dispatch(table, engine.clone(), queue.clone()),
            |table| cancel(table, engine.clone(), runs[0].clone()),
        )
        .await;
    assert!(matches!(canceled, Canceled::Already(_)), "what never ran is canceled at once: {canceled:?}");
    let after = found(arena.party(0), &runs[0]).await;
    assert_eq!((after.status(), after.slots.len(), after.state.queue()), (RunStatus::Canceled, 0, None));
    assert_eq!(counter(arena.party(0), &queue).await, Counter { held: 0, queued: 0 });
    assert_eq!(dispatched.started, u32::from(after.state.dispatched_at().is_some()));
    match after.state.dispatched_at() {
        Some(_) => "dispatched, then canceled",
        None => "canceled in the queue",
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_canceled_run_leaves_slot_and_queue_whoever_is_first() {
    let arena = Arena::new(4).await;
    let tally = play(&arena, rounds(150), dispatch_against_cancel).await;
    tally.has_all("dispatch against cancel", &["dispatched, then canceled", "canceled in the queue"]);
}

async fn dispatch_against_dispatch(arena: Arena, round: u32) -> &'static str {
    let (queue, runs) = waiting(arena.party(0), "dispatch", round, SLOTS, WAITING).await;
    let engine = MemoryEngine::default();
    let (one, other) = arena
        .race(
            round,
            |table| dispatch(table, engine.clone(), queue.clone()),
            |table| dispatch(table, engine.clone(), queue.clone()),
        )
        .await;
    assert_eq!((one.started + other.started, engine.starts()), (SLOTS, SLOTS), "no slot is given twice");
    let held = i64::from(SLOTS);
    assert_eq!(counter(arena.party(0), &queue).await, Counter { held, queued: i64::from(WAITING) - held });
    let mut statuses = Vec::new();
    for run in &runs {
        statuses.push(found(arena.party(0), run).await.status());
    }
    assert_eq!(statuses, [RunStatus::Pending, RunStatus::Pending, RunStatus::Queued], "the oldest first");
    if one.started > 0 && other.started > 0 { "each some" } else { "one all" }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_dispatchers_start_the_oldest_and_no_more_than_there_are_slots() {
    let arena = Arena::new(4).await;
    let tally = play(&arena, rounds(150), dispatch_against_dispatch).await;
    tally.has_all("dispatch against dispatch", &["each some", "one all"]);
}
