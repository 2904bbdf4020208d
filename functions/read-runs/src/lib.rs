//! `GET /v1/workflow-runs` and everything below one run.

use sluice_core::caller::Caller;
use sluice_core::flow::read_runs::Waited;
use sluice_core::flow::waiting::WaitLimits;
use sluice_core::flow::{find_beside, read_runs};
use sluice_core::id::{NodeId, RunId};
use sluice_core::lifecycle::RunStatus;
use sluice_core::meter::Chance;
use sluice_core::ports::{Boards, Clock, CountOnMeter, ReadCatalog, ReadQueue, ReadRuns, StepPart};
use sluice_core::together::both;
use sluice_edge::http::{Request, Response};
use sluice_edge::problem::Problem;
use sluice_edge::route::{InputNumber, ItemIndex, IterationNumber, ReadRunsRoute as Route};
use sluice_edge::serve::{Asked, Deadline, Handler};
use sluice_edge::wire::inputs::InputView;
use sluice_edge::wire::report_run::CommentView;
use sluice_edge::wire::runs::{self, DeliveryList, DeliveryView, GetRun, RunView, StepPartView, StepView};
use sluice_edge::wire::usage::{UsageCallView, UsageView};
use sluice_edge::wire::{CommentList, InputList, Paging, RunList, StepList};

/// The function with everything it needs.
#[derive(Clone, Debug)]
pub struct App<S, C> {
    pub store: S,
    pub clock: C,
    pub wait_limits: WaitLimits,
    /// Random.
    pub new_chance: fn() -> Chance,
}

/// Seconds after which a read that could not wait is to be asked again: there may be room then.
const ROOM_AFTER_SECONDS: u32 = 5;

impl<S: ReadRuns + Boards + ReadQueue + ReadCatalog + CountOnMeter, C: Clock> Handler for App<S, C> {
    type Route = Route;

    async fn answer(&self, asked: Asked<'_, Route>) -> Result<Response, Problem> {
        let Asked { route, caller, request, deadline } = asked;
        let caller = &caller;
        match route {
            Route::ListRuns => self.list(request, caller).await,
            Route::GetRun { run_id } => self.get(request, caller, run_id, deadline).await,
            Route::ListSteps { run_id } => self.steps(request, caller, run_id).await,
            Route::GetStep { run_id, node_id } => self.step(caller, run_id, &node_id).await,
            Route::GetStepItem { run_id, node_id, item_index: ItemIndex(item) } => {
                self.step_part(caller, run_id, &node_id, StepPart::Item(item)).await
            }
            Route::GetStepIteration { run_id, node_id, iteration: IterationNumber(iteration) } => {
                self.step_part(caller, run_id, &node_id, StepPart::Iteration(iteration)).await
            }
            Route::ListDeliveries { run_id } => self.deliveries(caller, run_id).await,
            Route::ListInputs { run_id } => self.inputs(request, caller, run_id).await,
            Route::GetInput { run_id, sequence } => self.input(caller, run_id, sequence).await,
            Route::GetUsage { run_id } => self.usage(request, caller, run_id).await,
            Route::ListComments { run_id } => self.comments(request, caller, run_id).await,
        }
    }
}

impl<S: ReadRuns + Boards + ReadQueue + ReadCatalog + CountOnMeter, C: Clock> App<S, C> {
    async fn list(&self, request: &Request, caller: &Caller) -> Result<Response, Problem> {
        let (filter, paging) = runs::list_query(request, &caller.tenant)?;
        let (store, filter, now) = (&self.store, &filter, self.clock.now());
        let read = paging.page(|limit, cursor| async move {
            let page = read_runs::list_runs(store, caller, filter, limit, cursor, now).await?;
            Ok(page.map(|run| RunView::from(&run)))
        });
        let (runs, next_cursor) = read.await?;
        Ok(Response::json(200, &RunList { runs, next_cursor }))
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
        let (store, clock, chance) = (&self.store, &self.clock, (self.new_chance)());
        let waited = read_runs::wait_for_run(store, clock, self.wait_limits, chance, caller, run_id, wait_seconds);
        let snapshot = async {
            match with_snapshot {
                true => store.load_snapshot(&caller.tenant, run_id).await,
                false => Ok(None),
            }
        };
        let spending = read_runs::get_spending(store, caller, run_id, clock.now());
        let beside = both(both(store.list_links(&caller.tenant, run_id), spending), snapshot);
        let (waited, ((links, spending), snapshot)) = match wait_seconds {
            0 => both(Box::pin(waited), Box::pin(beside)).await,
            // What was linked meanwhile is shown too.
            _ => (Box::pin(waited).await, Box::pin(beside).await),
        };
        let Waited { run, output, is_crowded } = waited?;
        let links = links?;
        let mut view = RunView::from(&run).with_output(output).with_links(&links).with_budget(spending?);
        if run.status() == RunStatus::Queued {
            view = view.with_queue_position(self.store.queue_position(&run).await?);
        }
        if let Some(snapshot) = snapshot? {
            view = view.with_snapshot(snapshot);
        }
        let response = Response::json(200, &view);
        Ok(if is_crowded { response.again_after(ROOM_AFTER_SECONDS) } else { response })
    }

