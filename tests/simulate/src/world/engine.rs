//! The engine at work: claims, waits, ends, and the events that tell of them or do not.

use super::callback::handle;
use super::*;
use sluice_core::arn::ExecutionArn;
use sluice_core::run::{RunState, Times};
use sluice_core::step::{Step, StepStatus};
use sluice_testkit::engine::Execution;

impl World {
    /// Executions of the first generation that have claimed their run and neither wait nor have ended.
    pub(super) fn working(&self) -> Vec<(ExecutionArn, TenantId, RunId)> {
        let mut working = Vec::new();
        self.engine.each_execution(|arn, execution| {
            let is_apart = crew::is_crew(arn, execution.run_id);
            let waits = self.gates.contains_key(arn) || self.unsure.contains(arn) || is_apart;
            if execution.started && execution.end.is_none() && !waits {
                working.push((arn.clone(), execution.tenant.clone(), execution.run_id));
            }
        });
        working
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
        let paused = self.store.update_run(&tenant, run_id, |run| run.parked(token.clone(), now));
        let Ok(node) = WAITING_NODE.parse::<NodeId>() else {
            return;
        };
        let waits = !paused
            && self.dice.is_armed()
            && self.ledger.may_wait(run_id)
            && self.rng.u32(0..3) == 0
            && self.store.update_run(&tenant, run_id, |run| run.awaiting(node.to_string(), now));
        if waits {
            self.store.begin_wait(&tenant, run_id, &node, &token);
            self.store.seed_step(&tenant, step(run_id, &node, StepStatus::Waiting, now));
        }
        if paused || waits {
            self.note(format_args!("{run_id} {}", if paused { "pauses" } else { "waits for an answer" }));
            self.engine.wait_for(&arn, &token);
            self.gates.insert(arn, Gate { token, node: waits.then_some(node) });
        }
    }

