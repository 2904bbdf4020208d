//! Pausing, resuming and answering: the contract of `AnswerNode` over DynamoDB and in memory, and core's flows over the
//! real adapters against what the runner itself writes.

use crate::runner::{self, LATER, claim, listed, load, recorded, write_head};
use crate::support::http::{Asked, Scripted};
use crate::support::relay::Trouble;
use crate::support::sample::{self, at, mine, new_run, noon, run, yours};
use crate::support::table::Table;
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::SignedDuration;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sluice_aws::config::Settings;
use sluice_aws::dynamo::item::{Item, n, s, text};
use sluice_aws::dynamo::keys;
use sluice_aws::{Aws, Engine};
use sluice_core::definition::NodeType;
use sluice_core::flow::control_run::{answer_node, hand_over, pause_run, resume_run};
use sluice_core::flow::{Refusal, settle_run};
use sluice_core::id::NodeId;
use sluice_core::lifecycle::{RunEvent, RunStatus, StopIntent};
use sluice_core::ports::{AnswerNode, ChangeRun, Changed, LoadRun, NewRun, NodeAnswer, RecordRun};
use sluice_core::run::{EndDetails, Run, RunChange};
use sluice_core::snapshot::{NodeRun, Snapshot, SnapshotNode};
use sluice_testkit::fixture;
use sluice_testkit::store::MemoryStore;
use std::collections::BTreeSet;

/// A store, and what the runner writes into it when one of its nodes waits.
trait Waits: Clone + Send + Sync + 'static {
    type Ports: AnswerNode + RecordRun + Clone + 'static;
    fn ports(&self) -> Self::Ports;
    fn begin_wait(&self, run: &Run, node: &str, token: &str) -> impl Future<Output = ()> + Send;
    fn end_wait(&self, run: &Run, node: &str) -> impl Future<Output = ()> + Send;
}

impl Waits for MemoryStore {
    type Ports = Self;
    fn ports(&self) -> Self {
        self.clone()
    }
    async fn begin_wait(&self, run: &Run, node: &str, token: &str) {
        MemoryStore::begin_wait(self, &run.tenant_id, run.run_id, &node_id(node), token);
    }
    async fn end_wait(&self, run: &Run, node: &str) {
        MemoryStore::end_wait(self, &run.tenant_id, run.run_id, &node_id(node));
    }
}

impl Waits for Table {
    type Ports = sluice_aws::dynamo::Store;
    fn ports(&self) -> Self::Ports {
        self.store.clone()
    }
    async fn begin_wait(&self, run: &Run, node: &str, token: &str) {
        let key = || keys::step(&run.tenant_id, run.run_id, &node_id(node));
        let given = [
            (":runId", s(run.run_id.to_string())),
            (":tenantId", s(run.tenant_id.to_string())),
            (":nodeId", s(node)),
            (":nodeType", s("external")),
            (":stage", n(0)),
            (":now", s(LATER)),
        ];
        if self.item(key()).await.is_none() {
            assert!(runner::write(self, "RecordStart", key(), &given).await);
        }
        let given = [(":token", s(token)), (":attempt", n(1)), (":now", s(LATER))];
        assert!(runner::write(self, "AwaitAnswer", key(), &given).await);
    }
    async fn end_wait(&self, run: &Run, node: &str) {
        let key = keys::step(&run.tenant_id, run.run_id, &node_id(node));
        let given = [(":result", s("1")), (":bytes", n(1)), (":attempt", n(1)), (":now", s(LATER))];
        assert!(runner::write(self, "RecordResult", key, &given).await);
    }
}

/// Each contract as one test over DynamoDB and one in memory.
macro_rules! contracts {
    ($($name:ident),* $(,)?) => {
        mod over_dynamodb {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Table::new().await).await;
            })*
        }
        mod in_memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::MemoryStore::default()).await;
            })*
        }
    };
}

