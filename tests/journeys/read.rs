//! What a caller can see of runs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::{Journey, body, errors, hold, holding, instant, list, run_path, text};

#[test]
fn a_waiting_read_answers_as_soon_as_the_run_ends() {
    let acme = Journey::of("waiting");
    acme.define("hold", &hold(json!({"maxAttempts": 1})));
    let run = acme.create("hold", holding(json!({"seconds": 5})));
    let path = run_path(&text(&run["id"]));
    assert_ne!(acme.read(&path)["status"], "SUCCEEDED", "without waitSeconds it answers at once");
    let start = Instant::now();
    let brief = acme.read(&format!("{path}?waitSeconds=1"));
    assert_ne!(brief["status"], "SUCCEEDED", "{brief}");
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    let ended = acme.read(&format!("{path}?waitSeconds=20"));
    assert_eq!(ended["status"], "SUCCEEDED", "{ended}");
    assert!(start.elapsed() < Duration::from_secs(18), "it waited on after the end: {:?}", start.elapsed());
}

#[test]
fn lists_are_narrowed_and_continued() {
    let acme = Journey::of("lists");
    let quick = acme.define("instant", &instant());
    let slow = acme.define("hold", &hold(json!({"maxAttempts": 1})));
    let mut made: Vec<Value> =
        (0..5).map(|number| acme.create("instant", json!({"name": format!("n{number}")}))).collect();
    made.push(acme.create("hold", holding(json!({"seconds": 0, "failWith": "Told"}))));
    let ids: Vec<String> = made.iter().map(|run| text(&run["id"])).collect();
    for id in &ids {
        acme.ended(id);
    }
    let names = |query: &str| -> Vec<String> {
        let page = acme.read(&format!("/v1/workflow-runs{query}"));
        list(&page["runs"]).iter().map(|run| text(&run["id"])).collect()
    };
    let newest_first: Vec<String> = ids.iter().rev().cloned().collect();
    assert_eq!(names(""), newest_first);
    assert_eq!(names("?order=asc"), ids);
    assert_eq!(names("?status=FAILED"), ids[5..]);
    assert_eq!(names(&format!("?workflowDefinitionId={slow}")), ids[5..]);
    assert_eq!(names(&format!("?workflowDefinitionId={quick}&status=FAILED")), Vec::<String>::new());
    assert_eq!(names("?status=RUNNING"), Vec::<String>::new());
    let (second, fourth) = (text(&made[1]["createdAt"]), text(&made[3]["createdAt"]));
    assert_eq!(names(&format!("?order=asc&createdFrom={second}&createdBefore={fourth}")), ids[1..3]);

    // Page by page, every run comes once and in order, whatever the size of the pages.
    for filter in ["", "&status=SUCCEEDED", "&order=asc"] {
        let whole = names(&format!("?limit=100{filter}"));
        assert_eq!(paged(&acme, filter, 2), whole, "{filter}");
    }
    let page = acme.read("/v1/workflow-runs?limit=2");
    let cursor = text(&page["nextCursor"]);
    let other_list = acme.get(&format!("/v1/workflow-runs?status=FAILED&limit=2&cursor={cursor}"));
    assert_eq!(other_list.status, 400, "{}", other_list.text());
    assert_eq!(other_list.json()["errors"][0]["code"], "invalid_cursor");

    let definitions = acme.read("/v1/workflow-definitions?limit=1");
    let next = text(&definitions["nextCursor"]);
    let rest = acme.read(&format!("/v1/workflow-definitions?limit=1&cursor={next}"));
    let both: BTreeSet<String> =
        [&definitions, &rest].iter().map(|page| text(&page["definitions"][0]["name"])).collect();
    assert_eq!(both, BTreeSet::from(["hold".to_owned(), "instant".to_owned()]));
    let versions = acme.read("/v1/workflow-definitions/hold/versions");
    assert_eq!((&versions["versions"][0]["version"], &versions["versions"][0]["active"]), (&json!(1), &json!(true)));
}

