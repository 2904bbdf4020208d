//! The same of runs of the runner's second generation: what each question of a worker, and each change from outside, takes.

use super::{LOAD, Process, READ, RECORD, Row, World, answered, by_id};
use crate::support::crew::Worker;
use crate::support::sample::noon;
use serde_json::{Value, json};
use sluice_core::board::Act;
use sluice_core::definition::VersionRule;
use sluice_core::flow::advance_run::{Conclusion, advance_run, conclude};
use sluice_core::flow::control_run::{answer_node, pause_run, resume_run};
use sluice_core::flow::manage_definitions::add_version;
use sluice_core::flow::read_runs::{get_step, list_steps};
use sluice_core::lifecycle::RunStatus;
use sluice_core::operator::ComputeNode;
use sluice_core::ports::{Boards, Clock, LoadRun, ManageOperator};
use sluice_core::run::Run;
use sluice_core::snapshot::Snapshot;
use sluice_testkit::fixture;

/// A worker's task is ended by what it is told.
const DONE: &str = "SendTaskSuccess";

/// What is done, as in [`super::CALLS`]. A change reads the run with its plan beside its board, and writes all of it at once. Where
/// workers beside the asker are told something, their tokens are read after that, and it is noted that they were told.
#[rustfmt::skip]
const CALLS: &[Row] = &[
    // The first of all makes the board.
    ("the first ask",               Process::New,  &[&[READ, LOAD], &[RECORD]], &[DONE]),
    // One node ends and the next begins, whatever the process knows.
    ("ask from node to node",       Process::Warm, &[&[READ, LOAD], &[RECORD]], &[DONE]),
    ("ask from node to node",       Process::New,  &[&[READ, LOAD], &[RECORD]], &[DONE]),
    ("ask, and wait",               Process::Warm, &[&[READ, LOAD], &[RECORD]], &[]),
    // A join: what others gave is read, in one call however many they are.
    ("ask, and give to another",    Process::Warm, &[&[READ, LOAD], &[READ], &[RECORD], &[READ], &[RECORD]], &[DONE]),
    ("ask for the last time",       Process::Warm, &[&[READ, LOAD], &[RECORD], &[READ], &[RECORD]], &[DONE, DONE]),
    // Because its answer was lost: whether somebody waits with another token is looked at first.
    ("ask again",                   Process::Warm, &[&[READ, LOAD], &[READ], &[RECORD]], &[DONE]),
    // Whether there is a run that can be paused is known before its plan and its board are read.
    ("pause",                       Process::Warm, &[&[LOAD], &[READ, LOAD], &[RECORD]], &[]),
    ("resume under way",            Process::Warm, &[&[LOAD], &[READ, LOAD], &[RECORD]], &[]),
    ("resume",                      Process::Warm, &[&[LOAD], &[READ, LOAD], &[READ], &[RECORD], &[READ], &[RECORD]], &[DONE]),
    // Whether the answer is what the node takes, its plan says.
    ("answer",                      Process::Warm, &[&[READ], &[READ, LOAD], &[RECORD], &[READ], &[RECORD]], &[DONE]),
    ("conclude",                    Process::Warm, &[&[LOAD, LOAD], &[READ]], &[]),
    // Of one that has ended nobody knows better than its item.
    ("get a step that has ended",   Process::Warm, &[&[READ]], &[]),
    ("get a step",                  Process::Warm, &[&[READ], &[LOAD, LOAD]], &[]),
    ("list steps",                  Process::Warm, &[&[READ], &[READ, LOAD]], &[]),
];

/// Two nodes, one after the other.
fn chain() -> Value {
    json!({"nodes": [worked("a"), worked("b")], "edges": [{"from": "a", "to": "b"}]})
}

/// Two side by side, and one that joins them.
fn join() -> Value {
    let edges = json!([{"from": "a", "to": "c"}, {"from": "b", "to": "c"}]);
    json!({"nodes": [worked("a"), worked("b"), worked("c")], "edges": edges})
}

/// Somebody outside is asked first.
fn asking() -> Value {
    json!({"nodes": [{"id": "a", "type": "external"}, worked("b")], "edges": [{"from": "a", "to": "b"}]})
}

fn worked(id: &str) -> Value {
    json!({"id": id, "type": "processor", "processor": "word-frequencies"})
}

/// A run of the second generation that its execution has claimed.
async fn begun(world: &World, document: Value) -> Run {
    let elsewhere = world.table.another_store();
    let node = ComputeNode { state_machine_arn: fixture::second_runner_arn(), rev: 2, ..fixture::compute_node(noon()) };
    assert!(elsewhere.save_compute_node(&node).await.expect("saved"));
    let document = serde_json::from_value(document).expect("a document");
    add_version(&elsewhere, &fixture::caller("mine"), &by_id(), document, true, noon()).await.expect("added");
    world.running(answered(by_id(), VersionRule::Active)).await
}

async fn ask(world: &World, run: &Run, worker: &Worker) {
    let now = world.aws.clock.now();
    Box::pin(advance_run(&world.aws.store, &world.aws.engine, worker.asks(run), now)).await.expect("answered");
}

