//! Life and death of invocations, and what their answers say.

use super::*;
use sluice_core::violation::{Invalid, ViolationCode};

impl World {
    pub(super) fn kill(&mut self) {
        if self.tasks.is_empty() || !self.dice.roll(3) {
            return;
        }
        // Those whose death leaves the most behind are picked out more often than they come up.
        let halfway: Vec<usize> = (0..self.tasks.len()).filter(|&index| self.is_halfway(&self.tasks[index])).collect();
        let chosen = if self.rng.bool() { self.one_of(&halfway) } else { None };
        let index = chosen.unwrap_or_else(|| self.rng.usize(0..self.tasks.len()));
        self.kill_task(index);
    }

    /// Whether a fault strikes an invocation where it leaves something behind.
    fn dies_halfway(&self, index: usize) -> bool {
        let task = &self.tasks[index];
        let is_recorded = |(tenant, run_id): &(TenantId, RunId)| self.store.run(tenant, *run_id).is_some();
        match task.kind {
            TaskKind::Create if self.is_halfway(task) => self.dice.roll(4),
            TaskKind::Create => task.about.as_ref().is_some_and(is_recorded) && self.dice.roll(8),
            TaskKind::Dispatch => self.dice.roll(4),
            TaskKind::Advance => task.call.as_ref().is_some_and(|call| self.dice.roll(self.danger(call))),
            TaskKind::Sweep | TaskKind::Retention => self.is_halfway(task) && self.dice.roll(2),
            TaskKind::Cancel
            | TaskKind::Control
            | TaskKind::Callback
            | TaskKind::Usage
            | TaskKind::Report
            | TaskKind::Other => false,
        }
    }

    /// Whether an invocation may die after any of its turns.
    fn is_watched(&self, index: usize) -> bool {
        matches!(self.tasks[index].kind, TaskKind::Create | TaskKind::Advance)
    }

