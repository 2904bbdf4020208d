//! What the table holds while functions are measured: made by the functions themselves, so that it is in whatever form the
//! measured ones write and read.

use crate::backend::Heard;
use crate::child::Program;
use crate::error::{Error, Result};
use crate::measure::Bench;
use crate::place;
use crate::runtime::Expected;
use crate::services::Service;
use crate::table::NAME;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// As the sample events have it.
const TENANT: &str = "dev";
const PROCESSORS: [&str; 3] = ["word-frequencies", "readability", "store-object"];
const DEFINITION: &str = "text-report";
const MODEL: &str = "anthropic.claude-haiku-4-5-20251001-v1:0";
/// The run that the samples of the runner's questions speak of.
const SAMPLE_RUN: &str = "3b9f8c2e-1d4a-4f6b-8c7d-2e5a9b0c1d3f";

/// The functions that make it.
pub const MAKERS: [&str; 3] = ["manage-definitions", "create-run", "advance-run"];

/// A definition of four nodes, and two runs of it that are running.
#[derive(Clone, Debug)]
pub struct World {
    pub items: Arc<Vec<Value>>,
    pub run: String,
    /// The end of this one is told by a webhook.
    pub told_run: String,
    pub governed: Governed,
}

/// The same definition where the calls of language models are governed, and a run that may make some.
#[derive(Clone, Debug)]
pub struct Governed {
    pub items: Arc<Vec<Value>>,
    pub run: String,
    /// Its half of what opens the governor; the processor's is the key.
    pub grant: String,
    pub key: String,
}

impl World {
    /// Makes it with the functions in `binaries`: [`MAKERS`].
    ///
    /// # Errors
    /// When one of them does not do what it is asked.
    pub fn make(bench: &mut Bench, binaries: &Path) -> Result<Self> {
        let manage = Program::binary(binaries.join("manage-definitions"));
        let create = Program::binary(binaries.join("create-run"));
        for (method, path, body) in definitions() {
            ask(bench, &manage, &request(method, &path, &body), &[])?;
        }
        let advance = Program::binary(binaries.join("advance-run"));
        let event = place::event("create-run/api-gateway-jwt")?;
        let run = start(bench, &create, &event, &[])?;
        come(bench, &advance, &run)?;
        let hook = format!("{}/hook", bench.backend.origin(Service::Receiver));
        let told_run = start(bench, &create, &with_callback(&event, &hook)?, &[])?;
        let items = Arc::new(bench.backend.with_table(|table| table.items())?);
        let governed = Governed::make(bench, [&manage, &create, &advance])?;
        Ok(Self { items, run, told_run, governed })
    }
}

impl Governed {
    /// After everything else: what it adds is in no other case.
    fn make(bench: &mut Bench, [manage, create, advance]: [&Program; 3]) -> Result<Self> {
        const URL: &str = "https://governor.example/v1";
        let price = json!({"from": "2026-01-01T00:00:00Z", "tiers": {"default": {"input": 1.1, "output": 5.5}}});
        let model = json!({
            "ids": [MODEL], "tenants": ["*"], "contextTokens": 200_000, "maxOutputTokens": 64_000, "prices": [price],
        });
        ask(bench, manage, &request("PUT", "/v1/models/benchmark", &model), &[])?;
        let path = format!("/v1/processors/{}/keys", PROCESSORS[0]);
        let (made, _) = ask(bench, manage, &request("POST", &path, &Value::Null), &[])?;
        let besides = [("SLUICE_GOVERNOR_URL".to_owned(), URL.to_owned())];
        let run = start(bench, create, &place::event("create-run/api-gateway-jwt")?, &besides)?;
        let told = come(bench, advance, &run)?;
        let url = told["request"]["governor"]["url"].as_str().unwrap_or_default();
        let grant = url.split(&format!("{run}.")).nth(1).and_then(|rest| rest.split('/').next());
        let grant = grant.ok_or_else(|| Error::Wrong(format!("a worker was told of no governor: {told}")))?.to_owned();
        let key = made["key"].as_str().ok_or_else(|| Error::Wrong(format!("no key: {made}")))?.to_owned();
        Ok(Self { items: Arc::new(bench.backend.with_table(|table| table.items())?), run, grant, key })
    }
}

