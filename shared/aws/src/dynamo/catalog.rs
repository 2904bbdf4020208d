//! Reading what a request needs before it can be planned, through a small cache in the process.

use super::item::{self, Item, ItemError, Key};
use super::{Store, corrupt, keys};
use crate::clock::monotonic_now;
use sluice_core::id::TenantId;
use sluice_core::operator::TenantSettings;
use sluice_core::ports::{CatalogItem, CatalogKey, ReadCatalog, StoreResult};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

const READ: &str = "read the catalog";
/// How long anything but a version is believed. A draft is never.
const FRESH_FOR: Duration = Duration::from_secs(5);
/// How long something stale may still be refreshed beside what is asked for.
const WORTH_FOR: Duration = Duration::from_secs(60);
/// Things that are remembered, and among them versions, which are kept for good but may be large.
const MOST_ITEMS: usize = 1_000;
const MOST_VERSIONS: usize = 64;
/// Keys read in one round trip.
const BATCH: usize = 100;

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
            let mut found = self.read_catalog(wanted.iter().cloned().collect()).await?;
            // A tenant without settings of its own has open ones. That is remembered as they are: every request asks.
            let settings = keys::tenant(tenant);
            if wanted.contains(&settings) && !found.contains_key(&settings) {
                found.insert(settings, CatalogItem::Tenant(TenantSettings::open(tenant.clone())));
            }
            self.cache.keep(&found, &asked);
            known.extend(found);
        }
        Ok(asked.iter().map(|key| known.get(key).cloned()).collect())
    }
}

impl Store {
    async fn read_catalog(&self, keys: Vec<Key>) -> StoreResult<HashMap<Key, CatalogItem>> {
        let found = self.get_all(READ, &keys, &[]).await?;
        found.into_iter().map(read).collect::<Result<_, _>>().map_err(|error| corrupt(READ, error))
    }
}

fn table_key(tenant: &TenantId, key: &CatalogKey) -> Key {
    match key {
        CatalogKey::DefinitionName(name) => keys::definition_name(tenant, name),
        CatalogKey::Definition(id) => keys::definition(tenant, *id),
        CatalogKey::Version(id, number) => keys::version(tenant, *id, *number),
        CatalogKey::Draft(id) => keys::draft(tenant, *id),
        CatalogKey::Discoverable(id) => keys::discoverable(*id),
        CatalogKey::Tenant => keys::tenant(tenant),
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
        item::DRAFT => CatalogItem::Version(item::to_draft(item)?),
        item::DISCOVERABLE => CatalogItem::Discoverable(item::to_discoverable(&item)?),
        item::TENANT => CatalogItem::Tenant(item::to_tenant(item)?),
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
/// remembered, so that what was just made is found; drafts are not either, since their writers run them at once.
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
        let (own, settings) = (format!("T#{tenant}#"), keys::tenant(tenant));
        let concerns = |key: &Key| {
            let is_of_all = key.pk.starts_with(keys::OPERATOR) || key.pk.starts_with(keys::DISCOVERABLE);
            *key == settings || key.pk.starts_with(&own) || (is_of_all && !key.pk.starts_with(keys::TENANT_SETTINGS))
        };
        let remembered = self.lock();
        let stale = remembered.iter().filter(|(key, entry)| entry.was_used && !entry.is_fresh(now) && concerns(key));
        stale.map(|(key, _)| key.clone()).take(most).collect()
    }

    /// Remembers what was read, because it was asked for or beside that.
    fn keep(&self, found: &HashMap<Key, CatalogItem>, asked: &[Key]) {
        let now = monotonic_now();
        let mut remembered = self.lock();
        for (key, item) in found.iter().filter(|(_, item)| !is_draft(item)) {
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

/// Drafts change without notice, and nobody wants to run the one before the last.
fn is_draft(item: &CatalogItem) -> bool {
    matches!(item, CatalogItem::Version(version) if version.number == 0)
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
