//! Bad input of every kind is a 4xx problem that points at what is wrong, and changes nothing.

use serde_json::{Value, json};
use sluice_core::limits;

use crate::world::{Journey, STACK, body, errors, hold};

#[test]
fn a_bad_request_for_a_run_is_refused_with_its_pointers() {
    let acme = Journey::of("bad-runs");
    let definition = acme.define(
        "pipeline",
        &json!({
            "nodes": [
                {"id": "source", "type": "data-source"},
                {"id": "work", "type": "processor", "processor": "echo", "parameters": {
                    "top": {"type": "integer"}, "model": {"type": "string", "required": true}, "text": {"type": "string", "default": "{{who}}"},
                }},
                {"id": "store", "type": "data-target", "processor": "echo"},
            ],
            "edges": [{"from": "source", "to": "work"}, {"from": "work", "to": "store"}],
            "inputSchema": {"type": "object", "properties": {"n": {"type": "integer"}, "list": {"type": "array", "items": {"type": "string"}}}, "required": ["n"]},
        }),
    );
    let good = json!({"input": {"n": 1}, "processorParams": {"work": {"model": "m"}}, "variables": {"who": "Ada"}});
    let with = |changes: Value| {
        let mut request = body(&definition, good.clone());
        for (name, value) in changes.as_object().into_iter().flatten() {
            request[name] = value.clone();
        }
        request.to_string()
    };
    let configured = |configuration: Value| with(json!({"workflowInstanceConfiguration": configuration}));
    let mut neither: Value = serde_json::from_str(&with(json!({}))).expect("JSON");
    neither.as_object_mut().expect("an object").remove("workflowInstanceConfiguration");
    let instance = "0b0f5c1e-64a5-5d3a-9a5e-5d9f3e0c7a11";
    let too_deep = format!("/input{} too_deep", "/0".repeat(limits::JSON_DEPTH - 1));
    let nested = format!("{{\"input\":{}1{}}}", "[".repeat(100), "]".repeat(100));

    let before = acme.items();
    for (request, expected) in [
        // No JSON, or not what it must be.
        ("{\"name\":".to_owned(), vec![" invalid_json"]),
        ("{} {}".to_owned(), vec![" invalid_json"]),
        (String::new(), vec![" missing_body"]),
        ("[]".to_owned(), vec![" wrong_type"]),
        (with(json!({})).replacen('{', "{\"name\":\"a\",\"name\":\"b\",", 1), vec!["/name duplicate_key"]),
        (with(json!({})).replacen("\"n\":1", "\"n\":1,\"n\":2", 1), vec!["/input/n duplicate_key"]),
        (nested, vec![too_deep.as_str()]),
        (with(json!({"executionBudget": 1})), vec!["/executionBudget unknown_field"]),
        (with(json!({"name": 7})), vec!["/name wrong_type"]),
        (with(json!({"layers": "models"})), vec!["/layers wrong_type"]),
        (with(json!({"maxRunDurationSeconds": "60"})), vec!["/maxRunDurationSeconds wrong_type"]),
        // What to run.
        (neither.to_string(), vec![" exactly_one"]),
        (with(json!({"workflowInstanceId": instance})), vec![" exactly_one"]),
        (json!({"workflowInstanceId": instance}).to_string(), vec!["/workflowInstanceId not_found"]),
        (json!({"workflowInstanceId": "7"}).to_string(), vec!["/workflowInstanceId invalid"]),
        (
            configured(json!({"workflowDefinitionId": "nobodys"})),
            vec!["/workflowInstanceConfiguration/workflowDefinitionId not_found"],
        ),
        (
            configured(json!({"workflowDefinitionId": "no name"})),
            vec!["/workflowInstanceConfiguration/workflowDefinitionId invalid"],
        ),
        (
            configured(json!({"workflowDefinitionId": definition, "version": 7})),
            vec!["/workflowInstanceConfiguration/version no_such_version"],
        ),
        (
            configured(json!({"workflowDefinitionId": definition, "version": "newest"})),
            vec!["/workflowInstanceConfiguration/version invalid"],
        ),
        (
            configured(json!({"workflowDefinitionId": definition, "computeNodeId": "moon"})),
            vec!["/workflowInstanceConfiguration/computeNodeId not_found"],
        ),
        (
            configured(
                json!({"workflowDefinitionId": definition, "processorConfigs": [{"nodeId": "work"}, {"nodeId": "nobody"}]}),
            ),
            vec!["/workflowInstanceConfiguration/processorConfigs/1 unknown_node"],
        ),
        (
            configured(
                json!({"workflowDefinitionId": definition, "processorConfigs": [{"nodeId": "work", "params": {"top": "x"}}]}),
            ),
            vec!["/workflowInstanceConfiguration/processorConfigs/0/params/top wrong_type"],
        ),
        // What goes in.
        (
            with(json!({"input": {"n": "1", "list": ["a", 2]}})),
            vec!["/input/list/1 schema_violation", "/input/n schema_violation"],
        ),
        (with(json!({"input": {}})), vec!["/input schema_violation"]),
        (with(json!({"input": null})), vec!["/input schema_violation"]),
        (with(json!({"dataSources": {"work": {}}})), vec!["/dataSources/work unknown_node"]),
        (with(json!({"dataSources": {"no node": {}}})), vec!["/dataSources/no node invalid"]),
        (
            with(json!({"dataTargets": {"store": {"uploadBucket": "mine"}}})),
            vec!["/dataTargets/store/uploadBucket registry_value"],
        ),
        (
            with(json!({"dataTargets": {"store": 1, "source": {}}})),
            vec!["/dataTargets/source unknown_node", "/dataTargets/store wrong_type"],
        ),
        (
            with(json!({"processorParams": {"work": {"model": 1, "nope": 1}}})),
            vec!["/processorParams/work/model wrong_type", "/processorParams/work/nope unknown_parameter"],
        ),
        (with(json!({"processorParams": {}})), vec!["/processorParams/work/model missing_parameter"]),
        (with(json!({"tags": {"source": "live", "work": "a:b"}})), vec!["/tags/work invalid"]),
        (
            with(json!({"variables": {}})),
            vec!["/workflowDefinition/nodes/work/parameters/text/default unresolved_variable"],
        ),
        (with(json!({"labels": {"": "x"}})), vec!["/labels/ out_of_range"]),
        (with(json!({"name": ""})), vec!["/name out_of_range"]),
        (with(json!({"layers": ["models"]})), vec!["/layers/0 not_found"]),
        (with(json!({"maxRunDurationSeconds": 0})), vec!["/maxRunDurationSeconds out_of_range"]),
        // Money.
        (with(json!({"executionBudgetUsd": -1})), vec!["/executionBudgetUsd out_of_range"]),
        (with(json!({"executionBudgetUsd": "1"})), vec!["/executionBudgetUsd wrong_type"]),
        (with(json!({"executionBudgetUsd": true})), vec!["/executionBudgetUsd wrong_type"]),
        (
            with(json!({})).replacen('{', "{\"executionBudgetUsd\":0.0000001,", 1),
            vec!["/executionBudgetUsd out_of_range"],
        ),
        (
            with(json!({})).replacen('{', "{\"executionBudgetUsd\":100000.01,", 1),
            vec!["/executionBudgetUsd out_of_range"],
        ),
        (with(json!({})).replacen('{', "{\"executionBudgetUsd\":1e999,", 1), vec!["/executionBudgetUsd out_of_range"]),
        // Where the end is told.
        (
            with(json!({"completionCallbackUrl": "https://example.com/"})),
            vec!["/completionCallbackUrl callback_url_not_allowed"],
        ),
        (
            with(json!({"completionCallbackUrl": "http://127.0.0.1:1/hook"})),
            vec!["/completionCallbackUrl callback_url_not_allowed"],
        ),
        (
            with(json!({"completionCallbackUrl": "https://169.254.169.254/latest"})),
            vec!["/completionCallbackUrl callback_url_not_allowed"],
        ),
        (
            with(
                json!({"completionCallbackUrl": "https://abcdefghijklmnopqrstuvwxyz012345.lambda-url.eu-north-1.on.aws/"}),
            ),
            vec!["/completionCallbackUrl callback_url_not_allowed"],
        ),
        (
            with(
                json!({"completionCallbackUrl": "https://user@abcdefghijklmnopqrstuvwxyz012345.lambda-url.us-east-1.on.aws/"}),
            ),
            vec!["/completionCallbackUrl callback_url_not_allowed"],
        ),
        (with(json!({"completionCallbackContext": 1})), vec!["/completionCallbackContext needs_other_field"]),
        (
            with(json!({"completionCallbackUrl": acme.hook(), "completionCallbackContext": "x".repeat(20_000)})),
            vec!["/completionCallbackContext too_large"],
        ),
        // Keys.
        (with(json!({"clientToken": "no spaces allowed"})), vec!["/clientToken invalid"]),
        (with(json!({"clientToken": "k".repeat(256)})), vec!["/clientToken invalid"]),
        // Everything at once.
        (
            with(
                json!({"name": "", "executionBudgetUsd": -1, "input": {}, "layers": ["models"], "tags": {"source": "live"}}),
            ),
            vec![
                "/executionBudgetUsd out_of_range",
                "/input schema_violation",
                "/layers/0 not_found",
                "/name out_of_range",
                "/tags/source unknown_node",
            ],
        ),
    ] {
        let mut found = errors(&acme.post("/v1/workflow-runs", &request), 400);
        found.sort();
        assert_eq!(found, expected, "{}", request.chars().take(600).collect::<String>());
    }
    let key = acme.request("POST", "/v1/workflow-runs", &[("idempotency-key", "a")], with(json!({"clientToken": "b"})));
    assert_eq!(errors(&key, 400), ["/clientToken key_mismatch"]);
    let bad_key = acme.request("POST", "/v1/workflow-runs", &[("idempotency-key", "a b")], with(json!({})));
    assert_eq!(errors(&bad_key, 400), ["header:Idempotency-Key invalid"]);
    let other_type = acme.request("POST", "/v1/workflow-runs", &[("content-type", "text/plain")], with(json!({})));
    assert_eq!(errors(&other_type, 415), Vec::<String>::new());
    let too_large = acme.post("/v1/workflow-runs", with(json!({"labels": {"x": "y".repeat(300_000)}})));
    assert_eq!(errors(&too_large, 413), Vec::<String>::new());
    // Within the body's bound, but with what stands around it above what Step Functions takes from one state to the next.
    let too_much = with(json!({"input": {"n": 1, "list": ["\\".repeat(130_850)]}}));
    assert!(too_much.len() < 256 * 1024, "{}", too_much.len());
    let too_much = acme.post("/v1/workflow-runs", too_much);
    assert_eq!(errors(&too_much, 400), [" too_large"]);

    assert_eq!(acme.items(), before, "nothing was written");
    assert_eq!(acme.executions(), Vec::<String>::new());
    let taken = acme.post("/v1/workflow-runs", with(json!({})));
    assert_eq!(taken.status, 201, "the request that all of these are changes of is a good one: {}", taken.text());
}

