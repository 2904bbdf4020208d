//! Carry a run of the runner's second generation on: take what a worker of its execution has ended, decide what begins now, write
//! both in one change of the run's board, and tell every worker that has something to do.

use crate::id::{NodeId, RunId, TenantId};
use crate::ports::{AnswerTask, Boards, RecordUsage, StopExecution, StoreResult};
use crate::report::NodeOutcome;
use crate::usage::LlmCall;
use jiff::Timestamp;

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

/// How a run of which all workers have left is to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// JSON text: an object of the results of its leaves, by their nodes.
    Results(String),
    Failure {
        error: String,
        cause: String,
    },
}

/// Takes what the worker has ended, and tells all workers that have something to do now. An asker for whom there is nothing yet
/// is told by whoever changes the board later.
///
/// # Errors
/// When the store or the engine fails. The same question may be asked again.
pub async fn advance_run<S, E>(_store: &S, _engine: &E, _asked: Asked, _now: Timestamp) -> StoreResult<()>
where
    S: Boards + RecordUsage,
    E: AnswerTask + StopExecution,
{
    Ok(())
}

/// How the run is to end.
///
/// # Errors
/// When the store fails.
pub async fn conclude<S: Boards>(_store: &S, _tenant: &TenantId, _run_id: RunId) -> StoreResult<Conclusion> {
    Ok(Conclusion::Results(String::new()))
}
