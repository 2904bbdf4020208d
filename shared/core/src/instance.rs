//! Instances: saved configurations, found or created from their content.

use crate::canonical;
use crate::definition::{Definition, Outline, VersionRule};
use crate::id::{ComputeNodeKey, DefinitionId, InstanceId, NodeId, Tag, TenantId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A saved configuration of one tenant. Never changes: other content is another instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    pub tenant: TenantId,
    pub id: InstanceId,
    pub content: InstanceContent,
    pub created_at: Timestamp,
    /// `None` for an instance of before 2026-11-28.
    pub hint: Option<DefinitionHint>,
}

/// What the definition of an instance was when the instance was made. Only good for a guess: a process that knows nothing yet can
/// ask for the definition and its version at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DefinitionHint {
    pub owner: TenantId,
    pub outline: Outline,
}

impl DefinitionHint {
    pub fn of(definition: &Definition) -> Self {
        Self { owner: definition.tenant.clone(), outline: definition.outline() }
    }
}

/// What an instance fixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceContent {
    pub definition_id: DefinitionId,
    pub version: VersionRule,
    pub compute_node: ComputeNodeKey,
    /// By node.
    pub processor_configs: BTreeMap<NodeId, ProcessorConfig>,
}

/// What an instance says about one processor node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProcessorConfig {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
}

/// The namespace of instance ids (a random UUID, fixed for good).
const NAMESPACE: Uuid = Uuid::from_u128(0x6f0c_6a3e_5b1d_4c0a_9d5e_2f8b_7a41_c9d3);

impl InstanceContent {
    /// The id of this content in `tenant`: equal content has an equal id, so two racing creators make one instance.
    pub fn id(&self, tenant: &TenantId) -> InstanceId {
        InstanceId(Uuid::new_v5(&NAMESPACE, format!("{tenant}#{}", canonical::text(&self.to_json())).as_bytes()))
    }

    /// Stored and hashed form.
    pub fn to_json(&self) -> Value {
        json!({
            "workflowDefinitionId": self.definition_id,
            "version": self.version.to_string(),
            "computeNodeId": self.compute_node,
            "processorConfigs": self.processor_configs,
        })
    }

    /// Reads [`Self::to_json`] back.
    ///
    /// # Errors
    /// When the value is not one that `to_json` made.
    pub fn from_json(value: &Value) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Stored {
            workflow_definition_id: DefinitionId,
            version: String,
            compute_node_id: ComputeNodeKey,
            processor_configs: BTreeMap<NodeId, ProcessorConfig>,
        }
        let stored = Stored::deserialize(value)?;
        Ok(Self {
            definition_id: stored.workflow_definition_id,
            version: stored.version.parse().map_err(serde::de::Error::custom)?,
            compute_node: stored.compute_node_id,
            processor_configs: stored.processor_configs,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> InstanceContent {
        InstanceContent {
            definition_id: DefinitionId(Uuid::from_u128(7)),
            version: VersionRule::Active,
            compute_node: "default".parse().expect("a key"),
            processor_configs: BTreeMap::from([(
                "a".parse().expect("a node"),
                ProcessorConfig { params: BTreeMap::from([("top".to_owned(), json!(5))]), tag: None },
            )]),
        }
    }

    #[test]
    fn equal_content_is_one_instance_per_tenant() {
        let (mine, yours): (TenantId, TenantId) =
            ("mine".parse().expect("a tenant"), "yours".parse().expect("a tenant"));
        assert_eq!(content().id(&mine), content().id(&mine));
        assert_ne!(content().id(&mine), content().id(&yours));
        assert_ne!(content().id(&mine), InstanceContent { version: VersionRule::Latest, ..content() }.id(&mine));
    }

    #[test]
    fn content_survives_its_stored_form() {
        assert_eq!(InstanceContent::from_json(&content().to_json()).expect("reads"), content());
    }
}
