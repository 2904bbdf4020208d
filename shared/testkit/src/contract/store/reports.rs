//! What workers and people say of a run, and what its calls used.

use super::lists::every_page;
use super::*;
use crate::contract::at_once;
use crate::contract::sample::{self, at, mine, new_run, noon, run, yours};
use jiff::SignedDuration;
use sluice_core::budget::NanoUsd;
use sluice_core::change::{RunChange, UsageChange};
use sluice_core::id::TenantId;
use sluice_core::lifecycle::{EngineEnd, RunEvent, RunStatus, StopIntent};
use sluice_core::ports::{Changed, Page, Recorded};
use sluice_core::report::{Comment, ReportToken};
use sluice_core::run::Run;
use sluice_core::usage::{LlmCall, UsageLedger};
use std::collections::BTreeSet;

pub fn token(hash: &str) -> ReportToken {
    ReportToken {
        hash: hash.to_owned(),
        node_id: None,
        expires_at: noon() + SignedDuration::from_hours(1),
        created_by: "mine/someone".to_owned(),
        created_at: noon(),
    }
}

/// A run that has just been recorded.
pub async fn recorded(store: &impl Ports, tenant: &TenantId, number: u32) -> Run {
    let run = run(tenant, number, noon());
    store.record_run(&new_run(&run, None, None)).await.expect("recorded");
    run
}

/// A run that is being deleted, and one that never was.
pub async fn going_and_gone(store: &impl Ports) -> [Run; 2] {
    let run = running(store).await;
    let ended = run.after(RunEvent::EngineEnded(EngineEnd::Succeeded), noon()).expect("a change");
    assert_eq!(store.change_run(&RunChange::new(&run, ended.clone())).await.expect("changed"), Changed::Done);
    let going = ended.let_go(noon()).expect("it has ended");
    assert_eq!(store.change_run(&RunChange::new(&ended, going.clone())).await.expect("changed"), Changed::Done);
    [going, Run { run_id: sample::run_id(99), ..run }]
}

pub async fn a_run_that_is_gone_or_going_gets_no_report_token(ground: &impl Ground) {
    let store = ground.ports();
    for run in going_and_gone(&store).await {
        assert!(!store.save_report_token(&mine(), run.run_id, &token("0a")).await.expect("an answer"));
        assert_eq!(store.load_report_token(&mine(), run.run_id, "0a").await.expect("an answer"), None);
    }
}

pub async fn a_run_that_is_gone_or_going_gets_no_comment(ground: &impl Ground) {
    let store = ground.ports();
    for run in going_and_gone(&store).await {
        assert!(!store.add_comment(&mine(), run.run_id, &comment(1)).await.expect("an answer"));
        let page = store.list_comments(&mine(), run.run_id, 10, None).await.expect("a page");
        assert!(page.items.is_empty());
    }
}

pub async fn a_run_that_is_gone_or_going_gets_no_link(ground: &impl Ground) {
    let store = ground.ports();
    let original = recorded(&store, &mine(), 5).await;
    for (number, gone) in (10..).zip(going_and_gone(&store).await) {
        let made = |number, replay_of, evaluation_of| {
            let mut run = run(&mine(), number, noon());
            (run.about.replay_of, run.about.evaluation_of) = (Some(replay_of), Some(evaluation_of));
            run
        };
        // Whichever of the two is gone, or both: the run is recorded, and linked to what is there.
        let (of_both, replay, evaluation) = (
            made(number, gone.run_id, gone.run_id),
            made(number + 10, gone.run_id, original.run_id),
            made(number + 20, original.run_id, gone.run_id),
        );
        for made in [&of_both, &replay, &evaluation] {
            let outcome = store.record_run(&new_run(made, None, None)).await.expect("recorded");
            assert_eq!(outcome, Recorded::Created);
            assert_eq!(store.load_run(&mine(), made.run_id).await.expect("loaded").as_ref(), Some(made));
        }
        let links = store.list_links(&mine(), gone.run_id).await.expect("listed");
        assert!(links.replays.is_empty() && links.evaluations.is_empty(), "{links:?}");
        let links = store.list_links(&mine(), original.run_id).await.expect("listed");
        assert!(links.replays.contains(&evaluation.run_id) && links.evaluations.contains(&replay.run_id), "{links:?}");
    }
}