/// All that a filter, such as `&order=asc`, finds page by page.
fn paged(journey: &Journey, filter: &str, limit: usize) -> Vec<String> {
    let pages = journey.pages(&format!("/v1/workflow-runs?limit={limit}{filter}"));
    let runs: Vec<Vec<Value>> = pages.iter().map(|page| list(&page["runs"])).collect();
    assert!(runs.iter().all(|runs| runs.len() <= limit), "{filter}");
    runs.iter().flatten().map(|run| text(&run["id"])).collect()
}

#[test]
fn every_filter_narrows_the_list_and_filters_go_together() {
    let acme = Journey::of("filters");
    acme.define("hold", &hold(json!({"maxAttempts": 1})));
    acme.define("instant", &instant());
    let made = |definition: &str, fields: Value| acme.start(definition, fields);
    let a = made("instant", json!({"labels": {"team": "red", "a:b": "c:d"}}));
    acme.ended(&a);
    let b = made("instant", json!({"labels": {"team": "red"}, "evaluationOf": a}));
    let c = made("instant", json!({"labels": {"team": "blue", "empty": ""}, "evaluationOf": a}));
    let d = made("hold", holding(json!({"failWith": "Told"})));
    let e = text(&acme.tell(&a, "replay", "", 201)["id"]);
    let f = made("hold", json!({"labels": {"team": "red"}}));
    // By another of the tenant's people.
    let somebody =
        acme.stack.token(&acme.tenant, &json!({"sub": "somebody"}), Duration::from_secs(600)).expect("a token");
    let authorization = format!("Bearer {somebody}");
    let request = body("instant", json!({"labels": {"team": "red"}})).to_string();
    let by_somebody = acme.request("POST", "/v1/workflow-runs", &[("authorization", &authorization)], request);
    assert_eq!(
        (by_somebody.status, &by_somebody.json()["createdBy"]),
        (201, &json!("somebody")),
        "{}",
        by_somebody.text()
    );
    let g = text(&by_somebody.json()["id"]);
    let all = [&a, &b, &c, &d, &e, &f, &g].map(String::as_str);
    for run_id in all {
        acme.ended(run_id);
    }
    let of = |run_id: &str, name: &str| text(&acme.run(run_id)[name]);
    let (instance, quick) = (of(&a, "workflowInstanceId"), of(&a, "workflowDefinitionId"));
    let (from, before) = (of(&b, "createdAt"), of(&e, "createdAt"));
    for (filter, expected) in [
        ("status=FAILED".to_owned(), vec![&d]),
        ("status=FAILED,SUCCEEDED".to_owned(), vec![&a, &b, &c, &d, &e, &f, &g]),
        ("status=FAILED,RUNNING,CANCELED".to_owned(), vec![&d]),
        (format!("workflowInstanceId={instance}"), vec![&a, &b, &c, &e, &g]),
        (format!("workflowDefinitionId={quick}"), vec![&a, &b, &c, &e, &g]),
        // A replay has the labels of the run that it repeats.
        ("label=team:red".to_owned(), vec![&a, &b, &e, &f, &g]),
        ("label=empty:".to_owned(), vec![&c]),
        ("label=team:green".to_owned(), vec![]),
        ("createdBy=somebody".to_owned(), vec![&g]),
        (format!("createdBy={}-on-a-laptop", acme.tenant), vec![&a, &b, &c, &d, &e, &f]),
        (format!("replayOf={a}"), vec![&e]),
        (format!("evaluationOf={a}"), vec![&b, &c]),
        (format!("createdFrom={from}&createdBefore={before}"), vec![&b, &c, &d]),
        (format!("createdFrom={before}&status=SUCCEEDED"), vec![&e, &f, &g]),
        (
            format!("workflowDefinitionId={quick}&label=team:red&status=SUCCEEDED,FAILED&createdFrom={from}"),
            vec![&b, &e, &g],
        ),
        (format!("evaluationOf={a}&label=team:blue"), vec![&c]),
        (format!("workflowInstanceId={instance}&createdBy=somebody&status=SUCCEEDED"), vec![&g]),
        (format!("replayOf={a}&status=FAILED"), vec![]),
    ] {
        for limit in [1, 2, 100] {
            assert_eq!(
                paged(&acme, &format!("&{filter}&order=asc"), limit),
                expected.iter().map(|id| (*id).clone()).collect::<Vec<_>>(),
                "{filter}"
            );
            let newest_first: Vec<String> = expected.iter().rev().map(|id| (*id).clone()).collect();
            assert_eq!(paged(&acme, &format!("&{filter}"), limit), newest_first, "{filter}");
        }
    }
    // Only the first colon is the one between name and value.
    assert_eq!(paged(&acme, "&label=a:b:c:d&order=asc", 100), Vec::<String>::new());
    for (filter, fault) in [
        ("status=FAILED,DONE", "query:status invalid"),
        ("status=", "query:status invalid"),
        ("label=team", "query:label invalid"),
        ("label=:red", "query:label invalid"),
        ("createdBy=", "query:createdBy out_of_range"),
        ("replayOf=7", "query:replayOf invalid"),
        ("evaluationOf=7", "query:evaluationOf invalid"),
        ("workflowInstanceId=7", "query:workflowInstanceId invalid"),
        ("order=up", "query:order invalid"),
    ] {
        assert_eq!(errors(&acme.get(&format!("/v1/workflow-runs?{filter}")), 400), [fault], "{filter}");
    }
    // A cursor belongs to its filter.
    let cursor = text(&acme.read("/v1/workflow-runs?label=team:red&limit=1")["nextCursor"]);
    let other = acme.get(&format!("/v1/workflow-runs?label=team:blue&limit=1&cursor={cursor}"));
    assert_eq!(errors(&other, 400), ["query:cursor invalid_cursor"]);

    // What evaluates a run shows with it.
    let evaluated = acme.run(&a);
    assert_eq!((&evaluated["evaluations"], &evaluated["replays"]), (&json!([c, b]), &json!([e])), "the newest first");
    assert_eq!(acme.run(&b)["evaluationOf"], a);
    let links = &evaluated["links"];
    for (name, below) in [("usage", "/usage"), ("comments", "/comments"), ("inputs", "/inputs"), ("self", "")] {
        assert_eq!(links[name], format!("{}{below}", run_path(&a)), "{links}");
    }
    let stranger = acme.neighbour("filters-stranger");
    stranger.define("instant", &instant());
    let missing = "0b0f5c1e-64a5-4d3a-9a5e-5d9f3e0c7a11";
    for run_id in [missing, &a] {
        let answer = stranger.post("/v1/workflow-runs", body("instant", json!({"evaluationOf": run_id})));
        assert_eq!(errors(&answer, 400), ["/evaluationOf not_found"]);
        assert_eq!(stranger.found(&format!("?evaluationOf={run_id}")), Vec::<String>::new());
    }
}

