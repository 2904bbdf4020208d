//! Every reader of what comes from outside, given bytes of every kind and the samples of `events/` with something
//! changed. None may panic; each answers with a value or with a problem that fits into a response. `PROPTEST_CASES`
//! runs more.

mod runner;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use lambda_runtime::{Context, LambdaEvent};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};
use sluice_core::budget::InvalidBudget;
use sluice_core::id::{RunId, TenantId};
use sluice_core::limits;
use sluice_core::refusal::Refusal;
use sluice_core::retention::RetentionChange;
use sluice_edge::cursor;
use sluice_edge::event::{self, Brought, Happening, ResultUsage};
use sluice_edge::http::{Event, Request, Response};
use sluice_edge::identity::IdentityConfig;
use sluice_edge::json::{self, Shape};
use sluice_edge::problem::Problem;
use sluice_edge::route::{Found, PathParameter, ROUTES};
use sluice_edge::serve::conclude;
use sluice_edge::wire::create_run::{CreateRun, CreateRunBody};
use sluice_edge::wire::definitions::{AddVersionBody, ChangeDefinitionBody, CreateDefinitionBody};
use sluice_edge::wire::instances::InstanceConfigurationBody;
use sluice_edge::wire::operator::{ComputeNodeBody, LayerBody, ProcessorBody};
use sluice_edge::wire::report_run::{self, CommentBody};
use sluice_edge::wire::runs::{GetRun, list_query};
use sluice_edge::wire::{Paging, control_run, invoke_definition, usage};
use sluice_testkit::samples;
use std::collections::BTreeMap;
use std::sync::LazyLock;

const HTTP_FUNCTIONS: [&str; 6] =
    ["cancel-run", "control-run", "create-run", "invoke-definition", "manage-definitions", "read-runs"];
const EVENT_FUNCTIONS: [&str; 2] = ["run-callback", "reconcile-runs"];
/// Of a response, by Lambda's own bound, with room for what goes around the body.
const RESPONSE_BYTES: usize = 5 << 20;

fn of(functions: &[&str]) -> Vec<Value> {
    let texts = functions.iter().flat_map(|function| samples::cases(function).into_values());
    texts.map(|text| serde_json::from_str(&text).expect("a sample is JSON")).collect()
}

static HTTP_SAMPLES: LazyLock<Vec<Value>> = LazyLock::new(|| of(&HTTP_FUNCTIONS));
static EVENT_SAMPLES: LazyLock<Vec<Value>> = LazyLock::new(|| of(&EVENT_FUNCTIONS));
/// The bodies of the samples.
static BODIES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut bodies: Vec<String> =
        HTTP_SAMPLES.iter().filter_map(|event| event["body"].as_str().map(str::to_owned)).collect();
    bodies.sort();
    bodies.dedup();
    bodies
});

fn tenant() -> TenantId {
    "dev".parse().expect("a tenant")
}

/// As the runtime reads it.
fn read(text: &str) -> Option<Request> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let event: Event = serde_path_to_error::deserialize(&mut deserializer).ok()?;
    Some(Request::from(LambdaEvent::new(event, Context::default())))
}

fn request_of(event: &Value) -> Request {
    read(&event.to_string()).expect("any JSON is an event")
}

fn request_with(body: &str) -> Request {
    request_of(&samples::request("dev", "POST", "/v1/x", body))
}

/// A refusal is one of the caller's, and small.
fn is_refusal(request: &Request, problem: Problem) -> Result<(), TestCaseError> {
    prop_assert!((400..500).contains(&problem.kind.status), "{:?}", problem);
    let response: Response = conclude(request, Err(problem));
    prop_assert!(response.body().len() <= RESPONSE_BYTES, "{} bytes", response.body().len());
    prop_assert!(serde_json::from_str::<Value>(response.body()).is_ok());
    Ok(())
}

fn settle<T, E: Into<Problem>>(request: &Request, answer: Result<T, E>) -> Result<Option<T>, TestCaseError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) => is_refusal(request, error.into()).map(|()| None),
    }
}

