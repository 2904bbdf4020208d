//! Carry a run of the runner's second generation on: take what a worker of its execution has ended, or what came from outside,
//! decide what begins now, write both in one change of the run's board, and tell every worker that has something to do.
//!
//! **Invariants:** nobody is told of what is not written; the worker that asks is told last, so its own retry stands behind all
//! others; every change is decided on one state of the run and of its board, so nothing begins after a stop or a pause that is
//! recorded; of two tries of one question at once, the worker is told by the one whose token it waits with, or asks again.
//!
//! Decision (2026-11-28): whoever loses the board to somebody else reads it again and decides again, as often as a run has
//! workers and once more: each of them can win once.

mod draft;
mod facts;
mod question;

pub use question::{Asked, Ended};

use crate::board::{Record, Stale};
use crate::flow::record_usage::record_result_usage;
use crate::flow::{Answer, Refusal, contended, unknown};
use crate::generation::Generation;
use crate::id::{NodeId, RunId, TenantId};
use crate::limits;
use crate::ports::{
    AnswerTask, Boards, Loaded, Part, RecordUsage, StopExecution, StoreError, StoreErrorClass, StoreResult, TaskAnswer,
    WaitingWorker,
};
use crate::refusal::ConflictCode;
use crate::report::{NodeAnswer, NodeOutcome};
use crate::run::{Run, RunError};
use crate::schedule::WORKERS;
use crate::snapshot::{Snapshot, inline_result_bytes};
use crate::together::{both, few};
use crate::work::{LEAVE, result};
use draft::{Draft, Frozen};
use facts::{Facts, corrupt, own_error};
use jiff::Timestamp;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// Words that are under way at a time.
const TOLD_AT_ONCE: usize = 8;
/// Times that a change is tried: see above.
const CHANGES: u32 = WORKERS + 8;

/// The error of a question that has to be asked again: its state does.
pub const AGAIN: &str = "Sluice.Again";

/// How a run of which all workers have left is to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// JSON text: an object of the results of its leaves, by their nodes. One that was skipped has given none.
    Results(String),
    /// As Step Functions is told.
    Failure { error: String, cause: String },
}

/// What happens to a run.
#[derive(Debug)]
pub(super) enum Happening<'a> {
    Asked(&'a Asked),
    Answered(&'a NodeId, &'a NodeAnswer),
    /// The head changes, by a pause or a resume: to what this makes of it, if to anything.
    Head(fn(&Run, Timestamp) -> Answer<Option<Run>>),
    /// Somebody is owed a word, or a wait may have run out.
    Woken,
}

/// A run after a change.
#[derive(Debug)]
pub(super) struct Moved {
    pub run: Run,
    /// The nodes that are at work, in the order of their names.
    pub under_way: Vec<NodeId>,
}

/// Takes what the worker has ended, and tells all workers that have something to do now. An asker for whom there is nothing yet
/// is told by whoever changes the board later.
///
/// # Errors
/// When the store or the engine fails. The same question may be asked again.
pub async fn advance_run<S, E>(store: &S, engine: &E, mut asked: Asked, now: Timestamp) -> StoreResult<()>
where
    S: Boards + RecordUsage,
    E: AnswerTask + StopExecution,
{
    let (tenant, run_id) = (asked.tenant_id.clone(), asked.run_id);
    if let Some(ended) = &mut asked.ended {
        let usage = std::mem::take(&mut ended.usage);
        // Usage first: it was spent whatever becomes of the rest, and a call counts once.
        for calls in usage.chunks(limits::USAGE_CALLS) {
            match Box::pin(record_result_usage(store, engine, &tenant, run_id, calls.to_vec(), now)).await {
                Ok(_recorded_or_gone) => {}
                Err(Refusal::Store(error)) => return Err(error),
                Err(refusal) => {
                    ended.outcome = NodeOutcome::Failure(own_error("InvalidUsage", refusal.to_string()));
                    ended.is_final = true;
                    break;
                }
            }
        }
    }
    match Box::pin(carry_on(store, engine, &tenant, run_id, &Happening::Asked(&asked), now)).await {
        Ok(_moved) => Ok(()),
        // Nobody waits for it any more, or nobody can be told more than that.
        Err(Refusal::NotFound { .. }) => tell(engine, &asked.token, LEAVE).await,
        Err(Refusal::Store(error)) => Err(error),
        Err(refusal) => Err(corrupt("carry a run on", refusal.to_string())),
    }
}

/// Looks after a run that somebody is owed a word of, or a node of which nobody has answered in time. Whether it is looked after:
/// a word that was not taken is owed still.
///
/// # Errors
/// When the store fails, or the engine takes no answers.
pub async fn wake_run<S, E>(store: &S, engine: &E, tenant: &TenantId, run_id: RunId, now: Timestamp) -> StoreResult<()>
where
    S: Boards,
    E: AnswerTask,
{
    match Box::pin(carry_on(store, engine, tenant, run_id, &Happening::Woken, now)).await {
        Ok(_) | Err(Refusal::NotFound { .. }) => Ok(()),
        Err(Refusal::Store(error)) => Err(error),
        Err(refusal) => Err(corrupt("carry a run on", refusal.to_string())),
    }
}

