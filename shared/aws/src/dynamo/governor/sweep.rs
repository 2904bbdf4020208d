//! Ledgers that somebody has to look at.

use super::{Expression, Tries, Updated};
use crate::dynamo::item::{Item, text};
use crate::dynamo::operation::ReturnValue;
use crate::dynamo::page::{Range, Walk};
use crate::dynamo::{Store, keys};
use jiff::Timestamp;
use sluice_core::governor::ledger::Ledger;
use sluice_core::governor::ledger::change::Balance;
use sluice_core::ports::{RunRef, SHARDS, StoreResult, SweepLedgers};
use sluice_core::together::few;

/// Shards that are asked at a time.
const AT_ONCE: usize = 4;

impl Store {
    /// The first of one shard.
    async fn due_in(&self, shard: u8, now: Timestamp, limit: u32) -> StoreResult<Vec<(String, RunRef)>> {
        let partition = (keys::QUEUE_KEY, keys::ledger_shard(shard));
        let walk = Walk::of_index("list the ledgers that are due", keys::QUEUE, partition, keys::QUEUE_AT);
        let found = self.first(&Walk { range: Range::Below(keys::due_until(now)), ..walk }, limit).await?;
        Ok(found.iter().filter_map(entry).collect())
    }
}

impl SweepLedgers for Store {
    async fn due_ledgers(&self, now: Timestamp, limit: u32) -> StoreResult<Vec<RunRef>> {
        let shards = (0..SHARDS).map(|shard| self.due_in(shard, now, limit));
        let mut due: Vec<(String, RunRef)> = Vec::new();
        for found in few(AT_ONCE, shards).await {
            due.extend(found?);
        }
        due.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(due.into_iter().take(limit as usize).map(|(_, run)| run).collect())
    }

    async fn swept(&self, run: &RunRef, seen: &Ledger) -> StoreResult<bool> {
        let expression = Expression::swept(run, seen);
        let updated = self
            .update_ledger("note that a ledger was swept", run, expression, ReturnValue::None, Tries::AsUsual)
            .await?;
        Ok(matches!(updated, Updated::Done(_)))
    }

    async fn balance(&self, run: &RunRef, balance: &Balance) -> StoreResult<bool> {
        self.balance_with_quota(run, balance).await
    }
}

/// When, and whose: an entry in the index has nothing but keys.
fn entry(item: &Item) -> Option<(String, RunRef)> {
    let (tenant_id, run_id) = keys::run_of_pk(text(item, keys::PK)?)?;
    Some((text(item, keys::QUEUE_AT)?.to_owned(), RunRef { tenant_id, run_id }))
}
