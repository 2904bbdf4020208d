//! Settle a run: the one transition to a terminal status, with everything the end owes, in one transaction.

use crate::callback;
use crate::lifecycle::RunEvent;
use crate::ports::{AnnounceDue, ChangeRun, Changed, DeliveryRef, StoreError, StoreErrorClass, StoreResult};
use crate::run::{EndDetails, Run, RunChange, RunError};
use crate::snapshot::Callback;
use jiff::Timestamp;

/// Times a change is tried against a run that others change as well.
const TRIES: u32 = 8;

/// A change that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    pub before: Run,
    pub after: Run,
    pub owed: Vec<DeliveryRef>,
}

/// The change that `event` makes of `run`, or `None` when it makes none. Pure.
pub fn change(
    run: &Run,
    event: RunEvent,
    end: &EndDetails,
    callback: Option<&Callback>,
    now: Timestamp,
) -> Option<RunChange> {
    let mut after = run.after(event, now)?;
    if !after.status.is_terminal() {
        return Some(RunChange { expected_rev: run.rev, run: after, output: None, deliveries: Vec::new() });
    }
    // The engine's own clock says when it stopped; steps are measured by the same clock.
    after.completed_at = Some(end.stopped_at.unwrap_or(now).max(run.started_at.unwrap_or(run.created_at)));
    after.error = end
        .error
        .as_ref()
        .filter(|_| after.status == crate::lifecycle::RunStatus::Failed)
        .map(|error| RunError::new(&error.code, &error.message, RunError::HEAD_MESSAGE_CHARS));
    let deliveries = callback::owed(&after, callback, end, now);
    after.deliveries = deliveries.len() as u32;
    Some(RunChange { expected_rev: run.rev, run: after, output: end.output.clone(), deliveries })
}

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
    let mut callback = None;
    for _ in 0..TRIES {
        let ends = run.after(event, now).is_some_and(|after| after.status.is_terminal());
        if ends && run.has_callback && callback.is_none() {
            let snapshot = store.load_snapshot(&run.tenant_id, run.run_id).await?;
            let snapshot = snapshot.ok_or_else(|| {
                StoreError::new("find the snapshot of a run", StoreErrorClass::Corrupt, run.run_id.to_string())
            })?;
            callback = snapshot.callback;
        }
        let Some(change) = change(&run, event, end, callback.as_ref(), now) else {
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
                return Ok(Some(Settlement { before: run, after: change.run, owed }));
            }
            Changed::Stale(Some(current)) => run = *current,
            Changed::Stale(None) => return Ok(None),
        }
    }
    Err(StoreError { operation: "change a run that keeps changing", class: StoreErrorClass::Conflict, source: None })
}

/// Tells `run-callback` about fresh deliveries. Best effort: they are recorded, so the sweep finds them anyway.
pub async fn announce<E: AnnounceDue>(engine: &E, settlement: &Settlement) {
    if !settlement.owed.is_empty() {
        let _swept_later = engine.announce_due(&settlement.owed).await;
    }
}
