//! Slots, queues and their order.

use super::{Check, History, INVOCATION, Ledger, broken, in_force};
use jiff::{SignedDuration, Timestamp};
use sluice_core::concurrency::{Concurrency, OnLimit, QueueRef};
use sluice_core::id::{RunId, TenantId};
use sluice_core::lifecycle::RunStatus;
use sluice_core::run::Run;
use sluice_testkit::store::{Counter, MemoryStore};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub(super) struct Queues {
    limits: BTreeMap<QueueRef, History<Option<Concurrency>>>,
    held: BTreeMap<QueueRef, i64>,
    /// Where a run waits, and since when.
    waits: BTreeMap<RunId, (QueueRef, Timestamp)>,
    /// When a read of a queue lagged behind last.
    lagged_at: Option<Timestamp>,
    /// Runs that wait although there is a slot, and how many quiet sweeps have left them there.
    unserved: BTreeMap<(RunId, QueueRef), u32>,
}

/// Quiet sweeps that may leave a run before a free slot: it may have come there, or the slot, while the sweep was past it.
const SWEEPS: u32 = 3;

impl Queues {
    pub(super) fn watch(&mut self, now: Timestamp, queue: QueueRef, limit: Option<Concurrency>) {
        let history = self.limits.entry(queue).or_default();
        if history.last().is_none_or(|(_, last)| *last != limit) {
            history.push((now, limit));
        }
    }

    fn limits(&self, queue: &QueueRef, now: Timestamp) -> impl Iterator<Item = Concurrency> {
        let history = self.limits.get(queue).map(Vec::as_slice).unwrap_or_default();
        in_force(history, now).flatten().copied()
    }
}

impl Ledger {
    pub fn queue_lagged(&mut self, at: Option<Timestamp>) {
        self.queues.lagged_at = at;
    }

    /// Whether a limit that may have been in force refuses runs.
    pub fn could_be_rejected(&self, now: Timestamp, tenant: &TenantId) -> bool {
        let of_tenant = self.queues.limits.keys().filter(|queue| queue.tenant_id == *tenant);
        of_tenant.flat_map(|queue| self.queues.limits(queue, now)).any(|limit| limit.on_limit == OnLimit::Reject)
    }

    /// Nobody passes those who wait before the same limit.
    pub(super) fn check_queues(&mut self, now: Timestamp, changed: &[Run]) -> Check {
        let has_changed: BTreeSet<RunId> = changed.iter().map(|run| run.run_id).collect();
        let long_ago = now - INVOCATION - SignedDuration::from_secs(1);
        let lags = self.queues.lagged_at.is_some_and(|at| at > long_ago);
        for run in changed {
            if run.state.queue().is_some() != (run.status() == RunStatus::Queued) {
                return broken(
                    "I11",
                    format!("run {} is {:?} and in a queue: {:?}", run.run_id, run.status(), run.state.queue()),
                );
            }
            if run.status().is_terminal() && !run.slots.is_empty() {
                return broken("I11", format!("run {} has ended and holds {:?}", run.run_id, run.slots));
            }
            let waited = self.queues.waits.get(&run.run_id).map(|(queue, _)| queue.clone());
            let is_new = !self.seen.contains_key(&run.run_id);
            let passed = match (&waited, run.status()) {
                // A new run looks at the queue in the transaction that records it; a dispatch at a list of before.
                (None, RunStatus::Pending) if is_new => {
                    let queues = run.slots.iter().map(|scope| run.queue(*scope)).collect::<Vec<_>>();
                    self.waiting(|queue, _| queues.contains(queue), &has_changed)
                }
                (Some(left), RunStatus::Pending | RunStatus::Running) if !lags => {
                    let age = (run.spec.created_at, run.run_id);
                    let passed = self.waiting(|queue, since| queue == left && since <= long_ago, &has_changed);
                    passed
                        .filter(|other| self.seen.get(other).is_some_and(|one| (one.spec.created_at, one.run_id) < age))
                }
                _ => None,
            };
            if let Some(other) = passed {
                return broken("I11", format!("run {} started while {other} waited before it", run.run_id));
            }
        }
        for run in changed {
            let waits = run.state.queue().map(|scope| run.queue(scope));
            match waits {
                Some(queue) if self.queues.waits.get(&run.run_id).is_some_and(|(before, _)| *before == queue) => {}
                Some(queue) => drop(self.queues.waits.insert(run.run_id, (queue, now))),
                None => drop(self.queues.waits.remove(&run.run_id)),
            }
        }
        Ok(())
    }

    /// After a sweep without faults, nobody waits before a limit that has a free slot: not the first in its queue, and not those
    /// behind one whom another limit holds up.
    pub fn check_served(&mut self, store: &MemoryStore) -> Check {
        let mut unserved = BTreeMap::new();
        let mut waiting = Vec::new();
        store.each_run(|run| waiting.extend(run.state.queue().map(|scope| (run.run_id, run.queue(scope)))));
        for (run_id, queue) in waiting {
            let limit = match queue.definition_id {
                Some(id) => store.definition(&queue.tenant_id, id).and_then(|definition| definition.concurrency),
                None => store.tenant_settings(&queue.tenant_id).and_then(|settings| settings.concurrency),
            };
            let held = store.counter(&queue).held;
            if limit.is_none_or(|limit| held < i64::from(limit.max_concurrent_runs)) {
                let sweeps = self.queues.unserved.get(&(run_id, queue.clone())).copied().unwrap_or(0) + 1;
                if sweeps >= SWEEPS {
                    return broken(
                        "Q1",
                        format!("run {run_id} waits in {queue:?}, where {held} slots of {limit:?} are held"),
                    );
                }
                unserved.insert((run_id, queue), sweeps);
            }
        }
        self.queues.unserved = unserved;
        Ok(())
    }

    /// The first to wait in such a queue, of those that have not changed.
    fn waiting(&self, of: impl Fn(&QueueRef, Timestamp) -> bool, changed: &BTreeSet<RunId>) -> Option<RunId> {
        let mut waits =
            self.queues.waits.iter().filter(|(run_id, (queue, since))| of(queue, *since) && !changed.contains(run_id));
        waits.next().map(|(run_id, _)| *run_id)
    }

    /// What is counted is what open runs hold, and never more than a limit allowed when it was taken.
    pub(super) fn check_counters(&mut self, now: Timestamp, store: &MemoryStore) -> Check {
        let mut expected: BTreeMap<QueueRef, Counter> = BTreeMap::new();
        store.each_run(|run| {
            for scope in &run.slots {
                expected.entry(run.queue(*scope)).or_default().held += 1;
            }
            if let Some(scope) = run.state.queue() {
                expected.entry(run.queue(scope)).or_default().queued += 1;
            }
        });
        for (queue, counter) in store.counters() {
            let of_runs = expected.remove(&queue).unwrap_or_default();
            if counter != of_runs {
                let scope = queue.scope().as_str();
                return broken("I11", format!("the {scope}'s limit counts {counter:?}, its runs are {of_runs:?}"));
            }
            let held = self.queues.held.insert(queue.clone(), counter.held).unwrap_or(0);
            let most = self.queues.limits(&queue, now).map(|limit| limit.max_concurrent_runs).max();
            if counter.held > held && counter.held > i64::from(most.unwrap_or(0)) {
                return broken("I11", format!("{} slots are held of {most:?}", counter.held));
            }
        }
        match expected.first_key_value() {
            Some((queue, counter)) => broken("I11", format!("{queue:?} counts nothing of {counter:?}")),
            None => Ok(()),
        }
    }
}