pub async fn a_report_token_is_found_by_its_hash_in_its_run_alone(ground: &impl Ground) {
    let store = ground.ports();
    let (first, second) = (recorded(&store, &mine(), 1).await.run_id, sample::run_id(2));
    let expired = ReportToken {
        node_id: Some("approval".parse().expect("a node")),
        expires_at: at("2020-01-01T00:00:00Z"),
        ..token("0b")
    };
    for token in [token("0a"), expired.clone()] {
        assert!(store.save_report_token(&mine(), first, &token).await.expect("saved"));
    }
    let load = |tenant, run_id, hash: &'static str| {
        let store = store.clone();
        async move { store.load_report_token(&tenant, run_id, hash).await.expect("an answer") }
    };
    assert_eq!(load(mine(), first, "0a").await, Some(token("0a")));
    assert_eq!(load(mine(), first, "0b").await, Some(expired), "whether it is still good is for others to say");
    for (tenant, run_id, hash) in [(mine(), second, "0a"), (yours(), first, "0a"), (mine(), first, "0c")] {
        assert_eq!(load(tenant, run_id, hash).await, None);
    }
}

pub fn comment(number: u32) -> Comment {
    Comment {
        id: format!("0190163d-8694-739b-aea5-{number:012}"),
        text: format!("comment {number}\nof several"),
        by: "mine/someone".to_owned(),
        at: noon() + SignedDuration::from_secs(i64::from(number)),
    }
}

pub async fn comments_are_listed_oldest_first_page_by_page(ground: &impl Ground) {
    let store = ground.ports();
    let (mine, yours, run_id) = (&mine(), &yours(), sample::run_id(1));
    for (tenant, number) in [(mine, 1), (yours, 1), (mine, 2)] {
        recorded(&store, tenant, number).await;
    }
    for number in 1..=5 {
        assert!(store.add_comment(mine, run_id, &comment(number)).await.expect("added"));
    }
    assert!(store.add_comment(yours, run_id, &comment(6)).await.expect("added"));
    assert!(store.add_comment(mine, sample::run_id(2), &comment(7)).await.expect("added"));
    let expected: Vec<_> = (1..=5).map(comment).collect();
    for limit in [1, 2, 5, 100] {
        let store = &store;
        let page = |cursor: Option<String>| async move {
            let page = store.list_comments(mine, run_id, limit, cursor.as_deref()).await.expect("a page");
            assert!(page.items.len() <= limit as usize);
            page
        };
        assert_eq!(every_page(page).await.0, expected, "by {limit}");
    }
}

pub fn call(id: &str, cost: u64) -> LlmCall {
    LlmCall {
        call_id: id.to_owned(),
        node_id: None,
        provider: "acme".to_owned(),
        model: "small".to_owned(),
        input_tokens: 10,
        output_tokens: 5,
        cached_tokens: 1,
        cost_nano_usd: NanoUsd(cost),
        latency_ms: 40,
        reported_at: noon(),
    }
}

/// These calls on top of a ledger.
pub fn usage(run: &Run, ledger: &UsageLedger, calls: &[LlmCall]) -> UsageChange {
    UsageChange {
        tenant_id: run.tenant_id.clone(),
        run_id: run.run_id,
        calls: calls.to_vec(),
        ledger: ledger.with(calls).expect("few models"),
        stop: None,
    }
}

pub async fn running(store: &impl Ports) -> Run {
    let run = Run { state: sample::running(), ..run(&mine(), 1, noon()) };
    store.record_run(&new_run(&run, None, None)).await.expect("recorded");
    run
}

pub async fn ledger(store: &impl Ports, run: &Run) -> UsageLedger {
    store.load_usage(&run.tenant_id, run.run_id).await.expect("loaded")
}

pub async fn known(store: &impl Ports, run: &Run, ids: &[&str]) -> Vec<String> {
    let ids = ids.iter().map(|id| (*id).to_owned()).collect();
    let known = store.known_calls(&run.tenant_id, run.run_id, &ids, &BTreeSet::new()).await;
    known.expect("an answer").0.into_iter().collect()
}

