//! Step Functions and the event bus in memory: named executions, idempotent starts, stops, and a runner whose claim is
//! the same conditional write that the real state machine makes.

use crate::fault::{Fault, Faults, lock};
use crate::store::MemoryStore;
use jiff::Timestamp;
use sluice_core::arn::{ExecutionArn, StateMachineArn};
use sluice_core::concurrency::QueueRef;
use sluice_core::delivery::AttemptOutcome;
use sluice_core::id::{RunId, TenantId};
use sluice_core::lifecycle::{EngineEnd, RunEvent, RunStatus};
use sluice_core::ports::{
    AnnounceDue, AnswerTask, DeliveryRef, DescribeExecution, EngineError, EngineResult, ExecutionState, ListExecutions,
    Page, PublishStatus, ReadExecutionInput, StartExecution, StartOutcome, StartRequest, StopExecution, TaskAnswer,
    TaskAnswered,
};
use sluice_core::run::{EndDetails, RunError};
use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::{Arc, Mutex};

/// One execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    pub state_machine_arn: StateMachineArn,
    pub run_id: RunId,
    pub tenant: TenantId,
    pub input: String,
    pub started: bool,
    pub end: Option<(EngineEnd, EndDetails)>,
}

#[derive(Debug, Default)]
struct State {
    executions: BTreeMap<ExecutionArn, Execution>,
    /// Times a new execution came to be.
    starts: u32,
    stops: Vec<ExecutionArn>,
    announced: Vec<DeliveryRef>,
    freed: Vec<QueueRef>,
    published: Vec<String>,
    refusal: Option<(String, String)>,
    changes: u64,
    /// Task tokens that somebody waits for, by the execution that does.
    tokens: BTreeMap<String, ExecutionArn>,
    /// Answers taken, by token: an output, or an error.
    answers: BTreeMap<String, Result<String, RunError>>,
    /// State machines that are not there any more.
    deleted: BTreeSet<StateMachineArn>,
    /// Executions on a page of a list, where not as many as Step Functions gives.
    page: Option<usize>,
}

/// Executions on a page of `ListExecutions`, at most.
const LIST_PAGE: usize = 1_000;

/// Clones share one engine.
#[derive(Clone, Debug, Default)]
pub struct MemoryEngine {
    state: Arc<Mutex<State>>,
    pub faults: Faults,
}

impl MemoryEngine {
    /// Every execution by ARN.
    pub fn executions(&self) -> BTreeMap<ExecutionArn, Execution> {
        lock(&self.state).executions.clone()
    }

    /// Looks at every execution without copying it. `look` must not come back to this engine.
    pub fn each_execution(&self, mut look: impl FnMut(&ExecutionArn, &Execution)) {
        lock(&self.state).executions.iter().for_each(|(arn, execution)| look(arn, execution));
    }

    pub fn execution(&self, arn: &ExecutionArn) -> Option<Execution> {
        lock(&self.state).executions.get(arn).cloned()
    }

    /// Grows whenever an execution, or what is on the bus, may have changed.
    pub fn changes(&self) -> u64 {
        lock(&self.state).changes
    }

    /// How many executions ever came to be.
    pub fn starts(&self) -> u32 {
        lock(&self.state).starts
    }

    /// Execution ARNs whose stop was asked for, each time.
    pub fn stops(&self) -> Vec<ExecutionArn> {
        lock(&self.state).stops.clone()
    }

    /// Deliveries handed to the bus, and not taken yet.
    pub fn take_announced(&self) -> Vec<DeliveryRef> {
        std::mem::take(&mut lock(&self.state).announced)
    }

    /// Queues whose turn was told to the bus, and not taken yet.
    pub fn take_freed(&self) -> Vec<QueueRef> {
        std::mem::take(&mut lock(&self.state).freed)
    }

    /// Details of "Workflow Run Status Changed" events.
    pub fn published(&self) -> Vec<String> {
        lock(&self.state).published.clone()
    }

    /// Every start is refused for good from now on; `None` ends that.
    pub fn refuse_starts(&self, code: Option<&str>) {
        lock(&self.state).refusal = code.map(|code| (code.to_owned(), "refused by the test".to_owned()));
    }

    /// A state machine goes away: its executions run on, and new ones are refused.
    pub fn delete_machine(&self, state_machine_arn: &StateMachineArn) {
        lock(&self.state).deleted.insert(state_machine_arn.clone());
    }

    /// Lists running executions in pages of so many.
    pub fn list_in_pages_of(&self, most: usize) {
        lock(&self.state).page = Some(most);
    }

