//! What workers and people say of a run, and what its calls used.

use super::lists::every_page;
use super::sweeps::ended;
use super::*;
use crate::contract::at_once;
use crate::contract::sample::{self, at, mine, new_run, noon, run, yours};
use jiff::SignedDuration;
use sluice_core::budget::NanoUsd;
use sluice_core::change::RunChange;
use sluice_core::governor::access::Grant;
use sluice_core::governor::ledger::change::{CountReport, Earlier, ReportTotal};
use sluice_core::governor::ledger::{Ledger, Standing};
use sluice_core::id::TenantId;
use sluice_core::lifecycle::{EngineEnd, RunEvent, RunStatus, StopIntent};
use sluice_core::ports::{
    Changed, Page, Part, Recorded, ReportAtOnce, ReportBegun, ReportCounted, ReportReceipt, RunRef, StoreErrorClass,
    StoreResult,
};
use sluice_core::report::{Comment, ReportToken};
use sluice_core::run::Run;
use sluice_core::spending::Used;
use sluice_core::usage::LlmCall;
use std::collections::{BTreeMap, BTreeSet};

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

/// Whenever it goes: until then it is a run like any other.
pub async fn an_ended_run_that_is_kept_gets_tokens_comments_and_links(ground: &impl Ground) {
    let store = ground.ports();
    for (number, due_at) in [(1, None), (2, Some(noon() + SignedDuration::from_hours(1))), (3, Some(noon()))] {
        let kept = ended(&store, &mine(), number, due_at).await;
        assert!(store.save_report_token(&mine(), kept.run_id, &token("0a")).await.expect("an answer"), "{due_at:?}");
        assert!(store.add_comment(&mine(), kept.run_id, &comment(1)).await.expect("an answer"), "{due_at:?}");
        let mut replay = run(&mine(), 10 + number, noon());
        replay.about.replay_of = Some(kept.run_id);
        store.record_run(&new_run(&replay, None, None)).await.expect("recorded");
        let links = store.list_links(&mine(), kept.run_id).await.expect("listed");
        assert_eq!(links.replays, [replay.run_id], "{due_at:?}");
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

/// Who a run is.
pub fn reference(run: &Run) -> RunRef {
    RunRef { tenant_id: run.tenant_id.clone(), run_id: run.run_id }
}

/// What is to be counted of a report that has begun with these calls.
pub fn count(begun: &ReportBegun, calls: &[LlmCall]) -> CountReport {
    let ReportBegun { report_id, ledger } = begun;
    let held = ledger.reports.get(report_id).copied().expect("it is held");
    CountReport { report_id: *report_id, held, total: total(ledger, calls) }
}

fn total(ledger: &Ledger, calls: &[LlmCall]) -> ReportTotal {
    ReportTotal { cost: cost(calls), calls: calls.len() as u64, cap: ledger.cap }
}

fn cost(calls: &[LlmCall]) -> NanoUsd {
    NanoUsd(calls.iter().map(|call| call.cost_nano_usd.0).sum())
}

pub async fn begin(store: &impl Ports, run: &Run, calls: &[LlmCall]) -> ReportBegun {
    let begun = store.begin_report(&reference(run), cost(calls), noon()).await.expect("an answer");
    begun.expect("the run has a ledger")
}

/// Reports these calls, as far as nothing stands against it. Whether they are counted.
pub async fn report(store: &impl Ports, run: &Run, calls: &[LlmCall]) -> bool {
    let begun = begin(store, run, calls).await;
    let of = &reference(run);
    let is_recorded = store.record_calls(of, begun.report_id, calls, noon()).await.expect("an answer");
    let receipt = store.give_up_report(of, begun.report_id, noon()).await.expect("an answer");
    let receipt = receipt.expect("the run has a ledger");
    let stands = ReportReceipt { calls: calls.len() as u64, cost: cost(calls) };
    assert_eq!(receipt, if is_recorded { stands } else { ReportReceipt::default() });
    let total = ReportTotal { cost: receipt.cost, calls: receipt.calls, cap: begun.ledger.cap };
    let count = CountReport { total, ..count(&begun, calls) };
    let counted = store.count_report(of, &count, None).await.expect("an answer");
    assert!(matches!(counted, ReportCounted::Done(_)), "{counted:?}");
    is_recorded
}

/// What the run has used, and its ledger.
pub async fn used(store: &impl Ports, run: &Run) -> Used {
    let (tenant, parts) = (&run.tenant_id, [Part::Ledger, Part::Earlier]);
    let loaded = store.load_with(tenant, run.run_id, &parts).await.expect("loaded");
    let (ledger, earlier) = loaded.map(|loaded| (loaded.ledger, loaded.earlier)).unwrap_or_default();
    let calls = store.recorded_calls(tenant, run.run_id).await.expect("listed");
    Used::new(earlier, ledger, &calls)
}

async fn spent(store: &impl Ports, run: &Run) -> (u64, NanoUsd) {
    let used = used(store, run).await;
    let ledger = used.ledger.expect("a ledger");
    assert_eq!((used.usage.total.calls, used.usage.total.cost_nano_usd), (ledger.counts.calls, ledger.spent));
    (ledger.counts.calls, ledger.spent)
}

async fn reports_rev(store: &impl Ports, run: &Run) -> u64 {
    used(store, run).await.ledger.expect("a ledger").reports_rev
}

pub async fn running(store: &impl Ports) -> Run {
    let run = Run { state: sample::running(), ..run(&mine(), 1, noon()) };
    store.record_run(&new_run(&run, None, None)).await.expect("recorded");
    run
}

pub async fn known(store: &impl Ports, run: &Run, ids: &[&str]) -> Vec<String> {
    let ids = ids.iter().map(|id| (*id).to_owned()).collect();
    let known = store.known_calls(&run.tenant_id, run.run_id, &ids, &BTreeSet::new()).await;
    known.expect("an answer").0.into_keys().collect()
}

pub async fn a_run_that_used_nothing_has_an_empty_ledger(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    assert_eq!(spent(&store, &run).await, (0, NanoUsd(0)));
    assert!(known(&store, &run, &["1"]).await.is_empty());
    assert!(known(&store, &run, &[]).await.is_empty());
    let page = store.list_usage(&mine(), run.run_id, 10, None).await.expect("a page");
    assert_eq!(page, Page { items: Vec::new(), next: None });
}

pub async fn a_report_is_recorded_and_counted(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    assert!(report(&store, &run, &[call("1", 100), call("2 \u{e9}#", 200)]).await);
    assert_eq!(spent(&store, &run).await, (2, NanoUsd(300)));
    assert!(report(&store, &run, &[call("3", 1)]).await);
    assert_eq!(spent(&store, &run).await, (3, NanoUsd(301)));
    assert_eq!(known(&store, &run, &["3", "4", "2 \u{e9}#", "3"]).await, ["2 \u{e9}#", "3"]);
    assert_eq!(store.load_run(&mine(), run.run_id).await.expect("loaded"), Some(run.clone()), "the run is as it was");
    let theirs = Run { tenant_id: yours(), ..run };
    assert_eq!(used(&store, &theirs).await, Used::default());
    assert!(known(&store, &theirs, &["1", "3"]).await.is_empty());
}

/// Reports these calls in one write, with a stop of the run. Whether it was taken.
async fn at_one_go(store: &impl Ports, run: &Run, calls: &[LlmCall], stop: Option<&RunChange>) -> StoreResult<bool> {
    let total = total(&used(store, run).await.ledger.expect("a ledger"), calls);
    store.report_at_once(&reference(run), ReportAtOnce { calls, total, stop }, noon()).await
}

pub async fn a_report_in_one_write_is_recorded_and_counted_or_nothing_of_it_is(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    let rev = reports_rev(&store, &run).await;
    assert!(at_one_go(&store, &run, &[call("1", 100), call("2", 20)], None).await.expect("an answer"));
    assert_eq!(spent(&store, &run).await, (2, NanoUsd(120)));
    let counted = reports_rev(&store, &run).await;
    assert!(counted > rev, "an end that was decided on the ledger before it has to see it");
    assert_eq!(known(&store, &run, &["1", "2", "3"]).await, ["1", "2"]);
    for calls in [&[call("2", 20)][..], &[call("3", 1), call("1", 1)]] {
        assert!(!at_one_go(&store, &run, calls, None).await.expect("an answer"), "{calls:?}");
    }
    assert!(!report(&store, &run, &[call("2", 20)]).await, "whichever way it is reported again");
    assert!(report(&store, &run, &[call("4", 1)]).await);
    assert!(!at_one_go(&store, &run, &[call("4", 1)], None).await.expect("an answer"));
    assert_eq!(spent(&store, &run).await, (3, NanoUsd(121)));
    assert_eq!(known(&store, &run, &["3", "4"]).await, ["4"]);
    assert_eq!(store.load_run(&mine(), run.run_id).await.expect("loaded").as_ref(), Some(&run));
    // Of one that is gone nothing is left behind.
    let calls = [call("1", 1)];
    for gone in going_and_gone(&ground.ports()).await {
        store.purge_run(&mine(), gone.run_id).await.expect("purged");
        let total = ReportTotal { cost: NanoUsd(1), calls: 1, cap: None };
        let at_once = ReportAtOnce { calls: &calls, total, stop: None };
        assert!(!store.report_at_once(&reference(&gone), at_once, noon()).await.expect("an answer"));
        assert!(known(&store, &gone, &["1"]).await.is_empty());
        assert_eq!(used(&store, &gone).await, Used::default());
    }
}

pub async fn a_report_in_one_write_goes_above_the_cap_with_the_stop_or_after_the_end(ground: &impl Ground) {
    let store = ground.ports();
    for (number, asked) in [(1, StopIntent::BudgetExceeded), (2, StopIntent::CanceledByCaller)] {
        let run = Run { state: sample::running(), ..run(&mine(), number, noon()) };
        let mut new = new_run(&run, None, None);
        new.ledger.cap = Some(NanoUsd(100));
        store.record_run(&new).await.expect("recorded");
        assert!(
            at_one_go(&store, &run, &[call("1", 100)], None).await.expect("an answer"),
            "exactly the cap is within it"
        );
        let above = [call("2", 1)];
        assert!(!at_one_go(&store, &run, &above, None).await.expect("an answer"));
        let older = RunChange { expected_rev: run.rev + 7, ..stopping(&run) };
        assert!(!at_one_go(&store, &run, &above, Some(&older)).await.expect("an answer"));
        assert!(!at_one_go(&store, &run, &[call("1", 1)], Some(&stopping(&run))).await.expect("an answer"), "known");
        let unchanged = used(&store, &run).await.ledger.expect("a ledger");
        assert_eq!((unchanged.standing, unchanged.spent, unchanged.reports.len()), (Standing::Open, NanoUsd(100), 0));
        assert_eq!(store.load_run(&mine(), run.run_id).await.expect("loaded").as_ref(), Some(&run));
        let stop = run.after(RunEvent::StopAsked(asked), noon()).expect("a change");
        let stop = RunChange::new(&run, stop);
        let standing = if asked == StopIntent::BudgetExceeded {
            assert!(at_one_go(&store, &run, &above, Some(&stop)).await.expect("an answer"));
            Standing::Exhausted
        } else {
            // Somebody else has stopped it.
            assert_eq!(store.change_run(&stop).await.expect("changed"), Changed::Done);
            assert!(at_one_go(&store, &run, &above, None).await.expect("an answer"));
            Standing::Closed
        };
        let ledger = used(&store, &run).await.ledger.expect("a ledger");
        assert_eq!((ledger.standing, ledger.spent, ledger.sweep_at), (standing, NanoUsd(101), Some(noon())));
        assert_eq!(store.load_run(&mine(), run.run_id).await.expect("loaded"), Some(stop.run));
        assert!(at_one_go(&store, &run, &[call("3", 5)], None).await.expect("an answer"), "what comes later counts");
        assert_eq!(spent(&store, &run).await, (3, NanoUsd(106)));
    }
}

pub async fn of_many_reports_in_one_write_each_is_counted_that_was_taken(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    // Each call twice, and others report the other way meanwhile.
    let reports = (0..48_u64).map(|number| {
        let (store, run) = (&store, &run);
        async move {
            let calls = [call(&(number / 2).to_string(), 1)];
            match number % 3 {
                0 => report(store, run, &calls).await,
                _ => match at_one_go(store, run, &calls, None).await {
                    Err(error) if error.is_conflict() => false,
                    taken => taken.expect("an answer"),
                },
            }
        }
    });
    let taken = at_once(reports).await.into_iter().filter(|is_taken| *is_taken).count() as u64;
    assert!((1..=24).contains(&taken), "{taken}");
    assert_eq!(spent(&store, &run).await, (taken, NanoUsd(taken)));
}

pub async fn each_step_of_a_report_is_seen_and_each_is_made_once(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    let (of, calls) = (reference(&run), [call("1", 100), call("2", 20)]);
    let begun = begin(&store, &run, &calls).await;
    let (id, count) = (begun.report_id, count(&begun, &calls));
    let held = used(&store, &run).await.ledger.expect("a ledger");
    assert_eq!(held, begun.ledger);
    assert_eq!((held.reports.get(&id), held.committed(), held.spent), (Some(&NanoUsd(120)), NanoUsd(120), NanoUsd(0)));
    assert!(store.record_calls(&of, id, &calls, noon()).await.expect("recorded"));
    assert!(!store.record_calls(&of, id, &[call("3", 1)], noon()).await.expect("an answer"), "it has its receipt");
    let ids = calls.iter().map(|call| call.call_id.clone()).collect();
    let known = store.known_calls(&mine(), run.run_id, &ids, &BTreeSet::new()).await.expect("an answer").0;
    assert!(known.len() == 2 && known.values().all(|report| *report == Some(id)), "{known:?}");
    let halfway = used(&store, &run).await;
    assert_eq!((halfway.usage.total.calls, halfway.spent()), (0, NanoUsd(0)), "it is not counted yet");
    // Whoever finishes it, and however often.
    for _ in 0..2 {
        let receipt = store.give_up_report(&of, id, noon()).await.expect("an answer");
        assert_eq!(receipt, Some(ReportReceipt { calls: 2, cost: NanoUsd(120) }));
    }
    let counting = (0..8).map(|_| store.count_report(&of, &count, None));
    let counted = at_once(counting).await.into_iter().map(|counted| counted.expect("an answer"));
    let counted: Vec<_> = counted.filter(|counted| matches!(counted, ReportCounted::Done(_))).collect();
    assert_eq!(counted.len(), 1, "{counted:?}");
    assert_eq!(spent(&store, &run).await, (2, NanoUsd(120)));
    let late = store.count_report(&of, &count, None).await.expect("an answer");
    assert!(matches!(late, ReportCounted::NotUnderWay(Some(_))), "{late:?}");
    assert!(reports_rev(&store, &run).await > held.reports_rev);
}

pub async fn a_report_that_was_given_up_records_nothing(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    let (of, calls) = (reference(&run), [call("1", 100)]);
    let begun = begin(&store, &run, &calls).await;
    let receipt = store.give_up_report(&of, begun.report_id, noon()).await.expect("given up");
    assert_eq!(receipt, Some(ReportReceipt::default()));
    assert!(!store.record_calls(&of, begun.report_id, &calls, noon()).await.expect("an answer"));
    let count = CountReport { total: total(&begun.ledger, &[]), ..count(&begun, &calls) };
    let counted = store.count_report(&of, &count, None).await.expect("an answer");
    assert!(matches!(counted, ReportCounted::Done(_)), "{counted:?}");
    let after = used(&store, &run).await.ledger.expect("a ledger");
    assert_eq!((spent(&store, &run).await, after.committed()), ((0, NanoUsd(0)), NanoUsd(0)));
    assert!(known(&store, &run, &["1"]).await.is_empty());
    assert!(report(&store, &run, &calls).await, "under another id");
}

pub async fn of_many_reports_at_once_each_is_counted(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    let reports = (0..64_u64).map(|number| {
        let (store, run) = (&store, &run);
        async move { report(store, run, &[call(&number.to_string(), number + 1)]).await }
    });
    assert!(at_once(reports).await.into_iter().all(|is_recorded| is_recorded));
    assert_eq!(spent(&store, &run).await, (64, NanoUsd((1..=64).sum())));
}

pub async fn a_report_that_takes_the_run_above_its_cap_is_counted_with_the_stop(ground: &impl Ground) {
    let store = ground.ports();
    let run = Run { state: sample::running(), ..run(&mine(), 1, noon()) };
    let mut new = new_run(&run, None, None);
    new.ledger.cap = Some(NanoUsd(100));
    store.record_run(&new).await.expect("recorded");
    assert!(report(&store, &run, &[call("1", 40), call("2", 60)]).await, "exactly the cap is within it");
    let (of, calls) = (reference(&run), [call("3", 1)]);
    let begun = begin(&store, &run, &calls).await;
    assert!(store.record_calls(&of, begun.report_id, &calls, noon()).await.expect("recorded"));
    let count = count(&begun, &calls);
    assert_eq!(store.count_report(&of, &count, None).await.expect("an answer"), ReportCounted::Above);
    let older = RunChange { expected_rev: run.rev + 7, ..stopping(&run) };
    assert_eq!(store.count_report(&of, &count, Some(&older)).await.expect("an answer"), ReportCounted::Stale);
    let unchanged = used(&store, &run).await.ledger.expect("a ledger");
    assert_eq!((unchanged.standing, unchanged.spent, unchanged.reports.len()), (Standing::Open, NanoUsd(100), 1));
    let counted = store.count_report(&of, &count, Some(&stopping(&run))).await.expect("counted");
    let ReportCounted::Done(ledger) = counted else { panic!("{counted:?}") };
    assert_eq!((ledger.standing, ledger.spent, ledger.reports.len()), (Standing::Exhausted, NanoUsd(101), 0));
    let found = store.load_run(&mine(), run.run_id).await.expect("loaded").expect("a run");
    assert_eq!((found.status(), found.state.intent()), (RunStatus::Canceling, Some(StopIntent::BudgetExceeded)));
    let again = store.count_report(&of, &count, Some(&stopping(&run))).await.expect("an answer");
    assert!(matches!(again, ReportCounted::NotUnderWay(Some(_))), "{again:?}");
    // What comes later is above as well, and counts.
    assert!(report(&store, &run, &[call("4", 5)]).await);
    assert_eq!(spent(&store, &run).await, (4, NanoUsd(106)));
}

pub async fn a_report_above_the_cap_of_a_run_that_has_ended_is_counted_without_a_stop(ground: &impl Ground) {
    let store = ground.ports();
    let run = Run { state: sample::running(), ..run(&mine(), 1, noon()) };
    let mut new = new_run(&run, None, None);
    new.ledger.cap = Some(NanoUsd(100));
    store.record_run(&new).await.expect("recorded");
    let (of, calls) = (reference(&run), [call("1", 101)]);
    let begun = begin(&store, &run, &calls).await;
    assert!(store.record_calls(&of, begun.report_id, &calls, noon()).await.expect("recorded"));
    let count = count(&begun, &calls);
    assert_eq!(store.count_report(&of, &count, None).await.expect("an answer"), ReportCounted::Above);
    let end = run.after(RunEvent::EngineEnded(EngineEnd::Succeeded), noon()).expect("an end");
    assert_eq!(store.change_run(&RunChange::new(&run, end)).await.expect("changed"), Changed::Done);
    let counted = store.count_report(&of, &count, None).await.expect("counted");
    let ReportCounted::Done(ledger) = counted else { panic!("{counted:?}") };
    assert_eq!((ledger.standing, ledger.spent, ledger.reports.len()), (Standing::Closed, NanoUsd(101), 0));
}

pub async fn what_was_reported_before_is_taken_over_once(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    let of = reference(&run);
    let earlier = Earlier { calls: 3, cost: NanoUsd(30) };
    let before = used(&store, &run).await.ledger.expect("a ledger");
    let opening = Ledger::new(Grant::new(0), BTreeMap::new(), Some(NanoUsd(1)));
    for _ in 0..2 {
        store.take_over(&of, &opening, earlier).await.expect("taken over");
        let after = used(&store, &run).await.ledger.expect("a ledger");
        assert_eq!((after.spent, after.counts.calls, after.took_over), (NanoUsd(30), 3, true));
        assert_eq!((&after.grant, after.cap), (&before.grant, before.cap), "the ledger that there was");
    }
    let nobody = RunRef { run_id: sample::run_id(99), ..of };
    store.take_over(&nobody, &opening, earlier).await.expect("nothing to take over");
    assert_eq!(store.begin_report(&nobody, NanoUsd(1), noon()).await.expect("an answer"), None);
}

pub async fn a_run_that_is_gone_takes_no_report_and_one_that_goes_waits_for_what_is_under_way(ground: &impl Ground) {
    let store = ground.ports();
    let [going, gone] = going_and_gone(&store).await;
    assert_eq!(store.begin_report(&reference(&gone), NanoUsd(1), noon()).await.expect("an answer"), None);
    let calls = [call("1", 1)];
    let begun = begin(&store, &going, &calls).await;
    let lease_end = begun.report_id.lease_end();
    assert_eq!(store.owed_until(&mine(), going.run_id).await.expect("an answer"), Some(lease_end));
    let error = store.purge_run(&mine(), going.run_id).await.expect_err("something is held");
    assert_eq!(error.class, StoreErrorClass::Conflict);
    assert!(store.record_calls(&reference(&going), begun.report_id, &calls, noon()).await.expect("recorded"));
    store.count_report(&reference(&going), &count(&begun, &calls), None).await.expect("counted");
    assert_eq!(store.owed_until(&mine(), going.run_id).await.expect("an answer"), None);
    store.purge_run(&mine(), going.run_id).await.expect("purged");
    let late = store.give_up_report(&reference(&going), begun.report_id, noon()).await.expect("an answer");
    assert_eq!(late, None, "nothing is left behind");
    assert!(known(&store, &going, &["1"]).await.is_empty());
    assert_eq!(store.begin_report(&reference(&going), NanoUsd(1), noon()).await.expect("an answer"), None);
}

pub async fn a_call_that_was_reported_before_is_not_recorded_again(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    assert!(report(&store, &run, &[call("1", 100)]).await);
    assert!(!report(&store, &run, &[call("1", 100)]).await, "the same call again");
    assert!(!report(&store, &run, &[call("2", 1), call("1", 1)]).await);
    assert_eq!(spent(&store, &run).await, (1, NanoUsd(100)));
    assert_eq!(known(&store, &run, &["1", "2"]).await, ["1"]);
    let listed = store.list_usage(&mine(), run.run_id, 10, None).await.expect("a page");
    assert_eq!(listed.items, [call("1", 100)], "as it was reported first");
}

pub fn stopping(run: &Run) -> RunChange {
    RunChange::new(run, run.after(RunEvent::StopAsked(StopIntent::BudgetExceeded), noon()).expect("a change"))
}

pub async fn an_end_on_an_old_ledger_writes_nothing(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    ends_on_its_ledger_alone(&store, run, EngineEnd::Succeeded).await;
}

/// Its stop has closed the ledger already.
pub async fn an_end_of_a_stopped_run_on_an_old_ledger_writes_nothing(ground: &impl Ground) {
    let store = ground.ports();
    let run = running(&store).await;
    let asked = RunEvent::StopAsked(StopIntent::CanceledByCaller);
    let stop = RunChange::new(&run, run.after(asked, noon()).expect("a change"));
    assert_eq!(store.change_run(&stop).await.expect("changed"), Changed::Done);
    ends_on_its_ledger_alone(&store, stop.run, EngineEnd::Aborted).await;
}

async fn ends_on_its_ledger_alone(store: &impl Ports, run: Run, end: EngineEnd) {
    let ended = run.after(RunEvent::EngineEnded(end), noon()).expect("a change");
    let end = |expected_reports_rev| RunChange {
        expected_reports_rev,
        output: Some("1".to_owned()),
        deliveries: vec![sample::delivery(&run, 1, noon())],
        ..RunChange::new(&run, ended.clone())
    };
    let mut rev = 0;
    for id in ["1", "2"] {
        assert!(report(store, &run, &[call(id, 1)]).await);
        let is = reports_rev(store, &run).await;
        assert!(is > rev);
        for old in [rev, is - 1, is + 1] {
            let changed = store.change_run(&end(Some(old))).await.expect("an answer");
            assert_eq!(changed, Changed::Stale(Some(Box::new(run.clone()))), "the run is as it was");
        }
        rev = is;
    }
    assert_eq!(store.load_output(&mine(), run.run_id).await.expect("loaded"), None);
    assert!(store.list_deliveries(&mine(), run.run_id).await.expect("listed").is_empty());
    assert_eq!(store.change_run(&end(Some(rev))).await.expect("changed"), Changed::Done);
    assert_eq!(store.load_run(&mine(), run.run_id).await.expect("loaded"), Some(ended.clone()));
    let closed = used(store, &run).await.ledger.expect("a ledger");
    assert_eq!(closed.sweep_at, Some(ended.updated_at), "at once, and not at the end of a lease");
}

pub async fn calls_are_listed_once_each_whatever_the_page_size(ground: &impl Ground) {
    let store = ground.ports();
    let (run, mine) = (running(&store).await, &mine());
    for batch in [0..7_u32, 7..12] {
        let calls: Vec<_> = batch.map(|number| call(&format!("call-{number}"), u64::from(number))).collect();
        assert!(report(&store, &run, &calls).await);
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
        let (store, run) = (&store, &run);
        async move { report(store, run, &[call("1", number)]).await }
    });
    let winners = at_once(reporters).await.into_iter().filter(|is_first| *is_first).count();
    assert_eq!((winners, spent(&store, &run).await.0), (1, 1));
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
