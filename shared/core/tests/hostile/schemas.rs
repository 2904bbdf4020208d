//! Schemas and values that are made to cost much. All are refused, or evaluated within the bounds, on a small stack.

use serde_json::{Value, json};
use sluice_core::limits;
use sluice_core::place::Field;
use sluice_core::schema::{inspect, measure};
use sluice_core::template::{check_schema, compile_schema};
use sluice_core::violation::{Invalid, ViolationCode};
use std::time::{Duration, Instant};

/// What a thread of the runtime has.
const STACK_BYTES: usize = 2 << 20;
/// Many times what the slowest case takes without optimization. The bounds are on steps; this only ends what hangs.
const DEADLINE: Duration = Duration::from_secs(60);
/// The API's own bound on what is checked.
const VALUE_BYTES: usize = limits::REQUEST_BODY_BYTES;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The schema is refused, for a reason with this text in it.
    Refused(&'static str),
    /// The schema is taken, and a check of the value is refused for its cost.
    TooCostly,
    Holds,
    Breaks,
}
use Outcome::{Breaks, Holds, Refused, TooCostly};

fn outcome(schema: &Value, value: &Value) -> (Outcome, Invalid) {
    let mut invalid = Invalid::default();
    if let Err(reason) = compile_schema(schema) {
        invalid.add(Field::Whole, ViolationCode::InvalidSchema, reason);
        return (Refused(""), invalid);
    }
    check_schema(schema, value, &Field::Input.at(), &mut invalid);
    let outcome = match invalid.violations.first() {
        None => Holds,
        Some(violation) if violation.code == ViolationCode::InvalidSchema => TooCostly,
        Some(_) => Breaks,
    };
    (outcome, invalid)
}

