//! Stands before the table: counts what passes, and makes calls fail on the way there or back.

use super::http::{Whole, header, json, serve};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::sync::{oneshot, watch};

/// What happens to one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It takes effect, but the connection closes before its answer.
    LoseAnswer,
    /// It is answered so, without effect.
    Answer(u16, String),
}

impl Trouble {
    pub fn error(status: u16, code: &str) -> Self {
        Self::Answer(status, format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"as told"}}"#))
    }

    pub fn canceled(reason: &str) -> Self {
        Self::Answer(
            400,
            format!(
                r#"{{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","Message":"as told","CancellationReasons":[{{"Code":"None"}},{{"Code":"{reason}","Message":"as told"}}]}}"#
            ),
        )
    }
}

/// A call that was answered, with what it consumed: the table is asked for that too.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub operation: String,
    pub request: Value,
    pub answer: Value,
    /// Of the request and its answer.
    pub bytes: usize,
}

/// Clones share one relay.
#[derive(Clone, Debug)]
pub struct Relay {
    pub endpoint: String,
    state: Arc<Mutex<State>>,
    /// How many steps are complete: see [`Self::in_steps`].
    complete: Arc<watch::Sender<usize>>,
}

#[derive(Debug, Default)]
struct State {
    passed: Vec<String>,
    troubles: VecDeque<(String, Trouble)>,
    /// Whether the first of them comes again and again.
    for_ever: bool,
    /// How many calls the steps under way and to come have that were not made yet.
    steps: VecDeque<usize>,
    /// How many steps were begun and completed.
    completed: usize,
    /// The operation of which the next call is held back, who is told of it, and who lets it go.
    held: Option<(String, oneshot::Sender<()>, oneshot::Receiver<()>)>,
    /// Those since somebody listens; `None` when nobody does.
    exchanges: Option<Vec<Exchange>>,
}

impl State {
    /// The step that a call which comes now belongs to, and whether it completes it.
    fn step(&mut self) -> Option<(usize, bool)> {
        let left = self.steps.front_mut()?;
        *left -= 1;
        let is_last = *left == 0;
        let step = self.completed;
        if is_last {
            self.steps.pop_front();
            self.completed += 1;
        }
        Some((step, is_last))
    }
}

impl Relay {
    pub async fn before(table: SocketAddr) -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        let complete = Arc::new(watch::Sender::new(0));
        let steps = Arc::clone(&complete);
        let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let address =
            serve(move |request| pass(request, client.clone(), table, Arc::clone(&shared), Arc::clone(&steps))).await;
        Self { endpoint: format!("http://{address}"), state, complete }
    }

    /// The calls so far, such as `Query`, and starts counting anew.
    pub fn take_passed(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().expect("the state").passed)
    }

    /// The next calls come in steps, each of so many calls at once: none of a step is answered before all of them have come. So
    /// whoever waits for the answer to one before it makes the next makes them too late, and more than there were to be.
    pub fn in_steps(&self, steps: impl IntoIterator<Item = usize>) {
        let mut state = self.state.lock().expect("the state");
        state.steps = steps.into_iter().collect();
        state.completed = 0;
        self.complete.send_replace(0);
    }

    /// Makes `call`, whose first call of `operation` does not reach the table before `meanwhile` has happened.
    pub fn holding<T>(
        &self,
        operation: &str,
        call: impl Future<Output = T>,
        meanwhile: impl Future<Output = ()>,
    ) -> impl Future<Output = T> {
        let ((came, has_come), (go, may_go)) = (oneshot::channel(), oneshot::channel());
        self.state.lock().expect("the state").held = Some((operation.to_owned(), came, may_go));
        let call = async {
            let answer = call.await;
            self.state.lock().expect("the state").held = None;
            answer
        };
        let meanwhile = async {
            has_come.await.expect("the call is made");
            meanwhile.await;
            go.send(()).expect("the call waits");
        };
        // Each of the two is large.
        Box::pin(async { tokio::join!(call, meanwhile).0 })
    }

    /// Keeps every exchange from now on.
    pub fn listen(&self) {
        self.state.lock().expect("the state").exchanges = Some(Vec::new());
    }

    /// The exchanges since then. Keeps no more of them.
    pub fn heard(&self) -> Vec<Exchange> {
        self.state.lock().expect("the state").exchanges.take().unwrap_or_default()
    }

    /// The next calls of `operation` fare so, in this order.
    pub fn trouble(&self, operation: &str, troubles: impl IntoIterator<Item = Trouble>) {
        let mut state = self.state.lock().expect("the state");
        state.for_ever = false;
        state.troubles = troubles.into_iter().map(|trouble| (operation.to_owned(), trouble)).collect();
    }

    /// Every call of `operation` fares so from now on.
    pub fn trouble_for_ever(&self, operation: &str, trouble: Trouble) {
        self.trouble(operation, [trouble]);
        self.state.lock().expect("the state").for_ever = true;
    }

    pub fn no_more_trouble(&self) {
        self.trouble("", []);
    }
}

