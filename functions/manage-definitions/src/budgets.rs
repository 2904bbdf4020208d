//! What is left of the budgets that a tenant's runs are under.

use crate::{App, Ports};
use sluice_core::caller::Caller;
use sluice_core::flow::read_budgets::read_budgets;
use sluice_core::ports::Clock;
use sluice_edge::http::{Request, Response};
use sluice_edge::problem::Problem;
use sluice_edge::wire::budget::{BudgetsView, user_asked};

impl<S, C> App<S, C>
where
    S: Ports,
    C: Clock,
{
    pub(crate) async fn get_budgets(&self, request: &Request, caller: &Caller) -> Result<Response, Problem> {
        let user = user_asked(request)?;
        let budgets = read_budgets(&self.store, caller, user.as_ref(), self.clock.now()).await?;
        Ok(Response::json(200, &BudgetsView::new(user.as_ref(), &budgets)))
    }
}
