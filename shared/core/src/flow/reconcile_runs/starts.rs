//! Starts again what was recorded and may never have been started, which is safe by its name.

use super::share::window;
use super::summary::SweepSummary;
use super::sweeper::Sweeper;
use crate::flow::admission;
use crate::flow::create_run::start_input;
use crate::lifecycle::{RunEvent, RunStatus};
use crate::ports::{
    AnnounceDue, ChangeRun, Clock, DescribeExecution, ReadCatalog, RecordRun, RunRef, StartExecution, StartOutcome,
    StartRequest, StoreResult,
};
use crate::run::{EndDetails, Run, RunError};
use crate::snapshot::Snapshot;
use crate::together::few;
use jiff::SignedDuration;

/// A run younger than this may still be in the hands of the request that made it.
pub const START_GRACE: SignedDuration = SignedDuration::from_secs(20);
/// A run that could not be started for this long ends `FAILED`/`start_failed`.
pub const START_PATIENCE: SignedDuration = SignedDuration::from_hours(1);

impl<S, E, C> Sweeper<'_, S, E, C>
where
    S: ReadCatalog + RecordRun + ChangeRun,
    E: StartExecution + DescribeExecution + AnnounceDue,
    C: Clock,
{
    /// Those whose turn it is: where many hang, others of them come at the next sweep.
    pub(super) async fn start_unstarted(&mut self) {
        let unstarted: Vec<RunRef> = std::mem::take(&mut self.unstarted).into_iter().collect();
        let (mine, others) = window(unstarted, self.bounds.starts as usize, self.turn);
        self.summary.cut_short |= !others.is_empty();
        let done = few(self.bounds.at_once, mine.into_iter().map(|run| self.start_again(run))).await;
        done.into_iter().for_each(|part| self.summary.add(part));
    }

    async fn start_again(&self, RunRef { tenant_id, run_id }: RunRef) -> SweepSummary {
        if self.is_over() {
            return SweepSummary::not_begun();
        }
        let name = format!("run {run_id}");
        let loaded = async {
            let run = self.store.load_run(&tenant_id, run_id).await?;
            let Some(run) = run.filter(|run| run.status() == RunStatus::Pending) else { return Ok(None) };
            Ok(self.store.load_snapshot(&tenant_id, run_id).await?.map(|snapshot| (run, snapshot)))
        };
        let loaded: StoreResult<Option<(Run, Snapshot)>> = loaded.await;
        match loaded {
            Ok(Some((run, snapshot))) => match admission::refuse_start(self.store, &snapshot).await {
                Ok(None) => self.start(run, &snapshot).await,
                Ok(Some(error)) => self.give_up(run, error).await,
                Err(error) => SweepSummary::failed(name, &error),
            },
            Ok(None) => SweepSummary::default(),
            Err(error) => SweepSummary::failed(name, &error),
        }
    }

    async fn start(&self, run: Run, snapshot: &Snapshot) -> SweepSummary {
        let input = match start_input(snapshot, &self.store.record_keys(&run.tenant_id, run.run_id)) {
            Ok(input) => input,
            Err(error) => return SweepSummary::failed(format_args!("run {}", run.run_id), &error),
        };
        let (now, state_machine_arn) = (self.clock.now(), &run.spec.state_machine_arn);
        let age = now.duration_since(run.due_to_start_at());
        let request = StartRequest { state_machine_arn, run_id: run.run_id, input: &input };
        let mut done = SweepSummary { starts_asked: 1, ..SweepSummary::default() };
        let part = match self.engine.start_execution(&request).await {
            Ok(StartOutcome::Started) => {
                done.started += 1;
                // Started long ago and still not claimed: it may have ended before it could claim its run.
                if age < START_GRACE * 3 { SweepSummary::default() } else { self.settle_by_description(run).await }
            }
            Ok(StartOutcome::Refused { code, message }) => {
                self.give_up(run, RunError::new(&code, &message, RunError::FULL_MESSAGE_CHARS)).await
            }
            Err(_unanswered) if age < START_PATIENCE => SweepSummary::default(),
            Err(unanswered) => {
                let source = unanswered.source.map(|source| source.to_string()).unwrap_or_default();
                let message = format!("the run could not be started for an hour: {source}");
                let error = RunError::new("Sluice.StartTimedOut", &message, RunError::FULL_MESSAGE_CHARS);
                self.give_up(run, error).await
            }
        };
        done.add(part);
        done
    }

    async fn give_up(&self, run: Run, error: RunError) -> SweepSummary {
        let end = EndDetails { error: Some(error), ..EndDetails::default() };
        self.settle(run, |_| Some(RunEvent::StartRefused), &end, self.clock.now()).await
    }
}