async fn pass(
    request: Whole,
    client: Client<HttpConnector, Full<Bytes>>,
    table: SocketAddr,
    state: Arc<Mutex<State>>,
    complete: Arc<watch::Sender<usize>>,
) -> Option<hyper::Response<Full<Bytes>>> {
    let target = header(&request, "x-amz-target");
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    let step = {
        let mut state = state.lock().expect("the state");
        state.passed.push(operation.clone());
        state.step()
    };
    if let Some((step, is_last)) = step {
        if is_last {
            complete.send_replace(step + 1);
        }
        complete.subscribe().wait_for(|complete| *complete > step).await.expect("the relay stands");
    }
    let held = {
        let mut state = state.lock().expect("the state");
        state.held.take_if(|(held, ..)| *held == operation)
    };
    if let Some((_, came, may_go)) = held {
        came.send(()).expect("somebody waits for it");
        may_go.await.expect("somebody lets it go");
    }
    let (trouble, is_heard) = {
        let mut state = state.lock().expect("the state");
        let is_next = state.troubles.front().is_some_and(|(of, _)| *of == operation);
        let trouble = match is_next {
            true if state.for_ever => state.troubles.front().cloned(),
            true => state.troubles.pop_front(),
            false => None,
        };
        (trouble, state.exchanges.is_some())
    };
    let (head, body) = request.into_parts();
    if let Some((_, Trouble::Answer(status, body))) = &trouble {
        return Some(json(*status, body));
    }
    let (asked, body) = if is_heard { consuming(&body) } else { (Value::Null, body) };
    let request_bytes = body.len();
    let mut forwarded = hyper::Request::post(format!("http://{table}/"));
    for (name, value) in head.headers.iter().filter(|(name, _)| *name != "host" && *name != "content-length") {
        forwarded = forwarded.header(name, value);
    }
    let answer = client.request(forwarded.body(Full::new(body)).expect("a request")).await.expect("an answer");
    let (head, body) = answer.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    if is_heard {
        let answer = serde_json::from_slice(&body).expect("JSON");
        let exchange = Exchange { operation, request: asked, answer, bytes: request_bytes + body.len() };
        state.lock().expect("the state").exchanges.iter_mut().for_each(|heard| heard.push(exchange.clone()));
    }
    match trouble {
        Some((_, Trouble::LoseAnswer)) => None,
        Some(_) | None => Some(hyper::Response::from_parts(head, Full::new(body))),
    }
}

/// A request that also asks what it consumes, of the table and of each index.
fn consuming(body: &Bytes) -> (Value, Bytes) {
    let mut asked: Value = serde_json::from_slice(body).expect("JSON");
    asked["ReturnConsumedCapacity"] = "INDEXES".into();
    let body = Bytes::from(asked.to_string());
    (asked, body)
}
