//! Make something that happened take effect on a run: its next status, and where it ends by that, everything that a run
//! owes once it has ended, in one transaction.
//!
//! Decision (2026-11-22): a settled run tells `run-callback` of its deliveries at once ("Delivery Due", best
//! effort) instead of waiting for the sweep.

use crate::change::RunChange;
use crate::concurrency::QueueRef;
use crate::delivery::Delivery;
use crate::envelope;
use crate::flow::TRIES;
use crate::flow::used::used;
use crate::id::NodeId;
use crate::lifecycle::{EngineEnd, RunEvent, RunStatus};
use crate::ports::{
    AnnounceDue, ChangeRun, Changed, DeliveryRef, LoadRun, Loaded, Part, StoreError, StoreErrorClass, StoreResult,
};
use crate::run::{EndDetails, Run, RunError, RunState};
use crate::snapshot::{Callback, Ending};
use crate::spending::Used;
use crate::together::both;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A transition of a run from one status to another that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    pub before: Run,
    pub after: Run,
    /// The deliveries that the run owes because it has ended, and that somebody is to be told of.
    pub owed: Vec<DeliveryRef>,
    /// Those that whoever ended the run sends itself: an attempt at each is begun already. See [`settle`].
    pub begun: Vec<Delivery>,
    /// The queues whose next run may start, because this run has given its slots back.
    pub freed: Vec<QueueRef>,
}

/// The change that `event` makes to `run`; `None` when it makes none. `end`, `callback` and `used` matter only where
/// the run ends. Pure.
///
/// # Errors
/// When what is to be told of the end cannot be written as JSON.
pub fn change(
    run: &Run,
    event: RunEvent,
    end: &EndDetails,
    callback: Option<&Callback>,
    used: &Used,
    now: Timestamp,
) -> serde_json::Result<Option<RunChange>> {
    let Some(mut after) = run.after(meant(run, event, end), now) else { return Ok(None) };
    let RunState::Ended(ended) = &mut after.state else { return Ok(Some(RunChange::new(run, after))) };
    // The engine's own clock says when it stopped; steps are measured by the same clock.
    let begun_at = run.state.started_at().unwrap_or(run.spec.created_at);
    ended.complete(end.stopped_at.unwrap_or(now).max(begun_at), run.spec.retention);
    ended.error = end
        .error
        .as_ref()
        .filter(|_| ended.reason.status() == RunStatus::Failed)
        .map(|error| RunError::new(&error.code, &error.message, RunError::HEAD_MESSAGE_CHARS));
    let deliveries = envelope::owed(&after, callback, end, used, now)?;
    if let RunState::Ended(ended) = &mut after.state {
        ended.deliveries = deliveries.len() as u32;
    }
    Ok(Some(RunChange { output: end.output.clone(), deliveries, ..RunChange::new(run, after) }))
}

fn unwritable(error: serde_json::Error) -> StoreError {
    StoreError::new("write what is told of an end", StoreErrorClass::Corrupt, error)
}

/// What an event means for this run. One that has failed of a loop without an end ended for that reason. An execution that may
/// not claim its run fails, because a state machine has no other way to end itself. Where somebody had asked to stop the run,
/// such a failure is the stop that was asked for.
fn meant(run: &Run, event: RunEvent, end: &EndDetails) -> RunEvent {
    let failed_of = end.error.as_ref().filter(|_| event == RunEvent::EngineEnded(EngineEnd::Failed));
    match (failed_of.map(|error| error.code.as_str()), run.state.intent()) {
        (Some(CLAIM_REFUSED), Some(_)) => RunEvent::EngineEnded(EngineEnd::Aborted),
        (Some(LOOPING_RISK), _) if run.state.started_at().is_some() => RunEvent::LoopedTooOften,
        (Some(_) | None, _) => event,
    }
}

/// The error with which the runner fails when it may not claim its run.
const CLAIM_REFUSED: &str = "Sluice.ClaimRefused";
/// The error with which the runner fails a node whose loop has no end.
const LOOPING_RISK: &str = "Sluice.LoopingRisk";

/// Applies `event`, something that happened whatever the run is by now, to `run` and writes the change. Where others have
/// changed the run in the meantime, the event is applied to the run as they left it. `None` when the event changes nothing.
///
/// # Errors
/// When the store fails, or when others keep changing the run in the meantime.
pub async fn transition<S: ChangeRun>(
    store: &S,
    run: Run,
    event: RunEvent,
    end: &EndDetails,
    now: Timestamp,
) -> StoreResult<Option<Transition>> {
    transition_if(store, run, |_| Some(event), end, now).await
}

