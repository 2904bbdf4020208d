//! As many workers as a run can have, all of which end what they do in the same moment, over one board.
//!
//! A board is one item, so of changes that were decided on the same state of it one is written, and whoever has lost reads it
//! again. What that takes is counted here; `infra/state-machines/second-generation.md` says it.

use crate::support::crew::Worker;
use crate::support::sample::noon;
use crate::support::table::Table;
use serde_json::{Value, json};
use sluice_core::change::RunChange;
use sluice_core::flow::advance_run::{Conclusion, advance_run, conclude};
use sluice_core::flow::create_run::{Command, create_run};
use sluice_core::flow::manage_definitions::add_version;
use sluice_core::id::DefinitionRef;
use sluice_core::lifecycle::RunEvent;
use sluice_core::operator::ComputeNode;
use sluice_core::ports::{ChangeRun, Changed, ManageOperator, ReadRuns};
use sluice_core::run::Run;
use sluice_core::schedule::WORKERS;
use sluice_core::step::StepStatus;
use sluice_testkit::engine::MemoryEngine;
use sluice_testkit::fixture;
use std::collections::BTreeMap;
use tokio::task::JoinSet;

/// Workers of the run.
const CROWD: usize = WORKERS as usize;

/// A run of pairs of nodes, one after the other, as many as there can be workers: its execution has claimed it.
async fn begun(table: &Table, engine: &MemoryEngine) -> Run {
    fixture::seed(&table.store, "mine", noon()).await;
    let state_machine_arn = fixture::second_runner_arn();
    let node = ComputeNode { state_machine_arn, rev: 2, ..fixture::compute_node(noon()) };
    assert!(table.store.save_compute_node(&node).await.expect("saved"));
    let worked = |id: String| json!({"id": id, "type": "processor", "processor": "word-frequencies"});
    let pairs = |of: fn(usize) -> [String; 2]| (0..CROWD).map(of).collect::<Vec<_>>();
    let names = pairs(|number| [format!("first-{number}"), format!("then-{number}")]);
    let nodes: Vec<Value> = names.iter().flatten().cloned().map(worked).collect();
    let edges: Vec<Value> = names.iter().map(|[from, to]| json!({"from": from, "to": to})).collect();
    let document = serde_json::from_value(json!({"nodes": nodes, "edges": edges})).expect("a document");
    let (owner, definition) = (fixture::caller("mine"), DefinitionRef::Id(fixture::definition_id(7)));
    add_version(&table.store, &owner, &definition, document, true, noon()).await.expect("added");
    let command = Command::new(fixture::active(definition));
    let (policy, fresh) = (fixture::policy(), fixture::fresh(fixture::run_id(1)));
    let created = create_run(&table.store, engine, &policy, &owner, command, fresh, noon());
    let run = Box::pin(created).await.expect("accepted").run;
    let claimed = run.after(RunEvent::Claimed, noon()).expect("a change");
    let change = RunChange::new(&run, claimed.clone());
    assert_eq!(table.store.change_run(&change).await.expect("claimed"), Changed::Done);
    claimed
}

/// All of them ask at once, each by a process of its own; the first question of each is decided on the same state of the board.
/// Returns the calls that this took, how many of each.
async fn ask(table: &Table, engine: &MemoryEngine, run: &Run, workers: &[Worker]) -> BTreeMap<String, usize> {
    table.relay.take_passed();
    // The run and its board are read, and nothing is written before everybody has read them.
    table.relay.in_steps([2 * workers.len(), workers.len()]);
    let mut asking = JoinSet::new();
    for worker in workers {
        let (store, engine, asked) = (table.another_store(), engine.clone(), worker.asks(run));
        engine.wait_for(&run.execution_arn(), &asked.token);
        asking.spawn(async move { Box::pin(advance_run(&store, &engine, asked, noon())).await });
    }
    while let Some(answered) = asking.join_next().await {
        answered.expect("no panic").expect("every question is answered");
    }
    let mut calls = BTreeMap::new();
    for call in table.relay.take_passed() {
        *calls.entry(call).or_default() += 1;
    }
    calls
}

/// Every worker does what it was told; the names of the nodes.
fn work(engine: &MemoryEngine, workers: &mut [Worker]) -> Vec<Option<String>> {
    let does = |worker: &mut Worker| {
        let told = engine.take_outcome(&worker.token()).expect("it was told").expect("something to do");
        worker.does(&told, "1")
    };
    workers.iter_mut().map(does).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn forty_workers_that_end_in_the_same_moment_all_go_on_and_each_node_ends_once() {
    let (table, engine) = (Table::new().await, MemoryEngine::default());
    let run = begun(&table, &engine).await;
    let mut workers = Worker::all(&engine, &run);
    assert_eq!(workers.len(), CROWD);
    let mut done = Vec::new();
    for moment in ["they come", "the first nodes end", "the others end"] {
        let calls = ask(&table, &engine, &run, &workers).await;
        eprintln!("{moment}: {calls:?}");
        let transactions = calls["TransactWriteItems"];
        // All try, one succeeds, and the others try again: once for everybody who is written before them, at most. Whoever comes
        // last tells all others that there is nothing more, and notes it.
        let (least, most) = (2 * CROWD - 1, CROWD * (CROWD + 1) / 2 + 1);
        assert!((least..=most).contains(&transactions), "{moment}: {transactions} transactions");
        // Each but the first of a worker is decided on what it has read again.
        assert!(calls["GetItem"] <= CROWD + 2 * (transactions - CROWD), "{moment}: {calls:?}");
        done.extend(work(&engine, &mut workers));
    }
    let (nodes, left): (Vec<_>, Vec<_>) = done.into_iter().partition(Option::is_some);
    assert_eq!(left.len(), CROWD, "all are told to leave");
    let mut nodes: Vec<String> = nodes.into_iter().flatten().collect();
    nodes.sort();
    let begun = nodes.len();
    nodes.dedup();
    assert_eq!((begun, nodes.len()), (2 * CROWD, 2 * CROWD), "each node once");
    let steps = table.store.list_steps(&run.tenant_id, run.run_id).await.expect("listed");
    assert_eq!(steps.len(), 2 * CROWD);
    assert!(steps.iter().all(|step| step.status == StepStatus::Succeeded && step.attempt == 1), "{steps:?}");
    let Conclusion::Results(results) = conclude(&table.store, &run.tenant_id, run.run_id).await.expect("concluded")
    else {
        panic!("it has failed")
    };
    let results: BTreeMap<String, u32> = serde_json::from_str(&results).expect("JSON");
    assert_eq!(results.len(), CROWD);
    assert!(results.keys().all(|leaf| leaf.starts_with("then-")), "{results:?}");
}
