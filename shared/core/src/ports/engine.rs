//! Executions in the engine: started, stopped, answered, described.

use super::store::Page;
use crate::arn::{ExecutionArn, StateMachineArn};
use crate::id::RunId;
use crate::lifecycle::EngineEnd;
use crate::run::EndDetails;
use std::future::Future;

/// What a start needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartRequest<'a> {
    pub state_machine_arn: &'a StateMachineArn,
    /// The execution's name.
    pub run_id: RunId,
    pub input: &'a str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartOutcome {
    /// The execution exists and is ours: started now, or by an earlier try.
    Started,
    /// Never to be had: the state machine is gone, or refuses the input. `code` is the engine's error.
    Refused { code: String, message: String },
}

/// The engine did not answer, was throttled, or failed on its side. The call may have had its effect.
#[derive(Debug, thiserror::Error)]
#[error("the engine failed to {operation}")]
pub struct EngineError {
    pub operation: &'static str,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

pub type EngineResult<T> = Result<T, EngineError>;

pub trait StartExecution: Send + Sync {
    /// Starts the execution named after its run. Repeating it is safe: an execution of that name with this input,
    /// running or closed, is `Started`.
    fn start_execution(&self, request: &StartRequest<'_>) -> impl Future<Output = EngineResult<StartOutcome>> + Send;
}

pub trait StopExecution: Send + Sync {
    /// Asks the engine to abort. Stopping what has ended or never was is no error.
    fn stop_execution(
        &self,
        execution_arn: &ExecutionArn,
        error: &str,
        cause: &str,
    ) -> impl Future<Output = EngineResult<()>> + Send;
}

/// What the engine knows of an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecutionState {
    Running,
    Ended(EngineEnd, EndDetails),
    /// Never started, or its history is gone.
    Unknown,
}

/// What a runner that waits for a task token is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskAnswer<'a> {
    /// With the task's output, JSON text.
    Success(&'a str),
    Failure {
        error: &'a str,
        cause: &'a str,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskAnswered {
    Taken,
    /// Nobody waits for this token: it was answered before, or its execution has ended.
    NotWaiting,
}

pub trait AnswerTask: Send + Sync {
    /// Answers a task token. Repeating an answer is harmless.
    fn answer_task(
        &self,
        token: &str,
        answer: &TaskAnswer<'_>,
    ) -> impl Future<Output = EngineResult<TaskAnswered>> + Send;
}

pub trait DescribeExecution: Send + Sync {
    /// Eventually consistent, and scarce (about 15 a second): for differences, not for polling.
    fn describe_execution(
        &self,
        execution_arn: &ExecutionArn,
    ) -> impl Future<Output = EngineResult<ExecutionState>> + Send;
}

pub trait ReadExecutionInput: Send + Sync {
    /// The input an execution was started with; `None` when there is no such execution. Scarce as
    /// [`DescribeExecution`]: only for a status event that left the input out.
    fn execution_input(
        &self,
        execution_arn: &ExecutionArn,
    ) -> impl Future<Output = EngineResult<Option<String>>> + Send;
}

pub trait ListExecutions: Send + Sync {
    /// Names of the running executions of a state machine, and how to go on.
    fn running_executions(
        &self,
        state_machine_arn: &StateMachineArn,
        cursor: Option<&str>,
    ) -> impl Future<Output = EngineResult<Page<String>>> + Send;
}
