//! Webhooks against receivers of every temper.

use crate::support::http::{Whole, header, serve};
use crate::support::sample::{at, delivery, mine, noon, run};
use aws_credential_types::Credentials;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use sluice_aws::webhook::{Bounds, Sender, sign};
use sluice_core::delivery::{AttemptOutcome, Delivery, Pace};
use sluice_core::destination::Destinations;
use sluice_core::ports::SendWebhook;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn credentials() -> Credentials {
    Credentials::new(
        "AKIDEXAMPLE",
        "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        Some("session/token==".to_owned()),
        None,
        "test",
    )
}

fn owed() -> Delivery {
    Delivery { attempts: 3, ..delivery(&run(&mine(), 26, noon()), 1, noon()) }
}

fn to(origins: &[String]) -> Sender {
    let destinations = Destinations { regions: vec!["eu-west-1".to_owned()], extra_origins: origins.to_vec() };
    Sender::new(destinations, credentials())
}

async fn send_to(address: SocketAddr) -> AttemptOutcome {
    send_within(PATIENCE, address).await
}

async fn send_within(patience: Duration, address: SocketAddr) -> AttemptOutcome {
    let origin = format!("http://{address}");
    let sender = to(std::slice::from_ref(&origin));
    sender.send_webhook(&format!("{origin}/hook"), &owed(), noon(), patience).await
}

const PATIENCE: Duration = Pace::FromTheQueue.patience();
/// For receivers that would take for ever.
const IMPATIENT: Duration = Duration::from_millis(300);

fn unreachable(class: &str) -> AttemptOutcome {
    AttemptOutcome::Unreachable { error_class: class.to_owned() }
}

/// A receiver that is handed the bare connection.
async fn raw<F, Fut>(talk: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(talk(stream));
        }
    });
    address
}

async fn read_request(stream: &mut TcpStream) {
    let mut seen = Vec::new();
    while !seen.ends_with(b"1.10}") {
        assert_ne!(stream.read_buf(&mut seen).await.expect("a request"), 0);
    }
}

#[test]
fn a_signature_is_the_same_for_the_same_attempt() {
    let url = "https://abcdefghijklmnopqrstuvwxyz012345.lambda-url.eu-west-1.on.aws/a%20b/c?x=1&a=%2F"
        .parse()
        .expect("a URL");
    let signed = sign::sign(&url, "eu-west-1", &credentials(), &owed(), noon()).expect("signed");
    let text: String = signed.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    insta::assert_snapshot!("webhook-headers", text);
}

#[test]
fn every_part_of_an_attempt_is_inside_its_signature() {
    let url: url::Url =
        "https://abcdefghijklmnopqrstuvwxyz012345.lambda-url.eu-west-1.on.aws/hook".parse().expect("a URL");
    let signature = |url: &url::Url, region: &str, credentials: Credentials, delivery: &Delivery, now| {
        let signed = sign::sign(url, region, &credentials, delivery, now).expect("signed");
        let value = |name: &str| signed.iter().find(|(found, _)| *found == name).map(|(_, value)| value.clone());
        value("authorization").expect("a signature").rsplit('=').next().expect("a value").to_owned()
    };
    let base = owed();
    let mut seen = std::collections::BTreeSet::from([signature(&url, "eu-west-1", credentials(), &base, noon())]);
    let without_token = Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None, None, "test");
    let others = [
        signature(&url, "us-east-1", credentials(), &base, noon()),
        signature(&url, "eu-west-1", without_token, &base, noon()),
        signature(&url, "eu-west-1", credentials(), &base, at("2026-11-22T12:00:01.123Z")),
        signature(&url, "eu-west-1", credentials(), &Delivery { attempts: 4, ..base.clone() }, noon()),
        signature(&url, "eu-west-1", credentials(), &Delivery { number: 2, ..base.clone() }, noon()),
        signature(
            &url,
            "eu-west-1",
            credentials(),
            &Delivery { tenant_id: crate::support::sample::yours(), ..base.clone() },
            noon(),
        ),
        signature(&url, "eu-west-1", credentials(), &Delivery { body: "{}".to_owned(), ..base.clone() }, noon()),
        signature(&url.join("/other").expect("a URL"), "eu-west-1", credentials(), &base, noon()),
        signature(&url.join("/hook?x=1").expect("a URL"), "eu-west-1", credentials(), &base, noon()),
    ];
    for (index, other) in others.into_iter().enumerate() {
        assert!(seen.insert(other), "{index}");
    }
}

