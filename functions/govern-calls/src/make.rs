//! Makes a call that was granted, hands its answer on, and settles it.
//!
//! **Invariant:** from the moment in which a request may have been sent on, the call is settled whatever its caller does.
//!
//! Decision (2026-11-28): a stream goes on as it comes, and its call is settled before its end. An answer in one piece is of no use
//! to anybody before it is whole: its call is settled first, and it goes on in one write.

use crate::caller::Caller;
use crate::{App, Asked};
use bytes::Bytes;
use lambda_runtime::streaming::Sender;
use sluice_aws::bedrock::{Answer, NoAnswer, Sent, in_time, spawn};
use sluice_core::call_id::CallId;
use sluice_core::flow::govern_call::{Ticket, settle};
use sluice_core::governor::record::Outcome;
use sluice_core::governor::usage::CallEnd;
use sluice_core::ports::{ChangeRun, Clock, FindModel, GovernCalls, ReadLedgers, RecordReports, StopExecution};
use sluice_edge::bedrock::ask::sent_headers;
use sluice_edge::bedrock::event::Arrived;
use sluice_edge::bedrock::meter::Meter;
use sluice_edge::bedrock::operation::Target;
use sluice_edge::bedrock::refused::Refused;
use sluice_edge::bedrock::reply::{Reply, about, passed_on, streamed, whole};
use sluice_edge::metrics::{self, GovernedCall};
use sluice_edge::telemetry;
use tracing::{Instrument, Span};

/// What is said within an answer that ends too early.
const BROKEN: &str = "the model's answer broke off: the call counts with all that was set aside for it";

impl<S, E, C> App<S, E, C>
where
    S: GovernCalls + ReadLedgers + FindModel + ChangeRun + RecordReports + Clone + 'static,
    E: StopExecution + Clone + 'static,
    C: Clock + Clone + 'static,
{
    /// Makes a call. A stream goes by beside this: it begins with the first bytes, and is over when the call is settled.
    pub(crate) async fn make(
        &self,
        asked: Asked,
        ticket: Ticket,
        governed: GovernedCall,
        overhead_ms: u64,
    ) -> Result<Reply, Refused> {
        let Asked { call_id, target, ask, headers, family, call, .. } = asked;
        let (operation, is_stream) = (target.operation, ask.is_stream());
        let lowered_to = ticket.lowered_to;
        let settling = Settling {
            store: self.store.clone(),
            engine: self.engine.clone(),
            clock: self.clock.clone(),
            ticket,
            governed: GovernedCall { is_clamped: lowered_to.is_some(), overhead_ms, ..governed },
        };
        let Some((body, hides_usage)) = ask.sent(family, lowered_to) else {
            settling.settle(&CallEnd::NotRun).await;
            return Err(Refused::invalid("no limit can be written into this body"));
        };
        let sent = Sent { path: target.path().to_owned(), headers, body: body.into() };
        let answer = match self.bedrock.call(sent, self.clock.now()).await {
            Ok(answer) => answer,
            Err(fault) => {
                tracing::warn!(error.cause = telemetry::causes(&fault), "the model has not answered");
                let is_sent = !matches!(fault, NoAnswer::NotSent(_));
                settling.settle(if is_sent { &CallEnd::Unknown } else { &CallEnd::NotRun }).await;
                return Err(refused(&fault));
            }
        };
        let mut headers = passed_on(&answer.headers);
        about(&mut headers, call_id, lowered_to);
        let status = answer.status;
        let meter = (200..300).contains(&status).then(|| {
            let mut meter = Meter::new(operation, family, &call, is_stream, hides_usage);
            meter.head(&answer.headers);
            meter
        });
        let meter = match meter {
            Some(meter) if is_stream => meter,
            meter => return Ok(whole(status, headers, settling.whole(answer, meter).await?)),
        };
        let (sender, reply) = streamed(status, headers);
        spawn(settling.follow(answer, meter, Taker { sender, takes: true }).instrument(Span::current()));
        Ok(reply)
    }

    /// Counts tokens: free, and passed on as it is; but only for those who may call, and of declared models.
    pub(crate) async fn count(
        &self,
        arrived: Arrived,
        caller: &Caller,
        target: Target,
        call_id: CallId,
    ) -> Result<Reply, Refused> {
        self.is_admitted(caller).await?;
        let body = Bytes::copy_from_slice(arrived.body()?);
        let headers = sent_headers(target.operation, &arrived.headers)?;
        let id = target.model_id(None).ok_or_else(Refused::unknown_model)?;
        self.model(&id, caller).await?;
        let sent = Sent { path: target.path().to_owned(), headers, body };
        let not_counted = |fault: NoAnswer| {
            tracing::warn!(error.cause = telemetry::causes(&fault), "the count has no answer");
            Refused::unreachable()
        };
        let mut answer = self.bedrock.call(sent, self.clock.now()).await.map_err(not_counted)?;
        let mut headers = passed_on(&answer.headers);
        about(&mut headers, call_id, None);
        let mut body = Vec::new();
        while let Some(bytes) = answer.next().await {
            body.extend_from_slice(&bytes.map_err(not_counted)?);
        }
        Ok(whole(answer.status, headers, body.into()))
    }
}

