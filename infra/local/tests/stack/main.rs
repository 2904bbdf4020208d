//! The local stack itself: what stands in for AWS here must refuse what AWS refuses, or a green run proves nothing.

mod hostile;
mod table;

use std::sync::LazyLock;
use std::time::Duration;

use serde_json::json;
use sluice_local::receiver::Reply;
use sluice_local::{Options, Stack};

static STACK: LazyLock<Stack> =
    LazyLock::new(|| Stack::start(&Options::test("local"), &mut |_| {}).expect("a running stack"));

const RUNS: &str = "/v1/workflow-runs";
const JSON: (&str, &str) = ("content-type", "application/json");

fn status_with_token(token: &str) -> u16 {
    let authorization = format!("Bearer {token}");
    let answer = STACK.request("GET", RUNS, &[("authorization", &authorization)], "");
    answer.expect("an answer").status
}

#[test]
fn the_api_answers_401_without_a_token() {
    let answer = STACK.request_url("GET", &format!("{}{RUNS}", STACK.gateway_url), &[], "");
    assert!(answer.expect("an answer").status == 401);
}

#[test]
fn the_api_takes_only_tokens_of_its_issuer_and_audience_and_time() {
    let hour = Duration::from_secs(3600);
    let good = STACK.token("somebody", &json!({}), hour).expect("a token");
    assert!(status_with_token(&good) == 200);
    let wrong_audience = STACK.token("somebody", &json!({"aud": "another"}), hour).expect("a token");
    assert!(status_with_token(&wrong_audience) == 401);
    let wrong_issuer = STACK.token("somebody", &json!({"iss": "http://127.0.0.1:1"}), hour).expect("a token");
    assert!(status_with_token(&wrong_issuer) == 401);
    let expired = STACK.token("somebody", &json!({}), Duration::ZERO).expect("a token");
    assert!(status_with_token(&expired) == 401);
    // The claims of one token under the signature of another.
    let other = STACK.token("somebody-else", &json!({}), hour).expect("a token");
    let (head, _) = other.rsplit_once('.').expect("a token has three parts");
    let (_, signature) = good.rsplit_once('.').expect("a token has three parts");
    assert!(status_with_token(&format!("{head}.{signature}")) == 401);
}

#[test]
fn only_a_report_reaches_its_function_without_a_callers_identity() {
    let run = format!("{RUNS}/0b0f5c1e-64a5-4d3a-9a5e-5d9f3e0c7a11");
    let report = r#"{"nodeId":"ask","status":"RUNNING"}"#;
    let bearer = ("authorization", "Bearer srt.646576.guessed");
    for headers in [vec![JSON], vec![JSON, bearer]] {
        for base in [&STACK.api_url, &STACK.gateway_url] {
            let answer =
                STACK.request_url("POST", &format!("{base}{run}/report"), &headers, report).expect("an answer");
            // The function's own words: nothing on the way there asked who it was, and nothing said it for him.
            assert!(answer.status == 401 && answer.json()["code"] == "invalid_report_token", "{}", answer.text());
        }
    }
    for (method, path) in
        [("GET", ""), ("DELETE", ""), ("POST", "/usage"), ("POST", "/cancel"), ("PATCH", "/retention")]
    {
        let url = format!("{}{run}{path}", STACK.gateway_url);
        let answer = STACK.request_url(method, &url, &[JSON, bearer], "{}").expect("an answer");
        assert!(answer.status == 401 && answer.json()["code"].is_null(), "{method} {path}: {}", answer.text());
    }
}

#[test]
fn a_change_and_a_removal_go_through_the_proxy() {
    let run = format!("{RUNS}/0b0f5c1e-64a5-4d3a-9a5e-5d9f3e0c7a11");
    let removed = STACK.request("DELETE", &run, &[], "").expect("an answer");
    assert!(removed.status == 404 && removed.json()["code"] == "not_found", "{}", removed.text());
    let body = r#"{"maxAgeSeconds":-1}"#;
    let changed = STACK.request("PATCH", &format!("{run}/retention"), &[JSON], body).expect("an answer");
    assert!(changed.status == 404 && changed.json()["code"] == "not_found", "{}", changed.text());
}

#[test]
fn a_tenant_that_is_named_does_not_see_the_default_ones_definitions() {
    let path = "/v1/workflow-definitions/text-report";
    let own = STACK.request("GET", path, &[], "").expect("an answer");
    assert!(own.status == 200, "{}", own.text());
    let other = STACK.request("GET", path, &[("x-dev-tenant", "somebody")], "").expect("an answer");
    assert!(other.status == 404, "{}", other.text());
}

#[test]
fn only_the_default_tenant_is_the_operator() {
    let other = STACK.request("GET", "/v1/processors", &[("x-dev-tenant", "somebody")], "").expect("an answer");
    assert!(other.status == 403, "{}", other.text());
    let own = STACK.request("GET", "/v1/processors", &[], "").expect("an answer");
    assert!(own.status == 200, "{}", own.text());
}

#[test]
fn a_function_url_answers_403_to_an_unsigned_call_and_serves_a_signed_one() {
    let url = format!("{}{}", STACK.function_urls["read-runs"].trim_end_matches('/'), RUNS);
    let unsigned = STACK.request_url("GET", &url, &[], "").expect("an answer");
    assert!(unsigned.status == 403);
    let signed = STACK.request_function_url("read-runs", "GET", RUNS, &[], "").expect("an answer");
    assert!(signed.status == 200, "{}", signed.text());
}

#[test]
fn a_functions_role_opens_nothing_that_its_policy_does_not_name() {
    // The sample's role may read and write the sample's objects; the function that tries another bucket is refused.
    let task = json!({"runId": "r", "nodeId": "n", "attempt": 1, "executionBudgetUsd": null, "executionBudgetMicroUsd": null,
        "inputs": {"text": {"bucket": "sluice-packages", "key": "any"}}});
    let invocation = STACK.invoke("sluice-processor-readability", &task).expect("an invocation");
    assert!(invocation.function_error.is_some());
    let message = invocation.payload["errorMessage"].as_str().unwrap_or_default();
    assert!(message.ends_with("answered 403"), "{message}");
}

#[test]
fn a_changed_environment_keeps_the_other_variables() {
    let before = STACK.environment("reconcile-runs").expect("an environment");
    STACK.set_environment("reconcile-runs", &[("SLUICE_TRIED", Some("yes"))]).expect("a change");
    let mut changed = before.clone();
    changed.insert("SLUICE_TRIED".to_owned(), "yes".to_owned());
    assert!(STACK.environment("reconcile-runs").expect("an environment") == changed);
    STACK.set_environment("reconcile-runs", &[("SLUICE_TRIED", None)]).expect("a change");
    assert!(STACK.environment("reconcile-runs").expect("an environment") == before);
}

#[test]
fn the_receiver_refuses_what_is_not_signed_by_a_function_and_keeps_its_replies_for_what_is() {
    STACK.receiver.answer_next("refusing", [Reply::status(500)]);
    let url = STACK.receiver.url("refusing");
    let unsigned = STACK.request_url("POST", &url, &[JSON], "{}").expect("an answer");
    assert!(unsigned.status == 403);
    // Signed well, but by the administrator and not by a function.
    let headers = STACK.sign("POST", &url, &[JSON], b"{}", None).expect("a signature");
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let foreign = STACK.request_url("POST", &url, &headers, "{}").expect("an answer");
    assert!(foreign.status == 403);
    let received = STACK.receiver.wait("refusing", 2, Duration::from_secs(5)).expect("both requests");
    assert!(received.iter().all(|request| !request.verification.verified && request.answered == Some(403)));
}
