//! Answers held against the API's description, `infra/openapi.json`, in its strictest reading: what it does not name is
//! not there.

use serde::Serialize;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::LazyLock;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/openapi.json");
    match std::fs::read_to_string(&path).map(|text| serde_json::from_str(&text)) {
        Ok(Ok(document)) => close(document),
        Ok(Err(error)) => panic!("{} is no JSON: {error}", path.display()),
        Err(error) => panic!("{} cannot be read: {error}", path.display()),
    }
});

/// Headers that every answer may have.
const EVERYWHERE: [&str; 3] = ["content-type", "cache-control", "x-content-type-options"];

/// Checks what a function answers to an event: status, content type, headers and body are as described; and a request
/// that was accepted is one that the description allows.
///
/// # Panics
/// With what is wrong.
pub fn check(event: &str, answer: &impl Serialize) {
    let event: Value = serde_json::from_str(event).unwrap_or_default();
    let answer = serde_json::to_value(answer).unwrap_or_default();
    let (status, body) =
        (answer["statusCode"].as_u64().unwrap_or_default(), answer["body"].as_str().unwrap_or_default());
    let http = &event["requestContext"]["http"];
    let (method, path) = (http["method"].as_str().unwrap_or_default(), event["rawPath"].as_str().unwrap_or_default());
    let at = format!("{status} to {method} {path}: {body}");
    let headers: Vec<(String, &str)> = answer["headers"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str().unwrap_or_default()))
        .collect();
    let content_type = headers.iter().find(|(name, _)| name == "content-type").map(|(_, value)| *value);
    let is_empty = body.is_empty();
    let Ok(body) = serde_json::from_str::<Value>(if is_empty { "null" } else { body }) else {
        panic!("{at}: the body is no JSON")
    };
    let Some(operation) = operation(method, path) else {
        // Not of this API, or not by this method: only a refusal is right.
        assert!((400..500).contains(&status), "{at}: there is no such operation");
        assert_eq!(content_type, Some("application/problem+json"), "{at}");
        return fits(&json!({"$ref": "#/components/schemas/Problem"}), &body, &at);
    };
    let response = resolved(&operation["responses"][status.to_string()]);
    assert!(!response.is_null(), "{at}: the status is not described");
    if response["content"].is_null() {
        assert!(is_empty && content_type.is_none(), "{at}: a body that is not described");
    } else {
        let content = &response["content"][content_type.unwrap_or_default()];
        assert!(!content.is_null(), "{at}: the content type {content_type:?} is not described");
        fits(&content["schema"], &body, &at);
    }
    check_headers(&response["headers"], &headers, &at);
    if status < 300 {
        check_request(&operation["requestBody"], &event, &at);
    }
}

fn check_headers(described: &'static Value, headers: &[(String, &str)], at: &str) {
    let described: Vec<(&String, &Value)> = described.as_object().into_iter().flatten().collect();
    for (name, value) in headers {
        let known = described.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        match known {
            Some((_, header)) => fits(&resolved(header)["schema"], &json!(value), at),
            None => assert!(EVERYWHERE.contains(&name.as_str()), "{at}: the header {name} is not described"),
        }
    }
    for (name, header) in described {
        let is_given = headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
        assert!(is_given || resolved(header)["required"] != true, "{at}: the header {name} is missing");
    }
}

fn check_request(described: &Value, event: &Value, at: &str) {
    if event["isBase64Encoded"] == true {
        return;
    }
    match event["body"].as_str().filter(|body| !body.is_empty()) {
        Some(body) if !described.is_null() => {
            let body: Value = serde_json::from_str(body).unwrap_or_default();
            fits(&described["content"]["application/json"]["schema"], &body, at);
        }
        Some(_) => {}
        None => {
            assert_ne!(described["required"], true, "{at}: accepted without the body that the description requires")
        }
    }
}

/// The operation that a request is for.
fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let parts: Vec<&str> = path.split('/').collect();
    let matches = |template: &str| {
        let template: Vec<&str> = template.split('/').collect();
        template.len() == parts.len()
            && template.iter().zip(&parts).all(|(want, have)| want.starts_with('{') || want == have)
    };
    let paths = DOCUMENT["paths"].as_object()?;
    let (_, operations) = paths.iter().find(|(template, _)| matches(template))?;
    operations.get(method.to_ascii_lowercase())
}

/// The description's part that a reference leads to, or the part itself.
fn resolved(part: &'static Value) -> &'static Value {
    match part["$ref"].as_str() {
        Some(reference) => DOCUMENT.pointer(reference.trim_start_matches('#')).unwrap_or(&Value::Null),
        None => part,
    }
}

fn fits(schema: &Value, value: &Value, at: &str) {
    let mut schema = schema.clone();
    schema["components"] = json!({"schemas": DOCUMENT["components"]["schemas"]});
    let validator = match jsonschema::options().should_validate_formats(true).build(&schema) {
        Ok(validator) => validator,
        Err(error) => panic!("{at}: the description is no usable schema: {error}"),
    };
    let faults: Vec<String> =
        validator.iter_errors(value).map(|error| format!("{} at {}", error, error.instance_path())).collect();
    assert!(faults.is_empty(), "{at}: not as described: {faults:#?}");
}

/// The description with every object closed: a property that it does not name is a fault.
fn close(mut part: Value) -> Value {
    match &mut part {
        Value::Object(fields) => {
            if fields.get("properties").is_some_and(Value::is_object) && fields.get("type") == Some(&json!("object")) {
                fields.entry("additionalProperties").or_insert(json!(false));
            }
            for field in fields.values_mut() {
                *field = close(field.take());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = close(item.take())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    part
}
