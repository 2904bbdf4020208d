//! The world: who acts, in which order, and what goes wrong.

use crate::clock::SimClock;
use crate::fault::{Dice, FaultKind as F};
use crate::invariant::{Check, Ledger, broken};
use crate::mutant::{Mutation, SweepEngine};
use crate::receiver::{Received, SimReceiver};
use crate::{Outcome, Play};
use jiff::{SignedDuration, Timestamp};
use serde_json::value::RawValue;
use sluice_core::caller::Caller;
use sluice_core::definition::VersionRule;
use sluice_core::flow::cancel_run::{Canceled, cancel_run};
use sluice_core::flow::control_run::{answer_node, pause_run, redeliver, resume_run};
use sluice_core::flow::create_run::{Accepted, Command, Source, create_run};
use sluice_core::flow::deliver::deliver;
use sluice_core::flow::manage_definitions::activate_version;
use sluice_core::flow::reconcile_runs::{Bounds, reconcile_runs};
use sluice_core::flow::replay_run;
use sluice_core::flow::settle_run::settle;
use sluice_core::flow::{Answer, Refusal};
use sluice_core::id::{DefinitionRef, NodeId, RunId, TenantId};
use sluice_core::idempotency::{IdempotencyClaim, Operation};
use sluice_core::lifecycle::{EngineEnd, RunEvent, RunStatus};
use sluice_core::ports::{
    Clock, DeliveryRef, DescribeExecution, ExecutionState, LoadRun, ManageDefinitions, StartExecution, StartRequest,
    StoreErrorClass,
};
use sluice_core::run::{EndDetails, Run};
use sluice_core::snapshot::Callback;
use sluice_testkit::engine::MemoryEngine;
use sluice_testkit::fault::{Fault, lock};
use sluice_testkit::fixture;
use sluice_testkit::store::MemoryStore;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// A Lambda invocation, alive until it returns or is killed.
struct Task {
    what: String,
    kind: TaskKind,
    polls: u32,
    /// When Lambda's own timeout kills it.
    until: Timestamp,
    future: Pin<Box<dyn Future<Output = Told>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TaskKind {
    Create,
    Cancel,
    Control,
    Callback,
    Sweep,
    Other,
}

/// What a task tells the outside when it returns.
enum Told {
    Created {
        tenant: TenantId,
        key: Option<(String, String)>,
        answer: Answer<Accepted>,
        at: Timestamp,
    },
    Canceled {
        tenant: TenantId,
        run_id: RunId,
        answer: Answer<Canceled>,
    },
    Controlled {
        run_id: RunId,
        gave: Option<String>,
        answer: Answer<()>,
    },
    /// A callback that failed: Lambda invokes it again.
    Failed(Signal),
    Nothing,
}

/// Why an execution waits, and for which token.
#[derive(Clone, Debug)]
struct Gate {
    token: String,
    /// The external node; `None` at the pause gate.
    node: Option<NodeId>,
}

/// Something on its way to `run-callback`.
#[derive(Clone, Debug)]
enum Signal {
    Ended { arn: String, tenant: TenantId, run_id: RunId, end: EngineEnd, details: EndDetails },
    Due(DeliveryRef),
}

/// No Lambda invocation of Sluice lives longer.
const INVOCATION: SignedDuration = SignedDuration::from_secs(60);
/// The node of the sample pipeline that plays the external one.
const WAITING_NODE: &str = "frequencies";
/// How far the reconciler's time can carry everything: a day of retries, and more.
const QUIET_HOURS: i64 = 48;
/// Runs of one play: enough for races, few enough to look at all of them after every step.
const RUNS: usize = 10;

pub struct World {
    play: Play,
    rng: fastrand::Rng,
    dice: Dice,
    clock: SimClock,
    store: MemoryStore,
    engine: MemoryEngine,
    receiver: SimReceiver,
    callers: Vec<Caller>,
    tasks: Vec<Task>,
    signals: Vec<(Timestamp, Signal)>,
    told_ends: BTreeSet<String>,
    /// Executions that wait, by ARN.
    gates: BTreeMap<String, Gate>,
    tokens: u32,
    known: Vec<(TenantId, RunId)>,
    made: u128,
    ledger: Ledger,
    log: Vec<String>,
    /// What the table, the engine and the receiver were when they were last looked at.
    checked: (u64, u64, usize),
    noticed: u64,
    /// Until when the store and the engine are away.
    outage: Arc<Mutex<BTreeMap<&'static str, Timestamp>>>,
}

impl World {
    pub fn new(play: &Play) -> Self {
        let dice = Dice::new(play);
        let start = "2026-11-22T04:40:00Z".parse().unwrap_or(Timestamp::UNIX_EPOCH);
        let clock = SimClock::new(start);
        let mut store = MemoryStore::default();
        store.laxity = play.mutation.and_then(Mutation::laxity);
        for tenant in ["acme", "other"] {
            sluice_testkit::block_on(seed(&store, tenant, start));
        }
        let engine = MemoryEngine::default();
        let outage = Arc::new(Mutex::new(BTreeMap::new()));
        arm_store(&store, &dice, &clock, &outage);
        arm_engine(&engine, &dice, &clock, &outage);
        let receiver =
            SimReceiver { received: Arc::default(), dice: dice.clone(), store: store.clone(), mutation: play.mutation };
        Self {
            rng: fastrand::Rng::with_seed(play.seed),
            play: play.clone(),
            dice,
            clock,
            store,
            engine,
            receiver,
            callers: vec![fixture::caller("acme"), fixture::caller("other")],
            tasks: Vec::new(),
            signals: Vec::new(),
            told_ends: BTreeSet::new(),
            gates: BTreeMap::new(),
            tokens: 0,
            known: Vec::new(),
            made: 0,
            ledger: Ledger::default(),
            log: Vec::new(),
            checked: (0, 0, 0),
            noticed: 0,
            outage,
        }
    }

