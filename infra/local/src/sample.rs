//! The sample: what is seeded into a new stack, all of it through Sluice's public API, and one run of it.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::deploy::Deployment;
use crate::receiver::Received;
use crate::wait::poll;
use crate::{Error, Stack, place};

/// The seeded pipeline, and a definition with one node that only takes time.
pub const PIPELINE: &str = "text-report";
pub const HOLD: &str = "hold";

/// The callback context of the sample run: what must come back byte for byte.
const CONTEXT: &str = r#"{"n":12345678901234567890123,"x":1.10,"conversation":"sample"}"#;
const HOOK: &str = "sample";
pub const BUDGET_USD: &str = "1.25";
const BUDGET_MICRO_USD: u64 = 1_250_000;

const RUN_PATIENCE: Duration = Duration::from_secs(120);
const WEBHOOK_PATIENCE: Duration = Duration::from_secs(60);
const DELIVERY_PATIENCE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(200);

/// The sample's processors: key, and what it does.
const PROCESSORS: [(&str, &str); 5] = [
    ("word-frequencies", "Counts the words of a text"),
    ("readability", "Measures how easy a text is to read"),
    ("report", "Joins the results of its upstream nodes into one report"),
    ("store-object", "Writes the results of its upstream nodes into the registry's uploadBucket"),
    ("hold", "Takes the given time, then succeeds or fails as told"),
];

/// The text that comes with the repository.
pub fn default_text() -> PathBuf {
    place::project().join("infra/local/sample/text.txt")
}

pub(crate) fn seed(stack: &Stack, deployed: &Deployment) -> Result<(), Error> {
    for (key, description) in PROCESSORS {
        let name = format!("sluice-processor-{key}");
        if !deployed.of_kind("AWS::Lambda::Function").any(|function| function.physical_id == name) {
            return Err(Error::Sample(format!("the sample's template deploys no function {name}")));
        }
        let arn = format!("arn:aws:lambda:{}:{}:function:{name}", stack.region, stack.account);
        let body = json!({"kind": "lambda", "functionArn": arn, "tenants": ["*"], "description": description});
        call(stack, "PUT", &format!("/v1/processors/{key}"), &body)?;
    }
    let node = json!({
        "stateMachineArn": stack.runner_arn,
        "tenants": ["*"],
        "registry": {"uploadBucket": stack.bucket},
        "layers": {},
        "maxBudgetUsd": null,
    });
    call(stack, "PUT", "/v1/compute-nodes/default", &node)?;
    define(
        stack,
        PIPELINE,
        "Text report",
        "Word frequencies and readability of a text, stored as one report",
        &pipeline(),
    )?;
    define(stack, HOLD, "Hold", "One node that takes its time: to cancel, to pause, to watch", &hold())
}

fn define(stack: &Stack, name: &str, display_name: &str, description: &str, version: &Value) -> Result<(), Error> {
    let body = json!({"name": name, "displayName": display_name, "description": description});
    call(stack, "POST", "/v1/workflow-definitions", &body)?;
    call(stack, "POST", &format!("/v1/workflow-definitions/{name}/versions"), version).map(drop)
}

fn pipeline() -> Value {
    let retry = json!({"maxAttempts": 2, "intervalSeconds": 1, "backoffRate": 2});
    let thirds = [0, 1, 2].map(|part| json!({"part": part, "of": 3}));
    json!({
        "nodes": [
            {"id": "text", "type": "data-source"},
            {"id": "frequencies", "type": "processor", "processor": "word-frequencies",
             "parameters": {"top": {"type": "integer", "default": 20}}, "retry": retry},
            {"id": "readability", "type": "processor", "processor": "readability", "retry": retry},
            // Of a text that is long enough, how that changes from its beginning to its end.
            {"id": "course", "type": "processor", "processor": "readability", "retry": retry,
             "when": {"pointer": "/results/readability/sentences", "greaterThan": 9},
             "forEach": {"items": thirds, "maxConcurrency": 3}},
            {"id": "report", "type": "processor", "processor": "report", "retry": retry},
            {"id": "store", "type": "data-target", "processor": "store-object", "retry": retry},
        ],
        "edges": [
            {"from": "text", "to": "frequencies"},
            {"from": "text", "to": "readability"},
            {"from": "frequencies", "to": "report"},
            {"from": "text", "to": "course"},
            {"from": "readability", "to": "course"},
            {"from": "readability", "to": "report"},
            {"from": "course", "to": "report"},
            {"from": "report", "to": "store"},
        ],
        "inputSchema": {
            "type": ["object", "null"],
            "properties": {"title": {"type": "string", "maxLength": 200}},
            "additionalProperties": false,
        },
        "activate": true,
    })
}

fn hold() -> Value {
    json!({
        "nodes": [{
            "id": "hold", "type": "processor", "processor": "hold",
            "parameters": {
                "seconds": {"type": "integer", "default": 30},
                "failWith": {"type": "string", "default": ""},
                "succeedOnAttempt": {"type": "integer", "default": 0},
            },
            "retry": {"maxAttempts": 2, "intervalSeconds": 1, "backoffRate": 2},
        }],
        "edges": [],
        "activate": true,
    })
}

