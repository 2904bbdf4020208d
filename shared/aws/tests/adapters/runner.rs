//! What the runner writes by itself, with the very expressions of `infra/state-machines/runner.asl.json`, read back.

use crate::support::sample::{mine, new_run, noon, run};
use crate::support::table::Table;
use jiff::SignedDuration;
use serde_dynamo::AttributeValue;
use serde_json::Value;
use sluice_aws::dynamo::item::{n, s, text};
use sluice_aws::dynamo::keys;
use sluice_aws::dynamo::keys::Key;
use sluice_core::change::{RunChange, SlotChange};
use sluice_core::lifecycle::{EngineEnd, RunEvent, RunStatus, StopIntent};
use sluice_core::ports::{AnswerNode, ChangeRun, Changed, LoadRun, ReadRuns, RecordRun, RunFilter};
use sluice_core::run::{Gate, Run, RunError, RunState, Times};
use sluice_core::step::{Step, StepStatus};
use sluice_testkit::contract::store::answers::{answer, answered, waiting};
use std::collections::BTreeSet;

const RUNNER: &str = include_str!("../../../../infra/state-machines/runner.asl.json");

/// The arguments of one of the runner's states.
fn arguments(state: &str) -> Value {
    fn find<'a>(value: &'a Value, state: &str) -> Option<&'a Value> {
        let fields = value.as_object()?;
        let here = fields.get("States").and_then(|states| states.get(state)).and_then(|found| found.get("Arguments"));
        here.or_else(|| fields.values().find_map(|field| find(field, state)))
    }
    let runner: Value = serde_json::from_str(RUNNER).expect("JSON");
    find(&runner, state).unwrap_or_else(|| panic!("the runner has no state {state}")).clone()
}

/// Does what a state of the runner does, with `given` for the values that it computes. Returns whether its condition
/// held.
pub async fn write(table: &Table, state: &str, key: Key, given: &[(&str, AttributeValue)]) -> bool {
    let arguments = arguments(state);
    let text = |name: &str| arguments.get(name).and_then(Value::as_str);
    let pairs = |name: &str| arguments.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
    let names = pairs("ExpressionAttributeNames");
    let names: Vec<(&str, &str)> =
        names.iter().map(|(name, attribute)| (name.as_str(), attribute.as_str().expect("a name"))).collect();
    let values = pairs("ExpressionAttributeValues");
    let values: Vec<(&str, AttributeValue)> = values
        .iter()
        .map(|(name, value)| {
            let given = given.iter().find(|(given, _)| given == name).map(|(_, value)| value.clone());
            let written = || match (value.get("S").and_then(Value::as_str), value.get("N").and_then(Value::as_str)) {
                (Some(text), None) if !text.contains("{%") => s(text),
                (None, Some(number)) if !number.contains("{%") => n(number),
                _ => panic!("{state} computes {name}"),
            };
            (name.as_str(), given.unwrap_or_else(written))
        })
        .collect();
    let expression = text("UpdateExpression").expect("an expression");
    table.update(key, text("ConditionExpression"), expression, &names, &values).await
}

pub async fn recorded(table: &Table) -> Run {
    let run = run(&mine(), 1, noon());
    table.store.record_run(&new_run(&run, None, None)).await.expect("recorded");
    run
}

async fn change(table: &Table, run: &Run) -> Changed {
    let change = RunChange {
        expected_rev: run.rev - 1,
        expected_reports_rev: None,
        closes: None,
        run: run.clone(),
        output: None,
        deliveries: Vec::new(),
        slots: SlotChange::default(),
    };
    table.store.change_run(&change).await.expect("an answer")
}

pub async fn load(table: &Table, run: &Run) -> Run {
    table.store.load_run(&mine(), run.run_id).await.expect("loaded").expect("a run")
}

pub async fn write_head(
    table: &Table,
    run: &Run,
    state: &str,
    status: &str,
    now: &str,
    given: &[(&str, AttributeValue)],
) -> bool {
    let status_key = table.store.record_keys(&run.tenant_id, run.run_id).status_keys[status].clone();
    let given = [&[(":statusKey", s(status_key)), (":now", s(now))], given].concat();
    write(table, state, keys::run_head(&run.tenant_id, run.run_id), &given).await
}

