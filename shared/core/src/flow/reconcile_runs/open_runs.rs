//! Looks at every open run, shard by shard, and does what the run shows by itself.

use super::difference::Differences;
use super::starts::START_GRACE;
use super::summary::SweepSummary;
use super::sweeper::Sweeper;
use crate::flow::cancel_run::stop;
use crate::flow::control_run::hand_over;
use crate::flow::transition_run::{announce, transition_if};
use crate::lifecycle::{RunEvent, RunStatus, StopIntent};
use crate::ports::{
    AnnounceDue, AnswerNode, AnswerTask, Clock, DescribeExecution, ListExecutions, RunRef, StopExecution, Sweep,
};
use crate::run::{EndDetails, Run, RunState};
use crate::together::few;
use jiff::Timestamp;

/// What was done about a run, and the run if its execution should be running.
type Seen = (SweepSummary, Option<Run>);

impl<S, E, C> Sweeper<'_, S, E, C>
where
    S: Sweep + AnswerNode,
    E: AnswerTask + StopExecution + DescribeExecution + ListExecutions + AnnounceDue,
    C: Clock,
{
    /// Looks at every open run, settles the lost ends among them, and notes what waits in queues or for its start.
    pub(super) async fn visit_open_runs(&mut self) {
        let mut differences = Differences::default();
        for (shard, left) in self.shards() {
            let runs = self.read_shard(shard, left).await;
            self.begin_part(left);
            let executing = self.visit_shard(runs).await;
            self.settle_difference(&mut differences, executing, left).await;
        }
        self.note_open_runs().await;
        self.begin_part(1);
        self.settle_left_over(differences).await;
    }

    /// Tells new runs how many of their tenant are open. Of a sweep that was cut short, those that it saw.
    async fn note_open_runs(&mut self) {
        for (tenant, open) in std::mem::take(&mut self.tally).notes(self.clock.now()) {
            if let Err(error) = self.store.note_open_runs(&tenant, &open).await {
                self.fault(format_args!("open runs of tenant {tenant}"), &error);
            }
        }
    }

    /// The open runs of a shard: as many as can be read in half of its time.
    async fn read_shard(&mut self, shard: u8, left: i64) -> Vec<Run> {
        self.begin_part(2 * left);
        let (mut runs, mut cursor) = (Vec::new(), None);
        while !self.is_out_of_time() {
            match self.store.open_runs(shard, cursor.as_deref()).await {
                Ok(page) => {
                    runs.extend(page.items);
                    cursor = page.next;
                }
                Err(error) => {
                    self.fault(format_args!("open runs of shard {shard}"), &error);
                    break;
                }
            }
            if cursor.is_none() {
                break;
            }
        }
        runs
    }

    /// Acts on what the runs show by themselves, and returns those whose executions should be running.
    async fn visit_shard(&mut self, runs: Vec<Run>) -> Vec<Run> {
        let now = self.clock.now();
        for run in &runs {
            self.summary.open += 1;
            self.tally.add(&run.tenant_id);
            self.summary.slots_held += run.slots.len() as u32;
            if let RunState::Queued { queue } = run.state {
                self.summary.queued += 1;
                self.queues.insert(run.queue(queue));
            }
            let is_pending = run.status() == RunStatus::Pending;
            if is_pending && now.duration_since(run.due_to_start_at()) >= START_GRACE {
                self.unstarted.insert(RunRef { tenant_id: run.tenant_id.clone(), run_id: run.run_id });
            }
        }
        let seen = few(self.bounds.at_once, runs.into_iter().map(|run| self.visit(run))).await;
        let (done, executing): (Vec<_>, Vec<_>) = seen.into_iter().unzip();
        done.into_iter().for_each(|part| self.summary.add(part));
        let mut executing: Vec<Run> = executing.into_iter().flatten().collect();
        // In an order that stays, so that those whose turn it is are others each time.
        executing.sort_by_key(|run| run.run_id);
        executing
    }

    async fn visit(&self, run: Run) -> Seen {
        let now = self.clock.now();
        match run.state {
            RunState::Ended(_) | RunState::Queued { .. } | RunState::Pending { .. } => (SweepSummary::default(), None),
            _ if self.is_over() => (SweepSummary::not_begun(), None),
            RunState::Stopping { .. } => {
                // Stopping again is harmless, and the first stop may have been lost.
                let mut done = SweepSummary { stops_asked: 1, ..SweepSummary::default() };
                done.faults.extend(self.stop(&run).await);
                (done, Some(run))
            }
            RunState::Running { .. } | RunState::Paused { .. } | RunState::Waiting { .. } => {
                if out_of_time(&run, now).is_some() {
                    return (self.time_out(run, now).await, None);
                }
                if run.state.owes_a_resume() || !run.state.answered_nodes().is_empty() {
                    return (self.hand_over(&run, now).await, Some(run));
                }
                (SweepSummary::default(), Some(run))
            }
        }
    }

    /// Asks the engine to stop a run's execution. Says so if it could not be asked.
    async fn stop(&self, run: &Run) -> Option<String> {
        let is_asked = stop(self.engine, run).await;
        (!is_asked).then(|| format!("run {}: its execution could not be stopped", run.run_id))
    }

    /// A resume or an answer was recorded, and nobody knows whether the runner has it: give it again, which is harmless.
    async fn hand_over(&self, run: &Run, now: Timestamp) -> SweepSummary {
        let name = format!("run {}", run.run_id);
        let owes = |run: &Run| run.state.owes_a_resume() || !run.state.answered_nodes().is_empty();
        let current = match self.store.load_run(&run.tenant_id, run.run_id).await {
            Ok(Some(current)) if owes(&current) => current,
            Ok(_) => return SweepSummary::default(),
            Err(error) => return SweepSummary::failed(name, &error),
        };
        match hand_over(self.store, self.engine, current, now).await {
            Ok((_, true)) => SweepSummary { handed_over: 1, ..SweepSummary::default() },
            Ok((_, false)) => {
                let faults = vec![format!("{name}: its runner could not be answered")];
                SweepSummary { faults, ..SweepSummary::default() }
            }
            Err(error) => SweepSummary::failed(name, &error),
        }
    }

    async fn time_out(&self, run: Run, now: Timestamp) -> SweepSummary {
        let run_id = run.run_id;
        // The run comes from the index: it may have been paused since.
        let decide = |run: &Run| out_of_time(run, now);
        match transition_if(self.store, run, decide, &EndDetails::default(), now).await {
            Ok(Some(transition)) => {
                let mut done = SweepSummary { timed_out: 1, ..SweepSummary::default() };
                done.ended.extend(Some(transition.after.status()).filter(|status| status.is_terminal()));
                announce(self.engine, &transition).await;
                if transition.after.status() == RunStatus::Canceling {
                    done.faults.extend(self.stop(&transition.after).await);
                }
                done
            }
            Ok(None) => SweepSummary::default(),
            Err(error) => SweepSummary::failed(format_args!("run {run_id}"), &error),
        }
    }
}

/// That a run's time is up, if it is.
fn out_of_time(run: &Run, now: Timestamp) -> Option<RunEvent> {
    let deadline = run.deadline()?;
    (deadline <= now).then_some(RunEvent::StopAsked(StopIntent::TimedOut))
}
