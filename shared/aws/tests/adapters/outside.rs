//! What workers and people say of a run, and what its calls used, in a table over a network.

use crate::support::relay::Trouble;
use crate::support::sample::{self, mine, new_run, run, yours};
use crate::support::table::Table;
use sluice_aws::dynamo::{item, keys};
use sluice_core::budget::NanoUsd;
use sluice_core::flow::record_usage::record_usage;
use sluice_core::governor::access::Grant;
use sluice_core::governor::ledger::change::{Earlier, ReportTotal};
use sluice_core::governor::ledger::{Ledger, Standing};
use sluice_core::ports::{
    LoadRun, ReadLedgers, ReadRuns, RecordReports, RecordRun, RecordUsage, ReportAtOnce, ReportCounted, StoreErrorClass,
};
use sluice_core::report::Progress;
use sluice_core::run::{Run, RunState, Times};
use sluice_testkit::contract::sample::noon;
use sluice_testkit::contract::store::answers::{node_id, waiting};
use sluice_testkit::contract::store::reports::{
    begin, call, comment, count, known, reference, report, running, stopping, token, used,
};
use sluice_testkit::engine::MemoryEngine;
use std::collections::BTreeMap;

#[tokio::test]
async fn a_report_takes_three_writes_and_lost_answers_are_still_ours() {
    let table = Table::new().await;
    let run = running(&table.store).await;
    let (of, calls) = (reference(&run), [call("1", 100), call("2", 100)]);
    table.relay.take_passed();
    // The first write is never sent again: nobody knows when it comes.
    table.relay.trouble("UpdateItem", [Trouble::LoseAnswer]);
    table.store.begin_report(&of, NanoUsd(200), noon()).await.expect_err("lost");
    assert_eq!(table.relay.take_passed(), ["UpdateItem"]);
    let begun = begin(&table.store, &run, &calls).await;
    table.relay.trouble("TransactWriteItems", [Trouble::LoseAnswer]);
    assert!(table.store.record_calls(&of, begun.report_id, &calls, noon()).await.expect("recorded"));
    table.relay.trouble("UpdateItem", [Trouble::LoseAnswer]);
    let counted = table.store.count_report(&of, &count(&begun, &calls), None).await.expect("counted");
    assert!(matches!(counted, ReportCounted::NotUnderWay(Some(_))), "it was counted by the first try: {counted:?}");
    let passed = table.relay.take_passed();
    assert_eq!(passed, ["UpdateItem", "TransactWriteItems", "TransactWriteItems", "UpdateItem", "UpdateItem"]);
    let used = used(&table.store, &run).await;
    let ledger = used.ledger.expect("a ledger");
    assert_eq!((ledger.spent, ledger.counts.calls, ledger.reports.len()), (NanoUsd(200), 2, 1), "the lost one lapses");
}

/// Others that write the ledger meanwhile are not waited for: there is another way.
#[tokio::test]
async fn a_report_in_one_write_is_tried_once_and_a_lost_answer_is_still_ours() {
    let table = Table::new().await;
    let run = running(&table.store).await;
    let (of, calls) = (reference(&run), [call("1", 100), call("2", 100)]);
    let total = ReportTotal { cost: NanoUsd(200), calls: 2, cap: None };
    let report = || table.store.report_at_once(&of, ReportAtOnce { calls: &calls, total, stop: None }, noon());
    table.relay.take_passed();
    table.relay.trouble("TransactWriteItems", [Trouble::canceled("TransactionConflict")]);
    let error = report().await.expect_err("others are in the way");
    assert_eq!(error.class, StoreErrorClass::Conflict);
    assert_eq!(table.relay.take_passed(), ["TransactWriteItems"]);
    table.relay.trouble("TransactWriteItems", [Trouble::LoseAnswer]);
    assert!(report().await.expect("reported"));
    assert_eq!(table.relay.take_passed(), ["TransactWriteItems", "TransactWriteItems"]);
    assert!(!report().await.expect("an answer"), "another one of the same calls");
    let used = used(&table.store, &run).await;
    let ledger = used.ledger.expect("a ledger");
    assert_eq!((ledger.spent, used.usage.total.calls, ledger.reports.len()), (NanoUsd(200), 2, 0));
}

