//! Every Bedrock call of a run: its worst case is set aside, then it is made, and what it really used is settled before its
//! answer is over.
//!
//! **Invariants:** no call is made but with a hold that is known to be written; every call that was granted is settled, or left to the
//! sweep at the end of its lease; whoever may not call learns nothing; no prompt, key or grant is in a log line.

mod admit;
mod caller;
mod known;
mod make;
pub mod serve;
mod watch;

pub use known::Known;

use caller::Caller;
use lambda_runtime::{Context, LambdaEvent};
use sluice_aws::bedrock::Bedrock;
use sluice_core::call_id::CallId;
use sluice_core::flow::Refusal;
use sluice_core::flow::govern_call::{Ports, Request, Verdict, reserve};
use sluice_core::governor::call::Call;
use sluice_core::governor::model::Model;
use sluice_core::governor::worst_case::NotCallable;
use sluice_core::ports::{
    ChangeRun, Clock, FindModel, FindQuotas, GovernCalls, ReadLedgers, RecordReports, StopExecution, StoreError,
};
use sluice_edge::bedrock::ask::{Ask, counting_body, sent_headers};
use sluice_edge::bedrock::event::{Arrived, Event};
use sluice_edge::bedrock::family::Family;
use sluice_edge::bedrock::operation::{Operation, Target};
use sluice_edge::bedrock::refused::Refused;
use sluice_edge::bedrock::reply::{Reply, refusal};
use sluice_edge::metrics::{self, GovernedCall};
use sluice_edge::telemetry;
use std::convert::Infallible;
use std::sync::Arc;
use tracing::{Instrument, Span};
use watch::Watch;

/// The function with everything it needs.
#[derive(Clone, Debug)]
pub struct App<S, E, C> {
    pub store: S,
    pub engine: E,
    pub clock: C,
    pub bedrock: Bedrock,
    /// What this process remembers of keys and models.
    pub known: Known,
    /// Random bits for the id of a call.
    pub new_random: fn() -> u128,
}

/// A call that is understood, and may be asked for.
pub(crate) struct Asked {
    pub call_id: CallId,
    pub target: Target,
    pub ask: Ask,
    pub headers: http::HeaderMap,
    pub model: Arc<Model>,
    pub family: Option<Family>,
    pub call: Call,
}

