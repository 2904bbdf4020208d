//! Lists: filters, order, pages, and whose cursor it is.

use crate::support::sample::{self, at, mine, new_run, noon, run_of, yours};
use crate::support::table::Table;
use jiff::{SignedDuration, Timestamp};
use sluice_aws::dynamo::Store;
use sluice_core::definition::Definition;
use sluice_core::id::TenantId;
use sluice_core::instance::{Instance, InstanceContent};
use sluice_core::lifecycle::{RunEvent, RunStatus, StopIntent};
use sluice_core::operator::Processor;
use sluice_core::ports::{
    ChangeRun, ManageDefinitions, ManageOperator, Page, ReadRuns, RecordRun, RunFilter, SaveInstance, StoreErrorClass,
};
use sluice_core::run::{Run, RunChange};
use sluice_testkit::fixture::{self, definition_id};
use std::collections::BTreeMap;
use std::future::Future;

/// Run `n` of a tenant is made `n` seconds after noon; even ones are of definition 7, odd ones of definition 8; every
/// third one is canceled.
async fn fill(store: &Store, tenant: &TenantId, count: u32) -> Vec<Run> {
    let mut runs = Vec::new();
    for number in 0..count {
        let created_at = noon() + SignedDuration::from_secs(i64::from(number));
        let run = run_of(tenant, number, definition_id(7 + u128::from(number % 2)), created_at);
        store.record_run(&new_run(&run, None, None)).await.expect("recorded");
        if number % 3 == 0 {
            let event = RunEvent::StopAsked(StopIntent::CanceledByCaller);
            let canceled = run.after(event, created_at).expect("a change");
            let change = RunChange { expected_rev: 1, run: canceled.clone(), output: None, deliveries: Vec::new() };
            store.change_run(&change).await.expect("changed");
            runs.push(canceled);
        } else {
            runs.push(run);
        }
    }
    runs
}

