//! The engine ports, rule by rule: [`StartExecution`], [`StopExecution`], [`DescribeExecution`], [`ListExecutions`],
//! [`ReadExecutionInput`], [`AnswerTask`].

use super::at_once;
use serde_json::{Value, json};
use sluice_core::arn::{ExecutionArn, StateMachineArn};
use sluice_core::id::RunId;
use sluice_core::lifecycle::EngineEnd;
use sluice_core::ports::{
    AnswerTask, DescribeExecution, ExecutionState, ListExecutions, ReadExecutionInput, StartExecution, StartOutcome,
    StartRequest, StopExecution, TaskAnswer, TaskAnswered,
};
use sluice_core::run::{EndDetails, RunError};
use std::collections::BTreeMap;
use std::future::Future;

/// Every rule as a test: see [`rules!`](crate::rules).
#[macro_export]
macro_rules! engine_rules {
    ($judge:path) => {
        $crate::rules! {
            judge: $judge, of: engine,
            a_start_runs_the_execution_that_is_named_after_its_run,
            starting_again_with_the_same_input_is_started_while_it_runs,
            starting_again_with_the_same_input_is_started_after_its_end_and_nothing_runs_anew,
            an_execution_of_that_name_with_other_input_is_refused,
            of_many_starts_at_once_one_execution_comes_to_be,
            a_start_on_a_state_machine_that_is_not_there_is_refused,
            input_that_is_no_json_is_refused,
            the_input_is_read_back_as_it_was_given,
            an_execution_that_never_was_is_unknown,
            a_success_is_described_with_its_output,
            a_failure_is_described_with_its_error,
            a_time_out_is_described,
            a_stop_aborts_and_says_why,
            stopping_what_was_stopped_changes_nothing,
            stopping_what_has_ended_changes_nothing,
            stopping_what_never_was_is_no_error,
            running_executions_are_listed_once_each_page_by_page,
            executions_that_ended_are_not_listed,
            executions_of_other_state_machines_are_not_listed,
            a_task_is_answered_with_its_output_once,
            a_task_is_failed_once,
            a_task_of_an_execution_that_was_stopped_is_not_waiting,
            nobody_waits_for_a_token_that_was_never_given,
        }
    };
}

/// The ports of an engine.
pub trait Engine:
    StartExecution + StopExecution + DescribeExecution + ListExecutions + ReadExecutionInput + AnswerTask
{
}

impl<T> Engine for T where
    T: StartExecution + StopExecution + DescribeExecution + ListExecutions + ReadExecutionInput + AnswerTask
{
}

/// A state machine that a rule needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Machine {
    /// Runs for longer than any test.
    Waits,
    /// The same, under another name.
    WaitsToo,
    /// Ends at once, with its input as its output.
    Succeeds,
    /// Ends at once, with [`FAILURE`].
    Fails,
    /// Runs out of its time at once.
    TimesOut,
    /// Waits with a task token, and ends with its answer.
    Asks,
    /// Was there once.
    Gone,
}

/// Error and cause of [`Machine::Fails`].
pub const FAILURE: (&str, &str) = ("Sample.Failed", "it was told to");

/// A word of the contract that an emulator of the engine does not keep. Rules say what is seen instead, so that whoever
/// mends the emulator hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// A start takes any text for its input, where AWS answers `InvalidExecutionInput`.
    /// Source: <https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html>
    InputNotChecked,
    /// The state machine's own `TimeoutSeconds` does nothing, where AWS ends the execution with `TIMED_OUT`.
    /// Source: <https://docs.aws.amazon.com/step-functions/latest/dg/statemachine-structure.html>
    NoTimeOut,
    /// The token of an execution that was stopped is taken once, where AWS answers `TaskTimedOut`.
    /// Source: <https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskSuccess.html>
    TokenOutlivesStop,
}

/// An engine on which the rules are tried.
pub trait Bench {
    type Engine: Engine;

