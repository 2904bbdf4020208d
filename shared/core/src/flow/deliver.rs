//! Deliver what a run owes: one leased attempt and its record. The first retry is announced, for about two seconds later;
//! the sweep hands out all later ones.
//!
//! A receiver whose last attempt failed or was slow is [in trouble](crate::delivery::health): whoever settles runs leaves
//! it to the queue, and the queue sends to it a few at a time.
//!
//! **Invariants:** every attempt that left has its record; nobody waits for a receiver longer than their [pace](Pace)
//! allows; what is held back stays due.

use crate::catalog::SettingsKey;
use crate::delivery::health::{Turn, Verdict};
use crate::delivery::{Attempt, AttemptOutcome, Channel, Delivery, Pace, RETRY_SCHEDULE_SECONDS};
use crate::flow::TRIES;
use crate::ports::{
    AnnounceDue, Clock, Deliveries, DeliveryRef, PublishStatus, ReadCatalog, ReceiverHealth, SendWebhook, StoreResult,
};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// What a call of [`deliver`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// An attempt was made; the delivery is now so.
    Attempted(Box<Delivery>, Attempt),
    /// It is due, and its receiver in trouble. It is announced, or told when there is a seat for it, or swept.
    HeldBack,
    /// Not due, ended, in another sender's hands, or gone.
    Nothing,
}

/// Whether a receiver may be sent to now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It is not in trouble.
    Open,
    /// It is, and this attempt has a seat.
    Seated,
    /// It is, and there is no seat.
    Barred,
    /// It is, and others keep changing who has a seat.
    Busy,
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
    S: Deliveries + ReceiverHealth + ReadCatalog,
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
    if !current.is_due(clock.now()) {
        return Ok(Delivered::Nothing);
    }
    let way = find_way(store, &current, pace, clock.now()).await?;
    if matches!(way, Way::Barred | Way::Busy) {
        // Whoever settles runs leaves it to the queue; and through the queue whoever could not ask asks again.
        if pace == Pace::AtTheEnd || way == Way::Busy {
            let _swept_later = bus.announce_due(std::slice::from_ref(delivery)).await;
        }
        return Ok(Delivered::HeldBack);
    }
    let Some((after, attempt)) = attempt(store, bus, webhook, clock, &current, pace).await? else {
        return Ok(Delivered::Nothing);
    };
    let (verdict, now) = (Verdict::of(&attempt), clock.now());
    if way == Way::Seated || verdict == Verdict::Badly {
        note(store, bus, &after, verdict, now).await?;
    }
    Ok(Delivered::Attempted(Box::new(after), attempt))
}

/// One attempt, with its record, and the news of the next one where it is due soon. `None` when another sender was first.
async fn attempt<S, B, W, C>(
    store: &S,
    bus: &B,
    webhook: &W,
    clock: &C,
    current: &Delivery,
    pace: Pace,
) -> StoreResult<Option<(Delivery, Attempt)>>
where
    S: Deliveries + ReadCatalog,
    B: PublishStatus + AnnounceDue,
    W: SendWebhook,
    C: Clock,
{
    let started_at = clock.now();
    let Some(begun) = current.begin(started_at) else { return Ok(None) };
    if !store.change_delivery(&begun, None).await? {
        return Ok(None); // another sender was first, and has the seat too
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
    let delivery = DeliveryRef { tenant_id: after.tenant_id.clone(), run_id: after.run_id, number: after.number };
    if !store.change_delivery(&after, Some(&attempt)).await? {
        // The lease was lost meanwhile: whoever holds it decides. What was sent was sent all the same.
        store.record_late_attempt(&delivery, &attempt).await?;
    } else if is_soon_due(&after, ended_at) {
        let _swept_later = bus.announce_due(&[delivery]).await;
    }
    Ok(Some((after, attempt)))
}

/// Whether the delivery's receiver may be sent to now; if it is in trouble, a seat is taken for the attempt.
async fn find_way<S: ReceiverHealth>(store: &S, delivery: &Delivery, pace: Pace, now: Timestamp) -> StoreResult<Way> {
    let Some(origin) = delivery.channel.origin() else { return Ok(Way::Open) };
    for _ in 0..TRIES {
        let health = store.load_health(&delivery.tenant_id).await?;
        if pace == Pace::AtTheEnd {
            return Ok(if health.is_troubled(&origin, now) { Way::Barred } else { Way::Open });
        }
        let (way, next) = match health.admit(delivery, &origin, now) {
            Turn::Free => return Ok(Way::Open),
            Turn::Crowded => return Ok(Way::Barred),
            Turn::Seated(next) => (Way::Seated, next),
            Turn::Waits(next) => (Way::Barred, next),
        };
        if store.change_health(&next).await? {
            return Ok(way);
        }
    }
    Ok(Way::Busy)
}

/// Notes how the receiver fared, gives the attempt's seat back, and tells those who waited for it.
async fn note<S, B>(store: &S, bus: &B, delivery: &Delivery, verdict: Verdict, now: Timestamp) -> StoreResult<()>
where
    S: ReceiverHealth,
    B: AnnounceDue,
{
    let Some(origin) = delivery.channel.origin() else { return Ok(()) };
    for _ in 0..TRIES {
        let health = store.load_health(&delivery.tenant_id).await?;
        let Some((next, told)) = health.after(delivery, &origin, verdict, now) else { return Ok(()) };
        if store.change_health(&next).await? {
            let told: Vec<DeliveryRef> = told
                .into_iter()
                .map(|waited| DeliveryRef {
                    tenant_id: delivery.tenant_id.clone(),
                    run_id: waited.run_id,
                    number: waited.number,
                })
                .collect();
            if !told.is_empty() {
                let _swept_later = bus.announce_due(&told).await;
            }
            return Ok(());
        }
    }
    // A seat that is not given back is free after its time, and the next attempt says again how the receiver fares.
    Ok(())
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