    pub fn play(mut self) -> Outcome {
        let violation = self.steps().and_then(|()| self.quiet_down()).err();
        Outcome { injected: self.dice.injected(), faults: self.dice.rolled(), violation, log: self.log }
    }

    fn steps(&mut self) -> Check {
        for _ in 0..self.play.steps {
            self.step()?;
            self.time_out();
            self.notice_ends();
            self.check_now()?;
        }
        Ok(())
    }

    fn check_now(&mut self) -> Check {
        let seen = (self.store.writes(), self.engine.changes(), lock(&self.receiver.received).len());
        if std::mem::replace(&mut self.checked, seen) == seen {
            return Ok(());
        }
        let received: Vec<Received> = lock(&self.receiver.received).clone();
        self.ledger.check_now(&self.store, &self.engine, &received)
    }

    fn note(&mut self, text: impl std::fmt::Display) {
        self.log.push(format!("{} {text}", sluice_core::time::rfc3339_millis(self.clock.true_time())));
    }

    fn step(&mut self) -> Check {
        match self.rng.u32(0..100) {
            0..=5 => self.create(),
            6..=8 => self.cancel(),
            41..=44 => self.control(),
            45..=49 => self.reach_boundary(),
            50 => self.go_on(),
            51 => self.replay(),
            9..=14 => self.claim(),
            15..=18 => self.end(),
            19..=21 => self.sweep(),
            22 => self.odd_things(),
            23..=32 => self.signal(),
            33..=34 => self.kill(),
            35..=39 => self.pass_time(),
            _ => self.poll()?,
        }
        Ok(())
    }

    // ---- who acts ----

    fn instance_clock(&mut self) -> SimClock {
        let skew = if self.dice.inject(F::ClockSkew, 6) { i64::from(self.dice.pick(1_201)) - 600 } else { 0 };
        self.clock.skewed_by(SignedDuration::from_secs(skew))
    }

