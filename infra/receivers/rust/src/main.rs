//! Receives Sluice's webhooks: a Lambda function behind a Function URL with `AuthType: AWS_IAM`.
//!
//! The URL has checked the signature, so what is left is to ask whose it was. A message is taken by one conditional write that
//! holds the whole of it. So it is never remembered without being taken (it would be lost) or taken without being remembered
//! (it would be done twice), however often and however close together it comes. What is to be done about it is done from the
//! table, by its stream for one: Sluice waits 10 seconds for an answer. To do it right here instead, do it before the write,
//! and so that it may happen twice.
//!
//! Environment: `SLUICE_ROLE_ARN` (the role of run-callback), `SLUICE_TENANT_ID` (yours), `INBOX_TABLE` (partition key
//! `webhookId`, a string; time to live on `expiresAt`). The function's own role needs `dynamodb:PutItem` on that table.

use std::env;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Region};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use lambda_http::http::StatusCode;
use lambda_http::request::RequestContext;
use lambda_http::{Error, Request, RequestExt, Response, run, service_fn};
use lambda_runtime::tracing;
use serde::Deserialize;

/// Sluice tries for about a day; whoever asks for a delivery again later than this gets it as a new one.
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 3_600);

struct Receiver {
    /// How the ARNs of the sessions of Sluice's role begin.
    sluice: String,
    tenant: String,
    table: String,
    dynamodb: Client,
}

/// What is looked at here of a message.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    spec_version: String,
    #[serde(rename = "type")]
    kind: String,
    tenant_id: String,
    run_id: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let receiver = Receiver {
        sluice: sessions_of(&required("SLUICE_ROLE_ARN")?).ok_or("SLUICE_ROLE_ARN is not the ARN of a role")?,
        tenant: required("SLUICE_TENANT_ID")?,
        table: required("INBOX_TABLE")?,
        dynamodb: dynamodb()?,
    };
    run(service_fn(|request| receiver.answer(request))).await
}

impl Receiver {
    async fn answer(&self, request: Request) -> Result<Response<String>, Error> {
        let (status, result) = self.take(&request).await;
        if !status.is_success() {
            tracing::warn!(status = status.as_u16(), "{result}");
        }
        let mut response = Response::builder().status(status).header("content-type", "application/json");
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response = response.header("retry-after", "30");
        }
        Ok(response.body(serde_json::json!({"result": result}).to_string())?)
    }

    async fn take(&self, request: &Request) -> (StatusCode, &'static str) {
        if !caller(request).is_some_and(|arn| arn.starts_with(&self.sluice)) {
            return (StatusCode::FORBIDDEN, "the caller is not Sluice");
        }
        let Ok(text) = str::from_utf8(request.body()) else {
            return (StatusCode::GONE, "not JSON");
        };
        // A message that is not understood now will not be the next time.
        let message = match serde_json::from_str::<Message>(text) {
            Ok(message) if message.spec_version == "1" && message.kind == "workflow.run.terminal" => message,
            _ => return (StatusCode::GONE, "not a message that is understood here, however often it comes"),
        };
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let webhook_id = header("webhook-id");
        if webhook_id.is_empty() || header("sluice-run-id") != message.run_id {
            return (StatusCode::FORBIDDEN, "the headers and the body speak of different runs");
        }
        // Every tenant of this Sluice may name any address to be called back at.
        if header("sluice-tenant-id") != self.tenant || message.tenant_id != self.tenant {
            return (StatusCode::FORBIDDEN, "another tenant's run");
        }
        let put = self.dynamodb.put_item().table_name(&self.table);
        let written = put
            .item("webhookId", AttributeValue::S(webhook_id.to_owned()))
            .item("runId", AttributeValue::S(message.run_id))
            // As it came: its numbers may have more digits than a parser keeps. At most about 320 KB; an item holds 400 KB.
            .item("body", AttributeValue::S(text.to_owned()))
            .item("expiresAt", AttributeValue::N((now() + REMEMBERED).as_secs().to_string()))
            .condition_expression("attribute_not_exists(webhookId)")
            .send()
            .await
            .map_err(aws_sdk_dynamodb::Error::from);
        match written {
            Ok(_) => (StatusCode::OK, "taken"),
            Err(aws_sdk_dynamodb::Error::ConditionalCheckFailedException(_)) => (StatusCode::OK, "taken before"),
            Err(error) => {
                tracing::warn!(webhook.id = webhook_id, ?error, "the inbox cannot be written");
                (StatusCode::SERVICE_UNAVAILABLE, "could not be taken now")
            }
        }
    }
}

/// The ARN of whoever signed the request, as the Function URL found it.
fn caller(request: &Request) -> Option<&str> {
    let RequestContext::ApiGatewayV2(context) = request.request_context_ref()? else {
        return None;
    };
    context.authorizer.as_ref()?.iam.as_ref()?.user_arn.as_deref()
}

/// How the ARNs of a role's sessions begin. They do not show the role's path.
fn sessions_of(role_arn: &str) -> Option<String> {
    let [_, partition, _, _, account, role] = role_arn.split(':').collect::<Vec<_>>()[..] else {
        return None;
    };
    let name = role.strip_prefix("role/")?.rsplit('/').next()?;
    Some(format!("arn:{partition}:sts::{account}:assumed-role/{name}/"))
}

/// With the credentials that Lambda gives a function for as long as it lives.
fn dynamodb() -> Result<Client, Error> {
    let credentials = Credentials::new(
        required("AWS_ACCESS_KEY_ID")?,
        required("AWS_SECRET_ACCESS_KEY")?,
        required("AWS_SESSION_TOKEN").ok(),
        None,
        "lambda",
    );
    let tls = Provider::Rustls(CryptoMode::Ring);
    let attempt = Duration::from_secs(3);
    let mut config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(required("AWS_REGION")?))
        .credentials_provider(credentials)
        .http_client(aws_smithy_http_client::Builder::new().tls_provider(tls).build_https())
        .retry_config(RetryConfig::standard().with_max_attempts(2))
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(attempt).build());
    config.set_endpoint_url(required("AWS_ENDPOINT_URL").ok());
    Ok(Client::from_conf(config.build()))
}

#[expect(clippy::disallowed_methods, reason = "a program of its own, with nobody to ask but its environment")]
fn required(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("{name} is not set"))
}

#[expect(clippy::disallowed_methods, reason = "a program of its own, with no clock but the machine's")]
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
