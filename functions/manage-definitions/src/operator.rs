//! What the operator declares: one function per route.

use crate::{App, Ports};
use sluice_core::caller::Caller;
use sluice_core::flow::manage_operator as flow;
use sluice_core::id::{ComputeNodeKey, LayerName, ProcessorKey, TenantId};
use sluice_core::ports::Clock;
use sluice_edge::http::{Request, Response};
use sluice_edge::problem::Problem;
use sluice_edge::wire::operator::{
    ComputeNodeBody, ComputeNodeView, LayerBody, ProcessorBody, ProcessorView, TenantBody, TenantView,
};
use sluice_edge::wire::{ComputeNodeList, Paging, ProcessorList, TenantList};

impl<S, C> App<S, C>
where
    S: Ports,
    C: Clock,
{
    pub(crate) async fn list_processors(&self, request: &Request, caller: &Caller) -> Result<Response, Problem> {
        let paging = Paging::alone(request, vec!["processors".to_owned()])?;
        let store = &self.store;
        let read = paging.page(|limit, cursor| async move {
            let page = flow::list_processors(store, caller, limit, cursor).await?;
            Ok(page.map(|processor| ProcessorView::from(&processor)))
        });
        let (processors, next_cursor) = read.await?;
        Ok(Response::json(200, &ProcessorList { processors, next_cursor }))
    }

    pub(crate) async fn get_processor(&self, caller: &Caller, key: &ProcessorKey) -> Result<Response, Problem> {
        let processor = flow::get_processor(&self.store, caller, key).await?;
        Ok(Response::json(200, &ProcessorView::from(&*processor)))
    }

    pub(crate) async fn save_processor(
        &self,
        request: &Request,
        caller: &Caller,
        key: ProcessorKey,
    ) -> Result<Response, Problem> {
        let body: ProcessorBody = request.json()?;
        let processor = body.into_processor(key, self.clock.now())?;
        let processor = flow::save_processor(&self.store, caller, processor).await?;
        Ok(Response::json(200, &ProcessorView::from(&processor)))
    }

    pub(crate) async fn list_compute_nodes(&self, request: &Request, caller: &Caller) -> Result<Response, Problem> {
        let paging = Paging::alone(request, vec!["compute-nodes".to_owned()])?;
        let store = &self.store;
        let read = paging.page(|limit, cursor| async move {
            let page = flow::list_compute_nodes(store, caller, limit, cursor).await?;
            Ok(page.map(|node| ComputeNodeView::from(&node)))
        });
        let (compute_nodes, next_cursor) = read.await?;
        Ok(Response::json(200, &ComputeNodeList { compute_nodes, next_cursor }))
    }

    pub(crate) async fn get_compute_node(&self, caller: &Caller, key: &ComputeNodeKey) -> Result<Response, Problem> {
        let node = flow::get_compute_node(&self.store, caller, key).await?;
        Ok(Response::json(200, &ComputeNodeView::from(&*node)))
    }

    pub(crate) async fn save_compute_node(
        &self,
        request: &Request,
        caller: &Caller,
        key: ComputeNodeKey,
    ) -> Result<Response, Problem> {
        let body: ComputeNodeBody = request.json()?;
        let (node, layers) = body.into_compute_node(key, self.runner_arn.as_ref(), self.clock.now())?;
        let node = flow::save_compute_node(&self.store, caller, node, layers).await?;
        Ok(Response::json(200, &ComputeNodeView::from(&node)))
    }

    pub(crate) async fn save_layer(
        &self,
        request: &Request,
        caller: &Caller,
        key: &ComputeNodeKey,
        name: LayerName,
    ) -> Result<Response, Problem> {
        let body: LayerBody = request.json()?;
        let now = self.clock.now();
        let node = flow::save_layer(&self.store, caller, key, name, body.status, now).await?;
        Ok(Response::json(200, &ComputeNodeView::from(&node)))
    }

    pub(crate) async fn list_tenants(&self, request: &Request, caller: &Caller) -> Result<Response, Problem> {
        let paging = Paging::alone(request, vec!["tenants".to_owned()])?;
        let store = &self.store;
        let read = paging.page(|limit, cursor| async move {
            let page = flow::list_tenants(store, caller, limit, cursor).await?;
            Ok(page.map(|tenant| TenantView::from(&tenant)))
        });
        let (tenants, next_cursor) = read.await?;
        Ok(Response::json(200, &TenantList { tenants, next_cursor }))
    }

    pub(crate) async fn get_tenant(&self, caller: &Caller, tenant: &TenantId) -> Result<Response, Problem> {
        let settings = flow::get_tenant(&self.store, caller, tenant).await?;
        Ok(Response::json(200, &TenantView::from(&*settings)))
    }

    pub(crate) async fn save_tenant(
        &self,
        request: &Request,
        caller: &Caller,
        tenant: TenantId,
    ) -> Result<Response, Problem> {
        let body: TenantBody = request.json()?;
        let settings = body.into_settings(tenant, self.clock.now())?;
        let settings = flow::save_tenant(&self.store, caller, &self.destinations, settings).await?;
        Ok(Response::json(200, &TenantView::from(&settings)))
    }
}
