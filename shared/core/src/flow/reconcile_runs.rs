//! Reconcile: mend what crashes and lost events left behind. Every minute it starts what was recorded and never
//! started, settles what the events missed, ends what ran out of time, asks again for stops that failed, hands out due
//! deliveries, starts queued runs for which there is a slot, and deletes runs whose time is over.
//!
//! **Invariants:** a candidate comes from an eventually consistent index, so nothing is changed but through a
//! conditional write on the run as it is; one run's trouble never keeps the sweep from the others.

use crate::arn::StateMachineArn;
use crate::concurrency::QueueRef;
use crate::flow::admission;
use crate::flow::cancel_run::stop;
use crate::flow::control_run::hand_over;
use crate::flow::create_run::start_input;
use crate::flow::dispatch_runs::dispatch_runs;
use crate::flow::retain_run::purge_expired;
use crate::flow::transition_run::{announce, transition_if};
use crate::lifecycle::{RunEvent, RunStatus, StopIntent};
use crate::open_runs::Tally;
use crate::ports::{
    AnnounceDue, AnswerNode, AnswerTask, Clock, DescribeExecution, DueDelivery, ExecutionState, ListExecutions,
    PurgeRuns, ReadCatalog, ReadQueue, RecordRun, SHARDS, StartExecution, StartOutcome, StartRequest, StopExecution,
    Sweep,
};
use crate::run::{EndDetails, Run, RunError, RunState};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Expired runs that are looked at for each that may be deleted: some are still owed a delivery and have to stay.
const CANDIDATES_PER_PURGE: u32 = 8;
/// Pages of due deliveries that are looked at per shard, for some that their destination's bound lets through.
const PAGES_PER_SHARD: u32 = 10;
/// A run younger than this may still be in the hands of the request that made it.
pub const START_GRACE: SignedDuration = SignedDuration::from_secs(20);
/// A run that could not be started for this long ends `FAILED`/`start_failed`.
pub const START_PATIENCE: SignedDuration = SignedDuration::from_hours(1);
/// A run changed within this time is left to the event that is probably under way.
pub const EVENT_GRACE: SignedDuration = SignedDuration::from_secs(20);
/// How long the engine may not know an execution before it counts as vanished: its answers are eventually consistent.
pub const VANISH_PATIENCE: SignedDuration = SignedDuration::from_mins(10);

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

/// One sweep.
pub async fn reconcile_runs<S, E, C>(store: &S, engine: &E, clock: &C, bounds: Bounds) -> SweepSummary
where
    S: Sweep + ReadCatalog + ReadQueue + RecordRun + AnswerNode + PurgeRuns,
    E: AnswerTask + StartExecution + StopExecution + DescribeExecution + ListExecutions + AnnounceDue,
    C: Clock,
{
    let mut sweep = Sweeper {
        store,
        engine,
        clock,
        bounds,
        summary: SweepSummary::default(),
        queues: BTreeSet::new(),
        tally: Tally::default(),
    };
    // Deliveries first: they are quick to hand out and somebody waits for them.
    sweep.hand_out_deliveries().await;
    let executing = sweep.visit_open_runs().await;
    sweep.note_open_runs().await;
    for (state_machine_arn, runs) in executing {
        sweep.settle_difference(&state_machine_arn, runs).await;
    }
    sweep.dispatch_queues().await;
    sweep.purge_expired().await;
    sweep.summary
}

struct Sweeper<'a, S, E, C> {
    store: &'a S,
    engine: &'a E,
    clock: &'a C,
    bounds: Bounds,
    summary: SweepSummary,
    /// Queues that somebody waits in.
    queues: BTreeSet<QueueRef>,
    /// Open runs by tenant.
    tally: Tally,
}

