//! The control port, as a test in another process uses it.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sluice_bedrock::Bedrock;
use tokio::net::TcpStream;

use crate::client::{Call, Door, Signer, bedrock};
use crate::operations::{CLAUDE, converse};

async fn ask(
    bedrock: &Bedrock,
    method: &str,
    target: &str,
    body: Option<Value>,
    extra: &[(&str, &str)],
) -> (u16, Value) {
    let authority = bedrock.control_url.trim_start_matches("http://");
    let stream = TcpStream::connect(authority).await.expect("a connection");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a handshake");
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(target).header("content-type", "application/json");
    if !extra.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", authority);
    }
    for (name, value) in extra {
        request = request.header(*name, *value);
    }
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let request = request.body(Full::new(Bytes::from(body))).expect("a request");
    let (parts, body) = sender.send_request(request).await.expect("an answer").into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    (parts.status.as_u16(), serde_json::from_slice(&body).expect("JSON"))
}

#[tokio::test]
async fn a_script_goes_once_and_only_where_it_is_meant() {
    let bedrock = bedrock();
    let script = json!({"plays": ["error=429", "error=503"], "only": "scripted"});
    assert_eq!(ask(&bedrock, "POST", "/script", Some(script), &[]).await.0, 200);
    let script = json!({"plays": ["error=500"], "operation": "CountTokens"});
    assert_eq!(ask(&bedrock, "POST", "/script", Some(script), &[]).await.0, 200);
    let mut statuses = Vec::new();
    for text in ["plain", "scripted", "scripted [[bedrock error=400]]", "scripted"] {
        let call = Call::new(format!("/model/{CLAUDE}/converse"), &converse(text));
        statuses.push(Door::Http2.call(&bedrock, call).await.status);
    }
    assert_eq!(statuses, [200, 429, 503, 200]);
    // A count goes by what is said of counts, not by the prompt that it counts.
    let body = json!({"input": {"converse": converse("[[bedrock error=400]]")}});
    let mut statuses = Vec::new();
    for _ in 0..2 {
        let call = Call::new(format!("/model/{CLAUDE}/count-tokens"), &body);
        statuses.push(Door::Http1.call(&bedrock, call).await.status);
    }
    assert_eq!(statuses, [500, 200]);
}

#[tokio::test]
async fn the_books_are_read_and_calls_let_go_from_outside() {
    let bedrock = bedrock();
    let stepped = converse("[[bedrock stepped name=one tokens=5]]");
    let call = Call::new(format!("/model/{CLAUDE}/converse-stream"), &stepped);
    let mut opened = Door::Http1.open(&bedrock, call).await.expect("an answer");
    assert_eq!(ask(&bedrock, "POST", "/calls/one/step", Some(json!({"frames": 1})), &[]).await.0, 200);
    opened.next().await.expect("a frame").expect("no break");
    let (status, entry) = ask(&bedrock, "GET", "/calls/one?frames=1&waitSeconds=20", None, &[]).await;
    assert_eq!((status, entry["state"].as_str(), entry["frames"].as_u64()), (200, Some("open"), Some(1)));
    assert_eq!(ask(&bedrock, "POST", "/calls/one/release", None, &[]).await.0, 200);
    opened.whole().await;
    let (_, entry) = ask(&bedrock, "GET", "/calls/1?ended=true&waitSeconds=20", None, &[]).await;
    assert_eq!((entry["state"].as_str(), entry["tokens"]["output"].as_u64()), (Some("served"), Some(5)));
    let (_, books) = ask(&bedrock, "GET", "/books?calls=1&waitSeconds=20", None, &[]).await;
    assert_eq!(books["calls"][0], entry);
    assert_eq!(books["sum"]["costUsd"], entry["costUsd"]);
    assert_eq!(books, bedrock.service().books.shown());
    assert_eq!(ask(&bedrock, "GET", "/books?calls=2", None, &[]).await.0, 408);
}

#[tokio::test]
async fn keys_and_prices_are_told_while_it_runs() {
    let bedrock = bedrock();
    let key = json!({"keys": [{"accessKeyId": "ASIANEW", "secretAccessKey": "new"}], "bearerTokens": ["new-token"]});
    assert_eq!(ask(&bedrock, "POST", "/keys", Some(key), &[]).await.0, 200);
    let key = sluice_bedrock::Key {
        access_key_id: "ASIANEW".to_owned(),
        secret_access_key: "new".to_owned(),
        session_token: None,
    };
    let signer = Signer { key, ..Signer::default() };
    let mut call = Call::new(format!("/model/{CLAUDE}/converse"), &converse("x"));
    let url = format!("{}{}", Door::Plain.url(&bedrock), call.target);
    call.headers.extend(signer.headers(&url, &call.headers, &call.body));
    assert_eq!(Door::Plain.send(&bedrock, call).await.expect("an answer").status, 200);
    let call =
        Call::new(format!("/model/{CLAUDE}/converse"), &converse("x")).header("authorization", "Bearer new-token");
    assert_eq!(Door::Http2.send(&bedrock, call).await.expect("an answer").status, 200);

    assert_eq!(ask(&bedrock, "PUT", "/prices", Some(json!({"models": []})), &[]).await.0, 200);
    let call = Call::new(format!("/model/{CLAUDE}/converse"), &converse("x"));
    assert_eq!(Door::Http2.call(&bedrock, call).await.error(), (400, "ValidationException"));
    assert_eq!(ask(&bedrock, "PUT", "/prices", Some(json!({"models": [{}]})), &[]).await.0, 400);
}

#[tokio::test]
async fn no_page_of_a_browser_and_no_misspelling_gets_through() {
    let bedrock = bedrock();
    for headers in [[("origin", "http://127.0.0.1:1")], [("sec-fetch-site", "same-site")], [("host", "evil.example")]] {
        assert_eq!(ask(&bedrock, "GET", "/books", None, &headers).await.0, 403, "{headers:?}");
    }
    let own = bedrock.control_url.trim_start_matches("http://").to_owned();
    let twice = [("host", own.as_str()), ("host", "evil.example")];
    assert_eq!(ask(&bedrock, "GET", "/books", None, &twice).await.0, 403, "{twice:?}");
    for (method, target, body, status) in [
        ("POST", "/script", json!({"plays": ["typo"]}), 400),
        ("POST", "/script", json!({"plais": []}), 400),
        ("POST", "/calls/1/step", json!({"frames": -1}), 400),
        ("GET", "/calls/1?frames=x", Value::Null, 400),
        ("DELETE", "/books", Value::Null, 404),
        ("GET", "/calls/1", Value::Null, 408),
    ] {
        let body = (!body.is_null()).then_some(body);
        assert_eq!(ask(&bedrock, method, target, body, &[]).await.0, status, "{method} {target}");
    }
}
