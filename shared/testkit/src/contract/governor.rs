//! The ports of the governor, rule by rule. What is listed is asked for until it is there: see the ports' own words on which
//! reads are eventually consistent.

use super::{at_once, becomes};
use crate::contract::sample::{mine, noon, yours};
use jiff::{SignedDuration, Timestamp};
use sluice_core::budget::NanoUsd;
use sluice_core::call_id::{CallId, LEASE};
use sluice_core::governor::access::{Grant, Holder, KeyHead, Pass, ProcessorKeys};
use sluice_core::governor::ledger::change::{Draw, DrawPart, Reserve, Settle, Tally};
use sluice_core::governor::ledger::{Ledger, OnBudgetExceeded, Standing};
use sluice_core::governor::quota::{Period, QuotaOwner};
use sluice_core::governor::record::{AboutCall, CallRecord, Outcome};
use sluice_core::governor::usage::TokenUsage;
use sluice_core::id::{NodeId, ProcessorKey, RunId, TenantId};
use sluice_core::limits;
use sluice_core::ports::{Drawn, GovernCalls, ManageKeys, ReadLedgers, Reserved, RunRef, SweepLedgers};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use uuid::Uuid;

/// Every rule as a test: see [`rules!`](crate::rules).
#[macro_export]
macro_rules! governor_rules {
    ($judge:path) => {
        $crate::rules! {
            judge: $judge, of: governor,
            a_ledger_is_read_back_as_it_was_opened,
            a_worst_case_is_held_in_full,
            every_denial_writes_nothing_and_shows_the_ledger_as_it_is,
            of_many_reserves_at_once_as_many_are_made_as_fit,
            of_many_reserves_at_once_a_hundred_are_under_way,
            the_first_record_of_a_call_stands,
            a_record_is_put_beside_a_ledger_only_while_there_is_one,
            of_many_settlements_of_a_call_one_is_made,
            settlements_of_many_calls_at_once_are_all_made,
            refusals_are_counted_where_somebody_may_call,
            quotas_are_drawn_on_all_or_none,
            of_many_draws_at_once_no_more_are_made_than_the_quota_has,
            a_balance_is_made_once,
            a_balance_charges_what_was_spent_without_having_been_drawn,
            a_balance_with_a_quota_that_is_forgotten_is_made_without_it,
            a_ledger_is_looked_after_only_as_it_was_seen,
            a_ledger_is_due_at_the_end_of_its_earliest_lease,
            keys_are_changed_by_their_revision,
        }
    };
}

/// Where the rules are tried.
pub trait Ground {
    type Store: SweepLedgers + ManageKeys;

    /// The ports, of a process of its own.
    fn ports(&self) -> Self::Store;

    /// Gives a run that has begun this ledger.
    fn open(&self, run: &RunRef, ledger: &Ledger) -> impl Future<Output = ()>;

    /// Lets things that are under way happen.
    fn pause(&self) -> impl Future<Output = ()>;
}

fn run(tenant: TenantId, number: u128) -> RunRef {
    RunRef { tenant_id: tenant, run_id: RunId(Uuid::from_u128(number)) }
}

fn node() -> NodeId {
    "draft".parse().expect("a node")
}

fn writer() -> ProcessorKey {
    "writer".parse().expect("a key")
}

fn pass() -> Pass {
    Pass { grant: Grant::new(7), holder: Holder::Processor(writer()), node_id: node() }
}

fn ledger(cap: Option<u64>) -> Ledger {
    let nodes = BTreeMap::from([
        (Holder::Processor(writer()), BTreeSet::from([node()])),
        (Holder::Worker, BTreeSet::from(["ask".parse().expect("a node")])),
    ]);
    Ledger::new(Grant::new(7), nodes, cap.map(NanoUsd))
}

fn call_id(number: u128) -> CallId {
    CallId::new(noon() + SignedDuration::from_secs(number as i64), number)
}

fn reserve(number: u128, amount: u64) -> Reserve {
    Reserve { call_id: call_id(number), pass: pass(), amount: NanoUsd(amount), is_lowered: false }
}

