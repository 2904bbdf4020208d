//! The ports: connections of HTTP/1.1 and HTTP/2, over TLS or not, and what they carry.

mod http1;
mod http2;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::service::Service;

pub(crate) use http1::ChannelBody;

/// How long a client may take over its part of a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A listener on 127.0.0.1; port 0 lets the system choose.
pub(crate) fn listen(port: u16) -> io::Result<(StdListener, SocketAddr)> {
    let listener = StdListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Takes connections for as long as the runtime lives.
pub(crate) async fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: StdListener,
    serve: impl Fn(TcpStream) -> F,
) {
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
pub(crate) async fn serve_tls(stream: TcpStream, server: Arc<ServerConfig>, service: Arc<Service>) {
    let handshake = tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(server).accept(stream)).await;
    // A client that does not trust the certificate, or says nothing, is its own business.
    let Ok(Ok(stream)) = handshake else { return };
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    if is_http2 { Box::pin(http2::serve(stream, service)).await } else { http1::serve(stream, service).await }
}

/// A connection without TLS, of HTTP/1.1.
pub(crate) async fn serve_plain(stream: TcpStream, service: Arc<Service>) {
    http1::serve(stream, service).await;
}
