//! The ledger of a run's calls: one item, on which worst cases are held and costs are added, of governed calls and of reported
//! ones.
//!
//! **Invariants:** what is spent and what is held together are never more than the cap, nor than what was drawn on any quota, but
//! for a cost above its hold (recorded as it is, and counted as a breach) and for what is reported, which was spent already; a
//! hold is removed once, by one who adds the cost of its call's record; whoever adds a cost that takes an open ledger above its
//! cap stops the run; from the closing on nothing is held for a call that was not held before; a ledger is deleted only while
//! nothing is held on it, so that no record comes after it.
//!
//! A report is recorded and counted in one transaction where nobody else writes the ledger meanwhile. Where somebody does, such
//! transactions would be in each other's way, and it is counted like a call. What its calls cost is held under an id that no other
//! report has; then the calls are recorded with that id, none of them recorded before, and a receipt with them; then the hold is
//! removed and the cost is spent. The hold is the leave to add it, so that nobody adds it twice, whoever repeats whatever; and what
//! broke off in between, whoever finds the calls, or the sweep at the end of the lease, does to its end by the receipt.
//!
//! In the store, every change is one update under conditions, and none is decided on a read: what is left of the cap and of each
//! allowance is kept as a number of its own, which a reserve takes from and a settlement gives to, so that `left >= amount` is a
//! condition. The functions here are those updates, and say why one was not made from the item as it was (`ALL_OLD`).

pub mod change;

use crate::budget::NanoUsd;
use crate::call_id::CallId;
use crate::governor::access::{Grant, Holder, Pass};
use crate::governor::quota::{PeriodKey, QuotaOwner};
use crate::id::NodeId;
use crate::lifecycle::StopIntent;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

/// Whether calls may be held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    #[default]
    Open,
    /// The run is being stopped because its cap is spent.
    Exhausted,
    /// The run is being stopped for another reason, or has ended.
    Closed,
}

impl Standing {
    /// Of a run that is being stopped with this intent.
    pub const fn after_stop(intent: StopIntent) -> Self {
        match intent {
            StopIntent::BudgetExceeded => Self::Exhausted,
            StopIntent::CanceledByCaller | StopIntent::TimedOut => Self::Closed,
        }
    }
}

/// What becomes of a run of which a call could never fit into the cap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnBudgetExceeded {
    /// It is stopped.
    #[default]
    Stop,
    /// It goes on, without the call; after [`EXHAUSTED_REFUSALS`](crate::limits::EXHAUSTED_REFUSALS) of these it is stopped too.
    Refuse,
}

impl OnBudgetExceeded {
    pub fn is_stop(&self) -> bool {
        *self == Self::Stop
    }
}

/// What a run has drawn on one quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// In all periods, less what was given back.
    pub drawn: NanoUsd,
    /// The latest period in which something was drawn, and how much in that.
    pub period: PeriodKey,
    pub drawn_in_period: NanoUsd,
}

/// How often things happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that are over, and ran; reported ones with them.
    pub calls: u64,
    /// Calls that were granted with a lower limit than they asked for.
    pub lowered: u64,
    /// Calls that were refused, for whatever reason, once it was clear whose they were.
    pub refused: u64,
    /// Of these, calls that could never have fit into what is left.
    pub exhausted: u64,
    /// Calls that cost their whole hold, because nobody knows what they used.
    pub lost: u64,
    /// Calls that cost more than was held.
    pub breaches: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    pub grant: Grant,
    /// Who may call for which nodes, frozen with the run.
    pub nodes: BTreeMap<Holder, BTreeSet<NodeId>>,
    pub standing: Standing,
    /// What the run may spend at most; `None`: its calls are only counted.
    pub cap: Option<NanoUsd>,
    pub on_exceeded: OnBudgetExceeded,
    pub spent: NanoUsd,
    /// Of what is spent, what nobody knows the use of.
    pub lost: NanoUsd,
    /// The worst cases of the calls that are under way.
    pub holds: BTreeMap<CallId, NanoUsd>,
    /// What the calls of reports cost that are being recorded, by the reports' own ids.
    pub reports: BTreeMap<CallId, NanoUsd>,
    /// One more with every report that begins or is counted: who has read the same number twice has missed none in between.
    pub reports_rev: u64,
    /// Whether what was reported of the run before there was one ledger for both is counted here.
    pub took_over: bool,
    pub counts: Counts,
    /// What was drawn on each quota that the run is under, frozen with the run.
    pub allowances: BTreeMap<QuotaOwner, Option<Allowance>>,
    /// When somebody has to look at the ledger: no later than the end of the earliest lease. Set by the first hold, and by the
    /// sweep, so that holds and settlements leave it alone.
    pub sweep_at: Option<Timestamp>,
}

