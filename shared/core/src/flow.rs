//! The verbs, one file each: what a caller or an event asks for, decided purely, then carried out through the ports.

mod admission;
pub mod advance_run;
mod allowance;
pub mod cancel_run;
pub mod control_run;
mod count_report;
pub mod create_run;
pub mod deliver;
pub mod dispatch_runs;
pub mod govern_call;
mod inquiry;
pub mod manage_definitions;
pub mod manage_keys;
pub mod manage_models;
pub mod manage_operator;
pub mod read_budgets;
pub mod read_runs;
pub mod reconcile_runs;
pub mod record_usage;
pub mod replay_run;
pub mod report_run;
pub mod retain_run;
mod spending;
pub mod sweep_ledgers;
pub mod transition_run;
mod used;
pub mod waiting;

pub use crate::refusal::{Answer, Refusal};

use crate::caller::Caller;
use crate::catalog::CatalogKey;
use crate::change::RunChange;
use crate::id::RunId;
use crate::ports::{ChangeRun, Changed, LoadRun, Loaded, Part, ReadCatalog, StoreError, StoreErrorClass, StoreResult};
use crate::refusal::{ConflictCode, Thing};
use crate::run::Run;
use crate::together::both;
use jiff::Timestamp;
use std::future::Future;
use std::sync::Arc;

/// Times a change is tried against a run that others change as well.
pub(crate) const TRIES: u32 = 8;

/// A run of the caller's tenant. One whose time of being kept is over is gone.
///
/// # Errors
/// [`Refusal::NotFound`], [`Refusal::Store`].
pub async fn find_run<S: LoadRun>(store: &S, caller: &Caller, run_id: RunId, now: Timestamp) -> Answer<Run> {
    let run = store.load_run(&caller.tenant, run_id).await.map_err(Refusal::Store)?;
    run.filter(|run| run.is_visible(now)).ok_or_else(|| unknown(run_id))
}

/// [`find_run`] with what lies beside it, in one round trip.
///
/// # Errors
/// Those of [`find_run`].
pub(crate) async fn find_with<S: LoadRun>(
    store: &S,
    caller: &Caller,
    run_id: RunId,
    parts: &[Part<'_>],
    now: Timestamp,
) -> Answer<Loaded> {
    let found = store.load_with(&caller.tenant, run_id, parts).await.map_err(Refusal::Store)?;
    found.filter(|found| found.run.is_visible(now)).ok_or_else(|| unknown(run_id))
}

/// Something that lies beside a run, read at the same time as the run itself: it is not there for whoever may not see the run.
///
/// # Errors
/// Those of [`find_run`], before those of the read.
pub async fn find_beside<S: LoadRun, T>(
    store: &S,
    caller: &Caller,
    run_id: RunId,
    now: Timestamp,
    read: impl Future<Output = StoreResult<T>> + Send,
) -> Answer<(Run, T)> {
    let (run, read) = both(find_run(store, caller, run_id, now), read).await;
    Ok((run?, read.map_err(Refusal::Store)?))
}

/// One thing of the catalog.
pub(crate) async fn find_item<S: ReadCatalog, K: CatalogKey>(store: &S, key: &K) -> Answer<Option<Arc<K::Item>>> {
    store.get(key).await.map_err(Refusal::Store)
}

/// Makes a change that `decide` makes of the run as it is, or none.
pub(crate) async fn change_run<S: ChangeRun>(
    store: &S,
    caller: &Caller,
    run_id: RunId,
    now: Timestamp,
    decide: impl Fn(&Run) -> Answer<Option<Run>> + Send,
) -> Answer<Run> {
    let run = find_run(store, caller, run_id, now).await?;
    change_found(store, run, now, decide).await
}

/// [`change_run`] of a run that was read just now.
pub(crate) async fn change_found<S: ChangeRun>(
    store: &S,
    mut run: Run,
    now: Timestamp,
    decide: impl Fn(&Run) -> Answer<Option<Run>> + Send,
) -> Answer<Run> {
    let run_id = run.run_id;
    for _ in 0..TRIES {
        let Some(after) = decide(&run)? else { return Ok(run) };
        let change = RunChange::new(&run, after);
        match store.change_run(&change).await.map_err(Refusal::Store)? {
            Changed::Done => return Ok(change.run),
            Changed::Stale(Some(current)) if current.is_visible(now) => run = *current,
            Changed::Stale(_) | Changed::Full(_) => return Err(unknown(run_id)),
        }
    }
    Err(keeps_changing())
}

pub(crate) fn unknown(run_id: RunId) -> Refusal {
    Refusal::not_found(Thing::WorkflowRun, run_id)
}

pub(crate) fn conflict(run: &Run, what: &str) -> Refusal {
    let code = if run.status().is_terminal() { ConflictCode::RunEnded } else { ConflictCode::WrongStatus };
    Refusal::conflict(code, format_args!("run {} is {} and {what}", run.run_id, run.status().as_str()))
}

/// Refuses what can only be done to a run that has ended.
pub(crate) fn ended_only(run: &Run, what: &str) -> Answer<()> {
    if run.status().is_terminal() {
        return Ok(());
    }
    let message = format!("run {} is {}: only a run that has ended can be {what}", run.run_id, run.status().as_str());
    Err(Refusal::conflict(ConflictCode::RunOpen, message))
}

pub(crate) fn keeps_changing() -> Refusal {
    contended("change a run that keeps changing")
}

/// Others were faster, again and again. Nothing was written.
pub(crate) fn contended(operation: &'static str) -> Refusal {
    Refusal::Store(StoreError { operation, class: StoreErrorClass::Conflict, source: None })
}
