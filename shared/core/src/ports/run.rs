//! Runs in the store: recording, loading, changing, listing and deleting them, and what is reported about them.

use super::store::{Page, StoreResult};
use crate::change::{NewRun, RunChange, UsageChange};
use crate::concurrency::{QueueRef, SlotScope};
use crate::delivery::{Attempt, Delivery};
use crate::governor::ledger::Ledger;
use crate::id::{DefinitionId, InstanceId, NodeId, RunId, TenantId};
use crate::idempotency::{IdempotencyClaim, IdempotencyRecord};
use crate::lifecycle::{RunStatus, StopIntent};
use crate::report::{AnswerHead, Comment, NodeAnswer, NodeOutcome, Progress, ReportToken};
use crate::run::Run;
use crate::snapshot::{Ending, RecordKeys, Snapshot};
use crate::step::Step;
use crate::usage::{LlmCall, UsageLedger};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

/// What became of an attempt to record a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Recorded {
    /// The run is recorded.
    Created,
    /// Another request was first with this idempotency key, which is still valid at the new run's `created_at`. Nothing
    /// was written.
    KeyTaken(Box<IdempotencyRecord>),
    /// These limits have no free slot, or other runs wait for one already. Nothing was written.
    Full(Vec<SlotScope>),
    /// The run was to join a queue, but no run waits in that queue and a slot is free. Nothing was written.
    NotFull,
    /// The queue holds as many runs as it may. Nothing was written.
    QueueFull,
}

/// Records new runs.
pub trait RecordRun: Send + Sync {
    /// Writes the head, snapshot, request and idempotency record of a new run, takes its slots or its place in a queue,
    /// and links it to the runs that it repeats or evaluates: all or nothing, in one round trip. A run that is not there
    /// any more, or [let go](Run::LET_GO), gets no link, because nobody would find the link to delete it. Repeating the
    /// call after its answer was lost gives `Created` again. Where both a key is taken and a limit is reached, the
    /// answer is `KeyTaken`.
    fn record_run(&self, new: &NewRun) -> impl Future<Output = StoreResult<Recorded>> + Send;

    /// The record of the first request with the claim's idempotency key, if there is one that is valid at `now`.
    /// Strongly consistent.
    fn first_with_key(
        &self,
        tenant: &TenantId,
        claim: &IdempotencyClaim,
        now: Timestamp,
    ) -> impl Future<Output = StoreResult<Option<IdempotencyRecord>>> + Send;

    /// The store's keys with which the runner finds its run.
    fn record_keys(&self, tenant: &TenantId, run_id: RunId) -> RecordKeys;
}

/// What lies beside the head of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    Snapshot,
    /// What the request for the run said.
    Request,
    Output,
    /// The ledger of what its reported LLM calls have used.
    Ledger,
    /// The ledger of its governed calls.
    Governed,
    Ending,
    /// A node's step with its result.
    Step(&'a NodeId),
}

/// A run with those of its parts that were asked for and are there.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub run: Run,
    pub snapshot: Option<Snapshot>,
    /// JSON text. A run that was recorded before requests were kept has none.
    pub request: Option<String>,
    /// JSON text.
    pub output: Option<String>,
    /// An empty one when no call was reported.
    pub ledger: UsageLedger,
    /// A run that was recorded before there were such ledgers has none.
    pub governed: Option<Ledger>,
    /// A run that was recorded before this was kept apart has none.
    pub ending: Option<Ending>,
    pub step: Option<Step>,
}

impl Loaded {
    /// A run of which nothing else is known.
    pub fn new(run: Run) -> Self {
        let ledger = UsageLedger::default();
        Self { run, snapshot: None, request: None, output: None, ledger, governed: None, ending: None, step: None }
    }
}

/// Loads one run.
pub trait LoadRun: Send + Sync {
    /// The run as it is stored; `None` when the tenant has no such run. Strongly consistent.
    fn load_run(&self, tenant: &TenantId, run_id: RunId) -> impl Future<Output = StoreResult<Option<Run>>> + Send;
    /// The run with these parts, in one round trip. Each is strongly consistent, and read by itself: one may have been changed
    /// between two of them.
    fn load_with(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        parts: &[Part<'_>],
    ) -> impl Future<Output = StoreResult<Option<Loaded>>> + Send;
    /// The frozen snapshot of the run. Strongly consistent.
    fn load_snapshot(
        &self,
        tenant: &TenantId,
        run_id: RunId,
    ) -> impl Future<Output = StoreResult<Option<Snapshot>>> + Send;
    /// A node's step with its result, except a result that the snapshot has already. Strongly consistent.
    fn load_step(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        node_id: &NodeId,
    ) -> impl Future<Output = StoreResult<Option<Step>>> + Send;
    /// The results of those of these nodes that have one, except results that the snapshot has already. Strongly consistent.
    fn load_results(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        node_ids: &[NodeId],
    ) -> impl Future<Output = StoreResult<BTreeMap<NodeId, String>>> + Send;
    /// The ledger of what the run's LLM calls have used; an empty one when no call was reported. Strongly consistent.
    fn load_usage(&self, tenant: &TenantId, run_id: RunId) -> impl Future<Output = StoreResult<UsageLedger>> + Send;
    /// Every governed call of the run that is over and that ran. Strongly consistent.
    fn governed_calls(
        &self,
        tenant: &TenantId,
        run_id: RunId,
    ) -> impl Future<Output = StoreResult<Vec<LlmCall>>> + Send;
}

/// What became of a change of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The change was written.
    Done,
    /// The stored run is no longer at `expected_rev`, or its usage ledger no longer at `expected_ledger_rev`. Nothing was
    /// written; the run as it is stored comes with this, if it exists.
    Stale(Option<Box<Run>>),
    /// The stored run is at `expected_rev`, but these limits have no free slot. Nothing was written.
    Full(Vec<SlotScope>),
}

