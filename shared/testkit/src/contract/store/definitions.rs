//! Drafts, discoverable definitions and tenants' settings.

use super::lists::every_page;
use super::*;
use crate::contract::sample::{self, mine, noon, yours};
use crate::contract::{at_once, becomes};
use crate::fixture::{self, definition_id};
use jiff::SignedDuration;
use sluice_core::budget::MicroUsd;
use sluice_core::caller::Caller;
use sluice_core::catalog::{
    CatalogKey, DefinitionKey, Draft, DraftKey, NameKey, Named, OwnerKey, SettingsKey, Shared, VersionKey, Wanted,
};
use sluice_core::concurrency::{Concurrency, OnLimit};
use sluice_core::definition::{Definition, Version};
use sluice_core::flow::Refusal;
use sluice_core::flow::manage_definitions::{
    DefinitionChange, add_version, change_definition, deprecate_version, save_draft,
};
use sluice_core::flow::manage_operator::{save_compute_node, save_layer, save_processor, save_tenant};
use sluice_core::governor::quota::{Budget, Period};
use sluice_core::id::{DefinitionId, DefinitionRef, LayerName, TenantId};
use sluice_core::operator::{ComputeNode, LayerStatus, Processor, TenantSettings, Tenants};
use sluice_core::ports::DefinitionSaved;
use sluice_core::retention::Retention;
use sluice_core::tenant_limits::OwnLimits;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The thing under a key, if there is one.
pub async fn one<K: CatalogKey<Item: Clone>>(store: &impl Ports, key: K) -> Option<K::Item> {
    store.get(&key).await.expect("an answer").map(Arc::unwrap_or_clone)
}

pub fn draft_key(tenant: &TenantId, definition_id: DefinitionId) -> DraftKey {
    DraftKey { tenant: tenant.clone(), definition_id }
}

pub fn version_key(tenant: &TenantId, definition_id: DefinitionId, number: u32) -> VersionKey {
    VersionKey { tenant: tenant.clone(), definition_id, number }
}

pub fn draft(definition: &Definition, by: &str, rev: u64) -> Draft {
    let version = Version { created_by: by.to_owned(), ..sample::version(definition, 0) };
    Draft { version: Arc::new(version.into()), rev }
}

/// What an owner shares of a definition.
pub fn shared(definition: &Definition) -> Shared {
    Shared { owner: definition.tenant.clone(), outline: definition.outline() }
}

