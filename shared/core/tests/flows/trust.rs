//! Whom the operator trusts with what: tags of a processor, secrets, destinations; and what a hash may tell.

use crate::world::{World, command, with_callback};
use serde_json::{Value, json};
use sluice_core::caller::Caller;
use sluice_core::canonical::sha256_hex;
use sluice_core::catalog::VersionKey;
use sluice_core::concurrency::{Concurrency, OnLimit};
use sluice_core::definition::VersionDocument;
use sluice_core::flow::create_run::{Accepted, Command, Policy, Source, create_run};
use sluice_core::flow::manage_definitions::{DefinitionChange, add_version, change_definition};
use sluice_core::flow::manage_keys::{create_key, delete_key, list_keys};
use sluice_core::flow::manage_models::{delete_model, get_model, list_models, save_model};
use sluice_core::flow::manage_operator::{
    get_compute_node, get_processor, get_tenant, list_compute_nodes, list_processors, list_tenants, save_processor,
    save_tenant,
};
use sluice_core::flow::{Answer, Refusal, replay_run};
use sluice_core::governor::declaration::{ModelDeclaration, PriceDeclaration, RatesDeclaration, TierDeclaration};
use sluice_core::id::{DefinitionRef, ModelKey, ProcessorKey, Tag, TenantId};
use sluice_core::instance::ProcessorConfig;
use sluice_core::lifecycle::{EngineEnd, RunEvent};
use sluice_core::limits;
use sluice_core::operator::{Admitted, TenantSettings, Tenants, Unlisted};
use sluice_core::ports::{Clock, LoadRun, ManageDefinitions, ReadCatalog};
use sluice_core::prepared::PreparedVersion;
use sluice_core::refusal::ConflictCode;
use sluice_core::retention::Retention;
use sluice_core::run::{EndDetails, Run};
use sluice_core::tenant_limits::OwnLimits;
use sluice_testkit::{block_on, fixture};
use std::collections::BTreeMap;

fn operator() -> Caller {
    Caller { is_operator: true, ..fixture::caller("operator") }
}

fn definition() -> DefinitionRef {
    DefinitionRef::Id(fixture::definition_id(7))
}

fn tag(text: &str) -> Tag {
    text.parse().expect("a tag")
}

/// The run's version, or the places and codes of what it was refused for.
fn told(answer: Answer<Accepted>) -> Result<u32, Vec<(String, &'static str)>> {
    match answer {
        Ok(accepted) => Ok(accepted.run.spec.version),
        Err(Refusal::Invalid(invalid)) => {
            let violations = invalid.violations.iter();
            Err(violations.map(|violation| (violation.place.to_string(), violation.code.as_str())).collect())
        }
        Err(other) => panic!("{other:?}"),
    }
}

fn refused(place: &str, code: &'static str) -> Result<u32, Vec<(String, &'static str)>> {
    Err(vec![(place.to_owned(), code)])
}

impl World {
    fn offer(&self, tags: Option<&[&str]>) {
        let mut processor = fixture::processors(self.clock.now()).remove(1);
        processor.tags = tags.map(|tags| tags.iter().map(|text| tag(text)).collect());
        block_on(save_processor(&self.store, &operator(), processor)).expect("saved");
    }

    fn set(&self, tenant: &TenantId, change: impl FnOnce(&mut TenantSettings)) {
        let mut settings = TenantSettings::open(tenant.clone());
        change(&mut settings);
        block_on(save_tenant(&self.store, &operator(), &fixture::policy().destinations, settings)).expect("saved");
    }

    fn secrets_of(&self, tenant: &TenantId, prefixes: &[&str]) {
        let prefixes = prefixes.iter().map(|name| arn(name).try_into().expect("a prefix"));
        self.set(tenant, |settings| settings.secret_prefixes = Some(prefixes.collect()));
    }

    fn publish(&self, document: Value) {
        let document: VersionDocument = serde_json::from_value(document).expect("a document");
        let now = self.clock.now();
        block_on(add_version(&self.store, &self.caller, &definition(), document, true, now)).expect("added");
    }

