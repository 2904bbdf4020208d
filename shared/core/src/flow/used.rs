//! Put together what a run has used, from what was reported and from the records of governed calls.

use crate::governor::ledger::Ledger;
use crate::id::{RunId, TenantId};
use crate::ports::{LoadRun, StoreResult};
use crate::spending::Used;
use crate::usage::UsageLedger;

/// What the run has used. The records are read only where there are any: `governed` was read before, and says so.
pub(super) async fn used<S: LoadRun>(
    store: &S,
    tenant: &TenantId,
    run_id: RunId,
    reported: UsageLedger,
    governed: Option<Ledger>,
) -> StoreResult<Used> {
    let calls = match &governed {
        Some(ledger) if ledger.counts.calls > 0 => store.governed_calls(tenant, run_id).await?,
        Some(_) | None => Vec::new(),
    };
    Ok(Used::new(reported, governed, &calls))
}
