//! Keep a run, or let it go: its rule of retention, and its deletion.
//!
//! **Invariants:** a run that is to go is hidden from every read first, whatever the reader's clock says, and its items are
//! deleted then, the head last; nothing goes while somebody is still owed a delivery.

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
use jiff::Timestamp;

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
/// `NotFound`; `Conflict` for a run that is open, or whose end somebody has yet to be told.
pub async fn delete_run<S: ChangeRun + PurgeRuns>(
    store: &S,
    caller: &Caller,
    run_id: RunId,
    now: Timestamp,
) -> Answer<()> {
    let run = find_run(store, caller, run_id, now).await?;
    ended_only(&run, "deleted")?;
    if store.owes_deliveries(&caller.tenant, run_id).await.map_err(Refusal::Store)? {
        let message = format_args!("run {run_id} has deliveries that have neither arrived nor been given up");
        return Err(Refusal::conflict(ConflictCode::DeliveriesOpen, message));
    }
    // Hidden first: should this stop halfway, nobody sees half a run, and the sweep finishes it.
    change_run(store, caller, run_id, now, |run| Ok(run.let_go(now))).await?;
    // A delivery may have been asked for again in between: then the sweep waits for it.
    match store.owes_deliveries(&caller.tenant, run_id).await.map_err(Refusal::Store)? {
        true => Ok(()),
        false => store.purge_run(&caller.tenant, run_id).await.map_err(Refusal::Store),
    }
}

/// Deletes the items of a run whose time is over. `false` when it is not, or when something is still owed.
///
/// # Errors
/// When the store fails. What is left is deleted by the next sweep.
pub async fn purge_expired<S: ChangeRun + PurgeRuns>(store: &S, run: &RunRef, now: Timestamp) -> StoreResult<bool> {
    let RunRef { tenant_id, run_id } = run;
    let run = store.load_run(tenant_id, *run_id).await?;
    let Some(run) = run.filter(|run| !run.is_visible(now)) else { return Ok(false) };
    let (Some(ended), Some(hidden)) = (run.state.ended(), run.let_go(now)) else { return Ok(false) };
    if ended.due_at != Some(Run::LET_GO) && store.change_run(&RunChange::new(&run, hidden)).await? != Changed::Done {
        return Ok(false); // its rule was changed just now
    }
    if store.owes_deliveries(tenant_id, *run_id).await? {
        return Ok(false);
    }
    store.purge_run(tenant_id, *run_id).await?;
    Ok(true)
}
