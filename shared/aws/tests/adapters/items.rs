//! The stored shape of every item kind, written down: what a released version wrote, every later one must read.

use crate::support::sample::{self, claim, delivery, mine, noon, run};
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::SignedDuration;
use serde_json::{Map, Value, json};
use sluice_aws::dynamo::item::{self, Item};
use sluice_core::budget::MicroUsd;
use sluice_core::callback::{Attempt, AttemptOutcome, Channel};
use sluice_core::definition::{Definition, VersionRule};
use sluice_core::idempotency::IdempotencyRecord;
use sluice_core::instance::{Instance, InstanceContent, ProcessorConfig};
use sluice_core::lifecycle::{RunEvent, RunStatus, StopIntent, TerminationReason};
use sluice_core::operator::{Processor, ProcessorTarget, Tenants};
use sluice_core::run::{Run, RunError};
use sluice_testkit::fixture;
use std::collections::{BTreeMap, BTreeSet};

/// An item in DynamoDB's own JSON, its attributes sorted.
fn plain(item: &Item) -> Value {
    let shown: BTreeMap<_, _> = item.iter().map(|(name, value)| (name.clone(), plain_value(value))).collect();
    Value::Object(shown.into_iter().collect::<Map<_, _>>())
}

fn plain_value(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!({"S": text}),
        AttributeValue::N(number) => json!({"N": number}),
        AttributeValue::Bool(truth) => json!({"BOOL": truth}),
        AttributeValue::Null(_) => json!({"NULL": true}),
        AttributeValue::L(list) => json!({"L": list.iter().map(plain_value).collect::<Vec<_>>()}),
        AttributeValue::M(map) => json!({"M": plain(map)}),
        AttributeValue::Ss(set) => json!({"SS": set.iter().collect::<BTreeSet<_>>()}),
        AttributeValue::B(_) | AttributeValue::Bs(_) | AttributeValue::Ns(_) | _ => panic!("no item has {value:?}"),
    }
}

macro_rules! golden {
    ($name:literal, $item:expr) => {
        let text = serde_json::to_string_pretty(&plain(&$item)).expect("JSON");
        insta::assert_snapshot!($name, text);
    };
}

/// A run with everything it can have.
fn full_run() -> Run {
    Run {
        status: RunStatus::WaitingForInput,
        termination_reason: Some(TerminationReason::ExecutionError),
        stop_intent: Some(StopIntent::TimedOut),
        error: Some(RunError { code: "States.TaskFailed".to_owned(), message: "no disk".to_owned() }),
        execution_budget_micro_usd: Some(MicroUsd(1_250_000)),
        max_run_duration_seconds: Some(3_600),
        labels: BTreeMap::from([("model".to_owned(), "small".to_owned()), ("empty".to_owned(), String::new())]),
        started_at: Some(noon()),
        completed_at: Some(noon() + SignedDuration::from_secs(1)),
        stage_index: Some(3),
        pause_requested_at: Some(noon()),
        pause_token: Some("token".to_owned()),
        waiting_nodes: BTreeSet::from(["approval".to_owned(), "figures".to_owned()]),
        answered_nodes: BTreeSet::from(["budget".to_owned(), "title".to_owned()]),
        replay_of: Some(sample::run_id(25)),
        replay_depth: 1,
        deliveries: 2,
        has_callback: true,
        rev: 18_446_744_073_709_551_615,
        ..run(&mine(), 26, noon())
    }
}