    fn shared(&self) {
        let said = DefinitionChange { discoverable: Some(true), ..DefinitionChange::default() };
        block_on(change_definition(&self.store, &self.caller, &definition(), said, self.clock.now())).expect("shared");
    }

    fn create_where(&self, unlisted: Unlisted, command: Command, id: u128) -> Answer<Accepted> {
        let policy = Policy { unlisted, ..fixture::policy() };
        let now = self.clock.now();
        block_on(create_run(
            &self.store,
            &self.engine,
            &policy,
            &self.caller,
            command,
            fixture::fresh(fixture::run_id(id)),
            now,
        ))
    }

    fn fail(&self, run: &Run) {
        assert!(self.engine.claim(&self.store, &run.execution_arn(), self.clock.now()));
        let run = block_on(self.store.load_run(&run.tenant_id, run.run_id)).expect("reads").expect("a run");
        let (event, details) = (RunEvent::EngineEnded(EngineEnd::Failed), EndDetails::default());
        let settle = sluice_core::flow::transition_run::transition(&self.store, run, event, &details, self.clock.now());
        assert!(block_on(settle).expect("settles").is_some());
    }

    fn replay_where(&self, unlisted: Unlisted, original: &Run, id: u128) -> Answer<Accepted> {
        let policy = Policy { unlisted, ..fixture::policy() };
        let (again, now) = (replay_run::Command::default(), self.clock.now());
        let (caller, run_id) = (&self.caller, fixture::run_id(id));
        let replay = replay_run::replay_run;
        block_on(replay(
            &self.store,
            &self.engine,
            &policy,
            caller,
            original.run_id,
            again,
            fixture::fresh(run_id),
            now,
        ))
    }
}

fn tagged(node: &str, text: &str) -> Command {
    Command { tags: BTreeMap::from([(node.parse().expect("a node"), tag(text))]), ..command() }
}

fn configured(node: &str, text: &str) -> Command {
    let mut command = command();
    if let Source::Configuration { processor_configs, .. } = &mut command.source {
        let config = ProcessorConfig { params: BTreeMap::new(), tag: Some(tag(text)) };
        processor_configs.insert(node.parse().expect("a node"), config);
    }
    command
}

#[test]
fn a_processor_runs_with_the_tags_that_it_offers() {
    // The version itself says `live`.
    let at_run = "ProcessorTags<readability>";
    let rows = [
        (None::<&[&str]>, "live", Ok(1)),
        (None, "7", Ok(1)),
        (None, "$LATEST", refused(at_run, "invalid_tag")),
        (None, "$latest", refused(at_run, "invalid_tag")),
        (None, "$ANYTHING", refused(at_run, "invalid_tag")),
        (Some(&["live", "7"]), "7", Ok(1)),
        (Some(&["live", "7"]), "8", refused(at_run, "invalid_tag")),
        (Some(&["live", "$LATEST"]), "$LATEST", Ok(1)),
        (Some(&["live"]), "$LATEST", refused(at_run, "invalid_tag")),
    ];
    for (offered, chosen, expected) in rows {
        let world = World::new();
        world.offer(offered);
        let writes = world.store.writes();
        let answer = told(world.create(tagged("readability", chosen), 1));
        assert_eq!(answer, expected, "{chosen} of {offered:?}");
        assert_eq!(answer.is_err(), world.store.writes() == writes, "{chosen} of {offered:?}");
        let by_instance = told(world.create(configured("readability", chosen), 2));
        assert_eq!(by_instance.is_ok(), expected.is_ok(), "{chosen} of {offered:?} by the instance");
    }
    let world = World::new();
    world.offer(Some(&["8"]));
    let by_version = told(world.create(command(), 1));
    assert_eq!(by_version, refused("Document.Nodes[2].Tag", "invalid_tag"), "what the version says is judged as well");
}

