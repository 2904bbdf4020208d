//! Reconcile: mend what crashes and lost events left behind. Every minute it starts what was recorded and never
//! started, settles what the events missed, ends what ran out of time, asks again for stops that failed, hands out due
//! deliveries, starts queued runs for which there is a slot, and deletes runs whose time is over.
//!
//! **Invariants:** a candidate comes from an eventually consistent index, so nothing is changed but through a
//! conditional write on the run as it is; one run's trouble never keeps the sweep from the others.

mod deliveries;
mod difference;
mod open_runs;
mod purge;
mod queues;
mod sweeper;

pub use difference::{EVENT_GRACE, VANISH_PATIENCE};
pub use open_runs::{START_GRACE, START_PATIENCE};
use sweeper::Sweeper;
pub use sweeper::{Bounds, SweepSummary};

use crate::ports::{
    AnnounceDue, AnswerNode, AnswerTask, Clock, DescribeExecution, ListExecutions, PurgeRuns, ReadCatalog, ReadQueue,
    RecordRun, StartExecution, StopExecution, Sweep,
};
use std::collections::BTreeSet;

/// One sweep.
pub async fn reconcile_runs<S, E, C>(store: &S, engine: &E, clock: &C, bounds: Bounds) -> SweepSummary
where
    S: Sweep + ReadCatalog + ReadQueue + RecordRun + AnswerNode + PurgeRuns,
    E: AnswerTask + StartExecution + StopExecution + DescribeExecution + ListExecutions + AnnounceDue,
    C: Clock,
{
    let mut sweep = Sweeper { store, engine, clock, bounds, summary: SweepSummary::default(), queues: BTreeSet::new() };
    // Deliveries first: they are quick to hand out and somebody waits for them.
    sweep.hand_out_deliveries().await;
    let executing = sweep.visit_open_runs().await;
    for (state_machine_arn, runs) in executing {
        sweep.settle_difference(&state_machine_arn, runs).await;
    }
    sweep.dispatch_queues().await;
    sweep.purge_expired().await;
    sweep.summary
}
