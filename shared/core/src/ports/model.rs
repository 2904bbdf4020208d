//! Writing and listing the models that the operator declares.

use super::store::{Page, StoreResult};
use crate::governor::model::Model;
use crate::governor::model_id::ModelId;
use crate::id::ModelKey;
use std::future::Future;

/// What became of a declared model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelSaved {
    Done,
    /// Another model is stored under the key than the one that was seen, or none, or one after all. Nothing was written.
    Stale,
    /// The id belongs to another model, which is named here. Nothing was written.
    IdTaken(ModelId, ModelKey),
}

/// Writes and lists what models are called and what they cost.
pub trait ManageModels: Send + Sync {
    /// Writes the model in the place of `before`, takes its ids, and gives up those that only `before` had, all or nothing: if
    /// the stored model is still `before`, by its revision and its time, or there still is none; and if no other model has one of
    /// the ids. Where both is so, the answer is `Stale`.
    fn save_model(&self, model: &Model, before: Option<&Model>)
    -> impl Future<Output = StoreResult<ModelSaved>> + Send;

    /// Deletes the model and gives up its ids, all or nothing, if it is still this one, by its revision and its time; `false` when
    /// it is not. Then nothing was written.
    fn delete_model(&self, model: &Model) -> impl Future<Output = StoreResult<bool>> + Send;

    /// A page of the models, by their keys. Eventually consistent.
    fn list_models(&self, limit: u32, cursor: Option<&str>) -> impl Future<Output = StoreResult<Page<Model>>> + Send;
}
