//! What must hold after every step of a play.

use crate::play::World;
use jiff::Timestamp;
use sluice_core::call_id::CallId;
use sluice_core::governor::ledger::Ledger;
use sluice_core::governor::quota::QuotaRule;
use sluice_core::governor::record::CallRecord;
use sluice_core::usage::RecordedCall;
use sluice_testkit::fault::lock;
use std::collections::{BTreeMap, BTreeSet};

/// What was seen so far, to tell what may not change.
#[derive(Default)]
pub struct Seen {
    records: BTreeMap<CallId, CallRecord>,
    /// What reports had cost.
    of_reports: u64,
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
        let checked = world.store.see_ledger(&world.run, |ledger, records, reported| {
            let governed = self.books(world, ledger, records, reported)?;
            quotas(world, ledger, governed, &drawn)?;
            self.closing(ledger, stops)
        });
        checked.unwrap_or_else(|| Err("the ledger is gone".to_owned()))
    }

    /// The books are right: what governed calls have spent and hold, which is within the cap, comes back.
    fn books(
        &mut self,
        world: &World,
        ledger: &Ledger,
        records: &BTreeMap<CallId, CallRecord>,
        reported: &[RecordedCall],
    ) -> Result<u64, String> {
        let settled = records.values().filter(|record| !ledger.holds.contains_key(&record.call_id));
        let of_records: u64 = settled.map(|record| record.cost.0).sum();
        let governed = of_records + ledger.held().0;
        if ledger.cap.is_some_and(|cap| governed > cap.0) {
            return Err(format!("spent {of_records} and held {} of {:?}", ledger.held().0, ledger.cap));
        }
        let is_counted =
            |recorded: &&RecordedCall| recorded.report.is_some_and(|report| !ledger.reports.contains_key(&report));
        let of_reports: u64 = reported.iter().filter(is_counted).map(|recorded| recorded.call.cost_nano_usd.0).sum();
        if of_records + of_reports != ledger.spent.0 {
            return Err(format!("spent {}, by the records {of_records} and {of_reports}", ledger.spent.0));
        }
        // Whatever report takes the run above its cap stops it. A call that was held before may come after it.
        let is_above = ledger.cap.is_some_and(|cap| ledger.spent > cap);
        if of_reports > self.of_reports && is_above && ledger.is_open() {
            return Err(format!("spent {} of {:?}, and the run goes on", ledger.spent.0, ledger.cap));
        }
        self.of_reports = of_reports;
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
        if all > governed || ledger.cap.is_some_and(|cap| all > cap.0) {
            return Err(format!("the referee counts {all}, the ledger {governed} of {:?}", ledger.cap));
        }
        if ledger.holds.len() > 100 {
            return Err(format!("{} calls are under way", ledger.holds.len()));
        }
        Ok(governed)
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

/// What was drawn on each quota in its dearest period is within it, and governed calls spend nothing that was not drawn.
fn quotas(world: &World, ledger: &Ledger, governed: u64, in_quota: &[u64]) -> Result<(), String> {
    for (rule, in_quota) in world.quotas.iter().zip(in_quota) {
        let drawn = ledger.allowances.get(&rule.owner).and_then(Option::as_ref).map_or(0, |drawn| drawn.drawn.0);
        // What was reported without having been drawn is charged to the quota at the end, also above it.
        let is_within = *in_quota <= rule.most.0 || ledger.spent.0 > governed;
        // At the end what is drawn becomes what is spent.
        if !is_within || governed > drawn {
            return Err(format!("{in_quota} of {} drawn, {drawn} by the run for {governed}", rule.most.0));
        }
    }
    Ok(())
}
