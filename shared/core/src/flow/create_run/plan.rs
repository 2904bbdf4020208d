//! The plan of a run: every rule about a request's content. Pure.

use super::{Command, Policy, Resolved};
use crate::budget::{InvalidBudget, MicroUsd};
use crate::caller::Caller;
use crate::definition::{Node, NodeType};
use crate::flow::{Answer, Refusal};
use crate::id::{NodeId, RunId, Tag};
use crate::instance::ProcessorConfig;
use crate::invalid::{Invalid, pointer_token};
use crate::lifecycle::RunStatus;
use crate::limits;
use crate::operator::{ComputeNode, LayerStatus, Processor};
use crate::ports::{StoreError, StoreErrorClass};
use crate::run::Run;
use crate::snapshot::{NodeRun, RecordKeys, Snapshot, SnapshotNode};
use crate::template;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

/// A run, ready to be recorded and started.
#[derive(Clone, Debug)]
pub struct Plan {
    pub run: Run,
    pub snapshot_text: String,
    pub start_input: String,
}

/// Plans a run. Pure: every rule about a request's content is checked here, and all violations are reported at once.
///
/// # Errors
/// [`Refusal::Invalid`] with every violation.
pub fn plan(
    policy: &Policy,
    caller: &Caller,
    command: &Command,
    resolved: &Resolved,
    keys: &RecordKeys,
    run_id: RunId,
    now: Timestamp,
) -> Answer<Plan> {
    let mut invalid = Invalid::default();
    let document = &resolved.version.document;
    let budget = budget(command, policy, &mut invalid);
    check_texts(command, &mut invalid);
    check_input(command, resolved, &mut invalid);
    check_node_maps(command, resolved, &mut invalid);
    check_layers(command, &resolved.compute_node, &mut invalid);
    if let Some(seconds) = command.max_run_duration_seconds
        && !limits::DURATION_SECONDS.contains(&seconds)
    {
        invalid.add("/maxRunDurationSeconds", "out_of_range", "must be from 1 to 2592000 seconds (30 days)");
    }
    if let Some(callback) = &command.callback {
        policy.destinations.check(&callback.url, "/completionCallbackUrl", &mut invalid);
        if callback.context.as_ref().is_some_and(|context| context.get().len() > limits::CALLBACK_CONTEXT_BYTES) {
            invalid.add(
                "/completionCallbackContext",
                "too_large",
                format!("must be at most {} bytes", limits::CALLBACK_CONTEXT_BYTES),
            );
        }
    }
    // A stored version was checked when it was made; its processors may have been withdrawn since.
    let layout = match document.check(&caller.tenant, &resolved.processors) {
        Ok(layout) => layout,
        Err(faults) => {
            for fault in faults.violations {
                invalid.add("/workflowDefinition".to_owned() + &fault.pointer, fault.code, fault.message);
            }
            return Err(Refusal::Invalid(invalid));
        }
    };
    let nodes: Vec<SnapshotNode> =
        document.nodes.iter().map(|node| resolve_node(node, command, resolved, &mut invalid)).collect();
    invalid.into_result().map_err(Refusal::Invalid)?;

    let id_of = |index: &usize| document.nodes[*index].id.clone();
    let snapshot = Snapshot {
        run_id,
        tenant_id: caller.tenant.clone(),
        created_by: caller.principal.0.clone(),
        created_at: now,
        workflow_definition_id: resolved.definition.id,
        workflow_definition_name: resolved.definition.name.clone(),
        workflow_version: resolved.version.number,
        workflow_instance_id: resolved.instance.id,
        compute_node_id: resolved.compute_node.key.clone(),
        state_machine_arn: resolved.compute_node.state_machine_arn.clone(),
        execution_budget_micro_usd: budget,
        compute_node_budget_micro_usd: resolved.compute_node.max_budget,
        max_run_duration_seconds: command.max_run_duration_seconds,
        nodes,
        edges: document.edges.clone(),
        stages: layout.stages.iter().map(|stage| stage.iter().map(id_of).collect()).collect(),
        leaves: layout.leaves.iter().map(id_of).collect(),
        input: command.input.clone(),
        layers: command.layers.clone(),
        callback: command.callback.clone(),
    };
    let unprintable = |error: serde_json::Error| {
        Refusal::Store(StoreError::new("write the snapshot as JSON", StoreErrorClass::Corrupt, error))
    };
    let (snapshot_text, snapshot_hash) = snapshot.to_text().map_err(unprintable)?;
    let start_input = snapshot.execution_input(keys).map_err(unprintable)?;
    check_size("the execution input", start_input.len(), limits::EXECUTION_INPUT_BYTES)?;
    check_size("the run's snapshot", snapshot_text.len(), limits::SNAPSHOT_BYTES)?;

    let run = Run {
        tenant_id: caller.tenant.clone(),
        run_id,
        name: command.name.clone().unwrap_or_else(|| default_name(run_id)),
        status: RunStatus::Pending,
        termination_reason: None,
        stop_intent: None,
        error: None,
        definition_id: resolved.definition.id,
        definition_name: resolved.definition.name.clone(),
        version: resolved.version.number,
        instance_id: resolved.instance.id,
        compute_node: resolved.compute_node.key.clone(),
        state_machine_arn: resolved.compute_node.state_machine_arn.clone(),
        execution_budget_micro_usd: budget,
        max_run_duration_seconds: command.max_run_duration_seconds,
        labels: command.labels.clone(),
        created_by: caller.principal.0.clone(),
        created_at: now,
        updated_at: now,
        started_at: None,
        completed_at: None,
        stage_index: None,
        pause_requested_at: None,
        pauses: 0,
        pause_token: None,
        waiting_nodes: std::collections::BTreeSet::new(),
        answered_nodes: std::collections::BTreeSet::new(),
        replay_of: None,
        replay_depth: 0,
        deliveries: 0,
        has_callback: command.callback.is_some(),
        snapshot_hash,
        rev: 1,
    };
    Ok(Plan { run, snapshot_text, start_input })
}

