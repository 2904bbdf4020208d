//! A run's life as one pure function. Every change of a run's status, whoever makes it, is a row of [`step`].
//!
//! **Invariants:** a terminal status is never left; a run that never ran never shows `CANCELING`; a SUCCEEDED engine
//! beats any intent to stop.
//!
//! Decision (2026-11-22): a stop that a deadline asks for shows as `CANCELING` too. There is one path for every
//! stop; the intent says why.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RunStatus {
    /// Recorded; waits for a concurrency slot.
    Queued,
    /// Recorded; the start may be under way.
    Pending,
    Running,
    Paused,
    WaitingForInput,
    /// Being stopped, for the reason in the stop intent.
    Canceling,
    Succeeded,
    Failed,
    Canceled,
}

impl RunStatus {
    pub const ALL: [Self; 9] = [
        Self::Queued,
        Self::Pending,
        Self::Running,
        Self::Paused,
        Self::WaitingForInput,
        Self::Canceling,
        Self::Succeeded,
        Self::Failed,
        Self::Canceled,
    ];

    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Canceled => true,
            Self::Queued | Self::Pending | Self::Running | Self::Paused | Self::WaitingForInput | Self::Canceling => {
                false
            }
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Paused => "PAUSED",
            Self::WaitingForInput => "WAITING_FOR_INPUT",
            Self::Canceling => "CANCELING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Canceled => "CANCELED",
        }
    }
}

impl std::str::FromStr for RunStatus {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(
            "must be one of QUEUED, PENDING, RUNNING, PAUSED, WAITING_FOR_INPUT, CANCELING, SUCCEEDED, FAILED, CANCELED",
        )
    }
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TerminationReason {
    Completed,
    ExecutionError,
    TimedOut,
    CanceledByCaller,
    BudgetExceeded,
    LoopingRisk,
    StaleRunReaper,
    StartFailed,
    AbortedInEngine,
}

impl TerminationReason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::ExecutionError => "execution_error",
            Self::TimedOut => "timed_out",
            Self::CanceledByCaller => "canceled_by_caller",
            Self::BudgetExceeded => "budget_exceeded",
            Self::LoopingRisk => "looping_risk",
            Self::StaleRunReaper => "stale_run_reaper",
            Self::StartFailed => "start_failed",
            Self::AbortedInEngine => "aborted_in_engine",
        }
    }

    /// How a run ends for this reason.
    pub const fn status(self) -> RunStatus {
        match self {
            Self::Completed => RunStatus::Succeeded,
            Self::CanceledByCaller | Self::AbortedInEngine => RunStatus::Canceled,
            Self::ExecutionError
            | Self::TimedOut
            | Self::BudgetExceeded
            | Self::LoopingRisk
            | Self::StaleRunReaper
            | Self::StartFailed => RunStatus::Failed,
        }
    }
}

/// Why a run is being stopped: recorded with the run before its execution is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopIntent {
    CanceledByCaller,
    TimedOut,
    BudgetExceeded,
}

impl StopIntent {
    pub const ALL: [Self; 3] = [Self::CanceledByCaller, Self::TimedOut, Self::BudgetExceeded];

    const fn end(self) -> Move {
        match self {
            Self::CanceledByCaller => Move::end(TerminationReason::CanceledByCaller),
            Self::TimedOut => Move::end(TerminationReason::TimedOut),
            Self::BudgetExceeded => Move::end(TerminationReason::BudgetExceeded),
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CanceledByCaller => "canceled_by_caller",
            Self::TimedOut => "timed_out",
            Self::BudgetExceeded => "budget_exceeded",
        }
    }
}

/// How Step Functions says an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EngineEnd {
    Succeeded,
    Failed,
    TimedOut,
    Aborted,
}

/// What can happen to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunEvent {
    /// A slot was free: the run may start.
    Dispatched,
    /// The runner's first state claimed the run.
    Claimed,
    /// A caller wants the run to stop at the next stage boundary.
    PauseAsked,
    /// The runner stopped at a stage boundary because a pause was asked for.
    PauseTaken,
    /// A caller wants it to go on, or takes back a pause that has not come into effect.
    Resumed,
    /// An external node began to wait.
    InputAwaited,
    /// An external node was answered; whether others still wait.
    InputGiven {
        others_wait: bool,
    },
    /// A cancel, a deadline, a budget.
    StopAsked(StopIntent),
    /// Step Functions refused the start for good.
    StartRefused,
    EngineEnded(EngineEnd),
    /// The runner gave up a loop that was not over after as many iterations as it has.
    LoopedTooOften,
    /// Step Functions no longer knows the execution of a run that had started.
    EngineVanished,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    pub to: RunStatus,
    /// Set exactly when `to` is terminal.
    pub reason: Option<TerminationReason>,
}

