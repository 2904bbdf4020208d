use crate::world::World;
use serde_json::{Value, json};
use sluice_core::caller::Caller;
use sluice_core::concurrency::{Concurrency, OnLimit};
use sluice_core::definition::{Definition, VersionDocument, VersionRule};
use sluice_core::flow::manage_definitions::{
    DefinitionChange, activate_version, add_version, change_definition, create_definition, delete_draft,
    deprecate_version, find_definition, get_discoverable, get_draft, get_instance, get_version, save_draft,
    save_instance,
};
use sluice_core::flow::manage_operator::{save_compute_node, save_tenant};
use sluice_core::flow::{Answer, Refusal};
use sluice_core::id::DefinitionRef;
use sluice_core::instance::InstanceContent;
use sluice_core::limits;
use sluice_core::operator::TenantSettings;
use sluice_core::ports::Clock;
use sluice_core::refusal::ConflictCode;
use sluice_core::retention::Retention;
use sluice_core::tenant_limits::{OwnLimits, TenantLimits};
use sluice_testkit::{block_on, fixture};
use std::collections::{BTreeMap, BTreeSet};

fn add(world: &World, document: Value) -> Answer<u32> {
    let document: VersionDocument = serde_json::from_value(document).expect("the document's shape");
    let definition = DefinitionRef::Name("text-report".parse().expect("a name"));
    block_on(add_version(&world.store, &world.caller, &definition, document, false, world.clock.now()))
        .map(|(_, version)| version.number)
}

fn processor(id: &str) -> Value {
    json!({"id": id, "type": "processor", "processor": "readability"})
}

fn target(id: &str) -> Value {
    json!({"id": id, "type": "data-target", "processor": "store-object"})
}

fn edges(pairs: &[(&str, &str)]) -> Value {
    pairs.iter().map(|(from, to)| json!({"from": from, "to": to})).collect()
}

#[test]
fn every_fault_of_a_version_has_a_precise_error() {
    for (document, place, code) in [
        (json!({"nodes": []}), "Document.Nodes", "no_nodes"),
        (
            json!({"nodes": [processor("a"), processor("a")], "edges": edges(&[("a", "a")])}),
            "Document.Nodes[1].Id",
            "duplicate_node",
        ),
        (
            json!({"nodes": [processor("a"), processor("b")], "edges": edges(&[("a", "b"), ("a", "x")])}),
            "Document.Edges[1].To",
            "dangling_edge",
        ),
        (
            json!({"nodes": [processor("a"), processor("b")], "edges": edges(&[("x", "b"), ("a", "b")])}),
            "Document.Edges[0].From",
            "dangling_edge",
        ),
        (
            json!({"nodes": [processor("a"), processor("b")], "edges": edges(&[("a", "b"), ("a", "b")])}),
            "Document.Edges[1]",
            "duplicate_edge",
        ),
        (
            json!({"nodes": [processor("a"), processor("b")], "edges": edges(&[("a", "b"), ("b", "a")])}),
            "Document.Edges",
            "cycle",
        ),
        (json!({"nodes": [processor("a")], "edges": edges(&[("a", "a")])}), "Document.Edges", "cycle"),
        (
            json!({"nodes": [processor("a"), processor("b"), target("c")], "edges": edges(&[("a", "b")])}),
            "Document.Nodes[2]",
            "unreachable_node",
        ),
        (
            json!({"nodes": [{"id": "a", "type": "processor", "processor": "nobodys"}]}),
            "Document.Nodes[0].Processor",
            "unknown_processor",
        ),
        (json!({"nodes": [{"id": "a", "type": "processor"}]}), "Document.Nodes[0].Processor", "missing_processor"),
        (
            json!({"nodes": [{"id": "a", "type": "external", "processor": "readability"}]}),
            "Document.Nodes[0].Processor",
            "unexpected_processor",
        ),
        (json!({"nodes": [{"id": "a", "type": "external", "tag": "1"}]}), "Document.Nodes[0].Tag", "unexpected_tag"),
        (
            json!({"nodes": [{"id": "s", "type": "data-source"}, processor("a")], "edges": edges(&[("a", "s")])}),
            "Document.Edges[0].To",
            "edge_into_source",
        ),
        (
            json!({"nodes": [{"id": "a", "type": "processor", "processor": "readability", "retry": {"maxAttempts": 11}}]}),
            "Document.Nodes[0].Retry.MaxAttempts",
            "out_of_range",
        ),
        (
            json!({"nodes": [{"id": "a", "type": "processor", "processor": "readability", "parameters": {"n/m": {"type": "integer", "default": 1.5}}}]}),
            r#"Document.Nodes[0].Parameters{"n/m"}.Default"#,
            "wrong_type",
        ),
        (
            json!({"nodes": [{"id": "a", "type": "processor", "processor": "readability", "parameters": {"k": {"type": "secret", "default": "hunter2"}}}]}),
            r#"Document.Nodes[0].Parameters{"k"}.Default"#,
            "wrong_type",
        ),
        (
            json!({"nodes": [processor("a")], "inputSchema": {"type": "nonsense"}}),
            "Document.InputSchema",
            "invalid_schema",
        ),
        (
            json!({"nodes": [processor("a")], "inputSchema": {"$ref": "https://example.com/x"}}),
            "Document.InputSchema",
            "invalid_schema",
        ),
    ] {
        let world = World::new();
        let writes = world.store.writes();
        let Err(Refusal::Invalid(invalid)) = add(&world, document.clone()) else { panic!("{document} was taken") };
        assert!(
            invalid
                .violations
                .iter()
                .any(|violation| violation.place.to_string() == place && violation.code.as_str() == code),
            "{document}: {invalid:?}"
        );
        assert_eq!(world.store.writes(), writes, "{document}");
    }
}

