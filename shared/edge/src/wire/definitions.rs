//! Definitions, their versions and their drafts.

use super::schema::{DefinitionTag, Description, DisplayName, JsonSchema};
use crate::fault::Faults;
use crate::json;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use sluice_core::concurrency::Concurrency;
use sluice_core::definition::{Definition, Edge, Node, Version, VersionDocument};
use sluice_core::flow::manage_definitions::DefinitionChange;
use sluice_core::governor::ledger::OnBudgetExceeded;
use sluice_core::id::{DefinitionId, DefinitionName};
use sluice_core::number::whole_option;
use sluice_core::retention::Retention;
use sluice_core::time::rfc3339_millis;
use sluice_core::violation::ViolationCode;
use std::collections::BTreeSet;
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
    /// Of each tenant's runs of this definition. Absent: no limit but the tenant's own.
    concurrency: Option<Concurrency>,
    /// Of runs that say nothing of their own. Absent: as the tenant's settings say.
    retention: Option<Retention>,
    /// Of runs that say nothing of their own.
    #[schema(minimum = 1, maximum = 2592000)]
    #[serde(default, deserialize_with = "whole_option")]
    max_run_duration_seconds: Option<u64>,
    /// Whether the duration of its runs leaves out the time they were paused.
    #[schema(default = false)]
    exclude_paused_time: Option<bool>,
    /// Whether other tenants may find and run it.
    #[schema(default = false)]
    discoverable: Option<bool>,
    /// What it may be found by.
    #[schema(value_type = Option<Vec<DefinitionTag>>, max_items = 20)]
    tags: Option<Vec<String>>,
}

impl json::Body for CreateDefinitionBody {
    const OBJECTS: &'static [&'static str] = &["", "/concurrency", "/retention"];
}

impl CreateDefinitionBody {
    /// Everything but the name. Adds what is wrong with it.
    pub fn into_change(self, faults: &mut Faults) -> DefinitionChange {
        DefinitionChange {
            display_name: self.display_name,
            description: self.description,
            concurrency: self.concurrency.map(Some),
            retention: self.retention.map(Some),
            max_run_duration_seconds: self.max_run_duration_seconds.map(Some),
            exclude_paused_time: self.exclude_paused_time,
            discoverable: self.discoverable,
            tags: tags(self.tags, faults),
        }
    }
}

/// `PATCH /v1/workflow-definitions/{definition}`: what is absent stays as it is. `null` takes a rule away: `concurrency`,
/// `retention`, `maxRunDurationSeconds`. A rule that is given is given as a whole.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ChangeDefinition)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangeDefinitionBody {
    #[schema(value_type = Option<DisplayName>)]
    display_name: Option<String>,
    #[schema(value_type = Option<Description>)]
    description: Option<String>,
    /// Of each tenant's runs of this definition; `null` for no limit but the tenant's own.
    #[schema(value_type = Option<Concurrency>)]
    #[serde(default, deserialize_with = "given")]
    concurrency: Option<Option<Concurrency>>,
    /// Of runs that say nothing of their own; `null` for what the tenant's settings say.
    #[schema(value_type = Option<Retention>)]
    #[serde(default, deserialize_with = "given")]
    retention: Option<Option<Retention>>,
    /// Of runs that say nothing of their own; `null` for no bound but the service's.
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 2592000)]
    #[serde(default, deserialize_with = "given_whole")]
    max_run_duration_seconds: Option<Option<u64>>,
    /// Whether the duration of its runs leaves out the time they were paused.
    exclude_paused_time: Option<bool>,
    /// Whether other tenants may find and run it. Runs that they have made go on.
    discoverable: Option<bool>,
    /// What it may be found by, in place of the tags before.
    #[schema(value_type = Option<Vec<DefinitionTag>>, max_items = 20)]
    tags: Option<Vec<String>>,
}

/// Reads a field that is there, be it `null`: an absent one is never read.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// [`given`] for an integer.
fn given_whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u64>>, D::Error> {
    whole_option(deserializer).map(Some)
}

impl json::Body for ChangeDefinitionBody {
    const OBJECTS: &'static [&'static str] = &["", "/concurrency", "/retention"];
}

impl ChangeDefinitionBody {
    /// # Errors
    /// Everything that is wrong with the body itself.
    pub fn into_change(self) -> Result<DefinitionChange, Faults> {
        let mut faults = Faults::default();
        let change = DefinitionChange {
            display_name: self.display_name,
            description: self.description,
            concurrency: self.concurrency,
            retention: self.retention,
            max_run_duration_seconds: self.max_run_duration_seconds,
            exclude_paused_time: self.exclude_paused_time,
            discoverable: self.discoverable,
            tags: tags(self.tags, &mut faults),
        };
        faults.into_result()?;
        Ok(change)
    }
}