/// What became of a stop that was asked for unread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopAsked {
    /// The run as it now is.
    pub run: Run,
    /// Whether this call has made it `CANCELING`.
    pub is_recorded: bool,
}

/// Changes runs.
pub trait ChangeRun: LoadRun {
    /// Records that a run is to be stopped, without having read it: one that is `RUNNING` or `WAITING_FOR_INPUT` is afterwards
    /// as [`Run::after`] leaves it after [`StopAsked`](crate::lifecycle::RunEvent::StopAsked). Every other run stays as it is:
    /// what its stop means takes more than this. `None` when the tenant has no such run. The same write closes the ledger of
    /// the run's governed calls.
    fn ask_to_stop(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        intent: StopIntent,
        now: Timestamp,
    ) -> impl Future<Output = StoreResult<Option<StopAsked>>> + Send;

    /// Writes the changed head, the output and the deliveries, and moves the run's slots and its place in a queue, all
    /// or nothing, if the stored run is still at `expected_rev`, and its usage ledger at `expected_ledger_rev` where the
    /// change has one.
    fn change_run(&self, change: &RunChange) -> impl Future<Output = StoreResult<Changed>> + Send;
}

/// Records answers for nodes that wait for somebody outside.
pub trait AnswerNode: ChangeRun {
    /// Writes the changed head, the answer for one of the run's nodes and an entry in the run's list of inputs, all or
    /// nothing, if the stored run is still at `expected_rev` and the node waits and has no answer yet. `None` when the
    /// node does not wait or has an answer already; then nothing was written.
    fn answer_node(
        &self,
        change: &RunChange,
        node_id: &NodeId,
        answer: &NodeAnswer,
    ) -> impl Future<Output = StoreResult<Option<Changed>>> + Send;
    /// The task token and the recorded answer of a node that still waits; `None` for any other node. Strongly
    /// consistent.
    fn load_answer(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        node_id: &NodeId,
    ) -> impl Future<Output = StoreResult<Option<(String, NodeOutcome)>>> + Send;
}

/// Records what workers report of a run's nodes, and what people remark on a run.
pub trait RecordReports: Send + Sync {
    /// Records how far a node has come; what the report leaves out stays as it was. `false` when the node is not under
    /// way; then nothing was written.
    fn record_progress(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        node_id: &NodeId,
        progress: &Progress,
    ) -> impl Future<Output = StoreResult<bool>> + Send;
    /// Records a new report token, of which only the hash is kept, until some time after the token has expired. Returns
    /// `false` when the run is not there or [let go](Run::LET_GO), and nothing was written.
    fn save_report_token(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        token: &ReportToken,
    ) -> impl Future<Output = StoreResult<bool>> + Send;
    /// The run's report token with this hash, if there is one. The token may have expired. Strongly consistent.
    fn load_report_token(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        hash: &str,
    ) -> impl Future<Output = StoreResult<Option<ReportToken>>> + Send;
    /// Adds a comment to a run. Returns `false` when the run is not there or [let go](Run::LET_GO), and nothing was
    /// written.
    fn add_comment(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        comment: &Comment,
    ) -> impl Future<Output = StoreResult<bool>> + Send;
}

/// Records what a run's LLM calls used.
pub trait RecordUsage: ChangeRun {
    /// Which of these LLM calls were recorded before, by their ids, and which of these nodes have begun. Strongly consistent, in
    /// one round trip.
    fn known_calls(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        call_ids: &BTreeSet<String>,
        node_ids: &BTreeSet<NodeId>,
    ) -> impl Future<Output = StoreResult<(BTreeSet<String>, BTreeSet<NodeId>)>> + Send;
    /// Writes the calls, the ledger and the stop, all or nothing, if none of the calls was recorded before, the stored
    /// ledger is at `ledger.rev - 1`, the run exists and is not [being deleted](Run::LET_GO), and, where there is a
    /// stop, the stored run is at the stop's `expected_rev`. `false` when one of these does not hold; then nothing was
    /// written.
    fn record_usage(&self, change: &UsageChange) -> impl Future<Output = StoreResult<bool>> + Send;
}

