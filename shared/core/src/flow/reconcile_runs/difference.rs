//! Compares open runs with the executions that the engine says are running, and settles those whose end no event told of.

use super::sweeper::Sweeper;
use crate::arn::StateMachineArn;
use crate::flow::transition_run::{announce, transition_if};
use crate::lifecycle::{RunEvent, RunStatus};
use crate::ports::{AnnounceDue, ChangeRun, Clock, DescribeExecution, ExecutionState, ListExecutions};
use crate::run::{EndDetails, Run, RunError};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

/// A run changed within this time is left to the event that is probably under way.
pub const EVENT_GRACE: SignedDuration = SignedDuration::from_secs(20);
/// How long the engine may not know an execution before it counts as vanished: its answers are eventually consistent.
pub const VANISH_PATIENCE: SignedDuration = SignedDuration::from_mins(10);

impl<S, E, C> Sweeper<'_, S, E, C>
where
    S: ChangeRun,
    E: DescribeExecution + ListExecutions + AnnounceDue,
    C: Clock,
{
    /// Open records were read first, so whatever the engine does not list as running now has ended since.
    pub(super) async fn settle_difference(&mut self, state_machine_arn: &StateMachineArn, runs: Vec<Run>) {
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
}

impl<S: ChangeRun, E: DescribeExecution + AnnounceDue, C: Clock> Sweeper<'_, S, E, C> {
    pub(super) async fn settle_by_description(&mut self, run: Run, now: Timestamp) {
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
    pub(super) async fn settle(
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

/// That an execution which the engine does not know is gone, if nothing was heard of its run for long enough.
fn vanished(run: &Run, now: Timestamp) -> Option<RunEvent> {
    let is_silent = now.duration_since(run.updated_at) >= VANISH_PATIENCE;
    (is_silent && run.status() != RunStatus::Pending).then_some(RunEvent::EngineVanished)
}
