//! Executions of the second generation's state machine at work: their workers ask what to do, do it, and ask again.

use super::*;
use crate::course;
use crate::invariant::{Attempt, Plan};
use crate::mutant::WordEngine;
use serde_json::Value;
use sluice_core::flow::advance_run::{Asked as Question, Conclusion, Ended, advance_run, conclude};
use sluice_core::flow::read_runs::{get_step, list_steps};
use sluice_core::generation::Generation;
use sluice_core::ports::{AnswerTask, TaskAnswer, WaitingWorker};
use sluice_core::report::NodeOutcome;
use sluice_core::run::RunError;
use sluice_core::step::Step;
use sluice_core::usage::LlmCall;

/// The workers of one execution.
pub(super) struct Crew {
    tenant: TenantId,
    run_id: RunId,
    workers: Vec<Worker>,
    /// The invocation that is to say how it ended.
    conclusion: Option<u64>,
}

struct Worker {
    turn: u32,
    tries: u32,
    ended: Option<Ended>,
    doing: Doing,
}

enum Doing {
    Asking,
    /// With the token of the last try; its invocation, as long as nobody knows that it failed.
    Waiting {
        token: String,
        call: Option<u64>,
    },
    Working {
        attempt: Attempt,
        until: Timestamp,
        is_timed_out: bool,
    },
    Left,
}

/// The invocation of `advance-run` by a worker, or of the machine's last question.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub arn: ExecutionArn,
    /// `None`: how the run ended.
    worker: Option<usize>,
    token: String,
    number: u64,
    /// Whether it has told anybody else.
    told: Arc<Mutex<bool>>,
}

/// Tries of one question before a machine gives it up.
const TRIES: u32 = 9;

/// Whether an execution is one of workers.
pub(super) fn is_crew(arn: &ExecutionArn, run_id: RunId) -> bool {
    *arn == fixture::second_runner_arn().execution(run_id)
}

impl World {
    /// Runs of the second generation are held to what was drawn.
    pub(super) fn note_plans(&mut self) {
        let mut unknown = Vec::new();
        self.store.each_run(|run| {
            if run.spec.generation() == Generation::Second && self.ledger.plan(run.run_id).is_none() {
                unknown.push(run.clone());
            }
        });
        for run in unknown {
            let course = &self.courses[(run.spec.version as usize + 1) % 2];
            let snapshot = sluice_testkit::block_on(self.calm().load_snapshot(&run.tenant_id, run.run_id));
            if let Ok(Some(snapshot)) = snapshot {
                self.ledger.keep_plan(run.run_id, Plan::new(&snapshot, course));
            }
        }
    }

    /// The table without faults, for those who look on.
    fn calm(&self) -> MemoryStore {
        let mut calm = self.store.clone();
        calm.faults = sluice_testkit::fault::Faults::default();
        calm
    }

    /// Gives executions their workers that have claimed their runs, and takes them from those that are over.
    fn man(&mut self) {
        let mut running = Vec::new();
        self.engine.each_execution(|arn, execution| {
            if execution.started && execution.end.is_none() && is_crew(arn, execution.run_id) {
                let input = if self.crews.contains_key(arn) { String::new() } else { execution.input.clone() };
                running.push((arn.clone(), execution.tenant.clone(), execution.run_id, input));
            }
        });
        let present: BTreeSet<ExecutionArn> = running.iter().map(|(arn, ..)| arn.clone()).collect();
        self.crews.retain(|arn, _| present.contains(arn));
        for (arn, tenant, run_id, input) in running {
            if self.crews.contains_key(&arn) || self.unsure.contains(&arn) {
                continue;
            }
            let input: Value = serde_json::from_str(&input).unwrap_or_default();
            let count = input["workers"].as_array().map_or(0, Vec::len);
            let worker = |_| Worker { turn: 1, tries: 0, ended: None, doing: Doing::Asking };
            let workers = (0..count).map(worker).collect();
            self.crews.insert(arn, Crew { tenant, run_id, workers, conclusion: None });
        }
    }

