//! What a process remembers of the catalog between two requests.
//!
//! **Invariants:** whatever can change is remembered only to guess which keys a request will need, and is never an answer
//! itself; a version never changes, so it is kept, prepared, and not read again. All of it is bounded.

use crate::catalog::{DefinitionKey, DraftKey, Found, InstanceKey, NameKey, OwnerKey, SettingsKey, VersionKey, Wanted};
use crate::definition::Outline;
use crate::governor::quota::Budget;
use crate::id::{ComputeNodeKey, DefinitionId, ProcessorKey, TenantId};
use crate::instance::{Instance, InstanceContent};
use crate::prepared::PreparedVersion;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Guesses of each kind.
const GUESSES: usize = 1_000;
/// Bytes that the documents of versions have together, as JSON text. Parsed they take several times as much.
const VERSION_BYTES: usize = 4 << 20;

/// Clones share one memory.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<Remembered>>);

#[derive(Debug)]
struct Remembered {
    ids: Recent<NameKey, DefinitionId>,
    owners: Recent<DefinitionId, TenantId>,
    outlines: Recent<DefinitionKey, Outline>,
    contents: Recent<InstanceKey, InstanceContent>,
    /// The processors that a draft names.
    drafts: Recent<DraftKey, BTreeSet<ProcessorKey>>,
    /// Of tenants.
    budgets: Recent<SettingsKey, Option<Budget>>,
    node_budgets: Recent<ComputeNodeKey, Option<Budget>>,
    versions: Recent<VersionKey, Arc<PreparedVersion>>,
    /// By shard: see [`Memory::place`].
    places: BTreeMap<u8, String>,
}

impl Default for Remembered {
    fn default() -> Self {
        Self {
            ids: Recent::new(GUESSES),
            owners: Recent::new(GUESSES),
            outlines: Recent::new(GUESSES),
            contents: Recent::new(GUESSES),
            drafts: Recent::new(GUESSES),
            budgets: Recent::new(GUESSES),
            node_budgets: Recent::new(GUESSES),
            versions: Recent::new(VERSION_BYTES),
            places: BTreeMap::new(),
        }
    }
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Remembered> {
        // Nothing panics while it is held; and if it did, the entries are each whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The definition to which a name belonged when it was read last.
    pub fn id(&self, key: &NameKey) -> Option<DefinitionId> {
        self.lock().ids.get(key)
    }

    /// Who owned the definition, and shared it with every tenant, when that was read last.
    pub fn owner(&self, id: DefinitionId) -> Option<TenantId> {
        self.lock().owners.get(&id)
    }

    /// The versions of the definition when it was read last.
    pub fn outline(&self, key: &DefinitionKey) -> Option<Outline> {
        self.lock().outlines.get(key)
    }

    /// What the instance says.
    pub fn content(&self, key: &InstanceKey) -> Option<InstanceContent> {
        self.lock().contents.get(key)
    }

    /// The processors that the draft named when it was read last.
    pub fn draft(&self, key: &DraftKey) -> Option<BTreeSet<ProcessorKey>> {
        self.lock().drafts.get(key)
    }

    /// The tenant's budget when its settings were read last.
    pub fn budget(&self, key: &SettingsKey) -> Option<Option<Budget>> {
        self.lock().budgets.get(key)
    }

    /// The compute node's budget when that was read last.
    pub fn node_budget(&self, key: &ComputeNodeKey) -> Option<Option<Budget>> {
        self.lock().node_budgets.get(key)
    }

    /// The version, if it was read before.
    pub fn version(&self, key: &VersionKey) -> Option<Arc<PreparedVersion>> {
        self.lock().versions.get(key)
    }

    /// Where a sweep stopped in the due deliveries of a shard, if it did not come to their end. Only good for a guess: another
    /// process begins at the front.
    pub fn place(&self, shard: u8) -> Option<String> {
        self.lock().places.get(&shard).cloned()
    }

    /// Remembers where a sweep stopped, or that it came to the end.
    pub fn keep_place(&self, shard: u8, place: Option<String>) {
        let mut remembered = self.lock();
        match place {
            Some(place) => drop(remembered.places.insert(shard, place)),
            None => drop(remembered.places.remove(&shard)),
        }
    }

    /// Remembers what an instance says that is about to be recorded.
    pub fn expect(&self, instance: &Instance) {
        let key = InstanceKey { tenant: instance.tenant.clone(), id: instance.id };
        self.lock().contents.put(key, instance.content.clone(), 1);
    }

    /// Takes from the question what is remembered for good, and gives it.
    pub fn recall(&self, wanted: &mut Wanted) -> Found {
        let mut found = Found::default();
        let mut remembered = self.lock();
        wanted.versions.retain(|key| match remembered.versions.get(key) {
            Some(version) => {
                found.put(key.clone(), version);
                false
            }
            None => true,
        });
        found
    }

    /// Remembers what was read.
    pub fn learn(&self, found: &Found) {
        let mut remembered = self.lock();
        for (key, named) in found.all::<NameKey>() {
            remembered.ids.put(key.clone(), named.id, 1);
            let key = DefinitionKey { tenant: key.tenant.clone(), id: named.id };
            remembered.outlines.put(key, named.outline.clone(), 1);
        }
        for (OwnerKey(id), shared) in found.all::<OwnerKey>() {
            remembered.owners.put(*id, shared.owner.clone(), 1);
            let key = DefinitionKey { tenant: shared.owner.clone(), id: *id };
            remembered.outlines.put(key, shared.outline.clone(), 1);
        }
        for (key, instance) in found.all::<InstanceKey>() {
            remembered.contents.put(key.clone(), instance.content.clone(), 1);
            let Some(hint) = &instance.hint else { continue };
            let id = instance.content.definition_id;
            let definition = DefinitionKey { tenant: hint.owner.clone(), id };
            // As old as the instance: whatever else is known is newer.
            if remembered.outlines.get(&definition).is_none() {
                remembered.outlines.put(definition, hint.outline.clone(), 1);
            }
            if hint.owner != key.tenant && remembered.owners.get(&id).is_none() {
                remembered.owners.put(id, hint.owner.clone(), 1);
            }
        }
        // The definition itself knows best.
        for (key, definition) in found.all::<DefinitionKey>() {
            remembered.outlines.put(key.clone(), definition.outline(), 1);
        }
        for (key, draft) in found.all::<DraftKey>() {
            remembered.drafts.put(key.clone(), draft.version.document.processor_keys(), 1);
        }
        for (key, settings) in found.all::<SettingsKey>() {
            remembered.budgets.put(key.clone(), settings.budget, 1);
        }
        for (key, node) in found.all::<ComputeNodeKey>() {
            remembered.node_budgets.put(key.clone(), node.budget, 1);
        }
        for (key, version) in found.all::<VersionKey>() {
            remembered.versions.put(key.clone(), Arc::clone(version), version.bytes());
        }
    }
}

/// What was used lately, up to a bound on its weight.
#[derive(Debug)]
struct Recent<K, V> {
    most: usize,
    weight: usize,
    uses: u64,
    entries: HashMap<K, Entry<V>>,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    weight: usize,
    /// The count of uses at its last one.
    used: u64,
}

impl<K: Clone + Eq + Hash, V: Clone> Recent<K, V> {
    fn new(most: usize) -> Self {
        Self { most, weight: 0, uses: 0, entries: HashMap::new() }
    }

