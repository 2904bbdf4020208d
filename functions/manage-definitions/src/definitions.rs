//! What a tenant defines: one function per route.

use crate::{App, Ports};
use sluice_core::caller::Caller;
use sluice_core::flow::{Refusal, manage_definitions as flow};
use sluice_core::id::{DefinitionRef, InstanceId};
use sluice_core::instance::InstanceContent;
use sluice_core::place::Field;
use sluice_core::ports::Clock;
use sluice_core::violation::{Invalid, ViolationCode};
use sluice_edge::fault::Faults;
use sluice_edge::http::{Request, Response};
use sluice_edge::problem::Problem;
use sluice_edge::route::VersionNumber;
use sluice_edge::wire::definitions::{
    AddVersionBody, ChangeDefinitionBody, CreateDefinitionBody, DefinitionView, DraftBody, DraftView,
    VersionSummaryView, VersionView, definition_path,
};
use sluice_edge::wire::instances::{InstanceConfigurationBody, InstanceView};
use sluice_edge::wire::{DefinitionList, InstanceList, Paging, VersionList, fields};

impl<S, C> App<S, C>
where
    S: Ports,
    C: Clock,
{
    pub(crate) async fn create_definition(&self, request: &Request, caller: &Caller) -> Result<Response, Problem> {
        let body: CreateDefinitionBody = request.json()?;
        let mut faults = Faults::default();
        let name = fields::id("/name", &body.name, &mut faults);
        let said = body.into_change(&mut faults);
        let name = match name {
            Some(name) if faults.is_empty() => name,
            Some(_) | None => return Err(faults.into()),
        };
        let (id, now) = ((self.new_definition_id)(), self.clock.now());
        let definition = flow::create_definition(&self.store, self.tenant_limits, caller, id, name, said, now).await?;
        Ok(Response::json(201, &DefinitionView::from(&definition)).located(&definition_path(definition.id)))
    }

    pub(crate) async fn list_definitions(&self, request: &Request, caller: &Caller) -> Result<Response, Problem> {
        let paging = Paging::alone(request, vec!["definitions".to_owned(), caller.tenant.to_string()])?;
        let store = &self.store;
        let read = paging.page(|limit, cursor| async move {
            let page = store.list_definitions(&caller.tenant, limit, cursor).await.map_err(Refusal::Store)?;
            Ok(page.map(|definition| DefinitionView::from(&definition)))
        });
        let (definitions, next_cursor) = read.await?;
        Ok(Response::json(200, &DefinitionList { definitions, next_cursor }))
    }

    pub(crate) async fn get_definition(
        &self,
        caller: &Caller,
        definition: &DefinitionRef,
    ) -> Result<Response, Problem> {
        let definition = flow::find_definition(&self.store, caller, definition).await?;
        Ok(Response::json(200, &DefinitionView::from(&definition)))
    }

    pub(crate) async fn change_definition(
        &self,
        request: &Request,
        caller: &Caller,
        definition: &DefinitionRef,
    ) -> Result<Response, Problem> {
        let body: ChangeDefinitionBody = request.json()?;
        let now = self.clock.now();
        let definition = flow::change_definition(&self.store, caller, definition, body.into_change()?, now).await?;
        Ok(Response::json(200, &DefinitionView::from(&definition)))
    }

    pub(crate) async fn add_version(
        &self,
        request: &Request,
        caller: &Caller,
        definition: &DefinitionRef,
    ) -> Result<Response, Problem> {
        let (document, activate) = request.json::<AddVersionBody>()?.into_parts();
        let now = self.clock.now();
        let (definition, version) = flow::add_version(&self.store, caller, definition, document, activate, now).await?;
        let location = format!("{}/versions/{}", definition_path(definition.id), version.number);
        Ok(Response::json(201, &VersionView::new(&definition, &version)).located(&location))
    }

    pub(crate) async fn list_versions(
        &self,
        request: &Request,
        caller: &Caller,
        definition: &DefinitionRef,
    ) -> Result<Response, Problem> {
        let definition = flow::find_definition(&self.store, caller, definition).await?;
        let list = vec!["versions".to_owned(), caller.tenant.to_string(), definition.id.to_string()];
        let paging = Paging::alone(request, list)?;
        let (store, definition) = (&self.store, &definition);
        let read = paging.page(|limit, cursor| async move {
            let page =
                store.list_versions(&caller.tenant, definition.id, limit, cursor).await.map_err(Refusal::Store)?;
            Ok(page.map(|version| VersionSummaryView::new(definition, &version)))
        });
        let (versions, next_cursor) = read.await?;
        Ok(Response::json(200, &VersionList { versions, next_cursor }))
    }

    pub(crate) async fn get_version(
        &self,
        caller: &Caller,
        definition: &DefinitionRef,
        VersionNumber(number): VersionNumber,
    ) -> Result<Response, Problem> {
        let definition = flow::find_definition(&self.store, caller, definition).await?;
        let version = flow::get_version(&self.store, caller, &DefinitionRef::Id(definition.id), number).await?;
        Ok(Response::json(200, &VersionView::new(&definition, &version)))
    }

    pub(crate) async fn activate_version(
        &self,
        caller: &Caller,
        definition: &DefinitionRef,
        VersionNumber(number): VersionNumber,
    ) -> Result<Response, Problem> {
        let now = self.clock.now();
        let definition = flow::activate_version(&self.store, caller, definition, number, now).await?;
        Ok(Response::json(200, &DefinitionView::from(&definition)))
    }

    pub(crate) async fn deprecate_version(
        &self,
        caller: &Caller,
        definition: &DefinitionRef,
        VersionNumber(number): VersionNumber,
    ) -> Result<Response, Problem> {
        let now = self.clock.now();
        let definition = flow::deprecate_version(&self.store, caller, definition, number, now).await?;
        Ok(Response::json(200, &DefinitionView::from(&definition)))
    }

    pub(crate) async fn get_draft(&self, caller: &Caller, definition: &DefinitionRef) -> Result<Response, Problem> {
        let (_, draft) = flow::get_draft(&self.store, caller, definition).await?;
        Ok(Response::json(200, &DraftView::from(&**draft)))
    }

    pub(crate) async fn save_draft(
        &self,
        request: &Request,
        caller: &Caller,
        definition: &DefinitionRef,
    ) -> Result<Response, Problem> {
        let document = request.json::<DraftBody>()?.into_document();
        let now = self.clock.now();
        let (_, draft) = flow::save_draft(&self.store, caller, definition, document, now).await?;
        Ok(Response::json(200, &DraftView::from(&**draft)))
    }

    pub(crate) async fn delete_draft(&self, caller: &Caller, definition: &DefinitionRef) -> Result<Response, Problem> {
        flow::delete_draft(&self.store, caller, definition).await?;
        Ok(Response::no_content())
    }

    pub(crate) async fn save_instance(&self, request: &Request, caller: &Caller) -> Result<Response, Problem> {
        let configuration = request.json::<InstanceConfigurationBody>()?.read()?;
        let definition_id = match &configuration.definition {
            DefinitionRef::Id(id) => *id,
            name @ DefinitionRef::Name(_) => match flow::find_definition(&self.store, caller, name).await {
                Ok(definition) => definition.id,
                Err(refusal @ Refusal::NotFound { .. }) => {
                    return Err(Refusal::from(Invalid::one(Field::Definition, ViolationCode::NotFound, refusal)).into());
                }
                Err(refusal) => return Err(refusal.into()),
            },
        };
        let content = InstanceContent {
            definition_id,
            version: configuration.version,
            compute_node: configuration.compute_node,
            processor_configs: configuration.configs.by_node(),
        };
        let now = self.clock.now();
        let instance = flow::save_instance(&self.store, caller, content, now).await?;
        // An instance never changes, so one that was made at another time was there before.
        let status = if instance.created_at == now { 201 } else { 200 };
        let location = format!("/v1/workflow-instances/{}", instance.id);
        Ok(Response::json(status, &InstanceView::from(&*instance)).located(&location))
    }

    pub(crate) async fn list_instances(&self, request: &Request, caller: &Caller) -> Result<Response, Problem> {
        let paging = Paging::alone(request, vec!["instances".to_owned(), caller.tenant.to_string()])?;
        let store = &self.store;
        let read = paging.page(|limit, cursor| async move {
            let page = store.list_instances(&caller.tenant, limit, cursor).await.map_err(Refusal::Store)?;
            Ok(page.map(|instance| InstanceView::from(&instance)))
        });
        let (instances, next_cursor) = read.await?;
        Ok(Response::json(200, &InstanceList { instances, next_cursor }))
    }

    pub(crate) async fn get_instance(&self, caller: &Caller, id: InstanceId) -> Result<Response, Problem> {
        let instance = flow::get_instance(&self.store, caller, id).await?;
        Ok(Response::json(200, &InstanceView::from(&*instance)))
    }
}
