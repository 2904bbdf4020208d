//! The ways to a run.

use serde_json::{Value, json};

use crate::world::{JSON, Journey, STACK, body, hold, instant, list, run_path, text};

#[test]
fn equal_configurations_are_one_instance_and_an_instance_can_be_run() {
    let acme = Journey::of("instances");
    let definition = acme.define("hold", &hold(json!({"maxAttempts": 1})));
    let configured = |configuration: Value| {
        let created = acme.post("/v1/workflow-runs", json!({"workflowInstanceConfiguration": configuration}));
        assert_eq!(created.status, 201, "{}", created.text());
        created.json()
    };
    let params = json!([{"nodeId": "hold", "params": {"seconds": 0, "failWith": ""}}]);
    let first = configured(json!({"workflowDefinitionId": definition, "version": 1, "processorConfigs": params}));
    assert_eq!(first["status"], "PENDING");
    assert_eq!(first["name"], format!("run-{}", &text(&first["id"])[..8]));
    assert_eq!(first["workflowDefinitionName"], "hold");
    // By name, in another order, with what is the default anyway.
    let second = configured(json!({
        "processorConfigs": [{"params": {"failWith": "", "seconds": 0}, "nodeId": "hold"}],
        "computeNodeId": "default", "version": 1, "workflowDefinitionId": "hold",
    }));
    assert_eq!(first["workflowInstanceId"], second["workflowInstanceId"]);
    assert_ne!(first["id"], second["id"]);
    for other in [
        json!({"workflowDefinitionId": definition, "processorConfigs": params}),
        json!({"workflowDefinitionId": definition, "version": 1}),
        json!({"workflowDefinitionId": definition, "version": 1, "processorConfigs": [{"nodeId": "hold", "params": {"seconds": 1}}]}),
    ] {
        assert_ne!(configured(other)["workflowInstanceId"], first["workflowInstanceId"]);
    }
    let instance = json!({"workflowDefinitionId": definition, "version": 1, "processorConfigs": params});
    let saved = acme.post("/v1/workflow-instances", instance);
    assert!(saved.status == 200 || saved.status == 201, "{}", saved.text());
    assert_eq!(saved.json()["id"], first["workflowInstanceId"]);

    let by_instance = acme.post(
        "/v1/workflow-runs",
        json!({"workflowInstanceId": first["workflowInstanceId"], "name": "Once more", "labels": {"ticket": "A-1"}}),
    );
    assert_eq!(by_instance.status, 201, "{}", by_instance.text());
    let run = by_instance.json();
    assert_eq!(by_instance.header("location"), Some(run_path(&text(&run["id"])).as_str()));
    assert_eq!(run["workflowInstanceId"], first["workflowInstanceId"]);
    assert_eq!((&run["name"], &run["labels"]), (&json!("Once more"), &json!({"ticket": "A-1"})));

    let run = acme.ended(&text(&run["id"]));
    assert_eq!(run["status"], "SUCCEEDED", "{run}");
    assert_eq!(run["labels"], json!({"ticket": "A-1"}));
    let instances = acme.read("/v1/workflow-instances");
    assert_eq!(list(&instances["instances"]).len(), 4, "{instances}");
    let read = acme.read(&format!("/v1/workflow-instances/{}", text(&first["workflowInstanceId"])));
    assert_eq!(read["processorConfigs"][0]["params"], json!({"seconds": 0, "failWith": ""}));
}

#[test]
fn a_definition_is_invoked_by_name_and_by_id_in_the_version_asked_for() {
    let acme = Journey::of("invoke");
    let id = acme.define("pipeline", &instant());
    assert_eq!(acme.add_version("pipeline", &hold(json!({"maxAttempts": 1})), false)["version"], 2);
    let version_of = |named: &str, request: Value| {
        let invoked = acme.post(&format!("/v1/workflow-definitions/{named}/invoke"), request);
        assert_eq!(invoked.status, 202, "{}", invoked.text());
        invoked.json()["workflowVersion"].clone()
    };
    for named in ["pipeline", id.as_str()] {
        assert_eq!(version_of(named, json!({})), 1);
        assert_eq!(version_of(named, json!({"version": "active"})), 1);
        assert_eq!(version_of(named, json!({"version": "latest"})), 2);
        assert_eq!(version_of(named, json!({"version": 2})), 2);
    }
    let activated = acme.post("/v1/workflow-definitions/pipeline/versions/2/activate", "");
    assert_eq!(activated.status, 200, "{}", activated.text());
    assert_eq!(activated.json()["activeVersion"], 2);
    // Within the few seconds for which a definition is remembered, the old version may still be taken.
    crate::world::eventually("the new active version", || (version_of("pipeline", json!({})) == 2).then_some(()));
    assert_eq!(version_of("pipeline", json!({"version": 1})), 1);

    let missing = acme.post("/v1/workflow-definitions/pipeline/invoke", json!({"version": 3}));
    assert_eq!(missing.status, 400, "{}", missing.text());
    assert_eq!(missing.json()["errors"][0]["pointer"], "/version");
    // A body may be left out altogether.
    let bare = acme.request("POST", "/v1/workflow-definitions/pipeline/invoke", &[], "");
    assert_eq!(bare.status, 202, "{}", bare.text());
    let run = acme.ended(&text(&bare.json()["id"]));
    assert_eq!((&run["status"], &run["workflowVersion"]), (&json!("SUCCEEDED"), &json!(2)));
}

