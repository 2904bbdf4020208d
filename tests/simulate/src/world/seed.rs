//! What there is before a play begins.

use super::*;
use crate::course::Course;
use sluice_core::definition::{Definition, Version};
use sluice_core::operator::TenantSettings;
use sluice_core::ports::{ManageDefinitions, ManageOperator};

/// Two definitions with two versions each and, with a generator, limits and rules of this play; and one that the second generation
/// runs, whose versions are these courses.
pub(super) async fn seed(
    store: &MemoryStore,
    tenant: &TenantId,
    now: Timestamp,
    courses: &[Course; 2],
    mut rng: Option<&mut fastrand::Rng>,
) {
    let first = fixture::seed(store, tenant.as_str(), now).await;
    let [_, second, third] = definitions();
    let mut all = vec![first];
    for (id, name) in [(second, "second-report"), (third, "course")] {
        let name = name.parse().unwrap_or_else(|_| all[0].name.clone());
        let definition = Definition::new(tenant.clone(), id, name, now);
        assert!(store.create_definition(&definition, 1_000).await.is_ok(), "the world can be seeded");
        all.push(definition);
    }
    let mut workers = fixture::compute_node(now);
    (workers.key, workers.state_machine_arn) = (compute_node_of(third), fixture::second_runner_arn());
    assert!(store.save_compute_node(&workers).await.is_ok(), "the world can be seeded");
    for definition in all {
        let (concurrency, retention) = match &mut rng {
            Some(rng) => (limit(rng), (rng.u32(0..4) == 0).then(|| rule(rng))),
            None => (None, None),
        };
        let rev = definition.rev + 1;
        let changed =
            Definition { active_version: Some(1), latest_version: 2, concurrency, retention, rev, ..definition };
        for number in (changed.latest_version - 1)..=changed.latest_version {
            let mut changed = Definition { rev: changed.rev + u64::from(number) - 1, ..changed.clone() };
            let document = match changed.id == third {
                true => courses[number as usize - 1].document(),
                false => fixture::document(),
            };
            changed.note_processors(number, &document);
            let version = Version {
                definition_id: changed.id,
                number,
                document,
                created_at: now,
                created_by: "someone".to_owned(),
            };
            let saved = store.change_definition(&changed, Some(&version)).await;
            assert!(matches!(saved, Ok(true)), "the world can be seeded");
        }
    }
    if let Some(rng) = rng {
        let concurrency = limit(rng);
        let settings = TenantSettings { concurrency, rev: 1, ..TenantSettings::open(tenant.clone()) };
        assert!(store.save_tenant(&settings).await.is_ok(), "the world can be seeded");
    }
}

/// A limit, or none.
pub(super) fn limit(rng: &mut fastrand::Rng) -> Option<Concurrency> {
    let on_limit = if rng.u32(0..4) == 0 { OnLimit::Reject } else { OnLimit::Queue };
    rng.bool().then(|| Concurrency { max_concurrent_runs: rng.u32(1..4), on_limit })
}

/// A rule of retention.
pub(super) fn rule(rng: &mut fastrand::Rng) -> Retention {
    let max_age_seconds = match rng.u32(0..4) {
        0 => Retention::KEEP,
        1 => rng.i64(1..10),
        _ => rng.i64(1..3_600),
    };
    Retention { max_age_seconds, preserve_on_failure: rng.u32(0..4) == 0 }
}
