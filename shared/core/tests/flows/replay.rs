use crate::world::{World, command, with_callback};
use serde_json::{Value, json};
use sluice_core::caller::Caller;
use sluice_core::flow::create_run::Accepted;
use sluice_core::flow::manage_operator::{save_compute_node, save_processor};
use sluice_core::flow::replay_run::{Command, replay_run};
use sluice_core::flow::{Answer, Refusal};
use sluice_core::id::NodeId;
use sluice_core::idempotency::{IdempotencyClaim, Operation};
use sluice_core::lifecycle::{EngineEnd, RunStatus};
use sluice_core::limits;
use sluice_core::ports::{Clock, LoadRun, ReadRuns};
use sluice_core::refusal::ConflictCode;
use sluice_core::run::Run;
use sluice_core::step::{Step, StepStatus};
use sluice_testkit::{block_on, fixture};

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
