//! Calls of the engine that a sweep may make, shared out among its shards. All pure.

use super::share::window;
use crate::ports::SHARDS;
use std::mem::take;

/// Calls of one kind: how many are left, and those (runs) that could not have theirs in the turn of their shard.
#[derive(Debug)]
pub struct Asks<T> {
    /// What every shard may have at each sweep, whatever the others need.
    each: usize,
    left: u32,
    postponed: Vec<T>,
    /// Whether some had to be left to the next sweep.
    pub cut_short: bool,
}

impl<T> Asks<T> {
    pub fn most(most: u32) -> Self {
        Self { each: (most / u32::from(SHARDS)).max(1) as usize, left: most, postponed: Vec::new(), cut_short: false }
    }

    /// Of those of one shard that need such a call, which are in an order that stays, the ones whose turn it is: as many as
    /// this shard's share, where so many shards are left, itself included. The others are postponed, as long as there could
    /// still be a call for them.
    pub fn share(&mut self, all: Vec<T>, shards: i64, turn: u64) -> Vec<T> {
        let share = u64::from(self.left).div_ceil(u64::try_from(shards.max(1)).unwrap_or(1));
        let share = usize::try_from(share).unwrap_or(usize::MAX);
        let (mut mine, mut others) = window(all, self.each.min(share), turn);
        let more = share.saturating_sub(mine.len()).min(others.len());
        mine.extend(others.drain(..more));
        self.use_up(mine.len());
        let room = (self.left as usize).saturating_sub(self.postponed.len());
        self.cut_short |= others.len() > room;
        self.postponed.extend(others.into_iter().take(room));
        mine
    }

    /// Of what was postponed, those for whom calls are left.
    pub fn rest(&mut self) -> Vec<T> {
        let mut rest = take(&mut self.postponed);
        self.cut_short |= rest.len() > self.left as usize;
        rest.truncate(self.left as usize);
        self.use_up(rest.len());
        rest
    }

    fn use_up(&mut self, calls: usize) {
        self.left = self.left.saturating_sub(u32::try_from(calls).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::super::share;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn no_call_is_kept_back_while_somebody_needs_it(
            shards in prop::collection::vec(0..40_u32, usize::from(SHARDS)), most in 0..300_u32, turn in 0..1_000_u64,
        ) {
            let mut asks = Asks::most(most);
            let mut asked = BTreeSet::new();
            for (shard, left) in share::shards(turn) {
                let of_shard = (0..shards[usize::from(shard)]).map(|number| number * u32::from(SHARDS) + u32::from(shard));
                asked.extend(asks.share(of_shard.collect(), left, turn));
            }
            asked.extend(asks.rest());
            let all: u32 = shards.iter().sum();
            prop_assert_eq!(asked.len(), all.min(most) as usize);
            prop_assert_eq!(asks.cut_short, all > most);
        }

        #[test]
        fn everybody_has_had_a_turn_after_as_many_sweeps_as_it_takes(
            of_shard in 1..200_u32, most in 16..300_u32, start in 0..40_000_000_u64,
        ) {
            let mut asked = BTreeSet::new();
            let sweeps = of_shard.div_ceil(most / u32::from(SHARDS));
            for turn in start..start + u64::from(sweeps) {
                let mut asks = Asks::most(most);
                for (shard, left) in share::shards(turn) {
                    let numbers = (0..of_shard).map(|number| number * u32::from(SHARDS) + u32::from(shard));
                    asked.extend(asks.share(numbers.collect(), left, turn));
                }
            }
            prop_assert_eq!(asked.len(), (of_shard * u32::from(SHARDS)) as usize);
        }
    }
}
