//! Telling the caller.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use jiff::Timestamp;
use serde_json::{Value, json};
use sluice_aws::webhook::sign::sign;
use sluice_core::delivery::{Channel, Delivery, DeliveryStatus};
use sluice_core::destination::Destinations;
use sluice_local::receiver::{Reply, SignedRequest};
use url::{Position, Url};

use crate::world::{
    Journey, PATIENCE, asking, body, errors, eventually, hold, holding, instant, is_terminal, list, run_path, text,
};

#[test]
fn the_context_comes_back_byte_for_byte() {
    let acme = Journey::of("verbatim");
    acme.define("instant", &instant());
    for context in [
        r#"{"n":12345678901234567890123,"x":1.10,"k":"\u00e9"}"#,
        r#"{ "z" : 1.0e+2 , "a":[ 1.0,-0 ,{}],  "b":"\/\u0000é" , "":null }"#,
        r#"  "text"  "#.trim(),
        "1.10",
        "[ ]",
    ] {
        let sent = body("instant", json!({"completionCallbackUrl": acme.hook()}));
        let sent = sent.to_string().replacen('{', &format!("{{\"completionCallbackContext\": {context} ,"), 1);
        let count = acme.stack.receiver.received("verbatim").len();
        let created = acme.post("/v1/workflow-runs", &sent);
        assert_eq!(created.status, 201, "{}", created.text());
        let webhook = acme.webhooks(count + 1, PATIENCE).remove(count);
        let body = String::from_utf8(webhook.body.to_vec()).expect("text");
        assert!(body.contains(&format!("\"completionCallbackContext\":{context}")), "{context} is not in {body}");
        // It is the caller's own affair: the engine never sees it.
        let run = acme.run(&text(&created.json()["id"]));
        let input = text(&acme.execution(&run)["input"]);
        assert!(!input.contains("ontext") && !input.contains("12345678901234567890123"), "{input}");
    }
}

#[test]
fn a_receiver_that_was_down_twice_is_told_the_same_a_third_time() {
    let acme = Journey::of("down-twice");
    acme.define("instant", &instant());
    acme.stack.receiver.answer_next(&acme.tenant, [Reply::status(500), Reply::status(500)]);
    let run =
        acme.create("instant", json!({"completionCallbackUrl": acme.hook(), "completionCallbackContext": {"x": 1}}));
    let run_id = text(&run["id"]);
    // The first two within seconds of each other, the third about a minute later, when the next sweep finds it due.
    let received = acme.webhooks(3, Duration::from_secs(180));
    assert_eq!(received.len(), 3);
    for (index, webhook) in received.iter().enumerate() {
        assert_eq!(webhook.header("webhook-id"), Some(format!("{run_id}.1").as_str()));
        assert_eq!(webhook.header("webhook-attempt"), Some((index + 1).to_string().as_str()));
        assert_eq!(webhook.body, received[0].body, "the same bytes on every attempt");
        assert_eq!(webhook.answered, Some([500, 500, 200][index]));
    }
    let signatures: Vec<_> = received.iter().map(|webhook| webhook.header("authorization")).collect();
    assert!(signatures[0] != signatures[1] && signatures[1] != signatures[2], "each attempt is signed anew");
    let waited = |from: usize| received[from + 1].at.duration_since(received[from].at).expect("in order");
    assert!((Duration::from_secs(1)..Duration::from_secs(15)).contains(&waited(0)), "{:?}", waited(0));
    assert!(waited(1) >= Duration::from_secs(59), "{:?}", waited(1));

    let delivered = acme.delivered(&run_id);
    let webhook = delivered.iter().find(|delivery| delivery["channel"] == "webhook").expect("a webhook");
    assert_eq!(webhook["status"], "DELIVERED", "{webhook}");
    let attempts: Vec<Value> = list(&webhook["attempts"])
        .iter()
        .map(|attempt| json!([attempt["number"], attempt["outcome"], attempt["httpStatus"]]))
        .collect();
    assert_eq!(attempts, [json!([1, "rejected", 500]), json!([2, "rejected", 500]), json!([3, "delivered", 200])]);
}

