//! Bedrock Runtime, as the governor calls it: one signed request, and an answer that is read as it comes.
//!
//! **Invariants:** a request is sent once: nobody here repeats what may have run; no answer is waited for so long that what is left of
//! the invocation is too little to settle its call; what was not sent is told apart from what may have been.
//!
//! Decision (2026-11-28): not the SDK's client. It reads and writes the operations' own types, and what passes here has to pass byte
//! for byte. Connection, TLS and roots are those of all AWS clients (`connector.rs`), in a pool of its own, which keeps an idle
//! connection only shortly: one that the other side has closed meanwhile, while Lambda had frozen the process, would break in the middle
//! of a call, and a call of which nobody knows whether it ran costs all that was set aside for it.

mod sign;

use crate::config::Settings;
use crate::connector::Connector;
use crate::deadline;
use crate::endpoint;
use crate::sigv4::Scope;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderMap, Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use jiff::Timestamp;
use serde::Deserialize;
use sluice_core::ports::CountInput;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// What does not connect in this time will not.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_500);
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(20);
/// What an answer leaves of its invocation: the call is recorded and settled, and a hung attempt at either may be repeated.
pub const SETTLE_TIME: Duration = Duration::from_secs(6);
/// What counting an input may take: it is asked while a caller waits.
const COUNT_TIME: Duration = Duration::from_secs(3);
/// Bytes of a count's answer at most.
const COUNT_BYTES: usize = 64 * 1024;

/// The client. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Bedrock {
    connector: Connector,
    /// Without a slash at its end.
    endpoint: String,
    scope: Arc<Scope>,
}

/// What init waits for a connection that is opened early. Lambda ends an init after ten seconds.
const OPENING_TIMEOUT: Duration = Duration::from_secs(1);

/// A request: the operation's own path, the headers that bear meaning, and the body as it is sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// An answer whose body has yet to come.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    body: Incoming,
}

/// Why there is no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// Nothing was sent.
    #[error("the request was not sent")]
    NotSent(#[source] Box<dyn Error + Send + Sync>),
    /// It may have been sent, and it may have run.
    #[error("the connection broke")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
    /// It may have run, or may run still.
    #[error("there was no answer in time")]
    TooLate,
}

impl Bedrock {
    /// Opens no connection yet.
    pub fn new(settings: &Settings) -> Self {
        let endpoint = settings
            .endpoints
            .bedrock
            .clone()
            .unwrap_or_else(|| endpoint::of_region("bedrock-runtime", &settings.region));
        Self {
            connector: Connector::keeping(settings.roots.clone(), CONNECT_TIMEOUT, IDLE),
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            scope: Arc::new(sign::scope(&settings.region, &settings.credentials)),
        }
    }

    /// The same with a connection opened, where that is worth it: while Lambda starts the function.
    pub async fn connect(settings: &Settings) -> Self {
        let bedrock = Self::new(settings);
        let origin = bedrock.endpoint.parse().ok().filter(|origin: &Uri| origin.scheme() == Some(&Scheme::HTTPS));
        if let Some(origin) = origin.filter(|_| settings.opens_early) {
            bedrock.connector.open(vec![origin], OPENING_TIMEOUT).await;
        }
        bedrock
    }

    /// Sends a request, signed at `now`, and waits for the head of its answer.
    ///
    /// # Errors
    /// When there is none.
    pub async fn call(&self, sent: Sent, now: Timestamp) -> Result<Answer, NoAnswer> {
        let request = self.request(sent, now).map_err(NoAnswer::NotSent)?;
        let answer = timeout(time_left(Duration::MAX), self.connector.send(request)).await;
        match answer {
            Ok(Ok(answer)) => Ok(Answer::from(answer)),
            Ok(Err(error)) if error.is_connect() => Err(NoAnswer::NotSent(error.into())),
            Ok(Err(error)) => Err(NoAnswer::Broken(error.into())),
            Err(_) => Err(NoAnswer::TooLate),
        }
    }

    fn request(&self, sent: Sent, now: Timestamp) -> Result<Request<SdkBody>, Box<dyn Error + Send + Sync>> {
        let url: Uri = format!("{}{}", self.endpoint, sent.path).parse()?;
        let headers = sign::signed(&url, &self.scope, &sent.headers, &sent.body, now)?;
        let mut request = Request::post(url).body(SdkBody::from(sent.body))?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// What counts the input of a call, by the path and the body of CountTokens for it; without them nobody can tell.
    pub fn counter(&self, ask: Option<(String, String)>, now: Timestamp) -> Counter<'_> {
        Counter { bedrock: self, ask, now }
    }
}

/// So long at most, and not into the time for settling.
fn time_left(most: Duration) -> Duration {
    deadline::at_most(most, SETTLE_TIME)
}

