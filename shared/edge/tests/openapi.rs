//! The API's description: that `infra/openapi.json` is what the code makes of itself, and that it is sound.

use jsonschema::Validator;
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};
use sluice_core::id::{
    ComputeNodeKey, DefinitionId, DefinitionName, DefinitionRef, IdempotencyKey, InvalidId, NodeId, RunId, Tag,
    TenantId,
};
use sluice_core::retention::RetentionChange;
use sluice_edge::fault::Faults;
use sluice_edge::http::Request;
use sluice_edge::json;
use sluice_edge::openapi::document;
use sluice_edge::route::{OPERATIONS, ROUTES};
use sluice_edge::wire::control_run::ReplayRunBody;
use sluice_edge::wire::create_run::CreateRunBody;
use sluice_edge::wire::definitions::{AddVersionBody, ChangeDefinitionBody, CreateDefinitionBody, DraftBody};
use sluice_edge::wire::discover;
use sluice_edge::wire::instances::InstanceConfigurationBody;
use sluice_edge::wire::invoke_definition::InvokeDefinitionBody;
use sluice_edge::wire::models::ModelBody;
use sluice_edge::wire::operator::TenantBody;
use sluice_edge::wire::report_run::{CreateReportTokenBody, ReportBody};
use sluice_edge::wire::runs::{GetRun, list_query};
use sluice_edge::wire::usage::ReportUsageBody;
use sluice_testkit::fixture::tenant;
use sluice_testkit::samples::{World, request};
use std::collections::BTreeSet;
use std::path::Path;
use std::str::FromStr;
use std::sync::LazyLock;

static DOCUMENT: LazyLock<Value> = LazyLock::new(document);

#[test]
fn the_file_is_what_the_code_makes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/openapi.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap_or_default()).unwrap_or_default();
    assert!(
        file == *DOCUMENT,
        "infra/openapi.json is not what the code makes now; look at what changes and keep it:\n\
         cargo run --quiet -p sluice-edge --example openapi"
    );
}

