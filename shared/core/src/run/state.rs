//! Where a run stands: each state with what a run in that state has, and nothing else.
//!
//! **Invariant:** which state follows which is decided by [`step`](crate::lifecycle::step) alone; what stands here is only
//! what the next state takes over from the one before.

use super::end::RunError;
use crate::concurrency::SlotScope;
use crate::lifecycle::{RunEvent, RunStatus, StopIntent, TerminationReason};
use crate::retention::Retention;
use jiff::Timestamp;
use std::collections::BTreeSet;

/// Where a run stands.
///
/// The runner makes some of these itself, by writing attributes of the stored head: it claims a run (`Running`), it shows
/// the stage that it has reached (in any state from `Running` on), it parks at its gate (`Paused`), and it shows external
/// nodes that wait (`Waiting`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunState {
    /// It is recorded, and waits in the queue before this limit.
    Queued {
        queue: SlotScope,
    },
    /// It is recorded, and its start may be under way.
    Pending {
        /// When it came out of its queue, if it was in one.
        dispatched_at: Option<Timestamp>,
        /// How often a pause was asked for.
        pauses: u32,
        /// Since when a pause is asked for that the runner has not taken yet.
        pause_asked_at: Option<Timestamp>,
    },
    Running {
        progress: Progress,
        gate: Gate,
    },
    /// Nothing is under way, and nothing begins.
    Paused {
        progress: Progress,
        pause_asked_at: Timestamp,
        /// When the last of what was under way had ended.
        since: Timestamp,
        /// What lets a runner of the first generation go on, which is parked with it.
        token: Option<String>,
    },
    /// External nodes wait for their answers. There is always at least one of them.
    Waiting {
        progress: Progress,
        gate: Gate,
        nodes: BTreeSet<String>,
    },
    /// The execution is being stopped.
    Stopping {
        progress: Progress,
        gate: Gate,
        /// External nodes that waited when the stop was asked for: its execution's end will end their wait.
        nodes: BTreeSet<String>,
        intent: StopIntent,
    },
    Ended(Ended),
}

/// How far an open run has come that was claimed by its execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub times: Times,
    /// External nodes whose answer is recorded and not yet known to be in the runner's hands.
    pub answered_nodes: BTreeSet<String>,
}

/// The times of a run that was claimed by its execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// When it came out of its queue, if it was in one.
    pub dispatched_at: Option<Timestamp>,
    /// When its execution claimed it.
    pub started_at: Timestamp,
    /// The stage that the runner has reached, from 0.
    pub stage_index: Option<u32>,
    /// How often a pause was asked for.
    pub pauses: u32,
    /// Milliseconds spent paused, but for a pause that is on.
    pub paused_ms: u64,
}

/// What stands open between a run that goes on and the gate at which its runner can be parked. All four combinations
/// occur: a pause may be asked for again before the runner has been told that the last one is over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// Since when a pause is asked for that the runner has not taken yet.
    pub pause_asked_at: Option<Timestamp>,
    /// The token of a runner that may still be parked although the run goes on.
    pub token: Option<String>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub reason: TerminationReason,
    /// The stop that was asked for before the end, whether or not it came to it.
    pub intent: Option<StopIntent>,
    pub completed_at: Timestamp,
    /// Why it failed, if it did.
    pub error: Option<RunError>,
    /// From when the run is gone from every read. Its items follow. `None` when it is kept for good.
    pub due_at: Option<Timestamp>,
    /// Before when nobody need look whether the items of a run that is gone can be deleted: until then somebody is owed a
    /// delivery. `None` where this was never so.
    pub purge_from: Option<Timestamp>,
    /// How many deliveries the run owes or owed.
    pub deliveries: u32,
    pub course: Course,
}

/// What came before the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// No execution claimed the run.
    NeverStarted {
        /// When it came out of its queue, if it did.
        dispatched_at: Option<Timestamp>,
        /// How often a pause was asked for.
        pauses: u32,
    },
    Started(Times),
}

