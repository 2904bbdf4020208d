//! Read runs, and what belongs to a run.

use crate::board::{Board, Phase};
use crate::caller::Caller;
use crate::flow::advance_run::has_board;
use crate::flow::used::used;
use crate::flow::waiting::{WaitLimits, enter};
use crate::flow::{Answer, Refusal, find_beside, find_run, find_with};
use crate::id::{NodeId, RunId};
use crate::limits;
use crate::meter::Chance;
use crate::ports::{
    Boards, Clock, CountOnMeter, Loaded, Page, Part, ReadCatalog, ReadRuns, RunFilter, StepPart, StoreError,
    StoreErrorClass,
};
use crate::refusal::Thing;
use crate::report::{AnswerHead, Comment, NodeOutcome};
use crate::run::{Run, RunError};
use crate::snapshot::Snapshot;
use crate::spending::{Spending, Used};
use crate::step::{Step, StepStatus};
use crate::together::both;
use crate::usage::{LlmCall, UsageSums};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// Between two looks of a waiting read.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The run, and its output once it has one.
///
/// # Errors
/// [`Refusal::NotFound`] for an unknown run, [`Refusal::Store`] when the store fails.
pub async fn get_run<S: ReadRuns>(
    store: &S,
    caller: &Caller,
    run_id: RunId,
    now: Timestamp,
) -> Answer<(Run, Option<String>)> {
    let Loaded { run, output, .. } = find_with(store, caller, run_id, &[Part::Output], now).await?;
    Ok((run, output))
}

/// What a read that waits comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Waited {
    pub run: Run,
    pub output: Option<String>,
    /// The run is open, and the read has not waited: as many wait already as may.
    pub is_crowded: bool,
}

/// [`get_run`], after up to `wait_seconds` for the run to end. Where as many wait already as may, it is read once.
///
/// # Errors
/// Those of [`get_run`].
pub async fn wait_for_run<S, C>(
    store: &S,
    clock: &C,
    limits: WaitLimits,
    chance: Chance,
    caller: &Caller,
    run_id: RunId,
    wait_seconds: u32,
) -> Answer<Waited>
where
    S: ReadRuns + ReadCatalog + CountOnMeter,
    C: Clock,
{
    let until = clock.now() + SignedDuration::from_secs(i64::from(wait_seconds));
    let (run, output) = get_run(store, caller, run_id, clock.now()).await?;
    let first = Waited { run, output, is_crowded: false };
    if first.run.status().is_terminal() || wait_seconds == 0 {
        return Ok(first);
    }
    let Some(place) = enter(store, limits, &caller.tenant, chance, clock.now()).await else {
        return Ok(Waited { is_crowded: true, ..first });
    };
    let waited = look_until(store, clock, caller, first, until).await;
    place.leave(store).await;
    waited
}

/// Looks again and again until the run has ended, or the time is over.
async fn look_until<S: ReadRuns, C: Clock>(
    store: &S,
    clock: &C,
    caller: &Caller,
    mut seen: Waited,
    until: Timestamp,
) -> Answer<Waited> {
    loop {
        let left = Duration::try_from(until.duration_since(clock.now())).unwrap_or_default();
        if left.is_zero() || seen.run.status().is_terminal() {
            return Ok(seen);
        }
        clock.sleep(left.min(LOOK_EVERY)).await;
        // Most looks find a run that goes on: what it has only at its end is read once.
        seen.run = find_run(store, caller, seen.run.run_id, clock.now()).await?;
        if seen.run.status().is_terminal() {
            seen.output = store.load_output(&caller.tenant, seen.run.run_id).await.map_err(Refusal::Store)?;
        }
    }
}