/// Every value below `part` with the pointer to it.
fn walk(part: &Value, at: &str, see: &mut dyn FnMut(&str, &Value)) {
    see(at, part);
    match part {
        Value::Object(fields) => {
            for (name, field) in fields {
                walk(field, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), see);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, &format!("{at}/{index}"), see);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn validator(schema: &Value) -> Validator {
    let mut schema = schema.clone();
    schema["components"] = json!({"schemas": DOCUMENT["components"]["schemas"]});
    let options = jsonschema::draft202012::options().should_validate_formats(true);
    options.build(&schema).unwrap_or_else(|error| panic!("{schema}: {error}"))
}

fn schema_of(name: &str) -> Validator {
    validator(&json!({"$ref": format!("#/components/schemas/{name}")}))
}

#[test]
fn every_reference_leads_somewhere_and_nothing_is_left_unused() {
    let mut used = BTreeSet::new();
    walk(&DOCUMENT, "", &mut |at, part| {
        if let Some(reference) = part["$ref"].as_str() {
            let pointer = reference.strip_prefix('#').unwrap_or("elsewhere");
            assert!(DOCUMENT.pointer(pointer).is_some(), "{at}: {reference}");
            used.insert(pointer.to_owned());
        }
    });
    for kind in ["schemas", "parameters", "headers", "responses"] {
        for name in DOCUMENT["components"][kind].as_object().expect("components").keys() {
            assert!(used.contains(&format!("/components/{kind}/{name}")), "{kind} {name} is used nowhere");
        }
    }
}

#[test]
fn every_schema_is_one_and_every_example_fits_its_own() {
    let mut examples = 0;
    let mut fits = |schema: &Value, example: &Value, at: &str| {
        let faults: Vec<String> = validator(schema)
            .iter_errors(example)
            .map(|error| format!("{error} at {}", error.instance_path()))
            .collect();
        assert!(faults.is_empty(), "{at}: {faults:#?}");
        examples += 1;
    };
    for (name, schema) in DOCUMENT["components"]["schemas"].as_object().expect("schemas") {
        let reference = json!({"$ref": format!("#/components/schemas/{name}")});
        let _compiles = validator(&reference);
        for example in schema["examples"].as_array().into_iter().flatten() {
            fits(&reference, example, name);
        }
    }
    walk(&DOCUMENT, "", &mut |at, part| {
        if at.ends_with("/schema") {
            let _compiles = validator(part);
        }
        if part["schema"].is_null() {
            return;
        }
        for example in part["examples"].as_object().into_iter().flat_map(|examples| examples.values()) {
            fits(&part["schema"], &example["value"], at);
        }
        if !part["example"].is_null() {
            fits(&part["schema"], &part["example"], at);
        }
    });
    assert!(examples > 40, "{examples}");
}

#[test]
fn every_operation_has_a_name_of_its_own_and_a_parameter_for_each_place() {
    let mut ids = BTreeSet::new();
    for (route, said) in ROUTES.iter().zip(OPERATIONS) {
        assert!(route.name.chars().all(|c| c.is_ascii_alphanumeric()) && route.name.starts_with(char::is_lowercase));
        assert!(ids.insert(route.name), "{} stands twice", route.name);
        let operation = &DOCUMENT["paths"][route.path][route.method.to_lowercase()];
        let places: BTreeSet<&str> =
            route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        let parameters = operation["parameters"].as_array().expect("parameters").iter();
        let parameters = parameters.map(|parameter| {
            let pointer = parameter["$ref"].as_str().expect("a reference").trim_start_matches('#');
            DOCUMENT.pointer(pointer).expect("a parameter")
        });
        let in_path: BTreeSet<&str> = parameters
            .filter(|parameter| parameter["in"] == "path")
            .filter_map(|parameter| parameter["name"].as_str())
            .collect();
        assert_eq!(in_path, places, "{}", route.name);
        assert!(!said.answers.is_empty() && !said.summary.is_empty(), "{}", route.name);
    }
}

fn query_of(id: &str) -> Vec<&'static str> {
    ROUTES.iter().find(|route| route.name == id).expect("a route").query.to_vec()
}

#[test]
fn the_queries_are_those_that_are_read() {
    // An unknown parameter is answered with those that are known.
    let asked = |path: &str| {
        let event = serde_json::from_value(request("dev", "GET", &format!("{path}?nope=1"), "")).expect("an event");
        Request::from(LambdaEvent::new(event, Context::default()))
    };
    let said = |faults: sluice_edge::fault::Faults| {
        let message = &faults.iter().next().expect("a fault").message;
        let (_, known) = message.rsplit_once("expected one of ").expect("the known ones");
        known.split(", ").map(str::to_owned).collect::<Vec<_>>()
    };
    let list = list_query(&asked("/v1/workflow-runs"), &tenant("dev")).expect_err("refused");
    assert_eq!(said(list), query_of("listRuns"));
    assert_eq!(said(GetRun::read(&asked("/v1/workflow-runs/x")).expect_err("refused")), query_of("getRun"));
    let discovery = discover::query(&asked("/v1/discoverable-definitions")).expect_err("refused");
    assert_eq!(said(discovery), query_of("listDiscoverableDefinitions"));
    assert_eq!(sluice_edge::wire::Paging::PARAMETERS.to_vec(), query_of("listInstances"));
}

#[test]
fn the_patterns_of_ids_are_their_rules() {
    fn holds<T: FromStr<Err = InvalidId>>(name: &str, exceptions: &[&str]) {
        let described = schema_of(name);
        let long = |count: usize| "a".repeat(count);
        let mut texts: Vec<String> = [
            "",
            "a",
            "A-9_z",
            "a b",
            "a.b",
            "a:b",
            "a@b",
            "a#b",
            "a/b",
            "$LATEST",
            "a\n",
            "ä",
            "!",
            "~",
            "\u{7f}",
            "*",
            "3b9f8c2e-1d4a-4f6b-8c7d-2e5a9b0c1d3f",
            "3B9F8C2E-1D4A-4F6B-8C7D-2E5A9B0C1D3F",
            "3b9f8c2e1d4a4f6b8c7d2e5a9b0c1d3f",
            "3b9f8c2e-1d4a-4f6b-8c7d-2e5a9b0c1d3",
        ]
        .map(str::to_owned)
        .into();
        texts.extend([40, 41, 64, 65, 128, 129, 255, 256].map(long));
        for text in texts.iter().filter(|text| !exceptions.contains(&text.as_str())) {
            assert_eq!(described.is_valid(&json!(text)), text.parse::<T>().is_ok(), "{name} {text:?}");
        }
    }
    // A pattern cannot say "not shaped like a UUID".
    let uuids = [
        "3b9f8c2e-1d4a-4f6b-8c7d-2e5a9b0c1d3f",
        "3B9F8C2E-1D4A-4F6B-8C7D-2E5A9B0C1D3F",
        "3b9f8c2e1d4a4f6b8c7d2e5a9b0c1d3f",
    ];
    holds::<RunId>("RunId", &[]);
    holds::<DefinitionId>("DefinitionId", &[]);
    holds::<NodeId>("NodeId", &[]);
    holds::<ComputeNodeKey>("ComputeNodeKey", &[]);
    holds::<TenantId>("TenantId", &[]);
    holds::<Tag>("Tag", &[]);
    holds::<IdempotencyKey>("IdempotencyKey", &[]);
    holds::<DefinitionName>("DefinitionName", &uuids);
    holds::<DefinitionRef>("DefinitionReference", &uuids);
}

#[test]
fn webhooks_are_as_described() {
    let world = sluice_testkit::block_on(World::new());
    let envelope = schema_of("Envelope");
    let deliveries = world.store.deliveries();
    assert!(deliveries.len() >= 2);
    let properties = DOCUMENT["components"]["schemas"]["Envelope"]["properties"].as_object().expect("properties");
    for (delivery, _) in deliveries {
        let body: Value = serde_json::from_str(&delivery.body).expect("JSON");
        let faults: Vec<String> = envelope.iter_errors(&body).map(|error| error.to_string()).collect();
        assert!(faults.is_empty(), "{faults:?}: {body}");
        for name in body.as_object().expect("an object").keys() {
            assert!(properties.contains_key(name), "{name} is not described");
        }
    }
}

/// Where the values of a schema have integers, as pointers; a list by its first item.
fn integers(schema: &Value, at: &str, within: &[&str], found: &mut BTreeSet<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        if !within.contains(&reference) {
            let target = DOCUMENT.pointer(reference.trim_start_matches('#')).expect("a schema");
            integers(target, at, &[within, &[reference]].concat(), found);
        }
        return;
    }
    if schema["type"] == "integer" || schema["type"].as_array().is_some_and(|types| types.contains(&json!("integer"))) {
        found.insert(at.to_owned());
    }
    for several in ["oneOf", "anyOf", "allOf"] {
        for one in schema[several].as_array().into_iter().flatten() {
            integers(one, at, within, found);
        }
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        integers(field, &format!("{at}/{name}"), within, found);
    }
    integers_below(&schema["items"], &format!("{at}/0"), within, found);
    integers_below(&schema["additionalProperties"], &format!("{at}/a"), within, found);
}

