//! What a browser or curl talks to: the stack's own token issuer, and the proxy in front of ministack's API Gateway.
//!
//! The deployed API has a JWT authorizer, and ministack enforces it: it fetches the issuer's key set from here and checks
//! each token's RS256 signature, issuer, audience and times. The proxy mints a token for the tenant named in `x-dev-tenant`
//! where the caller brings none, so that a laptop needs no identity provider while the authorizer still does its work. The
//! one route without an authorizer gets no token from here either: what its callers show is a token of the run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, ORIGIN, TRANSFER_ENCODING,
};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::Error;
use crate::bridge::Bridge;
use crate::guard::SEC_FETCH_SITE;
use crate::ministack::KEY_HEADER;
use crate::server::{HttpClient, Servers, error_chain, listen, read_whole, respond};

pub(crate) const AUDIENCE: &str = "sluice";
const TENANT_CLAIM: &str = "tenant_id";
const OPERATOR_SCOPE: &str = "sluice/operator";
const TENANT_HEADER: HeaderName = HeaderName::from_static("x-dev-tenant");

const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);
const TOKEN_RENEWAL: Duration = Duration::from_secs(3000);

/// Serves the OpenID discovery document and the key set; returns the issuer's URL.
pub(crate) fn serve_issuer(servers: &Servers, bridge: &Bridge) -> Result<String, Error> {
    let keys = Bytes::from(bridge.ask_and_wait(json!({"op": "jwks"}))?.to_string());
    let (listener, address) = listen(0)?;
    let issuer = format!("http://{address}");
    let discovery = Bytes::from(
        json!({
            "issuer": issuer,
            "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["token"],
            "subject_types_supported": ["public"],
        })
        .to_string(),
    );
    servers.serve(listener, move |request: Request<Incoming>| {
        let response = match request.uri().path() {
            "/.well-known/openid-configuration" => respond(StatusCode::OK, "application/json", discovery.clone()),
            "/.well-known/jwks.json" => respond(StatusCode::OK, "application/json", keys.clone()),
            _ => respond(StatusCode::NOT_FOUND, "text/plain", "this is the local stack's token issuer\n"),
        };
        async move { Some(response) }
    })?;
    Ok(issuer)
}

/// Mints tokens, one per tenant, and keeps them until shortly before they expire.
pub(crate) struct Minter {
    bridge: Arc<Bridge>,
    issuer: String,
    operator_tenant: String,
    minted: Mutex<HashMap<String, (Instant, String)>>,
}

impl Minter {
    pub(crate) fn new(bridge: Arc<Bridge>, issuer: String, operator_tenant: String) -> Self {
        Self { bridge, issuer, operator_tenant, minted: Mutex::default() }
    }

    pub(crate) async fn token(&self, tenant: &str) -> Result<String, String> {
        let known = self.minted.lock().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned();
        if let Some((minted_at, token)) = known
            && minted_at.elapsed() < TOKEN_RENEWAL
        {
            return Ok(token);
        }
        let token = self.mint(self.claims(tenant), TOKEN_LIFETIME).await?;
        let mut minted = self.minted.lock().unwrap_or_else(PoisonError::into_inner);
        minted.insert(tenant.to_owned(), (Instant::now(), token.clone()));
        Ok(token)
    }

    pub(crate) fn claims(&self, tenant: &str) -> Value {
        let scope = if tenant == self.operator_tenant { OPERATOR_SCOPE } else { "" };
        json!({"iss": self.issuer, "aud": AUDIENCE, "sub": format!("{tenant}-on-a-laptop"), TENANT_CLAIM: tenant, "scope": scope})
    }

    pub(crate) async fn mint(&self, claims: Value, lifetime: Duration) -> Result<String, String> {
        let question = json!({"op": "mint", "claims": claims, "lifetimeSeconds": lifetime.as_secs()});
        let answer = self.bridge.ask(question).await.map_err(|error| error.to_string())?;
        answer.as_str().map(str::to_owned).ok_or_else(|| "the minted token is no text".to_owned())
    }
}

