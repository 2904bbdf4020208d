//! Budgets over runs: of a tenant, of a compute node, and of each user of either, by day or by month of UTC.
//!
//! **Invariants:** what runs have drawn on a quota in one of its periods is never more than the quota; a run spends nothing that
//! it has not drawn. So what runs spend of a quota is never more than the quota either, and no call has to ask it: a run draws a
//! tranche ahead, and gives the rest back with its end.
//!
//! Decision (2026-11-28): what was drawn counts in the period in which it was drawn, and may be spent after it: at most one tranche
//! ahead a run. A rest goes back to the latest period in which something was drawn; what is of earlier ones is of no use to
//! anybody.

use crate::budget::{MicroUsd, NanoUsd};
use crate::id::{ComputeNodeKey, InvalidId, TenantId, UserId};
use crate::limits;
use crate::place::{At, Part};
use crate::time::{from_rfc3339, rfc3339_millis};
use crate::violation::{Invalid, ViolationCode};
use jiff::Timestamp;
use jiff::tz::Offset;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;

/// How long a budget is for, by UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    Day,
    Month,
}

/// One day (`2026-11-28`) or month (`2026-11`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PeriodKey(String);

impl Period {
    pub fn at(self, now: Timestamp) -> PeriodKey {
        let chars = match self {
            Self::Day => "2026-11-28".len(),
            Self::Month => "2026-11".len(),
        };
        let mut text = rfc3339_millis(now);
        text.truncate(chars);
        PeriodKey(text)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// When the period that it is at `now` is over.
    pub fn end(self, now: Timestamp) -> Timestamp {
        let today = Offset::UTC.to_datetime(now).date();
        let last = match self {
            Self::Day => today,
            Self::Month => today.last_of_month(),
        };
        let next = last.tomorrow().ok().and_then(|day| Offset::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok());
        next.unwrap_or(Timestamp::MAX)
    }
}

impl PeriodKey {
    /// When the period begins.
    pub fn begins_at(&self) -> Option<Timestamp> {
        let first = if self.0.len() == "2026-11".len() { "-01" } else { "" };
        from_rfc3339(&format!("{}{first}T00:00:00Z", self.0))
    }
}

impl FromStr for PeriodKey {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let key = Self(text.to_owned());
        let is_period = ["2026-11-28".len(), "2026-11".len()].contains(&text.len()) && key.begins_at().is_some();
        is_period.then_some(key).ok_or(InvalidId("must be a day or a month"))
    }
}

impl fmt::Display for PeriodKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Whose spending is bounded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuotaOwner {
    Tenant(TenantId),
    TenantUser(TenantId, UserId),
    ComputeNode(ComputeNodeKey),
    /// A tenant's user on a compute node.
    ComputeNodeUser(ComputeNodeKey, TenantId, UserId),
}

impl QuotaOwner {
    /// In the words of whoever is told that nothing is left.
    pub const fn whose(&self) -> &'static str {
        match self {
            Self::Tenant(_) => "this tenant",
            Self::TenantUser(..) => "this user",
            Self::ComputeNode(_) => "everybody on this compute node",
            Self::ComputeNodeUser(..) => "this user on this compute node",
        }
    }
}

/// What may be spent, as an operator declares it of a tenant or of a compute node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    pub period: Period,
    /// By all.
    #[serde(default, rename = "maxMicroUsd", skip_serializing_if = "Option::is_none")]
    pub max: Option<MicroUsd>,
    /// By each user that runs name; runs that name none are bounded by `max` only.
    #[serde(default, rename = "perUserMaxMicroUsd", skip_serializing_if = "Option::is_none")]
    pub per_user_max: Option<MicroUsd>,
}

