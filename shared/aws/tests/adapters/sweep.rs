//! What the reconciler finds by shard, where it is much, or broken.

use crate::support::sample::{self, delivery, mine, noon, run};
use crate::support::table::Table;
use jiff::SignedDuration;
use sluice_aws::dynamo::item::{from_delivery, from_run, s};
use sluice_core::delivery::{Channel, Delivery, Receiver};
use sluice_core::ports::{DeliveryRef, DueDelivery, StoreErrorClass, Sweep};

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
        numbers.extend(page.items.into_iter().map(|run| run.about.name));
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
    broken.insert("status".into(), s("DONE"));
    table.put(broken).await;
    table.put(from_run(&run(&mine(), 16, noon())).expect("an item")).await;
    let page = table.store.open_runs(0, None).await.expect("a page");
    assert_eq!(page.items.into_iter().map(|run| run.about.name).collect::<Vec<_>>(), ["run-16"]);
}

#[tokio::test]
async fn many_due_deliveries_come_in_pages_with_their_destinations() {
    let table = Table::new().await;
    let count = 450;
    for number in 0..count {
        let run = run(&mine(), number * 16, noon());
        let due_at = noon() + SignedDuration::from_millis(i64::from(number));
        let channel = match number % 3 {
            0 => Channel::EventBus,
            rest => Channel::Webhook { url: format!("https://x{rest}.lambda-url.eu-west-1.on.aws/path?n={number}") },
        };
        let due = Delivery { channel, ..delivery(&run, 1, due_at) };
        table.put(from_delivery(&due).expect("an item")).await;
    }
    let now = noon() + SignedDuration::from_millis(i64::from(count));
    let (mut found, mut cursor, mut pages) = (Vec::new(), None::<String>, 0);
    loop {
        let page = table.store.due_deliveries(0, now, cursor.as_deref()).await.expect("a page");
        found.extend(page.items);
        pages += 1;
        cursor = page.next;
        match &cursor {
            None => break,
            Some(cursor) => {
                let elsewhere = table.store.due_deliveries(1, now, Some(cursor)).await.expect_err("another shard's");
                assert_eq!(elsewhere.class, StoreErrorClass::Corrupt);
                table.store.open_runs(0, Some(cursor)).await.expect_err("another list's");
            }
        }
    }
    assert_eq!(pages, 3);
    let expected: Vec<_> = (0..count)
        .map(|number| DueDelivery {
            delivery: DeliveryRef { tenant_id: mine(), run_id: sample::run_id(number * 16), number: 1 },
            receiver: match number % 3 {
                0 => None,
                rest => {
                    let origin = format!("https://x{rest}.lambda-url.eu-west-1.on.aws");
                    Some(Receiver { tenant_id: mine(), origin })
                }
            },
        })
        .collect();
    assert_eq!(found, expected);
    for refused in ["", "x", "DUE#00 x y", "DUE#00 a b c d"] {
        table.store.due_deliveries(0, now, Some(refused)).await.expect_err(refused);
    }
}