pub async fn claim(table: &Table, run: &Run) -> bool {
    write_head(table, run, "Claim", "RUNNING", CLAIMED_AT, &[(":execution", s(run.execution_arn()))]).await
}

const CLAIMED_AT: &str = "2026-11-22T12:00:05.001Z";
pub const LATER: &str = "2026-11-22T12:00:06.000Z";

pub async fn listed(table: &Table, status: RunStatus) -> usize {
    let filter = RunFilter { statuses: BTreeSet::from([status]), ..RunFilter::default() };
    table.store.list_runs(&mine(), &filter, 10, None).await.expect("a page").items.len()
}

#[tokio::test]
async fn the_record_keys_are_those_of_the_head() {
    let table = Table::new().await;
    let run = recorded(&table).await;
    let keys = table.store.record_keys(&run.tenant_id, run.run_id);
    let head = table.item(keys::run_head(&run.tenant_id, run.run_id)).await.expect("a head");
    assert_eq!(text(&head, "pk"), Some(keys.pk.as_str()));
    assert_eq!(keys.status_keys.keys().copied().collect::<Vec<_>>(), ["PAUSED", "RUNNING", "WAITING_FOR_INPUT"]);
}

#[tokio::test]
async fn a_claimed_run_is_running_and_listed_so() {
    let table = Table::new().await;
    let run = recorded(&table).await;
    assert!(claim(&table, &run).await);
    assert!(claim(&table, &run).await, "by the same execution again");
    let started_at = CLAIMED_AT.parse().expect("a time");
    let expected =
        Run { state: RunState::running(Times::started(started_at)), updated_at: started_at, rev: 3, ..run.clone() };
    assert_eq!(load(&table, &run).await, expected);
    assert_eq!((listed(&table, RunStatus::Running).await, listed(&table, RunStatus::Pending).await), (1, 0));
    assert!(write_head(&table, &run, "PauseCheck", "RUNNING", LATER, &[(":stage", n(0))]).await);
    assert_eq!(load(&table, &run).await.state.times().and_then(|times| times.stage_index), Some(0));
}

#[tokio::test]
async fn a_canceled_run_cannot_be_claimed() {
    let table = Table::new().await;
    let run = recorded(&table).await;
    let canceled = run.after(RunEvent::StopAsked(StopIntent::CanceledByCaller), noon()).expect("a change");
    assert_eq!(change(&table, &canceled).await, Changed::Done);
    assert!(!claim(&table, &run).await);
}

#[tokio::test]
async fn a_change_between_two_claims_keeps_the_run_with_its_execution() {
    let table = Table::new().await;
    let run = recorded(&table).await;
    assert!(claim(&table, &run).await);
    let claimed = load(&table, &run).await;
    let asked = claimed.after(RunEvent::PauseAsked, noon()).expect("a change");
    assert_eq!(change(&table, &asked).await, Changed::Done);
    assert!(claim(&table, &run).await, "a claim whose answer was lost is made again");
    assert_eq!(load(&table, &run).await.state.pause_asked_at(), Some(noon()));
}

#[tokio::test]
async fn a_pause_is_taken_at_the_gate_and_ended_by_a_change() {
    let table = Table::new().await;
    let run = recorded(&table).await;
    assert!(claim(&table, &run).await);
    let gate = |at| {
        let (table, run) = (table.clone(), run.clone());
        async move { write_head(&table, &run, "PauseGate", "PAUSED", at, &[(":token", s("token"))]).await }
    };
    assert!(!gate(LATER).await, "nobody asked");
    let claimed = load(&table, &run).await;
    let asked = claimed.after(RunEvent::PauseAsked, noon()).expect("a change");
    assert_eq!(change(&table, &asked).await, Changed::Done);
    assert!(!write_head(&table, &run, "PauseCheck", "RUNNING", LATER, &[(":stage", n(1))]).await);
    assert!(gate(LATER).await);
    let paused = load(&table, &run).await;
    assert!(
        matches!(&paused.state, RunState::Paused { token, .. } if token.as_deref() == Some("token")),
        "{:?}",
        paused.state
    );

    let mut resumed = paused.after(RunEvent::Resumed, noon()).expect("a change");
    *resumed.state.gate_mut().expect("it goes on") = Gate::default();
    assert_eq!(change(&table, &resumed).await, Changed::Done);
    assert!(write_head(&table, &run, "PauseCheck", "RUNNING", LATER, &[(":stage", n(1))]).await, "it goes on");
    assert_eq!(listed(&table, RunStatus::Running).await, 1);
}

