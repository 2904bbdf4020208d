//! The signature of a call: that of the service `bedrock`. The path is escaped once more than it is sent, as for every service but S3:
//! a model's `:` is sent as `%3A` and signed as `%253A`.
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use crate::sigv4::{self, Scope};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::SigningSettings;
use aws_smithy_runtime_api::client::identity::Identity;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use jiff::Timestamp;
use std::error::Error;
use std::time::SystemTime;

/// What signatures for the service are good for.
pub(super) fn scope(region: &str, credentials: &Credentials) -> Scope {
    Scope {
        service: "bedrock",
        region: region.to_owned(),
        identity: Identity::from(credentials.clone()),
        settings: SigningSettings::default(),
    }
}

/// Every header of the signed request: what is sent, the host, and the signature.
///
/// # Errors
/// When the URL has no host, or a header is none.
pub(super) fn signed(
    url: &Uri,
    scope: &Scope,
    sent: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<HeaderMap, Box<dyn Error + Send + Sync>> {
    let mut headers = sent.clone();
    let host = url.authority().map(|authority| authority.as_str()).unwrap_or_default();
    headers.insert(HOST, HeaderValue::from_str(host)?);
    let texts: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| Ok((name.as_str(), value.to_str()?)))
        .collect::<Result<_, http::header::ToStrError>>()?;
    let signature = sigv4::sign(scope, &url.to_string(), texts.into_iter(), body, SystemTime::from(now))?;
    for (name, value) in signature {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(&value)?);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By botocore 1.43.11 (`botocore.auth.SigV4Auth(credentials, "bedrock", "us-east-1")`) of the same request at the same time.
    const BY_BOTOCORE: &str = "AWS4-HMAC-SHA256 Credential=ASIASTANDIN/20261128/us-east-1/bedrock/aws4_request, \
        SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, \
        Signature=407a9875f2aa01c7ce0e80fd6d82ae5764a7ce5c56a2af415076c6ec9634ffc6";

    #[test]
    fn a_call_is_signed_as_botocore_signs_it() {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        let path = "/model/us.anthropic.claude-haiku-4-5-20251001-v1%3A0/converse";
        let body = r#"{"messages":[{"role":"user","content":[{"text":"hi"}]}]}"#;
        let url: Uri = format!("https://bedrock-runtime.us-east-1.amazonaws.com{path}").parse().expect("a URL");
        let credentials =
            Credentials::new("ASIASTANDIN", "a secret of tests", Some("a session of tests".to_owned()), None, "test");
        let now = "2026-11-28T00:17:04Z".parse().expect("a time");
        let signed = signed(&url, &scope("us-east-1", &credentials), &headers, body.as_bytes(), now).expect("signed");
        assert_eq!(signed["x-amz-date"], "20261128T001704Z");
        assert_eq!(signed["x-amz-security-token"], "a session of tests");
        let authorization = signed["authorization"].to_str().expect("text");
        assert_eq!(authorization, BY_BOTOCORE);
    }
}
