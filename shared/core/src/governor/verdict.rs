//! What is to be done about a call whose worst case was not set aside, told from the ledger as it was then.
//!
//! | what stands in the way | what is done |
//! |---|---|
//! | grant, key, node or an ended run | refuse, saying nothing |
//! | too little is drawn on a quota | draw, and ask again |
//! | only other calls' holds | wait and ask again, for 30 s; then lower the answer, or *throttled* |
//! | what was asked is more than will ever be left, but a shorter answer fits | lower it |
//! | even the shortest answer costs more than will ever be left | *exhausted* |
//!
//! Decision (2026-11-28): an answer that is cut short is worse than one that comes a little later. So a call that fits once others
//! have settled waits with the length it asked for, and is lowered only when waiting was in vain: rather that than the 429 at
//! which SDKs give up after three tries.
//!
//! Decision (2026-11-28): a quota on which nothing is left refuses a call as *throttled*, not as *exhausted*: other runs give
//! back what they have drawn ahead, and the next period comes. A run is stopped only by its own cap.

use crate::budget::NanoUsd;
use crate::governor::ledger::change::{Denial, Reserve};
use crate::governor::ledger::{Ledger, Standing};
use crate::governor::quota::QuotaOwner;
use crate::governor::worst_case::WorstCase;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a call waits for others to settle.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What stands in a call's way for the time being.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Obstacle {
    /// Other calls of the run hold what is left of its cap.
    Holds,
    /// As many calls of the run are under way as may be.
    Crowd,
    /// A quota of the tenant, the user or the compute node has nothing left.
    Quota,
}

impl Obstacle {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Crowd => "crowd",
            Self::Quota => "quota",
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing is said of why.
    Refuse,
    /// It would go now: things have changed since.
    Again,
    /// It needs an id of its own.
    AgainAsAnother,
    /// These allowances are short by so much. Then it is asked again.
    Draw(BTreeMap<QuotaOwner, Shortfall>),
    /// It is asked again with an answer of this length.
    Lower(u64),
    Wait(Obstacle),
    Throttle(Obstacle),
    /// It could never fit. Where the run is being stopped for this already, there is nothing to count.
    Exhausted {
        is_being_stopped: bool,
    },
}

/// By how much a run has drawn too little on a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// For the call as it is.
    pub wanted: NanoUsd,
    /// For the shortest answer of it.
    pub least: NanoUsd,
    /// What the run's cap lets it spend beyond what was drawn: more is of no use.
    pub of_use: NanoUsd,
}

/// What is known beside the ledger.
#[derive(Clone, Copy, Debug)]
pub struct Standpoint<'a> {
    pub worst: &'a WorstCase,
    /// Whether it may go on waiting.
    pub is_patient: bool,
    /// The quotas that had too little left to draw on, when they were asked last.
    pub dry: &'a BTreeSet<QuotaOwner>,
}

/// What is to be done about a reserve that was not made, by the ledger that denied it.
pub fn next(ledger: &Ledger, reserve: &Reserve, standpoint: Standpoint<'_>) -> Next {
    match ledger.denies(reserve) {
        Some(Denial::NotAdmitted | Denial::Closed(Standing::Open | Standing::Closed)) => Next::Refuse,
        Some(Denial::Closed(Standing::Exhausted)) => Next::Exhausted { is_being_stopped: true },
        Some(Denial::Repeated) => Next::AgainAsAnother,
        Some(Denial::Crowded) if standpoint.is_patient => Next::Wait(Obstacle::Crowd),
        Some(Denial::Crowded) => Next::Throttle(Obstacle::Crowd),
        Some(Denial::Short) => short(ledger, standpoint),
        None => Next::Again,
    }
}

