//! The cap holds through thousands of schedules, and the plays would notice if it did not.

use crate::bench::{Bench, Counter, call, ledger, pass, plain_model};
use crate::play::{Mutant, Tale};
use crate::stage::play;
use fastrand::Rng;
use sluice_core::budget::NanoUsd;
use sluice_core::call_id::CallId;
use sluice_core::flow::govern_call::{Ports, Request, Verdict, reserve, settle};
use sluice_core::governor::usage::{CallEnd, CallUsage, TokenUsage};
use sluice_core::ports::Clock;
use sluice_testkit::block_on;
use sluice_testkit::contract::at_once;
use std::thread;

const SCHEDULES: u64 = 3_000;
/// Within how many schedules a planted bug has to be found.
const SCHEDULES_PER_BUG: u64 = 1_500;

/// As many as usual, or `SLUICE_SCHEDULES`.
#[expect(clippy::disallowed_methods, reason = "a test has no config module, and this changes only how long it plays")]
fn schedules() -> u64 {
    std::env::var("SLUICE_SCHEDULES").ok().and_then(|text| text.parse().ok()).unwrap_or(SCHEDULES)
}

/// Two threads' share of the seeds each.
fn in_two<T: Send + 'static>(work: impl Fn(u64) -> T + Send + Copy + 'static) -> Vec<T> {
    let workers: Vec<_> = (0..2).map(|worker| thread::spawn(move || work(worker))).collect();
    workers.into_iter().map(|worker| worker.join().expect("nothing is broken")).collect()
}

#[test]
fn no_schedule_passes_the_cap() {
    let tales = in_two(|worker| {
        let mut sum = Tale::default();
        for seed in (worker..schedules()).step_by(2) {
            match play(seed, None) {
                Ok(tale) => add(&mut sum, tale),
                Err(broken) => panic!("seed {seed}, {broken}"),
            }
        }
        sum
    });
    let mut sum = Tale::default();
    tales.into_iter().for_each(|tale| add(&mut sum, tale));
    // Everything has happened, and often.
    let Tale { granted, lowered, throttled, exhausted, refused, reported, repeated, unanswered, died, lost, faults } =
        sum;
    let often = [granted, lowered, throttled, exhausted, refused, reported, repeated, unanswered, died, lost, faults];
    assert!(often.iter().all(|times| *times >= schedules() / 20), "{sum:?}");
}

fn add(sum: &mut Tale, tale: Tale) {
    let Tale { granted, lowered, throttled, exhausted, refused, reported, repeated, unanswered, died, lost, faults } =
        tale;
    sum.granted += granted;
    sum.lowered += lowered;
    sum.throttled += throttled;
    sum.exhausted += exhausted;
    sum.refused += refused;
    sum.reported += reported;
    sum.repeated += repeated;
    sum.unanswered += unanswered;
    sum.died += died;
    sum.lost += lost;
    sum.faults += faults;
}

#[test]
fn every_planted_bug_is_found_in_the_schedules() {
    in_two(|worker| {
        for mutant in Mutant::ALL.into_iter().skip(worker as usize).step_by(2) {
            let found = (0..SCHEDULES_PER_BUG).find(|seed| play(*seed, Some(mutant)).is_err());
            assert!(found.is_some(), "{mutant:?} went unnoticed through {SCHEDULES_PER_BUG} schedules");
        }
    });
}

#[test]
fn a_schedule_is_the_same_every_time() {
    for seed in 0..20 {
        assert_eq!(play(seed, None), play(seed, None));
    }
}

