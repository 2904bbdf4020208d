//! Stops a run whose cap is spent.

use super::request::{Ports, Request};
use crate::change::RunChange;
use crate::flow::cancel_run::stop;
use crate::flow::{TRIES, keeps_changing};
use crate::governor::ledger::change::Tally;
use crate::governor::ledger::{Ledger, OnBudgetExceeded};
use crate::lifecycle::{RunEvent, StopIntent};
use crate::limits;
use crate::ports::{ChangeRun, Changed, Clock, GovernCalls, RunRef, StopExecution};
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
    if must_stop { stop_run(ports, request.run, ports.clock.now()).await } else { Ok(()) }
}

/// Stops the run because its cap is spent. The change closes its ledger: nothing is granted from it on.
async fn stop_run<S, E, C, T>(ports: &Ports<'_, S, E, C, T>, run: &RunRef, now: Timestamp) -> Answer<()>
where
    S: ChangeRun,
    E: StopExecution,
{
    for _ in 0..TRIES {
        let found = ports.store.load_run(&run.tenant_id, run.run_id).await.map_err(Refusal::Store)?;
        let Some(found) = found else { return Ok(()) };
        let Some(after) = found.after(RunEvent::StopAsked(StopIntent::BudgetExceeded), now) else {
            // It is being stopped, or has ended.
            if found.state.intent() == Some(StopIntent::BudgetExceeded) && !found.status().is_terminal() {
                stop(ports.engine, &found).await;
            }
            return Ok(());
        };
        let change = RunChange::new(&found, after);
        match ports.store.change_run(&change).await.map_err(Refusal::Store)? {
            Changed::Done => {
                stop(ports.engine, &change.run).await;
                return Ok(());
            }
            Changed::Stale(_) | Changed::Full(_) => {}
        }
    }
    Err(keeps_changing())
}