/// Everything that the operator and the tenant say before there is a run.
fn definitions() -> Vec<(&'static str, String, Value)> {
    let arn = |key: &str| format!("arn:aws:lambda:us-east-1:123456789012:function:sluice-processor-{key}");
    let processor = |key: &&str| {
        let body = json!({"kind": "lambda", "functionArn": arn(key), "tenants": ["*"]});
        ("PUT", format!("/v1/processors/{key}"), body)
    };
    let node = json!({"registry": {"uploadBucket": "uploads"}, "layers": {}, "tenants": ["*"], "maxBudgetUsd": 50});
    let version = json!({
        "nodes": [
            {"id": "text", "type": "data-source"},
            {"id": "frequencies", "type": "processor", "processor": "word-frequencies",
             "parameters": {"top": {"type": "integer", "default": 20}, "language": {"type": "string", "default": "en"}},
             "retry": {"maxAttempts": 3, "intervalSeconds": 1, "backoffRate": 2}},
            {"id": "readability", "type": "processor", "processor": "readability",
             "parameters": {"formula": {"type": "string", "default": "flesch"}}},
            {"id": "store", "type": "data-target", "processor": "store-object"}
        ],
        "edges": [
            {"from": "text", "to": "frequencies"}, {"from": "text", "to": "readability"},
            {"from": "frequencies", "to": "store"}, {"from": "readability", "to": "store"}
        ],
        "inputSchema": {"type": ["object", "null"], "properties": {"title": {"type": "string"}}},
        "activate": true
    });
    let mut all: Vec<_> = PROCESSORS.iter().map(processor).collect();
    all.push(("PUT", "/v1/compute-nodes/default".to_owned(), node));
    all.push(("POST", "/v1/workflow-definitions".to_owned(), json!({"name": DEFINITION})));
    all.push(("POST", format!("/v1/workflow-definitions/{DEFINITION}/versions"), version));
    all
}

/// The event of a request by the operator through the API's JWT authorizer.
fn request(method: &str, path: &str, body: &Value) -> String {
    let claims = json!({"tenant_id": TENANT, "sub": "ada", "scope": "sluice/operator"});
    json!({
        "version": "2.0", "rawPath": path, "rawQueryString": "",
        "headers": {"content-type": "application/json"},
        "requestContext": {
            "requestId": "r-1", "stage": "$default", "http": {"method": method, "path": path},
            "authorizer": {"jwt": {"claims": claims, "scopes": ["sluice/operator"]}},
        },
        "body": if body.is_null() { String::new() } else { body.to_string() }, "isBase64Encoded": false,
    })
    .to_string()
}

fn with_callback(event: &str, url: &str) -> Result<String> {
    let mut event: Value = serde_json::from_str(event).map_err(Error::wrong("a sample event"))?;
    let body = event["body"].as_str().unwrap_or_default();
    let mut body: Value = serde_json::from_str(body).map_err(Error::wrong("a sample event's body"))?;
    body["completionCallbackUrl"] = url.into();
    body["completionCallbackContext"] = json!({"conversation": "c-17"});
    event["body"] = body.to_string().into();
    Ok(event.to_string())
}

/// What a function answers, which has to be a success.
fn ask(bench: &mut Bench, program: &Program, event: &str, besides: &[(String, String)]) -> Result<(Value, Heard)> {
    let (answer, heard) = bench.play_once(program, event.as_bytes(), besides)?;
    let answer: Value = serde_json::from_slice(&answer).map_err(Error::wrong("an answer"))?;
    if !answer["statusCode"].as_u64().is_some_and(|status| (200..300).contains(&status)) {
        return Err(Error::Wrong(format!("making what is measured: {answer}")));
    }
    let body = answer["body"].as_str().unwrap_or_default();
    Ok((serde_json::from_str(body).map_err(Error::wrong("an answer's body"))?, heard))
}