impl Budget {
    /// Reads what was declared, as JSON literals of US dollars, and reports what is wrong below `at`.
    pub fn read(
        period: Period,
        max: Option<&str>,
        per_user_max: Option<&str>,
        at: &At<'_>,
        invalid: &mut Invalid,
    ) -> Self {
        let mut read = |part, literal: Option<&str>| {
            let most = MicroUsd::from_usd(limits::BUDGET_USD);
            match literal.map(|literal| MicroUsd::parse(literal, most)) {
                Some(Ok(amount)) => Some(amount),
                Some(Err(error)) => {
                    invalid.add(at.part(part), error.code(), error);
                    None
                }
                None => None,
            }
        };
        let budget =
            Self { period, max: read(Part::MaxUsd, max), per_user_max: read(Part::PerUserMaxUsd, per_user_max) };
        if max.is_none() && per_user_max.is_none() {
            invalid.add(at, ViolationCode::MissingField, "must say what all, or what each user, may spend");
        }
        budget
    }

    /// The quotas of a run by the budget of its tenant.
    pub fn of_tenant(&self, tenant: &TenantId, user: Option<&UserId>) -> Vec<QuotaRule> {
        let own = QuotaOwner::Tenant(tenant.clone());
        self.rules(own, user.map(|user| QuotaOwner::TenantUser(tenant.clone(), user.clone())))
    }

    /// The quotas of a run by the budget of its compute node.
    pub fn of_compute_node(&self, node: &ComputeNodeKey, tenant: &TenantId, user: Option<&UserId>) -> Vec<QuotaRule> {
        let own = QuotaOwner::ComputeNode(node.clone());
        let of_user = |user: &UserId| QuotaOwner::ComputeNodeUser(node.clone(), tenant.clone(), user.clone());
        self.rules(own, user.map(of_user))
    }

    /// The quota of one of these; `None` where nothing is said of such.
    pub fn rule(&self, owner: &QuotaOwner) -> Option<QuotaRule> {
        let most = match owner {
            QuotaOwner::Tenant(_) | QuotaOwner::ComputeNode(_) => self.max,
            QuotaOwner::TenantUser(..) | QuotaOwner::ComputeNodeUser(..) => self.per_user_max,
        };
        Some(QuotaRule { owner: owner.clone(), period: self.period, most: most?.into() })
    }

    fn rules(&self, own: QuotaOwner, of_user: Option<QuotaOwner>) -> Vec<QuotaRule> {
        let owners = [Some(own), of_user].into_iter().flatten();
        owners.filter_map(|owner| self.rule(&owner)).collect()
    }
}

/// A quota on which a run draws.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaRule {
    pub owner: QuotaOwner,
    pub period: Period,
    pub most: NanoUsd,
}

/// US dollars that a run may draw ahead, whatever the quota.
const AHEAD: NanoUsd = NanoUsd(1_000_000_000);

impl QuotaRule {
    /// What a run draws at once that needs so much: what it needs, and ahead of that the larger of 1 USD and a twentieth of the
    /// quota, but no more than its own cap lets it spend.
    pub fn tranche(&self, needed: NanoUsd, of_use: NanoUsd) -> NanoUsd {
        let ahead = AHEAD.0.max(self.most.0 / 20);
        NanoUsd(needed.0.saturating_add(ahead).min(of_use.0).max(needed.0))
    }
}

/// What is written of a quota in one of its periods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// By runs, less what they have given back. Below 0 never, and above the quota only where costs came after their run had
    /// given its rest back.
    pub drawn: NanoUsd,
}

