//! Control a run: pause and resume it, answer a node that waits, send a delivery again.
//!
//! **Invariant:** what is owed to the runner (a resume, an answer) is recorded before it is handed over, and stays
//! recorded until the engine has taken it: a crash in between is mended by the reconciler.
//!
//! Decision (2026-11-22): an answer is bound to the task token that it was given for, so an old answer is never
//! taken for a node's next wait.

use crate::caller::Caller;
use crate::change::RunChange;
use crate::flow::advance_run::{Happening, Moved, carry_on, has_board};
use crate::flow::{Answer, Refusal, TRIES, change_found, conflict, find_beside, find_run, find_with, keeps_changing};
use crate::id::{NodeId, RunId};
use crate::lifecycle::{Decision, RunEvent};
use crate::place::Field;
use crate::ports::{
    AnnounceDue, AnswerNode, AnswerTask, Boards, ChangeRun, Changed, Deliveries, DeliveryRef, LoadRun, Loaded, Part,
    StoreError, TaskAnswer,
};
use crate::refusal::{ConflictCode, Thing};
use crate::report::{NodeAnswer, NodeOutcome};
use crate::run::{Gate, Progress, Run};
use crate::violation::{Invalid, ViolationCode};
use crate::{limits, template};
use jiff::Timestamp;

/// A run after a pause was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Paused {
    pub run: Run,
    /// The nodes that are at work and finish first, where the runner can tell.
    pub under_way: Option<Vec<NodeId>>,
}

/// Asks for a pause. It takes effect before the next node begins (on the first generation of the runner: the next stage); work in
/// flight finishes. Asking again changes nothing.
///
/// # Errors
/// `NotFound`; `Conflict` for a run that has ended, is being stopped, waits for a slot, or was paused too often.
pub async fn pause_run<S, E>(store: &S, engine: &E, caller: &Caller, run_id: RunId, now: Timestamp) -> Answer<Paused>
where
    S: ChangeRun + Boards,
    E: AnswerTask,
{
    let run = find_run(store, caller, run_id, now).await?;
    if is_on_a_board(&run) {
        paused(&run, now)?;
        let Moved { run, under_way } = carry_on_head(store, engine, caller, run_id, paused, now).await?;
        return Ok(Paused { run, under_way: Some(under_way) });
    }
    let run = change_found(store, run, now, |run| paused(run, now)).await?;
    Ok(Paused { run, under_way: None })
}

/// The run with a pause asked for; `None` where one is already, or is on.
fn paused(run: &Run, now: Timestamp) -> Answer<Option<Run>> {
    match run.decide(RunEvent::PauseAsked) {
        Decision::Stay if run.state.pause_asked_at().is_none() && run.state.pauses() >= limits::PAUSES => {
            let message = format_args!("run {} has been paused {} times", run.run_id, run.state.pauses());
            Err(Refusal::conflict(ConflictCode::TooManyPauses, message))
        }
        Decision::Stay if run.state.pause_asked_at().is_none() => Ok(run.after(RunEvent::PauseAsked, now)),
        Decision::Stay | Decision::Ignore | Decision::Move(_) => Ok(None),
        Decision::Illegal => Err(conflict(run, "cannot be paused")),
    }
}

/// Resumes a paused run, or withdraws a pause that has not taken effect. Asking again changes nothing.
///
/// # Errors
/// `NotFound`; `Conflict` for a run that has ended, is being stopped, or waits for a slot.
pub async fn resume_run<S, E>(store: &S, engine: &E, caller: &Caller, run_id: RunId, now: Timestamp) -> Answer<Run>
where
    S: AnswerNode + Boards,
    E: AnswerTask,
{
    let run = find_run(store, caller, run_id, now).await?;
    if is_on_a_board(&run) {
        resumed(&run, now)?;
        return Ok(carry_on_head(store, engine, caller, run_id, resumed, now).await?.run);
    }
    let run = change_found(store, run, now, |run| resumed(run, now)).await?;
    Ok(hand_over(store, engine, run, now).await.map_err(Refusal::Store)?.0)
}

/// The run as it goes on; `None` where it does already.
fn resumed(run: &Run, now: Timestamp) -> Answer<Option<Run>> {
    match run.decide(RunEvent::Resumed) {
        Decision::Move(_) => Ok(run.after(RunEvent::Resumed, now)),
        Decision::Stay if run.state.pause_asked_at().is_some() => Ok(run.after(RunEvent::Resumed, now)),
        Decision::Stay | Decision::Ignore => Ok(None),
        Decision::Illegal => Err(conflict(run, "cannot be resumed")),
    }
}

