//! What a worker of the runner's second generation is told to do, as the output of the task that it waits with; and the same
//! results where the run's output shows them. Pure.
//!
//! **Invariants:** what a processor is handed keeps to `infra/processor-contract.schema.json`, number by number as it was
//! written; the text is the same whenever it is made of the same things, so that telling again tells the same.
//!
//! Decision (2026-11-28): what travels inline is shared out among a node's own dependencies, and not among all nodes of the
//! run: no state carries the results of others.

use crate::arn::QualifiedArn;
use crate::board::Unit;
use crate::budget::{MicroUsd, UsdNumber};
use crate::canonical;
use crate::id::{LayerName, NodeId, RunId, TenantId, UserId};
use crate::limits::TOLD_BYTES;
use crate::operator::ContainerTask;
use crate::run::RunError;
use crate::snapshot::{NodeRun, REFERENCE_BYTES, Snapshot, SnapshotNode, inline_result_bytes};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Characters of the name of an execution.
/// Source: <https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html>
const NAME_CHARS: usize = 80;
/// Seconds of an attempt of which nothing is said: as many as Step Functions allows.
/// Source: <https://docs.aws.amazon.com/step-functions/latest/dg/state-task.html>
const NO_TIMEOUT: u64 = 99_999_999;

/// What came of a node that another waits for. One that was skipped has given nothing, and is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Before {
    /// JSON text, as it was written.
    Result(String),
    /// It failed, and the run goes on.
    Failed(RunError),
}

/// What a worker is told that has nothing more to do.
pub const LEAVE: &str = r#"{"do":"leave"}"#;

/// One attempt, for the worker that is told of it.
#[derive(Clone, Debug)]
pub struct Work<'a> {
    pub snapshot: &'a Snapshot,
    pub node: &'a SnapshotNode,
    pub unit: Unit,
    /// To wait before.
    pub seconds: u32,
    /// By the nodes that it depends on.
    pub before: &'a BTreeMap<NodeId, Before>,
    /// Of a fan-out.
    pub item: Option<&'a Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    r#do: &'static str,
    unit: ToldUnit<'a>,
    seconds: u32,
    timeout_seconds: u64,
    run: ToldRun<'a>,
    request: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<Value>,
}

/// [`Unit`] with its node by name: it comes back from the execution.
#[derive(Serialize)]
struct ToldUnit<'a> {
    node: &'a NodeId,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<u32>,
    iteration: u32,
    attempt: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
enum ToldRun<'a> {
    #[serde(rename_all = "camelCase")]
    Lambda {
        function_arn: &'a QualifiedArn,
    },
    #[serde(rename_all = "camelCase")]
    StateMachine {
        state_machine_arn: &'a QualifiedArn,
    },
    Ecs,
}

/// What a governor's URL stands in.
#[derive(Serialize)]
struct Governor {
    url: String,
}

/// What a processor is handed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    spec_version: &'static str,
    run_id: RunId,
    tenant_id: &'a TenantId,
    user_id: Option<&'a UserId>,
    node_id: &'a NodeId,
    node_type: &'static str,
    attempt: u32,
    execution_budget_usd: Option<UsdNumber>,
    execution_budget_micro_usd: Option<u64>,
    compute_node_budget_usd: Option<UsdNumber>,
    compute_node_budget_micro_usd: Option<u64>,
    params: &'a BTreeMap<String, Value>,
    input: Option<&'a RawValue>,
    inputs: BTreeMap<&'a NodeId, Box<RawValue>>,
    /// Of the nodes before it that failed, and whose failures the run was to survive: their results are `null`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    errors: BTreeMap<&'a NodeId, Value>,
    data_source: Option<&'a Value>,
    data_target: Option<&'a Value>,
    layers: &'a [LayerName],
    /// Where the attempt has its calls of language models governed.
    governor: Option<Governor>,
    /// Of a loop, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    iteration: Option<u32>,
    /// Of a fan-out.
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<&'a Value>,
    /// Of a fan-out, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    item_index: Option<u32>,
}

