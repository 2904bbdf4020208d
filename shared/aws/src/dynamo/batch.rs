//! Many items at once, read or deleted by their keys.

use super::item::Item;
use super::keys::Key;
use super::{Store, corrupt, failed};
use aws_sdk_dynamodb::operation::batch_get_item::{BatchGetItem, BatchGetItemInput};
use aws_sdk_dynamodb::operation::batch_write_item::{BatchWriteItem, BatchWriteItemInput};
use aws_sdk_dynamodb::types::{DeleteRequest, KeysAndAttributes, WriteRequest};
use sluice_core::ports::{StoreError, StoreErrorClass, StoreResult};
use std::collections::HashMap;
use std::time::Duration;

/// Keys of one `BatchGetItem`.
const READS: usize = 100;
/// Requests of one `BatchWriteItem`.
const WRITES: usize = 25;
/// Times that what DynamoDB left undone is asked for again.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(25);

impl Store {
    /// The items under `keys`, which are all different; what does not exist is left out. Strongly consistent, in no order.
    pub(super) async fn get_all(
        &self,
        operation: &'static str,
        keys: &[Key],
        only: &[&'static str],
    ) -> StoreResult<Vec<Item>> {
        let mut found = Vec::with_capacity(keys.len());
        for batch in keys.chunks(READS) {
            self.get_batch(operation, batch, only, &mut found).await?;
        }
        Ok(found)
    }

    async fn get_batch(
        &self,
        operation: &'static str,
        keys: &[Key],
        only: &[&'static str],
        found: &mut Vec<Item>,
    ) -> StoreResult<()> {
        // Every name is a placeholder, because many words are reserved.
        let placeholders: Vec<String> = (0..only.len()).map(|index| format!("#p{index}")).collect();
        let names: HashMap<String, String> =
            placeholders.iter().cloned().zip(only.iter().map(|name| (*name).to_owned())).collect();
        let mut left: Vec<Item> = keys.iter().cloned().map(Key::into_item).collect();
        for attempt in 0..TRIES {
            wait_before(attempt).await;
            let wanted = KeysAndAttributes::builder()
                .set_keys(Some(left))
                .set_projection_expression((!only.is_empty()).then(|| placeholders.join(", ")))
                .set_expression_attribute_names((!only.is_empty()).then(|| names.clone()))
                .consistent_read(true)
                .build();
            let wanted = wanted.map_err(|error| corrupt(operation, error))?;
            let get = BatchGetItemInput::builder().request_items(&*self.table, wanted).build();
            let answer = self.dynamodb.call::<BatchGetItem>(get).await;
            let answer = answer.map_err(|error| failed(operation, &error))?;
            found.extend(answer.responses.into_iter().flat_map(HashMap::into_values).flatten());
            left =
                answer.unprocessed_keys.into_iter().flat_map(HashMap::into_values).flat_map(|left| left.keys).collect();
            if left.is_empty() {
                return Ok(());
            }
        }
        Err(StoreError { operation, class: StoreErrorClass::Throttled, source: None })
    }

    /// Deletes the items under `keys`, which are all different. Deleting what is gone is no error.
    pub(super) async fn delete_all(&self, operation: &'static str, keys: Vec<Key>) -> StoreResult<()> {
        let mut requests = Vec::with_capacity(keys.len());
        for key in keys {
            let delete = DeleteRequest::builder().set_key(Some(key.into_item())).build();
            let delete = delete.map_err(|error| corrupt(operation, error))?;
            requests.push(WriteRequest::builder().delete_request(delete).build());
        }
        for batch in requests.chunks(WRITES) {
            self.write_batch(operation, batch.to_vec()).await?;
        }
        Ok(())
    }

    async fn write_batch(&self, operation: &'static str, mut left: Vec<WriteRequest>) -> StoreResult<()> {
        for attempt in 0..TRIES {
            wait_before(attempt).await;
            let write = BatchWriteItemInput::builder().request_items(&*self.table, left).build();
            let answer = self.dynamodb.call::<BatchWriteItem>(write).await;
            let answer = answer.map_err(|error| failed(operation, &error))?;
            left = answer.unprocessed_items.into_iter().flat_map(HashMap::into_values).flatten().collect();
            if left.is_empty() {
                return Ok(());
            }
        }
        Err(StoreError { operation, class: StoreErrorClass::Throttled, source: None })
    }
}

async fn wait_before(attempt: u32) {
    if attempt > 0 {
        tokio::time::sleep(PAUSE * 2u32.pow(attempt - 1)).await;
    }
}
