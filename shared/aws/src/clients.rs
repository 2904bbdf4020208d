//! The AWS clients: one shared connector, configured by hand, because the default chain costs more than the work.

use crate::config::Settings;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region, StalledStreamProtectionConfig};
use aws_smithy_http_client::tls;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use std::time::Duration;

/// A request of ours is one round trip within a region: what does not connect or answer in this time will not.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// All attempts at a store call together. A function's own timeout is 10 s.
const STORE_TIMEOUT: Duration = Duration::from_secs(8);
/// All attempts at an engine call together: a start that hangs still leaves time to answer 201 `PENDING`.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(6);
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
        let engine = shared.to_builder().timeout_config(timeouts(ENGINE_TIMEOUT)).build();
        let at = |config: &SdkConfig, endpoint: &Option<String>| {
            let mut builder = config.to_builder();
            builder.set_endpoint_url(endpoint.clone());
            builder.build()
        };
        Self {
            dynamodb: aws_sdk_dynamodb::Client::new(&at(&shared, &settings.endpoints.dynamodb)),
            sfn: aws_sdk_sfn::Client::new(&at(&engine, &settings.endpoints.sfn)),
            events: aws_sdk_eventbridge::Client::new(&at(&engine, &settings.endpoints.events)),
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
        .timeout_config(timeouts(STORE_TIMEOUT))
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
