//! The services beside the table, as far as the functions ask them: they take everything, and nothing comes of it.

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use serde_json::{Value, json};

/// What a call is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Whole(String),
    /// Each piece is on its way before the next.
    Streamed(Vec<Vec<u8>>),
}

impl Answer {
    pub fn whole(status: u16, body: String) -> Self {
        Self { status, body: Body::Whole(body) }
    }

    fn json(body: &Value) -> Self {
        Self::whole(200, body.to_string())
    }

    /// What is said at once: nothing of a stream.
    pub fn text(&self) -> &str {
        match &self.body {
            Body::Whole(text) => text,
            Body::Streamed(_) => "",
        }
    }
}

/// Who is asked. Each has an address of its own, as on AWS, so that a process has to make a connection to each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    DynamoDb,
    StepFunctions,
    EventBridge,
    Bedrock,
    /// Not AWS: who is told of ends.
    Receiver,
}

impl Service {
    pub const ALL: [Self; 5] = [Self::DynamoDb, Self::StepFunctions, Self::EventBridge, Self::Bedrock, Self::Receiver];

    /// The variable by which every SDK is told where the service is, and the governor where Bedrock is.
    pub const fn variable(self) -> Option<&'static str> {
        match self {
            Self::DynamoDb => Some("AWS_ENDPOINT_URL_DYNAMODB"),
            Self::StepFunctions => Some("AWS_ENDPOINT_URL_SFN"),
            Self::EventBridge => Some("AWS_ENDPOINT_URL_EVENTBRIDGE"),
            Self::Bedrock => Some("SLUICE_BEDROCK_ENDPOINT"),
            Self::Receiver => None,
        }
    }
}

/// Seconds since 1970, as these services write times: any will do, and always the same is best.
const SOME_TIME: f64 = 1_795_322_400.0;

/// What a service other than the table answers.
pub fn answer(operation: &str, body: &str) -> Answer {
    let asked: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |name: &str| asked[name].as_str().unwrap_or_default();
    match operation {
        "StartExecution" => {
            let machine = text("stateMachineArn").replace(":stateMachine:", ":execution:");
            Answer::json(&json!({"executionArn": format!("{machine}:{}", text("name")), "startDate": SOME_TIME}))
        }
        "StopExecution" => Answer::json(&json!({"stopDate": SOME_TIME})),
        "SendTaskSuccess" | "SendTaskFailure" | "SendTaskHeartbeat" => Answer::json(&json!({})),
        "DescribeExecution" => Answer::json(&json!({
            "executionArn": text("executionArn"), "stateMachineArn": "", "status": "RUNNING", "startDate": SOME_TIME,
        })),
        "ListExecutions" => Answer::json(&json!({"executions": []})),
        "PutEvents" => {
            let entries = asked["Entries"].as_array().map_or(0, Vec::len);
            let taken: Vec<Value> = (0..entries).map(|number| json!({"EventId": format!("event-{number}")})).collect();
            Answer::json(&json!({"FailedEntryCount": 0, "Entries": taken}))
        }
        CONVERSE => Answer::json(&json!({
            "output": {"message": {"role": "assistant", "content": [{"text": "Something."}]}},
            "stopReason": "end_turn",
            "usage": {"inputTokens": 12, "outputTokens": 4, "totalTokens": 16},
            "metrics": {"latencyMs": 1},
        })),
        CONVERSE_STREAM => Answer { status: 200, body: Body::Streamed(events().iter().map(frame).collect()) },
        POST => Answer::whole(200, String::new()),
        other => {
            let message = format!("the benchmark does not know {other}");
            Answer::whole(400, json!({"__type": "ValidationException", "message": message}).to_string())
        }
    }
}

/// A call of a language model, whole.
pub const CONVERSE: &str = "Converse";

/// The same, in a stream of events.
pub const CONVERSE_STREAM: &str = "ConverseStream";

/// The events of an answer with a word in each of its pieces.
/// Source: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html>
fn events() -> Vec<(&'static str, Value)> {
    let word = |_| ("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"text": "Something "}}));
    let mut events = vec![("messageStart", json!({"role": "assistant"}))];
    events.extend((0..PIECES).map(word));
    events.extend([
        ("contentBlockStop", json!({"contentBlockIndex": 0})),
        ("messageStop", json!({"stopReason": "end_turn"})),
        (
            "metadata",
            json!({
                "usage": {"inputTokens": 12, "outputTokens": PIECES, "totalTokens": 12 + PIECES},
                "metrics": {"latencyMs": 1},
            }),
        ),
    ]);
    events
}

const PIECES: usize = 20;

/// Source: <https://smithy.io/2.0/aws/amazon-eventstream.html>
fn frame((kind, payload): &(&'static str, Value)) -> Vec<u8> {
    let header = |name: &'static str, value: &'static str| Header::new(name, HeaderValue::String(value.into()));
    let message = Message::new(payload.to_string())
        .add_header(header(":event-type", kind))
        .add_header(header(":content-type", "application/json"))
        .add_header(header(":message-type", "event"));
    let mut frame = Vec::new();
    // A frame of a few words is never too long for one.
    drop(write_message_to(&message, &mut frame));
    frame
}

/// How a webhook is called among the calls.
pub const POST: &str = "POST";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_execution_is_named_as_it_was_asked_for() {
        let asked = r#"{"stateMachineArn": "arn:aws:states:us-east-1:1:stateMachine:runner", "name": "r"}"#;
        assert!(answer("StartExecution", asked).text().contains("arn:aws:states:us-east-1:1:execution:runner:r"));
    }

    #[test]
    fn every_event_is_taken() {
        let taken: Value = serde_json::from_str(answer("PutEvents", r#"{"Entries": [{}, {}]}"#).text()).expect("JSON");
        assert_eq!((taken["Entries"].as_array().map(Vec::len), &taken["FailedEntryCount"]), (Some(2), &json!(0)));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert_eq!(answer("DeleteEverything", "{}").status, 400);
    }
}
