//! With the real bootstrap: this program, started once more, answers a small Runtime API as a function does. Its caller has the first
//! frame of a stream before the stand-in for Bedrock has sent the second, and so on, frame by frame.
//!
//! A program of its own, because it plays both parts: the function is told where its Runtime API is by its environment.

mod support;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sluice_aws::bedrock::Bedrock;
use sluice_aws::clock::SystemClock;
use sluice_core::ports::Clock;
use std::convert::Infallible;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use support::{Bench, MILLI, converse, key_of, processor, settings};
use tokio::sync::mpsc;

/// How the second part of this program is told of.
const FUNCTION: &str = "--function-behind=";
/// Longer than any step takes on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(30);
const FRAMES: usize = 12;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match std::env::args().find_map(|argument| argument.strip_prefix(FUNCTION).map(str::to_owned)) {
        Some(model) => runtime.block_on(function(&model)),
        None => {
            // As test runners list it.
            if std::env::args().any(|argument| argument == "--list") {
                return;
            }
            runtime.block_on(each_frame_passes_before_the_next_is_sent());
        }
    }
}

/// The function over the memory ports, with its model at this address.
async fn function(model: &str) {
    let bench = Box::pin(Bench::start(Some(1_000 * MILLI))).await;
    let mut settings = settings(&bench.bedrock);
    settings.endpoints.bedrock = Some(model.to_owned());
    let app = govern_calls::App {
        store: bench.app.store.clone(),
        engine: bench.app.engine.clone(),
        clock: SystemClock,
        bedrock: Bedrock::new(&settings),
        known: bench.app.known.clone(),
        new_random: support::new_random,
    };
    govern_calls::serve::serve(app).await.expect("a Runtime API");
}

/// What the Runtime API hears of a function.
enum Heard {
    /// It asks for an event.
    Next,
    /// A piece of its answer.
    Piece(Bytes),
    /// The end of its answer.
    End,
}

/// A Runtime API that hands out one event.
struct Api {
    event: Mutex<Option<String>>,
    heard: mpsc::UnboundedSender<Heard>,
}

impl Api {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path().to_owned();
        if path.ends_with("/invocation/next") {
            drop(self.heard.send(Heard::Next));
            let event = self.event.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(event) = event else { return std::future::pending().await };
            let deadline = (SystemClock.now() + jiff::SignedDuration::from_secs(300)).as_millisecond();
            let response = Response::builder()
                .header("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
                .header("lambda-runtime-deadline-ms", deadline)
                .header(
                    "lambda-runtime-invoked-function-arn",
                    "arn:aws:lambda:us-east-1:123456789012:function:govern-calls",
                )
                .body(Full::new(Bytes::from(event)));
            return Ok(response.expect("a response"));
        }
        assert!(path.ends_with("/response"), "{path}");
        let mut body = request.into_body();
        while let Some(frame) = body.frame().await {
            if let Ok(bytes) = frame.expect("a frame").into_data() {
                drop(self.heard.send(Heard::Piece(bytes)));
            }
        }
        drop(self.heard.send(Heard::End));
        let accepted = Response::builder().status(202).body(Full::new(Bytes::from_static(b"{\"status\":\"OK\"}")));
        Ok(accepted.expect("a response"))
    }
}

/// Ends the function with the test.
struct Function(Child);

impl Drop for Function {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

async fn each_frame_passes_before_the_next_is_sent() {
    let bench = Box::pin(Bench::start(Some(1_000 * MILLI))).await;
    let words = format!("[[bedrock name=mine stepped tokens={}]]", 10 * FRAMES);
    let path = bench.path("/model/anthropic.claude-haiku-4-5-20251001-v1%3A0/converse-stream");
    let event = bench.event(&path, key_of(&processor()).reveal(), &converse(&words, 1_000).to_string());
    let (heard, mut hears) = mpsc::unbounded_channel();
    let api = Arc::new(Api { event: Mutex::new(Some(event.to_string())), heard });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let api = Arc::clone(&api);
            let service = service_fn(move |request| Arc::clone(&api).answer(request));
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    let model = bench.bedrock.plain_url.clone().unwrap_or_default();
    let child = Command::new(std::env::current_exe().expect("this program"))
        .arg(format!("{FUNCTION}{model}"))
        .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "govern-calls")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "s")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "g")
        .spawn();
    let _function = Function(child.expect("the function"));
    let books = &bench.bedrock.service().books;
    let (mut whole, mut frames) = (Vec::new(), 0);
    let head_end = |whole: &[u8]| whole.windows(8).position(|bytes| bytes == [0; 8]).map(|at| at + 8);
    // One frame is let go at a time: whatever comes by then is of that frame and of those before it.
    for sent in 1..=FRAMES {
        books.step("mine", 1);
        while frames < sent {
            match tokio::time::timeout(PATIENCE, hears.recv()).await.expect("a frame in time").expect("the API serves")
            {
                Heard::Next => {}
                Heard::Piece(piece) => whole.extend_from_slice(&piece),
                Heard::End => panic!("the answer is over after {frames} frames"),
            }
            frames = head_end(&whole).map_or(0, |at| whole_frames(&whole[at..]));
        }
        assert_eq!(frames, sent, "no frame comes before it was sent");
        let entry = books.entry("mine").expect("the call");
        assert_eq!(entry.frames, sent, "and none is sent before the one before it has come");
    }
    books.release("mine");
    loop {
        match tokio::time::timeout(PATIENCE, hears.recv()).await.expect("an end in time").expect("the API serves") {
            Heard::Next => {}
            Heard::Piece(piece) => whole.extend_from_slice(&piece),
            Heard::End => break,
        }
    }
    let at = head_end(&whole).expect("a head");
    let head: serde_json::Value = serde_json::from_slice(&whole[..at - 8]).expect("JSON");
    assert_eq!(head["statusCode"], 200, "{head}");
    assert!(head["headers"]["x-amzn-requestid"].is_string(), "{head}");
    assert!(whole_frames(&whole[at..]) > FRAMES);
}

/// Frames of an event stream that are whole.
fn whole_frames(mut stream: &[u8]) -> usize {
    let mut count = 0;
    while let Some(length) = stream.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes) as usize) {
        match stream.get(length..) {
            Some(rest) if length > 0 => (stream, count) = (rest, count + 1),
            Some(_) | None => break,
        }
    }
    count
}