    /// Whether the death of an invocation leaves something that others have to carry on.
    fn is_halfway(&self, task: &Task) -> bool {
        match (task.kind, &task.about) {
            (TaskKind::Create, Some((tenant, run_id))) => {
                let run = self.store.run(tenant, *run_id);
                run.is_some_and(|run| self.engine.execution(&run.execution_arn()).is_some())
            }
            (TaskKind::Sweep | TaskKind::Retention, _) => self.ledger.has_half_purged(),
            _ => false,
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
        if let Some(call) = &task.call {
            self.count_death(call);
            self.hear_advanced(call, false);
        }
        let received = lock(&self.receiver.received).len();
        let run = task.about.as_ref().and_then(|(tenant, run_id)| self.store.run(tenant, *run_id));
        match task.kind {
            TaskKind::Create => {
                let is_started = run.as_ref().is_some_and(|run| self.engine.execution(&run.execution_arn()).is_some());
                self.dice.count(match (run.is_some(), is_started) {
                    (false, _) => F::CrashBeforeRecord,
                    (true, false) => F::CrashBeforeStart,
                    (true, true) => F::CrashAfterStart,
                });
            }
            TaskKind::Cancel if run.is_some_and(|run| run.state.intent().is_some()) => {
                self.dice.count(F::CrashAfterStop)
            }
            TaskKind::Callback => {
                self.dice.count(if received == task.received { F::CrashBeforeSend } else { F::CrashAfterSend })
            }
            TaskKind::Sweep => self.dice.count(F::SweepCrash),
            TaskKind::Dispatch => self.dice.count(F::DispatchKilled),
            TaskKind::Control => self.dice.count(F::KilledInControl),
            TaskKind::Usage => {
                if task.about.as_ref().is_some_and(|(tenant, run_id)| self.lost_usage(tenant, *run_id)) {
                    self.dice.count(F::CrashBeforeUsage);
                }
            }
            TaskKind::Cancel | TaskKind::Retention | TaskKind::Report | TaskKind::Advance | TaskKind::Other => {}
        }
        if matches!(task.kind, TaskKind::Sweep | TaskKind::Retention) && self.ledger.has_half_purged() {
            self.dice.count(F::PurgeCrash);
        }
        self.note(format_args!("killed: {}", task.what));
    }

    pub(super) fn poll(&mut self) -> Check {
        if self.tasks.is_empty() {
            return Ok(());
        }
        let index = self.rng.usize(0..self.tasks.len());
        // Mostly a few turns, so that others come in between; sometimes as many as it takes.
        let turns = if self.rng.u32(0..4) == 0 { 80 } else { self.rng.u32(1..8) };
        for _ in 0..turns {
            if self.poll_task(index)? {
                return Ok(());
            }
            if self.is_watched(index) && self.dies_halfway(index) {
                self.kill_task(index);
                return Ok(());
            }
        }
        self.check_now()?;
        if !self.is_watched(index) && self.dies_halfway(index) {
            self.kill_task(index);
        }
        Ok(())
    }

    pub(super) fn poll_task(&mut self, index: usize) -> Result<bool, crate::Violation> {
        let is_of_stops = self.is_of_stops();
        let task = &mut self.tasks[index];
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(told) = task.future.as_mut().poll(&mut context) else {
            return Ok(false);
        };
        // It has done everything, and dies with its answer.
        let one_in = if is_of_stops { 4 } else { 2 };
        if self.play.only_workers && task.kind == TaskKind::Advance && self.dice.roll(one_in) {
            self.kill_task(index);
            return Ok(true);
        }
        let task = self.tasks.swap_remove(index);
        self.hear(&task.what, told)?;
        Ok(true)
    }

    pub(super) fn hear(&mut self, what: &str, told: Told) -> Check {
        match told {
            Told::Created(created) => self.hear_created(what, *created)?,
            Told::Canceled { tenant, run_id, was_gone, answer } => {
                self.hear_cancel(what, &tenant, run_id, was_gone, *answer)?
            }
            Told::Controlled { run_id, was_gone, gave, answer } => {
                let outcome = match &answer {
                    Ok(()) => "done".to_owned(),
                    Err(refusal) => refusal.to_string(),
                };
                self.note(format_args!("answered {what}: {outcome}"));
                match (gave, answer) {
                    (_, Ok(())) if was_gone => return broken("R1", format!("{what} was done after its run's time")),
                    (Some(value), Ok(())) => self.ledger.told_answered(run_id, &value)?,
                    (_, Err(Refusal::Invalid(invalid)))
                        if !self.ledger.could_be_gone(run_id, self.clock.true_time()) =>
                    {
                        return broken("I8", format!("{what} was refused: {invalid}"));
                    }
                    _ => {}
                }
            }
            Told::Used { run_id, was_gone, again, answer } => {
                self.hear_usage(what, run_id, was_gone, *again, answer)?;
            }
            Told::TokenMade(token) => self.hear_token(token),
            Told::Reported(made) => self.hear_report(what, *made)?,
            Told::Deleted { tenant, run_id, was_gone, answer } => {
                self.hear_delete(what, &tenant, run_id, was_gone, answer)?;
            }
            Told::Shown { tenant, at, gone, runs } => {
                self.note(format_args!("answered {what}: {} runs", runs.len()));
                for run in &runs {
                    self.ledger.check_shown(&tenant, run, at, &gone)?;
                }
            }
            Told::Swept(swept) => {
                self.note(format_args!("done {what}: {:?}", swept.summary));
                self.count_wakes(&swept.woken);
                let after = self.ledger.counts(&self.store);
                self.ledger.check_swept(&swept.summary, &swept.asked, &swept.before, &after)?;
            }
            Told::Handled(sent) => {
                self.note(format_args!("done {what}"));
                self.ledger.check_recorded(&self.store, &sent)?;
            }
            Told::Failed(signal) => {
                self.note(format_args!("failed {what}"));
                // Lambda tries an asynchronous invocation three times; then it is a dead letter and the sweep's business.
                if self.rng.u32(0..3) > 0 {
                    self.signals.push((self.clock.true_time(), signal));
                } else {
                    self.dice.count(F::CallbackGivenUp);
                }
            }
            Told::Advanced { call, is_done } => {
                self.note(format_args!("done {what}: {is_done}"));
                self.hear_advanced(&call, is_done);
            }
            Told::Concluded { call, tenant, run_id, conclusion } => {
                self.hear_conclusion(&call, &tenant, run_id, conclusion)?;
            }
            Told::Nothing => self.note(format_args!("done {what}")),
        }
        Ok(())
    }

    fn hear_created(&mut self, what: &str, created: Created) -> Check {
        let Created { tenant, run_id, is_replay, key, gone, answer, at, asked } = created;
        let url = asked.as_ref().and_then(|asked| asked.url.as_deref());
        let now = self.clock.true_time();
        match answer {
            Ok(accepted) => {
                let answered = accepted.run.run_id;
                self.note(format_args!("answered {what}: {answered} replayed={}", accepted.replayed));
                if gone.contains(&answered) {
                    return broken("R1", format!("{what} was answered with run {answered} after its time"));
                }
                if asked.is_some() && !accepted.replayed {
                    self.ledger.told_admitted(&accepted.run, url)?;
                }
                self.ledger.told(&accepted.run, borrowed(&key), at)
            }
            Err(Refusal::KeyReused { run_id: first }) => {
                self.note(format_args!("answered {what}: reused, first {first}"));
                match borrowed(&key) {
                    Some((key, payload)) => self.ledger.told_reused(&tenant, key, payload, first, at),
                    None => broken("I7", format!("{what} was refused for a key that it has not")),
                }
            }
            Err(Refusal::RunExpired { run_id: first }) => {
                self.note(format_args!("answered {what}: {first} is gone"));
                match borrowed(&key) {
                    Some((key, _)) => self.ledger.told_expired(&tenant, key, first, at),
                    None => broken("I7", format!("{what} was refused for a key that it has not")),
                }
            }
            Err(Refusal::Unanswered { run_id: named, .. }) if named != run_id => {
                broken("I7", format!("{what} may have made run {run_id}, and its caller is told of {named}"))
            }
            Err(Refusal::Store(error) | Refusal::Unanswered { error, .. }) => {
                self.note(format_args!("failed {what}: {error}"));
                // The caller repeats the request, as a client does on 503.
                if key.is_some() && !is_replay && self.dice.is_armed() && self.rng.bool() {
                    let caller = self.caller_of(&tenant);
                    self.spawn_create(caller, key);
                }
                Ok(())
            }
            Err(refusal) => {
                self.note(format_args!("refused {what}: {refusal}"));
                if self.store.run(&tenant, run_id).is_some() {
                    return broken("I7", format!("{what} was refused, and made a run: {refusal}"));
                }
                let is_just = match &refusal {
                    Refusal::TooManyRuns { .. } => self.ledger.could_be_rejected(now, &tenant),
                    // What was withdrawn, or a callback that the tenant's list has not; a version of a run that was made without
                    // its request.
                    Refusal::Invalid(_) => asked
                        .as_ref()
                        .is_none_or(|asked| self.ledger.could_be_refused(&tenant, asked.definition, run_id, url)),
                    // A replay of a run that is open, unknown or too deep.
                    Refusal::Conflict { .. } | Refusal::NotFound { .. } => is_replay,
                    Refusal::OperatorOnly(_)
                    | Refusal::KeyReused { .. }
                    | Refusal::RunExpired { .. }
                    | Refusal::RateLimited { .. }
                    | Refusal::TooManyOpenRuns { .. }
                    | Refusal::BudgetExhausted { .. }
                    | Refusal::QueueFull
                    | Refusal::InvalidReportToken
                    | Refusal::Unanswered { .. }
                    | Refusal::Store(_) => false,
                };
                let is_unlisted = |invalid: &Invalid| {
                    invalid.violations.iter().any(|violation| violation.code == ViolationCode::CallbackUrlNotAllowed)
                };
                if matches!(&refusal, Refusal::Invalid(invalid) if is_unlisted(invalid)) && !is_replay {
                    self.dice.count(F::ForeignDestination);
                }
                if is_just { Ok(()) } else { broken("I8", format!("a good request was refused: {refusal}")) }
            }
        }
    }

    pub(super) fn hear_cancel(
        &mut self,
        what: &str,
        tenant: &TenantId,
        run_id: RunId,
        was_gone: bool,
        answer: Answer<Canceled>,
    ) -> Check {
        let run = self.store.run(tenant, run_id);
        match answer {
            Ok(canceled) => {
                let (Canceled::Underway(said) | Canceled::Already(said) | Canceled::TooLate(said)) = &canceled;
                self.note(format_args!("answered {what}: {:?}", said.status()));
                if !self.known.iter().any(|(owner, id)| owner == tenant && *id == run_id) {
                    let text = format!("tenant {tenant} was answered about run {run_id}, which is not its own");
                    return broken("I10", text);
                }
                if was_gone {
                    return broken("R1", format!("run {run_id} was answered about after its time"));
                }
                // It may have been purged since.
                let Some(run) = run else { return Ok(()) };
                let truthful = match canceled {
                    Canceled::Already(_) => run.status() == RunStatus::Canceled,
                    Canceled::TooLate(said) => run.status() == said.status() && run.status().is_terminal(),
                    Canceled::Underway(_) => run.status() == RunStatus::Canceling || run.status().is_terminal(),
                };
                if !truthful {
                    return broken(
                        "I5",
                        format!("cancel of {run_id} was answered untruthfully: it is {:?}", run.status()),
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

fn borrowed(key: &Option<(String, String)>) -> Option<(&str, &str)> {
    key.as_ref().map(|(key, payload)| (key.as_str(), payload.as_str()))
}
