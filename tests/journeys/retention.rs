//! How long an ended run is kept, and how it goes.

use jiff::Timestamp;
use serde_json::{Value, json};
use sluice_local::receiver::Reply;

use crate::world::{
    Journey, PATIENCE, asking, body, errors, eventually, hold, holding, instant, list, refused, run_path, text,
};

fn time(value: &Value) -> Timestamp {
    text(value).parse().expect("a time")
}

/// Seconds from the run's end until it is gone; `None` when it is kept for good.
fn kept_seconds(run: &Value) -> Option<i64> {
    let due = &run["retentionDueAt"];
    (!due.is_null()).then(|| time(due).duration_since(time(&run["completedAt"])).as_secs())
}

fn retain(journey: &Journey, run_id: &str, retention: Value) -> Value {
    let answer = journey.patch(&format!("{}/retention", run_path(run_id)), retention);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Everything that can be asked of a run answers 404.
fn is_gone(journey: &Journey, run_id: &str) {
    let path = run_path(run_id);
    for below in ["", "?include=snapshot", "/steps", "/steps/ask", "/deliveries", "/inputs", "/usage", "/comments"] {
        assert_eq!(refused(&journey.get(&format!("{path}{below}"))), (404, "not_found".to_owned()), "{below}");
    }
    for (verb, request) in [
        ("cancel", ""),
        ("pause", ""),
        ("resume", ""),
        ("replay", ""),
        ("deliveries/1/redeliver", ""),
        ("report-tokens", ""),
        ("data", r#"{"nodeId":"ask","data":1}"#),
        ("comments", r#"{"text":"still there?"}"#),
        ("usage", r#"{"usage":[{"callId":"c","provider":"p","model":"m"}]}"#),
    ] {
        let answer = journey.post(&format!("{path}/{verb}"), request);
        assert_eq!(refused(&answer), (404, "not_found".to_owned()), "{verb}");
    }
    let retention = journey.patch(&format!("{path}/retention"), json!({"maxAgeSeconds": -1}));
    assert_eq!(refused(&retention).0, 404);
    assert_eq!(refused(&journey.delete(&path)).0, 404);
    assert!(!journey.found("?limit=100").contains(&run_id.to_owned()), "and no list shows it");
}

#[test]
fn a_run_is_kept_as_its_request_says_or_its_definition_or_its_tenant() {
    let acme = Journey::of("retention");
    acme.allow(&json!({"retention": {"maxAgeSeconds": 1000}}));
    acme.define("plain", &hold(json!({"maxAttempts": 1})));
    let ruled = json!({"retention": {"maxAgeSeconds": 500, "preserveOnFailure": true}});
    acme.define_with("ruled", ruled, &hold(json!({"maxAttempts": 1})));
    let with = |mut fields: Value, retention: Value| {
        fields["retention"] = retention;
        fields
    };
    let fails = || holding(json!({"failWith": "Told"}));
    for (definition, request, seconds) in [
        ("plain", json!({}), Some(1000)),
        ("plain", with(json!({}), json!({"maxAgeSeconds": 7})), Some(7)),
        ("plain", with(json!({}), json!({"maxAgeSeconds": -1})), None),
        ("plain", fails(), Some(1000)),
        ("plain", with(fails(), json!({"maxAgeSeconds": 900, "preserveOnFailure": true})), None),
        ("ruled", json!({}), Some(500)),
        ("ruled", fails(), None),
        ("ruled", with(fails(), json!({"maxAgeSeconds": 800})), Some(800)),
    ] {
        let run = acme.create(definition, request.clone());
        assert!(run["retention"].is_object() && run["retentionDueAt"].is_null(), "{run}");
        let run = acme.ended(&text(&run["id"]));
        assert_eq!(kept_seconds(&run), seconds, "{definition} {request}: {run}");
    }
    // Nobody says anything: for good.
    let free = acme.neighbour("retention-free");
    free.define("plain", &instant());
    let run = free.ended(&free.start("plain", json!({})));
    assert_eq!((&run["retention"], &run["retentionDueAt"]), (&Value::Null, &Value::Null));
    for seconds in [0, -2, 315_360_001] {
        let request = body("plain", json!({"retention": {"maxAgeSeconds": seconds}}));
        assert_eq!(errors(&acme.post("/v1/workflow-runs", request), 400), ["/retention/maxAgeSeconds out_of_range"]);
        let patched = acme.patch("/v1/workflow-definitions/ruled", json!({"retention": {"maxAgeSeconds": seconds}}));
        assert_eq!(errors(&patched, 400), ["/retention/maxAgeSeconds out_of_range"]);
        let path = format!("/v1/tenants/{}", acme.tenant);
        let allowed = acme.operator().put(&path, json!({"retention": {"maxAgeSeconds": seconds}}));
        assert_eq!(errors(&allowed, 400), ["/retention/maxAgeSeconds out_of_range"]);
        let retained =
            free.patch(&format!("{}/retention", run_path(&text(&run["id"]))), json!({"maxAgeSeconds": seconds}));
        assert_eq!(errors(&retained, 400), ["/maxAgeSeconds out_of_range"]);
    }
}

#[test]
fn a_run_that_is_no_longer_kept_is_gone_at_once_and_its_items_follow() {
    let acme = Journey::of("retention-expired");
    acme.define("asking", &asking());
    let request = body("asking", json!({"completionCallbackUrl": acme.hook(), "retention": {"maxAgeSeconds": 3600}}));
    let create = |request: &Value| acme.create_with_key("k", request);
    let run_id = text(&create(&request).json()["id"]);
    // Open runs are put under another rule, too.
    let open = retain(&acme, &run_id, json!({"maxAgeSeconds": 7200}));
    assert_eq!((&open["retention"]["maxAgeSeconds"], &open["retentionDueAt"]), (&json!(7200), &Value::Null));
    let run = acme.answered(&run_id);
    assert_eq!(kept_seconds(&run), Some(7200), "{run}");
    acme.tell(&run_id, "comments", json!({"text": "well done"}), 201);
    acme.delivered(&run_id);
    // An ended one is kept for good, and then not much longer than it was.
    let kept = retain(&acme, &run_id, json!({"maxAgeSeconds": -1}));
    assert_eq!(kept["retentionDueAt"], Value::Null, "{kept}");
    assert_eq!(create(&request).header("idempotent-replayed"), Some("true"));
    let short = retain(&acme, &run_id, json!({"maxAgeSeconds": 1, "preserveOnFailure": true}));
    assert_eq!(kept_seconds(&short), Some(1), "{short}");
    eventually("the run to be gone", || (acme.get(&run_path(&run_id)).status == 404).then_some(()));
    is_gone(&acme, &run_id);
    let again = create(&request);
    assert_eq!(refused(&again), (410, "run_expired".to_owned()));
    assert_eq!(again.json()["runId"], run_id);

    eventually("the sweep to delete its items", || {
        acme.reconcile();
        acme.items_of(&run_id).is_empty().then_some(())
    });
    // The key outlives its run: it makes no second one.
    assert_eq!(refused(&create(&request)), (410, "run_expired".to_owned()));
    let mut other = request.clone();
    other["name"] = json!("another");
    assert_eq!(refused(&create(&other)), (409, "idempotency_key_reused".to_owned()));
    assert_eq!(acme.found(""), Vec::<String>::new());
    assert_eq!(acme.webhooks(1, PATIENCE).len(), 1);
}

#[test]
fn a_deleted_run_leaves_nothing_behind() {
    let acme = Journey::of("delete");
    acme.define("asking", &asking());
    let request = body("asking", json!({"completionCallbackUrl": acme.hook()}));
    let create = || acme.create_with_key("k", &request);
    let original = text(&create().json()["id"]);
    acme.waiting(&original, "ask", 1);
    acme.tell(&original, "report-tokens", "", 201);
    acme.tell(&original, "comments", json!({"text": "a remark"}), 201);
    let call = json!({"callId": "c", "provider": "p", "model": "m", "nodeId": "ask"});
    acme.tell(&original, "usage", json!({"usage": [call]}), 200);
    let open = acme.delete(&run_path(&original));
    assert_eq!(refused(&open), (409, "run_open".to_owned()));

    // A receiver that is down has yet to be told: the next attempt is a minute away.
    acme.stack.receiver.answer_next(&acme.tenant, [Reply::status(500), Reply::status(500)]);
    acme.answered(&original);
    acme.webhooks(2, PATIENCE);
    let owing = acme.delete(&run_path(&original));
    assert_eq!(refused(&owing), (409, "deliveries_open".to_owned()));
    eventually("the receiver to be told", || {
        let again = acme.post(&format!("{}/deliveries/1/redeliver", run_path(&original)), "");
        (again.status == 202).then_some(())
    });
    acme.delivered(&original);

    let replay = text(&acme.tell(&original, "replay", json!({"fromNodeId": "work"}), 201)["id"]);
    acme.ended(&replay);
    acme.delivered(&replay);
    let kinds = |run_id: &str| -> Vec<String> {
        let mut kinds: Vec<String> = acme.items_of(run_id).iter().map(|item| text(&item["kind"]["S"])).collect();
        kinds.sort();
        kinds.dedup();
        kinds
    };
    let before = kinds(&original);
    for kind in
        ["run", "snapshot", "request", "step", "delivery", "attempt", "report-token", "comment", "input", "output"]
    {
        assert!(before.iter().any(|found| found == kind), "{kind} is not among {before:?}");
    }
    // The link goes with the run that it leads to, and the other way round.
    assert_eq!(acme.delete(&run_path(&replay)).status, 204);
    assert_eq!(acme.run(&original)["replays"], json!([]));
    is_gone(&acme, &replay);
    let second = text(&acme.tell(&original, "replay", json!({"fromNodeId": "work"}), 201)["id"]);
    acme.ended(&second);
    acme.delivered(&second);
    let deleted = acme.delete(&run_path(&original));
    assert_eq!((deleted.status, deleted.text()), (204, String::new()));
    is_gone(&acme, &original);
    assert_eq!(acme.run(&second)["replayOf"], original, "what was made from it stays");

    for run_id in [&original, &replay] {
        let left: Vec<Value> = acme.items_of(run_id).into_iter().map(|item| item["sk"].clone()).collect();
        assert_eq!(left, Vec::<Value>::new(), "{run_id}");
    }
    let listed: Vec<Value> =
        list(&acme.read("/v1/workflow-runs")["runs"]).iter().map(|run| run["id"].clone()).collect();
    assert_eq!(listed, [json!(second)]);
    assert_eq!(refused(&create()), (410, "run_expired".to_owned()));
    // Late news of the run changes nothing, and brings nothing back.
    acme.reconcile();
    assert_eq!(acme.items_of(&original), Vec::<Value>::new());
}

#[test]
fn a_run_that_owes_a_message_is_hidden_but_stays() {
    let acme = Journey::of("retention-owing");
    acme.define("instant", &instant());
    acme.stack.receiver.answer_next(&acme.tenant, [Reply::status(500), Reply::status(500)]);
    let request = json!({"completionCallbackUrl": acme.hook(), "retention": {"maxAgeSeconds": 1}});
    let run_id = acme.start("instant", request);
    acme.webhooks(2, PATIENCE);
    eventually("the run to be gone", || (acme.get(&run_path(&run_id)).status == 404).then_some(()));
    for _ in 0..2 {
        acme.reconcile();
        assert!(!acme.items_of(&run_id).is_empty(), "its receiver has yet to be told");
    }
    assert_eq!(refused(&acme.delete(&run_path(&run_id))).0, 404);
}
