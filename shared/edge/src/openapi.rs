//! The API's description, OpenAPI 3.1: made of the wire types, the problems and one table of routes, so that it says what
//! the code does. `infra/openapi.json` is what [`document`] made; a test holds the two together.

mod parts;
mod refine;
mod schemas;
mod webhook;

use crate::fault::Faults;
use crate::http::Response;
use crate::problem::{self, Kind, Problem, ProblemBody};
use crate::route::{Access, OPERATIONS, Operation, ROUTES, Route, described};
use parts::{gateway_message, headers, parameters};
use refine::refine;
use schemas::{Schemas, to_header, to_parameter, to_schema};
use serde_json::{Map, Value, json};
use sluice_core::envelope::Envelope;
use sluice_core::lifecycle::RunStatus;
use sluice_core::limits;
use sluice_core::violation::ViolationCode;
use webhook::webhook;

/// The whole description.
pub fn document() -> Value {
    let mut schemas = Schemas::default();
    let mut paths = Map::new();
    for (route, operation) in ROUTES.iter().zip(OPERATIONS) {
        let operation = described_operation(route, operation, &mut schemas);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.to_lowercase()] = operation;
    }
    let problem = schemas.reference(described::<ProblemBody<'_>>);
    let envelope = schemas.reference(described::<Envelope<'_>>);
    let (parameters, responses) = (parameters(&mut schemas), refusals(&problem));
    let mut schemas = schemas.0;
    schemas.insert("GatewayMessage".to_owned(), gateway_message());
    refine(&mut schemas);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sluice",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Workflow runs on AWS, under a budget cap, with a signed webhook at the end",
            "description": description(),
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{
            "url": "/",
            "description": "The deployed API, or the URL of the function that a route is tagged with: the paths are the same",
        }],
        "security": [{"iam": []}, {"jwt": []}],
        "tags": tags(),
        "paths": paths,
        "webhooks": {"workflowRunTerminal": {"post": webhook(envelope)}},
        "components": {
            "schemas": schemas,
            "parameters": parameters,
            "headers": headers(),
            "responses": responses,
            "securitySchemes": {
                "iam": {
                    "type": "apiKey", "in": "header", "name": "Authorization",
                    "x-amazon-apigateway-authtype": "awsSigv4",
                    "description": "AWS Signature Version 4 with IAM credentials, for the service `execute-api`, or `lambda` \
                        on a function's own URL. The tenant is the signer's account, or what the operator has mapped the \
                        principal to.",
                },
                "jwt": {
                    "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                    "description": "A token of the deployment's issuer; its tenant claim names the tenant, and a scope \
                        marks the operator.",
                },
                "reportToken": {
                    "type": "http", "scheme": "bearer",
                    "description": "A report token of the run, `srt.…`, from `createReportToken`. The API asks for nothing else.",
                },
                "reportTokenHeader": {
                    "type": "apiKey", "in": "header", "name": "sluice-report-token",
                    "description": "A report token on a function's own URL, where `Authorization` has the signature that the \
                        URL asks for.",
                },
            },
        },
    })
}

fn description() -> String {
    format!(
        "A caller asks for a run of a workflow; Sluice answers with a run record, drives the work on Step Functions under \
         the caller's cap for LLM spend, and tells the caller when it is over with a signed webhook.\n\n\
         JSON is camelCase, times are RFC 3339 in UTC, money is in US dollars and exact. A whole number may be spelled \
         as any JSON number that is one, and a number that no double holds is refused. In a request `null` says the same \
         as leaving the field out, but where it takes a rule away; unknown fields and repeated keys are refused, and a body has at most {body} bytes and \
         {depth} levels, with keys of at most {key} bytes. It comes with its content type, not encoded and without a byte order \
         mark; what takes no body is given none, or an empty object. A header that is repeated is refused unless it says the \
         same each time. Errors are RFC 9457 problems with a stable `code`; what is wrong with a request is said all at \
         once, each with its JSON pointer. What the gateway answers before a function is reached is `{{\"message\": …}}`.\n\n\
         With an idempotency key a request is done at most once: the same key and payload get the first answer again, \
         marked `Idempotent-Replayed: true`; another payload gets 409. The payload is what the request says, the key aside: the \
         order of fields, white space and a `null` do not matter, the spelling of numbers does. A refused request does not use up its key. A key is \
         kept for {hours} hours at least.\n\n\
         A run whose execution input would have more than {input} bytes is refused: pass large data by reference. \
         `completionCallbackContext` has at most {context} bytes.",
        body = limits::REQUEST_BODY_BYTES,
        depth = limits::JSON_DEPTH,
        key = limits::JSON_KEY_BYTES,
        hours = limits::IDEMPOTENCY_SECONDS / 3_600,
        input = limits::EXECUTION_INPUT_BYTES,
        context = limits::CALLBACK_CONTEXT_BYTES,
    )
}

