//! What a run executes, frozen when it is recorded, and the Step Functions input made from it.
//!
//! **Invariant:** nothing that changes later (definition, instance, processor, compute node) shows through a snapshot.
//!
//! Decision (2026-11-22): results travel inline through the runner, up to 160,000 bytes for all nodes together;
//! larger ones by reference to `GET …/steps/{nodeId}`. No graph can outgrow a state.

use crate::arn::{QualifiedArn, StateMachineArn};
use crate::budget::{MicroUsd, UsdNumber};
use crate::canonical;
use crate::definition::{Edge, NodeType};
use crate::directive::{Directives, Start};
use crate::generation::Generation;
use crate::governor::ledger::OnBudgetExceeded;
use crate::graph::Graph;
use crate::id::{
    ComputeNodeKey, DefinitionId, DefinitionName, InstanceId, LayerName, NodeId, ProcessorKey, RunId, Tag, TenantId,
    UserId,
};
use crate::limits;
use crate::operator::ContainerTask;
use crate::retention::Retention;
use crate::run::RunSpec;
use crate::schedule::{Doer, Schedule, Task};
use crate::template::Variables;
use crate::time::millis;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The frozen run. In JSON, which is its stored form, it is one flat object.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Stored")]
pub struct Snapshot {
    pub run_id: RunId,
    pub tenant_id: TenantId,
    pub spec: RunSpec,
    pub nodes: Vec<SnapshotNode>,
    pub edges: Vec<Edge>,
    /// Node ids by stage.
    pub stages: Vec<Vec<NodeId>>,
    pub leaves: Vec<NodeId>,
    /// Whether nothing new starts after a failure that counts.
    pub fail_fast: bool,
    /// Where the run starts, if that is not the beginning.
    pub from_node_id: Option<NodeId>,
    /// As the caller wrote it.
    pub input: Option<Box<RawValue>>,
    pub layers: Vec<LayerName>,
    pub callback: Option<Callback>,
    /// Where its processors have their calls of language models governed, with the run's grant in it. A deployment without a
    /// governor has none.
    pub governor: Option<String>,
}

/// Where and with what the caller wants to hear of the end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Callback {
    pub url: String,
    /// The caller's JSON, byte for byte. It never enters the execution.
    pub context: Option<Box<RawValue>>,
}

/// A node with everything resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotNode {
    pub node_id: NodeId,
    pub node_type: NodeType,
    pub run: NodeRun,
    /// What `run` was made of. A snapshot from before keys were kept has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processor: Option<ProcessorKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    pub max_attempts: u32,
    pub retry_interval_seconds: u32,
    pub retry_backoff_rate: u32,
    pub params: BTreeMap<String, Value>,
    pub depends_on: Vec<NodeId>,
    /// This data source's own entry of the request.
    pub data_source: Option<Value>,
    /// This data target's own entry of the request, enriched with the compute node's registry.
    pub data_target: Option<Value>,
    /// The run whose result this node repeats instead of running again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused_from: Option<RunId>,
    /// What an external node's answer must look like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// Whether a tenant that runs the definition without owning it may not see what the node runs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// The parameters that such a tenant may not see.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub private_params: Vec<String>,
    /// Whether, how often, with which items and for how long it runs, and what its failure means.
    #[serde(default, skip_serializing_if = "Directives::is_empty")]
    pub directives: Directives,
    /// Whether it does not run because the run starts behind or beside it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left_out: bool,
    /// Whether its result was given with the request, in place of what it would have given.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub given: bool,
}

impl SnapshotNode {
    /// The node's result, if it is in the plan already.
    fn value_text(&self) -> Option<String> {
        let value = self.data_source.as_ref().unwrap_or(&Value::Null);
        (self.run == NodeRun::Value).then(|| value.to_string())
    }

    /// Makes the node one whose result is known already: nobody runs it, and nothing decides over it.
    pub fn settle(&mut self, result: Value) {
        (self.run, self.data_source, self.directives) = (NodeRun::Value, Some(result), Directives::default());
    }

