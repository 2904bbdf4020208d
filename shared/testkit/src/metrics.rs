//! Metric lines as CloudWatch would take them: kept per test instead of written, and held to the embedded metric format.

use serde_json::{Value, json};
use std::cell::RefCell;
use std::sync::LazyLock;

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Where a test's functions write to. A test is a thread.
pub fn keep(line: &str) {
    LINES.with_borrow_mut(|lines| lines.push(line.to_owned()));
}

/// What this test's functions wrote during `act`, as [`points`], sorted.
///
/// # Panics
/// When a line is none that CloudWatch makes metrics of, as [`check`].
pub fn during(act: impl FnOnce()) -> Vec<String> {
    LINES.take();
    act();
    let mut taken = Vec::new();
    for line in LINES.take() {
        let Ok(line) = serde_json::from_str(&line) else { panic!("no JSON: {line}") };
        check(&line);
        taken.extend(points(&line));
    }
    taken.sort();
    taken
}

/// A line in few words: each metric, its value, and the dimensions that not every metric has. `RunsStarted 1 Source=request`
pub fn points(line: &Value) -> Vec<String> {
    let mut points = Vec::new();
    for directive in items(&line["_aws"]["CloudWatchMetrics"]) {
        let mut own = String::new();
        for name in items(&directive["Dimensions"]).flat_map(items).filter_map(Value::as_str) {
            if !["Deployment", "Function"].contains(&name) {
                own += &format!(" {name}={}", line[name].as_str().unwrap_or("?"));
            }
        }
        for metric in items(&directive["Metrics"]).filter_map(|metric| metric["Name"].as_str()) {
            points.push(format!("{metric} {}{own}", line[metric]));
        }
    }
    points
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The schema of the specification.
/// Source: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    let schema = json!({
        "type": "object",
        "required": ["_aws"],
        "properties": {"_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "additionalProperties": false,
            "properties": {
                "Timestamp": {"type": "integer"},
                "CloudWatchMetrics": {"type": "array", "minItems": 1, "items": {
                    "type": "object",
                    "required": ["Namespace", "Dimensions", "Metrics"],
                    "additionalProperties": false,
                    "properties": {
                        "Namespace": {"type": "string", "minLength": 1, "maxLength": 1024},
                        "Dimensions": {"type": "array", "minItems": 1, "items": {
                            "type": "array", "minItems": 1, "maxItems": 30,
                            "items": {"type": "string", "minLength": 1, "maxLength": 250},
                        }},
                        "Metrics": {"type": "array", "minItems": 1, "maxItems": 100, "items": {
                            "type": "object",
                            "required": ["Name"],
                            "additionalProperties": false,
                            "properties": {
                                "Name": {"type": "string", "minLength": 1, "maxLength": 1024},
                                "Unit": {"enum": ["Count", "Milliseconds", "Seconds", "Bytes", "Percent", "None"]},
                                "StorageResolution": {"enum": [1, 60]},
                            },
                        }},
                    },
                }},
            },
        }},
    });
    match jsonschema::validator_for(&schema) {
        Ok(validator) => validator,
        Err(error) => panic!("the schema: {error}"),
    }
});

/// Members of a line that are neither metrics nor dimensions.
const PROPERTIES: [&str; 3] = ["_aws", "tenant.id", "run.id"];

/// Holds a line to the embedded metric format, and to ours: dimensions are words, nothing else is told.
///
/// # Panics
/// When it is otherwise.
pub fn check(line: &Value) {
    if let Err(error) = SCHEMA.validate(line) {
        panic!("{error}: {line}");
    }
    let mut known: Vec<&str> = PROPERTIES.to_vec();
    for directive in items(&line["_aws"]["CloudWatchMetrics"]) {
        for name in items(&directive["Dimensions"]).flat_map(items).filter_map(Value::as_str) {
            let Some(value) = line[name].as_str() else { panic!("{name} has no value: {line}") };
            // CloudWatch takes up to 1,024 ASCII characters; a word that this code knows is short, and no id.
            let is_word = |char: char| char.is_ascii_alphanumeric() || ['-', '_'].contains(&char);
            assert!((1..=64).contains(&value.len()) && value.chars().all(is_word), "{name} is no word: {line}");
            assert!(value.parse::<uuid::Uuid>().is_err(), "{name} is an id: {line}");
            assert!(line["tenant.id"].as_str() != Some(value), "{name} is the tenant: {line}");
            known.push(name);
        }
        for name in items(&directive["Metrics"]).filter_map(|metric| metric["Name"].as_str()) {
            assert!(line[name].is_u64(), "{name} has no value: {line}");
            known.push(name);
        }
    }
    // A line may say a dimension that none of its metrics is reported by.
    known.extend(["Source", "Status", "Reason", "Channel"]);
    for name in line.as_object().into_iter().flat_map(|members| members.keys()) {
        assert!(known.contains(&name.as_str()), "{name} does not belong into a metric line: {line}");
    }
}
