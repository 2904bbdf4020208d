//! What the reconciler finds by shard, and what was given up.

use super::*;
use crate::contract::becomes;
use crate::contract::sample::{self, delivery, mine, new_run, noon, run, yours};
use jiff::{SignedDuration, Timestamp};
use sluice_core::change::RunChange;
use sluice_core::delivery::{Attempt, AttemptOutcome};
use sluice_core::id::{RunId, TenantId};
use sluice_core::lifecycle::{RunEvent, StopIntent};
use sluice_core::ports::{DeliveryRef, Page, SHARDS};
use sluice_core::retention::Retention;
use sluice_core::run::Run;
use std::collections::BTreeSet;

async fn open_everywhere(store: &impl Ports) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for shard in 0..SHARDS {
        let page = store.open_runs(shard, None).await.expect("a page");
        assert_eq!(page.next, None);
        found.extend(page.items.into_iter().map(|run| (run.tenant_id.to_string(), run.run_id.to_string())));
    }
    found
}

pub async fn open_runs_of_every_tenant_are_found_until_they_end(ground: &impl Ground) {
    let store = ground.ports();
    let mut expected = BTreeSet::new();
    for number in 0..40 {
        let tenant = if number % 2 == 0 { mine() } else { yours() };
        let run = run(&tenant, number, noon());
        store.record_run(&new_run(&run, None, None)).await.expect("recorded");
        if number % 5 == 0 {
            let ended = run.after(RunEvent::StopAsked(StopIntent::CanceledByCaller), noon()).expect("a change");
            let change = RunChange::new(&run, ended);
            store.change_run(&change).await.expect("changed");
        } else {
            let claimed = run.after(RunEvent::Claimed, noon()).expect("a change");
            let change = RunChange::new(&run, claimed);
            store.change_run(&change).await.expect("changed");
            expected.insert((tenant.to_string(), run.run_id.to_string()));
        }
    }
    becomes(expected, || ground.pause(), async || open_everywhere(&store).await).await;
}

pub async fn open_runs_of_a_shard_come_oldest_first(ground: &impl Ground) {
    let store = ground.ports();
    // Ids sixteen apart share a shard.
    for (number, tenant, seconds) in [(16, mine(), 30), (32, yours(), 10), (48, mine(), 20), (17, mine(), 0)] {
        let run = run(&tenant, number, noon() + SignedDuration::from_secs(seconds));
        store.record_run(&new_run(&run, None, None)).await.expect("recorded");
    }
    let names = async || {
        let page = store.open_runs(0, None).await.expect("a page");
        page.items.into_iter().map(|run| run.about.name).collect::<Vec<_>>()
    };
    becomes(["run-32", "run-48", "run-16"].map(str::to_owned).into(), || ground.pause(), names).await;
}

async fn due_in_first_shard(store: &impl Ports, now: Timestamp) -> Vec<u32> {
    let page = store.due_deliveries(0, now, None).await.expect("a page");
    assert_eq!(page.next, None);
    page.items.into_iter().map(|due| due.delivery.number).collect()
}

