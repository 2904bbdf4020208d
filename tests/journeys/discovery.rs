//! Definitions that their owner lets every tenant find and run.

use serde_json::{Value, json};

use crate::world::{Journey, asking, body, errors, instant, refused, run_path, text};

/// All that a search finds, page by page: a page may be short, or empty, and still have a next one.
fn found(journey: &Journey, query: &str) -> Vec<Value> {
    journey.listed(&format!("/v1/discoverable-definitions?{query}"), "definitions")
}

fn ids(found: &[Value]) -> Vec<String> {
    let mut ids: Vec<String> = found.iter().map(|definition| text(&definition["id"])).collect();
    ids.sort();
    ids
}

/// A private node and a private parameter between a question and the end.
fn private_parts() -> Value {
    json!({
        "nodes": [
            {"id": "ask", "type": "external", "schema": {"type": "object"}, "private": true},
            {"id": "work", "type": "processor", "processor": "echo", "tag": "$LATEST", "parameters": {
                "prompt": {"type": "string", "default": "secret of the house", "private": true},
                "tone": {"type": "string", "default": "kind"},
            }},
            {"id": "store", "type": "data-target", "processor": "echo", "private": true, "description": "how it is done",
             "parameters": {"key": {"type": "string", "default": "another secret"}}},
        ],
        "edges": [{"from": "ask", "to": "work"}, {"from": "work", "to": "store"}],
    })
}

#[test]
fn a_discoverable_definition_is_found_by_its_words_and_its_tags() {
    let owner = Journey::of("discover-owner");
    let other = owner.neighbour("discover-other");
    let public = |tags: Value| {
        json!({
            "discoverable": true, "tags": tags, "displayName": "Weather of Zyzzyva", "description": "Says what comes",
            "concurrency": {"maxConcurrentRuns": 7}, "retention": {"maxAgeSeconds": 99},
        })
    };
    let id = owner.define_with("forecast-zyzzyva", public(json!(["zyzzyva", "weather"])), &instant());
    let second = owner.define_with("second", public(json!(["zyzzyva"])), &instant());
    let hidden = owner.define_with("zyzzyva-hidden", json!({"tags": ["zyzzyva"]}), &instant());
    // Without an active version there is nothing to run.
    let empty = json!({"name": "zyzzyva-empty", "discoverable": true, "tags": ["zyzzyva"]});
    assert_eq!(owner.post("/v1/workflow-definitions", empty).status, 201);
    let mut both = vec![id.clone(), second.clone()];
    both.sort();
    for (query, expected) in [
        ("tag=zyzzyva", both.clone()),
        ("tag=zyzzyva&limit=1", both.clone()),
        ("text=wEATHER%20of%20zyZZyva", both.clone()),
        ("text=forecast-ZYZZ", vec![id.clone()]),
        ("text=Zyzzyva&tag=weather", vec![id.clone()]),
        ("tag=zyzz", vec![]),
        ("tag=ZYZZYVA", vec![]),
        ("text=nothing-of-the-kind-zyzzyva", vec![]),
    ] {
        assert_eq!(ids(&found(&other, query)), expected, "{query}");
    }
    let expected = json!({
        "owner": "discover-owner", "id": id, "name": "forecast-zyzzyva", "displayName": "Weather of Zyzzyva",
        "description": "Says what comes", "tags": ["weather", "zyzzyva"], "activeVersion": 1,
    });
    assert_eq!(found(&other, "text=forecast-zyzzyva"), std::slice::from_ref(&expected), "and no limit of the owner's");
    assert_eq!(other.read(&format!("/v1/discoverable-definitions/{id}")), expected);
    for (path, status) in [
        (format!("/v1/discoverable-definitions/{hidden}"), 404),
        (format!("/v1/discoverable-definitions/{hidden}/versions/1"), 404),
        ("/v1/discoverable-definitions/forecast-zyzzyva".to_owned(), 404),
        (format!("/v1/discoverable-definitions/{id}/versions/2"), 404),
        (format!("/v1/discoverable-definitions/{id}/versions/latest"), 200),
        // What is found is not thereby one's own.
        (format!("/v1/workflow-definitions/{id}"), 404),
        (format!("/v1/workflow-definitions/{id}/versions/1"), 404),
    ] {
        assert_eq!(other.get(&path).status, status, "{path}");
    }
    for query in ["tag=", "text=", "name=x", "limit=101"] {
        let answer = other.get(&format!("/v1/discoverable-definitions?{query}"));
        assert_eq!(refused(&answer), (400, "invalid_request".to_owned()), "{query}");
    }
    let tags: Vec<String> = (0..21).map(|number| format!("t{number}")).collect();
    for (fields, expected) in [
        (json!({"tags": tags}), "/tags too_many"),
        (json!({"tags": [""]}), "/tags out_of_range"),
        (json!({"tags": ["a", "a"]}), "/tags/1 repeated"),
        (json!({"discoverable": "yes"}), "/discoverable wrong_type"),
    ] {
        assert_eq!(errors(&owner.patch("/v1/workflow-definitions/second", &fields), 400), [expected], "{fields}");
    }

    // Taken back, it is nowhere any more; a tag that is gone finds it no longer.
    let patched = owner.patch("/v1/workflow-definitions/second", json!({"discoverable": false}));
    assert_eq!((patched.status, &patched.json()["discoverable"]), (200, &json!(false)), "{}", patched.text());
    assert_eq!(owner.patch("/v1/workflow-definitions/forecast-zyzzyva", json!({"tags": ["zyzzyva"]})).status, 200);
    assert_eq!(ids(&found(&other, "tag=zyzzyva")), [id.as_str()]);
    assert_eq!(ids(&found(&other, "tag=weather&text=zyzzyva")), Vec::<String>::new());
    let nowhere = other.get(&format!("/v1/discoverable-definitions/{second}"));
    assert_eq!(refused(&nowhere), (404, "not_found".to_owned()));
}

