//! Planted bugs: what a hurried change might break. The simulation has to notice each of them.

use crate::fault::{Dice, FaultKind};
use sluice_core::arn::{ExecutionArn, StateMachineArn};
use sluice_core::concurrency::QueueRef;
use sluice_core::ports::{
    AnnounceDue, AnswerTask, DeliveryRef, DescribeExecution, EngineError, EngineResult, ExecutionState, ListExecutions,
    Page, StartExecution, StartOutcome, StartRequest, StopExecution, TaskAnswer, TaskAnswered,
};
use sluice_testkit::engine::MemoryEngine;
use sluice_testkit::fault::lock;
use sluice_testkit::store::Laxity;
use std::sync::{Arc, Mutex};

/// A planted bug. Each is made by a port or an actor that behaves as if the flow had lost one of its precautions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mutation {
    /// The execution is started before its record is written.
    StartBeforeWrite,
    /// A change of a run does not check that the run is still as it was read.
    ChangeWithoutCondition,
    /// A key that is taken does not keep the second request from being recorded.
    KeyWithoutCondition,
    /// The record of a key is compared without its payload.
    PayloadNotCompared,
    /// The runner starts its run in whatever status that is.
    ClaimUnconditional,
    /// The webhook's body is built anew on every attempt.
    BodyRebuiltPerAttempt,
    /// A status event settles a run that has ended already.
    EventNotIdempotent,
    /// The end and what it owes are not written together.
    OwedOutsideTransaction,
    /// The reconciler does not start what was never started.
    NeverStartedAgain,
    /// The reconciler does not look for ends that no event told of.
    DifferenceNotDescribed,
    /// The reconciler does not hand out due deliveries.
    DueNotHandedOut,
    /// The stop of a cancelled run is not asked for again.
    StopNotRepeated,
    /// A resume or an answer that did not reach the runner is not given again.
    AnswerNotRepeated,
    /// A cancel says that it worked without having done anything.
    CancelSilentlyIgnored,
    /// A key counts as free as soon as its run has ended.
    KeyFreedTooEarly,
    /// A run is found by its id whoever asks.
    TenantNotChecked,
    /// A queued run takes a slot that is not there.
    SlotTakenWhileFull,
    /// The end of a run does not give its slots back.
    SlotsKept,
    /// The end of a run gives its slots back twice.
    SlotFreedTwice,
    /// A call counts as often as it is reported.
    UsageNotIdempotent,
    /// A run is dispatched, and stays in its queue.
    DispatchWithoutLeaving,
    /// The run that came last is dispatched first.
    NewestDispatchedFirst,
    /// Usage above the cap is recorded, the stop that follows from it is not.
    StopOutsideTransaction,
    /// A report token opens every run of its tenant.
    TokenOfAnyRun,
    /// A report token opens its run for ever.
    TokenNeverExpires,
    /// A run's items are deleted before the run is hidden.
    PurgeBeforeHiding,
    /// A run is deleted although somebody is still owed a delivery.
    PurgeWhileOwed,
    /// A read shows runs whose time is over.
    ExpiredRunShown,
    /// A repeated request is answered with a run that is gone.
    GoneRunAnswered,
    /// A webhook goes out although its receiver is no longer on the tenant's list.
    ListNotAsked,
    /// A process answers from what it has read of the catalog before.
    CatalogRemembered,
    /// A sender sends although another one holds the delivery.
    LeaseIgnored,
    /// An attempt whose sender has lost the delivery meanwhile is not recorded.
    LateAttemptNotRecorded,
    /// The end of an execution that may not claim its cancelled run counts as a failure.
    RefusedClaimFails,
    /// The usage that a webhook tells may have been read before the last report.
    WebhookOfOldUsage,
    /// A run stays in its queue because another limit holds it up, and those behind it with it.
    HeadHoldsUp,
    /// A sweep counts each end twice.
    EndCountedTwice,
    /// A board is written over whatever it has become since it was read.
    BoardUnconditional,
    /// A board is written although its run was stopped or paused since it was read.
    BoardOfAnyRun,
    /// A change of a board does not know who depends on whom.
    PlanWithoutEdges,
    /// Nobody notes whom a change has left untold.
    WakeForgotten,
    /// The one who asks is told, and nobody else.
    OnlyAskerTold,
    /// A question is not asked again whose invocation has failed.
    QuestionNotRepeated,
    /// What items and iterations have given is not kept.
    PartsForgotten,
    /// The usage in a result is not reported again with a repeated question.
    UsageOfFirstTry,
}

