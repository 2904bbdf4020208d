//! How many runs of a tenant are open, as the sweep sees it.
//!
//! Decision (2026-11-27): a counter that every start and every end of a run writes would be one item in the way of all of a
//! tenant's runs. The sweep looks at every open run each minute anyway, so it counts them, and notes what it counted where it
//! comes to half of the least that may be a limit: fewer are nobody's concern. What was noted is a minute or two old: until then
//! a tenant opens as many more as it may start in that time. A sweep that was cut short has counted too few, which lets some more
//! in and keeps nobody out.

use crate::id::TenantId;
use crate::limits;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// What the sweep counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenRuns {
    pub count: u32,
    pub at: Timestamp,
}

impl OpenRuns {
    /// A count that is older says nothing: the sweep has not run, or has counted so few that it noted nothing.
    const HOLDS: SignedDuration = SignedDuration::from_mins(3);

    /// Until when it says something.
    pub fn holds_until(&self) -> Timestamp {
        self.at.saturating_add(Self::HOLDS).unwrap_or(Timestamp::MAX)
    }
}

/// Open runs by tenant, counted one by one.
#[derive(Clone, Debug, Default)]
pub struct Tally(BTreeMap<TenantId, u32>);

impl Tally {
    pub fn add(&mut self, tenant: &TenantId) {
        match self.0.get_mut(tenant) {
            Some(count) => *count = count.saturating_add(1),
            None => drop(self.0.insert(tenant.clone(), 1)),
        }
    }

    /// What is worth a note: half as many runs as may be somebody's limit, so that it is told too that they are fewer now.
    pub fn notes(self, at: Timestamp) -> impl Iterator<Item = (TenantId, OpenRuns)> {
        let least = *limits::TENANT_OPEN_RUNS.start() / 2;
        self.0
            .into_iter()
            .filter(move |(_, count)| *count >= least)
            .map(move |(tenant, count)| (tenant, OpenRuns { count, at }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_far_below_every_limit_is_not_noted() {
        let mut tally = Tally::default();
        let tenant = |name: &str| name.parse::<TenantId>().expect("a tenant");
        for (name, count) in [("few", 49), ("some", 50), ("many", 250)] {
            (0..count).for_each(|_| tally.add(&tenant(name)));
        }
        let at = Timestamp::UNIX_EPOCH;
        let notes: Vec<_> = tally.notes(at).collect();
        let note = |name, count| (tenant(name), OpenRuns { count, at });
        assert_eq!(notes, [note("many", 250), note("some", 50)]);
    }
}