/// The input that starts (or starts again) a recorded run.
///
/// # Errors
/// Never, for a snapshot that was stored.
pub fn start_input(snapshot: &Snapshot, keys: &RecordKeys) -> Result<String, StoreError> {
    snapshot
        .execution_input(keys)
        .map_err(|error| StoreError::new("write the execution input as JSON", StoreErrorClass::Corrupt, error))
}

/// `run-` and the first eight characters of the id.
fn default_name(run_id: RunId) -> String {
    format!("run-{:.8}", run_id.to_string())
}

fn check_size(what: &str, bytes: usize, most: usize) -> Answer<()> {
    if bytes <= most {
        return Ok(());
    }
    let message = format!("{what} would take {bytes} bytes, above the bound of {most}: pass large data by reference");
    Err(Refusal::Invalid(Invalid::one("", "too_large", message)))
}

fn budget(command: &Command, policy: &Policy, invalid: &mut Invalid) -> Option<MicroUsd> {
    let literal = command.execution_budget_usd.as_deref()?;
    match MicroUsd::parse(literal, policy.max_budget) {
        Ok(MicroUsd(0)) => None,
        Ok(budget) => Some(budget),
        Err(error) => {
            let code = match error {
                InvalidBudget::NotANumber => "wrong_type",
                InvalidBudget::Negative | InvalidBudget::TooLarge(_) => "out_of_range",
                InvalidBudget::TooPrecise => "too_precise",
            };
            invalid.add("/executionBudgetUsd", code, error.to_string());
            None
        }
    }
}

/// A run's name, where its caller gives one.
pub(crate) fn check_name(name: Option<&str>, invalid: &mut Invalid) {
    if let Some(name) = name
        && (name.is_empty() || name.chars().count() > limits::DISPLAY_NAME_CHARS || name.chars().any(char::is_control))
    {
        let message = format!("must be 1 to {} characters without control characters", limits::DISPLAY_NAME_CHARS);
        invalid.add("/name", "out_of_range", message);
    }
}

