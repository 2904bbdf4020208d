//! What the names in a command stand for.
//!
//! Decision (2026-11-22): a shared definition's processors must be open to the tenant that runs it as well: sharing
//! a workflow does not share the operator's trust.

use super::command::{DEFAULT_COMPUTE_NODE, Source};
use crate::caller::Caller;
use crate::catalog::{DefinitionKey, DraftKey, InstanceKey, NameKey, OwnerKey, SettingsKey, VersionKey, Wanted};
use crate::definition::{Definition, Version, VersionRule};
use crate::flow::{Answer, Refusal, find_item};
use crate::id::{DefinitionId, DefinitionRef, ProcessorKey, TenantId};
use crate::instance::{Instance, InstanceContent};
use crate::operator::{ComputeNode, Processor, TenantSettings};
use crate::place::Field;
use crate::ports::ReadCatalog;
use crate::refusal::Thing;
use crate::violation::{Invalid, ViolationCode};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

/// What a command's names stand for.
#[derive(Clone, Debug)]
pub struct Resolved {
    pub definition: Arc<Definition>,
    pub version: Arc<Version>,
    pub instance: Arc<Instance>,
    pub instance_is_new: bool,
    pub compute_node: Arc<ComputeNode>,
    pub processors: BTreeMap<ProcessorKey, Arc<Processor>>,
    pub tenant: Arc<TenantSettings>,
}

pub(in crate::flow) async fn resolve<S: ReadCatalog>(
    store: &S,
    caller: &Caller,
    source: &Source,
    now: Timestamp,
) -> Answer<Resolved> {
    let tenant = &caller.tenant;
    // Who names an instance names its definition and its version with it.
    let (content, known_instance, definition_at, version_at) = match source {
        Source::Instance(id) => match find_item(store, &InstanceKey { tenant: tenant.clone(), id: *id }).await? {
            Some(instance) => (instance.content.clone(), Some(instance), Field::Instance, Field::Instance),
            None => return Err(unknown(Field::Instance, Thing::WorkflowInstance, id)),
        },
        Source::Configuration { definition, version, compute_node, processor_configs } => {
            let definition_id = match definition {
                DefinitionRef::Id(id) => *id,
                DefinitionRef::Name(name) => {
                    let key = NameKey { tenant: tenant.clone(), name: name.clone() };
                    match find_item(store, &key).await? {
                        Some(id) => *id,
                        None => return Err(unknown(Field::Definition, Thing::WorkflowDefinition, name)),
                    }
                }
            };
            let compute_node = match compute_node {
                Some(key) => key.clone(),
                None => DEFAULT_COMPUTE_NODE.parse().map_err(|error: crate::id::InvalidId| {
                    Refusal::Invalid(Invalid::one(Field::ComputeNode, ViolationCode::Invalid, error.0))
                })?,
            };
            let processor_configs = processor_configs.clone();
            (
                InstanceContent { definition_id, version: *version, compute_node, processor_configs },
                None,
                Field::Definition,
                Field::Version,
            )
        }
    };
    let instance_key = InstanceKey { tenant: tenant.clone(), id: content.id(tenant) };
    let definition_key = DefinitionKey { tenant: tenant.clone(), id: content.definition_id };
    let wanted = Wanted::one(definition_key.clone())
        .and(content.compute_node.clone())
        .and(instance_key.clone())
        .and(SettingsKey(tenant.clone()));
    let found = store.read_catalog(&wanted).await.map_err(Refusal::Store)?;
    let definition = match found.get(&definition_key) {
        Some(definition) => definition,
        None => find_discoverable(store, content.definition_id)
            .await?
            .ok_or_else(|| unknown(definition_at, Thing::WorkflowDefinition, content.definition_id))?,
    };
    let compute_node = found.get(&content.compute_node).filter(|node| node.tenants.admits(tenant));
    let compute_node =
        compute_node.ok_or_else(|| unknown(Field::ComputeNode, Thing::ComputeNode, &content.compute_node))?;
    let stored_instance = known_instance.or_else(|| found.get(&instance_key));
    let version = find_version(store, tenant, &definition, content.version, version_at).await?;
    let keys = version.document.processor_keys();
    let wanted = Wanted::default().and_all(keys.iter().cloned());
    let processors = store.read_catalog(&wanted).await.map_err(Refusal::Store)?;
    let processors = keys.into_iter().filter_map(|key| processors.get(&key).map(|found| (key, found))).collect();
    let instance_is_new = stored_instance.is_none();
    let instance = stored_instance.unwrap_or_else(|| {
        Arc::new(Instance { tenant: tenant.clone(), id: instance_key.id, content, created_at: now })
    });
    let tenant = found.settings(tenant);
    Ok(Resolved { definition, version, instance, instance_is_new, compute_node, processors, tenant })
}

/// A definition that every tenant may run.
pub(crate) async fn find_discoverable<S: ReadCatalog>(store: &S, id: DefinitionId) -> Answer<Option<Arc<Definition>>> {
    let Some(owner) = find_item(store, &OwnerKey(id)).await? else { return Ok(None) };
    let found = find_item(store, &DefinitionKey { tenant: TenantId::clone(&owner), id }).await?;
    Ok(found.filter(|definition| definition.discoverable))
}

/// The version that `rule` means, if new runs may be made of it.
async fn find_version<S: ReadCatalog>(
    store: &S,
    tenant: &TenantId,
    definition: &Definition,
    rule: VersionRule,
    at: Field,
) -> Answer<Arc<Version>> {
    let name = &definition.name;
    let refused = |code, message| Err(Refusal::Invalid(Invalid::one(at, code, message)));
    let number = match rule {
        // The draft is its owner's; to anybody else there is none.
        VersionRule::Draft if definition.tenant == *tenant => Some(0),
        VersionRule::Draft => None,
        VersionRule::Number(number) => Some(number),
        VersionRule::Latest => Some(definition.latest_version).filter(|number| *number > 0),
        VersionRule::Active => definition.active_version,
    };
    let (tenant, definition_id) = (definition.tenant.clone(), definition.id);
    let found = match number {
        None => {
            return refused(ViolationCode::NoSuchVersion, format!("workflow definition {name} has no {rule} version"));
        }
        Some(0) => find_item(store, &DraftKey { tenant, definition_id }).await?,
        Some(number) => find_item(store, &VersionKey { tenant, definition_id, number }).await?,
    };
    let Some(version) = found else {
        return refused(ViolationCode::NoSuchVersion, format!("workflow definition {name} has no version {rule}"));
    };
    if definition.deprecated_versions.contains(&version.number) {
        let message =
            format!("version {} of workflow definition {name} is deprecated: it makes no new runs", version.number);
        return refused(ViolationCode::VersionDeprecated, message);
    }
    Ok(version)
}

/// What a request names does not exist, or belongs to another tenant.
pub(in crate::flow) fn unknown(at: Field, what: Thing, id: impl Display) -> Refusal {
    Refusal::Invalid(Invalid::one(at, ViolationCode::NotFound, format_args!("there is no {what} {id}")))
}
