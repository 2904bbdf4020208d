//! One schedule: callers, strangers, a sweep and an end at once over the memory ports, of whom any may die at any step and lose any
//! answer, while time passes and prices change. A referee keeps books of what was really served.

use crate::bench::{Bench, Counter, SharedClock, call, ledger, model, pass, price, processor};
use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use sluice_core::budget::NanoUsd;
use sluice_core::caller::Caller;
use sluice_core::flow::cancel_run::cancel_run;
use sluice_core::flow::govern_call::{Ports, Request, Ticket, Verdict, reserve, settle};
use sluice_core::flow::sweep_ledgers::sweep_ledgers;
use sluice_core::governor::access::{Grant, Pass};
use sluice_core::governor::call_id::CallId;
use sluice_core::governor::ledger::change::{Reserve, Settle};
use sluice_core::governor::ledger::{Ledger, OnBudgetExceeded};
use sluice_core::governor::model::Model;
use sluice_core::governor::quota::{Period, QuotaOwner, QuotaRule};
use sluice_core::governor::record::{CallRecord, Outcome};
use sluice_core::governor::usage::{CallEnd, CallUsage, TokenUsage};
use sluice_core::ports::{Clock, GovernCalls, ReadLedgers, RunRef, StoreErrorClass, SweepLedgers};
use sluice_testkit::engine::MemoryEngine;
use sluice_testkit::fault::{Fault, lock};
use sluice_testkit::store::{Laxity, MemoryStore};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

/// A bug that is planted, to show that it would be noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Of the store: a condition that is not looked at.
    Store(Laxity),
    /// A hold whose lease is over is removed at no cost.
    LapseIsFree,
    /// Nobody looks after holds.
    NeverSwept,
    /// A call is made although nobody knows whether it is held.
    CalledUnanswered,
    /// A call is settled at the price that held when it began.
    SettledAtFirstPrice,
    /// A reserve comes a second time, after its call was settled.
    ReserveRepeated,
}

impl Mutant {
    pub const ALL: [Self; 14] = [
        Self::Store(Laxity::ReserveUnconditional),
        Self::Store(Laxity::GrantNotChecked),
        Self::Store(Laxity::ClosedLedgerHolds),
        Self::Store(Laxity::CrowdUnbounded),
        Self::Store(Laxity::SettleUnconditional),
        Self::Store(Laxity::HoldKept),
        Self::Store(Laxity::RecordReplaced),
        Self::Store(Laxity::DrawUnconditional),
        Self::Store(Laxity::LedgerLeftOpen),
        Self::LapseIsFree,
        Self::NeverSwept,
        Self::CalledUnanswered,
        Self::SettledAtFirstPrice,
        Self::ReserveRepeated,
    ];
}

/// What happened in a play, for its reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tale {
    pub granted: u64,
    pub lowered: u64,
    pub throttled: u64,
    pub exhausted: u64,
    pub refused: u64,
    pub unanswered: u64,
    pub died: u64,
    pub lost: u64,
    pub faults: u64,
}

/// What everybody shares.
struct World {
    store: MemoryStore,
    engine: MemoryEngine,
    clock: SharedClock,
    caller: Caller,
    run: RunRef,
    model: Model,
    quotas: Vec<QuotaRule>,
    /// A time in each of the days that a play can reach.
    days: Vec<Timestamp>,
    mutant: Option<Mutant>,
    random: Mutex<Rng>,
    /// What was really served, at the price of its moment.
    served: Mutex<BTreeMap<CallId, u64>>,
    tale: Mutex<Tale>,
    broken: Mutex<Option<String>>,
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Somebody who acts, and since when: no process lives for longer than 15 minutes.
struct Actor {
    task: Task,
    since: Timestamp,
    /// As whom a process that died is followed by another one.
    calls: Option<usize>,
}

const LONGEST_PROCESS: SignedDuration = SignedDuration::from_secs(15 * 60);

impl World {
    fn random<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut lock(&self.random))
    }

    fn chance(&self, percent: u32) -> bool {
        self.random(|random| random.u32(0..100)) < percent
    }

    fn call_id(&self) -> CallId {
        CallId::new(self.clock.now(), self.random(|random| random.u128(..)))
    }

    fn tell(&self, change: impl FnOnce(&mut Tale)) {
        change(&mut lock(&self.tale));
    }

    fn break_off(&self, what: String) {
        lock(&self.broken).get_or_insert(what);
    }

    async fn pause(&self, most_millis: u64) {
        let millis = self.random(|random| random.u64(0..=most_millis));
        self.clock.sleep(Duration::from_millis(millis)).await;
    }
}

