//! Drafts, discoverable definitions and tenants' settings: what a process remembers, and whose cursors it takes.

use crate::support::sample::{self, mine};
use crate::support::table::Table;
use sluice_core::catalog::{OwnerKey, SettingsKey, Wanted};
use sluice_core::definition::Definition;
use sluice_core::id::TenantId;
use sluice_core::operator::TenantSettings;
use sluice_core::ports::{ManageDefinitions, ManageOperator, Page, ReadCatalog, StoreErrorClass};
use sluice_testkit::contract::store::definitions::{draft, draft_key, one, settings};
use sluice_testkit::fixture::definition_id;
use std::sync::Arc;

/// What the operator said of a tenant, or open settings.
async fn said_of(table: &Table, tenant: TenantId) -> TenantSettings {
    let found = table.store.read_catalog(&Wanted::one(SettingsKey(tenant.clone()))).await.expect("an answer");
    Arc::unwrap_or_clone(found.settings(&tenant))
}

#[tokio::test]
async fn a_draft_is_never_remembered() {
    let table = Table::new().await;
    let definition = sample::definition(&mine(), 7, "report");
    for (by, rev) in [("first", 1), ("second", 2)] {
        let draft = draft(&definition, by, rev);
        assert!(table.another_store().save_draft(&mine(), &draft).await.expect("saved"));
        let found = one(&table.store, draft_key(&mine(), definition.id)).await;
        assert_eq!(found, Some(draft));
    }
    table.another_store().delete_draft(&mine(), definition.id).await.expect("deleted");
    assert_eq!(one(&table.store, draft_key(&mine(), definition.id)).await, None);
}

#[tokio::test]
async fn what_another_process_said_of_a_tenant_counts_at_once() {
    let table = Table::new().await;
    let read = || async { said_of(&table, mine()).await };
    assert_eq!(read().await, TenantSettings::open(mine()));
    for rev in 1..4 {
        let said = TenantSettings { rev, ..settings(&mine(), rev as u32) };
        let by = if rev == 2 { table.store.clone() } else { table.another_store() };
        assert!(by.save_tenant(&said).await.expect("saved"));
        assert_eq!(read().await, said, "said by process {rev}");
    }
}

#[tokio::test]
async fn what_is_no_longer_discoverable_is_not_found_at_once() {
    let table = Table::new().await;
    let mut definition = Definition { discoverable: true, ..sample::definition(&mine(), 7, "shown") };
    table.store.create_definition(&definition, 1_000).await.expect("created");
    for rev in 2..6 {
        let found = one(&table.store, OwnerKey(definition_id(7))).await;
        assert_eq!(found.is_some(), definition.discoverable, "revision {rev}");
        (definition.discoverable, definition.rev) = (!definition.discoverable, rev);
        let by = if rev == 3 { table.store.clone() } else { table.another_store() };
        assert!(by.change_definition(&definition, None).await.expect("changed"));
    }
}

#[tokio::test]
async fn a_cursor_that_no_list_of_discoverable_definitions_gave_is_refused() {
    let table = Table::new().await;
    let store = &table.store;
    for number in [1, 17] {
        let name = format!("report-{number}");
        let definition = Definition { discoverable: true, ..sample::definition(&mine(), number, &name) };
        store.create_definition(&definition, 1_000).await.expect("created");
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