#[test]
fn nodes_that_have_nothing_to_do_with_each_other_stand_in_one_version() {
    for (nodes, edges) in [
        (json!([processor("a"), processor("b")]), json!([])),
        (json!([processor("a"), processor("b"), processor("c")]), edges(&[("a", "b")])),
        (json!([{"id": "a", "type": "data-source"}, {"id": "b", "type": "external"}, processor("c")]), json!([])),
    ] {
        let world = World::new();
        let document = json!({"nodes": nodes, "edges": edges});
        assert_eq!(add(&world, document.clone()).ok(), Some(2), "{document}");
    }
}

#[test]
fn a_cycle_is_shown_as_the_way_around() {
    let world = World::new();
    let nodes: Vec<Value> = ["a", "b", "c", "d"].into_iter().map(processor).collect();
    let Err(Refusal::Invalid(invalid)) =
        add(&world, json!({"nodes": nodes, "edges": edges(&[("a", "b"), ("b", "c"), ("c", "d"), ("d", "b")])}))
    else {
        panic!("a cycle was taken")
    };
    let way = &invalid.violations[0].message;
    assert!(
        way.contains("b -> c -> d -> b") || way.contains("c -> d -> b -> c") || way.contains("d -> b -> c -> d"),
        "{way}"
    );
}

#[test]
fn a_version_whose_history_could_grow_too_long_is_refused() {
    let world = World::new();
    let nodes: Vec<Value> = (0..500)
        .map(|n| json!({"id": format!("n{n}"), "type": "processor", "processor": "readability", "retry": {"maxAttempts": 10}}))
        .collect();
    let chain: Vec<(String, String)> = (1..500).map(|n| (format!("n{}", n - 1), format!("n{n}"))).collect();
    let chain: Vec<(&str, &str)> = chain.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
    let Err(Refusal::Invalid(invalid)) = add(&world, json!({"nodes": nodes, "edges": edges(&chain)})) else {
        panic!("taken")
    };
    assert_eq!(invalid.violations[0].code.as_str(), "history_too_long");
}

