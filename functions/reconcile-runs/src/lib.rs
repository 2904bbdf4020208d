//! The sweep of every minute: mends what crashes and lost events left behind.

use lambda_runtime::{Diagnostic, LambdaEvent};
use sluice_core::flow::reconcile_runs::{Bounds, Report, reconcile_runs};
use sluice_core::ports::{
    AnnounceDue, AnswerNode, AnswerTask, Clock, DescribeExecution, ListExecutions, RecordRun, SHARDS, StartExecution,
    StopExecution, Sweep,
};
use sluice_edge::event::Schedule;
use sluice_edge::telemetry;
use std::time::Duration;
use tracing::Instrument;

/// Describes of one sweep: `DescribeExecution` has a quota of about 15 a second for the whole account.
const DESCRIBES: u32 = 100;
/// Due deliveries handed out per shard and sweep.
const DELIVERIES_PER_SHARD: u32 = 50;
/// What is left of the invocation when new work stops being begun.
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
    S: Sweep + RecordRun + AnswerNode,
    E: AnswerTask + StartExecution + StopExecution + DescribeExecution + ListExecutions + AnnounceDue,
    C: Clock,
{
    /// One sweep.
    ///
    /// # Errors
    /// When nothing at all could be read.
    pub async fn handle(&self, event: LambdaEvent<Schedule>) -> Result<(), Diagnostic> {
        let bounds = Bounds {
            describes: DESCRIBES,
            deliveries_per_shard: DELIVERIES_PER_SHARD,
            until: telemetry::deadline(&event.context, self.clock.now(), RESERVE),
        };
        let span = telemetry::event_span(&event.context);
        let report = reconcile_runs(&self.store, &self.engine, &self.clock, bounds).instrument(span.clone()).await;
        span.in_scope(|| {
            log(&report);
            if found_nothing_but_faults(&report) { Err(telemetry::to_be_retried(&NothingRead)) } else { Ok(()) }
        })
    }
}

/// Why a sweep counts as failed.
#[derive(Debug, thiserror::Error)]
#[error("the sweep could read nothing")]
struct NothingRead;

fn log(report: &Report) {
    for fault in &report.faults {
        tracing::error!(counter.sweep_fault = 1, error.cause = fault, "part of the sweep failed");
    }
    tracing::info!(
        sweep.open = report.open,
        sweep.started = report.started,
        sweep.settled = report.settled,
        sweep.timed_out = report.timed_out,
        sweep.stops_asked = report.stops_asked,
        sweep.handed_over = report.handed_over,
        sweep.described = report.described,
        sweep.announced = report.announced,
        sweep.cut_short = report.cut_short,
        sweep.faults = report.faults.len(),
        "sweep done"
    );
}

/// Every shard was asked for its due deliveries and its open runs, and not one answered.
fn found_nothing_but_faults(report: &Report) -> bool {
    report.open == 0 && report.announced == 0 && report.faults.len() >= 2 * usize::from(SHARDS)
}
