//! Tables of what holds and of what is refused; that no condition and no facts make the reader fail.

use proptest::prelude::*;
use serde_json::{Value, json};
use sluice_core::condition::{Condition, Standing};
use sluice_core::limits::{CONDITION_BYTES, CONDITION_DEPTH, CONDITIONS};
use sluice_core::place::Field;
use sluice_core::template::Variables;
use sluice_core::violation::Invalid;
use std::collections::{BTreeMap, BTreeSet};

fn read(condition: &Value) -> Condition {
    serde_json::from_value(condition.clone()).unwrap_or_else(|error| panic!("{condition}: {error}"))
}

/// As a caller sends it: numbers as they are written.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn facts() -> Value {
    parsed(
        r#"{"input": {"n": 9007199254740993, "text": "b", "list": [1, {"a": 1.0}], "nothing": null, "a/b": {"~": true}},
            "variables": {"limit": 0.30},
            "results": {"score": {"value": 0.3, "deep": {"list": []}}, "failed": null}}"#,
    )
}

#[test]
fn what_holds() {
    for (condition, expected) in [
        (r#"{"pointer": "/input/text", "equals": "b"}"#, true),
        (r#"{"pointer": "/input/text", "equals": "B"}"#, false),
        (r#"{"pointer": "/input/n", "equals": 9007199254740992}"#, false),
        (r#"{"pointer": "/input/n", "equals": 9007199254740993.0}"#, true),
        (r#"{"pointer": "/input/n", "greaterThan": 9007199254740992}"#, true),
        (r#"{"pointer": "/input/n", "lessThan": 1e400}"#, true),
        (r#"{"pointer": "/input/list", "equals": [1.0, {"a": 1}]}"#, true),
        (r#"{"pointer": "/input/list/1/a", "in": ["1", 10e-1]}"#, true),
        (r#"{"pointer": "/input/list/1/a", "in": ["1"]}"#, false),
        (r#"{"pointer": "/input/list/2", "exists": true}"#, false),
        (r#"{"pointer": "/input/list/2", "exists": false}"#, true),
        (r#"{"pointer": "/input/nothing", "exists": true}"#, true),
        (r#"{"pointer": "/input/nothing", "equals": null}"#, true),
        (r#"{"pointer": "/input/nobody", "equals": null}"#, false),
        (r#"{"pointer": "/input/nobody", "notEquals": 1}"#, false),
        (r#"{"pointer": "/input/text", "notEquals": 1}"#, true),
        (r#"{"pointer": "/input/a~1b/~0", "equals": true}"#, true),
        (r#"{"pointer": "/results/score/value", "equals": 0.3}"#, true),
        (r#"{"pointer": "/results/score/value", "lessThan": 0.30000000000000001}"#, true),
        (r#"{"pointer": "/results/score/value", "lessThan": "1"}"#, false),
        (r#"{"pointer": "/results/failed", "equals": null}"#, true),
        (r#"{"pointer": "/results/failed/value", "greaterThan": 0}"#, false),
        (r#"{"pointer": "/input/text", "greaterThan": "a"}"#, true),
        (r#"{"pointer": "/input/text", "lessThan": "a"}"#, false),
        (r#"{"not": {"pointer": "/input/nobody", "exists": true}}"#, true),
        (
            r#"{"all": [{"pointer": "/input/text", "equals": "b"}, {"any": [{"pointer": "/variables/limit", "equals": 0.3}]}]}"#,
            true,
        ),
        (r#"{"all": [{"pointer": "/input/text", "equals": "b"}, {"pointer": "/x", "exists": true}]}"#, false),
        (r#"{"any": [{"pointer": "/x", "exists": true}, {"pointer": "/input/n", "exists": true}]}"#, true),
        (r#"{"all": []}"#, false),
        (r#"{"any": []}"#, false),
        (r#"{"pointer": "/input/text"}"#, false),
        (r#"{"pointer": "", "exists": true}"#, true),
        (r#"{"pointer": "no pointer", "exists": true}"#, false),
        (r"{}", false),
    ] {
        assert_eq!(read(&parsed(condition)).holds(&facts()), expected, "{condition}");
    }
}

#[test]
fn every_operator_is_false_where_nothing_is_read() {
    for operator in
        [json!({"equals": null}), json!({"notEquals": 1}), json!({"in": [null, 1]}), json!({"exists": true})]
    {
        for facts in [json!({}), json!(null), json!([]), json!("text"), json!({"input": null})] {
            let mut condition = operator.clone();
            condition["pointer"] = json!("/input/n");
            assert!(!read(&condition).holds(&facts), "{condition} of {facts}");
        }
    }
}

fn standing(name: &str) -> Standing {
    match name {
        "before" => Standing::Before,
        "itself" => Standing::Itself,
        "after" => Standing::NotBefore,
        _ => Standing::Unknown,
    }
}

fn refusals(condition: &Condition) -> Vec<(String, &'static str)> {
    let mut invalid = Invalid::default();
    condition.check(&standing, &Field::Document.at(), &mut invalid);
    invalid.violations.iter().map(|one| (one.place.to_string(), one.code.as_str())).collect()
}

#[test]
fn what_is_refused_and_where() {
    let deep =
        (0..CONDITION_DEPTH).fold(json!({"pointer": "/input", "exists": true}), |inner, _| json!({"not": inner}));
    let place_of_deep = format!("Document{}", ".Not".repeat(CONDITION_DEPTH));
    let many = json!({"any": vec![json!({"pointer": "/input", "exists": true}); CONDITIONS]});
    for (condition, refused) in [
        (json!({"pointer": "/input/a", "equals": 1}), vec![]),
        (json!({"pointer": "/results/before/x", "lessThan": 1}), vec![]),
        (json!({"pointer": "/results/itself", "exists": true}), vec![]),
        (json!({"pointer": "/{{where}}", "equals": "{{x}}"}), vec![]),
        (json!({}), vec![("Document", "invalid")]),
        (json!({"pointer": "/input"}), vec![("Document", "invalid")]),
        (json!({"equals": 1}), vec![("Document", "invalid")]),
        (json!({"pointer": "/input", "equals": 1, "in": [1]}), vec![("Document", "invalid")]),
        (json!({"pointer": "/input", "equals": 1, "all": []}), vec![("Document", "invalid")]),
        (json!({"any": []}), vec![("Document", "out_of_range")]),
        (json!({"pointer": "/input", "in": []}), vec![("Document.In", "out_of_range")]),
        (json!({"pointer": "input", "exists": true}), vec![("Document.Pointer", "invalid")]),
        (json!({"pointer": "/inputs", "exists": true}), vec![("Document.Pointer", "invalid")]),
        (json!({"pointer": "/input/~2", "exists": true}), vec![("Document.Pointer", "invalid")]),
        (json!({"pointer": "/results", "exists": true}), vec![("Document.Pointer", "invalid")]),
        (json!({"pointer": "/results/", "exists": true}), vec![("Document.Pointer", "invalid")]),
        (json!({"pointer": "/results/after", "exists": true}), vec![("Document.Pointer", "invalid")]),
        (json!({"pointer": "/results/nobody/a", "exists": true}), vec![("Document.Pointer", "unknown_node")]),
        (json!({"pointer": "/input", "lessThan": null}), vec![("Document.LessThan", "wrong_type")]),
        (json!({"pointer": "/input", "greaterThan": [1]}), vec![("Document.GreaterThan", "wrong_type")]),
        (
            json!({"all": [{"pointer": "/input", "lessThan": true}, {"not": {}}]}),
            vec![("Document.All[0].LessThan", "wrong_type"), ("Document.All[1].Not", "invalid")],
        ),
        (deep, vec![(place_of_deep.as_str(), "too_many")]),
        (many, vec![("Document", "too_many")]),
        (json!({"pointer": "/input", "equals": "x".repeat(CONDITION_BYTES)}), vec![("Document", "too_large")]),
    ] {
        let refused: Vec<_> = refused.into_iter().map(|(place, code)| (place.to_owned(), code)).collect();
        assert_eq!(refusals(&read(&condition)), refused, "{condition}");
    }
    for unknown in [json!({"pointer": "/input", "matches": "a"}), json!({"pointer": 1}), json!({"all": {}})] {
        assert!(serde_json::from_value::<Condition>(unknown.clone()).is_err(), "{unknown}");
    }
}

#[test]
fn placeholders_are_filled_everywhere_and_what_they_make_is_checked() {
    let variables = Variables {
        variables: BTreeMap::from([("n".to_owned(), json!(3)), ("who".to_owned(), json!("before"))]),
        runtime_variables: BTreeMap::from([("list".to_owned(), json!([1]))]),
    };
    let fill = |condition: Value| {
        let (mut condition, mut invalid) = (read(&condition), Invalid::default());
        condition.fill(&variables, &Field::Document.at(), &mut invalid);
        let said = invalid.violations.iter().map(|one| format!("{}: {}", one.place, one.code.as_str())).collect();
        (condition, said)
    };
    let nobody: Vec<String> = vec![];
    let (filled, said) = fill(json!({"all": [
        {"pointer": "/results/{{who}}", "lessThan": "{{n}}"},
        {"not": {"pointer": "/input/{{n}}", "in": ["{{n}}", {"a": "n={{n}}"}]}},
    ]}));
    assert_eq!(said, nobody);
    let expected = json!({"all": [
        {"pointer": "/results/before", "lessThan": 3},
        {"not": {"pointer": "/input/3", "in": [3, {"a": "n=3"}]}},
    ]});
    assert_eq!(filled, read(&expected));
    let (filled, said) = fill(json!({"pointer": "/input", "greaterThan": "[[list]]"}));
    assert_eq!((said, refusals(&filled)), (nobody, vec![("Document.GreaterThan".to_owned(), "wrong_type")]));
    let (_, said) = fill(json!({"any": [{"pointer": "[[list]]", "equals": "{{nobody}}"}]}));
    assert_eq!(said, ["Document.Any[0].Pointer: wrong_type", "Document.Any[0].Equals: unresolved_variable"]);
}

#[test]
fn a_condition_knows_whose_results_it_reads() {
    let condition = read(&json!({"any": [
        {"pointer": "/results/a/x", "exists": true},
        {"not": {"all": [{"pointer": "/results/b~1c", "exists": true}, {"pointer": "/input/results", "exists": true}]}},
    ]}));
    assert_eq!(condition.reads(), BTreeSet::from(["a".to_owned(), "b/c".to_owned()]));
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,3})?(e[+-]?[0-9]{1,21})?".prop_map(|literal| parsed(&literal)),
        "[a-c/~]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c/~]{0,2}", inner, 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn any_facts() -> impl Strategy<Value = Value> {
    (any_value(), any_value(), any_value())
        .prop_map(|(input, variables, results)| json!({"input": input, "variables": variables, "results": results}))
}

fn any_condition() -> impl Strategy<Value = Condition> {
    let pointer = prop::option::of("(/(input|results|variables|a|b|0|~0|~1|~2)){0,3}|[a-z/~]{0,4}");
    let optional = || prop::option::weighted(0.3, any_value());
    let operators = (optional(), optional(), prop::option::weighted(0.3, prop::collection::vec(any_value(), 0..3)));
    let leaf = (pointer, operators, prop::option::weighted(0.3, any::<bool>()), optional(), optional()).prop_map(
        |(pointer, (equals, not_equals, within), exists, less_than, greater_than)| Condition {
            pointer,
            equals,
            not_equals,
            within,
            exists,
            less_than,
            greater_than,
            ..Condition::default()
        },
    );
    leaf.prop_recursive(4, 20, 3, |inner| {
        let list = || prop::collection::vec(inner.clone(), 0..3);
        prop_oneof![
            list().prop_map(|all| Condition { all: Some(all), ..Condition::default() }),
            list().prop_map(|any| Condition { any: Some(any), ..Condition::default() }),
            inner.clone().prop_map(|not| Condition { not: Some(Box::new(not)), ..Condition::default() }),
        ]
    })
}

proptest! {
    #[test]
    fn no_condition_fails_on_any_facts_and_its_negation_is_its_opposite(
        condition in any_condition(),
        facts in any_facts(),
        name in "[a-c]{0,2}",
    ) {
        let holds = condition.holds(&facts);
        let not = Condition { not: Some(Box::new(condition.clone())), ..Condition::default() };
        prop_assert_eq!(not.holds(&facts), !holds);
        refusals(&condition);
        let variables = Variables { variables: BTreeMap::from([(name, json!(1))]), ..Variables::default() };
        condition.clone().fill(&variables, &Field::Document.at(), &mut Invalid::default());
    }

    #[test]
    fn a_condition_reads_the_same_after_it_was_stored(condition in any_condition(), facts in any_facts()) {
        let stored = serde_json::to_string(&condition).expect("JSON");
        let read: Condition = serde_json::from_str(&stored).expect("a condition");
        prop_assert_eq!(&read, &condition);
        prop_assert_eq!(read.holds(&facts), condition.holds(&facts));
    }

    #[test]
    fn a_value_is_itself_and_never_below_or_above_itself(value in any_value()) {
        let facts = json!({"input": value});
        let with = |change: fn(&mut Condition, Value)| {
            let mut condition = Condition { pointer: Some("/input".to_owned()), ..Condition::default() };
            change(&mut condition, value.clone());
            condition.holds(&facts)
        };
        prop_assert!(with(|condition, value| condition.equals = Some(value)));
        prop_assert!(with(|condition, value| condition.within = Some(vec![value])));
        prop_assert!(!with(|condition, value| condition.not_equals = Some(value)));
        prop_assert!(!with(|condition, value| condition.less_than = Some(value)));
        prop_assert!(!with(|condition, value| condition.greater_than = Some(value)));
    }
}
