//! What a request needs before it can be planned, and the instance that it makes.

use super::store::StoreResult;
use crate::catalog::{CatalogKey, Found, Wanted};
use crate::instance::Instance;
use std::future::Future;
use std::sync::Arc;

/// Reads definitions, versions, instances, processors, compute nodes and tenants' settings.
pub trait ReadCatalog: Send + Sync {
    /// What exists of the things that are wanted, of any kinds. In one round trip, or none where all are cached:
    /// versions for good, drafts never, everything else for five seconds.
    fn read_catalog(&self, wanted: &Wanted) -> impl Future<Output = StoreResult<Found>> + Send;

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
