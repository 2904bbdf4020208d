//! The rules of the governor's ports, over DynamoDB; what a ledger takes of a table, and what goes with it.

use crate::support::relay::Trouble;
use crate::support::sample::{self, mine, new_run, noon, run};
use crate::support::table::Table;
use jiff::SignedDuration;
use sluice_aws::dynamo::item::{Item, from_governed};
use sluice_aws::dynamo::{Store, keys};
use sluice_core::budget::NanoUsd;
use sluice_core::call_id::CallId;
use sluice_core::change::RunChange;
use sluice_core::governor::access::{Grant, Holder, Pass};
use sluice_core::governor::ledger::change::{Denial, Draw, DrawPart, Reserve};
use sluice_core::governor::ledger::{Ledger, Standing};
use sluice_core::governor::quota::{Period, QuotaOwner};
use sluice_core::governor::record::{CallRecord, Outcome};
use sluice_core::governor::usage::TokenUsage;
use sluice_core::id::NodeId;
use sluice_core::lifecycle::{EngineEnd, RunEvent, StopIntent};
use sluice_core::limits;
use sluice_core::ports::{
    ChangeRun, Changed, Drawn, GovernCalls, PurgeRuns, ReadLedgers, ReadRuns, RecordRun, Reserved, RunRef,
    StoreErrorClass, SweepLedgers,
};
use sluice_core::run::{Run, RunState, Times};
use sluice_testkit::contract::governor::Ground;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;

impl Ground for Table {
    type Store = Store;

    fn ports(&self) -> Store {
        self.another_store()
    }

    async fn open(&self, run: &RunRef, ledger: &Ledger) {
        self.put(from_governed(&run.tenant_id, run.run_id, ledger)).await;
    }

    async fn pause(&self) {
        sluice_testkit::turn().await;
    }
}

fn over_dynamodb(rule: impl for<'a> FnOnce(&'a Table) -> Pin<Box<dyn Future<Output = ()> + 'a>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { rule(&Table::new().await).await });
}

sluice_testkit::governor_rules!(over_dynamodb);

fn reference(run: &Run) -> RunRef {
    RunRef { tenant_id: run.tenant_id.clone(), run_id: run.run_id }
}

fn call_id(number: u128) -> CallId {
    CallId::new(noon(), number)
}

/// By a processor of [`sample::ledger`].
fn reserve(run: &Run, number: u128, amount: u64) -> Reserve {
    let holder = Holder::Processor("writer".parse().expect("a key"));
    let grant = sample::ledger(run).grant;
    let pass = Pass { grant, holder, node_id: "draft".parse().expect("a node") };
    Reserve { call_id: call_id(number), pass, amount: NanoUsd(amount), is_lowered: false }
}

/// A run that goes on, recorded with its ledger.
async fn going_on(table: &Table, number: u32) -> Run {
    let run = Run { state: RunState::running(Times::started(noon())), ..run(&mine(), number, noon()) };
    table.store.record_run(&new_run(&run, None, None)).await.expect("recorded");
    run
}

#[tokio::test]
async fn of_sixty_four_reserves_at_once_as_many_are_made_as_the_cap_pays_for() {
    let table = Table::new().await;
    let run = going_on(&table, 1).await;
    let cap = sample::ledger(&run).cap.expect("a cap").0;
    let amount = cap / 20 + 1;
    let racers: Vec<_> = (0..64)
        .map(|number| {
            let (store, reserve, run) = (table.another_store(), reserve(&run, number, amount), reference(&run));
            tokio::spawn(async move { store.reserve(&run, &reserve).await.expect("an answer") })
        })
        .collect();
    let mut made = 0;
    for racer in racers {
        match racer.await.expect("no panic") {
            Reserved::Done => made += 1,
            Reserved::Denied(seen) => assert!(seen.expect("its ledger").held().0 <= cap),
        }
    }
    let ledger = table.store.load_ledger(&reference(&run)).await.expect("loaded").expect("a ledger");
    assert_eq!((made, ledger.held().0), (19, 19 * amount));
}

