//! The SDK's own client, for what no function does, and as the measure of what functions do.

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as Tcp;
use hyper_util::rt::TokioExecutor;
use sluice_aws::config::Settings;

#[derive(Clone, Debug)]
struct Plain(Client<Tcp, SdkBody>);

impl HttpConnector for Plain {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let sent = request.try_into_http1x().map(|request| self.0.request(request));
        HttpConnectorFuture::new(async move {
            let answer = sent.map_err(|error| ConnectorError::user(error.into()))?.await;
            let answer = answer.map_err(|error| ConnectorError::io(error.into()))?.map(SdkBody::from_body_1_x);
            HttpResponse::try_from(answer).map_err(|error| ConnectorError::user(error.into()))
        })
    }
}

impl HttpClient for Plain {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

macro_rules! client {
    ($name:ident, $sdk:ident) => {
        /// With three attempts, as the standard is.
        pub fn $name(settings: &Settings) -> $sdk::Client {
            let config = $sdk::Config::builder()
                .behavior_version($sdk::config::BehaviorVersion::latest())
                .region($sdk::config::Region::new(settings.region.clone()))
                .credentials_provider(settings.credentials.clone())
                .endpoint_url(settings.endpoints.$name.clone().expect("an endpoint"))
                .retry_config($sdk::config::retry::RetryConfig::standard().with_initial_backoff(ONE_MS))
                // Else all clients of a process spend from one quota.
                .retry_partition($sdk::config::retry::RetryPartition::custom("test").build())
                .http_client(Plain(Client::builder(TokioExecutor::new()).build(Tcp::new())));
            $sdk::Client::from_conf(config.build())
        }
    };
}

const ONE_MS: std::time::Duration = std::time::Duration::from_millis(1);

client!(dynamodb, aws_sdk_dynamodb);
client!(sfn, aws_sdk_sfn);
client!(events, aws_sdk_eventbridge);
