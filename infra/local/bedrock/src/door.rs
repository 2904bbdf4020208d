//! The ports: connections of HTTP/1.1 and HTTP/2, over TLS or not, and what they carry. The local stack has such a door in front of its
//! governor too: who serves behind a door is a [`Serve`].

mod http1;
mod http2;

use std::borrow::Cow;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

pub(crate) use http1::ChannelBody;

/// A request, read to its end.
#[derive(Debug)]
pub struct Request {
    pub method: String,
    /// Path and query, undecoded.
    pub target: String,
    pub host: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// An answer, of which the body is still to come.
#[derive(Debug)]
pub struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(Cow<'static, str>, String)>,
    pub(crate) body: mpsc::Receiver<Part>,
}

impl Response {
    /// The body comes over the channel, part by part.
    pub fn new<N: Into<Cow<'static, str>>>(status: u16, headers: Vec<(N, String)>, body: mpsc::Receiver<Part>) -> Self {
        let headers = headers.into_iter().map(|(name, value)| (name.into(), value)).collect();
        Self { status, headers, body }
    }
}

/// A part of an answer's body.
#[derive(Debug)]
pub enum Part {
    Data(Bytes),
    /// The connection is to break here.
    Abort,
}

/// Who serves behind a door.
pub trait Serve: Send + Sync + 'static {
    /// The answer to a request; `None`: the connection is closed without one. It is dropped where its caller hangs up before the head.
    fn answer(self: Arc<Self>, request: Request) -> impl Future<Output = Option<Response>> + Send;
}

/// How long a client may take over its part of a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A listener on 127.0.0.1; port 0 lets the system choose.
///
/// # Errors
/// When it is taken.
pub fn listen(port: u16) -> io::Result<(StdListener, SocketAddr)> {
    let listener = StdListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Takes connections for as long as the runtime lives.
pub async fn accept<F: Future<Output = ()> + Send + 'static>(listener: StdListener, serve: impl Fn(TcpStream) -> F) {
    // A listener that is open and does not block is taken; else nobody would ever be served, and every test would say so.
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: others get time to close theirs.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // A frame is to leave when it is sent, not when there are more.
        drop(stream.set_nodelay(true));
        tokio::spawn(serve(stream));
    }
}

/// A connection over TLS, of the protocol that the client has chosen.
pub async fn serve_tls<S: Serve>(stream: TcpStream, server: Arc<ServerConfig>, service: Arc<S>) {
    let handshake = tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(server).accept(stream)).await;
    // A client that does not trust the certificate, or says nothing, is its own business.
    let Ok(Ok(stream)) = handshake else { return };
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    if is_http2 { Box::pin(http2::serve(stream, service)).await } else { http1::serve(stream, service).await }
}

/// A connection without TLS, of HTTP/1.1.
pub(crate) async fn serve_plain<S: Serve>(stream: TcpStream, service: Arc<S>) {
    http1::serve(stream, service).await;
}
