//! RFC 9457 problems. **Invariants:** every code is in [`KINDS`] or is a [`FaultCode`], and never changes its meaning;
//! nothing internal (a source, an operation, a key) reaches a body.

use crate::fault::{Fault, FaultCode, Faults};
use crate::telemetry::causes;
use lambda_http::http::header::{HeaderName, RETRY_AFTER};
use serde::Serialize;
use sluice_core::id::RunId;
use sluice_core::lifecycle::RunStatus;
use sluice_core::ports::{StoreError, StoreErrorClass};
use sluice_core::refusal::ConflictCode;
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

const fn conflict(code: ConflictCode, title: &'static str) -> Kind {
    kind(code.as_str(), 409, title)
}

pub static INVALID_REQUEST: Kind = kind("invalid_request", 400, "The request is invalid");
pub static UNAUTHENTICATED: Kind = kind("unauthenticated", 401, "The caller is not known");
pub static INVALID_REPORT_TOKEN: Kind = kind("invalid_report_token", 401, "The report token is not valid");
pub static NO_TENANT: Kind = kind("no_tenant", 403, "The caller belongs to no tenant");
pub static OPERATOR_ONLY: Kind = kind("operator_only", 403, "Only the operator may do this");
pub static NOT_FOUND: Kind = kind("not_found", 404, "There is no such thing");
pub static NO_ROUTE: Kind = kind("no_route", 404, "There is no such path");
pub static METHOD_NOT_ALLOWED: Kind = kind("method_not_allowed", 405, "The path does not take this method");
pub static NAME_TAKEN: Kind = conflict(ConflictCode::NameTaken, "The name is taken");
pub static RUN_ENDED: Kind = conflict(ConflictCode::RunEnded, "The run has ended");
pub static WRONG_STATUS: Kind = conflict(ConflictCode::WrongStatus, "The run is in no status for this");
pub static RUN_OPEN: Kind = conflict(ConflictCode::RunOpen, "The run has not ended");
pub static NOT_WAITING: Kind = conflict(ConflictCode::NotWaiting, "The node waits for no answer");
pub static LOOPING_RISK: Kind = conflict(ConflictCode::LoopingRisk, "Too many replays of replays");
pub static TOO_MANY_PAUSES: Kind = conflict(ConflictCode::TooManyPauses, "The run was paused too often");
pub static ATTEMPT_UNDER_WAY: Kind = conflict(ConflictCode::AttemptUnderWay, "The delivery is being attempted");
pub static DELIVERIES_OPEN: Kind =
    conflict(ConflictCode::DeliveriesOpen, "Somebody has yet to be told of the run's end");
pub static TOO_MANY_VERSIONS: Kind =
    conflict(ConflictCode::TooManyVersions, "The definition has as many versions as it may");
pub static TOO_MANY_DEFINITIONS: Kind =
    conflict(ConflictCode::TooManyDefinitions, "The tenant has as many definitions as it may");
pub static TOO_MANY_KEYS: Kind = conflict(ConflictCode::TooManyKeys, "The processor has as many keys as it may");
pub static MODEL_ID_TAKEN: Kind = conflict(ConflictCode::ModelIdTaken, "The id belongs to another model");
pub static KEY_REUSED: Kind = kind("idempotency_key_reused", 409, "The idempotency key belongs to another request");
pub static RUN_EXPIRED: Kind = kind("run_expired", 410, "The run is no longer kept");
pub static BODY_TOO_LARGE: Kind = kind("body_too_large", 413, "The request body is too large");
pub static UNSUPPORTED_MEDIA_TYPE: Kind = kind("unsupported_media_type", 415, "The request body is not JSON");
pub static TOO_MANY_RUNS: Kind = kind("too_many_runs", 429, "As many runs are open as may be");
pub static RATE_LIMITED: Kind =
    kind("rate_limited", 429, "The tenant has started as many runs as it may in this minute");
pub static BUDGET_EXHAUSTED: Kind = kind("budget_exhausted", 429, "What may be spent in this day or month is spent");
pub static QUEUE_FULL: Kind = kind("queue_full", 429, "As many runs wait as may");
pub static INTERNAL: Kind = kind("internal", 500, "Something is wrong on our side");
pub static BUSY: Kind = kind("busy", 503, "Too much at once");
pub static UNAVAILABLE: Kind = kind("unavailable", 503, "Not available for the moment");

