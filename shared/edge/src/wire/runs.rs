//! Runs, steps and deliveries as their callers see them, and the filters of their list.

use super::Paging;
use super::schema::{CallbackUrl, Labels, Usd};
use super::snapshot::SnapshotView;
use crate::http::{Query, Request};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Number;
use serde_json::value::RawValue;
use sluice_core::budget::MicroUsd;
use sluice_core::callback::{Attempt, AttemptOutcome, Channel, Delivery, DeliveryStatus};
use sluice_core::definition::NodeType;
use sluice_core::flow::Refusal;
use sluice_core::id::{ComputeNodeKey, DefinitionId, DefinitionName, InstanceId, InvalidId, NodeId, RunId, TenantId};
use sluice_core::invalid::Invalid;
use sluice_core::lifecycle::{RunStatus, TerminationReason};
use sluice_core::limits;
use sluice_core::ports::RunFilter;
use sluice_core::run::{Run, RunError};
use sluice_core::snapshot::Snapshot;
use sluice_core::step::{Step, StepStatus};
use sluice_core::time::rfc3339_millis;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Where a run is found.
pub fn run_path(run_id: impl std::fmt::Display) -> String {
    format!("/v1/workflow-runs/{run_id}")
}

/// The run a path names.
///
/// # Errors
/// `NotFound` for what is no run id: there is no such run.
pub fn run_id_in_path(text: &str) -> Result<RunId, Refusal> {
    text.parse().map_err(|InvalidId(_)| Refusal::NotFound { what: "workflow run", id: text.to_owned() })
}

/// A run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Run)]
#[serde(rename_all = "camelCase")]
pub struct RunView {
    #[schema(value_type = RunId)]
    id: String,
    name: String,
    #[schema(value_type = RunStatus)]
    status: &'static str,
    #[schema(value_type = Option<TerminationReason>, required)]
    termination_reason: Option<&'static str>,
    #[schema(value_type = DefinitionId)]
    workflow_definition_id: String,
    #[schema(value_type = DefinitionName)]
    workflow_definition_name: String,
    #[schema(minimum = 1)]
    workflow_version: u32,
    #[schema(value_type = InstanceId)]
    workflow_instance_id: String,
    #[schema(value_type = ComputeNodeKey)]
    compute_node_id: String,
    /// The run that this one repeats.
    #[schema(value_type = Option<RunId>, required)]
    replay_of: Option<String>,
    /// US dollars, exact; `null` for no cap.
    #[schema(value_type = Option<Usd>, required)]
    execution_budget_usd: Option<Number>,
    #[schema(minimum = 1, maximum = 2592000, required)]
    max_run_duration_seconds: Option<u64>,
    #[schema(value_type = Labels)]
    labels: BTreeMap<String, String>,
    created_by: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    #[schema(format = DateTime, required)]
    started_at: Option<String>,
    #[schema(format = DateTime, required)]
    completed_at: Option<String>,
    #[schema(required)]
    error: Option<RunError>,
    /// The stage reached, from 0.
    #[schema(required)]
    stage: Option<u32>,
    #[schema(value_type = Vec<NodeId>)]
    waiting_nodes: Vec<String>,
    pause_requested: bool,
    execution_arn: String,
    /// SHA-256 of the frozen snapshot.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    snapshot_hash: String,
    /// What the run resulted in, as Step Functions has it. Only of one run at a time, and only of one that has any.
    #[schema(value_type = Value, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Box<RawValue>>,
    /// The runs that repeat this one. Only of one run at a time.
    #[schema(value_type = Vec<RunId>, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    replays: Option<Vec<String>>,
    /// Only when it is asked for.
    #[schema(value_type = SnapshotView, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<SnapshotView>,
    links: RunLinks,
}

#[derive(Debug, Serialize, ToSchema)]
struct RunLinks {
    #[serde(rename = "self")]
    this: String,
    steps: String,
    deliveries: String,
}

