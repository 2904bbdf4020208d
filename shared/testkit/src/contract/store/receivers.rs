//! How receivers fare.

use super::*;
use crate::contract::at_once;
use crate::contract::sample::{delivery, mine, noon, run, yours};
use jiff::SignedDuration;
use sluice_core::delivery::health::{Health, Turn, Verdict};
use sluice_core::id::TenantId;

const ORIGIN: &str = "https://abcdefghijklmnopqrstuvwxyz012345.lambda-url.eu-west-1.on.aws";

/// Of a receiver in trouble, with every seat taken and somebody waiting.
fn crowded(mut health: Health) -> Health {
    let tenant = health.tenant_id.clone();
    let owed = |number| delivery(&run(&tenant, number, noon()), 1, noon());
    health = health.after(&owed(0), ORIGIN, Verdict::Badly, noon()).expect("a change").0;
    for number in 1.. {
        match health.admit(&owed(number), ORIGIN, noon()) {
            Turn::Seated(next) => health = next,
            Turn::Waits(next) => return next,
            Turn::Free | Turn::Crowded => break,
        }
    }
    panic!("nobody waits")
}

pub async fn the_health_of_receivers_is_unknown_until_it_is_written_and_read_back_as_it_was(ground: &impl Ground) {
    let store = ground.ports();
    let unknown = store.load_health(&mine()).await.expect("an answer");
    assert_eq!(unknown, Health::unknown(mine()));
    let mut rev = 0;
    let written = Health { rev: 1, ..crowded(unknown) };
    assert!(store.change_health(&written).await.expect("an answer"));
    for _ in 0..3 {
        let found = store.load_health(&mine()).await.expect("an answer");
        assert_eq!((found.rev, &found.seats, &found.waiting), (rev + 1, &written.seats, &written.waiting));
        rev = found.rev;
        let next = Health { rev: rev + 1, updated_at: noon() + SignedDuration::from_secs(1), ..found };
        assert!(store.change_health(&next).await.expect("an answer"));
        assert_eq!(store.load_health(&mine()).await.expect("an answer"), next);
    }
    // Nothing is in trouble any more.
    let well = Health { rev: rev + 2, updated_at: noon(), ..Health::unknown(mine()) };
    assert!(store.change_health(&well).await.expect("an answer"));
    assert_eq!(store.load_health(&mine()).await.expect("an answer"), well);
}

pub async fn of_many_changes_of_one_health_one_is_written(ground: &impl Ground) {
    let store = ground.ports();
    for rev in 1..=3 {
        let next: Vec<Health> = (0..5)
            .map(|number| {
                let changed = Health::unknown(mine());
                let origin = format!("https://{number}.example");
                let owed = delivery(&run(&mine(), number, noon()), 1, noon());
                Health { rev, ..changed.after(&owed, &origin, Verdict::Badly, noon()).expect("a change").0 }
            })
            .collect();
        let written = at_once(next.iter().map(|next| store.change_health(next))).await;
        let written: Vec<bool> = written.into_iter().map(|written| written.expect("an answer")).collect();
        assert_eq!(written.iter().filter(|written| **written).count(), 1, "{written:?}");
        let winner = written.iter().position(|written| *written).expect("one");
        assert_eq!(store.load_health(&mine()).await.expect("an answer"), next[winner]);
    }
    for rev in [1, 3, 5] {
        let stale = Health { rev, ..Health::unknown(mine()) };
        assert!(!store.change_health(&stale).await.expect("an answer"), "{rev}");
    }
}

pub async fn the_receivers_of_tenants_are_apart(ground: &impl Ground) {
    let store = ground.ports();
    let in_trouble = |tenant: TenantId| {
        let owed = delivery(&run(&tenant, 1, noon()), 1, noon());
        Health::unknown(tenant).after(&owed, ORIGIN, Verdict::Badly, noon()).expect("a change").0
    };
    assert!(store.change_health(&in_trouble(mine())).await.expect("an answer"));
    assert!(!store.load_health(&yours()).await.expect("an answer").is_troubled(ORIGIN, noon()));
    assert!(store.change_health(&in_trouble(yours())).await.expect("an answer"));
    assert_eq!(store.load_health(&mine()).await.expect("an answer"), in_trouble(mine()));
}
