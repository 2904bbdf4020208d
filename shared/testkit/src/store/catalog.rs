//! What a run is made from.

use super::*;

impl ReadCatalog for MemoryStore {
    async fn read_afresh(&self, wanted: &Wanted) -> StoreResult<Found> {
        self.act("read the catalog", |tables| {
            Ok(match self.laxity {
                Some(Laxity::CatalogRemembered) => self.answer_from_memory(tables, wanted),
                Some(_) | None => tables.find(wanted, self.laxity),
            })
        })
        .await
    }

    fn memory(&self) -> &Memory {
        &self.process.memory
    }
}

impl MemoryStore {
    /// Another process: the same table, nothing remembered.
    pub fn another_process(&self) -> Self {
        Self { process: Arc::default(), ..self.clone() }
    }

    /// What this process was answered first stands, as in a cache: also that there was nothing.
    fn answer_from_memory(&self, tables: &Tables, wanted: &Wanted) -> Found {
        let mut answers = lock(&self.process.answers);
        let (asked, found) = &mut *answers;
        let new = wanted.clone().without(asked);
        found.extend(tables.find(&new, self.laxity));
        asked.extend(new);
        found.clone().only(wanted)
    }
}

impl Tables {
    fn find(&self, wanted: &Wanted, laxity: Option<Laxity>) -> Found {
        let mut found = Found::default();
        found.put_all(&wanted.names, |key| {
            let id = *self.names.get(&(key.tenant.clone(), key.name.clone()))?;
            let definition = self.definitions.get(&(key.tenant.clone(), id))?;
            Some(Named { id, outline: definition.outline() })
        });
        found.put_all(&wanted.definitions, |key| self.definitions.get(&(key.tenant.clone(), key.id)).cloned());
        found.put_all(&wanted.versions, |key| {
            let version = self.versions.get(&(key.tenant.clone(), key.definition_id, key.number));
            version.cloned().map(Into::into)
        });
        found.put_all(&wanted.drafts, |key| self.drafts.get(&(key.tenant.clone(), key.definition_id)).cloned());
        found.put_all(&wanted.owners, |OwnerKey(id)| {
            let mut shared = self.definitions.values().filter(|definition| definition.discoverable);
            let definition = shared.find(|definition| definition.id == *id)?;
            Some(Shared { owner: definition.tenant.clone(), outline: definition.outline() })
        });
        found.put_all(&wanted.instances, |key| self.instances.get(&(key.tenant.clone(), key.id)).cloned());
        found.put_all(&wanted.compute_nodes, |key| self.compute_nodes.get(key).cloned());
        found.put_all(&wanted.processors, |key| self.processors.get(key).cloned());
        found.put_all(&wanted.models, |key| self.models.get(key).cloned());
        found.put_all(&wanted.tenants, |SettingsKey(tenant)| self.tenants.get(tenant).cloned());
        found.put_all(&wanted.meters, |key| self.meters.get(key).copied().map(Reading));
        found
            .put_all(&wanted.quotas, |key| self.governed.quotas.get(&(key.owner.clone(), key.period.clone())).copied());
        found.put_all(&wanted.open_runs, |OpenRunsKey(tenant)| self.open_runs.get(tenant).copied());
        let looks_at_keys =
            !matches!(laxity, Some(Laxity::KeyUnconditional | Laxity::KeyFreedAtEnd | Laxity::PayloadNotCompared));
        found.put_all(wanted.claims.iter().filter(|_| looks_at_keys), |claim| {
            self.idempotency.get(&(claim.tenant.clone(), claim.operation, claim.key.to_string())).cloned()
        });
        found
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
