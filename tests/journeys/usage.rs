//! What a run's LLM calls used and cost, and the end of a run that has spent more than it may.

use serde_json::{Value, json};

use crate::world::{Journey, PATIENCE, asking, errors, list, refused, run_path, text};

fn call(id: &str, node: &str, model: &str, cost: &str, latency_ms: u64) -> String {
    format!(
        r#"{{"callId":"{id}","nodeId":"{node}","provider":"acme","model":"{model}","inputTokens":100,"outputTokens":20,
            "cachedTokens":5,"costUsd":{cost},"latencyMs":{latency_ms}}}"#
    )
}

/// Written out, so that a cost is sent as it stands here.
fn calls(calls: &[String]) -> String {
    format!(r#"{{"usage":[{}]}}"#, calls.join(","))
}

/// A version whose nodes say of LLM calls what their parameter `usage` tells them to, one after the other.
fn spending(nodes: &[&str]) -> Value {
    let node = |id: &&str| {
        json!({
            "id": id, "type": "processor", "processor": "spend", "retry": {"maxAttempts": 3, "intervalSeconds": 1},
            "parameters": {"usage": {"type": "array"}},
        })
    };
    json!({
        "nodes": nodes.iter().map(node).collect::<Vec<_>>(),
        "edges": nodes.windows(2).map(|pair| json!({"from": pair[0], "to": pair[1]})).collect::<Vec<_>>(),
    })
}

/// The run once its end has been told at the tenant's hook; what was told comes with it.
fn told(journey: &Journey, run_id: &str, webhooks: usize) -> (Value, Value) {
    let run = journey.ended(run_id);
    let received = journey.webhooks(webhooks, PATIENCE);
    let said = received.iter().map(|webhook| webhook.json()).find(|said| said["runId"] == *run_id);
    (run, said.expect("a webhook of the run"))
}

#[test]
fn a_reported_call_counts_once_in_every_total() {
    let acme = Journey::of("usage");
    acme.define("asking", &asking());
    let run_id = acme.start_asking("asking", json!({"completionCallbackUrl": acme.hook()}));
    let path = format!("{}/usage", run_path(&run_id));
    let nothing = acme.read(&path);
    assert_eq!((&nothing["total"]["calls"], &nothing["items"]), (&json!(0), &json!([])));

    let first = calls(&[call("1", "ask", "small", "0.1", 10), call("2", "ask", "large", "0.2", 40)]);
    let recorded = acme.tell(&run_id, "usage", &first, 200);
    let outline = |said: &Value| json!([said["recorded"], said["repeated"], said["total"]["calls"], said["stopping"]]);
    assert_eq!(outline(&recorded), json!([2, 0, 2, false]));
    // The same calls again, whatever they say now; and a new one twice in one report.
    let again = calls(&[call("1", "ask", "small", "9", 1), call("2", "work", "large", "9", 1)]);
    assert_eq!(outline(&acme.tell(&run_id, "usage", &again, 200)), json!([0, 2, 2, false]));
    let bare = r#"{"callId":"3","provider":"other","model":"small"}"#.to_owned();
    let third = calls(&[bare.clone(), bare]);
    assert_eq!(outline(&acme.tell(&run_id, "usage", &third, 200)), json!([1, 1, 3, false]));

    let usage = acme.read(&path);
    let totals = |count: &Value| {
        json!([
            count["calls"],
            count["inputTokens"],
            count["outputTokens"],
            count["cachedTokens"],
            count["costUsd"],
            count["latencyMsAverage"],
            count["latencyMsMax"]
        ])
        .to_string()
    };
    // To the last digit, where floating point would have 0.30000000000000004.
    assert_eq!(totals(&usage["total"]), "[3,200,40,10,0.3,16,40]");
    assert_eq!(totals(&usage["byNode"]["ask"]), "[2,200,40,10,0.3,25,40]");
    assert_eq!(totals(&usage["byProvider"]["acme"]), "[2,200,40,10,0.3,25,40]");
    assert_eq!(totals(&usage["byModel"]["small"]), "[2,100,20,5,0.1,5,10]");
    let names = |field: &str| usage[field].as_object().expect("totals by name").keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        (names("byNode"), names("byProvider")),
        (vec!["ask".to_owned()], vec!["acme".to_owned(), "other".to_owned()])
    );

    // Page by page, every call comes once.
    let pages: Vec<Vec<Value>> =
        acme.pages(&format!("{path}?limit=2")).iter().map(|page| list(&page["items"])).collect();
    assert!(pages.iter().all(|items| items.len() <= 2));
    let mut seen: Vec<String> = pages.iter().flatten().map(|item| text(&item["callId"])).collect();
    seen.sort();
    assert_eq!(seen, ["1", "2", "3"]);
    let large = list(&usage["items"]).into_iter().find(|item| item["callId"] == "2").expect("the call");
    assert_eq!(
        (&large["nodeId"], large["costUsd"].to_string()),
        (&json!("ask"), "0.2".to_owned()),
        "the first report counts"
    );

    acme.answered(&run_id);
    let (run, said) = told(&acme, &run_id, 1);
    assert_eq!(run["status"], "SUCCEEDED");
    assert_eq!(totals(&said["usage"]), "[3,200,40,10,0.3,16,40]");
    // What comes late is counted still; the message was sent.
    assert_eq!(
        outline(&acme.tell(&run_id, "usage", calls(&[call("4", "work", "small", "1", 1)]), 200)),
        json!([1, 0, 4, false])
    );
}

