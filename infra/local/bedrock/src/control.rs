//! The control port: the books are read here, and calls are told how to go. It is for tests and the person at the terminal.
//!
//! | request | what it does |
//! |---|---|
//! | `GET /books` | every call, and their sum; `?calls=N&waitSeconds=S` waits until so many have come |
//! | `GET /calls/{name}` | one call, by its name or number; `?frames=N` or `?ended=true` with `waitSeconds=S` waits |
//! | `POST /calls/{name}/step` | `{"frames": N}`: so many frames go |
//! | `POST /calls/{name}/release` | everything that is held goes |
//! | `POST /script` | `{"plays": ["error=429", …], "only": "text", "operation": "Converse"}`: how the next calls go |
//! | `PUT /prices` | a new price table |
//! | `POST /keys` | `{"keys": [{"accessKeyId", "secretAccessKey", "sessionToken"}], "bearerTokens": […]}`: more callers |

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, ORIGIN};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::books::State;
use crate::door::ChannelBody;
use crate::play::Play;
use crate::prices::PriceTable;
use crate::service::{Script, Service};
use crate::signature::{Key, Keys};

/// The longest that a read waits.
const PATIENCE: Duration = Duration::from_secs(60);

struct Refused {
    status: u16,
    why: String,
}

fn refused<T>(status: u16, why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { status, why: why.into() })
}

pub(crate) async fn serve(stream: TcpStream, port: u16, service: Arc<Service>) {
    let service = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move {
            let (status, body) = match answer(request, port, &service).await {
                Ok(body) => (200, body),
                Err(refused) => (refused.status, json!({"message": refused.why})),
            };
            let response = Response::builder().status(status).header(CONTENT_TYPE, "application/json");
            response.body(ChannelBody::whole(Bytes::from(body.to_string())))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    drop(connection.await);
}

/// No page that is open in a browser gets in: it cannot choose what its browser says of it.
fn admit(request: &Request<Incoming>, port: u16) -> Result<(), Refused> {
    let own = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    let is_own = |host: &[u8]| own.iter().any(|own| own.as_bytes() == host);
    let mut hosts = request.headers().get_all(HOST).iter();
    // One host, said once: of two, anybody might take the other.
    let is_for_us = hosts.next().is_some_and(|host| is_own(host.as_bytes())) && hosts.next().is_none();
    let target = request.uri().authority().is_none_or(|authority| is_own(authority.as_str().as_bytes()));
    if !is_for_us || !target {
        return refused(403, "a request for another host");
    }
    if request.headers().contains_key(ORIGIN) || request.headers().contains_key("sec-fetch-site") {
        return refused(403, "a request of a web page");
    }
    if !request.body().is_end_stream() && !request.headers().contains_key(CONTENT_TYPE) {
        return refused(415, "a body without a content-type");
    }
    Ok(())
}

async fn answer(request: Request<Incoming>, port: u16, service: &Service) -> Result<Value, Refused> {
    admit(&request, port)?;
    let (parts, body) = request.into_parts();
    let body = body.collect().await.or_else(|error| refused(400, error.to_string()))?.to_bytes();
    let query = parts.uri.query().unwrap_or_default();
    let path: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
    match (parts.method.as_str(), &path[..]) {
        ("GET", ["books"]) => read_books(service, query).await,
        ("GET", ["calls", name]) => read_call(service, name, query).await,
        ("POST", ["calls", name, "step"]) => {
            let step: Step = read(&body)?;
            service.books.step(name, step.frames);
            Ok(json!({}))
        }
        ("POST", ["calls", name, "release"]) => {
            service.books.release(name);
            Ok(json!({}))
        }
        ("POST", ["script"]) => script(service, read(&body)?),
        ("PUT", ["prices"]) => {
            let text = String::from_utf8_lossy(&body);
            service.set_prices(PriceTable::parse(&text).or_else(|error| refused(400, error.to_string()))?);
            Ok(json!({}))
        }
        ("POST", ["keys"]) => {
            let keys: KeysBody = read(&body)?;
            service.trust(keys.into());
            Ok(json!({}))
        }
        _ => refused(404, format!("there is no {} {}", parts.method, parts.uri.path())),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    #[serde(default = "one")]
    frames: usize,
}

const fn one() -> usize {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptBody {
    plays: Vec<String>,
    #[serde(default)]
    only: Option<String>,
    #[serde(default)]
    operation: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KeyBody {
    access_key_id: String,
    secret_access_key: String,
    #[serde(default)]
    session_token: Option<String>,
}

/// Who may call, as JSON.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct KeysBody {
    #[serde(default)]
    keys: Vec<KeyBody>,
    #[serde(default)]
    bearer_tokens: Vec<String>,
    #[serde(default)]
    region: Option<String>,
}

impl From<KeysBody> for Keys {
    fn from(body: KeysBody) -> Self {
        let keys = body.keys.into_iter().map(|key| Key {
            access_key_id: key.access_key_id,
            secret_access_key: key.secret_access_key,
            session_token: key.session_token,
        });
        let region = body.region.unwrap_or_else(|| "us-east-1".to_owned());
        Self { keys: keys.collect(), bearer_tokens: body.bearer_tokens, region }
    }
}

fn read<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, Refused> {
    let body: &[u8] = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).or_else(|error| refused(400, error.to_string()))
}

/// A parameter of a query.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

fn number(query: &str, name: &str) -> Result<Option<usize>, Refused> {
    let parsed = parameter(query, name).map(str::parse).transpose();
    parsed.or_else(|_no_number| refused(400, format!("{name} must be a number")))
}

fn patience(query: &str) -> Result<Duration, Refused> {
    let seconds = number(query, "waitSeconds")?.unwrap_or_default();
    Ok(Duration::from_secs(seconds as u64).min(PATIENCE))
}

async fn read_books(service: &Service, query: &str) -> Result<Value, Refused> {
    let calls = number(query, "calls")?.unwrap_or_default();
    if !service.books.wait(patience(query)?, |books| books.entries().len() >= calls).await {
        return refused(408, format!("fewer than {calls} calls have come"));
    }
    Ok(service.books.shown())
}

async fn read_call(service: &Service, name: &str, query: &str) -> Result<Value, Refused> {
    let frames = number(query, "frames")?.unwrap_or_default();
    let is_ended = parameter(query, "ended") == Some("true");
    let holds = service.books.wait(patience(query)?, |books| {
        let entry = books.entry(name);
        entry.is_some_and(|entry| entry.frames >= frames && (!is_ended || entry.state != State::Open))
    });
    if !holds.await {
        return refused(408, format!("the call {name} has not come so far"));
    }
    service.books.shown_call(name).ok_or_else(|| Refused { status: 404, why: format!("there is no call {name}") })
}

fn script(service: &Service, body: ScriptBody) -> Result<Value, Refused> {
    let scripts = body.plays.iter().map(|words| {
        let play = Play::parse(words).or_else(|fault| refused(400, fault.message))?;
        Ok(Script { play, only: body.only.clone(), operation: body.operation.clone() })
    });
    let scripts: Vec<Script> = scripts.collect::<Result<_, Refused>>()?;
    service.script(scripts);
    Ok(json!({}))
}