fn tags() -> Value {
    json!([
        {"name": "create-run", "description": "Make a run"},
        {"name": "invoke-definition", "description": "Make a run of a definition, the short way"},
        {"name": "cancel-run", "description": "Stop a run"},
        {"name": "control-run", "description": "Pause, resume, answer, replay, keep and delete a run; report and remark on it; send deliveries again"},
        {"name": "read-runs", "description": "See runs, their steps, inputs, usage, comments and deliveries"},
        {"name": "manage-definitions", "description": "Define workflows; as the operator, declare what they may run and where"},
    ])
}

fn described_operation(route: &Route, said: &Operation, schemas: &mut Schemas) -> Value {
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = in_path.map(|name| to_parameter(in_path_of(route, name))).collect();
    parameters.extend(route.query.iter().map(|name| to_parameter(name)));
    if route.takes_key {
        parameters.push(to_parameter("idempotencyKey"));
    }
    let mut operation = json!({
        "operationId": route.name,
        "tags": [route.function],
        "summary": said.summary,
        "parameters": parameters,
        "responses": responses(route, said, schemas),
    });
    if !said.description.is_empty() {
        operation["description"] = json!(said.description);
    }
    if route.access == Access::ReportToken {
        operation["security"] = json!([{"reportToken": []}, {"iam": [], "reportTokenHeader": []}]);
    }
    if let Some(body) = &said.body {
        let examples: Map<String, Value> =
            body.samples.iter().map(|(name, event)| ((*name).to_owned(), json!({"value": body_of(event)}))).collect();
        let mut content = json!({"schema": schemas.reference(body.schema)});
        if !examples.is_empty() {
            content["examples"] = Value::Object(examples);
        }
        operation["requestBody"] = json!({"required": !body.may_be_missing, "content": {"application/json": content}});
    }
    operation
}

/// The body of a sample event.
fn body_of(event: &str) -> Value {
    let event: Value = serde_json::from_str(event).unwrap_or_default();
    event["body"].as_str().and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default()
}

