//! Carries runs of the runner's second generation on: their workers ask it what to do, with what came of the last.
//!
//! **Invariants:** what came of a node goes on as its text came; an invocation that fails says so to the worker that waits for it,
//! as far as that can be told, so that the worker asks again.

use lambda_runtime::{Diagnostic, LambdaEvent};
use serde::Serialize;
use serde_json::value::RawValue;
use sluice_core::flow::advance_run::{AGAIN, Asked, advance_run, conclude};
use sluice_core::id::{RunId, TenantId};
use sluice_core::ports::{AnswerTask, Boards, Clock, RecordUsage, StopExecution, TaskAnswer};
use sluice_edge::runner::{ConclusionView, Malformed, Question};
use sluice_edge::telemetry;
use tracing::{Instrument, Span};

/// What is wrong with a question that the runner does not ask.
const MALFORMED: &str = "Sluice.MalformedQuestion";

/// What an invocation is answered.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// To a worker, which is told by its token, now or later.
    Nothing,
    Conclusion(ConclusionView),
}

/// The function with everything it needs.
#[derive(Clone, Debug)]
pub struct App<S, E, C> {
    pub store: S,
    pub engine: E,
    pub clock: C,
}

impl<S, E, C> App<S, E, C>
where
    S: Boards + RecordUsage,
    E: AnswerTask + StopExecution,
    C: Clock,
{
    /// Answers a question of the runner.
    ///
    /// # Errors
    /// When the store or the engine fails: the same question may be asked again. Of type `Sluice.MalformedQuestion` what the
    /// runner does not ask. Who asked was told before.
    pub async fn handle(&self, event: LambdaEvent<Box<RawValue>>) -> Result<Answer, Diagnostic> {
        let LambdaEvent { payload, context } = event;
        let span = telemetry::event_span(&context);
        let (answered, token) = match Question::read(payload.get(), self.clock.now()) {
            Ok(question) => {
                let token = match &question {
                    Question::Work(asked) => Some(asked.token.clone()),
                    Question::Outcome { .. } => None,
                };
                let answered = Box::pin(self.answer(question).instrument(span.clone()));
                (self.clock.until(telemetry::calls_end(&context), answered).await, token)
            }
            Err(Malformed { reason, token }) => {
                (Err(span.in_scope(|| telemetry::not_to_be_retried(MALFORMED, reason))), token)
            }
        };
        if let (Err(diagnostic), Some(token)) = (&answered, token) {
            // In the time that was kept back: the calls before may have used up all of theirs.
            let told = self.ask_again(&token, &diagnostic.error_message).instrument(span);
            self.clock.until(telemetry::end(&context), Box::pin(told)).await;
        }
        answered
    }

    async fn answer(&self, question: Question) -> Result<Answer, Diagnostic> {
        match question {
            Question::Work(asked) => self.work(asked).await.map(|()| Answer::Nothing),
            Question::Outcome { tenant_id, run_id } => self.conclude(&tenant_id, run_id).await.map(Answer::Conclusion),
        }
    }

    async fn work(&self, asked: Asked) -> Result<(), Diagnostic> {
        telemetry::about_run(&Span::current(), &asked.tenant_id, asked.run_id);
        let (worker, turn) = (asked.worker, asked.turn);
        let advanced = advance_run(&self.store, &self.engine, asked, self.clock.now()).await;
        advanced.map_err(|error| telemetry::to_be_retried(&error))?;
        tracing::info!(run.worker = worker, run.turn = turn, "worker answered");
        Ok(())
    }

    async fn conclude(&self, tenant_id: &TenantId, run_id: RunId) -> Result<ConclusionView, Diagnostic> {
        telemetry::about_run(&Span::current(), tenant_id, run_id);
        let conclusion = conclude(&self.store, tenant_id, run_id).await;
        let conclusion = conclusion.map_err(|error| telemetry::to_be_retried(&error))?;
        let view = ConclusionView::of(conclusion).map_err(|error| telemetry::to_be_retried(&error))?;
        tracing::info!(run.succeeds = matches!(view, ConclusionView::Results { .. }), "run concluded");
        Ok(view)
    }

    /// Fails the task of the asker, so that its state asks again. Where that fails as well, the failed invocation says it.
    async fn ask_again(&self, token: &str, cause: &str) {
        let failure = TaskAnswer::Failure { error: AGAIN, cause };
        if let Err(error) = self.engine.answer_task(token, &failure).await {
            tracing::warn!(error.cause = telemetry::causes(&error), "the worker could not be told to ask again");
        }
    }
}
