//! Every change of a ledger: under which conditions it is made, and what the ledger is after it.

use super::{Allowance, Ledger, Standing};
use crate::budget::NanoUsd;
use crate::call_id::CallId;
use crate::governor::access::Pass;
use crate::governor::quota::{PeriodKey, QuotaOwner};
use crate::governor::record::{CallRecord, Outcome};
use crate::limits;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Sets the worst case of a call aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserve {
    /// One of its own for each reserve that is sent: see [`Denial::Repeated`].
    pub call_id: CallId,
    pub pass: Pass,
    pub amount: NanoUsd,
    /// Whether the call may write less than it asked for.
    pub is_lowered: bool,
}

/// Why a reserve was not made: the first reason that there is, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Denial {
    /// The grant is another one, or the holder may not call for the node.
    NotAdmitted,
    /// Nothing is granted any more; never [`Standing::Open`].
    Closed(Standing),
    /// The call has a hold already. Nobody repeats a reserve: one that came late, after its call was settled, would hold again
    /// what nobody is going to settle.
    Repeated,
    /// As many calls and reports are under way as may be.
    Crowded,
    /// Less is left than the worst case.
    Short,
}

/// Removes the hold of a call that is over, and adds what it cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settle {
    pub call_id: CallId,
    /// What is held for it. Part of the condition, so that the change of what is left is known without a read.
    pub hold: NanoUsd,
    pub cost: NanoUsd,
    pub outcome: Outcome,
}

impl From<&CallRecord> for Settle {
    fn from(record: &CallRecord) -> Self {
        let CallRecord { call_id, held, cost, outcome, .. } = record;
        Self { call_id: *call_id, hold: *held, cost: *cost, outcome: *outcome }
    }
}

/// Counts a call that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    pub pass: Pass,
    /// Whether it could never have fit.
    pub is_exhausted: bool,
}

/// What the calls of a report add to a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportTotal {
    pub cost: NanoUsd,
    pub calls: u64,
    /// The cap of the ledger.
    pub cap: Option<NanoUsd>,
}

impl ReportTotal {
    /// What may be spent before it, where the cap is to hold after it; below nothing where it costs more than the cap by itself.
    pub fn room(&self) -> Option<i128> {
        self.cap.map(|cap| i128::from(cap.0) - i128::from(self.cost.0))
    }
}

/// Counts a report whose calls are recorded: removes its hold, and adds what they cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountReport {
    pub report_id: CallId,
    /// What is held for it. Part of the condition, as in [`Settle`].
    pub held: NanoUsd,
    /// By its receipt: what was held, or nothing where it was given up.
    pub total: ReportTotal,
}

/// Why a report was not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncounted {
    /// It was counted before.
    NotUnderWay,
    /// It takes an open ledger above its cap: with it the run has to be stopped.
    Above,
}

/// What was reported of a run before there was one ledger for reported and governed calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Earlier {
    pub calls: u64,
    pub cost: NanoUsd,
}

/// Draws on quotas: on all of them or on none, in one transaction with the quotas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draw {
    pub parts: BTreeMap<QuotaOwner, DrawPart>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrawPart {
    pub period: PeriodKey,
    pub amount: NanoUsd,
    /// The quota itself: with the amount, no more may be drawn in the period.
    pub most: NanoUsd,
}

/// Gives back to a quota what was drawn and is not needed, or takes from it what was spent without having been drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    pub owner: QuotaOwner,
    /// What the run had drawn; part of the condition, so that a balance is made once.
    pub drawn: NanoUsd,
    /// What it has spent: what it will have drawn.
    pub spent: NanoUsd,
    pub period: PeriodKey,
    /// What the quota of the period gets back.
    pub back: NanoUsd,
    /// What the quota of the period is charged beside.
    pub more: NanoUsd,
}

impl Ledger {
    /// Why the reserve cannot be made.
    pub fn denies(&self, reserve: &Reserve) -> Option<Denial> {
        if !self.admits(&reserve.pass) {
            return Some(Denial::NotAdmitted);
        }
        if !self.is_open() {
            return Some(Denial::Closed(self.standing));
        }
        if self.holds.contains_key(&reserve.call_id) {
            return Some(Denial::Repeated);
        }
        if self.holds.len() + self.reports.len() >= limits::CALLS_AT_ONCE {
            return Some(Denial::Crowded);
        }
        (reserve.amount > self.left()).then_some(Denial::Short)
    }