/// Whether a run is carried on here. One of the first generation is carried on by its own states.
pub(super) fn has_board(run: &Run) -> bool {
    run.spec.generation() == Generation::Second
}

/// How a run is to end, all of whose workers have left.
///
/// # Errors
/// When the store fails, or the run has not come to its end.
pub async fn conclude<S: Boards>(store: &S, tenant: &TenantId, run_id: RunId) -> StoreResult<Conclusion> {
    let read = both(store.load_snapshot(tenant, run_id), store.read_board(tenant, run_id)).await;
    let (Some(snapshot), Some(record)) = (read.0?, read.1?) else {
        let cause = "the run is not there any more".to_owned();
        return Ok(Conclusion::Failure { error: "Sluice.Gone".to_owned(), cause });
    };
    let frozen = Frozen::new(snapshot)?;
    let board = record.board;
    if !board.is_over() {
        return Err(corrupt("conclude a run", "it has not come to its end"));
    }
    if let Some(failure) = board.failure() {
        let node_id = frozen.id(failure.node);
        let step = store.load_step(tenant, run_id, node_id).await?;
        let error = step.and_then(|step| step.error);
        let RunError { code, message } = error.ok_or_else(|| corrupt("conclude a run", "it failed for no reason"))?;
        let cause = json!({"nodeId": node_id, "cause": message}).to_string();
        return Ok(Conclusion::Failure { error: code, cause });
    }
    let snapshot = &frozen.snapshot;
    let leaves: Vec<usize> = snapshot.leaves.iter().filter_map(|leaf| frozen.index(leaf)).collect();
    let given = Facts::default().given(store, snapshot, &board, leaves).await?;
    let most = inline_result_bytes(given.len(), 0);
    let shown = given.iter().map(|(id, before)| Ok((id, result(run_id, id, before, most)?)));
    let results: serde_json::Result<BTreeMap<_, _>> = shown.collect();
    let results = results.and_then(|results| serde_json::to_string(&results));
    results.map(Conclusion::Results).map_err(|error| corrupt("conclude a run", error))
}

/// Makes what has happened take effect on the run and its board, and tells everybody who is owed a word.
///
/// # Errors
/// `NotFound` for a run that is gone or has ended; `Conflict` for an answer that nobody waits for; those of a change of the head;
/// `Store`.
pub(super) async fn carry_on<S, E>(
    store: &S,
    engine: &E,
    tenant: &TenantId,
    run_id: RunId,
    happening: &Happening<'_>,
    now: Timestamp,
) -> Answer<Moved>
where
    S: Boards,
    E: AnswerTask,
{
    let loaded = store.load_with(tenant, run_id, &[Part::Snapshot]);
    let (loaded, record) = both(loaded, store.read_board(tenant, run_id)).await;
    let Loaded { mut run, snapshot, .. } = loaded.map_err(Refusal::Store)?.ok_or_else(|| unknown(run_id))?;
    let mut record = record.map_err(Refusal::Store)?;
    let snapshot: Snapshot = snapshot.ok_or_else(|| unknown(run_id))?;
    let frozen = Frozen::new(snapshot).map_err(Refusal::Store)?;
    let asker = match happening {
        Happening::Asked(asked) => Some(*asked),
        Happening::Answered(..) | Happening::Head(_) | Happening::Woken => None,
    };
    let (mut happening, mut last) = (Some(happening), None);
    for _ in 0..CHANGES {
        if run.status().is_terminal() {
            return Err(unknown(run_id));
        }
        let mut draft = Draft::new(&frozen, &run, record.as_ref(), now);
        match happening.unwrap_or(&Happening::Woken) {
            Happening::Asked(asked) => {
                ask_the_others_again(store, engine, record.as_ref(), asked).await.map_err(Refusal::Store)?;
                if let Err(stale) = draft.ask(asked).map_err(Refusal::Store)? {
                    return out_of_turn(draft, stale);
                }
            }
            Happening::Answered(node_id, answer) => {
                let node = frozen.index(node_id);
                let answered = node.filter(|_| record.is_some()).map(|node| draft.answer(node, (*answer).clone()));
                if !matches!(answered, Some(Ok(()))) {
                    let message = format_args!("node {node_id} does not wait for an answer");
                    return Err(Refusal::conflict(ConflictCode::NotWaiting, message));
                }
            }
            Happening::Head(decide) => {
                if let Some(after) = decide(&run, now)? {
                    draft.run = after;
                }
            }
            Happening::Woken => draft.expire(store).await.map_err(Refusal::Store)?,
        }
        draft.decide(store).await.map_err(Refusal::Store)?;
        draft.hand_out(store).await.map_err(Refusal::Store)?;
        let (draft, change) = draft.change(store).await.map_err(Refusal::Store)?;
        let is_written = match &change {
            Some(change) => store.write_board(change).await.map_err(Refusal::Store)?,
            None => true,
        };
        if is_written {
            let wake = match &change {
                Some(change) => Some(&change.record),
                None => record.as_ref(),
            };
            let words = draft.words.iter().map(|(worker, word)| (*worker, word.clone())).collect();
            let others = Others { words, wake, next: draft.next_expiry(), is_done: !draft.has_more };
            last = others.tell(store, engine, &run, asker).await?.or(last);
            if !draft.has_more {
                if let (Some(text), Some(asked)) = (last, asker) {
                    tell(engine, &asked.token, &text).await.map_err(Refusal::Store)?;
                }
                return Ok(Moved { under_way: draft.under_way(), run: draft.run });
            }
            // What has happened has happened; what is left follows from the board.
            happening = None;
        }
        let read = both(store.load_run(tenant, run_id), store.read_board(tenant, run_id)).await;
        run = read.0.map_err(Refusal::Store)?.ok_or_else(|| unknown(run_id))?;
        record = read.1.map_err(Refusal::Store)?;
    }
    Err(contended("carry on a run that keeps changing"))
}