/// Calls of at most a twentieth of the cap, as they come: what is left when the run is told that it is exhausted.
#[test]
fn nearly_all_of_a_cap_can_be_spent() {
    for seed in 0..200 {
        let mut random = Rng::with_seed(seed);
        let cap = random.u64(200_000..10_000_000);
        let bench = Bench::new(ledger(Some(cap)));
        let model = plain_model();
        let spent = block_on(async {
            for number in 0.. {
                let input = random.u64(0..=cap / 40);
                let most = (cap / 40 / 5).clamp(1, 64_000);
                let (call, call_id, pass) = (call(input, most), CallId::new(bench.clock.now(), number), pass());
                let Bench { store, engine, clock, run, .. } = &bench;
                let request = Request { run, pass: &pass, attempt: 1, call_id, model: &model, call: &call };
                let verdict = reserve(&Ports { store, engine, clock, counter: &Counter(None) }, &request).await;
                let Ok(Verdict::Granted(ticket)) = verdict else {
                    assert!(matches!(verdict, Ok(Verdict::Exhausted)), "{verdict:?}");
                    break;
                };
                let output = random.u64(0..=ticket.lowered_to.unwrap_or(most));
                let tokens = TokenUsage { input, output, ..TokenUsage::default() };
                let end = CallEnd::Used(CallUsage { tokens, ..CallUsage::default() });
                settle(store, engine, &ticket, &end, clock.now()).await.expect("settled");
            }
            bench.ledger().spent
        });
        assert!(spent <= NanoUsd(cap) && spent.0 * 100 >= cap * 95, "{} of {cap}, seed {seed}", spent.0);
    }
}

/// E01: so many at once at the last cent. No more are granted than it pays for.
#[test]
fn calls_at_once_share_what_is_left_and_no_more() {
    for callers in [2_u64, 3, 10, 64, 100, 256] {
        let bench = Bench::new(ledger(Some(callers.min(100) * 6_000 / 2)));
        let (model, pass, call) = (plain_model(), pass(), call(1_000, 1_000));
        let asks = (0..callers).map(|number| {
            let Bench { store, engine, clock, run, .. } = &bench;
            let call_id = CallId::new(clock.now(), number.into());
            let (model, pass, call) = (&model, &pass, &call);
            async move {
                let request = Request { run, pass, attempt: 1, call_id, model, call };
                let ports = Ports { store, engine, clock, counter: &Counter(None) };
                let mut asking = std::pin::pin!(reserve(&ports, &request));
                std::future::poll_fn(move |context| {
                    clock.pass(jiff::SignedDuration::from_millis(1));
                    asking.as_mut().poll(context)
                })
                .await
            }
        });
        let verdicts = block_on(at_once(asks));
        let granted = verdicts.iter().filter(|verdict| matches!(verdict, Ok(Verdict::Granted(_)))).count() as u64;
        let throttled =
            verdicts.iter().filter(|verdict| matches!(verdict, Ok(Verdict::Throttled { .. }))).count() as u64;
        assert_eq!((granted, throttled), (callers.min(100) / 2, callers - callers.min(100) / 2), "{callers}");
        assert_eq!(bench.ledger().committed(), NanoUsd(callers.min(100) / 2 * 6_000));
    }
}

/// Ten callers whose worst cases together are more than the cap, and whose real costs are not: all finish.
#[test]
fn ten_callers_share_a_cap_that_their_worst_cases_exceed() {
    for seed in 0..50 {
        let mut random = Rng::with_seed(seed);
        // Each call costs 41,000 at worst, and at most 900 really: ten callers with five calls each.
        let bench = Bench::new(ledger(Some(100_000)));
        let (model, pass, call) = (plain_model(), pass(), call(1_000, 8_000));
        let callers = (0..10_u64).map(|caller| {
            let Bench { store, engine, clock, run, .. } = &bench;
            let (model, pass, call) = (&model, &pass, &call);
            let real = random.u64(100..900);
            async move {
                let mut working = std::pin::pin!(async move {
                    for number in 0..5_u64 {
                        let call_id = CallId::new(clock.now(), u128::from(caller * 100 + number));
                        let request = Request { run, pass, attempt: 1, call_id, model, call };
                        let ports = Ports { store, engine, clock, counter: &Counter(None) };
                        let verdict = reserve(&ports, &request).await;
                        let Ok(Verdict::Granted(ticket)) = verdict else { panic!("{verdict:?}, seed {seed}") };
                        clock.sleep(std::time::Duration::from_millis(real)).await;
                        let tokens = TokenUsage { input: real, ..TokenUsage::default() };
                        let end = CallEnd::Used(CallUsage { tokens, ..CallUsage::default() });
                        settle(store, engine, &ticket, &end, clock.now()).await.expect("settled");
                    }
                });
                std::future::poll_fn(move |context| {
                    clock.pass(jiff::SignedDuration::from_millis(1));
                    working.as_mut().poll(context)
                })
                .await;
            }
        });
        block_on(at_once(callers));
        assert_eq!(bench.ledger().counts.calls, 50);
    }
}
