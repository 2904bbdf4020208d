//! Refusals as RFC 9457 problems. **Invariants:** every code is in [`KINDS`] or [`VIOLATIONS`] and never changes its
//! meaning; nothing internal (a source, an operation, a key) reaches a body.

use crate::telemetry::causes;
use lambda_http::http::header::{HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;
use sluice_core::flow::Refusal;
use sluice_core::id::RunId;
use sluice_core::invalid::{Invalid, Violation};
use sluice_core::lifecycle::RunStatus;
use sluice_core::ports::{StoreError, StoreErrorClass};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, Type};

/// One kind of problem. `code` is stable; `title` is for people.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    pub code: &'static str,
    pub status: u16,
    pub title: &'static str,
}

const fn kind(code: &'static str, status: u16, title: &'static str) -> Kind {
    Kind { code, status, title }
}

pub static INVALID_REQUEST: Kind = kind("invalid_request", 400, "The request is invalid");
pub static UNAUTHENTICATED: Kind = kind("unauthenticated", 401, "The caller is not known");
pub static INVALID_REPORT_TOKEN: Kind = kind("invalid_report_token", 401, "The report token is not valid");
pub static NO_TENANT: Kind = kind("no_tenant", 403, "The caller belongs to no tenant");
pub static OPERATOR_ONLY: Kind = kind("operator_only", 403, "Only the operator may do this");
pub static NOT_FOUND: Kind = kind("not_found", 404, "There is no such thing");
pub static NO_ROUTE: Kind = kind("no_route", 404, "There is no such path");
pub static METHOD_NOT_ALLOWED: Kind = kind("method_not_allowed", 405, "The path does not take this method");
pub static CONFLICT: Kind = kind("conflict", 409, "It cannot be done as things are");
pub static NAME_TAKEN: Kind = kind("name_taken", 409, "The name is taken");
pub static RUN_ENDED: Kind = kind("run_ended", 409, "The run has ended");
pub static WRONG_STATUS: Kind = kind("wrong_status", 409, "The run is in no status for this");
pub static RUN_OPEN: Kind = kind("run_open", 409, "The run has not ended");
pub static NOT_WAITING: Kind = kind("not_waiting", 409, "The node waits for no answer");
pub static LOOPING_RISK: Kind = kind("looping_risk", 409, "Too many replays of replays");
pub static TOO_MANY_PAUSES: Kind = kind("too_many_pauses", 409, "The run was paused too often");
pub static ATTEMPT_UNDER_WAY: Kind = kind("attempt_under_way", 409, "The delivery is being attempted");
pub static DELIVERIES_OPEN: Kind = kind("deliveries_open", 409, "Somebody has yet to be told of the run's end");
pub static TOO_MANY_VERSIONS: Kind = kind("too_many_versions", 409, "The definition has as many versions as it may");
pub static KEY_REUSED: Kind = kind("idempotency_key_reused", 409, "The idempotency key belongs to another request");
pub static RUN_EXPIRED: Kind = kind("run_expired", 410, "The run is no longer kept");
pub static BODY_TOO_LARGE: Kind = kind("body_too_large", 413, "The request body is too large");
pub static UNSUPPORTED_MEDIA_TYPE: Kind = kind("unsupported_media_type", 415, "The request body is not JSON");
pub static TOO_MANY_RUNS: Kind = kind("too_many_runs", 429, "As many runs are open as may be");
pub static QUEUE_FULL: Kind = kind("queue_full", 429, "As many runs wait as may");
pub static INTERNAL: Kind = kind("internal", 500, "Something is wrong on our side");
pub static BUSY: Kind = kind("busy", 503, "Too much at once");
pub static UNAVAILABLE: Kind = kind("unavailable", 503, "Not available for the moment");

/// Every `code` of a problem, with its status.
pub static KINDS: [&Kind; 28] = [
    &INVALID_REQUEST,
    &UNAUTHENTICATED,
    &INVALID_REPORT_TOKEN,
    &NO_TENANT,
    &OPERATOR_ONLY,
    &NOT_FOUND,
    &NO_ROUTE,
    &METHOD_NOT_ALLOWED,
    &CONFLICT,
    &NAME_TAKEN,
    &RUN_ENDED,
    &WRONG_STATUS,
    &RUN_OPEN,
    &NOT_WAITING,
    &LOOPING_RISK,
    &TOO_MANY_PAUSES,
    &ATTEMPT_UNDER_WAY,
    &DELIVERIES_OPEN,
    &TOO_MANY_VERSIONS,
    &KEY_REUSED,
    &RUN_EXPIRED,
    &BODY_TOO_LARGE,
    &UNSUPPORTED_MEDIA_TYPE,
    &TOO_MANY_RUNS,
    &QUEUE_FULL,
    &INTERNAL,
    &BUSY,
    &UNAVAILABLE,
];