pub async fn a_draft_is_read_as_version_zero_and_replaced_by_the_next(ground: &impl Ground) {
    let store = ground.ports();
    let definition = sample::definition(&mine(), 7, "report");
    store.create_definition(&definition, 1_000).await.expect("created");
    let key = || draft_key(&mine(), definition.id);
    assert_eq!(one(&store, key()).await, None);
    for (by, rev) in [("first", 1), ("second", 2)] {
        let draft = draft(&definition, by, rev);
        assert!(store.save_draft(&mine(), &draft).await.expect("saved"));
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
    store.save_draft(&mine(), &draft(&definition, "someone", 1)).await.expect("saved");
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
    store.create_definition(&first, 1_000).await.expect("created");
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
    assert_eq!(store.create_definition(&hidden, 1_000).await.expect("created"), DefinitionSaved::Done);
    assert_eq!(one(&store, OwnerKey(hidden.id)).await, None);

    let shown = Definition { discoverable: true, rev: 2, ..hidden.clone() };
    assert!(store.change_definition(&shown, None).await.expect("changed"));
    assert_eq!(one(&store, OwnerKey(shown.id)).await, Some(shared(&shown)));
    let renamed = Definition { display_name: Some("Report".to_owned()), rev: 3, ..shown };
    let version = sample::version(&renamed, 1);
    assert!(store.change_definition(&renamed, Some(&version)).await.expect("changed"));
    assert_eq!(one(&store, OwnerKey(renamed.id)).await, Some(shared(&renamed)));

    let hidden = Definition { discoverable: false, rev: 4, ..renamed };
    assert!(store.change_definition(&hidden, None).await.expect("changed"));
    assert_eq!(one(&store, OwnerKey(hidden.id)).await, None);

    let from_the_first = Definition { discoverable: true, ..sample::definition(&yours(), 8, "shown") };
    store.create_definition(&from_the_first, 1_000).await.expect("created");
    assert_eq!(one(&store, OwnerKey(from_the_first.id)).await, Some(shared(&from_the_first)));
}

pub async fn a_change_that_is_refused_leaves_a_definition_where_it_was(ground: &impl Ground) {
    let store = ground.ports();
    let shown = Definition { discoverable: true, ..sample::definition(&mine(), 7, "shown") };
    let hidden = sample::definition(&mine(), 8, "hidden");
    store.create_definition(&shown, 1_000).await.expect("created");
    store.create_definition(&hidden, 1_000).await.expect("created");
    for (definition, discoverable) in [(&shown, false), (&hidden, true)] {
        let late = Definition { discoverable, rev: 9, ..definition.clone() };
        assert!(!store.change_definition(&late, None).await.expect("an answer"));
        let found = one(&store, OwnerKey(definition.id)).await;
        assert_eq!(found.is_some(), !discoverable);
    }
    // So does a name that is taken.
    let second = Definition { discoverable: true, ..sample::definition(&mine(), 9, "shown") };
    assert_eq!(store.create_definition(&second, 1_000).await.expect("an answer"), DefinitionSaved::NameTaken(shown.id));
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
        store.create_definition(&definition, 1_000).await.expect("created");
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
        budget: Some(Budget { period: Period::Month, max: Some(MicroUsd(most.into())), per_user_max: None }),
        limits: OwnLimits { open_runs: Some(most + 100), ..OwnLimits::default() },
        updated_at: noon(),
        rev: 1,
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
        assert!(store.save_tenant(&settings(&tenant, 99)).await.expect("saved"));
        let last = TenantSettings { rev: 2, ..settings(&tenant, most) };
        assert!(store.save_tenant(&last).await.expect("saved again"));
        expected.push(last);
    }
    let store = &store;
    let page = async |cursor: Option<String>| store.list_tenants(3, cursor.as_deref()).await.expect("a page");
    becomes(expected, || ground.pause(), async || every_page(page).await.0).await;
}

/// Writes over the revision before, which everybody has to have seen.
pub async fn what_is_declared_is_written_over_the_revision_before_and_no_other(ground: &impl Ground) {
    let store = &ground.ports();
    let definition = sample::definition(&mine(), 7, "report");
    store.create_definition(&definition, 1_000).await.expect("created");
    let (processor, node) = (fixture::processors(noon()).remove(0), fixture::compute_node(noon()));
    // The revision, and whether it is taken.
    let steps = [(2, false), (1, true), (1, false), (3, false), (2, true), (1, false), (2, false), (3, true)];
    for (step, (rev, taken)) in (0..).zip(steps) {
        let said = Some(format!("step {step}"));
        let processor = Processor { description: said.clone(), rev, ..processor.clone() };
        let budget = Budget { period: Period::Day, max: None, per_user_max: Some(MicroUsd(step + 1)) };
        let node = ComputeNode { max_budget: Some(MicroUsd(step + 1)), budget: Some(budget), rev, ..node.clone() };
        let settings = TenantSettings { rev, ..settings(&mine(), step as u32 + 1) };
        let draft = draft(&definition, &format!("step {step}"), rev);
        let saved = [
            store.save_processor(&processor).await.expect("an answer"),
            store.save_compute_node(&node).await.expect("an answer"),
            store.save_tenant(&settings).await.expect("an answer"),
            store.save_draft(&mine(), &draft).await.expect("an answer"),
        ];
        assert_eq!(saved, [taken; 4], "step {step}, revision {rev}");
        let key = draft_key(&mine(), definition.id);
        let is_there = [
            one(store, processor.key.clone()).await == Some(processor),
            one(store, node.key.clone()).await == Some(node),
            one(store, SettingsKey(mine())).await == Some(settings),
            one(store, key).await == Some(draft),
        ];
        assert_eq!(is_there, [taken; 4], "step {step}, revision {rev}");
    }
}

