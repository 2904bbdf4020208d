//! Shared definitions: what a stranger finds, runs and is told of one.

use serde_json::{Value, json};
use sluice_edge::route::ROUTES;
use sluice_local::Answer;

use super::cursors::unsealed;
use super::rows::ROWS;
use super::things::{Thing, anonymous, check, fillings};
use super::tokens::report;
use crate::world::{Journey, PATIENCE, body, errors, eventually, instant, list, refused, run_path, text};

/// What stands in every private part of the definition below, and nowhere else.
const INNERMOST: &str = "innermost";

#[test]
fn what_is_shared_shows_no_private_part_and_gives_no_right() {
    let owner = Journey::of("sweep-lender");
    let stranger = owner.neighbour("sweep-borrower");
    let version = json!({
        "nodes": [
            {"id": "ask", "type": "external", "private": true, "description": INNERMOST,
             "schema": {"enum": [7, INNERMOST], "description": INNERMOST}},
            {"id": "work", "type": "processor", "processor": "hold", "parameters": {
                "note": {"type": "string", "default": INNERMOST, "private": true},
                "tone": {"type": "string", "default": "kind"},
            }},
            {"id": "store", "type": "data-target", "processor": "hold", "private": true, "description": INNERMOST,
             "parameters": {"key": {"type": "string", "default": INNERMOST}}},
        ],
        "edges": [{"from": "ask", "to": "work"}, {"from": "work", "to": "store"}],
    });
    let public = || json!({"discoverable": true, "tags": ["sweep-of-isolation"]});
    let shared = owner.define_with("lent", public(), &version);
    let plain = owner.define_with("lent-too", public(), &instant());
    let hidden = owner.define_with("kept", json!({"tags": ["sweep-of-isolation"], "description": INNERMOST}), &version);
    assert_eq!(owner.put("/v1/workflow-definitions/lent/draft", &version).status, 200);

    // It is found by what is public of it only, and the way to it shows nothing of what is not found on it.
    let (mut found, mut cursors) = (Vec::new(), String::new());
    for query in ["tag=sweep-of-isolation", "text=innermost&tag=sweep-of-isolation"] {
        for page in stranger.pages(&format!("/v1/discoverable-definitions?{query}&limit=1")) {
            found.extend(list(&page["definitions"]).iter().map(|definition| text(&definition["id"])));
            cursors.extend(page["nextCursor"].as_str().map(|cursor| unsealed(cursor).to_string()));
        }
    }
    found.sort();
    let mut both = [shared.clone(), plain.clone()];
    both.sort();
    assert_eq!(found, both);
    for secret in [&owner.tenant, &hidden] {
        assert!(!cursors.contains(secret.as_str()), "{secret} in {cursors}");
    }

    // To whom it does not belong it is not there, but for what is shared of it.
    let no_definition = "01a20254-9b96-7733-93b6-5d9f3e0c7a11";
    let things = [
        Thing { hole: "{definition}", real: shared.clone(), missing: no_definition.to_owned() },
        Thing { hole: "{version}", real: "1".to_owned(), missing: "77".to_owned() },
        Thing { hole: "{cursor of versions}", real: "e30".to_owned(), missing: "e31".to_owned() },
    ];
    let before = owner.items();
    for (route, (_, asks)) in ROUTES.iter().zip(ROWS) {
        if !route.path.starts_with("/v1/workflow-definitions/{definition}") || route.name == "invokeDefinition" {
            continue;
        }
        for (query, body, told) in *asks {
            for filled in fillings(&things, [route.path, query, body]) {
                let answers: Vec<(u16, Value)> = filled
                    .iter()
                    .map(|[path, query, body]| {
                        let answer = stranger.request(route.method, &format!("{path}{query}"), &[], body.as_str());
                        check(route.name, *told, &answer);
                        anonymous(&things, &answer)
                    })
                    .collect();
                assert!(answers.iter().all(|answer| *answer == answers[0]), "{}: {answers:?}", route.name);
            }
        }
    }
    let discoverable = |id: &str| format!("/v1/discoverable-definitions/{id}");
    for below in ["", "/versions/1", "/versions/active", "/versions/latest", "/versions/draft", "/versions/no-version"]
    {
        let told = [hidden.as_str(), no_definition].map(|id| {
            let answer = stranger.get(&format!("{}{below}", discoverable(id)));
            assert_eq!(refused(&answer), (404, "not_found".to_owned()), "{below}");
            anonymous(&[Thing { hole: "", real: id.to_owned(), missing: id.to_owned() }], &answer)
        });
        assert_eq!(told[0], told[1], "{below}");
    }
    for below in ["/versions/draft", "/versions/0", "/versions/2"] {
        // One of the two has a draft: nobody is told which.
        for id in [&shared, &plain] {
            let answer = stranger.get(&format!("{}{below}", discoverable(id)));
            assert_eq!(refused(&answer), (404, "not_found".to_owned()), "{id} {below}");
        }
    }

    // Whoever runs it sees nothing private either, whatever is asked and whatever is wrong with it.
    let mut seen: Vec<String> = Vec::new();
    let mut see = |answer: Answer| {
        seen.push(answer.text());
        answer
    };
    for below in ["", "/versions/1", "/versions/active", "/versions/latest"] {
        assert_eq!(see(stranger.get(&format!("{}{below}", discoverable(&shared)))).status, 200, "{below}");
    }
    for wrong in [
        json!({"processorParams": {"work": {"note": 7, "tone": 7}, "store": {"key": 7, "other": 7}, "ask": {}}}),
        json!({"dataSources": {"ask": 1}, "dataTargets": {"store": 1}, "tags": {"store": "$", "ask": "1"}}),
    ] {
        assert_eq!(see(stranger.post("/v1/workflow-runs", body(&shared, wrong))).status, 400);
    }
    let run = see(stranger.post("/v1/workflow-runs", body(&shared, json!({"completionCallbackUrl": stranger.hook()}))));
    assert_eq!(run.status, 201, "{}", run.text());
    let run_id = text(&run.json()["id"]);
    stranger.waiting(&run_id, "ask", 1);
    let data = format!("{}/data", run_path(&run_id));
    let wrong = see(stranger.post(&data, json!({"nodeId": "ask", "data": "wrong"})));
    assert_eq!(errors(&wrong, 400), ["/data schema_violation"]);
    let token = text(&stranger.tell(&run_id, "report-tokens", "", 201)["token"]);
    let result = json!({"nodeId": "ask", "status": "SUCCEEDED", "result": "wrong"});
    assert_eq!(errors(&see(report(&stranger, &run_id, &token, &result)), 400), ["/result schema_violation"]);
    assert_eq!(see(stranger.post(&data, json!({"nodeId": "ask", "data": 7}))).status, 202);
    assert_eq!(stranger.ended(&run_id)["status"], "SUCCEEDED");
    for version in [json!("draft"), json!(2)] {
        let replay = see(stranger.post(&format!("{}/replay", run_path(&run_id)), json!({"version": version})));
        assert_eq!(errors(&replay, 400), ["/version no_such_version"]);
    }
    for below in [
        "",
        "?include=snapshot",
        "/steps",
        "/steps/ask",
        "/steps/work",
        "/steps/store",
        "/inputs",
        "/usage",
        "/comments",
        "/deliveries",
    ] {
        assert_eq!(see(stranger.get(&format!("{}{below}", run_path(&run_id)))).status, 200, "{below}");
    }
    see(stranger.get("/v1/workflow-runs"));
    see(stranger.get("/v1/workflow-instances"));
    seen.push(stranger.webhooks(1, PATIENCE)[0].json().to_string());
    assert_eq!(owner.items(), before, "nothing of the owner's has changed");

    // Taken back, it looks like one that never was.
    assert_eq!(owner.patch("/v1/workflow-definitions/lent", json!({"discoverable": false})).status, 200);
    let told = |id: &str| {
        let answer = stranger.get(&format!("{}/versions/1", discoverable(id)));
        (answer.status == 404).then(|| anonymous(&things, &answer))
    };
    assert_eq!(Some(eventually("the definition to be taken back", || told(&shared))), told(no_definition));

    seen.retain(|text| text.contains(INNERMOST));
    assert_eq!(seen, Vec::<String>::new());
}
