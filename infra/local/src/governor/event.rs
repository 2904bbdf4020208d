//! What a Function URL makes of a request, and of what its function answers.
//!
//! Sources: <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/configuration-response-streaming.html>

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sluice_bedrock::door::Request;

/// Bytes of an event at most: <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>.
pub(super) const MOST_BYTES: usize = 6 * 1024 * 1024;

/// What stands between the prelude and the body.
const SEPARATOR: [u8; 8] = [0; 8];

/// The event of payload 2.0 that a Function URL without an authorizer hands to its function.
pub(super) fn of(request: &Request, request_id: &str, account: &str, now: Timestamp) -> Value {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let headers = joined(&request.headers, &request.host);
    let text = is_text(&headers).then(|| std::str::from_utf8(&request.body).ok()).flatten();
    let body = match (text, request.body.is_empty()) {
        (_, true) => Value::Null,
        (Some(text), false) => json!(text),
        (None, false) => json!(STANDARD.encode(&request.body)),
    };
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "local",
            "domainName": request.host,
            "domainPrefix": "local",
            "http": {
                "method": request.method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": headers.get("user-agent").cloned().unwrap_or_default(),
            },
            "requestId": request_id,
            "routeKey": "$default",
            "stage": "$default",
            "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "timeEpoch": now.as_millisecond(),
            // Not of AWS: which account's stack this is.
            "stackAccountId": account,
        },
        "body": body,
        "isBase64Encoded": text.is_none() && !request.body.is_empty(),
    })
}

/// Names in lower case, repeated ones joined by a comma.
fn joined(headers: &HeaderMap, host: &str) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::from([("host".to_owned(), host.to_owned())]);
    for name in headers.keys().filter(|name| name.as_str() != "host") {
        let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        all.insert(name.as_str().to_owned(), values.collect::<Vec<_>>().join(","));
    }
    all
}

/// Bodies of these are handed on as text, all others in base64.
fn is_text(headers: &BTreeMap<String, String>) -> bool {
    let kind = headers.get("content-type").map(|kind| kind.split(';').next().unwrap_or_default().trim().to_lowercase());
    kind.is_some_and(|kind| {
        kind.starts_with("text/")
            || ["application/json", "application/javascript", "application/xml"].contains(&kind.as_str())
    })
}

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Prelude {
    pub status: u16,
    pub headers: Vec<(String, String)>,
}

/// Reads an answer's beginning: the prelude, and how many bytes it and the separator are. `None`: there is more of it to come.
pub(super) fn prelude(begun: &[u8]) -> Option<Result<(Prelude, usize), String>> {
    let at = begun.windows(SEPARATOR.len()).position(|window| window == SEPARATOR)?;
    Some(read(&begun[..at]).map(|prelude| (prelude, at + SEPARATOR.len())))
}

fn read(text: &[u8]) -> Result<Prelude, String> {
    let said: Map<String, Value> =
        serde_json::from_slice(text).map_err(|error| format!("the prelude is no JSON object: {error}"))?;
    let status = said.get("statusCode").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
    let status = status.ok_or_else(|| "the prelude has no statusCode".to_owned())?;
    let mut headers = Vec::new();
    for (name, value) in said.get("headers").and_then(Value::as_object).into_iter().flatten() {
        let values = value.as_array().map_or_else(|| vec![value], |values| values.iter().collect());
        for value in values {
            let value = value.as_str().ok_or_else(|| format!("the header {name} is no text"))?;
            headers.push((name.clone(), value.to_owned()));
        }
    }
    for cookie in said.get("cookies").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        headers.push(("set-cookie".to_owned(), cookie.to_owned()));
    }
    Ok(Prelude { status, headers })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn request(kind: Option<&str>, body: &'static [u8]) -> Request {
        let mut headers = HeaderMap::new();
        if let Some(kind) = kind {
            headers.insert("content-type", kind.parse().expect("a value"));
        }
        for value in ["a", "b"] {
            headers.append("x-more", value.parse().expect("a value"));
        }
        let target = "/g/x/model/anthropic.claude%3A0/invoke?trace=1".to_owned();
        let host = "localhost:1".to_owned();
        Request { method: "POST".to_owned(), target, host, headers, body: Bytes::from_static(body) }
    }

    #[test]
    fn a_body_is_text_where_it_says_so_and_is() {
        for (kind, body, expected) in [
            (Some("application/json"), &b"{}"[..], Some("{}")),
            (Some("application/json; charset=utf-8"), b"{}", Some("{}")),
            (Some("text/plain"), "é".as_bytes(), Some("é")),
            (Some("application/json"), b"\xff", None),
            (Some("application/octet-stream"), b"{}", None),
            (None, b"{}", None),
        ] {
            let event = of(&request(kind, body), "id", "1", Timestamp::UNIX_EPOCH);
            assert_eq!(event["isBase64Encoded"], expected.is_none(), "{kind:?}");
            let said = event["body"].as_str().expect("a body");
            assert_eq!(said, expected.map_or_else(|| STANDARD.encode(body), str::to_owned), "{kind:?}");
        }
        let event = of(&request(None, b""), "id", "1", Timestamp::UNIX_EPOCH);
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&Value::Null, &json!(false)));
    }

    #[test]
    fn a_path_is_handed_on_as_it_came_and_repeated_headers_are_one() {
        let event = of(&request(None, b""), "id", "1", Timestamp::UNIX_EPOCH);
        assert_eq!(event["rawPath"], "/g/x/model/anthropic.claude%3A0/invoke");
        assert_eq!(event["rawQueryString"], "trace=1");
        assert_eq!((&event["headers"]["x-more"], &event["headers"]["host"]), (&json!("a,b"), &json!("localhost:1")));
    }

    #[test]
    fn a_prelude_is_read_when_it_is_whole() {
        let answer = b"{\"statusCode\":429,\"headers\":{\"retry-after\":\"3\",\"x-many\":[\"1\",\"2\"]},\"cookies\":[\"a=b\"]}\0\0\0\0\0\0\0\0body";
        for end in 0..answer.len() - 4 {
            assert_eq!(prelude(&answer[..end]), None, "{end}");
        }
        let (head, bytes) = prelude(answer).expect("whole").expect("a prelude");
        assert_eq!((head.status, &answer[bytes..]), (429, &b"body"[..]));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = [pair("retry-after", "3"), pair("x-many", "1"), pair("x-many", "2"), pair("set-cookie", "a=b")];
        assert_eq!(head.headers, expected);
        for broken in [
            &b"\0\0\0\0\0\0\0\0"[..],
            b"[]\0\0\0\0\0\0\0\0",
            b"{}\0\0\0\0\0\0\0\0",
            b"{\"statusCode\":70000}\0\0\0\0\0\0\0\0",
        ] {
            assert!(prelude(broken).is_some_and(|read| read.is_err()), "{broken:?}");
        }
    }
}
