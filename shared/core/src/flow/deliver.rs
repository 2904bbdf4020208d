//! Deliver what a run owes: one leased attempt and its record. Whoever settles a run begins the attempts in the transaction
//! of its end; the queue's sender reads a delivery and leases it first. The first retry is announced, for about two seconds later;
//! the sweep hands out all later ones.
//!
//! A receiver whose last attempt failed or was slow is [in trouble](crate::delivery::health): whoever settles runs leaves
//! it to the queue, and the queue sends to it a few at a time.
//!
//! **Invariants:** every attempt that left has its record; nobody waits for a receiver longer than their [pace](Pace)
//! allows; what is held back stays due.

use crate::catalog::SettingsKey;
use crate::delivery::health::{Health, Turn, Verdict};
use crate::delivery::{Attempt, AttemptOutcome, Channel, Delivery, Pace, RETRY_SCHEDULE_SECONDS};
use crate::flow::TRIES;
use crate::id::TenantId;
use crate::operator::TenantSettings;
use crate::ports::{
    AnnounceDue, Clock, Deliveries, DeliveryRef, PublishStatus, ReadCatalog, ReceiverHealth, SendWebhook, StoreResult,
};
use crate::together::{both, few};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
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

/// What is known of a tenant's receivers: how they fare, and which the tenant lists.
#[derive(Debug)]
struct Known {
    health: Health,
    /// `None` when the tenant has no settings of its own.
    settings: Option<Arc<TenantSettings>>,
}

impl Known {
    async fn read<S: ReceiverHealth + ReadCatalog>(store: &S, tenant: &TenantId) -> StoreResult<Self> {
        let key = SettingsKey(tenant.clone());
        let (health, settings) = both(store.load_health(tenant), store.get(&key)).await;
        Ok(Self { health: health?, settings: settings? })
    }

    /// Whether the tenant's own list of destinations has this one.
    fn lists(&self, url: &str) -> bool {
        let Some(settings) = &self.settings else { return true };
        url::Url::parse(url).is_ok_and(|url| settings.admits_destination(&url))
    }
}

/// What whoever settles runs knows of a tenant's receivers before it sends to one of them.
#[derive(Debug)]
pub struct Outlook(Option<Known>);

impl Outlook {
    /// Nothing is known, so nothing but the event bus is sent to.
    pub const BLIND: Self = Self(None);

    /// The tenant's receivers as they are now. Where the store fails, their deliveries are left to the queue.
    pub async fn of<S: ReceiverHealth + ReadCatalog>(store: &S, tenant: &TenantId) -> Self {
        Self(Known::read(store, tenant).await.ok())
    }

    /// Whether a delivery may be sent at once. The event bus is nobody's receiver; one in trouble is left to the queue.
    pub fn lets_through(&self, delivery: &Delivery, now: Timestamp) -> bool {
        let is_well = |origin: String| self.0.as_ref().is_some_and(|known| !known.health.is_troubled(&origin, now));
        delivery.channel.origin().is_none_or(is_well)
    }
}

/// Attempts a delivery of which the queue has told, if it is due, or so nearly due that somebody's clock may be wrong.
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
    S: Deliveries + ReceiverHealth + ReadCatalog,
    B: PublishStatus + AnnounceDue,
    W: SendWebhook,
    C: Clock,
{
    let (current, mut known) = both(store.load_delivery(delivery), Known::read(store, &delivery.tenant_id)).await;
    let Some(current) = current? else {
        return Ok(Delivered::Nothing);
    };
    if let Some(wait) = wait_until_due(&current, clock.now()) {
        clock.sleep(wait).await;
        known = Known::read(store, &delivery.tenant_id).await;
    }
    if !current.is_due(clock.now()) {
        return Ok(Delivered::Nothing);
    }
    let mut known = known?;
    let way = find_way(store, &current, &mut known.health, clock.now()).await?;
    if matches!(way, Way::Barred | Way::Busy) {
        // Whoever could not ask asks again.
        if way == Way::Busy {
            let _swept_later = bus.announce_due(std::slice::from_ref(delivery)).await;
        }
        return Ok(Delivered::HeldBack);
    }
    let Some(begun) = current.begin(clock.now()) else { return Ok(Delivered::Nothing) };
    if !store.change_delivery(&begun, None).await? {
        return Ok(Delivered::Nothing); // another sender was first, and has the seat too
    }
    attempt(store, bus, webhook, clock, &begun, (Some(&known), way, Pace::FromTheQueue)).await
}

