//! Definitions, their versions and drafts; instances.

use super::form::{Item, ItemError, ItemResult, TENANT_ID, V, check, n, parsed, read, s, set, stamped, text, write};
use crate::dynamo::keys;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_dynamo::AttributeValue;
use sluice_core::canonical;
use sluice_core::catalog::{Draft, Named, Shared};
use sluice_core::concurrency::Concurrency;
use sluice_core::definition::{Definition, Outline, Version, VersionDocument};
use sluice_core::id::{DefinitionId, DefinitionName, InstanceId, TenantId};
use sluice_core::instance::{Instance, InstanceContent};
use sluice_core::retention::Retention;
use sluice_core::time::millis;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub const DEFINITION: &str = "definition";
pub const DEFINITION_NAME: &str = "definition-name";
pub const DISCOVERABLE: &str = "discoverable";
pub const VERSION: &str = "version";
pub const DRAFT: &str = "draft";
pub const INSTANCE: &str = "instance";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredDefinition {
    tenant_id: TenantId,
    definition_id: DefinitionId,
    name: DefinitionName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    active_version: Option<u32>,
    latest_version: u32,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    deprecated_versions: BTreeSet<u32>,
    /// JSON: processors by version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    processors: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    concurrency: Option<Concurrency>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retention: Option<Retention>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_run_duration_seconds: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    exclude_paused_time: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    discoverable: bool,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    tags: BTreeSet<String>,
    #[serde(with = "millis")]
    created_at: Timestamp,
    #[serde(with = "millis")]
    updated_at: Timestamp,
    rev: u64,
}

pub fn from_definition(definition: &Definition) -> ItemResult<Item> {
    let stored = StoredDefinition {
        tenant_id: definition.tenant.clone(),
        definition_id: definition.id,
        name: definition.name.clone(),
        display_name: definition.display_name.clone(),
        description: definition.description.clone(),
        active_version: definition.active_version,
        latest_version: definition.latest_version,
        deprecated_versions: definition.deprecated_versions.clone(),
        processors: (!definition.processors.is_empty())
            .then(|| serde_json::to_string(&definition.processors))
            .transpose()
            .map_err(|source| ItemError::Document { kind: DEFINITION, source })?,
        concurrency: definition.concurrency,
        retention: definition.retention,
        max_run_duration_seconds: definition.max_run_duration_seconds,
        exclude_paused_time: definition.exclude_paused_time,
        discoverable: definition.discoverable,
        tags: definition.tags.clone(),
        created_at: definition.created_at,
        updated_at: definition.updated_at,
        rev: definition.rev,
    };
    let mut item = write(DEFINITION, &stored, keys::definition(&definition.tenant, definition.id))?;
    set(
        &mut item,
        [
            (keys::TENANT_KEY, keys::definitions_of_tenant(&definition.tenant)),
            (keys::TIME_KEY, keys::time_key(definition.created_at, definition.id)),
        ],
    );
    if definition.discoverable {
        set(&mut item, [(keys::DISCOVER_SHARD, keys::discover_shard(keys::shard_of_definition(definition.id)))]);
    }
    Ok(item)
}

pub fn to_definition(item: Item) -> ItemResult<Definition> {
    let stored: StoredDefinition = read(DEFINITION, item)?;
    Ok(Definition {
        tenant: stored.tenant_id,
        id: stored.definition_id,
        name: stored.name,
        display_name: stored.display_name,
        description: stored.description,
        active_version: stored.active_version,
        latest_version: stored.latest_version,
        deprecated_versions: stored.deprecated_versions,
        processors: match stored.processors {
            None => BTreeMap::new(),
            Some(text) => {
                serde_json::from_str(&text).map_err(|source| ItemError::Document { kind: DEFINITION, source })?
            }
        },
        concurrency: stored.concurrency,
        retention: stored.retention,
        max_run_duration_seconds: stored.max_run_duration_seconds,
        exclude_paused_time: stored.exclude_paused_time,
        discoverable: stored.discoverable,
        tags: stored.tags,
        created_at: stored.created_at,
        updated_at: stored.updated_at,
        rev: stored.rev,
    })
}

/// Holds a name for its definition.
pub fn from_definition_name(definition: &Definition) -> ItemResult<Item> {
    let key = keys::definition_name(&definition.tenant, &definition.name);
    let mut item = stamped(Item::new(), DEFINITION_NAME, key);
    set(&mut item, [("definitionId", definition.id.to_string()), outline(DEFINITION_NAME, definition)?]);
    Ok(item)
}

pub fn to_definition_name(item: &Item) -> ItemResult<Named> {
    check(DEFINITION_NAME, item)?;
    Ok(Named { id: parsed(DEFINITION_NAME, item, "definitionId")?, outline: to_outline(DEFINITION_NAME, item)? })
}

/// Says whose a definition is that every tenant may run.
pub fn from_discoverable(definition: &Definition) -> ItemResult<Item> {
    let mut item = stamped(Item::new(), DISCOVERABLE, keys::discoverable(definition.id));
    set(&mut item, [(TENANT_ID, definition.tenant.to_string()), outline(DISCOVERABLE, definition)?]);
    Ok(item)
}

