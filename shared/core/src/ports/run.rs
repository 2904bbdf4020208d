//! Runs in the store: recording, loading, changing, listing and deleting them, and what is reported about them.

use super::store::{Page, StoreResult};
use crate::budget::NanoUsd;
use crate::call_id::CallId;
use crate::change::{NewRun, RunChange};
use crate::concurrency::{QueueRef, SlotScope};
use crate::delivery::{Attempt, Delivery};
use crate::governor::ledger::Ledger;
use crate::governor::ledger::change::{CountReport, Earlier, ReportTotal};
use crate::id::{DefinitionId, InstanceId, NodeId, RunId, TenantId};
use crate::idempotency::{IdempotencyClaim, IdempotencyRecord};
use crate::lifecycle::{RunStatus, StopIntent};
use crate::report::{AnswerHead, Comment, NodeAnswer, NodeOutcome, Progress, ReportToken};
use crate::run::Run;
use crate::snapshot::{Ending, RecordKeys, Snapshot};
use crate::step::Step;
use crate::usage::{LlmCall, RecordedCall};
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
    /// The ledger of its LLM calls.
    Ledger,
    /// What was reported of it before there was one ledger for reported and governed calls.
    Earlier,
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
    /// A run that was recorded before there were such ledgers has none.
    pub ledger: Option<Ledger>,
    /// Only a run that is that old has any.
    pub earlier: Option<Earlier>,
    /// A run that was recorded before this was kept apart has none.
    pub ending: Option<Ending>,
    pub step: Option<Step>,
}

impl Loaded {
    /// A run of which nothing else is known.
    pub fn new(run: Run) -> Self {
        let (ledger, earlier) = (None, None);
        Self { run, snapshot: None, request: None, output: None, ledger, earlier, ending: None, step: None }
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
    /// Every LLM call of the run that was recorded: those that were reported, and governed ones that are over and ran. Strongly
    /// consistent.
    fn recorded_calls(
        &self,
        tenant: &TenantId,
        run_id: RunId,
    ) -> impl Future<Output = StoreResult<Vec<RecordedCall>>> + Send;
}

/// What became of a change of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The change was written.
    Done,
    /// The stored run is no longer at `expected_rev`, or its ledger no longer at `expected_reports_rev`. Nothing was
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
    /// or nothing, if the stored run is still at `expected_rev`, and its ledger at `expected_reports_rev` where the change has
    /// one.
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

/// A report that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportBegun {
    /// The report's own id: no other report, and no try of one, has the same.
    pub report_id: CallId,
    pub ledger: Ledger,
}

/// What stands of a report: written once, with its calls or in the place of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportReceipt {
    pub calls: u64,
    pub cost: NanoUsd,
}

/// A report whose calls are recorded and counted in one write.
#[derive(Clone, Copy, Debug)]
pub struct ReportAtOnce<'a> {
    pub calls: &'a [LlmCall],
    pub total: ReportTotal,
    /// For calls that take the run above its cap.
    pub stop: Option<&'a RunChange>,
}

/// What became of counting a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportCounted {
    /// The ledger after it.
    Done(Box<Ledger>),
    /// It was counted before, or there is no ledger any more: the ledger as it is, if there is one.
    NotUnderWay(Option<Box<Ledger>>),
    /// It takes the ledger above its cap, so that the run has to be stopped with it. Nothing was written.
    Above,
    /// The run is no longer at the stop's `expected_rev`. Nothing was written.
    Stale,
}

/// Calls that were recorded, by their ids, each with the report that it came with, if it came with one.
pub type KnownCalls = BTreeMap<String, Option<CallId>>;

/// Records what a run's LLM calls used: see [`ledger`](crate::governor::ledger) for the ways of a report.
pub trait RecordUsage: ChangeRun {
    /// Which of these LLM calls were recorded before, by their ids, each with the report that it came with; and which of these
    /// nodes have begun. Strongly consistent, in one round trip.
    fn known_calls(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        call_ids: &BTreeSet<String>,
        node_ids: &BTreeSet<NodeId>,
    ) -> impl Future<Output = StoreResult<(KnownCalls, BTreeSet<NodeId>)>> + Send;
    /// Records the calls and counts them as [`Ledger::count_at_once`] does, with the change of the run where there is a stop, in one
    /// transaction that is tried once: `StoreErrorClass::Conflict` where others write the ledger at that moment. `false`, and
    /// nothing was written, where a call was recorded before, the ledger is gone or would be above its cap, or the run is not at the
    /// stop's `expected_rev`.
    fn report_at_once(
        &self,
        run: &RunRef,
        report: ReportAtOnce<'_>,
        now: Timestamp,
    ) -> impl Future<Output = StoreResult<bool>> + Send;
    /// Begins a report of calls that cost so much, as [`Ledger::begin_report`] does, in one write that is sent once; `None` where
    /// the run has no ledger. A report whose answer was lost is never gone on with: at the end of its lease it is given up.
    fn begin_report(
        &self,
        run: &RunRef,
        cost: NanoUsd,
        now: Timestamp,
    ) -> impl Future<Output = StoreResult<Option<ReportBegun>>> + Send;
    /// Records the calls with the report and its receipt, all or nothing, if none of them was recorded before and the report has
    /// no receipt yet; `false` otherwise. Only ever asked for a report that has begun.
    fn record_calls(
        &self,
        run: &RunRef,
        report_id: CallId,
        calls: &[LlmCall],
        now: Timestamp,
    ) -> impl Future<Output = StoreResult<bool>> + Send;
    /// Puts an empty receipt, if the report has none yet, so that its calls are never recorded; gives the one that stands. `None`
    /// where the run has no ledger any more: it is being deleted, and a receipt would stay behind. May be repeated.
    fn give_up_report(
        &self,
        run: &RunRef,
        report_id: CallId,
        now: Timestamp,
    ) -> impl Future<Output = StoreResult<Option<ReportReceipt>>> + Send;
    /// Counts a report as [`Ledger::count_report`] does, in one write; with a stop, in one transaction with the change of the run.
    /// Only ever asked with the receipt that stands. May be repeated.
    fn count_report(
        &self,
        run: &RunRef,
        count: &CountReport,
        stop: Option<&RunChange>,
    ) -> impl Future<Output = StoreResult<ReportCounted>> + Send;
    /// Gives the run this ledger, if it has none, and counts on its ledger what was reported before, once. May be repeated.
    fn take_over(
        &self,
        run: &RunRef,
        opening: &Ledger,
        earlier: Earlier,
    ) -> impl Future<Output = StoreResult<()>> + Send;
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
    /// dead-lettered, or the last lease ends of a call or a report that is under way. `None` when it owes nothing. Strongly
    /// consistent.
    fn owed_until(
        &self,
        tenant: &TenantId,
        run_id: RunId,
    ) -> impl Future<Output = StoreResult<Option<Timestamp>>> + Send;
    /// Deletes a run with everything that is stored of it: the ledger first, while nothing is held on it, so that no call and no
    /// report is recorded afterwards (`StoreErrorClass::Conflict` where something is held). The head is deleted last, so that
    /// after a crash the rest can still be found and deleted. Deleting a run that does not exist is no error.
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
