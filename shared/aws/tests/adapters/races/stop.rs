//! Cancel against the runner's claim, and against the end.

use super::arena::{Arena, executing, found, play, put, put_with, rounds};
use crate::runner::claim;
use crate::support::sample::{self, mine, new_run, noon};
use jiff::{SignedDuration, Timestamp};
use sluice_core::delivery::DeliveryStatus;
use sluice_core::flow::cancel_run::{Canceled, cancel_run};
use sluice_core::flow::transition_run::transition;
use sluice_core::lifecycle::{EngineEnd, RunEvent, RunStatus, StopIntent, TerminationReason};
use sluice_core::ports::{Deliveries, DeliveryRef, ReadRuns};
use sluice_core::run::Run;
use sluice_core::snapshot::{Callback, Snapshot};
use sluice_testkit::engine::MemoryEngine;
use sluice_testkit::fixture::{self, CALLBACK_URL};

fn later() -> Timestamp {
    noon() + SignedDuration::from_secs(30)
}

async fn cancel(table: crate::support::table::Table, engine: MemoryEngine, run: Run) -> Canceled {
    let caller = fixture::caller("mine");
    let canceled = cancel_run(&table.store, &engine, &caller, run.run_id, later());
    Box::pin(canceled).await.expect("an answer")
}