#[test]
fn a_receiver_that_takes_five_seconds_is_told_and_holds_up_nobody() {
    let slow = Journey::of("slow-receiver");
    let quick = slow.neighbour("quick-beside-slow");
    let takes = Duration::from_secs(5);
    slow.stack.receiver.answer_next(&slow.tenant, (0..30).map(|_| Reply::status(200).after(takes)));
    let start = |tenant: &Journey, count: usize| -> Vec<String> {
        tenant.define("instant", &instant());
        (0..count).map(|_| tenant.start("instant", json!({"completionCallbackUrl": tenant.hook()}))).collect()
    };
    let late = start(&slow, 6);
    let prompt = start(&quick, 3);
    let webhook = |tenant: &Journey, run_id: &str| {
        let mut delivered = tenant.delivered(run_id).into_iter();
        delivered.find(|delivery| delivery["channel"] == "webhook").expect("a webhook")
    };
    for run_id in &prompt {
        let told = webhook(&quick, run_id);
        assert_eq!((&told["status"], list(&told["attempts"]).len()), (&json!("DELIVERED"), 1), "{told}");
    }
    for run_id in &late {
        let told = webhook(&slow, run_id);
        assert_eq!(told["status"], "DELIVERED", "{told}");
        let mut attempts = list(&told["attempts"]);
        let last = attempts.pop().expect("an attempt");
        assert!(last["durationMs"].as_u64().is_some_and(|took| took >= 5_000), "it had the time to answer: {told}");
        for first in attempts {
            // Whoever settled the run had patience for two seconds, and a little of its own work.
            assert_eq!(first["errorClass"], "timeout", "{told}");
            assert!(first["durationMs"].as_u64().is_some_and(|took| took < 5_000), "{told}");
        }
    }
    // The same message each time, so that the receiver can drop repeats.
    for received in slow.webhooks(late.len(), PATIENCE) {
        let run_id = text(&received.json()["runId"]);
        assert_eq!(received.header("webhook-id"), Some(format!("{run_id}.1").as_str()));
    }
}

#[test]
fn a_receiver_that_is_gone_is_not_asked_again() {
    let acme = Journey::of("gone");
    acme.define("instant", &instant());
    acme.stack.receiver.answer_next(&acme.tenant, [Reply::status(410)]);
    let run_id = acme.start("instant", json!({"completionCallbackUrl": acme.hook()}));
    let delivered = acme.delivered(&run_id);
    let webhook = delivered.iter().find(|delivery| delivery["channel"] == "webhook").expect("a webhook");
    assert_eq!((&webhook["status"], &webhook["deadLetterReason"]), (&json!("DEAD_LETTERED"), &json!("gone")));
    assert_eq!(acme.webhooks(1, PATIENCE).len(), 1);
}

#[test]
fn a_receiver_that_hangs_up_is_told_again_within_seconds() {
    let acme = Journey::of("hangs-up");
    acme.define("instant", &instant());
    acme.stack.receiver.answer_next(&acme.tenant, [Reply::hang_up()]);
    let run_id = acme.start("instant", json!({"completionCallbackUrl": acme.hook()}));
    acme.webhooks(2, Duration::from_secs(45));
    let delivered = acme.delivered(&run_id);
    let webhook = delivered.iter().find(|delivery| delivery["channel"] == "webhook").expect("a webhook");
    let outcomes: Vec<&Value> = [0, 1].iter().map(|index| &webhook["attempts"][*index]["outcome"]).collect();
    assert_eq!(outcomes, ["unreachable", "delivered"], "{webhook}");
}