impl Times {
    /// That of a run that was claimed at this time and never queued or paused.
    pub const fn started(started_at: Timestamp) -> Self {
        Self { dispatched_at: None, started_at, stage_index: None, pauses: 0, paused_ms: 0 }
    }

    fn paused(self, since: Timestamp, until: Timestamp) -> Self {
        let paused = u64::try_from(until.duration_since(since).as_millis()).unwrap_or(0);
        Self { paused_ms: self.paused_ms + paused, ..self }
    }
}

impl From<Times> for Progress {
    /// The progress of a run none of whose nodes was answered.
    fn from(times: Times) -> Self {
        Self { times, answered_nodes: BTreeSet::new() }
    }
}

impl Ended {
    /// Sets when the run ended, and so from when it is gone.
    pub fn complete(&mut self, at: Timestamp, retention: Option<Retention>) {
        self.completed_at = at;
        self.keep(retention);
    }

    /// Puts it under a rule of retention.
    pub fn keep(&mut self, retention: Option<Retention>) {
        self.due_at = retention.and_then(|retention| retention.due_at(self.reason.status(), self.completed_at));
        self.purge_from = None;
    }

    /// From when the run's items are to be deleted, if it is not kept for good.
    pub fn purge_at(&self) -> Option<Timestamp> {
        self.due_at.map(|due_at| self.purge_from.unwrap_or(due_at))
    }
}

static NO_NODES: BTreeSet<String> = BTreeSet::new();

impl RunState {
    /// That of a run that is recorded and was never in a queue.
    pub const fn pending() -> Self {
        Self::Pending { dispatched_at: None, pauses: 0, pause_asked_at: None }
    }

    /// That of a run which was claimed so and has nothing open at its gate.
    pub fn running(times: Times) -> Self {
        Self::Running { progress: Progress::from(times), gate: Gate::default() }
    }

    pub const fn status(&self) -> RunStatus {
        match self {
            Self::Queued { .. } => RunStatus::Queued,
            Self::Pending { .. } => RunStatus::Pending,
            Self::Running { .. } => RunStatus::Running,
            Self::Paused { .. } => RunStatus::Paused,
            Self::Waiting { .. } => RunStatus::WaitingForInput,
            Self::Stopping { .. } => RunStatus::Canceling,
            Self::Ended(ended) => ended.reason.status(),
        }
    }

    /// The stop that was asked for.
    pub const fn intent(&self) -> Option<StopIntent> {
        match self {
            Self::Stopping { intent, .. } => Some(*intent),
            Self::Ended(ended) => ended.intent,
            Self::Queued { .. }
            | Self::Pending { .. }
            | Self::Running { .. }
            | Self::Paused { .. }
            | Self::Waiting { .. } => None,
        }
    }

    /// The limit in whose queue the run waits.
    pub const fn queue(&self) -> Option<SlotScope> {
        match self {
            Self::Queued { queue } => Some(*queue),
            Self::Pending { .. }
            | Self::Running { .. }
            | Self::Paused { .. }
            | Self::Waiting { .. }
            | Self::Stopping { .. }
            | Self::Ended(_) => None,
        }
    }

    pub const fn ended(&self) -> Option<&Ended> {
        match self {
            Self::Ended(ended) => Some(ended),
            Self::Queued { .. }
            | Self::Pending { .. }
            | Self::Running { .. }
            | Self::Paused { .. }
            | Self::Waiting { .. }
            | Self::Stopping { .. } => None,
        }
    }

    /// How far an open run has come that was claimed by its execution.
    pub const fn progress(&self) -> Option<&Progress> {
        match self {
            Self::Running { progress, .. }
            | Self::Paused { progress, .. }
            | Self::Waiting { progress, .. }
            | Self::Stopping { progress, .. } => Some(progress),
            Self::Queued { .. } | Self::Pending { .. } | Self::Ended(_) => None,
        }
    }

