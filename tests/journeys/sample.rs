//! The sample, and what its processors are handed.

use std::fs;
use std::ops::ControlFlow;

use serde_json::{Value, json};
use sluice_core::definition::VersionDocument;
use sluice_core::history::worst_case;
use sluice_local::sample::{self, PIPELINE, default_text};
use sluice_tests::{processor_contract, violations};

use crate::world::{Journey, STACK, list, text};

#[test]
fn the_sample_succeeds_and_its_webhook_verifies() {
    let dev = Journey::of(&STACK.tenant);
    let content = fs::read(default_text()).expect("the sample's text");
    let outcome = sample::run(&STACK, &content, "journey.txt", &mut |_| ControlFlow::Continue(())).expect("the sample");
    assert_eq!(outcome.problems, Vec::<String>::new());
    assert_eq!((outcome.status.as_str(), outcome.termination_reason.as_str()), ("SUCCEEDED", "completed"));

    let mut steps: Vec<(&str, &str)> =
        outcome.steps.iter().map(|step| (step.node_id.as_str(), step.status.as_str())).collect();
    steps.sort_unstable();
    let all = ["course", "frequencies", "readability", "report", "store", "text"];
    assert_eq!(steps, all.map(|node| (node, "SUCCEEDED")));
    let mut saw_the_budget = outcome.budget_seen_by;
    saw_the_budget.sort();
    assert_eq!(saw_the_budget, ["course", "frequencies", "readability", "report", "store"]);

    let object = outcome.object.expect("an object in S3");
    assert_eq!(object.bucket, STACK.bucket);
    assert_eq!(object.key, format!("reports/{}.json", outcome.run_id));
    assert_eq!(object.content["title"], "journey.txt");
    let findings = &object.content["findings"];
    assert!(findings["frequencies"]["words"].as_u64().is_some_and(|words| words > 50), "{findings}");
    assert_eq!(findings["frequencies"]["top"].as_array().map(Vec::len), Some(10), "{findings}");
    assert!(findings["readability"]["sentences"].as_u64().is_some_and(|sentences| sentences > 3), "{findings}");

    assert_eq!(list(&findings["course"]).len(), 3, "{findings}");

    let webhook = outcome.webhook.expect("a webhook");
    assert!(webhook.verification.verified, "{:?}", webhook.verification);
    let run = dev.run(&outcome.run_id);
    let said = webhook.json();
    for (name, expected) in [
        ("specVersion", &json!("1")),
        ("type", &json!("workflow.run.terminal")),
        ("runId", &run["id"]),
        ("status", &json!("SUCCEEDED")),
        ("terminationReason", &json!("completed")),
        ("name", &json!("sample")),
        ("workflowDefinitionId", &run["workflowDefinitionId"]),
        ("workflowVersion", &json!(1)),
        ("workflowInstanceId", &run["workflowInstanceId"]),
        ("createdAt", &run["createdAt"]),
        ("startedAt", &run["startedAt"]),
        ("completedAt", &run["completedAt"]),
        ("output", &run["output"]),
    ] {
        assert_eq!(said[name], *expected, "{name} of {said}");
    }
    assert_eq!(said["executionBudgetUsd"].to_string(), "1.25");
    assert_eq!(webhook.header("content-type"), Some("application/json"));
    assert_eq!(webhook.header("sluice-run-id"), Some(outcome.run_id.as_str()));
    assert_eq!(webhook.header("sluice-tenant-id"), Some(STACK.tenant.as_str()));
    assert_eq!(webhook.header("webhook-attempt"), Some("1"));
    assert_eq!(webhook.header("webhook-id"), Some(format!("{}.1", outcome.run_id).as_str()));

    let version = dev.read(&format!("/v1/workflow-definitions/{PIPELINE}/versions/1"));
    let document = json!({"nodes": version["nodes"], "edges": version["edges"]});
    let document: VersionDocument = serde_json::from_value(document).expect("a version document");
    let bound = worst_case(&document.schedule().expect("its edges are a graph"));
    let written = history(&run);
    assert!(written <= bound, "the execution wrote {written} events, more than the bound of {bound}");
}