/// A page of the nodes of the run in the order of its stages: begun ones as recorded, the others as the run's board says, or
/// `PENDING` (`CANCELED` once the run has ended without them).
///
/// # Errors
/// As [`get_run`].
pub async fn list_steps<S: ReadRuns + Boards>(
    store: &S,
    caller: &Caller,
    run_id: RunId,
    limit: u32,
    cursor: Option<&str>,
    now: Timestamp,
) -> Answer<Page<Step>> {
    let (run, snapshot) = find_planned(store, caller, run_id, now).await?;
    let nodes: Vec<NodeId> = snapshot.stages.iter().flatten().cloned().collect();
    let (part, next) = part(nodes.len(), limit, cursor)?;
    let nodes = &nodes[part];
    let recorded = both(store.load_steps(&caller.tenant, run_id, nodes), board_of(store, &run)).await;
    let (recorded, board) = (recorded.0.map_err(Refusal::Store)?, recorded.1?);
    let mut recorded: BTreeMap<NodeId, Step> = recorded.into_iter().map(|step| (step.node_id.clone(), step)).collect();
    let seen = nodes.iter().map(|node_id| {
        let shown = shown(&run, &snapshot, board.as_ref(), node_id, recorded.remove(node_id))?;
        shown.ok_or_else(|| inconsistent(node_id))
    });
    Ok(Page { items: seen.collect::<Answer<_>>()?, next })
}

/// The part of a list of so many things that a page shows, and the cursor of the next page: how many came before it.
fn part(count: usize, limit: u32, cursor: Option<&str>) -> Answer<(Range<usize>, Option<String>)> {
    let from = match cursor.map(str::parse::<usize>) {
        None => 0,
        Some(Ok(from)) if from <= count => from,
        Some(_) => {
            let elsewhere = "the cursor leads past the end of the list";
            return Err(Refusal::Store(StoreError::new("read the cursor", StoreErrorClass::Corrupt, elsewhere)));
        }
    };
    let to = count.min(from.saturating_add(limit as usize));
    Ok((from..to, (to < count).then(|| to.to_string())))
}

/// One step with its result.
///
/// # Errors
/// [`Refusal::NotFound`] for an unknown run, or a node that the run does not have.
pub async fn get_step<S: ReadRuns + Boards>(
    store: &S,
    caller: &Caller,
    run_id: RunId,
    node_id: &NodeId,
    now: Timestamp,
) -> Answer<Step> {
    let Loaded { run, step, .. } = find_with(store, caller, run_id, &[Part::Step(node_id)], now).await?;
    // What was in the plan already is not written a second time; and of what has not ended the board may know better.
    let is_all = |step: &Step| match step.status {
        StepStatus::Succeeded => step.result.is_some(),
        StepStatus::Failed => true,
        StepStatus::Running
        | StepStatus::Waiting
        | StepStatus::Canceled
        | StepStatus::Skipped
        | StepStatus::Pending => !has_board(&run),
    };
    if let Some(step) = step.as_ref().filter(|step| is_all(step)) {
        return Ok(step.clone().as_seen_in(&run));
    }
    let (snapshot, board) = both(find_snapshot(store, caller, run_id), board_of(store, &run)).await;
    let (snapshot, board) = (snapshot?, board?);
    let shown = shown(&run, &snapshot, board.as_ref(), node_id, step)?;
    let mut shown = shown.ok_or_else(|| Refusal::not_found(Thing::Step, node_id))?;
    if shown.status == StepStatus::Succeeded && shown.result.is_none() {
        shown.result = snapshot.value_of(node_id);
    }
    Ok(shown)
}

/// What came of one item of a fan-out, or of one iteration of a loop but the last, which is the step's own result.
///
/// # Errors
/// [`Refusal::NotFound`] for an unknown run, or a part that has not ended.
pub async fn get_step_part<S: ReadRuns + Boards>(
    store: &S,
    caller: &Caller,
    run_id: RunId,
    node_id: &NodeId,
    part: StepPart,
    now: Timestamp,
) -> Answer<NodeOutcome> {
    let found = store.load_part(&caller.tenant, run_id, node_id, part);
    let (_run, found) = find_beside(store, caller, run_id, now, found).await?;
    found.ok_or_else(|| match part {
        StepPart::Item(item) => Refusal::not_found(Thing::StepItem, format_args!("{node_id}/{item}")),
        StepPart::Iteration(iteration) => {
            Refusal::not_found(Thing::StepIteration, format_args!("{node_id}/{iteration}"))
        }
    })
}

/// The board of a run that has one, as far as it has begun.
async fn board_of<S: Boards>(store: &S, run: &Run) -> Answer<Option<Board>> {
    if !has_board(run) {
        return Ok(None);
    }
    let record = store.read_board(&run.tenant_id, run.run_id).await.map_err(Refusal::Store)?;
    Ok(record.map(|record| record.board))
}

