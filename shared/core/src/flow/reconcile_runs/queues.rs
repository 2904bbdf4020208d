//! Starts queued runs for which there is a slot.

use super::sweeper::Sweeper;
use crate::flow::dispatch_runs::dispatch_runs;
use crate::ports::{AnnounceDue, ChangeRun, Clock, ReadCatalog, ReadQueue, RecordRun, StartExecution};

impl<S, E, C> Sweeper<'_, S, E, C>
where
    S: ReadQueue + ReadCatalog + RecordRun + ChangeRun,
    E: StartExecution + AnnounceDue,
    C: Clock,
{
    pub(super) async fn dispatch_queues(&mut self) {
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
}