contracts![
    an_answer_is_recorded_with_its_run_and_read_back_as_it_was_given,
    of_many_answers_one_is_recorded,
    of_an_answer_and_a_cancel_one_is_first,
    an_answer_on_an_old_rev_writes_nothing_and_shows_the_run_as_it_is,
    a_node_that_does_not_wait_cannot_be_answered,
    a_node_that_waits_anew_has_no_answer,
];

fn node_id(text: &str) -> NodeId {
    text.parse().expect("a node")
}

fn answer(value: &str) -> NodeAnswer {
    NodeAnswer { value: value.to_owned(), by: "mine/someone".to_owned(), at: noon() }
}

/// A run that waits for `approval` and `figures`; the first wait has begun.
async fn waiting(waits: &impl Waits) -> Run {
    let run = Run {
        status: RunStatus::WaitingForInput,
        waiting_nodes: BTreeSet::from(["approval".to_owned(), "figures".to_owned()]),
        rev: 7,
        ..run(&mine(), 1, noon())
    };
    waits.ports().record_run(&new_run(&run, None, None)).await.expect("recorded");
    waits.begin_wait(&run, "approval", "token 1").await;
    run
}

/// What answering a node makes of a run.
fn answered(run: &Run, node: &str) -> RunChange {
    let others_wait = run.waiting_nodes.len() > 1;
    let mut after = run.after(RunEvent::InputGiven { others_wait }, noon()).expect("a change");
    after.waiting_nodes.remove(node);
    after.answered_nodes.insert(node.to_owned());
    RunChange { expected_rev: run.rev, run: after, output: None, deliveries: Vec::new() }
}

async fn load_answer(waits: &impl Waits, run: &Run, node: &str) -> Option<(String, String)> {
    waits.ports().load_answer(&run.tenant_id, run.run_id, &node_id(node)).await.expect("an answer")
}

fn given(token: &str, value: &str) -> Option<(String, String)> {
    Some((token.to_owned(), value.to_owned()))
}

async fn an_answer_is_recorded_with_its_run_and_read_back_as_it_was_given(waits: impl Waits) {
    let (run, store) = (waiting(&waits).await, waits.ports());
    assert_eq!(load_answer(&waits, &run, "approval").await, None);
    let value = r#"{"n": 1.10, "big": 12345678901234567890123}"#;
    let change = answered(&run, "approval");
    let done = store.answer_node(&change, &node_id("approval"), &answer(value)).await.expect("an answer");
    assert_eq!(done, Some(Changed::Done));
    assert_eq!(store.load_run(&mine(), run.run_id).await.expect("loaded"), Some(change.run.clone()));
    assert_eq!(load_answer(&waits, &run, "approval").await, given("token 1", value));

    let again = RunChange { expected_rev: 8, run: Run { rev: 9, ..change.run.clone() }, ..change.clone() };
    let late = store.answer_node(&again, &node_id("approval"), &answer("2")).await.expect("an answer");
    assert_eq!(late, None, "it has its answer");
    assert_eq!(store.load_run(&mine(), run.run_id).await.expect("loaded"), Some(change.run));
    assert_eq!(load_answer(&waits, &run, "approval").await, given("token 1", value));
    waits.end_wait(&run, "approval").await;
    assert_eq!(load_answer(&waits, &run, "approval").await, None);
}

