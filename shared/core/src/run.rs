//! The run: what was frozen of it, where it stands, and the one way to change it.

mod end;
mod spec;
mod state;

pub use end::{EndDetails, RunError};
pub use spec::{About, RunSpec, SnapshotRef};
pub use state::{Course, Ended, Gate, Progress, RunState, Times};

use crate::arn::ExecutionArn;
use crate::concurrency::{QueueRef, SlotScope};
use crate::id::{RunId, TenantId};
use crate::lifecycle::{Decision, Move, RunEvent, RunStatus, step};
use crate::retention::Retention;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

/// A run: the head of everything that is kept of it.
///
/// The runner changes the stored head itself, too; every write by anyone adds one to `rev`, so a conditional write of a
/// whole head loses nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub tenant_id: TenantId,
    pub run_id: RunId,
    pub about: About,
    pub spec: RunSpec,
    pub snapshot: SnapshotRef,
    pub state: RunState,
    /// The concurrency slots it holds. One that waits in a queue or has ended holds none.
    pub slots: BTreeSet<SlotScope>,
    pub updated_at: Timestamp,
    /// Optimistic lock.
    pub rev: u64,
}

impl Run {
    /// From when a run is gone whose items are being deleted: past by every clock.
    pub const LET_GO: Timestamp = Timestamp::UNIX_EPOCH;

    /// A run of this spec as it is recorded, with nothing in its way.
    pub fn new(tenant_id: TenantId, run_id: RunId, about: About, spec: RunSpec, snapshot: SnapshotRef) -> Self {
        let updated_at = spec.created_at;
        let (state, slots) = (RunState::pending(), BTreeSet::new());
        Self { tenant_id, run_id, about, spec, snapshot, state, slots, updated_at, rev: 1 }
    }

    pub const fn status(&self) -> RunStatus {
        self.state.status()
    }

    /// The counter and the queue of a limit that applies to this run.
    pub fn queue(&self, scope: SlotScope) -> QueueRef {
        QueueRef::of(&self.tenant_id, self.spec.definition_id, scope)
    }

    /// The ARN of the run's execution, whether or not it has started.
    pub fn execution_arn(&self) -> ExecutionArn {
        self.spec.state_machine_arn.execution(self.run_id)
    }

    /// When the run's time is up, once it runs. While it is paused it has no deadline if its definition leaves paused time
    /// out.
    pub fn deadline(&self) -> Option<Timestamp> {
        let seconds = i64::try_from(self.spec.max_run_duration_seconds?).ok()?;
        let times = self.state.times()?;
        let deadline = times.started_at + SignedDuration::from_secs(seconds);
        match (self.spec.exclude_paused_time, &self.state) {
            (false, _) => Some(deadline),
            (true, RunState::Paused { .. }) => None,
            (true, _) => {
                Some(deadline + SignedDuration::from_millis(i64::try_from(times.paused_ms).unwrap_or(i64::MAX)))
            }
        }
    }

    /// From when the run should be starting: its creation, or the end of its wait in a queue.
    pub fn due_to_start_at(&self) -> Timestamp {
        self.state.dispatched_at().unwrap_or(self.spec.created_at)
    }

    /// Whether there still is such a run, for anybody who asks at `now`.
    pub fn is_visible(&self, now: Timestamp) -> bool {
        self.state.ended().and_then(|ended| ended.due_at).is_none_or(|due_at| due_at > now)
    }

    /// The run in another state, as a change at `now` leaves it.
    pub fn in_state(&self, state: RunState, now: Timestamp) -> Self {
        Self { state, rev: self.rev + 1, updated_at: now.max(self.updated_at), ..self.clone() }
    }

    /// The run under another rule of retention.
    pub fn kept_by(&self, retention: Retention, now: Timestamp) -> Self {
        let mut run = self.in_state(self.state.clone(), now);
        run.spec.retention = Some(retention);
        if let RunState::Ended(ended) = &mut run.state {
            ended.keep(run.spec.retention);
        }
        run
    }

    /// The run as one that is gone, even for an instance whose clock is late: what is being deleted must be neither seen
    /// nor changed. `None` for a run that is open.
    pub fn let_go(&self, now: Timestamp) -> Option<Self> {
        let RunState::Ended(ended) = &self.state else { return None };
        let state = RunState::Ended(Ended { due_at: Some(Self::LET_GO), purge_from: None, ..ended.clone() });
        Some(self.in_state(state, now))
    }

    /// The run as one whose items cannot be deleted before `purge_from`, because it owes something until then. `None` for a
    /// run that is open.
    pub fn put_off(&self, purge_from: Timestamp, now: Timestamp) -> Option<Self> {
        let RunState::Ended(ended) = &self.state else { return None };
        Some(self.in_state(RunState::Ended(Ended { purge_from: Some(purge_from), ..ended.clone() }), now))
    }

    pub fn decide(&self, event: RunEvent) -> Decision {
        step(self.status(), self.state.intent(), event)
    }

    /// The run after `event`, or `None` when it changes nothing. What a runner or an answer brings about has more to it
    /// than its event: see [`Self::parked`], [`Self::awaiting`] and [`Self::answered`].
    pub fn after(&self, event: RunEvent, now: Timestamp) -> Option<Self> {
        let reason = match self.decide(event) {
            Decision::Move(Move { reason, .. }) => reason,
            Decision::Stay => None,
            Decision::Ignore | Decision::Illegal => return None,
        };
        let (state, at) = (self.state.clone(), now.max(self.updated_at));
        let Some(reason) = reason else { return Some(self.in_state(state.follow(event, now, at)?, now)) };
        let mut run = self.in_state(state.end(reason, event, now, at), now);
        run.slots.clear();
        if let RunState::Ended(ended) = &mut run.state {
            ended.keep(run.spec.retention);
        }
        Some(run)
    }

    /// The run whose runner has parked at its gate, as the runner writes it; `None` when no pause is asked for.
    pub fn parked(&self, token: impl Into<String>, now: Timestamp) -> Option<Self> {
        let state = self.state.clone().park(token.into(), now.max(self.updated_at))?;
        Some(self.in_state(state, now))
    }

    /// The run as its board shows it: with these external nodes waiting, and parked where a pause is asked for and nothing is
    /// under way. `None` where it is shown so already.
    pub fn shown(&self, waiting: BTreeSet<String>, is_parked: bool, now: Timestamp) -> Option<Self> {
        Some(self.in_state(self.state.clone().shown(waiting, is_parked, now.max(self.updated_at))?, now))
    }

    /// The run one of whose external nodes begins to wait, as the runner writes it; `None` when it cannot wait.
    pub fn awaiting(&self, node: impl Into<String>, now: Timestamp) -> Option<Self> {
        Some(self.in_state(self.state.clone().await_answer(node.into())?, now))
    }

    /// The run one of whose waiting nodes was answered; `None` when that node does not wait.
    pub fn answered(&self, node: &str, now: Timestamp) -> Option<Self> {
        Some(self.in_state(self.state.clone().answer(node)?, now))
    }
}