/// Every page of a list, and how many there were.
async fn every_page<T, F: Future<Output = Page<T>>>(page: impl Fn(Option<String>) -> F) -> (Vec<T>, u32) {
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

async fn list(store: &Store, tenant: &TenantId, filter: &RunFilter, limit: u32) -> Vec<Run> {
    let page = |cursor: Option<String>| async move {
        let page = store.list_runs(tenant, filter, limit, cursor.as_deref()).await.expect("a page");
        assert!(page.items.len() <= limit as usize);
        page
    };
    every_page(page).await.0
}

fn after_noon(seconds: i64) -> Option<Timestamp> {
    Some(noon() + SignedDuration::from_secs(seconds))
}

#[tokio::test]
async fn every_filter_finds_exactly_its_runs_whatever_the_page_size() {
    let table = Table::new().await;
    let all = fill(&table.store, &mine(), 20).await;
    fill(&table.store, &yours(), 5).await;
    let none = RunFilter::default();
    let filters = [
        none.clone(),
        RunFilter { ascending: true, ..none.clone() },
        RunFilter { status: Some(RunStatus::Canceled), ..none.clone() },
        RunFilter { status: Some(RunStatus::Pending), ascending: true, ..none.clone() },
        RunFilter { status: Some(RunStatus::Failed), ..none.clone() },
        RunFilter { definition_id: Some(definition_id(7)), ..none.clone() },
        RunFilter { definition_id: Some(definition_id(9)), ..none.clone() },
        RunFilter { definition_id: Some(definition_id(8)), status: Some(RunStatus::Canceled), ..none.clone() },
        RunFilter {
            definition_id: Some(definition_id(8)),
            status: Some(RunStatus::Pending),
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
            status: Some(RunStatus::Canceled),
            definition_id: Some(definition_id(7)),
            ascending: true,
        },
    ];
    for filter in filters {
        let mut expected: Vec<Run> = all
            .iter()
            .filter(|run| filter.status.is_none_or(|status| run.status == status))
            .filter(|run| filter.definition_id.is_none_or(|id| run.definition_id == id))
            .filter(|run| filter.created_from.is_none_or(|from| run.created_at >= from))
            .filter(|run| filter.created_before.is_none_or(|before| run.created_at < before))
            .cloned()
            .collect();
        if !filter.ascending {
            expected.reverse();
        }
        for limit in [1, 3, 100] {
            assert_eq!(list(&table.store, &mine(), &filter, limit).await, expected, "{filter:?} by {limit}");
        }
    }
}

#[tokio::test]
async fn a_bound_finer_than_a_millisecond_means_the_next_one() {
    let table = Table::new().await;
    let all = fill(&table.store, &mine(), 2).await;
    let just_after = noon() + SignedDuration::from_micros(1);
    let from = RunFilter { created_from: Some(just_after), ..RunFilter::default() };
    assert_eq!(list(&table.store, &mine(), &from, 10).await, all[1..]);
    let before = RunFilter { created_before: Some(just_after), ..RunFilter::default() };
    assert_eq!(list(&table.store, &mine(), &before, 10).await, all[..1]);
}

#[tokio::test]
async fn a_cursor_of_another_tenant_filter_or_hand_is_refused() {
    let table = Table::new().await;
    fill(&table.store, &mine(), 3).await;
    fill(&table.store, &yours(), 3).await;
    let all = RunFilter::default();
    let canceled = RunFilter { status: Some(RunStatus::Canceled), ..all.clone() };
    let upwards = RunFilter { ascending: true, ..all.clone() };
    let cursor = |page: Page<Run>| page.next.expect("a cursor");
    let of_mine = cursor(table.store.list_runs(&mine(), &all, 1, None).await.expect("a page"));
    let of_yours = cursor(table.store.list_runs(&yours(), &all, 1, None).await.expect("a page"));
    assert!(!of_mine.contains("mine"), "{of_mine}");
    let (digest, position) = of_mine.split_once('.').expect("two parts");
    let forged = [
        of_yours,
        String::new(),
        ".".to_owned(),
        position.to_owned(),
        digest.to_owned(),
        format!("{digest}."),
        format!("{digest}.2026-11-22T12:00:00.123Z"),
        format!("{digest}.2026-11-22T12:00:00.123Z#../../x"),
        format!("{of_mine}#"),
        format!("x{of_mine}"),
        "0".repeat(10_000),
    ];
    for cursor in forged {
        let error = table.store.list_runs(&mine(), &all, 1, Some(&cursor)).await.expect_err("refused");
        assert_eq!(error.class, StoreErrorClass::Corrupt, "{cursor}");
    }
    for filter in [canceled, upwards] {
        let error = table.store.list_runs(&mine(), &filter, 1, Some(&of_mine)).await.expect_err("refused");
        assert_eq!(error.class, StoreErrorClass::Corrupt, "{filter:?}");
    }
    assert_eq!(table.store.list_runs(&mine(), &all, 1, Some(&of_mine)).await.expect("a page").items.len(), 1);
}

#[tokio::test]
async fn a_filtered_page_looks_at_a_bounded_number_of_items() {
    let table = Table::new().await;
    fill(&table.store, &mine(), 12).await;
    table.relay.take_passed();
    let nothing =
        RunFilter { status: Some(RunStatus::Failed), definition_id: Some(definition_id(7)), ..RunFilter::default() };
    assert!(table.store.list_runs(&mine(), &nothing, 10, None).await.expect("a page").items.is_empty());
    assert_eq!(table.relay.take_passed(), ["Query"]);
}

#[tokio::test]
async fn definitions_versions_and_instances_are_listed_newest_first() {
    let table = Table::new().await;
    let store = &table.store;
    let mut definitions = Vec::new();
    for number in 1..=5 {
        let created_at = noon() + SignedDuration::from_secs(i64::from(number));
        let name = format!("report-{number}");
        let definition = Definition { created_at, ..sample::definition(&mine(), u128::from(number as u32), &name) };
        store.create_definition(&definition).await.expect("created");
        definitions.insert(0, definition);
    }
    store.create_definition(&sample::definition(&yours(), 9, "report")).await.expect("created");
    let page = |cursor: Option<String>| async move {
        store.list_definitions(&mine(), 2, cursor.as_deref()).await.expect("a page")
    };
    assert_eq!(every_page(page).await, (definitions.clone(), 3));

    let mut definition = definitions[0].clone();
    let mut versions = Vec::new();
    for number in 1..=12 {
        definition = Definition { latest_version: number, rev: definition.rev + 1, ..definition };
        let version = sample::version(&definition, number);
        assert!(store.change_definition(&definition, Some(&version)).await.expect("changed"));
        versions.insert(0, version);
    }
    let id = definition.id;
    let page = |cursor: Option<String>| async move {
        store.list_versions(&mine(), id, 5, cursor.as_deref()).await.expect("a page")
    };
    assert_eq!(every_page(page).await, (versions, 3));
    assert!(store.list_versions(&yours(), id, 5, None).await.expect("a page").items.is_empty());

    let mut instances = Vec::new();
    for number in 1..=3 {
        let content = InstanceContent {
            definition_id: id,
            version: sluice_core::definition::VersionRule::Number(number),
            compute_node: "default".parse().expect("a key"),
            processor_configs: BTreeMap::new(),
        };
        let created_at = noon() + SignedDuration::from_secs(i64::from(number));
        let instance = Instance { tenant: mine(), id: content.id(&mine()), content, created_at };
        store.save_instance(&instance).await.expect("saved");
        let again = Instance { created_at: at("2030-01-01T00:00:00Z"), ..instance.clone() };
        store.save_instance(&again).await.expect("saved again");
        instances.insert(0, instance);
    }
    let page = |cursor: Option<String>| async move {
        store.list_instances(&mine(), 2, cursor.as_deref()).await.expect("a page")
    };
    assert_eq!(every_page(page).await, (instances, 2));
    let of_definitions = store.list_definitions(&mine(), 1, None).await.expect("a page").next;
    let error = store.list_instances(&mine(), 1, of_definitions.as_deref()).await.expect_err("refused");
    assert_eq!(error.class, StoreErrorClass::Corrupt);
}

#[tokio::test]
async fn what_the_operator_declared_is_listed_by_key_as_it_was_declared_last() {
    let table = Table::new().await;
    let store = &table.store;
    let mut processors = fixture::processors(noon());
    for processor in &processors {
        store.save_processor(processor).await.expect("saved");
    }
    processors[0] = Processor { description: Some("anew".to_owned()), ..processors[0].clone() };
    store.save_processor(&processors[0]).await.expect("saved");
    processors.sort_by(|a, b| a.key.cmp(&b.key));
    let page =
        |cursor: Option<String>| async move { store.list_processors(2, cursor.as_deref()).await.expect("a page") };
    assert_eq!(every_page(page).await, (processors, 2));

    let node = fixture::compute_node(noon());
    store.save_compute_node(&node).await.expect("saved");
    assert_eq!(store.list_compute_nodes(2, None).await.expect("a page"), Page { items: vec![node], next: None });
}
