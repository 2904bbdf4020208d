//! What the board of a run says.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where a node stands. One letter each, so that the board of 500 nodes stays small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Something that it waits for has not ended.
    Blocked,
    /// Its condition is to be read.
    Conditional,
    /// Its items are to be counted.
    Uncounted,
    /// It may begin, or go on, as soon as a worker is free; an external one at the next change.
    Ready,
    /// A worker does it. Of a fan-out: it has begun.
    Underway,
    /// Its loop's condition is to be read.
    Repeating,
    /// Somebody outside is waited for.
    Waiting,
    Succeeded,
    /// It failed, and its run with it.
    Failed,
    /// It failed, and the run goes on.
    Forgiven,
    Skipped,
    /// It never began, did not go on, or was waited for no longer, because of another's failure.
    Dropped,
}

impl Phase {
    const ALL: [(Self, char); 12] = [
        (Self::Blocked, 'b'),
        (Self::Conditional, 'c'),
        (Self::Uncounted, 'n'),
        (Self::Ready, 'r'),
        (Self::Underway, 'u'),
        (Self::Repeating, 'l'),
        (Self::Waiting, 'w'),
        (Self::Succeeded, 'S'),
        (Self::Failed, 'F'),
        (Self::Forgiven, 'G'),
        (Self::Skipped, 'X'),
        (Self::Dropped, 'D'),
    ];

    pub const fn has_ended(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Forgiven | Self::Skipped | Self::Dropped => true,
            Self::Blocked
            | Self::Conditional
            | Self::Uncounted
            | Self::Ready
            | Self::Underway
            | Self::Repeating
            | Self::Waiting => false,
        }
    }

    /// Whether what waits for the node may go on.
    pub(super) const fn frees(self) -> bool {
        matches!(self, Self::Succeeded | Self::Forgiven | Self::Skipped)
    }
}

/// What a worker is given to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unit {
    pub node: usize,
    /// Of a fan-out: which item, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    /// From 1.
    pub iteration: u32,
    /// From 1, in each iteration and of each item.
    pub attempt: u32,
}

/// How an attempt, or a wait for somebody outside, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Success,
    Failure,
    /// A failure that no further attempt mends.
    FinalFailure,
    /// Nobody has answered in time.
    Expired,
}

/// How far a fan-out has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fan {
    pub total: u32,
    pub begun: u32,
    pub done: u32,
    pub failed: u32,
}

impl Fan {
    pub(super) const fn at_work(self) -> u32 {
        self.begun - self.done - self.failed
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Worker {
    /// The last turn that it asked for; 0 before it came.
    pub(super) turn: u32,
    /// What it is told in this turn; nothing yet while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) act: Option<Act>,
}

/// What a worker is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Act {
    Work {
        unit: Unit,
        /// To wait before.
        seconds: u32,
    },
    /// There is nothing more to do in this run.
    Leave,
}

/// A worker to be told something. To tell it again does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    pub worker: usize,
    /// The turn that this answers.
    pub turn: u32,
    pub act: Act,
}

/// What the board cannot know, because it has no results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Does the condition of this node hold?
    When(usize),
    /// How many items has this node?
    Items(usize),
    /// Is the loop of this node over?
    Until(usize),
}

/// An answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Holds(bool),
    Items(u32),
    /// What was to be counted is no list.
    NotAList,
}

/// Why a run fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    pub node: usize,
    pub cause: FailureCause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FailureCause {
    /// Its last attempt failed, as its step says.
    Attempt,
    NotAList,
    TooManyItems,
    /// Its loop was not over after as many iterations as it has.
    LoopingRisk,
}

/// What does not fit to what the board says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    #[error("the run has no such worker")]
    NoSuchWorker,
    #[error("the worker has asked for a later turn since")]
    EarlierTurn,
    #[error("the worker has ended what it was not given")]
    NotItsWork,
    #[error("the node does not wait for an answer")]
    NotWaiting,
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Board {
    #[serde(with = "letters")]
    pub(super) phases: Vec<Phase>,
    /// Of nodes that have run before, or wait: the iteration, and of those that wait the attempt.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) turns: BTreeMap<usize, (u32, u32)>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) fans: BTreeMap<usize, Fan>,
    pub(super) workers: Vec<Worker>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<Failure>,
    /// Whether nothing new begins, because of the failure.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) closing: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) paused: bool,
}

impl Board {
    pub fn phase(&self, node: usize) -> Phase {
        self.phases[node]
    }

    /// The iteration that a node is in, or was in last.
    pub fn iteration(&self, node: usize) -> u32 {
        self.turns.get(&node).map_or(1, |(iteration, _)| *iteration)
    }

    pub fn fan(&self, node: usize) -> Option<Fan> {
        self.fans.get(&node).copied()
    }

    pub fn failure(&self) -> Option<Failure> {
        self.failure
    }

    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// The nodes that workers are at, which a pause does not stop.
    pub fn under_way(&self) -> Vec<usize> {
        let mut nodes: Vec<usize> = self.units().map(|unit| unit.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// The last turn that a worker asked for; 0 of one that has not come yet.
    pub fn turn(&self, worker: usize) -> u32 {
        self.workers.get(worker).map_or(0, |worker| worker.turn)
    }

    /// The attempt that a node is in that is no fan-out: at work, or waiting for somebody outside.
    pub fn attempt(&self, node: usize) -> Option<u32> {
        let worked = self.units().find(|unit| unit.node == node && unit.item.is_none());
        worked.map(|unit| unit.attempt).or_else(|| self.awaited_attempt(node))
    }

    /// The nodes that wait for somebody outside.
    pub fn waiting(&self) -> Vec<usize> {
        (0..self.phases.len()).filter(|&node| self.phases[node] == Phase::Waiting).collect()
    }

    pub(super) fn units(&self) -> impl Iterator<Item = Unit> {
        self.workers.iter().filter_map(|worker| match worker.act {
            Some(Act::Work { unit, .. }) => Some(unit),
            Some(Act::Leave) | None => None,
        })
    }

    /// Whether nothing is under way and nothing can begin any more.
    pub fn is_over(&self) -> bool {
        let is_idle = self.units().next().is_none() && !self.phases.contains(&Phase::Repeating);
        is_idle && (self.closing || self.phases.iter().all(|phase| phase.has_ended()))
    }
}

/// Phases as one text.
mod letters {
    use super::Phase;
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub fn serialize<S: Serializer>(phases: &[Phase], serializer: S) -> Result<S::Ok, S::Error> {
        let letter = |phase: &Phase| Phase::ALL.iter().find(|(one, _)| one == phase).map(|(_, letter)| *letter);
        serializer.serialize_str(&phases.iter().filter_map(letter).collect::<String>())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Phase>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let phase = |letter: char| Phase::ALL.iter().find(|(_, one)| *one == letter).map(|(phase, _)| *phase);
        text.chars().map(|letter| phase(letter).ok_or_else(|| D::Error::custom("not where a node stands"))).collect()
    }
}
