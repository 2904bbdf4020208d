//! The store over one DynamoDB table.
//!
//! `keys` builds every key, `item` every stored shape; `transact` writes all or nothing; the other modules are the
//! ports, one group each.
//!
//! **Invariants:** reads of the table itself are strongly consistent, reads of its indexes never; nothing that others
//! may have changed is written without a condition; no tenant's key is built from anything but that tenant's id.

mod catalog;
mod change;
mod deliver;
pub mod item;
pub mod keys;
mod manage;
mod page;
mod read;
mod record;
mod sweep;
mod transact;

use crate::fault::Fault;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use item::{Item, Key};
use sluice_core::ports::{StoreError, StoreErrorClass, StoreResult};
use std::sync::Arc;

/// The table, and what this process remembers of it.
#[derive(Clone, Debug)]
pub struct Store {
    client: aws_sdk_dynamodb::Client,
    table: Arc<str>,
    cache: Arc<catalog::Cache>,
}

impl Store {
    pub fn new(client: aws_sdk_dynamodb::Client, table: &str) -> Self {
        Self { client, table: table.into(), cache: Arc::default() }
    }

    /// One item, strongly consistent.
    async fn get(&self, operation: &'static str, key: Key) -> StoreResult<Option<Item>> {
        let call = self.client.get_item().table_name(&*self.table).set_key(Some(key.into_item())).consistent_read(true);
        call.send().await.map(|answer| answer.item).map_err(|error| failed(operation, &error))
    }
}

/// What a failed call means to a flow.
fn failed<E, R>(operation: &'static str, error: &SdkError<E, R>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    StoreError::new(operation, class(code), Fault::of(error))
}

fn class(code: Option<&str>) -> StoreErrorClass {
    match code {
        Some("TransactionConflict" | "TransactionConflictException" | "TransactionInProgressException") => {
            StoreErrorClass::Conflict
        }
        Some(
            "ThrottlingException"
            | "ThrottlingError"
            | "Throttling"
            | "ProvisionedThroughputExceeded"
            | "ProvisionedThroughputExceededException"
            | "RequestLimitExceeded"
            | "LimitExceededException",
        ) => StoreErrorClass::Throttled,
        // The table refuses what it was asked: no retry mends that.
        Some(
            "ValidationException" | "ValidationError" | "SerializationException" | "ItemCollectionSizeLimitExceeded",
        ) => StoreErrorClass::Corrupt,
        Some(_) | None => StoreErrorClass::Unavailable,
    }
}

fn corrupt(operation: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::new(operation, StoreErrorClass::Corrupt, source)
}