/// What happens while the sample runs.
#[derive(Debug)]
pub enum Event<'a> {
    Created {
        run_id: &'a str,
    },
    /// A step began or ended.
    Step(&'a Step),
    /// The run's status changed.
    Status {
        status: &'a str,
    },
}

/// A step as `GET .../steps` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub node_id: String,
    pub status: String,
    pub took: Option<Duration>,
}

/// Everything that is known when the sample is over.
#[derive(Debug)]
pub struct Outcome {
    pub run_id: String,
    pub status: String,
    pub termination_reason: String,
    pub took: Duration,
    pub steps: Vec<Step>,
    /// The object that the data target wrote.
    pub object: Option<StoredObject>,
    /// The processors' nodes that saw exactly the run's budget, in both units.
    pub budget_seen_by: Vec<String>,
    /// The webhook, as it came.
    pub webhook: Option<Received>,
    /// Why this is not a full success; empty when it is one.
    pub problems: Vec<String>,
}

#[derive(Debug)]
pub struct StoredObject {
    pub bucket: String,
    pub key: String,
    pub bytes: usize,
    pub content: Value,
}

/// Runs the sample on a text to its end, webhook included. The observer may break it off.
pub fn run(
    stack: &Stack,
    text: &[u8],
    title: &str,
    observer: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<Outcome, Error> {
    let key = format!("texts/{title}");
    stack.put_object(&stack.bucket, &key, text)?;
    let definition = call(stack, "GET", &format!("/v1/workflow-definitions/{PIPELINE}"), &Value::Null)?;
    // Written out by hand where exactness matters: the context must come back byte for byte.
    let body = format!(
        r#"{{"workflowInstanceConfiguration":{{"workflowDefinitionId":{definition}}},"name":"sample","input":{input},
"dataSources":{{"text":{source}}},"dataTargets":{{"store":{{"folder":"reports"}}}},"processorParams":{{"frequencies":{{"top":10}}}},
"executionBudgetUsd":{BUDGET_USD},"completionCallbackUrl":{callback},"completionCallbackContext":{CONTEXT}}}"#,
        definition = definition["id"],
        input = json!({"title": title}),
        source = json!({"bucket": stack.bucket, "key": key}),
        callback = json!(stack.receiver.url(HOOK)),
    );
    let start = Instant::now();
    let created = call_with(stack, "POST", "/v1/workflow-runs", body.into_bytes())?;
    let run_id = text_of(&created["id"]);
    let interrupted = || Error::Sample("the sample was interrupted".to_owned());
    if observer(Event::Created { run_id: &run_id }).is_break() {
        return Err(interrupted());
    }

    let (run, steps) = follow(stack, &run_id, observer)?.ok_or_else(interrupted)?;
    let took = start.elapsed();
    let status = text_of(&run["status"]);
    let mut problems = Vec::new();
    if status != "SUCCEEDED" {
        problems.push(format!("the run ended {status} ({}): {}", run["terminationReason"], run["error"]));
    }

    let object = stored_object(stack, &run).map_err(|reason| problems.push(reason)).ok();
    let budget_seen_by = budget_seen_by(stack, &run_id, &steps)?;
    let blind: Vec<&str> = steps
        .iter()
        .map(|step| step.node_id.as_str())
        .filter(|node| *node != "text" && !budget_seen_by.iter().any(|seen| seen == node))
        .collect();
    if !blind.is_empty() {
        problems.push(format!("the exact budget was not seen by {}", blind.join(", ")));
    }

    let webhook = stack.receiver.wait(HOOK, 1, WEBHOOK_PATIENCE);
    let webhook = webhook.map_err(|error| problems.push(format!("no webhook came: {error}"))).ok();
    let webhook =
        webhook.and_then(|received| received.into_iter().find(|received| received.json()["runId"] == *run_id));
    match &webhook {
        None => problems.push("no webhook of this run came".to_owned()),
        Some(webhook) => {
            if !webhook.verification.verified {
                problems.push(format!("webhook NOT verified: {}", webhook.verification.problems.join("; ")));
            }
            let signer = webhook.verification.signer.as_deref().unwrap_or_default();
            if !signer.ends_with(&format!("/{}", stack.function_name("run-callback"))) {
                problems.push(format!("the webhook was signed by {signer}, not by run-callback"));
            }
            if !String::from_utf8_lossy(&webhook.body).contains(CONTEXT) {
                problems.push("the callback context did not come back byte for byte".to_owned());
            }
            if let Err(reason) = wait_for_delivery(stack, &run_id)? {
                problems.push(reason);
            }
        }
    }
    Ok(Outcome {
        status,
        termination_reason: text_of(&run["terminationReason"]),
        run_id,
        took,
        steps,
        object,
        budget_seen_by,
        webhook,
        problems,
    })
}

