//! What a sweep says that it did, beside what happened while it was at it.

use super::{Check, Ledger, broken};
use crate::mutant::Asked;
use sluice_core::flow::reconcile_runs::SweepSummary;
use sluice_core::id::RunId;
use sluice_core::lifecycle::StopIntent;
use sluice_core::run::Run;
use sluice_testkit::store::MemoryStore;
use std::collections::BTreeSet;

/// How far all runs have come that there ever were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    ended: usize,
    timed_out: usize,
    dispatched: usize,
    gone: usize,
}

impl Counts {
    fn add(&mut self, run: &Run) {
        self.ended += usize::from(run.status().is_terminal());
        self.timed_out += usize::from(run.state.intent() == Some(StopIntent::TimedOut));
        self.dispatched += usize::from(run.state.dispatched_at().is_some());
    }
}

impl Ledger {
    pub fn counts(&self, store: &MemoryStore) -> Counts {
        let mut counts = Counts::default();
        let mut present: BTreeSet<RunId> = BTreeSet::new();
        store.each_run(|run| {
            present.insert(run.run_id);
            counts.add(run);
        });
        for run in self.seen.values().filter(|run| !present.contains(&run.run_id)) {
            counts.add(run);
            counts.gone += 1;
        }
        counts
    }

    /// A sweep counts each call that it made, and no more of what happened than did.
    pub fn check_swept(&self, said: &SweepSummary, asked: &Asked, before: &Counts, after: &Counts) -> Check {
        let exactly = [
            ("describes", said.described, asked.describes, asked.describes),
            ("lists", said.listed, asked.lists, asked.lists),
            // A run whose time is up is stopped at once, where it has an execution.
            ("stops", asked.stops, said.stops_asked, said.stops_asked + said.timed_out),
            ("starts", said.starts_asked + said.dispatched, 0, asked.starts),
            ("starts that worked", said.started, 0, said.starts_asked),
            ("deliveries handed out", said.announced, 0, asked.announced),
        ];
        let happened = |now: usize, then: usize| now.saturating_sub(then) as u32;
        let at_most = [
            ("ends", said.ended.len() as u32, 0, happened(after.ended, before.ended)),
            ("settled runs", said.settled, 0, said.ended.len() as u32),
            ("runs out of time", said.timed_out, 0, happened(after.timed_out, before.timed_out)),
            ("runs out of their queues", said.dispatched, 0, happened(after.dispatched, before.dispatched)),
            ("purged runs", said.purged, 0, happened(after.gone, before.gone)),
        ];
        for (what, counted, least, most) in exactly.into_iter().chain(at_most) {
            if !(least..=most).contains(&counted) {
                return broken("N1", format!("a sweep counts {counted} {what}, not {least} to {most}: {said:?}"));
            }
        }
        Ok(())
    }
}
