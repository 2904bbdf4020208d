//! Manage definitions, versions and instances; and, for the operator, processors and compute nodes.

use crate::caller::Caller;
use crate::definition::{Definition, Version, VersionDocument};
use crate::flow::{Answer, Refusal};
use crate::id::{ComputeNodeKey, DefinitionId, DefinitionName, DefinitionRef, InstanceId, LayerName, ProcessorKey};
use crate::instance::{Instance, InstanceContent};
use crate::invalid::Invalid;
use crate::limits;
use crate::operator::{ComputeNode, LayerStatus, Processor, is_state_machine_arn};
use crate::ports::{
    CatalogItem, CatalogKey, DefinitionSaved, ManageDefinitions, ManageOperator, Page, SaveInstance, StoreError,
    StoreErrorClass,
};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Times a change is tried against others that change the same definition.
const TRIES: u32 = 8;

/// What a caller says of a definition itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefinitionTexts {
    pub display_name: Option<String>,
    pub description: Option<String>,
}

impl DefinitionTexts {
    fn check(&self) -> Result<(), Invalid> {
        let mut invalid = Invalid::default();
        for (pointer, text, most) in [
            ("/displayName", &self.display_name, limits::DISPLAY_NAME_CHARS),
            ("/description", &self.description, limits::DESCRIPTION_CHARS),
        ] {
            if text.as_ref().is_some_and(|text| text.chars().count() > most) {
                invalid.add(pointer, "too_long", format!("must be at most {most} characters"));
            }
        }
        invalid.into_result()
    }
}

/// Makes a definition.
///
/// # Errors
/// `Conflict` when the tenant has one of that name.
pub async fn create_definition<S: ManageDefinitions>(
    store: &S,
    caller: &Caller,
    id: DefinitionId,
    name: DefinitionName,
    texts: DefinitionTexts,
    now: Timestamp,
) -> Answer<Definition> {
    texts.check().map_err(Refusal::Invalid)?;
    let definition = Definition {
        tenant: caller.tenant.clone(),
        id,
        name,
        display_name: texts.display_name,
        description: texts.description,
        active_version: None,
        latest_version: 0,
        created_at: now,
        updated_at: now,
        rev: 1,
    };
    match store.create_definition(&definition).await.map_err(Refusal::Store)? {
        DefinitionSaved::Done => Ok(definition),
        DefinitionSaved::NameTaken(holder) => Err(Refusal::Conflict {
            code: "name_taken",
            message: format!("the name {} belongs to workflow definition {holder}", definition.name),
        }),
    }
}

/// The definition a path names.
///
/// # Errors
/// `NotFound`.
pub async fn find_definition<S: ManageDefinitions>(
    store: &S,
    caller: &Caller,
    definition: &DefinitionRef,
) -> Answer<Definition> {
    let not_found = || Refusal::NotFound { what: "workflow definition", id: definition.to_string() };
    let id = match definition {
        DefinitionRef::Id(id) => *id,
        DefinitionRef::Name(name) => {
            let keys = [CatalogKey::DefinitionName(name.clone())];
            match store.catalog(&caller.tenant, &keys).await.map_err(Refusal::Store)?.pop().flatten() {
                Some(CatalogItem::DefinitionName(id)) => id,
                _ => return Err(not_found()),
            }
        }
    };
    store.load_definition(&caller.tenant, id).await.map_err(Refusal::Store)?.ok_or_else(not_found)
}

/// Changes what a definition says of itself: only the texts that are given.
///
/// # Errors
/// `NotFound`, `Invalid`.
pub async fn change_texts<S: ManageDefinitions>(
    store: &S,
    caller: &Caller,
    definition: &DefinitionRef,
    texts: DefinitionTexts,
    now: Timestamp,
) -> Answer<Definition> {
    texts.check().map_err(Refusal::Invalid)?;
    change(store, caller, definition, now, |definition| {
        definition.display_name = texts.display_name.clone().or(definition.display_name.take());
        definition.description = texts.description.clone().or(definition.description.take());
        Ok(None)
    })
    .await
    .map(|(definition, _)| definition)
}

