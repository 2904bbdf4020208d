//! Every route of the API, asked for another tenant's things and for things that nobody has: the answers are the same.
//!
//! The rows below follow the table of routes: a route without a row fails, and so does a row without a route.

use serde_json::{Value, json};
use sluice_edge::openapi::ROUTES;
use sluice_local::Answer;

use crate::world::{Journey, body, instant, text};

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
        ],
    ),
    ("invokeDefinition", &[("", "", Told::Missing), ("", r#"{"version":{version}}"#, Told::Missing)]),
    ("cancelRun", &[("", "", Told::Missing)]),
    ("pauseRun", &[("", "", Told::Missing)]),
    ("resumeRun", &[("", "", Told::Missing)]),
    ("answerNode", &[("", r#"{"nodeId":"{nodeId}","data":1}"#, Told::Missing)]),
    ("replayRun", &[("", "", Told::Missing), ("", r#"{"fromNodeId":"{nodeId}"}"#, Told::Missing)]),
    ("redeliverDelivery", &[("", "", Told::Missing)]),
    // It names nothing: what is sent again is the tenant's own.
    ("redeliverFailed", &[]),
    ("createReportToken", &[("", "", Told::Missing), ("", r#"{"nodeId":"{nodeId}"}"#, Told::Missing)]),
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
            ("?workflowDefinitionId={definitionId}", "", Told::Nothing("runs")),
            ("?workflowInstanceId={instanceId}", "", Told::Nothing("runs")),
            ("?limit=1&cursor={cursor of runs}", "", Told::At("query:cursor")),
        ],
    ),
    ("getRun", &[("", "", Told::Missing), ("?waitSeconds=1&include=snapshot", "", Told::Missing)]),
    ("listSteps", &[("", "", Told::Missing)]),
    ("getStep", &[("", "", Told::Missing)]),
    ("listDeliveries", &[("", "", Told::Missing)]),
    ("listInputs", &[("", "", Told::Missing)]),
    ("getUsage", &[("", "", Told::Missing)]),
    ("listComments", &[("", "", Told::Missing)]),
    // It takes a name, not an id, and a name is the tenant's own: see the end of the journey.
    ("createDefinition", &[]),
    ("listDefinitions", &[("?limit=1&cursor={cursor of definitions}", "", Told::At("query:cursor"))]),
    ("getDefinition", &[("", "", Told::Missing)]),
    ("changeDefinition", &[("", r#"{"description":"mine"}"#, Told::Missing)]),
    ("addVersion", &[("", r#"{"nodes":[{"id":"value","type":"data-source"}]}"#, Told::Missing)]),
    ("listVersions", &[("", "", Told::Missing), ("?limit=1&cursor={cursor of versions}", "", Told::Missing)]),
    ("getVersion", &[("", "", Told::Missing)]),
    ("activateVersion", &[("", "", Told::Missing)]),
    ("deprecateVersion", &[("", "", Told::Missing)]),
    ("getDraft", &[("", "", Told::Missing)]),
    ("saveDraft", &[("", r#"{"nodes":[{"id":"value","type":"data-source"}]}"#, Told::Missing)]),
    ("deleteDraft", &[("", "", Told::Missing)]),
    // It shows what its owners let everybody find.
    ("listDiscoverableDefinitions", &[]),
    ("getDiscoverableDefinition", &[("", "", Told::Unlisted)]),
    ("getDiscoverableVersion", &[("", "", Told::Unlisted)]),
    (
        "saveInstance",
        &[
            ("", r#"{"workflowDefinitionId":"{definition}"}"#, Told::At("/workflowDefinitionId")),
            ("", r#"{"workflowDefinitionId":"{definition}","version":{version}}"#, Told::At("/workflowDefinitionId")),
        ],
    ),
    ("listInstances", &[("?limit=1&cursor={cursor of instances}", "", Told::At("query:cursor"))]),
    ("getInstance", &[("", "", Told::Missing)]),
    ("listProcessors", &[("", "", Told::Forbidden)]),
    ("getProcessor", &[("", "", Told::Forbidden)]),
    ("declareProcessor", &[("", r#"{"kind":"lambda","tenants":["*"]}"#, Told::Forbidden)]),
    ("listComputeNodes", &[("", "", Told::Forbidden)]),
    ("getComputeNode", &[("", "", Told::Forbidden)]),
    ("declareComputeNode", &[("", r#"{"tenants":["*"]}"#, Told::Forbidden)]),
    ("declareLayer", &[("", r#"{"status":"READY"}"#, Told::Forbidden)]),
    ("listTenants", &[("", "", Told::Forbidden)]),
    ("getTenant", &[("", "", Told::Forbidden)]),
    ("setTenant", &[("", "{}", Told::Forbidden)]),
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
            for filled in fillings(&things, [route.path, query, body]) {
                let [path, query, body] = &filled[0];
                let answer = owner.request(route.method, &format!("{path}{query}"), &[], body.as_str());
                let is_theirs = answer.status < 300 || answer.status == 409;
                assert!(is_theirs, "{}: {path}{query} {body}: {} {}", route.id, answer.status, answer.text());
                assert!(!matches!(told, Told::Nothing(list) if answer.json()[list] == json!([])), "{}", route.id);
            }
        }
    }
    stranger.define("secret-plan", &instant());
}

/// A definition with two versions, an ended run with its deliveries, one that waits for an answer, and a cursor of each list.
fn things_of(owner: &Journey) -> Vec<Thing> {
    let asking = json!({"nodes": [{"id": "ask", "type": "external"}]});
    let definition = owner.define("secret-plan", &asking);
    owner.add_version("secret-plan", &asking, false);
    owner.define("another-plan", &instant());
    assert_eq!(owner.put("/v1/workflow-definitions/secret-plan/draft", &asking).status, 200);
    let saved = owner.post("/v1/workflow-instances", json!({"workflowDefinitionId": "another-plan"}));
    assert_eq!(saved.status, 201, "{}", saved.text());

    let request = body("secret-plan", json!({"completionCallbackUrl": owner.hook()}));
    let [ended, open] = [(); 2].map(|()| {
        let created = owner.post("/v1/workflow-runs", &request);
        assert_eq!(created.status, 201, "{}", created.text());
        let run_id = text(&created.json()["id"]);
        owner.in_status(&run_id, "WAITING_FOR_INPUT");
        run_id
    });
    let answered = owner.post(&format!("/v1/workflow-runs/{ended}/data"), json!({"nodeId": "ask", "data": 1}));
    assert_eq!(answered.status, 202, "{}", answered.text());
    let instance = text(&owner.ended(&ended)["workflowInstanceId"]);
    owner.delivered(&ended);

    let thing = |hole, real: &str, missing: &str| Thing { hole, real: real.to_owned(), missing: missing.to_owned() };
    let cursor = |hole, path: &str| {
        let real = text(&owner.read(&format!("{path}?limit=1"))["nextCursor"]);
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
        thing("{definition}", &definition, no_definition),
        thing("{definition}", "secret-plan", "no-such-plan"),
        thing("{definitionId}", &definition, no_definition),
        thing("{version}", "2", "77"),
        thing("{number}", "1", "77"),
        thing("{nodeId}", "ask", "no-such-node"),
        thing("{instanceId}", &instance, "0b0f5c1e-64a5-5d3a-9a5e-5d9f3e0c7a11"),
        thing("{key}", "default", "no-such-key"),
        thing("{key}", "echo", "no-such-key"),
        thing("{name}", "base", "no-such-layer"),
        thing("{tenant}", &owner.tenant, "no-such-tenant"),
        cursor("{cursor of runs}", "/v1/workflow-runs"),
        cursor("{cursor of definitions}", "/v1/workflow-definitions"),
        cursor("{cursor of versions}", "/v1/workflow-definitions/secret-plan/versions"),
        cursor("{cursor of instances}", "/v1/workflow-instances"),
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
        Told::Nothing(list) => answer.status == 200 && said[list] == json!([]),
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
