//! Reading what a request needs before it can be planned, through a small cache in the process.

use super::item::{self, Item, ItemError};
use super::keys::Key;
use super::{Store, corrupt, keys};
use crate::clock::monotonic_now;
use sluice_core::catalog::{
    DefinitionKey, DraftKey, Found, InstanceKey, NameKey, OwnerKey, SettingsKey, VersionKey, Wanted,
};
use sluice_core::definition::{Definition, Version};
use sluice_core::id::{DefinitionId, TenantId};
use sluice_core::instance::Instance;
use sluice_core::operator::{ComputeNode, Processor, TenantSettings};
use sluice_core::ports::{ReadCatalog, StoreResult};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    async fn read_catalog(&self, wanted: &Wanted) -> StoreResult<Found> {
        let asked = table_keys(wanted);
        let mut known = self.cache.find(&asked);
        let missing: BTreeSet<Key> = asked.iter().filter(|key| !known.contains_key(key)).cloned().collect();
        if !missing.is_empty() {
            // One call anyway, so it refreshes whatever else this tenant's requests have lately used: the requests
            // that follow in the same chain then find it.
            let mut keys = missing;
            let beside = self.cache.worth_refreshing(wanted, BATCH.saturating_sub(keys.len()));
            keys.extend(beside);
            let mut found = self.read_things(keys.iter().cloned().collect()).await?;
            // A tenant without settings of its own has open ones. That is remembered as they are: every request asks.
            for tenant in wanted.tenants().filter(|tenant| keys.contains(&keys::tenant(tenant))) {
                let settings = || Thing::Tenant(Arc::new(TenantSettings::open(tenant.clone())));
                found.entry(keys::tenant(tenant)).or_insert_with(settings);
            }
            self.cache.keep(&found, &asked);
            known.extend(found);
        }
        Ok(found(wanted, &known))
    }
}

impl Store {
    async fn read_things(&self, keys: Vec<Key>) -> StoreResult<HashMap<Key, Thing>> {
        let found = self.get_all(READ, &keys, &[]).await?;
        found.into_iter().map(read).collect::<Result<_, _>>().map_err(|error| corrupt(READ, error))
    }
}

/// A thing of the catalog, of whichever kind.
#[derive(Clone, Debug)]
pub(super) enum Thing {
    Name(Arc<DefinitionId>),
    Definition(Arc<Definition>),
    Version(Arc<Version>),
    Draft(Arc<Version>),
    Owner(Arc<TenantId>),
    Tenant(Arc<TenantSettings>),
    Instance(Arc<Instance>),
    ComputeNode(Arc<ComputeNode>),
    Processor(Arc<Processor>),
}

fn name(key: &NameKey) -> Key {
    keys::definition_name(&key.tenant, &key.name)
}

fn definition(key: &DefinitionKey) -> Key {
    keys::definition(&key.tenant, key.id)
}

fn version(key: &VersionKey) -> Key {
    keys::version(&key.tenant, key.definition_id, key.number)
}

fn draft(key: &DraftKey) -> Key {
    keys::draft(&key.tenant, key.definition_id)
}

fn owner(key: &OwnerKey) -> Key {
    keys::discoverable(key.0)
}

fn settings(key: &SettingsKey) -> Key {
    keys::tenant(&key.0)
}

fn instance(key: &InstanceKey) -> Key {
    keys::instance(&key.tenant, key.id)
}

fn table_keys(wanted: &Wanted) -> Vec<Key> {
    let mut keys: Vec<Key> = wanted.names.iter().map(name).collect();
    keys.extend(wanted.definitions.iter().map(definition));
    keys.extend(wanted.versions.iter().map(version));
    keys.extend(wanted.drafts.iter().map(draft));
    keys.extend(wanted.owners.iter().map(owner));
    keys.extend(wanted.tenants.iter().map(settings));
    keys.extend(wanted.instances.iter().map(instance));
    keys.extend(wanted.compute_nodes.iter().map(keys::compute_node));
    keys.extend(wanted.processors.iter().map(keys::processor));
    keys
}

