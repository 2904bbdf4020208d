//! What a worker asks.

use crate::id::{NodeId, RunId, TenantId};
use crate::report::NodeOutcome;
use crate::usage::LlmCall;

/// What a worker asks: its next turn, with what came of the last.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub tenant_id: TenantId,
    pub run_id: RunId,
    pub worker: usize,
    /// From 1.
    pub turn: u32,
    /// What the worker waits with.
    pub token: String,
    pub ended: Option<Ended>,
}

/// An attempt that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    pub node_id: NodeId,
    /// Of a fan-out.
    pub item: Option<u32>,
    pub iteration: u32,
    pub attempt: u32,
    pub outcome: NodeOutcome,
    /// Whether no further attempt would mend a failure.
    pub is_final: bool,
    /// The LLM calls that its result reports.
    pub usage: Vec<LlmCall>,
}
