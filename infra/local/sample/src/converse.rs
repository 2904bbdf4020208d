//! One operation of Bedrock Runtime, over https with a bearer token, as every SDK for Bedrock sends it. A whole SDK would be the
//! largest thing in these small functions by far.

use std::env;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the environment lacks {0}")]
    Environment(&'static str),
    #[error("the authorities in {path}: {reason}")]
    Authorities { path: String, reason: String },
    #[error("the model: {0}")]
    Failed(String),
}

/// A model behind an endpoint of Bedrock Runtime.
pub struct Model {
    url: String,
    key: String,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// What came of a question.
#[derive(Debug)]
pub struct Answered {
    pub output_tokens: u64,
    /// The limit that held, where it was lowered.
    pub max_tokens: Option<u64>,
    /// The type of the error, where there is no answer.
    pub refused: Option<String>,
}

impl Model {
    /// With the key and the authorities that the function's environment names.
    ///
    /// # Errors
    /// When one of them is missing.
    pub fn from_environment(endpoint: &str, model: &str) -> Result<Self, Error> {
        let wanted = |name: &'static str| variable(name).ok_or(Error::Environment(name));
        let client = client(&wanted("AWS_CA_BUNDLE")?)?;
        let url = format!("{endpoint}/model/{}/converse", model.replace(':', "%3A"));
        Ok(Self { url, key: wanted("AWS_BEARER_TOKEN_BEDROCK")?, client })
    }

    /// # Errors
    /// When nothing was answered, or nothing that can be read.
    pub async fn ask(&self, question: &str, max_tokens: u64) -> Result<Answered, Error> {
        let failed = |reason: String| Error::Failed(reason);
        let body = json!({
            "messages": [{"role": "user", "content": [{"text": question}]}],
            "inferenceConfig": {"maxTokens": max_tokens},
        });
        let request = Request::post(&self.url)
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", self.key))
            .body(Full::from(body.to_string()))
            .map_err(|error| failed(error.to_string()))?;
        let response = self.client.request(request).await.map_err(|error| failed(error.to_string()))?;
        let header = |name: &str| response.headers().get(name)?.to_str().ok().map(str::to_owned);
        let (lowered, kind) = (header("sluice-max-tokens"), header("x-amzn-errortype"));
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| failed(error.to_string()))?.to_bytes();
        if !status.is_success() {
            return Ok(Answered {
                output_tokens: 0,
                max_tokens: None,
                refused: Some(kind.unwrap_or_else(|| status.to_string())),
            });
        }
        let answer: Value = serde_json::from_slice(&body).map_err(|error| failed(error.to_string()))?;
        Ok(Answered {
            output_tokens: answer["usage"]["outputTokens"].as_u64().unwrap_or_default(),
            max_tokens: lowered.and_then(|text| text.parse().ok()),
            refused: None,
        })
    }
}

fn client(authorities: &str) -> Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>, Error> {
    let refused = |reason: String| Error::Authorities { path: authorities.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(Path::new(authorities)).map_err(|error| refused(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| refused(error.to_string()))?;
        roots.add(certificate).map_err(|error| refused(error.to_string()))?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

#[expect(clippy::disallowed_methods, reason = "a sample has nothing else to configure")]
fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}