    /// # Errors
    /// Why it cannot be made.
    pub fn reserve(&self, reserve: &Reserve) -> Result<Self, Denial> {
        match self.denies(reserve) {
            Some(denial) => Err(denial),
            None => Ok(self.holding(reserve)),
        }
    }

    /// The ledger with the hold, whatever its conditions say.
    pub fn holding(&self, reserve: &Reserve) -> Self {
        let mut next = self.clone();
        next.holds.insert(reserve.call_id, reserve.amount);
        next.counts.lowered += u64::from(reserve.is_lowered);
        next.sweep_at = next.sweep_at.or(Some(reserve.call_id.lease_end()));
        next
    }

    /// `None` where the hold is not there any more, or is another one: the call was settled before.
    pub fn settle(&self, settle: &Settle) -> Option<Self> {
        if self.holds.get(&settle.call_id) != Some(&settle.hold) {
            return None;
        }
        let mut next = self.clone();
        next.holds.remove(&settle.call_id);
        next.spent = plus(next.spent, settle.cost);
        match settle.outcome {
            Outcome::NotRun => {}
            Outcome::Used => next.counts.calls += 1,
            Outcome::Lost => {
                next.counts.calls += 1;
                next.counts.lost += 1;
                next.lost = plus(next.lost, settle.cost);
            }
        }
        next.counts.breaches += u64::from(settle.cost > settle.hold);
        Some(next)
    }

    /// # Errors
    /// [`Denial::NotAdmitted`], [`Denial::Closed`].
    pub fn tally(&self, tally: &Tally) -> Result<Self, Denial> {
        if !self.admits(&tally.pass) {
            return Err(Denial::NotAdmitted);
        }
        if !self.is_open() {
            return Err(Denial::Closed(self.standing));
        }
        let mut next = self.clone();
        next.counts.refused += 1;
        next.counts.exhausted += u64::from(tally.is_exhausted);
        Ok(next)
    }

    /// The ledger on which a report has begun whose calls cost so much: they were made, so that nothing stands against it.
    #[must_use]
    pub fn begin_report(&self, report_id: CallId, cost: NanoUsd) -> Self {
        let mut next = self.clone();
        next.reports.insert(report_id, cost);
        next.reports_rev += 1;
        next.sweep_at = next.sweep_at.or(Some(report_id.lease_end()));
        next
    }

    /// `stopped_at`: the same write stops the run, because it spends more than it may.
    ///
    /// # Errors
    /// Why it was not counted.
    pub fn count_report(&self, count: &CountReport, stopped_at: Option<Timestamp>) -> Result<Self, Uncounted> {
        if self.reports.get(&count.report_id) != Some(&count.held) {
            return Err(Uncounted::NotUnderWay);
        }
        let mut next = self.adding(&count.total, stopped_at).ok_or(Uncounted::Above)?;
        next.reports.remove(&count.report_id);
        Ok(next)
    }

    /// The ledger with a report that was never under way: the write that counts it records its calls. It is looked at once more,
    /// as after a report that was. `None` where it takes an open ledger above its cap, and nothing stops the run with it.
    pub fn count_at_once(&self, report_id: CallId, total: &ReportTotal, stopped_at: Option<Timestamp>) -> Option<Self> {
        let next = self.adding(total, stopped_at)?;
        Some(Self { sweep_at: next.sweep_at.or(Some(report_id.lease_end())), ..next })
    }

    /// The ledger with what a report cost.
    fn adding(&self, total: &ReportTotal, stopped_at: Option<Timestamp>) -> Option<Self> {
        if self.is_stopped_by(total) && stopped_at.is_none() {
            return None;
        }
        let mut next = self.clone();
        next.reports_rev += 1;
        next.spent = plus(next.spent, total.cost);
        next.counts.calls += total.calls;
        Some(match stopped_at {
            Some(now) => next.close(Standing::Exhausted, now),
            None => next,
        })
    }

    /// Whether a report takes it above its cap while it is open: with that the run has to be stopped.
    pub fn is_stopped_by(&self, total: &ReportTotal) -> bool {
        self.is_open() && total.room().is_some_and(|room| i128::from(self.spent.0) > room)
    }

