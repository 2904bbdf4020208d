//! Where a callback may go. **Invariant:** a webhook leaves only for a URL that its own text spells out as a Lambda
//! Function URL in an allowed region.

use std::collections::BTreeSet;
use url::{Host, Position, Url};

/// The most bytes that a callback URL may have.
pub const URL_BYTES: usize = 2_048;

/// Where webhooks may go: to Lambda Function URLs in the allowed `regions` and, on a laptop only, to `extra_origins`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destinations {
    pub regions: Vec<String>,
    pub extra_origins: Vec<String>,
}

/// A destination that webhooks may go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    pub url: Url,
    /// The region that the request is signed for.
    pub region: String,
    /// Whether the destination is one of the `extra_origins`, to which the rules of the open network do not apply.
    pub is_extra: bool,
}

const CANONICAL: &str = "must be written in its canonical form: no empty segments or dots in its path, each parameter as \
    name=value, and everything but letters, digits and -._~ as the %XX of its UTF-8";

/// Segments that no reader takes for something else, one after the other.
fn is_canonical_path(path: &str) -> bool {
    let segments = path.strip_prefix('/').unwrap_or(path);
    let is_segment = |segment: &str| !matches!(segment, "" | "." | "..") && is_encoded(segment);
    segments.is_empty() || segments.strip_suffix('/').unwrap_or(segments).split('/').all(is_segment)
}

/// Parameters that have a name, an equals sign, and that name only once.
fn is_canonical_query(query: &str) -> bool {
    let mut names = BTreeSet::new();
    query.split('&').all(|parameter| match parameter.split_once('=') {
        Some((name, value)) => !name.is_empty() && is_encoded(name) && is_encoded(value) && names.insert(name),
        None => false,
    })
}

/// Whether a text is encoded as AWS Signature Version 4 encodes it: unreserved characters as they are, and every other byte
/// of its UTF-8 as `%` and two upper-case digits. Bytes that are no UTF-8 are read as something else by whoever decodes them.
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>
fn is_encoded(text: &str) -> bool {
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let digit = |byte: u8| char::from(byte).to_digit(16).filter(|_| !byte.is_ascii_lowercase());
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let is_escape = byte == b'%';
        let byte = if is_escape {
            let (Some(high), Some(low)) = (bytes.next().and_then(digit), bytes.next().and_then(digit)) else {
                return false;
            };
            u8::try_from(high * 16 + low).unwrap_or_default()
        } else {
            byte
        };
        if is_unreserved(byte) == is_escape {
            return false;
        }
        decoded.push(byte);
    }
    std::str::from_utf8(&decoded).is_ok()
}

