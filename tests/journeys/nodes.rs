//! What can happen at a node.

use serde_json::{Value, json};

use crate::world::{Journey, PATIENCE, hold, hold_node, holding, run_path, text};

#[test]
fn a_failing_node_fails_the_run_by_name_and_lets_its_siblings_finish() {
    let acme = Journey::of("failing");
    acme.define(
        "fork",
        &json!({
            "nodes": [
                {"id": "source", "type": "data-source"},
                hold_node("bad", json!({"maxAttempts": 2, "intervalSeconds": 1})),
                hold_node("good", json!({"maxAttempts": 1})),
                {"id": "join", "type": "processor", "processor": "echo"},
            ],
            "edges": [
                {"from": "source", "to": "bad"}, {"from": "source", "to": "good"},
                {"from": "bad", "to": "join"}, {"from": "good", "to": "join"},
            ],
        }),
    );
    let run =
        acme.create("fork", json!({"processorParams": {"bad": {"failWith": "Model.Refused"}, "good": {"seconds": 4}}}));
    let run_id = text(&run["id"]);
    let run = acme.ended(&run_id);
    assert_eq!((&run["status"], &run["terminationReason"]), (&json!("FAILED"), &json!("execution_error")), "{run}");
    assert_eq!(run["error"]["code"], "Model.Refused");
    let message = text(&run["error"]["message"]);
    assert!(message.contains("bad") && message.contains("failed as it was told to"), "{message}");
    assert!(run.get("output").is_none_or(Value::is_null), "{run}");

    let steps: Vec<Value> = acme
        .steps(&run_id)
        .iter()
        .map(|step| json!([step["nodeId"], step["status"], step["attempt"], step["error"]["code"]]))
        .collect();
    assert_eq!(
        steps,
        [
            json!(["source", "SUCCEEDED", 1, null]),
            json!(["bad", "FAILED", 2, "Model.Refused"]),
            json!(["good", "SUCCEEDED", 1, null]),
            json!(["join", "CANCELED", 0, null]),
        ]
    );
    assert_eq!(acme.step(&run_id, "good")["result"]["heldSeconds"], 4, "the sibling's result is kept");
}

#[test]
fn a_node_that_recovers_tells_how_many_attempts_it_took() {
    let acme = Journey::of("retried");
    acme.define("hold", &hold(json!({"maxAttempts": 3, "intervalSeconds": 1, "backoffRate": 1})));
    let run = acme.create("hold", holding(json!({"failWith": "Model.Overloaded", "succeedOnAttempt": 3})));
    let run_id = text(&run["id"]);
    assert_eq!(acme.ended(&run_id)["status"], "SUCCEEDED");
    let step = acme.step(&run_id, "hold");
    assert_eq!((&step["status"], &step["attempt"]), (&json!("SUCCEEDED"), &json!(3)), "{step}");
    assert_eq!(step["result"]["attempt"], 3, "the processor was told");
    assert_eq!(step["error"], Value::Null);
}

#[test]
fn an_external_node_waits_and_a_cancel_ends_the_wait() {
    let acme = Journey::of("external");
    acme.define(
        "approval",
        &json!({
            "nodes": [
                {"id": "ask", "type": "external", "schema": {"type": "object"}},
                {"id": "after", "type": "processor", "processor": "echo"},
            ],
            "edges": [{"from": "ask", "to": "after"}],
        }),
    );
    let run_id = acme.start("approval", json!({"completionCallbackUrl": acme.hook()}));
    let run = acme.in_status(&run_id, "WAITING_FOR_INPUT");
    assert_eq!(run["waitingNodes"], json!(["ask"]));
    crate::world::eventually("the step", || (acme.steps(&run_id)[0]["status"] == "WAITING").then_some(()));
    let waiting = acme.read("/v1/workflow-runs?status=WAITING_FOR_INPUT");
    assert_eq!(waiting["runs"][0]["id"], run_id);
    // The token that ends the wait is nobody's business.
    for path in ["", "/steps", "/steps/ask"] {
        let shown = acme.get(&format!("{}{path}", run_path(&run_id))).text();
        assert!(!shown.to_lowercase().contains("token"), "{shown}");
    }
    let canceled = acme.post(&format!("{}/cancel", run_path(&run_id)), "");
    assert_eq!(canceled.status, 202, "{}", canceled.text());
    let run = acme.ended(&run_id);
    assert_eq!((&run["status"], &run["terminationReason"]), (&json!("CANCELED"), &json!("canceled_by_caller")));
    assert_eq!(run["waitingNodes"], json!([]));
    let statuses: Vec<String> = acme.steps(&run_id).iter().map(|step| text(&step["status"])).collect();
    assert_eq!(statuses, ["CANCELED", "CANCELED"]);
    assert_eq!(acme.webhooks(1, PATIENCE)[0].json()["status"], "CANCELED");
}

#[test]
fn a_nested_state_machine_that_fails_is_a_failed_attempt() {
    let acme = Journey::of("nested");
    acme.define(
        "nested",
        &json!({"nodes": [{
            "id": "machine", "type": "processor", "processor": "nested",
            "parameters": {"fail": {"type": "boolean", "default": true}},
            "retry": {"maxAttempts": 2, "intervalSeconds": 1},
        }]}),
    );
    let run_id = acme.start("nested", json!({}));
    let run = acme.ended(&run_id);
    assert_eq!((&run["status"], &run["terminationReason"]), (&json!("FAILED"), &json!("execution_error")), "{run}");
    let step = acme.step(&run_id, "machine");
    assert_eq!((&step["status"], &step["attempt"]), (&json!("FAILED"), &json!(2)), "{step}");
    assert!(step["error"].to_string().contains("Nested.Told"), "{step}");
}

#[test]
fn a_large_result_travels_by_reference_and_can_be_read() {
    let acme = Journey::of("large");
    acme.define(
        "large",
        &json!({
            "nodes": [
                {"id": "small", "type": "data-source"},
                {"id": "large", "type": "data-source"},
                {"id": "function", "type": "processor", "processor": "echo"},
                {"id": "last", "type": "data-target", "processor": "echo"},
            ],
            "edges": [
                {"from": "small", "to": "function"}, {"from": "large", "to": "function"},
                {"from": "large", "to": "last"}, {"from": "function", "to": "last"},
            ],
        }),
    );
    // No letter that an emulator would write in six bytes where AWS writes two.
    let large = json!({"text": "e".repeat(50_000)});
    let run = acme.create("large", json!({"dataSources": {"small": {"n": 1}, "large": large}}));
    let run_id = text(&run["id"]);
    let run = acme.ended(&run_id);
    assert_eq!(run["status"], "SUCCEEDED", "{run}");
    let href = format!("{}/steps/large", run_path(&run_id));
    let bytes = large.to_string().len();
    let reference = json!({"resultRef": {"runId": run_id, "nodeId": "large", "href": href, "bytes": bytes}});
    let function = acme.step(&run_id, "function")["result"].clone();
    assert_eq!(function["inputs"], json!({"small": {"n": 1}, "large": reference}));
    assert_eq!(acme.step(&run_id, "last")["result"]["inputs"]["large"], reference);
    let kept = acme.read(&href);
    assert_eq!(kept["result"], large, "the whole result stays with its step");
    assert_eq!(kept["resultBytes"], bytes);
}