pub async fn due_deliveries_are_found_longest_due_first_and_only_while_they_are_owed(ground: &impl Ground) {
    let store = ground.ports();
    let run = run(&mine(), 16, noon());
    store.record_run(&new_run(&run, None, None)).await.expect("recorded");
    let ended = run.after(RunEvent::StopAsked(StopIntent::CanceledByCaller), noon()).expect("a change");
    let later = |seconds| noon() + SignedDuration::from_secs(seconds);
    let deliveries = vec![delivery(&run, 1, later(30)), delivery(&run, 2, later(10)), delivery(&run, 3, later(20))];
    let change = RunChange { deliveries, ..RunChange::new(&run, ended) };
    store.change_run(&change).await.expect("changed");

    let due = |at| due_in_first_shard(&store, at);
    becomes(vec![2, 3, 1], || ground.pause(), async || due(later(30)).await).await;
    assert!(due(later(9)).await.is_empty());
    assert_eq!(due(later(10)).await, [2], "due at that very millisecond");

    let reference = DeliveryRef { tenant_id: mine(), run_id: sample::run_id(16), number: 2 };
    let first = store.load_delivery(&reference).await.expect("loaded").expect("a delivery");
    let begun = first.begin(later(10)).expect("due");
    assert!(store.change_delivery(&begun, None).await.expect("begun"));
    // In flight until its lease ends.
    becomes(vec![3, 1], || ground.pause(), async || due(later(30)).await).await;
    assert_eq!(due(later(70)).await, [3, 1, 2]);
    let delivered = AttemptOutcome::Delivered { http_status: Some(200) };
    assert!(store.change_delivery(&begun.after(&delivered, later(11)), None).await.expect("ended"));
    becomes(vec![3, 1], || ground.pause(), async || due(later(1_000_000)).await).await;
    for shard in 1..SHARDS {
        let page = store.due_deliveries(shard, later(1_000_000), None).await.expect("a page");
        assert_eq!(page, Page { items: Vec::new(), next: None });
    }
}

pub(super) async fn ended(store: &impl Ports, tenant: &TenantId, number: u32, due_at: Option<Timestamp>) -> Run {
    let run = run(tenant, number, noon());
    store.record_run(&new_run(&run, None, None)).await.expect("recorded");
    let ended = run.after(RunEvent::StopAsked(StopIntent::CanceledByCaller), noon()).expect("a change");
    let ended = Run { rev: ended.rev, ..sample::due(&ended, due_at) };
    store.change_run(&RunChange::new(&run, ended.clone())).await.expect("changed");
    ended
}

async fn expired(store: &impl Ports, now: Timestamp, limit: u32) -> Vec<(String, RunId)> {
    let found = store.expired_runs(0, now, limit, None).await.expect("an answer").items;
    found.into_iter().map(|run| (run.tenant_id.to_string(), run.run_id)).collect()
}

pub async fn runs_whose_time_is_over_are_found_longest_gone_first(ground: &impl Ground) {
    let store = ground.ports();
    let after = |seconds| noon() + SignedDuration::from_secs(seconds);
    for (number, tenant, due_at) in [
        (16, mine(), Some(after(30))),
        (32, yours(), Some(after(10))),
        (48, mine(), Some(after(20))),
        (64, mine(), None),
        (17, mine(), Some(after(10))),
    ] {
        ended(&store, &tenant, number, due_at).await;
    }
    let named = |tenant: &str, number| (tenant.to_owned(), sample::run_id(number));
    let all = vec![named("yours", 32), named("mine", 48), named("mine", 16)];
    becomes(all.clone(), || ground.pause(), async || expired(&store, after(1_000), 10).await).await;
    assert!(expired(&store, after(9), 10).await.is_empty());
    assert_eq!(expired(&store, after(10), 10).await, [named("yours", 32)], "gone at that very millisecond");
    assert_eq!(expired(&store, after(1_000), 2).await, all[..2]);
    let elsewhere = async || {
        let found = store.expired_runs(1, after(1_000), 10, None).await.expect("an answer").items;
        found.into_iter().map(|run| run.run_id).collect::<Vec<_>>()
    };
    becomes(vec![sample::run_id(17)], || ground.pause(), elsewhere).await;
}

pub async fn a_run_that_is_to_be_kept_after_all_does_not_expire(ground: &impl Ground) {
    let store = ground.ports();
    let now = noon() + SignedDuration::from_hours(1);
    let run = ended(&store, &mine(), 16, Some(noon())).await;
    becomes(1, || ground.pause(), async || expired(&store, now, 10).await.len()).await;
    let keep = Retention { max_age_seconds: Retention::KEEP, preserve_on_failure: false };
    let kept = run.kept_by(keep, now);
    store.change_run(&RunChange::new(&run, kept.clone())).await.expect("changed");
    becomes(0, || ground.pause(), async || expired(&store, now, 10).await.len()).await;
    let let_go = kept.kept_by(Retention { max_age_seconds: 1, preserve_on_failure: false }, now);
    store.change_run(&RunChange::new(&kept, let_go)).await.expect("changed");
    becomes(1, || ground.pause(), async || expired(&store, now, 10).await.len()).await;
}