/// Reads the queues of runs that wait for a slot.
pub trait ReadQueue: Send + Sync {
    /// At most `limit` runs of one queue, the one that waits for longest first. Eventually consistent: load a run again
    /// before changing it.
    fn queued_runs(&self, queue: &QueueRef, limit: u32) -> impl Future<Output = StoreResult<Vec<RunId>>> + Send;
    /// The place of a run in its queue: 1 for the run whose turn is next. `None` when the run does not wait. Eventually
    /// consistent.
    fn queue_position(&self, run: &Run) -> impl Future<Output = StoreResult<Option<u32>>> + Send;
}

/// Names a run of any tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunRef {
    pub tenant_id: TenantId,
    pub run_id: RunId,
}

/// Deletes runs whose retention is over.
pub trait PurgeRuns: Send + Sync {
    /// Until when the run owes something at the least: when the last of its deliveries is due that were neither delivered nor
    /// dead-lettered. `None` when it owes nothing. Strongly consistent.
    fn owed_until(
        &self,
        tenant: &TenantId,
        run_id: RunId,
    ) -> impl Future<Output = StoreResult<Option<Timestamp>>> + Send;
    /// Deletes a run with everything that is stored of it. The head is deleted last, so that after a crash the rest can
    /// still be found and deleted. Deleting a run that does not exist is no error.
    fn purge_run(&self, tenant: &TenantId, run_id: RunId) -> impl Future<Output = StoreResult<()>> + Send;
}

/// Which runs a list is narrowed to. A run must match every field that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Runs in any of these statuses; in all statuses when empty.
    pub statuses: BTreeSet<RunStatus>,
    pub definition_id: Option<DefinitionId>,
    pub instance_id: Option<InstanceId>,
    /// The name and the value of a label that the run has.
    pub label: Option<(String, String)>,
    /// The principal that created the run.
    pub created_by: Option<String>,
    pub replay_of: Option<RunId>,
    pub evaluation_of: Option<RunId>,
    pub created_from: Option<Timestamp>,
    pub created_before: Option<Timestamp>,
    /// Oldest first instead of newest first.
    pub ascending: bool,
}

/// Lists runs, and reads everything else that is stored of a run.
pub trait ReadRuns: LoadRun {
    /// A page of the tenant's runs in the order of their creation. Eventually consistent. A filtered page may be short
    /// although more runs follow.
    ///
    /// # Errors
    /// `StoreErrorClass::Corrupt` also for a `cursor` that this store did not give for this filter.
    fn list_runs(
        &self,
        tenant: &TenantId,
        filter: &RunFilter,
        limit: u32,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<Run>>> + Send;
    /// The steps of those of these nodes that have begun, without their results, which may be large. In no order. Strongly
    /// consistent.
    fn load_steps(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        node_ids: &[NodeId],
    ) -> impl Future<Output = StoreResult<Vec<Step>>> + Send;
    /// The run's steps without their results, which may be large.
    fn list_steps(&self, tenant: &TenantId, run_id: RunId) -> impl Future<Output = StoreResult<Vec<Step>>> + Send;
    /// The ids of the runs that repeat this run and of those that evaluate it: of each the newest
    /// [`limits::LINKED_RUNS`](crate::limits::LINKED_RUNS).
    fn list_links(&self, tenant: &TenantId, run_id: RunId) -> impl Future<Output = StoreResult<RunLinks>> + Send;
    /// The answers that the run's nodes were given from outside, the oldest first, without what was given, which may be
    /// large.
    fn list_inputs(
        &self,
        tenant: &TenantId,
        run_id: RunId,
    ) -> impl Future<Output = StoreResult<Vec<AnswerHead>>> + Send;
    /// What was given with each of these answers of the run, in their order. One that is not there is corrupt.
    fn load_inputs(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        answers: &[&AnswerHead],
    ) -> impl Future<Output = StoreResult<Vec<NodeOutcome>>> + Send;
    /// A page of the run's recorded LLM calls, in an order that stays the same.
    fn list_usage(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        limit: u32,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<LlmCall>>> + Send;
    /// A page of the comments on the run, the oldest first.
    fn list_comments(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        limit: u32,
        cursor: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page<Comment>>> + Send;
    /// What the request for the run said, JSON text; `None` for a run that was recorded before requests were kept.
    fn load_request(
        &self,
        tenant: &TenantId,
        run_id: RunId,
    ) -> impl Future<Output = StoreResult<Option<String>>> + Send;
    /// The run's output, JSON text.
    fn load_output(&self, tenant: &TenantId, run_id: RunId)
    -> impl Future<Output = StoreResult<Option<String>>> + Send;
    /// Every delivery of the run with the newest [`limits::DELIVERY_ATTEMPTS`](crate::limits::DELIVERY_ATTEMPTS) of its
    /// attempts, the oldest first. The bodies of the deliveries are left empty.
    fn list_deliveries(
        &self,
        tenant: &TenantId,
        run_id: RunId,
    ) -> impl Future<Output = StoreResult<Vec<(Delivery, Vec<Attempt>)>>> + Send;
}

/// The runs that repeat or evaluate a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunLinks {
    pub replays: Vec<RunId>,
    pub evaluations: Vec<RunId>,
}
