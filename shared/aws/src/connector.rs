//! How the AWS clients reach their services: one pool of connections for all of them, HTTP/1.1, TLS by ring.
//!
//! **Invariants:** what did not connect in its time is an error that is retried; a connection that an attempt gave up is
//! not used again.
//!
//! Decision (2026-11-27): not the SDK's own connector. It brings an HTTP/2 client that no endpoint of ours has a use for,
//! and reads all of the system's root certificates before the first call. The roots of Mozilla's programme are compiled in
//! and need no reading; `AWS_CA_BUNDLE` names others.

use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::ErrorKind;
use http::uri::Scheme;
use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower_service::Service;

/// Who calls, as every request says.
pub(crate) const SLUICE: &str = concat!("sluice/", env!("CARGO_PKG_VERSION"));
/// How long the clients of AWS keep an idle connection: as hyper does.
const IDLE: Duration = Duration::from_secs(90);

type BoxError = Box<dyn Error + Send + Sync>;
type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Clones share the connections.
#[derive(Clone)]
pub(crate) struct Connector(legacy::Client<Dialer, SdkBody>);

impl Connector {
    /// `roots` are those to trust instead of the compiled-in ones. `connect_timeout` bounds resolving the name, connecting
    /// and the TLS handshake together.
    pub(crate) fn new(roots: Option<Arc<RootCertStore>>, connect_timeout: Duration) -> Self {
        Self::keeping(roots, connect_timeout, IDLE)
    }

    /// With a pool that keeps an idle connection for so long.
    pub(crate) fn keeping(roots: Option<Arc<RootCertStore>>, connect_timeout: Duration, idle: Duration) -> Self {
        let mut tcp = TcpConnector::new();
        // The dialer decides by the scheme.
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let dialer = Dialer { tcp, tls: Arc::new(Tls { roots, config: OnceLock::new() }), connect_timeout };
        // Without a timer idle connections would be kept for good.
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        Self(builder.pool_timer(TokioTimer::new()).pool_idle_timeout(idle).build(dialer))
    }

    /// Sends a request as it is, and gives the head of its answer. Repeated is only what was certainly not sent: where a connection
    /// of the pool turns out to be closed.
    pub(crate) async fn send(&self, request: Request<SdkBody>) -> Result<Response<Incoming>, legacy::Error> {
        self.0.request(request).await
    }

    /// Opens a connection to each of these origins, side by side, so that the first calls find them open. Takes so long at
    /// most; what fails, the first call tries again.
    pub(crate) async fn open(&self, origins: Vec<Uri>, most: Duration) {
        let mut connections = JoinSet::new();
        for origin in origins {
            let client = self.0.clone();
            connections.spawn(async move {
                if let Err(error) = touch(&client, origin.clone()).await {
                    tracing::debug!(server.address = origin.host(), %error, "a connection was not opened early");
                }
            });
        }
        let all = async { while connections.join_next().await.is_some() {} };
        // Those that are not there by then are given up with the set.
        let _all = timeout(most, all).await;
    }
}

/// Any answer will do: once it is read, its connection is in the pool.
async fn touch(client: &legacy::Client<Dialer, SdkBody>, origin: Uri) -> Result<(), BoxError> {
    let request = Request::get(origin).body(SdkBody::empty())?;
    let mut body = client.request(request).await?.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(())
}

impl fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Connector")
    }
}

/// What an attempt failed of, as whoever tries again has to know: time, input and output are tried again.
pub(crate) fn classified(error: legacy::Error) -> ConnectorError {
    let io = source::<io::Error>(&error);
    if io.is_some_and(|io| io.kind() == io::ErrorKind::TimedOut) {
        return ConnectorError::timeout(error.into());
    }
    if error.is_connect() || io.is_some() {
        return ConnectorError::io(error.into());
    }
    match source::<hyper::Error>(&error) {
        Some(hyper) if hyper.is_timeout() => ConnectorError::timeout(error.into()),
        Some(hyper) if hyper.is_user() => ConnectorError::user(error.into()),
        Some(hyper) if hyper.is_closed() || hyper.is_canceled() => ConnectorError::io(error.into()),
        // The connection closed before the whole answer was there.
        Some(hyper) if hyper.is_incomplete_message() => {
            ConnectorError::other(error.into(), Some(ErrorKind::TransientError))
        }
        Some(_) | None => ConnectorError::other(error.into(), None),
    }
}

fn source<E: Error + 'static>(error: &dyn Error) -> Option<&E> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Opens connections, each in its time.
#[derive(Clone)]
struct Dialer {
    tcp: TcpConnector,
    tls: Arc<Tls>,
    connect_timeout: Duration,
}

impl Service<Uri> for Dialer {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let most = self.connect_timeout;
        let Self { mut tcp, tls, .. } = self.clone();
        let connecting = async move {
            if to.scheme() == Some(&Scheme::HTTPS) {
                HttpsConnector::from((tcp, tls.config()?)).call(to).await
            } else {
                Ok(MaybeHttpsStream::Http(tcp.call(to).await?))
            }
        };
        Box::pin(async move {
            let connected = timeout(most, connecting).await;
            connected.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time").into()))
        })
    }
}

/// Made when the first connection wants it: a laptop's stack has none.
struct Tls {
    roots: Option<Arc<RootCertStore>>,
    config: OnceLock<Arc<ClientConfig>>,
}

impl Tls {
    fn config(&self) -> Result<Arc<ClientConfig>, rustls::Error> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let compiled_in = || Arc::new(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() });
        let config = client_config(self.roots.clone().unwrap_or_else(compiled_in))?;
        Ok(Arc::clone(self.config.get_or_init(|| config)))
    }
}

/// TLS towards servers that one of these roots vouches for, HTTP/1.1 within.
pub(crate) fn client_config(roots: Arc<RootCertStore>) -> Result<Arc<ClientConfig>, rustls::Error> {
    // ring: AWS-LC's random generator spends 24 ms of CPU on the first call.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