#[test]
fn a_runs_items() {
    let least = run(&mine(), 26, noon());
    for run in [&least, &full_run()] {
        assert_eq!(item::to_run(item::from_run(run).expect("an item")).expect("a run"), *run);
    }
    golden!("run-head-pending", item::from_run(&least).expect("an item"));
    golden!("run-head-full", item::from_run(&full_run()).expect("an item"));
    let ended = least.after(RunEvent::StopAsked(StopIntent::CanceledByCaller), noon()).expect("a change");
    golden!("run-head-canceled", item::from_run(&ended).expect("an item"));
    golden!("run-snapshot", item::from_snapshot(&least, r#"{"runId":"…","n":1.10}"#));
    let replay = item::from_replay(sample::run_id(25), &full_run());
    assert_eq!(item::to_replay(&replay).expect("an id"), least.run_id);
    golden!("run-replay", replay);
    golden!("run-output", item::from_output(&least, r#"{"results":{"store":1.10}}"#));
}

#[test]
fn a_head_from_before_replays_and_answers_is_still_read() {
    let least = run(&mine(), 26, noon());
    let mut old = item::from_run(&least).expect("an item");
    assert!(old.remove("replayDepth").is_some());
    assert!(!old.contains_key("replayOf") && !old.contains_key("answeredNodes"));
    assert_eq!(item::to_run(old).expect("a run"), least);
}

#[test]
fn a_change_removes_exactly_what_a_head_may_lack() {
    let open: BTreeSet<String> = item::from_run(&full_run()).expect("an item").into_keys().collect();
    let ended = Run { status: RunStatus::Canceled, ..run(&mine(), 26, noon()) };
    let least: BTreeSet<String> = item::from_run(&ended).expect("an item").into_keys().collect();
    let optional: BTreeSet<String> = item::RUN_OPTIONAL.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(open.difference(&least).cloned().collect::<BTreeSet<_>>(), optional);
    assert!(least.is_subset(&open));
}

#[test]
fn an_idempotency_record() {
    let run = run(&mine(), 26, noon());
    let record = IdempotencyRecord {
        payload_hash: "payload".to_owned(),
        run,
        expires_at: Some(noon() + SignedDuration::from_hours(24)),
    };
    for record in [&record, &IdempotencyRecord { expires_at: None, ..record.clone() }] {
        let item = item::from_idempotency(&claim("key", "payload"), record).expect("an item");
        assert_eq!(item.contains_key("ttl"), record.expires_at.is_some());
        assert_eq!(item::to_idempotency(item).expect("a record"), *record);
    }
    golden!("idempotency", item::from_idempotency(&claim("key", "payload"), &record).expect("an item"));
}

#[test]
fn a_deliverys_items() {
    let owed = delivery(&run(&mine(), 26, noon()), 1, noon());
    golden!("delivery-scheduled", item::from_delivery(&owed).expect("an item"));
    golden!("delivery-body", item::from_delivery_body(&owed));
    let begun = owed.begin(noon()).expect("due");
    let ended =
        sluice_core::callback::Delivery { channel: Channel::EventBus, ..begun.after(&AttemptOutcome::Gone, noon()) };
    golden!("delivery-dead-lettered", item::from_delivery(&ended).expect("an item"));
    for (number, outcome) in [
        AttemptOutcome::Delivered { http_status: Some(204) },
        AttemptOutcome::Delivered { http_status: None },
        AttemptOutcome::Gone,
        AttemptOutcome::Rejected { http_status: 503, retry_after_seconds: Some(18_446_744_073_709_551_615) },
        AttemptOutcome::Rejected { http_status: 500, retry_after_seconds: None },
        AttemptOutcome::Unreachable { error_class: "timeout".to_owned() },
    ]
    .into_iter()
    .enumerate()
    {
        let attempt = Attempt { number: number as u32 + 1, at: noon(), duration_ms: 12, outcome };
        let item = item::from_attempt(&owed, &attempt).expect("an item");
        if number == 3 {
            golden!("attempt-rejected", item);
        }
        assert_eq!(item::to_attempt(item).expect("an attempt"), (1, attempt));
    }
}

#[test]
fn a_definitions_items() {
    let definition = Definition {
        display_name: Some("Text report".to_owned()),
        description: Some("…".to_owned()),
        active_version: Some(1),
        latest_version: 2,
        ..sample::definition(&mine(), 7, "text-report")
    };
    assert_eq!(item::to_definition(item::from_definition(&definition).expect("an item")).expect("reads"), definition);
    golden!("definition", item::from_definition(&definition).expect("an item"));
    golden!("definition-name", item::from_definition_name(&definition));
    let version = sample::version(&definition, 2);
    assert_eq!(item::to_version(item::from_version(&mine(), &version).expect("an item")).expect("reads"), version);
    golden!("version", item::from_version(&mine(), &version).expect("an item"));
}

#[test]
fn an_instance() {
    let content = InstanceContent {
        definition_id: fixture::definition_id(7),
        version: VersionRule::Number(2),
        compute_node: "default".parse().expect("a key"),
        processor_configs: BTreeMap::from([(
            "frequencies".parse().expect("a node"),
            ProcessorConfig {
                params: BTreeMap::from([("top".to_owned(), serde_json::from_str("1.10").expect("JSON"))]),
                tag: Some("live".parse().expect("a tag")),
            },
        )]),
    };
    let instance = Instance { tenant: mine(), id: content.id(&mine()), content, created_at: noon() };
    assert_eq!(item::to_instance(item::from_instance(&instance).expect("an item")).expect("reads"), instance);
    golden!("instance", item::from_instance(&instance).expect("an item"));
}

#[test]
fn what_the_operator_declares() {
    let processor = Processor {
        key: "nested".parse().expect("a key"),
        target: ProcessorTarget::StateMachine {
            state_machine_arn: "arn:aws:states:eu-west-1:123456789012:stateMachine:nested".to_owned(),
        },
        tenants: Tenants(vec!["mine".to_owned(), "yours".to_owned()]),
        description: Some("…".to_owned()),
        updated_at: noon(),
    };
    assert_eq!(item::to_processor(item::from_processor(&processor).expect("an item")).expect("reads"), processor);
    golden!("processor", item::from_processor(&processor).expect("an item"));
    let mut node = fixture::compute_node(noon());
    node.registry.insert("share".to_owned(), serde_json::from_str("1.10").expect("JSON"));
    assert_eq!(item::to_compute_node(item::from_compute_node(&node).expect("an item")).expect("reads"), node);
    golden!("compute-node", item::from_compute_node(&node).expect("an item"));
}
