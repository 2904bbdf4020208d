//! Many items at once, read or deleted by their keys.

use super::item::Item;
use super::keys::Key;
use super::operation::{
    BatchGetItem, BatchGetItemInput, BatchWriteItem, BatchWriteItemInput, DeleteRequest, KeysAndAttributes,
    WriteRequest,
};
use super::{Store, failed};
use sluice_core::ports::{StoreError, StoreErrorClass, StoreResult};
use std::collections::BTreeMap;
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
        let projection = placeholders.join(", ");
        let names = placeholders.into_iter().map(Into::into).zip(only.iter().map(|name| (*name).into())).collect();
        let mut left: Vec<Item> = keys.iter().cloned().map(Key::into_item).collect();
        for attempt in 0..TRIES {
            wait_before(attempt).await;
            let wanted = KeysAndAttributes {
                keys: &left,
                projection_expression: (!only.is_empty()).then_some(&projection),
                expression_attribute_names: &names,
                consistent_read: true,
            };
            let get = BatchGetItemInput { request_items: BTreeMap::from([(&*self.table, wanted)]) };
            let answer = self.dynamodb.call::<BatchGetItem>(get).await;
            let answer = answer.map_err(|error| failed(operation, &error))?;
            found.extend(answer.responses.into_iter().flat_map(BTreeMap::into_values).flatten());
            let unprocessed = answer.unprocessed_keys.into_iter().flat_map(BTreeMap::into_values);
            left = unprocessed.flat_map(|left| left.keys).collect();
            if left.is_empty() {
                return Ok(());
            }
        }
        Err(StoreError { operation, class: StoreErrorClass::Throttled, source: None })
    }

    /// Deletes the items under `keys`, which are all different. Deleting what is gone is no error.
    pub(super) async fn delete_all(&self, operation: &'static str, keys: Vec<Key>) -> StoreResult<()> {
        let delete = |key: Key| WriteRequest { delete_request: DeleteRequest { key: key.into_item() } };
        let requests: Vec<WriteRequest> = keys.into_iter().map(delete).collect();
        for batch in requests.chunks(WRITES) {
            self.write_batch(operation, batch.to_vec()).await?;
        }
        Ok(())
    }

    async fn write_batch(&self, operation: &'static str, mut left: Vec<WriteRequest>) -> StoreResult<()> {
        for attempt in 0..TRIES {
            wait_before(attempt).await;
            let write = BatchWriteItemInput { request_items: BTreeMap::from([(&*self.table, &*left)]) };
            let answer = self.dynamodb.call::<BatchWriteItem>(write).await;
            let answer = answer.map_err(|error| failed(operation, &error))?;
            left = answer.unprocessed_items.into_iter().flat_map(BTreeMap::into_values).flatten().collect();
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
