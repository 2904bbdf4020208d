//! The plan of a run: every rule about a request's content. Pure.

use super::command::{Command, Fresh, Policy};
use super::course::Course;
use super::resolve::Resolved;
use crate::arn::QualifiedArn;
use crate::budget::{InvalidBudget, MicroUsd, NanoUsd};
use crate::caller::Caller;
use crate::concurrency::{Limit, limits_of};
use crate::definition::{Node, NodeType, check_tag};
use crate::directive::{Directives, Role};
use crate::flow::{Answer, Refusal};
use crate::generation::Generation;
use crate::governor::access::{Grant, Holder};
use crate::governor::ledger::Ledger;
use crate::governor::quota::QuotaRule;
use crate::id::{NodeId, RunId, Tag};
use crate::instance::Instance;
use crate::limits;
use crate::meter::Count;
use crate::operator::{ComputeNode, LayerStatus, Processor, ProcessorTarget, TenantSettings, Unlisted};
use crate::place::{At, Field, Part};
use crate::ports::{StoreError, StoreErrorClass};
use crate::run::{About, Run, RunSpec, SnapshotRef};
use crate::secret;
use crate::snapshot::{Ending, NodeRun, RecordKeys, RequestParts, Snapshot, SnapshotNode};
use crate::violation::{Invalid, ViolationCode};
use crate::work;
use jiff::Timestamp;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A planned run with the texts that are stored of it and that start it.
#[derive(Clone, Debug)]
pub struct PreparedRun {
    pub run: Run,
    pub snapshot_text: String,
    /// What [`NewRun`](crate::change::NewRun) has of it.
    pub ending_text: Option<String>,
    pub request_text: Option<String>,
    pub ledger: Ledger,
    pub start_input: String,
    /// The limits of concurrency that the run is held to.
    pub limits: Vec<Limit>,
    /// Its instance, where there was none yet.
    pub new_instance: Option<Arc<Instance>>,
    /// What is counted once it is recorded.
    pub count: Option<Count>,
}

/// A run as it is planned from a request, before it is written as text.
#[derive(Clone, Debug)]
pub struct Plan {
    pub about: About,
    pub snapshot: Snapshot,
    /// What the request said: [`RequestParts`](crate::snapshot::RequestParts) as JSON text, if it is known.
    pub request_text: Option<String>,
    /// What its governed calls are held to.
    pub ledger: Ledger,
    pub limits: Vec<Limit>,
    /// Its instance, where there was none yet.
    pub new_instance: Option<Arc<Instance>>,
    /// What is counted once it is recorded.
    pub count: Option<Count>,
}

impl Plan {
    /// Writes the texts that are stored of the run and that start it.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] when a text is longer than it may be.
    pub fn prepare(self, keys: &RecordKeys) -> Answer<PreparedRun> {
        let snapshot_text = self.snapshot.to_text().map_err(unprintable)?;
        let hash = self.snapshot.hash(&snapshot_text).map_err(unprintable)?;
        let ending = self.snapshot.ending();
        let has_given_results = ending.as_ref().is_some_and(Ending::has_given_results);
        let ending_text = ending.as_ref().map(serde_json::to_string).transpose().map_err(unprintable)?;
        let start_input = self.snapshot.execution_input(keys).map_err(unprintable)?;
        check_size("the execution input", start_input.len(), limits::EXECUTION_INPUT_BYTES)?;
        check_size("the run's snapshot", snapshot_text.len(), limits::SNAPSHOT_BYTES)?;
        if self.snapshot.spec.generation() == Generation::Second
            && let Some((node_id, bytes)) = work::too_large(&self.snapshot, snapshot_text.len()).map_err(unprintable)?
        {
            check_size(&format!("what node {node_id} is handed"), bytes, limits::TOLD_BYTES)?;
        }
        let Snapshot { tenant_id, run_id, spec, callback, .. } = self.snapshot;
        let snapshot = SnapshotRef { has_callback: callback.is_some(), has_given_results, hash };
        let run = Run::new(tenant_id, run_id, self.about, spec, snapshot);
        let Self { request_text, ledger, limits, new_instance, count, .. } = self;
        Ok(PreparedRun {
            run,
            snapshot_text,
            ending_text,
            request_text,
            ledger,
            start_input,
            limits,
            new_instance,
            count,
        })
    }
}

