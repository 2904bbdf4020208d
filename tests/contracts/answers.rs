//! Every answer can be sent: Lambda refuses to send one above 6 MB, and the caller would get the gateway's bare 502, today and
//! whenever it asks again.
//!
//! How large an answer may be is computed from its schema in the API's description: what the schema itself bounds counts so, the
//! items of a page count [`limits::PAGE_BYTES`] together, and everything else needs a row in the table below. So a list without
//! pages, a text or any JSON that a new route answers fails here until somebody has said what bounds it.
//!
//! To copy: a row of [`ROWS`].

use serde_json::Value;
use sluice_core::limits;
use sluice_core::run::RunError;
use std::collections::BTreeSet;

/// What Lambda sends at most, with the answer's JSON around its body.
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const LAMBDA_BYTES: usize = 6 * 1024 * 1024;
/// What surrounds the body: status and headers.
const FRAME_BYTES: usize = 64 * 1024;
/// A DynamoDB item, the largest thing that is stored.
const ITEM_BYTES: usize = 400 * 1024;
/// All headers of a request: who a caller is, and the path he asks for, are within them.
/// Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html>
const REQUEST_LINE_AND_HEADERS_BYTES: usize = 10_240;
/// A version is written shorter than it is shown: a node of `{"id":"a","type":"external"}` has all its fields in the answer.
const SHOWN_IN_FULL: usize = 8;
/// A run owes one webhook and one event.
const DELIVERIES: usize = 2;

/// What bounds a part of an answer whose schema does not.
#[derive(Clone, Copy)]
enum Most {
    /// Bytes as Lambda is given them.
    Bytes(usize),
    /// Items of an array.
    Items(usize),
    /// Entries of an object, and bytes of each name.
    Entries(usize, usize),
}
use Most::{Bytes, Entries, Items};

/// Bytes that so many characters, or bytes of text, come to on their way: a control character is `\u0001` in the body, and its
/// backslash is doubled in what Lambda is given; no character of several bytes is escaped.
const fn text(count: usize) -> usize {
    7 * count
}

/// Bytes that JSON text comes to, which is in the body as it is: its quotes and backslashes are doubled.
const fn json(bytes: usize) -> usize {
    2 * bytes
}

const NAME_OF_A_CALLER: Most = Bytes(text(REQUEST_LINE_AND_HEADERS_BYTES));
/// A path of the API, an ARN, a class of errors: a text that the code makes of ids and words of its own.
const OWN_TEXT: Most = Bytes(1_024);
const NODES_OF_A_VERSION: Most = Bytes(json(SHOWN_IN_FULL * limits::VERSION_DOCUMENT_BYTES));
const PART_OF_A_VERSION: Most = Bytes(json(limits::VERSION_DOCUMENT_BYTES));