#[tokio::test]
async fn a_change_keeps_what_the_runner_added_and_takes_away_what_is_over() {
    let table = Table::new().await;
    let run = recorded(&table).await;
    assert!(claim(&table, &run).await);
    for node in ["approval", "figures"] {
        let nodes = [(":nodes", AttributeValue::Ss(vec![node.to_owned()]))];
        assert!(write_head(&table, &run, "ShowWaiting", "WAITING_FOR_INPUT", LATER, &nodes).await, "{node}");
    }
    let waiting = load(&table, &run).await;
    assert_eq!((waiting.status(), waiting.rev), (RunStatus::WaitingForInput, 4));
    assert_eq!(waiting.state.waiting_nodes().iter().map(String::as_str).collect::<Vec<_>>(), ["approval", "figures"]);

    // A change that answers one node: the set stays a set, so that the runner can go on adding to it.
    let answered = waiting.answered("figures", noon()).expect("a change");
    assert_eq!(change(&table, &answered).await, Changed::Done);
    let head = keys::run_head(&mine(), run.run_id);
    let item = table.item(head.clone()).await.expect("a head");
    assert_eq!(item["waitingNodes"], AttributeValue::Ss(vec!["approval".to_owned()]));
    assert_eq!(text(&item, "executionArn"), Some(run.execution_arn().as_str()), "the runner's own attribute");
    assert_eq!(listed(&table, RunStatus::WaitingForInput).await, 1);

    // The end: nothing waits any more, and the run leaves the open index.
    let stopping = answered.after(RunEvent::StopAsked(StopIntent::CanceledByCaller), noon()).expect("a change");
    assert_eq!(change(&table, &stopping).await, Changed::Done);
    let end = noon() + SignedDuration::from_mins(1);
    let ended = stopping.after(RunEvent::EngineEnded(EngineEnd::Aborted), end).expect("a change");
    assert_eq!(change(&table, &ended).await, Changed::Done);
    let item = table.item(head).await.expect("a head");
    for gone in ["waitingNodes", "pauseToken", "openShard", "openAt"] {
        assert!(!item.contains_key(gone), "{gone}");
    }
    assert!(item.contains_key("executionArn"));
    assert_eq!(load(&table, &run).await, ended);
}

#[tokio::test]
async fn a_change_decided_before_the_runners_write_is_stale() {
    let table = Table::new().await;
    let run = recorded(&table).await;
    let canceled = run.after(RunEvent::StopAsked(StopIntent::CanceledByCaller), noon()).expect("a change");
    assert!(claim(&table, &run).await);
    let Changed::Stale(Some(current)) = change(&table, &canceled).await else { panic!("stale") };
    assert_eq!((current.status(), current.rev), (RunStatus::Running, 2));
}

