//! Every sample event of this function; and a run of the second generation, carried from its begin to its end.

use advance_run::{Answer, App};
use lambda_runtime::{Context, Diagnostic, LambdaEvent};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sluice_core::flow::create_run::{Command, Source, create_run};
use sluice_core::id::ComputeNodeKey;
use sluice_core::operator::ComputeNode;
use sluice_core::ports::{Clock, LoadRun, ManageOperator, ReadCatalog, StoreErrorClass};
use sluice_core::run::Run;
use sluice_edge::metrics::{self, Emitter};
use sluice_edge::runner::Question;
use sluice_testkit::block_on;
use sluice_testkit::fault::Fault;
use sluice_testkit::fixture::{caller, fresh, tenant};
use sluice_testkit::samples::{self, NEW_RUN, RUNNING, World};
use std::collections::BTreeSet;

fn handle(world: &World, event: &str) -> Result<Answer, Diagnostic> {
    metrics::init(Emitter::for_test(sluice_testkit::metrics::keep));
    let app = App { store: world.store.clone(), engine: world.engine.clone(), clock: world.clock.clone() };
    let event = RawValue::from_string(event.to_owned()).expect("JSON");
    let mut context = Context::default();
    context.deadline = u64::try_from(world.clock.now().as_millisecond()).expect("after 1970") + 30_000;
    block_on(app.handle(LambdaEvent::new(event, context)))
}

fn sample(case: &str) -> String {
    samples::cases("advance-run")[case].clone()
}

/// Samples of what the runner does not ask.
const MALFORMED: [&str; 3] = ["foreign", "malformed-ended", "malformed-worker"];

/// The world, in which the execution of the running run waits with the samples' token.
fn waiting() -> World {
    let world = block_on(World::new());
    let arn = block_on(world.load("dev", RUNNING)).execution_arn();
    world.engine.wait_for(&arn, "a-token");
    world
}

#[test]
fn every_sample_is_read_or_refused() {
    for (case, event) in samples::cases("advance-run") {
        let read = Question::read(&event, World::default().clock.now());
        assert_eq!(read.is_err(), MALFORMED.contains(&case.as_str()), "{case}: {read:?}");
    }
}

#[test]
fn what_the_runner_does_not_ask_is_refused_and_whoever_waits_is_told_so() {
    for case in MALFORMED {
        let world = waiting();
        let refused = handle(&world, &sample(case)).expect_err(case);
        assert_eq!(refused.error_type, "Sluice.MalformedQuestion", "{case}");
        let told = world.engine.take_outcome("a-token").map(|told| told.expect_err("no output").code);
        assert_eq!(told.as_deref(), (case != "foreign").then_some("Sluice.Again"), "{case}");
    }
}

#[test]
fn a_question_that_could_not_be_answered_is_asked_again() {
    for case in ["first-turn", "result", "failure"] {
        let world = waiting();
        world.store.faults.set(|_| Some(Fault::Before(StoreErrorClass::Unavailable)));
        let failed = handle(&world, &sample(case)).expect_err(case);
        assert_eq!(failed.error_type, "Sluice.EventFailed", "{case}");
        let told = world.engine.take_outcome("a-token").expect("it was told").expect_err("no output");
        assert_eq!(told.code, "Sluice.Again", "{case}");
    }
}

#[test]
fn every_call_ends_within_its_invocation() {
    for (case, event) in samples::cases("advance-run") {
        let world = waiting();
        let end = world.clock.now().as_millisecond() + 30_000;
        // Whatever comes of it; what failed is told in the time that was kept back for it.
        let _answer = handle(&world, &event);
        let ends: Vec<i64> = world.clock.take_ends().into_iter().map(|end| end.as_millisecond()).collect();
        assert!(ends.iter().all(|at| [end - 1_000, end].contains(at)), "{case}: {ends:?}");
        assert!(ends.len() <= 2, "{case}: {ends:?}");
    }
}

/// A run of the samples' pipeline, on the second generation of the runner, begun by its execution.
async fn begun(world: &World) -> Run {
    let key: ComputeNodeKey = "default".parse().expect("a key");
    let node = world.store.get(&key).await.expect("read").expect("a compute node");
    let arn = format!("{}-2", node.state_machine_arn).parse().expect("an ARN");
    let node = ComputeNode { state_machine_arn: arn, rev: node.rev + 1, ..(*node).clone() };
    world.store.save_compute_node(&node).await.expect("saved");
    let instance = samples::instance("dev", world);
    let command = Command {
        data_sources: [("text".parse().expect("a node"), json!({"bucket": "corpora"}))].into(),
        ..Command::new(Source::Instance(instance.id))
    };
    let (now, id) = (world.clock.now(), samples::run_id(NEW_RUN));
    Box::pin(create_run(&world.store, &world.engine, &samples::policy(), &caller("dev"), command, fresh(id), now))
        .await
        .expect("created");
    let run = world.store.load_run(&tenant("dev"), id).await.expect("loaded").expect("a run");
    assert!(world.engine.claim(&world.store, &run.execution_arn(), now));
    run
}

/// A worker of the run asks, with what has ended as JSON text.
fn ask(world: &World, run: &Run, worker: usize, turn: u32, ended: &str) -> String {
    let token = format!("{worker} {turn}");
    world.engine.wait_for(&run.execution_arn(), &token);
    let event = format!(
        r#"{{"source":"sluice.runner","detail-type":"Work Asked For","detail":{{"tenantId":"dev","runId":"{}",
            "worker":{worker},"turn":{turn},"token":"{token}","ended":{ended}}}}}"#,
        run.run_id
    );
    let answer = handle(world, &event).expect("an answer");
    assert_eq!(serde_json::to_string(&answer).expect("JSON"), "null", "a worker is told by its token");
    token
}

#[test]
fn the_workers_of_a_run_do_its_nodes_and_leave_and_its_end_is_told() {
    let world = block_on(World::new());
    let run = block_on(begun(&world));
    let input = world.engine.execution(&run.execution_arn()).expect("it was started").input;
    let input: Value = serde_json::from_str(&input).expect("JSON");
    let workers = input["workers"].as_array().expect("its workers").len();
    assert_eq!(workers, 2, "as wide as its graph");
    let mut waiting: Vec<(usize, u32, String)> =
        (0..workers).map(|worker| (worker, 1, ask(&world, &run, worker, 1, "null"))).collect();
    let mut done = BTreeSet::new();
    while let Some(at) = waiting.iter().position(|(.., token)| !world.engine.is_waited_for(token)) {
        let (worker, turn, token) = waiting.remove(at);
        let told = world.engine.take_outcome(&token).expect("it was told").expect("something to do");
        let told: Value = serde_json::from_str(&told).expect("JSON");
        if told["do"] == "leave" {
            continue;
        }
        assert!(done.insert(told["unit"]["node"].to_string()), "{told} once");
        let ended = format!(r#"{{"unit":{},"value":{{"ratio":1.10}}}}"#, told["unit"]);
        waiting.push((worker, turn + 1, ask(&world, &run, worker, turn + 1, &ended)));
    }
    assert!(waiting.is_empty(), "nobody waits for ever: {waiting:?}");
    assert_eq!(done, ["frequencies", "readability", "report", "store"].map(|node| format!("{node:?}")).into());
    let outcome = sample("outcome").replace(RUNNING, NEW_RUN);
    let answer = handle(&world, &outcome).expect("an answer");
    assert_eq!(serde_json::to_string(&answer).expect("JSON"), r#"{"results":{"store":{"ratio":1.10}}}"#);
}