#[tokio::test]
async fn a_stop_with_a_report_that_was_lost_is_still_ours() {
    let table = Table::new().await;
    let run = running(&table.store).await;
    let (of, calls) = (reference(&run), [call("1", 100)]);
    let begun = begin(&table.store, &run, &calls).await;
    assert!(table.store.record_calls(&of, begun.report_id, &calls, noon()).await.expect("recorded"));
    table.relay.trouble("TransactWriteItems", [Trouble::LoseAnswer]);
    let count = count(&begun, &calls);
    let counted = table.store.count_report(&of, &count, Some(&stopping(&run))).await.expect("counted");
    let ReportCounted::Done(ledger) = counted else { panic!("{counted:?}") };
    assert_eq!((ledger.spent, ledger.standing), (NanoUsd(100), Standing::Exhausted));
}

#[tokio::test]
async fn very_many_known_calls_are_asked_for_in_batches() {
    let table = Table::new().await;
    let run = running(&table.store).await;
    assert!(report(&table.store, &run, &[call("7", 1), call("150", 1)]).await);
    table.relay.take_passed();
    let ids: Vec<String> = (0..230).map(|number| number.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(known(&table.store, &run, &ids).await, ["150", "7"]);
    assert_eq!(table.relay.take_passed(), ["BatchGetItem", "BatchGetItem", "BatchGetItem"]);
}

/// Nobody waits for a lock: each is counted, and the one that takes the run above its cap stops it.
#[tokio::test]
async fn sixty_four_reports_at_once_are_all_counted_and_the_run_is_stopped_once() {
    for (cap, is_stopped) in [(64_000, false), (40_500, true)] {
        let table = Table::new().await;
        let run = Run { state: RunState::running(Times::started(noon())), ..run(&mine(), 1, noon()) };
        let mut new = new_run(&run, None, None);
        new.ledger.cap = Some(NanoUsd(cap));
        table.store.record_run(&new).await.expect("recorded");
        let engine = MemoryEngine::default();
        let reports: Vec<_> = (0..64)
            .map(|number| {
                let (store, engine, run_id) = (table.another_store(), engine.clone(), run.run_id);
                tokio::spawn(async move {
                    let caller = sluice_testkit::fixture::caller(mine().as_str());
                    let calls = vec![call(&number.to_string(), 1_000)];
                    Box::pin(record_usage(&store, &engine, &caller, run_id, calls, noon())).await.expect("recorded")
                })
            })
            .collect();
        let mut stopped = 0;
        for report in reports {
            let told = report.await.expect("no panic");
            assert_eq!((told.recorded, told.repeated), (1, 0));
            stopped += u32::from(told.stopped);
        }
        let found = used(&table.store, &run).await;
        let ledger = found.ledger.expect("a ledger");
        assert_eq!((ledger.spent, ledger.counts.calls, found.usage.total.calls), (NanoUsd(64_000), 64, 64));
        assert!(ledger.is_idle());
        assert_eq!((stopped, ledger.is_open()), (u32::from(is_stopped), !is_stopped), "{cap}");
    }
}

/// What a run had used by the ledger of usage that there was before 2026-11-28.
#[tokio::test]
async fn what_was_stored_before_there_was_one_ledger_is_read_and_taken_over() {
    let table = Table::new().await;
    let run = running(&table.store).await;
    let key = keys::usage(&run.tenant_id, run.run_id);
    let document = r#"{"total":{"calls":2,"inputTokens":20,"outputTokens":10,"cachedTokens":2,"costNanoUsd":300,
        "latencyMs":80,"latencyMsMax":40},"byNode":{},"byProvider":{},"byModel":{},"rev":1}"#;
    let texts = [("pk", key.pk.as_str()), ("sk", key.sk.as_str()), ("kind", "usage"), ("document", document)];
    let numbers = [("v", item::n(item::SHAPE)), ("rev", item::n(1))];
    let of_old = texts.map(|(name, text)| (name.into(), item::s(text))).into_iter();
    table.put(of_old.chain(numbers.map(|(name, number)| (name.into(), number))).collect()).await;
    for number in [1, 2] {
        let call = call(&number.to_string(), 100 * number);
        table.put(item::from_usage(&run.tenant_id, run.run_id, &call, None).expect("an item")).await;
    }
    let before = used(&table.store, &run).await;
    assert_eq!((before.spent(), before.earlier.calls, before.usage.total.calls), (NanoUsd(300), 2, 2));
    let engine = MemoryEngine::default();
    let caller = sluice_testkit::fixture::caller(run.tenant_id.as_str());
    let told = record_usage(&table.store, &engine, &caller, run.run_id, vec![call("2", 200), call("3", 5)], noon());
    let told = told.await.expect("recorded");
    assert_eq!((told.recorded, told.repeated, told.usage.total.cost_nano_usd), (1, 1, NanoUsd(305)));
    let ledger = used(&table.store, &run).await.ledger.expect("a ledger");
    assert_eq!((ledger.spent, ledger.counts.calls, ledger.took_over), (NanoUsd(305), 3, true));
}