/// A process that makes so many calls, one after another.
async fn calls(world: Arc<World>, number: usize, pass: Pass) {
    for _ in 0..number {
        let (input, most) = world.random(|random| (random.u64(0..3_000), random.u64(1..6_000)));
        let (call, call_id) = (call(input, most), world.call_id());
        let request = Request {
            run: &world.run,
            pass: &pass,
            attempt: 1,
            call_id,
            model: &world.model,
            call: &call,
            quotas: &world.quotas,
        };
        let World { store, engine, clock, .. } = &*world;
        let ports = Ports { store, engine, clock, counter: &Counter(None) };
        let verdict = reserve(&ports, &request).await;
        match verdict {
            Ok(Verdict::Granted(ticket)) => {
                world.tell(|tale| {
                    tale.granted += 1;
                    tale.lowered += u64::from(ticket.lowered_to.is_some());
                });
                let end = serve(&world, &ticket, input, ticket.lowered_to.unwrap_or(most)).await;
                close(&world, &ticket, &end).await;
            }
            Ok(Verdict::Throttled { retry_after_seconds, .. }) => {
                world.tell(|tale| tale.throttled += 1);
                world.clock.sleep(Duration::from_secs(retry_after_seconds.into())).await;
            }
            Ok(Verdict::Exhausted) => {
                world.tell(|tale| tale.exhausted += 1);
                is_honest(&world, input, most);
            }
            Ok(Verdict::NotAdmitted) => {
                world.tell(|tale| tale.refused += 1);
                return;
            }
            Ok(Verdict::NotCallable(reason)) => world.break_off(format!("it is callable: {reason}")),
            Err(_) => {
                world.tell(|tale| tale.unanswered += 1);
                if world.mutant == Some(Mutant::CalledUnanswered) {
                    book(&world, call_id, input, most);
                }
                world.pause(1_000).await;
            }
        }
    }
}

/// The provider: serves the call at some moment, wholly or in part, and books it.
async fn serve(world: &World, ticket: &Ticket, input: u64, most: u64) -> CallEnd {
    world.pause(20_000).await;
    if world.chance(4) {
        return CallEnd::NotRun;
    }
    let (read, written) = world.random(|random| (random.u64(0..=input), random.u64(0..=most)));
    book(world, ticket.call_id, read, written);
    world.pause(40_000).await;
    // The stream broke off, or its last frame was lost.
    if world.chance(6) {
        return CallEnd::Unknown;
    }
    let tokens = TokenUsage { input: read, output: written, ..TokenUsage::default() };
    CallEnd::Used(CallUsage { tokens, ..CallUsage::default() })
}

/// The referee's book, at the price of this moment.
fn book(world: &World, call_id: CallId, read: u64, written: u64) {
    let now = world.clock.now();
    let tokens = TokenUsage { input: read, output: written, ..TokenUsage::default() };
    let price = world.model.prices.iter().find(|price| price.holds_within(now, now)).expect("always priced");
    let cost = price.tiers.values().map(|tier| tier.cost(&tokens)).max().expect("a tier");
    *lock(&world.served).entry(call_id).or_default() += u64::try_from(cost / 1_000_000).expect("small");
}

async fn close(world: &World, ticket: &Ticket, end: &CallEnd) {
    let mut ticket = ticket.clone();
    if world.mutant == Some(Mutant::SettledAtFirstPrice) {
        ticket.tariff.prices.truncate(1);
    }
    // What fails here is left to the sweep.
    let _settled = settle(&world.store, &ticket, end, world.clock.now()).await;
    if world.mutant == Some(Mutant::ReserveRepeated) {
        let (pass, amount) = (pass(), ticket.hold);
        let late = Reserve { call_id: ticket.call_id, pass, amount, is_lowered: false };
        let _late = world.store.reserve(&world.run, &late).await;
    }
}

/// Who is told that nothing is left was told the truth: even a short answer did not fit. Once the run is being stopped for it,
/// nothing fits.
fn is_honest(world: &World, input: u64, most: u64) {
    let Some(ledger) = world.store.governed(&world.run).filter(Ledger::is_open) else { return };
    let dearest = 2 * (input + 5 * most.min(1_024));
    let left = ledger.cap.map_or(u64::MAX, |cap| cap.0.saturating_sub(ledger.spent.0));
    if left >= dearest {
        world.break_off(format!("exhausted with {left} left for {dearest}"));
    }
}

