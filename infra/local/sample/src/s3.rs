//! Two S3 calls, GetObject and PutObject, signed with the function's role. The whole S3 client would be the largest thing in
//! these small functions by far. Plain http only: they run on the local emulator.

use std::env;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the environment lacks {0}")]
    Environment(&'static str),
    #[error("{method} {bucket}/{key} answered {status}")]
    Refused { method: &'static str, bucket: String, key: String, status: u16 },
    #[error("{method} {bucket}/{key}: {reason}")]
    Failed { method: &'static str, bucket: String, key: String, reason: String },
}

pub struct S3 {
    endpoint_url: String,
    region: String,
    credentials: Credentials,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl S3 {
    /// With what the Lambda environment says about region and credentials.
    pub fn from_environment() -> Result<Self, Error> {
        let wanted = |name: &'static str| variable(name).ok_or(Error::Environment(name));
        Ok(Self {
            endpoint_url: wanted("AWS_ENDPOINT_URL")?,
            region: wanted("AWS_REGION")?,
            credentials: Credentials::new(
                wanted("AWS_ACCESS_KEY_ID")?,
                wanted("AWS_SECRET_ACCESS_KEY")?,
                variable("AWS_SESSION_TOKEN").filter(|token| !token.is_empty()),
                None,
                "environment",
            ),
            client: Client::builder(TokioExecutor::new()).build_http(),
        })
    }

    pub async fn get(&self, bucket: &str, key: &str) -> Result<Bytes, Error> {
        self.call("GET", bucket, key, Bytes::new()).await
    }

    pub async fn put(&self, bucket: &str, key: &str, content: Bytes) -> Result<(), Error> {
        self.call("PUT", bucket, key, content).await.map(drop)
    }

    async fn call(&self, method: &'static str, bucket: &str, key: &str, content: Bytes) -> Result<Bytes, Error> {
        let failed = |reason: String| Error::Failed { method, bucket: bucket.to_owned(), key: key.to_owned(), reason };
        let url = format!("{}/{}/{}", self.endpoint_url, encoded(bucket), encoded(key));
        let identity = self.credentials.clone().into();
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        // S3 signs the path as it is sent, encoded once and not normalized.
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("s3")
            .time(now())
            .settings(settings)
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let signable = SignableRequest::new(method, &url, std::iter::empty(), SignableBody::Bytes(&content))
            .map_err(|error| failed(error.to_string()))?;
        let (instructions, _) = sign(signable, &params.into()).map_err(|error| failed(error.to_string()))?.into_parts();
        let mut request = Request::builder()
            .method(method)
            .uri(&url)
            .body(Full::new(content))
            .map_err(|error| failed(error.to_string()))?;
        instructions.apply_to_request_http1x(&mut request);

        let response = self.client.request(request).await.map_err(|error| failed(error.to_string()))?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| failed(error.to_string()))?.to_bytes();
        if status.is_success() {
            Ok(body)
        } else {
            Err(Error::Refused { method, bucket: bucket.to_owned(), key: key.to_owned(), status: status.as_u16() })
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a sample has nothing else to configure")]
fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

#[expect(clippy::disallowed_methods, reason = "a signature carries the real time")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// A path with everything encoded but RFC 3986's unreserved characters and the slashes.
fn encoded(path: &str) -> String {
    path.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_encoded_but_for_its_slashes() {
        assert!(encoded("reports/a b+ü.json") == "reports/a%20b%2B%C3%BC.json");
    }
}
