//! Runs, steps and deliveries as their callers see them, and the filters of their list.

use super::fields;
use super::paging::Paging;
use super::schema::{CallbackUrl, Labels, Usd};
use super::snapshot::SnapshotView;
use crate::fault::Faults;
use crate::http::{Query, Request};
use serde::Serialize;
use serde_json::value::RawValue;
use sluice_core::board::Fan;
use sluice_core::budget::{MicroUsd, UsdNumber};
use sluice_core::definition::NodeType;
use sluice_core::delivery::{Attempt, AttemptOutcome, Channel, Delivery, DeliveryStatus};
use sluice_core::flow::control_run::Paused;
use sluice_core::governor::ledger::OnBudgetExceeded;
use sluice_core::id::{ComputeNodeKey, DefinitionId, DefinitionName, InstanceId, NodeId, RunId, TenantId, UserId};
use sluice_core::lifecycle::{RunStatus, TerminationReason};
use sluice_core::limits;
use sluice_core::ports::{self, RunFilter, StepPart};
use sluice_core::report::{NodeOutcome, Progress};
use sluice_core::retention::Retention;
use sluice_core::run::{Run, RunError};
use sluice_core::snapshot::Snapshot;
use sluice_core::spending::Spending;
use sluice_core::step::{Step, StepStatus};
use sluice_core::time::rfc3339_millis;
use sluice_core::violation::ViolationCode;
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

/// Where a run is found.
pub fn run_path(run_id: impl std::fmt::Display) -> String {
    format!("/v1/workflow-runs/{run_id}")
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
    /// Who owns the definition, where that is another tenant.
    #[schema(value_type = Option<TenantId>, required)]
    workflow_definition_owner: Option<String>,
    /// 0 for the draft.
    workflow_version: u32,
    #[schema(value_type = InstanceId)]
    workflow_instance_id: String,
    #[schema(value_type = ComputeNodeKey)]
    compute_node_id: String,
    /// The run that this one repeats.
    #[schema(value_type = Option<RunId>, required)]
    replay_of: Option<String>,
    /// The run that this one evaluates.
    #[schema(value_type = Option<RunId>, required)]
    evaluation_of: Option<String>,
    /// The caller's cap in US dollars, exact; `null` for no cap.
    #[schema(value_type = Option<Usd>, required)]
    execution_budget_usd: Option<UsdNumber>,
    /// The compute node's own ceiling in US dollars, exact; `null` for none. The run may spend the lower of the two.
    #[schema(value_type = Option<Usd>, required)]
    compute_node_budget_usd: Option<UsdNumber>,
    /// What becomes of it once that is spent, as its version says.
    on_budget_exceeded: OnBudgetExceeded,
    #[schema(minimum = 1, maximum = 2592000, required)]
    max_run_duration_seconds: Option<u64>,
    /// Whether `maxRunDurationSeconds` leaves out the time spent PAUSED.
    exclude_paused_time: bool,
    /// How long it is kept once it has ended; `null` for good.
    #[schema(required)]
    retention: Option<Retention>,
    /// From when an ended run is gone; `null` for never.
    #[schema(format = DateTime, required)]
    retention_due_at: Option<String>,
    #[schema(value_type = Labels)]
    labels: BTreeMap<String, String>,
    created_by: String,
    /// The person for whom the tenant runs it, whose quotas it draws on.
    #[schema(value_type = Option<UserId>, required)]
    user_id: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    /// When a run that had been QUEUED was given a slot.
    #[schema(format = DateTime, required)]
    dispatched_at: Option<String>,
    #[schema(format = DateTime, required)]
    started_at: Option<String>,
    #[schema(format = DateTime, required)]
    completed_at: Option<String>,
    #[schema(required)]
    error: Option<RunError>,
    /// The stage reached, from 0. A run of the runner's second generation has none.
    #[schema(required)]
    stage: Option<u32>,
    #[schema(value_type = Vec<NodeId>)]
    waiting_nodes: Vec<String>,
    pause_requested: bool,
    /// The nodes at work, which finish before the run is PAUSED. Only in the answer to a pause, where the runner can tell.
    #[schema(value_type = Vec<NodeId>, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    under_way: Option<Vec<String>>,
    /// Milliseconds spent PAUSED, but for a pause that is on.
    paused_ms: u64,
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
    /// The runs that evaluate this one. Only of one run at a time.
    #[schema(value_type = Vec<RunId>, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    evaluations: Option<Vec<String>>,
    /// What it may spend, and what became of it so far. Only of one run at a time.
    #[schema(required = false, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<Spending>,
    /// Its place in its queue, 1 for the next. Only of one run at a time, while it is QUEUED.
    #[schema(minimum = 1, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_position: Option<u32>,
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
    inputs: String,
    usage: String,
    comments: String,
}