fn tags(given: Option<Vec<String>>, faults: &mut Faults) -> Option<BTreeSet<String>> {
    let mut tags = BTreeSet::new();
    for (index, tag) in given?.into_iter().enumerate() {
        if !tags.insert(tag) {
            faults.add(format_args!("/tags/{index}"), ViolationCode::Repeated, "must be given only once");
        }
    }
    Some(tags)
}

/// What of a version's document becomes a struct. A condition sees to itself, for it may be as deep as it likes.
const VERSION_OBJECTS: &[&str] =
    &["", "/nodes/*", "/nodes/*/parameters/*", "/nodes/*/retry", "/nodes/*/loop", "/nodes/*/forEach", "/edges/*"];

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
    /// What becomes of a run whose cap is spent: it is stopped, or goes on without the calls that do not fit, until 25 were refused.
    #[schema(default = "stop")]
    on_budget_exceeded: Option<OnBudgetExceeded>,
    /// Whether nothing new starts after a failure that counts. `false`: only what comes after the failed node does not.
    #[schema(default = true)]
    fail_fast: Option<bool>,
    /// Makes this version the active one at once.
    activate: Option<bool>,
}

impl json::Body for AddVersionBody {
    const OBJECTS: &'static [&'static str] = VERSION_OBJECTS;
}

impl AddVersionBody {
    /// The document, and whether to activate it.
    pub fn into_parts(self) -> (VersionDocument, bool) {
        let document = VersionDocument {
            nodes: self.nodes,
            edges: self.edges.unwrap_or_default(),
            input_schema: self.input_schema,
            on_budget_exceeded: self.on_budget_exceeded.unwrap_or_default(),
            fail_fast: self.fail_fast.unwrap_or(true),
        };
        (document, self.activate.unwrap_or(false))
    }
}

/// `PUT /v1/workflow-definitions/{definition}/draft`
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = SaveDraft)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DraftBody {
    #[schema(min_items = 1, max_items = 500)]
    nodes: Vec<Node>,
    edges: Option<Vec<Edge>>,
    #[schema(value_type = Option<JsonSchema>)]
    input_schema: Option<Value>,
    /// What becomes of a run whose cap is spent: it is stopped, or goes on without the calls that do not fit, until 25 were refused.
    #[schema(default = "stop")]
    on_budget_exceeded: Option<OnBudgetExceeded>,
    /// Whether nothing new starts after a failure that counts. `false`: only what comes after the failed node does not.
    #[schema(default = true)]
    fail_fast: Option<bool>,
}

impl json::Body for DraftBody {
    const OBJECTS: &'static [&'static str] = VERSION_OBJECTS;
}

