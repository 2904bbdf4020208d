use crate::world::{World, command, with_callback};
use jiff::SignedDuration;
use serde_json::Value;
use sluice_core::flow::control_run::{answer_node, pause_run, resume_run};
use sluice_core::flow::create_run::Command;
use sluice_core::flow::manage_definitions::{DefinitionChange, change_definition};
use sluice_core::flow::reconcile_runs::{EVENT_GRACE, START_GRACE, START_PATIENCE, SweepSummary, VANISH_PATIENCE};
use sluice_core::id::DefinitionRef;
use sluice_core::lifecycle::{EngineEnd, RunStatus, TerminationReason};
use sluice_core::ports::{Clock, StoreErrorClass};
use sluice_core::run::Run;
use sluice_testkit::fault::Fault;
use sluice_testkit::{block_on, fixture};

#[test]
fn a_run_that_was_never_started_is_started() {
    let world = World::new();
    world.engine.faults.once("start the execution", Fault::Before(StoreErrorClass::Throttled));
    let run = world.pending(1);
    assert_eq!(world.reconcile().started, 0, "its creator may still be at it");
    world.clock.advance(30);
    assert_eq!(world.reconcile().started, 1);
    assert!(world.engine.claim(&world.store, &run.execution_arn(), world.clock.now()));
    assert_eq!(world.run(run.run_id).status(), RunStatus::Running);
}

#[test]
fn starting_again_repeats_the_same_input() {
    let world = World::new();
    let run = world.pending(1);
    world.clock.advance(30);
    assert_eq!(world.reconcile().started, 1);
    assert_eq!(world.engine.starts(), 1, "the engine knew it by its name and input");
    assert_eq!(world.run(run.run_id).status(), RunStatus::Pending);
}

#[test]
fn an_hour_without_a_start_ends_the_run() {
    let world = World::new();
    world
        .engine
        .faults
        .set(|operation| (operation == "start the execution").then_some(Fault::Before(StoreErrorClass::Unavailable)));
    let run = world.pending(1);
    world.clock.advance(3_500);
    world.reconcile();
    assert_eq!(world.run(run.run_id).status(), RunStatus::Pending);
    world.clock.advance(200);
    assert_eq!(world.reconcile().settled, 1);
    let run = world.run(run.run_id);
    assert_eq!(
        (run.status(), run.state.ended().map(|ended| ended.reason)),
        (RunStatus::Failed, Some(TerminationReason::StartFailed))
    );
    assert_eq!(world.engine.take_announced().len(), 2);
}

#[test]
fn a_lost_terminal_event_is_found_and_its_webhook_goes_out() {
    for (end, status) in [
        (EngineEnd::Succeeded, RunStatus::Succeeded),
        (EngineEnd::Failed, RunStatus::Failed),
        (EngineEnd::TimedOut, RunStatus::Failed),
        (EngineEnd::Aborted, RunStatus::Canceled),
    ] {
        let world = World::new();
        let run = world.running(1);
        world.engine.end(&run.execution_arn(), end, Some("{}"), world.clock.now());
        world.clock.advance(60);
        let summary = world.reconcile();
        assert_eq!((summary.settled, summary.described), (1, 1));
        assert_eq!(world.run(run.run_id).status(), status);
        assert_eq!(world.engine.take_announced().len(), 2);
    }
}

#[test]
fn only_the_difference_is_described() {
    let world = World::new();
    let runs: Vec<_> = (1..=40).map(|id| world.running(id)).collect();
    world.engine.end(&runs[7].execution_arn(), EngineEnd::Succeeded, None, world.clock.now());
    world.clock.advance(60);
    let summary = world.reconcile();
    assert_eq!((summary.open, summary.described, summary.settled), (40, 1, 1));
}

#[test]
fn a_run_past_its_duration_is_stopped_and_ends_timed_out() {
    let world = World::new();
    let run = world
        .create(Command { max_run_duration_seconds: Some(90), ..with_callback(command()) }, 1)
        .expect("accepted")
        .run;
    world.clock.advance(10);
    assert!(world.engine.claim(&world.store, &run.execution_arn(), world.clock.now()));
    world.clock.advance(89);
    assert_eq!(world.reconcile().timed_out, 0);
    world.clock.advance(1);
    assert_eq!(world.reconcile().timed_out, 1);
    assert_eq!(world.run(run.run_id).status(), RunStatus::Canceling);
    world.clock.advance(60);
    world.reconcile();
    let run = world.run(run.run_id);
    assert_eq!(
        (run.status(), run.state.ended().map(|ended| ended.reason)),
        (RunStatus::Failed, Some(TerminationReason::TimedOut))
    );
}

