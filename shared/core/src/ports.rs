//! The outside world, one narrow trait per verb. Each trait's documentation is its contract: the memory ports of the
//! testkit and the adapters of `sluice-aws` are held to the same words by the same tests.

use crate::concurrency::{Admission, QueueRef, SlotScope};
use crate::definition::{Definition, Version};
use crate::delivery::{Attempt, AttemptOutcome, Delivery};
use crate::id::{ComputeNodeKey, DefinitionId, DefinitionName, InstanceId, NodeId, ProcessorKey, RunId, TenantId};
use crate::idempotency::{IdempotencyClaim, IdempotencyRecord};
use crate::instance::Instance;
use crate::lifecycle::{EngineEnd, RunStatus};
use crate::operator::{ComputeNode, Processor, TenantSettings};
use crate::report::{Comment, NodeAnswer, NodeOutcome, Progress, ReportToken};
use crate::run::{EndDetails, Run, RunChange};
use crate::snapshot::{RecordKeys, Snapshot};
use crate::step::Step;
use crate::usage::{UsageChange, UsageLedger, UsageReport};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

/// A store call that did not do what was asked. Opaque but for its class.
#[derive(Debug, thiserror::Error)]
#[error("the store failed to {operation} ({class:?})")]
pub struct StoreError {
    /// What was tried, as a verb with its object: "record the run".
    pub operation: &'static str,
    pub class: StoreErrorClass,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorClass {
    /// Contention that outlasted the adapter's own retries. Nothing was written.
    Conflict,
    /// Too fast. Nothing was written.
    Throttled,
    /// No answer, or a fault on their side. A write may or may not have happened.
    Unavailable,
    /// An item that no released version wrote.
    Corrupt,
}

impl StoreError {
    pub fn new(
        operation: &'static str,
        class: StoreErrorClass,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { operation, class, source: Some(source.into()) }
    }

    pub fn is_conflict(&self) -> bool {
        self.class == StoreErrorClass::Conflict
    }
}

pub type StoreResult<T> = Result<T, StoreError>;

/// Names one thing that a request needs before it can be planned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CatalogKey {
    DefinitionName(DefinitionName),
    Definition(DefinitionId),
    Version(DefinitionId, u32),
    /// The definition's draft: a version of number 0.
    Draft(DefinitionId),
    /// The owner of a discoverable definition.
    Discoverable(DefinitionId),
    Instance(InstanceId),
    ComputeNode(ComputeNodeKey),
    Processor(ProcessorKey),
    /// The operator's settings of the tenant itself.
    Tenant,
}

#[derive(Clone, Debug, PartialEq)]
pub enum CatalogItem {
    DefinitionName(DefinitionId),
    Definition(Definition),
    Version(Version),
    /// Who owns a definition that every tenant may run.
    Discoverable(TenantId),
    /// There always are settings: those of a tenant that has none of its own leave everything open.
    Tenant(TenantSettings),
    Instance(Instance),
    ComputeNode(ComputeNode),
    Processor(Processor),
}

/// Reads definitions, versions, instances, processors, compute nodes and tenants' settings.
pub trait ReadCatalog: Send + Sync {
    /// The items under `keys`, in their order, `None` where there is none. In one round trip, or none where all are
    /// cached: versions for good, drafts never, everything else for five seconds.
    fn catalog(
        &self,
        tenant: &TenantId,
        keys: &[CatalogKey],
    ) -> impl Future<Output = StoreResult<Vec<Option<CatalogItem>>>> + Send;
}

pub trait SaveInstance: Send + Sync {
    /// Saves an instance if there is none with its id. Saving it again changes nothing.
    fn save_instance(&self, instance: &Instance) -> impl Future<Output = StoreResult<()>> + Send;
}

/// Everything that recording a run writes, in one transaction.
#[derive(Clone, Debug)]
pub struct NewRun {
    pub run: Run,
    /// [`Snapshot::to_text`].
    pub snapshot_text: String,
    /// [`RequestParts`](crate::snapshot::RequestParts) as text: what a replay on another version needs.
    pub request_text: String,
    /// The way to its place; the run's `slots` and `queued_in` say the same.
    pub admission: Admission,
    pub idempotency: Option<(IdempotencyClaim, IdempotencyRecord)>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Recorded {
    Created,
    /// Another request with this key, still valid at the new run's `created_at`, was first. Nothing was written.
    KeyTaken(Box<IdempotencyRecord>),
    /// These limits have no free slot, or others wait for it already. Nothing was written.
    Full(Vec<SlotScope>),
    /// A run that would have joined a queue finds nobody there and a slot free. Nothing was written.
    NotFull,
    /// The queue holds as many as it may. Nothing was written.
    QueueFull,
}

pub trait RecordRun: Send + Sync {
    /// Writes head, snapshot, request and idempotency record, takes the run's slots or its place in a queue, and links it to
    /// the run that it repeats or evaluates: all or nothing, in one round trip. A repetition of the same call after a lost
    /// answer is `Created` again. A taken key is said before a full limit.
    fn record_run(&self, new: &NewRun) -> impl Future<Output = StoreResult<Recorded>> + Send;

