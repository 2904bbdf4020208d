//! Reading what a request needs before it can be planned, through a small cache in the process.

use super::item::{self, Item, ItemError, Key};
use super::{Store, corrupt, failed, keys};
use crate::clock::monotonic_now;
use aws_sdk_dynamodb::types::KeysAndAttributes;
use sluice_core::id::TenantId;
use sluice_core::ports::{CatalogItem, CatalogKey, ReadCatalog, StoreError, StoreErrorClass, StoreResult};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

const READ: &str = "read the catalog";
/// How long anything but a version is believed.
const FRESH_FOR: Duration = Duration::from_secs(5);
/// How long something stale may still be refreshed beside what is asked for.
const WORTH_FOR: Duration = Duration::from_secs(60);
/// Things that are remembered, and among them versions, which are kept for good but may be large.
const MOST_ITEMS: usize = 1_000;
const MOST_VERSIONS: usize = 64;
/// Keys of one `BatchGetItem`.
const BATCH: usize = 100;
/// Times that keys which DynamoDB left unanswered are asked for again.
const BATCH_TRIES: u32 = 5;
const BATCH_PAUSE: Duration = Duration::from_millis(25);

impl ReadCatalog for Store {
    async fn catalog(&self, tenant: &TenantId, keys: &[CatalogKey]) -> StoreResult<Vec<Option<CatalogItem>>> {
        let asked: Vec<Key> = keys.iter().map(|key| table_key(tenant, key)).collect();
        let mut known = self.cache.find(&asked);
        let missing: BTreeSet<Key> = asked.iter().filter(|key| !known.contains_key(key)).cloned().collect();
        if !missing.is_empty() {
            // One call anyway, so it refreshes whatever else this tenant's requests have lately used: the requests
            // that follow in the same chain then find it.
            let mut wanted = missing;
            let beside = self.cache.worth_refreshing(tenant, BATCH.saturating_sub(wanted.len()));
            wanted.extend(beside);
            let found = self.read_batches(wanted.into_iter().collect()).await?;
            self.cache.keep(&found, &asked);
            known.extend(found);
        }
        Ok(asked.iter().map(|key| known.get(key).cloned()).collect())
    }
}

impl Store {
    async fn read_batches(&self, keys: Vec<Key>) -> StoreResult<HashMap<Key, CatalogItem>> {
        let mut found = HashMap::with_capacity(keys.len());
        for batch in keys.chunks(BATCH) {
            self.read_batch(batch, &mut found).await?;
        }
        Ok(found)
    }

    async fn read_batch(&self, keys: &[Key], found: &mut HashMap<Key, CatalogItem>) -> StoreResult<()> {
        let mut left: Vec<Item> = keys.iter().cloned().map(Key::into_item).collect();
        for attempt in 0..BATCH_TRIES {
            if attempt > 0 {
                tokio::time::sleep(BATCH_PAUSE * 2u32.pow(attempt - 1)).await;
            }
            let wanted = KeysAndAttributes::builder().set_keys(Some(left)).consistent_read(true).build();
            let wanted = wanted.map_err(|error| corrupt(READ, error))?;
            let answer = self.client.batch_get_item().request_items(&*self.table, wanted).send().await;
            let answer = answer.map_err(|error| failed(READ, &error))?;
            for item in answer.responses.into_iter().flat_map(HashMap::into_values).flatten() {
                let (key, item) = read(item).map_err(|error| corrupt(READ, error))?;
                found.insert(key, item);
            }
            left =
                answer.unprocessed_keys.into_iter().flat_map(HashMap::into_values).flat_map(|left| left.keys).collect();
            if left.is_empty() {
                return Ok(());
            }
        }
        Err(StoreError { operation: READ, class: StoreErrorClass::Throttled, source: None })
    }
}

fn table_key(tenant: &TenantId, key: &CatalogKey) -> Key {
    match key {
        CatalogKey::DefinitionName(name) => keys::definition_name(tenant, name),
        CatalogKey::Definition(id) => keys::definition(tenant, *id),
        CatalogKey::Version(id, number) => keys::version(tenant, *id, *number),
        CatalogKey::Instance(id) => keys::instance(tenant, *id),
        CatalogKey::ComputeNode(key) => keys::compute_node(key),
        CatalogKey::Processor(key) => keys::processor(key),
    }
}

