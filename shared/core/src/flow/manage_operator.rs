//! Manage what is the operator's: processors, compute nodes and their layers, and what each tenant may do.
//!
//! **Invariant:** every write is conditional on the revision it was decided on, and decided anew when somebody else was
//! faster: no write undoes another that it has not seen.

use crate::caller::Caller;
use crate::catalog::{SettingsKey, Wanted};
use crate::destination::Destinations;
use crate::flow::{Answer, Refusal, TRIES, contended, find_item};
use crate::id::{ComputeNodeKey, LayerName, ProcessorKey, TenantId};
use crate::limits;
use crate::operator::{ComputeNode, LayerStatus, Processor, TenantSettings};
use crate::place::Field;
use crate::ports::{ManageOperator, Page, ReadCatalog};
use crate::refusal::Thing;
use crate::violation::{Invalid, ViolationCode};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Refuses everyone but the operator. The flows below check it themselves; a handler asks first, so that others learn
/// nothing from how a body is judged.
///
/// # Errors
/// `OperatorOnly`.
pub fn operator_only(caller: &Caller, what: &'static str) -> Answer<()> {
    if caller.is_operator { Ok(()) } else { Err(Refusal::OperatorOnly(what)) }
}

/// Declares a processor, or declares it anew.
///
/// # Errors
/// `OperatorOnly`, `Invalid`.
pub async fn save_processor<S: ReadCatalog + ManageOperator>(
    store: &S,
    caller: &Caller,
    mut processor: Processor,
) -> Answer<Processor> {
    operator_only(caller, "declare processors")?;
    let mut invalid = Invalid::default();
    processor.check(&mut invalid);
    invalid.into_result().map_err(Refusal::Invalid)?;
    for _ in 0..TRIES {
        let current = find_item(store, &processor.key).await?;
        processor.rev = current.map_or(0, |current| current.rev) + 1;
        if store.save_processor(&processor).await.map_err(Refusal::Store)? {
            return Ok(processor);
        }
    }
    Err(contended("declare a processor that keeps changing"))
}

/// Declares a compute node, or declares it anew, with these layers; where nothing is said of layers, with those that it has.
///
/// # Errors
/// `OperatorOnly`, `Invalid`.
pub async fn save_compute_node<S: ReadCatalog + ManageOperator>(
    store: &S,
    caller: &Caller,
    mut node: ComputeNode,
    layers: Option<BTreeMap<LayerName, LayerStatus>>,
) -> Answer<ComputeNode> {
    operator_only(caller, "declare compute nodes")?;
    for _ in 0..TRIES {
        let current = find_item(store, &node.key).await?;
        node.rev = current.as_ref().map_or(0, |current| current.rev) + 1;
        node.layers = match (&layers, current) {
            (Some(layers), _) => layers.clone(),
            (None, Some(current)) => current.layers.clone(),
            (None, None) => BTreeMap::new(),
        };
        if store.save_compute_node(&node).await.map_err(Refusal::Store)? {
            return Ok(node);
        }
    }
    Err(contended("declare a compute node that keeps changing"))
}

/// Sets the status of one layer of a compute node.
///
/// # Errors
/// `OperatorOnly`, `NotFound`.
pub async fn save_layer<S: ReadCatalog + ManageOperator>(
    store: &S,
    caller: &Caller,
    key: &ComputeNodeKey,
    layer: LayerName,
    status: LayerStatus,
    now: Timestamp,
) -> Answer<ComputeNode> {
    for _ in 0..TRIES {
        let mut node = ComputeNode::clone(&*get_compute_node(store, caller, key).await?);
        node.layers.insert(layer.clone(), status);
        (node.updated_at, node.rev) = (now, node.rev + 1);
        if store.save_compute_node(&node).await.map_err(Refusal::Store)? {
            return Ok(node);
        }
    }
    Err(contended("change a compute node that keeps changing"))
}

/// One processor, to the operator.
///
/// # Errors
/// `OperatorOnly`, `NotFound`.
pub async fn get_processor<S: ReadCatalog>(store: &S, caller: &Caller, key: &ProcessorKey) -> Answer<Arc<Processor>> {
    operator_only(caller, "read processors")?;
    let found = find_item(store, key).await?;
    found.ok_or_else(|| Refusal::not_found(Thing::Processor, key))
}