#[tokio::test]
async fn a_token_is_cleaned_up_some_time_after_it_has_expired() {
    let table = Table::new().await;
    let run = running(&table.store).await;
    assert!(table.store.save_report_token(&mine(), run.run_id, &token("0a")).await.expect("saved"));
    let item = table.item(keys::report_token(&mine(), run.run_id, "0a")).await.expect("an item");
    let expected = token("0a").expires_at.as_second() + 24 * 3_600;
    assert_eq!(item["ttl"], sluice_aws::dynamo::item::n(expected));
}

#[tokio::test]
async fn cursors_of_other_lists_are_refused() {
    let table = Table::new().await;
    let (store, run) = (&table.store, running(&table.store).await);
    assert!(report(store, &run, &[call("1", 1), call("2", 1), call("3", 1)]).await);
    for number in 1..=3 {
        assert!(store.add_comment(&mine(), run.run_id, &comment(number)).await.expect("added"));
    }
    let of_usage = store.list_usage(&mine(), run.run_id, 1, None).await.expect("a page").next.expect("a cursor");
    let of_comments = store.list_comments(&mine(), run.run_id, 1, None).await.expect("a page").next.expect("a cursor");
    let (digest, _) = of_comments.split_once('.').expect("two parts");
    for cursor in
        [of_usage.clone(), String::new(), digest.to_owned(), format!("{digest}.COMMENT#"), format!("{digest}.HEAD")]
    {
        let error = store.list_comments(&mine(), run.run_id, 1, Some(&cursor)).await.expect_err("refused");
        assert_eq!(error.class, StoreErrorClass::Corrupt, "{cursor}");
    }
    for (tenant, run_id) in [(yours(), run.run_id), (mine(), sample::run_id(2))] {
        let error = store.list_comments(&tenant, run_id, 1, Some(&of_comments)).await.expect_err("refused");
        assert_eq!(error.class, StoreErrorClass::Corrupt);
        let error = store.list_usage(&tenant, run_id, 1, Some(&of_usage)).await.expect_err("refused");
        assert_eq!(error.class, StoreErrorClass::Corrupt);
    }
    assert_eq!(store.list_comments(&mine(), run.run_id, 2, Some(&of_comments)).await.expect("a page").items.len(), 2);
}

#[tokio::test]
async fn what_was_reported_before_is_not_taken_over_by_a_ledger_that_went_between() {
    let table = Table::new().await;
    let run = running(&table.store).await;
    let (of, key) = (reference(&run), keys::ledger(&run.tenant_id, run.run_id));
    let opening = Ledger::new(Grant::new(0), BTreeMap::new(), None);
    let earlier = Earlier { calls: 3, cost: NanoUsd(30) };
    let take_over = table.store.take_over(&of, &opening, earlier);
    table.relay.holding("UpdateItem", take_over, table.delete(key)).await.expect("nothing to take over");
    assert_eq!(table.store.load_ledger(&of).await.expect("loaded"), None);
}

#[tokio::test]
async fn of_two_first_signs_of_progress_at_once_neither_is_lost() {
    let table = Table::new().await;
    let (run, approval) = (waiting(&table).await, node_id("approval"));
    let tell = async |percent: Option<u8>, message: Option<&str>| {
        let progress = Progress { percent, message: message.map(str::to_owned), at: noon() };
        table.store.record_progress(&mine(), run.run_id, &approval, &progress).await.expect("an answer")
    };
    // Both find that there is none yet, and one of the two then finds the other's.
    table.relay.in_steps([2, 2, 1]);
    assert_eq!(tokio::join!(tell(Some(40), None), tell(None, Some("two of five"))), (true, true));
    let step = table.store.load_step(&mine(), run.run_id, &approval).await.expect("loaded").expect("a step");
    let expected = Progress { percent: Some(40), message: Some("two of five".to_owned()), at: noon() };
    assert_eq!(step.progress, Some(expected));
}