    /// The ledger that counts as well what was reported before there was one for both; `None` where it does already.
    pub fn take_over(&self, earlier: &Earlier) -> Option<Self> {
        let mut next = Self { took_over: true, reports_rev: self.reports_rev + 1, ..self.clone() };
        next.spent = plus(next.spent, earlier.cost);
        next.counts.calls += earlier.calls;
        (!self.took_over).then_some(next)
    }

    /// The ledger of a run that is being stopped or has ended. A closed one stays so. It is looked at at once: what was drawn
    /// ahead goes back then, and not at the end of a lease.
    #[must_use]
    pub fn close(&self, standing: Standing, now: Timestamp) -> Self {
        Self { standing: self.standing.max(standing), sweep_at: Some(now), ..self.clone() }
    }

    /// `None` where it is closed.
    pub fn draw(&self, draw: &Draw) -> Option<Self> {
        if !self.is_open() {
            return None;
        }
        let mut next = self.clone();
        for (owner, part) in &draw.parts {
            let before = self.allowances.get(owner)?.clone();
            let (drawn, in_period) = match before {
                Some(before) if before.period == part.period => (before.drawn, before.drawn_in_period),
                Some(before) => (before.drawn, NanoUsd(0)),
                None => (NanoUsd(0), NanoUsd(0)),
            };
            let allowance = Allowance {
                drawn: plus(drawn, part.amount),
                period: part.period.clone(),
                drawn_in_period: plus(in_period, part.amount),
            };
            next.allowances.insert(owner.clone(), Some(allowance));
        }
        Some(next)
    }

    /// What is owed between a closed ledger on which nothing is held and its quotas.
    pub fn balances(&self) -> Vec<Balance> {
        if self.is_open() || !self.is_idle() {
            return Vec::new();
        }
        let balance = |(owner, allowance): (&QuotaOwner, &Option<Allowance>)| {
            let allowance = allowance.as_ref()?;
            let rest = allowance.drawn.0.saturating_sub(self.spent.0);
            let balance = Balance {
                owner: owner.clone(),
                drawn: allowance.drawn,
                spent: self.spent,
                period: allowance.period.clone(),
                back: NanoUsd(rest.min(allowance.drawn_in_period.0)),
                more: NanoUsd(self.spent.0.saturating_sub(allowance.drawn.0)),
            };
            (allowance.drawn != self.spent).then_some(balance)
        };
        self.allowances.iter().filter_map(balance).collect()
    }

    /// `None` where it was made before, or something has happened since.
    pub fn balance(&self, balance: &Balance) -> Option<Self> {
        let is_quiet = !self.is_open() && self.is_idle() && self.spent == balance.spent;
        let allowance = self.allowances.get(&balance.owner)?.as_ref();
        let allowance = allowance.filter(|allowance| is_quiet && allowance.drawn == balance.drawn)?;
        let in_period = allowance.drawn_in_period.0.saturating_sub(balance.back.0).saturating_add(balance.more.0);
        let settled =
            Allowance { drawn: balance.spent, period: allowance.period.clone(), drawn_in_period: NanoUsd(in_period) };
        let mut next = self.clone();
        next.allowances.insert(balance.owner.clone(), Some(settled));
        Some(next)
    }

    /// The ledger once it was looked after as it was `seen`: it is looked at next at the end of its earliest lease, or no more where
    /// nothing is held. `None` where something has happened since that would be missed then.
    pub fn swept(&self, seen: &Self) -> Option<Self> {
        let next = seen.next_sweep();
        let is_as_seen = self.standing == seen.standing
            && match next {
                Some(_) => !self.is_idle(),
                None => self.is_idle() && self.spent == seen.spent,
            };
        is_as_seen.then(|| Self { sweep_at: next, ..self.clone() })
    }

    /// When somebody has to look at it again, once the holds that are overdue are settled: at the end of the earliest lease. Only
    /// where nothing is held may it be never.
    pub fn next_sweep(&self) -> Option<Timestamp> {
        self.holds.keys().chain(self.reports.keys()).map(|id| id.lease_end()).min()
    }
}