/// Whether a change of the run has to be one of its board. Before it has begun there is nobody to be told.
fn is_on_a_board(run: &Run) -> bool {
    has_board(run) && run.state.started_at().is_some()
}

async fn carry_on_head<S, E>(
    store: &S,
    engine: &E,
    caller: &Caller,
    run_id: RunId,
    decide: fn(&Run, Timestamp) -> Answer<Option<Run>>,
    now: Timestamp,
) -> Answer<Moved>
where
    S: Boards,
    E: AnswerTask,
{
    Box::pin(carry_on(store, engine, &caller.tenant, run_id, &Happening::Head(decide), now)).await
}

/// Answers an external node that waits.
///
/// # Errors
/// `NotFound`; `Invalid` when the value breaks the node's schema; `Conflict` when the node does not wait (any more).
pub async fn answer_node<S, E>(
    store: &S,
    engine: &E,
    caller: &Caller,
    run_id: RunId,
    node_id: &NodeId,
    value: String,
    now: Timestamp,
) -> Answer<Run>
where
    S: AnswerNode + Boards,
    E: AnswerTask,
{
    answer(store, engine, caller, run_id, node_id, NodeOutcome::Result(value), now).await
}

/// [`answer_node`] with any outcome.
pub(super) async fn answer<S, E>(
    store: &S,
    engine: &E,
    caller: &Caller,
    run_id: RunId,
    node_id: &NodeId,
    outcome: NodeOutcome,
    now: Timestamp,
) -> Answer<Run>
where
    S: AnswerNode + Boards,
    E: AnswerTask,
{
    let Loaded { mut run, snapshot, .. } = find_with(store, caller, run_id, &[Part::Snapshot], now).await?;
    let node = snapshot.as_ref().and_then(|snapshot| snapshot.nodes.iter().find(|node| node.node_id == *node_id));
    let Some(node) = node else {
        let message = format_args!("the run has no node {node_id}");
        return Err(Refusal::Invalid(Invalid::one(Field::Node, ViolationCode::UnknownNode, message)));
    };
    let not_waiting = || {
        let message = format_args!("node {node_id} does not wait for an answer");
        Refusal::conflict(ConflictCode::NotWaiting, message)
    };
    if !run.state.waiting_nodes().contains(node_id.as_str()) {
        return Err(not_waiting());
    }
    if let (Some(schema), NodeOutcome::Result(value)) = (&node.schema, &outcome) {
        let mut invalid = Invalid::default();
        let at = Field::NodeResult.at();
        match serde_json::from_str(value) {
            Ok(value) => template::check_schema(schema, &value, &at, &mut invalid),
            Err(error) => invalid.add(at, ViolationCode::Invalid, format_args!("must be JSON: {error}")),
        }
        // What a private node takes is its owner's affair: who runs the definition is told no more than that this is not it.
        if !invalid.is_empty() && node.private && run.spec.definition_owner.is_some() {
            invalid = Invalid::one(Field::NodeResult, ViolationCode::SchemaViolation, "is not what the node takes");
        }
        invalid.into_result().map_err(Refusal::Invalid)?;
    }
    let answer = NodeAnswer { outcome, by: caller.principal.0.clone(), at: now };
    if has_board(&run) {
        let answered = Happening::Answered(node_id, &answer);
        return Ok(Box::pin(carry_on(store, engine, &caller.tenant, run_id, &answered, now)).await?.run);
    }
    for _ in 0..TRIES {
        let Some(after) = run.answered(node_id.as_str(), now) else { return Err(not_waiting()) };
        let change = RunChange::new(&run, after);
        match store.answer_node(&change, node_id, &answer).await.map_err(Refusal::Store)? {
            Some(Changed::Done) => {
                return Ok(hand_over(store, engine, change.run, now).await.map_err(Refusal::Store)?.0);
            }
            Some(Changed::Stale(Some(current))) => run = *current,
            // The runner has announced the wait but not begun it, or somebody else's answer was first.
            Some(Changed::Stale(None) | Changed::Full(_)) | None => return Err(not_waiting()),
        }
    }
    Err(keeps_changing())
}

