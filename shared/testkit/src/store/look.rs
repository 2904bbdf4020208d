//! What tests look at and put in, past the ports.

use super::*;
use sluice_core::spending::Used;
use sluice_core::usage::{UsageCount, UsageSums};

impl MemoryStore {
    /// How many writes had an effect: what must not grow when a request is refused.
    pub fn writes(&self) -> u64 {
        lock(&self.tables).writes
    }

    /// Lists open and expired runs, and due boards, in pages of so many.
    pub fn list_in_pages_of(&self, most: u32) {
        lock(&self.tables).page = Some(most);
    }

    pub fn runs(&self) -> Vec<Run> {
        lock(&self.tables).runs.values().cloned().collect()
    }

    /// Looks at every run without copying it. `look` must not come back to this store.
    pub fn each_run(&self, look: impl FnMut(&Run)) {
        lock(&self.tables).runs.values().for_each(look);
    }

    /// [`Self::each_run`] for deliveries.
    pub fn each_delivery(&self, look: impl FnMut(&Delivery)) {
        lock(&self.tables).deliveries.values().for_each(look);
    }

    /// [`Self::each_run`] for steps.
    pub fn each_step(&self, mut look: impl FnMut(&TenantId, &Step)) {
        lock(&self.tables).steps.iter().for_each(|((tenant, _, _), step)| look(tenant, step));
    }

    /// Whether a compute node, and whether every processor, admits a tenant.
    pub fn admits(&self, tenant: &TenantId, compute_node: &ComputeNodeKey) -> (bool, bool) {
        let tables = lock(&self.tables);
        let node = tables.compute_nodes.get(compute_node).is_some_and(|node| node.tenants.admits(tenant));
        (node, tables.processors.values().all(|processor| processor.tenants.admits(tenant)))
    }

    /// A definition as it is stored.
    pub fn definition(&self, tenant: &TenantId, id: DefinitionId) -> Option<Definition> {
        lock(&self.tables).definitions.get(&(tenant.clone(), id)).cloned()
    }

    /// The settings of a tenant, if it has any of its own.
    pub fn tenant_settings(&self, tenant: &TenantId) -> Option<TenantSettings> {
        lock(&self.tables).tenants.get(tenant).cloned()
    }

    pub fn run(&self, tenant: &TenantId, run_id: RunId) -> Option<Run> {
        lock(&self.tables).runs.get(&(tenant.clone(), run_id)).cloned()
    }

    pub fn deliveries(&self) -> Vec<(Delivery, Vec<Attempt>)> {
        let tables = lock(&self.tables);
        let attempts = |key: &DeliveryRef| tables.attempts.get(key).cloned().unwrap_or_default();
        tables.deliveries.iter().map(|(key, delivery)| (delivery.clone(), attempts(key))).collect()
    }

    /// What a limit counts.
    pub fn counter(&self, queue: &QueueRef) -> Counter {
        lock(&self.tables).counters.get(queue).copied().unwrap_or_default()
    }

    /// Sets what a limit counts.
    pub fn seed_counter(&self, queue: &QueueRef, counter: Counter) {
        lock(&self.tables).counters.insert(queue.clone(), counter);
    }

    /// Every limit that counts anything.
    pub fn counters(&self) -> BTreeMap<QueueRef, Counter> {
        lock(&self.tables).counters.clone()
    }

    /// What the run has used, as a read would tell it now.
    pub fn used(&self, tenant: &TenantId, run_id: RunId) -> Used {
        lock(&self.tables).used(&(tenant.clone(), run_id))
    }

    /// What a read told of the run's usage when the run ended; `None` of one that has not.
    pub fn used_at_end(&self, tenant: &TenantId, run_id: RunId) -> Option<UsageCount> {
        lock(&self.tables).used_at_end.get(&(tenant.clone(), run_id)).copied()
    }

    /// What was reported of a run before there was one ledger for reported and governed calls: as calls without reports, with
    /// what they came to.
    pub fn seed_earlier(&self, tenant: &TenantId, run_id: RunId, calls: &[LlmCall], has_ledger: bool) {
        let mut tables = lock(&self.tables);
        let key = (tenant.clone(), run_id);
        let total = UsageSums::of(calls).total;
        tables.earlier.insert(key.clone(), Earlier { calls: total.calls, cost: total.cost_nano_usd });
        let recorded = |call: &LlmCall| RecordedCall { call: call.clone(), report: None };
        let calls = calls.iter().map(|call| (call.call_id.clone(), recorded(call)));
        tables.usage.entry(key.clone()).or_default().extend(calls);
        if !has_ledger {
            tables.governed.ledgers.remove(&key);
        }
    }

    /// A run's output, JSON text.
    pub fn output(&self, tenant: &TenantId, run_id: RunId) -> Option<String> {
        lock(&self.tables).outputs.get(&(tenant.clone(), run_id)).cloned()
    }