fn read(item: Item) -> Result<(Key, CatalogItem), ItemError> {
    let key = Key::of(&item).unwrap_or_else(|| Key::new("", ""));
    let kind = item::text(&item, "kind").unwrap_or_default().to_owned();
    let read = match kind.as_str() {
        item::DEFINITION_NAME => CatalogItem::DefinitionName(item::to_definition_name(&item)?),
        item::DEFINITION => CatalogItem::Definition(item::to_definition(item)?),
        item::VERSION => CatalogItem::Version(item::to_version(item)?),
        item::INSTANCE => CatalogItem::Instance(item::to_instance(item)?),
        item::COMPUTE_NODE => CatalogItem::ComputeNode(item::to_compute_node(item)?),
        item::PROCESSOR => CatalogItem::Processor(item::to_processor(item)?),
        _ => {
            return Err(ItemError::Kind { expected: "catalog item", found: kind });
        }
    };
    Ok((key, read))
}

/// What the process has read. By table key, which holds the tenant where there is one. What does not exist is never
/// remembered, so that what was just made is found.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<HashMap<Key, Remembered>>);

#[derive(Debug)]
struct Remembered {
    item: CatalogItem,
    read_at: Instant,
    used_at: Instant,
    /// Whether it was asked for since it was read. What was not is let go.
    was_used: bool,
}

impl Remembered {
    fn is_fresh(&self, now: Instant) -> bool {
        self.is_version() || now.duration_since(self.read_at) < FRESH_FOR
    }

    fn is_version(&self) -> bool {
        matches!(self.item, CatalogItem::Version(_))
    }
}

impl Cache {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Remembered>> {
        // Nothing panics while it is held; and if it did, the entries are each whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fresh ones.
    fn find(&self, keys: &[Key]) -> HashMap<Key, CatalogItem> {
        let now = monotonic_now();
        let mut remembered = self.lock();
        let mut found = HashMap::with_capacity(keys.len());
        for key in keys {
            if let Some(entry) = remembered.get_mut(key) {
                entry.was_used = true;
                entry.used_at = now;
                if entry.is_fresh(now) {
                    found.insert(key.clone(), entry.item.clone());
                }
            }
        }
        found
    }

    /// Stale things of the tenant or the operator that were used while they were fresh.
    fn worth_refreshing(&self, tenant: &TenantId, most: usize) -> Vec<Key> {
        let now = monotonic_now();
        let own = format!("T#{tenant}#");
        let remembered = self.lock();
        let stale = remembered.iter().filter(|(key, entry)| {
            entry.was_used && !entry.is_fresh(now) && (key.pk.starts_with(&own) || key.pk.starts_with("OP#"))
        });
        stale.map(|(key, _)| key.clone()).take(most).collect()
    }

    /// Remembers what was read, because it was asked for or beside that.
    fn keep(&self, found: &HashMap<Key, CatalogItem>, asked: &[Key]) {
        let now = monotonic_now();
        let mut remembered = self.lock();
        for (key, item) in found {
            let entry = Remembered { item: item.clone(), read_at: now, used_at: now, was_used: asked.contains(key) };
            remembered.insert(key.clone(), entry);
        }
        remembered.retain(|_, entry| entry.is_version() || now.duration_since(entry.read_at) < WORTH_FOR);
        drop_oldest(&mut remembered, MOST_VERSIONS, Remembered::is_version);
        drop_oldest(&mut remembered, MOST_ITEMS, |_| true);
    }

    /// Remembers what this process itself has made.
    pub(super) fn remember(&self, key: Key, item: CatalogItem) {
        let asked = [key.clone()];
        self.keep(&HashMap::from([(key, item)]), &asked);
    }

    /// Forgets what this process itself has changed.
    pub(super) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }
}

fn drop_oldest(remembered: &mut HashMap<Key, Remembered>, most: usize, counts: impl Fn(&Remembered) -> bool) {
    let counted = || remembered.iter().filter(|(_, entry)| counts(entry));
    let excess = counted().count().saturating_sub(most);
    if excess == 0 {
        return;
    }
    let mut by_use: Vec<(Instant, Key)> = counted().map(|(key, entry)| (entry.used_at, key.clone())).collect();
    by_use.sort();
    for (_, key) in by_use.into_iter().take(excess) {
        remembered.remove(&key);
    }
}
