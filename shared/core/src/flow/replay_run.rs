//! Replay a run: a new run from the old one's frozen snapshot, whole or from a node.
//!
//! Decision (2026-11-22): a replay on another version repeats the first request (kept beside the snapshot), so that
//! its parameters, sources and variables are resolved anew.

use crate::caller::Caller;
use crate::catalog::{Found, InstanceKey};
use crate::definition::VersionRule;
use crate::flow::create_run::{
    self, Accepted, Fresh, Plan, Policy, Source, check_destination, check_name, ledger_of, record_and_start,
    resolve_and_plan, start_input,
};
use crate::flow::dispatch_runs::{definition_key, limits_among, limits_need};
use crate::flow::inquiry::inquire;
use crate::flow::spending::Spender;
use crate::flow::{Answer, Refusal, admission, allowance, ended_only, find_item, find_with, unknown};
use crate::id::{DefinitionRef, NodeId, RunId, UserId};
use crate::idempotency::IdempotencyClaim;
use crate::limits;
use crate::place::Field;
use crate::ports::{
    AnnounceDue, ChangeRun, CountOnMeter, Loaded, Part, ReadCatalog, ReadRuns, RecordRun, StartExecution, StoreError,
    StoreErrorClass,
};
use crate::refusal::{ConflictCode, Thing};
use crate::run::{About, Run, RunSpec};
use crate::snapshot::{RecordKeys, RequestParts, Snapshot, inline_result_bytes};
use crate::step::{Step, StepStatus};
use crate::violation::{Invalid, ViolationCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// What a caller asks for.
#[derive(Clone, Debug, Default)]
pub struct Command {
    /// Run this node and everything after it again; reuse the results of finished steps that do not depend on it.
    /// Absent: run everything again.
    pub from_node: Option<NodeId>,
    /// Run this version of the definition with what the first request said. Absent: the frozen snapshot.
    pub version: Option<VersionRule>,
    pub name: Option<String>,
    /// That of the repeated run, if none is named.
    pub user_id: Option<UserId>,
    pub idempotency: Option<IdempotencyClaim>,
}

/// Replays a run.
///
/// # Errors
/// `NotFound`; `Invalid`, where a place that a replay has no field for is one of the first request, which does not fit
/// the version that it is to be repeated on; `Conflict` for a run that is still open, or that is itself too deep a
/// replay; those of a create.
#[expect(clippy::too_many_arguments, reason = "ports and policy, who, what, and the new run's id and time")]
pub async fn replay_run<S, E>(
    store: &S,
    engine: &E,
    policy: &Policy,
    caller: &Caller,
    original: RunId,
    command: Command,
    fresh: Fresh,
    now: Timestamp,
) -> Answer<Accepted>
where
    S: ReadCatalog + ReadRuns + RecordRun + ChangeRun + CountOnMeter,
    E: StartExecution + AnnounceDue,
{
    let keys = store.record_keys(&caller.tenant, fresh.run_id);
    let planned = plan(store, policy, caller, original, &command, &keys, fresh, now).await;
    match planned.and_then(|plan| plan.prepare(&keys)) {
        Ok(prepared) => record_and_start(store, engine, prepared, command.idempotency, now).await,
        Err(refusal) => create_run::first_answer_or(store, caller, command.idempotency.as_ref(), refusal, now).await,
    }
}

#[expect(clippy::too_many_arguments, reason = "those of the flow")]
async fn plan<S>(
    store: &S,
    policy: &Policy,
    caller: &Caller,
    original: RunId,
    command: &Command,
    keys: &RecordKeys,
    fresh: Fresh,
    now: Timestamp,
) -> Answer<Plan>
where
    S: ReadCatalog + ReadRuns,
{
    let parts = &[Part::Snapshot, Part::Request];
    let Loaded { run: old, snapshot, request, .. } = find_with(store, caller, original, parts, now).await?;
    let snapshot = snapshot.ok_or_else(|| unknown(original))?;
    ended_only(&old, "replayed")?;
    if old.about.replay_depth >= limits::REPLAY_DEPTH {
        let message =
            format_args!("run {} is a replay of a replay, {} deep already", old.run_id, old.about.replay_depth);
        return Err(Refusal::conflict(ConflictCode::LoopingRisk, message));
    }
    let mut invalid = Invalid::default();
    check_name(command.name.as_deref(), &mut invalid);
    invalid.into_result().map_err(Refusal::Invalid)?;
    let user_id = command.user_id.clone().or_else(|| old.spec.user_id.clone());
    // What was in the plan already is not written a second time as a step's result.
    let values = command.from_node.as_ref().map(|_| snapshot.values()).unwrap_or_default();
    let (mut plan, admitted_by) = match command.version {
        None => {
            let (plan, found) = same_again(store, policy, &old, snapshot, request, caller, user_id, fresh, now).await?;
            (plan, Some(found))
        }
        Some(version) => {
            let Some(request) = request else {
                let message = "the run was made before its request was kept: replay it without a version";
                return Err(Refusal::Invalid(Invalid::one(Field::Version, ViolationCode::NotAvailable, message)));
            };
            let repeated = repeated_request(store, &old, snapshot, &request, version).await?;
            let repeated = create_run::Command { user_id, ..repeated };
            (resolve_and_plan(store, policy, caller, &repeated, fresh, now).await?, None)
        }
    };
    plan.about = About {
        name: command.name.clone().unwrap_or_else(|| old.about.name.clone()),
        replay_of: Some(old.run_id),
        replay_depth: old.about.replay_depth + 1,
        ..plan.about
    };
    if let Some(from) = &command.from_node {
        if !plan.snapshot.nodes.iter().any(|node| node.node_id == *from) {
            let message = format_args!("the run has no node {from}");
            return Err(Refusal::Invalid(Invalid::one(Field::FromNode, ViolationCode::UnknownNode, message)));
        }
        let inline = inline_result_bytes(
            plan.snapshot.nodes.len(),
            start_input(&plan.snapshot, keys).map_err(Refusal::Store)?.len(),
        );
        let steps = finished_steps(store, &old, values, inline).await?;
        reuse_finished(&mut plan.snapshot, old.run_id, from, steps, inline);
    }
    // What is only repeated runs nothing, so this comes last.
    if let Some(message) = admitted_by.and_then(|found| admission::withdrawn(&plan.snapshot, &found, policy.unlisted)) {
        return Err(not_available(message));
    }
    Ok(plan)
}

/// The frozen snapshot again, under today's limits, with what there is of what its runs need. What another tenant has shared
/// may be repeated as long as it shares it.
#[expect(clippy::too_many_arguments, reason = "what is repeated, for whom, and the new run's id and time")]
async fn same_again<S: ReadCatalog>(
    store: &S,
    policy: &Policy,
    old: &Run,
    snapshot: Snapshot,
    request_text: Option<String>,
    caller: &Caller,
    user_id: Option<UserId>,
    fresh: Fresh,
    now: Timestamp,
) -> Answer<(Plan, Found)> {
    let Fresh { run_id, grant } = fresh;
    let mut wanted = admission::needs(&snapshot);
    wanted.extend(limits_need(old));
    wanted.extend(allowance::needs(&caller.tenant, now));
    let (spender, node) = (Spender { tenant: &caller.tenant, user: user_id.as_ref() }, &snapshot.spec.compute_node);
    let inquired = inquire(store, |known| wanted.clone().and_all(spender.needs(node, known, now))).await?;
    let found = inquired.found;
    let spending = spender.spending(node, &found, now);
    let limits = policy.tenant_limits.with(found.settings(&caller.tenant).limits);
    let count = allowance::taken(&caller.tenant, &found, now).admit(limits, run_id, now)?;
    spending.admit(now)?;
    let definition = found.get(&definition_key(old));
    if old.spec.definition_owner.is_some() && !definition.is_some_and(|definition| definition.discoverable) {
        return Err(not_available("the definition of this run is no longer shared with other tenants"));
    }
    if let Some(callback) = &snapshot.callback {
        let mut invalid = Invalid::default();
        check_destination(policy, &found.settings(&old.tenant_id), &callback.url, &mut invalid);
        invalid.into_result().map_err(Refusal::Invalid)?;
    }
    let spec = RunSpec { user_id, created_by: caller.principal.0.clone(), created_at: now, ..old.spec.clone() };
    let governor = policy.governor_url.as_ref().map(|url| url.of_run(&caller.tenant, run_id, &grant));
    let snapshot = Snapshot { run_id, spec, governor, ..snapshot };
    let plan = Plan {
        limits: limits_among(&found, old),
        about: old.about.clone(),
        ledger: ledger_of(&snapshot, grant, &spending.rules),
        snapshot,
        request_text,
        new_instance: None,
        count,
    };
    Ok((plan, found))
}

fn not_available(message: impl std::fmt::Display) -> Refusal {
    Refusal::Invalid(Invalid::one(Field::Whole, ViolationCode::NotAvailable, message))
}

/// The request that made `old`, for another version.
async fn repeated_request<S: ReadCatalog>(
    store: &S,
    old: &Run,
    snapshot: Snapshot,
    request: &str,
    version: VersionRule,
) -> Answer<create_run::Command> {
    let request: RequestParts<'static> = serde_json::from_str(request)
        .map_err(|error| Refusal::Store(StoreError::new("read a run's request", StoreErrorClass::Corrupt, error)))?;
    let key = InstanceKey { tenant: old.tenant_id.clone(), id: old.spec.instance_id };
    let instance = find_item(store, &key).await?;
    let instance = instance.ok_or_else(|| Refusal::not_found(Thing::WorkflowInstance, old.spec.instance_id))?;
    let source = Source::Configuration {
        definition: DefinitionRef::Id(old.spec.definition_id),
        version,
        compute_node: Some(old.spec.compute_node.clone()),
        processor_configs: instance.content.processor_configs.clone(),
    };
    Ok(create_run::Command {
        input: snapshot.input,
        data_sources: request.data_sources.into_owned(),
        data_targets: request.data_targets.into_owned(),
        processor_params: request.processor_params.into_owned(),
        tags: request.tags.into_owned(),
        variables: request.variables.into_owned(),
        layers: snapshot.layers,
        labels: old.about.labels.clone(),
        execution_budget: Ok(old.spec.execution_budget_micro_usd),
        max_run_duration_seconds: old.spec.max_run_duration_seconds,
        callback: snapshot.callback,
        retention: old.spec.retention,
        start: request.start.map(Cow::into_owned),
        evaluation_of: old.about.evaluation_of,
        ..create_run::Command::new(source)
    })
}

/// Steps that have a result, with those results that travel inline. `values` are those that were in the run's plan.
async fn finished_steps<S: ReadRuns>(
    store: &S,
    run: &Run,
    mut values: BTreeMap<NodeId, String>,
    inline: usize,
) -> Answer<Vec<Step>> {
    let steps = store.list_steps(&run.tenant_id, run.run_id).await.map_err(Refusal::Store)?;
    let steps = steps.into_iter().map(|step| step.as_seen_in(run));
    let mut steps: Vec<Step> = steps.filter(|step| step.status == StepStatus::Succeeded).collect();
    // A large result is only referred to: no need to read it.
    let is_small = |step: &&Step| step.result_bytes.is_none_or(|bytes| bytes <= inline as u64);
    let small: Vec<NodeId> = steps.iter().filter(is_small).map(|step| step.node_id.clone()).collect();
    if small.is_empty() {
        return Ok(steps);
    }
    let mut results = store.load_results(&run.tenant_id, run.run_id, &small).await.map_err(Refusal::Store)?;
    for step in steps.iter_mut().filter(|step| small.contains(&step.node_id)) {
        step.result = results.remove(&step.node_id).or_else(|| values.remove(&step.node_id));
    }
    Ok(steps)
}

/// Turns every finished node that does not depend on `from` into its result.
fn reuse_finished(snapshot: &mut Snapshot, original: RunId, from: &NodeId, steps: Vec<Step>, inline: usize) {
    let mut again = BTreeSet::from([from.clone()]);
    for stage in &snapshot.stages {
        for node_id in stage {
            let depends = snapshot.edges.iter().any(|edge| edge.to == *node_id && again.contains(&edge.from));
            if depends {
                again.insert(node_id.clone());
            }
        }
    }
    let mut finished: BTreeMap<NodeId, Step> = steps
        .into_iter()
        .filter(|step| step.status == StepStatus::Succeeded && !again.contains(&step.node_id))
        .map(|step| (step.node_id.clone(), step))
        .collect();
    for node in &mut snapshot.nodes {
        // Where the first run started behind or beside a node, this one may not.
        node.left_out &= !again.contains(&node.node_id);
        let Some(step) = finished.remove(&node.node_id) else { continue };
        let inline_value = step.result.as_deref().filter(|text| text.len() <= inline);
        // What cannot be read is referred to as it is, and not taken for nothing.
        let inline_value = inline_value.and_then(|text| serde_json::from_str(text).ok());
        let bytes = step.result_bytes.or(step.result.map(|text| text.len() as u64));
        let result = match (inline_value, bytes) {
            (Some(value), _) => value,
            (None, None) => Value::Null,
            (None, Some(bytes)) => {
                let href = format!("/v1/workflow-runs/{original}/steps/{}", node.node_id);
                json!({"resultRef": {"runId": original, "nodeId": node.node_id, "href": href, "bytes": bytes}})
            }
        };
        node.settle(result);
        node.reused_from = Some(original);
    }
}