/// Whether the route is open to the network, by the template.
fn is_open(method: &Method, path: &str) -> bool {
    let run = path.strip_prefix("/v1/workflow-runs/").and_then(|rest| rest.strip_suffix("/report"));
    method == Method::POST && run.is_some_and(|run| !run.is_empty() && !run.contains('/'))
}

/// Serves the API: everything is passed on to `gateway_url`, with the emulator's key, and with a token where the caller brings
/// none and needs one.
pub(crate) fn serve_proxy(
    servers: &Servers,
    listener: std::net::TcpListener,
    gateway_url: String,
    emulator_key: &str,
    minter: Arc<Minter>,
) -> Result<(), Error> {
    let client = servers.client();
    let key = HeaderValue::try_from(emulator_key).map_err(|error| Error::Io {
        what: "making the emulator's key a header".to_owned(),
        cause: std::io::Error::other(error),
    })?;
    let gateway_url = Arc::<str>::from(gateway_url);
    servers.serve(listener, move |request| {
        let (client, gateway_url, minter) = (client.clone(), Arc::clone(&gateway_url), Arc::clone(&minter));
        let key = key.clone();
        async move {
            let passed = pass_on(request, &client, &gateway_url, key, &minter).await;
            Some(passed.unwrap_or_else(|reason| {
                let body = json!({"message": format!("the local API proxy could not pass the request on: {reason}")});
                respond(StatusCode::BAD_GATEWAY, "application/json", body.to_string())
            }))
        }
    })
}

async fn pass_on(
    request: Request<Incoming>,
    client: &HttpClient,
    gateway_url: &str,
    emulator_key: HeaderValue,
    minter: &Minter,
) -> Result<Response<Full<Bytes>>, String> {
    let (mut parts, body) = request.into_parts();
    let body = read_whole(body).await.map_err(|error| error_chain(&error))?;

    let tenant = parts.headers.remove(TENANT_HEADER);
    if !parts.headers.contains_key(AUTHORIZATION) && !is_open(&parts.method, parts.uri.path()) {
        let tenant = tenant.as_ref().map_or(Ok(minter.operator_tenant.as_str()), HeaderValue::to_str);
        let tenant = tenant.map_err(|_not_ascii| format!("{TENANT_HEADER} is not plain text"))?;
        let token = minter.token(tenant).await?;
        let value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|error| error.to_string())?;
        parts.headers.insert(AUTHORIZATION, value);
    }

    let target = parts.uri.path_and_query().map_or("/", hyper::http::uri::PathAndQuery::as_str);
    let mut onward = Request::builder().method(parts.method).uri(format!("{gateway_url}{target}"));
    if let Some(headers) = onward.headers_mut() {
        *headers = parts.headers;
        // These belong to the caller's connection, the client sets its own; and who asks has been checked at this door.
        for name in [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, ORIGIN, SEC_FETCH_SITE] {
            headers.remove(name);
        }
        headers.insert(KEY_HEADER, emulator_key);
    }
    let onward = onward.body(Full::new(body)).map_err(|error| error.to_string())?;
    let response = client.request(onward).await.map_err(|error| error_chain(&error))?;

    let (mut parts, body) = response.into_parts();
    let body = read_whole(body).await.map_err(|error| error_chain(&error))?;
    for name in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        parts.headers.remove(name);
    }
    Ok(Response::from_parts(parts, Full::new(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_report_is_passed_on_without_a_token() {
        assert!(is_open(&Method::POST, "/v1/workflow-runs/0b0f5c1e-64a5-4d3a-9a5e-5d9f3e0c7a11/report"));
        for path in [
            "/v1/workflow-runs",
            "/v1/workflow-runs/report",
            "/v1/workflow-runs//report",
            "/v1/workflow-runs/r/report-tokens",
            "/v1/workflow-runs/r/steps/report",
        ] {
            assert!(!is_open(&Method::POST, path), "{path}");
        }
        assert!(!is_open(&Method::GET, "/v1/workflow-runs/r/report"));
    }
}
