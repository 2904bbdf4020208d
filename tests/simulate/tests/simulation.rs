//! The service survives thousands of bad days, and the simulation would notice if it did not.

use simulate::{FaultKind, Mutation, Play, shorten, simulate};
use std::collections::BTreeMap;
use std::thread;

const SEEDS: u64 = 3_000;
/// Within how many seeds a planted bug has to be found.
const SEEDS_PER_BUG: u64 = 300;

/// As many seeds as usual, or `SLUICE_SEEDS`.
#[expect(clippy::disallowed_methods, reason = "a test has no config module, and this changes only how long it plays")]
fn seeds() -> u64 {
    std::env::var("SLUICE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS)
}

fn explain(play: &Play) -> String {
    match shorten(play) {
        Some((shortest, outcome)) => {
            format!("seed {}, {} steps: {:?}\n{}", play.seed, shortest.steps, outcome.violation, outcome.log.join("\n"))
        }
        None => format!("seed {} fails, but not when it is played again", play.seed),
    }
}

#[test]
fn every_invariant_holds_through_thousands_of_bad_days() {
    let workers: Vec<_> = (0..2)
        .map(|worker| {
            thread::spawn(move || {
                let mut injected: BTreeMap<FaultKind, u64> = BTreeMap::new();
                for seed in (worker..seeds()).step_by(2) {
                    let play = Play::new(seed);
                    let outcome = simulate(&play);
                    assert!(outcome.violation.is_none(), "{}", explain(&play));
                    for (kind, times) in outcome.injected {
                        *injected.entry(kind).or_default() += times;
                    }
                }
                injected
            })
        })
        .collect();
    let mut injected: BTreeMap<FaultKind, u64> = BTreeMap::new();
    for worker in workers {
        for (kind, times) in worker.join().expect("no violation") {
            *injected.entry(kind).or_default() += times;
        }
    }
    // Ten times each in as many plays as usual.
    let least = 10 * seeds().min(SEEDS) / SEEDS;
    for kind in FaultKind::ALL {
        assert!(injected.get(kind).copied().unwrap_or(0) >= least, "{} was hardly injected", kind.text());
    }
}

#[test]
fn every_planted_bug_is_found() {
    let workers: Vec<_> = (0..2)
        .map(|worker| {
            thread::spawn(move || {
                for mutation in Mutation::ALL.into_iter().skip(worker).step_by(2) {
                    let found = (0..SEEDS_PER_BUG).find(|seed| {
                        simulate(&Play { mutation: Some(mutation), ..Play::new(*seed) }).violation.is_some()
                    });
                    assert!(found.is_some(), "{mutation:?} went unnoticed through {SEEDS_PER_BUG} seeds");
                }
            })
        })
        .collect();
    workers.into_iter().for_each(|worker| worker.join().expect("every bug is found"));
}

#[test]
fn a_play_is_the_same_every_time() {
    for seed in 0..20 {
        let play = Play { keeps_log: true, ..Play::new(seed) };
        let (first, second) = (simulate(&play), simulate(&play));
        assert_eq!((first.log, first.injected), (second.log, second.injected));
    }
}

#[test]
fn a_failing_play_is_made_short() {
    let broken = |play: &Play| simulate(play).violation.map(|violation| violation.invariant);
    let failing = (0..SEEDS_PER_BUG)
        .map(|seed| Play { mutation: Some(Mutation::StartBeforeWrite), ..Play::new(seed) })
        .filter_map(|play| broken(&play).map(|invariant| (play, invariant)));
    // How short it can be is a matter of the seed.
    let mut shares = Vec::new();
    for (play, invariant) in failing.take(4) {
        let (shortest, outcome) = shorten(&play).expect("it still fails");
        assert_eq!(outcome.violation.map(|violation| violation.invariant), Some(invariant));
        let one_less = Play { steps: shortest.steps - 1, ..play.clone() };
        assert_ne!(broken(&one_less), Some(invariant), "{} of {} steps", shortest.steps, play.steps);
        shares.push(f64::from(shortest.steps) / f64::from(play.steps));
    }
    assert_eq!(shares.len(), 4, "the bug is found");
    assert!(shares.iter().any(|share| *share < 0.25), "{shares:?}");
}