    fn spawn(&mut self, kind: TaskKind, what: String, future: impl Future<Output = Told> + 'static) {
        self.note(format_args!("begin {what}"));
        let until = self.clock.true_time() + INVOCATION;
        self.tasks.push(Task { what, kind, polls: 0, until, future: Box::pin(future) });
    }

    fn create(&mut self) {
        if self.store.runs().len() >= RUNS {
            return;
        }
        let caller = self.callers[self.rng.usize(0..self.callers.len())].clone();
        let key = self.rng.u32(0..4);
        let key = (key > 0).then(|| (format!("key-{key}"), format!("payload-{}", self.rng.u32(0..2))));
        let racers = if key.is_some() && self.rng.u32(0..4) == 0 { self.rng.u32(2..6) } else { 1 };
        for racer in 0..racers {
            let mut key = key.clone();
            if racer > 0 {
                let other = self.rng.bool();
                self.dice.count(if other { F::RacersOtherPayload } else { F::RacersSamePayload });
                if other && let Some((_, payload)) = &mut key {
                    *payload = format!("payload-{}", self.rng.u32(0..2));
                }
            }
            self.spawn_create(caller.clone(), key);
        }
    }

    fn spawn_create(&mut self, caller: Caller, key: Option<(String, String)>) {
        self.made += 1;
        let run_id = fixture::run_id(u128::from(self.rng.u64(..)) << 64 | self.made);
        let clock = self.instance_clock();
        let (store, engine, mutation) = (self.store.clone(), self.engine.clone(), self.play.mutation);
        let command = command(key.as_ref(), self.rng.u32(0..10) < 7);
        self.known.push((caller.tenant.clone(), run_id));
        if self.dice.inject(F::AliasMoved, 10) {
            self.move_alias(&caller);
        }
        let what = format!("create {run_id} for {} with key {key:?}", caller.tenant);
        self.spawn(TaskKind::Create, what, async move {
            let policy = fixture::policy();
            if mutation == Some(Mutation::StartBeforeWrite) {
                let input = serde_json::json!({"tenantId": caller.tenant}).to_string();
                let request = StartRequest { state_machine_arn: fixture::RUNNER_ARN, run_id, input: &input };
                let _started_too_early = engine.start_execution(&request).await;
            }
            let at = clock.now();
            let answer = create_run(&store, &engine, &policy, &caller, command, run_id, at).await;
            Told::Created { tenant: caller.tenant, key, answer, at }
        });
    }

    fn move_alias(&mut self, caller: &Caller) {
        let (store, caller, now) = (self.store.clone(), caller.clone(), self.clock.now());
        let number = self.rng.u32(1..3);
        self.spawn(TaskKind::Other, format!("activate version {number} for {}", caller.tenant), async move {
            let definition = DefinitionRef::Id(fixture::definition_id(7));
            let _whether_it_worked = activate_version(&store, &caller, &definition, number, now).await;
            Told::Nothing
        });
    }

    fn cancel(&mut self) {
        let Some((tenant, run_id)) = self.some_run() else {
            return;
        };
        let foreign = self.rng.u32(0..5) == 0;
        let caller = self.callers.iter().find(|caller| (caller.tenant != tenant) == foreign).cloned();
        let Some(caller) = caller else { return };
        if foreign {
            self.dice.count(F::ForeignGuess);
        }
        let times = if self.rng.u32(0..3) == 0 { 3 } else { 1 };
        if times > 1 {
            self.dice.count(F::CancelRepeated);
        }
        match self.store.run(&tenant, run_id).map(|run| (run.status, self.engine.execution(&run.execution_arn()))) {
            Some((RunStatus::Pending, None)) => self.dice.count(F::CancelBeforeStart),
            Some((status, Some(execution))) if !status.is_terminal() => {
                self.dice.count(if execution.end.is_some() { F::FinishBeforeCancel } else { F::CancelBeforeFinish });
            }
            _ => {}
        }
        for _ in 0..times {
            let (store, engine, clock, caller) =
                (self.store.clone(), self.engine.clone(), self.instance_clock(), caller.clone());
            let mutation = self.play.mutation;
            self.spawn(TaskKind::Cancel, format!("cancel {run_id} by {}", caller.tenant), async move {
                let answer = if mutation == Some(Mutation::CancelSilentlyIgnored) {
                    match store.load_run(&caller.tenant, run_id).await {
                        Ok(Some(run)) => Ok(Canceled::Already(run)),
                        Ok(None) => Err(Refusal::NotFound { what: "workflow run", id: run_id.to_string() }),
                        Err(error) => Err(Refusal::Store(error)),
                    }
                } else {
                    cancel_run(&store, &engine, &caller, run_id, clock.now()).await
                };
                Told::Canceled { tenant: caller.tenant, run_id, answer }
            });
        }
    }

