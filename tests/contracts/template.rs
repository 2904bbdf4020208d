//! The deployed template as a document: what an emulator ignores or cannot refuse.
//!
//! A test asks for a [`resource`] by its name or for all [`of_type`], and compares values; these words stand here, the tests
//! in the room of their subject.

mod account;
mod functions;
mod governor;
mod rights;
mod table;
mod tools;
mod watch;
mod ways_in;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::LazyLock;

use serde_json::{Value, json};
use sluice_local::{place, program};
use sluice_tests::file;

const TEMPLATE: &str = "infra/template.yaml";
const SAMPLE_TEMPLATE: &str = "infra/local/sample/template.yaml";

/// The functions behind the API, each with a URL of its own; the others are for events.
pub const HTTP_FUNCTIONS: [&str; 6] =
    ["cancel-run", "control-run", "create-run", "invoke-definition", "manage-definitions", "read-runs"];
pub const EVENT_FUNCTIONS: [&str; 3] = ["advance-run", "reconcile-runs", "run-callback"];
/// The function that is deployed only where models are governed, behind doors of its own.
pub const GOVERNOR: &str = "govern-calls";
/// The condition of everything that is there for it.
pub const GOVERNS: &str = "GovernsModels";

/// Every route, as `POST /v1/workflow-runs`, and the function that answers it: the table that the API's description is
/// made from.
pub fn routes() -> BTreeMap<String, &'static str> {
    let routes = sluice_edge::route::ROUTES.iter();
    routes.map(|route| (format!("{} {}", route.method, route.path), route.function)).collect()
}

/// The template as JSON, its short-form functions written out as `sam` reads them.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let read = "import json, sys; from samtranslator.yaml_helper import yaml_parse; \
                print(json.dumps(yaml_parse(open(sys.argv[1], encoding='utf-8').read()), default=str))";
    let output =
        run(Command::new(program("python").expect("the Python environment")).args(["-c", read]).arg(file(TEMPLATE)));
    serde_json::from_str(&output).expect("the template as JSON")
});

/// What a program printed. It must have ended well.
fn run(command: &mut Command) -> String {
    let home = place::target().join("e2e/programs");
    // A program's own settings and caches stay in this checkout.
    let output = command
        .current_dir(place::project())
        .env("HOME", home)
        .env("SAM_CLI_TELEMETRY", "0")
        .output()
        .expect("the program starts");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", said(&output.stdout), said(&output.stderr));
    said(&output.stdout)
}

fn resources() -> impl Iterator<Item = (&'static str, &'static Value)> {
    let resources = DOCUMENT["Resources"].as_object().expect("resources");
    resources.iter().map(|(id, resource)| (id.as_str(), resource))
}

fn of_type(kind: &str) -> impl Iterator<Item = (&'static str, &'static Value)> {
    resources()
        .filter(move |(_, resource)| resource["Type"] == *kind)
        .map(|(id, resource)| (id, &resource["Properties"]))
}

fn resource(id: &str) -> &'static Value {
    let found = &DOCUMENT["Resources"][id]["Properties"];
    assert!(!found.is_null(), "there is no resource {id}");
    found
}

/// `CreateRun` of `create-run`: what its resources' names begin with.
fn logical(function: &str) -> String {
    function.split('-').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

fn functions() -> impl Iterator<Item = &'static str> {
    HTTP_FUNCTIONS.into_iter().chain(EVENT_FUNCTIONS).chain([GOVERNOR])
}

fn reference(id: &str) -> Value {
    json!({"Ref": id})
}

fn arn(id: &str) -> Value {
    json!({"Fn::GetAtt": [id, "Arn"]})
}

/// A resource or ARN in few characters; an ARN of this account and region has `::` in their place.
fn short(value: &Value) -> String {
    if let Some(text) = value.as_str().or(value["Fn::Sub"].as_str()) {
        return text
            .replace("arn:${AWS::Partition}:", "arn:")
            .replace(":${AWS::Region}:${AWS::AccountId}:", "::")
            .replace("::${AWS::AccountId}:", "::");
    }
    if let Some(parts) = value["Fn::GetAtt"].as_array() {
        let parts: Vec<&str> = parts.iter().filter_map(Value::as_str).collect();
        return parts.join(".");
    }
    value.to_string()
}

fn list(value: &Value) -> Vec<&Value> {
    value.as_array().map_or_else(|| vec![value], |items| items.iter().collect())
}

/// The statements of all policies of a role.
fn statements(role: &str) -> Vec<&'static Value> {
    let own = resource(role)["Policies"].as_array().into_iter().flatten();
    own.flat_map(|policy| list(&policy["PolicyDocument"]["Statement"])).collect()
}
