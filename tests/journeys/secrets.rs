//! What is said to the service in confidence stands in no log, and nobody who talks to it writes a line of one.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_local::Answer;
use sluice_local::receiver::Reply;

use crate::world::{Journey, body, errors, eventually, list, run_path, text};

/// Part of everything that is said in confidence.
const SECRET: &str = "unspeakable";

/// What else no log may have, in small letters: credentials, signatures, and what they are sent in.
const CREDENTIALS: [&str; 9] = [
    "bearer ",
    "srt.",
    "aws4-hmac",
    "x-amz-signature",
    "signature=",
    "credential=",
    "security-token",
    "session_token",
    "secret_access_key",
];

/// What would stand in a log if somebody could write a line of it.
const FORGED: &str = r#"{"level":"FORGED"}"#;

const TOKEN_LIFETIME: Duration = Duration::from_secs(600);

#[test]
fn what_is_said_in_confidence_is_in_no_log_and_in_no_refusal() {
    let acme = Journey::of("secrets");
    let token = acme.stack.token(&acme.tenant, &json!({}), TOKEN_LIFETIME).expect("a token");
    let bearer = format!("Bearer {token}");
    let as_acme = ("authorization", bearer.as_str());
    acme.define(
        "guarded",
        &json!({
            "nodes": [
                {"id": "ask", "type": "external", "schema": {"type": "object", "required": ["approved"]}},
                {"id": "work", "type": "processor", "processor": "echo",
                 "parameters": {"apiKey": {"type": "string", "private": true}}},
            ],
            "edges": [{"from": "ask", "to": "work"}],
            "inputSchema": {"type": "object", "properties": {"count": {"type": "integer"}}},
        }),
    );

    // The first attempt to tell of the end gets no answer, the second one that ends all attempts.
    let told_off = Reply::status(410).with_header("x-reason", "unspeakable-reason");
    acme.stack.receiver.answer_next(&acme.tenant, [Reply::hang_up(), told_off]);
    let confidences = json!({
        "input": {"password": "unspeakable-input"},
        "processorParams": {"work": {"apiKey": "unspeakable-parameter"}},
        "variables": {"token": "unspeakable-variable"},
        "labels": {"note": "unspeakable-label"},
        "completionCallbackUrl": format!("{}?key=unspeakable-url", acme.hook()),
        "completionCallbackContext": {"session": "unspeakable-context"},
    });
    let key = ("idempotency-key", "unspeakable-key");
    let request = body("guarded", confidences.clone());
    let create = |request: &Value| {
        acme.request(
            "POST",
            "/v1/workflow-runs",
            &[as_acme, key, ("cookie", "unspeakable-cookie")],
            request.to_string(),
        )
    };
    let created = create(&request);
    assert_eq!(created.status, 201, "{}", created.text());
    let run_id = text(&created.json()["id"]);
    let path = run_path(&run_id);
    acme.waiting(&run_id, "ask", 1);

    let report_token = text(&acme.tell(&run_id, "report-tokens", json!({"nodeId": "ask"}), 201)["token"]);
    let (head, _) = report_token.rsplit_once('.').expect("a secret part");
    let report = |token: &str, report: &Value| {
        let token = format!("Bearer {token}");
        acme.request("POST", &format!("{path}/report"), &[("authorization", &token)], report.to_string())
    };
    let progress =
        json!({"nodeId": "ask", "status": "RUNNING", "progress": {"percent": 1, "message": "unspeakable-progress"}});
    assert_eq!(report(&report_token, &progress).status, 202);
    acme.tell(&run_id, "comments", json!({"text": "unspeakable-comment"}), 201);

    // Everything that is refused.
    let mut other = request.clone();
    other["input"] = json!({"password": "unspeakable-second-input"});
    let changed = |changes: Value| {
        let mut request = body("guarded", confidences.clone());
        for (name, value) in changes.as_object().into_iter().flatten() {
            request[name] = value.clone();
        }
        request.to_string()
    };
    let post = |at: &str, request: String| acme.request("POST", at, &[as_acme], request);
    let runs = "/v1/workflow-runs";
    let refused: Vec<(u16, Answer)> = vec![
        (401, report(&format!("{head}.unspeakable-token"), &progress)),
        (401, report("unspeakable", &progress)),
        (400, report(&report_token, &json!({"nodeId": "ask", "status": "unspeakable-status"}))),
        (400, report(&report_token, &json!({"nodeId": "ask", "status": "SUCCEEDED", "result": "unspeakable-result"}))),
        (409, create(&other)),
        (400, post(runs, changed(json!({"input": "unspeakable-wrong-input"})))),
        (400, post(runs, changed(json!({"input": {"count": "unspeakable-count"}})))),
        (400, post(runs, changed(json!({"name": ["unspeakable-name"]})))),
        (400, post(runs, changed(json!({"executionBudgetUsd": "unspeakable-budget"})))),
        (400, post(runs, changed(json!({"retention": "unspeakable-retention"})))),
        (400, post(runs, changed(json!({"retention": {"maxAgeSeconds": "unspeakable-age"}})))),
        (400, post(runs, changed(json!({"processorParams": {"work": {"apiKey": ["unspeakable-list"]}}})))),
        (400, post(runs, changed(json!({"processorParams": {"nobody": {"apiKey": "unspeakable-node"}}})))),
        (400, post(runs, changed(json!({"processorParams": {"work": "unspeakable-object"}})))),
        (400, post(runs, changed(json!({"completionCallbackUrl": "https://example.com/?key=unspeakable-place"})))),
        (400, post(runs, changed(json!({"clientToken": "unspeakable token"})))),
        (400, post(runs, request.to_string().replace("unspeakable-input\"", "unspeakable-input"))),
        (400, acme.request("POST", runs, &[as_acme, ("idempotency-key", "unspeakable key")], request.to_string())),
        (415, acme.request("POST", runs, &[as_acme, ("content-type", "text/plain")], request.to_string())),
        (400, acme.get("/v1/workflow-runs?limit=unspeakable-limit")),
        (400, acme.get("/v1/workflow-runs?cursor=unspeakable-cursor")),
        (400, acme.get("/v1/workflow-runs?createdFrom=unspeakable-time")),
        (400, post(&format!("{path}/data"), json!({"nodeId": "ask", "data": "unspeakable-wrong-answer"}).to_string())),
        (
            400,
            post(&format!("{path}/data"), json!({"nodeId": "ask", "data": {}, "note": "unspeakable-note"}).to_string()),
        ),
        (400, post(&format!("{path}/comments"), json!({"text": ["unspeakable-text"]}).to_string())),
        (400, post("/v1/workflow-definitions/guarded/invoke", changed(json!({"workflowInstanceConfiguration": null})))),
    ];
    for (status, answer) in &refused {
        errors(answer, *status);
        assert!(!answer.text().contains(SECRET), "{}", answer.text());
    }
    let stranger = acme.request("GET", &path, &[("authorization", "Bearer unspeakable-identity")], "");
    assert_eq!(stranger.status, 401);
    assert!(!stranger.text().contains(SECRET), "{}", stranger.text());

    let answer = json!({"nodeId": "ask", "data": {"approved": true, "password": "unspeakable-answer"}});
    assert_eq!(post(&format!("{path}/data"), answer.to_string()).status, 202);
    assert_eq!(acme.ended(&run_id)["status"], "SUCCEEDED");
    let delivered = acme.delivered(&run_id);
    let webhook = delivered.iter().find(|delivery| delivery["channel"] == "webhook").expect("a webhook");
    assert_eq!((&webhook["status"], list(&webhook["attempts"]).len()), (&json!("DEAD_LETTERED"), 2), "{webhook}");
    acme.reconcile();

    let log = Log::of(&acme);
    let of_the_run = |function: &str| {
        let mut lines = log.of_function(acme.stack.function_name(function));
        lines.any(|line| line.contains(&run_id))
    };
    for function in ["control-run", "create-run", "read-runs", "run-callback"] {
        assert!(of_the_run(function), "the log has what {function} did");
    }
    let signature = token.rsplit('.').next().expect("a signature");
    let secret = report_token.rsplit('.').next().expect("a secret part");
    for (function, line) in &log.lines {
        assert!(![SECRET, signature, secret].iter().any(|said| line.contains(said)), "{function}: {line}");
        let small = line.to_lowercase();
        assert!(!CREDENTIALS.iter().any(|said| small.contains(said)), "{function}: {line}");
    }
}

