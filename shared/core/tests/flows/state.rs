//! A run's states against the one table of their order: whatever happens to whatever run, the state that follows is the
//! one that [`step`] says, and a run that stays open keeps what it had.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::sample::select;
use sluice_core::lifecycle::{Decision, EngineEnd, RunEvent, RunStatus, StopIntent, step};
use sluice_core::run::{Course, Run, RunState};
use sluice_testkit::arbitrary;

/// Events that say by themselves what happened.
fn event() -> impl Strategy<Value = RunEvent> {
    let ends = [EngineEnd::Succeeded, EngineEnd::Failed, EngineEnd::TimedOut, EngineEnd::Aborted];
    let mut events = vec![
        RunEvent::Dispatched,
        RunEvent::Claimed,
        RunEvent::PauseAsked,
        RunEvent::Resumed,
        RunEvent::StartRefused,
        RunEvent::EngineVanished,
    ];
    events.extend(StopIntent::ALL.map(RunEvent::StopAsked));
    events.extend(ends.map(RunEvent::EngineEnded));
    select(events)
}

fn later(run: &Run) -> Timestamp {
    run.updated_at + SignedDuration::from_secs(5)
}

/// What a change of an open run never takes away.
fn keeps(before: &Run, after: &Run) -> bool {
    after.spec == before.spec
        && after.about == before.about
        && after.snapshot == before.snapshot
        && after.rev == before.rev + 1
        && after.updated_at >= before.updated_at
        && before.state.started_at().is_none_or(|at| after.state.started_at() == Some(at))
        && before.state.dispatched_at().is_none_or(|at| after.state.dispatched_at() == Some(at))
        && after.state.pauses() >= before.state.pauses()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn what_follows_is_what_the_table_says(run in arbitrary::run(), event in event()) {
        let run = Run { rev: run.rev / 2, ..run };
        let after = run.after(event, later(&run));
        match (step(run.status(), run.state.intent(), event), after) {
            (Decision::Move(next), Some(after)) => {
                prop_assert_eq!(after.status(), next.to);
                prop_assert_eq!(after.state.ended().map(|ended| ended.reason), next.reason);
                prop_assert!(keeps(&run, &after), "{:?} {:?}", run, after);
                if let RunEvent::StopAsked(intent) = event {
                    prop_assert_eq!(after.state.intent(), Some(intent));
                }
                if let Some(ended) = after.state.ended() {
                    prop_assert!(after.slots.is_empty());
                    let due_at = run.spec.retention.and_then(|rule| rule.due_at(next.to, ended.completed_at));
                    prop_assert_eq!(ended.due_at, due_at);
                    prop_assert_eq!(matches!(ended.course, Course::Started(_)), run.state.started_at().is_some());
                }
            }
            (Decision::Stay, Some(after)) => {
                prop_assert_eq!(after.status(), run.status());
                prop_assert!(keeps(&run, &after));
                prop_assert_eq!(after.state.pause_asked_at().is_some(), event == RunEvent::PauseAsked);
            }
            (Decision::Ignore | Decision::Illegal, None) => {}
            (decision, after) => prop_assert!(false, "{:?} {:?} {:?}", run.state, decision, after),
        }
    }

    /// The runner looks at what its conditions name, and the table agrees wherever it lets something through.
    #[test]
    fn what_the_runner_shows_is_what_the_table_says(run in arbitrary::run(), node in "[a-z]{1,6}") {
        let run = Run { rev: run.rev / 2, ..run };
        let now = later(&run);
        let asked = run.state.pause_asked_at().is_some();
        let parked = run.parked("token", now);
        let takes = matches!(step(run.status(), None, RunEvent::PauseTaken), Decision::Move(_));
        prop_assert_eq!(parked.is_some(), takes && asked);
        if let Some(parked) = parked {
            prop_assert!(keeps(&run, &parked));
            let RunState::Paused { since, token, .. } = &parked.state else { panic!("{parked:?}") };
            prop_assert_eq!((*since, token.as_deref()), (now, Some("token")));
            let resumed = parked.after(RunEvent::Resumed, now + SignedDuration::from_millis(1_500)).expect("it goes on");
            prop_assert!(resumed.state.owes_a_resume());
            let paused = |run: &Run| run.state.times().map(|times| times.paused_ms);
            prop_assert_eq!(paused(&resumed), paused(&run).map(|ms| ms + 1_500));
        }
        let awaiting = run.awaiting(node.clone(), now);
        prop_assert_eq!(awaiting.is_some(), matches!(run.status(), RunStatus::Running | RunStatus::WaitingForInput));
        if let Some(awaiting) = awaiting {
            prop_assert!(keeps(&run, &awaiting));
            prop_assert_eq!(awaiting.status(), RunStatus::WaitingForInput);
            let others_wait = awaiting.state.waiting_nodes().len() > 1;
            let answered = awaiting.answered(&node, now).expect("it waits");
            prop_assert!(answered.state.answered_nodes().contains(&node));
            prop_assert!(!answered.state.waiting_nodes().contains(&node));
            match step(awaiting.status(), None, RunEvent::InputGiven { others_wait }) {
                Decision::Move(next) => prop_assert_eq!(answered.status(), next.to),
                Decision::Stay => prop_assert_eq!(answered.status(), awaiting.status()),
                decision @ (Decision::Ignore | Decision::Illegal) => prop_assert!(false, "{:?}", decision),
            }
            prop_assert_eq!(answered.answered(&node, now), None, "an answer is given once");
        }
    }
}
