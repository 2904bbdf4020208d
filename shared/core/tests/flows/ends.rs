//! What an end reads and writes: what it tells and nothing more, for each read is a round trip.

use crate::exact;
use crate::usage::call;
use crate::world::{World, command, with_callback};
use sluice_core::flow::control_run::pause_run;
use sluice_core::flow::create_run::Command;
use sluice_core::flow::record_usage::record_usage;
use sluice_core::flow::transition_run::{AT_THE_END, Transition, settle, transition};
use sluice_core::lifecycle::{EngineEnd, RunEvent, RunStatus, StopIntent, TerminationReason};
use sluice_core::ports::{Clock, LoadRun};
use sluice_core::run::{EndDetails, Run, RunError};
use sluice_testkit::block_on;
use std::sync::{Arc, Mutex};

const BESIDE: &str = "load the run and what lies beside it";
const CHANGE: &str = "change the run";
const CALLS: &str = "list the run's calls";

/// What the store is asked while this goes on.
fn asked<T>(world: &World, acts: impl Future<Output = T>) -> (T, Vec<&'static str>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    world.store.faults.set(move |called| {
        noted.lock().expect("no panic").push(called);
        None
    });
    let answer = block_on(acts);
    world.store.faults.clear();
    let asked = asked.lock().expect("no panic").clone();
    (answer, asked)
}

impl World {
    fn asked_at(&self, run: Run, event: RunEvent, output: Option<&str>) -> (Option<Transition>, Vec<&'static str>) {
        let end = EndDetails { output: output.map(str::to_owned), ..EndDetails::default() };
        let now = self.clock.now();
        let (answer, asked) = asked(self, transition(&self.store, run, event, &end, now));
        (answer.expect("an answer"), asked)
    }

    fn claimed(&self, command: Command, id: u128) -> Run {
        let run = self.create(command, id).expect("accepted").run;
        assert!(self.engine.claim(&self.store, &run.execution_arn(), self.clock.now()));
        self.run(run.run_id)
    }

    fn uses(&self, run: &Run) {
        let calls = vec![call("a", 5)];
        let recorded = record_usage(&self.store, &self.engine, &self.caller, run.run_id, calls, self.clock.now());
        block_on(recorded).expect("recorded");
    }
}