    pub const fn progress_mut(&mut self) -> Option<&mut Progress> {
        match self {
            Self::Running { progress, .. }
            | Self::Paused { progress, .. }
            | Self::Waiting { progress, .. }
            | Self::Stopping { progress, .. } => Some(progress),
            Self::Queued { .. } | Self::Pending { .. } | Self::Ended(_) => None,
        }
    }

    /// What stands open at the gate of a run that goes on or is being stopped.
    pub const fn gate(&self) -> Option<&Gate> {
        match self {
            Self::Running { gate, .. } | Self::Waiting { gate, .. } | Self::Stopping { gate, .. } => Some(gate),
            Self::Queued { .. } | Self::Pending { .. } | Self::Paused { .. } | Self::Ended(_) => None,
        }
    }

    pub const fn gate_mut(&mut self) -> Option<&mut Gate> {
        match self {
            Self::Running { gate, .. } | Self::Waiting { gate, .. } | Self::Stopping { gate, .. } => Some(gate),
            Self::Queued { .. } | Self::Pending { .. } | Self::Paused { .. } | Self::Ended(_) => None,
        }
    }

    /// Whether the runner may be parked at the gate of a run that goes on, for a resume that is recorded already.
    pub fn owes_a_resume(&self) -> bool {
        self.gate().is_some_and(|gate| gate.token.is_some() && gate.pause_asked_at.is_none())
    }

    /// The times of a run that was claimed by its execution, whether it is open or has ended.
    pub const fn times(&self) -> Option<&Times> {
        match self {
            Self::Ended(Ended { course: Course::Started(times), .. }) => Some(times),
            Self::Running { progress, .. }
            | Self::Paused { progress, .. }
            | Self::Waiting { progress, .. }
            | Self::Stopping { progress, .. } => Some(&progress.times),
            Self::Queued { .. } | Self::Pending { .. } | Self::Ended(_) => None,
        }
    }

    pub fn started_at(&self) -> Option<Timestamp> {
        self.times().map(|times| times.started_at)
    }

    /// When the run came out of its queue, if it was in one.
    pub fn dispatched_at(&self) -> Option<Timestamp> {
        match self {
            Self::Pending { dispatched_at, .. }
            | Self::Ended(Ended { course: Course::NeverStarted { dispatched_at, .. }, .. }) => *dispatched_at,
            Self::Queued { .. }
            | Self::Running { .. }
            | Self::Paused { .. }
            | Self::Waiting { .. }
            | Self::Stopping { .. }
            | Self::Ended(_) => self.times()?.dispatched_at,
        }
    }

    /// How often a pause was asked for.
    pub fn pauses(&self) -> u32 {
        match self {
            Self::Pending { pauses, .. } | Self::Ended(Ended { course: Course::NeverStarted { pauses, .. }, .. }) => {
                *pauses
            }
            Self::Queued { .. }
            | Self::Running { .. }
            | Self::Paused { .. }
            | Self::Waiting { .. }
            | Self::Stopping { .. }
            | Self::Ended(_) => self.times().map_or(0, |times| times.pauses),
        }
    }

    /// Since when a pause is asked for, or is on.
    pub fn pause_asked_at(&self) -> Option<Timestamp> {
        match self {
            Self::Pending { pause_asked_at, .. } => *pause_asked_at,
            Self::Paused { pause_asked_at, .. } => Some(*pause_asked_at),
            Self::Running { gate, .. } | Self::Waiting { gate, .. } | Self::Stopping { gate, .. } => {
                gate.pause_asked_at
            }
            Self::Queued { .. } | Self::Ended(_) => None,
        }
    }

    /// External nodes that wait for their answers.
    pub const fn waiting_nodes(&self) -> &BTreeSet<String> {
        match self {
            Self::Waiting { nodes, .. } | Self::Stopping { nodes, .. } => nodes,
            Self::Queued { .. }
            | Self::Pending { .. }
            | Self::Running { .. }
            | Self::Paused { .. }
            | Self::Ended(_) => &NO_NODES,
        }
    }

