//! HTTP as Lambda sees it: API Gateway's payload format 2.0, which Function URLs use as well.
//! Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>
//!
//! Events and answers are the types that `lambda_http` has for them. Its conversion of an event into an
//! `http::Request` is not used: it panics on a query such as `?a=<` and on a body that is no base64, which the gateway
//! answers with a bare 502.
//!
//! Decision (2026-11-22): HTTP events use the types of `lambda_http` but not its conversion into `http::Request`,
//! which panics on some queries and on bad base64: that would be the gateway's bare 502.

use crate::fault::{Faults, ReadingCode};
use crate::json;
use crate::problem::{self, Problem};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_http::Body;
use lambda_http::aws_lambda_events::apigw::{
    ApiGatewayRequestAuthorizer, ApiGatewayV2httpRequest, ApiGatewayV2httpResponse,
};
use lambda_http::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use lambda_http::http::{HeaderMap, HeaderValue, Method};
use lambda_runtime::LambdaEvent;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sluice_core::canonical;
use sluice_core::id::{RunId, TenantId};
use sluice_core::limits;
use sluice_core::number::{is_whole, whole_literal};
use sluice_core::violation::ViolationCode;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::OnceLock;
use tracing::Span;

/// What the function was invoked with. Reading it never fails: what is no request is answered too, and is no fault of
/// the function.
#[derive(Debug, Deserialize)]
#[serde(from = "Box<RawValue>")]
pub struct Event(Result<Box<ApiGatewayV2httpRequest>, serde_json::Error>);

impl From<Box<RawValue>> for Event {
    fn from(event: Box<RawValue>) -> Self {
        Self(serde_json::from_str(event.get()))
    }
}

/// A request, whichever way it came.
#[derive(Debug)]
pub struct Request {
    pub method: Method,
    /// Without the stage, as the client sent it.
    pub path: String,
    /// API Gateway's request id, which its caller sees too; else Lambda's.
    pub id: String,
    pub authorizer: Option<ApiGatewayRequestAuthorizer>,
    /// Carries what is known of the request into every log line about it.
    pub span: Span,
    headers: HeaderMap,
    query: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    /// The run that answering it may have recorded by now.
    new_run: OnceLock<RunId>,
}

