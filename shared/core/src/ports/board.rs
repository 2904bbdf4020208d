//! The boards of runs of the runner's second generation, with the words that their workers wait for.
//!
//! Decision (2026-11-28): who is owed word is known from the wake alone, which is read in the same moment as its board: a board
//! cannot tell a worker that was told from one that was not, and a wake that is older than its board would hide whom it names.

use super::run::{LoadRun, RunRef};
use super::store::{Page, StoreResult};
use crate::board::Record;
use crate::change::RunChange;
use crate::id::{NodeId, RunId, TenantId};
use crate::report::{NodeAnswer, NodeOutcome};
use crate::step::Step;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

/// The token that a worker waits with, and the turn that it asked for with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingWorker {
    pub worker: usize,
    pub turn: u32,
    pub token: String,
}

/// A part of a step that has a result of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StepPart {
    /// Of a fan-out, from 0.
    Item(u32),
    /// Of a loop, from 1: each but the last.
    Iteration(u32),
}

/// A change of a board, with everything that is written with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoardChange {
    pub tenant_id: TenantId,
    pub run_id: RunId,
    /// The board after the change. Its `rev` is one higher than that of the board on which the change was decided, and 1 where
    /// there was none.
    pub record: Record,
    /// The `rev` of the run on which the change was decided: nothing begins after a stop or a pause that is recorded.
    pub expected_run_rev: u64,
    /// Who asked for the change, with the token that it waits with from now on.
    pub asker: Option<WaitingWorker>,
    /// The steps that the change begins, goes on with or ends: at most one for each node.
    pub steps: Vec<Step>,
    pub parts: Vec<(NodeId, StepPart, NodeOutcome)>,
    /// What somebody outside has said of a node, for the list of the run's inputs.
    pub answer: Option<(NodeId, NodeAnswer)>,
    /// The change of the head, where its status changes, or what it waits for.
    pub head: Option<RunChange>,
}

/// Keeps boards.
pub trait Boards: LoadRun {
    /// The run's board with its wake, both of one moment; `None` before its first worker has asked. Strongly consistent.
    fn read_board(&self, tenant: &TenantId, run_id: RunId) -> impl Future<Output = StoreResult<Option<Record>>> + Send;

    /// Writes the change, all or nothing, if the stored board is still at the `rev` before, and the stored run at
    /// `expected_run_rev`. `false` when one of these does not hold; then nothing was written. A step that is there already keeps
    /// its `started_at` and its `progress`.
    fn write_board(&self, change: &BoardChange) -> impl Future<Output = StoreResult<bool>> + Send;

    /// Those of these workers that have asked, with the token of their last turn. Strongly consistent.
    fn waiting_workers(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        workers: &BTreeSet<usize>,
    ) -> impl Future<Output = StoreResult<Vec<WaitingWorker>>> + Send;

    /// What came of the parts of a step. Strongly consistent.
    fn load_parts(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        node_id: &NodeId,
    ) -> impl Future<Output = StoreResult<BTreeMap<StepPart, NodeOutcome>>> + Send;

    /// What came of one part of a step; `None` before it has ended. Strongly consistent.
    fn load_part(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        node_id: &NodeId,
        part: StepPart,
    ) -> impl Future<Output = StoreResult<Option<NodeOutcome>>> + Send;

    /// Records that everybody was told whom the wake of the board at `rev` names: it is due at `next` from now on, and names
    /// nobody; without a `next` it is no more. Nothing changes where the wake is of another `rev`.
    fn told(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        rev: u64,
        next: Option<Timestamp>,
    ) -> impl Future<Output = StoreResult<()>> + Send;

    /// A page of the runs of one shard whose wake is due at `now`, the one that is due for longest first. Eventually
    /// consistent: whoever looks at one reads its board before.
    fn due_boards(
        &self,
        shard: u8,
        now: Timestamp,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<RunRef>>> + Send;
}