    /// Who does what it takes.
    pub const fn doer(&self) -> Doer {
        match self.run {
            NodeRun::Value => Doer::Nobody,
            NodeRun::External => Doer::Outside,
            NodeRun::Lambda { .. } | NodeRun::StateMachine { .. } | NodeRun::Ecs(_) | NodeRun::Hidden => Doer::Worker,
        }
    }

    fn task(&self) -> Task {
        let retry = (self.max_attempts, self.retry_interval_seconds, self.retry_backoff_rate);
        Task { is_left_out: self.left_out, ..self.directives.task(self.doer(), retry) }
    }

    /// The node as a tenant may see it that runs the definition without owning it.
    fn shown_to_others(mut self) -> Self {
        self.params.retain(|name, _| !self.private && !self.private_params.contains(name));
        self.private_params.clear();
        if self.private {
            let directives = self.directives.shown_to_others();
            self = Self {
                run: NodeRun::Hidden,
                processor: None,
                tag: None,
                data_target: None,
                schema: None,
                directives,
                ..self
            };
        }
        self
    }
}

/// What the runner does at a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum NodeRun {
    /// The node's result is its data source.
    Value,
    #[serde(rename_all = "camelCase")]
    Lambda { function_arn: QualifiedArn },
    #[serde(rename_all = "camelCase")]
    StateMachine { state_machine_arn: QualifiedArn },
    /// Run a container task to its end.
    Ecs(ContainerTask<QualifiedArn>),
    /// Wait for an answer from outside.
    External,
    /// The tenant that looks may not see what the node does. Such a node is only shown, never stored or run.
    Hidden,
}

/// What a request said, as far as its snapshot does not keep it as it was: what a replay on another version needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestParts<'a> {
    #[serde(default, skip_serializing_if = "is_empty")]
    pub data_sources: Cow<'a, BTreeMap<NodeId, Value>>,
    #[serde(default, skip_serializing_if = "is_empty")]
    pub data_targets: Cow<'a, BTreeMap<NodeId, Value>>,
    #[serde(default, skip_serializing_if = "is_empty")]
    pub processor_params: Cow<'a, BTreeMap<NodeId, BTreeMap<String, Value>>>,
    #[serde(default, skip_serializing_if = "is_empty")]
    pub tags: Cow<'a, BTreeMap<NodeId, Tag>>,
    #[serde(default)]
    pub variables: Cow<'a, Variables>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Cow<'a, Start>>,
}

fn is_empty<K, V>(map: &BTreeMap<K, V>) -> bool {
    map.is_empty()
}

/// What the end of a run needs of its snapshot: kept beside it, so that nobody has to read the whole for it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ending {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<Callback>,
    /// The leaves whose results are in the plan already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<NodeId>,
    /// The leaves that are answered from outside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answered: Vec<NodeId>,
}

impl Ending {
    /// Whether the output will have a result that somebody wrote.
    pub fn has_given_results(&self) -> bool {
        !self.values.is_empty() || !self.answered.is_empty()
    }
}

/// Where the runner finds its run: the only key text that leaves the store, made by the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordKeys {
    pub pk: String,
    /// By status: the index key the head has in that status.
    pub status_keys: BTreeMap<&'static str, String>,
}

impl Snapshot {
    /// The text that is stored.
    ///
    /// # Errors
    /// Never, for a snapshot made by Sluice: every part of it is JSON already.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// SHA-256 of the snapshot's text as its readers may see it, in lower-case hexadecimal digits. What is hidden from them
    /// (where the run calls back; its grant; what the owner of a shared definition keeps to itself) is not hashed: who knows everything
    /// else could tell a right guess by the hash. `text` is [what is stored](Self::to_text): mostly it hides nothing.
    ///
    /// # Errors
    /// Those of [`Self::to_text`].
    pub fn hash(&self, text: &str) -> Result<String, serde_json::Error> {
        let has_secrets = self.callback.is_some() || self.governor.is_some();
        let seen = match (has_secrets, &self.spec.definition_owner) {
            (false, None) => return Ok(canonical::sha256_hex(&[text])),
            (true, None) => serde_json::to_string(&Written::of(self, &self.nodes)),
            (_, Some(_)) => {
                let nodes: Vec<WrittenNode<'_>> = self.nodes.iter().map(WrittenNode::shown_to_others).collect();
                serde_json::to_string(&Written::of(self, &nodes))
            }
        };
        Ok(canonical::sha256_hex(&[&seen?]))
    }