/// Somebody with half of what opens, or with that of others.
async fn stranger(world: Arc<World>) {
    let mut pass = pass();
    match world.random(|random| random.u32(0..3)) {
        0 => pass.grant = Grant::new(8),
        1 => pass.holder = processor("editor"),
        _ => pass.node_id = "edit".parse().expect("a node"),
    }
    let call = call(10, 10);
    let call_id = world.call_id();
    let World { store, engine, clock, run, model, quotas, .. } = &*world;
    let request = Request { run, pass: &pass, attempt: 1, call_id, model, call: &call, quotas };
    let verdict = reserve(&Ports { store, engine, clock, counter: &Counter(None) }, &request).await;
    match verdict {
        Ok(Verdict::NotAdmitted) | Err(_) => {}
        Ok(other) => world.break_off(format!("a stranger was told {other:?}")),
    }
}

async fn sweep(world: Arc<World>) {
    let now = world.clock.now();
    match world.mutant {
        Some(Mutant::NeverSwept) => {}
        Some(Mutant::LapseIsFree) => {
            let Ok(Some(ledger)) = world.store.load_ledger(&world.run).await else { return };
            for (call_id, hold) in ledger.overdue(now) {
                let free = Settle { call_id, hold, cost: NanoUsd(0), outcome: Outcome::NotRun };
                let _swept = world.store.settle(&world.run, &free).await;
            }
            let _next = world.store.sweep_at(&world.run, ledger.next_sweep()).await;
        }
        Some(_) | None => {
            if let Ok(swept) = sweep_ledgers(&world.store, now, 10).await {
                world.tell(|tale| tale.lost += u64::from(swept.lost));
            }
        }
    }
}

async fn end(world: Arc<World>) {
    let World { store, engine, caller, run, clock, .. } = &*world;
    let _ended = cancel_run(store, engine, caller, run.run_id, clock.now()).await;
}

/// What was seen so far, to tell what may not change.
#[derive(Default)]
struct Seen {
    records: BTreeMap<CallId, CallRecord>,
    /// What was held when the ledger was closed.
    held_at_closing: Option<BTreeSet<CallId>>,
    /// What had been written, and how many calls had been served, when it was looked at last.
    at: (u64, usize),
}

impl Seen {
    /// Everything that must hold after every step.
    fn check(&mut self, world: &World) -> Result<(), String> {
        if let Some(broken) = lock(&world.broken).clone() {
            return Err(broken);
        }
        let at = (world.store.governed_changes(), lock(&world.served).len());
        if at == self.at {
            return Ok(());
        }
        self.at = at;
        let stops =
            world.store.run(&world.run.tenant_id, world.run.run_id).is_some_and(|run| run.state.intent().is_some());
        let drawn = |rule: &QuotaRule| {
            let in_period = |day: &Timestamp| world.store.quota(&rule.owner, &rule.period.at(*day)).0;
            world.days.iter().map(in_period).max().unwrap_or_default()
        };
        let drawn: Vec<u64> = world.quotas.iter().map(drawn).collect();
        let checked = world.store.see_ledger(&world.run, |ledger, records| {
            self.books(world, ledger, records)?;
            quotas(world, ledger, &drawn)?;
            self.closing(ledger, stops)
        });
        checked.unwrap_or_else(|| Err("the ledger is gone".to_owned()))
    }

    fn books(&mut self, world: &World, ledger: &Ledger, records: &BTreeMap<CallId, CallRecord>) -> Result<(), String> {
        let committed = ledger.committed();
        if ledger.cap.is_some_and(|cap| committed > cap) {
            return Err(format!("spent {} and held {} of {:?}", ledger.spent.0, ledger.held().0, ledger.cap));
        }
        let settled = records.values().filter(|record| !ledger.holds.contains_key(&record.call_id));
        let of_records: u64 = settled.map(|record| record.cost.0).sum();
        if of_records != ledger.spent.0 {
            return Err(format!("spent {}, by the records {of_records}", ledger.spent.0));
        }
        for (call_id, record) in records {
            let first = self.records.entry(*call_id).or_insert_with(|| record.clone());
            if first != record {
                return Err(format!("a record changed: {first:?} {record:?}"));
            }
        }
        let served = lock(&world.served);
        for (call_id, served) in &*served {
            let recorded = records.get(call_id).map(|record| record.cost.0);
            let covered = recorded.or_else(|| ledger.holds.get(call_id).map(|hold| hold.0)).unwrap_or_default();
            if *served > covered {
                return Err(format!("{served} were served of {call_id}, and {covered} set aside or recorded"));
            }
        }
        let all: u64 = served.values().sum();
        if all > committed.0 {
            return Err(format!("the referee counts {all}, the ledger {}", committed.0));
        }
        if ledger.holds.len() > 100 {
            return Err(format!("{} calls are under way", ledger.holds.len()));
        }
        Ok(())
    }

