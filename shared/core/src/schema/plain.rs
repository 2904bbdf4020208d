//! Schemas that need no schema engine to be seen to hold.
//!
//! Nearly every schema of a request is types, properties and a few bounds. The engine takes about five milliseconds of CPU
//! to make itself ready for its first schema, longer than everything else that a new process does for a run; so it is
//! asked only for what is said here to be more than plain, and for whatever is not seen at once to hold.
//!
//! **Invariants:** the engine takes every schema that is plain, and every value that is accepted here is one that it finds
//! valid. It is never the other way round: what is not accepted, the engine decides, and says why.

use serde_json::{Map, Number, Value};
use std::collections::BTreeSet;

/// Without `$schema` a schema is of this draft. In others, keywords have other meanings.
const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";
const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];

/// Whether a schema is made of keywords that are known here alone, each as its draft wants it.
pub fn is_plain(schema: &Value) -> bool {
    match schema {
        Value::Bool(_) => true,
        Value::Object(keywords) => keywords.iter().all(|(keyword, value)| is_plain_keyword(keyword, value)),
        Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => false,
    }
}

fn is_plain_keyword(keyword: &str, value: &Value) -> bool {
    match keyword {
        "$schema" => value == DRAFT,
        "$comment" | "title" | "description" => value.is_string(),
        "default" | "const" => true,
        "examples" => value.is_array(),
        "deprecated" | "readOnly" | "writeOnly" => value.is_boolean(),
        "type" => match value {
            Value::String(name) => TYPES.contains(&name.as_str()),
            Value::Array(names) => {
                let all_known = names.iter().all(|name| name.as_str().is_some_and(|name| TYPES.contains(&name)));
                all_known && !names.is_empty() && are_different(names)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
        },
        "enum" => value.as_array().is_some_and(|values| !values.is_empty()),
        "required" => value.as_array().is_some_and(|names| names.iter().all(Value::is_string) && are_different(names)),
        "properties" => value.as_object().is_some_and(|properties| properties.values().all(is_plain)),
        "items" | "additionalProperties" => is_plain(value),
        "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" => {
            count(value).is_some()
        }
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => whole(value).is_some(),
        _ => false,
    }
}

fn are_different(texts: &[Value]) -> bool {
    texts.iter().filter_map(Value::as_str).collect::<BTreeSet<_>>().len() == texts.len()
}

/// Whether a value is seen to hold against a plain schema. `false` says nothing.
pub fn accepts(schema: &Value, value: &Value) -> bool {
    match schema {
        Value::Bool(accepts) => *accepts,
        Value::Object(keywords) => keywords.iter().all(|(keyword, bound)| holds(keyword, bound, keywords, value)),
        Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => false,
    }
}

fn holds(keyword: &str, bound: &Value, keywords: &Map<String, Value>, value: &Value) -> bool {
    match keyword {
        "$schema" | "$comment" | "title" | "description" | "default" | "examples" | "deprecated" | "readOnly"
        | "writeOnly" => true,
        "type" => match bound {
            Value::String(name) => is_of(name, value),
            Value::Array(names) => names.iter().filter_map(Value::as_str).any(|name| is_of(name, value)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
        },
        "const" => is_same(bound, value),
        "enum" => bound.as_array().is_some_and(|all| all.iter().any(|one| is_same(one, value))),
        "minLength" | "maxLength" => value.as_str().is_none_or(|text| within(keyword, text.chars().count(), bound)),
        "minItems" | "maxItems" => value.as_array().is_none_or(|items| within(keyword, items.len(), bound)),
        "minProperties" | "maxProperties" => {
            value.as_object().is_none_or(|fields| within(keyword, fields.len(), bound))
        }
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => {
            !value.is_number() || is_bounded(keyword, value, bound)
        }
        "required" => value.as_object().is_none_or(|fields| {
            let mut names = bound.as_array().into_iter().flatten().filter_map(Value::as_str);
            names.all(|name| fields.contains_key(name))
        }),
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| accepts(bound, item))),
        "properties" => value.as_object().is_none_or(|fields| {
            let mut properties = bound.as_object().into_iter().flatten();
            properties.all(|(name, schema)| fields.get(name).is_none_or(|field| accepts(schema, field)))
        }),
        "additionalProperties" => value.as_object().is_none_or(|fields| {
            let named = keywords.get("properties").and_then(Value::as_object);
            let mut others = fields.iter().filter(|(name, _)| !named.is_some_and(|named| named.contains_key(*name)));
            others.all(|(_, field)| accepts(bound, field))
        }),
        _ => false,
    }
}

