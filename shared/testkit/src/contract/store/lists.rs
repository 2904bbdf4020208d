//! Lists: filters, order, pages, and whose cursor it is.

use super::*;
use crate::contract::becomes;
use crate::contract::sample::{self, at, mine, new_run, noon, run_of, yours};
use crate::fixture::{self, definition_id};
use jiff::{SignedDuration, Timestamp};
use sluice_core::change::RunChange;
use sluice_core::definition::{Definition, VersionRule};
use sluice_core::id::{InstanceId, TenantId};
use sluice_core::instance::{Instance, InstanceContent};
use sluice_core::lifecycle::{RunEvent, RunStatus, StopIntent};
use sluice_core::operator::Processor;
use sluice_core::ports::{Page, RunFilter, StoreErrorClass};
use sluice_core::run::Run;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Run `n` of a tenant is made `n` seconds after noon; even ones are of definition 7, odd ones of definition 8; every
/// third one is canceled.
///
/// Every fourth one is made by somebody else, and every fifth one has a model; run 3 is repeated by 6, and evaluated by 7 and 8.
pub async fn fill(store: &impl Ports, tenant: &TenantId, count: u32) -> Vec<Run> {
    let mut runs = Vec::new();
    for number in 0..count {
        let created_at = noon() + SignedDuration::from_secs(i64::from(number));
        let made_from = |numbers: &[u32]| numbers.contains(&number).then(|| sample::run_id(3));
        let model = if number % 10 == 0 { "large" } else { "small" };
        let labels = [("model.name".to_owned(), model.to_owned()), ("team #1".to_owned(), "a:b".to_owned())];
        let mut run = run_of(tenant, number, definition_id(7 + u128::from(number % 2)), created_at);
        run.spec.created_by = if number % 4 == 0 { "mine/somebody-else" } else { "mine/someone" }.to_owned();
        run.spec.instance_id = InstanceId(Uuid::from_u128(u128::from(number % 3)));
        run.about.labels = labels.into_iter().filter(|_| number % 5 == 0).collect();
        run.about.replay_of = made_from(&[6]);
        run.about.evaluation_of = made_from(&[7, 8]);
        store.record_run(&new_run(&run, None, None)).await.expect("recorded");
        if number % 3 == 0 {
            let event = RunEvent::StopAsked(StopIntent::CanceledByCaller);
            let canceled = run.after(event, created_at).expect("a change");
            let change = RunChange::new(&run, canceled.clone());
            store.change_run(&change).await.expect("changed");
            runs.push(canceled);
        } else {
            runs.push(run);
        }
    }
    runs
}

/// Every page of a list, and how many there were.
///
/// # Panics
/// When the list never ends.
pub async fn every_page<T>(page: impl AsyncFn(Option<String>) -> Page<T>) -> (Vec<T>, u32) {
    let (mut items, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let next = page(cursor).await;
        items.extend(next.items);
        pages += 1;
        cursor = next.next;
        if cursor.is_none() {
            return (items, pages);
        }
        assert!(pages < 100, "a list that never ends");
    }
}

pub async fn list(store: &impl Ports, tenant: &TenantId, filter: &RunFilter, limit: u32) -> Vec<Run> {
    let page = async |cursor: Option<String>| {
        let page = store.list_runs(tenant, filter, limit, cursor.as_deref()).await.expect("a page");
        assert!(page.items.len() <= limit as usize);
        page
    };
    every_page(page).await.0
}

pub fn after_noon(seconds: i64) -> Option<Timestamp> {
    Some(noon() + SignedDuration::from_secs(seconds))
}

pub fn label(name: &str, value: &str) -> Option<(String, String)> {
    Some((name.to_owned(), value.to_owned()))
}

