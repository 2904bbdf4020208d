//! Read what is left of the budgets that a tenant's runs are under.

use crate::budget::NanoUsd;
use crate::caller::Caller;
use crate::catalog::{QuotaKey, SettingsKey, Wanted};
use crate::flow::{Answer, Refusal, find_item};
use crate::governor::quota::{Budget, Period, QuotaRule};
use crate::id::{ComputeNodeKey, UserId};
use crate::limits;
use crate::operator::ComputeNode;
use crate::ports::{ManageOperator, ReadCatalog};
use crate::together::both;
use jiff::Timestamp;

/// What may be spent, and what runs have drawn of it: what they spent, and what they have set aside to spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purse {
    pub most: NanoUsd,
    pub drawn: NanoUsd,
}

impl Purse {
    /// What runs may still draw.
    pub const fn left(&self) -> NanoUsd {
        NanoUsd(self.most.0.saturating_sub(self.drawn.0))
    }
}

/// How a budget stands in its present period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetState {
    /// `None` for the budget of the tenant itself, which holds wherever its runs execute.
    pub compute_node: Option<ComputeNodeKey>,
    pub period: Period,
    /// When the next period begins, with nothing drawn.
    pub ends_at: Timestamp,
    /// Of all together; `None` where the budget does not say.
    pub all: Option<Purse>,
    /// Of the user that was asked for; `None` where none was, or the budget does not say.
    pub user: Option<Purse>,
}

/// The budgets of the caller's tenant, and of the compute nodes that it may use; with those of one of its users.
///
/// # Errors
/// `Store`.
pub async fn read_budgets<S: ReadCatalog + ManageOperator>(
    store: &S,
    caller: &Caller,
    user: Option<&UserId>,
    now: Timestamp,
) -> Answer<Vec<BudgetState>> {
    let tenant = &caller.tenant;
    let settings = SettingsKey(tenant.clone());
    let (settings, nodes) = both(find_item(store, &settings), usable(store, caller)).await;
    let mut budgets: Vec<(Option<ComputeNodeKey>, Budget)> = Vec::new();
    budgets.extend(settings?.and_then(|settings| settings.budget).map(|budget| (None, budget)));
    budgets.extend(nodes?.into_iter().filter_map(|node| Some((Some(node.key), node.budget?))));
    budgets.truncate(limits::BUDGETS_TOLD);
    // The rule for all and the rule for the user, of each budget.
    let rules = |(node, budget): &(Option<ComputeNodeKey>, Budget)| {
        let of = |budget: Budget, user| match node {
            None => budget.of_tenant(tenant, user).pop(),
            Some(node) => budget.of_compute_node(node, tenant, user).pop(),
        };
        let all = of(*budget, None);
        let one = user.and_then(|user| of(Budget { max: None, ..*budget }, Some(user)));
        [all, one]
    };
    let keys = budgets.iter().flat_map(rules).flatten().map(|rule| QuotaKey::of(&rule, now));
    let found = store.read_catalog(&Wanted::default().and_all(keys)).await.map_err(Refusal::Store)?;
    let purse = |rule: QuotaRule| {
        let drawn = found.get(&QuotaKey::of(&rule, now)).map(|quota| quota.drawn);
        Purse { most: rule.most, drawn: drawn.unwrap_or_default() }
    };
    let state = |named: &(Option<ComputeNodeKey>, Budget)| {
        let [all, user] = rules(named).map(|rule| rule.map(purse));
        let (compute_node, Budget { period, .. }) = (named.0.clone(), named.1);
        BudgetState { compute_node, period, ends_at: period.end(now), all, user }
    };
    Ok(budgets.iter().map(state).collect())
}

/// The compute nodes that the caller's tenant may use.
async fn usable<S: ManageOperator>(store: &S, caller: &Caller) -> Answer<Vec<ComputeNode>> {
    let (mut nodes, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = store.list_compute_nodes(limits::PAGE_ITEMS, cursor.as_deref()).await.map_err(Refusal::Store)?;
        nodes.extend(page.items.into_iter().filter(|node| node.tenants.admits(&caller.tenant)));
        cursor = page.next;
        if cursor.is_none() {
            return Ok(nodes);
        }
    }
}
