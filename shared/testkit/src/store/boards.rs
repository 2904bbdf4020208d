//! The boards of runs.

use super::*;
use sluice_core::board::{Record, Wake};
use sluice_core::ports::{BoardChange, Boards, StepPart, WaitingWorker};

impl MemoryStore {
    /// A run's board with its wake.
    pub fn board(&self, tenant: &TenantId, run_id: RunId) -> Option<Record> {
        let (tables, key) = (lock(&self.tables), (tenant.clone(), run_id));
        let wake = tables.boards.wakes.get(&key).map(|(_, wake)| wake.clone());
        tables.boards.records.get(&key).map(|record| Record { wake, ..record.clone() })
    }

    /// The token that a worker of a run waits with.
    pub fn waiting_worker(&self, tenant: &TenantId, run_id: RunId, worker: usize) -> Option<WaitingWorker> {
        lock(&self.tables).boards.workers.get(&(tenant.clone(), run_id))?.get(&worker).cloned()
    }

    /// The boards of which somebody has to look at the run by now, each at its `rev`.
    pub fn woken(&self, now: Timestamp) -> BTreeMap<RunId, u64> {
        let tables = lock(&self.tables);
        let due = tables.boards.wakes.iter().filter(|(_, (_, wake))| wake.due_at <= now);
        due.map(|((_, run_id), (rev, _))| (*run_id, *rev)).collect()
    }
}

impl Boards for MemoryStore {
    async fn read_board(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Option<Record>> {
        self.act("read the board", |tables| {
            let key = (tenant.clone(), run_id);
            let wake = tables.boards.wakes.get(&key).map(|(_, wake)| wake.clone());
            Ok(tables.boards.records.get(&key).map(|record| Record { wake, ..record.clone() }))
        })
        .await
    }

    async fn write_board(&self, change: &BoardChange) -> StoreResult<bool> {
        self.act("write the board", |tables| {
            let key = (change.tenant_id.clone(), change.run_id);
            let rev = tables.boards.records.get(&key).map_or(0, |record| record.rev);
            let is_lax = self.laxity == Some(Laxity::BoardUnconditional);
            let any_run = self.laxity == Some(Laxity::BoardOfAnyRun);
            let run_rev = tables.runs.get(&key).map(|run| run.rev);
            if !tables.keeps(&key.0, key.1)
                || run_rev.is_none_or(|rev| rev != change.expected_run_rev && !any_run)
                || (rev + 1 != change.record.rev && !is_lax)
            {
                return Ok(false);
            }
            if let Some(head) = change.head.as_ref().filter(|_| run_rev == Some(change.expected_run_rev))
                && tables.change(head, self.laxity) != Changed::Done
            {
                return Ok(false);
            }
            tables.writes += 1;
            for step in &change.steps {
                let place = (key.0.clone(), key.1, step.node_id.clone());
                let before = tables.steps.get(&place);
                let step = Step {
                    started_at: before.and_then(|step| step.started_at).or(step.started_at),
                    progress: before.and_then(|step| step.progress.clone()).or_else(|| step.progress.clone()),
                    ..step.clone()
                };
                tables.steps.insert(place, step);
            }
            if let Some((node_id, answer)) = &change.answer {
                tables.inputs.entry(key.clone()).or_default().push((node_id.clone(), answer.clone()));
            }
            let boards = &mut tables.boards;
            let forgets_parts = self.laxity == Some(Laxity::PartsForgotten);
            for (node_id, part, outcome) in change.parts.iter().filter(|_| !forgets_parts) {
                boards.parts.entry((key.clone(), node_id.clone())).or_default().insert(*part, outcome.clone());
            }
            if let Some(asker) = &change.asker {
                boards.workers.entry(key.clone()).or_default().insert(asker.worker, asker.clone());
            }
            match change.record.wake.as_ref().filter(|_| self.laxity != Some(Laxity::WakeForgotten)) {
                Some(wake) => drop(boards.wakes.insert(key.clone(), (change.record.rev, wake.clone()))),
                None => drop(boards.wakes.remove(&key)),
            }
            boards.records.insert(key, change.record.clone());
            Ok(true)
        })
        .await
    }

    async fn waiting_workers(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        workers: &BTreeSet<usize>,
    ) -> StoreResult<Vec<WaitingWorker>> {
        self.act("load the workers that wait", |tables| {
            let known = tables.boards.workers.get(&(tenant.clone(), run_id));
            Ok(workers.iter().filter_map(|worker| known?.get(worker).cloned()).collect())
        })
        .await
    }

    async fn load_parts(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        node_id: &NodeId,
    ) -> StoreResult<BTreeMap<StepPart, NodeOutcome>> {
        self.act("load the parts of a step", |tables| {
            let key = ((tenant.clone(), run_id), node_id.clone());
            Ok(tables.boards.parts.get(&key).cloned().unwrap_or_default())
        })
        .await
    }

    async fn load_part(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        node_id: &NodeId,
        part: StepPart,
    ) -> StoreResult<Option<NodeOutcome>> {
        self.act("load a part of a step", |tables| {
            let key = ((tenant.clone(), run_id), node_id.clone());
            Ok(tables.boards.parts.get(&key).and_then(|parts| parts.get(&part)).cloned())
        })
        .await
    }

    async fn told(&self, tenant: &TenantId, run_id: RunId, rev: u64, next: Option<Timestamp>) -> StoreResult<()> {
        self.act("note that the workers were told", |tables| {
            let key = (tenant.clone(), run_id);
            if tables.boards.wakes.get(&key).is_none_or(|(of, _)| *of != rev) {
                return Ok(());
            }
            tables.writes += 1;
            match next {
                Some(due_at) => {
                    drop(tables.boards.wakes.insert(key, (rev, Wake { due_at, workers: BTreeSet::new() })));
                }
                None => drop(tables.boards.wakes.remove(&key)),
            }
            Ok(())
        })
        .await
    }

    async fn due_boards(&self, shard: u8, now: Timestamp, cursor: Option<&str>) -> StoreResult<Page<RunRef>> {
        self.act("list due boards", |tables| {
            let due = tables
                .boards
                .wakes
                .iter()
                .filter(|((_, run_id), (_, wake))| wake.due_at <= now && shard_of(*run_id) == shard);
            let mut due: Vec<(Timestamp, RunRef)> = due
                .map(|((tenant_id, run_id), (_, wake))| {
                    (wake.due_at, RunRef { tenant_id: tenant_id.clone(), run_id: *run_id })
                })
                .collect();
            due.sort();
            let due = due.into_iter().map(|(_, run)| run).collect();
            page(("due boards", shard), due, tables.page.unwrap_or(DUE_PAGE), cursor)
        })
        .await
    }
}
