use crate::course::{plain, started_at};
use crate::world::{World, command};
use serde_json::json;
use sluice_core::caller::Caller;
use sluice_core::definition::{VersionDocument, VersionRule};
use sluice_core::flow::control_run::answer_node;
use sluice_core::flow::create_run::{Accepted, Command, Source};
use sluice_core::flow::manage_definitions::{
    DefinitionChange, DiscoverFilter, add_version, change_definition, deprecate_version, discover_definitions,
    get_discoverable_version, save_draft,
};
use sluice_core::flow::manage_operator::save_processor;
use sluice_core::flow::replay_run;
use sluice_core::flow::transition_run::transition;
use sluice_core::flow::{Answer, Refusal};
use sluice_core::id::DefinitionRef;
use sluice_core::lifecycle::{EngineEnd, RunEvent};
use sluice_core::operator::Tenants;
use sluice_core::ports::{Clock, LoadRun};
use sluice_core::run::EndDetails;
use sluice_core::snapshot::NodeRun;
use sluice_testkit::{block_on, fixture};

fn definition() -> DefinitionRef {
    DefinitionRef::Id(fixture::definition_id(7))
}

fn of_version(version: VersionRule) -> Command {
    let mut command = command();
    if let Source::Configuration { version: rule, .. } = &mut command.source {
        *rule = version;
    }
    command
}

fn refusal(answer: Answer<Accepted>) -> (String, &'static str) {
    match answer {
        Err(Refusal::Invalid(invalid)) => {
            (invalid.violations[0].place.to_string(), invalid.violations[0].code.as_str())
        }
        other => panic!("{other:?}"),
    }
}

impl World {
    fn share(&self, discoverable: bool) {
        let tags = Some(["text".to_owned()].into());
        let said = DefinitionChange { discoverable: Some(discoverable), tags, ..DefinitionChange::default() };
        block_on(change_definition(&self.store, &self.caller, &definition(), said, self.clock.now())).expect("shared");
    }

    fn add(&self, document: VersionDocument, activate: bool) {
        let now = self.clock.now();
        block_on(add_version(&self.store, &self.caller, &definition(), document, activate, now)).expect("added");
    }
}

#[test]
fn a_deprecated_version_makes_no_new_runs() {
    let world = World::new();
    let now = world.clock.now();
    block_on(deprecate_version(&world.store, &world.caller, &definition(), 1, now)).expect("deprecated");
    let at = "Version".to_owned();
    for rule in [VersionRule::Active, VersionRule::Latest, VersionRule::Number(1)] {
        assert_eq!(refusal(world.create(of_version(rule), 1)), (at.clone(), "version_deprecated"), "{rule}");
    }
    world.add(fixture::document(), true);
    world.create(of_version(VersionRule::Active), 2).expect("another version is fine");
    let activate = sluice_core::flow::manage_definitions::activate_version;
    block_on(activate(&world.store, &world.caller, &definition(), 1, now)).expect("activated");
    world.create(of_version(VersionRule::Number(1)), 3).expect("activating takes the deprecation back");
}

#[test]
fn a_draft_is_run_by_its_owner_and_by_nobody_else() {
    let world = World::new();
    let at = "Version".to_owned();
    assert_eq!(refusal(world.create(of_version(VersionRule::Draft), 1)), (at.clone(), "no_such_version"));
    let now = world.clock.now();
    block_on(save_draft(&world.store, &world.caller, &definition(), fixture::document(), now)).expect("saved");
    let run = world.create(of_version(VersionRule::Draft), 2).expect("accepted").run;
    assert_eq!(run.spec.version, 0);
    world.share(true);
    let other = fixture::caller("other");
    let refused = world.create_as(&other, of_version(VersionRule::Draft), 3);
    let Err(Refusal::Invalid(invalid)) = &refused else { panic!("{refused:?}") };
    assert_eq!(invalid.violations[0].message, "workflow definition text-report has no draft version");
    assert_eq!(refusal(refused), (at, "no_such_version"));
}

#[test]
fn which_processor_of_a_shared_definition_is_closed_is_its_owners_business() {
    let world = World::new();
    world.share(true);
    let operator = Caller { is_operator: true, ..fixture::caller("operator") };
    let mut processor = fixture::processors(world.clock.now()).swap_remove(1);
    let key = processor.key.to_string();
    processor.tenants = Tenants(Vec::new());
    block_on(save_processor(&world.store, &operator, processor)).expect("saved");
    for (caller, is_owner) in [(world.caller.clone(), true), (fixture::caller("other"), false)] {
        let refused = world.create_as(&caller, command(), 1);
        let Err(Refusal::Invalid(invalid)) = &refused else { panic!("{refused:?}") };
        let said = invalid.to_string();
        assert_eq!(
            (said.contains(&key), invalid.violations[0].code.as_str()),
            (is_owner, "unknown_processor"),
            "{said}"
        );
    }
}

