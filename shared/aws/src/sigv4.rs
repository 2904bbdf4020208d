//! Signatures. Pure: credentials and time come in, headers come out.
//!
//! AWS Signature Version 4.
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>
//!
//! Decision (2026-11-29): the canonical request of a call of AWS is made here, and only keys and signatures are by `aws-sigv4`. It signs
//! any request to any URL, which was 9 % of the instructions of `create-run` without those of SHA-256; and of these, a sixth went into
//! keys, each of which is good for a day.

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningError, SigningSettings};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// What is escaped in the path that is signed, `%` too: what is escaped already is escaped once more.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');
pub(crate) const DATE: &str = "x-amz-date";
pub(crate) const TOKEN: &str = "x-amz-security-token";

/// Signs the calls of one service: each a POST without a query, to a path without `.`, `..` and empty parts.
pub(crate) struct Signer {
    service: &'static str,
    region: String,
    credentials: Credentials,
    /// The latest day on which something was signed, and its key.
    key: Mutex<Option<(String, Key)>>,
}

type Key = Arc<[u8]>;

/// The headers that a signature consists of.
#[derive(Debug)]
pub(crate) struct Signature<'a> {
    /// `x-amz-date`
    pub date: String,
    /// `x-amz-security-token`
    pub token: Option<&'a str>,
    pub authorization: String,
}

impl Signer {
    pub fn new(service: &'static str, region: &str, credentials: &Credentials) -> Self {
        Self { service, region: region.to_owned(), credentials: credentials.clone(), key: Mutex::default() }
    }

    /// The signature of a call with these headers, beside the host; no value has spaces at its ends or two in a row.
    pub fn sign<'a>(
        &self,
        host: &str,
        path: &str,
        headers: impl Iterator<Item = (&'a str, &'a str)>,
        body: &[u8],
        now: Timestamp,
    ) -> Signature<'_> {
        let mut date = format!("{now:.0}");
        date.retain(|character| !matches!(character, '-' | ':'));
        let day = &date[.."yyyymmdd".len()];
        let token = self.credentials.session_token();
        let own = [Some(("host", host)), Some((DATE, date.as_str())), token.map(|token| (TOKEN, token))];
        let mut headers: Vec<(&str, &str)> = headers.collect();
        headers.extend(own.into_iter().flatten());
        headers.sort_unstable();
        let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");

        let mut request = String::with_capacity(1_024);
        request += "POST\n";
        request.extend(utf8_percent_encode(path, ESCAPED));
        request += "\n\n";
        for (name, value) in headers {
            request.extend([name, ":", value, "\n"]);
        }
        request.extend(["\n", &names, "\n", &sha256_hex(body)]);

        let scope = [day, "/", &self.region, "/", self.service, "/aws4_request"].concat();
        let to_sign = [ALGORITHM, &date, &scope, &sha256_hex(request.as_bytes())].join("\n");
        let key = self.key(day, now);
        let signature = v4::calculate_signature(&*key, to_sign.as_bytes());
        let id = self.credentials.access_key_id();
        let parts =
            [ALGORITHM, " Credential=", id, "/", &scope, ", SignedHeaders=", &names, ", Signature=", &signature];
        let authorization = parts.concat();
        Signature { date, token, authorization }
    }

    /// The key that is good for a day, in this region and for this service.
    fn key(&self, day: &str, now: Timestamp) -> Key {
        let mut kept = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((of, key)) if of == day => Arc::clone(key),
            Some(_) | None => {
                let secret = self.credentials.secret_access_key();
                let key = v4::generate_signing_key(secret, SystemTime::from(now), &self.region, self.service);
                let key = Key::from(key.as_ref());
                *kept = Some((day.to_owned(), Arc::clone(&key)));
                key
            }
        }
    }
}

impl fmt::Debug for Signer {
    /// Without the key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Signer").field("service", &self.service).finish_non_exhaustive()
    }
}

fn sha256_hex(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// What a signature of any other request is good for, and whose it is.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same signature by `aws-sigv4`.
    fn theirs(
        credentials: &Credentials,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        now: Timestamp,
    ) -> Vec<(&'static str, String)> {
        let identity = Identity::from(credentials.clone());
        let settings = SigningSettings::default();
        let scope = Scope { service: "states", region: "eu-west-1".to_owned(), identity, settings };
        let headers = headers.iter().copied().chain([("host", "a.example:8000")]);
        let url = format!("http://a.example:8000{path}");
        sign(&scope, &url, headers, body, SystemTime::from(now)).expect("a signature")
    }

    proptest! {
        #[test]
        fn calls_are_signed_as_the_library_signs_them(
            path in "/|(/[a-z0-9%:@!$&'()*+,;=_~-]{1,6}){1,3}/?",
            names in prop::collection::btree_set("[a-z][a-z0-9-]{0,12}", 0..5),
            value in "([!-~]( ?[!-~]){0,20})?",
            body in prop::collection::vec(any::<u8>(), 0..200),
            token in prop::option::of("[!-~]{1,60}"),
            at in prop::collection::vec(0_i64..4_102_444_800_000, 1..4),
        ) {
            let own = ["host", DATE, TOKEN, "authorization", "user-agent"];
            let headers = names.iter().filter(|name| !own.contains(&name.as_str())).map(|name| (&**name, &*value));
            let headers: Vec<_> = headers.collect();
            let credentials = Credentials::new("AKIDEXAMPLE", "a secret", token, None, "test");
            let signer = Signer::new("states", "eu-west-1", &credentials);
            // The same signer over days, back and forth.
            for at in at.iter().chain(&at) {
                let now = Timestamp::from_millisecond(*at).expect("a time");
                let Signature { date, token, authorization } =
                    signer.sign("a.example:8000", &path, headers.iter().copied(), &body, now);
                let mut ours = vec![(DATE, date), ("authorization", authorization)];
                ours.extend(token.map(|token| (TOKEN, token.to_owned())));
                prop_assert_eq!(ours, theirs(&credentials, &path, &headers, &body, now));
            }
        }
    }
}
