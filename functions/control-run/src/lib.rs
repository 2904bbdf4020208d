//! What changes a run that is there: pause, resume, answer, replay, report, remark, keep, delete; and deliveries that
//! are sent again.

use sluice_core::caller::Caller;
use sluice_core::flow::control_run::{answer_node, pause_run, redeliver, redeliver_failed, resume_run};
use sluice_core::flow::create_run::{Fresh, Policy};
use sluice_core::flow::record_usage::record_usage;
use sluice_core::flow::replay_run::replay_run;
use sluice_core::flow::report_run::{comment_on, create_report_token, open_report, report_run};
use sluice_core::flow::retain_run::{change_retention, delete_run};
use sluice_core::id::RunId;
use sluice_core::lifecycle::RunStatus;
use sluice_core::limits;
use sluice_core::ports::{
    AnnounceDue, AnswerNode, AnswerTask, Boards, Clock, CountOnMeter, Deliveries, PurgeRuns, ReadCatalog, ReadRuns,
    RecordReports, RecordRun, RecordUsage, SaveInstance, StartExecution, StopExecution,
};
use sluice_edge::http::{Request, Response};
use sluice_edge::metrics;
use sluice_edge::problem::Problem;
use sluice_edge::route::{ControlRunOpenRoute as OpenRoute, ControlRunRoute as Route, DeliveryNumber};
use sluice_edge::serve::{Asked, AskedOpenly, Handler};
use sluice_edge::wire::control_run::{self, RedeliveriesView, RedeliveryView};
use sluice_edge::wire::refusal::Form;
use sluice_edge::wire::report_run::{self, CommentBody, CommentView, ReportTokenView, ReportedView, token_of};
use sluice_edge::wire::runs::{RunView, run_path};
use sluice_edge::wire::usage::{self, UsageRecordedView};

/// The function with everything it needs.
#[derive(Clone, Debug)]
pub struct App<S, E, C> {
    pub store: S,
    pub engine: E,
    pub clock: C,
    pub policy: Policy,
    pub new_run: fn() -> Fresh,
    /// A UUID of version 7.
    pub new_comment_id: fn() -> String,
    /// Random text that nobody guesses.
    pub new_secret: fn() -> String,
}

impl<S, E, C> Handler for App<S, E, C>
where
    S: AnswerNode
        + Boards
        + ReadRuns
        + ReadCatalog
        + SaveInstance
        + RecordRun
        + CountOnMeter
        + RecordReports
        + RecordUsage
        + Deliveries
        + PurgeRuns,
    E: AnswerTask + StartExecution + StopExecution + AnnounceDue,
    C: Clock,
{
    type Route = Route;

    async fn answer(&self, asked: Asked<'_, Route>) -> Result<Response, Problem> {
        let Asked { route, caller, request, .. } = asked;
        let caller = &caller;
        match route {
            Route::PauseRun { run_id } => self.pause(caller, run_id).await,
            Route::ResumeRun { run_id } => self.resume(caller, run_id).await,
            Route::AnswerNode { run_id } => self.data(request, caller, run_id).await,
            Route::ReplayRun { run_id } => self.replay(request, caller, run_id).await,
            Route::RedeliverDelivery { run_id, number } => self.redeliver(caller, run_id, number).await,
            Route::RedeliverFailed => self.redeliver_failed(request, caller).await,
            Route::CreateReportToken { run_id } => self.create_report_token(request, caller, run_id).await,
            Route::ReportUsage { run_id } => self.record_usage(request, caller, run_id).await,
            Route::AddComment { run_id } => self.comment(request, caller, run_id).await,
            Route::ChangeRetention { run_id } => self.retain(request, caller, run_id).await,
            Route::DeleteRun { run_id } => self.delete(caller, run_id).await,
        }
    }

    async fn answer_open(&self, asked: AskedOpenly<'_, OpenRoute>) -> Result<Response, Problem> {
        let AskedOpenly { route: OpenRoute::ReportOnNode { run_id }, request, .. } = asked;
        self.report(request, run_id).await
    }
}