    /// The valid record under a claim's key, if any. Strongly consistent.
    fn first_with_key(
        &self,
        tenant: &TenantId,
        claim: &IdempotencyClaim,
        now: Timestamp,
    ) -> impl Future<Output = StoreResult<Option<IdempotencyRecord>>> + Send;

    /// The key text that the runner needs to find the run.
    fn record_keys(&self, tenant: &TenantId, run_id: RunId) -> RecordKeys;
}

pub trait LoadRun: Send + Sync {
    /// Strongly consistent. Another tenant's run is `None`.
    fn load_run(&self, tenant: &TenantId, run_id: RunId) -> impl Future<Output = StoreResult<Option<Run>>> + Send;
    fn load_snapshot(
        &self,
        tenant: &TenantId,
        run_id: RunId,
    ) -> impl Future<Output = StoreResult<Option<Snapshot>>> + Send;
    /// What the run has used; the empty ledger when nothing was reported. Strongly consistent.
    fn load_usage(&self, tenant: &TenantId, run_id: RunId) -> impl Future<Output = StoreResult<UsageLedger>> + Send;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    Done,
    /// The run is not at `expected_rev` any more. Nothing was written; here is the run as it is, if it exists.
    Stale(Option<Box<Run>>),
    /// The run is at `expected_rev`, but these limits have no free slot. Nothing was written.
    Full(Vec<SlotScope>),
}

pub trait ChangeRun: LoadRun {
    /// Writes head, output and deliveries, and moves the run's slots and its place in a queue, all or nothing, if the run is
    /// still at `expected_rev`.
    fn change_run(&self, change: &RunChange) -> impl Future<Output = StoreResult<Changed>> + Send;
}

pub trait AnswerNode: ChangeRun {
    /// Writes the changed head, the answer of one of its nodes and its line in the run's list of inputs, all or nothing, if the run is still at `expected_rev` and
    /// the node waits with no answer yet. `None` when the node does not, and nothing was written.
    fn answer_node(
        &self,
        change: &RunChange,
        node_id: &NodeId,
        answer: &NodeAnswer,
    ) -> impl Future<Output = StoreResult<Option<Changed>>> + Send;
    /// The task token and the recorded answer of a node that still waits. Strongly consistent.
    fn load_answer(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        node_id: &NodeId,
    ) -> impl Future<Output = StoreResult<Option<(String, NodeOutcome)>>> + Send;
}

/// What workers and people say of an open run beside answers.
pub trait RecordReports: Send + Sync {
    /// Shows how far a node has come. `false` when the node is not under way, and nothing was written.
    fn record_progress(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        node_id: &NodeId,
        progress: &Progress,
    ) -> impl Future<Output = StoreResult<bool>> + Send;
    /// Keeps a new token's hash until some time after it has expired.
    fn save_report_token(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        token: &ReportToken,
    ) -> impl Future<Output = StoreResult<()>> + Send;
    /// The token with this hash, if it is one of this run; it may have expired. Strongly consistent.
    fn load_report_token(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        hash: &str,
    ) -> impl Future<Output = StoreResult<Option<ReportToken>>> + Send;
    fn add_comment(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        comment: &Comment,
    ) -> impl Future<Output = StoreResult<()>> + Send;
}

pub trait RecordUsage: ChangeRun {
    /// Which of these calls were reported before. Strongly consistent.
    fn known_calls(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        call_ids: &[String],
    ) -> impl Future<Output = StoreResult<BTreeSet<String>>> + Send;
    /// Writes the calls, the ledger and the stop, all or nothing, if none of the calls was reported before, the ledger is
    /// at `ledger.rev - 1`, the run is there and not [let go](Run::LET_GO), and, for a stop, at its expected `rev`. `false`
    /// when that is not so, and nothing was written.
    fn record_usage(&self, change: &UsageChange) -> impl Future<Output = StoreResult<bool>> + Send;
}

/// Runs that wait for a slot.
pub trait ReadQueue: Send + Sync {
    /// Runs of one queue, the longest waiting first. Eventually consistent: load a run again before moving it.
    fn queued_runs(&self, queue: &QueueRef, limit: u32) -> impl Future<Output = StoreResult<Vec<RunId>>> + Send;
    /// How many runs stand before this one in its queue, itself included: 1 for the next. `None` when it does not wait.
    /// Eventually consistent.
    fn queue_position(&self, run: &Run) -> impl Future<Output = StoreResult<Option<u32>>> + Send;
}

/// Names a run, whoever's it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunRef {
    pub tenant_id: TenantId,
    pub run_id: RunId,
}

