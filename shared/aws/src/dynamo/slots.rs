//! Counters of concurrency slots and queues, moved in the transaction that moves their run.
//!
//! **Invariant:** one write for each counter, since a transaction touches an item once.

use super::item::{Counter, Item, counted, n};
use super::keys;
use super::transact::{Refusals, Write};
use sluice_core::change::SlotChange;
use sluice_core::concurrency::{Admission, Limit, SlotScope};
use sluice_core::limits;
use sluice_core::run::Run;
use std::collections::BTreeMap;

const HAS_A_SLOT: &str = "attribute_not_exists(held) OR held < :limit";
const HAS_A_SLOT_AND_NO_QUEUE: &str = "(attribute_not_exists(held) OR held < :limit) \
    AND (attribute_not_exists(queued) OR queued <= :zero)";
const IS_FULL_AND_HAS_ROOM: &str = "(held >= :limit OR queued > :zero) \
    AND (attribute_not_exists(queued) OR queued < :most)";

/// The writes of counters in a transaction, and the scope of each.
pub(super) struct CounterWrites {
    scopes: Vec<SlotScope>,
    first: usize,
}

impl CounterWrites {
    /// Adds to `writes` what admitting `run` takes.
    pub fn admit(writes: &mut Vec<Write>, run: &Run, admission: &Admission) -> Self {
        let mut counters = Self { scopes: Vec::new(), first: writes.len() };
        let (limits, by, condition) = match admission {
            Admission::Slots(limits) => (limits.as_slice(), Counter { held: 1, queued: 0 }, HAS_A_SLOT_AND_NO_QUEUE),
            Admission::Queue(limit) => {
                (std::slice::from_ref(limit), Counter { held: 0, queued: 1 }, IS_FULL_AND_HAS_ROOM)
            }
        };
        for Limit { scope, concurrency } in limits {
            let mut write = count(run, *scope, by)
                .only_if(condition)
                .with(":limit", n(concurrency.max_concurrent_runs))
                .with(":zero", n(0));
            // A value that no expression uses is refused.
            if matches!(admission, Admission::Queue(_)) {
                write = write.with(":most", n(limits::QUEUED_RUNS));
            }
            counters.push(writes, *scope, write);
        }
        counters
    }

    /// Adds to `writes` what a change of `run` does to slots and queues.
    pub fn change(writes: &mut Vec<Write>, run: &Run, change: &SlotChange) -> Self {
        let mut moves: BTreeMap<SlotScope, (Counter, Option<u32>)> = BTreeMap::new();
        for limit in &change.taken {
            let (counter, most) = moves.entry(limit.scope).or_default();
            counter.held += 1;
            *most = Some(limit.concurrency.max_concurrent_runs);
        }
        for scope in &change.freed {
            moves.entry(*scope).or_default().0.held -= 1;
        }
        if let Some(scope) = &change.joined {
            moves.entry(*scope).or_default().0.queued += 1;
        }
        if let Some(scope) = &change.left {
            moves.entry(*scope).or_default().0.queued -= 1;
        }
        let mut counters = Self { scopes: Vec::new(), first: writes.len() };
        for (scope, (by, most)) in moves {
            let write = count(run, scope, by);
            let write = match most {
                Some(most) => write.only_if(HAS_A_SLOT).with(":limit", n(most)),
                None => write,
            };
            counters.push(writes, scope, write);
        }
        counters
    }

    fn push(&mut self, writes: &mut Vec<Write>, scope: SlotScope, write: Write) {
        self.scopes.push(scope);
        writes.push(write);
    }

    /// The scopes whose counters refused, in their order, with the counters as they are.
    pub fn refused(&self, refusals: &mut Refusals) -> Vec<(SlotScope, Option<Item>)> {
        let refused = self.scopes.iter().enumerate().map(|(at, scope)| (*scope, refusals.at(self.first + at)));
        refused.filter_map(|(scope, refusal)| Some((scope, refusal?))).collect()
    }
}

fn count(run: &Run, scope: SlotScope, by: Counter) -> Write {
    let queue = run.queue(scope);
    let (expression, values) = counted(&queue, by);
    Write::apply(keys::slots(&queue), expression).with_all(values)
}
