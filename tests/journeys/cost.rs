//! What a request costs: the calls that a function makes to AWS, as CloudTrail records them.

use serde_json::{Value, json};

use crate::world::{JSON, Journey, body, eventually, instant, list, text};

/// All recorded calls, oldest first.
fn calls(journey: &Journey) -> Vec<Value> {
    let mut calls = Vec::new();
    let mut token = Value::Null;
    loop {
        let mut params = json!({"MaxResults": 50});
        if !token.is_null() {
            params["NextToken"] = token;
        }
        let page = journey.stack.aws("cloudtrail", "lookup_events", params).expect("recorded calls");
        calls.extend(list(&page["Events"]));
        token = page.get("NextToken").cloned().unwrap_or_default();
        if token.is_null() {
            calls.reverse();
            return calls;
        }
    }
}

#[test]
fn a_warm_create_makes_three_calls_and_a_repeated_one_none_that_starts_anything() {
    let acme = Journey::with_faults("cost");
    acme.define("instant", &instant());
    let record = |on: &str| {
        let url = format!("{}/_ministack/config", acme.stack.aws_endpoint_url);
        let set = json!({"cloudtrail._recording_enabled": on}).to_string();
        let answer = acme.stack.request_url("POST", &url, &JSON, set).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    // Recording begins with the first call of the service.
    assert_eq!(calls(&acme), Vec::<Value>::new());
    record("true");
    let create = |key: &str, fields: Value| acme.create_with_key(key, body("instant", fields));
    assert_eq!(create("k-0", json!({})).status, 201);
    // Each function signs with credentials of its own.
    let signer = eventually("the start of the first run", || {
        let start = calls(&acme).into_iter().find(|call| call["EventName"] == "StartExecution")?;
        Some(text(&start["AccessKeyId"]))
    });
    let made = |request: &dyn Fn() -> u16, status: u16| -> Vec<String> {
        let before = calls(&acme).len();
        assert_eq!(request(), status);
        let new = calls(&acme).split_off(before);
        new.iter().filter(|call| call["AccessKeyId"] == *signer).map(|call| text(&call["EventName"])).collect()
    };
    // A process that made a run of the definition before asks for all that it needs at once.
    let mut attempt = 0;
    eventually("a warm create", || {
        attempt += 1;
        let found = made(&|| create(&format!("k-{attempt}"), json!({})).status, 201);
        (found == ["BatchGetItem", "TransactWriteItems", "StartExecution"]).then_some(())
    });
    // It looks whether the first run is still there to be told of.
    eventually("a warm repetition", || {
        (made(&|| create("k-1", json!({})).status, 201) == ["BatchGetItem", "GetItem"]).then_some(())
    });
    eventually("a warm conflict", || {
        (made(&|| create("k-1", json!({"name": "another"})).status, 409) == ["BatchGetItem"]).then_some(())
    });
    record("false");
}
