//! Who acts in a schedule: callers, strangers, a sweep and an end, at once over the memory ports. A referee keeps books of what was
//! really served.

use crate::bench::{Counter, SharedClock, call, pass, processor, reported};
use fastrand::Rng;
use jiff::Timestamp;
use sluice_core::budget::NanoUsd;
use sluice_core::call_id::CallId;
use sluice_core::caller::Caller;
use sluice_core::flow::cancel_run::cancel_run;
use sluice_core::flow::govern_call::{Ports, Request, Ticket, Verdict, reserve, settle};
use sluice_core::flow::record_usage::record_usage;
use sluice_core::flow::sweep_ledgers::sweep_ledgers;
use sluice_core::governor::access::{Grant, Pass};
use sluice_core::governor::ledger::Ledger;
use sluice_core::governor::ledger::change::{Reserve, Settle};
use sluice_core::governor::model::Model;
use sluice_core::governor::quota::QuotaRule;
use sluice_core::governor::record::Outcome;
use sluice_core::governor::usage::{CallEnd, CallUsage, TokenUsage};
use sluice_core::ports::{Clock, GovernCalls, ReadLedgers, RunRef, SweepLedgers};
use sluice_core::usage::LlmCall;
use sluice_testkit::engine::MemoryEngine;
use sluice_testkit::fault::lock;
use sluice_testkit::store::{Laxity, MemoryStore};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
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
    /// Nobody stops a run that the settlement of a call takes above its cap.
    AboveGoesOn,
}

impl Mutant {
    pub const ALL: [Self; 18] = [
        Self::Store(Laxity::ReserveUnconditional),
        Self::Store(Laxity::GrantNotChecked),
        Self::Store(Laxity::ClosedLedgerHolds),
        Self::Store(Laxity::CrowdUnbounded),
        Self::Store(Laxity::SettleUnconditional),
        Self::Store(Laxity::HoldKept),
        Self::Store(Laxity::RecordReplaced),
        Self::Store(Laxity::DrawUnconditional),
        Self::Store(Laxity::LedgerLeftOpen),
        Self::Store(Laxity::UsageNotIdempotent),
        Self::Store(Laxity::ReportCountedTwice),
        Self::Store(Laxity::ReceiptReplaced),
        Self::LapseIsFree,
        Self::NeverSwept,
        Self::CalledUnanswered,
        Self::SettledAtFirstPrice,
        Self::ReserveRepeated,
        Self::AboveGoesOn,
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
    /// Calls that were reported, and calls that had been before.
    pub reported: u64,
    pub repeated: u64,
    pub unanswered: u64,
    pub died: u64,
    pub lost: u64,
    pub faults: u64,
}

/// What everybody shares.
pub struct World {
    pub store: MemoryStore,
    pub engine: MemoryEngine,
    pub clock: SharedClock,
    pub caller: Caller,
    pub run: RunRef,
    pub model: Model,
    pub quotas: Vec<QuotaRule>,
    /// A time in each of the days that a play can reach.
    pub days: Vec<Timestamp>,
    pub mutant: Option<Mutant>,
    pub random: Mutex<Rng>,
    /// What was really served, at the price of its moment.
    pub served: Mutex<BTreeMap<CallId, u64>>,
    pub tale: Mutex<Tale>,
    pub broken: Mutex<Option<String>>,
}

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

