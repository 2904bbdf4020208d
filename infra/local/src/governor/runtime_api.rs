//! Lambda's Runtime API, as one process of a function uses it, with answers that stream.
//!
//! Source: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>, and for answers that stream
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html>.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use sluice_bedrock::door::Part;
use tokio::sync::{mpsc, oneshot};

use super::event::{self, Prelude};
use crate::server::{error_chain, read_whole, respond};

const PREFIX: &str = "/2018-06-01/runtime/";
/// What an answer with a prelude says of itself.
const INTEGRATION_RESPONSE: &str = "application/vnd.awslambda.http-integration-response";
const ERROR_TRAILER: &str = "lambda-runtime-function-error-type";
/// Of a prelude: Lambda takes no more of headers than a gateway does.
const MOST_OF_PRELUDE: usize = 256 * 1024;

/// An answer that has begun.
#[derive(Debug)]
pub(super) struct Streamed {
    pub prelude: Prelude,
    pub body: mpsc::Receiver<Part>,
}

/// What a function makes of an event: an answer that streams, or why there is none.
pub(super) type Outcome = Result<Streamed, String>;

/// An event on its way to a process.
pub(super) struct Invocation {
    pub id: String,
    pub event: Bytes,
    pub deadline: Timestamp,
    pub function_arn: String,
    pub outcome: oneshot::Sender<Outcome>,
}

/// The events that wait for a process, in their order.
pub(super) struct Queue {
    pub sender: mpsc::UnboundedSender<Invocation>,
    receiver: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
}

impl Default for Queue {
    fn default() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { sender, receiver: tokio::sync::Mutex::new(receiver) }
    }
}

impl Queue {
    /// The next event that somebody still waits for the answer to.
    async fn next(&self) -> Option<Invocation> {
        let mut receiver = self.receiver.lock().await;
        loop {
            let next = receiver.recv().await?;
            if !next.outcome.is_closed() {
                return Some(next);
            }
        }
    }
}

/// The Runtime API of one process.
#[derive(Clone)]
pub(super) struct RuntimeApi {
    queue: Arc<Queue>,
    /// By id, who waits for what the process has in hand.
    in_hand: Arc<Mutex<HashMap<String, oneshot::Sender<Outcome>>>>,
}

impl RuntimeApi {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self { queue, in_hand: Arc::default() }
    }

    /// The process is gone, and with it what it had in hand.
    pub(super) fn forget(&self) {
        for (_, outcome) in self.in_hand().drain() {
            drop(outcome.send(Err("its process has ended".to_owned())));
        }
    }

    fn in_hand(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<Outcome>>> {
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn answer(self, request: Request<Incoming>) -> Option<Response<Full<Bytes>>> {
        let path = request.uri().path().to_owned();
        let rest: Vec<&str> = path.strip_prefix(PREFIX).unwrap_or_default().split('/').collect();
        match (request.method(), &rest[..]) {
            (&Method::GET, ["invocation", "next"]) => self.next().await,
            (&Method::POST, ["invocation", id, "response"]) => Some(self.response(id, request).await),
            (&Method::POST, ["invocation", id, "error"]) => {
                let said = read_whole(request.into_body()).await.unwrap_or_default();
                self.settle(id, Err(String::from_utf8_lossy(&said).into_owned()));
                Some(accepted())
            }
            // The process ends by itself after this, and the log says why.
            (&Method::POST, ["init", "error"]) => Some(accepted()),
            _ => Some(respond(StatusCode::NOT_FOUND, "application/json", "{}")),
        }
    }

    async fn next(self) -> Option<Response<Full<Bytes>>> {
        let Invocation { id, event, deadline, function_arn, outcome } = self.queue.next().await?;
        let mut response = respond(StatusCode::OK, "application/json", event);
        for (name, value) in [
            ("lambda-runtime-aws-request-id", id.clone()),
            ("lambda-runtime-deadline-ms", deadline.as_millisecond().to_string()),
            ("lambda-runtime-invoked-function-arn", function_arn),
        ] {
            response.headers_mut().insert(name, value.parse().ok()?);
        }
        self.in_hand().insert(id, outcome);
        Some(response)
    }

    fn settle(&self, id: &str, outcome: Outcome) {
        if let Some(waiting) = self.in_hand().remove(id) {
            // Nobody waits any more: then nobody needs it.
            drop(waiting.send(outcome));
        }
    }

    /// Passes an answer on as it comes. Whoever has hung up changes nothing: the function is heard to its end.
    async fn response(&self, id: &str, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let kind = request.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.starts_with(INTEGRATION_RESPONSE) {
            let said = read_whole(request.into_body()).await.unwrap_or_default();
            self.settle(id, Err(format!("an answer that does not stream: {}", String::from_utf8_lossy(&said))));
            return accepted();
        }
        let mut body = request.into_body();
        let mut begun = BytesMut::new();
        let outcome = loop {
            match event::prelude(&begun) {
                Some(Ok((prelude, bytes))) => break Ok((prelude, begun.split_off(bytes).freeze())),
                Some(Err(fault)) => break Err(fault),
                None if begun.len() > MOST_OF_PRELUDE => break Err("the prelude has no end".to_owned()),
                None => {}
            }
            match body.frame().await {
                Some(Ok(frame)) => begun.extend_from_slice(frame.data_ref().map(Bytes::as_ref).unwrap_or_default()),
                Some(Err(error)) => break Err(error_chain(&error)),
                None => break Err("the answer ended before its prelude".to_owned()),
            }
        };
        let (parts, receiver) = mpsc::channel(4);
        let first = match outcome {
            Ok((prelude, first)) => {
                self.settle(id, Ok(Streamed { prelude, body: receiver }));
                first
            }
            Err(fault) => {
                self.settle(id, Err(fault));
                return accepted();
            }
        };
        if !first.is_empty() {
            drop(parts.send(Part::Data(first)).await);
        }
        pass(body, &parts).await;
        accepted()
    }
}

async fn pass(mut body: Incoming, parts: &mpsc::Sender<Part>) {
    while let Some(frame) = body.frame().await {
        let part = match frame {
            // The connection broke: what came of it is not all.
            Err(_broken) => Some(Part::Abort),
            Ok(frame) => match frame.into_data() {
                Ok(bytes) => Some(Part::Data(bytes)),
                Err(frame) => {
                    let failed = frame.trailers_ref().is_some_and(|trailers| trailers.contains_key(ERROR_TRAILER));
                    failed.then_some(Part::Abort)
                }
            },
        };
        if let Some(part) = part {
            let is_last = matches!(part, Part::Abort);
            drop(parts.send(part).await);
            if is_last {
                return;
            }
        }
    }
}

fn accepted() -> Response<Full<Bytes>> {
    respond(StatusCode::ACCEPTED, "application/json", r#"{"status":"OK"}"#)
}
