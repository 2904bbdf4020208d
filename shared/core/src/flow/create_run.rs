//! Create a run: plan it purely, record it, then start it.
//!
//! **Invariants:** the record exists before the execution; a refused request wrote nothing and used up no key; what admits a
//! run was read for this very request; a run that finds its limits reached is refused or queued in one transaction too.
//!
//! This is three calls in sequence: one read of everything that can change, one transaction, one start (and beside it, for
//! about a hundred runs of a tenant in a minute, one count). A process that does
//! not know the definition, or remembers it otherwise than it is now, reads once more.
//!
//! Decision (2026-11-22): the answer to a create is the run as recorded (`PENDING`), also when the start is refused
//! at once: the end comes by webhook and by reading, and a replay of the request gives the same bytes.
//!
//! Decision (2026-11-27): a run that is recorded is accepted, whatever becomes of its start: the sweep starts it. Only where
//! the store does not say whether it recorded the run is the answer [`Refusal::Unanswered`], which names it.

mod command;
mod course;
mod plan;
mod resolve;

pub use command::{Command, DEFAULT_COMPUTE_NODE, Fresh, Policy, Source};
pub use plan::{Plan, PreparedRun, plan, start_input};
pub(crate) use plan::{check_destination, check_duration, check_name, ledger_of};
use resolve::Resolution;
pub use resolve::Resolved;

use crate::caller::Caller;
use crate::change::NewRun;
use crate::concurrency::{Admission, Limit, OnLimit};

use crate::flow::{Answer, Refusal, TRIES, allowance, keeps_changing, transition_run};
use crate::idempotency::{IdempotencyClaim, IdempotencyRecord};
use crate::lifecycle::{RunEvent, RunStatus};
use crate::place::Field;
use crate::ports::{
    AnnounceDue, ChangeRun, CountOnMeter, LoadRun, ReadCatalog, RecordRun, Recorded, StartExecution, StartOutcome,
    StartRequest,
};
use crate::refusal::Thing;
use crate::run::{EndDetails, Run, RunError, RunState};
use crate::together::both;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The answer to an accepted request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The run as it was recorded; on a replay, as the first request recorded it.
    pub run: Run,
    pub replayed: bool,
    /// Set when the start has to wait for the reconciler.
    pub start_delayed: bool,
    /// Set when the engine refused the start for good: the run has ended so.
    pub ended: Option<RunStatus>,
}

/// Creates and starts a run.
///
/// # Errors
/// A [`Refusal`]; unless it is [`Refusal::Unanswered`], no run was recorded.
pub async fn create_run<S, E>(
    store: &S,
    engine: &E,
    policy: &Policy,
    caller: &Caller,
    command: Command,
    fresh: Fresh,
    now: Timestamp,
) -> Answer<Accepted>
where
    S: ReadCatalog + RecordRun + ChangeRun + CountOnMeter,
    E: StartExecution + AnnounceDue,
{
    let resolved = match &command.idempotency {
        None => Box::new(resolve::resolve(store, caller, &command, now).await?),
        Some(claim) => match resolve::resolve_keyed(store, caller, &command, claim, now).await? {
            Resolution::New(resolved) => resolved,
            Resolution::Repeated(first) => return replay(store, Some(claim), Arc::unwrap_or_clone(first), now).await,
        },
    };
    let run_id = fresh.run_id;
    let plan = plan_evaluating(store, policy, caller, &command, &resolved, fresh, now).await?;
    let prepared = plan.prepare(&store.record_keys(&caller.tenant, run_id))?;
    record_and_start(store, engine, prepared, command.idempotency, now).await
}

/// [`create_run`] up to its plan, for a command without an idempotency key.
pub(super) async fn resolve_and_plan<S>(
    store: &S,
    policy: &Policy,
    caller: &Caller,
    command: &Command,
    fresh: Fresh,
    now: Timestamp,
) -> Answer<Plan>
where
    S: ReadCatalog + LoadRun,
{
    let resolved = resolve::resolve(store, caller, command, now).await?;
    plan_evaluating(store, policy, caller, command, &resolved, fresh, now).await
}

/// A plan, if the run that it is to evaluate is there.
async fn plan_evaluating<S: LoadRun>(
    store: &S,
    policy: &Policy,
    caller: &Caller,
    command: &Command,
    resolved: &Resolved,
    fresh: Fresh,
    now: Timestamp,
) -> Answer<Plan> {
    if let Some(evaluated) = command.evaluation_of {
        let found = store.load_run(&caller.tenant, evaluated).await.map_err(Refusal::Store)?;
        if !found.is_some_and(|run| run.is_visible(now)) {
            return Err(resolve::unknown(Field::EvaluationOf, Thing::WorkflowRun, evaluated));
        }
    }
    plan(policy, caller, command, resolved, fresh, now)
}