    pub fn tell(&self, change: impl FnOnce(&mut Tale)) {
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
pub async fn calls(world: Arc<World>, number: usize, pass: Pass) {
    for _ in 0..number {
        let (input, most) = world.random(|random| (random.u64(0..3_000), random.u64(1..6_000)));
        let (call, call_id) = (call(input, most), world.call_id());
        let request = Request { run: &world.run, pass: &pass, attempt: 1, call_id, model: &world.model, call: &call };
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
    let now = world.clock.now();
    if world.mutant == Some(Mutant::AboveGoesOn) {
        if let Ok(standing) = world.store.record_call(&world.run, &ticket.record(end, now)).await {
            let _settled = world.store.settle(&world.run, &Settle::from(&standing)).await;
        }
    } else {
        let _settled = settle(&world.store, &world.engine, &ticket, end, now).await;
    }
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

/// A processor that tells of so many calls that nobody governs: few, so that many are told of again, by others too.
pub async fn reports(world: Arc<World>, number: usize) {
    for _ in 0..number {
        // Sometimes as much as may still be spent, so that what is held takes the run above its cap.
        let rest =
            world.store.governed(&world.run).and_then(|ledger| Some(ledger.cap?.0.saturating_sub(ledger.spent.0)));
        let rest = rest.filter(|_| world.chance(15));
        let calls: Vec<LlmCall> = world.random(|random| {
            let call = |random: &mut Rng| {
                let call_id = format!("theirs-{}", random.u32(0..12));
                let cost = rest.unwrap_or_else(|| random.u64(0..20_000));
                reported(&call_id, NanoUsd(cost), world.clock.now())
            };
            if rest.is_some() {
                return vec![call(random)];
            }
            (0..random.usize(1..4)).map(|_| call(random)).collect()
        });
        // Whoever is not answered tells of them again.
        for _ in 0..world.random(|random| random.usize(1..4)) {
            let World { store, engine, clock, caller, run, .. } = &*world;
            let now = clock.now();
            let told = Box::pin(record_usage(store, engine, caller, run.run_id, calls.clone(), now)).await;
            if let Ok(told) = told {
                world.tell(|tale| {
                    tale.reported += u64::from(told.recorded);
                    tale.repeated += u64::from(told.repeated);
                });
                if world.chance(70) {
                    break;
                }
            }
            world.pause(2_000).await;
        }
        world.pause(20_000).await;
    }
}

/// Somebody with half of what opens, or with that of others.
pub async fn stranger(world: Arc<World>) {
    let mut pass = pass();
    match world.random(|random| random.u32(0..3)) {
        0 => pass.grant = Grant::new(8),
        1 => pass.holder = processor("editor"),
        _ => pass.node_id = "edit".parse().expect("a node"),
    }
    let call = call(10, 10);
    let call_id = world.call_id();
    let World { store, engine, clock, run, model, .. } = &*world;
    let request = Request { run, pass: &pass, attempt: 1, call_id, model, call: &call };
    let verdict = reserve(&Ports { store, engine, clock, counter: &Counter(None) }, &request).await;
    match verdict {
        Ok(Verdict::NotAdmitted) | Err(_) => {}
        Ok(other) => world.break_off(format!("a stranger was told {other:?}")),
    }
}

pub async fn sweep(world: Arc<World>) {
    let now = world.clock.now();
    match world.mutant {
        Some(Mutant::NeverSwept) => {}
        Some(Mutant::LapseIsFree) => {
            let Ok(Some(ledger)) = world.store.load_ledger(&world.run).await else { return };
            for (call_id, hold) in ledger.overdue(now) {
                let free = Settle { call_id, hold, cost: NanoUsd(0), outcome: Outcome::NotRun };
                let _swept = world.store.settle(&world.run, &free).await;
            }
            let _swept = world.store.swept(&world.run, &ledger).await;
        }
        Some(Mutant::AboveGoesOn) if world.store.governed(&world.run).is_some_and(|ledger| ledger.is_above()) => {}
        Some(_) | None => {
            if let Ok(swept) = sweep_ledgers(&world.store, &world.engine, now, 10).await {
                world.tell(|tale| tale.lost += u64::from(swept.lost));
            }
        }
    }
}

pub async fn end(world: Arc<World>) {
    let World { store, engine, caller, run, clock, .. } = &*world;
    let _ended = Box::pin(cancel_run(store, engine, caller, run.run_id, clock.now())).await;
}
