//! What a run freezes of the course that its nodes take, and where it may start.

use crate::world::World;
use serde_json::{Value, json};
use sluice_core::caller::Caller;
use sluice_core::definition::VersionDocument;
use sluice_core::directive::Start;
use sluice_core::flow::create_run::Command;
use sluice_core::flow::manage_definitions::add_version;
use sluice_core::flow::manage_operator::save_compute_node;
use sluice_core::flow::{Answer, Refusal};

use sluice_core::id::DefinitionRef;
use sluice_core::ports::{Clock, LoadRun};
use sluice_core::snapshot::{NodeRun, Snapshot};
use sluice_testkit::{block_on, fixture};

impl World {
    /// One whose compute node `default` has a runner of the second generation, and whose definition's active version says this.
    pub fn of_workers(document: Value) -> Self {
        let world = Self::new();
        let mut node = fixture::compute_node(world.clock.now());
        node.state_machine_arn = fixture::second_runner_arn();
        node.rev = 2;
        let operator = Caller { is_operator: true, ..world.caller.clone() };
        block_on(save_compute_node(&world.store, &operator, node, None)).expect("saved");
        world.activate(document).expect("taken");
        world
    }

    pub fn activate(&self, document: Value) -> Answer<u32> {
        let document: VersionDocument = serde_json::from_value(document).expect("the document's shape");
        let definition = DefinitionRef::Id(fixture::definition_id(7));
        block_on(add_version(&self.store, &self.caller, &definition, document, true, self.clock.now()))
            .map(|(_, version)| version.number)
    }

    pub fn snapshot(&self, id: u128) -> Snapshot {
        let loaded = block_on(self.store.load_snapshot(&self.caller.tenant, fixture::run_id(id)));
        loaded.expect("the store answers").expect("a snapshot")
    }
}

/// A command for the definition's active version, with nothing but this start.
pub fn started_at(start: Option<Value>) -> Command {
    let mut command = Command::new(fixture::active(DefinitionRef::Id(fixture::definition_id(7))));
    command.start = start.map(|start| serde_json::from_value::<Start>(start).expect("a start"));
    command
}

pub fn plain(id: &str) -> Value {
    json!({"id": id, "type": "processor", "processor": "readability"})
}

/// `first` before `second` before `third`; `apart` beside them; `person`, who is asked for a truth value, before `second`.
fn document() -> Value {
    let mut second = plain("second");
    second["when"] = json!({"pointer": "/results/{{of}}/n", "equals": "[[wanted]]"});
    second["forEach"] = json!({"items": "{{items}}", "maxItems": 3});
    json!({
        "nodes": [
            plain("first"), second, plain("third"), plain("apart"),
            {"id": "person", "type": "external", "schema": {"type": "boolean"}},
        ],
        "edges": [
            {"from": "first", "to": "second"}, {"from": "second", "to": "third"}, {"from": "person", "to": "second"},
        ],
        "failFast": false,
    })
}

fn with_variables(mut command: Command, of: &str, items: Value) -> Command {
    command.variables.variables.insert("of".to_owned(), json!(of));
    command.variables.variables.insert("items".to_owned(), items);
    command.variables.runtime_variables.insert("wanted".to_owned(), json!({"a": 1}));
    command
}

fn faults(answer: Answer<impl std::fmt::Debug>) -> Vec<(String, &'static str)> {
    let Err(Refusal::Invalid(invalid)) = answer else { panic!("{answer:?}") };
    invalid.violations.iter().map(|one| (one.place.to_string(), one.code.as_str())).collect()
}

#[test]
fn what_rules_a_node_is_frozen_with_its_placeholders_filled_and_checked_again() {
    let world = World::of_workers(document());
    let run = |of: &str, items: Value, id| world.create(with_variables(started_at(None), of, items), id);
    run("first", json!([1, "b"]), 1).expect("accepted");
    let snapshot = world.snapshot(1);
    assert!(!snapshot.fail_fast && snapshot.from_node_id.is_none());
    assert_eq!(
        serde_json::to_value(&snapshot.nodes[1].directives).expect("JSON"),
        json!({
            "when": {"pointer": "/results/first/n", "equals": {"a": 1}},
            "forEach": {"items": [1, "b"], "maxConcurrency": 10, "maxItems": 3},
        })
    );
    let again: Snapshot = serde_json::from_str(&snapshot.to_text().expect("JSON")).expect("it reads");
    assert_eq!(again.nodes, snapshot.nodes);
    for (of, items, place, code) in [
        ("third", json!([]), "When.Pointer", "invalid"),
        ("nobody", json!([]), "When.Pointer", "unknown_node"),
        ("first", json!([1, 2, 3, 4]), "ForEach.Items", "too_many"),
        ("first", json!({}), "ForEach.Items", "wrong_type"),
        ("first", json!("/results/third"), "ForEach.Items", "invalid"),
    ] {
        let writes = world.store.writes();
        assert_eq!(
            faults(run(of, items.clone(), 2)),
            [(format!("Document.Nodes<second>.{place}"), code)],
            "{of} {items}"
        );
        assert_eq!(world.store.writes(), writes);
    }
    let unfilled = faults(world.create(started_at(None), 3));
    assert_eq!(unfilled.len(), 3, "{unfilled:?}");
    assert!(unfilled.iter().all(|(_, code)| *code == "unresolved_variable"), "{unfilled:?}");
}