fn short(ledger: &Ledger, Standpoint { worst, is_patient, dry }: Standpoint<'_>) -> Next {
    let (most, least) = (worst.most(), worst.least());
    // A report that is being recorded may be one of calls that were recorded before.
    let held = ledger.under_way().0;
    let cap_in_the_end = NanoUsd(ledger.left_of_cap().0.saturating_add(held));
    // Where more is spent than the cap, what is held was never left in the end.
    let cap_in_the_end = ledger.cap.map_or(cap_in_the_end, |cap| NanoUsd(cap.0.saturating_sub(ledger.spent.0)));
    if least > cap_in_the_end {
        return Next::Exhausted { is_being_stopped: false };
    }
    // A quota that is not known to be dry may have what is needed.
    let now = dry.iter().map(|owner| ledger.left_of(owner)).fold(ledger.left_of_cap(), NanoUsd::min);
    let in_the_end = NanoUsd(now.0.saturating_add(held)).min(cap_in_the_end);
    if most <= now {
        return drawn(ledger, dry, most, least).map_or(Next::Again, Next::Draw);
    }
    if most <= in_the_end && held > 0 && is_patient {
        return Next::Wait(Obstacle::Holds);
    }
    if let Some(tokens) = worst.within(now) {
        return drawn(ledger, dry, worst.cost(tokens), least).map_or(Next::Lower(tokens), Next::Draw);
    }
    let obstacle = if least <= in_the_end { Obstacle::Holds } else { Obstacle::Quota };
    if is_patient { Next::Wait(obstacle) } else { Next::Throttle(obstacle) }
}

