//! What crashes and lost events leave behind is mended.

use std::fs;
use std::process::Command;
use std::thread;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::world::{Journey, PATIENCE, Silence, body, eventually, hold, holding, is_terminal, list, run_path, text};

/// Ids of the processes whose environment has this variable. The local stack's functions are plain processes.
fn processes_with(variable: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("/proc: this journey needs Linux");
    processes
        .flatten()
        .filter(|process| {
            // Other people's processes cannot be read.
            fs::read(process.path().join("environ"))
                .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|found| found == variable.as_bytes()))
        })
        .map(|process| process.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Sweeps until the run is over.
fn swept(journey: &Journey, run_id: &str) -> Value {
    eventually(&format!("the sweep to mend run {run_id}"), || {
        journey.reconcile();
        let run = journey.read(&format!("{}?waitSeconds=2", run_path(run_id)));
        is_terminal(&run).then_some(run)
    })
}

#[test]
fn a_run_whose_creator_was_killed_before_the_start_is_started_by_the_sweep() {
    let acme = Journey::with_faults("killed");
    acme.define("hold", &hold(json!({"maxAttempts": 1})));
    let mut fields = holding(json!({}));
    fields["completionCallbackUrl"] = json!(acme.hook());
    let request = body("hold", fields).to_string();
    let create = || acme.request("POST", "/v1/workflow-runs", &[("idempotency-key", "k")], request.as_str());

    let silence = Silence::listen();
    let elsewhere = ("AWS_ENDPOINT_URL_SFN", Some(silence.url()));
    let set = acme.stack.set_environment("create-run", &[(elsewhere.0, elsewhere.1.as_deref())]);
    set.expect("set");
    let broken_off = thread::scope(|scope| {
        let creating = scope.spawn(create);
        // Whoever asks for the start has written the record.
        silence.wait();
        let victims = processes_with(&format!("AWS_ENDPOINT_URL_SFN={}", silence.url()));
        assert!(!victims.is_empty(), "the function's process is not to be found");
        let killed = Command::new("kill").arg("-9").args(&victims).status();
        assert!(killed.is_ok_and(|status| status.success()), "{victims:?}");
        creating.join().expect("an answer")
    });
    acme.stack.set_environment("create-run", &[("AWS_ENDPOINT_URL_SFN", None)]).expect("mended");
    assert!(broken_off.status >= 500, "{} {}", broken_off.status, broken_off.text());

    let runs = list(&acme.read("/v1/workflow-runs")["runs"]);
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!(runs[0]["status"], "PENDING");
    let run_id = text(&runs[0]["id"]);
    assert_eq!(acme.executions(), Vec::<String>::new(), "it was recorded and never started");
    // The caller, who knows nothing, asks again with the same key.
    let again = create();
    assert_eq!((again.status, &again.json()["id"]), (201, &json!(run_id)), "{}", again.text());
    assert_eq!(again.header("idempotent-replayed"), Some("true"));

    let run = swept(&acme, &run_id);
    assert_eq!((&run["status"], &run["terminationReason"]), (&json!("SUCCEEDED"), &json!("completed")));
    assert_eq!(acme.executions(), [run_id.as_str()]);
    let said = acme.webhooks(1, PATIENCE).remove(0).json();
    assert_eq!((&said["runId"], &said["status"]), (&json!(run_id), &json!("SUCCEEDED")));
    assert_eq!(list(&acme.read("/v1/workflow-runs")["runs"]).len(), 1);
}

#[test]
fn a_run_whose_end_was_never_announced_is_settled_by_the_sweep() {
    let acme = Journey::with_faults("unheard");
    acme.define("hold", &hold(json!({"maxAttempts": 1})));
    let rules = acme.stack.aws("events", "list_rules", json!({})).expect("rules");
    let rule = list(&rules["Rules"])
        .into_iter()
        .find(|rule| rule["EventPattern"].as_str().is_some_and(|pattern| pattern.contains("Execution Status Change")))
        .expect("the rule for the ends of executions");
    let rule = json!({"Name": rule["Name"]});
    acme.stack.aws("events", "disable_rule", rule.clone()).expect("disabled");
    let mut ends = Vec::new();
    for (params, status) in [(json!({}), "SUCCEEDED"), (json!({"failWith": "Told"}), "FAILED")] {
        let mut request = holding(params);
        request["completionCallbackUrl"] = json!(acme.hook());
        let run = acme.create("hold", request);
        eventually("the execution to end", || (acme.execution(&run)["status"] == status).then_some(()));
        ends.push((text(&run["id"]), status));
    }
    acme.stack.aws("events", "enable_rule", rule).expect("enabled");
    for (run_id, _) in &ends {
        assert_eq!(acme.run(run_id)["status"], "RUNNING", "nobody has told Sluice");
    }
    for (run_id, status) in &ends {
        let run = swept(&acme, run_id);
        assert_eq!(run["status"], *status, "{run}");
        assert_eq!(run["output"].is_object(), *status == "SUCCEEDED", "{run}");
        // The end is when the engine ended, not when the sweep came by.
        let time = |value: &Value| text(value).parse::<Timestamp>().expect("a time");
        let apart = time(&acme.execution(&run)["stopDate"]).duration_since(time(&run["completedAt"]));
        assert!(apart.abs().as_millis() < 50, "{apart}: {run}");
    }
    let webhooks = acme.webhooks(2, PATIENCE);
    for (run_id, status) in &ends {
        let said = webhooks.iter().map(|webhook| webhook.json()).find(|said| said["runId"] == **run_id);
        assert_eq!(said.expect("a webhook")["status"], *status);
        acme.delivered(run_id);
    }
    assert_eq!(acme.webhooks(2, PATIENCE).len(), 2, "each caller is told once");
}
