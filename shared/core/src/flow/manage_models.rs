//! Manage the models that governed calls may name: what they are called, who may call them, and what they cost. They are the
//! operator's; a tenant reads those that are declared for it.

use crate::caller::Caller;
use crate::flow::manage_operator::operator_only;
use crate::flow::{Answer, Refusal, TRIES, contended, find_item};
use crate::governor::declaration::ModelDeclaration;
use crate::governor::model::Model;
use crate::id::ModelKey;
use crate::ports::{ManageModels, ModelSaved, Page, ReadCatalog};
use crate::refusal::{ConflictCode, Thing};
use jiff::Timestamp;
use std::sync::Arc;

/// Declares a model, or declares it anew.
///
/// # Errors
/// `OperatorOnly`, `Invalid`; `Conflict` when another model has one of its ids.
pub async fn save_model<S: ReadCatalog + ManageModels>(
    store: &S,
    caller: &Caller,
    declaration: ModelDeclaration,
    now: Timestamp,
) -> Answer<Model> {
    operator_only(caller, "declare models")?;
    let mut model = declaration.read(now)?;
    for _ in 0..TRIES {
        let before = find_item(store, &model.key).await?;
        model.rev = before.as_ref().map_or(0, |before| before.rev) + 1;
        match store.save_model(&model, before.as_deref()).await.map_err(Refusal::Store)? {
            ModelSaved::Done => return Ok(model),
            ModelSaved::Stale => {}
            ModelSaved::IdTaken(id, by) => {
                let message = format_args!("{id} belongs to the model {by}, and an id belongs to one model");
                return Err(Refusal::conflict(ConflictCode::ModelIdTaken, message));
            }
        }
    }
    Err(contended("declare a model that keeps changing"))
}

/// Takes a model back: calls that name it are refused from then on.
///
/// # Errors
/// `OperatorOnly`, `NotFound`.
pub async fn delete_model<S: ReadCatalog + ManageModels>(store: &S, caller: &Caller, key: &ModelKey) -> Answer<()> {
    operator_only(caller, "take models back")?;
    for _ in 0..TRIES {
        let model = get_model(store, caller, key).await?;
        if store.delete_model(&model).await.map_err(Refusal::Store)? {
            return Ok(());
        }
    }
    Err(contended("delete a model that keeps changing"))
}

/// One model, to the operator, and to a tenant that may call it.
///
/// # Errors
/// `NotFound`.
pub async fn get_model<S: ReadCatalog>(store: &S, caller: &Caller, key: &ModelKey) -> Answer<Arc<Model>> {
    let found = find_item(store, key).await?.and_then(|model| seen(caller, model));
    found.ok_or_else(|| Refusal::not_found(Thing::Model, key))
}

/// Models: all of them to the operator, to a tenant those that it may call. A page may be short and still have a next one.
///
/// # Errors
/// `Store`.
pub async fn list_models<S: ManageModels>(
    store: &S,
    caller: &Caller,
    limit: u32,
    cursor: Option<&str>,
) -> Answer<Page<Arc<Model>>> {
    let page = store.list_models(limit, cursor).await.map_err(Refusal::Store)?;
    let items = page.items.into_iter().filter_map(|model| seen(caller, Arc::new(model))).collect();
    Ok(Page { items, next: page.next })
}

/// The model as the caller may see it; `None` where it may not call it. Who else may call it is nobody's but the operator's.
fn seen(caller: &Caller, model: Arc<Model>) -> Option<Arc<Model>> {
    if caller.is_operator {
        return Some(model);
    }
    let tenants = model.tenants.seen_by(&caller.tenant);
    (!tenants.0.is_empty()).then(|| Arc::new(Model { tenants, ..Model::clone(&model) }))
}
