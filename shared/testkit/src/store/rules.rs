//! The rules of the table: when a run gets in, moves or changes, and what moves with it.

use super::*;
use sluice_core::governor::record::Outcome;
use sluice_core::spending::Used;

impl Tables {
    pub(super) fn counter(&mut self, run: &Run, scope: SlotScope) -> &mut Counter {
        self.counters.entry(run.queue(scope)).or_default()
    }

    /// Whether a run is there, and nobody is deleting it.
    pub(super) fn keeps(&self, tenant: &TenantId, run_id: RunId) -> bool {
        let run = self.runs.get(&(tenant.clone(), run_id));
        run.is_some_and(|run| run.state.ended().and_then(|ended| ended.due_at) != Some(Run::LET_GO))
    }

    /// The calls of a run that are over and ran, those that were reported first.
    pub(super) fn recorded_calls(&self, key: &RunKey) -> Vec<RecordedCall> {
        let reported = self.usage.get(key).into_iter().flat_map(BTreeMap::values).cloned();
        let records = self.governed.records.get(key).into_iter().flat_map(BTreeMap::values);
        let ran = records.filter(|record| record.outcome != Outcome::NotRun);
        reported.chain(ran.map(|record| RecordedCall { call: record.as_reported(), report: None })).collect()
    }

    /// What the run has used, as a read would tell it now.
    pub(super) fn used(&self, key: &RunKey) -> Used {
        let ledger = self.governed.ledgers.get(key).cloned();
        Used::new(self.earlier.get(key).copied(), ledger, &self.recorded_calls(key))
    }

    /// The limits of a change that have no free slot.
    pub(super) fn full(&mut self, run: &Run, slots: &SlotChange) -> Vec<SlotScope> {
        let most = |most: u32| i64::from(most);
        let limits = slots.taken.iter();
        let full =
            limits.filter(|limit| self.counter(run, limit.scope).held >= most(limit.concurrency.max_concurrent_runs));
        full.map(|limit| limit.scope).collect()
    }

    pub(super) fn move_slots(&mut self, run: &Run, slots: &SlotChange, laxity: Option<Laxity>) {
        for limit in &slots.taken {
            self.counter(run, limit.scope).held += 1;
        }
        if laxity != Some(Laxity::SlotsKept) {
            for scope in &slots.freed {
                self.counter(run, *scope).held -= 1;
            }
        }
        if let Some(scope) = slots.joined {
            self.counter(run, scope).queued += 1;
        }
        if let Some(scope) = slots.left {
            self.counter(run, scope).queued -= 1;
        }
    }

    /// What keeps a run from its way in.
    pub(super) fn refuses(&mut self, run: &Run, admission: &Admission) -> Option<Recorded> {
        match admission {
            Admission::Slots(limits) => {
                let full = limits.iter().filter(|limit| {
                    let counter = *self.counter(run, limit.scope);
                    counter.held >= i64::from(limit.concurrency.max_concurrent_runs) || counter.queued > 0
                });
                let full: Vec<SlotScope> = full.map(|limit| limit.scope).collect();
                (!full.is_empty()).then_some(Recorded::Full(full))
            }
            Admission::Queue(limit) => {
                let counter = *self.counter(run, limit.scope);
                if counter.queued >= i64::from(limits::QUEUED_RUNS) {
                    Some(Recorded::QueueFull)
                } else if counter.held < i64::from(limit.concurrency.max_concurrent_runs) && counter.queued <= 0 {
                    Some(Recorded::NotFull)
                } else {
                    None
                }
            }
        }
    }

    /// Writes the change of a head, if the run is as it is expected to be and its limits allow it.
    pub(super) fn change(&mut self, change: &RunChange, laxity: Option<Laxity>) -> Changed {
        let key = (change.run.tenant_id.clone(), change.run.run_id);
        match self.runs.get(&key) {
            Some(current) if current.rev == change.expected_rev => {}
            Some(_) if laxity == Some(Laxity::ChangeUnconditional) => {}
            current => return Changed::Stale(current.cloned().map(Box::new)),
        }
        if laxity != Some(Laxity::SlotsUnconditional) {
            let mut full = self.full(&change.run, &change.slots);
            if !full.is_empty() {
                if laxity == Some(Laxity::FullNamesAll) {
                    full = change.slots.taken.iter().map(|limit| limit.scope).collect();
                }
                return Changed::Full(full);
            }
        }
        let reports_rev = self.governed.ledgers.get(&key).map_or(0, |ledger| ledger.reports_rev);
        let is_stale = change.expected_reports_rev.is_some_and(|expected| expected != reports_rev);
        if is_stale && laxity != Some(Laxity::LedgerUnconditional) {
            return Changed::Stale(self.runs.get(&key).cloned().map(Box::new));
        }
        self.move_slots(&change.run, &change.slots, laxity);
        if laxity == Some(Laxity::SlotFreedTwice) {
            let again = SlotChange { freed: change.slots.freed.clone(), ..SlotChange::default() };
            self.move_slots(&change.run, &again, laxity);
        }
        self.writes += 1;
        if laxity != Some(Laxity::LedgerLeftOpen) {
            self.governed.close(&change.run, change.closes);
        }
        if change.run.status().is_terminal() && !self.used_at_end.contains_key(&key) {
            let used = self.used(&key).usage.total;
            self.used_at_end.insert(key.clone(), used);
        }
        self.runs.insert(key.clone(), change.run.clone());
        if let Some(output) = &change.output {
            self.outputs.insert(key, output.clone());
        }
        for delivery in change.deliveries.iter().filter(|_| laxity != Some(Laxity::OwedApart)) {
            self.deliveries.insert(reference(delivery), delivery.clone());
        }
        Changed::Done
    }
}
