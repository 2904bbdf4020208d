//! What a call is answered with: bodies, frames of streams and headers, as each API and family has them.

mod anthropic;
mod chat;
mod converse;
mod frame;
mod invoke;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::ask::Guardrail;
use crate::family::Family;
use crate::fault::{Fault, Kind};
use crate::generation::Generation;
use crate::target::Operation;
use crate::usage::Usage;

/// A call that was served, as its answer tells it.
#[derive(Clone, Debug)]
pub struct Served {
    /// Letters and digits that make an id.
    pub id: String,
    pub model: String,
    pub generation: Generation,
    /// What is said of its usage; `None` where nothing is.
    pub reported: Option<Usage>,
    /// The tier that served it.
    pub tier: String,
    pub guardrail: Option<Guarded>,
    /// Whether a stream of chat completions tells its usage.
    pub includes_usage: bool,
    /// Seconds since 1970.
    pub created: u64,
}

/// What a guardrail looked at.
#[derive(Clone, Debug)]
pub struct Guarded {
    pub guardrail: Guardrail,
    pub input_characters: u64,
    pub output_characters: u64,
}

/// Thousands of characters, begun ones included.
const UNIT: u64 = 1_000;

impl Guarded {
    pub fn units(&self) -> u64 {
        self.input_characters.div_ceil(UNIT) + self.output_characters.div_ceil(UNIT)
    }

    fn trace(&self) -> Value {
        let metrics = |characters: u64| {
            json!({"invocationMetrics": {
                "guardrailProcessingLatency": 1,
                "usage": {
                    "topicPolicyUnits": 0, "contentPolicyUnits": characters.div_ceil(UNIT), "wordPolicyUnits": 0,
                    "sensitiveInformationPolicyUnits": 0, "sensitiveInformationPolicyFreeUnits": 0,
                    "contextualGroundingPolicyUnits": 0,
                },
                "guardrailCoverage": {"textCharacters": {"guarded": characters, "total": characters}},
            }})
        };
        let id = &self.guardrail.id;
        json!({
            "inputAssessment": {id: metrics(self.input_characters)},
            "outputAssessments": {id: [metrics(self.output_characters)]},
        })
    }
}

/// A frame of a stream.
#[derive(Clone, Debug)]
pub struct Frame {
    pub bytes: Bytes,
    /// Tokens that have been written when it is sent.
    pub output: u64,
}

/// A part of a stream before it is framed.
struct Event {
    kind: &'static str,
    body: Value,
    output: u64,
}

/// The body of an answer in one piece.
pub fn body(operation: Operation, family: Family, served: &Served) -> Value {
    match operation {
        Operation::Converse | Operation::ConverseStream => converse::body(served),
        Operation::ChatCompletions => chat::body(served),
        Operation::InvokeModel | Operation::InvokeModelWithResponseStream => invoke::body(family, served),
        Operation::CountTokens => json!({"inputTokens": served.reported.map(|usage| usage.context())}),
    }
}

/// The frames of an answer in a stream.
///
/// # Errors
/// When one cannot be framed.
pub fn frames(operation: Operation, family: Family, served: &Served) -> Result<Vec<Frame>, Fault> {
    match operation {
        Operation::ChatCompletions => Ok(frame::sse(chat::events(served))),
        Operation::InvokeModel | Operation::InvokeModelWithResponseStream => {
            frame::chunks(invoke::events(family, served))
        }
        Operation::Converse | Operation::ConverseStream | Operation::CountTokens => {
            frame::events(converse::events(served))
        }
    }
}

/// A modelled exception within a stream.
///
/// # Errors
/// When it cannot be framed.
pub fn exception(operation: Operation, kind: Kind) -> Result<Bytes, Fault> {
    let fault = Fault::from(kind);
    if operation == Operation::ChatCompletions {
        return Ok(Bytes::from(format!("data: {}\n\n", fault.chat_body())));
    }
    frame::exception(Fault::stream_name(kind).unwrap_or("internalServerException"), &fault.stream_body())
}

/// The headers of an answer, beside those of its id.
pub fn headers(operation: Operation, family: Family, served: &Served, streams: bool) -> Vec<(&'static str, String)> {
    let content_type = match (operation, streams) {
        (Operation::ChatCompletions, true) => "text/event-stream; charset=utf-8",
        (_, true) => "application/vnd.amazon.eventstream",
        (_, false) => "application/json",
    };
    let mut headers = vec![("content-type", content_type.to_owned())];
    if !matches!(operation, Operation::InvokeModel | Operation::InvokeModelWithResponseStream) {
        return headers;
    }
    headers.push(("x-amzn-bedrock-service-tier", served.tier.clone()));
    if streams {
        headers.push(("x-amzn-bedrock-content-type", "application/json".to_owned()));
    } else if let Some(usage) = served.reported.filter(|_| family.tells_usage()) {
        headers.push(("x-amzn-bedrock-invocation-latency", "1".to_owned()));
        headers.push(("x-amzn-bedrock-input-token-count", usage.input.to_string()));
        headers.push(("x-amzn-bedrock-output-token-count", usage.output.to_string()));
        headers.push(("x-amzn-bedrock-cache-read-input-token-count", usage.cache_read.to_string()));
        headers.push(("x-amzn-bedrock-cache-write-input-token-count", usage.cache_write().to_string()));
    }
    headers
}