    /// External nodes whose answer is recorded and not yet known to be in the runner's hands.
    pub fn answered_nodes(&self) -> &BTreeSet<String> {
        self.progress().map_or(&NO_NODES, |progress| &progress.answered_nodes)
    }

    /// The state that follows at the end of a run. `at` is when a pause that is on ends.
    pub(super) fn end(self, reason: TerminationReason, event: RunEvent, now: Timestamp, at: Timestamp) -> Self {
        let asked = match event {
            RunEvent::StopAsked(intent) => Some(intent),
            RunEvent::Dispatched
            | RunEvent::Claimed
            | RunEvent::PauseAsked
            | RunEvent::PauseTaken
            | RunEvent::Resumed
            | RunEvent::InputAwaited
            | RunEvent::InputGiven { .. }
            | RunEvent::StartRefused
            | RunEvent::EngineEnded(_)
            | RunEvent::LoopedTooOften
            | RunEvent::EngineVanished => self.intent(),
        };
        Self::Ended(Ended {
            reason,
            intent: asked,
            completed_at: now,
            error: None,
            due_at: None,
            purge_from: None,
            deliveries: 0,
            course: self.course(at),
        })
    }

    fn course(self, at: Timestamp) -> Course {
        match self {
            Self::Queued { .. } => Course::NeverStarted { dispatched_at: None, pauses: 0 },
            Self::Pending { dispatched_at, pauses, pause_asked_at: _ } => {
                Course::NeverStarted { dispatched_at, pauses }
            }
            Self::Paused { progress, since, .. } => Course::Started(progress.times.paused(since, at)),
            Self::Running { progress, .. } | Self::Waiting { progress, .. } | Self::Stopping { progress, .. } => {
                Course::Started(progress.times)
            }
            Self::Ended(ended) => ended.course,
        }
    }

    /// The open state that follows on an event which says by itself what happened; `None` where it does not lead on from
    /// this state, or where it is one of those that carry more than their name: [`Self::park`], [`Self::await_answer`],
    /// [`Self::answer`].
    pub(super) fn follow(self, event: RunEvent, now: Timestamp, at: Timestamp) -> Option<Self> {
        match event {
            RunEvent::Dispatched => {
                let Self::Queued { .. } = self else { return None };
                Some(Self::Pending { dispatched_at: Some(at), pauses: 0, pause_asked_at: None })
            }
            RunEvent::Claimed => {
                let Self::Pending { dispatched_at, pauses, pause_asked_at } = self else { return None };
                let times = Times { dispatched_at, pauses, ..Times::started(now) };
                Some(Self::Running { progress: times.into(), gate: Gate { pause_asked_at, token: None } })
            }
            RunEvent::PauseAsked => self.ask_for_pause(now),
            RunEvent::Resumed => self.resume(at),
            RunEvent::StopAsked(intent) => self.stop(intent, at),
            RunEvent::PauseTaken
            | RunEvent::InputAwaited
            | RunEvent::InputGiven { .. }
            | RunEvent::StartRefused
            | RunEvent::EngineEnded(_)
            | RunEvent::LoopedTooOften
            | RunEvent::EngineVanished => None,
        }
    }

    fn ask_for_pause(mut self, now: Timestamp) -> Option<Self> {
        let (pauses, asked_at) = match &mut self {
            Self::Pending { pauses, pause_asked_at, .. } => (pauses, pause_asked_at),
            Self::Running { progress, gate } | Self::Waiting { progress, gate, .. } => {
                (&mut progress.times.pauses, &mut gate.pause_asked_at)
            }
            Self::Queued { .. } | Self::Paused { .. } | Self::Stopping { .. } | Self::Ended(_) => return None,
        };
        *asked_at = Some(now);
        *pauses += 1;
        Some(self)
    }

