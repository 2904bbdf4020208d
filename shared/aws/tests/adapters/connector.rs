//! The connector of the AWS clients: over TLS, and before services that fail where only a connector sees it.

use crate::support::sample::{mine, run_id};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use sluice_aws::Aws;
use sluice_aws::config::{Endpoints, Settings};
use sluice_core::ports::{ListExecutions, LoadRun};
use sluice_testkit::fixture::runner_arn;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// A service behind TLS, with a certificate that nobody else vouches for.
struct Secure {
    endpoint: String,
    certificate: CertificateDer<'static>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    /// What was agreed on for each connection.
    protocols: Mutex<Vec<Option<Vec<u8>>>>,
    /// The method and `X-Amz-Target` of each request.
    requests: Mutex<Vec<String>>,
}

impl Secure {
    /// Answers the first calls with `first`, one each, and then as a service that has nothing. Closes the connection after
    /// each answer if it `hangs_up`.
    async fn start(first: &'static [u16], hangs_up: bool) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .expect("a server");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("https://localhost:{}", listener.local_addr().expect("an address").port());
        let seen: Arc<Seen> = Arc::default();
        let counted = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.connections.fetch_add(1, Ordering::SeqCst);
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&counted));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let agreed = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
                    seen.protocols.lock().expect("the list").push(agreed);
                    let answers = service_fn(move |request| answer(request, first, Arc::clone(&seen)));
                    let connection =
                        http1::Builder::new().keep_alive(!hangs_up).serve_connection(TokioIo::new(stream), answers);
                    drop(connection.await);
                });
            }
        });
        Self { endpoint, certificate, seen }
    }

    fn roots(&self) -> Option<Arc<RootCertStore>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a root");
        Some(Arc::new(roots))
    }

    fn pem(&self) -> String {
        let text = aws_smithy_types::base64::encode(&self.certificate);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    }

    /// A world in which it is all services and is trusted.
    fn settings(&self) -> Settings {
        Settings { roots: self.roots(), ..Settings::for_test(&self.endpoint) }
    }

    fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().expect("the list").clone()
    }
}

