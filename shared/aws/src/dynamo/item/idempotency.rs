//! What is kept of the first request with a key.

use super::form::{Item, ItemResult, n, read, write};
use super::head::StoredRun;
use crate::dynamo::keys;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sluice_core::idempotency::{IdempotencyClaim, IdempotencyRecord};
use sluice_core::time::millis_opt;

const IDEMPOTENCY: &str = "idempotency";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredRecord {
    payload_hash: String,
    /// In the form of a head.
    run: StoredRun,
    #[serde(with = "millis_opt", default)]
    expires_at: Option<Timestamp>,
}

/// What is kept of the first request with a key. `ttl` lets DynamoDB clean up some time after the key is free.
pub fn from_idempotency(claim: &IdempotencyClaim, record: &IdempotencyRecord) -> ItemResult<Item> {
    let key = keys::idempotency(&record.run.tenant_id, claim.operation, &claim.key);
    let stored = StoredRecord {
        payload_hash: record.payload_hash.clone(),
        run: StoredRun::from(&record.run),
        expires_at: record.expires_at,
    };
    let mut item = write(IDEMPOTENCY, &stored, key)?;
    match record.expires_at {
        Some(at) => item.insert("ttl".into(), n(at.as_second().saturating_add(1))),
        None => item.remove("expiresAt"),
    };
    Ok(item)
}

pub fn to_idempotency(item: Item) -> ItemResult<IdempotencyRecord> {
    let StoredRecord { payload_hash, run, expires_at } = read(IDEMPOTENCY, item)?;
    Ok(IdempotencyRecord { payload_hash, run: run.try_into()?, expires_at })
}