/// A path's parameter as the components have it: a `key` is one of several.
fn in_path_of(route: &Route, name: &'static str) -> &'static str {
    match name {
        "key" if route.path.starts_with("/v1/processors") => "processorKey",
        "key" if route.path.starts_with("/v1/models") => "modelKey",
        "key" => "computeNodeKey",
        "name" => "layerName",
        "version" if route.path.starts_with("/v1/discoverable-definitions") => "versionRule",
        _ => name,
    }
}

fn responses(route: &Route, said: &Operation, schemas: &mut Schemas) -> Value {
    let mut responses = Map::new();
    for answer in said.answers {
        let mut headers = Map::new();
        if answer.is_located {
            headers.insert("Location".to_owned(), to_header("Location"));
        }
        if answer.is_replayable {
            headers.insert("Idempotent-Replayed".to_owned(), to_header("Idempotent-Replayed"));
        }
        if route.query.contains(&"waitSeconds") {
            headers.insert("Retry-After".to_owned(), to_header("Retry-After"));
        }
        let mut response = json!({"description": answer.meaning});
        if let Some(schema) = answer.schema {
            response["content"] = json!({"application/json": {"schema": schemas.reference(schema)}});
        }
        if !headers.is_empty() {
            response["headers"] = Value::Object(headers);
        }
        if answer.is_replayable {
            response["links"] = links_of_a_run();
        }
        responses.insert(answer.status.to_string(), response);
    }
    let problem = schemas.reference(described::<ProblemBody<'_>>);
    for (status, name) in REFUSALS {
        let reference = json!({"$ref": format!("#/components/responses/{name}")});
        responses.insert(status.to_string(), reference);
    }
    if !said.conflicts.is_empty() {
        responses.insert("409".to_owned(), refusal("It cannot be done as things are", &problem, said.conflicts, None));
    }
    if route.takes_key {
        let at_limit = "As many runs are open, wait, or were started in this minute, as may, or what its budget allows is spent: nothing was written. Or too many requests at \
             once for the gateway";
        let kinds = [&problem::TOO_MANY_RUNS, &problem::RATE_LIMITED, &problem::QUEUE_FULL, &problem::BUDGET_EXHAUSTED];
        let mut throttled = refusal(at_limit, &problem, &kinds, Some("Too Many Requests"));
        throttled["headers"] = json!({"Retry-After": to_header("Retry-After")});
        responses.insert("429".to_owned(), throttled);
        let gone = refusal("The idempotency key's run is gone", &problem, &[&problem::RUN_EXPIRED], None);
        responses.insert("410".to_owned(), gone);
    }
    if route.access == Access::ReportToken {
        let meaning = "The token is missing, or not valid for this run: all the same to who asks";
        let mut unknown = refusal(meaning, &problem, &[&problem::INVALID_REPORT_TOKEN], None);
        unknown["headers"] = json!({"WWW-Authenticate": to_header("WWW-Authenticate")});
        responses.insert("401".to_owned(), unknown);
        let unsigned = "On the function's own URL: the request is not signed by somebody who may call it";
        responses.insert("403".to_owned(), refusal(unsigned, &problem, &[], Some("Forbidden")));
    }
    if let Access::Operator(_) = route.access {
        let kinds = [&problem::OPERATOR_ONLY, &problem::NO_TENANT];
        let response = refusal("The caller may not do this", &problem, &kinds, Some("Forbidden"));
        responses.insert("403".to_owned(), response);
    }
    Value::Object(responses)
}

/// Where a new run leads.
fn links_of_a_run() -> Value {
    let link = |id: &str| json!({"operationId": id, "parameters": {"runId": "$response.body#/id"}});
    let ids = ["getRun", "listSteps", "listDeliveries", "cancelRun", "pauseRun", "resumeRun", "replayRun"];
    ids.into_iter().map(|id| (id.to_owned(), link(id))).collect::<Map<_, _>>().into()
}

/// Refusals that are the same everywhere.
const REFUSALS: [(u16, &str); 12] = [
    (400, "InvalidRequest"),
    (401, "Unauthenticated"),
    (403, "Forbidden"),
    (404, "NotFound"),
    (405, "MethodNotAllowed"),
    (413, "BodyTooLarge"),
    (415, "UnsupportedMediaType"),
    (429, "Throttled"),
    (500, "Internal"),
    (502, "BadGateway"),
    (503, "Unavailable"),
    (504, "GatewayTimeout"),
];

fn refusals(problem: &Value) -> Value {
    let of = |description: &str, kinds: &[&Kind], gateway: Option<&str>| refusal(description, problem, kinds, gateway);
    let mut retried = of(
        "Not now: nothing was done that a retry with the same idempotency key would do again",
        &[&problem::BUSY, &problem::UNAVAILABLE],
        Some("Service Unavailable"),
    );
    retried["headers"] = json!({"Retry-After": to_header("Retry-After")});
    let mut unauthenticated = of("The caller is not known", &[&problem::UNAUTHENTICATED], Some("Unauthorized"));
    unauthenticated["headers"] = json!({"WWW-Authenticate": to_header("WWW-Authenticate")});
    let mut other_method = of(
        "The function does not take this method here. Only on a function's own URL: the API leads each method to its function",
        &[&problem::METHOD_NOT_ALLOWED],
        None,
    );
    other_method["headers"] = json!({"Allow": to_header("Allow")});
    json!({
        "InvalidRequest": of("Everything that is wrong with the request. Nothing was written", &[&problem::INVALID_REQUEST], None),
        "Unauthenticated": unauthenticated,
        "Forbidden": of("The caller may not do this", &[&problem::NO_TENANT], Some("Forbidden")),
        "NotFound": of(
            "There is no such thing, or it belongs to another tenant",
            &[&problem::NOT_FOUND, &problem::NO_ROUTE],
            Some("Not Found"),
        ),
        "MethodNotAllowed": other_method,
        "BodyTooLarge": of("The request body is too large", &[&problem::BODY_TOO_LARGE], Some("Request Entity Too Large")),
        "UnsupportedMediaType": of("The request body is not JSON", &[&problem::UNSUPPORTED_MEDIA_TYPE], None),
        "Throttled": of("Too many requests at once for the gateway", &[], Some("Too Many Requests")),
        "Internal": of("Something is wrong on our side", &[&problem::INTERNAL], Some("Internal Server Error")),
        "BadGateway": of("A function's own URL got no answer from its function", &[], Some("Internal Server Error")),
        "Unavailable": retried,
        "GatewayTimeout": of("The gateway got no answer in time", &[], Some("Endpoint request timed out")),
    })
}

/// A refusal by a function, of one of these kinds, or by the gateway with its message.
fn refusal(description: &str, problem: &Value, kinds: &[&Kind], gateway: Option<&str>) -> Value {
    let mut content = Map::new();
    if !kinds.is_empty() {
        let examples: Map<String, Value> =
            kinds.iter().map(|kind| (kind.code.to_owned(), json!({"value": example(kind)}))).collect();
        content.insert("application/problem+json".to_owned(), json!({"schema": problem, "examples": examples}));
    }
    if let Some(message) = gateway {
        let body = json!({"schema": to_schema("GatewayMessage"), "example": {"message": message}});
        content.insert("application/json".to_owned(), body);
    }
    let codes: Vec<String> = kinds.iter().map(|kind| format!("`{}`", kind.code)).collect();
    let description = match codes.is_empty() {
        true => description.to_owned(),
        false => format!("{description}: {}", codes.join(", ")),
    };
    json!({"description": description, "content": content})
}

/// A problem of this kind as the service writes it.
fn example(kind: &Kind) -> Value {
    const RUN: &str = "3b9f8c2e-1d4a-4f6b-8c7d-2e5a9b0c1d3f";
    let kind = problem::KINDS.into_iter().find(|known| known.code == kind.code).unwrap_or(&problem::INTERNAL);
    let problem = match kind.code {
        "invalid_request" => {
            let mut faults = Faults::one("/executionBudgetUsd", ViolationCode::OutOfRange, "must not be negative");
            faults.add(
                "/labels/a~1b",
                ViolationCode::OutOfRange,
                "a label's name has 1 to 128 characters, its value at most 512",
            );
            faults.into()
        }
        "idempotency_key_reused" => {
            let detail = format!("this idempotency key was first used with another request, which made run {RUN}");
            Problem::new(kind, detail).about(RUN, None)
        }
        "run_expired" => {
            let detail = format!("this idempotency key made run {RUN}, which is no longer kept");
            Problem::new(kind, detail).about(RUN, None)
        }
        "run_ended" => {
            let detail = format!("run {RUN} has ended SUCCEEDED: it cannot be canceled any more");
            Problem::new(kind, detail).about(RUN, Some(RunStatus::Succeeded.as_str()))
        }
        "not_found" => Problem::new(kind, format!("there is no workflow run {RUN}")),
        _ => Problem::new(kind, kind.title),
    };
    serde_json::from_str(Response::problem(&problem, "JKJaXmPLvHcESHA=").body()).unwrap_or_default()
}
