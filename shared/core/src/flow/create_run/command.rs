//! What is asked for when a run is created, and what the deployment allows.

use crate::budget::{InvalidBudget, MicroUsd};
use crate::definition::VersionRule;
use crate::destination::Destinations;
use crate::directive::Start;
use crate::governor::access::Grant;
use crate::governor::url::GovernorUrl;
use crate::id::{ComputeNodeKey, DefinitionRef, InstanceId, LayerName, NodeId, RunId, Tag, UserId};
use crate::idempotency::IdempotencyClaim;
use crate::instance::ProcessorConfig;
use crate::operator::Unlisted;
use crate::retention::Retention;
use crate::snapshot::Callback;
use crate::template::Variables;
use crate::tenant_limits::TenantLimits;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// What is drawn at random for a new run.
#[derive(Clone, Debug)]
pub struct Fresh {
    pub run_id: RunId,
    /// The half of the right to govern calls that its processors are told.
    pub grant: Grant,
}

/// A request for a run, whichever way in it came.
#[derive(Clone, Debug)]
pub struct Command {
    pub source: Source,
    pub name: Option<String>,
    /// As the caller wrote it.
    pub input: Option<Box<RawValue>>,
    pub data_sources: BTreeMap<NodeId, Value>,
    pub data_targets: BTreeMap<NodeId, Value>,
    pub processor_params: BTreeMap<NodeId, BTreeMap<String, Value>>,
    pub tags: BTreeMap<NodeId, Tag>,
    pub layers: Vec<LayerName>,
    pub labels: BTreeMap<String, String>,
    pub variables: Variables,
    /// The cap, if there is one. What a caller wrote instead of one is refused together with everything else.
    pub execution_budget: Result<Option<MicroUsd>, InvalidBudget>,
    pub max_run_duration_seconds: Option<u64>,
    pub callback: Option<Callback>,
    pub retention: Option<Retention>,
    /// The run of the same tenant that this one evaluates.
    pub evaluation_of: Option<RunId>,
    /// The person for whom the tenant runs it.
    pub user_id: Option<UserId>,
    /// Where the run starts, if that is not the beginning.
    pub start: Option<Start>,
    pub idempotency: Option<IdempotencyClaim>,
}

impl Command {
    /// A command with nothing but its source.
    pub fn new(source: Source) -> Self {
        Self {
            source,
            name: None,
            input: None,
            data_sources: BTreeMap::new(),
            data_targets: BTreeMap::new(),
            processor_params: BTreeMap::new(),
            tags: BTreeMap::new(),
            layers: Vec::new(),
            labels: BTreeMap::new(),
            variables: Variables::default(),
            execution_budget: Ok(None),
            max_run_duration_seconds: None,
            callback: None,
            retention: None,
            evaluation_of: None,
            user_id: None,
            start: None,
            idempotency: None,
        }
    }
}

/// What to run.
#[derive(Clone, Debug)]
pub enum Source {
    Instance(InstanceId),
    /// Find or create the instance.
    Configuration {
        definition: DefinitionRef,
        version: VersionRule,
        compute_node: Option<ComputeNodeKey>,
        processor_configs: BTreeMap<NodeId, ProcessorConfig>,
    },
}

/// The compute node of a configuration that names none.
pub const DEFAULT_COMPUTE_NODE: &str = "default";

/// What the deployment allows.
#[derive(Clone, Debug)]
pub struct Policy {
    pub destinations: Destinations,
    pub unlisted: Unlisted,
    pub max_budget: MicroUsd,
    /// What a tenant may take of which nothing else was said.
    pub tenant_limits: TenantLimits,
    /// Where runs have their calls of language models governed, if the deployment does that.
    pub governor_url: Option<GovernorUrl>,
}
