//! The catalog: what tenants and the operator have declared, each thing under a key of its own type. The type of a key
//! says what lies under it, so nothing has to be taken apart after it was read.

use crate::definition::{Definition, Version};
use crate::id::{ComputeNodeKey, DefinitionId, DefinitionName, InstanceId, ProcessorKey, TenantId};
use crate::instance::Instance;
use crate::operator::{ComputeNode, Processor, TenantSettings};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

/// Names one thing of the catalog.
pub trait CatalogKey: Clone + Debug + Ord + Send + Sync {
    type Item: Clone + Debug + PartialEq + Send + Sync + 'static;
    /// The keys of this kind among those that are wanted.
    fn among(wanted: &mut Wanted) -> &mut BTreeSet<Self>;
    /// The things of this kind that were found.
    fn found(found: &Found) -> &BTreeMap<Self, Arc<Self::Item>>;
    fn found_mut(found: &mut Found) -> &mut BTreeMap<Self, Arc<Self::Item>>;
}

macro_rules! kinds {
    ($($plural:ident: $key:ty => $item:ty,)*) => {
        /// Keys of any kinds, for one question.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Wanted {
            $(pub $plural: BTreeSet<$key>,)*
        }

        /// The things that exist of those that were wanted.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Found {
            $($plural: BTreeMap<$key, Arc<$item>>,)*
        }

        impl Wanted {
            /// How many things are asked for.
            pub fn len(&self) -> usize {
                [$(self.$plural.len()),*].into_iter().sum()
            }
        }

        impl Found {
            /// How many things were found.
            pub fn len(&self) -> usize {
                [$(self.$plural.len()),*].into_iter().sum()
            }
        }

        $(impl CatalogKey for $key {
            type Item = $item;
            fn among(wanted: &mut Wanted) -> &mut BTreeSet<Self> {
                &mut wanted.$plural
            }
            fn found(found: &Found) -> &BTreeMap<Self, Arc<Self::Item>> {
                &found.$plural
            }
            fn found_mut(found: &mut Found) -> &mut BTreeMap<Self, Arc<Self::Item>> {
                &mut found.$plural
            }
        })*
    };
}

kinds! {
    names: NameKey => DefinitionId,
    definitions: DefinitionKey => Definition,
    versions: VersionKey => Version,
    drafts: DraftKey => Version,
    owners: OwnerKey => TenantId,
    instances: InstanceKey => Instance,
    compute_nodes: ComputeNodeKey => ComputeNode,
    processors: ProcessorKey => Processor,
    tenants: SettingsKey => TenantSettings,
}

impl Wanted {
    pub fn one(key: impl CatalogKey) -> Self {
        Self::default().and(key)
    }

    #[must_use]
    pub fn and<K: CatalogKey>(mut self, key: K) -> Self {
        K::among(&mut self).insert(key);
        self
    }

    #[must_use]
    pub fn and_all<K: CatalogKey>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        K::among(&mut self).extend(keys);
        self
    }

    /// The tenants whose things are wanted.
    pub fn tenants(&self) -> impl Iterator<Item = &TenantId> {
        let names = self.names.iter().map(|key| &key.tenant);
        let definitions = self.definitions.iter().map(|key| &key.tenant);
        let versions = self.versions.iter().map(|key| &key.tenant);
        let drafts = self.drafts.iter().map(|key| &key.tenant);
        let instances = self.instances.iter().map(|key| &key.tenant);
        let settings = self.tenants.iter().map(|key| &key.0);
        names.chain(definitions).chain(versions).chain(drafts).chain(instances).chain(settings)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Found {
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn get<K: CatalogKey>(&self, key: &K) -> Option<Arc<K::Item>> {
        K::found(self).get(key).cloned()
    }

    pub fn put<K: CatalogKey>(&mut self, key: K, item: Arc<K::Item>) {
        K::found_mut(self).insert(key, item);
    }

    /// Puts in what `find` has of these keys.
    pub fn put_all<'a, K: CatalogKey + 'a>(
        &mut self,
        keys: impl IntoIterator<Item = &'a K>,
        find: impl Fn(&K) -> Option<K::Item>,
    ) {
        for key in keys {
            if let Some(item) = find(key) {
                self.put(key.clone(), Arc::new(item));
            }
        }
    }

    /// What a tenant may do. There always are settings: those of a tenant of which nothing was said leave everything open.
    pub fn settings(&self, tenant: &TenantId) -> Arc<TenantSettings> {
        let own = self.get(&SettingsKey(tenant.clone()));
        own.unwrap_or_else(|| Arc::new(TenantSettings::open(tenant.clone())))
    }
}

/// The definition to which a name belongs in its tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameKey {
    pub tenant: TenantId,
    pub name: DefinitionName,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DefinitionKey {
    pub tenant: TenantId,
    pub id: DefinitionId,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionKey {
    pub tenant: TenantId,
    pub definition_id: DefinitionId,
    /// From 1.
    pub number: u32,
}

/// The draft of a definition: a version of number 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DraftKey {
    pub tenant: TenantId,
    pub definition_id: DefinitionId,
}

/// Who owns a definition that every tenant may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerKey(pub DefinitionId);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceKey {
    pub tenant: TenantId,
    pub id: InstanceId,
}

/// What the operator allows a tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SettingsKey(pub TenantId);
