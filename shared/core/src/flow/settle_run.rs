//! Settle a run: the one transition to a terminal status, with everything the end owes, in one transaction.
//!
//! Decision (2026-11-22): a settled run tells `run-callback` of its deliveries at once ("Delivery Due", best
//! effort) instead of waiting for the sweep.

use crate::change::RunChange;
use crate::concurrency::QueueRef;

use crate::envelope;
use crate::flow::TRIES;
use crate::lifecycle::{EngineEnd, RunEvent, RunStatus};
use crate::ports::{AnnounceDue, ChangeRun, Changed, DeliveryRef, StoreError, StoreErrorClass, StoreResult};
use crate::run::{EndDetails, Run, RunError, RunState};
use crate::snapshot::Callback;
use crate::usage::UsageCount;
use jiff::Timestamp;

/// A change that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    pub before: Run,
    pub after: Run,
    pub owed: Vec<DeliveryRef>,
    /// Queues whose turn it is, because the run gave its slots back.
    pub freed: Vec<QueueRef>,
}

/// The change that `event` makes of `run`, or `None` when it makes none. Pure.
pub fn change(
    run: &Run,
    event: RunEvent,
    end: &EndDetails,
    callback: Option<&Callback>,
    usage: &UsageCount,
    now: Timestamp,
) -> Option<RunChange> {
    let mut after = run.after(meant(run, event, end), now)?;
    let RunState::Ended(ended) = &mut after.state else { return Some(RunChange::new(run, after)) };
    // The engine's own clock says when it stopped; steps are measured by the same clock.
    let begun_at = run.state.started_at().unwrap_or(run.spec.created_at);
    ended.complete(end.stopped_at.unwrap_or(now).max(begun_at), run.spec.retention);
    ended.error = end
        .error
        .as_ref()
        .filter(|_| ended.reason.status() == RunStatus::Failed)
        .map(|error| RunError::new(&error.code, &error.message, RunError::HEAD_MESSAGE_CHARS));
    let deliveries = envelope::owed(&after, callback, end, usage, now);
    if let RunState::Ended(ended) = &mut after.state {
        ended.deliveries = deliveries.len() as u32;
    }
    Some(RunChange { output: end.output.clone(), deliveries, ..RunChange::new(run, after) })
}

/// The event as it is meant. An execution that may not claim its run fails, because a state machine has no other way to
/// end itself; where a stop had been asked for, that is the stop.
fn meant(run: &Run, event: RunEvent, end: &EndDetails) -> RunEvent {
    let is_refused_claim = event == RunEvent::EngineEnded(EngineEnd::Failed)
        && end.error.as_ref().is_some_and(|error| error.code == CLAIM_REFUSED);
    match run.state.intent() {
        Some(_) if is_refused_claim => RunEvent::EngineEnded(EngineEnd::Aborted),
        Some(_) | None => event,
    }
}

/// What the runner fails with when its run is not its own to run.
const CLAIM_REFUSED: &str = "Sluice.ClaimRefused";

/// Makes `event` happen to `run`, as often as it takes against concurrent changes. `None` when it makes no difference
/// any more.
///
/// # Errors
/// When the store fails, or others change the run faster than this can.
pub async fn settle<S: ChangeRun>(
    store: &S,
    mut run: Run,
    event: RunEvent,
    end: &EndDetails,
    now: Timestamp,
) -> StoreResult<Option<Settlement>> {
    let (mut callback, mut usage) = (None, None);
    for _ in 0..TRIES {
        let ends = run.after(meant(&run, event, end), now).is_some_and(|after| after.status().is_terminal());
        if ends && run.snapshot.has_callback && callback.is_none() {
            let snapshot = store.load_snapshot(&run.tenant_id, run.run_id).await?;
            let snapshot = snapshot.ok_or_else(|| {
                StoreError::new("find the snapshot of a run", StoreErrorClass::Corrupt, run.run_id.to_string())
            })?;
            callback = snapshot.callback;
        }
        // What never ran has used nothing.
        if ends && run.state.started_at().is_some() && usage.is_none() {
            usage = Some(store.load_usage(&run.tenant_id, run.run_id).await?.total);
        }
        let Some(change) = change(&run, event, end, callback.as_ref(), &usage.unwrap_or_default(), now) else {
            return Ok(None);
        };
        match store.change_run(&change).await? {
            Changed::Done => {
                let owed = change
                    .deliveries
                    .iter()
                    .map(|delivery| DeliveryRef {
                        tenant_id: delivery.tenant_id.clone(),
                        run_id: delivery.run_id,
                        number: delivery.number,
                    })
                    .collect();
                let freed = change.slots.freed.iter().map(|scope| run.queue(*scope)).collect();
                return Ok(Some(Settlement { before: run, after: change.run, owed, freed }));
            }
            Changed::Stale(Some(current)) => run = *current,
            // Gone; or slots that this did not ask for.
            Changed::Stale(None) | Changed::Full(_) => return Ok(None),
        }
    }
    Err(StoreError { operation: "change a run that keeps changing", class: StoreErrorClass::Conflict, source: None })
}

/// Tells `run-callback` about fresh deliveries and free slots. Best effort: both are recorded, so the sweep finds them
/// anyway.
pub async fn announce<E: AnnounceDue>(engine: &E, settlement: &Settlement) {
    if !settlement.owed.is_empty() {
        let _swept_later = engine.announce_due(&settlement.owed).await;
    }
    if !settlement.freed.is_empty() {
        let _swept_later = engine.announce_free(&settlement.freed).await;
    }
}