    /// Something happens to some workers of one execution.
    pub(super) fn work(&mut self) -> Check {
        self.man();
        let arns: Vec<ExecutionArn> = self.crews.keys().cloned().collect();
        let Some(arn) = self.one_of(&arns) else { return Ok(()) };
        if self.dice.is_armed() && self.rng.u32(0..150) == 0 {
            let end = if self.rng.bool() { EngineEnd::TimedOut } else { EngineEnd::Aborted };
            self.engine.end(&arn, end, None, self.clock.true_time());
            self.note(format_args!("end {arn}: {end:?}"));
            return Ok(());
        }
        let able = self.able(&arn, false);
        for worker in able {
            if self.rng.u32(0..4) > 0 {
                self.act(&arn, worker)?;
            }
        }
        self.ask_for_the_end(&arn);
        Ok(())
    }

    /// Everybody does all that there is to do, in no time.
    pub(super) fn work_on(&mut self) -> Check {
        for _ in 0..400 {
            self.man();
            let arns: Vec<ExecutionArn> = self.crews.keys().cloned().collect();
            let mut is_idle = true;
            for arn in arns {
                for worker in self.able(&arn, true) {
                    is_idle = false;
                    self.act(&arn, worker)?;
                }
                is_idle &= !self.ask_for_the_end(&arn);
            }
            if is_idle {
                return Ok(());
            }
            self.drain()?;
        }
        broken("B3", "workers go on for ever")
    }

    /// The workers that can do something; in a hurry, no attempt takes time.
    fn able(&self, arn: &ExecutionArn, in_a_hurry: bool) -> Vec<usize> {
        let now = self.clock.true_time();
        let is_careless = self.play.mutation == Some(Mutation::QuestionNotRepeated);
        let can = |worker: &Worker| match &worker.doing {
            Doing::Asking => true,
            Doing::Waiting { token, call } => !self.engine.is_waited_for(token) || (call.is_none() && !is_careless),
            Doing::Working { until, .. } => in_a_hurry || *until <= now,
            Doing::Left => false,
        };
        let workers = self.crews.get(arn).map(|crew| crew.workers.as_slice()).unwrap_or_default();
        (0..workers.len()).filter(|index| can(&workers[*index])).collect()
    }

    fn act(&mut self, arn: &ExecutionArn, index: usize) -> Check {
        let Some(worker) = self.crews.get_mut(arn).and_then(|crew| crew.workers.get_mut(index)) else { return Ok(()) };
        match std::mem::replace(&mut worker.doing, Doing::Asking) {
            Doing::Asking => self.ask(arn, index),
            Doing::Waiting { token, .. } => {
                // Without an answer its invocation has failed: it asks again.
                if let Some(Ok(told)) = self.engine.take_outcome(&token) {
                    return self.hear_word(arn, index, &told);
                }
            }
            Doing::Working { attempt, is_timed_out, .. } => self.end_attempt(arn, index, attempt, is_timed_out),
            Doing::Left => worker.doing = Doing::Left,
        }
        Ok(())
    }

    fn ask(&mut self, arn: &ExecutionArn, index: usize) {
        self.tokens += 1;
        let token = format!("worker-{}", self.tokens);
        let (mutation, is_armed) = (self.play.mutation, self.dice.is_armed());
        let Some(crew) = self.crews.get_mut(arn) else { return };
        let (tenant, run_id) = (crew.tenant.clone(), crew.run_id);
        let Some(worker) = crew.workers.get_mut(index) else { return };
        worker.tries += 1;
        if worker.tries > TRIES && is_armed {
            self.dice.count(F::Undecided);
            let error = Some(RunError::new("Sluice.Undecided", "nobody could tell a worker what to do", 512));
            let stopped_at = Some(self.clock.true_time());
            self.engine.end_with(arn, EngineEnd::Failed, EndDetails { stopped_at, output: None, error });
            return self.note(format_args!("{run_id} is undecided"));
        }
        let mut ended = worker.ended.clone();
        if let Some(ended) = &mut ended
            && mutation == Some(Mutation::UsageOfFirstTry)
            && worker.tries > 1
        {
            ended.usage.clear();
        }
        let (turn, tries) = (worker.turn, worker.tries);
        self.calls += 1;
        worker.doing = Doing::Waiting { token: token.clone(), call: Some(self.calls) };
        if let Some(ended) = ended.as_ref().filter(|ended| tries == 1 && !ended.usage.is_empty()) {
            self.ledger.try_usage(&tenant, run_id, &ended.usage);
        }
        if self.is_about(TaskKind::Advance, run_id) {
            self.dice.count(F::TwoChanges);
        }
        self.engine.wait_for(arn, &token);
        let question = Question { tenant_id: tenant.clone(), run_id, worker: index, turn, token: token.clone(), ended };
        let (store, clock) = (self.store.clone(), self.instance_clock());
        let told = Arc::new(Mutex::new(false));
        let engine = WordEngine {
            engine: self.engine.clone(),
            own: token.clone(),
            told: Arc::clone(&told),
            mutation,
            dice: self.dice.clone(),
        };
        let call = Call { arn: arn.clone(), worker: Some(index), token, number: self.calls, told };
        let about = call.clone();
        let what = format!("turn {turn} of worker {index} of {run_id}, try {tries}");
        self.spawn(TaskKind::Advance, Some((&tenant, run_id)), what, async move {
            let now = clock.now();
            let is_done = match advance_run(&store, &engine, question, now).await {
                Ok(()) => true,
                Err(error) => {
                    // So that its state asks again; where that fails, the failed invocation says it.
                    let failure = TaskAnswer::Failure { error: "Sluice.Again", cause: &error.to_string() };
                    let _whether_it_worked = engine.engine.answer_task(&engine.own, &failure).await;
                    false
                }
            };
            Told::Advanced { call, is_done }
        });
        if let Some(task) = self.tasks.last_mut() {
            task.call = Some(about);
        }
    }