/// A node's step as it is to be seen: what is recorded of it, and what the board says that nothing is recorded of. `None` for a
/// node that the run has not.
fn shown(
    run: &Run,
    snapshot: &Snapshot,
    board: Option<&Board>,
    node_id: &NodeId,
    recorded: Option<Step>,
) -> Answer<Option<Step>> {
    let Some(index) = snapshot.nodes.iter().position(|node| node.node_id == *node_id) else { return Ok(None) };
    let phase = board.map(|board| board.phase(index));
    match (recorded, phase) {
        // It is waited for no longer, because of another's failure.
        (Some(step), Some(Phase::Dropped)) => {
            let ended_at = run.state.ended().map(|ended| ended.completed_at).or(step.started_at);
            Ok(Some(Step { status: StepStatus::Canceled, ended_at, ..step }))
        }
        (Some(step), _) => Ok(Some(step.as_seen_in(run))),
        (None, Some(Phase::Skipped)) => {
            Ok(Some(Step { status: StepStatus::Skipped, ..not_begun(run, snapshot, index)? }))
        }
        // Its result is in the plan: it was there when the run began.
        (None, Some(Phase::Succeeded)) => {
            let result_bytes = snapshot.value_of(node_id).map(|value| value.len() as u64);
            let at = run.state.started_at();
            let step = not_begun(run, snapshot, index)?;
            let status = StepStatus::Succeeded;
            Ok(Some(Step { status, attempt: 1, started_at: at, ended_at: at, result_bytes, ..step }))
        }
        (None, Some(Phase::Dropped)) => {
            Ok(Some(Step { status: StepStatus::Canceled, ..not_begun(run, snapshot, index)? }))
        }
        (None, _) => Ok(Some(not_begun(run, snapshot, index)?)),
    }
}

/// The step of a node that has not begun, or that never will since its run has ended.
fn not_begun(run: &Run, snapshot: &Snapshot, index: usize) -> Answer<Step> {
    let node = &snapshot.nodes[index];
    let stage = snapshot.stages.iter().position(|stage| stage.contains(&node.node_id));
    let stage = stage.and_then(|stage| u32::try_from(stage).ok()).ok_or_else(|| inconsistent(&node.node_id))?;
    Ok(Step {
        run_id: run.run_id,
        node_id: node.node_id.clone(),
        node_type: node.node_type.as_str().to_owned(),
        stage,
        status: if run.status().is_terminal() { StepStatus::Canceled } else { StepStatus::Pending },
        attempt: 0,
        started_at: None,
        ended_at: None,
        result: None,
        result_bytes: None,
        error: None,
        progress: None,
        iteration: None,
        fan: None,
    })
}

/// A snapshot whose nodes and stages are not the same.
fn inconsistent(node_id: &NodeId) -> Refusal {
    let source = format!("node {node_id} is not among its nodes and its stages");
    Refusal::Store(StoreError::new("read the snapshot", StoreErrorClass::Corrupt, source))
}

async fn find_snapshot<S: ReadRuns>(store: &S, caller: &Caller, run_id: RunId) -> Answer<Snapshot> {
    let snapshot = store.load_snapshot(&caller.tenant, run_id).await.map_err(Refusal::Store)?;
    snapshot.ok_or_else(|| unplanned(run_id))
}

/// A run with its snapshot.
async fn find_planned<S: ReadRuns>(
    store: &S,
    caller: &Caller,
    run_id: RunId,
    now: Timestamp,
) -> Answer<(Run, Snapshot)> {
    let Loaded { run, snapshot, .. } = find_with(store, caller, run_id, &[Part::Snapshot], now).await?;
    Ok((run, snapshot.ok_or_else(|| unplanned(run_id))?))
}

fn unplanned(run_id: RunId) -> Refusal {
    let missing = format!("run {run_id} has no snapshot");
    Refusal::Store(StoreError::new("load the snapshot", StoreErrorClass::Corrupt, missing))
}

/// A page of the tenant's runs. Those that are no longer kept are left out, so a page may be short.
///
/// # Errors
/// [`Refusal::Store`] when the store fails or the cursor belongs to another list.
pub async fn list_runs<S: ReadRuns>(
    store: &S,
    caller: &Caller,
    filter: &RunFilter,
    limit: u32,
    cursor: Option<&str>,
    now: Timestamp,
) -> Answer<Page<Run>> {
    let mut page = store.list_runs(&caller.tenant, filter, limit, cursor).await.map_err(Refusal::Store)?;
    page.items.retain(|run| run.is_visible(now));
    Ok(page)
}