    /// The execution's first state: claims its run, or ends the execution without running a node. Returns whether the
    /// run was claimed.
    pub fn claim(&self, store: &MemoryStore, arn: &ExecutionArn, now: Timestamp) -> bool {
        let mut state = lock(&self.state);
        let Some(execution) = state.executions.get_mut(arn).filter(|execution| execution.end.is_none()) else {
            return false;
        };
        let claimed = store.update_run(&execution.tenant, execution.run_id, |run| match run.status() {
            RunStatus::Pending => run.after(RunEvent::Claimed, now),
            RunStatus::Running if execution.started => Some(run.clone()),
            RunStatus::Queued
            | RunStatus::Running
            | RunStatus::Paused
            | RunStatus::WaitingForInput
            | RunStatus::Canceling
            | RunStatus::Succeeded
            | RunStatus::Failed
            | RunStatus::Canceled => None,
        });
        if claimed {
            execution.started = true;
        } else {
            let error = RunError::new("Sluice.ClaimRefused", "the run may not start", 512);
            let details = EndDetails { stopped_at: Some(now), output: None, error: Some(error) };
            execution.end = Some((EngineEnd::Failed, details));
        }
        claimed
    }

    /// Ends a running execution. Returns what its status event would say, or `None` when it had ended.
    pub fn end(
        &self,
        arn: &ExecutionArn,
        end: EngineEnd,
        output: Option<&str>,
        now: Timestamp,
    ) -> Option<(EngineEnd, EndDetails)> {
        let error = match end {
            EngineEnd::Failed => Some(RunError::new("States.TaskFailed", "a node failed", 512)),
            EngineEnd::Succeeded | EngineEnd::TimedOut | EngineEnd::Aborted => None,
        };
        self.end_with(arn, end, EndDetails { stopped_at: Some(now), output: output.map(str::to_owned), error })
    }

    /// [`Self::end`], with all that there is to say of it.
    pub fn end_with(&self, arn: &ExecutionArn, end: EngineEnd, details: EndDetails) -> Option<(EngineEnd, EndDetails)> {
        let mut state = lock(&self.state);
        let execution = state.executions.get_mut(arn).filter(|execution| execution.end.is_none())?;
        execution.end = Some((end, details));
        execution.end.clone()
    }

    /// A running execution begins to wait for a task token.
    pub fn wait_for(&self, arn: &ExecutionArn, token: &str) {
        let mut state = lock(&self.state);
        state.changes += 1;
        state.tokens.insert(token.to_owned(), arn.clone());
    }

    /// Whether an execution waits for this token.
    pub fn is_waited_for(&self, token: &str) -> bool {
        lock(&self.state).tokens.contains_key(token)
    }

    /// The answer that a token was given, once: the execution goes on with it. Of a failure, its error's code.
    pub fn take_answer(&self, token: &str) -> Option<String> {
        self.take_outcome(token).map(|outcome| outcome.unwrap_or_else(|error| error.code))
    }

    /// [`Self::take_answer`], with a failure apart from an output.
    pub fn take_outcome(&self, token: &str) -> Option<Result<String, RunError>> {
        let mut state = lock(&self.state);
        state.changes += 1;
        state.answers.remove(token)
    }

    /// Puts an execution in that Sluice did not start.
    pub fn start_foreign(&self, state_machine_arn: &StateMachineArn, run_id: RunId, tenant: &TenantId) {
        let foreign = Execution {
            state_machine_arn: state_machine_arn.clone(),
            run_id,
            tenant: tenant.clone(),
            input: "{}".to_owned(),
            started: false,
            end: None,
        };
        lock(&self.state).executions.entry(state_machine_arn.execution(run_id)).or_insert(foreign);
    }

