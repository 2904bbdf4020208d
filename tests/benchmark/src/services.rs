//! The services beside the table, as far as the functions ask them: they take everything, and nothing comes of it.

use serde_json::{Value, json};

/// What a call is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    fn json(body: &Value) -> Self {
        Self { status: 200, body: body.to_string() }
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
        POST => Answer { status: 200, body: String::new() },
        other => Answer {
            status: 400,
            body: json!({"__type": "ValidationException", "message": format!("the benchmark does not know {other}")})
                .to_string(),
        },
    }
}

/// A call of a language model, whole.
pub const CONVERSE: &str = "Converse";

/// How a webhook is called among the calls.
pub const POST: &str = "POST";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_execution_is_named_as_it_was_asked_for() {
        let asked = r#"{"stateMachineArn": "arn:aws:states:us-east-1:1:stateMachine:runner", "name": "r"}"#;
        assert!(answer("StartExecution", asked).body.contains("arn:aws:states:us-east-1:1:execution:runner:r"));
    }

    #[test]
    fn every_event_is_taken() {
        let taken: Value = serde_json::from_str(&answer("PutEvents", r#"{"Entries": [{}, {}]}"#).body).expect("JSON");
        assert_eq!((taken["Entries"].as_array().map(Vec::len), &taken["FailedEntryCount"]), (Some(2), &json!(0)));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert_eq!(answer("DeleteEverything", "{}").status, 400);
    }
}
