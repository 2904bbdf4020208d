//! Create a run: plan it purely, record it, then start it.
//!
//! **Invariants:** the record exists before the execution; a refused request wrote nothing and used up no key; warm,
//! this is one transaction and one start.

mod plan;
mod resolve;

pub(crate) use plan::check_name;
pub use plan::{Plan, plan, start_input};
pub use resolve::Resolved;

use crate::budget::MicroUsd;
use crate::callback::Destinations;
use crate::caller::Caller;
use crate::definition::VersionRule;
use crate::flow::settle_run;
use crate::flow::{Answer, Refusal};
use crate::id::{ComputeNodeKey, DefinitionRef, InstanceId, LayerName, NodeId, RunId, Tag};
use crate::idempotency::{IdempotencyClaim, IdempotencyRecord};
use crate::instance::ProcessorConfig;
use crate::lifecycle::RunEvent;
use crate::ports::{
    AnnounceDue, ChangeRun, NewRun, ReadCatalog, RecordRun, Recorded, SaveInstance, StartExecution, StartOutcome,
    StartRequest,
};
use crate::run::{EndDetails, Run, RunError};
use crate::snapshot::Callback;
use crate::template::Variables;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// A request for a run, whichever way in it came.
#[derive(Clone, Debug)]
pub struct Command {
    pub source: Source,
    pub name: Option<String>,
    /// As the caller wrote it.
    pub input: Option<Box<RawValue>>,
    pub data_sources: BTreeMap<NodeId, Value>,
    pub data_targets: BTreeMap<NodeId, Value>,
    pub processor_params: BTreeMap<NodeId, BTreeMap<String, Value>>,
    pub tags: BTreeMap<NodeId, Tag>,
    pub layers: Vec<LayerName>,
    pub labels: BTreeMap<String, String>,
    pub variables: Variables,
    /// The number as the caller wrote it. Absent or 0: no cap.
    pub execution_budget_usd: Option<String>,
    pub max_run_duration_seconds: Option<u64>,
    pub callback: Option<Callback>,
    pub idempotency: Option<IdempotencyClaim>,
}

impl Command {
    /// A command with nothing but its source.
    pub fn new(source: Source) -> Self {
        Self {
            source,
            name: None,
            input: None,
            data_sources: BTreeMap::new(),
            data_targets: BTreeMap::new(),
            processor_params: BTreeMap::new(),
            tags: BTreeMap::new(),
            layers: Vec::new(),
            labels: BTreeMap::new(),
            variables: Variables::default(),
            execution_budget_usd: None,
            max_run_duration_seconds: None,
            callback: None,
            idempotency: None,
        }
    }
}

/// What to run.
#[derive(Clone, Debug)]
pub enum Source {
    Instance(InstanceId),
    /// Find or create the instance.
    Configuration {
        definition: DefinitionRef,
        version: VersionRule,
        compute_node: Option<ComputeNodeKey>,
        processor_configs: BTreeMap<NodeId, ProcessorConfig>,
        /// Where the definition was named, for refusals: a JSON pointer, or `path:definition`.
        named_at: &'static str,
        version_at: &'static str,
    },
}

/// The compute node of a configuration that names none.
pub const DEFAULT_COMPUTE_NODE: &str = "default";

/// What the deployment allows.
#[derive(Clone, Debug)]
pub struct Policy {
    pub destinations: Destinations,
    pub max_budget: MicroUsd,
}

/// The answer to an accepted request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The run as it was recorded; on a replay, as the first request recorded it.
    pub run: Run,
    pub replayed: bool,
    /// Set when the start has to wait for the reconciler.
    pub start_delayed: bool,
}

