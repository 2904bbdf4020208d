//! What the reconciler looks for.

use super::*;

impl Sweep for MemoryStore {
    async fn note_open_runs(&self, tenant: &TenantId, open: &OpenRuns) -> StoreResult<()> {
        self.act("note how many runs are open", |tables| {
            tables.writes += 1;
            tables.open_runs.insert(tenant.clone(), *open);
            Ok(())
        })
        .await
    }

    async fn open_runs(&self, shard: u8, cursor: Option<&str>) -> StoreResult<Page<Run>> {
        // A fault of this name does not fail the read: it lets the index lag behind the table.
        let lags = self.faults.next("keep the open index up to date").is_some();
        self.act("list open runs", |tables| {
            if !lags && tables.indexed_at != tables.writes {
                tables.indexed = tables.runs.clone();
                tables.indexed_at = tables.writes;
            }
            let open =
                tables.indexed.values().filter(|run| !run.status().is_terminal() && shard_of(run.run_id) == shard);
            let mut open: Vec<Run> = open.cloned().collect();
            open.sort_by_key(|run| (run.spec.created_at, run.run_id));
            page(("open runs", shard), open, tables.page.unwrap_or(u32::MAX), cursor)
        })
        .await
    }

    async fn due_deliveries(&self, shard: u8, now: Timestamp, cursor: Option<&str>) -> StoreResult<Page<DueDelivery>> {
        self.act("list due deliveries", |tables| {
            let mut due: Vec<&Delivery> = tables
                .deliveries
                .values()
                .filter(|delivery| delivery.is_due(now) && shard_of(delivery.run_id) == shard)
                .collect();
            due.sort_by_key(|delivery| delivery.next_attempt_at);
            let due = due
                .into_iter()
                .map(|delivery| DueDelivery { delivery: reference(delivery), receiver: delivery.receiver() });
            page(("due", shard), due.collect(), DUE_PAGE, cursor)
        })
        .await
    }

    async fn expired_runs(
        &self,
        shard: u8,
        now: Timestamp,
        limit: u32,
        cursor: Option<&str>,
    ) -> StoreResult<Page<RunRef>> {
        self.act("list expired runs", |tables| {
            let purge_at = |run: &Run| run.state.ended().and_then(|ended| ended.purge_at());
            let expired = tables.runs.values().filter(|run| purge_at(run).is_some_and(|at| at <= now));
            let mut expired: Vec<&Run> = expired.filter(|run| shard_of(run.run_id) == shard).collect();
            expired.sort_by_key(|run| (purge_at(run), run.run_id));
            let named = |run: &Run| RunRef { tenant_id: run.tenant_id.clone(), run_id: run.run_id };
            // By what is last on a page, so that what goes meanwhile moves nobody.
            let is_after = |run: &&&Run| cursor.is_none_or(|last| place(purge_at(run), run.run_id).as_str() > last);
            let mut expired = expired.iter().filter(is_after);
            let limit = tables.page.unwrap_or(limit) as usize;
            let items: Vec<&Run> = expired.by_ref().take(limit).copied().collect();
            let next = expired.next().and(items.last()).map(|last| place(purge_at(last), last.run_id));
            Ok(Page { items: items.into_iter().map(named).collect(), next })
        })
        .await
    }
}

/// The place of a run among the expired ones, in their order.
fn place(purge_at: Option<Timestamp>, run_id: RunId) -> String {
    let millis = purge_at.map_or(0, |at| at.as_millisecond());
    format!("{millis:020} {run_id}")
}
