//! The store over one DynamoDB table.
//!
//! `keys` builds every key, `item` every stored shape; `transact` writes all or nothing; the other modules are the
//! ports, one group each.
//!
//! **Invariants:** reads of the table itself are strongly consistent, reads of its indexes never; nothing that others
//! may have changed is written without a condition; no tenant's key is built from anything but that tenant's id.

mod batch;
mod boards;
mod catalog;
mod change;
mod deliver;
mod governor;
pub mod item;
pub mod keys;
mod manage;
mod meter;
mod model;
pub mod operation;
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

use crate::call::Service;
use crate::fault::Fault;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use item::{Item, ItemResult, n};
use keys::Key;
use operation::{Change, DeleteItem, GetItem, GetItemInput, PutItem};
use serde_dynamo::AttributeValue;
use sluice_core::memory::Memory;
use sluice_core::ports::{StoreError, StoreErrorClass, StoreResult};
use std::sync::Arc;

/// The table, and what this process remembers of it.
#[derive(Clone, Debug)]
pub struct Store {
    dynamodb: Service,
    table: Arc<str>,
    memory: Memory,
}

impl Store {
    pub fn new(dynamodb: Service, table: &str) -> Self {
        Self { dynamodb, table: table.into(), memory: Memory::default() }
    }

    /// One item, strongly consistent.
    async fn get(&self, operation: &'static str, key: Key) -> StoreResult<Option<Item>> {
        let get = GetItemInput { table_name: &self.table, key: key.into_item(), consistent_read: true };
        let answer = self.dynamodb.call::<GetItem>(get).await;
        answer.map(|answer| answer.item).map_err(|error| failed(operation, &error))
    }

    /// Writes one item if there is none under its key yet, and says whether it did.
    async fn put_new(&self, operation: &'static str, item: ItemResult<Item>) -> StoreResult<bool> {
        self.put_if(operation, item, "attribute_not_exists(pk)", None).await
    }

    /// Writes one item in the place of its last revision, and says whether it did. The first one takes the place of nothing,
    /// or of an item of before revisions.
    async fn put_over(&self, operation: &'static str, item: ItemResult<Item>, rev: u64) -> StoreResult<bool> {
        match rev.checked_sub(1) {
            None => Err(corrupt(operation, "what is written has rev 1 or more")),
            Some(0) => self.put_if(operation, item, "attribute_not_exists(rev)", None).await,
            Some(before) => self.put_if(operation, item, "rev = :before", Some((":before", n(before)))).await,
        }
    }

    async fn put_if(
        &self,
        operation: &'static str,
        item: ItemResult<Item>,
        condition: &str,
        value: Option<(&'static str, AttributeValue)>,
    ) -> StoreResult<bool> {
        let item = item.map_err(|error| corrupt(operation, error))?;
        let put = Change {
            item: Some(item),
            condition_expression: Some(condition.into()),
            expression_attribute_values: value.into_iter().map(|(name, value)| (name.into(), value)).collect(),
            ..self.change()
        };
        match self.dynamodb.call::<PutItem>(put).await {
            Ok(_) => Ok(true),
            Err(error)
                if error.as_service_error().is_some_and(|answer| answer.is_conditional_check_failed_exception()) =>
            {
                Ok(false)
            }
            Err(error) => Err(failed(operation, &error)),
        }
    }

    /// A change of the table, without what it does.
    fn change(&self) -> Change<'_> {
        Change { table_name: &self.table, ..Change::default() }
    }

    /// Deletes one item. Deleting what is gone is no error.
    async fn delete(&self, operation: &'static str, key: Key) -> StoreResult<()> {
        let delete = Change { key: Some(key.into_item()), ..self.change() };
        self.dynamodb.call::<DeleteItem>(delete).await.map(|_| ()).map_err(|error| failed(operation, &error))
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
