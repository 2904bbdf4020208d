//! The world: who acts, in which order, and what goes wrong.

use crate::clock::SimClock;
use crate::course::{Course, WAITING_NODE};
use crate::fault::{Dice, FaultKind as F};
use crate::invariant::{Check, Counts, INVOCATION, Ledger, broken};
use crate::mutant::{Mutation, SweepEngine};
use crate::receiver::{RECEIVERS, SimReceiver, origin};
use crate::{Outcome, Play, mutant};
use jiff::{SignedDuration, Timestamp};
use serde_json::value::RawValue;
use sluice_core::arn::{ExecutionArn, StateMachineArn};
use sluice_core::caller::Caller;
use sluice_core::concurrency::{Concurrency, OnLimit, QueueRef, limits_of};
use sluice_core::definition::VersionRule;
use sluice_core::flow::advance_run::Conclusion;
use sluice_core::flow::cancel_run::{Canceled, cancel_run};
use sluice_core::flow::control_run::{answer_node, pause_run, redeliver, redeliver_failed, resume_run};
use sluice_core::flow::create_run::{Accepted, Command, Source, create_run};
use sluice_core::flow::deliver::deliver;
use sluice_core::flow::dispatch_runs::dispatch_runs;
use sluice_core::flow::manage_definitions::{DefinitionChange, activate_version, change_definition, deprecate_version};
use sluice_core::flow::manage_operator::{save_compute_node, save_processor, save_tenant};
use sluice_core::flow::reconcile_runs::{Bounds, SweepSummary, reconcile_runs};
use sluice_core::flow::replay_run;
use sluice_core::flow::{Answer, Refusal};
use sluice_core::id::{ComputeNodeKey, DefinitionId, DefinitionRef, NodeId, RunId, TenantId};
use sluice_core::idempotency::{IdempotencyClaim, Operation};
use sluice_core::lifecycle::{EngineEnd, RunEvent, RunStatus};
use sluice_core::ports::{
    Clock, DeliveryRef, DescribeExecution, ExecutionState, LoadRun, RecordRun, StartExecution, StartRequest,
    StoreErrorClass,
};
use sluice_core::retention::Retention;
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

mod callback;
mod callers;
mod control;
mod crew;
mod engine;
mod limits;
mod quiet;
mod reports;
mod retention;
mod seed;
mod tasks;
mod trouble;
use reports::{HeldToken, ReportMade};
use trouble::{Weather, arm_engine, arm_store};

