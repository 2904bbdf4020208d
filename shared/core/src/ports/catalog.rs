//! What a request needs before it can be planned, and the instance that it makes.

use super::store::StoreResult;
use crate::definition::{Definition, Version};
use crate::id::{ComputeNodeKey, DefinitionId, DefinitionName, InstanceId, ProcessorKey, TenantId};
use crate::instance::Instance;
use crate::operator::{ComputeNode, Processor, TenantSettings};
use std::future::Future;

/// Names one thing that a request needs before it can be planned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CatalogKey {
    DefinitionName(DefinitionName),
    Definition(DefinitionId),
    Version(DefinitionId, u32),
    /// The definition's draft: a version of number 0.
    Draft(DefinitionId),
    /// The owner of a discoverable definition.
    Discoverable(DefinitionId),
    Instance(InstanceId),
    ComputeNode(ComputeNodeKey),
    Processor(ProcessorKey),
    /// The operator's settings of the tenant itself.
    Tenant,
}

#[derive(Clone, Debug, PartialEq)]
pub enum CatalogItem {
    DefinitionName(DefinitionId),
    Definition(Definition),
    Version(Version),
    /// Who owns a definition that every tenant may run.
    Discoverable(TenantId),
    /// There always are settings: those of a tenant that has none of its own leave everything open.
    Tenant(TenantSettings),
    Instance(Instance),
    ComputeNode(ComputeNode),
    Processor(Processor),
}

/// Reads definitions, versions, instances, processors, compute nodes and tenants' settings.
pub trait ReadCatalog: Send + Sync {
    /// The items under `keys`, in their order, `None` where there is none. In one round trip, or none where all are
    /// cached: versions for good, drafts never, everything else for five seconds.
    fn catalog(
        &self,
        tenant: &TenantId,
        keys: &[CatalogKey],
    ) -> impl Future<Output = StoreResult<Vec<Option<CatalogItem>>>> + Send;
}

pub trait SaveInstance: Send + Sync {
    /// Saves an instance if there is none with its id. Saving it again changes nothing.
    fn save_instance(&self, instance: &Instance) -> impl Future<Output = StoreResult<()>> + Send;
}