#[test]
fn nobody_writes_a_line_of_the_log() {
    let acme = Journey::of("forged");
    acme.define("instant", &json!({"nodes": [{"id": "value", "type": "data-source"}]}));
    let run_id = acme.start("instant", json!({"name": format!("a {FORGED} run")}));
    let path = run_path(&run_id);

    // Whatever ends a line for somebody, and what a terminal obeys: in a path, a query, a header, a name, a text.
    let ends = ["\n", "\r\n", "\r", "\0", "\u{b}", "\u{c}", "\u{1b}[2J", "\u{1e}", "\u{85}", "\u{2028}", "\u{2029}"];
    for end in ends {
        let line = format!("x{end}{FORGED}{end}");
        let encoded: String = line.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for (method, at) in [
            ("GET", format!("/v1/workflow-runs/{encoded}")),
            ("GET", format!("/v1/workflow-runs?{encoded}={encoded}")),
            ("GET", format!("/v1/workflow-runs?label={encoded}&cursor={encoded}")),
            ("GET", format!("{path}/steps/{encoded}")),
            ("POST", format!("/v1/workflow-runs/{encoded}/cancel")),
            ("POST", format!("/v1/workflow-runs/{encoded}/pause")),
            ("GET", format!("/v1/workflow-definitions/{encoded}")),
            ("POST", format!("/v1/workflow-definitions/{encoded}/invoke")),
        ] {
            let refused = acme.request(method, &at, &[], "");
            assert!((400..500).contains(&refused.status), "{method} {at}: {} {}", refused.status, refused.text());
        }
        // What is wrong is logged by its place, and a place has the caller's names in it.
        for (at, request) in [
            ("/v1/workflow-runs".to_owned(), json!({line.as_str(): 1})),
            ("/v1/workflow-runs".to_owned(), body("instant", json!({"processorParams": {line.as_str(): {}}}))),
            ("/v1/workflow-runs".to_owned(), body(&line, json!({"completionCallbackUrl": line}))),
            ("/v1/workflow-definitions".to_owned(), json!({"name": line})),
            ("/v1/workflow-definitions/instant/invoke".to_owned(), json!({"tags": {line.as_str(): line}})),
            (format!("{path}/data"), json!({"nodeId": line, "data": line})),
            (format!("{path}/report"), json!({"nodeId": line, "status": line})),
            (format!("{path}/usage"), json!({"usage": [{"callId": line, "provider": line, "model": line}]})),
        ] {
            let answer = acme.post(&at, &request);
            assert!(answer.status < 500, "{at}: {} {}", answer.status, answer.text());
        }
    }
    // A header takes no end of a line; whatever else it says is no line either.
    let said = format!("\"}}\t{FORGED}");
    for name in ["user-agent", "x-request-id", "x-amzn-trace-id", "idempotency-key", "x-forwarded-for", "referer"] {
        let answer =
            acme.request("POST", "/v1/workflow-runs", &[(name, &said)], body("nobodys", json!({})).to_string());
        assert_eq!(answer.status, 400, "{name}: {}", answer.text());
    }
    // Who may invoke a function may tell it anything.
    for end in ends {
        let line = format!("x{end}{FORGED}{end}");
        let event = json!({
            "rawPath": format!("/v1/{line}"),
            "requestContext": {"requestId": line, "stage": line, "http": {"method": "GET"}},
            "headers": {"user-agent": "x"},
        });
        for event in [event, json!({"headers": line}), json!(line)] {
            let answered = acme.stack.invoke("read-runs", &event).expect("an answer");
            assert_eq!(answered.function_error, None, "{event}: {}", answered.payload);
        }
    }
    acme.ended(&run_id);

    let log = Log::of(&acme);
    let mut count = 0;
    for (function, line) in &log.lines {
        let read = serde_json::from_str::<Value>(line).ok().filter(Value::is_object);
        let read = read.unwrap_or_else(|| panic!("a line of {function} is no JSON object: {line}"));
        assert_ne!(read["level"], "FORGED", "{function}: {line}");
        count += usize::from(line.contains("FORGED"));
    }
    assert!(count > ends.len() * 8, "the log does have the requests: {count}");
}

