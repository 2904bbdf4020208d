//! No tenant sees, changes or blocks another's things, or learns that they exist.

use serde_json::{Value, json};
use sluice_local::Answer;

use crate::world::{Journey, hold, holding, run_path, text};

/// An answer without what names its occasion, and with `id` in the place of the thing it is about.
fn anonymous(answer: &Answer, id: &str) -> (u16, Value) {
    let said = answer.text().replace(id, "<id>");
    let mut said: Value = serde_json::from_str(&said).unwrap_or(Value::String(said));
    if let Some(said) = said.as_object_mut() {
        said.remove("instance");
    }
    (answer.status, said)
}

#[test]
fn a_foreign_thing_is_answered_like_one_that_does_not_exist() {
    let acme = Journey::of("isolation-a");
    let other = acme.neighbour("isolation-b");
    let definition = acme.define("secret-plan", &hold(json!({"maxAttempts": 1})));
    other.define("own", &hold(json!({"maxAttempts": 1})));
    let run = acme.create("secret-plan", holding(json!({"seconds": 60})));
    let run_id = text(&run["id"]);
    let instance = text(&run["workflowInstanceId"]);
    let (no_uuid_4, no_uuid_5, no_name) =
        ("0b0f5c1e-64a5-4d3a-9a5e-5d9f3e0c7a11", "0b0f5c1e-64a5-5d3a-9a5e-5d9f3e0c7a11", "no-such-plan");
    acme.in_status(&run_id, "RUNNING");
    let before = other.items();

    for (method, path, id, missing) in [
        ("GET", "/v1/workflow-runs/{}", run_id.as_str(), no_uuid_4),
        ("GET", "/v1/workflow-runs/{}?waitSeconds=1", &run_id, no_uuid_4),
        ("GET", "/v1/workflow-runs/{}/steps", &run_id, no_uuid_4),
        ("GET", "/v1/workflow-runs/{}/steps/hold", &run_id, no_uuid_4),
        ("GET", "/v1/workflow-runs/{}/deliveries", &run_id, no_uuid_4),
        ("POST", "/v1/workflow-runs/{}/cancel", &run_id, no_uuid_4),
        ("GET", "/v1/workflow-instances/{}", &instance, no_uuid_5),
        ("GET", "/v1/workflow-definitions/{}", &definition, no_uuid_4),
        ("GET", "/v1/workflow-definitions/{}", "secret-plan", no_name),
        ("GET", "/v1/workflow-definitions/{}/versions", &definition, no_uuid_4),
        ("GET", "/v1/workflow-definitions/{}/versions/1", "secret-plan", no_name),
        ("POST", "/v1/workflow-definitions/{}/versions/1/activate", &definition, no_uuid_4),
        ("POST", "/v1/workflow-definitions/{}/invoke", "secret-plan", no_name),
        ("POST", "/v1/workflow-definitions/{}/invoke", &definition, no_uuid_4),
    ] {
        let ask = |id: &str| other.request(method, &path.replace("{}", id), &[], "");
        let foreign = anonymous(&ask(id), id);
        assert_eq!(foreign.0, 404, "{method} {path}: {}", foreign.1);
        assert_eq!(foreign, anonymous(&ask(missing), missing), "{method} {path}");
    }
    let patch =
        |id: &str| other.request("PATCH", &format!("/v1/workflow-definitions/{id}"), &[], r#"{"description":"mine"}"#);
    assert_eq!(anonymous(&patch(&definition), &definition), anonymous(&patch(no_uuid_4), no_uuid_4));
    assert_eq!(patch(&definition).status, 404);

    // In a body, too.
    let by_instance = |id: &str| anonymous(&other.post("/v1/workflow-runs", json!({"workflowInstanceId": id})), id);
    let by_definition = |id: &str| {
        let body = json!({"workflowInstanceConfiguration": {"workflowDefinitionId": id}});
        anonymous(&other.post("/v1/workflow-runs", body), id)
    };
    let save = |id: &str| anonymous(&other.post("/v1/workflow-instances", json!({"workflowDefinitionId": id})), id);
    assert_eq!((by_instance(&instance).0, by_instance(&instance)), (400, by_instance(no_uuid_5)));
    assert_eq!((by_definition(&definition).0, by_definition(&definition)), (400, by_definition(no_uuid_4)));
    assert_eq!((by_definition("secret-plan").0, by_definition("secret-plan")), (400, by_definition(no_name)));
    assert_eq!((save(&definition).0, save(&definition)), (400, save(no_uuid_4)));

    // A filter finds nothing, a cursor opens nothing.
    let filtered = other.read(&format!("/v1/workflow-runs?workflowDefinitionId={definition}"));
    assert_eq!(filtered["runs"], json!([]));
    assert_eq!(other.read("/v1/workflow-runs")["runs"], json!([]));
    acme.create("secret-plan", holding(json!({})));
    let cursor = text(&acme.read("/v1/workflow-runs?limit=1")["nextCursor"]);
    let opened = other.get(&format!("/v1/workflow-runs?limit=1&cursor={cursor}"));
    assert_eq!(
        (opened.status, &opened.json()["errors"][0]["code"]),
        (400, &json!("invalid_cursor")),
        "{}",
        opened.text()
    );

    assert_eq!(other.items(), before, "nothing was written for the one who asked");
    assert_eq!(acme.run(&run_id)["status"], "RUNNING", "and nothing has happened to the other's run");
    // Nor is a name taken by somebody else.
    other.define("secret-plan", &hold(json!({"maxAttempts": 1})));
    assert_eq!(acme.post(&format!("{}/cancel", run_path(&run_id)), "").status, 202, "whose run it is may");
    assert_eq!(acme.ended(&run_id)["status"], "CANCELED");
}

#[test]
fn a_processor_for_others_is_answered_like_one_that_does_not_exist() {
    let acme = Journey::of("isolation-c");
    let operator = acme.neighbour(&acme.stack.tenant);
    let echo = operator.read("/v1/processors/echo");
    let declare = |tenants: Value| {
        let body = json!({"kind": "lambda", "functionArn": echo["functionArn"], "tenants": tenants});
        let declared = operator.request("PUT", "/v1/processors/not-for-all", &[], body.to_string());
        assert!(declared.status < 300, "{}", declared.text());
    };
    declare(json!(["isolation-d"]));
    assert_eq!(acme.post("/v1/workflow-definitions", json!({"name": "theirs"})).status, 201);
    let version = |key: &str| json!({"nodes": [{"id": "a", "type": "processor", "processor": key}]});
    let add = |journey: &Journey, key: &str| {
        anonymous(&journey.post("/v1/workflow-definitions/theirs/versions", version(key)), key)
    };
    let foreign = add(&acme, "not-for-all");
    assert_eq!(foreign.0, 400);
    assert_eq!(foreign, add(&acme, "not-there-yet"));
    let friend = acme.neighbour("isolation-d");
    friend.define("theirs", &version("not-for-all"));
    assert_eq!(friend.ended(&friend.start("theirs", json!({})))["status"], "SUCCEEDED");
    // What is withdrawn later does not run any more, although the version was good when it was made.
    declare(json!(["isolation-e"]));
    let refused = crate::world::eventually("the withdrawal to be known", || {
        let answer = friend.post("/v1/workflow-runs", crate::world::body("theirs", json!({})));
        (answer.status != 201).then_some(answer)
    });
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert_eq!(refused.json()["errors"][0]["code"], "unknown_processor");
}