impl Quota {
    pub fn left(&self, most: NanoUsd) -> NanoUsd {
        NanoUsd(most.0.saturating_sub(self.drawn.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Field;

    #[test]
    fn periods_are_days_and_months_of_utc() {
        for (time, day, month) in [
            ("2026-11-28T00:00:00Z", "2026-11-28", "2026-11"),
            ("2026-11-28T23:59:59.999999Z", "2026-11-28", "2026-11"),
            ("2026-11-30T23:59:59-01:00", "2026-12-01", "2026-12"),
        ] {
            let at = time.parse().expect("a time");
            assert_eq!((Period::Day.at(at).to_string(), Period::Month.at(at).to_string()), (day.into(), month.into()));
        }
    }

    #[test]
    fn a_period_ends_where_the_next_begins() {
        for (time, day, month) in [
            ("2026-11-28T00:00:00Z", "2026-11-29T00:00:00Z", "2026-12-01T00:00:00Z"),
            ("2026-12-31T23:59:59.999999999Z", "2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("2028-02-28T12:00:00Z", "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"),
        ] {
            let at: Timestamp = time.parse().expect("a time");
            for (period, end) in [(Period::Day, day), (Period::Month, month)] {
                let end: Timestamp = end.parse().expect("a time");
                assert_eq!(period.end(at), end, "{period:?} {time}");
                assert_ne!(period.at(end), period.at(at));
                assert_eq!(period.at(end - jiff::SignedDuration::from_nanos(1)), period.at(at));
            }
        }
        assert_eq!(Period::Month.end(Timestamp::MAX), Timestamp::MAX);
    }

    #[test]
    fn a_run_draws_on_each_quota_that_its_budgets_name() {
        let (tenant, user): (TenantId, UserId) = ("acme".parse().expect("one"), "ann@acme".parse().expect("one"));
        let node: ComputeNodeKey = "shared".parse().expect("one");
        let budget = |max: Option<u64>, per_user: Option<u64>| Budget {
            period: Period::Day,
            max: max.map(MicroUsd::from_usd),
            per_user_max: per_user.map(MicroUsd::from_usd),
        };
        let owners =
            |rules: Vec<QuotaRule>| rules.into_iter().map(|rule| (rule.owner, rule.most.0)).collect::<Vec<_>>();
        let (usd, own) = (1_000_000_000, QuotaOwner::Tenant(tenant.clone()));
        let of_user = QuotaOwner::TenantUser(tenant.clone(), user.clone());
        let both = budget(Some(10), Some(2));
        assert_eq!(owners(both.of_tenant(&tenant, Some(&user))), [(own.clone(), 10 * usd), (of_user.clone(), 2 * usd)]);
        assert_eq!(owners(both.of_tenant(&tenant, None)), [(own, 10 * usd)]);
        assert_eq!(owners(budget(None, Some(2)).of_tenant(&tenant, Some(&user))), [(of_user, 2 * usd)]);
        assert_eq!(budget(None, Some(2)).of_tenant(&tenant, None), []);
        let on_node = QuotaOwner::ComputeNodeUser(node.clone(), tenant.clone(), user.clone());
        assert_eq!(
            owners(both.of_compute_node(&node, &tenant, Some(&user))),
            [(QuotaOwner::ComputeNode(node), 10 * usd), (on_node, 2 * usd)]
        );
    }

    #[test]
    fn what_is_wrong_with_a_budget_is_told_with_its_place() {
        for (max, per_user, places) in [
            (Some("10"), Some("0.5"), vec![]),
            (Some("0"), None, vec![]),
            (None, None, vec!["Budget"]),
            (Some("-1"), Some("1e99"), vec!["Budget.MaxUsd", "Budget.PerUserMaxUsd"]),
            (Some("\"1\""), None, vec!["Budget.MaxUsd"]),
        ] {
            let mut invalid = Invalid::default();
            Budget::read(Period::Day, max, per_user, &Field::Budget.at(), &mut invalid);
            let found: Vec<_> = invalid.violations.iter().map(|one| one.place.to_string()).collect();
            assert_eq!(found, places, "{max:?} {per_user:?}");
        }
    }

    #[test]
    fn a_tranche_is_what_is_needed_and_some_ahead() {
        let usd = 1_000_000_000;
        let rule = |most| QuotaRule {
            owner: QuotaOwner::Tenant("acme".parse().expect("one")),
            period: Period::Day,
            most: NanoUsd(most),
        };
        for (most, needed, of_use, tranche) in [
            (10 * usd, 5, u64::MAX, usd + 5),
            (100 * usd, 5, u64::MAX, 5 * usd + 5),
            (100 * usd, 5, 7, 7),
            (100 * usd, 5, 0, 5),
            (100 * usd, u64::MAX, 0, u64::MAX),
        ] {
            assert_eq!(rule(most).tranche(NanoUsd(needed), NanoUsd(of_use)).0, tranche, "{most} {needed} {of_use}");
        }
    }
}
