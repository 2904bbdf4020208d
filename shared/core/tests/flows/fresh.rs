//! A change that was answered counts at once, in every process, and a request that is refused leaves nothing.

use crate::world::{World, cap, command, with_callback, with_key};
use serde_json::json;
use sluice_core::caller::Caller;
use sluice_core::catalog::{InstanceKey, SettingsKey};
use sluice_core::concurrency::{Concurrency, OnLimit, QueueRef};
use sluice_core::flow::create_run::{Accepted, Command, Source};
use sluice_core::flow::manage_definitions::{
    DefinitionChange, activate_version, add_version, change_definition, deprecate_version, save_draft,
};
use sluice_core::flow::manage_operator::{save_compute_node, save_layer, save_processor, save_tenant};
use sluice_core::flow::{Answer, Refusal};
use sluice_core::id::DefinitionRef;
use sluice_core::instance::{InstanceContent, ProcessorConfig};
use sluice_core::lifecycle::{EngineEnd, RunStatus, TerminationReason};
use sluice_core::operator::{LayerStatus, TenantSettings};
use sluice_core::ports::{Clock, ReadCatalog, StoreErrorClass};
use sluice_testkit::fault::Fault;
use sluice_testkit::store::{Counter, Laxity, MemoryStore};
use sluice_testkit::{block_on, fixture};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

fn definition() -> DefinitionRef {
    DefinitionRef::Id(fixture::definition_id(7))
}

fn operator() -> Caller {
    Caller { is_operator: true, ..fixture::caller("operator") }
}

/// What a change is made by: another process than the one that makes the runs.
struct Elsewhere<'a> {
    store: MemoryStore,
    world: &'a World,
}

impl Elsewhere<'_> {
    fn change(&self, said: DefinitionChange) {
        let (owner, now) = (&self.world.caller, self.world.clock.now());
        block_on(change_definition(&self.store, owner, &definition(), said, now)).expect("changed");
    }

    fn add_version(&self, activate: bool) {
        let (owner, at, now) = (&self.world.caller, definition(), self.world.clock.now());
        let added = add_version(&self.store, owner, &at, fixture::document(), activate, now);
        block_on(added).expect("added");
    }

    fn limit(&self, concurrency: Concurrency) {
        self.set(|settings| settings.concurrency = Some(concurrency));
    }

    fn set(&self, change: impl FnOnce(&mut TenantSettings)) {
        let tenant = &self.world.caller.tenant;
        let found = block_on(self.store.get(&SettingsKey(tenant.clone()))).expect("an answer");
        let mut settings =
            found.map_or_else(|| TenantSettings::open(tenant.clone()), |settings| TenantSettings::clone(&settings));
        change(&mut settings);
        let destinations = fixture::policy().destinations;
        block_on(save_tenant(&self.store, &operator(), &destinations, settings)).expect("saved");
    }
}

/// The codes of a refusal, or the version, status and number of slots of the run.
fn told(answer: &Answer<Accepted>) -> String {
    match answer {
        Ok(Accepted { run, .. }) => format!("{} {} {}", run.spec.version, run.status().as_str(), run.slots.len()),
        Err(Refusal::Invalid(invalid)) => {
            let codes: Vec<String> =
                invalid.violations.iter().map(|violation| violation.code.as_str().to_owned()).collect();
            codes.join(" ")
        }
        Err(Refusal::TooManyRuns { limit, .. }) => format!("above {limit}"),
        Err(other) => panic!("{other:?}"),
    }
}

/// A change, what asks for a run after it, and what that is told.
type Row = (&'static str, fn(&Elsewhere<'_>), fn(Command) -> Command, &'static str);

fn same(command: Command) -> Command {
    command
}

fn with_layer(mut command: Command) -> Command {
    command.layers = vec!["models".parse().expect("a layer")];
    command
}

fn of_draft(mut command: Command) -> Command {
    if let Source::Configuration { version, .. } = &mut command.source {
        *version = sluice_core::definition::VersionRule::Draft;
    }
    command
}

const ONE_AT_A_TIME: Concurrency = Concurrency { max_concurrent_runs: 1, on_limit: OnLimit::Reject };
const ONE_THEN_QUEUE: Concurrency = Concurrency { max_concurrent_runs: 1, on_limit: OnLimit::Queue };

