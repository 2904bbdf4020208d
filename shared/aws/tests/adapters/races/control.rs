//! Pause and resume against the end.

use super::arena::{Arena, executing, found, play, put, rounds};
use crate::support::sample::{self, mine, noon};
use jiff::{SignedDuration, Timestamp};
use sluice_core::flow::Refusal;
use sluice_core::flow::control_run::{pause_run, resume_run};
use sluice_core::flow::transition_run::transition;
use sluice_core::lifecycle::{EngineEnd, RunEvent, RunStatus, TerminationReason};
use sluice_core::refusal::ConflictCode;
use sluice_core::run::{EndDetails, Run, RunState, Times};
use sluice_testkit::engine::MemoryEngine;
use sluice_testkit::fixture;

fn later() -> Timestamp {
    noon() + SignedDuration::from_secs(30)
}

/// The engine's end of a run, written over whatever is written at the same time. Returns the run.
async fn end(table: crate::support::table::Table, run: Run, end: EngineEnd) -> Run {
    let details = EndDetails { stopped_at: Some(later()), ..EndDetails::default() };
    let settled = Box::pin(transition(&table.store, run, RunEvent::EngineEnded(end), &details, later())).await;
    settled.expect("an answer").expect("the end is written, whoever was first").after
}

/// An ended run that nobody's pause clings to.
fn is_over(run: &Run, expected: (RunStatus, TerminationReason), changes: u64) {
    assert_eq!((run.status(), run.state.ended().map(|ended| ended.reason)), (expected.0, Some(expected.1)));
    assert_eq!((run.state.pause_asked_at(), &run.state.gate().and_then(|gate| gate.token.clone())), (None, &None));
    assert!(!run.state.owes_a_resume());
    assert_eq!((run.state.ended().map_or(0, |ended| ended.deliveries), run.rev), (1, changes));
}

fn ended_before(refusal: &Refusal) {
    assert!(matches!(refusal, Refusal::Conflict { code: ConflictCode::RunEnded, .. }), "{refusal:?}");
}

async fn pause_against_finish(arena: Arena, round: u32) -> &'static str {
    let run = Run { state: sample::running(), rev: 2, ..sample::run(&mine(), round, noon()) };
    put(arena.party(0), &run).await;
    let (settled, paused) =
        arena
            .race(
                round,
                |table| end(table, run.clone(), EngineEnd::Succeeded),
                |table| {
                    let (engine, run_id) = (MemoryEngine::default(), run.run_id);
                    async move {
                        Box::pin(pause_run(&table.store, &engine, &fixture::caller("mine"), run_id, later())).await
                    }
                },
            )
            .await;
    let after = found(arena.party(0), &run).await;
    assert_eq!(after, settled);
    let completed = (RunStatus::Succeeded, TerminationReason::Completed);
    match paused {
        Ok(shown) => {
            let shown = shown.run;
            assert_eq!((shown.status(), shown.state.pause_asked_at()), (RunStatus::Running, Some(later())));
            is_over(&after, completed, 4);
            assert_eq!(after.state.pauses(), 1);
            "paused, then ended"
        }
        Err(refusal) => {
            ended_before(&refusal);
            is_over(&after, completed, 3);
            assert_eq!(after.state.pauses(), 0);
            "ended, not paused"
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_pause_comes_before_the_end_or_not_at_all() {
    let arena = Arena::new(4).await;
    let tally = play(&arena, rounds(300), pause_against_finish).await;
    tally.has_all("pause against finish", &["ended, not paused", "paused, then ended"]);
}

async fn resume_against_finish(arena: Arena, round: u32) -> &'static str {
    let token = format!("token {round}");
    let run = Run {
        state: RunState::Paused {
            progress: Times { pauses: 1, ..Times::started(noon()) }.into(),
            pause_asked_at: noon(),
            since: noon(),
            token: Some(token.clone()),
        },
        rev: 4,
        ..sample::run(&mine(), round, noon())
    };
    put(arena.party(0), &run).await;
    let engine = executing(&run).await;
    engine.wait_for(&run.execution_arn(), &token);
    let (settled, resumed) =
        arena
            .race(
                round,
                // What waits at the gate can only be aborted.
                |table| end(table, run.clone(), EngineEnd::Aborted),
                |table| {
                    let (engine, run_id) = (engine.clone(), run.run_id);
                    async move {
                        Box::pin(resume_run(&table.store, &engine, &fixture::caller("mine"), run_id, later())).await
                    }
                },
            )
            .await;
    let after = found(arena.party(0), &run).await;
    assert_eq!(after, settled);
    let aborted = (RunStatus::Canceled, TerminationReason::AbortedInEngine);
    match resumed {
        Ok(shown) => {
            assert_eq!(engine.take_answer(&token).as_deref(), Some("{}"), "a recorded resume is handed over");
            if shown.status().is_terminal() {
                // The end came between the resume and the note that the runner has it.
                assert_eq!(shown, after);
                is_over(&after, aborted, 6);
                "resumed, ended while handed over"
            } else {
                assert_eq!(
                    (shown.status(), &shown.state.gate().and_then(|gate| gate.token.clone()), shown.rev),
                    (RunStatus::Running, &None, 6)
                );
                is_over(&after, aborted, 7);
                "resumed, then ended"
            }
        }
        Err(refusal) => {
            ended_before(&refusal);
            is_over(&after, aborted, 5);
            assert_eq!(engine.take_answer(&token), None, "nobody was told to go on");
            "ended, not resumed"
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_resume_is_handed_over_or_refused() {
    let arena = Arena::new(4).await;
    let tally = play(&arena, rounds(300), resume_against_finish).await;
    tally.has_all("resume against finish", &["ended, not resumed", "resumed, then ended"]);
}