fn unprintable(error: serde_json::Error) -> Refusal {
    Refusal::Store(StoreError::new("write the snapshot as JSON", StoreErrorClass::Corrupt, error))
}

/// Plans a run. Pure: every rule about a request's content is checked here, and all violations are reported at once.
///
/// # Errors
/// [`Refusal::RateLimited`]; [`Refusal::TooManyOpenRuns`]; [`Refusal::BudgetExhausted`]; [`Refusal::Invalid`] with every violation.
pub fn plan(
    policy: &Policy,
    caller: &Caller,
    command: &Command,
    resolved: &Resolved,
    fresh: Fresh,
    now: Timestamp,
) -> Answer<Plan> {
    let Fresh { run_id, grant } = fresh;
    let count = resolved.taken.admit(policy.tenant_limits.with(resolved.tenant.limits), run_id, now)?;
    resolved.spending.admit(now)?;
    let mut invalid = Invalid::default();
    let document = &resolved.version.document;
    let budget = budget(command, policy, &mut invalid);
    check_texts(command, &mut invalid);
    check_input(command, resolved, &mut invalid);
    check_node_maps(command, resolved, &mut invalid);
    check_layers(command, &resolved.compute_node, &mut invalid);
    check_duration(command.max_run_duration_seconds, &mut invalid);
    if let Some(retention) = command.retention {
        retention.check(&Field::Retention.at(), &mut invalid);
    }
    if let Some(callback) = &command.callback {
        check_destination(policy, &resolved.tenant, &callback.url, &mut invalid);
        if callback.context.as_ref().is_some_and(|context| context.get().len() > limits::CALLBACK_CONTEXT_BYTES) {
            let message = format_args!("must be at most {} bytes", limits::CALLBACK_CONTEXT_BYTES);
            invalid.add(Field::CallbackContext, ViolationCode::TooLarge, message);
        }
    }
    // A stored version was checked when it was made; its processors may have been withdrawn since.
    let layout = match resolved.version.layout(&caller.tenant, &resolved.processors) {
        Ok(layout) => layout,
        Err(_) if resolved.definition.tenant != caller.tenant => {
            // Which, is its owner's business.
            let message = "this definition names a processor that this tenant may not use";
            invalid.add(Field::Document, ViolationCode::UnknownProcessor, message);
            return Err(Refusal::Invalid(invalid));
        }
        Err(faults) => {
            invalid.extend(faults);
            return Err(Refusal::Invalid(invalid));
        }
    };
    let mut before: BTreeMap<&NodeId, Vec<NodeId>> = BTreeMap::new();
    for edge in &document.edges {
        before.entry(&edge.to).or_default().push(edge.from.clone());
    }
    let course = Course::of(command, resolved, &mut invalid);
    let mut nodes = Vec::with_capacity(document.nodes.len());
    for (index, node) in document.nodes.iter().enumerate() {
        let depends_on = before.remove(&node.id).unwrap_or_default();
        // What does not run needs nothing of what it would run with.
        let (mut unneeded, role) = (Invalid::default(), course.role(index));
        let faults = if role == Role::Runs { &mut invalid } else { &mut unneeded };
        let mut planned = resolve_node(policy, node, depends_on, command, resolved, faults);
        course.rule(index, node, &mut planned, faults);
        nodes.push(planned);
    }
    invalid.into_result().map_err(Refusal::Invalid)?;

    let id_of = |index: &usize| document.nodes[*index].id.clone();
    let definition = &resolved.definition;
    let spec = RunSpec {
        definition_id: definition.id,
        definition_name: definition.name.clone(),
        definition_owner: (definition.tenant != caller.tenant).then(|| definition.tenant.clone()),
        version: resolved.version.number,
        instance_id: resolved.instance.id,
        compute_node: resolved.compute_node.key.clone(),
        state_machine_arn: resolved.compute_node.state_machine_arn.clone(),
        execution_budget_micro_usd: budget,
        compute_node_budget_micro_usd: resolved.compute_node.max_budget,
        on_budget_exceeded: document.on_budget_exceeded,
        user_id: command.user_id.clone(),
        max_run_duration_seconds: command.max_run_duration_seconds.or(definition.max_run_duration_seconds),
        exclude_paused_time: definition.exclude_paused_time,
        retention: command.retention.or(definition.retention).or(resolved.tenant.retention),
        created_by: caller.principal.0.clone(),
        created_at: now,
    };
    let snapshot = Snapshot {
        run_id,
        tenant_id: caller.tenant.clone(),
        spec,
        nodes,
        edges: document.edges.clone(),
        stages: layout.stages.iter().map(|stage| stage.iter().map(id_of).collect()).collect(),
        leaves: layout.leaves.iter().map(id_of).collect(),
        fail_fast: document.fail_fast,
        from_node_id: command.start.as_ref().map(|start| start.from_node_id.clone()),
        input: command.input.clone(),
        layers: command.layers.clone(),
        callback: command.callback.clone(),
        governor: policy.governor_url.as_ref().map(|url| url.of_run(&caller.tenant, run_id, &grant)),
    };
    let ledger = ledger_of(&snapshot, grant, &resolved.spending.rules);

    let about = About {
        name: command.name.clone().unwrap_or_else(|| default_name(run_id)),
        labels: command.labels.clone(),
        evaluation_of: command.evaluation_of,
        ..About::default()
    };
    let limits = limits_of(definition.concurrency, resolved.tenant.concurrency);
    let new_instance = resolved.instance_is_new.then(|| Arc::clone(&resolved.instance));
    let request_text = Some(serde_json::to_string(&request_parts(command)).map_err(unprintable)?);
    Ok(Plan { about, snapshot, request_text, ledger, limits, new_instance, count })
}