impl From<LambdaEvent<Event>> for Request {
    fn from(LambdaEvent { payload, context }: LambdaEvent<Event>) -> Self {
        // What cannot be read says neither who asks nor for what, and is refused for that.
        let (event, unreadable) = match payload.0 {
            Ok(event) => (event, None),
            Err(error) => (Box::default(), Some(error)),
        };
        let raw_path = event.raw_path.unwrap_or_default();
        let path = match event.request_context.stage.as_deref() {
            Some(stage) if stage != "$default" => without_stage(&raw_path, stage).to_owned(),
            Some(_) | None => raw_path,
        };
        let method = event.request_context.http.method;
        let id = event.request_context.request_id.unwrap_or_else(|| context.request_id.clone());
        let query = event.raw_query_string.unwrap_or_default();
        let body = event.body.unwrap_or_default();
        let span = tracing::error_span!(
            "request",
            request.id = id,
            lambda.request.id = context.request_id,
            xray.trace.id = context.xray_trace_id,
            http.method = method.as_str(),
            http.path = path,
            tenant.id = tracing::field::Empty,
            run.id = tracing::field::Empty,
        );
        if let Some(error) = unreadable {
            span.in_scope(|| tracing::warn!(error.cause = %error, "the event is no HTTP request"));
        }
        Self {
            headers: event.headers,
            query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            body: if event.is_base64_encoded { STANDARD.decode(body).ok() } else { Some(body.into_bytes()) },
            authorizer: event.request_context.authorizer,
            method,
            path,
            id,
            span,
            new_run: OnceLock::new(),
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
    pub fn header(&self, name: &str) -> Option<&str> {
        // `HeaderValue::to_str` knows no UTF-8.
        std::str::from_utf8(self.headers.get(name)?.as_bytes()).ok()
    }

    /// A header that has one value. A proxy that joins repeated headers makes `k, k` of `k` and `k`, which is `k`.
    ///
    /// # Errors
    /// When it has several.
    pub fn single(&self, name: &str) -> Result<Option<&str>, Faults> {
        let values = self.headers.get_all(name).iter().filter_map(|value| std::str::from_utf8(value.as_bytes()).ok());
        let mut parts = values.flat_map(|value| value.split(',')).map(str::trim);
        let first = parts.next();
        match parts.all(|part| Some(part) == first) {
            true => Ok(first),
            false => {
                let message = "must be given once, or the same each time";
                Err(Faults::one(format_args!("header:{name}"), ViolationCode::Repeated, message))
            }
        }
    }

    /// The query's parameters, of which only these are known.
    pub fn query(&self, known: &[&str]) -> Query {
        let mut query = Query::default();
        for (name, value) in &self.query {
            let at = format_args!("query:{name}");
            if !known.contains(&name.as_str()) {
                let message = format_args!("is not a parameter here: expected one of {}", known.join(", "));
                query.faults.add(at, ReadingCode::UnknownField, message);
            } else if query.values.insert(name.clone(), value.clone()).is_some() {
                query.faults.add(at, ViolationCode::Repeated, "must be given only once");
            }
        }
        query
    }

    /// Refuses a body above a bound of its own route, before anything of it is looked at.
    ///
    /// # Errors
    /// 413.
    pub fn at_most(&self, bytes: usize) -> Result<(), Problem> {
        match &self.body {
            Some(body) if body.len() > bytes => {
                let detail = format!("the body has {} bytes, above the bound of {bytes}", body.len());
                Err(Problem::new(&problem::BODY_TOO_LARGE, detail))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The body as text, `None` when there is none.
    ///
    /// # Errors
    /// 413 above the bound; 415 for a body that does not say that it is JSON, or that is encoded; 400 for what is no UTF-8.
    pub fn text(&self) -> Result<Option<&str>, Problem> {
        let Some(body) = &self.body else {
            return Err(
                Faults::one("", ReadingCode::InvalidUtf8, "must be valid base64 where the event says so").into()
            );
        };
        self.at_most(limits::REQUEST_BODY_BYTES)?;
        if body.is_empty() {
            return Ok(None);
        }
        let unsupported = |detail: String| Problem::new(&problem::UNSUPPORTED_MEDIA_TYPE, detail);
        // Without its type a browser sends a body anywhere without asking whether it may.
        match self.single("Content-Type")? {
            Some(content_type) if is_json(content_type) => {}
            Some(other) => return Err(unsupported(format!("the body must be application/json, not {other}"))),
            None => {
                return Err(unsupported(
                    "the body must say that it is application/json: it has no content-type".to_owned(),
                ));
            }
        }
        if let Some(encoding) = self.single("Content-Encoding")?.filter(|text| !text.eq_ignore_ascii_case("identity")) {
            return Err(unsupported(format!("the body must be sent as it is, not with content-encoding {encoding}")));
        }
        if let Some(mark) = BYTE_ORDER_MARKS.iter().find(|mark| body.starts_with(mark)) {
            let message = format_args!("must be UTF-8 without a byte order mark: it begins with {mark:02x?}");
            return Err(Faults::one("", ReadingCode::InvalidUtf8, message).into());
        }
        match std::str::from_utf8(body) {
            Ok(text) => Ok(Some(text)),
            Err(error) => {
                let message = format_args!("must be UTF-8: it is not from byte {} on", error.valid_up_to());
                Err(Faults::one("", ReadingCode::InvalidUtf8, message).into())
            }
        }
    }

    /// The body as `T`.
    ///
    /// # Errors
    /// As [`Self::text`] and [`json::read`]; also when there is no body.
    pub fn json<T: json::Body>(&self) -> Result<T, Problem> {
        let text = self.text()?.ok_or_else(|| Faults::one("", ReadingCode::MissingBody, "must be given"))?;
        Ok(json::read(text)?)
    }

    /// [`Self::json`], with an empty object in place of no body.
    ///
    /// # Errors
    /// As [`Self::text`] and [`json::read`].
    pub fn json_or_empty<T: json::Body>(&self) -> Result<T, Problem> {
        Ok(json::read(self.text()?.unwrap_or("{}"))?)
    }

    /// [`Self::json`] of a request that an idempotency key may come with, and the payload's identity: what was understood of
    /// method, path and body, without the key, wherever that stood.
    ///
    /// # Errors
    /// As [`Self::json`].
    pub fn json_keyed<T: json::Body>(&self) -> Result<(T, String), Problem> {
        let text = self.text()?.ok_or_else(|| Faults::one("", ReadingCode::MissingBody, "must be given"))?;
        self.keyed(text)
    }

    /// [`Self::json_keyed`], with an empty object in place of no body.
    ///
    /// # Errors
    /// As [`Self::json_or_empty`].
    pub fn json_keyed_or_empty<T: json::Body>(&self) -> Result<(T, String), Problem> {
        self.keyed(self.text()?.unwrap_or("{}"))
    }

    fn keyed<T: json::Body>(&self, text: &str) -> Result<(T, String), Problem> {
        let (body, fingerprint) = json::read_keyed(text)?;
        let mut parts = vec![self.method.to_string(), fingerprint.to_string()];
        parts.extend(self.segments());
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        Ok((body, canonical::sha256_hex(&parts)))
    }

    /// The path's segments, percent-decoded after it is split. A segment that is no UTF-8 matches no route.
    pub(crate) fn segments(&self) -> Vec<String> {
        let path = self.path.strip_prefix('/').unwrap_or(&self.path);
        path.split('/').map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned()).collect()
    }

    /// Refuses a body where none is read. An object without fields says nothing.
    ///
    /// # Errors
    /// As [`Self::text`]; and every field that there is.
    pub fn no_body(&self) -> Result<(), Problem> {
        match self.text()? {
            Some(text) => Ok(json::read::<NoBody>(text).map(|NoBody {}| ())?),
            None => Ok(()),
        }
    }

    /// Names the tenant this request is of, for the log.
    pub fn about_tenant(&self, tenant: &TenantId) {
        self.span.record("tenant.id", tenant.as_str());
    }

    /// From now on a run of this id may be recorded: should there be no answer, it is named to the caller.
    pub fn may_record(&self, run_id: RunId) {
        // A request records one run, so the first id is the one.
        self.new_run.get_or_init(|| run_id);
    }

    /// See [`Self::may_record`].
    pub fn new_run(&self) -> Option<RunId> {
        self.new_run.get().copied()
    }

    /// Names the run this request is about, for the log.
    pub fn about_run(&self, run_id: RunId) {
        self.span.record("run.id", tracing::field::display(run_id));
    }
}

/// The body of a request that takes none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoBody {}

impl json::Body for NoBody {
    const OBJECTS: &'static [&'static str] = &[""];
}

/// UTF-8, UTF-16 in both orders: RFC 8259, section 8.1, wants none of them.
const BYTE_ORDER_MARKS: [&[u8]; 3] = [&[0xef, 0xbb, 0xbf], &[0xfe, 0xff], &[0xff, 0xfe]];

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Query parameters with what is wrong about them.
#[derive(Debug, Default)]
pub struct Query {
    values: BTreeMap<String, String>,
    pub faults: Faults,
}

impl Query {
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// A parameter read by `read`, whose error is a sentence for the caller: the parameter is not of the needed form.
    pub fn read<T, E: Display>(&mut self, name: &str, read: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        self.read_or(name, |text| read(text).map_err(|message| (ViolationCode::Invalid, message)))
    }

    /// A parameter read by `read`, whose error says what is wrong and a sentence for the caller.
    pub fn read_or<T, E: Display>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, (ViolationCode, E)>,
    ) -> Option<T> {
        match read(self.values.get(name)?) {
            Ok(value) => Some(value),
            Err((code, message)) => {
                self.faults.add(format_args!("query:{name}"), code, message);
                None
            }
        }
    }

    /// A whole number within bounds.
    pub fn number(&mut self, name: &str, bounds: std::ops::RangeInclusive<u32>) -> Option<u32> {
        self.read_or(name, |text| match whole_literal(text).and_then(|number| u32::try_from(number).ok()) {
            Some(number) if bounds.contains(&number) => Ok(number),
            Some(_) | None => {
                let code = if is_whole(text) { ViolationCode::OutOfRange } else { ViolationCode::Invalid };
                Err((code, format!("must be a whole number from {} to {}", bounds.start(), bounds.end())))
            }
        })
    }

    /// # Errors
    /// Everything that was wrong.
    pub fn finish(self) -> Result<(), Faults> {
        self.faults.into_result()
    }
}

/// [`INTERNAL`](crate::problem::INTERNAL), of an answer that cannot be written.
const UNWRITABLE: &str = concat!(
    r#"{"type":"urn:sluice:problem:internal","title":"Something is wrong on our side","status":500,"#,
    r#""detail":"the answer could not be written","code":"internal"}"#
);

/// An answer in payload format 2.0.
#[derive(Debug, Serialize)]
pub struct Response(ApiGatewayV2httpResponse);

impl Response {
    /// A JSON answer that nobody caches. Views are made of texts, numbers and JSON that was parsed before; should one of them be
    /// something that cannot be written, the answer is a 500 that says so.
    pub fn json(status: u16, view: &impl Serialize) -> Self {
        match serde_json::to_string(view) {
            Ok(body) => Self::written(status, body),
            Err(error) => {
                tracing::error!(error.cause = %error, "the answer could not be written");
                Self::written(500, UNWRITABLE.to_owned()).with(CONTENT_TYPE, "application/problem+json")
            }
        }
    }

    fn written(status: u16, body: String) -> Self {
        let mut response = ApiGatewayV2httpResponse::default();
        response.status_code = i64::from(status);
        response.body = Some(Body::Text(body));
        Self(response)
            .with(CONTENT_TYPE, "application/json")
            .with(CACHE_CONTROL, "no-store")
            .with(X_CONTENT_TYPE_OPTIONS, "nosniff")
    }

    /// A refusal as RFC 9457 has it. `request_id` names the occurrence.
    pub fn problem(problem: &Problem, request_id: &str) -> Self {
        let response = Self::json(problem.kind.status, &problem.body(request_id));
        let response = response.with(CONTENT_TYPE, "application/problem+json");
        match problem.header.as_deref() {
            Some((name, value)) => response.with(name.clone(), value),
            None => response,
        }
    }

    /// 204: it is done, and there is nothing to say of it.
    pub fn no_content() -> Self {
        let mut response = ApiGatewayV2httpResponse::default();
        response.status_code = 204;
        Self(response).with(CACHE_CONTROL, "no-store").with(X_CONTENT_TYPE_OPTIONS, "nosniff")
    }

    /// With a header, in place of one of the same name. Its value is ours: paths of ids, numbers, lists of methods.
    #[must_use]
    pub fn with(mut self, header: HeaderName, value: impl AsRef<str>) -> Self {
        if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
            self.0.headers.insert(header, value);
        }
        self
    }

    /// Says where the thing it is about is found.
    #[must_use]
    pub fn located(self, path: &str) -> Self {
        self.with(LOCATION, path)
    }

    /// Says after how many seconds asking again makes sense.
    #[must_use]
    pub fn again_after(self, seconds: u32) -> Self {
        self.with(RETRY_AFTER, seconds.to_string())
    }

    /// Marked when it repeats the first answer to an idempotency key.
    #[must_use]
    pub fn replayed(self, replayed: bool) -> Self {
        const MARK: HeaderName = HeaderName::from_static("idempotent-replayed");
        if replayed { self.with(MARK, "true") } else { self }
    }

    pub fn status(&self) -> u16 {
        u16::try_from(self.0.status_code).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.headers.get(name)?.to_str().ok()
    }

    pub fn body(&self) -> &str {
        match &self.0.body {
            Some(Body::Text(text)) => text,
            Some(_) | None => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// The request of an event that says only what a test is about.
    fn request(mut event: Value) -> Request {
        let http = &mut event["requestContext"]["http"];
        if http.is_null() {
            *http = json!({"method": "POST"});
        }
        read(event)
    }

    /// As the runtime reads it.
    fn read(event: Value) -> Request {
        let text = event.to_string();
        let mut deserializer = serde_json::Deserializer::from_slice(text.as_bytes());
        let event: Event = serde_path_to_error::deserialize(&mut deserializer).expect("an event");
        Request::from(LambdaEvent::new(event, lambda_runtime::Context::default()))
    }

    #[test]
    fn anything_is_answered() {
        for event in [
            json!(null),
            json!("text"),
            json!([{}]),
            json!({}),
            json!({"source": "aws.states", "detail-type": "Step Functions Execution Status Change", "detail": {}}),
            json!({"requestContext": {"http": {}, "authorizer": null}, "headers": null, "body": null}),
            json!({"rawPath": "/v1/x", "headers": {"a b": "c"}, "requestContext": {"http": {"method": "GET"}}}),
        ] {
            let request = read(event);
            assert!(["", "/v1/x"].contains(&request.path.as_str()));
            assert!(request.authorizer.is_none());
            assert!(request.text().expect("no body").is_none());
        }
    }

    #[test]
    fn nulls_and_numbers_of_the_gateway_are_read() {
        let request = read(json!({
            "version": "2.0", "routeKey": "$default", "rawPath": "/v1/x", "rawQueryString": "a=<", "cookies": null,
            "headers": {"X-Name": "é"}, "queryStringParameters": null, "pathParameters": null, "stageVariables": null,
            "requestContext": {
                "accountId": "anonymous", "stage": "$default", "requestId": "r-1", "time": "22/Nov/2026:04:40:00 +0000",
                "timeEpoch": 1_795_322_400_000_u64, "http": {"method": "PUT", "path": "/v1/x"}, "authentication": null,
                "authorizer": {"iam": {"accountId": "1", "cognitoIdentity": null, "principalOrgId": null}, "lambda": null},
            },
            "body": null, "isBase64Encoded": false,
        }));
        assert_eq!((request.method.as_str(), request.path.as_str(), request.id.as_str()), ("PUT", "/v1/x", "r-1"));
        assert_eq!(request.header("x-name"), Some("é"));
        let iam = request.authorizer.and_then(|authorizer| authorizer.iam);
        assert_eq!(iam.and_then(|iam| iam.account_id).as_deref(), Some("1"));
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
    fn a_query_is_known_single_and_within_bounds() {
        let request = request(json!({"rawQueryString": "limit=5&status=%3C&status=2&nope=1&a=<"}));
        let mut query = request.query(&["limit", "status"]);
        assert_eq!(query.number("limit", 1..=100), Some(5));
        assert_eq!(query.number("status", 1..=100), Some(2));
        let faults = query.finish().expect_err("refused");
        let faults: Vec<_> = faults.iter().map(|fault| (fault.pointer.as_str(), fault.code.as_str())).collect();
        assert_eq!(
            faults,
            [("query:status", "repeated"), ("query:nope", "unknown_field"), ("query:a", "unknown_field")]
        );
    }

    #[test]
    fn a_body_is_bounded_json_in_utf8() {
        let typed = json!({"content-type": "application/json"});
        let encoded = |bytes: &[u8]| json!({"body": STANDARD.encode(bytes), "isBase64Encoded": true, "headers": typed});
        assert_eq!(request(encoded(b"{}")).text().expect("text"), Some("{}"));
        let status = |event: Value| request(event).text().expect_err("refused").kind.status;
        assert_eq!(status(encoded(b"\"\xff\"")), 400);
        assert_eq!(status(json!({"body": "%", "isBase64Encoded": true})), 400);
        assert_eq!(status(json!({"body": "x".repeat(limits::REQUEST_BODY_BYTES + 1)})), 413);
        assert_eq!(status(json!({"body": "{}", "headers": {"Content-Type": "text/plain"}})), 415);
        for content_type in ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"] {
            assert!(request(json!({"body": "{}", "headers": {"content-type": content_type}})).text().is_ok());
        }
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Keyed {
        #[serde(rename = "a")]
        _a: Option<Value>,
        #[serde(rename = "b")]
        _b: Option<Value>,
        #[serde(rename = "clientToken")]
        _client_token: Option<String>,
    }

    impl json::Body for Keyed {
        const OBJECTS: &'static [&'static str] = &[""];
        const KEY: Option<&'static str> = Some("clientToken");
    }

    #[test]
    fn a_payload_is_known_by_its_content() {
        let hash_at = |method: &str, path: &str, body: &str| {
            let event = json!({
                "rawPath": path, "body": body, "headers": {"content-type": "application/json"},
                "requestContext": {"http": {"method": method}},
            });
            request(event).json_keyed::<Keyed>().expect("a hash").1
        };
        let hash = |method: &str, body: &str| hash_at(method, "/v1/x", body);
        assert_eq!(hash("POST", r#"{"a":1,"b":[1.10]}"#), hash("POST", r#"{ "b": [1.10], "a": 1 }"#));
        assert_ne!(hash("POST", r#"{"a":1.1}"#), hash("POST", r#"{"a":1.10}"#));
        assert_ne!(hash("POST", "{}"), hash("PUT", "{}"));
        // The key's own place does not matter, nor whether a field is null or absent.
        for body in [r#"{"a":1,"clientToken":"k"}"#, r#"{"a":1,"clientToken":null}"#, r#"{"a":1,"b":null}"#] {
            assert_eq!(hash("POST", body), hash("POST", r#"{"a":1}"#), "{body}");
        }
        // A path is known by what it says.
        assert_eq!(hash_at("POST", "/v1/%C3%A9/x", "{}"), hash_at("POST", "/v1/é/x", "{}"));
        assert_ne!(hash_at("POST", "/v1/a%2Fb", "{}"), hash_at("POST", "/v1/a/b", "{}"));
    }

    #[test]
    fn a_header_that_a_proxy_joined_is_one_where_it_says_one_thing() {
        for (given, value) in [
            (json!({}), Ok(None)),
            (json!({"x-key": "k"}), Ok(Some("k"))),
            (json!({"X-Key": "k,k"}), Ok(Some("k"))),
            (json!({"x-key": "k, k ,k"}), Ok(Some("k"))),
            (json!({"x-key": ""}), Ok(Some(""))),
            (json!({"x-key": "k, l"}), Err(vec!["header:X-Key repeated".to_owned()])),
            (json!({"x-key": "k,"}), Err(vec!["header:X-Key repeated".to_owned()])),
        ] {
            let request = request(json!({"headers": given}));
            let told = |faults: Faults| {
                let told = faults.iter().map(|fault| format!("{} {}", fault.pointer, fault.code.as_str()));
                told.collect::<Vec<_>>()
            };
            assert_eq!(request.single("X-Key").map_err(told), value, "{given}");
        }
    }

    #[test]
    fn a_body_says_what_it_is() {
        let sent = |headers: Value, body: &[u8]| {
            let event = json!({"headers": headers, "body": STANDARD.encode(body), "isBase64Encoded": true});
            match request(event).text() {
                Ok(_) => (200, String::new()),
                Err(problem) => {
                    let first = problem.errors.first().map(|fault| fault.message.clone());
                    (problem.kind.status, first.unwrap_or(problem.detail))
                }
            }
        };
        let typed = || json!({"content-type": "application/json"});
        for (headers, body, status, said) in [
            (typed(), b"{}".as_slice(), 200, ""),
            (json!({"content-type": "application/json, application/json"}), b"{}", 200, ""),
            (json!({"content-type": "application/json", "content-encoding": "identity"}), b"{}", 200, ""),
            (json!({}), b"", 200, ""),
            (json!({}), b"{}", 415, "no content-type"),
            (json!({"content-type": ""}), b"{}", 415, "application/json"),
            (json!({"content-type": "application/json, text/plain"}), b"{}", 400, "once"),
            (json!({"content-type": "application/json", "content-encoding": "gzip"}), &[0x1f, 0x8b, 8, 0], 415, "gzip"),
            (json!({"content-type": "application/json", "content-encoding": "br, br"}), b"x", 415, "br"),
            (typed(), &[0xef, 0xbb, 0xbf, b'{', b'}'], 400, "byte order mark"),
            (typed(), &[0xff, 0xfe, b'{', 0, b'}', 0], 400, "byte order mark"),
            (typed(), &[0xfe, 0xff, 0, b'{', 0, b'}'], 400, "byte order mark"),
        ] {
            let (found, message) = sent(headers.clone(), body);
            assert!(found == status && message.contains(said), "{headers} {body:?}: {found} {message}");
        }
    }

    #[test]
    fn where_no_body_is_read_there_is_none() {
        let sent = |body: &str| {
            let event = json!({"body": body, "headers": {"content-type": "application/json"}});
            request(event).no_body().map_err(|problem| problem.errors.first().map_or("", |fault| fault.code.as_str()))
        };
        for nothing in ["", "{}", " { } "] {
            assert_eq!(sent(nothing), Ok(()), "{nothing}");
        }
        assert_eq!(sent(r#"{"specVersion":"1","type":"workflow.run.terminal"}"#), Err("unknown_field"));
        for (other, code) in [("[]", "wrong_type"), ("null", "wrong_type"), ("1", "wrong_type"), ("{", "invalid_json")]
        {
            assert_eq!(sent(other), Err(code), "{other}");
        }
    }

    #[test]
    fn an_answer_has_the_form_of_the_gateway() {
        let response = Response::json(201, &json!({"id": 1})).located("/x");
        let written = serde_json::to_value(&response).expect("writes");
        assert_eq!(
            written,
            json!({"statusCode": 201, "body": "{\"id\":1}", "isBase64Encoded": false, "cookies": [], "multiValueHeaders": {}, "headers": {
                "content-type": "application/json", "cache-control": "no-store", "location": "/x", "x-content-type-options": "nosniff"}})
        );
    }

    #[test]
    fn what_cannot_be_written_is_a_500_and_no_empty_success() {
        struct Unwritable;

        impl Serialize for Unwritable {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("never"))
            }
        }

        let response = Response::json(201, &Unwritable);
        assert_eq!((response.status(), response.header("content-type")), (500, Some("application/problem+json")));
        let expected = Problem::new(&crate::problem::INTERNAL, "the answer could not be written");
        assert_eq!(response.body(), Response::problem(&expected, "").body());
    }
}
