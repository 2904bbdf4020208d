//! The catalog and what a process remembers of it.

use crate::support::relay::Trouble;
use crate::support::sample::{self, mine, noon, yours};
use crate::support::table::Table;
use sluice_core::definition::Definition;
use sluice_core::operator::Processor;
use sluice_core::ports::{CatalogItem, CatalogKey, ManageDefinitions, ManageOperator, ReadCatalog, StoreErrorClass};
use sluice_testkit::fixture;
use std::time::Duration;

async fn filled() -> (Table, Definition) {
    let table = Table::new().await;
    for processor in fixture::processors(noon()) {
        table.store.save_processor(&processor).await.expect("saved");
    }
    table.store.save_compute_node(&fixture::compute_node(noon())).await.expect("saved");
    let first = sample::definition(&mine(), 7, "text-report");
    table.store.create_definition(&first).await.expect("created");
    let definition = Definition { active_version: Some(1), latest_version: 1, rev: 2, ..first };
    let version = sample::version(&definition, 1);
    assert!(table.store.change_definition(&definition, Some(&version)).await.expect("changed"));
    table.relay.take_passed();
    (table, definition)
}

/// The keys of a request for a run in the order in which its flow comes to know them.
fn chain(definition: &Definition) -> [Vec<CatalogKey>; 4] {
    let processors = fixture::processors(noon()).into_iter().map(|processor| CatalogKey::Processor(processor.key));
    [
        vec![CatalogKey::DefinitionName(definition.name.clone())],
        vec![CatalogKey::Definition(definition.id), CatalogKey::ComputeNode("default".parse().expect("a key"))],
        vec![CatalogKey::Version(definition.id, 1)],
        processors.collect(),
    ]
}

async fn walk(table: &Table, definition: &Definition) -> usize {
    for keys in chain(definition) {
        let found = table.store.catalog(&mine(), &keys).await.expect("an answer");
        assert!(found.len() == keys.len() && found.iter().all(Option::is_some), "{keys:?}");
    }
    let passed = table.relay.take_passed();
    assert!(passed.iter().all(|call| call == "BatchGetItem"), "{passed:?}");
    passed.len()
}

/// Lets time pass for what is remembered, and for nothing else.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn items_come_in_the_order_of_their_keys_and_a_repeated_key_is_asked_once() {
    let (table, definition) = filled().await;
    let node = CatalogKey::ComputeNode("default".parse().expect("a key"));
    let nothing = CatalogKey::ComputeNode("nothing".parse().expect("a key"));
    let keys = [node.clone(), nothing, CatalogKey::Definition(definition.id), node];
    let found = table.store.catalog(&mine(), &keys).await.expect("an answer");
    let node = Some(CatalogItem::ComputeNode(fixture::compute_node(noon())));
    assert_eq!(found, [node.clone(), None, Some(CatalogItem::Definition(definition)), node]);
    assert_eq!(table.relay.take_passed(), ["BatchGetItem"]);
    assert!(table.store.catalog(&mine(), &[]).await.expect("an answer").is_empty());
    assert!(table.relay.take_passed().is_empty());
}

#[tokio::test]
async fn within_five_seconds_nothing_is_asked_twice() {
    let (table, definition) = filled().await;
    assert_eq!(walk(&table, &definition).await, 4);
    assert_eq!(walk(&table, &definition).await, 0);
    pass(Duration::from_millis(4_900)).await;
    assert_eq!(walk(&table, &definition).await, 0);
}

#[tokio::test]
async fn after_five_seconds_one_round_trip_refreshes_the_whole_chain() {
    let (table, definition) = filled().await;
    assert_eq!(walk(&table, &definition).await, 4);
    for _ in 0..3 {
        pass(Duration::from_secs(6)).await;
        assert_eq!(walk(&table, &definition).await, 1);
    }
}

#[tokio::test]
async fn what_is_no_longer_asked_for_is_not_refreshed_for_ever() {
    let (table, definition) = filled().await;
    walk(&table, &definition).await;
    let [name, _, version, _] = chain(&definition);
    for _ in 0..3 {
        pass(Duration::from_secs(6)).await;
        table.store.catalog(&mine(), &name).await.expect("an answer");
    }
    table.relay.take_passed();
    // The version is kept for good; of the others only what was asked for stays fresh.
    table.store.catalog(&mine(), &[name, version].concat()).await.expect("an answer");
    assert_eq!(table.relay.take_passed().len(), 0);
    let node = [CatalogKey::ComputeNode("default".parse().expect("a key"))];
    table.store.catalog(&mine(), &node).await.expect("an answer");
    assert_eq!(table.relay.take_passed().len(), 1);
}

