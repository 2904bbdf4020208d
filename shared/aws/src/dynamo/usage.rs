//! Recording LLM calls: each once, with the ledger and the stop that its total asks for.

use super::change::ChangeWrites;
use super::transact::{Transacted, Write};
use super::{Store, corrupt, item, keys};
use item::n;
use keys::Key;
use sluice_core::change::UsageChange;
use sluice_core::id::{NodeId, RunId, TenantId};
use sluice_core::ports::{Changed, RecordUsage, StoreError, StoreErrorClass, StoreResult};
use std::collections::{BTreeMap, BTreeSet};

impl RecordUsage for Store {
    async fn known_calls(
        &self,
        tenant: &TenantId,
        run_id: RunId,
        call_ids: &BTreeSet<String>,
        node_ids: &BTreeSet<NodeId>,
    ) -> StoreResult<(BTreeSet<String>, BTreeSet<NodeId>)> {
        let record = |id: &String| Some(keys::call_record(tenant, run_id, id.parse().ok()?));
        let places = |id: &String| [Some(keys::usage_call(tenant, run_id, id)), record(id)].into_iter().flatten();
        let calls: BTreeMap<Key, &String> =
            call_ids.iter().flat_map(|id| places(id).map(move |key| (key, id))).collect();
        let nodes: BTreeMap<Key, &NodeId> = node_ids.iter().map(|id| (keys::step(tenant, run_id, id), id)).collect();
        let wanted: Vec<Key> = calls.keys().chain(nodes.keys()).cloned().collect();
        // Their keys say all there is to know: a step's result may be large.
        let found = self.get_all("find known calls", &wanted, &[keys::PK, keys::SK]).await?;
        let found: Vec<Key> = found.iter().filter_map(Key::of).collect();
        let known = found.iter().filter_map(|key| calls.get(key).copied().cloned()).collect();
        let begun = found.iter().filter_map(|key| nodes.get(key).copied().cloned()).collect();
        Ok((known, begun))
    }

    async fn record_usage(&self, change: &UsageChange) -> StoreResult<bool> {
        const OPERATION: &str = "record usage";
        let unwritable = |error| corrupt(OPERATION, error);
        let UsageChange { tenant_id, run_id, calls, ledger, stop } = change;
        let expected =
            ledger.rev.checked_sub(1).ok_or_else(|| corrupt(OPERATION, "a changed ledger has rev 1 or more"))?;
        let ledger = item::from_ledger(tenant_id, *run_id, ledger).map_err(unwritable)?;
        let ledger = match expected {
            0 => Write::put_new(ledger),
            expected => Write::put(ledger).only_if("rev = :expected").with(":expected", n(expected)),
        };
        let mut writes = vec![ledger];
        if stop.is_none() {
            // A run that is being deleted gets nothing new: nobody would find it to delete it. A stop looks at the head
            // anyway.
            writes.push(Write::if_kept(tenant_id, *run_id));
        }
        for call in calls {
            writes.push(Write::put_new(item::from_usage(tenant_id, *run_id, call).map_err(unwritable)?));
        }
        let usage_ends_at = writes.len();
        let stop = stop.as_ref().map(|stop| ChangeWrites::of(&mut writes, stop)).transpose().map_err(unwritable)?;
        let mut refusals = match self.transact(OPERATION, writes).await? {
            Transacted::Written => return Ok(true),
            Transacted::Refused(refusals) => refusals,
        };
        if (0..usage_ends_at).any(|at| refusals.include(at)) {
            return Ok(false);
        }
        match stop.map(|stop| stop.refused(&mut refusals)).transpose().map_err(unwritable)?.flatten() {
            Some(Changed::Stale(_)) => Ok(false),
            // A stop takes no slot; or its run was as expected, and yet a delivery of that number exists already.
            Some(Changed::Done | Changed::Full(_)) | None => {
                Err(StoreError { operation: OPERATION, class: StoreErrorClass::Corrupt, source: None })
            }
        }
    }
}
