//! What the names in a command stand for.

use super::{DEFAULT_COMPUTE_NODE, Source};
use crate::caller::Caller;
use crate::definition::{Definition, Version, VersionRule};
use crate::flow::{Answer, Refusal};
use crate::id::{DefinitionId, DefinitionRef, TenantId};
use crate::instance::{Instance, InstanceContent};
use crate::invalid::Invalid;
use crate::operator::{ComputeNode, Processor, TenantSettings};
use crate::ports::{CatalogItem, CatalogKey, ReadCatalog};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// What a command's names stand for.
#[derive(Clone, Debug)]
pub struct Resolved {
    pub definition: Definition,
    pub version: Version,
    pub instance: Instance,
    pub instance_is_new: bool,
    pub compute_node: ComputeNode,
    pub processors: BTreeMap<crate::id::ProcessorKey, Processor>,
    pub tenant: TenantSettings,
}

pub(in crate::flow) async fn resolve<S: ReadCatalog>(
    store: &S,
    caller: &Caller,
    source: &Source,
    now: Timestamp,
) -> Answer<Resolved> {
    let tenant = &caller.tenant;
    let get = |keys: Vec<CatalogKey>| async move { store.catalog(tenant, &keys).await.map_err(Refusal::Store) };
    let (content, known_instance, named_at, version_at) = match source {
        Source::Instance(id) => match get(vec![CatalogKey::Instance(*id)]).await?.pop().flatten() {
            Some(CatalogItem::Instance(instance)) => {
                (instance.content.clone(), Some(instance), "/workflowInstanceId", "/workflowInstanceId")
            }
            _ => return Err(unknown("/workflowInstanceId", "workflow instance", &id.to_string())),
        },
        Source::Configuration { definition, version, compute_node, processor_configs, named_at, version_at } => {
            let definition_id = match definition {
                DefinitionRef::Id(id) => *id,
                DefinitionRef::Name(name) => {
                    match get(vec![CatalogKey::DefinitionName(name.clone())]).await?.pop().flatten() {
                        Some(CatalogItem::DefinitionName(id)) => id,
                        _ => return Err(unknown(named_at, "workflow definition", name.as_str())),
                    }
                }
            };
            let compute_node = match compute_node {
                Some(key) => key.clone(),
                None => DEFAULT_COMPUTE_NODE.parse().map_err(|error: crate::id::InvalidId| {
                    Refusal::Invalid(Invalid::one("/workflowInstanceConfiguration/computeNodeId", "invalid", error.0))
                })?,
            };
            let processor_configs = processor_configs.clone();
            (
                InstanceContent { definition_id, version: *version, compute_node, processor_configs },
                None,
                *named_at,
                *version_at,
            )
        }
    };
    let instance_id = content.id(tenant);
    let mut found = get(vec![
        CatalogKey::Definition(content.definition_id),
        CatalogKey::ComputeNode(content.compute_node.clone()),
        CatalogKey::Instance(instance_id),
        CatalogKey::Tenant,
    ])
    .await?
    .into_iter();
    let definition = match found.next() {
        Some(Some(CatalogItem::Definition(definition))) => definition,
        _ => match find_discoverable(store, tenant, content.definition_id).await? {
            Some(definition) => definition,
            None => return Err(unknown(named_at, "workflow definition", &content.definition_id.to_string())),
        },
    };
    let compute_node = match found.next() {
        Some(Some(CatalogItem::ComputeNode(node))) if node.tenants.admits(tenant) => node,
        _ => {
            let at = "/workflowInstanceConfiguration/computeNodeId";
            return Err(unknown(at, "compute node", content.compute_node.as_str()));
        }
    };
    let stored_instance = known_instance.or(match found.next() {
        Some(Some(CatalogItem::Instance(instance))) => Some(instance),
        _ => None,
    });
    let settings = match found.next() {
        Some(Some(CatalogItem::Tenant(settings))) => settings,
        _ => TenantSettings::open(tenant.clone()),
    };
    let version = find_version(store, tenant, &definition, content.version, version_at).await?;
    let keys: Vec<CatalogKey> = version.document.processor_keys().into_iter().map(CatalogKey::Processor).collect();
    let processors = match keys.is_empty() {
        true => Vec::new(),
        false => get(keys).await?,
    };
    let processors = processors
        .into_iter()
        .filter_map(|item| match item {
            Some(CatalogItem::Processor(processor)) => Some((processor.key.clone(), processor)),
            _ => None,
        })
        .collect();
    let instance_is_new = stored_instance.is_none();
    let instance = stored_instance.unwrap_or_else(|| Instance {
        tenant: tenant.clone(),
        id: instance_id,
        content,
        created_at: now,
    });
    Ok(Resolved { definition, version, instance, instance_is_new, compute_node, processors, tenant: settings })
}

/// A definition of another tenant that every tenant may run.
pub(crate) async fn find_discoverable<S: ReadCatalog>(
    store: &S,
    tenant: &TenantId,
    id: DefinitionId,
) -> Answer<Option<Definition>> {
    let keys = [CatalogKey::Discoverable(id)];
    let owner = match store.catalog(tenant, &keys).await.map_err(Refusal::Store)?.pop().flatten() {
        Some(CatalogItem::Discoverable(owner)) => owner,
        _ => return Ok(None),
    };
    let keys = [CatalogKey::Definition(id)];
    match store.catalog(&owner, &keys).await.map_err(Refusal::Store)?.pop().flatten() {
        Some(CatalogItem::Definition(definition)) if definition.discoverable => Ok(Some(definition)),
        _ => Ok(None),
    }
}

/// The version that `rule` means, if new runs may be made of it.
async fn find_version<S: ReadCatalog>(
    store: &S,
    tenant: &TenantId,
    definition: &Definition,
    rule: VersionRule,
    at: &'static str,
) -> Answer<Version> {
    let name = &definition.name;
    let refused = |code, message| Err(Refusal::Invalid(Invalid::one(at, code, message)));
    let key = match rule {
        // The draft is its owner's; to anybody else there is none.
        VersionRule::Draft if definition.tenant == *tenant => CatalogKey::Draft(definition.id),
        VersionRule::Number(number) => CatalogKey::Version(definition.id, number),
        VersionRule::Latest if definition.latest_version > 0 => {
            CatalogKey::Version(definition.id, definition.latest_version)
        }
        VersionRule::Active if definition.active_version.is_some() => {
            CatalogKey::Version(definition.id, definition.active_version.unwrap_or(0))
        }
        VersionRule::Draft | VersionRule::Latest | VersionRule::Active => {
            return refused("no_such_version", format!("workflow definition {name} has no {rule} version"));
        }
    };
    let found = store.catalog(&definition.tenant, std::slice::from_ref(&key)).await.map_err(Refusal::Store)?.pop();
    let Some(Some(CatalogItem::Version(version))) = found else {
        return refused("no_such_version", format!("workflow definition {name} has no version {rule}"));
    };
    if definition.deprecated_versions.contains(&version.number) {
        let message =
            format!("version {} of workflow definition {name} is deprecated: it makes no new runs", version.number);
        return refused("version_deprecated", message);
    }
    Ok(version)
}

fn unknown(at: &str, what: &'static str, id: &str) -> Refusal {
    if at.starts_with("path:") {
        Refusal::NotFound { what, id: id.to_owned() }
    } else {
        Refusal::Invalid(Invalid::one(at, "not_found", format!("there is no {what} {id}")))
    }
}