#[tokio::test]
async fn a_reserve_is_one_write_and_is_never_sent_again() {
    let table = Table::new().await;
    let run = going_on(&table, 1).await;
    table.relay.take_passed();
    assert_eq!(table.store.reserve(&reference(&run), &reserve(&run, 1, 5)).await.expect("an answer"), Reserved::Done);
    assert_eq!(table.relay.take_passed(), ["UpdateItem"]);
    let conflict = Trouble::error(400, "TransactionConflictException");
    for (trouble, class) in [
        (Trouble::LoseAnswer, StoreErrorClass::Unavailable),
        (Trouble::error(500, "InternalServerError"), StoreErrorClass::Unavailable),
        (Trouble::error(400, "ThrottlingException"), StoreErrorClass::Throttled),
        (conflict, StoreErrorClass::Conflict),
    ] {
        table.relay.trouble("UpdateItem", [trouble.clone()]);
        let error = table.store.reserve(&reference(&run), &reserve(&run, 2, 5)).await.expect_err("no answer");
        assert_eq!(error.class, class, "{trouble:?}");
        assert_eq!(table.relay.take_passed(), ["UpdateItem"], "{trouble:?}");
    }
}

#[tokio::test]
async fn whatever_stops_or_ends_a_run_closes_its_ledger_with_the_same_write() {
    let table = Table::new().await;
    let stop = RunEvent::StopAsked;
    for (number, (event, standing)) in (1..).zip([
        (stop(StopIntent::BudgetExceeded), Standing::Exhausted),
        (stop(StopIntent::CanceledByCaller), Standing::Closed),
        (stop(StopIntent::TimedOut), Standing::Closed),
        (RunEvent::EngineEnded(EngineEnd::Succeeded), Standing::Closed),
    ]) {
        let run = going_on(&table, number).await;
        let after = run.after(event, noon()).expect("a change");
        assert_eq!(table.store.change_run(&RunChange::new(&run, after)).await.expect("changed"), Changed::Done);
        is_closed(&table, &run, standing).await;
    }
    let run = going_on(&table, 9).await;
    let asked = table.store.ask_to_stop(&mine(), run.run_id, StopIntent::CanceledByCaller, noon()).await;
    assert!(asked.expect("asked").expect("it is there").is_recorded);
    is_closed(&table, &run, Standing::Closed).await;
}

async fn is_closed(table: &Table, run: &Run, standing: Standing) {
    let reserved = table.store.reserve(&reference(run), &reserve(run, 1, 1)).await.expect("an answer");
    let Reserved::Denied(Some(ledger)) = reserved else { panic!("{reserved:?}") };
    assert_eq!(ledger.denies(&reserve(run, 1, 1)), Some(Denial::Closed(standing)));
    assert_eq!(table.store.due_ledgers(noon(), 10).await.expect("listed"), [], "nothing happened on it");
}

#[tokio::test]
async fn a_run_from_before_there_were_ledgers_ends_and_has_none() {
    let table = Table::new().await;
    let run = going_on(&table, 1).await;
    let key = keys::ledger(&mine(), run.run_id);
    table.delete(key).await;
    let denied = Reserved::Denied(None);
    assert_eq!(table.store.reserve(&reference(&run), &reserve(&run, 1, 1)).await.expect("an answer"), denied);
    let after = run.after(RunEvent::EngineEnded(EngineEnd::Succeeded), noon()).expect("an end");
    assert_eq!(table.store.change_run(&RunChange::new(&run, after)).await.expect("changed"), Changed::Done);
    assert_eq!(table.store.load_ledger(&reference(&run)).await.expect("loaded"), None);
    assert_eq!(table.store.reserve(&reference(&run), &reserve(&run, 1, 1)).await.expect("an answer"), denied);
    assert_eq!(table.store.due_ledgers(noon(), 10).await.expect("listed"), []);
    table.store.purge_run(&mine(), run.run_id).await.expect("purged");
    assert!(table.everything().await.is_empty());
}

#[tokio::test]
async fn an_ended_run_that_has_drawn_on_a_quota_is_looked_at() {
    let table = Table::new().await;
    let run = run(&mine(), 1, noon());
    let owner = QuotaOwner::Tenant(mine());
    let mut new = new_run(&run, None, None);
    new.ledger.allowances = BTreeMap::from([(owner.clone(), None)]);
    table.store.record_run(&new).await.expect("recorded");
    let part = DrawPart { period: Period::Day.at(noon()), amount: NanoUsd(60), most: NanoUsd(100) };
    let draw = Draw { parts: BTreeMap::from([(owner, part)]) };
    assert_eq!(table.store.draw(&reference(&run), &draw).await.expect("an answer"), Drawn::Done);
    let long_after = noon() + SignedDuration::from_hours(24);
    assert_eq!(table.store.due_ledgers(long_after, 10).await.expect("listed"), [], "it goes on");
    let after = run.after(RunEvent::StopAsked(StopIntent::CanceledByCaller), noon()).expect("an end");
    assert_eq!(table.store.change_run(&RunChange::new(&run, after)).await.expect("changed"), Changed::Done);
    assert_eq!(table.store.due_ledgers(noon(), 10).await.expect("listed"), [reference(&run)]);
}

