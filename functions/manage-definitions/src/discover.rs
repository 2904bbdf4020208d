//! What other tenants let every tenant run: one function per route.

use crate::App;
use sluice_core::definition::VersionRule;
use sluice_core::flow::manage_definitions as flow;
use sluice_core::id::DefinitionId;
use sluice_core::ports::{Clock, ManageDefinitions, ManageOperator, SaveInstance};
use sluice_edge::http::{Request, Response};
use sluice_edge::problem::Problem;
use sluice_edge::wire::DiscoverableList;
use sluice_edge::wire::discover::{DiscoverableVersionView, DiscoverableView, query};

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
