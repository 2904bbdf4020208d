//! What workers are told, word by word.

use serde_json::{Value, json};
use sluice_core::board::Unit;
use sluice_core::id::NodeId;
use sluice_core::limits::TOLD_BYTES;
use sluice_core::run::RunError;
use sluice_core::snapshot::{Snapshot, SnapshotNode};
use sluice_core::work::{Before, Work, too_large};
use sluice_testkit::contract::sample;
use std::collections::BTreeMap;

const ONCE: Unit = Unit { node: 0, item: None, iteration: 1, attempt: 1 };

fn snapshot() -> Snapshot {
    sample::snapshot(&sample::run(&sample::mine(), 1, sample::noon()))
}

fn node(run: Value, more: Value) -> SnapshotNode {
    let mut node = json!({
        "nodeId": "report", "nodeType": "processor", "run": run, "maxAttempts": 1, "retryIntervalSeconds": 1,
        "retryBackoffRate": 2, "params": {"top": 3}, "dependsOn": ["words", "people", "gone"], "dataSource": null,
        "dataTarget": null,
    });
    let (Value::Object(node_fields), Value::Object(more)) = (&mut node, more) else { panic!("objects") };
    node_fields.extend(more);
    serde_json::from_value(node).expect("a node")
}

fn function() -> Value {
    json!({"kind": "lambda", "functionArn": "arn:aws:lambda:eu-west-1:123456789012:function:f:live"})
}

fn id(text: &str) -> NodeId {
    text.parse().expect("an id")
}

fn told(node: &SnapshotNode, unit: Unit, before: &BTreeMap<NodeId, Before>, item: Option<&Value>) -> String {
    let snapshot = snapshot();
    let work = Work { snapshot: &snapshot, node, unit, seconds: 0, before, item };
    work.told().expect("JSON").expect("a worker does it")
}

fn read(told: &str) -> Value {
    serde_json::from_str(told).expect("JSON")
}