impl From<&Run> for RunView {
    fn from(run: &Run) -> Self {
        let path = run_path(run.run_id);
        Self {
            id: run.run_id.to_string(),
            name: run.name.clone(),
            status: run.status.as_str(),
            termination_reason: run.termination_reason.map(TerminationReason::as_str),
            workflow_definition_id: run.definition_id.to_string(),
            workflow_definition_name: run.definition_name.to_string(),
            workflow_version: run.version,
            workflow_instance_id: run.instance_id.to_string(),
            compute_node_id: run.compute_node.to_string(),
            replay_of: run.replay_of.map(|run_id| run_id.to_string()),
            execution_budget_usd: run.execution_budget_micro_usd.map(MicroUsd::to_json_number),
            max_run_duration_seconds: run.max_run_duration_seconds,
            labels: run.labels.clone(),
            created_by: run.created_by.clone(),
            created_at: rfc3339_millis(run.created_at),
            updated_at: rfc3339_millis(run.updated_at),
            started_at: run.started_at.map(rfc3339_millis),
            completed_at: run.completed_at.map(rfc3339_millis),
            error: run.error.clone(),
            stage: run.stage_index,
            waiting_nodes: run.waiting_nodes.iter().cloned().collect(),
            pause_requested: run.pause_requested_at.is_some(),
            execution_arn: run.execution_arn(),
            snapshot_hash: run.snapshot_hash.clone(),
            output: None,
            replays: None,
            snapshot: None,
            links: RunLinks { steps: format!("{path}/steps"), deliveries: format!("{path}/deliveries"), this: path },
        }
    }
}

impl RunView {
    /// With the run's output, JSON text.
    #[must_use]
    pub fn with_output(self, output: Option<String>) -> Self {
        Self { output: output.and_then(raw), ..self }
    }

    /// With the runs that repeat it.
    #[must_use]
    pub fn with_replays(self, replays: &[RunId]) -> Self {
        Self { replays: Some(replays.iter().map(RunId::to_string).collect()), ..self }
    }

    /// With what it executes.
    #[must_use]
    pub fn with_snapshot(self, snapshot: Snapshot) -> Self {
        let hash = self.snapshot_hash.clone();
        Self { snapshot: Some(SnapshotView::new(snapshot, hash)), ..self }
    }
}

/// JSON text to be shown as it is.
fn raw(text: String) -> Option<Box<RawValue>> {
    RawValue::from_string(text).ok()
}

/// What happened to one node of a run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Step)]
#[serde(rename_all = "camelCase")]
pub struct StepView {
    #[schema(value_type = NodeId)]
    node_id: String,
    #[schema(value_type = NodeType)]
    node_type: String,
    stage: u32,
    #[schema(value_type = StepStatus)]
    status: &'static str,
    /// Attempts begun.
    attempt: u32,
    #[schema(format = DateTime, required)]
    started_at: Option<String>,
    #[schema(format = DateTime, required)]
    ended_at: Option<String>,
    #[schema(required)]
    duration_ms: Option<u64>,
    #[schema(required)]
    error: Option<RunError>,
    #[schema(required)]
    result_bytes: Option<u64>,
    /// Only of one step at a time.
    #[schema(value_type = Value, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
}

impl From<&Step> for StepView {
    fn from(step: &Step) -> Self {
        let duration = step.started_at.zip(step.ended_at).map(|(from, to)| to.duration_since(from).as_millis());
        Self {
            node_id: step.node_id.to_string(),
            node_type: step.node_type.clone(),
            stage: step.stage,
            status: step.status.as_str(),
            attempt: step.attempt,
            started_at: step.started_at.map(rfc3339_millis),
            ended_at: step.ended_at.map(rfc3339_millis),
            duration_ms: duration.map(|millis| u64::try_from(millis).unwrap_or(0)),
            error: step.error.clone(),
            result_bytes: step.result_bytes,
            result: None,
        }
    }
}

impl StepView {
    /// With its result.
    pub fn with_result(step: &Step) -> Self {
        Self { result: step.result.clone().and_then(raw), ..Self::from(step) }
    }
}

/// `GET /v1/workflow-runs/{runId}/steps`
#[derive(Debug, Serialize, ToSchema)]
pub struct StepList {
    pub steps: Vec<StepView>,
}

/// A notification that a run owes or owed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Delivery)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryView {
    #[schema(minimum = 1)]
    number: u32,
    /// `webhook` or `event-bus`.
    channel: &'static str,
    #[schema(value_type = CallbackUrl, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    webhook_id: String,
    #[schema(value_type = DeliveryStatus)]
    status: &'static str,
    attempts: Vec<AttemptView>,
    #[schema(format = DateTime, required)]
    next_attempt_at: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime, required)]
    ended_at: Option<String>,
    #[schema(required)]
    dead_letter_reason: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Attempt)]
