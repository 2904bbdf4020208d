//! `POST /v1/workflow-runs`

use super::fields::{self, RunFields};
use super::instances::{InstanceConfigurationBody, ProcessorConfigs};
use super::schema::{CallbackUrl, Labels, ObjectsByNode, RunName, TagsByNode, Usd, ValuesByNode};
use crate::fault::{Faults, ReadingCode};
use crate::http::Request;
use crate::json;
use crate::problem::Problem;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sluice_core::flow::create_run::{Command, Source};
use sluice_core::id::{DefinitionRef, IdempotencyKey, InstanceId, LayerName, NodeId, RunId, UserId};
use sluice_core::idempotency::Operation;
use sluice_core::number::whole_option;
use sluice_core::retention::Retention;
use sluice_core::violation::ViolationCode;
use std::collections::BTreeMap;
use utoipa::ToSchema;

const CONFIGURATION: &str = "/workflowInstanceConfiguration";

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CreateRun)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateRunBody {
    /// Exactly one of this and `workflowInstanceConfiguration`.
    #[schema(value_type = Option<InstanceId>)]
    workflow_instance_id: Option<String>,
    workflow_instance_configuration: Option<InstanceConfigurationBody>,
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
    /// The run that this one evaluates.
    #[schema(value_type = Option<RunId>)]
    evaluation_of: Option<String>,
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
    client_token: Option<String>,
}

impl json::Body for CreateRunBody {
    const OBJECTS: &'static [&'static str] =
        &["", CONFIGURATION, "/workflowInstanceConfiguration/processorConfigs/*", "/retention"];
    const VERBATIM: &'static [&'static str] = &["/completionCallbackContext"];
    const KEY: Option<&'static str> = Some("clientToken");
}

/// A request that could be read.
#[derive(Debug)]
pub struct CreateRun {
    pub command: Command,
    configs: ProcessorConfigs,
}

impl CreateRun {
    /// Reads the request.
    ///
    /// # Errors
    /// Everything that is wrong with it and can be told from it alone.
    pub fn read(request: &Request) -> Result<Self, Problem> {
        let (body, payload_hash) = request.json_keyed::<CreateRunBody>()?;
        let mut faults = Faults::default();
        let token = body.client_token.as_deref();
        let claim = fields::claim(request, Operation::Create, "clientToken", token, payload_hash, &mut faults);
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
            evaluation_of: body.evaluation_of,
            user_id: body.user_id,
            from_node_id: body.from_node_id,
            results: body.results,
        };
        let mut configs = ProcessorConfigs::default();
        let source = match (body.workflow_instance_id, body.workflow_instance_configuration) {
            (Some(id), None) => fields::id("/workflowInstanceId", &id, &mut faults).map(Source::Instance),
            (None, Some(configuration)) => configuration_source(configuration, &mut configs, &mut faults),
            (Some(_), Some(_)) | (None, None) => {
                let message = "exactly one of workflowInstanceId and workflowInstanceConfiguration must be given";
                faults.add("", ReadingCode::ExactlyOne, message);
                None
            }
        };
        // The other fields are looked at even if there is no source, so that everything is reported.
        let command = match source {
            Some(source) => Some(fields.into_command(source, claim, &mut faults)),
            None => {
                let nowhere = Source::Instance(sluice_core::id::InstanceId(Default::default()));
                fields.into_command(nowhere, None, &mut faults);
                None
            }
        };
        faults.into_result()?;
        let command = command.ok_or_else(|| Faults::one("", ViolationCode::Invalid, "must name what to run"))?;
        Ok(Self { command, configs })
    }

    pub fn into_parts(self) -> (Command, ProcessorConfigs) {
        (self.command, self.configs)
    }
}

fn configuration_source(
    body: InstanceConfigurationBody,
    configs: &mut ProcessorConfigs,
    faults: &mut Faults,
) -> Option<Source> {
    let at = |field: &str| format!("{CONFIGURATION}/{field}");
    let definition: Option<DefinitionRef> =
        fields::id(at("workflowDefinitionId"), &body.workflow_definition_id, faults);
    let version = fields::version(at("version"), body.version.as_deref(), faults);
    let compute_node = match &body.compute_node_id {
        Some(key) => Some(fields::id(at("computeNodeId"), key, faults)?),
        None => None,
    };
    *configs = ProcessorConfigs::read(CONFIGURATION, body.processor_configs, faults);
    Some(Source::Configuration { definition: definition?, version, compute_node, processor_configs: configs.by_node() })
}