#[test]
fn a_processor_is_handed_what_came_before_it_as_it_was_written() {
    let before = BTreeMap::from([
        (id("words"), Before::Result(r#"{ "n":1.10, "big":12345678901234567890123 }"#.to_owned())),
        (id("people"), Before::Failed(RunError::new("Timeout", "nobody came", 100))),
        (id("unasked"), Before::Result("1".to_owned())),
    ]);
    let text = told(&node(function(), json!({})), Unit { attempt: 3, ..ONCE }, &before, None);
    assert!(text.contains(r#""inputs":{"people":null,"words":{ "n":1.10, "big":12345678901234567890123 }}"#), "{text}");
    assert!(text.contains(r#""input":{"b": 1.10, "a": 12345678901234567890123}"#), "{text}");
    let told = read(&text);
    assert_eq!(told["unit"], json!({"node": "report", "iteration": 1, "attempt": 3}));
    assert_eq!(
        (&told["do"], &told["seconds"], &told["timeoutSeconds"]),
        (&json!("work"), &json!(0), &json!(99_999_999))
    );
    assert_eq!(told["run"], function());
    let request = &told["request"];
    assert_eq!(request["errors"], json!({"people": {"error": "Timeout", "cause": "nobody came"}}));
    assert_eq!(
        (&request["specVersion"], &request["attempt"], &request["params"]),
        (&json!("1"), &json!(3), &json!({"top": 3}))
    );
    for absent in ["item", "itemIndex", "iteration"] {
        assert!(request.get(absent).is_none(), "{absent}");
    }
    assert!(told.get("name").is_none() && told.get("task").is_none());
}

#[test]
fn a_result_that_is_too_large_for_its_share_is_a_reference() {
    let large = format!("\"{}\"", "é".repeat(20_000));
    let before =
        BTreeMap::from([(id("words"), Before::Result(large.clone())), (id("people"), Before::Result("1".to_owned()))]);
    let told = read(&told(&node(function(), json!({})), ONCE, &before, None));
    let (run_id, inputs) = (told["request"]["runId"].as_str().expect("an id"), &told["request"]["inputs"]);
    let href = format!("/v1/workflow-runs/{run_id}/steps/words");
    assert_eq!(
        inputs["words"],
        json!({"resultRef": {"runId": run_id, "nodeId": "words", "href": href, "bytes": large.len()}})
    );
    assert_eq!(inputs["people"], json!(1));
}

#[test]
fn loops_and_items_say_which_they_are() {
    let looped = json!({"directives": {"loop": {"until": {"pointer": "/input", "exists": true}, "maxIterations": 9}, "timeoutSeconds": 7}});
    let told_of_loop = read(&told(&node(function(), looped), Unit { iteration: 4, ..ONCE }, &BTreeMap::new(), None));
    assert_eq!((&told_of_loop["request"]["iteration"], &told_of_loop["timeoutSeconds"]), (&json!(4), &json!(7)));
    let item = json!({"a": [1]});
    let unit = Unit { item: Some(12), ..ONCE };
    let told_of_item = read(&told(&node(function(), json!({})), unit, &BTreeMap::new(), Some(&item)));
    assert_eq!((&told_of_item["request"]["item"], &told_of_item["request"]["itemIndex"]), (&item, &json!(12)));
    assert_eq!(told_of_item["unit"], json!({"node": "report", "item": 12, "iteration": 1, "attempt": 1}));
}

#[test]
fn nested_executions_have_names_of_their_own_that_stay() {
    let machine =
        json!({"kind": "stateMachine", "stateMachineArn": "arn:aws:states:eu-west-1:123456789012:stateMachine:m"});
    let name = |node_id: &str, unit: Unit| {
        let node = node(machine.clone(), json!({"nodeId": node_id}));
        let told = read(&told(&node, unit, &BTreeMap::new(), None));
        told["name"].as_str().expect("a name").to_owned()
    };
    let long = "n".repeat(64);
    let units = [
        ("report", ONCE),
        ("report", Unit { attempt: 2, ..ONCE }),
        ("report", Unit { iteration: 2, ..ONCE }),
        ("report", Unit { item: Some(0), ..ONCE }),
        ("report", Unit { item: Some(1), ..ONCE }),
        ("report", Unit { item: Some(1), attempt: 2, ..ONCE }),
        ("report1", ONCE),
        (long.as_str(), ONCE),
    ];
    let names: std::collections::BTreeSet<String> = units.iter().map(|(node, unit)| name(node, *unit)).collect();
    assert_eq!(names.len(), units.len(), "{names:?}");
    assert!(
        names
            .iter()
            .all(|name| name.len() <= 80 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
    );
    assert!(name("report", ONCE).ends_with("-1-report"));
    assert_eq!(name(&long, ONCE), name(&long, ONCE));
}

#[test]
fn a_container_is_called_with_its_request_as_a_text() {
    let ecs = json!({
        "kind": "ecs", "clusterArn": "arn:aws:ecs:eu-west-1:123456789012:cluster/jobs",
        "taskDefinitionArn": "arn:aws:ecs:eu-west-1:123456789012:task-definition/report:3", "containerName": "main",
        "launchType": "FARGATE", "subnets": ["subnet-1"], "securityGroups": ["sg-1"],
    });
    let told = read(&told(&node(ecs, json!({})), ONCE, &BTreeMap::new(), None));
    let (task, request) = (&told["task"], &told["request"]);
    assert_eq!((&told["run"], &task["LaunchType"]), (&json!({"kind": "ecs"}), &json!("FARGATE")));
    assert_eq!(
        task["NetworkConfiguration"]["AwsvpcConfiguration"],
        json!({"Subnets": ["subnet-1"], "AssignPublicIp": "DISABLED", "SecurityGroups": ["sg-1"]})
    );
    let variable = &task["Overrides"]["ContainerOverrides"][0]["Environment"][0];
    assert_eq!(variable["Name"], "SLUICE_TASK_INPUT");
    assert_eq!(read(variable["Value"].as_str().expect("a text")), *request);
}

#[test]
fn a_node_that_could_not_be_handed_its_request_is_found_before_it_runs() {
    let ecs = json!({
        "kind": "ecs", "clusterArn": "arn:aws:ecs:eu-west-1:123456789012:cluster/jobs",
        "taskDefinitionArn": "arn:aws:ecs:eu-west-1:123456789012:task-definition/report:3", "containerName": "main",
    });
    let in_quotes = |quotes: usize| json!({"params": {"text": "\"".repeat(quotes)}});
    for (run, quotes, fits) in [
        (function(), 129_500, true),
        (function(), 130_900, false),
        // A container's request is written again, as a text: six times as many bytes as there are quotes.
        (ecs.clone(), 42_000, true),
        (ecs, 44_000, false),
        (json!({"kind": "external"}), 200_000, true),
    ] {
        let node = node(run, in_quotes(quotes));
        let plan = Snapshot { nodes: vec![node.clone()], ..snapshot() };
        let found = too_large(&plan, plan.to_text().expect("JSON").len()).expect("JSON");
        assert_eq!(found.map(|(node, _)| node.as_str()), (!fits).then_some("report"), "{quotes}: {found:?}");
        // Whatever comes before it: the results that it depends on are as large as they may be.
        let results = ["words", "people", "gone"].map(|node| (id(node), Before::Result("1".repeat(200_000))));
        let unit = Unit { node: 0, item: None, iteration: 1, attempt: 10 };
        let before = BTreeMap::from(results);
        let work = Work { snapshot: &plan, node: &node, unit, seconds: 300, before: &before, item: None };
        let bytes = work.told().expect("JSON").map_or(0, |told| told.len());
        assert_eq!(bytes <= TOLD_BYTES, fits, "{quotes}: {bytes}");
    }
}

#[test]
fn nobody_is_told_of_what_no_worker_does() {
    let snapshot = snapshot();
    for run in [json!({"kind": "value"}), json!({"kind": "external"})] {
        let node = node(run, json!({}));
        let work =
            Work { snapshot: &snapshot, node: &node, unit: ONCE, seconds: 0, before: &BTreeMap::new(), item: None };
        assert_eq!(work.told().expect("JSON"), None);
    }
}
