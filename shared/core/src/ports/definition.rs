//! Writing and listing definitions, and what the operator declares.

use super::catalog::ReadCatalog;
use super::store::{Page, StoreResult};
use crate::catalog::Draft;
use crate::definition::{Definition, Version};
use crate::id::{DefinitionId, TenantId};
use crate::instance::Instance;
use crate::operator::{ComputeNode, Processor, TenantSettings};
use std::future::Future;

/// What became of a new definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefinitionSaved {
    /// The definition was written.
    Done,
    /// The name belongs to another definition of the tenant, which is named here. Nothing was written.
    NameTaken(DefinitionId),
    /// The tenant has as many definitions as it may. Nothing was written.
    TooMany,
}

/// Writes and lists what tenants define.
pub trait ManageDefinitions: ReadCatalog {
    /// Writes a new definition, takes its name and counts it among at most `most` of its tenant, all or nothing. Repeating
    /// the call after its answer was lost gives `Done` again. Where both the name is taken and there are too many, the answer
    /// is `NameTaken`. Definitions that were made before they were counted do not count.
    fn create_definition(
        &self,
        definition: &Definition,
        most: u32,
    ) -> impl Future<Output = StoreResult<DefinitionSaved>> + Send;
    /// Writes the definition, its place among the discoverable definitions and, where one is given, a new version, all
    /// or nothing, if the stored definition is still at `definition.rev - 1`. `false` when the stored definition is at
    /// another revision; then nothing was written.
    fn change_definition(
        &self,
        definition: &Definition,
        version: Option<&Version>,
    ) -> impl Future<Output = StoreResult<bool>> + Send;
    /// Writes the draft, if the one that is there is still at `draft.rev - 1`; for a draft of `rev` 1, if there is none.
    /// `false` when that is not so, and nothing was written.
    fn save_draft(&self, tenant: &TenantId, draft: &Draft) -> impl Future<Output = StoreResult<bool>> + Send;
    /// Deletes the definition's draft. Deleting a draft that does not exist is no error.
    fn delete_draft(&self, tenant: &TenantId, id: DefinitionId) -> impl Future<Output = StoreResult<()>> + Send;
    /// A page of the definitions, of all tenants, that every tenant may run, in no particular order. Eventually
    /// consistent.
    fn list_discoverable(
        &self,
        limit: u32,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<Definition>>> + Send;
    /// The definition as it is stored now. Strongly consistent.
    fn load_definition(
        &self,
        tenant: &TenantId,
        id: DefinitionId,
    ) -> impl Future<Output = StoreResult<Option<Definition>>> + Send;
    /// A page of the tenant's definitions, newest first. Eventually consistent.
    fn list_definitions(
        &self,
        tenant: &TenantId,
        limit: u32,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<Definition>>> + Send;
    /// A page of the definition's versions, newest first, without its draft.
    fn list_versions(
        &self,
        tenant: &TenantId,
        id: DefinitionId,
        limit: u32,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<Version>>> + Send;
    /// A page of the tenant's instances, newest first. Eventually consistent.
    fn list_instances(
        &self,
        tenant: &TenantId,
        limit: u32,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<Instance>>> + Send;
}

/// Writes and lists what the operator declares. Each `save_` writes the whole thing if the one that is stored is at its
/// `rev - 1`, and one of `rev` 1 if nothing is stored. `false` when that is not so, and nothing was written.
pub trait ManageOperator: Send + Sync {
    fn save_processor(&self, processor: &Processor) -> impl Future<Output = StoreResult<bool>> + Send;
    fn save_compute_node(&self, node: &ComputeNode) -> impl Future<Output = StoreResult<bool>> + Send;
    fn save_tenant(&self, settings: &TenantSettings) -> impl Future<Output = StoreResult<bool>> + Send;
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
    /// A page of the settings of the tenants that have settings of their own.
    fn list_tenants(
        &self,
        limit: u32,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<TenantSettings>>> + Send;
}