async fn answer(
    request: Request<Incoming>,
    first: &'static [u16],
    seen: Arc<Seen>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let said = format!("{} {target}", request.method()).trim_end().to_owned();
    let is_call = !target.is_empty();
    request.into_body().collect().await?;
    let mut requests = seen.requests.lock().expect("the list");
    let calls = requests.iter().filter(|said| said.starts_with("POST")).count();
    let (status, body) = match first.get(calls) {
        Some(status) if is_call => (*status, r#"{"__type":"InternalServerError","message":"as told"}"#),
        _ => (200, r#"{"executions":[]}"#),
    };
    requests.push(said);
    let body = Full::new(Bytes::from_static(body.as_bytes()));
    Ok(Response::builder().status(status).header("content-type", "application/x-amz-json-1.0").body(body).expect("one"))
}

async fn read(aws: &Aws) -> Result<(), String> {
    aws.store.load_run(&mine(), run_id(1)).await.map(drop).map_err(|error| format!("{error:?}"))
}

async fn list(aws: &Aws) -> Result<(), String> {
    aws.engine.running_executions(&runner_arn(), None).await.map(drop).map_err(|error| format!("{error:?}"))
}

#[tokio::test]
async fn calls_travel_over_one_connection_of_http_1_and_tls() {
    let service = Secure::start(&[], false).await;
    let aws = Aws::connect(&service.settings()).await;
    for _ in 0..3 {
        read(&aws).await.expect("an answer");
        list(&aws).await.expect("an answer of the other service");
    }
    assert_eq!(service.connections(), 1, "clients share the connections to one place");
    assert_eq!(*service.seen.protocols.lock().expect("the list"), [Some(b"http/1.1".to_vec())]);
}

#[tokio::test]
async fn a_service_that_nobody_vouches_for_is_told_nothing() {
    let (service, other) = (Secure::start(&[], false).await, Secure::start(&[], false).await);
    for roots in [None, other.roots()] {
        let aws = Aws::connect(&Settings { roots, ..service.settings() }).await;
        let error = read(&aws).await.expect_err("no answer");
        assert!(error.contains("certificate"), "{error}");
    }
    assert_eq!(service.requests(), [] as [&str; 0]);
}

#[tokio::test]
async fn a_bundle_of_certificates_is_trusted_instead_of_the_compiled_in_roots() {
    let service = Secure::start(&[], false).await;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let good = folder.join(format!("bundle-{}.pem", std::process::id()));
    let other = Secure::start(&[], false).await;
    fs::write(&good, format!("# ours\n{}\n{}", other.pem(), service.pem())).expect("a bundle");
    let empty = folder.join(format!("empty-{}.pem", std::process::id()));
    fs::write(&empty, "nothing\n").expect("a file");
    let settings = |bundle: &Path| {
        Settings::from_variables(|name| match name {
            "AWS_REGION" => Some("eu-west-1".to_owned()),
            "AWS_CA_BUNDLE" => Some(bundle.display().to_string()),
            "AWS_ENDPOINT_URL" => Some(service.endpoint.clone()),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" | "SLUICE_TABLE" => Some("x".to_owned()),
            _ => None,
        })
    };
    let aws = Aws::connect(&settings(&good).expect("settings")).await;
    read(&aws).await.expect("an answer");
    for (bundle, why) in [(empty, "has no certificate"), (folder.join("nowhere.pem"), "cannot be read")] {
        let error = settings(&bundle).expect_err(why).to_string();
        assert!(error.starts_with("environment variable AWS_CA_BUNDLE names ") && error.contains(why), "{error}");
    }
}

#[tokio::test]
async fn connections_are_opened_early_where_lambda_starts_the_function_and_there_is_tls() {
    let (table, engine) = (Secure::start(&[], false).await, Secure::start(&[], false).await);
    let mut roots = RootCertStore::empty();
    roots.add(table.certificate.clone()).expect("a root");
    roots.add(engine.certificate.clone()).expect("a root");
    let endpoints = Endpoints {
        dynamodb: Some(table.endpoint.clone()),
        sfn: Some(engine.endpoint.clone()),
        ..Endpoints::default()
    };
    let settings = Settings {
        endpoints,
        roots: Some(Arc::new(roots)),
        opens_early: true,
        ..Settings::for_test("https://localhost:1")
    };
    let aws = Aws::connect(&settings).await;
    assert_eq!((table.connections(), engine.connections()), (1, 1));
    read(&aws).await.expect("an answer");
    list(&aws).await.expect("an answer");
    assert_eq!((table.connections(), engine.connections()), (1, 1), "the first calls go over them");
    assert_eq!(engine.requests(), ["GET", "POST AWSStepFunctions.ListExecutions"]);
    // A function that calls the table alone.
    Aws::connect_store(&settings).await;
    assert_eq!((table.connections(), engine.connections()), (2, 1));
    // Elsewhere than in Lambda.
    Aws::connect(&Settings { opens_early: false, ..settings }).await;
    assert_eq!((table.connections(), engine.connections()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_opened_early_holds_nothing_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let silent = format!("https://{}", silent.local_addr().expect("an address"));
    for (endpoint, most) in [
        (silent.as_str(), Duration::from_millis(1_100)),
        ("https://127.0.0.1:1", Duration::from_millis(1_100)),
        ("https://", Duration::ZERO),
        ("no address", Duration::ZERO),
        // Without TLS nobody is asked.
        ("http://127.0.0.1:1", Duration::ZERO),
    ] {
        let settings = Settings { opens_early: true, ..Settings::for_test(endpoint) };
        let begun = Instant::now();
        Aws::connect(&settings).await;
        assert!(begun.elapsed() <= most, "{endpoint}: {:?} of {most:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_hangs_is_given_up_sooner_than_an_answer() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("https://{}", silent.local_addr().expect("an address"));
    let aws = Aws::connect(&Settings::for_test(&endpoint)).await;
    let begun = Instant::now();
    let error = read(&aws).await.expect_err("no answer");
    // Three attempts of 1.5 seconds with short pauses, where three of 2.5 would have run into the end of 8.
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert!(error.contains("no connection in time"), "{error}");
}

#[tokio::test]
async fn the_connection_of_an_attempt_that_failed_is_not_used_again() {
    let service = Secure::start(&[500, 500], false).await;
    let aws = Aws::connect(&service.settings()).await;
    read(&aws).await.expect("an answer at last");
    assert_eq!((service.requests().len(), service.connections()), (3, 3));
    read(&aws).await.expect("an answer");
    assert_eq!((service.requests().len(), service.connections()), (4, 3));
}

#[tokio::test]
async fn connections_that_the_service_closes_are_opened_anew() {
    let service = Secure::start(&[], true).await;
    let aws = Aws::connect(&service.settings()).await;
    for calls in 1..=5 {
        read(&aws).await.expect("an answer");
        assert_eq!(service.requests().len(), calls, "no call is made twice");
    }
    assert_eq!(service.connections(), 5);
}