    fn engine(&self) -> &Self::Engine;
    /// The machine's ARN.
    fn machine(&self, machine: Machine) -> StateMachineArn;
    /// An id that no other run has.
    fn fresh_run(&self) -> RunId;
    /// The task token that an execution of [`Machine::Asks`] waits with, once it does.
    fn token(&self, run_id: RunId) -> impl Future<Output = Option<String>>;
    /// Lets what is under way go on, between two looks at it.
    fn pause(&self) -> impl Future<Output = ()>;
    fn differs(&self, difference: Difference) -> bool;
}

/// An execution that a rule looks at.
struct Seen<'a, B> {
    bench: &'a B,
    machine: StateMachineArn,
    run_id: RunId,
    arn: ExecutionArn,
    input: String,
}

impl<'a, B: Bench> Seen<'a, B> {
    /// One that is not started yet.
    fn new(bench: &'a B, machine: Machine) -> Self {
        let (machine, run_id) = (bench.machine(machine), bench.fresh_run());
        let arn = machine.execution(run_id);
        let input = json!({"tenantId": "mine", "runId": run_id, "n": 1}).to_string();
        Self { bench, machine, run_id, arn, input }
    }

    async fn started(bench: &'a B, machine: Machine) -> Self {
        let seen = Self::new(bench, machine);
        assert_eq!(seen.start(&seen.input).await, StartOutcome::Started);
        seen
    }

    async fn start(&self, input: &str) -> StartOutcome {
        let request = StartRequest { state_machine_arn: &self.machine, run_id: self.run_id, input };
        self.bench.engine().start_execution(&request).await.expect("an answer")
    }

    async fn stop(&self, error: &str, cause: &str) {
        self.bench.engine().stop_execution(&self.arn, error, cause).await.expect("stopped");
    }

    async fn state(&self) -> ExecutionState {
        self.bench.engine().describe_execution(&self.arn).await.expect("an answer")
    }

    async fn input(&self) -> Option<String> {
        self.bench.engine().execution_input(&self.arn).await.expect("an answer")
    }

    async fn runs(&self) {
        super::becomes(ExecutionState::Running, || self.bench.pause(), async || self.state().await).await;
    }

    /// How it ended, once it has.
    async fn end(&self) -> (EngineEnd, EndDetails) {
        let ended = async || match self.state().await {
            ExecutionState::Ended(end, details) => Some((end, details)),
            ExecutionState::Running | ExecutionState::Unknown => None,
        };
        super::eventually("the execution's end", || self.bench.pause(), ended).await
    }

    /// The token that it waits with.
    async fn token(&self) -> String {
        let token = async || self.bench.token(self.run_id).await;
        super::eventually("a task token", || self.bench.pause(), token).await
    }

    async fn answer(&self, token: &str, answer: &TaskAnswer<'_>) -> TaskAnswered {
        self.bench.engine().answer_task(token, answer).await.expect("an answer")
    }
}

/// How often each running execution of a machine is listed.
async fn listed<B: Bench>(bench: &B, machine: Machine) -> BTreeMap<String, u32> {
    let machine = bench.machine(machine);
    let mut names = BTreeMap::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = bench.engine().running_executions(&machine, cursor.as_deref()).await.expect("a page");
        for name in page.items {
            *names.entry(name).or_default() += 1;
        }
        cursor = page.next;
        if cursor.is_none() {
            return names;
        }
    }
}

/// JSON, however it is printed.
fn parsed(text: Option<&str>) -> Option<Value> {
    text.map(|text| serde_json::from_str(text).expect("JSON"))
}

fn told(error: Option<&RunError>) -> Option<(&str, &str)> {
    error.map(|error| (error.code.as_str(), error.message.as_str()))
}

fn refusal(outcome: StartOutcome) -> Option<String> {
    match outcome {
        StartOutcome::Started => None,
        StartOutcome::Refused { code, .. } => Some(code),
    }
}