fn record(number: u128, held: u64, cost: u64, outcome: Outcome) -> CallRecord {
    let about = AboutCall { node_id: node(), attempt: 2, model: "haiku".parse().expect("a key"), latency_ms: 1_234 };
    CallRecord {
        call_id: call_id(number),
        about: (outcome == Outcome::Used).then_some(about),
        outcome,
        tokens: TokenUsage { input: 1, output: 2, cache_read: 3, cache_write_5m: 4, cache_write_1h: 5 },
        held: NanoUsd(held),
        cost: NanoUsd(cost),
        settled_at: noon(),
    }
}

fn settle(number: u128, hold: u64, cost: u64) -> Settle {
    Settle::from(&record(number, hold, cost, Outcome::Used))
}

async fn seen(store: &impl SweepLedgers, run: &RunRef) -> Ledger {
    store.load_ledger(run).await.expect("an answer").expect("it is there")
}

/// A run of mine on open ground.
async fn opened<G: Ground>(ground: &G, ledger: &Ledger) -> (G::Store, RunRef) {
    let run = run(mine(), 1);
    ground.open(&run, ledger).await;
    (ground.ports(), run)
}

pub async fn a_ledger_is_read_back_as_it_was_opened(ground: &impl Ground) {
    let (own, of_user) = owners();
    let mut rich = ledger(Some(5));
    rich.on_exceeded = OnBudgetExceeded::Refuse;
    rich.allowances = BTreeMap::from([(own, None), (of_user, None)]);
    for (number, ledger) in [(1, ledger(None)), (2, ledger(Some(0))), (3, rich)] {
        let run = run(mine(), number);
        ground.open(&run, &ledger).await;
        assert_eq!(seen(&ground.ports(), &run).await, ledger);
    }
    assert_eq!(ground.ports().load_ledger(&run(yours(), 1)).await.expect("an answer"), None);
}

pub async fn a_worst_case_is_held_in_full(ground: &impl Ground) {
    let (store, run) = opened(ground, &ledger(Some(100))).await;
    let mut expected = ledger(Some(100));
    let lowered = Reserve { is_lowered: true, ..reserve(2, 30) };
    for reserve in [reserve(1, 70), lowered] {
        assert_eq!(store.reserve(&run, &reserve).await.expect("an answer"), Reserved::Done);
        expected = expected.reserve(&reserve).expect("it fits");
        assert_eq!(seen(&store, &run).await, expected);
    }
    let worker = Pass { holder: Holder::Worker, node_id: "ask".parse().expect("a node"), ..pass() };
    let of_worker = Reserve { pass: worker, ..reserve(3, 0) };
    assert_eq!(store.reserve(&run, &of_worker).await.expect("an answer"), Reserved::Done);
}

pub async fn every_denial_writes_nothing_and_shows_the_ledger_as_it_is(ground: &impl Ground) {
    let (own, of_user) = owners();
    let compute_node = || "default".parse().expect("a key");
    let of_node_user = QuotaOwner::ComputeNodeUser(compute_node(), mine(), "ann".parse().expect("a user"));
    let closed = |standing| ledger(Some(100)).close(standing, noon());
    let held = ledger(Some(100)).holding(&reserve(1, 60));
    let crowded = (0..limits::CALLS_AT_ONCE)
        .fold(ledger(None), |ledger, number| ledger.holding(&reserve(number as u128 + 10, 1)));
    let undrawn = |owner| (under(&[&owner]), reserve(2, 1));
    let with = |pass: Pass| Reserve { pass, ..reserve(2, 1) };
    let cases = [
        (ledger(Some(100)), with(Pass { grant: Grant::new(8), ..pass() })),
        (ledger(Some(100)), with(Pass { holder: Holder::Worker, ..pass() })),
        (ledger(Some(100)), with(Pass { holder: Holder::Processor("editor".parse().expect("a key")), ..pass() })),
        (ledger(Some(100)), with(Pass { node_id: "ask".parse().expect("a node"), ..pass() })),
        (closed(Standing::Exhausted), reserve(2, 1)),
        (closed(Standing::Closed), reserve(2, 1)),
        (held.clone(), reserve(1, 1)),
        (held, reserve(2, 41)),
        (crowded, reserve(2, 1)),
        (ledger(Some(100)), reserve(2, 101)),
        undrawn(own),
        undrawn(of_user),
        undrawn(QuotaOwner::ComputeNode(compute_node())),
        undrawn(of_node_user),
    ];
    for (number, (ledger, reserve)) in (1..).zip(cases) {
        let (store, run) = (ground.ports(), run(mine(), number));
        ground.open(&run, &ledger).await;
        let denied = store.reserve(&run, &reserve).await.expect("an answer");
        assert_eq!(denied, Reserved::Denied(Some(Box::new(ledger.clone()))), "{number}");
        assert_eq!(seen(&store, &run).await, ledger, "{number}");
    }
    let nowhere = ground.ports().reserve(&run(yours(), 1), &reserve(2, 1)).await.expect("an answer");
    assert_eq!(nowhere, Reserved::Denied(None));
}

