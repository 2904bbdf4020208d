//! Deletes runs whose time is over, taking turns among their tenants.

use super::share::in_turns;
use super::summary::SweepSummary;
use super::sweeper::Sweeper;
use crate::flow::retain_run::{Purged, purge_expired};
use crate::ports::{ChangeRun, Clock, PurgeRuns, RunRef, Sweep};
use crate::together::few;

/// Expired runs that are looked at for each that may be deleted: some are still owed a delivery.
const CANDIDATES_PER_PURGE: u32 = 8;
/// Expired runs on a page.
const PAGE: u32 = 200;
/// Pages that are read of a shard, to find those who stand behind the many of one tenant.
const PAGES_PER_SHARD: u32 = 10;

impl<S: Sweep + ChangeRun + PurgeRuns, E, C: Clock> Sweeper<'_, S, E, C> {
    pub(super) async fn purge_expired(&mut self) {
        for (shard, left) in self.shards() {
            // However slow it is to find them, there is some time to delete them.
            self.begin_part(2 * left);
            let expired = self.expired_of(shard).await;
            self.begin_part(left);
            self.purge_in_turns(in_turns(expired, |run| run.tenant_id.clone())).await;
        }
    }

    async fn expired_of(&mut self, shard: u8) -> Vec<RunRef> {
        let (now, mut expired, mut cursor) = (self.clock.now(), Vec::new(), None);
        for _ in 0..PAGES_PER_SHARD {
            if self.is_out_of_time() {
                break;
            }
            match self.store.expired_runs(shard, now, PAGE, cursor.as_deref()).await {
                Ok(page) => {
                    expired.extend(page.items);
                    cursor = page.next;
                }
                Err(error) => {
                    self.fault(format_args!("expired runs of shard {shard}"), &error);
                    break;
                }
            }
            if cursor.is_none() {
                break;
            }
        }
        expired
    }

    async fn purge_in_turns(&mut self, expired: Vec<RunRef>) {
        let most = self.bounds.purges_per_shard;
        let looks = most.saturating_mul(CANDIDATES_PER_PURGE) as usize;
        self.summary.cut_short |= expired.len() > looks;
        let purged_before = self.summary.purged;
        let mut expired = expired.into_iter().take(looks);
        loop {
            let room = most.saturating_sub(self.summary.purged - purged_before) as usize;
            let next: Vec<RunRef> = expired.by_ref().take(self.bounds.at_once.clamp(1, room.max(1))).collect();
            if next.is_empty() || self.is_out_of_time() {
                return;
            }
            if room == 0 {
                self.summary.cut_short = true;
                return;
            }
            let done = few(next.len(), next.into_iter().map(|run| self.purge(run))).await;
            done.into_iter().for_each(|part| self.summary.add(part));
        }
    }

    async fn purge(&self, run: RunRef) -> SweepSummary {
        match purge_expired(self.store, &run, self.clock.now()).await {
            Ok(Purged::Deleted) => SweepSummary { purged: 1, ..SweepSummary::default() },
            Ok(Purged::PutOff) => SweepSummary { put_off: 1, ..SweepSummary::default() },
            Ok(Purged::Owed | Purged::Kept) => SweepSummary::default(),
            Err(error) => SweepSummary::failed(format_args!("run {}", run.run_id), &error),
        }
    }
}