#[test]
fn what_a_private_node_runs_is_its_owners_choice() {
    let world = World::new();
    let mut document = serde_json::to_value(fixture::document()).expect("JSON");
    document["nodes"][2]["private"] = json!(true);
    world.publish(document);
    world.shared();
    let other = fixture::caller("other");
    let refusal = |command, id| told(world.create_as(&other, command, id));
    assert_eq!(refusal(tagged("readability", "7"), 1), refused("ProcessorTags<readability>", "unexpected_tag"));
    let by_instance = refused("ProcessorConfigs<readability>.Tag", "unexpected_tag");
    assert_eq!(refusal(configured("readability", "7"), 2), by_instance);
    assert_eq!(refusal(tagged("frequencies", "7"), 3), Ok(2), "a node that is not private");
    assert_eq!(told(world.create(tagged("readability", "7"), 4)), Ok(2), "its owner");
}

#[test]
fn a_replay_asks_again_for_its_tags() {
    let world = World::new();
    world.offer(Some(&["live", "7"]));
    let original = world.create(tagged("readability", "7"), 1).expect("accepted").run;
    world.fail(&original);
    world.replay_where(Unlisted::Open, &original, 2).expect("accepted");
    world.offer(Some(&["live"]));
    assert_eq!(told(world.replay_where(Unlisted::Open, &original, 3)), refused("Whole", "not_available"));
}

fn arn(name: &str) -> String {
    format!("arn:aws:secretsmanager:eu-west-1:123456789012:secret:{name}")
}

fn reference(name: &str) -> Value {
    json!({"secretRef": arn(name)})
}

/// A version whose one node takes a secret and an object.
fn with_secret(default: Option<Value>) -> Value {
    let mut key = json!({"type": "secret"});
    if let Some(default) = default {
        key["default"] = default;
    }
    json!({"nodes": [{"id": "ask", "type": "processor", "processor": "readability",
        "parameters": {"key": key, "options": {"type": "object"}}}]})
}

fn with_param(name: &str, value: Value) -> Command {
    let params = BTreeMap::from([(name.to_owned(), value)]);
    let processor_params = BTreeMap::from([("ask".parse().expect("a node"), params)]);
    Command { processor_params, ..bare() }
}

fn bare() -> Command {
    Command { data_sources: BTreeMap::new(), ..Command::new(fixture::active(definition())) }
}