    fn closing(&mut self, ledger: &Ledger, is_being_stopped: bool) -> Result<(), String> {
        if is_being_stopped && ledger.is_open() {
            return Err("the run is being stopped, and its ledger is open".to_owned());
        }
        if ledger.is_open() {
            return Ok(());
        }
        let held: BTreeSet<CallId> = ledger.holds.keys().copied().collect();
        let before = self.held_at_closing.get_or_insert_with(|| held.clone());
        if held.is_subset(before) { Ok(()) } else { Err("something was held after the closing".to_owned()) }
    }
}

/// What was drawn on each quota in its dearest period is within it, and the run spends nothing that it has not drawn.
fn quotas(world: &World, ledger: &Ledger, in_quota: &[u64]) -> Result<(), String> {
    for (rule, in_quota) in world.quotas.iter().zip(in_quota) {
        let drawn = ledger.allowances.get(&rule.owner).and_then(Option::as_ref).map_or(0, |drawn| drawn.drawn.0);
        let committed = ledger.committed().0;
        if *in_quota > rule.most.0 || committed > drawn {
            return Err(format!("{in_quota} of {} drawn, {drawn} by the run for {committed}", rule.most.0));
        }
    }
    Ok(())
}

/// Plays one seed.
///
/// # Errors
/// What does not hold, and after how many steps.
pub fn play(seed: u64, mutant: Option<Mutant>) -> Result<Tale, String> {
    let mut random = Rng::with_seed(seed);
    let world = Arc::new(world(&mut random, seed, mutant));
    let mut stage = Stage { world: world.clone(), random, actors: Vec::new(), seen: Seen::default(), swept_at: None };
    stage.enter();
    let steps = stage.random.usize(200..2_000);
    for step in 0..steps {
        stage.step();
        stage.seen.check(&world).map_err(|broken| format!("after {step} steps: {broken}"))?;
    }
    stage.quiet()?;
    let tale = *lock(&world.tale);
    Ok(tale)
}

/// A run with a cap for some of its calls, in most plays with quotas, and in many with a price that changes.
fn world(random: &mut Rng, seed: u64, mutant: Option<Mutant>) -> World {
    let usual = 20_000;
    let cap = (random.u32(0..20) > 0).then(|| usual * random.u64(1..200));
    let mut ledger = ledger(cap);
    if random.u32(0..4) == 0 {
        ledger.on_exceeded = OnBudgetExceeded::Refuse;
    }
    let mut quotas = Vec::new();
    for name in ["acme", "ann"] {
        if random.bool() {
            let tenant = "acme".parse().expect("a tenant");
            let owner = match name {
                "acme" => QuotaOwner::Tenant(tenant),
                user => QuotaOwner::TenantUser(tenant, user.parse().expect("a user")),
            };
            ledger.allowances.insert(owner.clone(), None);
            let period = if random.bool() { Period::Day } else { Period::Month };
            quotas.push(QuotaRule { owner, period, most: NanoUsd(usual * random.u64(1..300)) });
        }
    }
    let mut bench = Bench::new(ledger);
    if let Some(Mutant::Store(laxity)) = mutant {
        bench.store.laxity = Some(laxity);
    }
    let change = bench.clock.now() + SignedDuration::from_secs(random.i64(10..1_000));
    let (before, after) = if random.bool() { (1, 2) } else { (2, 1) };
    let prices =
        vec![price(Timestamp::UNIX_EPOCH, Some(change), before, 5 * before), price(change, None, after, 5 * after)];
    let Bench { store, engine, clock, caller, run } = bench;
    let days = (0..4).map(|day| clock.now() + SignedDuration::from_hours(24 * day)).collect();
    let (served, tale, broken) = (Mutex::default(), Mutex::default(), Mutex::default());
    let random = Mutex::new(Rng::with_seed(seed ^ 0x5eed));
    World {
        store,
        engine,
        clock,
        caller,
        run,
        model: model(prices),
        quotas,
        days,
        mutant,
        random,
        served,
        tale,
        broken,
    }
}

/// Who acts next, who dies, and what time it is.
struct Stage {
    world: Arc<World>,
    random: Rng,
    actors: Vec<Actor>,
    seen: Seen,
    swept_at: Option<Timestamp>,
}

