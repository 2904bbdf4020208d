//! The cap on what a run may spend, on its way to whoever spends.

use serde_json::{Value, json};

use crate::world::{Journey, body, instant, run_path, text};

/// A function and a nested state machine that give back what they were given.
fn echoes() -> Value {
    json!({"nodes": [{"id": "function", "type": "data-source", "processor": "echo"}, {"id": "machine", "type": "processor", "processor": "nested"}],
        "edges": [{"from": "function", "to": "machine"}]})
}

#[test]
fn the_cap_reaches_the_engine_and_every_processor_exactly_as_it_was_written() {
    let acme = Journey::of("budget");
    acme.define("echoes", &echoes());
    for (written, usd, micro_usd) in [
        ("0.1", "0.1", "100000"),
        ("1.25", "1.25", "1250000"),
        ("0.000001", "0.000001", "1"),
        ("1e-6", "0.000001", "1"),
        ("100000", "100000", "100000000000"),
        ("0", "null", "null"),
        ("", "null", "null"),
    ] {
        // Put in as text: what is tested is how the number was written.
        let mut request = body("echoes", json!({"name": "n"})).to_string();
        if !written.is_empty() {
            request = request.replacen('{', &format!("{{\"executionBudgetUsd\":{written},"), 1);
        }
        let created = acme.post("/v1/workflow-runs", &request);
        assert_eq!(created.status, 201, "{request}: {}", created.text());
        let run = acme.ended(&text(&created.json()["id"]));
        assert_eq!(run["status"], "SUCCEEDED", "{run}");
        assert_eq!(run["executionBudgetUsd"].to_string(), usd, "{written}");

        let input = text(&acme.execution(&run)["input"]);
        let parsed: Value = serde_json::from_str(&input).expect("the execution's input");
        let field = |name: &str| parsed.get(name).map(Value::to_string);
        assert_eq!(field("executionBudgetUsd").as_deref(), Some(usd), "{written}: {input}");
        assert_eq!(field("executionBudgetMicroUsd").as_deref(), Some(micro_usd), "{written}: {input}");
        // The compute node has no ceiling of its own, and says so.
        assert_eq!(field("computeNodeBudgetUsd").as_deref(), Some("null"), "{input}");
        assert!(input.contains(&format!("\"executionBudgetUsd\":{usd},")), "{input}");
        for node in ["function", "machine"] {
            let given = acme.step(&text(&run["id"]), node)["result"].clone();
            let number = |text: &str| serde_json::from_str::<Value>(text).ok().and_then(|number| number.as_f64());
            // The same number, however it is written on the way.
            assert_eq!(given["executionBudgetUsd"].as_f64(), number(usd), "{node}: {given}");
            assert_eq!(given["executionBudgetMicroUsd"].to_string(), micro_usd, "{node}: {given}");
            assert_eq!(given["executionBudgetUsd"].is_null(), usd == "null", "{node}: {given}");
        }
    }
}

#[test]
fn a_compute_nodes_own_ceiling_stands_beside_the_callers_cap() {
    let acme = Journey::of("ceiling");
    acme.define("instant", &instant());
    let operator = acme.neighbour(&acme.stack.tenant);
    let node = json!({"tenants": ["ceiling"], "maxBudgetUsd": 2.5, "registry": {}, "layers": {"models": "READY", "later": "CREATING"}});
    let declared = operator.request("PUT", "/v1/compute-nodes/thrifty", &[], node.to_string());
    assert!(declared.status < 300, "{}", declared.text());
    let request = |layers: Value| {
        json!({
            "workflowInstanceConfiguration": {"workflowDefinitionId": "instant", "computeNodeId": "thrifty"},
            "executionBudgetUsd": 1,
            "layers": layers,
        })
    };
    let created = acme.post("/v1/workflow-runs", request(json!(["models"])));
    assert_eq!(created.status, 201, "{}", created.text());
    let run = acme.ended(&text(&created.json()["id"]));
    let input: Value = serde_json::from_str(&text(&acme.execution(&run)["input"])).expect("the execution's input");
    assert_eq!((&input["executionBudgetUsd"], &input["executionBudgetMicroUsd"]), (&json!(1), &json!(1_000_000)));
    assert_eq!(
        (input["computeNodeBudgetUsd"].to_string(), &input["computeNodeBudgetMicroUsd"]),
        ("2.5".to_owned(), &json!(2_500_000))
    );
    assert_eq!(acme.snapshot(&text(&run["id"]))["layers"], json!(["models"]));

    let refused = acme.post("/v1/workflow-runs", request(json!(["models", "later", "never"])));
    let errors = &refused.json()["errors"];
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert_eq!((&errors[0]["pointer"], &errors[0]["code"]), (&json!("/layers/1"), &json!("layer_not_ready")));
    assert_eq!((&errors[1]["pointer"], &errors[1]["code"]), (&json!("/layers/2"), &json!("not_found")));
    // Whoever the node is not for is told what is told of one that does not exist.
    let stranger = acme.neighbour("ceiling-stranger");
    stranger.define("instant", &instant());
    let refused = stranger.post("/v1/workflow-runs", request(json!([])));
    assert_eq!(refused.json()["errors"][0]["code"], "not_found", "{}", refused.text());
    assert!(stranger.get(&run_path(&text(&run["id"]))).status == 404);
}
