//! What a change of a run's board writes: how much at once, of what, and from when on a wait counts.

use crate::course::{plain, started_at};
use crate::crew::{Crew, echo, world_of};
use crate::workers::{answered, external, fails, with};
use jiff::SignedDuration;
use serde_json::{Value, json};
use sluice_core::flow::advance_run::{Asked, advance_run, wake_run};
use sluice_core::flow::control_run::pause_run;
use sluice_core::flow::read_runs::get_step_part;
use sluice_core::flow::report_run::NodeReport;
use sluice_core::lifecycle::RunStatus;
use sluice_core::limits::{INLINE_RESULT_BYTES, TOLD_BYTES};
use sluice_core::ports::{Clock, StepPart, StoreErrorClass};
use sluice_core::report::NodeOutcome;
use sluice_core::run::RunError;
use sluice_testkit::block_on;
use sluice_testkit::fault::Fault;
use sluice_testkit::store::MemoryStore;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// How many steps are recorded.
fn steps(store: &MemoryStore) -> usize {
    let mut steps = 0;
    store.each_step(|_, _| steps += 1);
    steps
}

/// How many nodes stand so.
fn count(crew: &Crew<'_>, status: &str) -> usize {
    crew.statuses().values().filter(|one| **one == status).count()
}

/// Many that fail as soon as they are looked at, with a run that goes on, and many that wait for somebody outside.
fn crowd(failing: usize, waiting: usize) -> Vec<Value> {
    let fan = |index| {
        let node = with(plain(&format!("each{index}")), "forEach", json!({"items": "/input", "maxItems": 1}));
        with(node, "onFailure", json!("continue"))
    };
    let persons = (0..waiting).map(|index| external(&format!("person{index}")));
    (0..failing).map(fan).chain(persons).collect()
}

#[test]
fn whatever_begins_or_ends_at_once_is_all_written_and_each_write_has_room_in_a_transaction() {
    let world = world_of(json!(crowd(120, 100)), &[]);
    let mut crew = Crew::plain(&world, 1);
    let (seen, store) = (Arc::new(Mutex::new(Vec::new())), world.store.clone());
    let noted = Arc::clone(&seen);
    world.store.faults.set(move |called| {
        if called == "write the board" {
            noted.lock().expect("no panic").push(steps(&store));
        }
        None
    });
    crew.go(&echo);
    crew.mend();
    assert_eq!((count(&crew, "FAILED"), count(&crew, "WAITING")), (120, 100));
    let mut seen = seen.lock().expect("no panic").clone();
    seen.push(steps(&world.store));
    let most = seen.windows(2).map(|pair| pair[1] - pair[0]).max();
    // Beside its steps a change has the board, the head, and who asks.
    assert!(most.is_some_and(|most| most <= 90), "{seen:?}");
}

#[test]
fn what_a_crash_left_of_a_large_change_is_done_by_the_next_sweep() {
    let world = world_of(json!(crowd(0, 60)), &[]);
    let run = world.create(started_at(None), 1).expect("accepted").run;
    let (arn, now) = (run.execution_arn(), world.clock.now());
    assert!(world.engine.claim(&world.store, &arn, now));
    let mut writes = 0;
    world.store.faults.set(move |called| {
        writes += u32::from(called == "write the board");
        (writes > 1).then_some(Fault::Before(StoreErrorClass::Unavailable))
    });
    let (tenant_id, token) = (world.caller.tenant.clone(), "a-token".to_owned());
    let asked = Asked { tenant_id, run_id: run.run_id, worker: 0, turn: 1, token, ended: None };
    block_on(advance_run(&world.store, &world.engine, asked, now)).expect_err("it crashes after its first write");
    world.store.faults.clear();
    let waiting = || world.run(run.run_id).state.waiting_nodes().len();
    assert!(waiting() < 60, "as many as have room in one change");
    world.clock.advance(60);
    assert_eq!((world.reconcile().woken, waiting()), (1, 60));
}