impl From<&Paused> for RunView {
    fn from(Paused { run, under_way }: &Paused) -> Self {
        let under_way = under_way.as_ref().map(|nodes| nodes.iter().map(NodeId::to_string).collect());
        Self { under_way, ..Self::from(run) }
    }
}

impl From<&Run> for RunView {
    fn from(run: &Run) -> Self {
        let Run { about, spec, state, .. } = run;
        let (ended, times) = (state.ended(), state.times());
        let path = run_path(run.run_id);
        Self {
            id: run.run_id.to_string(),
            name: about.name.clone(),
            status: run.status().as_str(),
            termination_reason: ended.map(|ended| ended.reason.as_str()),
            workflow_definition_id: spec.definition_id.to_string(),
            workflow_definition_name: spec.definition_name.to_string(),
            workflow_definition_owner: spec.definition_owner.as_ref().map(TenantId::to_string),
            workflow_version: spec.version,
            workflow_instance_id: spec.instance_id.to_string(),
            compute_node_id: spec.compute_node.to_string(),
            replay_of: about.replay_of.map(|run_id| run_id.to_string()),
            evaluation_of: about.evaluation_of.map(|run_id| run_id.to_string()),
            execution_budget_usd: spec.execution_budget_micro_usd.map(MicroUsd::to_json_number),
            compute_node_budget_usd: spec.compute_node_budget_micro_usd.map(MicroUsd::to_json_number),
            on_budget_exceeded: spec.on_budget_exceeded,
            max_run_duration_seconds: spec.max_run_duration_seconds,
            exclude_paused_time: spec.exclude_paused_time,
            retention: spec.retention,
            retention_due_at: ended.and_then(|ended| ended.due_at).map(rfc3339_millis),
            labels: about.labels.clone(),
            created_by: spec.created_by.clone(),
            user_id: spec.user_id.as_ref().map(ToString::to_string),
            created_at: rfc3339_millis(spec.created_at),
            updated_at: rfc3339_millis(run.updated_at),
            dispatched_at: state.dispatched_at().map(rfc3339_millis),
            started_at: times.map(|times| rfc3339_millis(times.started_at)),
            completed_at: ended.map(|ended| rfc3339_millis(ended.completed_at)),
            error: ended.and_then(|ended| ended.error.clone()),
            stage: times.and_then(|times| times.stage_index),
            waiting_nodes: state.waiting_nodes().iter().cloned().collect(),
            pause_requested: state.pause_asked_at().is_some(),
            under_way: None,
            paused_ms: times.map_or(0, |times| times.paused_ms),
            execution_arn: run.execution_arn().into(),
            snapshot_hash: run.snapshot.hash.clone(),
            output: None,
            replays: None,
            evaluations: None,
            budget: None,
            queue_position: None,
            snapshot: None,
            links: RunLinks {
                steps: format!("{path}/steps"),
                deliveries: format!("{path}/deliveries"),
                inputs: format!("{path}/inputs"),
                usage: format!("{path}/usage"),
                comments: format!("{path}/comments"),
                this: path,
            },
        }
    }
}