    /// An invocation is over; one that failed, or died, is tried again.
    pub(super) fn hear_advanced(&mut self, call: &Call, is_done: bool) {
        let Some(crew) = self.crews.get_mut(&call.arn) else { return };
        let Some(index) = call.worker else {
            if crew.conclusion == Some(call.number) {
                crew.conclusion = None;
            }
            return;
        };
        if let Some(Doing::Waiting { call: waited, .. }) = crew.workers.get_mut(index).map(|worker| &mut worker.doing)
            && *waited == Some(call.number)
            && !is_done
        {
            *waited = None;
        }
    }

    /// An invocation dies once in so many turns: more often where it has told somebody.
    pub(super) fn danger(&self, call: &Call) -> u32 {
        let has_told_asker = call.worker.is_some() && !self.engine.is_waited_for(&call.token);
        match (has_told_asker || *lock(&call.told), self.play.only_workers) {
            (true, false) => 4,
            (false, false) => 80,
            (true, true) => 2,
            (false, true) if call.worker.is_none() => 2,
            (false, true) => 20,
        }
    }

    /// What the death of an invocation leaves behind.
    pub(super) fn count_death(&self, call: &Call) {
        let Some(crew) = self.crews.get(&call.arn) else { return };
        let Some(index) = call.worker else { return self.dice.count(F::DiedConcluding) };
        let stored = self.store.waiting_worker(&crew.tenant, crew.run_id, index);
        let has_written = stored.is_some_and(|WaitingWorker { token, .. }| token == call.token);
        let is_untold = self.engine.is_waited_for(&call.token);
        self.dice.count(match (has_written, *lock(&call.told), is_untold) {
            (false, _, _) => F::DiedBeforeWrite,
            (true, false, true) => F::DiedBeforeTelling,
            (true, true, true) => F::DiedBeforeAsker,
            (true, _, false) => F::DiedAfterAsker,
        });
    }

    /// Its machine believes an invocation dead that still runs.
    pub(super) fn lose_sight(&mut self) {
        let calls: Vec<Call> = self.tasks.iter().filter_map(|task| task.call.clone()).collect();
        if let Some(call) = self.one_of(&calls)
            && call.worker.is_some()
            && self.dice.inject(F::AskedTwice, 2)
        {
            self.hear_advanced(&call, false);
        }
    }

