//! The keys by which processors have their calls governed.

use serde::Serialize;
use sluice_core::governor::access::{KeyHead, KeyText, ProcessorKeys};
use sluice_core::id::ProcessorKey;
use sluice_core::time::rfc3339_millis;
use utoipa::ToSchema;

/// Where a key of a processor is found, to be deleted.
pub fn key_path(processor: &ProcessorKey, head: &KeyHead) -> String {
    format!("/v1/processors/{processor}/keys/{}", head.id())
}

/// A key of a processor, which is alive.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GovernorKey)]
#[serde(rename_all = "camelCase")]
pub struct KeyView {
    #[schema(pattern = "^[0-9a-f]{16}$")]
    id: String,
    created_by: String,
    #[schema(format = DateTime)]
    created_at: String,
}

impl From<&KeyHead> for KeyView {
    fn from(head: &KeyHead) -> Self {
        Self {
            id: head.id().to_owned(),
            created_by: head.created_by.clone(),
            created_at: rfc3339_millis(head.created_at),
        }
    }
}

/// A new key of a processor.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NewGovernorKey)]
#[serde(rename_all = "camelCase")]
pub struct NewKeyView {
    #[schema(pattern = "^[0-9a-f]{16}$")]
    id: String,
    /// The key itself, which is shown this once: what the processor has as `AWS_BEARER_TOKEN_BEDROCK`.
    #[schema(pattern = "^spk[.][A-Za-z0-9_-]{1,64}[.][0-9a-f]{64}$")]
    key: String,
    created_by: String,
    #[schema(format = DateTime)]
    created_at: String,
}

impl NewKeyView {
    pub fn new(text: &KeyText, head: &KeyHead) -> Self {
        let KeyView { id, created_by, created_at } = KeyView::from(head);
        Self { id, key: text.reveal().to_owned(), created_by, created_at }
    }
}

/// `GET /v1/processors/{key}/keys`: the oldest first, two at most.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GovernorKeys)]
pub struct KeysView {
    keys: Vec<KeyView>,
}

impl From<&ProcessorKeys> for KeysView {
    fn from(keys: &ProcessorKeys) -> Self {
        Self { keys: keys.alive.iter().map(KeyView::from).collect() }
    }
}