impl Destinations {
    /// Checks a callback URL as its caller wrote it.
    ///
    /// # Errors
    /// What is wrong with the URL, in words for the caller.
    pub fn admit(&self, text: &str) -> Result<Destination, &'static str> {
        const FORM: &str = "must be a Lambda Function URL: https://<url-id>.lambda-url.<region>.on.aws/…";
        if text.len() > URL_BYTES || !text.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) {
            return Err("must be at most 2048 printable ASCII characters");
        }
        let url = Url::parse(text).map_err(|_| FORM)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not carry user information");
        }
        if url.fragment().is_some() {
            return Err("must not carry a fragment");
        }
        // What is signed is what is sent: whoever checks the signature computes it from the URL as it arrives, each in its own
        // way where there is more than one.
        let (origin, below) = url.as_str().split_at(url[..Position::AfterPort].len());
        let written = text.strip_prefix(origin);
        let is_as_it_is_sent = written == Some(below) || (url.path() == "/" && written == below.strip_prefix('/'));
        if !is_as_it_is_sent || !is_canonical_path(url.path()) || !url.query().is_none_or(is_canonical_query) {
            return Err(CANONICAL);
        }
        let origin = url.origin().ascii_serialization();
        if self.extra_origins.contains(&origin) {
            let region = self.regions.first().cloned().unwrap_or_default();
            return Ok(Destination { url, region, is_extra: true });
        }
        let Some(Host::Domain(host)) = url.host() else {
            return Err(FORM);
        };
        let [id, "lambda-url", region, "on", "aws"] = host.split('.').collect::<Vec<_>>()[..] else {
            return Err(FORM);
        };
        let is_id =
            (8..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        // The text itself must spell scheme and host, with no port: a URL that the parser had to mend (tabs, case, backslashes,
        // %-escapes) is refused.
        let spelled = text
            .strip_prefix("https://")
            .and_then(|rest| rest.strip_prefix(host))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || rest.starts_with('?'));
        if !is_id || !spelled {
            return Err(FORM);
        }
        if !self.regions.iter().any(|allowed| allowed == region) {
            return Err("is in a region that callbacks may not go to");
        }
        Ok(Destination { region: region.to_owned(), url, is_extra: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ORIGIN: &str = "https://abcdefghijklmnopqrstuvwxyz012345.lambda-url.eu-west-1.on.aws";

    fn admits(below: &str) -> bool {
        let destinations = Destinations { regions: vec!["eu-west-1".to_owned()], extra_origins: Vec::new() };
        destinations.admit(&format!("{ORIGIN}{below}")).is_ok()
    }

    #[test]
    fn only_what_has_one_reading_is_admitted() {
        for below in [
            "",
            "/",
            "?a=b",
            "/hook",
            "/hook/",
            "/a/b-c_d.e~f",
            "/%C3%A9",
            "/?a=%C3%A9",
            "/a%20b",
            "/a%2Fb",
            "/?a=b",
            "/hook?b=2&a=1",
            "/?a=",
            "/?a=%20",
            "/?a=%2B&b=%3D",
            "/?A=1&a=1",
            "/?a.b-c_d~e=1",
        ] {
            assert!(admits(below), "{below}");
        }
        for below in [
            // Queries that other readers split, decode or sort in another way.
            "/?",
            "/?a",
            "/?a&b=1",
            "/?=1",
            "/?a=1&",
            "/?&a=1",
            "/?a=1&&b=2",
            "/?a=1&a=2",
            "/?a=1&a=1",
            "/?a=b=c",
            "/?a=b+c",
            "/?a=%2b",
            "/?a=%41",
            "/?a=%7E",
            "/?a=b%",
            "/?a=%4",
            "/?a=%zz",
            "/?a=%BB",
            "/?a=%C3",
            "/?%A9=b",
            "/?a=%ED%A0%80",
            "/?a=b/c",
            "/?a=b?c",
            "/?a=b:c",
            "/?a=b@c",
            "/?a=b,c",
            "/?a=b;c=d",
            "/?a=(b)",
            "/?a=b!",
            "/?a=b*",
            "/?a='b'",
            "/?a=[b]",
            "/?a={b}",
            "/?a=b|c",
            "/?a=b^c",
            "/?a=`b`",
            "/?a[]=1",
            "/?a=$b",
            "/?a=<b>",
            "/?a=\"b\"",
            // Paths that other readers mend.
            "//",
            "//hook",
            "/a//b",
            "/hook//",
            "/.",
            "/..",
            "/a/../b",
            "/a/./b",
            "/%2E%2E/a",
            "/%2e",
            "/a+b",
            "/a:b",
            "/a;b",
            "/a=b",
            "/a@b",
            "/%c3%a9",
            "/%41",
            "/a%",
            "/a|b",
            "/a[b]",
            "/%BB",
            "/%C3/%A9",
        ] {
            assert!(!admits(below), "{below}");
        }
    }

    #[test]
    fn a_refusal_says_what_is_wrong_with_the_url() {
        let destinations = Destinations {
            regions: vec!["eu-west-1".to_owned()],
            extra_origins: vec!["https://hooks.example".to_owned()],
        };
        let refused = |url: &str| destinations.admit(url).err();
        let of_length = |bytes: usize| format!("{ORIGIN}/{}", "a".repeat(bytes - ORIGIN.len() - 1));
        assert_eq!(refused(&of_length(URL_BYTES)), None);
        let text = Some("must be at most 2048 printable ASCII characters");
        for url in [of_length(URL_BYTES + 1), of_length(URL_BYTES * 2), format!("{ORIGIN}/é"), format!("{ORIGIN}/\t")]
        {
            assert_eq!(refused(&url), text, "{url}");
        }
        let host = &ORIGIN["https://".len()..];
        for user in ["user", ":password", "user:password"] {
            for host in [host, "hooks.example"] {
                let url = format!("https://{user}@{host}/");
                assert_eq!(refused(&url), Some("must not carry user information"), "{url}");
            }
        }
        let form = Some("must be a Lambda Function URL: https://<url-id>.lambda-url.<region>.on.aws/…");
        for url in [
            "example".to_owned(),
            format!("http://{host}/"),
            format!("{ORIGIN}:8443/"),
            "https://hooks.example:8443/".to_owned(),
            "https://192.0.2.1/".to_owned(),
        ] {
            assert_eq!(refused(&url), form, "{url}");
        }
    }

    proptest! {
        #[test]
        fn what_is_admitted_is_its_own_encoding(below in "/[a-b%/.+]{0,6}(\\?[ab=&%+;2bB. ]{0,10})?") {
            if admits(&below) {
                let url = Url::parse(&format!("{ORIGIN}{below}")).expect("a URL");
                // Decoded and encoded anew, pair by pair, it is the same.
                let encode = |byte: &u8| match byte {
                    b'-' | b'.' | b'_' | b'~' => char::from(*byte).to_string(),
                    byte if byte.is_ascii_alphanumeric() => char::from(*byte).to_string(),
                    byte => format!("%{byte:02X}"),
                };
                let encoded = |text: &str| text.as_bytes().iter().map(encode).collect::<String>();
                let pairs = url.query_pairs().map(|(name, value)| format!("{}={}", encoded(&name), encoded(&value)));
                let written = url.query().map(|_| pairs.collect::<Vec<_>>().join("&"));
                prop_assert_eq!(written.as_deref(), url.query(), "{}", below);
            }
        }
    }
}