#[test]
fn versions_are_numbered_and_one_is_active() {
    let world = World::new();
    assert_eq!(add(&world, json!({"nodes": [processor("a")]})).expect("taken"), 2);
    assert_eq!(add(&world, json!({"nodes": [processor("b")]})).expect("taken"), 3);
    let definition = DefinitionRef::Id(fixture::definition_id(7));
    let now = world.clock.now();
    let activate = |number| block_on(activate_version(&world.store, &world.caller, &definition, number, now));
    assert_eq!(activate(3).expect("activated").active_version, Some(3));
    assert!(matches!(activate(4), Err(Refusal::NotFound { .. })));
    assert!(matches!(activate(0), Err(Refusal::NotFound { .. })));
    let deprecate = |number| block_on(deprecate_version(&world.store, &world.caller, &definition, number, now));
    for number in [0, 4, u32::MAX] {
        assert!(matches!(deprecate(number), Err(Refusal::NotFound { .. })), "{number}");
    }
    assert_eq!(deprecate(1).expect("deprecated").deprecated_versions, BTreeSet::from([1]));
}

#[test]
fn a_document_of_as_many_bytes_as_it_may_have_is_taken_and_one_of_a_byte_more_is_not() {
    let world = World::new();
    let of = |letters: usize| {
        let schema = json!({"type": ["object", "null"], "description": "x".repeat(letters)});
        json!({"nodes": [processor("a")], "inputSchema": schema})
    };
    let document: VersionDocument = serde_json::from_value(of(0)).expect("the document's shape");
    let room = limits::VERSION_DOCUMENT_BYTES - serde_json::to_string(&document).expect("JSON").len();
    for more in [1, 2, room] {
        let Err(Refusal::Invalid(invalid)) = add(&world, of(room + more)) else { panic!("{more} bytes more") };
        assert_eq!(invalid.violations[0].code.as_str(), "too_large");
    }
    assert_eq!(add(&world, of(room)).expect("taken"), 2);
}

#[test]
fn a_name_is_one_definition_of_its_tenant() {
    let world = World::new();
    let create = |tenant: &str, id| {
        let name = "text-report".parse().expect("a name");
        let caller = fixture::caller(tenant);
        block_on(create_definition(
            &world.store,
            TenantLimits::DEFAULT,
            &caller,
            fixture::definition_id(id),
            name,
            DefinitionChange::default(),
            world.clock.now(),
        ))
    };
    assert!(matches!(create("acme", 8), Err(Refusal::Conflict { code: ConflictCode::NameTaken, .. })));
    assert!(create("other", 9).is_ok());
}

#[test]
fn a_tenant_has_as_many_definitions_as_the_deployment_or_the_operator_says() {
    let world = World::new();
    let limits = TenantLimits { definitions: 3, ..TenantLimits::DEFAULT };
    let create = |tenant: &str, number: u128| {
        let (caller, id) = (fixture::caller(tenant), fixture::definition_id(100 + number));
        let name = format!("report-{number}").parse().expect("a name");
        let (said, now) = (DefinitionChange::default(), world.clock.now());
        block_on(create_definition(&world.store, limits, &caller, id, name, said, now))
    };
    // One is there already.
    for number in 1..=2 {
        create("acme", number).expect("created");
    }
    let writes = world.store.writes();
    let refused = create("acme", 3);
    assert!(
        matches!(&refused, Err(Refusal::Conflict { code: ConflictCode::TooManyDefinitions, message })
            if message == "this tenant has 3 definitions, as many as it may"),
        "{refused:?}"
    );
    assert_eq!(world.store.writes(), writes);
    create("other", 3).expect("another tenant has its own");
    let operator = Caller { is_operator: true, ..fixture::caller("acme") };
    let own = OwnLimits { definitions: Some(4), ..OwnLimits::default() };
    let settings = TenantSettings { limits: own, ..TenantSettings::open(operator.tenant.clone()) };
    block_on(save_tenant(&world.store, &operator, &fixture::policy().destinations, settings)).expect("saved");
    create("acme", 4).expect("created");
    assert!(matches!(create("acme", 5), Err(Refusal::Conflict { code: ConflictCode::TooManyDefinitions, .. })));
}