/// A Lambda invocation, alive until it returns or is killed.
struct Task {
    what: String,
    kind: TaskKind,
    about: Option<(TenantId, RunId)>,
    /// When Lambda's own timeout kills it.
    until: Timestamp,
    /// Requests that receivers had got when it began.
    received: usize,
    /// Of a worker's question.
    call: Option<crew::Call>,
    future: Pin<Box<dyn Future<Output = Told>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TaskKind {
    Create,
    Cancel,
    Control,
    Callback,
    Dispatch,
    Sweep,
    Usage,
    Report,
    Retention,
    Advance,
    Other,
}

/// What a task tells the outside when it returns.
enum Told {
    Created(Box<Created>),
    Canceled {
        tenant: TenantId,
        run_id: RunId,
        was_gone: bool,
        answer: Box<Answer<Canceled>>,
    },
    Controlled {
        run_id: RunId,
        was_gone: bool,
        gave: Option<String>,
        answer: Answer<()>,
    },
    Used {
        run_id: RunId,
        was_gone: bool,
        again: Box<reports::Use>,
        answer: Answer<Option<(u32, u32)>>,
    },
    TokenMade(HeldToken),
    Reported(Box<ReportMade>),
    Deleted {
        tenant: TenantId,
        run_id: RunId,
        was_gone: bool,
        answer: Answer<()>,
    },
    Shown {
        tenant: TenantId,
        at: Timestamp,
        gone: BTreeSet<RunId>,
        runs: Vec<Run>,
    },
    Swept(Box<Swept>),
    /// A worker's question was answered, or not.
    Advanced {
        call: crew::Call,
        is_done: bool,
    },
    Concluded {
        call: crew::Call,
        tenant: TenantId,
        run_id: RunId,
        conclusion: Conclusion,
    },
    /// A callback that ended well, and what it sent.
    Handled(Vec<(DeliveryRef, u32)>),
    /// A callback that failed: Lambda invokes it again.
    Failed(Signal),
    Nothing,
}

/// What a sweep says that it did, what it asked the engine for, and how the world was before.
struct Swept {
    summary: SweepSummary,
    asked: mutant::Asked,
    before: Counts,
    /// The boards that were due when it began.
    woken: BTreeMap<RunId, u64>,
}

/// How a request for a run was answered.
struct Created {
    tenant: TenantId,
    run_id: RunId,
    is_replay: bool,
    key: Option<(String, String)>,
    /// Runs that were gone when it was made.
    gone: BTreeSet<RunId>,
    answer: Answer<Accepted>,
    at: Timestamp,
    /// What was asked for; `None` for a replay.
    asked: Option<Asked>,
}

/// What a request for a run names.
struct Asked {
    definition: DefinitionId,
    url: Option<String>,
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
    Ended { arn: ExecutionArn, tenant: TenantId, run_id: RunId, end: EngineEnd, details: EndDetails },
    Due(DeliveryRef),
    Freed(QueueRef),
}

/// How far the reconciler's time can carry everything: a day of retries, and more.
const QUIET_HOURS: i64 = 48;
/// Runs of one play: enough for races, few enough to look at all of them after every step.
const RUNS: usize = 12;

/// The tenants of a play.
pub fn tenants() -> [TenantId; 2] {
    ["acme", "other"].map(fixture::tenant)
}

/// The definitions that each tenant has.
pub fn definitions() -> [DefinitionId; 3] {
    [7, 8, 9].map(fixture::definition_id)
}

/// The compute node that runs of a definition name: the last of them is for the second generation.
///
/// # Panics
/// Never: they are keys.
pub fn compute_node_of(definition: DefinitionId) -> ComputeNodeKey {
    let [_, _, third] = definitions();
    match (if definition == third { "workers" } else { "default" }).parse() {
        Ok(key) => key,
        Err(error) => panic!("a key: {error}"),
    }
}

pub struct World {
    play: Play,
    rng: fastrand::Rng,
    dice: Dice,
    clock: SimClock,
    store: MemoryStore,
    /// The table as two processes see it, each with what it remembers.
    processes: [MemoryStore; 2],
    /// Where the deployment before this one plans its runs.
    before: MemoryStore,
    engine: MemoryEngine,
    receiver: SimReceiver,
    callers: Vec<Caller>,
    tasks: Vec<Task>,
    signals: Vec<(Timestamp, Signal)>,
    told_ends: BTreeSet<ExecutionArn>,
    /// Executions that wait, by ARN.
    gates: BTreeMap<ExecutionArn, Gate>,
    /// Executions that have claimed their run and do not know it.
    unsure: BTreeSet<ExecutionArn>,
    /// Until when nobody is invoked.
    crowded_until: Option<Timestamp>,
    tokens: u32,
    report_tokens: Vec<HeldToken>,
    known: Vec<(TenantId, RunId)>,
    made: u128,
    ledger: Ledger,
    log: Vec<String>,
    /// What the table, the engine and the receiver were when they were last looked at.
    checked: (u64, u64, usize),
    noticed: u64,
    weather: Arc<Mutex<Weather>>,
    /// What the versions of the second generation's definition say.
    courses: [Course; 2],
    /// Runs that the second generation is to run.
    with_workers: BTreeSet<RunId>,
    crews: BTreeMap<ExecutionArn, crew::Crew>,
    /// Invocations that workers have made.
    calls: u64,
}

impl World {
    pub fn new(play: &Play) -> Self {
        let dice = Dice::new(play);
        let start = "2026-11-22T04:40:00Z".parse().unwrap_or(Timestamp::UNIX_EPOCH);
        let clock = SimClock::new(start);
        let mut rng = fastrand::Rng::with_seed(play.seed);
        let mut store = MemoryStore::default();
        store.laxity = play.mutation.and_then(Mutation::laxity);
        let before = MemoryStore::default();
        let courses = [Course::draw(&mut rng), Course::draw(&mut rng)];
        for tenant in tenants() {
            sluice_testkit::block_on(seed::seed(&store, &tenant, start, &courses, Some(&mut rng)));
            sluice_testkit::block_on(seed::seed(&before, &tenant, start, &courses, None));
        }
        let engine = MemoryEngine::default();
        let weather = Arc::new(Mutex::new(Weather::default()));
        arm_store(&store, &dice, &clock, &weather);
        arm_engine(&engine, &dice, &clock, &weather);
        let receiver = SimReceiver {
            received: Arc::default(),
            dice: dice.clone(),
            clock: clock.clone(),
            store: store.clone(),
            mutation: play.mutation,
            sent: Arc::default(),
        };
        Self {
            rng,
            play: play.clone(),
            dice,
            clock,
            processes: [store.another_process(), store.another_process()],
            store,
            before,
            engine,
            receiver,
            callers: vec![fixture::caller("acme"), fixture::caller("other")],
            tasks: Vec::new(),
            signals: Vec::new(),
            told_ends: BTreeSet::new(),
            gates: BTreeMap::new(),
            unsure: BTreeSet::new(),
            crowded_until: None,
            tokens: 0,
            report_tokens: Vec::new(),
            known: Vec::new(),
            made: 0,
            ledger: Ledger::default(),
            log: Vec::new(),
            checked: (0, 0, 0),
            noticed: 0,
            weather,
            courses,
            with_workers: BTreeSet::new(),
            crews: BTreeMap::new(),
            calls: 0,
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
        self.note_plans();
        let now = self.clock.true_time();
        self.ledger.queue_lagged(lock(&self.weather).lagged_at);
        self.ledger.check_now(now, &self.store, &self.engine, &lock(&self.receiver.received))
    }

    fn note(&mut self, text: impl std::fmt::Display) {
        if self.play.keeps_log {
            self.log.push(format!("{} {text}", sluice_core::time::rfc3339_millis(self.clock.true_time())));
        }
    }

    fn step(&mut self) -> Check {
        if self.play.only_workers && self.rng.bool() {
            return self.step_of_workers();
        }
        match self.rng.u32(0..150) {
            0..=5 => self.create(),
            6..=8 => self.cancel(),
            9..=14 => self.claim(),
            15..=18 => self.end(),
            19..=21 => self.sweep(),
            22..=24 => self.odd_things(),
            25..=34 => self.signal(),
            35..=37 => self.kill(),
            38..=41 => self.pass_time(),
            42..=45 => self.control(),
            46..=50 => self.reach_boundary(),
            51..=52 => self.go_on(),
            53 => self.replay(),
            54..=57 => self.use_up(),
            58..=60 => self.report(),
            61..=62 => self.retain(),
            63 if self.rng.bool() => self.change_limits(),
            63 => self.change_catalog(),
            64 => self.look(),
            65 | 67..=68 if !self.ledger.has_half_purged() => self.retain(),
            65..=68 => self.kill(),
            69..=84 => self.work()?,
            85..=86 => self.lose_sight(),
            _ => self.poll()?,
        }
        Ok(())
    }

    fn is_of_stops(&self) -> bool {
        self.play.seed.is_multiple_of(2)
    }

    /// What brings runs of the second generation to where something strikes them.
    fn step_of_workers(&mut self) -> Check {
        match self.rng.u32(0..40) {
            0 => self.claim(),
            1 => self.sweep(),
            2 => self.control(),
            3 => self.lose_sight(),
            // One half of the plays is of stops, the other of sweeps and of deaths.
            4..=5 if self.is_of_stops() => self.cancel(),
            4..=5 => self.sweep(),
            // As long as attempts take.
            6..=7 => self.clock.advance(SignedDuration::from_secs(self.rng.i64(1..20))),
            8..=19 => self.work()?,
            _ => self.poll()?,
        }
        Ok(())
    }
}