/// Something that happens to a run.
type Happens = fn(&Crew<'_>);

#[test]
fn a_wait_runs_on_whatever_happens_beside_it_and_another_attempt_or_iteration_is_another_wait() {
    let person = || with(external("person"), "expiresAfterSeconds", json!(600));
    let retry = json!({"maxAttempts": 3, "intervalSeconds": 1, "backoffRate": 1});
    let until = json!({"until": {"pointer": "/results/person/done", "exists": true}, "maxIterations": 3});
    let beside: Happens = |crew| answered(crew, "other", "1");
    let again: Happens = |crew| answered(crew, "person", "{}");
    let fails: Happens = |crew| {
        let (world, run) = (crew.world, crew.run());
        let error = RunError { code: "Gpu.Lost".to_owned(), message: "gone".to_owned() };
        let report = NodeReport { outcome: Some(NodeOutcome::Failure(error)), ..NodeReport::default() };
        world.report(&world.token(&run, Some("person")), &run, "person", report).expect("taken");
    };
    // What happens after 500 seconds, and when the wait is over.
    let cases: [(Value, Happens, i64); 3] = [
        (person(), beside, 600),
        (with(person(), "retry", retry), fails, 1_100),
        (with(person(), "loop", until), again, 1_100),
    ];
    for (person, happens, over_after) in cases {
        for (after, status) in [(over_after - 1, "WAITING"), (over_after, "FAILED")] {
            let world = world_of(json!([person.clone(), external("other"), plain("b")]), &[("other", "b")]);
            let mut crew = Crew::plain(&world, 1);
            crew.go(&echo);
            let began = world.clock.now();
            world.clock.advance(500);
            happens(&crew);
            assert_eq!(crew.statuses()["person"], "WAITING", "{person}");
            let now = began + SignedDuration::from_secs(after);
            block_on(wake_run(&world.store, &world.engine, &world.caller.tenant, crew.run_id, now)).expect("looked at");
            assert_eq!(crew.statuses()["person"], status, "{person} after {after}");
        }
    }
}

#[test]
fn an_item_that_cannot_be_put_into_words_fails_for_good_and_keeps_nobody_waiting() {
    for on_failure in ["fail", "continue"] {
        let fan = json!({"items": "/results/list", "maxConcurrency": 1, "maxItems": 3});
        let retry = json!({"maxAttempts": 3, "intervalSeconds": 1, "backoffRate": 1});
        let each = with(with(with(plain("each"), "forEach", fan), "onFailure", json!(on_failure)), "retry", retry);
        let world = world_of(json!([plain("list"), each, plain("then")]), &[("list", "each"), ("each", "then")]);
        let mut crew = Crew::plain(&world, 1);
        let list = json!(["x".repeat(TOLD_BYTES - 100), 1, 2]);
        let processor = |request: &Value| match request["nodeId"] == "list" {
            true => Ok(list.clone()),
            false => echo(request),
        };
        if on_failure == "fail" {
            assert_eq!(crew.failure(&processor), "Sluice.RequestTooLarge");
            let error = crew.step_of("each").error.expect("an error");
            let said = format!("item 0: what node each is handed is longer than {TOLD_BYTES} bytes");
            assert_eq!((error.code.as_str(), error.message), ("Sluice.RequestTooLarge", said));
            assert_eq!(crew.attempts(), BTreeMap::from([("list", 1)]));
        } else {
            crew.results(&processor);
            let given = crew.request("then")["inputs"]["each"].as_array().expect("a list").clone();
            assert_eq!(given.iter().map(Value::is_null).collect::<Vec<_>>(), [true, false, false]);
            let fan = crew.step_of("each").fan.expect("a fan-out");
            assert_eq!((fan.done, fan.failed), (2, 1));
        }
    }
}

#[test]
fn the_head_of_a_run_is_written_once_where_it_changes_and_else_not() {
    let world = world_of(json!([plain("a"), external("person"), plain("b")]), &[("a", "person"), ("person", "b")]);
    let mut crew = Crew::plain(&world, 1);
    let claimed = crew.run().rev;
    while crew.begun.is_empty() {
        assert!(crew.step(&echo));
    }
    assert_eq!(crew.run().rev, claimed, "that a node is at work is not seen on the run");
    crew.go(&echo);
    assert_eq!((crew.run().status(), crew.run().rev), (RunStatus::WaitingForInput, claimed + 1));
    answered(&crew, "person", "1");
    assert_eq!((crew.run().status(), crew.run().rev), (RunStatus::Running, claimed + 2));
    // Asked for and taken in one change, because nobody is at work.
    let world = world_of(json!([plain("a")]), &[]);
    let crew = Crew::plain(&world, 1);
    let pause = || block_on(pause_run(&world.store, &world.engine, &world.caller, crew.run_id, world.clock.now()));
    let paused = pause().expect("taken").run;
    assert_eq!((paused.status(), paused.rev), (RunStatus::Paused, claimed + 1));
    assert_eq!(crew.run(), paused);
    let writes = world.store.writes();
    assert_eq!(pause().expect("as it is").run, paused);
    assert_eq!(world.store.writes(), writes, "nothing is new");
}

#[test]
fn a_fan_out_that_anothers_failure_ended_shows_what_came_of_all_its_items() {
    let mut ended_later = 0;
    for seed in 0..20 {
        let fan = json!({"items": [1, 2, 3, 4, 5, 6, 7, 8, 9], "maxConcurrency": 3});
        let world = world_of(json!([with(plain("each"), "forEach", fan), plain("bad")]), &[]);
        let mut crew = Crew::of(&world, 1, started_at(None), seed);
        assert_eq!(crew.failure(&fails(&["bad"])), "Broken");
        let begun = crew.attempts().get("each").copied().unwrap_or(0) as u32;
        let step = crew.step_of("each");
        if let Some(fan) = step.fan.filter(|fan| fan.begun < fan.total && begun > 0) {
            assert_eq!(
                (step.status.as_str(), fan.begun, fan.done, fan.failed),
                ("CANCELED", begun, begun, 0),
                "{seed}"
            );
        }
        ended_later += u32::from(crew.ended.last().is_some_and(|last| last.node == "each") && begun < 9);
    }
    assert!(ended_later > 0, "some were at work when the other failed");
}

#[test]
fn large_results_of_items_come_by_reference_and_the_others_as_they_are() {
    let world = world_of(json!([with(plain("each"), "forEach", json!({"items": [0, 1, 2]}))]), &[]);
    let mut crew = Crew::plain(&world, 1);
    // With its quotes, a text is as long as a result may be that is shown whole; and one byte longer.
    let text = |item: u64| "x".repeat(INLINE_RESULT_BYTES - 2 + item as usize);
    crew.results(&|request| {
        Ok(match request["item"].as_u64().expect("an item") {
            item @ (0 | 1) => json!(text(item)),
            item => json!(item),
        })
    });
    let result: Value = serde_json::from_str(&crew.step_of("each").result.expect("a result")).expect("JSON");
    let href = format!("/v1/workflow-runs/{}/steps/each/items/1", crew.run_id);
    let reference = json!({
        "runId": crew.run_id, "nodeId": "each", "itemIndex": 1, "href": href, "bytes": INLINE_RESULT_BYTES + 1,
    });
    assert_eq!(result, json!([text(0), {"resultRef": reference}, 2]));
    let node = "each".parse().expect("a node");
    let part = get_step_part(&world.store, &world.caller, crew.run_id, &node, StepPart::Item(1), world.clock.now());
    assert_eq!(block_on(part).expect("it has ended"), NodeOutcome::Result(json!(text(1)).to_string()));
}

#[test]
fn an_attempt_that_is_followed_by_another_is_not_what_came_of_its_item() {
    let retry = json!({"maxAttempts": 2, "intervalSeconds": 1, "backoffRate": 1});
    let each = with(with(plain("each"), "forEach", json!({"items": [0]})), "retry", retry);
    let world = world_of(json!([each]), &[]);
    let mut crew = Crew::plain(&world, 1);
    let processor = |request: &Value| if request["attempt"] == 2 { echo(request) } else { Err("Broken") };
    let item = |crew: &Crew<'_>| {
        let (node, now) = ("each".parse().expect("a node"), world.clock.now());
        block_on(get_step_part(&world.store, &world.caller, crew.run_id, &node, StepPart::Item(0), now))
    };
    while crew.begun.len() < 2 {
        assert!(crew.step(&processor));
        assert!(item(&crew).is_err(), "it has not ended");
    }
    crew.results(&processor);
    assert!(matches!(item(&crew), Ok(NodeOutcome::Result(_))));
}