impl<S, E, C> Sweeper<'_, S, E, C>
where
    S: Sweep + ReadCatalog + ReadQueue + RecordRun + AnswerNode + PurgeRuns,
    E: AnswerTask + StartExecution + StopExecution + DescribeExecution + ListExecutions + AnnounceDue,
    C: Clock,
{
    fn is_out_of_time(&mut self) -> bool {
        let out = self.clock.now() >= self.bounds.until;
        self.summary.cut_short |= out;
        out
    }

    fn fault(&mut self, what: impl std::fmt::Display, error: &dyn std::error::Error) {
        let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        self.summary.faults.push(format!("{what}: {error}{source}"));
    }

    async fn hand_out_deliveries(&mut self) {
        let mut by_destination: BTreeMap<String, u32> = BTreeMap::new();
        for shard in 0..SHARDS {
            if let Err(error) = self.hand_out_shard(shard, &mut by_destination).await {
                self.fault(format_args!("deliveries of shard {shard}"), &*error);
            }
        }
    }

    async fn hand_out_shard(
        &mut self,
        shard: u8,
        by_destination: &mut BTreeMap<String, u32>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let (mut handed_out, mut cursor) = (0, None);
        for _ in 0..PAGES_PER_SHARD {
            if self.is_out_of_time() {
                return Ok(());
            }
            let page = self.store.due_deliveries(shard, self.clock.now(), cursor.as_deref()).await?;
            let mut due = Vec::new();
            for DueDelivery { delivery, destination } in page.items {
                let to_destination = by_destination.entry(destination).or_default();
                if handed_out == self.bounds.deliveries_per_shard {
                    self.summary.cut_short = true;
                    break;
                }
                if *to_destination < self.bounds.deliveries_per_destination {
                    *to_destination += 1;
                    handed_out += 1;
                    due.push(delivery);
                }
            }
            if !due.is_empty() {
                self.engine.announce_due(&due).await?;
                self.summary.announced += due.len() as u32;
            }
            cursor = page.next;
            if cursor.is_none() || handed_out == self.bounds.deliveries_per_shard {
                return Ok(());
            }
        }
        self.summary.cut_short = true;
        Ok(())
    }

    async fn dispatch_queues(&mut self) {
        for queue in std::mem::take(&mut self.queues) {
            if self.is_out_of_time() {
                return;
            }
            match dispatch_runs(self.store, self.engine, &queue, self.clock.now()).await {
                Ok(dispatched) => {
                    self.summary.dispatched += dispatched.started;
                    self.summary.ended.extend(dispatched.ended);
                }
                Err(error) => self.fault(format_args!("queue {queue:?}"), &error),
            }
        }
    }

    async fn purge_expired(&mut self) {
        for shard in 0..SHARDS {
            let now = self.clock.now();
            let candidates = self.bounds.purges_per_shard.saturating_mul(CANDIDATES_PER_PURGE);
            let expired = match self.store.expired_runs(shard, now, candidates).await {
                Ok(expired) => expired,
                Err(error) => {
                    self.fault(format_args!("expired runs of shard {shard}"), &error);
                    continue;
                }
            };
            let mut purged = 0;
            for run in expired {
                if self.is_out_of_time() {
                    return;
                }
                if purged == self.bounds.purges_per_shard {
                    self.summary.cut_short = true;
                    break;
                }
                match purge_expired(self.store, &run, now).await {
                    Ok(true) => {
                        self.summary.purged += 1;
                        purged += 1;
                    }
                    Ok(false) => {}
                    Err(error) => self.fault(format_args!("run {}", run.run_id), &error),
                }
            }
        }
    }

    /// Acts on what an open run shows by itself, and returns the runs whose executions should be running, by their
    /// state machine.
    async fn visit_open_runs(&mut self) -> BTreeMap<StateMachineArn, Vec<Run>> {
        let mut executing: BTreeMap<StateMachineArn, Vec<Run>> = BTreeMap::new();
        for shard in 0..SHARDS {
            let mut cursor = None;
            loop {
                if self.is_out_of_time() {
                    return executing;
                }
                let page = match self.store.open_runs(shard, cursor.as_deref()).await {
                    Ok(page) => page,
                    Err(error) => {
                        self.fault(format_args!("open runs of shard {shard}"), &error);
                        break;
                    }
                };
                for run in page.items {
                    self.summary.open += 1;
                    self.tally.add(&run.tenant_id);
                    self.summary.slots_held += run.slots.len() as u32;
                    if let Some(run) = self.visit(run).await {
                        executing.entry(run.spec.state_machine_arn.clone()).or_default().push(run);
                    }
                }
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
        }
        executing
    }

    /// Tells new runs how many of their tenant are open.
    async fn note_open_runs(&mut self) {
        for (tenant, open) in std::mem::take(&mut self.tally).notes(self.clock.now()) {
            if let Err(error) = self.store.note_open_runs(&tenant, &open).await {
                self.fault(format_args!("open runs of tenant {tenant}"), &error);
            }
        }
    }

    async fn visit(&mut self, run: Run) -> Option<Run> {
        let now = self.clock.now();
        match run.state {
            RunState::Ended(_) => None,
            RunState::Queued { queue } => {
                self.summary.queued += 1;
                self.queues.insert(run.queue(queue));
                None
            }
            RunState::Pending { .. } => {
                if now.duration_since(run.due_to_start_at()) >= START_GRACE {
                    self.start_again(run, now).await;
                }
                None
            }
            RunState::Stopping { .. } => {
                // Stopping again is harmless, and the first stop may have been lost.
                self.summary.stops_asked += 1;
                if !stop(self.engine, &run).await {
                    self.summary.faults.push(format!("run {}: its execution could not be stopped", run.run_id));
                }
                Some(run)
            }
            RunState::Running { .. } | RunState::Paused { .. } | RunState::Waiting { .. } => {
                if out_of_time(&run, now).is_some() {
                    return self.time_out(run, now).await;
                }
                if run.state.owes_a_resume() || !run.state.answered_nodes().is_empty() {
                    self.hand_over(&run, now).await;
                }
                Some(run)
            }
        }
    }

    /// The run was recorded, but nobody knows whether it was started: start it again, which is safe by its name.
    async fn start_again(&mut self, run: Run, now: Timestamp) {
        let run_id = run.run_id;
        let (run, snapshot) = match (
            self.store.load_run(&run.tenant_id, run_id).await,
            self.store.load_snapshot(&run.tenant_id, run_id).await,
        ) {
            (Ok(Some(run)), Ok(Some(snapshot))) if run.status() == RunStatus::Pending => (run, snapshot),
            (Ok(_), Ok(_)) => return,
            (Err(error), _) | (_, Err(error)) => return self.fault(format_args!("run {run_id}"), &error),
        };
        match admission::refuse_start(self.store, &snapshot).await {
            Ok(None) => {}
            Ok(Some(error)) => {
                let end = EndDetails { error: Some(error), ..EndDetails::default() };
                return self.settle(run, |_| Some(RunEvent::StartRefused), &end, now).await;
            }
            Err(error) => return self.fault(format_args!("run {run_id}"), &error),
        }
        let input = match start_input(&snapshot, &self.store.record_keys(&run.tenant_id, run_id)) {
            Ok(input) => input,
            Err(error) => return self.fault(format_args!("run {run_id}"), &error),
        };
        let age = now.duration_since(run.due_to_start_at());
        let request = StartRequest { state_machine_arn: &run.spec.state_machine_arn, run_id, input: &input };
        let error = match self.engine.start_execution(&request).await {
            Ok(StartOutcome::Started) => {
                self.summary.started += 1;
                // Started long ago and still not claimed: it may have ended before it could claim its run.
                if age >= START_GRACE * 3 {
                    self.settle_by_description(run, now).await;
                }
                return;
            }
            Ok(StartOutcome::Refused { code, message }) => RunError::new(&code, &message, 8_192),
            Err(_unanswered) if age < START_PATIENCE => return,
            Err(unanswered) => {
                let source = unanswered.source.map(|source| source.to_string()).unwrap_or_default();
                RunError::new(
                    "Sluice.StartTimedOut",
                    &format!("the run could not be started for an hour: {source}"),
                    8_192,
                )
            }
        };
        let end = EndDetails { error: Some(error), ..EndDetails::default() };
        self.settle(run, |_| Some(RunEvent::StartRefused), &end, now).await;
    }

    /// A resume or an answer was recorded, and nobody knows whether the runner has it: give it again, which is
    /// harmless.
    async fn hand_over(&mut self, run: &Run, now: Timestamp) {
        self.summary.handed_over += 1;
        match self.store.load_run(&run.tenant_id, run.run_id).await {
            Ok(Some(current)) => match hand_over(self.store, self.engine, current, now).await {
                Ok((_, true)) => {}
                Ok((_, false)) => {
                    self.summary.faults.push(format!("run {}: its runner could not be answered", run.run_id))
                }
                Err(error) => self.fault(format_args!("run {}", run.run_id), &error),
            },
            Ok(None) => {}
            Err(error) => self.fault(format_args!("run {}", run.run_id), &error),
        }
    }

    async fn time_out(&mut self, run: Run, now: Timestamp) -> Option<Run> {
        // The run comes from the index: it may have been paused since.
        let decide = |run: &Run| out_of_time(run, now);
        match transition_if(self.store, run.clone(), decide, &EndDetails::default(), now).await {
            Ok(Some(transition)) => {
                self.summary.timed_out += 1;
                self.summary.ended.extend(Some(transition.after.status()).filter(|status| status.is_terminal()));
                announce(self.engine, &transition).await;
                if transition.after.status() == RunStatus::Canceling && !stop(self.engine, &transition.after).await {
                    self.summary.faults.push(format!("run {}: its execution could not be stopped", run.run_id));
                }
            }
            Ok(None) => {}
            Err(error) => self.fault(format_args!("run {}", run.run_id), &error),
        }
        None
    }

    /// Open records were read first, so whatever the engine does not list as running now has ended since.
    async fn settle_difference(&mut self, state_machine_arn: &StateMachineArn, runs: Vec<Run>) {
        let mut running = BTreeSet::new();
        let mut cursor = None;
        loop {
            match self.engine.running_executions(state_machine_arn, cursor.as_deref()).await {
                Ok(page) => {
                    running.extend(page.items);
                    cursor = page.next;
                }
                Err(error) => return self.fault(state_machine_arn, &error),
            }
            if cursor.is_none() {
                break;
            }
        }
        for run in runs {
            let now = self.clock.now();
            if running.contains(&run.run_id.to_string()) || now.duration_since(run.updated_at) < EVENT_GRACE {
                continue;
            }
            if self.summary.described >= self.bounds.describes || self.is_out_of_time() {
                self.summary.cut_short = true;
                return;
            }
            self.settle_by_description(run, now).await;
        }
    }

    async fn settle_by_description(&mut self, run: Run, now: Timestamp) {
        self.summary.described += 1;
        match self.engine.describe_execution(&run.execution_arn()).await {
            Ok(ExecutionState::Running) => {}
            Ok(ExecutionState::Ended(end, details)) => {
                self.settle(run, |_| Some(RunEvent::EngineEnded(end)), &details, now).await
            }
            Ok(ExecutionState::Unknown) => {
                if vanished(&run, now).is_some() {
                    let error =
                        RunError::new("Sluice.ExecutionVanished", "Step Functions no longer knows this execution", 512);
                    let end = EndDetails { error: Some(error), ..EndDetails::default() };
                    self.settle(run, |run| vanished(run, now), &end, now).await;
                }
            }
            Err(error) => self.fault(format_args!("run {}", run.run_id), &error),
        }
    }

    /// Settles a run as `decide` says of the run as it is.
    async fn settle(
        &mut self,
        run: Run,
        decide: impl Fn(&Run) -> Option<RunEvent> + Send,
        end: &EndDetails,
        now: Timestamp,
    ) {
        let run_id = run.run_id;
        match transition_if(self.store, run, decide, end, now).await {
            Ok(Some(transition)) => {
                self.summary.settled += 1;
                self.summary.ended.push(transition.after.status());
                announce(self.engine, &transition).await;
            }
            Ok(None) => {}
            Err(error) => self.fault(format_args!("run {run_id}"), &error),
        }
    }
}

/// That a run's time is up, if it is.
fn out_of_time(run: &Run, now: Timestamp) -> Option<RunEvent> {
    let deadline = run.deadline()?;
    (deadline <= now).then_some(RunEvent::StopAsked(StopIntent::TimedOut))
}

/// That an execution which the engine does not know is gone, if nothing was heard of its run for long enough.
fn vanished(run: &Run, now: Timestamp) -> Option<RunEvent> {
    let is_silent = now.duration_since(run.updated_at) >= VANISH_PATIENCE;
    (is_silent && run.status() != RunStatus::Pending).then_some(RunEvent::EngineVanished)
}