impl Mutation {
    pub const ALL: [Self; 45] = [
        Self::StartBeforeWrite,
        Self::ChangeWithoutCondition,
        Self::KeyWithoutCondition,
        Self::PayloadNotCompared,
        Self::ClaimUnconditional,
        Self::BodyRebuiltPerAttempt,
        Self::EventNotIdempotent,
        Self::OwedOutsideTransaction,
        Self::NeverStartedAgain,
        Self::DifferenceNotDescribed,
        Self::DueNotHandedOut,
        Self::StopNotRepeated,
        Self::AnswerNotRepeated,
        Self::CancelSilentlyIgnored,
        Self::KeyFreedTooEarly,
        Self::TenantNotChecked,
        Self::SlotTakenWhileFull,
        Self::SlotsKept,
        Self::SlotFreedTwice,
        Self::UsageNotIdempotent,
        Self::DispatchWithoutLeaving,
        Self::NewestDispatchedFirst,
        Self::StopOutsideTransaction,
        Self::TokenOfAnyRun,
        Self::TokenNeverExpires,
        Self::PurgeBeforeHiding,
        Self::PurgeWhileOwed,
        Self::ExpiredRunShown,
        Self::GoneRunAnswered,
        Self::ListNotAsked,
        Self::CatalogRemembered,
        Self::LeaseIgnored,
        Self::LateAttemptNotRecorded,
        Self::RefusedClaimFails,
        Self::WebhookOfOldUsage,
        Self::HeadHoldsUp,
        Self::EndCountedTwice,
        Self::BoardUnconditional,
        Self::BoardOfAnyRun,
        Self::PlanWithoutEdges,
        Self::WakeForgotten,
        Self::OnlyAskerTold,
        Self::QuestionNotRepeated,
        Self::PartsForgotten,
        Self::UsageOfFirstTry,
    ];
}

impl Mutation {
    /// The precaution that the table forgets.
    pub fn laxity(self) -> Option<Laxity> {
        match self {
            Self::ChangeWithoutCondition => Some(Laxity::ChangeUnconditional),
            Self::KeyWithoutCondition => Some(Laxity::KeyUnconditional),
            Self::PayloadNotCompared => Some(Laxity::PayloadNotCompared),
            Self::OwedOutsideTransaction => Some(Laxity::OwedApart),
            Self::KeyFreedTooEarly => Some(Laxity::KeyFreedAtEnd),
            Self::TenantNotChecked => Some(Laxity::TenantNotChecked),
            Self::SlotTakenWhileFull => Some(Laxity::SlotsUnconditional),
            Self::SlotsKept => Some(Laxity::SlotsKept),
            Self::SlotFreedTwice => Some(Laxity::SlotFreedTwice),
            Self::UsageNotIdempotent => Some(Laxity::UsageNotIdempotent),
            Self::CatalogRemembered => Some(Laxity::CatalogRemembered),
            Self::WebhookOfOldUsage => Some(Laxity::LedgerUnconditional),
            Self::HeadHoldsUp => Some(Laxity::FullNamesAll),
            Self::BoardUnconditional => Some(Laxity::BoardUnconditional),
            Self::BoardOfAnyRun => Some(Laxity::BoardOfAnyRun),
            Self::PlanWithoutEdges => Some(Laxity::PlanWithoutEdges),
            Self::WakeForgotten => Some(Laxity::WakeForgotten),
            Self::PartsForgotten => Some(Laxity::PartsForgotten),
            Self::StartBeforeWrite
            | Self::ClaimUnconditional
            | Self::BodyRebuiltPerAttempt
            | Self::EventNotIdempotent
            | Self::NeverStartedAgain
            | Self::DifferenceNotDescribed
            | Self::DueNotHandedOut
            | Self::StopNotRepeated
            | Self::AnswerNotRepeated
            | Self::CancelSilentlyIgnored
            | Self::DispatchWithoutLeaving
            | Self::NewestDispatchedFirst
            | Self::StopOutsideTransaction
            | Self::TokenOfAnyRun
            | Self::TokenNeverExpires
            | Self::PurgeBeforeHiding
            | Self::PurgeWhileOwed
            | Self::ExpiredRunShown
            | Self::GoneRunAnswered
            | Self::ListNotAsked
            | Self::LeaseIgnored
            | Self::LateAttemptNotRecorded
            | Self::RefusedClaimFails
            | Self::EndCountedTwice
            | Self::OnlyAskerTold
            | Self::QuestionNotRepeated
            | Self::UsageOfFirstTry => None,
        }
    }
}