/// Has whoever waits with another token of the same turn ask again. Which of two tries of a question is the later one cannot be
/// seen: an earlier one that was believed dead may be the last to write, and would leave its own token in the place of the one
/// that the worker waits with. Before the write, so that a crash in between leaves nobody behind; of a try that is over this is
/// not taken, and that is right.
async fn ask_the_others_again<S, E>(store: &S, engine: &E, record: Option<&Record>, asked: &Asked) -> StoreResult<()>
where
    S: Boards,
    E: AnswerTask,
{
    let Asked { tenant_id, run_id, worker, turn, token, .. } = asked;
    if record.is_none_or(|record| record.board.turn(*worker) != *turn) {
        return Ok(());
    }
    for other in store.waiting_workers(tenant_id, *run_id, &BTreeSet::from([*worker])).await? {
        if other.turn == *turn && other.token != *token {
            let again = TaskAnswer::Failure { error: AGAIN, cause: "the same question was asked with another token" };
            let told = engine.answer_task(&other.token, &again).await;
            told.map_err(|error| StoreError::new("have a worker ask again", StoreErrorClass::Unavailable, error))?;
        }
    }
    Ok(())
}

/// A worker has asked that may not: whoever waits for an answer has asked for a later turn since.
fn out_of_turn(draft: Draft<'_>, stale: Stale) -> Answer<Moved> {
    match stale {
        Stale::EarlierTurn => Ok(Moved { under_way: draft.under_way(), run: draft.run }),
        Stale::NoSuchWorker | Stale::NotItsWork | Stale::NotWaiting => {
            Err(Refusal::Store(corrupt("take what a worker has ended", stale)))
        }
    }
}

/// Who is to be told something, after it was written.
struct Others<'a> {
    /// By worker: the turn that is answered, and the text.
    words: BTreeMap<usize, (u32, String)>,
    /// The board with the wake that names them.
    wake: Option<&'a Record>,
    /// When somebody has to look at the run again.
    next: Option<Timestamp>,
    /// Whether no other change follows.
    is_done: bool,
}

impl Others<'_> {
    /// Tells everybody but the one who asks, whose text is returned.
    async fn tell<S, E>(mut self, store: &S, engine: &E, run: &Run, asker: Option<&Asked>) -> Answer<Option<String>>
    where
        S: Boards,
        E: AnswerTask,
    {
        let (tenant, run_id) = (&run.tenant_id, run.run_id);
        let last = asker.and_then(|asked| self.words.remove(&asked.worker)).map(|(_turn, text)| text);
        if !self.words.is_empty() {
            let workers: BTreeSet<usize> = self.words.keys().copied().collect();
            let waiting = store.waiting_workers(tenant, run_id, &workers).await.map_err(Refusal::Store)?;
            let mut words = Vec::new();
            for WaitingWorker { worker, turn, token } in waiting {
                words.extend(
                    self.words.remove(&worker).filter(|(of, _)| *of == turn).map(|(_turn, text)| (token, text)),
                );
            }
            let tell = words.into_iter().map(|(token, text)| async move { tell(engine, &token, &text).await });
            let told: StoreResult<Vec<()>> = few(TOLD_AT_ONCE, tell).await.into_iter().collect();
            told.map_err(Refusal::Store)?;
        }
        if let Some(Record { rev, wake: Some(wake), .. }) = self.wake
            && self.is_done
            && (!wake.workers.is_empty() || self.next != Some(wake.due_at))
        {
            store.told(tenant, run_id, *rev, self.next).await.map_err(Refusal::Store)?;
        }
        Ok(last)
    }
}

async fn tell<E: AnswerTask>(engine: &E, token: &str, text: &str) -> StoreResult<()> {
    match engine.answer_task(token, &TaskAnswer::Success(text)).await {
        Ok(_taken_or_over) => Ok(()),
        Err(error) => Err(StoreError::new("tell a worker what to do", StoreErrorClass::Unavailable, error)),
    }
}