/// What is not bounded by its schema: a schema of the description, or one of its properties.
const ROWS: &[(&str, Most)] = &[
    ("Budgets.budgets", Items(limits::BUDGETS_TOLD)),
    ("Comment.by", NAME_OF_A_CALLER),
    // Its layers are declared one by one: what is stored of it is one item.
    ("ComputeNode", Bytes(json(ITEM_BYTES))),
    ("Cursor", Bytes(8 * 1_024)),
    ("Definition.deprecatedVersions", Items(limits::VERSIONS as usize)),
    ("Definition.tags", Items(limits::DEFINITION_TAGS.0)),
    ("Delivery.attempts", Items(limits::DELIVERY_ATTEMPTS as usize)),
    ("Delivery.channel", OWN_TEXT),
    ("Delivery.deadLetterReason", OWN_TEXT),
    ("Delivery.webhookId", OWN_TEXT),
    ("DeliveryList.deliveries", Items(DELIVERIES)),
    ("Attempt.errorClass", OWN_TEXT),
    ("Attempt.outcome", OWN_TEXT),
    ("DiscoverableDefinition.tags", Items(limits::DEFINITION_TAGS.0)),
    ("DiscoverableVersion.edges", PART_OF_A_VERSION),
    ("DiscoverableVersion.inputSchema", PART_OF_A_VERSION),
    ("DiscoverableVersion.nodes", NODES_OF_A_VERSION),
    ("Draft.edges", PART_OF_A_VERSION),
    ("Draft.inputSchema", PART_OF_A_VERSION),
    ("Draft.nodes", NODES_OF_A_VERSION),
    ("Draft.updatedBy", NAME_OF_A_CALLER),
    ("GatewayMessage", OWN_TEXT),
    ("GovernorKey.createdBy", NAME_OF_A_CALLER),
    ("GovernorKeys.keys", Items(limits::PROCESSOR_ALIVE_KEYS)),
    ("Instance.processorConfigs", Bytes(json(limits::REQUEST_BODY_BYTES))),
    // As it was declared, by one body.
    ("Model", Bytes(text(limits::REQUEST_BODY_BYTES))),
    ("NewGovernorKey.createdBy", NAME_OF_A_CALLER),
    // What a path named, or a violation says.
    ("Problem.detail", Bytes(text(REQUEST_LINE_AND_HEADERS_BYTES))),
    ("Problem.errors", Items(limits::VIOLATIONS)),
    ("Problem.instance", OWN_TEXT),
    ("Problem.runHref", OWN_TEXT),
    ("Problem.title", OWN_TEXT),
    ("Problem.type", OWN_TEXT),
    // As it was declared, by one body.
    ("Processor", Bytes(text(limits::REQUEST_BODY_BYTES))),
    ("Progress.message", Bytes(text(limits::PROGRESS_CHARS))),
    ("RedeliveryLinks.deliveries", OWN_TEXT),
    ("ReportToken.reportPath", OWN_TEXT),
    ("ReportToken.token", OWN_TEXT),
    ("Run.createdBy", NAME_OF_A_CALLER),
    ("Run.evaluations", Items(limits::LINKED_RUNS as usize)),
    ("Run.executionArn", OWN_TEXT),
    ("Run.name", Bytes(text(limits::DISPLAY_NAME_CHARS))),
    ("Run.output", Bytes(json(limits::EXECUTION_INPUT_BYTES))),
    ("Run.replays", Items(limits::LINKED_RUNS as usize)),
    ("Run.underWay", Items(limits::VERSION_NODES)),
    ("Run.waitingNodes", Items(limits::VERSION_NODES)),
    ("RunError.code", Bytes(text(RunError::CODE_CHARS))),
    ("RunError.message", Bytes(text(RunError::FULL_MESSAGE_CHARS))),
    ("RunInput.by", NAME_OF_A_CALLER),
    ("RunInput.kind", OWN_TEXT),
    ("RunInput.produced", Items(limits::VERSION_NODES)),
    ("RunInput.value", Bytes(json(limits::REQUEST_BODY_BYTES))),
    ("RunLinks.comments", OWN_TEXT),
    ("RunLinks.deliveries", OWN_TEXT),
    ("RunLinks.inputs", OWN_TEXT),
    ("RunLinks.self", OWN_TEXT),
    ("RunLinks.steps", OWN_TEXT),
    ("RunLinks.usage", OWN_TEXT),
    ("RunUsage.byModel", Entries(limits::USAGE_NAMES, text(limits::USAGE_TEXT_CHARS))),
    ("RunUsage.byNode", Entries(limits::VERSION_NODES, text(limits::USAGE_TEXT_CHARS))),
    ("RunUsage.byProvider", Entries(limits::USAGE_NAMES, text(limits::USAGE_TEXT_CHARS))),
    // Its edges are shown a second time, with the node that they lead to.
    ("Snapshot", Bytes(2 * json(limits::SNAPSHOT_BYTES))),
    ("Step.result", Bytes(json(ITEM_BYTES))),
    ("StepPart.result", Bytes(json(ITEM_BYTES))),
    // As it was declared, by one body.
    ("Tenant", Bytes(text(limits::REQUEST_BODY_BYTES))),
    ("UsageCall.model", Bytes(text(limits::USAGE_TEXT_CHARS))),
    ("UsageCall.provider", Bytes(text(limits::USAGE_TEXT_CHARS))),
    // Its pattern is not read: 128 characters.
    ("UserId", Bytes(text(128))),
    ("ValueRef.href", OWN_TEXT),
    ("Version.createdBy", NAME_OF_A_CALLER),
    ("Version.edges", PART_OF_A_VERSION),
    ("Version.inputSchema", PART_OF_A_VERSION),
    ("Version.nodes", NODES_OF_A_VERSION),
    ("VersionSummary.createdBy", NAME_OF_A_CALLER),
    ("Violation.detail", Bytes(text(limits::VIOLATION_CHARS))),
    ("Violation.pointer", Bytes(text(limits::VIOLATION_CHARS))),
];