    fn resume(mut self, at: Timestamp) -> Option<Self> {
        match &mut self {
            Self::Pending { pause_asked_at, .. } => *pause_asked_at = None,
            Self::Running { gate, .. } | Self::Waiting { gate, .. } => gate.pause_asked_at = None,
            Self::Paused { .. } => {
                let Self::Paused { progress, pause_asked_at: _, since, token } = self else { return None };
                let progress = Progress { times: progress.times.paused(since, at), ..progress };
                return Some(Self::Running { progress, gate: Gate { pause_asked_at: None, token } });
            }
            Self::Queued { .. } | Self::Stopping { .. } | Self::Ended(_) => return None,
        }
        Some(self)
    }

    fn stop(self, intent: StopIntent, at: Timestamp) -> Option<Self> {
        let (progress, gate, nodes) = match self {
            Self::Running { progress, gate } => (progress, gate, BTreeSet::new()),
            Self::Waiting { progress, gate, nodes } => (progress, gate, nodes),
            Self::Paused { progress, pause_asked_at, since, token } => {
                let progress = Progress { times: progress.times.paused(since, at), ..progress };
                (progress, Gate { pause_asked_at: Some(pause_asked_at), token }, BTreeSet::new())
            }
            Self::Queued { .. } | Self::Pending { .. } | Self::Stopping { .. } | Self::Ended(_) => return None,
        };
        Some(Self::Stopping { progress, gate, nodes, intent })
    }

    /// The runner parks because a pause was asked for.
    pub(super) fn park(self, token: String, at: Timestamp) -> Option<Self> {
        let Self::Running { progress, gate: Gate { pause_asked_at: Some(pause_asked_at), .. } } = self else {
            return None;
        };
        Some(Self::Paused { progress, pause_asked_at, since: at, token: Some(token) })
    }

    /// An external node begins to wait, perhaps beside others.
    pub(super) fn await_answer(self, node: String) -> Option<Self> {
        let (progress, gate, mut nodes) = match self {
            Self::Running { progress, gate } => (progress, gate, BTreeSet::new()),
            Self::Waiting { progress, gate, nodes } => (progress, gate, nodes),
            Self::Queued { .. }
            | Self::Pending { .. }
            | Self::Paused { .. }
            | Self::Stopping { .. }
            | Self::Ended(_) => {
                return None;
            }
        };
        nodes.insert(node);
        Some(Self::Waiting { progress, gate, nodes })
    }

    /// One of the nodes that wait is answered.
    pub(super) fn answer(self, node: &str) -> Option<Self> {
        let Self::Waiting { mut progress, gate, mut nodes } = self else { return None };
        progress.answered_nodes.insert(nodes.take(node)?);
        Some(match nodes.is_empty() {
            true => Self::Running { progress, gate },
            false => Self::Waiting { progress, gate, nodes },
        })
    }

    /// The open state of a run of the second generation, as its board says: with these nodes waiting, and parked or not.
    /// `None` where it is so already, or nothing of it is shown.
    pub(super) fn shown(self, waiting: BTreeSet<String>, is_parked: bool, at: Timestamp) -> Option<Self> {
        let before = self.clone();
        let (progress, gate) = match self {
            Self::Running { progress, gate } | Self::Waiting { progress, gate, .. } => (progress, gate),
            Self::Queued { .. }
            | Self::Pending { .. }
            | Self::Paused { .. }
            | Self::Stopping { .. }
            | Self::Ended(_) => {
                return None;
            }
        };
        let shown = match (waiting.is_empty(), gate.pause_asked_at) {
            (false, _) => Self::Waiting { progress, gate, nodes: waiting },
            (true, Some(pause_asked_at)) if is_parked => {
                Self::Paused { progress, pause_asked_at, since: at, token: None }
            }
            (true, _) => Self::Running { progress, gate },
        };
        (shown != before).then_some(shown)
    }
}
