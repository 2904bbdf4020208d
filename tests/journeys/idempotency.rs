//! One key, one run.

use std::collections::BTreeSet;
use std::thread;

use serde_json::{Value, json};
use sluice_local::Answer;

use crate::world::{Journey, body, instant, list, text};

const REPLAYED: &str = "idempotent-replayed";

#[test]
fn the_same_request_with_the_same_key_is_one_run_and_one_execution() {
    let acme = Journey::of("same-key");
    acme.define("instant", &instant());
    let request = body("instant", json!({"name": "n", "executionBudgetUsd": 1.5})).to_string();
    let first = acme.create_with_key("k-1", &request);
    assert_eq!((first.status, first.header(REPLAYED)), (201, None), "{}", first.text());
    let run_id = text(&first.json()["id"]);
    acme.ended(&run_id);
    acme.delivered(&run_id);
    let before = acme.items();

    // The same content in another order and with other white space is the same payload.
    let reordered = r#"{ "executionBudgetUsd":1.5,"name" : "n",
        "workflowInstanceConfiguration":{"workflowDefinitionId":"instant"} }"#;
    for again in [&request, reordered] {
        let second = acme.create_with_key("k-1", again);
        assert_eq!((second.status, second.header(REPLAYED)), (201, Some("true")), "{}", second.text());
        assert_eq!(second.json(), first.json(), "the first answer, as it was");
    }
    assert_eq!(acme.items(), before, "nothing was written");
    assert_eq!(acme.executions(), [run_id.as_str()]);

    // The token in the body is the same key by another name, but its body is another payload.
    let token = body("instant", json!({"clientToken": "k-2"})).to_string();
    let by_token = acme.post("/v1/workflow-runs", &token);
    let repeated = acme.post("/v1/workflow-runs", &token);
    assert_eq!(repeated.header(REPLAYED), Some("true"), "{}", repeated.text());
    assert_eq!(by_token.json()["id"], repeated.json()["id"]);
    assert_ne!(by_token.json()["id"], json!(run_id));

    // Invoking has its own keys.
    let invoke = |key: &str| acme.post("/v1/workflow-definitions/instant/invoke", json!({"idempotencyKey": key}));
    let invoked = invoke("k-1");
    assert_eq!((invoked.status, invoked.header(REPLAYED)), (202, None), "{}", invoked.text());
    let invoked_again = invoke("k-1");
    assert_eq!((invoked_again.status, invoked_again.header(REPLAYED)), (202, Some("true")));
    assert_eq!(invoked.json()["id"], invoked_again.json()["id"]);
    // And so has another tenant.
    let other = acme.neighbour("same-key-other");
    other.define("instant", &instant());
    assert_eq!(other.create_with_key("k-1", &request).header(REPLAYED), None);
}

#[test]
fn the_same_key_with_another_request_is_refused_and_changes_nothing() {
    let acme = Journey::of("other-payload");
    acme.define("instant", &instant());
    let first = acme.create_with_key("k", body("instant", json!({"executionBudgetUsd": 1.5})).to_string());
    let run_id = text(&first.json()["id"]);
    acme.ended(&run_id);
    acme.delivered(&run_id);
    let before = acme.items();
    for other in [
        // A number written otherwise is another payload: nobody says that it means the same.
        body("instant", json!({})).to_string().replacen('{', "{\"executionBudgetUsd\":1.50,", 1),
        body("instant", json!({"executionBudgetUsd": 1.5, "name": "n"})).to_string(),
        body("instant", json!({"executionBudgetUsd": 1.5, "input": [1, 2]})).to_string(),
        body("nobodys", json!({})).to_string(),
    ] {
        let refused = acme.create_with_key("k", &other);
        assert_eq!(refused.status, 409, "{other}: {}", refused.text());
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
        let problem = refused.json();
        assert_eq!((&problem["code"], &problem["runId"]), (&json!("idempotency_key_reused"), &json!(run_id)));
    }
    assert_eq!(acme.items(), before, "nothing was written");
    assert_eq!(acme.executions(), [run_id]);

    // A refused request has not used up its key.
    let bad = body("instant", json!({"executionBudgetUsd": -1})).to_string();
    assert_eq!(acme.create_with_key("fresh", &bad).status, 400);
    let good = body("instant", json!({"executionBudgetUsd": 1})).to_string();
    let taken = acme.create_with_key("fresh", &good);
    assert_eq!((taken.status, taken.header(REPLAYED)), (201, None), "{}", taken.text());
}

#[test]
fn thirty_two_racers_with_one_key_make_one_run_and_one_execution() {
    let acme = Journey::of("racers");
    acme.define("instant", &instant());
    let request = body("instant", json!({"completionCallbackUrl": acme.hook()})).to_string();
    let answers: Vec<Answer> = thread::scope(|scope| {
        let racers: Vec<_> = (0..32).map(|_| scope.spawn(|| acme.create_with_key("one", &request))).collect();
        racers.into_iter().map(|racer| racer.join().expect("a racer")).collect()
    });
    let ids: BTreeSet<String> = answers
        .iter()
        .map(|answer| {
            assert_eq!(answer.status, 201, "{}", answer.text());
            text(&answer.json()["id"])
        })
        .collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let fresh = answers.iter().filter(|answer| answer.header(REPLAYED).is_none()).count();
    assert_eq!(fresh, 1, "one has made it, the others repeat it");
    let run_id = ids.into_iter().next().expect("one");
    acme.ended(&run_id);
    acme.delivered(&run_id);
    assert_eq!(list(&acme.read("/v1/workflow-runs")["runs"]).len(), 1);
    let heads = acme.items().into_iter().filter(|item: &Value| item["kind"]["S"] == "run").count();
    assert_eq!(heads, 1);
    assert_eq!(acme.executions(), [run_id]);
    assert_eq!(acme.webhooks(1, crate::world::PATIENCE).len(), 1);
}
