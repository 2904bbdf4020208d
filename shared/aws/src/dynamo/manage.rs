//! Definitions, versions, drafts and instances; processors, compute nodes and tenants' settings.

use super::page::{Range, Walk};
use super::transact::{Transacted, Write};
use super::{Store, corrupt, item, keys};
use item::n;
use keys::Key;
use sluice_core::catalog::Draft;
use sluice_core::definition::{Definition, Version};
use sluice_core::id::{DefinitionId, TenantId};
use sluice_core::instance::Instance;
use sluice_core::operator::{ComputeNode, Processor, TenantSettings};
use sluice_core::ports::{
    DefinitionSaved, ManageDefinitions, ManageOperator, Page, SHARDS, SaveInstance, StoreError, StoreErrorClass,
    StoreResult,
};

impl ManageDefinitions for Store {
    async fn create_definition(&self, definition: &Definition, most: u32) -> StoreResult<DefinitionSaved> {
        const OPERATION: &str = "create a definition";
        const NAME: usize = 1;
        let head = item::from_definition(definition).map_err(|error| corrupt(OPERATION, error))?;
        let unwritable = |error| corrupt(OPERATION, error);
        let name = item::from_definition_name(definition).map_err(unwritable)?;
        let mut writes = vec![Write::put_new(head), Write::put_new(name)];
        if definition.discoverable {
            writes.push(Write::put(item::from_discoverable(definition).map_err(unwritable)?));
        }
        let count = writes.len();
        let (expression, values) = item::count_definition(&definition.tenant);
        let counted = Write::apply(keys::definition_count(&definition.tenant), expression).with_all(values);
        writes.push(counted.only_if("attribute_not_exists(made) OR made < :most").with(":most", n(most)));
        match self.transact(OPERATION, writes).await? {
            Transacted::Written => Ok(DefinitionSaved::Done),
            Transacted::Refused(mut refusals) => match refusals.at(NAME) {
                Some(Some(holder)) => {
                    let holder = item::to_definition_name(&holder).map_err(unwritable)?.id;
                    // Held by this definition: an earlier try was carried out and its answer lost.
                    Ok(if holder == definition.id { DefinitionSaved::Done } else { DefinitionSaved::NameTaken(holder) })
                }
                None if refusals.include(count) => Ok(DefinitionSaved::TooMany),
                Some(None) | None => {
                    Err(StoreError { operation: OPERATION, class: StoreErrorClass::Conflict, source: None })
                }
            },
        }
    }

    async fn change_definition(&self, definition: &Definition, version: Option<&Version>) -> StoreResult<bool> {
        const OPERATION: &str = "change a definition";
        const HEAD: usize = 0;
        let unwritable = |error| corrupt(OPERATION, error);
        let expected = definition
            .rev
            .checked_sub(1)
            .ok_or_else(|| corrupt(OPERATION, "a changed definition has rev 1 or more"))?;
        let mut writes = vec![
            Write::put(item::from_definition(definition).map_err(unwritable)?)
                .only_if("rev = :expected")
                .with(":expected", n(expected)),
        ];
        // Both are written with every change: whether it was discoverable before, nobody has to know, and what they tell of
        // its versions is always the definition's own. A definition keeps its name.
        writes.push(Write::put(item::from_definition_name(definition).map_err(unwritable)?));
        writes.push(if definition.discoverable {
            Write::put(item::from_discoverable(definition).map_err(unwritable)?)
        } else {
            Write::delete(keys::discoverable(definition.id))
        });
        if let Some(version) = version {
            writes.push(Write::put_new(item::from_version(&definition.tenant, version).map_err(unwritable)?));
        }
        match self.transact(OPERATION, writes).await? {
            Transacted::Written => Ok(true),
            Transacted::Refused(refusals) if refusals.include(HEAD) => Ok(false),
            // A version of that number exists, although the definition has not counted it.
            Transacted::Refused(_) => {
                Err(StoreError { operation: OPERATION, class: StoreErrorClass::Corrupt, source: None })
            }
        }
    }

    async fn save_draft(&self, tenant: &TenantId, draft: &Draft) -> StoreResult<bool> {
        self.put_over("save a draft", item::from_draft(tenant, draft), draft.rev).await
    }

    async fn delete_draft(&self, tenant: &TenantId, id: DefinitionId) -> StoreResult<()> {
        self.delete("delete a draft", keys::draft(tenant, id)).await
    }

    async fn list_discoverable(&self, limit: u32, cursor: Option<&str>) -> StoreResult<Page<Definition>> {
        const OPERATION: &str = "list discoverable definitions";
        let most = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
        let mut place = match cursor {
            None => DiscoverPlace { shard: 0, after: None },
            Some(cursor) => {
                DiscoverPlace::read(cursor).ok_or_else(|| corrupt(OPERATION, "the cursor belongs to another list"))?
            }
        };
        let mut items = Vec::new();
        while place.shard < SHARDS && items.len() < most {
            let shard = (keys::DISCOVER_SHARD, keys::discover_shard(place.shard));
            let range = place.after.take().map_or(Range::All, Range::After);
            let walk = Walk { range, ..Walk::of_index(OPERATION, keys::DISCOVER, shard, keys::TIME_KEY) };
            let wanted = i32::try_from(most - items.len()).unwrap_or(i32::MAX);
            let (found, last) = self.query(&walk, Some(wanted), None).await?;
            for found in found {
                items.push(item::to_definition(found).map_err(|error| corrupt(OPERATION, error))?);
            }
            place = match last.as_ref().and_then(|last| item::text(last, keys::TIME_KEY)) {
                Some(after) => DiscoverPlace { after: Some(after.to_owned()), ..place },
                None => DiscoverPlace { shard: place.shard + 1, after: None },
            };
        }
        Ok(Page { items, next: (place.shard < SHARDS).then(|| place.to_string()) })
    }