/// Every `errors[].code` of an `invalid_request`, with its meaning.
pub const VIOLATIONS: &[(&str, &str)] = &[
    // The body as JSON.
    ("missing_body", "the request has no body"),
    ("invalid_json", "the body is not JSON"),
    ("invalid_utf8", "the body is not UTF-8"),
    ("duplicate_key", "an object has the same key twice"),
    ("reserved_key", "the key is reserved"),
    ("too_deep", "the body is nested too deeply"),
    // Any field.
    ("missing_field", "a field is missing"),
    ("unknown_field", "there is no such field, or query parameter"),
    ("wrong_type", "a value has the wrong JSON type"),
    ("invalid", "a value is not of the needed form"),
    ("out_of_range", "a value is too small, too large, too short or too long"),
    ("too_long", "a text is too long"),
    ("too_large", "a value takes too many bytes"),
    ("too_many", "there are too many entries"),
    ("repeated", "something is given twice"),
    ("exactly_one", "exactly one of several fields must be given"),
    ("needs_other_field", "a field makes sense only with another one"),
    ("invalid_cursor", "the cursor is not of this list"),
    ("key_mismatch", "header and body give different idempotency keys"),
    // What a run needs.
    ("not_found", "what a field names does not exist"),
    ("no_such_version", "the definition has no such version"),
    ("version_deprecated", "the version makes no new runs"),
    ("not_available", "what is asked for was not kept"),
    ("unknown_node", "the version has no such node"),
    ("unknown_parameter", "the node has no such parameter"),
    ("missing_parameter", "a required parameter has no value"),
    ("unresolved_variable", "a placeholder has no value"),
    ("schema_violation", "the input breaks the version's JSON Schema"),
    ("registry_value", "the compute node sets this value"),
    ("layer_not_ready", "the layer is not READY"),
    ("too_precise", "the budget has more than 6 decimals"),
    ("callback_url_not_allowed", "callbacks may not go to this URL"),
    // What a version needs.
    ("no_nodes", "a version has at least one node"),
    ("too_many_nodes", "a version has too many nodes"),
    ("duplicate_node", "two nodes have the same id"),
    ("missing_processor", "the node names no processor"),
    ("unexpected_processor", "the node takes no processor"),
    ("unknown_processor", "there is no such processor"),
    ("unexpected_tag", "the node takes no tag"),
    ("invalid_tag", "the node's processor knows no such tag"),
    ("unexpected_schema", "the node takes no schema"),
    ("invalid_schema", "not a usable JSON Schema"),
    ("dangling_edge", "an edge names no node of the version"),
    ("duplicate_edge", "an edge stands twice"),
    ("edge_into_source", "an edge leads to a data source"),
    ("unreachable_node", "no edge leads to the node"),
    ("cycle", "the edges form a circle"),
    ("history_too_long", "a run could outgrow its execution history"),
    // What the operator declares.
    ("invalid_arn", "not an ARN of the needed kind"),
];

/// How a caller may say who it is.
pub(crate) const CHALLENGE: &str = "Bearer realm=\"sluice\"";
/// Seconds a caller is asked to wait after a 503.
pub(crate) const RETRY_AFTER_SECONDS: &str = "1";
/// Seconds a caller is asked to wait for a run to end, so that there may be room for one more.
const ROOM_AFTER_SECONDS: &str = "10";

/// A refusal on its way to its caller.
#[derive(Debug)]
pub struct Problem {
    pub kind: &'static Kind,
    pub detail: String,
    pub errors: Vec<Violation>,
    pub run: Option<Box<AboutRun>>,
    /// Header and value that go with the status.
    pub header: Option<Box<(HeaderName, String)>>,
    /// For the log, never for the caller.
    pub cause: Option<Box<str>>,
}

/// The run a conflict is about.
#[derive(Debug)]
pub struct AboutRun {
    pub run_id: String,
    pub status: Option<&'static str>,
}

