//! The port of boards, rule by rule. What is listed is asked for until it is there: see the port's own words.

use super::store::Ports as StorePorts;
use super::store::reports::{going_and_gone, running};
use super::{at_once, becomes};
use crate::contract::sample::{at, mine, noon, yours};
use jiff::Timestamp;
use sluice_core::board::{Act, Board, Fan, Record, Wake};
use sluice_core::change::RunChange;
use sluice_core::graph::Graph;
use sluice_core::id::NodeId;
use sluice_core::lifecycle::{RunEvent, RunStatus, StopIntent};
use sluice_core::ports::{
    BoardChange, Boards, ChangeRun, Changed, LoadRun, PurgeRuns, ReadRuns, RecordReports, RunRef, SHARDS, StepPart,
    WaitingWorker,
};
use sluice_core::report::{NodeAnswer, NodeOutcome, Progress};
use sluice_core::run::{Run, RunError};
use sluice_core::schedule::{Schedule, Task};
use sluice_core::step::{Step, StepStatus};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

/// Every rule as a test: see [`rules!`](crate::rules).
#[macro_export]
macro_rules! board_rules {
    ($judge:path) => {
        $crate::rules! {
            judge: $judge, of: boards,
            a_board_is_read_back_as_it_was_written,
            a_change_on_another_rev_writes_nothing,
            of_many_changes_of_one_board_one_is_written,
            a_change_of_the_head_is_written_with_its_board_or_neither_is,
            a_change_on_another_rev_of_the_run_writes_nothing,
            a_run_that_is_gone_or_going_gets_no_board,
            a_step_keeps_when_it_began_and_what_was_said_of_its_progress,
            parts_of_a_step_and_what_was_said_of_a_node_are_read_back,
            a_worker_waits_with_the_token_that_it_asked_with_last,
            a_wake_is_found_when_it_is_due_until_everybody_was_told,
            word_of_an_earlier_wake_changes_nothing,
            a_purged_run_has_no_board,
        }
    };
}

/// What boards need, and the runs that they are of.
pub trait Ports: StorePorts + Boards {}

impl<T: StorePorts + Boards> Ports for T {}

/// A table, empty, on which a rule is tried.
pub trait Ground {
    type Store: Ports;

    fn ports(&self) -> Self::Store;
    /// Lets an index catch up, between two looks at it.
    fn pause(&self) -> impl Future<Output = ()>;
}

fn schedule() -> Schedule {
    let graph = Graph::new(2, [(0, 1)]).expect("a graph");
    Schedule::new(graph, vec![Task::default(); 2], true).expect("a schedule")
}

/// The first board of a run, whose first worker has been given its first node.
fn begun() -> Record {
    let mut board = Board::new(&schedule());
    board.ask(&schedule(), 0, 1, None).expect("its turn");
    assert!(matches!(board.hand_out(&schedule())[..], [told] if matches!(told.act, Act::Work { .. })));
    let wake = Wake { due_at: noon(), workers: BTreeSet::from([0, 3]) };
    let waits = BTreeMap::from([(1, at("2026-11-28T12:00:00.123Z"))]);
    Record { rev: 1, board, waits, wake: Some(wake) }
}

fn change(run: &Run, record: Record) -> BoardChange {
    BoardChange {
        tenant_id: run.tenant_id.clone(),
        run_id: run.run_id,
        record,
        expected_run_rev: run.rev,
        asker: None,
        steps: Vec::new(),
        parts: Vec::new(),
        answer: None,
        head: None,
    }
}

fn id(text: &str) -> NodeId {
    text.parse().expect("a node")
}

fn step(run: &Run, status: StepStatus, now: Timestamp) -> Step {
    Step {
        run_id: run.run_id,
        node_id: id("report"),
        node_type: "processor".to_owned(),
        stage: 2,
        status,
        attempt: 1,
        started_at: Some(now),
        ended_at: None,
        result: None,
        result_bytes: None,
        error: None,
        progress: None,
        iteration: Some(2),
        fan: Some(Fan { total: 5, begun: 4, done: 2, failed: 1 }),
    }
}

