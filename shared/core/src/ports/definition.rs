//! Definitions, and what the operator declares, written and listed.

use super::catalog::ReadCatalog;
use super::store::{Page, StoreResult};
use crate::definition::{Definition, Version};
use crate::id::{DefinitionId, TenantId};
use crate::instance::Instance;
use crate::operator::{ComputeNode, Processor, TenantSettings};
use std::future::Future;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefinitionSaved {
    Done,
    /// The name belongs to another definition of the tenant.
    NameTaken(DefinitionId),
}

pub trait ManageDefinitions: ReadCatalog {
    /// Writes a new definition and takes its name, all or nothing.
    fn create_definition(&self, definition: &Definition) -> impl Future<Output = StoreResult<DefinitionSaved>> + Send;
    /// Writes the definition, its place among the discoverable ones, and with it a new version if one is given, if it is
    /// still at `definition.rev - 1`.
    /// `false` when it is not, and nothing was written.
    fn change_definition(
        &self,
        definition: &Definition,
        version: Option<&Version>,
    ) -> impl Future<Output = StoreResult<bool>> + Send;
    /// Writes the draft, in the place of an earlier one.
    fn save_draft(&self, tenant: &TenantId, draft: &Version) -> impl Future<Output = StoreResult<()>> + Send;
    /// Deleting what is not there is no error.
    fn delete_draft(&self, tenant: &TenantId, id: DefinitionId) -> impl Future<Output = StoreResult<()>> + Send;
    /// Definitions that every tenant may run, of all tenants, in no order that means anything. Eventually consistent.
    fn list_discoverable(
        &self,
        limit: u32,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<Definition>>> + Send;
    /// The definition as it is now, past every cache. Strongly consistent.
    fn load_definition(
        &self,
        tenant: &TenantId,
        id: DefinitionId,
    ) -> impl Future<Output = StoreResult<Option<Definition>>> + Send;
    /// Newest first.
    fn list_definitions(
        &self,
        tenant: &TenantId,
        limit: u32,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<Definition>>> + Send;
    /// Newest first.
    fn list_versions(
        &self,
        tenant: &TenantId,
        id: DefinitionId,
        limit: u32,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<Version>>> + Send;
    /// Newest first.
    fn list_instances(
        &self,
        tenant: &TenantId,
        limit: u32,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<Instance>>> + Send;
}

pub trait ManageOperator: Send + Sync {
    fn save_processor(&self, processor: &Processor) -> impl Future<Output = StoreResult<()>> + Send;
    fn save_compute_node(&self, node: &ComputeNode) -> impl Future<Output = StoreResult<()>> + Send;
    fn save_tenant(&self, settings: &TenantSettings) -> impl Future<Output = StoreResult<()>> + Send;
    fn list_processors(
        &self,
        limit: u32,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<Processor>>> + Send;
    fn list_compute_nodes(
        &self,
        limit: u32,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<ComputeNode>>> + Send;
    /// Tenants that have settings of their own.
    fn list_tenants(
        &self,
        limit: u32,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<TenantSettings>>> + Send;
}