    /// A runner that has its answer goes on.
    pub(super) fn go_on(&mut self) {
        let gates: Vec<(ExecutionArn, Gate)> =
            self.gates.iter().map(|(arn, gate)| (arn.clone(), gate.clone())).collect();
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
                let (tenant, run_id, now) = (&execution.tenant, execution.run_id, self.clock.true_time());
                self.store.end_wait(tenant, run_id, &node);
                self.ledger.took_answer(run_id, &answer);
                let has_failed = answer.starts_with("Worker.Failed");
                let status = if has_failed { StepStatus::Failed } else { StepStatus::Succeeded };
                // The step is written if the run is there: what goes with a run does not come back.
                if self.store.update_run(tenant, run_id, |run| Some(run.clone())) {
                    self.store.seed_step(tenant, step(run_id, &node, status, now));
                }
                if has_failed && execution.end.is_none() {
                    self.engine.end(&arn, EngineEnd::Failed, None, now);
                }
            }
        }
    }

    pub(super) fn claim(&mut self) {
        let mut waiting = self.executions_that(|execution| !execution.started && execution.end.is_none());
        waiting.extend(self.unsure.iter().cloned());
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
                Some(run.in_state(RunState::running(Times::started(now)), now))
            });
        }
        let claimed = self.engine.claim(&self.store, &arn, now);
        if claimed && self.dice.inject(F::ClaimReplyLost, 4) {
            self.unsure.insert(arn.clone());
            let execution = self.engine.execution(&arn).filter(|_| self.rng.bool());
            if let Some(Execution { tenant, run_id, .. }) = execution {
                // It may be cancelled before it is claimed again.
                self.spawn_cancels(&self.caller_of(&tenant), &tenant, run_id);
            }
        } else {
            self.unsure.remove(&arn);
        }
        self.note(format_args!("claim {arn}: {claimed}"));
    }

    pub(super) fn end(&mut self) {
        let working = self.working();
        let Some((arn, _, run_id)) = self.one_of(&working) else { return };
        if self.is_about(TaskKind::Usage, run_id) {
            self.dice.count(F::EndedWithUsage);
        }
        let end = match self.rng.u32(0..10) {
            0..=4 => EngineEnd::Succeeded,
            5..=7 => EngineEnd::Failed,
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
            if details.error.as_ref().is_some_and(|error| error.code == "Sluice.ClaimRefused") {
                self.ledger.refused_claims.insert(execution.run_id);
            }
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
        for queue in self.engine.take_freed() {
            self.tell_of_slot(queue);
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

    fn tell_of_slot(&mut self, queue: QueueRef) {
        let now = self.clock.true_time();
        if !self.dice.inject(F::FreedLost, 2) {
            return self.signals.push((now, Signal::Freed(queue)));
        }
        match self.dice.pick(3) {
            0 => self.note(format_args!("lost: a slot of {queue:?}")),
            1 => self.signals.extend([(now, Signal::Freed(queue.clone())), (now, Signal::Freed(queue))]),
            _ => {
                let later = now + SignedDuration::from_secs(i64::from(self.dice.pick(600)));
                self.signals.push((later, Signal::Freed(queue)));
            }
        }
    }

    /// Executions by what they are doing.
    fn executions_that(&self, fits: impl Fn(&Execution) -> bool) -> Vec<ExecutionArn> {
        let mut fitting = Vec::new();
        self.engine.each_execution(|arn, execution| {
            if fits(execution) {
                fitting.push(arn.clone());
            }
        });
        fitting
    }

    pub(super) fn signal(&mut self) {
        let now = self.clock.true_time();
        if let Some(until) = self.crowded_until {
            if now < until {
                return self.dice.count(F::FunctionCrowded);
            }
            // All that has waited comes at once.
            self.crowded_until = None;
            let (due, later): (Vec<_>, Vec<_>) = self.signals.drain(..).partition(|(at, _)| *at <= now);
            self.signals = later;
            due.into_iter().for_each(|(_, signal)| self.callback(signal));
            return;
        }
        let due: Vec<usize> = (0..self.signals.len()).filter(|&index| self.signals[index].0 <= now).collect();
        if due.is_empty() {
            return;
        }
        let chosen = self.rng.usize(0..due.len());
        if chosen > 0 {
            self.dice.count(F::EventReordered);
        }
        let (_, signal) = self.signals.swap_remove(due[chosen]);
        if self.dice.inject(F::CallbackGivenUp, 16) {
            return self.note(format_args!("given up: {signal:?}"));
        }
        self.callback(signal);
    }

    pub(super) fn odd_things(&mut self) {
        if !self.dice.is_armed() {
            return;
        }
        let ended = self.executions_that(|execution| execution.end.is_some());
        match self.rng.u32(0..17) {
            0..=3 => {
                // A redrive after the run has ended: it runs again, succeeds and says so, and changes no run.
                let failed = self.executions_that(|execution| {
                    execution.started && matches!(execution.end, Some((EngineEnd::Failed, _)))
                });
                if let Some(arn) = self.one_of(&failed)
                    && let Some(execution) = self.engine.execution(&arn)
                    && self.store.run(&execution.tenant, execution.run_id).is_some_and(|run| run.status().is_terminal())
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
            4 => {
                // A stranger's execution takes the name of a run that is just being made.
                let making = self.known.last().cloned();
                if let Some((tenant, run_id)) = making
                    && self.store.run(&tenant, run_id).is_none()
                    && self.tasks.iter().any(|task| task.kind == TaskKind::Create)
                {
                    self.dice.count(F::ForeignStart);
                    self.ledger.started_by_others.insert(run_id);
                    self.engine.start_foreign(&self.machine_of(run_id), run_id, &tenant);
                    self.note(format_args!("foreign start {run_id}"));
                }
            }
            5 => {
                self.dice.count(F::ForeignEvent);
                if let Some((tenant, run_id)) = self.some_run() {
                    let arn = "arn:aws:states:eu-west-1:999999999999:execution:other:x".parse().expect("an ARN");
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
            6..=8 => {
                let forgettable: Vec<ExecutionArn> = ended
                    .into_iter()
                    .filter(|arn| {
                        let execution = self.engine.execution(arn);
                        let run = execution.and_then(|one| self.store.run(&one.tenant, one.run_id));
                        run.is_some_and(|run| !run.status().is_terminal() && run.state.started_at().is_some())
                    })
                    .collect();
                if let Some(arn) = self.one_of(&forgettable)
                    && let Some(execution) = self.engine.execution(&arn)
                {
                    self.dice.count(F::HistoryGone);
                    self.ledger.forgotten.insert(execution.run_id);
                    self.engine.forget(&arn);
                    self.note(format_args!("forgotten {arn}"));
                }
            }
            9 => {
                let refused = self.rng.bool();
                if refused {
                    self.dice.count(F::StateMachineGone);
                }
                self.engine.refuse_starts(refused.then_some("StateMachineDoesNotExist"));
            }
            10 => {
                self.dice.count(F::PartialOutage);
                let who = if self.rng.bool() { "store" } else { "engine" };
                let until = self.clock.true_time() + SignedDuration::from_mins(30);
                lock(&self.weather).away.insert(who, until);
                self.note(format_args!("{who} away until {until}"));
            }
            11 => {
                self.dice.count(F::KeyAfterItsTime);
                self.clock.advance(SignedDuration::from_hours(25));
                self.note("a day later");
            }
            16 => {
                let until = self.clock.true_time() + SignedDuration::from_secs(self.rng.i64(1..1_800));
                self.crowded_until = Some(until);
                self.note(format_args!("nobody is invoked until {until}"));
            }
            12..=13 => {
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
                // An event of a run that is still being made, or was refused.
                let unrecorded = self.known.iter().filter(|(tenant, id)| self.store.run(tenant, *id).is_none());
                let unrecorded: Vec<_> = unrecorded.cloned().collect();
                if let Some((tenant, run_id)) = self.one_of(&unrecorded) {
                    let arn = self.machine_of(run_id).execution(run_id);
                    let was_there = self.ledger.is_gone(run_id, self.clock.true_time());
                    self.dice.count(if was_there { F::EventAfterPurge } else { F::EventBeforeRecord });
                    // At once: later it would be a lie about an execution of ours.
                    let (end, details) = (EngineEnd::Aborted, EndDetails::default());
                    let signal = Signal::Ended { arn, tenant, run_id, end, details };
                    let clock = self.instance_clock();
                    let (store, engine) = (&self.store, &self.engine);
                    let handled = handle(store, engine, &self.receiver, &clock, self.play.mutation, &signal);
                    let _nothing_to_do = sluice_testkit::block_on(handled);
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

fn step(run_id: RunId, node_id: &NodeId, status: StepStatus, now: Timestamp) -> Step {
    Step {
        run_id,
        node_id: node_id.clone(),
        node_type: "external".to_owned(),
        stage: 1,
        status,
        attempt: 1,
        started_at: Some(now),
        ended_at: (status != StepStatus::Waiting).then_some(now),
        result: None,
        result_bytes: None,
        error: None,
        progress: None,
        iteration: None,
        fan: None,
    }
}