impl<S, E, C> App<S, E, C>
where
    S: GovernCalls + ReadLedgers + FindModel + FindQuotas + ChangeRun + RecordReports + Clone + 'static,
    E: StopExecution + Clone + 'static,
    C: Clock + Clone + 'static,
{
    /// Answers one request. The answer is over when its call is settled.
    ///
    /// # Errors
    /// Never.
    pub async fn handle(&self, event: LambdaEvent<Event>) -> Result<Reply, Infallible> {
        let call_id = CallId::new(self.clock.now(), (self.new_random)());
        let span = span(&event.context, call_id);
        let end = telemetry::calls_end(&event.context);
        let answer = Box::pin(self.answer(Arrived::from(event.payload), call_id));
        Ok(self.clock.until(end, answer.instrument(span)).await)
    }

    async fn answer(&self, arrived: Arrived, call_id: CallId) -> Reply {
        // Who calls a path of OpenAI's reads OpenAI's errors.
        let path = arrived.grant().map(|(_, path)| path.to_owned()).unwrap_or_default();
        let target = Target::of(&arrived.method, &path);
        let is_chat = match &target {
            Ok(target) => target.operation == Operation::ChatCompletions,
            Err(ungoverned) => ungoverned.is_chat,
        };
        let target = target.map_err(|ungoverned| Refused::ungoverned(&ungoverned));
        let answer = self.governed(arrived, target, call_id).await;
        answer.unwrap_or_else(|refused| {
            tracing::info!(http.status = refused.status(), refusal.reason = refused.reason, "call refused");
            metrics::call_refused(refused.reason);
            refusal(&refused, is_chat, call_id)
        })
    }

    async fn governed(
        &self,
        arrived: Arrived,
        target: Result<Target, Refused>,
        call_id: CallId,
    ) -> Result<Reply, Refused> {
        let watch = Watch::new(&self.clock);
        let caller = self.admit(&arrived).await?;
        telemetry::about_run(&Span::current(), &caller.run.tenant_id, caller.run.run_id);
        let asked = match target {
            Ok(target) if target.operation == Operation::CountTokens => {
                return self.count(arrived, &caller, target, call_id).await;
            }
            Ok(target) => self.understood(&arrived, &caller, target, call_id).await,
            Err(refused) => Err(refused),
        };
        // What came is not needed any more: what is sent is made of what was read.
        drop(arrived);
        let asked = match asked {
            Ok(asked) => asked,
            Err(refused) => return Err(self.told(&caller, refused).await),
        };
        let counting = asked.target.counting_path().zip(counting_body_of(&asked));
        let counter = self.bedrock.counter(counting, self.clock.now());
        let ports = Ports { store: &self.store, engine: &self.engine, clock: &watch, counter: &counter };
        let request = Request {
            run: &caller.run,
            pass: &caller.pass,
            attempt: caller.attempt,
            call_id,
            model: &asked.model,
            call: &asked.call,
        };
        let verdict = reserve(&ports, &request).await.map_err(|refusal| unavailable(&refusal))?;
        let governed = GovernedCall { waited: watch.has_waited(), ..GovernedCall::default() };
        match verdict {
            Verdict::Granted(ticket) => self.make(asked, *ticket, governed, watch.overhead()).await,
            Verdict::Throttled { obstacle, retry_after_seconds } => {
                metrics::call_waited(governed.waited);
                Err(Refused::throttled(obstacle, retry_after_seconds))
            }
            Verdict::Exhausted => Err(Refused::exhausted()),
            Verdict::NotCallable(NotCallable::Unpriced(why)) => Err(Refused::unpriced(why)),
            Verdict::NotCallable(NotCallable::Invalid(why)) => Err(Refused::invalid(why)),
            Verdict::NotAdmitted => Err(Refused::not_admitted()),
        }
    }

    async fn understood(
        &self,
        arrived: &Arrived,
        caller: &Caller,
        target: Target,
        call_id: CallId,
    ) -> Result<Asked, Refused> {
        let ask = Ask::read(target.operation, arrived.body()?)?;
        let headers = sent_headers(target.operation, &arrived.headers)?;
        let id = target.model_id(ask.model()).ok_or_else(Refused::unknown_model)?;
        let model = self.model(&id, caller).await?;
        // An application inference profile does not say whose model it is, but another id of the same declaration may.
        let family = Family::of(&id).or_else(|| model.ids.iter().find_map(Family::of));
        let call = ask.call(family, &arrived.headers)?;
        Ok(Asked { call_id, target, ask, headers, model, family, call })
    }

    /// What is wrong with a request is told to those only who may call.
    async fn told(&self, caller: &Caller, refused: Refused) -> Refused {
        match self.is_admitted(caller).await {
            Ok(()) => refused,
            Err(not_admitted) => not_admitted,
        }
    }
}

/// The body by which the input of a call is counted, if its model counts.
fn counting_body_of(asked: &Asked) -> Option<String> {
    asked.model.counts_tokens.then(|| counting_body(&asked.ask)).flatten()
}

fn span(context: &Context, call_id: CallId) -> Span {
    tracing::error_span!(
        "call",
        call.id = %call_id,
        lambda.request.id = context.request_id,
        xray.trace.id = context.xray_trace_id,
        tenant.id = tracing::field::Empty,
        run.id = tracing::field::Empty,
    )
}

/// The ledger could not be used.
pub(crate) fn unavailable(refusal: &Refusal) -> Refused {
    tracing::error!(error.cause = telemetry::causes(refusal), "the ledger could not be used");
    Refused::unavailable()
}

pub(crate) fn not_stored(error: StoreError) -> Refused {
    unavailable(&Refusal::Store(error))
}