pub async fn a_name_and_a_shared_definition_tell_of_its_versions(ground: &impl Ground) {
    let store = &ground.ports();
    let mut definition = Definition { discoverable: true, ..sample::definition(&mine(), 7, "report") };
    store.create_definition(&definition, 1_000).await.expect("created");
    let key = || NameKey { tenant: mine(), name: definition.name.clone() };
    assert_eq!(one(store, key()).await, Some(Named { id: definition.id, outline: definition.outline() }));
    let version = sample::version(&definition, 1);
    (definition.rev, definition.latest_version, definition.active_version) = (2, 1, Some(1));
    definition.note_processors(1, &version.document);
    assert!(store.change_definition(&definition, Some(&version)).await.expect("changed"));
    let outline = definition.outline();
    assert_eq!(outline.processors, BTreeMap::from([(1, version.document.processor_keys())]));
    assert!(!outline.processors[&1].is_empty());
    let key = NameKey { tenant: mine(), name: definition.name.clone() };
    assert_eq!(one(store, key).await, Some(Named { id: definition.id, outline: outline.clone() }));
    assert_eq!(one(store, OwnerKey(definition.id)).await, Some(Shared { owner: mine(), outline }));
    let key = DefinitionKey { tenant: mine(), id: definition.id };
    assert_eq!(one(store, key).await, Some(definition));
}

/// Writers of one kind that race.
const WRITERS: u32 = 4;

/// Lets the writers of one kind of thing race, each of which has to be told that it was done, and says how many there were.
async fn race<F: Future<Output = Result<(), Refusal>>>(kind: &str, writer: impl Fn(u32) -> F) -> u64 {
    for (number, told) in at_once((0..WRITERS).map(writer)).await.into_iter().enumerate() {
        assert!(told.is_ok(), "{kind} by writer {number}: {told:?}");
    }
    u64::from(WRITERS)
}

/// Every kind of write that its flow makes of what it has read: none is lost, none undoes another, and the revision counts
/// them all.
pub async fn of_racing_declarations_none_undoes_another(ground: &impl Ground) {
    let store = &ground.ports();
    let (owner, operator) = (fixture::caller("mine"), Caller { is_operator: true, ..fixture::caller("operator") });
    let (owner, operator) = (&owner, &operator);
    let definition = fixture::seed(store, "mine", noon()).await;
    let at = DefinitionRef::Id(definition.id);
    let text = |number: u32| Some(format!("by writer {number}"));

    let processor = &fixture::processors(noon()).remove(0);
    let written = race("a processor", |number| async move {
        let processor = Processor { description: text(number), ..processor.clone() };
        save_processor(store, operator, processor).await.map(|_| ())
    });
    let written = written.await;
    assert_eq!(one(store, processor.key.clone()).await.map(|processor| processor.rev), Some(1 + written));

    let node = &fixture::compute_node(noon());
    let layer = |number: u32| format!("layer-{number}").parse::<LayerName>().expect("a name");
    let written = race("a layer", |number| async move {
        save_layer(store, operator, &node.key, layer(number), LayerStatus::Ready, noon()).await.map(|_| ())
    });
    let written = written.await;
    let found = one(store, node.key.clone()).await.expect("a node");
    assert_eq!(found.rev, 1 + written);
    assert!((0..WRITERS).all(|number| found.layers.get(&layer(number)) == Some(&LayerStatus::Ready)), "{found:?}");

    // Whoever may use a node is not what a layer changes.
    let revoked = &ComputeNode { tenants: Tenants(Vec::new()), ..node.clone() };
    let written = race("a revocation beside layers", |number| async move {
        match number {
            0 => save_compute_node(store, operator, revoked.clone(), None).await.map(|_| ()),
            _ => save_layer(store, operator, &node.key, layer(number), LayerStatus::Failed, noon()).await.map(|_| ()),
        }
    });
    let written = written.await + written_before(found.rev);
    let found = one(store, node.key.clone()).await.expect("a node");
    assert_eq!((found.rev, &found.tenants), (1 + written, &revoked.tenants));

    let destinations = &fixture::policy().destinations;
    let written = race("a tenant's settings", |number| async move {
        let settings = TenantSettings { rev: 0, destinations: None, ..settings(&mine(), number + 1) };
        save_tenant(store, operator, destinations, settings).await.map(|_| ())
    });
    let written = written.await;
    assert_eq!(one(store, SettingsKey(mine())).await.map(|settings| settings.rev), Some(written));

    let at = &at;
    let written =
        race("a draft", |_| async move { save_draft(store, owner, at, fixture::document(), noon()).await.map(|_| ()) });
    let written = written.await;
    assert_eq!(one(store, draft_key(&mine(), definition.id)).await.map(|draft| draft.rev), Some(written));

    let key = || DefinitionKey { tenant: mine(), id: definition.id };
    let before = one(store, key()).await.expect("a definition");
    let written = race("a definition", |number| async move {
        match number {
            0 => {
                let said = DefinitionChange { description: text(number), ..DefinitionChange::default() };
                change_definition(store, owner, at, said, noon()).await.map(|_| ())
            }
            1 => add_version(store, owner, at, fixture::document(), true, noon()).await.map(|_| ()),
            2 => deprecate_version(store, owner, at, 1, noon()).await.map(|_| ()),
            _ => {
                let said = DefinitionChange { discoverable: Some(true), ..DefinitionChange::default() };
                change_definition(store, owner, at, said, noon()).await.map(|_| ())
            }
        }
    });
    let written = written.await;
    let found = one(store, key()).await.expect("a definition");
    assert_eq!(found.rev, before.rev + written);
    assert_eq!((found.description, found.discoverable), (text(0), true));
    assert_eq!((found.active_version, found.latest_version), (Some(2), 2));
    assert_eq!(found.deprecated_versions, BTreeSet::from([1]));
}