/// A refusal as RFC 9457 has it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
#[serde(rename_all = "camelCase")]
pub struct ProblemBody<'a> {
    /// `urn:sluice:problem:` and the code.
    r#type: String,
    title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong this time. For people.
    detail: &'a str,
    /// Stable: what a program goes by.
    #[schema(schema_with = kind_codes)]
    code: &'static str,
    /// `urn:sluice:request:` and the request's id, as the log has it.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    /// The run a conflict is about.
    #[schema(value_type = RunId, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<&'a str>,
    #[schema(value_type = RunStatus, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    run_status: Option<&'static str>,
    /// Everything that is wrong with the request, of an `invalid_request`.
    #[schema(required = false)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ViolationBody<'a>>,
}

/// One thing that is wrong with a request.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Violation)]
struct ViolationBody<'a> {
    /// A JSON pointer (RFC 6901) into the request body; or `query:`, `path:` or `header:` and a name.
    pointer: &'a str,
    /// Stable: what a program goes by.
    #[schema(schema_with = violation_codes)]
    code: &'static str,
    /// For people.
    detail: &'a str,
}

fn kind_codes() -> Object {
    codes(KINDS.iter().map(|kind| kind.code))
}

fn violation_codes() -> Object {
    codes(VIOLATIONS.iter().map(|(code, _)| *code))
}

fn codes(codes: impl Iterator<Item = &'static str>) -> Object {
    Object::builder().schema_type(Type::String).enum_values(Some(codes)).build()
}

