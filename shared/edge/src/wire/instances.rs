//! Saved configurations.

use super::fields;
use super::schema::{self, DefinitionReference};
use crate::fault::Faults;
use crate::json;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sluice_core::definition::VersionRule;
use sluice_core::flow::create_run::DEFAULT_COMPUTE_NODE;
use sluice_core::id::{ComputeNodeKey, DefinitionId, DefinitionRef, InstanceId, NodeId, Tag};
use sluice_core::instance::{Instance, ProcessorConfig};
use sluice_core::time::rfc3339_millis;
use sluice_core::violation::ViolationCode;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The body of `POST /v1/workflow-instances`, and a part of `POST /v1/workflow-runs`.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = InstanceConfiguration)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InstanceConfigurationBody {
    /// Id or name.
    #[schema(value_type = DefinitionReference)]
    pub workflow_definition_id: String,
    /// A number, `"active"` (default), `"latest"`, or `"draft"`: the draft of a definition of one's own.
    #[schema(value_type = Option<schema::VersionRule>)]
    pub version: Option<Box<RawValue>>,
    /// The operator's key; `default` when absent.
    #[schema(value_type = Option<ComputeNodeKey>)]
    pub compute_node_id: Option<String>,
    pub processor_configs: Option<Vec<ProcessorConfigBody>>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ProcessorConfig)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProcessorConfigBody {
    #[schema(value_type = NodeId)]
    node_id: String,
    params: Option<BTreeMap<String, Value>>,
    #[schema(value_type = Option<Tag>)]
    tag: Option<String>,
}

impl json::Body for InstanceConfigurationBody {
    const OBJECTS: &'static [&'static str] = &["", "/processorConfigs/*"];
}

/// What an instance is made of, read from its body.
#[derive(Debug)]
pub struct Configuration {
    pub definition: DefinitionRef,
    pub version: VersionRule,
    pub compute_node: ComputeNodeKey,
    pub configs: ProcessorConfigs,
}

impl InstanceConfigurationBody {
    /// # Errors
    /// Everything that is wrong with the body itself.
    pub fn read(self) -> Result<Configuration, Faults> {
        let mut faults = Faults::default();
        let definition = fields::id("/workflowDefinitionId", &self.workflow_definition_id, &mut faults);
        let version = fields::version("/version", self.version.as_deref(), &mut faults);
        let key = self.compute_node_id.as_deref().unwrap_or(DEFAULT_COMPUTE_NODE);
        let compute_node = fields::id("/computeNodeId", key, &mut faults);
        let configs = ProcessorConfigs::read("", self.processor_configs, &mut faults);
        match (definition, compute_node) {
            (Some(definition), Some(compute_node)) if faults.is_empty() => {
                Ok(Configuration { definition, version, compute_node, configs })
            }
            _ => Err(faults),
        }
    }
}

/// Processor configs in the order of the body.
#[derive(Clone, Debug, Default)]
pub struct ProcessorConfigs(Vec<(NodeId, ProcessorConfig)>);

impl ProcessorConfigs {
    /// Reads `processorConfigs` of the object at `at`.
    pub fn read(at: &str, bodies: Option<Vec<ProcessorConfigBody>>, faults: &mut Faults) -> Self {
        let mut configs: Vec<(NodeId, ProcessorConfig)> = Vec::new();
        for (index, body) in bodies.unwrap_or_default().into_iter().enumerate() {
            let at = format!("{at}/processorConfigs/{index}");
            let tag: Option<Tag> = body.tag.and_then(|tag| fields::id(format_args!("{at}/tag"), &tag, faults));
            let Some(node) = fields::id::<NodeId>(format_args!("{at}/nodeId"), &body.node_id, faults) else {
                continue;
            };
            if configs.iter().any(|(known, _)| *known == node) {
                faults.add(
                    format_args!("{at}/nodeId"),
                    ViolationCode::Repeated,
                    format!("node {node} is configured twice"),
                );
            }
            configs.push((node, ProcessorConfig { params: body.params.unwrap_or_default(), tag }));
        }
        Self(configs)
    }

    pub fn by_node(&self) -> BTreeMap<NodeId, ProcessorConfig> {
        self.0.iter().cloned().collect()
    }

    /// Where in the caller's list a node is configured.
    pub fn index(&self, node: &NodeId) -> Option<usize> {
        self.0.iter().position(|(known, _)| known == node)
    }
}

/// An instance as its callers see it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Instance)]
#[serde(rename_all = "camelCase")]
pub struct InstanceView {
    #[schema(value_type = InstanceId)]
    id: String,
    #[schema(value_type = DefinitionId)]
    workflow_definition_id: String,
    /// A number, `"active"`, `"latest"` or `"draft"`.
    #[schema(value_type = schema::VersionRule)]
    version: Value,
    #[schema(value_type = ComputeNodeKey)]
    compute_node_id: String,
    processor_configs: Vec<ProcessorConfigView>,
    #[schema(format = DateTime)]
    created_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SavedProcessorConfig)]
#[serde(rename_all = "camelCase")]
struct ProcessorConfigView {
    #[schema(value_type = NodeId)]
    node_id: String,
    params: BTreeMap<String, Value>,
    #[schema(value_type = Option<Tag>, required)]
    tag: Option<String>,
}

impl From<&Instance> for InstanceView {
    fn from(instance: &Instance) -> Self {
        let content = &instance.content;
        Self {
            id: instance.id.to_string(),
            workflow_definition_id: content.definition_id.to_string(),
            version: match content.version {
                VersionRule::Number(number) => Value::from(number),
                rule @ (VersionRule::Active | VersionRule::Latest | VersionRule::Draft) => {
                    Value::from(rule.to_string())
                }
            },
            compute_node_id: content.compute_node.to_string(),
            processor_configs: content
                .processor_configs
                .iter()
                .map(|(node, config)| ProcessorConfigView {
                    node_id: node.to_string(),
                    params: config.params.clone(),
                    tag: config.tag.as_ref().map(ToString::to_string),
                })
                .collect(),
            created_at: rfc3339_millis(instance.created_at),
        }
    }
}
