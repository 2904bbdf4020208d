//! As many runs at once as a limit allows: one more is refused, or waits for its turn.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::world::{Journey, PATIENCE, asking, body, eventually, instant, refused, run_path, text};

fn at_most(runs: u32, on_limit: &str) -> Value {
    json!({"maxConcurrentRuns": runs, "onLimit": on_limit})
}

/// A run that must have a place at once, waiting for its answer.
fn open(journey: &Journey, definition: &str) -> String {
    let run = journey.create(definition, json!({}));
    assert_eq!(run["status"], "PENDING", "{run}");
    let run_id = text(&run["id"]);
    journey.waiting(&run_id, "ask", 1);
    run_id
}

/// A run that has to wait.
fn queued(journey: &Journey, definition: &str, fields: Value) -> String {
    let run = journey.create(definition, fields);
    assert_eq!((&run["status"], &run["dispatchedAt"]), (&json!("QUEUED"), &Value::Null), "{run}");
    text(&run["id"])
}

fn position(journey: &Journey, run_id: &str) -> Value {
    journey.run(run_id)["queuePosition"].clone()
}

/// The counters once nothing is held or queued any more.
fn idle(journey: &Journey, counters: &[&str]) {
    let idle: BTreeMap<String, (i64, i64)> = counters.iter().map(|of| ((*of).to_owned(), (0, 0))).collect();
    assert_eq!(journey.counters(), idle);
}

#[test]
fn a_run_above_its_tenants_limit_is_refused_and_nothing_is_written() {
    let acme = Journey::of("slots-tenant");
    acme.allow(&json!({"concurrency": at_most(1, "reject")}));
    acme.define("asking", &asking());
    acme.define("other", &instant());
    let first = open(&acme, "asking");
    let before = acme.items();
    for (path, request) in [
        ("/v1/workflow-runs", body("asking", json!({}))),
        ("/v1/workflow-runs", body("asking", json!({"clientToken": "k"}))),
        ("/v1/workflow-definitions/asking/invoke", json!({})),
    ] {
        let answer = acme.post(path, &request);
        assert_eq!(refused(&answer), (429, "too_many_runs".to_owned()), "{path} {request}");
        assert_eq!(answer.header("retry-after"), Some("10"));
        assert!(text(&answer.json()["detail"]).contains("this tenant"), "{}", answer.text());
    }
    assert_eq!(acme.items(), before, "nothing was written");
    // The limit is on all runs, whatever their definition.
    assert_eq!(refused(&acme.post("/v1/workflow-runs", body("other", json!({})))).0, 429);
    assert_eq!(acme.found(""), [first.as_str()]);
    // Another tenant has slots of its own.
    let free = acme.neighbour("slots-tenant-free");
    free.define("other", &instant());
    free.ended(&free.start("other", json!({})));
    assert_eq!(free.counters(), BTreeMap::new(), "who has no limit is not counted");

    // With the end of the run there is room, and the refused request has not used up its key.
    acme.canceled(&first);
    let taken = acme.post("/v1/workflow-runs", body("asking", json!({"clientToken": "k"})));
    assert_eq!((taken.status, taken.header("idempotent-replayed")), (201, None), "{}", taken.text());
    acme.canceled(&text(&taken.json()["id"]));
    idle(&acme, &["TENANT"]);
}

#[test]
fn a_run_above_its_definitions_limit_is_refused_and_other_definitions_are_free() {
    let acme = Journey::of("slots-definition");
    let id = acme.define_with("one", json!({"concurrency": at_most(1, "reject")}), &asking());
    acme.define("many", &asking());
    let first = open(&acme, "one");
    let answer = acme.post("/v1/workflow-definitions/one/invoke", json!({}));
    assert_eq!(refused(&answer), (429, "too_many_runs".to_owned()));
    assert!(text(&answer.json()["detail"]).contains("this definition"), "{}", answer.text());
    let others = [open(&acme, "many"), open(&acme, "many")];
    acme.answered(&first);
    // An ended run's replay is a run like any other: it takes the slot.
    let again = text(&acme.tell(&first, "replay", "", 201)["id"]);
    assert_eq!(refused(&acme.post(&format!("{}/replay", run_path(&first)), "")).0, 429);
    assert_eq!(acme.counters(), BTreeMap::from([(id.clone(), (1, 0))]));
    for run_id in others.iter().chain([&again]) {
        acme.canceled(run_id);
    }
    idle(&acme, &[&id]);
    // Without a limit nothing is refused any more.
    let lifted = acme.patch("/v1/workflow-definitions/one", json!({"concurrency": null}));
    assert_eq!((lifted.status, &lifted.json()["concurrency"]), (200, &Value::Null), "{}", lifted.text());
    let free = open(&acme, "one");
    let another = eventually("the limit to be gone", || {
        let answer = acme.post("/v1/workflow-runs", body("one", json!({})));
        (answer.status == 201).then(|| text(&answer.json()["id"]))
    });
    for run_id in [free, another] {
        acme.canceled(&run_id);
    }
}