/// Makes a run, and does what the runner does first: its execution takes it.
fn start(bench: &mut Bench, create: &Program, event: &str, besides: &[(String, String)]) -> Result<String> {
    let (_, heard) = ask(bench, create, event, besides)?;
    let started = heard.asked.iter().rev().find(|(operation, _)| operation == "StartExecution");
    let (_, started) = started.ok_or_else(|| Error::Wrong("a run was made, and not started".to_owned()))?;
    let claim = claim(&place::runner()?, started)?;
    bench.backend.with_table(|table| table.sure("UpdateItem", &claim))?;
    Ok(started["name"].as_str().unwrap_or_default().to_owned())
}

/// The first worker of a run comes. Returns what it is told.
fn come(bench: &mut Bench, advance: &Program, run: &str) -> Result<Value> {
    let event = place::event("advance-run/first-turn")?.replace(SAMPLE_RUN, run);
    let (answer, heard) = bench.play_once(advance, event.as_bytes(), &[])?;
    Expected::Nothing.check(&answer)?;
    let told = heard.asked.iter().find(|(operation, _)| operation == "SendTaskSuccess");
    let (_, told) = told.ok_or_else(|| Error::Wrong("a worker came, and was told nothing".to_owned()))?;
    serde_json::from_str(told["output"].as_str().unwrap_or_default()).map_err(Error::wrong("what a worker was told"))
}

/// The runner's own call, with what it computes put in.
fn claim(runner: &str, started: &Value) -> Result<Value> {
    let runner: Value = serde_json::from_str(runner).map_err(Error::wrong("the runner"))?;
    let state = find(&runner, "Claim").ok_or_else(|| Error::Wrong("the runner has no state Claim".to_owned()))?;
    let input = started["input"].as_str().unwrap_or_default();
    let input: Value = serde_json::from_str(input).map_err(Error::wrong("an execution's input"))?;
    let machine = started["stateMachineArn"].as_str().unwrap_or_default();
    let execution = format!(
        "{}:{}",
        machine.replace(":stateMachine:", ":execution:"),
        started["name"].as_str().unwrap_or_default()
    );
    let mut call = state["Arguments"].clone();
    call["TableName"] = NAME.into();
    call["Key"]["pk"]["S"] = input["record"]["pk"].clone();
    let values = &mut call["ExpressionAttributeValues"];
    values[":statusKey"]["S"] = input["record"]["statusKeys"]["RUNNING"].clone();
    values[":execution"]["S"] = execution.into();
    values[":now"]["S"] = "2026-11-22T04:40:01.000Z".into();
    let text = call.to_string();
    if text.contains("{%") {
        return Err(Error::Wrong(format!("the runner computes more than is known here: {text}")));
    }
    Ok(call)
}

fn find<'a>(value: &'a Value, state: &str) -> Option<&'a Value> {
    let fields = value.as_object()?;
    let here = fields.get("States").and_then(|states| states.get(state));
    here.or_else(|| fields.values().find_map(|field| find(field, state)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runner_of_this_repository_can_be_played() {
        let record = json!({"pk": "T#dev#RUN#r", "statusKeys": {"RUNNING": "T#dev#RUNNING"}});
        let started = json!({
            "stateMachineArn": "arn:aws:states:us-east-1:1:stateMachine:runner", "name": "r",
            "input": json!({"record": record}).to_string(),
        });
        let call = claim(&place::runner().expect("the runner"), &started).expect("a call");
        assert_eq!(call["Key"], json!({"pk": {"S": "T#dev#RUN#r"}, "sk": {"S": "HEAD"}}));
        let execution = &call["ExpressionAttributeValues"][":execution"]["S"];
        assert_eq!(execution, "arn:aws:states:us-east-1:1:execution:runner:r");
    }
}
