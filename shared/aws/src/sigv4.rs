//! Signatures. Pure: credentials and time come in, headers come out.
//!
//! AWS Signature Version 4.
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningError, SigningSettings};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use std::time::SystemTime;

/// What a signature is good for, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub service: &'static str,
    pub region: String,
    pub identity: Identity,
    pub settings: SigningSettings,
}

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    #[error("the signing parameters are incomplete")]
    Parameters(#[source] v4::signing_params::BuildError),
    #[error("the request cannot be signed")]
    Request(#[source] SigningError),
}

/// The headers of the signature of a POST to `url` with these headers, the host among them.
pub(crate) fn sign<'a>(
    scope: &Scope,
    url: &'a str,
    headers: impl Iterator<Item = (&'a str, &'a str)>,
    body: &'a [u8],
    now: SystemTime,
) -> Result<Vec<(&'static str, String)>, SignatureError> {
    let parameters = v4::SigningParams::builder()
        .identity(&scope.identity)
        .region(&scope.region)
        .name(scope.service)
        .time(now)
        .settings(scope.settings.clone())
        .build()
        .map_err(SignatureError::Parameters)?
        .into();
    let request = SignableRequest::new("POST", url, headers, SignableBody::Bytes(body));
    let signed = aws_sigv4::http_request::sign(request.map_err(SignatureError::Request)?, &parameters);
    let (instructions, _) = signed.map_err(SignatureError::Request)?.into_parts();
    let (signature, _) = instructions.into_parts();
    Ok(signature.into_iter().map(|header| (header.name(), header.value().to_owned())).collect())
}
