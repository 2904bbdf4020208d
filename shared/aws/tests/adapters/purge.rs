//! Deleting runs from a table over a network: the head last, and again where it broke off.

use crate::support::relay::Trouble;
use crate::support::sample::{self, mine};
use crate::support::table::Table;
use sluice_aws::dynamo::item::{Item, n, s};
use sluice_aws::dynamo::keys;
use sluice_core::ports::{LoadRun, PurgeRuns, StoreErrorClass};
use sluice_core::run::Run;
use sluice_testkit::contract::store::purges::lived;

/// Steps of a run, enough for several batches.
async fn add_steps(table: &Table, run: &Run, count: u32) {
    for number in 0..count {
        let node = format!("node-{number}").parse().expect("a node");
        let mut step: Item = keys::step(&run.tenant_id, run.run_id, &node).into_item();
        step.extend([("kind".into(), s("step")), ("v".into(), n(1))]);
        table.put(step).await;
    }
}

async fn left_of(table: &Table, run: &Run) -> Vec<String> {
    let pk = keys::run_pk(&run.tenant_id, run.run_id);
    table.everything().await.into_keys().filter(|(found, _)| *found == pk).map(|(_, sk)| sk).collect()
}

#[tokio::test]
async fn a_purge_that_breaks_off_leaves_the_head_and_is_done_again() {
    let table = Table::new().await;
    let run = lived(&table.store, &mine(), 1).await;
    add_steps(&table, &run, 60).await;
    // After one batch the table is away for a while.
    let away = Trouble::error(500, "InternalServerError");
    table.relay.trouble_for_ever("BatchWriteItem", away.clone());
    let error = table.store.purge_run(&mine(), run.run_id).await.expect_err("away");
    assert_eq!(error.class, StoreErrorClass::Unavailable);
    assert!(left_of(&table, &run).await.contains(&"HEAD".to_owned()));
    table.relay.trouble_for_ever("DeleteItem", away);
    table.store.purge_run(&mine(), run.run_id).await.expect_err("away");
    assert_eq!(left_of(&table, &run).await, ["HEAD"], "the head goes last");
    assert_eq!(table.store.load_run(&mine(), run.run_id).await.expect("loaded"), Some(run.clone()));
    table.relay.no_more_trouble();
    table.store.purge_run(&mine(), run.run_id).await.expect("purged");
    assert!(left_of(&table, &run).await.is_empty());
    let originals = [98, 99].map(|number| keys::run_pk(&mine(), sample::run_id(number)));
    let everything = table.everything().await;
    let left: Vec<_> = everything.keys().filter(|(pk, _)| !originals.contains(pk)).collect();
    assert_eq!(left.len(), 1, "but for its key: {left:?}");
    assert!(everything.keys().all(|(_, sk)| !sk.contains(&run.run_id.to_string())), "and its links: {everything:?}");
}

#[tokio::test]
async fn deletions_left_unprocessed_are_asked_for_again_and_given_up_as_throttled() {
    let table = Table::new().await;
    let run = lived(&table.store, &mine(), 1).await;
    let unprocessed = format!(
        r#"{{"UnprocessedItems":{{"{}":[{{"DeleteRequest":{{"Key":{{"pk":{{"S":"{}"}},"sk":{{"S":"SNAPSHOT"}}}}}}}}]}}}}"#,
        table.settings.table,
        keys::run_pk(&mine(), run.run_id)
    );
    table.relay.trouble_for_ever("BatchWriteItem", Trouble::Answer(200, unprocessed.clone()));
    let error = table.store.purge_run(&mine(), run.run_id).await.expect_err("throttled");
    assert_eq!(error.class, StoreErrorClass::Throttled);
    table.relay.take_passed();
    // Its links are the first batch.
    table.relay.trouble("BatchWriteItem", [Trouble::Answer(200, unprocessed)]);
    table.store.purge_run(&mine(), run.run_id).await.expect("purged");
    let passed = table.relay.take_passed();
    let of_ledger = "TransactWriteItems";
    assert_eq!(
        passed,
        ["GetItem", "BatchWriteItem", "BatchWriteItem", of_ledger, "Query", "BatchWriteItem", "DeleteItem"]
    );
}

#[tokio::test]
async fn a_run_of_very_many_items_is_purged_whole() {
    let table = Table::new().await;
    let run = lived(&table.store, &mine(), 1).await;
    add_steps(&table, &run, 520).await;
    table.relay.take_passed();
    table.store.purge_run(&mine(), run.run_id).await.expect("purged");
    let passed = table.relay.take_passed();
    assert_eq!(passed.iter().filter(|call| *call == "Query").count(), 2);
    assert_eq!(passed.last().map(String::as_str), Some("DeleteItem"));
    assert!(left_of(&table, &run).await.is_empty());
}
