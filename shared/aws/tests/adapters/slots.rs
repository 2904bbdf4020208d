//! Concurrency slots and queues in a table over a network.

use crate::support::relay::Trouble;
use crate::support::sample::{mine, new_run, noon, run};
use crate::support::table::Table;
use sluice_aws::dynamo::item;
use sluice_core::change::{RunChange, SlotChange};
use sluice_core::concurrency::{Admission, SlotScope};
use sluice_core::lifecycle::RunEvent;
use sluice_core::ports::{Changed, ReadQueue, RecordRun, Recorded};
use sluice_testkit::contract::store::Ground;
use sluice_testkit::contract::store::slots::{
    admitted, canceled, change, dispatched, of_tenant, record, tenant_queue, waiting,
};
use std::collections::BTreeSet;

#[tokio::test]
async fn lost_answers_take_free_and_move_nothing_twice() {
    let table = Table::new().await;
    let lose = || table.relay.trouble("TransactWriteItems", [Trouble::LoseAnswer]);
    let (first, second) = (admitted(1, &[of_tenant(1)]), waiting(2, of_tenant(1)));
    table.relay.take_passed();
    lose();
    assert_eq!(record(&table.store, &first).await, Recorded::Created);
    assert_eq!(table.relay.take_passed(), ["TransactWriteItems", "TransactWriteItems"], "asked again once");
    lose();
    assert_eq!(record(&table.store, &second).await, Recorded::Created);
    assert_eq!(table.count(&tenant_queue()).await, (1, 1));
    lose();
    assert_eq!(change(&table.store, &canceled(&first.run)).await, Changed::Done);
    assert_eq!(table.count(&tenant_queue()).await, (0, 1));
    lose();
    assert_eq!(change(&table.store, &dispatched(&second.run, &[of_tenant(1)])).await, Changed::Done);
    assert_eq!(table.count(&tenant_queue()).await, (1, 0));
}

#[tokio::test]
async fn what_is_in_the_way_of_the_head_is_waited_out_before_a_limit_is_called_full() {
    let table = Table::new().await;
    let canceled_as = |codes: &[&str]| {
        let reasons: Vec<_> = codes.iter().map(|code| format!(r#"{{"Code":"{code}","Message":"as told"}}"#)).collect();
        let body = format!(
            r#"{{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","Message":"as told","CancellationReasons":[{}]}}"#,
            reasons.join(",")
        );
        Trouble::Answer(400, body)
    };
    let new = admitted(1, &[of_tenant(1)]);
    let in_the_way = canceled_as(&["TransactionConflict", "ConditionalCheckFailed", "None", "None"]);
    table.relay.trouble("TransactWriteItems", [in_the_way]);
    assert_eq!(record(&table.store, &new).await, Recorded::Created);
    let refused = canceled_as(&["None", "ConditionalCheckFailed", "TransactionConflict", "None"]);
    table.relay.trouble("TransactWriteItems", [refused]);
    let other = admitted(2, &[of_tenant(5)]);
    assert_eq!(record(&table.store, &other).await, Recorded::Full(vec![SlotScope::Tenant]));
    let throttled = canceled_as(&["ThrottlingError", "ConditionalCheckFailed", "None", "None"]);
    table.relay.trouble("TransactWriteItems", [throttled]);
    let error = table.store.record_run(&other).await.expect_err("throttled");
    assert_eq!(error.class, sluice_core::ports::StoreErrorClass::Throttled);
}

#[tokio::test]
async fn a_long_queue_is_counted_to_its_end() {
    let table = Table::new().await;
    let counted = 120;
    for number in 0..counted {
        let new = waiting(number, of_tenant(1));
        table.put(item::from_run(&new.run).expect("an item")).await;
    }
    let last = waiting(counted - 1, of_tenant(1)).run;
    assert_eq!(table.store.queue_position(&last).await.expect("an answer"), Some(counted));
    let all = table.store.queued_runs(&tenant_queue(), 1_000).await.expect("an answer");
    assert_eq!(all.len(), counted as usize);
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>().len(), counted as usize);
}

#[tokio::test]
async fn a_change_without_slots_touches_no_counter() {
    let table = Table::new().await;
    let new = new_run(&run(&mine(), 1, noon()), None, None);
    assert_eq!(new.admission, Admission::Slots(Vec::new()));
    assert_eq!(record(&table.store, &new).await, Recorded::Created);
    let claimed = RunChange::new(&new.run, new.run.after(RunEvent::Claimed, noon()).expect("a change"));
    assert_eq!(claimed.slots, SlotChange::default());
    assert_eq!(change(&table.store, &claimed).await, Changed::Done);
    assert!(table.everything().await.keys().all(|(pk, _)| !pk.contains("SLOTS")));
}