    fn sweep(&mut self) {
        if self.tasks.iter().any(|task| task.kind == TaskKind::Sweep) {
            self.dice.count(F::TwoSweeps);
        }
        let clock = self.instance_clock();
        let engine = SweepEngine { engine: self.engine.clone(), mutation: self.play.mutation };
        let store = self.store.clone();
        self.spawn(TaskKind::Sweep, "sweep".to_owned(), async move {
            let until = clock.now() + SignedDuration::from_secs(50);
            let bounds = Bounds { describes: 100, deliveries_per_shard: 50, until };
            reconcile_runs(&store, &engine, &clock, bounds).await;
            Told::Nothing
        });
    }

    fn callback(&mut self, signal: Signal) {
        let clock = self.instance_clock();
        let (store, engine, receiver, mutation) =
            (self.store.clone(), self.engine.clone(), self.receiver.clone(), self.play.mutation);
        self.spawn(TaskKind::Callback, format!("callback {signal:?}"), async move {
            match handle(&store, &engine, &receiver, &clock, mutation, &signal).await {
                true => Told::Nothing,
                false => Told::Failed(signal),
            }
        });
    }

    /// Pause, resume, answer, send again: what callers do to a run under way.
    fn control(&mut self) {
        // Mostly what fits the run; sometimes anything to any run.
        let runs = self.store.runs();
        let of = |fits: fn(&Run) -> bool| {
            runs.iter().filter(|run| fits(run)).map(|run| (run.tenant_id.clone(), run.run_id)).collect::<Vec<_>>()
        };
        let paused = of(|run| run.status == RunStatus::Paused);
        let waiting = of(|run| run.status == RunStatus::WaitingForInput);
        let running = of(|run| run.status == RunStatus::Running);
        let choice = self.rng.u32(0..6);
        let fitting = match choice {
            0..=1 => self.one_of(&running),
            2 => self.one_of(&paused),
            3..=4 => self.one_of(&waiting),
            _ => None,
        };
        let any = self.some_run();
        let Some((tenant, run_id)) = fitting.or(any) else {
            return;
        };
        let Some(caller) = self.callers.iter().find(|caller| caller.tenant == tenant).cloned() else {
            return;
        };
        let (store, engine, clock) = (self.store.clone(), self.engine.clone(), self.instance_clock());
        match choice {
            0..=1 => self.spawn(TaskKind::Control, format!("pause {run_id}"), async move {
                let answer = pause_run(&store, &caller, run_id, clock.now()).await.map(drop);
                Told::Controlled { run_id, gave: None, answer }
            }),
            2 => self.spawn_resume(caller, run_id),
            3..=4 => self.spawn_answer(caller, run_id),
            _ => self.spawn(TaskKind::Control, format!("send {run_id} again"), async move {
                let answer = redeliver(&store, &engine, &caller, run_id, 1, clock.now()).await.map(drop);
                Told::Controlled { run_id, gave: None, answer }
            }),
        }
    }

