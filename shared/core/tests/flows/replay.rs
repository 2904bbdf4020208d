use crate::course::{plain, started_at};
use crate::crew::world_of;
use crate::world::{World, cap, command, raw, with_callback};
use serde_json::{Value, json};
use sluice_core::caller::{Caller, Principal};
use sluice_core::concurrency::{Concurrency, OnLimit};
use sluice_core::definition::VersionRule;
use sluice_core::flow::create_run::{self, Accepted, Policy, Source, create_run};
use sluice_core::flow::manage_definitions::{DefinitionChange, change_definition};
use sluice_core::flow::manage_operator::{save_compute_node, save_layer, save_processor, save_tenant};
use sluice_core::flow::replay_run::{Command, replay_run};
use sluice_core::flow::{Answer, Refusal};
use sluice_core::governor::ledger::Ledger;
use sluice_core::id::{DefinitionRef, NodeId};
use sluice_core::idempotency::{IdempotencyClaim, Operation};
use sluice_core::instance::ProcessorConfig;
use sluice_core::lifecycle::{EngineEnd, RunStatus};
use sluice_core::limits;
use sluice_core::operator::{ComputeNode, LayerStatus, TenantSettings};
use sluice_core::ports::{Clock, LoadRun, ReadRuns, RunRef};
use sluice_core::refusal::ConflictCode;
use sluice_core::retention::Retention;
use sluice_core::run::{About, Run, RunSpec, SnapshotRef};
use sluice_core::step::{Step, StepStatus};
use sluice_testkit::{block_on, fixture};
use std::collections::{BTreeMap, BTreeSet};

impl World {
    fn replay(&self, original: &Run, command: Command, id: u128) -> Answer<Accepted> {
        let (run_id, now) = (fixture::run_id(id), self.clock.now());
        let policy = fixture::policy();
        block_on(replay_run(
            &self.store,
            &self.engine,
            &policy,
            &self.caller,
            original.run_id,
            command,
            fixture::fresh(run_id),
            now,
        ))
    }

