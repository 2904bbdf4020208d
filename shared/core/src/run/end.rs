//! How an execution ended, and why its run failed.

use crate::failure;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a run failed, as its caller sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunError {
    /// From Step Functions or the processor, e.g. `States.TaskFailed`; at most 256 characters.
    pub code: String,
    /// At most [`RunError::HEAD_MESSAGE_CHARS`] in a head; longer in the run's output item.
    pub message: String,
}

impl RunError {
    pub const CODE_CHARS: usize = 256;
    pub const HEAD_MESSAGE_CHARS: usize = 512;
    /// What a webhook says at most.
    pub const FULL_MESSAGE_CHARS: usize = 8_192;

    pub fn new(code: &str, message: &str, most: usize) -> Self {
        Self { code: code.chars().take(Self::CODE_CHARS).collect(), message: message.chars().take(most).collect() }
    }

    /// A processor's failure at a node, from the error and the cause that the runner recorded.
    pub fn of_processor(error: &str, cause: &str) -> Self {
        let (code, message) = failure::shown(error, cause);
        Self { code, message }
    }

    /// What Step Functions says of a failure. The runner's own causes are JSON that names the failed node; they become
    /// a sentence. Any other cause is kept as it is.
    pub fn from_engine(code: &str, cause: &str) -> Self {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct RunnerCause {
            node_id: String,
            #[serde(default)]
            cause: serde_json::Value,
        }
        let message = match serde_json::from_str::<RunnerCause>(cause) {
            Ok(RunnerCause { node_id, cause }) => {
                let text = cause.as_str().map_or_else(|| cause.to_string(), str::to_owned);
                let (shown_code, text) = failure::shown(code, &text);
                let message = match text.as_str() {
                    "" | "null" => format!("node {node_id} failed"),
                    text => format!("node {node_id}: {text}"),
                };
                return Self::new(&shown_code, &message, Self::FULL_MESSAGE_CHARS);
            }
            Err(_other_form) => cause.to_owned(),
        };
        Self::new(code, &message, Self::FULL_MESSAGE_CHARS)
    }
}

/// What the engine says of an execution's end, from its event or from `DescribeExecution`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndDetails {
    /// When the execution stopped, by the engine's clock.
    pub stopped_at: Option<Timestamp>,
    /// The execution's output, JSON text as the engine gave it.
    pub output: Option<String>,
    pub error: Option<RunError>,
}
