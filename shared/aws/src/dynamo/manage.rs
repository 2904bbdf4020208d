//! Definitions, versions and instances; processors and compute nodes.

use super::page::{Range, Walk};
use super::transact::{Transacted, Write};
use super::{Store, corrupt, failed, item, keys};
use item::{Item, ItemError, Key, n};
use sluice_core::definition::{Definition, Version};
use sluice_core::id::{DefinitionId, TenantId};
use sluice_core::instance::Instance;
use sluice_core::operator::{ComputeNode, Processor};
use sluice_core::ports::{
    CatalogItem, DefinitionSaved, ManageDefinitions, ManageOperator, Page, SaveInstance, StoreError, StoreErrorClass,
    StoreResult,
};

impl ManageDefinitions for Store {
    async fn create_definition(&self, definition: &Definition) -> StoreResult<DefinitionSaved> {
        const OPERATION: &str = "create a definition";
        const NAME: usize = 1;
        let head = item::from_definition(definition).map_err(|error| corrupt(OPERATION, error))?;
        let writes = vec![Write::put_new(head), Write::put_new(item::from_definition_name(definition))];
        match self.transact(OPERATION, writes).await? {
            Transacted::Written => Ok(DefinitionSaved::Done),
            Transacted::Refused(mut refusals) => match refusals.at(NAME) {
                Some(Some(holder)) => {
                    let holder = item::to_definition_name(&holder).map_err(|error| corrupt(OPERATION, error))?;
                    // Held by this definition: an earlier try was carried out and its answer lost.
                    Ok(if holder == definition.id { DefinitionSaved::Done } else { DefinitionSaved::NameTaken(holder) })
                }
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
        if let Some(version) = version {
            writes.push(Write::put_new(item::from_version(&definition.tenant, version).map_err(unwritable)?));
        }
        match self.transact(OPERATION, writes).await? {
            Transacted::Written => {
                self.cache.forget(&keys::definition(&definition.tenant, definition.id));
                Ok(true)
            }
            Transacted::Refused(refusals) if refusals.include(HEAD) => Ok(false),
            // A version of that number exists, although the definition has not counted it.
            Transacted::Refused(_) => {
                Err(StoreError { operation: OPERATION, class: StoreErrorClass::Corrupt, source: None })
            }
        }
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
        let walk = Walk {
            operation: "list versions",
            index: None,
            partition: (keys::PK, pk),
            sort: keys::SK,
            range: Range::Prefix(keys::VERSIONS),
            filter: None,
            only: &[],
            ascending: false,
        };
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

impl SaveInstance for Store {
    async fn save_instance(&self, instance: &Instance) -> StoreResult<()> {
        const OPERATION: &str = "save an instance";
        let put = self
            .client
            .put_item()
            .table_name(&*self.table)
            .set_item(Some(item::from_instance(instance).map_err(|error| corrupt(OPERATION, error))?))
            .condition_expression("attribute_not_exists(pk)");
        match put.send().await {
            Ok(_) => {
                self.cache
                    .remember(keys::instance(&instance.tenant, instance.id), CatalogItem::Instance(instance.clone()));
                Ok(())
            }
            // Its id comes from its content, so what is there is the same.
            Err(error)
                if error.as_service_error().is_some_and(|answer| answer.is_conditional_check_failed_exception()) =>
            {
                Ok(())
            }
            Err(error) => Err(failed(OPERATION, &error)),
        }
    }
}

impl ManageOperator for Store {
    async fn save_processor(&self, processor: &Processor) -> StoreResult<()> {
        self.declare("save a processor", item::from_processor(processor), &keys::processor(&processor.key)).await
    }

    async fn save_compute_node(&self, node: &ComputeNode) -> StoreResult<()> {
        self.declare("save a compute node", item::from_compute_node(node), &keys::compute_node(&node.key)).await
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
}

impl Store {
    /// The operator's last word stands, so there is no condition.
    async fn declare(&self, operation: &'static str, item: Result<Item, ItemError>, key: &Key) -> StoreResult<()> {
        let item = item.map_err(|error| corrupt(operation, error))?;
        let put = self.client.put_item().table_name(&*self.table).set_item(Some(item));
        put.send().await.map_err(|error| failed(operation, &error))?;
        self.cache.forget(key);
        Ok(())
    }
}

fn listing(operation: &'static str, partition: String, ascending: bool) -> Walk {
    Walk {
        operation,
        index: Some(keys::BY_TENANT),
        partition: (keys::TENANT_KEY, partition),
        sort: keys::TIME_KEY,
        range: Range::All,
        filter: None,
        only: &[],
        ascending,
    }
}
