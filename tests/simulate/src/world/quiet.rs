//! After the faults: everything has to end.

use super::*;

impl World {
    /// Faults stop, time goes on, the reconciler comes every minute: everything has to end.
    pub(super) fn quiet_down(&mut self) -> Check {
        self.dice.disarm();
        lock(&self.outage).clear();
        self.engine.refuse_starts(None);
        self.note("faults have stopped");
        let until = self.clock.true_time() + SignedDuration::from_hours(QUIET_HOURS);
        let mut wait = SignedDuration::from_secs(60);
        while self.clock.true_time() < until {
            self.let_go();
            self.run_engine();
            self.sweep();
            self.drain()?;
            if self.is_settled() {
                return self.ledger.check_settled(&self.store, &self.engine, &lock(&self.receiver.received));
            }
            self.clock.advance(wait);
            // The schedule of retries takes a day: no need to look at every minute of it.
            wait = (wait * 2).min(SignedDuration::from_mins(30));
        }
        self.drain()?;
        self.ledger.check_settled(&self.store, &self.engine, &lock(&self.receiver.received))
    }

    /// Nobody leaves a run paused or waiting for ever.
    pub(super) fn let_go(&mut self) {
        for run in self.store.runs() {
            let caller = fixture::caller(run.tenant_id.as_str());
            if run.pause_requested_at.is_some() {
                self.spawn_resume(caller.clone(), run.run_id);
            }
            if !run.waiting_nodes.is_empty() {
                self.spawn_answer(caller, run.run_id);
            }
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.signals.is_empty()
            && self.store.runs().iter().all(|run| run.status.is_terminal())
            && self.store.deliveries().iter().all(|(delivery, _)| delivery.status.has_ended())
    }

    /// Every execution is carried to its end, but for those that are being stopped: they would run for days.
    pub(super) fn run_engine(&mut self) {
        self.go_on();
        for (arn, execution) in self.engine.executions() {
            if execution.end.is_none()
                && !self.gates.contains_key(&arn)
                && !self.ledger.started_by_others.contains(&execution.run_id)
            {
                let now = self.clock.true_time();
                let run = self.store.run(&execution.tenant, execution.run_id);
                if run.is_some_and(|run| run.status == RunStatus::Canceling) {
                    continue;
                }
                if execution.started || self.engine.claim(&self.store, &arn, now) {
                    self.engine.end(&arn, EngineEnd::Succeeded, Some("{}"), now);
                }
            }
        }
        self.notice_ends();
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
        let runs: Vec<(TenantId, RunId)> =
            self.store.runs().into_iter().map(|run| (run.tenant_id, run.run_id)).collect();
        self.one_of(&runs)
    }

    pub(super) fn one_of<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        (!all.is_empty()).then(|| all[self.rng.usize(0..all.len())].clone())
    }
}
