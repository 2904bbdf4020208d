//! Who comes first in a sweep, and how long each part of it may take. All pure.
//!
//! **Invariants:** over the sweeps everybody comes first equally often; a part that is cut short leaves the others their time,
//! and one that needs less leaves the rest to those after it.

use crate::ports::SHARDS;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// The parts of a sweep, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// They are quick to hand out, and somebody waits for them.
    Deliveries,
    OpenRuns,
    /// Workers that are owed a word stand still until they have it.
    Boards,
    Starts,
    Queues,
    /// What is held too long keeps other calls of the run waiting.
    Ledgers,
    Purge,
}

impl Phase {
    pub const ALL: [Self; 7] =
        [Self::Deliveries, Self::OpenRuns, Self::Boards, Self::Starts, Self::Queues, Self::Ledgers, Self::Purge];

    /// Its share of the time, beside the others' weights.
    const fn weight(self) -> i64 {
        match self {
            Self::OpenRuns => 4,
            Self::Deliveries | Self::Boards | Self::Queues | Self::Ledgers | Self::Purge => 2,
            Self::Starts => 1,
        }
    }

    /// When this phase has to stop beginning new work that begins at `now`, in a sweep that stops at `until`: it shares what
    /// is left with the phases after it.
    pub fn until(self, now: Timestamp, until: Timestamp) -> Timestamp {
        let at = Self::ALL.iter().position(|phase| *phase == self).unwrap_or(0);
        part(now, until, self.weight(), Self::ALL[at..].iter().map(|phase| phase.weight()).sum())
    }
}

/// The end of the first `weight` of `of` parts of the time from `now` to `until`.
pub fn part(now: Timestamp, until: Timestamp, weight: i64, of: i64) -> Timestamp {
    let left = until.duration_since(now).as_millis();
    let mine = left * i128::from(weight) / i128::from(of.max(1));
    now + SignedDuration::from_millis(i64::try_from(mine).unwrap_or(0))
}

/// Which sweep this is: they come by the minute.
pub fn turn(now: Timestamp) -> u64 {
    u64::try_from(now.as_second().div_euclid(60)).unwrap_or(0)
}

/// Every shard, from another one on at each turn, each with how many are left, itself included.
pub fn shards(turn: u64) -> impl Iterator<Item = (u8, i64)> + use<> {
    let first = (turn % u64::from(SHARDS)) as u8;
    (0..SHARDS).map(move |shard| ((first + shard) % SHARDS, i64::from(SHARDS - shard)))
}

/// Of `all`, which are in an order that stays, those whose turn it is, at most `most`; and the others. As long as they stay
/// the same, everyone has had a turn after as many as it takes.
pub fn window<T>(mut all: Vec<T>, most: usize, turn: u64) -> (Vec<T>, Vec<T>) {
    if let Some(offset) = (u128::from(turn) * most as u128).checked_rem(all.len() as u128) {
        all.rotate_left(offset as usize);
    }
    let others = all.split_off(most.min(all.len()));
    (all, others)
}

/// `all` from another one on at each turn.
pub fn rotated<T>(mut all: Vec<T>, turn: u64) -> Vec<T> {
    if let Some(offset) = u128::from(turn).checked_rem(all.len() as u128) {
        all.rotate_left(offset as usize);
    }
    all
}

/// What is in order by tenants, taking turns among them: the first of each, then the second of each. `tenant` says whose a
/// thing is.
pub fn in_turns<T, K: Ord>(all: Vec<T>, tenant: impl Fn(&T) -> K) -> Vec<T> {
    let mut seen = BTreeMap::<K, u64>::new();
    let mut placed: Vec<(u64, T)> = all
        .into_iter()
        .map(|thing| {
            let place = seen.entry(tenant(&thing)).or_default();
            *place += 1;
            (*place, thing)
        })
        .collect();
    placed.sort_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, thing)| thing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).expect("a time")
    }

    #[test]
    fn over_sixteen_minutes_every_shard_comes_first_once() {
        let start = at(1_795_322_388_123);
        let orders = (0..i64::from(SHARDS)).map(|minute| shards(turn(start + SignedDuration::from_mins(minute))));
        let mut first = BTreeSet::new();
        for order in orders {
            let order: Vec<(u8, i64)> = order.collect();
            first.insert(order[0].0);
            assert_eq!(order.iter().map(|(shard, _)| *shard).collect::<BTreeSet<_>>().len(), usize::from(SHARDS));
            assert_eq!(order.iter().map(|(_, left)| *left).collect::<Vec<_>>(), (1..=16).rev().collect::<Vec<_>>());
        }
        assert_eq!(first.len(), usize::from(SHARDS));
    }

    proptest! {
        #[test]
        fn a_phase_that_is_cut_short_leaves_the_others_their_share(length in 0..900_000_i64, slow in 0..6_usize) {
            let (start, until) = (at(0), at(length));
            let whole: i64 = Phase::ALL.iter().map(|phase| phase.weight()).sum();
            let mut now = start;
            for (index, phase) in Phase::ALL.into_iter().enumerate() {
                let end = phase.until(now, until);
                prop_assert!(end >= now && end <= until);
                // Whoever comes before and takes all that it may, what is left is at least the own share.
                let share = length * phase.weight() / whole;
                prop_assert!(end.duration_since(now).as_millis() + 5 >= i128::from(share), "{:?}", phase);
                now = if index <= slow { end } else { now };
            }
            prop_assert_eq!(Phase::Purge.until(now, until), until);
        }

        #[test]
        fn everybody_has_had_a_turn_after_as_many_as_it_takes(count in 1..200_usize, most in 1..50_usize, start: u32) {
            let mut had = BTreeSet::new();
            for turn in 0..count.div_ceil(most) as u64 {
                let (mine, others) = window((0..count).collect(), most, u64::from(start) + turn);
                prop_assert_eq!((mine.len(), mine.len() + others.len()), (most.min(count), count));
                had.extend(mine);
            }
            prop_assert_eq!(had.len(), count);
        }

        #[test]
        fn nobody_waits_for_a_tenants_second_while_it_is_its_first(tenants in prop::collection::vec(0..5_u8, 0..60)) {
            let all: Vec<(usize, u8)> = tenants.into_iter().enumerate().collect();
            let turns = in_turns(all.clone(), |(_, tenant)| *tenant);
            prop_assert_eq!(turns.iter().collect::<BTreeSet<_>>(), all.iter().collect::<BTreeSet<_>>());
            for (index, (place, tenant)) in turns.iter().enumerate() {
                let before = |of: u8| turns[..index].iter().filter(|(_, tenant)| *tenant == of).count();
                let (mine, of_all) = (before(*tenant), |of: u8| all.iter().filter(|(_, tenant)| *tenant == of).count());
                prop_assert!((0..5).all(|other| before(other) >= mine.min(of_all(other))));
                let earlier = turns[..index].iter().filter(|(_, other)| other == tenant);
                prop_assert!(earlier.into_iter().all(|(earlier, _)| earlier < place), "each tenant's in their order");
            }
        }
    }
}