    async fn load_definition(&self, tenant: &TenantId, id: DefinitionId) -> StoreResult<Option<Definition>> {
        const OPERATION: &str = "load a definition";
        let found = self.get(OPERATION, keys::definition(tenant, id)).await?;
        found.map(item::to_definition).transpose().map_err(|error| corrupt(OPERATION, error))
    }

    async fn list_definitions(
        &self,
        tenant: &TenantId,
        limit: u32,
        cursor: Option<&str>,
    ) -> StoreResult<Page<Definition>> {
        let walk = listing("list definitions", keys::definitions_of_tenant(tenant), false);
        let key = |position: &str| Some(keys::definition(tenant, keys::id_in_time_key(position)?));
        self.page(&walk, limit, cursor, key, item::to_definition).await
    }

    async fn list_versions(
        &self,
        tenant: &TenantId,
        id: DefinitionId,
        limit: u32,
        cursor: Option<&str>,
    ) -> StoreResult<Page<Version>> {
        let Key { pk, .. } = keys::definition(tenant, id);
        let walk = Walk { ascending: false, ..Walk::under("list versions", pk, keys::VERSIONS) };
        let key =
            |position: &str| Some(keys::version(tenant, id, position.strip_prefix(keys::VERSIONS)?.parse().ok()?));
        self.page(&walk, limit, cursor, key, item::to_version).await
    }

    async fn list_instances(&self, tenant: &TenantId, limit: u32, cursor: Option<&str>) -> StoreResult<Page<Instance>> {
        let walk = listing("list instances", keys::instances_of_tenant(tenant), false);
        let key = |position: &str| Some(keys::instance(tenant, keys::id_in_time_key(position)?));
        self.page(&walk, limit, cursor, key, item::to_instance).await
    }
}

/// Where a list of discoverable definitions goes on: its shards are walked one after the other. The place after a
/// definition is a bound and not a key to start from, because that would have to name the definition's tenant.
#[derive(Debug, PartialEq, Eq)]
struct DiscoverPlace {
    shard: u8,
    after: Option<String>,
}

impl DiscoverPlace {
    const PREFIX: &str = "discover.";

    fn read(cursor: &str) -> Option<Self> {
        let (shard, after) = cursor.strip_prefix(Self::PREFIX)?.split_once('.')?;
        let shard = shard.parse().ok().filter(|parsed| *parsed < SHARDS && shard == format!("{parsed:02}"))?;
        if after.is_empty() {
            return Some(Self { shard, after: None });
        }
        let _must_be_one: DefinitionId = keys::id_in_time_key(after)?;
        Some(Self { shard, after: Some(after.to_owned()) })
    }
}

impl std::fmt::Display for DiscoverPlace {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let after = self.after.as_deref().unwrap_or_default();
        write!(formatter, "{}{:02}.{after}", Self::PREFIX, self.shard)
    }
}

impl SaveInstance for Store {
    async fn save_instance(&self, instance: &Instance) -> StoreResult<()> {
        // Its id comes from its content, so what is there already is the same.
        self.put_new("save an instance", item::from_instance(instance)).await.map(|_whether_it_was_new| ())
    }
}

impl ManageOperator for Store {
    async fn save_processor(&self, processor: &Processor) -> StoreResult<bool> {
        self.put_over("save a processor", item::from_processor(processor), processor.rev).await
    }

    async fn save_compute_node(&self, node: &ComputeNode) -> StoreResult<bool> {
        self.put_over("save a compute node", item::from_compute_node(node), node.rev).await
    }

    async fn save_tenant(&self, settings: &TenantSettings) -> StoreResult<bool> {
        self.put_over("save a tenant's settings", item::from_tenant(settings), settings.rev).await
    }

    async fn list_processors(&self, limit: u32, cursor: Option<&str>) -> StoreResult<Page<Processor>> {
        let walk = listing("list processors", keys::processors(), true);
        let key = |position: &str| position.parse().ok().map(|key| keys::processor(&key));
        self.page(&walk, limit, cursor, key, item::to_processor).await
    }

    async fn list_compute_nodes(&self, limit: u32, cursor: Option<&str>) -> StoreResult<Page<ComputeNode>> {
        let walk = listing("list compute nodes", keys::compute_nodes(), true);
        let key = |position: &str| position.parse().ok().map(|key| keys::compute_node(&key));
        self.page(&walk, limit, cursor, key, item::to_compute_node).await
    }

    async fn list_tenants(&self, limit: u32, cursor: Option<&str>) -> StoreResult<Page<TenantSettings>> {
        let walk = listing("list tenants", keys::tenants(), true);
        let key = |position: &str| position.parse().ok().map(|tenant| keys::tenant(&tenant));
        self.page(&walk, limit, cursor, key, item::to_tenant).await
    }
}

/// Walks a list of the index by tenants.
pub(super) fn listing(operation: &'static str, partition: String, ascending: bool) -> Walk {
    let partition = (keys::TENANT_KEY, partition);
    Walk { ascending, ..Walk::of_index(operation, keys::BY_TENANT, partition, keys::TIME_KEY) }
}