/// What has to be drawn for an amount that the cap has left.
fn drawn(
    ledger: &Ledger,
    dry: &BTreeSet<QuotaOwner>,
    wanted: NanoUsd,
    least: NanoUsd,
) -> Option<BTreeMap<QuotaOwner, Shortfall>> {
    let shortfall = |owner: &QuotaOwner| {
        let left = ledger.left_of(owner).0;
        // What is committed beyond what was drawn is owed as well.
        let drawn = ledger.allowances.get(owner).and_then(Option::as_ref).map_or(0, |allowance| allowance.drawn.0);
        let owed = ledger.committed().0.saturating_sub(drawn);
        let short_by = |amount: NanoUsd| NanoUsd(amount.0.saturating_sub(left).saturating_add(owed));
        let of_use = NanoUsd(ledger.left_of_cap().0.saturating_sub(left).saturating_add(owed));
        (wanted.0 > left).then(|| Shortfall { wanted: short_by(wanted), least: short_by(least), of_use })
    };
    let owners = ledger.allowances.keys().filter(|owner| !dry.contains(owner));
    let short: BTreeMap<_, _> = owners.filter_map(|owner| Some((owner.clone(), shortfall(owner)?))).collect();
    (!short.is_empty()).then_some(short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admitted::Tenants;
    use crate::call_id::CallId;
    use crate::governor::access::{Grant, Holder, Pass};
    use crate::governor::call::{Call, Input};
    use crate::governor::ledger::Allowance;
    use crate::governor::model::Model;
    use crate::governor::price::{Price, Rate, Rates, TierPrice};
    use crate::governor::quota::Period;
    use crate::governor::terms::ServiceTier;
    use crate::limits;
    use jiff::Timestamp;

    fn now() -> Timestamp {
        Timestamp::from_second(1_000).expect("a time")
    }

    fn pass() -> Pass {
        Pass { grant: Grant::new(1), holder: Holder::Worker, node_id: "work".parse().expect("a node") }
    }

    /// 1 nano-dollar a token: 1,000 in, and 4,000 out that can be lowered to 1,024. So it costs from 2,024 to 5,000.
    fn worst() -> WorstCase {
        let rate = Rate(1_000_000);
        let rates = Rates { input: rate, output: rate, cache_read: None, cache_write_5m: None, cache_write_1h: None };
        let tiers = BTreeMap::from([(ServiceTier::Default, TierPrice { rates, long: None })]);
        let price = Price { from: Timestamp::UNIX_EPOCH, until: None, tiers, guardrail_text_unit: None };
        let model = Model {
            key: "any".parse().expect("a key"),
            ids: BTreeSet::new(),
            tenants: Tenants::everyone(),
            context_tokens: 10_000,
            max_output_tokens: 10_000,
            counts_tokens: false,
            caches_unasked: false,
            prices: vec![price],
            updated_at: now(),
            rev: 1,
        };
        let input = Input { counted: Some(1_000), ..Input::default() };
        let call = Call { input, max_tokens: Some(4_000), ..Call::default() };
        let (worst, _) = WorstCase::of(&call, &model, now()).expect("callable");
        assert_eq!((worst.least(), worst.most()), (NanoUsd(2_024), NanoUsd(5_000)));
        worst
    }

    fn ledger(cap: u64, spent: u64, holds: &[u64]) -> Ledger {
        let nodes = BTreeMap::from([(Holder::Worker, BTreeSet::from(["work".parse().expect("a node")]))]);
        let mut ledger = Ledger::new(Grant::new(1), nodes, Some(NanoUsd(cap)));
        ledger.spent = NanoUsd(spent);
        ledger.holds =
            holds.iter().enumerate().map(|(n, hold)| (CallId::new(now(), n as u128), NanoUsd(*hold))).collect();
        ledger
    }

    fn owner(name: &str) -> QuotaOwner {
        QuotaOwner::Tenant(name.parse().expect("a tenant"))
    }

    fn drawing(mut ledger: Ledger, drawn: &[(&str, u64)]) -> Ledger {
        for (name, drawn) in drawn {
            let drawn = NanoUsd(*drawn);
            let allowance = Allowance { drawn, period: Period::Day.at(now()), drawn_in_period: drawn };
            ledger.allowances.insert(owner(name), (drawn.0 > 0).then_some(allowance));
        }
        ledger
    }

    fn verdict(ledger: &Ledger, is_patient: bool, dry: &[&str]) -> Next {
        let worst = worst();
        let reserve =
            Reserve { call_id: CallId::new(now(), u128::MAX), pass: pass(), amount: worst.most(), is_lowered: false };
        let dry = dry.iter().map(|name| owner(name)).collect();
        next(ledger, &reserve, Standpoint { worst: &worst, is_patient, dry: &dry })
    }

    #[test]
    fn a_cap_leaves_one_of_three_verdicts() {
        for (cap, spent, holds, patient, impatient) in [
            (10_000, 0, &[][..], Next::Again, Next::Again),
            (10_000, 0, &[4_000], Next::Again, Next::Again),
            // Only what others hold is in the way: it waits, and is lowered when that was in vain.
            (10_000, 0, &[4_000, 3_000], Next::Wait(Obstacle::Holds), Next::Lower(2_000)),
            (10_000, 0, &[9_000], Next::Wait(Obstacle::Holds), Next::Throttle(Obstacle::Holds)),
            (10_000, 5_000, &[2_000], Next::Wait(Obstacle::Holds), Next::Lower(2_000)),
            // It was asked for more than will ever be left: a shorter answer goes at once, if it fits.
            (10_000, 6_000, &[], Next::Lower(3_000), Next::Lower(3_000)),
            (10_000, 5_001, &[2_000], Next::Lower(1_999), Next::Lower(1_999)),
            (10_000, 6_000, &[2_000], Next::Wait(Obstacle::Holds), Next::Throttle(Obstacle::Holds)),
            (10_000, 7_976, &[], Next::Lower(1_024), Next::Lower(1_024)),
            (
                10_000,
                7_977,
                &[],
                Next::Exhausted { is_being_stopped: false },
                Next::Exhausted { is_being_stopped: false },
            ),
            (
                10_000,
                7_977,
                &[1_000],
                Next::Exhausted { is_being_stopped: false },
                Next::Exhausted { is_being_stopped: false },
            ),
            (0, 0, &[], Next::Exhausted { is_being_stopped: false }, Next::Exhausted { is_being_stopped: false }),
            // More was reported than the cap.
            (100, 200, &[], Next::Exhausted { is_being_stopped: false }, Next::Exhausted { is_being_stopped: false }),
        ] {
            let ledger = ledger(cap, spent, holds);
            let found = (verdict(&ledger, true, &[]), verdict(&ledger, false, &[]));
            assert_eq!(found, (patient, impatient), "{cap} {spent} {holds:?}");
        }
    }

    #[test]
    fn a_quota_is_drawn_on_before_anything_else_and_never_stops_a_run() {
        let rich = || ledger(100_000, 0, &[]);
        let short = |wanted, least, of_use| Shortfall {
            wanted: NanoUsd(wanted),
            least: NanoUsd(least),
            of_use: NanoUsd(of_use),
        };
        let draw =
            |short: &[(&str, Shortfall)]| Next::Draw(short.iter().map(|(name, short)| (owner(name), *short)).collect());
        for (ledger, dry, next) in [
            (drawing(rich(), &[("a", 0)]), &[][..], draw(&[("a", short(5_000, 2_024, 100_000))])),
            (drawing(rich(), &[("a", 4_000)]), &[], draw(&[("a", short(1_000, 0, 96_000))])),
            (drawing(rich(), &[("a", 4_000), ("b", 9_000)]), &[], draw(&[("a", short(1_000, 0, 96_000))])),
            (drawing(rich(), &[("a", 5_000)]), &[], Next::Again),
            // Nothing is left to draw on: what was drawn has to do, or the quota is in the way.
            (drawing(rich(), &[("a", 4_000)]), &["a"], Next::Lower(3_000)),
            (drawing(rich(), &[("a", 2_023)]), &["a"], Next::Throttle(Obstacle::Quota)),
            (drawing(rich(), &[("a", 0), ("b", 0)]), &["a"], Next::Throttle(Obstacle::Quota)),
            // With what others of the run hold of the quota, it would do.
            (drawing(self::ledger(100_000, 0, &[4_000]), &[("a", 5_000)]), &["a"], Next::Throttle(Obstacle::Holds)),
            // What was spent without having been drawn is drawn with it.
            (drawing(self::ledger(100_000, 500, &[]), &[("a", 100)]), &[], draw(&[("a", short(5_400, 2_424, 99_900))])),
            // Lowered to the cap, and drawn for that.
            (drawing(self::ledger(3_000, 0, &[]), &[("a", 0)]), &[], draw(&[("a", short(3_000, 2_024, 3_000))])),
            (drawing(self::ledger(2_000, 0, &[]), &[("a", 0)]), &[], Next::Exhausted { is_being_stopped: false }),
        ] {
            assert_eq!(verdict(&ledger, false, dry), next, "{:?} {dry:?}", ledger.allowances);
        }
    }

    #[test]
    fn who_may_not_call_is_told_nothing_whatever_the_books_say() {
        let mut foreign = ledger(0, 0, &[]);
        foreign.grant = Grant::new(2);
        assert_eq!(verdict(&foreign, true, &[]), Next::Refuse);
        assert_eq!(verdict(&ledger(0, 0, &[]).close(Standing::Closed, now()), true, &[]), Next::Refuse);
        let exhausted = ledger(0, 0, &[]).close(Standing::Exhausted, now());
        assert_eq!(verdict(&exhausted, true, &[]), Next::Exhausted { is_being_stopped: true });
    }

    #[test]
    fn a_crowd_is_waited_for() {
        let crowd = ledger(1_000_000, 0, &[1; limits::CALLS_AT_ONCE]);
        assert_eq!(verdict(&crowd, true, &[]), Next::Wait(Obstacle::Crowd));
        assert_eq!(verdict(&crowd, false, &[]), Next::Throttle(Obstacle::Crowd));
    }
}
