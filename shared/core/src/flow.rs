//! The verbs, one file each: what a caller or an event asks for, decided purely, then carried out through the ports.

pub mod cancel_run;
pub mod control_run;
pub mod create_run;
pub mod deliver;
pub mod dispatch_runs;
pub mod manage_definitions;
pub mod manage_operator;
pub mod read_runs;
pub mod reconcile_runs;
pub mod record_usage;
pub mod replay_run;
pub mod report_run;
pub mod retain_run;
pub mod transition_run;

use crate::caller::Caller;
use crate::catalog::CatalogKey;
use crate::change::RunChange;
use crate::concurrency::SlotScope;
use crate::id::RunId;
use crate::invalid::Invalid;
use crate::ports::{ChangeRun, Changed, LoadRun, ReadCatalog, StoreError, StoreErrorClass};
use crate::run::Run;
use jiff::Timestamp;
use std::sync::Arc;

/// Why a request was refused, whichever flow refused it.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Bad input. Nothing was written.
    #[error("the request is invalid: {0}")]
    Invalid(Invalid),
    /// What the path names does not exist, or belongs to another tenant.
    #[error("there is no {what} {id}")]
    NotFound { what: &'static str, id: String },
    /// The caller may not do this at all.
    #[error("only the operator may {0}")]
    OperatorOnly(&'static str),
    /// It cannot be done to the thing as it is now.
    #[error("{message}")]
    Conflict { code: &'static str, message: String },
    /// The idempotency key was first used with another payload.
    #[error("this idempotency key was first used with another request, which made run {run_id}")]
    KeyReused { run_id: RunId },
    /// The idempotency key made a run that is gone by now.
    #[error("this idempotency key made run {run_id}, which is no longer kept")]
    RunExpired { run_id: RunId },
    /// As many runs are open as may be. Nothing was written; later there may be room.
    #[error("{limit} runs are open, as many as this {} may have at once", scope.as_str())]
    TooManyRuns { scope: SlotScope, limit: u32 },
    /// The queue is as long as may be. Nothing was written; later there may be room.
    #[error("{} runs wait already, as many as may", crate::limits::QUEUED_RUNS)]
    QueueFull,
    /// A report token that is none, not of this run, or no longer valid. All the same to who holds it.
    #[error("the report token is not valid for this run")]
    InvalidReportToken,
    #[error("the store could not be used")]
    Store(#[source] StoreError),
}

pub type Answer<T> = Result<T, Refusal>;

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
    let mut run = find_run(store, caller, run_id, now).await?;
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
    Refusal::NotFound { what: "workflow run", id: run_id.to_string() }
}

pub(crate) fn conflict(run: &Run, what: &str) -> Refusal {
    let code = if run.status().is_terminal() { "run_ended" } else { "wrong_status" };
    Refusal::Conflict { code, message: format!("run {} is {} and {what}", run.run_id, run.status().as_str()) }
}

/// Refuses what can only be done to a run that has ended.
pub(crate) fn ended_only(run: &Run, what: &str) -> Answer<()> {
    if run.status().is_terminal() {
        return Ok(());
    }
    let message = format!("run {} is {}: only a run that has ended can be {what}", run.run_id, run.status().as_str());
    Err(Refusal::Conflict { code: "run_open", message })
}

pub(crate) fn keeps_changing() -> Refusal {
    Refusal::Store(StoreError {
        operation: "change a run that keeps changing",
        class: StoreErrorClass::Conflict,
        source: None,
    })
}