/// Records a prepared run and starts it, or answers with the first run of its key.
///
/// # Errors
/// [`Refusal::KeyReused`], [`Refusal::RunExpired`], [`Refusal::TooManyRuns`], [`Refusal::QueueFull`],
/// [`Refusal::Unanswered`], [`Refusal::Store`].
pub(super) async fn record_and_start<S, E>(
    store: &S,
    engine: &E,
    prepared: PreparedRun,
    claim: Option<IdempotencyClaim>,
    now: Timestamp,
) -> Answer<Accepted>
where
    S: RecordRun + ChangeRun + CountOnMeter,
    E: StartExecution + AnnounceDue,
{
    let PreparedRun { run, snapshot_text, ending_text, request_text, ledger, start_input, .. } = prepared;
    let PreparedRun { limits, new_instance, count, .. } = prepared;
    let mut new = NewRun {
        run,
        snapshot_text,
        ending_text,
        request_text,
        ledger,
        admission: Admission::Slots(Vec::new()),
        instance: new_instance,
        idempotency: None,
    };
    let mut full = None;
    for _ in 0..TRIES {
        admit(&mut new, &limits, full, claim.as_ref(), now);
        let recorded = store.record_run(&new).await;
        match recorded.map_err(|error| Refusal::unrecorded(new.run.run_id, error))? {
            Recorded::Created => {
                let start = async {
                    if new.run.status() == RunStatus::Queued {
                        Start::default()
                    } else {
                        start(store, engine, &new.run, &start_input, now).await
                    }
                };
                let (start, ()) = both(start, allowance::count(store, count.as_ref())).await;
                let Start { delayed: start_delayed, ended } = start;
                return Ok(Accepted { run: new.run, replayed: false, start_delayed, ended });
            }
            Recorded::KeyTaken(first) => return replay(store, claim.as_ref(), *first, now).await,
            Recorded::QueueFull => return Err(Refusal::QueueFull),
            // A slot came free, or was taken, in between: try the other way.
            Recorded::NotFull => full = None,
            Recorded::Full(scopes) => {
                let reached: Vec<Limit> =
                    limits.iter().filter(|limit| scopes.contains(&limit.scope)).copied().collect();
                if let Some(limit) = reached.iter().find(|limit| limit.concurrency.on_limit == OnLimit::Reject) {
                    let most = limit.concurrency.max_concurrent_runs;
                    return Err(Refusal::TooManyRuns { scope: limit.scope, limit: most });
                }
                full = reached.first().copied();
            }
        }
    }
    Err(keeps_changing())
}

/// Gives the run its way in: to a slot of each limit, or into the queue before the one that was found full.
fn admit(new: &mut NewRun, limits: &[Limit], full: Option<Limit>, claim: Option<&IdempotencyClaim>, now: Timestamp) {
    let run = &mut new.run;
    (run.state, run.slots) = match full {
        None => (RunState::pending(), limits.iter().map(|limit| limit.scope).collect()),
        Some(limit) => (RunState::Queued { queue: limit.scope }, BTreeSet::new()),
    };
    new.admission = match full {
        None => Admission::Slots(limits.to_vec()),
        Some(limit) => Admission::Queue(limit),
    };
    new.idempotency = claim.map(|claim| (claim.clone(), IdempotencyRecord::first(claim, run, now)));
}

/// What became of a start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Start {
    /// Nobody knows whether it had its effect: the reconciler starts the run again.
    pub delayed: bool,
    /// How the run ended, because the engine refused it for good.
    pub ended: Option<RunStatus>,
}

/// Starts a recorded run.
pub(super) async fn start<S, E>(store: &S, engine: &E, run: &Run, input: &str, now: Timestamp) -> Start
where
    S: ChangeRun,
    E: StartExecution + AnnounceDue,
{
    let delayed = Start { delayed: true, ended: None };
    let request = StartRequest { state_machine_arn: &run.spec.state_machine_arn, run_id: run.run_id, input };
    let (code, message) = match engine.start_execution(&request).await {
        Ok(StartOutcome::Started) => return Start::default(),
        Ok(StartOutcome::Refused { code, message }) => (code, message),
        Err(_unanswered) => return delayed,
    };
    refuse(store, engine, run, RunError::new(&code, &message, RunError::FULL_MESSAGE_CHARS), now).await
}

/// Ends a recorded run that cannot be started. If this write fails too, the reconciler meets the same refusal.
pub(super) async fn refuse<S, E>(store: &S, engine: &E, run: &Run, error: RunError, now: Timestamp) -> Start
where
    S: ChangeRun,
    E: AnnounceDue,
{
    let details = EndDetails { error: Some(error), ..EndDetails::default() };
    match transition_run::transition(store, run.clone(), RunEvent::StartRefused, &details, now).await {
        Ok(Some(transition)) => {
            transition_run::announce(engine, &transition).await;
            Start { delayed: false, ended: Some(transition.after.status()) }
        }
        Ok(None) => Start::default(),
        Err(_unsettled) => Start { delayed: true, ended: None },
    }
}

/// A refused request may be the repetition of one that was accepted when the world was different.
pub(super) async fn first_answer_or<S: RecordRun + LoadRun>(
    store: &S,
    caller: &Caller,
    claim: Option<&IdempotencyClaim>,
    refusal: Refusal,
    now: Timestamp,
) -> Answer<Accepted> {
    let Some(claim) = claim else {
        return Err(refusal);
    };
    match store.first_with_key(&caller.tenant, claim, now).await.map_err(Refusal::Store)? {
        Some(first) => replay(store, Some(claim), first, now).await,
        None => Err(refusal),
    }
}

async fn replay<S: LoadRun>(
    store: &S,
    claim: Option<&IdempotencyClaim>,
    first: IdempotencyRecord,
    now: Timestamp,
) -> Answer<Accepted> {
    let run_id = first.run.run_id;
    if !claim.is_some_and(|claim| first.is_repeated_by(claim)) {
        return Err(Refusal::KeyReused { run_id });
    }
    // The answer is the first one; but a run that is gone cannot be told of as if it were there.
    let current = store.load_run(&first.run.tenant_id, run_id).await.map_err(Refusal::Store)?;
    if !current.is_some_and(|run| run.is_visible(now)) {
        return Err(Refusal::RunExpired { run_id });
    }
    Ok(Accepted { run: first.run, replayed: true, start_delayed: false, ended: None })
}