#[test]
fn runs_wait_in_line_and_start_in_their_turn() {
    let acme = Journey::of("slots-queue");
    let id = acme.define_with("asking", json!({"concurrency": at_most(1, "queue")}), &asking());
    let first = open(&acme, "asking");
    let second = queued(&acme, "asking", json!({}));
    let third = queued(&acme, "asking", json!({"completionCallbackUrl": acme.hook()}));
    let invoked = acme.post("/v1/workflow-definitions/asking/invoke", json!({"idempotencyKey": "fourth"}));
    assert_eq!((invoked.status, &invoked.json()["status"]), (202, &json!("QUEUED")), "{}", invoked.text());
    let fourth = text(&invoked.json()["id"]);
    assert_eq!([&second, &third, &fourth].map(|run| position(&acme, run)), [json!(1), json!(2), json!(3)]);
    assert_eq!(acme.run(&first).get("queuePosition"), None);
    assert_eq!(acme.found("?status=QUEUED&order=asc"), [second.as_str(), &third, &fourth]);
    assert_eq!(acme.counters(), BTreeMap::from([(id.clone(), (1, 3))]));
    assert_eq!(acme.executions(), [first.as_str()], "what waits has no execution");

    // Neither paused nor answered nor spending: it has not begun.
    for (verb, request, code) in [
        ("pause", "", "wrong_status"),
        ("resume", "", "wrong_status"),
        ("data", r#"{"nodeId":"ask","data":{"approved":true}}"#, "not_waiting"),
        ("usage", r#"{"usage":[{"callId":"c","provider":"p","model":"m"}]}"#, "wrong_status"),
    ] {
        let answer = acme.post(&format!("{}/{verb}", run_path(&second)), request);
        assert_eq!(refused(&answer), (409, code.to_owned()), "{verb}");
    }
    // A repeated request is the first one's answer, and no further place in the line.
    let again = acme.post("/v1/workflow-definitions/asking/invoke", json!({"idempotencyKey": "fourth"}));
    assert_eq!((again.json(), again.header("idempotent-replayed")), (invoked.json(), Some("true")));

    // Who leaves the line lets the others move up; nothing has to be stopped.
    let canceled = acme.post(&format!("{}/cancel", run_path(&third)), "");
    assert_eq!((canceled.status, &canceled.json()["status"]), (200, &json!("CANCELED")), "{}", canceled.text());
    assert_eq!((&canceled.json()["terminationReason"]), (&json!("canceled_by_caller")));
    assert_eq!([&second, &fourth].map(|run| position(&acme, run)), [json!(1), json!(2)]);
    let said = acme.webhooks(1, PATIENCE).remove(0).json();
    assert_eq!((&said["runId"], &said["status"]), (&json!(third), &json!("CANCELED")));
    // A replay of it stands at the end.
    let replay = acme.tell(&third, "replay", "", 201);
    assert_eq!(replay["status"], "QUEUED", "{replay}");
    let fifth = text(&replay["id"]);
    assert_eq!(position(&acme, &fifth), 3);

    for (ends, starts) in [(&first, &second), (&second, &fourth), (&fourth, &fifth)] {
        assert_eq!(acme.run(starts)["status"], "QUEUED");
        assert_eq!(acme.answered(ends)["status"], "SUCCEEDED");
        let run = acme.waiting(starts, "ask", 1);
        let [created, dispatched, started] = ["createdAt", "dispatchedAt", "startedAt"].map(|name| text(&run[name]));
        assert!(created < dispatched && dispatched <= started, "{run}");
        assert_eq!(run.get("queuePosition"), None);
    }
    assert_eq!(acme.answered(&fifth)["status"], "SUCCEEDED");
    idle(&acme, &[&id]);
    assert_eq!(acme.run(&third)["startedAt"], Value::Null);
    assert_eq!(acme.executions().len(), 4, "whoever left the line never had one");
}

#[test]
fn a_raised_limit_lets_the_line_move_on() {
    let acme = Journey::of("slots-raised");
    acme.allow(&json!({"concurrency": at_most(1, "queue")}));
    acme.define("asking", &asking());
    acme.define("other", &asking());
    let first = open(&acme, "asking");
    // One line for all definitions.
    let waiting = [queued(&acme, "other", json!({})), queued(&acme, "asking", json!({}))];
    let last = queued(&acme, "other", json!({}));
    assert_eq!(acme.counters(), BTreeMap::from([("TENANT".to_owned(), (1, 3))]));
    acme.allow(&json!({"concurrency": at_most(3, "queue")}));
    for run_id in &waiting {
        // Nobody announces a new limit: the sweep finds it.
        eventually("the sweep to start what there is room for", || {
            acme.reconcile();
            (acme.run(run_id)["status"] != "QUEUED").then_some(())
        });
        acme.waiting(run_id, "ask", 1);
    }
    acme.reconcile();
    assert_eq!((&acme.run(&last)["status"], position(&acme, &last)), (&json!("QUEUED"), json!(1)));
    assert_eq!(acme.counters(), BTreeMap::from([("TENANT".to_owned(), (3, 1))]));
    acme.canceled(&last);
    for run_id in waiting.iter().chain([&first]) {
        acme.canceled(run_id);
    }
    idle(&acme, &["TENANT"]);
}

#[test]
fn a_run_waits_before_the_limit_that_holds_it_up() {
    let acme = Journey::of("slots-both");
    acme.allow(&json!({"concurrency": at_most(2, "queue")}));
    let id = acme.define_with("one", json!({"concurrency": at_most(1, "queue")}), &asking());
    acme.define("other", &asking());
    let (first, second) = (open(&acme, "one"), open(&acme, "other"));
    let third = queued(&acme, "one", json!({}));
    assert_eq!(acme.counters(), BTreeMap::from([(id.clone(), (1, 1)), ("TENANT".to_owned(), (2, 0))]));
    // Another's run takes the tenant's slot that comes free: a run held up by its definition keeps none.
    acme.canceled(&second);
    let fourth = open(&acme, "other");
    assert_eq!(acme.run(&third)["status"], "QUEUED");
    acme.answered(&first);
    acme.waiting(&third, "ask", 1);
    assert_eq!(acme.counters(), BTreeMap::from([(id.clone(), (1, 0)), ("TENANT".to_owned(), (2, 0))]));
    for run_id in [&third, &fourth] {
        acme.canceled(run_id);
    }
    idle(&acme, &[&id, "TENANT"]);
}