#[tokio::test]
async fn a_change_by_another_process_shows_after_five_seconds_and_one_of_our_own_at_once() {
    let (table, definition) = filled().await;
    let first = fixture::processors(noon()).remove(0);
    let key = [CatalogKey::Processor(first.key.clone())];
    let read = || async { table.store.catalog(&mine(), &key).await.expect("an answer").remove(0) };
    assert_eq!(read().await, Some(CatalogItem::Processor(first.clone())));

    let theirs = Processor { description: Some("theirs".to_owned()), ..first.clone() };
    table.another_store().save_processor(&theirs).await.expect("saved");
    assert_eq!(read().await, Some(CatalogItem::Processor(first.clone())));
    pass(Duration::from_secs(5)).await;
    assert_eq!(read().await, Some(CatalogItem::Processor(theirs)));

    let ours = Processor { description: Some("ours".to_owned()), ..first };
    table.store.save_processor(&ours).await.expect("saved");
    assert_eq!(read().await, Some(CatalogItem::Processor(ours)));

    let key = [CatalogKey::Definition(definition.id)];
    table.store.catalog(&mine(), &key).await.expect("an answer");
    let changed = Definition { rev: 3, description: Some("ours".to_owned()), ..definition };
    assert!(table.store.change_definition(&changed, None).await.expect("changed"));
    assert_eq!(table.store.catalog(&mine(), &key).await.expect("an answer"), [Some(CatalogItem::Definition(changed))]);
}

#[tokio::test]
async fn what_does_not_exist_is_not_remembered() {
    let (table, _) = filled().await;
    let late = sample::definition(&mine(), 8, "late");
    let keys = [CatalogKey::DefinitionName(late.name.clone()), CatalogKey::Definition(late.id)];
    assert_eq!(table.store.catalog(&mine(), &keys).await.expect("an answer"), [None, None]);
    table.another_store().create_definition(&late).await.expect("created");
    let found = table.store.catalog(&mine(), &keys).await.expect("an answer");
    assert_eq!(found, [Some(CatalogItem::DefinitionName(late.id)), Some(CatalogItem::Definition(late))]);
}

#[tokio::test]
async fn what_is_remembered_for_one_tenant_is_not_shown_to_another() {
    let (table, definition) = filled().await;
    walk(&table, &definition).await;
    let [name, ids, version, _] = chain(&definition);
    let found = table.store.catalog(&yours(), &[name, version, ids].concat()).await.expect("an answer");
    assert_eq!(
        found.iter().map(Option::is_some).collect::<Vec<_>>(),
        [false, false, false, true],
        "only the compute node"
    );
}

#[tokio::test]
async fn more_keys_than_one_call_takes_are_asked_in_batches() {
    let table = Table::new().await;
    let processor = fixture::processors(noon()).remove(0);
    let mut keys = Vec::new();
    for number in 0..230 {
        let key = format!("processor-{number}").parse().expect("a key");
        table.store.save_processor(&Processor { key, ..processor.clone() }).await.expect("saved");
        keys.push(CatalogKey::Processor(format!("processor-{number}").parse().expect("a key")));
    }
    table.relay.take_passed();
    let found = table.store.catalog(&mine(), &keys).await.expect("an answer");
    for (key, item) in keys.iter().zip(found) {
        let Some(CatalogItem::Processor(found)) = item else { panic!("{key:?}") };
        assert_eq!(CatalogKey::Processor(found.key), *key);
    }
    assert_eq!(table.relay.take_passed().len(), 3);
}

#[tokio::test]
async fn keys_left_unprocessed_are_asked_for_again_and_given_up_as_throttled() {
    let (table, definition) = filled().await;
    let unprocessed = format!(
        r#"{{"Responses":{{}},"UnprocessedKeys":{{"{}":{{"ConsistentRead":true,"Keys":[{{"pk":{{"S":"T#mine#DEF#{}"}},"sk":{{"S":"HEAD"}}}}]}}}}}}"#,
        table.settings.table, definition.id
    );
    let key = [CatalogKey::Definition(definition.id)];
    table.relay.trouble("BatchGetItem", [Trouble::Answer(200, unprocessed.clone())]);
    assert_eq!(
        table.store.catalog(&mine(), &key).await.expect("an answer"),
        [Some(CatalogItem::Definition(definition))]
    );
    assert_eq!(table.relay.take_passed().len(), 2);

    table.relay.trouble_for_ever("BatchGetItem", Trouble::Answer(200, unprocessed));
    let error = table.another_store().catalog(&mine(), &key).await.expect_err("throttled");
    assert_eq!(error.class, StoreErrorClass::Throttled);
}