#[tokio::test]
async fn the_body_and_every_signed_header_arrive_as_they_were_signed() {
    let received: Arc<Mutex<Vec<Whole>>> = Arc::default();
    let seen = Arc::clone(&received);
    let address = serve(move |request: Whole| {
        seen.lock().expect("the list").push(request);
        async { Some(Response::new(Full::new(Bytes::new()))) }
    })
    .await;
    let origin = format!("http://{address}");
    let url = format!("{origin}/a%20b/?x=1&a=%2F");
    let outcome = to(&[origin]).send_webhook(&url, &owed(), noon(), PATIENCE).await;
    assert_eq!(outcome, AttemptOutcome::Delivered { http_status: Some(200) });

    let received = received.lock().expect("the list");
    let [request] = received.as_slice() else { panic!("one request") };
    assert_eq!((request.method().as_str(), request.uri().to_string().as_str()), ("POST", "/a%20b/?x=1&a=%2F"));
    assert_eq!(*request.body(), owed().body);
    let signed =
        sign::sign(&url.parse().expect("a URL"), "eu-west-1", &credentials(), &owed(), noon()).expect("signed");
    for (name, value) in &signed {
        assert_eq!(header(request, name), *value, "{name}");
        assert_eq!(request.headers().get_all(*name).iter().count(), 1, "{name}");
    }
    let authorization = header(request, "authorization");
    let inside = "SignedHeaders=content-type;host;sluice-run-id;sluice-tenant-id;webhook-attempt;webhook-id;webhook-timestamp;x-amz-content-sha256;x-amz-date;x-amz-security-token,";
    assert!(authorization.contains(inside), "{authorization}");
    assert!(authorization.contains("/20261122/eu-west-1/lambda/aws4_request"), "{authorization}");
    assert_eq!(header(request, "webhook-id"), format!("{}.1", owed().run_id));
    assert_eq!(
        (header(request, "webhook-attempt"), header(request, "content-type")),
        ("3".to_owned(), "application/json".to_owned())
    );
}

