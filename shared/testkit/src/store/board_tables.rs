//! What is kept of boards.

use sluice_core::board::{Record, Wake};
use sluice_core::id::{NodeId, RunId, TenantId};
use sluice_core::ports::{StepPart, WaitingWorker};
use sluice_core::report::NodeOutcome;
use std::collections::BTreeMap;

type RunKey = (TenantId, RunId);

/// What is kept of boards.
#[derive(Clone, Debug, Default)]
pub(super) struct BoardTables {
    pub(super) records: BTreeMap<RunKey, Record>,
    /// The `rev` of the board whose wake each is.
    pub(super) wakes: BTreeMap<RunKey, (u64, Wake)>,
    pub(super) workers: BTreeMap<RunKey, BTreeMap<usize, WaitingWorker>>,
    pub(super) parts: BTreeMap<(RunKey, NodeId), BTreeMap<StepPart, NodeOutcome>>,
}

impl BoardTables {
    pub(super) fn purge(&mut self, key: &RunKey) {
        self.records.remove(key);
        self.wakes.remove(key);
        self.workers.remove(key);
        self.parts.retain(|(run, _), _| run != key);
    }
}
