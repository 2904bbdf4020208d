//! What workers say of a run from outside, with a token for that one run; and what the run was given, in its order.

use jiff::Timestamp;
use serde_json::{Value, json};
use sluice_local::Answer;

use crate::world::{Journey, asking, errors, list, refused, run_path, text};

/// A token for any node of the run.
fn token(journey: &Journey, run_id: &str) -> String {
    text(&journey.tell(run_id, "report-tokens", "", 201)["token"])
}

/// A report with a token, and without any identity.
fn report(journey: &Journey, run_id: &str, token: &str, report: &Value) -> Answer {
    let path = format!("{}/report", run_path(run_id));
    journey.request("POST", &path, &[("authorization", &format!("Bearer {token}"))], report.to_string())
}

fn succeeded() -> Value {
    json!({"nodeId": "ask", "status": "SUCCEEDED", "result": {"approved": "by a worker"}})
}

#[test]
fn a_worker_reports_its_progress_its_usage_and_its_result() {
    let acme = Journey::of("report-success");
    acme.define("asking", &asking());
    let run_id = acme.start_asking("asking", json!({}));
    let made = acme.tell(&run_id, "report-tokens", json!({"nodeId": "ask", "expiresInSeconds": 600}), 201);
    assert_eq!(
        (&made["nodeId"], &made["reportPath"]),
        (&json!("ask"), &json!(format!("{}/report", run_path(&run_id))))
    );
    let token = text(&made["token"]);
    let kept = format!("{:?}", acme.items());
    assert!(!kept.contains(&token), "the token itself is kept nowhere");

    let progress = json!({
        "nodeId": "ask", "status": "RUNNING", "progress": {"percent": 40, "message": "reading"},
        "usage": [{"callId": "c-1", "provider": "acme", "model": "small", "costUsd": 0.1}],
    });
    let taken = report(&acme, &run_id, &token, &progress);
    assert_eq!((taken.status, &taken.json()["status"]), (202, &json!("WAITING_FOR_INPUT")), "{}", taken.text());
    assert_eq!(taken.json()["usage"], json!({"recorded": 1, "repeated": 0}));
    let again = report(&acme, &run_id, &token, &progress);
    assert_eq!(again.json()["usage"], json!({"recorded": 0, "repeated": 1}), "{}", again.text());
    for step in [acme.step(&run_id, "ask"), acme.steps(&run_id)[0].clone()] {
        let shown = &step["progress"];
        assert_eq!((&shown["percent"], &shown["message"]), (&json!(40), &json!("reading")), "{step}");
        assert!(shown["at"].is_string(), "{step}");
    }
    assert_eq!(acme.read(&format!("{}/usage", run_path(&run_id)))["byNode"]["ask"]["calls"], 1);

    // A report is held to the same rules as any answer.
    for (body, expected) in [
        (json!({"nodeId": "ask", "status": "SUCCEEDED", "result": 7}), "/result schema_violation"),
        (json!({"nodeId": "ask", "status": "FAILED"}), "/error missing_field"),
        (json!({"nodeId": "ask", "status": "RUNNING", "result": {}}), "/result needs_other_field"),
        (json!({"nodeId": "ask", "status": "RUNNING", "progress": {"percent": 101}}), "/progress/percent out_of_range"),
        (json!({"nodeId": "work", "status": "RUNNING"}), "/nodeId unknown_node"),
    ] {
        assert_eq!(errors(&report(&acme, &run_id, &token, &body), 400), [expected], "{body}");
    }
    let done = report(&acme, &run_id, &token, &succeeded());
    assert_eq!(done.status, 202, "{}", done.text());
    assert_eq!(acme.ended(&run_id)["status"], "SUCCEEDED");
    assert_eq!(acme.step(&run_id, "work")["result"]["inputs"]["ask"], json!({"approved": "by a worker"}));
    let late = report(&acme, &run_id, &token, &succeeded());
    assert_eq!(refused(&late), (409, "run_ended".to_owned()));
    // Nor does an ended run get new tokens.
    assert_eq!(refused(&acme.post(&format!("{}/report-tokens", run_path(&run_id)), "")).0, 409);

    let inputs = list(&acme.read(&format!("{}/inputs", run_path(&run_id)))["items"]);
    assert_eq!((&inputs[1]["kind"], &inputs[1]["value"]), (&json!("data"), &json!({"approved": "by a worker"})));
    assert!(text(&inputs[1]["by"]).starts_with("report-token:"), "{}", inputs[1]);
}