#[test]
fn remarks_on_a_run_are_kept_in_their_order() {
    let acme = Journey::of("comments");
    acme.define("instant", &instant());
    let run_id = acme.start("instant", json!({}));
    let path = format!("{}/comments", run_path(&run_id));
    assert_eq!(acme.read(&path)["items"], json!([]));
    let first = acme.tell(&run_id, "comments", json!({"text": "one\n**two**"}), 201);
    acme.ended(&run_id);
    let long = "x".repeat(4_000);
    let second = acme.tell(&run_id, "comments", json!({"text": long}), 201);
    let third = acme.tell(&run_id, "comments", json!({"text": "é"}), 201);
    assert_eq!((&first["text"], &first["by"]), (&json!("one\n**two**"), &json!("comments-on-a-laptop")));
    assert!(first["at"].is_string() && first["id"].is_string(), "{first}");
    let whole = acme.read(&path);
    assert_eq!((&whole["items"], &whole["nextCursor"]), (&json!([first, second, third]), &Value::Null));
    let page = acme.read(&format!("{path}?limit=2"));
    assert_eq!(page["items"], json!([first, second]));
    let rest = acme.read(&format!("{path}?limit=2&cursor={}", text(&page["nextCursor"])));
    assert_eq!((&rest["items"], &rest["nextCursor"]), (&json!([third]), &Value::Null));
    for (comment, expected) in [
        (json!({"text": " \n"}), "/text out_of_range"),
        (json!({"text": "x".repeat(4_001)}), "/text out_of_range"),
        (json!({}), "/text missing_field"),
        (json!({"text": "a", "by": "somebody"}), "/by unknown_field"),
    ] {
        assert_eq!(errors(&acme.post(&path, &comment), 400), [expected]);
    }
    assert_eq!(acme.run(&run_id)["status"], "SUCCEEDED", "a remark changes nothing");
}

