//! Definitions and their immutable versions: a DAG of nodes, checked before it is stored.
//!
//! Decision (2026-11-22): a draft is one mutable document per definition, run as `version: draft`
//! (`workflowVersion` 0) by the definition's own tenant only; what a run froze of it stays.
//!
//! Decision (2026-11-22): activating a version takes its deprecation back. `latest` is the newest version also when
//! it is deprecated, and then refuses.

use crate::concurrency::Concurrency;
use crate::condition::{Condition, Standing};
use crate::directive::{Directives, ForEach, Loop, OnExpiry, OnFailure};
use crate::governor::ledger::OnBudgetExceeded;
use crate::graph::{Closure, Graph};
use crate::history;
use crate::id::{DefinitionId, DefinitionName, NodeId, ProcessorKey, Tag, TenantId};
use crate::limits;
use crate::number::{is_whole, whole, whole_option};
use crate::operator::Processor;
use crate::place::{At, Field, Part};
use crate::retention::Retention;
use crate::schedule::{Doer, Schedule, Task};
use crate::secret;
use crate::time::millis;
use crate::violation::{Invalid, ViolationCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use utoipa::ToSchema;

/// A named workflow of one tenant. `rev` is its optimistic lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    pub tenant: TenantId,
    pub id: DefinitionId,
    pub name: DefinitionName,
    pub display_name: Option<String>,
    pub description: Option<String>,
    /// The version a run gets when none is asked for. `None` until one is activated.
    pub active_version: Option<u32>,
    /// The newest version; 0 before the first.
    pub latest_version: u32,
    /// Versions that make no new runs.
    pub deprecated_versions: BTreeSet<u32>,
    /// What the active and the newest version name, where that is not too much: see [`Outline`].
    pub processors: BTreeMap<u32, BTreeSet<ProcessorKey>>,
    /// Of each tenant's runs of this definition.
    pub concurrency: Option<Concurrency>,
    /// Of runs that say nothing of their own.
    pub retention: Option<Retention>,
    /// Of runs that say nothing of their own, in seconds.
    pub max_run_duration_seconds: Option<u64>,
    /// Whether the duration of its runs leaves out the time they were paused.
    pub exclude_paused_time: bool,
    /// Whether other tenants may find and run it.
    pub discoverable: bool,
    pub tags: BTreeSet<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub rev: u64,
}

impl Definition {
    /// A definition of which nothing is said but its name.
    pub fn new(tenant: TenantId, id: DefinitionId, name: DefinitionName, now: Timestamp) -> Self {
        Self {
            tenant,
            id,
            name,
            display_name: None,
            description: None,
            active_version: None,
            latest_version: 0,
            deprecated_versions: BTreeSet::new(),
            processors: BTreeMap::new(),
            concurrency: None,
            retention: None,
            max_run_duration_seconds: None,
            exclude_paused_time: false,
            discoverable: false,
            tags: BTreeSet::new(),
            created_at: now,
            updated_at: now,
            rev: 1,
        }
    }
}

/// What of a definition tells which versions a run may be made of, and which processors those name: enough to ask for them
/// before the definition itself was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outline {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_version: Option<u32>,
    pub latest_version: u32,
    /// By version; those of a version that is not here are not known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub processors: BTreeMap<u32, BTreeSet<ProcessorKey>>,
}

impl Outline {
    /// Keys of one version at most: an outline is read with every definition.
    const MOST_PROCESSORS: usize = 40;

    /// The number of the version that `rule` means. `None` for the draft, which has none.
    pub fn number(&self, rule: VersionRule) -> Option<u32> {
        match rule {
            VersionRule::Active => self.active_version,
            VersionRule::Latest => Some(self.latest_version).filter(|number| *number > 0),
            VersionRule::Number(number) => Some(number),
            VersionRule::Draft => None,
        }
    }
}

impl Definition {
    pub fn outline(&self) -> Outline {
        Outline {
            active_version: self.active_version,
            latest_version: self.latest_version,
            processors: self.processors.clone(),
        }
    }

