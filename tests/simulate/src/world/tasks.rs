//! Life and death of invocations, and what their answers say.

use super::*;

impl World {
    pub(super) fn kill(&mut self) {
        if !self.tasks.is_empty() && self.dice.roll(3) {
            let index = self.rng.usize(0..self.tasks.len());
            self.kill_task(index);
        }
    }

    /// Time has passed: invocations that took too long are over.
    pub(super) fn time_out(&mut self) {
        let now = self.clock.true_time();
        while let Some(index) = self.tasks.iter().position(|task| task.until <= now) {
            self.kill_task(index);
        }
    }

    pub(super) fn kill_task(&mut self, index: usize) {
        let task = self.tasks.swap_remove(index);
        self.dice.count(F::KilledAtAwait);
        let received = lock(&self.receiver.received).len();
        match task.kind {
            TaskKind::Create => {
                let id = self.known.iter().find(|(_, id)| task.what.contains(&id.to_string())).cloned();
                let recorded = id.as_ref().and_then(|(tenant, id)| self.store.run(tenant, *id));
                let started =
                    recorded.as_ref().is_some_and(|run| self.engine.execution(&run.execution_arn()).is_some());
                self.dice.count(match (recorded.is_some(), started) {
                    (false, _) => F::CrashBeforeRecord,
                    (true, false) => F::CrashBeforeStart,
                    (true, true) => F::CrashAfterStart,
                });
            }
            TaskKind::Cancel => self.dice.count(F::CrashAfterStop),
            TaskKind::Callback => {
                self.dice.count(if received == 0 || task.polls < 8 { F::CrashBeforeSend } else { F::CrashAfterSend })
            }
            TaskKind::Sweep => self.dice.count(F::SweepCrash),
            TaskKind::Control => self.dice.count(F::KilledInControl),
            TaskKind::Other => {}
        }
        self.note(format_args!("killed: {}", task.what));
    }

    pub(super) fn poll(&mut self) -> Check {
        if self.tasks.is_empty() {
            return Ok(());
        }
        let index = self.rng.usize(0..self.tasks.len());
        for _ in 0..self.rng.u32(1..8) {
            if self.poll_task(index)? {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn poll_task(&mut self, index: usize) -> Result<bool, crate::Violation> {
        let task = &mut self.tasks[index];
        task.polls += 1;
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(told) = task.future.as_mut().poll(&mut context) else {
            return Ok(false);
        };
        let task = self.tasks.swap_remove(index);
        self.hear(&task.what, told)?;
        Ok(true)
    }

    pub(super) fn hear(&mut self, what: &str, told: Told) -> Check {
        match told {
            Told::Created { tenant, key, answer, at } => {
                let key_and_payload = key.as_ref().map(|(key, payload)| (key.as_str(), payload.as_str()));
                match answer {
                    Ok(accepted) => {
                        self.note(format_args!(
                            "answered {what}: {} replayed={}",
                            accepted.run.run_id, accepted.replayed
                        ));
                        self.ledger.told(&accepted.run, key_and_payload, at)?;
                    }
                    Err(Refusal::KeyReused { run_id }) => {
                        self.note(format_args!("answered {what}: reused, first {run_id}"));
                        if let Some((key, payload)) = &key {
                            self.ledger.told_reused(&tenant, key, payload, run_id, at)?;
                        }
                    }
                    Err(Refusal::Store(error)) => {
                        self.note(format_args!("failed {what}: {error}"));
                        // The caller repeats the request, as a client does on 503.
                        if key.is_some() && self.dice.is_armed() && self.rng.bool() {
                            let caller = fixture::caller(tenant.as_str());
                            self.spawn_create(caller, key);
                        }
                    }
                    // A replay of a run that is open, unknown or too deep.
                    Err(Refusal::Conflict { .. } | Refusal::NotFound { .. }) if key.is_none() => {}
                    Err(other) => return broken("I8", format!("a good request was refused: {other}")),
                }
            }
            Told::Canceled { tenant, run_id, answer } => self.hear_cancel(what, &tenant, run_id, answer)?,
            Told::Controlled { run_id, gave, answer } => {
                let outcome = match &answer {
                    Ok(()) => "done".to_owned(),
                    Err(refusal) => refusal.to_string(),
                };
                self.note(format_args!("answered {what}: {outcome}"));
                match (gave, answer) {
                    (Some(value), Ok(())) => self.ledger.told_answered(run_id, &value)?,
                    (_, Err(Refusal::Invalid(invalid))) => {
                        return broken("I8", format!("{what} was refused: {invalid}"));
                    }
                    _ => {}
                }
            }
            Told::Failed(signal) => {
                self.note(format_args!("failed {what}"));
                // Lambda tries an asynchronous invocation three times; then it is a dead letter and the sweep's business.
                if self.rng.u32(0..3) > 0 {
                    self.signals.push((self.clock.true_time(), signal));
                }
            }
            Told::Nothing => self.note(format_args!("done {what}")),
        }
        Ok(())
    }

    pub(super) fn hear_cancel(
        &mut self,
        what: &str,
        tenant: &TenantId,
        run_id: RunId,
        answer: Answer<Canceled>,
    ) -> Check {
        let run = self.store.run(tenant, run_id);
        match answer {
            Ok(canceled) => {
                let (Canceled::Underway(said) | Canceled::Already(said) | Canceled::TooLate(said)) = &canceled;
                self.note(format_args!("answered {what}: {:?}", said.status));
                let Some(run) = run else {
                    return broken(
                        "I10",
                        format!("tenant {tenant} was answered about run {run_id}, which is not its own"),
                    );
                };
                let truthful = match canceled {
                    Canceled::Already(_) => run.status == RunStatus::Canceled,
                    Canceled::TooLate(said) => run.status == said.status && run.status.is_terminal(),
                    Canceled::Underway(_) => run.status == RunStatus::Canceling || run.status.is_terminal(),
                };
                if !truthful {
                    return broken(
                        "I5",
                        format!("cancel of {run_id} was answered untruthfully: it is {:?}", run.status),
                    );
                }
            }
            Err(Refusal::NotFound { .. }) => {
                self.note(format_args!("answered {what}: unknown"));
            }
            Err(error) => self.note(format_args!("failed {what}: {error}")),
        }
        Ok(())
    }
}
