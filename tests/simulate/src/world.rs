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

mod callers;
mod engine;
mod quiet;
mod tasks;
mod trouble;
use trouble::{arm_engine, arm_store};

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
