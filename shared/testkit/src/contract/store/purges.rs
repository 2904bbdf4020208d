//! Deleting runs: everything, and nothing of anybody else.

use super::*;
use crate::contract::becomes;
use crate::contract::sample::{self, claim, delivery, mine, new_run, noon, run, yours};
use jiff::SignedDuration;
use sluice_core::budget::NanoUsd;
use sluice_core::change::RunChange;
use sluice_core::delivery::{AttemptOutcome, Delivery};
use sluice_core::id::TenantId;
use sluice_core::lifecycle::{RunEvent, StopIntent};
use sluice_core::ports::{DeliveryRef, Recorded, RunFilter, SHARDS};
use sluice_core::report::{Comment, ReportToken};
use sluice_core::run::Run;
use sluice_core::usage::LlmCall;

/// An ended run with some of everything, which repeats run 98 and evaluates run 99. These two are there as well.
pub async fn lived(store: &impl Ports, tenant: &TenantId, number: u32) -> Run {
    for original in [98, 99] {
        let original = run(tenant, original, noon());
        store.record_run(&new_run(&original, None, None)).await.expect("recorded");
    }
    let mut run = run(tenant, number, noon());
    (run.about.replay_of, run.about.evaluation_of) = (Some(sample::run_id(98)), Some(sample::run_id(99)));
    let key = format!("key-{number}");
    let recorded = store.record_run(&new_run(&run, Some(claim(&key, "payload")), None)).await.expect("recorded");
    assert_eq!(recorded, Recorded::Created);
    let calls = [LlmCall {
        call_id: "1".to_owned(),
        node_id: None,
        provider: "acme".to_owned(),
        model: "small".to_owned(),
        input_tokens: 1,
        output_tokens: 1,
        cached_tokens: 0,
        cost_nano_usd: NanoUsd(1),
        latency_ms: 1,
        reported_at: noon(),
    }];
    assert!(super::reports::report(store, &run, &calls).await);
    let comment = Comment {
        id: "0190163d-8694-739b-aea5-966c26f8ad91".to_owned(),
        text: "fine".to_owned(),
        by: "someone".to_owned(),
        at: noon(),
    };
    assert!(store.add_comment(tenant, run.run_id, &comment).await.expect("added"));
    let token = ReportToken {
        hash: "0a".to_owned(),
        node_id: None,
        expires_at: noon(),
        created_by: "someone".to_owned(),
        created_at: noon(),
    };
    assert!(store.save_report_token(tenant, run.run_id, &token).await.expect("saved"));
    let ended = run.after(RunEvent::StopAsked(StopIntent::CanceledByCaller), noon()).expect("a change");
    let change = RunChange {
        output: Some("1".to_owned()),
        deliveries: vec![delivery(&run, 1, noon())],
        ..RunChange::new(&run, ended)
    };
    store.change_run(&change).await.expect("changed");
    change.run
}

pub async fn is_gone(store: &impl Ports, run: &Run) -> bool {
    let (tenant, id) = (&run.tenant_id, run.run_id);
    let traces = [
        store.load_run(tenant, id).await.expect("an answer").is_some(),
        store.load_snapshot(tenant, id).await.expect("an answer").is_some(),
        store.load_request(tenant, id).await.expect("an answer").is_some(),
        store.load_output(tenant, id).await.expect("an answer").is_some(),
        !store.recorded_calls(tenant, id).await.expect("listed").is_empty(),
        !store.list_usage(tenant, id, 10, None).await.expect("a page").items.is_empty(),
        !store.list_comments(tenant, id, 10, None).await.expect("a page").items.is_empty(),
        !store.list_deliveries(tenant, id).await.expect("listed").is_empty(),
        store.load_report_token(tenant, id, "0a").await.expect("an answer").is_some(),
    ];
    assert!(traces.iter().all(|trace| *trace == traces[0]), "all or nothing: {traces:?}");
    !traces[0]
}

pub async fn a_purged_run_is_gone_with_everything(ground: &impl Ground) {
    let store = ground.ports();
    let run = lived(&store, &mine(), 1).await;
    assert!(!is_gone(&store, &run).await);
    store.purge_run(&mine(), run.run_id).await.expect("purged");
    assert!(is_gone(&store, &run).await);
    let reference = DeliveryRef { tenant_id: mine(), run_id: run.run_id, number: 1 };
    assert_eq!(store.load_delivery(&reference).await.expect("an answer"), None);
}

