//! Who gets in: only what is signed as it came, by a key that is known, now.

use std::time::Duration;

use serde_json::Value;

use crate::client::{Call, DOORS, Door, Signer, bedrock, now};
use crate::operations::{CLAUDE, converse, last};

fn call() -> Call {
    Call::new(format!("/model/{}/converse", CLAUDE.replace(':', "%3A")), &converse("x"))
}

type Bend = fn(&mut Signer, &mut Call);
type BendOnTheWay = fn(&mut Call);

/// What is bent before the call is signed.
const BEFORE: [(&str, Bend, &str); 8] = [
    ("another secret", |signer, _| signer.key.secret_access_key.push('x'), "InvalidSignatureException"),
    ("another key", |signer, _| signer.key.access_key_id.push('X'), "UnrecognizedClientException"),
    ("no session", |signer, _| signer.key.session_token = None, "UnrecognizedClientException"),
    ("another session", |signer, _| signer.key.session_token = Some("x".to_owned()), "UnrecognizedClientException"),
    ("another region", |signer, _| signer.region = "eu-west-1", "InvalidSignatureException"),
    ("another service", |signer, _| signer.service = "lambda", "InvalidSignatureException"),
    ("too late", |signer, _| signer.at = now() - Duration::from_secs(400), "InvalidSignatureException"),
    ("too early", |signer, _| signer.at = now() + Duration::from_secs(400), "InvalidSignatureException"),
];

/// What is bent on the way.
const AFTER: [(&str, BendOnTheWay, &str); 6] = [
    ("another body", |call| call.body = converse("y").to_string().into(), "InvalidSignatureException"),
    ("another model", |call| call.target = call.target.replace("haiku", "sonnet"), "InvalidSignatureException"),
    ("a header that was signed", |call| set(call, "content-type", "text/plain"), "InvalidSignatureException"),
    ("a time of its own", |call| set(call, "x-amz-date", "20200101T000000Z"), "InvalidSignatureException"),
    ("a header of AWS that was not signed", |call| set(call, "x-amz-extra", "1"), "InvalidSignatureException"),
    (
        "no signature",
        |call| call.headers.retain(|(name, _)| name != "authorization"),
        "MissingAuthenticationTokenException",
    ),
];

fn set(call: &mut Call, name: &str, value: &str) {
    call.headers.retain(|(found, _)| found != name);
    call.headers.push((name.to_owned(), value.to_owned()));
}

fn signed(door: Door, bedrock: &sluice_bedrock::Bedrock, signer: &Signer, mut call: Call) -> Call {
    let url = format!("{}{}", door.url(bedrock), call.target);
    let signature = signer.headers(&url, &call.headers, &call.body);
    call.headers.extend(signature);
    call
}

#[tokio::test]
async fn what_is_signed_as_it_came_gets_in() {
    let bedrock = bedrock();
    for door in DOORS {
        for at in [now(), now() - Duration::from_secs(240), now() + Duration::from_secs(240)] {
            let call = signed(door, &bedrock, &Signer { at, ..Signer::default() }, call());
            let answer = door.send(&bedrock, call).await.expect("an answer").whole().await;
            assert_eq!(answer.status, 200, "{door:?} {answer:?}");
        }
    }
}

#[tokio::test]
async fn everything_else_is_refused_as_bedrock_does_and_costs_nothing() {
    let bedrock = bedrock();
    for door in DOORS {
        let refused = async |what: &str, call: Call, error: &str| {
            let answer = door.send(&bedrock, call).await.expect("an answer").whole().await;
            assert_eq!(answer.error(), (403, error), "{door:?} {what}: {answer:?}");
            assert_eq!((last(&bedrock).state.name(), last(&bedrock).cost.0), ("refused", 0), "{what}");
        };
        for (what, bend, error) in BEFORE {
            let (mut signer, mut call) = (Signer::default(), call());
            bend(&mut signer, &mut call);
            refused(what, signed(door, &bedrock, &signer, call), error).await;
        }
        for (what, bend, error) in AFTER {
            let mut call = signed(door, &bedrock, &Signer::default(), call());
            bend(&mut call);
            refused(what, call, error).await;
        }
    }
}

#[tokio::test]
async fn a_bearer_token_opens_where_it_is_known() {
    let bedrock = bedrock();
    for (token, status) in [("a-token-of-tests", 200), ("another", 403), ("", 403)] {
        let call = call().header("authorization", &format!("Bearer {token}"));
        let answer = Door::Http1.send(&bedrock, call).await.expect("an answer").whole().await;
        assert_eq!(answer.status, status, "{token}");
        assert!(status == 200 || matches!(answer.json()["message"], Value::String(_)));
    }
}
