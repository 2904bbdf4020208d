//! The engine at work: claims, waits, ends, and the events that tell of them or do not.

use super::*;

impl World {
    /// Executions that have claimed their run and neither wait nor have ended.
    pub(super) fn working(&self) -> Vec<(String, TenantId, RunId)> {
        let executions = self.engine.executions().into_iter();
        let working = executions
            .filter(|(arn, execution)| execution.started && execution.end.is_none() && !self.gates.contains_key(arn));
        working.map(|(arn, execution)| (arn, execution.tenant, execution.run_id)).collect()
    }

    /// A runner reaches a stage boundary, where it may have to pause, or a node that waits for an answer.
    pub(super) fn reach_boundary(&mut self) {
        let working = self.working();
        let Some((arn, tenant, run_id)) = self.one_of(&working) else {
            return;
        };
        let now = self.clock.true_time();
        self.tokens += 1;
        let token = format!("token-{}", self.tokens);
        let paused = self.store.update_run(&tenant, run_id, |run| {
            run.pause_requested_at?;
            let mut after = run.after(RunEvent::PauseTaken, now)?;
            after.pause_token = Some(token.clone());
            Some(after)
        });
        let Ok(node) = WAITING_NODE.parse::<NodeId>() else {
            return;
        };
        let waits = !paused
            && self.dice.is_armed()
            && self.ledger.may_wait(run_id)
            && self.rng.u32(0..3) == 0
            && self.store.update_run(&tenant, run_id, |run| {
                let mut after = run.after(RunEvent::InputAwaited, now)?;
                after.waiting_nodes.insert(node.to_string());
                Some(after)
            });
        if waits {
            self.store.begin_wait(&tenant, run_id, &node, &token);
        }
        if paused || waits {
            self.note(format_args!("{run_id} {}", if paused { "pauses" } else { "waits for an answer" }));
            self.engine.wait_for(&arn, &token);
            self.gates.insert(arn, Gate { token, node: waits.then_some(node) });
        }
    }

    /// A runner that has its answer goes on.
    pub(super) fn go_on(&mut self) {
        let gates: Vec<(String, Gate)> = self.gates.iter().map(|(arn, gate)| (arn.clone(), gate.clone())).collect();
        for (arn, gate) in gates {
            let Some(execution) = self.engine.execution(&arn) else {
                continue;
            };
            let Some(answer) = self.engine.take_answer(&gate.token) else {
                continue;
            };
            self.gates.remove(&arn);
            self.note(format_args!("{} goes on", execution.run_id));
            if let Some(node) = gate.node {
                self.store.end_wait(&execution.tenant, execution.run_id, &node);
                self.ledger.took_answer(execution.run_id, &answer);
            }
        }
    }

    pub(super) fn claim(&mut self) {
        let waiting: Vec<String> = self
            .engine
            .executions()
            .into_iter()
            .filter(|(_, execution)| !execution.started && execution.end.is_none())
            .map(|(arn, _)| arn)
            .collect();
        let Some(arn) = self.one_of(&waiting) else { return };
        let now = self.clock.true_time();
        if self
            .engine
            .execution(&arn)
            .is_some_and(|execution| self.ledger.started_by_others.contains(&execution.run_id))
        {
            // Without our input it cannot even find the run.
            self.engine.end(&arn, EngineEnd::Failed, None, now);
            return;
        }
        if self.play.mutation == Some(Mutation::ClaimUnconditional) {
            let Some(execution) = self.engine.execution(&arn) else {
                return;
            };
            self.store.update_run(&execution.tenant, execution.run_id, |run| {
                Some(Run { status: RunStatus::Running, rev: run.rev + 1, started_at: Some(now), ..run.clone() })
            });
        }
        let claimed = self.engine.claim(&self.store, &arn, now);
        self.note(format_args!("claim {arn}: {claimed}"));
    }