    /// What the end of the run needs of this; `None` when that is nothing.
    pub fn ending(&self) -> Option<Ending> {
        let runs: BTreeMap<&NodeId, &NodeRun> = self.nodes.iter().map(|node| (&node.node_id, &node.run)).collect();
        let is = |leaf: &&NodeId, kind: &NodeRun| runs.get(*leaf).is_some_and(|run| *run == kind);
        let ending = Ending {
            callback: self.callback.clone(),
            values: self.leaves.iter().filter(|leaf| is(leaf, &NodeRun::Value)).cloned().collect(),
            answered: self.leaves.iter().filter(|leaf| is(leaf, &NodeRun::External)).cloned().collect(),
        };
        (ending.callback.is_some() || ending.has_given_results()).then_some(ending)
    }

    /// The snapshot as the tenant of the run may see it: without its grant, and without what the owner of the definition keeps
    /// to itself, where the owner is another tenant.
    pub fn as_seen_by_tenant(mut self) -> Self {
        self.governor = None;
        if self.spec.definition_owner.is_some() {
            self.nodes = self.nodes.into_iter().map(SnapshotNode::shown_to_others).collect();
        }
        self
    }

    /// What the second generation of the runner knows of the nodes before any of them runs; `None` for a snapshot whose edges
    /// are no graph, of which none was ever stored.
    pub fn schedule(&self) -> Option<Schedule> {
        let index_of: BTreeMap<&NodeId, usize> =
            self.nodes.iter().enumerate().map(|(index, node)| (&node.node_id, index)).collect();
        let ends = |edge: &Edge| Some((*index_of.get(&edge.from)?, *index_of.get(&edge.to)?));
        let graph = Graph::new(self.nodes.len(), self.edges.iter().map(ends).collect::<Option<Vec<_>>>()?)?;
        Schedule::new(graph, self.nodes.iter().map(SnapshotNode::task).collect(), self.fail_fast)
    }

    /// The execution's input. It carries no secret, no token and no callback context; the grant in it opens nothing alone.
    ///
    /// # Errors
    /// Never, for a snapshot made by Sluice.
    pub fn execution_input(&self, record: &RecordKeys) -> Result<String, serde_json::Error> {
        match self.spec.generation() {
            Generation::First => self.whole_plan(record),
            Generation::Second => self.workers(record),
        }
    }

