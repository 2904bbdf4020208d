//! Asks a model through the governor until it is refused, as `spend.py` does: `governed-client whole|streamed MODEL`. Its endpoint, its
//! bearer token and its authority are found by variables only.

use aws_config::BehaviorVersion;
use aws_sdk_bedrockruntime::Client;
use aws_sdk_bedrockruntime::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_bedrockruntime::types::{ContentBlock, ConversationRole, InferenceConfiguration, Message};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use serde_json::json;
use std::io::Write;

const QUESTION: &str = "Tell me something. [[bedrock tokens=max]]";
const MAX_TOKENS: i32 = 1_400;
const CALLS: u32 = 10;

type Failure = Box<dyn std::error::Error>;

/// What a refusal says.
struct Refused {
    code: String,
    status: u16,
}

impl<E: ProvideErrorMetadata> From<SdkError<E, HttpResponse>> for Refused {
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let status = error.raw_response().map_or(0, |response| response.status().as_u16());
        Self { code: error.code().unwrap_or("nothing was said").to_owned(), status }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let is_streamed = arguments.next().as_deref() == Some("streamed");
    let model = arguments.next().ok_or("no model is named")?;
    let http_client = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let config = aws_config::defaults(BehaviorVersion::latest()).http_client(http_client).load().await;
    let client = Client::new(&config);
    let (mut answers, mut refused) = (0, None);
    for _ in 0..CALLS {
        match ask(&client, &model, is_streamed).await {
            Ok(()) => answers += 1,
            Err(refusal) => {
                refused = Some(refusal);
                break;
            }
        }
    }
    let told = json!({
        "answers": answers,
        "error": refused.as_ref().map(|refused| &refused.code),
        "status": refused.as_ref().map(|refused| refused.status),
    });
    writeln!(std::io::stdout(), "{told}")?;
    Ok(())
}

async fn ask(client: &Client, model: &str, is_streamed: bool) -> Result<(), Refused> {
    let content = ContentBlock::Text(QUESTION.to_owned());
    let message = Message::builder().role(ConversationRole::User).content(content).build().map_err(|_| unasked())?;
    let limits = InferenceConfiguration::builder().max_tokens(MAX_TOKENS).build();
    if !is_streamed {
        let asked = client.converse().model_id(model).messages(message).inference_config(limits);
        return asked.send().await.map(drop).map_err(Refused::from);
    }
    let asked = client.converse_stream().model_id(model).messages(message).inference_config(limits);
    let mut stream = asked.send().await.map_err(Refused::from)?.stream;
    while stream.recv().await.map_err(|error| Refused { code: error.to_string(), status: 0 })?.is_some() {}
    Ok(())
}

fn unasked() -> Refused {
    Refused { code: "the question cannot be put".to_owned(), status: 0 }
}