#[test]
fn parameters_refer_to_the_tenants_own_secrets_wherever_they_stand() {
    let world = World::new();
    world.secrets_of(&world.caller.tenant, &["acme/"]);
    world.publish(with_secret(None));
    let at = |name: &str| format!(r#"ProcessorParams<ask>{{"{name}"}}"#);
    let rows = [
        ("key", reference("acme/llm"), true),
        ("key", reference("acme2/llm"), false),
        ("key", reference("other/llm"), false),
        ("options", json!({"deep": [{"it": reference("acme/llm")}]}), true),
        ("options", json!({"deep": [{"it": reference("other/llm")}]}), false),
        ("options", json!({"secretRef": arn("other/llm"), "beside": 1}), false),
        ("options", json!({"secretRef": "no ARN"}), false),
        ("options", json!({"secretRef": 5, "name": arn("other/llm")}), true),
    ];
    for ((name, value, is_admitted), id) in rows.into_iter().zip(10..) {
        let answer = told(world.create_where(Unlisted::Open, with_param(name, value.clone()), id));
        let expected = if is_admitted { Ok(2) } else { refused(&at(name), "secret_not_allowed") };
        assert_eq!(answer, expected, "{value}");
    }
    // By the instance.
    let mut command = bare();
    if let Source::Configuration { processor_configs, .. } = &mut command.source {
        let params = BTreeMap::from([("key".to_owned(), reference("other/llm"))]);
        processor_configs.insert("ask".parse().expect("a node"), ProcessorConfig { params, tag: None });
    }
    let expected = refused(r#"ProcessorConfigs<ask>.Params{"key"}"#, "secret_not_allowed");
    assert_eq!(told(world.create_where(Unlisted::Open, command, 2)), expected);
}

#[test]
fn a_shared_version_names_its_owners_secrets_and_nobody_elses() {
    for (owners, default, is_admitted) in [
        (&["acme/"], reference("acme/llm"), true),
        (&["acme/"], reference("other/llm"), false),
        (&["acme/"], reference("acme/{{name}}"), false),
        (&["acme/"], json!({"secretRef": format!("{}{{{{name}}}}", arn(""))}), false),
    ] {
        let world = World::new();
        let other = fixture::caller("other");
        world.secrets_of(&world.caller.tenant, owners);
        world.secrets_of(&other.tenant, &["mine/"]);
        world.publish(with_secret(Some(default.clone())));
        world.shared();
        let mut command = bare();
        command.variables.variables.insert("name".to_owned(), json!("acme/hidden"));
        let answer = told(world.create_as(&other, command, 1));
        let expected = match is_admitted {
            true => Ok(2),
            false => refused(r#"Document.Nodes<ask>.Parameters{"key"}.Default"#, "secret_not_allowed"),
        };
        assert_eq!(answer, expected, "{default}");
        // What the owner may name is not what whoever runs it may name.
        let stolen = told(world.create_as(&other, with_param("key", reference("acme/llm")), 2));
        assert_eq!(stolen, refused(r#"ProcessorParams<ask>{"key"}"#, "secret_not_allowed"), "{default}");
        assert_eq!(told(world.create_as(&other, with_param("key", reference("mine/llm")), 3)), Ok(2), "{default}");
    }
}

#[test]
fn no_list_no_callbacks_and_no_secrets() {
    let world = World::new();
    let acme = world.caller.tenant.clone();
    world.publish(with_secret(None));
    let called_back = || Command { callback: with_callback(bare()).callback, ..bare() };
    let with_key = || with_param("key", reference("acme/llm"));
    let callback = || refused("CallbackUrl", "callback_url_not_allowed");
    let secret = || refused(r#"ProcessorParams<ask>{"key"}"#, "secret_not_allowed");

    assert_eq!(told(world.create_where(Unlisted::Closed, called_back(), 1)), callback());
    assert_eq!(told(world.create_where(Unlisted::Closed, with_key(), 1)), secret());
    assert_eq!(told(world.create_where(Unlisted::Closed, bare(), 1)), Ok(2), "everything else goes on");
    let called = world.create_where(Unlisted::Open, called_back(), 2).expect("accepted").run;
    let keyed = world.create_where(Unlisted::Open, with_key(), 3).expect("accepted").run;
    for run in [&called, &keyed] {
        world.fail(run);
    }
    assert_eq!(told(world.replay_where(Unlisted::Closed, &called, 4)), callback());
    assert_eq!(told(world.replay_where(Unlisted::Closed, &keyed, 4)), refused("Whole", "not_available"));

    let url = url::Url::parse(fixture::CALLBACK_URL).expect("a URL");
    world.set(&acme, |settings| {
        settings.destinations = Some(vec![url.origin().ascii_serialization()]);
        settings.secret_prefixes = Some(vec![arn("acme/").try_into().expect("a prefix")]);
    });
    assert_eq!(told(world.create_where(Unlisted::Closed, called_back(), 5)), Ok(2));
    assert_eq!(told(world.create_where(Unlisted::Closed, with_key(), 6)), Ok(2));
    assert_eq!(told(world.replay_where(Unlisted::Closed, &called, 7)), Ok(2));
    assert_eq!(told(world.replay_where(Unlisted::Closed, &keyed, 8)), Ok(2));

    world.secrets_of(&acme, &["elsewhere/"]);
    assert_eq!(told(world.replay_where(Unlisted::Open, &keyed, 9)), refused("Whole", "not_available"), "withdrawn");
}

#[test]
fn a_hash_says_nothing_of_what_is_hidden() {
    let run_by = |caller: &str, private: Value, url: &str| {
        let world = World::new();
        let mut document = with_secret(None);
        document["nodes"][0]["parameters"]["pin"] = json!({"type": "integer", "default": private, "private": true});
        world.publish(document);
        world.shared();
        let mut command = with_callback(bare());
        if let Some(callback) = &mut command.callback {
            callback.url = url.to_owned();
        }
        let run = world.create_as(&fixture::caller(caller), command, 1).expect("accepted").run;
        let snapshot = block_on(world.store.load_snapshot(&run.tenant_id, run.run_id)).expect("reads");
        (run.snapshot.hash, snapshot.expect("a snapshot"))
    };
    let other_url = format!("{}/other", fixture::CALLBACK_URL.trim_end_matches('/'));
    let (one, seen) = run_by("other", json!(1234), fixture::CALLBACK_URL);
    let (two, _) = run_by("other", json!(4321), &other_url);
    assert_eq!(one, two, "the same for every value that its reader may not see");
    // Its reader can compute it.
    let mut seen = seen.as_seen_by_tenant();
    seen.callback = None;
    assert_eq!(one, sha256_hex(&[&serde_json::to_string(&seen).expect("JSON")]));
    let (own, _) = run_by("acme", json!(1234), fixture::CALLBACK_URL);
    let (changed, _) = run_by("acme", json!(4321), fixture::CALLBACK_URL);
    assert_ne!(own, changed, "its owner sees the value");
}

#[test]
fn a_stored_version_is_judged_by_the_bound_that_it_was_kept_under() {
    // More than today's runner could surely run to their end, all of them failing and the account busy all the time.
    let nodes: Vec<Value> = (0..240)
        .map(|index| json!({"id": format!("n{index}"), "type": "processor", "processor": "readability"}))
        .collect();
    let world = World::new();
    let document: VersionDocument = serde_json::from_value(json!({"nodes": nodes})).expect("a document");
    let (at, now) = (definition(), world.clock.now());
    let added = block_on(add_version(&world.store, &world.caller, &at, document.clone(), true, now));
    let Err(Refusal::Invalid(invalid)) = added else { panic!("taken anew") };
    assert_eq!(invalid.violations[0].code.as_str(), "history_too_long");

    let acme = &world.caller.tenant;
    let mut stored =
        block_on(world.store.load_definition(acme, fixture::definition_id(7))).expect("reads").expect("one");
    let key = VersionKey { tenant: acme.clone(), definition_id: stored.id, number: 1 };
    let first = block_on(world.store.get(&key)).expect("reads").expect("a version");
    let mut second = PreparedVersion::clone(&first).into_version();
    (second.number, second.document) = (2, document);
    stored.note_processors(2, &second.document);
    (stored.latest_version, stored.active_version, stored.rev) = (2, Some(2), stored.rev + 1);
    assert!(block_on(world.store.change_definition(&stored, Some(&second))).expect("writes"));
    assert_eq!(told(world.create(bare(), 1)), Ok(2));
}

#[test]
fn what_an_operator_says_of_a_tenant_has_bounds_and_is_refused_beyond_them() {
    let acme = fixture::tenant("acme");
    let open = || TenantSettings::open(acme.clone());
    let limited = |limits| TenantSettings { limits, ..open() };
    let concurrency = |most| {
        let concurrency = Concurrency { max_concurrent_runs: most, on_limit: OnLimit::Reject };
        TenantSettings { concurrency: Some(concurrency), ..open() }
    };
    let kept = |max_age_seconds| {
        let retention = Retention { max_age_seconds, preserve_on_failure: false };
        TenantSettings { retention: Some(retention), ..open() }
    };
    let origin = |number: usize| format!("https://{number:0>32}.lambda-url.eu-west-1.on.aws");
    let destinations = |origins: Vec<String>| TenantSettings { destinations: Some(origins), ..open() };
    let many = |count: usize| destinations((0..count).map(origin).collect());
    let secrets = |count: usize| {
        let prefixes = (0..count).map(|number| arn(&format!("acme/{number}/")).try_into().expect("a prefix"));
        TenantSettings { secret_prefixes: Some(prefixes.collect()), ..open() }
    };
    let bounds = [
        (limits::TENANT_STARTS_PER_MINUTE, "StartsPerMinute"),
        (limits::TENANT_WAITS_AT_ONCE, "WaitsAtOnce"),
        (limits::TENANT_OPEN_RUNS, "OpenRuns"),
        (limits::TENANT_DEFINITIONS, "Definitions"),
    ];
    let own = |name: &str, value: u32| {
        let mut limits = OwnLimits::default();
        let field = match name {
            "StartsPerMinute" => &mut limits.starts_per_minute,
            "WaitsAtOnce" => &mut limits.waits_at_once,
            "OpenRuns" => &mut limits.open_runs,
            _ => &mut limits.definitions,
        };
        *field = Some(value);
        limited(limits)
    };
    let mut cases = Vec::new();
    for (allowed, name) in bounds {
        let (least, most) = (*allowed.start(), *allowed.end());
        cases.extend([least, most].map(|value| (own(name, value), None)));
        let refused = (format!("TenantLimits.{name}"), "out_of_range");
        cases.extend([least - 1, most + 1].map(|value| (own(name, value), Some(refused.clone()))));
    }
    let (least, most) = (*limits::CONCURRENT_RUNS.start(), *limits::CONCURRENT_RUNS.end());
    let out_of_range = |place: &str| Some((place.to_owned(), "out_of_range"));
    cases.extend([least, most].map(|value| (concurrency(value), None)));
    cases
        .extend([least - 1, most + 1].map(|value| (concurrency(value), out_of_range("Concurrency.MaxConcurrentRuns"))));
    cases.extend([Retention::KEEP, 1, limits::RETENTION_SECONDS].map(|value| (kept(value), None)));
    cases.extend([-2, 0, limits::RETENTION_SECONDS + 1].map(|value| (kept(value), out_of_range("Retention.MaxAge"))));
    cases.extend([0, 1, limits::DESTINATIONS].map(|count| (many(count), None)));
    let too_many = |place: &str| Some((place.to_owned(), "too_many"));
    cases.extend([1, 2].map(|more| (many(limits::DESTINATIONS + more), too_many("Destinations"))));
    cases.extend([0, 1, limits::SECRET_PREFIXES].map(|count| (secrets(count), None)));
    cases.extend([1, 2].map(|more| (secrets(limits::SECRET_PREFIXES + more), too_many("SecretPrefixes"))));
    let second = |code| Some(("Destinations[1]".to_owned(), code));
    cases.push((destinations(vec![origin(1), format!("{}/hook", origin(2))]), second("invalid")));
    cases.push((destinations(vec![origin(1), "https://example.com".to_owned()]), second("callback_url_not_allowed")));
    for (settings, refused) in cases {
        let world = World::new();
        let writes = world.store.writes();
        let (operator, known) = (operator(), fixture::policy().destinations);
        let faults = match block_on(save_tenant(&world.store, &operator, &known, settings.clone())) {
            Ok(saved) => {
                assert_eq!(saved, TenantSettings { rev: saved.rev, ..settings.clone() });
                Vec::new()
            }
            Err(Refusal::Invalid(invalid)) => {
                invalid.violations.iter().map(|one| (one.place.to_string(), one.code.as_str())).collect()
            }
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(world.store.writes() > writes, refused.is_none(), "{settings:?}");
        assert_eq!(faults, refused.into_iter().collect::<Vec<_>>(), "{settings:?}");
    }
}

/// A model with an id of its own, for these tenants.
fn declared(key: &str, id: &str, tenants: &Tenants) -> ModelDeclaration {
    let literal = |text: &str| Some(text.to_owned());
    let rates = RatesDeclaration { input: literal("1"), output: literal("5"), ..RatesDeclaration::default() };
    let price = PriceDeclaration {
        from: literal("2026-01-01T00:00:00Z"),
        until: None,
        tiers: BTreeMap::from([("default".to_owned(), TierDeclaration { rates, long: None })]),
        guardrail_text_unit: None,
    };
    ModelDeclaration {
        key: key.parse().expect("a key"),
        ids: vec![id.to_owned()],
        tenants: tenants.clone(),
        context_tokens: 200_000,
        max_output_tokens: 64_000,
        counts_tokens: true,
        caches_unasked: false,
        prices: vec![price],
    }
}

#[test]
fn models_are_declared_by_the_operator_and_seen_by_those_for_whom_they_are() {
    let world = World::new();
    let (store, now) = (&world.store, world.clock.now());
    let both = Tenants(["acme", "other"].map(|text| Admitted::Tenant(fixture::tenant(text))).into());
    let models = [("all", Tenants::everyone()), ("theirs", fixture::only("other")), ("both", both)];
    for rev in [1, 2] {
        for (key, tenants) in &models {
            let saved = block_on(save_model(store, &operator(), declared(key, &format!("a.{key}"), tenants), now));
            assert_eq!(saved.expect("saved").rev, rev, "{key}");
        }
    }
    let seen = |caller: &Caller| {
        let listed = block_on(list_models(store, caller, 100, None)).expect("lists").items;
        for (name, _) in &models {
            let key: ModelKey = name.parse().expect("a key");
            let found = block_on(get_model(store, caller, &key));
            match listed.iter().find(|model| model.key == key) {
                Some(model) => assert_eq!(&found.expect("found"), model),
                None => assert!(matches!(found, Err(Refusal::NotFound { .. })), "{name}: {found:?}"),
            }
        }
        let seen = listed.iter().map(|model| (model.key.to_string(), model.tenants.clone()));
        seen.collect::<BTreeMap<String, Tenants>>()
    };
    let expected = |models: &[(&str, Tenants)]| {
        models.iter().map(|(key, tenants)| ((*key).to_owned(), tenants.clone())).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(seen(&operator()), expected(&models));
    // Who else may call a model is nobody's business.
    let own = fixture::only;
    assert_eq!(seen(&fixture::caller("acme")), expected(&[("all", Tenants::everyone()), ("both", own("acme"))]));
    let theirs = [("all", Tenants::everyone()), ("theirs", own("other")), ("both", own("other"))];
    assert_eq!(seen(&fixture::caller("other")), expected(&theirs));
    assert_eq!(seen(&fixture::caller("third")), expected(&[("all", Tenants::everyone())]));

    let writes = world.store.writes();
    let (key, caller) = ("both".parse::<ModelKey>().expect("a key"), fixture::caller("acme"));
    let saved = block_on(save_model(store, &caller, declared("both", "a.both", &Tenants::everyone()), now));
    assert!(matches!(saved, Err(Refusal::OperatorOnly(_))), "{saved:?}");
    let deleted = block_on(delete_model(store, &caller, &key));
    assert!(matches!(deleted, Err(Refusal::OperatorOnly(_))), "{deleted:?}");
    let taken = || block_on(save_model(store, &operator(), declared("new", "a.both", &Tenants::everyone()), now));
    assert!(matches!(taken(), Err(Refusal::Conflict { code: ConflictCode::ModelIdTaken, .. })));
    assert_eq!(world.store.writes(), writes);
    block_on(delete_model(store, &operator(), &key)).expect("deleted");
    assert!(matches!(block_on(get_model(store, &operator(), &key)), Err(Refusal::NotFound { .. })));
    assert!(matches!(block_on(delete_model(store, &operator(), &key)), Err(Refusal::NotFound { .. })));
    assert_eq!(taken().expect("the id is free").rev, 1);
}

#[test]
fn the_keys_of_a_processor_are_few_and_the_operators() {
    let world = World::new();
    let (store, now, operator) = (&world.store, world.clock.now(), operator());
    let (key, unknown): (ProcessorKey, ProcessorKey) =
        ("readability".parse().expect("a key"), "nobodys".parse().expect("a key"));
    let create = |caller: &Caller, processor: &ProcessorKey, random: u128| {
        block_on(create_key(store, caller, processor, [random, 7], now))
    };
    let list = |caller: &Caller, processor: &ProcessorKey| block_on(list_keys(store, caller, processor));
    let delete = |caller: &Caller, id: &str| block_on(delete_key(store, caller, &key, id));
    let (_, first) = create(&operator, &key, 1).expect("made");
    let (_, second) = create(&operator, &key, 2).expect("made");
    assert_eq!((first.created_by.as_str(), first.created_at), ("operator/someone", now));
    assert_eq!(list(&operator, &key).expect("lists").alive, [first.clone(), second.clone()]);
    let full = create(&operator, &key, 3);
    assert!(matches!(full, Err(Refusal::Conflict { code: ConflictCode::TooManyKeys, .. })), "{full:?}");
    // A repeated request has its answer.
    assert_eq!(create(&operator, &key, 2).expect("made before").1, second);
    let caller = &world.caller;
    assert!(matches!(create(caller, &key, 4), Err(Refusal::OperatorOnly(_))));
    assert!(matches!(list(caller, &key), Err(Refusal::OperatorOnly(_))));
    assert!(matches!(delete(caller, first.id()), Err(Refusal::OperatorOnly(_))));
    assert!(matches!(create(&operator, &unknown, 5), Err(Refusal::NotFound { .. })));
    assert!(matches!(list(&operator, &unknown), Err(Refusal::NotFound { .. })));
    assert_eq!(list(&operator, &key).expect("lists").alive.len(), 2, "nothing has changed");
    delete(&operator, first.id()).expect("deleted");
    assert!(matches!(delete(&operator, first.id()), Err(Refusal::NotFound { .. })));
    assert_eq!(list(&operator, &key).expect("lists").alive, [second]);
    create(&operator, &key, 6).expect("there is room again");
}

#[test]
fn what_is_declared_is_read_by_the_operator_and_by_nobody_else() {
    let world = World::new();
    let (store, now, operator, caller) = (&world.store, world.clock.now(), operator(), &world.caller);
    world.set(&caller.tenant, |settings| settings.limits.open_runs = Some(500));
    let (key, node) = ("readability".parse().expect("a key"), "default".parse().expect("a key"));
    let processor = block_on(get_processor(store, &operator, &key)).expect("found");
    assert_eq!(processor.key, key);
    assert_eq!(block_on(get_compute_node(store, &operator, &node)).expect("found").key, node);
    assert_eq!(block_on(get_tenant(store, &operator, &caller.tenant)).expect("found").limits.open_runs, Some(500));
    let nothing_said = fixture::tenant("another");
    let settings = block_on(get_tenant(store, &operator, &nothing_said)).expect("found");
    assert_eq!(*settings, TenantSettings::open(nothing_said));
    let listed = block_on(list_processors(store, &operator, 100, None)).expect("lists").items;
    let declared: Vec<_> = listed.iter().map(|one| one.key.to_string()).collect();
    assert_eq!(declared, ["readability", "store-object", "word-frequencies"]);
    let listed = block_on(list_compute_nodes(store, &operator, 100, None)).expect("lists").items;
    assert_eq!(listed.iter().map(|one| one.key.to_string()).collect::<Vec<_>>(), ["default"]);
    let listed = block_on(list_tenants(store, &operator, 100, None)).expect("lists").items;
    assert_eq!(listed.iter().map(|one| one.tenant.as_str()).collect::<Vec<_>>(), ["acme"]);
    let unknown = ("nobodys".parse().expect("a key"), "nowhere".parse().expect("a key"));
    assert!(matches!(block_on(get_processor(store, &operator, &unknown.0)), Err(Refusal::NotFound { .. })));
    assert!(matches!(block_on(get_compute_node(store, &operator, &unknown.1)), Err(Refusal::NotFound { .. })));
    let writes = world.store.writes();
    let answers = [
        block_on(get_processor(store, caller, &key)).err(),
        block_on(get_compute_node(store, caller, &node)).err(),
        block_on(get_tenant(store, caller, &caller.tenant)).err(),
        block_on(list_processors(store, caller, 100, None)).err(),
        block_on(list_compute_nodes(store, caller, 100, None)).err(),
        block_on(list_tenants(store, caller, 100, None)).err(),
        block_on(save_processor(store, caller, fixture::processors(now).remove(0))).err(),
    ];
    for (index, answer) in answers.into_iter().enumerate() {
        assert!(matches!(answer, Some(Refusal::OperatorOnly(_))), "{index}: {answer:?}");
    }
    assert_eq!(world.store.writes(), writes);
}
