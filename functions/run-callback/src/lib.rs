//! Settles runs whose execution ended, sends what they owe, and gives their slots to runs that wait; records the usage
//! that the runner finds in results.
//!
//! **Invariants:** nothing is sent before the terminal write is durable; an event that a retry cannot mend is logged,
//! counted and done; everything this function misses the reconciler mends. Usage is no such thing: it is recorded or
//! refused, and its sender waits for the answer.

use lambda_runtime::{Context, Diagnostic, Error, LambdaEvent};
use serde::Serialize;
use sluice_core::concurrency::QueueRef;
use sluice_core::delivery::Delivery;
use sluice_core::flow::Refusal;
use sluice_core::flow::deliver::{Delivered, Outlook, deliver, send};
use sluice_core::flow::dispatch_runs::dispatch_runs;
use sluice_core::flow::record_usage::record_result_usage;
use sluice_core::flow::transition_run::{AT_THE_END, settle};
use sluice_core::lifecycle::{EngineEnd, RunEvent, RunStatus};
use sluice_core::limits;
use sluice_core::ports::{
    AnnounceDue, ChangeRun, Clock, Deliveries, DeliveryRef, DescribeExecution, ExecutionState, Loaded, PublishStatus,
    ReadCatalog, ReadExecutionInput, ReadQueue, ReceiverHealth, RecordRun, RecordUsage, SendWebhook, StartExecution,
    StopExecution,
};
use sluice_core::run::Run;
use sluice_core::together::both;
use sluice_edge::event::{
    BatchFailures, Brought, Event, ExecutionEnd, Happening, ItemFailure, Message, ResultUsage, tenant_of,
};
use sluice_edge::wire::usage::{self, UsageCounts};
use sluice_edge::{metrics, telemetry};
use std::time::Duration;
use tracing::{Instrument, Span};

/// What is left of the invocation when no further message of a batch is begun: enough to send a delivery that a receiver
/// takes its time over.
const RESERVE: Duration = Duration::from_secs(20);

