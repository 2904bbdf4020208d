//! Nodes that run a container task to its end.
//!
//! The emulator starts no container here: a task is as good as running until somebody stops it, and then it has ended well.

use serde_json::{Value, json};
use sluice_tests::{processor_contract, violations};

use crate::world::{Journey, body, errors, eventually, list, text};

fn arn(journey: &Journey, resource: &str) -> String {
    format!("arn:aws:ecs:{}:{}:{resource}", journey.stack.region, journey.stack.account)
}

fn task(journey: &Journey) -> Value {
    json!({
        "kind": "ecs",
        "clusterArn": arn(journey, "cluster/journeys"),
        "taskDefinitionArn": arn(journey, "task-definition/sluice-processor-task"),
        "containerName": "work",
        "launchType": "FARGATE",
        "subnets": ["subnet-1", "subnet-2"],
        "securityGroups": ["sg-1"],
        "tenants": ["*"],
    })
}

fn task_node(tag: Value) -> Value {
    json!({
        "id": "task", "type": "processor", "processor": "ecs-task", "tag": tag,
        "parameters": {"text": {"type": "string", "default": "a text"}},
    })
}

fn declare(journey: &Journey) -> Value {
    let declared = journey.operator().put("/v1/processors/ecs-task", task(journey));
    assert_eq!(declared.status, 200, "{}", declared.text());
    declared.json()
}

#[test]
fn a_container_task_is_declared_by_its_operator() {
    let acme = Journey::of("ecs-declared");
    let shown = declare(&acme);
    assert_eq!(
        (&shown["kind"], &shown["taskDefinitionArn"], &shown["containerName"]),
        (&json!("ecs"), &task(&acme)["taskDefinitionArn"], &json!("work"))
    );
    let operator = acme.operator();
    let with = |changes: Value| {
        let mut body = task(&acme);
        for (name, value) in changes.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        body.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
        body
    };
    let subnets: Vec<String> = (0..17).map(|number| format!("subnet-{number}")).collect();
    for (changes, expected) in [
        (json!({"clusterArn": arn(&acme, "service/journeys")}), "/clusterArn invalid_arn"),
        (json!({"clusterArn": "journeys"}), "/clusterArn invalid_arn"),
        (json!({"clusterArn": null}), "/clusterArn missing_field"),
        (json!({"taskDefinitionArn": arn(&acme, "task-definition/task:7")}), "/taskDefinitionArn invalid_arn"),
        (json!({"taskDefinitionArn": arn(&acme, "task/task")}), "/taskDefinitionArn invalid_arn"),
        (json!({"containerName": "no name"}), "/containerName invalid"),
        (json!({"containerName": null}), "/containerName missing_field"),
        (json!({"launchType": "LAPTOP"}), "/launchType invalid"),
        (json!({"subnets": null, "securityGroups": null}), "/subnets missing_field"),
        (json!({"subnets": ["net-1"]}), "/subnets invalid"),
        (json!({"subnets": subnets}), "/subnets too_many"),
        (json!({"launchType": null, "subnets": null}), "/subnets missing_field"),
        (json!({"subnets": ["subnet-1"], "securityGroups": ["group"]}), "/securityGroups invalid"),
        (
            json!({"launchType": null, "subnets": null, "securityGroups": null, "assignPublicIp": true}),
            "/subnets missing_field",
        ),
        (json!({"functionArn": "arn:aws:lambda:us-east-1:000000000000:function:x"}), "/functionArn unknown_field"),
        (json!({"tenants": ["a b"]}), "/tenants/0 invalid"),
    ] {
        let answer = operator.put("/v1/processors/ecs-refused", with(changes.clone()));
        assert_eq!(errors(&answer, 400), [expected], "{changes}");
    }
    assert_eq!(operator.get("/v1/processors/ecs-refused").status, 404);
    // Only a task of its own network needs one.
    let plain = json!({"launchType": null, "subnets": null, "securityGroups": null});
    let declared = operator.put("/v1/processors/ecs-plain", with(plain));
    assert_eq!((declared.status, declared.json().get("launchType")), (200, None), "{}", declared.text());

    // A tag is a revision of the task definition, wherever it is given.
    assert_eq!(acme.post("/v1/workflow-definitions", json!({"name": "refused"})).status, 201);
    let version = json!({"nodes": [task_node(json!("latest"))]});
    let refused = acme.post("/v1/workflow-definitions/refused/versions", version);
    assert_eq!(errors(&refused, 400), ["/nodes/0/tag invalid_tag"]);
    acme.define("task", &json!({"nodes": [task_node(json!("1"))]}));
    let refused = acme.post("/v1/workflow-runs", body("task", json!({"tags": {"task": "live"}})));
    assert_eq!(errors(&refused, 400), ["/tags/task invalid_tag"]);
    let mut by_instance = body("task", json!({}));
    by_instance["workflowInstanceConfiguration"]["processorConfigs"] = json!([{"nodeId": "task", "tag": "$LATEST"}]);
    let refused = acme.post("/v1/workflow-runs", by_instance);
    assert_eq!(errors(&refused, 400), ["/workflowInstanceConfiguration/processorConfigs/0/tag invalid_tag"]);
}

