//! `POST /v1/workflow-runs/{runId}/cancel`: idempotent, and truthful in every state.

use lambda_runtime::LambdaEvent;
use sluice_core::caller::Caller;
use sluice_core::flow::cancel_run::{Canceled, cancel_run};
use sluice_core::ports::{AnnounceDue, ChangeRun, Clock, StopExecution};
use sluice_edge::http::{Event, Request, Response};
use sluice_edge::identity::IdentityConfig;
use sluice_edge::metrics;
use sluice_edge::problem::{self, Problem};
use sluice_edge::wire::runs::{RunView, run_id_in_path};
use std::convert::Infallible;
use tracing::Instrument;

/// The function with everything it needs.
#[derive(Clone, Debug)]
pub struct App<S, E, C> {
    pub store: S,
    pub engine: E,
    pub clock: C,
    pub identity: IdentityConfig,
}

impl<S, E, C> App<S, E, C>
where
    S: ChangeRun,
    E: StopExecution + AnnounceDue,
    C: Clock,
{
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
        let caller = self.identity.caller(request)?;
        let segments = request.segments();
        match segments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["v1", "workflow-runs", run_id, "cancel"] => {
                request.allow(&["POST"])?;
                self.cancel(request, &caller, run_id).await
            }
            _ => Err(request.no_route()),
        }
    }

    async fn cancel(&self, request: &Request, caller: &Caller, run_id: &str) -> Result<Response, Problem> {
        let run_id = run_id_in_path(run_id)?;
        request.about_run(run_id);
        let now = self.clock.now();
        match cancel_run(&self.store, &self.engine, caller, run_id, now).await? {
            Canceled::Underway(run) => {
                metrics::count(&metrics::STOPS_ASKED);
                Ok(Response::json(202, &RunView::from(&run)))
            }
            Canceled::Already(run) => {
                // Ended by this request: it had not started.
                if run.completed_at == Some(now) {
                    metrics::run_settled("request", &run);
                }
                Ok(Response::json(200, &RunView::from(&run)))
            }
            Canceled::TooLate(run) => {
                let detail = format!("run {run_id} has ended {}: it cannot be canceled any more", run.status.as_str());
                Err(Problem::new(&problem::RUN_ENDED, detail).about(run_id, Some(run.status.as_str())))
            }
        }
    }
}
