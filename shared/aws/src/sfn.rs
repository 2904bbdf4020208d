//! The engine's executions: started, stopped, answered, described, listed.

pub mod operation;

use crate::Engine;
use crate::call::CallError;
use crate::fault::Fault;
use aws_sdk_sfn::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sfn::operation::describe_execution::{
    self, DescribeExecutionError, DescribeExecutionInput, DescribeExecutionOutput,
};
use aws_sdk_sfn::operation::list_executions::{self, ListExecutionsInput};
use aws_sdk_sfn::operation::send_task_failure::{SendTaskFailure, SendTaskFailureInput};
use aws_sdk_sfn::operation::send_task_success::{SendTaskSuccess, SendTaskSuccessInput};
use aws_sdk_sfn::operation::start_execution::StartExecutionError;
use aws_sdk_sfn::operation::stop_execution::{self, StopExecutionInput};
use aws_sdk_sfn::types::ExecutionStatus;
use jiff::{Timestamp, Unit};
use sluice_core::arn::{ExecutionArn, StateMachineArn};
use sluice_core::lifecycle::EngineEnd;
use sluice_core::ports::{
    AnswerTask, DescribeExecution, EngineError, EngineResult, ExecutionState, ListExecutions, Page, ReadExecutionInput,
    StartExecution, StartOutcome, StartRequest, StopExecution, TaskAnswer, TaskAnswered,
};
use sluice_core::run::{EndDetails, RunError};

/// Characters that `StopExecution` and `SendTaskFailure` take.
/// Source: <https://docs.aws.amazon.com/step-functions/latest/apireference/API_StopExecution.html>
const ERROR_CHARS: usize = 256;
const CAUSE_CHARS: usize = 32_768;
/// Executions on a page of `ListExecutions`, at most.
const LIST_PAGE: i32 = 1_000;