/// Reads the run until it is over; `None` when the observer breaks it off.
fn follow(
    stack: &Stack,
    run_id: &str,
    observer: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<Option<(Value, Vec<Step>)>, Error> {
    let mut seen: Vec<Step> = Vec::new();
    let mut last_status = String::new();
    poll(&format!("run {run_id} to end"), RUN_PATIENCE, POLL, || {
        // The run first: when it is over then, the steps read after it are final.
        let run = call(stack, "GET", &format!("/v1/workflow-runs/{run_id}"), &Value::Null)?;
        let status = text_of(&run["status"]);
        let steps = steps(stack, run_id)?;
        for step in &steps {
            if !seen.contains(step) && observer(Event::Step(step)).is_break() {
                return Ok(Some(None));
            }
        }
        seen = steps;
        if status != last_status && observer(Event::Status { status: &status }).is_break() {
            return Ok(Some(None));
        }
        let over = matches!(status.as_str(), "SUCCEEDED" | "FAILED" | "CANCELED");
        last_status = status;
        Ok(over.then(|| Some((run, std::mem::take(&mut seen)))))
    })
}

fn steps(stack: &Stack, run_id: &str) -> Result<Vec<Step>, Error> {
    let answer = call(stack, "GET", &format!("/v1/workflow-runs/{run_id}/steps"), &Value::Null)?;
    let mut steps: Vec<(String, Step)> = answer["steps"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|step| {
            let time = |name: &str| step[name].as_str().and_then(|text| text.parse::<Timestamp>().ok());
            let took = time("startedAt").zip(time("endedAt")).map(|(from, to)| to.duration_since(from).unsigned_abs());
            let found = Step { node_id: text_of(&step["nodeId"]), status: text_of(&step["status"]), took };
            (text_of(&step["startedAt"]), found)
        })
        .collect();
    steps.sort_by(|(earlier, _), (later, _)| earlier.cmp(later));
    Ok(steps.into_iter().map(|(_, step)| step).collect())
}

/// Reads back from S3 what the data target says it wrote.
fn stored_object(stack: &Stack, run: &Value) -> Result<StoredObject, String> {
    let place = &run["output"]["results"]["store"];
    let (bucket, key) = (text_of(&place["bucket"]), text_of(&place["key"]));
    if bucket.is_empty() || key.is_empty() {
        return Err(format!("the run's output names no stored object: {}", run["output"]));
    }
    let content = stack.object(&bucket, &key).map_err(|error| error.to_string())?;
    let report: Value =
        serde_json::from_slice(&content).map_err(|error| format!("the stored report is not JSON: {error}"))?;
    Ok(StoredObject { bytes: content.len(), content: report, bucket, key })
}

fn budget_seen_by(stack: &Stack, run_id: &str, steps: &[Step]) -> Result<Vec<String>, Error> {
    let mut seen = Vec::new();
    for step in steps {
        let path = format!("/v1/workflow-runs/{run_id}/steps/{}", step.node_id);
        let result = &call(stack, "GET", &path, &Value::Null)?["result"];
        // A fan-out has the results of its items. The number is compared as text, since it must come back as it was written.
        let results = result.as_array().map_or(std::slice::from_ref(result), Vec::as_slice);
        let has_seen = |result: &Value| {
            let usd = result["executionBudgetUsd"].to_string();
            usd == BUDGET_USD && result["executionBudgetMicroUsd"] == BUDGET_MICRO_USD
        };
        if results.iter().all(has_seen) {
            seen.push(step.node_id.clone());
        }
    }
    Ok(seen)
}

/// The receiver has answered; the delivery's own record follows a moment later.
fn wait_for_delivery(stack: &Stack, run_id: &str) -> Result<Result<(), String>, Error> {
    let mut statuses: Vec<String> = Vec::new();
    let recorded = poll("the delivery's record", DELIVERY_PATIENCE, POLL, || {
        let answer = call(stack, "GET", &format!("/v1/workflow-runs/{run_id}/deliveries"), &Value::Null)?;
        let deliveries = answer["deliveries"].as_array().into_iter().flatten();
        let webhooks = deliveries.filter(|delivery| delivery["channel"] == "webhook");
        statuses = webhooks.map(|delivery| text_of(&delivery["status"])).collect();
        let delivered = !statuses.is_empty() && statuses.iter().all(|status| status.eq_ignore_ascii_case("delivered"));
        Ok(delivered.then_some(()))
    });
    match recorded {
        Err(Error::Timeout { .. }) => Ok(Err(format!("the webhook's delivery is recorded as {statuses:?}"))),
        other => other.map(Ok),
    }
}

pub(crate) fn call(stack: &Stack, method: &str, path: &str, body: &Value) -> Result<Value, Error> {
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    call_with(stack, method, path, body)
}

fn call_with(stack: &Stack, method: &str, path: &str, body: Vec<u8>) -> Result<Value, Error> {
    let answer = stack.request(method, path, &[("content-type", "application/json")], body)?;
    if (200..300).contains(&answer.status) {
        return Ok(answer.json());
    }
    Err(Error::Http {
        method: method.to_owned(),
        url: format!("{}{path}", stack.api_url),
        reason: format!(
            "answered {}: {} (the functions' log: {}/functions.log)",
            answer.status,
            answer.text(),
            stack.folder.display()
        ),
    })
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
