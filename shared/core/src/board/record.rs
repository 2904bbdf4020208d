//! A board as it is kept, with what is known beside it that no decision of the board's needs.

use super::Board;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// A board as it is stored. `rev` is its optimistic lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// From 1; each change adds one.
    pub rev: u64,
    pub board: Board,
    /// Since when each external node waits that does.
    pub waits: BTreeMap<usize, Wait>,
    /// When somebody has to look at the run, and for whom.
    pub wake: Option<Wake>,
}

/// The wait of an external node, in its attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    pub since: Timestamp,
    /// Milliseconds that the run had been paused by then.
    pub paused_ms: u64,
}

/// What is owed, or will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wake {
    /// At once where workers are owed word, else when the wait of an external node runs out.
    pub due_at: Timestamp,
    /// The workers that may not have been told what the board has for them.
    pub workers: BTreeSet<usize>,
}