fn check_texts(command: &Command, invalid: &mut Invalid) {
    check_name(command.name.as_deref(), invalid);
    if command.labels.len() > limits::LABELS {
        invalid.add("/labels", "too_many", format!("must be at most {} labels", limits::LABELS));
    }
    let (name_chars, value_chars) = limits::LABEL_CHARS;
    for (name, value) in &command.labels {
        if name.is_empty() || name.chars().count() > name_chars || value.chars().count() > value_chars {
            let message = format!("a label's name has 1 to {name_chars} characters, its value at most {value_chars}");
            invalid.add(format!("/labels/{}", pointer_token(name)), "out_of_range", message);
        }
    }
}

fn check_input(command: &Command, resolved: &Resolved, invalid: &mut Invalid) {
    let Some(schema) = &resolved.version.document.input_schema else {
        return;
    };
    let value = match &command.input {
        Some(input) => serde_json::from_str(input.get()).unwrap_or(Value::Null),
        None => Value::Null,
    };
    template::check_schema(schema, &value, "/input", invalid);
}

/// Every map by node names only nodes of its kind.
fn check_node_maps(command: &Command, resolved: &Resolved, invalid: &mut Invalid) {
    let document = &resolved.version.document;
    let mut check = |field: &str, id: &NodeId, admits: fn(&Node) -> bool, what: &str| {
        if !document.node(id).is_some_and(admits) {
            let message = format!("this version has no {what} node {id}");
            invalid.add(format!("/{field}/{id}"), "unknown_node", message);
        }
    };
    for id in command.data_sources.keys() {
        check("dataSources", id, |node| node.node_type == NodeType::DataSource, "data-source");
    }
    for id in command.data_targets.keys() {
        check("dataTargets", id, |node| node.node_type == NodeType::DataTarget, "data-target");
    }
    for id in command.processor_params.keys() {
        check("processorParams", id, |node| node.processor.is_some(), "processor");
    }
    for id in command.tags.keys() {
        check("tags", id, |node| node.processor.is_some(), "processor");
    }
    for id in resolved.instance.content.processor_configs.keys() {
        check("workflowInstanceConfiguration/processorConfigs", id, |node| node.processor.is_some(), "processor");
    }
}

fn check_layers(command: &Command, compute_node: &ComputeNode, invalid: &mut Invalid) {
    if command.layers.len() > limits::LAYERS {
        invalid.add("/layers", "too_many", format!("must be at most {} layers", limits::LAYERS));
    }
    for (index, layer) in command.layers.iter().enumerate() {
        let at = format!("/layers/{index}");
        match compute_node.layers.get(layer) {
            Some(LayerStatus::Ready) => {}
            Some(status) => {
                invalid.add(at, "layer_not_ready", format!("layer {layer} is {}, not READY", status.as_str()));
            }
            None => invalid.add(at, "not_found", format!("compute node {} has no layer {layer}", compute_node.key)),
        }
    }
}

fn resolve_node(node: &Node, command: &Command, resolved: &Resolved, invalid: &mut Invalid) -> SnapshotNode {
    let document = &resolved.version.document;
    let config = resolved.instance.content.processor_configs.get(&node.id);
    let tag =
        command.tags.get(&node.id).or(config.and_then(|config| config.tag.as_ref())).or(node.tag.as_ref()).cloned();
    let run = match (&node.processor, node.node_type) {
        (_, NodeType::External) => NodeRun::External,
        (Some(key), _) => match resolved.processors.get(key) {
            Some(processor) => processor_run(processor, tag.as_ref()),
            None => NodeRun::Value, // refused by the version's check
        },
        (None, _) => NodeRun::Value,
    };
    let retry = node.retry.unwrap_or_default();
    let data_target = (node.node_type == NodeType::DataTarget)
        .then(|| enriched_target(&node.id, command.data_targets.get(&node.id), &resolved.compute_node, invalid));
    SnapshotNode {
        node_id: node.id.clone(),
        node_type: node.node_type,
        run,
        tag,
        max_attempts: retry.max_attempts,
        retry_interval_seconds: retry.interval_seconds,
        retry_backoff_rate: retry.backoff_rate,
        params: resolve_params(node, command, config, invalid),
        depends_on: document.edges.iter().filter(|edge| edge.to == node.id).map(|edge| edge.from.clone()).collect(),
        data_source: command.data_sources.get(&node.id).cloned(),
        data_target,
        reused_from: None,
        schema: node.schema.clone(),
    }
}