    /// Keeps in mind what a version names, as long as that is the active or the newest one.
    pub fn note_processors(&mut self, number: u32, document: &VersionDocument) {
        let keys = document.processor_keys();
        if keys.len() <= Outline::MOST_PROCESSORS {
            self.processors.insert(number, keys);
        }
        let (active, latest) = (self.active_version, self.latest_version);
        self.processors.retain(|number, _| Some(*number) == active || *number == latest);
    }
}

/// One immutable revision of a definition, or its draft as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub definition_id: DefinitionId,
    /// 1, 2, 3…; 0 for the draft.
    pub number: u32,
    pub document: VersionDocument,
    pub created_at: Timestamp,
    pub created_by: String,
}

/// Which version a run gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VersionRule {
    #[default]
    Active,
    Latest,
    /// What is being written: only its owner's.
    Draft,
    Number(u32),
}

impl std::str::FromStr for VersionRule {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "active" => Ok(Self::Active),
            "latest" => Ok(Self::Latest),
            "draft" => Ok(Self::Draft),
            _ => match text.parse::<u32>() {
                Ok(number) if number > 0 && number.to_string() == text => Ok(Self::Number(number)),
                Ok(_) | Err(_) => Err("must be \"active\", \"latest\", \"draft\" or a version number from 1"),
            },
        }
    }
}

impl std::fmt::Display for VersionRule {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Active => formatter.write_str("active"),
            Self::Latest => formatter.write_str("latest"),
            Self::Draft => formatter.write_str("draft"),
            Self::Number(number) => number.fmt(formatter),
        }
    }
}

/// What a version says. This is also its stored and its wire form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VersionDocument {
    pub nodes: Vec<Node>,
    #[serde(default)]
    pub edges: Vec<Edge>,
    /// JSON Schema (draft 2020-12 unless `$schema` says otherwise) of a run's `input`. Absent: any input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<Value>,
    /// What becomes of a run whose cap is spent.
    #[serde(default, skip_serializing_if = "OnBudgetExceeded::is_stop")]
    pub on_budget_exceeded: OnBudgetExceeded,
    /// Whether nothing new starts after a failure that counts. Otherwise only what comes after the failed node does not.
    #[serde(default = "fails_fast", skip_serializing_if = "is_true")]
    pub fail_fast: bool,
}

const fn fails_fast() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_true(value: &bool) -> bool {
    *value
}

/// A vertex of the DAG.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Node {
    pub id: NodeId,
    #[serde(rename = "type")]
    pub node_type: NodeType,
    /// The operator's key. Needed by `processor` and `data-target`, allowed on `data-source`, refused on `external`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processor: Option<ProcessorKey>,
    /// Lambda qualifier or task-definition revision; a run may override it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, Parameter>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// JSON Schema of what an `external` node is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Hide what this node runs and with what from other tenants that run the definition.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// Whether it runs: where this does not hold, its step is SKIPPED and what comes after it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    #[serde(default, rename = "loop", skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Loop>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_each: Option<ForEach>,
    /// What its failure means to its run. Absent: `fail`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// Of one attempt.
    #[schema(minimum = 1, maximum = 2592000)]
    #[serde(default, deserialize_with = "whole_option", skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    /// Of an external node's wait for its answer, from its last sign of progress.
    #[schema(minimum = 1, maximum = 2592000)]
    #[serde(default, deserialize_with = "whole_option", skip_serializing_if = "Option::is_none")]
    pub expires_after_seconds: Option<u64>,
    /// What happens when nobody has answered in time. Absent: `fail`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_expiry: Option<OnExpiry>,
}

impl Node {
    /// What the version says of its running beyond what it runs.
    pub fn directives(&self) -> Directives {
        Directives {
            when: self.when.clone(),
            repeat: self.repeat.clone(),
            for_each: self.for_each.clone(),
            on_failure: self.on_failure,
            timeout_seconds: self.timeout_seconds,
            expires_after_seconds: self.expires_after_seconds,
            on_expiry: self.on_expiry.clone(),
        }
    }

    /// Who does what it takes.
    pub const fn doer(&self) -> Doer {
        match (self.node_type, &self.processor) {
            (NodeType::External, _) => Doer::Outside,
            (NodeType::DataSource, None) => Doer::Nobody,
            (NodeType::DataSource | NodeType::Processor | NodeType::DataTarget, _) => Doer::Worker,
        }
    }