impl Ledger {
    /// One on which nothing has happened.
    pub fn new(grant: Grant, nodes: BTreeMap<Holder, BTreeSet<NodeId>>, cap: Option<NanoUsd>) -> Self {
        Self {
            grant,
            nodes,
            standing: Standing::Open,
            cap,
            on_exceeded: OnBudgetExceeded::Stop,
            spent: NanoUsd(0),
            lost: NanoUsd(0),
            holds: BTreeMap::new(),
            reports: BTreeMap::new(),
            reports_rev: 0,
            took_over: false,
            counts: Counts::default(),
            allowances: BTreeMap::new(),
            sweep_at: None,
        }
    }

    /// Of all calls that are under way.
    pub fn held(&self) -> NanoUsd {
        sum(self.holds.values())
    }

    /// Of all calls and reports that are under way: what of it may come back.
    pub fn under_way(&self) -> NanoUsd {
        NanoUsd(self.held().0.saturating_add(sum(self.reports.values()).0))
    }

    /// Whether nothing is held, neither of calls nor of reports.
    pub fn is_idle(&self) -> bool {
        self.holds.is_empty() && self.reports.is_empty()
    }

    /// What is spent and what is held.
    pub fn committed(&self) -> NanoUsd {
        NanoUsd(self.spent.0.saturating_add(self.under_way().0))
    }

    /// What is left of the cap for calls to come; without a cap there is no end to it.
    pub fn left_of_cap(&self) -> NanoUsd {
        self.cap.map_or(NanoUsd(u64::MAX), |cap| NanoUsd(cap.0.saturating_sub(self.committed().0)))
    }

    /// What is left of what was drawn on a quota.
    pub fn left_of(&self, owner: &QuotaOwner) -> NanoUsd {
        let drawn = self.allowances.get(owner).and_then(Option::as_ref).map_or(0, |allowance| allowance.drawn.0);
        NanoUsd(drawn.saturating_sub(self.committed().0))
    }

    /// What is left of everything together.
    pub fn left(&self) -> NanoUsd {
        self.allowances.keys().map(|owner| self.left_of(owner)).fold(self.left_of_cap(), NanoUsd::min)
    }

    pub fn admits(&self, pass: &Pass) -> bool {
        self.grant == pass.grant && self.nodes.get(&pass.holder).is_some_and(|nodes| nodes.contains(&pass.node_id))
    }

    pub fn is_open(&self) -> bool {
        self.standing == Standing::Open
    }

    /// Whether more is spent than the run may, and it goes on: whoever finds this stops it.
    pub fn is_above(&self) -> bool {
        self.is_open() && self.cap.is_some_and(|cap| self.spent > cap)
    }

    /// The holds whose lease is over, with the earliest first.
    pub fn overdue(&self, now: Timestamp) -> impl Iterator<Item = (CallId, NanoUsd)> {
        over(&self.holds, now)
    }

    /// The reports whose lease is over, with the earliest first.
    pub fn overdue_reports(&self, now: Timestamp) -> impl Iterator<Item = (CallId, NanoUsd)> {
        over(&self.reports, now)
    }

    /// Until when something is held at the latest; `None` where nothing is.
    pub fn held_until(&self) -> Option<Timestamp> {
        self.holds.keys().chain(self.reports.keys()).map(|id| id.lease_end()).max()
    }
}

fn over(holds: &BTreeMap<CallId, NanoUsd>, now: Timestamp) -> impl Iterator<Item = (CallId, NanoUsd)> {
    holds.iter().filter(move |(id, _)| id.lease_end() <= now).map(|(id, hold)| (*id, *hold))
}

fn sum<'a>(amounts: impl Iterator<Item = &'a NanoUsd>) -> NanoUsd {
    NanoUsd(amounts.fold(0, |sum, amount| sum.saturating_add(amount.0)))
}