    /// What the second generation's states read: the rest of the plan stays in the snapshot.
    fn workers(&self, record: &RecordKeys) -> Result<String, serde_json::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct ExecutionInput<'a> {
            spec_version: &'static str,
            run_id: RunId,
            tenant_id: &'a TenantId,
            workflow_definition_id: DefinitionId,
            workflow_version: u32,
            execution_budget_usd: Option<UsdNumber>,
            execution_budget_micro_usd: Option<u64>,
            compute_node_budget_usd: Option<UsdNumber>,
            compute_node_budget_micro_usd: Option<u64>,
            record: &'a RecordKeys,
            workers: Vec<u32>,
        }
        let workers = self.schedule().map_or(1, |schedule| schedule.workers());
        serde_json::to_string(&ExecutionInput {
            spec_version: "2",
            run_id: self.run_id,
            tenant_id: &self.tenant_id,
            workflow_definition_id: self.spec.definition_id,
            workflow_version: self.spec.version,
            execution_budget_usd: self.spec.execution_budget_micro_usd.map(MicroUsd::to_json_number),
            execution_budget_micro_usd: self.spec.execution_budget_micro_usd.map(|micro| micro.0),
            compute_node_budget_usd: self.spec.compute_node_budget_micro_usd.map(MicroUsd::to_json_number),
            compute_node_budget_micro_usd: self.spec.compute_node_budget_micro_usd.map(|micro| micro.0),
            record,
            workers: (0..workers).collect(),
        })
    }

    /// What the first generation's states read.
    fn whole_plan(&self, record: &RecordKeys) -> Result<String, serde_json::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct ExecutionInput<'a> {
            spec_version: &'static str,
            run_id: RunId,
            tenant_id: &'a TenantId,
            user_id: Option<&'a UserId>,
            workflow_definition_id: DefinitionId,
            workflow_version: u32,
            execution_budget_usd: Option<UsdNumber>,
            execution_budget_micro_usd: Option<u64>,
            compute_node_budget_usd: Option<UsdNumber>,
            compute_node_budget_micro_usd: Option<u64>,
            inline_result_bytes: usize,
            /// Bytes of the results that are in the plan already.
            value_bytes: BTreeMap<&'a NodeId, usize>,
            record: &'a RecordKeys,
            governor: Option<&'a str>,
            input: Option<&'a RawValue>,
            layers: &'a [LayerName],
            leaves: &'a [NodeId],
            stages: Vec<Vec<&'a SnapshotNode>>,
        }
        let by_id: BTreeMap<&NodeId, &SnapshotNode> = self.nodes.iter().map(|node| (&node.node_id, node)).collect();
        let stages =
            self.stages.iter().map(|stage| stage.iter().filter_map(|id| by_id.get(id).copied()).collect()).collect();
        let value_bytes = self.nodes.iter().filter_map(|node| Some((&node.node_id, node.value_text()?.len())));
        let mut input = ExecutionInput {
            spec_version: "1",
            run_id: self.run_id,
            tenant_id: &self.tenant_id,
            user_id: self.spec.user_id.as_ref(),
            workflow_definition_id: self.spec.definition_id,
            workflow_version: self.spec.version,
            execution_budget_usd: self.spec.execution_budget_micro_usd.map(MicroUsd::to_json_number),
            execution_budget_micro_usd: self.spec.execution_budget_micro_usd.map(|micro| micro.0),
            compute_node_budget_usd: self.spec.compute_node_budget_micro_usd.map(MicroUsd::to_json_number),
            compute_node_budget_micro_usd: self.spec.compute_node_budget_micro_usd.map(|micro| micro.0),
            inline_result_bytes: inline_result_bytes(self.nodes.len(), 0),
            value_bytes: value_bytes.collect(),
            record,
            governor: self.governor.as_deref(),
            input: self.input.as_deref(),
            layers: &self.layers,
            leaves: &self.leaves,
            stages,
        };
        // The runner counts nothing itself: what is left beside this very plan is said in it.
        input.inline_result_bytes = inline_result_bytes(self.nodes.len(), serde_json::to_string(&input)?.len());
        serde_json::to_string(&input)
    }

    /// The results that the plan itself has, as they were written.
    pub fn values(&self) -> BTreeMap<NodeId, String> {
        self.nodes.iter().filter_map(|node| Some((node.node_id.clone(), node.value_text()?))).collect()
    }

    /// The result that the plan itself has for a node, as it was written: of a node whose result is its data source.
    pub fn value_of(&self, node_id: &NodeId) -> Option<String> {
        self.nodes.iter().find(|node| node.node_id == *node_id)?.value_text()
    }
}

/// A result of no more bytes would be no smaller as a reference: it always travels inline.
pub const REFERENCE_BYTES: usize = 256;

/// Bytes of one node's result that travel inline beside a plan of so many bytes. The plan and the results of all nodes together
/// stay below what a state may carry, so no DAG can outgrow the state machine; a larger result travels as a reference.
pub fn inline_result_bytes(nodes: usize, plan_bytes: usize) -> usize {
    /// What stands around each result.
    const AROUND: usize = 128;
    let nodes = nodes.max(1);
    let share = limits::STATE_BYTES.saturating_sub(plan_bytes) / nodes;
    let most = (limits::INLINE_RESULTS_BYTES / nodes).min(limits::INLINE_RESULT_BYTES);
    most.min(share.saturating_sub(AROUND)).max(REFERENCE_BYTES)
}

