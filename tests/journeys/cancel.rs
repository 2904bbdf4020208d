//! Cancel: idempotent, and truthful in every state.

use serde_json::{Value, json};

use crate::world::{Journey, PATIENCE, Silence, eventually, hold, holding, instant, run_path, text};

fn cancel(journey: &Journey, run_id: &str) -> sluice_local::Answer {
    journey.post(&format!("{}/cancel", run_path(run_id)), "")
}

#[test]
fn a_running_run_is_canceled_and_its_caller_told() {
    let acme = Journey::of("cancel");
    acme.define("hold", &hold(json!({"maxAttempts": 3})));
    let mut request = holding(json!({"seconds": 25}));
    request["completionCallbackUrl"] = json!(acme.hook());
    request["completionCallbackContext"] = json!("for you");
    let run_id = acme.start("hold", request);
    acme.in_status(&run_id, "RUNNING");
    eventually("the step", || (acme.steps(&run_id)[0]["status"] == "RUNNING").then_some(()));

    let canceling = cancel(&acme, &run_id);
    assert_eq!((canceling.status, &canceling.json()["status"]), (202, &json!("CANCELING")), "{}", canceling.text());
    let run = acme.ended(&run_id);
    assert_eq!((&run["status"], &run["terminationReason"]), (&json!("CANCELED"), &json!("canceled_by_caller")));
    assert_eq!(acme.execution(&run)["status"], "ABORTED");
    let again = cancel(&acme, &run_id);
    assert_eq!((again.status, &again.json()["status"]), (200, &json!("CANCELED")), "{}", again.text());

    let said = acme.webhooks(1, PATIENCE).remove(0).json();
    assert_eq!((&said["runId"], &said["status"]), (&json!(run_id), &json!("CANCELED")));
    assert_eq!(said["terminationReason"], "canceled_by_caller");
    assert_eq!(said["completionCallbackContext"], "for you");
    // What was under way is closed with its run, whatever it still writes.
    let step = &acme.steps(&run_id)[0];
    assert_eq!(step["status"], "CANCELED", "{step}");
    acme.delivered(&run_id);
    assert_eq!(acme.webhooks(1, PATIENCE).len(), 1);
}

#[test]
fn an_ended_run_cannot_be_canceled_any_more() {
    let acme = Journey::of("cancel-late");
    acme.define("hold", &hold(json!({"maxAttempts": 1})));
    for (params, status) in [(json!({}), "SUCCEEDED"), (json!({"failWith": "Told"}), "FAILED")] {
        let run_id = acme.start("hold", holding(params));
        assert_eq!(acme.ended(&run_id)["status"], status);
        acme.delivered(&run_id);
        let before = acme.items();
        let late = cancel(&acme, &run_id);
        assert_eq!(late.status, 409, "{}", late.text());
        assert_eq!(late.header("content-type"), Some("application/problem+json"));
        let problem = late.json();
        assert_eq!((&problem["code"], &problem["runStatus"]), (&json!("run_ended"), &json!(status)));
        assert_eq!(problem["runId"], run_id);
        assert_eq!(acme.items(), before, "nothing was written");
    }
}

#[test]
fn a_run_canceled_before_its_start_never_runs_a_node() {
    let acme = Journey::with_faults("cancel-pending");
    let definition = acme.define("hold", &hold(json!({"maxAttempts": 1})));
    // A run as it should be, for its execution's input.
    let whole = acme.ended(&acme.start("hold", holding(json!({}))));
    let input = text(&acme.execution(&whole)["input"]);

    let silence = Silence::listen();
    acme.stack.set_environment("create-run", &[("AWS_ENDPOINT_URL_SFN", Some(&silence.url()))]).expect("set");
    let mut request = holding(json!({}));
    request["completionCallbackUrl"] = json!(acme.hook());
    let run = acme.create(&definition, request);
    let mended = acme.stack.set_environment("create-run", &[("AWS_ENDPOINT_URL_SFN", None)]);
    mended.expect("mended");
    let run_id = text(&run["id"]);
    assert_eq!(run["status"], "PENDING");

    let canceled = cancel(&acme, &run_id);
    assert_eq!((canceled.status, &canceled.json()["status"]), (200, &json!("CANCELED")), "{}", canceled.text());
    assert_eq!(canceled.json()["terminationReason"], "canceled_by_caller");
    let said = acme.webhooks(1, PATIENCE).remove(0).json();
    assert_eq!((&said["runId"], &said["status"]), (&json!(run_id), &json!("CANCELED")));
    assert_eq!(said["startedAt"], Value::Null);

    // Even a start that comes late is turned away at the first state.
    let stray = input.replace(&text(&whole["id"]), &run_id);
    let start = json!({"stateMachineArn": acme.stack.runner_arn, "name": run_id, "input": stray});
    acme.stack.aws("stepfunctions", "start_execution", start).expect("started by hand");
    let execution = eventually("the stray execution to end", || {
        let execution = acme.execution(&run);
        (execution["status"] != "RUNNING").then_some(execution)
    });
    assert_eq!((&execution["status"], &execution["error"]), (&json!("FAILED"), &json!("Sluice.ClaimRefused")));
    acme.reconcile();
    acme.delivered(&run_id);
    let run = acme.run(&run_id);
    assert_eq!((&run["status"], &run["startedAt"]), (&json!("CANCELED"), &Value::Null));
    let step = &acme.steps(&run_id)[0];
    assert_eq!((&step["status"], &step["attempt"]), (&json!("CANCELED"), &json!(0)), "no node has run");
    assert_eq!(acme.webhooks(1, PATIENCE).len(), 1, "the caller is told once");
}

#[test]
fn nobody_cancels_what_is_not_there() {
    let acme = Journey::of("cancel-nothing");
    acme.define("instant", &instant());
    let before = acme.items();
    let missing = cancel(&acme, "0b0f5c1e-64a5-4d3a-9a5e-5d9f3e0c7a11");
    assert_eq!((missing.status, &missing.json()["code"]), (404, &json!("not_found")));
    assert_eq!(acme.items(), before);
}
