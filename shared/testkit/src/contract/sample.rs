//! Things to store.

use crate::fixture::{self, definition_id};
use jiff::Timestamp;
use sluice_core::budget::NanoUsd;
use sluice_core::change::NewRun;
use sluice_core::concurrency::{Admission, Limit};
use sluice_core::definition::{Definition, Version};
use sluice_core::delivery::{Channel, Delivery, DeliveryStatus};
use sluice_core::governor::access::{Grant, Holder};
use sluice_core::governor::ledger::{Ledger, OnBudgetExceeded};
use sluice_core::id::{DefinitionId, RunId, TenantId};
use sluice_core::idempotency::{IdempotencyClaim, IdempotencyRecord, Operation};
use sluice_core::lifecycle::StopIntent;
use sluice_core::run::{About, Ended, Gate, Run, RunSpec, RunState, SnapshotRef, Times};
use sluice_core::snapshot::Snapshot;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

pub fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

pub fn noon() -> Timestamp {
    at("2026-11-22T12:00:00.123Z")
}

/// Spread over the shards as random ids are.
pub fn run_id(number: u32) -> RunId {
    RunId(Uuid::from_u128(0x0190_163d_8694_439b_aea5_0000_0000_0000 + u128::from(number)))
}

pub fn mine() -> TenantId {
    fixture::tenant("mine")
}

pub fn yours() -> TenantId {
    fixture::tenant("yours")
}

/// A pending run of `tenant` with as little as possible.
pub fn run(tenant: &TenantId, number: u32, created_at: Timestamp) -> Run {
    run_of(tenant, number, definition_id(7), created_at)
}

pub fn run_of(tenant: &TenantId, number: u32, definition_id: DefinitionId, created_at: Timestamp) -> Run {
    let about = About { name: format!("run-{number}"), ..About::default() };
    let snapshot = SnapshotRef { has_callback: false, has_given_results: true, hash: format!("hash-{number}") };
    Run::new(tenant.clone(), run_id(number), about, spec(definition_id, created_at), snapshot)
}

/// What is frozen of these runs.
pub fn spec(definition_id: DefinitionId, created_at: Timestamp) -> RunSpec {
    RunSpec {
        definition_id,
        definition_name: "text-report".parse().expect("a name"),
        definition_owner: None,
        version: 1,
        instance_id: sluice_core::id::InstanceId(Uuid::from_u128(9)),
        compute_node: "default".parse().expect("a key"),
        state_machine_arn: fixture::runner_arn(),
        execution_budget_micro_usd: None,
        compute_node_budget_micro_usd: None,
        on_budget_exceeded: OnBudgetExceeded::Stop,
        user_id: None,
        max_run_duration_seconds: None,
        exclude_paused_time: false,
        retention: None,
        created_by: "mine/someone".to_owned(),
        created_at,
    }
}

/// A run's state once its execution has claimed it, at noon.
pub fn running() -> RunState {
    RunState::running(Times::started(noon()))
}

/// Its state once these of its external nodes wait for their answers.
pub fn waiting(nodes: &[&str]) -> RunState {
    RunState::Waiting {
        progress: Times::started(noon()).into(),
        gate: Gate::default(),
        nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
    }
}

/// A smallest snapshot of a run.
pub fn snapshot(run: &Run) -> Snapshot {
    Snapshot {
        run_id: run.run_id,
        tenant_id: run.tenant_id.clone(),
        spec: run.spec.clone(),
        nodes: Vec::new(),
        edges: Vec::new(),
        stages: Vec::new(),
        leaves: Vec::new(),
        fail_fast: true,
        from_node_id: None,
        input: serde_json::from_str(r#"{"b": 1.10, "a": 12345678901234567890123}"#).expect("JSON"),
        layers: Vec::new(),
        callback: None,
        governor: None,
    }
}

/// Its state once its stop was asked for.
pub fn stopping(intent: StopIntent) -> RunState {
    RunState::Stopping {
        progress: Times::started(noon()).into(),
        gate: Gate::default(),
        nodes: BTreeSet::new(),
        intent,
    }
}

/// A run that has ended, gone from this time on.
pub fn due(ended: &Run, due_at: Option<Timestamp>) -> Run {
    let RunState::Ended(end) = &ended.state else { panic!("{} is open", ended.run_id) };
    ended.in_state(RunState::Ended(Ended { due_at, ..end.clone() }), noon())
}

pub fn claim(key: &str, payload: &str) -> IdempotencyClaim {
    IdempotencyClaim {
        operation: Operation::Create,
        key: key.parse().expect("a key"),
        payload_hash: payload.to_owned(),
    }
}

pub fn new_run(run: &Run, claim: Option<IdempotencyClaim>, expires_at: Option<Timestamp>) -> NewRun {
    let frozen = snapshot(run);
    let ending_text = frozen.ending().map(|ending| serde_json::to_string(&ending).expect("JSON"));
    let snapshot_text = frozen.to_text().expect("JSON");
    let idempotency = claim.map(|claim| {
        let record = IdempotencyRecord { payload_hash: claim.payload_hash.clone(), run: run.clone(), expires_at };
        (claim, record)
    });
    NewRun {
        run: run.clone(),
        snapshot_text,
        ending_text,
        request_text: Some(r#"{"input":{"n": 1.10}}"#.to_owned()),
        ledger: ledger(run),
        admission: Admission::Slots(Vec::new()),
        instance: None,
        idempotency,
    }
}

/// What the calls of one of these runs are held to: a cap, and two nodes.
pub fn ledger(run: &Run) -> Ledger {
    let node = |name: &str| name.parse().expect("a node");
    let writer = Holder::Processor("writer".parse().expect("a key"));
    let nodes = BTreeMap::from([
        (writer, BTreeSet::from([node("draft")])),
        (Holder::Worker, BTreeSet::from([node("draft"), node("ask")])),
    ]);
    Ledger::new(Grant::new(run.run_id.0.as_u128()), nodes, Some(NanoUsd(1_000_000_000)))
}

pub fn delivery(run: &Run, number: u32, due_at: Timestamp) -> Delivery {
    Delivery {
        tenant_id: run.tenant_id.clone(),
        run_id: run.run_id,
        number,
        channel: Channel::Webhook { url: fixture::CALLBACK_URL.to_owned() },
        status: DeliveryStatus::Scheduled,
        attempts: 0,
        round_attempts: 0,
        next_attempt_at: Some(due_at),
        created_at: due_at,
        ended_at: None,
        dead_letter_reason: None,
        rev: 1,
        body: format!(r#"{{"runId":"{}","n":1.10}}"#, run.run_id),
    }
}

pub fn definition(tenant: &TenantId, number: u128, name: &str) -> Definition {
    Definition::new(tenant.clone(), definition_id(number), name.parse().expect("a name"), noon())
}

pub fn version(definition: &Definition, number: u32) -> Version {
    Version {
        definition_id: definition.id,
        number,
        document: fixture::document(),
        created_at: noon(),
        created_by: "mine/someone".to_owned(),
    }
}

/// A new run that takes a slot of each of these limits.
pub fn slot_run(run: Run, limits: &[Limit]) -> NewRun {
    let run = Run { slots: limits.iter().map(|limit| limit.scope).collect(), ..run };
    NewRun { admission: Admission::Slots(limits.to_vec()), ..new_run(&run, None, None) }
}

/// A new run that waits for this limit.
pub fn queued(run: Run, limit: Limit) -> NewRun {
    let run = Run { state: RunState::Queued { queue: limit.scope }, ..run };
    NewRun { admission: Admission::Queue(limit), ..new_run(&run, None, None) }
}