fn asker(token: &str, turn: u32) -> WaitingWorker {
    WaitingWorker { worker: 0, turn, token: token.to_owned() }
}

async fn write(store: &impl Ports, change: &BoardChange) -> bool {
    store.write_board(change).await.expect("an answer")
}

async fn read(store: &impl Ports, run: &Run) -> Option<Record> {
    store.read_board(&run.tenant_id, run.run_id).await.expect("an answer")
}

pub async fn a_board_is_read_back_as_it_was_written(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    assert_eq!(read(&store, &run).await, None);
    assert!(write(&store, &change(&run, begun())).await);
    assert_eq!(read(&store, &run).await, Some(begun()));
    let next = Record { rev: 2, waits: BTreeMap::new(), wake: None, ..begun() };
    assert!(write(&store, &change(&run, next.clone())).await);
    assert_eq!(read(&store, &run).await, Some(next));
    assert_eq!(store.read_board(&yours(), run.run_id).await.expect("an answer"), None);
}

pub async fn a_change_on_another_rev_writes_nothing(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    for (written, refused) in [(None, [0, 2, 3]), (Some(1), [0, 1, 3])] {
        if written.is_some() {
            assert!(write(&store, &change(&run, begun())).await);
        }
        let before = read(&store, &run).await;
        for rev in refused {
            let late = BoardChange {
                asker: Some(asker("late", 9)),
                steps: vec![step(&run, StepStatus::Running, noon())],
                parts: vec![(id("report"), StepPart::Item(0), NodeOutcome::Result("1".to_owned()))],
                answer: Some((id("report"), answer())),
                ..change(&run, Record { rev, wake: None, ..begun() })
            };
            assert!(!write(&store, &late).await, "{rev} over {written:?}");
        }
        assert_eq!(read(&store, &run).await, before);
        let workers = store.waiting_workers(&mine(), run.run_id, &BTreeSet::from([0])).await.expect("an answer");
        assert_eq!(workers, []);
        assert_eq!(store.list_steps(&mine(), run.run_id).await.expect("an answer"), []);
        assert!(store.load_parts(&mine(), run.run_id, &id("report")).await.expect("an answer").is_empty());
        assert_eq!(store.list_inputs(&mine(), run.run_id).await.expect("an answer"), []);
    }
}

pub async fn of_many_changes_of_one_board_one_is_written(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    for rev in 1..=3 {
        let changes: Vec<BoardChange> = (0..16)
            .map(|racer| {
                let token = format!("{rev} {racer}");
                BoardChange {
                    asker: Some(asker(&token, rev)),
                    ..change(&run, Record { rev: u64::from(rev), ..begun() })
                }
            })
            .collect();
        let written = at_once(changes.iter().map(|change| write(&store, change))).await;
        let winners: Vec<&BoardChange> =
            changes.iter().zip(&written).filter(|(_, written)| **written).map(|(change, _)| change).collect();
        let [winner] = winners[..] else { panic!("{} were written", winners.len()) };
        let waiting = store.waiting_workers(&mine(), run.run_id, &BTreeSet::from([0])).await.expect("an answer");
        assert_eq!(Some(&waiting[0]), winner.asker.as_ref());
    }
}

pub async fn a_change_of_the_head_is_written_with_its_board_or_neither_is(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    let waiting = run.awaiting("report", noon()).expect("it runs");
    let stale = Run { rev: run.rev + 5, ..run.clone() };
    let late = BoardChange { head: Some(RunChange::new(&stale, waiting.clone())), ..change(&stale, begun()) };
    assert!(!write(&store, &late).await);
    assert_eq!(read(&store, &run).await, None);
    let good = BoardChange { head: Some(RunChange::new(&run, waiting.clone())), ..change(&run, begun()) };
    assert!(write(&store, &good).await);
    let found = store.load_run(&mine(), run.run_id).await.expect("loaded").expect("a run");
    assert_eq!((found.status(), &found), (RunStatus::WaitingForInput, &waiting));
    // A board that is not the one expected keeps the head as it is.
    let answered = found.answered("report", noon()).expect("it waits");
    let late = BoardChange { head: Some(RunChange::new(&found, answered)), ..change(&found, begun()) };
    assert!(!write(&store, &late).await);
    assert_eq!(store.load_run(&mine(), run.run_id).await.expect("loaded"), Some(waiting));
}

