//! Declared models, and what they are called.

use super::*;
use sluice_core::governor::model_id::ModelId;
use sluice_core::ports::{FindModel, ManageModels, ModelSaved};

/// What tells a stored model from every other that was ever stored under its key.
fn known(model: &Model) -> (u64, Timestamp) {
    (model.rev, model.updated_at)
}

impl ManageModels for MemoryStore {
    async fn save_model(&self, model: &Model, before: Option<&Model>) -> StoreResult<ModelSaved> {
        let is_lax = self.laxity == Some(Laxity::DeclaredUnconditional);
        self.act("save the model", |tables| {
            if !is_lax && tables.models.get(&model.key).map(known) != before.map(known) {
                return Ok(ModelSaved::Stale);
            }
            let others = || tables.models.values().filter(|other| other.key != model.key);
            let taken = model.ids.iter().find_map(|id| Some((id, others().find(|other| other.ids.contains(id))?)));
            if let Some((id, other)) = taken {
                return Ok(ModelSaved::IdTaken(id.clone(), other.key.clone()));
            }
            tables.models.insert(model.key.clone(), model.clone());
            tables.writes += 1;
            Ok(ModelSaved::Done)
        })
        .await
    }

    async fn delete_model(&self, model: &Model) -> StoreResult<bool> {
        self.act("delete the model", |tables| {
            if tables.models.get(&model.key).map(known) != Some(known(model)) {
                return Ok(false);
            }
            tables.models.remove(&model.key);
            tables.writes += 1;
            Ok(true)
        })
        .await
    }

    async fn list_models(&self, limit: u32, cursor: Option<&str>) -> StoreResult<Page<Model>> {
        self.act("list models", |tables| page("models", tables.models.values().cloned().collect(), limit, cursor)).await
    }
}

impl FindModel for MemoryStore {
    async fn find_model(&self, id: &ModelId) -> StoreResult<Option<Arc<Model>>> {
        self.act("find a model", |tables| {
            Ok(tables.models.values().find(|model| model.ids.contains(id)).cloned().map(Arc::new))
        })
        .await
    }
}