impl Problem {
    pub fn new(kind: &'static Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new(), run: None, header: None, cause: None }
    }

    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.header = Some(Box::new((name, value.into())));
        self
    }

    #[must_use]
    pub fn about(mut self, run_id: impl ToString, status: Option<&'static str>) -> Self {
        self.run = Some(Box::new(AboutRun { run_id: run_id.to_string(), status }));
        self
    }

    /// What its caller is told. `request_id` names the occurrence.
    pub fn body(&self, request_id: &str) -> ProblemBody<'_> {
        ProblemBody {
            r#type: format!("urn:sluice:problem:{}", self.kind.code),
            title: self.kind.title,
            status: self.kind.status,
            detail: &self.detail,
            code: self.kind.code,
            instance: (!request_id.is_empty()).then(|| format!("urn:sluice:request:{request_id}")),
            run_id: self.run.as_ref().map(|run| run.run_id.as_str()),
            run_status: self.run.as_ref().and_then(|run| run.status),
            errors: self
                .errors
                .iter()
                .map(|violation| ViolationBody {
                    pointer: &violation.pointer,
                    code: violation.code,
                    detail: &violation.message,
                })
                .collect(),
        }
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        let detail = match invalid.violations.len() {
            1 => "1 thing is wrong with the request: see errors".to_owned(),
            count => format!("{count} things are wrong with the request: see errors"),
        };
        Self { errors: invalid.violations, ..Self::new(&INVALID_REQUEST, detail) }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::Invalid(invalid) => invalid.into(),
            Refusal::NotFound { .. } => Self::new(&NOT_FOUND, detail),
            Refusal::OperatorOnly(_) => Self::new(&OPERATOR_ONLY, detail),
            Refusal::Conflict { code, .. } => {
                let kind = KINDS.into_iter().find(|kind| kind.code == code && kind.status == CONFLICT.status);
                Self::new(kind.unwrap_or(&CONFLICT), detail)
            }
            Refusal::KeyReused { run_id } => Self::new(&KEY_REUSED, detail).about(run_id, None),
            Refusal::RunExpired { run_id } => Self::new(&RUN_EXPIRED, detail).about(run_id, None),
            Refusal::TooManyRuns { .. } => {
                Self::new(&TOO_MANY_RUNS, detail).with_header(RETRY_AFTER, ROOM_AFTER_SECONDS)
            }
            Refusal::QueueFull => Self::new(&QUEUE_FULL, detail).with_header(RETRY_AFTER, ROOM_AFTER_SECONDS),
            Refusal::InvalidReportToken => {
                Self::new(&INVALID_REPORT_TOKEN, detail).with_header(WWW_AUTHENTICATE, CHALLENGE)
            }
            Refusal::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let problem = match error.class {
            StoreErrorClass::Conflict | StoreErrorClass::Throttled => Self::new(
                &BUSY,
                "others are changing the same thing, or too much is asked at once: nothing was done, try again",
            )
            .with_header(RETRY_AFTER, RETRY_AFTER_SECONDS),
            StoreErrorClass::Unavailable => {
                Self::new(&UNAVAILABLE, "try again; with an idempotency key nothing is done twice")
                    .with_header(RETRY_AFTER, RETRY_AFTER_SECONDS)
            }
            StoreErrorClass::Corrupt => Self::new(&INTERNAL, "the request could not be completed"),
        };
        Self { cause: Some(causes(&error).into()), ..problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Response;
    use sluice_core::concurrency::SlotScope;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_has_one_meaning() {
        let kinds: BTreeSet<&str> = KINDS.iter().map(|kind| kind.code).collect();
        assert_eq!(kinds.len(), KINDS.len());
        let violations: BTreeSet<&str> = VIOLATIONS.iter().map(|(code, _)| *code).collect();
        assert_eq!(violations.len(), VIOLATIONS.len());
    }

    #[test]
    fn every_violation_made_anywhere_is_in_the_table() {
        // Codes are literals in the sources; whoever adds one without its meaning is told here.
        let known: BTreeSet<&str> = VIOLATIONS.iter().map(|(code, _)| *code).collect();
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut found = BTreeSet::new();
        for folder in ["core/src", "edge/src"] {
            for file in files(&root.join(folder)) {
                let text = std::fs::read_to_string(file).expect("a source file");
                let text = text.split("#[cfg(test)]").next().unwrap_or_default();
                for call in text.split("invalid.add(").skip(1).chain(text.split("Invalid::one(").skip(1)) {
                    let arguments: String = call.split(';').next().unwrap_or_default().to_owned();
                    found.extend(literals(&arguments).into_iter().filter(|text| is_code(text)).map(str::to_owned));
                }
            }
        }
        let unknown: Vec<&String> = found.iter().filter(|code| !known.contains(code.as_str())).collect();
        assert!(found.len() > 30, "{found:?}");
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn every_conflict_made_anywhere_is_in_the_table() {
        let known: BTreeSet<&str> = KINDS.iter().filter(|kind| kind.status == 409).map(|kind| kind.code).collect();
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/src");
        let mut found = BTreeSet::new();
        for file in files(&root) {
            let text = std::fs::read_to_string(file).expect("a source file");
            for conflict in text.split("Conflict {").skip(1) {
                let fields = conflict.split(['}', ';']).next().unwrap_or_default();
                found.extend(literals(fields).into_iter().filter(|text| is_code(text)).map(str::to_owned));
            }
        }
        assert!(found.len() >= 5, "{found:?}");
        let unknown: Vec<&String> = found.iter().filter(|code| !known.contains(code.as_str())).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    /// String literals with an underscore or one of the short codes; pointers and sentences are not.
    fn is_code(text: &str) -> bool {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '_') && text.contains('_')
    }

    fn literals(text: &str) -> Vec<&str> {
        text.split('"').skip(1).step_by(2).collect()
    }

    fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
        std::fs::read_dir(folder)
            .expect("a folder")
            .flat_map(|entry| {
                let path = entry.expect("an entry").path();
                if path.is_dir() { files(&path) } else { vec![path] }
            })
            .collect()
    }

    #[test]
    fn nothing_internal_reaches_the_caller() {
        let source = StoreError::new("record the run", StoreErrorClass::Unavailable, "secret-host:443 refused");
        let problem = Problem::from(Refusal::Store(source));
        let response = Response::problem(&problem, "r-1");
        assert_eq!(response.status(), 503);
        assert_eq!(response.header("retry-after"), Some("1"));
        assert!(!response.body().contains("secret-host"), "{}", response.body());
        assert!(problem.cause.expect("a cause").contains("secret-host"));
    }

    #[test]
    fn who_finds_no_room_is_asked_to_come_again() {
        for (refusal, code) in [
            (Refusal::TooManyRuns { scope: SlotScope::Tenant, limit: 3 }, "too_many_runs"),
            (Refusal::QueueFull, "queue_full"),
        ] {
            let problem = Problem::from(refusal);
            assert_eq!(problem.kind.code, code);
            let response = Response::problem(&problem, "r-1");
            assert_eq!((response.status(), response.header("retry-after")), (429, Some("10")));
        }
    }

    #[test]
    fn a_problem_is_rfc_9457() {
        let invalid = Invalid::one("/name", "out_of_range", "must be 1 to 255 characters");
        let response = Response::problem(&Problem::from(Refusal::Invalid(invalid)), "r-1");
        assert_eq!(response.header("content-type"), Some("application/problem+json"));
        assert_eq!(
            response.body(),
            concat!(
                r#"{"type":"urn:sluice:problem:invalid_request","title":"The request is invalid","status":400,"#,
                r#""detail":"1 thing is wrong with the request: see errors","code":"invalid_request","#,
                r#""instance":"urn:sluice:request:r-1","#,
                r#""errors":[{"pointer":"/name","code":"out_of_range","detail":"must be 1 to 255 characters"}]}"#
            )
        );
    }
}
