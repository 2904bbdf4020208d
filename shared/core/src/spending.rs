//! What a run may spend, and what became of it: of calls that were reported, and of calls that were governed.

use crate::budget::{MicroUsd, NanoUsd, UsdNumber};
use crate::governor::ledger::Ledger;
use crate::governor::ledger::change::Earlier;
use crate::run::Run;
use crate::usage::{RecordedCall, UsageSums};
use serde::Serialize;
use utoipa::ToSchema;

/// What a run has used so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Of all calls that are counted, those that were reported and those that were governed.
    pub usage: UsageSums,
    /// `None` of a run from before there were such ledgers.
    pub ledger: Option<Ledger>,
    /// What was reported before there was one ledger, where that has not taken it over.
    pub earlier: Earlier,
}

impl Used {
    pub fn new(earlier: Option<Earlier>, ledger: Option<Ledger>, calls: &[RecordedCall]) -> Self {
        // The calls of a report that is being recorded are not counted yet.
        let is_counted = |recorded: &&RecordedCall| {
            let under_way = ledger.as_ref().zip(recorded.report.as_ref());
            !under_way.is_some_and(|(ledger, report)| ledger.reports.contains_key(report))
        };
        let usage = UsageSums::of(calls.iter().filter(is_counted).map(|recorded| &recorded.call));
        let has_taken_over = ledger.as_ref().is_some_and(|ledger| ledger.took_over);
        let earlier = earlier.filter(|_| !has_taken_over).unwrap_or_default();
        Self { usage, ledger, earlier }
    }

    /// In US dollars, what calls have cost.
    pub fn spent(&self) -> NanoUsd {
        let counted = self.ledger.as_ref().map_or(0, |ledger| ledger.spent.0);
        NanoUsd(self.earlier.cost.0.saturating_add(counted))
    }

    /// Whether more was spent than `cap` allows. Exactly the cap is still within it.
    pub fn exceeds(&self, cap: Option<MicroUsd>) -> bool {
        cap.is_some_and(|cap| self.spent() > NanoUsd::from(cap))
    }
}

/// A run's budget, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = RunBudget)]
#[serde(rename_all = "camelCase")]
pub struct Spending {
    /// What the run may spend at most, in US dollars, exact: the lower of its own cap and its compute node's. `null` for no cap.
    #[schema(value_type = Option<f64>, minimum = 0, required)]
    cap_usd: Option<UsdNumber>,
    /// What its calls have cost, those that were reported and those that were governed.
    #[schema(value_type = f64, minimum = 0)]
    spent_usd: UsdNumber,
    /// What is set aside for governed calls that are under way.
    #[schema(value_type = f64, minimum = 0)]
    held_usd: UsdNumber,
    /// Of what was spent, that of governed calls of which nobody knows what they used: each cost all that was set aside for it.
    #[schema(value_type = f64, minimum = 0)]
    lost_usd: UsdNumber,
    /// Calls that are over.
    calls: u64,
    /// Governed calls whose answer was held shorter than they asked for.
    clamped: u64,
    /// Governed calls that were refused.
    refused: u64,
}

impl Spending {
    pub fn of(run: &Run, used: &Used) -> Self {
        let governed = used.ledger.as_ref();
        let cap = run.spec.spending_cap().map(NanoUsd::from);
        let counts = governed.map(|ledger| ledger.counts).unwrap_or_default();
        let amount = |of: fn(&Ledger) -> NanoUsd| governed.map(of).unwrap_or_default().to_json_number();
        Self {
            cap_usd: cap.map(NanoUsd::to_json_number),
            spent_usd: used.spent().to_json_number(),
            held_usd: amount(Ledger::held),
            lost_usd: amount(|ledger| ledger.lost),
            calls: used.earlier.calls.saturating_add(counts.calls),
            clamped: counts.lowered,
            refused: counts.refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::governor::access::Grant;
    use std::collections::BTreeMap;

    #[test]
    fn only_what_is_above_the_cap_exceeds_it_whoever_told_of_it() {
        let spent = |reported: u64, counted: Option<u64>| {
            let earlier = Earlier { calls: 1, cost: NanoUsd(reported) };
            let ledger = |nano| Ledger { spent: NanoUsd(nano), ..Ledger::new(Grant::new(1), BTreeMap::new(), None) };
            Used { earlier, ledger: counted.map(ledger), ..Used::default() }
        };
        let cap = Some(MicroUsd(2));
        for (reported, governed, exceeds) in [
            (2_000, None, false),
            (2_001, None, true),
            (0, Some(2_000), false),
            (0, Some(2_001), true),
            (1_000, Some(1_000), false),
            (1_000, Some(1_001), true),
            (u64::MAX, Some(1), true),
        ] {
            assert_eq!(spent(reported, governed).exceeds(cap), exceeds, "{reported} and {governed:?}");
        }
        assert!(!spent(u64::MAX, Some(u64::MAX)).exceeds(None));
    }
}
