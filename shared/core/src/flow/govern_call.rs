//! Govern a call: set its worst case aside, and settle what it was. Between the two the caller makes the call.
//!
//! **Invariants:** a call is granted only when its hold is known to be written; whatever is granted is settled, by its caller or, at
//! the end of its lease, by the [sweep](crate::flow::sweep_ledgers); a ledger that cannot be written grants nothing; a run that has
//! spent more than its cap is stopped by whoever finds that.

mod ask;
mod request;
mod settle;
mod stop;

pub use request::{Ports, Request, Ticket, Verdict};
pub use settle::settle;

pub(crate) use settle::settle_by;
pub(crate) use stop::stop_run;

use crate::governor::ledger::change::Tally;
use crate::ports::{ChangeRun, Clock, CountInput, FindQuotas, GovernCalls, StopExecution};
use crate::refusal::{Answer, Refusal};
use ask::Asking;

/// Asks for a call, and waits for up to 30 s where only others are in its way.
///
/// # Errors
/// [`Refusal::Store`] when the ledger cannot be read or written: the call must not be made.
pub async fn reserve<S, E, C, T>(ports: &Ports<'_, S, E, C, T>, request: &Request<'_>) -> Answer<Verdict>
where
    S: GovernCalls + ChangeRun + FindQuotas,
    E: StopExecution,
    C: Clock,
    T: CountInput,
{
    let verdict = Asking::new(ports, request).ask().await?;
    match verdict {
        Verdict::NotCallable(_) | Verdict::Throttled { .. } => {
            // Nobody is let in because a refusal was not counted.
            let tally = Tally { pass: request.pass.clone(), is_exhausted: false };
            let counted = ports.store.tally(request.run, &tally).await;
            // What is wrong with a call is told to those only who may make it.
            if matches!(counted, Ok(None)) {
                return Ok(Verdict::NotAdmitted);
            }
            counted.map_err(Refusal::Store)?;
        }
        Verdict::Granted(_) | Verdict::Exhausted | Verdict::NotAdmitted => {}
    }
    Ok(verdict)
}
