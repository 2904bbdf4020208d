//! Runs of the runner's second generation, whose nodes start when what they wait for has ended: conditions, loops, fan-out,
//! failures that may be, starts in the middle, waits that run out, pauses.

use crate::world::{Journey, asking, body, errors, eventually, hold_node, is_terminal, list, run_path, text};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn echo(id: &str, more: Value) -> Value {
    let mut node = json!({"id": id, "type": "processor", "processor": "echo"});
    if let (Some(node), Value::Object(more)) = (node.as_object_mut(), more) {
        node.extend(more);
    }
    node
}

fn edges(edges: &[(&str, &str)]) -> Value {
    edges.iter().map(|(from, to)| json!({"from": from, "to": to})).collect()
}

fn statuses(journey: &Journey, run_id: &str) -> BTreeMap<String, String> {
    journey.steps(run_id).iter().map(|step| (text(&step["nodeId"]), text(&step["status"]))).collect()
}

fn seconds_between(from: &Value, to: &Value) -> f64 {
    let at = |value: &Value| value.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok()).expect("a time");
    at(to).duration_since(at(from)).as_secs_f64()
}

#[test]
fn a_chain_beside_a_slow_node_takes_the_longer_of_the_two() {
    let acme = Journey::of("workers-makespan");
    let mut nodes = vec![hold_node("slow", Value::Null)];
    let mut chain: Vec<String> = (0..10).map(|index| format!("n{index}")).collect();
    nodes.extend(chain.iter().map(|id| hold_node(id, Value::Null)));
    nodes.iter_mut().for_each(|node| drop(node.as_object_mut().and_then(|node| node.remove("retry"))));
    nodes.push(echo("last", json!({})));
    let mut pairs: Vec<(&str, &str)> = chain.windows(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
    pairs.extend([("slow", "last"), ("n9", "last")]);
    acme.define("ladder", &json!({"nodes": nodes, "edges": edges(&pairs)}));
    let params: BTreeMap<&str, Value> = chain.iter().map(|id| (id.as_str(), json!({"seconds": 1}))).collect();
    let mut params = json!(params);
    params["slow"] = json!({"seconds": 10});
    let run_id = acme.start("ladder", json!({"processorParams": params}));
    let run = acme.ended(&run_id);
    assert_eq!(run["status"], "SUCCEEDED", "{run}");
    // A stage after the other would take ten times as long as the slowest node of each: 20 s and more.
    let took = seconds_between(&run["startedAt"], &run["completedAt"]);
    assert!(took < 17.0, "{took} s");
    let begun: BTreeMap<String, Value> =
        acme.steps(&run_id).into_iter().map(|step| (text(&step["nodeId"]), step)).collect();
    assert!(seconds_between(&begun["n9"]["startedAt"], &begun["slow"]["endedAt"]) > -5.0, "{begun:?}");
    chain.push("slow".to_owned());
    assert!(chain.iter().all(|id| seconds_between(&begun[id]["endedAt"], &begun["last"]["startedAt"]) >= 0.0));
}

#[test]
fn a_condition_that_does_not_hold_skips_its_node_and_no_other() {
    let acme = Journey::of("workers-when");
    let when = json!({"any": [
        {"pointer": "/results/ask/approved", "in": ["{{word}}", true]},
        {"not": {"pointer": "/input/amount", "lessThan": 100}},
    ]});
    let version = json!({
        "nodes": [asking()["nodes"][0], echo("pay", json!({"when": when})), echo("tell", json!({}))],
        "edges": edges(&[("ask", "pay"), ("pay", "tell")]),
    });
    acme.define("payment", &version);
    for (approved, amount, skipped) in
        [(json!("yes"), 5, false), (json!("no"), 5, true), (json!("no"), 100, false), (json!(true), 5, false)]
    {
        let fields = json!({"input": {"amount": amount}, "variables": {"word": "yes"}});
        let run_id = acme.start_asking("payment", fields);
        acme.tell(&run_id, "data", json!({"nodeId": "ask", "data": {"approved": approved}}), 202);
        assert_eq!(acme.ended(&run_id)["status"], "SUCCEEDED");
        let expected = if skipped { "SKIPPED" } else { "SUCCEEDED" };
        assert_eq!(
            (statuses(&acme, &run_id)["pay"].as_str(), acme.step(&run_id, "pay")["status"].as_str()),
            (expected, Some(expected))
        );
        let given = acme.step(&run_id, "tell")["result"]["inputs"].clone();
        assert_eq!(given.get("pay").is_none(), skipped, "{given}");
    }
}

#[test]
fn a_loop_repeats_its_node_until_it_is_over_or_ends_its_run() {
    let acme = Journey::of("workers-loop");
    let until =
        |n: u32| json!({"until": {"pointer": "/results/again/iteration", "greaterThan": n}, "maxIterations": 3});
    acme.define("good", &json!({"nodes": [echo("again", json!({"loop": until(1)}))]}));
    acme.define("endless", &json!({"nodes": [echo("again", json!({"loop": until(5)}))]}));
    let run_id = acme.start("good", json!({}));
    assert_eq!(acme.ended(&run_id)["status"], "SUCCEEDED");
    let step = acme.step(&run_id, "again");
    assert_eq!((&step["iterations"], &step["result"]["iteration"]), (&json!(2), &json!(2)), "{step}");
    let path = format!("{}/steps/again/iterations", run_path(&run_id));
    let first = acme.read(&format!("{path}/1"));
    assert_eq!(
        (&first["iteration"], &first["status"], &first["result"]["iteration"]),
        (&json!(1), &json!("SUCCEEDED"), &json!(1))
    );
    for none in ["0", "2", "01", "x"] {
        assert_eq!(acme.get(&format!("{path}/{none}")).status, 404, "{none}");
    }
    let run = acme.ended(&acme.start("endless", json!({})));
    assert_eq!((&run["status"], &run["terminationReason"]), (&json!("FAILED"), &json!("looping_risk")), "{run}");
    assert_eq!(run["error"]["code"], "Sluice.LoopingRisk", "{run}");
}

#[test]
fn a_fan_out_gives_the_results_of_its_items_in_their_order() {
    let acme = Journey::of("workers-fan");
    let each = echo("each", json!({"forEach": {"items": "/input/list", "maxConcurrency": 4, "maxItems": 20}}));
    let version = json!({"nodes": [each, echo("sum", json!({}))], "edges": edges(&[("each", "sum")])});
    acme.define("fan", &version);
    let items: Vec<Value> = (0..12).map(|n| json!({"n": n})).collect();
    let run_id = acme.start("fan", json!({"input": {"list": items}}));
    assert_eq!(acme.ended(&run_id)["status"], "SUCCEEDED");
    let step = acme.step(&run_id, "each");
    assert_eq!(step["items"], json!({"total": 12, "done": 12, "failed": 0}), "{step}");
    let given = list(&acme.step(&run_id, "sum")["result"]["inputs"]["each"]);
    let of = |part: &Value| (part["item"].clone(), part["itemIndex"].clone());
    let expected: Vec<_> = items.iter().enumerate().map(|(index, item)| (item.clone(), json!(index))).collect();
    assert_eq!(given.iter().map(of).collect::<Vec<_>>(), expected);
    let part = acme.read(&format!("{}/steps/each/items/11", run_path(&run_id)));
    assert_eq!((&part["itemIndex"], &part["result"]["item"]), (&json!(11), &items[11]), "{part}");
    assert_eq!(acme.steps(&run_id).len(), 2, "an item is no step");
    for (input, error) in
        [(json!({"list": {"n": 1}}), "Sluice.NotAList"), (json!({"list": vec![0; 21]}), "Sluice.TooManyItems")]
    {
        let run = acme.ended(&acme.start("fan", json!({"input": input})));
        assert_eq!((&run["status"], &run["error"]["code"]), (&json!("FAILED"), &json!(error)), "{run}");
    }
}

#[test]
fn a_failure_that_may_be_is_shown_and_read_as_null() {
    let acme = Journey::of("workers-failures");
    let mut bad = hold_node("bad", json!({"maxAttempts": 1}));
    bad["onFailure"] = json!("continue");
    let version = json!({"nodes": [bad, echo("after", json!({}))], "edges": edges(&[("bad", "after")])});
    acme.define("forgiving", &version);
    let run_id = acme.start("forgiving", json!({"processorParams": {"bad": {"failWith": "Broken"}}}));
    assert_eq!(acme.ended(&run_id)["status"], "SUCCEEDED");
    let step = acme.step(&run_id, "bad");
    assert_eq!((&step["status"], &step["error"]["code"]), (&json!("FAILED"), &json!("Broken")), "{step}");
    let after = &acme.step(&run_id, "after")["result"];
    assert_eq!(
        (&after["inputs"]["bad"], &after["errors"]["bad"]["error"]),
        (&Value::Null, &json!("Broken")),
        "{after}"
    );

    let bad = hold_node("bad", json!({"maxAttempts": 1}));
    let mut version = json!({
        "nodes": [bad, echo("after", json!({})), asking()["nodes"][0], echo("behind", json!({}))],
        "edges": edges(&[("bad", "after"), ("ask", "behind")]),
    });
    for fail_fast in [true, false] {
        version["failFast"] = json!(fail_fast);
        let name = format!("fast-{fail_fast}");
        acme.define(&name, &version);
        let fields = json!({"processorParams": {"bad": {"failWith": "Broken", "seconds": 3}}});
        let run_id = acme.start_asking(&name, fields);
        if !fail_fast {
            eventually("the failure", || (acme.step(&run_id, "bad")["status"] == "FAILED").then_some(()));
            acme.tell(&run_id, "data", json!({"nodeId": "ask", "data": {"approved": true}}), 202);
        }
        let run = acme.ended(&run_id);
        assert_eq!((&run["status"], &run["error"]["code"]), (&json!("FAILED"), &json!("Broken")), "{run}");
        let behind = if fail_fast { "CANCELED" } else { "SUCCEEDED" };
        let statuses = statuses(&acme, &run_id);
        assert_eq!((statuses["after"].as_str(), statuses["behind"].as_str()), ("CANCELED", behind), "{statuses:?}");
    }
}

#[test]
fn a_run_can_start_in_the_middle() {
    let acme = Journey::of("workers-middle");
    let mut version = asking();
    version["nodes"].as_array_mut().expect("nodes").push(echo("apart", json!({})));
    acme.define("asking", &version);
    let start = r#"{"fromNodeId": "work", "results": {"ask": {"approved": 1.10}}}"#;
    let start = serde_json::from_str(start).expect("JSON");
    let run_id = acme.start("asking", start);
    assert_eq!(acme.ended(&run_id)["status"], "SUCCEEDED");
    assert_eq!(acme.step(&run_id, "ask")["result"]["approved"].to_string(), "1.10");
    assert_eq!(acme.step(&run_id, "work")["result"]["inputs"]["ask"]["approved"].as_f64(), Some(1.1));
    let statuses = statuses(&acme, &run_id);
    assert_eq!((statuses["ask"].as_str(), statuses["apart"].as_str()), ("SUCCEEDED", "SKIPPED"), "{statuses:?}");
    for (start, at) in [
        (json!({"fromNodeId": "nobody"}), "/fromNodeId"),
        (json!({"fromNodeId": "work", "results": {"apart": 1}}), "/results/apart"),
        (json!({"fromNodeId": "work", "results": {"ask": {"no": 1}}}), "/results/ask"),
        (json!({"results": {"ask": {"approved": 1}}}), "/results"),
    ] {
        let refused = acme.post("/v1/workflow-runs", body("asking", start.clone()));
        assert!(errors(&refused, 400).iter().any(|error| error.contains(at)), "{start}: {}", refused.text());
    }
}

#[test]
fn a_wait_that_nobody_ends_runs_out() {
    let acme = Journey::of("workers-expiry");
    for (name, on_expiry, expected) in [
        ("fails", json!("fail"), ("FAILED", "FAILED")),
        ("continues", json!("continue"), ("SUCCEEDED", "FAILED")),
        ("answers", json!({"answer": {"approved": "late"}}), ("SUCCEEDED", "SUCCEEDED")),
    ] {
        let mut version = asking();
        version["nodes"][0]["expiresAfterSeconds"] = json!(1);
        version["nodes"][0]["onExpiry"] = on_expiry;
        acme.define(name, &version);
        let run_id = acme.start(name, json!({}));
        let run = eventually("the wait to run out", || {
            acme.reconcile();
            let run = acme.run(&run_id);
            is_terminal(&run).then_some(run)
        });
        assert_eq!(
            (run["status"].as_str(), acme.step(&run_id, "ask")["status"].as_str()),
            (Some(expected.0), Some(expected.1)),
            "{run}"
        );
        if name == "answers" {
            assert_eq!(acme.step(&run_id, "work")["result"]["inputs"]["ask"]["approved"], "late");
        }
    }
}

#[test]
fn an_attempt_that_takes_too_long_has_failed() {
    let acme = Journey::of("workers-timeout");
    let mut node = hold_node("hold", json!({"maxAttempts": 1}));
    node["timeoutSeconds"] = json!(2);
    acme.define("short", &json!({"nodes": [node]}));
    let run = acme.ended(&acme.start("short", json!({"processorParams": {"hold": {"seconds": 12}}})));
    assert_eq!((&run["status"], &run["error"]["code"]), (&json!("FAILED"), &json!("States.Timeout")), "{run}");
}

#[test]
fn a_pause_takes_effect_before_the_next_node_and_says_what_is_under_way() {
    let acme = Journey::of("workers-pause");
    let version = json!({
        "nodes": [hold_node("hold", json!({"maxAttempts": 1})), echo("then", json!({}))],
        "edges": edges(&[("hold", "then")]),
    });
    acme.define("two", &version);
    let run_id = acme.start("two", json!({"processorParams": {"hold": {"seconds": 4}}}));
    eventually("the first node", || (acme.step(&run_id, "hold")["status"] == "RUNNING").then_some(()));
    let paused = acme.tell(&run_id, "pause", "", 202);
    assert_eq!((&paused["underWay"], &paused["status"]), (&json!(["hold"]), &json!("RUNNING")), "{paused}");
    acme.in_status(&run_id, "PAUSED");
    assert_eq!(statuses(&acme, &run_id)["then"], "PENDING");
    let again = acme.tell(&run_id, "pause", "", 200);
    assert_eq!((&again["underWay"], &again["status"]), (&json!([]), &json!("PAUSED")), "{again}");
    acme.tell(&run_id, "resume", "", 200);
    assert_eq!(acme.ended(&run_id)["status"], "SUCCEEDED");
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_written() {
    let acme = Journey::of("workers-refused");
    acme.define("any", &json!({"nodes": [echo("a", json!({})), echo("b", json!({}))], "edges": edges(&[("a", "b")])}));
    for (more, at) in [
        (json!({"when": {"pointer": "/results/nobody/n", "exists": true}}), "when/pointer"),
        (json!({"when": {"pointer": "/results/b/n", "exists": true}}), "when/pointer"),
        (json!({"when": {"pointer": "/results/c/n", "exists": true}}), "when/pointer"),
        (json!({"when": {"pointer": "/input", "like": 1}}), "when"),
        (json!({"when": {"pointer": "/input", "lessThan": {"a": 1}}}), "when/lessThan"),
        (json!({"loop": {"until": {"pointer": "/results/c/n", "exists": true}, "maxIterations": 3}}), "loop/until"),
        (json!({"loop": {"until": {"pointer": "/input", "exists": true}, "maxIterations": 0}}), "loop/maxIterations"),
        (json!({"loop": {"until": {"pointer": "/input", "exists": true}, "maxIterations": 101}}), "loop/maxIterations"),
        (json!({"forEach": {"items": "/results/c", "maxItems": 3}}), "forEach/items"),
        (json!({"forEach": {"items": [1, 2], "maxConcurrency": 41}}), "forEach/maxConcurrency"),
        (json!({"forEach": {"items": [1, 2], "maxItems": 1001}}), "forEach/maxItems"),
        (json!({"timeoutSeconds": 0}), "timeoutSeconds"),
        (json!({"expiresAfterSeconds": 5}), "expiresAfterSeconds"),
        (json!({"onFailure": "ignore"}), "onFailure"),
    ] {
        let version = json!({
            "nodes": [echo("a", json!({})), echo("b", more.clone()), echo("c", json!({}))],
            "edges": edges(&[("a", "b"), ("b", "c")]),
        });
        let refused = acme.post("/v1/workflow-definitions/any/versions", version);
        let told = errors(&refused, 400);
        assert!(told.iter().any(|error| error.contains(&format!("/nodes/1/{at}"))), "{more}: {}", refused.text());
    }
}

#[test]
fn a_run_under_the_first_machine_ends_under_it() {
    let acme = Journey::of("workers-first");
    let first = acme.stack.runner_arn.trim_end_matches("-2");
    assert_ne!(first, acme.stack.runner_arn);
    let node = json!({"stateMachineArn": first, "tenants": ["workers-first"], "registry": {}, "layers": {}, "maxBudgetUsd": null});
    let put = acme.operator().put("/v1/compute-nodes/first", node);
    assert!(put.status == 200 || put.status == 201, "{}", put.text());
    acme.define("asking", &asking());
    let create = |name: &str| {
        let configuration = json!({"workflowDefinitionId": name, "computeNodeId": "first"});
        acme.post("/v1/workflow-runs", json!({"workflowInstanceConfiguration": configuration}))
    };
    let created = create("asking");
    assert_eq!(created.status, 201, "{}", created.text());
    let run_id = text(&created.json()["id"]);
    acme.waiting(&run_id, "ask", 1);
    let paused = acme.tell(&run_id, "pause", "", 202);
    assert!(paused.get("underWay").is_none(), "{paused}");
    acme.tell(&run_id, "data", json!({"nodeId": "ask", "data": {"approved": true}}), 202);
    acme.in_status(&run_id, "PAUSED");
    acme.post(&format!("{}/resume", run_path(&run_id)), "");
    let run = acme.ended(&run_id);
    assert_eq!((&run["status"], &run["stage"]), (&json!("SUCCEEDED"), &json!(1)), "{run}");
    assert!(text(&run["executionArn"]).contains("_runner:"), "{run}");
    // What that machine cannot do is refused before anything is written.
    let when = json!({"pointer": "/input", "exists": true});
    acme.define("ruled", &json!({"nodes": [echo("a", json!({"when": when}))]}));
    assert!(errors(&create("ruled"), 400).iter().any(|error| error.ends_with("not_available")));
}