#[test]
fn a_container_task_runs_to_its_end() {
    let acme = Journey::of("ecs");
    let stack = acme.stack;
    declare(&acme);
    let ecs = |operation: &str, params: Value| {
        stack.aws("ecs", operation, params).unwrap_or_else(|error| panic!("{operation}: {error}"))
    };
    ecs("create_cluster", json!({"clusterName": "journeys"}));
    let container = json!({"name": "work", "image": "nowhere/work:1", "memory": 64});
    let registered = |_: u32| {
        let task = json!({"family": "sluice-processor-task", "containerDefinitions": [container]});
        ecs("register_task_definition", task)["taskDefinition"]["revision"].to_string()
    };
    let revisions = [1, 2].map(registered);
    acme.define(
        "task",
        &json!({
            "nodes": [
                {"id": "lines", "type": "data-source"},
                task_node(json!(revisions[0])),
                {"id": "after", "type": "processor", "processor": "echo"},
            ],
            "edges": [{"from": "lines", "to": "task"}, {"from": "task", "to": "after"}],
        }),
    );
    let node = json!({"tenants": [acme.tenant], "layers": {"models": "READY"}, "maxBudgetUsd": 50});
    assert_eq!(acme.operator().put("/v1/compute-nodes/ecs", node).status, 200);
    let fields = json!({
        "dataSources": {"lines": ["one", 2]}, "tags": {"task": revisions[1]}, "layers": ["models"],
        "executionBudgetUsd": 0.25,
    });
    let mut request = body("task", fields);
    request["workflowInstanceConfiguration"]["computeNodeId"] = json!("ecs");
    let made = acme.post("/v1/workflow-runs", request);
    assert_eq!(made.status, 201, "{}", made.text());
    let run_id = text(&made.json()["id"]);
    let task_definition = format!("{}:{}", text(&task(&acme)["taskDefinitionArn"]), revisions[1]);
    assert_eq!(acme.snapshot(&run_id)["nodes"][1]["run"], json!({"kind": "ecs", "arn": task_definition}));

    let started = eventually("the task", || {
        let run = acme.run(&run_id);
        assert!(!crate::world::is_terminal(&run), "{run}: {:?}", acme.steps(&run_id));
        let tasks = list(&ecs("list_tasks", json!({"cluster": "journeys"}))["taskArns"]);
        let tasks =
            (!tasks.is_empty()).then(|| ecs("describe_tasks", json!({"cluster": "journeys", "tasks": tasks})))?;
        list(&tasks["tasks"]).into_iter().find(|task| task["taskDefinitionArn"] == task_definition)
    });
    assert_eq!(started["launchType"], "FARGATE");
    let overridden = &started["overrides"]["containerOverrides"][0];
    assert_eq!(
        (&overridden["name"], &overridden["environment"][0]["name"]),
        (&json!("work"), &json!("SLUICE_TASK_INPUT"))
    );
    let given: Value = serde_json::from_str(&text(&overridden["environment"][0]["value"])).expect("JSON");
    assert_eq!(violations(&processor_contract("input"), &given), Vec::<String>::new(), "it was handed {given}");
    assert_eq!((&given["runId"], &given["nodeId"], &given["attempt"]), (&json!(run_id), &json!("task"), &json!(1)));
    assert_eq!((&given["params"]["text"], &given["inputs"]["lines"]), (&json!("a text"), &json!(["one", 2])));
    assert_eq!((&given["executionBudgetUsd"], &given["executionBudgetMicroUsd"]), (&json!(0.25), &json!(250_000)));
    assert_eq!((&given["computeNodeBudgetUsd"], &given["computeNodeBudgetMicroUsd"]), (&json!(50), &json!(50_000_000)));
    assert_eq!(given["layers"], json!(["models"]));

    assert_eq!(acme.step(&run_id, "task")["status"], "RUNNING");
    ecs("stop_task", json!({"cluster": "journeys", "task": started["taskArn"], "reason": "done"}));
    let run = acme.ended(&run_id);
    assert_eq!(run["status"], "SUCCEEDED", "{run}");
    let result = acme.step(&run_id, "task")["result"].clone();
    assert!(result.is_object(), "{result}");
    assert_eq!(acme.step(&run_id, "after")["result"]["inputs"]["task"], result);
}
