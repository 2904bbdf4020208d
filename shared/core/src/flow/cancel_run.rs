//! Cancel a run: idempotent, and truthful in every state.
//!
//! A run that goes on takes two calls in sequence: the intent, recorded without having read the run, and the stop. The stop is
//! never asked for beside the record: an execution that stops before anybody has written why has ended by itself.

use crate::caller::Caller;
use crate::flow::transition_run::{self, transition};
use crate::flow::{Answer, Refusal, find_run, unknown};
use crate::id::RunId;
use crate::lifecycle::{RunEvent, RunStatus, StopIntent};
use crate::ports::{AnnounceDue, ChangeRun, StopAsked, StopExecution};
use crate::run::{EndDetails, Run};
use jiff::Timestamp;

/// What became of a request to cancel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Canceled {
    /// The execution is being stopped.
    Underway(Run),
    /// The run is `CANCELED`, by this request or before it.
    Already(Run),
    /// The run had ended otherwise: too late.
    TooLate(Run),
}

/// Cancels a run.
///
/// # Errors
/// [`Refusal::NotFound`] for an unknown run, [`Refusal::Store`] when the store fails.
pub async fn cancel_run<S, E>(store: &S, engine: &E, caller: &Caller, run_id: RunId, now: Timestamp) -> Answer<Canceled>
where
    S: ChangeRun,
    E: StopExecution + AnnounceDue,
{
    let run = match store.ask_to_stop(&caller.tenant, run_id, StopIntent::CanceledByCaller, now).await {
        // As it was recorded; or as it has ended since.
        Ok(Some(StopAsked { run, is_recorded: true })) => run,
        Ok(found) => {
            let run = found.map(|found| found.run).filter(|run| run.is_visible(now));
            cancel_read(store, engine, caller, run.ok_or_else(|| unknown(run_id))?, now).await?
        }
        // A transaction of somebody else's is in the way: whoever reads the run first waits for that.
        Err(error) if error.is_conflict() => {
            let run = find_run(store, caller, run_id, now).await?;
            cancel_read(store, engine, caller, run, now).await?
        }
        Err(error) => return Err(Refusal::Store(error)),
    };
    if run.status() == RunStatus::Canceling {
        stop(engine, &run).await;
    }
    Ok(match run.status() {
        RunStatus::Canceled => Canceled::Already(run),
        RunStatus::Succeeded | RunStatus::Failed => Canceled::TooLate(run),
        RunStatus::Queued
        | RunStatus::Pending
        | RunStatus::Running
        | RunStatus::Paused
        | RunStatus::WaitingForInput
        | RunStatus::Canceling => Canceled::Underway(run),
    })
}

/// Cancels a run that was read, and so may not be going on.
async fn cancel_read<S, E>(store: &S, engine: &E, caller: &Caller, run: Run, now: Timestamp) -> Answer<Run>
where
    S: ChangeRun,
    E: AnnounceDue,
{
    let (run_id, event) = (run.run_id, RunEvent::StopAsked(StopIntent::CanceledByCaller));
    if run.after(event, now).is_none() {
        return Ok(run); // it is being stopped, or has ended
    }
    match transition(store, run, event, &EndDetails::default(), now).await.map_err(Refusal::Store)? {
        Some(transition) => {
            transition_run::announce(engine, &transition).await;
            Ok(transition.after)
        }
        // The run is being stopped or has ended since it was read.
        None => find_run(store, caller, run_id, now).await,
    }
}

/// Asks the engine to stop a run whose intent is recorded. A failure is left to the reconciler, which asks again.
pub async fn stop<E: StopExecution>(engine: &E, run: &Run) -> bool {
    let intent = run.state.intent().map_or("aborted", StopIntent::as_str);
    engine.stop_execution(&run.execution_arn(), &format!("Sluice.{intent}"), intent).await.is_ok()
}