pub async fn every_filter_finds_exactly_its_runs_whatever_the_page_size(ground: &impl Ground) {
    let store = ground.ports();
    let all = fill(&store, &mine(), 20).await;
    fill(&store, &yours(), 5).await;
    let none = RunFilter::default();
    let filters = [
        none.clone(),
        RunFilter { ascending: true, ..none.clone() },
        RunFilter { statuses: BTreeSet::from([RunStatus::Canceled]), ..none.clone() },
        RunFilter { statuses: BTreeSet::from([RunStatus::Pending]), ascending: true, ..none.clone() },
        RunFilter { statuses: BTreeSet::from([RunStatus::Failed]), ..none.clone() },
        RunFilter { definition_id: Some(definition_id(7)), ..none.clone() },
        RunFilter { definition_id: Some(definition_id(9)), ..none.clone() },
        RunFilter {
            definition_id: Some(definition_id(8)),
            statuses: BTreeSet::from([RunStatus::Canceled]),
            ..none.clone()
        },
        RunFilter {
            definition_id: Some(definition_id(8)),
            statuses: BTreeSet::from([RunStatus::Pending]),
            ascending: true,
            ..none.clone()
        },
        RunFilter { created_from: after_noon(5), ..none.clone() },
        RunFilter { created_before: after_noon(5), ..none.clone() },
        RunFilter { created_from: after_noon(5), created_before: after_noon(9), ..none.clone() },
        RunFilter { created_from: after_noon(9), created_before: after_noon(5), ..none.clone() },
        RunFilter {
            created_from: after_noon(2),
            created_before: after_noon(19),
            statuses: BTreeSet::from([RunStatus::Canceled]),
            definition_id: Some(definition_id(7)),
            ascending: true,
            ..none.clone()
        },
        RunFilter { statuses: RunStatus::ALL.into(), ..none.clone() },
        RunFilter { statuses: BTreeSet::from([RunStatus::Pending, RunStatus::Failed]), ..none.clone() },
        RunFilter {
            statuses: BTreeSet::from([RunStatus::Pending, RunStatus::Canceled]),
            definition_id: Some(definition_id(7)),
            ..none.clone()
        },
        RunFilter { label: label("model.name", "large"), ..none.clone() },
        RunFilter { label: label("model.name", "small"), ascending: true, ..none.clone() },
        RunFilter { label: label("team #1", "a:b"), ..none.clone() },
        RunFilter { label: label("team #1", ""), ..none.clone() },
        RunFilter { label: label("status", "PENDING"), ..none.clone() },
        RunFilter { created_by: Some("mine/somebody-else".to_owned()), ..none.clone() },
        RunFilter { created_by: Some("mine/some".to_owned()), ..none.clone() },
        RunFilter { instance_id: Some(InstanceId(Uuid::from_u128(2))), ..none.clone() },
        RunFilter { replay_of: Some(sample::run_id(3)), ..none.clone() },
        RunFilter { evaluation_of: Some(sample::run_id(3)), ..none.clone() },
        RunFilter { evaluation_of: Some(sample::run_id(3)), definition_id: Some(definition_id(8)), ..none.clone() },
        RunFilter { replay_of: Some(sample::run_id(4)), ..none.clone() },
        RunFilter {
            statuses: BTreeSet::from([RunStatus::Pending]),
            definition_id: Some(definition_id(7)),
            instance_id: Some(InstanceId(Uuid::from_u128(1))),
            label: label("model.name", "large"),
            created_by: Some("mine/someone".to_owned()),
            created_from: after_noon(1),
            created_before: after_noon(15),
            ..none
        },
    ];
    for filter in filters {
        let mut expected: Vec<Run> = all
            .iter()
            .filter(|run| filter.statuses.is_empty() || filter.statuses.contains(&run.status()))
            .filter(|run| filter.instance_id.is_none_or(|id| run.spec.instance_id == id))
            .filter(|run| filter.created_by.as_ref().is_none_or(|by| run.spec.created_by == *by))
            .filter(|run| filter.label.as_ref().is_none_or(|(name, value)| run.about.labels.get(name) == Some(value)))
            .filter(|run| filter.replay_of.is_none_or(|id| run.about.replay_of == Some(id)))
            .filter(|run| filter.evaluation_of.is_none_or(|id| run.about.evaluation_of == Some(id)))
            .filter(|run| filter.definition_id.is_none_or(|id| run.spec.definition_id == id))
            .filter(|run| filter.created_from.is_none_or(|from| run.spec.created_at >= from))
            .filter(|run| filter.created_before.is_none_or(|before| run.spec.created_at < before))
            .cloned()
            .collect();
        if !filter.ascending {
            expected.reverse();
        }
        for limit in [1, 3, 100] {
            let listed = async || list(&store, &mine(), &filter, limit).await;
            becomes(expected.clone(), || ground.pause(), listed).await;
        }
    }
}