    fn task(&self) -> Task {
        let retry = self.retry.unwrap_or_default();
        self.directives().task(self.doer(), (retry.max_attempts, retry.interval_seconds, retry.backoff_rate))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NodeType {
    DataSource,
    Processor,
    /// Someone outside reports the result, or a person gives input.
    External,
    DataTarget,
}

impl NodeType {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DataSource => "data-source",
            Self::Processor => "processor",
            Self::External => "external",
            Self::DataTarget => "data-target",
        }
    }
}

/// `to` runs after `from` and is given its result.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Edge {
    pub from: NodeId,
    pub to: NodeId,
}

/// A parameter that a node takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Parameter {
    #[serde(rename = "type")]
    pub parameter_type: ParameterType,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Hide its value from other tenants that run the definition.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ParameterType {
    String,
    Number,
    Integer,
    Boolean,
    Object,
    Array,
    /// Never the secret itself but `{"secretRef": "<ARN in Secrets Manager or SSM Parameter Store>"}`.
    Secret,
}

impl ParameterType {
    /// Whether `value` is of this type.
    pub fn admits(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Number => value.is_number(),
            Self::Integer => value.as_number().is_some_and(|number| is_whole(&number.to_string())),
            Self::Boolean => value.is_boolean(),
            Self::Object => value.is_object(),
            Self::Array => value.is_array(),
            Self::Secret => secret::is_reference(value),
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Number => "a number",
            Self::Integer => "an integer",
            Self::Boolean => "a boolean",
            Self::Object => "an object",
            Self::Array => "an array",
            Self::Secret => "{\"secretRef\": \"<ARN of a Secrets Manager secret or SSM parameter>\"}",
        }
    }
}

/// How a failed attempt at a node is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retry {
    /// Attempts in all, the first included: 1 to 10.
    #[schema(minimum = 1, maximum = 10, default = 1)]
    #[serde(default = "Retry::one_attempt", deserialize_with = "whole")]
    pub max_attempts: u32,
    /// Seconds before the second attempt: 1 to 3,600.
    #[schema(minimum = 1, maximum = 3600, default = 1)]
    #[serde(default = "Retry::one_second", deserialize_with = "whole")]
    pub interval_seconds: u32,
    /// Each further wait is this many times longer: 1 to 10.
    #[schema(minimum = 1, maximum = 10, default = 2)]
    #[serde(default = "Retry::double", deserialize_with = "whole")]
    pub backoff_rate: u32,
}

impl Retry {
    const fn one_attempt() -> u32 {
        1
    }
    const fn one_second() -> u32 {
        1
    }
    const fn double() -> u32 {
        2
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { max_attempts: Self::one_attempt(), interval_seconds: Self::one_second(), backoff_rate: Self::double() }
    }
}

/// Where everything stands that is said of a document.
const DOCUMENT: At<'static> = Field::Document.at();

/// Who comes before whom among the nodes of a version.
#[derive(Clone, Debug)]
pub struct Ranks<'a> {
    index_of: BTreeMap<&'a str, usize>,
    /// `None` where the edges are no graph, so that nothing can be said of it.
    pub closure: Option<Closure>,
}

impl Ranks<'_> {
    /// Where the node that is named stands to the one with this index.
    pub fn standing(&self, name: &str, index: usize) -> Standing {
        match (self.index_of.get(name), &self.closure) {
            (None, _) => Standing::Unknown,
            (Some(&other), _) if other == index => Standing::Itself,
            (Some(&other), Some(closure)) if !closure.leads(other, index) => Standing::NotBefore,
            (Some(_), _) => Standing::Before,
        }
    }
}

/// The order in which a checked version runs, as indexes into its nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Nodes of a stage run in parallel; a stage starts when the one before has ended.
    pub stages: Vec<Vec<usize>>,
    /// Nodes with no edge leading away: their results are the run's output.
    pub leaves: Vec<usize>,
}

