//! Pause and resume, answer, replay, send again.

use serde_json::{Value, json};

use crate::world::{Journey, PATIENCE, asking, eventually, run_path, text};

fn control(journey: &Journey, run_id: &str, verb: &str, body: &Value) -> sluice_local::Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    journey.post(&format!("{}/{verb}", run_path(run_id)), body)
}

#[test]
fn an_answer_reaches_its_node_once() {
    let acme = Journey::of("control-data");
    acme.define("asking", &asking());
    let run_id = acme.start("asking", json!({}));
    acme.in_status(&run_id, "WAITING_FOR_INPUT");
    eventually("the wait", || (acme.steps(&run_id)[0]["status"] == "WAITING").then_some(()));

    let answer = |data: Value| control(&acme, &run_id, "data", &json!({"nodeId": "ask", "data": data}));
    let refused = answer(json!({"no": 1}));
    assert_eq!((refused.status, &refused.json()["errors"][0]["pointer"]), (400, &json!("/data")), "{}", refused.text());
    let wrong = control(&acme, &run_id, "data", &json!({"nodeId": "work", "data": {}}));
    assert_eq!((wrong.status, &wrong.json()["code"]), (409, &json!("not_waiting")), "{}", wrong.text());
    assert_eq!(answer(json!({"approved": true})).status, 202);
    let again = answer(json!({"approved": false}));
    assert_eq!((again.status, &again.json()["code"]), (409, &json!("not_waiting")), "{}", again.text());

    assert_eq!(acme.ended(&run_id)["status"], "SUCCEEDED");
    assert_eq!(acme.step(&run_id, "ask")["result"], json!({"approved": true}));
    assert_eq!(acme.step(&run_id, "work")["result"]["inputs"]["ask"], json!({"approved": true}));
}

#[test]
fn a_pause_holds_the_run_at_the_next_boundary_until_it_is_resumed() {
    let acme = Journey::of("control-pause");
    acme.define("asking", &asking());
    let run_id = acme.start("asking", json!({}));
    acme.in_status(&run_id, "WAITING_FOR_INPUT");
    eventually("the wait", || (acme.steps(&run_id)[0]["status"] == "WAITING").then_some(()));

    let asked = control(&acme, &run_id, "pause", &Value::Null);
    assert_eq!((asked.status, &asked.json()["pauseRequested"]), (202, &json!(true)), "{}", asked.text());
    let data = json!({"nodeId": "ask", "data": {"approved": true}});
    assert_eq!(control(&acme, &run_id, "data", &data).status, 202);
    let paused = acme.in_status(&run_id, "PAUSED");
    assert_eq!(acme.execution(&paused)["status"], "RUNNING");
    assert_eq!(acme.steps(&run_id)[1]["status"], "PENDING", "nothing of the next stage has begun");
    assert_eq!(control(&acme, &run_id, "pause", &Value::Null).status, 200);

    let resumed = control(&acme, &run_id, "resume", &Value::Null);
    assert!(resumed.status == 200 || resumed.status == 202, "{}", resumed.text());
    assert_eq!(acme.ended(&run_id)["status"], "SUCCEEDED");
    let late = control(&acme, &run_id, "pause", &Value::Null);
    assert_eq!((late.status, &late.json()["code"]), (409, &json!("run_ended")), "{}", late.text());
}

#[test]
fn a_paused_run_can_be_canceled() {
    let acme = Journey::of("control-pause-cancel");
    acme.define("asking", &asking());
    let run_id = acme.start("asking", json!({}));
    // Where nothing is at work yet, it is paused at once.
    let paused = control(&acme, &run_id, "pause", &Value::Null);
    assert!(matches!(paused.status, 200 | 202), "{} {}", paused.status, paused.text());
    eventually("the pause or the wait", || {
        let status = text(&acme.run(&run_id)["status"]);
        (status == "PAUSED" || status == "WAITING_FOR_INPUT").then_some(())
    });
    assert_eq!(control(&acme, &run_id, "cancel", &Value::Null).status, 202);
    let ended = acme.ended(&run_id);
    assert_eq!((&ended["status"], &ended["terminationReason"]), (&json!("CANCELED"), &json!("canceled_by_caller")));
}

