//! `POST /v1/workflow-runs/{runId}/cancel`: idempotent, and truthful in every state.

use sluice_core::flow::cancel_run::{Canceled, cancel_run};
use sluice_core::ports::{AnnounceDue, ChangeRun, Clock, StopExecution};
use sluice_edge::http::Response;
use sluice_edge::metrics;
use sluice_edge::problem::{self, Problem};
use sluice_edge::route::CancelRunRoute;
use sluice_edge::serve::{Asked, Handler};
use sluice_edge::wire::runs::RunView;

/// The function with everything it needs.
#[derive(Clone, Debug)]
pub struct App<S, E, C> {
    pub store: S,
    pub engine: E,
    pub clock: C,
}

impl<S, E, C> Handler for App<S, E, C>
where
    S: ChangeRun,
    E: StopExecution + AnnounceDue,
    C: Clock,
{
    type Route = CancelRunRoute;

    async fn answer(&self, asked: Asked<'_, CancelRunRoute>) -> Result<Response, Problem> {
        let Asked { route: CancelRunRoute::CancelRun { run_id }, caller, .. } = asked;
        let now = self.clock.now();
        match cancel_run(&self.store, &self.engine, &caller, run_id, now).await? {
            Canceled::Underway(run) => {
                metrics::count(&metrics::STOPS_ASKED);
                Ok(Response::json(202, &RunView::from(&run)))
            }
            Canceled::Already(run) => {
                // Ended by this request: it had not started.
                if run.state.ended().map(|ended| ended.completed_at) == Some(now) {
                    metrics::run_settled("request", &run);
                }
                Ok(Response::json(200, &RunView::from(&run)))
            }
            Canceled::TooLate(run) => {
                let detail =
                    format!("run {run_id} has ended {}: it cannot be canceled any more", run.status().as_str());
                Err(Problem::new(&problem::RUN_ENDED, detail).about(run_id, Some(run.status().as_str())))
            }
        }
    }
}