#[test]
fn usage_that_cannot_be_is_refused_with_its_pointers() {
    let acme = Journey::of("usage-refused");
    acme.define("asking", &asking());
    let run_id = acme.start_asking("asking", json!({}));
    let before = acme.items();
    let path = format!("{}/usage", run_path(&run_id));
    for (request, expected) in [
        (calls(&[]), vec!["/usage out_of_range"]),
        (calls(&vec![call("c", "ask", "m", "1", 1); 51]), vec!["/usage too_many"]),
        (calls(&[call("1", "nobody", "m", "1", 1)]), vec!["/usage/0/nodeId unknown_node"]),
        (calls(&[call("1", "ask", "m", "-1", 1)]), vec!["/usage/0/costUsd out_of_range"]),
        (calls(&[call("1", "ask", "m", "\"1\"", 1)]), vec!["/usage/0/costUsd wrong_type"]),
        (calls(&[call("1", "ask", "m", "100001", 1)]), vec!["/usage/0/costUsd out_of_range"]),
        (calls(&[call("", "ask", "", "1", 1)]), vec!["/usage/0/callId out_of_range", "/usage/0/model out_of_range"]),
        (
            calls(&[call("1", "ask", "m", "1", 1), r#"{"provider":"p","model":"m"}"#.to_owned()]),
            vec!["/usage/1/callId missing_field"],
        ),
        (calls(&[r#"{"callId":"1","provider":"p"}"#.to_owned()]), vec!["/usage/0/model missing_field"]),
        (
            calls(&[r#"{"callId":"1","provider":"p","model":"m","inputTokens":-1}"#.to_owned()]),
            vec!["/usage/0/inputTokens out_of_range"],
        ),
        (
            calls(&[r#"{"callId":"1","provider":"p","model":"m","tokens":1}"#.to_owned()]),
            vec!["/usage/0/tokens unknown_field"],
        ),
    ] {
        assert_eq!(
            errors(&acme.post(&path, &request), 400),
            expected,
            "{}",
            request.chars().take(300).collect::<String>()
        );
    }
    assert_eq!(acme.items(), before, "nothing was written");
    acme.canceled(&run_id);
}

#[test]
fn what_processors_tell_in_their_results_is_summed_by_node() {
    let acme = Journey::of("usage-results");
    acme.define("two-steps", &spending(&["write", "review"]));
    let call = |model: &str, cost: f64| json!({"provider": "acme", "model": model, "inputTokens": 10, "costUsd": cost, "latencyMs": 100});
    let run = acme.create(
        "two-steps",
        json!({
            "completionCallbackUrl": acme.hook(),
            "executionBudgetUsd": 1,
            "processorParams": {
                "write": {"usage": [call("large", 0.5), call("small", 0.25)]},
                "review": {"usage": [call("small", 0.25)]},
            },
        }),
    );
    let run_id = text(&run["id"]);
    let (run, said) = told(&acme, &run_id, 1);
    assert_eq!(run["status"], "SUCCEEDED", "exactly the cap is within it: {run}");
    let usage = acme.read(&format!("{}/usage", run_path(&run_id)));
    let cost = |of: &Value| json!([of["calls"], of["costUsd"], of["latencyMsAverage"]]).to_string();
    assert_eq!(cost(&usage["total"]), "[3,1,100]");
    assert_eq!(
        (cost(&usage["byNode"]["write"]), cost(&usage["byNode"]["review"])),
        ("[2,0.75,100]".to_owned(), "[1,0.25,100]".to_owned())
    );
    assert_eq!(cost(&usage["byModel"]["small"]), "[2,0.5,100]");
    assert_eq!(said["usage"], usage["total"]);
    // The result stays as its processor gave it.
    assert_eq!(acme.step(&run_id, "review")["result"]["usage"], json!([call("small", 0.25)]));
}

#[test]
fn a_run_that_has_spent_more_than_it_may_is_stopped() {
    let acme = Journey::of("usage-budget");
    acme.define("asking", &asking());
    let request = json!({"executionBudgetUsd": 0.5, "completionCallbackUrl": acme.hook()});
    let run_id = acme.start_asking("asking", request);
    let within = acme.tell(&run_id, "usage", calls(&[call("1", "ask", "m", "0.5", 1)]), 200);
    assert_eq!(within["stopping"], false, "{within}");
    let above = acme.tell(&run_id, "usage", calls(&[call("2", "ask", "m", "0.000001", 1)]), 200);
    assert_eq!((&above["stopping"], above["total"]["costUsd"].to_string()), (&json!(true), "0.500001".to_owned()));
    let (run, said) = told(&acme, &run_id, 1);
    for told in [&run, &said] {
        assert_eq!(
            (&told["status"], &told["terminationReason"]),
            (&json!("FAILED"), &json!("budget_exceeded")),
            "{told}"
        );
    }
    assert_eq!(acme.execution(&run)["status"], "ABORTED");
    assert_eq!(said["usage"]["costUsd"].to_string(), "0.500001");
    assert_eq!(said["executionBudgetUsd"].to_string(), "0.5");

    // By its own processors, and by the compute node's ceiling, which is lower than the caller's.
    let thrifty = json!({"tenants": [acme.tenant], "maxBudgetUsd": 0.25, "registry": {}});
    assert_eq!(acme.operator().put("/v1/compute-nodes/usage-budget", thrifty).status, 200);
    acme.define("two-steps", &spending(&["write", "review"]));
    let spent = json!([{"provider": "acme", "model": "large", "costUsd": 0.3}]);
    let created = acme.post(
        "/v1/workflow-runs",
        json!({
            "workflowInstanceConfiguration": {"workflowDefinitionId": "two-steps", "computeNodeId": "usage-budget"},
            "executionBudgetUsd": 5,
            "completionCallbackUrl": acme.hook(),
            "processorParams": {"write": {"usage": spent}},
        }),
    );
    assert_eq!(created.status, 201, "{}", created.text());
    assert_eq!(created.json()["computeNodeBudgetUsd"].to_string(), "0.25");
    let run_id = text(&created.json()["id"]);
    let (run, said) = told(&acme, &run_id, 2);
    assert_eq!((&run["status"], &run["terminationReason"]), (&json!("FAILED"), &json!("budget_exceeded")), "{run}");
    assert_eq!(
        (&said["terminationReason"], said["usage"]["costUsd"].to_string()),
        (&json!("budget_exceeded"), "0.3".to_owned())
    );
    assert_eq!(acme.step(&run_id, "review")["attempt"], 0, "nothing more is spent");
}

#[test]
fn usage_that_cannot_be_recorded_fails_the_node_for_good() {
    let acme = Journey::of("usage-invalid");
    acme.define("one-step", &spending(&["write"]));
    for usage in [
        json!([{"provider": "acme"}]),
        json!([{"provider": "acme", "model": "m", "costUsd": -1}]),
        json!([{"provider": "acme", "model": "m", "nodeId": "nobody"}]),
    ] {
        let run_id = acme.start("one-step", json!({"processorParams": {"write": {"usage": usage}}}));
        let run = acme.ended(&run_id);
        assert_eq!((&run["status"], &run["terminationReason"]), (&json!("FAILED"), &json!("execution_error")), "{run}");
        assert_eq!(run["error"]["code"], "Sluice.InvalidUsage", "{run}");
        let step = acme.step(&run_id, "write");
        assert_eq!(
            (&step["status"], &step["attempt"]),
            (&json!("FAILED"), &json!(1)),
            "another attempt would spend again: {step}"
        );
        assert_eq!(step["error"]["code"], "Sluice.InvalidUsage");
        assert_eq!(acme.read(&format!("{}/usage", run_path(&run_id)))["total"]["calls"], 0);
    }
    // Nothing, and what is no list, says nothing about usage.
    for params in [json!({}), json!({"usage": []})] {
        let run_id = acme.start("one-step", json!({"processorParams": {"write": params}}));
        assert_eq!(acme.ended(&run_id)["status"], "SUCCEEDED");
    }
    let missing = acme.get(&format!("{}/usage", run_path("0b0f5c1e-64a5-4d3a-9a5e-5d9f3e0c7a11")));
    assert_eq!(refused(&missing), (404, "not_found".to_owned()));
}
