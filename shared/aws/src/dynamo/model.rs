//! Declared models, and finding one by its id.

use super::item::{self, n, s};
use super::manage::listing;
use super::transact::{Transacted, Write};
use super::{Store, corrupt, keys};
use sluice_core::governor::model::Model;
use sluice_core::governor::model_id::ModelId;
use sluice_core::ports::{FindModel, ManageModels, ModelSaved, Page, StoreError, StoreErrorClass, StoreResult};
use sluice_core::time::rfc3339_millis;
use std::sync::Arc;

/// The place of the model itself among the writes.
const HEAD: usize = 0;

/// A write of the model itself, in the place of the one that was seen.
fn in_place_of(write: Write, before: Option<&Model>) -> Write {
    match before {
        None => write.only_if("attribute_not_exists(pk)"),
        // A model that was deleted and declared anew begins with the first revision again, at another time.
        Some(before) => write
            .only_if("rev = :before AND updatedAt = :at")
            .with(":before", n(before.rev))
            .with(":at", s(rfc3339_millis(before.updated_at))),
    }
}

impl ManageModels for Store {
    async fn save_model(&self, model: &Model, before: Option<&Model>) -> StoreResult<ModelSaved> {
        const OPERATION: &str = "save a model";
        let unwritable = |error| corrupt(OPERATION, error);
        let mut writes = vec![in_place_of(Write::put(item::from_model(model).map_err(unwritable)?), before)];
        for id in &model.ids {
            let put = Write::put(item::from_model_id(model, id).map_err(unwritable)?);
            let own = put.only_if("attribute_not_exists(pk) OR #key = :key").naming("#key", "key");
            writes.push(own.with(":key", s(model.key.as_str())));
        }
        let given_up = before.into_iter().flat_map(|before| before.ids.difference(&model.ids));
        writes.extend(given_up.map(|id| Write::delete(keys::model_id(id))));
        let mut refusals = match self.transact(OPERATION, writes).await? {
            Transacted::Written => return Ok(ModelSaved::Done),
            Transacted::Refused(refusals) if refusals.include(HEAD) => return Ok(ModelSaved::Stale),
            Transacted::Refused(refusals) => refusals,
        };
        for (index, id) in model.ids.iter().enumerate() {
            if let Some(Some(holder)) = refusals.at(HEAD + 1 + index) {
                let holder = item::to_model_of_id(holder).map_err(unwritable)?;
                return Ok(ModelSaved::IdTaken(id.clone(), holder.key));
            }
        }
        Err(StoreError { operation: OPERATION, class: StoreErrorClass::Conflict, source: None })
    }

    async fn delete_model(&self, model: &Model) -> StoreResult<bool> {
        let mut writes = vec![in_place_of(Write::delete(keys::model(&model.key)), Some(model))];
        writes.extend(model.ids.iter().map(|id| Write::delete(keys::model_id(id))));
        Ok(matches!(self.transact("delete a model", writes).await?, Transacted::Written))
    }

    async fn list_models(&self, limit: u32, cursor: Option<&str>) -> StoreResult<Page<Model>> {
        let walk = listing("list models", keys::models(), true);
        let key = |position: &str| position.parse().ok().map(|key| keys::model(&key));
        self.page(&walk, limit, cursor, key, item::to_model).await
    }
}

impl FindModel for Store {
    async fn find_model(&self, id: &ModelId) -> StoreResult<Option<Arc<Model>>> {
        const OPERATION: &str = "find a model";
        let found = self.get(OPERATION, keys::model_id(id)).await?;
        let found = found.map(item::to_model_of_id).transpose().map_err(|error| corrupt(OPERATION, error))?;
        Ok(found.map(Arc::new))
    }
}
