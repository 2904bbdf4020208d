//! Deliveries in the store, and the two ways by which they leave.

use super::store::StoreResult;
use crate::delivery::{Attempt, AttemptOutcome, Delivery};
use crate::id::{RunId, TenantId};
use jiff::Timestamp;
use std::future::Future;

/// Names one delivery.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryRef {
    pub tenant_id: TenantId,
    pub run_id: RunId,
    pub number: u32,
}

pub trait Deliveries: Send + Sync {
    /// With its body. Strongly consistent.
    fn load_delivery(&self, delivery: &DeliveryRef) -> impl Future<Output = StoreResult<Option<Delivery>>> + Send;
    /// Writes `next` if the delivery is still at `next.rev - 1`; `false` when it is not, and nothing was written.
    fn change_delivery(
        &self,
        next: &Delivery,
        attempt: Option<&Attempt>,
    ) -> impl Future<Output = StoreResult<bool>> + Send;
    /// Keeps an attempt that changes its delivery no more, because another sender has it in hand by now.
    fn record_late_attempt(
        &self,
        delivery: &DeliveryRef,
        attempt: &Attempt,
    ) -> impl Future<Output = StoreResult<()>> + Send;
    /// Deliveries of the tenant that were given up at `since` or later, the first given up first. Eventually consistent.
    fn dead_deliveries(
        &self,
        tenant: &TenantId,
        since: Timestamp,
        limit: u32,
    ) -> impl Future<Output = StoreResult<Vec<DeliveryRef>>> + Send;
}

pub trait PublishStatus: Send + Sync {
    /// Puts "Workflow Run Status Changed" with `detail` on the event bus.
    fn publish_status(&self, detail: &str) -> impl Future<Output = AttemptOutcome> + Send;
}

pub trait SendWebhook: Send + Sync {
    /// One bounded, signed attempt at a webhook. Never follows a redirect.
    fn send_webhook(
        &self,
        url: &str,
        delivery: &Delivery,
        now: Timestamp,
    ) -> impl Future<Output = AttemptOutcome> + Send;
}
