//! Meters: how often something happened within a window of the clock, counted by samples.
//!
//! **Invariants:** a meter is only ever added to, without a condition, so counting is never in anybody's way; who reads it
//! decides. What is counted with a weight of `w` is counted once in `w` times, so that the sum is right on average.
//!
//! Decision (2026-11-27): of what may happen `limit` times, about a hundred are counted in a window, each for a hundredth of
//! the limit. That costs a tenant at its limit two writes a second at most, keeps the one item of a meter far below what a
//! partition of DynamoDB takes, and is right to a tenth (the standard deviation at the limit). A limit below 200 is counted
//! one by one, exactly. Requests at the same moment do not see each other: so many more than the limit may get in.

use crate::id::{RunId, TenantId};
use jiff::{SignedDuration, Timestamp};

/// Counts of a window at the limit, about.
const SAMPLES: u32 = 100;

/// What is counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Meter {
    /// Runs that a tenant started: created, invoked or replayed.
    Starts(TenantId),
    /// Reads of a tenant that wait for a run to end.
    Waits(TenantId),
    /// Those of all tenants.
    AllWaits,
}

impl Meter {
    /// The length of its windows.
    pub const fn window(&self) -> SignedDuration {
        match self {
            Self::Starts(_) => SignedDuration::from_secs(60),
            Self::Waits(_) | Self::AllWaits => SignedDuration::from_secs(5),
        }
    }

    /// Its window at some time.
    pub fn at(self, now: Timestamp) -> MeterKey {
        let window = now.as_second().div_euclid(self.window().as_secs());
        MeterKey { meter: self, window }
    }
}

/// A window of a meter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeterKey {
    pub meter: Meter,
    /// Counted from the epoch.
    pub window: i64,
}

impl MeterKey {
    /// When the window is over.
    pub fn ends_at(&self) -> Timestamp {
        let seconds = self.window.saturating_add(1).saturating_mul(self.meter.window().as_secs());
        Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
    }

    /// Whole seconds from `now` to the end of the window, at least 1.
    pub fn seconds_left(&self, now: Timestamp) -> u32 {
        let left = self.ends_at().duration_since(now);
        u32::try_from(left.as_secs() + i64::from(left.subsec_nanos() > 0)).unwrap_or_default().max(1)
    }
}

/// What a meter shows of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading(pub i64);

/// What is to be added to a meter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    pub key: MeterKey,
    pub by: i64,
}

/// A random number that decides whether something is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chance(pub u64);

impl From<RunId> for Chance {
    /// The lower half of a UUID of version 4 or 7 is random, but for two bits.
    fn from(run_id: RunId) -> Self {
        Self(run_id.0.as_u64_pair().1)
    }
}

impl Chance {
    /// For how many it counts of what may happen `limit` times, if it counts.
    pub fn weight(self, limit: u32) -> Option<i64> {
        let weight = (limit / SAMPLES).max(1);
        self.0.is_multiple_of(weight.into()).then(|| weight.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn starts() -> Meter {
        Meter::Starts("acme".parse().expect("a tenant"))
    }

    #[test]
    fn a_window_is_a_minute_of_the_clock_and_says_when_it_is_over() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let first = starts().at(at("2026-11-22T04:40:00Z"));
        for (time, is_same, left) in [
            ("2026-11-22T04:40:00Z", true, 60),
            ("2026-11-22T04:40:00.001Z", true, 60),
            ("2026-11-22T04:40:59.999Z", true, 1),
            ("2026-11-22T04:41:00Z", false, 60),
            ("2026-11-22T04:39:59.999Z", false, 1),
        ] {
            let key = starts().at(at(time));
            assert_eq!((key == first, key.seconds_left(at(time))), (is_same, left), "{time}");
        }
        assert_eq!(first.ends_at(), at("2026-11-22T04:41:00Z"));
    }

    #[test]
    fn a_small_limit_is_counted_one_by_one() {
        for limit in [0, 1, 2, 99, 100, 199] {
            assert!((0..1_000).all(|number| Chance(number).weight(limit) == Some(1)), "{limit}");
        }
    }

    proptest! {
        /// Whatever the limit, as many are counted as there were, but for chance: six standard deviations.
        #[test]
        fn what_is_counted_is_what_there_was(limit in 1u32..1_000_000, seed in any::<u64>(), number in 1_000u32..20_000) {
            let mut state = seed;
            let mut counted = 0_i64;
            for _ in 0..number {
                // SplitMix64's step.
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                let id = RunId(Uuid::from_u64_pair(state, mixed ^ (mixed >> 31)));
                counted += Chance::from(id).weight(limit).unwrap_or_default();
            }
            let weight = f64::from((limit / SAMPLES).max(1));
            let (number, counted) = (f64::from(number), counted as f64);
            let bound = 6.0 * (number * weight).sqrt() + 6.0 * weight;
            prop_assert!((counted - number).abs() <= bound, "{counted} of {number} at {limit}");
        }

        #[test]
        fn a_tenant_at_its_limit_costs_no_more_than_two_hundred_writes_a_window(limit in 1u32..1_000_000) {
            let weight = i64::from((limit / SAMPLES).max(1));
            prop_assert!(i64::from(limit) / weight < 200);
        }
    }
}
