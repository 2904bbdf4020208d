//! The table in memory: every store port over one map of maps, conditions and transactions included.

mod board_tables;
mod boards;
mod catalog;
mod deliveries;
mod governor;
mod look;
mod manage;
mod meter;
mod models;
mod outside;
mod read;
mod rules;
mod runs;
mod sweep;

use crate::fault::{Fault, Faults, lock};
use jiff::Timestamp;
use sluice_core::call_id::CallId;
use sluice_core::catalog::{Draft, Found, Named, OpenRunsKey, OwnerKey, SettingsKey, Shared, Wanted};
use sluice_core::change::{NewRun, RunChange, SlotChange};
use sluice_core::concurrency::{Admission, QueueRef, SlotScope};
use sluice_core::definition::{Definition, Version};
use sluice_core::delivery::health::Health;
use sluice_core::delivery::{Attempt, Delivery, DeliveryStatus};
use sluice_core::governor::access::ProcessorKeys;
use sluice_core::governor::ledger::Ledger;
use sluice_core::governor::ledger::change::Earlier;
use sluice_core::governor::model::Model;
use sluice_core::governor::quota::{PeriodKey, Quota, QuotaOwner, QuotaRule};
use sluice_core::governor::record::CallRecord;
use sluice_core::id::{
    ComputeNodeKey, DefinitionId, DefinitionName, InstanceId, ModelKey, NodeId, ProcessorKey, RunId, TenantId,
};
use sluice_core::idempotency::{IdempotencyClaim, IdempotencyRecord, Operation};
use sluice_core::instance::Instance;
use sluice_core::limits;
use sluice_core::memory::Memory;
use sluice_core::meter::{Count, MeterKey, Reading};
use sluice_core::open_runs::OpenRuns;
use sluice_core::operator::{ComputeNode, Processor, TenantSettings};
use sluice_core::ports::{
    AnswerNode, ChangeRun, Changed, CountOnMeter, DefinitionSaved, Deliveries, DeliveryRef, DueDelivery, LoadRun,
    Loaded, ManageDefinitions, ManageOperator, Page, Part, PurgeRuns, ReadCatalog, ReadQueue, ReadRuns, ReceiverHealth,
    RecordReports, RecordRun, RecordUsage, Recorded, ReportReceipt, RunFilter, RunLinks, RunRef, SHARDS, SaveInstance,
    StoreError, StoreErrorClass, StoreResult, Sweep,
};
use sluice_core::report::{AnswerHead, Comment, NodeAnswer, NodeOutcome, Progress, ReportToken};
use sluice_core::run::Run;
use sluice_core::snapshot::{RecordKeys, Snapshot};
use sluice_core::step::{Step, StepStatus};
use sluice_core::usage::{LlmCall, RecordedCall, UsageCount};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::future::pending;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

/// Clones share one table.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    tables: Arc<Mutex<Tables>>,
    pub faults: Faults,
    pub laxity: Option<Laxity>,
    process: Arc<Process>,
}

/// What one process knows of the table: clones of a store share it, [another process](MemoryStore::another_process) does not.
#[derive(Debug, Default)]
struct Process {
    memory: Memory,
    /// For [`Laxity::CatalogRemembered`].
    answers: Mutex<(Wanted, Found)>,
}

impl MemoryStore {
    async fn act<T: Send>(
        &self,
        operation: &'static str,
        effect: impl FnOnce(&mut Tables) -> StoreResult<T> + Send,
    ) -> StoreResult<T> {
        crate::turn().await;
        let fault = self.faults.next(operation);
        match fault {
            Some(Fault::Before(class)) => {
                return Err(StoreError::new(operation, class, "injected before its effect"));
            }
            Some(Fault::SilentBefore) => pending::<()>().await,
            Some(Fault::After(_) | Fault::SilentAfter) | None => {}
        }
        let result = effect(&mut lock(&self.tables));
        crate::turn().await;
        match fault {
            Some(Fault::After(class)) => Err(StoreError::new(operation, class, "injected after its effect")),
            Some(Fault::SilentAfter) => pending().await,
            Some(Fault::Before(_) | Fault::SilentBefore) | None => result,
        }
    }
}