pub async fn a_run_that_used_nothing_has_an_empty_ledger(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    assert_eq!(ledger(&store, &run).await, UsageLedger::default());
    assert!(known(&store, &run, &["1"]).await.is_empty());
    assert!(known(&store, &run, &[]).await.is_empty());
    let page = store.list_usage(&mine(), run.run_id, 10, None).await.expect("a page");
    assert_eq!(page, Page { items: Vec::new(), next: None });
}

pub async fn usage_is_recorded_with_its_ledger(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    let first = usage(&run, &UsageLedger::default(), &[call("1", 100), call("2 \u{e9}#", 200)]);
    assert!(store.record_usage(&first).await.expect("recorded"));
    assert_eq!(ledger(&store, &run).await, first.ledger);
    let second = usage(&run, &first.ledger, &[call("3", 1)]);
    assert!(store.record_usage(&second).await.expect("recorded"));
    let found = ledger(&store, &run).await;
    assert_eq!((found.rev, found.total.calls, found.total.cost_nano_usd), (2, 3, NanoUsd(301)));
    assert_eq!(known(&store, &run, &["3", "4", "2 \u{e9}#", "3"]).await, ["2 \u{e9}#", "3"]);
    assert_eq!(store.load_run(&mine(), run.run_id).await.expect("loaded"), Some(run.clone()), "the run is as it was");
    let theirs = Run { tenant_id: yours(), ..run };
    assert_eq!(ledger(&store, &theirs).await, UsageLedger::default());
    assert!(known(&store, &theirs, &["1", "3"]).await.is_empty());
}

pub async fn usage_on_an_old_ledger_writes_nothing(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    let first = usage(&run, &UsageLedger::default(), &[call("1", 100)]);
    assert!(store.record_usage(&first).await.expect("recorded"));
    for late in [
        usage(&run, &UsageLedger::default(), &[call("2", 1)]),
        usage(&run, &UsageLedger { rev: 7, ..first.ledger.clone() }, &[call("2", 1)]),
    ] {
        assert!(!store.record_usage(&late).await.expect("an answer"));
    }
    assert_eq!(ledger(&store, &run).await, first.ledger);
    assert!(known(&store, &run, &["2"]).await.is_empty());
}

pub async fn usage_of_a_run_that_is_gone_or_going_writes_nothing(ground: &impl Ground) {
    let store = ground.ports();
    for run in going_and_gone(&store).await {
        assert!(!store.record_usage(&usage(&run, &UsageLedger::default(), &[call("1", 1)])).await.expect("an answer"));
        assert_eq!(ledger(&store, &run).await, UsageLedger::default());
        assert!(known(&store, &run, &["1"]).await.is_empty());
    }
}

pub async fn a_call_that_was_reported_before_writes_nothing(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    let first = usage(&run, &UsageLedger::default(), &[call("1", 100)]);
    assert!(store.record_usage(&first).await.expect("recorded"));
    assert!(!store.record_usage(&first).await.expect("an answer"), "the same call again");
    let again = usage(&run, &first.ledger, &[call("2", 1), call("1", 1)]);
    assert!(!store.record_usage(&again).await.expect("an answer"));
    assert_eq!(ledger(&store, &run).await, first.ledger);
    assert_eq!(known(&store, &run, &["1", "2"]).await, ["1"]);
    let listed = store.list_usage(&mine(), run.run_id, 10, None).await.expect("a page");
    assert_eq!(listed.items, [call("1", 100)], "as it was reported first");
}

pub fn stopping(run: &Run) -> RunChange {
    RunChange::new(run, run.after(RunEvent::StopAsked(StopIntent::BudgetExceeded), noon()).expect("a change"))
}

pub async fn a_stop_is_recorded_with_the_usage_that_asked_for_it(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    let calls: Vec<_> = (0..50).map(|number| call(&number.to_string(), 100)).collect();
    let change = UsageChange { stop: Some(stopping(&run)), ..usage(&run, &UsageLedger::default(), &calls) };
    assert!(store.record_usage(&change).await.expect("recorded"));
    let found = store.load_run(&mine(), run.run_id).await.expect("loaded").expect("a run");
    assert_eq!((found.status(), found.state.intent()), (RunStatus::Canceling, Some(StopIntent::BudgetExceeded)));
    assert_eq!(ledger(&store, &run).await.total.calls, 50);
}

