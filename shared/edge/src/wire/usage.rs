//! What a run's LLM calls used: as it is reported, and as it is shown.
//!
//! **Invariant:** a cost is read from the number as it was written, never through floating point.

use super::fields;
use super::refusal::Form;
use super::schema::{CallCost, CallText};
use crate::fault::Faults;
use crate::http::Request;
use crate::json;
use crate::problem::Problem;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sluice_core::budget::{MicroUsd, NanoUsd, UsdNumber};
use sluice_core::flow::record_usage::UsageRecorded;
use sluice_core::id::NodeId;
use sluice_core::lifecycle::RunStatus;
use sluice_core::limits;
use sluice_core::number::whole_option;
use sluice_core::place::Field;
use sluice_core::time::rfc3339_millis;
use sluice_core::usage::{LlmCall, UsageCount, UsageSums, UsageTotals};
use sluice_core::violation::{Invalid, ViolationCode};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// One LLM call, as it is reported.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ReportedCall)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReportedCallBody {
    /// Unique in the run. A call that is reported again counts as it did the first time.
    #[schema(value_type = CallText, required)]
    call_id: Option<String>,
    /// The node that made the call, if one did. In a report, that of the report.
    #[schema(value_type = Option<NodeId>)]
    node_id: Option<String>,
    #[schema(value_type = CallText)]
    provider: String,
    #[schema(value_type = CallText)]
    model: String,
    /// 0 when absent, as the other numbers.
    #[schema(maximum = 1000000000000_u64)]
    #[serde(default, deserialize_with = "whole_option")]
    input_tokens: Option<u64>,
    #[schema(maximum = 1000000000000_u64)]
    #[serde(default, deserialize_with = "whole_option")]
    output_tokens: Option<u64>,
    #[schema(maximum = 1000000000000_u64)]
    #[serde(default, deserialize_with = "whole_option")]
    cached_tokens: Option<u64>,
    #[schema(value_type = Option<CallCost>)]
    cost_usd: Option<Box<RawValue>>,
    #[schema(maximum = 1000000000000_u64)]
    #[serde(default, deserialize_with = "whole_option")]
    latency_ms: Option<u64>,
}

/// The body of `POST /v1/workflow-runs/{runId}/usage`.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ReportUsage)]
#[serde(deny_unknown_fields)]
pub struct ReportUsageBody {
    #[schema(min_items = 1, max_items = 50)]
    usage: Vec<ReportedCallBody>,
}

impl json::Body for ReportUsageBody {
    const OBJECTS: &'static [&'static str] = &["", "/usage/*"];
}

/// The calls that a request reports.
///
/// # Errors
/// Everything that is wrong with the body itself.
pub fn of_request(request: &Request, now: Timestamp) -> Result<Vec<LlmCall>, Problem> {
    let body: ReportUsageBody = request.json()?;
    let mut faults = Faults::default();
    let calls = calls(body.usage, None, |_| None, now, &mut faults);
    faults.into_result()?;
    Ok(calls)
}

/// The calls that the result of a node reports. A call without an id gets one from its place, and `place` tells the node's
/// attempts apart: the same again when the result is read again.
///
/// # Errors
/// Everything that makes it no usable report.
pub fn of_result(usage: &Value, node_id: &NodeId, place: &str, now: Timestamp) -> Result<Vec<LlmCall>, Faults> {
    // Numbers keep their literals on this way.
    let body: ReportUsageBody = json::read(&json!({"usage": usage}).to_string())?;
    let mut faults = Faults::default();
    let call_id = |index| Some(format!("{node_id}/{place}/{index}"));
    let calls = calls(body.usage, Some(node_id), call_id, now, &mut faults);
    let mut invalid = Invalid::default();
    let at = Field::Usage.at();
    for (index, call) in calls.iter().enumerate() {
        call.check(&at.index(index), &mut invalid);
    }
    faults.extend(Form::Plain.faults(invalid));
    faults.into_result()?;
    Ok(calls)
}

/// Reads reported calls. `node_id` and `call_id` stand in for what a call leaves out.
pub(super) fn calls(
    bodies: Vec<ReportedCallBody>,
    node_id: Option<&NodeId>,
    call_id: impl Fn(usize) -> Option<String>,
    now: Timestamp,
    faults: &mut Faults,
) -> Vec<LlmCall> {
    let mut calls = Vec::with_capacity(bodies.len());
    for (index, body) in bodies.into_iter().enumerate() {
        let at = |field: &str| format!("/usage/{index}/{field}");
        let given_id = body.call_id.or_else(|| call_id(index));
        if given_id.is_none() {
            faults.add(at("callId"), ViolationCode::MissingField, "must be given");
        }
        let node_id = match &body.node_id {
            Some(text) => fields::id(at("nodeId"), text, faults),
            None => node_id.cloned(),
        };
        calls.push(LlmCall {
            call_id: given_id.unwrap_or_default(),
            node_id,
            provider: body.provider,
            model: body.model,
            input_tokens: body.input_tokens.unwrap_or(0),
            output_tokens: body.output_tokens.unwrap_or(0),
            cached_tokens: body.cached_tokens.unwrap_or(0),
            cost_nano_usd: cost(&at("costUsd"), body.cost_usd.as_deref(), faults),
            latency_ms: body.latency_ms.unwrap_or(0),
            reported_at: now,
        });
    }
    calls
}

fn cost(at: &str, raw: Option<&RawValue>, faults: &mut Faults) -> NanoUsd {
    let Some(literal) = fields::number(at, raw, faults) else { return NanoUsd::default() };
    NanoUsd::parse(&literal, MicroUsd::from_usd(limits::CALL_COST_USD)).unwrap_or_else(|error| {
        faults.add(at, error.code(), error);
        NanoUsd::default()
    })
}

