//! What the reconciler looks for: open runs and due deliveries, by shard.

use super::item::{Item, Key, text};
use super::page::{Range, Walk};
use super::{Store, corrupt, item, keys};
use jiff::Timestamp;
use sluice_core::ports::{DeliveryRef, Page, StoreResult, Sweep};
use sluice_core::run::Run;

/// Open runs on a page.
const OPEN_PAGE: i32 = 200;

impl Sweep for Store {
    async fn open_runs(&self, shard: u8, cursor: Option<&str>) -> StoreResult<Page<Run>> {
        let walk = Walk {
            operation: "list open runs",
            index: Some(keys::OPEN),
            partition: (keys::OPEN_SHARD, keys::open_shard(shard)),
            sort: keys::OPEN_AT,
            range: Range::All,
            filter: None,
            only: &[],
            ascending: true,
        };
        let start = match cursor {
            Some(cursor) => {
                Some(start(cursor, &walk).ok_or_else(|| corrupt(walk.operation, "the cursor names no run"))?)
            }
            None => None,
        };
        let (found, last) = self.query(&walk, Some(OPEN_PAGE), start).await?;
        Ok(Page { items: readable(found, item::to_run), next: last.as_ref().and_then(cursor_at) })
    }

    async fn due_deliveries(&self, shard: u8, now: Timestamp, limit: u32) -> StoreResult<Vec<DeliveryRef>> {
        let walk = Walk {
            operation: "list due deliveries",
            index: Some(keys::DUE),
            partition: (keys::DUE_SHARD, keys::due_shard(shard)),
            sort: keys::DUE_AT,
            range: Range::Below(keys::due_until(now)),
            filter: None,
            only: &[],
            ascending: true,
        };
        let limit = i32::try_from(limit).unwrap_or(i32::MAX).max(1);
        let (found, _) = self.query(&walk, Some(limit), None).await?;
        Ok(readable(found, item::to_delivery_ref))
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

/// The sweep crosses tenants, so its cursor names the partition too. It never leaves the reconciler.
fn cursor_at(last: &Item) -> Option<String> {
    Some(format!("{} {}", text(last, keys::OPEN_AT)?, text(last, keys::PK)?))
}

fn start(cursor: &str, walk: &Walk) -> Option<Item> {
    let (open_at, pk) = cursor.split_once(' ')?;
    let mut start = Key::new(pk, keys::HEAD).into_item();
    start.insert(walk.partition.0.to_owned(), item::s(&walk.partition.1));
    start.insert(walk.sort.to_owned(), item::s(open_at));
    Some(start)
}
