//! Compares open runs with the executions that the engine says are running, and settles those whose end no event told of.
//!
//! What is running is listed once, before most of the runs are read. So whatever was claimed well before the list was begun,
//! is still open and is not on it, has ended since it was claimed.

use super::share::window;
use super::summary::SweepSummary;
use super::sweeper::Sweeper;
use crate::arn::StateMachineArn;
use crate::flow::transition_run::{announce, transition_if};
use crate::id::RunId;
use crate::lifecycle::{RunEvent, RunStatus};
use crate::ports::{AnnounceDue, ChangeRun, Clock, DescribeExecution, ExecutionState, ListExecutions};
use crate::run::{EndDetails, Run, RunError};
use crate::together::few;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// A run changed within this time is left to the event that is probably under way.
pub const EVENT_GRACE: SignedDuration = SignedDuration::from_secs(20);
/// How long the engine may not know an execution before it counts as vanished: its answers are eventually consistent.
pub const VANISH_PATIENCE: SignedDuration = SignedDuration::from_mins(10);
/// The list of what is running takes at most one of so many parts of the time that is left for open runs.
const PARTS_OF_LISTING: i64 = 4;

/// What a sweep knows of lost ends so far.
#[derive(Debug, Default)]
pub struct Differences {
    /// By state machine; `None` where the engine gave no list.
    running: BTreeMap<StateMachineArn, Option<Running>>,
    /// Runs that are not on the list and could not be asked about in the turn of their shard.
    left_over: Vec<Run>,
}

/// The executions of a state machine that are running. Where there was no time to list them all, some that are running are
/// not on it: then asking about one may be for nothing.
#[derive(Debug)]
struct Running {
    listed_at: Timestamp,
    names: BTreeSet<RunId>,
}

impl Running {
    /// Whether a run's execution has probably ended. One that is being stopped has been asked to again since the list was made.
    fn lacks(&self, run: &Run) -> bool {
        let is_old = self.listed_at.duration_since(run.updated_at) >= EVENT_GRACE;
        is_old && (run.status() == RunStatus::Canceling || !self.names.contains(&run.run_id))
    }
}

impl<S: ChangeRun, E: DescribeExecution + ListExecutions + AnnounceDue, C: Clock> Sweeper<'_, S, E, C> {
    /// Settles the lost ends among the runs of one shard, of which so many are left. It may use its share of the describes,
    /// and what the shards before it have not used.
    pub(super) async fn settle_difference(&mut self, found: &mut Differences, runs: Vec<Run>, left: i64) {
        for run in &runs {
            if !found.running.contains_key(&run.spec.state_machine_arn) {
                self.begin_part(PARTS_OF_LISTING);
                let running = self.list_running(&run.spec.state_machine_arn).await;
                found.running.insert(run.spec.state_machine_arn.clone(), running);
            }
        }
        self.begin_part(left);
        let is_lost = |run: &Run| {
            let running = found.running.get(&run.spec.state_machine_arn);
            running.is_some_and(|running| running.as_ref().is_some_and(|running| running.lacks(run)))
        };
        let lost: Vec<Run> = runs.into_iter().filter(is_lost).collect();
        let share = u64::from(self.describes_left()).div_ceil(u64::try_from(left.max(1)).unwrap_or(1));
        let (mine, others) = window(lost, usize::try_from(share).unwrap_or(usize::MAX), self.turn);
        self.settle_described(mine).await;
        // No more are kept than could still be asked about.
        let room = (self.bounds.describes as usize).saturating_sub(found.left_over.len());
        self.summary.cut_short |= others.len() > room;
        found.left_over.extend(others.into_iter().take(room));
    }

    /// Settles what was left over by the shards, as far as the describes go.
    pub(super) async fn settle_left_over(&mut self, mut found: Differences) {
        let most = self.describes_left() as usize;
        self.summary.cut_short |= found.left_over.len() > most;
        found.left_over.truncate(most);
        self.settle_described(found.left_over).await;
    }

    fn describes_left(&self) -> u32 {
        self.bounds.describes.saturating_sub(self.summary.described)
    }

    async fn settle_described(&mut self, runs: Vec<Run>) {
        let done = few(self.bounds.at_once, runs.into_iter().map(|run| self.settle_lost(run))).await;
        done.into_iter().for_each(|part| self.summary.add(part));
    }

    async fn settle_lost(&self, run: Run) -> SweepSummary {
        if self.is_over() { SweepSummary::not_begun() } else { self.settle_by_description(run).await }
    }

    /// `None` when the engine fails, or may not be asked any more. What there was no time for, and what was on pages that may
    /// not be asked for, is not on the list.
    async fn list_running(&mut self, state_machine_arn: &StateMachineArn) -> Option<Running> {
        let mut running = Running { listed_at: self.clock.now(), names: BTreeSet::new() };
        let mut cursor: Option<String> = None;
        loop {
            if self.summary.listed == self.bounds.lists {
                self.summary.cut_short = true;
                return cursor.map(|_| running);
            }
            if self.is_out_of_time() {
                return Some(running);
            }
            self.summary.listed += 1;
            match self.engine.running_executions(state_machine_arn, cursor.as_deref()).await {
                Ok(page) => {
                    // Whoever has another name is none of ours.
                    running.names.extend(page.items.iter().filter_map(|name| name.parse::<RunId>().ok()));
                    cursor = page.next;
                }
                Err(error) => {
                    self.fault(state_machine_arn, &error);
                    return None;
                }
            }
            if cursor.is_none() {
                return Some(running);
            }
        }
    }
}