fn integers_below(schema: &Value, at: &str, within: &[&str], found: &mut BTreeSet<String>) {
    if schema.is_object() {
        integers(schema, at, within, found);
    }
}

/// Reads a body of this name in the description.
fn read_body(name: &str, text: &str) -> Result<(), Faults> {
    fn read<T: json::Body>(text: &str) -> Result<(), Faults> {
        json::read::<T>(text).map(drop)
    }
    match name {
        "CreateRun" => read::<CreateRunBody>(text),
        "InvokeDefinition" => read::<InvokeDefinitionBody>(text),
        "InstanceConfiguration" => read::<InstanceConfigurationBody>(text),
        "CreateDefinition" => read::<CreateDefinitionBody>(text),
        "ChangeDefinition" => read::<ChangeDefinitionBody>(text),
        "AddVersion" => read::<AddVersionBody>(text),
        "SaveDraft" => read::<DraftBody>(text),
        "SetTenant" => read::<TenantBody>(text),
        "DeclareModel" => read::<ModelBody>(text),
        "ReportRun" => read::<ReportBody>(text),
        "ReportUsage" => read::<ReportUsageBody>(text),
        "CreateReportToken" => read::<CreateReportTokenBody>(text),
        "ReplayRun" => read::<ReplayRunBody>(text),
        "ChangeRetention" => read::<RetentionChange>(text),
        other => panic!("{other} has integers, and nobody here reads it"),
    }
}

#[test]
fn every_integer_of_every_body_may_be_spelled_as_any_number_that_is_one() {
    let mut tried = 0;
    for operation in DOCUMENT["paths"].as_object().expect("paths").values().flat_map(|path| path.as_object()).flatten()
    {
        let schema = &operation.1["requestBody"]["content"]["application/json"]["schema"];
        let Some(reference) = schema["$ref"].as_str() else { continue };
        let name = reference.trim_start_matches("#/components/schemas/");
        let mut found = BTreeSet::new();
        integers(schema, "", &[], &mut found);
        for at in found {
            let wrong = |literal: &str| {
                let body = at.split('/').skip(1).collect::<Vec<_>>().into_iter().rev().fold(
                    literal.to_owned(),
                    |inner, token| {
                        if token == "0" { format!("[{inner}]") } else { format!("{{\"{token}\":{inner}}}") }
                    },
                );
                let faults = read_body(name, &body).err().map(Faults::into_vec).unwrap_or_default();
                faults.into_iter().find(|fault| fault.pointer == at).map(|fault| fault.code.as_str())
            };
            for literal in ["5", "5.0", "5e0", "0.5E1", "50e-1"] {
                assert_eq!(wrong(literal), None, "{name} {at} {literal}");
            }
            // A version is also a word: what it is, is told once it is read.
            if !at.ends_with("/version") {
                assert_eq!(wrong("5.5"), Some("wrong_type"), "{name} {at}");
                assert_eq!(wrong("1e40"), Some("out_of_range"), "{name} {at}");
            }
            tried += 1;
        }
    }
    assert!(tried >= 20, "{tried}");
}
