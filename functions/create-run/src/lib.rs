//! `POST /v1/workflow-runs`: records a run, then starts it.

use lambda_runtime::LambdaEvent;
use sluice_core::caller::Caller;
use sluice_core::flow::create_run::{Policy, create_run};
use sluice_core::id::RunId;
use sluice_core::ports::{AnnounceDue, ChangeRun, Clock, ReadCatalog, RecordRun, SaveInstance, StartExecution};
use sluice_edge::http::{Event, Request, Response};
use sluice_edge::identity::IdentityConfig;
use sluice_edge::metrics;
use sluice_edge::problem::Problem;
use sluice_edge::wire::create_run::CreateRun;
use sluice_edge::wire::runs::{RunView, run_path};
use std::convert::Infallible;
use tracing::Instrument;

/// The function with everything it needs.
#[derive(Clone, Debug)]
pub struct App<S, E, C> {
    pub store: S,
    pub engine: E,
    pub clock: C,
    pub policy: Policy,
    pub identity: IdentityConfig,
    pub new_run_id: fn() -> RunId,
}

impl<S, E, C> App<S, E, C>
where
    S: ReadCatalog + SaveInstance + RecordRun + ChangeRun,
    E: StartExecution + AnnounceDue,
    C: Clock,
{
    /// Answers one request.
    ///
    /// # Errors
    /// Never: a fault would reach the caller as the gateway's bare 502.
    pub async fn handle(&self, event: LambdaEvent<Event>) -> Result<Response, Infallible> {
        let request = Request::from(event);
        let answer = self.answer(&request).instrument(request.span.clone()).await;
        Ok(request.conclude(answer.inspect_err(metrics::run_refused)))
    }

    async fn answer(&self, request: &Request) -> Result<Response, Problem> {
        let caller = self.identity.caller(request)?;
        let segments = request.segments();
        match segments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["v1", "workflow-runs"] => {
                request.allow(&["POST"])?;
                self.create(request, &caller).await
            }
            _ => Err(request.no_route()),
        }
    }

    async fn create(&self, request: &Request, caller: &Caller) -> Result<Response, Problem> {
        let (command, configs) = CreateRun::read(request)?.into_parts();
        let (run_id, now) = ((self.new_run_id)(), self.clock.now());
        let accepted = create_run(&self.store, &self.engine, &self.policy, caller, command, run_id, now)
            .await
            .map_err(|refusal| CreateRun::locate(&configs, refusal))?;
        request.about_run(accepted.run.run_id);
        metrics::run_accepted(&accepted);
        if accepted.start_delayed {
            tracing::warn!("run recorded; its start is left to the reconciler");
        }
        let response = Response::json(201, &RunView::from(&accepted.run)).located(&run_path(accepted.run.run_id));
        Ok(response.replayed(accepted.replayed))
    }
}
