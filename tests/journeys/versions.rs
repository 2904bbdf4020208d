//! Versions of a definition: which one a run gets, which one no longer, and the draft of the next.

use serde_json::{Value, json};
use sluice_local::Answer;

use crate::world::{Journey, asking, body, errors, eventually, list, refused, run_path, text};

/// A version whose one node gives back its parameter `text`.
fn saying(text: &str) -> Value {
    json!({"nodes": [{
        "id": "say", "type": "processor", "processor": "echo",
        "parameters": {"text": {"type": "string", "default": text}},
    }]})
}

/// What a run's node gave back.
fn said(journey: &Journey, run_id: &str) -> Value {
    let run = journey.ended(run_id);
    assert_eq!(run["status"], "SUCCEEDED", "{run}");
    run["output"]["results"]["say"]["params"]["text"].clone()
}

fn with_version(definition: &str, version: &Value) -> Value {
    let mut request = body(definition, json!({}));
    request["workflowInstanceConfiguration"]["version"] = version.clone();
    request
}

/// A run of a definition in this version, by its creation or by its invocation.
fn ask(journey: &Journey, definition: &str, version: &Value, by_invocation: bool) -> Answer {
    match by_invocation {
        true => journey.post(&format!("/v1/workflow-definitions/{definition}/invoke"), json!({"version": version})),
        false => journey.post("/v1/workflow-runs", with_version(definition, version)),
    }
}

#[test]
fn a_deprecated_version_makes_no_new_runs_until_it_is_activated_again() {
    let acme = Journey::of("deprecated");
    acme.define("asking", &asking());
    acme.add_version("asking", &saying("two"), false);
    let under_way = acme.create("asking", json!({}));
    let run_id = text(&under_way["id"]);
    acme.waiting(&run_id, "ask", 1);

    let path = "/v1/workflow-definitions/asking/versions/1";
    for _ in 0..2 {
        let deprecated = acme.post(&format!("{path}/deprecate"), "");
        assert_eq!(
            (deprecated.status, &deprecated.json()["deprecatedVersions"]),
            (200, &json!([1])),
            "{}",
            deprecated.text()
        );
    }
    assert_eq!(acme.read(path)["deprecated"], true);
    let versions = list(&acme.read("/v1/workflow-definitions/asking/versions")["versions"]);
    let listed: Vec<Value> =
        versions.iter().map(|one| json!([one["version"], one["deprecated"], one["active"]])).collect();
    assert_eq!(listed, [json!([2, false, false]), json!([1, true, true])]);

    // That counts at once, also for a function that knew the definition before.
    let by_instance = json!({"workflowInstanceId": under_way["workflowInstanceId"]});
    let asks: [(&dyn Fn() -> Answer, &str); 5] = [
        (&|| ask(&acme, "asking", &json!(1), false), "/workflowInstanceConfiguration/version"),
        (&|| ask(&acme, "asking", &json!("active"), false), "/workflowInstanceConfiguration/version"),
        (&|| acme.post("/v1/workflow-runs", &by_instance), "/workflowInstanceId"),
        (&|| ask(&acme, "asking", &json!(1), true), "/version"),
        (&|| acme.post("/v1/workflow-definitions/asking/invoke", ""), "/version"),
    ];
    for (ask, pointer) in asks {
        let answer = ask();
        assert_eq!(errors(&answer, 400), [format!("{pointer} version_deprecated")]);
        let detail = text(&answer.json()["errors"][0]["detail"]);
        assert!(detail.contains("version 1 of workflow definition asking is deprecated"), "{detail}");
    }
    assert_eq!(ask(&acme, "asking", &json!(2), false).status, 201);
    // What it made goes on, and is repeated from its snapshot; but not by its version.
    acme.answered(&run_id);
    let replay = text(&acme.tell(&run_id, "replay", json!({"fromNodeId": "work"}), 201)["id"]);
    assert_eq!(acme.ended(&replay)["status"], "SUCCEEDED");
    let replay = || acme.post(&format!("{}/replay", run_path(&run_id)), json!({"version": 1}));
    let by_version = replay();
    assert_eq!(errors(&by_version, 400), ["/version version_deprecated"]);

    let activated = acme.post(&format!("{path}/activate"), "");
    let definition = activated.json();
    assert_eq!((&definition["activeVersion"], &definition["deprecatedVersions"]), (&json!(1), &json!([])));
    eventually("the version to be back", || (ask(&acme, "asking", &json!(1), false).status == 201).then_some(()));
    let missing = acme.post("/v1/workflow-definitions/asking/versions/3/deprecate", "");
    assert_eq!(refused(&missing), (404, "not_found".to_owned()));
    for run_id in acme.found("?status=PENDING,RUNNING,WAITING_FOR_INPUT&limit=100") {
        acme.canceled(&run_id);
    }
}