/// Everything that admits a run and can change.
const CHANGES: &[Row] = &[
    ("nothing", |_| {}, same, "1 PENDING 0"),
    (
        "the version is deprecated",
        |it| {
            let (owner, now) = (&it.world.caller, it.world.clock.now());
            block_on(deprecate_version(&it.store, owner, &definition(), 1, now)).expect("deprecated");
        },
        same,
        "version_deprecated",
    ),
    ("another version is added and activated", |it| it.add_version(true), same, "2 PENDING 0"),
    (
        "an older version is activated again",
        |it| {
            it.add_version(true);
            let (owner, now) = (&it.world.caller, it.world.clock.now());
            block_on(deprecate_version(&it.store, owner, &definition(), 1, now)).expect("deprecated");
            block_on(activate_version(&it.store, owner, &definition(), 1, now)).expect("activated");
        },
        same,
        "1 PENDING 0",
    ),
    ("the tenant gets a limit", |it| it.limit(ONE_AT_A_TIME), same, "above 1"),
    ("the tenant gets a queue", |it| it.limit(ONE_THEN_QUEUE), same, "1 QUEUED 0"),
    (
        "the definition gets a limit",
        |it| it.change(DefinitionChange { concurrency: Some(Some(ONE_AT_A_TIME)), ..DefinitionChange::default() }),
        same,
        "1 PENDING 1",
    ),
    (
        "the tenant's destinations are closed",
        |it| it.set(|settings| settings.destinations = Some(Vec::new())),
        same,
        "callback_url_not_allowed",
    ),
    (
        "a processor is withdrawn",
        |it| {
            let mut processor = fixture::processors(it.world.clock.now()).remove(1);
            processor.tenants = fixture::only("another");
            block_on(save_processor(&it.store, &operator(), processor)).expect("saved");
        },
        same,
        "unknown_processor",
    ),
    (
        "a processor offers the tag no more",
        |it| {
            let mut processor = fixture::processors(it.world.clock.now()).remove(1);
            processor.tags = Some(BTreeSet::new());
            block_on(save_processor(&it.store, &operator(), processor)).expect("saved");
        },
        same,
        "invalid_tag",
    ),
    (
        "the compute node is withdrawn",
        |it| {
            let mut node = fixture::compute_node(it.world.clock.now());
            node.tenants = fixture::only("another");
            block_on(save_compute_node(&it.store, &operator(), node, None)).expect("saved");
        },
        same,
        "not_found",
    ),
    (
        "a layer of the compute node fails",
        |it| {
            let (node, layer) = ("default".parse().expect("a key"), "models".parse().expect("a layer"));
            let now = it.world.clock.now();
            block_on(save_layer(&it.store, &operator(), &node, layer, LayerStatus::Failed, now)).expect("saved");
        },
        with_layer,
        "layer_not_ready",
    ),
    (
        "the draft is written anew",
        |it| {
            let document = json!({"nodes": [{"id": "only", "type": "data-source"}]});
            let document = serde_json::from_value(document).expect("a document");
            let (owner, now) = (&it.world.caller, it.world.clock.now());
            block_on(save_draft(&it.store, owner, &definition(), document, now)).expect("saved");
        },
        of_draft,
        "unknown_node",
    ),
];