    fn hear_word(&mut self, arn: &ExecutionArn, index: usize, told: &str) -> Check {
        let Ok(told) = serde_json::from_str::<Value>(told) else { return broken("B4", "a worker was told no JSON") };
        let now = self.clock.true_time();
        let seconds = self.rng.i64(0..8) * self.rng.i64(0..8);
        let Some(crew) = self.crews.get_mut(arn) else { return Ok(()) };
        let (tenant, run_id) = (crew.tenant.clone(), crew.run_id);
        let Some(worker) = crew.workers.get_mut(index) else { return Ok(()) };
        (worker.turn, worker.tries) = (worker.turn + 1, 0);
        let usage = worker.ended.take().map(|ended| ended.usage).unwrap_or_default();
        if told["do"] == "leave" {
            worker.doing = Doing::Left;
            self.note(format_args!("worker {index} of {run_id} leaves"));
            return self.check_counted(&tenant, run_id, &usage);
        }
        let unit = &told["unit"];
        let node = unit["node"].as_str().unwrap_or_default();
        let Some(node) = self.ledger.plan(run_id).and_then(|plan| plan.course.index(node)) else {
            return broken("B4", format!("run {run_id} has no node {node}"));
        };
        let number = |field: &str| unit[field].as_u64().unwrap_or(0);
        let (iteration, tried) = (number("iteration"), number("attempt"));
        let attempt = Attempt { node, item: unit["item"].as_u64(), iteration, attempt: tried };
        if attempt.attempt > 1 {
            self.dice.count(F::AttemptRepeated);
        }
        let timeout = told["timeoutSeconds"].as_i64().unwrap_or(i64::MAX);
        let is_slow = self.play.only_workers && timeout < 60 && self.rng.u32(0..4) == 0;
        let seconds = if is_slow { timeout + 1 } else { seconds };
        let is_timed_out = seconds > timeout;
        let waits = told["seconds"].as_i64().unwrap_or(0).saturating_add(seconds.min(timeout));
        let until = now + SignedDuration::from_secs(waits);
        worker.doing = Doing::Working { attempt: attempt.clone(), until, is_timed_out };
        self.note(format_args!("worker {index} of {run_id} is told {unit}"));
        self.check_counted(&tenant, run_id, &usage)?;
        self.ledger.told_attempt(run_id, attempt, &told["request"])
    }

    /// Whoever goes on has had its usage counted.
    fn check_counted(&self, tenant: &TenantId, run_id: RunId, usage: &[LlmCall]) -> Check {
        let Some(run) = self.store.run(tenant, run_id).filter(|run| !run.status().is_terminal()) else { return Ok(()) };
        let counted = self.store.calls(tenant, run_id);
        match usage.iter().find(|call| !counted.iter().any(|one| one.call_id == call.call_id)) {
            Some(call) => broken("I6", format!("run {} went on, and {} is not counted", run.run_id, call.call_id)),
            None => Ok(()),
        }
    }

    fn end_attempt(&mut self, arn: &ExecutionArn, index: usize, attempt: Attempt, is_timed_out: bool) {
        let came = match self.rng.u32(0..8) {
            _ if is_timed_out => {
                self.dice.count(F::AttemptTimedOut);
                Err("States.Timeout".to_owned())
            }
            0 => Err("Broken".to_owned()),
            1 if self.rng.u32(0..4) == 0 => Err("States.DataLimitExceeded".to_owned()),
            _ => Ok(course::result(&mut self.rng)),
        };
        let has_used = came.is_ok() && self.rng.u32(0..4) == 0;
        let cost = self.rng.u64(0..1_500);
        let usage = if has_used { vec![self.call(cost)] } else { Vec::new() };
        let Some(crew) = self.crews.get_mut(arn) else { return };
        let (run_id, Some(worker)) = (crew.run_id, crew.workers.get_mut(index)) else { return };
        let Some(node_id) = self.ledger.plan(run_id).map(|plan| plan.course.nodes[attempt.node].id.clone()) else {
            return;
        };
        let outcome = match &came {
            Ok(value) => NodeOutcome::Result(value.to_string()),
            Err(code) => NodeOutcome::Failure(RunError { code: code.clone(), message: "it failed".to_owned() }),
        };
        worker.ended = Some(Ended {
            node_id,
            item: attempt.item.map(|item| item as u32),
            iteration: attempt.iteration as u32,
            attempt: attempt.attempt as u32,
            outcome,
            is_final: came.as_ref().is_err_and(|code| code == "States.DataLimitExceeded"),
            usage,
        });
        worker.doing = Doing::Asking;
        self.note(format_args!("worker {index} of {run_id} has ended {attempt:?}: {came:?}"));
        self.ledger.attempt_came(run_id, attempt, came);
    }

    /// Where all workers have left, the machine asks how the run ended. Whether it does.
    fn ask_for_the_end(&mut self, arn: &ExecutionArn) -> bool {
        let Some(crew) = self.crews.get_mut(arn) else { return false };
        let have_left = crew.workers.iter().all(|worker| matches!(worker.doing, Doing::Left));
        if !have_left || crew.conclusion.is_some() {
            return false;
        }
        self.calls += 1;
        crew.conclusion = Some(self.calls);
        let (tenant, run_id, store) = (crew.tenant.clone(), crew.run_id, self.store.clone());
        let (token, told) = (String::new(), Arc::default());
        let call = Call { arn: arn.clone(), worker: None, token, number: self.calls, told };
        let about = call.clone();
        self.spawn(TaskKind::Advance, Some((&tenant.clone(), run_id)), format!("the end of {run_id}"), async move {
            match conclude(&store, &tenant, run_id).await {
                Ok(conclusion) => Told::Concluded { call, tenant, run_id, conclusion },
                Err(_) => Told::Advanced { call, is_done: false },
            }
        });
        if let Some(task) = self.tasks.last_mut() {
            task.call = Some(about);
        }
        true
    }