pub async fn a_bound_finer_than_a_millisecond_means_the_next_one(ground: &impl Ground) {
    let store = ground.ports();
    let all = fill(&store, &mine(), 2).await;
    let just_after = noon() + SignedDuration::from_micros(1);
    let from = RunFilter { created_from: Some(just_after), ..RunFilter::default() };
    becomes(all[1..].to_vec(), || ground.pause(), async || list(&store, &mine(), &from, 10).await).await;
    let before = RunFilter { created_before: Some(just_after), ..RunFilter::default() };
    becomes(all[..1].to_vec(), || ground.pause(), async || list(&store, &mine(), &before, 10).await).await;
}

pub async fn a_cursor_of_another_tenant_filter_or_hand_is_refused(ground: &impl Ground) {
    let store = ground.ports();
    fill(&store, &mine(), 3).await;
    fill(&store, &yours(), 3).await;
    let all = RunFilter::default();
    let canceled = RunFilter { statuses: BTreeSet::from([RunStatus::Canceled]), ..all.clone() };
    let upwards = RunFilter { ascending: true, ..all.clone() };
    let cursor = |page: Page<Run>| page.next.expect("a cursor");
    let (of_all, store) = (RunFilter::default(), &store);
    for tenant in [mine(), yours()] {
        becomes(3, || ground.pause(), async || list(store, &tenant, &of_all, 10).await.len()).await;
    }
    let of_mine = cursor(store.list_runs(&mine(), &all, 1, None).await.expect("a page"));
    let of_yours = cursor(store.list_runs(&yours(), &all, 1, None).await.expect("a page"));
    for cursor in [of_yours, String::new(), ".".to_owned(), format!("x{of_mine}"), "0".repeat(10_000)] {
        let error = store.list_runs(&mine(), &all, 1, Some(&cursor)).await.expect_err("refused");
        assert_eq!(error.class, StoreErrorClass::Corrupt, "{cursor}");
    }
    let others = [
        RunFilter { statuses: RunStatus::ALL.into(), ..all.clone() },
        RunFilter { definition_id: Some(definition_id(7)), ..all.clone() },
        RunFilter { instance_id: Some(InstanceId(Uuid::from_u128(2))), ..all.clone() },
        RunFilter { label: label("model.name", "large"), ..all.clone() },
        RunFilter { created_by: Some("mine/someone".to_owned()), ..all.clone() },
        RunFilter { replay_of: Some(sample::run_id(3)), ..all.clone() },
        RunFilter { evaluation_of: Some(sample::run_id(3)), ..all.clone() },
        RunFilter { created_before: after_noon(100), ..all.clone() },
    ];
    for filter in others.into_iter().chain([canceled, upwards]) {
        let error = store.list_runs(&mine(), &filter, 1, Some(&of_mine)).await.expect_err("refused");
        assert_eq!(error.class, StoreErrorClass::Corrupt, "{filter:?}");
    }
    assert_eq!(store.list_runs(&mine(), &all, 1, Some(&of_mine)).await.expect("a page").items.len(), 1);
}

pub async fn a_cursor_of_a_filter_with_another_value_is_refused(ground: &impl Ground) {
    let store = ground.ports();
    fill(&store, &mine(), 12).await;
    let all = RunFilter::default();
    let pairs = [
        [label("model.name", "large"), label("model.name", "small")].map(|label| RunFilter { label, ..all.clone() }),
        ["mine/someone", "mine/somebody-else"].map(|by| RunFilter { created_by: Some(by.to_owned()), ..all.clone() }),
        [[RunStatus::Pending, RunStatus::Failed], [RunStatus::Pending, RunStatus::Canceled]]
            .map(|statuses| RunFilter { statuses: statuses.into(), ..all.clone() }),
    ];
    for [filter, other] in pairs {
        let page = store.list_runs(&mine(), &filter, 1, None).await.expect("a page");
        let cursor = page.next.expect("a cursor");
        let error = store.list_runs(&mine(), &other, 1, Some(&cursor)).await.expect_err("refused");
        assert_eq!(error.class, StoreErrorClass::Corrupt, "{filter:?}");
        store.list_runs(&mine(), &filter, 1, Some(&cursor)).await.expect("its own");
    }
}