impl RunView {
    /// With the run's output, JSON text.
    #[must_use]
    pub fn with_output(self, output: Option<String>) -> Self {
        Self { output: output.and_then(raw), ..self }
    }

    /// With the runs that were made from it.
    #[must_use]
    pub fn with_links(self, links: &ports::RunLinks) -> Self {
        let texts = |runs: &[RunId]| Some(runs.iter().map(RunId::to_string).collect());
        Self { replays: texts(&links.replays), evaluations: texts(&links.evaluations), ..self }
    }

    /// With its budget.
    #[must_use]
    pub fn with_budget(self, budget: Spending) -> Self {
        Self { budget: Some(budget), ..self }
    }

    /// With its place in the queue that it waits in.
    #[must_use]
    pub fn with_queue_position(self, queue_position: Option<u32>) -> Self {
        Self { queue_position, ..self }
    }

    /// With what it executes.
    #[must_use]
    pub fn with_snapshot(self, snapshot: Snapshot) -> Self {
        let hash = self.snapshot_hash.clone();
        Self { snapshot: Some(SnapshotView::new(snapshot, hash)), ..self }
    }
}

/// JSON text to be shown as it is. What an engine gave that is no JSON (`Infinity`) is shown as a text, and not as nothing.
pub(super) fn raw(text: String) -> Option<Box<RawValue>> {
    let as_text = serde_json::value::to_raw_value(&text).ok();
    RawValue::from_string(text).ok().or(as_text)
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
    /// What its worker said last of how far it has come.
    #[schema(required)]
    progress: Option<ProgressView>,
    /// Of a loop: the iterations begun. What came of each but the last is at `…/iterations/{iteration}`, from 1.
    #[schema(minimum = 1, required)]
    iterations: Option<u32>,
    /// Of a fan-out: how far it has come. What came of each item is at `…/items/{itemIndex}`, from 0.
    #[schema(required)]
    items: Option<ItemsView>,
    /// Only of one step at a time.
    #[schema(value_type = Value, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
}

/// How far a fan-out has come.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StepItems)]
struct ItemsView {
    total: u32,
    done: u32,
    failed: u32,
}

/// What came of an item of a fan-out, or of an iteration of a loop.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StepPart)]
#[serde(rename_all = "camelCase")]
pub struct StepPartView {
    #[schema(value_type = NodeId)]
    node_id: String,
    #[schema(value_type = StepStatus)]
    status: &'static str,
    /// Of an item.
    #[schema(required)]
    item_index: Option<u32>,
    /// Of an iteration.
    #[schema(minimum = 1, required)]
    iteration: Option<u32>,
    #[schema(required)]
    error: Option<RunError>,
    /// Of one that has succeeded.
    #[schema(value_type = Value, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
}