/// Adds the next version, after checking it, and activates it if asked to.
///
/// # Errors
/// `Invalid` with every fault of the document.
pub async fn add_version<S: ManageDefinitions>(
    store: &S,
    caller: &Caller,
    definition: &DefinitionRef,
    document: VersionDocument,
    activate: bool,
    now: Timestamp,
) -> Answer<(Definition, Version)> {
    let bytes = serde_json::to_string(&document).map_or(usize::MAX, |text| text.len());
    if bytes > limits::VERSION_DOCUMENT_BYTES {
        let message = format!("a version's document has at most {} bytes", limits::VERSION_DOCUMENT_BYTES);
        return Err(Refusal::Invalid(Invalid::one("", "too_large", message)));
    }
    let keys: Vec<CatalogKey> = document.processor_keys().into_iter().map(CatalogKey::Processor).collect();
    let mut processors = BTreeMap::new();
    for keys in keys.chunks(100) {
        for item in store.catalog(&caller.tenant, keys).await.map_err(Refusal::Store)?.into_iter().flatten() {
            if let CatalogItem::Processor(processor) = item {
                processors.insert(processor.key.clone(), processor);
            }
        }
    }
    document.check(&caller.tenant, &processors).map_err(Refusal::Invalid)?;
    let (definition, version) = change(store, caller, definition, now, |definition| {
        definition.latest_version += 1;
        if activate {
            definition.active_version = Some(definition.latest_version);
        }
        Ok(Some(Version {
            definition_id: definition.id,
            number: definition.latest_version,
            document: document.clone(),
            created_at: now,
            created_by: caller.principal.0.clone(),
        }))
    })
    .await?;
    match version {
        Some(version) => Ok((definition, version)),
        None => Err(Refusal::Store(StoreError {
            operation: "add a version",
            class: StoreErrorClass::Corrupt,
            source: None,
        })),
    }
}

/// Makes a version the active one.
///
/// # Errors
/// `NotFound` for an unknown definition or version.
pub async fn activate_version<S: ManageDefinitions>(
    store: &S,
    caller: &Caller,
    definition: &DefinitionRef,
    number: u32,
    now: Timestamp,
) -> Answer<Definition> {
    change(store, caller, definition, now, |definition| {
        if number == 0 || number > definition.latest_version {
            return Err(Refusal::NotFound { what: "version", id: number.to_string() });
        }
        definition.active_version = Some(number);
        Ok(None)
    })
    .await
    .map(|(definition, _)| definition)
}

/// One version with its document.
///
/// # Errors
/// `NotFound` for an unknown definition or version.
pub async fn get_version<S: ManageDefinitions>(
    store: &S,
    caller: &Caller,
    definition: &DefinitionRef,
    number: u32,
) -> Answer<Version> {
    let definition = find_definition(store, caller, definition).await?;
    let keys = [CatalogKey::Version(definition.id, number)];
    match store.catalog(&caller.tenant, &keys).await.map_err(Refusal::Store)?.pop().flatten() {
        Some(CatalogItem::Version(version)) => Ok(version),
        _ => Err(Refusal::NotFound { what: "version", id: number.to_string() }),
    }
}

async fn change<S: ManageDefinitions>(
    store: &S,
    caller: &Caller,
    definition: &DefinitionRef,
    now: Timestamp,
    mut make: impl FnMut(&mut Definition) -> Answer<Option<Version>> + Send,
) -> Answer<(Definition, Option<Version>)> {
    for _ in 0..TRIES {
        let mut changed = find_definition(store, caller, definition).await?;
        let version = make(&mut changed)?;
        changed.rev += 1;
        changed.updated_at = now;
        if store.change_definition(&changed, version.as_ref()).await.map_err(Refusal::Store)? {
            return Ok((changed, version));
        }
    }
    let operation = "change a definition that keeps changing";
    Err(Refusal::Store(StoreError { operation, class: StoreErrorClass::Conflict, source: None }))
}

/// Finds or creates an instance.
///
/// # Errors
/// `Invalid` when what it names does not exist.
pub async fn save_instance<S: ManageDefinitions + SaveInstance>(
    store: &S,
    caller: &Caller,
    content: InstanceContent,
    now: Timestamp,
) -> Answer<Instance> {
    let keys = [
        CatalogKey::Definition(content.definition_id),
        CatalogKey::ComputeNode(content.compute_node.clone()),
        CatalogKey::Instance(content.id(&caller.tenant)),
    ];
    let mut found = store.catalog(&caller.tenant, &keys).await.map_err(Refusal::Store)?.into_iter();
    let mut invalid = Invalid::default();
    if !matches!(found.next(), Some(Some(CatalogItem::Definition(_)))) {
        let message = format!("there is no workflow definition {}", content.definition_id);
        invalid.add("/workflowDefinitionId", "not_found", message);
    }
    let node = found.next().flatten();
    if !matches!(&node, Some(CatalogItem::ComputeNode(node)) if node.tenants.admits(&caller.tenant)) {
        invalid.add("/computeNodeId", "not_found", format!("there is no compute node {}", content.compute_node));
    }
    invalid.into_result().map_err(Refusal::Invalid)?;
    if let Some(Some(CatalogItem::Instance(instance))) = found.next() {
        return Ok(instance);
    }
    let instance = Instance { tenant: caller.tenant.clone(), id: content.id(&caller.tenant), content, created_at: now };
    store.save_instance(&instance).await.map_err(Refusal::Store)?;
    Ok(instance)
}

