//! Every route of the API, asked for another tenant's things and for things that nobody has: the answers are the same.
//!
//! The rows below follow the table of routes: a route without a row fails, and so does a row without a route.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sluice_edge::openapi::ROUTES;
use sluice_local::Answer;
use sluice_local::receiver::Reply;

use crate::world::{Journey, PATIENCE, body, errors, eventually, instant, list, refused, run_path, text};

/// What the stranger is told.
#[derive(Clone, Copy, Debug)]
enum Told {
    /// 404.
    Missing,
    /// 400 that points here.
    At(&'static str),
    /// 404, to its owner too: it is not for others to find.
    Unlisted,
    /// 401: it takes a token of the run.
    NoToken,
    /// 403: it is the operator's.
    Forbidden,
    /// 200, and an empty list of this name.
    Nothing(&'static str),
    /// 202, and not one delivery of anybody's is sent again.
    NoneSent,
}

/// A request: query, body, and what is told. The path is the route's.
type Ask = (&'static str, &'static str, Told);

/// By the route's id. `{…}` stands for one of the owner's things, or for one that nobody has.
const ROWS: &[(&str, &[Ask])] = &[
    (
        "createRun",
        &[
            ("", r#"{"workflowInstanceId":"{instanceId}"}"#, Told::At("/workflowInstanceId")),
            (
                "",
                r#"{"workflowInstanceConfiguration":{"workflowDefinitionId":"{definition}"}}"#,
                Told::At("/workflowInstanceConfiguration/workflowDefinitionId"),
            ),
            (
                "",
                r#"{"workflowInstanceConfiguration":{"workflowDefinitionId":"{definition}","version":{version}}}"#,
                Told::At("/workflowInstanceConfiguration/workflowDefinitionId"),
            ),
            (
                "",
                r#"{"workflowInstanceConfiguration":{"workflowDefinitionId":"{definition}","version":"draft"}}"#,
                Told::At("/workflowInstanceConfiguration/workflowDefinitionId"),
            ),
            // What the owner shares may be run, but not its draft, and not to evaluate a run of the owner's.
            (
                "",
                r#"{"workflowInstanceConfiguration":{"workflowDefinitionId":"{drafted}","version":"draft"}}"#,
                Told::At("/workflowInstanceConfiguration/version"),
            ),
            (
                "",
                r#"{"workflowInstanceConfiguration":{"workflowDefinitionId":"{shared}"},"evaluationOf":"{runId}"}"#,
                Told::At("/evaluationOf"),
            ),
            // A token that the owner has used already.
            ("", r#"{"workflowInstanceId":"{instanceId}","clientToken":"{token}"}"#, Told::At("/workflowInstanceId")),
        ],
    ),
    (
        "invokeDefinition",
        &[
            ("", "", Told::Missing),
            ("", r#"{"version":{version}}"#, Told::Missing),
            ("", r#"{"version":"draft"}"#, Told::Missing),
            ("", r#"{"idempotencyKey":"{token}"}"#, Told::Missing),
        ],
    ),
    ("cancelRun", &[("", "", Told::Missing)]),
    ("pauseRun", &[("", "", Told::Missing)]),
    ("resumeRun", &[("", "", Told::Missing)]),
    ("answerNode", &[("", r#"{"nodeId":"{nodeId}","data":1}"#, Told::Missing)]),
    (
        "replayRun",
        &[
            ("", "", Told::Missing),
            ("", r#"{"fromNodeId":"{nodeId}"}"#, Told::Missing),
            ("", r#"{"version":{version}}"#, Told::Missing),
            ("", r#"{"version":"latest","fromNodeId":"{nodeId}"}"#, Told::Missing),
            ("", r#"{"version":"draft"}"#, Told::Missing),
            ("", r#"{"idempotencyKey":"{token}"}"#, Told::Missing),
        ],
    ),
    ("redeliverDelivery", &[("", "", Told::Missing)]),
    ("redeliverFailed", &[("", r#"{"failedSince":"2020-01-01T00:00:00Z"}"#, Told::NoneSent)]),
    ("createReportToken", &[("", "", Told::Missing), ("", r#"{"nodeId":"{nodeId}"}"#, Told::Missing)]),
    // With a token: see the journey of the tokens.
    ("reportOnNode", &[("", r#"{"nodeId":"{nodeId}","status":"RUNNING"}"#, Told::NoToken)]),
    (
        "reportUsage",
        &[("", r#"{"usage":[{"callId":"1","nodeId":"{nodeId}","provider":"acme","model":"small"}]}"#, Told::Missing)],
    ),
    ("addComment", &[("", r#"{"text":"mine"}"#, Told::Missing)]),
    ("changeRetention", &[("", r#"{"maxAgeSeconds":3600}"#, Told::Missing)]),
    ("deleteRun", &[("", "", Told::Missing)]),
    (
        "listRuns",
        &[
            ("", "", Told::Nothing("runs")),
            ("?status=SUCCEEDED,FAILED", "", Told::Nothing("runs")),
            ("?createdFrom=2020-01-01T00:00:00Z&order=asc", "", Told::Nothing("runs")),
            ("?workflowDefinitionId={definitionId}", "", Told::Nothing("runs")),
            ("?workflowInstanceId={instanceId}", "", Told::Nothing("runs")),
            ("?label={label}", "", Told::Nothing("runs")),
            ("?createdBy={principal}", "", Told::Nothing("runs")),
            ("?replayOf={replayed}", "", Told::Nothing("runs")),
            ("?evaluationOf={evaluated}", "", Told::Nothing("runs")),
            ("?evaluationOf={evaluated}&createdBy={principal}&label={label}", "", Told::Nothing("runs")),
            ("?limit=1&cursor={cursor of runs}", "", Told::At("query:cursor")),
            ("?label={label}&limit=1&cursor={cursor of labelled runs}", "", Told::At("query:cursor")),
        ],
    ),
    ("getRun", &[("", "", Told::Missing), ("?waitSeconds=1&include=snapshot", "", Told::Missing)]),
    ("listSteps", &[("", "", Told::Missing)]),
    ("getStep", &[("", "", Told::Missing)]),
    ("listDeliveries", &[("", "", Told::Missing)]),
    ("listInputs", &[("", "", Told::Missing)]),
    ("getUsage", &[("", "", Told::Missing), ("?limit=1&cursor={cursor of usage}", "", Told::At("query:cursor"))]),
    (
        "listComments",
        &[("", "", Told::Missing), ("?limit=1&cursor={cursor of comments}", "", Told::At("query:cursor"))],
    ),
    // It takes a name, not an id, and a name is the tenant's own: see the end of the journey.
    ("createDefinition", &[]),
    (
        "listDefinitions",
        &[
            ("", "", Told::Nothing("definitions")),
            ("?limit=1&cursor={cursor of definitions}", "", Told::At("query:cursor")),
        ],
    ),
    ("getDefinition", &[("", "", Told::Missing)]),
    (
        "changeDefinition",
        &[
            ("", r#"{"description":"mine"}"#, Told::Missing),
            ("", r#"{"concurrency":null,"retention":null,"tags":["mine"],"discoverable":false}"#, Told::Missing),
        ],
    ),
    ("addVersion", &[("", r#"{"nodes":[{"id":"value","type":"data-source"}]}"#, Told::Missing)]),
    ("listVersions", &[("", "", Told::Missing), ("?limit=1&cursor={cursor of versions}", "", Told::Missing)]),
    ("getVersion", &[("", "", Told::Missing)]),
    ("activateVersion", &[("", "", Told::Missing)]),
    ("deprecateVersion", &[("", "", Told::Missing)]),
    ("getDraft", &[("", "", Told::Missing)]),
    ("saveDraft", &[("", r#"{"nodes":[{"id":"value","type":"data-source"}]}"#, Told::Missing)]),
    ("deleteDraft", &[("", "", Told::Missing)]),
    // It shows what its owners let everybody find, and that is the same for all: see the journey of what is shared.
    ("listDiscoverableDefinitions", &[]),
    ("getDiscoverableDefinition", &[("", "", Told::Unlisted)]),
    ("getDiscoverableVersion", &[("", "", Told::Unlisted)]),
    (
        "saveInstance",
        &[
            ("", r#"{"workflowDefinitionId":"{definition}"}"#, Told::At("/workflowDefinitionId")),
            ("", r#"{"workflowDefinitionId":"{definition}","version":{version}}"#, Told::At("/workflowDefinitionId")),
            ("", r#"{"workflowDefinitionId":"{definition}","version":"draft"}"#, Told::At("/workflowDefinitionId")),
        ],
    ),
    (
        "listInstances",
        &[
            ("", "", Told::Nothing("instances")),
            ("?limit=1&cursor={cursor of instances}", "", Told::At("query:cursor")),
        ],
    ),
    ("getInstance", &[("", "", Told::Missing)]),
    ("listProcessors", &[("", "", Told::Forbidden)]),
    ("getProcessor", &[("", "", Told::Forbidden)]),
    ("declareProcessor", &[("", r#"{"kind":"lambda","tenants":["*"]}"#, Told::Forbidden)]),
    ("listComputeNodes", &[("", "", Told::Forbidden)]),
    ("getComputeNode", &[("", "", Told::Forbidden)]),
    ("declareComputeNode", &[("", r#"{"tenants":["*"]}"#, Told::Forbidden)]),
    ("declareLayer", &[("", r#"{"status":"READY"}"#, Told::Forbidden)]),
    ("listTenants", &[("", "", Told::Forbidden), ("?limit=0", "", Told::Forbidden)]),
    ("getTenant", &[("", "", Told::Forbidden)]),
    (
        "setTenant",
        &[
            ("", "{}", Told::Forbidden),
            ("", r#"{"concurrency":{"maxConcurrentRuns":1,"onLimit":"reject"}}"#, Told::Forbidden),
            ("", r#"{"concurrency":"none"}"#, Told::Forbidden),
        ],
    ),
];

/// A thing of the owner's, and one of the same shape that nobody has.
struct Thing {
    hole: &'static str,
    real: String,
    missing: String,
}

#[test]
fn every_route_answers_a_stranger_as_if_there_were_nothing() {
    let routed: Vec<&str> = ROUTES.iter().map(|route| route.id).collect();
    let swept: Vec<&str> = ROWS.iter().map(|(id, _)| *id).collect();
    assert_eq!(routed, swept, "a row for every route, in the order of the routes");

    let owner = Journey::of("sweep-owner");
    let stranger = owner.neighbour("sweep-stranger");
    let things = things_of(&owner);
    let (owned, strange) = (owner.items(), stranger.items());
    // The minute's sweep may come in between: it leaves alone what rests.
    owner.reconcile();
    for (route, (_, asks)) in ROUTES.iter().zip(ROWS) {
        assert!(!asks.is_empty() || !route.path.contains('{'), "{} takes an id", route.id);
        for (query, body, told) in *asks {
            for filled in fillings(&things, [route.path, query, body]) {
                let mut answers = filled.iter().map(|texts| {
                    let [path, query, body] = texts;
                    let answer = stranger.request(route.method, &format!("{path}{query}"), &[], body.as_str());
                    check(route.id, *told, &answer);
                    anonymous(&things, &answer)
                });
                let first = answers.next().expect("an answer");
                assert!(answers.all(|answer| answer == first), "{}: {filled:?}: {first:?}", route.id);
            }
        }
    }
    assert_eq!(owner.items(), owned, "nothing of the owner's has changed");
    assert_eq!((stranger.items(), strange), (Vec::new(), Vec::new()), "and nothing was written for the stranger");

    // The same requests were good ones: to the owner they are answered otherwise. What is deleted is deleted last.
    let (last, first): (Vec<_>, Vec<_>) = ROUTES.iter().zip(ROWS).partition(|(route, _)| route.method == "DELETE");
    for (route, (_, asks)) in first.into_iter().chain(last) {
        for (query, body, told) in *asks {
            if matches!(told, Told::Forbidden | Told::NoToken | Told::Unlisted) {
                continue;
            }
            let mut theirs = Vec::new();
            for filled in fillings(&things, [route.path, query, body]) {
                let [path, query, body] = &filled[0];
                let answer = owner.request(route.method, &format!("{path}{query}"), &[], body.as_str());
                let is_theirs = answer.status < 300 || answer.status == 409;
                // A cursor goes on with the list that it is of: one of one run's list opens no other run's.
                let of_another_list = query.contains("cursor=") && answer.status == 400;
                let told_well = is_theirs || of_another_list;
                assert!(told_well, "{}: {path}{query} {body}: {} {}", route.id, answer.status, answer.text());
                match told {
                    Told::Nothing(list) => assert_ne!(answer.json()[list], json!([]), "{}: {query}", route.id),
                    Told::NoneSent => assert_ne!(answer.json()["redelivered"], 0, "{}", route.id),
                    Told::Missing | Told::At(_) | Told::Unlisted | Told::NoToken | Told::Forbidden => {}
                }
                theirs.push(is_theirs);
            }
            assert!(theirs.contains(&true), "{}: {query} {body}", route.id);
        }
    }
    stranger.define("secret-plan", &instant());
}

/// A definition with two versions and a draft, two that are shared, an ended run with a delivery that was given up, a replay
/// and an evaluation of it, a run that waits for an answer, and a cursor of each list.
fn things_of(owner: &Journey) -> Vec<Thing> {
    let asking = json!({"nodes": [{"id": "ask", "type": "external"}]});
    let definition = owner.define("secret-plan", &asking);
    owner.add_version("secret-plan", &asking, false);
    owner.define("another-plan", &instant());
    let [drafted, shared] =
        ["drafted-plan", "shared-plan"].map(|name| owner.define_with(name, json!({"discoverable": true}), &instant()));
    for name in ["secret-plan", "drafted-plan"] {
        assert_eq!(owner.put(&format!("/v1/workflow-definitions/{name}/draft"), &asking).status, 200);
    }
    let saved = owner.post("/v1/workflow-instances", json!({"workflowDefinitionId": "another-plan"}));
    assert_eq!(saved.status, 201, "{}", saved.text());

    let label = json!({"project": "moonshot"});
    let create = |definition: &str, fields: Value| text(&owner.create(definition, fields)["id"]);
    let asked = |token: &str| {
        let fields = json!({"completionCallbackUrl": owner.hook(), "labels": label, "clientToken": token});
        let run_id = create("secret-plan", fields);
        owner.waiting(&run_id, "ask", 1);
        run_id
    };
    // The receiver wants neither the run's message nor its replay's.
    owner.stack.receiver.answer_next(&owner.tenant, [Reply::status(410), Reply::status(410)]);
    let [ended, open] = ["taken-by-its-owner", "another-of-its-owner"].map(asked);
    owner.answered(&ended);
    owner.delivered(&ended);
    let replay = text(&owner.tell(&ended, "replay", "", 201)["id"]);
    owner.answered(&replay);
    for run_id in [&ended, &replay] {
        let given_up = owner.delivered(run_id).iter().any(|delivery| delivery["status"] == "DEAD_LETTERED");
        assert!(given_up, "{:?}", owner.deliveries(run_id));
    }
    let evaluation = json!({"evaluationOf": ended, "labels": label, "completionCallbackUrl": owner.hook()});
    owner.delivered(&create("another-plan", evaluation));
    for number in ["1", "2"] {
        let call = json!({"callId": number, "nodeId": "ask", "provider": "acme", "model": "small"});
        owner.tell(&ended, "usage", json!({"usage": [call]}), 200);
        owner.tell(&ended, "comments", json!({"text": number}), 201);
    }
    let run = owner.run(&ended);

    let thing = |hole, real: &str, missing: &str| Thing { hole, real: real.to_owned(), missing: missing.to_owned() };
    let cursor = |hole, path: &str| {
        let real = text(&owner.read(path)["nextCursor"]);
        // The same length, another letter in the middle.
        let middle = real.len() / 2;
        let other = if real[middle..].starts_with('A') { "B" } else { "A" };
        let missing = format!("{}{other}{}", &real[..middle], &real[middle + 1..]);
        Thing { hole, real, missing }
    };
    let (no_run, no_definition) = ("0b0f5c1e-64a5-4d3a-9a5e-5d9f3e0c7a11", "01a20254-9b96-7733-93b6-5d9f3e0c7a11");
    vec![
        thing("{runId}", &ended, no_run),
        thing("{runId}", &open, no_run),
        thing("{replayed}", &ended, no_run),
        thing("{evaluated}", &ended, no_run),
        thing("{definition}", &definition, no_definition),
        thing("{definition}", "secret-plan", "no-such-plan"),
        thing("{definitionId}", &definition, no_definition),
        // Everybody knows both; that one of them has a draft is its owner's.
        thing("{drafted}", &drafted, &shared),
        thing("{name of drafted}", "drafted-plan", "shared-plan"),
        thing("{shared}", &shared, &shared),
        thing("{version}", "2", "77"),
        thing("{number}", "1", "77"),
        thing("{nodeId}", "ask", "no-such-node"),
        thing("{instanceId}", &text(&run["workflowInstanceId"]), "0b0f5c1e-64a5-5d3a-9a5e-5d9f3e0c7a11"),
        thing("{label}", "project:moonshot", "project:no-such-project"),
        thing("{principal}", &text(&run["createdBy"]), "nobody-on-a-laptop"),
        thing("{token}", "taken-by-its-owner", "taken-by-nobody"),
        thing("{key}", "default", "no-such-key"),
        thing("{key}", "echo", "no-such-key"),
        thing("{name}", "base", "no-such-layer"),
        thing("{tenant}", &owner.tenant, "no-such-tenant"),
        cursor("{cursor of runs}", "/v1/workflow-runs?limit=1"),
        cursor("{cursor of labelled runs}", "/v1/workflow-runs?label=project:moonshot&limit=1"),
        cursor("{cursor of usage}", &format!("{}/usage?limit=1", run_path(&ended))),
        cursor("{cursor of comments}", &format!("{}/comments?limit=1", run_path(&ended))),
        cursor("{cursor of definitions}", "/v1/workflow-definitions?limit=1"),
        cursor("{cursor of versions}", "/v1/workflow-definitions/secret-plan/versions?limit=1"),
        cursor("{cursor of instances}", "/v1/workflow-instances?limit=1"),
    ]
}

/// The texts with their holes filled in every way: groups in which each hole stands for one thing, real or missing. The first
/// of a group is the one in which everything is real.
fn fillings(things: &[Thing], texts: [&str; 3]) -> Vec<Vec<[String; 3]>> {
    let mut holes: Vec<&str> = Vec::new();
    for thing in things {
        if texts.iter().any(|text| text.contains(thing.hole)) && !holes.contains(&thing.hole) {
            holes.push(thing.hole);
        }
    }
    let mut groups = vec![vec![texts.map(str::to_owned)]];
    for hole in holes {
        let fill = |texts: &[String; 3], with: &str| texts.each_ref().map(|text| text.replace(hole, with));
        groups = things
            .iter()
            .filter(|thing| thing.hole == hole)
            .flat_map(|thing| {
                groups.iter().map(move |group| {
                    let real = group.iter().map(|texts| fill(texts, &thing.real));
                    real.chain(group.iter().map(|texts| fill(texts, &thing.missing))).collect::<Vec<_>>()
                })
            })
            .collect();
    }
    groups
}

fn check(route: &str, told: Told, answer: &Answer) {
    let said = answer.json();
    let as_told = match told {
        Told::Missing | Told::Unlisted => answer.status == 404,
        Told::NoToken => answer.status == 401 && said["code"] == "invalid_report_token",
        Told::At(pointer) => answer.status == 400 && said["errors"][0]["pointer"] == pointer,
        Told::Forbidden => answer.status == 403 && said["code"] == "operator_only",
        Told::Nothing(list) => answer.status == 200 && said[list] == json!([]) && said["nextCursor"].is_null(),
        Told::NoneSent => answer.status == 202 && said == json!({"redelivered": 0, "more": false}),
    };
    assert!(as_told, "{route}: not {told:?}: {} {}", answer.status, answer.text());
}

/// An answer without what names its occasion, and without the ids that were asked for.
fn anonymous(things: &[Thing], answer: &Answer) -> (u16, Value) {
    let mut said = answer.text();
    for id in things.iter().flat_map(|thing| [&thing.real, &thing.missing]) {
        // A number is one only where a sentence ends with it.
        let is_number = id.parse::<u32>().is_ok();
        said = if is_number { said.replace(&format!(" {id}\""), " <id>\"") } else { said.replace(id, "<id>") };
    }
    let mut said: Value = serde_json::from_str(&said).unwrap_or(Value::String(said));
    if let Some(said) = said.as_object_mut() {
        said.remove("instance");
    }
    (answer.status, said)
}

/// A report with a token, by somebody who may be anybody.
fn report(as_tenant: &Journey, run_id: &str, token: &str, report: &Value) -> Answer {
    let path = format!("{}/report", run_path(run_id));
    as_tenant.request("POST", &path, &[("authorization", &format!("Bearer {token}"))], report.to_string())
}

#[test]
fn a_report_token_opens_its_own_run_whoever_else_holds_one() {
    let owner = Journey::of("sweep-token-owner");
    let neighbour = owner.neighbour("sweep-token-neighbour");
    let stranger = owner.neighbour("sweep-token-stranger");
    let started = |tenant: &Journey| {
        let run_id = text(&tenant.create("asked", json!({}))["id"]);
        tenant.waiting(&run_id, "ask", 1);
        let token = text(&tenant.tell(&run_id, "report-tokens", "", 201)["token"]);
        (run_id, token)
    };
    for tenant in [&owner, &neighbour] {
        tenant.define("asked", &json!({"nodes": [{"id": "ask", "type": "external"}]}));
    }
    let opened = [started(&owner), started(&owner), started(&neighbour)];
    let part = |token: &str, index: usize| token.split('.').nth(index).unwrap_or_default().to_owned();
    let [(_, of_owner), _, (_, of_neighbour)] = &opened;
    let garbage = [
        // The secret of the one under the name of the other.
        format!("srt.{}.{}", part(of_neighbour, 1), part(of_owner, 2)),
        format!("srt.{}.{}", part(of_owner, 1), part(of_neighbour, 2)),
        format!("srt.{}.{}", part(of_owner, 1), "A".repeat(part(of_owner, 2).len())),
        of_owner.to_uppercase(),
        "srt..".to_owned(),
        "garbage".to_owned(),
        String::new(),
    ];
    let nobodys = "0b0f5c1e-64a5-4d3a-9a5e-5d9f3e0c7a11";
    let underway = json!({"nodeId": "ask", "status": "RUNNING", "progress": {"percent": 1}});
    // Who else the caller is makes no difference, nor does what is said.
    let said = [
        (&owner, underway.clone()),
        (&neighbour, underway.clone()),
        (&stranger, underway.clone()),
        (&stranger, json!({"nodeId": "ask", "status": "SUCCEEDED", "result": "mine"})),
        (&stranger, json!({"nodeId": "ask", "status": "FAILED", "error": {"code": "Mine", "message": "mine"}})),
        (&stranger, json!({"nodeId": "no-such-node", "status": "RUNNING"})),
    ];
    let before = (owner.items(), neighbour.items());
    let mut refusals: Vec<Value> = Vec::new();
    for run_id in opened.iter().map(|(run_id, _)| run_id.as_str()).chain([nobodys, "no-run-id"]) {
        let tokens = opened.iter().filter(|(of, _)| of != run_id).map(|(_, token)| token).chain(&garbage);
        for token in tokens {
            for (caller, said) in &said {
                let answer = report(caller, run_id, token, said);
                assert_eq!(refused(&answer), (401, "invalid_report_token".to_owned()), "{run_id} {token} {said}");
                let mut refusal = answer.json();
                refusal.as_object_mut().expect("a problem").remove("instance");
                if !refusals.contains(&refusal) {
                    refusals.push(refusal);
                }
            }
        }
    }
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    assert_eq!((owner.items(), neighbour.items()), before, "nothing was written");
    for (run_id, token) in &opened {
        assert_eq!(report(&stranger, run_id, token, &underway).status, 202, "its own token opens {run_id}");
    }
    assert_eq!(stranger.items(), Vec::<Value>::new());
    for (tenant, (run_id, token)) in [&owner, &owner, &neighbour].into_iter().zip(&opened) {
        tenant.canceled(run_id);
        let late = report(&stranger, run_id, token, &underway);
        assert_eq!(refused(&late), (409, "run_ended".to_owned()));
    }
}

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
        let mut path = format!("/v1/discoverable-definitions?{query}&limit=1");
        loop {
            let page = stranger.read(&path);
            found.extend(list(&page["definitions"]).iter().map(|definition| text(&definition["id"])));
            let Some(cursor) = page["nextCursor"].as_str() else { break };
            cursors += &unsealed(cursor).to_string();
            path = format!("/v1/discoverable-definitions?{query}&limit=1&cursor={cursor}");
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
        if !route.path.starts_with("/v1/workflow-definitions/{definition}") || route.id == "invokeDefinition" {
            continue;
        }
        for (query, body, told) in *asks {
            for filled in fillings(&things, [route.path, query, body]) {
                let answers: Vec<(u16, Value)> = filled
                    .iter()
                    .map(|[path, query, body]| {
                        let answer = stranger.request(route.method, &format!("{path}{query}"), &[], body.as_str());
                        check(route.id, *told, &answer);
                        anonymous(&things, &answer)
                    })
                    .collect();
                assert!(answers.iter().all(|answer| *answer == answers[0]), "{}: {answers:?}", route.id);
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

/// What a cursor is made of.
fn unsealed(cursor: &str) -> Value {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).expect("base64");
    serde_json::from_slice(&bytes).expect("JSON")
}

#[test]
fn a_forged_cursor_leads_nowhere() {
    let owner = Journey::of("sweep-cursor-owner");
    let forger = owner.neighbour("sweep-cursor-forger");
    // The same lists of both, two things long.
    let lists = |tenant: &Journey| {
        for name in ["first", "second"] {
            tenant.define(name, &instant());
            let saved = tenant.post("/v1/workflow-instances", json!({"workflowDefinitionId": name, "version": 1}));
            assert_eq!(saved.status, 201, "{}", saved.text());
        }
        tenant.add_version("first", &instant(), false);
        let runs = ["first", "second"].map(|name| {
            let run_id = text(&tenant.create(name, json!({"labels": {"of": "both"}}))["id"]);
            tenant.ended(&run_id);
            run_id
        });
        for number in ["1", "2"] {
            let call = json!({"callId": number, "provider": "acme", "model": "small"});
            tenant.tell(&runs[0], "usage", json!({"usage": [call]}), 200);
            tenant.tell(&runs[0], "comments", json!({"text": number}), 201);
        }
        [
            "/v1/workflow-runs?limit=1".to_owned(),
            "/v1/workflow-runs?label=of:both&limit=1".to_owned(),
            "/v1/workflow-definitions?limit=1".to_owned(),
            "/v1/workflow-definitions/first/versions?limit=1".to_owned(),
            "/v1/workflow-instances?limit=1".to_owned(),
            format!("{}/usage?limit=1", run_path(&runs[0])),
            format!("{}/comments?limit=1", run_path(&runs[0])),
        ]
    };
    let (owners, forgers) = (lists(&owner), lists(&forger));
    // Ids of the owner's runs, definitions and instances, at the end of their keys.
    let keys = owner.items().into_iter().map(|item| text(&item["pk"]["S"]));
    let secrets: Vec<String> =
        keys.filter_map(|key| Some(key.rsplit_once('#')?.1.to_owned()).filter(|id| id.len() == 36)).collect();
    assert!(secrets.len() > 5, "{secrets:?}");
    for (theirs, mine) in owners.iter().zip(&forgers) {
        let [theirs, own] =
            [(&owner, theirs), (&forger, mine)].map(|(tenant, path)| unsealed(&text(&tenant.read(path)["nextCursor"])));
        let place = |cursor: &Value| {
            text(&cursor["after"]).split_once('.').map(|(digest, at)| (digest.to_owned(), at.to_owned()))
        };
        let ((their_digest, their_place), (own_digest, own_place)) =
            place(&theirs).zip(place(&own)).unwrap_or_else(|| panic!("{theirs} {own}"));
        let ask = |after: String| {
            let sealed = json!({"v": own["v"], "list": own["list"], "after": after});
            forger.get(&format!("{mine}&cursor={}", URL_SAFE_NO_PAD.encode(sealed.to_string())))
        };
        for after in [format!("{their_digest}.{their_place}"), format!("{their_digest}.{own_place}")] {
            assert_eq!(errors(&ask(after), 400), ["query:cursor invalid_cursor"], "{mine}");
        }
        // Another's place in one's own list is a place, and no more than that.
        let placed = ask(format!("{own_digest}.{their_place}"));
        assert!([200, 400].contains(&placed.status), "{mine}: {} {}", placed.status, placed.text());
        assert!(!secrets.iter().any(|secret| placed.text().contains(secret.as_str())), "{mine}: {}", placed.text());
    }
}