impl Serialize for Snapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (callback, governor) = (self.callback.as_ref(), self.governor.as_deref());
        Written { callback, governor, ..Written::of(self, &self.nodes) }.serialize(serializer)
    }
}

/// A snapshot as it is written, in the order in which its parts always were: readers compare its hash.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a, N> {
    run_id: RunId,
    tenant_id: &'a TenantId,
    created_by: &'a str,
    #[serde(with = "millis")]
    created_at: Timestamp,
    workflow_definition_id: DefinitionId,
    workflow_definition_name: &'a DefinitionName,
    #[serde(skip_serializing_if = "Option::is_none")]
    workflow_definition_owner: Option<&'a TenantId>,
    workflow_version: u32,
    workflow_instance_id: InstanceId,
    compute_node_id: &'a ComputeNodeKey,
    state_machine_arn: &'a StateMachineArn,
    execution_budget_micro_usd: Option<MicroUsd>,
    compute_node_budget_micro_usd: Option<MicroUsd>,
    #[serde(skip_serializing_if = "OnBudgetExceeded::is_stop")]
    on_budget_exceeded: OnBudgetExceeded,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a UserId>,
    max_run_duration_seconds: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    exclude_paused_time: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention: Option<Retention>,
    nodes: &'a [N],
    edges: &'a [Edge],
    stages: &'a [Vec<NodeId>],
    leaves: &'a [NodeId],
    #[serde(skip_serializing_if = "Option::is_none")]
    fail_fast: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_node_id: Option<&'a NodeId>,
    input: Option<&'a RawValue>,
    layers: &'a [LayerName],
    callback: Option<&'a Callback>,
    #[serde(skip_serializing_if = "Option::is_none")]
    governor: Option<&'a str>,
}

impl<'a, N> Written<'a, N> {
    /// Without what no reader may see.
    fn of(snapshot: &'a Snapshot, nodes: &'a [N]) -> Self {
        let spec = &snapshot.spec;
        Self {
            run_id: snapshot.run_id,
            tenant_id: &snapshot.tenant_id,
            created_by: &spec.created_by,
            created_at: spec.created_at,
            workflow_definition_id: spec.definition_id,
            workflow_definition_name: &spec.definition_name,
            workflow_definition_owner: spec.definition_owner.as_ref(),
            workflow_version: spec.version,
            workflow_instance_id: spec.instance_id,
            compute_node_id: &spec.compute_node,
            state_machine_arn: &spec.state_machine_arn,
            execution_budget_micro_usd: spec.execution_budget_micro_usd,
            compute_node_budget_micro_usd: spec.compute_node_budget_micro_usd,
            on_budget_exceeded: spec.on_budget_exceeded,
            user_id: spec.user_id.as_ref(),
            max_run_duration_seconds: spec.max_run_duration_seconds,
            exclude_paused_time: spec.exclude_paused_time,
            retention: spec.retention,
            nodes,
            edges: &snapshot.edges,
            stages: &snapshot.stages,
            leaves: &snapshot.leaves,
            fail_fast: (!snapshot.fail_fast).then_some(false),
            from_node_id: snapshot.from_node_id.as_ref(),
            input: snapshot.input.as_deref(),
            layers: &snapshot.layers,
            callback: None,
            governor: None,
        }
    }
}

/// A node as [`SnapshotNode`] is written, of which parts may be left out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenNode<'a> {
    node_id: &'a NodeId,
    node_type: NodeType,
    run: &'a NodeRun,
    #[serde(skip_serializing_if = "Option::is_none")]
    processor: Option<&'a ProcessorKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<&'a Tag>,
    max_attempts: u32,
    retry_interval_seconds: u32,
    retry_backoff_rate: u32,
    params: BTreeMap<&'a str, &'a Value>,
    depends_on: &'a [NodeId],
    data_source: Option<&'a Value>,
    data_target: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reused_from: Option<RunId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<&'a Value>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    private: bool,
    #[serde(skip_serializing_if = "Directives::is_empty")]
    directives: Cow<'a, Directives>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    left_out: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    given: bool,
}

