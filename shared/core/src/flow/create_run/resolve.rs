//! What the names in a command stand for, as things are now.
//!
//! Decision (2026-11-22): a shared definition's processors must be open to the tenant that runs it as well: sharing
//! a workflow does not share the operator's trust.

use super::command::{Command, DEFAULT_COMPUTE_NODE, Source};
use crate::caller::Caller;
use crate::catalog::{ClaimKey, DraftKey, Found, InstanceKey, NameKey, SettingsKey, VersionKey, Wanted};
use crate::definition::{Definition, VersionRule};
use crate::flow::allowance::{self, Taken};
use crate::flow::inquiry::{Inquired, Known, inquire};
use crate::flow::spending::{Spender, Spending};
use crate::flow::{Answer, Refusal};
use crate::id::{ComputeNodeKey, DefinitionRef, InstanceId, InvalidId, ProcessorKey, TenantId};
use crate::idempotency::{IdempotencyClaim, IdempotencyRecord};
use crate::instance::{DefinitionHint, Instance, InstanceContent};
use crate::memory::Memory;
use crate::operator::{ComputeNode, Processor, TenantSettings};
use crate::place::Field;
use crate::ports::ReadCatalog;
use crate::prepared::PreparedVersion;
use crate::refusal::Thing;
use crate::violation::{Invalid, ViolationCode};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, OnceLock};

/// What a command's names stand for.
#[derive(Clone, Debug)]
pub struct Resolved {
    pub definition: Arc<Definition>,
    pub version: Arc<PreparedVersion>,
    pub instance: Arc<Instance>,
    pub instance_is_new: bool,
    pub compute_node: Arc<ComputeNode>,
    pub processors: BTreeMap<ProcessorKey, Arc<Processor>>,
    pub tenant: Arc<TenantSettings>,
    /// Settings of the tenant that shares the definition, where it is another.
    pub owner: Option<Arc<TenantSettings>>,
    /// What the tenant takes of the service.
    pub taken: Taken,
    /// The quotas that the run is under.
    pub spending: Spending,
}

/// What is found for a command that has an idempotency key.
pub(in crate::flow) enum Resolution {
    New(Box<Resolved>),
    /// The key was used before.
    Repeated(Arc<IdempotencyRecord>),
}

/// Resolves a command's names.
///
/// # Errors
/// `Invalid` or `NotFound` for a name that stands for nothing that the caller may use; `Store`.
pub(in crate::flow) async fn resolve<S: ReadCatalog>(
    store: &S,
    caller: &Caller,
    command: &Command,
    now: Timestamp,
) -> Answer<Resolved> {
    let names = Names::of(&caller.tenant, command, now)?;
    let inquired = inquire(store, |known| names.needs(known)).await?;
    names.conclude(store.memory(), &inquired)
}

/// [`resolve`], with a look at the first request with the same idempotency key in the same question.
///
/// # Errors
/// Those of [`resolve`], for a key that was not used before.
pub(in crate::flow) async fn resolve_keyed<S: ReadCatalog>(
    store: &S,
    caller: &Caller,
    command: &Command,
    claim: &IdempotencyClaim,
    now: Timestamp,
) -> Answer<Resolution> {
    let names = Names::of(&caller.tenant, command, now)?;
    let claim = ClaimKey::of(&caller.tenant, claim);
    let first = |known: &Known<'_>| known.get(&claim).filter(|first| !first.has_expired(now));
    let inquired = inquire(store, |known| match first(known) {
        None => names.needs(known).and(claim.clone()),
        Some(_) => Wanted::default(),
    })
    .await?;
    Ok(match first(&inquired.facts()) {
        Some(first) => Resolution::Repeated(first),
        None => Resolution::New(Box::new(names.conclude(store.memory(), &inquired)?)),
    })
}

/// The names in a command.
struct Names<'a> {
    tenant: &'a TenantId,
    spender: Spender<'a>,
    source: &'a Source,
    /// Where runs execute whose configuration does not say it.
    default_node: ComputeNodeKey,
    now: Timestamp,
    /// The instance that the configuration is.
    instance_id: OnceLock<InstanceId>,
}

impl<'a> Names<'a> {
    fn of(tenant: &'a TenantId, command: &'a Command, now: Timestamp) -> Answer<Self> {
        let default_node = DEFAULT_COMPUTE_NODE.parse().map_err(|error: InvalidId| {
            Refusal::Invalid(Invalid::one(Field::ComputeNode, ViolationCode::Invalid, error.0))
        })?;
        let spender = Spender { tenant, user: command.user_id.as_ref() };
        Ok(Self { tenant, spender, source: &command.source, default_node, now, instance_id: OnceLock::new() })
    }

