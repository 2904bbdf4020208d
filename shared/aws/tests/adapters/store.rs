//! The contracts of the store ports, word by word, over DynamoDB and in memory: both are held to the same tests. Then
//! what only a table over a network can suffer.

use crate::support::relay::Trouble;
use crate::support::sample::{self, at, claim, delivery, mine, new_run, noon, run, yours};
use crate::support::table::Table;
use jiff::SignedDuration;
use sluice_core::callback::{Attempt, AttemptOutcome};
use sluice_core::definition::Definition;
use sluice_core::lifecycle::{RunEvent, RunStatus, StopIntent};
use sluice_core::ports::{
    CatalogItem, CatalogKey, ChangeRun, Changed, DefinitionSaved, Deliveries, DeliveryRef, LoadRun, ManageDefinitions,
    ReadRuns, RecordRun, Recorded, StoreErrorClass,
};
use sluice_core::run::RunChange;
use sluice_testkit::store::MemoryStore;
use std::collections::BTreeSet;

/// Every store port.
trait Ports: RecordRun + ChangeRun + ReadRuns + Deliveries + ManageDefinitions + Clone + 'static {}
impl<T: RecordRun + ChangeRun + ReadRuns + Deliveries + ManageDefinitions + Clone + 'static> Ports for T {}

/// Each contract as one test over DynamoDB and one in memory.
macro_rules! contracts {
    ($($name:ident),* $(,)?) => {
        mod over_dynamodb {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Table::new().await.store).await;
            })*
        }
        mod in_memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::MemoryStore::default()).await;
            })*
        }
    };
}

contracts![
    a_recorded_run_is_read_back_as_it_was_written,
    recording_the_same_run_again_is_created_again,
    the_second_request_with_a_key_gets_the_first_run,
    of_many_racers_with_one_key_one_is_created_and_all_learn_its_run,
    an_expired_key_is_free_again_and_one_that_never_expires_is_not,
    keys_of_tenants_and_operations_are_apart,
    another_tenants_run_does_not_exist,
    a_change_on_an_old_rev_writes_nothing_and_shows_the_run_as_it_is,
    a_run_that_does_not_exist_cannot_be_changed,
    the_end_of_a_run_is_written_with_all_that_it_owes,
    of_many_senders_one_gets_the_delivery,
    an_attempt_is_recorded_with_its_delivery,
    a_name_belongs_to_one_definition_of_a_tenant,
    of_two_changes_to_a_definition_one_wins,
    a_runs_replays_are_found_with_it,
];

fn in_an_hour() -> jiff::Timestamp {
    noon() + SignedDuration::from_hours(1)
}

async fn a_recorded_run_is_read_back_as_it_was_written(store: impl Ports) {
    let run = run(&mine(), 1, noon());
    let new = new_run(&run, None, None);
    assert_eq!(store.record_run(&new).await.expect("recorded"), Recorded::Created);
    assert_eq!(store.load_run(&mine(), run.run_id).await.expect("loaded"), Some(run.clone()));
    let snapshot = store.load_snapshot(&mine(), run.run_id).await.expect("loaded").expect("a snapshot");
    assert_eq!(snapshot.to_text().expect("JSON").0, new.snapshot_text);
    assert_eq!(snapshot.input.expect("an input").get(), r#"{"b": 1.10, "a": 12345678901234567890123}"#);
    assert_eq!(store.load_output(&mine(), run.run_id).await.expect("loaded"), None);
}

async fn recording_the_same_run_again_is_created_again(store: impl Ports) {
    for (number, claim) in [(1, None), (2, Some(claim("key", "payload")))] {
        let new = new_run(&run(&mine(), number, noon()), claim, Some(in_an_hour()));
        assert_eq!(store.record_run(&new).await.expect("recorded"), Recorded::Created);
        assert_eq!(store.record_run(&new).await.expect("recorded again"), Recorded::Created);
    }
}

async fn the_second_request_with_a_key_gets_the_first_run(store: impl Ports) {
    let (first, second) = (run(&mine(), 1, noon()), run(&mine(), 2, noon()));
    let first_claim = claim("key", "payload");
    store.record_run(&new_run(&first, Some(first_claim.clone()), Some(in_an_hour()))).await.expect("recorded");
    let other = new_run(&second, Some(claim("key", "other payload")), Some(in_an_hour()));
    let Recorded::KeyTaken(record) = store.record_run(&other).await.expect("an answer") else { panic!("taken") };
    assert_eq!((record.run, record.payload_hash.as_str()), (first.clone(), "payload"));
    assert_eq!(store.load_run(&mine(), second.run_id).await.expect("loaded"), None, "nothing was written");
    let found = store.first_with_key(&mine(), &first_claim, noon()).await.expect("an answer").expect("a record");
    assert_eq!(found.run, first);
    assert!(found.is_repeated_by(&first_claim));
}

async fn of_many_racers_with_one_key_one_is_created_and_all_learn_its_run(store: impl Ports) {
    let racers: Vec<_> = (0..32)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let run = run(&mine(), number, noon());
                let new = new_run(&run, Some(claim("key", "payload")), Some(in_an_hour()));
                match store.record_run(&new).await.expect("an answer") {
                    Recorded::Created => (true, run.run_id),
                    Recorded::KeyTaken(first) => (false, first.run.run_id),
                }
            })
        })
        .collect();
    let (mut created, mut learned) = (0, BTreeSet::new());
    for racer in racers {
        let (is_creator, run_id) = racer.await.expect("no panic");
        created += u32::from(is_creator);
        learned.insert(run_id);
    }
    assert_eq!((created, learned.len()), (1, 1));
    for number in 0..32 {
        let id = sample::run_id(number);
        let found = store.load_run(&mine(), id).await.expect("loaded");
        assert_eq!(found.is_some(), learned.contains(&id), "only the winner's run exists");
    }
}

