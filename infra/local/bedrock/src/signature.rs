//! Who calls: AWS Signature Version 4 for the service `bedrock`, recomputed from the request as it came, or a bearer token.
//!
//! Decision (2026-11-28): the canonical request is made here, and only key and signature by `aws-sigv4`, which signs what it would
//! send itself and refuses a header named `:authority`. The tests sign by that crate, by botocore, and have a request of the
//! JavaScript SDK.
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use std::time::{Duration, SystemTime};

use aws_sigv4::sign::v4;
use http::HeaderMap;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use crate::fault::{Fault, Kind};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "bedrock";
/// How far a signature's time may be from ours.
const SKEW: Duration = Duration::from_secs(300);
/// The host is signed under either name: the JavaScript SDK, which speaks HTTP/2 alone, signs the pseudo-header.
const HOST: [&str; 2] = ["host", ":authority"];
const TIME_FORMAT: &str = "%Y%m%dT%H%M%SZ";

/// What a caller may sign with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub access_key_id: String,
    pub secret_access_key: String,
    /// Has to come with the request, inside its signature.
    pub session_token: Option<String>,
}

/// Everybody who may call.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    pub keys: Vec<Key>,
    pub bearer_tokens: Vec<String>,
    pub region: String,
}

/// A request as it came.
pub struct Received<'a> {
    pub method: &'a str,
    /// Path and query, undecoded.
    pub target: &'a str,
    pub host: &'a str,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

impl Received<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// An `Authorization` header, taken apart.
struct Claim<'a> {
    access_key_id: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

fn wrong(message: impl Into<String>) -> Fault {
    Fault::new(Kind::InvalidSignature, message)
}

fn claim(header: &str) -> Option<Claim<'_>> {
    let fields = header.strip_prefix(ALGORITHM)?;
    let field = |name: &str| fields.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='));
    let scope: Vec<&str> = field("Credential")?.split('/').collect();
    let [access_key_id, date, region, service, "aws4_request"] = scope[..] else { return None };
    let signed_headers = field("SignedHeaders")?.split(';').collect();
    Some(Claim { access_key_id, date, region, service, signed_headers, signature: field("Signature")? })
}

impl Keys {
    /// The access key id of the caller; of a bearer token its first letters.
    ///
    /// # Errors
    /// As Bedrock refuses: 403, and the type that says why.
    pub fn verify(&self, request: &Received<'_>, now: SystemTime) -> Result<String, Fault> {
        let header = request.header("authorization").ok_or(Kind::MissingAuthenticationToken)?;
        if let Some(token) = header.strip_prefix("Bearer ") {
            if self.bearer_tokens.iter().any(|known| known == token) {
                return Ok(format!("bearer {}", token.chars().take(8).collect::<String>()));
            }
            return Err(Fault::new(
                Kind::AccessDenied,
                "Authentication failed: Please make sure your API Key is valid.",
            ));
        }
        let claim =
            claim(header).ok_or_else(|| wrong("Authorization header is not of the form of AWS4-HMAC-SHA256."))?;
        self.check_scope(&claim)?;
        let key =
            self.keys.iter().find(|key| key.access_key_id == claim.access_key_id).ok_or(Kind::UnrecognizedClient)?;
        if key.session_token.as_deref() != request.header("x-amz-security-token") {
            return Err(Kind::UnrecognizedClient.into());
        }
        check_headers(&claim, request)?;
        let at = time_of(&claim, request, now)?;
        let signature = recomputed(&claim, request, key, at)?;
        if signature == claim.signature { Ok(key.access_key_id.clone()) } else { Err(Kind::InvalidSignature.into()) }
    }

    fn check_scope(&self, claim: &Claim<'_>) -> Result<(), Fault> {
        if claim.service != SERVICE {
            return Err(wrong(format!("Credential should be scoped to correct service: '{SERVICE}'.")));
        }
        if claim.region != self.region {
            return Err(wrong("Credential should be scoped to a valid region."));
        }
        Ok(())
    }
}