/// What the functions of the template have logged, each line with its function's deployed name.
struct Log {
    lines: Vec<(String, String)>,
}

impl Log {
    /// All until now.
    fn of(journey: &Journey) -> Self {
        // Of each function that can be asked, a last line to wait for.
        let urls = &journey.stack.function_urls;
        let last: Vec<(&str, String)> = urls
            .keys()
            .map(|function| {
                let path = format!("/v1/the-last-of-{}-for-{function}", journey.tenant);
                let answer = journey.stack.request_function_url(function, "GET", &path, &[], "").expect("an answer");
                assert_eq!(answer.status, 404, "{function}: {}", answer.text());
                (journey.stack.function_name(function), path)
            })
            .collect();
        eventually("the last lines of the log", || {
            let log = Self::read(journey);
            let has = |(function, path): &(&str, String)| log.of_function(function).any(|line| line.contains(path));
            last.iter().all(has).then_some(log)
        })
    }

    fn read(journey: &Journey) -> Self {
        let names: Vec<&str> = journey.stack.functions().map(|name| journey.stack.function_name(name)).collect();
        let log = fs::read_to_string(journey.stack.folder.join("functions.log")).unwrap_or_default();
        let mut lines = Vec::new();
        let mut function = "";
        for line in log.split('\n') {
            // Each event begins with its function's name: a line without one is the rest of the event before. Other
            // journeys' receivers log beside the functions of the template.
            let is_function = |name: &str| name.starts_with("sluice-") || name.starts_with("receiver-");
            let named = line.split_once("  ").filter(|(name, _)| is_function(name));
            let said = named.map_or(line, |(_, said)| said);
            function = named.map_or(function, |(name, _)| name);
            if names.contains(&function) && !said.is_empty() {
                lines.push((function.to_owned(), said.to_owned()));
            }
        }
        Self { lines }
    }

    fn of_function(&self, function: &str) -> impl Iterator<Item = &str> {
        self.lines.iter().filter(move |(name, _)| name == function).map(|(_, line)| line.as_str())
    }
}
