//! Deliveries: loaded with their bodies, changed under their optimistic lock together with the record of an attempt; those that
//! were given up, by tenant; how receivers fare.

use super::page::{Range, Walk};
use super::transact::{Transacted, Write};
use super::{Store, corrupt, item, keys};
use item::n;
use jiff::Timestamp;
use keys::Key;
use sluice_core::delivery::health::Health;
use sluice_core::delivery::{Attempt, Delivery};
use sluice_core::id::TenantId;
use sluice_core::ports::{Deliveries, DeliveryRef, ReceiverHealth, StoreError, StoreErrorClass, StoreResult};

impl Deliveries for Store {
    async fn load_delivery(&self, delivery: &DeliveryRef) -> StoreResult<Option<Delivery>> {
        const OPERATION: &str = "load a delivery";
        let DeliveryRef { tenant_id, run_id, number } = delivery;
        let (delivery, body) =
            (keys::delivery(tenant_id, *run_id, *number), keys::delivery_body(tenant_id, *run_id, *number));
        let both = self.get_all(OPERATION, &[delivery.clone(), body], &[]).await?;
        let (found, body): (Vec<_>, Vec<_>) =
            both.into_iter().partition(|item| Key::of(item).is_some_and(|key| key == delivery));
        let (Some(found), body) = (found.into_iter().next(), body.into_iter().next()) else { return Ok(None) };
        let mut found = item::to_delivery(found).map_err(|error| corrupt(OPERATION, error))?;
        // Written together with its delivery, and never after.
        let body = body.ok_or_else(|| corrupt(OPERATION, "the delivery has no body"))?;
        found.body = item::to_delivery_body(body).map_err(|error| corrupt(OPERATION, error))?;
        Ok(Some(found))
    }

    async fn change_delivery(&self, next: &Delivery, attempt: Option<&Attempt>) -> StoreResult<bool> {
        const OPERATION: &str = "change a delivery";
        const DELIVERY: usize = 0;
        let unwritable = |error| corrupt(OPERATION, error);
        // A transaction even for the one item: its token tells a repeated write of ours from another sender's.
        let expected =
            next.rev.checked_sub(1).ok_or_else(|| corrupt(OPERATION, "a changed delivery has rev 1 or more"))?;
        let mut writes = vec![
            Write::put(item::from_delivery(next).map_err(unwritable)?)
                .only_if("rev = :expected")
                .with(":expected", n(expected)),
        ];
        if let Some(attempt) = attempt {
            writes.push(Write::put_new(item::from_attempt(&item::reference(next), attempt).map_err(unwritable)?));
        }
        match self.transact(OPERATION, writes).await? {
            Transacted::Written => Ok(true),
            Transacted::Refused(refusals) if refusals.include(DELIVERY) => Ok(false),
            // An attempt of that number exists, although the delivery is as it was before it.
            Transacted::Refused(_) => {
                Err(StoreError { operation: OPERATION, class: StoreErrorClass::Corrupt, source: None })
            }
        }
    }

    async fn record_late_attempt(&self, delivery: &DeliveryRef, attempt: &Attempt) -> StoreResult<()> {
        // Each attempt has a number of its own, so what is there already is this one.
        self.put_new("record a late attempt", item::from_attempt(delivery, attempt)).await.map(|_is_new| ())
    }

    async fn dead_deliveries(&self, tenant: &TenantId, since: Timestamp, limit: u32) -> StoreResult<Vec<DeliveryRef>> {
        const OPERATION: &str = "list dead deliveries";
        let partition = (keys::DUE_SHARD, keys::dead_deliveries(tenant));
        let dead = Walk::of_index(OPERATION, keys::DUE, partition, keys::DUE_AT);
        let found = self.first(&Walk { range: Range::From(keys::from_time(since)), ..dead }, limit).await?;
        let read = found.into_iter().map(item::to_delivery_ref).collect::<Result<_, _>>();
        read.map_err(|error| corrupt(OPERATION, error))
    }
}

impl ReceiverHealth for Store {
    async fn load_health(&self, tenant: &TenantId) -> StoreResult<Health> {
        const OPERATION: &str = "load the health of receivers";
        let found = self.get(OPERATION, keys::health(tenant)).await?;
        let read = found.map(item::to_health).transpose().map_err(|error| corrupt(OPERATION, error))?;
        Ok(read.unwrap_or_else(|| Health::unknown(tenant.clone())))
    }

    async fn change_health(&self, next: &Health) -> StoreResult<bool> {
        self.put_over("change the health of receivers", item::from_health(next), next.rev).await
    }
}
