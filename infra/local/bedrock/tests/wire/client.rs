//! A client that knows no SDK: it signs, sends, and reads what comes, part by part, over any of the doors.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use sluice_bedrock::{Bedrock, Key, Options};
use tokio::net::TcpStream;

/// Nothing that is waited for takes this long, unless it never comes.
pub const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Plain,
    Http1,
    Http2,
}

pub const DOORS: [Door; 3] = [Door::Plain, Door::Http1, Door::Http2];

/// How a request is signed; a test bends it.
#[derive(Clone, Debug)]
pub struct Signer {
    pub key: Key,
    pub region: &'static str,
    pub service: &'static str,
    pub at: SystemTime,
}

#[expect(clippy::disallowed_methods, reason = "signatures are of the real time")]
pub fn now() -> SystemTime {
    SystemTime::now()
}

impl Default for Signer {
    fn default() -> Self {
        let key = Options::test().keys.keys.remove(0);
        Self { key, region: "us-east-1", service: "bedrock", at: now() }
    }
}

impl Signer {
    /// The headers of the signature of a request with these headers.
    pub fn headers(&self, url: &str, headers: &[(String, String)], body: &[u8]) -> Vec<(String, String)> {
        let key = &self.key;
        let identity =
            Credentials::new(&key.access_key_id, &key.secret_access_key, key.session_token.clone(), None, "a test")
                .into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(self.service)
            .time(self.at)
            .settings(SigningSettings::default())
            .build()
            .expect("parameters")
            .into();
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let request = SignableRequest::new("POST", url, headers, SignableBody::Bytes(body)).expect("a request");
        let (instructions, _) = sign(request, &parameters).expect("a signature").into_parts();
        instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

/// A request before it is sent.
pub struct Call {
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Call {
    pub fn new(target: impl Into<String>, body: &Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self { target: target.into(), headers, body: body.to_string().into() }
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// An answer whose body is still to come.
pub struct Opened {
    pub status: u16,
    pub headers: HeaderMap,
    parts: Parts,
}

enum Parts {
    Http1(hyper::body::Incoming),
    Http2(h2::RecvStream),
}

/// An answer read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Whether the connection broke before the end.
    pub is_broken: bool,
}

impl Opened {
    /// The next part; an error where the connection broke.
    pub async fn next(&mut self) -> Option<Result<Bytes, ()>> {
        match &mut self.parts {
            Parts::Http1(body) => {
                let frame = body.frame().await?;
                Some(frame.map_err(|_broken| ()).and_then(|frame| frame.into_data().map_err(|_trailers| ())))
            }
            Parts::Http2(stream) => {
                let data = stream.data().await?.map_err(|_broken| ());
                if let Ok(data) = &data {
                    stream.flow_control().release_capacity(data.len()).expect("capacity");
                }
                Some(data)
            }
        }
    }

    pub async fn whole(mut self) -> Answer {
        let (mut body, mut is_broken) = (BytesMut::new(), false);
        while let Some(part) = self.next().await {
            match part {
                Ok(part) => body.extend_from_slice(&part),
                Err(()) => {
                    is_broken = true;
                    break;
                }
            }
        }
        Answer { status: self.status, headers: self.headers, body: body.freeze(), is_broken }
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub fn error(&self) -> (u16, &str) {
        (self.status, self.header("x-amzn-errortype").unwrap_or_default())
    }
}

pub fn bedrock() -> Bedrock {
    Bedrock::start(Options::test()).expect("a stand-in")
}

fn port(url: &str) -> u16 {
    url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

impl Door {
    pub fn url(self, bedrock: &Bedrock) -> String {
        match self {
            Self::Plain => bedrock.plain_url.clone().expect("a plain door"),
            Self::Http1 | Self::Http2 => bedrock.door_url.clone(),
        }
    }

    /// Signs a call and sends it. `None`: the connection was closed without an answer.
    pub async fn open(self, bedrock: &Bedrock, call: Call) -> Option<Opened> {
        let url = format!("{}{}", self.url(bedrock), call.target);
        let signed = Signer::default().headers(&url, &call.headers, &call.body);
        self.send(bedrock, Call { headers: [call.headers, signed].concat(), ..call }).await
    }

    /// Sends a call as it is.
    pub async fn send(self, bedrock: &Bedrock, call: Call) -> Option<Opened> {
        tokio::time::timeout(PATIENCE, self.exchange(bedrock, call)).await.expect("an answer in time")
    }

    async fn exchange(self, bedrock: &Bedrock, call: Call) -> Option<Opened> {
        let url = self.url(bedrock);
        let stream = TcpStream::connect(("127.0.0.1", port(&url))).await.expect("a connection");
        let authority = url.split("//").nth(1).expect("an authority").to_owned();
        let mut request = Request::builder().method("POST");
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        match self {
            Self::Plain => {
                let request = request.uri(&call.target).header("host", authority);
                over_http1(TokioIo::new(stream), request, call.body).await
            }
            Self::Http1 => {
                let request = request.uri(&call.target).header("host", authority);
                let stream = tls(bedrock, stream, b"http/1.1").await;
                over_http1(TokioIo::new(stream), request, call.body).await
            }
            Self::Http2 => {
                let request = request.uri(format!("{url}{}", call.target)).version(http::Version::HTTP_2);
                over_http2(tls(bedrock, stream, b"h2").await, request, call.body).await
            }
        }
    }

    /// Signs, sends, and reads to the end.
    pub async fn call(self, bedrock: &Bedrock, call: Call) -> Answer {
        self.open(bedrock, call).await.expect("an answer").whole().await
    }
}

/// The only root that is trusted is the stand-in's own.
async fn tls(bedrock: &Bedrock, stream: TcpStream, protocol: &[u8]) -> tokio_rustls::client::TlsStream<TcpStream> {
    let text: String = bedrock.authority_pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).expect("base64");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(der)).expect("a root");
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("trust");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol));
    stream
}

async fn over_http1<S>(stream: TokioIo<S>, request: http::request::Builder, body: Bytes) -> Option<Opened>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.expect("a handshake");
    tokio::spawn(connection);
    let request = request.body(Full::new(body)).expect("a request");
    let (parts, body) = sender.send_request(request).await.ok()?.into_parts();
    Some(Opened { status: parts.status.as_u16(), headers: parts.headers, parts: Parts::Http1(body) })
}

async fn over_http2<S>(stream: S, request: http::request::Builder, body: Bytes) -> Option<Opened>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = h2::client::handshake(stream).await.expect("a handshake");
    tokio::spawn(connection);
    let mut sender = sender.ready().await.expect("a connection that is ready");
    let request = request.body(()).expect("a request");
    let (response, mut stream) = sender.send_request(request, false).expect("a stream");
    stream.send_data(body, true).expect("a body");
    let (parts, body) = response.await.ok()?.into_parts();
    Some(Opened { status: parts.status.as_u16(), headers: parts.headers, parts: Parts::Http2(body) })
}
