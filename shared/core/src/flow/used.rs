//! Put together what a run has used, from its ledger and from the records of its calls.

use crate::governor::ledger::Ledger;
use crate::governor::ledger::change::Earlier;
use crate::id::{RunId, TenantId};
use crate::ports::{LoadRun, StoreResult};
use crate::spending::Used;

/// What the run has used. The records are read only where there are any: the ledger was read before, and says so.
pub(super) async fn used<S: LoadRun>(
    store: &S,
    tenant: &TenantId,
    run_id: RunId,
    earlier: Option<Earlier>,
    ledger: Option<Ledger>,
) -> StoreResult<Used> {
    let counted = ledger.as_ref().map_or(0, |ledger| ledger.counts.calls);
    let calls = match counted > 0 || earlier.is_some() {
        true => store.recorded_calls(tenant, run_id).await?,
        false => Vec::new(),
    };
    Ok(Used::new(earlier, ledger, &calls))
}