#[tokio::test]
async fn every_status_has_its_meaning() {
    let rejected = |http_status, retry_after_seconds| AttemptOutcome::Rejected { http_status, retry_after_seconds };
    for (status, retry_after, expected) in [
        (200, None, AttemptOutcome::Delivered { http_status: Some(200) }),
        (204, None, AttemptOutcome::Delivered { http_status: Some(204) }),
        (299, None, AttemptOutcome::Delivered { http_status: Some(299) }),
        (301, None, rejected(301, None)),
        (304, None, rejected(304, None)),
        (400, Some("5"), rejected(400, None)),
        (403, None, rejected(403, None)),
        (410, Some("5"), AttemptOutcome::Gone),
        (429, None, rejected(429, None)),
        (429, Some("7"), rejected(429, Some(7))),
        (503, Some("Sun, 22 Nov 2026 12:01:00 GMT"), rejected(503, Some(60))),
        (503, Some("soon"), rejected(503, None)),
        (500, Some("5"), rejected(500, None)),
    ] {
        let address = serve(move |_| {
            let mut response = Response::builder().status(status);
            if let Some(value) = retry_after {
                response = response.header("retry-after", value);
            }
            let response = response.body(Full::new(Bytes::new())).expect("a response");
            async move { Some(response) }
        })
        .await;
        assert_eq!(send_to(address).await, expected, "{status} {retry_after:?}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let calls: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&calls);
    let address = serve(move |request: Whole| {
        seen.lock().expect("the list").push(request.uri().to_string());
        let response = Response::builder().status(307).header("location", "/elsewhere");
        let response = response.body(Full::new(Bytes::new())).expect("a response");
        async move { Some(response) }
    })
    .await;
    assert_eq!(send_to(address).await, AttemptOutcome::Rejected { http_status: 307, retry_after_seconds: None });
    assert_eq!(*calls.lock().expect("the list"), ["/hook"]);
}

#[tokio::test]
async fn a_receiver_that_hangs_times_out() {
    let address = raw(|mut stream| async move {
        read_request(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    assert_eq!(send_within(IMPATIENT, address).await, unreachable("timeout"));
}

#[tokio::test]
async fn a_response_head_that_drips_times_out() {
    let address = raw(|mut stream| async move {
        read_request(&mut stream).await;
        for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".iter().cycle() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    })
    .await;
    assert_eq!(send_within(IMPATIENT, address).await, unreachable("timeout"));
}

#[tokio::test]
async fn a_body_that_never_ends_does_not_hold_up_what_its_status_has_decided() {
    let address = raw(|mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.expect("written");
        while stream.write_all(b"1\r\nx\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(send_to(address).await, AttemptOutcome::Delivered { http_status: Some(200) });
}

#[tokio::test]
async fn an_attempt_is_over_within_its_patience_whatever_the_receiver_does() {
    // The head comes late, and the body never ends: both together are not waited for longer than either alone.
    let address = raw(|mut stream| async move {
        read_request(&mut stream).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.expect("written");
        while stream.write_all(b"1\r\nx\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let patience = Duration::from_millis(600);
    let origin = format!("http://{address}");
    // The bound on the body alone would let it take a minute.
    let sender = to(std::slice::from_ref(&origin)).within(Bounds {
        body: Duration::from_secs(60),
        body_bytes: usize::MAX,
        ..Bounds::default()
    });
    let begun = std::time::Instant::now();
    let outcome = sender.send_webhook(&format!("{origin}/hook"), &owed(), noon(), patience).await;
    assert_eq!(outcome, AttemptOutcome::Delivered { http_status: Some(200) });
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn of_a_large_body_only_the_beginning_is_read() {
    let written = Arc::new(Mutex::new(0));
    let count = Arc::clone(&written);
    let address = raw(move |mut stream| {
        let count = Arc::clone(&count);
        async move {
            read_request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n").await.expect("written");
            let chunk = vec![b'x'; 64 * 1024];
            while stream.write_all(&chunk).await.is_ok() {
                *count.lock().expect("the count") += chunk.len();
            }
        }
    })
    .await;
    assert_eq!(send_to(address).await, AttemptOutcome::Delivered { http_status: Some(200) });
    // What the sockets buffer is beyond us; a gigabyte it is not.
    assert!(*written.lock().expect("the count") < 64 * 1024 * 1024);
}

#[tokio::test]
async fn a_connection_that_breaks_is_a_reset() {
    let closed = raw(|mut stream| async move { read_request(&mut stream).await }).await;
    assert_eq!(send_to(closed).await, unreachable("reset"));
    let garbled = raw(|mut stream| async move {
        read_request(&mut stream).await;
        let _may_be_gone = stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n\r\n").await;
    })
    .await;
    assert_eq!(send_to(garbled).await, unreachable("reset"));
}

#[tokio::test]
async fn nobody_at_home_is_a_failed_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    assert_eq!(send_to(address).await, unreachable("connect"));
}

#[tokio::test]
async fn a_receiver_without_tls_has_no_https() {
    let address = raw(|mut stream| async move {
        let _may_be_gone = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    })
    .await;
    let origin = format!("https://{address}");
    let sender = to(std::slice::from_ref(&origin));
    assert_eq!(sender.send_webhook(&format!("{origin}/hook"), &owed(), noon(), PATIENCE).await, unreachable("tls"));
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_said_so() {
    let origin = "http://does-not-exist.invalid".to_owned();
    let sender = to(std::slice::from_ref(&origin));
    assert_eq!(sender.send_webhook(&origin, &owed(), noon(), PATIENCE).await, unreachable("dns"));
}

#[tokio::test]
async fn what_is_not_admitted_now_gets_nothing() {
    let calls = Arc::new(Mutex::new(0));
    let count = Arc::clone(&calls);
    let address = serve(move |_| {
        *count.lock().expect("the count") += 1;
        async { Some(Response::new(Full::new(Bytes::new()))) }
    })
    .await;
    let sender = to(&[]);
    for url in [
        format!("http://{address}/hook"),
        format!("https://{address}/hook"),
        format!("http://localhost:{}/hook", address.port()),
        "https://abcdefghijklmnopqrstuvwxyz012345.lambda-url.us-east-1.on.aws/".to_owned(),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "nonsense".to_owned(),
    ] {
        assert_eq!(sender.send_webhook(&url, &owed(), noon(), PATIENCE).await, unreachable("refused_address"), "{url}");
    }
    assert_eq!(*calls.lock().expect("the count"), 0);
}