/// Warm, the change, once more: what the second request is told, and whether it was refused without a trace.
fn second(change: fn(&Elsewhere<'_>), asked: fn(Command) -> Command, laxity: Option<Laxity>) -> String {
    let mut world = World::new();
    world.store.laxity = laxity;
    let owner = world.caller.clone();
    let elsewhere = world.store.another_process();
    block_on(save_draft(&elsewhere, &owner, &definition(), fixture::document(), world.clock.now())).expect("saved");
    // Somebody holds a slot already, so that a limit of one is reached.
    let queue = QueueRef { tenant_id: owner.tenant, definition_id: None };
    world.store.seed_counter(&queue, Counter { held: 1, queued: 0 });
    let warm = world.create(asked(with_callback(command())), 1).expect("accepted");
    assert_eq!(warm.run.status(), RunStatus::Pending);
    change(&Elsewhere { store: world.store.another_process(), world: &world });
    let before = world.store.writes();
    let answer = world.create(asked(with_callback(command())), 2);
    assert_eq!(world.store.writes() > before, answer.is_ok(), "a refused request writes nothing");
    told(&answer)
}

#[test]
fn a_change_counts_for_the_next_request_whichever_process_made_it() {
    for (what, change, asked, expected) in CHANGES {
        assert_eq!(second(*change, *asked, None), *expected, "{what}");
    }
}

/// The test above would not let a cache pass.
#[test]
fn a_process_that_answers_from_what_it_remembers_is_noticed() {
    let unchanged = CHANGES[0].3;
    for (what, change, asked, expected) in CHANGES.iter().filter(|(.., expected)| *expected != unchanged) {
        assert_ne!(second(*change, *asked, Some(Laxity::CatalogRemembered)), *expected, "{what}");
    }
}

#[test]
fn what_its_owner_no_longer_shares_is_not_run_by_others() {
    for laxity in [None, Some(Laxity::CatalogRemembered)] {
        let mut world = World::new();
        world.store.laxity = laxity;
        let share = |shared| {
            let elsewhere = Elsewhere { store: world.store.another_process(), world: &world };
            elsewhere.change(DefinitionChange { discoverable: Some(shared), ..DefinitionChange::default() });
        };
        share(true);
        let create = |id| world.create_as(&fixture::caller("other"), command(), id);
        create(1).expect("accepted");
        share(false);
        assert_eq!(create(2).is_err(), laxity.is_none(), "{laxity:?}");
    }
}

#[test]
fn a_refused_request_leaves_no_instance_either() {
    let content = |formula: &str| {
        let config = ProcessorConfig { params: BTreeMap::from([("formula".to_owned(), formula.into())]), tag: None };
        BTreeMap::from([("readability".parse().expect("a node"), config)])
    };
    let configured = |formula: &str| {
        let mut command = command();
        if let Source::Configuration { processor_configs, .. } = &mut command.source {
            *processor_configs = content(formula);
        }
        command.processor_params.clear();
        command
    };
    let world = World::new();
    let instance = |formula: &str| {
        let content = InstanceContent {
            definition_id: fixture::definition_id(7),
            version: sluice_core::definition::VersionRule::Active,
            compute_node: "default".parse().expect("a key"),
            processor_configs: content(formula),
        };
        let key = InstanceKey { tenant: world.caller.tenant.clone(), id: content.id(&world.caller.tenant) };
        block_on(world.store.get(&key)).expect("an answer")
    };
    let elsewhere = Elsewhere { store: world.store.another_process(), world: &world };
    world.create(with_key(configured("first"), "key", "payload"), 1).expect("accepted");
    assert!(instance("first").is_some(), "recorded with its first run");

    elsewhere.limit(ONE_AT_A_TIME);
    world.create(configured("holds the slot"), 2).expect("accepted");
    let invalid = Command { execution_budget: cap("-1"), ..configured("refused") };
    let before = world.store.writes();
    for (what, command) in [
        ("a key that was used", with_key(configured("refused"), "key", "another payload")),
        ("a limit that is reached", configured("refused")),
        ("bad input", invalid),
    ] {
        world.create(command, 3).expect_err(what);
        assert_eq!((world.store.writes(), instance("refused")), (before, None), "{what}");
    }
}

/// What is withdrawn, and how.
type Withdrawal = (&'static str, fn(&Elsewhere<'_>));

/// What a tenant may use and then may not: the compute node, and each processor of the definition.
fn withdrawals() -> Vec<Withdrawal> {
    fn processor(it: &Elsewhere<'_>, index: usize) {
        let mut processor = fixture::processors(it.world.clock.now()).remove(index);
        processor.tenants = fixture::only("another");
        block_on(save_processor(&it.store, &operator(), processor)).expect("saved");
    }
    vec![
        ("compute node default", |it| {
            let mut node = fixture::compute_node(it.world.clock.now());
            node.tenants = fixture::only("another");
            block_on(save_compute_node(&it.store, &operator(), node, None)).expect("saved");
        }),
        ("processor word-frequencies", |it| processor(it, 0)),
        ("processor readability", |it| processor(it, 1)),
        ("processor store-object", |it| processor(it, 2)),
    ]
}

