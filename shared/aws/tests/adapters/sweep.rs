//! What the reconciler finds by shard.

use crate::support::sample::{self, delivery, mine, new_run, noon, run, yours};
use crate::support::table::Table;
use jiff::SignedDuration;
use sluice_aws::dynamo::item::{from_run, s};
use sluice_core::callback::{Attempt, AttemptOutcome};
use sluice_core::lifecycle::{RunEvent, StopIntent};
use sluice_core::ports::{ChangeRun, Deliveries, DeliveryRef, ReadRuns, RecordRun, SHARDS, StoreErrorClass, Sweep};
use sluice_core::run::RunChange;
use std::collections::BTreeSet;

async fn open_everywhere(table: &Table) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for shard in 0..SHARDS {
        let page = table.store.open_runs(shard, None).await.expect("a page");
        assert_eq!(page.next, None);
        found.extend(page.items.into_iter().map(|run| (run.tenant_id.to_string(), run.run_id.to_string())));
    }
    found
}

#[tokio::test]
async fn open_runs_of_every_tenant_are_found_until_they_end() {
    let table = Table::new().await;
    let mut expected = BTreeSet::new();
    for number in 0..40 {
        let tenant = if number % 2 == 0 { mine() } else { yours() };
        let run = run(&tenant, number, noon());
        table.store.record_run(&new_run(&run, None, None)).await.expect("recorded");
        if number % 5 == 0 {
            let ended = run.after(RunEvent::StopAsked(StopIntent::CanceledByCaller), noon()).expect("a change");
            let change = RunChange { expected_rev: 1, run: ended, output: None, deliveries: Vec::new() };
            table.store.change_run(&change).await.expect("changed");
        } else {
            let claimed = run.after(RunEvent::Claimed, noon()).expect("a change");
            let change = RunChange { expected_rev: 1, run: claimed, output: None, deliveries: Vec::new() };
            table.store.change_run(&change).await.expect("changed");
            expected.insert((tenant.to_string(), run.run_id.to_string()));
        }
    }
    assert_eq!(open_everywhere(&table).await, expected);
}

