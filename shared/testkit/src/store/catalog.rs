//! What a run is made from.

use super::*;

impl ReadCatalog for MemoryStore {
    async fn catalog(&self, tenant: &TenantId, keys: &[CatalogKey]) -> StoreResult<Vec<Option<CatalogItem>>> {
        self.act("read the catalog", |tables| {
            let find = |key: &CatalogKey| match key {
                CatalogKey::DefinitionName(name) => {
                    tables.names.get(&(tenant.clone(), name.clone())).copied().map(CatalogItem::DefinitionName)
                }
                CatalogKey::Definition(id) => {
                    tables.definitions.get(&(tenant.clone(), *id)).cloned().map(CatalogItem::Definition)
                }
                CatalogKey::Version(id, number) => {
                    tables.versions.get(&(tenant.clone(), *id, *number)).cloned().map(CatalogItem::Version)
                }
                CatalogKey::Instance(id) => {
                    tables.instances.get(&(tenant.clone(), *id)).cloned().map(CatalogItem::Instance)
                }
                CatalogKey::Draft(id) => tables.drafts.get(&(tenant.clone(), *id)).cloned().map(CatalogItem::Version),
                CatalogKey::Discoverable(id) => tables
                    .definitions
                    .values()
                    .find(|definition| definition.id == *id && definition.discoverable)
                    .map(|definition| CatalogItem::Discoverable(definition.tenant.clone())),
                CatalogKey::Tenant => {
                    let settings = tables.tenants.get(tenant).cloned();
                    Some(CatalogItem::Tenant(settings.unwrap_or_else(|| TenantSettings::open(tenant.clone()))))
                }
                CatalogKey::ComputeNode(key) => tables.compute_nodes.get(key).cloned().map(CatalogItem::ComputeNode),
                CatalogKey::Processor(key) => tables.processors.get(key).cloned().map(CatalogItem::Processor),
            };
            Ok(keys.iter().map(find).collect())
        })
        .await
    }
}

impl SaveInstance for MemoryStore {
    async fn save_instance(&self, instance: &Instance) -> StoreResult<()> {
        self.act("save the instance", |tables| {
            let key = (instance.tenant.clone(), instance.id);
            if !tables.instances.contains_key(&key) {
                tables.writes += 1;
                tables.instances.insert(key, instance.clone());
            }
            Ok(())
        })
        .await
    }
}