#[test]
fn a_reported_failure_is_a_failed_attempt() {
    let acme = Journey::of("report-failure");
    let ask = json!({"id": "ask", "type": "external", "retry": {"maxAttempts": 2, "intervalSeconds": 1}});
    acme.define("patient", &json!({"nodes": [ask]}));
    let failed = json!({
        "nodeId": "ask", "status": "FAILED", "error": {"code": "Review.Rejected", "message": "not like this"},
    });

    let run_id = acme.start_asking("patient", json!({"input": "first"}));
    let worker = token(&acme, &run_id);
    assert_eq!(report(&acme, &run_id, &worker, &failed).status, 202);
    // The node waits once more, with another task token; the report token still opens the run.
    acme.waiting(&run_id, "ask", 2);
    assert_eq!(report(&acme, &run_id, &worker, &succeeded()).status, 202);
    assert_eq!(acme.ended(&run_id)["status"], "SUCCEEDED");
    let step = acme.step(&run_id, "ask");
    assert_eq!((&step["status"], &step["attempt"], &step["error"]), (&json!("SUCCEEDED"), &json!(2), &Value::Null));
    let inputs = list(&acme.read(&format!("{}/inputs", run_path(&run_id)))["items"]);
    let kinds: Vec<Value> =
        inputs.iter().map(|input| json!([input["sequence"], input["kind"], input["nodeId"]])).collect();
    assert_eq!(kinds, [json!([1, "start", null]), json!([2, "failure", "ask"]), json!([3, "data", "ask"])]);
    assert_eq!(inputs[0]["value"], "first");
    assert_eq!(inputs[1]["error"], json!({"code": "Review.Rejected", "message": "not like this"}));
    assert_eq!((inputs[1].get("value"), inputs[2].get("error")), (None, None));

    let run_id = acme.start_asking("patient", json!({}));
    let worker = token(&acme, &run_id);
    for attempt in [1, 2] {
        acme.waiting(&run_id, "ask", attempt);
        assert_eq!(report(&acme, &run_id, &worker, &failed).status, 202);
    }
    let run = acme.ended(&run_id);
    assert_eq!((&run["status"], &run["terminationReason"]), (&json!("FAILED"), &json!("execution_error")), "{run}");
    assert_eq!(run["error"]["code"], "Review.Rejected");
    assert!(text(&run["error"]["message"]).contains("not like this"), "{run}");
}

