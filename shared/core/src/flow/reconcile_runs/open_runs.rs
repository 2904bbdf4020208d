//! Looks at every open run, and does what the run shows by itself.

use super::sweeper::Sweeper;
use crate::arn::StateMachineArn;
use crate::flow::admission;
use crate::flow::cancel_run::stop;
use crate::flow::control_run::hand_over;
use crate::flow::create_run::start_input;
use crate::flow::transition_run::{announce, transition_if};
use crate::lifecycle::{RunEvent, RunStatus, StopIntent};
use crate::ports::{
    AnnounceDue, AnswerNode, AnswerTask, Clock, DescribeExecution, ReadCatalog, RecordRun, SHARDS, StartExecution,
    StartOutcome, StartRequest, StopExecution, Sweep,
};
use crate::run::{EndDetails, Run, RunError, RunState};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// A run younger than this may still be in the hands of the request that made it.
pub const START_GRACE: SignedDuration = SignedDuration::from_secs(20);
/// A run that could not be started for this long ends `FAILED`/`start_failed`.
pub const START_PATIENCE: SignedDuration = SignedDuration::from_hours(1);

impl<S, E, C> Sweeper<'_, S, E, C>
where
    S: Sweep + ReadCatalog + RecordRun + AnswerNode,
    E: AnswerTask + StartExecution + StopExecution + DescribeExecution + AnnounceDue,
    C: Clock,
{
    /// Acts on what an open run shows by itself, and returns the runs whose executions should be running, by their
    /// state machine.
    pub(super) async fn visit_open_runs(&mut self) -> BTreeMap<StateMachineArn, Vec<Run>> {
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
}

/// That a run's time is up, if it is.
fn out_of_time(run: &Run, now: Timestamp) -> Option<RunEvent> {
    let deadline = run.deadline()?;
    (deadline <= now).then_some(RunEvent::StopAsked(StopIntent::TimedOut))
}