#[test]
fn an_invoked_run_takes_everything_a_created_one_does() {
    let acme = Journey::of("invoke-all");
    acme.define(
        "greet",
        &json!({
            "nodes": [{"id": "greet", "type": "processor", "processor": "echo", "parameters": {
                "greeting": {"type": "string", "default": "Hello {{who}} [[when]]"},
            }}],
            "inputSchema": {"type": "object", "required": ["to"], "properties": {"to": {"type": "string"}}},
        }),
    );
    let invoked = acme.post(
        "/v1/workflow-definitions/greet/invoke",
        json!({
            "input": {"to": "Ada"},
            "variables": {"who": "there"},
            "runtimeVariables": {"when": "now"},
            "executionBudgetUsd": 0.5,
            "completionCallbackUrl": acme.hook(),
            "completionCallbackContext": {"conversation": 7},
            "idempotencyKey": "k".repeat(255),
        }),
    );
    assert_eq!(invoked.status, 202, "{}", invoked.text());
    let run = acme.ended(&text(&invoked.json()["id"]));
    assert_eq!(run["output"]["results"]["greet"]["params"]["greeting"], "Hello there now", "{run}");
    let webhook = acme.webhooks(1, crate::world::PATIENCE).remove(0);
    assert_eq!(webhook.json()["completionCallbackContext"], json!({"conversation": 7}));
    assert_eq!(webhook.json()["output"], run["output"]);
}

#[test]
fn every_http_function_answers_behind_its_own_url_by_the_same_paths() {
    let dev = Journey::of(&STACK.tenant);
    let ask = |function: &str, method: &str, path: &str, body: String| {
        let answer = dev.stack.request_function_url(function, method, path, &JSON, body);
        let answer = answer.unwrap_or_else(|error| panic!("{function}: {error}"));
        assert!(answer.status < 300, "{function}: {} {}", answer.status, answer.text());
        answer.json()
    };
    let made = ask("manage-definitions", "POST", "/v1/workflow-definitions", json!({"name": "by-url"}).to_string());
    let version = hold(json!({"maxAttempts": 1})).to_string().replacen('{', "{\"activate\":true,", 1);
    ask("manage-definitions", "POST", "/v1/workflow-definitions/by-url/versions", version);
    let long = json!({"processorParams": {"hold": {"seconds": 20}}});
    let created = ask("create-run", "POST", "/v1/workflow-runs", body(&text(&made["id"]), long).to_string());
    let run_id = text(&created["id"]);
    dev.in_status(&run_id, "RUNNING");
    let canceled = ask("cancel-run", "POST", &format!("{}/cancel", run_path(&run_id)), String::new());
    assert_eq!(canceled["status"], "CANCELING");
    let run = ask("read-runs", "GET", &format!("{}?waitSeconds=20", run_path(&run_id)), String::new());
    assert_eq!(run["status"], "CANCELED", "{run}");
    let invoked = ask("invoke-definition", "POST", "/v1/workflow-definitions/by-url/invoke", "{}".to_owned());
    assert_eq!(dev.ended(&text(&invoked["id"]))["status"], "SUCCEEDED");
    let of_events: Vec<&str> =
        dev.stack.functions().filter(|name| !dev.stack.function_urls.contains_key(*name)).collect();
    // The governor's own URL is a door to models, and no part of the API.
    assert_eq!(of_events, ["advance-run", "govern-calls", "reconcile-runs", "run-callback"]);
}