impl VersionDocument {
    pub fn node(&self, id: &NodeId) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == *id)
    }

    /// The document as other tenants may see it: without what private nodes run and with what, and without the defaults of
    /// private parameters.
    pub fn shown_to_others(mut self) -> Self {
        for node in &mut self.nodes {
            if node.private {
                (node.processor, node.tag, node.schema, node.description) = (None, None, None, None);
                node.parameters.clear();
                (node.when, node.repeat, node.for_each, node.on_expiry) = (None, None, None, None);
            }
            for parameter in node.parameters.values_mut().filter(|parameter| parameter.private) {
                parameter.default = None;
            }
        }
        self
    }

    /// The keys of all processors this version names.
    pub fn processor_keys(&self) -> BTreeSet<ProcessorKey> {
        self.nodes.iter().filter_map(|node| node.processor.clone()).collect()
    }

    /// Checks everything that can be checked before a run exists, for a document that is about to be kept.
    ///
    /// # Errors
    /// Every violation found, by its place in the document.
    pub fn check(
        &self,
        tenant: &TenantId,
        processors: &BTreeMap<ProcessorKey, Arc<Processor>>,
    ) -> Result<Layout, Invalid> {
        let layout = self.check_all(Some((tenant, processors)))?;
        let events = self.schedule().map_or(u64::MAX, |schedule| history::worst_case(&schedule));
        if events <= limits::HISTORY_EVENTS {
            return Ok(layout);
        }
        let message = format_args!(
            "a run may write {events} events into its execution history at worst, above the bound of {}: use fewer nodes, \
             attempts, iterations or items",
            limits::HISTORY_EVENTS
        );
        Err(Invalid::one(DOCUMENT.part(Part::Nodes), ViolationCode::HistoryTooLong, message))
    }

    /// [`Self::check`] for a document that was kept: the length of its runs' histories was judged then, by what a node took
    /// at that time, and a runner that takes more now does not take it back.
    ///
    /// # Errors
    /// Every violation found, by its place in the document.
    pub fn check_stored(
        &self,
        tenant: &TenantId,
        processors: &BTreeMap<ProcessorKey, Arc<Processor>>,
    ) -> Result<Layout, Invalid> {
        self.check_all(Some((tenant, processors)))
    }

    /// The part of [`Self::check_stored`] that depends on nothing else, and so never changes its mind.
    ///
    /// # Errors
    /// Every violation found, by its place in the document.
    pub fn check_alone(&self) -> Result<Layout, Invalid> {
        self.check_all(None)
    }

    /// The other part: what depends on the processors as they are now.
    ///
    /// # Errors
    /// Every violation found, by its place in the document.
    pub fn check_processors(
        &self,
        tenant: &TenantId,
        processors: &BTreeMap<ProcessorKey, Arc<Processor>>,
    ) -> Result<(), Invalid> {
        let mut invalid = Invalid::default();
        let nodes = DOCUMENT.part(Part::Nodes);
        for (index, node) in self.nodes.iter().enumerate() {
            check_processor(node, &nodes.index(index), tenant, processors, &mut invalid);
        }
        invalid.into_result()
    }

    fn check_all(
        &self,
        processors: Option<(&TenantId, &BTreeMap<ProcessorKey, Arc<Processor>>)>,
    ) -> Result<Layout, Invalid> {
        let mut invalid = Invalid::default();
        self.check_nodes(processors, &mut invalid);
        if let Some(schema) = &self.input_schema
            && let Err(message) = crate::template::compile_schema(schema)
        {
            invalid.add(DOCUMENT.part(Part::InputSchema), ViolationCode::InvalidSchema, message);
        }
        self.check_edges(&mut invalid);
        let layout = self.layout(&mut invalid);
        self.check_directives(&mut invalid);
        invalid.into_result().map(|()| layout)
    }

    /// What stands before what, by the nodes' indexes; `None` when an edge leads nowhere or they form a circle.
    pub fn graph(&self) -> Option<Graph> {
        // Of two nodes of one id, which is a fault of its own, the first counts.
        let nodes = self.nodes.iter().enumerate().rev();
        let index_of: BTreeMap<&NodeId, usize> = nodes.map(|(index, node)| (&node.id, index)).collect();
        let ends = |edge: &Edge| Some((*index_of.get(&edge.from)?, *index_of.get(&edge.to)?));
        Graph::new(self.nodes.len(), self.edges.iter().map(ends).collect::<Option<Vec<_>>>()?)
    }

    /// What a run of all of it needs.
    pub fn schedule(&self) -> Option<Schedule> {
        Schedule::new(self.graph()?, self.nodes.iter().map(Node::task).collect(), self.fail_fast)
    }

    /// Who comes before whom.
    pub fn ranks(&self) -> Ranks<'_> {
        let nodes = self.nodes.iter().enumerate().rev();
        let index_of = nodes.map(|(index, node)| (node.id.as_str(), index)).collect();
        Ranks { index_of, closure: self.graph().map(|graph| graph.closure()) }
    }

    fn check_directives(&self, invalid: &mut Invalid) {
        if self.nodes.iter().all(|node| node.directives().is_empty()) {
            return;
        }
        let ranks = self.ranks();
        let nodes = DOCUMENT.part(Part::Nodes);
        for (index, node) in self.nodes.iter().enumerate() {
            if invalid.is_full() {
                return;
            }
            let standing = |name: &str| ranks.standing(name, index);
            node.directives().check(node.doer(), node.schema.as_ref(), &standing, &nodes.index(index), invalid);
        }
    }

    fn check_nodes(
        &self,
        processors: Option<(&TenantId, &BTreeMap<ProcessorKey, Arc<Processor>>)>,
        invalid: &mut Invalid,
    ) {
        let nodes = DOCUMENT.part(Part::Nodes);
        if self.nodes.is_empty() {
            invalid.add(nodes, ViolationCode::NoNodes, "a version has at least one node");
        }
        if self.nodes.len() > limits::VERSION_NODES {
            let message = format_args!("a version has at most {} nodes", limits::VERSION_NODES);
            invalid.add(nodes, ViolationCode::TooManyNodes, message);
        }
        let mut seen = BTreeSet::new();
        for (index, node) in self.nodes.iter().enumerate() {
            if invalid.is_full() {
                return;
            }
            let at = nodes.index(index);
            if !seen.insert(&node.id) {
                let message = format_args!("node id {} is used twice", node.id);
                invalid.add(at.part(Part::Id), ViolationCode::DuplicateNode, message);
            }
            if let Some((tenant, processors)) = processors {
                check_processor(node, &at, tenant, processors, invalid);
            }
            check_parameters(node, &at, invalid);
            if let Some(retry) = node.retry {
                let at = at.part(Part::Retry);
                for (part, value, allowed) in [
                    (Part::MaxAttempts, retry.max_attempts, 1..=limits::NODE_ATTEMPTS),
                    (Part::IntervalSeconds, retry.interval_seconds, 1..=3_600),
                    (Part::BackoffRate, retry.backoff_rate, 1..=10),
                ] {
                    if !allowed.contains(&value) {
                        let message = format_args!("must be from {} to {}", allowed.start(), allowed.end());
                        invalid.add(at.part(part), ViolationCode::OutOfRange, message);
                    }
                }
            }
            match &node.schema {
                Some(_) if node.node_type != NodeType::External => {
                    let message = "only an external node has a schema";
                    invalid.add(at.part(Part::Schema), ViolationCode::UnexpectedSchema, message);
                }
                Some(schema) => {
                    if let Err(message) = crate::template::compile_schema(schema) {
                        invalid.add(at.part(Part::Schema), ViolationCode::InvalidSchema, message);
                    }
                }
                None => {}
            }
        }
    }

    fn check_edges(&self, invalid: &mut Invalid) {
        let edges = DOCUMENT.part(Part::Edges);
        let mut seen = BTreeSet::new();
        // Of two nodes of one id, which is a fault of its own, the first counts.
        let nodes: BTreeMap<&NodeId, &Node> = self.nodes.iter().rev().map(|node| (&node.id, node)).collect();
        for (index, edge) in self.edges.iter().enumerate() {
            let at = edges.index(index);
            for (end, id) in [(Part::From, &edge.from), (Part::To, &edge.to)] {
                if !nodes.contains_key(id) {
                    let message = format_args!("there is no node {id} in this version");
                    invalid.add(at.part(end), ViolationCode::DanglingEdge, message);
                }
            }
            if !seen.insert(edge) {
                let message = format_args!("the edge {} -> {} stands twice", edge.from, edge.to);
                invalid.add(at, ViolationCode::DuplicateEdge, message);
            }
            if nodes.get(&edge.to).is_some_and(|node| node.node_type == NodeType::DataSource) {
                let message = format_args!("{} is a data source: nothing runs before it", edge.to);
                invalid.add(at.part(Part::To), ViolationCode::EdgeIntoSource, message);
            }
        }
    }

    /// Stages by longest distance from an entry node (Kahn's algorithm, a level at a time).
    fn layout(&self, invalid: &mut Invalid) -> Layout {
        let index_of: BTreeMap<&NodeId, usize> =
            self.nodes.iter().enumerate().rev().map(|(index, node)| (&node.id, index)).collect();
        let mut waits_for = vec![0usize; self.nodes.len()];
        let mut followers = vec![Vec::new(); self.nodes.len()];
        for edge in &self.edges {
            if let (Some(&from), Some(&to)) = (index_of.get(&edge.from), index_of.get(&edge.to)) {
                waits_for[to] += 1;
                followers[from].push(to);
            }
        }
        if self.nodes.len() > 1 {
            for (index, node) in self.nodes.iter().enumerate() {
                if waits_for[index] == 0 && node.node_type == NodeType::DataTarget {
                    let message = format_args!("no edge leads to {}: nothing would reach it", node.id);
                    let nodes = DOCUMENT.part(Part::Nodes);
                    invalid.add(nodes.index(index), ViolationCode::UnreachableNode, message);
                }
            }
        }
        let leaves = (0..self.nodes.len()).filter(|&index| followers[index].is_empty()).collect();
        let mut stages = Vec::new();
        let mut stage: Vec<usize> = (0..self.nodes.len()).filter(|&index| waits_for[index] == 0).collect();
        let mut placed = 0;
        while !stage.is_empty() {
            placed += stage.len();
            let mut next = Vec::new();
            for &index in &stage {
                for &follower in &followers[index] {
                    waits_for[follower] -= 1;
                    if waits_for[follower] == 0 {
                        next.push(follower);
                    }
                }
            }
            next.sort_unstable();
            stages.push(std::mem::replace(&mut stage, next));
        }
        if placed < self.nodes.len() {
            let path = a_cycle(&waits_for, &followers);
            let names: Vec<&str> = path.iter().map(|&index| self.nodes[index].id.as_str()).collect();
            let message = format_args!("the nodes run in a circle: {}", names.join(" -> "));
            invalid.add(DOCUMENT.part(Part::Edges), ViolationCode::Cycle, message);
        }
        Layout { stages, leaves }
    }

    /// The most events that one execution of the runner's first generation can write into its history for this version: its
    /// contract test holds the two together. Versions from now on are held to [`crate::history::worst_case`].
    pub fn worst_case_history_events(&self, layout: &Layout) -> u64 {
        let nodes: u64 = self
            .nodes
            .iter()
            .map(|node| {
                first_generation::node_events(node.node_type, node.processor.is_some(), node.retry.unwrap_or_default())
            })
            .sum();
        first_generation::PER_RUN + first_generation::PER_STAGE * layout.stages.len() as u64 + nodes
    }
}

