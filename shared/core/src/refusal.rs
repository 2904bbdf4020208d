//! Why a request was refused, whichever flow refused it.

use crate::concurrency::SlotScope;
use crate::governor::quota::Period;
use crate::id::RunId;
use crate::ports::{StoreError, StoreErrorClass};
use crate::violation::Invalid;
use std::fmt;

/// What a flow answers with.
pub type Answer<T> = Result<T, Refusal>;

#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Bad input. Nothing was written.
    #[error("the request is invalid: {0}")]
    Invalid(Invalid),
    /// What is asked for does not exist, or belongs to another tenant.
    #[error("there is no {what} {id}")]
    NotFound { what: Thing, id: String },
    /// The caller may not do this at all.
    #[error("only the operator may {0}")]
    OperatorOnly(&'static str),
    /// It cannot be done to the thing as it is now.
    #[error("{message}")]
    Conflict { code: ConflictCode, message: String },
    /// The idempotency key was first used with another payload.
    #[error("this idempotency key was first used with another request, which made run {run_id}")]
    KeyReused { run_id: RunId },
    /// The idempotency key made a run that is gone by now.
    #[error("this idempotency key made run {run_id}, which is no longer kept")]
    RunExpired { run_id: RunId },
    /// As many runs are open as may be. Nothing was written; later there may be room.
    #[error("{limit} runs are open, as many as this {} may have at once", scope.as_str())]
    TooManyRuns { scope: SlotScope, limit: u32 },
    /// The tenant has started as many runs in this minute as it may. Nothing was written; when the minute is over, it may go on.
    #[error("{limit} runs were started in this minute, as many as this tenant may")]
    RateLimited { limit: u32, retry_after_seconds: u32 },
    /// The sweep has counted as many open runs of the tenant as it may have. Nothing was written; later there may be room.
    #[error("{open} runs are open, by the last count, and this tenant may have {limit}")]
    TooManyOpenRuns { open: u32, limit: u32 },
    /// Nothing is left of a quota that the run would draw on. Nothing was written; when the period is over, it may go on.
    #[error("what {whose} may spend on governed calls in this {} is spent", period.as_str())]
    BudgetExhausted { whose: &'static str, period: Period, retry_after_seconds: u32 },
    /// The queue is as long as may be. Nothing was written; later there may be room.
    #[error("{} runs wait already, as many as may", crate::limits::QUEUED_RUNS)]
    QueueFull,
    /// A report token that is none, not of this run, or no longer valid. All the same to who holds it.
    #[error("the report token is not valid for this run")]
    InvalidReportToken,
    /// The store did not say whether it recorded the new run. If it did, the run goes on like any other.
    #[error("whether run {run_id} was recorded is not known")]
    Unanswered {
        run_id: RunId,
        #[source]
        error: StoreError,
    },
    #[error("the store could not be used")]
    Store(#[source] StoreError),
}

crate::codes! {
    /// Why something cannot be done to a thing as it is now.
    pub enum ConflictCode {
        NameTaken = "name_taken": "the name is taken",
        RunEnded = "run_ended": "the run has ended",
        WrongStatus = "wrong_status": "the run is in no status for this",
        RunOpen = "run_open": "the run has not ended",
        NotWaiting = "not_waiting": "the node waits for no answer",
        LoopingRisk = "looping_risk": "too many replays of replays",
        TooManyPauses = "too_many_pauses": "the run was paused too often",
        AttemptUnderWay = "attempt_under_way": "the delivery is being attempted",
        DeliveriesOpen = "deliveries_open": "somebody has yet to be told of the run's end",
        TooManyVersions = "too_many_versions": "the definition has as many versions as it may",
        TooManyDefinitions = "too_many_definitions": "the tenant has as many definitions as it may",
        TooManyKeys = "too_many_keys": "the processor has as many keys as it may",
        ModelIdTaken = "model_id_taken": "the id belongs to another model",
    }
}

/// What can be asked for and not be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Thing {
    WorkflowRun,
    Step,
    /// An item of a fan-out, by its node and its index.
    StepItem,
    /// An iteration of a loop, by its node and its number.
    StepIteration,
    /// By its place in the sequence of the run's inputs.
    Input,
    Delivery,
    WorkflowDefinition,
    DiscoverableDefinition,
    /// Named by its definition's id.
    Draft,
    Version,
    WorkflowInstance,
    Processor,
    /// A key of a processor, by its id.
    ProcessorKey,
    ComputeNode,
    Model,
}

impl Thing {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WorkflowRun => "workflow run",
            Self::Step => "step",
            Self::StepItem => "item of a step",
            Self::StepIteration => "iteration of a step",
            Self::Input => "input",
            Self::Delivery => "delivery",
            Self::WorkflowDefinition => "workflow definition",
            Self::DiscoverableDefinition => "discoverable workflow definition",
            Self::Draft => "draft of workflow definition",
            Self::Version => "version",
            Self::WorkflowInstance => "workflow instance",
            Self::Processor => "processor",
            Self::ProcessorKey => "key of a processor",
            Self::ComputeNode => "compute node",
            Self::Model => "model",
        }
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Refusal {
    /// There is no such thing, as far as this caller may know.
    pub fn not_found(what: Thing, id: impl fmt::Display) -> Self {
        Self::NotFound { what, id: id.to_string() }
    }

    /// The run with this id could not be recorded, as far as the store says.
    pub fn unrecorded(run_id: RunId, error: StoreError) -> Self {
        match error.class {
            StoreErrorClass::Unavailable => Self::Unanswered { run_id, error },
            StoreErrorClass::Conflict | StoreErrorClass::Throttled | StoreErrorClass::Corrupt => Self::Store(error),
        }
    }

    pub fn conflict(code: ConflictCode, message: impl fmt::Display) -> Self {
        Self::Conflict { code, message: message.to_string() }
    }
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_has_one_meaning() {
        let texts: BTreeSet<&str> = ConflictCode::ALL.iter().map(|code| code.as_str()).collect();
        let meanings: BTreeSet<&str> = ConflictCode::ALL.iter().map(|code| code.meaning()).collect();
        assert_eq!((texts.len(), meanings.len()), (ConflictCode::ALL.len(), ConflictCode::ALL.len()));
    }
}