#[test]
fn an_execution_the_engine_no_longer_knows_ends_its_run() {
    let world = World::new();
    let run = world.running(1);
    world.engine.forget(&run.execution_arn());
    world.clock.advance(60);
    assert_eq!(world.reconcile().settled, 0, "the engine's answers lag");
    world.clock.advance(600);
    assert_eq!(world.reconcile().settled, 1);
    assert_eq!(world.run(run.run_id).state.ended().map(|ended| ended.reason), Some(TerminationReason::StaleRunReaper));
}

#[test]
fn an_execution_that_ended_before_it_could_claim_its_run_is_settled() {
    let world = World::new();
    let run = world.pending(1);
    world.engine.end(&run.execution_arn(), EngineEnd::Aborted, None, world.clock.now());
    world.clock.advance(61);
    assert_eq!(world.reconcile().settled, 1);
    assert_eq!(world.run(run.run_id).state.ended().map(|ended| ended.reason), Some(TerminationReason::AbortedInEngine));
}

#[test]
fn one_runs_trouble_does_not_keep_the_sweep_from_the_others() {
    let world = World::new();
    let runs: Vec<_> = (1..=3).map(|id| world.running(id)).collect();
    for run in &runs {
        world.engine.end(&run.execution_arn(), EngineEnd::Succeeded, None, world.clock.now());
    }
    world.clock.advance(60);
    world.engine.faults.once("describe the execution", Fault::Before(StoreErrorClass::Throttled));
    let summary = world.reconcile();
    assert_eq!((summary.settled, summary.faults.len()), (2, 1));
    assert_eq!(world.reconcile().settled, 1);
}

/// What somebody does to a run after the index of open runs has shown it for the last time.
type Meanwhile = fn(&World, &Run);

fn pause(world: &World, run: &Run) {
    block_on(pause_run(&world.store, &world.engine, &world.caller, run.run_id, world.clock.now())).expect("asked");
    let now = world.clock.now();
    assert!(world.store.update_run(&run.tenant_id, run.run_id, |run| run.parked("a-task-token", now)));
    world.engine.wait_for(&run.execution_arn(), "a-task-token");
}

