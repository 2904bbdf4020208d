//! The laptop's table is a table: of two updates at once none is lost, whoever makes them.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_local::poll;

use crate::{JSON, RUNS, STACK};

const UPDATES: usize = 32;
const PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(200);

/// An item whose copy takes the emulator a while, so that updates that do not wait for each other do meet.
fn put(pk: &str) {
    let ballast: Vec<Value> = (0..500).map(|number| json!({"M": {"n": {"N": number.to_string()}}})).collect();
    let item = json!({"pk": {"S": pk}, "sk": {"S": "item"}, "count": {"N": "0"}, "ballast": {"L": ballast}});
    STACK.aws("dynamodb", "put_item", json!({"TableName": STACK.table, "Item": item})).expect("the item");
}

/// The name of one update, which it leaves on the item, and the parameters by which it counts itself there.
fn update(pk: &str, name: &str) -> Value {
    json!({
        "TableName": STACK.table,
        "Key": {"pk": {"S": pk}, "sk": {"S": "item"}},
        "UpdateExpression": "ADD #count :one, #names :name",
        "ExpressionAttributeNames": {"#count": "count", "#names": "names"},
        "ExpressionAttributeValues": {":one": {"N": "1"}, ":name": {"SS": [name]}},
    })
}

/// How often the item was updated, by its own count and by the names it has.
fn updates(pk: &str) -> (String, usize) {
    let key = json!({"pk": {"S": pk}, "sk": {"S": "item"}});
    let found = STACK
        .aws("dynamodb", "get_item", json!({"TableName": STACK.table, "Key": key, "ConsistentRead": true}))
        .expect("the item");
    let item = &found["Item"];
    (item["count"]["N"].as_str().unwrap_or_default().to_owned(), item["names"]["SS"].as_array().map_or(0, Vec::len))
}

fn update_directly(pk: &str) {
    thread::scope(|scope| {
        for number in 0..UPDATES {
            scope.spawn(move || {
                STACK.aws("dynamodb", "update_item", update(pk, &format!("direct-{number}"))).expect("an update");
            });
        }
    });
}

/// A machine that makes all updates at the same time.
fn update_through_step_functions(pk: &str, resource: &str) {
    let branches: Vec<Value> = (0..UPDATES)
        .map(|number| {
            let arguments = update(pk, &format!("machine-{number}"));
            let state = json!({"Type": "Task", "Resource": resource, "Arguments": arguments, "End": true});
            json!({"StartAt": "Update", "States": {"Update": state}})
        })
        .collect();
    let definition = json!({
        "QueryLanguage": "JSONata",
        "StartAt": "All",
        "States": {"All": {"Type": "Parallel", "Branches": branches, "Output": {}, "End": true}},
    });
    let runner = STACK.aws("stepfunctions", "describe_state_machine", json!({"stateMachineArn": STACK.runner_arn}));
    let role = &runner.expect("the runner")["roleArn"];
    let made = STACK.aws(
        "stepfunctions",
        "create_state_machine",
        json!({"name": format!("sluice-{pk}"), "definition": definition.to_string(), "roleArn": role}),
    );
    let machine = &made.expect("a machine")["stateMachineArn"];
    let started = STACK.aws("stepfunctions", "start_execution", json!({"stateMachineArn": machine})).expect("a start");
    let execution = &started["executionArn"];
    let ended = poll("the execution to end", PATIENCE, POLL, || {
        let found = STACK.aws("stepfunctions", "describe_execution", json!({"executionArn": execution}))?;
        Ok((found["status"] != "RUNNING").then_some(found))
    });
    let ended = ended.expect("an end");
    assert_eq!(ended["status"], "SUCCEEDED", "{ended}");
}

#[test]
fn of_32_direct_updates_at_once_none_is_lost() {
    put("direct");
    update_directly("direct");
    assert_eq!(updates("direct"), (UPDATES.to_string(), UPDATES));
}

#[test]
fn of_32_updates_at_once_by_step_functions_none_is_lost() {
    for (pk, resource) in
        [("optimized", "arn:aws:states:::dynamodb:updateItem"), ("sdk", "arn:aws:states:::aws-sdk:dynamodb:updateItem")]
    {
        put(pk);
        update_through_step_functions(pk, resource);
        assert_eq!(updates(pk), (UPDATES.to_string(), UPDATES), "{resource}");
    }
}

#[test]
fn of_64_updates_at_once_of_both_kinds_none_is_lost() {
    put("both");
    thread::scope(|scope| {
        scope.spawn(|| update_through_step_functions("both", "arn:aws:states:::dynamodb:updateItem"));
        scope.spawn(|| update_directly("both"));
    });
    assert_eq!(updates("both"), ((2 * UPDATES).to_string(), 2 * UPDATES));
}

#[test]
fn a_run_waits_for_32_answers_at_once() {
    let asks: Vec<Value> =
        (0..UPDATES).map(|number| json!({"id": format!("ask-{number}"), "type": "external"})).collect();
    let edges: Vec<Value> =
        (0..UPDATES).map(|number| json!({"from": "start", "to": format!("ask-{number}")})).collect();
    let mut nodes = vec![json!({"id": "start", "type": "data-source"})];
    nodes.extend(asks);
    // Who is told that others are at it (503) asks again.
    let tell = |method: &str, path: &str, body: Value| {
        let headers = [JSON, ("x-dev-tenant", "parallel")];
        let answer = poll(path, PATIENCE, POLL, || {
            let answer = STACK.request(method, path, &headers, body.to_string())?;
            Ok((answer.status != 503).then_some(answer))
        });
        let answer = answer.expect("an answer");
        assert!(answer.status < 300, "{method} {path}: {}", answer.text());
        answer.json()
    };
    let read = |path: &str| STACK.request("GET", path, &[("x-dev-tenant", "parallel")], "").map(|answer| answer.json());
    tell("POST", "/v1/workflow-definitions", json!({"name": "parallel"}));
    tell(
        "POST",
        "/v1/workflow-definitions/parallel/versions",
        json!({"nodes": nodes, "edges": edges, "activate": true}),
    );
    let run = tell("POST", "/v1/workflow-definitions/parallel/invoke", json!({}));
    let run = format!("{RUNS}/{}", run["id"].as_str().expect("an id"));
    poll("all nodes to wait", PATIENCE, POLL, || {
        let waiting = read(&run)?["waitingNodes"].as_array().map_or(0, Vec::len);
        Ok((waiting == UPDATES).then_some(()))
    })
    .expect("every node waits");
    thread::scope(|scope| {
        for number in 0..UPDATES {
            let (tell, run) = (&tell, &run);
            scope.spawn(move || {
                tell("POST", &format!("{run}/data"), json!({"nodeId": format!("ask-{number}"), "data": number}))
            });
        }
    });
    let ended = poll("the run to end", PATIENCE, POLL, || {
        let run = read(&run)?;
        Ok(["SUCCEEDED", "FAILED", "CANCELED"].iter().any(|status| run["status"] == *status).then_some(run))
    });
    let ended = ended.expect("an end");
    assert_eq!((&ended["status"], &ended["waitingNodes"]), (&json!("SUCCEEDED"), &json!([])), "{ended}");
}
