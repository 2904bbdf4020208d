//! What lost events leave behind is mended.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::world::{Journey, PATIENCE, eventually, hold, holding, is_terminal, list, run_path, text};

/// Sweeps until the run is over.
fn swept(journey: &Journey, run_id: &str) -> Value {
    eventually(&format!("the sweep to mend run {run_id}"), || {
        journey.reconcile();
        let run = journey.read(&format!("{}?waitSeconds=2", run_path(run_id)));
        is_terminal(&run).then_some(run)
    })
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