impl<S: ChangeRun, E: DescribeExecution + AnnounceDue, C: Clock> Sweeper<'_, S, E, C> {
    pub(super) async fn settle_by_description(&self, run: Run) -> SweepSummary {
        let now = self.clock.now();
        let mut done = SweepSummary { described: 1, ..SweepSummary::default() };
        match self.engine.describe_execution(&run.execution_arn()).await {
            Ok(ExecutionState::Running) => {}
            Ok(ExecutionState::Ended(end, details)) => {
                done.add(self.settle(run, |_| Some(RunEvent::EngineEnded(end)), &details, now).await);
            }
            Ok(ExecutionState::Unknown) => {
                if vanished(&run, now).is_some() {
                    let error =
                        RunError::new("Sluice.ExecutionVanished", "Step Functions no longer knows this execution", 512);
                    let end = EndDetails { error: Some(error), ..EndDetails::default() };
                    done.add(self.settle(run, |run| vanished(run, now), &end, now).await);
                }
            }
            Err(error) => done.fault(format_args!("run {}", run.run_id), &error),
        }
        done
    }

    /// Settles a run as `decide` says of the run as it is.
    pub(super) async fn settle(
        &self,
        run: Run,
        decide: impl Fn(&Run) -> Option<RunEvent> + Send,
        end: &EndDetails,
        now: Timestamp,
    ) -> SweepSummary {
        let run_id = run.run_id;
        match transition_if(self.store, run, decide, end, now).await {
            Ok(Some(transition)) => {
                announce(self.engine, &transition).await;
                SweepSummary { settled: 1, ended: vec![transition.after.status()], ..SweepSummary::default() }
            }
            Ok(None) => SweepSummary::default(),
            Err(error) => SweepSummary::failed(format_args!("run {run_id}"), &error),
        }
    }
}

/// That an execution which the engine does not know is gone, if nothing was heard of its run for long enough.
fn vanished(run: &Run, now: Timestamp) -> Option<RunEvent> {
    let is_silent = now.duration_since(run.updated_at) >= VANISH_PATIENCE;
    (is_silent && run.status() != RunStatus::Pending).then_some(RunEvent::EngineVanished)
}
