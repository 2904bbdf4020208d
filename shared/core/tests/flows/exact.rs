//! Numbers are the caller's: what it wrote is what is shown, whatever the engine has made of it meanwhile.

use crate::world::World;
use serde_json::{Value, json};
use sluice_core::arn::{FunctionArn, QualifiedArn};
use sluice_core::flow::read_runs::{get_run, get_step};
use sluice_core::lifecycle::EngineEnd;
use sluice_core::ports::{Clock, LoadRun};
use sluice_core::run::Run;
use sluice_core::snapshot::NodeRun;
use sluice_core::step::{Step, StepStatus};
use sluice_testkit::{block_on, fixture};

/// What no double keeps: an id of 64 bits, a zero at the end, exponents, the sign of nothing.
const WRITTEN: &str = r#"{"id":9007199254740993,"price":1.10,"most":1E+2,"least":-0,"tiny":1e-7}"#;
/// The same, as an engine that reads doubles gives it back.
const READ: &str = r#"{"id":9007199254740992,"price":1.1,"most":100.0,"least":0,"tiny":1e-07}"#;

/// A run whose leaves are a value, an external node and a processor, all with this as their result.
pub fn run(world: &World) -> Run {
    let mut run = world.running(1);
    let snapshot = block_on(world.store.load_snapshot(&run.tenant_id, run.run_id)).expect("reads");
    let mut snapshot = snapshot.expect("a snapshot");
    let leaf = |id: &str, kind: NodeRun, data_source: Option<Value>| {
        let mut node = snapshot.nodes[0].clone();
        node.node_id = id.parse().expect("a node");
        (node.run, node.data_source) = (kind, data_source);
        node
    };
    let value = serde_json::from_str(WRITTEN).expect("JSON");
    let arn: FunctionArn = "arn:aws:lambda:eu-west-1:123456789012:function:p".parse().expect("an ARN");
    let function = NodeRun::Lambda { function_arn: QualifiedArn::new(&arn, None) };
    let nodes = vec![
        leaf("approval", NodeRun::External, None),
        leaf("given", NodeRun::Value, Some(value)),
        leaf("work", function, None),
    ];
    snapshot.leaves = nodes.iter().map(|node| node.node_id.clone()).collect();
    snapshot.stages = vec![snapshot.leaves.clone()];
    (snapshot.nodes, snapshot.edges) = (nodes, Vec::new());
    run.snapshot.has_given_results = snapshot.ending().is_some_and(|ending| ending.has_given_results());
    let text = snapshot.to_text().expect("a text");
    world.store.seed_run(run.clone(), Some(text));
    for (node, result) in [("approval", Some(WRITTEN)), ("given", None), ("work", Some(READ))] {
        let step = Step {
            run_id: run.run_id,
            node_id: node.parse().expect("a node"),
            node_type: "processor".to_owned(),
            stage: 0,
            status: StepStatus::Succeeded,
            attempt: 1,
            started_at: Some(world.clock.now()),
            ended_at: Some(world.clock.now()),
            result: result.map(str::to_owned),
            result_bytes: Some(WRITTEN.len() as u64),
            error: None,
            progress: None,
            iteration: None,
            fan: None,
        };
        world.store.seed_step(&run.tenant_id, step);
    }
    run
}

/// Of the JSON texts, only that a number is written so.
fn numbers(text: &str, name: &str) -> String {
    let value: Value = serde_json::from_str(text).expect("JSON");
    let of = &value["results"][name];
    ["id", "price", "most", "least", "tiny"].map(|number| of[number].to_string()).join(" ")
}

/// As a reader of JSON texts compares them: it writes every exponent with a small letter.
const AS_WRITTEN: &str = "9007199254740993 1.10 1e+2 -0 1e-7";

