//! Pausing, resuming and answering in a table over a network: core's flows over the real adapters against what the
//! runner itself writes.

use crate::runner::{self, LATER, claim, listed, load, recorded, write_head};
use crate::support::ground;
use crate::support::http::{Asked, Scripted};
use crate::support::relay::Trouble;
use crate::support::sample::{self, at, mine, new_run, noon, run};
use crate::support::table::Table;
use jiff::SignedDuration;
use serde_dynamo::AttributeValue;
use serde_json::{Value, json};
use sluice_aws::config::Settings;
use sluice_aws::dynamo::item::{Item, n, s, text};
use sluice_aws::dynamo::keys;
use sluice_aws::{Aws, Engine};
use sluice_core::change::NewRun;
use sluice_core::definition::NodeType;
use sluice_core::directive::Directives;
use sluice_core::flow::control_run::{answer_node, hand_over, pause_run, resume_run};
use sluice_core::flow::{Refusal, transition_run};
use sluice_core::lifecycle::{RunEvent, RunStatus, StopIntent};
use sluice_core::ports::{AnswerNode, ChangeRun, Changed, RecordRun, StopAsked};
use sluice_core::refusal::ConflictCode;
use sluice_core::run::{EndDetails, Run, RunState};
use sluice_core::snapshot::{NodeRun, Snapshot, SnapshotNode};
use sluice_testkit::contract::store::Ground;
use sluice_testkit::contract::store::answers::{answer, answered, given, load_answer, node_id, waiting};
use sluice_testkit::fixture;

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
async fn the_runners_repeated_write_loses_no_answer_and_its_last_one_makes_it_the_result() {
    let table = Table::new().await;
    let run = waiting(&table).await;
    let change = answered(&run, "approval");
    table.store.answer_node(&change, &node_id("approval"), &answer("1")).await.expect("an answer");
    table.begin_wait(&run, "approval", "token 1").await;
    assert_eq!(load_answer(&table, &run, "approval").await, given("token 1", "1"));

    table.end_wait(&run, "approval").await;
    let step = table.item(keys::step(&mine(), run.run_id, &node_id("approval"))).await.expect("a step");
    for gone in ["taskToken", "answeredToken"] {
        assert!(!step.contains_key(gone), "{gone}");
    }
    assert_eq!((text(&step, "answer"), text(&step, "result")), (Some("1"), None), "kept once, as it was sent");
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

    let asked = pause_run(&table.store, &engine, &caller, run.run_id, noon()).await.expect("asked").run;
    assert_eq!((asked.status(), asked.state.pause_asked_at()), (RunStatus::Running, Some(noon())));
    assert_eq!(load(&table, &run).await, asked);
    assert!(!check_pause(&table, &run).await);
    assert!(reach_gate(&table, &run, "gate").await);
    let paused = load(&table, &run).await;
    assert!(
        matches!(&paused.state, RunState::Paused { token, .. } if token.as_deref() == Some("gate")),
        "{:?}",
        paused.state
    );
    assert_eq!(listed(&table, RunStatus::Paused).await, 1);

    let resumed = resume_run(&table.store, &engine, &caller, run.run_id, noon()).await.expect("resumed");
    assert_eq!(
        (resumed.status(), resumed.state.gate().and_then(|gate| gate.token.clone()).as_ref()),
        (RunStatus::Running, None)
    );
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
    pause_run(&table.store, &engine, &caller, run.run_id, noon()).await.expect("asked");
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
    pause_run(&table.store, &broken, &caller, run.run_id, noon()).await.expect("asked");
    assert!(reach_gate(&table, &run, "gate").await);
    let resumed = resume_run(&table.store, &broken, &caller, run.run_id, noon()).await.expect("resumed");
    assert_eq!(load(&table, &run).await, resumed);
    assert!(resumed.state.owes_a_resume() && head(&table, &run).await.contains_key("pauseToken"));

    let (over, _) = engine(|_| (400, r#"{"__type":"TaskTimedOut"}"#.to_owned())).await;
    let (after, all) = hand_over(&table.store, &over, resumed, noon()).await.expect("handed over");
    assert!(all && !after.state.owes_a_resume());
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
        processor: None,
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
        private: false,
        private_params: Vec::new(),
        directives: Directives::default(),
        left_out: false,
        given: false,
    };
    let nodes = vec![node("approval"), node("figures")];
    let snapshot = Snapshot { nodes, ..sample::snapshot(&run) };
    let snapshot_text = snapshot.to_text().expect("JSON");
    let new = NewRun { snapshot_text, ..new_run(&run, None, None) };
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
            let later = noon() + SignedDuration::from_mins(1);
            answer_node(&table.store, &engine, &caller, run.run_id, &node_id(node), value.to_owned(), later).await
        }
    };
    let after = give("approval", r#"{"ok": true, "n": 1.10}"#).await.expect("answered");
    assert_eq!(after.status(), RunStatus::WaitingForInput);
    let item = head(&table, &after).await;
    assert_eq!(item["waitingNodes"], AttributeValue::Ss(vec!["figures".to_owned()]));
    assert!(!item.contains_key("answeredNodes"), "the engine took it");
    assert!(matches!(give("approval", "2").await, Err(Refusal::Conflict { code: ConflictCode::NotWaiting, .. })));

    let after = give("figures", "3").await.expect("answered");
    assert_eq!(
        (after.status(), after.state.answered_nodes().len(), after.state.waiting_nodes().len()),
        (RunStatus::Running, 0, 0)
    );
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
    let node = node_id("approval");
    answer_node(&table.store, &broken, &caller, run.run_id, &node, "1.10".to_owned(), noon()).await.expect("recorded");
    let item = head(&table, &run).await;
    assert_eq!(item["answeredNodes"], AttributeValue::Ss(vec!["approval".to_owned()]));
    let owing = load(&table, &run).await;

    let (engine, service) = willing().await;
    let (after, all) = hand_over(&table.store, &engine, owing, noon()).await.expect("handed over");
    assert!(all && after.state.answered_nodes().is_empty());
    assert_eq!(tasks(&service), [(json!("approval token"), json!("1.10"))]);
    assert!(!head(&table, &run).await.contains_key("answeredNodes"));
}