/// Every reader of a request, each on the same request.
fn read_everything(request: &Request) -> Result<(), TestCaseError> {
    let now = Timestamp::UNIX_EPOCH;
    for segment in request.path.split('/') {
        if let Ok(run_id) = RunId::read("runId", segment) {
            prop_assert_eq!(&run_id.to_string(), segment);
        }
    }
    for route in ROUTES {
        if let Some((found, _)) = settle(request, Found::of(route.function, request).route(request))? {
            prop_assert_eq!((found.function, found.method), (route.function, request.method.as_str()));
        }
    }
    settle(request, IdentityConfig::for_test().caller(request))?;
    settle(request, request.query(&[]).finish())?;
    settle(request, list_query(request, &tenant()))?;
    settle(request, GetRun::read(request))?;
    settle(request, Paging::alone(request, vec!["x".to_owned()]))?;
    let hash = |request: &Request| settle(request, request.json_keyed::<CreateRunBody>().map(|(_, hash)| hash));
    prop_assert_eq!(hash(request)?, hash(request)?);
    settle(request, request.no_body())?;
    settle(request, request.single("Idempotency-Key"))?;
    settle(request, CreateRun::read(request))?;
    settle(request, invoke_definition::command(request, "flow".parse().expect("a name")))?;
    settle(request, control_run::answer(request))?;
    settle(request, control_run::replay(request))?;
    settle(request, control_run::failed_since(request))?;
    settle(request, request.json::<RetentionChange>())?;
    settle(request, request.json::<CommentBody>())?;
    settle(request, report_run::token_of(request))?;
    settle(request, report_run::token_wanted(request))?;
    settle(request, usage::of_request(request, now))?;
    if let Some((node_id, report)) = settle(request, report_run::report(request, now))? {
        prop_assert!(report.usage.iter().all(|call| call.node_id.as_ref() == Some(&node_id)));
    }
    settle(request, request.json::<CreateDefinitionBody>())?;
    settle(request, request.json::<ChangeDefinitionBody>())?;
    settle(request, request.json::<LayerBody>())?;
    if let Some(body) = settle(request, request.json::<AddVersionBody>())? {
        let (document, _) = body.into_parts();
        let text = serde_json::to_string(&document).expect("writes");
        prop_assert_eq!(
            &serde_json::from_str::<sluice_core::definition::VersionDocument>(&text).expect("reads"),
            &document
        );
        settle(request, document.check(&tenant(), &BTreeMap::new()).map_err(Refusal::Invalid))?;
    }
    if let Some(body) = settle(request, request.json::<InstanceConfigurationBody>())? {
        settle(request, body.read())?;
    }
    if let Some(body) = settle(request, request.json::<ProcessorBody>())? {
        settle(request, body.into_processor("key".parse().expect("a key"), now))?;
    }
    if let Some(body) = settle(request, request.json::<ComputeNodeBody>())? {
        settle(request, body.into_compute_node("key".parse().expect("a key"), None, now))?;
    }
    Ok(())
}

/// A text with something put in, taken out or repeated.
fn edited(text: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        "\"",
        ",",
        ":",
        "\\",
        "\\u0000",
        "\\ud800",
        "null",
        "0",
        "-",
        "1e999",
        ".",
        "{}",
        "[]",
        "\"a\":1,",
        "\u{0}",
        "é",
        "\u{feff}",
        "/*",
        "$serde_json::private::Number",
        "$ref",
        "{{x}}",
        "true",
    ];
    let piece = prop_oneof![select(pieces.to_vec()).prop_map(str::to_owned), any::<char>().prop_map(String::from)];
    let edit = (any::<Index>(), 0_usize..6, piece, 0_usize..3);
    (text, proptest::collection::vec(edit, 0..5)).prop_map(|(mut text, edits)| {
        for (at, remove, insert, repeat) in edits {
            let chars: Vec<char> = text.chars().collect();
            let at = at.index(chars.len() + 1);
            let end = (at + remove).min(chars.len());
            let mut next: String = chars[..at].iter().collect();
            next += &insert.repeat(repeat);
            next.extend(&chars[end..]);
            text = next;
        }
        text
    })
}

