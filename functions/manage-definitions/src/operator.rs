//! What the operator declares: one function per route.

use crate::App;
use sluice_core::caller::Caller;
use sluice_core::flow::manage_operator as flow;
use sluice_core::id::InvalidId;
use sluice_core::invalid::Invalid;
use sluice_core::ports::{Clock, ManageDefinitions, ManageOperator, SaveInstance};
use sluice_edge::http::{Request, Response};
use sluice_edge::problem::Problem;
use sluice_edge::wire::operator::{
    ComputeNodeBody, ComputeNodeView, LayerBody, ProcessorBody, ProcessorView, TenantBody, TenantView,
};
use sluice_edge::wire::{ComputeNodeList, Paging, ProcessorList, TenantList, no_query};
use std::str::FromStr;

impl<S, C> App<S, C>
where
    S: ManageDefinitions + ManageOperator + SaveInstance,
    C: Clock,
{
    pub(crate) async fn list_processors(&self, request: &Request, caller: &Caller) -> Result<Response, Problem> {
        flow::operator_only(caller, "read processors")?;
        let paging = Paging::alone(request, vec!["processors".to_owned()])?;
        let page = flow::list_processors(&self.store, caller, paging.limit, paging.cursor.as_deref()).await;
        let page = page.map_err(|refusal| paging.blame_refusal(refusal))?;
        let processors = page.items.iter().map(ProcessorView::from).collect();
        Ok(Response::json(200, &ProcessorList { processors, next_cursor: paging.next(&page) }))
    }

    pub(crate) async fn get_processor(
        &self,
        request: &Request,
        caller: &Caller,
        key: &str,
    ) -> Result<Response, Problem> {
        flow::operator_only(caller, "read processors")?;
        no_query(request)?;
        let processor = flow::get_processor(&self.store, caller, &keyed("key", key)?).await?;
        Ok(Response::json(200, &ProcessorView::from(&*processor)))
    }

    pub(crate) async fn save_processor(
        &self,
        request: &Request,
        caller: &Caller,
        key: &str,
    ) -> Result<Response, Problem> {
        flow::operator_only(caller, "declare processors")?;
        let body: ProcessorBody = request.json()?;
        let processor = body.into_processor(keyed("key", key)?, self.clock.now())?;
        let processor = flow::save_processor(&self.store, caller, processor).await?;
        Ok(Response::json(200, &ProcessorView::from(&processor)))
    }

    pub(crate) async fn list_compute_nodes(&self, request: &Request, caller: &Caller) -> Result<Response, Problem> {
        flow::operator_only(caller, "read compute nodes")?;
        let paging = Paging::alone(request, vec!["compute-nodes".to_owned()])?;
        let page = flow::list_compute_nodes(&self.store, caller, paging.limit, paging.cursor.as_deref()).await;
        let page = page.map_err(|refusal| paging.blame_refusal(refusal))?;
        let compute_nodes = page.items.iter().map(ComputeNodeView::from).collect();
        Ok(Response::json(200, &ComputeNodeList { compute_nodes, next_cursor: paging.next(&page) }))
    }

    pub(crate) async fn get_compute_node(
        &self,
        request: &Request,
        caller: &Caller,
        key: &str,
    ) -> Result<Response, Problem> {
        flow::operator_only(caller, "read compute nodes")?;
        no_query(request)?;
        let node = flow::get_compute_node(&self.store, caller, &keyed("key", key)?).await?;
        Ok(Response::json(200, &ComputeNodeView::from(&*node)))
    }

    pub(crate) async fn save_compute_node(
        &self,
        request: &Request,
        caller: &Caller,
        key: &str,
    ) -> Result<Response, Problem> {
        flow::operator_only(caller, "declare compute nodes")?;
        let body: ComputeNodeBody = request.json()?;
        let node = body.into_compute_node(keyed("key", key)?, self.runner_arn.as_ref(), self.clock.now())?;
        let node = flow::save_compute_node(&self.store, caller, node).await?;
        Ok(Response::json(200, &ComputeNodeView::from(&node)))
    }

    pub(crate) async fn save_layer(
        &self,
        request: &Request,
        caller: &Caller,
        key: &str,
        name: &str,
    ) -> Result<Response, Problem> {
        flow::operator_only(caller, "declare layers")?;
        let body: LayerBody = request.json()?;
        let (key, name, now) = (keyed("key", key)?, keyed("name", name)?, self.clock.now());
        let node = flow::save_layer(&self.store, caller, &key, name, body.status, now).await?;
        Ok(Response::json(200, &ComputeNodeView::from(&node)))
    }

    pub(crate) async fn list_tenants(&self, request: &Request, caller: &Caller) -> Result<Response, Problem> {
        flow::operator_only(caller, "read what tenants may do")?;
        let paging = Paging::alone(request, vec!["tenants".to_owned()])?;
        let page = flow::list_tenants(&self.store, caller, paging.limit, paging.cursor.as_deref()).await;
        let page = page.map_err(|refusal| paging.blame_refusal(refusal))?;
        let tenants = page.items.iter().map(TenantView::from).collect();
        Ok(Response::json(200, &TenantList { tenants, next_cursor: paging.next(&page) }))
    }

    pub(crate) async fn get_tenant(
        &self,
        request: &Request,
        caller: &Caller,
        tenant: &str,
    ) -> Result<Response, Problem> {
        flow::operator_only(caller, "read what tenants may do")?;
        no_query(request)?;
        let settings = flow::get_tenant(&self.store, caller, &keyed("tenant", tenant)?).await?;
        Ok(Response::json(200, &TenantView::from(&*settings)))
    }

    pub(crate) async fn save_tenant(
        &self,
        request: &Request,
        caller: &Caller,
        tenant: &str,
    ) -> Result<Response, Problem> {
        flow::operator_only(caller, "set what tenants may do")?;
        let body: TenantBody = request.json()?;
        let settings = body.into_settings(keyed("tenant", tenant)?, self.clock.now());
        let settings = flow::save_tenant(&self.store, caller, &self.destinations, settings).await?;
        Ok(Response::json(200, &TenantView::from(&settings)))
    }
}

/// A key in a path.
fn keyed<T: FromStr<Err = InvalidId>>(name: &str, text: &str) -> Result<T, Invalid> {
    text.parse().map_err(|InvalidId(message)| Invalid::one(format!("path:{name}"), "invalid", message))
}