/// Plays all cases, each within the deadline, and asserts what becomes of them.
fn play(cases: Vec<(&'static str, Value, Value, Outcome)>) {
    let run = move || {
        for (name, schema, value, expected) in cases {
            assert!(schema.to_string().len() <= limits::VERSION_DOCUMENT_BYTES, "{name}: no version could hold it");
            assert!(value.to_string().len() <= VALUE_BYTES, "{name}: no request could hold it");
            let began = Instant::now();
            let (found, invalid) = outcome(&schema, &value);
            assert!(began.elapsed() < DEADLINE, "{name} took {:?}", began.elapsed());
            let said = invalid.violations.first().map(|violation| violation.message.as_str()).unwrap_or_default();
            match expected {
                Refused(reason) => {
                    assert_eq!(found, Refused(""), "{name}: {said}");
                    assert!(said.contains(reason), "{name}: {said}");
                }
                TooCostly | Holds | Breaks => assert_eq!(found, expected, "{name}: {said}"),
            }
            for violation in &invalid.violations {
                assert!(violation.message.chars().count() <= limits::SCHEMA_MESSAGE_CHARS + 100, "{name}");
            }
        }
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(run).expect("a thread");
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A schema that begins with the first of `length` schemas, each made from a reference to the next.
fn chain(length: usize, link: impl Fn(Value) -> Value, last: Value) -> Value {
    let reference = |index: usize| json!({"$ref": format!("#/$defs/d{index}")});
    let mut defs: serde_json::Map<String, Value> =
        (0..length).map(|index| (format!("d{index}"), link(reference(index + 1)))).collect();
    defs.insert(format!("d{length}"), last);
    json!({"$defs": defs, "$ref": "#/$defs/d0"})
}

fn nested(levels: usize, around: impl Fn(Value) -> Value, inmost: Value) -> Value {
    (0..levels).fold(inmost, |inner, _| around(inner))
}

fn many<T: Into<Value>>(count: usize, item: impl Fn(usize) -> T) -> Value {
    Value::Array((0..count).map(|index| item(index).into()).collect())
}

fn map(count: usize, entry: impl Fn(usize) -> (String, Value)) -> Value {
    Value::Object((0..count).map(entry).collect())
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// Lists as deep as a request may have them.
fn deep() -> Value {
    nested(limits::JSON_DEPTH - 4, |inner| json!([inner]), json!(1))
}

#[test]
fn references_that_lead_in_a_circle_or_out_of_the_schema_are_refused() {
    let any = || json!({"a": [1]});
    play(vec![
        ("itself", json!({"$ref": "#"}), any(), Refused("in a circle")),
        ("itself, twice", json!({"allOf": [{"$ref": "#"}, {"$ref": "#"}]}), any(), Refused("in a circle")),
        (
            "each other",
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
            any(),
            Refused("in a circle"),
        ),
        ("through not", json!({"not": {"$ref": "#"}}), any(), Refused("in a circle")),
        ("through if", json!({"if": {"$ref": "#"}, "then": false}), any(), Refused("in a circle")),
        ("through an anchor", json!({"$anchor": "top", "anyOf": [{"$ref": "#top"}]}), any(), Refused("in a circle")),
        ("through a key", json!({"dependentSchemas": {"a": {"$ref": "#"}}}), any(), Refused("in a circle")),
        (
            "in what no keyword reads, but a $ref may",
            json!({"x": {"oneOf": [{"$ref": "#/x"}]}, "$ref": "#/x"}),
            any(),
            Refused("in a circle"),
        ),
        (
            "a dynamic one",
            json!({"$dynamicAnchor": "n", "allOf": [{"$dynamicRef": "#n"}]}),
            any(),
            Refused("$dynamicRef"),
        ),
        (
            "a recursive one",
            json!({"$schema": "https://json-schema.org/draft/2019-09/schema", "items": {"$recursiveRef": "#"}}),
            any(),
            Refused("$recursiveRef"),
        ),
        (
            "to the metaschema",
            json!({"$ref": "https://json-schema.org/draft/2020-12/schema"}),
            any(),
            Refused("out of"),
        ),
        ("to the network", json!({"$ref": "https://169.254.169.254/latest"}), any(), Refused("out of")),
        ("to a file", json!({"items": {"$ref": "file:///proc/self/environ"}}), any(), Refused("out of")),
        ("to a neighbour", json!({"properties": {"a": {"$ref": "other.json"}}}), any(), Refused("out of")),
        ("to nothing", json!({"$ref": ""}), any(), Refused("out of")),
        ("nowhere", json!({"$ref": "#/$defs/none"}), any(), Refused("leads nowhere")),
        ("escaped", json!({"$ref": "#/%24defs/a", "$defs": {"a": true}}), any(), Refused("percent-encoding")),
        ("an id below", json!({"items": {"$id": "https://a.example/", "$ref": "#"}}), any(), Refused("$id")),
        (
            "a draft below",
            json!({"items": {"$schema": "http://json-schema.org/draft-07/schema#"}}),
            any(),
            Refused("$schema"),
        ),
        ("an unknown draft", json!({"$schema": "https://a.example/schema"}), any(), Refused("$schema must name")),
        ("draft 4", json!({"$schema": "http://json-schema.org/draft-04/schema#"}), any(), Refused("$schema must name")),
        ("an anchor twice", json!({"allOf": [{"$anchor": "a"}, {"$anchor": "a"}]}), any(), Refused("stands twice")),
    ]);
}

#[test]
fn recursion_that_ends_is_taken() {
    let tree = json!({
        "$ref": "#/$defs/node",
        "$defs": {"node": {
            "type": "object", "required": ["name"],
            "properties": {"name": {"type": "string", "pattern": "^[a-z]+$"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
            "additionalProperties": false,
        }},
    });
    let good = nested(20, |inner| json!({"name": "a", "children": [inner]}), json!({"name": "b"}));
    let bad = nested(20, |inner| json!({"name": "a", "children": [inner]}), json!({"name": "B"}));
    let any_json = json!({
        "$anchor": "json",
        "anyOf": [
            {"type": ["string", "number", "boolean", "null"]},
            {"type": "array", "items": {"$ref": "#json"}},
            {"type": "object", "additionalProperties": {"$ref": "#json"}},
        ],
    });
    play(vec![
        ("a good tree", tree.clone(), good, Holds),
        ("a bad tree", tree, bad, Breaks),
        ("any JSON", any_json.clone(), deep(), Holds),
        ("any JSON, large", any_json, many(2_000, |index| json!({"a": [index, "b"]})), Holds),
        (
            "draft 7",
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "format": "date"}),
            json!("x"),
            Breaks,
        ),
        (
            "own properties of those names",
            json!({"properties": {"$ref": {"type": "string"}, "$id": true}}),
            json!({"$ref": 1}),
            Breaks,
        ),
    ]);
}

#[test]
fn trees_that_double_with_each_level_are_refused() {
    let twice = |keyword: &'static str| move |next: Value| json!({keyword: [next.clone(), next]});
    let text = || json!({"type": "string"});
    play(vec![
        ("allOf", chain(25, twice("allOf"), text()), json!(1), Refused("comes to more than")),
        ("anyOf", chain(25, twice("anyOf"), text()), json!(1), Refused("comes to more than")),
        ("oneOf", chain(200, twice("oneOf"), text()), json!("x"), Refused("comes to more than")),
        (
            "if",
            chain(25, |next| json!({"if": next.clone(), "then": next.clone(), "else": next}), text()),
            json!(1),
            Refused("comes to more than"),
        ),
        (
            "by key",
            chain(40, |next| json!({"dependentSchemas": {"a": next.clone(), "b": next}}), text()),
            json!({"a": 1, "b": 2}),
            Refused("comes to more than"),
        ),
        (
            "unevaluated",
            nested(
                20,
                |inner| json!({"anyOf": [inner], "unevaluatedProperties": false}),
                json!({"properties": {"a": true}}),
            ),
            json!({"a": 1}),
            Refused("comes to more than"),
        ),
        ("a long chain", chain(2_000, |next| next, text()), json!(1), Refused("follow from each other")),
        ("as large as can be", chain(12, twice("anyOf"), text()), json!(1), Breaks),
        ("as large as can be, oneOf", chain(12, twice("oneOf"), text()), json!(1), Breaks),
        ("as large as can be, allOf", chain(12, twice("allOf"), text()), json!(1), Breaks),
        ("as long as can be", chain(400, |next| next, text()), json!(1), Breaks),
        ("as long as can be, anyOf", chain(200, |next| json!({"anyOf": [next]}), text()), json!(1), Breaks),
        (
            "unevaluated, as large as can be",
            nested(
                6,
                |inner| json!({"anyOf": [inner], "unevaluatedProperties": false}),
                json!({"properties": {"a": true}}),
            ),
            json!({"a": 1}),
            Holds,
        ),
        ("not", nested(30, |inner| json!({"not": inner}), text()), json!(1), Breaks),
        ("nested too deep", nested(70, |inner| json!({"not": inner}), text()), json!(1), Refused("nested deeper")),
    ]);
}

#[test]
fn what_doubles_with_each_level_of_the_value_is_stopped() {
    let node = |body: Value| json!({"$ref": "#/$defs/n", "$defs": {"n": body}});
    let again = || json!({"$ref": "#/$defs/n"});
    let objects = nested(60, |inner| json!({"a": inner}), json!(1));
    play(vec![
        ("items twice", node(json!({"allOf": [{"items": again()}, {"items": again()}]})), deep(), TooCostly),
        ("items and contains", node(json!({"items": again(), "contains": again()})), deep(), TooCostly),
        ("items and unevaluated", node(json!({"items": again(), "unevaluatedItems": false})), deep(), TooCostly),
        (
            "properties and patterns",
            node(json!({"properties": {"a": again()}, "patternProperties": {"a": again()}})),
            objects,
            TooCostly,
        ),
        (
            "many schemas at every level",
            node(nested(20, |inner| json!({"anyOf": [inner]}), json!({"items": again()}))),
            deep(),
            TooCostly,
        ),
        (
            "some schemas at every level",
            node(nested(3, |inner| json!({"anyOf": [inner]}), json!({"items": again()}))),
            deep(),
            Holds,
        ),
    ]);
}

#[test]
fn large_values_under_wide_schemas_are_stopped() {
    let ones = || many(120_000, |_| 1);
    let empty = || many(80_000, |_| json!({}));
    play(vec![
        ("allOf", json!({"items": {"allOf": many(2_000, |_| json!({"minimum": 0}))}}), ones(), TooCostly),
        ("required", json!({"items": {"required": many(10_000, |index| format!("r{index}"))}}), empty(), TooCostly),
        (
            "properties",
            json!({"items": {"properties": map(8_000, |index| (format!("p{index}"), json!(true)))}}),
            empty(),
            TooCostly,
        ),
        (
            "keys",
            json!({"items": {"dependentSchemas": map(5_000, |index| (format!("p{index}"), json!(true)))}}),
            empty(),
            TooCostly,
        ),
        (
            "required by key",
            json!({"items": {"dependentRequired": map(5_000, |index| (format!("p{index}"), json!([])))}}),
            empty(),
            TooCostly,
        ),
        (
            "enum of objects",
            json!({"items": {"enum": many(9_000, |index| json!({"a": index}))}}),
            many(20_000, |_| json!({"a": -1})),
            TooCostly,
        ),
        ("enum of one, deep", json!({"items": {"enum": [many(60_000, |_| 1)]}}), ones(), Breaks),
        ("violations by the million", json!({"items": {"allOf": many(10, |_| json!({"minimum": 3}))}}), ones(), Breaks),
        ("items", json!({"items": {"type": "integer", "minimum": 0, "maximum": 5}}), ones(), Holds),
        ("contains", json!({"contains": {"type": "string"}, "minContains": 5, "maxContains": 100_000}), ones(), Breaks),
        (
            "unevaluated items",
            json!({"allOf": many(50, |_| json!({"contains": {"type": "string"}})), "unevaluatedItems": false}),
            ones(),
            TooCostly,
        ),
    ]);
}

#[test]
fn unique_items_are_compared_a_bounded_number_of_times() {
    let unique = || json!({"uniqueItems": true});
    /// A different tree of brackets for each number.
    fn brackets(number: usize) -> Value {
        let bits = (0..12).map(|bit| number >> bit & 1);
        bits.fold(json!([]), |inner, bit| if bit == 1 { json!([inner]) } else { json!([inner, []]) })
    }
    play(vec![
        ("numbers", unique(), many(40_000, |index| index), Holds),
        ("texts", unique(), many(20_000, |index| format!("t{index}")), Holds),
        ("lists", unique(), many(1_000, |index| json!([index])), Holds),
        ("objects", unique(), many(1_000, |index| json!({"id": index})), Holds),
        ("a repeated object", unique(), json!([{"a": 1, "b": 2}, {"b": 2, "a": 1}]), Breaks),
        ("brackets alone", unique(), many(4_000, brackets), TooCostly),
        ("infinite numbers", unique(), many(15_000, |index| parse(&format!("{index}e{}", 100_000 + index))), TooCostly),
        (
            "numbers of one hash",
            unique(),
            many(8_000, |index| parse(&format!("9007199254740993000000{index}"))),
            TooCostly,
        ),
    ]);
}

#[test]
fn numbers_of_any_length_are_checked_in_bounded_time() {
    let digits = |count: usize| parse(&"9".repeat(count));
    play(vec![
        ("a huge limit", json!({"minimum": parse("1e1000000000")}), parse("1e999999999"), Breaks),
        ("a huge multiple", json!({"multipleOf": 3}), parse("1e100000000"), Breaks),
        ("a tiny divisor", json!({"multipleOf": parse("1e-100000000")}), parse("1e100000000"), Holds),
        ("a huge integer", json!({"type": "integer"}), parse("1e1000000000"), Holds),
        ("an exponent beyond all", json!({"type": "integer", "minimum": 0}), parse("1e99999999999999999999"), Holds),
        ("a long limit", json!({"minimum": digits(100_000)}), digits(250_000), Holds),
        ("a long divisor", json!({"multipleOf": digits(60_000)}), digits(250_000), TooCostly),
        ("many limits", json!({"allOf": many(5_000, |_| json!({"minimum": 9}))}), digits(250_000), TooCostly),
        ("a small divisor", json!({"multipleOf": parse("0.0000001")}), digits(250_000), Holds),
    ]);
}

#[test]
fn patterns_are_bounded_in_size_and_time() {
    let long = || json!("ab".repeat(120_000));
    let pattern = |pattern: &str| json!({"pattern": pattern});
    play(vec![
        ("repeated repetitions", pattern("a{1000}{1000}"), long(), Refused("too large")),
        ("nested repetitions", pattern("(a{100}){100}b"), long(), Refused("too large")),
        ("deeper", pattern("(((a{30}){30}){30}){30}"), long(), Refused("too large")),
        ("unbounded above", pattern("(a{99999999999999999999,})"), long(), Refused("too large")),
        ("optional ones", pattern("(a?){1000}(a|aa|aaa){1000}[^a]"), long(), Refused("too large")),
        ("Unicode", pattern(r"\p{L}{1000}"), long(), Refused("too large")),
        ("Unicode in a class", pattern(r"[\p{L}\p{N}]{50}"), long(), Refused("too large")),
        ("nested groups", pattern(&format!("{}a{}", "(".repeat(3_000), ")".repeat(3_000))), long(), Refused("")),
        ("look-ahead", pattern("(?=a)b"), long(), Refused("")),
        ("a back-reference", pattern(r"(a)\1"), long(), Refused("")),
        ("broken", pattern("(["), long(), Refused("")),
        (
            "too many",
            json!({"allOf": many(1_000, |index| json!({"pattern": format!("a{{500}}{index}")}))}),
            json!("a"),
            Refused("too large together"),
        ),
        (
            "by key",
            json!({"patternProperties": map(2_000, |index| (format!("a{{100}}{index}"), json!(true)))}),
            json!({}),
            Refused("too large together"),
        ),
        ("exponential elsewhere", pattern("^(a+)+$"), json!(format!("{}!", "a".repeat(5_000))), Breaks),
        ("alternatives", pattern("^(a|a|ab|b)*$"), json!(format!("{}!", "ab".repeat(5_000))), Breaks),
        ("polynomial elsewhere", pattern(r"^\s*.*\s*$"), json!(" ".repeat(5_000)), Holds),
        ("an automaton too large", pattern("[ab]*a[ab]{200}[cd]"), long(), TooCostly),
        (
            "many keys",
            json!({"patternProperties": map(200, |index| (format!("a{index}.*b"), json!({"type": "string"})))}),
            map(10_000, |index| (format!("a{index}x"), json!(1))),
            TooCostly,
        ),
        ("an address", pattern(r"^[a-z0-9._-]+@[a-z0-9-]+\.[a-z]{2,}$"), json!("ada@example.org"), Holds),
        ("a long text", pattern("^[ab]*$"), long(), Holds),
    ]);
}

#[test]
fn formats_cost_no_more_than_their_text() {
    let format = |format: &str| json!({"$schema": "http://json-schema.org/draft-07/schema#", "format": format});
    play(vec![
        ("a pattern", format("regex"), json!("(".repeat(20_000)), Breaks),
        ("a large pattern", format("regex"), json!("(a{1000}){1000}".repeat(1_000)), Holds),
        ("nested groups", format("regex"), json!(format!("{}{}", "(?:".repeat(5_000), ")".repeat(5_000))), Holds),
        ("an address", format("email"), json!("a".repeat(250_000)), Breaks),
        ("a template", format("uri-template"), json!("{".repeat(250_000)), Breaks),
        (
            "JSON",
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "contentMediaType": "application/json"}),
            json!("[".repeat(250_000)),
            Breaks,
        ),
    ]);
}

#[test]
fn a_violation_repeats_no_value() {
    let schema = json!({"properties": {"password": {"maxLength": 3}, "n": {"enum": many(1_000, |index| index)}}});
    let mut invalid = Invalid::default();
    check_schema(&schema, &json!({"password": "sk-secret", "n": "sk-secret"}), &Field::Input.at(), &mut invalid);
    assert_eq!(invalid.violations.len(), 2);
    assert!(!invalid.to_string().contains("sk-secret"), "{invalid}");
    assert!(invalid.violations.iter().all(|one| one.message.chars().count() <= limits::SCHEMA_MESSAGE_CHARS + 1));
}

#[test]
fn steps_are_counted_from_above() {
    let steps = |schema: Value, value: Value| {
        inspect(&schema).and_then(|inspected| measure(&inspected, &value)).expect("within the bounds")
    };
    assert_eq!(steps(json!(true), json!(1)), 1);
    let ten = steps(json!({"items": {"type": "integer"}}), many(10, |index| index));
    let thousand = steps(json!({"items": {"type": "integer"}}), many(1_000, |index| index));
    assert!(ten >= 10 && (80..=120).contains(&(thousand / ten)), "{ten} {thousand}");
}
