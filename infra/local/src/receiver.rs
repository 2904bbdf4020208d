//! A webhook receiver on 127.0.0.1, in the place of somebody's Lambda Function URL with `AWS_IAM`.
//!
//! Like such a URL it checks the SigV4 signature before anything else and refuses with 403 what does not verify; the check is
//! botocore's, not ours, so it shares no code with the sender. It records each request exactly as it came. `/hooks/<name>` is
//! a receiver of its own for every name, and each can be told how to answer its next requests.
//! `GET /hooks/<name>` shows what it has received.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::bridge::Bridge;
use crate::error::AwsError;
use crate::ministack::REGION;
use crate::server::{Servers, listen, read_whole, respond};
use crate::{Credentials, Error};

/// What every webhook must carry, and carry inside its signature.
const SIGNED_HEADERS: [&str; 5] =
    ["webhook-id", "webhook-timestamp", "webhook-attempt", "sluice-tenant-id", "sluice-run-id"];

/// One request, as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its place among all requests of this receiver, from 0.
    pub index: usize,
    /// The `<name>` of `/hooks/<name>`.
    pub hook: String,
    pub method: String,
    /// Path and query, undecoded.
    pub target: String,
    /// Names in lower case, in the order of arrival, repeated ones separately.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    pub at: SystemTime,
    pub verification: Verification,
    /// The status it was answered with; `None` when the receiver hung up.
    pub answered: Option<u16>,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// What botocore says about a request's signature.
#[derive(Debug, Clone, Default)]
pub struct Verification {
    pub verified: bool,
    /// Everything that is wrong; empty when verified.
    pub problems: Vec<String>,
    /// The ARN of the assumed role that signed, as STS names it.
    pub signer: Option<String>,
    pub signed_headers: Vec<String>,
}

/// How a hook answers one request.
#[derive(Debug, Clone)]
pub struct Reply {
    status: Option<u16>,
    headers: Vec<(String, String)>,
    delay: Duration,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self { status: Some(status), headers: Vec::new(), delay: Duration::ZERO }
    }

    /// Closes the connection without an answer.
    pub fn hang_up() -> Self {
        Self { status: None, headers: Vec::new(), delay: Duration::ZERO }
    }

    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

/// A signed request to check, apart from any that was received: for proving that the check can fail.
#[derive(Debug, Clone)]
pub struct SignedRequest {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub at: SystemTime,
}

#[derive(Clone)]
pub struct Receiver {
    shared: Arc<Shared>,
}

struct Shared {
    origin: String,
    bridge: Arc<Bridge>,
    log: Mutex<Log>,
    grew: Condvar,
}

#[derive(Default)]
struct Log {
    received: Vec<Received>,
    replies: HashMap<String, VecDeque<Reply>>,
}

impl Receiver {
    pub(crate) fn start(servers: &Servers, bridge: Arc<Bridge>) -> Result<Self, Error> {
        let (listener, address) = listen(0)?;
        let receiver = Self {
            shared: Arc::new(Shared {
                origin: format!("http://{address}"),
                bridge,
                log: Mutex::default(),
                grew: Condvar::new(),
            }),
        };
        let shared = Arc::clone(&receiver.shared);
        servers.serve(listener, move |request| {
            let shared = Arc::clone(&shared);
            async move { shared.take(request).await }
        })?;
        Ok(receiver)
    }

    pub fn origin(&self) -> &str {
        &self.shared.origin
    }

    /// The callback URL of a hook; any name will do.
    pub fn url(&self, hook: &str) -> String {
        format!("{}/hooks/{hook}", self.shared.origin)
    }

    /// Makes a hook answer its next verified requests so, one reply each; after that it answers 200 again.
    pub fn answer_next(&self, hook: &str, replies: impl IntoIterator<Item = Reply>) {
        self.shared.locked().replies.entry(hook.to_owned()).or_default().extend(replies);
    }

    /// What a hook has received so far.
    pub fn received(&self, hook: &str) -> Vec<Received> {
        self.shared.locked().of(hook)
    }

    /// Everything received, by all hooks, from the request with this index on.
    pub fn received_since(&self, index: usize) -> Vec<Received> {
        self.shared.locked().received.iter().skip(index).cloned().collect()
    }