pub async fn definitions_versions_and_instances_are_listed_newest_first(ground: &impl Ground) {
    let store = &ground.ports();
    let mut definitions = Vec::new();
    for number in 1..=5 {
        let created_at = noon() + SignedDuration::from_secs(i64::from(number));
        let name = format!("report-{number}");
        let definition = Definition { created_at, ..sample::definition(&mine(), u128::from(number as u32), &name) };
        store.create_definition(&definition, 1_000).await.expect("created");
        definitions.insert(0, definition);
    }
    store.create_definition(&sample::definition(&yours(), 9, "report"), 1_000).await.expect("created");
    let page =
        async |cursor: Option<String>| store.list_definitions(&mine(), 2, cursor.as_deref()).await.expect("a page");
    becomes((definitions.clone(), 3), || ground.pause(), async || every_page(page).await).await;

    let mut definition = definitions[0].clone();
    let mut versions = Vec::new();
    for number in 1..=12 {
        definition = Definition { latest_version: number, rev: definition.rev + 1, ..definition };
        let version = sample::version(&definition, number);
        assert!(store.change_definition(&definition, Some(&version)).await.expect("changed"));
        versions.insert(0, version);
    }
    let id = definition.id;
    let page =
        async |cursor: Option<String>| store.list_versions(&mine(), id, 5, cursor.as_deref()).await.expect("a page");
    becomes((versions, 3), || ground.pause(), async || every_page(page).await).await;
    assert!(store.list_versions(&yours(), id, 5, None).await.expect("a page").items.is_empty());

    let mut instances = Vec::new();
    for number in 1..=3 {
        let content = InstanceContent {
            definition_id: id,
            version: VersionRule::Number(number),
            compute_node: "default".parse().expect("a key"),
            processor_configs: BTreeMap::new(),
        };
        let created_at = noon() + SignedDuration::from_secs(i64::from(number));
        let instance = Instance { tenant: mine(), id: content.id(&mine()), content, created_at, hint: None };
        store.save_instance(&instance).await.expect("saved");
        let again = Instance { created_at: at("2030-01-01T00:00:00Z"), ..instance.clone() };
        store.save_instance(&again).await.expect("saved again");
        instances.insert(0, instance);
    }
    let page =
        async |cursor: Option<String>| store.list_instances(&mine(), 2, cursor.as_deref()).await.expect("a page");
    becomes((instances, 2), || ground.pause(), async || every_page(page).await).await;
    let of_definitions = store.list_definitions(&mine(), 1, None).await.expect("a page").next;
    let error = store.list_instances(&mine(), 1, of_definitions.as_deref()).await.expect_err("refused");
    assert_eq!(error.class, StoreErrorClass::Corrupt);
}

pub async fn what_the_operator_declared_is_listed_by_key_as_it_was_declared_last(ground: &impl Ground) {
    let store = &ground.ports();
    let mut processors = fixture::processors(noon());
    for processor in &processors {
        store.save_processor(processor).await.expect("saved");
    }
    processors[0] = Processor { description: Some("anew".to_owned()), rev: 2, ..processors[0].clone() };
    store.save_processor(&processors[0]).await.expect("saved");
    processors.sort_by(|a, b| a.key.cmp(&b.key));
    let page = async |cursor: Option<String>| store.list_processors(2, cursor.as_deref()).await.expect("a page");
    becomes((processors, 2), || ground.pause(), async || every_page(page).await).await;

    let node = fixture::compute_node(noon());
    store.save_compute_node(&node).await.expect("saved");
    let expected = Page { items: vec![node], next: None };
    becomes(expected, || ground.pause(), async || store.list_compute_nodes(2, None).await.expect("a page")).await;
}