pub async fn of_many_reserves_at_once_as_many_are_made_as_fit(ground: &impl Ground) {
    let (store, run) = opened(ground, &ledger(Some(100))).await;
    let asks = (0..24).map(|number| {
        let (store, run) = (ground.ports(), &run);
        async move { store.reserve(run, &reserve(number, 9)).await.expect("an answer") }
    });
    let made = at_once(asks).await.into_iter().filter(|reserved| *reserved == Reserved::Done).count();
    assert_eq!((made, seen(&store, &run).await.held()), (11, NanoUsd(99)));
}

pub async fn of_many_reserves_at_once_a_hundred_are_under_way(ground: &impl Ground) {
    let full = (0..limits::CALLS_AT_ONCE - 3)
        .fold(ledger(None), |ledger, number| ledger.holding(&reserve(number as u128 + 100, 1)));
    let (store, run) = opened(ground, &full).await;
    let asks = (0..12).map(|number| {
        let (store, run) = (ground.ports(), &run);
        async move { store.reserve(run, &reserve(number, 1)).await.expect("an answer") }
    });
    let made = at_once(asks).await.into_iter().filter(|reserved| *reserved == Reserved::Done).count();
    assert_eq!((made, seen(&store, &run).await.holds.len()), (3, limits::CALLS_AT_ONCE));
}

pub async fn the_first_record_of_a_call_stands(ground: &impl Ground) {
    let (store, run) = opened(ground, &ledger(None)).await;
    let (first, second) = (record(1, 10, 7, Outcome::Used), record(1, 10, 10, Outcome::Lost));
    for (put, standing) in [(&first, &first), (&second, &first), (&first, &first)] {
        assert_eq!(store.record_call(&run, put).await.expect("an answer"), *standing);
    }
    let other = record(2, 10, 0, Outcome::NotRun);
    assert_eq!(store.record_call(&run, &other).await.expect("an answer"), other);
    let racers = [Outcome::Used, Outcome::Lost, Outcome::NotRun].map(|outcome| record(3, 10, 1, outcome));
    let puts = racers.iter().map(|record| {
        let (store, run) = (ground.ports(), &run);
        async move { store.record_call(run, record).await.expect("an answer") }
    });
    let standing: Vec<_> = at_once(puts).await;
    assert!(standing.iter().all(|one| *one == standing[0]), "{standing:?}");
}

pub async fn a_record_is_put_beside_a_ledger_only_while_there_is_one(ground: &impl Ground) {
    let (store, run) = opened(ground, &ledger(None).close(Standing::Closed, noon())).await;
    let (first, second) = (record(1, 10, 7, Outcome::Used), record(1, 10, 10, Outcome::Lost));
    for (put, standing) in [(&first, &first), (&second, &first), (&first, &first)] {
        assert_eq!(store.record_beside_ledger(&run, put).await.expect("an answer"), Some(standing.clone()));
    }
    let nobody = RunRef { run_id: RunId(Uuid::from_u128(99)), ..run };
    assert_eq!(store.record_beside_ledger(&nobody, &first).await.expect("an answer"), None);
    assert_eq!(store.record_call(&nobody, &second).await.expect("an answer"), second, "nothing was left behind");
}