/// Does work in the time that is left for answers; `None` where it takes longer.
pub async fn in_time<F: Future>(work: F) -> Option<F::Output> {
    timeout(time_left(Duration::MAX), work).await.ok()
}

/// Does work that goes on beside the invocation's, within the same time.
pub fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(deadline::kept(work)));
}

impl From<Response<Incoming>> for Answer {
    fn from(answer: Response<Incoming>) -> Self {
        let (head, body) = answer.into_parts();
        Self { status: head.status.as_u16(), headers: head.headers, body }
    }
}

impl Answer {
    /// The next bytes of the body, as they come; `None` at its end.
    ///
    /// # Errors
    /// When the connection breaks before the end, or there is no time left to wait.
    pub async fn next(&mut self) -> Option<Result<Bytes, NoAnswer>> {
        loop {
            match timeout(time_left(Duration::MAX), self.body.frame()).await {
                // Trailers are of no use to anybody here.
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) => return Some(Ok(bytes)),
                    Err(_trailers) => continue,
                },
                Ok(Some(Err(error))) => return Some(Err(NoAnswer::Broken(error.into()))),
                Ok(None) => return None,
                Err(_) => return Some(Err(NoAnswer::TooLate)),
            }
        }
    }
}

/// Counts the input of one call.
#[derive(Debug)]
pub struct Counter<'a> {
    bedrock: &'a Bedrock,
    ask: Option<(String, String)>,
    now: Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Counted {
    input_tokens: u64,
}

impl Counter<'_> {
    async fn count(&self) -> Option<u64> {
        let (path, body) = self.ask.clone()?;
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        let mut answer = self.bedrock.call(Sent { path, headers, body: body.into() }, self.now).await.ok()?;
        let mut whole = Vec::new();
        while let Some(bytes) = answer.next().await {
            whole.extend_from_slice(&bytes.ok()?);
            if whole.len() > COUNT_BYTES {
                return None;
            }
        }
        let counted: Counted = serde_json::from_slice(&whole).ok().filter(|_| answer.status == 200)?;
        Some(counted.input_tokens)
    }
}

impl CountInput for Counter<'_> {
    async fn count_input(&self) -> Option<u64> {
        timeout(time_left(COUNT_TIME), self.count()).await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_where_the_settings_say_or_in_the_region() {
        let settings = Settings::for_test("http://127.0.0.1:1");
        let at = |endpoint: Option<&str>, region: &str| {
            let mut settings = settings.clone();
            settings.endpoints.bedrock = endpoint.map(str::to_owned);
            settings.region = region.to_owned();
            Bedrock::new(&settings).endpoint
        };
        assert_eq!(at(None, "eu-west-1"), "https://bedrock-runtime.eu-west-1.amazonaws.com");
        assert_eq!(at(None, "cn-north-1"), "https://bedrock-runtime.cn-north-1.amazonaws.com.cn");
        assert_eq!(at(Some("https://localhost:8443/"), "eu-west-1"), "https://localhost:8443");
    }

    #[tokio::test]
    async fn what_cannot_be_connected_to_was_not_sent() {
        let free =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
        let mut settings = Settings::for_test("http://127.0.0.1:1");
        settings.endpoints.bedrock = Some(format!("http://{free}"));
        let bedrock = Bedrock::new(&settings);
        let sent = || Sent { path: "/model/a.b/converse".to_owned(), headers: HeaderMap::new(), body: Bytes::new() };
        let answer = bedrock.call(sent(), Timestamp::UNIX_EPOCH).await;
        assert!(matches!(answer, Err(NoAnswer::NotSent(_))), "{answer:?}");
        let counter = bedrock.counter(Some((sent().path, "{}".to_owned())), Timestamp::UNIX_EPOCH);
        assert_eq!(counter.count_input().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_waited_for_until_it_is_time_to_settle() {
        // It accepts, and says nothing.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut settings = Settings::for_test("http://127.0.0.1:1");
        settings.endpoints.bedrock = Some(format!("http://{}", listener.local_addr().expect("an address")));
        let sent = Sent { path: "/model/a.b/converse".to_owned(), headers: HeaderMap::new(), body: Bytes::new() };
        let began = tokio::time::Instant::now();
        let end = began + Duration::from_secs(60);
        let bedrock = Bedrock::new(&settings);
        let answer = deadline::until(end, bedrock.call(sent, Timestamp::UNIX_EPOCH)).await;
        assert!(matches!(answer, Err(NoAnswer::TooLate | NoAnswer::NotSent(_))), "{answer:?}");
        assert!(began.elapsed() <= Duration::from_secs(60) - SETTLE_TIME + Duration::from_millis(10));
    }
}
