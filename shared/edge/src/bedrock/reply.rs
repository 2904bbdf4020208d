//! Answers as they go back through either door: a head, and a body, in one piece or piece by piece.

use super::refused::{ERROR_TYPE, Refused};
use bytes::Bytes;
use lambda_http::http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use lambda_http::http::{HeaderMap, HeaderValue, StatusCode};
use lambda_runtime::streaming::{self, Body, Sender};
use lambda_runtime::{MetadataPrelude, StreamResponse};
use sluice_core::call_id::CallId;

/// From which SDKs take the id of a request: that of the call, under which it is recorded.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
/// The same under a name of its own: a door may put its own id in the place of the other.
pub const CALL_ID: HeaderName = HeaderName::from_static("sluice-call-id");
/// The limit to which an answer was lowered.
pub const MAX_TOKENS: HeaderName = HeaderName::from_static("sluice-max-tokens");

/// An answer of a function that streams.
pub type Reply = StreamResponse<Body>;

/// The headers of Bedrock's answer that go on.
pub fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let is_passed = |name: &HeaderName| {
        [CONTENT_TYPE, RETRY_AFTER, ERROR_TYPE].contains(name) || name.as_str().starts_with("x-amzn-bedrock-")
    };
    headers.iter().filter(|(name, _)| is_passed(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Headers that say which call this is.
pub fn about(headers: &mut HeaderMap, call_id: CallId, lowered_to: Option<u64>) {
    if let Ok(id) = HeaderValue::from_str(&call_id.to_string()) {
        headers.insert(REQUEST_ID, id.clone());
        headers.insert(CALL_ID, id);
    }
    if let Some(tokens) = lowered_to {
        headers.insert(MAX_TOKENS, HeaderValue::from(tokens));
    }
}

/// An answer of which the body is still to come, by the sender. Its length is not said, so that it is over when the function has
/// settled the call.
pub fn streamed(status: u16, headers: HeaderMap) -> (Sender, Reply) {
    let (sender, body) = streaming::channel();
    (sender, reply(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY), headers, body))
}

/// An answer in one piece.
pub fn whole(status: u16, headers: HeaderMap, body: Bytes) -> Reply {
    reply(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY), headers, Body::from(body))
}

/// An answer that the governor itself gives.
pub fn refusal(refused: &Refused, is_chat: bool, call_id: CallId) -> Reply {
    let (status, mut headers, body) = refused.written(is_chat);
    about(&mut headers, call_id, None);
    reply(status, headers, Body::from(Bytes::from(body)))
}

fn reply(status_code: StatusCode, headers: HeaderMap, stream: Body) -> Reply {
    StreamResponse { metadata_prelude: MetadataPrelude { status_code, headers, cookies: Vec::new() }, stream }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_of_an_answer_is_what_its_client_reads() {
        let mut headers = HeaderMap::new();
        for name in ["content-type", "content-length", "connection", "date", "x-amzn-requestid", "set-cookie"] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        headers.insert(HeaderName::from_static("x-amzn-bedrock-input-token-count"), HeaderValue::from_static("1"));
        let mut passed = passed_on(&headers);
        let id = CallId::new(jiff::Timestamp::UNIX_EPOCH, 7);
        about(&mut passed, id, Some(1_024));
        let mut names: Vec<&str> = passed.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "content-type",
                "sluice-call-id",
                "sluice-max-tokens",
                "x-amzn-bedrock-input-token-count",
                "x-amzn-requestid"
            ]
        );
        assert_eq!(passed["x-amzn-requestid"], id.to_string());
    }
}