/// The worker ends what it was given.
async fn end(world: &World, run: &Run, worker: &mut Worker) {
    let elsewhere = world.table.another_store();
    let record = elsewhere.read_board(&run.tenant_id, run.run_id).await.expect("read").expect("a board");
    let snapshot: Snapshot =
        elsewhere.load_snapshot(&run.tenant_id, run.run_id).await.expect("loaded").expect("a snapshot");
    let told = record.board.owed(worker.number).expect("it was told something");
    let Act::Work { unit, .. } = told.act else { panic!("it was told to leave") };
    worker.ends(snapshot.nodes[unit.node].node_id.as_str(), "{\"n\":1}");
}

/// All workers of a run with a join have come, and all but one of its first nodes have ended.
async fn before_the_join(world: &World) -> (Run, [Worker; 2]) {
    let run = begun(world, join()).await;
    let mut workers = [0, 1].map(Worker::new);
    for worker in &workers {
        ask(world, &run, worker).await;
    }
    end(world, &run, &mut workers[0]).await;
    ask(world, &run, &workers[0]).await;
    end(world, &run, &mut workers[1]).await;
    (run, workers)
}

#[tokio::test]
async fn every_step_of_a_run_of_workers_makes_the_calls_that_are_named_and_no_other() {
    let mut others = Vec::new();
    for (operation, process, steps, to_engine) in CALLS {
        let mut world = World::new().await;
        let what = format!("{operation}, {process:?}");
        let caller = fixture::caller("mine");
        let mut worker = Worker::new(0);
        let since = match *operation {
            "the first ask" => {
                let run = begun(&world, chain()).await;
                world.restart();
                let since = world.forget(steps);
                ask(&world, &run, &worker).await;
                since
            }
            "ask from node to node" | "ask again" => {
                let run = begun(&world, chain()).await;
                ask(&world, &run, &worker).await;
                if *operation == "ask from node to node" {
                    end(&world, &run, &mut worker).await;
                }
                if *process == Process::New {
                    world.restart();
                }
                let since = world.forget(steps);
                ask(&world, &run, &worker).await;
                since
            }
            "ask, and wait" => {
                let run = begun(&world, join()).await;
                let other = Worker::new(1);
                ask(&world, &run, &worker).await;
                ask(&world, &run, &other).await;
                end(&world, &run, &mut worker).await;
                let since = world.forget(steps);
                ask(&world, &run, &worker).await;
                since
            }
            "ask, and give to another" | "ask for the last time" | "conclude" => {
                let (run, mut workers) = before_the_join(&world).await;
                let mut since = world.forget(if *operation == "ask, and give to another" { steps } else { &[] });
                ask(&world, &run, &workers[1]).await;
                if *operation != "ask, and give to another" {
                    end(&world, &run, &mut workers[0]).await;
                    since = world.forget(if *operation == "conclude" { &[] } else { steps });
                    ask(&world, &run, &workers[0]).await;
                }
                if *operation == "conclude" {
                    since = world.forget(steps);
                    let concluded = conclude(&world.aws.store, &run.tenant_id, run.run_id).await.expect(&what);
                    assert_eq!(concluded, Conclusion::Results(r#"{"c":{"n":1}}"#.to_owned()));
                }
                since
            }
            "pause" | "resume under way" | "resume" => {
                let run = begun(&world, chain()).await;
                ask(&world, &run, &worker).await;
                let (store, engine, now) = (&world.aws.store, &world.aws.engine, world.aws.clock.now());
                let mut since = world.forget(if *operation == "pause" { steps } else { &[] });
                let paused = Box::pin(pause_run(store, engine, &caller, run.run_id, now)).await.expect(&what);
                assert_eq!(paused.under_way.map(|nodes| nodes.len()), Some(1), "{what}");
                if *operation == "resume" {
                    end(&world, &run, &mut worker).await;
                    ask(&world, &run, &worker).await;
                }
                if *operation != "pause" {
                    since = world.forget(steps);
                    let resumed = Box::pin(resume_run(store, engine, &caller, run.run_id, now)).await.expect(&what);
                    assert_eq!(resumed.status(), RunStatus::Running, "{what}");
                }
                since
            }
            "answer" => {
                let run = begun(&world, asking()).await;
                ask(&world, &run, &worker).await;
                let (store, engine, now) = (&world.aws.store, &world.aws.engine, world.aws.clock.now());
                let (node, value) = ("a".parse().expect("a node"), "{}".to_owned());
                let since = world.forget(steps);
                Box::pin(answer_node(store, engine, &caller, run.run_id, &node, value, now)).await.expect(&what);
                since
            }
            "get a step that has ended" | "get a step" | "list steps" => {
                let run = begun(&world, chain()).await;
                ask(&world, &run, &worker).await;
                end(&world, &run, &mut worker).await;
                ask(&world, &run, &worker).await;
                let (store, now) = (&world.aws.store, world.aws.clock.now());
                let since = world.forget(steps);
                if *operation == "list steps" {
                    list_steps(store, &caller, run.run_id, 20, None, now).await.expect(&what);
                } else {
                    let node = if *operation == "get a step" { "b" } else { "a" }.parse().expect("a node");
                    get_step(store, &caller, run.run_id, &node, now).await.expect(&what);
                }
                since
            }
            other => panic!("nobody knows how to {other}"),
        };
        let expected: Vec<Vec<&str>> = steps.iter().map(|step| step.to_vec()).collect();
        let (calls, asked) = world.calls(since, steps);
        if calls != expected || asked != *to_engine {
            others.push(format!("{what}: {calls:?}, {asked:?}"));
        }
    }
    assert!(others.is_empty(), "other calls than those that are named:\n{}", others.join("\n"));
}
