//! What the phases of a sweep share: its bounds, its time, and what it has found and done.

use super::asks::Asks;
use super::bounds::Bounds;
use super::share::{self, Phase};
use super::summary::SweepSummary;
use crate::concurrency::QueueRef;
use crate::open_runs::Tally;
use crate::ports::{Clock, RunRef};
use crate::run::Run;
use jiff::Timestamp;
use std::collections::BTreeSet;

/// A sweep under way.
pub struct Sweeper<'a, S, E, C> {
    pub store: &'a S,
    pub engine: &'a E,
    pub clock: &'a C,
    pub bounds: Bounds,
    /// Which sweep this is: who comes first follows from it.
    pub turn: u64,
    /// When the phase stops beginning new work.
    phase_until: Timestamp,
    /// When the part of the phase that is on does.
    until: Timestamp,
    pub summary: SweepSummary,
    /// Queues that somebody waits in.
    pub queues: BTreeSet<QueueRef>,
    /// Runs that should have been started by now.
    pub unstarted: BTreeSet<RunRef>,
    /// Open runs by tenant.
    pub tally: Tally,
    /// Stops, and answers to runners, that may still be asked for.
    pub stops: Asks<Run>,
    pub hand_overs: Asks<Run>,
}

impl<'a, S, E, C: Clock> Sweeper<'a, S, E, C> {
    pub fn new(store: &'a S, engine: &'a E, clock: &'a C, bounds: Bounds) -> Self {
        Self {
            store,
            engine,
            clock,
            bounds,
            turn: share::turn(clock.now()),
            phase_until: bounds.until,
            until: bounds.until,
            summary: SweepSummary::default(),
            queues: BTreeSet::new(),
            unstarted: BTreeSet::new(),
            tally: Tally::default(),
            stops: Asks::most(bounds.stops),
            hand_overs: Asks::most(bounds.hand_overs),
        }
    }

    /// The next phase begins, with its share of the time that is left.
    pub fn begin(&mut self, phase: Phase) {
        self.phase_until = phase.until(self.clock.now(), self.bounds.until);
        self.until = self.phase_until;
    }

    /// The next part of this phase begins, the first of so many that share what is left of its time.
    pub fn begin_part(&mut self, of: i64) {
        self.until = share::part(self.clock.now(), self.phase_until, 1, of);
    }

    /// Every shard in the order of this sweep, each with how many are left.
    pub fn shards(&self) -> impl Iterator<Item = (u8, i64)> + use<S, E, C> {
        share::shards(self.turn)
    }

    /// Whether nothing new is to be begun.
    pub fn is_over(&self) -> bool {
        self.clock.now() >= self.until
    }

    /// [`Self::is_over`], and if so, this has cut the sweep short.
    pub fn is_out_of_time(&mut self) -> bool {
        let out = self.is_over();
        self.summary.cut_short |= out;
        out
    }

    pub fn fault(&mut self, what: impl std::fmt::Display, error: &dyn std::error::Error) {
        self.summary.fault(what, error);
    }
}