#[test]
fn a_token_that_does_not_open_the_run_is_refused_in_one_way() {
    let acme = Journey::of("report-tokens");
    let eve = acme.neighbour("report-tokens-eve");
    for tenant in [&acme, &eve] {
        tenant.define("asking", &asking());
    }
    let run_id = acme.start_asking("asking", json!({}));
    let other_run = acme.start_asking("asking", json!({}));
    let of_eve = eve.start_asking("asking", json!({}));
    let good = token(&acme, &run_id);
    let tampered = format!("{}{}", &good[..good.len() - 1], if good.ends_with('A') { "B" } else { "A" });
    let (head, secret) = good.rsplit_once('.').expect("three parts");
    let eves_hex: String = eve.tenant.bytes().map(|byte| format!("{byte:02x}")).collect();
    let expired = token(&acme, &run_id);
    expire_newest(&acme, &run_id);

    let before = acme.items();
    let mut bodies = Vec::new();
    for bad in [
        token(&acme, &other_run),
        token(&eve, &of_eve),
        expired,
        tampered,
        format!("srt.{eves_hex}.{secret}"),
        format!("{head}."),
        "srt..".to_owned(),
        "nonsense".to_owned(),
        String::new(),
    ] {
        let answer = report(&acme, &run_id, &bad, &succeeded());
        assert_eq!(refused(&answer), (401, "invalid_report_token".to_owned()), "{bad}");
        let mut body = answer.json();
        body.as_object_mut().expect("a problem").remove("instance");
        bodies.push(body);
    }
    let path = format!("{}/report", run_path(&run_id));
    assert_eq!(refused(&acme.request("POST", &path, &[], succeeded().to_string())).0, 401, "no token at all");
    // A run that nobody has is nothing else.
    let nowhere = report(&acme, "0b0f5c1e-64a5-4d3a-9a5e-5d9f3e0c7a11", &good, &succeeded());
    assert_eq!(refused(&nowhere), (401, "invalid_report_token".to_owned()));
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "{bodies:?}");
    let unchanged = |items: &[Value]| -> Vec<Value> {
        items.iter().filter(|item| item["kind"]["S"] != "report-token").cloned().collect()
    };
    assert_eq!(unchanged(&acme.items()), unchanged(&before), "nothing was written");
    // A report token is no identity: it opens nothing else.
    let bearer = format!("Bearer {good}");
    for (method, below) in [("GET", ""), ("GET", "/usage"), ("POST", "/usage"), ("POST", "/cancel"), ("DELETE", "")] {
        let path = format!("{}{below}", run_path(&run_id));
        let answer = acme.request(method, &path, &[("authorization", &bearer)], "");
        assert_eq!(answer.status, 401, "{method} {below}: {}", answer.text());
    }

    for tokens in [json!({"expiresInSeconds": 59}), json!({"expiresInSeconds": 2_592_001})] {
        let answer = acme.post(&format!("{}/report-tokens", run_path(&run_id)), &tokens);
        assert_eq!(errors(&answer, 400), ["/expiresInSeconds out_of_range"]);
    }
    let answer = acme.post(&format!("{}/report-tokens", run_path(&run_id)), json!({"nodeId": "nobody"}));
    assert_eq!(errors(&answer, 400), ["/nodeId unknown_node"]);
    assert_eq!(report(&acme, &run_id, &good, &succeeded()).status, 202, "the good one opens it");
    acme.ended(&run_id);
    for (tenant, run_id) in [(&acme, &other_run), (&eve, &of_eve)] {
        tenant.canceled(run_id);
    }
}

/// Lets the newest token of a run have expired: none may live for less than a minute.
fn expire_newest(journey: &Journey, run_id: &str) {
    let items = journey.items_of(run_id).into_iter().filter(|item| item["kind"]["S"] == "report-token");
    let newest = items.max_by_key(|item| text(&item["createdAt"]["S"])).expect("a token");
    let params = json!({
        "TableName": journey.stack.table,
        "Key": {"pk": newest["pk"], "sk": newest["sk"]},
        "UpdateExpression": "SET expiresAt = createdAt",
    });
    journey.stack.aws("dynamodb", "update_item", params).expect("an expired token");
}

