//! Every sample event of this function, with what it is answered; and what a caller can rely on beyond them.

mod support;

use serde_json::Value;
use sluice_edge::http::Response;
use sluice_testkit::block_on;
use sluice_testkit::samples::{self, World, request};
use support::answer;

/// Case, status, and what the body says.
const EXPECTED: [(&str, u16, &[&str]); 41] = [
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
    ("list-versions", 200, &[r#"{"versions":[{"version":1,"active":true"#]),
    ("get-version", 200, &[r#""version":1,"active":true,"nodes":[{"id":"text","type":"data-source"}"#]),
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
    ("put-processor", 200, &[r#"{"key":"summarize","kind":"lambda","functionArn":"#, r#""description":"Sums up""#]),
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
        &[r#""pointer":"/kind","code":"invalid","detail":"must be `lambda` or `stateMachine`""#],
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
    ("list-definitions-bad-cursor", 400, &[r#""pointer":"query:cursor","code":"invalid_cursor""#]),
];

#[test]
fn every_sample_is_answered_as_expected() {
    let cases = samples::cases("manage-definitions");
    for case in cases.keys() {
        assert!(EXPECTED.iter().any(|(expected, ..)| expected == case), "{case} is not tested");
    }
    for (case, status, says) in EXPECTED {
        let world = block_on(World::new());
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
    let world = block_on(World::new());
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
    let world = block_on(World::new());
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
    let world = block_on(World::new());
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
    let world = block_on(World::new());
    let writes = world.store.writes();
    for (method, path, body) in [
        ("GET", "/v1/processors", ""),
        ("GET", "/v1/processors/readability", ""),
        ("PUT", "/v1/processors/readability", "{}"),
        ("GET", "/v1/compute-nodes", ""),
        ("GET", "/v1/compute-nodes/default", ""),
        ("PUT", "/v1/compute-nodes/default", "[]"),
        ("PUT", "/v1/compute-nodes/default/layers/models", "not JSON"),
    ] {
        assert_eq!(send(&world, method, path, body).status(), 403, "{method} {path}");
    }
    assert_eq!(world.store.writes(), writes);
}