fn owners() -> (QuotaOwner, QuotaOwner) {
    (QuotaOwner::Tenant(mine()), QuotaOwner::TenantUser(mine(), "ann".parse().expect("a user")))
}

fn draw(owners: &[&QuotaOwner], amount: u64) -> Draw {
    let part = DrawPart { period: Period::Day.at(noon()), amount: NanoUsd(amount), most: NanoUsd(1_000) };
    Draw { parts: owners.iter().map(|owner| ((*owner).clone(), part.clone())).collect() }
}

/// Ledgers of a run under these quotas: one for each selection of them on which it may have drawn.
fn under(owners: &[&QuotaOwner]) -> Vec<Ledger> {
    let allowances = owners.iter().map(|owner| ((*owner).clone(), None)).collect();
    let undrawn = Ledger { allowances, ..sample::ledger(&run(&mine(), 1, noon())) };
    let after = |selection: usize| {
        let drawn: Vec<_> = (0..owners.len()).filter(|at| selection >> at & 1 == 1).map(|at| owners[at]).collect();
        undrawn.draw(&draw(&drawn, 60)).expect("it is open")
    };
    (0..1 << owners.len()).map(after).collect()
}

#[tokio::test]
async fn a_draw_comes_upon_what_another_one_left_that_came_between() {
    let (own, of_user) = owners();
    let cases: [(&[&QuotaOwner], &[&QuotaOwner]); 5] = [
        (&[&own], &[&own]),
        (&[&of_user], &[&of_user]),
        (&[&own, &of_user], &[&own]),
        (&[&own, &of_user], &[&of_user]),
        (&[&own, &of_user], &[&own, &of_user]),
    ];
    for (owners, others) in cases {
        for ledger in under(owners) {
            let (table, run) = (Table::new().await, reference(&run(&mine(), 1, noon())));
            table.open(&run, &ledger).await;
            let (one, other) = (draw(owners, 7), draw(others, 5));
            let between = async { assert_eq!(table.ports().draw(&run, &other).await.expect("drawn"), Drawn::Done) };
            let made = table.relay.holding("TransactWriteItems", table.store.draw(&run, &one), between).await;
            assert_eq!(made.expect("drawn"), Drawn::Done);
            let expected = ledger.draw(&other).and_then(|ledger| ledger.draw(&one));
            assert_eq!(table.store.load_ledger(&run).await.expect("loaded"), expected);
        }
    }
}