impl StepPartView {
    pub fn new(node_id: &NodeId, part: StepPart, outcome: NodeOutcome) -> Self {
        let (item_index, iteration) = match part {
            StepPart::Item(item) => (Some(item), None),
            StepPart::Iteration(iteration) => (None, Some(iteration)),
        };
        let (status, error, result) = match outcome {
            NodeOutcome::Result(result) => (StepStatus::Succeeded, None, raw(result)),
            NodeOutcome::Failure(error) => (StepStatus::Failed, Some(error), None),
        };
        Self { node_id: node_id.to_string(), status: status.as_str(), item_index, iteration, error, result }
    }
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
            progress: step.progress.as_ref().map(ProgressView::from),
            iterations: step.iteration,
            items: step.fan.map(|Fan { total, done, failed, .. }| ItemsView { total, done, failed }),
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

/// How far a node has come.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Progress)]
struct ProgressView {
    #[schema(maximum = 100, required)]
    percent: Option<u8>,
    #[schema(required)]
    message: Option<String>,
    #[schema(format = DateTime)]
    at: String,
}

impl From<&Progress> for ProgressView {
    fn from(progress: &Progress) -> Self {
        Self { percent: progress.percent, message: progress.message.clone(), at: rfc3339_millis(progress.at) }
    }
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
pub fn list_query(request: &Request, tenant: &TenantId) -> Result<(RunFilter, Paging), Faults> {
    const FILTERS: [&str; 10] = [
        "status",
        "workflowDefinitionId",
        "workflowInstanceId",
        "label",
        "createdBy",
        "replayOf",
        "evaluationOf",
        "createdFrom",
        "createdBefore",
        "order",
    ];
    let mut query = request.query(&[&FILTERS[..], &Paging::PARAMETERS].concat());
    let time = |query: &mut Query, name: &str| {
        query.read(name, |text| {
            fields::time(text).ok_or(if text.contains(' ') { fields::A_PLUS } else { fields::NOT_A_TIME })
        })
    };
    let filter = RunFilter {
        statuses: query.read_or("status", statuses).unwrap_or_default(),
        definition_id: query.read("workflowDefinitionId", str::parse),
        instance_id: query.read("workflowInstanceId", str::parse),
        label: query.read("label", label),
        created_by: query.read_or("createdBy", |text| match text {
            "" => Err((ViolationCode::OutOfRange, "must not be empty")),
            _ => Ok(text.to_owned()),
        }),
        replay_of: query.read("replayOf", str::parse),
        evaluation_of: query.read("evaluationOf", str::parse),
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
    list.extend(FILTERS.iter().map(|name| query.text(name).unwrap_or_default().to_owned()));
    let paging = Paging::read(&mut query, list);
    query.finish()?;
    Ok((filter, paging))
}

/// Statuses with commas between them.
fn statuses(text: &str) -> Result<BTreeSet<RunStatus>, (ViolationCode, String)> {
    if text.split(',').count() > limits::FILTER_STATUSES {
        let message = format!("must be at most {} statuses", limits::FILTER_STATUSES);
        return Err((ViolationCode::TooMany, message));
    }
    let read = |status: &str| status.parse().map_err(|message: &str| (ViolationCode::Invalid, message.to_owned()));
    text.split(',').map(read).collect()
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
    pub fn read(request: &Request) -> Result<Self, Faults> {
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

/// A label's name and value, with a colon between them. In the name, `\:` is a colon and `\\` is a backslash; the value is
/// taken as it is.
fn label(text: &str) -> Result<(String, String), &'static str> {
    const REFUSED: &str =
        r"must be a label's name and value with a colon between them; in the name, \: is a colon and \\ is a backslash";
    let mut name = String::new();
    let mut rest = text.chars();
    loop {
        match rest.next().ok_or(REFUSED)? {
            ':' if name.is_empty() => return Err(REFUSED),
            ':' => return Ok((name, rest.as_str().to_owned())),
            '\\' => name.push(rest.next().filter(|escaped| matches!(escaped, ':' | '\\')).ok_or(REFUSED)?),
            plain => name.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_label_is_split_at_its_first_plain_colon() {
        for (text, name, value) in [
            ("team:a", "team", "a"),
            ("team:", "team", ""),
            ("team:a:b", "team", "a:b"),
            (r"aws\:team:a\:b", "aws:team", r"a\:b"),
            (r"a\\:c", r"a\", "c"),
        ] {
            assert_eq!(label(text), Ok((name.to_owned(), value.to_owned())), "{text}");
        }
        for text in ["", ":", ":a", "team", r"team\:a", r"a\b:c", r"\"] {
            assert!(label(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_label_can_be_asked_for(name in "[a:\\\\é]{1,8}", value in any::<String>()) {
            let escaped = name.replace('\\', r"\\").replace(':', r"\:");
            prop_assert_eq!(label(&format!("{escaped}:{value}")), Ok((name, value)));
        }
    }
}
