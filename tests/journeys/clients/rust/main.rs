//! Asks a model through the governor until it is refused, with the AWS SDK for Rust as it comes from its publisher, found by
//! variables only.
//!
//! ```sh
//! sdk-for-rust whole|streamed MODEL
//! ```
//!
//! Writes `{"answers": how many, "error": the exception's code, "status": its status}`.

use std::env;
use std::error::Error;
use std::io::{Write, stdout};

use aws_config::BehaviorVersion;
use aws_sdk_bedrockruntime::Client;
use aws_sdk_bedrockruntime::config::http::HttpResponse;
use aws_sdk_bedrockruntime::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_bedrockruntime::types::{
    ContentBlock, ConversationRole, ConverseStreamOutput, InferenceConfiguration, Message, TokenUsage,
};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use serde_json::{Value, json};

const QUESTION: &str = "Tell me something. [[bedrock tokens=max]]";
const MAX_TOKENS: i32 = 1400;
const CALLS: u32 = 10;

/// How an ask ended that was not answered: the exception's code, and its status.
type Refused = (String, Option<u16>);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let is_streamed = env::args().nth(1).as_deref() == Some("streamed");
    let model = env::args().nth(2).ok_or("which model?")?;
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let config = aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await;
    let client = Client::new(&config);
    let mut told = json!({"answers": 0, "error": Value::Null, "status": Value::Null});
    for answers in 1..=CALLS {
        let answer = if is_streamed { streamed(&client, &model).await } else { whole(&client, &model).await };
        match answer {
            Ok(written) if written > 0 => told["answers"] = json!(answers),
            Ok(_) => return Err("an answer without a word".into()),
            Err((error, status)) => {
                told["error"] = json!(error);
                told["status"] = json!(status);
                break;
            }
        }
    }
    write!(stdout(), "{told}")?;
    Ok(())
}

fn question() -> Message {
    let text = ContentBlock::Text(QUESTION.to_owned());
    Message::builder().role(ConversationRole::User).content(text).build().expect("role and content")
}

fn limit() -> InferenceConfiguration {
    InferenceConfiguration::builder().max_tokens(MAX_TOKENS).build()
}

/// How many tokens an answer had that came whole.
async fn whole(client: &Client, model: &str) -> Result<i32, Refused> {
    let asked = client.converse().model_id(model).messages(question()).inference_config(limit());
    let answer = asked.send().await.map_err(refused)?;
    Ok(answer.usage().map_or(0, TokenUsage::output_tokens))
}

/// How many tokens an answer had that came in pieces.
async fn streamed(client: &Client, model: &str) -> Result<i32, Refused> {
    let asked = client.converse_stream().model_id(model).messages(question()).inference_config(limit());
    let mut answer = asked.send().await.map_err(refused)?;
    let mut written = 0;
    while let Some(event) = answer.stream.recv().await.map_err(|error| (code(&error), None))? {
        if let ConverseStreamOutput::Metadata(metadata) = event {
            written = metadata.usage().map_or(0, TokenUsage::output_tokens);
        }
    }
    Ok(written)
}

fn refused<E: ProvideErrorMetadata>(error: SdkError<E, HttpResponse>) -> Refused {
    (code(&error), error.raw_response().map(|response| response.status().as_u16()))
}

/// The exception's own code, or what went wrong where there was none.
fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> String {
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    code.map_or_else(|| error.to_string(), str::to_owned)
}