pub trait PurgeRuns: Send + Sync {
    /// Whether something is still owed to somebody: a delivery that has neither arrived nor been given up.
    fn owes_deliveries(&self, tenant: &TenantId, run_id: RunId) -> impl Future<Output = StoreResult<bool>> + Send;
    /// Deletes a run with all its items, its head last: a crash in between leaves what can be found and deleted again.
    /// Deleting what is gone is no error.
    fn purge_run(&self, tenant: &TenantId, run_id: RunId) -> impl Future<Output = StoreResult<()>> + Send;
}

/// What a list of runs is narrowed to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Any of these; empty for all.
    pub statuses: BTreeSet<RunStatus>,
    pub definition_id: Option<DefinitionId>,
    pub instance_id: Option<InstanceId>,
    /// Name and value of a label.
    pub label: Option<(String, String)>,
    /// The principal that made the run.
    pub created_by: Option<String>,
    pub replay_of: Option<RunId>,
    pub evaluation_of: Option<RunId>,
    pub created_from: Option<Timestamp>,
    pub created_before: Option<Timestamp>,
    /// Oldest first instead of newest first.
    pub ascending: bool,
}

/// One page. `next` continues after it; it is the store's own text, made opaque and bound to its filter by the edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

pub trait ReadRuns: LoadRun {
    /// Runs of the tenant by creation time. Eventually consistent; a filtered page may be short although more follow.
    ///
    /// A `cursor` that this store did not give for this filter is `StoreErrorClass::Corrupt`.
    fn list_runs(
        &self,
        tenant: &TenantId,
        filter: &RunFilter,
        limit: u32,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<Run>>> + Send;
    /// Without results: those may be large.
    fn list_steps(&self, tenant: &TenantId, run_id: RunId) -> impl Future<Output = StoreResult<Vec<Step>>> + Send;
    fn load_step(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        node_id: &NodeId,
    ) -> impl Future<Output = StoreResult<Option<Step>>> + Send;
    /// Ids of the runs that repeat and that evaluate this one, at most 100 of each.
    fn list_links(&self, tenant: &TenantId, run_id: RunId) -> impl Future<Output = StoreResult<RunLinks>> + Send;
    /// What the run's nodes were given from outside, the first first.
    fn list_inputs(
        &self,
        tenant: &TenantId,
        run_id: RunId,
    ) -> impl Future<Output = StoreResult<Vec<(NodeId, NodeAnswer)>>> + Send;
    /// Calls that were reported, in an order that lasts.
    fn list_usage(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        limit: u32,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<UsageReport>>> + Send;
    /// Oldest first, by their ids.
    fn list_comments(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        limit: u32,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<Comment>>> + Send;
    /// What the run was made from, JSON text; `None` for a run of before it was kept.
    fn load_request(
        &self,
        tenant: &TenantId,
        run_id: RunId,
    ) -> impl Future<Output = StoreResult<Option<String>>> + Send;
    /// The run's output, JSON text.
    fn load_output(&self, tenant: &TenantId, run_id: RunId)
    -> impl Future<Output = StoreResult<Option<String>>> + Send;
    /// Every delivery of the run with its attempts, oldest first. Bodies are left empty.
    fn list_deliveries(
        &self,
        tenant: &TenantId,
        run_id: RunId,
    ) -> impl Future<Output = StoreResult<Vec<(Delivery, Vec<Attempt>)>>> + Send;
}

/// The runs that were made from a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunLinks {
    pub replays: Vec<RunId>,
    pub evaluations: Vec<RunId>,
}

/// Names one delivery.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryRef {
    pub tenant_id: TenantId,
    pub run_id: RunId,
    pub number: u32,
}

pub trait Deliveries: Send + Sync {
    /// With its body. Strongly consistent.
    fn load_delivery(&self, delivery: &DeliveryRef) -> impl Future<Output = StoreResult<Option<Delivery>>> + Send;
    /// Writes `next` if the delivery is still at `next.rev - 1`; `false` when it is not, and nothing was written.
    fn change_delivery(
        &self,
        next: &Delivery,
        attempt: Option<&Attempt>,
    ) -> impl Future<Output = StoreResult<bool>> + Send;
    /// Keeps an attempt that changes its delivery no more, because another sender has it in hand by now.
    fn record_late_attempt(
        &self,
        delivery: &DeliveryRef,
        attempt: &Attempt,
    ) -> impl Future<Output = StoreResult<()>> + Send;
    /// Deliveries of the tenant that were given up at `since` or later, the first given up first. Eventually consistent.
    fn dead_deliveries(
        &self,
        tenant: &TenantId,
        since: Timestamp,
        limit: u32,
    ) -> impl Future<Output = StoreResult<Vec<DeliveryRef>>> + Send;
}

/// A delivery that is due, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueDelivery {
    pub delivery: DeliveryRef,
    /// [`Channel::destination`](crate::delivery::Channel::destination).
    pub destination: String,
}