fn check_processor(
    node: &Node,
    at: &At<'_>,
    tenant: &TenantId,
    processors: &BTreeMap<ProcessorKey, Arc<Processor>>,
    invalid: &mut Invalid,
) {
    match (&node.processor, node.node_type) {
        (None, NodeType::Processor | NodeType::DataTarget) => {
            let message = format_args!("a {} names the processor that it runs", node.node_type.as_str());
            invalid.add(at.part(Part::Processor), ViolationCode::MissingProcessor, message);
        }
        (Some(_), NodeType::External) => {
            let message = "an external node runs no processor";
            invalid.add(at.part(Part::Processor), ViolationCode::UnexpectedProcessor, message);
        }
        (Some(key), NodeType::DataSource | NodeType::Processor | NodeType::DataTarget) => {
            // A processor of other tenants is answered like one that does not exist.
            match processors.get(key).filter(|processor| processor.tenants.admits(tenant)) {
                Some(processor) => check_tag(processor, node.tag.as_ref(), &at.part(Part::Tag), invalid),
                None => {
                    let message = format_args!("there is no processor {key}");
                    invalid.add(at.part(Part::Processor), ViolationCode::UnknownProcessor, message);
                }
            }
        }
        (None, NodeType::DataSource | NodeType::External) => {}
    }
    if node.tag.is_some() && node.processor.is_none() {
        let message = "only a node with a processor has a tag";
        invalid.add(at.part(Part::Tag), ViolationCode::UnexpectedTag, message);
    }
}