#[test]
fn whoever_runs_a_foreign_definition_owns_the_run_and_sees_no_private_parts() {
    let owner = Journey::of("lender");
    let runner = owner.neighbour("borrower");
    let limited = json!({
        "discoverable": true, "concurrency": {"maxConcurrentRuns": 1}, "retention": {"maxAgeSeconds": 777},
    });
    let id = owner.define_with("lent", limited, &private_parts());

    let version = runner.read(&format!("/v1/discoverable-definitions/{id}/versions/active"));
    assert_eq!((&version["workflowDefinitionOwner"], &version["active"]), (&json!("lender"), &json!(true)));
    assert_eq!(version["nodes"][0], json!({"id": "ask", "type": "external", "private": true}));
    let work = &version["nodes"][1];
    assert_eq!((&work["processor"], &work["parameters"]["tone"]["default"]), (&json!("echo"), &json!("kind")));
    assert_eq!(work["parameters"]["prompt"].get("default"), None, "{work}");
    assert_eq!(version["nodes"][2], json!({"id": "store", "type": "data-target", "private": true}));
    assert_eq!((version["edges"].as_array().map(Vec::len), version.get("createdBy")), (Some(2), None));

    // By its id, in a body and in a path; a name is the tenant's own.
    let by_name = runner.post("/v1/workflow-runs", body("lent", json!({})));
    assert_eq!(errors(&by_name, 400), ["/workflowInstanceConfiguration/workflowDefinitionId not_found"]);
    let run = runner.create(&id, json!({"completionCallbackUrl": runner.hook()}));
    assert_eq!((&run["workflowDefinitionId"], &run["workflowDefinitionOwner"]), (&json!(id), &json!("lender")));
    assert_eq!((&run["retention"]["maxAgeSeconds"], &run["createdBy"]), (&json!(777), &json!("borrower-on-a-laptop")));
    let run_id = text(&run["id"]);
    runner.waiting(&run_id, "ask", 1);
    // The definition's limit is each tenant's own: the runner has its slot, the owner another.
    assert_eq!(refused(&runner.post(&format!("/v1/workflow-definitions/{id}/invoke"), "")).0, 429);
    let own = owner.create("lent", json!({}));
    assert_eq!((&own["status"], &own["workflowDefinitionOwner"]), (&json!("PENDING"), &Value::Null), "{own}");

    // The run is the runner's, and nobody else's.
    assert_eq!(refused(&owner.get(&run_path(&run_id))), (404, "not_found".to_owned()));
    assert_eq!(refused(&owner.post(&format!("{}/cancel", run_path(&run_id)), "")).0, 404);
    assert_eq!(owner.found(&format!("?workflowDefinitionId={id}")), [text(&own["id"])]);
    assert_eq!(runner.found(&format!("?workflowDefinitionId={id}")), [run_id.as_str()]);

    let seen = runner.snapshot(&run_id)["nodes"].clone();
    for node in [0, 2] {
        assert_eq!(
            (&seen[node]["run"], &seen[node]["params"], &seen[node]["tag"], &seen[node]["schema"]),
            (&json!({"kind": "hidden"}), &json!({}), &Value::Null, &Value::Null)
        );
    }
    assert_eq!((&seen[1]["params"], &seen[1]["run"]["kind"]), (&json!({"tone": "kind"}), &json!("lambda")));
    for path in
        [run_path(&run_id), format!("{}?include=snapshot", run_path(&run_id)), format!("{}/steps", run_path(&run_id))]
    {
        let shown = runner.get(&path).text();
        assert!(!shown.contains("secret"), "{shown}");
    }
    let whole = owner.snapshot(&text(&own["id"]))["nodes"].clone();
    assert_eq!(
        whole[1]["params"],
        json!({"prompt": "secret of the house", "tone": "kind"}),
        "its owner sees all of it"
    );
    assert_eq!((&whole[0]["run"]["kind"], &whole[2]["params"]["key"]), (&json!("external"), &json!("another secret")));

    // Hidden or not, it runs with them.
    runner.tell(&run_id, "data", json!({"nodeId": "ask", "data": {}}), 202);
    let ended = runner.ended(&run_id);
    assert_eq!(ended["status"], "SUCCEEDED", "{ended}");
    let said = runner.webhooks(1, crate::world::PATIENCE).remove(0).json();
    assert_eq!((&said["tenantId"], &said["runId"]), (&json!("borrower"), &json!(run_id)));
    // An echo's result is what it was handed.
    let handed = runner.step(&run_id, "work")["result"].clone();
    assert_eq!((&handed["tenantId"], &handed["params"]["prompt"]), (&json!("borrower"), &json!("secret of the house")));
    let replay = runner.tell(&run_id, "replay", json!({"fromNodeId": "work"}), 201);
    assert_eq!(replay["workflowDefinitionOwner"], "lender");
    assert_eq!(runner.ended(&text(&replay["id"]))["status"], "SUCCEEDED");
    owner.canceled(&text(&own["id"]));
}

