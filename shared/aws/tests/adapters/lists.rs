//! Lists: what a page costs, and forged cursors.

use crate::support::sample::{mine, yours};
use crate::support::table::Table;
use sluice_core::lifecycle::RunStatus;
use sluice_core::ports::{Page, ReadRuns, RunFilter, StoreErrorClass};
use sluice_core::run::Run;
use sluice_testkit::contract::store::lists::fill;
use sluice_testkit::fixture::definition_id;
use std::collections::BTreeSet;

#[tokio::test]
async fn a_forged_cursor_is_refused_and_a_true_one_names_no_tenant() {
    let table = Table::new().await;
    fill(&table.store, &mine(), 3).await;
    fill(&table.store, &yours(), 3).await;
    let all = RunFilter::default();
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
    assert_eq!(table.store.list_runs(&mine(), &all, 1, Some(&of_mine)).await.expect("a page").items.len(), 1);
}

#[tokio::test]
async fn a_filtered_page_looks_at_a_bounded_number_of_items() {
    let table = Table::new().await;
    fill(&table.store, &mine(), 12).await;
    table.relay.take_passed();
    let nothing = RunFilter {
        statuses: BTreeSet::from([RunStatus::Failed]),
        definition_id: Some(definition_id(7)),
        ..RunFilter::default()
    };
    assert!(table.store.list_runs(&mine(), &nothing, 10, None).await.expect("a page").items.is_empty());
    assert_eq!(table.relay.take_passed(), ["Query"]);
}
