//! What a version leaves open until a run is made: `{{variables}}`, `[[runtimeVariables]]`, and JSON Schemas.

use crate::limits;
use crate::place::{At, Step};
use crate::schema::{self, plain};
use crate::violation::{Invalid, ViolationCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluice_schema::Engine;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::OnceLock;

/// Bytes that a pattern and its cache may take: [`limits::SCHEMA_PATTERN_STATES`] with room to spare, a second line behind them.
const PATTERN_BYTES: usize = 1 << 20;

/// Checks `value` against `schema`; every violation is reported below `at`. Values are not repeated: one may be a
/// secret, or as large as the request.
pub fn check_schema(schema: &Value, value: &Value, at: &At<'_>, invalid: &mut Invalid) {
    match compile_schema(schema) {
        Ok(compiled) => compiled.check(schema, value, at, invalid),
        Err(message) => invalid.add(at, ViolationCode::InvalidSchema, message),
    }
}

/// Compiles a JSON Schema that a tenant wrote. Patterns run on a linear-time engine, nothing is fetched, and what it may
/// cost is bounded (see [`schema`]).
///
/// # Errors
/// A sentence for the tenant.
pub fn compile_schema(schema: &Value) -> Result<CompiledSchema, String> {
    if !schema.is_object() && !schema.is_boolean() {
        return Err("a JSON Schema is an object or a boolean".to_owned());
    }
    schema::inspect(schema).map_err(|reason| format!("not a usable JSON Schema: {reason}"))?;
    if plain::is_plain(schema) {
        return Ok(CompiledSchema { is_plain: true, engine: OnceLock::new() });
    }
    engine(schema).map(|engine| CompiledSchema { is_plain: false, engine: OnceLock::from(Ok(engine)) })
}

fn engine(schema: &Value) -> Result<Engine, String> {
    Engine::new(schema, PATTERN_BYTES).map_err(|error| shortened(format!("not a usable JSON Schema: {error}")))
}

/// A JSON Schema made ready for more than one value.
#[derive(Debug)]
pub struct CompiledSchema {
    /// It is asked first whether a value is seen to hold: see [`plain`].
    is_plain: bool,
    /// A plain schema's is made for the first value that is not.
    engine: OnceLock<Result<Engine, String>>,
}

impl CompiledSchema {
    /// [`check_schema`] for the schema that this was made of.
    pub fn check(&self, schema: &Value, value: &Value, at: &At<'_>, invalid: &mut Invalid) {
        let steps = match schema::inspect(schema).and_then(|inspected| schema::measure(&inspected, value)) {
            Ok(steps) => steps,
            Err(message) => {
                return invalid.add(at, ViolationCode::InvalidSchema, format_args!("cannot be checked: {message}"));
            }
        };
        if self.is_plain && plain::accepts(schema, value) {
            return;
        }
        let engine = match self.engine.get_or_init(|| engine(schema)) {
            Ok(engine) => engine,
            Err(message) => return invalid.add(at, ViolationCode::InvalidSchema, message),
        };
        if engine.is_valid(value) {
            return;
        }
        if steps > limits::SCHEMA_STEPS_IN_DETAIL {
            let message = "breaks the schema, and is too large to say where";
            return invalid.add(at, ViolationCode::SchemaViolation, message);
        }
        engine.violations(value, &mut |pointer, message| {
            invalid.add(at.along(&steps_to(pointer, value)), ViolationCode::SchemaViolation, shortened(message));
            if invalid.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    }
}

/// The way that a JSON pointer (RFC 6901) leads into `value`: that is how the schema's checker says where.
fn steps_to(pointer: &str, value: &Value) -> Vec<Step> {
    let mut here = Some(value);
    let tokens = pointer.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~"));
    tokens
        .map(|token| {
            let index = here.filter(|here| here.is_array()).and_then(|_| token.parse::<usize>().ok());
            here = match index {
                Some(index) => here.and_then(|here| here.get(index)),
                None => here.and_then(|here| here.get(&token)),
            };
            index.map_or(Step::Key(token), Step::Index)
        })
        .collect()
}

fn shortened(message: String) -> String {
    match message.char_indices().nth(limits::SCHEMA_MESSAGE_CHARS) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message,
    }
}

/// The values for the two kinds of placeholder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Variables {
    /// For `{{name}}`.
    #[serde(default)]
    pub variables: BTreeMap<String, Value>,
    /// For `[[name]]`.
    #[serde(default)]
    pub runtime_variables: BTreeMap<String, Value>,
}

impl Variables {
    /// Replaces every placeholder in every string of `value`. A string that is nothing but one placeholder becomes the
    /// variable's value, of whatever type; inside other text a string is inserted as it is, anything else as JSON.
    /// What is inserted is not searched again. A placeholder without a value is a violation at `at`.
    pub fn fill(&self, value: &mut Value, at: &At<'_>, invalid: &mut Invalid) {
        match value {
            Value::String(text) => {
                if let Some(filled) = self.fill_text(text, at, invalid) {
                    *value = filled;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.fill(item, at, invalid)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.fill(field, at, invalid)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn fill_text(&self, text: &str, at: &At<'_>, invalid: &mut Invalid) -> Option<Value> {
        let mut filled = String::new();
        let mut rest = text;
        let mut found = false;
        while let Some(start) = rest.find("{{").into_iter().chain(rest.find("[[")).min() {
            let (values, close, kind) = if rest[start..].starts_with("{{") {
                (&self.variables, "}}", "variable")
            } else {
                (&self.runtime_variables, "]]", "runtime variable")
            };
            let name_and_on = &rest[start + 2..];
            let name = name_and_on.find(close).map(|end| &name_and_on[..end]);
            let Some(name) = name.filter(|name| is_variable_name(name.trim())) else {
                // Not a placeholder, just two brackets.
                filled.push_str(&rest[..start + 2]);
                rest = name_and_on;
                continue;
            };
            found = true;
            let after = &name_and_on[name.len() + close.len()..];
            match values.get(name.trim()) {
                Some(value) if start == 0 && rest.len() == text.len() && after.is_empty() => {
                    return Some(value.clone());
                }
                Some(Value::String(value)) => {
                    filled.push_str(&rest[..start]);
                    filled.push_str(value);
                }
                Some(value) => {
                    filled.push_str(&rest[..start]);
                    filled.push_str(&value.to_string());
                }
                None => {
                    let message = format_args!("the {kind} {:?} has no value", name.trim());
                    invalid.add(at, ViolationCode::UnresolvedVariable, message);
                }
            }
            rest = after;
        }
        found.then(|| {
            filled.push_str(rest);
            Value::String(filled)
        })
    }
}

fn is_variable_name(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Field;
    use serde_json::json;

    fn fill(text: &str) -> (Value, Vec<String>) {
        let variables = Variables {
            variables: BTreeMap::from([
                ("name".to_owned(), json!("Ada")),
                ("n".to_owned(), json!(3)),
                ("x".to_owned(), json!("{{name}}")),
            ]),
            runtime_variables: BTreeMap::from([("key".to_owned(), json!({"a": 1}))]),
        };
        let mut value = json!(text);
        let mut invalid = Invalid::default();
        variables.fill(&mut value, &Field::ProcessorParams.at(), &mut invalid);
        (value, invalid.violations.into_iter().map(|violation| violation.message).collect())
    }

    #[test]
    fn placeholders_are_filled_once() {
        for (text, filled) in [
            ("Hello {{name}}!", json!("Hello Ada!")),
            ("{{ name }}", json!("Ada")),
            ("{{n}}", json!(3)),
            ("{{n}} times", json!("3 times")),
            ("[[key]]", json!({"a": 1})),
            ("a [[key]] {{name}}", json!("a {\"a\":1} Ada")),
            ("{{x}} {{x}}", json!("{{name}} {{name}}")),
            ("{{}} {{a b}} [[ [0]", json!("{{}} {{a b}} [[ [0]")),
            ("plain", json!("plain")),
            ("{{name", json!("{{name")),
        ] {
            assert_eq!(fill(text), (filled, vec![]), "{text}");
        }
    }

    #[test]
    fn a_placeholder_without_a_value_is_named() {
        assert_eq!(fill("{{nobody}}").1, ["the variable \"nobody\" has no value"]);
        assert_eq!(fill("[[name]]").1, ["the runtime variable \"name\" has no value"]);
    }

    #[test]
    fn a_schema_never_reaches_out() {
        for schema in
            [json!({"$ref": "https://example.com/schema.json"}), json!({"$ref": "file:///etc/passwd"}), json!(3)]
        {
            assert!(compile_schema(&schema).is_err(), "{schema}");
        }
    }

    #[test]
    fn every_schema_violation_is_reported_with_its_place() {
        let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["m"]});
        let mut invalid = Invalid::default();
        check_schema(&schema, &json!({"n": "x"}), &Field::Input.at(), &mut invalid);
        let places: Vec<String> = invalid.violations.iter().map(|violation| violation.place.to_string()).collect();
        assert_eq!(places.len(), 2);
        assert!(places.contains(&"Input".to_owned()) && places.contains(&r#"Input{"n"}"#.to_owned()), "{places:?}");
    }

    #[test]
    fn a_place_in_a_value_tells_indexes_from_keys() {
        let value = json!({"a/b": [{"0": {"": {"~": 1}}}]});
        let steps = steps_to("/a~1b/0/0//~0", &value);
        assert_eq!(Field::Input.at().along(&steps).place().to_string(), r#"Input{"a/b"}[0]{"0"}{""}{"~"}"#);
    }
}
