//! Versions drawn at random, with conditions, loops, fan-out, retries and failures that may be, made into runs. The player walks the
//! state machine, the flows decide, and calls of the function fail now and then: whatever happens, the history stays within the
//! bound that the version was let in by.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sluice_core::{history, limits};

use super::Player;
use super::shapes::Dice;
use crate::crew::{Crew, NESTED};
use crate::runner::SECOND_RUNNER;

const ROUNDS: u64 = 60;
/// Calls that are told apart for each node; the last one repeats.
const CALLS: usize = 20;

/// A version of up to ten nodes, each with some directive or none.
fn version(dice: &mut Dice) -> Value {
    let count = 2 + dice.roll(9);
    let id = |node: usize| format!("node-{node}");
    let mut edges = Vec::new();
    let mut nodes = Vec::new();
    for node in 0..count {
        let before: Vec<usize> = (0..node).filter(|_| dice.roll(3) == 0).collect();
        edges.extend(before.iter().map(|&from| json!({"from": id(from), "to": id(node)})));
        if dice.roll(8) == 0 {
            nodes.push(json!({"id": id(node), "type": "external"}));
            continue;
        }
        let processor = if dice.roll(4) == 0 { NESTED } else { "readability" };
        let retry = json!({"maxAttempts": 1 + dice.roll(3), "intervalSeconds": 1 + dice.roll(3), "backoffRate": 2});
        let mut drawn = json!({"id": id(node), "type": "processor", "processor": processor, "retry": retry});
        let last = before.last().map(|&from| id(from));
        match (dice.roll(6), &last) {
            (0, _) => {
                let until = json!({"pointer": format!("/results/{}/done", id(node)), "equals": true});
                drawn["loop"] = json!({"until": until, "maxIterations": 1 + dice.roll(4)});
            }
            (1 | 2, Some(last)) => {
                let items = format!("/results/{last}/items");
                drawn["forEach"] = json!({"items": items, "maxItems": 5, "maxConcurrency": 1 + dice.roll(4)});
            }
            (2, None) => {
                let items: Vec<usize> = (0..dice.roll(6)).collect();
                drawn["forEach"] = json!({"items": items, "maxConcurrency": 1 + dice.roll(4)});
            }
            (3, _) => drawn["timeoutSeconds"] = json!(30),
            _ => {}
        }
        if let Some(last) = last.filter(|_| dice.roll(4) == 0) {
            drawn["when"] = json!({"pointer": format!("/results/{last}/done"), "equals": dice.roll(2) == 0});
        }
        if dice.roll(2) == 0 {
            drawn["onFailure"] = json!("continue");
        }
        nodes.push(drawn);
    }
    json!({"nodes": nodes, "edges": edges, "failFast": dice.roll(2) == 0})
}

/// What comes of the calls of each node, one after the other.
fn calls(version: &Value, dice: &mut Dice) -> Value {
    let mut call = || match dice.roll(9) {
        0 => json!({"seconds": 3, "error": "Model.Refused"}),
        1 => json!({"seconds": 1, "error": "Lambda.TooManyRequestsException"}),
        2 => json!({"seconds": 1, "error": "StepFunctions.ThrottlingException"}),
        // One more item than is allowed.
        _ => {
            let items: Vec<usize> = (0..dice.roll(7)).collect();
            json!({"seconds": dice.roll(40), "result": {"done": dice.roll(3) > 0, "items": items}})
        }
    };
    let nodes = version["nodes"].as_array().into_iter().flatten();
    let calls = nodes.map(|node| {
        let id = node["id"].as_str().expect("an id").to_owned();
        (id, Value::Array((0..CALLS).map(|_| call()).collect()))
    });
    Value::Object(calls.collect())
}

#[test]
fn no_run_of_any_version_writes_more_than_the_bound_that_let_it_in() {
    let mut player = Player::of(SECOND_RUNNER);
    // How often what happened, so that this is about what it says.
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for round in 0..ROUNDS {
        let mut dice = Dice(round * 977 + 3);
        let mut crew = Crew::new();
        let version = version(&mut dice);
        crew.define(&version).unwrap_or_else(|refusal| panic!("round {round}: {refusal:?}: {version}"));
        let (run, snapshot) = crew.begin(u128::from(round) + 1);
        let schedule = snapshot.schedule().expect("a schedule");
        let worst = history::worst_case(&schedule);
        assert!(worst <= limits::HISTORY_EVENTS, "round {round}: the version was let in with {worst} events");
        let input = crew.input(&run);
        assert_eq!(input["workers"].as_array().map(Vec::len), Some(schedule.workers() as usize));
        let calls = calls(&version, &mut dice);
        let has_trouble = round % 3 > 0;
        let played = player.play(&input, &calls, |ask| {
            let failing = (has_trouble && dice.roll(9) == 0).then(|| dice.roll(7));
            crew.answer(&run, ask, failing)
        });
        assert!(played.events <= worst, "round {round}: {} events, {worst} at worst: {version}", played.events);
        let mut count = |what: &str| *seen.entry(what.to_owned()).or_default() += 1;
        match played.end["error"].as_str() {
            Some(error) => count(error),
            None => {
                assert!(played.end["output"]["results"].is_object(), "round {round}: {}", played.end);
                count("succeeded");
            }
        }
        if crew.answered > 0 {
            count("answered");
        }
        let states = &played.end["states"];
        for (what, has_happened) in [
            ("repeated", states["BackOff"].is_u64()),
            ("nested", states["RunStateMachine"].is_u64()),
            ("more than once for each node", states["Act"].as_u64() > Some(2 * schedule.tasks().len() as u64)),
        ] {
            if has_happened {
                count(what);
            }
        }
    }
    eprintln!("{seen:?}");
    for what in ["succeeded", "Model.Refused", "Sluice.LoopingRisk", "answered", "repeated", "nested"] {
        assert!(seen.contains_key(what), "never {what}: {seen:?}");
    }
}
