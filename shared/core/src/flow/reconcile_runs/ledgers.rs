//! Looks after ledgers of governed calls: settles holds that nobody settled, and balances what was drawn on quotas.

use super::share::rotated;
use super::summary::SweepSummary;
use super::sweeper::Sweeper;
use crate::flow::sweep_ledgers::{LedgersSwept, sweep_ledger};
use crate::ports::{Clock, RunRef, StopExecution, SweepLedgers};
use crate::together::few;

impl<S: SweepLedgers, E: StopExecution, C: Clock> Sweeper<'_, S, E, C> {
    pub(super) async fn look_after_ledgers(&mut self) {
        if self.is_out_of_time() {
            return;
        }
        let most = self.bounds.ledgers;
        let due = match self.store.due_ledgers(self.clock.now(), most).await {
            Ok(due) => due,
            Err(error) => return self.fault("ledgers that are due", &error),
        };
        self.summary.cut_short |= due.len() >= most as usize;
        // They come with the longest overdue first: those may be the ones in which something fails every time.
        let mut due = rotated(due, self.turn).into_iter();
        loop {
            let next: Vec<RunRef> = due.by_ref().take(self.bounds.at_once.max(1)).collect();
            if next.is_empty() || self.is_out_of_time() {
                return;
            }
            let done = few(next.len(), next.into_iter().map(|run| self.look_after(run))).await;
            done.into_iter().for_each(|part| self.summary.add(part));
        }
    }

    async fn look_after(&self, run: RunRef) -> SweepSummary {
        let mut swept = LedgersSwept::default();
        let result = sweep_ledger(self.store, self.engine, &run, self.clock.now(), &mut swept).await;
        let LedgersSwept { lost, settled, stopped, balanced, failed: _ } = swept;
        let mut done = SweepSummary {
            holds_lost: lost,
            holds_settled: settled,
            stops_asked: stopped,
            balanced,
            ..SweepSummary::default()
        };
        if let Err(error) = result {
            done.fault(format_args!("the ledger of run {}", run.run_id), &error);
        }
        done
    }
}
