//! LLM calls of a run, the receipts of their reports, and what was counted before there was one ledger.

use super::form::{Item, ItemError, ItemResult, document, n, number, read, s, stamped, text, write};
use super::governed::{is_call_record, to_call_record};
use crate::dynamo::keys;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use sluice_core::budget::NanoUsd;
use sluice_core::call_id::CallId;
use sluice_core::governor::ledger::change::Earlier;
use sluice_core::governor::record::Outcome;
use sluice_core::id::{RunId, TenantId};
use sluice_core::ports::ReportReceipt;
use sluice_core::usage::{LlmCall, RecordedCall, UsageCount};

const USAGE_CALL: &str = "usage-call";
const USAGE: &str = "usage";
const RECEIPT: &str = "receipt";
/// The report that a call was recorded with.
pub const REPORT: &str = "report";
const CALLS: &str = "calls";
const COST: &str = "cost";

/// How long a receipt is kept: longer than anybody can be about its report.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

pub fn from_usage(tenant: &TenantId, run_id: RunId, call: &LlmCall, report: Option<CallId>) -> ItemResult<Item> {
    let mut item = write(USAGE_CALL, call, keys::usage_call(tenant, run_id, &call.call_id))?;
    item.extend(report.map(|report| (REPORT.into(), s(report.to_string()))));
    Ok(item)
}

/// A call that was reported, or one that was governed.
pub fn to_usage(item: Item) -> ItemResult<LlmCall> {
    if is_call_record(&item) {
        return to_call_record(item).map(|record| record.as_reported());
    }
    read(USAGE_CALL, item)
}

/// The same with its report; `None` for a governed call that did not run.
pub fn to_recorded_call(item: Item) -> ItemResult<Option<RecordedCall>> {
    if is_call_record(&item) {
        let record = to_call_record(item)?;
        let ran = record.outcome != Outcome::NotRun;
        return Ok(ran.then(|| RecordedCall { call: record.as_reported(), report: None }));
    }
    let report = to_report(&item)?;
    Ok(Some(RecordedCall { call: read(USAGE_CALL, item)?, report }))
}

/// The report that a call was recorded with, if it has one.
pub fn to_report(item: &Item) -> ItemResult<Option<CallId>> {
    let bad = |_| ItemError::Attribute { kind: USAGE_CALL, attribute: REPORT };
    text(item, REPORT).map(str::parse).transpose().map_err(bad)
}

pub fn from_receipt(tenant: &TenantId, run_id: RunId, report: CallId, of: &ReportReceipt, now: Timestamp) -> Item {
    let mut item = stamped(Item::new(), RECEIPT, keys::report_receipt(tenant, run_id, report));
    let ttl = now.saturating_add(KEPT).unwrap_or(Timestamp::MAX).as_second();
    let numbers = [(CALLS, n(of.calls)), (COST, n(of.cost.0)), ("ttl", n(ttl))];
    item.extend(numbers.map(|(name, number)| (name.into(), number)));
    item
}

pub fn to_receipt(item: &Item) -> ItemResult<ReportReceipt> {
    let count = |attribute| number(RECEIPT, item, attribute);
    Ok(ReportReceipt { calls: count(CALLS)?, cost: NanoUsd(count(COST)?) })
}

/// What a run had used by the ledger of usage that there was before 2026-11-28: one text, of which the totals count. Its calls
/// have records of their own.
pub fn to_earlier(item: &Item) -> ItemResult<Earlier> {
    #[derive(Deserialize)]
    struct OfOld {
        total: UsageCount,
    }
    let document = document(USAGE, item)?;
    let of_old: OfOld = serde_json::from_str(document).map_err(|source| ItemError::Document { kind: USAGE, source })?;
    Ok(Earlier { calls: of_old.total.calls, cost: of_old.total.cost_nano_usd })
}
