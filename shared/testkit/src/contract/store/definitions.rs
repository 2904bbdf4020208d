//! Drafts, discoverable definitions and tenants' settings.

use super::lists::every_page;
use super::*;
use crate::contract::becomes;
use crate::contract::sample::{self, mine, noon, yours};
use crate::fixture::definition_id;
use jiff::SignedDuration;
use sluice_core::catalog::{CatalogKey, DefinitionKey, DraftKey, OwnerKey, SettingsKey, VersionKey, Wanted};
use sluice_core::concurrency::{Concurrency, OnLimit};
use sluice_core::definition::{Definition, Version};
use sluice_core::id::{DefinitionId, TenantId};
use sluice_core::operator::TenantSettings;
use sluice_core::ports::DefinitionSaved;
use sluice_core::retention::Retention;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The thing under a key, if there is one.
pub async fn one<K: CatalogKey>(store: &impl Ports, key: K) -> Option<K::Item> {
    store.get(&key).await.expect("an answer").map(Arc::unwrap_or_clone)
}

pub fn draft_key(tenant: &TenantId, definition_id: DefinitionId) -> DraftKey {
    DraftKey { tenant: tenant.clone(), definition_id }
}

pub fn version_key(tenant: &TenantId, definition_id: DefinitionId, number: u32) -> VersionKey {
    VersionKey { tenant: tenant.clone(), definition_id, number }
}

pub fn draft(definition: &Definition, by: &str) -> Version {
    Version { created_by: by.to_owned(), ..sample::version(definition, 0) }
}

pub async fn a_draft_is_read_as_version_zero_and_replaced_by_the_next(ground: &impl Ground) {
    let store = ground.ports();
    let definition = sample::definition(&mine(), 7, "report");
    store.create_definition(&definition).await.expect("created");
    let key = || draft_key(&mine(), definition.id);
    assert_eq!(one(&store, key()).await, None);
    for by in ["first", "second"] {
        let draft = draft(&definition, by);
        store.save_draft(&mine(), &draft).await.expect("saved");
        assert_eq!(one(&store, key()).await, Some(draft));
    }
    assert_eq!(one(&store, draft_key(&yours(), definition.id)).await, None);
    assert_eq!(one(&store, draft_key(&mine(), definition_id(8))).await, None);
    assert_eq!(one(&store, version_key(&mine(), definition.id, 1)).await, None, "a draft is no version");
    let versions = store.list_versions(&mine(), definition.id, 10, None).await.expect("a page");
    assert!(versions.items.is_empty());
}

pub async fn a_draft_that_is_not_there_can_be_deleted(ground: &impl Ground) {
    let store = ground.ports();
    let definition = sample::definition(&mine(), 7, "report");
    store.save_draft(&mine(), &draft(&definition, "someone")).await.expect("saved");
    store.delete_draft(&yours(), definition.id).await.expect("deleted");
    assert!(one(&store, draft_key(&mine(), definition.id)).await.is_some());
    for _ in 0..2 {
        store.delete_draft(&mine(), definition.id).await.expect("deleted");
        assert_eq!(one(&store, draft_key(&mine(), definition.id)).await, None);
    }
}

pub async fn a_definition_keeps_everything_that_is_said_of_it(ground: &impl Ground) {
    let store = ground.ports();
    let first = sample::definition(&mine(), 7, "report");
    store.create_definition(&first).await.expect("created");
    let full = Definition {
        deprecated_versions: BTreeSet::from([1]),
        concurrency: Some(Concurrency { max_concurrent_runs: 2, on_limit: OnLimit::Queue }),
        retention: Some(Retention { max_age_seconds: 60, preserve_on_failure: true }),
        max_run_duration_seconds: Some(60),
        exclude_paused_time: true,
        discoverable: true,
        tags: BTreeSet::from(["text".to_owned()]),
        rev: 2,
        ..first.clone()
    };
    let least = Definition { rev: 3, ..first };
    for next in [full, least] {
        assert!(store.change_definition(&next, None).await.expect("changed"));
        assert_eq!(store.load_definition(&mine(), next.id).await.expect("loaded"), Some(next));
    }
}

pub async fn a_discoverable_definition_is_found_by_its_id_until_it_is_not_discoverable(ground: &impl Ground) {
    let store = ground.ports();
    let hidden = sample::definition(&mine(), 7, "hidden");
    assert_eq!(store.create_definition(&hidden).await.expect("created"), DefinitionSaved::Done);
    assert_eq!(one(&store, OwnerKey(hidden.id)).await, None);

    let shown = Definition { discoverable: true, rev: 2, ..hidden.clone() };
    assert!(store.change_definition(&shown, None).await.expect("changed"));
    assert_eq!(one(&store, OwnerKey(shown.id)).await, Some(mine()));
    let renamed = Definition { display_name: Some("Report".to_owned()), rev: 3, ..shown };
    let version = sample::version(&renamed, 1);
    assert!(store.change_definition(&renamed, Some(&version)).await.expect("changed"));
    assert_eq!(one(&store, OwnerKey(renamed.id)).await, Some(mine()));

    let hidden = Definition { discoverable: false, rev: 4, ..renamed };
    assert!(store.change_definition(&hidden, None).await.expect("changed"));
    assert_eq!(one(&store, OwnerKey(hidden.id)).await, None);

    let from_the_first = Definition { discoverable: true, ..sample::definition(&yours(), 8, "shown") };
    store.create_definition(&from_the_first).await.expect("created");
    assert_eq!(one(&store, OwnerKey(from_the_first.id)).await, Some(yours()));
}

