//! Reading what a request needs before it can be planned: always from the table itself.

use super::item::{self, Item, ItemResult};
use super::keys::Key;
use super::{Store, corrupt, keys};
use sluice_core::catalog::{
    CatalogKey, ClaimKey, DefinitionKey, DraftKey, Found, InstanceKey, NameKey, OpenRunsKey, OwnerKey, QuotaKey,
    SettingsKey, VersionKey, Wanted,
};
use sluice_core::governor::quota::Quota;
use sluice_core::id::{ComputeNodeKey, ModelKey, ProcessorKey};
use sluice_core::memory::Memory;
use sluice_core::meter::MeterKey;
use sluice_core::ports::{FindQuotas, ReadCatalog, StoreResult};
use std::collections::HashMap;
use std::sync::Arc;

const READ: &str = "read the catalog";

impl ReadCatalog for Store {
    async fn read_afresh(&self, wanted: &Wanted) -> StoreResult<Found> {
        let keys = table_keys(wanted);
        let items = self.get_all(READ, &keys, &[]).await?;
        let items = items.into_iter().filter_map(|item| Some((Key::of(&item)?, item))).collect();
        read_all(wanted, &keys, items).map_err(|error| corrupt(READ, error))
    }

    fn memory(&self) -> &Memory {
        &self.memory
    }
}

impl FindQuotas for Store {}

/// How the things of one kind lie in the table.
trait Stored: CatalogKey {
    fn table_key(&self) -> Key;
    fn read(item: Item) -> ItemResult<Self::Item>;
}

macro_rules! stored {
    ($($kind:ty: |$key:ident| $table_key:expr, $read:expr;)*) => {
        $(impl Stored for $kind {
            fn table_key(&self) -> Key {
                let $key = self;
                $table_key
            }

            fn read(item: Item) -> ItemResult<Self::Item> {
                $read(item)
            }
        })*

        fn table_keys(wanted: &Wanted) -> Vec<Key> {
            let mut keys = Vec::with_capacity(wanted.len());
            $(keys.extend(<$kind>::among(wanted).iter().map(Stored::table_key));)*
            keys
        }

        /// The things that were wanted, under the keys that named them; `keys` are their [`table_keys`].
        fn read_all(wanted: &Wanted, keys: &[Key], mut items: HashMap<Key, Item>) -> ItemResult<Found> {
            let mut found = Found::default();
            let mut keys = keys.iter();
            $(for (key, table_key) in <$kind>::among(wanted).iter().zip(&mut keys) {
                if let Some(item) = items.remove(table_key) {
                    found.put(key.clone(), Arc::new(<$kind>::read(item)?));
                }
            })*
            Ok(found)
        }
    };
}

stored! {
    NameKey: |key| keys::definition_name(&key.tenant, &key.name), |item| item::to_definition_name(&item);
    DefinitionKey: |key| keys::definition(&key.tenant, key.id), item::to_definition;
    VersionKey: |key| keys::version(&key.tenant, key.definition_id, key.number), |item| {
        item::to_version(item).map(Into::into)
    };
    DraftKey: |key| keys::draft(&key.tenant, key.definition_id), item::to_draft;
    OwnerKey: |key| keys::discoverable(key.0), |item| item::to_discoverable(&item);
    InstanceKey: |key| keys::instance(&key.tenant, key.id), item::to_instance;
    ComputeNodeKey: |key| keys::compute_node(key), item::to_compute_node;
    ProcessorKey: |key| keys::processor(key), item::to_processor;
    ModelKey: |key| keys::model(key), item::to_model;
    SettingsKey: |key| keys::tenant(&key.0), item::to_tenant;
    ClaimKey: |key| keys::idempotency(&key.tenant, key.operation, &key.key), item::to_idempotency;
    MeterKey: |key| keys::meter(key), |item| item::to_reading(&item);
    OpenRunsKey: |key| keys::open_runs(&key.0), item::to_open_runs;
    QuotaKey: |key| keys::quota(&key.owner, &key.period), |item| item::to_drawn(&item).map(|drawn| Quota { drawn });
}