/// What a run, or one of its nodes, was given at some time, and what came of it until it was given something again.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// From 1, which is the start.
    pub sequence: u32,
    pub given: Given,
    pub at: Timestamp,
    pub by: String,
    /// Steps that ended in this segment, in the order of their ends, without results.
    pub produced: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// The run's input, JSON text; `None` when it has none.
    Start(Option<Whole>),
    Data(NodeId, Whole),
    Failure(NodeId, RunError),
}

/// A value, or how large it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whole {
    /// JSON text, as it was written.
    Value(String),
    /// Too large for a list: bytes.
    Bytes(usize),
}

impl Whole {
    /// The value, if it has at most so many bytes.
    fn up_to(most: usize, value: &str) -> Self {
        if value.len() <= most { Self::Value(value.to_owned()) } else { Self::Bytes(value.len()) }
    }
}

/// A page of the sequence of a run's inputs, the first of which started it, each with what it led to. What is large comes
/// without its value: see [`get_input`].
///
/// # Errors
/// As [`get_run`].
pub async fn list_inputs<S: ReadRuns + Boards>(
    store: &S,
    caller: &Caller,
    run_id: RunId,
    limit: u32,
    cursor: Option<&str>,
    now: Timestamp,
) -> Answer<Page<Segment>> {
    let (run, inputs) = Inputs::of(store, caller, run_id, now).await?;
    let (part, next) = part(inputs.count(), limit, cursor)?;
    let items = inputs.segments(store, &run, part, limits::LISTED_VALUE_BYTES).await?;
    Ok(Page { items, next })
}

/// One input of a run, with its value however large.
///
/// # Errors
/// [`Refusal::NotFound`] for an unknown run, or an input that it was not given.
pub async fn get_input<S: ReadRuns + Boards>(
    store: &S,
    caller: &Caller,
    run_id: RunId,
    sequence: u32,
    now: Timestamp,
) -> Answer<Segment> {
    let (run, inputs) = Inputs::of(store, caller, run_id, now).await?;
    let unknown = || Refusal::not_found(Thing::Input, sequence);
    let at = (sequence as usize).checked_sub(1).filter(|at| *at < inputs.count()).ok_or_else(unknown)?;
    inputs.segments(store, &run, at..at + 1, usize::MAX).await?.pop().ok_or_else(unknown)
}

/// Everything that a run was given, without what is large.
struct Inputs {
    start: Option<String>,
    answers: Vec<AnswerHead>,
    /// Those that have ended, in the order of their ends.
    steps: Vec<Step>,
}

impl Inputs {
    /// What a run was given, with the run. All of it is read at once.
    async fn of<S: ReadRuns + Boards>(
        store: &S,
        caller: &Caller,
        run_id: RunId,
        now: Timestamp,
    ) -> Answer<(Run, Self)> {
        let lists = both(store.list_inputs(&caller.tenant, run_id), store.list_steps(&caller.tenant, run_id));
        let (planned, (answers, steps)) = both(find_planned(store, caller, run_id, now), lists).await;
        let (run, snapshot) = planned?;
        let (answers, steps) = (answers.map_err(Refusal::Store)?, steps.map_err(Refusal::Store)?);
        let mut steps: Vec<Step> =
            steps.into_iter().map(|step| step.as_seen_in(&run)).filter(|step| step.ended_at.is_some()).collect();
        if let Some(board) = board_of(store, &run).await? {
            // What was in the plan already has no step of its own.
            let is_planned = |id: &&NodeId| snapshot.value_of(id).is_some();
            for id in snapshot.nodes.iter().map(|node| &node.node_id).filter(is_planned) {
                let step = shown(&run, &snapshot, Some(&board), id, None)?;
                steps.extend(step.filter(|step| step.ended_at.is_some()));
            }
        }
        steps.sort_by_key(|step| step.ended_at);
        Ok((run, Self { start: snapshot.input.map(|input| input.get().to_owned()), answers, steps }))
    }

    /// The start, and every answer.
    fn count(&self) -> usize {
        1 + self.answers.len()
    }