    fn spawn_resume(&mut self, caller: Caller, run_id: RunId) {
        let (store, engine, clock) = (self.store.clone(), self.engine.clone(), self.instance_clock());
        self.spawn(TaskKind::Control, format!("resume {run_id}"), async move {
            let answer = resume_run(&store, &engine, &caller, run_id, clock.now()).await.map(drop);
            Told::Controlled { run_id, gave: None, answer }
        });
    }

    fn spawn_answer(&mut self, caller: Caller, run_id: RunId) {
        let (store, engine, clock) = (self.store.clone(), self.engine.clone(), self.instance_clock());
        self.tokens += 1;
        let value = format!("{{\"answer\":{}}}", self.tokens);
        let (Ok(node), Ok(data)) = (WAITING_NODE.parse::<NodeId>(), RawValue::from_string(value.clone())) else {
            return;
        };
        self.ledger.try_answer(run_id, &value);
        self.spawn(TaskKind::Control, format!("answer {run_id} with {value}"), async move {
            let answer = answer_node(&store, &engine, &caller, run_id, &node, &data, clock.now()).await.map(drop);
            Told::Controlled { run_id, gave: Some(value), answer }
        });
    }

    fn replay(&mut self) {
        if self.store.runs().len() >= RUNS {
            return;
        }
        let Some((tenant, original)) = self.some_run() else {
            return;
        };
        let Some(caller) = self.callers.iter().find(|caller| caller.tenant == tenant).cloned() else {
            return;
        };
        self.made += 1;
        let run_id = fixture::run_id(u128::from(self.rng.u64(..)) << 64 | self.made);
        let (store, engine, clock) = (self.store.clone(), self.engine.clone(), self.instance_clock());
        let from_node = if self.rng.bool() { "readability".parse().ok() } else { None };
        self.known.push((tenant.clone(), run_id));
        self.spawn(TaskKind::Create, format!("replay {original} as {run_id}"), async move {
            let (command, at) = (replay_run::Command { from_node, ..replay_run::Command::default() }, clock.now());
            let answer = replay_run::replay_run(&store, &engine, &caller, original, command, run_id, at).await;
            Told::Created { tenant, key: None, answer, at }
        });
    }

    // ---- the engine ----

    /// Executions that have claimed their run and neither wait nor have ended.
    fn working(&self) -> Vec<(String, TenantId, RunId)> {
        let executions = self.engine.executions().into_iter();
        let working = executions
            .filter(|(arn, execution)| execution.started && execution.end.is_none() && !self.gates.contains_key(arn));
        working.map(|(arn, execution)| (arn, execution.tenant, execution.run_id)).collect()
    }