impl<'a> WrittenNode<'a> {
    /// As [`SnapshotNode::shown_to_others`].
    fn shown_to_others(node: &'a SnapshotNode) -> Self {
        let is_shown = |name: &String| !node.private && !node.private_params.contains(name);
        let params = node.params.iter().filter(|(name, _)| is_shown(name));
        Self {
            node_id: &node.node_id,
            node_type: node.node_type,
            run: if node.private { &NodeRun::Hidden } else { &node.run },
            processor: node.processor.as_ref().filter(|_| !node.private),
            tag: node.tag.as_ref().filter(|_| !node.private),
            max_attempts: node.max_attempts,
            retry_interval_seconds: node.retry_interval_seconds,
            retry_backoff_rate: node.retry_backoff_rate,
            params: params.map(|(name, value)| (name.as_str(), value)).collect(),
            depends_on: &node.depends_on,
            data_source: node.data_source.as_ref(),
            data_target: node.data_target.as_ref().filter(|_| !node.private),
            reused_from: node.reused_from,
            schema: node.schema.as_ref().filter(|_| !node.private),
            private: node.private,
            directives: match node.private {
                true => Cow::Owned(node.directives.clone().shown_to_others()),
                false => Cow::Borrowed(&node.directives),
            },
            left_out: node.left_out,
            given: node.given,
        }
    }
}

/// A snapshot as it is read, with the names under which every version has stored it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    run_id: RunId,
    tenant_id: TenantId,
    created_by: String,
    #[serde(with = "millis")]
    created_at: Timestamp,
    workflow_definition_id: DefinitionId,
    workflow_definition_name: DefinitionName,
    #[serde(default)]
    workflow_definition_owner: Option<TenantId>,
    workflow_version: u32,
    workflow_instance_id: InstanceId,
    compute_node_id: ComputeNodeKey,
    state_machine_arn: StateMachineArn,
    execution_budget_micro_usd: Option<MicroUsd>,
    compute_node_budget_micro_usd: Option<MicroUsd>,
    #[serde(default)]
    on_budget_exceeded: OnBudgetExceeded,
    #[serde(default)]
    user_id: Option<UserId>,
    max_run_duration_seconds: Option<u64>,
    #[serde(default)]
    exclude_paused_time: bool,
    #[serde(default)]
    retention: Option<Retention>,
    nodes: Vec<SnapshotNode>,
    edges: Vec<Edge>,
    stages: Vec<Vec<NodeId>>,
    leaves: Vec<NodeId>,
    #[serde(default = "fails_fast")]
    fail_fast: bool,
    #[serde(default)]
    from_node_id: Option<NodeId>,
    input: Option<Box<RawValue>>,
    layers: Vec<LayerName>,
    callback: Option<Callback>,
    #[serde(default)]
    governor: Option<String>,
}

const fn fails_fast() -> bool {
    true
}

impl From<Stored> for Snapshot {
    fn from(stored: Stored) -> Self {
        let spec = RunSpec {
            definition_id: stored.workflow_definition_id,
            definition_name: stored.workflow_definition_name,
            definition_owner: stored.workflow_definition_owner,
            version: stored.workflow_version,
            instance_id: stored.workflow_instance_id,
            compute_node: stored.compute_node_id,
            state_machine_arn: stored.state_machine_arn,
            execution_budget_micro_usd: stored.execution_budget_micro_usd,
            compute_node_budget_micro_usd: stored.compute_node_budget_micro_usd,
            on_budget_exceeded: stored.on_budget_exceeded,
            user_id: stored.user_id,
            max_run_duration_seconds: stored.max_run_duration_seconds,
            exclude_paused_time: stored.exclude_paused_time,
            retention: stored.retention,
            created_by: stored.created_by,
            created_at: stored.created_at,
        };
        Self {
            run_id: stored.run_id,
            tenant_id: stored.tenant_id,
            spec,
            nodes: stored.nodes,
            edges: stored.edges,
            stages: stored.stages,
            leaves: stored.leaves,
            fail_fast: stored.fail_fast,
            from_node_id: stored.from_node_id,
            input: stored.input,
            layers: stored.layers,
            callback: stored.callback,
            governor: stored.governor,
        }
    }
}
