//! One background thread on which all HTTP of the local stack runs: the API proxy, the token issuer, the webhook receiver,
//! and the requests made from here.

use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use serde_json::{Value, json};
use sluice_bedrock::door::{self, Serve};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::Error;
use crate::guard::{self, Refused};
use crate::wait::wait_for;

/// Longer than anything behind the API may take: a long poll lasts 20 s, a cold function some seconds.
const REQUEST_PATIENCE: Duration = Duration::from_secs(90);

pub(crate) type HttpClient = Client<HttpConnector, Full<Bytes>>;

/// Whether a request may get in, on the port it came to.
type Guard = fn(&Request<Incoming>, u16) -> Result<(), Refused>;

pub(crate) struct Servers {
    handle: Handle,
    client: HttpClient,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// An HTTP answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl Servers {
    pub(crate) fn start() -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(Error::io("starting the HTTP thread"))?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            // An error means that the sender is gone, which is a stop as well.
            drop(runtime.block_on(stopped));
            runtime.shutdown_background();
        });
        Ok(Self {
            handle,
            client: Client::builder(TokioExecutor::new()).build_http(),
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    pub(crate) fn client(&self) -> HttpClient {
        self.client.clone()
    }

    /// Serves TLS connections of `listener`, of HTTP/2 and HTTP/1.1, until the stack ends. Who serves guards itself.
    pub(crate) fn serve_tls<S: Serve>(&self, listener: StdListener, server: Arc<ServerConfig>, service: Arc<S>) {
        self.handle.spawn(door::accept(listener, move |stream| {
            door::serve_tls(stream, Arc::clone(&server), Arc::clone(&service))
        }));
    }

    /// Something that goes on until the stack ends.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.handle.spawn(work));
    }

    /// Makes a request and waits for the whole answer.
    pub(crate) fn request(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, Error> {
        let failed = |reason: String| Error::Http { method: method.to_owned(), url: url.to_owned(), reason };
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body)).map_err(|error| failed(error.to_string()))?;
        let client = self.client();
        let answered = self.handle.spawn(async move {
            let exchange = async {
                let response = client.request(request).await.map_err(|error| error_chain(&error))?;
                let (parts, body) = response.into_parts();
                let body = body.collect().await.map_err(|error| error_chain(&error))?.to_bytes();
                Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
            };
            let patience = format!("no answer within {} s", REQUEST_PATIENCE.as_secs());
            tokio::time::timeout(REQUEST_PATIENCE, exchange).await.unwrap_or(Err(patience))
        });
        wait_for(answered).map_err(|error| failed(error.to_string()))?.map_err(failed)
    }

    /// Serves connections of `listener` until the stack ends, behind the [`guard`]. `None` from the handler means: hang up
    /// without an answer.
    pub(crate) fn serve<H, F>(&self, listener: StdListener, handler: H) -> Result<(), Error>
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Option<Response<Full<Bytes>>>> + Send,
    {
        self.serve_behind(listener, guard::admit, handler)
    }

    /// The same behind a guard of the port's own kind.
    pub(crate) fn serve_behind<H, F>(&self, listener: StdListener, guard: Guard, handler: H) -> Result<(), Error>
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Option<Response<Full<Bytes>>>> + Send,
    {
        listener.set_nonblocking(true).map_err(Error::io("preparing a listener"))?;
        let port = listener.local_addr().map_err(Error::io("reading a listener's address"))?.port();
        let _inside = self.handle.enter();
        let listener = TcpListener::from_std(listener).map_err(Error::io("preparing a listener"))?;
        self.handle.spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    // Out of file descriptors, most likely: give others time to close theirs.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let handler = handler.clone();
                tokio::spawn(async move {
                    let service = service_fn(|request| {
                        let answer = guard(&request, port).map(|()| handler(request));
                        async move {
                            match answer {
                                Ok(answer) => answer.await,
                                Err(refused) => Some(refuse(&refused)),
                            }
                            .ok_or(HangUp)
                        }
                    });
                    let connection =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    // A caller that breaks its connection off is its own business.
                    drop(connection.await);
                });
            }
        });
        Ok(())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("hung up on purpose")]
struct HangUp;

/// A listener on 127.0.0.1; port 0 lets the system choose.
pub(crate) fn listen(port: u16) -> Result<(StdListener, SocketAddr), Error> {
    let listener = StdListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|cause| {
        if cause.kind() == std::io::ErrorKind::AddrInUse {
            Error::PortInUse { port }
        } else {
            Error::Io { what: format!("listening on 127.0.0.1:{port}"), cause }
        }
    })?;
    let address = listener.local_addr().map_err(Error::io("reading a listener's address"))?;
    Ok((listener, address))
}

pub(crate) async fn read_whole(body: Incoming) -> Result<Bytes, hyper::Error> {
    Ok(body.collect().await?.to_bytes())
}

fn refuse(refused: &Refused) -> Response<Full<Bytes>> {
    let body = json!({"message": format!("refused by the local stack: {}", refused.why)});
    respond(refused.status, "application/json", body.to_string())
}

pub(crate) fn respond(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    if let Ok(value) = content_type.parse() {
        response.headers_mut().insert(hyper::header::CONTENT_TYPE, value);
    }
    response
}

/// "client error (Connect): Connection refused": the outermost message alone says nothing.
pub(crate) fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