/// The things that were wanted, under the keys that named them.
fn found(wanted: &Wanted, known: &HashMap<Key, Thing>) -> Found {
    let mut found = Found::default();
    macro_rules! take {
        ($plural:ident, $table_key:expr, $thing:path) => {
            for key in &wanted.$plural {
                if let Some($thing(item)) = known.get(&$table_key(key)) {
                    found.put(key.clone(), Arc::clone(item));
                }
            }
        };
    }
    take!(names, name, Thing::Name);
    take!(definitions, definition, Thing::Definition);
    take!(versions, version, Thing::Version);
    take!(drafts, draft, Thing::Draft);
    take!(owners, owner, Thing::Owner);
    take!(tenants, settings, Thing::Tenant);
    take!(instances, instance, Thing::Instance);
    take!(compute_nodes, keys::compute_node, Thing::ComputeNode);
    take!(processors, keys::processor, Thing::Processor);
    found
}

fn read(item: Item) -> Result<(Key, Thing), ItemError> {
    let key = Key::of(&item).unwrap_or_else(|| Key::new("", ""));
    let kind = item::text(&item, "kind").unwrap_or_default().to_owned();
    let read = match kind.as_str() {
        item::DEFINITION_NAME => Thing::Name(Arc::new(item::to_definition_name(&item)?)),
        item::DEFINITION => Thing::Definition(Arc::new(item::to_definition(item)?)),
        item::VERSION => Thing::Version(Arc::new(item::to_version(item)?)),
        item::DRAFT => Thing::Draft(Arc::new(item::to_draft(item)?)),
        item::DISCOVERABLE => Thing::Owner(Arc::new(item::to_discoverable(&item)?)),
        item::TENANT => Thing::Tenant(Arc::new(item::to_tenant(item)?)),
        item::INSTANCE => Thing::Instance(Arc::new(item::to_instance(item)?)),
        item::COMPUTE_NODE => Thing::ComputeNode(Arc::new(item::to_compute_node(item)?)),
        item::PROCESSOR => Thing::Processor(Arc::new(item::to_processor(item)?)),
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
    item: Thing,
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
        matches!(self.item, Thing::Version(_))
    }
}

impl Cache {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Remembered>> {
        // Nothing panics while it is held; and if it did, the entries are each whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fresh ones.
    fn find(&self, keys: &[Key]) -> HashMap<Key, Thing> {
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

    /// Stale things that were used while they were fresh: the operator's, and those of the tenants that are asked for.
    fn worth_refreshing(&self, wanted: &Wanted, most: usize) -> Vec<Key> {
        let now = monotonic_now();
        let tenants: BTreeSet<&TenantId> = wanted.tenants().collect();
        let of_tenants: Vec<(String, Key)> =
            tenants.into_iter().map(|tenant| (format!("T#{tenant}#"), keys::tenant(tenant))).collect();
        let concerns = |key: &Key| {
            let is_of_all = key.pk.starts_with(keys::OPERATOR) || key.pk.starts_with(keys::DISCOVERABLE);
            of_tenants.iter().any(|(own, settings)| key == settings || key.pk.starts_with(own))
                || (is_of_all && !key.pk.starts_with(keys::TENANT_SETTINGS))
        };
        let remembered = self.lock();
        let stale = remembered.iter().filter(|(key, entry)| entry.was_used && !entry.is_fresh(now) && concerns(key));
        stale.map(|(key, _)| key.clone()).take(most).collect()
    }

    /// Remembers what was read, because it was asked for or beside that.
    fn keep(&self, found: &HashMap<Key, Thing>, asked: &[Key]) {
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
    pub(super) fn remember(&self, key: Key, item: Thing) {
        let asked = [key.clone()];
        self.keep(&HashMap::from([(key, item)]), &asked);
    }

    /// Forgets what this process itself has changed.
    pub(super) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }
}

/// Drafts change without notice, and nobody wants to run the one before the last.
fn is_draft(item: &Thing) -> bool {
    matches!(item, Thing::Draft(_))
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
