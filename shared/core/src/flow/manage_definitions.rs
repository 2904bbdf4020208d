//! Manage definitions, versions and instances.

use crate::caller::Caller;
use crate::catalog::{DefinitionKey, Draft, DraftKey, InstanceKey, NameKey, SettingsKey, VersionKey, Wanted};
use crate::concurrency::Concurrency;
use crate::definition::{Definition, Version, VersionDocument, VersionRule};
use crate::flow::create_run::check_duration;
use crate::flow::inquiry::find_discoverable;
use crate::flow::{Answer, Refusal, contended, find_item};
use crate::id::{DefinitionId, DefinitionName, DefinitionRef, InstanceId};
use crate::instance::{DefinitionHint, Instance, InstanceContent};
use crate::limits;
use crate::place::Field;
use crate::ports::{DefinitionSaved, ManageDefinitions, Page, ReadCatalog, SaveInstance, StoreError, StoreErrorClass};
use crate::prepared::PreparedVersion;
use crate::refusal::{ConflictCode, Thing};
use crate::retention::Retention;
use crate::tenant_limits::{OwnLimits, TenantLimits};
use crate::violation::{Invalid, ViolationCode};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Times a change is tried against others that change the same definition.
const TRIES: u32 = 8;

/// What a caller says of a definition itself. What is `None` stays as it is; `Some(None)` takes a rule away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefinitionChange {
    pub display_name: Option<String>,
    pub description: Option<String>,
    pub concurrency: Option<Option<Concurrency>>,
    pub retention: Option<Option<Retention>>,
    pub max_run_duration_seconds: Option<Option<u64>>,
    pub exclude_paused_time: Option<bool>,
    pub discoverable: Option<bool>,
    pub tags: Option<BTreeSet<String>>,
}

impl DefinitionChange {
    fn check(&self) -> Result<(), Invalid> {
        let mut invalid = Invalid::default();
        check_text(Field::DisplayName, self.display_name.as_deref(), limits::DISPLAY_NAME_CHARS, &mut invalid);
        check_text(Field::Description, self.description.as_deref(), limits::DESCRIPTION_CHARS, &mut invalid);
        if let Some(Some(concurrency)) = self.concurrency {
            concurrency.check(&Field::Concurrency.at(), &mut invalid);
        }
        if let Some(Some(retention)) = self.retention {
            retention.check(&Field::Retention.at(), &mut invalid);
        }
        check_duration(self.max_run_duration_seconds.flatten(), &mut invalid);
        let (most_tags, most_chars) = limits::DEFINITION_TAGS;
        let is_tag =
            |tag: &String| (1..=most_chars).contains(&tag.chars().count()) && !tag.chars().any(char::is_control);
        if let Some(tags) = &self.tags {
            let message = format_args!("must be at most {most_tags} tags of 1 to {most_chars} characters");
            if tags.len() > most_tags {
                invalid.add(Field::DefinitionTags, ViolationCode::TooMany, message);
            } else if !tags.iter().all(is_tag) {
                invalid.add(Field::DefinitionTags, ViolationCode::OutOfRange, message);
            }
        }
        invalid.into_result()
    }

    fn apply(&self, definition: &mut Definition) {
        definition.display_name = self.display_name.clone().or(definition.display_name.take());
        definition.description = self.description.clone().or(definition.description.take());
        definition.concurrency = self.concurrency.unwrap_or(definition.concurrency);
        definition.retention = self.retention.unwrap_or(definition.retention);
        definition.max_run_duration_seconds =
            self.max_run_duration_seconds.unwrap_or(definition.max_run_duration_seconds);
        definition.exclude_paused_time = self.exclude_paused_time.unwrap_or(definition.exclude_paused_time);
        definition.discoverable = self.discoverable.unwrap_or(definition.discoverable);
        if let Some(tags) = &self.tags {
            definition.tags.clone_from(tags);
        }
    }
}

/// Reports a free text with more characters than it may have.
pub(super) fn check_text(field: Field, text: Option<&str>, most: usize, invalid: &mut Invalid) {
    if text.is_some_and(|text| text.chars().count() > most) {
        invalid.add(field, ViolationCode::OutOfRange, format_args!("must be at most {most} characters"));
    }
}

