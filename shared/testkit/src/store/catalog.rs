//! What a run is made from.

use super::*;

impl ReadCatalog for MemoryStore {
    async fn read_catalog(&self, wanted: &Wanted) -> StoreResult<Found> {
        self.act("read the catalog", |tables| {
            let mut found = Found::default();
            found.put_all(&wanted.names, |key| tables.names.get(&(key.tenant.clone(), key.name.clone())).copied());
            found.put_all(&wanted.definitions, |key| tables.definitions.get(&(key.tenant.clone(), key.id)).cloned());
            found.put_all(&wanted.versions, |key| {
                tables.versions.get(&(key.tenant.clone(), key.definition_id, key.number)).cloned()
            });
            found.put_all(&wanted.drafts, |key| tables.drafts.get(&(key.tenant.clone(), key.definition_id)).cloned());
            found.put_all(&wanted.owners, |OwnerKey(id)| {
                let mut shared = tables.definitions.values().filter(|definition| definition.discoverable);
                shared.find(|definition| definition.id == *id).map(|definition| definition.tenant.clone())
            });
            found.put_all(&wanted.instances, |key| tables.instances.get(&(key.tenant.clone(), key.id)).cloned());
            found.put_all(&wanted.compute_nodes, |key| tables.compute_nodes.get(key).cloned());
            found.put_all(&wanted.processors, |key| tables.processors.get(key).cloned());
            found.put_all(&wanted.tenants, |SettingsKey(tenant)| tables.tenants.get(tenant).cloned());
            Ok(found)
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
