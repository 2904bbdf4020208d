//! Queues before concurrency limits, over an index that holds nothing but keys.

use super::page::{Range, Walk};
use super::{Store, corrupt, item, keys};
use sluice_core::concurrency::QueueRef;
use sluice_core::id::RunId;
use sluice_core::ports::{ReadQueue, StoreResult};
use sluice_core::run::Run;

impl ReadQueue for Store {
    async fn queued_runs(&self, queue: &QueueRef, limit: u32) -> StoreResult<Vec<RunId>> {
        let walk = walk("list queued runs", queue);
        let found = self.first(&walk, limit).await?;
        found.iter().map(item::to_queued_run).collect::<Result<_, _>>().map_err(|error| corrupt(walk.operation, error))
    }

    async fn queue_position(&self, run: &Run) -> StoreResult<Option<u32>> {
        let Some(scope) = run.state.queue() else {
            return Ok(None);
        };
        let own = keys::time_key(run.spec.created_at, run.run_id);
        let before = Walk { range: Range::Below(own), ..walk("find a run's place in its queue", &run.queue(scope)) };
        Ok(Some(self.count(&before).await? + 1))
    }
}

fn walk(operation: &'static str, queue: &QueueRef) -> Walk {
    Walk::of_index(operation, keys::QUEUE, (keys::QUEUE_KEY, keys::queue(queue)), keys::QUEUE_AT)
}