/// Makes a definition.
///
/// # Errors
/// `Conflict` when the tenant has one of that name, or as many as it may.
pub async fn create_definition<S: ManageDefinitions>(
    store: &S,
    limits: TenantLimits,
    caller: &Caller,
    id: DefinitionId,
    name: DefinitionName,
    said: DefinitionChange,
    now: Timestamp,
) -> Answer<Definition> {
    said.check().map_err(Refusal::Invalid)?;
    let mut definition = Definition::new(caller.tenant.clone(), id, name, now);
    said.apply(&mut definition);
    let settings = find_item(store, &SettingsKey(caller.tenant.clone())).await?;
    let own = settings.map_or_else(OwnLimits::default, |settings| settings.limits);
    let most = limits.with(own).definitions;
    match store.create_definition(&definition, most).await.map_err(Refusal::Store)? {
        DefinitionSaved::Done => Ok(definition),
        DefinitionSaved::NameTaken(holder) => {
            let message = format_args!("the name {} belongs to workflow definition {holder}", definition.name);
            Err(Refusal::conflict(ConflictCode::NameTaken, message))
        }
        DefinitionSaved::TooMany => {
            let message = format_args!("this tenant has {most} definitions, as many as it may");
            Err(Refusal::conflict(ConflictCode::TooManyDefinitions, message))
        }
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
    let not_found = || Refusal::not_found(Thing::WorkflowDefinition, definition);
    let id = match definition {
        DefinitionRef::Id(id) => *id,
        DefinitionRef::Name(name) => {
            let key = NameKey { tenant: caller.tenant.clone(), name: name.clone() };
            find_item(store, &key).await?.ok_or_else(not_found)?.id
        }
    };
    store.load_definition(&caller.tenant, id).await.map_err(Refusal::Store)?.ok_or_else(not_found)
}

/// Changes what a definition says of itself: only what is given.
///
/// # Errors
/// `NotFound`, `Invalid`.
pub async fn change_definition<S: ManageDefinitions>(
    store: &S,
    caller: &Caller,
    definition: &DefinitionRef,
    said: DefinitionChange,
    now: Timestamp,
) -> Answer<Definition> {
    said.check().map_err(Refusal::Invalid)?;
    change(store, caller, definition, now, |definition| {
        said.apply(definition);
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
    check_document(store, caller, &document).await?;
    let (definition, version) = change(store, caller, definition, now, |definition| {
        if definition.latest_version >= limits::VERSIONS {
            let message = format_args!("a definition has at most {} versions", limits::VERSIONS);
            return Err(Refusal::conflict(ConflictCode::TooManyVersions, message));
        }
        definition.latest_version += 1;
        if activate {
            definition.active_version = Some(definition.latest_version);
        }
        definition.note_processors(definition.latest_version, &document);
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

/// Refuses a document that no run could be made of.
async fn check_document<S: ReadCatalog>(store: &S, caller: &Caller, document: &VersionDocument) -> Answer<()> {
    let bytes = serde_json::to_string(document).map_or(usize::MAX, |text| text.len());
    if bytes > limits::VERSION_DOCUMENT_BYTES {
        let message = format_args!("a version's document has at most {} bytes", limits::VERSION_DOCUMENT_BYTES);
        return Err(Refusal::Invalid(Invalid::one(Field::Document, ViolationCode::TooLarge, message)));
    }
    let keys = document.processor_keys();
    let found = store.read_catalog(&Wanted::default().and_all(keys.iter().cloned())).await.map_err(Refusal::Store)?;
    let processors = keys.into_iter().filter_map(|key| found.get(&key).map(|processor| (key, processor))).collect();
    document.check(&caller.tenant, &processors).map(|_layout| ()).map_err(Refusal::Invalid)
}

/// Makes a version the active one. One that was deprecated is no longer.
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
    let version = get_version(store, caller, definition, number).await?;
    mark_version(store, caller, definition, number, now, |definition| {
        definition.active_version = Some(number);
        definition.deprecated_versions.remove(&number);
        definition.note_processors(number, &version.document);
    })
    .await
}

/// Lets a version make no new runs. Those that it made go on.
///
/// # Errors
/// `NotFound` for an unknown definition or version.
pub async fn deprecate_version<S: ManageDefinitions>(
    store: &S,
    caller: &Caller,
    definition: &DefinitionRef,
    number: u32,
    now: Timestamp,
) -> Answer<Definition> {
    mark_version(store, caller, definition, number, now, |definition| {
        definition.deprecated_versions.insert(number);
    })
    .await
}

/// Changes what a definition says of one of its versions.
async fn mark_version<S: ManageDefinitions>(
    store: &S,
    caller: &Caller,
    definition: &DefinitionRef,
    number: u32,
    now: Timestamp,
    mark: impl Fn(&mut Definition) + Send + Sync,
) -> Answer<Definition> {
    change(store, caller, definition, now, |definition| {
        if number == 0 || number > definition.latest_version {
            return Err(Refusal::not_found(Thing::Version, number));
        }
        mark(definition);
        Ok(None)
    })
    .await
    .map(|(definition, _)| definition)
}

/// Writes what is to become a version, in the place of an earlier draft. Its owner can run it as `draft`.
///
/// # Errors
/// `NotFound`; `Invalid` with every fault of the document.
pub async fn save_draft<S: ManageDefinitions>(
    store: &S,
    caller: &Caller,
    definition: &DefinitionRef,
    document: VersionDocument,
    now: Timestamp,
) -> Answer<(Definition, Arc<PreparedVersion>)> {
    check_document(store, caller, &document).await?;
    let definition = find_definition(store, caller, definition).await?;
    let version = Version {
        definition_id: definition.id,
        number: 0,
        document,
        created_at: now,
        created_by: caller.principal.0.clone(),
    };
    let key = DraftKey { tenant: caller.tenant.clone(), definition_id: definition.id };
    let mut draft = Draft { version: Arc::new(version.into()), rev: 0 };
    for _ in 0..TRIES {
        let current = find_item(store, &key).await?;
        draft.rev = current.map_or(0, |current| current.rev) + 1;
        if store.save_draft(&caller.tenant, &draft).await.map_err(Refusal::Store)? {
            return Ok((definition, draft.version));
        }
    }
    Err(contended("write a draft that keeps changing"))
}

/// The draft of a definition.
///
/// # Errors
/// `NotFound`.
pub async fn get_draft<S: ManageDefinitions>(
    store: &S,
    caller: &Caller,
    definition: &DefinitionRef,
) -> Answer<(Definition, Arc<PreparedVersion>)> {
    let definition = find_definition(store, caller, definition).await?;
    let key = DraftKey { tenant: caller.tenant.clone(), definition_id: definition.id };
    match find_item(store, &key).await? {
        Some(draft) => Ok((definition, Arc::clone(&draft.version))),
        None => Err(Refusal::not_found(Thing::Draft, definition.id)),
    }
}

/// Throws the draft away. There need not be one.
///
/// # Errors
/// `NotFound` for an unknown definition.
pub async fn delete_draft<S: ManageDefinitions>(store: &S, caller: &Caller, definition: &DefinitionRef) -> Answer<()> {
    let definition = find_definition(store, caller, definition).await?;
    store.delete_draft(&caller.tenant, definition.id).await.map_err(Refusal::Store)
}

/// What a search of discoverable definitions is narrowed to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiscoverFilter {
    /// In the name, the display name, the description or a tag, in any case.
    pub text: Option<String>,
    pub tag: Option<String>,
}

impl DiscoverFilter {
    fn admits(&self, definition: &Definition) -> bool {
        let wanted = self.text.as_ref().map(|text| text.to_lowercase());
        let texts =
            [Some(definition.name.as_str()), definition.display_name.as_deref(), definition.description.as_deref()];
        let mut texts = texts.into_iter().flatten().chain(definition.tags.iter().map(String::as_str));
        wanted.is_none_or(|wanted| texts.any(|text| text.to_lowercase().contains(&wanted)))
            && self.tag.as_ref().is_none_or(|tag| definition.tags.contains(tag))
    }
}

/// A page of the definitions that every tenant may run, whoever owns them. Those that do not match, or whose active version
/// makes no runs, are left out, so a page may be short.
///
/// # Errors
/// When the store fails or the cursor belongs to another list.
pub async fn discover_definitions<S: ManageDefinitions>(
    store: &S,
    filter: &DiscoverFilter,
    limit: u32,
    cursor: Option<&str>,
) -> Answer<Page<Definition>> {
    let mut page = store.list_discoverable(limit, cursor).await.map_err(Refusal::Store)?;
    page.items.retain(|definition| {
        let active = definition.active_version.filter(|active| !definition.deprecated_versions.contains(active));
        definition.discoverable && active.is_some() && filter.admits(definition)
    });
    Ok(page)
}

/// A definition that every tenant may run.
///
/// # Errors
/// `NotFound`.
pub async fn get_discoverable<S: ReadCatalog>(store: &S, id: DefinitionId) -> Answer<Arc<Definition>> {
    let found = find_discoverable(store, id).await?;
    found.ok_or_else(|| Refusal::not_found(Thing::DiscoverableDefinition, id))
}

/// A version of such a definition, without what its owner keeps to itself.
///
/// # Errors
/// `NotFound`.
pub async fn get_discoverable_version<S: ReadCatalog>(
    store: &S,
    id: DefinitionId,
    rule: VersionRule,
) -> Answer<(Arc<Definition>, Version)> {
    let definition = get_discoverable(store, id).await?;
    let number = match rule {
        VersionRule::Active => definition.active_version,
        VersionRule::Latest => Some(definition.latest_version),
        VersionRule::Number(number) => Some(number),
        VersionRule::Draft => None,
    };
    let not_found = || Refusal::not_found(Thing::Version, rule);
    let number = number.ok_or_else(not_found)?;
    let key = VersionKey { tenant: definition.tenant.clone(), definition_id: id, number };
    let mut version = Version::clone(&**find_item(store, &key).await?.ok_or_else(not_found)?);
    version.document = version.document.shown_to_others();
    Ok((definition, version))
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
) -> Answer<Arc<PreparedVersion>> {
    let definition = find_definition(store, caller, definition).await?;
    let key = VersionKey { tenant: caller.tenant.clone(), definition_id: definition.id, number };
    let found = find_item(store, &key).await?;
    found.ok_or_else(|| Refusal::not_found(Thing::Version, number))
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
    Err(contended("change a definition that keeps changing"))
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
) -> Answer<Arc<Instance>> {
    let definition = DefinitionKey { tenant: caller.tenant.clone(), id: content.definition_id };
    let key = InstanceKey { tenant: caller.tenant.clone(), id: content.id(&caller.tenant) };
    let wanted = Wanted::one(definition.clone()).and(content.compute_node.clone()).and(key.clone());
    let found = store.read_catalog(&wanted).await.map_err(Refusal::Store)?;
    let mut invalid = Invalid::default();
    let definition = match found.get(&definition) {
        None => find_discoverable(store, content.definition_id).await?,
        own => own,
    };
    if definition.is_none() {
        let message = format_args!("there is no {} {}", Thing::WorkflowDefinition, content.definition_id);
        invalid.add(Field::Definition, ViolationCode::NotFound, message);
    }
    if !found.get(&content.compute_node).is_some_and(|node| node.tenants.admits(&caller.tenant)) {
        let message = format_args!("there is no {} {}", Thing::ComputeNode, content.compute_node);
        invalid.add(Field::ComputeNode, ViolationCode::NotFound, message);
    }
    invalid.into_result().map_err(Refusal::Invalid)?;
    if let Some(instance) = found.get(&key) {
        return Ok(instance);
    }
    let hint = definition.as_deref().map(DefinitionHint::of);
    let instance = Instance { tenant: key.tenant, id: key.id, content, created_at: now, hint };
    store.save_instance(&instance).await.map_err(Refusal::Store)?;
    Ok(Arc::new(instance))
}

/// One instance.
///
/// # Errors
/// `NotFound`.
pub async fn get_instance<S: ReadCatalog>(store: &S, caller: &Caller, id: InstanceId) -> Answer<Arc<Instance>> {
    let key = InstanceKey { tenant: caller.tenant.clone(), id };
    let found = find_item(store, &key).await?;
    found.ok_or_else(|| Refusal::not_found(Thing::WorkflowInstance, id))
}