    /// A runner reaches a stage boundary, where it may have to pause, or a node that waits for an answer.
    fn reach_boundary(&mut self) {
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
    fn go_on(&mut self) {
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

    fn claim(&mut self) {
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

    fn end(&mut self) {
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
    fn notice_ends(&mut self) {
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

    fn signal(&mut self) {
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

    fn odd_things(&mut self) {
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

    fn pass_time(&mut self) {
        let milliseconds = match self.rng.u32(0..20) {
            0 => self.rng.i64(1..3_600_000),
            1..=4 => self.rng.i64(1..90_000),
            _ => self.rng.i64(1..2_000),
        };
        self.clock.advance(SignedDuration::from_millis(milliseconds));
    }

    // ---- life and death of tasks ----

    fn kill(&mut self) {
        if !self.tasks.is_empty() && self.dice.roll(3) {
            let index = self.rng.usize(0..self.tasks.len());
            self.kill_task(index);
        }
    }

    /// Time has passed: invocations that took too long are over.
    fn time_out(&mut self) {
        let now = self.clock.true_time();
        while let Some(index) = self.tasks.iter().position(|task| task.until <= now) {
            self.kill_task(index);
        }
    }

    fn kill_task(&mut self, index: usize) {
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

    fn poll(&mut self) -> Check {
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

    fn poll_task(&mut self, index: usize) -> Result<bool, crate::Violation> {
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

    fn hear(&mut self, what: &str, told: Told) -> Check {
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

    fn hear_cancel(&mut self, what: &str, tenant: &TenantId, run_id: RunId, answer: Answer<Canceled>) -> Check {
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

    // ---- the end of the faults ----

    /// Faults stop, time goes on, the reconciler comes every minute: everything has to end.
    fn quiet_down(&mut self) -> Check {
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
    fn let_go(&mut self) {
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

    fn is_settled(&self) -> bool {
        self.signals.is_empty()
            && self.store.runs().iter().all(|run| run.status.is_terminal())
            && self.store.deliveries().iter().all(|(delivery, _)| delivery.status.has_ended())
    }

    /// Every execution is carried to its end, but for those that are being stopped: they would run for days.
    fn run_engine(&mut self) {
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

    fn drain(&mut self) -> Check {
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
    fn some_run(&mut self) -> Option<(TenantId, RunId)> {
        if self.rng.u32(0..6) == 0 {
            let known = self.known.clone();
            return self.one_of(&known);
        }
        let runs: Vec<(TenantId, RunId)> =
            self.store.runs().into_iter().map(|run| (run.tenant_id, run.run_id)).collect();
        self.one_of(&runs)
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        (!all.is_empty()).then(|| all[self.rng.usize(0..all.len())].clone())
    }
}

/// What `run-callback` does with a signal. `false`: it failed, and Lambda may invoke it again.
async fn handle(
    store: &MemoryStore,
    engine: &MemoryEngine,
    receiver: &SimReceiver,
    clock: &SimClock,
    mutation: Option<Mutation>,
    signal: &Signal,
) -> bool {
    let owed = match signal {
        Signal::Due(due) => vec![due.clone()],
        Signal::Ended { arn, tenant, run_id, end, details } => {
            let mut run = match store.load_run(tenant, *run_id).await {
                Ok(Some(run)) if run.execution_arn() == *arn => run,
                Ok(_) => return true,
                Err(_) => return false,
            };
            let mut details = details.clone();
            if details.output.is_none() && *end == EngineEnd::Succeeded {
                match engine.describe_execution(arn).await {
                    Ok(ExecutionState::Ended(_, described)) => details = described,
                    Ok(_) => {}
                    Err(_) => return false,
                }
            }
            if mutation == Some(Mutation::EventNotIdempotent) {
                run.status = RunStatus::Running;
            }
            match settle(store, run, RunEvent::EngineEnded(*end), &details, clock.now()).await {
                Ok(Some(settlement)) => settlement.owed,
                Ok(None) => Vec::new(),
                Err(_) => return false,
            }
        }
    };
    let mut all_went_well = true;
    for delivery in owed {
        all_went_well &= deliver(store, engine, receiver, clock, &delivery).await.is_ok();
    }
    all_went_well
}

fn command(key: Option<&(String, String)>, with_callback: bool) -> Command {
    let mut command = Command::new(Source::Configuration {
        definition: DefinitionRef::Id(fixture::definition_id(7)),
        version: VersionRule::Active,
        compute_node: None,
        processor_configs: BTreeMap::new(),
        named_at: "/workflowInstanceConfiguration/workflowDefinitionId",
        version_at: "/workflowInstanceConfiguration/version",
    });
    command.variables.variables.insert("language".to_owned(), "en".into());
    if let Ok(node) = "readability".parse() {
        command.processor_params.insert(node, BTreeMap::from([("formula".to_owned(), "flesch".into())]));
    }
    if with_callback {
        command.callback = Some(Callback { url: fixture::CALLBACK_URL.to_owned(), context: None });
    }
    command.idempotency = key.and_then(|(key, payload)| {
        Some(IdempotencyClaim { operation: Operation::Create, key: key.parse().ok()?, payload_hash: payload.clone() })
    });
    command
}

async fn seed(store: &MemoryStore, tenant: &str, now: Timestamp) {
    let definition = fixture::seed(store, tenant, now).await;
    let version = sluice_core::definition::Version {
        definition_id: definition.id,
        number: 2,
        document: fixture::document(),
        created_at: now,
        created_by: "someone".to_owned(),
    };
    let changed = sluice_core::definition::Definition { latest_version: 2, rev: definition.rev + 1, ..definition };
    assert!(matches!(store.change_definition(&changed, Some(&version)).await, Ok(true)), "the world can be seeded");
}

fn is_away(outage: &Mutex<BTreeMap<&'static str, Timestamp>>, who: &str, clock: &SimClock) -> bool {
    lock(outage).get(who).is_some_and(|until| clock.true_time() < *until)
}

fn arm_store(
    store: &MemoryStore,
    dice: &Dice,
    clock: &SimClock,
    outage: &Arc<Mutex<BTreeMap<&'static str, Timestamp>>>,
) {
    let (dice, clock, outage) = (dice.clone(), clock.clone(), Arc::clone(outage));
    store.faults.set(move |operation| {
        if is_away(&outage, "store", &clock) {
            return Some(Fault::Before(StoreErrorClass::Unavailable));
        }
        if operation == "record the run" && dice.inject(F::RecordReplyLost, 8) {
            return Some(Fault::After(StoreErrorClass::Unavailable));
        }
        if operation == "list open runs" && dice.inject(F::StaleIndex, 20) {
            return Some(Fault::Before(StoreErrorClass::Throttled));
        }
        if dice.inject(F::StoreTrouble, 25) {
            let class = [StoreErrorClass::Conflict, StoreErrorClass::Throttled, StoreErrorClass::Unavailable]
                [dice.pick(3) as usize];
            let after = class == StoreErrorClass::Unavailable && dice.pick(2) == 0;
            return Some(if after { Fault::After(class) } else { Fault::Before(class) });
        }
        None
    });
}

fn arm_engine(
    engine: &MemoryEngine,
    dice: &Dice,
    clock: &SimClock,
    outage: &Arc<Mutex<BTreeMap<&'static str, Timestamp>>>,
) {
    let (dice, clock, outage) = (dice.clone(), clock.clone(), Arc::clone(outage));
    let mut throttled_until = Timestamp::UNIX_EPOCH;
    engine.faults.set(move |operation| {
        let failed = Some(Fault::Before(StoreErrorClass::Throttled));
        if is_away(&outage, "engine", &clock) {
            return failed;
        }
        match operation {
            "start the execution" => {
                if dice.is_armed() && clock.true_time() < throttled_until {
                    dice.count(F::StartThrottled);
                    return failed;
                }
                if dice.inject(F::StartThrottled, 10) {
                    throttled_until =
                        clock.true_time() + SignedDuration::from_secs([1, 60, 1_800][dice.pick(3) as usize]);
                    return failed;
                }
                if dice.inject(F::ExecutionLimit, 16) {
                    return failed;
                }
                dice.inject(F::StartReplyLost, 8).then_some(Fault::After(StoreErrorClass::Unavailable))
            }
            "stop the execution" => dice.inject(F::StopTrouble, 3).then(|| {
                let class = StoreErrorClass::Unavailable;
                if dice.pick(2) == 0 { Fault::After(class) } else { Fault::Before(class) }
            }),
            "describe the execution" => {
                dice.inject(F::DescribeThrottled, 5).then_some(Fault::Before(StoreErrorClass::Throttled))
            }
            "answer the task" => dice.inject(F::AnswerTrouble, 3).then(|| {
                let class = StoreErrorClass::Unavailable;
                if dice.pick(2) == 0 { Fault::After(class) } else { Fault::Before(class) }
            }),
            "announce due deliveries" | "publish the status" => {
                dice.roll(12).then_some(Fault::Before(StoreErrorClass::Unavailable))
            }
            _ => None,
        }
    });
}
