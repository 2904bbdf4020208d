//! Starts queued runs for which there is a slot.

use super::share::rotated;
use super::summary::SweepSummary;
use super::sweeper::Sweeper;
use crate::concurrency::QueueRef;
use crate::flow::dispatch_runs::dispatch_runs;
use crate::ports::{AnnounceDue, ChangeRun, Clock, ReadCatalog, ReadQueue, RecordRun, StartExecution};
use crate::together::few;

impl<S, E, C> Sweeper<'_, S, E, C>
where
    S: ReadQueue + ReadCatalog + RecordRun + ChangeRun,
    E: StartExecution + AnnounceDue,
    C: Clock,
{
    pub(super) async fn dispatch_queues(&mut self) {
        let queues = rotated(std::mem::take(&mut self.queues).into_iter().collect(), self.turn);
        let done = few(self.bounds.at_once, queues.into_iter().map(|queue| self.dispatch(queue))).await;
        done.into_iter().for_each(|part| self.summary.add(part));
    }

    async fn dispatch(&self, queue: QueueRef) -> SweepSummary {
        if self.is_over() {
            return SweepSummary::not_begun();
        }
        match dispatch_runs(self.store, self.engine, &queue, self.clock.now()).await {
            Ok(done) => SweepSummary { dispatched: done.started, ended: done.ended, ..SweepSummary::default() },
            Err(error) => SweepSummary::failed(format_args!("queue {queue:?}"), &error),
        }
    }
}