fn processor_run(processor: &Processor, tag: Option<&Tag>) -> NodeRun {
    let arn = processor.target.qualified_arn(tag);
    match processor.target {
        crate::operator::ProcessorTarget::Lambda { .. } => NodeRun::Lambda { function_arn: arn },
        crate::operator::ProcessorTarget::StateMachine { .. } => NodeRun::StateMachine { state_machine_arn: arn },
    }
}

/// The caller's values for a data target, with the compute node's registry values beside them.
fn enriched_target(id: &NodeId, given: Option<&Value>, compute_node: &ComputeNode, invalid: &mut Invalid) -> Value {
    let mut target = match given {
        Some(Value::Object(given)) => given.clone(),
        None => serde_json::Map::new(),
        Some(_) => {
            invalid.add(format!("/dataTargets/{id}"), "wrong_type", "must be an object");
            serde_json::Map::new()
        }
    };
    for (name, value) in &compute_node.registry {
        if target.insert(name.clone(), value.clone()).is_some() {
            let at = format!("/dataTargets/{id}/{}", pointer_token(name));
            invalid.add(at, "registry_value", "is set by the compute node and cannot be overwritten");
        }
    }
    Value::Object(target)
}

/// A node's parameters: run over instance over version default. Placeholders are filled in what the version and the
/// instance say, never in what this request says.
fn resolve_params(
    node: &Node,
    command: &Command,
    config: Option<&ProcessorConfig>,
    invalid: &mut Invalid,
) -> BTreeMap<String, Value> {
    let at_run = format!("/processorParams/{}", node.id);
    let at_instance = format!("/workflowInstanceConfiguration/processorConfigs/{}/params", node.id);
    let from_run = command.processor_params.get(&node.id);
    let from_instance = config.map(|config| &config.params);
    let mut params = BTreeMap::new();
    for (name, parameter) in &node.parameters {
        let (value, at) = if let Some(value) = from_run.and_then(|params| params.get(name)) {
            (Some(value.clone()), format!("{at_run}/{}", pointer_token(name)))
        } else {
            let (value, at) = match from_instance.and_then(|params| params.get(name)) {
                Some(value) => (Some(value), format!("{at_instance}/{}", pointer_token(name))),
                None => {
                    let at =
                        format!("/workflowDefinition/nodes/{}/parameters/{}/default", node.id, pointer_token(name));
                    (parameter.default.as_ref(), at)
                }
            };
            let mut value = value.cloned();
            if let Some(value) = &mut value {
                command.variables.fill(value, &at, invalid);
            }
            (value, at)
        };
        match value {
            Some(value) if parameter.parameter_type.admits(&value) => {
                params.insert(name.clone(), value);
            }
            Some(_) => invalid.add(at, "wrong_type", format!("must be {}", parameter.parameter_type.as_str())),
            None if parameter.required => {
                let at = format!("{at_run}/{}", pointer_token(name));
                invalid.add(at, "missing_parameter", format!("node {} needs the parameter {name}", node.id));
            }
            None => {}
        }
    }
    for (given, at) in [(from_run, &at_run), (from_instance, &at_instance)] {
        for name in given.into_iter().flat_map(BTreeMap::keys).filter(|name| !node.parameters.contains_key(*name)) {
            let at = format!("{at}/{}", pointer_token(name));
            invalid.add(at, "unknown_parameter", format!("node {} has no parameter {name}", node.id));
        }
    }
    params
}