#[test]
fn whoever_prefers_a_rule_hears_of_the_end_on_the_event_bus() {
    let acme = Journey::of("on-the-bus");
    acme.define("hold", &hold(json!({"maxAttempts": 1})));
    let queue = acme.stack.aws("sqs", "create_queue", json!({"QueueName": "ends-of-runs"})).expect("a queue");
    let arn = format!("arn:aws:sqs:{}:{}:ends-of-runs", acme.stack.region, acme.stack.account);
    let pattern = json!({
        "source": ["sluice"],
        "detail-type": ["Workflow Run Status Changed"],
        "detail": {"tenantId": [acme.tenant]},
    });
    acme.stack
        .aws("events", "put_rule", json!({"Name": "ends-of-runs", "EventPattern": pattern.to_string()}))
        .expect("a rule");
    acme.stack
        .aws("events", "put_targets", json!({"Rule": "ends-of-runs", "Targets": [{"Id": "queue", "Arn": arn}]}))
        .expect("a target");
    let mut request = holding(json!({}));
    request["completionCallbackUrl"] = json!(acme.hook());
    request["completionCallbackContext"] = json!("only for me");
    let run_id = acme.start("hold", request);
    let event = eventually("the event", || {
        let params = json!({"QueueUrl": queue["QueueUrl"], "MaxNumberOfMessages": 1});
        let received = acme.stack.aws("sqs", "receive_message", params).expect("messages");
        serde_json::from_str::<Value>(received["Messages"][0]["Body"].as_str()?).ok()
    });
    let detail = &event["detail"];
    assert_eq!((&detail["runId"], &detail["status"]), (&json!(run_id), &json!("SUCCEEDED")));
    assert_eq!((detail.get("output"), &detail["outputOmitted"]), (None, &json!(true)), "{detail}");
    assert_eq!(detail.get("completionCallbackContext"), None, "{detail}");
}

#[test]
fn a_run_that_fails_tells_why() {
    let acme = Journey::of("failed-webhook");
    acme.define("hold", &hold(json!({"maxAttempts": 1})));
    let mut request = holding(json!({"failWith": "Model.Overloaded"}));
    request["completionCallbackUrl"] = json!(acme.hook());
    acme.create("hold", request);
    let said = acme.webhooks(1, PATIENCE).remove(0).json();
    assert_eq!((&said["status"], &said["terminationReason"]), (&json!("FAILED"), &json!("execution_error")));
    assert_eq!(said["error"]["code"], "Model.Overloaded", "{said}");
    assert!(said["error"]["message"].as_str().is_some_and(|message| message.contains("hold")), "{said}");
    assert_eq!((said.get("output"), said.get("completionCallbackContext")), (None, None), "{said}");
}

#[test]
fn a_run_that_takes_too_long_is_stopped_by_the_sweep() {
    let acme = Journey::of("deadline");
    acme.define("hold", &hold(json!({"maxAttempts": 1})));
    let mut request = holding(json!({"seconds": 25}));
    request["maxRunDurationSeconds"] = json!(1);
    request["completionCallbackUrl"] = json!(acme.hook());
    let run_id = acme.start("hold", request);
    acme.in_status(&run_id, "RUNNING");
    let run = eventually("the deadline", || {
        acme.reconcile();
        let run = acme.run(&run_id);
        is_terminal(&run).then_some(run)
    });
    assert_eq!((&run["status"], &run["terminationReason"]), (&json!("FAILED"), &json!("timed_out")));
    let said = acme.webhooks(1, PATIENCE).remove(0).json();
    assert_eq!((&said["status"], &said["terminationReason"]), (&json!("FAILED"), &json!("timed_out")));
}

#[test]
fn everything_that_was_given_up_is_sent_again_at_once() {
    let acme = Journey::of("redeliver-failed");
    acme.define("instant", &instant());
    let create = || acme.create("instant", json!({"completionCallbackUrl": acme.hook()}));
    acme.stack.receiver.answer_next(&acme.tenant, [410, 410, 410].map(Reply::status));
    let runs: Vec<Value> = (0..3).map(|_| create()).collect();
    acme.webhooks(3, PATIENCE);
    for run in &runs {
        let delivered = acme.delivered(&text(&run["id"]));
        assert_eq!(delivered[0]["deadLetterReason"], "gone", "{}", delivered[0]);
    }
    let arrived = create();
    acme.delivered(&text(&arrived["id"]));
    let again = |since: &Value| {
        let answer = acme.post("/v1/deliveries/redeliver", json!({"failedSince": since}));
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json()
    };
    // The last run was made after all of these had been given up.
    assert_eq!(again(&arrived["createdAt"]), json!({"redelivered": 0, "more": false}));
    let stranger = acme.neighbour("redeliver-failed-stranger");
    let theirs = stranger.post("/v1/deliveries/redeliver", json!({"failedSince": runs[0]["createdAt"]}));
    assert_eq!((theirs.status, theirs.json()), (202, json!({"redelivered": 0, "more": false})));
    assert_eq!(again(&runs[0]["createdAt"]), json!({"redelivered": 3, "more": false}));
    let received = acme.webhooks(7, PATIENCE);
    let mut ids: Vec<String> = received.iter().filter_map(|one| one.header("webhook-id").map(str::to_owned)).collect();
    ids.sort();
    let mut expected: Vec<String> = runs.iter().map(|run| format!("{}.1", text(&run["id"]))).collect();
    expected.extend(expected.clone());
    expected.push(format!("{}.1", text(&arrived["id"])));
    expected.sort();
    assert_eq!(ids, expected, "the same messages once more, and only those that had not arrived");
    for run in &runs {
        assert_eq!(acme.delivered(&text(&run["id"]))[0]["status"], "DELIVERED");
    }
    assert_eq!(again(&runs[0]["createdAt"])["redelivered"], 0, "nothing is owed any more");
    let bad = acme.post("/v1/deliveries/redeliver", json!({"failedSince": "yesterday"}));
    assert_eq!(errors(&bad, 400), ["/failedSince invalid"]);
}

