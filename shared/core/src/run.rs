//! The run: its head, what lists show, and the one way to change it.

use crate::arn::{ExecutionArn, StateMachineArn};
use crate::budget::MicroUsd;
use crate::concurrency::{QueueRef, SlotScope};
use crate::id::{ComputeNodeKey, DefinitionId, DefinitionName, InstanceId, RunId, TenantId};
use crate::lifecycle::{Decision, Move, RunEvent, RunStatus, StopIntent, TerminationReason, step};
use crate::retention::Retention;
use crate::time::{millis, millis_opt};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

/// The head of a run. Also its stored form: `camelCase` attributes, absent where `None` or empty.
///
/// The runner writes some of these itself (`status`, `started_at`, `updated_at`, `rev`, `pause_token`, `paused_at`,
/// `waiting_nodes`, `stage_index`); every write by anyone adds one to `rev`, so a conditional write of a whole head loses nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    pub tenant_id: TenantId,
    pub run_id: RunId,
    pub name: String,
    pub status: RunStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub termination_reason: Option<TerminationReason>,
    /// Recorded before the execution is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_intent: Option<StopIntent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RunError>,
    pub definition_id: DefinitionId,
    pub definition_name: DefinitionName,
    /// Who owns the definition, where that is not the run's own tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition_owner: Option<TenantId>,
    /// 0 for the draft.
    pub version: u32,
    pub instance_id: InstanceId,
    pub compute_node: ComputeNodeKey,
    /// The runner that executes this run. With the run's id it makes the execution's ARN.
    pub state_machine_arn: StateMachineArn,
    /// The caller's cap; `None` for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_budget_micro_usd: Option<MicroUsd>,
    /// The compute node's own ceiling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_node_budget_micro_usd: Option<MicroUsd>,
    /// Counted from `started_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_run_duration_seconds: Option<u64>,
    /// Whether `max_run_duration_seconds` leaves out the time spent `PAUSED`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exclude_paused_time: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    pub created_by: String,
    #[serde(with = "millis")]
    pub created_at: Timestamp,
    #[serde(with = "millis")]
    pub updated_at: Timestamp,
    /// When a run that had been queued came out of its queue.
    #[serde(default, with = "millis_opt", skip_serializing_if = "Option::is_none")]
    pub dispatched_at: Option<Timestamp>,
    /// When the execution claimed the run.
    #[serde(default, with = "millis_opt", skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, with = "millis_opt", skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// The stage the runner has reached, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage_index: Option<u32>,
    #[serde(default, with = "millis_opt", skip_serializing_if = "Option::is_none")]
    pub pause_requested_at: Option<Timestamp>,
    /// How often a pause was asked for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pauses: u32,
    /// Since when it is paused.
    #[serde(default, with = "millis_opt", skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<Timestamp>,
    /// Milliseconds spent paused, but for the pause that is on.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub paused_ms: u64,
    /// The task token of a runner that waits at its pause gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_token: Option<String>,
    /// External nodes that wait for their answer.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub waiting_nodes: BTreeSet<String>,
    /// External nodes whose answer is recorded and not yet known to be in the runner's hands.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub answered_nodes: BTreeSet<String>,
    /// The run that this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_of: Option<RunId>,
    /// How many runs back the first of the chain of replays is.
    #[serde(default)]
    pub replay_depth: u32,
    /// The run that this one evaluates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation_of: Option<RunId>,
    /// The concurrency slots it holds.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub slots: BTreeSet<SlotScope>,
    /// The queue it waits in while it is `QUEUED`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_in: Option<SlotScope>,
    /// How long it is kept once it has ended. `None` for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// From when an ended run is gone from every read. Its items follow.
    #[serde(default, with = "millis_opt", skip_serializing_if = "Option::is_none")]
    pub retention_due_at: Option<Timestamp>,
    /// How many deliveries the run owes or owed.
    #[serde(default)]
    pub deliveries: u32,
    pub has_callback: bool,
    /// SHA-256 of the stored snapshot.
    pub snapshot_hash: String,
    /// Optimistic lock.
    pub rev: u64,
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

/// Why a run failed, as its caller sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunError {
    /// From Step Functions or the processor, e.g. `States.TaskFailed`; at most 256 characters.
    pub code: String,
    /// At most [`RunError::HEAD_MESSAGE_CHARS`] in a head; longer in the run's output item.
    pub message: String,
}

impl RunError {
    pub const CODE_CHARS: usize = 256;
    pub const HEAD_MESSAGE_CHARS: usize = 512;
    /// What a webhook says at most.
    pub const FULL_MESSAGE_CHARS: usize = 8_192;

    pub fn new(code: &str, message: &str, most: usize) -> Self {
        Self { code: code.chars().take(Self::CODE_CHARS).collect(), message: message.chars().take(most).collect() }
    }

    /// What Step Functions says of a failure. The runner's own causes are JSON that names the failed node; they become
    /// a sentence. Any other cause is kept as it is.
    pub fn from_engine(code: &str, cause: &str) -> Self {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct RunnerCause {
            node_id: String,
            #[serde(default)]
            cause: serde_json::Value,
        }
        let message = match serde_json::from_str::<RunnerCause>(cause) {
            Ok(RunnerCause { node_id, cause }) => match cause.as_str() {
                Some(text) if !text.is_empty() => format!("node {node_id}: {text}"),
                None if !cause.is_null() => format!("node {node_id}: {cause}"),
                Some(_) | None => format!("node {node_id} failed"),
            },
            Err(_other_form) => cause.to_owned(),
        };
        Self::new(code, &message, Self::FULL_MESSAGE_CHARS)
    }
}