/// Host, time, and every header of AWS have to be signed, and so does the body's hash where one is given.
fn check_headers(claim: &Claim<'_>, request: &Received<'_>) -> Result<(), Fault> {
    let is_signed = |name: &str| claim.signed_headers.iter().any(|signed| signed.eq_ignore_ascii_case(name));
    if !HOST.iter().any(|name| is_signed(name)) {
        return Err(wrong("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."));
    }
    for name in request.headers.keys().map(http::HeaderName::as_str).filter(|name| name.starts_with("x-amz-")) {
        if !is_signed(name) {
            return Err(wrong(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.")));
        }
    }
    if let Some(hash) = request.header("x-amz-content-sha256")
        && hash != hex(&Sha256::digest(request.body))
    {
        return Err(wrong("The provided 'x-amz-content-sha256' header does not match what was computed."));
    }
    Ok(())
}

/// The signature's time, where it is near ours and of the scope's day.
fn time_of(claim: &Claim<'_>, request: &Received<'_>, now: SystemTime) -> Result<SystemTime, Fault> {
    let text = request
        .header("x-amz-date")
        .ok_or_else(|| wrong("Authorization header requires existence of 'X-Amz-Date'."))?;
    let at = DateTime::strptime(TIME_FORMAT, text).and_then(|time| time.to_zoned(TimeZone::UTC));
    let at: SystemTime = at.map_err(|_no_time| wrong("Date must be in ISO-8601 'basic format'."))?.timestamp().into();
    if !text.starts_with(claim.date) {
        return Err(wrong("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP."));
    }
    if at + SKEW < now {
        return Err(wrong(format!("Signature expired: {text} is now earlier than the server's time - 5 min.")));
    }
    if now + SKEW < at {
        return Err(wrong(format!("Signature not yet current: {text} is still later than the server's time + 5 min.")));
    }
    Ok(at)
}

/// The signature of the request as it came, by the headers that its caller signed.
fn recomputed(claim: &Claim<'_>, request: &Received<'_>, key: &Key, at: SystemTime) -> Result<String, Fault> {
    let scope = format!("{}/{}/{}/aws4_request", claim.date, claim.region, claim.service);
    let time = request.header("x-amz-date").unwrap_or_default();
    let canonical = Sha256::digest(canonical_request(claim, request)?);
    let to_sign = format!("{ALGORITHM}\n{time}\n{scope}\n{}", hex(&canonical));
    let signing_key = v4::generate_signing_key(&key.secret_access_key, at, claim.region, claim.service);
    Ok(v4::calculate_signature(signing_key, to_sign.as_bytes()))
}

/// The path with its escapes escaped once more, as for every service but S3.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

fn canonical_request(claim: &Claim<'_>, request: &Received<'_>) -> Result<String, Fault> {
    let (path, query) = request.target.split_once('?').unwrap_or((request.target, ""));
    let mut pairs: Vec<String> = query.split('&').filter(|pair| !pair.is_empty()).map(str::to_owned).collect();
    for pair in pairs.iter_mut().filter(|pair| !pair.contains('=')) {
        pair.push('=');
    }
    pairs.sort();
    let mut headers = String::new();
    for name in &claim.signed_headers {
        let value = header_value(name, request)?;
        headers.push_str(&format!("{name}:{value}\n"));
    }
    let (path, query) = (utf8_percent_encode(path, PATH), pairs.join("&"));
    let (signed, body) = (claim.signed_headers.join(";"), hex(&Sha256::digest(request.body)));
    Ok(format!("{}\n{path}\n{query}\n{headers}\n{signed}\n{body}", request.method))
}

/// As it is signed: the values of one name together, white space in a row as one space.
fn header_value(name: &str, request: &Received<'_>) -> Result<String, Fault> {
    if HOST.contains(&name) {
        return Ok(request.host.to_owned());
    }
    let values: Vec<String> = request
        .headers
        .get_all(name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    // A header that was signed and did not come.
    if values.is_empty() { Err(Kind::InvalidSignature.into()) } else { Ok(values.join(",")) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    /// As `@aws-sdk/client-bedrock-runtime` 3.1163 sent it over HTTP/2.
    const OF_JAVASCRIPT: [(&str, &str); 8] = [
        ("content-type", "application/json"),
        ("content-length", "56"),
        ("x-amz-user-agent", "aws-sdk-js/3.1163.0"),
        ("amz-sdk-invocation-id", "bf936636-e258-4b63-bc4c-653f41699dcb"),
        ("amz-sdk-request", "attempt=1; max=1"),
        ("x-amz-date", "20261128T001704Z"),
        ("x-amz-security-token", "a session of tests"),
        ("x-amz-content-sha256", "c3335e07d6e89650bf94cb98664be69f8774dbc3198df221f113db0a59ea14f0"),
    ];
    const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=ASIASTANDIN/20261128/us-east-1/bedrock/aws4_request, \
        SignedHeaders=:authority;amz-sdk-invocation-id;amz-sdk-request;content-length;content-type;x-amz-content-sha256;x-amz-date;\
        x-amz-security-token;x-amz-user-agent, Signature=f6daf762f4ebafbdcb65457a755efb3aa1a863390ff4d85bc67afe9f978a02ee";

    fn verified(host: &str, target: &str, body: &str, later: Duration) -> Result<String, Kind> {
        let mut headers = HeaderMap::new();
        for (name, value) in OF_JAVASCRIPT.into_iter().chain([("authorization", AUTHORIZATION)]) {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let received = Received { method: "POST", target, host, headers: &headers, body: body.as_bytes() };
        let at = DateTime::strptime(TIME_FORMAT, "20261128T001704Z").and_then(|time| time.to_zoned(TimeZone::UTC));
        let now = SystemTime::from(at.expect("a time").timestamp()) + later;
        let keys = Keys {
            keys: vec![Key {
                access_key_id: "ASIASTANDIN".to_owned(),
                secret_access_key: "a secret of tests".to_owned(),
                session_token: Some("a session of tests".to_owned()),
            }],
            bearer_tokens: Vec::new(),
            region: "us-east-1".to_owned(),
        };
        keys.verify(&received, now).map_err(|fault| fault.kind)
    }

    #[test]
    fn the_pseudo_header_is_signed_in_the_place_of_the_host() {
        const TARGET: &str = "/model/us.anthropic.claude-haiku-4-5-20251001-v1%3A0/converse";
        const BODY: &str = r#"{"messages":[{"role":"user","content":[{"text":"hi"}]}]}"#;
        let soon = Duration::from_secs(1);
        assert_eq!(verified("localhost:8443", TARGET, BODY, soon), Ok("ASIASTANDIN".to_owned()));
        for (host, target, body, later) in [
            ("localhost:8444", TARGET, BODY, soon),
            ("localhost:8443", &TARGET.replace("%3A", ":"), BODY, soon),
            ("localhost:8443", TARGET, "{}", soon),
            ("localhost:8443", TARGET, BODY, SKEW + soon),
        ] {
            assert_eq!(verified(host, target, body, later), Err(Kind::InvalidSignature), "{host} {target} {body}");
        }
    }
}