/// Shards of the sparse indexes.
pub const SHARDS: u8 = 16;

pub trait Sweep: Send + Sync {
    /// A page of open runs of one shard, oldest first. Eventually consistent: load a run again before changing it.
    fn open_runs(&self, shard: u8, cursor: Option<&str>) -> impl Future<Output = StoreResult<Page<Run>>> + Send;
    /// A page of the deliveries of one shard that are due at `now`, longest due first. Eventually consistent.
    fn due_deliveries(
        &self,
        shard: u8,
        now: Timestamp,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<DueDelivery>>> + Send;
    /// Runs of one shard that are gone since `now` or before, longest gone first, at most `limit`. Eventually consistent.
    fn expired_runs(
        &self,
        shard: u8,
        now: Timestamp,
        limit: u32,
    ) -> impl Future<Output = StoreResult<Vec<RunRef>>> + Send;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefinitionSaved {
    Done,
    /// The name belongs to another definition of the tenant.
    NameTaken(DefinitionId),
}

pub trait ManageDefinitions: ReadCatalog {
    /// Writes a new definition and takes its name, all or nothing.
    fn create_definition(&self, definition: &Definition) -> impl Future<Output = StoreResult<DefinitionSaved>> + Send;
    /// Writes the definition, its place among the discoverable ones, and with it a new version if one is given, if it is
    /// still at `definition.rev - 1`.
    /// `false` when it is not, and nothing was written.
    fn change_definition(
        &self,
        definition: &Definition,
        version: Option<&Version>,
    ) -> impl Future<Output = StoreResult<bool>> + Send;
    /// Writes the draft, in the place of an earlier one.
    fn save_draft(&self, tenant: &TenantId, draft: &Version) -> impl Future<Output = StoreResult<()>> + Send;
    /// Deleting what is not there is no error.
    fn delete_draft(&self, tenant: &TenantId, id: DefinitionId) -> impl Future<Output = StoreResult<()>> + Send;
    /// Definitions that every tenant may run, of all tenants, in no order that means anything. Eventually consistent.
    fn list_discoverable(
        &self,
        limit: u32,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<Definition>>> + Send;
    /// The definition as it is now, past every cache. Strongly consistent.
    fn load_definition(
        &self,
        tenant: &TenantId,
        id: DefinitionId,
    ) -> impl Future<Output = StoreResult<Option<Definition>>> + Send;
    /// Newest first.
    fn list_definitions(
        &self,
        tenant: &TenantId,
        limit: u32,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<Definition>>> + Send;
    /// Newest first.
    fn list_versions(
        &self,
        tenant: &TenantId,
        id: DefinitionId,
        limit: u32,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<Version>>> + Send;
    /// Newest first.
    fn list_instances(
        &self,
        tenant: &TenantId,
        limit: u32,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<Instance>>> + Send;
}

pub trait ManageOperator: Send + Sync {
    fn save_processor(&self, processor: &Processor) -> impl Future<Output = StoreResult<()>> + Send;
    fn save_compute_node(&self, node: &ComputeNode) -> impl Future<Output = StoreResult<()>> + Send;
    fn save_tenant(&self, settings: &TenantSettings) -> impl Future<Output = StoreResult<()>> + Send;
    fn list_processors(
        &self,
        limit: u32,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<Processor>>> + Send;
    fn list_compute_nodes(
        &self,
        limit: u32,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<ComputeNode>>> + Send;
    /// Tenants that have settings of their own.
    fn list_tenants(
        &self,
        limit: u32,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<TenantSettings>>> + Send;
}

/// What a start needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartRequest<'a> {
    pub state_machine_arn: &'a str,
    /// The execution's name.
    pub run_id: RunId,
    pub input: &'a str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartOutcome {
    /// The execution exists and is ours: started now, or by an earlier try.
    Started,
    /// Never to be had: the state machine is gone, or refuses the input. `code` is the engine's error.
    Refused { code: String, message: String },
}

/// The engine did not answer, was throttled, or failed on its side. The call may have had its effect.
#[derive(Debug, thiserror::Error)]
#[error("the engine failed to {operation}")]
pub struct EngineError {
    pub operation: &'static str,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

pub type EngineResult<T> = Result<T, EngineError>;

pub trait StartExecution: Send + Sync {
    /// Starts the execution named after its run. Repeating it is safe: an execution of that name with this input,
    /// running or closed, is `Started`.
    fn start_execution(&self, request: &StartRequest<'_>) -> impl Future<Output = EngineResult<StartOutcome>> + Send;
}

pub trait StopExecution: Send + Sync {
    /// Asks the engine to abort. Stopping what has ended or never was is no error.
    fn stop_execution(
        &self,
        execution_arn: &str,
        error: &str,
        cause: &str,
    ) -> impl Future<Output = EngineResult<()>> + Send;
}

/// What the engine knows of an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecutionState {
    Running,
    Ended(EngineEnd, EndDetails),
    /// Never started, or its history is gone.
    Unknown,
}

/// What a runner that waits for a task token is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskAnswer<'a> {
    /// With the task's output, JSON text.
    Success(&'a str),
    Failure {
        error: &'a str,
        cause: &'a str,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskAnswered {
    Taken,
    /// Nobody waits for this token: it was answered before, or its execution has ended.
    NotWaiting,
}

pub trait AnswerTask: Send + Sync {
    /// Answers a task token. Repeating an answer is harmless.
    fn answer_task(
        &self,
        token: &str,
        answer: &TaskAnswer<'_>,
    ) -> impl Future<Output = EngineResult<TaskAnswered>> + Send;
}

pub trait DescribeExecution: Send + Sync {
    /// Eventually consistent, and scarce (about 15 a second): for differences, not for polling.
    fn describe_execution(&self, execution_arn: &str) -> impl Future<Output = EngineResult<ExecutionState>> + Send;
}

pub trait ReadExecutionInput: Send + Sync {
    /// The input an execution was started with; `None` when there is no such execution. Scarce as
    /// [`DescribeExecution`]: only for a status event that left the input out.
    fn execution_input(&self, execution_arn: &str) -> impl Future<Output = EngineResult<Option<String>>> + Send;
}

pub trait ListExecutions: Send + Sync {
    /// Names of the running executions of a state machine, and how to go on.
    fn running_executions(
        &self,
        state_machine_arn: &str,
        cursor: Option<&str>,
    ) -> impl Future<Output = EngineResult<Page<String>>> + Send;
}

pub trait AnnounceDue: Send + Sync {
    /// Hands due deliveries to `run-callback` through the event bus. What is lost is found again by the next sweep.
    fn announce_due(&self, deliveries: &[DeliveryRef]) -> impl Future<Output = EngineResult<()>> + Send;
    /// Tells `run-callback` that slots before these queues were freed. What is lost is found again by the next sweep.
    fn announce_free(&self, queues: &[QueueRef]) -> impl Future<Output = EngineResult<()>> + Send;
}

pub trait PublishStatus: Send + Sync {
    /// Puts "Workflow Run Status Changed" with `detail` on the event bus.
    fn publish_status(&self, detail: &str) -> impl Future<Output = AttemptOutcome> + Send;
}

pub trait SendWebhook: Send + Sync {
    /// One bounded, signed attempt at a webhook. Never follows a redirect.
    fn send_webhook(
        &self,
        url: &str,
        delivery: &Delivery,
        now: Timestamp,
    ) -> impl Future<Output = AttemptOutcome> + Send;
}

pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send;
}
