//! Definitions, instances and what the operator declares.

use super::*;

impl ManageDefinitions for MemoryStore {
    async fn create_definition(&self, definition: &Definition, most: u32) -> StoreResult<DefinitionSaved> {
        self.act("create the definition", |tables| {
            let name = (definition.tenant.clone(), definition.name.clone());
            if let Some(holder) = tables.names.get(&name).filter(|holder| **holder != definition.id) {
                return Ok(DefinitionSaved::NameTaken(*holder));
            }
            // None is ever deleted.
            let others = tables.definitions.keys().filter(|(tenant, id)| *tenant == name.0 && *id != definition.id);
            let is_new = !tables.definitions.contains_key(&(definition.tenant.clone(), definition.id));
            if is_new && others.count() >= most as usize {
                return Ok(DefinitionSaved::TooMany);
            }
            tables.writes += 1;
            tables.names.insert(name, definition.id);
            tables.definitions.insert((definition.tenant.clone(), definition.id), definition.clone());
            Ok(DefinitionSaved::Done)
        })
        .await
    }

    async fn change_definition(&self, definition: &Definition, version: Option<&Version>) -> StoreResult<bool> {
        self.act("change the definition", |tables| {
            let key = (definition.tenant.clone(), definition.id);
            if tables.definitions.get(&key).is_none_or(|current| current.rev + 1 != definition.rev) {
                return Ok(false);
            }
            tables.writes += 1;
            tables.definitions.insert(key, definition.clone());
            if let Some(version) = version {
                tables.versions.insert((definition.tenant.clone(), definition.id, version.number), version.clone());
            }
            Ok(true)
        })
        .await
    }

    async fn save_draft(&self, tenant: &TenantId, draft: &Draft) -> StoreResult<bool> {
        let key = (tenant.clone(), draft.version.definition_id);
        self.declare("save the draft", draft, |tables| &mut tables.drafts, key).await
    }

    async fn delete_draft(&self, tenant: &TenantId, id: DefinitionId) -> StoreResult<()> {
        self.act("delete the draft", |tables| {
            tables.writes += 1;
            tables.drafts.remove(&(tenant.clone(), id));
            Ok(())
        })
        .await
    }

    async fn list_discoverable(&self, limit: u32, cursor: Option<&str>) -> StoreResult<Page<Definition>> {
        self.act("list discoverable definitions", |tables| {
            let all = tables.definitions.values().filter(|definition| definition.discoverable);
            page("discoverable", all.cloned().collect(), limit, cursor)
        })
        .await
    }

    async fn load_definition(&self, tenant: &TenantId, id: DefinitionId) -> StoreResult<Option<Definition>> {
        self.act("load the definition", |tables| Ok(tables.definitions.get(&(tenant.clone(), id)).cloned())).await
    }

    async fn list_definitions(
        &self,
        tenant: &TenantId,
        limit: u32,
        cursor: Option<&str>,
    ) -> StoreResult<Page<Definition>> {
        self.act("list definitions", |tables| {
            let mut mine: Vec<Definition> =
                tables.definitions.values().filter(|definition| definition.tenant == *tenant).cloned().collect();
            mine.sort_by_key(|definition| std::cmp::Reverse((definition.created_at, definition.id)));
            page(("definitions", tenant), mine, limit, cursor)
        })
        .await
    }

    async fn list_versions(
        &self,
        tenant: &TenantId,
        id: DefinitionId,
        limit: u32,
        cursor: Option<&str>,
    ) -> StoreResult<Page<Version>> {
        self.act("list versions", |tables| {
            let mut versions: Vec<Version> = tables
                .versions
                .iter()
                .filter(|((owner, definition, _), _)| owner == tenant && *definition == id)
                .map(|(_, version)| version.clone())
                .collect();
            versions.reverse();
            page(("versions", tenant, id), versions, limit, cursor)
        })
        .await
    }

    async fn list_instances(&self, tenant: &TenantId, limit: u32, cursor: Option<&str>) -> StoreResult<Page<Instance>> {
        self.act("list instances", |tables| {
            let mut mine: Vec<Instance> =
                tables.instances.values().filter(|instance| instance.tenant == *tenant).cloned().collect();
            mine.sort_by_key(|instance| std::cmp::Reverse((instance.created_at, instance.id)));
            page(("instances", tenant), mine, limit, cursor)
        })
        .await
    }
}

impl ManageOperator for MemoryStore {
    async fn save_processor(&self, processor: &Processor) -> StoreResult<bool> {
        self.declare("save the processor", processor, |tables| &mut tables.processors, processor.key.clone()).await
    }

    async fn save_compute_node(&self, node: &ComputeNode) -> StoreResult<bool> {
        self.declare("save the compute node", node, |tables| &mut tables.compute_nodes, node.key.clone()).await
    }

    async fn save_tenant(&self, settings: &TenantSettings) -> StoreResult<bool> {
        self.declare("save the tenant", settings, |tables| &mut tables.tenants, settings.tenant.clone()).await
    }

    async fn list_tenants(&self, limit: u32, cursor: Option<&str>) -> StoreResult<Page<TenantSettings>> {
        self.act("list tenants", |tables| page("tenants", tables.tenants.values().cloned().collect(), limit, cursor))
            .await
    }

    async fn list_processors(&self, limit: u32, cursor: Option<&str>) -> StoreResult<Page<Processor>> {
        self.act("list processors", |tables| {
            page("processors", tables.processors.values().cloned().collect(), limit, cursor)
        })
        .await
    }

    async fn list_compute_nodes(&self, limit: u32, cursor: Option<&str>) -> StoreResult<Page<ComputeNode>> {
        self.act("list compute nodes", |tables| {
            page("compute nodes", tables.compute_nodes.values().cloned().collect(), limit, cursor)
        })
        .await
    }
}

impl MemoryStore {
    /// Writes a thing over its last revision.
    async fn declare<K: Ord + Send, T: Revised + Clone + Send + Sync>(
        &self,
        operation: &'static str,
        thing: &T,
        table: impl FnOnce(&mut Tables) -> &mut BTreeMap<K, T> + Send,
        key: K,
    ) -> StoreResult<bool> {
        let expected = thing.rev().checked_sub(1);
        let expected = expected.ok_or_else(|| StoreError::new(operation, StoreErrorClass::Corrupt, "it has no rev"))?;
        let is_lax = self.laxity == Some(Laxity::DeclaredUnconditional);
        self.act(operation, |tables| {
            let things = table(tables);
            if !is_lax && things.get(&key).map_or(0, T::rev) != expected {
                return Ok(false);
            }
            things.insert(key, thing.clone());
            tables.writes += 1;
            Ok(true)
        })
        .await
    }
}

/// What has a revision.
trait Revised {
    fn rev(&self) -> u64;
}

impl Revised for Processor {
    fn rev(&self) -> u64 {
        self.rev
    }
}

impl Revised for ComputeNode {
    fn rev(&self) -> u64 {
        self.rev
    }
}

impl Revised for TenantSettings {
    fn rev(&self) -> u64 {
        self.rev
    }
}

impl Revised for Draft {
    fn rev(&self) -> u64 {
        self.rev
    }
}