#[test]
fn what_a_private_node_takes_is_not_told_to_who_starts_behind_it() {
    for (private, is_owner) in [(true, false), (true, true), (false, false)] {
        let ask = json!({"type": "external", "schema": {"enum": ["innermost"]}});
        let with = |id: &str, private: bool| {
            let mut node = ask.clone();
            (node["id"], node["private"]) = (json!(id), json!(private));
            node
        };
        let world = World::of_workers(json!({
            "nodes": [with("hidden", private), with("open", false), plain("last")],
            "edges": [{"from": "hidden", "to": "last"}, {"from": "open", "to": "last"}],
        }));
        world.share(true);
        let caller = if is_owner { world.caller.clone() } else { fixture::caller("other") };
        let results = json!({"hidden": "wrong", "open": "wrong"});
        let start = started_at(Some(json!({"fromNodeId": "last", "results": results})));
        let Err(Refusal::Invalid(invalid)) = world.create_as(&caller, start, 1) else { panic!("a schema violation") };
        let told: Vec<(String, bool)> = invalid
            .violations
            .iter()
            .map(|fault| (fault.place.to_string(), fault.message.contains("innermost")))
            .collect();
        let is_told = !private || is_owner;
        let of = |node: &str, is_told| (format!("Results<{node}>"), is_told);
        assert_eq!(told, [of("hidden", is_told), of("open", true)], "{private} {is_owner}");
    }
}

#[test]
fn other_tenants_find_and_run_what_is_shared_under_their_own_roof() {
    let world = World::new();
    let other = fixture::caller("other");
    let found = |filter: DiscoverFilter| {
        let page = block_on(discover_definitions(&world.store, &filter, 10, None)).expect("lists");
        page.items.len()
    };
    assert_eq!(found(DiscoverFilter::default()), 0);
    let not_shared = world.create_as(&other, command(), 1);
    assert_eq!(refusal(not_shared).1, "not_found");
    world.share(true);
    let text = |text: &str| DiscoverFilter { text: Some(text.to_owned()), tag: None };
    assert_eq!((found(DiscoverFilter::default()), found(text("TEXT REP")), found(text("nothing"))), (1, 1, 0));
    let tag = |tag: &str| DiscoverFilter { text: None, tag: Some(tag.to_owned()) };
    assert_eq!((found(tag("text")), found(tag("tex"))), (1, 0));
    let run = world.create_as(&other, command(), 2).expect("accepted").run;
    assert_eq!(
        (run.tenant_id.as_str(), run.spec.definition_owner.as_ref().map(|owner| owner.as_str())),
        ("other", Some("acme"))
    );
    assert!(block_on(world.store.load_run(&world.caller.tenant, run.run_id)).expect("reads").is_none());
    let now = world.clock.now();
    block_on(deprecate_version(&world.store, &world.caller, &definition(), 1, now)).expect("deprecated");
    assert_eq!((found(DiscoverFilter::default()), found(tag("text"))), (0, 0), "its active version makes no runs");
    world.share(false);
    assert_eq!(refusal(world.create_as(&other, command(), 3)).1, "not_found");
}

#[test]
fn what_the_owner_marked_private_is_hidden_from_who_runs_it() {
    let world = World::new();
    let mut document = fixture::document();
    document.nodes[1].private = true;
    document.nodes[1].parameters.values_mut().for_each(|parameter| parameter.default = Some(json!("x")));
    document.nodes[1].parameters.retain(|_, parameter| parameter.parameter_type.admits(&json!("x")));
    if let Some(formula) = document.nodes[2].parameters.get_mut("formula") {
        formula.private = true;
    }
    world.add(document, true);
    world.share(true);
    let other = fixture::caller("other");
    let run = world.create_as(&other, command(), 1).expect("accepted").run;
    let snapshot = block_on(world.store.load_snapshot(&other.tenant, run.run_id)).expect("reads").expect("a snapshot");
    assert!(!snapshot.nodes[1].params.is_empty());
    let seen = snapshot.as_seen_by_tenant();
    assert_eq!((&seen.nodes[1].run, seen.nodes[1].params.len()), (&NodeRun::Hidden, 0));
    assert!(seen.nodes[2].params.is_empty() && seen.nodes[2].run != NodeRun::Hidden);
    let rule = VersionRule::Active;
    let shown = block_on(get_discoverable_version(&world.store, fixture::definition_id(7), rule));
    let (_, version) = shown.expect("found");
    assert!(version.document.nodes[1].processor.is_none() && version.document.nodes[1].parameters.is_empty());
    // To its owner nothing is hidden.
    let own = world.create(command(), 2).expect("accepted").run;
    let snapshot = block_on(world.store.load_snapshot(&own.tenant_id, own.run_id)).expect("reads").expect("a snapshot");
    assert_ne!(snapshot.as_seen_by_tenant().nodes[1].run, NodeRun::Hidden);
}