#[test]
fn a_run_gets_the_version_that_is_asked_for() {
    let acme = Journey::of("version-rules");
    acme.define("saying", &saying("one"));
    acme.add_version("saying", &saying("two"), true);
    acme.add_version("saying", &saying("three"), false);
    for by_invocation in [false, true] {
        for (rule, number, text_of_it) in
            [(json!("active"), 2, "two"), (json!("latest"), 3, "three"), (json!(1), 1, "one"), (json!(3), 3, "three")]
        {
            let answer = ask(&acme, "saying", &rule, by_invocation);
            assert!(answer.status == 201 || answer.status == 202, "{rule}: {}", answer.text());
            assert_eq!(answer.json()["workflowVersion"], number, "{rule}");
            assert_eq!(said(&acme, &text(&answer.json()["id"])), text_of_it, "{rule}");
        }
        for (rule, code) in
            [(json!(4), "no_such_version"), (json!("draft"), "no_such_version"), (json!("new"), "invalid")]
        {
            let pointer = if by_invocation { "/version" } else { "/workflowInstanceConfiguration/version" };
            let answer = ask(&acme, "saying", &rule, by_invocation);
            assert_eq!(errors(&answer, 400), [format!("{pointer} {code}")], "{rule}");
        }
    }
}

#[test]
fn a_draft_is_run_by_its_owner_as_it_is_at_that_time() {
    let acme = Journey::of("draft");
    let public = json!({"discoverable": true});
    let id = acme.define_with("saying", public, &saying("one"));
    let path = "/v1/workflow-definitions/saying/draft";
    assert_eq!(refused(&acme.get(path)), (404, "not_found".to_owned()));
    for (number, words) in ["a first try", "a second try"].into_iter().enumerate() {
        let saved = acme.put(path, saying(words));
        assert_eq!((saved.status, &saved.json()["workflowDefinitionId"]), (200, &json!(id)), "{}", saved.text());
        assert_eq!(acme.read(path)["nodes"][0]["parameters"]["text"]["default"], words);
        let answer = ask(&acme, "saying", &json!("draft"), number == 1);
        assert_eq!(answer.json()["workflowVersion"], 0, "{}", answer.text());
        // No draft is ever remembered: the second run is of the second one.
        assert_eq!(said(&acme, &text(&answer.json()["id"])), words);
    }
    // It is no version, and whatever it says, nothing else runs.
    let definition = acme.read("/v1/workflow-definitions/saying");
    assert_eq!((&definition["latestVersion"], &definition["activeVersion"]), (&json!(1), &json!(1)));
    assert_eq!(ask(&acme, "saying", &json!("latest"), false).json()["workflowVersion"], 1);

    // To others there is none, although they may run the definition.
    let other = acme.neighbour("draft-other");
    assert_eq!(ask(&other, &id, &json!("active"), false).status, 201);
    let foreign = ask(&other, &id, &json!("draft"), false);
    assert_eq!(errors(&foreign, 400), ["/workflowInstanceConfiguration/version no_such_version"]);
    assert_eq!(errors(&ask(&other, &id, &json!("draft"), true), 400), ["/version no_such_version"]);
    assert_eq!(refused(&other.get(&format!("/v1/discoverable-definitions/{id}/versions/draft"))).0, 404);
    for (method, body) in [("GET", String::new()), ("PUT", saying("theirs").to_string()), ("DELETE", String::new())] {
        let answer = other.request(method, &format!("/v1/workflow-definitions/{id}/draft"), &[], body);
        assert_eq!(refused(&answer), (404, "not_found".to_owned()), "{method}");
    }
    // A draft is held to the rules of a version.
    let bad = acme.put(path, json!({"nodes": [{"id": "a", "type": "processor", "processor": "nobodys"}]}));
    assert_eq!(errors(&bad, 400), ["/nodes/0/processor unknown_processor"]);
    assert_eq!(acme.read(path)["nodes"][0]["id"], "say", "the refused one has not replaced it");

    for _ in 0..2 {
        assert_eq!(acme.delete(path).status, 204, "there need not be one");
    }
    assert_eq!(refused(&acme.get(path)).0, 404);
    let gone = ask(&acme, "saying", &json!("draft"), false);
    assert_eq!(errors(&gone, 400), ["/workflowInstanceConfiguration/version no_such_version"]);
}

