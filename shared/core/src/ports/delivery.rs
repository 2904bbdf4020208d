//! Deliveries in the store, how their receivers fare, and the two ways in which they are sent: the event bus and webhooks.

use super::store::StoreResult;
use crate::delivery::health::Health;
use crate::delivery::{Attempt, AttemptOutcome, Delivery};
use crate::id::{RunId, TenantId};
use jiff::Timestamp;
use std::future::Future;
use std::time::Duration;

/// Names one delivery of one run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryRef {
    pub tenant_id: TenantId,
    pub run_id: RunId,
    pub number: u32,
}

impl DeliveryRef {
    pub fn of(delivery: &Delivery) -> Self {
        Self { tenant_id: delivery.tenant_id.clone(), run_id: delivery.run_id, number: delivery.number }
    }
}

/// Loads and changes deliveries.
pub trait Deliveries: Send + Sync {
    /// The delivery with its body. Strongly consistent.
    fn load_delivery(&self, delivery: &DeliveryRef) -> impl Future<Output = StoreResult<Option<Delivery>>> + Send;
    /// Writes `next`, and `attempt` where one is given, all or nothing, if the stored delivery is still at `next.rev -
    /// 1`. `false` when the stored delivery is at another revision; then nothing was written.
    fn change_delivery(
        &self,
        next: &Delivery,
        attempt: Option<&Attempt>,
    ) -> impl Future<Output = StoreResult<bool>> + Send;
    /// Records an attempt whose sender lost the delivery to another sender while the attempt was under way. The
    /// delivery itself does not change.
    fn record_late_attempt(
        &self,
        delivery: &DeliveryRef,
        attempt: &Attempt,
    ) -> impl Future<Output = StoreResult<()>> + Send;
    /// Deliveries of the tenant that were dead-lettered at `since` or later, the earliest first. Eventually consistent.
    fn dead_deliveries(
        &self,
        tenant: &TenantId,
        since: Timestamp,
        limit: u32,
    ) -> impl Future<Output = StoreResult<Vec<DeliveryRef>>> + Send;
}

/// Keeps how the receivers of each tenant fare.
pub trait ReceiverHealth: Send + Sync {
    /// The health of a tenant's receivers, [unknown](Health::unknown) where nothing is kept. Strongly consistent.
    fn load_health(&self, tenant: &TenantId) -> impl Future<Output = StoreResult<Health>> + Send;
    /// Writes `next` if what is kept is still at `next.rev - 1`. `false` when it is at another revision; then nothing was
    /// written. What is [out of date](Health::ends_at) may be gone at any time after.
    fn change_health(&self, next: &Health) -> impl Future<Output = StoreResult<bool>> + Send;
}

/// Sends a status change to the event bus.
pub trait PublishStatus: Send + Sync {
    /// Puts the event "Workflow Run Status Changed" with `detail` on the event bus.
    fn publish_status(&self, detail: &str) -> impl Future<Output = AttemptOutcome> + Send;
}

/// Sends webhooks.
pub trait SendWebhook: Send + Sync {
    /// Makes one attempt at a webhook: signed, over within `patience` whatever the receiver does, and bounded in what is
    /// read of the answer. Never follows a redirect.
    fn send_webhook(
        &self,
        url: &str,
        delivery: &Delivery,
        now: Timestamp,
        patience: Duration,
    ) -> impl Future<Output = AttemptOutcome> + Send;
}