    /// Waits until a hook has received at least `count` requests, and returns all it has.
    pub fn wait(&self, hook: &str, count: usize, patience: Duration) -> Result<Vec<Received>, Error> {
        let deadline = Instant::now() + patience;
        let mut log = self.shared.locked();
        loop {
            let received = log.of(hook);
            if received.len() >= count {
                return Ok(received);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Timeout {
                    what: format!("{count} request(s) at /hooks/{hook} ({} came)", received.len()),
                    seconds: patience.as_secs(),
                });
            }
            log = self.shared.grew.wait_timeout(log, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Checks any request like a received one. With `credentials` the signature must be theirs, else a deployed function's.
    pub fn verify(&self, request: &SignedRequest, credentials: Option<&Credentials>) -> Verification {
        crate::wait::wait_for(self.shared.verify(request, credentials))
    }
}

impl Shared {
    async fn take(&self, request: Request<Incoming>) -> Option<Response<Full<Bytes>>> {
        let at = now();
        let (parts, body) = request.into_parts();
        let target = parts.uri.path_and_query().map_or("/", hyper::http::uri::PathAndQuery::as_str).to_owned();
        let Some(hook) = parts.uri.path().strip_prefix("/hooks/").map(str::to_owned) else {
            return Some(respond(StatusCode::NOT_FOUND, "text/plain", "webhooks go to /hooks/<name>\n"));
        };
        if parts.method == Method::GET {
            let shown: Vec<Value> = self.locked().of(&hook).iter().map(shown).collect();
            return Some(respond(StatusCode::OK, "application/json", json!({"received": shown}).to_string()));
        }
        // A body that never arrived whole is no webhook.
        let body = read_whole(body).await.ok()?;
        let headers = parts
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        let signed = SignedRequest {
            method: parts.method.as_str().to_owned(),
            target,
            headers: headers.collect(),
            body: body.to_vec(),
            at,
        };
        let verification = self.verify(&signed, None).await;
        let reply = if verification.verified {
            let programmed = self.locked().replies.get_mut(&hook).and_then(VecDeque::pop_front);
            programmed.unwrap_or_else(|| Reply::status(200))
        } else {
            Reply::status(403)
        };
        let SignedRequest { method, target, headers, .. } = signed;
        {
            let mut log = self.locked();
            let index = log.received.len();
            log.received.push(Received {
                index,
                hook,
                method,
                target,
                headers,
                body,
                at,
                verification,
                answered: reply.status,
            });
        }
        self.grew.notify_all();
        if !reply.delay.is_zero() {
            tokio::time::sleep(reply.delay).await;
        }
        let status = StatusCode::from_u16(reply.status?).unwrap_or(StatusCode::OK);
        let mut response = respond(status, "application/json", "{}");
        for (name, value) in &reply.headers {
            if let (Ok(name), Ok(value)) = (hyper::header::HeaderName::try_from(name), value.parse()) {
                response.headers_mut().insert(name, value);
            }
        }
        Some(response)
    }

    async fn verify(&self, request: &SignedRequest, credentials: Option<&Credentials>) -> Verification {
        let received_at_ms = request.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let question = json!({
            "op": "verify",
            "method": request.method,
            "target": request.target,
            "headers": request.headers,
            "body": {"$base64": STANDARD.encode(&request.body)},
            "receivedAtMs": u64::try_from(received_at_ms).unwrap_or(u64::MAX),
            "service": "lambda",
            "region": REGION,
            "requiredHeaders": SIGNED_HEADERS,
            "credentials": credentials.map(Credentials::to_json),
        });
        self.bridge.ask(question).await.map_or_else(not_checked, |answer| verification(&answer))
    }

    fn locked(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn of(&self, hook: &str) -> Vec<Received> {
        self.received.iter().filter(|received| received.hook == hook).cloned().collect()
    }
}

#[expect(clippy::disallowed_methods, reason = "the receiver is no part of the product; it must see the real time")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn not_checked(error: AwsError) -> Verification {
    Verification { problems: vec![format!("the signature could not be checked: {error}")], ..Verification::default() }
}

fn verification(answer: &Value) -> Verification {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    Verification {
        verified: answer["verified"] == true,
        problems: texts(&answer["problems"]),
        signer: answer["signer"].as_str().map(str::to_owned),
        signed_headers: texts(&answer["signedHeaders"]),
    }
}

fn shown(received: &Received) -> Value {
    let headers: serde_json::Map<String, Value> = received
        .headers
        .iter()
        // A token that is valid for an hour is not something to show around.
        .filter(|(name, _)| name != "x-amz-security-token")
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    json!({
        "method": received.method,
        "target": received.target,
        "headers": headers,
        "body": String::from_utf8_lossy(&received.body),
        "verified": received.verification.verified,
        "problems": received.verification.problems,
        "signer": received.verification.signer,
        "answered": received.answered,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::progress::Progress;
    use crate::{place, venv};

    const HEADERS: [(&str, &str); 6] = [
        ("content-type", "application/json"),
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", "1800000000"),
        ("webhook-attempt", "1"),
        ("sluice-tenant-id", "dev"),
        ("sluice-run-id", "0193"),
    ];
    const BODY: &[u8] = br#"{"type":"workflow.run.terminal"}"#;

    struct Bench {
        receiver: Receiver,
        bridge: Arc<Bridge>,
        credentials: Credentials,
        _servers: Servers,
    }

    /// Only the bridge and a receiver: no emulator is needed to check a signature with known credentials.
    static BENCH: LazyLock<Bench> = LazyLock::new(|| {
        let folder = place::target().join("e2e/receiver");
        place::made(&folder).expect("a folder");
        let venv = venv::ready(&folder, &mut Progress::new(&mut |_| {})).expect("the Python environment");
        let credentials = Credentials {
            access_key_id: "ASIAEXAMPLE".to_owned(),
            secret_access_key: "secret".to_owned(),
            session_token: Some("token".to_owned()),
        };
        let bridge = Bridge::start(&venv, &folder, "http://127.0.0.1:1", &credentials);
        let bridge = Arc::new(bridge.expect("the bridge"));
        let servers = Servers::start().expect("the HTTP thread");
        Bench {
            receiver: Receiver::start(&servers, Arc::clone(&bridge)).expect("the receiver"),
            bridge,
            credentials,
            _servers: servers,
        }
    });

    fn signed(headers: &[(&str, &str)]) -> SignedRequest {
        let url = BENCH.receiver.url("tests");
        let headers: HashMap<&str, &str> = headers.iter().copied().collect();
        let answer = BENCH.bridge.ask_and_wait(json!({
            "op": "sign", "service": "lambda", "method": "POST", "url": url, "headers": headers,
            "body": {"$base64": STANDARD.encode(BODY)}, "credentials": BENCH.credentials.to_json(),
        }));
        let signed = answer.expect("a signature");
        let mut headers: Vec<(String, String)> = signed
            .as_array()
            .into_iter()
            .flatten()
            .map(|pair| {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                (text(&pair[0]).to_lowercase(), text(&pair[1]))
            })
            .collect();
        // What a client sends by itself and a signer signs.
        headers.push(("host".to_owned(), BENCH.receiver.origin().trim_start_matches("http://").to_owned()));
        SignedRequest {
            method: "POST".to_owned(),
            target: "/hooks/tests".to_owned(),
            headers,
            body: BODY.to_vec(),
            at: now(),
        }
    }

    fn verdict(request: &SignedRequest) -> Verification {
        BENCH.receiver.verify(request, Some(&BENCH.credentials))
    }

    fn change(request: &mut SignedRequest, name: &str, value: &str) {
        for header in &mut request.headers {
            if header.0 == name {
                value.clone_into(&mut header.1);
            }
        }
    }

    #[test]
    fn an_untouched_webhook_verifies() {
        let verdict = verdict(&signed(&HEADERS));
        assert!(verdict.verified, "{verdict:?}");
    }

    #[test]
    fn a_tampered_body_does_not_verify() {
        let mut request = signed(&HEADERS);
        request.body.push(b' ');
        let verdict = verdict(&request);
        assert!(!verdict.verified && !verdict.problems.is_empty(), "{verdict:?}");
    }

    #[test]
    fn no_tampered_part_verifies() {
        for (name, value) in [
            ("content-type", "text/plain"),
            ("webhook-id", "msg_2"),
            ("webhook-attempt", "2"),
            ("sluice-tenant-id", "somebody"),
            ("host", "127.0.0.1:1"),
            ("x-amz-security-token", "another"),
        ] {
            let mut request = signed(&HEADERS);
            change(&mut request, name, value);
            assert!(!verdict(&request).verified, "{name}");
        }
        let mut request = signed(&HEADERS);
        request.target.push_str("?a=b");
        assert!(!verdict(&request).verified, "the query");
        let mut request = signed(&HEADERS);
        request.method = "PUT".to_owned();
        assert!(!verdict(&request).verified, "the method");
    }

    #[test]
    fn a_header_outside_the_signature_does_not_verify() {
        let mut request = signed(&HEADERS[..5]);
        let (name, value) = HEADERS[5];
        request.headers.push((name.to_owned(), value.to_owned()));
        let verdict = verdict(&request);
        assert!(verdict.problems == ["the header sluice-run-id is not signed"], "{verdict:?}");
    }

    #[test]
    fn an_old_signature_does_not_verify() {
        let mut request = signed(&HEADERS);
        request.at += Duration::from_secs(301);
        let verdict = verdict(&request);
        assert!(verdict.problems.iter().any(|problem| problem.contains("AWS allows 300 s")), "{verdict:?}");
    }

    #[test]
    fn another_secret_does_not_verify() {
        let credentials = Credentials { secret_access_key: "another".to_owned(), ..BENCH.credentials.clone() };
        assert!(!BENCH.receiver.verify(&signed(&HEADERS), Some(&credentials)).verified);
    }

    #[test]
    fn an_unsigned_request_does_not_verify() {
        let mut request = signed(&HEADERS);
        request.headers.retain(|(name, _)| name != "authorization");
        assert!(verdict(&request).problems == ["there is no Authorization header"]);
    }
}
