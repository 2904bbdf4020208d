//! Stops a run whose cap is spent.

use super::request::{Ports, Request};
use crate::change::RunChange;
use crate::flow::TRIES;
use crate::flow::cancel_run::stop;
use crate::governor::ledger::change::Tally;
use crate::governor::ledger::{Ledger, OnBudgetExceeded};
use crate::lifecycle::{RunEvent, StopIntent};
use crate::limits;
use crate::ports::{
    ChangeRun, Changed, Clock, GovernCalls, RunRef, StopExecution, StoreError, StoreErrorClass, StoreResult,
};
use crate::refusal::{Answer, Refusal};
use jiff::Timestamp;

/// Counts a call that could never fit, and stops its run where that follows from it.
pub(super) async fn exhausted<S, E, C, T>(
    ports: &Ports<'_, S, E, C, T>,
    request: &Request<'_>,
    is_known: bool,
) -> Answer<()>
where
    S: GovernCalls + ChangeRun,
    E: StopExecution,
    C: Clock,
{
    let tally = Tally { pass: request.pass.clone(), is_exhausted: true };
    let stops = |ledger: &Ledger| match ledger.on_exceeded {
        OnBudgetExceeded::Stop => true,
        OnBudgetExceeded::Refuse => ledger.counts.exhausted >= limits::EXHAUSTED_REFUSALS,
    };
    // One that is closed already counts nothing, but the stop may not have reached the engine.
    let must_stop = is_known
        || match ports.store.tally(request.run, &tally).await.map_err(Refusal::Store)? {
            Some(ledger) => stops(&ledger),
            None => true,
        };
    if must_stop {
        let stopped = stop_run(ports.store, ports.engine, request.run, ports.clock.now()).await;
        stopped.map_err(Refusal::Store)?;
    }
    Ok(())
}

/// Stops the run because its cap is spent. The change closes its ledger: nothing is granted from it on. `false` where the run was
/// being stopped, or had ended, or is gone.
///
/// # Errors
/// When the store fails, or others keep changing the run.
pub(crate) async fn stop_run<S, E>(store: &S, engine: &E, run: &RunRef, now: Timestamp) -> StoreResult<bool>
where
    S: ChangeRun,
    E: StopExecution,
{
    for _ in 0..TRIES {
        let found = store.load_run(&run.tenant_id, run.run_id).await?;
        let Some(found) = found else { return Ok(false) };
        let Some(after) = found.after(RunEvent::StopAsked(StopIntent::BudgetExceeded), now) else {
            // It is being stopped, or has ended.
            if found.state.intent() == Some(StopIntent::BudgetExceeded) && !found.status().is_terminal() {
                stop(engine, &found).await;
            }
            return Ok(false);
        };
        let change = RunChange::new(&found, after);
        match store.change_run(&change).await? {
            Changed::Done => {
                stop(engine, &change.run).await;
                return Ok(true);
            }
            Changed::Stale(_) | Changed::Full(_) => {}
        }
    }
    Err(StoreError { operation: "stop a run above its cap", class: StoreErrorClass::Conflict, source: None })
}