pub async fn of_many_settlements_of_a_call_one_is_made(ground: &impl Ground) {
    let held = ledger(Some(100)).holding(&reserve(1, 60)).holding(&reserve(2, 30));
    let (store, run) = opened(ground, &held).await;
    for other in [settle(1, 59, 7), settle(3, 60, 7)] {
        assert_eq!(store.settle(&run, &other).await.expect("an answer"), None, "another hold");
    }
    let settlements = (0..8).map(|_| {
        let (store, run) = (ground.ports(), &run);
        async move { store.settle(run, &settle(1, 60, 7)).await.expect("an answer") }
    });
    let made: Vec<Ledger> = at_once(settlements).await.into_iter().flatten().collect();
    let settled = held.settle(&settle(1, 60, 7)).expect("settled");
    assert_eq!((made, seen(&store, &run).await), (vec![settled.clone()], settled));
}

pub async fn settlements_of_many_calls_at_once_are_all_made(ground: &impl Ground) {
    let held = (0..20).fold(ledger(Some(1_000)), |ledger, number| ledger.holding(&reserve(number, 10)));
    let (store, run) = opened(ground, &held.close(Standing::Closed, noon())).await;
    let settlements: Vec<Settle> = (0..20)
        .map(|number| match number % 4 {
            0 => Settle::from(&record(number, 10, 10, Outcome::Lost)),
            1 => Settle::from(&record(number, 10, 0, Outcome::NotRun)),
            2 => settle(number, 10, 11),
            _ => settle(number, 10, 3),
        })
        .collect();
    let made = at_once(settlements.iter().map(|settle| {
        let (store, run) = (ground.ports(), &run);
        async move { store.settle(run, settle).await.expect("an answer") }
    }));
    assert!(made.await.into_iter().all(|made| made.is_some()));
    let ledger = seen(&store, &run).await;
    assert_eq!((ledger.spent, ledger.lost, ledger.held()), (NanoUsd(120), NanoUsd(50), NanoUsd(0)));
    assert_eq!((ledger.counts.calls, ledger.counts.lost, ledger.counts.breaches), (15, 5, 5));
}

pub async fn refusals_are_counted_where_somebody_may_call(ground: &impl Ground) {
    let (store, run) = opened(ground, &ledger(Some(1))).await;
    let mut expected = ledger(Some(1));
    for is_exhausted in [true, false, true] {
        let tally = Tally { pass: pass(), is_exhausted };
        expected = expected.tally(&tally).expect("it is open");
        assert_eq!(store.tally(&run, &tally).await.expect("an answer"), Some(expected.clone()));
    }
    for stranger in [
        Pass { grant: Grant::new(8), ..pass() },
        Pass { holder: Holder::Worker, ..pass() },
        Pass { node_id: "ask".parse().expect("a node"), ..pass() },
    ] {
        let tally = Tally { pass: stranger, is_exhausted: true };
        assert_eq!(store.tally(&run, &tally).await.expect("an answer"), None, "{tally:?}");
    }
    let tally = Tally { pass: pass(), is_exhausted: true };
    for (number, standing) in [(2, Standing::Closed), (3, Standing::Exhausted)] {
        let (over, closed) = (self::run(mine(), number), ledger(Some(1)).close(standing, noon()));
        ground.open(&over, &closed).await;
        assert_eq!(store.tally(&over, &tally).await.expect("an answer"), None, "{standing:?}");
        assert_eq!(seen(&store, &over).await, closed);
    }
    assert_eq!(store.tally(&self::run(yours(), 1), &tally).await.expect("an answer"), None);
    assert_eq!(seen(&store, &run).await, expected);
}

