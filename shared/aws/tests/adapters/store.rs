//! Runs in a table over a network: what it may suffer there, and what stands in the table in the end.

use crate::support::relay::Trouble;
use crate::support::sample::{self, claim, delivery, mine, new_run, noon, run};
use crate::support::table::Table;
use jiff::SignedDuration;
use sluice_aws::dynamo::item;
use sluice_core::change::RunChange;
use sluice_core::concurrency::{Concurrency, Limit, OnLimit, SlotScope};
use sluice_core::definition::Definition;
use sluice_core::delivery::health::Health;
use sluice_core::lifecycle::{RunEvent, RunStatus, StopIntent};
use sluice_core::ports::{
    ChangeRun, Deliveries, LoadRun, ManageDefinitions, ManageOperator, ReadRuns, ReceiverHealth, RecordRun, Recorded,
    StoreErrorClass,
};
use sluice_testkit::contract::store::definitions::{draft, settings};
use sluice_testkit::contract::store::purges::lived;
use sluice_testkit::contract::store::runs::{
    an_attempt_is_recorded_with_its_delivery, in_an_hour, of_two_changes_to_a_definition_one_wins, owing,
};
use std::collections::BTreeSet;

#[tokio::test]
async fn of_very_many_replays_the_newest_hundred_are_listed() {
    let table = Table::new().await;
    // Only a run that is still there gets links from it.
    table.store.record_run(&new_run(&run(&mine(), 0, noon()), None, None)).await.expect("recorded");
    for number in 1..=103 {
        let mut replay = run(&mine(), number, noon() + SignedDuration::from_secs(i64::from(number)));
        replay.about.replay_of = Some(sample::run_id(0));
        table.store.record_run(&new_run(&replay, None, None)).await.expect("recorded");
    }
    let expected: Vec<_> = (4..=103).rev().map(sample::run_id).collect();
    let links = table.store.list_links(&mine(), sample::run_id(0)).await.expect("listed");
    assert_eq!((links.replays, links.evaluations), (expected, Vec::new()));
}