/// Every `code` of a problem, with its status.
pub static KINDS: [&Kind; 32] = [
    &INVALID_REQUEST,
    &UNAUTHENTICATED,
    &INVALID_REPORT_TOKEN,
    &NO_TENANT,
    &OPERATOR_ONLY,
    &NOT_FOUND,
    &NO_ROUTE,
    &METHOD_NOT_ALLOWED,
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
    &TOO_MANY_DEFINITIONS,
    &TOO_MANY_KEYS,
    &MODEL_ID_TAKEN,
    &KEY_REUSED,
    &RUN_EXPIRED,
    &BODY_TOO_LARGE,
    &UNSUPPORTED_MEDIA_TYPE,
    &TOO_MANY_RUNS,
    &RATE_LIMITED,
    &BUDGET_EXHAUSTED,
    &QUEUE_FULL,
    &INTERNAL,
    &BUSY,
    &UNAVAILABLE,
];

/// How a caller may say who it is.
pub(crate) const CHALLENGE: &str = "Bearer realm=\"sluice\"";
/// Seconds a caller is asked to wait after a 503.
pub(crate) const RETRY_AFTER_SECONDS: &str = "1";

/// A refusal on its way to its caller.
#[derive(Debug)]
pub struct Problem {
    pub kind: &'static Kind,
    pub detail: String,
    pub errors: Vec<Fault>,
    pub run: Option<Box<AboutRun>>,
    /// Header and value that go with the status.
    pub header: Option<Box<(HeaderName, String)>>,
    /// For the log, never for the caller.
    pub cause: Option<Box<str>>,
}

/// The run a problem is about.
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
    /// The run a conflict is about; of a 503, the run that may have been recorded.
    #[schema(value_type = RunId, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<&'a str>,
    /// Where that run is read, if it is there.
    #[schema(pattern = "^/v1/", nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    run_href: Option<String>,
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
    codes(FaultCode::all().map(FaultCode::as_str))
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

    /// The same of a request that may have recorded this run: nobody knows.
    #[must_use]
    pub fn unanswered(self, run_id: RunId) -> Self {
        let detail = format!(
            "run {run_id} may have been recorded, and then it goes on: read it, or ask again with the same idempotency key; \
             without a key, another run would be made"
        );
        Self { detail, ..self }.about(run_id, None)
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
            run_href: self.run.as_ref().map(|run| format!("/v1/workflow-runs/{}", run.run_id)),
            run_status: self.run.as_ref().and_then(|run| run.status),
            errors: self
                .errors
                .iter()
                .map(|fault| ViolationBody {
                    pointer: &fault.pointer,
                    code: fault.code.as_str(),
                    detail: &fault.message,
                })
                .collect(),
        }
    }
}

impl From<Faults> for Problem {
    fn from(faults: Faults) -> Self {
        let errors = faults.into_vec();
        let detail = match errors.len() {
            1 => "1 thing is wrong with the request: see errors".to_owned(),
            count => format!("{count} things are wrong with the request: see errors"),
        };
        Self { errors, ..Self::new(&INVALID_REQUEST, detail) }
    }
}

/// What was to be answered cannot be written.
impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Self {
        let problem = Self::new(&INTERNAL, "the answer could not be written");
        Self { cause: Some(error.to_string().into()), ..problem }
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
    use sluice_core::violation::ViolationCode;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_has_one_meaning() {
        let kinds: BTreeSet<&str> = KINDS.iter().map(|kind| kind.code).collect();
        assert_eq!(kinds.len(), KINDS.len());
    }

    #[test]
    fn nothing_internal_reaches_the_caller() {
        let source = StoreError::new("record the run", StoreErrorClass::Unavailable, "secret-host:443 refused");
        let problem = Problem::from(source);
        let response = Response::problem(&problem, "r-1");
        assert_eq!(response.status(), 503);
        assert_eq!(response.header("retry-after"), Some("1"));
        assert!(!response.body().contains("secret-host"), "{}", response.body());
        assert!(problem.cause.expect("a cause").contains("secret-host"));
    }

    #[test]
    fn a_problem_is_rfc_9457() {
        let faults = Faults::one("/name", ViolationCode::OutOfRange, "must be 1 to 255 characters");
        let response = Response::problem(&Problem::from(faults), "r-1");
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