#[test]
fn a_run_is_replayed_on_another_version_with_what_its_request_said() {
    let acme = Journey::of("replay-version");
    acme.define("saying", &saying("{{who}}, one"));
    let mut second = saying("{{who}}, two");
    second["nodes"][0]["parameters"]["more"] = json!({"type": "string", "default": "new"});
    acme.add_version("saying", &second, false);
    let mut third = saying("three");
    third["nodes"][0]["id"] = json!("speak");
    acme.add_version("saying", &third, false);
    assert_eq!(acme.put("/v1/workflow-definitions/saying/draft", saying("{{who}}, draft")).status, 200);
    let request = json!({
        "input": {"n": 1}, "variables": {"who": "Ada"}, "labels": {"ticket": "7"}, "executionBudgetUsd": 0.5,
        "processorParams": {"say": {}},
    });
    let original = acme.start("saying", request);
    assert_eq!(said(&acme, &original), "Ada, one");

    let mut replays = Vec::new();
    for (asked, number, words) in [
        (json!({}), 1, "Ada, one"),
        (json!({"version": 2}), 2, "Ada, two"),
        (json!({"version": "active", "name": "again"}), 1, "Ada, one"),
        (json!({"version": "draft"}), 0, "Ada, draft"),
    ] {
        let replay = acme.tell(&original, "replay", &asked, 201);
        assert_eq!((&replay["workflowVersion"], &replay["replayOf"]), (&json!(number), &json!(original)), "{asked}");
        assert_eq!(
            (&replay["labels"], replay["executionBudgetUsd"].to_string()),
            (&json!({"ticket": "7"}), "0.5".to_owned())
        );
        let run_id = text(&replay["id"]);
        assert_eq!(said(&acme, &run_id), words, "{asked}");
        assert_eq!(acme.step(&run_id, "say")["result"]["input"], json!({"n": 1}), "{asked}");
        replays.push(run_id);
    }
    // What the first request says does not fit a version without its node.
    let misfit = acme.post(&format!("{}/replay", run_path(&original)), json!({"version": "latest"}));
    assert_eq!(errors(&misfit, 400), ["/version unknown_node"]);
    assert!(text(&misfit.json()["errors"][0]["detail"]).contains("/processorParams/say"), "{}", misfit.text());
    let unknown = acme.post(&format!("{}/replay", run_path(&original)), json!({"version": 9}));
    assert_eq!(errors(&unknown, 400), ["/version no_such_version"]);

    // The links lead both ways.
    assert_eq!(acme.found(&format!("?replayOf={original}&order=asc")), replays);
    let newest_first: Vec<&String> = replays.iter().rev().collect();
    assert_eq!(acme.run(&original)["replays"], json!(newest_first));
    // A replay's replay says which run it repeats, and its own first request.
    let deeper = acme.tell(&replays[3], "replay", json!({"version": 2}), 201);
    assert_eq!(deeper["replayOf"], replays[3]);
    assert_eq!(said(&acme, &text(&deeper["id"])), "Ada, two");
}