#[test]
fn what_is_no_longer_shared_is_not_repeated() {
    let world = World::new();
    world.share(true);
    let other = fixture::caller("other");
    let run = world.create_as(&other, command(), 1).expect("accepted").run;
    assert!(world.engine.claim(&world.store, &run.execution_arn(), world.clock.now()));
    let run = block_on(world.store.load_run(&other.tenant, run.run_id)).expect("reads").expect("a run");
    let (end, details) = (RunEvent::EngineEnded(EngineEnd::Failed), EndDetails::default());
    let settled = block_on(transition(&world.store, run.clone(), end, &details, world.clock.now()));
    assert!(settled.expect("settles").is_some());
    let replay = |id| {
        let (policy, run_id, now) = (fixture::policy(), fixture::run_id(id), world.clock.now());
        let (store, engine, again) = (&world.store, &world.engine, replay_run::Command::default());
        block_on(replay_run::replay_run(store, engine, &policy, &other, run.run_id, again, fixture::fresh(run_id), now))
    };
    replay(2).expect("it is shared");
    world.share(false);
    assert_eq!(refusal(replay(3)).1, "not_available");
}

#[test]
fn the_schema_of_a_private_node_is_not_told_to_who_runs_it() {
    let world = World::new();
    let node = |private: bool| json!({"nodes": [{"id": "ask", "type": "external", "schema": {"enum": ["innermost"]}, "private": private}]});
    for (index, private) in [(0, true), (1, false)] {
        world.add(serde_json::from_value(node(private)).expect("a document"), true);
        world.share(true);
        let other = fixture::caller("other");
        let plain = Command { processor_params: Default::default(), ..command() };
        let run = world.create_as(&other, plain, 1 + index).expect("accepted").run;
        assert!(world.engine.claim(&world.store, &run.execution_arn(), world.clock.now()));
        world.store.update_run(&other.tenant, run.run_id, |run| run.awaiting("ask", world.clock.now()));
        let (ask, now) = ("ask".parse().expect("a node"), world.clock.now());
        let wrong = r#""wrong""#.to_owned();
        let refused = block_on(answer_node(&world.store, &world.engine, &other, run.run_id, &ask, wrong, now));
        let Err(Refusal::Invalid(invalid)) = refused else { panic!("{refused:?}") };
        assert_eq!(invalid.violations[0].message.contains("innermost"), !private, "{invalid}");
    }
}

#[test]
fn a_run_can_be_replayed_on_another_version_with_what_its_request_said() {
    let world = World::new();
    let run = world.running(1);
    world.end(&run, EngineEnd::Failed, None).expect("settled");
    let mut document = fixture::document();
    document.nodes[2].tag = Some("v2".parse().expect("a tag"));
    world.add(document, false);
    let replay = |version, id| {
        let command = replay_run::Command { version: Some(version), ..replay_run::Command::default() };
        let (policy, run_id, now) = (fixture::policy(), fixture::run_id(id), world.clock.now());
        let (store, engine) = (&world.store, &world.engine);
        block_on(replay_run::replay_run(
            store,
            engine,
            &policy,
            &world.caller,
            run.run_id,
            command,
            fixture::fresh(run_id),
            now,
        ))
    };
    let replayed = replay(VersionRule::Latest, 2).expect("accepted").run;
    assert_eq!(
        (replayed.spec.version, replayed.about.replay_of, replayed.snapshot.has_callback),
        (2, Some(run.run_id), true)
    );
    let snapshot = block_on(world.store.load_snapshot(&run.tenant_id, replayed.run_id)).expect("reads").expect("one");
    assert_eq!(snapshot.nodes[2].params["formula"], "flesch");
    assert_eq!(snapshot.nodes[2].tag.as_ref().map(|tag| tag.as_str()), Some("v2"));
    assert_eq!(refusal(replay(VersionRule::Number(9), 3)), ("Version".to_owned(), "no_such_version"));
}

#[test]
fn a_run_that_evaluates_another_is_linked_to_it() {
    let world = World::new();
    let run = world.running(1);
    let evaluating = Command { evaluation_of: Some(run.run_id), ..command() };
    let evaluation = world.create(evaluating.clone(), 2).expect("accepted").run;
    let links = block_on(sluice_core::ports::ReadRuns::list_links(&world.store, &run.tenant_id, run.run_id));
    assert_eq!(links.expect("reads").evaluations, [evaluation.run_id]);
    let nobody = Command { evaluation_of: Some(fixture::run_id(99)), ..command() };
    assert_eq!(refusal(world.create(nobody, 3)), ("EvaluationOf".to_owned(), "not_found"));
    world.share(true);
    let theirs = world.create_as(&fixture::caller("other"), evaluating, 4);
    assert_eq!(refusal(theirs), ("EvaluationOf".to_owned(), "not_found"));
}