    /// Until when something is held on any ledger.
    pub fn held_until(&self) -> Option<Timestamp> {
        lock(&self.tables).governed.ledgers.values().filter_map(Ledger::held_until).max()
    }

    /// The calls that were reported of a run, of those reports that are counted.
    pub fn counted_calls(&self, tenant: &TenantId, run_id: RunId) -> Vec<LlmCall> {
        let tables = lock(&self.tables);
        let key = (tenant.clone(), run_id);
        let ledger = tables.governed.ledgers.get(&key);
        let is_under_way = |report: &CallId| ledger.is_some_and(|ledger| ledger.reports.contains_key(report));
        let calls = tables.usage.get(&key).into_iter().flat_map(BTreeMap::values);
        let counted = calls.filter(|recorded| !recorded.report.as_ref().is_some_and(is_under_way));
        counted.map(|recorded| recorded.call.clone()).collect()
    }

    /// The calls that were reported of a run.
    pub fn calls(&self, tenant: &TenantId, run_id: RunId) -> Vec<LlmCall> {
        let tables = lock(&self.tables);
        let calls = tables.usage.get(&(tenant.clone(), run_id)).into_iter().flat_map(BTreeMap::values);
        calls.map(|recorded| recorded.call.clone()).collect()
    }

    /// Whether anything at all is kept of a run.
    pub fn knows(&self, tenant: &TenantId, run_id: RunId) -> bool {
        let tables = lock(&self.tables);
        let key = (tenant.clone(), run_id);
        tables.runs.contains_key(&key)
            || tables.snapshots.contains_key(&key)
            || tables.endings.contains_key(&key)
            || tables.requests.contains_key(&key)
            || tables.outputs.contains_key(&key)
            || tables.earlier.contains_key(&key)
            || tables.governed.ledgers.contains_key(&key)
            || tables.governed.records.contains_key(&key)
            || tables.governed.receipts.contains_key(&key)
            || tables.steps.keys().any(|(owner, run, _)| owner == tenant && *run == run_id)
            || tables.deliveries.keys().any(|delivery| delivery.tenant_id == *tenant && delivery.run_id == run_id)
    }

    /// Puts a run in as it is, for tests that start in the middle of its life: as one from before there was anything for its end
    /// beside its snapshot, where a snapshot is given.
    pub fn seed_run(&self, run: Run, snapshot_text: Option<String>) {
        let mut tables = lock(&self.tables);
        let key = (run.tenant_id.clone(), run.run_id);
        if let Some(text) = snapshot_text {
            tables.snapshots.insert(key.clone(), text);
            tables.endings.remove(&key);
        }
        tables.writes += 1;
        tables.runs.insert(key, run);
    }

    pub fn seed_output(&self, tenant: &TenantId, run_id: RunId, output: &str) {
        lock(&self.tables).outputs.insert((tenant.clone(), run_id), output.to_owned());
    }

    pub fn seed_step(&self, tenant: &TenantId, step: Step) {
        lock(&self.tables).steps.insert((tenant.clone(), step.run_id, step.node_id.clone()), step);
    }

    /// An answer that one of a run's nodes was given.
    pub fn seed_input(&self, tenant: &TenantId, run_id: RunId, node_id: &NodeId, answer: NodeAnswer) {
        lock(&self.tables).inputs.entry((tenant.clone(), run_id)).or_default().push((node_id.clone(), answer));
    }

    /// The runner's write when an external node begins to wait with a task token.
    pub fn begin_wait(&self, tenant: &TenantId, run_id: RunId, node_id: &NodeId, token: &str) {
        lock(&self.tables).waiting.insert((tenant.clone(), run_id, node_id.clone()), (token.to_owned(), None));
    }

    /// The runner's write when that node's wait is over.
    pub fn end_wait(&self, tenant: &TenantId, run_id: RunId, node_id: &NodeId) {
        lock(&self.tables).waiting.remove(&(tenant.clone(), run_id, node_id.clone()));
    }

    pub fn seed_delivery(&self, delivery: Delivery, attempts: Vec<Attempt>) {
        let mut tables = lock(&self.tables);
        tables.attempts.insert(reference(&delivery), attempts);
        tables.deliveries.insert(reference(&delivery), delivery);
    }

    /// The runner's conditional write on a head. Returns whether `change` allowed it.
    pub fn update_run(&self, tenant: &TenantId, run_id: RunId, change: impl FnOnce(&Run) -> Option<Run>) -> bool {
        let mut tables = lock(&self.tables);
        let Some(run) = tables.runs.get_mut(&(tenant.clone(), run_id)) else {
            return false;
        };
        let Some(next) = change(run) else { return false };
        *run = next;
        tables.writes += 1;
        true
    }
}