async fn cancel_against_claim(arena: Arena, round: u32) -> &'static str {
    let run = sample::run(&mine(), round, noon());
    put(arena.party(0), &run).await;
    let engine = executing(&run).await;
    let (claimed, canceled) = arena
        .race(
            round,
            |table| {
                let run = run.clone();
                async move { claim(&table, &run).await }
            },
            |table| cancel(table, engine.clone(), run.clone()),
        )
        .await;
    let table = arena.party(0);
    let after = found(table, &run).await;
    match (claimed, canceled) {
        (true, Canceled::Underway(shown)) => {
            assert_eq!(shown, after);
            assert_eq!(
                (after.status(), after.state.intent()),
                (RunStatus::Canceling, Some(StopIntent::CanceledByCaller))
            );
            assert!(
                after.state.started_at().is_some() && after.state.ended().map(|ended| ended.completed_at).is_none(),
                "{after:?}"
            );
            assert_eq!((after.rev, after.state.ended().map_or(0, |ended| ended.deliveries)), (3, 0));
            assert_eq!(engine.stops(), [run.execution_arn()], "what runs is stopped");
            "claimed, then stopped"
        }
        (false, Canceled::Already(shown)) => {
            assert_eq!(shown, after);
            let reason = Some(TerminationReason::CanceledByCaller);
            assert_eq!((after.status(), after.state.ended().map(|ended| ended.reason)), (RunStatus::Canceled, reason));
            assert_eq!(
                (after.state.started_at(), after.rev, after.state.ended().map_or(0, |ended| ended.deliveries)),
                (None, 2, 1)
            );
            assert!(engine.stops().is_empty(), "it never ran");
            assert!(!claim(table, &run).await, "nor will it ever");
            assert_eq!(found(table, &run).await, after);
            "canceled, never to be claimed"
        }
        other => panic!("round {round}: {other:?} and {after:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_is_either_claimed_and_stopped_or_canceled_and_never_claimed() {
    let arena = Arena::new(4).await;
    let tally = play(&arena, rounds(300), cancel_against_claim).await;
    tally.has_all("cancel against claim", &["canceled, never to be claimed", "claimed, then stopped"]);
}

/// A run with a webhook that its execution has claimed.
async fn running(arena: &Arena, round: u32) -> Run {
    let mut run = Run { state: sample::running(), rev: 2, ..sample::run(&mine(), round, noon()) };
    run.snapshot.has_callback = true;
    let callback = Some(Callback { url: CALLBACK_URL.to_owned(), context: None });
    let snapshot_text = Snapshot { callback, ..sample::snapshot(&run) }.to_text().expect("JSON");
    put_with(arena.party(0), sluice_core::change::NewRun { snapshot_text, ..new_run(&run, None, None) }).await;
    run
}

/// A webhook and an event, each once, and both say how the run ended.
async fn owes_both_once(arena: &Arena, run: &Run) {
    let store = &arena.party(0).store;
    let owed = store.list_deliveries(&mine(), run.run_id).await.expect("listed");
    let shown: Vec<_> =
        owed.iter().map(|(delivery, attempts)| (delivery.number, delivery.status, attempts.len())).collect();
    assert_eq!(shown, [(1, DeliveryStatus::Scheduled, 0), (2, DeliveryStatus::Scheduled, 0)]);
    let webhook = DeliveryRef { tenant_id: mine(), run_id: run.run_id, number: 1 };
    let body = store.load_delivery(&webhook).await.expect("loaded").expect("a delivery").body;
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(body["status"], run.status().as_str());
    assert_eq!(
        body["terminationReason"],
        run.state.ended().map(|ended| ended.reason).map(TerminationReason::as_str).unwrap_or_default()
    );
}

async fn cancel_against_finish(arena: Arena, round: u32) -> &'static str {
    let run = running(&arena, round).await;
    let engine = executing(&run).await;
    // Each kind of end sees every head start.
    let ends = [EngineEnd::Succeeded, EngineEnd::Failed, EngineEnd::Aborted];
    let end = ends[(round / 7) as usize % ends.len()];
    let output = (end == EngineEnd::Succeeded).then_some(r#"{"n":1.10}"#);
    let (end, details) = engine.end(&run.execution_arn(), end, output, later()).expect("it ran");
    let (settled, canceled) =
        arena
            .race(
                round,
                |table| {
                    let (run, details) = (run.clone(), details.clone());
                    async move {
                        Box::pin(transition(&table.store, run, RunEvent::EngineEnded(end), &details, later())).await
                    }
                },
                |table| cancel(table, engine.clone(), run.clone()),
            )
            .await;
    let settled = settled.expect("an answer").expect("the end is written, whoever was first").after;
    let table = arena.party(0);
    let after = found(table, &run).await;
    assert_eq!(after, settled);
    let is_canceling = after.state.intent().is_some();
    let expected = match (end, is_canceling) {
        (EngineEnd::Succeeded, _) => (RunStatus::Succeeded, TerminationReason::Completed),
        (EngineEnd::Failed | EngineEnd::TimedOut, _) => (RunStatus::Failed, TerminationReason::ExecutionError),
        (EngineEnd::Aborted, true) => (RunStatus::Canceled, TerminationReason::CanceledByCaller),
        (EngineEnd::Aborted, false) => (RunStatus::Canceled, TerminationReason::AbortedInEngine),
    };
    assert_eq!((after.status(), after.state.ended().map(|ended| ended.reason)), (expected.0, Some(expected.1)));
    assert_eq!(
        (after.state.ended().map(|ended| ended.completed_at), after.state.ended().map_or(0, |ended| ended.deliveries)),
        (Some(later()), 2)
    );
    let kept = table.store.load_output(&mine(), run.run_id).await.expect("loaded");
    assert_eq!(kept.as_deref(), output);
    owes_both_once(&arena, &after).await;
    let outcome = match canceled {
        Canceled::Underway(shown) => {
            assert_eq!((shown.status(), shown.rev), (RunStatus::Canceling, 3));
            assert_eq!((after.state.intent(), after.rev), (Some(StopIntent::CanceledByCaller), 4));
            assert_eq!(engine.stops(), [run.execution_arn()]);
            "asked to stop, and ended"
        }
        Canceled::TooLate(shown) | Canceled::Already(shown) => {
            assert_eq!(shown, after, "the answer is the truth");
            assert!(engine.stops().is_empty(), "{:?}", engine.stops());
            // It may have been asked to stop by this very request, and have ended before it was answered.
            assert!(matches!((after.state.intent(), after.rev), (None, 3) | (Some(StopIntent::CanceledByCaller), 4)));
            "ended, and told so"
        }
    };
    // It is over: a second event, by one who knows the run as it was, changes nothing; and asking again is answered
    // truthfully.
    let late = RunEvent::EngineEnded(EngineEnd::Succeeded);
    let settled = Box::pin(transition(&table.store, run.clone(), late, &details, later())).await;
    assert_eq!(settled.expect("an answer"), None);
    assert_eq!(found(table, &run).await, after);
    let is_canceled = after.status() == RunStatus::Canceled;
    let again = if is_canceled { Canceled::Already(after) } else { Canceled::TooLate(after) };
    assert_eq!(cancel(table.clone(), engine, run).await, again);
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_end_is_written_once_and_a_cancel_is_told_the_truth() {
    let arena = Arena::new(4).await;
    let tally = play(&arena, rounds(300), cancel_against_finish).await;
    tally.has_all("cancel against finish", &["asked to stop, and ended", "ended, and told so"]);
}