/// The ledger that a run begins with: a processor may call for the nodes that it runs, a worker outside for every node, and
/// the cap is the lower of the run's own and its compute node's. Of each quota that it is under, nothing is drawn yet.
pub(crate) fn ledger_of(snapshot: &Snapshot, grant: Grant, quotas: &[QuotaRule]) -> Ledger {
    let mut nodes: BTreeMap<Holder, BTreeSet<NodeId>> = BTreeMap::new();
    for node in &snapshot.nodes {
        let processor = node.processor.clone().map(Holder::Processor);
        for holder in processor.into_iter().chain([Holder::Worker]) {
            nodes.entry(holder).or_default().insert(node.node_id.clone());
        }
    }
    let cap = snapshot.spec.spending_cap().map(NanoUsd::from);
    Ledger {
        on_exceeded: snapshot.spec.on_budget_exceeded,
        allowances: quotas.iter().map(|rule| (rule.owner.clone(), None)).collect(),
        ..Ledger::new(grant, nodes, cap)
    }
}

fn request_parts(command: &Command) -> RequestParts<'_> {
    RequestParts {
        data_sources: Cow::Borrowed(&command.data_sources),
        data_targets: Cow::Borrowed(&command.data_targets),
        processor_params: Cow::Borrowed(&command.processor_params),
        tags: Cow::Borrowed(&command.tags),
        variables: Cow::Borrowed(&command.variables),
        start: command.start.as_ref().map(Cow::Borrowed),
    }
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
    let message =
        format_args!("{what} would take {bytes} bytes, above the bound of {most}: pass large data by reference");
    Err(Refusal::Invalid(Invalid::one(Field::Whole, ViolationCode::TooLarge, message)))
}

/// The run's cap, within what the deployment allows.
fn budget(command: &Command, policy: &Policy, invalid: &mut Invalid) -> Option<MicroUsd> {
    let error = match command.execution_budget {
        Ok(cap) if cap.is_none_or(|cap| cap <= policy.max_budget) => return cap,
        Ok(_) | Err(InvalidBudget::TooLarge(_)) => InvalidBudget::TooLarge(policy.max_budget),
        Err(error) => error,
    };
    invalid.add(Field::ExecutionBudget, error.code(), error);
    None
}

/// The duration a request or a definition asks for.
pub(crate) fn check_duration(seconds: Option<u64>, invalid: &mut Invalid) {
    if seconds.is_some_and(|seconds| !limits::DURATION_SECONDS.contains(&seconds)) {
        let message = "must be from 1 to 2592000 seconds (30 days)";
        invalid.add(Field::MaxRunDuration, ViolationCode::OutOfRange, message);
    }
}

