//! What a run executes, as its callers see it. Where and with what the run calls back stays with the run, and secrets
//! are references before they get here.

use super::schema::{JsonSchema, StateMachineArn, Usd};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sluice_core::budget::{MicroUsd, UsdNumber};
use sluice_core::definition::{Edge, NodeType};
use sluice_core::directive::Directives;
use sluice_core::id::{ComputeNodeKey, DefinitionId, DefinitionName, InstanceId, LayerName, NodeId, RunId, Tag};
use sluice_core::snapshot::{NodeRun, Snapshot, SnapshotNode};
use sluice_core::time::rfc3339_millis;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The frozen run: nothing that changed since shows through.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Snapshot)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotView {
    /// SHA-256 of the snapshot as it is stored.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    hash: String,
    created_by: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(value_type = DefinitionId)]
    workflow_definition_id: String,
    #[schema(value_type = DefinitionName)]
    workflow_definition_name: String,
    /// 0 for the draft.
    workflow_version: u32,
    #[schema(value_type = InstanceId)]
    workflow_instance_id: String,
    #[schema(value_type = ComputeNodeKey)]
    compute_node_id: String,
    #[schema(value_type = StateMachineArn)]
    state_machine_arn: String,
    limits: SnapshotLimits,
    /// As the caller wrote it.
    #[schema(value_type = Value, required)]
    input: Option<Box<RawValue>>,
    #[schema(value_type = Vec<LayerName>)]
    layers: Vec<String>,
    nodes: Vec<SnapshotNodeView>,
    #[schema(value_type = Vec<Edge>)]
    edges: Vec<EdgeView>,
    /// Node ids by stage.
    #[schema(value_type = Vec<Vec<NodeId>>)]
    stages: Vec<Vec<String>>,
    /// Whether nothing new starts after a failure that counts.
    fail_fast: bool,
    /// Where the run starts, if that is not the beginning.
    #[schema(value_type = Option<NodeId>, required)]
    from_node_id: Option<String>,
}

/// What the run may use at most; `null` for no bound.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SnapshotLimits {
    /// The caller's cap in US dollars, exact.
    #[schema(value_type = Option<Usd>, required)]
    execution_budget_usd: Option<UsdNumber>,
    /// The compute node's own ceiling in US dollars, exact.
    #[schema(value_type = Option<Usd>, required)]
    compute_node_budget_usd: Option<UsdNumber>,
    #[schema(required)]
    max_run_duration_seconds: Option<u64>,
}

/// A node with everything resolved.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SnapshotNode)]
#[serde(rename_all = "camelCase")]
struct SnapshotNodeView {
    #[schema(value_type = NodeId)]
    node_id: String,
    #[schema(value_type = NodeType)]
    node_type: &'static str,
    run: NodeRunView,
    #[schema(value_type = Option<Tag>, required)]
    tag: Option<String>,
    max_attempts: u32,
    retry_interval_seconds: u32,
    retry_backoff_rate: u32,
    params: BTreeMap<String, Value>,
    #[schema(value_type = Vec<NodeId>)]
    depends_on: Vec<String>,
    /// This data source's own entry of the request; of a reused node, the result it repeats.
    #[schema(value_type = Value, required)]
    data_source: Option<Value>,
    /// This data target's own entry of the request, with the compute node's values.
    #[schema(value_type = Option<Object>, required)]
    data_target: Option<Value>,
    /// The run whose result this node repeats instead of running again.
    #[schema(value_type = Option<RunId>, required)]
    reused_from: Option<String>,
    /// What an external node's answer must look like.
    #[schema(value_type = Option<JsonSchema>, required)]
    schema: Option<Value>,
    /// Whether, how often, with which items and for how long it runs, and what its failure means: as its version says it, with
    /// the placeholders filled.
    directives: Directives,
    /// Whether it does not run because the run starts behind or beside it.
    left_out: bool,
    /// Whether its result was given with the request.
    given: bool,
}

/// What the runner does at a node.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SnapshotNodeRun)]
struct NodeRunView {
    /// `value`, `lambda`, `stateMachine`, `ecs`, `external`, or `hidden` where the definition's owner does not tell.
    kind: &'static str,
    /// Of the function with its tag, of the state machine, or of the task definition with its revision.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    arn: Option<String>,
}

#[derive(Debug, Serialize)]
struct EdgeView {
    from: String,
    to: String,
}

impl SnapshotView {
    /// As the run's own tenant may see it.
    pub fn new(snapshot: Snapshot, hash: String) -> Self {
        let snapshot = snapshot.as_seen_by_tenant();
        Self {
            hash,
            created_by: snapshot.spec.created_by,
            created_at: rfc3339_millis(snapshot.spec.created_at),
            workflow_definition_id: snapshot.spec.definition_id.to_string(),
            workflow_definition_name: snapshot.spec.definition_name.to_string(),
            workflow_version: snapshot.spec.version,
            workflow_instance_id: snapshot.spec.instance_id.to_string(),
            compute_node_id: snapshot.spec.compute_node.to_string(),
            state_machine_arn: snapshot.spec.state_machine_arn.into(),
            limits: SnapshotLimits {
                execution_budget_usd: snapshot.spec.execution_budget_micro_usd.map(MicroUsd::to_json_number),
                compute_node_budget_usd: snapshot.spec.compute_node_budget_micro_usd.map(MicroUsd::to_json_number),
                max_run_duration_seconds: snapshot.spec.max_run_duration_seconds,
            },
            input: snapshot.input,
            layers: snapshot.layers.iter().map(LayerName::to_string).collect(),
            nodes: snapshot.nodes.into_iter().map(SnapshotNodeView::from).collect(),
            edges: snapshot.edges.iter().map(EdgeView::from).collect(),
            stages: snapshot.stages.iter().map(|stage| texts(stage)).collect(),
            fail_fast: snapshot.fail_fast,
            from_node_id: snapshot.from_node_id.map(|node| node.to_string()),
        }
    }
}

impl From<SnapshotNode> for SnapshotNodeView {
    fn from(node: SnapshotNode) -> Self {
        Self {
            node_id: node.node_id.to_string(),
            node_type: node.node_type.as_str(),
            run: NodeRunView::from(node.run),
            tag: node.tag.map(|tag| tag.to_string()),
            max_attempts: node.max_attempts,
            retry_interval_seconds: node.retry_interval_seconds,
            retry_backoff_rate: node.retry_backoff_rate,
            params: node.params,
            depends_on: texts(&node.depends_on),
            data_source: node.data_source,
            data_target: node.data_target,
            reused_from: node.reused_from.map(|run_id| run_id.to_string()),
            schema: node.schema,
            directives: node.directives,
            left_out: node.left_out,
            given: node.given,
        }
    }
}

impl From<NodeRun> for NodeRunView {
    fn from(run: NodeRun) -> Self {
        let (kind, arn) = match run {
            NodeRun::Value => ("value", None),
            NodeRun::Lambda { function_arn } => ("lambda", Some(function_arn.into())),
            NodeRun::StateMachine { state_machine_arn } => ("stateMachine", Some(state_machine_arn.into())),
            NodeRun::Ecs(task) => ("ecs", Some(task.task_definition_arn.into())),
            NodeRun::External => ("external", None),
            NodeRun::Hidden => ("hidden", None),
        };
        Self { kind, arn }
    }
}

impl From<&Edge> for EdgeView {
    fn from(edge: &Edge) -> Self {
        Self { from: edge.from.to_string(), to: edge.to.to_string() }
    }
}

fn texts(nodes: &[NodeId]) -> Vec<String> {
    nodes.iter().map(NodeId::to_string).collect()
}
