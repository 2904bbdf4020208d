//! What the names in a command stand for.

use super::{DEFAULT_COMPUTE_NODE, Source};
use crate::caller::Caller;
use crate::definition::{Definition, Version, VersionRule};
use crate::flow::{Answer, Refusal};
use crate::id::DefinitionRef;
use crate::instance::{Instance, InstanceContent};
use crate::invalid::Invalid;
use crate::operator::{ComputeNode, Processor};
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
}

pub(super) async fn resolve<S: ReadCatalog>(
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
    ])
    .await?
    .into_iter();
    let Some(Some(CatalogItem::Definition(definition))) = found.next() else {
        return Err(unknown(named_at, "workflow definition", &content.definition_id.to_string()));
    };
    let compute_node = match found.next() {
        Some(Some(CatalogItem::ComputeNode(node))) if node.tenants.admits(tenant) => node,
        _ => {
            let at = "/workflowInstanceConfiguration/computeNodeId";
            return Err(unknown(at, "compute node", content.compute_node.as_str()));
        }
    };
    let stored_instance = known_instance.or_else(|| match found.next() {
        Some(Some(CatalogItem::Instance(instance))) => Some(instance),
        _ => None,
    });
    let number = match content.version {
        VersionRule::Number(number) => number,
        VersionRule::Latest => definition.latest_version,
        VersionRule::Active => definition.active_version.unwrap_or(0),
    };
    if number == 0 {
        let message = format!("workflow definition {} has no {} version", definition.name, content.version);
        return Err(Refusal::Invalid(Invalid::one(version_at, "no_such_version", message)));
    }
    let Some(Some(CatalogItem::Version(version))) = get(vec![CatalogKey::Version(definition.id, number)]).await?.pop()
    else {
        let message = format!("workflow definition {} has no version {number}", definition.name);
        return Err(Refusal::Invalid(Invalid::one(version_at, "no_such_version", message)));
    };
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
    Ok(Resolved { definition, version, instance, instance_is_new, compute_node, processors })
}

fn unknown(at: &str, what: &'static str, id: &str) -> Refusal {
    if at.starts_with("path:") {
        Refusal::NotFound { what, id: id.to_owned() }
    } else {
        Refusal::Invalid(Invalid::one(at, "not_found", format!("there is no {what} {id}")))
    }
}