impl<S, E, C> App<S, E, C>
where
    S: AnswerNode
        + Boards
        + ReadRuns
        + ReadCatalog
        + SaveInstance
        + RecordRun
        + CountOnMeter
        + RecordReports
        + RecordUsage
        + Deliveries
        + PurgeRuns,
    E: AnswerTask + StartExecution + StopExecution + AnnounceDue,
    C: Clock,
{
    /// 202 until what is under way has ended, 200 once the run is paused.
    async fn pause(&self, caller: &Caller, run_id: RunId) -> Result<Response, Problem> {
        let paused = pause_run(&self.store, &self.engine, caller, run_id, self.clock.now()).await?;
        let status = if paused.run.status() == RunStatus::Paused { 200 } else { 202 };
        Ok(Response::json(status, &RunView::from(&paused)))
    }

    /// 200 for a run that goes on, 202 while its runner has yet to be told: the reconciler tells it again.
    async fn resume(&self, caller: &Caller, run_id: RunId) -> Result<Response, Problem> {
        let run = resume_run(&self.store, &self.engine, caller, run_id, self.clock.now()).await?;
        let status = if run.state.owes_a_resume() { 202 } else { 200 };
        Ok(Response::json(status, &RunView::from(&run)))
    }

    async fn data(&self, request: &Request, caller: &Caller, run_id: RunId) -> Result<Response, Problem> {
        let (node_id, data) = control_run::answer(request)?;
        let now = self.clock.now();
        let run = answer_node(&self.store, &self.engine, caller, run_id, &node_id, data.get().to_owned(), now).await?;
        Ok(Response::json(202, &RunView::from(&run)))
    }

    async fn replay(&self, request: &Request, caller: &Caller, original: RunId) -> Result<Response, Problem> {
        let command = control_run::replay(request)?;
        let (fresh, now) = ((self.new_run)(), self.clock.now());
        request.may_record(fresh.run_id);
        let accepted = replay_run(&self.store, &self.engine, &self.policy, caller, original, command, fresh, now)
            .await
            .map_err(|refusal| Form::ReplayRun.problem(refusal))?;
        metrics::run_accepted(&accepted);
        let run = &accepted.run;
        tracing::info!(replay.run.id = %run.run_id, replay.repeated = accepted.replayed, "replay answered");
        if accepted.start_delayed {
            tracing::warn!("run recorded; its start is left to the reconciler");
        }
        let response = Response::json(201, &RunView::from(run)).located(&run_path(run.run_id));
        Ok(response.replayed(accepted.replayed))
    }

    async fn redeliver(
        &self,
        caller: &Caller,
        run_id: RunId,
        DeliveryNumber(number): DeliveryNumber,
    ) -> Result<Response, Problem> {
        let delivery = redeliver(&self.store, &self.engine, caller, run_id, number, self.clock.now()).await?;
        Ok(Response::json(202, &RedeliveryView::from(&delivery)))
    }

    async fn redeliver_failed(&self, request: &Request, caller: &Caller) -> Result<Response, Problem> {
        let since = control_run::failed_since(request)?;
        let redelivered = redeliver_failed(&self.store, &self.engine, caller, since, self.clock.now()).await?;
        Ok(Response::json(202, &RedeliveriesView::from(redelivered)))
    }

    async fn create_report_token(
        &self,
        request: &Request,
        caller: &Caller,
        run_id: RunId,
    ) -> Result<Response, Problem> {
        let (node_id, seconds) = report_run::token_wanted(request)?;
        let (secret, now) = ((self.new_secret)(), self.clock.now());
        let made = create_report_token(&self.store, caller, run_id, node_id, seconds, &secret, now).await;
        let (text, token) = made?;
        Ok(Response::json(201, &ReportTokenView::new(run_id, &text, &token)))
    }

    /// The token is looked at before anything else but the body's length: who has none learns nothing, not even whether there
    /// is such a run.
    async fn report(&self, request: &Request, run_id: RunId) -> Result<Response, Problem> {
        request.at_most(limits::REPORT_BODY_BYTES)?;
        let token = token_of(request)?;
        let now = self.clock.now();
        let opened = open_report(&self.store, token, run_id, now).await?;
        let (node_id, report) = report_run::report(request, now)?;
        let reported = report_run(&self.store, &self.engine, opened, &node_id, report, now)
            .await
            .map_err(|refusal| Form::ReportRun.problem(refusal))?;
        request.about_tenant(&reported.run.tenant_id);
        if let Some(recorded) = &reported.usage {
            metrics::usage_recorded(recorded);
        }
        Ok(Response::json(202, &ReportedView::new(&node_id, &reported)))
    }

    async fn record_usage(&self, request: &Request, caller: &Caller, run_id: RunId) -> Result<Response, Problem> {
        let now = self.clock.now();
        let calls = usage::of_request(request, now)?;
        let recorded = record_usage(&self.store, &self.engine, caller, run_id, calls, now).await?;
        metrics::usage_recorded(&recorded);
        Ok(Response::json(200, &UsageRecordedView::from(&recorded)))
    }

    async fn comment(&self, request: &Request, caller: &Caller, run_id: RunId) -> Result<Response, Problem> {
        let CommentBody { text } = request.json()?;
        let (id, now) = ((self.new_comment_id)(), self.clock.now());
        let comment = comment_on(&self.store, caller, run_id, id, text, now).await?;
        Ok(Response::json(201, &CommentView::from(&comment)))
    }

    async fn retain(&self, request: &Request, caller: &Caller, run_id: RunId) -> Result<Response, Problem> {
        let retention = request.json()?;
        let run = change_retention(&self.store, caller, run_id, retention, self.clock.now()).await?;
        Ok(Response::json(200, &RunView::from(&run)))
    }

    async fn delete(&self, caller: &Caller, run_id: RunId) -> Result<Response, Problem> {
        delete_run(&self.store, caller, run_id, self.clock.now()).await?;
        Ok(Response::no_content())
    }
}
