//! The schemas that were described so far, and how parts of the description refer to each other.

use crate::route::Described;
use serde_json::{Map, Value, json};

/// Schemas by their name.
#[derive(Default)]
pub(super) struct Schemas(pub Map<String, Value>);

impl Schemas {
    /// Adds a type with its parts, and refers to it.
    ///
    /// # Panics
    /// When two types that are not the same have one name.
    pub fn reference(&mut self, schema: Described) -> Value {
        let all = schema();
        let reference = to_schema(&all[0].0);
        for (name, schema) in all {
            let schema = written(&schema);
            if let Some(other) = self.0.insert(name.clone(), schema.clone()) {
                assert_eq!(other, schema, "two types are described as {name}");
            }
        }
        reference
    }
}

fn written<T: serde::Serialize>(part: &T) -> Value {
    serde_json::to_value(part).unwrap_or_default()
}

pub(super) fn to_schema(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

pub(super) fn to_parameter(name: &str) -> Value {
    json!({"$ref": format!("#/components/parameters/{name}")})
}

pub(super) fn to_header(name: &str) -> Value {
    json!({"$ref": format!("#/components/headers/{name}")})
}