/// One compute node, to the operator.
///
/// # Errors
/// `OperatorOnly`, `NotFound`.
pub async fn get_compute_node<S: ReadCatalog>(
    store: &S,
    caller: &Caller,
    key: &ComputeNodeKey,
) -> Answer<Arc<ComputeNode>> {
    operator_only(caller, "read compute nodes")?;
    let found = find_item(store, key).await?;
    found.ok_or_else(|| Refusal::not_found(Thing::ComputeNode, key))
}

/// Says what a tenant may do.
///
/// # Errors
/// `OperatorOnly`, `Invalid`.
pub async fn save_tenant<S: ReadCatalog + ManageOperator>(
    store: &S,
    caller: &Caller,
    destinations: &Destinations,
    mut settings: TenantSettings,
) -> Answer<TenantSettings> {
    operator_only(caller, "set what tenants may do")?;
    let mut invalid = Invalid::default();
    if let Some(concurrency) = settings.concurrency {
        concurrency.check(&Field::Concurrency.at(), &mut invalid);
    }
    if let Some(retention) = settings.retention {
        retention.check(&Field::Retention.at(), &mut invalid);
    }
    settings.limits.check(&Field::TenantLimits.at(), &mut invalid);
    let listed = settings.destinations.as_deref().unwrap_or_default();
    if listed.len() > limits::DESTINATIONS {
        let message = format_args!("must be at most {} origins", limits::DESTINATIONS);
        invalid.add(Field::Destinations, ViolationCode::TooMany, message);
    }
    let list = Field::Destinations.at();
    for (index, origin) in listed.iter().enumerate() {
        let at = list.index(index);
        match destinations.admit(origin) {
            Ok(destination) if destination.url.origin().ascii_serialization() == *origin => {}
            Ok(_) => {
                let message = "must be an origin: https://<url-id>.lambda-url.<region>.on.aws";
                invalid.add(at, ViolationCode::Invalid, message);
            }
            Err(message) => invalid.add(at, ViolationCode::CallbackUrlNotAllowed, message),
        }
    }
    if settings.secret_prefixes.as_ref().is_some_and(|prefixes| prefixes.len() > limits::SECRET_PREFIXES) {
        let message = format_args!("must be at most {} prefixes", limits::SECRET_PREFIXES);
        invalid.add(Field::SecretPrefixes, ViolationCode::TooMany, message);
    }
    invalid.into_result().map_err(Refusal::Invalid)?;
    for _ in 0..TRIES {
        settings.rev = get_tenant(store, caller, &settings.tenant).await?.rev + 1;
        if store.save_tenant(&settings).await.map_err(Refusal::Store)? {
            return Ok(settings);
        }
    }
    Err(contended("set what a tenant may do while others do"))
}

/// What a tenant may do, to the operator. A tenant that nothing was said of may do everything.
///
/// # Errors
/// `OperatorOnly`.
pub async fn get_tenant<S: ReadCatalog>(store: &S, caller: &Caller, tenant: &TenantId) -> Answer<Arc<TenantSettings>> {
    operator_only(caller, "read what tenants may do")?;
    let key = SettingsKey(tenant.clone());
    let found = store.read_catalog(&Wanted::one(key)).await.map_err(Refusal::Store)?;
    Ok(found.settings(tenant))
}

/// Tenants that something was said of, to the operator.
///
/// # Errors
/// `OperatorOnly`.
pub async fn list_tenants<S: ManageOperator>(
    store: &S,
    caller: &Caller,
    limit: u32,
    cursor: Option<&str>,
) -> Answer<Page<TenantSettings>> {
    operator_only(caller, "read what tenants may do")?;
    store.list_tenants(limit, cursor).await.map_err(Refusal::Store)
}

/// Processors, to the operator.
///
/// # Errors
/// `OperatorOnly`.
pub async fn list_processors<S: ManageOperator>(
    store: &S,
    caller: &Caller,
    limit: u32,
    cursor: Option<&str>,
) -> Answer<Page<Processor>> {
    operator_only(caller, "read processors")?;
    store.list_processors(limit, cursor).await.map_err(Refusal::Store)
}

/// Compute nodes, to the operator.
///
/// # Errors
/// `OperatorOnly`.
pub async fn list_compute_nodes<S: ManageOperator>(
    store: &S,
    caller: &Caller,
    limit: u32,
    cursor: Option<&str>,
) -> Answer<Page<ComputeNode>> {
    operator_only(caller, "read compute nodes")?;
    store.list_compute_nodes(limit, cursor).await.map_err(Refusal::Store)
}