#[tokio::test]
async fn recording_takes_one_round_trip() {
    let table = Table::new().await;
    let new = new_run(&run(&mine(), 1, noon()), Some(claim("key", "payload")), Some(in_an_hour()));
    table.store.record_run(&new).await.expect("recorded");
    assert_eq!(table.relay.take_passed(), ["TransactWriteItems"]);
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_and_the_run_is_created() {
    let table = Table::new().await;
    let new = new_run(&run(&mine(), 1, noon()), Some(claim("key", "payload")), Some(in_an_hour()));
    table.relay.trouble("TransactWriteItems", [Trouble::LoseAnswer]);
    assert_eq!(table.store.record_run(&new).await.expect("recorded"), Recorded::Created);
    assert_eq!(table.relay.take_passed().len(), 2);
}

#[tokio::test]
async fn a_lost_change_of_a_delivery_is_still_ours() {
    let table = Table::new().await;
    let reference = owing(&table.store).await;
    let loaded = table.store.load_delivery(&reference).await.expect("loaded").expect("a delivery");
    table.relay.trouble("TransactWriteItems", [Trouble::LoseAnswer]);
    assert!(table.store.change_delivery(&loaded.begin(noon()).expect("due"), None).await.expect("an answer"));
}

#[tokio::test]
async fn another_run_under_the_same_id_is_never_taken_for_ours() {
    let table = Table::new().await;
    let first = run(&mine(), 1, noon());
    table.store.record_run(&new_run(&first, None, None)).await.expect("recorded");
    let mut second = first;
    second.snapshot.hash = "another".to_owned();
    let error = table.store.record_run(&new_run(&second, None, None)).await.expect_err("refused");
    assert_eq!(error.class, StoreErrorClass::Corrupt);
}

#[tokio::test]
async fn a_conflict_is_waited_out_and_only_then_reported() {
    let table = Table::new().await;
    let new = new_run(&run(&mine(), 1, noon()), None, None);
    table.relay.trouble(
        "TransactWriteItems",
        [Trouble::canceled("TransactionConflict"), Trouble::canceled("TransactionConflict")],
    );
    assert_eq!(table.store.record_run(&new).await.expect("recorded"), Recorded::Created);
    assert_eq!(table.relay.take_passed().len(), 3);

    table.relay.trouble_for_ever("TransactWriteItems", Trouble::canceled("TransactionConflict"));
    let error = table.store.record_run(&new_run(&run(&mine(), 2, noon()), None, None)).await.expect_err("refused");
    assert!(error.is_conflict());
    table.relay.no_more_trouble();
    assert_eq!(table.store.load_run(&mine(), sample::run_id(2)).await.expect("loaded"), None);
}

#[tokio::test]
async fn faults_are_told_apart_by_class() {
    let table = Table::new().await;
    for (trouble, class) in [
        (Trouble::error(400, "ThrottlingException"), StoreErrorClass::Throttled),
        (Trouble::error(400, "ProvisionedThroughputExceededException"), StoreErrorClass::Throttled),
        (Trouble::error(500, "InternalServerError"), StoreErrorClass::Unavailable),
        (Trouble::error(400, "ResourceNotFoundException"), StoreErrorClass::Unavailable),
        (Trouble::error(400, "AccessDeniedException"), StoreErrorClass::Unavailable),
        (Trouble::LoseAnswer, StoreErrorClass::Unavailable),
        (Trouble::error(400, "ValidationException"), StoreErrorClass::Corrupt),
    ] {
        table.relay.trouble_for_ever("GetItem", trouble.clone());
        let error = table.store.load_run(&mine(), sample::run_id(1)).await.expect_err("no answer");
        assert_eq!(error.class, class, "{trouble:?}");
        let shown = error.to_string();
        let source = error.source.expect("a source").to_string();
        assert!(shown.starts_with("the store failed to load a run") && !shown.contains(&source), "{shown} / {source}");
    }
    for (reason, class) in [
        ("ThrottlingError", StoreErrorClass::Throttled),
        ("ProvisionedThroughputExceeded", StoreErrorClass::Throttled),
        ("ValidationError", StoreErrorClass::Corrupt),
    ] {
        table.relay.trouble_for_ever("TransactWriteItems", Trouble::canceled(reason));
        let error = table.store.record_run(&new_run(&run(&mine(), 1, noon()), None, None)).await.expect_err("refused");
        assert_eq!(error.class, class, "{reason}");
    }
}

#[tokio::test]
async fn everything_in_the_table_has_a_kind_and_a_shape() {
    let table = Table::new().await;
    an_attempt_is_recorded_with_its_delivery(&table).await;
    of_two_changes_to_a_definition_one_wins(&table).await;
    let (mut run, claim) = (run(&mine(), 2, noon()), claim("key", "payload"));
    run.about.replay_of = Some(sample::run_id(1));
    table.store.record_run(&new_run(&run, Some(claim), None)).await.expect("recorded");
    lived(&table.store, &mine(), 3).await;
    let limit = Concurrency { max_concurrent_runs: 5, on_limit: OnLimit::Reject };
    let limits = [SlotScope::Definition, SlotScope::Tenant].map(|scope| Limit { scope, concurrency: limit });
    table.store.record_run(&sample::slot_run(sample::run(&mine(), 4, noon()), &limits)).await.expect("recorded");
    let shown = Definition { discoverable: true, ..sample::definition(&mine(), 5, "shown") };
    table.store.create_definition(&shown, 1_000).await.expect("created");
    assert!(table.store.save_draft(&mine(), &draft(&shown, "someone", 1)).await.expect("saved"));
    assert!(table.store.save_tenant(&settings(&mine(), 5)).await.expect("saved"));
    let health = Health { rev: 1, ..Health::unknown(mine()) };
    assert!(table.store.change_health(&health).await.expect("written"));
    let mut kinds = BTreeSet::new();
    for ((pk, sk), item) in table.everything().await {
        assert_eq!(item.get("v"), Some(&sluice_aws::dynamo::item::n(1)), "{pk} {sk}");
        let kind = sluice_aws::dynamo::item::text(&item, "kind").unwrap_or_else(|| panic!("no kind: {pk} {sk}"));
        let is_of_all = ["tenant", "discoverable"].contains(&kind);
        assert_eq!(pk.starts_with("T#mine#"), !is_of_all, "{pk} {sk}");
        // What the counters say of themselves, since no shape of theirs is written down elsewhere.
        if kind == "slots" {
            let names: BTreeSet<&str> = item.keys().map(AsRef::as_ref).collect();
            let of_definition = sk.starts_with("DEF#").then_some("definitionId");
            let every = ["pk", "sk", "kind", "v", "tenantId", "held", "queued"];
            assert_eq!((pk.as_str(), names), ("T#mine#SLOTS", every.into_iter().chain(of_definition).collect()));
        }
        kinds.insert(kind.to_owned());
    }
    let expected = [
        "attempt",
        "comment",
        "definition",
        "definition-count",
        "definition-name",
        "delivery",
        "delivery-body",
        "discoverable",
        "draft",
        "evaluation",
        "idempotency",
        "ledger",
        "output",
        "receipt",
        "receiver-health",
        "replay",
        "report-token",
        "request",
        "run",
        "slots",
        "snapshot",
        "tenant",
        "usage-call",
        "version",
    ];
    assert_eq!(kinds, expected.map(str::to_owned).into());
}

#[tokio::test]
async fn what_is_there_although_its_head_has_not_counted_it_is_not_written_over() {
    let table = Table::new().await;
    let run = run(&mine(), 1, noon());
    table.store.record_run(&new_run(&run, None, None)).await.expect("recorded");
    let uncounted = delivery(&run, 1, in_an_hour());
    table.put(item::from_delivery(&uncounted).expect("an item")).await;
    let after = run.after(RunEvent::StopAsked(StopIntent::CanceledByCaller), noon()).expect("an end");
    let end = RunChange { deliveries: vec![delivery(&run, 1, noon())], ..RunChange::new(&run, after) };
    let error = table.store.change_run(&end).await.expect_err("refused");
    let found = table.store.load_run(&mine(), run.run_id).await.expect("loaded");
    assert_eq!((error.class, found), (StoreErrorClass::Corrupt, Some(run)));

    let definition = sample::definition(&mine(), 1, "report");
    table.store.create_definition(&definition, 1_000).await.expect("created");
    let version = sample::version(&definition, 1);
    table.put(item::from_version(&mine(), &version).expect("an item")).await;
    let next = Definition { latest_version: 1, active_version: Some(1), rev: 2, ..definition.clone() };
    let error = table.store.change_definition(&next, Some(&version)).await.expect_err("refused");
    let found = table.store.load_definition(&mine(), definition.id).await.expect("loaded");
    assert_eq!((error.class, found), (StoreErrorClass::Corrupt, Some(definition)));
}

#[tokio::test]
async fn an_item_that_nobody_wrote_is_corrupt() {
    use sluice_aws::dynamo::item::{from_run, n, s};
    let table = Table::new().await;
    let run = run(&mine(), 1, noon());
    let good = from_run(&run).expect("an item");
    for (attribute, value) in [("kind", s("step")), ("v", n(2)), ("status", s("DONE")), ("createdAt", s("yesterday"))] {
        let mut item = good.clone();
        item.insert(attribute.into(), value);
        table.put(item).await;
        let error = table.store.load_run(&mine(), run.run_id).await.expect_err("unreadable");
        assert_eq!(error.class, StoreErrorClass::Corrupt, "{attribute}");
    }
    assert_eq!(RunStatus::Pending, run.status());
}
