//! Every sample event of this function, with what it is answered; and what a caller can rely on beyond them.

mod support;

use serde_json::{Value, json};
use sluice_core::governor::access::{KeyHead, KeyText};
use sluice_core::ports::{Clock, ManageKeys, ReadLedgers};
use sluice_edge::http::Response;
use sluice_testkit::block_on;
use sluice_testkit::samples::{self, World, request};
use std::collections::BTreeSet;
use support::{DISCOVERABLE, answer, answer_with, world};

/// Case, status, and what the body says.
const EXPECTED: [(&str, u16, &[&str]); 103] = [
    (
        "create-definition",
        201,
        &[
            r#"{"id":"00000000-0000-0000-0000-000000000009","name":"summarize","displayName":"Summarize""#,
            r#""latestVersion":null"#,
        ],
    ),
    ("create-definition-function-url-iam", 201, &[r#""name":"summarize","displayName":null"#]),
    ("create-definition-name-taken", 409, &[r#""code":"name_taken""#]),
    ("create-definition-bad-name", 400, &[r#""pointer":"/name","code":"invalid""#]),
    ("create-definition-no-name", 400, &[r#""pointer":"/name","code":"missing_field""#]),
    (
        "list-definitions",
        200,
        &[r#"{"definitions":[{"id":"019a6b3c-4d5e-7f60-8a1b-2c3d4e5f6071""#, r#""nextCursor":null}"#],
    ),
    ("get-definition", 200, &[r#""activeVersion":1,"latestVersion":1"#]),
    ("get-definition-other-tenant", 404, &[r#""code":"not_found""#]),
    ("get-definition-no-identity", 401, &[r#""code":"unauthenticated""#]),
    ("change-definition", 200, &[r#""displayName":"Text report","description":"Reads a text and reports""#]),
    ("add-version", 201, &[r#""version":2,"active":true"#, r#""createdBy":"ada""#]),
    (
        "add-version-faulty",
        400,
        &[
            r#""pointer":"/nodes/1/processor","code":"unknown_processor""#,
            r#""pointer":"/nodes/1/retry/maxAttempts","code":"out_of_range""#,
            r#""pointer":"/nodes/2/id","code":"duplicate_node""#,
            r#""pointer":"/nodes/2/processor","code":"unexpected_processor""#,
            r#""pointer":"/edges/2/to","code":"dangling_edge""#,
            r#""pointer":"/edges","code":"cycle""#,
        ],
    ),
    ("add-version-unknown-field", 400, &[r#""pointer":"/nodes/0/colour","code":"unknown_field""#]),
    ("list-versions", 200, &[r#"{"versions":[{"version":1,"active":true,"deprecated":false"#]),
    (
        "get-version",
        200,
        &[r#""version":1,"active":true,"deprecated":false,"nodes":[{"id":"text","type":"data-source"}"#],
    ),
    ("get-version-unknown", 404, &[r#""code":"not_found""#]),
    ("activate-version", 200, &[r#""activeVersion":1"#]),
    ("activate-version-unknown", 404, &[r#""code":"not_found""#]),
    (
        "save-instance",
        201,
        &[
            r#""version":"active","computeNodeId":"default""#,
            r#"{"nodeId":"frequencies","params":{"top":5},"tag":null}"#,
        ],
    ),
    ("save-instance-unknown", 400, &[r#""pointer":"/workflowDefinitionId","code":"not_found""#]),
    ("save-instance-repeated-node", 400, &[r#""pointer":"/processorConfigs/1/nodeId","code":"repeated""#]),
    ("list-instances", 200, &[r#"{"instances":[{"id":""#]),
    ("get-instance", 200, &[r#"{"id":"e87ccfe3-012d-5094-840c-bf2aedb93e24""#]),
    ("get-instance-unknown", 404, &[r#""code":"not_found""#]),
    (
        "put-processor",
        200,
        &[
            r#"{"key":"summarize","kind":"lambda","functionArn":"#,
            r#""tags":["$LATEST","live"],"description":"Sums up""#,
        ],
    ),
    ("put-processor-state-machine", 200, &[r#""kind":"stateMachine","stateMachineArn":"#, r#""tenants":["dev"]"#]),
    ("put-processor-not-operator", 403, &[r#""code":"operator_only""#]),
    (
        "put-processor-bad-arn",
        400,
        &[r#""pointer":"/functionArn","code":"invalid_arn""#, r#""pointer":"/tenants/1","code":"invalid""#],
    ),
    (
        "put-processor-bad-kind",
        400,
        &[r#""pointer":"/kind","code":"invalid","detail":"must be one of `lambda`, `stateMachine`, `ecs`""#],
    ),
    ("put-processor-bad-key", 400, &[r#""pointer":"path:key","code":"invalid""#]),
    ("get-processor", 200, &[r#"{"key":"readability","kind":"lambda""#]),
    ("list-processors", 200, &[r#"{"processors":[{"key":"readability""#, r#""nextCursor":""#]),
    ("list-processors-not-operator", 403, &[r#""code":"operator_only""#]),
    (
        "put-compute-node",
        200,
        &[r#""tenants":["*"]"#, r#""layers":{"models":"CREATING"},"maxBudgetUsd":12.5"#, samples::RUNNER_ARN],
    ),
    (
        "put-compute-node-bad-budget",
        400,
        &[r#""pointer":"/maxBudgetUsd","code":"wrong_type""#, r#""pointer":"/layers/no spaces","code":"invalid""#],
    ),
    ("put-layer", 200, &[r#""layers":{"corpora":"READY","models":"READY"}"#]),
    ("get-compute-node", 200, &[r#""registry":{"uploadBucket":"uploads"}"#]),
    ("list-compute-nodes", 200, &[r#"{"computeNodes":[{"key":"default""#]),
    ("wrong-method", 405, &[r#""code":"method_not_allowed""#]),
    ("wrong-path", 404, &[r#""code":"no_route""#]),
    (
        "create-definition-everything",
        201,
        &[
            r#""concurrency":{"maxConcurrentRuns":20,"onLimit":"queue"}"#,
            r#""retention":{"maxAgeSeconds":2592000,"preserveOnFailure":true},"maxRunDurationSeconds":3600"#,
            r#""excludePausedTime":true,"discoverable":true,"tags":["language","text"]"#,
        ],
    ),
    (
        "create-definition-bad-rules",
        400,
        &[
            r#""pointer":"/concurrency/maxConcurrentRuns","code":"out_of_range""#,
            r#""pointer":"/retention/maxAgeSeconds","code":"out_of_range""#,
            r#""pointer":"/maxRunDurationSeconds","code":"out_of_range""#,
            r#""pointer":"/tags","code":"out_of_range""#,
        ],
    ),
    (
        "change-definition-rules",
        200,
        &[
            r#""displayName":"Text report""#,
            r#""concurrency":{"maxConcurrentRuns":1,"onLimit":"reject"}"#,
            r#""retention":{"maxAgeSeconds":86400,"preserveOnFailure":false},"maxRunDurationSeconds":600"#,
            r#""discoverable":true,"tags":["text"]"#,
        ],
    ),
    (
        "change-definition-no-rules",
        200,
        &[r#""concurrency":null,"retention":null,"maxRunDurationSeconds":null"#, r#""discoverable":false,"tags":[]"#],
    ),
    ("change-definition-bad-tags", 400, &[r#""pointer":"/tags/2","code":"repeated""#]),
    ("deprecate-version", 200, &[r#""activeVersion":1,"latestVersion":1,"deprecatedVersions":[1]"#]),
    ("deprecate-version-unknown", 404, &[r#""code":"not_found""#]),
    (
        "add-version-private",
        201,
        &[r#""default":["the","a"],"private":true"#, r#""description":"Our own score","private":true"#],
    ),
    ("put-draft", 200, &[r#""nodes":[{"id":"text","type":"data-source"},{"id":"readability""#, r#""updatedBy":"ada""#]),
    (
        "put-draft-faulty",
        400,
        &[
            r#""pointer":"/nodes/0/processor","code":"missing_processor""#,
            r#""pointer":"/edges/0/to","code":"dangling_edge""#,
        ],
    ),
    ("put-draft-activate", 400, &[r#""pointer":"/activate","code":"unknown_field""#]),
    ("get-draft", 200, &[r#""nodes":[{"id":"only","type":"data-source"}]"#, r#""updatedBy":"olga""#]),
    ("get-draft-unknown", 404, &[r#""code":"not_found""#]),
    ("delete-draft", 204, &[]),
    (
        "list-discoverable",
        200,
        &[r#"{"definitions":[{"owner":"library","id":"019a6b3c-4d5e-7f60-8a1b-2c3d4e5f6099","name":"word-count""#],
    ),
    (
        "list-discoverable-bad-query",
        400,
        &[r#""pointer":"query:text","code":"out_of_range""#, r#""pointer":"query:name","code":"unknown_field""#],
    ),
    ("get-discoverable", 200, &[r#""tags":["language","text"],"activeVersion":1}"#]),
    ("get-discoverable-unknown", 404, &[r#""code":"not_found""#]),
    (
        "get-discoverable-version",
        200,
        &[r#"{"workflowDefinitionOwner":"library""#, r#""version":1,"active":true,"deprecated":false,"nodes":["#],
    ),
    ("get-discoverable-version-draft", 404, &[r#""code":"not_found""#]),
    ("save-instance-draft", 201, &[r#""version":"draft""#]),
    (
        "put-processor-ecs",
        200,
        &[
            r#""kind":"ecs","clusterArn":"arn:aws:ecs:us-east-1:123456789012:cluster/sluice""#,
            r#""launchType":"FARGATE","subnets":["subnet-0a1b2c3d"],"securityGroups":["sg-0a1b2c3d"],"assignPublicIp":true"#,
        ],
    ),
    (
        "put-processor-ecs-missing",
        400,
        &[
            r#""pointer":"/functionArn","code":"unknown_field""#,
            r#""pointer":"/taskDefinitionArn","code":"missing_field""#,
            r#""pointer":"/containerName","code":"missing_field""#,
        ],
    ),
    ("put-processor-ecs-no-subnets", 400, &[r#""pointer":"/subnets","code":"#]),
    ("list-tenants", 200, &[r#"{"tenants":[{"tenantId":"acme""#]),
    ("list-tenants-not-operator", 403, &[r#""code":"operator_only""#]),
    (
        "get-tenant",
        200,
        &[r#"{"tenantId":"acme","concurrency":{"maxConcurrentRuns":50,"onLimit":"queue"},"retention":null"#],
    ),
    (
        "get-tenant-nothing-said",
        200,
        &[r#""concurrency":null,"retention":null,"destinations":null,"secretPrefixes":null,"updatedAt":null"#],
    ),
    ("get-tenant-bad-id", 400, &[r#""pointer":"path:tenant","code":"invalid""#]),
    (
        "put-tenant",
        200,
        &[
            r#""onLimit":"reject"},"retention":{"maxAgeSeconds":7776000,"preserveOnFailure":false}"#,
            r#""destinations":["https://abcdefghijklmnopqrstuvwxyz012345.lambda-url.us-east-1.on.aws"]"#,
            r#""limits":{"startsPerMinute":600,"openRuns":5000}"#,
            r#""secretPrefixes":["arn:aws:secretsmanager:us-east-1:123456789012:secret:acme/"]"#,
        ],
    ),
    (
        "put-tenant-bad-secrets",
        400,
        &[
            r#""pointer":"/secretPrefixes/1","code":"invalid_arn""#,
            r#""pointer":"/secretPrefixes/2","code":"invalid_arn""#,
            r#""pointer":"/secretPrefixes/3","code":"invalid_arn""#,
        ],
    ),
    (
        "put-tenant-bad-destinations",
        400,
        &[
            r#""pointer":"/concurrency/maxConcurrentRuns","code":"out_of_range""#,
            r#""pointer":"/limits/waitsAtOnce","code":"out_of_range""#,
            r#""pointer":"/limits/openRuns","code":"out_of_range""#,
            r#""pointer":"/destinations/1","code":"invalid""#,
            r#""pointer":"/destinations/2","code":"callback_url_not_allowed""#,
        ],
    ),
    ("put-tenant-not-operator", 403, &[r#""code":"operator_only""#]),
    (
        "put-model",
        200,
        &[
            r#"{"key":"haiku","ids":["us.anthropic.claude-haiku-4-5-20251001-v1:0"],"tenants":["*"],"contextTokens":200000"#,
            r#""countsTokens":true,"cachesUnasked":false,"prices":[{"from":"2026-01-01T00:00:00.000Z","until":null"#,
            r#""tiers":{"default":{"input":1.1,"output":5.5,"cacheRead":0.11,"cacheWrite5m":1.375,"cacheWrite1h":2.2"#,
        ],
    ),
    (
        "put-model-everything",
        200,
        &[
            r#""arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3d4e5f6","eu.anthropic."#,
            r#""prices":[{"from":"2026-01-01T00:00:00.000Z","until":"2027-01-01T00:00:00.000Z""#,
            r#""longContext":{"aboveTokens":200000,"input":6.6,"output":24.75,"cacheRead":0.66,"#,
            r#""priority":{"input":5.775,"output":28.875,"cacheRead":null"#,
            r#""guardrailTextUnit":0.00015},{"from":"2027-01-01T00:00:00.000Z","until":null"#,
            r#"{"input":3.000000001,"output":15,"#,
        ],
    ),
    ("put-model-faulty", 400, &[r#""pointer":"/tenants/1","code":"invalid""#]),
    (
        "put-model-bad-prices",
        400,
        &[
            r#""pointer":"/ids/1","code":"invalid""#,
            r#""pointer":"/ids/2","code":"repeated""#,
            r#""pointer":"/contextTokens","code":"out_of_range""#,
            r#""pointer":"/prices/0/from","code":"missing_field""#,
            r#""pointer":"/prices/0/tiers/default/input","code":"out_of_range""#,
            r#""pointer":"/prices/0/tiers/default/output","code":"invalid""#,
            r#""pointer":"/prices/1/tiers/default/input","code":"wrong_type""#,
            r#""pointer":"/prices/1/tiers/default/output","code":"missing_field""#,
            r#""pointer":"/prices/1/tiers/default/cacheWrite5m","code":"out_of_range""#,
            r#""pointer":"/prices/1/tiers/reserved","code":"invalid""#,
            r#""pointer":"/prices/1/guardrailTextUnit","code":"out_of_range""#,
            r#""pointer":"/prices/2/until","code":"out_of_range""#,
            r#""pointer":"/prices/2/tiers","code":"out_of_range""#,
            r#""pointer":"/prices/3/tiers/flex/longContext/aboveTokens","code":"out_of_range""#,
            r#""pointer":"/prices/3/tiers/flex/longContext/output","code":"missing_field""#,
            r#""pointer":"/prices/5/from","code":"repeated""#,
        ],
    ),
    ("put-model-unknown-field", 400, &[r#""pointer":"/prices/0/tiers/default/batch","code":"unknown_field""#]),
    ("put-model-id-taken", 409, &[r#""code":"model_id_taken""#, "us.acme.small-v1:0 belongs to the model small"]),
    ("put-model-not-operator", 403, &[r#""code":"operator_only""#]),
    ("put-model-bad-key", 400, &[r#""pointer":"path:key","code":"invalid""#]),
    ("get-model", 200, &[r#"{"key":"small","ids":["us.acme.small-v1:0"],"tenants":["dev"]"#]),
    ("get-model-other-tenants", 404, &[r#""code":"not_found""#]),
    ("list-models", 200, &[r#"{"models":[{"key":"small""#, r#""tenants":["dev"]"#, r#""nextCursor":null}"#]),
    ("list-models-operator", 200, &[r#"{"models":[{"key":"foreign""#, r#""tenants":["acme"]"#, r#""nextCursor":""#]),
    ("delete-model", 204, &[]),
    ("delete-model-unknown", 404, &[r#""code":"not_found""#]),
    ("delete-model-not-operator", 403, &[r#""code":"operator_only""#]),
    ("put-tenant-budget", 200, &[r#""budget":{"period":"month","maxUsd":250,"perUserMaxUsd":2.5}"#]),
    (
        "put-tenant-bad-budget",
        400,
        &[
            r#""pointer":"/budget/maxUsd","code":"out_of_range""#,
            r#""pointer":"/budget/perUserMaxUsd","code":"wrong_type""#,
            r#""pointer":"/secretPrefixes/0","code":"invalid_arn""#,
        ],
    ),
    (
        "put-compute-node-budget",
        200,
        &[r#""maxBudgetUsd":12.5,"budget":{"period":"day","maxUsd":null,"perUserMaxUsd":0.000001}"#],
    ),
    ("put-compute-node-empty-budget", 400, &[r#""pointer":"/budget","code":"missing_field""#]),
    ("get-budgets", 200, &[r#"{"userId":null,"budgets":[]}"#]),
    (
        "get-budgets-of-a-user",
        200,
        &[
            r#"{"userId":"ann@acme.example","budgets":[{"computeNodeId":null,"period":"month","#,
            r#""all":{"maxUsd":250,"drawnUsd":0,"leftUsd":250},"user":{"maxUsd":2.5,"drawnUsd":0,"leftUsd":2.5}}"#,
            r#"{"computeNodeId":"shared","period":"day","#,
            r#""all":{"maxUsd":10,"drawnUsd":0,"leftUsd":10},"user":null}]}"#,
        ],
    ),
    (
        "get-budgets-bad-user",
        400,
        &[r#""pointer":"query:userId","code":"invalid""#, r#""pointer":"query:user","code":"unknown_field""#],
    ),
    ("add-version-on-budget-exceeded", 201, &[r#""onBudgetExceeded":"refuse""#]),
    (
        "create-processor-key",
        201,
        &[
            r#""key":"spk.readability.0000000000000000000000000000000700000000000000000000000000000009","createdBy":"olga""#,
        ],
    ),
    ("create-processor-key-not-operator", 403, &[r#""code":"operator_only""#]),
    ("create-processor-key-unknown", 404, &["there is no processor nothing"]),
    ("list-processor-keys", 200, &[r#"{"keys":[]}"#]),
    ("delete-processor-key-unknown", 404, &["there is no key of a processor 0123456789abcdef"]),
    ("delete-processor-key-not-operator", 403, &[r#""code":"operator_only""#]),
    ("list-definitions-bad-cursor", 400, &[r#""pointer":"query:cursor","code":"invalid_cursor""#]),
];

#[test]
fn every_sample_is_answered_as_expected() {
    let cases = samples::cases("manage-definitions");
    for case in cases.keys() {
        assert!(EXPECTED.iter().any(|(expected, ..)| expected == case), "{case} is not tested");
    }
    for (case, status, says) in EXPECTED {
        let world = world();
        world.clock.advance(1);
        let writes = world.store.writes();
        let response = answer(&world, &cases[case]);
        assert_eq!(response.status(), status, "{case}: {}", response.body());
        for text in says {
            assert!(response.body().contains(text), "{case} does not say {text}: {}", response.body());
        }
        if status >= 400 {
            assert_eq!(world.store.writes(), writes, "{case} left a trace");
        }
        assert_eq!(response.header("location").is_some(), status == 201, "{case}");
    }
}

fn send(world: &World, method: &str, path: &str, body: &str) -> Response {
    answer(world, &request("dev", method, path, body).to_string())
}

fn json_of(response: &Response) -> Value {
    serde_json::from_str(response.body()).expect("JSON")
}

#[test]
fn equal_content_is_found_again_and_other_content_is_another_instance() {
    let world = world();
    world.clock.advance(1);
    let body =
        r#"{"workflowDefinitionId":"text-report","processorConfigs":[{"nodeId":"frequencies","params":{"top":7}}]}"#;
    let first = send(&world, "POST", "/v1/workflow-instances", body);
    world.clock.advance(1);
    let second = send(&world, "POST", "/v1/workflow-instances", body);
    let other = send(&world, "POST", "/v1/workflow-instances", &body.replace('7', "8"));
    assert_eq!((first.status(), second.status(), other.status()), (201, 200, 201));
    assert_eq!(json_of(&first)["id"], json_of(&second)["id"]);
    assert_ne!(json_of(&first)["id"], json_of(&other)["id"]);
}

#[test]
fn a_version_never_changes_and_the_active_one_is_chosen() {
    let world = world();
    let path = "/v1/workflow-definitions/text-report";
    let body = r#"{"nodes":[{"id":"only","type":"data-source"}]}"#;
    let added = send(&world, "POST", &format!("{path}/versions"), body);
    assert_eq!(added.status(), 201);
    assert_eq!(
        added.header("location"),
        Some(format!("/v1/workflow-definitions/{}/versions/2", samples::DEFINITION).as_str())
    );
    assert_eq!(json_of(&send(&world, "GET", path, ""))["activeVersion"], 1);
    assert_eq!(send(&world, "POST", &format!("{path}/versions/2/activate"), "").status(), 200);
    assert_eq!(json_of(&send(&world, "GET", path, ""))["activeVersion"], 2);
    let first = json_of(&send(&world, "GET", &format!("{path}/versions/1"), ""));
    assert_eq!(first["nodes"].as_array().map(Vec::len), Some(5));
}

#[test]
fn an_array_is_no_node_edge_retry_or_parameter() {
    let world = world();
    let path = "/v1/workflow-definitions/text-report/versions";
    for (body, pointer) in [
        (r#"{"nodes":[["a","data-source"]]}"#, "/nodes/0"),
        (r#"{"nodes":[{"id":"a","type":"data-source"}],"edges":[["a","a"]]}"#, "/edges/0"),
        (r#"{"nodes":[{"id":"a","type":"processor","retry":[3,1,2]}]}"#, "/nodes/0/retry"),
        (r#"{"nodes":[{"id":"a","type":"processor","parameters":{"top":["integer"]}}]}"#, "/nodes/0/parameters/top"),
    ] {
        let problem = json_of(&send(&world, "POST", path, body));
        assert_eq!(
            (&problem["errors"][0]["pointer"], &problem["errors"][0]["code"]),
            (&pointer.into(), &"wrong_type".into())
        );
    }
}

#[test]
fn only_the_operator_sees_what_the_operator_declares() {
    let world = world();
    let writes = world.store.writes();
    for (method, path, body) in [
        ("GET", "/v1/processors", ""),
        ("GET", "/v1/processors/readability", ""),
        ("PUT", "/v1/processors/readability", "{}"),
        ("GET", "/v1/compute-nodes", ""),
        ("GET", "/v1/compute-nodes/default", ""),
        ("PUT", "/v1/compute-nodes/default", "[]"),
        ("PUT", "/v1/compute-nodes/default/layers/models", "not JSON"),
        ("PUT", "/v1/models/small", "not JSON"),
        ("DELETE", "/v1/models/small", ""),
        ("POST", "/v1/processors/readability/keys", ""),
        ("GET", "/v1/processors/readability/keys", ""),
        ("DELETE", "/v1/processors/readability/keys/1", ""),
        ("GET", "/v1/processors/no%20key?nope=1", ""),
        ("GET", "/v1/compute-nodes?limit=0", ""),
        ("GET", "/v1/tenants?cursor=none", ""),
        ("GET", "/v1/tenants/dev", ""),
        ("PUT", "/v1/tenants/dev", "not JSON"),
        ("PUT", "/v1/tenants/no%20tenant", "{}"),
    ] {
        assert_eq!(send(&world, method, path, body).status(), 403, "{method} {path}");
    }
    assert_eq!(world.store.writes(), writes);
}

#[test]
fn a_compute_node_declared_anew_keeps_its_layers_unless_it_names_others() {
    let world = world();
    let path = "/v1/compute-nodes/default";
    let put = |path: &str, body: &str| {
        let mut event = request("dev", "PUT", path, body);
        event["requestContext"]["authorizer"]["jwt"]["claims"]["scope"] = "sluice/operator".into();
        let response = answer(&world, &event.to_string());
        assert_eq!(response.status(), 200, "{}", response.body());
        json_of(&response)
    };
    let set = put(&format!("{path}/layers/models"), r#"{"status":"FAILED"}"#)["layers"].clone();
    assert_eq!(set["models"], "FAILED");
    for body in ["{}", r#"{"tenants":["dev"]}"#, r#"{"layers":null}"#] {
        assert_eq!(put(path, body)["layers"], set, "{body}");
    }
    assert_eq!(put(path, r#"{"layers":{"corpora":"READY"}}"#)["layers"], json!({"corpora": "READY"}));
    assert_eq!(put(path, r#"{"layers":{}}"#)["layers"], json!({}));
}

#[test]
fn what_is_left_out_is_replaced_by_a_put_and_kept_by_a_patch() {
    let world = world();
    let ask = |method: &str, path: &str, body: &str| {
        let mut event = request("dev", method, path, body);
        event["requestContext"]["authorizer"]["jwt"]["claims"]["scope"] = "sluice/operator".into();
        let response = answer(&world, &event.to_string());
        assert!(matches!(response.status(), 200 | 201), "{method} {path}: {}", response.body());
        json_of(&response)
    };
    let function =
        r#""kind":"lambda","functionArn":"arn:aws:lambda:us-east-1:123456789012:function:sluice-processor-spare""#;
    let definition = r#"{"displayName":"Reports","description":"of texts","tags":["a"],"discoverable":true,
        "concurrency":{"maxConcurrentRuns":3,"onLimit":"queue"},"retention":{"maxAgeSeconds":60,"preserveOnFailure":true}}"#;
    // What is said first, what is said then, and what of it counts.
    for (method, path, first, then, counts) in [
        (
            "PUT",
            "/v1/tenants/acme",
            r#"{"concurrency":{"maxConcurrentRuns":3},"retention":{"maxAgeSeconds":60},"destinations":[],
                "budget":{"period":"day","maxUsd":1}}"#
                .to_owned(),
            "{}".to_owned(),
            json!({"concurrency": null, "retention": null, "destinations": null, "budget": null}),
        ),
        (
            "PUT",
            "/v1/processors/spare",
            format!(r#"{{{function},"tenants":["dev"],"description":"counts"}}"#),
            format!(r#"{{{function},"tenants":["dev"]}}"#),
            json!({"tenants": ["dev"], "description": null}),
        ),
        (
            "PUT",
            "/v1/compute-nodes/spare",
            r#"{"tenants":["dev"],"registry":{"bucket":"a"},"layers":{"models":"READY"},"maxBudgetUsd":1.5,
                "budget":{"period":"day","perUserMaxUsd":1}}"#
                .to_owned(),
            "{}".to_owned(),
            // The states of its layers are reported one by one, by others than who declares the node.
            json!({"tenants": ["*"], "registry": {}, "layers": {"models": "READY"}, "maxBudgetUsd": null, "budget": null}),
        ),
        (
            "PATCH",
            "/v1/workflow-definitions/text-report",
            definition.to_owned(),
            "{}".to_owned(),
            serde_json::from_str(definition).expect("JSON"),
        ),
    ] {
        ask(method, path, &first);
        let said = ask(method, path, &then);
        for (field, value) in counts.as_object().expect("fields") {
            assert_eq!(&said[field], value, "{field} after {method} {path}");
        }
    }
}

#[test]
fn a_rule_stays_until_it_is_taken_away() {
    let world = world();
    let path = "/v1/workflow-definitions/text-report";
    let rules = r#"{"concurrency":{"maxConcurrentRuns":3,"onLimit":"queue"},"retention":{"maxAgeSeconds":-1},
        "maxRunDurationSeconds":60,"excludePausedTime":true,"discoverable":true,"tags":["a"]}"#;
    let set = json_of(&send(&world, "PATCH", path, rules));
    let unchanged = r#"{"displayName":null,"excludePausedTime":null,"discoverable":null,"tags":null}"#;
    for body in ["{}", unchanged] {
        let kept = json_of(&send(&world, "PATCH", path, body));
        for field in ["displayName", "concurrency", "retention", "maxRunDurationSeconds", "discoverable", "tags"] {
            assert_eq!(kept[field], set[field], "{field} after {body}");
        }
    }
    for field in ["concurrency", "retention", "maxRunDurationSeconds"] {
        assert!(!json_of(&send(&world, "GET", path, ""))[field].is_null(), "{field}");
        let without = json_of(&send(&world, "PATCH", path, &format!(r#"{{"{field}":null}}"#)));
        assert!(without[field].is_null(), "{field}");
        assert_eq!(without["excludePausedTime"], true);
    }
}

#[test]
fn an_array_is_no_rule() {
    let world = world();
    for (path, method) in [("/v1/workflow-definitions/text-report", "PATCH"), ("/v1/workflow-definitions", "POST")] {
        for (field, value) in [("concurrency", r#"[3,"queue"]"#), ("retention", "[60,true]")] {
            let body = format!(r#"{{"name":"new","{field}":{value}}}"#);
            let body = if method == "PATCH" { body.replace(r#""name":"new","#, "") } else { body };
            let problem = json_of(&send(&world, method, path, &body));
            assert_eq!(problem["errors"][0]["pointer"], format!("/{field}"));
            assert_eq!(problem["errors"][0]["code"], "wrong_type");
        }
    }
}

#[test]
fn a_deprecated_version_is_shown_as_one_until_it_is_activated() {
    let world = world();
    let path = "/v1/workflow-definitions/text-report";
    let shown = || {
        let version = json_of(&send(&world, "GET", &format!("{path}/versions/1"), ""));
        let list = json_of(&send(&world, "GET", &format!("{path}/versions"), ""));
        assert_eq!(list["versions"][0]["deprecated"], version["deprecated"]);
        version["deprecated"].clone()
    };
    for _ in 0..2 {
        assert_eq!(
            json_of(&send(&world, "POST", &format!("{path}/versions/1/deprecate"), ""))["deprecatedVersions"][0],
            1
        );
        assert_eq!(shown(), true);
    }
    send(&world, "POST", &format!("{path}/versions/1/activate"), "");
    assert_eq!(shown(), false);
}

#[test]
fn a_draft_is_written_over_and_thrown_away_and_never_becomes_a_version() {
    let world = world();
    let path = "/v1/workflow-definitions/text-report";
    let draft = format!("{path}/draft");
    for id in ["one", "two"] {
        let body = format!(r#"{{"nodes":[{{"id":"{id}","type":"data-source"}}]}}"#);
        assert_eq!(send(&world, "PUT", &draft, &body).status(), 200);
        assert_eq!(json_of(&send(&world, "GET", &draft, ""))["nodes"][0]["id"], id);
    }
    assert_eq!(json_of(&send(&world, "GET", path, ""))["latestVersion"], 1);
    for _ in 0..2 {
        let deleted = send(&world, "DELETE", &draft, "");
        assert_eq!((deleted.status(), deleted.body()), (204, ""));
    }
    assert_eq!(send(&world, "GET", &draft, "").status(), 404);
    assert_eq!(send(&world, "DELETE", "/v1/workflow-definitions/nothing/draft", "").status(), 404);
}

#[test]
fn a_draft_is_its_owners_alone() {
    let world = world();
    let path = format!("/v1/workflow-definitions/{DISCOVERABLE}/draft");
    for (method, body) in [("GET", ""), ("PUT", r#"{"nodes":[{"id":"a","type":"data-source"}]}"#), ("DELETE", "")] {
        assert_eq!(send(&world, method, &path, body).status(), 404, "{method}");
    }
}

#[test]
fn others_never_see_what_is_private() {
    let world = world();
    let path = format!("/v1/discoverable-definitions/{DISCOVERABLE}");
    for version in ["1", "active", "latest"] {
        let found = send(&world, "GET", &format!("{path}/versions/{version}"), "");
        assert_eq!(found.status(), 200, "{version}");
        assert!(!found.body().contains("hush"), "{}", found.body());
        let nodes = &json_of(&found)["nodes"];
        assert_eq!(nodes[1]["processor"], "word-frequencies");
        assert_eq!(nodes[1]["parameters"]["stopWords"], serde_json::json!({"type": "array", "private": true}));
        assert_eq!(nodes[2], serde_json::json!({"id": "score", "type": "processor", "private": true}));
        assert!(json_of(&found)["createdBy"].is_null(), "who works for another tenant is nobody's business");
    }
    for version in ["2", "0", "draft", "newest"] {
        assert_eq!(send(&world, "GET", &format!("{path}/versions/{version}"), "").status(), 404, "{version}");
    }
    // Its owner's own paths stay its owner's.
    for path in [format!("/v1/workflow-definitions/{DISCOVERABLE}"), "/v1/workflow-definitions/word-count".to_owned()] {
        for path in [path.clone(), format!("{path}/versions"), format!("{path}/versions/1")] {
            assert_eq!(send(&world, "GET", &path, "").status(), 404, "{path}");
        }
        assert_eq!(send(&world, "PATCH", &path, r#"{"discoverable":false}"#).status(), 404, "{path}");
    }
}

#[test]
fn definitions_are_found_by_text_and_tag_and_only_while_their_owner_wants_it() {
    let world = world();
    let list = "/v1/discoverable-definitions";
    let found = |query: &str| {
        let page = json_of(&send(&world, "GET", &format!("{list}?{query}"), ""));
        page["definitions"].as_array().map_or(0, Vec::len)
    };
    for (query, count) in [
        ("", 1),
        ("text=WORD", 1),
        ("text=counts%20the", 1),
        ("text=langu", 1),
        ("tag=text", 1),
        ("text=word&tag=language", 1),
        ("text=report", 0),
        ("tag=Text", 0),
        ("text=word&tag=other", 0),
    ] {
        assert_eq!(found(query), count, "{query}");
    }
    let owner =
        |method: &str, path: &str, body: &str| answer(&world, &request("library", method, path, body).to_string());
    assert_eq!(owner("PATCH", "/v1/workflow-definitions/word-count", r#"{"discoverable":false}"#).status(), 200);
    assert_eq!(found(""), 0);
    let path = format!("{list}/{DISCOVERABLE}");
    assert_eq!(send(&world, "GET", &path, "").status(), 404);
    assert_eq!(send(&world, "GET", &format!("{path}/versions/1"), "").status(), 404);
}

#[test]
fn a_search_goes_on_with_its_own_cursor_only() {
    let world = world();
    let path = "/v1/workflow-definitions/text-report";
    assert_eq!(send(&world, "PATCH", path, r#"{"discoverable":true,"tags":["text"]}"#).status(), 200);
    let list = "/v1/discoverable-definitions?tag=text&limit=1";
    let first = json_of(&send(&world, "GET", list, ""));
    let cursor = first["nextCursor"].as_str().expect("a next page");
    let second = json_of(&send(&world, "GET", &format!("{list}&cursor={cursor}"), ""));
    let ids: BTreeSet<&str> =
        [&first, &second].iter().filter_map(|page| page["definitions"][0]["id"].as_str()).collect();
    assert_eq!(ids, [samples::DEFINITION, DISCOVERABLE].into());
    for other in ["tag=language", "text=text", "tag=text&text=text"] {
        let path = format!("/v1/discoverable-definitions?{other}&cursor={cursor}");
        assert_eq!(json_of(&send(&world, "GET", &path, ""))["errors"][0]["code"], "invalid_cursor", "{other}");
    }
}

#[test]
fn a_tenant_is_what_was_last_said_of_it() {
    let world = world();
    let operator = |method: &str, body: &str| {
        let mut event = request("dev", method, "/v1/tenants/acme", body);
        event["requestContext"]["authorizer"]["jwt"]["claims"]["scope"] = "sluice/operator".into();
        json_of(&answer(&world, &event.to_string()))
    };
    operator("PUT", r#"{"retention":{"maxAgeSeconds":60},"destinations":[]}"#);
    let said = operator("GET", "");
    assert!(said["concurrency"].is_null(), "what is not said again is gone");
    assert_eq!((&said["retention"]["maxAgeSeconds"], &said["destinations"]), (&60.into(), &serde_json::json!([])));
    assert!(operator("PUT", r#"{"destinations":null}"#)["destinations"].is_null());
}

#[test]
fn what_others_see_of_a_definition_is_no_limit_and_no_retention() {
    let world = world();
    let seen = json_of(&send(&world, "GET", &format!("/v1/discoverable-definitions/{DISCOVERABLE}"), ""));
    let fields: BTreeSet<&str> = seen.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(fields, ["owner", "id", "name", "displayName", "description", "tags", "activeVersion"].into());
    // A name is unique in its tenant only.
    assert_eq!(send(&world, "GET", "/v1/discoverable-definitions/word-count", "").status(), 404);
}

#[test]
fn an_instance_may_be_of_another_tenants_discoverable_definition() {
    let world = world();
    let body = format!(r#"{{"workflowDefinitionId":"{DISCOVERABLE}"}}"#);
    assert_eq!(send(&world, "POST", "/v1/workflow-instances", &body).status(), 201);
    // By its name, a definition is one of the caller's own.
    let named = send(&world, "POST", "/v1/workflow-instances", r#"{"workflowDefinitionId":"word-count"}"#);
    assert_eq!(json_of(&named)["errors"][0]["code"], "not_found");
}

#[test]
fn a_tenant_sees_the_models_that_it_may_call_and_nobody_elses() {
    let world = world();
    let operator = |method: &str, path: &str, body: &str| {
        let mut event = request("dev", method, path, body);
        event["requestContext"]["authorizer"]["jwt"]["claims"]["scope"] = "sluice/operator".into();
        answer(&world, &event.to_string())
    };
    let model = json!({
        "ids": ["us.acme.large"], "tenants": ["*"], "contextTokens": 1_000, "maxOutputTokens": 1_000,
        "prices": [{"from": "2026-01-01T00:00:00Z", "tiers": {"default": {"input": 1, "output": 2}}}],
    });
    assert_eq!(operator("PUT", "/v1/models/large", &model.to_string()).status(), 200);
    let keys = |tenant: &str| {
        let (mut keys, mut path) = (Vec::new(), "/v1/models?limit=1".to_owned());
        loop {
            let page = json_of(&answer(&world, &request(tenant, "GET", &path, "").to_string()));
            let models = page["models"].as_array().expect("models").iter();
            keys.extend(models.filter_map(|model| model["key"].as_str().map(str::to_owned)));
            let Some(cursor) = page["nextCursor"].as_str() else { return keys };
            path = format!("/v1/models?limit=1&cursor={cursor}");
        }
    };
    assert_eq!(keys("dev"), ["large", "small"]);
    assert_eq!(keys("acme"), ["foreign", "large", "small"]);
    assert_eq!(keys("nobody"), ["large"]);
    assert_eq!(json_of(&send(&world, "GET", "/v1/models/small", ""))["tenants"], json!(["dev"]));
    assert_eq!(json_of(&operator("GET", "/v1/models/small", ""))["tenants"], json!(["dev", "acme"]));
    for path in ["/v1/models/foreign", "/v1/models/nothing"] {
        assert_eq!(send(&world, "GET", path, "").status(), 404, "{path}");
    }
    assert_eq!(operator("DELETE", "/v1/models/small", "").status(), 204);
    assert_eq!((operator("DELETE", "/v1/models/small", "").status(), keys("dev")), (404, vec!["large".to_owned()]));
    // Its id is free now.
    let taken = json!({"ids": ["us.acme.small-v1:0"]});
    let again = model.as_object().into_iter().flatten().chain(taken.as_object().into_iter().flatten());
    let again: Value =
        again.map(|(field, value)| (field.clone(), value.clone())).collect::<serde_json::Map<_, _>>().into();
    assert_eq!(operator("PUT", "/v1/models/large", &again.to_string()).status(), 200);
}

#[test]
fn two_keys_of_a_processor_are_alive_and_shown_once() {
    let world = world();
    let operator = |method: &str, path: &str| answer(&world, &operator_event(method, path));
    let path = "/v1/processors/readability/keys";
    let processor = "readability".parse().expect("a key");
    let made = json_of(&operator("POST", path));
    let text = made["key"].as_str().expect("a text");
    assert_eq!(KeyText::read(text).map(|(_, of)| of), Ok(processor));
    // Another one, made by somebody else.
    let other = KeyHead { hash: "f".repeat(64), created_by: "bob".to_owned(), created_at: world.clock.now() };
    let (readability, store) = ("readability".parse().expect("a key"), &world.store);
    let keys = block_on(store.load_keys(&readability)).expect("keys").with(other).expect("room");
    assert!(block_on(store.save_keys(&readability, &keys)).expect("an answer"));
    world.clock.advance(1);
    let listed = operator("GET", path);
    assert!(!listed.body().contains(text) && !listed.body().contains("spk."), "{}", listed.body());
    let by: Vec<Value> =
        json_of(&listed)["keys"].as_array().into_iter().flatten().map(|key| key["createdBy"].clone()).collect();
    assert_eq!(by, ["ada", "bob"]);
    let refused = answer_with(&world, || [1, 2], &operator_event("POST", path));
    assert_eq!((refused.status(), json_of(&refused)["code"].clone()), (409, json!("too_many_keys")));
    let mine = format!("{path}/{}", made["id"].as_str().expect("an id"));
    assert_eq!((operator("DELETE", &mine).status(), operator("DELETE", &mine).status()), (204, 404));
    let next = answer_with(&world, || [1, 2], &operator_event("POST", path));
    assert_eq!(next.status(), 201);
    assert_ne!(json_of(&next)["key"], made["key"]);
    let keys = block_on(store.load_keys(&readability)).expect("keys");
    let (text, _) = KeyText::read(text).expect("a key");
    assert!(!keys.admits(&text), "it opens nothing any more");
}

fn operator_event(method: &str, path: &str) -> String {
    let mut event = request("dev", method, path, "");
    event["requestContext"]["authorizer"]["jwt"]["claims"]["scope"] = "sluice/operator".into();
    event.to_string()
}