    /// When the run was given what stands there; `None` of the start, before which nothing was.
    fn given_at(&self, at: usize) -> Option<Timestamp> {
        at.checked_sub(1).and_then(|at| self.answers.get(at)).map(|answer| answer.at)
    }

    /// A part of the sequence, with the values that have at most so many bytes.
    async fn segments<S: ReadRuns>(
        &self,
        store: &S,
        run: &Run,
        part: Range<usize>,
        most: usize,
    ) -> Answer<Vec<Segment>> {
        // Of what is too large to be shown, the head says how large it is.
        let is_shown = |head: &&AnswerHead| head.is_failure || head.bytes <= most;
        let heads: Vec<&AnswerHead> =
            part.clone().filter_map(|at| self.answers.get(at.checked_sub(1)?)).filter(is_shown).collect();
        let given = store.load_inputs(&run.tenant_id, run.run_id, &heads).await.map_err(Refusal::Store)?;
        let mut given: BTreeMap<&str, NodeOutcome> = heads.iter().map(|head| head.key.as_str()).zip(given).collect();
        let segments = part.map(|at| {
            let answer = at.checked_sub(1).and_then(|at| self.answers.get(at));
            let (given, when, by) = match answer {
                None => {
                    let start = self.start.as_deref().map(|start| Whole::up_to(most, start));
                    (Given::Start(start), run.spec.created_at, run.spec.created_by.clone())
                }
                Some(head) => {
                    let node_id = head.node_id.clone();
                    let given = match given.remove(head.key.as_str()) {
                        Some(NodeOutcome::Result(value)) => Given::Data(node_id, Whole::Value(value)),
                        Some(NodeOutcome::Failure(error)) => Given::Failure(node_id, error),
                        None => Given::Data(node_id, Whole::Bytes(head.bytes)),
                    };
                    (given, head.at, head.by.clone())
                }
            };
            let (from, to) = (self.given_at(at), self.given_at(at + 1));
            let is_of_it = |step: &&Step| {
                from.is_none_or(|from| step.ended_at >= Some(from)) && to.is_none_or(|to| step.ended_at < Some(to))
            };
            let produced = self.steps.iter().filter(is_of_it).cloned().collect();
            Segment { sequence: at as u32 + 1, given, at: when, by, produced }
        });
        Ok(segments.collect())
    }
}

/// What a run has used.
///
/// # Errors
/// As [`get_run`].
pub async fn get_usage<S: ReadRuns>(store: &S, caller: &Caller, run_id: RunId, now: Timestamp) -> Answer<UsageSums> {
    let parts = &[Part::Ledger, Part::Earlier];
    let Loaded { ledger, earlier, .. } = find_with(store, caller, run_id, parts, now).await?;
    let used = used(store, &caller.tenant, run_id, earlier, ledger).await.map_err(Refusal::Store)?;
    Ok(used.usage)
}

/// A run's budget, and what became of it so far.
///
/// # Errors
/// As [`get_run`].
pub async fn get_spending<S: ReadRuns>(store: &S, caller: &Caller, run_id: RunId, now: Timestamp) -> Answer<Spending> {
    let parts = &[Part::Ledger, Part::Earlier];
    let Loaded { run, ledger, earlier, .. } = find_with(store, caller, run_id, parts, now).await?;
    Ok(Spending::of(&run, &Used::new(earlier, ledger, &[])))
}

/// A page of the calls of a run that were reported.
///
/// # Errors
/// As [`list_runs`], and [`Refusal::NotFound`].
pub async fn list_calls<S: ReadRuns>(
    store: &S,
    caller: &Caller,
    run_id: RunId,
    limit: u32,
    cursor: Option<&str>,
    now: Timestamp,
) -> Answer<Page<LlmCall>> {
    let calls = store.list_usage(&caller.tenant, run_id, limit, cursor);
    Ok(find_beside(store, caller, run_id, now, calls).await?.1)
}

/// A page of the remarks on a run.
///
/// # Errors
/// As [`list_calls`].
pub async fn list_comments<S: ReadRuns>(
    store: &S,
    caller: &Caller,
    run_id: RunId,
    limit: u32,
    cursor: Option<&str>,
    now: Timestamp,
) -> Answer<Page<Comment>> {
    let comments = store.list_comments(&caller.tenant, run_id, limit, cursor);
    Ok(find_beside(store, caller, run_id, now, comments).await?.1)
}
