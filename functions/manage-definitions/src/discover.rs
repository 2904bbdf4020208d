//! What other tenants let every tenant run: one function per route.

use crate::{App, Ports};
use sluice_core::definition::VersionRule;
use sluice_core::flow::manage_definitions as flow;
use sluice_core::id::DefinitionId;
use sluice_core::ports::Clock;
use sluice_edge::http::{Request, Response};
use sluice_edge::problem::Problem;
use sluice_edge::wire::DiscoverableList;
use sluice_edge::wire::discover::{DiscoverableVersionView, DiscoverableView, query};

impl<S, C> App<S, C>
where
    S: Ports,
    C: Clock,
{
    pub(crate) async fn discover(&self, request: &Request) -> Result<Response, Problem> {
        let (filter, paging) = query(request)?;
        let (store, filter) = (&self.store, &filter);
        let read = paging.page(|limit, cursor| async move {
            let page = flow::discover_definitions(store, filter, limit, cursor).await?;
            Ok(page.map(|definition| DiscoverableView::from(&definition)))
        });
        let (definitions, next_cursor) = read.await?;
        Ok(Response::json(200, &DiscoverableList { definitions, next_cursor }))
    }

    pub(crate) async fn get_discoverable(&self, id: DefinitionId) -> Result<Response, Problem> {
        let definition = flow::get_discoverable(&self.store, id).await?;
        Ok(Response::json(200, &DiscoverableView::from(&*definition)))
    }

    pub(crate) async fn get_discoverable_version(
        &self,
        id: DefinitionId,
        rule: VersionRule,
    ) -> Result<Response, Problem> {
        let (definition, version) = flow::get_discoverable_version(&self.store, id, rule).await?;
        Ok(Response::json(200, &DiscoverableVersionView::new(&definition, &version)))
    }
}
