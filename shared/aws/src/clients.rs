//! The AWS clients: one shared connector, configured by hand, because the default chain costs more than the work.

use crate::config::{Endpoints, Settings};
use crate::deadline::HeldToDeadline;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region, StalledStreamProtectionConfig};
use aws_smithy_http_client::tls;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
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
const MAX_ATTEMPTS: u32 = 3;
/// The SDK's own first pause is up to a second, far longer than a call takes.
const INITIAL_BACKOFF: Duration = Duration::from_millis(50);

/// The three services.
#[derive(Clone, Debug)]
pub struct Clients {
    pub dynamodb: aws_sdk_dynamodb::Client,
    pub sfn: aws_sdk_sfn::Client,
    pub events: aws_sdk_eventbridge::Client,
}

impl Clients {
    pub fn new(settings: &Settings) -> Self {
        let shared = shared_config(settings);
        let at = |endpoint: &Option<String>, timeout: Duration| {
            let mut builder = shared.to_builder().timeout_config(timeouts(timeout));
            builder.set_endpoint_url(endpoint.clone());
            builder.build()
        };
        let Endpoints { dynamodb, sfn, events } = &settings.endpoints;
        let (dynamodb, sfn) = (at(dynamodb, STORE_TIMEOUT), at(sfn, ENGINE_TIMEOUT));
        let events = at(events, ENGINE_TIMEOUT);
        let (store, engine) = (HeldToDeadline(STORE_TIMEOUT), HeldToDeadline(ENGINE_TIMEOUT));
        let dynamodb = aws_sdk_dynamodb::config::Builder::from(&dynamodb).interceptor(store);
        let sfn = aws_sdk_sfn::config::Builder::from(&sfn).interceptor(engine.clone());
        let events = aws_sdk_eventbridge::config::Builder::from(&events).interceptor(engine);
        Self {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            sfn: aws_sdk_sfn::Client::from_conf(sfn.build()),
            events: aws_sdk_eventbridge::Client::from_conf(events.build()),
        }
    }
}

fn shared_config(settings: &Settings) -> SdkConfig {
    // ring: AWS-LC's random generator spends 24 ms of CPU on the first call.
    let connector = aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
        .build_https();
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
