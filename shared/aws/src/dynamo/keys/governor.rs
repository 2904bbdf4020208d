//! Keys of what the governor keeps.

use super::{Key, run_pk, shard};
use jiff::Timestamp;
use sluice_core::governor::call_id::CallId;
use sluice_core::governor::quota::{PeriodKey, QuotaOwner};
use sluice_core::id::{ProcessorKey, RunId, TenantId};
use sluice_core::time::rfc3339_millis;

/// Holds and costs of the run's governed calls.
pub fn ledger(tenant: &TenantId, run_id: RunId) -> Key {
    Key::new(run_pk(tenant, run_id), "LEDGER")
}

/// What the keys of records start with. They lie after the calls that were reported, and are listed with them.
pub const CALL_RECORDS: &str = "USAGE#~";

/// The record of a governed call.
pub fn call_record(tenant: &TenantId, run_id: RunId, call_id: CallId) -> Key {
    Key::new(run_pk(tenant, run_id), format!("{CALL_RECORDS}{call_id}"))
}

/// What is drawn on a quota in one of its periods.
pub fn quota(owner: &QuotaOwner, period: &PeriodKey) -> Key {
    let pk = match owner {
        QuotaOwner::Tenant(tenant) => format!("T#{tenant}#QUOTA"),
        QuotaOwner::TenantUser(tenant, user) => format!("T#{tenant}#QUOTA#USER#{user}"),
        QuotaOwner::ComputeNode(node) => format!("OP#NODE#{node}#QUOTA"),
        QuotaOwner::ComputeNodeUser(node, tenant, user) => format!("T#{tenant}#QUOTA#NODE#{node}#USER#{user}"),
    };
    Key::new(pk, period.to_string())
}

/// The keys of a processor that are alive.
pub fn processor_keys(processor: &ProcessorKey) -> Key {
    Key::new(format!("OP#PROCESSOR#{processor}"), "KEYS")
}

/// In the index of queues, which holds nothing but keys, so that a hold is not written to an index: ledgers that somebody has to
/// look at, by the time of that.
pub fn ledger_shard(of: u8) -> String {
    format!("LEDGERS#{of:02}")
}

/// The shard of a run's ledger.
pub fn shard_of_ledger(run_id: RunId) -> String {
    ledger_shard(shard(run_id))
}

/// The run whose items have this partition key.
pub fn run_of_pk(pk: &str) -> Option<(TenantId, RunId)> {
    let (tenant, run_id) = pk.strip_prefix("T#")?.split_once("#RUN#")?;
    Some((tenant.parse().ok()?, run_id.parse().ok()?))
}

/// The time in a [`time_key`](super::time_key).
pub fn time_in_key(text: &str) -> Option<Timestamp> {
    let (at, _) = text.split_once('#')?;
    at.parse().ok().filter(|parsed| rfc3339_millis(*parsed) == at)
}
