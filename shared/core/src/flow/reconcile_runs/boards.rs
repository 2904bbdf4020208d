//! Looks after boards: tells workers what a crash kept from them, and ends the waits that have run out.

use super::share::rotated;
use super::summary::SweepSummary;
use super::sweeper::Sweeper;
use crate::flow::advance_run::wake_run;
use crate::ports::{AnswerTask, Boards, Clock, RunRef};
use crate::together::few;

impl<S: Boards, E: AnswerTask, C: Clock> Sweeper<'_, S, E, C> {
    pub(super) async fn look_after_boards(&mut self) {
        let mut due = Vec::new();
        for (shard, left) in self.shards() {
            // As many as can be listed in half of its share of the time: the rest is for waking.
            self.begin_part(2 * left);
            let mut cursor = None;
            while !self.is_out_of_time() && due.len() < self.bounds.boards as usize {
                match self.store.due_boards(shard, self.clock.now(), cursor.as_deref()).await {
                    Ok(page) => {
                        due.extend(page.items);
                        cursor = page.next;
                    }
                    Err(error) => {
                        self.fault(format_args!("boards of shard {shard}"), &error);
                        break;
                    }
                }
                if cursor.is_none() {
                    break;
                }
            }
        }
        self.begin_part(1);
        self.summary.cut_short |= due.len() >= self.bounds.boards as usize;
        due.truncate(self.bounds.boards as usize);
        // They come with the longest overdue first: those may be the ones in which something fails every time.
        let mut due = rotated(due, self.turn).into_iter();
        loop {
            let next: Vec<RunRef> = due.by_ref().take(self.bounds.at_once.max(1)).collect();
            if next.is_empty() || self.is_out_of_time() {
                return;
            }
            let done = few(next.len(), next.into_iter().map(|run| self.wake(run))).await;
            done.into_iter().for_each(|part| self.summary.add(part));
        }
    }

    async fn wake(&self, run: RunRef) -> SweepSummary {
        let RunRef { tenant_id, run_id } = run;
        match wake_run(self.store, self.engine, &tenant_id, run_id, self.clock.now()).await {
            Ok(()) => SweepSummary { woken: 1, ..SweepSummary::default() },
            Err(error) => SweepSummary::failed(format_args!("the board of run {run_id}"), &error),
        }
    }
}
