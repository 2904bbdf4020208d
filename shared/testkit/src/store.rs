//! The table in memory: every store port over one map of maps, conditions and transactions included.

mod manage;
mod outside;
mod read;
mod sweep;

use crate::fault::{Fault, Faults, lock};
use jiff::Timestamp;
use sluice_core::callback::{Attempt, Delivery, DeliveryStatus};
use sluice_core::concurrency::{Admission, QueueRef, SlotChange, SlotScope};
use sluice_core::definition::{Definition, Version};
use sluice_core::id::{
    ComputeNodeKey, DefinitionId, DefinitionName, InstanceId, NodeId, ProcessorKey, RunId, TenantId,
};
use sluice_core::idempotency::{IdempotencyClaim, IdempotencyRecord, Operation};
use sluice_core::instance::Instance;
use sluice_core::limits;
use sluice_core::operator::{ComputeNode, Processor, TenantSettings};
use sluice_core::ports::{
    AnswerNode, CatalogItem, CatalogKey, ChangeRun, Changed, DefinitionSaved, Deliveries, DeliveryRef, DueDelivery,
    LoadRun, ManageDefinitions, ManageOperator, NewRun, Page, PurgeRuns, ReadCatalog, ReadQueue, ReadRuns,
    RecordReports, RecordRun, RecordUsage, Recorded, RunFilter, RunLinks, RunRef, SHARDS, SaveInstance, StoreError,
    StoreErrorClass, StoreResult, Sweep,
};
use sluice_core::report::{Comment, NodeAnswer, NodeOutcome, Progress, ReportToken};
use sluice_core::run::{Run, RunChange};
use sluice_core::snapshot::{RecordKeys, Snapshot};
use sluice_core::step::{Step, StepStatus};
use sluice_core::usage::{UsageChange, UsageLedger, UsageReport};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

type RunKey = (TenantId, RunId);
type IdempotencyKeyOf = (TenantId, Operation, String);

#[derive(Clone, Debug, Default)]
struct Tables {
    runs: BTreeMap<RunKey, Run>,
    /// The runs as the open index last showed them: what a lagging read of it still sees.
    indexed: BTreeMap<RunKey, Run>,
    /// `writes` at that time.
    indexed_at: u64,
    snapshots: BTreeMap<RunKey, String>,
    requests: BTreeMap<RunKey, String>,
    /// Slots held and runs queued, by limit.
    counters: BTreeMap<QueueRef, Counter>,
    ledgers: BTreeMap<RunKey, UsageLedger>,
    usage: BTreeMap<RunKey, BTreeMap<String, UsageReport>>,
    inputs: BTreeMap<RunKey, Vec<(NodeId, NodeAnswer)>>,
    comments: BTreeMap<RunKey, BTreeMap<String, Comment>>,
    tokens: BTreeMap<(RunKey, String), ReportToken>,
    outputs: BTreeMap<RunKey, String>,
    steps: BTreeMap<(TenantId, RunId, NodeId), Step>,
    /// External nodes that wait: their task token, and their answer once there is one.
    waiting: BTreeMap<(TenantId, RunId, NodeId), (String, Option<NodeAnswer>)>,
    deliveries: BTreeMap<DeliveryRef, Delivery>,
    attempts: BTreeMap<DeliveryRef, Vec<Attempt>>,
    idempotency: BTreeMap<IdempotencyKeyOf, IdempotencyRecord>,
    names: BTreeMap<(TenantId, DefinitionName), DefinitionId>,
    definitions: BTreeMap<(TenantId, DefinitionId), Definition>,
    versions: BTreeMap<(TenantId, DefinitionId, u32), Version>,
    instances: BTreeMap<(TenantId, InstanceId), Instance>,
    drafts: BTreeMap<(TenantId, DefinitionId), Version>,
    processors: BTreeMap<ProcessorKey, Processor>,
    compute_nodes: BTreeMap<ComputeNodeKey, ComputeNode>,
    tenants: BTreeMap<TenantId, TenantSettings>,
    writes: u64,
}

/// What one limit counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    pub held: i64,
    pub queued: i64,
}

impl Tables {
    fn counter(&mut self, run: &Run, scope: SlotScope) -> &mut Counter {
        self.counters.entry(QueueRef::of(run, scope)).or_default()
    }

