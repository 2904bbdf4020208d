//! One schedule: who acts next, who dies where it stands and loses which answer, and what time it is.

use crate::bench::{Bench, ledger, model, pass, price};
use crate::play::{Mutant, Tale, World, calls, end, reports, stranger, sweep};
use crate::seen::Seen;
use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use sluice_core::budget::NanoUsd;
use sluice_core::governor::ledger::OnBudgetExceeded;
use sluice_core::governor::quota::{Period, QuotaOwner, QuotaRule};
use sluice_core::ports::{Clock, StoreErrorClass};
use sluice_testkit::fault::{Fault, lock};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Somebody who acts, and since when: no process lives for longer than 15 minutes.
struct Actor {
    task: Task,
    since: Timestamp,
    /// As whom a process that died is followed by another one.
    calls: Option<usize>,
}

const LONGEST_PROCESS: SignedDuration = SignedDuration::from_secs(15 * 60);

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
    store.set_quotas(quotas.clone());
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
        // In half of the plays others tell of calls that nobody governs.
        if self.random.bool() {
            for _ in 0..self.random.usize(1..6) {
                let number = self.random.usize(1..6);
                self.spawn(reports(self.world.clone(), number));
            }
        }
        let (mut faults, world) = (Rng::with_seed(self.random.u64(..)), self.world.clone());
        let percent = [0, 2, 2, 8][self.random.usize(0..4)];
        let tale = Arc::downgrade(&world);
        self.world.store.faults.set(move |operation| {
            // Somebody else writes the ledger, here also while nobody does: both ways of a report are to be gone.
            if operation == "report at once" && faults.bool() {
                return Some(Fault::Before(StoreErrorClass::Conflict));
            }
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
        // No process outlives its time: whoever is over it does not act any more.
        self.actors.retain(|actor| now.duration_since(actor.since) < LONGEST_PROCESS);
        match self.random.u32(0..1_000) {
            0..=3 => self.spawn(stranger(self.world.clone())),
            4 if self.random.u32(0..3) == 0 => self.spawn(end(self.world.clone())),
            5..=11 => self.die(),
            12 => self.world.clock.pass(SignedDuration::from_secs(self.random.i64(60..900))),
            13..=99 => self.world.clock.pass(SignedDuration::from_millis(self.random.i64(1..4_000))),
            _ => self.act(),
        }
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
                self.seen.check(&world).map_err(|broken| format!("in quiet round {round}: {broken}"))?;
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
        if ledger.is_above() {
            return Err(format!("spent {} of {:?}, and the run goes on", ledger.spent.0, ledger.cap));
        }
        if !ledger.is_idle() {
            return Err(format!("{} holds are left after their leases", ledger.holds.len() + ledger.reports.len()));
        }
        let balances = ledger.balances();
        if balances.is_empty() { Ok(()) } else { Err(format!("not balanced: {balances:?}")) }
    }
}