/// Reports a tag that a processor does not offer.
pub(crate) fn check_tag(processor: &Processor, tag: Option<&Tag>, at: &At<'_>, invalid: &mut Invalid) {
    let Some(tag) = tag else { return };
    if !processor.target.takes(tag) {
        invalid.add(at, ViolationCode::InvalidTag, "must be the number of a task definition's revision");
    } else if !processor.offers(tag) {
        let message = format_args!("the processor {} does not offer the tag {tag}", processor.key);
        invalid.add(at, ViolationCode::InvalidTag, message);
    }
}

fn check_parameters(node: &Node, at: &At<'_>, invalid: &mut Invalid) {
    let parameters = at.part(Part::Parameters);
    for (name, parameter) in &node.parameters {
        let at = parameters.key(name);
        if name.is_empty() || name.len() > 128 {
            invalid.add(at, ViolationCode::OutOfRange, "a parameter's name has 1 to 128 characters");
        }
        if let Some(default) = &parameter.default
            && !parameter.parameter_type.admits(default)
        {
            let message = format_args!("must be {}", parameter.parameter_type.as_str());
            invalid.add(at.part(Part::Default), ViolationCode::WrongType, message);
        }
    }
}

/// Some cycle among the nodes that could not be placed, as a closed path.
fn a_cycle(waits_for: &[usize], followers: &[Vec<usize>]) -> Vec<usize> {
    // Every unplaced node has an unplaced predecessor, so walking backwards must meet itself.
    let predecessor_of =
        |node: usize| (0..followers.len()).find(|&before| waits_for[before] > 0 && followers[before].contains(&node));
    let Some(mut node) = (0..waits_for.len()).find(|&index| waits_for[index] > 0) else {
        return Vec::new();
    };
    let mut path = vec![node];
    while let Some(before) = predecessor_of(node) {
        path.push(before);
        if let Some(first) = path.iter().position(|&index| index == before)
            && first + 1 < path.len()
        {
            path.drain(..first);
            break;
        }
        node = before;
    }
    path.reverse();
    path
}