#[test]
fn an_end_reads_what_it_tells_and_nothing_more() {
    let succeeded = RunEvent::EngineEnded(EngineEnd::Succeeded);
    let stop = RunEvent::StopAsked(StopIntent::CanceledByCaller);
    // Whether it has a webhook, was claimed and has used something; what happens; and what the store is asked.
    let cases: [(bool, bool, bool, RunEvent, &[&str]); 9] = [
        (false, true, false, succeeded, &[BESIDE, CHANGE]),
        (true, true, false, succeeded, &[BESIDE, CHANGE]),
        (false, true, true, succeeded, &[BESIDE, CALLS, CHANGE]),
        (true, true, true, succeeded, &[BESIDE, CALLS, CHANGE]),
        // It is stopped first, and ends later.
        (false, true, false, stop, &[CHANGE]),
        (true, true, true, stop, &[CHANGE]),
        // What never started has used nothing; where it calls back is read.
        (false, false, false, stop, &[CHANGE]),
        (true, false, false, stop, &[BESIDE, CHANGE]),
        (false, false, false, RunEvent::EngineEnded(EngineEnd::Aborted), &[CHANGE]),
    ];
    for (has_webhook, is_claimed, has_used, event, expected) in cases {
        let world = World::new();
        let command = if has_webhook { with_callback(command()) } else { command() };
        let run = match is_claimed {
            true => world.claimed(command, 1),
            false => world.create(command, 1).expect("accepted").run,
        };
        if has_used {
            world.uses(&run);
        }
        let output = (event == succeeded).then_some(r#"{"results":{"store":1}}"#);
        let (transition, asked) = world.asked_at(world.run(run.run_id), event, output);
        let case = format!("webhook {has_webhook}, claimed {is_claimed}, used {has_used}: {event:?}");
        assert_eq!(asked, expected, "{case}");
        let transition = transition.expect("it takes effect");
        let ends = transition.after.status().is_terminal();
        assert_eq!(transition.owed.len(), usize::from(ends) + usize::from(ends && has_webhook), "{case}");
        let counted = format!(r#""usage":{{"calls":{}"#, u32::from(has_used));
        let deliveries = world.store.deliveries();
        assert!(deliveries.iter().all(|(delivery, _)| delivery.body.contains(&counted)), "{case}: {deliveries:?}");
        // Told again of an end that is recorded, nobody reads anything.
        if ends {
            let (again, asked) = world.asked_at(world.run(run.run_id), succeeded, output);
            assert_eq!((again, asked), (None, Vec::new()), "{case}");
        }
    }
}

#[test]
fn what_callers_wrote_is_read_for_an_output_that_shows_it_and_for_no_other_end() {
    let written = r#"{"results":{"approval":1,"given":1}}"#;
    for (event, output, expected) in [
        (EngineEnd::Succeeded, Some(written), &["load the results", "load the snapshot"][..]),
        (EngineEnd::Succeeded, Some(r#"{"results":{"work":1}}"#), &[]),
        (EngineEnd::Failed, None, &[]),
        (EngineEnd::Failed, Some(written), &[]),
    ] {
        let world = World::new();
        // One that was recorded before the ends of runs had something of their own.
        let run = exact::run(&world);
        let (ended, mut asked) = world.asked_at(run, RunEvent::EngineEnded(event), output);
        assert!(ended.is_some_and(|ended| ended.after.status().is_terminal()));
        asked.retain(|called| *called != BESIDE && *called != CHANGE);
        assert_eq!(asked, [&["load the snapshot"], expected].concat(), "{event:?} {output:?}");
    }
}

#[test]
fn an_end_that_finds_its_run_changed_is_written_once_on_the_run_as_it_is() {
    let world = World::new();
    let read = world.running(1);
    let now = world.clock.now();
    block_on(pause_run(&world.store, &world.engine, &world.caller, read.run_id, now)).expect("asked");
    let current = world.run(read.run_id);
    assert_ne!(read.rev, current.rev);
    let (ended, asked) = world.asked_at(read, RunEvent::EngineEnded(EngineEnd::Succeeded), Some("{}"));
    assert_eq!((ended.expect("it ends").before, asked), (current, vec![BESIDE, CHANGE]));
}

#[test]
fn who_settles_an_end_that_is_recorded_already_reads_no_calls() {
    let world = World::new();
    let run = world.running(1);
    world.uses(&run);
    world.end(&run, EngineEnd::Succeeded, Some("{}")).expect("settled");
    let (event, end, now) = (RunEvent::EngineEnded(EngineEnd::Succeeded), EndDetails::default(), world.clock.now());
    let again = async {
        let loaded = world.store.load_with(&run.tenant_id, run.run_id, AT_THE_END).await?.expect("it is there");
        settle(&world.store, loaded, event, &end, |_| true, now).await
    };
    let (again, asked) = asked(&world, again);
    assert_eq!((again.expect("an answer"), asked), (None, vec![BESIDE]));
}

#[test]
fn a_run_that_no_execution_claimed_has_not_failed_of_a_loop() {
    for (is_claimed, reason) in [(true, TerminationReason::LoopingRisk), (false, TerminationReason::ExecutionError)] {
        let world = World::new();
        let run = if is_claimed { world.running(1) } else { world.pending(1) };
        let error = Some(RunError::new("Sluice.LoopingRisk", "it has no end", 512));
        let end = EndDetails { error, ..EndDetails::default() };
        let settled = world.settle(&run, EngineEnd::Failed, &end).expect("it ends");
        assert_eq!(settled.after.status(), RunStatus::Failed);
        assert_eq!(settled.after.state.ended().map(|ended| ended.reason), Some(reason));
    }
}
