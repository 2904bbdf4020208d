//! The catalog: what tenants and the operator have declared, each thing under a key of its own type. The type of a key
//! says what lies under it, so nothing has to be taken apart after it was read.

use crate::definition::{Definition, Outline};
use crate::governor::model::Model;
use crate::governor::quota::{PeriodKey, Quota, QuotaOwner, QuotaRule};
use crate::id::{
    ComputeNodeKey, DefinitionId, DefinitionName, IdempotencyKey, InstanceId, ModelKey, ProcessorKey, TenantId,
};
use crate::idempotency::{IdempotencyClaim, IdempotencyRecord, Operation};
use crate::instance::Instance;
use crate::meter::{MeterKey, Reading};
use crate::open_runs::OpenRuns;
use crate::operator::{ComputeNode, Processor, TenantSettings};
use crate::prepared::PreparedVersion;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

/// Names one thing of the catalog.
pub trait CatalogKey: Clone + Debug + Ord + Send + Sync {
    type Item: Debug + PartialEq + Send + Sync + 'static;
    /// The keys of this kind among those that are wanted.
    fn among(wanted: &Wanted) -> &BTreeSet<Self>;
    fn among_mut(wanted: &mut Wanted) -> &mut BTreeSet<Self>;
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

            /// What is not among the others.
            #[must_use]
            pub fn without(mut self, others: &Self) -> Self {
                $(self.$plural.retain(|key| !others.$plural.contains(key));)*
                self
            }

            pub fn extend(&mut self, others: Self) {
                $(self.$plural.extend(others.$plural);)*
            }
        }

        impl Found {
            /// How many things were found.
            pub fn len(&self) -> usize {
                [$(self.$plural.len()),*].into_iter().sum()
            }

            pub fn extend(&mut self, others: Self) {
                $(self.$plural.extend(others.$plural);)*
            }

            /// What there is of the things that are wanted.
            #[must_use]
            pub fn only(mut self, wanted: &Wanted) -> Self {
                $(self.$plural.retain(|key, _| wanted.$plural.contains(key));)*
                self
            }
        }

        $(impl CatalogKey for $key {
            type Item = $item;
            fn among(wanted: &Wanted) -> &BTreeSet<Self> {
                &wanted.$plural
            }
            fn among_mut(wanted: &mut Wanted) -> &mut BTreeSet<Self> {
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
    names: NameKey => Named,
    definitions: DefinitionKey => Definition,
    versions: VersionKey => PreparedVersion,
    drafts: DraftKey => Draft,
    owners: OwnerKey => Shared,
    instances: InstanceKey => Instance,
    compute_nodes: ComputeNodeKey => ComputeNode,
    processors: ProcessorKey => Processor,
    models: ModelKey => Model,
    tenants: SettingsKey => TenantSettings,
    claims: ClaimKey => IdempotencyRecord,
    meters: MeterKey => Reading,
    open_runs: OpenRunsKey => OpenRuns,
    quotas: QuotaKey => Quota,
}

impl Wanted {
    pub fn one(key: impl CatalogKey) -> Self {
        Self::default().and(key)
    }

    #[must_use]
    pub fn and(mut self, key: impl CatalogKey) -> Self {
        self.add(key);
        self
    }

    #[must_use]
    pub fn and_all<K: CatalogKey>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.add_all(keys);
        self
    }

    pub fn add<K: CatalogKey>(&mut self, key: K) {
        K::among_mut(self).insert(key);
    }

    pub fn add_all<K: CatalogKey>(&mut self, keys: impl IntoIterator<Item = K>) {
        K::among_mut(self).extend(keys);
    }

    pub fn has<K: CatalogKey>(&self, key: &K) -> bool {
        K::among(self).contains(key)
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

    /// Everything of one kind.
    pub fn all<K: CatalogKey>(&self) -> &BTreeMap<K, Arc<K::Item>> {
        K::found(self)
    }

    pub fn put<K: CatalogKey>(&mut self, key: K, item: Arc<K::Item>) {
        K::found_mut(self).insert(key, item);
    }

    /// Puts in what `find` has of these keys.
    pub fn put_all<'a, K: CatalogKey + 'a>(
        &mut self,
        keys: impl IntoIterator<Item = &'a K>,
        mut find: impl FnMut(&K) -> Option<K::Item>,
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

/// The definition to which a name belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub id: DefinitionId,
    /// The definition's own, so that nobody has to read that first. Only good for a guess.
    pub outline: Outline,
}

/// A definition that every tenant may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    pub owner: TenantId,
    /// The definition's own, so that nobody has to read that first. Only good for a guess.
    pub outline: Outline,
}

/// What is to become a version.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// Of number 0.
    pub version: Arc<PreparedVersion>,
    /// Its optimistic lock, from 1.
    pub rev: u64,
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

/// The draft of a definition.
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

/// What the sweep counted of a tenant's open runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpenRunsKey(pub TenantId);

/// What is drawn on a quota in one of its periods.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuotaKey {
    pub owner: QuotaOwner,
    pub period: PeriodKey,
}

impl QuotaKey {
    /// In the period that it is at `now`.
    pub fn of(rule: &QuotaRule, now: Timestamp) -> Self {
        Self { owner: rule.owner.clone(), period: rule.period.at(now) }
    }
}

/// The first request with an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimKey {
    pub tenant: TenantId,
    pub operation: Operation,
    pub key: IdempotencyKey,
}

impl ClaimKey {
    pub fn of(tenant: &TenantId, claim: &IdempotencyClaim) -> Self {
        Self { tenant: tenant.clone(), operation: claim.operation, key: claim.key.clone() }
    }
}