/// Hands over what is recorded as owed to the runner, and records what it took. Returns the run as it then is, and whether
/// everything was handed over; what was not stays recorded.
///
/// # Errors
/// When the store fails. Handing over again is harmless.
pub async fn hand_over<S, E>(store: &S, engine: &E, run: Run, now: Timestamp) -> Result<(Run, bool), StoreError>
where
    S: AnswerNode,
    E: AnswerTask,
{
    let mut state = run.state.clone();
    let mut all = true;
    if let Some(Gate { token: Some(token), pause_asked_at: None }) = run.state.gate() {
        match engine.answer_task(token, &TaskAnswer::Success("{}")).await {
            Ok(_taken_or_over) => state.gate_mut().map_or((), |gate| gate.token = None),
            Err(_later) => all = false,
        }
    }
    if let Some(Progress { answered_nodes, .. }) = state.progress_mut() {
        for node in run.state.answered_nodes() {
            let Ok(node_id) = node.parse::<NodeId>() else { continue };
            match store.load_answer(&run.tenant_id, run.run_id, &node_id).await? {
                Some((token, outcome)) => match engine.answer_task(&token, &task_answer(&outcome)).await {
                    Ok(_taken_or_over) => drop(answered_nodes.remove(node)),
                    Err(_later) => all = false,
                },
                // The runner has recorded the node's end: it has its answer.
                None => drop(answered_nodes.remove(node)),
            }
        }
    }
    if state == run.state {
        return Ok((run, all));
    }
    let change = RunChange::new(&run, run.in_state(state, now));
    match store.change_run(&change).await? {
        Changed::Done => Ok((change.run, all)),
        // The runner went on at once, as it should. What was taken is found out again by the next look.
        Changed::Stale(current) => Ok((current.map_or(run, |current| *current), all)),
        Changed::Full(_) => Ok((run, all)),
    }
}

fn task_answer(outcome: &NodeOutcome) -> TaskAnswer<'_> {
    match outcome {
        NodeOutcome::Result(value) => TaskAnswer::Success(value),
        NodeOutcome::Failure(error) => TaskAnswer::Failure { error: &error.code, cause: &error.message },
    }
}

/// Sends a delivery again, whatever became of it: the same message, from the beginning of the schedule.
///
/// # Errors
/// `NotFound`; `Conflict` while an attempt is under way.
pub async fn redeliver<S, E>(
    store: &S,
    engine: &E,
    caller: &Caller,
    run_id: RunId,
    number: u32,
    now: Timestamp,
) -> Answer<DeliveryRef>
where
    S: Deliveries + LoadRun,
    E: AnnounceDue,
{
    let delivery = DeliveryRef { tenant_id: caller.tenant.clone(), run_id, number };
    let (_run, mut found) = find_beside(store, caller, run_id, now, store.load_delivery(&delivery)).await?;
    for _ in 0..TRIES {
        let current = found.ok_or_else(|| Refusal::not_found(Thing::Delivery, number))?;
        let Some(again) = current.again(now) else {
            let message = "an attempt at this delivery is under way";
            return Err(Refusal::conflict(ConflictCode::AttemptUnderWay, message));
        };
        if store.change_delivery(&again, None).await.map_err(Refusal::Store)? {
            let _swept_later = engine.announce_due(std::slice::from_ref(&delivery)).await;
            return Ok(delivery);
        }
        found = store.load_delivery(&delivery).await.map_err(Refusal::Store)?;
    }
    Err(keeps_changing())
}

/// What sending again everything that was given up came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redelivered {
    pub redelivered: u32,
    /// Whether there may be more: ask again.
    pub more: bool,
}

/// Deliveries that one request sends again at most.
const REDELIVERIES: u32 = 100;

/// Sends again what was given up at `since` or later, the first given up first.
///
/// # Errors
/// When the store fails; what was sent again by then is due.
pub async fn redeliver_failed<S, E>(
    store: &S,
    engine: &E,
    caller: &Caller,
    since: Timestamp,
    now: Timestamp,
) -> Answer<Redelivered>
where
    S: Deliveries + LoadRun,
    E: AnnounceDue,
{
    let dead = store.dead_deliveries(&caller.tenant, since, REDELIVERIES).await.map_err(Refusal::Store)?;
    let more = dead.len() as u32 == REDELIVERIES;
    let mut redelivered = 0;
    for delivery in dead {
        match redeliver(store, engine, caller, delivery.run_id, delivery.number, now).await {
            Ok(_) => redelivered += 1,
            // Gone, or sent again by somebody else in the meantime.
            Err(Refusal::NotFound { .. } | Refusal::Conflict { .. }) => {}
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(Redelivered { redelivered, more })
}
