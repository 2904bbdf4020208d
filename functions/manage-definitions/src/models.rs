//! Models that governed calls may name: one function per route.

use crate::{App, Ports};
use sluice_core::caller::Caller;
use sluice_core::flow::manage_models as flow;
use sluice_core::id::ModelKey;
use sluice_core::ports::Clock;
use sluice_edge::http::{Request, Response};
use sluice_edge::problem::Problem;
use sluice_edge::wire::models::{ModelBody, ModelView};
use sluice_edge::wire::{ModelList, Paging};

impl<S, C> App<S, C>
where
    S: Ports,
    C: Clock,
{
    pub(crate) async fn list_models(&self, request: &Request, caller: &Caller) -> Result<Response, Problem> {
        let whose = if caller.is_operator { String::new() } else { caller.tenant.to_string() };
        let paging = Paging::alone(request, vec!["models".to_owned(), whose])?;
        let store = &self.store;
        let read = paging.page(|limit, cursor| async move {
            let page = flow::list_models(store, caller, limit, cursor).await?;
            Ok(page.map(|model| ModelView::from(&*model)))
        });
        let (models, next_cursor) = read.await?;
        Ok(Response::json(200, &ModelList { models, next_cursor }))
    }

    pub(crate) async fn get_model(&self, caller: &Caller, key: &ModelKey) -> Result<Response, Problem> {
        let model = flow::get_model(&self.store, caller, key).await?;
        Ok(Response::json(200, &ModelView::from(&*model)))
    }

    pub(crate) async fn save_model(
        &self,
        request: &Request,
        caller: &Caller,
        key: ModelKey,
    ) -> Result<Response, Problem> {
        let declaration = request.json::<ModelBody>()?.into_declaration(key)?;
        let model = flow::save_model(&self.store, caller, declaration, self.clock.now()).await?;
        Ok(Response::json(200, &ModelView::from(&model)))
    }

    pub(crate) async fn delete_model(&self, caller: &Caller, key: &ModelKey) -> Result<Response, Problem> {
        flow::delete_model(&self.store, caller, key).await?;
        Ok(Response::no_content())
    }
}