fn plus(one: NanoUsd, other: NanoUsd) -> NanoUsd {
    NanoUsd(one.0.saturating_add(other.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call_id::LEASE;
    use crate::governor::access::{Grant, Holder};
    use crate::governor::quota::Period;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn id(number: u128) -> CallId {
        CallId::new(at(number as i64), number)
    }

    fn holder() -> Holder {
        Holder::Processor("writer".parse().expect("a key"))
    }

    fn pass() -> Pass {
        Pass { grant: Grant::new(1), holder: holder(), node_id: "work".parse().expect("a node") }
    }

    fn owner() -> QuotaOwner {
        QuotaOwner::Tenant("acme".parse().expect("a tenant"))
    }

    fn ledger(cap: Option<u64>) -> Ledger {
        let nodes = BTreeMap::from([
            (holder(), BTreeSet::from(["work".parse().expect("a node")])),
            (Holder::Worker, BTreeSet::from(["ask".parse().expect("a node")])),
        ]);
        Ledger::new(Grant::new(1), nodes, cap.map(NanoUsd))
    }

    fn reserve(number: u128, amount: u64) -> Reserve {
        Reserve { call_id: id(number), pass: pass(), amount: NanoUsd(amount), is_lowered: false }
    }

    fn settle(number: u128, hold: u64, cost: u64) -> Settle {
        Settle { call_id: id(number), hold: NanoUsd(hold), cost: NanoUsd(cost), outcome: Outcome::Used }
    }

    fn total(cost: u64, cap: Option<u64>) -> ReportTotal {
        ReportTotal { cost: NanoUsd(cost), calls: 1, cap: cap.map(NanoUsd) }
    }

    fn count(number: u128, cost: u64, cap: Option<u64>) -> CountReport {
        CountReport { report_id: id(number), held: NanoUsd(cost), total: total(cost, cap) }
    }

    fn draw(day: i64, amount: u64) -> Draw {
        let part = DrawPart { period: Period::Day.at(at(day * 86_400)), amount: NanoUsd(amount), most: NanoUsd(1_000) };
        Draw { parts: BTreeMap::from([(owner(), part)]) }
    }

    #[test]
    fn a_worst_case_is_held_where_everything_fits() {
        let held = ledger(Some(100)).reserve(&reserve(1, 100)).expect("exactly the cap is within it");
        assert_eq!((held.held(), held.left(), held.sweep_at), (NanoUsd(100), NanoUsd(0), Some(id(1).lease_end())));
        let later = ledger(None).reserve(&reserve(5, 7)).expect("no cap").reserve(&reserve(9, u64::MAX)).expect("none");
        assert_eq!(later.sweep_at, Some(id(5).lease_end()), "the first hold says when");
        let lowered = Reserve { is_lowered: true, ..reserve(1, 1) };
        assert_eq!(ledger(None).reserve(&lowered).expect("held").counts.lowered, 1);
    }

    #[test]
    fn every_condition_denies_and_says_so() {
        let elsewhere = |change: fn(&mut Pass)| {
            let mut reserve = reserve(2, 1);
            change(&mut reserve.pass);
            reserve
        };
        let full = (0..100).fold(ledger(Some(1_000)), |ledger, number| ledger.holding(&reserve(number + 100, 1)));
        let holding = ledger(Some(100)).holding(&reserve(1, 60));
        let undrawn = Ledger { allowances: BTreeMap::from([(owner(), None)]), ..ledger(Some(100)) };
        for (ledger, reserve, denial) in [
            (ledger(Some(100)), elsewhere(|pass| pass.grant = Grant::new(2)), Denial::NotAdmitted),
            (ledger(Some(100)), elsewhere(|pass| pass.holder = Holder::Worker), Denial::NotAdmitted),
            (
                ledger(Some(100)),
                elsewhere(|pass| pass.holder = Holder::Processor("other".parse().expect("a key"))),
                Denial::NotAdmitted,
            ),
            (ledger(Some(100)), elsewhere(|pass| pass.node_id = "ask".parse().expect("a node")), Denial::NotAdmitted),
            (ledger(Some(100)).close(Standing::Exhausted, at(9)), reserve(2, 1), Denial::Closed(Standing::Exhausted)),
            (ledger(Some(100)).close(Standing::Closed, at(9)), reserve(2, 1), Denial::Closed(Standing::Closed)),
            (holding.clone(), reserve(1, 1), Denial::Repeated),
            (full, reserve(2, 1), Denial::Crowded),
            (holding, reserve(2, 41), Denial::Short),
            (ledger(Some(0)), reserve(2, 1), Denial::Short),
            (undrawn, reserve(2, 1), Denial::Short),
        ] {
            assert_eq!(ledger.reserve(&reserve).map(|_| ()), Err(denial));
        }
        let worker = Pass { holder: Holder::Worker, node_id: "ask".parse().expect("a node"), ..pass() };
        assert!(ledger(None).admits(&worker));
    }

    #[test]
    fn a_call_is_settled_once_however_often_it_is_tried() {
        let held = ledger(Some(100)).reserve(&reserve(1, 60)).expect("held");
        let settled = held.settle(&settle(1, 60, 25)).expect("settled");
        assert_eq!((settled.spent, settled.held(), settled.counts.calls), (NanoUsd(25), NanoUsd(0), 1));
        assert_eq!(settled.settle(&settle(1, 60, 25)), None);
        assert_eq!(held.settle(&settle(2, 60, 25)), None, "another call");
        assert_eq!(held.settle(&settle(1, 59, 25)), None, "another hold");
    }

    #[test]
    fn each_outcome_counts_as_what_it_is() {
        let held = ledger(Some(100)).reserve(&reserve(1, 60)).expect("held");
        let of = |outcome, cost| held.settle(&Settle { outcome, ..settle(1, 60, cost) }).expect("settled");
        let (used, lost, not_run) = (of(Outcome::Used, 61), of(Outcome::Lost, 60), of(Outcome::NotRun, 0));
        assert_eq!((used.counts.calls, used.counts.breaches, used.spent), (1, 1, NanoUsd(61)));
        assert_eq!((lost.counts.calls, lost.counts.lost, lost.lost, lost.spent), (1, 1, NanoUsd(60), NanoUsd(60)));
        assert_eq!((not_run.counts, not_run.spent), (held.counts, NanoUsd(0)));
    }

    #[test]
    fn refusals_are_counted_of_those_only_who_may_call() {
        let tally = |pass| Tally { pass, is_exhausted: true };
        let counted = ledger(Some(1)).tally(&tally(pass())).expect("counted");
        assert_eq!((counted.counts.refused, counted.counts.exhausted), (1, 1));
        let stranger = Pass { grant: Grant::new(2), ..pass() };
        assert_eq!(ledger(Some(1)).tally(&tally(stranger)), Err(Denial::NotAdmitted));
        let closed = ledger(Some(1)).close(Standing::Closed, at(9));
        assert_eq!(closed.tally(&tally(pass())), Err(Denial::Closed(Standing::Closed)));
        assert_eq!(closed.close(Standing::Exhausted, at(9)).standing, Standing::Closed, "what has ended stays so");
    }

    #[test]
    fn a_run_draws_ahead_and_gives_the_rest_back_with_its_end() {
        let quota = Ledger { allowances: BTreeMap::from([(owner(), None)]), ..ledger(Some(100)) };
        let drawn = quota.draw(&draw(1, 30)).expect("open").draw(&draw(1, 20)).expect("open");
        let next_day = drawn.draw(&draw(2, 15)).expect("open");
        let allowance = next_day.allowances[&owner()].clone().expect("drawn");
        assert_eq!((allowance.drawn, allowance.drawn_in_period), (NanoUsd(65), NanoUsd(15)));
        assert_eq!(next_day.left(), NanoUsd(65));
        let spent = next_day.reserve(&reserve(1, 40)).expect("fits").settle(&settle(1, 40, 10)).expect("settled");
        assert_eq!(spent.balances(), [], "it is open");
        assert_eq!(spent.holding(&reserve(2, 1)).close(Standing::Closed, at(9)).balances(), [], "something is held");
        let closed = spent.close(Standing::Closed, at(9));
        let [balance] = closed.balances().try_into().expect("one");
        assert_eq!((balance.back, balance.more), (NanoUsd(15), NanoUsd(0)), "no more than of the latest period");
        let balanced = closed.balance(&balance).expect("balanced");
        assert_eq!((balanced.balances(), balanced.balance(&balance)), (vec![], None));
        assert_eq!(closed.draw(&draw(2, 1)), None);
        // What is reported after the end is charged.
        let begun = balanced.begin_report(id(9), NanoUsd(7));
        assert_eq!(begun.balances(), [], "it is not counted yet");
        let late = begun.count_report(&count(9, 7, Some(100)), None).expect("counted");
        let [balance] = late.balances().try_into().expect("one");
        assert_eq!((balance.back, balance.more), (NanoUsd(0), NanoUsd(7)));
        assert_eq!(late.balance(&balance).expect("balanced").balances(), []);
        let swept = balanced.swept(&balanced).expect("as it was seen");
        let late = swept.count_at_once(id(9), &total(7, Some(100)), None).expect("counted");
        assert_eq!((late.balances(), swept.sweep_at, late.sweep_at), (vec![balance], None, Some(id(9).lease_end())));
    }

    #[test]
    fn a_report_is_counted_once_and_seen_by_reserves_from_its_beginning() {
        let begun = ledger(Some(100)).begin_report(id(1), NanoUsd(60));
        assert_eq!(
            (begun.left(), begun.spent, begun.held(), begun.under_way()),
            (NanoUsd(40), NanoUsd(0), NanoUsd(0), NanoUsd(60))
        );
        assert_eq!(begun.reserve(&reserve(2, 41)), Err(Denial::Short));
        assert!(begun.reserve(&reserve(2, 40)).is_ok());
        let counted = begun.count_report(&count(1, 60, Some(100)), None).expect("counted");
        assert_eq!((counted.spent, counted.left(), counted.counts.calls), (NanoUsd(60), NanoUsd(40), 1));
        assert_eq!(counted.count_report(&count(1, 60, Some(100)), None), Err(Uncounted::NotUnderWay));
        let nothing = ReportTotal { cost: NanoUsd(0), calls: 0, cap: Some(NanoUsd(100)) };
        let given_up = CountReport { total: nothing, ..count(1, 60, Some(100)) };
        let given_up = begun.count_report(&given_up, None).expect("given up");
        assert_eq!((given_up.spent, given_up.left(), given_up.counts.calls), (NanoUsd(0), NanoUsd(100), 0));
        assert!(begun.reports_rev < counted.reports_rev && ledger(None).reports_rev < begun.reports_rev);
        assert_eq!(
            (begun.sweep_at, begun.next_sweep(), begun.held_until()),
            (Some(id(1).lease_end()), Some(id(1).lease_end()), Some(id(1).lease_end()))
        );
    }

    #[test]
    fn a_report_above_the_cap_is_counted_with_the_stop_alone() {
        for (cap, spent, cost, is_above) in [
            (Some(100), 0, 100, false),
            (Some(100), 0, 101, true),
            (Some(100), 40, 60, false),
            (Some(100), 40, 61, true),
            (Some(100), 101, 0, true),
            (Some(0), 0, 0, false),
            (None, 40, u64::MAX - 40, false),
        ] {
            let before = Ledger { spent: NanoUsd(spent), ..ledger(cap) };
            let begun = before.begin_report(id(1), NanoUsd(cost));
            let found = begun.count_report(&count(1, cost, cap), None).map(|after| after.spent);
            let expected = if is_above { Err(Uncounted::Above) } else { Ok(NanoUsd(spent + cost)) };
            assert_eq!(found, expected, "{spent} and {cost} of {cap:?}");
            let stopped = begun.count_report(&count(1, cost, cap), Some(at(9))).expect("with the stop");
            assert_eq!((stopped.spent, stopped.standing), (NanoUsd(spent + cost), Standing::Exhausted));
            let closed =
                begun.close(Standing::Closed, at(9)).count_report(&count(1, cost, cap), None).expect("it has ended");
            assert_eq!((closed.spent, closed.standing), (NanoUsd(spent + cost), Standing::Closed));
            // One that was never under way adds the same, under the same condition, and is seen as well.
            for (before, stopped_at) in
                [(&before, None), (&before, Some(at(9))), (&before.close(Standing::Closed, at(9)), None)]
            {
                let begun = before.begin_report(id(1), NanoUsd(cost));
                let expected = begun.count_report(&count(1, cost, cap), stopped_at).ok();
                let found = before.count_at_once(id(1), &total(cost, cap), stopped_at);
                assert!(found.as_ref().is_none_or(|found| found.reports_rev > before.reports_rev));
                let unnumbered = |ledger: Ledger| Ledger { reports_rev: 0, ..ledger };
                assert_eq!(found.map(unnumbered), expected.map(unnumbered), "{spent} and {cost} of {cap:?}");
            }
        }
    }

    #[test]
    fn a_ledger_is_looked_at_no_more_only_where_nothing_has_happened_since() {
        let open = ledger(Some(100));
        let held = open.holding(&reserve(1, 60));
        let settled = held.settle(&settle(1, 60, 25)).expect("settled");
        let closed = settled.close(Standing::Closed, at(9));
        for (what, seen, now, expected) in [
            ("nothing", &settled, &settled, Some(None)),
            ("it was closed", &settled, &closed, None),
            ("a call was made", &open, &settled, None),
            ("a call is held", &settled, &settled.holding(&reserve(2, 1)), None),
            ("a report has begun", &settled, &settled.begin_report(id(3), NanoUsd(1)), None),
            ("nothing, and one is held", &held, &held, Some(Some(id(1).lease_end()))),
            ("another is held as well", &held, &held.holding(&reserve(2, 1)), Some(Some(id(1).lease_end()))),
            ("what was held is settled", &held, &settled, None),
            ("it was closed while one is held", &held, &held.close(Standing::Exhausted, at(9)), None),
        ] {
            assert_eq!(now.swept(seen).map(|after| after.sweep_at), expected, "{what}");
        }
    }

    #[test]
    fn what_was_reported_before_is_taken_over_once() {
        let earlier = Earlier { calls: 3, cost: NanoUsd(30) };
        let taken = ledger(Some(100)).take_over(&earlier).expect("taken over");
        assert_eq!((taken.spent, taken.left(), taken.counts.calls), (NanoUsd(30), NanoUsd(70), 3));
        assert_eq!(taken.take_over(&earlier), None);
    }

    #[test]
    fn a_hold_is_overdue_at_the_end_of_its_lease() {
        let held = ledger(None).holding(&reserve(10, 1)).holding(&reserve(20, 2));
        let overdue = |second: i64| held.overdue(at(second)).map(|(_, hold)| hold.0).collect::<Vec<_>>();
        let lease = LEASE.as_secs();
        assert_eq!((overdue(lease + 9), overdue(lease + 10), overdue(lease + 20)), (vec![], vec![1], vec![1, 2]));
        assert_eq!(held.next_sweep(), Some(id(10).lease_end()));
    }

    /// One change of a ledger, whoever makes it.
    #[derive(Clone, Debug)]
    enum Step {
        Reserve(u64),
        /// Of one of the calls so far, again or not, for a share of its hold.
        Settle(usize, u64),
        Lose(usize),
        Release(usize),
        Draw(u64),
        /// Of so much.
        Begin(u64),
        /// One of the reports so far, again or not, or given up.
        Count(usize, bool),
        /// One that was never under way.
        AtOnce(u64),
        Close,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0..40_u64).prop_map(Step::Reserve),
            8 => (any::<usize>(), 0..=100_u64).prop_map(|(call, share)| Step::Settle(call, share)),
            2 => any::<usize>().prop_map(Step::Lose),
            2 => any::<usize>().prop_map(Step::Release),
            3 => (0..60_u64).prop_map(Step::Draw),
            2 => (0..40_u64).prop_map(Step::Begin),
            2 => (any::<usize>(), any::<bool>()).prop_map(|(report, is_kept)| Step::Count(report, is_kept)),
            1 => (0..40_u64).prop_map(Step::AtOnce),
            1 => Just(Step::Close),
        ]
    }

    proptest! {
        /// Whatever happens in whatever order: governed calls never take more than the cap, and what is spent is what the records of
        /// calls and the receipts of reports say.
        #[test]
        fn the_books_are_right_after_every_step(
            cap in 0..500_u64,
            has_quota in any::<bool>(),
            steps in proptest::collection::vec(step(), 0..200),
        ) {
            let mut ledger = ledger(Some(cap));
            if has_quota {
                ledger.allowances.insert(owner(), None);
            }
            // Of each call: what was held, and its record once there is one.
            let mut calls: Vec<(u64, Option<Settle>)> = Vec::new();
            // Of each report: what it cost, and what its receipt says of that once there is one.
            let mut reports: Vec<(u64, Option<u64>)> = Vec::new();
            let (mut drawn, mut closed_with) = (0, None);
            for step in steps {
                let past = |call: usize| (!calls.is_empty()).then(|| call % calls.len());
                let (call, record) = match step {
                    Step::Reserve(amount) => {
                        if let Ok(next) = ledger.reserve(&reserve(calls.len() as u128, amount)) {
                            ledger = next;
                            calls.push((amount, None));
                        }
                        (None, None)
                    }
                    Step::Settle(call, share) => {
                        let call = past(call);
                        let of = |call: usize| settle(call as u128, calls[call].0, calls[call].0 * share / 100);
                        (call, call.map(of))
                    }
                    Step::Lose(call) | Step::Release(call) => {
                        let call = past(call);
                        let is_lost = matches!(step, Step::Lose(_));
                        let of = |call: usize| {
                            let hold = calls[call].0;
                            let outcome = if is_lost { Outcome::Lost } else { Outcome::NotRun };
                            Settle { outcome, ..settle(call as u128, hold, if is_lost { hold } else { 0 }) }
                        };
                        (call, call.map(of))
                    }
                    Step::Draw(amount) => {
                        if let Some(next) = ledger.draw(&draw(1, amount)).filter(|_| has_quota) {
                            ledger = next;
                            drawn += amount;
                        }
                        (None, None)
                    }
                    Step::Begin(cost) => {
                        ledger = ledger.begin_report(id(1_000_000 + reports.len() as u128), NanoUsd(cost));
                        reports.push((cost, None));
                        (None, None)
                    }
                    Step::Count(report, is_kept) => {
                        if !reports.is_empty() {
                            let index = report % reports.len();
                            let (held, receipt) = reports[index];
                            let cost = receipt.unwrap_or(if is_kept { held } else { 0 });
                            reports[index].1 = Some(cost);
                            let total = total(cost, Some(cap));
                            let count = CountReport { total, ..count(1_000_000 + index as u128, held, Some(cap)) };
                            let counted = ledger.count_report(&count, None);
                            let counted = match counted {
                                Err(Uncounted::Above) => ledger.count_report(&count, Some(at(9))),
                                counted => counted,
                            };
                            if let Ok(next) = counted {
                                ledger = next;
                                closed_with = closed_with.or((!ledger.is_open()).then_some(calls.len()));
                            }
                        }
                        (None, None)
                    }
                    Step::AtOnce(cost) => {
                        let total = total(cost, Some(cap));
                        let report_id = id(1_000_000 + reports.len() as u128);
                        let counted = ledger.count_at_once(report_id, &total, None);
                        let stopped = || ledger.count_at_once(report_id, &total, Some(at(9)));
                        ledger = counted.or_else(stopped).expect("with a stop it is always counted");
                        closed_with = closed_with.or((!ledger.is_open()).then_some(calls.len()));
                        reports.push((cost, Some(cost)));
                        (None, None)
                    }
                    Step::Close => {
                        ledger = ledger.close(Standing::Closed, at(9));
                        closed_with = closed_with.or(Some(calls.len()));
                        (None, None)
                    }
                };
                if let Some((call, record)) = call.zip(record) {
                    // The first record of a call stands.
                    let standing = *calls[call].1.get_or_insert(record);
                    ledger = ledger.settle(&standing).unwrap_or(ledger);
                    if ledger.is_above() {
                        // A report that was counted while calls are held may have left less than these come to.
                        ledger = ledger.close(Standing::Exhausted, at(9));
                        closed_with = closed_with.or(Some(calls.len()));
                    }
                }
                let records: u64 = calls.iter().filter_map(|(_, record)| *record).map(|record| record.cost.0).sum();
                let is_counted = |at: usize| !ledger.reports.contains_key(&id(1_000_000 + at as u128));
                let counted = reports.iter().enumerate().filter(|(at, _)| is_counted(*at));
                let reported: u64 = counted.filter_map(|(_, (_, receipt))| *receipt).sum();
                prop_assert_eq!(ledger.spent.0, records + reported);
                prop_assert!(records + ledger.held().0 <= cap, "governed calls alone");
                prop_assert!(!has_quota || records + ledger.held().0 <= drawn);
                prop_assert!(ledger.spent.0 <= cap || !ledger.is_open());
                prop_assert!(closed_with.is_none_or(|held| held == calls.len()), "held after the closing");
            }
        }
    }
}
