//! A small HTTP server for tests: each request goes to a closure.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

/// A request with its whole body.
pub type Whole = Request<Bytes>;

/// Answers requests with `answer` for as long as the test's runtime lives. `None` closes the connection instead.
pub async fn serve<F, Fut>(answer: F) -> SocketAddr
where
    F: Fn(Whole) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Option<Response<Full<Bytes>>>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.map_err(|_| "the request broke off")?.to_bytes();
                    answer(Request::from_parts(head, body)).await.ok_or("no answer, as told")
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

pub fn json(status: u16, body: impl ToString) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header("content-type", "application/x-amz-json-1.0")
        .body(Full::new(Bytes::from(body.to_string())))
        .expect("a response")
}

/// What an AWS service was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub target: String,
    pub body: String,
}

/// An AWS service that answers from a script and remembers what it was asked.
#[derive(Clone, Debug)]
pub struct Scripted {
    pub endpoint: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Scripted {
    pub async fn start(script: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Self {
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (script, seen) = (Arc::new(script), Arc::clone(&asked));
        let address = serve(move |request: Whole| {
            let asked = Asked {
                target: header(&request, "x-amz-target"),
                body: String::from_utf8_lossy(request.body()).into_owned(),
            };
            let (status, body) = script(&asked);
            seen.lock().expect("the list").push(asked);
            async move { Some(json(status, body)) }
        })
        .await;
        Self { endpoint: format!("http://{address}"), asked }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("the list").clone()
    }

    pub fn targets(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.target).collect()
    }
}

pub fn header(request: &Whole, name: &str) -> String {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}