/// What an invocation is answered.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// To an event of the bus.
    Nothing,
    Batch(BatchFailures),
    Usage(UsageCounts),
}

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
    S: ChangeRun + Deliveries + ReceiverHealth + ReadCatalog + ReadQueue + RecordRun + RecordUsage,
    E: DescribeExecution + ReadExecutionInput + PublishStatus + StartExecution + StopExecution + AnnounceDue,
    W: SendWebhook,
    C: Clock,
{
    /// Takes what the invocation brings: an event, a queue's messages, or a report of usage.
    ///
    /// # Errors
    /// Only what a retry of the same event can mend; and, of type `Sluice.InvalidUsage`, usage that can never be
    /// recorded. Of a batch the answer says which messages shall come again.
    pub async fn handle(&self, event: LambdaEvent<Event>) -> Result<Answer, Diagnostic> {
        let end = telemetry::calls_end(&event.context);
        self.clock.until(end, Box::pin(self.handled(event))).await
    }

    async fn handled(&self, event: LambdaEvent<Event>) -> Result<Answer, Diagnostic> {
        let span = telemetry::event_span(&event.context);
        match event.payload.read() {
            Brought::Event(happening) => {
                let taken = self.take(happening).instrument(span.clone()).await;
                taken.map_err(|error| span.in_scope(|| telemetry::to_be_retried(&*error)))?;
                Ok(Answer::Nothing)
            }
            Brought::Batch(messages) => {
                Ok(Answer::Batch(self.take_all(messages, &event.context).instrument(span).await))
            }
            // Who reports so is not asked for any identity: only the runner's role may invoke this function itself, and
            // neither the event bus nor a queue passes on anything from this source.
            Brought::Usage(reported) => self.record_usage(reported).instrument(span).await.map(Answer::Usage),
        }
    }

    /// Takes messages one after the other. What there is no time for comes again, like what failed.
    async fn take_all(&self, messages: Vec<Message>, context: &Context) -> BatchFailures {
        let until = telemetry::deadline(context, self.clock.now(), RESERVE);
        let mut failures = BatchFailures::default();
        for Message { id, happening } in messages {
            let is_done = self.clock.now() < until
                && match self.take(happening).await {
                    Ok(()) => true,
                    Err(error) => {
                        let _said_by_the_answer = telemetry::to_be_retried(&*error);
                        false
                    }
                };
            if !is_done {
                failures.batch_item_failures.push(ItemFailure { item_identifier: id });
            }
        }
        failures
    }

    async fn take(&self, happening: Happening) -> Result<(), Error> {
        match happening {
            Happening::Ended(end) => self.settle(end).await,
            Happening::SlotFreed(queue) => self.dispatch(&queue).await,
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
                metrics::count(&metrics::POISON_EVENTS);
                tracing::error!(reason, "event cannot be understood: dropped");
                Ok(())
            }
        }
    }

    async fn settle(&self, mut ended: ExecutionEnd) -> Result<(), Error> {
        let Some(found) = self.find_run(&ended).await? else {
            return Ok(());
        };
        let (run, was_open) = (found.run.clone(), !found.run.status().is_terminal());
        if ended.output_left_out && was_open {
            // Without an answer the run must not end, or its output would be lost: the event comes again, or the
            // reconciler comes by.
            match self.engine.describe_execution(&ended.execution_arn).await? {
                ExecutionState::Ended(end, details) => (ended.end, ended.details) = (end, details),
                ExecutionState::Running | ExecutionState::Unknown => {
                    return Err("the engine does not show the output of the execution yet".into());
                }
            }
        }
        let outlook = match was_open && run.snapshot.has_callback {
            true => Outlook::of(&self.store, &run.tenant_id).await,
            false => Outlook::BLIND,
        };
        let (event, now) = (RunEvent::EngineEnded(ended.end), self.clock.now());
        let may_begin = |delivery: &Delivery| outlook.lets_through(delivery, now);
        let settled = settle(&self.store, found, event, &ended.details, may_begin, now).await?;
        let Some(transition) = settled else {
            note_late_end(&run, &ended);
            return Ok(());
        };
        metrics::run_settled("event", &transition.after);
        tracing::info!(run.status = transition.after.status().as_str(), "run ended");
        // A receiver may take two seconds: nobody waits for it who waits for a slot.
        let (store, engine, begun, owed) = (&self.store, &self.engine, &transition.begun, &transition.owed);
        let sending = send(store, engine, &self.webhook, &self.clock, &outlook, begun, owed);
        let (sent, ()) = both(Box::pin(sending), Box::pin(self.dispatch_freed(&transition.freed))).await;
        let mut failure = None;
        for sent in sent {
            match sent {
                Ok((number, delivered)) => note_delivered(number, &delivered),
                Err(error) => failure = Some(error.into()),
            }
        }
        failure.map_or(Ok(()), Err)
    }

    async fn dispatch_freed(&self, queues: &[QueueRef]) {
        for queue in queues {
            if let Err(error) = self.dispatch(queue).await {
                // This event has had its effect: coming again, it would free nothing. The sweep looks at every queue.
                tracing::error!(error.cause = telemetry::causes(&*error), "queue left to the sweep");
            }
        }
    }

    /// The run of an execution, with what its end is told from. `None` when it is none of ours.
    async fn find_run(&self, ended: &ExecutionEnd) -> Result<Option<Loaded>, Error> {
        let tenant = match &ended.tenant_id {
            Some(tenant) => Some(tenant.clone()),
            None => self.engine.execution_input(&ended.execution_arn).await?.and_then(|input| tenant_of(&input)),
        };
        let Some(tenant) = tenant else {
            metrics::count(&metrics::POISON_EVENTS);
            tracing::error!(execution.arn = ended.execution_arn.as_str(), "execution's input names no tenant: dropped");
            return Ok(None);
        };
        telemetry::about_run(&Span::current(), &tenant, ended.run_id);
        let found = self.store.load_with(&tenant, ended.run_id, AT_THE_END).await?;
        let ours = found.filter(|found| found.run.execution_arn() == ended.execution_arn);
        if ours.is_none() {
            tracing::warn!(execution.arn = ended.execution_arn.as_str(), "execution belongs to no run: ignored");
        }
        Ok(ours)
    }

    /// Starts runs that wait for a slot, as many as there are slots.
    async fn dispatch(&self, queue: &QueueRef) -> Result<(), Error> {
        Span::current().record("tenant.id", queue.tenant_id.as_str());
        let dispatched = dispatch_runs(&self.store, &self.engine, queue, self.clock.now()).await?;
        metrics::dispatched("event", &dispatched);
        tracing::info!(
            queue.scope = queue.scope().as_str(),
            queue.started = dispatched.started,
            queue.start_delayed = dispatched.start_delayed,
            queue.moved = dispatched.moved,
            "queue looked at"
        );
        Ok(())
    }

    /// Records the usage of one node's result, as many calls at a time as may be recorded together. Repeating it is
    /// harmless: a call counts once.
    async fn record_usage(&self, reported: Result<ResultUsage, &'static str>) -> Result<UsageCounts, Diagnostic> {
        let ResultUsage { tenant_id, run_id, node_id, attempt, usage } =
            reported.map_err(|reason| unusable(reason.to_owned()))?;
        telemetry::about_run(&Span::current(), &tenant_id, run_id);
        let now = self.clock.now();
        let attempt = attempt.to_string();
        let calls = usage::of_result(&usage, &node_id, &attempt, now).map_err(|faults| unusable(faults.to_string()))?;
        let mut counts = UsageCounts { recorded: 0, repeated: 0 };
        for some in calls.chunks(limits::USAGE_CALLS) {
            let some = some.to_vec();
            match record_result_usage(&self.store, &self.engine, &tenant_id, run_id, some, now).await {
                Ok(Some(recorded)) => {
                    metrics::usage_recorded(&recorded);
                    counts.recorded += recorded.recorded;
                    counts.repeated += recorded.repeated;
                }
                Ok(None) | Err(Refusal::NotFound { .. }) => {
                    tracing::warn!("usage of a run that is gone: ignored");
                    return Ok(counts);
                }
                Err(Refusal::Store(error) | Refusal::Unanswered { error, .. }) => {
                    return Err(telemetry::to_be_retried(&error));
                }
                Err(
                    refusal @ (Refusal::Invalid(_)
                    | Refusal::Conflict { .. }
                    | Refusal::OperatorOnly(_)
                    | Refusal::KeyReused { .. }
                    | Refusal::RunExpired { .. }
                    | Refusal::TooManyRuns { .. }
                    | Refusal::RateLimited { .. }
                    | Refusal::TooManyOpenRuns { .. }
                    | Refusal::BudgetExhausted { .. }
                    | Refusal::QueueFull
                    | Refusal::InvalidReportToken),
                ) => return Err(unusable(refusal.to_string())),
            }
        }
        tracing::info!(usage.recorded = counts.recorded, usage.repeated = counts.repeated, "usage recorded");
        Ok(counts)
    }

    async fn deliver(&self, delivery: &DeliveryRef) -> Result<(), Error> {
        let delivered = deliver(&self.store, &self.engine, &self.webhook, &self.clock, delivery).await?;
        note_delivered(delivery.number, &delivered);
        Ok(())
    }
}