/// What the engine says of an execution's end, from its event or from `DescribeExecution`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndDetails {
    /// When the execution stopped, by the engine's clock.
    pub stopped_at: Option<Timestamp>,
    /// The execution's output, JSON text as the engine gave it.
    pub output: Option<String>,
    pub error: Option<RunError>,
}

impl Run {
    /// `retention_due_at` of a run whose items are being deleted: past by every clock.
    pub const LET_GO: Timestamp = Timestamp::UNIX_EPOCH;

    /// The ARN of the run's execution, whether or not it has started.
    pub fn execution_arn(&self) -> ExecutionArn {
        self.state_machine_arn.execution(self.run_id)
    }

    /// When the run's time is up, once it runs. While it is paused it has no deadline if its definition leaves paused time
    /// out.
    pub fn deadline(&self) -> Option<Timestamp> {
        let seconds = i64::try_from(self.max_run_duration_seconds?).ok()?;
        let deadline = self.started_at? + SignedDuration::from_secs(seconds);
        match (self.exclude_paused_time, self.paused_at) {
            (false, _) => Some(deadline),
            (true, Some(_)) => None,
            (true, None) => {
                Some(deadline + SignedDuration::from_millis(i64::try_from(self.paused_ms).unwrap_or(i64::MAX)))
            }
        }
    }

    /// The queue before the limit of `scope` that this run is held to.
    pub fn queue(&self, scope: SlotScope) -> QueueRef {
        let definition_id = match scope {
            SlotScope::Definition => Some(self.definition_id),
            SlotScope::Tenant => None,
        };
        QueueRef { tenant_id: self.tenant_id.clone(), definition_id }
    }

    /// From when the run should be starting: its creation, or the end of its wait in a queue.
    pub fn due_to_start_at(&self) -> Timestamp {
        self.dispatched_at.unwrap_or(self.created_at)
    }

    /// What it may spend at most: the lower of the caller's cap and the compute node's ceiling.
    pub fn spending_cap(&self) -> Option<MicroUsd> {
        [self.execution_budget_micro_usd, self.compute_node_budget_micro_usd].into_iter().flatten().min()
    }

    /// Whether there still is such a run, for anybody who asks at `now`.
    pub fn is_visible(&self, now: Timestamp) -> bool {
        self.retention_due_at.is_none_or(|due_at| due_at > now)
    }

    /// The run under another rule of retention.
    pub fn kept_by(&self, retention: Retention, now: Timestamp) -> Self {
        let mut run = self.clone();
        run.rev += 1;
        run.updated_at = now.max(self.updated_at);
        run.retention = Some(retention);
        run.retention_due_at = self.completed_at.and_then(|end| retention.due_at(self.status, end));
        run
    }

    pub fn decide(&self, event: RunEvent) -> Decision {
        step(self.status, self.stop_intent, event)
    }

    /// A new run of the same thing, recorded at `now` and not started; its id and links are the caller's to set.
    pub fn as_new(&self, now: Timestamp) -> Self {
        Self {
            status: RunStatus::Pending,
            termination_reason: None,
            stop_intent: None,
            error: None,
            created_at: now,
            updated_at: now,
            dispatched_at: None,
            started_at: None,
            completed_at: None,
            stage_index: None,
            pause_requested_at: None,
            pauses: 0,
            paused_at: None,
            paused_ms: 0,
            pause_token: None,
            waiting_nodes: BTreeSet::new(),
            answered_nodes: BTreeSet::new(),
            slots: BTreeSet::new(),
            queued_in: None,
            retention_due_at: None,
            deliveries: 0,
            rev: 1,
            ..self.clone()
        }
    }

    /// Sets when the run ended, and so from when it is gone.
    pub fn complete(&mut self, at: Timestamp) {
        self.completed_at = Some(at);
        self.retention_due_at = self.retention.and_then(|retention| retention.due_at(self.status, at));
    }

    /// Whether the runner waits at its gate for a resume that is recorded already.
    pub fn owes_a_resume(&self) -> bool {
        self.pause_token.is_some() && self.pause_requested_at.is_none() && self.status != RunStatus::Paused
    }

    /// The run after `event`, or `None` when it changes nothing.
    pub fn after(&self, event: RunEvent, now: Timestamp) -> Option<Run> {
        let next = match self.decide(event) {
            Decision::Move(next) => next,
            Decision::Stay => Move { to: self.status, reason: None },
            Decision::Ignore | Decision::Illegal => return None,
        };
        let mut run = self.clone();
        run.rev += 1;
        run.updated_at = now.max(self.updated_at);
        run.status = next.to;
        run.termination_reason = next.reason;
        match event {
            RunEvent::StopAsked(intent) => run.stop_intent = Some(intent),
            RunEvent::Claimed => run.started_at = Some(now),
            RunEvent::PauseAsked => {
                run.pause_requested_at = Some(now);
                run.pauses += 1;
            }
            RunEvent::Resumed => run.pause_requested_at = None,
            RunEvent::Dispatched => {
                run.dispatched_at = Some(run.updated_at);
                run.queued_in = None;
            }
            RunEvent::PauseTaken => run.paused_at = Some(run.updated_at),
            RunEvent::InputAwaited
            | RunEvent::InputGiven { .. }
            | RunEvent::StartRefused
            | RunEvent::EngineEnded(_)
            | RunEvent::EngineVanished => {}
        }
        if run.status != RunStatus::Paused
            && let Some(paused_at) = run.paused_at.take()
        {
            run.paused_ms += u64::try_from(run.updated_at.duration_since(paused_at).as_millis()).unwrap_or(0);
        }
        if next.to.is_terminal() {
            run.complete(now);
            run.slots.clear();
            run.queued_in = None;
            run.pause_requested_at = None;
            run.pause_token = None;
            run.waiting_nodes.clear();
            run.answered_nodes.clear();
        }
        Some(run)
    }
}
