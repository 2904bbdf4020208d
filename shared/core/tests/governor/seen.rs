//! What must hold after every step of a play.

use crate::play::World;
use jiff::Timestamp;
use sluice_core::governor::call_id::CallId;
use sluice_core::governor::ledger::Ledger;
use sluice_core::governor::quota::QuotaRule;
use sluice_core::governor::record::CallRecord;
use sluice_testkit::fault::lock;
use std::collections::{BTreeMap, BTreeSet};

/// What was seen so far, to tell what may not change.
#[derive(Default)]
pub struct Seen {
    records: BTreeMap<CallId, CallRecord>,
    /// What was held when the ledger was closed.
    held_at_closing: Option<BTreeSet<CallId>>,
    /// What had been written, and how many calls had been served, when it was looked at last.
    at: (u64, usize),
}

impl Seen {
    /// Everything that must hold after every step.
    pub fn check(&mut self, world: &World) -> Result<(), String> {
        if let Some(broken) = lock(&world.broken).clone() {
            return Err(broken);
        }
        let at = (world.store.governed_changes(), lock(&world.served).len());
        if at == self.at {
            return Ok(());
        }
        self.at = at;
        let stops =
            world.store.run(&world.run.tenant_id, world.run.run_id).is_some_and(|run| run.state.intent().is_some());
        let drawn = |rule: &QuotaRule| {
            let in_period = |day: &Timestamp| world.store.quota(&rule.owner, &rule.period.at(*day)).0;
            world.days.iter().map(in_period).max().unwrap_or_default()
        };
        let drawn: Vec<u64> = world.quotas.iter().map(drawn).collect();
        let checked = world.store.see_ledger(&world.run, |ledger, records| {
            self.books(world, ledger, records)?;
            quotas(world, ledger, &drawn)?;
            self.closing(ledger, stops)
        });
        checked.unwrap_or_else(|| Err("the ledger is gone".to_owned()))
    }

    fn books(&mut self, world: &World, ledger: &Ledger, records: &BTreeMap<CallId, CallRecord>) -> Result<(), String> {
        let committed = ledger.committed();
        if ledger.cap.is_some_and(|cap| committed > cap) {
            return Err(format!("spent {} and held {} of {:?}", ledger.spent.0, ledger.held().0, ledger.cap));
        }
        let settled = records.values().filter(|record| !ledger.holds.contains_key(&record.call_id));
        let of_records: u64 = settled.map(|record| record.cost.0).sum();
        if of_records != ledger.spent.0 {
            return Err(format!("spent {}, by the records {of_records}", ledger.spent.0));
        }
        for (call_id, record) in records {
            let first = self.records.entry(*call_id).or_insert_with(|| record.clone());
            if first != record {
                return Err(format!("a record changed: {first:?} {record:?}"));
            }
        }
        let served = lock(&world.served);
        for (call_id, served) in &*served {
            let recorded = records.get(call_id).map(|record| record.cost.0);
            let covered = recorded.or_else(|| ledger.holds.get(call_id).map(|hold| hold.0)).unwrap_or_default();
            if *served > covered {
                return Err(format!("{served} were served of {call_id}, and {covered} set aside or recorded"));
            }
        }
        let all: u64 = served.values().sum();
        if all > committed.0 {
            return Err(format!("the referee counts {all}, the ledger {}", committed.0));
        }
        if ledger.holds.len() > 100 {
            return Err(format!("{} calls are under way", ledger.holds.len()));
        }
        Ok(())
    }

    fn closing(&mut self, ledger: &Ledger, is_being_stopped: bool) -> Result<(), String> {
        if is_being_stopped && ledger.is_open() {
            return Err("the run is being stopped, and its ledger is open".to_owned());
        }
        if ledger.is_open() {
            return Ok(());
        }
        let held: BTreeSet<CallId> = ledger.holds.keys().copied().collect();
        let before = self.held_at_closing.get_or_insert_with(|| held.clone());
        if held.is_subset(before) { Ok(()) } else { Err("something was held after the closing".to_owned()) }
    }
}

/// What was drawn on each quota in its dearest period is within it, and the run spends nothing that it has not drawn.
fn quotas(world: &World, ledger: &Ledger, in_quota: &[u64]) -> Result<(), String> {
    for (rule, in_quota) in world.quotas.iter().zip(in_quota) {
        let drawn = ledger.allowances.get(&rule.owner).and_then(Option::as_ref).map_or(0, |drawn| drawn.drawn.0);
        let committed = ledger.committed().0;
        if *in_quota > rule.most.0 || committed > drawn {
            return Err(format!("{in_quota} of {} drawn, {drawn} by the run for {committed}", rule.most.0));
        }
    }
    Ok(())
}