    /// The limits of a change that have no free slot.
    fn full(&mut self, run: &Run, slots: &SlotChange) -> Vec<SlotScope> {
        let most = |most: u32| i64::from(most);
        let limits = slots.taken.iter();
        let full =
            limits.filter(|limit| self.counter(run, limit.scope).held >= most(limit.concurrency.max_concurrent_runs));
        full.map(|limit| limit.scope).collect()
    }

    fn move_slots(&mut self, run: &Run, slots: &SlotChange, laxity: Option<Laxity>) {
        for limit in &slots.taken {
            self.counter(run, limit.scope).held += 1;
        }
        if laxity != Some(Laxity::SlotsKept) {
            for scope in &slots.freed {
                self.counter(run, *scope).held -= 1;
            }
        }
        if let Some(scope) = slots.joined {
            self.counter(run, scope).queued += 1;
        }
        if let Some(scope) = slots.left {
            self.counter(run, scope).queued -= 1;
        }
    }

    /// What keeps a run from its way in.
    fn refuses(&mut self, run: &Run, admission: &Admission) -> Option<Recorded> {
        match admission {
            Admission::Slots(limits) => {
                let full = limits.iter().filter(|limit| {
                    let counter = *self.counter(run, limit.scope);
                    counter.held >= i64::from(limit.concurrency.max_concurrent_runs) || counter.queued > 0
                });
                let full: Vec<SlotScope> = full.map(|limit| limit.scope).collect();
                (!full.is_empty()).then_some(Recorded::Full(full))
            }
            Admission::Queue(limit) => {
                let counter = *self.counter(run, limit.scope);
                if counter.queued >= i64::from(limits::QUEUED_RUNS) {
                    Some(Recorded::QueueFull)
                } else if counter.held < i64::from(limit.concurrency.max_concurrent_runs) && counter.queued <= 0 {
                    Some(Recorded::NotFull)
                } else {
                    None
                }
            }
        }
    }

    /// Writes the change of a head, if the run is as it is expected to be and its limits allow it.
    fn change(&mut self, change: &RunChange, laxity: Option<Laxity>) -> Changed {
        let key = (change.run.tenant_id.clone(), change.run.run_id);
        match self.runs.get(&key) {
            Some(current) if current.rev == change.expected_rev => {}
            Some(_) if laxity == Some(Laxity::ChangeUnconditional) => {}
            current => return Changed::Stale(current.cloned().map(Box::new)),
        }
        if laxity != Some(Laxity::SlotsUnconditional) {
            let full = self.full(&change.run, &change.slots);
            if !full.is_empty() {
                return Changed::Full(full);
            }
        }
        self.move_slots(&change.run, &change.slots, laxity);
        if laxity == Some(Laxity::SlotFreedTwice) {
            let again = SlotChange { freed: change.slots.freed.clone(), ..SlotChange::default() };
            self.move_slots(&change.run, &again, laxity);
        }
        self.writes += 1;
        self.runs.insert(key.clone(), change.run.clone());
        if let Some(output) = &change.output {
            self.outputs.insert(key, output.clone());
        }
        for delivery in change.deliveries.iter().filter(|_| laxity != Some(Laxity::OwedApart)) {
            self.deliveries.insert(reference(delivery), delivery.clone());
        }
        Changed::Done
    }
}

/// Precautions that a table can be made to forget, to show that their loss is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Laxity {
    /// `change_run` does not look at `expected_rev`.
    ChangeUnconditional,
    /// `record_run` does not look at the idempotency key.
    KeyUnconditional,
    /// The first record under a key claims to have the payload that is asked for.
    PayloadNotCompared,
    /// A key is free as soon as its run has ended.
    KeyFreedAtEnd,
    /// `change_run` leaves the deliveries to a second write, which never comes.
    OwedApart,
    /// `load_run` finds a run whoever asks.
    TenantNotChecked,
    /// `change_run` takes slots that are not there.
    SlotsUnconditional,
    /// `change_run` does not give slots back.
    SlotsKept,
    /// `change_run` gives every slot back twice.
    SlotFreedTwice,
    /// `record_usage` counts a call as often as it is reported.
    UsageNotIdempotent,
}

/// Clones share one table.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    tables: Arc<Mutex<Tables>>,
    pub faults: Faults,
    pub laxity: Option<Laxity>,
}