impl Stage {
    /// Callers: a few in most plays, and very many in some. Faults from now on.
    fn enter(&mut self) {
        let callers = match self.random.u32(0..20) {
            0 => self.random.usize(100..=256),
            1..=4 => self.random.usize(16..64),
            _ => self.random.usize(2..16),
        };
        for _ in 0..callers {
            let number = self.random.usize(1..8);
            self.spawn_calls(number);
        }
        let (mut faults, world) = (Rng::with_seed(self.random.u64(..)), self.world.clone());
        let percent = [0, 2, 2, 8][self.random.usize(0..4)];
        let tale = Arc::downgrade(&world);
        self.world.store.faults.set(move |operation| {
            if faults.u32(0..100) >= percent {
                return None;
            }
            if let Some(world) = tale.upgrade() {
                world.tell(|tale| tale.faults += 1);
            }
            Some(match (faults.u32(0..4), operation) {
                (0, _) => Fault::Before(StoreErrorClass::Throttled),
                (1, _) => Fault::Before(StoreErrorClass::Conflict),
                (2, _) => Fault::Before(StoreErrorClass::Unavailable),
                (_, _) => Fault::After(StoreErrorClass::Unavailable),
            })
        });
    }

    fn spawn(&mut self, task: impl Future<Output = ()> + 'static) {
        self.actors.push(Actor { task: Box::pin(task), since: self.world.clock.now(), calls: None });
    }

    fn spawn_calls(&mut self, number: usize) {
        let (world, since) = (self.world.clone(), self.world.clock.now());
        let task = Box::pin(calls(world, number, pass()));
        self.actors.push(Actor { task, since, calls: Some(number) });
    }

    fn step(&mut self) {
        let now = self.world.clock.now();
        match self.random.u32(0..1_000) {
            0..=3 => self.spawn(stranger(self.world.clone())),
            4 if self.random.u32(0..3) == 0 => self.spawn(end(self.world.clone())),
            5..=11 => self.die(),
            12 => self.world.clock.pass(SignedDuration::from_secs(self.random.i64(60..900))),
            13..=99 => self.world.clock.pass(SignedDuration::from_millis(self.random.i64(1..4_000))),
            _ => self.act(),
        }
        // No process outlives its time.
        self.actors.retain(|actor| now.duration_since(actor.since) < LONGEST_PROCESS);
        let is_minute = |at: Timestamp| now.duration_since(at) >= SignedDuration::from_secs(60);
        if self.swept_at.is_none_or(is_minute) {
            self.swept_at = Some(now);
            self.spawn(sweep(self.world.clone()));
        }
    }

    /// A process dies where it stands; in half of the cases another one does the rest of its work, or more.
    fn die(&mut self) {
        if self.actors.is_empty() {
            return;
        }
        let dead = self.actors.swap_remove(self.random.usize(0..self.actors.len()));
        self.world.tell(|tale| tale.died += 1);
        if let Some(number) = dead.calls
            && self.random.bool()
        {
            self.spawn_calls(number);
        }
    }

    /// Somebody takes a step, or some.
    fn act(&mut self) {
        if self.actors.is_empty() {
            self.world.clock.pass(SignedDuration::from_secs(1));
            return;
        }
        let at = self.random.usize(0..self.actors.len());
        let mut context = Context::from_waker(Waker::noop());
        if self.actors[at].task.as_mut().poll(&mut context).is_ready() {
            drop(self.actors.swap_remove(at));
        }
    }

    /// Nothing fails any more, nobody new comes, and everything ends: then nothing is held, and the books are right.
    fn quiet(&mut self) -> Result<(), String> {
        let world = self.world.clone();
        world.store.faults.clear();
        for round in 0..20 {
            for _ in 0..200 {
                if self.actors.is_empty() {
                    break;
                }
                self.act();
            }
            world.clock.pass(SignedDuration::from_secs(70));
            let now = world.clock.now();
            self.actors.retain(|actor| now.duration_since(actor.since) < LONGEST_PROCESS);
            self.spawn(sweep(world.clone()));
            self.seen.check(&world).map_err(|broken| format!("in quiet round {round}: {broken}"))?;
        }
        self.actors.clear();
        world.clock.pass(SignedDuration::from_secs(16 * 60));
        for _ in 0..2 {
            sluice_testkit::block_on(sweep(world.clone()));
        }
        self.seen.check(&world).map_err(|broken| format!("in the end: {broken}"))?;
        let ledger = world.store.governed(&world.run).ok_or("the ledger is gone")?;
        if !ledger.holds.is_empty() {
            return Err(format!("{} holds are left after their leases", ledger.holds.len()));
        }
        let balances = ledger.balances();
        if balances.is_empty() { Ok(()) } else { Err(format!("not balanced: {balances:?}")) }
    }
}
