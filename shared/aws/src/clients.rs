//! The AWS clients over one connector, configured by hand, because the default chain costs more than the work.

use crate::config::{Endpoints, Settings};
use crate::connector::Connector;
use crate::deadline::HeldToDeadline;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region, StalledStreamProtectionConfig};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use http::Uri;
use http::uri::Scheme;
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
const MAX_ATTEMPTS: u32 = 3;
/// The SDK's own first pause is up to a second, far longer than a call takes.
const INITIAL_BACKOFF: Duration = Duration::from_millis(50);

/// Makes the clients of the three services. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Clients {
    shared: SdkConfig,
    connector: Connector,
    endpoints: Endpoints,
    region: String,
    opens_early: bool,
}

impl Clients {
    /// Opens no connection yet.
    pub fn new(settings: &Settings) -> Self {
        let connector = Connector::new(settings.roots.clone(), CONNECT_TIMEOUT);
        Self {
            shared: shared_config(settings, connector.clone()),
            connector,
            endpoints: settings.endpoints.clone(),
            region: settings.region.clone(),
            opens_early: settings.opens_early,
        }
    }

    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let config = self.config(&self.endpoints.dynamodb, STORE_TIMEOUT);
        let config = aws_sdk_dynamodb::config::Builder::from(&config).interceptor(HeldToDeadline(STORE_TIMEOUT));
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    pub fn sfn(&self) -> aws_sdk_sfn::Client {
        let config = self.config(&self.endpoints.sfn, ENGINE_TIMEOUT);
        let config = aws_sdk_sfn::config::Builder::from(&config).interceptor(HeldToDeadline(ENGINE_TIMEOUT));
        aws_sdk_sfn::Client::from_conf(config.build())
    }

    pub fn events(&self) -> aws_sdk_eventbridge::Client {
        let config = self.config(&self.endpoints.events, ENGINE_TIMEOUT);
        let config = aws_sdk_eventbridge::config::Builder::from(&config).interceptor(HeldToDeadline(ENGINE_TIMEOUT));
        aws_sdk_eventbridge::Client::from_conf(config.build())
    }

    fn config(&self, endpoint: &Option<String>, timeout: Duration) -> SdkConfig {
        let mut builder = self.shared.to_builder().timeout_config(timeouts(timeout));
        builder.set_endpoint_url(endpoint.clone());
        builder.build()
    }

    /// Opens connections to DynamoDB while the function starts, if Lambda starts it: there init has more of a processor
    /// than any request. Bounded in time, and harmless where one cannot be opened.
    pub async fn open_dynamodb(&self) {
        let dynamodb = self.origin(&self.endpoints.dynamodb, origin::dynamodb(&self.region)).await;
        self.open(dynamodb.into_iter().collect()).await;
    }

    /// The same with Step Functions beside it.
    pub async fn open_dynamodb_and_sfn(&self) {
        let dynamodb = self.origin(&self.endpoints.dynamodb, origin::dynamodb(&self.region)).await;
        let sfn = self.origin(&self.endpoints.sfn, origin::sfn(&self.region)).await;
        self.open(dynamodb.into_iter().chain(sfn).collect()).await;
    }

    async fn open(&self, origins: Vec<Uri>) {
        if !origins.is_empty() {
            self.connector.open(origins, OPENING_TIMEOUT).await;
        }
    }

    /// Where a connection is worth opening early. Without TLS there is little to open: that is a laptop's stack.
    async fn origin(&self, endpoint: &Option<String>, of_region: impl Future<Output = Option<String>>) -> Option<Uri> {
        if !self.opens_early {
            return None;
        }
        let origin = match endpoint {
            Some(endpoint) => endpoint.clone(),
            None => of_region.await?,
        };
        origin.parse().ok().filter(|origin: &Uri| origin.scheme() == Some(&Scheme::HTTPS))
    }
}

/// Where a service is in a region, as its client would find it.
mod origin {
    macro_rules! of_region {
        ($name:ident, $sdk:ident) => {
            pub(super) async fn $name(region: &str) -> Option<String> {
                use $sdk::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
                let params = Params::builder().region(region).build().ok()?;
                let endpoint = DefaultResolver::new().resolve_endpoint(&params).await.ok()?;
                Some(endpoint.url().to_owned())
            }
        };
    }

    of_region!(dynamodb, aws_sdk_dynamodb);
    of_region!(sfn, aws_sdk_sfn);
}

fn shared_config(settings: &Settings, connector: Connector) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(settings.region.clone()))
        .credentials_provider(SharedCredentialsProvider::new(settings.credentials.clone()))
        .http_client(connector)
        .retry_config(RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS).with_initial_backoff(INITIAL_BACKOFF))
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().build())
        .build()
}

fn timeouts(operation: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(operation)
        .build()
}
