//! HTTP as Lambda sees it: API Gateway's payload format 2.0, which Function URLs use as well.
//! Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>

use crate::json;
use crate::problem::{self, Problem};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_runtime::LambdaEvent;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluice_core::canonical;
use sluice_core::id::RunId;
use sluice_core::invalid::Invalid;
use sluice_core::limits;
use std::collections::BTreeMap;
use tracing::Span;

/// The event. Nothing in it is required, so that a foreign one is answered and not a fault of the function.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Event {
    raw_path: Option<String>,
    raw_query_string: Option<String>,
    /// Lower-case names; repeated headers are joined with commas.
    headers: Option<BTreeMap<String, String>>,
    body: Option<String>,
    is_base64_encoded: Option<bool>,
    request_context: RequestContext,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RequestContext {
    request_id: Option<String>,
    stage: Option<String>,
    http: HttpContext,
    authorizer: Option<Authorizer>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct HttpContext {
    method: Option<String>,
}

/// The authorizer's verdict, in one of its forms.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Authorizer {
    pub iam: Option<Iam>,
    pub jwt: Option<Jwt>,
}

/// Whose signature an `AWS_IAM` route or Function URL verified.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Iam {
    pub account_id: Option<String>,
    pub user_arn: Option<String>,
}

/// What a JWT authorizer verified. API Gateway makes every claim a string.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Jwt {
    pub claims: Option<BTreeMap<String, Value>>,
    pub scopes: Option<Vec<String>>,
}

/// A request, whichever way it came.
#[derive(Debug)]
pub struct Request {
    pub method: String,
    /// Without the stage, as the client sent it.
    pub path: String,
    /// API Gateway's request id, which its caller sees too; else Lambda's.
    pub id: String,
    pub authorizer: Option<Authorizer>,
    /// Carries what is known of the request into every log line about it.
    pub span: Span,
    headers: BTreeMap<String, String>,
    query: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl From<LambdaEvent<Event>> for Request {
    fn from(
        LambdaEvent {
            payload: event,
            context,
        }: LambdaEvent<Event>,
    ) -> Self {
        let raw_path = event.raw_path.unwrap_or_default();
        let path = match event.request_context.stage.as_deref() {
            Some(stage) if stage != "$default" => without_stage(&raw_path, stage).to_owned(),
            Some(_) | None => raw_path,
        };
        let method = event
            .request_context
            .http
            .method
            .unwrap_or_default()
            .to_ascii_uppercase();
        let id = event
            .request_context
            .request_id
            .unwrap_or_else(|| context.request_id.clone());
        let query = event.raw_query_string.unwrap_or_default();
        let body = event.body.unwrap_or_default();
        let span = tracing::error_span!(
            "request",
            request.id = id,
            lambda.request.id = context.request_id,
            xray.trace.id = context.xray_trace_id,
            http.method = method,
            http.path = path,
            tenant.id = tracing::field::Empty,
            run.id = tracing::field::Empty,
        );
        Self {
            // Names are lower-case already on AWS; elsewhere perhaps not.
            headers: event
                .headers
                .unwrap_or_default()
                .into_iter()
                .map(|(name, value)| (name.to_ascii_lowercase(), value))
                .collect(),
            query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            body: match event.is_base64_encoded {
                Some(true) => STANDARD.decode(body).ok(),
                Some(false) | None => Some(body.into_bytes()),
            },
            authorizer: event.request_context.authorizer,
            method,
            path,
            id,
            span,
        }
    }
}

fn without_stage<'a>(path: &'a str, stage: &str) -> &'a str {
    match path.strip_prefix('/').and_then(|rest| rest.strip_prefix(stage)) {
        Some(rest) if rest.starts_with('/') => rest,
        Some(_) | None => path,
    }
}