impl MemoryStore {
    /// How many writes had an effect: what must not grow when a request is refused.
    pub fn writes(&self) -> u64 {
        lock(&self.tables).writes
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

    pub fn ledger(&self, tenant: &TenantId, run_id: RunId) -> UsageLedger {
        lock(&self.tables).ledgers.get(&(tenant.clone(), run_id)).cloned().unwrap_or_default()
    }

    /// The calls that were counted for a run.
    pub fn calls(&self, tenant: &TenantId, run_id: RunId) -> Vec<UsageReport> {
        let tables = lock(&self.tables);
        tables.usage.get(&(tenant.clone(), run_id)).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }

    /// Whether anything at all is kept of a run.
    pub fn knows(&self, tenant: &TenantId, run_id: RunId) -> bool {
        let tables = lock(&self.tables);
        let key = (tenant.clone(), run_id);
        tables.runs.contains_key(&key)
            || tables.snapshots.contains_key(&key)
            || tables.requests.contains_key(&key)
            || tables.outputs.contains_key(&key)
            || tables.ledgers.contains_key(&key)
            || tables.steps.keys().any(|(owner, run, _)| owner == tenant && *run == run_id)
            || tables.deliveries.keys().any(|delivery| delivery.tenant_id == *tenant && delivery.run_id == run_id)
    }

    /// Puts a run in as it is, for tests that start in the middle of its life.
    pub fn seed_run(&self, run: Run, snapshot_text: Option<String>) {
        let mut tables = lock(&self.tables);
        let key = (run.tenant_id.clone(), run.run_id);
        if let Some(text) = snapshot_text {
            tables.snapshots.insert(key.clone(), text);
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

    async fn act<T: Send>(
        &self,
        operation: &'static str,
        effect: impl FnOnce(&mut Tables) -> StoreResult<T> + Send,
    ) -> StoreResult<T> {
        crate::turn().await;
        let fault = self.faults.next(operation);
        if let Some(Fault::Before(class)) = fault {
            return Err(StoreError::new(operation, class, "injected before its effect"));
        }
        let result = effect(&mut lock(&self.tables));
        crate::turn().await;
        match fault {
            Some(Fault::After(class)) => Err(StoreError::new(operation, class, "injected after its effect")),
            Some(Fault::Before(_)) | None => result,
        }
    }
}

fn reference(delivery: &Delivery) -> DeliveryRef {
    DeliveryRef { tenant_id: delivery.tenant_id.clone(), run_id: delivery.run_id, number: delivery.number }
}

/// Due deliveries on a page.
const DUE_PAGE: u32 = 100;

fn shard_of(run_id: RunId) -> u8 {
    (run_id.0.as_u128() % u128::from(SHARDS)) as u8
}

impl ReadCatalog for MemoryStore {
    async fn catalog(&self, tenant: &TenantId, keys: &[CatalogKey]) -> StoreResult<Vec<Option<CatalogItem>>> {
        self.act("read the catalog", |tables| {
            let find = |key: &CatalogKey| match key {
                CatalogKey::DefinitionName(name) => {
                    tables.names.get(&(tenant.clone(), name.clone())).copied().map(CatalogItem::DefinitionName)
                }
                CatalogKey::Definition(id) => {
                    tables.definitions.get(&(tenant.clone(), *id)).cloned().map(CatalogItem::Definition)
                }
                CatalogKey::Version(id, number) => {
                    tables.versions.get(&(tenant.clone(), *id, *number)).cloned().map(CatalogItem::Version)
                }
                CatalogKey::Instance(id) => {
                    tables.instances.get(&(tenant.clone(), *id)).cloned().map(CatalogItem::Instance)
                }
                CatalogKey::Draft(id) => tables.drafts.get(&(tenant.clone(), *id)).cloned().map(CatalogItem::Version),
                CatalogKey::Discoverable(id) => tables
                    .definitions
                    .values()
                    .find(|definition| definition.id == *id && definition.discoverable)
                    .map(|definition| CatalogItem::Discoverable(definition.tenant.clone())),
                CatalogKey::Tenant => {
                    let settings = tables.tenants.get(tenant).cloned();
                    Some(CatalogItem::Tenant(settings.unwrap_or_else(|| TenantSettings::open(tenant.clone()))))
                }
                CatalogKey::ComputeNode(key) => tables.compute_nodes.get(key).cloned().map(CatalogItem::ComputeNode),
                CatalogKey::Processor(key) => tables.processors.get(key).cloned().map(CatalogItem::Processor),
            };
            Ok(keys.iter().map(find).collect())
        })
        .await
    }
}

impl SaveInstance for MemoryStore {
    async fn save_instance(&self, instance: &Instance) -> StoreResult<()> {
        self.act("save the instance", |tables| {
            let key = (instance.tenant.clone(), instance.id);
            if !tables.instances.contains_key(&key) {
                tables.writes += 1;
                tables.instances.insert(key, instance.clone());
            }
            Ok(())
        })
        .await
    }
}

impl RecordRun for MemoryStore {
    async fn record_run(&self, new: &NewRun) -> StoreResult<Recorded> {
        self.act("record the run", |tables| {
            let run = &new.run;
            let place = (run.tenant_id.clone(), run.run_id);
            if tables.runs.contains_key(&place) {
                return Ok(Recorded::Created);
            }
            if let Some((claim, _)) = &new.idempotency {
                let key = (run.tenant_id.clone(), claim.operation, claim.key.to_string());
                let is_free = |first: &IdempotencyRecord| match self.laxity {
                    Some(Laxity::KeyUnconditional) => true,
                    Some(Laxity::KeyFreedAtEnd) => {
                        let place = (run.tenant_id.clone(), first.run.run_id);
                        tables.runs.get(&place).is_none_or(|run| run.status.is_terminal())
                    }
                    Some(_) | None => first.has_expired(run.created_at),
                };
                match tables.idempotency.get(&key) {
                    Some(first) if first.run.run_id == run.run_id => return Ok(Recorded::Created),
                    Some(first) if !is_free(first) => {
                        let mut first = first.clone();
                        if self.laxity == Some(Laxity::PayloadNotCompared) {
                            first.payload_hash.clone_from(&claim.payload_hash);
                        }
                        return Ok(Recorded::KeyTaken(Box::new(first)));
                    }
                    Some(_) | None => {}
                }
            }
            if let Some(refused) = tables.refuses(run, &new.admission) {
                return Ok(refused);
            }
            if let Some((claim, record)) = &new.idempotency {
                let key = (run.tenant_id.clone(), claim.operation, claim.key.to_string());
                tables.idempotency.insert(key, record.clone());
            }
            let slots = match &new.admission {
                Admission::Slots(limits) => SlotChange { taken: limits.clone(), ..SlotChange::default() },
                Admission::Queue(limit) => SlotChange { joined: Some(limit.scope), ..SlotChange::default() },
            };
            tables.move_slots(run, &slots, self.laxity);
            tables.writes += 1;
            tables.snapshots.insert(place.clone(), new.snapshot_text.clone());
            tables.requests.insert(place.clone(), new.request_text.clone());
            tables.runs.insert(place, run.clone());
            Ok(Recorded::Created)
        })
        .await
    }

    async fn first_with_key(
        &self,
        tenant: &TenantId,
        claim: &IdempotencyClaim,
        now: Timestamp,
    ) -> StoreResult<Option<IdempotencyRecord>> {
        self.act("look up the idempotency key", |tables| {
            let key = (tenant.clone(), claim.operation, claim.key.to_string());
            Ok(tables.idempotency.get(&key).filter(|first| !first.has_expired(now)).cloned())
        })
        .await
    }

    fn record_keys(&self, tenant: &TenantId, run_id: RunId) -> RecordKeys {
        let status_keys =
            ["RUNNING", "PAUSED", "WAITING_FOR_INPUT"].map(|status| (status, format!("{tenant} {status}")));
        RecordKeys { pk: format!("{tenant} {run_id}"), status_keys: BTreeMap::from(status_keys) }
    }
}

impl LoadRun for MemoryStore {
    async fn load_run(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Option<Run>> {
        self.act("load the run", |tables| {
            if self.laxity == Some(Laxity::TenantNotChecked) {
                return Ok(tables.runs.values().find(|run| run.run_id == run_id).cloned());
            }
            Ok(tables.runs.get(&(tenant.clone(), run_id)).cloned())
        })
        .await
    }

    async fn load_snapshot(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Option<Snapshot>> {
        self.act("load the snapshot", |tables| {
            let Some(text) = tables.snapshots.get(&(tenant.clone(), run_id)) else {
                return Ok(None);
            };
            let corrupt = |error| StoreError::new("load the snapshot", StoreErrorClass::Corrupt, error);
            serde_json::from_str(text).map(Some).map_err(corrupt)
        })
        .await
    }

    async fn load_usage(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<UsageLedger> {
        self.act("load the usage", |tables| {
            Ok(tables.ledgers.get(&(tenant.clone(), run_id)).cloned().unwrap_or_default())
        })
        .await
    }
}

impl ChangeRun for MemoryStore {
    async fn change_run(&self, change: &RunChange) -> StoreResult<Changed> {
        self.act("change the run", |tables| Ok(tables.change(change, self.laxity))).await
    }
}

impl AnswerNode for MemoryStore {
    async fn answer_node(
        &self,
        change: &RunChange,
        node_id: &NodeId,
        answer: &NodeAnswer,
    ) -> StoreResult<Option<Changed>> {
        self.act("answer the node", |tables| {
            let key = (change.run.tenant_id.clone(), change.run.run_id);
            match tables.runs.get(&key) {
                Some(current) if current.rev == change.expected_rev => {}
                current => return Ok(Some(Changed::Stale(current.cloned().map(Box::new)))),
            }
            let Some((_, empty @ None)) = tables.waiting.get_mut(&(key.0.clone(), key.1, node_id.clone())) else {
                return Ok(None);
            };
            *empty = Some(answer.clone());
            tables.inputs.entry(key).or_default().push((node_id.clone(), answer.clone()));
            Ok(Some(tables.change(change, self.laxity)))
        })
        .await
    }

    async fn load_answer(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        node_id: &NodeId,
    ) -> StoreResult<Option<(String, NodeOutcome)>> {
        self.act("load the answer", |tables| {
            let waiting = tables.waiting.get(&(tenant.clone(), run_id, node_id.clone()));
            Ok(waiting.and_then(|(token, answer)| Some((token.clone(), answer.as_ref()?.outcome.clone()))))
        })
        .await
    }
}

impl Deliveries for MemoryStore {
    async fn load_delivery(&self, delivery: &DeliveryRef) -> StoreResult<Option<Delivery>> {
        self.act("load the delivery", |tables| Ok(tables.deliveries.get(delivery).cloned())).await
    }

    async fn change_delivery(&self, next: &Delivery, attempt: Option<&Attempt>) -> StoreResult<bool> {
        self.act("change the delivery", |tables| {
            let key = reference(next);
            match tables.deliveries.get_mut(&key) {
                Some(current) if current.rev + 1 == next.rev => *current = next.clone(),
                Some(_) | None => return Ok(false),
            }
            tables.writes += 1;
            tables.attempts.entry(key).or_default().extend(attempt.cloned());
            Ok(true)
        })
        .await
    }

    async fn record_late_attempt(&self, delivery: &DeliveryRef, attempt: &Attempt) -> StoreResult<()> {
        self.act("record the late attempt", |tables| {
            let attempts = tables.attempts.entry(delivery.clone()).or_default();
            if attempts.iter().all(|known| known.number != attempt.number) {
                attempts.push(attempt.clone());
                attempts.sort_by_key(|attempt| attempt.number);
                tables.writes += 1;
            }
            Ok(())
        })
        .await
    }

    async fn dead_deliveries(&self, tenant: &TenantId, since: Timestamp, limit: u32) -> StoreResult<Vec<DeliveryRef>> {
        self.act("list dead deliveries", |tables| {
            let mut dead: Vec<&Delivery> = tables
                .deliveries
                .values()
                .filter(|delivery| delivery.tenant_id == *tenant && delivery.status == DeliveryStatus::DeadLettered)
                .filter(|delivery| delivery.ended_at.is_some_and(|ended_at| ended_at >= since))
                .collect();
            dead.sort_by_key(|delivery| delivery.ended_at);
            Ok(dead.into_iter().take(limit as usize).map(reference).collect())
        })
        .await
    }
}

/// A page of what is in order already, of the list `of`. The cursor is the place to go on from, and good for that list alone.
fn page<T>(of: impl Debug, all: Vec<T>, limit: u32, cursor: Option<&str>) -> StoreResult<Page<T>> {
    let mut digest = DefaultHasher::new();
    format!("{of:?}").hash(&mut digest);
    let digest = format!("{:016x}", digest.finish());
    let position = |cursor: &str| match cursor.split_once('.') {
        Some((found, position)) if found == digest => position.parse().ok(),
        Some(_) | None => None,
    };
    let corrupt = || StoreError::new("read the cursor", StoreErrorClass::Corrupt, "it is of another list");
    let from: usize = cursor.map_or(Ok(0), |cursor| position(cursor).ok_or_else(corrupt))?;
    let to = from.saturating_add(limit as usize);
    let next = (to < all.len()).then(|| format!("{digest}.{to}"));
    Ok(Page { items: all.into_iter().skip(from).take(limit as usize).collect(), next })
}