/// Callbacks go to Function URLs in the allowed regions and, where the tenant has a list of its own, to none but those.
pub(crate) fn check_destination(policy: &Policy, tenant: &TenantSettings, url: &str, invalid: &mut Invalid) {
    const AT: Field = Field::CallbackUrl;
    match policy.destinations.admit(url) {
        Ok(_) if tenant.destinations.is_none() && policy.unlisted == Unlisted::Closed => {
            let message = "may not be given: the operator has listed no destinations for this tenant";
            invalid.add(AT, ViolationCode::CallbackUrlNotAllowed, message);
        }
        Ok(destination) if tenant.admits_destination(&destination.url) => {}
        Ok(_) => invalid.add(AT, ViolationCode::CallbackUrlNotAllowed, "is not on this tenant's list of destinations"),
        Err(message) => invalid.add(AT, ViolationCode::CallbackUrlNotAllowed, message),
    }
}

/// A run's name, where its caller gives one.
pub(crate) fn check_name(name: Option<&str>, invalid: &mut Invalid) {
    if let Some(name) = name
        && (name.is_empty() || name.chars().count() > limits::DISPLAY_NAME_CHARS || name.chars().any(char::is_control))
    {
        let most = limits::DISPLAY_NAME_CHARS;
        let message = format_args!("must be 1 to {most} characters without control characters");
        invalid.add(Field::Name, ViolationCode::OutOfRange, message);
    }
}

fn check_texts(command: &Command, invalid: &mut Invalid) {
    check_name(command.name.as_deref(), invalid);
    if command.labels.len() > limits::LABELS {
        let message = format_args!("must be at most {} labels", limits::LABELS);
        invalid.add(Field::Labels, ViolationCode::TooMany, message);
    }
    if command.labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > limits::LABELS_BYTES {
        let message = format_args!("must be at most {} bytes together", limits::LABELS_BYTES);
        invalid.add(Field::Labels, ViolationCode::TooLarge, message);
    }
    let (name_chars, value_chars) = limits::LABEL_CHARS;
    for (name, value) in &command.labels {
        if name.is_empty() || name.chars().count() > name_chars || value.chars().count() > value_chars {
            let message =
                format_args!("a label's name has 1 to {name_chars} characters, its value at most {value_chars}");
            invalid.add(Field::Labels.at().key(name), ViolationCode::OutOfRange, message);
        }
    }
}

fn check_input(command: &Command, resolved: &Resolved, invalid: &mut Invalid) {
    if resolved.version.document.input_schema.is_none() {
        return;
    }
    let value = match &command.input {
        Some(input) => serde_json::from_str(input.get()),
        None => Ok(Value::Null),
    };
    let value = match value {
        Ok(value) => value,
        Err(error) => {
            return invalid.add(Field::Input.at(), ViolationCode::Invalid, format_args!("must be JSON: {error}"));
        }
    };
    resolved.version.check_input(&value, &Field::Input.at(), invalid);
}

/// Every map by node names only nodes of its kind.
fn check_node_maps(command: &Command, resolved: &Resolved, invalid: &mut Invalid) {
    let nodes: BTreeMap<&NodeId, &Node> = resolved.version.document.nodes.iter().map(|node| (&node.id, node)).collect();
    let mut check = |field: Field, id: &NodeId, admits: fn(&Node) -> bool, what: &str| {
        if !nodes.get(id).copied().is_some_and(admits) {
            let message = format_args!("this version has no {what} node {id}");
            invalid.add(field.at().node(id), ViolationCode::UnknownNode, message);
        }
    };
    for id in command.data_sources.keys() {
        check(Field::DataSources, id, |node| node.node_type == NodeType::DataSource, "data-source");
    }
    for id in command.data_targets.keys() {
        check(Field::DataTargets, id, |node| node.node_type == NodeType::DataTarget, "data-target");
    }
    for id in command.processor_params.keys() {
        check(Field::ProcessorParams, id, |node| node.processor.is_some(), "processor");
    }
    for id in command.tags.keys() {
        check(Field::ProcessorTags, id, |node| node.processor.is_some(), "processor");
    }
    for id in resolved.instance.content.processor_configs.keys() {
        check(Field::ProcessorConfigs, id, |node| node.processor.is_some(), "processor");
    }
}

