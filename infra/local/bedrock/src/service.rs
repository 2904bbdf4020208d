//! What happens to a call: who makes it, what it asks, how it is to go, what it costs, and its answer.

mod admit;
mod run;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::books::{Books, Entry, State};
use crate::cache::Cache;
use crate::door::{Part, Request, Response, Serve};
use crate::fault::Fault;
use crate::play::Play;
use crate::prices::PriceTable;
use crate::signature::Keys;
use crate::target::{Operation, Target};
use crate::usage::Usage;

/// How the next calls are to go, each once.
#[derive(Clone, Debug)]
pub struct Script {
    pub play: Play,
    /// Only a call that has this in its last message.
    pub only: Option<String>,
    /// Only a call of this operation; without it, of any but `CountTokens`.
    pub operation: Option<String>,
}

/// Everything that the stand-in knows.
pub struct Service {
    pub books: Books,
    keys: Mutex<Keys>,
    prices: Mutex<Arc<PriceTable>>,
    scripts: Mutex<Vec<Script>>,
    cache: Mutex<Cache>,
    /// Milliseconds before each frame of a stream, where a call does not say.
    pause_ms: u64,
}

impl Service {
    pub(crate) fn new(keys: Keys, prices: PriceTable, pause_ms: u64) -> Self {
        Self {
            books: Books::default(),
            keys: Mutex::new(keys),
            prices: Mutex::new(Arc::new(prices)),
            scripts: Mutex::default(),
            cache: Mutex::default(),
            pause_ms,
        }
    }

    /// Lets one more key sign, or one more bearer token open.
    pub fn trust(&self, more: Keys) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.keys.extend(more.keys);
        keys.bearer_tokens.extend(more.bearer_tokens);
    }

    /// New prices, for the calls that come from now on.
    pub fn set_prices(&self, prices: PriceTable) {
        *self.prices.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(prices);
    }

    /// How the next calls are to go, in this order.
    pub fn script(&self, scripts: impl IntoIterator<Item = Script>) {
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner).extend(scripts);
    }
}

impl Serve for Service {
    async fn answer(self: Arc<Self>, request: Request) -> Option<Response> {
        let request_id = request_id();
        let admitted = match self.admit(&request) {
            Ok(admitted) => admitted,
            Err(refused) => {
                self.books.enter(Entry {
                    state: State::Refused(refused.fault.kind.name()),
                    ..entry(&request_id, &request, refused.name, refused.caller)
                });
                return Some(error(&refused.fault, refused.is_chat, &request_id));
            }
        };
        let (head, answered) = oneshot::channel();
        // The call goes on, and is settled, whatever its caller does.
        tokio::spawn(async move { self.run(admitted, &request, &request_id, head).await });
        answered.await.ok().flatten()
    }
}

fn entry(request_id: &str, request: &Request, name: Option<String>, caller: Option<String>) -> Entry {
    let target = Target::of(&request.method, &request.target);
    let operation = target.as_ref().map(|target| target.operation.name().to_owned());
    Entry {
        call: 0,
        name,
        request_id: request_id.to_owned(),
        operation: operation.unwrap_or_else(|| format!("{} {}", request.method, request.target)),
        model: target.and_then(|target| target.model),
        caller,
        tier: None,
        max_tokens: None,
        state: State::Open,
        used: Usage::default(),
        reported: None,
        cost: crate::decimal::FemtoUsd::default(),
        frames: 0,
    }
}

fn is_chat(request: &Request) -> bool {
    Target::of(&request.method, &request.target).is_some_and(|target| target.operation == Operation::ChatCompletions)
}

/// As AWS makes them.
fn request_id() -> String {
    let digits = format!("{:032x}", fastrand::u128(..));
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

fn error(fault: &Fault, is_chat: bool, request_id: &str) -> Response {
    let body = if is_chat { fault.chat_body() } else { fault.body() };
    let mut headers = vec![
        ("content-type", "application/json".to_owned()),
        ("x-amzn-errortype", fault.kind.name().to_owned()),
        ("x-amzn-requestid", request_id.to_owned()),
    ];
    headers.extend(fault.retry_after.map(|seconds| ("retry-after", seconds.to_string())));
    whole(fault.kind.status(), headers, body.to_string().into())
}

/// An answer in one piece.
fn whole(status: u16, mut headers: Vec<(&'static str, String)>, body: Bytes) -> Response {
    headers.push(("content-length", body.len().to_string()));
    let (sender, receiver) = mpsc::channel(1);
    // There is room for one, and nobody else has sent.
    drop(sender.try_send(Part::Data(body)));
    Response::new(status, headers, receiver)
}
