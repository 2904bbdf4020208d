//! `GET /v1/workflow-runs` and everything below one run.

use sluice_core::caller::Caller;
use sluice_core::flow::{find_run, read_runs};
use sluice_core::id::{NodeId, RunId};
use sluice_core::lifecycle::RunStatus;
use sluice_core::ports::{Clock, ReadQueue, ReadRuns};
use sluice_edge::http::{Request, Response};
use sluice_edge::problem::Problem;
use sluice_edge::route::ReadRunsRoute as Route;
use sluice_edge::serve::{Asked, Deadline, Handler};
use sluice_edge::wire::inputs::InputList;
use sluice_edge::wire::report_run::CommentView;
use sluice_edge::wire::runs::{self, DeliveryList, DeliveryView, GetRun, RunView, StepList, StepView};
use sluice_edge::wire::usage::UsageView;
use sluice_edge::wire::{CommentList, Paging, RunList};

/// The function with everything it needs.
#[derive(Clone, Debug)]
pub struct App<S, C> {
    pub store: S,
    pub clock: C,
}

impl<S: ReadRuns + ReadQueue, C: Clock> Handler for App<S, C> {
    type Route = Route;

    async fn answer(&self, asked: Asked<'_, Route>) -> Result<Response, Problem> {
        let Asked { route, caller, request, deadline } = asked;
        let caller = &caller;
        match route {
            Route::ListRuns => self.list(request, caller).await,
            Route::GetRun { run_id } => self.get(request, caller, run_id, deadline).await,
            Route::ListSteps { run_id } => self.steps(caller, run_id).await,
            Route::GetStep { run_id, node_id } => self.step(caller, run_id, &node_id).await,
            Route::ListDeliveries { run_id } => self.deliveries(caller, run_id).await,
            Route::ListInputs { run_id } => self.inputs(caller, run_id).await,
            Route::GetUsage { run_id } => self.usage(request, caller, run_id).await,
            Route::ListComments { run_id } => self.comments(request, caller, run_id).await,
        }
    }
}

impl<S: ReadRuns + ReadQueue, C: Clock> App<S, C> {
    async fn list(&self, request: &Request, caller: &Caller) -> Result<Response, Problem> {
        let (filter, paging) = runs::list_query(request, &caller.tenant)?;
        let (cursor, now) = (paging.cursor.as_deref(), self.clock.now());
        let page = read_runs::list_runs(&self.store, caller, &filter, paging.limit, cursor, now).await;
        let page = page.map_err(|refusal| paging.blame_refusal(refusal))?;
        let next_cursor = paging.next(&page);
        Ok(Response::json(200, &RunList { runs: page.items.iter().map(RunView::from).collect(), next_cursor }))
    }

    async fn get(
        &self,
        request: &Request,
        caller: &Caller,
        run_id: RunId,
        deadline: Deadline,
    ) -> Result<Response, Problem> {
        let GetRun { wait_seconds, with_snapshot } = GetRun::read(request)?;
        let wait_seconds = deadline.seconds_to_wait(wait_seconds, self.clock.now());
        let (run, output) = read_runs::get_run(&self.store, &self.clock, caller, run_id, wait_seconds).await?;
        let links = self.store.list_links(&caller.tenant, run_id).await?;
        let mut view = RunView::from(&run).with_output(output).with_links(&links);
        if run.status() == RunStatus::Queued {
            view = view.with_queue_position(self.store.queue_position(&run).await?);
        }
        if with_snapshot && let Some(snapshot) = self.store.load_snapshot(&caller.tenant, run_id).await? {
            view = view.with_snapshot(snapshot);
        }
        Ok(Response::json(200, &view))
    }

    async fn steps(&self, caller: &Caller, run_id: RunId) -> Result<Response, Problem> {
        let steps = read_runs::list_steps(&self.store, caller, run_id, self.clock.now()).await?;
        Ok(Response::json(200, &StepList { steps: steps.iter().map(StepView::from).collect() }))
    }

    async fn step(&self, caller: &Caller, run_id: RunId, node_id: &NodeId) -> Result<Response, Problem> {
        let step = read_runs::get_step(&self.store, caller, run_id, node_id, self.clock.now()).await?;
        Ok(Response::json(200, &StepView::with_result(&step)))
    }

    async fn deliveries(&self, caller: &Caller, run_id: RunId) -> Result<Response, Problem> {
        let run = find_run(&self.store, caller, run_id, self.clock.now()).await?;
        let deliveries = self.store.list_deliveries(&run.tenant_id, run_id).await?;
        let deliveries = deliveries.iter().map(|(delivery, attempts)| DeliveryView::new(delivery, attempts)).collect();
        Ok(Response::json(200, &DeliveryList { deliveries }))
    }

    async fn inputs(&self, caller: &Caller, run_id: RunId) -> Result<Response, Problem> {
        let segments = read_runs::list_inputs(&self.store, caller, run_id, self.clock.now()).await?;
        Ok(Response::json(200, &InputList::from(&segments[..])))
    }

    async fn usage(&self, request: &Request, caller: &Caller, run_id: RunId) -> Result<Response, Problem> {
        let paging = paging_of("usage", request, caller, run_id)?;
        let (cursor, now) = (paging.cursor.as_deref(), self.clock.now());
        let found = read_runs::get_usage(&self.store, caller, run_id, paging.limit, cursor, now).await;
        let (ledger, page) = found.map_err(|refusal| paging.blame_refusal(refusal))?;
        Ok(Response::json(200, &UsageView::new(&ledger, &page.items, paging.next(&page))))
    }

    async fn comments(&self, request: &Request, caller: &Caller, run_id: RunId) -> Result<Response, Problem> {
        let paging = paging_of("comments", request, caller, run_id)?;
        let (cursor, now) = (paging.cursor.as_deref(), self.clock.now());
        let page = read_runs::list_comments(&self.store, caller, run_id, paging.limit, cursor, now).await;
        let page = page.map_err(|refusal| paging.blame_refusal(refusal))?;
        let next_cursor = paging.next(&page);
        Ok(Response::json(200, &CommentList { items: page.items.iter().map(CommentView::from).collect(), next_cursor }))
    }
}

/// Which part of a list of one run is asked for.
fn paging_of(list: &str, request: &Request, caller: &Caller, run_id: RunId) -> Result<Paging, Problem> {
    Ok(Paging::alone(request, vec![list.to_owned(), caller.tenant.to_string(), run_id.to_string()])?)
}