/// How many of the reported calls are new.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct UsageCounts {
    pub recorded: u32,
    /// Had been reported before, and count as they did then.
    pub repeated: u32,
}

impl From<&UsageRecorded> for UsageCounts {
    fn from(recorded: &UsageRecorded) -> Self {
        Self { recorded: recorded.recorded, repeated: recorded.repeated }
    }
}

/// What became of reported calls.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageRecorded)]
pub struct UsageRecordedView {
    recorded: u32,
    /// Had been reported before, and count as they did then.
    repeated: u32,
    /// Of the run, with these calls.
    total: UsageTotals,
    /// Whether the run is being stopped: because it has spent more than it may, or for another reason.
    stopping: bool,
}

impl From<&UsageRecorded> for UsageRecordedView {
    fn from(recorded: &UsageRecorded) -> Self {
        Self {
            recorded: recorded.recorded,
            repeated: recorded.repeated,
            total: UsageTotals::from(&recorded.usage.total),
            stopping: recorded.run.status() == RunStatus::Canceling,
        }
    }
}

/// `GET /v1/workflow-runs/{runId}/usage`: what the run's LLM calls have used so far.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunUsage)]
#[serde(rename_all = "camelCase")]
pub struct UsageView {
    total: UsageTotals,
    by_node: BTreeMap<String, UsageTotals>,
    by_provider: BTreeMap<String, UsageTotals>,
    by_model: BTreeMap<String, UsageTotals>,
    /// A page of the calls, by their ids.
    items: Vec<UsageCallView>,
    /// Goes on after this page; `null` on the last.
    #[schema(value_type = Option<super::schema::Cursor>, required)]
    next_cursor: Option<String>,
}

impl UsageView {
    pub fn new(sums: &UsageSums, items: Vec<UsageCallView>, next_cursor: Option<String>) -> Self {
        let totals = |counts: &BTreeMap<String, UsageCount>| {
            counts.iter().map(|(name, count)| (name.clone(), UsageTotals::from(count))).collect()
        };
        Self {
            total: UsageTotals::from(&sums.total),
            by_node: totals(&sums.by_node),
            by_provider: totals(&sums.by_provider),
            by_model: totals(&sums.by_model),
            items,
            next_cursor,
        }
    }
}

/// One LLM call, as it was reported first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageCall)]
#[serde(rename_all = "camelCase")]
pub struct UsageCallView {
    #[schema(value_type = CallText)]
    call_id: String,
    #[schema(value_type = Option<NodeId>, required)]
    node_id: Option<String>,
    provider: String,
    model: String,
    input_tokens: u64,
    output_tokens: u64,
    cached_tokens: u64,
    #[schema(value_type = CallCost)]
    cost_usd: UsdNumber,
    latency_ms: u64,
    #[schema(format = DateTime)]
    reported_at: String,
}

impl From<&LlmCall> for UsageCallView {
    fn from(call: &LlmCall) -> Self {
        Self {
            call_id: call.call_id.clone(),
            node_id: call.node_id.as_ref().map(NodeId::to_string),
            provider: call.provider.clone(),
            model: call.model.clone(),
            input_tokens: call.input_tokens,
            output_tokens: call.output_tokens,
            cached_tokens: call.cached_tokens,
            cost_usd: call.cost_nano_usd.to_json_number(),
            latency_ms: call.latency_ms,
            reported_at: rfc3339_millis(call.reported_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(usage: &str) -> Result<Vec<LlmCall>, Vec<(String, &'static str)>> {
        let usage: Value = serde_json::from_str(usage).expect("JSON");
        let node = "frequencies".parse().expect("a node");
        of_result(&usage, &node, "2", Timestamp::UNIX_EPOCH)
            .map_err(|faults| faults.into_vec().into_iter().map(|fault| (fault.pointer, fault.code.as_str())).collect())
    }

    #[test]
    fn a_cost_is_read_as_it_was_written() {
        for (literal, nano) in [("0.30000000000000004", 300_000_001), ("1e-9", 1), ("1.10", 1_100_000_000), ("null", 0)]
        {
            let reports = of(&format!(r#"[{{"provider":"p","model":"m","costUsd":{literal}}}]"#)).expect("usage");
            assert_eq!(reports[0].cost_nano_usd, NanoUsd(nano), "{literal}");
            assert_eq!(reports[0].call_id, "frequencies/2/0");
        }
    }

    #[test]
    fn what_is_no_usage_is_named() {
        for (usage, at, code) in [
            ("{}", "/usage", "wrong_type"),
            ("[1]", "/usage/0", "wrong_type"),
            (r#"[{"model":"m"}]"#, "/usage/0/provider", "missing_field"),
            (r#"[{"provider":"p","model":"m","tokens":1}]"#, "/usage/0/tokens", "unknown_field"),
            (r#"[{"provider":"p","model":"m","inputTokens":-1}]"#, "/usage/0/inputTokens", "out_of_range"),
            (r#"[{"provider":"p","model":"m","costUsd":"1"}]"#, "/usage/0/costUsd", "wrong_type"),
            (r#"[{"provider":"p","model":"m","costUsd":1e6}]"#, "/usage/0/costUsd", "out_of_range"),
            (r#"[{"provider":"","model":"m"}]"#, "/usage/0/provider", "out_of_range"),
            (r#"[{"provider":"p","model":"m","nodeId":"a b"}]"#, "/usage/0/nodeId", "invalid"),
        ] {
            assert_eq!(of(usage), Err(vec![(at.to_owned(), code)]), "{usage}");
        }
    }
}
