//! Records of governed calls, what is drawn on quotas, and the keys of processors.

use super::form::{Item, ItemError, ItemResult, V, check, n, number, read, s, text, write};
use crate::dynamo::keys;
use jiff::SignedDuration;
use sluice_core::budget::NanoUsd;
use sluice_core::governor::access::ProcessorKeys;
use sluice_core::governor::quota::PeriodKey;
use sluice_core::governor::record::CallRecord;
use sluice_core::id::{ProcessorKey, RunId, TenantId};

pub(super) const CALL_RECORD: &str = "call-record";
const QUOTA: &str = "quota";
const PROCESSOR_KEYS: &str = "processor-keys";

pub fn from_call_record(tenant: &TenantId, run_id: RunId, record: &CallRecord) -> ItemResult<Item> {
    write(CALL_RECORD, record, keys::call_record(tenant, run_id, record.call_id))
}

pub fn to_call_record(item: Item) -> ItemResult<CallRecord> {
    read(CALL_RECORD, item)
}

pub(super) fn is_call_record(item: &Item) -> bool {
    text(item, "kind") == Some(CALL_RECORD)
}

/// How long a quota is kept after the beginning of its period: for reports on the year.
const KEPT: SignedDuration = SignedDuration::from_hours(400 * 24);

/// What every write to a quota sets beside the amount, under placeholders.
pub fn quota_stamp(period: &PeriodKey) -> Item {
    let forgotten = period.begins_at().and_then(|at| at.checked_add(KEPT).ok()).map_or(i64::MAX, |at| at.as_second());
    Item::from([(":kind".into(), s(QUOTA)), (":v".into(), n(V)), (":ttl".into(), n(forgotten))])
}

pub fn to_drawn(item: &Item) -> ItemResult<NanoUsd> {
    check(QUOTA, item)?;
    number(QUOTA, item, super::ledger::DRAWN).map(NanoUsd)
}

pub fn from_processor_keys(processor: &ProcessorKey, alive: &ProcessorKeys) -> ItemResult<Item> {
    write(PROCESSOR_KEYS, alive, keys::processor_keys(processor))
}

pub fn to_processor_keys(item: Item) -> Result<ProcessorKeys, ItemError> {
    read(PROCESSOR_KEYS, item)
}