#[test]
fn what_its_owner_takes_back_makes_no_new_runs() {
    let owner = Journey::of("lender-2");
    let runner = owner.neighbour("borrower-2");
    let id = owner.define_with("lent", json!({"discoverable": true}), &asking());
    let configuration = json!({"workflowDefinitionId": id});
    let saved = runner.post("/v1/workflow-instances", &configuration);
    assert_eq!(saved.status, 201, "{}", saved.text());
    let run_id = runner.start(&id, json!({}));
    let taken_back = owner.patch("/v1/workflow-definitions/lent", json!({"discoverable": false}));
    assert_eq!(taken_back.status, 200, "{}", taken_back.text());
    let created = runner.post("/v1/workflow-runs", body(&id, json!({})));
    assert_eq!(errors(&created, 400), ["/workflowInstanceConfiguration/workflowDefinitionId not_found"]);
    let by_instance = json!({"workflowInstanceId": saved.json()["id"]});
    let by_instance = runner.post("/v1/workflow-runs", &by_instance);
    assert_eq!(errors(&by_instance, 400), ["/workflowInstanceId not_found"]);
    let invoked = runner.post(&format!("/v1/workflow-definitions/{id}/invoke"), "");
    assert_eq!(refused(&invoked), (404, "not_found".to_owned()));
    // What was begun goes on.
    assert_eq!(runner.answered(&run_id)["status"], "SUCCEEDED");
    for left in runner.found("?status=PENDING,RUNNING,WAITING_FOR_INPUT&limit=100") {
        runner.canceled(&left);
    }
}
