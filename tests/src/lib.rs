//! What both test binaries read: the project's documents, its pages with what runs cost, and the schema of what processors get.

pub mod cost;
pub mod pages;

use std::fs;
use std::path::{Path, PathBuf};

use jsonschema::{Draft, Validator};
use serde_json::{Value, json};
use sluice_local::place;

/// A file of the project, by its path from the root.
pub fn file(path: impl AsRef<Path>) -> PathBuf {
    place::project().join(path)
}

/// The text of a file of the project.
///
/// # Panics
/// When it cannot be read.
pub fn text(path: impl AsRef<Path>) -> String {
    let path = file(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A JSON document of the project.
///
/// # Panics
/// When it cannot be read, or is no JSON.
pub fn json(path: impl AsRef<Path>) -> Value {
    let path = path.as_ref();
    serde_json::from_str(&text(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The processor contract.
pub const PROCESSOR_CONTRACT: &str = "infra/processor-contract.schema.json";

/// A validator of one definition of the processor contract, such as `input`.
///
/// # Panics
/// When the contract is no usable schema.
pub fn processor_contract(definition: &str) -> Validator {
    let contract = json(PROCESSOR_CONTRACT);
    let schema = json!({
        "$schema": contract["$schema"],
        "$ref": format!("#/$defs/{definition}"),
        "$defs": contract["$defs"],
    });
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .build(&schema)
        .unwrap_or_else(|error| panic!("{PROCESSOR_CONTRACT}: {error}"))
}

/// What a value breaks of a schema, each with its place.
pub fn violations(validator: &Validator, value: &Value) -> Vec<String> {
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}