async fn an_expired_key_is_free_again_and_one_that_never_expires_is_not(store: impl Ports) {
    let claim = claim("key", "payload");
    store
        .record_run(&new_run(&run(&mine(), 1, noon()), Some(claim.clone()), Some(in_an_hour())))
        .await
        .expect("recorded");
    let just_before = in_an_hour() - SignedDuration::from_millis(1);
    assert!(store.first_with_key(&mine(), &claim, just_before).await.expect("an answer").is_some());
    assert!(store.first_with_key(&mine(), &claim, in_an_hour()).await.expect("an answer").is_none());

    let too_early = new_run(&run(&mine(), 2, just_before), Some(claim.clone()), None);
    assert!(matches!(store.record_run(&too_early).await, Ok(Recorded::KeyTaken(_))));
    let in_time = new_run(&run(&mine(), 3, in_an_hour()), Some(claim.clone()), None);
    assert_eq!(store.record_run(&in_time).await.expect("recorded"), Recorded::Created);

    let much_later = at("2036-01-01T00:00:00Z");
    let late = new_run(&run(&mine(), 4, much_later), Some(claim.clone()), None);
    assert!(
        matches!(store.record_run(&late).await, Ok(Recorded::KeyTaken(first)) if first.run.run_id == sample::run_id(3))
    );
    let found = store.first_with_key(&mine(), &claim, much_later).await.expect("an answer").expect("a record");
    assert_eq!(found.expires_at, None);
}

async fn keys_of_tenants_and_operations_are_apart(store: impl Ports) {
    use sluice_core::idempotency::{IdempotencyClaim, Operation};
    for (number, (tenant, operation)) in [
        (mine(), Operation::Create),
        (yours(), Operation::Create),
        (mine(), Operation::Invoke),
        (mine(), Operation::Replay),
    ]
    .into_iter()
    .enumerate()
    {
        let claim = IdempotencyClaim { operation, ..claim("key", "payload") };
        let new = new_run(&run(&tenant, number as u32, noon()), Some(claim), Some(in_an_hour()));
        assert_eq!(store.record_run(&new).await.expect("recorded"), Recorded::Created, "{tenant} {operation:?}");
    }
}

async fn another_tenants_run_does_not_exist(store: impl Ports) {
    let run = run(&yours(), 1, noon());
    store.record_run(&new_run(&run, Some(claim("key", "payload")), None)).await.expect("recorded");
    assert_eq!(store.load_run(&mine(), run.run_id).await.expect("an answer"), None);
    assert!(store.load_snapshot(&mine(), run.run_id).await.expect("an answer").is_none());
    assert!(store.list_steps(&mine(), run.run_id).await.expect("an answer").is_empty());
    assert!(store.list_deliveries(&mine(), run.run_id).await.expect("an answer").is_empty());
    assert!(store.first_with_key(&mine(), &claim("key", "payload"), noon()).await.expect("an answer").is_none());
}