/// Events per part of the runner's first generation, each with every retry it may take.
/// Source: <https://docs.aws.amazon.com/step-functions/latest/apireference/API_HistoryEvent.html>
mod first_generation {
    use super::{NodeType, Retry};

    /// Start and end, the claim, the last choice and the final state.
    pub const PER_RUN: u64 = 26;
    /// Choice, pause check, map. A pause comes out of the reserve above the bound.
    pub const PER_STAGE: u64 = 21;
    /// Map iteration, step start, the result that cannot be written, its failure that cannot be written either. Less what the
    /// last attempt does not do: back off and choose again.
    const PER_NODE: u64 = 35;
    /// What a value takes beyond that.
    const PER_VALUE: u64 = 6;
    /// One invocation with its service retries, and the wait before the next. A function's, which is waited for longest while
    /// the account is busy: what is behind a processor's key may change after a version was checked.
    const PER_ATTEMPT: u64 = 50;
    /// Whether a processor's result tells of usage, and the report of it.
    const PER_USAGE: u64 = 46;
    /// One wait for an answer from outside.
    const PER_WAIT: u64 = 31;

    pub fn node_events(node_type: NodeType, has_processor: bool, retry: Retry) -> u64 {
        let attempts = u64::from(retry.max_attempts);
        PER_NODE
            + match node_type {
                NodeType::External => PER_WAIT * attempts,
                NodeType::DataSource if !has_processor => PER_VALUE,
                NodeType::DataSource | NodeType::Processor | NodeType::DataTarget => PER_ATTEMPT * attempts + PER_USAGE,
            }
    }
}

/// How a version is shown in lists: without its document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionSummary {
    pub version: u32,
    #[serde(with = "millis")]
    pub created_at: Timestamp,
    pub created_by: String,
}