/// How many events the execution has written.
fn history(run: &Value) -> u64 {
    let mut events = 0;
    let mut token = Value::Null;
    loop {
        let mut params = json!({"executionArn": run["executionArn"], "maxResults": 1000});
        if !token.is_null() {
            params["nextToken"] = token;
        }
        let page = STACK.aws("stepfunctions", "get_execution_history", params).expect("a history");
        events += list(&page["events"]).len() as u64;
        token = page["nextToken"].clone();
        if token.is_null() {
            return events;
        }
    }
}

#[test]
fn every_kind_of_processor_is_handed_what_the_contract_says() {
    let acme = Journey::of("contract");
    let secret = json!({"secretRef": "arn:aws:secretsmanager:us-east-1:000000000000:secret:llm-key"});
    acme.define(
        "echoes",
        &json!({
            "nodes": [
                {"id": "text", "type": "data-source"},
                {"id": "lines", "type": "data-source", "processor": "echo"},
                {"id": "function", "type": "processor", "processor": "echo", "parameters": {
                    "key": {"type": "secret", "required": true},
                    "greeting": {"type": "string", "default": "Hello {{who}}"},
                    "top": {"type": "integer", "default": 20},
                }},
                {"id": "machine", "type": "processor", "processor": "nested"},
                {"id": "store", "type": "data-target", "processor": "echo"},
            ],
            "edges": [
                {"from": "text", "to": "function"},
                {"from": "lines", "to": "machine"},
                {"from": "text", "to": "machine"},
                {"from": "function", "to": "store"},
                {"from": "machine", "to": "store"},
            ],
        }),
    );
    let run = acme.create(
        "echoes",
        json!({
            "input": {"title": "é", "n": 1},
            "dataSources": {"text": {"key": "a.txt"}, "lines": ["one", 2]},
            "dataTargets": {"store": {"folder": "out"}},
            "processorParams": {"function": {"key": secret, "top": 3}},
            "variables": {"who": "Ada"},
            "executionBudgetUsd": 0.1,
        }),
    );
    let run_id = text(&run["id"]);
    let run = acme.ended(&run_id);
    assert_eq!(run["status"], "SUCCEEDED", "{run}");

    let contract = processor_contract("input");
    let given = |node_id: &str| {
        let given = acme.step(&run_id, node_id)["result"].clone();
        assert_eq!(violations(&contract, &given), Vec::<String>::new(), "{node_id} was handed {given}");
        assert_eq!((&given["nodeId"], &given["runId"]), (&json!(node_id), &json!(run_id)));
        assert_eq!(given["tenantId"], "contract");
        assert_eq!(given["attempt"], 1);
        assert_eq!(given["input"], json!({"title": "é", "n": 1}));
        assert_eq!(given["executionBudgetUsd"].as_f64(), Some(0.1));
        assert_eq!(given["executionBudgetMicroUsd"].as_u64(), Some(100_000));
        given
    };
    let lines = given("lines");
    assert_eq!(lines["dataSource"], json!(["one", 2]));
    assert_eq!(lines["inputs"], json!({}));
    let function = given("function");
    assert_eq!(function["params"], json!({"key": secret, "greeting": "Hello Ada", "top": 3}));
    assert_eq!(function["inputs"], json!({"text": {"key": "a.txt"}}));
    assert_eq!((&function["dataSource"], &function["dataTarget"]), (&Value::Null, &Value::Null));
    let machine = given("machine");
    assert_eq!(machine["inputs"], json!({"text": {"key": "a.txt"}, "lines": lines}));
    let store = given("store");
    assert_eq!(store["dataTarget"], json!({"folder": "out", "uploadBucket": STACK.bucket}));
    assert_eq!(store["inputs"], json!({"function": function, "machine": machine}));
    // The leaf's result is the run's output.
    assert_eq!(run["output"], json!({"results": {"store": store}}));
}