#[test]
fn a_run_ends_with_what_its_callers_wrote_and_its_webhook_says_the_same() {
    let world = World::new();
    let run = run(&world);
    let output = format!(r#"{{"results":{{"approval":{READ},"given":{READ},"work":{READ}}}}}"#);
    let settled = world.end(&run, EngineEnd::Succeeded, Some(&output)).expect("settled");
    let (_, shown) = block_on(get_run(&world.store, &world.caller, run.run_id, world.clock.now())).expect("reads");
    world.deliver(&settled.owed[0]);
    let webhook: Value = serde_json::from_str(&world.receiver.received()[0].body).expect("JSON");
    for text in [shown.expect("an output"), webhook["output"].to_string()] {
        assert_eq!(numbers(&text, "approval"), AS_WRITTEN);
        assert_eq!(numbers(&text, "given"), AS_WRITTEN);
        // A processor's result has come through the engine.
        assert_eq!(numbers(&text, "work"), "9007199254740992 1.1 100.0 0 1e-07");
    }
    for node in ["approval", "given"] {
        let node = node.parse().expect("a node");
        let step = block_on(get_step(&world.store, &world.caller, run.run_id, &node, world.clock.now()));
        let result = step.expect("reads").result.expect("a result");
        assert_eq!(numbers(&format!(r#"{{"results":{{"it":{result}}}}}"#), "it"), AS_WRITTEN);
    }
}

#[test]
fn a_reference_stays_a_reference_and_an_output_of_another_form_stays_as_it_is() {
    let world = World::new();
    let run = run(&world);
    let reference = json!({"resultRef": {
        "runId": run.run_id, "nodeId": "approval", "href": format!("/v1/workflow-runs/{}/steps/approval", run.run_id), "bytes": 120_000,
    }});
    let output = json!({"results": {"approval": reference, "nobody": 1}}).to_string();
    world.end(&run, EngineEnd::Succeeded, Some(&output)).expect("settled");
    let (_, shown) = block_on(get_run(&world.store, &world.caller, run.run_id, world.clock.now())).expect("reads");
    assert_eq!(shown.as_deref(), Some(output.as_str()));

    for output in [r#"[1.10]"#, r#"{"results":[1.10]}"#, r#"{"other":1.10}"#, "1.10"] {
        let world = World::new();
        let run = self::run(&world);
        world.end(&run, EngineEnd::Succeeded, Some(output)).expect("settled");
        let (_, shown) = block_on(get_run(&world.store, &world.caller, run.run_id, world.clock.now())).expect("reads");
        assert_eq!(shown.as_deref(), Some(output));
    }
}

#[test]
fn what_only_looks_like_a_reference_is_none() {
    for (is_of_the_run, node, bytes) in [
        (false, "approval", json!(120_000)),
        (true, "given", json!(120_000)),
        (true, "approval", json!("120000")),
        (true, "approval", Value::Null),
        (false, "given", json!(120_000)),
        (false, "approval", Value::Null),
        (true, "given", Value::Null),
    ] {
        let world = World::new();
        let run = self::run(&world);
        let run_id = if is_of_the_run { run.run_id } else { fixture::run_id(77) };
        let alike = json!({"resultRef": {"runId": run_id, "nodeId": node, "bytes": bytes}});
        let output = json!({"results": {"approval": alike}}).to_string();
        world.end(&run, EngineEnd::Succeeded, Some(&output)).expect("settled");
        let (_, shown) = block_on(get_run(&world.store, &world.caller, run.run_id, world.clock.now())).expect("reads");
        assert_eq!(numbers(&shown.expect("an output"), "approval"), AS_WRITTEN, "{alike}");
    }
}

#[test]
fn an_output_that_is_no_json_is_said_to_be_left_out() {
    // An engine that knows numbers beyond a double writes them so.
    let world = World::new();
    let run = run(&world);
    let settled = world.end(&run, EngineEnd::Succeeded, Some(r#"{"results":{"work":Infinity}}"#)).expect("settled");
    world.deliver(&settled.owed[0]);
    let webhook: Value = serde_json::from_str(&world.receiver.received()[0].body).expect("JSON");
    assert_eq!((&webhook["outputOmitted"], webhook.get("output")), (&json!(true), None));
    assert_eq!(webhook["status"], "SUCCEEDED");
}

#[test]
fn the_plan_says_how_large_its_values_are_and_how_much_room_they_leave() {
    let world = World::new();
    let run = run(&world);
    let snapshot = block_on(world.store.load_snapshot(&run.tenant_id, run.run_id)).expect("reads").expect("a snapshot");
    let keys = sluice_core::ports::RecordRun::record_keys(&world.store, &run.tenant_id, run.run_id);
    let bound = |filler: &str| {
        let mut snapshot = snapshot.clone();
        snapshot.nodes[2].params.insert("filler".to_owned(), filler.into());
        let text = snapshot.execution_input(&keys).expect("an input");
        let input: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            input["valueBytes"],
            json!({"given": snapshot.value_of(&"given".parse().expect("a node")).expect("its text").len()})
        );
        let inline = input["inlineResultBytes"].as_u64().expect("a bound") as usize;
        // The plan and every result together fit into a state.
        assert!(text.len() + snapshot.nodes.len() * inline <= 250_000, "{} and {inline}", text.len());
        inline
    };
    let ascii = bound(&"a".repeat(200_000));
    for letter in ["é", "漢", "😀"] {
        // As many bytes of any letter leave as much room.
        let other = bound(&letter.repeat(200_000 / letter.len()));
        assert!(other.abs_diff(ascii) <= 2, "{letter}: {other} and {ascii}");
    }
    assert!(ascii < bound(""), "a larger plan leaves less");
}
