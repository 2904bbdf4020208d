//! What the reconciler looks for: open runs, due deliveries and expired runs, by shard; and how it walks through a shard.

use super::item::{Item, text};
use super::keys::Key;
use super::operation::{Change, PutItem};
use super::page::{Range, Walk};
use super::{Store, corrupt, failed, item, keys};
use jiff::Timestamp;
use sluice_core::id::TenantId;
use sluice_core::open_runs::OpenRuns;
use sluice_core::ports::{DueDelivery, Page, RunRef, StoreResult, Sweep};
use sluice_core::run::Run;

/// Items on a page.
const PAGE: i32 = 200;

impl Sweep for Store {
    async fn open_runs(&self, shard: u8, cursor: Option<&str>) -> StoreResult<Page<Run>> {
        let partition = (keys::OPEN_SHARD, keys::open_shard(shard));
        let walk = Walk::of_index("list open runs", keys::OPEN, partition, keys::OPEN_AT);
        self.sweep_page(&walk, PAGE, cursor, item::to_run).await
    }

    async fn note_open_runs(&self, tenant: &TenantId, open: &OpenRuns) -> StoreResult<()> {
        const OPERATION: &str = "note how many runs are open";
        let item = item::from_open_runs(tenant, open).map_err(|error| corrupt(OPERATION, error))?;
        let put = Change { item: Some(item), ..self.change() };
        self.dynamodb.call::<PutItem>(put).await.map(|_| ()).map_err(|error| failed(OPERATION, &error))
    }

    async fn due_deliveries(&self, shard: u8, now: Timestamp, cursor: Option<&str>) -> StoreResult<Page<DueDelivery>> {
        let walk = due_until("list due deliveries", keys::due_shard(shard), now);
        self.sweep_page(&walk, PAGE, cursor, item::to_due_delivery).await
    }

    async fn expired_runs(
        &self,
        shard: u8,
        now: Timestamp,
        limit: u32,
        cursor: Option<&str>,
    ) -> StoreResult<Page<RunRef>> {
        let walk = due_until("list expired runs", keys::expiry_shard(shard), now);
        let limit = i32::try_from(limit).unwrap_or(PAGE).clamp(1, PAGE);
        self.sweep_page(&walk, limit, cursor, item::to_run_ref).await
    }
}

/// What is due by `now` in a partition of the index of what is due.
fn due_until(operation: &'static str, shard: String, now: Timestamp) -> Walk {
    due_in(operation, keys::DUE, (keys::DUE_SHARD, shard), keys::DUE_AT, now)
}

/// What is due by `now` in a partition of an index that is sorted by time.
pub(super) fn due_in(
    operation: &'static str,
    index: &'static str,
    partition: (&'static str, String),
    sort: &'static str,
    now: Timestamp,
) -> Walk {
    Walk { range: Range::Below(keys::due_until(now)), ..Walk::of_index(operation, index, partition, sort) }
}

impl Store {
    pub(super) async fn sweep_page<T>(
        &self,
        walk: &Walk,
        limit: i32,
        cursor: Option<&str>,
        read: impl Fn(Item) -> Result<T, item::ItemError>,
    ) -> StoreResult<Page<T>> {
        let place =
            |cursor| start(cursor, walk).ok_or_else(|| corrupt(walk.operation, "the cursor is of another list"));
        let start = cursor.map(place).transpose()?;
        let (found, last) = self.query(walk, Some(limit), start).await?;
        Ok(Page { items: readable(found, read), next: last.as_ref().and_then(|last| cursor_at(last, walk)) })
    }
}

/// One item that nobody can read must not keep the sweep from the others: it is said aloud and passed over.
fn readable<T>(items: Vec<Item>, read: impl Fn(Item) -> Result<T, item::ItemError>) -> Vec<T> {
    let read = |found: Item| {
        let key = Key::of(&found);
        read(found)
            .inspect_err(|error| {
                let pk = key.as_ref().map_or("?", |key| key.pk.as_str());
                tracing::error!(item.pk = pk, %error, "an item in a sweep index cannot be read");
            })
            .ok()
    };
    items.into_iter().filter_map(read).collect()
}

/// The sweep crosses tenants, so its cursor names the item by its whole key. It never leaves the reconciler.
fn cursor_at(last: &Item, walk: &Walk) -> Option<String> {
    let Key { pk, sk } = Key::of(last)?;
    Some(format!("{} {} {pk} {sk}", walk.partition.1, text(last, walk.sort)?))
}

fn start(cursor: &str, walk: &Walk) -> Option<Item> {
    let [partition, position, pk, sk] = cursor.split(' ').collect::<Vec<_>>()[..] else { return None };
    let mut start = Key::new(pk, sk).into_item();
    start.insert(walk.partition.0.into(), item::s(partition));
    start.insert(walk.sort.into(), item::s(position));
    (partition == walk.partition.1).then_some(start)
}
