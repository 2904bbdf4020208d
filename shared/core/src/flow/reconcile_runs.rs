//! Reconcile: mend what crashes and lost events left behind. Every minute it starts what was recorded and never
//! started, settles what the events missed, ends what ran out of time, asks again for stops that failed, hands out due
//! deliveries (to a receiver in trouble a few), starts queued runs for which there is a slot, settles governed calls that nobody
//! settled, and deletes runs whose time is over.
//!
//! **Invariants:** a candidate comes from an eventually consistent index, so nothing is changed but through a
//! conditional write on the run as it is; one run's trouble never keeps the sweep from the others; each phase has its own time
//! and its own allowance, and who comes first in it is another at each sweep, so that none that is cut short takes from the
//! others or from the same ones always; whatever is open, what it asks of the engine stays within [bounds](Bounds).

mod asks;
mod boards;
mod bounds;
mod deliveries;
mod difference;
mod ledgers;
mod open_runs;
mod purge;
mod queues;
mod share;
mod starts;
mod summary;
mod sweeper;

pub use bounds::Bounds;
pub use difference::{EVENT_GRACE, VANISH_PATIENCE};
use share::Phase;
pub use starts::{START_GRACE, START_PATIENCE};
pub use summary::SweepSummary;
use sweeper::Sweeper;

use crate::ports::{
    AnnounceDue, AnswerNode, AnswerTask, Boards, Clock, DescribeExecution, ListExecutions, PurgeRuns, ReadCatalog,
    ReadQueue, ReceiverHealth, RecordRun, StartExecution, StopExecution, Sweep, SweepLedgers,
};

/// One sweep.
pub async fn reconcile_runs<S, E, C>(store: &S, engine: &E, clock: &C, bounds: Bounds) -> SweepSummary
where
    S: Sweep + ReceiverHealth + ReadCatalog + ReadQueue + RecordRun + AnswerNode + Boards + SweepLedgers + PurgeRuns,
    E: AnswerTask + StartExecution + StopExecution + DescribeExecution + ListExecutions + AnnounceDue,
    C: Clock,
{
    let mut sweep = Sweeper::new(store, engine, clock, bounds);
    for phase in Phase::ALL {
        sweep.begin(phase);
        match phase {
            Phase::Deliveries => sweep.hand_out_deliveries().await,
            Phase::OpenRuns => sweep.visit_open_runs().await,
            Phase::Boards => sweep.look_after_boards().await,
            Phase::Starts => sweep.start_unstarted().await,
            Phase::Queues => sweep.dispatch_queues().await,
            Phase::Ledgers => sweep.look_after_ledgers().await,
            Phase::Purge => sweep.purge_expired().await,
        }
    }
    sweep.summary
}