fn owners() -> (QuotaOwner, QuotaOwner) {
    (QuotaOwner::Tenant(mine()), QuotaOwner::TenantUser(mine(), "ann".parse().expect("a user")))
}

fn draw(at: Timestamp, parts: &[(&QuotaOwner, u64, u64)]) -> Draw {
    let part = |(owner, amount, most): &(&QuotaOwner, u64, u64)| {
        let part = DrawPart { period: Period::Day.at(at), amount: NanoUsd(*amount), most: NanoUsd(*most) };
        ((*owner).clone(), part)
    };
    Draw { parts: parts.iter().map(part).collect() }
}

fn under(owners: &[&QuotaOwner]) -> Ledger {
    let allowances = owners.iter().map(|owner| ((*owner).clone(), None)).collect();
    Ledger { allowances, ..ledger(Some(1_000)) }
}

pub async fn quotas_are_drawn_on_all_or_none(ground: &impl Ground) {
    let (own, of_user) = owners();
    let (store, run) = opened(ground, &under(&[&own, &of_user])).await;
    let tomorrow = noon() + SignedDuration::from_hours(24);
    let quota = async |owner: &QuotaOwner, at| {
        let (owner, period) = (owner.clone(), Period::Day.at(at));
        store.load_quota(&owner, &period).await.expect("an answer").0
    };
    let beyond = draw(noon(), &[(&own, 101, 100), (&of_user, 10, 15)]);
    let short = BTreeMap::from([(own.clone(), NanoUsd(100))]);
    assert_eq!(store.draw(&run, &beyond).await.expect("an answer"), Drawn::Short(short), "more than there is of it");
    let first = draw(noon(), &[(&own, 60, 100), (&of_user, 10, 15)]);
    assert_eq!(store.draw(&run, &first).await.expect("an answer"), Drawn::Done);
    let drawn = under(&[&own, &of_user]).draw(&first).expect("it is open");
    assert_eq!(seen(&store, &run).await, drawn);
    // One of them has too little, or both.
    for (parts, short) in [
        ([(&own, 40, 100), (&of_user, 6, 15)], vec![(&of_user, 5)]),
        ([(&own, 41, 100), (&of_user, 5, 15)], vec![(&own, 40)]),
        ([(&own, 41, 100), (&of_user, 6, 15)], vec![(&own, 40), (&of_user, 5)]),
    ] {
        let short = short.into_iter().map(|(owner, left)| (owner.clone(), NanoUsd(left))).collect();
        assert_eq!(store.draw(&run, &draw(noon(), &parts)).await.expect("an answer"), Drawn::Short(short));
    }
    assert_eq!(seen(&store, &run).await, drawn);
    becomes((60, 10), || ground.pause(), async || (quota(&own, noon()).await, quota(&of_user, noon()).await)).await;
    // The next day has a quota of its own.
    let next = draw(tomorrow, &[(&own, 100, 100)]);
    assert_eq!(store.draw(&run, &next).await.expect("an answer"), Drawn::Done);
    assert_eq!(seen(&store, &run).await, drawn.draw(&next).expect("it is open"));
    becomes((60, 100), || ground.pause(), async || (quota(&own, noon()).await, quota(&own, tomorrow).await)).await;
    let closed = self::run(mine(), 2);
    ground.open(&closed, &under(&[&own]).close(Standing::Closed, noon())).await;
    let late = draw(tomorrow + SignedDuration::from_hours(24), &[(&own, 1, 100)]);
    assert_eq!(store.draw(&closed, &late).await.expect("an answer"), Drawn::Closed);
    assert_eq!(store.draw(&self::run(yours(), 1), &late).await.expect("an answer"), Drawn::Closed);
}