/// `first` before `second` before `third`, and `apart` beside them; `person` is asked before `third`.
fn with(node: &str, said: Value) -> Value {
    let mut nodes = vec![processor("first"), processor("second"), processor("third"), processor("apart")];
    nodes.push(json!({"id": "person", "type": "external", "schema": {"type": "boolean"}}));
    nodes.push(json!({"id": "given", "type": "data-source"}));
    let changed = nodes.iter_mut().find(|one| one["id"] == node).expect("a node");
    let (Value::Object(changed), Value::Object(said)) = (changed, said) else { panic!("objects") };
    changed.extend(said);
    let edges = edges(&[("first", "second"), ("second", "third"), ("person", "third"), ("given", "first")]);
    json!({"nodes": nodes, "edges": edges})
}

fn reads(node: &str) -> Value {
    json!({"pointer": format!("/results/{node}/n"), "greaterThan": 1})
}

#[test]
fn every_fault_of_what_rules_a_node_has_a_precise_error() {
    let until = |condition: Value, most: u32| json!({"loop": {"until": condition, "maxIterations": most}});
    let items = |items: Value| json!({"forEach": {"items": items}});
    let many: Vec<u32> = (0..101).collect();
    for (node, said, place, code) in [
        ("second", json!({"when": reads("nobody")}), "Document.Nodes[1].When.Pointer", "unknown_node"),
        ("second", json!({"when": reads("third")}), "Document.Nodes[1].When.Pointer", "invalid"),
        ("second", json!({"when": reads("apart")}), "Document.Nodes[1].When.Pointer", "invalid"),
        ("second", json!({"when": reads("second")}), "Document.Nodes[1].When.Pointer", "invalid"),
        (
            "second",
            json!({"when": {"not": {"any": [reads("third")]}}}),
            "Document.Nodes[1].When.Not.Any[0].Pointer",
            "invalid",
        ),
        (
            "second",
            json!({"when": {"pointer": "/input/a", "lessThan": [1]}}),
            "Document.Nodes[1].When.LessThan",
            "wrong_type",
        ),
        ("second", json!({"when": {"pointer": "/input/a"}}), "Document.Nodes[1].When", "invalid"),
        ("second", until(reads("third"), 3), "Document.Nodes[1].Loop.Until.Pointer", "invalid"),
        ("second", until(reads("second"), 0), "Document.Nodes[1].Loop.MaxIterations", "out_of_range"),
        ("second", until(reads("second"), 101), "Document.Nodes[1].Loop.MaxIterations", "out_of_range"),
        ("given", until(reads("given"), 3), "Document.Nodes[5].Loop", "invalid"),
        ("second", items(json!("/results/third")), "Document.Nodes[1].ForEach.Items", "invalid"),
        ("second", items(json!("/nowhere")), "Document.Nodes[1].ForEach.Items", "invalid"),
        ("second", items(json!(many)), "Document.Nodes[1].ForEach.Items", "too_many"),
        ("person", items(json!([1])), "Document.Nodes[4].ForEach", "invalid"),
        (
            "second",
            json!({"forEach": {"items": [], "maxConcurrency": 41}}),
            "Document.Nodes[1].ForEach.MaxConcurrency",
            "out_of_range",
        ),
        (
            "second",
            json!({"forEach": {"items": [], "maxItems": 1_001}}),
            "Document.Nodes[1].ForEach.MaxItems",
            "out_of_range",
        ),
        ("given", json!({"onFailure": "continue"}), "Document.Nodes[5].OnFailure", "invalid"),
        ("second", json!({"timeoutSeconds": 0}), "Document.Nodes[1].Timeout", "out_of_range"),
        ("person", json!({"timeoutSeconds": 5}), "Document.Nodes[4].Timeout", "invalid"),
        ("second", json!({"expiresAfterSeconds": 5}), "Document.Nodes[1].ExpiresAfter", "invalid"),
        ("person", json!({"onExpiry": "continue"}), "Document.Nodes[4].OnExpiry", "invalid"),
        (
            "person",
            json!({"expiresAfterSeconds": 5, "onExpiry": {"answer": "yes"}}),
            "Document.Nodes[4].OnExpiry.Answer",
            "schema_violation",
        ),
    ] {
        let world = World::new();
        let writes = world.store.writes();
        let document = with(node, said);
        let Err(Refusal::Invalid(invalid)) = add(&world, document.clone()) else { panic!("{document} was taken") };
        let faults: Vec<_> = invalid.violations.iter().map(|one| (one.place.to_string(), one.code.as_str())).collect();
        assert_eq!(faults, [(place.to_owned(), code)], "{document}");
        assert_eq!(world.store.writes(), writes, "{document}");
    }
}

