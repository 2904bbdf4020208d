//! The catalog, and what little of it a process remembers.

use crate::support::relay::Trouble;
use crate::support::sample::{self, mine, noon, yours};
use crate::support::table::Table;
use sluice_core::catalog::{DefinitionKey, NameKey, Wanted};
use sluice_core::definition::Definition;
use sluice_core::id::{ComputeNodeKey, ProcessorKey, TenantId};
use sluice_core::operator::Processor;
use sluice_core::ports::{ManageDefinitions, ManageOperator, ReadCatalog, StoreErrorClass};
use sluice_testkit::contract::store::definitions::{one, version_key};
use sluice_testkit::fixture;

async fn filled() -> (Table, Definition) {
    let table = Table::new().await;
    for processor in fixture::processors(noon()) {
        table.store.save_processor(&processor).await.expect("saved");
    }
    table.store.save_compute_node(&fixture::compute_node(noon())).await.expect("saved");
    let first = sample::definition(&mine(), 7, "text-report");
    table.store.create_definition(&first, 1_000).await.expect("created");
    let definition = Definition { active_version: Some(1), latest_version: 1, rev: 2, ..first };
    let version = sample::version(&definition, 1);
    assert!(table.store.change_definition(&definition, Some(&version)).await.expect("changed"));
    table.relay.take_passed();
    (table, definition)
}

fn name_key(tenant: &TenantId, definition: &Definition) -> NameKey {
    NameKey { tenant: tenant.clone(), name: definition.name.clone() }
}

fn key_of(tenant: &TenantId, definition: &Definition) -> DefinitionKey {
    DefinitionKey { tenant: tenant.clone(), id: definition.id }
}

fn node_key(key: &str) -> ComputeNodeKey {
    key.parse().expect("a key")
}

/// The keys of a request for a run in the order in which its flow comes to know them.
fn chain(tenant: &TenantId, definition: &Definition) -> [Wanted; 4] {
    let processors = fixture::processors(noon()).into_iter().map(|processor| processor.key);
    [
        Wanted::one(name_key(tenant, definition)),
        Wanted::one(key_of(tenant, definition)).and(node_key("default")),
        Wanted::one(version_key(tenant, definition.id, 1)),
        Wanted::default().and_all(processors),
    ]
}

async fn walk(table: &Table, definition: &Definition) -> usize {
    for wanted in chain(&mine(), definition) {
        let found = table.store.read_catalog(&wanted).await.expect("an answer");
        assert_eq!(found.len(), wanted.len(), "{wanted:?}");
    }
    let passed = table.relay.take_passed();
    assert!(passed.iter().all(|call| call == "BatchGetItem"), "{passed:?}");
    passed.len()
}

#[tokio::test]
async fn items_come_under_their_own_keys_and_a_repeated_key_is_asked_once() {
    let (table, definition) = filled().await;
    let (node, nothing) = (node_key("default"), node_key("nothing"));
    let key = key_of(&mine(), &definition);
    let wanted = Wanted::one(node.clone()).and(nothing.clone()).and(key.clone()).and(node.clone());
    let found = table.store.read_catalog(&wanted).await.expect("an answer");
    assert_eq!(found.get(&node).as_deref(), Some(&fixture::compute_node(noon())));
    assert_eq!(found.get(&nothing), None);
    assert_eq!(found.get(&key).as_deref(), Some(&definition));
    assert_eq!(table.relay.take_passed(), ["BatchGetItem"]);
    assert!(table.store.read_catalog(&Wanted::default()).await.expect("an answer").is_empty());
    assert!(table.relay.take_passed().is_empty());
}