pub async fn of_many_draws_at_once_no_more_are_made_than_the_quota_has(ground: &impl Ground) {
    let (own, _) = owners();
    for number in 0..12 {
        ground.open(&run(mine(), number), &under(&[&own])).await;
    }
    let draws = (0..12).map(|number| {
        let (store, run, draw) = (ground.ports(), run(mine(), number), draw(noon(), &[(&own, 30, 100)]));
        async move {
            // Who only came at the same moment as others comes again.
            loop {
                match store.draw(&run, &draw).await {
                    Ok(drawn) => break drawn == Drawn::Done,
                    Err(error) => assert!(error.is_conflict(), "{error}"),
                }
            }
        }
    });
    assert_eq!(at_once(draws).await.into_iter().filter(|made| *made).count(), 3);
}

pub async fn a_balance_is_made_once(ground: &impl Ground) {
    let (own, _) = owners();
    let (store, run) = opened(ground, &under(&[&own])).await;
    let drawn = draw(noon(), &[(&own, 60, 100)]);
    for (number, standing) in [(1, Standing::Closed), (2, Standing::Exhausted)] {
        assert_eq!(store.draw(&run, &drawn).await.expect("an answer"), Drawn::Done);
        let ended = self::run(mine(), 1 + u128::from(number));
        let spent = under(&[&own]).draw(&drawn).expect("it is open").holding(&reserve(1, 20));
        let spent = spent.settle(&settle(1, 20, 15)).expect("settled").close(standing, noon());
        ground.open(&ended, &spent).await;
        let [balance] = spent.balances().try_into().expect("one");
        assert!(!store.balance(&run, &balance).await.expect("an answer"), "it is open");
        for made in [true, false] {
            assert_eq!(store.balance(&ended, &balance).await.expect("an answer"), made, "{standing:?}");
            assert_eq!(seen(&store, &ended).await, spent.balance(&balance).expect("balanced"));
            let quota = async || store.load_quota(&own, &Period::Day.at(noon())).await.expect("an answer");
            becomes(NanoUsd(number * 15), || ground.pause(), quota).await;
        }
    }
}

pub async fn a_balance_charges_what_was_spent_without_having_been_drawn(ground: &impl Ground) {
    let (own, _) = owners();
    let (store, run) = opened(ground, &under(&[&own])).await;
    let drawn = draw(noon(), &[(&own, 60, 1_000)]);
    let over = under(&[&own]).draw(&drawn).expect("it is open").holding(&reserve(1, 60));
    let over = over.settle(&settle(1, 60, 75)).expect("settled").close(Standing::Closed, noon());
    let [balance] = over.balances().try_into().expect("one");
    // The quota is not there yet, and then it is.
    for (number, expected) in [(2, 15), (3, 90)] {
        let ended = self::run(mine(), number);
        ground.open(&ended, &over).await;
        for made in [true, false] {
            assert_eq!(store.balance(&ended, &balance).await.expect("an answer"), made);
        }
        assert_eq!(seen(&store, &ended).await, over.balance(&balance).expect("balanced"));
        let quota = async || store.load_quota(&own, &Period::Day.at(noon())).await.expect("an answer");
        becomes(NanoUsd(expected), || ground.pause(), quota).await;
        assert_eq!(store.draw(&run, &drawn).await.expect("an answer"), Drawn::Done);
    }
}

pub async fn a_balance_with_a_quota_that_is_forgotten_is_made_without_it(ground: &impl Ground) {
    let (own, _) = owners();
    let drawn = under(&[&own]).draw(&draw(noon(), &[(&own, 60, 100)])).expect("it is open");
    let ended = drawn.close(Standing::Closed, noon());
    let (store, run) = opened(ground, &ended).await;
    let [balance] = ended.balances().try_into().expect("one");
    assert!(store.balance(&run, &balance).await.expect("an answer"));
    assert_eq!(seen(&store, &run).await, ended.balance(&balance).expect("balanced"));
    assert_eq!(store.load_quota(&own, &Period::Day.at(noon())).await.expect("an answer"), NanoUsd(0));
}

