//! What goes, when, and what must not.

use super::{Check, INVOCATION, Ledger, SKEW, broken};
use jiff::Timestamp;
use sluice_core::delivery::DeliveryStatus;
use sluice_core::id::{RunId, TenantId};
use sluice_core::run::Run;
use sluice_testkit::store::MemoryStore;
use std::collections::{BTreeMap, BTreeSet};

/// The deliveries as they were seen last.
#[derive(Debug, Default)]
pub(super) struct Owed {
    seen: BTreeMap<(RunId, u32), Seen>,
    /// Runs whose deliveries are deleted.
    purged: BTreeSet<RunId>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    status: DeliveryStatus,
    /// When it was asked for again after its end.
    again_at: Option<Timestamp>,
}

impl Ledger {
    /// Whether a run is gone for everybody, however their clocks go.
    pub fn is_gone(&self, run_id: RunId, now: Timestamp) -> bool {
        let is_due =
            |run: &Run| run.state.ended().and_then(|ended| ended.due_at).is_some_and(|due_at| due_at + SKEW <= now);
        self.gone.contains(&run_id) || self.seen.get(&run_id).is_some_and(is_due)
    }

    /// Whether a run may have been gone for somebody who looked at `at`, by their clock, or shortly before.
    pub fn could_be_gone(&self, run_id: RunId, at: Timestamp) -> bool {
        self.gone.contains(&run_id)
            || self.deleting.contains(&run_id)
            || self.least_due.get(&run_id).is_some_and(|due_at| *due_at <= at + SKEW)
    }

    /// Whether a purge has begun and not been carried to its end.
    pub fn has_half_purged(&self) -> bool {
        self.owed.purged.iter().any(|run_id| !self.gone.contains(run_id))
    }

    /// Every run that is gone so.
    pub fn all_gone(&self, now: Timestamp) -> BTreeSet<RunId> {
        self.seen.keys().copied().filter(|run_id| self.is_gone(*run_id, now)).collect()
    }

    /// A run is gone when its rule, or whoever deletes it, says so.
    pub(super) fn check_due(&self, now: Timestamp, run: &Run) -> Check {
        let by_rule = run
            .state
            .ended()
            .map(|ended| ended.completed_at)
            .zip(run.spec.retention)
            .and_then(|(end, rule)| rule.due_at(run.status(), end));
        let is_let_go = run.state.ended().and_then(|ended| ended.due_at) == Some(Run::LET_GO)
            && (self.deleting.contains(&run.run_id) || by_rule.is_some_and(|due_at| due_at <= now + SKEW));
        if run.state.ended().and_then(|ended| ended.due_at) == by_rule || is_let_go {
            return Ok(());
        }
        broken(
            "R1",
            format!(
                "run {} is kept until {:?}, not {by_rule:?}",
                run.run_id,
                run.state.ended().and_then(|ended| ended.due_at)
            ),
        )
    }

    /// A head that is not there any more.
    pub(super) fn check_vanished(&mut self, now: Timestamp, store: &MemoryStore) -> Check {
        let mut present = BTreeSet::new();
        store.each_run(|run| present.extend([run.run_id]));
        for (run_id, run) in &self.seen {
            if present.contains(run_id) || !self.gone.insert(*run_id) {
                continue;
            }
            let is_over = run.state.ended().and_then(|ended| ended.due_at).is_some_and(|due_at| due_at <= now + SKEW);
            if !run.status().is_terminal() || !(is_over || self.deleting.contains(run_id)) {
                return broken("R1", format!("run {run_id} was purged before its time: {:?}", run.status()));
            }
            if store.knows(&run.tenant_id, *run_id) {
                return broken("R1", format!("the head of run {run_id} went before the rest of it"));
            }
        }
        Ok(())
    }

    /// Every end owes something, and nothing goes before it has been delivered or given up.
    pub(super) fn check_owed(&mut self, now: Timestamp, store: &MemoryStore) -> Check {
        let mut present = BTreeMap::new();
        store.each_delivery(|delivery| {
            let key = (delivery.run_id, delivery.number);
            let before = self.owed.seen.get(&key);
            let again_at = match before {
                Some(before) if before.status.has_ended() && !delivery.status.has_ended() => Some(now),
                Some(before) => before.again_at,
                None => None,
            };
            present.insert(key, Seen { status: delivery.status, again_at });
        });
        for ((run_id, number), delivery) in &self.owed.seen {
            if present.contains_key(&(*run_id, *number)) {
                continue;
            }
            // Who asks for a delivery again while the run is being purged, asks too late.
            let is_race = delivery.again_at.is_some_and(|at| now.duration_since(at) <= INVOCATION);
            if !delivery.status.has_ended() && !is_race {
                return broken("R1", format!("delivery {number} of run {run_id} was purged while it was owed"));
            }
            self.owed.purged.insert(*run_id);
        }
        self.owed.seen = present;
        let mut fault = Ok(());
        store.each_run(|run| {
            let run_id = run.run_id;
            if !run.status().is_terminal()
                || run.state.ended().map_or(0, |ended| ended.deliveries) == 0
                || self.owed.seen.range((run_id, 0)..).next().is_some_and(|((first, _), _)| *first == run_id)
            {
                return;
            }
            if !self.owed.purged.contains(&run_id) {
                fault = broken("I4", format!("run {run_id} ended, and what it owes was not written with its end"));
            } else if run.is_visible(now + SKEW) {
                fault = broken("R1", format!("run {run_id} is half deleted and can be seen"));
            }
        });
        fault
    }

    /// Nothing stays of a purged run, and nothing stays that is due.
    pub(super) fn check_leftovers(&self, store: &MemoryStore) -> Check {
        for (run_id, run) in &self.seen {
            let tenant = &run.tenant_id;
            let has_usage = !store.calls(tenant, *run_id).is_empty();
            if self.gone.contains(run_id) && (store.knows(tenant, *run_id) || has_usage) {
                return broken("R1", format!("something of run {run_id} was left behind"));
            }
        }
        Ok(())
    }

    /// Everything whose time is over has to be deleted by now.
    pub fn check_purged(&self, now: Timestamp, store: &MemoryStore) -> Check {
        let mut fault = Ok(());
        store.each_run(|run| {
            let purge_at = run.state.ended().and_then(|ended| ended.purge_at());
            if purge_at.is_some_and(|at| at <= now) {
                fault = broken("R1", format!("run {} is due since {purge_at:?} and still there", run.run_id));
            }
        });
        fault
    }

    /// What a reader was shown.
    pub fn check_shown(&self, tenant: &TenantId, run: &Run, at: Timestamp, gone: &BTreeSet<RunId>) -> Check {
        if run.tenant_id != *tenant {
            return broken("I10", format!("tenant {tenant} was shown run {}, which is not its own", run.run_id));
        }
        if !run.is_visible(at) || gone.contains(&run.run_id) {
            return broken("R1", format!("run {} was shown after its time", run.run_id));
        }
        Ok(())
    }
}
