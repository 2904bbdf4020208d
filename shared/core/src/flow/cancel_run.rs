//! Cancel a run: idempotent, and truthful in every state.

use crate::caller::Caller;
use crate::flow::transition_run::{self, transition};
use crate::flow::{Answer, Refusal, find_run};
use crate::id::RunId;
use crate::lifecycle::{RunEvent, RunStatus, StopIntent};
use crate::ports::{AnnounceDue, ChangeRun, StopExecution};
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
    let run = find_run(store, caller, run_id, now).await?;
    let event = RunEvent::StopAsked(StopIntent::CanceledByCaller);
    let transition =
        transition(store, run.clone(), event, &EndDetails::default(), now).await.map_err(Refusal::Store)?;
    let run = match transition {
        Some(transition) => {
            transition_run::announce(engine, &transition).await;
            transition.after
        }
        // Nothing changed: the run is being stopped or has ended, perhaps since it was loaded.
        None => find_run(store, caller, run_id, now).await?,
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

/// Asks the engine to stop a run whose intent is recorded. A failure is left to the reconciler, which asks again.
pub async fn stop<E: StopExecution>(engine: &E, run: &Run) -> bool {
    let intent = run.state.intent().map_or("aborted", StopIntent::as_str);
    engine.stop_execution(&run.execution_arn(), &format!("Sluice.{intent}"), intent).await.is_ok()
}
