//! `POST /v1/workflow-runs`: records a run, then starts it.

use sluice_core::flow::create_run::{Fresh, Policy, create_run};
use sluice_core::ports::{
    AnnounceDue, ChangeRun, Clock, CountOnMeter, ReadCatalog, RecordRun, SaveInstance, StartExecution,
};
use sluice_edge::http::Response;
use sluice_edge::metrics;
use sluice_edge::problem::Problem;
use sluice_edge::route::CreateRunRoute;
use sluice_edge::serve::{Asked, Handler};
use sluice_edge::wire::create_run::CreateRun;
use sluice_edge::wire::refusal::Form;
use sluice_edge::wire::runs::{RunView, run_path};

/// The function with everything it needs.
#[derive(Clone, Debug)]
pub struct App<S, E, C> {
    pub store: S,
    pub engine: E,
    pub clock: C,
    pub policy: Policy,
    pub new_run: fn() -> Fresh,
}

impl<S, E, C> Handler for App<S, E, C>
where
    S: ReadCatalog + SaveInstance + RecordRun + ChangeRun + CountOnMeter,
    E: StartExecution + AnnounceDue,
    C: Clock,
{
    type Route = CreateRunRoute;

    async fn answer(&self, asked: Asked<'_, CreateRunRoute>) -> Result<Response, Problem> {
        let Asked { route: CreateRunRoute::CreateRun, caller, request, .. } = asked;
        let (command, configs) = CreateRun::read(request)?.into_parts();
        let (fresh, now) = ((self.new_run)(), self.clock.now());
        request.may_record(fresh.run_id);
        let accepted = create_run(&self.store, &self.engine, &self.policy, &caller, command, fresh, now)
            .await
            .map_err(|refusal| Form::CreateRun(&configs).problem(refusal))?;
        request.about_run(accepted.run.run_id);
        metrics::run_accepted(&accepted);
        if accepted.start_delayed {
            tracing::warn!("run recorded; its start is left to the reconciler");
        }
        let response = Response::json(201, &RunView::from(&accepted.run)).located(&run_path(accepted.run.run_id));
        Ok(response.replayed(accepted.replayed))
    }
}
