//! The second sample: a processor that asks a model again and again, under a cap of 0.02 USD, through the governor. The spend climbs, a
//! call is clamped to what is left, the next is refused, and what the webhook says was spent is what the stand-in's books have.

use std::ops::ControlFlow;
use std::time::Duration;

use serde_json::{Value, json};

use crate::deploy::Deployment;
use crate::sample::call;
use crate::wait::poll;
use crate::{Error, Stack};

/// The seeded definition.
pub const SPEND: &str = "spend";
pub const CAP_USD: &str = "0.02";
const HOOK: &str = "spend";
const PROCESSOR: &str = "ask-model";
const FUNCTION: &str = "sluice-processor-ask-model";
const MODEL: &str = "anthropic.claude-haiku-4-5-20251001-v1:0";
/// Two such answers fit under the cap whole, and a third one clamped.
const MAX_TOKENS: u64 = 1_400;

const RUN_PATIENCE: Duration = Duration::from_secs(120);
const WEBHOOK_PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// What an operator and a processor's owner do once: a model with its prices, a processor with its key.
pub(crate) fn seed(stack: &Stack, deployed: &Deployment) -> Result<(), Error> {
    if !deployed.of_kind("AWS::Lambda::Function").any(|function| function.physical_id == FUNCTION) {
        return Err(Error::Sample(format!("the sample's template deploys no function {FUNCTION}")));
    }
    let model = json!({
        "ids": [MODEL],
        "tenants": ["*"],
        "contextTokens": 200_000,
        "maxOutputTokens": 64_000,
        "countsTokens": true,
        "prices": [{"from": "2026-01-01T00:00:00Z", "tiers": {"default": {"input": 1, "output": 5}}}],
    });
    call(stack, "PUT", "/v1/models/haiku", &model)?;
    let arn = format!("arn:aws:lambda:{}:{}:function:{FUNCTION}", stack.region, stack.account);
    let description = "Asks a model until its run's cap is reached";
    let processor = json!({"kind": "lambda", "functionArn": arn, "tenants": ["*"], "description": description});
    call(stack, "PUT", &format!("/v1/processors/{PROCESSOR}"), &processor)?;
    let made = call(stack, "POST", &format!("/v1/processors/{PROCESSOR}/keys"), &json!({}))?;
    let key =
        shown_key(&made).ok_or_else(|| Error::Sample(format!("a key of {PROCESSOR} was made, and none was shown")))?;
    let authority = stack.governor_authority.display().to_string();
    let settings = [("AWS_BEARER_TOKEN_BEDROCK", Some(key)), ("AWS_CA_BUNDLE", Some(authority.as_str()))];
    stack.set_environment(FUNCTION, &settings)?;
    let definition = json!({"name": SPEND, "displayName": "Spend", "description": "Asks a model until nobody lets it"});
    call(stack, "POST", "/v1/workflow-definitions", &definition)?;
    let version = json!({
        "nodes": [{
            "id": "ask", "type": "processor", "processor": PROCESSOR,
            "parameters": {
                "model": {"type": "string", "default": MODEL},
                "maxTokens": {"type": "integer", "default": MAX_TOKENS},
            },
        }],
        "edges": [],
        "activate": true,
    });
    call(stack, "POST", &format!("/v1/workflow-definitions/{SPEND}/versions"), &version).map(drop)
}

/// The key in the one answer that shows it: keys say what they are.
fn shown_key(made: &Value) -> Option<&str> {
    made.as_object()?.values().filter_map(Value::as_str).find(|text| text.starts_with("spk."))
}

/// What happens while it runs.
#[derive(Debug)]
pub enum Event<'a> {
    Created {
        run_id: &'a str,
    },
    /// What was spent, and what is set aside, in US dollars.
    Spent {
        spent: &'a str,
        held: &'a str,
    },
}

/// Everything that is known when it is over.
#[derive(Debug)]
pub struct Outcome {
    pub run_id: String,
    pub status: String,
    pub termination_reason: String,
    /// As the webhook says.
    pub budget: Value,
    /// What the stand-in served, in US dollars.
    pub served: String,
    pub problems: Vec<String>,
}

