//! Deliveries: loaded with their bodies, changed under their optimistic lock together with the record of an attempt.

use super::transact::{Transacted, Write};
use super::{Store, corrupt, item, keys};
use item::n;
use sluice_core::callback::{Attempt, Delivery};
use sluice_core::ports::{Deliveries, DeliveryRef, StoreError, StoreErrorClass, StoreResult};

impl Deliveries for Store {
    async fn load_delivery(&self, delivery: &DeliveryRef) -> StoreResult<Option<Delivery>> {
        const OPERATION: &str = "load a delivery";
        let DeliveryRef { tenant_id, run_id, number } = delivery;
        let (found, body) = tokio::try_join!(
            self.get(OPERATION, keys::delivery(tenant_id, *run_id, *number)),
            self.get(OPERATION, keys::delivery_body(tenant_id, *run_id, *number)),
        )?;
        let Some(found) = found else { return Ok(None) };
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
            writes.push(Write::put_new(item::from_attempt(next, attempt).map_err(unwritable)?));
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
}