#[tokio::test]
async fn a_run_that_is_being_canceled_takes_no_answer() {
    let table = Table::new().await;
    let (run, caller, (engine, service)) = (external(&table).await, fixture::caller("mine"), willing().await);
    let event = RunEvent::StopAsked(StopIntent::CanceledByCaller);
    let current = load(&table, &run).await;
    transition_run::transition(&table.store, current, event, &EndDetails::default(), noon()).await.expect("canceled");
    let node = node_id("approval");
    let refused = answer_node(&table.store, &engine, &caller, run.run_id, &node, "1".to_owned(), at(LATER)).await;
    assert!(matches!(refused, Err(Refusal::Conflict { code: ConflictCode::NotWaiting, .. })), "{refused:?}");
    assert_eq!(load_answer(&table, &run, "approval").await, None);
    assert_eq!(tasks(&service), []);
}

#[tokio::test]
async fn a_node_that_begins_anew_is_answered_once_it_waits_again_and_not_before() {
    let table = Table::new().await;
    let run = waiting(&table).await;
    ground::begin(&table, &run, "approval").await;
    let give = async || {
        let change = answered(&run, "approval");
        table.store.answer_node(&change, &node_id("approval"), &answer("1")).await.expect("an answer")
    };
    assert_eq!(give().await, None, "its token is still there");
    table.begin_wait(&run, "approval", "token 2").await;
    assert_eq!(give().await, Some(Changed::Done));
    assert_eq!(load_answer(&table, &run, "approval").await, given("token 2", "1"));
}

#[tokio::test]
async fn a_node_that_waits_without_a_token_is_not_answered_as_if_it_had_one() {
    let table = Table::new().await;
    let run = waiting(&table).await;
    let step = keys::step(&mine(), run.run_id, &node_id("approval"));
    // So it waits in a run of the second generation.
    assert!(table.update(step, None, "REMOVE taskToken", &[], &[]).await);
    let change = answered(&run, "approval");
    let done = table.store.answer_node(&change, &node_id("approval"), &answer("1")).await.expect("an answer");
    assert_eq!((done, load(&table, &run).await), (None, run));
}

#[tokio::test]
async fn a_stop_by_a_clock_that_is_behind_the_run_is_left_to_whoever_reads_it() {
    let table = Table::new().await;
    let updated_at = noon() + SignedDuration::from_secs(1);
    let run = Run { state: sample::running(), updated_at, ..run(&mine(), 1, noon()) };
    table.store.record_run(&new_run(&run, None, None)).await.expect("recorded");
    let ask = async |now| {
        let asked = table.store.ask_to_stop(&mine(), run.run_id, StopIntent::CanceledByCaller, now).await;
        asked.expect("an answer").expect("a run")
    };
    assert_eq!(ask(noon()).await, StopAsked { run: run.clone(), is_recorded: false });
    assert_eq!(load(&table, &run).await, run);
    assert!(ask(updated_at).await.is_recorded);
}
