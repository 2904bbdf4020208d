//! A deterministic simulation of the whole service: callers and tenants, Lambda instances that die at any await, an
//! engine and a store that behave like Step Functions and DynamoDB on a bad day, and a receiver that fails in every way.
//!
//! One thread, one seeded generator, a virtual clock. [`simulate`] plays a number of steps in which faults happen, lets
//! the faults stop, lets the reconciler run, and checks every invariant on the way and at the end. [`shorten`] makes a
//! failing play as small as it can and still fail.

mod clock;
mod course;
mod fault;
mod invariant;
mod mutant;
mod receiver;
mod world;

pub use fault::{FaultKind, NOT_SIMULATED};
pub use invariant::Violation;
pub use mutant::Mutation;
use std::collections::{BTreeMap, BTreeSet};

/// How a play goes.
#[derive(Clone, Debug)]
pub struct Play {
    pub seed: u64,
    /// Steps before the faults stop.
    pub steps: u32,
    /// Whether all runs are of the second generation, and what strikes their workers comes more often.
    pub only_workers: bool,
    /// A bug to plant.
    pub mutation: Option<Mutation>,
    /// Faults, by the order in which they would be injected, that are left out: how a failing play is shortened.
    pub left_out: BTreeSet<u32>,
    /// Whether every event is written down.
    pub keeps_log: bool,
}

impl Play {
    pub const STEPS: u32 = 700;

    pub fn new(seed: u64) -> Self {
        let (steps, left_out) = (Self::STEPS, BTreeSet::new());
        Self { seed, steps, only_workers: false, mutation: None, left_out, keeps_log: false }
    }
}

/// What came of a play.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub injected: BTreeMap<FaultKind, u64>,
    /// Faults that were up for injection, also those left out.
    pub faults: u32,
    pub violation: Option<Violation>,
    /// Every event of the play, one line each, if it keeps a log.
    pub log: Vec<String>,
}

/// Plays once.
pub fn simulate(play: &Play) -> Outcome {
    world::World::new(play).play()
}

/// The shortest play found that still breaks the same invariant: fewer steps first, then fewer faults.
pub fn shorten(play: &Play) -> Option<(Play, Outcome)> {
    let play = &Play { keeps_log: true, ..play.clone() };
    let outcome = simulate(play);
    let broken = outcome.violation.as_ref()?.invariant;
    let mut best = (play.clone(), outcome);
    let still_fails = |candidate: &Play| {
        let outcome = simulate(candidate);
        outcome.violation.as_ref().is_some_and(|violation| violation.invariant == broken).then_some(outcome)
    };
    let mut cut = best.0.steps / 2;
    while cut > 0 {
        let candidate = Play { steps: best.0.steps.saturating_sub(cut), ..best.0.clone() };
        match still_fails(&candidate) {
            Some(outcome) => best = (candidate, outcome),
            None => cut /= 2,
        }
    }
    for fault in 0..best.1.faults.min(400) {
        let mut candidate = best.0.clone();
        if candidate.left_out.insert(fault)
            && let Some(outcome) = still_fails(&candidate)
        {
            best = (candidate, outcome);
        }
    }
    Some(best)
}