#[test]
fn a_tenants_callbacks_go_only_where_its_operator_lists() {
    let acme = Journey::of("destinations");
    let url = "https://abcdefghijklmnopqrstuvwxyz012345.lambda-url.us-east-1.on.aws";
    acme.define("asking", &asking());
    // Before anything was said, any place that the deployment allows will do.
    let before = acme.start("asking", json!({"completionCallbackUrl": acme.hook()}));
    acme.waiting(&before, "ask", 1);
    acme.allow(&json!({"destinations": [url]}));
    let path = format!("/v1/tenants/{}", acme.tenant);
    assert_eq!(acme.operator().read(&path)["destinations"], json!([url]));
    let ask = |to: &str, name: &str| {
        acme.post("/v1/workflow-runs", body("asking", json!({"completionCallbackUrl": to, "name": name})))
    };
    let created = ask(&acme.hook(), "n");
    assert_eq!(errors(&created, 400), ["/completionCallbackUrl callback_url_not_allowed"]);
    let other = "https://abcdefghijklmnopqrstuvwxyz999999.lambda-url.us-east-1.on.aws/";
    let invoke = json!({"completionCallbackUrl": acme.hook()});
    let invoked = acme.post("/v1/workflow-definitions/asking/invoke", &invoke);
    assert_eq!(errors(&invoked, 400), ["/completionCallbackUrl callback_url_not_allowed"]);
    // Nor to another function than the listed one, although the deployment would allow it.
    let both = ["/name out_of_range", "/completionCallbackUrl callback_url_not_allowed"];
    eventually("the list to be known", || (errors(&ask(other, ""), 400) == both).then_some(()));
    // What is listed is not what is wrong with this one.
    assert_eq!(errors(&ask(&format!("{url}/hook"), ""), 400), ["/name out_of_range"]);

    // Whoever was taken from the list since is told nothing any more.
    let told = acme.stack.receiver.received(&acme.tenant).len();
    acme.answered(&before);
    let delivery = eventually("the first attempts", || {
        let delivery = acme.deliveries(&before).into_iter().find(|delivery| delivery["channel"] == "webhook")?;
        (list(&delivery["attempts"]).len() == 2).then_some(delivery)
    });
    assert_eq!(delivery["attempts"][0]["errorClass"], "refused_destination", "{delivery}");
    assert_eq!(acme.stack.receiver.received(&acme.tenant).len(), told);
    // Put back, it is.
    acme.allow(&json!({}));
    eventually("the end of the list to be known", || {
        let again = acme.post(&format!("{}/deliveries/1/redeliver", run_path(&before)), "");
        (again.status == 202 || again.json()["code"] == "attempt_under_way").then_some(())?;
        (acme.stack.receiver.received(&acme.tenant).len() > told).then_some(())
    });
    acme.delivered(&before);

    for (destinations, expected) in [
        (json!(["https://example.com"]), "/destinations/0 callback_url_not_allowed"),
        (json!([url, format!("{url}/hook")]), "/destinations/1 invalid"),
        (json!(vec![url; 201]), "/destinations too_many"),
    ] {
        let refused = acme.operator().put(&path, json!({"destinations": destinations}));
        assert_eq!(errors(&refused, 400), [expected]);
    }
    let named = |tenant: &Value| tenant["tenantId"] == *acme.tenant;
    let tenants = acme.operator().listed("/v1/tenants?limit=100", "tenants");
    let found = tenants.into_iter().find(named).expect("the tenant in the list");
    assert_eq!(
        (&found["destinations"], &found["concurrency"], &found["retention"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    for run_id in acme.found("?status=PENDING,RUNNING,WAITING_FOR_INPUT") {
        acme.canceled(&run_id);
    }
}

/// A message that would be sent.
fn message() -> Delivery {
    Delivery {
        tenant_id: "acme".parse().expect("a tenant"),
        run_id: "3b9f8c2e-1d4a-4f6b-8c7d-2e5a9b0c1d3f".parse().expect("an id"),
        number: 1,
        channel: Channel::EventBus,
        status: DeliveryStatus::InFlight,
        attempts: 1,
        round_attempts: 1,
        next_attempt_at: None,
        created_at: Timestamp::UNIX_EPOCH,
        ended_at: None,
        dead_letter_reason: None,
        rev: 1,
        body: "{}".to_owned(),
    }
}

#[test]
fn of_every_url_that_is_admitted_botocore_computes_the_same_signature() {
    const PATHS: [&str; 14] = [
        "",
        "/",
        "/hook",
        "/hook/",
        "/a/b-c_d.e~f",
        "/%C3%A9",
        "/a%20b",
        "/a%2Fb",
        "//a",
        "/a/../b",
        "/a+b",
        "/%41",
        "/a:b",
        "/a//b",
    ];
    const NAMES: [&str; 8] = ["a", "b", "A", "a.b-c_d~e", "%C3%A9", "a%20b", "a-", ""];
    const VALUES: [&str; 14] =
        ["=", "=1", "=%20", "=%2B", "=%3D", "=%2F", "=b+c", "=%2b", "=%41", "=b=c", "=b/c", "=b:c", "=(b)", ""];
    let stack = Journey::of("canonical-urls").stack;
    let region = "us-east-1";
    let destinations = Destinations { regions: vec![region.to_owned()], extra_origins: Vec::new() };
    let keys = ("ASIAEXAMPLE", "an example's secret", "an example's session");
    let signer = Credentials::new(keys.0, keys.1, Some(keys.2.to_owned()), None, "test");
    let given = sluice_local::Credentials {
        access_key_id: keys.0.to_owned(),
        secret_access_key: keys.1.to_owned(),
        session_token: Some(keys.2.to_owned()),
    };
    let verdict = |url: &Url| {
        let (message, now) = (message(), "2026-11-22T04:40:00Z".parse().expect("a time"));
        let headers = sign(url, region, &signer, &message, now).expect("signed");
        let request = SignedRequest {
            method: "POST".to_owned(),
            target: url[Position::BeforePath..Position::AfterQuery].to_owned(),
            headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            body: message.body.into_bytes(),
            at: SystemTime::from(now),
        };
        stack.receiver.verify(&request, Some(&given))
    };
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |bound: usize| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        (dice % bound as u64) as usize
    };
    let (mut admitted, mut told_apart) = (0, 0);
    for _ in 0..600 {
        let parameters: Vec<String> =
            (0..below(4)).map(|_| format!("{}{}", NAMES[below(NAMES.len())], VALUES[below(VALUES.len())])).collect();
        let query = if parameters.is_empty() { String::new() } else { format!("?{}", parameters.join("&")) };
        let text = format!(
            "https://abcdefghijklmnopqrstuvwxyz012345.lambda-url.{region}.on.aws{}{query}",
            PATHS[below(PATHS.len())]
        );
        match destinations.admit(&text) {
            Ok(destination) => {
                let verdict = verdict(&destination.url);
                assert!(verdict.verified, "{text}: {:?}", verdict.problems);
                admitted += 1;
            }
            Err(_) => told_apart += usize::from(!verdict(&text.parse().expect("a URL")).verified),
        }
    }
    assert!(admitted >= 50 && told_apart >= 50, "{admitted} admitted, {told_apart} of the others do not verify");
}
