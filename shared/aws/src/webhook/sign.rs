//! The signature of a webhook. Pure: credentials and time come in, headers come out.
//!
//! AWS Signature Version 4 for the service `lambda`, as a Function URL with `AWS_IAM` checks it. Everything that tells
//! a receiver whose call this is lies inside the signature, the session token too.
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningError, SigningSettings};
use aws_sigv4::sign::v4;
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
    #[error("the signing parameters are incomplete")]
    Parameters(#[source] v4::signing_params::BuildError),
    #[error("the request cannot be signed")]
    Request(#[source] SigningError),
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
    let identity = credentials.clone().into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(SERVICE)
        .time(SystemTime::from(now))
        .settings(settings)
        .build()
        .map_err(SignError::Parameters)?
        .into();
    let request = SignableRequest::new(
        "POST",
        url.as_str(),
        all.iter().map(|(name, value)| (*name, value.as_str())),
        SignableBody::Bytes(delivery.body.as_bytes()),
    )
    .map_err(SignError::Request)?;
    let signed = aws_sigv4::http_request::sign(request, &parameters).map_err(SignError::Request)?;
    let (instructions, _) = signed.into_parts();
    let (signature, _) = instructions.into_parts();
    all.extend(signature.into_iter().map(|header| (header.name(), header.value().to_owned())));
    Ok(all)
}
