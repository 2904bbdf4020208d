//! What is kept of a governed call: one record under its id, written once.

use crate::budget::NanoUsd;
use crate::call_id::CallId;
use crate::governor::usage::TokenUsage;
use crate::id::{ModelKey, NodeId};
use crate::time::millis;
use crate::usage::LlmCall;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How a call was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It cost what it used.
    Used,
    /// It never ran, and cost nothing.
    NotRun,
    /// Nobody knows what it used: it cost all that was set aside.
    Lost,
}

/// A governed call that is over. **Invariant:** the first record of a call stands, whoever writes another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallRecord {
    pub call_id: CallId,
    /// `None` where whoever wrote the record knew no more than the hold: the call's process died.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<AboutCall>,
    pub outcome: Outcome,
    pub tokens: TokenUsage,
    #[serde(rename = "heldNanoUsd")]
    pub held: NanoUsd,
    #[serde(rename = "costNanoUsd")]
    pub cost: NanoUsd,
    #[serde(with = "millis")]
    pub settled_at: Timestamp,
}

/// Who called what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AboutCall {
    pub node_id: NodeId,
    pub attempt: u32,
    pub model: ModelKey,
    pub latency_ms: u64,
}

/// The provider of governed calls, as usage lists it.
pub const PROVIDER: &str = "bedrock";
/// The model of a call of which only the hold is known.
pub const UNKNOWN_MODEL: &str = "unknown";

impl CallRecord {
    /// The call as the list of a run's usage has it: under the same id as a processor reports it under, so that it counts once.
    pub fn as_reported(&self) -> LlmCall {
        LlmCall {
            call_id: self.call_id.to_string(),
            node_id: self.about.as_ref().map(|about| about.node_id.clone()),
            provider: PROVIDER.to_owned(),
            model: self.about.as_ref().map_or_else(|| UNKNOWN_MODEL.to_owned(), |about| about.model.to_string()),
            input_tokens: self.tokens.context(),
            output_tokens: self.tokens.output,
            cached_tokens: self.tokens.cache_read,
            cost_nano_usd: self.cost,
            latency_ms: self.about.as_ref().map_or(0, |about| about.latency_ms),
            reported_at: self.settled_at,
        }
    }
}
