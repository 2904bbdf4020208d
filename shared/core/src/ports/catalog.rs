//! What a request needs before it can be planned, and the instance that it makes.

use super::store::StoreResult;
use crate::catalog::{CatalogKey, Found, Wanted};
use crate::instance::Instance;
use crate::memory::Memory;
use std::future::Future;
use std::sync::Arc;

/// Reads definitions, versions, instances, processors, compute nodes, tenants' settings, used idempotency keys, and what
/// meters show.
pub trait ReadCatalog: Send + Sync {
    /// What exists of the things that are wanted, of any kinds, as it is at some moment after the question was asked: strongly
    /// consistent, in one round trip for each hundred of them.
    fn read_afresh(&self, wanted: &Wanted) -> impl Future<Output = StoreResult<Found>> + Send;

    /// What this process remembers.
    fn memory(&self) -> &Memory;

    /// [`Self::read_afresh`], but for versions that this process has read before: those never change.
    fn read_catalog(&self, wanted: &Wanted) -> impl Future<Output = StoreResult<Found>> + Send {
        async move {
            let mut unknown = wanted.clone();
            let mut found = self.memory().recall(&mut unknown);
            if !unknown.is_empty() {
                let read = self.read_afresh(&unknown).await?;
                self.memory().learn(&read);
                found.extend(read);
            }
            Ok(found)
        }
    }

    /// The one thing under a key.
    fn get<K: CatalogKey>(&self, key: &K) -> impl Future<Output = StoreResult<Option<Arc<K::Item>>>> + Send {
        async move { Ok(self.read_catalog(&Wanted::one(key.clone())).await?.get(key)) }
    }
}

/// Saves instances.
pub trait SaveInstance: Send + Sync {
    /// Saves an instance if there is none with its id. Saving it again changes nothing.
    fn save_instance(&self, instance: &Instance) -> impl Future<Output = StoreResult<()>> + Send;
}
