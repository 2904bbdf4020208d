//! Who is asking: the authorizer's verdict, and nothing else.

use std::time::Duration;

use serde_json::json;

use crate::world::{JSON, Journey, STACK, instant, text};

const TOKEN_LIFETIME: Duration = Duration::from_secs(600);

#[test]
fn nobody_gets_in_without_a_valid_token() {
    let url = format!("{}/v1/workflow-runs", STACK.gateway_url);
    let status = |authorization: Option<&str>| {
        let headers: Vec<(&str, &str)> = authorization.map(|value| ("authorization", value)).into_iter().collect();
        STACK.request_url("GET", &url, &headers, "").expect("an answer").status
    };
    let token = |claims: serde_json::Value| {
        format!("Bearer {}", STACK.token("identity", &claims, TOKEN_LIFETIME).expect("a token"))
    };
    let good = token(json!({}));
    assert_eq!(status(Some(&good)), 200);
    assert_eq!(status(None), 401);
    for bad in [
        "Bearer nonsense".to_owned(),
        "Bearer ".to_owned(),
        token(json!({"aud": "somebody-else"})),
        token(json!({"iss": "https://issuer.example.com"})),
        // Its claims changed, its signature kept.
        tampered(&good),
        // Unsigned.
        format!("{}.", good.rsplit_once('.').expect("a token has three parts").0),
    ] {
        assert_eq!(status(Some(&bad)), 401, "{bad}");
    }
    let expired = STACK.token("identity", &json!({}), Duration::ZERO).expect("a token");
    crate::world::eventually("the token to expire", || {
        (status(Some(&format!("Bearer {expired}"))) == 401).then_some(())
    });
    // Known, but of no tenant.
    let url_answer =
        |claims| STACK.request_url("GET", &url, &[("authorization", &token(claims))], "").expect("an answer");
    for claims in [json!({"tenant_id": null}), json!({"tenant_id": "a#b"})] {
        let refused = url_answer(claims);
        assert_eq!((refused.status, &refused.json()["code"]), (403, &json!("no_tenant")), "{}", refused.text());
    }
}

/// One letter in the middle of the claims is another.
fn tampered(token: &str) -> String {
    let (head, rest) = token.split_once('.').expect("a token has three parts");
    let (claims, signature) = rest.split_once('.').expect("a token has three parts");
    let at = claims.len() / 2;
    let other = if claims.as_bytes()[at] == b'A' { 'B' } else { 'A' };
    format!("{head}.{}{other}{}.{signature}", &claims[..at], &claims[at + 1..])
}

#[test]
fn an_unsigned_call_of_a_function_url_is_refused() {
    for (function, url) in &STACK.function_urls {
        let answer = STACK.request_url("GET", &format!("{url}v1/workflow-runs"), &JSON, "").expect("an answer");
        assert_eq!(answer.status, 403, "{function}");
    }
    assert_eq!(STACK.function_urls.len(), 6);
}

#[test]
fn a_tenant_comes_from_the_token_and_never_from_the_request() {
    let acme = Journey::of("identity-of-token");
    acme.define("instant", &instant());
    let token = format!("Bearer {}", STACK.token("identity-stranger", &json!({}), TOKEN_LIFETIME).expect("a token"));
    // The header is the laptop proxy's; where the caller brings a token, it is worth nothing.
    for name in ["x-dev-tenant", "x-tenant-id", "sluice-tenant-id"] {
        let headers = [("authorization", token.as_str()), (name, "identity-of-token")];
        let answer = acme.request("GET", "/v1/workflow-definitions/instant", &headers, "");
        assert_eq!(answer.status, 404, "{name}: {}", answer.text());
    }
    let body =
        json!({"workflowInstanceConfiguration": {"workflowDefinitionId": "instant"}, "tenantId": "identity-of-token"});
    let answer = acme.request("POST", "/v1/workflow-runs", &[("authorization", &token)], body.to_string());
    assert_eq!(answer.json()["errors"][0]["code"], "unknown_field", "{}", answer.text());
    let run = acme.create("instant", json!({}));
    assert_eq!(run["createdBy"], "identity-of-token-on-a-laptop");
    acme.ended(&text(&run["id"]));
}