pub async fn a_start_runs_the_execution_that_is_named_after_its_run(bench: &impl Bench) {
    let seen = Seen::started(bench, Machine::Waits).await;
    seen.runs().await;
    assert_eq!(parsed(seen.input().await.as_deref()), parsed(Some(&seen.input)));
    let is_listed = async || listed(bench, Machine::Waits).await.contains_key(&seen.run_id.to_string());
    super::becomes(true, || bench.pause(), is_listed).await;
    seen.stop("Test.Over", "").await;
}

pub async fn starting_again_with_the_same_input_is_started_while_it_runs(bench: &impl Bench) {
    let seen = Seen::started(bench, Machine::Waits).await;
    assert_eq!(seen.start(&seen.input).await, StartOutcome::Started);
    seen.runs().await;
    assert_eq!(seen.start(&seen.input).await, StartOutcome::Started);
    seen.stop("Test.Over", "").await;
}

pub async fn starting_again_with_the_same_input_is_started_after_its_end_and_nothing_runs_anew(bench: &impl Bench) {
    for machine in [Machine::Succeeds, Machine::Fails, Machine::Waits] {
        let seen = Seen::started(bench, machine).await;
        if machine == Machine::Waits {
            seen.stop("Test.Stopped", "by the test").await;
        }
        let end = seen.end().await;
        assert_eq!(seen.start(&seen.input).await, StartOutcome::Started, "{machine:?}");
        assert_eq!(seen.state().await, ExecutionState::Ended(end.0, end.1), "{machine:?}");
    }
}

pub async fn an_execution_of_that_name_with_other_input_is_refused(bench: &impl Bench) {
    let other = json!({"tenantId": "mine", "n": 2}).to_string();
    let already_exists = Some("ExecutionAlreadyExists".to_owned());
    let running = Seen::started(bench, Machine::Waits).await;
    running.runs().await;
    assert_eq!(refusal(running.start(&other).await), already_exists);
    let ended = Seen::started(bench, Machine::Succeeds).await;
    ended.end().await;
    assert_eq!(refusal(ended.start(&other).await), already_exists);
    for seen in [running, ended] {
        assert_eq!(parsed(seen.input().await.as_deref()), parsed(Some(&seen.input)), "it keeps its own");
        seen.stop("Test.Over", "").await;
    }
}

pub async fn of_many_starts_at_once_one_execution_comes_to_be(bench: &impl Bench) {
    let seen = Seen::new(bench, Machine::Waits);
    let outcomes = at_once((0..8).map(|_| seen.start(&seen.input))).await;
    assert!(outcomes.iter().all(|outcome| *outcome == StartOutcome::Started), "{outcomes:?}");
    let times = async || listed(bench, Machine::Waits).await.get(&seen.run_id.to_string()).copied();
    super::becomes(Some(1), || bench.pause(), times).await;
    seen.stop("Test.Over", "").await;
}

pub async fn a_start_on_a_state_machine_that_is_not_there_is_refused(bench: &impl Bench) {
    let seen = Seen::new(bench, Machine::Gone);
    assert!(refusal(seen.start(&seen.input).await).is_some());
    assert_eq!(seen.state().await, ExecutionState::Unknown);
}

pub async fn input_that_is_no_json_is_refused(bench: &impl Bench) {
    let seen = Seen::new(bench, Machine::Waits);
    let refused = refusal(seen.start("{").await);
    if bench.differs(Difference::InputNotChecked) {
        assert_eq!(refused, None);
        seen.stop("Test.Over", "").await;
    } else {
        assert_eq!(refused.as_deref(), Some("InvalidExecutionInput"));
        assert_eq!(seen.state().await, ExecutionState::Unknown);
    }
}

pub async fn the_input_is_read_back_as_it_was_given(bench: &impl Bench) {
    let input = r#"{"tenantId": "mine", "n": 1.10, "big": 12345678901234567890123, "text": "é\n"}"#;
    for machine in [Machine::Waits, Machine::Succeeds] {
        let seen = Seen::new(bench, machine);
        assert_eq!(seen.start(input).await, StartOutcome::Started);
        assert_eq!(seen.input().await.as_deref(), Some(input), "{machine:?}");
        if machine == Machine::Waits {
            seen.stop("Test.Over", "").await;
        }
        seen.end().await;
        assert_eq!(seen.input().await.as_deref(), Some(input), "after its end as well: {machine:?}");
    }
}