impl Request {
    /// The path's segments, percent-decoded. A segment that is no UTF-8 matches no route.
    pub fn segments(&self) -> Vec<String> {
        self.path
            .trim_start_matches('/')
            .split('/')
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
            .collect()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Refuses every method but these.
    ///
    /// # Errors
    /// 405 with `Allow`.
    pub fn allow(&self, methods: &[&str]) -> Result<(), Problem> {
        if methods.contains(&self.method.as_str()) {
            return Ok(());
        }
        let allowed = methods.join(", ");
        let detail = format!("{} takes {allowed}", self.path);
        Err(Problem::new(&problem::METHOD_NOT_ALLOWED, detail).with_header("allow", allowed))
    }

    /// What is said of a path that is none of the function's.
    pub fn no_route(&self) -> Problem {
        Problem::new(&problem::NO_ROUTE, "the path is none of this API")
    }

    /// The query's parameters, of which only these are known.
    pub fn query(&self, known: &[&str]) -> Query {
        let mut query = Query::default();
        for (name, value) in &self.query {
            let at = format!("query:{name}");
            if !known.contains(&name.as_str()) {
                let message = format!("is not a parameter here: expected one of {}", known.join(", "));
                query.invalid.add(at, "unknown_field", message);
            } else if query.values.insert(name.clone(), value.clone()).is_some() {
                query.invalid.add(at, "repeated", "must be given only once");
            }
        }
        query
    }

    /// The body as text, `None` when there is none.
    ///
    /// # Errors
    /// 413 above the bound, 415 for a content type that is not JSON, 400 for what is no UTF-8.
    pub fn text(&self) -> Result<Option<&str>, Problem> {
        let Some(body) = &self.body else {
            return Err(Invalid::one("", "invalid_utf8", "must be valid base64 where the event says so").into());
        };
        if body.len() > limits::REQUEST_BODY_BYTES {
            let detail = format!(
                "the body has {} bytes, above the bound of {}",
                body.len(),
                limits::REQUEST_BODY_BYTES
            );
            return Err(Problem::new(&problem::BODY_TOO_LARGE, detail));
        }
        if body.is_empty() {
            return Ok(None);
        }
        if let Some(content_type) = self.header("content-type").filter(|text| !is_json(text)) {
            let detail = format!("the body must be application/json, not {content_type}");
            return Err(Problem::new(&problem::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        match std::str::from_utf8(body) {
            Ok(text) => Ok(Some(text)),
            Err(error) => {
                let message = format!("must be UTF-8: it is not from byte {} on", error.valid_up_to());
                Err(Invalid::one("", "invalid_utf8", message).into())
            }
        }
    }

    /// The body as `T`.
    ///
    /// # Errors
    /// As [`Self::text`] and [`json::read`]; also when there is no body.
    pub fn json<T: json::Body>(&self) -> Result<T, Problem> {
        let text = self
            .text()?
            .ok_or_else(|| Invalid::one("", "missing_body", "must be given"))?;
        Ok(json::read(text)?)
    }

    /// [`Self::json`], with an empty object in place of no body.
    ///
    /// # Errors
    /// As [`Self::text`] and [`json::read`].
    pub fn json_or_empty<T: json::Body>(&self) -> Result<T, Problem> {
        Ok(json::read(self.text()?.unwrap_or("{}"))?)
    }

    /// The payload's identity: path and body as sent, object keys sorted, number literals as written.
    ///
    /// # Errors
    /// As [`Self::text`].
    pub fn payload_hash(&self) -> Result<String, Problem> {
        let text = self.text()?.unwrap_or("{}");
        let value: Value = serde_json::from_str(text)
            .map_err(|error| Invalid::one("", "invalid_json", format!("must be JSON: {error}")))?;
        Ok(canonical::sha256_hex(&[
            &format!("{} {}", self.method, self.path),
            &canonical::text(&value),
        ]))
    }

    /// Names the run this request is about, for the log.
    pub fn about_run(&self, run_id: RunId) {
        self.span.record("run.id", tracing::field::display(run_id));
    }

    /// The answer to give, logged once.
    pub fn conclude(&self, answer: Result<Response, Problem>) -> Response {
        let _entered = self.span.enter();
        match answer {
            Ok(response) => {
                tracing::info!(http.status = response.status(), "request answered");
                response
            }
            Err(problem) => {
                let (status, code) = (problem.kind.status, problem.kind.code);
                // Pointers and codes only: a message may repeat what the caller sent.
                let errors: Vec<String> = problem
                    .errors
                    .iter()
                    .map(|violation| format!("{} {}", violation.pointer, violation.code))
                    .collect();
                if status >= 500 {
                    let cause = problem.cause.as_deref().unwrap_or_default();
                    tracing::error!(
                        http.status = status,
                        problem.code = code,
                        error.cause = cause,
                        "request failed"
                    );
                } else {
                    tracing::info!(http.status = status, problem.code = code, problem.errors = ?errors, "request refused");
                }
                problem.to_response(&self.id)
            }
        }
    }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Query parameters with what is wrong about them.
#[derive(Debug, Default)]
pub struct Query {
    values: BTreeMap<String, String>,
    pub invalid: Invalid,
}

impl Query {
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// A parameter read by `read`, whose error is a sentence for the caller.
    pub fn read<T, E: ToString>(&mut self, name: &str, read: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        match read(self.values.get(name)?) {
            Ok(value) => Some(value),
            Err(error) => {
                self.invalid.add(format!("query:{name}"), "invalid", error.to_string());
                None
            }
        }
    }

    /// A whole number within bounds.
    pub fn number(&mut self, name: &str, bounds: std::ops::RangeInclusive<u32>) -> Option<u32> {
        self.read(name, |text| match text.parse::<u32>() {
            Ok(number) if bounds.contains(&number) => Ok(number),
            Ok(_) | Err(_) => Err(format!(
                "must be a whole number from {} to {}",
                bounds.start(),
                bounds.end()
            )),
        })
    }

    /// # Errors
    /// Everything that was wrong.
    pub fn finish(self) -> Result<(), Invalid> {
        self.invalid.into_result()
    }
}

/// An answer in payload format 2.0.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    status_code: u16,
    headers: BTreeMap<&'static str, String>,
    body: String,
    is_base64_encoded: bool,
}

impl Response {
    /// A JSON answer that nobody caches.
    pub fn json(status: u16, view: &impl Serialize) -> Self {
        // Views are made of texts, numbers and JSON that was parsed before: there is nothing in them that cannot be
        // written.
        let body = serde_json::to_string(view).unwrap_or_default();
        let headers = BTreeMap::from([
            ("content-type", "application/json".to_owned()),
            ("cache-control", "no-store".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
        ]);
        Self {
            status_code: status,
            headers,
            body,
            is_base64_encoded: false,
        }
    }

    #[must_use]
    pub fn with(mut self, header: &'static str, value: impl Into<String>) -> Self {
        self.headers.insert(header, value.into());
        self
    }

    /// Marked when it repeats the first answer to an idempotency key.
    #[must_use]
    pub fn replayed(self, replayed: bool) -> Self {
        if replayed {
            self.with("idempotent-replayed", "true")
        } else {
            self
        }
    }

    pub fn status(&self) -> u16 {
        self.status_code
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub fn body(&self) -> &str {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(event: Value) -> Request {
        let event: Event = serde_json::from_str(&event.to_string()).expect("an event");
        Request::from(LambdaEvent::new(event, lambda_runtime::Context::default()))
    }

    #[test]
    fn any_object_is_an_event() {
        for event in [
            json!({}),
            json!({"requestContext": {"http": {}, "authorizer": null}, "headers": null, "body": null}),
        ] {
            let request = request(event);
            assert_eq!(request.segments(), [""]);
            assert!(request.text().expect("no body").is_none());
        }
    }

    #[test]
    fn a_stage_does_not_matter() {
        for (stage, path, found) in [
            ("$default", "/v1/workflow-runs", "/v1/workflow-runs"),
            ("prod", "/prod/v1/workflow-runs", "/v1/workflow-runs"),
            ("prod", "/v1/workflow-runs", "/v1/workflow-runs"),
            ("v", "/v1/workflow-runs", "/v1/workflow-runs"),
        ] {
            let request = request(json!({"rawPath": path, "requestContext": {"stage": stage}}));
            assert_eq!(request.path, found);
        }
    }

    #[test]
    fn segments_are_decoded_after_they_are_split() {
        let request = request(json!({"rawPath": "/v1/a%2Fb/%C3%A9+/%FF"}));
        assert_eq!(request.segments(), ["v1", "a/b", "é+", "\u{FFFD}"]);
    }

    #[test]
    fn a_query_is_known_single_and_within_bounds() {
        let request = request(json!({"rawQueryString": "limit=5&status=%3C&status=2&nope=1&a=<"}));
        let mut query = request.query(&["limit", "status"]);
        assert_eq!(query.number("limit", 1..=100), Some(5));
        assert_eq!(query.number("status", 1..=100), Some(2));
        let faults = query.finish().expect_err("refused").violations;
        let faults: Vec<_> = faults
            .iter()
            .map(|fault| (fault.pointer.as_str(), fault.code))
            .collect();
        assert_eq!(
            faults,
            [
                ("query:status", "repeated"),
                ("query:nope", "unknown_field"),
                ("query:a", "unknown_field")
            ]
        );
    }

    #[test]
    fn a_body_is_bounded_json_in_utf8() {
        let encoded = |bytes: &[u8]| json!({"body": STANDARD.encode(bytes), "isBase64Encoded": true});
        assert_eq!(request(encoded(b"{}")).text().expect("text"), Some("{}"));
        let status = |event: Value| request(event).text().expect_err("refused").kind.status;
        assert_eq!(status(encoded(b"\"\xff\"")), 400);
        assert_eq!(status(json!({"body": "%", "isBase64Encoded": true})), 400);
        assert_eq!(status(json!({"body": "x".repeat(limits::REQUEST_BODY_BYTES + 1)})), 413);
        assert_eq!(
            status(json!({"body": "{}", "headers": {"Content-Type": "text/plain"}})),
            415
        );
        for content_type in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/merge-patch+json",
        ] {
            assert!(
                request(json!({"body": "{}", "headers": {"content-type": content_type}}))
                    .text()
                    .is_ok()
            );
        }
    }

    #[test]
    fn a_payload_is_known_by_its_content() {
        let hash = |method: &str, body: &str| {
            let event = json!({"rawPath": "/v1/x", "body": body, "requestContext": {"http": {"method": method}}});
            request(event).payload_hash().expect("a hash")
        };
        assert_eq!(
            hash("POST", r#"{"a":1,"b":[1.10]}"#),
            hash("POST", r#"{ "b": [1.10], "a": 1 }"#)
        );
        assert_ne!(hash("POST", r#"{"a":1.1}"#), hash("POST", r#"{"a":1.10}"#));
        assert_ne!(hash("POST", "{}"), hash("PUT", "{}"));
    }

    #[test]
    fn an_answer_has_the_form_of_the_gateway() {
        let response = Response::json(201, &json!({"id": 1})).with("location", "/x");
        let written = serde_json::to_value(&response).expect("writes");
        assert_eq!(
            written,
            json!({"statusCode": 201, "body": "{\"id\":1}", "isBase64Encoded": false, "headers": {
                "content-type": "application/json", "cache-control": "no-store", "location": "/x", "x-content-type-options": "nosniff"}})
        );
    }
}