impl Work<'_> {
    /// The text that the worker is told; `None` for a node that no worker does.
    ///
    /// # Errors
    /// Never, for a snapshot made by Sluice and results that are JSON.
    pub fn told(&self) -> serde_json::Result<Option<String>> {
        let (run, name) = match &self.node.run {
            NodeRun::Lambda { function_arn } => (ToldRun::Lambda { function_arn }, None),
            NodeRun::StateMachine { state_machine_arn } => {
                (ToldRun::StateMachine { state_machine_arn }, Some(self.name()))
            }
            NodeRun::Ecs(_) => (ToldRun::Ecs, None),
            NodeRun::Value | NodeRun::External | NodeRun::Hidden => return Ok(None),
        };
        let request = self.request()?;
        let task = match &self.node.run {
            NodeRun::Ecs(task) => Some(task_of(task, request.get(), self.governor().as_deref())),
            NodeRun::Lambda { .. }
            | NodeRun::StateMachine { .. }
            | NodeRun::Value
            | NodeRun::External
            | NodeRun::Hidden => None,
        };
        let Unit { item, iteration, attempt, .. } = self.unit;
        serde_json::to_string(&Told {
            r#do: "work",
            unit: ToldUnit { node: &self.node.node_id, item, iteration, attempt },
            seconds: self.seconds,
            timeout_seconds: self.node.directives.timeout_seconds.unwrap_or(NO_TIMEOUT),
            run,
            request: &request,
            name,
            task,
        })
        .map(Some)
    }

    fn request(&self) -> serde_json::Result<Box<RawValue>> {
        let Self { snapshot, node, unit, item, .. } = *self;
        let spec = &snapshot.spec;
        let mut request = Request {
            spec_version: "1",
            run_id: snapshot.run_id,
            tenant_id: &snapshot.tenant_id,
            user_id: spec.user_id.as_ref(),
            node_id: &node.node_id,
            node_type: node.node_type.as_str(),
            attempt: unit.attempt,
            execution_budget_usd: spec.execution_budget_micro_usd.map(MicroUsd::to_json_number),
            execution_budget_micro_usd: spec.execution_budget_micro_usd.map(|micro| micro.0),
            compute_node_budget_usd: spec.compute_node_budget_micro_usd.map(MicroUsd::to_json_number),
            compute_node_budget_micro_usd: spec.compute_node_budget_micro_usd.map(|micro| micro.0),
            params: &node.params,
            input: snapshot.input.as_deref(),
            inputs: BTreeMap::new(),
            errors: BTreeMap::new(),
            data_source: node.data_source.as_ref(),
            data_target: node.data_target.as_ref(),
            layers: &snapshot.layers,
            governor: self.governor().map(|url| Governor { url }),
            iteration: node.directives.repeat.as_ref().map(|_| unit.iteration),
            item,
            item_index: unit.item,
        };
        // What is left beside the rest of this very request is shared out.
        let most = inline_result_bytes(node.depends_on.len(), serde_json::to_string(&request)?.len());
        for (id, before) in node.depends_on.iter().filter_map(|id| Some((id, self.before.get(id)?))) {
            request.inputs.insert(id, result(snapshot.run_id, id, before, most)?);
            if let Before::Failed(error) = before {
                request.errors.insert(id, json!({"error": error.code, "cause": error.message}));
            }
        }
        to_raw_value(&request)
    }

    /// Where this attempt has its calls of language models governed.
    fn governor(&self) -> Option<String> {
        let url = self.snapshot.governor.as_ref()?;
        Some(format!("{url}/{}/{}", self.node.node_id, self.unit.attempt))
    }

    /// The name of a nested execution: stable for one attempt, so that a repeated start finds its own.
    fn name(&self) -> String {
        let Unit { item, iteration, attempt, .. } = self.unit;
        let prefix = format!("{}-{attempt}-", self.snapshot.run_id);
        let room = NAME_CHARS - prefix.len();
        let node = self.node.node_id.as_str();
        let rest = match item {
            None if iteration == 1 && node.len() <= room => node.to_owned(),
            // The name of no other node can be read for this.
            Some(_) | None => {
                let part = item.map_or_else(String::new, |item| item.to_string());
                canonical::sha256_hex(&[node, &part, &iteration.to_string()]).chars().take(room).collect()
            }
        };
        prefix + &rest
    }
}