async fn a_change_on_an_old_rev_writes_nothing_and_shows_the_run_as_it_is(store: impl Ports) {
    let run = run(&mine(), 1, noon());
    store.record_run(&new_run(&run, None, None)).await.expect("recorded");
    let claimed = run.after(RunEvent::Claimed, in_an_hour()).expect("a change");
    let change = RunChange { expected_rev: 1, run: claimed.clone(), output: None, deliveries: Vec::new() };
    assert_eq!(store.change_run(&change).await.expect("changed"), Changed::Done);

    let canceled = run.after(RunEvent::StopAsked(StopIntent::CanceledByCaller), in_an_hour()).expect("a change");
    let late = RunChange {
        expected_rev: 1,
        run: canceled,
        output: Some("{}".to_owned()),
        deliveries: vec![delivery(&run, 1, noon())],
    };
    assert_eq!(store.change_run(&late).await.expect("an answer"), Changed::Stale(Some(Box::new(claimed))));
    assert_eq!(store.load_output(&mine(), run.run_id).await.expect("an answer"), None);
    assert!(store.list_deliveries(&mine(), run.run_id).await.expect("an answer").is_empty());
}

async fn a_run_that_does_not_exist_cannot_be_changed(store: impl Ports) {
    let run = run(&mine(), 1, noon());
    let change = RunChange { expected_rev: 0, run, output: None, deliveries: Vec::new() };
    assert_eq!(store.change_run(&change).await.expect("an answer"), Changed::Stale(None));
}

async fn the_end_of_a_run_is_written_with_all_that_it_owes(store: impl Ports) {
    let run = run(&mine(), 1, noon());
    store.record_run(&new_run(&run, None, None)).await.expect("recorded");
    let canceled = run.after(RunEvent::StopAsked(StopIntent::CanceledByCaller), in_an_hour()).expect("a change");
    let owed = vec![delivery(&run, 1, in_an_hour()), delivery(&run, 2, in_an_hour())];
    let output = r#"{"results": {"store": 1.10}}"#.to_owned();
    let change =
        RunChange { expected_rev: 1, run: canceled.clone(), output: Some(output.clone()), deliveries: owed.clone() };
    assert_eq!(store.change_run(&change).await.expect("changed"), Changed::Done);
    assert_eq!(store.load_run(&mine(), run.run_id).await.expect("loaded"), Some(canceled));
    assert_eq!(store.load_output(&mine(), run.run_id).await.expect("loaded"), Some(output));
    for delivery in owed {
        let reference = DeliveryRef { tenant_id: mine(), run_id: run.run_id, number: delivery.number };
        assert_eq!(store.load_delivery(&reference).await.expect("loaded"), Some(delivery));
    }
    let listed = store.list_deliveries(&mine(), run.run_id).await.expect("listed");
    assert_eq!(listed.iter().map(|(delivery, _)| delivery.number).collect::<Vec<_>>(), [1, 2]);
    assert!(listed.iter().all(|(delivery, attempts)| delivery.body.is_empty() && attempts.is_empty()));
}

/// A run that ended and owes one delivery, due at noon.
async fn owing(store: &impl Ports) -> DeliveryRef {
    let run = run(&mine(), 1, noon());
    store.record_run(&new_run(&run, None, None)).await.expect("recorded");
    let after = run.after(RunEvent::StopAsked(StopIntent::CanceledByCaller), noon()).expect("a change");
    let deliveries = vec![delivery(&run, 1, noon())];
    store.change_run(&RunChange { expected_rev: 1, run: after, output: None, deliveries }).await.expect("changed");
    DeliveryRef { tenant_id: mine(), run_id: run.run_id, number: 1 }
}