/// The engine as the reconciler sees it, deaf to one of its requests where a bug is planted. It counts what it is asked for.
#[derive(Clone, Debug)]
pub struct SweepEngine {
    pub engine: MemoryEngine,
    pub mutation: Option<Mutation>,
    pub asked: Arc<Mutex<Asked>>,
}

/// What a sweep asked its engine for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub starts: u32,
    pub stops: u32,
    pub describes: u32,
    pub lists: u32,
    /// Deliveries that were announced, and heard.
    pub announced: u32,
}

impl StartExecution for SweepEngine {
    async fn start_execution(&self, request: &StartRequest<'_>) -> EngineResult<StartOutcome> {
        lock(&self.asked).starts += 1;
        if self.mutation == Some(Mutation::NeverStartedAgain) {
            return Ok(StartOutcome::Started);
        }
        self.engine.start_execution(request).await
    }
}

impl StopExecution for SweepEngine {
    async fn stop_execution(&self, execution_arn: &ExecutionArn, error: &str, cause: &str) -> EngineResult<()> {
        lock(&self.asked).stops += 1;
        if self.mutation == Some(Mutation::StopNotRepeated) {
            return Ok(());
        }
        self.engine.stop_execution(execution_arn, error, cause).await
    }
}

impl DescribeExecution for SweepEngine {
    async fn describe_execution(&self, execution_arn: &ExecutionArn) -> EngineResult<ExecutionState> {
        lock(&self.asked).describes += 1;
        if self.mutation == Some(Mutation::DifferenceNotDescribed) {
            return Ok(ExecutionState::Running);
        }
        self.engine.describe_execution(execution_arn).await
    }
}

impl ListExecutions for SweepEngine {
    async fn running_executions(
        &self,
        state_machine_arn: &StateMachineArn,
        cursor: Option<&str>,
    ) -> EngineResult<Page<String>> {
        lock(&self.asked).lists += 1;
        self.engine.running_executions(state_machine_arn, cursor).await
    }
}

impl AnswerTask for SweepEngine {
    async fn answer_task(&self, token: &str, answer: &TaskAnswer<'_>) -> EngineResult<TaskAnswered> {
        if self.mutation == Some(Mutation::AnswerNotRepeated) {
            return Err(EngineError { operation: "answer the task", source: None });
        }
        self.engine.answer_task(token, answer).await
    }
}

impl AnnounceDue for SweepEngine {
    async fn announce_due(&self, deliveries: &[DeliveryRef]) -> EngineResult<()> {
        if self.mutation == Some(Mutation::DueNotHandedOut) {
            lock(&self.asked).announced += deliveries.len() as u32;
            return Ok(());
        }
        self.engine.announce_due(deliveries).await?;
        lock(&self.asked).announced += deliveries.len() as u32;
        Ok(())
    }

    async fn announce_free(&self, queues: &[QueueRef]) -> EngineResult<()> {
        self.engine.announce_free(queues).await
    }
}

/// The engine as `advance-run` sees it when a worker asks. It notes whether anybody else was told.
#[derive(Clone, Debug)]
pub struct WordEngine {
    pub engine: MemoryEngine,
    /// The token of the one who asks.
    pub own: String,
    pub told: Arc<Mutex<bool>>,
    pub mutation: Option<Mutation>,
    pub dice: Dice,
}

impl AnswerTask for WordEngine {
    async fn answer_task(&self, token: &str, answer: &TaskAnswer<'_>) -> EngineResult<TaskAnswered> {
        let is_other = token != self.own;
        if is_other && self.mutation == Some(Mutation::OnlyAskerTold) {
            return Ok(TaskAnswered::Taken);
        }
        let answered = self.engine.answer_task(token, answer).await;
        match &answered {
            Ok(_) => *lock(&self.told) |= is_other,
            Err(_) => self.dice.count(FaultKind::WordTrouble),
        }
        answered
    }
}

impl StopExecution for WordEngine {
    async fn stop_execution(&self, execution_arn: &ExecutionArn, error: &str, cause: &str) -> EngineResult<()> {
        self.engine.stop_execution(execution_arn, error, cause).await
    }
}