/// Precautions that a table can be made to forget, to show that their loss is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Laxity {
    /// `write_board` does not look at the `rev` before.
    BoardUnconditional,
    /// `write_board` does not look at `expected_run_rev`.
    BoardOfAnyRun,
    /// `write_board` does not keep whom the wake names.
    WakeForgotten,
    /// `write_board` does not write the parts of steps.
    PartsForgotten,
    /// A run is read with a plan that has no edges.
    PlanWithoutEdges,
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
    /// `record_calls` records a call as often as it is reported.
    UsageNotIdempotent,
    /// A process that has read something of the catalog does not read it again.
    CatalogRemembered,
    /// `change_run` does not look at `expected_reports_rev`.
    LedgerUnconditional,
    /// `change_run` leaves the governor's ledger of a run open that is being stopped or has ended.
    LedgerLeftOpen,
    /// `reserve` does not look at what is left.
    ReserveUnconditional,
    /// `reserve` does not look at grant, holder and node.
    GrantNotChecked,
    /// `reserve` does not look at whether the ledger is closed.
    ClosedLedgerHolds,
    /// `reserve` does not look at how many calls are under way.
    CrowdUnbounded,
    /// `settle` adds the cost of a call whether it has a hold or not.
    SettleUnconditional,
    /// `settle` adds the cost of a call and leaves its hold.
    HoldKept,
    /// `record_call` replaces the record of a call that has one.
    RecordReplaced,
    /// `count_report` adds the cost of a report whether it is under way or not.
    ReportCountedTwice,
    /// `give_up_report` replaces the receipt of a report that has one.
    ReceiptReplaced,
    /// `draw` does not look at what is left of a quota.
    DrawUnconditional,
    /// `change_run` names every limit of a run as full where one of them is.
    FullNamesAll,
    /// `save_…` of what the operator declares, and of a draft, does not look at the revision.
    DeclaredUnconditional,
}

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
    /// What the ends of runs need of their snapshots.
    endings: BTreeMap<RunKey, String>,
    requests: BTreeMap<RunKey, String>,
    /// Slots held and runs queued, by limit.
    counters: BTreeMap<QueueRef, Counter>,
    /// What was reported before there was one ledger.
    earlier: BTreeMap<RunKey, Earlier>,
    usage: BTreeMap<RunKey, BTreeMap<String, RecordedCall>>,
    /// What a read told of a run's usage when the run ended.
    used_at_end: BTreeMap<RunKey, UsageCount>,
    inputs: BTreeMap<RunKey, Vec<(NodeId, NodeAnswer)>>,
    comments: BTreeMap<RunKey, BTreeMap<String, Comment>>,
    tokens: BTreeMap<(RunKey, String), ReportToken>,
    outputs: BTreeMap<RunKey, String>,
    steps: BTreeMap<(TenantId, RunId, NodeId), Step>,
    /// External nodes that wait: their task token, and their answer once there is one.
    waiting: BTreeMap<(TenantId, RunId, NodeId), (String, Option<NodeAnswer>)>,
    deliveries: BTreeMap<DeliveryRef, Delivery>,
    attempts: BTreeMap<DeliveryRef, Vec<Attempt>>,
    health: BTreeMap<TenantId, Health>,
    idempotency: BTreeMap<IdempotencyKeyOf, IdempotencyRecord>,
    names: BTreeMap<(TenantId, DefinitionName), DefinitionId>,
    definitions: BTreeMap<(TenantId, DefinitionId), Definition>,
    versions: BTreeMap<(TenantId, DefinitionId, u32), Version>,
    instances: BTreeMap<(TenantId, InstanceId), Instance>,
    drafts: BTreeMap<(TenantId, DefinitionId), Draft>,
    processors: BTreeMap<ProcessorKey, Processor>,
    models: BTreeMap<ModelKey, Model>,
    compute_nodes: BTreeMap<ComputeNodeKey, ComputeNode>,
    tenants: BTreeMap<TenantId, TenantSettings>,
    meters: BTreeMap<MeterKey, i64>,
    open_runs: BTreeMap<TenantId, OpenRuns>,
    governed: Governed,
    boards: board_tables::BoardTables,
    /// Open or expired runs, and due boards, on a page of a list, where not as many as usual.
    page: Option<u32>,
    writes: u64,
}

/// What the governor keeps.
#[derive(Clone, Debug, Default)]
struct Governed {
    ledgers: BTreeMap<RunKey, Ledger>,
    records: BTreeMap<RunKey, BTreeMap<CallId, CallRecord>>,
    receipts: BTreeMap<RunKey, BTreeMap<CallId, ReportReceipt>>,
    quotas: BTreeMap<(QuotaOwner, PeriodKey), Quota>,
    keys: BTreeMap<ProcessorKey, ProcessorKeys>,
    /// What runs may spend together, in the place of what budgets say.
    rules: Option<Vec<QuotaRule>>,
    /// Of all of these.
    changes: u64,
}

/// What one limit counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    pub held: i64,
    pub queued: i64,
}

fn reference(delivery: &Delivery) -> DeliveryRef {
    DeliveryRef { tenant_id: delivery.tenant_id.clone(), run_id: delivery.run_id, number: delivery.number }
}

/// Due deliveries on a page.
const DUE_PAGE: u32 = 100;

fn shard_of(run_id: RunId) -> u8 {
    (run_id.0.as_u128() % u128::from(SHARDS)) as u8
}

/// A page of what is in order already, of the list `of`. The cursor is the place to go on from, and good for that list
/// alone.
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
