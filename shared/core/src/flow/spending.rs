//! Whether anything is left of the quotas that a new run would draw on.
//!
//! **Invariant:** it is asked for a new run only, before anything is written. Nothing is drawn here: a run draws with its calls,
//! so that requests at the same moment do not see each other, and the quotas hold all the same.
//!
//! Decision (2026-11-28): which items of quotas are read depends on the budgets of the tenant and of the compute node, which are read
//! with them: the process remembers the budgets and guesses by them, as it does by everything else that can change. So a run that
//! is under a quota costs no question more, unless its budget is new to the process.

use crate::catalog::{Found, QuotaKey, SettingsKey};
use crate::flow::inquiry::Known;
use crate::flow::{Answer, Refusal};
use crate::governor::quota::{Budget, QuotaRule};
use crate::id::{ComputeNodeKey, TenantId, UserId};
use jiff::{Timestamp, Unit};

/// For whom, and where, a run would spend.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spender<'a> {
    pub tenant: &'a TenantId,
    pub user: Option<&'a UserId>,
}

/// The quotas that a run is under, and what is drawn on them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spending {
    pub rules: Vec<QuotaRule>,
    /// The first of them of which nothing is left.
    empty: Option<QuotaRule>,
}

impl Spender<'_> {
    /// The quotas by the budgets of the tenant and of a compute node.
    fn rules(&self, of_tenant: Option<Budget>, node: &ComputeNodeKey, of_node: Option<Budget>) -> Vec<QuotaRule> {
        let own = of_tenant.map(|budget| budget.of_tenant(self.tenant, self.user));
        let on_node = of_node.map(|budget| budget.of_compute_node(node, self.tenant, self.user));
        own.into_iter().chain(on_node).flatten().collect()
    }

    /// What says what is drawn on the quotas of a run on this compute node, as far as its budgets are known.
    pub fn needs(&self, node: &ComputeNodeKey, known: &Known<'_>, now: Timestamp) -> Vec<QuotaKey> {
        let settings = SettingsKey(self.tenant.clone());
        let of_tenant = known.said(&settings, |settings| settings.budget, |memory| memory.budget(&settings));
        let of_node = known.said(node, |node| node.budget, |memory| memory.node_budget(node));
        let rules = self.rules(of_tenant.flatten(), node, of_node.flatten());
        rules.iter().map(|rule| QuotaKey::of(rule, now)).collect()
    }

    /// What a run on this compute node would draw on. `found` has the settings of the tenant, the node, and what there is of what
    /// that [`needs`](Self::needs).
    pub fn spending(&self, node: &ComputeNodeKey, found: &Found, now: Timestamp) -> Spending {
        let of_node = found.get(node).and_then(|node| node.budget);
        let rules = self.rules(found.settings(self.tenant).budget, node, of_node);
        let left = |rule: &QuotaRule| {
            let quota = found.get(&QuotaKey::of(rule, now)).map(|quota| *quota);
            quota.unwrap_or_default().left(rule.most)
        };
        let empty = rules.iter().find(|rule| left(rule).0 == 0).cloned();
        Spending { rules, empty }
    }
}

impl Spending {
    /// Refuses a run for which nothing is left.
    ///
    /// # Errors
    /// [`Refusal::BudgetExhausted`].
    pub(super) fn admit(&self, now: Timestamp) -> Answer<()> {
        let Some(QuotaRule { owner, period, .. }) = &self.empty else { return Ok(()) };
        let seconds = period.end(now).since((Unit::Second, now)).map_or(1, |span| span.get_seconds());
        let retry_after_seconds = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_add(1);
        Err(Refusal::BudgetExhausted { whose: owner.whose(), period: *period, retry_after_seconds })
    }
}
