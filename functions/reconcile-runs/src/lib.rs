//! The sweep of every minute: mends what crashes and lost events left behind.

use lambda_runtime::{Diagnostic, LambdaEvent};
use sluice_core::flow::reconcile_runs::{Bounds, SweepSummary, reconcile_runs};
use sluice_core::ports::{
    AnnounceDue, AnswerNode, AnswerTask, Boards, Clock, DescribeExecution, ListExecutions, PurgeRuns, ReadCatalog,
    ReadQueue, ReceiverHealth, RecordRun, SHARDS, StartExecution, StopExecution, Sweep, SweepLedgers,
};
use sluice_edge::event::Schedule;
use sluice_edge::{metrics, telemetry};
use std::time::Duration;
use tracing::Instrument;

/// What is left of the invocation when new work stops being begun: enough for one look at a queue, or to delete one
/// large run.
const RESERVE: Duration = Duration::from_secs(10);

/// The function with everything it needs.
#[derive(Clone, Debug)]
pub struct App<S, E, C> {
    pub store: S,
    pub engine: E,
    pub clock: C,
}

impl<S, E, C> App<S, E, C>
where
    S: Sweep + ReceiverHealth + ReadCatalog + ReadQueue + RecordRun + AnswerNode + Boards + SweepLedgers + PurgeRuns,
    E: AnswerTask + StartExecution + StopExecution + DescribeExecution + ListExecutions + AnnounceDue,
    C: Clock,
{
    /// One sweep.
    ///
    /// # Errors
    /// When nothing at all could be read.
    pub async fn handle(&self, event: LambdaEvent<Schedule>) -> Result<(), Diagnostic> {
        let bounds = Bounds::of_a_minute(telemetry::deadline(&event.context, self.clock.now(), RESERVE));
        let span = telemetry::event_span(&event.context);
        let sweep = reconcile_runs(&self.store, &self.engine, &self.clock, bounds).instrument(span.clone());
        let summary = self.clock.until(telemetry::calls_end(&event.context), Box::pin(sweep)).await;
        span.in_scope(|| {
            metrics::swept(&summary);
            log(&summary);
            if found_nothing_but_faults(&summary) { Err(telemetry::to_be_retried(&NothingRead)) } else { Ok(()) }
        })
    }
}

/// Why a sweep counts as failed.
#[derive(Debug, thiserror::Error)]
#[error("the sweep could read nothing")]
struct NothingRead;

fn log(summary: &SweepSummary) {
    for fault in &summary.faults {
        tracing::error!(error.cause = fault, "part of the sweep failed");
    }
    tracing::info!(
        sweep.open = summary.open,
        sweep.starts_asked = summary.starts_asked,
        sweep.started = summary.started,
        sweep.settled = summary.settled,
        sweep.timed_out = summary.timed_out,
        sweep.stops_asked = summary.stops_asked,
        sweep.handed_over = summary.handed_over,
        sweep.woken = summary.woken,
        sweep.listed = summary.listed,
        sweep.described = summary.described,
        sweep.announced = summary.announced,
        sweep.queued = summary.queued,
        sweep.slots_held = summary.slots_held,
        sweep.dispatched = summary.dispatched,
        sweep.holds_lost = summary.holds_lost,
        sweep.holds_settled = summary.holds_settled,
        sweep.balanced = summary.balanced,
        sweep.purged = summary.purged,
        sweep.put_off = summary.put_off,
        sweep.cut_short = summary.cut_short,
        sweep.faults = summary.faults.len(),
        "sweep done"
    );
}

/// Every shard was asked for its due deliveries, its open runs, its due boards and its expired runs, and the table for the ledgers
/// that are due, and nothing was answered.
fn found_nothing_but_faults(summary: &SweepSummary) -> bool {
    let found = summary.open + summary.announced + summary.purged;
    found == 0 && summary.faults.len() > 4 * usize::from(SHARDS)
}