pub async fn an_execution_that_never_was_is_unknown(bench: &impl Bench) {
    for machine in [Machine::Waits, Machine::Gone] {
        let seen = Seen::new(bench, machine);
        assert_eq!(seen.state().await, ExecutionState::Unknown);
        assert_eq!(seen.input().await, None);
    }
}

pub async fn a_success_is_described_with_its_output(bench: &impl Bench) {
    let seen = Seen::started(bench, Machine::Succeeds).await;
    let (end, details) = seen.end().await;
    assert_eq!(end, EngineEnd::Succeeded);
    assert_eq!(parsed(details.output.as_deref()), parsed(Some(&seen.input)));
    assert_eq!(details.error, None);
    assert!(details.stopped_at.is_some());
}

pub async fn a_failure_is_described_with_its_error(bench: &impl Bench) {
    let (end, details) = Seen::started(bench, Machine::Fails).await.end().await;
    assert_eq!(
        (end, details.output.as_deref(), told(details.error.as_ref())),
        (EngineEnd::Failed, None, Some(FAILURE))
    );
    assert!(details.stopped_at.is_some());
}

pub async fn a_time_out_is_described(bench: &impl Bench) {
    let seen = Seen::started(bench, Machine::TimesOut).await;
    if bench.differs(Difference::NoTimeOut) {
        let (end, _) = seen.end().await;
        assert_eq!(end, EngineEnd::Succeeded, "it ran to its end");
    } else {
        let (end, details) = seen.end().await;
        assert_eq!((end, details.output), (EngineEnd::TimedOut, None));
    }
}

pub async fn a_stop_aborts_and_says_why(bench: &impl Bench) {
    let seen = Seen::started(bench, Machine::Waits).await;
    seen.runs().await;
    seen.stop("Sluice.canceled_by_caller", "canceled by its caller").await;
    let (end, details) = seen.end().await;
    let why = ("Sluice.canceled_by_caller", "canceled by its caller");
    assert_eq!((end, details.output.as_deref(), told(details.error.as_ref())), (EngineEnd::Aborted, None, Some(why)));
}

pub async fn stopping_what_was_stopped_changes_nothing(bench: &impl Bench) {
    let seen = Seen::started(bench, Machine::Waits).await;
    seen.stop("Test.First", "the first").await;
    let (end, details) = seen.end().await;
    seen.stop("Test.Second", "the second").await;
    assert_eq!(seen.state().await, ExecutionState::Ended(end, details));
}

pub async fn stopping_what_has_ended_changes_nothing(bench: &impl Bench) {
    for machine in [Machine::Succeeds, Machine::Fails] {
        let seen = Seen::started(bench, machine).await;
        let (end, details) = seen.end().await;
        seen.stop("Test.Late", "too late").await;
        assert_eq!(seen.state().await, ExecutionState::Ended(end, details), "{machine:?}");
    }
}

pub async fn stopping_what_never_was_is_no_error(bench: &impl Bench) {
    for machine in [Machine::Waits, Machine::Gone] {
        let seen = Seen::new(bench, machine);
        seen.stop("Test.Early", "too early").await;
        assert_eq!(seen.state().await, ExecutionState::Unknown, "{machine:?}");
    }
    // A stop that came too early holds nothing up.
    let seen = Seen::new(bench, Machine::Waits);
    seen.stop("Test.Early", "too early").await;
    assert_eq!(seen.start(&seen.input).await, StartOutcome::Started);
    seen.runs().await;
    seen.stop("Test.Over", "").await;
}

pub async fn running_executions_are_listed_once_each_page_by_page(bench: &impl Bench) {
    let all = at_once((0..7).map(|_| Seen::started(bench, Machine::Waits))).await;
    let times = async || {
        let listed = listed(bench, Machine::Waits).await;
        all.iter().map(|seen| listed.get(&seen.run_id.to_string()).copied()).collect::<Vec<_>>()
    };
    super::becomes(vec![Some(1); all.len()], || bench.pause(), times).await;
    at_once(all.iter().map(|seen| seen.stop("Test.Over", ""))).await;
}

