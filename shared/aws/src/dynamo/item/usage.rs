//! LLM calls of a run, and what they come to.

use super::form::{DOCUMENT, Item, ItemError, ItemResult, document, n, read, set, stamped, write};
use super::governed::{is_call_record, to_call_record};
use crate::dynamo::keys;
use sluice_core::id::{RunId, TenantId};
use sluice_core::usage::{LlmCall, UsageLedger};

const USAGE_CALL: &str = "usage-call";
const USAGE: &str = "usage";

pub fn from_usage(tenant: &TenantId, run_id: RunId, call: &LlmCall) -> ItemResult<Item> {
    write(USAGE_CALL, call, keys::usage_call(tenant, run_id, &call.call_id))
}

/// A call that was reported, or one that was governed.
pub fn to_usage(item: Item) -> ItemResult<LlmCall> {
    if is_call_record(&item) {
        return to_call_record(item).map(|record| record.as_reported());
    }
    read(USAGE_CALL, item)
}

/// The ledger is one text: its sums are never touched one by one, and its names are callers' own.
pub fn from_ledger(tenant: &TenantId, run_id: RunId, ledger: &UsageLedger) -> ItemResult<Item> {
    let text = serde_json::to_string(ledger).map_err(|source| ItemError::Document { kind: USAGE, source })?;
    let mut item = stamped(Item::new(), USAGE, keys::usage(tenant, run_id));
    set(&mut item, [(DOCUMENT, text)]);
    item.insert("rev".to_owned(), n(ledger.rev));
    Ok(item)
}

pub fn to_ledger(item: &Item) -> ItemResult<UsageLedger> {
    let document = document(USAGE, item)?;
    serde_json::from_str(document).map_err(|source| ItemError::Document { kind: USAGE, source })
}
