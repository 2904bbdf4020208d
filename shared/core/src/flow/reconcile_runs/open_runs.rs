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

/// What an open run needs of the engine, by what it shows by itself.
enum Need {
    /// It is not executing.
    Nothing,
    /// Only that its execution is running.
    Running,
    /// That its execution stops.
    Stop,
    /// That its runner is given what it is owed.
    HandOver,
}

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
            let executing = self.visit_shard(runs, left).await;
            self.settle_difference(&mut differences, executing, left).await;
        }
        self.note_open_runs().await;
        self.begin_part(2);
        self.visit_postponed().await;
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

    /// Acts on what the runs of a shard show by themselves, and returns those whose executions should be running. So many
    /// shards are left.
    async fn visit_shard(&mut self, mut runs: Vec<Run>, left: i64) -> Vec<Run> {
        let now = self.clock.now();
        // In an order that stays, so that those whose turn it is are others each time.
        runs.sort_by_key(|run| run.run_id);
        let (mut executing, mut stops, mut hand_overs) = (Vec::new(), Vec::new(), Vec::new());
        for run in runs {
            self.note(&run, now);
            match need(&run, now) {
                Need::Nothing => {}
                Need::Running => executing.push(run),
                Need::Stop => {
                    // One whose time is up is asked about once its stop was asked for.
                    executing.extend((run.status() == RunStatus::Canceling).then(|| run.clone()));
                    stops.push(run);
                }
                Need::HandOver => {
                    executing.push(run.clone());
                    hand_overs.push(run);
                }
            }
        }
        let mut mine = self.stops.share(stops, left, self.turn);
        mine.extend(self.hand_overs.share(hand_overs, left, self.turn));
        self.visit_few(mine).await;
        executing
    }

    /// Acts on those that could not be in the turn of their shard, as far as the calls go.
    async fn visit_postponed(&mut self) {
        let mut rest = self.stops.rest();
        rest.extend(self.hand_overs.rest());
        self.visit_few(rest).await;
        self.summary.cut_short |= self.stops.cut_short || self.hand_overs.cut_short;
    }

    async fn visit_few(&mut self, runs: Vec<Run>) {
        let seen = few(self.bounds.at_once, runs.into_iter().map(|run| self.visit(run))).await;
        seen.into_iter().for_each(|part| self.summary.add(part));
    }

    /// Counts a run, and notes what it waits for.
    fn note(&mut self, run: &Run, now: Timestamp) {
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

    /// Does what a run needs of the engine.
    async fn visit(&self, run: Run) -> SweepSummary {
        if self.is_over() {
            return SweepSummary::not_begun();
        }
        let now = self.clock.now();
        match need(&run, now) {
            Need::Nothing | Need::Running => SweepSummary::default(),
            Need::HandOver => self.hand_over(&run, now).await,
            Need::Stop if run.status() != RunStatus::Canceling => self.time_out(run, now).await,
            Need::Stop => {
                // Stopping again is harmless, and the first stop may have been lost.
                let mut done = SweepSummary { stops_asked: 1, ..SweepSummary::default() };
                done.faults.extend(self.stop(&run).await);
                done
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

fn need(run: &Run, now: Timestamp) -> Need {
    match run.state {
        RunState::Ended(_) | RunState::Queued { .. } | RunState::Pending { .. } => Need::Nothing,
        RunState::Stopping { .. } => Need::Stop,
        RunState::Running { .. } | RunState::Paused { .. } | RunState::Waiting { .. } => match out_of_time(run, now) {
            Some(_) => Need::Stop,
            None if owes(run) => Need::HandOver,
            None => Need::Running,
        },
    }
}

/// Whether a resume or an answer was recorded that the runner may not have.
fn owes(run: &Run) -> bool {
    run.state.owes_a_resume() || !run.state.answered_nodes().is_empty()
}

/// That a run's time is up, if it is.
fn out_of_time(run: &Run, now: Timestamp) -> Option<RunEvent> {
    let deadline = run.deadline()?;
    (deadline <= now).then_some(RunEvent::StopAsked(StopIntent::TimedOut))
}
