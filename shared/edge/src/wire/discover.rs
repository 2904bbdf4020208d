//! Definitions that every tenant may find and run, as other tenants than their owner see them.
//!
//! **Invariant:** nothing here shows a limit, a retention, a person of the owner's, or a private part of a version.

use super::paging::Paging;
use super::schema::{DefinitionTag, Description, DisplayName, JsonSchema};
use crate::fault::Faults;
use crate::http::Request;
use serde::Serialize;
use serde_json::Value;
use sluice_core::definition::{Definition, Edge, Node, Version};
use sluice_core::flow::manage_definitions::DiscoverFilter;
use sluice_core::governor::ledger::OnBudgetExceeded;
use sluice_core::id::{DefinitionId, DefinitionName, TenantId};
use sluice_core::limits;
use sluice_core::time::rfc3339_millis;
use sluice_core::violation::ViolationCode;
use std::collections::BTreeSet;
use utoipa::ToSchema;

/// The query of `GET /v1/discoverable-definitions`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn query(request: &Request) -> Result<(DiscoverFilter, Paging), Faults> {
    const PARAMETERS: [&str; 4] = ["text", "tag", "limit", "cursor"];
    let mut query = request.query(&PARAMETERS);
    let text = |most: usize| {
        move |text: &str| match (1..=most).contains(&text.chars().count()) {
            true => Ok(text.to_owned()),
            false => Err((ViolationCode::OutOfRange, format!("must be 1 to {most} characters"))),
        }
    };
    let filter = DiscoverFilter {
        text: query.read_or("text", text(limits::DISPLAY_NAME_CHARS)),
        tag: query.read_or("tag", |tag| match tag.chars().any(char::is_control) {
            true => Err((ViolationCode::Invalid, "must have no control characters".to_owned())),
            false => text(limits::DEFINITION_TAGS.1)(tag),
        }),
    };
    let mut list = vec!["discoverable-definitions".to_owned()];
    list.extend(PARAMETERS[..2].iter().map(|name| query.text(name).unwrap_or_default().to_owned()));
    let paging = Paging::read(&mut query, list);
    query.finish()?;
    Ok((filter, paging))
}

/// A definition that every tenant may run, by its id.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DiscoverableDefinition)]
#[serde(rename_all = "camelCase")]
pub struct DiscoverableView {
    /// The tenant it belongs to.
    #[schema(value_type = TenantId)]
    owner: String,
    #[schema(value_type = DefinitionId)]
    id: String,
    #[schema(value_type = DefinitionName)]
    name: String,
    #[schema(value_type = Option<DisplayName>, required)]
    display_name: Option<String>,
    #[schema(value_type = Option<Description>, required)]
    description: Option<String>,
    #[schema(value_type = BTreeSet<DefinitionTag>)]
    tags: BTreeSet<String>,
    #[schema(minimum = 1, required)]
    active_version: Option<u32>,
}

impl From<&Definition> for DiscoverableView {
    fn from(definition: &Definition) -> Self {
        Self {
            owner: definition.tenant.to_string(),
            id: definition.id.to_string(),
            name: definition.name.to_string(),
            display_name: definition.display_name.clone(),
            description: definition.description.clone(),
            tags: definition.tags.clone(),
            active_version: definition.active_version,
        }
    }
}

/// A version of such a definition. Of private nodes it shows only where they stand, of private parameters no default.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DiscoverableVersion)]
#[serde(rename_all = "camelCase")]
pub struct DiscoverableVersionView {
    /// The tenant it belongs to.
    #[schema(value_type = TenantId)]
    workflow_definition_owner: String,
    #[schema(value_type = DefinitionId)]
    workflow_definition_id: String,
    #[schema(minimum = 1)]
    version: u32,
    active: bool,
    /// It makes no new runs.
    deprecated: bool,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    #[schema(value_type = Option<JsonSchema>, required)]
    input_schema: Option<Value>,
    on_budget_exceeded: OnBudgetExceeded,
    fail_fast: bool,
    #[schema(format = DateTime)]
    created_at: String,
}

impl DiscoverableVersionView {
    /// `version` is without its private parts already.
    pub fn new(definition: &Definition, version: &Version) -> Self {
        Self {
            workflow_definition_owner: definition.tenant.to_string(),
            workflow_definition_id: version.definition_id.to_string(),
            version: version.number,
            active: definition.active_version == Some(version.number),
            deprecated: definition.deprecated_versions.contains(&version.number),
            nodes: version.document.nodes.clone(),
            edges: version.document.edges.clone(),
            input_schema: version.document.input_schema.clone(),
            on_budget_exceeded: version.document.on_budget_exceeded,
            fail_fast: version.document.fail_fast,
            created_at: rfc3339_millis(version.created_at),
        }
    }
}
