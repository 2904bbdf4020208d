//! The door: requests become events, and what the function answers goes to the caller as it comes.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;
use sluice_bedrock::door::{Part, Request, Response, Serve};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::event;
use super::pool::Pool;
use super::runtime_api::Streamed;

pub(super) struct Door {
    pool: Arc<Pool>,
    port: u16,
    account: String,
}

impl Door {
    pub(super) fn new(pool: Arc<Pool>, port: u16, function_arn: &str) -> Self {
        let account = function_arn.split(':').nth(4).unwrap_or_default().to_owned();
        Self { pool, port, account }
    }
}

impl Serve for Door {
    #[expect(clippy::disallowed_methods, reason = "the door is no part of the product; its events have the real time")]
    async fn answer(self: Arc<Self>, request: Request) -> Option<Response> {
        if let Err(why) = admit(&request, self.port) {
            return Some(said(403, &format!("refused by the local stack: {why}")));
        }
        let id = Uuid::new_v4().to_string();
        let event = event::of(&request, &id, &self.account, Timestamp::now()).to_string();
        if event.len() > event::MOST_BYTES {
            return Some(said(413, "Request Entity Too Large"));
        }
        match self.pool.invoke(id, Bytes::from(event)).await {
            Ok(Streamed { prelude, body }) => Some(Response::new(prelude.status, prelude.headers, body)),
            // The function's own log says why.
            Err(_fault) => Some(said(502, "Internal Server Error")),
        }
    }
}

/// No page that is open in a browser gets in, as at the other ports: it cannot choose what its browser says of it.
fn admit(request: &Request, port: u16) -> Result<(), String> {
    let own = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    if !own.contains(&request.host)
        || request.headers.get_all("host").iter().any(|host| host.as_bytes() != request.host.as_bytes())
    {
        return Err(format!("a request for another host than {}", own[1]));
    }
    // Its own pages there are none.
    if request.headers.contains_key("origin") {
        return Err("a request of a web page".to_owned());
    }
    if request.headers.get_all("sec-fetch-site").iter().any(|site| site != "none") {
        return Err("a request of another site's page".to_owned());
    }
    if !request.body.is_empty() && !request.headers.contains_key("content-type") {
        return Err("a body without a content-type".to_owned());
    }
    Ok(())
}

fn said(status: u16, message: &str) -> Response {
    let body = Bytes::from(json!({"message": message}).to_string());
    let headers = vec![("content-type", "application/json".to_owned()), ("content-length", body.len().to_string())];
    let (sender, receiver) = mpsc::channel(1);
    // There is room for one, and nobody else has sent.
    drop(sender.try_send(Part::Data(body)));
    Response::new(status, headers, receiver)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::HeaderMap;

    fn refused(host: &str, headers: &[(&'static str, &str)], body: &'static [u8]) -> bool {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.append(*name, value.parse().expect("a value"));
        }
        let (method, target) = ("POST".to_owned(), "/g/x".to_owned());
        let request = Request { method, target, host: host.to_owned(), headers: all, body: Bytes::from_static(body) };
        admit(&request, 4443).is_err()
    }

    #[test]
    fn programs_get_in_and_no_web_page_does() {
        let json = ("content-type", "application/json");
        for host in ["localhost:4443", "127.0.0.1:4443"] {
            assert!(!refused(host, &[json], b"{}"), "{host}");
            assert!(!refused(host, &[("host", host)], b""), "{host}");
            assert!(!refused(host, &[("sec-fetch-site", "none")], b""), "{host}");
        }
        for host in ["", "localhost", "localhost:4444", "evil.example:4443", "localhost:4443.evil.example"] {
            assert!(refused(host, &[], b""), "{host}");
        }
        let own = "localhost:4443";
        for headers in [
            &[("host", own), ("host", "evil.example")][..],
            &[("origin", "https://localhost:4443")],
            &[("origin", "null")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
        ] {
            assert!(refused(own, headers, b""), "{headers:?}");
        }
        assert!(refused(own, &[], b"{}"), "a body that does not say what it is");
    }
}
