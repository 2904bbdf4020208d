//! The keys of processors: one function per route.

use crate::{App, Ports};
use sluice_core::caller::Caller;
use sluice_core::flow::manage_keys as flow;
use sluice_core::id::ProcessorKey;
use sluice_core::ports::Clock;
use sluice_edge::http::Response;
use sluice_edge::problem::Problem;
use sluice_edge::route::ProcessorKeyId;
use sluice_edge::wire::keys::{KeysView, NewKeyView, key_path};

impl<S, C> App<S, C>
where
    S: Ports,
    C: Clock,
{
    pub(crate) async fn create_key(&self, caller: &Caller, processor: &ProcessorKey) -> Result<Response, Problem> {
        let (random, now) = ((self.new_key)(), self.clock.now());
        let (text, head) = flow::create_key(&self.store, caller, processor, random, now).await?;
        Ok(Response::json(201, &NewKeyView::new(&text, &head)).located(&key_path(processor, &head)))
    }

    pub(crate) async fn list_keys(&self, caller: &Caller, processor: &ProcessorKey) -> Result<Response, Problem> {
        let keys = flow::list_keys(&self.store, caller, processor).await?;
        Ok(Response::json(200, &KeysView::from(&keys)))
    }

    pub(crate) async fn delete_key(
        &self,
        caller: &Caller,
        processor: &ProcessorKey,
        ProcessorKeyId(id): ProcessorKeyId,
    ) -> Result<Response, Problem> {
        flow::delete_key(&self.store, caller, processor, &id).await?;
        Ok(Response::no_content())
    }
}