#[test]
fn steps_show_what_is_done_what_is_under_way_and_what_is_to_come() {
    let acme = Journey::of("steps");
    acme.define(
        "chain",
        &json!({
            "nodes": [
                {"id": "first", "type": "data-source"},
                crate::world::hold_node("hold", json!({"maxAttempts": 1})),
                {"id": "last", "type": "processor", "processor": "echo"},
            ],
            "edges": [{"from": "first", "to": "hold"}, {"from": "hold", "to": "last"}],
        }),
    );
    let mut request = holding(json!({"seconds": 4}));
    request["dataSources"] = json!({"first": {"n": 1.10}});
    request["completionCallbackUrl"] = json!(acme.hook());
    let run = acme.create("chain", request);
    let run_id = text(&run["id"]);
    let statuses = |steps: &[Value]| -> Vec<String> {
        steps
            .iter()
            .map(|step| format!("{} {} {}", step["stage"], text(&step["nodeId"]), text(&step["status"])))
            .collect()
    };
    crate::world::eventually("the second stage", || (acme.steps(&run_id)[1]["status"] == "RUNNING").then_some(()));
    let running = acme.steps(&run_id);
    assert_eq!(statuses(&running), ["0 first SUCCEEDED", "1 hold RUNNING", "2 last PENDING"]);
    assert_eq!((&running[1]["attempt"], &running[2]["attempt"]), (&json!(1), &json!(0)));
    assert!(running[2]["startedAt"].is_null() && running[1]["endedAt"].is_null() && running[0]["endedAt"].is_string());
    assert!(acme.run(&run_id)["stage"].is_null(), "the second generation knows no stages");

    acme.ended(&run_id);
    let steps = acme.steps(&run_id);
    assert_eq!(statuses(&steps), ["0 first SUCCEEDED", "1 hold SUCCEEDED", "2 last SUCCEEDED"]);
    assert!(steps.iter().all(|step| step.get("result").is_none() && step["resultBytes"].is_u64()), "{steps:?}");
    assert!(steps[1]["durationMs"].as_u64().is_some_and(|millis| millis >= 4_000), "{}", steps[1]);
    assert_eq!(acme.step(&run_id, "hold")["result"]["heldSeconds"], 4);
    let missing = acme.get(&format!("{}/steps/nobody", run_path(&run_id)));
    assert_eq!((missing.status, &missing.json()["code"]), (404, &json!("not_found")));

    let deliveries = acme.delivered(&run_id);
    let shown: Vec<String> = deliveries
        .iter()
        .map(|delivery| {
            let attempts = list(&delivery["attempts"]);
            assert_eq!(attempts.len(), 1, "{delivery}");
            format!(
                "{} {} {} {}",
                delivery["number"],
                text(&delivery["channel"]),
                text(&delivery["status"]),
                attempts[0]["outcome"]
            )
        })
        .collect();
    assert_eq!(shown, ["1 webhook DELIVERED \"delivered\"", "2 event-bus DELIVERED \"delivered\""]);
    assert_eq!(deliveries[0]["attempts"][0]["httpStatus"], 200);
    assert_eq!(deliveries[0]["url"], acme.hook());
}

#[test]
fn a_run_executes_the_version_that_was_frozen_into_it() {
    let acme = Journey::of("frozen");
    acme.define("hold", &hold(json!({"maxAttempts": 1})));
    let created = acme.post("/v1/workflow-runs", body("hold", holding(json!({"seconds": 3})))).json();
    let run_id = text(&created["id"]);
    acme.add_version("hold", &instant(), true);
    let run = acme.ended(&run_id);
    assert_eq!(run["workflowVersion"], 1);
    assert_eq!(acme.steps(&run_id)[0]["nodeId"], "hold");
    assert_eq!(run["snapshotHash"], created["snapshotHash"]);
}