async fn of_many_answers_one_is_recorded(waits: impl Waits) {
    let run = waiting(&waits).await;
    let change = answered(&run, "approval");
    let answerers: Vec<_> = (0..16)
        .map(|number| {
            let (store, change) = (waits.ports(), change.clone());
            tokio::spawn(async move {
                let value = number.to_string();
                let outcome = store.answer_node(&change, &node_id("approval"), &answer(&value)).await;
                (value, outcome.expect("an answer"))
            })
        })
        .collect();
    let mut winners = Vec::new();
    for answerer in answerers {
        match answerer.await.expect("no panic") {
            (value, Some(Changed::Done)) => winners.push(value),
            (_, other) => assert_eq!(other, Some(Changed::Stale(Some(Box::new(change.run.clone()))))),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(load_answer(&waits, &run, "approval").await, given("token 1", &winners[0]));
}

async fn of_an_answer_and_a_cancel_one_is_first(waits: impl Waits) {
    let (run, store) = (waiting(&waits).await, waits.ports());
    let canceling = run.after(RunEvent::StopAsked(StopIntent::CanceledByCaller), noon()).expect("a change");
    let cancel = RunChange { expected_rev: run.rev, run: canceling, output: None, deliveries: Vec::new() };
    let change = answered(&run, "approval");
    let (approval, value) = (node_id("approval"), answer("1"));
    let (answered, canceled) = tokio::join!(store.answer_node(&change, &approval, &value), store.change_run(&cancel));
    let found = store.load_run(&mine(), run.run_id).await.expect("loaded").expect("a run");
    match (answered.expect("an answer").expect("it waits"), canceled.expect("an answer")) {
        (Changed::Done, Changed::Stale(Some(current))) => assert_eq!((&*current, &found), (&change.run, &change.run)),
        (Changed::Stale(Some(current)), Changed::Done) => {
            assert_eq!((&*current, &found), (&cancel.run, &cancel.run));
            assert_eq!(load_answer(&waits, &run, "approval").await, None);
        }
        both => panic!("{both:?}"),
    }
}

async fn an_answer_on_an_old_rev_writes_nothing_and_shows_the_run_as_it_is(waits: impl Waits) {
    let (run, store) = (waiting(&waits).await, waits.ports());
    let change = answered(&Run { rev: 6, ..run.clone() }, "approval");
    let stale = store.answer_node(&change, &node_id("approval"), &answer("1")).await.expect("an answer");
    assert_eq!(stale, Some(Changed::Stale(Some(Box::new(run.clone())))));
    // Stale comes first: only a run as it is can say that its node does not wait.
    let stale = store.answer_node(&change, &node_id("figures"), &answer("1")).await.expect("an answer");
    assert_eq!(stale, Some(Changed::Stale(Some(Box::new(run.clone())))));
    assert_eq!(load_answer(&waits, &run, "approval").await, None);
    let theirs = RunChange { run: Run { tenant_id: yours(), ..change.run.clone() }, ..change };
    let nobody = store.answer_node(&theirs, &node_id("approval"), &answer("1")).await.expect("an answer");
    assert_eq!(nobody, Some(Changed::Stale(None)));
}

async fn a_node_that_does_not_wait_cannot_be_answered(waits: impl Waits) {
    let (run, store) = (waiting(&waits).await, waits.ports());
    // Announced on the head, but its wait has not begun.
    let change = answered(&run, "figures");
    assert_eq!(store.answer_node(&change, &node_id("figures"), &answer("1")).await.expect("an answer"), None);
    waits.end_wait(&run, "approval").await;
    let change = answered(&run, "approval");
    assert_eq!(store.answer_node(&change, &node_id("approval"), &answer("1")).await.expect("an answer"), None);
    assert_eq!(store.load_run(&mine(), run.run_id).await.expect("loaded"), Some(run.clone()), "nothing was written");
    for node in ["figures", "approval", "none"] {
        assert_eq!(load_answer(&waits, &run, node).await, None, "{node}");
    }
}

async fn a_node_that_waits_anew_has_no_answer(waits: impl Waits) {
    let (run, store) = (waiting(&waits).await, waits.ports());
    let change = answered(&run, "approval");
    store.answer_node(&change, &node_id("approval"), &answer("1")).await.expect("an answer");
    waits.begin_wait(&run, "approval", "token 2").await;
    assert_eq!(load_answer(&waits, &run, "approval").await, None, "that was the answer to another wait");
    let change = RunChange { expected_rev: 8, run: Run { rev: 9, ..change.run.clone() }, ..change };
    let done = store.answer_node(&change, &node_id("approval"), &answer("2")).await.expect("an answer");
    assert_eq!(done, Some(Changed::Done));
    assert_eq!(load_answer(&waits, &run, "approval").await, given("token 2", "2"));
}

// ---- what only a table over a network can suffer

#[tokio::test]
async fn an_answer_takes_one_round_trip_and_a_lost_one_is_still_ours() {
    let table = Table::new().await;
    let run = waiting(&table).await;
    table.relay.take_passed();
    table.relay.trouble("TransactWriteItems", [Trouble::LoseAnswer]);
    let change = answered(&run, "approval");
    let done = table.store.answer_node(&change, &node_id("approval"), &answer("1")).await.expect("an answer");
    assert_eq!(done, Some(Changed::Done));
    assert_eq!(table.relay.take_passed(), ["TransactWriteItems", "TransactWriteItems"], "asked again once");
    assert_eq!(load_answer(&table, &run, "approval").await, given("token 1", "1"));
}

#[tokio::test]
async fn the_runners_repeated_write_loses_no_answer_and_its_last_one_clears_it_away() {
    let table = Table::new().await;
    let run = waiting(&table).await;
    let change = answered(&run, "approval");
    table.store.answer_node(&change, &node_id("approval"), &answer("1")).await.expect("an answer");
    table.begin_wait(&run, "approval", "token 1").await;
    assert_eq!(load_answer(&table, &run, "approval").await, given("token 1", "1"));

    table.end_wait(&run, "approval").await;
    let step = table.item(keys::step(&mine(), run.run_id, &node_id("approval"))).await.expect("a step");
    for gone in ["taskToken", "answer", "answeredToken"] {
        assert!(!step.contains_key(gone), "{gone}");
    }
    assert_eq!(text(&step, "answeredBy"), Some("mine/someone"));
    assert_eq!(text(&step, "answeredAt"), Some("2026-11-22T12:00:00.123Z"));
}

// ---- core's flows over the real adapters

/// The real engine before a scripted Step Functions.
async fn engine(script: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> (Engine, Scripted) {
    let service = Scripted::start(script).await;
    (Aws::connect(&Settings::for_test(&service.endpoint)).await.engine, service)
}

async fn willing() -> (Engine, Scripted) {
    engine(|_| (200, "{}".to_owned())).await
}

async fn head(table: &Table, run: &Run) -> Item {
    table.item(keys::run_head(&run.tenant_id, run.run_id)).await.expect("a head")
}

async fn check_pause(table: &Table, run: &Run) -> bool {
    let given = [(":stage", n(1)), (":now", s(LATER))];
    runner::write(table, "PauseCheck", keys::run_head(&run.tenant_id, run.run_id), &given).await
}

async fn reach_gate(table: &Table, run: &Run, token: &str) -> bool {
    write_head(table, run, "PauseGate", "PAUSED", LATER, &[(":token", s(token))]).await
}

fn tasks(service: &Scripted) -> Vec<(Value, Value)> {
    let of = |asked: Asked| serde_json::from_str::<Value>(&asked.body).expect("JSON");
    let bodies = service.asked().into_iter().map(of);
    bodies.map(|body| (body["taskToken"].clone(), body["output"].clone())).collect()
}

#[tokio::test]
async fn a_run_pauses_at_its_gate_and_a_resume_leaves_nothing_of_the_pause() {
    let table = Table::new().await;
    let (run, caller, (engine, service)) = (recorded(&table).await, fixture::caller("mine"), willing().await);
    assert!(claim(&table, &run).await);
    assert!(check_pause(&table, &run).await, "nobody asked for a pause");
    assert!(!reach_gate(&table, &run, "too early").await);

    let asked = pause_run(&table.store, &caller, run.run_id, noon()).await.expect("asked");
    assert_eq!((asked.status, asked.pause_requested_at), (RunStatus::Running, Some(noon())));
    assert_eq!(load(&table, &run).await, asked);
    assert!(!check_pause(&table, &run).await);
    assert!(reach_gate(&table, &run, "gate").await);
    let paused = load(&table, &run).await;
    assert_eq!((paused.status, paused.pause_token.as_deref()), (RunStatus::Paused, Some("gate")));
    assert_eq!(listed(&table, RunStatus::Paused).await, 1);

    let resumed = resume_run(&table.store, &engine, &caller, run.run_id, noon()).await.expect("resumed");
    assert_eq!((resumed.status, resumed.pause_token.as_ref()), (RunStatus::Running, None));
    assert_eq!(load(&table, &run).await, resumed);
    assert_eq!(tasks(&service), [(json!("gate"), json!("{}"))]);
    let item = head(&table, &run).await;
    for gone in ["pauseRequestedAt", "pauseToken"] {
        assert!(!item.contains_key(gone), "{gone}");
    }
    assert!(item.contains_key("executionArn") && item.contains_key("openShard"));
    assert_eq!((listed(&table, RunStatus::Paused).await, listed(&table, RunStatus::Running).await), (0, 1));
    assert!(check_pause(&table, &run).await, "and the runner goes on");
}

#[tokio::test]
async fn a_pause_taken_back_in_time_never_happens() {
    let table = Table::new().await;
    let (run, caller, (engine, service)) = (recorded(&table).await, fixture::caller("mine"), willing().await);
    assert!(claim(&table, &run).await);
    pause_run(&table.store, &caller, run.run_id, noon()).await.expect("asked");
    assert!(head(&table, &run).await.contains_key("pauseRequestedAt"));
    resume_run(&table.store, &engine, &caller, run.run_id, noon()).await.expect("taken back");
    assert!(!head(&table, &run).await.contains_key("pauseRequestedAt"));
    assert!(!reach_gate(&table, &run, "too late").await);
    assert!(check_pause(&table, &run).await);
    assert_eq!(tasks(&service), [], "nobody waits");
}

#[tokio::test]
async fn a_resume_that_the_engine_did_not_take_stays_owed_until_it_does() {
    let table = Table::new().await;
    let (run, caller) = (recorded(&table).await, fixture::caller("mine"));
    let (broken, _) = engine(|_| (500, r#"{"__type":"InternalFailure"}"#.to_owned())).await;
    assert!(claim(&table, &run).await);
    pause_run(&table.store, &caller, run.run_id, noon()).await.expect("asked");
    assert!(reach_gate(&table, &run, "gate").await);
    let resumed = resume_run(&table.store, &broken, &caller, run.run_id, noon()).await.expect("resumed");
    assert_eq!(load(&table, &run).await, resumed);
    assert!(resumed.owes_a_resume() && head(&table, &run).await.contains_key("pauseToken"));

    let (over, _) = engine(|_| (400, r#"{"__type":"TaskTimedOut"}"#.to_owned())).await;
    let (after, all) = hand_over(&table.store, &over, resumed, noon()).await.expect("handed over");
    assert!(all && !after.owes_a_resume());
    assert!(!head(&table, &run).await.contains_key("pauseToken"));
    assert_eq!(load(&table, &run).await, after);
}

/// A recorded run of two external nodes.
async fn external(table: &Table) -> Run {
    let run = run(&mine(), 1, noon());
    let node = |id: &str| SnapshotNode {
        node_id: node_id(id),
        node_type: NodeType::External,
        run: NodeRun::External,
        tag: None,
        max_attempts: 1,
        retry_interval_seconds: 2,
        retry_backoff_rate: 2,
        params: std::collections::BTreeMap::new(),
        depends_on: Vec::new(),
        data_source: None,
        data_target: None,
        reused_from: None,
        schema: None,
    };
    let nodes = vec![node("approval"), node("figures")];
    let snapshot = Snapshot { nodes, ..sample::snapshot(&run) };
    let (snapshot_text, _) = snapshot.to_text().expect("JSON");
    let new = NewRun { run: run.clone(), snapshot_text, idempotency: None };
    table.store.record_run(&new).await.expect("recorded");
    assert!(claim(table, &run).await);
    for node in ["approval", "figures"] {
        let nodes = [(":nodes", AttributeValue::Ss(vec![node.to_owned()]))];
        assert!(write_head(table, &run, "ShowWaiting", "WAITING_FOR_INPUT", LATER, &nodes).await);
        table.begin_wait(&run, node, &format!("{node} token")).await;
    }
    run
}

#[tokio::test]
async fn answers_are_handed_over_one_by_one_and_the_last_one_lets_the_run_go_on() {
    let table = Table::new().await;
    let (run, caller, (engine, service)) = (external(&table).await, fixture::caller("mine"), willing().await);
    let give = |node: &'static str, value: &'static str| {
        let (table, engine, caller) = (table.clone(), engine.clone(), caller.clone());
        async move {
            let value: Box<RawValue> = RawValue::from_string(value.to_owned()).expect("JSON");
            let later = noon() + SignedDuration::from_mins(1);
            answer_node(&table.store, &engine, &caller, run.run_id, &node_id(node), &value, later).await
        }
    };
    let after = give("approval", r#"{"ok": true, "n": 1.10}"#).await.expect("answered");
    assert_eq!(after.status, RunStatus::WaitingForInput);
    let item = head(&table, &after).await;
    assert_eq!(item["waitingNodes"], AttributeValue::Ss(vec!["figures".to_owned()]));
    assert!(!item.contains_key("answeredNodes"), "the engine took it");
    assert!(matches!(give("approval", "2").await, Err(Refusal::Conflict { code: "not_waiting", .. })));

    let after = give("figures", "3").await.expect("answered");
    assert_eq!((after.status, after.answered_nodes.len(), after.waiting_nodes.len()), (RunStatus::Running, 0, 0));
    let item = head(&table, &after).await;
    assert!(!item.contains_key("waitingNodes") && !item.contains_key("answeredNodes"));
    assert_eq!(load(&table, &after).await, after);
    assert_eq!(listed(&table, RunStatus::Running).await, 1);
    let expected =
        [(json!("approval token"), json!(r#"{"ok": true, "n": 1.10}"#)), (json!("figures token"), json!("3"))];
    assert_eq!(tasks(&service), expected);
}

#[tokio::test]
async fn an_answer_that_the_engine_did_not_take_is_found_again_on_the_head() {
    let table = Table::new().await;
    let (run, caller) = (external(&table).await, fixture::caller("mine"));
    let (broken, _) = engine(|_| (500, r#"{"__type":"InternalFailure"}"#.to_owned())).await;
    let value: Box<RawValue> = RawValue::from_string("1.10".to_owned()).expect("JSON");
    let node = node_id("approval");
    answer_node(&table.store, &broken, &caller, run.run_id, &node, &value, noon()).await.expect("recorded");
    let item = head(&table, &run).await;
    assert_eq!(item["answeredNodes"], AttributeValue::Ss(vec!["approval".to_owned()]));
    let owing = load(&table, &run).await;

    let (engine, service) = willing().await;
    let (after, all) = hand_over(&table.store, &engine, owing, noon()).await.expect("handed over");
    assert!(all && after.answered_nodes.is_empty());
    assert_eq!(tasks(&service), [(json!("approval token"), json!("1.10"))]);
    assert!(!head(&table, &run).await.contains_key("answeredNodes"));
}

#[tokio::test]
async fn a_run_that_is_being_canceled_takes_no_answer() {
    let table = Table::new().await;
    let (run, caller, (engine, service)) = (external(&table).await, fixture::caller("mine"), willing().await);
    let event = RunEvent::StopAsked(StopIntent::CanceledByCaller);
    let current = load(&table, &run).await;
    settle_run::settle(&table.store, current, event, &EndDetails::default(), noon()).await.expect("canceled");
    let value: Box<RawValue> = RawValue::from_string("1".to_owned()).expect("JSON");
    let node = node_id("approval");
    let refused = answer_node(&table.store, &engine, &caller, run.run_id, &node, &value, at(LATER)).await;
    assert!(matches!(refused, Err(Refusal::Conflict { code: "not_waiting", .. })), "{refused:?}");
    assert_eq!(load_answer(&table, &run, "approval").await, None);
    assert_eq!(tasks(&service), []);
}