async fn of_many_senders_one_gets_the_delivery(store: impl Ports) {
    let reference = owing(&store).await;
    let loaded = store.load_delivery(&reference).await.expect("loaded").expect("a delivery");
    let begun = loaded.begin(noon()).expect("due");
    // All of them write exactly the same, at the same millisecond.
    let senders: Vec<_> = (0..16)
        .map(|_| {
            let (store, begun) = (store.clone(), begun.clone());
            tokio::spawn(async move { store.change_delivery(&begun, None).await.expect("an answer") })
        })
        .collect();
    let mut winners = 0;
    for sender in senders {
        winners += u32::from(sender.await.expect("no panic"));
    }
    assert_eq!(winners, 1);
    assert_eq!(store.load_delivery(&reference).await.expect("loaded"), Some(begun));
}

async fn an_attempt_is_recorded_with_its_delivery(store: impl Ports) {
    let reference = owing(&store).await;
    let mut current = store.load_delivery(&reference).await.expect("loaded").expect("a delivery");
    let outcomes = [
        AttemptOutcome::Rejected { http_status: 503, retry_after_seconds: Some(7) },
        AttemptOutcome::Unreachable { error_class: "reset".to_owned() },
        AttemptOutcome::Delivered { http_status: None },
    ];
    let mut made = Vec::new();
    for outcome in outcomes {
        let now = current.next_attempt_at.expect("owed");
        current = current.begin(now).expect("due");
        assert!(store.change_delivery(&current, None).await.expect("begun"));
        let attempt = Attempt { number: current.attempts, at: now, duration_ms: 12, outcome };
        current = current.after(&attempt.outcome, now);
        assert!(store.change_delivery(&current, Some(&attempt)).await.expect("recorded"));
        assert!(!store.change_delivery(&current, Some(&attempt)).await.expect("an answer"), "not twice");
        made.push(attempt);
    }
    let body = std::mem::take(&mut current.body);
    assert!(!body.is_empty());
    assert_eq!(store.list_deliveries(&mine(), reference.run_id).await.expect("listed"), [(current, made)]);
}

async fn a_name_belongs_to_one_definition_of_a_tenant(store: impl Ports) {
    let first = sample::definition(&mine(), 1, "report");
    assert_eq!(store.create_definition(&first).await.expect("created"), DefinitionSaved::Done);
    assert_eq!(store.create_definition(&first).await.expect("created again"), DefinitionSaved::Done);
    let second = sample::definition(&mine(), 2, "report");
    assert_eq!(store.create_definition(&second).await.expect("an answer"), DefinitionSaved::NameTaken(first.id));
    assert_eq!(store.load_definition(&mine(), second.id).await.expect("an answer"), None);
    let theirs = sample::definition(&yours(), 3, "report");
    assert_eq!(store.create_definition(&theirs).await.expect("created"), DefinitionSaved::Done);
    let found = store.catalog(&mine(), &[CatalogKey::DefinitionName(first.name.clone())]).await.expect("an answer");
    assert_eq!(found, [Some(CatalogItem::DefinitionName(first.id))]);
}

async fn of_two_changes_to_a_definition_one_wins(store: impl Ports) {
    let first = sample::definition(&mine(), 1, "report");
    store.create_definition(&first).await.expect("created");
    let next = Definition { latest_version: 1, active_version: Some(1), rev: 2, ..first.clone() };
    let version = sample::version(&first, 1);
    assert!(store.change_definition(&next, Some(&version)).await.expect("changed"));
    let late = Definition { display_name: Some("late".to_owned()), ..next.clone() };
    assert!(!store.change_definition(&late, None).await.expect("an answer"));
    assert_eq!(store.load_definition(&mine(), first.id).await.expect("loaded"), Some(next));
    let key = [CatalogKey::Version(first.id, 1)];
    assert_eq!(store.catalog(&mine(), &key).await.expect("an answer"), [Some(CatalogItem::Version(version))]);
    assert_eq!(store.catalog(&yours(), &key).await.expect("an answer"), [None]);
}