/// Revisions after the first.
const fn written_before(rev: u64) -> u64 {
    rev - 1
}

pub async fn a_tenant_has_no_more_definitions_than_it_may(ground: &impl Ground) {
    let store = ground.ports();
    let named = |number: u128| sample::definition(&mine(), number, &format!("report-{number}"));
    for number in 1..=3 {
        assert_eq!(store.create_definition(&named(number), 3).await.expect("an answer"), DefinitionSaved::Done);
    }
    let fourth = Definition { discoverable: true, ..named(4) };
    assert_eq!(store.create_definition(&fourth, 3).await.expect("an answer"), DefinitionSaved::TooMany);
    assert_eq!(store.load_definition(&mine(), fourth.id).await.expect("an answer"), None);
    let found = store.read_catalog(&Wanted::one(OwnerKey(fourth.id))).await.expect("an answer");
    assert!(found.is_empty(), "nothing was written");
    // A repetition is no further one, and a name that is taken is said first.
    assert_eq!(store.create_definition(&named(3), 3).await.expect("an answer"), DefinitionSaved::Done);
    let namesake = sample::definition(&mine(), 5, "report-1");
    assert_eq!(
        store.create_definition(&namesake, 3).await.expect("an answer"),
        DefinitionSaved::NameTaken(named(1).id)
    );
    // Another tenant has its own; and a limit may be raised, or lowered below what there is.
    let theirs = sample::definition(&yours(), 6, "report-1");
    assert_eq!(store.create_definition(&theirs, 1).await.expect("an answer"), DefinitionSaved::Done);
    assert_eq!(store.create_definition(&fourth, 4).await.expect("an answer"), DefinitionSaved::Done);
    assert_eq!(store.create_definition(&named(7), 2).await.expect("an answer"), DefinitionSaved::TooMany);
}

pub async fn of_racing_definitions_no_more_are_made_than_may_be(ground: &impl Ground) {
    let racers = (1..=6).map(|number: u128| {
        let (store, definition) = (ground.ports(), sample::definition(&mine(), number, &format!("report-{number}")));
        async move { store.create_definition(&definition, 2).await }
    });
    // One that was in the way of others for too long is told to come again, and made nothing.
    let answers = at_once(racers).await;
    let made = answers.iter().filter(|answer| matches!(answer, Ok(DefinitionSaved::Done))).count();
    let listed = async || ground.ports().list_definitions(&mine(), 100, None).await.expect("a page").items.len();
    assert!((1..=2).contains(&made), "{answers:?}");
    assert!(answers.iter().all(|answer| !matches!(answer, Ok(DefinitionSaved::NameTaken(_)))), "{answers:?}");
    becomes(made, || ground.pause(), listed).await;
}