pub async fn usage_with_a_stop_of_an_older_run_writes_nothing(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    let paused = RunChange::new(&run, run.after(RunEvent::PauseAsked, noon()).expect("a change"));
    store.change_run(&paused).await.expect("changed");
    let change = UsageChange { stop: Some(stopping(&run)), ..usage(&run, &UsageLedger::default(), &[call("1", 100)]) };
    assert!(!store.record_usage(&change).await.expect("an answer"));
    assert_eq!(ledger(&store, &run).await, UsageLedger::default());
    assert!(known(&store, &run, &["1"]).await.is_empty());
    assert_eq!(store.load_run(&mine(), run.run_id).await.expect("loaded"), Some(paused.run));
}

pub async fn an_end_on_an_old_ledger_writes_nothing(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    let ended = run.after(RunEvent::EngineEnded(EngineEnd::Succeeded), noon()).expect("a change");
    let end = |expected_ledger_rev| RunChange {
        expected_ledger_rev,
        output: Some("1".to_owned()),
        deliveries: vec![sample::delivery(&run, 1, noon())],
        ..RunChange::new(&run, ended.clone())
    };
    let mut rev = 0;
    for id in ["1", "2"] {
        let recorded = usage(&run, &ledger(&store, &run).await, &[call(id, 1)]);
        assert!(store.record_usage(&recorded).await.expect("recorded"));
        for old in [rev, rev + 2] {
            let changed = store.change_run(&end(Some(old))).await.expect("an answer");
            assert_eq!(changed, Changed::Stale(Some(Box::new(run.clone()))), "the run is as it was");
        }
        rev += 1;
    }
    assert_eq!(store.load_output(&mine(), run.run_id).await.expect("loaded"), None);
    assert!(store.list_deliveries(&mine(), run.run_id).await.expect("listed").is_empty());
    assert_eq!(store.change_run(&end(Some(rev))).await.expect("changed"), Changed::Done);
    assert_eq!(store.load_run(&mine(), run.run_id).await.expect("loaded"), Some(ended.clone()));
}

pub async fn calls_are_listed_once_each_whatever_the_page_size(ground: &impl Ground) {
    let store = ground.ports();
    let (run, mine) = (running(&store).await, &mine());
    let mut so_far = UsageLedger::default();
    for batch in [0..7_u32, 7..12] {
        let calls: Vec<_> = batch.map(|number| call(&format!("call-{number}"), u64::from(number))).collect();
        let change = usage(&run, &so_far, &calls);
        assert!(store.record_usage(&change).await.expect("recorded"));
        so_far = change.ledger;
    }
    let expected: BTreeSet<String> = (0..12).map(|number| format!("call-{number}")).collect();
    let mut orders = BTreeSet::new();
    for limit in [1, 5, 12, 100] {
        let store = &store;
        let page = |cursor: Option<String>| async move {
            let page = store.list_usage(mine, run.run_id, limit, cursor.as_deref()).await.expect("a page");
            assert!(page.items.len() <= limit as usize);
            page
        };
        let listed: Vec<String> = every_page(page).await.0.into_iter().map(|call| call.call_id).collect();
        assert_eq!((listed.len(), listed.iter().cloned().collect::<BTreeSet<_>>()), (12, expected.clone()));
        orders.insert(listed);
    }
    assert_eq!(orders.len(), 1, "always in one order");
}

pub async fn of_many_reporters_of_one_call_one_is_counted(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    let reporters = (0..16).map(|number| {
        let (store, change) = (&store, usage(&run, &UsageLedger::default(), &[call("1", number)]));
        async move { store.record_usage(&change).await.expect("an answer") }
    });
    let winners = at_once(reporters).await.into_iter().filter(|is_first| *is_first).count();
    assert_eq!((winners, ledger(&store, &run).await.total.calls), (1, 1));
}

pub async fn a_comment_that_comes_late_stands_in_its_place_and_one_that_comes_twice_stands_once(ground: &impl Ground) {
    let store = ground.ports();
    recorded(&store, &mine(), 1).await;
    for number in [3, 1, 2, 3] {
        assert!(store.add_comment(&mine(), sample::run_id(1), &comment(number)).await.expect("added"));
    }
    let listed = store.list_comments(&mine(), sample::run_id(1), 10, None).await.expect("a page");
    assert_eq!(listed.items, [1, 2, 3].map(comment));
}
