//! Models that the operator declares. A model lies under its key; and once more under each id that it answers to, so that whoever
//! is called by an id needs one read.

use super::form::{Item, ItemError, ItemResult, read, set, write};
use crate::dynamo::keys::{self, Key};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sluice_core::governor::model::Model;
use sluice_core::governor::model_id::ModelId;
use sluice_core::id::ModelKey;
use sluice_core::operator::Tenants;
use sluice_core::time::millis;
use std::collections::BTreeSet;

pub const MODEL: &str = "model";
pub const MODEL_ID: &str = "model-id";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredModel {
    key: ModelKey,
    ids: BTreeSet<ModelId>,
    tenants: Tenants,
    context_tokens: u64,
    max_output_tokens: u64,
    counts_tokens: bool,
    caches_unasked: bool,
    /// JSON.
    prices: String,
    #[serde(with = "millis")]
    updated_at: Timestamp,
    rev: u64,
}

fn from(kind: &'static str, model: &Model, key: Key) -> ItemResult<Item> {
    let prices = serde_json::to_string(&model.prices).map_err(|source| ItemError::Document { kind, source })?;
    let stored = StoredModel {
        key: model.key.clone(),
        ids: model.ids.clone(),
        tenants: model.tenants.clone(),
        context_tokens: model.context_tokens,
        max_output_tokens: model.max_output_tokens,
        counts_tokens: model.counts_tokens,
        caches_unasked: model.caches_unasked,
        prices,
        updated_at: model.updated_at,
        rev: model.rev,
    };
    write(kind, &stored, key)
}

fn to(kind: &'static str, item: Item) -> ItemResult<Model> {
    let stored: StoredModel = read(kind, item)?;
    Ok(Model {
        key: stored.key,
        ids: stored.ids,
        tenants: stored.tenants,
        context_tokens: stored.context_tokens,
        max_output_tokens: stored.max_output_tokens,
        counts_tokens: stored.counts_tokens,
        caches_unasked: stored.caches_unasked,
        prices: serde_json::from_str(&stored.prices).map_err(|source| ItemError::Document { kind, source })?,
        updated_at: stored.updated_at,
        rev: stored.rev,
    })
}

pub fn from_model(model: &Model) -> ItemResult<Item> {
    let mut item = from(MODEL, model, keys::model(&model.key))?;
    set(&mut item, [(keys::TENANT_KEY, keys::models()), (keys::TIME_KEY, model.key.to_string())]);
    Ok(item)
}

pub fn to_model(item: Item) -> ItemResult<Model> {
    to(MODEL, item)
}

/// The model under one of its ids.
pub fn from_model_id(model: &Model, id: &ModelId) -> ItemResult<Item> {
    from(MODEL_ID, model, keys::model_id(id))
}

pub fn to_model_of_id(item: Item) -> ItemResult<Model> {
    to(MODEL_ID, item)
}
