//! Settles runs whose execution ended, and sends what they owe.
//!
//! **Invariants:** nothing is sent before the terminal write is durable; an event that a retry cannot mend is logged,
//! counted and done; everything this function misses the reconciler mends.

use lambda_runtime::{Diagnostic, Error, LambdaEvent};
use sluice_core::flow::deliver::{Delivered, deliver};
use sluice_core::flow::settle_run::settle;
use sluice_core::lifecycle::{EngineEnd, RunEvent, RunStatus};
use sluice_core::ports::{
    ChangeRun, Clock, Deliveries, DeliveryRef, DescribeExecution, ExecutionState, PublishStatus, ReadExecutionInput,
    SendWebhook,
};
use sluice_core::run::Run;
use sluice_edge::event::{Event, ExecutionEnd, Happening, tenant_of};
use sluice_edge::telemetry;
use tracing::{Instrument, Span};

/// The function with everything it needs.
#[derive(Clone, Debug)]
pub struct App<S, E, W, C> {
    pub store: S,
    pub engine: E,
    pub webhook: W,
    pub clock: C,
}

impl<S, E, W, C> App<S, E, W, C>
where
    S: ChangeRun + Deliveries,
    E: DescribeExecution + ReadExecutionInput + PublishStatus,
    W: SendWebhook,
    C: Clock,
{
    /// Takes one event.
    ///
    /// # Errors
    /// Only what a retry of the same event can mend.
    pub async fn handle(&self, event: LambdaEvent<Event>) -> Result<(), Diagnostic> {
        let span = telemetry::event_span(&event.context);
        let taken = self.take(event.payload.read()).instrument(span.clone()).await;
        taken.map_err(|error| span.in_scope(|| telemetry::to_be_retried(&*error)))
    }

    async fn take(&self, happening: Happening) -> Result<(), Error> {
        match happening {
            Happening::Ended(end) => self.settle(end).await,
            Happening::DeliveryDue(delivery) => {
                telemetry::about_run(&Span::current(), &delivery.tenant_id, delivery.run_id);
                self.deliver(&delivery).await
            }
            Happening::Underway { execution_arn, status } => {
                tracing::info!(
                    execution.arn = execution_arn,
                    execution.status = status,
                    "execution has not ended: ignored"
                );
                Ok(())
            }
            Happening::Poison(reason) => {
                tracing::error!(counter.poison_event = 1, reason, "event cannot be understood: dropped");
                Ok(())
            }
        }
    }

    async fn settle(&self, mut ended: ExecutionEnd) -> Result<(), Error> {
        let Some(run) = self.find_run(&ended).await? else {
            return Ok(());
        };
        if ended.output_left_out && !run.status.is_terminal() {
            // Without an answer the run must not end, or its output would be lost: the event comes again, or the
            // reconciler comes by.
            match self.engine.describe_execution(&ended.execution_arn).await? {
                ExecutionState::Ended(end, details) => (ended.end, ended.details) = (end, details),
                ExecutionState::Running | ExecutionState::Unknown => {
                    return Err("the engine does not show the output of the execution yet".into());
                }
            }
        }
        let event = RunEvent::EngineEnded(ended.end);
        let settled = settle(&self.store, run.clone(), event, &ended.details, self.clock.now()).await?;
        let Some(settlement) = settled else {
            note_late_end(&run, &ended);
            return Ok(());
        };
        tracing::info!(run.status = settlement.after.status.as_str(), "run ended");
        // The event bus first: it is quick, and a receiver may be slow. One's trouble does not keep the other waiting.
        let mut failure = None;
        for delivery in settlement.owed.iter().rev() {
            failure = self.deliver(delivery).await.err().or(failure);
        }
        failure.map_or(Ok(()), Err)
    }

    /// The run of an execution, `None` when it is none of ours.
    async fn find_run(&self, ended: &ExecutionEnd) -> Result<Option<Run>, Error> {
        let tenant = match &ended.tenant_id {
            Some(tenant) => Some(tenant.clone()),
            None => self.engine.execution_input(&ended.execution_arn).await?.and_then(|input| tenant_of(&input)),
        };
        let Some(tenant) = tenant else {
            tracing::error!(
                counter.poison_event = 1,
                execution.arn = ended.execution_arn,
                "execution's input names no tenant: dropped"
            );
            return Ok(None);
        };
        telemetry::about_run(&Span::current(), &tenant, ended.run_id);
        let run = self.store.load_run(&tenant, ended.run_id).await?;
        let ours = run.filter(|run| run.execution_arn() == ended.execution_arn);
        if ours.is_none() {
            tracing::warn!(execution.arn = ended.execution_arn, "execution belongs to no run: ignored");
        }
        Ok(ours)
    }

    async fn deliver(&self, delivery: &DeliveryRef) -> Result<(), Error> {
        match deliver(&self.store, &self.engine, &self.webhook, &self.clock, delivery).await? {
            Delivered::Attempted(after, attempts) => tracing::info!(
                delivery.number = after.number,
                delivery.channel = after.channel.as_str(),
                delivery.status = after.status.as_str(),
                delivery.attempts = attempts.len(),
                "delivery attempted"
            ),
            Delivered::Nothing => tracing::info!(delivery.number, "delivery not due: nothing done"),
        }
        Ok(())
    }
}

/// Repeated events are common. One that contradicts the recorded end means that somebody redrove the execution, which
/// changes no run but deserves to be seen.
fn note_late_end(run: &Run, ended: &ExecutionEnd) {
    let (run_succeeded, engine_succeeded) = (run.status == RunStatus::Succeeded, ended.end == EngineEnd::Succeeded);
    if run.status.is_terminal() && run_succeeded != engine_succeeded {
        tracing::error!(
            counter.redriven_execution = 1,
            execution.arn = ended.execution_arn,
            run.status = run.status.as_str(),
            "execution ended again, otherwise than its run: the run stays as it is"
        );
    } else {
        tracing::info!(run.status = run.status.as_str(), "run had ended already: ignored");
    }
}