fn is_of(name: &str, value: &Value) -> bool {
    match value {
        Value::Null => name == "null",
        Value::Bool(_) => name == "boolean",
        Value::String(_) => name == "string",
        Value::Array(_) => name == "array",
        Value::Object(_) => name == "object",
        Value::Number(number) => match name {
            "integer" => whole(value).is_some(),
            "number" => is_ordinary(number),
            _ => false,
        },
    }
}

/// Written alike. Numbers may be equal otherwise too.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(_), Value::Number(_)) => whole(one).is_some() && whole(one) == whole(other),
        (Value::Array(some), Value::Array(others)) => {
            some.len() == others.len() && some.iter().zip(others).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(some), Value::Object(others)) => {
            let is_there = |(name, one): (&String, &Value)| others.get(name).is_some_and(|other| is_same(one, other));
            some.len() == others.len() && some.iter().all(is_there)
        }
        _ => one == other && !one.is_number(),
    }
}

fn within(keyword: &str, found: usize, bound: &Value) -> bool {
    let (Some(bound), Ok(found)) = (count(bound), u64::try_from(found)) else { return false };
    if keyword.starts_with("min") { found >= bound } else { found <= bound }
}

fn is_bounded(keyword: &str, value: &Value, bound: &Value) -> bool {
    let (Some(value), Some(bound)) = (whole(value), whole(bound)) else { return false };
    match keyword {
        "minimum" => value >= bound,
        "maximum" => value <= bound,
        "exclusiveMinimum" => value > bound,
        "exclusiveMaximum" => value < bound,
        _ => false,
    }
}

/// A whole number that is written as one, and is not large.
fn whole(value: &Value) -> Option<i64> {
    let number = value.as_number()?;
    number.as_str().parse().ok().filter(|whole: &i64| whole.unsigned_abs() < 1 << 53)
}

fn count(value: &Value) -> Option<u64> {
    whole(value).and_then(|whole| u64::try_from(whole).ok())
}

