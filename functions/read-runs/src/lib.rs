//! `GET /v1/workflow-runs` and everything below one run.

use lambda_runtime::LambdaEvent;
use sluice_core::caller::Caller;
use sluice_core::flow::{Refusal, find_run, read_runs};
use sluice_core::id::{InvalidId, RunId};
use sluice_core::lifecycle::RunStatus;
use sluice_core::ports::{Clock, ReadQueue, ReadRuns};
use sluice_edge::http::{Event, Request, Response};
use sluice_edge::identity::IdentityConfig;
use sluice_edge::problem::Problem;
use sluice_edge::wire::inputs::InputList;
use sluice_edge::wire::report_run::CommentView;
use sluice_edge::wire::runs::{self, DeliveryList, DeliveryView, GetRun, RunView, StepList, StepView, run_id_in_path};
use sluice_edge::wire::usage::UsageView;
use sluice_edge::wire::{CommentList, Paging, RunList, no_query};
use std::convert::Infallible;
use tracing::Instrument;

/// The function with everything it needs.
#[derive(Clone, Debug)]
pub struct App<S, C> {
    pub store: S,
    pub clock: C,
    pub identity: IdentityConfig,
}

impl<S: ReadRuns + ReadQueue, C: Clock> App<S, C> {
    /// Answers one request.
    ///
    /// # Errors
    /// Never: a fault would reach the caller as the gateway's bare 502.
    pub async fn handle(&self, event: LambdaEvent<Event>) -> Result<Response, Infallible> {
        let request = Request::from(event);
        let answer = self.answer(&request).instrument(request.span.clone()).await;
        Ok(request.conclude(answer))
    }

    async fn answer(&self, request: &Request) -> Result<Response, Problem> {
        let caller = &self.identity.caller(request)?;
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let ["v1", "workflow-runs", below @ ..] = &segments[..] else {
            return Err(request.no_route());
        };
        match *below {
            [] | [_] | [_, "steps" | "deliveries" | "inputs" | "usage" | "comments"] | [_, "steps", _] => {
                request.allow(&["GET"])?;
            }
            _ => return Err(request.no_route()),
        }
        let [run_id, below @ ..] = below else {
            return self.list(request, caller).await;
        };
        let run_id = run_id_in_path(run_id)?;
        request.about_run(run_id);
        match *below {
            [] => self.get(request, caller, run_id).await,
            ["steps"] => self.steps(request, caller, run_id).await,
            ["steps", node_id] => self.step(request, caller, run_id, node_id).await,
            ["inputs"] => self.inputs(request, caller, run_id).await,
            ["usage"] => self.usage(request, caller, run_id).await,
            ["comments"] => self.comments(request, caller, run_id).await,
            _ => self.deliveries(request, caller, run_id).await,
        }
    }

    async fn list(&self, request: &Request, caller: &Caller) -> Result<Response, Problem> {
        let (filter, paging) = runs::list_query(request, &caller.tenant)?;
        let (cursor, now) = (paging.cursor.as_deref(), self.clock.now());
        let page = read_runs::list_runs(&self.store, caller, &filter, paging.limit, cursor, now).await;
        let page = page.map_err(|refusal| paging.blame_refusal(refusal))?;
        let next_cursor = paging.next(&page);
        Ok(Response::json(200, &RunList { runs: page.items.iter().map(RunView::from).collect(), next_cursor }))
    }

    async fn get(&self, request: &Request, caller: &Caller, run_id: RunId) -> Result<Response, Problem> {
        let GetRun { wait_seconds, with_snapshot } = GetRun::read(request)?;
        let (run, output) = read_runs::get_run(&self.store, &self.clock, caller, run_id, wait_seconds).await?;
        let links = self.store.list_links(&caller.tenant, run_id).await?;
        let mut view = RunView::from(&run).with_output(output).with_links(&links);
        if run.status == RunStatus::Queued {
            view = view.with_queue_position(self.store.queue_position(&run).await?);
        }
        if with_snapshot && let Some(snapshot) = self.store.load_snapshot(&caller.tenant, run_id).await? {
            view = view.with_snapshot(snapshot);
        }
        Ok(Response::json(200, &view))
    }

    async fn steps(&self, request: &Request, caller: &Caller, run_id: RunId) -> Result<Response, Problem> {
        no_query(request)?;
        let steps = read_runs::list_steps(&self.store, caller, run_id, self.clock.now()).await?;
        Ok(Response::json(200, &StepList { steps: steps.iter().map(StepView::from).collect() }))
    }

    async fn step(&self, request: &Request, caller: &Caller, run_id: RunId, node: &str) -> Result<Response, Problem> {
        no_query(request)?;
        let node_id = node.parse().map_err(|InvalidId(_)| Refusal::NotFound { what: "step", id: node.to_owned() })?;
        let step = read_runs::get_step(&self.store, caller, run_id, &node_id, self.clock.now()).await?;
        Ok(Response::json(200, &StepView::with_result(&step)))
    }

    async fn deliveries(&self, request: &Request, caller: &Caller, run_id: RunId) -> Result<Response, Problem> {
        no_query(request)?;
        let run = find_run(&self.store, caller, run_id, self.clock.now()).await?;
        let deliveries = self.store.list_deliveries(&run.tenant_id, run_id).await?;
        let deliveries = deliveries.iter().map(|(delivery, attempts)| DeliveryView::new(delivery, attempts)).collect();
        Ok(Response::json(200, &DeliveryList { deliveries }))
    }

    async fn inputs(&self, request: &Request, caller: &Caller, run_id: RunId) -> Result<Response, Problem> {
        no_query(request)?;
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
