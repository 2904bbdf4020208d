//! Drafts, discoverable definitions and tenants' settings: what a process remembers, and whose cursors it takes.

use crate::support::sample::{self, mine};
use crate::support::table::Table;
use sluice_core::catalog::{DefinitionKey, OwnerKey, SettingsKey, Wanted};
use sluice_core::definition::Definition;
use sluice_core::id::TenantId;
use sluice_core::operator::TenantSettings;
use sluice_core::ports::{ManageDefinitions, ManageOperator, Page, ReadCatalog, StoreErrorClass};
use sluice_testkit::contract::store::definitions::{draft, draft_key, one, settings};
use sluice_testkit::fixture::definition_id;
use std::sync::Arc;
use std::time::Duration;

/// What the operator said of a tenant, or open settings.
async fn said_of(table: &Table, tenant: TenantId) -> TenantSettings {
    let found = table.store.read_catalog(&Wanted::one(SettingsKey(tenant.clone()))).await.expect("an answer");
    Arc::unwrap_or_clone(found.settings(&tenant))
}

/// Lets time pass for what is remembered, and for nothing else.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_draft_is_never_remembered() {
    let table = Table::new().await;
    let definition = sample::definition(&mine(), 7, "report");
    for by in ["first", "second"] {
        let draft = draft(&definition, by);
        table.another_store().save_draft(&mine(), &draft).await.expect("saved");
        let found = one(&table.store, draft_key(&mine(), definition.id)).await;
        assert_eq!(found, Some(draft));
    }
    table.another_store().delete_draft(&mine(), definition.id).await.expect("deleted");
    assert_eq!(one(&table.store, draft_key(&mine(), definition.id)).await, None);
}

#[tokio::test]
async fn settings_are_remembered_for_five_seconds_and_so_is_that_there_are_none() {
    let table = Table::new().await;
    let read = || async { said_of(&table, mine()).await };
    let open = TenantSettings::open(mine());
    table.relay.take_passed();
    for _ in 0..3 {
        assert_eq!(read().await, open);
    }
    assert_eq!(table.relay.take_passed(), ["BatchGetItem"]);
    table.another_store().save_tenant(&settings(&mine(), 5)).await.expect("saved");
    assert_eq!(read().await, open, "set by another process");
    pass(Duration::from_secs(5)).await;
    assert_eq!(read().await, settings(&mine(), 5));
    table.store.save_tenant(&settings(&mine(), 6)).await.expect("saved");
    assert_eq!(read().await, settings(&mine(), 6), "set by this one");
}

#[tokio::test]
async fn open_settings_are_refreshed_beside_what_is_asked_for() {
    let table = Table::new().await;
    let definition = sample::definition(&mine(), 7, "report");
    table.store.create_definition(&definition).await.expect("created");
    let head = DefinitionKey { tenant: mine(), id: definition.id };
    table.relay.take_passed();
    for round in 0..3 {
        assert!(one(&table.store, head.clone()).await.is_some());
        said_of(&table, mine()).await;
        let expected = if round == 0 { 2 } else { 1 };
        assert_eq!(table.relay.take_passed().len(), expected, "round {round}");
        pass(Duration::from_secs(6)).await;
    }
}

#[tokio::test]
async fn what_is_no_longer_discoverable_is_not_found_after_five_seconds() {
    let table = Table::new().await;
    let shown = Definition { discoverable: true, ..sample::definition(&mine(), 7, "shown") };
    table.store.create_definition(&shown).await.expect("created");
    let read = || async { one(&table.store, OwnerKey(definition_id(7))).await };
    assert_eq!(read().await, Some(mine()));
    let hidden = Definition { discoverable: false, rev: 2, ..shown.clone() };
    assert!(table.another_store().change_definition(&hidden, None).await.expect("changed"));
    assert!(read().await.is_some(), "remembered");
    pass(Duration::from_secs(5)).await;
    assert_eq!(read().await, None);
    let shown = Definition { discoverable: true, rev: 3, ..shown.clone() };
    assert!(table.store.change_definition(&shown, None).await.expect("changed"));
    assert!(read().await.is_some(), "what is not there is not remembered");
    let hidden = Definition { discoverable: false, rev: 4, ..shown };
    assert!(table.store.change_definition(&hidden, None).await.expect("changed"));
    assert_eq!(read().await, None, "changed by this process");
}

#[tokio::test]
async fn a_cursor_that_no_list_of_discoverable_definitions_gave_is_refused() {
    let table = Table::new().await;
    let store = &table.store;
    for number in [1, 17] {
        let name = format!("report-{number}");
        let definition = Definition { discoverable: true, ..sample::definition(&mine(), number, &name) };
        store.create_definition(&definition).await.expect("created");
    }
    let first = store.list_discoverable(1, None).await.expect("a page");
    let cursor = first.next.expect("a cursor");
    assert!(!cursor.contains("mine"), "{cursor}");
    let of_definitions = store.list_definitions(&mine(), 1, None).await.expect("a page").next.expect("a cursor");
    let (head, _) = cursor.rsplit_once('#').expect("a time and an id");
    for forged in [
        of_definitions,
        String::new(),
        "discover.".to_owned(),
        "discover.1.".to_owned(),
        "discover.16.".to_owned(),
        "discover.-1.".to_owned(),
        format!("{head}#x"),
        format!("{cursor}#"),
        cursor.replacen("discover", "recover", 1),
    ] {
        let error = store.list_discoverable(1, Some(&forged)).await.expect_err("refused");
        assert_eq!(error.class, StoreErrorClass::Corrupt, "{forged}");
    }
    store.list_definitions(&mine(), 1, Some(&cursor)).await.expect_err("and the other way round");
    let Page { items, .. } = store.list_discoverable(10, Some(&cursor)).await.expect("a page");
    assert_eq!(items.len(), 1);
}
