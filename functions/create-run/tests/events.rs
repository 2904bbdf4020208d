//! Every sample event of this function, with what it is answered.

mod support;

use sluice_edge::identity::IdentityConfig;
use sluice_testkit::block_on;
use sluice_testkit::samples::{self, NEW_RUN, World};
use support::{answer, answer_as, app};

/// Case, status, and what the body says.
const EXPECTED: [(&str, u16, &[&str]); 26] = [
    ("api-gateway-jwt", 201, &[r#""status":"PENDING""#, r#""name":"nightly report""#, r#""createdBy":"ada""#]),
    (
        "api-gateway-jwt-everything",
        201,
        &[
            r#""executionBudgetUsd":1.25"#,
            r#""labels":{"conversation":"c-17","model":"small"}"#,
            r#""workflowVersion":1"#,
        ],
    ),
    (
        "api-gateway-iam-instance",
        201,
        &[r#""createdBy":"arn:aws:iam::123456789012:user/ada""#, r#""executionBudgetUsd":null"#],
    ),
    ("function-url-iam", 201, &[r#""labels":{"größe":"klein"}"#, r#""name":"run-6f1d2c4b""#]),
    (
        "api-gateway-jwt-evaluation",
        201,
        &[
            r#""evaluationOf":"9c1e7d52-8f3b-4a6c-b0d9-4e2f6a8b1c3d""#,
            r#""retention":{"maxAgeSeconds":604800,"preserveOnFailure":true},"retentionDueAt":null"#,
        ],
    ),
    ("api-gateway-jwt-user", 201, &[r#""userId":"ann@acme.example""#, r#""onBudgetExceeded":"stop""#]),
    ("bad-user", 400, &[r#""pointer":"/userId","code":"invalid""#]),
    ("evaluation-of-nothing", 400, &[r#""pointer":"/evaluationOf","code":"not_found""#]),
    ("retention-out-of-range", 400, &[r#""pointer":"/retention/maxAgeSeconds","code":"out_of_range""#]),
    ("function-url-local", 401, &[r#""code":"unauthenticated""#]),
    ("no-identity", 401, &[r#""code":"unauthenticated""#]),
    ("token-without-tenant", 403, &[r#""code":"no_tenant""#]),
    (
        "unknown-definition",
        400,
        &[r#""pointer":"/workflowInstanceConfiguration/workflowDefinitionId","code":"not_found""#],
    ),
    ("unknown-instance", 400, &[r#""pointer":"/workflowInstanceId","code":"not_found""#]),
    ("not-json", 400, &[r#""pointer":"","code":"invalid_json""#]),
    ("duplicate-key", 400, &[r#""pointer":"/labels/a","code":"duplicate_key""#]),
    ("wrong-type", 400, &[r#""pointer":"/maxRunDurationSeconds","code":"wrong_type""#]),
    ("unknown-field", 400, &[r#""pointer":"/executionBudget","code":"unknown_field""#]),
    ("no-body", 400, &[r#""pointer":"","code":"missing_body""#]),
    (
        "many-violations",
        400,
        &[
            r#""pointer":"/executionBudgetUsd","code":"out_of_range""#,
            r#""pointer":"/input/title","code":"schema_violation""#,
            r#""pointer":"/dataSources/store","code":"unknown_node""#,
            r#""pointer":"/dataTargets/store/uploadBucket","code":"registry_value""#,
            r#""pointer":"/layers/1","code":"layer_not_ready""#,
            r#""pointer":"/layers/2","code":"not_found""#,
            r#""pointer":"/tags/text","code":"unknown_node""#,
            r#""pointer":"/maxRunDurationSeconds","code":"out_of_range""#,
            r#""pointer":"/completionCallbackUrl","code":"callback_url_not_allowed""#,
            r#""pointer":"/workflowInstanceConfiguration/processorConfigs/0/params/top","code":"wrong_type""#,
        ],
    ),
    ("both-sources", 400, &[r#""pointer":"","code":"exactly_one""#]),
    ("key-mismatch", 400, &[r#""pointer":"/clientToken","code":"key_mismatch""#]),
    ("callback-elsewhere", 400, &[r#""pointer":"/completionCallbackUrl","code":"callback_url_not_allowed""#]),
    ("form-encoded", 415, &[r#""code":"unsupported_media_type""#]),
    ("wrong-method", 405, &[r#""code":"method_not_allowed""#]),
    ("wrong-path", 404, &[r#""code":"no_route""#]),
];

#[test]
fn every_sample_is_answered_as_expected() {
    let cases = samples::cases("create-run");
    let expected: Vec<&str> = EXPECTED.iter().map(|(case, ..)| *case).collect();
    for case in cases.keys() {
        assert!(expected.contains(&case.as_str()), "{case} is not tested");
    }
    for (case, status, says) in EXPECTED {
        let world = block_on(World::new());
        let (writes, starts) = (world.store.writes(), world.engine.starts());
        let response = answer(&app(&world), &cases[case]);
        assert_eq!(response.status(), status, "{case}: {}", response.body());
        for text in says {
            assert!(response.body().contains(text), "{case} does not say {text}: {}", response.body());
        }
        if status == 201 {
            assert_eq!(response.header("location"), Some(format!("/v1/workflow-runs/{NEW_RUN}").as_str()), "{case}");
            assert_eq!(world.engine.starts(), starts + 1, "{case}");
        } else {
            assert_eq!(response.header("content-type"), Some("application/problem+json"), "{case}");
            assert_eq!((world.store.writes(), world.engine.starts()), (writes, starts), "{case} left a trace");
        }
    }
}

#[test]
fn the_local_tenant_stands_in_for_a_missing_identity() {
    let world = block_on(World::new());
    let local_tenant = Some(sluice_testkit::fixture::tenant("dev"));
    let identity = IdentityConfig { local_tenant, ..IdentityConfig::for_test() };
    let response = answer_as(identity, &app(&world), &samples::cases("create-run")["function-url-local"]);
    assert_eq!(response.status(), 201, "{}", response.body());
    assert!(response.body().contains(r#""createdBy":"local""#));
}