    async fn steps(&self, request: &Request, caller: &Caller, run_id: RunId) -> Result<Response, Problem> {
        let paging = paging_of("steps", request, caller, run_id)?;
        let (store, now) = (&self.store, self.clock.now());
        let read = paging.page(|limit, cursor| async move {
            let page = read_runs::list_steps(store, caller, run_id, limit, cursor, now).await?;
            Ok(page.map(|step| StepView::from(&step)))
        });
        let (steps, next_cursor) = read.await?;
        Ok(Response::json(200, &StepList { steps, next_cursor }))
    }

    async fn step(&self, caller: &Caller, run_id: RunId, node_id: &NodeId) -> Result<Response, Problem> {
        let step = read_runs::get_step(&self.store, caller, run_id, node_id, self.clock.now()).await?;
        Ok(Response::json(200, &StepView::with_result(&step)))
    }

    async fn step_part(
        &self,
        caller: &Caller,
        run_id: RunId,
        node_id: &NodeId,
        part: StepPart,
    ) -> Result<Response, Problem> {
        let read = read_runs::get_step_part(&self.store, caller, run_id, node_id, part, self.clock.now());
        Ok(Response::json(200, &StepPartView::new(node_id, part, read.await?)))
    }

    async fn deliveries(&self, caller: &Caller, run_id: RunId) -> Result<Response, Problem> {
        let listed = self.store.list_deliveries(&caller.tenant, run_id);
        let (_run, deliveries) = find_beside(&self.store, caller, run_id, self.clock.now(), listed).await?;
        let deliveries = deliveries.iter().map(|(delivery, attempts)| DeliveryView::new(delivery, attempts)).collect();
        Ok(Response::json(200, &DeliveryList { deliveries }))
    }

    async fn inputs(&self, request: &Request, caller: &Caller, run_id: RunId) -> Result<Response, Problem> {
        let paging = paging_of("inputs", request, caller, run_id)?;
        let (store, now) = (&self.store, self.clock.now());
        let read = paging.page(|limit, cursor| async move {
            let page = read_runs::list_inputs(store, caller, run_id, limit, cursor, now).await?;
            Ok(page.map(|segment| InputView::new(run_id, &segment)))
        });
        let (items, next_cursor) = read.await?;
        Ok(Response::json(200, &InputList { items, next_cursor }))
    }

    async fn input(
        &self,
        caller: &Caller,
        run_id: RunId,
        InputNumber(sequence): InputNumber,
    ) -> Result<Response, Problem> {
        let segment = read_runs::get_input(&self.store, caller, run_id, sequence, self.clock.now()).await?;
        Ok(Response::json(200, &InputView::new(run_id, &segment)))
    }

    async fn usage(&self, request: &Request, caller: &Caller, run_id: RunId) -> Result<Response, Problem> {
        let paging = paging_of("usage", request, caller, run_id)?;
        let (store, now) = (&self.store, self.clock.now());
        let read = paging.page(|limit, cursor| async move {
            let page = read_runs::list_calls(store, caller, run_id, limit, cursor, now).await?;
            Ok(page.map(|call| UsageCallView::from(&call)))
        });
        let (ledger, read) = both(read_runs::get_usage(store, caller, run_id, now), read).await;
        let (ledger, (items, next_cursor)) = (ledger?, read?);
        Ok(Response::json(200, &UsageView::new(&ledger, items, next_cursor)))
    }

    async fn comments(&self, request: &Request, caller: &Caller, run_id: RunId) -> Result<Response, Problem> {
        let paging = paging_of("comments", request, caller, run_id)?;
        let (store, now) = (&self.store, self.clock.now());
        let read = paging.page(|limit, cursor| async move {
            let page = read_runs::list_comments(store, caller, run_id, limit, cursor, now).await?;
            Ok(page.map(|comment| CommentView::from(&comment)))
        });
        let (items, next_cursor) = read.await?;
        Ok(Response::json(200, &CommentList { items, next_cursor }))
    }
}

/// Which part of a list of one run is asked for.
fn paging_of(list: &str, request: &Request, caller: &Caller, run_id: RunId) -> Result<Paging, Problem> {
    Ok(Paging::alone(request, vec![list.to_owned(), caller.tenant.to_string(), run_id.to_string()])?)
}