/// Sends what a run owes whose end was recorded just now: makes the attempts that are `begun`, side by side, so that none keeps
/// another waiting, and leaves the others, which are `owed`, to the queue. The number of each, and what becomes of it.
pub async fn send<S, B, W, C>(
    store: &S,
    bus: &B,
    webhook: &W,
    clock: &C,
    outlook: &Outlook,
    begun: &[Delivery],
    owed: &[DeliveryRef],
) -> Vec<StoreResult<(u32, Delivered)>>
where
    S: Deliveries + ReceiverHealth,
    B: PublishStatus + AnnounceDue,
    W: SendWebhook,
    C: Clock,
{
    if !owed.is_empty() {
        let _swept_later = bus.announce_due(owed).await;
    }
    let way = (outlook.0.as_ref(), Way::Open, Pace::AtTheEnd);
    let sent = begun.iter().map(|begun| async move {
        attempt(store, bus, webhook, clock, begun, way).await.map(|delivered| (begun.number, delivered))
    });
    let mut done = few(begun.len(), sent).await;
    done.extend(owed.iter().map(|owed| Ok((owed.number, Delivered::HeldBack))));
    done
}

/// One attempt that has begun, with its record, the news of the next one where it is due soon, and how the receiver fared.
async fn attempt<S, B, W, C>(
    store: &S,
    bus: &B,
    webhook: &W,
    clock: &C,
    begun: &Delivery,
    (known, way, pace): (Option<&Known>, Way, Pace),
) -> StoreResult<Delivered>
where
    S: Deliveries + ReceiverHealth,
    B: PublishStatus + AnnounceDue,
    W: SendWebhook,
    C: Clock,
{
    let started_at = clock.now();
    let outcome = match &begun.channel {
        Channel::Webhook { url } => match known.is_some_and(|known| known.lists(url)) {
            true => webhook.send_webhook(url, begun, started_at, pace.patience()).await,
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
    let delivery = DeliveryRef::of(&after);
    if !store.change_delivery(&after, Some(&attempt)).await? {
        // The lease was lost meanwhile: whoever holds it decides. What was sent was sent all the same.
        store.record_late_attempt(&delivery, &attempt).await?;
    } else if is_soon_due(&after, ended_at) {
        let _swept_later = bus.announce_due(&[delivery]).await;
    }
    let verdict = Verdict::of(&attempt);
    if way == Way::Seated || verdict == Verdict::Badly {
        note(store, bus, &after, verdict, clock.now()).await?;
    }
    Ok(Delivered::Attempted(Box::new(after), attempt))
}

/// Whether the delivery's receiver may be sent to now; if it is in trouble, a seat is taken for the attempt. `health` is how
/// the tenant's receivers fared when it was read last.
async fn find_way<S: ReceiverHealth>(
    store: &S,
    delivery: &Delivery,
    health: &mut Health,
    now: Timestamp,
) -> StoreResult<Way> {
    let Some(origin) = delivery.channel.origin() else { return Ok(Way::Open) };
    for _ in 0..TRIES {
        let (way, next) = match health.admit(delivery, &origin, now) {
            Turn::Free => return Ok(Way::Open),
            Turn::Crowded => return Ok(Way::Barred),
            Turn::Seated(next) => (Way::Seated, next),
            Turn::Waits(next) => (Way::Barred, next),
        };
        if store.change_health(&next).await? {
            return Ok(way);
        }
        *health = store.load_health(&delivery.tenant_id).await?;
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
