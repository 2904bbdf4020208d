//! Definitions, versions, drafts and instances; for the operator, processors, compute nodes, models and tenants.
//!
//! This file finds the way to one small function per route: `definitions.rs` for what is a tenant's own, `discover.rs` for what
//! others let it run, `operator.rs` for the operator, `keys.rs` for processors' keys, `models.rs` for what calls may name,
//! `budgets.rs` for what may be spent.

mod budgets;
mod definitions;
mod discover;
mod keys;
mod models;
mod operator;

use sluice_core::arn::StateMachineArn;
use sluice_core::destination::Destinations;
use sluice_core::id::DefinitionId;
use sluice_core::ports::{Clock, ManageDefinitions, ManageKeys, ManageModels, ManageOperator, SaveInstance};
use sluice_core::tenant_limits::TenantLimits;
use sluice_edge::http::Response;
use sluice_edge::problem::Problem;
use sluice_edge::route::ManageDefinitionsRoute as Route;
use sluice_edge::serve::{Asked, Handler};

/// What the function needs of the store.
pub trait Ports: ManageDefinitions + ManageOperator + ManageKeys + ManageModels + SaveInstance {}

impl<S: ManageDefinitions + ManageOperator + ManageKeys + ManageModels + SaveInstance> Ports for S {}

/// The function with everything it needs.
#[derive(Clone, Debug)]
pub struct App<S, C> {
    pub store: S,
    pub clock: C,
    pub new_definition_id: fn() -> DefinitionId,
    /// 256 random bits for a key of a processor.
    pub new_key: fn() -> [u128; 2],
    /// The state machine of a compute node that names none.
    pub runner_arn: Option<StateMachineArn>,
    /// Where the deployment lets webhooks go: the origins of a tenant are among them.
    pub destinations: Destinations,
    /// What a tenant may take of which nothing else was said.
    pub tenant_limits: TenantLimits,
}

impl<S, C> Handler for App<S, C>
where
    S: Ports,
    C: Clock,
{
    type Route = Route;

    async fn answer(&self, asked: Asked<'_, Route>) -> Result<Response, Problem> {
        let Asked { route, caller, request, .. } = asked;
        let caller = &caller;
        match route {
            Route::CreateDefinition => self.create_definition(request, caller).await,
            Route::ListDefinitions => self.list_definitions(request, caller).await,
            Route::GetDefinition { definition } => self.get_definition(caller, &definition).await,
            Route::ChangeDefinition { definition } => self.change_definition(request, caller, &definition).await,
            Route::AddVersion { definition } => self.add_version(request, caller, &definition).await,
            Route::ListVersions { definition } => self.list_versions(request, caller, &definition).await,
            Route::GetVersion { definition, version } => self.get_version(caller, &definition, version).await,
            Route::ActivateVersion { definition, version } => self.activate_version(caller, &definition, version).await,
            Route::DeprecateVersion { definition, version } => {
                self.deprecate_version(caller, &definition, version).await
            }
            Route::GetDraft { definition } => self.get_draft(caller, &definition).await,
            Route::SaveDraft { definition } => self.save_draft(request, caller, &definition).await,
            Route::DeleteDraft { definition } => self.delete_draft(caller, &definition).await,
            Route::ListDiscoverableDefinitions => self.discover(request).await,
            Route::GetDiscoverableDefinition { definition_id } => self.get_discoverable(definition_id).await,
            Route::GetDiscoverableVersion { definition_id, version } => {
                self.get_discoverable_version(definition_id, version).await
            }
            Route::SaveInstance => self.save_instance(request, caller).await,
            Route::ListInstances => self.list_instances(request, caller).await,
            Route::GetInstance { instance_id } => self.get_instance(caller, instance_id).await,
            Route::ListProcessors => self.list_processors(request, caller).await,
            Route::GetProcessor { key } => self.get_processor(caller, &key).await,
            Route::DeclareProcessor { key } => self.save_processor(request, caller, key).await,
            Route::CreateProcessorKey { key } => self.create_key(caller, &key).await,
            Route::ListProcessorKeys { key } => self.list_keys(caller, &key).await,
            Route::DeleteProcessorKey { key, id } => self.delete_key(caller, &key, id).await,
            Route::ListComputeNodes => self.list_compute_nodes(request, caller).await,
            Route::GetComputeNode { key } => self.get_compute_node(caller, &key).await,
            Route::DeclareComputeNode { key } => self.save_compute_node(request, caller, key).await,
            Route::DeclareLayer { key, name } => self.save_layer(request, caller, &key, name).await,
            Route::ListModels => self.list_models(request, caller).await,
            Route::GetModel { key } => self.get_model(caller, &key).await,
            Route::DeclareModel { key } => self.save_model(request, caller, key).await,
            Route::DeleteModel { key } => self.delete_model(caller, &key).await,
            Route::GetBudgets => self.get_budgets(request, caller).await,
            Route::ListTenants => self.list_tenants(request, caller).await,
            Route::GetTenant { tenant } => self.get_tenant(caller, &tenant).await,
            Route::SetTenant { tenant } => self.save_tenant(request, caller, tenant).await,
        }
    }
}
