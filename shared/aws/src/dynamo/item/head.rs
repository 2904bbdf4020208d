//! A run's head as it is stored: flat, so that the runner can read it and write to it attribute by attribute.

use super::form::{ItemError, ItemResult};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sluice_core::concurrency::SlotScope;
use sluice_core::id::{RunId, TenantId};
use sluice_core::lifecycle::{RunStatus, StopIntent, TerminationReason};
use sluice_core::run::{About, Course, Ended, Gate, Progress, Run, RunError, RunSpec, RunState, SnapshotRef, Times};
use sluice_core::time::{millis, millis_opt};
use std::collections::BTreeSet;
use std::mem::take;

pub(super) const RUN: &str = "run";

/// The attributes of a head, but for its keys. An attribute is absent where it would be `None`, empty or zero; `deliveries`
/// is always there.
///
/// The runner writes some of them itself: `status`, `startedAt`, `updatedAt`, `rev`, `stageIndex`, `pauseToken`, `pausedAt`
/// and `waitingNodes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredRun {
    pub tenant_id: TenantId,
    pub run_id: RunId,
    #[serde(flatten)]
    pub about: About,
    #[serde(flatten)]
    pub spec: RunSpec,
    #[serde(flatten)]
    pub snapshot: SnapshotRef,
    pub status: RunStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub termination_reason: Option<TerminationReason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_intent: Option<StopIntent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RunError>,
    #[serde(with = "millis")]
    pub updated_at: Timestamp,
    #[serde(default, with = "millis_opt", skip_serializing_if = "Option::is_none")]
    pub dispatched_at: Option<Timestamp>,
    #[serde(default, with = "millis_opt", skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, with = "millis_opt", skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage_index: Option<u32>,
    #[serde(default, with = "millis_opt", skip_serializing_if = "Option::is_none")]
    pub pause_requested_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pauses: u32,
    #[serde(default, with = "millis_opt", skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub paused_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_token: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub waiting_nodes: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub answered_nodes: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub slots: BTreeSet<SlotScope>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_in: Option<SlotScope>,
    #[serde(default, with = "millis_opt", skip_serializing_if = "Option::is_none")]
    pub retention_due_at: Option<Timestamp>,
    #[serde(default, with = "millis_opt", skip_serializing_if = "Option::is_none")]
    pub purge_from: Option<Timestamp>,
    #[serde(default)]
    pub deliveries: u32,
    pub rev: u64,
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

impl From<&Run> for StoredRun {
    fn from(run: &Run) -> Self {
        let mut stored = Self {
            tenant_id: run.tenant_id.clone(),
            run_id: run.run_id,
            about: run.about.clone(),
            spec: run.spec.clone(),
            snapshot: run.snapshot.clone(),
            status: run.status(),
            termination_reason: None,
            stop_intent: run.state.intent(),
            error: None,
            updated_at: run.updated_at,
            dispatched_at: run.state.dispatched_at(),
            started_at: None,
            completed_at: None,
            stage_index: None,
            pause_requested_at: run.state.pause_asked_at(),
            pauses: run.state.pauses(),
            paused_at: None,
            paused_ms: 0,
            pause_token: None,
            waiting_nodes: run.state.waiting_nodes().clone(),
            answered_nodes: run.state.answered_nodes().clone(),
            slots: run.slots.clone(),
            queued_in: run.state.queue(),
            retention_due_at: None,
            purge_from: None,
            deliveries: 0,
            rev: run.rev,
        };
        if let Some(times) = run.state.times() {
            stored.started_at = Some(times.started_at);
            stored.stage_index = times.stage_index;
            stored.paused_ms = times.paused_ms;
        }
        match &run.state {
            RunState::Queued { .. } | RunState::Pending { .. } => {}
            RunState::Running { gate, .. } | RunState::Waiting { gate, .. } | RunState::Stopping { gate, .. } => {
                stored.pause_token.clone_from(&gate.token);
            }
            RunState::Paused { since, token, .. } => {
                stored.paused_at = Some(*since);
                stored.pause_token.clone_from(token);
            }
            RunState::Ended(ended) => {
                stored.termination_reason = Some(ended.reason);
                stored.error.clone_from(&ended.error);
                stored.completed_at = Some(ended.completed_at);
                stored.retention_due_at = ended.due_at;
                stored.purge_from = ended.purge_from;
                stored.deliveries = ended.deliveries;
            }
        }
        stored
    }
}

impl TryFrom<StoredRun> for Run {
    type Error = ItemError;

    /// Reads a head. One that lacks what its status needs, or has what no version writes beside it, is refused.
    fn try_from(mut stored: StoredRun) -> ItemResult<Self> {
        let state = take_state(&mut stored)?;
        nothing_more(&stored)?;
        let StoredRun { tenant_id, run_id, about, spec, snapshot, slots, updated_at, rev, .. } = stored;
        Ok(Self { tenant_id, run_id, about, spec, snapshot, state, slots, updated_at, rev })
    }
}

