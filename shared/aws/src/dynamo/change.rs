//! Loading and changing a run.

use super::transact::{Transacted, Write};
use super::{Store, corrupt, item, keys};
use item::n;
use sluice_core::id::{RunId, TenantId};
use sluice_core::ports::{ChangeRun, Changed, LoadRun, StoreError, StoreErrorClass, StoreResult};
use sluice_core::run::{Run, RunChange};
use sluice_core::snapshot::Snapshot;

impl LoadRun for Store {
    async fn load_run(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Option<Run>> {
        const OPERATION: &str = "load a run";
        let found = self.get(OPERATION, keys::run_head(tenant, run_id)).await?;
        found
            .map(item::to_run)
            .transpose()
            .map_err(|error| corrupt(OPERATION, error))
    }

    async fn load_snapshot(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Option<Snapshot>> {
        const OPERATION: &str = "load a run's snapshot";
        let found = self.get(OPERATION, keys::snapshot(tenant, run_id)).await?;
        found
            .as_ref()
            .map(item::to_snapshot)
            .transpose()
            .map_err(|error| corrupt(OPERATION, error))
    }
}

impl ChangeRun for Store {
    async fn change_run(&self, change: &RunChange) -> StoreResult<Changed> {
        const OPERATION: &str = "change a run";
        const HEAD: usize = 0;
        let corrupt = |error| corrupt(OPERATION, error);
        let run = &change.run;
        // An update and not a put: the runner keeps attributes of its own on the head, such as `executionArn`.
        let key = keys::run_head(&run.tenant_id, run.run_id);
        let mut set = item::from_run(run).map_err(corrupt)?;
        set.retain(|name, _| name != keys::PK && name != keys::SK);
        let head = Write::update(key, set, item::RUN_OPTIONAL)
            .only_if("rev = :expected")
            .with(":expected", n(change.expected_rev));
        let mut writes = vec![head];
        if let Some(output) = &change.output {
            writes.push(Write::put(item::from_output(run, output)));
        }
        for delivery in &change.deliveries {
            writes.push(Write::put_new(item::from_delivery(delivery).map_err(corrupt)?));
            writes.push(Write::put_new(item::from_delivery_body(delivery)));
        }
        match self.transact(OPERATION, None, writes).await? {
            Transacted::Written => Ok(Changed::Done),
            Transacted::Refused(mut refusals) => match refusals.at(HEAD) {
                Some(current) => {
                    let current = current.map(item::to_run).transpose().map_err(corrupt)?;
                    Ok(Changed::Stale(current.map(Box::new)))
                }
                // The head was as expected, but a delivery of that number exists already.
                None => Err(StoreError {
                    operation: OPERATION,
                    class: StoreErrorClass::Corrupt,
                    source: None,
                }),
            },
        }
    }
}