pub async fn a_change_that_is_refused_leaves_a_definition_where_it_was(ground: &impl Ground) {
    let store = ground.ports();
    let shown = Definition { discoverable: true, ..sample::definition(&mine(), 7, "shown") };
    let hidden = sample::definition(&mine(), 8, "hidden");
    store.create_definition(&shown).await.expect("created");
    store.create_definition(&hidden).await.expect("created");
    for (definition, discoverable) in [(&shown, false), (&hidden, true)] {
        let late = Definition { discoverable, rev: 9, ..definition.clone() };
        assert!(!store.change_definition(&late, None).await.expect("an answer"));
        let found = one(&store, OwnerKey(definition.id)).await;
        assert_eq!(found.is_some(), !discoverable);
    }
    // So does a name that is taken.
    let second = Definition { discoverable: true, ..sample::definition(&mine(), 9, "shown") };
    assert_eq!(store.create_definition(&second).await.expect("an answer"), DefinitionSaved::NameTaken(shown.id));
    assert_eq!(one(&store, OwnerKey(second.id)).await, None);
    let listed = async || store.list_discoverable(10, None).await.expect("a page").items;
    becomes(vec![shown], || ground.pause(), listed).await;
}

pub async fn discoverable_definitions_of_all_tenants_are_listed_once_each(ground: &impl Ground) {
    let store = ground.ports();
    let mut expected: BTreeSet<DefinitionId> = BTreeSet::new();
    // Ids sixteen apart share a shard: some shards hold many, one none.
    for number in (0..12_u128).chain((1..9).map(|number| number * 16)).filter(|number| number % 16 != 5) {
        let tenant = if number % 2 == 0 { mine() } else { yours() };
        let created_at = noon() + SignedDuration::from_secs(number as i64);
        let definition = Definition {
            discoverable: number % 7 != 0,
            created_at,
            ..sample::definition(&tenant, number, &format!("report-{number}"))
        };
        store.create_definition(&definition).await.expect("created");
        if definition.discoverable {
            expected.insert(definition.id);
        }
    }
    let expected: Vec<DefinitionId> = expected.into_iter().collect();
    for limit in [1, 2, 3, 100] {
        let store = &store;
        let page = async |cursor: Option<String>| {
            let page = store.list_discoverable(limit, cursor.as_deref()).await.expect("a page");
            assert!(page.items.len() <= limit as usize);
            page
        };
        let listed = async || {
            let mut listed: Vec<_> = every_page(page).await.0.into_iter().map(|definition| definition.id).collect();
            listed.sort_unstable();
            listed
        };
        becomes(expected.clone(), || ground.pause(), listed).await;
    }
}

pub fn settings(tenant: &TenantId, most: u32) -> TenantSettings {
    TenantSettings {
        concurrency: Some(Concurrency { max_concurrent_runs: most, on_limit: OnLimit::Reject }),
        retention: Some(Retention { max_age_seconds: 60, preserve_on_failure: false }),
        destinations: Some(Vec::new()),
        updated_at: noon(),
        ..TenantSettings::open(tenant.clone())
    }
}

pub async fn a_tenant_without_settings_has_open_ones(ground: &impl Ground) {
    let store = ground.ports();
    let read = async |tenant: TenantId| {
        let found = store.read_catalog(&Wanted::one(SettingsKey(tenant.clone()))).await.expect("an answer");
        Arc::unwrap_or_clone(found.settings(&tenant))
    };
    assert_eq!(read(mine()).await, TenantSettings::open(mine()));
    store.save_tenant(&settings(&mine(), 5)).await.expect("saved");
    assert_eq!(read(mine()).await, settings(&mine(), 5));
    assert_eq!(read(yours()).await, TenantSettings::open(yours()));
    // Beside other things.
    let nothing = DefinitionKey { tenant: yours(), id: definition_id(7) };
    let wanted = Wanted::one(nothing.clone()).and(SettingsKey(yours())).and(SettingsKey(mine()));
    let found = store.read_catalog(&wanted).await.expect("an answer");
    assert_eq!(found.get(&nothing), None);
    assert_eq!(*found.settings(&yours()), TenantSettings::open(yours()));
    assert_eq!(*found.settings(&mine()), settings(&mine(), 5));
}

pub async fn tenants_with_settings_are_listed_as_they_were_set_last(ground: &impl Ground) {
    let store = ground.ports();
    let names = ["a", "b:1", "c@d", "z"];
    let mut expected = Vec::new();
    for (most, name) in (1..).zip(names) {
        let tenant: TenantId = name.parse().expect("a tenant");
        store.save_tenant(&settings(&tenant, 99)).await.expect("saved");
        store.save_tenant(&settings(&tenant, most)).await.expect("saved again");
        expected.push(settings(&tenant, most));
    }
    let store = &store;
    let page = async |cursor: Option<String>| store.list_tenants(3, cursor.as_deref()).await.expect("a page");
    becomes(expected, || ground.pause(), async || every_page(page).await.0).await;
}
