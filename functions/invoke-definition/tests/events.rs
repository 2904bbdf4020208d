//! Every sample event of this function, with what it is answered; and what a caller can rely on beyond them.

mod support;

use sluice_testkit::block_on;
use sluice_testkit::fixture::fresh;
use sluice_testkit::metrics::during;
use sluice_testkit::samples::{self, NEW_RUN, World, run_id};
use support::{TestApp, answer, app};

/// Case, status, and what the body says.
const EXPECTED: [(&str, u16, &[&str]); 17] = [
    ("api-gateway-jwt", 202, &[r#""executionBudgetUsd":0.1"#, r#""workflowDefinitionName":"text-report""#]),
    ("api-gateway-jwt-other-payload", 202, &[r#""executionBudgetUsd":null"#]),
    ("function-url-iam-empty-body", 202, &[r#""name":"run-6f1d2c4b""#]),
    (
        "api-gateway-jwt-retention",
        202,
        &[r#""retention":{"maxAgeSeconds":-1,"preserveOnFailure":false}"#, r#""evaluationOf":null"#],
    ),
    ("api-gateway-jwt-user", 202, &[r#""userId":"google-oauth2|1234567890""#]),
    ("bad-user", 400, &[r#""pointer":"/userId","code":"invalid""#]),
    ("no-draft", 400, &[r#""pointer":"/version","code":"no_such_version""#]),
    ("no-identity", 401, &[r#""code":"unauthenticated""#]),
    ("unknown-definition", 404, &[r#""code":"not_found""#]),
    ("not-a-name", 404, &[r#""code":"not_found""#]),
    ("unknown-version", 400, &[r#""pointer":"/version","code":"no_such_version""#]),
    ("bad-version", 400, &[r#""pointer":"/version","code":"invalid""#]),
    (
        "schema-violation",
        400,
        &[r#""pointer":"/input/title","code":"schema_violation""#, r#""pointer":"/input","code":"schema_violation""#],
    ),
    ("budget-double", 202, &[r#""executionBudgetUsd":0.3,"#]),
    ("budget-too-small", 400, &[r#""pointer":"/executionBudgetUsd","code":"out_of_range""#]),
    ("context-without-url", 400, &[r#""pointer":"/completionCallbackContext","code":"needs_other_field""#]),
    ("array-for-object", 400, &[r#""pointer":"","code":"wrong_type""#]),
];

#[test]
fn every_sample_is_answered_as_expected() {
    let cases = samples::cases("invoke-definition");
    for case in cases.keys() {
        assert!(EXPECTED.iter().any(|(expected, ..)| expected == case), "{case} is not tested");
    }
    for (case, status, says) in EXPECTED {
        let world = block_on(World::new());
        let (writes, starts) = (world.store.writes(), world.engine.starts());
        let response = answer(&app(&world), &cases[case]);
        assert_eq!(response.status(), status, "{case}: {}", response.body());
        for text in says {
            assert!(response.body().contains(text), "{case} does not say {text}: {}", response.body());
        }
        if status == 202 {
            assert_eq!(response.header("location"), Some(format!("/v1/workflow-runs/{NEW_RUN}").as_str()), "{case}");
            assert_eq!(world.engine.starts(), starts + 1, "{case}");
        } else {
            assert_eq!((world.store.writes(), world.engine.starts()), (writes, starts), "{case} left a trace");
        }
    }
}

/// The function in a later request, which gets another id.
fn later(app: TestApp) -> TestApp {
    TestApp { new_run: || fresh(run_id("7f1d2c4b-5a60-4e11-9a55-0190b2a47c3e")), ..app }
}

#[test]
fn a_repeated_turn_is_the_same_run_and_another_turn_needs_another_key() {
    let cases = samples::cases("invoke-definition");
    let world = block_on(World::new());
    let first = answer(&app(&world), &cases["api-gateway-jwt"]);
    let starts = world.engine.starts();
    let again = answer(&later(app(&world)), &cases["api-gateway-jwt"]);
    assert_eq!((again.status(), again.header("idempotent-replayed")), (202, Some("true")));
    assert_eq!(again.body(), first.body());
    let other = answer(&later(app(&world)), &cases["api-gateway-jwt-other-payload"]);
    assert_eq!(other.status(), 409);
    assert!(
        other.body().contains(&format!(
            r#""code":"idempotency_key_reused","instance":"urn:sluice:request:UbXk2hJ-IAMEPqA=","runId":"{NEW_RUN}""#
        )),
        "{}",
        other.body()
    );
    assert_eq!(world.engine.starts(), starts);
}

#[test]
fn what_became_of_an_invocation_is_counted() {
    let cases = samples::cases("invoke-definition");
    let world = block_on(World::new());
    let first = during(|| drop(answer(&app(&world), &cases["api-gateway-jwt"])));
    assert_eq!(first, ["RunsAccepted 1", "RunsStarted 1 Source=request"]);
    let counted = |case: &str| during(|| drop(answer(&later(app(&world)), &cases[case])));
    assert_eq!(counted("api-gateway-jwt"), ["RunsReplayed 1"]);
    assert_eq!(counted("unknown-definition"), ["RunsRefused 1 Reason=not_found"]);
    assert_eq!(counted("no-identity"), ["RunsRefused 1 Reason=unauthenticated"]);
}
