//! Dispatch queued runs: in the order of their creation, as slots come free.
//!
//! **Invariants:** a run leaves its queue, takes its slots and becomes `PENDING` in one transaction; it waits before the
//! limit that holds it up, so a free slot of one limit is never kept by a run that another one holds up; it is started only
//! if its tenant may still use what it was planned with.

use crate::catalog::{DefinitionKey, Found, SettingsKey, Wanted};
use crate::change::RunChange;
use crate::concurrency::{Limit, QueueRef, limits_of};
use crate::flow::create_run::{Start, refuse, start, start_input};
use crate::flow::{TRIES, admission};
use crate::id::RunId;
use crate::lifecycle::{RunEvent, RunStatus};
use crate::ports::{
    AnnounceDue, ChangeRun, Changed, ReadCatalog, ReadQueue, RecordRun, StartExecution, StoreError, StoreErrorClass,
    StoreResult,
};
use crate::run::{Run, RunState};
use jiff::Timestamp;

/// Runs that one look at a queue moves on at most; the next look goes on.
const MOST: u32 = 25;

/// What one look at a queue did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dispatched {
    /// Runs that took a slot and were started.
    pub started: u32,
    /// Runs that took a slot, and whose start is left to the reconciler.
    pub start_delayed: u32,
    /// How those ended that took a slot and could not be started: the engine refused it for good, or what they were planned
    /// with was withdrawn.
    pub ended: Vec<RunStatus>,
    /// Runs that went on to wait before another limit.
    pub moved: u32,
}

/// Starts the runs that have waited longest in a queue, as many as there are slots.
///
/// # Errors
/// When the store fails. What was dispatched by then is recorded, and started by the reconciler.
pub async fn dispatch_runs<S, E>(store: &S, engine: &E, queue: &QueueRef, now: Timestamp) -> StoreResult<Dispatched>
where
    S: ReadQueue + ReadCatalog + RecordRun + ChangeRun,
    E: StartExecution + AnnounceDue,
{
    let mut done = Dispatched::default();
    for run_id in store.queued_runs(queue, MOST).await? {
        match dispatch_run(store, queue, run_id, now).await? {
            Outcome::Gone => {}
            Outcome::Full => break,
            Outcome::Moved => done.moved += 1,
            Outcome::Dispatched(run) => {
                let (start, is_tried) = start_dispatched(store, engine, &run, now).await?;
                done.started += u32::from(is_tried && !start.delayed && start.ended.is_none());
                done.start_delayed += u32::from(start.delayed);
                done.ended.extend(start.ended);
            }
        }
    }
    Ok(done)
}

enum Outcome {
    Dispatched(Box<Run>),
    /// It waits before another limit now.
    Moved,
    /// The limit of this very queue has no slot.
    Full,
    /// It does not wait here any more.
    Gone,
}

async fn dispatch_run<S>(store: &S, queue: &QueueRef, run_id: RunId, now: Timestamp) -> StoreResult<Outcome>
where
    S: ReadCatalog + ChangeRun,
{
    let Some(mut run) = store.load_run(&queue.tenant_id, run_id).await? else { return Ok(Outcome::Gone) };
    for _ in 0..TRIES {
        if run.state.queue() != Some(queue.scope()) {
            return Ok(Outcome::Gone);
        }
        let limits = current_limits(store, &run).await?;
        let Some(mut after) = run.after(RunEvent::Dispatched, now) else { return Ok(Outcome::Gone) };
        after.slots = limits.iter().map(|limit| limit.scope).collect();
        let mut change = RunChange::new(&run, after);
        change.slots.taken.clone_from(&limits);
        let full = match store.change_run(&change).await? {
            Changed::Done => return Ok(Outcome::Dispatched(Box::new(change.run))),
            Changed::Stale(None) => return Ok(Outcome::Gone),
            Changed::Stale(Some(current)) => {
                run = *current;
                continue;
            }
            Changed::Full(scopes) => scopes,
        };
        if full.contains(&queue.scope()) {
            return Ok(Outcome::Full);
        }
        // Another limit holds it up: it waits there from now on, in the place that its age gives it.
        let Some(other) = full.first() else { return Ok(Outcome::Gone) };
        let waiting = run.in_state(RunState::Queued { queue: *other }, now);
        match store.change_run(&RunChange::new(&run, waiting)).await? {
            Changed::Done => return Ok(Outcome::Moved),
            Changed::Stale(Some(current)) => run = *current,
            Changed::Stale(None) | Changed::Full(_) => return Ok(Outcome::Gone),
        }
    }
    Err(StoreError { operation: "change a run that keeps changing", class: StoreErrorClass::Conflict, source: None })
}

/// The limits as they are now: those of the time of the request may have been changed since.
async fn current_limits<S: ReadCatalog>(store: &S, run: &Run) -> StoreResult<Vec<Limit>> {
    Ok(limits_among(&store.read_catalog(&limits_need(run)).await?, run))
}

/// What says the limits of a run.
pub(super) fn limits_need(run: &Run) -> Wanted {
    Wanted::one(definition_key(run)).and(SettingsKey(run.tenant_id.clone()))
}

/// The limits of a run. `found` is what there is of what they [need](limits_need).
pub(super) fn limits_among(found: &Found, run: &Run) -> Vec<Limit> {
    let definition = found.get(&definition_key(run)).and_then(|definition| definition.concurrency);
    limits_of(definition, found.settings(&run.tenant_id).concurrency)
}

/// The run's definition, whoever owns it.
pub(super) fn definition_key(run: &Run) -> DefinitionKey {
    let owner = run.spec.definition_owner.as_ref().unwrap_or(&run.tenant_id);
    DefinitionKey { tenant: owner.clone(), id: run.spec.definition_id }
}

/// Starts a run that has taken its slots, if its tenant may still use what it was planned with: that may have been changed
/// while it waited. Also says whether the start was tried at all.
async fn start_dispatched<S, E>(store: &S, engine: &E, run: &Run, now: Timestamp) -> StoreResult<(Start, bool)>
where
    S: ReadCatalog + RecordRun + ChangeRun,
    E: StartExecution + AnnounceDue,
{
    let snapshot = store.load_snapshot(&run.tenant_id, run.run_id).await?.ok_or_else(|| {
        StoreError::new("find the snapshot of a run", StoreErrorClass::Corrupt, run.run_id.to_string())
    })?;
    if let Some(error) = admission::refuse_start(store, &snapshot).await? {
        return Ok((refuse(store, engine, run, error, now).await, false));
    }
    let input = start_input(&snapshot, &store.record_keys(&run.tenant_id, run.run_id))?;
    Ok((start(store, engine, run, &input, now).await, true))
}
