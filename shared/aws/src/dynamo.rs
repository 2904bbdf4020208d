//! The store over one DynamoDB table.
//!
//! `keys` builds every key, `item` every stored shape; `transact` writes all or nothing; the other modules are the
//! ports, one group each.
//!
//! **Invariants:** reads of the table itself are strongly consistent, reads of its indexes never; nothing that others
//! may have changed is written without a condition; no tenant's key is built from anything but that tenant's id.

mod batch;
mod catalog;
mod change;
mod deliver;
pub mod item;
pub mod keys;
mod manage;
mod page;
mod purge;
mod queue;
mod read;
mod record;
mod report;
mod slots;
mod sweep;
mod transact;
mod usage;

use crate::fault::Fault;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use item::{Item, ItemResult};
use keys::Key;
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

    /// Writes one item, in the place of an earlier one: the last word stands, so there is no condition.
    async fn put(&self, operation: &'static str, item: ItemResult<Item>) -> StoreResult<()> {
        let item = item.map_err(|error| corrupt(operation, error))?;
        let put = self.client.put_item().table_name(&*self.table).set_item(Some(item));
        put.send().await.map(|_| ()).map_err(|error| failed(operation, &error))
    }

    /// Writes one item if there is none under its key yet, and says whether it did.
    async fn put_new(&self, operation: &'static str, item: ItemResult<Item>) -> StoreResult<bool> {
        let item = item.map_err(|error| corrupt(operation, error))?;
        let put = self.client.put_item().table_name(&*self.table).set_item(Some(item));
        match put.condition_expression("attribute_not_exists(pk)").send().await {
            Ok(_) => Ok(true),
            Err(error)
                if error.as_service_error().is_some_and(|answer| answer.is_conditional_check_failed_exception()) =>
            {
                Ok(false)
            }
            Err(error) => Err(failed(operation, &error)),
        }
    }

    /// Deletes one item. Deleting what is gone is no error.
    async fn delete(&self, operation: &'static str, key: Key) -> StoreResult<()> {
        let delete = self.client.delete_item().table_name(&*self.table).set_key(Some(key.into_item()));
        delete.send().await.map(|_| ()).map_err(|error| failed(operation, &error))
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