pub async fn purging_what_is_gone_is_no_error(ground: &impl Ground) {
    let store = ground.ports();
    let run = lived(&store, &mine(), 1).await;
    for _ in 0..2 {
        store.purge_run(&mine(), run.run_id).await.expect("purged");
    }
    store.purge_run(&mine(), sample::run_id(5)).await.expect("never was");
    assert!(is_gone(&store, &run).await);
}

pub async fn other_runs_and_other_tenants_are_left_alone(ground: &impl Ground) {
    let store = ground.ports();
    let (first, second) = (lived(&store, &mine(), 1).await, lived(&store, &mine(), 2).await);
    let theirs = lived(&store, &yours(), 1).await;
    store.purge_run(&mine(), first.run_id).await.expect("purged");
    assert!(is_gone(&store, &first).await && !is_gone(&store, &second).await && !is_gone(&store, &theirs).await);
}

pub async fn the_links_from_the_runs_it_came_from_go_with_it(ground: &impl Ground) {
    let store = ground.ports();
    let (first, second) = (lived(&store, &mine(), 1).await, lived(&store, &mine(), 2).await);
    let links = |number| {
        let store = store.clone();
        async move { store.list_links(&mine(), sample::run_id(number)).await.expect("listed") }
    };
    assert_eq!((links(98).await.replays.len(), links(99).await.evaluations.len()), (2, 2));
    store.purge_run(&mine(), first.run_id).await.expect("purged");
    assert_eq!((links(98).await.replays, links(99).await.evaluations), (vec![second.run_id], vec![second.run_id]));
}

pub async fn its_key_stays_taken(ground: &impl Ground) {
    let store = ground.ports();
    let run = lived(&store, &mine(), 1).await;
    store.purge_run(&mine(), run.run_id).await.expect("purged");
    let found = store.first_with_key(&mine(), &claim("key-1", "payload"), noon()).await.expect("an answer");
    assert_eq!(found.map(|record| record.run.run_id), Some(run.run_id));
}

pub async fn a_delivery_is_owed_until_it_arrives_or_is_given_up(ground: &impl Ground) {
    let store = ground.ports();
    let owes = |tenant, run_id| {
        let store = store.clone();
        async move { store.owed_until(&tenant, run_id).await.expect("an answer") }
    };
    for (number, outcome) in [(1, AttemptOutcome::Delivered { http_status: Some(200) }), (2, AttemptOutcome::Gone)] {
        let run = lived(&store, &mine(), number).await;
        assert_eq!((owes(mine(), run.run_id).await, owes(yours(), run.run_id).await), (Some(noon()), None));
        let reference = DeliveryRef { tenant_id: mine(), run_id: run.run_id, number: 1 };
        let load = || async { store.load_delivery(&reference).await.expect("loaded").expect("a delivery") };
        let change = |next: Delivery| {
            let store = store.clone();
            async move { assert!(store.change_delivery(&next, None).await.expect("changed")) }
        };
        let begun = load().await.begin(noon()).expect("due");
        let lease = begun.next_attempt_at;
        change(begun).await;
        assert_eq!(owes(mine(), run.run_id).await, lease, "under way");
        assert!(lease > Some(noon()));
        change(load().await.after(&outcome, noon())).await;
        assert_eq!(owes(mine(), run.run_id).await, None);
        let later = noon() + SignedDuration::from_mins(5);
        change(load().await.again(later).expect("over")).await;
        assert_eq!(owes(mine(), run.run_id).await, Some(later), "sent again");
    }
    assert_eq!(owes(mine(), sample::run_id(9)).await, None);
}

pub async fn a_purged_run_is_in_no_list(ground: &impl Ground) {
    let store = ground.ports();
    let run = lived(&store, &mine(), 1).await;
    let later = noon() + SignedDuration::from_mins(1);
    let expiring = sample::due(&run, Some(later));
    store.change_run(&RunChange::new(&run, expiring)).await.expect("changed");
    store.purge_run(&mine(), run.run_id).await.expect("purged");
    let found = async || {
        let listed = store.list_runs(&mine(), &RunFilter::default(), 10, None).await.expect("a page").items;
        let mut found = listed.iter().filter(|listed| listed.run_id == run.run_id).count();
        for shard in 0..SHARDS {
            found += store.expired_runs(shard, later, 10, None).await.expect("an answer").items.len();
            found += store.due_deliveries(shard, later, None).await.expect("a page").items.len();
        }
        found
    };
    becomes(0, || ground.pause(), found).await;
}