    /// Runs a failed execution again under its old ARN, as a redrive in the engine does.
    pub fn redrive(&self, arn: &ExecutionArn) -> bool {
        match lock(&self.state).executions.get_mut(arn) {
            Some(execution) if matches!(execution.end, Some((EngineEnd::Failed, _))) && execution.started => {
                execution.end = None;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Forgets an execution, as Step Functions does 90 days after its end.
    pub fn forget(&self, arn: &ExecutionArn) {
        lock(&self.state).executions.remove(arn);
    }

    async fn act<T>(&self, operation: &'static str, effect: impl FnOnce(&mut State) -> T + Send) -> EngineResult<T>
    where
        T: Send,
    {
        let failed = || EngineError { operation, source: Some("injected".into()) };
        crate::turn().await;
        let fault = self.faults.next(operation);
        match fault {
            Some(Fault::Before(_)) => return Err(failed()),
            Some(Fault::SilentBefore) => pending::<()>().await,
            Some(Fault::After(_) | Fault::SilentAfter) | None => {}
        }
        let result = {
            let mut state = lock(&self.state);
            state.changes += 1;
            effect(&mut state)
        };
        crate::turn().await;
        match fault {
            Some(Fault::After(_)) => Err(failed()),
            Some(Fault::SilentAfter) => pending().await,
            Some(Fault::Before(_) | Fault::SilentBefore) | None => Ok(result),
        }
    }
}

impl StartExecution for MemoryEngine {
    async fn start_execution(&self, request: &StartRequest<'_>) -> EngineResult<StartOutcome> {
        self.act("start the execution", |state| {
            if let Some((code, message)) = &state.refusal {
                return StartOutcome::Refused { code: code.clone(), message: message.clone() };
            }
            let arn = request.state_machine_arn.execution(request.run_id);
            if state.deleted.contains(request.state_machine_arn) {
                let code = "StateMachineDoesNotExist".to_owned();
                return StartOutcome::Refused { code, message: "it was deleted".to_owned() };
            }
            if let Some(execution) = state.executions.get(&arn) {
                // Running or closed: ours if it has our input.
                return if execution.input == request.input {
                    StartOutcome::Started
                } else {
                    let code = "ExecutionAlreadyExists".to_owned();
                    StartOutcome::Refused { code, message: "an execution of this name has other input".to_owned() }
                };
            }
            let input: serde_json::Value = serde_json::from_str(request.input).unwrap_or_default();
            let Ok(tenant) = input["tenantId"].as_str().unwrap_or_default().parse() else {
                let message = "the input names no tenant".to_owned();
                return StartOutcome::Refused { code: "InvalidExecutionInput".to_owned(), message };
            };
            state.starts += 1;
            state.executions.insert(
                arn,
                Execution {
                    state_machine_arn: request.state_machine_arn.clone(),
                    run_id: request.run_id,
                    tenant,
                    input: request.input.to_owned(),
                    started: false,
                    end: None,
                },
            );
            StartOutcome::Started
        })
        .await
    }
}

impl AnswerTask for MemoryEngine {
    async fn answer_task(&self, token: &str, answer: &TaskAnswer<'_>) -> EngineResult<TaskAnswered> {
        let answer = match answer {
            TaskAnswer::Success(output) => Ok((*output).to_owned()),
            TaskAnswer::Failure { error, cause } => Err(RunError::from_engine(error, cause)),
        };
        self.act("answer the task", |state| {
            let waits = state.tokens.get(token).and_then(|arn| state.executions.get(arn));
            if waits.is_none_or(|execution| execution.end.is_some()) {
                return TaskAnswered::NotWaiting;
            }
            state.tokens.remove(token);
            state.answers.insert(token.to_owned(), answer);
            TaskAnswered::Taken
        })
        .await
    }
}

impl StopExecution for MemoryEngine {
    async fn stop_execution(&self, execution_arn: &ExecutionArn, error: &str, cause: &str) -> EngineResult<()> {
        self.act("stop the execution", |state| {
            state.stops.push(execution_arn.clone());
            if let Some(execution) = state.executions.get_mut(execution_arn)
                && execution.end.is_none()
            {
                // Step Functions shows the reason as the execution's error. Nobody told this engine what time it is.
                let error = Some(RunError::from_engine(error, cause));
                execution.end = Some((EngineEnd::Aborted, EndDetails { error, ..EndDetails::default() }));
            }
        })
        .await
    }
}

impl DescribeExecution for MemoryEngine {
    async fn describe_execution(&self, execution_arn: &ExecutionArn) -> EngineResult<ExecutionState> {
        self.act("describe the execution", |state| match state.executions.get(execution_arn) {
            None => ExecutionState::Unknown,
            Some(Execution { end: None, .. }) => ExecutionState::Running,
            Some(Execution { end: Some((end, details)), .. }) => ExecutionState::Ended(*end, details.clone()),
        })
        .await
    }
}

impl ReadExecutionInput for MemoryEngine {
    async fn execution_input(&self, execution_arn: &ExecutionArn) -> EngineResult<Option<String>> {
        self.act("read the execution's input", |state| {
            state.executions.get(execution_arn).map(|execution| execution.input.clone())
        })
        .await
    }
}

impl ListExecutions for MemoryEngine {
    async fn running_executions(
        &self,
        state_machine_arn: &StateMachineArn,
        cursor: Option<&str>,
    ) -> EngineResult<Page<String>> {
        self.act("list running executions", |state| {
            // The cursor is the last name of the page before, so that what ends meanwhile moves nobody.
            let mut running = state
                .executions
                .values()
                .filter(|execution| execution.state_machine_arn == *state_machine_arn && execution.end.is_none())
                .map(|execution| execution.run_id.to_string())
                .filter(|name| cursor.is_none_or(|last| name.as_str() > last));
            let items: Vec<String> = running.by_ref().take(state.page.unwrap_or(LIST_PAGE)).collect();
            let next = running.next().and_then(|_| items.last().cloned());
            Page { items, next }
        })
        .await
    }
}

impl AnnounceDue for MemoryEngine {
    async fn announce_due(&self, deliveries: &[DeliveryRef]) -> EngineResult<()> {
        let deliveries = deliveries.to_vec();
        self.act("announce due deliveries", move |state| state.announced.extend(deliveries)).await
    }

    async fn announce_free(&self, queues: &[QueueRef]) -> EngineResult<()> {
        let queues = queues.to_vec();
        self.act("announce free slots", move |state| state.freed.extend(queues)).await
    }
}

impl PublishStatus for MemoryEngine {
    async fn publish_status(&self, detail: &str) -> AttemptOutcome {
        let detail = detail.to_owned();
        match self.act("publish the status", move |state| state.published.push(detail)).await {
            Ok(()) => AttemptOutcome::Delivered { http_status: None },
            Err(_) => AttemptOutcome::Unreachable { error_class: "bus".to_owned() },
        }
    }
}
