//! Where a callback may go. **Invariant:** a webhook leaves only for a URL that its own text spells out as a Lambda
//! Function URL in an allowed region.

use url::{Host, Url};

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
        let origin = url.origin().ascii_serialization();
        if self.extra_origins.contains(&origin) {
            let region = self.regions.first().cloned().unwrap_or_default();
            return Ok(Destination { url, region, is_extra: true });
        }
        if url.scheme() != "https" || url.port().is_some() {
            return Err(FORM);
        }
        let Some(Host::Domain(host)) = url.host() else {
            return Err(FORM);
        };
        let [id, "lambda-url", region, "on", "aws"] = host.split('.').collect::<Vec<_>>()[..] else {
            return Err(FORM);
        };
        let is_id =
            (8..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        // The text itself must spell the host: a URL that the parser had to mend (tabs, case, backslashes, %-escapes)
        // is refused.
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