#[tokio::test]
async fn a_version_is_read_once_and_everything_else_always() {
    let (table, definition) = filled().await;
    assert_eq!(walk(&table, &definition).await, 4);
    for _ in 0..2 {
        assert_eq!(walk(&table, &definition).await, 3, "all but the version");
    }
    // To another process it is new, and to this one another version is.
    assert!(table.another_store().get(&version_key(&mine(), definition.id, 1)).await.expect("an answer").is_some());
    assert_eq!(table.relay.take_passed().len(), 1);
    assert_eq!(one(&table.store, version_key(&mine(), definition.id, 2)).await, None);
    assert_eq!(table.relay.take_passed().len(), 1);
}

#[tokio::test]
async fn a_change_shows_at_once_whoever_made_it() {
    let (table, definition) = filled().await;
    let mut processor = fixture::processors(noon()).remove(0);
    let mut definition = definition;
    for rev in 2..5 {
        let by = if rev == 3 { table.store.clone() } else { table.another_store() };
        let key = key_of(&mine(), &definition);
        assert_eq!(one(&table.store, processor.key.clone()).await, Some(processor.clone()));
        assert_eq!(one(&table.store, key).await, Some(definition.clone()));
        (processor.description, processor.rev) = (Some(format!("revision {rev}")), rev);
        (definition.description, definition.rev) = (Some(format!("revision {rev}")), rev + 1);
        assert!(by.save_processor(&processor).await.expect("saved"));
        assert!(by.change_definition(&definition, None).await.expect("changed"));
        assert_eq!(one(&table.store, processor.key.clone()).await, Some(processor.clone()));
        assert_eq!(one(&table.store, key_of(&mine(), &definition)).await, Some(definition.clone()));
    }
}

#[tokio::test]
async fn what_does_not_exist_is_not_remembered() {
    let (table, _) = filled().await;
    let late = sample::definition(&mine(), 8, "late");
    let (name, key) = (name_key(&mine(), &late), key_of(&mine(), &late));
    let wanted = Wanted::one(name.clone()).and(key.clone());
    assert!(table.store.read_catalog(&wanted).await.expect("an answer").is_empty());
    table.another_store().create_definition(&late, 1_000).await.expect("created");
    let found = table.store.read_catalog(&wanted).await.expect("an answer");
    assert_eq!(found.get(&name).map(|named| named.id), Some(late.id));
    assert_eq!(found.get(&key).as_deref(), Some(&late));
}

#[tokio::test]
async fn what_is_remembered_for_one_tenant_is_not_shown_to_another() {
    let (table, definition) = filled().await;
    walk(&table, &definition).await;
    let [name, ids, version, _] = chain(&yours(), &definition);
    for (wanted, expected) in [(name, 0), (version, 0), (ids, 1)] {
        let found = table.store.read_catalog(&wanted).await.expect("an answer");
        assert_eq!(found.len(), expected, "only the compute node");
    }
}

#[tokio::test]
async fn more_keys_than_one_call_takes_are_asked_in_batches() {
    let table = Table::new().await;
    let processor = fixture::processors(noon()).remove(0);
    let mut wanted = Wanted::default();
    for number in 0..230 {
        let key: ProcessorKey = format!("processor-{number}").parse().expect("a key");
        table.store.save_processor(&Processor { key: key.clone(), ..processor.clone() }).await.expect("saved");
        wanted = wanted.and(key);
    }
    table.relay.take_passed();
    let found = table.store.read_catalog(&wanted).await.expect("an answer");
    for key in &wanted.processors {
        assert_eq!(found.get(key).expect("a processor").key, *key);
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
    let key = key_of(&mine(), &definition);
    table.relay.trouble("BatchGetItem", [Trouble::Answer(200, unprocessed.clone())]);
    assert_eq!(one(&table.store, key.clone()).await, Some(definition));
    assert_eq!(table.relay.take_passed().len(), 2);

    table.relay.trouble_for_ever("BatchGetItem", Trouble::Answer(200, unprocessed));
    let error = table.another_store().get(&key).await.expect_err("throttled");
    assert_eq!(error.class, StoreErrorClass::Throttled);
}
