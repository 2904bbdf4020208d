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
    /// A few at a time, until so many runs were started that others have to be left the engine's starts.
    pub(super) async fn dispatch_queues(&mut self) {
        let queues = rotated(std::mem::take(&mut self.queues).into_iter().collect(), self.turn);
        let (mut queues, mut starts) = (queues.into_iter(), 0);
        loop {
            let next: Vec<QueueRef> = queues.by_ref().take(self.bounds.at_once.max(1)).collect();
            if next.is_empty() {
                return;
            }
            if starts >= self.bounds.dispatches {
                self.summary.cut_short = true;
                return;
            }
            let done = few(next.len(), next.into_iter().map(|queue| self.dispatch(queue))).await;
            for (part, started) in done {
                starts += started;
                self.summary.add(part);
            }
        }
    }

    /// Also says how many starts this took.
    async fn dispatch(&self, queue: QueueRef) -> (SweepSummary, u32) {
        if self.is_over() {
            return (SweepSummary::not_begun(), 0);
        }
        match dispatch_runs(self.store, self.engine, &queue, self.clock.now()).await {
            Ok(done) => {
                let starts = done.started + done.start_delayed + done.ended.len() as u32;
                (SweepSummary { dispatched: done.started, ended: done.ended, ..SweepSummary::default() }, starts)
            }
            Err(error) => (SweepSummary::failed(format_args!("queue {queue:?}"), &error), 0),
        }
    }
}
