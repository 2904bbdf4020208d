//! `POST /v1/workflow-definitions/{definition}/invoke`

use super::fields::{self, RunFields};
use super::schema::{CallbackUrl, Labels, ObjectsByNode, RunName, TagsByNode, Usd, ValuesByNode, VersionRule};
use crate::fault::Faults;
use crate::http::Request;
use crate::json;
use crate::problem::Problem;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sluice_core::flow::create_run::{Command, Source};
use sluice_core::id::{DefinitionRef, IdempotencyKey, LayerName, NodeId, UserId};
use sluice_core::idempotency::Operation;
use sluice_core::number::whole_option;
use sluice_core::retention::Retention;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// May be left out altogether.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = InvokeDefinition)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InvokeDefinitionBody {
    /// A number, `"active"` (default), `"latest"` or `"draft"`.
    #[schema(value_type = Option<VersionRule>)]
    version: Option<Box<RawValue>>,
    #[schema(value_type = Option<RunName>)]
    name: Option<String>,
    #[schema(value_type = Value, required = false)]
    input: Option<Box<RawValue>>,
    #[schema(value_type = Option<ValuesByNode>)]
    data_sources: Option<BTreeMap<String, Value>>,
    #[schema(value_type = Option<ObjectsByNode>)]
    data_targets: Option<BTreeMap<String, Value>>,
    #[schema(value_type = Option<ObjectsByNode>)]
    processor_params: Option<BTreeMap<String, BTreeMap<String, Value>>>,
    #[schema(value_type = Option<TagsByNode>)]
    tags: Option<BTreeMap<String, String>>,
    #[schema(value_type = Option<Vec<LayerName>>, max_items = 20)]
    layers: Option<Vec<String>>,
    #[schema(value_type = Option<Labels>)]
    labels: Option<BTreeMap<String, String>>,
    variables: Option<BTreeMap<String, Value>>,
    runtime_variables: Option<BTreeMap<String, Value>>,
    /// The cap for LLM spend. Absent or 0: no cap.
    #[schema(value_type = Option<Usd>)]
    execution_budget_usd: Option<Box<RawValue>>,
    #[schema(minimum = 1, maximum = 2592000)]
    #[serde(default, deserialize_with = "whole_option")]
    max_run_duration_seconds: Option<u64>,
    #[schema(value_type = Option<CallbackUrl>)]
    completion_callback_url: Option<String>,
    /// Comes back byte for byte.
    #[schema(value_type = Value, required = false)]
    completion_callback_context: Option<Box<RawValue>>,
    /// How long the run is kept once it has ended. Absent: as its definition says, or its tenant.
    retention: Option<Retention>,
    /// The person for whom the tenant runs it, by the tenant's own name for them; it draws on that user's quotas.
    #[schema(value_type = Option<UserId>)]
    user_id: Option<String>,
    /// The node at which the run starts. What does not come after it is skipped.
    #[schema(value_type = Option<NodeId>)]
    from_node_id: Option<String>,
    /// In place of what the nodes before `fromNodeId` would have given: their results, checked as answers are.
    #[schema(value_type = Option<ValuesByNode>)]
    results: Option<BTreeMap<String, Value>>,
    /// As the header `Idempotency-Key`.
    #[schema(value_type = Option<IdempotencyKey>)]
    idempotency_key: Option<String>,
}

impl json::Body for InvokeDefinitionBody {
    const OBJECTS: &'static [&'static str] = &["", "/retention"];
    const VERBATIM: &'static [&'static str] = &["/completionCallbackContext"];
    const KEY: Option<&'static str> = Some("idempotencyKey");
}

/// The command that a request for `definition` stands for.
///
/// # Errors
/// Everything that is wrong with it and can be told from it alone.
pub fn command(request: &Request, definition: DefinitionRef) -> Result<Command, Problem> {
    let (body, payload_hash) = request.json_keyed_or_empty::<InvokeDefinitionBody>()?;
    let mut faults = Faults::default();
    let key = body.idempotency_key.as_deref();
    let claim = fields::claim(request, Operation::Invoke, "idempotencyKey", key, payload_hash, &mut faults);
    let source = Source::Configuration {
        definition,
        version: fields::version("/version", body.version.as_deref(), &mut faults),
        compute_node: None,
        processor_configs: BTreeMap::new(),
    };
    let fields = RunFields {
        name: body.name,
        input: body.input,
        data_sources: body.data_sources,
        data_targets: body.data_targets,
        processor_params: body.processor_params,
        tags: body.tags,
        layers: body.layers,
        labels: body.labels,
        variables: body.variables,
        runtime_variables: body.runtime_variables,
        execution_budget_usd: body.execution_budget_usd,
        max_run_duration_seconds: body.max_run_duration_seconds,
        completion_callback_url: body.completion_callback_url,
        completion_callback_context: body.completion_callback_context,
        retention: body.retention,
        evaluation_of: None,
        user_id: body.user_id,
        from_node_id: body.from_node_id,
        results: body.results,
    };
    let command = fields.into_command(source, claim, &mut faults);
    faults.into_result()?;
    Ok(command)
}
