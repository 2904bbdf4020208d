//! The core's readers of what comes from outside: bytes of every kind, and valid samples with something changed. None
//! may panic, and what is accepted means the same when it is written and read again. `PROPTEST_CASES` runs more.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sluice_core::arn::{ClusterArn, FunctionArn, StateMachineArn, TaskDefinitionArn};
use sluice_core::budget::MicroUsd;
use sluice_core::canonical;
use sluice_core::definition::{Layout, VersionDocument, VersionRule};
use sluice_core::id::{
    ComputeNodeKey, DefinitionId, DefinitionName, DefinitionRef, IdempotencyKey, InstanceId, LayerName, NodeId,
    ProcessorKey, RunId, Tag, TenantId,
};
use sluice_core::operator::Processor;
use sluice_core::place::{Field, Place, Step};
use sluice_core::template::{Variables, check_schema};
use sluice_core::violation::{Invalid, Violation, ViolationCode};
use sluice_testkit::fixture;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Display};
use std::str::FromStr;
use std::sync::Arc;

/// Values that readers have stumbled over.
fn odd() -> impl Strategy<Value = Value> {
    let texts = [
        "",
        "a",
        "a b",
        "{{x}}",
        "{{",
        "[[x]]",
        "é",
        "\u{0}",
        "#",
        "/",
        "~1",
        "$ref",
        "00000000-0000-0000-0000-000000000000",
    ];
    let numbers =
        ["0", "-0", "-1", "1.5", "1e400", "-1e-400", "1E+2", "4294967296", "18446744073709551616", "0.1000000"];
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        select(texts.to_vec()).prop_map(|text| json!(text)),
        select(numbers.to_vec()).prop_map(|number| serde_json::from_str(number).expect("a number")),
        any::<String>().prop_map(Value::String),
        Just(json!([])),
        Just(json!({})),
        Just(json!([[{}], {"a": [null]}])),
        Just(json!("x".repeat(300))),
        Just(json!({"secretRef": "arn:aws:ssm:us-east-1:123456789012:parameter/x"})),
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    odd().prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            proptest::collection::btree_map("[a-z$]{0,6}", inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// How a value is changed at one place.
#[derive(Clone, Debug)]
enum Change {
    Replace(Value),
    Remove,
    Repeat,
    Rename(String),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => odd().prop_map(Change::Replace),
        1 => Just(Change::Remove),
        1 => Just(Change::Repeat),
        1 => "[a-z]{0,4}".prop_map(Change::Rename),
    ]
}

/// The sample with a few changes, each at some place of it.
fn changed(sample: Value) -> impl Strategy<Value = Value> {
    proptest::collection::vec((any::<Index>(), change()), 0..4).prop_map(move |changes| {
        let mut value = sample.clone();
        for (at, change) in changes {
            let mut places = at.index(size(&value));
            apply(&mut value, &mut places, &change);
        }
        value
    })
}

fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(fields) => fields.values().map(size).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Counts `places` down over the values in their order, and changes the one it ends at.
fn apply(value: &mut Value, places: &mut usize, change: &Change) -> bool {
    if *places == 0 {
        match (change, value) {
            (Change::Replace(new), value) => *value = new.clone(),
            (Change::Remove, Value::Array(items)) => drop(items.pop()),
            (Change::Remove, Value::Object(fields)) => {
                let first = fields.keys().next().cloned();
                first.and_then(|first| fields.remove(&first));
            }
            (Change::Repeat, Value::Array(items)) => items.extend(items.first().cloned()),
            (Change::Rename(name), Value::Object(fields)) => {
                let first = fields.keys().next().cloned();
                if let Some(value) = first.and_then(|first| fields.remove(&first)) {
                    fields.insert(name.clone(), value);
                }
            }
            (Change::Remove | Change::Repeat | Change::Rename(_), _) => {}
        }
        return true;
    }
    *places -= 1;
    match value {
        Value::Array(items) => items.iter_mut().any(|item| apply(item, places, change)),
        Value::Object(fields) => fields.values_mut().any(|field| apply(field, places, change)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// A text that is accepted is written as it was read.
fn one_spelling<T: FromStr + Display + PartialEq + Debug>(text: &str) -> Result<(), TestCaseError> {
    if let Ok(read) = text.parse::<T>() {
        prop_assert_eq!(read.to_string(), text);
    }
    Ok(())
}

fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) -> Result<(), TestCaseError> {
    let text = serde_json::to_string(value).expect("writes");
    let again: T = serde_json::from_str(&text).expect("reads what it wrote");
    prop_assert_eq!(&again, value);
    Ok(())
}

fn processors() -> BTreeMap<ProcessorKey, Arc<Processor>> {
    let now = jiff::Timestamp::UNIX_EPOCH;
    fixture::processors(now).into_iter().map(|processor| (processor.key.clone(), Arc::new(processor))).collect()
}

/// A layout has every node once, and every edge leads to a later stage.
fn is_sound(document: &VersionDocument, layout: &Layout) -> Result<(), TestCaseError> {
    let stage_of: BTreeMap<usize, usize> = layout
        .stages
        .iter()
        .enumerate()
        .flat_map(|(stage, nodes)| nodes.iter().map(move |node| (*node, stage)))
        .collect();
    let placed: usize = layout.stages.iter().map(Vec::len).sum();
    prop_assert_eq!(placed, document.nodes.len());
    prop_assert_eq!(stage_of.len(), document.nodes.len());
    let index = |id: &NodeId| document.nodes.iter().position(|node| node.id == *id).expect("a node");
    for edge in &document.edges {
        prop_assert!(stage_of[&index(&edge.from)] < stage_of[&index(&edge.to)]);
    }
    let from: BTreeSet<usize> = document.edges.iter().map(|edge| index(&edge.from)).collect();
    prop_assert!(layout.leaves.iter().all(|leaf| !from.contains(leaf)));
    Ok(())
}

fn check_document(value: &Value) -> Result<(), TestCaseError> {
    let Ok(document) = serde_json::from_str::<VersionDocument>(&value.to_string()) else {
        return Ok(());
    };
    survives(&document)?;
    match document.check(&fixture::tenant("acme"), &processors()) {
        Ok(layout) => is_sound(&document, &layout)?,
        Err(invalid) => {
            prop_assert!(!invalid.violations.is_empty());
            for violation in invalid.violations {
                prop_assert!(find(value, &violation.place).is_some() || is_absent(&violation));
            }
        }
    }
    Ok(())
}

/// What stands at a place of a document. Its parts have the names that the document's JSON gives them.
fn find<'a>(document: &'a Value, place: &Place) -> Option<&'a Value> {
    place.steps.iter().try_fold(document, |value, step| match step {
        Step::Index(index) => value.get(index),
        Step::Key(key) => value.get(key),
        Step::Part(part) => {
            let name = format!("{part:?}");
            value.get(name[..1].to_lowercase() + &name[1..])
        }
        Step::Node(node) => value.as_array()?.iter().find(|one| one["id"] == node.as_str()),
    })
}

/// What is missing has a place too.
fn is_absent(violation: &Violation) -> bool {
    matches!(
        violation.code,
        ViolationCode::MissingProcessor | ViolationCode::NoNodes | ViolationCode::OutOfRange | ViolationCode::Cycle
    )
}

fn sample_document() -> Value {
    let mut document = serde_json::to_value(fixture::document()).expect("writes");
    document["inputSchema"] = json!({
        "$defs": {"name": {"type": "string", "pattern": "^[a-z]{1,20}$", "minLength": 1}},
        "type": "object",
        "properties": {"name": {"$ref": "#/$defs/name"}, "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "uniqueItems": true}},
        "anyOf": [{"required": ["name"]}, {"required": ["tags"]}],
        "if": {"minProperties": 2},
        "then": {"propertyNames": {"maxLength": 9}},
        "unevaluatedProperties": false,
    });
    document
}

proptest! {
    #[test]
    fn identifiers_have_one_spelling(text in prop_oneof![any::<String>(), "[!-~]{0,260}", "[0-9a-fA-F-]{36}"]) {
        one_spelling::<RunId>(&text)?;
        one_spelling::<DefinitionId>(&text)?;
        one_spelling::<InstanceId>(&text)?;
        one_spelling::<DefinitionName>(&text)?;
        one_spelling::<TenantId>(&text)?;
        one_spelling::<NodeId>(&text)?;
        one_spelling::<ProcessorKey>(&text)?;
        one_spelling::<ComputeNodeKey>(&text)?;
        one_spelling::<LayerName>(&text)?;
        one_spelling::<Tag>(&text)?;
        one_spelling::<IdempotencyKey>(&text)?;
        one_spelling::<VersionRule>(&text)?;
        let reference = text.parse::<DefinitionRef>();
        prop_assert_eq!(
            reference.is_ok(),
            text.parse::<DefinitionId>().is_ok() || text.parse::<DefinitionName>().is_ok()
        );
    }

    #[test]
    fn an_idempotency_key_fits_a_header(text in any::<String>()) {
        if let Ok(key) = text.parse::<IdempotencyKey>() {
            prop_assert!(key.as_str().bytes().all(|byte| (0x21..=0x7e).contains(&byte)));
        }
    }

    #[test]
    fn a_budget_is_exact_whatever_its_literal(
        literal in prop_oneof![any::<String>(), r"-?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,12})?"],
    ) {
        let most = MicroUsd::from_usd(100_000);
        if let Ok(budget) = MicroUsd::parse(&literal, most) {
            prop_assert!(budget <= most);
            let written = budget.to_json_number().to_string();
            prop_assert_eq!(MicroUsd::parse(&written, most), Ok(budget), "{}", written);
            let nearly: f64 = literal.parse().expect("a number");
            prop_assert!((nearly - budget.0 as f64 / 1e6).abs() <= 1e-6, "{} {:?}", literal, budget);
        }
    }

    #[test]
    fn arns_are_judged_without_a_panic(text in prop_oneof![any::<String>(), "arn:aws(-[a-z]{0,4})?:[a-z]{0,8}:[a-z0-9-]{0,9}:[0-9]{0,13}:[a-zA-Z:]{0,20}"]) {
        let read = [
            text.parse::<FunctionArn>().map(String::from),
            text.parse::<StateMachineArn>().map(String::from),
            text.parse::<ClusterArn>().map(String::from),
            text.parse::<TaskDefinitionArn>().map(String::from),
        ];
        let taken: Vec<String> = read.into_iter().flatten().collect();
        prop_assert!(taken.is_empty() || taken == [text], "{:?}", taken);
    }

    #[test]
    fn canonical_text_is_its_own_canonical_text(value in any_json()) {
        let text = canonical::text(&value);
        let again: Value = serde_json::from_str(&text).expect("JSON");
        prop_assert_eq!(&again, &value);
        prop_assert_eq!(canonical::text(&again), text);
    }

    #[test]
    fn placeholders_are_filled_in_any_text(
        text in prop_oneof![any::<String>(), r"([a-z{}\[\] .é]|\{\{|\}\}|\[\[|\]\]){0,24}"],
        value in odd(),
    ) {
        let names = ["a", "b", "x", "é"];
        let variables = Variables {
            variables: names.iter().map(|name| ((*name).to_owned(), value.clone())).collect(),
            runtime_variables: BTreeMap::new(),
        };
        let mut filled = json!({"text": text});
        let mut invalid = Invalid::default();
        variables.fill(&mut filled, &Field::Document.at(), &mut invalid);
        if !text.contains("{{") && !text.contains("[[") {
            prop_assert_eq!(filled, json!({"text": text}));
            prop_assert!(invalid.violations.is_empty());
        }
    }

    #[test]
    fn bytes_are_a_document_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(value) = serde_json::from_slice::<Value>(&bytes) {
            check_document(&value)?;
        }
    }
}

proptest! {
    // Each of these compiles schemas.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_document_is_checked_in_full(value in changed(sample_document())) {
        check_document(&value)?;
    }

    #[test]
    fn a_graph_is_laid_out_or_refused(edges in proptest::collection::vec((0_usize..8, 0_usize..8), 0..20)) {
        let nodes: Vec<Value> = (0..8).map(|node| json!({"id": format!("n{node}"), "type": "external"})).collect();
        let edges: Vec<Value> =
            edges.iter().map(|(from, to)| json!({"from": format!("n{from}"), "to": format!("n{to}")})).collect();
        check_document(&json!({"nodes": nodes, "edges": edges}))?;
    }

    #[test]
    fn a_changed_schema_is_refused_or_judges_any_value(
        schema in changed(sample_document()["inputSchema"].clone()),
        value in any_json(),
    ) {
        let mut invalid = Invalid::default();
        check_schema(&schema, &value, &Field::Input.at(), &mut invalid);
        prop_assert!(invalid.violations.iter().all(|one| one.place.field == Field::Input));
    }
}