/// What is so, how long the run may take, what was done how long after its start, whether the engine forgets it then, how long
/// after that the sweep comes, and how the run is then.
type Reason = (&'static str, Option<u64>, Meanwhile, i64, bool, i64, RunStatus);

#[test]
fn a_reason_that_only_an_old_copy_of_a_run_gives_does_nothing_to_the_run_as_it_is() {
    let paused_and_resumed: Meanwhile = |world, run| {
        pause(world, run);
        world.clock.advance(50);
        block_on(resume_run(&world.store, &world.engine, &world.caller, run.run_id, world.clock.now()))
            .expect("resumed");
    };
    let asked: Meanwhile = |world, run| {
        block_on(pause_run(&world.store, &world.engine, &world.caller, run.run_id, world.clock.now())).expect("asked");
    };
    let nothing: Meanwhile = |_, _| {};
    let cases: [Reason; 6] = [
        ("time is up", Some(90), nothing, 0, false, 95, RunStatus::Canceling),
        ("paused in time", Some(90), pause, 60, false, 35, RunStatus::Paused),
        ("paused in time and gone on", Some(90), paused_and_resumed, 30, false, 15, RunStatus::Running),
        ("paused too late", Some(90), pause, 91, false, 4, RunStatus::Paused),
        ("silent, and unknown to the engine", None, nothing, 0, true, 700, RunStatus::Failed),
        ("heard of just now", None, asked, 680, true, 20, RunStatus::Running),
    ];
    for (what, seconds, meanwhile, after, is_forgotten, wait, expected) in cases {
        let world = World::new();
        let said = DefinitionChange { exclude_paused_time: Some(true), ..DefinitionChange::default() };
        let definition = DefinitionRef::Id(fixture::definition_id(7));
        block_on(change_definition(&world.store, &world.caller, &definition, said, world.clock.now()))
            .expect("changed");
        let command = Command { max_run_duration_seconds: seconds, ..with_callback(command()) };
        let run = world.create(command, 1).expect("accepted").run;
        assert!(world.engine.claim(&world.store, &run.execution_arn(), world.clock.now()));
        world.reconcile(); // the index shows the run so, and no more than that from now on
        world.store.faults.set(|called| {
            (called == "keep the open index up to date").then_some(Fault::Before(StoreErrorClass::Unavailable))
        });
        world.clock.advance(after);
        meanwhile(&world, &world.run(run.run_id));
        if is_forgotten {
            world.engine.forget(&run.execution_arn());
        }
        world.clock.advance(wait);
        let summary = world.reconcile();
        let after = world.run(run.run_id);
        assert_eq!((after.status(), summary.faults.as_slice()), (expected, [].as_slice()), "{what}");
        let is_stopped = u32::from(expected == RunStatus::Canceling);
        assert_eq!(
            (summary.timed_out, summary.settled),
            (is_stopped, u32::from(expected == RunStatus::Failed)),
            "{what}"
        );
    }
}

#[test]
fn what_only_an_old_copy_of_a_run_owes_its_runner_is_not_handed_over_again() {
    let resume: Meanwhile = |world, run| {
        pause(world, run);
        block_on(resume_run(&world.store, &world.engine, &world.caller, run.run_id, world.clock.now()))
            .expect("resumed");
    };
    let answer: Meanwhile = |world, run| {
        let (node, now) = ("frequencies".parse().expect("a node"), world.clock.now());
        assert!(world.store.update_run(&run.tenant_id, run.run_id, |run| run.awaiting("frequencies", now)));
        world.store.begin_wait(&run.tenant_id, run.run_id, &node, "a-task-token");
        world.engine.wait_for(&run.execution_arn(), "a-task-token");
        let given = "1".to_owned();
        block_on(answer_node(&world.store, &world.engine, &world.caller, run.run_id, &node, given, now))
            .expect("taken");
    };
    for owe in [resume, answer] {
        let world = World::new();
        let run = world.running(1);
        let fault = Fault::Before(StoreErrorClass::Unavailable);
        world.engine.faults.set(move |called| (called == "answer the task").then_some(fault));
        owe(&world, &run);
        let summary = world.reconcile(); // the index shows the run so, and no more than that from now on
        assert_eq!((summary.handed_over, summary.faults.len()), (0, 1), "{summary:?}");
        world.store.faults.set(move |called| (called == "keep the open index up to date").then_some(fault));
        world.engine.faults.clear();
        assert_eq!(world.reconcile().handed_over, 1);
        assert!(world.engine.take_answer("a-task-token").is_some());
        let after = world.run(run.run_id);
        let summary = world.reconcile();
        assert_eq!((summary.handed_over, summary.faults.as_slice()), (0, [].as_slice()));
        assert_eq!(world.run(run.run_id), after);
    }
}

/// Makes a run with something that a sweep has to mend, once so much time has passed.
type Trouble = fn(&World);

fn unavailable(world: &World, call: &'static str) {
    let fault = Fault::Before(StoreErrorClass::Unavailable);
    world.engine.faults.set(move |called| (called == call).then_some(fault));
}

#[test]
fn a_sweep_waits_as_long_as_it_says_and_no_longer() {
    type Count = fn(&SweepSummary) -> u32;
    let lost: Trouble = |world| {
        let run = world.running(1);
        world.engine.end(&run.execution_arn(), EngineEnd::Succeeded, Some("{}"), world.clock.now());
    };
    let forgotten: Trouble = |world| world.engine.forget(&world.running(1).execution_arn());
    let unstarted: Trouble = |world| world.engine.forget(&world.pending(1).execution_arn());
    let unclaimed: Trouble = |world| drop(world.pending(1));
    let unanswered: Trouble = |world| {
        unavailable(world, "start the execution");
        world.pending(1);
    };
    let settled = |summary: &SweepSummary| summary.settled;
    let starts_asked = |summary: &SweepSummary| summary.starts_asked;
    let described = |summary: &SweepSummary| summary.described;
    let cases: [(&str, Trouble, SignedDuration, Count); 5] = [
        ("a lost end", lost, EVENT_GRACE, settled),
        ("an execution that is unknown", forgotten, VANISH_PATIENCE, settled),
        ("a lost start", unstarted, START_GRACE, starts_asked),
        ("a start that is not claimed", unclaimed, START_GRACE * 3, described),
        ("a start without an answer", unanswered, START_PATIENCE, settled),
    ];
    for (what, trouble, patience, done) in cases {
        for (early_by, expected) in [(1, 0), (0, 1), (-1, 1)] {
            let world = World::new();
            trouble(&world);
            world.clock.pass(patience - SignedDuration::from_millis(early_by));
            let summary = world.reconcile();
            assert_eq!(done(&summary), expected, "{what}, {early_by} ms early: {summary:?}");
        }
    }
}

#[test]
fn a_sweep_says_what_it_did_and_nothing_else() {
    let nothing: Trouble = |_| {};
    let well: Trouble = |world| drop(world.running(1));
    let lost: Trouble = |world| {
        let run = world.running(1);
        world.engine.end(&run.execution_arn(), EngineEnd::Failed, None, world.clock.now());
    };
    let unstarted: Trouble = |world| world.engine.forget(&world.pending(1).execution_arn());
    let refused: Trouble = |world| {
        world.engine.forget(&world.pending(1).execution_arn());
        world.engine.refuse_starts(Some("AccessDenied"));
    };
    let late: Trouble = |world| {
        let command = Command { max_run_duration_seconds: Some(10), ..command() };
        let run = world.create(command, 1).expect("accepted").run;
        assert!(world.engine.claim(&world.store, &run.execution_arn(), world.clock.now()));
    };
    let stopping: Trouble = |world| {
        let run = world.running(1);
        world.engine.faults.once("stop the execution", Fault::Before(StoreErrorClass::Unavailable));
        world.cancel(run.run_id).expect("taken");
    };
    let owed: Trouble = |world| {
        let run = world.running(1);
        world.end(&run, EngineEnd::Succeeded, Some("{}")).expect("settled");
        drop(world.engine.take_announced());
    };
    let none = SweepSummary::default;
    for (what, trouble, expected) in [
        ("nothing", nothing, none()),
        ("a run that is well", well, SweepSummary { open: 1, listed: 1, ..none() }),
        (
            "a lost end",
            lost,
            SweepSummary { open: 1, listed: 1, described: 1, settled: 1, ended: vec![RunStatus::Failed], ..none() },
        ),
        // It may have been started, and have ended before it could claim its run.
        ("a lost start", unstarted, SweepSummary { open: 1, starts_asked: 1, started: 1, described: 1, ..none() }),
        (
            "a start that is refused",
            refused,
            SweepSummary { open: 1, starts_asked: 1, settled: 1, ended: vec![RunStatus::Failed], ..none() },
        ),
        ("a run whose time is up", late, SweepSummary { open: 1, timed_out: 1, ..none() }),
        (
            "a stop that was not heard",
            stopping,
            SweepSummary {
                open: 1,
                listed: 1,
                stops_asked: 1,
                described: 1,
                settled: 1,
                ended: vec![RunStatus::Canceled],
                ..none()
            },
        ),
        ("deliveries that are due", owed, SweepSummary { announced: 2, ..none() }),
    ] {
        let world = World::new();
        trouble(&world);
        world.clock.advance(60);
        assert_eq!(world.reconcile(), expected, "{what}");
    }
}

#[test]
fn a_run_that_no_execution_ended_says_why_it_ended() {
    let forgotten: Trouble = |world| {
        world.engine.forget(&world.running(1).execution_arn());
        world.clock.pass(VANISH_PATIENCE);
        world.reconcile();
    };
    let refused_at_once: Trouble = |world| {
        world.engine.refuse_starts(Some("AccessDenied"));
        world.pending(1);
    };
    let refused_later: Trouble = |world| {
        world.engine.forget(&world.pending(1).execution_arn());
        world.engine.refuse_starts(Some("AccessDenied"));
        world.clock.pass(START_GRACE);
        world.reconcile();
    };
    let unanswered: Trouble = |world| {
        unavailable(world, "start the execution");
        world.pending(1);
        world.clock.pass(START_PATIENCE);
        world.reconcile();
    };
    for (trouble, code) in [
        (forgotten, "Sluice.ExecutionVanished"),
        (refused_at_once, "AccessDenied"),
        (refused_later, "AccessDenied"),
        (unanswered, "Sluice.StartTimedOut"),
    ] {
        let world = World::new();
        trouble(&world);
        let run = world.run(fixture::run_id(1));
        let ended = run.state.ended().unwrap_or_else(|| panic!("{code}: {run:?}"));
        assert_eq!(ended.error.as_ref().map(|error| error.code.as_str()), Some(code));
        for (delivery, _) in world.store.deliveries() {
            let body: Value = serde_json::from_str(&delivery.body).expect("JSON");
            assert_eq!(body["error"]["code"], code, "{}", delivery.body);
        }
    }
}