#[test]
fn a_bad_invocation_is_refused_with_its_pointers() {
    let acme = Journey::of("bad-invocations");
    acme.define("hold", &hold(json!({"maxAttempts": 1})));
    acme.post("/v1/workflow-definitions", json!({"name": "empty"}));
    let before = acme.items();
    let invoke = |named: &str, request: &str| acme.post(&format!("/v1/workflow-definitions/{named}/invoke"), request);
    assert_eq!(errors(&invoke("nobodys", "{}"), 404), Vec::<String>::new());
    assert_eq!(errors(&invoke("0b0f5c1e-64a5-7d3a-9a5e-5d9f3e0c7a11", "{}"), 404), Vec::<String>::new());
    for (named, request, expected) in [
        ("hold", "{", " invalid_json"),
        ("hold", r#"{"version":0}"#, "/version out_of_range"),
        ("hold", r#"{"version":2}"#, "/version no_such_version"),
        ("empty", "{}", "/version no_such_version"),
        ("hold", r#"{"workflowInstanceId":"x"}"#, "/workflowInstanceId unknown_field"),
        ("hold", r#"{"idempotencyKey":""}"#, "/idempotencyKey invalid"),
        ("hold", r#"{"executionBudgetUsd":-0.5}"#, "/executionBudgetUsd out_of_range"),
        ("hold", r#"{"processorParams":{"hold":{"seconds":"1"}}}"#, "/processorParams/hold/seconds wrong_type"),
    ] {
        assert_eq!(errors(&invoke(named, request), 400), [expected], "{request}");
    }
    assert_eq!(acme.items(), before, "nothing was written");
}

#[test]
fn a_bad_definition_or_version_is_refused_with_its_pointers() {
    let acme = Journey::of("bad-versions");
    acme.define("hold", &hold(json!({"maxAttempts": 1})));
    let before = acme.items();
    for (request, expected) in [
        (json!({}), "/name missing_field"),
        (json!({"name": "no spaces"}), "/name invalid"),
        (json!({"name": "x".repeat(41)}), "/name invalid"),
        (json!({"name": "0b0f5c1e-64a5-7d3a-9a5e-5d9f3e0c7a11"}), "/name invalid"),
        (json!({"name": "a", "displayName": "x".repeat(256)}), "/displayName out_of_range"),
        (json!({"name": "a", "owner": "me"}), "/owner unknown_field"),
    ] {
        assert_eq!(errors(&acme.post("/v1/workflow-definitions", &request), 400), [expected], "{request}");
    }
    let taken = acme.post("/v1/workflow-definitions", json!({"name": "hold"}));
    assert_eq!(errors(&taken, 409), Vec::<String>::new());
    assert_eq!(taken.json()["code"], "name_taken");

    let work = |id: &str| json!({"id": id, "type": "processor", "processor": "echo"});
    for (version, expected) in [
        (json!({}), "/nodes missing_field"),
        (json!({"nodes": []}), "/nodes no_nodes"),
        (json!({"nodes": [work("a"), work("a")], "edges": [{"from": "a", "to": "a"}]}), "/nodes/1/id duplicate_node"),
        (
            json!({"nodes": [{"id": "a", "type": "processor", "processor": "nobodys"}]}),
            "/nodes/0/processor unknown_processor",
        ),
        (
            json!({"nodes": [{"id": "a", "type": "processor", "processor": "arn:aws:lambda:x"}]}),
            "/nodes/0/processor invalid",
        ),
        (json!({"nodes": [{"id": "a", "type": "gateway"}]}), "/nodes/0/type invalid"),
        (
            json!({"nodes": [work("a"), work("b")], "edges": [{"from": "a", "to": "b"}, {"from": "b", "to": "a"}]}),
            "/edges cycle",
        ),
        (json!({"nodes": [work("a")], "edges": [{"from": "a", "to": "b"}]}), "/edges/0/to dangling_edge"),
        (
            json!({"nodes": [work("a"), work("b"), {"id": "c", "type": "data-target", "processor": "readability"}], "edges": [{"from": "a", "to": "b"}]}),
            "/nodes/2 unreachable_node",
        ),
        (
            json!({"nodes": [work("a")], "inputSchema": {"$ref": "https://example.com/schema"}}),
            "/inputSchema invalid_schema",
        ),
        (
            json!({"nodes": (0..500).map(|n| work(&format!("n{n}"))).collect::<Vec<_>>(), "edges": (1..500).map(|n| json!({"from": format!("n{}", n - 1), "to": format!("n{n}")})).collect::<Vec<_>>()}),
            "/nodes history_too_long",
        ),
    ] {
        let answer = acme.post("/v1/workflow-definitions/hold/versions", &version);
        let found = errors(&answer, 400);
        assert!(found.iter().any(|error| error == expected), "{expected} is not among {found:?}");
    }
    let missing = acme.post("/v1/workflow-definitions/nobodys/versions", json!({"nodes": [work("a")]}));
    assert_eq!(errors(&missing, 404), Vec::<String>::new());
    let missing = acme.post("/v1/workflow-definitions/hold/versions/7/activate", "");
    assert_eq!(errors(&missing, 404), Vec::<String>::new());
    assert_eq!(acme.items(), before, "nothing was written");
}

#[test]
fn only_the_operator_declares_what_runs_where() {
    let acme = Journey::of("no-operator");
    let before = STACK.aws("dynamodb", "query", operator_items()).expect("items");
    let lambda =
        json!({"kind": "lambda", "functionArn": "arn:aws:lambda:us-east-1:000000000000:function:x", "tenants": ["*"]});
    for (method, path, request) in [
        ("PUT", "/v1/processors/mine", lambda),
        ("PUT", "/v1/compute-nodes/mine", json!({"tenants": ["*"]})),
        ("PUT", "/v1/compute-nodes/default/layers/models", json!({"status": "READY"})),
        ("GET", "/v1/processors", json!({})),
        ("GET", "/v1/processors/echo", json!({})),
        ("GET", "/v1/compute-nodes", json!({})),
        ("GET", "/v1/compute-nodes/default", json!({})),
        ("GET", "/v1/tenants", json!({})),
        ("GET", "/v1/tenants/no-operator", json!({})),
        ("PUT", "/v1/tenants/no-operator", json!({"concurrency": {"maxConcurrentRuns": 1000}})),
    ] {
        let body = if method == "GET" { String::new() } else { request.to_string() };
        let refused = acme.request(method, path, &[], body);
        assert_eq!(errors(&refused, 403), Vec::<String>::new(), "{method} {path}");
        assert_eq!(refused.json()["code"], "operator_only");
    }
    assert_eq!(STACK.aws("dynamodb", "query", operator_items()).expect("items"), before);
    let operator = acme.neighbour(&STACK.tenant);
    let no_arn = json!({"kind": "lambda", "functionArn": "arn:aws:lambda:us-east-1:000000000000:function:x:7", "tenants": ["*"]});
    let refused = operator.request("PUT", "/v1/processors/mine", &[], no_arn.to_string());
    assert_eq!(errors(&refused, 400), ["/functionArn invalid_arn"]);
    let shown = operator.read("/v1/processors/echo");
    assert_eq!((&shown["key"], &shown["kind"]), (&json!("echo"), &json!("lambda")));
}

fn operator_items() -> Value {
    json!({
        "TableName": STACK.table,
        "IndexName": "byTenant",
        "KeyConditionExpression": "tenantKey = :key",
        "FilterExpression": "timeKey = :mine OR timeKey = :default",
        "ExpressionAttributeValues": {":key": {"S": "OP#PROCESSORS"}, ":mine": {"S": "mine"}, ":default": {"S": "default"}},
    })
}

#[test]
fn a_bad_path_or_query_is_refused() {
    let acme = Journey::of("bad-paths");
    for (path, expected) in [
        ("/v1/workflow-runs?limit=0", vec!["query:limit out_of_range"]),
        ("/v1/workflow-runs?limit=101", vec!["query:limit out_of_range"]),
        ("/v1/workflow-runs?status=DONE", vec!["query:status invalid"]),
        ("/v1/workflow-runs?state=RUNNING", vec!["query:state unknown_field"]),
        ("/v1/workflow-runs?createdFrom=yesterday", vec!["query:createdFrom invalid"]),
        ("/v1/workflow-runs?cursor=abc", vec!["query:cursor invalid_cursor"]),
        ("/v1/workflow-runs?workflowDefinitionId=hold", vec!["query:workflowDefinitionId invalid"]),
    ] {
        assert_eq!(errors(&acme.get(path), 400), expected, "{path}");
    }
    let id = "0b0f5c1e-64a5-4d3a-9a5e-5d9f3e0c7a11";
    for path in [
        format!("/v1/workflow-runs/{id}"),
        format!("/v1/workflow-runs/{id}/steps"),
        format!("/v1/workflow-runs/{id}/steps/a"),
        format!("/v1/workflow-runs/{id}/deliveries"),
        format!("/v1/workflow-instances/{id}"),
        format!("/v1/workflow-definitions/{id}"),
        format!("/v1/workflow-definitions/{id}/versions"),
        "/v1/workflow-definitions/nobodys".to_owned(),
        "/v1/workflow-definitions/nobodys/versions/1".to_owned(),
    ] {
        assert_eq!(errors(&acme.get(&path), 404), Vec::<String>::new(), "{path}");
        assert_eq!(acme.get(&path).json()["code"], "not_found", "{path}");
    }
    for path in [
        "/v1/workflow-runs/7",
        "/v1/workflow-runs/0B0F5C1E-64A5-4D3A-9A5E-5D9F3E0C7A11/steps",
        "/v1/workflow-instances/x",
    ] {
        let refused = acme.get(path);
        assert!(refused.status == 400 || refused.status == 404, "{path}: {}", refused.text());
        errors(&refused, refused.status);
    }
    let wait = acme.get(&format!("/v1/workflow-runs/{id}?waitSeconds=21"));
    assert_eq!(errors(&wait, 400), ["query:waitSeconds out_of_range"]);
    assert_eq!(acme.items(), Vec::<Value>::new(), "a tenant that has made nothing has nothing");
}

#[test]
fn an_unknown_route_is_404_and_a_wrong_method_405() {
    let acme = Journey::of("no-route");
    // Only what is spelled out in the template gets past the gateway.
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/v1"),
        ("GET", "/v2/workflow-runs"),
        ("DELETE", "/v1/workflow-runs"),
        ("POST", "/v1/workflow-runs/0b0f5c1e-64a5-4d3a-9a5e-5d9f3e0c7a11"),
    ] {
        assert_eq!(acme.request(method, path, &[], "").status, 404, "{method} {path}");
    }
    // A function behind its own URL has to know by itself.
    let ask = |function: &str, method: &str, path: &str| {
        STACK
            .request_function_url(function, method, path, &[], "")
            .unwrap_or_else(|error| panic!("{function}: {error}"))
    };
    for (function, path, allowed) in [
        ("create-run", "/v1/workflow-runs", "POST"),
        ("read-runs", "/v1/workflow-runs", "GET"),
        ("cancel-run", "/v1/workflow-runs/0b0f5c1e-64a5-4d3a-9a5e-5d9f3e0c7a11/cancel", "POST"),
        ("invoke-definition", "/v1/workflow-definitions/hold/invoke", "POST"),
        ("manage-definitions", "/v1/workflow-definitions", "GET"),
    ] {
        let refused = ask(function, "DELETE", path);
        assert_eq!(errors(&refused, 405), Vec::<String>::new(), "{function}");
        assert!(refused.header("allow").is_some_and(|header| header.contains(allowed)), "{function}");
        let nowhere = ask(function, "GET", "/v1/nowhere");
        assert_eq!(errors(&nowhere, 404), Vec::<String>::new(), "{function}");
        assert_eq!(nowhere.json()["code"], "no_route", "{function}");
    }
}
