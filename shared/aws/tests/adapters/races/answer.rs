//! Two answers to one node.

use super::arena::{Arena, executing, found, play, put_with, rounds};
use crate::runner;
use crate::support::sample::{self, mine, new_run, noon};
use crate::support::table::Table;
use jiff::SignedDuration;
use sluice_aws::dynamo::item::{n, s};
use sluice_aws::dynamo::keys;
use sluice_core::caller::{Caller, Principal};
use sluice_core::change::NewRun;
use sluice_core::definition::NodeType;
use sluice_core::directive::Directives;
use sluice_core::flow::control_run::answer_node;
use sluice_core::flow::{Answer, Refusal};
use sluice_core::id::NodeId;
use sluice_core::lifecycle::RunStatus;
use sluice_core::ports::AnswerNode;
use sluice_core::refusal::ConflictCode;
use sluice_core::report::NodeOutcome;
use sluice_core::run::Run;
use sluice_core::snapshot::{NodeRun, Snapshot, SnapshotNode};
use sluice_testkit::engine::MemoryEngine;
use sluice_testkit::fixture;
use std::collections::BTreeMap;

fn ask() -> NodeId {
    "ask".parse().expect("a node")
}

/// A run whose node `ask` waits for its answer, as the runner itself writes it.
async fn waiting(table: &Table, round: u32, token: &str) -> Run {
    let run = Run { state: sample::waiting(&[ask().as_str()]), rev: 3, ..sample::run(&mine(), round, noon()) };
    let node = SnapshotNode {
        node_id: ask(),
        node_type: NodeType::External,
        run: NodeRun::External,
        processor: None,
        tag: None,
        max_attempts: 1,
        retry_interval_seconds: 1,
        retry_backoff_rate: 1,
        params: BTreeMap::new(),
        depends_on: Vec::new(),
        data_source: None,
        data_target: None,
        reused_from: None,
        schema: None,
        private: false,
        private_params: Vec::new(),
        directives: Directives::default(),
        left_out: false,
        given: false,
    };
    let snapshot_text = Snapshot { nodes: vec![node], ..sample::snapshot(&run) }.to_text().expect("JSON");
    put_with(table, NewRun { snapshot_text, ..new_run(&run, None, None) }).await;
    let step = || keys::step(&mine(), run.run_id, &ask());
    let begun = [
        (":runId", s(run.run_id.to_string())),
        (":tenantId", s(mine().to_string())),
        (":nodeId", s("ask")),
        (":nodeType", s("external")),
        (":stage", n(0)),
        (":now", s(runner::LATER)),
    ];
    assert!(runner::write(table, "RecordStart", step(), &begun).await);
    let waits = [(":token", s(token)), (":attempt", n(1)), (":now", s(runner::LATER))];
    assert!(runner::write(table, "AwaitAnswer", step(), &waits).await);
    run
}

async fn give(table: Table, engine: MemoryEngine, run: Run, who: &'static str, value: &'static str) -> Answer<Run> {
    let caller = Caller { principal: Principal(who.to_owned()), ..fixture::caller("mine") };
    let now = noon() + SignedDuration::from_secs(30);
    Box::pin(answer_node(&table.store, &engine, &caller, run.run_id, &ask(), value.to_owned(), now)).await
}

async fn answer_against_answer(arena: Arena, round: u32) -> &'static str {
    const YES: &str = r#"{"approved": true}"#;
    const NO: &str = r#"{"approved": false}"#;
    let token = format!("token {round}");
    let run = waiting(arena.party(0), round, &token).await;
    let engine = executing(&run).await;
    engine.wait_for(&run.execution_arn(), &token);
    let (yes, no) = arena
        .race(
            round,
            |table| give(table, engine.clone(), run.clone(), "one", YES),
            |table| give(table, engine.clone(), run.clone(), "another", NO),
        )
        .await;
    let (outcome, taken, refusal) = match (yes, no) {
        (Ok(_), Err(refusal)) => ("yes", YES, refusal),
        (Err(refusal), Ok(_)) => ("no", NO, refusal),
        both => panic!("round {round}: {both:?}"),
    };
    assert!(matches!(refusal, Refusal::Conflict { code: ConflictCode::NotWaiting, .. }), "{refusal:?}");
    assert_eq!(engine.take_answer(&token).as_deref(), Some(taken), "the runner has the answer that was accepted");
    let table = arena.party(0);
    let kept = table.store.load_answer(&mine(), run.run_id, &ask()).await.expect("loaded");
    assert_eq!(kept, Some((token, NodeOutcome::Result(taken.to_owned()))));
    let after = found(table, &run).await;
    assert_eq!((after.status(), after.rev), (RunStatus::Running, 5), "answered, and noted that it was handed over");
    assert!(after.state.waiting_nodes().is_empty() && after.state.answered_nodes().is_empty(), "{after:?}");
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_answers_one_is_taken_and_the_other_told_so() {
    let arena = Arena::new(4).await;
    let tally = play(&arena, rounds(300), answer_against_answer).await;
    tally.has_all("answer against answer", &["no", "yes"]);
}
