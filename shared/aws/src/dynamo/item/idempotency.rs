//! What is kept of the first request with a key.

use super::form::{Item, ItemResult, n, read, write};
use crate::dynamo::keys;
use sluice_core::idempotency::{IdempotencyClaim, IdempotencyRecord};

const IDEMPOTENCY: &str = "idempotency";

/// What is kept of the first request with a key. `ttl` lets DynamoDB clean up some time after the key is free.
pub fn from_idempotency(claim: &IdempotencyClaim, record: &IdempotencyRecord) -> ItemResult<Item> {
    let key = keys::idempotency(&record.run.tenant_id, claim.operation, &claim.key);
    let mut item = write(IDEMPOTENCY, record, key)?;
    match record.expires_at {
        Some(at) => item.insert("ttl".to_owned(), n(at.as_second().saturating_add(1))),
        None => item.remove("expiresAt"),
    };
    Ok(item)
}

pub fn to_idempotency(item: Item) -> ItemResult<IdempotencyRecord> {
    read(IDEMPOTENCY, item)
}
