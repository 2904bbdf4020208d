//! The table in memory: every store port over one map of maps, conditions and transactions included.

use crate::fault::{Fault, Faults, lock};
use jiff::Timestamp;
use sluice_core::callback::{Attempt, Delivery};
use sluice_core::definition::{Definition, Version};
use sluice_core::id::{
    ComputeNodeKey, DefinitionId, DefinitionName, InstanceId, NodeId, ProcessorKey, RunId, TenantId,
};
use sluice_core::idempotency::{IdempotencyClaim, IdempotencyRecord, Operation};
use sluice_core::instance::Instance;
use sluice_core::operator::{ComputeNode, Processor};
use sluice_core::ports::{
    AnswerNode, CatalogItem, CatalogKey, ChangeRun, Changed, DefinitionSaved, Deliveries, DeliveryRef, LoadRun,
    ManageDefinitions, ManageOperator, NewRun, NodeAnswer, Page, ReadCatalog, ReadRuns, RecordRun, Recorded, RunFilter,
    SHARDS, SaveInstance, StoreError, StoreErrorClass, StoreResult, Sweep,
};
use sluice_core::run::{Run, RunChange};
use sluice_core::snapshot::{RecordKeys, Snapshot};
use sluice_core::step::Step;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

type RunKey = (TenantId, RunId);
type IdempotencyKeyOf = (TenantId, Operation, String);

#[derive(Clone, Debug, Default)]
struct Tables {
    runs: BTreeMap<RunKey, Run>,
    /// The runs as the open index last showed them: what a lagging read of it still sees.
    indexed: BTreeMap<RunKey, Run>,
    snapshots: BTreeMap<RunKey, String>,
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
    processors: BTreeMap<ProcessorKey, Processor>,
    compute_nodes: BTreeMap<ComputeNodeKey, ComputeNode>,
    writes: u64,
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

    pub fn run(&self, tenant: &TenantId, run_id: RunId) -> Option<Run> {
        lock(&self.tables).runs.get(&(tenant.clone(), run_id)).cloned()
    }

    pub fn deliveries(&self) -> Vec<(Delivery, Vec<Attempt>)> {
        let tables = lock(&self.tables);
        let attempts = |key: &DeliveryRef| tables.attempts.get(key).cloned().unwrap_or_default();
        tables.deliveries.iter().map(|(key, delivery)| (delivery.clone(), attempts(key))).collect()
    }

    /// Puts a run in as it is, for tests that start in the middle of its life.
    pub fn seed_run(&self, run: Run, snapshot_text: Option<String>) {
        let mut tables = lock(&self.tables);
        let key = (run.tenant_id.clone(), run.run_id);
        if let Some(text) = snapshot_text {
            tables.snapshots.insert(key.clone(), text);
        }
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
            if let Some((claim, record)) = &new.idempotency {
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
                tables.idempotency.insert(key, record.clone());
            }
            let key = (run.tenant_id.clone(), run.run_id);
            if !tables.runs.contains_key(&key) {
                tables.writes += 1;
                tables.snapshots.insert(key.clone(), new.snapshot_text.clone());
                tables.runs.insert(key, run.clone());
            }
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
}

impl ChangeRun for MemoryStore {
    async fn change_run(&self, change: &RunChange) -> StoreResult<Changed> {
        self.act("change the run", |tables| {
            let key = (change.run.tenant_id.clone(), change.run.run_id);
            match tables.runs.get(&key) {
                Some(current) if current.rev == change.expected_rev => {}
                Some(_) if self.laxity == Some(Laxity::ChangeUnconditional) => {}
                current => return Ok(Changed::Stale(current.cloned().map(Box::new))),
            }
            tables.writes += 1;
            tables.runs.insert(key.clone(), change.run.clone());
            if let Some(output) = &change.output {
                tables.outputs.insert(key, output.clone());
            }
            for delivery in change.deliveries.iter().filter(|_| self.laxity != Some(Laxity::OwedApart)) {
                tables.deliveries.insert(reference(delivery), delivery.clone());
            }
            Ok(Changed::Done)
        })
        .await
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
            tables.writes += 1;
            tables.runs.insert(key, change.run.clone());
            Ok(Some(Changed::Done))
        })
        .await
    }

    async fn load_answer(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        node_id: &NodeId,
    ) -> StoreResult<Option<(String, String)>> {
        self.act("load the answer", |tables| {
            let waiting = tables.waiting.get(&(tenant.clone(), run_id, node_id.clone()));
            Ok(waiting.and_then(|(token, answer)| Some((token.clone(), answer.as_ref()?.value.clone()))))
        })
        .await
    }
}

