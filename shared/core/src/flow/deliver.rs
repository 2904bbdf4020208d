//! Deliver what a run owes: one leased attempt, its record, and the first retry after two seconds.

use crate::catalog::SettingsKey;
use crate::delivery::{Attempt, AttemptOutcome, Channel, Delivery, RETRY_SCHEDULE_SECONDS};
use crate::ports::{Clock, Deliveries, DeliveryRef, PublishStatus, ReadCatalog, SendWebhook, StoreResult};
use std::time::Duration;

/// What a call of [`deliver`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// Attempts were made; the delivery is now so.
    Attempted(Box<Delivery>, Vec<Attempt>),
    /// Not due, ended, in another sender's hands, or gone.
    Nothing,
}

/// Attempts a delivery if it is due, and once more after about two seconds if its first attempt failed.
///
/// # Errors
/// When the store fails. An attempt whose record is lost is repeated after its lease: at least once, never lost.
pub async fn deliver<S, B, W, C>(
    store: &S,
    bus: &B,
    webhook: &W,
    clock: &C,
    delivery: &DeliveryRef,
) -> StoreResult<Delivered>
where
    S: Deliveries + ReadCatalog,
    B: PublishStatus,
    W: SendWebhook,
    C: Clock,
{
    let Some(mut current) = store.load_delivery(delivery).await? else {
        return Ok(Delivered::Nothing);
    };
    let mut made = Vec::new();
    loop {
        let started_at = clock.now();
        let Some(begun) = current.begin(started_at) else { break };
        if !store.change_delivery(&begun, None).await? {
            break; // another sender was first
        }
        let outcome = match &begun.channel {
            Channel::Webhook { url } => match is_listed(store, &begun, url).await? {
                true => webhook.send_webhook(url, &begun, started_at).await,
                false => AttemptOutcome::Unreachable { error_class: "refused_destination".to_owned() },
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
        let is_ours = store.change_delivery(&after, Some(&attempt)).await?;
        if !is_ours {
            // The lease was lost meanwhile: whoever holds it decides. What was sent was sent all the same.
            store.record_late_attempt(delivery, &attempt).await?;
        }
        made.push(attempt);
        current = after;
        if !is_ours {
            break;
        }
        match wait_for_second_attempt(&current, ended_at) {
            Some(wait) => clock.sleep(wait).await,
            None => break,
        }
    }
    Ok(if made.is_empty() { Delivered::Nothing } else { Delivered::Attempted(Box::new(current), made) })
}

/// Whether the tenant's own list of destinations, as it is now, has this one.
async fn is_listed<S: ReadCatalog>(store: &S, delivery: &Delivery, url: &str) -> StoreResult<bool> {
    let settings = store.get(&SettingsKey(delivery.tenant_id.clone())).await?;
    let Some(settings) = settings else { return Ok(true) };
    Ok(url::Url::parse(url).is_ok_and(|url| settings.admits_destination(&url)))
}

/// The second attempt follows in the same invocation, unless the receiver asked for a longer pause.
fn wait_for_second_attempt(delivery: &Delivery, now: jiff::Timestamp) -> Option<Duration> {
    let at = delivery.next_attempt_at.filter(|_| delivery.round_attempts == 1)?;
    let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default();
    let longest = Duration::from_secs(RETRY_SCHEDULE_SECONDS[0].unsigned_abs() * 2);
    (wait <= longest).then_some(wait)
}