#[test]
fn what_rules_a_node_is_kept_as_it_was_said() {
    for (node, said) in [
        ("second", json!({"when": reads("first")})),
        ("third", json!({"when": {"all": [reads("first"), {"pointer": "/results/person", "equals": true}]}})),
        ("second", json!({"loop": {"until": reads("second"), "maxIterations": 100}, "onFailure": "continue"})),
        ("second", json!({"forEach": {"items": "/results/first", "maxConcurrency": 40, "maxItems": 100}})),
        ("second", json!({"timeoutSeconds": 2_592_000, "when": {"pointer": "/input/{{name}}", "exists": false}})),
        ("person", json!({"expiresAfterSeconds": 5, "onExpiry": {"answer": true}})),
    ] {
        let mut document = with(node, said);
        document["failFast"] = json!(false);
        assert_eq!(add(&World::new(), document.clone()).ok(), Some(2), "{document}");
        let read: VersionDocument = serde_json::from_value(document.clone()).expect("a document");
        assert_eq!(serde_json::to_value(&read).expect("JSON"), document);
    }
}

#[test]
fn iterations_and_items_count_into_the_history_that_a_run_may_write() {
    let until = |most: u32| json!({"loop": {"until": reads("second"), "maxIterations": most}});
    let retried =
        |most: u32| json!({"retry": {"maxAttempts": 3}, "loop": {"until": reads("second"), "maxIterations": most}});
    let items = |most: u32| json!({"forEach": {"items": "/input", "maxConcurrency": 1, "maxItems": most}});
    for (said, is_taken) in
        [(until(100), true), (retried(50), true), (retried(100), false), (items(200), true), (items(1_000), false)]
    {
        let added = add(&World::new(), with("second", said.clone()));
        match added {
            Ok(_) => assert!(is_taken, "{said}"),
            Err(Refusal::Invalid(invalid)) => {
                assert!(!is_taken && invalid.violations[0].code.as_str() == "history_too_long", "{said}: {invalid:?}");
            }
            Err(other) => panic!("{said}: {other:?}"),
        }
    }
}

fn said() -> DefinitionChange {
    DefinitionChange::default()
}

fn with_concurrency(max_concurrent_runs: u32) -> DefinitionChange {
    let concurrency = Concurrency { max_concurrent_runs, on_limit: OnLimit::Queue };
    DefinitionChange { concurrency: Some(Some(concurrency)), ..said() }
}

fn with_retention(max_age_seconds: i64) -> DefinitionChange {
    let retention = Retention { max_age_seconds, preserve_on_failure: true };
    DefinitionChange { retention: Some(Some(retention)), ..said() }
}

fn with_duration(seconds: u64) -> DefinitionChange {
    DefinitionChange { max_run_duration_seconds: Some(Some(seconds)), ..said() }
}

fn with_tags(tags: impl IntoIterator<Item = String>) -> DefinitionChange {
    DefinitionChange { tags: Some(tags.into_iter().collect()), ..said() }
}

