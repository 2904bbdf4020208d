//! A board as it is kept, with what is known beside it that no decision of the board's needs.

use super::state::Board;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// A board as it is stored. `rev` is its optimistic lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// From 1; each change adds one.
    pub rev: u64,
    pub board: Board,
    /// Since when each external node waits that does, in its attempt.
    pub waits: BTreeMap<usize, Timestamp>,
    /// When somebody has to look at the run, and for whom.
    pub wake: Option<Wake>,
}

/// What is owed, or will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wake {
    /// At once where workers are owed word, else when the wait of an external node runs out.
    pub due_at: Timestamp,
    /// The workers that may not have been told what the board has for them.
    pub workers: BTreeSet<usize>,
}