#[test]
fn an_execution_of_the_second_generation_is_given_its_workers_and_not_the_plan() {
    let world = World::of_workers(document());
    let run = world.create(with_variables(started_at(None), "first", json!([1, 2])), 1).expect("accepted").run;
    let execution = world.engine.execution(&run.execution_arn()).expect("started");
    let input: Value = serde_json::from_str(&execution.input).expect("JSON");
    // Two items of `second`, or `first`, and `apart` beside them.
    assert_eq!((&input["specVersion"], &input["workers"]), (&json!("2"), &json!([0, 1, 2])));
    assert_eq!((&input["tenantId"], &input["runId"]), (&json!("acme"), &json!(run.run_id)));
    assert!(input["record"]["pk"].is_string() && input["stages"].is_null() && input["nodes"].is_null());
}

#[test]
fn a_run_may_start_in_the_middle_with_the_results_of_what_comes_before() {
    let world = World::of_workers(document());
    let start = |start: Value, id| world.create(with_variables(started_at(Some(start)), "first", json!([1])), id);
    let given = r#"{"fromNodeId": "second", "results": {"first": {"n":1.10}, "person": true}}"#;
    start(serde_json::from_str(given).expect("JSON"), 1).expect("accepted");
    let snapshot = world.snapshot(1);
    assert_eq!(snapshot.from_node_id.as_ref().map(ToString::to_string).as_deref(), Some("second"));
    let said: Vec<(bool, bool, bool)> =
        snapshot.nodes.iter().map(|node| (node.left_out, node.given, node.run == NodeRun::Value)).collect();
    let (given, runs, left_out) = ((false, true, true), (false, false, false), (true, false, false));
    assert_eq!(said, [given, runs, runs, left_out, given]);
    assert_eq!(snapshot.nodes[0].data_source.as_ref().map(ToString::to_string).as_deref(), Some(r#"{"n":1.10}"#));
    assert_eq!(snapshot.schedule().expect("a graph").workers(), 1, "what is left out takes no worker");
    // What is left out needs no variables.
    world.create(started_at(Some(json!({"fromNodeId": "third"}))), 2).expect("accepted");
    for (said, expected) in [
        (json!({"fromNodeId": "nobody"}), vec![("FromNode", "unknown_node")]),
        (json!({"fromNodeId": "second", "results": {"nobody": 1}}), vec![("Results<nobody>", "unknown_node")]),
        (
            json!({"fromNodeId": "second", "results": {"apart": 1, "second": 1, "third": 1}}),
            vec![("Results<apart>", "invalid"), ("Results<second>", "invalid"), ("Results<third>", "invalid")],
        ),
        (json!({"fromNodeId": "second", "results": {"person": "yes"}}), vec![("Results<person>", "schema_violation")]),
    ] {
        let writes = world.store.writes();
        let expected: Vec<(String, &str)> = expected.iter().map(|(place, code)| ((*place).to_owned(), *code)).collect();
        assert_eq!(faults(start(said.clone(), 3)), expected, "{said}");
        assert_eq!(world.store.writes(), writes, "{said}");
    }
}

#[test]
fn a_runner_of_the_first_generation_is_not_given_what_it_does_not_know() {
    let world = World::new();
    world.activate(document()).expect("taken");
    let ruled = world.create(with_variables(started_at(None), "first", json!([])), 1);
    assert_eq!(faults(ruled), [("ComputeNode".to_owned(), "not_available")]);
    let ruled = || json!({"id": "a", "type": "processor", "processor": "readability", "onFailure": "continue"});
    for (node, fail_fast) in [(ruled(), true), (plain("a"), false)] {
        world.activate(json!({"nodes": [node], "failFast": fail_fast})).expect("taken");
        assert_eq!(faults(world.create(started_at(None), 1)), [("ComputeNode".to_owned(), "not_available")]);
    }
    world.activate(json!({"nodes": [plain("a"), plain("b")], "edges": [{"from": "a", "to": "b"}]})).expect("taken");
    let started = world.create(started_at(Some(json!({"fromNodeId": "b"}))), 1);
    assert_eq!(faults(started), [("FromNode".to_owned(), "not_available")]);
    let run = world.create(started_at(None), 1).expect("accepted").run;
    let text = world.snapshot(1).to_text().expect("JSON");
    for new in ["directives", "failFast", "fromNodeId", "leftOut", "given"] {
        assert!(!text.contains(new), "what says nothing new is written as before: {new}");
    }
    let execution = world.engine.execution(&run.execution_arn()).expect("started");
    let input: Value = serde_json::from_str(&execution.input).expect("JSON");
    assert_eq!((&input["specVersion"], input["stages"].as_array().map(Vec::len)), (&json!("1"), Some(2)));
}

#[test]
fn a_node_that_no_worker_could_be_handed_is_refused_before_its_run_is_recorded() {
    let mut node = plain("a");
    node["parameters"] = json!({"text": {"type": "string"}});
    let world = World::of_workers(json!({"nodes": [node]}));
    // Each quote is two bytes of what a worker is told.
    for (id, quotes, fits) in [(1, 129_000, true), (2, 130_900, false)] {
        let mut command = started_at(None);
        let params = json!({"a": {"text": "\"".repeat(quotes)}});
        command.processor_params = serde_json::from_value(params).expect("parameters");
        let writes = world.store.writes();
        match world.create(command, id) {
            Ok(_) => assert!(fits, "{quotes} quotes"),
            Err(Refusal::Invalid(invalid)) => {
                assert!(!fits && invalid.to_string().contains("what node a is handed"), "{invalid}");
                assert_eq!(world.store.writes(), writes);
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}
