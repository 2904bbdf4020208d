//! Runs of the second generation from their first question to their end.

use crate::course::{plain, started_at};
use crate::crew::{Crew, Seed, echo, world_of, world_with};
use crate::world::World;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sluice_core::flow::advance_run::{AGAIN, Asked, advance_run, wake_run};
use sluice_core::flow::control_run::{answer_node, pause_run, resume_run};
use sluice_core::flow::read_runs::get_step_part;
use sluice_core::lifecycle::{RunStatus, TerminationReason};
use sluice_core::ports::{Boards, Clock, ReadRuns, RecordReports, SHARDS, StepPart};
use sluice_core::report::{NodeOutcome, Progress};
use sluice_testkit::block_on;
use std::collections::{BTreeMap, BTreeSet};

pub fn with(mut node: Value, field: &str, value: Value) -> Value {
    node[field] = value;
    node
}

pub fn external(id: &str) -> Value {
    json!({"id": id, "type": "external"})
}

pub fn fails(nodes: &'static [&'static str]) -> impl Fn(&Value) -> Result<Value, &'static str> {
    move |request| match request["nodeId"].as_str() {
        Some(node) if nodes.contains(&node) => Err("Broken"),
        Some(_) | None => echo(request),
    }
}

fn reason(crew: &Crew<'_>) -> TerminationReason {
    crew.run().state.ended().expect("it has ended").reason
}

pub fn answered(crew: &Crew<'_>, node: &str, value: &str) {
    let (world, node) = (crew.world, node.parse().expect("a node"));
    let now = world.clock.now();
    let answer = answer_node(&world.store, &world.engine, &world.caller, crew.run_id, &node, value.to_owned(), now);
    block_on(answer).expect("it waits");
}