#[test]
fn what_a_definition_says_of_itself_has_bounds_and_is_refused_beyond_them() {
    // Characters, of more than a byte each.
    let text = |chars: usize| Some("ä".repeat(chars));
    let display_name = |chars| DefinitionChange { display_name: text(chars), ..said() };
    let description = |chars| DefinitionChange { description: text(chars), ..said() };
    let (least_runs, most_runs) = (*limits::CONCURRENT_RUNS.start(), *limits::CONCURRENT_RUNS.end());
    let (shortest, longest) = (*limits::DURATION_SECONDS.start(), *limits::DURATION_SECONDS.end());
    let (most_tags, most_chars) = limits::DEFINITION_TAGS;
    let tags = |count: usize| with_tags((0..count).map(|number| format!("tag-{number}")));
    let tag = |text: &str| with_tags([text.to_owned(), "another".to_owned()]);
    let fields = [
        (
            vec![display_name(0), display_name(limits::DISPLAY_NAME_CHARS)],
            vec![display_name(limits::DISPLAY_NAME_CHARS + 1), display_name(limits::DISPLAY_NAME_CHARS * 2)],
            ("DisplayName", "out_of_range"),
        ),
        (
            vec![description(0), description(limits::DESCRIPTION_CHARS)],
            vec![description(limits::DESCRIPTION_CHARS + 1), description(limits::DESCRIPTION_CHARS * 2)],
            ("Description", "out_of_range"),
        ),
        (
            vec![with_concurrency(least_runs), with_concurrency(most_runs)],
            vec![with_concurrency(least_runs - 1), with_concurrency(most_runs + 1)],
            ("Concurrency.MaxConcurrentRuns", "out_of_range"),
        ),
        (
            vec![with_retention(Retention::KEEP), with_retention(1), with_retention(limits::RETENTION_SECONDS)],
            vec![with_retention(-2), with_retention(0), with_retention(limits::RETENTION_SECONDS + 1)],
            ("Retention.MaxAge", "out_of_range"),
        ),
        (
            vec![with_duration(shortest), with_duration(longest)],
            vec![with_duration(shortest - 1), with_duration(longest + 1)],
            ("MaxRunDuration", "out_of_range"),
        ),
        (
            vec![tags(0), tags(most_tags)],
            vec![tags(most_tags + 1), tags(most_tags * 2)],
            ("DefinitionTags", "too_many"),
        ),
        (
            vec![tag("a"), tag(&"ä".repeat(most_chars))],
            vec![tag(""), tag(&"ä".repeat(most_chars + 1)), tag("a\nb"), tag("\u{7f}")],
            ("DefinitionTags", "out_of_range"),
        ),
    ];
    let definition = DefinitionRef::Id(fixture::definition_id(7));
    for (within, beyond, (place, code)) in fields {
        let cases = within.into_iter().map(|said| (said, true)).chain(beyond.into_iter().map(|said| (said, false)));
        for (said, is_taken) in cases {
            let world = World::new();
            let (writes, now) = (world.store.writes(), world.clock.now());
            let (id, name) = (fixture::definition_id(8), "another-report".parse().expect("a name"));
            let (store, caller) = (&world.store, &world.caller);
            let created =
                block_on(create_definition(store, TenantLimits::DEFAULT, caller, id, name, said.clone(), now));
            let changed = block_on(change_definition(store, caller, &definition, said.clone(), now));
            for answer in [created, changed] {
                match answer {
                    Ok(_) => assert!(is_taken, "{said:?}"),
                    Err(Refusal::Invalid(invalid)) => {
                        let faults: Vec<_> =
                            invalid.violations.iter().map(|one| (one.place.to_string(), one.code.as_str())).collect();
                        assert!(!is_taken, "{said:?}: {faults:?}");
                        assert_eq!(faults, [(place.to_owned(), code)], "{said:?}");
                    }
                    Err(other) => panic!("{said:?}: {other:?}"),
                }
            }
            assert_eq!(world.store.writes() > writes, is_taken, "{said:?}");
        }
    }
}

