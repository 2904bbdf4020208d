//! What one sweep may take of what the account allows.

use jiff::Timestamp;

/// Bounds of one sweep.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Pages of running executions that the engine is asked for, of all state machines together.
    pub lists: u32,
    /// Executions asked about because they are not listed as running any more.
    pub describes: u32,
    /// Executions asked to stop: because their stop was asked for before, or because their time is up.
    pub stops: u32,
    /// Runs whose resume or answers are given to their runner again.
    pub hand_overs: u32,
    /// Runs whose workers are told what they are owed, or whose waits are looked at.
    pub boards: u32,
    /// Starts repeated, each with two describes at most: what hangs there takes nothing from those whose end was lost.
    pub starts: u32,
    /// Queued runs started, after which no more queues are looked at.
    pub dispatches: u32,
    /// Deliveries handed out per shard.
    pub deliveries_per_shard: u32,
    /// Of these, to one receiver in trouble, which must not keep the others waiting. A receiver that is well has no such bound.
    pub deliveries_per_receiver: u32,
    /// Ledgers looked after.
    pub ledgers: u32,
    /// Expired runs deleted per shard.
    pub purges_per_shard: u32,
    /// Runs, or queues, that are worked on at once.
    pub at_once: usize,
    /// When to stop beginning new work.
    pub until: Timestamp,
}

impl Bounds {
    /// Those of a sweep that comes every minute, within the quotas of Step Functions wherever it runs: each call has a bucket
    /// of tokens for the whole account and region, filled anew at a rate. Of the buckets of the smallest regions, and of
    /// what comes into them in a minute, a sweep takes what callers and events can do without. Where it leaves something,
    /// the next one goes on with others, and says so (`SweepCutShort`).
    ///
    /// | call | bucket, refill a second | in us-east-1, us-west-2, eu-west-1 | a sweep at most |
    /// |---|---|---|---|
    /// | `ListExecutions` | 100, 2 | 200, 5 | 60: 60,000 executions that are running |
    /// | `DescribeExecution` | 250, 10 | 300, 15 | 100, and 2 for each repeated start |
    /// | `StopExecution` | 500, 25 | 1,000, 200 | 250 |
    /// | `StartExecution` | 800, 150 | 1,300, 300 | 75 repeated, 600 from queues and what was begun by then |
    /// | `SendTaskSuccess`, `SendTaskFailure` | 1,500, 300 | 3,000, 500 | those of 1,000 runs |
    ///
    /// Source: <https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html#service-limits-api-action-throttling-general>
    #[must_use]
    pub fn of_a_minute(until: Timestamp) -> Self {
        Self {
            lists: 60,
            describes: 100,
            stops: 250,
            hand_overs: 1_000,
            boards: 500,
            starts: 75,
            dispatches: 600,
            // 1,600 a minute.
            deliveries_per_shard: 100,
            deliveries_per_receiver: 25,
            ledgers: 500,
            // 400 a minute, last of all, as far as the time goes.
            purges_per_shard: 25,
            // It waits for the network nearly all the time.
            at_once: 8,
            until,
        }
    }
}