/// Creates and starts a run.
///
/// # Errors
/// A [`Refusal`]; unless it is [`Refusal::Store`], nothing was written.
pub async fn create_run<S, E>(
    store: &S,
    engine: &E,
    policy: &Policy,
    caller: &Caller,
    command: Command,
    run_id: RunId,
    now: Timestamp,
) -> Answer<Accepted>
where
    S: ReadCatalog + SaveInstance + RecordRun + ChangeRun,
    E: StartExecution + AnnounceDue,
{
    let keys = store.record_keys(&caller.tenant, run_id);
    let planned = match resolve::resolve(store, caller, &command.source, now).await {
        Ok(resolved) => plan(policy, caller, &command, &resolved, &keys, run_id, now).map(|plan| (resolved, plan)),
        Err(refusal) => Err(refusal),
    };
    let (resolved, plan) = match planned {
        Ok(planned) => planned,
        Err(refusal) => return first_answer_or(store, caller, &command, refusal, now).await,
    };
    if resolved.instance_is_new {
        store.save_instance(&resolved.instance).await.map_err(Refusal::Store)?;
    }
    let Plan { run, snapshot_text, start_input } = plan;
    let idempotency = command.idempotency.map(|claim| {
        let record = IdempotencyRecord::first(&claim, &run, now);
        (claim, record)
    });
    record_and_start(store, engine, run, snapshot_text, idempotency, &start_input, now).await
}

/// Records a planned run and starts it, or answers with the first run of its key.
///
/// # Errors
/// [`Refusal::KeyReused`], [`Refusal::Store`].
pub(super) async fn record_and_start<S, E>(
    store: &S,
    engine: &E,
    run: Run,
    snapshot_text: String,
    idempotency: Option<(IdempotencyClaim, IdempotencyRecord)>,
    start_input: &str,
    now: Timestamp,
) -> Answer<Accepted>
where
    S: RecordRun + ChangeRun,
    E: StartExecution + AnnounceDue,
{
    let new_run = NewRun { run, snapshot_text, idempotency };
    match store.record_run(&new_run).await.map_err(Refusal::Store)? {
        Recorded::Created => {}
        Recorded::KeyTaken(first) => return replay(new_run.idempotency.as_ref().map(|(claim, _)| claim), *first),
    }
    let run = new_run.run;
    let request = StartRequest { state_machine_arn: &run.state_machine_arn, run_id: run.run_id, input: start_input };
    let start_delayed = match engine.start_execution(&request).await {
        Ok(StartOutcome::Started) => false,
        Ok(StartOutcome::Refused { code, message }) => {
            // The run is recorded, so it has to end; if this write fails too, the reconciler meets the same refusal.
            let error = RunError::new(&code, &message, RunError::FULL_MESSAGE_CHARS);
            let details = EndDetails { error: Some(error), ..EndDetails::default() };
            let settled = settle_run::settle(store, run.clone(), RunEvent::StartRefused, &details, now).await;
            if let Ok(Some(settlement)) = settled {
                settle_run::announce(engine, &settlement).await;
            }
            false
        }
        Err(_unanswered) => true,
    };
    Ok(Accepted { run, replayed: false, start_delayed })
}

/// A refused request may be the repetition of one that was accepted when the world was different.
async fn first_answer_or<S: RecordRun>(
    store: &S,
    caller: &Caller,
    command: &Command,
    refusal: Refusal,
    now: Timestamp,
) -> Answer<Accepted> {
    let Some(claim) = &command.idempotency else {
        return Err(refusal);
    };
    match store.first_with_key(&caller.tenant, claim, now).await.map_err(Refusal::Store)? {
        Some(first) => replay(Some(claim), first),
        None => Err(refusal),
    }
}

fn replay(claim: Option<&IdempotencyClaim>, first: IdempotencyRecord) -> Answer<Accepted> {
    match claim {
        Some(claim) if first.is_repeated_by(claim) => {
            Ok(Accepted { run: first.run, replayed: true, start_delayed: false })
        }
        Some(_) | None => Err(Refusal::KeyReused { run_id: first.run.run_id }),
    }
}
