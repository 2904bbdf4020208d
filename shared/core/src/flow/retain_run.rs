//! Keep a run, or let it go: its rule of retention, and its deletion.
//!
//! **Invariants:** a run that is to go is hidden from every read first, whatever the reader's clock says, and its items are
//! deleted then, the head last; nothing goes while somebody is still owed a delivery. A run that owes something is put off
//! until that may be over, so that those that can go never stand behind it.

use crate::caller::Caller;
use crate::change::RunChange;
use crate::flow::{Answer, Refusal, change_run, ended_only, find_run};
use crate::id::RunId;
use crate::place::Field;
use crate::ports::{ChangeRun, Changed, PurgeRuns, RunRef, StoreResult};
use crate::refusal::ConflictCode;
use crate::retention::RetentionChange;
use crate::run::Run;
use crate::violation::Invalid;
use jiff::{SignedDuration, Timestamp};

/// Changes the rule of a run, open or ended. A rule that has run out already lets it go at once.
///
/// # Errors
/// `NotFound`, `Invalid`.
pub async fn change_retention<S: ChangeRun>(
    store: &S,
    caller: &Caller,
    run_id: RunId,
    said: RetentionChange,
    now: Timestamp,
) -> Answer<Run> {
    let mut invalid = Invalid::default();
    said.of(None).check(&Field::Whole.at(), &mut invalid);
    invalid.into_result().map_err(Refusal::Invalid)?;
    change_run(store, caller, run_id, now, |run| {
        let retention = said.of(run.spec.retention);
        Ok((run.spec.retention != Some(retention)).then(|| run.kept_by(retention, now)))
    })
    .await
}

/// Deletes a run that has ended, with everything that belongs to it.
///
/// # Errors
/// `NotFound`; `Conflict` for a run that is open, whose end somebody has yet to be told, or of which a call is under way.
pub async fn delete_run<S: ChangeRun + PurgeRuns>(
    store: &S,
    caller: &Caller,
    run_id: RunId,
    now: Timestamp,
) -> Answer<()> {
    let run = find_run(store, caller, run_id, now).await?;
    ended_only(&run, "deleted")?;
    if store.owed_until(&caller.tenant, run_id).await.map_err(Refusal::Store)?.is_some() {
        let message = format_args!("run {run_id} has deliveries or calls that are not over");
        return Err(Refusal::conflict(ConflictCode::DeliveriesOpen, message));
    }
    // Hidden first: should this stop halfway, nobody sees half a run, and the sweep finishes it.
    change_run(store, caller, run_id, now, |run| Ok(run.let_go(now))).await?;
    // A delivery may have been asked for again in between: then the sweep waits for it.
    match store.owed_until(&caller.tenant, run_id).await.map_err(Refusal::Store)? {
        Some(_) => Ok(()),
        None => store.purge_run(&caller.tenant, run_id).await.map_err(Refusal::Store),
    }
}

/// What became of a run that looked as if its items were to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purged {
    /// They are deleted.
    Deleted,
    /// Somebody is owed a delivery, which may be over at any time now.
    Owed,
    /// Somebody is owed a delivery, and the run is looked at again when that may be over.
    PutOff,
    /// Its time is not over, or it was changed just now.
    Kept,
}

/// How long after the time for which a delivery is due it should have been tried, whoever is to try it.
const ATTEMPT: SignedDuration = SignedDuration::from_mins(1);
/// How long a run whose delivery is due waits for it among those that are looked at by every sweep.
const PATIENCE: SignedDuration = SignedDuration::from_mins(10);

/// Deletes the items of a run whose time is over, if nothing is owed.
///
/// # Errors
/// When the store fails. What is left is deleted by the next sweep.
pub async fn purge_expired<S: ChangeRun + PurgeRuns>(store: &S, run: &RunRef, now: Timestamp) -> StoreResult<Purged> {
    let RunRef { tenant_id, run_id } = run;
    let run = store.load_run(tenant_id, *run_id).await?;
    let Some(run) = run.filter(|run| !run.is_visible(now)) else { return Ok(Purged::Kept) };
    if let Some(until) = store.owed_until(tenant_id, *run_id).await? {
        return put_off(store, &run, until, now).await;
    }
    let (Some(ended), Some(hidden)) = (run.state.ended(), run.let_go(now)) else { return Ok(Purged::Kept) };
    if ended.due_at != Some(Run::LET_GO) {
        if store.change_run(&RunChange::new(&run, hidden)).await? != Changed::Done {
            return Ok(Purged::Kept); // its rule was changed just now
        }
        // A delivery may have been asked for again in between, by somebody whose clock is late.
        if store.owed_until(tenant_id, *run_id).await?.is_some() {
            return Ok(Purged::Owed);
        }
    }
    store.purge_run(tenant_id, *run_id).await?;
    Ok(Purged::Deleted)
}

/// Takes a run that owes something out of what every sweep looks at. Nothing that it owes can be over before it is due again;
/// and nobody can ask for it any more.
async fn put_off<S: ChangeRun>(store: &S, run: &Run, until: Timestamp, now: Timestamp) -> StoreResult<Purged> {
    let purge_at = run.state.ended().and_then(|ended| ended.purge_at()).unwrap_or(now);
    if until <= now && now.duration_since(purge_at) < PATIENCE {
        return Ok(Purged::Owed);
    }
    let Some(later) = run.put_off(until.max(now) + ATTEMPT, now) else { return Ok(Purged::Kept) };
    match store.change_run(&RunChange::new(run, later)).await? {
        Changed::Done => Ok(Purged::PutOff),
        Changed::Stale(_) | Changed::Full(_) => Ok(Purged::Kept),
    }
}