/// One instance.
///
/// # Errors
/// `NotFound`.
pub async fn get_instance<S: ManageDefinitions>(store: &S, caller: &Caller, id: InstanceId) -> Answer<Instance> {
    match store.catalog(&caller.tenant, &[CatalogKey::Instance(id)]).await.map_err(Refusal::Store)?.pop().flatten() {
        Some(CatalogItem::Instance(instance)) => Ok(instance),
        _ => Err(Refusal::NotFound { what: "workflow instance", id: id.to_string() }),
    }
}

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
pub async fn save_processor<S: ManageOperator>(store: &S, caller: &Caller, processor: Processor) -> Answer<Processor> {
    operator_only(caller, "declare processors")?;
    let mut invalid = Invalid::default();
    if let Some((pointer, message)) = processor.target.fault() {
        invalid.add(pointer, "invalid_arn", message);
    }
    check_tenants(&processor.tenants.0, &mut invalid);
    invalid.into_result().map_err(Refusal::Invalid)?;
    store.save_processor(&processor).await.map_err(Refusal::Store)?;
    Ok(processor)
}

/// Declares a compute node, or declares it anew.
///
/// # Errors
/// `OperatorOnly`, `Invalid`.
pub async fn save_compute_node<S: ManageOperator>(
    store: &S,
    caller: &Caller,
    node: ComputeNode,
) -> Answer<ComputeNode> {
    operator_only(caller, "declare compute nodes")?;
    let mut invalid = Invalid::default();
    if !is_state_machine_arn(&node.state_machine_arn) {
        let message = "must be the ARN of a state machine: arn:aws:states:<region>:<account>:stateMachine:<name>";
        invalid.add("/stateMachineArn", "invalid_arn", message);
    }
    check_tenants(&node.tenants.0, &mut invalid);
    invalid.into_result().map_err(Refusal::Invalid)?;
    store.save_compute_node(&node).await.map_err(Refusal::Store)?;
    Ok(node)
}

/// Sets the status of one layer of a compute node.
///
/// # Errors
/// `OperatorOnly`, `NotFound`.
pub async fn save_layer<S: ManageDefinitions + ManageOperator>(
    store: &S,
    caller: &Caller,
    key: &ComputeNodeKey,
    layer: LayerName,
    status: LayerStatus,
    now: Timestamp,
) -> Answer<ComputeNode> {
    let mut node = get_compute_node(store, caller, key).await?;
    node.layers.insert(layer, status);
    node.updated_at = now;
    save_compute_node(store, caller, node).await
}

/// One processor, to the operator.
///
/// # Errors
/// `OperatorOnly`, `NotFound`.
pub async fn get_processor<S: ManageDefinitions>(store: &S, caller: &Caller, key: &ProcessorKey) -> Answer<Processor> {
    operator_only(caller, "read processors")?;
    match store
        .catalog(&caller.tenant, &[CatalogKey::Processor(key.clone())])
        .await
        .map_err(Refusal::Store)?
        .pop()
        .flatten()
    {
        Some(CatalogItem::Processor(processor)) => Ok(processor),
        _ => Err(Refusal::NotFound { what: "processor", id: key.to_string() }),
    }
}

/// One compute node, to the operator.
///
/// # Errors
/// `OperatorOnly`, `NotFound`.
pub async fn get_compute_node<S: ManageDefinitions>(
    store: &S,
    caller: &Caller,
    key: &ComputeNodeKey,
) -> Answer<ComputeNode> {
    operator_only(caller, "read compute nodes")?;
    match store
        .catalog(&caller.tenant, &[CatalogKey::ComputeNode(key.clone())])
        .await
        .map_err(Refusal::Store)?
        .pop()
        .flatten()
    {
        Some(CatalogItem::ComputeNode(node)) => Ok(node),
        _ => Err(Refusal::NotFound { what: "compute node", id: key.to_string() }),
    }
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

fn check_tenants(tenants: &[String], invalid: &mut Invalid) {
    for (index, tenant) in tenants.iter().enumerate() {
        if tenant != "*" && tenant.parse::<crate::id::TenantId>().is_err() {
            invalid.add(format!("/tenants/{index}"), "invalid", "must be a tenant's id, or \"*\" for all");
        }
    }
}