/// Digits with a point among them at most, and few of them.
fn is_ordinary(number: &Number) -> bool {
    let text = number.as_str();
    text.len() <= 17 && !text.contains(['e', 'E'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn the_schemas_that_people_write_are_plain_and_hold_at_once() {
        let schema = json!({
            "$schema": DRAFT,
            "title": "An order",
            "type": "object",
            "properties": {
                "id": {"type": "string", "minLength": 1, "maxLength": 4},
                "lines": {"type": "array", "minItems": 1, "maxItems": 3, "items": {
                    "type": "object",
                    "properties": {"count": {"type": "integer", "minimum": 1, "exclusiveMaximum": 10}, "price": {"type": "number"}},
                    "required": ["count"]
                }},
                "state": {"enum": ["new", "paid", 3, null]},
                "kind": {"const": {"a": [1, true]}},
                "note": {"type": ["string", "null"], "description": "free", "default": null},
                "more": true
            },
            "required": ["id", "lines"],
            "additionalProperties": {"type": "boolean"},
            "minProperties": 2,
            "maxProperties": 6
        });
        assert!(is_plain(&schema));
        for value in [
            json!({"id": "ä€", "lines": [{"count": 1}]}),
            json!({"id": "1", "lines": [{"count": 9, "price": 1.25}, {"count": 2}], "state": "paid", "note": null, "b": false}),
            json!({"id": "1", "lines": [{"count": 2}], "state": 3, "kind": {"a": [1, true]}, "more": [1e3]}),
        ] {
            assert!(accepts(&schema, &value), "{value}");
        }
        for value in [
            json!({"id": "12345", "lines": [{"count": 1}]}),
            json!({"id": "", "lines": [{"count": 1}]}),
            json!({"id": "1", "lines": []}),
            json!({"id": "1", "lines": [{"count": 10}]}),
            json!({"id": "1", "lines": [{"count": 0}]}),
            json!({"id": "1", "lines": [{}]}),
            json!({"id": "1", "lines": [{"count": 1}], "other": 1}),
            json!({"id": "1", "lines": [{"count": 1}], "state": "lost"}),
            json!({"id": "1"}),
            json!([]),
        ] {
            assert!(!accepts(&schema, &value), "{value}");
        }
    }

    #[test]
    fn whatever_else_a_schema_says_is_for_the_engine() {
        for schema in [
            json!({"$schema": "http://json-schema.org/draft-07/schema#"}),
            json!({"$ref": "#"}),
            json!({"$defs": {}}),
            json!({"pattern": "^a"}),
            json!({"format": "date"}),
            json!({"type": "text"}),
            json!({"type": []}),
            json!({"type": ["null", "null"]}),
            json!({"required": ["a", "a"]}),
            json!({"required": "a"}),
            json!({"properties": {"a": {"oneOf": []}}}),
            json!({"properties": []}),
            json!({"items": [true]}),
            json!({"items": null}),
            json!({"enum": []}),
            json!({"minLength": -1}),
            json!({"minLength": 1.0}),
            json!({"minimum": "1"}),
            json!({"maximum": 9_007_199_254_740_992_u64}),
            json!({"uniqueItems": true}),
            json!({"title": 1}),
            json!({"additionalProperties": 1}),
            json!({"unknown": 1}),
            json!(1),
        ] {
            assert!(!is_plain(&schema), "{schema}");
        }
    }

    /// Small, so that schemas and values meet.
    fn any_value() -> impl Strategy<Value = Value> {
        let number = prop::sample::select(vec![
            "0",
            "-0",
            "1",
            "2",
            "1.0",
            "0.5",
            "-1",
            "1e0",
            "2E3",
            "1e400",
            "9007199254740992",
            "9007199254740993",
            "123456789012345678901234567890",
            "0.1000000000000000000001",
        ]);
        let number = number.prop_map(|text| serde_json::from_str(text).expect("a number"));
        let text = prop::sample::select(vec!["", "a", "b", "ab", "€", "e\u{301}"]).prop_map(Value::from);
        let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), number, text];
        leaf.prop_recursive(3, 12, 3, |inner| {
            let fields = prop::collection::btree_map(prop::sample::select(vec!["a", "b", "c"]), inner.clone(), 0..3);
            let fields =
                fields.prop_map(|fields| fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
            prop_oneof![prop::collection::vec(inner, 0..3).prop_map(Value::Array), fields.prop_map(Value::Object)]
        })
    }

    /// Of keywords that are known here, and of one that is not; mostly, but not always, as the draft wants them.
    fn any_schema() -> impl Strategy<Value = Value> {
        let names = prop::sample::select(TYPES.to_vec()).prop_map(Value::from);
        let list = prop::collection::vec(
            prop_oneof![names.clone(), prop::sample::select(vec!["a", "b"]).prop_map(Value::from)],
            0..3,
        );
        let size = prop::sample::select(vec![json!(0), json!(1), json!(2), json!(-1), json!(1.0), json!("1")]);
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            names.clone().prop_map(|name| json!({"type": name})),
            any_value().prop_map(|value| json!({"const": value})),
            any_value(),
        ];
        leaf.prop_recursive(3, 16, 4, move |inner| {
            let sized = prop::sample::select(vec![
                "minLength",
                "maxLength",
                "minItems",
                "maxItems",
                "minProperties",
                "maxProperties",
                "minimum",
                "maximum",
                "exclusiveMinimum",
                "exclusiveMaximum",
            ]);
            let keyword = prop_oneof![
                (Just("type"), names.clone()),
                (prop::sample::select(vec!["type", "required", "enum"]), list.clone().prop_map(Value::Array)),
                (Just("enum"), prop::collection::vec(any_value(), 0..4).prop_map(Value::Array)),
                (sized, size.clone()),
                (prop::sample::select(vec!["items", "additionalProperties", "not"]), inner.clone()),
                (
                    Just("properties"),
                    prop::collection::btree_map("[abc]", inner, 0..3).prop_map(|fields| json!(fields))
                ),
                (prop::sample::select(vec!["default", "examples", "title", "readOnly", "$comment"]), any_value()),
            ];
            prop::collection::vec(keyword, 0..4).prop_map(|keywords| {
                Value::Object(keywords.into_iter().map(|(keyword, value)| (keyword.to_owned(), value)).collect())
            })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn what_is_plain_the_engine_takes_and_what_is_accepted_it_finds_valid(
            schema in any_schema(),
            values in prop::collection::vec(any_value(), 8),
        ) {
            if is_plain(&schema) {
                let engine = jsonschema::options().build(&schema);
                prop_assert!(engine.is_ok(), "{schema}: {:?}", engine.err());
                for value in &values {
                    let holds = engine.as_ref().is_ok_and(|engine| engine.is_valid(value));
                    prop_assert!(holds || !accepts(&schema, value), "{schema} does not hold for {value}");
                    // What has no number in it is not left to the engine when it holds.
                    let has_number = schema.to_string().contains(|c: char| c.is_ascii_digit()) || value.to_string().contains(|c: char| c.is_ascii_digit());
                    prop_assert!(has_number || holds == accepts(&schema, value), "{schema} holds for {value}");
                }
            }
        }
    }
}
