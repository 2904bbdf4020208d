//! What was used: each call once, and no further than the cap.

use super::{Check, Ledger, broken};
use sluice_core::budget::NanoUsd;
use sluice_core::id::{RunId, TenantId};
use sluice_core::lifecycle::RunStatus;
use sluice_core::usage::{LlmCall, UsageCount};
use sluice_testkit::store::MemoryStore;
use std::collections::{BTreeMap, BTreeSet};

/// A run's calls, as they were tried and told.
#[derive(Debug, Default)]
pub(super) struct Used {
    tenant: Option<TenantId>,
    tried: BTreeSet<String>,
    /// Calls that somebody was told are recorded, each by its first report.
    told: u64,
    /// The ledger's `reports_rev` when it was looked at last.
    rev: u64,
    exceeded: bool,
}

impl Ledger {
    /// Calls are about to be reported. Returns whether any of them was before.
    pub fn try_usage(&mut self, tenant: &TenantId, run_id: RunId, calls: &[LlmCall]) -> bool {
        let used = self.usage.entry(run_id).or_default();
        used.tenant = Some(tenant.clone());
        calls.iter().filter(|call| !used.tried.insert(call.call_id.clone())).count() > 0
    }

    /// Somebody was told what became of its calls.
    pub fn told_usage(&mut self, run_id: RunId, recorded: u32) {
        self.usage.entry(run_id).or_default().told += u64::from(recorded);
    }

    pub(super) fn exceeded(&self, run_id: RunId) -> bool {
        self.usage.get(&run_id).is_some_and(|used| used.exceeded)
    }

    pub(super) fn check_usage(&mut self, store: &MemoryStore) -> Check {
        for (run_id, used) in &mut self.usage {
            let (Some(run), Some(tenant)) = (self.seen.get(run_id), &used.tenant) else { continue };
            // A purge takes the ledger before the head.
            if self.gone.contains(run_id)
                || run.state.ended().and_then(|ended| ended.due_at).is_some()
                || run.tenant_id != *tenant
            {
                continue;
            }
            let told = store.used(tenant, *run_id);
            let Some(ledger) = &told.ledger else { continue };
            if ledger.reports_rev != used.rev {
                used.rev = ledger.reports_rev;
                used.exceeded = run.spec.spending_cap().is_some_and(|cap| ledger.spent > NanoUsd::from(cap));
                let of_run = store.calls(tenant, *run_id);
                if of_run.iter().any(|call| !used.tried.contains(&call.call_id)) {
                    return broken("I6", format!("run {run_id} has a call that nobody reported"));
                }
                // What is spent is what the calls cost of all reports that are counted.
                let calls = store.counted_calls(tenant, *run_id);
                let cost: u64 = calls.iter().map(|call| call.cost_nano_usd.0).sum();
                if (ledger.counts.calls, ledger.spent.0) != (calls.len() as u64, cost) {
                    let (counted, spent) = (ledger.counts.calls, ledger.spent.0);
                    let text = format!(
                        "run {run_id}: {counted} calls of {spent} are counted, {} of {cost} reported",
                        calls.len()
                    );
                    return broken("I6", text);
                }
                let sums = &told.usage;
                let by_node = |call: &LlmCall| call.node_id.as_ref().map(ToString::to_string);
                for (name, counts, of) in [
                    ("node", &sums.by_node, by_node as fn(&LlmCall) -> Option<String>),
                    ("provider", &sums.by_provider, |call| Some(call.provider.clone())),
                    ("model", &sums.by_model, |call| Some(call.model.clone())),
                ] {
                    if let Some(fault) = difference(counts, &calls, of) {
                        return broken("I6", format!("run {run_id} by {name}: {fault}"));
                    }
                }
                let total = BTreeMap::from([(String::new(), sums.total)]);
                if let Some(fault) = difference(&total, &calls, |_| Some(String::new())) {
                    return broken("I6", format!("run {run_id} in all: {fault}"));
                }
            }
            if used.exceeded && !run.status().is_terminal() && run.status() != RunStatus::Canceling {
                return broken("I6", format!("run {run_id} is above its cap and {:?}", run.status()));
            }
        }
        Ok(())
    }

    /// Nobody was told of more calls than there are.
    pub(super) fn check_told_usage(&self, store: &MemoryStore) -> Check {
        for (run_id, used) in &self.usage {
            let (Some(run), false) = (self.seen.get(run_id), self.gone.contains(run_id)) else { continue };
            let recorded = store.calls(&run.tenant_id, *run_id).len() as u64;
            if used.told > recorded {
                return broken("I6", format!("{} calls of run {run_id} were told of, {recorded} are there", used.told));
            }
        }
        Ok(())
    }
}

fn difference(
    counts: &BTreeMap<String, UsageCount>,
    calls: &[LlmCall],
    of: impl Fn(&LlmCall) -> Option<String>,
) -> Option<String> {
    let mut sums: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
    for call in calls {
        if let Some(name) = of(call) {
            let sum = sums.entry(name).or_default();
            *sum = (sum.0 + 1, sum.1 + call.input_tokens, sum.2 + call.cost_nano_usd.0);
        }
    }
    let counted: BTreeMap<String, (u64, u64, u64)> = counts
        .iter()
        .filter(|(_, count)| count.calls > 0)
        .map(|(name, count)| {
            let NanoUsd(cost) = count.cost_nano_usd;
            (name.clone(), (count.calls, count.input_tokens, cost))
        })
        .collect();
    (counted != sums).then(|| format!("{counted:?} are counted, {sums:?} were reported"))
}
