//! `GET /v1/workflow-runs/{runId}/inputs`: what a run was given, and what came of it.

use super::runs::raw;
use serde::Serialize;
use serde_json::value::RawValue;
use sluice_core::flow::read_runs::{Given, Segment};
use sluice_core::id::NodeId;
use sluice_core::report::NodeOutcome;
use sluice_core::run::RunError;
use sluice_core::step::{Step, StepStatus};
use sluice_core::time::rfc3339_millis;
use utoipa::ToSchema;

/// Everything that a run was given, in its order.
#[derive(Debug, Serialize, ToSchema)]
pub struct InputList {
    items: Vec<InputView>,
}

impl From<&[Segment]> for InputList {
    fn from(segments: &[Segment]) -> Self {
        Self { items: (1..).zip(segments).map(|(sequence, segment)| InputView::new(sequence, segment)).collect() }
    }
}

/// Something that a run, or one of its nodes, was given.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunInput)]
#[serde(rename_all = "camelCase")]
struct InputView {
    /// 1 for the start.
    #[schema(minimum = 1)]
    sequence: u32,
    /// `start` for the run's own input, `data` for the answer to a node, `failure` for an answer that the node failed.
    kind: &'static str,
    /// The node that was answered.
    #[schema(value_type = Option<NodeId>, required)]
    node_id: Option<String>,
    #[schema(format = DateTime)]
    at: String,
    /// Who gave it.
    by: String,
    /// As it was written. Absent of a start without input, and of a failure.
    #[schema(value_type = Value, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Box<RawValue>>,
    /// Only of a failure.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<RunError>,
    /// Steps that ended before the run was given something again, in the order of their ends.
    produced: Vec<ProducedView>,
}

/// A step that ended.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProducedStep)]
#[serde(rename_all = "camelCase")]
struct ProducedView {
    #[schema(value_type = NodeId)]
    node_id: String,
    #[schema(value_type = StepStatus)]
    status: &'static str,
    #[schema(format = DateTime, required)]
    ended_at: Option<String>,
}

impl InputView {
    fn new(sequence: u32, segment: &Segment) -> Self {
        let (kind, node_id, value, error) = match &segment.given {
            Given::Start(input) => ("start", None, input.clone(), None),
            Given::Answer(node_id, NodeOutcome::Result(value)) => ("data", Some(node_id), Some(value.clone()), None),
            Given::Answer(node_id, NodeOutcome::Failure(error)) => {
                ("failure", Some(node_id), None, Some(error.clone()))
            }
        };
        Self {
            sequence,
            kind,
            node_id: node_id.map(NodeId::to_string),
            at: rfc3339_millis(segment.at),
            by: segment.by.clone(),
            value: value.and_then(raw),
            error,
            produced: segment.produced.iter().map(ProducedView::from).collect(),
        }
    }
}

impl From<&Step> for ProducedView {
    fn from(step: &Step) -> Self {
        Self {
            node_id: step.node_id.to_string(),
            status: step.status.as_str(),
            ended_at: step.ended_at.map(rfc3339_millis),
        }
    }
}