#[tokio::test]
async fn a_long_shard_comes_in_pages_oldest_first() {
    let table = Table::new().await;
    // Ids sixteen apart share a shard.
    let count = 450;
    for number in 0..count {
        let created_at = noon() + SignedDuration::from_millis(i64::from(number));
        table.put(from_run(&run(&mine(), number * 16, created_at)).expect("an item")).await;
    }
    let (mut numbers, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = table.store.open_runs(0, cursor.as_deref()).await.expect("a page");
        numbers.extend(page.items.into_iter().map(|run| run.name));
        pages += 1;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(numbers, (0..count).map(|number| format!("run-{}", number * 16)).collect::<Vec<_>>());
    assert_eq!(pages, 3);
    assert_eq!(table.store.open_runs(0, Some("x")).await.expect_err("refused").class, StoreErrorClass::Corrupt);
}

#[tokio::test]
async fn an_unreadable_run_does_not_keep_the_sweep_from_the_others() {
    let table = Table::new().await;
    let mut broken = from_run(&run(&mine(), 0, noon())).expect("an item");
    broken.insert("status".to_owned(), s("DONE"));
    table.put(broken).await;
    table.put(from_run(&run(&mine(), 16, noon())).expect("an item")).await;
    let page = table.store.open_runs(0, None).await.expect("a page");
    assert_eq!(page.items.into_iter().map(|run| run.name).collect::<Vec<_>>(), ["run-16"]);
}

#[tokio::test]
async fn due_deliveries_are_found_longest_due_first_and_only_while_they_are_owed() {
    let table = Table::new().await;
    let run = run(&mine(), 16, noon());
    table.store.record_run(&new_run(&run, None, None)).await.expect("recorded");
    let ended = run.after(RunEvent::StopAsked(StopIntent::CanceledByCaller), noon()).expect("a change");
    let later = |seconds| noon() + SignedDuration::from_secs(seconds);
    let deliveries = vec![delivery(&run, 1, later(30)), delivery(&run, 2, later(10)), delivery(&run, 3, later(20))];
    let change = RunChange { expected_rev: 1, run: ended, output: None, deliveries };
    table.store.change_run(&change).await.expect("changed");

    let due = |at, limit| {
        let store = table.store.clone();
        async move {
            let found = store.due_deliveries(0, at, limit).await.expect("an answer");
            found.into_iter().map(|due| due.number).collect::<Vec<_>>()
        }
    };
    assert!(due(later(9), 10).await.is_empty());
    assert_eq!(due(later(10), 10).await, [2], "due at that very millisecond");
    assert_eq!(due(later(30), 10).await, [2, 3, 1]);
    assert_eq!(due(later(30), 2).await, [2, 3]);

    let reference = DeliveryRef { tenant_id: mine(), run_id: sample::run_id(16), number: 2 };
    let first = table.store.load_delivery(&reference).await.expect("loaded").expect("a delivery");
    let begun = first.begin(later(10)).expect("due");
    assert!(table.store.change_delivery(&begun, None).await.expect("begun"));
    assert_eq!(due(later(30), 10).await, [3, 1], "in flight until its lease ends");
    assert_eq!(due(later(70), 10).await, [3, 1, 2]);
    let delivered = sluice_core::callback::AttemptOutcome::Delivered { http_status: Some(200) };
    assert!(table.store.change_delivery(&begun.after(&delivered, later(11)), None).await.expect("ended"));
    assert_eq!(due(later(1_000_000), 10).await, [3, 1]);
    for shard in 1..SHARDS {
        assert!(table.store.due_deliveries(shard, later(1_000_000), 10).await.expect("an answer").is_empty());
    }
}

#[tokio::test]
async fn a_delivery_sent_again_is_due_again_whatever_became_of_it() {
    let table = Table::new().await;
    let run = run(&mine(), 16, noon());
    table.store.record_run(&new_run(&run, None, None)).await.expect("recorded");
    let ended = run.after(RunEvent::StopAsked(StopIntent::CanceledByCaller), noon()).expect("a change");
    let deliveries = vec![delivery(&run, 1, noon()), delivery(&run, 2, noon())];
    let change = RunChange { expected_rev: 1, run: ended, output: None, deliveries };
    table.store.change_run(&change).await.expect("changed");
    let later = noon() + SignedDuration::from_hours(48);
    let due = |at| {
        let store = table.store.clone();
        async move {
            let found = store.due_deliveries(0, at, 10).await.expect("an answer");
            found.into_iter().map(|due| due.number).collect::<Vec<_>>()
        }
    };
    for (number, outcome) in [(1, AttemptOutcome::Delivered { http_status: Some(200) }), (2, AttemptOutcome::Gone)] {
        let reference = DeliveryRef { tenant_id: mine(), run_id: run.run_id, number };
        let load = || async { table.store.load_delivery(&reference).await.expect("loaded").expect("a delivery") };
        let begun = load().await.begin(noon()).expect("due");
        assert!(table.store.change_delivery(&begun, None).await.expect("begun"));
        assert_eq!(begun.again(noon()), None, "not while an attempt is under way");
        let attempt = |number| Attempt { number, at: noon(), duration_ms: 12, outcome: outcome.clone() };
        let over = begun.after(&outcome, noon());
        assert!(table.store.change_delivery(&over, Some(&attempt(1))).await.expect("ended"));
        assert!(!due(later).await.contains(&number), "over");

        let again = load().await.again(later).expect("over");
        assert!(table.store.change_delivery(&again, None).await.expect("again"));
        assert!(!table.store.change_delivery(&again, None).await.expect("an answer"), "of two who ask one is first");
        assert_eq!(load().await, again, "with the same body");
        assert!(!due(later - SignedDuration::from_millis(1)).await.contains(&number));
        assert!(due(later).await.contains(&number));

        // The attempts go on where they were, so that none is written over.
        let begun = again.begin(later).expect("due");
        assert!(table.store.change_delivery(&begun, None).await.expect("begun"));
        let over = begun.after(&outcome, later);
        assert!(table.store.change_delivery(&over, Some(&attempt(begun.attempts))).await.expect("ended"));
        let listed = table.store.list_deliveries(&mine(), run.run_id).await.expect("listed");
        let (_, attempts) = listed.into_iter().find(|(delivery, _)| delivery.number == number).expect("listed");
        assert_eq!(attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2]);
        assert!(!due(later).await.contains(&number));
    }
}
