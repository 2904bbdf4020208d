//! A run is what it was when it was made: nothing that changes afterwards shows through. And how what its nodes are given
//! comes together.

use serde_json::{Value, json};

use crate::world::{Journey, body, errors, text};

/// An ARN of a function of the journeys' own.
fn function(journey: &Journey, name: &str) -> String {
    let stack = journey.stack;
    format!("arn:aws:lambda:{}:{}:function:sluice-processor-{name}", stack.region, stack.account)
}

#[test]
fn nothing_that_changes_later_shows_in_a_run() {
    let acme = Journey::of("snapshot");
    let operator = acme.operator();
    let declare = |path: &str, body: Value| {
        let answer = operator.put(path, &body);
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
    };
    let echo = json!({"kind": "lambda", "functionArn": function(&acme, "echo"), "tenants": [acme.tenant], "tags": ["$LATEST"]});
    declare("/v1/processors/snapshot-echo", echo);
    let node = |folder: &str, budget: f64| json!({"tenants": [acme.tenant], "registry": {"folder": folder}, "layers": {"models": "READY"}, "maxBudgetUsd": budget});
    declare("/v1/compute-nodes/snapshot", node("first", 2.5));
    let version = |text: &str| {
        json!({
            "nodes": [
                {"id": "ask", "type": "external"},
                {"id": "work", "type": "processor", "processor": "snapshot-echo", "tag": "$LATEST", "parameters": {
                    "text": {"type": "string", "default": text}, "top": {"type": "integer", "default": 1},
                }},
                {"id": "store", "type": "data-target", "processor": "snapshot-echo"},
            ],
            "edges": [{"from": "ask", "to": "work"}, {"from": "work", "to": "store"}],
        })
    };
    acme.define_with("frozen", json!({"maxRunDurationSeconds": 3600}), &version("{{who}}"));
    let configuration = |top: u32| {
        json!({
            "workflowDefinitionId": "frozen", "computeNodeId": "snapshot",
            "processorConfigs": [{"nodeId": "work", "params": {"top": top}}],
        })
    };
    let created = acme.post(
        "/v1/workflow-runs",
        json!({
            "workflowInstanceConfiguration": configuration(2), "variables": {"who": "Ada"}, "layers": ["models"],
            "dataTargets": {"store": {"name": "report"}}, "input": {"n": 1}, "executionBudgetUsd": 1.25,
        }),
    );
    assert_eq!(created.status, 201, "{}", created.text());
    let created = created.json();
    let run_id = text(&created["id"]);
    acme.waiting(&run_id, "ask", 1);
    let frozen = acme.snapshot(&run_id);
    assert_eq!(frozen["hash"], created["snapshotHash"]);
    let work = &frozen["nodes"][1];
    assert_eq!(work["params"], json!({"text": "Ada", "top": 2}), "{frozen}");
    assert_eq!(work["run"], json!({"kind": "lambda", "arn": format!("{}:$LATEST", function(&acme, "echo"))}));
    assert_eq!(frozen["nodes"][2]["dataTarget"], json!({"name": "report", "folder": "first"}));
    assert_eq!(
        frozen["limits"],
        json!({"executionBudgetUsd": 1.25, "computeNodeBudgetUsd": 2.5, "maxRunDurationSeconds": 3600})
    );

    // Everything that it was made of is something else now.
    acme.add_version("frozen", &version("somebody else"), true);
    let patched =
        acme.patch("/v1/workflow-definitions/frozen", json!({"maxRunDurationSeconds": 60, "displayName": "New"}));
    assert_eq!(patched.status, 200, "{}", patched.text());
    let hold = |tenant: &str| json!({"kind": "lambda", "functionArn": function(&acme, "hold"), "tenants": [tenant], "tags": ["$LATEST"]});
    declare("/v1/processors/snapshot-echo", hold("nobody"));
    declare("/v1/compute-nodes/snapshot", node("second", 0.1));
    declare("/v1/compute-nodes/snapshot/layers/models", json!({"status": "FAILED"}));
    let other = acme.post("/v1/workflow-instances", configuration(9));
    assert!(other.status == 201 && other.json()["id"] != created["workflowInstanceId"], "{}", other.text());

    assert_eq!(acme.snapshot(&run_id), frozen);
    acme.tell(&run_id, "data", json!({"nodeId": "ask", "data": 1}), 202);
    let run = acme.ended(&run_id);
    assert_eq!((&run["status"], &run["workflowVersion"]), (&json!("SUCCEEDED"), &json!(1)), "{run}");
    assert_eq!((&run["maxRunDurationSeconds"], &run["computeNodeBudgetUsd"]), (&json!(3600), &json!(2.5)));
    let store = &run["output"]["results"]["store"];
    assert_eq!(store["dataTarget"], json!({"name": "report", "folder": "first"}));
    assert_eq!(store["inputs"]["work"]["params"], json!({"text": "Ada", "top": 2}));
    assert_eq!((&store["layers"], &store["executionBudgetUsd"]), (&json!(["models"]), &json!(1.25)));
    assert_eq!(acme.snapshot(&run_id), frozen);
    // Nor does a replay see any of it; but whether its tenant may use what it was made of is asked again.
    let refused = acme.tell(&run_id, "replay", json!({"fromNodeId": "work"}), 400);
    assert_eq!(refused["errors"][0]["code"], "not_available", "{refused}");
    declare("/v1/processors/snapshot-echo", hold(&acme.tenant));
    let replay = text(&acme.tell(&run_id, "replay", json!({"fromNodeId": "work"}), 201)["id"]);
    assert_eq!(acme.ended(&replay)["output"]["results"]["store"]["inputs"]["work"]["params"]["text"], "Ada");
}