impl DraftBody {
    pub fn into_document(self) -> VersionDocument {
        VersionDocument {
            nodes: self.nodes,
            edges: self.edges.unwrap_or_default(),
            input_schema: self.input_schema,
            on_budget_exceeded: self.on_budget_exceeded.unwrap_or_default(),
            fail_fast: self.fail_fast.unwrap_or(true),
        }
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
    /// Versions that make no new runs.
    #[schema(value_type = BTreeSet<u32>)]
    deprecated_versions: BTreeSet<u32>,
    #[schema(required)]
    concurrency: Option<Concurrency>,
    #[schema(required)]
    retention: Option<Retention>,
    #[schema(minimum = 1, maximum = 2592000, required)]
    max_run_duration_seconds: Option<u64>,
    exclude_paused_time: bool,
    discoverable: bool,
    #[schema(value_type = BTreeSet<DefinitionTag>)]
    tags: BTreeSet<String>,
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
            deprecated_versions: definition.deprecated_versions.clone(),
            concurrency: definition.concurrency,
            retention: definition.retention,
            max_run_duration_seconds: definition.max_run_duration_seconds,
            exclude_paused_time: definition.exclude_paused_time,
            discoverable: definition.discoverable,
            tags: definition.tags.clone(),
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
    created_by: String,
}

impl VersionView {
    pub fn new(definition: &Definition, version: &Version) -> Self {
        Self {
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
            created_by: version.created_by.clone(),
        }
    }
}

/// What is to become a version. Its owner runs it as version `draft`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Draft)]
#[serde(rename_all = "camelCase")]
pub struct DraftView {
    #[schema(value_type = DefinitionId)]
    workflow_definition_id: String,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    #[schema(value_type = Option<JsonSchema>, required)]
    input_schema: Option<Value>,
    on_budget_exceeded: OnBudgetExceeded,
    fail_fast: bool,
    #[schema(format = DateTime)]
    updated_at: String,
    updated_by: String,
}

impl From<&Version> for DraftView {
    fn from(draft: &Version) -> Self {
        Self {
            workflow_definition_id: draft.definition_id.to_string(),
            nodes: draft.document.nodes.clone(),
            edges: draft.document.edges.clone(),
            input_schema: draft.document.input_schema.clone(),
            on_budget_exceeded: draft.document.on_budget_exceeded,
            fail_fast: draft.document.fail_fast,
            updated_at: rfc3339_millis(draft.created_at),
            updated_by: draft.created_by.clone(),
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
    /// It makes no new runs.
    deprecated: bool,
    #[schema(format = DateTime)]
    created_at: String,
    created_by: String,
}

impl VersionSummaryView {
    pub fn new(definition: &Definition, version: &Version) -> Self {
        Self {
            version: version.number,
            active: definition.active_version == Some(version.number),
            deprecated: definition.deprecated_versions.contains(&version.number),
            created_at: rfc3339_millis(version.created_at),
            created_by: version.created_by.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body(node: &Value) -> String {
        json!({"nodes": [node], "failFast": false}).to_string()
    }

    fn node(said: &Value) -> Value {
        let mut node = json!({"id": "a", "type": "processor", "processor": "p"});
        if let (Value::Object(node), Value::Object(said)) = (&mut node, said) {
            node.extend(said.clone());
        }
        node
    }

    #[test]
    fn what_is_no_condition_loop_or_fan_out_is_refused_where_it_stands() {
        let condition = json!({"pointer": "/input", "exists": true});
        for (said, pointer, code) in [
            (json!({"when": {"pointer": "/input", "matches": "a"}}), "/when/matches", "unknown_field"),
            (json!({"when": {"all": [{"pointer": "/input", "matches": "a"}]}}), "/when/all/0/matches", "unknown_field"),
            (json!({"when": {"not": {"$eval": "a"}}}), "/when/not/$eval", "unknown_field"),
            (json!({"when": "/input"}), "/when", "wrong_type"),
            (json!({"when": ["/input", 1]}), "/when", "wrong_type"),
            (json!({"when": {"any": [["/input", 1]]}}), "/when/any/0", "wrong_type"),
            (json!({"when": {"pointer": "/input", "in": 1}}), "/when/in", "wrong_type"),
            (json!({"when": {"pointer": "/input", "exists": "yes"}}), "/when/exists", "wrong_type"),
            (json!({"loop": [condition, 3]}), "/loop", "wrong_type"),
            (json!({"loop": {"maxIterations": 3}}), "/loop/until", "missing_field"),
            (json!({"loop": {"until": condition}}), "/loop/maxIterations", "missing_field"),
            (json!({"loop": {"until": condition, "maxIterations": -1}}), "/loop/maxIterations", "out_of_range"),
            (json!({"loop": {"until": condition, "maxIterations": 1.5}}), "/loop/maxIterations", "wrong_type"),
            (json!({"forEach": ["/input"]}), "/forEach", "wrong_type"),
            (json!({"forEach": {"items": 5}}), "/forEach/items", "invalid"),
            (json!({"forEach": {"items": [], "maxConcurrency": "2"}}), "/forEach/maxConcurrency", "wrong_type"),
            (json!({"onFailure": "retry"}), "/onFailure", "invalid"),
            (json!({"onExpiry": "answer"}), "/onExpiry/answer", "wrong_type"),
            (json!({"timeoutSeconds": "5"}), "/timeoutSeconds", "wrong_type"),
        ] {
            let text = body(&node(&said));
            let (added, drafted) = (json::read::<AddVersionBody>(&text), json::read::<DraftBody>(&text));
            for faults in [added.map(|_| ()).expect_err("refused"), drafted.map(|_| ()).expect_err("refused")] {
                let faults = faults.into_vec();
                let said: Vec<_> = faults.iter().map(|fault| (fault.pointer.as_str(), fault.code.as_str())).collect();
                assert_eq!(said, [(format!("/nodes/0{pointer}").as_str(), code)], "{text}");
            }
        }
    }

    #[test]
    fn a_version_says_what_was_said_of_it() {
        let said = json!({
            "when": {"pointer": "/input/n", "equals": null},
            "loop": {"until": {"not": {"pointer": "/results/a", "in": [1.50]}}, "maxIterations": 3},
            "onFailure": "continue", "timeoutSeconds": 5,
        });
        let read: AddVersionBody = json::read(&body(&node(&said))).expect("it reads");
        let (document, _) = read.into_parts();
        assert!(!document.fail_fast);
        assert_eq!(serde_json::to_value(&document.nodes[0]).expect("JSON"), node(&said));
        let plain: DraftBody = json::read(r#"{"nodes":[]}"#).expect("it reads");
        assert!(plain.into_document().fail_fast, "unless something else is said");
    }
}
