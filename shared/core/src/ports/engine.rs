//! The engine that executes runs: starting, stopping, describing and listing executions, and answering their tasks.

use super::store::Page;
use crate::arn::{ExecutionArn, StateMachineArn};
use crate::id::RunId;
use crate::lifecycle::EngineEnd;
use crate::run::EndDetails;
use std::future::Future;

/// What is needed to start an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartRequest<'a> {
    pub state_machine_arn: &'a StateMachineArn,
    /// The run to execute. Its id becomes the name of the execution.
    pub run_id: RunId,
    /// The execution's input, JSON text.
    pub input: &'a str,
}

/// What became of a start that the engine answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartOutcome {
    /// The execution of this run exists: this call or an earlier one started it.
    Started,
    /// The engine will never start this execution, because the state machine is gone or refuses the input. `code` is
    /// the engine's name of the error.
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

/// Starts executions.
pub trait StartExecution: Send + Sync {
    /// Starts the execution of a run. Repeating the call is safe: where an execution of that name with the same input
    /// exists already, running or closed, the answer is `Started`.
    fn start_execution(&self, request: &StartRequest<'_>) -> impl Future<Output = EngineResult<StartOutcome>> + Send;
}

/// Stops executions.
pub trait StopExecution: Send + Sync {
    /// Asks the engine to abort an execution. Stopping an execution that has ended, or that never existed, is no error.
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
    /// The execution was never started, or the engine no longer keeps its history.
    Unknown,
}

/// The answer to a runner that waits with a task token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskAnswer<'a> {
    /// The task succeeded with this output, JSON text.
    Success(&'a str),
    Failure {
        error: &'a str,
        cause: &'a str,
    },
}

/// What became of an answer to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskAnswered {
    /// The engine took the answer.
    Taken,
    /// Nobody waits with this token: the task was answered before, or its execution has ended.
    NotWaiting,
}

/// Answers tasks that wait with a token.
pub trait AnswerTask: Send + Sync {
    /// Answers the task that waits with `token`. Repeating an answer is harmless.
    fn answer_task(
        &self,
        token: &str,
        answer: &TaskAnswer<'_>,
    ) -> impl Future<Output = EngineResult<TaskAnswered>> + Send;
}

/// Looks at one execution.
pub trait DescribeExecution: Send + Sync {
    /// What the engine knows of an execution. Eventually consistent. The engine allows about 15 such calls a second for
    /// the whole account, so this is for executions that seem to differ from their runs, and not for polling.
    fn describe_execution(
        &self,
        execution_arn: &ExecutionArn,
    ) -> impl Future<Output = EngineResult<ExecutionState>> + Send;
}

/// Reads the input of one execution.
pub trait ReadExecutionInput: Send + Sync {
    /// The input that an execution was started with; `None` when there is no such execution. As few calls are allowed
    /// as of [`DescribeExecution`], so this is only for a status event that left the input out.
    fn execution_input(
        &self,
        execution_arn: &ExecutionArn,
    ) -> impl Future<Output = EngineResult<Option<String>>> + Send;
}

/// Lists executions.
pub trait ListExecutions: Send + Sync {
    /// A page of the names of a state machine's running executions.
    fn running_executions(
        &self,
        state_machine_arn: &StateMachineArn,
        cursor: Option<&str>,
    ) -> impl Future<Output = EngineResult<Page<String>>> + Send;
}