/// Takes out of a head what makes the state that its status names.
fn take_state(stored: &mut StoredRun) -> ItemResult<RunState> {
    Ok(match stored.status {
        RunStatus::Queued => RunState::Queued { queue: needed(stored.queued_in.take(), "queuedIn")? },
        RunStatus::Pending => RunState::Pending {
            dispatched_at: stored.dispatched_at.take(),
            pauses: take(&mut stored.pauses),
            pause_asked_at: stored.pause_requested_at.take(),
        },
        RunStatus::Running => RunState::Running { progress: take_progress(stored)?, gate: take_gate(stored) },
        RunStatus::Paused => RunState::Paused {
            progress: take_progress(stored)?,
            pause_asked_at: needed(stored.pause_requested_at.take(), "pauseRequestedAt")?,
            since: needed(stored.paused_at.take(), "pausedAt")?,
            token: stored.pause_token.take(),
        },
        RunStatus::WaitingForInput => RunState::Waiting {
            progress: take_progress(stored)?,
            gate: take_gate(stored),
            nodes: needed(Some(take(&mut stored.waiting_nodes)).filter(|nodes| !nodes.is_empty()), "waitingNodes")?,
        },
        RunStatus::Canceling => RunState::Stopping {
            progress: take_progress(stored)?,
            gate: take_gate(stored),
            nodes: take(&mut stored.waiting_nodes),
            intent: needed(stored.stop_intent.take(), "stopIntent")?,
        },
        status @ (RunStatus::Succeeded | RunStatus::Failed | RunStatus::Canceled) => {
            let reason = stored.termination_reason.take().filter(|reason| reason.status() == status);
            RunState::Ended(Ended {
                reason: needed(reason, "terminationReason")?,
                intent: stored.stop_intent.take(),
                completed_at: needed(stored.completed_at.take(), "completedAt")?,
                error: stored.error.take(),
                due_at: stored.retention_due_at.take(),
                purge_from: stored.purge_from.take(),
                deliveries: take(&mut stored.deliveries),
                course: match stored.started_at {
                    Some(_) => Course::Started(take_clock(stored)?),
                    None => Course::NeverStarted {
                        dispatched_at: stored.dispatched_at.take(),
                        pauses: take(&mut stored.pauses),
                    },
                },
            })
        }
    })
}

fn take_progress(stored: &mut StoredRun) -> ItemResult<Progress> {
    Ok(Progress { times: take_clock(stored)?, answered_nodes: take(&mut stored.answered_nodes) })
}

fn take_clock(stored: &mut StoredRun) -> ItemResult<Times> {
    Ok(Times {
        dispatched_at: stored.dispatched_at.take(),
        started_at: needed(stored.started_at.take(), "startedAt")?,
        stage_index: stored.stage_index.take(),
        pauses: take(&mut stored.pauses),
        paused_ms: take(&mut stored.paused_ms),
    })
}

fn take_gate(stored: &mut StoredRun) -> Gate {
    Gate { pause_asked_at: stored.pause_requested_at.take(), token: stored.pause_token.take() }
}

fn needed<T>(found: Option<T>, attribute: &'static str) -> ItemResult<T> {
    found.ok_or(ItemError::Attribute { kind: RUN, attribute })
}

/// Refuses a head that has more than its state took.
fn nothing_more(stored: &StoredRun) -> ItemResult<()> {
    let left = [
        ("terminationReason", stored.termination_reason.is_some()),
        ("stopIntent", stored.stop_intent.is_some()),
        ("error", stored.error.is_some()),
        ("dispatchedAt", stored.dispatched_at.is_some()),
        ("startedAt", stored.started_at.is_some()),
        ("completedAt", stored.completed_at.is_some()),
        ("stageIndex", stored.stage_index.is_some()),
        ("pauseRequestedAt", stored.pause_requested_at.is_some()),
        ("pauses", stored.pauses != 0),
        ("pausedAt", stored.paused_at.is_some()),
        ("pausedMs", stored.paused_ms != 0),
        ("pauseToken", stored.pause_token.is_some()),
        ("waitingNodes", !stored.waiting_nodes.is_empty()),
        ("answeredNodes", !stored.answered_nodes.is_empty()),
        ("queuedIn", stored.queued_in.is_some()),
        ("retentionDueAt", stored.retention_due_at.is_some()),
        ("purgeFrom", stored.purge_from.is_some()),
        ("deliveries", stored.deliveries != 0),
    ];
    match left.into_iter().find(|(_, is_left)| *is_left) {
        Some((attribute, _)) => Err(ItemError::Surplus { status: stored.status.as_str(), attribute }),
        None => Ok(()),
    }
}