    pub(super) fn hear_conclusion(
        &mut self,
        call: &Call,
        tenant: &TenantId,
        run_id: RunId,
        conclusion: Conclusion,
    ) -> Check {
        let is_waited_for = self.crews.get(&call.arn).is_some_and(|crew| crew.conclusion == Some(call.number));
        if !is_waited_for || self.store.run(tenant, run_id).is_none() {
            return Ok(());
        }
        let stopped_at = Some(self.clock.true_time());
        let has_failed = matches!(conclusion, Conclusion::Failure { .. });
        let (end, details) = match conclusion {
            Conclusion::Results(results) => {
                let output = Some(format!(r#"{{"results":{results}}}"#));
                (EngineEnd::Succeeded, EndDetails { stopped_at, output, error: None })
            }
            Conclusion::Failure { error, cause } => {
                let error = Some(RunError::from_engine(&error, &cause));
                (EngineEnd::Failed, EndDetails { stopped_at, output: None, error })
            }
        };
        self.note(format_args!("{run_id} is decided: {end:?}"));
        self.engine.end_with(&call.arn, end, details);
        self.crews.remove(&call.arn);
        let steps = self.shown_steps(tenant, run_id);
        self.ledger.check_answers(run_id, &steps)?;
        self.ledger.check_shown_steps(run_id, has_failed, &steps)
    }

    /// The steps of a run as a caller reads them, each with its result; none where the run is not shown any more.
    fn shown_steps(&self, tenant: &TenantId, run_id: RunId) -> Vec<Step> {
        let (store, caller, now) = (self.calm(), self.caller_of(tenant), self.clock.true_time());
        let listed = sluice_testkit::block_on(list_steps(&store, &caller, run_id, 100, None, now));
        let steps = listed.map(|page| page.items).unwrap_or_default();
        let whole = |step: Step| {
            let read = get_step(&store, &caller, run_id, &step.node_id, now);
            sluice_testkit::block_on(read).unwrap_or(step)
        };
        steps.into_iter().map(whole).collect()
    }

    /// Whether a run is one of workers, and how its board stands to a pause, a stop or an answer that comes now.
    pub(super) fn count_races(&self, tenant: &TenantId, run_id: RunId, kind: Race) {
        let Some(record) = self.store.board(tenant, run_id) else { return };
        let Some(plan) = self.ledger.plan(run_id) else { return };
        match kind {
            Race::Pause if record.board.under_way().len() == 1 => self.dice.count(F::PausedAtLast),
            Race::Stop => {
                let loops = |node: &usize| matches!(plan.course.nodes[*node].kind, course::Kind::Loop);
                if record.board.under_way().iter().any(loops) {
                    self.dice.count(F::StoppedInLoop);
                }
            }
            Race::Answer => {
                let soon = self.clock.true_time() + SignedDuration::from_mins(1);
                if record.wake.is_some_and(|wake| wake.workers.is_empty() && wake.due_at <= soon) {
                    self.dice.count(F::AnswerAtExpiry);
                }
            }
            Race::Pause => {}
        }
    }
}

impl World {
    /// The machine that is to run it.
    pub(super) fn machine_of(&self, run_id: RunId) -> StateMachineArn {
        if self.with_workers.contains(&run_id) { fixture::second_runner_arn() } else { fixture::runner_arn() }
    }

    /// Boards that were due to a sweep, and have changed since it began.
    pub(super) fn count_wakes(&self, woken: &BTreeMap<RunId, u64>) {
        for (run_id, rev) in woken {
            let board = self.ledger.plan(*run_id).and_then(|plan| self.store.board(&plan.tenant, *run_id));
            if board.is_some_and(|board| board.rev > rev + 1) {
                self.dice.count(F::OldWake);
            }
        }
    }
}

/// What comes to a run from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Race {
    Pause,
    Stop,
    Answer,
}