async fn a_runs_replays_are_found_with_it(store: impl Ports) {
    let original = run(&mine(), 1, noon());
    store.record_run(&new_run(&original, None, None)).await.expect("recorded");
    let replays = |number: u32| sluice_core::run::Run {
        replay_of: Some(original.run_id),
        replay_depth: 1,
        ..run(&mine(), number, noon() + SignedDuration::from_secs(i64::from(number)))
    };
    let keyed = new_run(&replays(2), Some(claim("key", "payload")), Some(in_an_hour()));
    for new in [&keyed, &keyed, &new_run(&replays(3), None, None)] {
        assert_eq!(store.record_run(new).await.expect("recorded"), Recorded::Created);
    }
    let second = new_run(&replays(4), Some(claim("key", "payload")), Some(in_an_hour()));
    assert!(matches!(store.record_run(&second).await, Ok(Recorded::KeyTaken(_))));
    let list = |tenant, id| {
        let store = store.clone();
        async move { store.list_replays(&tenant, id).await.expect("listed").into_iter().collect::<BTreeSet<_>>() }
    };
    let expected = BTreeSet::from([sample::run_id(2), sample::run_id(3)]);
    assert_eq!(list(mine(), original.run_id).await, expected, "and none of a run that was not recorded");
    assert!(list(yours(), original.run_id).await.is_empty());
    assert!(list(mine(), sample::run_id(2)).await.is_empty());
    assert_eq!(
        store.load_run(&mine(), sample::run_id(3)).await.expect("loaded"),
        Some(replays(3)),
        "and the replay knows its original"
    );
}

// ---- what only a network can do

#[tokio::test]
async fn of_very_many_replays_the_newest_hundred_are_listed() {
    let table = Table::new().await;
    for number in 1..=103 {
        let replay = sluice_core::run::Run {
            replay_of: Some(sample::run_id(0)),
            ..run(&mine(), number, noon() + SignedDuration::from_secs(i64::from(number)))
        };
        table.store.record_run(&new_run(&replay, None, None)).await.expect("recorded");
    }
    let expected: Vec<_> = (4..=103).rev().map(sample::run_id).collect();
    assert_eq!(table.store.list_replays(&mine(), sample::run_id(0)).await.expect("listed"), expected);
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
async fn a_late_repetition_is_known_by_the_run_itself_and_leaves_it_alone() {
    let table = Table::new().await;
    for (number, claim) in [(1, None), (2, Some(claim("key", "payload")))] {
        let run = run(&mine(), number, noon());
        let new = new_run(&run, claim, Some(in_an_hour()));
        assert_eq!(table.store.record_run(&new).await.expect("recorded"), Recorded::Created);
        let claimed = run.after(RunEvent::Claimed, in_an_hour()).expect("a change");
        let change = RunChange { expected_rev: 1, run: claimed.clone(), output: None, deliveries: Vec::new() };
        table.store.change_run(&change).await.expect("changed");
        assert_eq!(table.store.record_run(&new).await.expect("recorded again"), Recorded::Created);
        assert_eq!(table.store.load_run(&mine(), run.run_id).await.expect("loaded"), Some(claimed), "and left alone");
    }
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
    let second = sluice_core::run::Run { snapshot_hash: "another".to_owned(), ..first };
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
    an_attempt_is_recorded_with_its_delivery(table.store.clone()).await;
    of_two_changes_to_a_definition_one_wins(table.store.clone()).await;
    let (run, claim) = (run(&mine(), 2, noon()), claim("key", "payload"));
    let run = sluice_core::run::Run { replay_of: Some(sample::run_id(1)), ..run };
    table.store.record_run(&new_run(&run, Some(claim), None)).await.expect("recorded");
    let everything = table.everything().await;
    assert_eq!(everything.len(), 14);
    for ((pk, sk), item) in everything {
        assert!(item.contains_key("kind") && item.contains_key("v"), "{pk} {sk}");
        assert!(pk.starts_with("T#mine#"), "{pk} {sk}");
    }
}

#[tokio::test]
async fn an_item_that_nobody_wrote_is_corrupt() {
    use sluice_aws::dynamo::item::{from_run, n, s};
    let table = Table::new().await;
    let run = run(&mine(), 1, noon());
    let good = from_run(&run).expect("an item");
    for (attribute, value) in [("kind", s("step")), ("v", n(2)), ("status", s("DONE")), ("createdAt", s("yesterday"))] {
        let mut item = good.clone();
        item.insert(attribute.to_owned(), value);
        table.put(item).await;
        let error = table.store.load_run(&mine(), run.run_id).await.expect_err("unreadable");
        assert_eq!(error.class, StoreErrorClass::Corrupt, "{attribute}");
    }
    assert_eq!(RunStatus::Pending, run.status);
}