pub async fn a_change_on_another_rev_of_the_run_writes_nothing(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    let stopping = run.after(RunEvent::StopAsked(StopIntent::CanceledByCaller), noon()).expect("it is stopped");
    assert_eq!(store.change_run(&RunChange::new(&run, stopping.clone())).await.expect("an answer"), Changed::Done);
    assert!(!write(&store, &change(&run, begun())).await);
    assert_eq!(read(&store, &run).await, None);
    assert!(write(&store, &change(&stopping, begun())).await);
    assert_eq!(read(&store, &stopping).await, Some(begun()));
}

pub async fn a_run_that_is_gone_or_going_gets_no_board(ground: &impl Ground) {
    let store = ground.ports();
    for run in going_and_gone(&store).await {
        assert!(!write(&store, &change(&run, begun())).await);
        assert_eq!(read(&store, &run).await, None);
    }
}

pub async fn a_step_keeps_when_it_began_and_what_was_said_of_its_progress(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    let begins = vec![step(&run, StepStatus::Running, noon())];
    assert!(write(&store, &BoardChange { steps: begins, ..change(&run, begun()) }).await);
    let progress = Progress { percent: Some(40), message: None, at: noon() };
    assert!(store.record_progress(&mine(), run.run_id, &id("report"), &progress).await.expect("an answer"));
    let later = at("2026-11-28T13:00:00Z");
    let ended = Step {
        attempt: 3,
        ended_at: Some(later),
        result: Some(r#"{"n": 1.10}"#.to_owned()),
        result_bytes: Some(11),
        ..step(&run, StepStatus::Succeeded, later)
    };
    let next = Record { rev: 2, ..begun() };
    assert!(write(&store, &BoardChange { steps: vec![ended.clone()], ..change(&run, next) }).await);
    let found = store.load_step(&mine(), run.run_id, &id("report")).await.expect("an answer");
    assert_eq!(found, Some(Step { started_at: Some(noon()), progress: Some(progress), ..ended }));
}

fn answer() -> NodeAnswer {
    NodeAnswer { outcome: NodeOutcome::Result(r#"{"n":1.10}"#.to_owned()), by: "someone".to_owned(), at: noon() }
}

pub async fn parts_of_a_step_and_what_was_said_of_a_node_are_read_back(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    let good = |text: &str| NodeOutcome::Result(text.to_owned());
    let bad = NodeOutcome::Failure(RunError { code: "Timeout".to_owned(), message: "é".to_owned() });
    let parts = [
        (StepPart::Item(0), good(r#"{"n": 1.10}"#)),
        (StepPart::Item(11), bad),
        (StepPart::Iteration(2), good("null")),
    ];
    for (rev, (part, outcome)) in (1..).zip(parts.clone()) {
        let parts = vec![(id("report"), part, outcome)];
        let answer = (rev == 1).then(|| (id("report"), answer()));
        assert!(write(&store, &BoardChange { parts, answer, ..change(&run, Record { rev, ..begun() }) }).await);
    }
    let found = store.load_parts(&mine(), run.run_id, &id("report")).await.expect("an answer");
    for (part, outcome) in &parts {
        let one = store.load_part(&mine(), run.run_id, &id("report"), *part).await.expect("an answer");
        assert_eq!(one.as_ref(), Some(outcome));
    }
    for none in [StepPart::Item(1), StepPart::Iteration(11), StepPart::Iteration(0)] {
        assert_eq!(store.load_part(&mine(), run.run_id, &id("report"), none).await.expect("an answer"), None);
    }
    assert_eq!(found, BTreeMap::from(parts));
    assert!(store.load_parts(&mine(), run.run_id, &id("repor")).await.expect("an answer").is_empty());
    let inputs = store.list_inputs(&mine(), run.run_id).await.expect("an answer");
    let given = store.load_inputs(&mine(), run.run_id, &inputs.iter().collect::<Vec<_>>()).await.expect("an answer");
    assert_eq!(given, [answer().outcome]);
}

pub async fn a_worker_waits_with_the_token_that_it_asked_with_last(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    for (rev, token, turn) in [(1, "first", 1), (2, "its retry", 1), (3, "second", 2)] {
        let asked = BoardChange { asker: Some(asker(token, turn)), ..change(&run, Record { rev, ..begun() }) };
        assert!(write(&store, &asked).await);
        let found = store.waiting_workers(&mine(), run.run_id, &BTreeSet::from([0, 1])).await.expect("an answer");
        assert_eq!(found, [asker(token, turn)]);
    }
}

/// The runs whose wake is due, of all shards.
async fn due(store: &impl Ports, now: Timestamp) -> Vec<RunRef> {
    let mut found = Vec::new();
    for shard in 0..SHARDS {
        let mut cursor = None;
        loop {
            let page = store.due_boards(shard, now, cursor.as_deref()).await.expect("a page");
            found.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
    }
    found
}

pub async fn a_wake_is_found_when_it_is_due_until_everybody_was_told(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    assert!(write(&store, &change(&run, begun())).await);
    let this = vec![RunRef { tenant_id: mine(), run_id: run.run_id }];
    let (early, later) = (at("2026-11-22T11:59:59Z"), at("2026-11-30T12:00:00Z"));
    becomes(this.clone(), || ground.pause(), async || due(&store, noon()).await).await;
    assert_eq!(due(&store, early.min(noon() - jiff::SignedDuration::from_secs(1))).await, []);
    store.told(&mine(), run.run_id, 1, Some(later)).await.expect("an answer");
    becomes(Vec::new(), || ground.pause(), async || due(&store, noon()).await).await;
    becomes(this, || ground.pause(), async || due(&store, later).await).await;
    let wake = read(&store, &run).await.expect("a board").wake;
    assert_eq!(wake, Some(Wake { due_at: later, workers: BTreeSet::new() }));
    store.told(&mine(), run.run_id, 1, None).await.expect("an answer");
    becomes(Vec::new(), || ground.pause(), async || due(&store, later).await).await;
    assert_eq!(read(&store, &run).await, Some(Record { wake: None, ..begun() }));
    store.told(&mine(), run.run_id, 1, Some(later)).await.expect("an answer");
    assert_eq!(read(&store, &run).await, Some(Record { wake: None, ..begun() }), "what is no more is not made");
}

pub async fn word_of_an_earlier_wake_changes_nothing(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    assert!(write(&store, &change(&run, begun())).await);
    let next = Record { rev: 2, ..begun() };
    assert!(write(&store, &change(&run, next.clone())).await);
    for told in [None, Some(noon())] {
        store.told(&mine(), run.run_id, 1, told).await.expect("an answer");
        assert_eq!(read(&store, &run).await, Some(next.clone()));
    }
}

pub async fn a_purged_run_has_no_board(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    let written = BoardChange {
        asker: Some(asker("token", 1)),
        parts: vec![(id("report"), StepPart::Item(0), NodeOutcome::Result("1".to_owned()))],
        ..change(&run, begun())
    };
    assert!(write(&store, &written).await);
    store.purge_run(&mine(), run.run_id).await.expect("purged");
    assert_eq!(read(&store, &run).await, None);
    assert!(store.load_parts(&mine(), run.run_id, &id("report")).await.expect("an answer").is_empty());
    let workers = store.waiting_workers(&mine(), run.run_id, &BTreeSet::from([0])).await.expect("an answer");
    assert_eq!(workers, []);
    becomes(Vec::new(), || ground.pause(), async || due(&store, noon()).await).await;
}