fn failed(operation: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> EngineError {
    let source = source.into();
    // Most callers go on without the engine and leave it to the sweep: nobody but this would tell why.
    tracing::warn!(error.operation = operation, error = %source, "the engine did not do what it was asked");
    EngineError { operation, source: Some(source) }
}

impl StartExecution for Engine {
    async fn start_execution(&self, request: &StartRequest<'_>) -> EngineResult<StartOutcome> {
        let start = operation::StartExecutionInput {
            state_machine_arn: request.state_machine_arn.as_str(),
            name: &request.run_id.to_string(),
            input: request.input,
        };
        let Err(error) = self.sfn.call::<operation::StartExecution>(start).await else {
            return Ok(StartOutcome::Started);
        };
        let Some(answer) = error.as_service_error() else {
            return Err(failed("start an execution", Fault::of(&error)));
        };
        if matches!(answer, StartExecutionError::ExecutionAlreadyExists(_)) {
            return self.whose_execution(request).await;
        }
        match answer.code() {
            Some(
                code @ ("StateMachineDoesNotExist"
                | "StateMachineDeleting"
                | "InvalidArn"
                | "InvalidName"
                | "InvalidExecutionInput"
                | "ValidationException"),
            ) => Ok(StartOutcome::Refused {
                code: code.to_owned(),
                message: answer.message().unwrap_or_default().to_owned(),
            }),
            Some(_) | None => Err(failed("start an execution", Fault::of(&error))),
        }
    }
}

impl Engine {
    async fn describe(&self, arn: &ExecutionArn) -> Result<DescribeExecutionOutput, CallError<DescribeExecutionError>> {
        let describe = DescribeExecutionInput::builder().execution_arn(arn.as_str()).build();
        self.sfn.call::<describe_execution::DescribeExecution>(describe).await
    }

    /// The name is taken: by an earlier start of the same run, unless the input says otherwise.
    async fn whose_execution(&self, request: &StartRequest<'_>) -> EngineResult<StartOutcome> {
        const OPERATION: &str = "compare an execution of that name";
        let arn = request.state_machine_arn.execution(request.run_id);
        let found = self.describe(&arn).await;
        let found = found.map_err(|error| failed(OPERATION, Fault::of(&error)))?;
        let input = found.input().ok_or_else(|| failed(OPERATION, "the engine does not show its input"))?;
        Ok(if is_same_json(input, request.input) {
            StartOutcome::Started
        } else {
            StartOutcome::Refused {
                code: "ExecutionAlreadyExists".to_owned(),
                message: format!("{arn} exists and has another input"),
            }
        })
    }
}

/// The text is kept as it was sent, but an emulator may have printed it anew.
fn is_same_json(left: &str, right: &str) -> bool {
    let parse = |text| serde_json::from_str::<serde_json::Value>(text).ok();
    left == right || parse(left).is_some_and(|left| Some(left) == parse(right))
}

impl StopExecution for Engine {
    async fn stop_execution(&self, execution_arn: &ExecutionArn, error: &str, cause: &str) -> EngineResult<()> {
        let stop = StopExecutionInput::builder()
            .execution_arn(execution_arn.as_str())
            .error(cut(error, ERROR_CHARS))
            .cause(cut(cause, CAUSE_CHARS))
            .build();
        let Err(error) = self.sfn.call::<stop_execution::StopExecution>(stop).await else { return Ok(()) };
        let has_ended = error.as_service_error().is_some_and(|answer| match answer.code() {
            Some("ExecutionDoesNotExist") => true,
            Some("ValidationException") => answer.message().is_some_and(says_not_running),
            Some(_) | None => false,
        });
        if has_ended { Ok(()) } else { Err(failed("stop an execution", Fault::of(&error))) }
    }
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

fn says_not_running(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["finished", "not running", "already ended", "terminated"].iter().any(|words| message.contains(words))
}

impl AnswerTask for Engine {
    async fn answer_task(&self, token: &str, answer: &TaskAnswer<'_>) -> EngineResult<TaskAnswered> {
        match answer {
            TaskAnswer::Success(output) => {
                let answer = SendTaskSuccessInput::builder().task_token(token).output(*output).build();
                answered("answer a task", self.sfn.call::<SendTaskSuccess>(answer).await)
            }
            TaskAnswer::Failure { error, cause } => {
                let answer = SendTaskFailureInput::builder().task_token(token);
                let answer = answer.error(cut(error, ERROR_CHARS)).cause(cut(cause, CAUSE_CHARS)).build();
                answered("fail a task", self.sfn.call::<SendTaskFailure>(answer).await)
            }
        }
    }
}

/// Step Functions says `TaskTimedOut` also of a task that has its answer, and of one whose execution has ended.
fn answered<T, E, R>(operation: &'static str, answer: Result<T, SdkError<E, R>>) -> EngineResult<TaskAnswered>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    let Err(error) = answer else { return Ok(TaskAnswered::Taken) };
    match error.as_service_error().and_then(ProvideErrorMetadata::code) {
        Some("TaskTimedOut" | "TaskDoesNotExist" | "InvalidToken") => Ok(TaskAnswered::NotWaiting),
        Some(_) | None => Err(failed(operation, Fault::of(&error))),
    }
}

impl DescribeExecution for Engine {
    async fn describe_execution(&self, execution_arn: &ExecutionArn) -> EngineResult<ExecutionState> {
        match self.describe(execution_arn).await {
            Ok(found) => state(&found),
            Err(error)
                if matches!(error.as_service_error(), Some(DescribeExecutionError::ExecutionDoesNotExist(_))) =>
            {
                Ok(ExecutionState::Unknown)
            }
            Err(error) => Err(failed("describe an execution", Fault::of(&error))),
        }
    }
}

impl ReadExecutionInput for Engine {
    async fn execution_input(&self, execution_arn: &ExecutionArn) -> EngineResult<Option<String>> {
        match self.describe(execution_arn).await {
            Ok(found) => Ok(found.input().map(str::to_owned)),
            Err(error)
                if matches!(error.as_service_error(), Some(DescribeExecutionError::ExecutionDoesNotExist(_))) =>
            {
                Ok(None)
            }
            Err(error) => Err(failed("read an execution's input", Fault::of(&error))),
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the SDK's enum may grow; what is new is no end that we know")]
fn state(found: &DescribeExecutionOutput) -> EngineResult<ExecutionState> {
    let end = match found.status() {
        // A redrive that waits for its turn will run again.
        ExecutionStatus::Running | ExecutionStatus::PendingRedrive => return Ok(ExecutionState::Running),
        ExecutionStatus::Succeeded => EngineEnd::Succeeded,
        ExecutionStatus::Failed => EngineEnd::Failed,
        ExecutionStatus::TimedOut => EngineEnd::TimedOut,
        ExecutionStatus::Aborted => EngineEnd::Aborted,
        other => return Err(failed("describe an execution", format!("its status is {other}"))),
    };
    let error = match (found.error(), found.cause()) {
        (None, None) => None,
        (code, cause) => Some(RunError::from_engine(code.unwrap_or_default(), cause.unwrap_or_default())),
    };
    // The engine sends seconds as a floating-point number: a millisecond may come a little short.
    let stopped_at = found.stop_date().and_then(|at| Timestamp::from_nanosecond(at.as_nanos()).ok());
    let stopped_at = stopped_at.and_then(|at| at.round(Unit::Millisecond).ok());
    Ok(ExecutionState::Ended(
        end,
        EndDetails {
            stopped_at,
            // Only success has an output; an emulator shows error and cause there, too.
            output: found.output().filter(|_| end == EngineEnd::Succeeded).map(str::to_owned),
            error,
        },
    ))
}

impl ListExecutions for Engine {
    async fn running_executions(
        &self,
        state_machine_arn: &StateMachineArn,
        cursor: Option<&str>,
    ) -> EngineResult<Page<String>> {
        let list = ListExecutionsInput::builder()
            .state_machine_arn(state_machine_arn.as_str())
            .status_filter(ExecutionStatus::Running)
            .max_results(LIST_PAGE)
            .set_next_token(cursor.map(str::to_owned))
            .build();
        let page = self
            .sfn
            .call::<list_executions::ListExecutions>(list)
            .await
            .map_err(|error| failed("list running executions", Fault::of(&error)))?;
        Ok(Page { items: page.executions.into_iter().map(|execution| execution.name).collect(), next: page.next_token })
    }
}