#[test]
fn a_change_of_a_definition_leaves_as_it_is_what_it_does_not_say() {
    type After = fn(Definition) -> Definition;
    let whole = DefinitionChange {
        display_name: Some("Before".to_owned()),
        description: Some("as it was".to_owned()),
        exclude_paused_time: Some(true),
        discoverable: Some(true),
        concurrency: with_concurrency(3).concurrency,
        retention: with_retention(60).retention,
        max_run_duration_seconds: with_duration(90).max_run_duration_seconds,
        tags: with_tags(["before".to_owned()]).tags,
    };
    let cases: [(DefinitionChange, After); 12] = [
        (said(), |before| before),
        (DefinitionChange { display_name: Some("After".to_owned()), ..said() }, |before| Definition {
            display_name: Some("After".to_owned()),
            ..before
        }),
        (DefinitionChange { description: Some(String::new()), ..said() }, |before| Definition {
            description: Some(String::new()),
            ..before
        }),
        (with_concurrency(4), |before| Definition {
            concurrency: Some(Concurrency { max_concurrent_runs: 4, on_limit: OnLimit::Queue }),
            ..before
        }),
        (DefinitionChange { concurrency: Some(None), ..said() }, |before| Definition { concurrency: None, ..before }),
        (with_retention(61), |before| Definition {
            retention: Some(Retention { max_age_seconds: 61, preserve_on_failure: true }),
            ..before
        }),
        (DefinitionChange { retention: Some(None), ..said() }, |before| Definition { retention: None, ..before }),
        (with_duration(91), |before| Definition { max_run_duration_seconds: Some(91), ..before }),
        (DefinitionChange { max_run_duration_seconds: Some(None), ..said() }, |before| Definition {
            max_run_duration_seconds: None,
            ..before
        }),
        (DefinitionChange { exclude_paused_time: Some(false), ..said() }, |before| Definition {
            exclude_paused_time: false,
            ..before
        }),
        (DefinitionChange { discoverable: Some(false), ..said() }, |before| Definition {
            discoverable: false,
            ..before
        }),
        (with_tags([]), |before| Definition { tags: BTreeSet::new(), ..before }),
    ];
    let definition = DefinitionRef::Id(fixture::definition_id(7));
    for (said, after) in cases {
        let world = World::new();
        let change = |said| {
            let changed = change_definition(&world.store, &world.caller, &definition, said, world.clock.now());
            block_on(changed).expect("changed")
        };
        let before = change(whole.clone());
        world.clock.advance(5);
        let expected = Definition { rev: before.rev + 1, updated_at: world.clock.now(), ..after(before) };
        assert_eq!(change(said.clone()), expected, "{said:?}");
    }
}

#[test]
fn an_instance_is_of_a_definition_of_ones_own_or_of_one_that_is_shared() {
    let world = World::new();
    let content = |definition, node: &str| InstanceContent {
        definition_id: fixture::definition_id(definition),
        version: VersionRule::Active,
        compute_node: node.parse().expect("a key"),
        processor_configs: BTreeMap::new(),
    };
    let operator = Caller { is_operator: true, ..world.caller.clone() };
    let mut closed = fixture::compute_node(world.clock.now());
    (closed.key, closed.tenants) = ("closed".parse().expect("a key"), fixture::only("another"));
    block_on(save_compute_node(&world.store, &operator, closed, None)).expect("saved");
    let faults = |tenant: &str, content: InstanceContent| {
        let (caller, now) = (fixture::caller(tenant), world.clock.now());
        match block_on(save_instance(&world.store, &caller, content.clone(), now)) {
            Ok(instance) => {
                assert_eq!((&instance.tenant, &instance.content), (&caller.tenant, &content));
                Vec::new()
            }
            Err(Refusal::Invalid(invalid)) => invalid.violations.iter().map(|one| one.place.to_string()).collect(),
            Err(other) => panic!("{other:?}"),
        }
    };
    let share = |discoverable| {
        let said = DefinitionChange { discoverable: Some(discoverable), ..said() };
        let definition = DefinitionRef::Id(fixture::definition_id(7));
        let changed = change_definition(&world.store, &world.caller, &definition, said, world.clock.now());
        block_on(changed).expect("changed");
    };
    let nothing: [&str; 0] = [];
    assert_eq!(faults("acme", content(7, "default")), nothing, "one's own, not shared");
    assert_eq!(faults("other", content(7, "default")), ["Definition"]);
    assert_eq!(faults("acme", content(9, "default")), ["Definition"], "nobody's");
    assert_eq!(faults("acme", content(7, "nowhere")), ["ComputeNode"]);
    assert_eq!(faults("acme", content(7, "closed")), ["ComputeNode"]);
    assert_eq!(faults("other", content(7, "closed")), ["Definition", "ComputeNode"]);
    share(true);
    assert_eq!(faults("other", content(7, "default")), nothing);
    assert_eq!(faults("acme", content(7, "default")), nothing);
    share(false);
    assert_eq!(faults("other", content(7, "default")), ["Definition"]);
    // Who saves the same content again is told of the instance that there is.
    let writes = world.store.writes();
    assert_eq!(faults("acme", content(7, "default")), nothing);
    assert_eq!(world.store.writes(), writes);
}

