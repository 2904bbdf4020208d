//! `GET /v1/workflow-runs/{runId}/inputs`: what a run was given, and what came of it.

use super::runs::{raw, run_path};
use serde::Serialize;
use serde_json::value::RawValue;
use sluice_core::flow::read_runs::{Given, Segment, Whole};
use sluice_core::id::{NodeId, RunId};
use sluice_core::run::RunError;
use sluice_core::step::{Step, StepStatus};
use sluice_core::time::rfc3339_millis;
use utoipa::ToSchema;

/// Something that a run, or one of its nodes, was given.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunInput)]
#[serde(rename_all = "camelCase")]
pub struct InputView {
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
    /// As it was written. Absent of a start without input, of a failure, and in a list of what is too large for it.
    #[schema(value_type = Value, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Box<RawValue>>,
    /// Where a value is that is too large for a list.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    value_ref: Option<ValueRef>,
    /// Only of a failure.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<RunError>,
    /// Steps that ended before the run was given something again, in the order of their ends.
    produced: Vec<ProducedView>,
}

/// Where a value is.
#[derive(Debug, Serialize, ToSchema)]
struct ValueRef {
    /// Path of the input, with its value.
    #[schema(pattern = "^/v1/")]
    href: String,
    /// Bytes of the value.
    bytes: usize,
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
    pub fn new(run_id: RunId, segment: &Segment) -> Self {
        let (kind, node_id, whole, error) = match &segment.given {
            Given::Start(input) => ("start", None, input.as_ref(), None),
            Given::Data(node_id, value) => ("data", Some(node_id), Some(value), None),
            Given::Failure(node_id, error) => ("failure", Some(node_id), None, Some(error.clone())),
        };
        let (value, value_ref) = match whole {
            Some(Whole::Value(value)) => (raw(value.clone()), None),
            Some(Whole::Bytes(bytes)) => {
                let href = format!("{}/inputs/{}", run_path(run_id), segment.sequence);
                (None, Some(ValueRef { href, bytes: *bytes }))
            }
            None => (None, None),
        };
        Self {
            sequence: segment.sequence,
            kind,
            node_id: node_id.map(NodeId::to_string),
            at: rfc3339_millis(segment.at),
            by: segment.by.clone(),
            value,
            value_ref,
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