/// The first node whose worker could not be told of it, and the bytes that it would take: with every result that it depends on as
/// a reference, and before there is an item. `plan_bytes` are those of the snapshot as it is written.
///
/// # Errors
/// Never, for a snapshot made by Sluice.
pub fn too_large(snapshot: &Snapshot, plan_bytes: usize) -> serde_json::Result<Option<(&NodeId, usize)>> {
    /// What stands around a plan's parts, at most.
    const AROUND: usize = 4_096;
    // What a worker is told stands in the plan; a container is told it twice, once in quotes.
    let most_of_all = 3 * (plan_bytes + AROUND + snapshot.nodes.len() * 2 * REFERENCE_BYTES);
    if most_of_all <= TOLD_BYTES {
        return Ok(None);
    }
    for (index, node) in snapshot.nodes.iter().enumerate() {
        let reference = Before::Result("1".repeat(REFERENCE_BYTES));
        let before = node.depends_on.iter().map(|id| (id.clone(), reference.clone())).collect();
        let is_fan_out = node.directives.for_each.is_some();
        let unit = Unit { node: index, item: is_fan_out.then_some(u32::MAX), iteration: u32::MAX, attempt: u32::MAX };
        let item = is_fan_out.then_some(&Value::Null);
        let told = Work { snapshot, node, unit, seconds: u32::MAX, before: &before, item }.told()?;
        if let Some(text) = told.filter(|text| text.len() > TOLD_BYTES) {
            return Ok(Some((&node.node_id, text.len())));
        }
    }
    Ok(None)
}

/// A node's result as others are given it: whole up to so many bytes, else a reference to it.
///
/// # Errors
/// For a result that is no JSON.
pub fn result(run_id: RunId, node_id: &NodeId, before: &Before, most: usize) -> serde_json::Result<Box<RawValue>> {
    match before {
        Before::Failed(_) => to_raw_value(&Value::Null),
        Before::Result(text) if text.len() <= most => RawValue::from_string(text.clone()),
        Before::Result(text) => {
            let href = format!("/v1/workflow-runs/{run_id}/steps/{node_id}");
            let reference = json!({"runId": run_id, "nodeId": node_id, "href": href, "bytes": text.len()});
            to_raw_value(&json!({"resultRef": reference}))
        }
    }
}

/// The whole call of `ecs:runTask`.
fn task_of(task: &ContainerTask<QualifiedArn>, request: &str, governor: Option<&str>) -> Value {
    let mut environment = vec![json!({"Name": "SLUICE_TASK_INPUT", "Value": request})];
    // SDKs find the governor by their own variable.
    environment.extend(governor.map(|url| json!({"Name": "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "Value": url})));
    let overrides = json!([{"Name": task.container_name, "Environment": environment}]);
    let mut call = json!({
        "Cluster": task.cluster_arn,
        "TaskDefinition": task.task_definition_arn,
        "Overrides": {"ContainerOverrides": overrides},
    });
    if let Some(launch_type) = task.launch_type {
        call["LaunchType"] = json!(launch_type);
    }
    if !task.subnets.is_empty() {
        let public_ip = if task.assign_public_ip { "ENABLED" } else { "DISABLED" };
        let mut network = json!({"Subnets": task.subnets, "AssignPublicIp": public_ip});
        if !task.security_groups.is_empty() {
            network["SecurityGroups"] = json!(task.security_groups);
        }
        call["NetworkConfiguration"] = json!({"AwsvpcConfiguration": network});
    }
    call
}