#[tokio::test]
async fn steps_are_read_as_the_runner_writes_them() {
    let table = Table::new().await;
    let run = recorded(&table).await;
    let step = |node: &str| keys::step(&mine(), run.run_id, &node.parse().expect("a node"));
    for (node, kind) in [("good", "processor"), ("bad", "data-target"), ("open", "external"), ("busy", "processor")] {
        let given = [
            (":runId", s(run.run_id.to_string())),
            (":tenantId", s("mine")),
            (":nodeId", s(node)),
            (":nodeType", s(kind)),
            (":stage", n(1)),
            (":now", s("2026-11-22T12:00:07.000Z")),
        ];
        assert!(write(&table, "RecordStart", step(node), &given).await, "{node}");
    }
    let (now, attempt) = ((":now", s("2026-11-22T12:00:09.500Z")), (":attempt", n(2)));
    let result = [now.clone(), attempt.clone(), (":result", s(r#"{"n": 1.10}"#)), (":bytes", n(11))];
    assert!(write(&table, "RecordResult", step("good"), &result).await);
    let failure = [now.clone(), attempt.clone(), (":error", s("States.TaskFailed")), (":cause", s("no disk"))];
    assert!(write(&table, "RecordFailure", step("bad"), &failure).await);
    assert!(write(&table, "AwaitAnswer", step("open"), &[now, attempt, (":token", s("token"))]).await);

    let steps = table.store.list_steps(&mine(), run.run_id).await.expect("listed");
    let shown: Vec<_> =
        steps.iter().map(|step| (step.node_id.as_str(), step.status, step.stage, step.attempt)).collect();
    assert_eq!(
        shown,
        [
            ("bad", StepStatus::Failed, 1, 2),
            ("busy", StepStatus::Running, 1, 1),
            ("good", StepStatus::Succeeded, 1, 2),
            ("open", StepStatus::Waiting, 1, 2)
        ]
    );
    assert_eq!(steps[0].error, Some(RunError { code: "States.TaskFailed".to_owned(), message: "no disk".to_owned() }));
    assert_eq!((&steps[2].result, steps[2].result_bytes), (&None, Some(11)), "results are left out of lists");
    assert_eq!(steps[2].ended_at, Some("2026-11-22T12:00:09.500Z".parse().expect("a time")));
    assert!(steps.iter().all(|step| step.started_at == Some("2026-11-22T12:00:07Z".parse().expect("a time"))));
    let load_step = |node: &str| {
        let (store, node) = (table.store.clone(), node.parse().expect("a node"));
        async move { store.load_step(&mine(), run.run_id, &node).await.expect("loaded") }
    };
    let with_result = Step { result: Some(r#"{"n": 1.10}"#.to_owned()), ..steps[2].clone() };
    assert_eq!(load_step("good").await, Some(with_result));
    assert_eq!(load_step("bad").await.as_ref(), Some(&steps[0]));
    assert_eq!(load_step("none").await, None);
}

#[tokio::test]
async fn the_result_of_an_answered_node_is_the_answer_to_the_byte() {
    let sent = r#"{"id": 9007199254740993, "price": 1.10, "most": 1E+2, "least": -0, "tiny": 1e-7, "name": "\u00e9é"}"#;
    let table = Table::new().await;
    let waits = waiting(&table).await;
    let approval = "approval".parse().expect("a node");
    let change = answered(&waits, "approval");
    table.store.answer_node(&change, &approval, &answer(sent)).await.expect("an answer");
    let key = || keys::step(&mine(), waits.run_id, &approval);
    for _ in 0..2 {
        // The second is a repetition after a lost answer.
        assert!(write(&table, "RecordAnswer", key(), &[(":attempt", n(1)), (":now", s(LATER))]).await);
    }
    let later = [(":attempt", n(1)), (":now", s("2026-11-22T12:00:07.000Z"))];
    assert!(!write(&table, "RecordAnswer", key(), &later).await, "somebody else's end");
    let step = table.store.load_step(&mine(), waits.run_id, &approval).await.expect("loaded").expect("a step");
    assert_eq!((step.status, step.result.as_deref()), (StepStatus::Succeeded, Some(sent)));
    assert_eq!(step.result_bytes, Some(sent.len() as u64));
    let listed = table.store.list_steps(&mine(), waits.run_id).await.expect("listed");
    assert_eq!(listed[0], Step { result: None, ..step }, "results are left out of lists");
}

#[tokio::test]
async fn a_functions_failure_is_read_as_its_type_and_message_and_a_workers_as_it_was_said() {
    let table = Table::new().await;
    let run = recorded(&table).await;
    let cause = r#"{"errorMessage": "no \"text\"", "errorType": "ValueError", "stackTrace": ["a"]}"#;
    for (node, kind, message) in [("function", "processor", "no \"text\""), ("worker", "external", cause)] {
        let key = || keys::step(&mine(), run.run_id, &node.parse().expect("a node"));
        let given = [
            (":runId", s(run.run_id.to_string())),
            (":tenantId", s("mine")),
            (":nodeId", s(node)),
            (":nodeType", s(kind)),
            (":stage", n(0)),
            (":now", s(LATER)),
        ];
        assert!(write(&table, "RecordStart", key(), &given).await);
        let failure = [(":error", s("ValueError")), (":cause", s(cause)), (":attempt", n(1)), (":now", s(LATER))];
        assert!(write(&table, "RecordFailure", key(), &failure).await);
        let step = table.store.load_step(&mine(), run.run_id, &node.parse().expect("a node")).await;
        let error = step.expect("loaded").expect("a step").error;
        assert_eq!(error, Some(RunError { code: "ValueError".to_owned(), message: message.to_owned() }), "{node}");
    }
}
