//! Runs in the store: recorded, loaded, changed, reported on, listed, let go.

use super::store::{Page, StoreResult};
use crate::change::{NewRun, RunChange, UsageChange};
use crate::concurrency::{QueueRef, SlotScope};
use crate::delivery::{Attempt, Delivery};
use crate::id::{DefinitionId, InstanceId, NodeId, RunId, TenantId};
use crate::idempotency::{IdempotencyClaim, IdempotencyRecord};
use crate::lifecycle::RunStatus;
use crate::report::{Comment, NodeAnswer, NodeOutcome, Progress, ReportToken};
use crate::run::Run;
use crate::snapshot::{RecordKeys, Snapshot};
use crate::step::Step;
use crate::usage::{UsageLedger, UsageReport};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::future::Future;

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
