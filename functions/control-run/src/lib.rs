//! `POST /v1/workflow-runs/{runId}/…`: pause, resume, answer, replay, and send a delivery again.

use lambda_runtime::LambdaEvent;
use sluice_core::caller::Caller;
use sluice_core::flow::Refusal;
use sluice_core::flow::control_run::{answer_node, pause_run, redeliver, resume_run};
use sluice_core::flow::replay_run::replay_run;
use sluice_core::id::RunId;
use sluice_core::lifecycle::RunStatus;
use sluice_core::ports::{AnnounceDue, AnswerNode, AnswerTask, Clock, Deliveries, ReadRuns, RecordRun, StartExecution};
use sluice_edge::http::{Event, Request, Response};
use sluice_edge::identity::IdentityConfig;
use sluice_edge::problem::Problem;
use sluice_edge::wire::control_run::{self, RedeliveryView};
use sluice_edge::wire::runs::{RunView, run_id_in_path, run_path};
use std::convert::Infallible;
use tracing::Instrument;

/// The function with everything it needs.
#[derive(Clone, Debug)]
pub struct App<S, E, C> {
    pub store: S,
    pub engine: E,
    pub clock: C,
    pub identity: IdentityConfig,
    pub new_run_id: fn() -> RunId,
}

impl<S, E, C> App<S, E, C>
where
    S: AnswerNode + ReadRuns + RecordRun + Deliveries,
    E: AnswerTask + StartExecution + AnnounceDue,
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
        let caller = &self.identity.caller(request)?;
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let ["v1", "workflow-runs", run_id, below @ ..] = &segments[..] else {
            return Err(request.no_route());
        };
        match *below {
            ["pause" | "resume" | "data" | "replay"] | ["deliveries", _, "redeliver"] => request.allow(&["POST"])?,
            _ => return Err(request.no_route()),
        }
        let run_id = run_id_in_path(run_id)?;
        request.about_run(run_id);
        match *below {
            ["pause"] => self.pause(caller, run_id).await,
            ["resume"] => self.resume(caller, run_id).await,
            ["data"] => self.data(request, caller, run_id).await,
            ["deliveries", number, _] => self.redeliver(caller, run_id, number).await,
            _ => self.replay(request, caller, run_id).await,
        }
    }

    /// 202 until the runner has come to a stage boundary, 200 once the run is paused.
    async fn pause(&self, caller: &Caller, run_id: RunId) -> Result<Response, Problem> {
        let run = pause_run(&self.store, caller, run_id, self.clock.now()).await?;
        let status = if run.status == RunStatus::Paused { 200 } else { 202 };
        Ok(Response::json(status, &RunView::from(&run)))
    }

    /// 200 for a run that goes on, 202 while its runner has yet to be told: the reconciler tells it again.
    async fn resume(&self, caller: &Caller, run_id: RunId) -> Result<Response, Problem> {
        let run = resume_run(&self.store, &self.engine, caller, run_id, self.clock.now()).await?;
        let status = if run.owes_a_resume() { 202 } else { 200 };
        Ok(Response::json(status, &RunView::from(&run)))
    }

    async fn data(&self, request: &Request, caller: &Caller, run_id: RunId) -> Result<Response, Problem> {
        let (node_id, data) = control_run::answer(request)?;
        let now = self.clock.now();
        let run = answer_node(&self.store, &self.engine, caller, run_id, &node_id, &data, now).await?;
        Ok(Response::json(202, &RunView::from(&run)))
    }

    async fn replay(&self, request: &Request, caller: &Caller, original: RunId) -> Result<Response, Problem> {
        let command = control_run::replay(request)?;
        let (run_id, now) = ((self.new_run_id)(), self.clock.now());
        let accepted = replay_run(&self.store, &self.engine, caller, original, command, run_id, now).await?;
        let run = &accepted.run;
        tracing::info!(replay.run.id = %run.run_id, replay.repeated = accepted.replayed, "replay answered");
        if accepted.start_delayed {
            tracing::warn!(counter.start_delayed = 1, "run recorded; its start is left to the reconciler");
        }
        let response = Response::json(201, &RunView::from(run)).located(&run_path(run.run_id));
        Ok(response.replayed(accepted.replayed))
    }

    async fn redeliver(&self, caller: &Caller, run_id: RunId, number: &str) -> Result<Response, Problem> {
        let number = number.parse().map_err(|_| Refusal::NotFound { what: "delivery", id: number.to_owned() })?;
        let delivery = redeliver(&self.store, &self.engine, caller, run_id, number, self.clock.now()).await?;
        Ok(Response::json(202, &RedeliveryView::from(&delivery)))
    }
}