    /// A failed run whose source and frequencies had finished.
    fn failed(&self) -> Run {
        let run = self.running(1);
        for (node, status, result) in [
            ("text", StepStatus::Succeeded, Some(r#"{"key":"a.txt"}"#.to_owned())),
            (
                "frequencies",
                StepStatus::Succeeded,
                Some(format!("{{\"words\":\"{}\",\"n\":1.10}}", "x".repeat(40_000))),
            ),
            ("readability", StepStatus::Failed, None),
        ] {
            let step = Step {
                run_id: run.run_id,
                node_id: node.parse().expect("a node"),
                node_type: "processor".to_owned(),
                stage: 0,
                status,
                attempt: 1,
                started_at: Some(self.clock.now()),
                ended_at: Some(self.clock.now()),
                result_bytes: result.as_ref().map(|text| text.len() as u64),
                result,
                error: None,
                progress: None,
                iteration: None,
                fan: None,
            };
            self.store.seed_step(&run.tenant_id, step);
        }
        self.end(&run, EngineEnd::Failed, None).expect("settled");
        self.run(run.run_id)
    }

    fn input(&self, run: &Run) -> Value {
        serde_json::from_str(&self.engine.execution(&run.execution_arn()).expect("started").input).expect("JSON")
    }
}

fn from(node: &str) -> Command {
    Command { from_node: node.parse::<NodeId>().ok(), ..Command::default() }
}

#[test]
fn a_replay_is_a_new_run_of_the_frozen_snapshot() {
    let world = World::new();
    let original = world.failed();
    let replayed = world.replay(&original, Command::default(), 2).expect("accepted").run;
    assert_eq!(
        (replayed.status(), replayed.about.replay_of, replayed.about.replay_depth),
        (RunStatus::Pending, Some(original.run_id), 1)
    );
    assert_eq!((replayed.spec.version, &replayed.about.name), (original.spec.version, &original.about.name));
    let (mut old, mut new) = (world.input(&original), world.input(&replayed));
    for input in [&mut old, &mut new] {
        input["runId"] = Value::Null;
        input["record"] = Value::Null;
    }
    assert_eq!(old, new, "the plan is the same");
    assert_eq!(
        block_on(world.store.list_links(&original.tenant_id, original.run_id)).expect("reads").replays,
        [replayed.run_id]
    );
    assert!(world.engine.claim(&world.store, &replayed.execution_arn(), world.clock.now()));
    world.end(&replayed, EngineEnd::Succeeded, Some("{}")).expect("settled");
    assert_eq!(world.run(original.run_id).status(), RunStatus::Failed, "the original stays as it ended");
}

#[test]
fn a_replay_from_a_node_reuses_what_had_finished_before_it() {
    let world = World::new();
    let original = world.failed();
    let replayed = world.replay(&original, from("readability"), 2).expect("accepted").run;
    let input = world.input(&replayed);
    let node = |stage: usize, index: usize| input["stages"][stage][index].clone();
    assert_eq!(
        (node(0, 0)["run"]["kind"].clone(), node(0, 0)["dataSource"].clone()),
        (json!("value"), json!({"key": "a.txt"}))
    );
    let reference = &node(1, 0)["dataSource"]["resultRef"];
    assert_eq!(node(1, 0)["run"]["kind"], "value");
    assert_eq!(
        reference["href"],
        format!("/v1/workflow-runs/{}/steps/frequencies", original.run_id),
        "a large result by reference"
    );
    assert_eq!(node(1, 1)["run"]["kind"], "lambda", "the node itself runs again");
    assert_eq!(node(2, 0)["run"]["kind"], "lambda", "and what comes after it");
}

#[test]
fn a_node_after_the_chosen_one_is_never_reused() {
    let world = World::new();
    let original = world.failed();
    let input = world.input(&world.replay(&original, from("text"), 2).expect("accepted").run);
    assert_eq!(input["stages"][1][0]["run"]["kind"], "lambda", "frequencies depends on text");
}

#[test]
fn only_an_ended_run_of_ones_own_can_be_replayed() {
    let mut world = World::new();
    let open = world.running(1);
    assert!(matches!(
        world.replay(&open, Command::default(), 2),
        Err(Refusal::Conflict { code: ConflictCode::RunOpen, .. })
    ));
    world.end(&open, EngineEnd::Failed, None).expect("settled");
    assert!(matches!(world.replay(&open, from("nowhere"), 3), Err(Refusal::Invalid(_))));
    world.caller = fixture::caller("other");
    assert!(matches!(world.replay(&open, Command::default(), 4), Err(Refusal::NotFound { .. })));
}

#[test]
fn the_chain_of_replays_is_bounded() {
    let world = World::new();
    let mut run = world.failed();
    for id in 0..u128::from(limits::REPLAY_DEPTH) {
        run = world.replay(&run, Command::default(), 10 + id).expect("accepted").run;
        world.engine.claim(&world.store, &run.execution_arn(), world.clock.now());
        world.end(&run, EngineEnd::Failed, None).expect("settled");
    }
    assert!(matches!(
        world.replay(&run, Command::default(), 99),
        Err(Refusal::Conflict { code: ConflictCode::LoopingRisk, .. })
    ));
}

#[test]
fn a_replay_keeps_the_callers_key_and_callback() {
    let world = World::new();
    let original = world.create(with_callback(command()), 1).expect("accepted").run;
    world.engine.claim(&world.store, &original.execution_arn(), world.clock.now());
    world.end(&original, EngineEnd::Failed, None).expect("settled");
    let keyed = || Command {
        idempotency: Some(IdempotencyClaim {
            operation: Operation::Replay,
            key: "again".parse().expect("a key"),
            payload_hash: "hash".to_owned(),
        }),
        ..Command::default()
    };
    let first = world.replay(&original, keyed(), 2).expect("accepted");
    let second = world.replay(&original, keyed(), 3).expect("accepted");
    assert!(!first.replayed && second.replayed);
    assert_eq!(first.run, second.run);
    world.engine.claim(&world.store, &first.run.execution_arn(), world.clock.now());
    let owed = world.end(&first.run, EngineEnd::Succeeded, Some("{}")).expect("settled").owed;
    assert_eq!(owed.len(), 2, "the webhook of the original, for the new run");
}

#[test]
fn a_replay_of_the_frozen_snapshot_runs_only_what_its_tenant_may_still_use() {
    // Whatever is withdrawn, and the node that the replay begins at: what is only repeated needs nothing of anybody.
    let cases = [
        ("compute node default", None, true),
        ("compute node default", Some("readability"), true),
        ("processor word-frequencies", None, true),
        ("processor word-frequencies", Some("text"), true),
        ("processor word-frequencies", Some("readability"), false),
        ("processor readability", None, true),
        ("processor readability", Some("readability"), true),
        ("processor store-object", Some("store"), true),
    ];
    for (what, begin, is_refused) in cases {
        let world = World::new();
        let original = world.failed();
        let operator = Caller { is_operator: true, ..world.caller.clone() };
        let (others, now) = (fixture::only("another"), world.clock.now());
        let elsewhere = world.store.another_process();
        match what.strip_prefix("processor ") {
            Some(key) => {
                let mut processors = fixture::processors(now).into_iter();
                let mut processor = processors.find(|processor| processor.key.to_string() == key).expect("one of them");
                processor.tenants = others;
                block_on(save_processor(&elsewhere, &operator, processor)).expect("saved");
            }
            None => {
                let mut node = fixture::compute_node(now);
                node.tenants = others;
                block_on(save_compute_node(&elsewhere, &operator, node, None)).expect("saved");
            }
        }
        let before = world.store.writes();
        let answer = world.replay(&original, begin.map_or_else(Command::default, from), 2);
        match answer {
            Ok(_) => assert!(!is_refused, "{what} from {begin:?}"),
            Err(Refusal::Invalid(invalid)) => {
                assert!(is_refused, "{what} from {begin:?}: {invalid:?}");
                let [violation] = invalid.violations.as_slice() else { panic!("{invalid:?}") };
                assert_eq!(violation.code.as_str(), "not_available");
                assert_eq!(violation.message, format!("{what} is not open to this tenant any more"));
                assert_eq!(world.store.writes(), before, "{what} from {begin:?}: nothing was written");
            }
            Err(other) => panic!("{what} from {begin:?}: {other:?}"),
        }
    }
}

#[test]
fn a_run_from_before_requests_were_kept_is_repeated_without_one() {
    let world = World::new();
    let kept = world.failed();
    world.replay(&kept, Command::default(), 2).expect("accepted");
    let request = |id: u128| block_on(world.store.load_request(&world.caller.tenant, fixture::run_id(id)));
    assert_eq!(request(2).expect("loaded"), request(1).expect("loaded"));
    let snapshot = block_on(world.store.load_snapshot(&kept.tenant_id, kept.run_id)).expect("reads");
    let old = Run { run_id: fixture::run_id(3), ..world.run(kept.run_id) };
    world.store.seed_run(old.clone(), Some(snapshot.expect("a snapshot").to_text().expect("JSON")));
    assert_eq!(request(3).expect("loaded"), None);
    world.replay(&old, Command::default(), 4).expect("accepted");
    assert_eq!(request(4).expect("loaded"), None, "nobody knows what it said");
}

/// What [`whole_run`] runs: every node says something of its own.
fn whole_document() -> Value {
    json!({
        "nodes": [
            {"id": "text", "type": "data-source"},
            {"id": "first", "type": "processor", "processor": "word-frequencies"},
            {"id": "second", "type": "processor", "processor": "readability",
             "parameters": {
                 "formula": {"type": "string"}, "language": {"type": "string", "default": "{{language}}"},
                 "depth": {"type": "integer"}, "token": {"type": "string", "default": "[[token]]"},
             },
             "retry": {"maxAttempts": 3, "intervalSeconds": 2, "backoffRate": 2}, "timeoutSeconds": 9,
             "when": {"pointer": "/results/first/n", "equals": "[[wanted]]"}},
            {"id": "third", "type": "processor", "processor": "readability"},
            {"id": "store", "type": "data-target", "processor": "store-object"},
        ],
        "edges": [
            {"from": "text", "to": "first"}, {"from": "first", "to": "second"}, {"from": "second", "to": "third"},
            {"from": "third", "to": "store"},
        ],
        "inputSchema": {"type": "object"},
        "failFast": false,
        "onBudgetExceeded": "refuse",
    })
}

/// A world in which a tenant runs another's definition, both with all that can be said of a definition and a tenant.
fn whole_world() -> World {
    let mut world = World::of_workers(whole_document());
    let (operator, now) = (Caller { is_operator: true, ..world.caller.clone() }, world.clock.now());
    let concurrency = |most| Concurrency { max_concurrent_runs: most, on_limit: OnLimit::Queue };
    let said = DefinitionChange {
        concurrency: Some(Some(concurrency(20))),
        exclude_paused_time: Some(true),
        discoverable: Some(true),
        ..DefinitionChange::default()
    };
    let definition = DefinitionRef::Id(fixture::definition_id(7));
    block_on(change_definition(&world.store, &world.caller, &definition, said, now)).expect("changed");
    let node = ComputeNode {
        key: "large".parse().expect("a key"),
        state_machine_arn: fixture::second_runner_arn(),
        ..fixture::compute_node(now)
    };
    let (key, layer) = (node.key.clone(), "models".parse().expect("a layer"));
    block_on(save_compute_node(&world.store, &operator, node, None)).expect("saved");
    block_on(save_layer(&world.store, &operator, &key, layer, LayerStatus::Ready, now)).expect("saved");
    for mut processor in fixture::processors(now) {
        processor.tags = Some(["v2", "v3"].map(|tag| tag.parse().expect("a tag")).into());
        processor.rev += 1;
        block_on(save_processor(&world.store, &operator, processor)).expect("saved");
    }
    world.caller = fixture::caller("other");
    let settings =
        TenantSettings { concurrency: Some(concurrency(30)), ..TenantSettings::open(world.caller.tenant.clone()) };
    block_on(save_tenant(&world.store, &operator, &fixture::policy().destinations, settings)).expect("saved");
    world
}

fn governing() -> Policy {
    Policy { governor_url: Some("https://api.example/prod".parse().expect("a URL")), ..fixture::policy() }
}

/// A run whose request leaves nothing out, and which has failed. It evaluates another run.
fn whole_run(world: &World) -> Run {
    let source = |compute_node: &str, processor_configs| Source::Configuration {
        definition: DefinitionRef::Id(fixture::definition_id(7)),
        version: VersionRule::Active,
        compute_node: compute_node.parse().ok(),
        processor_configs,
    };
    let node = |id: &str| id.parse::<NodeId>().expect("a node");
    let config = ProcessorConfig {
        params: BTreeMap::from([("depth".to_owned(), json!(4))]),
        tag: Some("v2".parse().expect("a tag")),
    };
    let asked = create_run::Command {
        name: Some("whole".to_owned()),
        input: Some(raw(r#"{"title": "x", "n":1.10}"#)),
        data_sources: BTreeMap::from([(node("text"), json!({"key": "a.txt"}))]),
        data_targets: BTreeMap::from([(node("store"), json!({"key": "b.json"}))]),
        processor_params: BTreeMap::from([(node("second"), BTreeMap::from([("formula".to_owned(), json!("flesch"))]))]),
        tags: BTreeMap::from([(node("third"), "v3".parse().expect("a tag"))]),
        layers: vec!["models".parse().expect("a layer")],
        labels: BTreeMap::from([("conversation".to_owned(), "c-17".to_owned())]),
        variables: serde_json::from_value(json!({
            "variables": {"language": "en"}, "runtimeVariables": {"token": "t", "wanted": 3},
        }))
        .expect("variables"),
        execution_budget: cap("12.5"),
        max_run_duration_seconds: Some(3_600),
        retention: Some(Retention { max_age_seconds: 86_400, preserve_on_failure: true }),
        evaluation_of: Some(fixture::run_id(1)),
        user_id: "ann".parse().ok(),
        start: serde_json::from_value(json!({"fromNodeId": "second", "results": {"first": {"n": 3}}})).ok(),
        ..with_callback(create_run::Command::new(source("large", BTreeMap::from([(node("second"), config)]))))
    };
    let evaluated = create_run::Command { start: None, evaluation_of: None, labels: BTreeMap::new(), ..asked.clone() };
    for (id, command) in [(1, evaluated), (2, asked)] {
        let (fresh, now) = (fixture::fresh(fixture::run_id(id)), world.clock.now());
        let (store, engine, policy) = (&world.store, &world.engine, governing());
        block_on(create_run(store, engine, &policy, &world.caller, command, fresh, now)).expect("accepted");
    }
    let run = world.run(fixture::run_id(2));
    assert!(world.engine.claim(&world.store, &run.execution_arn(), world.clock.now()));
    world.end(&run, EngineEnd::Failed, None).expect("settled");
    run
}

/// The stored snapshot as JSON, apart from what is another run's by its nature.
fn frozen(world: &World, run: &Run) -> Value {
    let snapshot = block_on(world.store.load_snapshot(&run.tenant_id, run.run_id)).expect("reads").expect("a snapshot");
    let governor = governing().governor_url.expect("a URL");
    let grant = fixture::fresh(run.run_id).grant;
    assert_eq!(snapshot.governor, Some(governor.of_run(&run.tenant_id, run.run_id, &grant)));
    assert_eq!((snapshot.run_id, &snapshot.spec), (run.run_id, &run.spec));
    let mut text: Value = serde_json::from_str(&snapshot.to_text().expect("JSON")).expect("JSON");
    let said = text.as_object_mut().expect("an object");
    for of_the_run in ["runId", "createdAt", "createdBy", "governor"] {
        assert!(said.remove(of_the_run).is_some(), "{of_the_run}");
    }
    text
}

#[test]
fn a_replay_says_everything_that_its_original_said() {
    for version in [None, Some(VersionRule::Active), Some(VersionRule::Number(2))] {
        let mut world = whole_world();
        let original = whole_run(&world);
        world.clock.advance(5);
        world.caller.principal = Principal("other/somebody-else".to_owned());
        let (fresh, now) = (fixture::fresh(fixture::run_id(3)), world.clock.now());
        let (store, engine, policy, caller) = (&world.store, &world.engine, governing(), &world.caller);
        let command = Command { version, ..Command::default() };
        let of = original.run_id;
        let replayed = block_on(replay_run(store, engine, &policy, caller, of, command, fresh, now));
        let replayed = replayed.expect("accepted").run;
        assert_eq!(
            replayed.about,
            About { replay_of: Some(of), replay_depth: 1, ..original.about.clone() },
            "on {version:?}"
        );
        // An instance has a rule for the version, so another rule makes another instance.
        let instance_id = match version {
            None | Some(VersionRule::Active) => original.spec.instance_id,
            Some(_) => replayed.spec.instance_id,
        };
        let (created_by, created_at) = (world.caller.principal.0.clone(), now);
        let expected = RunSpec { instance_id, created_by, created_at, ..original.spec.clone() };
        assert_eq!(replayed.spec, expected, "on {version:?}");
        let hash = replayed.snapshot.hash.clone();
        assert_eq!(replayed.snapshot, SnapshotRef { hash, ..original.snapshot.clone() });
        assert_eq!((replayed.slots.len(), &replayed.slots), (2, &original.slots));
        let (mut before, mut after) = (frozen(&world, &original), frozen(&world, &replayed));
        if instance_id != original.spec.instance_id {
            before["workflowInstanceId"] = Value::Null;
            after["workflowInstanceId"] = Value::Null;
        }
        assert_eq!(after, before, "on {version:?}");
        let request = |run: &Run| block_on(world.store.load_request(&run.tenant_id, run.run_id)).expect("loaded");
        assert_eq!(request(&replayed), request(&original), "on {version:?}");
        let ledger = |run: &Run| {
            let reference = RunRef { tenant_id: run.tenant_id.clone(), run_id: run.run_id };
            world.store.governed(&reference).expect("a ledger")
        };
        let (before, after) = (ledger(&original), ledger(&replayed));
        let Ledger { nodes, cap, on_exceeded, .. } = before;
        assert_eq!(after, Ledger { on_exceeded, ..Ledger::new(after.grant.clone(), nodes, cap) }, "on {version:?}");
    }
}

#[test]
fn a_replay_says_what_it_is_told_in_the_place_of_what_its_original_said() {
    let world = World::new();
    let original = world.failed();
    for (id, version) in [(2, None), (3, Some(VersionRule::Active))] {
        let told = Command { version, name: Some("again".to_owned()), user_id: "bob".parse().ok(), ..from("text") };
        let replayed = world.replay(&original, told, id).expect("accepted").run;
        assert_eq!(replayed.about.name, "again", "{version:?}");
        assert_eq!(replayed.spec.user_id, "bob".parse().ok(), "{version:?}");
    }
}

#[test]
fn a_replay_from_before_the_start_of_its_original_leaves_out_only_what_does_not_come_after() {
    let world = world_of(
        json!([plain("a"), plain("b"), plain("c"), plain("apart"), plain("behind")]),
        &[("a", "b"), ("b", "c"), ("apart", "behind")],
    );
    let start = json!({"fromNodeId": "c", "results": {"b": {"n": 1}}});
    let original = world.create(started_at(Some(start)), 1).expect("accepted").run;
    assert!(world.engine.claim(&world.store, &original.execution_arn(), world.clock.now()));
    world.end(&original, EngineEnd::Failed, None).expect("settled");
    let left_out = |id| {
        let snapshot = world.snapshot(id);
        let nodes = snapshot.nodes.iter().filter(|node| node.left_out);
        nodes.map(|node| node.node_id.to_string()).collect::<BTreeSet<_>>()
    };
    assert_eq!(left_out(1), ["a", "apart", "behind"].map(str::to_owned).into());
    for (id, node, expected) in
        [(2, "a", vec!["apart", "behind"]), (3, "apart", vec!["a"]), (4, "c", vec!["a", "apart", "behind"])]
    {
        world.replay(&original, from(node), id).expect("accepted");
        assert_eq!(left_out(id), expected.into_iter().map(str::to_owned).collect(), "from {node}");
    }
}