#[test]
fn a_node_is_handed_what_it_depends_on_and_leaves_are_the_result() {
    let world = world_of(
        json!([plain("a"), plain("b"), plain("c"), plain("d")]),
        &[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")],
    );
    let mut crew = Crew::plain(&world, 1);
    let results = crew.results(&echo);
    assert_eq!(results.as_object().expect("results").keys().collect::<Vec<_>>(), ["d"]);
    let of = |node: &str| crew.request(node)["inputs"].as_object().expect("inputs").keys().cloned().collect::<Vec<_>>();
    assert_eq!((of("a"), of("b"), of("d")), (vec![], vec!["a".to_owned()], vec!["b".to_owned(), "c".to_owned()]));
    assert_eq!(crew.attempts(), BTreeMap::from([("a", 1), ("b", 1), ("c", 1), ("d", 1)]));
    assert_eq!((crew.run().status(), reason(&crew)), (RunStatus::Succeeded, TerminationReason::Completed));
    assert!(crew.statuses().values().all(|status| *status == "SUCCEEDED"), "{:?}", crew.statuses());
}

#[test]
fn a_node_whose_condition_does_not_hold_is_skipped_and_what_follows_runs() {
    for (n, skipped) in [(1, false), (2, true)] {
        let when = json!({"all": [{"pointer": "/results/a/n", "equals": 1}, {"pointer": "/input/go", "exists": true}]});
        let world =
            world_of(json!([plain("a"), with(plain("b"), "when", when), plain("c")]), &[("a", "b"), ("b", "c")]);
        let mut command = started_at(None);
        command.input = Some(crate::world::raw(r#"{"go": null}"#));
        let mut crew = Crew::of(&world, 1, command, n);
        crew.results(&move |request| if request["nodeId"] == "a" { Ok(json!({"n": n})) } else { echo(request) });
        assert_eq!(crew.statuses()["b"], if skipped { "SKIPPED" } else { "SUCCEEDED" });
        assert_eq!(crew.request("c")["inputs"].get("b").is_none(), skipped);
        assert_eq!(crew.attempts().contains_key("b"), !skipped);
        assert_eq!(crew.step_of("b").result.is_none(), skipped);
    }
}

#[test]
fn a_loop_goes_on_until_its_condition_holds_with_its_own_last_result() {
    let until = json!({"until": {"pointer": "/results/again/iteration", "equals": 3}, "maxIterations": 5});
    let world = world_of(json!([with(plain("again"), "loop", until), plain("then")]), &[("again", "then")]);
    let mut crew = Crew::plain(&world, 1);
    crew.results(&echo);
    assert_eq!(crew.attempts(), BTreeMap::from([("again", 3), ("then", 1)]));
    assert_eq!(crew.request("then")["inputs"]["again"]["iteration"], 3);
    assert_eq!(crew.step_of("again").iteration, Some(3));
    let part = |iteration| {
        let (node, part) = ("again".parse().expect("a node"), StepPart::Iteration(iteration));
        block_on(get_step_part(&world.store, &world.caller, crew.run_id, &node, part, world.clock.now()))
    };
    for iteration in [1, 2] {
        let NodeOutcome::Result(text) = part(iteration).expect("it has ended") else { panic!("no result") };
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON")["iteration"], iteration);
    }
    assert!(part(3).is_err() && part(4).is_err(), "the last is the step's own");
}

#[test]
fn a_loop_that_is_never_over_ends_its_run() {
    let until = json!({"until": {"pointer": "/results/again/never", "exists": true}, "maxIterations": 4});
    let again = with(with(plain("again"), "loop", until), "onFailure", json!("continue"));
    let world = world_of(json!([again, plain("then")]), &[("again", "then")]);
    let mut crew = Crew::plain(&world, 1);
    assert_eq!(crew.failure(&echo), "Sluice.LoopingRisk");
    assert_eq!((crew.run().status(), reason(&crew)), (RunStatus::Failed, TerminationReason::LoopingRisk));
    assert_eq!(crew.attempts(), BTreeMap::from([("again", 4)]));
    assert_eq!(crew.statuses(), BTreeMap::from([("again".to_owned(), "FAILED"), ("then".to_owned(), "CANCELED")]));
}

fn fan(items: Value, on_failure: &str) -> Value {
    let fan = json!({"items": items, "maxConcurrency": 3, "maxItems": 7});
    with(with(plain("each"), "forEach", fan), "onFailure", json!(on_failure))
}

#[test]
fn a_fan_out_runs_once_for_each_item_and_gives_its_results_in_order() {
    for count in [0, 1, 3, 7] {
        let world = world_of(
            json!([plain("list"), fan(json!("/results/list"), "fail"), plain("sum")]),
            &[("list", "each"), ("each", "sum")],
        );
        let items: Vec<Value> = (0..count).map(|n| json!({"n": n})).collect();
        let list = Value::from(items.clone());
        let mut crew = Crew::plain(&world, 1 + count as u128);
        crew.results(&move |request| if request["nodeId"] == "list" { Ok(list.clone()) } else { echo(request) });
        let given = crew.request("sum")["inputs"]["each"].as_array().expect("a list").clone();
        assert_eq!(given.iter().map(|one| one["item"].clone()).collect::<Vec<_>>(), items);
        let fan = crew.step_of("each").fan.expect("a fan-out");
        assert_eq!((fan.total, fan.done, fan.failed), (count as u32, count as u32, 0));
        let indices: BTreeSet<_> = crew.begun.iter().filter_map(|(attempt, _)| attempt.item).collect();
        assert_eq!(indices, (0..count as u64).collect());
        assert_eq!(crew.statuses()["each"], "SUCCEEDED");
    }
}

#[test]
fn what_is_no_list_and_what_is_too_long_fails_its_node() {
    for (list, error) in [
        (json!({"0": 1}), "Sluice.NotAList"),
        (json!("text"), "Sluice.NotAList"),
        (json!(null), "Sluice.NotAList"),
        (json!([1, 2, 3, 4, 5, 6, 7, 8]), "Sluice.TooManyItems"),
    ] {
        let world = world_of(json!([plain("list"), fan(json!("/results/list"), "fail")]), &[("list", "each")]);
        let mut crew = Crew::plain(&world, 1);
        let failed = crew.failure(&move |_| Ok(list.clone()));
        assert_eq!((failed.as_str(), crew.step_of("each").error.expect("an error").code.as_str()), (error, error));
        assert_eq!(reason(&crew), TerminationReason::ExecutionError);
    }
}

#[test]
fn an_item_that_fails_is_what_the_nodes_failure_is() {
    let odd = |request: &Value| match request["item"].as_u64() {
        Some(item) if item % 2 == 1 => Err("Odd"),
        Some(_) | None => echo(request),
    };
    for on_failure in ["fail", "continue"] {
        let world = world_of(json!([fan(json!([0, 1, 2, 3]), on_failure), plain("then")]), &[("each", "then")]);
        let mut crew = Crew::plain(&world, 1);
        if on_failure == "fail" {
            assert_eq!(crew.failure(&odd), "Odd");
            let error = crew.step_of("each").error.expect("an error");
            assert!(error.message.starts_with("item "), "{error:?}");
            assert_eq!(crew.statuses()["then"], "CANCELED");
        } else {
            crew.results(&odd);
            let given = crew.request("then")["inputs"]["each"].as_array().expect("a list").clone();
            assert_eq!(given.iter().map(Value::is_null).collect::<Vec<_>>(), [false, true, false, true]);
            let fan = crew.step_of("each").fan.expect("a fan-out");
            assert_eq!((fan.done, fan.failed), (2, 2));
        }
    }
}

#[test]
fn a_failure_that_may_be_is_read_as_null_with_its_error() {
    let world = world_of(
        json!([with(plain("a"), "onFailure", json!("continue")), plain("b"), plain("c")]),
        &[("a", "c"), ("b", "c")],
    );
    let mut crew = Crew::plain(&world, 1);
    crew.results(&fails(&["a"]));
    let request = crew.request("c");
    assert_eq!((&request["inputs"]["a"], &request["errors"]["a"]["error"]), (&Value::Null, &json!("Broken")));
    assert!(request["errors"].get("b").is_none());
    assert_eq!(crew.statuses()["a"], "FAILED");
    assert_eq!(crew.run().status(), RunStatus::Succeeded);
}

#[test]
fn after_a_failure_that_counts_nothing_begins_unless_the_version_goes_on_beside_it() {
    for fail_fast in [true, false] {
        let world = world_with(
            json!([plain("bad"), plain("after"), external("person"), plain("behind")]),
            &[("bad", "after"), ("person", "behind")],
            json!({"failFast": fail_fast}),
        );
        let mut crew = Crew::plain(&world, 1);
        crew.go(&fails(&["bad"]));
        if !fail_fast {
            assert!(!crew.have_left(), "somebody is waited for");
            answered(&crew, "person", "1");
        }
        assert_eq!(crew.failure(&fails(&["bad"])), "Broken");
        let behind = if fail_fast { "CANCELED" } else { "SUCCEEDED" };
        assert_eq!((crew.statuses()["after"], crew.statuses()["behind"]), ("CANCELED", behind));
        assert_eq!(crew.run().status(), RunStatus::Failed);
    }
}

#[test]
fn a_run_that_starts_in_the_middle_skips_what_does_not_come_after() {
    let world = world_of(json!([plain("a"), plain("b"), plain("c"), plain("apart")]), &[("a", "b"), ("b", "c")]);
    let start = json!({"fromNodeId": "c", "results": {"b": {"n": 1.10}}});
    let mut crew = Crew::of(&world, 1, started_at(Some(start)), 1);
    let results = crew.results(&echo);
    assert_eq!(crew.attempts(), BTreeMap::from([("c", 1)]));
    assert_eq!(crew.request("c")["inputs"], json!({"b": {"n": 1.10}}));
    assert_eq!(results.as_object().expect("results").keys().collect::<Vec<_>>(), ["c"]);
    let expected = [("a", "SKIPPED"), ("apart", "SKIPPED"), ("b", "SUCCEEDED"), ("c", "SUCCEEDED")];
    assert_eq!(crew.statuses(), expected.map(|(node, status)| (node.to_owned(), status)).into());
}

#[test]
fn attempts_are_repeated_as_often_as_the_node_says() {
    let retry = json!({"maxAttempts": 3, "intervalSeconds": 1, "backoffRate": 1});
    let world = world_of(json!([with(plain("a"), "retry", retry)]), &[]);
    let mut crew = Crew::plain(&world, 1);
    crew.results(&|request| if request["attempt"] == 3 { echo(request) } else { Err("Broken") });
    assert_eq!((crew.attempts()["a"], crew.step_of("a").attempt), (3, 3));
}

#[test]
fn an_answer_carries_its_run_on() {
    let world = world_of(json!([external("person"), plain("b")]), &[("person", "b")]);
    let mut crew = Crew::plain(&world, 1);
    crew.go(&echo);
    assert_eq!((crew.run().status(), crew.statuses()["person"]), (RunStatus::WaitingForInput, "WAITING"));
    answered(&crew, "person", r#"{"n": 1.10}"#);
    assert_eq!(crew.run().status(), RunStatus::Running);
    crew.results(&echo);
    assert_eq!(crew.step_of("person").result.as_deref(), Some(r#"{"n": 1.10}"#));
    assert_eq!(crew.request("b")["inputs"]["person"]["n"].to_string(), "1.10");
}

#[test]
fn a_wait_runs_out_as_the_node_says() {
    for (on_expiry, status, run) in [
        (json!("fail"), "FAILED", RunStatus::Failed),
        (json!("continue"), "FAILED", RunStatus::Succeeded),
        (json!({"answer": {"n": 2}}), "SUCCEEDED", RunStatus::Succeeded),
    ] {
        let person = with(with(external("person"), "expiresAfterSeconds", json!(600)), "onExpiry", on_expiry);
        let world = world_of(json!([person, plain("b")]), &[("person", "b")]);
        let mut crew = Crew::plain(&world, 1);
        crew.go(&echo);
        // A sign of progress puts it off.
        world.clock.advance(500);
        let progress = Progress { percent: Some(10), message: None, at: world.clock.now() };
        let node = "person".parse().expect("a node");
        let told = world.store.record_progress(&world.caller.tenant, crew.run_id, &node, &progress);
        assert!(block_on(told).expect("an answer"));
        for _ in 0..9 {
            world.clock.advance(60);
            world.reconcile();
            assert_eq!(crew.run().status(), RunStatus::WaitingForInput);
        }
        world.clock.advance(61);
        let woken = world.reconcile().woken;
        assert_eq!(woken, 1);
        crew.finish(&echo);
        assert_eq!((crew.run().status(), crew.statuses()["person"]), (run, status));
    }
}

#[test]
fn a_pause_begins_nothing_and_says_what_is_under_way() {
    let world = world_of(json!([plain("a"), plain("b"), plain("c")]), &[("a", "b"), ("b", "c")]);
    let mut crew = Crew::plain(&world, 1);
    while crew.begun.is_empty() {
        assert!(crew.step(&echo));
    }
    let pause = || block_on(pause_run(&world.store, &world.engine, &world.caller, crew.run_id, world.clock.now()));
    let paused = pause().expect("taken");
    assert_eq!(paused.under_way, Some(vec!["a".parse().expect("a node")]));
    assert_eq!(paused.run.status(), RunStatus::Running);
    crew.go(&echo);
    assert_eq!((crew.run().status(), crew.attempts().len()), (RunStatus::Paused, 1));
    let again = block_on(pause_run(&world.store, &world.engine, &world.caller, crew.run_id, world.clock.now()));
    assert_eq!(again.expect("as it is").under_way, Some(Vec::new()));
    world.clock.advance(90);
    let resumed = block_on(resume_run(&world.store, &world.engine, &world.caller, crew.run_id, world.clock.now()));
    assert_eq!(resumed.expect("it goes on").status(), RunStatus::Running);
    crew.results(&echo);
    assert_eq!(crew.attempts().len(), 3);
    assert_eq!(crew.run().state.times().expect("it ran").paused_ms, 90_000);
}

#[test]
fn a_run_that_is_being_stopped_begins_nothing() {
    let world = world_of(json!([plain("a"), plain("b")]), &[("a", "b")]);
    let mut crew = Crew::plain(&world, 1);
    while crew.ended.is_empty() {
        assert!(crew.step(&echo));
    }
    world
        .engine
        .faults
        .set(|_| Some(sluice_testkit::fault::Fault::Before(sluice_core::ports::StoreErrorClass::Unavailable)));
    world.cancel(crew.run_id).expect("taken");
    crew.mend();
    crew.go(&echo);
    assert_eq!((crew.run().status(), crew.attempts().len()), (RunStatus::Canceling, 1));
}

#[test]
fn a_try_that_was_believed_dead_and_writes_last_leaves_nobody_waiting() {
    let world = world_of(json!([external("person"), plain("b")]), &[("person", "b")]);
    let run = world.create(started_at(None), 1).expect("accepted").run;
    let (arn, now) = (run.execution_arn(), world.clock.now());
    assert!(world.engine.claim(&world.store, &arn, now));
    let ask = |token: &str| {
        let (tenant_id, token) = (world.caller.tenant.clone(), token.to_owned());
        let asked = Asked { tenant_id, run_id: run.run_id, worker: 0, turn: 1, token, ended: None };
        block_on(advance_run(&world.store, &world.engine, asked, now)).expect("taken");
    };
    ["first", "second"].iter().for_each(|token| world.engine.wait_for(&arn, token));
    // The worker waits with its second token, which is written before the first.
    ask("second");
    ask("first");
    let told = world.engine.take_outcome("second").expect("told").expect_err("to ask again");
    assert_eq!(told.code, AGAIN);
    world.engine.wait_for(&arn, "third");
    ask("third");
    let node = "person".parse().expect("a node");
    let answer = answer_node(&world.store, &world.engine, &world.caller, run.run_id, &node, "1".to_owned(), now);
    block_on(answer).expect("it waits");
    let told = world.engine.take_answer("third").expect("told");
    assert_eq!(serde_json::from_str::<Value>(&told).expect("JSON")["unit"]["node"], "b");
}

#[test]
fn a_question_that_is_asked_twice_with_one_token_goes_on_waiting_with_it() {
    let world = world_of(json!([external("person"), plain("b")]), &[("person", "b")]);
    let run = world.create(started_at(None), 1).expect("accepted").run;
    let (arn, now) = (run.execution_arn(), world.clock.now());
    assert!(world.engine.claim(&world.store, &arn, now));
    world.engine.wait_for(&arn, "only");
    for _ in 0..3 {
        let (tenant_id, token) = (world.caller.tenant.clone(), "only".to_owned());
        let asked = Asked { tenant_id, run_id: run.run_id, worker: 0, turn: 1, token, ended: None };
        block_on(advance_run(&world.store, &world.engine, asked, now)).expect("taken");
        assert!(world.engine.is_waited_for("only"), "nobody has told it anything");
    }
    let node = "person".parse().expect("a node");
    let answer = answer_node(&world.store, &world.engine, &world.caller, run.run_id, &node, "1".to_owned(), now);
    block_on(answer).expect("it waits");
    let told = world.engine.take_answer("only").expect("told");
    assert_eq!(serde_json::from_str::<Value>(&told).expect("JSON")["unit"]["node"], "b");
}

#[test]
fn a_wait_is_over_at_the_second_at_which_it_runs_out_and_not_before() {
    // When somebody was heard of last, and when the wait is over.
    for (heard_of_after, over_after) in [(None, 600), (Some(0), 600), (Some(1), 601), (Some(500), 1_100)] {
        for (after, status) in [(over_after - 1, "WAITING"), (over_after, "FAILED"), (over_after + 1, "FAILED")] {
            let person = with(external("person"), "expiresAfterSeconds", json!(600));
            let world = world_of(json!([person, plain("b")]), &[("person", "b")]);
            let mut crew = Crew::plain(&world, 1);
            crew.go(&echo);
            let (began, tenant) = (world.clock.now(), &world.caller.tenant);
            if let Some(seconds) = heard_of_after {
                let at = began + jiff::SignedDuration::from_secs(seconds);
                let progress = Progress { percent: Some(10), message: None, at };
                let node = "person".parse().expect("a node");
                let told = world.store.record_progress(tenant, crew.run_id, &node, &progress);
                assert!(block_on(told).expect("an answer"));
            }
            world.clock.advance(after);
            let now = world.clock.now();
            block_on(wake_run(&world.store, &world.engine, tenant, crew.run_id, now)).expect("looked after");
            assert_eq!(crew.statuses()["person"], status, "heard of after {heard_of_after:?}, looked at after {after}");
        }
    }
}

#[test]
fn a_run_is_due_to_be_looked_at_when_a_wait_runs_out_and_not_before() {
    let is_due = |world: &World, at: Timestamp| {
        let page = |shard| block_on(world.store.due_boards(shard, at, None)).expect("a page");
        (0..SHARDS).any(|shard| !page(shard).items.is_empty())
    };
    let after = |from: Timestamp, seconds| from + SignedDuration::from_secs(seconds);
    // When somebody was heard of last, when the run is looked at, and when the wait is over.
    for (heard_of_after, looked_at_after, over_after) in [(None, 599, 600), (Some(500), 600, 1_100)] {
        let person = with(external("person"), "expiresAfterSeconds", json!(600));
        let world = world_of(json!([plain("a"), plain("b"), person]), &[]);
        let mut crew = Crew::plain(&world, 1);
        crew.go(&echo);
        let (began, tenant) = (world.clock.now(), &world.caller.tenant);
        assert_eq!([599, 600].map(|seconds| is_due(&world, after(began, seconds))), [false, true]);
        if let Some(seconds) = heard_of_after {
            let progress = Progress { percent: Some(10), message: None, at: after(began, seconds) };
            let node = "person".parse().expect("a node");
            assert!(block_on(world.store.record_progress(tenant, crew.run_id, &node, &progress)).expect("an answer"));
        }
        let look = || {
            let now = after(began, looked_at_after);
            block_on(wake_run(&world.store, &world.engine, tenant, crew.run_id, now)).expect("looked after");
        };
        look();
        assert_eq!([over_after - 1, over_after].map(|seconds| is_due(&world, after(began, seconds))), [false, true]);
        let writes = world.store.writes();
        look();
        assert_eq!(world.store.writes(), writes, "nothing is new: {heard_of_after:?}");
    }
    let world = world_of(json!([plain("a"), plain("b"), external("person")]), &[("a", "b")]);
    Crew::plain(&world, 1).go(&echo);
    assert!(!is_due(&world, after(world.clock.now(), 30 * 24 * 3_600)), "nothing runs out");
}

#[test]
fn a_step_is_recorded_with_the_stage_of_its_node() {
    let world = world_of(
        json!([plain("c"), plain("apart"), plain("b"), external("person"), plain("a"), plain("d")]),
        &[("a", "b"), ("b", "c"), ("b", "person"), ("c", "d"), ("person", "d")],
    );
    let mut crew = Crew::plain(&world, 1);
    let stages = [("a", 0), ("apart", 0), ("b", 1), ("c", 2), ("person", 2), ("d", 3)];
    crew.go(&echo);
    answered(&crew, "person", "1");
    crew.results(&echo);
    let recorded = block_on(world.store.list_steps(&world.caller.tenant, crew.run_id)).expect("reads");
    let found: BTreeMap<&str, u32> = recorded.iter().map(|step| (step.node_id.as_str(), step.stage)).collect();
    assert_eq!(found, stages.into());
}

#[test]
fn a_result_that_was_given_with_the_request_shows_as_one_that_was_there_at_the_start() {
    let world = world_of(json!([plain("a"), plain("b"), plain("c")]), &[("a", "b"), ("b", "c")]);
    world.clock.advance(3);
    let start = json!({"fromNodeId": "c", "results": {"b": {"n": 1}}});
    let mut crew = Crew::of(&world, 1, started_at(Some(start)), 1);
    let started_at = crew.run().state.started_at();
    world.clock.advance(7);
    crew.results(&echo);
    let given = crew.step_of("b");
    let expected = r#"{"n":1}"#;
    assert_eq!((given.status.as_str(), given.attempt, given.stage), ("SUCCEEDED", 1, 1));
    assert_eq!((given.started_at, given.ended_at), (started_at, started_at));
    assert_eq!((given.result.as_deref(), given.result_bytes), (Some(expected), Some(expected.len() as u64)));
    let left_out = crew.step_of("a");
    assert_eq!((left_out.status.as_str(), left_out.attempt, left_out.stage), ("SKIPPED", 0, 0));
    assert_eq!((left_out.started_at, left_out.ended_at, left_out.result), (None, None, None));
}

#[test]
fn a_wait_that_anothers_failure_ended_shows_as_canceled_from_then_on() {
    let world = world_of(
        json!([plain("first"), plain("bad"), plain("after"), external("person")]),
        &[("first", "bad"), ("bad", "after")],
    );
    let mut crew = Crew::plain(&world, 1);
    crew.go(&fails(&["bad"]));
    assert!(!crew.run().status().is_terminal());
    let never_begun = crew.step_of("after");
    assert_eq!((never_begun.status.as_str(), never_begun.started_at, never_begun.ended_at), ("CANCELED", None, None));
    let dropped = crew.step_of("person");
    assert_eq!((dropped.status.as_str(), dropped.started_at.is_some()), ("CANCELED", true));
    assert_eq!(dropped.ended_at, dropped.started_at, "nobody knows better yet");
    world.clock.advance(40);
    crew.finish(&fails(&["bad"]));
    let completed_at = crew.run().state.ended().map(|ended| ended.completed_at);
    let ended = crew.step_of("person");
    assert_eq!((ended.status.as_str(), ended.ended_at), ("CANCELED", completed_at));
    assert_ne!(ended.ended_at, ended.started_at);
}

/// A graph with one of everything, by a seed.
fn document(seed: &mut Seed) -> (Value, Vec<(usize, usize)>) {
    let count = 2 + seed.below(9);
    let mut edges = Vec::new();
    for to in 1..count {
        for from in 0..to {
            if seed.one_in(4) {
                edges.push((from, to));
            }
        }
    }
    let nodes: Vec<Value> = (0..count)
        .map(|index| {
            let id = format!("n{index}");
            let before = edges.iter().find(|(_, to)| *to == index).map(|(from, _)| *from);
            let node = plain(&id);
            let node = if seed.one_in(3) { with(node, "onFailure", json!("continue")) } else { node };
            match (seed.below(5), before) {
                (0, Some(from)) => {
                    let pointer = format!("/results/n{from}/inputs");
                    with(node, "when", json!({"pointer": pointer, "exists": seed.one_in(2)}))
                }
                (1, _) => {
                    let until = json!({"pointer": format!("/results/{id}/iteration"), "equals": 2});
                    with(node, "loop", json!({"until": until, "maxIterations": 3}))
                }
                (2, _) => with(node, "forEach", json!({"items": [1, 2, 3], "maxConcurrency": 2})),
                (3, _) => with(external(&id), "expiresAfterSeconds", json!(30)),
                (_, _) => node,
            }
        })
        .collect();
    let edge = |(from, to): &(usize, usize)| json!({"from": format!("n{from}"), "to": format!("n{to}")});
    let fail_fast = seed.one_in(2);
    (json!({"nodes": nodes, "edges": edges.iter().map(edge).collect::<Vec<_>>(), "failFast": fail_fast}), edges)
}

#[test]
fn whatever_fails_on_the_way_every_node_ends_once_and_in_its_turn() {
    for seed in 0..300 {
        let mut draw = Seed::new(seed);
        let (document, edges) = document(&mut draw);
        let world = crate::world::World::of_workers(document.clone());
        let mut crew = Crew::of(&world, 1, started_at(None), seed);
        if seed % 3 > 0 {
            crew.fail(6);
        }
        let bad = draw.below(12);
        let processor = |request: &Value| match request["nodeId"] == format!("n{bad}") && request["item"] != 1 {
            true => Err("Broken"),
            false => echo(request),
        };
        crew.finish(&processor);
        // Each attempt that was ended was told of once, and none twice.
        let mut begun: Vec<_> = crew.begun.iter().map(|(attempt, _)| attempt.clone()).collect();
        let told = begun.len();
        begun.sort();
        begun.dedup();
        assert_eq!((begun.len(), crew.ended.len()), (told, told), "seed {seed}: {document}");
        // A node begins after all that it waits for.
        let first_of = |node: usize| crew.begun.iter().position(|(attempt, _)| attempt.node == format!("n{node}"));
        for (from, to) in &edges {
            if let (Some(from), Some(to)) = (first_of(*from), first_of(*to)) {
                assert!(from < to, "seed {seed}: {document}");
            }
        }
        let ended = ["SUCCEEDED", "FAILED", "SKIPPED", "CANCELED"];
        let statuses = crew.statuses();
        assert!(statuses.values().all(|status| ended.contains(status)), "seed {seed}: {statuses:?}");
        if crew.run().status() == RunStatus::Succeeded {
            assert!(!statuses.values().any(|status| *status == "CANCELED"), "seed {seed}: {statuses:?} {document}");
        }
    }
}