pub async fn expired_runs_come_in_pages_of_any_size_each_once(ground: &impl Ground) {
    let store = ground.ports();
    let now = noon() + SignedDuration::from_hours(1);
    for number in 1..=7 {
        let due_at = noon() + SignedDuration::from_secs(i64::from(number % 3));
        ended(&store, &mine(), 16 * number, Some(due_at)).await;
    }
    becomes(7, || ground.pause(), async || expired(&store, now, 10).await.len()).await;
    let all = expired(&store, now, 10).await;
    for size in [1, 2, 3, 7] {
        let (mut found, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let page = store.expired_runs(0, now, size, cursor.as_deref()).await.expect("a page");
            assert!(page.items.len() <= size as usize);
            found.extend(page.items.into_iter().map(|run| (run.tenant_id.to_string(), run.run_id)));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(found, all, "{size} a page");
    }
}

pub async fn a_run_that_is_put_off_stands_where_it_was_put_and_is_as_gone_as_before(ground: &impl Ground) {
    let store = ground.ports();
    let after = |seconds| noon() + SignedDuration::from_secs(seconds);
    let first = ended(&store, &mine(), 16, Some(after(10))).await;
    let second = ended(&store, &yours(), 32, Some(after(20))).await;
    let named = |run: &Run| (run.tenant_id.to_string(), run.run_id);
    let all = vec![named(&first), named(&second)];
    becomes(all, || ground.pause(), async || expired(&store, after(100), 10).await).await;
    let put_off = first.put_off(after(60), after(30)).expect("it has ended");
    store.change_run(&RunChange::new(&first, put_off.clone())).await.expect("changed");
    becomes(vec![named(&second)], || ground.pause(), async || expired(&store, after(59), 10).await).await;
    assert_eq!(expired(&store, after(60), 10).await, [named(&second), named(&first)], "at that very millisecond");
    let read = store.load_run(&mine(), first.run_id).await.expect("loaded").expect("a run");
    assert_eq!(read, put_off);
    assert!(!read.is_visible(after(10)));
    // What lets it go puts it back in its place.
    let gone = read.let_go(after(70)).expect("it has ended");
    store.change_run(&RunChange::new(&read, gone)).await.expect("changed");
    becomes(named(&first), || ground.pause(), async || expired(&store, after(100), 10).await.swap_remove(0)).await;
}

pub async fn dead_deliveries_are_found_from_the_first_given_up(ground: &impl Ground) {
    let store = ground.ports();
    let after = |seconds| noon() + SignedDuration::from_secs(seconds);
    for (tenant, number, given_up) in [(mine(), 1, 30), (mine(), 2, 10), (mine(), 3, 20), (yours(), 4, 10)] {
        let run = run(&tenant, number, noon());
        store.record_run(&new_run(&run, None, None)).await.expect("recorded");
        let ended = run.after(RunEvent::StopAsked(StopIntent::CanceledByCaller), noon()).expect("a change");
        let deliveries = vec![delivery(&run, 1, noon()), delivery(&run, 2, noon()), delivery(&run, 3, noon())];
        store.change_run(&RunChange { deliveries, ..RunChange::new(&run, ended) }).await.expect("changed");
        let outcomes = [(1, AttemptOutcome::Gone), (2, AttemptOutcome::Delivered { http_status: None })];
        for (delivery, outcome) in outcomes {
            let reference = DeliveryRef { tenant_id: tenant.clone(), run_id: run.run_id, number: delivery };
            let owed = store.load_delivery(&reference).await.expect("loaded").expect("a delivery");
            let begun = owed.begin(noon()).expect("due");
            assert!(store.change_delivery(&begun, None).await.expect("begun"));
            assert!(store.change_delivery(&begun.after(&outcome, after(given_up)), None).await.expect("ended"));
        }
    }
    let dead = |tenant, since, limit| {
        let store = store.clone();
        async move {
            let found = store.dead_deliveries(&tenant, since, limit).await.expect("an answer");
            assert!(found.iter().all(|dead| dead.tenant_id == tenant && dead.number == 1));
            found.into_iter().map(|dead| dead.run_id).collect::<Vec<_>>()
        }
    };
    let ids = |numbers: &[u32]| numbers.iter().map(|number| sample::run_id(*number)).collect::<Vec<_>>();
    becomes(ids(&[2, 3, 1]), || ground.pause(), async || dead(mine(), noon(), 10).await).await;
    assert_eq!(dead(mine(), noon(), 2).await, ids(&[2, 3]));
    assert_eq!(dead(mine(), after(20), 10).await, ids(&[3, 1]), "at that very millisecond");
    assert_eq!(dead(mine(), after(20) + SignedDuration::from_micros(1), 10).await, ids(&[1]));
    becomes(ids(&[4]), || ground.pause(), async || dead(yours(), noon(), 10).await).await;

    let reference = DeliveryRef { tenant_id: mine(), run_id: sample::run_id(3), number: 1 };
    let again = store.load_delivery(&reference).await.expect("loaded").expect("a delivery");
    let again = again.again(after(60)).expect("over");
    assert!(store.change_delivery(&again, None).await.expect("again"));
    // It is sent again.
    becomes(ids(&[2, 1]), || ground.pause(), async || dead(mine(), noon(), 10).await).await;
}

pub async fn a_delivery_sent_again_is_due_again_whatever_became_of_it(ground: &impl Ground) {
    let store = ground.ports();
    let run = run(&mine(), 16, noon());
    store.record_run(&new_run(&run, None, None)).await.expect("recorded");
    let ended = run.after(RunEvent::StopAsked(StopIntent::CanceledByCaller), noon()).expect("a change");
    let deliveries = vec![delivery(&run, 1, noon()), delivery(&run, 2, noon())];
    let change = RunChange { deliveries, ..RunChange::new(&run, ended) };
    store.change_run(&change).await.expect("changed");
    let later = noon() + SignedDuration::from_hours(48);
    let due = |at| due_in_first_shard(&store, at);
    for (number, outcome) in [(1, AttemptOutcome::Delivered { http_status: Some(200) }), (2, AttemptOutcome::Gone)] {
        let reference = DeliveryRef { tenant_id: mine(), run_id: run.run_id, number };
        let load = || async { store.load_delivery(&reference).await.expect("loaded").expect("a delivery") };
        let begun = load().await.begin(noon()).expect("due");
        assert!(store.change_delivery(&begun, None).await.expect("begun"));
        assert_eq!(begun.again(noon()), None, "not while an attempt is under way");
        let attempt = |number| Attempt { number, at: noon(), duration_ms: 12, outcome: outcome.clone() };
        let over = begun.after(&outcome, noon());
        assert!(store.change_delivery(&over, Some(&attempt(1))).await.expect("ended"));
        becomes(false, || ground.pause(), async || due(later).await.contains(&number)).await;

        let again = load().await.again(later).expect("over");
        assert!(store.change_delivery(&again, None).await.expect("again"));
        assert!(!store.change_delivery(&again, None).await.expect("an answer"), "of two who ask one is first");
        assert_eq!(load().await, again, "with the same body");
        becomes(true, || ground.pause(), async || due(later).await.contains(&number)).await;
        assert!(!due(later - SignedDuration::from_millis(1)).await.contains(&number));

        // The attempts go on where they were, so that none is written over.
        let begun = again.begin(later).expect("due");
        assert!(store.change_delivery(&begun, None).await.expect("begun"));
        let over = begun.after(&outcome, later);
        assert!(store.change_delivery(&over, Some(&attempt(begun.attempts))).await.expect("ended"));
        let listed = store.list_deliveries(&mine(), run.run_id).await.expect("listed");
        let (_, attempts) = listed.into_iter().find(|(delivery, _)| delivery.number == number).expect("listed");
        assert_eq!(attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2]);
        becomes(false, || ground.pause(), async || due(later).await.contains(&number)).await;
    }
}