#[tokio::test]
async fn a_draw_is_not_made_on_a_ledger_that_closed_or_went_between() {
    let (own, of_user) = owners();
    let cases: [&[&QuotaOwner]; 3] = [&[&own], &[&of_user], &[&own, &of_user]];
    for (owners, ledger) in
        cases.into_iter().flat_map(|owners| under(owners).into_iter().map(move |ledger| (owners, ledger)))
    {
        for standing in [Some(Standing::Closed), Some(Standing::Exhausted), None] {
            let (table, run) = (Table::new().await, reference(&run(&mine(), 1, noon())));
            table.open(&run, &ledger).await;
            let after = standing.map(|standing| ledger.close(standing, noon()));
            let between = async {
                match &after {
                    Some(closed) => table.open(&run, closed).await,
                    None => table.delete(keys::ledger(&run.tenant_id, run.run_id)).await,
                }
            };
            let draw = draw(owners, 7);
            let made = table.relay.holding("TransactWriteItems", table.store.draw(&run, &draw), between).await;
            assert_eq!(made.expect("an answer"), Drawn::Closed, "{standing:?}");
            assert_eq!(table.store.load_ledger(&run).await.expect("loaded"), after);
            for owner in owners {
                let quota = table.store.load_quota(owner, &Period::Day.at(noon())).await.expect("loaded");
                assert_eq!(quota, NanoUsd(0), "{standing:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_balance_is_not_made_on_a_ledger_on_which_something_happened_between() {
    let (own, _) = owners();
    let [undrawn, drawn] = under(&[&own]).try_into().expect("two");
    let ledger = Ledger { spent: NanoUsd(15), ..drawn }.close(Standing::Closed, noon());
    let [balance] = ledger.balances().try_into().expect("one");
    for (what, after) in [
        ("a report has begun", ledger.begin_report(call_id(9), NanoUsd(7))),
        ("a report was counted", Ledger { spent: NanoUsd(22), ..ledger.clone() }),
        ("another balance was made", ledger.balance(&balance).expect("balanced")),
    ] {
        let (table, run) = (Table::new().await, reference(&run(&mine(), 1, noon())));
        table.open(&run, &ledger).await;
        // Somebody else has drawn as much on the same quota.
        let other = RunRef { run_id: sample::run_id(2), ..run.clone() };
        table.open(&other, &undrawn).await;
        assert_eq!(table.store.draw(&other, &draw(&[&own], 60)).await.expect("drawn"), Drawn::Done);
        let between = table.open(&run, &after);
        let made = table.relay.holding("TransactWriteItems", table.store.balance(&run, &balance), between).await;
        assert!(!made.expect("an answer"), "{what}");
        assert_eq!(table.store.load_ledger(&run).await.expect("loaded"), Some(after), "{what}");
        let quota = table.store.load_quota(&own, &Period::Day.at(noon())).await.expect("loaded");
        assert_eq!(quota, NanoUsd(60), "{what}");
    }
}

#[tokio::test]
async fn a_ledger_that_was_spent_and_has_closed_since_it_was_seen_is_looked_at_again() {
    let table = Table::new().await;
    for (number, is_held) in [(1, false), (2, true)] {
        let run = going_on(&table, number).await;
        if is_held {
            let held = table.store.reserve(&reference(&run), &reserve(&run, 1, 5)).await.expect("an answer");
            assert_eq!(held, Reserved::Done);
        }
        let stopping = run.after(RunEvent::StopAsked(StopIntent::BudgetExceeded), noon()).expect("a stop");
        let ended = stopping.after(RunEvent::EngineEnded(EngineEnd::Aborted), noon()).expect("an end");
        let stop = table.store.change_run(&RunChange::new(&run, stopping.clone())).await.expect("changed");
        let seen = table.store.load_ledger(&reference(&run)).await.expect("loaded").expect("a ledger");
        assert_eq!((stop, seen.standing), (Changed::Done, Standing::Exhausted));
        let end = table.store.change_run(&RunChange::new(&stopping, ended)).await.expect("changed");
        let is_swept = table.store.swept(&reference(&run), &seen).await.expect("an answer");
        assert_eq!((end, is_swept), (Changed::Done, false), "{is_held}");
    }
}

#[tokio::test]
async fn records_are_listed_with_the_usage_of_their_run_and_go_with_it() {
    let table = Table::new().await;
    let run = going_on(&table, 1).await;
    let record = CallRecord {
        call_id: call_id(1),
        about: None,
        outcome: Outcome::Lost,
        tokens: TokenUsage::default(),
        held: NanoUsd(5),
        cost: NanoUsd(5),
        settled_at: noon(),
    };
    table.store.record_call(&reference(&run), &record).await.expect("recorded");
    let listed = table.store.list_usage(&mine(), run.run_id, 10, None).await.expect("listed");
    assert_eq!(listed.items, [record.as_reported()]);
    table.store.purge_run(&mine(), run.run_id).await.expect("purged");
    assert!(table.everything().await.is_empty());
}

/// As DynamoDB counts it: names and values; a map has three bytes, and one for each of its entries.
/// Source: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>
#[expect(clippy::wildcard_enum_match_arm, reason = "a ledger has no values of other kinds")]
fn bytes(item: &Item) -> usize {
    use serde_dynamo::AttributeValue as V;
    fn of_value(value: &V) -> usize {
        match value {
            V::S(text) => text.len(),
            V::N(number) => number.len().div_ceil(2) + 1,
            V::M(map) => 3 + map.len() + map.iter().map(|(name, value)| name.len() + of_value(value)).sum::<usize>(),
            _ => 1,
        }
    }
    item.iter().map(|(name, value)| name.len() + of_value(value)).sum()
}

#[test]
fn a_ledger_of_a_large_run_with_a_hundred_calls_under_way_takes_less_than_eight_kilobytes() {
    let name = |number: u32| -> NodeId { format!("summarize-{number:03}").parse().expect("a node") };
    let nodes: BTreeSet<NodeId> = (0..80).map(name).collect();
    let processor = Holder::Processor("summarize-text".parse().expect("a key"));
    let by = BTreeMap::from([(processor, nodes.clone()), (Holder::Worker, nodes)]);
    let mut ledger = Ledger::new(Grant::new(7), by, Some(NanoUsd(10_000_000_000)));
    ledger.holds = (0..limits::CALLS_AT_ONCE).map(|number| (call_id(number as u128), NanoUsd(45_678_901))).collect();
    ledger.allowances = BTreeMap::from([(QuotaOwner::Tenant(mine()), None)]);
    let bytes = bytes(&from_governed(&mine(), sample::run_id(1), &ledger));
    assert!((6_000..8_192).contains(&bytes), "{bytes}");
}
