//! A call as either door hands it over: a REST API's proxy event (version 1), or a Function URL's (version 2).
//! Sources: <https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html>

use super::refused::Refused;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_http::http::header::AUTHORIZATION;
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;
use sluice_core::governor::access::{GrantPath, NotAdmitted};
use sluice_core::limits;
use std::collections::BTreeMap;

/// What the function was invoked with. Reading it never fails: what is no request is answered too.
#[derive(Debug, Deserialize)]
#[serde(from = "Box<RawValue>")]
pub struct Event(Result<Box<Fields>, serde_json::Error>);

impl From<Box<RawValue>> for Event {
    fn from(event: Box<RawValue>) -> Self {
        Self(serde_json::from_str(event.get()))
    }
}

/// Of both versions. A member that may be `null` is an option.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Fields {
    raw_path: Option<String>,
    path: Option<String>,
    http_method: Option<String>,
    headers: Option<BTreeMap<String, Option<String>>>,
    multi_value_headers: Option<BTreeMap<String, Option<Vec<String>>>>,
    body: Option<String>,
    is_base64_encoded: Option<bool>,
    request_context: Option<Context>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Context {
    http: Option<Http>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Http {
    method: Option<String>,
}

/// A request, whichever door it came through.
#[derive(Debug)]
pub struct Arrived {
    pub method: String,
    /// As it came, with whatever the door has put before `/g/`.
    path: String,
    pub headers: HeaderMap,
    body: Result<Vec<u8>, &'static str>,
}

impl From<Event> for Arrived {
    fn from(event: Event) -> Self {
        let fields = event.0.unwrap_or_else(|error| {
            // The message of a syntax error repeats nothing of the event.
            tracing::warn!(error.line = error.line(), error.column = error.column(), "the event is no HTTP request");
            Box::default()
        });
        let method = fields.request_context.and_then(|context| context.http).and_then(|http| http.method);
        let body = fields.body.unwrap_or_default();
        let body = if fields.is_base64_encoded == Some(true) {
            STANDARD.decode(body).map_err(|_not_base64| "the body must be base64, as the event says that it is")
        } else {
            Ok(body.into_bytes())
        };
        Self {
            method: method.or(fields.http_method).unwrap_or_default(),
            path: fields.raw_path.or(fields.path).unwrap_or_default(),
            headers: headers(fields.headers.unwrap_or_default(), fields.multi_value_headers.unwrap_or_default()),
            body,
        }
    }
}

/// All values of each header, once. A name or a value that is none is left out.
fn headers(single: BTreeMap<String, Option<String>>, multiple: BTreeMap<String, Option<Vec<String>>>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut append = |name: &str, value: &str| {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
    };
    for (name, values) in &multiple {
        values.iter().flatten().for_each(|value| append(name, value));
    }
    for (name, value) in single {
        if !multiple.keys().any(|other| other.eq_ignore_ascii_case(&name)) {
            value.iter().for_each(|value| append(&name, value));
        }
    }
    headers
}

impl Arrived {
    /// The grant, and the operation's own path behind it: what is before `/g/` is the door's.
    ///
    /// # Errors
    /// [`NotAdmitted`] where there is none.
    pub fn grant(&self) -> Result<(GrantPath, &str), NotAdmitted> {
        let path = self.path.split('?').next().unwrap_or_default();
        // Each slash by itself: what is before may be a `/g` too.
        let mut after = path.match_indices('/').filter_map(|(at, _)| path[at..].strip_prefix("/g/"));
        after.find_map(|rest| GrantPath::read(rest).ok()).ok_or(NotAdmitted)
    }

    /// The bearer of the request; of several none.
    pub fn bearer(&self) -> Option<&str> {
        let mut values = self.headers.get_all(AUTHORIZATION).iter();
        let value = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
        let (scheme, bearer) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| bearer.trim())
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body, in bytes.
    ///
    /// # Errors
    /// When it is too large, or is not what the event says.
    pub fn body(&self) -> Result<&[u8], Refused> {
        let body = self.body.as_ref().map_err(Refused::invalid)?;
        if body.len() > limits::GOVERNED_BODY_BYTES {
            let most = limits::GOVERNED_BODY_BYTES;
            return Err(Refused::invalid(format_args!("the body must have at most {most} bytes")));
        }
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const GRANT: &str = "acme.00000000-0000-0000-0000-000000000007.00000000000000000000000000000abc";

    fn arrived(event: &Value) -> Arrived {
        serde_json::from_str::<Event>(&event.to_string()).expect("never fails").into()
    }

    #[test]
    fn both_doors_bring_the_same() {
        let path = format!("/prod/g/{GRANT}/work/1/model/anthropic.claude-v1%3A0/converse");
        let of_rest = json!({
            "resource": "/{proxy+}", "path": path, "httpMethod": "POST", "body": "e30=", "isBase64Encoded": true,
            "headers": {"Authorization": "Bearer spk.a.b", "X-Twice": "2", "Accept": null},
            "multiValueHeaders": {"Authorization": ["Bearer spk.a.b"], "x-twice": ["1", "2"], "Accept": null},
            "requestContext": {"stage": "prod", "path": path, "httpMethod": "POST", "identity": {}},
        });
        let of_url = json!({
            "version": "2.0", "rawPath": path, "rawQueryString": "", "body": "{}", "isBase64Encoded": false,
            "headers": {"authorization": "Bearer spk.a.b", "x-twice": "1,2"},
            "requestContext": {"http": {"method": "POST", "path": path}, "stage": "$default"},
        });
        for event in [of_rest, of_url] {
            let arrived = arrived(&event);
            let (grant, rest) = arrived.grant().expect("a grant");
            assert_eq!((grant.tenant.as_str(), rest), ("acme", "/model/anthropic.claude-v1%3A0/converse"));
            assert_eq!((arrived.method.as_str(), arrived.bearer()), ("POST", Some("spk.a.b")));
            assert_eq!(arrived.body().expect("a body"), b"{}");
            let twice: Vec<_> = arrived.headers.get_all("x-twice").iter().collect();
            assert!(twice == ["1", "2"] || twice == ["1,2"], "{twice:?}");
        }
    }

    #[test]
    fn what_the_door_puts_before_the_grant_is_passed_over() {
        for before in ["", "/prod", "/g", "/a/g/b", "/custom/base/path"] {
            let event = json!({"rawPath": format!("{before}/g/{GRANT}/work/1/model/a.b/invoke?x=/g/")});
            assert_eq!(arrived(&event).grant().map(|(_, rest)| rest.to_owned()), Ok("/model/a.b/invoke".to_owned()));
        }
        for path in ["", "/", "/g/", &format!("/g{GRANT}/work/1"), "/g/acme.x.y/work/1/model/a.b/converse"] {
            assert_eq!(arrived(&json!({"rawPath": path})).grant().map(|_| ()), Err(NotAdmitted), "{path}");
        }
    }

    #[test]
    fn a_bearer_is_one_header_of_one_scheme() {
        let bearer = |values: Value| {
            let event = json!({"multiValueHeaders": {"Authorization": values}});
            arrived(&event).bearer().map(str::to_owned)
        };
        assert_eq!(bearer(json!(["bearer  x "])), Some("x".to_owned()));
        for values in [
            json!([]),
            json!(["x"]),
            json!(["Basic x"]),
            json!(["Bearer x", "Bearer y"]),
            json!(["AWS4-HMAC-SHA256 C=x"]),
        ] {
            assert_eq!(bearer(values.clone()), None, "{values}");
        }
    }

    #[test]
    fn a_body_that_is_too_large_or_no_base64_is_refused() {
        let huge = "x".repeat(limits::GOVERNED_BODY_BYTES + 1);
        assert!(arrived(&json!({"body": huge})).body().is_err());
        assert!(arrived(&json!({"body": &huge[1..]})).body().is_ok());
        assert!(arrived(&json!({"body": "%", "isBase64Encoded": true})).body().is_err());
        assert_eq!(arrived(&json!({})).body(), Ok(&[][..]));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_a_request(text in "\\PC{0,200}", path in "\\PC{0,80}", body in "\\PC{0,80}", base64 in any::<bool>()) {
            let raw = RawValue::from_string(json!(text).to_string()).expect("JSON");
            prop_assert!(Arrived::from(Event::from(raw)).grant().is_err());
            let event = json!({"path": path, "body": body, "isBase64Encoded": base64, "headers": {&text: text}});
            let arrived = arrived(&event);
            prop_assert!((arrived.body().is_ok() || base64) && arrived.grant().is_err() && arrived.bearer().is_none());
        }
    }
}
