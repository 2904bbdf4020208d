//! Deliver what a run owes: one leased attempt and its record. The first retry is announced, for about two seconds later;
//! the sweep hands out all later ones.
//!
//! **Invariants:** every attempt that left has its record; nobody waits for a receiver longer than their
//! [pace](Pace) allows.

use crate::catalog::SettingsKey;
use crate::delivery::{Attempt, AttemptOutcome, Channel, Delivery, Pace, RETRY_SCHEDULE_SECONDS};
use crate::ports::{AnnounceDue, Clock, Deliveries, DeliveryRef, PublishStatus, ReadCatalog, SendWebhook, StoreResult};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// What a call of [`deliver`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// An attempt was made; the delivery is now so.
    Attempted(Box<Delivery>, Attempt),
    /// Not due, ended, in another sender's hands, or gone.
    Nothing,
}

/// Attempts a delivery if it is due, or so nearly due that somebody's clock may be wrong.
///
/// # Errors
/// When the store fails. An attempt whose record is lost is repeated after its lease: at least once, never lost.
pub async fn deliver<S, B, W, C>(
    store: &S,
    bus: &B,
    webhook: &W,
    clock: &C,
    delivery: &DeliveryRef,
    pace: Pace,
) -> StoreResult<Delivered>
where
    S: Deliveries + ReadCatalog,
    B: PublishStatus + AnnounceDue,
    W: SendWebhook,
    C: Clock,
{
    let Some(current) = store.load_delivery(delivery).await? else {
        return Ok(Delivered::Nothing);
    };
    if let Some(wait) = wait_until_due(&current, clock.now()) {
        clock.sleep(wait).await;
    }
    let started_at = clock.now();
    let Some(begun) = current.begin(started_at) else {
        return Ok(Delivered::Nothing);
    };
    if !store.change_delivery(&begun, None).await? {
        return Ok(Delivered::Nothing); // another sender was first
    }
    let outcome = match &begun.channel {
        Channel::Webhook { url } => match is_listed(store, &begun, url).await? {
            true => webhook.send_webhook(url, &begun, started_at, pace.patience()).await,
            false => AttemptOutcome::Unreachable { error_class: AttemptOutcome::NOT_LISTED.to_owned() },
        },
        Channel::EventBus => bus.publish_status(&begun.body).await,
    };
    let ended_at = clock.now();
    let attempt = Attempt {
        number: begun.attempts,
        at: started_at,
        duration_ms: u64::try_from(ended_at.duration_since(started_at).as_millis()).unwrap_or(0),
        outcome,
    };
    let after = begun.after(&attempt.outcome, ended_at);
    if store.change_delivery(&after, Some(&attempt)).await? {
        if is_soon_due(&after, ended_at) {
            let _swept_later = bus.announce_due(std::slice::from_ref(delivery)).await;
        }
    } else {
        // The lease was lost meanwhile: whoever holds it decides. What was sent was sent all the same.
        store.record_late_attempt(delivery, &attempt).await?;
    }
    Ok(Delivered::Attempted(Box::new(after), attempt))
}

/// Whether the tenant's own list of destinations, as it is now, has this one.
async fn is_listed<S: ReadCatalog>(store: &S, delivery: &Delivery, url: &str) -> StoreResult<bool> {
    let settings = store.get(&SettingsKey(delivery.tenant_id.clone())).await?;
    let Some(settings) = settings else { return Ok(true) };
    Ok(url::Url::parse(url).is_ok_and(|url| settings.admits_destination(&url)))
}

/// The first retry is worth an announcement, unless the receiver asked for a longer pause.
fn is_soon_due(delivery: &Delivery, now: Timestamp) -> bool {
    let soon = now + SignedDuration::from_secs(RETRY_SCHEDULE_SECONDS[0] * 2);
    delivery.round_attempts == 1 && delivery.next_attempt_at.is_some_and(|at| at <= soon)
}

/// What is announced before it is due comes when it is due, or a little earlier: not at all would mean a minute later. A
/// sender's lease is never waited for.
fn wait_until_due(delivery: &Delivery, now: Timestamp) -> Option<Duration> {
    let at = delivery.next_attempt_at.filter(|_| delivery.is_scheduled() && is_soon_due(delivery, now))?;
    Duration::try_from(at.duration_since(now)).ok()
}
