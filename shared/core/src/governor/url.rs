//! Where the governor of a deployment is.

use super::access::{Grant, pass_text};
use crate::id::{RunId, TenantId};
use std::fmt;
use std::str::FromStr;
use url::Url;

/// An `https` address without a slash at its end: keys are sent to it as bearer tokens, which SDKs send over nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GovernorUrl(String);

/// Why a text is no such address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an https URL without a query, a fragment or a user")]
pub struct InvalidGovernorUrl;

impl GovernorUrl {
    /// What a run's processors are told: the address with the run's grant. A node and an attempt come after it, see
    /// [`GrantPath`](super::access::GrantPath).
    pub fn of_run(&self, tenant: &TenantId, run_id: RunId, grant: &Grant) -> String {
        format!("{self}/g/{}", pass_text(tenant, run_id, grant))
    }
}

impl fmt::Display for GovernorUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for GovernorUrl {
    type Err = InvalidGovernorUrl;

    fn from_str(text: &str) -> Result<Self, InvalidGovernorUrl> {
        let url = Url::parse(text).map_err(|_| InvalidGovernorUrl)?;
        let is_bare = url.query().is_none() && url.fragment().is_none();
        let has_user = !url.username().is_empty() || url.password().is_some();
        let is_good = url.scheme() == "https" && is_bare && !has_user;
        is_good.then(|| Self(url.as_str().trim_end_matches('/').to_owned())).ok_or(InvalidGovernorUrl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::governor::access::GrantPath;
    use uuid::Uuid;

    #[test]
    fn a_run_is_told_of_a_path_that_is_read_again() {
        let (tenant, run_id, grant) = ("acme".parse().expect("a tenant"), RunId(Uuid::from_u128(7)), Grant::new(9));
        for (text, base) in [
            ("https://api.example/prod", "https://api.example/prod"),
            ("https://API.example/prod/", "https://api.example/prod"),
            ("https://localhost:4443", "https://localhost:4443"),
        ] {
            let url: GovernorUrl = text.parse().expect("a URL");
            let told = url.of_run(&tenant, run_id, &grant);
            let pass = told.strip_prefix(base).and_then(|path| path.strip_prefix("/g/")).expect("its path");
            let (read, _) = GrantPath::read(&format!("{pass}/work/1")).expect("a path");
            assert_eq!((read.tenant, read.run_id, read.grant), (tenant.clone(), run_id, grant.clone()));
        }
    }

    #[test]
    fn what_no_key_may_be_sent_to_is_refused() {
        for text in [
            "",
            "http://api.example",
            "api.example",
            "https://a@b.example",
            "https://a.example/?b",
            "https://a.example/#b",
        ] {
            assert_eq!(text.parse::<GovernorUrl>(), Err(InvalidGovernorUrl), "{text}");
        }
    }
}