/// Runs it to its end, webhook included. The observer may break it off.
pub fn run(stack: &Stack, observer: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>) -> Result<Outcome, Error> {
    let interrupted = || Error::Sample("the sample was interrupted".to_owned());
    let before = stack.bedrock.service().books.sum().settled_nano_usd;
    let seen = stack.receiver.received_since(0).len();
    let cap: Value = serde_json::from_str(CAP_USD).unwrap_or_default();
    let body = json!({"executionBudgetUsd": cap, "completionCallbackUrl": stack.receiver.url(HOOK)});
    let created = call(stack, "POST", &format!("/v1/workflow-definitions/{SPEND}/invoke"), &body)?;
    let run_id = created["id"].as_str().or(created["runId"].as_str()).unwrap_or_default().to_owned();
    if observer(Event::Created { run_id: &run_id }).is_break() {
        return Err(interrupted());
    }
    let mut shown = (String::new(), String::new());
    let run = poll(&format!("run {run_id} to end"), RUN_PATIENCE, POLL, || {
        let run = call(stack, "GET", &format!("/v1/workflow-runs/{run_id}"), &Value::Null)?;
        let now = (run["budget"]["spentUsd"].to_string(), run["budget"]["heldUsd"].to_string());
        if now != shown && observer(Event::Spent { spent: &now.0, held: &now.1 }).is_break() {
            return Err(interrupted());
        }
        shown = now;
        let over = matches!(run["status"].as_str(), Some("SUCCEEDED" | "FAILED" | "CANCELED"));
        Ok(over.then_some(run))
    })?;
    let webhook = poll(&format!("the webhook of run {run_id}"), WEBHOOK_PATIENCE, POLL, || {
        let received = stack.receiver.received_since(seen).into_iter();
        Ok(received.map(|received| received.json()).find(|body| body["runId"] == *run_id))
    })?;
    let served = stack.bedrock.service().books.sum().settled_nano_usd.saturating_sub(before);
    let outcome = Outcome {
        status: run["status"].as_str().unwrap_or_default().to_owned(),
        termination_reason: run["terminationReason"].as_str().unwrap_or_default().to_owned(),
        run_id,
        budget: webhook["budget"].clone(),
        served: dollars(served),
        problems: Vec::new(),
    };
    Ok(Outcome { problems: problems(&outcome), ..outcome })
}

fn problems(outcome: &Outcome) -> Vec<String> {
    let (status, reason, budget) = (&outcome.status, &outcome.termination_reason, &outcome.budget);
    let mut problems = Vec::new();
    if (status.as_str(), reason.as_str()) != ("FAILED", "budget_exceeded") {
        problems.push(format!("the run ended {status} ({reason}), and not at its cap"));
    }
    let spent = budget["spentUsd"].to_string();
    if spent != outcome.served {
        problems.push(format!("the webhook says {} USD, and Bedrock's books {}", budget["spentUsd"], outcome.served));
    }
    if budget["heldUsd"].as_f64() != Some(0.0) {
        problems.push(format!("{} USD are still set aside", budget["heldUsd"]));
    }
    for (name, least) in [("calls", 3), ("clamped", 1), ("refused", 1)] {
        if budget[name].as_u64().is_none_or(|count| count < least) {
            problems.push(format!("{name}: {}, and not {least} at least", budget[name]));
        }
    }
    problems
}

/// Exact, as JSON writes the number.
fn dollars(nano: u128) -> String {
    const NANO: u128 = 1_000_000_000;
    let text = format!("{}.{:09}", nano / NANO, nano % NANO);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_written_as_json_writes_them() {
        for (nano, text) in [
            (0, "0"),
            (1_000_000_000, "1"),
            (19_000_000, "0.019"),
            (1_234_567_891, "1.234567891"),
            (20_000_000_000, "20"),
        ] {
            assert_eq!(dollars(nano), text);
        }
    }

    fn outcome(budget: Value) -> Outcome {
        Outcome {
            run_id: "r".to_owned(),
            status: "FAILED".to_owned(),
            termination_reason: "budget_exceeded".to_owned(),
            budget,
            served: "0.019".to_owned(),
            problems: Vec::new(),
        }
    }

    #[test]
    fn whatever_is_not_as_promised_is_a_problem() {
        let good = json!({"spentUsd": 0.019, "heldUsd": 0, "calls": 3, "clamped": 1, "refused": 1});
        assert_eq!(problems(&outcome(good.clone())), Vec::<String>::new());
        for (name, value) in [
            ("spentUsd", json!(0.018)),
            ("heldUsd", json!(0.001)),
            ("calls", json!(2)),
            ("clamped", json!(0)),
            ("refused", Value::Null),
        ] {
            let mut bad = good.clone();
            bad[name] = value;
            assert_eq!(problems(&outcome(bad)).len(), 1, "{name}");
        }
        assert_eq!(problems(&Outcome { status: "SUCCEEDED".to_owned(), ..outcome(good) }).len(), 1);
    }
}
