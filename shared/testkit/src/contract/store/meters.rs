//! Meters: counted without loss, each window by itself.

use super::*;
use crate::contract::sample::{mine, noon, yours};
use jiff::SignedDuration;
use sluice_core::catalog::{OpenRunsKey, SettingsKey, Wanted};
use sluice_core::id::TenantId;
use sluice_core::meter::{Count, Meter, MeterKey, Reading};
use sluice_core::open_runs::OpenRuns;
use std::collections::BTreeSet;

async fn read(store: &impl ReadCatalog, key: &MeterKey) -> Option<Reading> {
    store.read_catalog(&Wanted::one(key.clone())).await.expect("an answer").get(key).map(|reading| *reading)
}

pub async fn what_is_counted_is_read_at_once_and_adds_up(ground: &impl Ground) {
    let store = ground.ports();
    let key = Meter::Starts(mine()).at(noon());
    assert_eq!(read(&store, &key).await, None);
    for (by, sum) in [(1, 1), (30, 31), (-1, 30), (10_000, 10_030)] {
        store.count(&Count { key: key.clone(), by }).await.expect("counted");
        assert_eq!(read(&store, &key).await, Some(Reading(sum)));
    }
    // Beside other things, as a request asks for it.
    let wanted = Wanted::one(key.clone()).and(SettingsKey(mine()));
    let found = store.read_catalog(&wanted).await.expect("an answer");
    assert_eq!((found.len(), found.get(&key).as_deref()), (1, Some(&Reading(10_030))));
}

pub async fn windows_and_meters_are_apart(ground: &impl Ground) {
    let store = ground.ports();
    let later = noon() + SignedDuration::from_mins(1);
    let meters = |tenant: TenantId| [Meter::Starts(tenant.clone()), Meter::Waits(tenant), Meter::AllWaits];
    let keys: BTreeSet<MeterKey> = [mine(), yours()]
        .into_iter()
        .flat_map(meters)
        .flat_map(|meter| [meter.clone().at(noon()), meter.at(later)])
        .collect();
    for (by, key) in (1..).zip(&keys) {
        store.count(&Count { key: key.clone(), by }).await.expect("counted");
    }
    for (by, key) in (1..).zip(&keys) {
        assert_eq!(read(&store, key).await, Some(Reading(by)), "{key:?}");
    }
}

pub async fn of_many_counts_at_once_none_is_lost(ground: &impl Ground) {
    let key = Meter::Starts(mine()).at(noon());
    let counts = (1..=24).map(|by| {
        let (store, count) = (ground.ports(), Count { key: key.clone(), by });
        async move { store.count(&count).await.expect("counted") }
    });
    crate::contract::at_once(counts).await;
    assert_eq!(read(&ground.ports(), &key).await, Some(Reading((1..=24).sum())));
}

pub async fn open_runs_are_read_as_they_were_noted_last(ground: &impl Ground) {
    let store = ground.ports();
    let read = async |tenant| store.get(&OpenRunsKey(tenant)).await.expect("an answer").map(|open| *open);
    assert_eq!(read(mine()).await, None);
    for (count, minute) in [(100, 0), (4_000_000, 2), (101, 1)] {
        let open = OpenRuns { count, at: noon() + SignedDuration::from_mins(minute) };
        store.note_open_runs(&mine(), &open).await.expect("noted");
        assert_eq!((read(mine()).await, read(yours()).await), (Some(open), None));
    }
}
