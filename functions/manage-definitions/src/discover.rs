//! What other tenants let every tenant run: one function per route.

use crate::App;
use sluice_core::flow::{Refusal, manage_definitions as flow};
use sluice_core::id::{DefinitionId, InvalidId};
use sluice_core::ports::{Clock, ManageDefinitions, ManageOperator, SaveInstance};
use sluice_edge::http::{Request, Response};
use sluice_edge::problem::Problem;
use sluice_edge::wire::discover::{DiscoverableVersionView, DiscoverableView, query};
use sluice_edge::wire::{DiscoverableList, no_query};

impl<S, C> App<S, C>
where
    S: ManageDefinitions + ManageOperator + SaveInstance,
    C: Clock,
{
    pub(crate) async fn discover(&self, request: &Request) -> Result<Response, Problem> {
        let (filter, paging) = query(request)?;
        let page = flow::discover_definitions(&self.store, &filter, paging.limit, paging.cursor.as_deref()).await;
        let page = page.map_err(|refusal| paging.blame_refusal(refusal))?;
        let definitions = page.items.iter().map(DiscoverableView::from).collect();
        Ok(Response::json(200, &DiscoverableList { definitions, next_cursor: paging.next(&page) }))
    }

    pub(crate) async fn get_discoverable(&self, request: &Request, definition: &str) -> Result<Response, Problem> {
        no_query(request)?;
        let definition = flow::get_discoverable(&self.store, identified(definition)?).await?;
        Ok(Response::json(200, &DiscoverableView::from(&*definition)))
    }

    pub(crate) async fn get_discoverable_version(
        &self,
        request: &Request,
        definition: &str,
        version: &str,
    ) -> Result<Response, Problem> {
        no_query(request)?;
        let id = identified(definition)?;
        let rule = version.parse().map_err(|_| Refusal::NotFound { what: "version", id: version.to_owned() })?;
        let (definition, version) = flow::get_discoverable_version(&self.store, id, rule).await?;
        Ok(Response::json(200, &DiscoverableVersionView::new(&definition, &version)))
    }
}

/// The definition a path names: a name is unique in its tenant only, so there it is an id.
fn identified(definition: &str) -> Result<DefinitionId, Refusal> {
    definition.parse().map_err(|InvalidId(_)| Refusal::NotFound {
        what: "discoverable workflow definition",
        id: definition.to_owned(),
    })
}
