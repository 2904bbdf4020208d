//! The owner's things, what is asked about them, and how answers are compared.

use serde_json::{Value, json};
use sluice_local::Answer;
use sluice_local::receiver::Reply;

use super::rows::Told;
use crate::world::{Journey, instant, run_path, text};

/// A thing of the owner's, and one of the same shape that nobody has.
pub struct Thing {
    pub hole: &'static str,
    pub real: String,
    pub missing: String,
}

/// A definition with two versions and a draft, two that are shared, an ended run with a delivery that was given up, a replay
/// and an evaluation of it, a run that waits for an answer, and a cursor of each list.
pub fn things_of(owner: &Journey) -> Vec<Thing> {
    let asking = json!({
        "nodes": [
            {"id": "each", "type": "data-source", "processor": "echo", "forEach": {"items": ["a", "b"]}},
            {"id": "again", "type": "data-source", "processor": "echo", "loop": {
                "until": {"pointer": "/results/again/iteration", "equals": 2}, "maxIterations": 2,
            }},
            {"id": "ask", "type": "external"},
        ],
        "edges": [{"from": "each", "to": "ask"}, {"from": "again", "to": "ask"}],
    });
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
    let asked = |token: &str| {
        let fields = json!({"completionCallbackUrl": owner.hook(), "labels": label, "clientToken": token});
        owner.start_asking("secret-plan", fields)
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
    owner.delivered(&owner.start("another-plan", evaluation));
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
        thing("{sequence}", "1", "77"),
        thing("{nodeId}/items/{itemIndex}", "each/items/1", "each/items/77"),
        thing("{nodeId}/iterations/{iteration}", "again/iterations/1", "again/iterations/77"),
        thing("{nodeId}", "ask", "no-such-node"),
        thing("{instanceId}", &text(&run["workflowInstanceId"]), "0b0f5c1e-64a5-5d3a-9a5e-5d9f3e0c7a11"),
        thing("{label}", "project:moonshot", "project:no-such-project"),
        thing("{principal}", &text(&run["createdBy"]), "nobody-on-a-laptop"),
        thing("{token}", "taken-by-its-owner", "taken-by-nobody"),
        thing("{key}", "default", "no-such-key"),
        thing("{key}", "echo", "no-such-key"),
        thing("{keyId}", "0f3c5d7e9a1b2c4d", "no-such-key"),
        thing("{name}", "base", "no-such-layer"),
        thing("{tenant}", &owner.tenant, "no-such-tenant"),
        cursor("{cursor of runs}", "/v1/workflow-runs?limit=1"),
        cursor("{cursor of labelled runs}", "/v1/workflow-runs?label=project:moonshot&limit=1"),
        cursor("{cursor of usage}", &format!("{}/usage?limit=1", run_path(&ended))),
        cursor("{cursor of inputs}", &format!("{}/inputs?limit=1", run_path(&ended))),
        cursor("{cursor of comments}", &format!("{}/comments?limit=1", run_path(&ended))),
        cursor("{cursor of definitions}", "/v1/workflow-definitions?limit=1"),
        cursor("{cursor of versions}", "/v1/workflow-definitions/secret-plan/versions?limit=1"),
        cursor("{cursor of instances}", "/v1/workflow-instances?limit=1"),
    ]
}

/// The texts with their holes filled in every way: groups in which each hole stands for one thing, real or missing. The first
/// of a group is the one in which everything is real.
pub fn fillings(things: &[Thing], texts: [&str; 3]) -> Vec<Vec<[String; 3]>> {
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

pub fn check(route: &str, told: Told, answer: &Answer) {
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
pub fn anonymous(things: &[Thing], answer: &Answer) -> (u16, Value) {
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