#[serde(rename_all = "camelCase")]
struct AttemptView {
    #[schema(minimum = 1)]
    number: u32,
    #[schema(format = DateTime)]
    at: String,
    duration_ms: u64,
    /// `delivered`, `gone`, `rejected` or `unreachable`.
    outcome: &'static str,
    #[schema(required)]
    http_status: Option<u16>,
    #[schema(required)]
    error_class: Option<String>,
    #[schema(required)]
    retry_after_seconds: Option<u64>,
}

impl DeliveryView {
    pub fn new(delivery: &Delivery, attempts: &[Attempt]) -> Self {
        Self {
            number: delivery.number,
            channel: delivery.channel.as_str(),
            url: match &delivery.channel {
                Channel::Webhook { url } => Some(url.clone()),
                Channel::EventBus => None,
            },
            webhook_id: delivery.webhook_id(),
            status: delivery.status.as_str(),
            attempts: attempts.iter().map(AttemptView::from).collect(),
            next_attempt_at: delivery.next_attempt_at.map(rfc3339_millis),
            created_at: rfc3339_millis(delivery.created_at),
            ended_at: delivery.ended_at.map(rfc3339_millis),
            dead_letter_reason: delivery.dead_letter_reason.clone(),
        }
    }
}

impl From<&Attempt> for AttemptView {
    fn from(attempt: &Attempt) -> Self {
        let (outcome, http_status, error_class, retry_after_seconds) = match &attempt.outcome {
            AttemptOutcome::Delivered { http_status } => ("delivered", *http_status, None, None),
            AttemptOutcome::Gone => ("gone", Some(410), None, None),
            AttemptOutcome::Rejected { http_status, retry_after_seconds } => {
                ("rejected", Some(*http_status), None, *retry_after_seconds)
            }
            AttemptOutcome::Unreachable { error_class } => ("unreachable", None, Some(error_class.clone()), None),
        };
        Self {
            number: attempt.number,
            at: rfc3339_millis(attempt.at),
            duration_ms: attempt.duration_ms,
            outcome,
            http_status,
            error_class,
            retry_after_seconds,
        }
    }
}

/// `GET /v1/workflow-runs/{runId}/deliveries`
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryList {
    pub deliveries: Vec<DeliveryView>,
}

/// The query of `GET /v1/workflow-runs`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn list_query(request: &Request, tenant: &TenantId) -> Result<(RunFilter, Paging), Invalid> {
    const PARAMETERS: [&str; 7] =
        ["status", "workflowDefinitionId", "createdFrom", "createdBefore", "order", "limit", "cursor"];
    let mut query = request.query(&PARAMETERS);
    let time = |query: &mut Query, name: &str| {
        query.read(name, |text| {
            text.parse::<Timestamp>().map_err(|_| "must be an RFC 3339 time, such as 2026-11-22T04:39:48Z")
        })
    };
    let filter = RunFilter {
        status: query.read("status", str::parse),
        definition_id: query.read("workflowDefinitionId", str::parse),
        created_from: time(&mut query, "createdFrom"),
        created_before: time(&mut query, "createdBefore"),
        ascending: query
            .read("order", |text| match text {
                "asc" => Ok(true),
                "desc" => Ok(false),
                _ => Err("must be asc or desc"),
            })
            .unwrap_or(false),
    };
    // The cursor belongs to the tenant's list with this filter, whatever the size of its pages.
    let mut list = vec!["runs".to_owned(), tenant.to_string()];
    list.extend(PARAMETERS[..5].iter().map(|name| query.text(name).unwrap_or_default().to_owned()));
    let paging = Paging::read(&mut query, list);
    query.finish()?;
    Ok((filter, paging))
}

/// The query of `GET /v1/workflow-runs/{runId}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetRun {
    /// How long to wait for the run to end.
    pub wait_seconds: u32,
    /// `include=snapshot`
    pub with_snapshot: bool,
}

impl GetRun {
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(request: &Request) -> Result<Self, Invalid> {
        let mut query = request.query(&["waitSeconds", "include"]);
        let wait_seconds = query.number("waitSeconds", 0..=limits::WAIT_SECONDS).unwrap_or(0);
        let include = query.read("include", |text| match text {
            "snapshot" => Ok(()),
            _ => Err("must be snapshot"),
        });
        query.finish()?;
        Ok(Self { wait_seconds, with_snapshot: include.is_some() })
    }
}
