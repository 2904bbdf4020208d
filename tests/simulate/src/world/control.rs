//! What callers do to a run under way.

use super::*;

impl World {
    /// Pause, resume, answer, send again: what callers do to a run under way.
    pub(super) fn control(&mut self) {
        // Mostly what fits the run; sometimes anything to any run.
        let choice = self.rng.u32(0..7);
        let fits: fn(&Run) -> bool = match choice {
            0..=1 => |run| run.status() == RunStatus::Running,
            2 => |run| run.status() == RunStatus::Paused,
            3..=4 => |run| run.status() == RunStatus::WaitingForInput,
            _ => |run| run.status().is_terminal() && run.snapshot.has_callback,
        };
        let fitting = self.runs_that(fits);
        let fitting = self.one_of(&fitting);
        let any = self.some_run();
        let Some((tenant, run_id)) = fitting.or(any) else {
            return;
        };
        let caller = self.caller_of(&tenant);
        let (store, engine, clock) = (self.store.clone(), self.engine.clone(), self.instance_clock());
        let was_gone = self.ledger.is_gone(run_id, self.clock.true_time());
        let about = Some((&tenant, run_id));
        match choice {
            0..=1 => {
                self.count_races(&tenant, run_id, crew::Race::Pause);
                self.spawn(TaskKind::Control, about, format!("pause {run_id}"), async move {
                    let answer = pause_run(&store, &engine, &caller, run_id, clock.now()).await.map(drop);
                    Told::Controlled { run_id, was_gone, gave: None, answer }
                })
            }
            2 => self.spawn_resume(caller, run_id),
            3..=4 => self.spawn_answer(caller, run_id),
            5 => self.spawn(TaskKind::Control, about, format!("send {run_id} again"), async move {
                let answer = redeliver(&store, &engine, &caller, run_id, 1, clock.now()).await.map(drop);
                Told::Controlled { run_id, was_gone, gave: None, answer }
            }),
            _ => self.spawn(TaskKind::Control, None, format!("send what failed of {tenant} again"), async move {
                let since = clock.now() - SignedDuration::from_hours(1);
                let answer = redeliver_failed(&store, &engine, &caller, since, clock.now()).await.map(drop);
                Told::Controlled { run_id, was_gone: false, gave: None, answer }
            }),
        }
    }

    pub(super) fn spawn_resume(&mut self, caller: Caller, run_id: RunId) {
        let (store, engine, clock) = (self.store.clone(), self.engine.clone(), self.instance_clock());
        let was_gone = self.ledger.is_gone(run_id, self.clock.true_time());
        let about = caller.tenant.clone();
        self.spawn(TaskKind::Control, Some((&about, run_id)), format!("resume {run_id}"), async move {
            let answer = resume_run(&store, &engine, &caller, run_id, clock.now()).await.map(drop);
            Told::Controlled { run_id, was_gone, gave: None, answer }
        });
    }

    pub(super) fn spawn_answer(&mut self, caller: Caller, run_id: RunId) {
        let (store, engine, clock) = (self.store.clone(), self.engine.clone(), self.instance_clock());
        self.tokens += 1;
        let value = format!("{{\"answer\":{}}}", self.tokens);
        let Ok(node) = WAITING_NODE.parse::<NodeId>() else {
            return;
        };
        self.ledger.try_answer(run_id, &value);
        self.count_races(&caller.tenant, run_id, crew::Race::Answer);
        let was_gone = self.ledger.is_gone(run_id, self.clock.true_time());
        let about = caller.tenant.clone();
        self.spawn(TaskKind::Control, Some((&about, run_id)), format!("answer {run_id} with {value}"), async move {
            let data = value.clone();
            let answer = answer_node(&store, &engine, &caller, run_id, &node, data, clock.now()).await.map(drop);
            Told::Controlled { run_id, was_gone, gave: Some(value), answer }
        });
    }
}