impl Move {
    const fn to(to: RunStatus) -> Self {
        Self { to, reason: None }
    }

    const fn end(reason: TerminationReason) -> Self {
        Self { to: reason.status(), reason: Some(reason) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Move(Move),
    /// Something about the run changes, but not its status.
    Stay,
    /// True but of no consequence: repeated, or too late.
    Ignore,
    /// Cannot be: the one who asks is told so, and nothing changes.
    Illegal,
}

/// What `event` does to a run in `status` whose stop, if any was recorded, was meant as `intent`.
pub const fn step(status: RunStatus, intent: Option<StopIntent>, event: RunEvent) -> Decision {
    use Decision::{Ignore, Illegal, Stay};
    use RunEvent as E;
    use RunStatus as S;
    match (status, event) {
        // The end is written once. What the engine still says is late; what a caller still wants is impossible.
        (
            S::Succeeded | S::Failed | S::Canceled,
            E::EngineEnded(_) | E::LoopedTooOften | E::EngineVanished | E::StartRefused | E::Claimed,
        ) => Ignore,
        (
            S::Succeeded | S::Failed | S::Canceled,
            E::Dispatched
            | E::PauseAsked
            | E::PauseTaken
            | E::Resumed
            | E::InputAwaited
            | E::InputGiven { .. }
            | E::StopAsked(_),
        ) => Illegal,

        (S::Queued, E::Dispatched) => Decision::Move(Move::to(S::Pending)),
        (S::Pending | S::Running | S::Paused | S::WaitingForInput | S::Canceling, E::Dispatched) => Ignore,

        (S::Pending, E::Claimed) => Decision::Move(Move::to(S::Running)),
        (S::Running | S::Paused | S::WaitingForInput | S::Canceling, E::Claimed) => Ignore,
        (S::Queued, E::Claimed) => Illegal,

        (S::Pending | S::Running | S::WaitingForInput, E::PauseAsked) => Stay,
        (S::Paused, E::PauseAsked) => Ignore,
        (S::Queued | S::Canceling, E::PauseAsked) => Illegal,

        (S::Running, E::PauseTaken) => Decision::Move(Move::to(S::Paused)),
        (S::Paused, E::PauseTaken) => Ignore,
        (S::Queued | S::Pending | S::WaitingForInput | S::Canceling, E::PauseTaken) => Illegal,

        (S::Paused, E::Resumed) => Decision::Move(Move::to(S::Running)),
        (S::Pending | S::Running | S::WaitingForInput, E::Resumed) => Stay,
        (S::Queued | S::Canceling, E::Resumed) => Illegal,

        (S::Running, E::InputAwaited) => Decision::Move(Move::to(S::WaitingForInput)),
        (S::WaitingForInput, E::InputAwaited) => Ignore,
        (S::Queued | S::Pending | S::Paused | S::Canceling, E::InputAwaited) => Illegal,

        (S::WaitingForInput, E::InputGiven { others_wait: false }) => Decision::Move(Move::to(S::Running)),
        (S::WaitingForInput, E::InputGiven { others_wait: true }) => Stay,
        (S::Queued | S::Pending | S::Running | S::Paused | S::Canceling, E::InputGiven { .. }) => Illegal,

        // What never ran ends at once; what runs is stopped first.
        (S::Queued | S::Pending, E::StopAsked(intent)) => Decision::Move(intent.end()),
        (S::Running | S::Paused | S::WaitingForInput, E::StopAsked(_)) => Decision::Move(Move::to(S::Canceling)),
        (S::Canceling, E::StopAsked(_)) => Ignore,

        (S::Pending, E::StartRefused) => Decision::Move(Move::end(TerminationReason::StartFailed)),
        (S::Queued | S::Running | S::Paused | S::WaitingForInput | S::Canceling, E::StartRefused) => Illegal,

        (S::Queued, E::EngineEnded(_)) => Illegal,
        (S::Pending | S::Running | S::Paused | S::WaitingForInput | S::Canceling, E::EngineEnded(end)) => {
            Decision::Move(match (end, intent) {
                (EngineEnd::Succeeded, _) => Move::end(TerminationReason::Completed),
                (EngineEnd::Failed, _) => Move::end(TerminationReason::ExecutionError),
                (EngineEnd::TimedOut, _) => Move::end(TerminationReason::TimedOut),
                (EngineEnd::Aborted, Some(intent)) => intent.end(),
                (EngineEnd::Aborted, None) => Move::end(TerminationReason::AbortedInEngine),
            })
        }

        (S::Queued | S::Pending, E::LoopedTooOften) => Illegal,
        (S::Running | S::Paused | S::WaitingForInput | S::Canceling, E::LoopedTooOften) => {
            Decision::Move(Move::end(TerminationReason::LoopingRisk))
        }

        // A pending run has not started yet: there is nothing to vanish.
        (S::Queued | S::Pending, E::EngineVanished) => Illegal,
        (S::Running | S::Paused | S::WaitingForInput | S::Canceling, E::EngineVanished) => {
            Decision::Move(match intent {
                Some(intent) => intent.end(),
                None => Move::end(TerminationReason::StaleRunReaper),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RunEvent as E;
    use RunStatus as S;

    const ENGINE_ENDS: [EngineEnd; 4] =
        [EngineEnd::Succeeded, EngineEnd::Failed, EngineEnd::TimedOut, EngineEnd::Aborted];

    fn every_event() -> Vec<RunEvent> {
        let mut events = vec![
            E::Dispatched,
            E::Claimed,
            E::PauseAsked,
            E::PauseTaken,
            E::Resumed,
            E::InputAwaited,
            E::InputGiven { others_wait: false },
            E::InputGiven { others_wait: true },
            E::StartRefused,
            E::LoopedTooOften,
            E::EngineVanished,
        ];
        events.extend(StopIntent::ALL.map(E::StopAsked));
        events.extend(ENGINE_ENDS.map(E::EngineEnded));
        events
    }

    fn every_state() -> Vec<(RunStatus, Option<StopIntent>)> {
        let intents: Vec<_> = StopIntent::ALL.into_iter().map(Some).chain([None]).collect();
        S::ALL.into_iter().flat_map(|status| intents.clone().into_iter().map(move |intent| (status, intent))).collect()
    }

    #[test]
    fn a_status_is_read_as_it_is_written() {
        for status in S::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
            assert!(status.as_str().to_lowercase().parse::<S>().is_err(), "{status:?}");
        }
        assert!("".parse::<S>().is_err());
        assert_eq!(StopIntent::ALL.map(StopIntent::as_str), ["canceled_by_caller", "timed_out", "budget_exceeded"]);
    }

    #[test]
    fn a_terminal_status_is_never_left() {
        for (status, intent) in every_state().into_iter().filter(|(status, _)| status.is_terminal()) {
            for event in every_event() {
                assert!(
                    matches!(step(status, intent, event), Decision::Ignore | Decision::Illegal),
                    "{status:?} {event:?}"
                );
            }
        }
    }

    #[test]
    fn a_reason_is_given_exactly_at_the_end() {
        for (status, intent) in every_state() {
            for event in every_event() {
                if let Decision::Move(next) = step(status, intent, event) {
                    assert_eq!(next.reason.is_some(), next.to.is_terminal(), "{status:?} {event:?}");
                    assert_ne!(next.to, status, "a move goes somewhere: {status:?} {event:?}");
                }
            }
        }
    }

    #[test]
    fn a_repeated_event_changes_nothing_more() {
        for (status, intent) in every_state() {
            for event in every_event() {
                if let Decision::Move(next) = step(status, intent, event) {
                    assert!(!matches!(step(next.to, intent, event), Decision::Move(_)), "{status:?} {event:?}");
                }
            }
        }
    }

    #[test]
    fn a_succeeded_engine_beats_any_intent() {
        for (status, intent) in every_state() {
            if !status.is_terminal() && status != S::Queued {
                let expected = Decision::Move(Move { to: S::Succeeded, reason: Some(TerminationReason::Completed) });
                assert_eq!(step(status, intent, E::EngineEnded(EngineEnd::Succeeded)), expected);
            }
        }
    }

    #[test]
    fn what_never_ran_never_shows_canceling() {
        for status in [S::Queued, S::Pending] {
            for intent in StopIntent::ALL {
                assert!(
                    matches!(step(status, None, E::StopAsked(intent)), Decision::Move(next) if next.to.is_terminal())
                );
            }
        }
    }

    #[test]
    fn an_aborted_engine_ends_as_it_was_meant() {
        for (intent, to, reason) in [
            (Some(StopIntent::CanceledByCaller), S::Canceled, TerminationReason::CanceledByCaller),
            (Some(StopIntent::TimedOut), S::Failed, TerminationReason::TimedOut),
            (Some(StopIntent::BudgetExceeded), S::Failed, TerminationReason::BudgetExceeded),
            (None, S::Canceled, TerminationReason::AbortedInEngine),
        ] {
            let expected = Decision::Move(Move { to, reason: Some(reason) });
            assert_eq!(step(S::Canceling, intent, E::EngineEnded(EngineEnd::Aborted)), expected);
            assert_eq!(step(S::Running, intent, E::EngineEnded(EngineEnd::Aborted)), expected);
        }
    }

    #[test]
    fn every_open_status_can_still_end() {
        for status in S::ALL.into_iter().filter(|status| !status.is_terminal()) {
            let ends = every_event()
                .into_iter()
                .any(|event| matches!(step(status, None, event), Decision::Move(next) if next.to.is_terminal()));
            assert!(ends, "{status:?}");
        }
    }
}