#[test]
fn a_run_tells_what_it_was_given_and_what_came_of_it() {
    let acme = Journey::of("inputs");
    acme.define(
        "two-questions",
        &json!({
            "nodes": [
                {"id": "text", "type": "data-source"},
                {"id": "ask", "type": "external"},
                {"id": "work", "type": "processor", "processor": "echo"},
                {"id": "confirm", "type": "external"},
                {"id": "store", "type": "data-target", "processor": "echo"},
            ],
            "edges": [
                {"from": "text", "to": "ask"}, {"from": "ask", "to": "work"}, {"from": "work", "to": "confirm"},
                {"from": "confirm", "to": "store"},
            ],
        }),
    );
    let run_id = acme.start_asking("two-questions", json!({"input": {"n": 1.10}}));
    let inputs = || acme.listed(&format!("{}/inputs?limit=1", run_path(&run_id)), "items");
    assert_eq!(inputs().len(), 1, "nobody has answered yet");
    acme.tell(&run_id, "data", json!({"nodeId": "ask", "data": ["yes", 2]}), 202);
    acme.waiting(&run_id, "confirm", 1);
    acme.tell(&run_id, "data", json!({"nodeId": "confirm", "data": null}), 202);
    let run = acme.ended(&run_id);
    assert_eq!(run["status"], "SUCCEEDED", "{run}");

    let inputs = inputs();
    let told: Vec<Value> = inputs
        .iter()
        .map(|input| {
            let produced: Vec<Value> =
                list(&input["produced"]).iter().map(|step| json!([step["nodeId"], step["status"]])).collect();
            json!([input["sequence"], input["kind"], input["nodeId"], input["by"], produced])
        })
        .collect();
    let by = "inputs-on-a-laptop";
    assert_eq!(
        told,
        [
            json!([1, "start", null, by, [["text", "SUCCEEDED"]]]),
            json!([2, "data", "ask", by, [["ask", "SUCCEEDED"], ["work", "SUCCEEDED"]]]),
            json!([3, "data", "confirm", by, [["confirm", "SUCCEEDED"], ["store", "SUCCEEDED"]]]),
        ]
    );
    let values: Vec<String> = inputs.iter().map(|input| input["value"].to_string()).collect();
    assert_eq!(values, [json!({"n": 1.10}).to_string(), json!(["yes", 2]).to_string(), "null".to_owned()]);
    assert_eq!(inputs[0]["at"], run["createdAt"]);
    let times: Vec<String> = inputs.iter().map(|input| text(&input["at"])).collect();
    assert!(times.is_sorted() && inputs[0]["produced"][0]["endedAt"].is_string(), "{inputs:?}");
    let missing = acme.get(&format!("{}/inputs", run_path("0b0f5c1e-64a5-4d3a-9a5e-5d9f3e0c7a11")));
    assert_eq!(refused(&missing), (404, "not_found".to_owned()));
}

#[test]
fn time_spent_paused_does_not_count_where_the_definition_says_so() {
    let acme = Journey::of("paused-time");
    let rules = json!({"maxRunDurationSeconds": 12, "excludePausedTime": true});
    acme.define_with("excluded", rules, &asking());
    let run_id = acme.start_asking("excluded", json!({}));
    let run = acme.run(&run_id);
    assert_eq!((&run["maxRunDurationSeconds"], &run["excludePausedTime"]), (&json!(12), &json!(true)), "{run}");
    acme.tell(&run_id, "pause", "", 202);
    acme.tell(&run_id, "data", json!({"nodeId": "ask", "data": {"approved": true}}), 202);
    acme.in_status(&run_id, "PAUSED");

    // Whoever waits for its end now waits until its time is over, by the clock on the wall.
    let waited = acme.read(&format!("{}?waitSeconds=13", run_path(&run_id)));
    assert_eq!(waited["status"], "PAUSED", "{waited}");
    acme.reconcile();
    assert_eq!(acme.run(&run_id)["status"], "PAUSED", "the sweep leaves it alone");
    let resumed = acme.post(&format!("{}/resume", run_path(&run_id)), "");
    assert!(resumed.status == 200 || resumed.status == 202, "{}", resumed.text());
    let run = acme.ended(&run_id);
    assert_eq!(run["status"], "SUCCEEDED", "{run}");
    let time = |name: &str| text(&run[name]).parse::<Timestamp>().expect("a time");
    let whole = time("completedAt").duration_since(time("startedAt")).as_millis();
    let paused = run["pausedMs"].as_u64().map(i128::from).expect("milliseconds");
    assert!(whole > 12_000 && (12_000..=whole).contains(&paused), "{run}");
}