#[test]
fn a_run_that_waited_is_started_only_if_its_tenant_may_still_use_what_it_was_planned_with() {
    for (what, withdraw) in withdrawals() {
        for is_lost in [false, true] {
            let world = World::new();
            let elsewhere = Elsewhere { store: world.store.another_process(), world: &world };
            let waiting = if is_lost {
                // Recorded, and nobody saw it start.
                world.engine.faults.once("start the execution", Fault::Before(StoreErrorClass::Throttled));
                world.pending(2)
            } else {
                elsewhere.limit(ONE_THEN_QUEUE);
                let first = world.running(1);
                let waiting = world.pending(2);
                assert_eq!(waiting.status(), RunStatus::Queued);
                world.end(&first, EngineEnd::Succeeded, Some("{}")).expect("settled");
                waiting
            };
            withdraw(&elsewhere);
            world.clock.advance(30);
            let summary = world.reconcile();
            let run = world.run(waiting.run_id);
            let ended = run.state.ended().unwrap_or_else(|| panic!("{what}: {summary:?}"));
            let error = ended.error.as_ref().expect("an error");
            assert_eq!((ended.reason, error.code.as_str()), (TerminationReason::StartFailed, "Sluice.Withdrawn"));
            assert_eq!(error.message, format!("{what} is not open to this tenant any more"));
            assert_eq!(
                (summary.started, summary.dispatched, summary.ended.as_slice()),
                (0, 0, [RunStatus::Failed].as_slice())
            );
            assert!(world.engine.execution(&run.execution_arn()).is_none(), "{what}: nothing was started");
            assert!(
                world.store.counters().values().all(|counter| *counter == Counter::default()),
                "{what}: its slot is free"
            );
            let owed = world.store.deliveries().iter().filter(|(delivery, _)| delivery.run_id == run.run_id).count();
            assert_eq!(owed, 2, "{what}: its caller is told");
        }
    }
}

#[test]
fn a_process_asks_at_once_for_everything_that_it_has_heard_of() {
    let world = World::new();
    let asked = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    world.store.faults.set(move |called| {
        counted.fetch_add(u32::from(called == "read the catalog"), Ordering::Relaxed);
        None
    });
    let (other, said) = (fixture::caller("other"), DefinitionChange { discoverable: Some(true), ..Default::default() });
    block_on(change_definition(&world.store, &world.caller, &definition(), said, world.clock.now())).expect("shared");
    // What the one tenant's request has told of the definition helps the other's.
    for (caller, ids, questions) in [(&world.caller, 1..4, [2, 1, 1]), (&other, 4..7, [1, 1, 1])] {
        let told = ids.map(|id| {
            world.create_as(caller, command(), id).expect("accepted");
            asked.swap(0, Ordering::Relaxed)
        });
        asked.store(0, Ordering::Relaxed);
        assert_eq!(told.collect::<Vec<_>>(), questions, "{}", caller.tenant);
    }
}

#[test]
fn a_compute_node_declared_anew_keeps_its_layers_unless_others_are_named() {
    let world = World::new();
    let declare = |layers| {
        let node = fixture::compute_node(world.clock.now());
        block_on(save_compute_node(&world.store, &operator(), node, layers)).expect("saved").layers
    };
    let (key, layer) = ("default".parse().expect("a key"), "models".parse().expect("a layer"));
    let now = world.clock.now();
    let node = block_on(save_layer(&world.store, &operator(), &key, layer, LayerStatus::Failed, now)).expect("saved");
    assert_eq!(declare(None), node.layers, "as a layer's own request left them");
    let named = BTreeMap::from([("corpora".parse().expect("a layer"), LayerStatus::Ready)]);
    assert_eq!(declare(Some(named.clone())), named);
    assert_eq!(declare(None), named);
    assert_eq!(declare(Some(BTreeMap::new())), BTreeMap::new());
    assert_eq!(declare(None), BTreeMap::new());
}
