//! What runs owe to others, and every try at it.

use super::form::{Item, ItemError, ItemResult, check, n, read, set, stamped, write};
use crate::dynamo::keys;
use serde_dynamo::AttributeValue;
use sluice_core::delivery::health::Health;
use sluice_core::delivery::{Attempt, Delivery, DeliveryStatus};
use sluice_core::ports::{DeliveryRef, DueDelivery};

const DELIVERY: &str = "delivery";
const BODY: &str = "delivery-body";
const ATTEMPT: &str = "attempt";
const HEALTH: &str = "receiver-health";

/// A delivery without its body: in the index of due ones while it is owed, and among its tenant's dead ones once it was
/// given up.
pub fn from_delivery(delivery: &Delivery) -> ItemResult<Item> {
    let key = keys::delivery(&delivery.tenant_id, delivery.run_id, delivery.number);
    let mut item = write(DELIVERY, delivery, key)?;
    let place = match (delivery.next_attempt_at, delivery.ended_at) {
        (Some(due_at), _) => Some((keys::due_shard(keys::shard(delivery.run_id)), due_at)),
        (None, Some(ended_at)) if delivery.status == DeliveryStatus::DeadLettered => {
            Some((keys::dead_deliveries(&delivery.tenant_id), ended_at))
        }
        (None, _) => None,
    };
    if let Some((shard, at)) = place {
        let at = keys::due_at(at, delivery.run_id, delivery.number);
        set(&mut item, [(keys::DUE_SHARD, shard), (keys::DUE_AT, at)]);
    }
    Ok(item)
}

/// The body is left empty.
pub fn to_delivery(item: Item) -> ItemResult<Delivery> {
    read(DELIVERY, item)
}

pub fn to_delivery_ref(item: Item) -> ItemResult<DeliveryRef> {
    to_delivery(item).map(|delivery| reference(&delivery))
}

pub fn to_due_delivery(item: Item) -> ItemResult<DueDelivery> {
    let delivery = to_delivery(item)?;
    Ok(DueDelivery { delivery: reference(&delivery), receiver: delivery.receiver() })
}

pub fn from_delivery_body(delivery: &Delivery) -> Item {
    let key = keys::delivery_body(&delivery.tenant_id, delivery.run_id, delivery.number);
    let mut item = stamped(Item::new(), BODY, key);
    set(&mut item, [("body", delivery.body.clone())]);
    item
}

pub fn to_delivery_body(mut item: Item) -> ItemResult<String> {
    check(BODY, &item)?;
    match item.remove("body") {
        Some(AttributeValue::S(body)) => Ok(body),
        Some(_) | None => Err(ItemError::Attribute { kind: BODY, attribute: "body" }),
    }
}

pub fn from_attempt(delivery: &DeliveryRef, attempt: &Attempt) -> ItemResult<Item> {
    let key = keys::attempt(&delivery.tenant_id, delivery.run_id, delivery.number, attempt.number);
    let mut item = write(ATTEMPT, attempt, key)?;
    item.insert("delivery".into(), n(delivery.number));
    Ok(item)
}

/// The attempt and the number of its delivery.
pub fn to_attempt(item: Item) -> ItemResult<(u32, Attempt)> {
    let delivery = match item.get("delivery") {
        Some(AttributeValue::N(number)) => number.parse().ok(),
        Some(_) | None => None,
    };
    let delivery = delivery.ok_or(ItemError::Attribute { kind: ATTEMPT, attribute: "delivery" })?;
    Ok((delivery, read(ATTEMPT, item)?))
}

/// How a tenant's receivers fare. `ttl` lets DynamoDB clean up some time after nothing in it holds any more.
pub fn from_health(health: &Health) -> ItemResult<Item> {
    let mut item = write(HEALTH, health, keys::health(&health.tenant_id))?;
    item.insert("ttl".into(), n(health.ends_at().as_second().saturating_add(1)));
    Ok(item)
}

pub fn to_health(item: Item) -> ItemResult<Health> {
    read(HEALTH, item)
}

pub fn reference(delivery: &Delivery) -> DeliveryRef {
    DeliveryRef { tenant_id: delivery.tenant_id.clone(), run_id: delivery.run_id, number: delivery.number }
}