/// The bytes of answers, by their schemas.
struct Scale {
    document: Value,
    used: BTreeSet<&'static str>,
    /// What neither its schema nor a row bounds.
    unbounded: BTreeSet<String>,
}

impl Scale {
    fn new() -> Self {
        Self { document: sluice_edge::openapi::document(), used: BTreeSet::new(), unbounded: BTreeSet::new() }
    }

    fn row(&mut self, at: &str) -> Option<Most> {
        let (name, most) = ROWS.iter().find(|(name, _)| *name == at)?;
        self.used.insert(name);
        Some(*most)
    }

    fn unbounded(&mut self, at: &str) -> usize {
        self.unbounded.insert(at.to_owned());
        0
    }

    /// Bytes that a value of this schema comes to at most, as Lambda is given it. `at` names it.
    fn most(&mut self, schema: &Value, at: &str) -> usize {
        if let Some(name) = schema["$ref"].as_str() {
            let found = self.document.pointer(name.trim_start_matches('#')).expect("a schema").clone();
            return self.most(&found, name.rsplit('/').next().unwrap_or(name));
        }
        if let Some(Bytes(bytes)) = self.row(at) {
            return bytes;
        }
        for (of, is_sum) in [("oneOf", false), ("anyOf", false), ("allOf", true)] {
            if let Some(parts) = schema[of].as_array().filter(|_| schema.get("properties").is_none()) {
                let parts = parts.iter().map(|part| self.most(part, at));
                return if is_sum { parts.sum() } else { parts.max().unwrap_or(0) };
            }
        }
        if let Some(words) = schema["enum"].as_array() {
            return words.iter().map(|word| json(word.to_string().len())).max().unwrap_or(0);
        }
        if let Some(word) = schema.get("const") {
            return json(word.to_string().len());
        }
        let types = match &schema["type"] {
            Value::String(one) => vec![one.as_str()],
            Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return self.unbounded(at),
        };
        let of_type = types.into_iter().map(|one| match one {
            "null" | "boolean" | "integer" | "number" => 32,
            "string" => self.most_of_text(schema, at),
            "array" => self.most_of_array(schema, at),
            "object" => self.most_of_object(schema, at),
            other => panic!("{at} is of type {other}"),
        });
        of_type.max().unwrap_or(0)
    }

    fn most_of_text(&mut self, schema: &Value, at: &str) -> usize {
        let counted = schema["pattern"].as_str().and_then(characters);
        match (schema["maxLength"].as_u64(), schema["format"].as_str(), counted) {
            (Some(most), ..) => text(most as usize) + 4,
            (None, Some("date-time" | "uuid"), _) => 48,
            (None, _, Some(most)) => most + 4,
            (None, _, None) => self.unbounded(at),
        }
    }

    fn most_of_array(&mut self, schema: &Value, at: &str) -> usize {
        let most = match (schema["maxItems"].as_u64(), self.row(at)) {
            (Some(most), _) => most as usize,
            (None, Some(Items(most))) => most,
            (None, _) => return self.unbounded(at),
        };
        most * (1 + self.most(&schema["items"], &format!("{at}[]")))
    }

