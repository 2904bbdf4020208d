//! One bounded attempt at a webhook.
//!
//! **Invariants:** nothing is sent to a destination that is not admitted now, nor, but for the laptop's extra origins,
//! to an address outside the open network; no redirect is followed and no proxy is asked, because nothing here could;
//! an attempt ends in time whatever the receiver does.

use super::{guard, sign};
use crate::connector::{self, SLUICE};
use crate::deadline;
use aws_credential_types::Credentials;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use sluice_core::delivery::{AttemptOutcome, Delivery};
use sluice_core::destination::{Destination, Destinations};
use sluice_core::ports::SendWebhook;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use url::{Host, Position, Url};

/// Bounds within one attempt, which is over when the patience of whoever makes it is.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Resolving the name, and each of connecting and the TLS handshake.
    pub connect: Duration,
    /// What is read of a response's body, in bytes and in time. The status has decided by then: reading on only lets
    /// the receiver finish.
    pub body_bytes: usize,
    pub body: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { connect: Duration::from_secs(3), body_bytes: 64 * 1024, body: Duration::from_secs(1) }
    }
}

/// What an attempt leaves of its invocation: what became of it is recorded, and a hung attempt at that may be repeated.
const RECORD_TIME: Duration = Duration::from_secs(6);

/// Sends webhooks. Keeps no connection: attempts at one receiver are seconds or hours apart.
#[derive(Clone, Debug)]
pub struct Sender {
    destinations: Destinations,
    credentials: Credentials,
    bounds: Bounds,
    tls: Arc<OnceLock<Arc<ClientConfig>>>,
}

