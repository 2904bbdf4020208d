//! The door and the Runtime APIs, with a function that answers as it is told to (`tests/governor/bootstrap`).

use std::env;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::venv;

/// The governor with a function of the test in the place of the real one.
struct World {
    governor: Governor,
    port: u16,
    authority: String,
    _servers: Servers,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "a test's process is found as any other")]
    fn new(name: &str) -> Self {
        let folder = place::target().join("e2e/governor").join(name);
        place::made(&folder).expect("a folder");
        let python = venv::ready(&folder, &mut crate::progress::Progress::new(&mut |_| {})).expect("Python");
        let path = env::var("PATH").expect("a path");
        let function = Function {
            binary: place::project().join("infra/local/tests/governor/bootstrap"),
            arn: "arn:aws:lambda:us-east-1:000000000000:function:told".to_owned(),
            environment: vec![("PATH".to_owned(), path), ("SETTING".to_owned(), "deployed".to_owned())],
        };
        let servers = Servers::start().expect("a thread");
        let frame = Frame::set(&folder).expect("a door");
        let (port, authority) = (frame.port, frame.certificate.authority_pem.clone());
        let governor = Governor::start(frame, function, &python, &folder, &servers).expect("a governor");
        Self { governor, port, authority, _servers: servers }
    }

    /// A connection of a caller who trusts nobody but this start's authority.
    async fn connect(&self, protocol: &[u8]) -> TlsStream<TcpStream> {
        let der: String = self.authority.lines().filter(|line| !line.starts_with("-----")).collect();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from(STANDARD.decode(der).expect("base64"))).expect("a root");
        let mut config =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_root_certificates(roots)
                .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.expect("a connection");
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("trust")
    }

    async fn get(&self, target: &str) -> Response<Incoming> {
        self.ask(Request::get(target), Bytes::new()).await
    }

    async fn ask(&self, request: hyper::http::request::Builder, body: Bytes) -> Response<Incoming> {
        let stream = self.connect(b"http/1.1").await;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a handshake");
        tokio::spawn(connection);
        let request =
            request.header("host", format!("localhost:{}", self.port)).body(Full::new(body)).expect("a request");
        sender.send_request(request).await.expect("an answer")
    }
}

/// What the function waits for, and lets go.
fn release(listener: &TcpListener) {
    let (mut waiting, _) = listener.accept().expect("the function");
    waiting.write_all(b"!").expect("it hears");
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(work)
}

async fn part(body: &mut Incoming) -> Option<Bytes> {
    let frame = body.frame().await?.expect("a part");
    Some(frame.into_data().expect("data"))
}

#[test]
fn a_caller_has_the_first_part_before_the_function_has_sent_the_second() {
    let world = World::new("steps");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let target = format!("/steps?{}", listener.local_addr().expect("an address").port());
    block_on(async {
        let mut answer = world.get(&target).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (200, &"text/plain".parse().expect("a value"))
        );
        assert_eq!(part(answer.body_mut()).await.as_deref(), Some(&b"one"[..]));
        release(&listener);
        assert_eq!(part(answer.body_mut()).await.as_deref(), Some(&b"two"[..]));
        assert_eq!(part(answer.body_mut()).await, None);
        release(&listener);

        // The same over HTTP/2.
        let (sender, connection) = h2::client::handshake(world.connect(b"h2").await).await.expect("a handshake");
        tokio::spawn(connection);
        let mut sender = sender.ready().await.expect("a connection");
        let url = format!("https://localhost:{}{target}", world.port);
        let request = Request::get(url).version(hyper::Version::HTTP_2).body(()).expect("a request");
        let (response, _) = sender.send_request(request, true).expect("a stream");
        let mut body = response.await.expect("an answer").into_body();
        assert_eq!(body.data().await.expect("a part").expect("data").as_ref(), b"one");
        release(&listener);
        assert_eq!(body.data().await.expect("a part").expect("data").as_ref(), b"two");
        release(&listener);
    });
}

#[test]
fn a_caller_that_hangs_up_stops_nothing() {
    let world = World::new("hung-up");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let target = format!("/steps?{}", listener.local_addr().expect("an address").port());
    block_on(async {
        let mut answer = world.get(&target).await;
        assert_eq!(part(answer.body_mut()).await.as_deref(), Some(&b"one"[..]));
    });
    // The caller is gone with its runtime; the function sends the rest, and goes on to its end.
    release(&listener);
    release(&listener);
}

#[test]
fn a_function_gets_the_request_and_its_settings_and_answers_with_a_head() {
    let world = World::new("told");
    block_on(async {
        let request = Request::post("/g/a/model/x%3A0/invoke?b=c").header("content-type", "application/json");
        let answer = world.ask(request, Bytes::from_static(b"{\"a\": 1}")).await;
        assert_eq!(answer.status().as_u16(), 201);
        let told: Vec<_> = answer.headers().get_all("x-told").iter().collect();
        assert_eq!(told, ["a", "b"]);
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        let event: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!((&event["rawPath"], &event["rawQueryString"]), (&json!("/g/a/model/x%3A0/invoke"), &json!("b=c")));
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("{\"a\": 1}"), &json!(false)));
        assert_eq!((&event["setting"], &event["version"]), (&json!("deployed"), &json!("2.0")));
        let page = world.ask(Request::get("/g/a").header("origin", "https://evil.example"), Bytes::new()).await;
        assert_eq!(page.status().as_u16(), 403);
        let large = Request::post("/g/a").header("content-type", "text/plain");
        let large = world.ask(large, Bytes::from(vec![b'a'; event::MOST_BYTES])).await;
        assert_eq!(large.status().as_u16(), 413);
    });
}

#[test]
fn a_function_that_fails_is_a_bad_gateway_and_a_process_that_ends_is_replaced() {
    let world = World::new("ended");
    block_on(async {
        assert_eq!(world.get("/fail").await.status().as_u16(), 502);
        // More than there are processes.
        for _ in 0..8 {
            assert_eq!(world.get("/die").await.status().as_u16(), 502);
        }
        assert_eq!(world.get("/g/a").await.status().as_u16(), 201);
        // An error in the midst of an answer breaks it off.
        let mut body = world.get("/break").await.into_body();
        let mut seen = BytesMut::new();
        let broken = loop {
            match body.frame().await {
                Some(Ok(frame)) => seen.extend_from_slice(frame.data_ref().expect("data")),
                Some(Err(_broken)) => break true,
                None => break false,
            }
        };
        assert!(broken && &seen[..] == b"one", "{seen:?}");
    });
    drop(world.governor);
}