    fn most_of_object(&mut self, schema: &Value, at: &str) -> usize {
        let properties = schema["properties"].as_object().cloned().unwrap_or_default();
        let is_page = properties.contains_key("nextCursor");
        let mut bytes = 0;
        for (name, property) in &properties {
            let below = format!("{at}.{name}");
            bytes += name.len() + "\\\"\\\":,".len();
            bytes += if is_page && property["type"] == "array" && self.row(&below).is_none() {
                let one = self.most(&property["items"], &below);
                assert!(one < limits::PAGE_BYTES, "one of {below} alone may have {one} bytes: it would never be sent");
                limits::PAGE_BYTES
            } else {
                self.most(property, &below)
            };
        }
        match &schema["additionalProperties"] {
            Value::Bool(false) => bytes,
            Value::Null if !properties.is_empty() => bytes,
            entries @ Value::Object(_) => {
                let names = schema["propertyNames"]["maxLength"].as_u64().map(|most| text(most as usize));
                let (most, names) = match (schema["maxProperties"].as_u64(), names, self.row(at)) {
                    (Some(most), Some(names), _) => (most as usize, names),
                    (_, _, Some(Entries(most, names))) => (most, names),
                    (..) => return self.unbounded(at),
                };
                bytes + most * (names + "\\\"\\\":,".len() + self.most(entries, &format!("{at}{{}}")))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => self.unbounded(at),
        }
    }
}

/// How many characters a pattern lets through at most, counted from above; `None` when it does not say.
fn characters(pattern: &str) -> Option<usize> {
    if pattern.contains(['+', '*']) || !pattern.starts_with('^') || !pattern.ends_with('$') {
        return None;
    }
    let repeated = pattern.split('{').skip(1).map(|rest| {
        let counts = rest.split_once('}').map_or("", |(counts, _)| counts);
        counts.rsplit(',').next().and_then(|most| most.parse::<usize>().ok())
    });
    repeated.sum::<Option<usize>>().map(|counted| counted + pattern.len())
}

#[test]
fn every_answer_can_be_sent_at_its_limits() {
    let mut scale = Scale::new();
    let document = scale.document.clone();
    let mut seen = 0;
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            for (status, response) in operation["responses"].as_object().expect("responses") {
                let response = match response["$ref"].as_str() {
                    Some(name) => document.pointer(name.trim_start_matches('#')).expect("a response"),
                    None => response,
                };
                for content in response["content"].as_object().into_iter().flat_map(|contents| contents.values()) {
                    let at = format!("{method} {path} {status}");
                    let most = scale.most(&content["schema"], &at);
                    assert!(most + FRAME_BYTES < LAMBDA_BYTES, "{at}: {most} bytes");
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 100, "{seen} answers were looked at");
    assert!(scale.unbounded.is_empty(), "nothing bounds {:#?}", scale.unbounded);
    let in_vain: Vec<&str> = ROWS.iter().map(|(name, _)| *name).filter(|name| !scale.used.contains(name)).collect();
    assert!(in_vain.is_empty(), "rows for what no answer has, or what its schema bounds: {in_vain:?}");
}

#[test]
fn whatever_has_a_next_page_takes_a_limit_and_a_cursor() {
    let document = sluice_edge::openapi::document();
    let operations = document["paths"].as_object().into_iter().flat_map(|paths| paths.values());
    for operation in operations.flat_map(|path| path.as_object().into_iter().flat_map(|methods| methods.values())) {
        let answer = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].as_str();
        let schema = answer.and_then(|name| document.pointer(name.trim_start_matches('#')));
        let has_pages = schema.is_some_and(|schema| schema["properties"].get("nextCursor").is_some());
        let takes = |name: &str| {
            let taken = operation["parameters"].as_array().into_iter().flatten();
            taken.filter_map(|parameter| parameter["$ref"].as_str()).any(|parameter| parameter.ends_with(name))
        };
        for parameter in ["/limit", "/cursor"] {
            assert_eq!(takes(parameter), has_pages, "{} and {parameter}", operation["operationId"]);
        }
    }
}

#[test]
fn what_nothing_bounds_is_noticed() {
    for schema in [
        serde_json::json!({"type": "object", "properties": {"things": {"type": "array", "items": {"type": "integer"}}}}),
        serde_json::json!({"type": "object", "properties": {"note": {"type": ["string", "null"]}}}),
        serde_json::json!({"type": "object", "properties": {"value": {"description": "any JSON"}}}),
        serde_json::json!({"type": "object", "properties": {"by": {"type": "object", "additionalProperties": true}}}),
        serde_json::json!({"type": "string", "pattern": "^a+$"}),
    ] {
        let mut scale = Scale::new();
        scale.most(&schema, "New");
        assert_eq!(scale.unbounded.len(), 1, "{schema}");
    }
    assert_eq!(characters("^[a-z]{1,64}$"), Some(64 + 13));
}