    /// Everything that a run depends on, as far as it can be named yet.
    fn needs(&self, known: &Known<'_>) -> Wanted {
        let mut wanted = allowance::needs(self.tenant, self.now).and(SettingsKey(self.tenant.clone()));
        if let Source::Instance(id) = self.source {
            wanted.add(self.instance(*id));
        } else if let Source::Configuration { definition: DefinitionRef::Name(name), compute_node, .. } = self.source {
            wanted.add(NameKey { tenant: self.tenant.clone(), name: name.clone() });
            wanted.add(compute_node.as_ref().unwrap_or(&self.default_node).clone());
        }
        let Some(content) = self.content(known) else { return wanted };
        if let Source::Configuration { .. } = self.source {
            wanted.add(self.instance(self.id_of(&content)));
        }
        if let Some(definition) = known.need_definition(self.tenant, content.definition_id, &mut wanted) {
            wanted.add(SettingsKey(definition.tenant.clone()));
            known.need_version(self.tenant, &definition, content.version, &mut wanted);
        }
        wanted.add_all(self.spender.needs(&content.compute_node, known, self.now));
        wanted.add(content.compute_node);
        wanted
    }

    /// The instance that the configuration is: one, because a name is the same definition's for good.
    fn id_of(&self, content: &InstanceContent) -> InstanceId {
        *self.instance_id.get_or_init(|| content.id(self.tenant))
    }

    fn instance(&self, id: InstanceId) -> InstanceKey {
        InstanceKey { tenant: self.tenant.clone(), id }
    }

    /// What the instance says, once that is known.
    fn content(&self, known: &Known<'_>) -> Option<InstanceContent> {
        match self.source {
            Source::Instance(id) => {
                let key = self.instance(*id);
                known.said(&key, |instance| instance.content.clone(), |memory| memory.content(&key))
            }
            Source::Configuration { definition, version, compute_node, processor_configs, .. } => {
                let definition_id = match definition {
                    DefinitionRef::Id(id) => *id,
                    DefinitionRef::Name(name) => {
                        let key = NameKey { tenant: self.tenant.clone(), name: name.clone() };
                        known.said(&key, |named| named.id, |memory| memory.id(&key))?
                    }
                };
                Some(InstanceContent {
                    definition_id,
                    version: *version,
                    compute_node: compute_node.as_ref().unwrap_or(&self.default_node).clone(),
                    processor_configs: processor_configs.clone(),
                })
            }
        }
    }

    /// Makes of what was read what the command means, or says what is missing.
    fn conclude(&self, memory: &Memory, inquired: &Inquired) -> Answer<Resolved> {
        let (tenant, found, known) = (self.tenant, &inquired.found, inquired.facts());
        // Who names an instance names its definition and its version with it.
        let (definition_at, version_at) = match self.source {
            Source::Instance(_) => (Field::Instance, Field::Instance),
            Source::Configuration { .. } => (Field::Definition, Field::Version),
        };
        let content = self.content(&known).ok_or_else(|| match self.source {
            Source::Instance(id) => unknown(definition_at, Thing::WorkflowInstance, id),
            Source::Configuration { definition, .. } => unknown(definition_at, Thing::WorkflowDefinition, definition),
        })?;
        let definition = known
            .definition(tenant, content.definition_id)
            .ok_or_else(|| unknown(definition_at, Thing::WorkflowDefinition, content.definition_id))?;
        let compute_node = found.get(&content.compute_node).filter(|node| node.tenants.admits(tenant));
        let compute_node =
            compute_node.ok_or_else(|| unknown(Field::ComputeNode, Thing::ComputeNode, &content.compute_node))?;
        let version = the_version(found, tenant, &definition, content.version, version_at)?;
        let keys = version.document.processor_keys().into_iter();
        let processors = keys.filter_map(|key| found.get(&key).map(|processor| (key, processor))).collect();
        let instance = self.instance(match self.source {
            Source::Instance(id) => *id,
            Source::Configuration { .. } => self.id_of(&content),
        });
        let stored = found.get(&instance);
        let instance_is_new = stored.is_none();
        let instance = stored.unwrap_or_else(|| {
            let hint = Some(DefinitionHint::of(&definition));
            Arc::new(Instance { tenant: instance.tenant, id: instance.id, content, created_at: self.now, hint })
        });
        if instance_is_new {
            memory.expect(&instance);
        }
        let taken = allowance::taken(tenant, found, self.now);
        let spending = self.spender.spending(&compute_node.key, found, self.now);
        let owner = (definition.tenant != *tenant).then(|| found.settings(&definition.tenant));
        let tenant = found.settings(tenant);
        Ok(Resolved {
            definition,
            version,
            instance,
            instance_is_new,
            compute_node,
            processors,
            tenant,
            owner,
            taken,
            spending,
        })
    }
}

/// The version that `rule` means, if new runs may be made of it.
fn the_version(
    found: &Found,
    tenant: &TenantId,
    definition: &Definition,
    rule: VersionRule,
    at: Field,
) -> Answer<Arc<PreparedVersion>> {
    let name = &definition.name;
    let refused = |code, message| Err(Refusal::Invalid(Invalid::one(at, code, message)));
    let (owner, definition_id) = (definition.tenant.clone(), definition.id);
    let version = match (rule, definition.outline().number(rule)) {
        // The draft is its owner's; to anybody else there is none.
        (VersionRule::Draft, _) if owner == *tenant => {
            let draft = found.get(&DraftKey { tenant: owner, definition_id });
            draft.map(|draft| Arc::clone(&draft.version))
        }
        (_, Some(number)) => found.get(&VersionKey { tenant: owner, definition_id, number }),
        (_, None) => {
            return refused(ViolationCode::NoSuchVersion, format!("workflow definition {name} has no {rule} version"));
        }
    };
    let Some(version) = version else {
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