#[test]
fn a_replay_from_a_node_reuses_what_had_finished_before_it() {
    let acme = Journey::of("control-replay");
    acme.define("asking", &asking());
    let original = acme.start("asking", json!({"completionCallbackUrl": acme.hook()}));
    acme.in_status(&original, "WAITING_FOR_INPUT");
    eventually("the wait", || (acme.steps(&original)[0]["status"] == "WAITING").then_some(()));
    let open = control(&acme, &original, "replay", &json!({}));
    assert_eq!((open.status, &open.json()["code"]), (409, &json!("run_open")), "{}", open.text());
    control(&acme, &original, "data", &json!({"nodeId": "ask", "data": {"approved": "yes"}}));
    acme.ended(&original);

    let request = json!({"fromNodeId": "work", "idempotencyKey": "again"});
    let replayed = control(&acme, &original, "replay", &request);
    assert_eq!(replayed.status, 201, "{}", replayed.text());
    let again = control(&acme, &original, "replay", &request);
    assert_eq!((again.json(), again.header("idempotent-replayed")), (replayed.json(), Some("true")));
    let run_id = text(&replayed.json()["id"]);
    let run = acme.ended(&run_id);
    assert_eq!((&run["status"], &run["replayOf"]), (&json!("SUCCEEDED"), &json!(original)));
    assert_eq!(acme.run(&original)["replays"], json!([run_id]));
    // Nobody was asked a second time, and the node got the first run's answer.
    assert_eq!(acme.step(&run_id, "work")["result"]["inputs"]["ask"], json!({"approved": "yes"}));
    let snapshot = &acme.read(&format!("{}?include=snapshot", run_path(&run_id)))["snapshot"];
    assert_eq!(snapshot["nodes"][0]["reusedFrom"], original);
    let told: Vec<String> = acme.webhooks(2, PATIENCE).iter().map(|webhook| text(&webhook.json()["runId"])).collect();
    assert_eq!(told, [original, run_id]);
}

#[test]
fn a_delivery_can_be_sent_again() {
    let acme = Journey::of("control-redeliver");
    acme.define("asking", &asking());
    let run_id = acme.start("asking", json!({"completionCallbackUrl": acme.hook()}));
    acme.in_status(&run_id, "WAITING_FOR_INPUT");
    control(&acme, &run_id, "cancel", &Value::Null);
    acme.ended(&run_id);
    acme.delivered(&run_id);
    let again = control(&acme, &run_id, "deliveries/1/redeliver", &Value::Null);
    assert_eq!(again.status, 202, "{}", again.text());
    let received = acme.webhooks(2, PATIENCE);
    assert_eq!(received[0].body, received[1].body);
    assert_eq!(received[0].header("webhook-id"), received[1].header("webhook-id"));
    let attempts: Vec<Option<&str>> = received.iter().map(|webhook| webhook.header("webhook-attempt")).collect();
    assert_eq!(attempts, [Some("1"), Some("2")]);
    assert_eq!(control(&acme, &run_id, "deliveries/9/redeliver", &Value::Null).status, 404);
}

#[test]
fn another_tenants_run_cannot_be_controlled() {
    let acme = Journey::of("control-own");
    let eve = acme.neighbour("control-eve");
    acme.define("asking", &asking());
    let run_id = acme.start("asking", json!({}));
    acme.in_status(&run_id, "WAITING_FOR_INPUT");
    let before = acme.items();
    for (verb, body) in [
        ("pause", Value::Null),
        ("resume", Value::Null),
        ("data", json!({"nodeId": "ask", "data": {"approved": true}})),
        ("replay", json!({})),
        ("deliveries/1/redeliver", Value::Null),
    ] {
        assert_eq!(control(&eve, &run_id, verb, &body).status, 404, "{verb}");
    }
    assert_eq!(acme.items(), before);
    control(&acme, &run_id, "cancel", &Value::Null);
    acme.ended(&run_id);
}