pub fn to_discoverable(item: &Item) -> ItemResult<Shared> {
    check(DISCOVERABLE, item)?;
    Ok(Shared { owner: parsed(DISCOVERABLE, item, TENANT_ID)?, outline: to_outline(DISCOVERABLE, item)? })
}

const OUTLINE: &str = "outline";

/// Written with every change of the definition, in the same transaction.
fn outline(kind: &'static str, definition: &Definition) -> ItemResult<(&'static str, String)> {
    let outline = serde_json::to_string(&definition.outline());
    Ok((OUTLINE, outline.map_err(|source| ItemError::Document { kind, source })?))
}

/// An item of before outlines has none: nothing is known then.
fn to_outline(kind: &'static str, item: &Item) -> ItemResult<Outline> {
    let outline = text(item, OUTLINE).map(serde_json::from_str).transpose();
    Ok(outline.map_err(|source| ItemError::Document { kind, source })?.unwrap_or_default())
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredVersion {
    definition_id: DefinitionId,
    version: u32,
    document: String,
    #[serde(with = "millis")]
    created_at: Timestamp,
    created_by: String,
}

pub fn from_version(tenant: &TenantId, version: &Version) -> ItemResult<Item> {
    let key = keys::version(tenant, version.definition_id, version.number);
    write(VERSION, &stored_version(VERSION, version)?, key)
}

pub fn to_version(item: Item) -> ItemResult<Version> {
    version(VERSION, item)
}

/// A draft looks like a version, whose number is 0.
pub fn from_draft(tenant: &TenantId, draft: &Draft) -> ItemResult<Item> {
    let stored = StoredVersion { version: 0, ..stored_version(DRAFT, &draft.version)? };
    let mut item = write(DRAFT, &stored, keys::draft(tenant, draft.version.definition_id))?;
    item.insert(REV.into(), n(draft.rev));
    Ok(item)
}

/// A draft of before revisions has none.
pub fn to_draft(item: Item) -> ItemResult<Draft> {
    let rev = match item.get(REV) {
        None => 0,
        Some(AttributeValue::N(rev)) => {
            rev.parse().map_err(|_| ItemError::Attribute { kind: DRAFT, attribute: REV })?
        }
        Some(_) => return Err(ItemError::Attribute { kind: DRAFT, attribute: REV }),
    };
    Ok(Draft { version: Arc::new(version(DRAFT, item)?.into()), rev })
}

const REV: &str = "rev";

fn stored_version(kind: &'static str, version: &Version) -> ItemResult<StoredVersion> {
    let document = serde_json::to_string(&version.document);
    Ok(StoredVersion {
        definition_id: version.definition_id,
        version: version.number,
        document: document.map_err(|source| ItemError::Document { kind, source })?,
        created_at: version.created_at,
        created_by: version.created_by.clone(),
    })
}

fn version(kind: &'static str, item: Item) -> ItemResult<Version> {
    let stored: StoredVersion = read(kind, item)?;
    let document: VersionDocument =
        serde_json::from_str(&stored.document).map_err(|source| ItemError::Document { kind, source })?;
    Ok(Version {
        definition_id: stored.definition_id,
        number: stored.version,
        document,
        created_at: stored.created_at,
        created_by: stored.created_by,
    })
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredInstance {
    tenant_id: TenantId,
    instance_id: InstanceId,
    document: String,
    #[serde(with = "millis")]
    created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

pub fn from_instance(instance: &Instance) -> ItemResult<Item> {
    let unreadable = |source| ItemError::Document { kind: INSTANCE, source };
    let stored = StoredInstance {
        tenant_id: instance.tenant.clone(),
        instance_id: instance.id,
        document: canonical::text(&instance.content.to_json()),
        created_at: instance.created_at,
        hint: instance.hint.as_ref().map(serde_json::to_string).transpose().map_err(unreadable)?,
    };
    let mut item = write(INSTANCE, &stored, keys::instance(&instance.tenant, instance.id))?;
    set(
        &mut item,
        [
            (keys::TENANT_KEY, keys::instances_of_tenant(&instance.tenant)),
            (keys::TIME_KEY, keys::time_key(instance.created_at, instance.id)),
        ],
    );
    Ok(item)
}

pub fn to_instance(item: Item) -> ItemResult<Instance> {
    let unreadable = |source| ItemError::Document { kind: INSTANCE, source };
    let stored: StoredInstance = read(INSTANCE, item)?;
    let content = serde_json::from_str(&stored.document).and_then(|value| InstanceContent::from_json(&value));
    Ok(Instance {
        tenant: stored.tenant_id,
        id: stored.instance_id,
        content: content.map_err(unreadable)?,
        created_at: stored.created_at,
        hint: stored.hint.as_deref().map(serde_json::from_str).transpose().map_err(unreadable)?,
    })
}

/// The expression that counts one more definition of a tenant, and its values. Nobody counts those that were made before.
pub fn count_definition(tenant: &TenantId) -> (&'static str, Item) {
    let values = Item::from([
        (":kind".into(), s(DEFINITION_COUNT)),
        (":v".into(), n(V)),
        (":tenantId".into(), s(tenant.as_str())),
        (":one".into(), n(1)),
    ]);
    ("SET kind = :kind, v = :v, tenantId = :tenantId ADD made :one", values)
}

const DEFINITION_COUNT: &str = "definition-count";
