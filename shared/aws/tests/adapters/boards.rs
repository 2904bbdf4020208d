//! The rules of the port of boards, over DynamoDB; and what a board takes of a table.

use crate::support::relay::Trouble;
use crate::support::sample::{mine, new_run, noon, run};
use crate::support::table::Table;
use jiff::SignedDuration;
use sluice_aws::dynamo::{Store, keys};
use sluice_core::board::{Board, Record, Wake};
use sluice_core::graph::Graph;
use sluice_core::id::NodeId;
use sluice_core::ports::{
    BoardChange, Boards, PurgeRuns, ReadRuns, RecordRun, StepPart, StoreErrorClass, WaitingWorker,
};
use sluice_core::report::{NodeAnswer, NodeOutcome};
use sluice_core::run::{Run, RunState, Times};
use sluice_core::schedule::{Schedule, Task};
use sluice_core::step::{Step, StepStatus};
use sluice_testkit::contract::boards::Ground;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;

impl Ground for Table {
    type Store = Store;

    fn ports(&self) -> Store {
        self.another_store()
    }

    async fn pause(&self) {
        sluice_testkit::turn().await;
    }
}

fn over_dynamodb(rule: impl for<'a> FnOnce(&'a Table) -> Pin<Box<dyn Future<Output = ()> + 'a>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { rule(&Table::new().await).await });
}

sluice_testkit::board_rules!(over_dynamodb);

/// A run that goes on, recorded.
async fn going_on(table: &Table, number: u32) -> Run {
    let run = Run { state: RunState::running(Times::started(noon())), ..run(&mine(), number, noon()) };
    table.store.record_run(&new_run(&run, None, None)).await.expect("recorded");
    run
}

fn id(text: &str) -> NodeId {
    text.parse().expect("a node")
}

/// The board of a run of so many nodes without edges.
fn board(nodes: usize) -> Board {
    let graph = Graph::new(nodes, []).expect("a graph");
    Board::new(&Schedule::new(graph, vec![Task::default(); nodes], true).expect("a schedule"))
}

/// A first change, with its wake due at noon.
fn first(run: &Run, nodes: usize) -> BoardChange {
    let wake = Some(Wake { due_at: noon(), workers: BTreeSet::from([1]) });
    BoardChange {
        tenant_id: mine(),
        run_id: run.run_id,
        record: Record { rev: 1, board: board(nodes), waits: BTreeMap::new(), wake },
        expected_run_rev: run.rev,
        asker: Some(WaitingWorker { worker: 0, turn: 1, token: "token".to_owned() }),
        steps: Vec::new(),
        parts: Vec::new(),
        answer: None,
        head: None,
    }
}

fn step(run: &Run, node_id: NodeId) -> Step {
    Step {
        run_id: run.run_id,
        node_id,
        node_type: "processor".to_owned(),
        stage: 0,
        status: StepStatus::Running,
        attempt: 1,
        started_at: Some(noon()),
        ended_at: None,
        result: None,
        result_bytes: None,
        error: None,
        progress: None,
        iteration: None,
        fan: None,
    }
}

#[tokio::test]
async fn a_change_is_one_transaction_and_a_read_of_the_board_one_call() {
    let table = Table::new().await;
    let run = going_on(&table, 1).await;
    table.relay.take_passed();
    let steps = (0..40).map(|number| step(&run, id(&format!("node-{number}")))).collect();
    let parts = vec![(id("node-0"), StepPart::Item(3), NodeOutcome::Result("1".to_owned()))];
    let said = NodeAnswer { outcome: NodeOutcome::Result("2".to_owned()), by: "someone".to_owned(), at: noon() };
    let change = BoardChange { steps, parts, answer: Some((id("node-1"), said)), ..first(&run, 40) };
    assert!(table.store.write_board(&change).await.expect("an answer"));
    assert_eq!(table.relay.take_passed(), ["TransactWriteItems"]);
    let read = table.store.read_board(&mine(), run.run_id).await.expect("an answer");
    assert_eq!(read, Some(change.record));
    assert_eq!(table.relay.take_passed(), ["GetItem"]);
    // What came of an item is no step.
    assert_eq!(table.store.list_steps(&mine(), run.run_id).await.expect("listed").len(), 40);
    table.store.purge_run(&mine(), run.run_id).await.expect("purged");
    let pk = keys::run_pk(&mine(), run.run_id);
    assert_eq!(table.everything().await.into_keys().filter(|(found, _)| *found == pk).collect::<Vec<_>>(), []);
}

#[tokio::test]
async fn a_change_whose_answer_was_lost_is_not_refused_by_itself() {
    let table = Table::new().await;
    let run = going_on(&table, 1).await;
    table.relay.trouble("TransactWriteItems", [Trouble::LoseAnswer]);
    assert!(table.store.write_board(&first(&run, 2)).await.expect("an answer"));
    assert!(!table.store.write_board(&first(&run, 2)).await.expect("an answer"), "another one like it is");
}

#[tokio::test]
async fn word_waits_for_a_change_that_is_in_its_way() {
    let table = Table::new().await;
    let run = going_on(&table, 1).await;
    assert!(table.store.write_board(&first(&run, 2)).await.expect("an answer"));
    let conflict = || Trouble::canceled("TransactionConflict");
    table.relay.trouble("TransactWriteItems", [conflict(), conflict()]);
    table.store.told(&mine(), run.run_id, 1, None).await.expect("noted");
    let read = table.store.read_board(&mine(), run.run_id).await.expect("an answer").expect("a board");
    assert_eq!(read.wake, None);
}

#[tokio::test]
async fn many_due_boards_come_in_pages_the_one_due_for_longest_first() {
    let table = Table::new().await;
    let count = 250;
    let mut expected = Vec::new();
    for number in (0..count).rev() {
        // Ids sixteen apart share a shard.
        let run = going_on(&table, number * 16).await;
        let mut change = first(&run, 1);
        let due_at = noon() + SignedDuration::from_millis(i64::from(number));
        change.record.wake = Some(Wake { due_at, workers: BTreeSet::new() });
        assert!(table.store.write_board(&change).await.expect("an answer"));
        expected.insert(0, run.run_id);
    }
    let now = noon() + SignedDuration::from_millis(i64::from(count - 2));
    let _ = expected.pop();
    let (mut found, mut cursor, mut pages) = (Vec::new(), None::<String>, 0);
    loop {
        let page = table.store.due_boards(0, now, cursor.as_deref()).await.expect("a page");
        found.extend(page.items.into_iter().map(|run| run.run_id));
        pages += 1;
        cursor = page.next;
        let Some(cursor) = &cursor else { break };
        let elsewhere = table.store.due_boards(1, now, Some(cursor)).await.expect_err("another shard's");
        assert_eq!(elsewhere.class, StoreErrorClass::Corrupt);
    }
    assert_eq!((pages, found), (2, expected));
}
