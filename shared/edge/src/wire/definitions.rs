//! Definitions and their versions.

use super::schema::{Description, DisplayName, JsonSchema};
use crate::json;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluice_core::definition::{Definition, Edge, Node, Version, VersionDocument};
use sluice_core::flow::manage_definitions::DefinitionTexts;
use sluice_core::id::{DefinitionId, DefinitionName};
use sluice_core::time::rfc3339_millis;
use utoipa::ToSchema;

/// Where a definition is found.
pub fn definition_path(id: impl std::fmt::Display) -> String {
    format!("/v1/workflow-definitions/{id}")
}

/// `POST /v1/workflow-definitions`
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CreateDefinition)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateDefinitionBody {
    #[schema(value_type = DefinitionName)]
    pub name: String,
    #[schema(value_type = Option<DisplayName>)]
    display_name: Option<String>,
    #[schema(value_type = Option<Description>)]
    description: Option<String>,
}

impl json::Body for CreateDefinitionBody {
    const OBJECTS: &'static [&'static str] = &[""];
}

impl CreateDefinitionBody {
    pub fn into_texts(self) -> DefinitionTexts {
        DefinitionTexts { display_name: self.display_name, description: self.description }
    }
}

/// `PATCH /v1/workflow-definitions/{definition}`: what is absent stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ChangeDefinition)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangeDefinitionBody {
    #[schema(value_type = Option<DisplayName>)]
    display_name: Option<String>,
    #[schema(value_type = Option<Description>)]
    description: Option<String>,
}

impl json::Body for ChangeDefinitionBody {
    const OBJECTS: &'static [&'static str] = &[""];
}

impl ChangeDefinitionBody {
    pub fn into_texts(self) -> DefinitionTexts {
        DefinitionTexts { display_name: self.display_name, description: self.description }
    }
}

/// `POST /v1/workflow-definitions/{definition}/versions`
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AddVersion)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddVersionBody {
    #[schema(min_items = 1, max_items = 500)]
    nodes: Vec<Node>,
    edges: Option<Vec<Edge>>,
    #[schema(value_type = Option<JsonSchema>)]
    input_schema: Option<Value>,
    /// Makes this version the active one at once.
    activate: Option<bool>,
}

impl json::Body for AddVersionBody {
    const OBJECTS: &'static [&'static str] = &["", "/nodes/*", "/nodes/*/parameters/*", "/nodes/*/retry", "/edges/*"];
}

impl AddVersionBody {
    /// The document, and whether to activate it.
    pub fn into_parts(self) -> (VersionDocument, bool) {
        let document = VersionDocument {
            nodes: self.nodes,
            edges: self.edges.unwrap_or_default(),
            input_schema: self.input_schema,
        };
        (document, self.activate.unwrap_or(false))
    }
}

/// A definition.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Definition)]
#[serde(rename_all = "camelCase")]
pub struct DefinitionView {
    #[schema(value_type = DefinitionId)]
    id: String,
    #[schema(value_type = DefinitionName)]
    name: String,
    #[schema(value_type = Option<DisplayName>, required)]
    display_name: Option<String>,
    #[schema(value_type = Option<Description>, required)]
    description: Option<String>,
    #[schema(minimum = 1, required)]
    active_version: Option<u32>,
    #[schema(minimum = 1, required)]
    latest_version: Option<u32>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

impl From<&Definition> for DefinitionView {
    fn from(definition: &Definition) -> Self {
        Self {
            id: definition.id.to_string(),
            name: definition.name.to_string(),
            display_name: definition.display_name.clone(),
            description: definition.description.clone(),
            active_version: definition.active_version,
            latest_version: (definition.latest_version > 0).then_some(definition.latest_version),
            created_at: rfc3339_millis(definition.created_at),
            updated_at: rfc3339_millis(definition.updated_at),
        }
    }
}

/// A version with its document.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Version)]
#[serde(rename_all = "camelCase")]
pub struct VersionView {
    #[schema(value_type = DefinitionId)]
    workflow_definition_id: String,
    #[schema(minimum = 1)]
    version: u32,
    active: bool,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    #[schema(value_type = Option<JsonSchema>, required)]
    input_schema: Option<Value>,
    #[schema(format = DateTime)]
    created_at: String,
    created_by: String,
}

impl VersionView {
    pub fn new(definition: &Definition, version: &Version) -> Self {
        Self {
            workflow_definition_id: version.definition_id.to_string(),
            version: version.number,
            active: definition.active_version == Some(version.number),
            nodes: version.document.nodes.clone(),
            edges: version.document.edges.clone(),
            input_schema: version.document.input_schema.clone(),
            created_at: rfc3339_millis(version.created_at),
            created_by: version.created_by.clone(),
        }
    }
}

/// A version in a list: without its document.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = VersionSummary)]
#[serde(rename_all = "camelCase")]
pub struct VersionSummaryView {
    #[schema(minimum = 1)]
    version: u32,
    active: bool,
    #[schema(format = DateTime)]
    created_at: String,
    created_by: String,
}

impl VersionSummaryView {
    pub fn new(definition: &Definition, version: &Version) -> Self {
        Self {
            version: version.number,
            active: definition.active_version == Some(version.number),
            created_at: rfc3339_millis(version.created_at),
            created_by: version.created_by.clone(),
        }
    }
}