fn check_layers(command: &Command, compute_node: &ComputeNode, invalid: &mut Invalid) {
    if command.layers.len() > limits::LAYERS {
        let message = format_args!("must be at most {} layers", limits::LAYERS);
        invalid.add(Field::Layers, ViolationCode::TooMany, message);
    }
    let layers = Field::Layers.at();
    for (index, layer) in command.layers.iter().enumerate() {
        let at = layers.index(index);
        match compute_node.layers.get(layer) {
            Some(LayerStatus::Ready) => {}
            Some(status) => {
                let message = format_args!("layer {layer} is {}, not READY", status.as_str());
                invalid.add(at, ViolationCode::LayerNotReady, message);
            }
            None => {
                let message = format_args!("compute node {} has no layer {layer}", compute_node.key);
                invalid.add(at, ViolationCode::NotFound, message);
            }
        }
    }
}

fn resolve_node(
    policy: &Policy,
    node: &Node,
    depends_on: Vec<NodeId>,
    command: &Command,
    resolved: &Resolved,
    invalid: &mut Invalid,
) -> SnapshotNode {
    let config = resolved.instance.content.processor_configs.get(&node.id);
    let tag =
        command.tags.get(&node.id).or(config.and_then(|config| config.tag.as_ref())).or(node.tag.as_ref()).cloned();
    let run = match (&node.processor, node.node_type) {
        (_, NodeType::External) => NodeRun::External,
        (Some(key), _) => match resolved.processors.get(key) {
            Some(processor) => {
                check_chosen_tags(processor, node, command, resolved, invalid);
                processor_run(processor, tag.as_ref())
            }
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
        processor: node.processor.clone(),
        tag,
        max_attempts: retry.max_attempts,
        retry_interval_seconds: retry.interval_seconds,
        retry_backoff_rate: retry.backoff_rate,
        params: resolve_params(policy, node, command, resolved, invalid),
        depends_on,
        data_source: command.data_sources.get(&node.id).cloned(),
        data_target,
        reused_from: None,
        schema: node.schema.clone(),
        private: node.private,
        private_params: node.parameters.iter().filter(|(_, one)| one.private).map(|(name, _)| name.clone()).collect(),
        directives: Directives::default(),
        left_out: false,
        given: false,
    }
}

/// The tags that a run and its instance choose: what the processor offers, and of a private node nothing, for what it runs is
/// its owner's choice.
fn check_chosen_tags(
    processor: &Processor,
    node: &Node,
    command: &Command,
    resolved: &Resolved,
    invalid: &mut Invalid,
) {
    let (tags, configs) = (Field::ProcessorTags.at(), Field::ProcessorConfigs.at());
    let config = resolved.instance.content.processor_configs.get(&node.id);
    let config_at = configs.node(&node.id);
    for (tag, at) in [
        (command.tags.get(&node.id), tags.node(&node.id)),
        (config.and_then(|config| config.tag.as_ref()), config_at.part(Part::Tag)),
    ] {
        if tag.is_some() && node.private && resolved.owner.is_some() {
            invalid.add(at, ViolationCode::UnexpectedTag, "the node is private: its owner chooses what it runs");
        } else {
            check_tag(processor, tag, &at, invalid);
        }
    }
}

fn processor_run(processor: &Processor, tag: Option<&Tag>) -> NodeRun {
    match &processor.target {
        ProcessorTarget::Lambda { function_arn } => {
            NodeRun::Lambda { function_arn: QualifiedArn::new(function_arn, tag) }
        }
        ProcessorTarget::StateMachine { state_machine_arn } => {
            NodeRun::StateMachine { state_machine_arn: QualifiedArn::new(state_machine_arn, tag) }
        }
        ProcessorTarget::Ecs(task) => NodeRun::Ecs(task.clone().of(QualifiedArn::new(&task.task_definition_arn, tag))),
    }
}

/// The caller's values for a data target, with the compute node's registry values beside them.
fn enriched_target(id: &NodeId, given: Option<&Value>, compute_node: &ComputeNode, invalid: &mut Invalid) -> Value {
    let targets = Field::DataTargets.at();
    let at = targets.node(id);
    let mut target = match given {
        Some(Value::Object(given)) => given.clone(),
        None => serde_json::Map::new(),
        Some(_) => {
            invalid.add(at, ViolationCode::WrongType, "must be an object");
            serde_json::Map::new()
        }
    };
    for (name, value) in &compute_node.registry {
        if target.insert(name.clone(), value.clone()).is_some() {
            let message = "is set by the compute node and cannot be overwritten";
            invalid.add(at.key(name), ViolationCode::RegistryValue, message);
        }
    }
    Value::Object(target)
}

/// A parameter refers only to secrets that its tenant may refer to. What a shared version itself says of a parameter is said
/// by its owner, whose secrets it may name; not what a placeholder in it makes of that.
fn check_secrets(
    policy: &Policy,
    resolved: &Resolved,
    value: &Value,
    default: Option<&Value>,
    at: &At<'_>,
    invalid: &mut Invalid,
) {
    let said_by_version = default.map(secret::references).unwrap_or_default();
    for arn in secret::references(value) {
        let of_owner = resolved.owner.as_ref().filter(|_| said_by_version.contains(arn));
        let settings = of_owner.unwrap_or(&resolved.tenant);
        if !settings.admits_secret(arn, policy.unlisted) {
            invalid.add(at, ViolationCode::SecretNotAllowed, "refers to a secret that is not among this tenant's");
        }
    }
}

/// A node's parameters: run over instance over version default. Placeholders are filled in what the version and the
/// instance say, never in what this request says.
fn resolve_params(
    policy: &Policy,
    node: &Node,
    command: &Command,
    resolved: &Resolved,
    invalid: &mut Invalid,
) -> BTreeMap<String, Value> {
    let config = resolved.instance.content.processor_configs.get(&node.id);
    let (run, instance, document) = (Field::ProcessorParams.at(), Field::ProcessorConfigs.at(), Field::Document.at());
    let at_run = run.node(&node.id);
    let config_at = instance.node(&node.id);
    let at_instance = config_at.part(Part::Params);
    let nodes = document.part(Part::Nodes);
    let node_at = nodes.node(&node.id);
    let at_version = node_at.part(Part::Parameters);
    let from_run = command.processor_params.get(&node.id);
    let from_instance = config.map(|config| &config.params);
    let mut params = BTreeMap::new();
    for (name, parameter) in &node.parameters {
        let (at_run, at_instance, at_version) = (at_run.key(name), at_instance.key(name), at_version.key(name));
        let at_default = at_version.part(Part::Default);
        let (value, at) = if let Some(value) = from_run.and_then(|params| params.get(name)) {
            (Some(value.clone()), &at_run)
        } else {
            let (value, at) = match from_instance.and_then(|params| params.get(name)) {
                Some(value) => (Some(value), &at_instance),
                None => (parameter.default.as_ref(), &at_default),
            };
            let mut value = value.cloned();
            if let Some(value) = &mut value {
                command.variables.fill(value, at, invalid);
            }
            (value, at)
        };
        match value {
            Some(value) if parameter.parameter_type.admits(&value) => {
                let default = parameter.default.as_ref().filter(|_| std::ptr::eq(at, &at_default));
                check_secrets(policy, resolved, &value, default, at, invalid);
                params.insert(name.clone(), value);
            }
            Some(_) => {
                let message = format_args!("must be {}", parameter.parameter_type.as_str());
                invalid.add(at, ViolationCode::WrongType, message);
            }
            None if parameter.required => {
                let message = format_args!("node {} needs the parameter {name}", node.id);
                invalid.add(at_run, ViolationCode::MissingParameter, message);
            }
            None => {}
        }
    }
    for (given, at) in [(from_run, &at_run), (from_instance, &at_instance)] {
        for name in given.into_iter().flat_map(BTreeMap::keys).filter(|name| !node.parameters.contains_key(*name)) {
            let message = format_args!("node {} has no parameter {name}", node.id);
            invalid.add(at.key(name), ViolationCode::UnknownParameter, message);
        }
    }
    params
}