/// Some JSON in place of the value at a place of a sample.
fn replaced(values: &'static LazyLock<Vec<Value>>) -> impl Strategy<Value = Value> {
    let odd = prop_oneof![
        select(vec![
            json!(null),
            json!(true),
            json!(0),
            json!(-1),
            json!(1.5),
            json!(1e300),
            json!(""),
            json!("x"),
            json!([]),
            json!({}),
            json!([null]),
            json!({"a": {"b": []}}),
            json!("{}"),
            json!("[1"),
            json!("x".repeat(2_000)),
            json!("%FF%00"),
            json!("é\u{0}"),
        ]),
        any::<String>().prop_map(Value::String),
        any::<i64>().prop_map(|number| json!(number)),
    ];
    (any::<Index>(), proptest::collection::vec((any::<Index>(), odd), 0..4)).prop_map(|(sample, changes)| {
        let mut value = sample.get(values).clone();
        for (at, new) in changes {
            let mut pointers = Vec::new();
            list_places(&value, String::new(), &mut pointers);
            if let Some(place) = value.pointer_mut(at.get(&pointers).as_str()) {
                *place = new;
            }
        }
        value
    })
}

fn list_places(value: &Value, at: String, pointers: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                list_places(item, format!("{at}/{index}"), pointers);
            }
        }
        Value::Object(fields) => {
            for (key, field) in fields {
                list_places(field, format!("{at}/{}", sluice_edge::fault::Token(key)), pointers);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    pointers.push(at);
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// JSON as text, with repeated keys, odd spellings of numbers, and any depth.
fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        select(vec![
            "null",
            "true",
            "0",
            "-0",
            "1.10",
            "1e400",
            "1E-7",
            "12345678901234567890123",
            "\"\"",
            "\"\\u00e9\"",
            "\"\\/\"",
            "[ ]",
            "{ }"
        ])
        .prop_map(str::to_owned),
        any::<String>().prop_map(|text| json!(text).to_string()),
    ];
    let value = leaf.prop_recursive(6, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(|items| format!("[{}]", items.join(" , "))),
            proptest::collection::vec(("[a-c]", inner), 0..5).prop_map(|fields| {
                let fields: Vec<String> = fields.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    });
    (value, prop_oneof![4 => Just(0_usize), 1 => 0_usize..80])
        .prop_map(|(value, levels)| format!("{}{value}{}", "[".repeat(levels), "]".repeat(levels)))
}

proptest! {
    #[test]
    fn any_bytes_are_an_event_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Some(request) = std::str::from_utf8(&bytes).ok().and_then(read) {
            read_everything(&request)?;
        }
    }

    #[test]
    fn any_bytes_are_a_body_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut event = samples::request("dev", "POST", "/v1/x", "");
        event["body"] = json!(STANDARD.encode(&bytes));
        event["isBase64Encoded"] = json!(true);
        read_everything(&request_of(&event))?;
    }

    #[test]
    fn any_path_query_and_header_are_read(path in any::<String>(), query in any::<String>(), header in any::<String>()) {
        let mut event = samples::request("dev", "POST", "/v1/x", "{}");
        event["rawPath"] = json!(path);
        event["rawQueryString"] = json!(query);
        event["headers"]["idempotency-key"] = json!(header);
        read_everything(&request_of(&event))?;
    }

    #[test]
    fn a_query_of_known_names_is_read(
        parameters in proptest::collection::vec(
            (select(vec!["status", "workflowDefinitionId", "createdFrom", "createdBefore", "order", "limit", "cursor", "waitSeconds", "include"]),
             prop_oneof!["[ -~]{0,30}", any::<String>(), Just("2026-11-22T04:39:48Z".to_owned()), "-?[0-9]{1,12}"]),
            0..6,
        ),
    ) {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&parameters).finish();
        let mut event = samples::request("dev", "GET", "/v1/workflow-runs", "");
        event["rawQueryString"] = json!(query);
        read_everything(&request_of(&event))?;
    }

    #[test]
    fn a_sample_with_other_values_is_read(event in replaced(&HTTP_SAMPLES)) {
        read_everything(&request_of(&event))?;
    }

    #[test]
    fn a_sample_with_another_body_is_read(body in edited(any::<Index>().prop_map(|at| at.get(&BODIES).clone()))) {
        read_everything(&request_with(&body))?;
    }

    #[test]
    fn what_passes_is_json_without_doubt(text in prop_oneof![json_text(), edited(json_text())]) {
        if json::check(&text, Shape::default()).is_ok() {
            let value: Value = serde_json::from_str(&text).expect("JSON");
            prop_assert!(depth(&value) <= limits::JSON_DEPTH);
            // No key stood twice: nothing was lost on the way through a map.
            prop_assert_eq!(without_texts(&value.to_string()).matches(':').count(), without_texts(&text).matches(':').count());
            prop_assert!(json::check(&value.to_string(), Shape::default()).is_ok());
        }
    }

    #[test]
    fn context_and_input_come_through_byte_for_byte(text in json_text()) {
        let body = format!(
            "{{\"input\": {text} ,\"completionCallbackUrl\":\"{}\",\"completionCallbackContext\":{text}}}",
            samples::CALLBACK_URL
        );
        let request = request_with(&body);
        let answer = invoke_definition::command(&request, "flow".parse().expect("a name"));
        // The input goes through the engine, where a number beyond the doubles has no place.
        if let Some(command) = settle(&request, answer)? {
            let absent = text == "null";
            prop_assert_eq!(command.input.as_deref().map(|raw| raw.get()), (!absent).then_some(text.as_str()));
            let context = command.callback.and_then(|callback| callback.context);
            prop_assert_eq!(context.as_deref().map(|raw| raw.get()), (!absent).then_some(text.as_str()));
        }
    }

    #[test]
    fn an_idempotency_key_is_read_from_the_header_or_the_body(key in prop_oneof![any::<String>(), "[!-~]{0,300}"]) {
        let body = json!({"workflowInstanceId": "3b9f8c2e-1d4a-4f6b-8c7d-2e5a9b0c1d3f", "clientToken": key}).to_string();
        let mut event = samples::request("dev", "POST", "/v1/workflow-runs", &body);
        let in_body = request_of(&event);
        event["headers"]["idempotency-key"] = json!(key);
        let in_both = request_of(&event);
        let claims = [&in_body, &in_both].map(|request| {
            CreateRun::read(request).ok().and_then(|create| create.command.idempotency).map(|claim| claim.key.to_string())
        });
        let is_key = (1..=limits::KEY_CHARS).contains(&key.len()) && key.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
        // A comma in a header may be a proxy's, which joins what it was given twice.
        let in_header = (is_key && !key.contains(',')).then(|| key.clone());
        prop_assert_eq!(claims, [is_key.then_some(key), in_header]);
    }

    #[test]
    fn a_cap_is_what_was_written_or_is_refused_for_what_it_is(literal in prop_oneof![json_text(), r"-?[0-9]{1,20}(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,9})?"]) {
        let request = request_with(&format!("{{\"executionBudgetUsd\":{literal}}}"));
        let answer = invoke_definition::command(&request, "flow".parse().expect("a name"));
        if let Some(command) = settle(&request, answer)? {
            let asked = literal.parse::<f64>().unwrap_or(0.0);
            let most = limits::BUDGET_USD as f64;
            let is_told = match command.execution_budget {
                Ok(None) => asked == 0.0,
                // What is finer than a micro-dollar is cut off, never added.
                Ok(Some(cap)) => (-1e-9 * asked..=1e-6 + 1e-9 * asked).contains(&(asked - cap.0 as f64 / 1e6)) && asked <= most,
                Err(InvalidBudget::Negative) => asked < 0.0 || literal.starts_with('-'),
                Err(InvalidBudget::TooLarge(_)) => asked >= most,
                Err(InvalidBudget::TooSmall) => asked < 1e-6,
                Err(InvalidBudget::NotANumber) => literal.contains(['e', 'E']),
            };
            prop_assert!(is_told, "{} was read as {:?}", literal, command.execution_budget);
        }
    }

    #[test]
    fn a_changed_event_is_understood_or_poison(event in replaced(&EVENT_SAMPLES)) {
        if let Ok(read) = serde_json::from_value::<event::Event>(event.clone()) {
            let happenings = match read.read() {
                Brought::Usage(Ok(reported)) => {
                    let ResultUsage { usage, node_id, attempt, .. } = &reported;
                    if let Ok(calls) = usage::of_result(usage, node_id, &attempt.to_string(), Timestamp::UNIX_EPOCH) {
                        prop_assert!(calls.iter().all(|call| !call.call_id.is_empty()));
                    }
                    vec![]
                }
                Brought::Usage(Err(reason)) => {
                    prop_assert!(!reason.is_empty());
                    vec![]
                }
                Brought::Event(happening) => {
                    if let Happening::Ended(end) = &happening {
                        let arn = event["detail"]["executionArn"].as_str().expect("an ARN");
                        prop_assert_eq!(arn, end.execution_arn.as_str());
                    }
                    vec![happening]
                }
                Brought::Batch(messages) => {
                    prop_assert_eq!(messages.len(), event["Records"].as_array().map_or(0, Vec::len));
                    messages.into_iter().map(|message| message.happening).collect()
                }
            };
            for happening in happenings {
                if let Happening::Poison(reason) = happening {
                    prop_assert!(!reason.is_empty());
                }
            }
        }
    }

    #[test]
    fn any_text_is_an_event_or_none(text in edited(any::<Index>().prop_map(|at| at.get(&EVENT_SAMPLES).to_string()))) {
        if let Ok(event) = serde_json::from_str::<event::Event>(&text) {
            event.read();
        }
        event::tenant_of(&text);
    }

    #[test]
    fn a_cursor_opens_only_as_it_was_sealed(
        after in any::<String>(), list in proptest::collection::vec(any::<String>(), 0..4), at in any::<Index>(), other in any::<char>(),
    ) {
        let list: Vec<&str> = list.iter().map(String::as_str).collect();
        let sealed = cursor::seal(&list, &after).expect("JSON");
        prop_assert_eq!(cursor::open(&list, &sealed), Ok(after.clone()));
        let mut chars: Vec<char> = sealed.chars().collect();
        *at.get_mut(&mut chars) = other;
        let changed: String = chars.into_iter().collect();
        // A cursor is no secret and has no signature: a changed one may open, as another text of the same list.
        if let Ok(opened) = cursor::open(&list, &changed) {
            prop_assert_eq!(cursor::open(&list, &cursor::seal(&list, &opened).expect("JSON")), Ok(opened));
        }
        prop_assert!(cursor::open(&list, &after).is_err() || after.len() > 20);
    }
}

/// JSON without its texts: what is left of colons stands after keys.
fn without_texts(text: &str) -> String {
    let (mut rest, mut in_text, mut escaped) = (String::new(), false, false);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_text => escaped = true,
            '"' => in_text = !in_text,
            _ if !in_text => rest.push(c),
            _ => {}
        }
    }
    rest
}

#[test]
fn a_refusal_of_a_huge_request_is_small() {
    let long = "k".repeat(120_000);
    let repeated = format!("{{\"{long}\":{{{}}}}}", vec!["\"a\":1"; 20_000].join(","));
    let deep = format!("[{}]", vec![format!("{}{}", "[".repeat(70), "]".repeat(70)); 1_500].join(","));
    let not_objects = format!("{{\"nodes\":[{}]}}", vec!["1"; 100_000].join(","));
    let unknown = format!("{{\"{}\":1}}", "\\u0000".repeat(40_000));
    for body in [repeated, deep, not_objects, unknown] {
        assert!(body.len() <= limits::REQUEST_BODY_BYTES);
        let request = request_with(&body);
        read_everything(&request).unwrap_or_else(|error| panic!("{error}"));
    }
}