    pub(super) fn end(&mut self) {
        let running: Vec<String> = self.working().into_iter().map(|(arn, _, _)| arn).collect();
        let Some(arn) = self.one_of(&running) else { return };
        let end = match self.rng.u32(0..10) {
            0..=5 => EngineEnd::Succeeded,
            6..=7 => EngineEnd::Failed,
            8 => EngineEnd::TimedOut,
            _ => EngineEnd::Aborted,
        };
        self.engine.end(&arn, end, Some(r#"{"results":{}}"#), self.clock.true_time());
        self.note(format_args!("end {arn}: {end:?}"));
    }

    /// Puts the status events of new ends on their way, or loses them.
    pub(super) fn notice_ends(&mut self) {
        let changes = self.engine.changes();
        if std::mem::replace(&mut self.noticed, changes) == changes {
            return;
        }
        for (arn, execution) in self.engine.executions() {
            let Some((end, details)) = execution.end else { continue };
            if self.ledger.started_by_others.contains(&execution.run_id) || !self.told_ends.insert(arn.clone()) {
                continue;
            }
            self.ledger.engine_ends.entry(execution.run_id).or_insert(end);
            if self.dice.inject(F::EventLost, 4) {
                self.note(format_args!("lost: the event of {arn}"));
                continue;
            }
            let repeats = if self.dice.inject(F::EventRepeated, 4) { self.dice.pick(9) + 2 } else { 1 };
            for _ in 0..repeats {
                let delay = if self.dice.inject(F::EventDelayed, 8) { i64::from(self.dice.pick(86_400)) } else { 0 };
                let mut details = details.clone();
                if self.dice.inject(F::OutputExcluded, 6) {
                    details.output = None;
                }
                let signal = Signal::Ended {
                    arn: arn.clone(),
                    tenant: execution.tenant.clone(),
                    run_id: execution.run_id,
                    end,
                    details,
                };
                self.signals.push((self.clock.true_time() + SignedDuration::from_secs(delay), signal));
            }
        }
        for due in self.engine.take_announced() {
            if self.rng.u32(0..10) == 0 {
                continue; // lost on the bus; the sweep finds it again
            }
            if self.rng.u32(0..6) == 0 {
                self.dice.count(F::TwoSenders);
                self.signals.push((self.clock.true_time(), Signal::Due(due.clone())));
            }
            self.signals.push((self.clock.true_time(), Signal::Due(due)));
        }
    }

    pub(super) fn signal(&mut self) {
        let now = self.clock.true_time();
        let due: Vec<usize> = (0..self.signals.len()).filter(|&index| self.signals[index].0 <= now).collect();
        if due.is_empty() {
            return;
        }
        let chosen = self.rng.usize(0..due.len());
        if chosen > 0 {
            self.dice.count(F::EventReordered);
        }
        let (_, signal) = self.signals.swap_remove(due[chosen]);
        self.callback(signal);
    }

    pub(super) fn odd_things(&mut self) {
        if !self.dice.is_armed() {
            return;
        }
        let ended: Vec<String> = self
            .engine
            .executions()
            .into_iter()
            .filter(|(_, execution)| execution.end.is_some())
            .map(|(arn, _)| arn)
            .collect();
        match self.rng.u32(0..9) {
            0 => {
                // A redrive after the run has ended: it runs again, succeeds and says so, and changes no run.
                if let Some(arn) = self.one_of(&ended)
                    && let Some(execution) = self.engine.execution(&arn)
                    && self.store.run(&execution.tenant, execution.run_id).is_some_and(|run| run.status.is_terminal())
                    && self.engine.redrive(&arn)
                {
                    self.dice.count(F::EngineRedrive);
                    self.note(format_args!("redrive {arn}"));
                    let now = self.clock.true_time();
                    if let Some((end, details)) = self.engine.end(&arn, EngineEnd::Succeeded, None, now) {
                        let signal =
                            Signal::Ended { arn, tenant: execution.tenant, run_id: execution.run_id, end, details };
                        self.signals.push((now, signal));
                    }
                }
            }
            1 => {
                // A stranger's execution takes the name of a run that is just being made.
                let making = self.known.last().cloned();
                if let Some((tenant, run_id)) = making
                    && self.store.run(&tenant, run_id).is_none()
                    && self.tasks.iter().any(|task| task.kind == TaskKind::Create)
                {
                    self.dice.count(F::ForeignStart);
                    self.ledger.started_by_others.insert(run_id);
                    self.engine.start_foreign(fixture::RUNNER_ARN, run_id, &tenant);
                    self.note(format_args!("foreign start {run_id}"));
                }
            }
            2 => {
                self.dice.count(F::ForeignEvent);
                if let Some((tenant, run_id)) = self.some_run() {
                    let arn = "arn:aws:states:eu-west-1:999999999999:execution:other:x".to_owned();
                    let signal = Signal::Ended {
                        arn,
                        tenant,
                        run_id,
                        end: EngineEnd::Succeeded,
                        details: EndDetails::default(),
                    };
                    self.signals.push((self.clock.true_time(), signal));
                }
            }
            3 => {
                if let Some(arn) = self.one_of(&ended)
                    && let Some(execution) = self.engine.execution(&arn)
                    && self
                        .store
                        .run(&execution.tenant, execution.run_id)
                        .is_some_and(|run| !run.status.is_terminal() && run.started_at.is_some())
                {
                    self.dice.count(F::HistoryGone);
                    self.ledger.forgotten.insert(execution.run_id);
                    self.engine.forget(&arn);
                    self.note(format_args!("forgotten {arn}"));
                }
            }
            4 => {
                let refused = self.rng.bool();
                if refused {
                    self.dice.count(F::StateMachineGone);
                }
                self.engine.refuse_starts(refused.then_some("StateMachineDoesNotExist"));
            }
            5 => {
                self.dice.count(F::PartialOutage);
                let who = if self.rng.bool() { "store" } else { "engine" };
                let until = self.clock.true_time() + SignedDuration::from_mins(30);
                lock(&self.outage).insert(who, until);
                self.note(format_args!("{who} away until {until}"));
            }
            6 => {
                self.dice.count(F::KeyAfterItsTime);
                self.clock.advance(SignedDuration::from_hours(25));
                self.note("a day later");
            }
            7 => {
                // Somebody repeats a start that was made long ago.
                let executions: Vec<_> =
                    self.engine.executions().into_values().filter(|execution| execution.end.is_some()).collect();
                if let Some(execution) = executions.first() {
                    self.dice.count(F::ClosedName);
                    let request = StartRequest {
                        state_machine_arn: &execution.state_machine_arn,
                        run_id: execution.run_id,
                        input: &execution.input,
                    };
                    let _answer = sluice_testkit::block_on(self.engine.start_execution(&request));
                }
            }
            _ => {
                let executions: Vec<_> = self.engine.executions().into_values().collect();
                if let Some(execution) = executions.first() {
                    self.spawn_create(self.callers[0].clone(), Some(("key-1".to_owned(), "payload-0".to_owned())));
                    self.note(format_args!("repeat beside {}", execution.run_id));
                }
            }
        }
    }

    pub(super) fn pass_time(&mut self) {
        let milliseconds = match self.rng.u32(0..20) {
            0 => self.rng.i64(1..3_600_000),
            1..=4 => self.rng.i64(1..90_000),
            _ => self.rng.i64(1..2_000),
        };
        self.clock.advance(SignedDuration::from_millis(milliseconds));
    }
}
