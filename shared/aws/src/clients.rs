//! The services over one connector, each with its place, its time and its signature.

use crate::call::{Quota, Service};
use crate::config::Settings;
use crate::connector::Connector;
use crate::endpoint;
use crate::sigv4::Signer;
use http::Uri;
use http::uri::Scheme;
use std::sync::Arc;
use std::time::Duration;

/// A request of ours is one round trip within a region: what does not connect in this time will not.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_500);
/// One attempt at a call. So that one that hangs leaves time for another, every function has time for two and more
/// (`tests/contracts/template` holds the template to it).
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(2_500);
/// All attempts at a store call together, if the invocation has so much time left: see `deadline.rs`.
pub const STORE_TIMEOUT: Duration = Duration::from_secs(8);
/// All attempts at an engine call together, likewise: who starts a run need not wait longer to be told that it is recorded.
pub const ENGINE_TIMEOUT: Duration = Duration::from_secs(6);
/// What init waits for connections that are opened early. Lambda ends an init after ten seconds.
const OPENING_TIMEOUT: Duration = Duration::from_secs(1);

/// The services that functions call. They share their connections.
#[derive(Clone, Debug)]
pub struct Clients {
    connector: Connector,
    opens_early: bool,
    pub dynamodb: Service,
    pub sfn: Service,
    pub events: Service,
}

/// Whether a service can be called there, and its calls be signed: see [`Signer`].
fn is_of_service(uri: &Uri) -> bool {
    let parts: Vec<&str> = uri.path().split('/').skip(1).collect();
    // An empty last part is a slash at the end.
    let is_plain = |at: usize, part: &str| !matches!(part, "." | "..") && (!part.is_empty() || at + 1 == parts.len());
    let is_path_plain = parts.iter().enumerate().all(|(at, part)| is_plain(at, part));
    uri.scheme().is_some() && uri.host().is_some() && uri.query().is_none() && is_path_plain
}

impl Clients {
    /// Opens no connection yet.
    pub fn new(settings: &Settings) -> Self {
        let connector = Connector::new(settings.roots.clone(), CONNECT_TIMEOUT);
        // The name that a service has in its addresses, and in the signatures for it.
        let service = |name: &'static str, endpoint: &Option<String>, most| {
            let endpoint = endpoint.clone().unwrap_or_else(|| endpoint::of_region(name, &settings.region));
            let parsed = endpoint.parse::<Uri>().ok().filter(is_of_service);
            Service {
                connector: connector.clone(),
                endpoint: parsed.ok_or_else(|| format!("{endpoint} is no address of a service").into()),
                signer: Arc::new(Signer::new(name, &settings.region, &settings.credentials)),
                most,
                attempt: ATTEMPT_TIMEOUT,
                quota: Arc::new(Quota::default()),
            }
        };
        let at = &settings.endpoints;
        Self {
            dynamodb: service("dynamodb", &at.dynamodb, STORE_TIMEOUT),
            sfn: service("states", &at.sfn, ENGINE_TIMEOUT),
            events: service("events", &at.events, ENGINE_TIMEOUT),
            connector,
            opens_early: settings.opens_early,
        }
    }

    /// Opens connections to these services while the function starts, if Lambda starts it: there init has more of a processor
    /// than any request. Bounded in time, and harmless where one cannot be opened. Without TLS there is little to open: that is
    /// a laptop's stack.
    pub async fn open(&self, services: &[&Service]) {
        let origins = services.iter().filter_map(|service| service.endpoint.as_ref().ok());
        let origins = origins.filter(|origin| self.opens_early && origin.scheme() == Some(&Scheme::HTTPS));
        let origins: Vec<Uri> = origins.cloned().collect();
        if !origins.is_empty() {
            self.connector.open(origins, OPENING_TIMEOUT).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_whose_calls_can_be_signed_is_one_of_a_service() {
        for (address, is_one) in [
            ("https://dynamodb.eu-west-1.amazonaws.com", true),
            ("http://127.0.0.1:4566/", true),
            ("http://localhost:4566/some/where/", true),
            ("http://localhost:4566/some/..where", true),
            ("localhost:4566", false),
            ("/some/where", false),
            ("http://localhost:4566/?a=b", false),
            ("http://localhost:4566/some?", false),
            ("http://localhost:4566/some//where", false),
            ("http://localhost:4566//", false),
            ("http://localhost:4566/./where", false),
            ("http://localhost:4566/some/..", false),
        ] {
            let parsed = address.parse::<Uri>().expect("an address");
            assert_eq!(is_of_service(&parsed), is_one, "{address}");
        }
    }
}