pub async fn a_ledger_is_looked_after_only_as_it_was_seen(ground: &impl Ground) {
    let open = ledger(Some(100));
    let held = open.holding(&reserve(1, 60));
    let settled = held.settle(&settle(1, 60, 25)).expect("settled");
    let standings = [Standing::Open, Standing::Exhausted, Standing::Closed];
    let all = [open, held, settled];
    let all: Vec<_> = all.iter().flat_map(|one| standings.map(|standing| one.close(standing, noon()))).collect();
    let (store, run) = (ground.ports(), run(mine(), 1));
    for (was, is) in all.iter().flat_map(|was| all.iter().map(move |is| (was, is))) {
        ground.open(&run, is).await;
        let after = is.swept(was);
        assert_eq!(store.swept(&run, was).await.expect("an answer"), after.is_some(), "{is:?} was {was:?}");
        assert_eq!(seen(&store, &run).await, after.unwrap_or_else(|| is.clone()));
    }
}

pub async fn a_ledger_is_due_at_the_end_of_its_earliest_lease(ground: &impl Ground) {
    let (store, run) = opened(ground, &ledger(None)).await;
    let end = |number: u128| call_id(number).lease_end();
    let due = async |at| store.due_ledgers(at, 10).await.expect("an answer");
    for number in [5, 9] {
        assert_eq!(store.reserve(&run, &reserve(number, 1)).await.expect("an answer"), Reserved::Done);
    }
    assert_eq!(end(5).duration_since(call_id(5).at()), LEASE);
    becomes(vec![run.clone()], || ground.pause(), || due(end(5))).await;
    assert_eq!(due(end(5) - SignedDuration::from_millis(1)).await, []);
    let held = seen(&store, &run).await;
    assert!(!store.swept(&run, &ledger(None)).await.expect("an answer"), "something is held");
    assert!(store.settle(&run, &settle(5, 1, 1)).await.expect("an answer").is_some());
    let one = seen(&store, &run).await;
    assert!(store.swept(&run, &one).await.expect("an answer"));
    becomes(vec![], || ground.pause(), || due(end(5))).await;
    becomes(vec![run.clone()], || ground.pause(), || due(end(9))).await;
    assert!(store.settle(&run, &settle(9, 1, 1)).await.expect("an answer").is_some());
    for stale in [held, one, ledger(None), ledger(None).close(Standing::Closed, noon())] {
        assert!(!store.swept(&run, &stale).await.expect("an answer"), "it is not as it was: {stale:?}");
    }
    assert!(store.swept(&run, &seen(&store, &run).await).await.expect("an answer"));
    becomes(vec![], || ground.pause(), || due(end(9))).await;
    assert_eq!(seen(&store, &run).await.sweep_at, None);
    for of in [&run, &self::run(yours(), 1)] {
        store.sweep_at(of, end(9)).await.expect("an answer");
    }
    becomes(vec![run.clone()], || ground.pause(), || due(end(9))).await;
}

pub async fn keys_are_changed_by_their_revision(ground: &impl Ground) {
    let store = ground.ports();
    let head = |hash: &str| KeyHead { hash: hash.repeat(64), created_by: "someone".to_owned(), created_at: noon() };
    assert_eq!(store.load_keys(&writer()).await.expect("an answer"), ProcessorKeys::default());
    let one = ProcessorKeys::default().with(head("a")).expect("room");
    let other = ProcessorKeys::default().with(head("b")).expect("room");
    for (keys, is_saved) in [(&one, true), (&other, false)] {
        assert_eq!(store.save_keys(&writer(), keys).await.expect("an answer"), is_saved);
    }
    let two = one.with(head("b")).expect("room");
    assert!(store.save_keys(&writer(), &two).await.expect("an answer"));
    assert_eq!(store.load_keys(&writer()).await.expect("an answer"), two);
    let none = two.without(two.alive[0].id()).and_then(|keys| keys.without(two.alive[1].id())).expect("they are there");
    assert!(!store.save_keys(&writer(), &none).await.expect("an answer"), "two revisions on");
    let unknown = store.load_keys(&"editor".parse().expect("a key")).await.expect("an answer");
    assert_eq!(unknown, ProcessorKeys::default());
}