/// Why there was no answer. Each has the class that is kept with the attempt.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("the destination is not allowed: {0}")]
    NotAllowed(&'static str),
    #[error("{0} is no address of the open network")]
    NotPublic(SocketAddr),
    #[error("the name could not be resolved")]
    Name(#[source] std::io::Error),
    #[error("the name has no address")]
    NoAddress,
    #[error("the receiver could not be connected to")]
    Connect(#[source] std::io::Error),
    #[error("there is no TLS connection")]
    Tls(#[source] Box<dyn Error + Send + Sync>),
    #[error("the connection broke")]
    Broken(#[source] hyper::Error),
    #[error("the receiver took too long to {0}")]
    TooLong(&'static str),
    #[error("the request could not be made")]
    Request(#[source] Box<dyn Error + Send + Sync>),
}

impl NoAnswer {
    const fn class(&self) -> &'static str {
        match self {
            Self::NotAllowed(_) | Self::NotPublic(_) => "refused_address",
            Self::Name(_) | Self::NoAddress => "dns",
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::Broken(_) => "reset",
            Self::TooLong(_) => "timeout",
            Self::Request(_) => "request",
        }
    }
}

impl Sender {
    pub fn new(destinations: Destinations, credentials: Credentials) -> Self {
        Self { destinations, credentials, bounds: Bounds::default(), tls: Arc::default() }
    }

    /// The same with other bounds.
    #[must_use]
    pub fn within(self, bounds: Bounds) -> Self {
        Self { bounds, ..self }
    }

    async fn attempt(
        &self,
        url: &str,
        delivery: &Delivery,
        now: Timestamp,
        patience: Duration,
    ) -> Result<AttemptOutcome, NoAnswer> {
        let end = Instant::now() + deadline::at_most(patience, RECORD_TIME);
        // Admitted when the run was made; the list may have changed since.
        let destination = self.destinations.admit(url).map_err(NoAnswer::NotAllowed)?;
        let request = self.request(&destination, delivery, now)?;
        // The connection is driven beside the request, and dropped with this set however the attempt ends.
        let mut connection = JoinSet::new();
        let exchange = async {
            let stream = self.connect(&destination).await?;
            if destination.url.scheme() == "https" {
                let stream = self.handshake(&destination, stream).await?;
                exchange(stream, request, &mut connection).await
            } else {
                exchange(stream, request, &mut connection).await
            }
        };
        let response = timeout_at(end, exchange).await.map_err(|_| NoAnswer::TooLong("answer"))??;
        let outcome = outcome(response.status(), response.headers(), now);
        // Whether the rest came in time changes nothing.
        let end = end.min(Instant::now() + self.bounds.body);
        let _rest = timeout_at(end, read_away(response, self.bounds.body_bytes)).await;
        Ok(outcome)
    }

    fn request(
        &self,
        destination: &Destination,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<Request<Full<Bytes>>, NoAnswer> {
        let url = &destination.url;
        let signed = sign::sign(url, &destination.region, &self.credentials, delivery, now);
        let signed = signed.map_err(|error| NoAnswer::Request(error.into()))?;
        let mut request =
            Request::post(&url[Position::BeforePath..Position::AfterQuery]).header(header::USER_AGENT, SLUICE);
        for (name, value) in signed {
            request = request.header(name, value);
        }
        let body = Full::new(Bytes::copy_from_slice(delivery.body.as_bytes()));
        request.body(body).map_err(|error| NoAnswer::Request(error.into()))
    }

    /// Resolves, checks every address, and connects to those that were checked.
    async fn connect(&self, destination: &Destination) -> Result<TcpStream, NoAnswer> {
        let addresses = timeout(self.bounds.connect, resolve(&destination.url))
            .await
            .map_err(|_| NoAnswer::TooLong("be resolved"))??;
        if !destination.is_extra
            && let Some(refused) = addresses.iter().find(|address| !guard::is_public(address.ip()))
        {
            return Err(NoAnswer::NotPublic(*refused));
        }
        let stream = timeout(self.bounds.connect, TcpStream::connect(addresses.as_slice())).await;
        let stream = stream.map_err(|_| NoAnswer::TooLong("connect"))?.map_err(NoAnswer::Connect)?;
        // One small write per request: nothing to gain from waiting to fill a packet.
        stream.set_nodelay(true).map_err(NoAnswer::Connect)?;
        Ok(stream)
    }

    async fn handshake(
        &self,
        destination: &Destination,
        stream: TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, NoAnswer> {
        let host = destination.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(|error| NoAnswer::Tls(error.into()))?;
        let config = self.tls_config().map_err(NoAnswer::Tls)?;
        let handshake = TlsConnector::from(config).connect(name, stream);
        let stream = timeout(self.bounds.connect, handshake).await.map_err(|_| NoAnswer::TooLong("agree on TLS"))?;
        stream.map_err(|error| NoAnswer::Tls(error.into()))
    }

    /// The system's root certificates are read at the first webhook: most functions never send one.
    fn tls_config(&self) -> Result<Arc<ClientConfig>, Box<dyn Error + Send + Sync>> {
        if let Some(config) = self.tls.get() {
            return Ok(Arc::clone(config));
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let config = connector::client_config(Arc::new(roots))?;
        Ok(Arc::clone(self.tls.get_or_init(|| config)))
    }
}

impl SendWebhook for Sender {
    async fn send_webhook(&self, url: &str, delivery: &Delivery, now: Timestamp, patience: Duration) -> AttemptOutcome {
        match self.attempt(url, delivery, now, patience).await {
            Ok(outcome) => outcome,
            Err(error) => {
                let error_class = error.class();
                // The outcome keeps only the class, so the cause is said here. The URL may hold secrets of its owner.
                let cause = error.source().map(ToString::to_string);
                tracing::warn!(run.id = %delivery.run_id, error.class = error_class, %error, cause, "a webhook got no answer");
                AttemptOutcome::Unreachable { error_class: error_class.to_owned() }
            }
        }
    }
}

async fn resolve(url: &Url) -> Result<Vec<SocketAddr>, NoAnswer> {
    let port = url.port_or_known_default().unwrap_or(443);
    let addresses = match url.host() {
        Some(Host::Domain(name)) => {
            tokio::net::lookup_host((name, port)).await.map_err(NoAnswer::Name)?.collect::<Vec<_>>()
        }
        Some(Host::Ipv4(address)) => vec![SocketAddr::from((address, port))],
        Some(Host::Ipv6(address)) => vec![SocketAddr::from((address, port))],
        None => Vec::new(),
    };
    if addresses.is_empty() { Err(NoAnswer::NoAddress) } else { Ok(addresses) }
}

async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    connection: &mut JoinSet<()>,
) -> Result<Response<Incoming>, NoAnswer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(NoAnswer::Broken)?;
    connection.spawn(async move {
        // Its error reaches the request, which says it.
        let _said_by_the_request = driver.await;
    });
    sender.send_request(request).await.map_err(NoAnswer::Broken)
}

async fn read_away(response: Response<Incoming>, most: usize) {
    let mut body = response.into_body();
    let mut read = 0;
    while read < most {
        match body.frame().await {
            Some(Ok(frame)) => read += frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) | None => return,
        }
    }
}

fn outcome(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> AttemptOutcome {
    let http_status = status.as_u16();
    if status.is_success() {
        return AttemptOutcome::Delivered { http_status: Some(http_status) };
    }
    match status {
        StatusCode::GONE => AttemptOutcome::Gone,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            AttemptOutcome::Rejected { http_status, retry_after_seconds: retry_after(headers, now) }
        }
        _ => AttemptOutcome::Rejected { http_status, retry_after_seconds: None },
    }
}

/// Seconds from now, however the receiver put it.
/// Source: RFC 9110, section 10.2.3
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<u64> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse().unwrap_or(u64::MAX));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    // Rounded up: "at" means not before.
    let millis = at.duration_since(now).as_millis().max(0);
    u64::try_from(millis).ok().map(|millis| millis.div_ceil(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A receiver with a certificate of its own, and how a sender comes to trust it.
    async fn tls_receiver() -> (String, Arc<ClientConfig>) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let certificate = made.cert.der().clone();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .expect("a server");
        let mut roots = RootCertStore::empty();
        roots.add(certificate).expect("a root");
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("https://localhost:{}", listener.local_addr().expect("an address").port());
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let answer = hyper::service::service_fn(async |_| {
                    Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::new())))
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        (origin, Arc::new(client))
    }

    fn owed() -> Delivery {
        Delivery {
            tenant_id: "mine".parse().expect("a tenant"),
            run_id: "0190163d-8694-439b-aea5-966c26f8ad91".parse().expect("a run id"),
            number: 1,
            channel: sluice_core::delivery::Channel::EventBus,
            status: sluice_core::delivery::DeliveryStatus::InFlight,
            attempts: 1,
            round_attempts: 1,
            next_attempt_at: None,
            created_at: Timestamp::UNIX_EPOCH,
            ended_at: None,
            dead_letter_reason: None,
            rev: 2,
            body: "{}".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_webhook_travels_over_tls_and_only_to_a_certificate_that_is_trusted() {
        let (origin, trusting) = tls_receiver().await;
        let destinations = Destinations { regions: vec!["eu-west-1".to_owned()], extra_origins: vec![origin.clone()] };
        let sender = || Sender::new(destinations.clone(), Credentials::new("a", "b", None, None, "test"));
        let trusted = Sender { tls: Arc::new(OnceLock::from(trusting)), ..sender() };
        let outcome = trusted.send_webhook(&origin, &owed(), Timestamp::UNIX_EPOCH, Duration::from_secs(10)).await;
        assert_eq!(outcome, AttemptOutcome::Delivered { http_status: Some(200) });
        let outcome = sender().send_webhook(&origin, &owed(), Timestamp::UNIX_EPOCH, Duration::from_secs(10)).await;
        assert_eq!(outcome, AttemptOutcome::Unreachable { error_class: "tls".to_owned() });
    }

    fn seconds(value: &str) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, value.parse().expect("a header"));
        retry_after(&headers, "2026-11-22T04:39:48.123Z".parse().expect("a time"))
    }

    #[tokio::test]
    async fn an_admitted_name_that_leads_into_a_closed_network_is_refused() {
        let sender = Sender::new(Destinations::default(), Credentials::new("a", "b", None, None, "test"));
        for url in [
            "http://localhost:9/",
            "http://127.0.0.1:9/",
            "https://[::1]:9/",
            "http://169.254.169.254/",
            "http://[fd00:ec2::254]/",
        ] {
            let url: Url = url.parse().expect("a URL");
            let destination = Destination { url, region: "eu-west-1".to_owned(), is_extra: false };
            let refused = sender.connect(&destination).await.expect_err("refused");
            assert!(matches!(refused, NoAnswer::NotPublic(_)), "{refused}");
            assert_eq!(refused.class(), "refused_address");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds("99999999999999999999999"), Some(u64::MAX));
        assert_eq!(seconds("Sun, 22 Nov 2026 04:40:48 GMT"), Some(60));
        assert_eq!(seconds("Sun, 22 Nov 2026 04:00:00 GMT"), Some(0));
        for other in ["", "-1", "1.5", "soon", "2026-11-22T04:40:48Z"] {
            assert_eq!(seconds(other), None, "{other:?}");
        }
    }
}