impl ReadRuns for MemoryStore {
    async fn list_runs(
        &self,
        tenant: &TenantId,
        filter: &RunFilter,
        limit: u32,
        cursor: Option<&str>,
    ) -> StoreResult<Page<Run>> {
        self.act("list runs", |tables| {
            let mut runs: Vec<Run> = tables
                .runs
                .values()
                .filter(|run| run.tenant_id == *tenant)
                .filter(|run| filter.status.is_none_or(|status| run.status == status))
                .filter(|run| filter.definition_id.is_none_or(|id| run.definition_id == id))
                .filter(|run| filter.created_from.is_none_or(|from| run.created_at >= from))
                .filter(|run| filter.created_before.is_none_or(|before| run.created_at < before))
                .cloned()
                .collect();
            runs.sort_by_key(|run| (run.created_at, run.run_id));
            if !filter.ascending {
                runs.reverse();
            }
            page(runs, limit, cursor)
        })
        .await
    }

    async fn list_steps(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Vec<Step>> {
        self.act("list steps", |tables| {
            let steps = tables.steps.iter().filter(|((owner, run, _), _)| owner == tenant && *run == run_id);
            Ok(steps.map(|(_, step)| Step { result: None, ..step.clone() }).collect())
        })
        .await
    }

    async fn load_step(&self, tenant: &TenantId, run_id: RunId, node_id: &NodeId) -> StoreResult<Option<Step>> {
        self.act("load the step", |tables| Ok(tables.steps.get(&(tenant.clone(), run_id, node_id.clone())).cloned()))
            .await
    }

    async fn list_replays(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Vec<RunId>> {
        self.act("list replays", |tables| {
            let replays = tables.runs.values().filter(|run| run.tenant_id == *tenant && run.replay_of == Some(run_id));
            Ok(replays.map(|run| run.run_id).take(100).collect())
        })
        .await
    }

    async fn load_output(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Option<String>> {
        self.act("load the output", |tables| Ok(tables.outputs.get(&(tenant.clone(), run_id)).cloned())).await
    }

    async fn list_deliveries(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Vec<(Delivery, Vec<Attempt>)>> {
        self.act("list deliveries", |tables| {
            let of_run = tables.deliveries.iter().filter(|(key, _)| key.tenant_id == *tenant && key.run_id == run_id);
            Ok(of_run
                .map(|(key, delivery)| {
                    let shown = Delivery { body: String::new(), ..delivery.clone() };
                    (shown, tables.attempts.get(key).cloned().unwrap_or_default())
                })
                .collect())
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
}

impl Sweep for MemoryStore {
    async fn open_runs(&self, shard: u8, _cursor: Option<&str>) -> StoreResult<Page<Run>> {
        // A fault of this name does not fail the read: it lets the index lag behind the table.
        let lags = self.faults.next("keep the open index up to date").is_some();
        self.act("list open runs", |tables| {
            if !lags {
                tables.indexed = tables.runs.clone();
            }
            let open = tables.indexed.values().filter(|run| !run.status.is_terminal() && shard_of(run.run_id) == shard);
            Ok(Page { items: open.cloned().collect(), next: None })
        })
        .await
    }

    async fn due_deliveries(&self, shard: u8, now: Timestamp, limit: u32) -> StoreResult<Vec<DeliveryRef>> {
        self.act("list due deliveries", |tables| {
            let mut due: Vec<&Delivery> = tables
                .deliveries
                .values()
                .filter(|delivery| delivery.is_due(now) && shard_of(delivery.run_id) == shard)
                .collect();
            due.sort_by_key(|delivery| delivery.next_attempt_at);
            Ok(due.into_iter().take(limit as usize).map(reference).collect())
        })
        .await
    }
}

impl ManageDefinitions for MemoryStore {
    async fn create_definition(&self, definition: &Definition) -> StoreResult<DefinitionSaved> {
        self.act("create the definition", |tables| {
            let name = (definition.tenant.clone(), definition.name.clone());
            if let Some(holder) = tables.names.get(&name).filter(|holder| **holder != definition.id) {
                return Ok(DefinitionSaved::NameTaken(*holder));
            }
            tables.writes += 1;
            tables.names.insert(name, definition.id);
            tables.definitions.insert((definition.tenant.clone(), definition.id), definition.clone());
            Ok(DefinitionSaved::Done)
        })
        .await
    }

    async fn change_definition(&self, definition: &Definition, version: Option<&Version>) -> StoreResult<bool> {
        self.act("change the definition", |tables| {
            let key = (definition.tenant.clone(), definition.id);
            if tables.definitions.get(&key).is_none_or(|current| current.rev + 1 != definition.rev) {
                return Ok(false);
            }
            tables.writes += 1;
            tables.definitions.insert(key, definition.clone());
            if let Some(version) = version {
                tables.versions.insert((definition.tenant.clone(), definition.id, version.number), version.clone());
            }
            Ok(true)
        })
        .await
    }

    async fn load_definition(&self, tenant: &TenantId, id: DefinitionId) -> StoreResult<Option<Definition>> {
        self.act("load the definition", |tables| Ok(tables.definitions.get(&(tenant.clone(), id)).cloned())).await
    }

    async fn list_definitions(
        &self,
        tenant: &TenantId,
        limit: u32,
        cursor: Option<&str>,
    ) -> StoreResult<Page<Definition>> {
        self.act("list definitions", |tables| {
            let mut mine: Vec<Definition> =
                tables.definitions.values().filter(|definition| definition.tenant == *tenant).cloned().collect();
            mine.sort_by_key(|definition| std::cmp::Reverse((definition.created_at, definition.id)));
            page(mine, limit, cursor)
        })
        .await
    }

    async fn list_versions(
        &self,
        tenant: &TenantId,
        id: DefinitionId,
        limit: u32,
        cursor: Option<&str>,
    ) -> StoreResult<Page<Version>> {
        self.act("list versions", |tables| {
            let mut versions: Vec<Version> = tables
                .versions
                .iter()
                .filter(|((owner, definition, _), _)| owner == tenant && *definition == id)
                .map(|(_, version)| version.clone())
                .collect();
            versions.reverse();
            page(versions, limit, cursor)
        })
        .await
    }

    async fn list_instances(&self, tenant: &TenantId, limit: u32, cursor: Option<&str>) -> StoreResult<Page<Instance>> {
        self.act("list instances", |tables| {
            let mut mine: Vec<Instance> =
                tables.instances.values().filter(|instance| instance.tenant == *tenant).cloned().collect();
            mine.sort_by_key(|instance| std::cmp::Reverse((instance.created_at, instance.id)));
            page(mine, limit, cursor)
        })
        .await
    }
}

impl ManageOperator for MemoryStore {
    async fn save_processor(&self, processor: &Processor) -> StoreResult<()> {
        self.act("save the processor", |tables| {
            tables.writes += 1;
            tables.processors.insert(processor.key.clone(), processor.clone());
            Ok(())
        })
        .await
    }

    async fn save_compute_node(&self, node: &ComputeNode) -> StoreResult<()> {
        self.act("save the compute node", |tables| {
            tables.writes += 1;
            tables.compute_nodes.insert(node.key.clone(), node.clone());
            Ok(())
        })
        .await
    }

    async fn list_processors(&self, limit: u32, cursor: Option<&str>) -> StoreResult<Page<Processor>> {
        self.act("list processors", |tables| page(tables.processors.values().cloned().collect(), limit, cursor)).await
    }

    async fn list_compute_nodes(&self, limit: u32, cursor: Option<&str>) -> StoreResult<Page<ComputeNode>> {
        self.act("list compute nodes", |tables| page(tables.compute_nodes.values().cloned().collect(), limit, cursor))
            .await
    }
}

/// A page of what is in order already; the cursor is the place to go on from.
fn page<T>(all: Vec<T>, limit: u32, cursor: Option<&str>) -> StoreResult<Page<T>> {
    let corrupt = |error| StoreError::new("read the cursor", StoreErrorClass::Corrupt, error);
    let from: usize = cursor.map_or(Ok(0), |cursor| cursor.parse().map_err(corrupt))?;
    let to = from.saturating_add(limit as usize);
    let next = (to < all.len()).then(|| to.to_string());
    Ok(Page { items: all.into_iter().skip(from).take(limit as usize).collect(), next })
}