    fn get(&mut self, key: &K) -> Option<V> {
        self.uses += 1;
        let entry = self.entries.get_mut(key)?;
        entry.used = self.uses;
        Some(entry.value.clone())
    }

    /// Puts it in, and lets go of those that were not used for the longest time, at least an eighth of the bound at once.
    /// What is heavier than everything may be together is not kept.
    fn put(&mut self, key: K, value: V, weight: usize) {
        if let Some(old) = self.entries.remove(&key) {
            self.weight -= old.weight;
        }
        if weight > self.most {
            return;
        }
        if self.weight + weight > self.most {
            let bound = (self.most - self.most / 8).min(self.most - weight);
            let mut by_use: Vec<(u64, K)> = self.entries.iter().map(|(key, entry)| (entry.used, key.clone())).collect();
            by_use.sort_unstable_by_key(|(used, _)| *used);
            for (_, oldest) in by_use {
                if self.weight <= bound {
                    break;
                }
                if let Some(entry) = self.entries.remove(&oldest) {
                    self.weight -= entry.weight;
                }
            }
        }
        self.uses += 1;
        self.weight += weight;
        self.entries.insert(key, Entry { value, weight, used: self.uses });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_the_longest_time_goes_first_and_the_bound_holds() {
        let mut recent = Recent::new(16);
        for number in 0..16 {
            recent.put(number, number, 1);
        }
        assert_eq!(recent.get(&0), Some(0));
        for number in 16..1_000 {
            recent.put(number, number, 1);
            assert!(recent.weight <= 16 && recent.entries.len() == recent.weight, "{number}");
            assert_eq!(recent.get(&0), Some(0), "what is used stays");
            assert_eq!(recent.get(&number), Some(number));
        }
        assert_eq!(recent.get(&1), None);
    }

    #[test]
    fn weights_are_counted_and_the_too_heavy_is_not_kept() {
        let mut recent = Recent::new(10);
        recent.put("a", 1, 4);
        recent.put("a", 2, 6);
        recent.put("b", 3, 4);
        assert_eq!((recent.weight, recent.get(&"a"), recent.get(&"b")), (10, Some(2), Some(3)));
        recent.put("c", 4, 11);
        assert_eq!((recent.weight, recent.get(&"c")), (10, None));
        recent.put("c", 4, 10);
        assert_eq!((recent.weight, recent.get(&"c"), recent.get(&"b")), (10, Some(4), None));
    }
}
