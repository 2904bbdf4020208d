//! What workers and people say of a run, and what its calls used, in a table over a network.

use crate::support::relay::Trouble;
use crate::support::sample::{self, mine, yours};
use crate::support::table::Table;
use sluice_aws::dynamo::keys;
use sluice_core::change::UsageChange;
use sluice_core::ports::{ReadRuns, RecordReports, RecordUsage, StoreErrorClass};
use sluice_core::usage::UsageLedger;
use sluice_testkit::contract::store::reports::{call, comment, known, ledger, running, stopping, token, usage};

#[tokio::test]
async fn usage_takes_one_round_trip_and_a_lost_one_is_still_ours() {
    let table = Table::new().await;
    let run = running(&table.store).await;
    table.relay.take_passed();
    let change = UsageChange {
        stop: Some(stopping(&run)),
        ..usage(&run, &UsageLedger::default(), &[call("1", 100), call("2", 100)])
    };
    table.relay.trouble("TransactWriteItems", [Trouble::LoseAnswer]);
    assert!(table.store.record_usage(&change).await.expect("recorded"));
    assert_eq!(table.relay.take_passed(), ["TransactWriteItems", "TransactWriteItems"], "asked again once");
    assert_eq!(ledger(&table.store, &run).await, change.ledger);
}

#[tokio::test]
async fn very_many_known_calls_are_asked_for_in_batches() {
    let table = Table::new().await;
    let run = running(&table.store).await;
    let change = usage(&run, &UsageLedger::default(), &[call("7", 1), call("150", 1)]);
    assert!(table.store.record_usage(&change).await.expect("recorded"));
    table.relay.take_passed();
    let ids: Vec<String> = (0..230).map(|number| number.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(known(&table.store, &run, &ids).await, ["150", "7"]);
    assert_eq!(table.relay.take_passed(), ["BatchGetItem", "BatchGetItem", "BatchGetItem"]);
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
    let change = usage(&run, &UsageLedger::default(), &[call("1", 1), call("2", 1), call("3", 1)]);
    assert!(store.record_usage(&change).await.expect("recorded"));
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
