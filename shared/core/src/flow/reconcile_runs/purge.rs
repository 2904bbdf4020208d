//! Deletes runs whose time is over.

use super::sweeper::Sweeper;
use crate::flow::retain_run::purge_expired;
use crate::ports::{ChangeRun, Clock, PurgeRuns, Sweep};

/// Expired runs that are looked at for each that may be deleted: some are still owed a delivery and have to stay.
const CANDIDATES_PER_PURGE: u32 = 8;

impl<S: Sweep + ChangeRun + PurgeRuns, E, C: Clock> Sweeper<'_, S, E, C> {
    pub(super) async fn purge_expired(&mut self) {
        for (shard, _) in self.shards() {
            let now = self.clock.now();
            let candidates = self.bounds.purges_per_shard.saturating_mul(CANDIDATES_PER_PURGE);
            let expired = match self.store.expired_runs(shard, now, candidates).await {
                Ok(expired) => expired,
                Err(error) => {
                    self.fault(format_args!("expired runs of shard {shard}"), &error);
                    continue;
                }
            };
            let mut purged = 0;
            for run in expired {
                if self.is_out_of_time() {
                    return;
                }
                if purged == self.bounds.purges_per_shard {
                    self.summary.cut_short = true;
                    break;
                }
                match purge_expired(self.store, &run, now).await {
                    Ok(true) => {
                        self.summary.purged += 1;
                        purged += 1;
                    }
                    Ok(false) => {}
                    Err(error) => self.fault(format_args!("run {}", run.run_id), &error),
                }
            }
        }
    }
}