#[test]
fn a_runs_tags_are_its_own() {
    let acme = Journey::of("tags");
    let arn = function(&acme, "echo");
    let name = json!({"FunctionName": arn});
    let published = acme.stack.aws("lambda", "publish_version", name).expect("a version of the function");
    let number = text(&published["Version"]);
    let offering = |tags: Value| {
        let echo = json!({"kind": "lambda", "functionArn": arn, "tenants": [acme.tenant], "tags": tags});
        let answer = acme.operator().put("/v1/processors/tagged-echo", &echo);
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    offering(json!(["$LATEST", number]));
    acme.define(
        "tagged",
        &json!({"nodes": [
            {"id": "plain", "type": "processor", "processor": "tagged-echo"},
            {"id": "tagged", "type": "processor", "processor": "tagged-echo", "tag": "$LATEST"},
        ], "edges": [{"from": "plain", "to": "tagged"}]}),
    );
    let arns = |request: Value| -> Vec<Value> {
        let created = acme.post("/v1/workflow-runs", request);
        assert_eq!(created.status, 201, "{}", created.text());
        let run_id = text(&created.json()["id"]);
        let run = acme.ended(&run_id);
        assert_eq!(run["status"], "SUCCEEDED", "{run}");
        let nodes = acme.snapshot(&run_id)["nodes"].clone();
        [0, 1].map(|node: usize| nodes[node]["run"]["arn"].clone()).into()
    };
    let latest = json!(format!("{arn}:$LATEST"));
    let qualified = json!(format!("{arn}:{number}"));
    let plain = body("tagged", json!({}));
    assert_eq!(arns(plain.clone()), [json!(arn), latest.clone()]);
    // The run's tag beats the instance's, which beats the version's.
    let mut with_tags = body("tagged", json!({"tags": {"plain": number, "tagged": number}}));
    assert_eq!(arns(with_tags.clone()), [qualified.clone(), qualified.clone()]);
    let configs = json!([{"nodeId": "plain", "tag": "$LATEST"}, {"nodeId": "tagged", "tag": number}]);
    with_tags["workflowInstanceConfiguration"]["processorConfigs"] = configs;
    with_tags["tags"] = json!({"plain": number});
    assert_eq!(arns(with_tags), [qualified.clone(), qualified]);
    // Nothing of it has stuck to the version or to the definition.
    let version = acme.read("/v1/workflow-definitions/tagged/versions/1");
    assert_eq!((&version["nodes"][0]["tag"], &version["nodes"][1]["tag"]), (&Value::Null, &json!("$LATEST")));
    assert_eq!(arns(plain.clone()), [json!(arn), latest]);
    // Only what the operator lists is chosen, and that at once. Without a list, everything but what nobody published.
    let refused = |request: &Value| errors(&acme.post("/v1/workflow-runs", request.clone()), 400);
    let by_number = body("tagged", json!({"tags": {"plain": number, "tagged": number}}));
    offering(json!(["$LATEST"]));
    assert_eq!(refused(&by_number), ["/tags/plain invalid_tag", "/tags/tagged invalid_tag"]);
    offering(Value::Null);
    assert_eq!(refused(&plain), ["/workflowDefinition/nodes/1/tag invalid_tag"]);
}

/// A version with parameters of every type.
fn typed() -> Value {
    let secret = json!({"secretRef": "arn:aws:ssm:us-east-1:000000000000:parameter/llm/key"});
    json!({"nodes": [{"id": "work", "type": "processor", "processor": "echo", "parameters": {
        "string": {"type": "string", "default": "version"},
        "number": {"type": "number", "default": 0.5},
        "integer": {"type": "integer", "default": 1},
        "boolean": {"type": "boolean", "default": true},
        "object": {"type": "object", "default": {"greeting": "Hello {{who}}", "n": ["{{n}}", "[[when]]"]}},
        "array": {"type": "array", "default": []},
        "secret": {"type": "secret", "default": secret},
        "needed": {"type": "string", "required": true},
        "left-out": {"type": "string"},
    }}]})
}

fn configured(params: &Value, fields: Value) -> Value {
    let mut request = body("typed", fields);
    request["workflowInstanceConfiguration"]["processorConfigs"] = json!([{"nodeId": "work", "params": params}]);
    request
}

#[test]
fn a_parameter_comes_from_the_run_or_its_instance_or_its_version() {
    let acme = Journey::of("parameters");
    acme.define("typed", &typed());
    let variables = json!({"who": "Ada", "n": 3});
    let secret =
        |name: &str| json!({"secretRef": format!("arn:aws:secretsmanager:us-east-1:000000000000:secret:{name}")});
    let created = acme.post(
        "/v1/workflow-runs",
        configured(
            &json!({"string": "instance of {{who}}", "integer": 2, "secret": secret("instance"), "needed": "{{who}}"}),
            json!({
                "variables": variables, "runtimeVariables": {"when": {"year": 2026}},
                "processorParams": {"work": {"integer": 3, "number": 7, "boolean": false, "array": ["{{who}}"], "needed": "{{who}}"}},
            }),
        ),
    );
    assert_eq!(created.status, 201, "{}", created.text());
    let run_id = text(&created.json()["id"]);
    let expected = json!({
        // Placeholders are filled in what the version and the instance say…
        "string": "instance of Ada",
        "object": {"greeting": "Hello Ada", "n": [3, {"year": 2026}]},
        "integer": 3, "number": 7, "boolean": false, "secret": secret("instance"),
        // …and never in what the request says.
        "array": ["{{who}}"], "needed": "{{who}}",
    });
    assert_eq!(acme.snapshot(&run_id)["nodes"][0]["params"], expected);
    let run = acme.ended(&run_id);
    assert_eq!(run["output"]["results"]["work"]["params"], expected, "{run}");
    // The secret's value is nobody's: only its name travels, and not in the execution's input.
    assert!(!text(&acme.execution(&run)["input"]).contains("secret:"));
}

#[test]
fn a_parameter_of_another_type_or_without_a_value_is_refused() {
    let acme = Journey::of("parameters-refused");
    acme.define("typed", &typed());
    let all = json!({"who": "Ada", "n": 3});
    let now = json!({"when": "now"});
    let run = |params: Value| {
        let mut params = params;
        if params["needed"].is_null() {
            params["needed"] = json!("given");
        }
        json!({"variables": all, "runtimeVariables": now, "processorParams": {"work": params}})
    };
    let before = acme.items();
    let instance = "/workflowInstanceConfiguration/processorConfigs/0/params";
    for (request, expected) in [
        (
            configured(&json!({}), run(json!({"string": 1, "number": "1", "integer": 1.5, "boolean": 0}))),
            ["boolean", "integer", "number", "string"]
                .map(|name| format!("/processorParams/work/{name} wrong_type"))
                .to_vec(),
        ),
        (
            configured(&json!({}), run(json!({"object": [], "array": {}, "secret": "hunter2", "other": 1}))),
            vec![
                "/processorParams/work/array wrong_type".to_owned(),
                "/processorParams/work/object wrong_type".to_owned(),
                "/processorParams/work/other unknown_parameter".to_owned(),
                "/processorParams/work/secret wrong_type".to_owned(),
            ],
        ),
        (
            configured(&json!({"secret": {"secretRef": "arn:aws:s3:::bucket/key"}, "integer": "2"}), run(json!({}))),
            vec![format!("{instance}/integer wrong_type"), format!("{instance}/secret wrong_type")],
        ),
        (
            // A placeholder that is the whole text becomes the variable, of whatever type.
            configured(&json!({"string": "{{n}}"}), run(json!({}))),
            vec![format!("{instance}/string wrong_type")],
        ),
        (
            configured(&json!({}), json!({"variables": all, "runtimeVariables": now})),
            vec!["/processorParams/work/needed missing_parameter".to_owned()],
        ),
        (
            configured(
                &json!({"string": "{{nobody}}"}),
                json!({"processorParams": {"work": {"needed": "", "object": {}}}}),
            ),
            vec![format!("{instance}/string unresolved_variable")],
        ),
    ] {
        let mut found = errors(&acme.post("/v1/workflow-runs", &request), 400);
        found.sort();
        assert_eq!(found, expected, "{request}");
    }
    assert_eq!(acme.items(), before, "nothing was written");
    // A version's own defaults are held to their types when it is made.
    let bad = json!({"nodes": [{"id": "work", "type": "processor", "processor": "echo", "parameters": {
        "integer": {"type": "integer", "default": "1"}, "secret": {"type": "secret", "default": "hunter2"},
    }}]});
    let answer = acme.post("/v1/workflow-definitions/typed/versions", &bad);
    assert_eq!(
        errors(&answer, 400),
        ["/nodes/0/parameters/integer/default wrong_type", "/nodes/0/parameters/secret/default wrong_type"]
    );
}

#[test]
fn what_the_compute_node_sets_is_set() {
    let acme = Journey::of("registry");
    let node = json!({"tenants": [acme.tenant], "registry": {"uploadBucket": "theirs", "folder": {"a": 1}}});
    assert_eq!(acme.operator().put("/v1/compute-nodes/registry", node).status, 200);
    acme.define(
        "store",
        &json!({
            "nodes": [{"id": "text", "type": "data-source"}, {"id": "store", "type": "data-target", "processor": "echo"}],
            "edges": [{"from": "text", "to": "store"}],
        }),
    );
    let ask = |target: Value| {
        acme.post(
            "/v1/workflow-runs",
            json!({
                "workflowInstanceConfiguration": {"workflowDefinitionId": "store", "computeNodeId": "registry"},
                "dataTargets": {"store": target},
            }),
        )
    };
    // Not even with the same value.
    let refused = ask(json!({"uploadBucket": "mine", "folder": {"a": 1}, "name": "x"}));
    assert_eq!(
        errors(&refused, 400),
        ["/dataTargets/store/folder registry_value", "/dataTargets/store/uploadBucket registry_value"]
    );
    let created = ask(json!({"name": "x"}));
    let run = acme.ended(&text(&created.json()["id"]));
    let given = json!({"name": "x", "uploadBucket": "theirs", "folder": {"a": 1}});
    assert_eq!(run["output"]["results"]["store"]["dataTarget"], given, "{run}");
}
