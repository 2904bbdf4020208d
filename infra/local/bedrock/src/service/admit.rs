//! Whether the model runs at all: everything that is refused is refused here, and costs nothing.

use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use super::{Request, Script, Service, is_chat};
use crate::ask::{Ask, Guardrail};
use crate::family::Family;
use crate::fault::{Fault, Kind};
use crate::play::{self, Failure, Play};
use crate::prices::{Model, PriceTable};
use crate::signature::Received;
use crate::target::{Operation, Target};

/// A call that the model runs for.
pub(super) struct Admitted {
    pub operation: Operation,
    pub family: Family,
    pub model_id: String,
    pub model: Model,
    pub ask: Ask,
    pub play: Play,
    pub caller: String,
    /// The tier that is asked for.
    pub tier: String,
    pub streams: bool,
}

/// A call that it does not run for.
pub(super) struct Refused {
    pub fault: Fault,
    pub is_chat: bool,
    pub name: Option<String>,
    pub caller: Option<String>,
}

#[expect(
    clippy::disallowed_methods,
    reason = "the stand-in is no part of the product; signatures are of the real time"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

impl Service {
    pub(super) fn admit(&self, request: &Request) -> Result<Admitted, Refused> {
        let is_chat = is_chat(request);
        let refused = |fault: Fault| Refused { fault, is_chat, name: None, caller: None };
        let received = Received {
            method: &request.method,
            target: &request.target,
            host: &request.host,
            headers: &request.headers,
            body: &request.body,
        };
        let caller = self.keys.lock().unwrap_or_else(PoisonError::into_inner).verify(&received, now());
        let caller = caller.map_err(refused)?;
        let refused = |fault: Fault| Refused { fault, is_chat, name: None, caller: Some(caller.clone()) };
        let target = Target::of(&request.method, &request.target);
        let target = target.ok_or_else(|| refused(Kind::UnknownOperation.into()))?;
        let prices = Arc::clone(&self.prices.lock().unwrap_or_else(PoisonError::into_inner));
        let mut admitted = asked(request, target, &prices, caller.clone()).map_err(refused)?;
        let play = self.play(&admitted.ask, admitted.operation, request).map_err(refused)?;
        let name = play.name.clone();
        admitted.play = play;
        let refused = |fault: Fault| Refused { fault, is_chat, name: name.clone(), caller: Some(caller.clone()) };
        check(&admitted).map_err(refused)?;
        Ok(admitted)
    }

    /// What the prompt says, then a script, then a header. Whoever counts tokens sends the prompt of another call: a count goes
    /// by what is said of counts alone.
    fn play(&self, ask: &Ask, operation: Operation, request: &Request) -> Result<Play, Fault> {
        let counts = operation == Operation::CountTokens;
        let mut play = if counts { Play::default() } else { Play::in_prompt(&ask.last_text)? };
        {
            let mut scripts = self.scripts.lock().unwrap_or_else(PoisonError::into_inner);
            let is_meant = |script: &Script| {
                let is_of_operation = script.operation.as_deref().map_or(!counts, |name| name == operation.name());
                is_of_operation && script.only.as_ref().is_none_or(|only| ask.last_text.contains(only))
            };
            if let Some(index) = scripts.iter().position(is_meant) {
                play = play.overridden_by(scripts.remove(index).play);
            }
        }
        match request.headers.get(play::HEADER).and_then(|value| value.to_str().ok()) {
            Some(words) => Ok(play.overridden_by(Play::parse(words)?)),
            None => Ok(play),
        }
    }
}

/// What the call asks, and of which model.
fn asked(request: &Request, target: Target, prices: &PriceTable, caller: String) -> Result<Admitted, Fault> {
    let operation = target.operation;
    let model_id = target.model.map_or_else(|| Ask::model_of_chat(&request.body), Ok)?;
    let unknown = || {
        if model_id.starts_with("arn:") {
            return Fault::from(Kind::ResourceNotFound);
        }
        Fault::invalid("The provided model identifier is invalid.")
    };
    let model = prices.model(&model_id).ok_or_else(unknown)?.clone();
    // An application profile's ARN does not say whose model it is; the first of its ids may.
    let family = Family::of(&model_id).or_else(|| model.ids.iter().find_map(|id| Family::of(id)));
    let mut ask = Ask::read(operation, family.ok_or_else(unknown)?, &request.body)?;
    let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
    let is_converse = matches!(operation, Operation::Converse | Operation::ConverseStream);
    if !is_converse {
        ask.guardrail = header("x-amzn-bedrock-guardrailidentifier").map(|id| Guardrail {
            id: id.to_owned(),
            is_traced: header("x-amzn-bedrock-trace").is_some_and(|trace| trace.starts_with("ENABLED")),
        });
        ask.tier = ask.tier.or_else(|| header("x-amzn-bedrock-service-tier").map(str::to_owned));
    }
    let streams = match operation {
        Operation::ConverseStream | Operation::InvokeModelWithResponseStream => true,
        Operation::ChatCompletions => ask.streams,
        Operation::Converse | Operation::InvokeModel | Operation::CountTokens => false,
    };
    let tier = ask.tier.clone().unwrap_or_else(|| "default".to_owned());
    let family = family.ok_or_else(unknown)?;
    Ok(Admitted {
        operation,
        family,
        model_id: model_id.clone(),
        model,
        ask,
        play: Play::default(),
        caller,
        tier,
        streams,
    })
}

fn check(admitted: &Admitted) -> Result<(), Fault> {
    let Admitted { ask, model, play, .. } = admitted;
    if let Some(Failure::Refused(kind)) = play.failure {
        return Err(Fault { retry_after: play.retry_after, ..kind.into() });
    }
    if admitted.operation == Operation::CountTokens && !model.counts_tokens {
        return Err(Fault::invalid("The provided model doesn't support counting tokens."));
    }
    ask.check(model, &admitted.tier)?;
    if let Some(tier) = play.tier.as_ref().filter(|tier| !model.tiers.contains_key(*tier)) {
        return Err(Fault::invalid(format!("the stand-in has no price for the tier {tier}")));
    }
    if play.input.is_none() && ask.token_sums().1 > model.context_tokens {
        return Err(Fault::invalid("Input is too long for requested model."));
    }
    Ok(())
}
