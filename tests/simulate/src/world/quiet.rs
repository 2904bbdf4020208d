//! After the faults: everything has to end.

use super::*;

/// Sweeps before executions go on: more than may leave a run before a free slot.
const STANDSTILL: u32 = 5;

impl World {
    /// Faults stop, time goes on, the reconciler comes every minute: everything has to end.
    pub(super) fn quiet_down(&mut self) -> Check {
        self.dice.disarm();
        lock(&self.weather).away.clear();
        self.engine.refuse_starts(None);
        self.unsure.clear();
        self.crowded_until = None;
        self.note("faults have stopped");
        self.stand_still()?;
        let until = self.clock.true_time() + SignedDuration::from_hours(QUIET_HOURS);
        let mut wait = SignedDuration::from_secs(60);
        while self.clock.true_time() < until && !self.is_settled() {
            self.let_go();
            self.run_engine()?;
            self.sweep();
            self.drain()?;
            self.ledger.check_served(&self.store)?;
            self.ledger.check_carried_on(&self.store)?;
            // The schedule of retries takes a day: no need to look at every minute of it.
            self.clock.advance(self.until_next().unwrap_or(wait));
            wait = (wait * 2).min(SignedDuration::from_mins(30));
        }
        self.drain()?;
        self.purge()?;
        let received = lock(&self.receiver.received);
        self.ledger.check_settled(&self.store, &self.engine, &received)
    }

    /// For some minutes no execution goes on. Slots stay taken, and whoever waits although there is one for it is seen.
    fn stand_still(&mut self) -> Check {
        for _ in 0..STANDSTILL {
            self.sweep();
            self.drain()?;
            self.ledger.check_served(&self.store)?;
            self.clock.advance(SignedDuration::from_mins(1));
        }
        Ok(())
    }

    /// Everything that is not kept for good has its time, and goes.
    fn purge(&mut self) -> Check {
        let mut last_due = None;
        self.store.each_run(|run| last_due = last_due.max(run.state.ended().and_then(|ended| ended.purge_at())));
        // What a report holds that broke off keeps its run until its lease is over, by the clock of whoever sweeps.
        last_due = last_due.max(self.store.held_until().map(|until| until + SignedDuration::from_mins(30)));
        if let Some(last_due) = last_due {
            let now = self.clock.true_time();
            self.clock.advance(last_due.duration_since(now).max(SignedDuration::ZERO));
        }
        for _ in 0..RUNS {
            if self.ledger.check_purged(self.clock.true_time(), &self.store).is_ok() {
                break;
            }
            self.sweep();
            self.drain()?;
        }
        self.ledger.check_purged(self.clock.true_time(), &self.store)
    }

    /// How long nothing will happen, once every run has ended.
    fn until_next(&self) -> Option<SignedDuration> {
        let (mut is_open, mut next) = (false, None);
        self.store.each_run(|run| is_open |= !run.status().is_terminal());
        let mut at = |time: Timestamp| next = Some(next.map_or(time, |next: Timestamp| next.min(time)));
        self.signals.iter().for_each(|(time, _)| at(*time));
        self.store.each_delivery(|delivery| delivery.next_attempt_at.into_iter().for_each(&mut at));
        let wait = next?.duration_since(self.clock.true_time()).max(SignedDuration::from_secs(60));
        (!is_open).then_some(wait)
    }

    /// Nobody leaves a run paused or waiting for ever.
    pub(super) fn let_go(&mut self) {
        for run in self.store.runs() {
            let caller = fixture::caller(run.tenant_id.as_str());
            if run.state.pause_asked_at().is_some() {
                self.spawn_resume(caller.clone(), run.run_id);
            }
            if !run.state.waiting_nodes().is_empty() {
                self.spawn_answer(caller, run.run_id);
            }
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        let mut is_settled = self.signals.is_empty();
        self.store.each_run(|run| is_settled &= run.status().is_terminal());
        self.store.each_delivery(|delivery| is_settled &= delivery.status.has_ended());
        is_settled
    }

    /// Every execution is carried to its end, but for those that are being stopped: they would run for days.
    pub(super) fn run_engine(&mut self) -> Check {
        self.go_on();
        for (arn, execution) in self.engine.executions() {
            if execution.end.is_none()
                && !self.gates.contains_key(&arn)
                && !self.ledger.started_by_others.contains(&execution.run_id)
            {
                let now = self.clock.true_time();
                let run = self.store.run(&execution.tenant, execution.run_id);
                if run.is_some_and(|run| run.status() == RunStatus::Canceling) {
                    continue;
                }
                let is_claimed = execution.started || self.engine.claim(&self.store, &arn, now);
                if is_claimed && !crew::is_crew(&arn, execution.run_id) {
                    self.engine.end(&arn, EngineEnd::Succeeded, Some("{}"), now);
                }
            }
        }
        self.work_on()?;
        self.notice_ends();
        Ok(())
    }

    pub(super) fn drain(&mut self) -> Check {
        for _ in 0..10_000 {
            let now = self.clock.true_time();
            if let Some(index) = self.signals.iter().position(|(at, _)| *at <= now) {
                let (_, signal) = self.signals.swap_remove(index);
                self.callback(signal);
            }
            let mut index = 0;
            while index < self.tasks.len() {
                if !self.poll_task(index)? {
                    index += 1;
                }
                self.check_now()?;
            }
            self.notice_ends();
            self.check_now()?;
            if self.tasks.is_empty() && !self.signals.iter().any(|(at, _)| *at <= now) {
                return Ok(());
            }
            self.clock.advance(SignedDuration::from_millis(100));
        }
        let names: Vec<&str> = self.tasks.iter().map(|task| task.what.as_str()).collect();
        broken("I12", format!("requests without an answer: {names:?}"))
    }

    /// Mostly a run that exists; sometimes one that is still being made, or never was.
    pub(super) fn some_run(&mut self) -> Option<(TenantId, RunId)> {
        if self.rng.u32(0..6) == 0 {
            let known = self.known.clone();
            return self.one_of(&known);
        }
        let runs = self.runs_that(|_| true);
        self.one_of(&runs)
    }

    pub(super) fn runs_that(&self, fits: impl Fn(&Run) -> bool) -> Vec<(TenantId, RunId)> {
        let mut fitting = Vec::new();
        self.store.each_run(|run| {
            if fits(run) {
                fitting.push((run.tenant_id.clone(), run.run_id));
            }
        });
        fitting
    }

    pub(super) fn one_of<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        (!all.is_empty()).then(|| all[self.rng.usize(0..all.len())].clone())
    }
}