pub async fn executions_that_ended_are_not_listed(bench: &impl Bench) {
    for machine in [Machine::Succeeds, Machine::Fails, Machine::Waits] {
        let seen = Seen::started(bench, machine).await;
        if machine == Machine::Waits {
            seen.stop("Test.Stopped", "").await;
        }
        seen.end().await;
        let is_listed = async || listed(bench, machine).await.contains_key(&seen.run_id.to_string());
        super::becomes(false, || bench.pause(), is_listed).await;
    }
}

pub async fn executions_of_other_state_machines_are_not_listed(bench: &impl Bench) {
    let seen = Seen::started(bench, Machine::Waits).await;
    let name = seen.run_id.to_string();
    super::becomes(true, || bench.pause(), async || listed(bench, Machine::Waits).await.contains_key(&name)).await;
    assert!(!listed(bench, Machine::WaitsToo).await.contains_key(&name));
    seen.stop("Test.Over", "").await;
}

pub async fn a_task_is_answered_with_its_output_once(bench: &impl Bench) {
    let seen = Seen::started(bench, Machine::Asks).await;
    let token = seen.token().await;
    seen.runs().await;
    assert_eq!(seen.answer(&token, &TaskAnswer::Success(r#"{"n": 1}"#)).await, TaskAnswered::Taken);
    let (end, details) = seen.end().await;
    assert_eq!((end, details.error.as_ref()), (EngineEnd::Succeeded, None));
    assert_eq!(parsed(details.output.as_deref()), Some(json!({"n": 1})));
    for late in [TaskAnswer::Success(r#"{"n": 2}"#), TaskAnswer::Failure { error: "E", cause: "C" }] {
        assert_eq!(seen.answer(&token, &late).await, TaskAnswered::NotWaiting);
    }
    assert_eq!(seen.state().await, ExecutionState::Ended(end, details), "the first one stands");
}

pub async fn a_task_is_failed_once(bench: &impl Bench) {
    let seen = Seen::started(bench, Machine::Asks).await;
    let token = seen.token().await;
    let failure = TaskAnswer::Failure { error: "Gpu.Lost", cause: "the machine went away" };
    assert_eq!(seen.answer(&token, &failure).await, TaskAnswered::Taken);
    let (end, details) = seen.end().await;
    let why = ("Gpu.Lost", "the machine went away");
    assert_eq!((end, details.output.as_deref(), told(details.error.as_ref())), (EngineEnd::Failed, None, Some(why)));
    assert_eq!(seen.answer(&token, &failure).await, TaskAnswered::NotWaiting);
    assert_eq!(seen.answer(&token, &TaskAnswer::Success("{}")).await, TaskAnswered::NotWaiting);
}

pub async fn a_task_of_an_execution_that_was_stopped_is_not_waiting(bench: &impl Bench) {
    let seen = Seen::started(bench, Machine::Asks).await;
    let token = seen.token().await;
    seen.stop("Test.Stopped", "").await;
    let (end, details) = seen.end().await;
    assert_eq!(end, EngineEnd::Aborted);
    let answered = seen.answer(&token, &TaskAnswer::Success("{}")).await;
    if bench.differs(Difference::TokenOutlivesStop) {
        assert_eq!(answered, TaskAnswered::Taken);
    } else {
        assert_eq!(answered, TaskAnswered::NotWaiting);
    }
    assert_eq!(seen.state().await, ExecutionState::Ended(end, details), "and it stays as it is");
}

pub async fn nobody_waits_for_a_token_that_was_never_given(bench: &impl Bench) {
    let seen = Seen::new(bench, Machine::Asks);
    for answer in [TaskAnswer::Success("{}"), TaskAnswer::Failure { error: "E", cause: "C" }] {
        assert_eq!(seen.answer("no-token-of-anybody", &answer).await, TaskAnswered::NotWaiting);
    }
}
