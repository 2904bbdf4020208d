//! Counters of concurrency slots: how many runs hold one, and how many wait for one.

use super::form::{Item, ItemError, ItemResult, V, check, n, s};
use serde_dynamo::AttributeValue;
use sluice_core::concurrency::QueueRef;

const SLOTS: &str = "slots";

/// What a counter says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    pub held: i64,
    pub queued: i64,
}

/// The expression that counts `by` on a counter, which makes the counter where there is none yet, and its values. A
/// counter is only ever added to, so that nobody has to read it first.
pub fn counted(queue: &QueueRef, by: Counter) -> (&'static str, Item) {
    const TENANT: &str = "SET kind = :kind, v = :v, tenantId = :tenantId ADD held :held, queued :queued";
    const DEFINITION: &str = "SET kind = :kind, v = :v, tenantId = :tenantId, definitionId = :definitionId \
        ADD held :held, queued :queued";
    let mut values = Item::from([
        (":kind".into(), s(SLOTS)),
        (":v".into(), n(V)),
        (":tenantId".into(), s(queue.tenant_id.as_str())),
        (":held".into(), n(by.held)),
        (":queued".into(), n(by.queued)),
    ]);
    match queue.definition_id {
        None => (TENANT, values),
        Some(id) => {
            values.insert(":definitionId".into(), s(id.to_string()));
            (DEFINITION, values)
        }
    }
}

pub fn to_counter(item: &Item) -> ItemResult<Counter> {
    check(SLOTS, item)?;
    let number = |attribute: &'static str| match item.get(attribute) {
        None => Ok(0),
        Some(AttributeValue::N(number)) => number.parse().map_err(|_| ItemError::Attribute { kind: SLOTS, attribute }),
        Some(_) => Err(ItemError::Attribute { kind: SLOTS, attribute }),
    };
    Ok(Counter { held: number("held")?, queued: number("queued")? })
}