fn note_delivered(number: u32, delivered: &Delivered) {
    match delivered {
        Delivered::Attempted(after, attempt) => {
            metrics::delivery_attempted(after);
            tracing::info!(
                delivery.number = number,
                delivery.channel = after.channel.as_str(),
                delivery.status = after.status.as_str(),
                delivery.attempt = attempt.number,
                attempt.duration_ms = attempt.duration_ms,
                "delivery attempted"
            );
        }
        Delivered::HeldBack => {
            metrics::count(&metrics::DELIVERIES_HELD_BACK);
            tracing::info!(delivery.number = number, "its receiver is in trouble: delivery held back");
        }
        Delivered::Nothing => tracing::info!(delivery.number = number, "delivery not due: nothing done"),
    }
}

/// What the runner is told of usage that can never be recorded: its node fails, for what is not counted must not be
/// spent.
fn unusable(reason: String) -> Diagnostic {
    telemetry::not_to_be_retried("Sluice.InvalidUsage", reason)
}

/// Repeated events are common. One that contradicts the recorded end means that somebody redrove the execution, which
/// changes no run but deserves to be seen.
fn note_late_end(run: &Run, ended: &ExecutionEnd) {
    let (run_succeeded, engine_succeeded) = (run.status() == RunStatus::Succeeded, ended.end == EngineEnd::Succeeded);
    if run.status().is_terminal() && run_succeeded != engine_succeeded {
        metrics::count(&metrics::REDRIVEN_EXECUTIONS);
        tracing::error!(
            execution.arn = ended.execution_arn.as_str(),
            run.status = run.status().as_str(),
            "execution ended again, otherwise than its run: the run stays as it is"
        );
    } else {
        tracing::info!(run.status = run.status().as_str(), "run had ended already: ignored");
    }
}