/// [`transition`] by an event that follows from the run itself. Where others have changed the run in the meantime, `decide`
/// is asked again, about the run as they left it: what was true of an older copy is no reason to do anything. `None` when
/// the run as it is gives no reason, or the event changes nothing.
///
/// # Errors
/// Those of [`transition`].
pub async fn transition_if<S: ChangeRun>(
    store: &S,
    run: Run,
    decide: impl Fn(&Run) -> Option<RunEvent> + Send,
    end: &EndDetails,
    now: Timestamp,
) -> StoreResult<Option<Transition>> {
    apply(store, run, None, decide, end, |_| false, now).await
}

/// What an end is told from, beside the run.
pub const AT_THE_END: &[Part<'static>] = &[Part::Ledger, Part::Earlier, Part::Ending];

/// [`transition`] by whoever sends at once what the run owes. `ended` is the run [with what its end needs](AT_THE_END). An
/// attempt at each delivery of which `may_begin` says so is begun in the transaction of the end itself: nobody has to read
/// again what was written just now, or to write that it is being sent.
///
/// # Errors
/// Those of [`transition`].
pub async fn settle<S: ChangeRun>(
    store: &S,
    ended: Loaded,
    event: RunEvent,
    end: &EndDetails,
    may_begin: impl Fn(&Delivery) -> bool + Send,
    now: Timestamp,
) -> StoreResult<Option<Transition>> {
    apply(store, ended.run.clone(), Some(ended), |_| Some(event), end, may_begin, now).await
}

/// `known` is what is known of the run beside its head, if that was read with it.
async fn apply<S: ChangeRun>(
    store: &S,
    mut run: Run,
    mut known: Option<Loaded>,
    decide: impl Fn(&Run) -> Option<RunEvent> + Send,
    end: &EndDetails,
    may_begin: impl Fn(&Delivery) -> bool + Send,
    now: Timestamp,
) -> StoreResult<Option<Transition>> {
    let mut told: Option<(Cow<'_, EndDetails>, Option<Callback>)> = None;
    for _ in 0..TRIES {
        let Some(event) = decide(&run) else { return Ok(None) };
        let ends = run.after(meant(&run, event, end), now).is_some_and(|after| after.status().is_terminal());
        // What somebody wrote, if the output has anything of the kind.
        let given = end
            .output
            .as_deref()
            .filter(|_| event == RunEvent::EngineEnded(EngineEnd::Succeeded) && run.snapshot.has_given_results);
        let (has_started, has_ending) =
            (run.state.started_at().is_some(), run.snapshot.has_callback || given.is_some());
        if ends && (has_started || has_ending) && known.is_none() {
            let loaded = store.load_with(&run.tenant_id, run.run_id, AT_THE_END).await?;
            let Some(loaded) = loaded else { return Ok(None) };
            let is_newer = loaded.run.rev != run.rev;
            if is_newer {
                run = loaded.run.clone();
            }
            known = Some(loaded);
            if is_newer {
                continue;
            }
        }
        if ends && has_ending && told.is_none() {
            let ending = match known.as_mut().and_then(|known| known.ending.take()) {
                Some(ending) => ending,
                None => ending_of_old(store, &run).await?,
            };
            let mut details = Cow::Borrowed(end);
            if let Some(output) = given
                && let Some(written) = as_recorded(store, &run, &ending, output).await?
            {
                details.to_mut().output = Some(written);
            }
            told = Some((details, ending.callback));
        }
        let (end, callback) = told.as_ref().map_or((end, None), |(end, callback)| (&**end, callback.as_ref()));
        // A run that never started has used nothing. The ledger is read anew at each try: what is told of the end is what was
        // recorded before it.
        let known = known.take().filter(|_| ends && has_started);
        let reports_rev = known.as_ref().map(|known| known.ledger.as_ref().map_or(0, |ledger| ledger.reports_rev));
        let used = match known {
            Some(Loaded { ledger, earlier, .. }) => used(store, &run.tenant_id, run.run_id, earlier, ledger).await?,
            None => Used::default(),
        };
        let change = change(&run, event, end, callback, &used, now).map_err(unwritable)?;
        let Some(mut change) = change else { return Ok(None) };
        change.expected_reports_rev = reports_rev;
        for delivery in &mut change.deliveries {
            if let Some(begun) = Some(&*delivery).filter(|delivery| may_begin(delivery)).and_then(|it| it.begin(now)) {
                *delivery = begun;
            }
        }
        match store.change_run(&change).await? {
            Changed::Done => {
                let (owed, begun): (Vec<_>, Vec<_>) = change.deliveries.into_iter().partition(Delivery::is_scheduled);
                let owed = owed.iter().map(DeliveryRef::of).collect();
                let freed = change.slots.freed.iter().map(|scope| run.queue(*scope)).collect();
                return Ok(Some(Transition { before: run, after: change.run, owed, begun, freed }));
            }
            Changed::Stale(Some(current)) => run = *current,
            // The run is gone. A full limit cannot be the answer, because a transition takes no slots.
            Changed::Stale(None) | Changed::Full(_) => return Ok(None),
        }
    }
    Err(StoreError { operation: "change a run that keeps changing", class: StoreErrorClass::Conflict, source: None })
}

/// What the end needs of a run's snapshot, where that was not kept apart.
async fn ending_of_old<S: LoadRun>(store: &S, run: &Run) -> StoreResult<Ending> {
    let snapshot = store.load_snapshot(&run.tenant_id, run.run_id).await?;
    let snapshot = snapshot.ok_or_else(|| {
        StoreError::new("find the snapshot of a run", StoreErrorClass::Corrupt, run.run_id.to_string())
    })?;
    Ok(snapshot.ending().unwrap_or_default())
}

/// The execution's output, with the results that its caller wrote (values of the plan, answers to external nodes) as they were
/// written: the engine has read them, and a number may have lost digits in it. References stay what they are. `None` where it
/// is so already.
async fn as_recorded<S: LoadRun>(store: &S, run: &Run, ending: &Ending, output: &str) -> StoreResult<Option<String>> {
    // An output of another machine than the runner; or no JSON, which is said where the output is shown.
    let Some((mut fields, mut results)) = split(output) else { return Ok(None) };
    let here = |leaves: &[NodeId]| -> Vec<NodeId> {
        let is_here = |leaf: &&NodeId| results.get(leaf.as_str()).is_some_and(|result| !refers_to(result, run, leaf));
        leaves.iter().filter(is_here).cloned().collect()
    };
    let (answered, values) = (here(&ending.answered), here(&ending.values));
    let read = async {
        match answered.is_empty() {
            true => Ok(BTreeMap::new()),
            false => store.load_results(&run.tenant_id, run.run_id, &answered).await,
        }
    };
    let plan = async {
        match values.is_empty() {
            true => Ok(None),
            false => store.load_snapshot(&run.tenant_id, run.run_id).await,
        }
    };
    let (written, plan) = both(read, plan).await;
    let (mut written, plan) = (written?, plan?);
    let value = |leaf: &NodeId| Some((leaf.clone(), plan.as_ref()?.value_of(leaf)?));
    written.extend(values.iter().filter_map(value));
    let mut is_changed = false;
    for (node_id, text) in written {
        if let (Ok(text), Some(result)) = (RawValue::from_string(text), results.get_mut(node_id.as_str())) {
            is_changed |= text.get() != result.get();
            *result = text;
        }
    }
    if !is_changed {
        return Ok(None);
    }
    let joined = serde_json::value::to_raw_value(&results).and_then(|joined| {
        fields.insert("results".to_owned(), joined);
        serde_json::to_string(&fields)
    });
    joined.map(Some).map_err(|error| StoreError::new("join the output of a run", StoreErrorClass::Corrupt, error))
}

/// An object's members, each as it is written.
type Fields = BTreeMap<String, Box<RawValue>>;

/// The parts of an output that the runner made, and the results in it.
fn split(output: &str) -> Option<(Fields, Fields)> {
    let fields: Fields = serde_json::from_str(output).ok()?;
    let results = serde_json::from_str(fields.get("results")?.get()).ok()?;
    Some((fields, results))
}

/// Whether the runner gave a reference to a node's result in its place.
fn refers_to(result: &RawValue, run: &Run, node_id: &NodeId) -> bool {
    // What cannot be read as a reference is none.
    let Ok(reference) = serde_json::from_str::<Value>(result.get()) else { return false };
    let of = &reference["resultRef"];
    of["runId"] == run.run_id.to_string() && of["nodeId"] == node_id.as_str() && of["bytes"].is_number()
}

/// Tells `run-callback` about new deliveries and freed slots. An announcement may be lost: deliveries and slots are
/// recorded, so the next sweep finds them.
pub async fn announce<E: AnnounceDue>(engine: &E, transition: &Transition) {
    if !transition.owed.is_empty() {
        let _swept_later = engine.announce_due(&transition.owed).await;
    }
    if !transition.freed.is_empty() {
        let _swept_later = engine.announce_free(&transition.freed).await;
    }
}