#[test]
fn what_is_stored_of_a_definition_is_read_by_its_owner_by_id_and_by_name() {
    let world = World::new();
    let (store, now) = (&world.store, world.clock.now());
    let (acme, other) = (&world.caller, &fixture::caller("other"));
    let by_id = DefinitionRef::Id(fixture::definition_id(7));
    let by_name = DefinitionRef::Name("text-report".parse().expect("a name"));
    let unknown =
        [DefinitionRef::Id(fixture::definition_id(9)), DefinitionRef::Name("nobodys".parse().expect("a name"))];
    add(&world, json!({"nodes": [processor("a")]})).expect("added");
    for definition in [&by_id, &by_name] {
        assert_eq!(block_on(find_definition(store, acme, definition)).expect("found").id, fixture::definition_id(7));
        for (number, nodes) in [(1, 4), (2, 1)] {
            let version = block_on(get_version(store, acme, definition, number)).expect("found");
            assert_eq!((version.number, version.document.nodes.len()), (number, nodes));
        }
        for number in [0, 3] {
            let version = block_on(get_version(store, acme, definition, number));
            assert!(matches!(version, Err(Refusal::NotFound { .. })), "{number}: {version:?}");
        }
        assert!(matches!(block_on(get_draft(store, acme, definition)), Err(Refusal::NotFound { .. })));
        block_on(save_draft(store, acme, definition, fixture::document(), now)).expect("saved");
        let (found, draft) = block_on(get_draft(store, acme, definition)).expect("found");
        assert_eq!((found.id, draft.number, draft.document.nodes.len()), (fixture::definition_id(7), 0, 4));
        block_on(delete_draft(store, acme, definition)).expect("deleted");
        assert!(matches!(block_on(get_draft(store, acme, definition)), Err(Refusal::NotFound { .. })));
        block_on(delete_draft(store, acme, definition)).expect("there need not be one");
    }
    for (caller, definition) in [(acme, &unknown[0]), (acme, &unknown[1]), (other, &by_id), (other, &by_name)] {
        let answers = [
            block_on(find_definition(store, caller, definition)).err(),
            block_on(get_version(store, caller, definition, 1)).err(),
            block_on(get_draft(store, caller, definition)).err(),
            block_on(delete_draft(store, caller, definition)).err(),
        ];
        for answer in answers {
            assert!(matches!(answer, Some(Refusal::NotFound { .. })), "{definition:?}: {answer:?}");
        }
    }
    let run = world.create(crate::world::command(), 1).expect("accepted").run;
    let instance = block_on(get_instance(store, acme, run.spec.instance_id)).expect("found");
    assert_eq!((instance.id, instance.content.definition_id), (run.spec.instance_id, fixture::definition_id(7)));
    assert!(matches!(block_on(get_instance(store, other, run.spec.instance_id)), Err(Refusal::NotFound { .. })));
    let shared = || block_on(get_discoverable(store, fixture::definition_id(7)));
    assert!(matches!(shared(), Err(Refusal::NotFound { .. })));
    let said = DefinitionChange { discoverable: Some(true), ..said() };
    block_on(change_definition(store, acme, &by_name, said, now)).expect("changed");
    assert_eq!(shared().expect("found").id, fixture::definition_id(7));
}
