//! What the phases of a sweep share: its bounds, what it did, and how it says what went wrong.

use crate::concurrency::QueueRef;
use crate::lifecycle::RunStatus;
use crate::ports::Clock;
use jiff::Timestamp;
use std::collections::BTreeSet;

/// Bounds of one sweep.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// `DescribeExecution` has a quota of about 15 a second for the whole account.
    pub describes: u32,
    /// Deliveries handed out per shard.
    pub deliveries_per_shard: u32,
    /// Of these, to one destination: a dead receiver must not keep the others waiting.
    pub deliveries_per_destination: u32,
    /// Expired runs deleted per shard.
    pub purges_per_shard: u32,
    /// When to stop beginning new work.
    pub until: Timestamp,
}

/// What one sweep did. Every count is a metric.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepSummary {
    pub open: u32,
    pub started: u32,
    pub settled: u32,
    /// How each run ended that ended in this sweep.
    pub ended: Vec<RunStatus>,
    pub timed_out: u32,
    pub stops_asked: u32,
    /// Resumes and answers given again.
    pub handed_over: u32,
    pub described: u32,
    pub announced: u32,
    /// Concurrency slots that open runs hold.
    pub slots_held: u32,
    /// Runs that wait for a slot.
    pub queued: u32,
    /// Runs that were given one.
    pub dispatched: u32,
    /// Runs whose items were deleted.
    pub purged: u32,
    /// Whether the bounds cut the sweep short; the next one goes on.
    pub cut_short: bool,
    /// What went wrong, each with its run or shard. The sweep went on.
    pub faults: Vec<String>,
}

pub(super) struct Sweeper<'a, S, E, C> {
    pub store: &'a S,
    pub engine: &'a E,
    pub clock: &'a C,
    pub bounds: Bounds,
    pub summary: SweepSummary,
    /// Queues that somebody waits in.
    pub queues: BTreeSet<QueueRef>,
}

impl<S, E, C: Clock> Sweeper<'_, S, E, C> {
    pub(super) fn is_out_of_time(&mut self) -> bool {
        let out = self.clock.now() >= self.bounds.until;
        self.summary.cut_short |= out;
        out
    }

    pub(super) fn fault(&mut self, what: impl std::fmt::Display, error: &dyn std::error::Error) {
        let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        self.summary.faults.push(format!("{what}: {error}{source}"));
    }
}