fn refused(fault: &NoAnswer) -> Refused {
    match fault {
        NoAnswer::NotSent(_) => Refused::unreachable(),
        NoAnswer::Broken(_) => Refused::broken(),
        NoAnswer::TooLate => Refused::too_late(),
    }
}

/// What settles one call.
struct Settling<S, E, C> {
    store: S,
    engine: E,
    clock: C,
    ticket: Ticket,
    governed: GovernedCall,
}

impl<S: GovernCalls + ChangeRun, E: StopExecution, C: Clock> Settling<S, E, C> {
    /// Reads an answer in one piece to its end, and settles its call.
    async fn whole(self, mut answer: Answer, mut meter: Option<Meter>) -> Result<Bytes, Refused> {
        let (mut body, mut fault) = (Vec::new(), None);
        while let Some(bytes) = answer.next().await {
            match bytes {
                Ok(bytes) => {
                    let on = match &mut meter {
                        Some(meter) => meter.push(bytes),
                        None => bytes,
                    };
                    body.extend_from_slice(&on);
                }
                Err(broken) => {
                    tracing::warn!(error.cause = telemetry::causes(&broken), "the model's answer broke off");
                    fault = Some(broken);
                    break;
                }
            }
        }
        let Some(mut meter) = meter else {
            // Refused before the model ran, or failed in it: its status says so, whatever came of its body.
            self.settle(&CallEnd::of_error(answer.status)).await;
            return Ok(body.into());
        };
        body.extend_from_slice(&meter.end());
        self.settle(&meter.call_end()).await;
        fault.map_or(Ok(body.into()), |fault| Err(refused(&fault)))
    }

    /// Reads a stream to its end, hands it on while somebody takes it, and settles its call. A caller that hangs up changes
    /// nothing but that.
    async fn follow(self, mut answer: Answer, mut meter: Meter, mut taker: Taker) {
        let mut is_whole = true;
        while let Some(bytes) = answer.next().await {
            match bytes {
                Ok(bytes) => taker.hand_on(meter.push(bytes)).await,
                Err(fault) => {
                    tracing::warn!(error.cause = telemetry::causes(&fault), "the model's answer broke off");
                    is_whole = false;
                    break;
                }
            }
        }
        if is_whole {
            taker.hand_on(meter.end()).await;
        } else {
            taker.hand_on(meter.broken(BROKEN)).await;
            // What came of it may have told the usage.
            meter.end();
        }
        self.settle(&meter.call_end()).await;
        // Only now is the answer over: with it Lambda may freeze this process, or end it.
        drop(taker);
    }

    async fn settle(&self, end: &CallEnd) {
        let Self { store, engine, clock, ticket, governed } = self;
        match settle(store, engine, ticket, end, clock.now()).await {
            Ok(record) => {
                let is_breach = record.cost > record.held;
                if is_breach {
                    tracing::error!(
                        model.key = %ticket.about.model,
                        call.cost_nano_usd = record.cost.0,
                        call.held_nano_usd = record.held.0,
                        "a call cost more than its worst case"
                    );
                }
                tracing::info!(call.outcome = ?record.outcome, call.cost_nano_usd = record.cost.0, "call settled");
                metrics::call_settled(&GovernedCall {
                    is_lost: record.outcome == Outcome::Lost,
                    is_breach,
                    ..*governed
                });
            }
            Err(error) => {
                tracing::error!(error.cause = telemetry::causes(&error), "a call is left to be settled by the sweep");
                metrics::call_settled(governed);
            }
        }
    }
}

/// Whoever takes the answer. **Invariant:** the answer is not over before this is dropped, also when nobody takes it any more.
struct Taker {
    sender: Sender,
    takes: bool,
}

impl Taker {
    /// Hands bytes on while they are taken.
    async fn hand_on(&mut self, bytes: Bytes) {
        if bytes.is_empty() || !self.takes {
            return;
        }
        self.takes = matches!(in_time(self.sender.send_data(bytes)).await, Some(Ok(())));
        if !self.takes {
            tracing::info!("the caller takes no more of the answer: it is read to its end all the same");
        }
    }
}
