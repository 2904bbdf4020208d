//! Deleting runs.
//!
//! **Invariant:** the ledger goes first, while nothing is held on it; the head goes last, so that a deletion that broke off is
//! found, and done again, as long as anything of the run is left.

use super::governor::ledger_of;
use super::page::{Range, Walk};
use super::transact::{Transacted, Write};
use super::{Store, corrupt, item, keys};
use jiff::Timestamp;
use keys::Key;
use sluice_core::id::{RunId, TenantId};
use sluice_core::ports::{PurgeRuns, StoreError, StoreErrorClass, StoreResult};

/// Keys that are found, and deleted, at a time.
const PAGE: i32 = 500;

impl PurgeRuns for Store {
    async fn owed_until(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<Option<Timestamp>> {
        const OPERATION: &str = "look for owed deliveries";
        let walk = Walk::under(OPERATION, keys::run_pk(tenant, run_id), keys::DELIVERIES);
        let ledger = keys::ledger(tenant, run_id);
        let (deliveries, ledger) = tokio::join!(self.all(&walk), self.get(OPERATION, ledger));
        let ledger = ledger_of(OPERATION, ledger?)?;
        let mut until = ledger.and_then(|ledger| ledger.held_until());
        for delivery in deliveries? {
            let delivery = item::to_delivery(delivery).map_err(|error| corrupt(OPERATION, error))?;
            if !delivery.status.has_ended() {
                until = until.max(Some(delivery.next_attempt_at.unwrap_or(delivery.created_at)));
            }
        }
        Ok(until)
    }

    async fn purge_run(&self, tenant: &TenantId, run_id: RunId) -> StoreResult<()> {
        const OPERATION: &str = "delete a run";
        let head = keys::run_head(tenant, run_id);
        let run = self.get(OPERATION, head.clone()).await?.map(item::to_run).transpose();
        let run = run.map_err(|error| corrupt(OPERATION, error))?;
        // They lie with the runs that this one came from.
        let links = run.iter().flat_map(|run| item::links(run).map(|(link, original)| keys::link(link, original, run)));
        self.delete_all(OPERATION, links.collect()).await?;
        // From here on nothing is held any more, so that no call and no report is recorded after what follows.
        let ledger = Write::delete(keys::ledger(tenant, run_id))
            .only_if("attribute_not_exists(#holds) OR size(#holds) = :none")
            .naming("#holds", item::HOLDS)
            .with(":none", item::n(0));
        if let Transacted::Refused(_) = self.transact(OPERATION, vec![ledger]).await? {
            return Err(StoreError::new(OPERATION, StoreErrorClass::Conflict, "something is held on its ledger"));
        }
        let everything = Walk {
            range: Range::All,
            only: &[keys::PK, keys::SK],
            ..Walk::under(OPERATION, keys::run_pk(tenant, run_id), "")
        };
        let mut start = None;
        loop {
            let (found, last) = self.query(&everything, Some(PAGE), start).await?;
            let found = found.iter().filter_map(Key::of).filter(|key| *key != head).collect();
            self.delete_all(OPERATION, found).await?;
            start = last;
            if start.is_none() {
                break;
            }
        }
        self.delete(OPERATION, head).await
    }
}
