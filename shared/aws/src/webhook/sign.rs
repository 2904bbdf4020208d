//! The signature of a webhook: that of the service `lambda`, as a Function URL with `AWS_IAM` checks it. Everything that tells
//! a receiver whose call this is lies inside the signature, the session token too.
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use crate::sigv4::{self, Scope, SignatureError};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{PayloadChecksumKind, SigningSettings};
use aws_smithy_runtime_api::client::identity::Identity;
use jiff::Timestamp;
use sluice_core::delivery::Delivery;
use std::time::SystemTime;
use url::{Position, Url};

const SERVICE: &str = "lambda";

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error("the address has no host")]
    NoHost,
    #[error("there is no signature")]
    Signature(#[from] SignatureError),
}

/// The headers of an attempt at `delivery`, without the signature.
pub fn headers(url: &Url, delivery: &Delivery, now: Timestamp) -> Result<Vec<(&'static str, String)>, SignError> {
    let host = &url[Position::BeforeHost..Position::AfterPort];
    if host.is_empty() {
        return Err(SignError::NoHost);
    }
    Ok(vec![
        ("host", host.to_owned()),
        ("content-type", "application/json".to_owned()),
        ("webhook-id", delivery.webhook_id()),
        ("webhook-timestamp", now.as_second().to_string()),
        ("webhook-attempt", delivery.attempts.to_string()),
        ("sluice-tenant-id", delivery.tenant_id.to_string()),
        ("sluice-run-id", delivery.run_id.to_string()),
    ])
}

/// Every header of the signed request: [`headers`] and those of the signature.
///
/// # Errors
/// When the URL has no host. Any other error is a fault of ours.
pub fn sign(
    url: &Url,
    region: &str,
    credentials: &Credentials,
    delivery: &Delivery,
    now: Timestamp,
) -> Result<Vec<(&'static str, String)>, SignError> {
    let mut all = headers(url, delivery, now)?;
    let mut settings = SigningSettings::default();
    // The body's hash as a header, so that it is part of the signature in so many words.
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let scope =
        Scope { service: SERVICE, region: region.to_owned(), identity: Identity::from(credentials.clone()), settings };
    let sent = all.iter().map(|(name, value)| (*name, value.as_str()));
    let signature = sigv4::sign(&scope, url.as_str(), sent, delivery.body.as_bytes(), SystemTime::from(now))?;
    all.extend(signature);
    Ok(all)
}
