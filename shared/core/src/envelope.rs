//! What receivers are told when a run has ended: the body of the webhook, the detail of the event on the bus, and which
//! deliveries the run owes. All pure.

use crate::budget::{MicroUsd, UsdNumber};
use crate::delivery::{Channel, Delivery, DeliveryStatus};
use crate::id::{DefinitionId, DefinitionName, InstanceId, RunId, TenantId};
use crate::lifecycle::{RunStatus, TerminationReason};
use crate::limits;
use crate::run::{EndDetails, Run, RunError};
use crate::snapshot::Callback;
use crate::spending::{Spending, Used};
use crate::time::rfc3339_millis;
use crate::usage::UsageTotals;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The deliveries that a run owes once it has ended: one on the event bus, and a webhook where its caller asked for
/// one.
///
/// # Errors
/// When what is to be told cannot be written as JSON.
pub fn owed(
    run: &Run,
    callback: Option<&Callback>,
    end: &EndDetails,
    used: &Used,
    now: Timestamp,
) -> serde_json::Result<Vec<Delivery>> {
    let delivery = |number: u32, channel: Channel, body: String| Delivery {
        tenant_id: run.tenant_id.clone(),
        run_id: run.run_id,
        number,
        channel,
        status: DeliveryStatus::Scheduled,
        attempts: 0,
        round_attempts: 0,
        next_attempt_at: Some(now),
        created_at: now,
        ended_at: None,
        dead_letter_reason: None,
        rev: 1,
        body,
    };
    let mut deliveries = Vec::with_capacity(2);
    if let Some(callback) = callback {
        let url = callback.url.clone();
        deliveries.push(delivery(1, Channel::Webhook { url }, webhook_body(run, Some(callback), end, used)?));
    }
    let number = deliveries.len() as u32 + 1;
    deliveries.push(delivery(number, Channel::EventBus, status_changed_body(run, end, used)?));
    Ok(deliveries)
}

/// The body of the webhook. An output with which the body would be longer than [`limits::WEBHOOK_BODY_BYTES`] is left
/// out.
fn webhook_body(run: &Run, callback: Option<&Callback>, end: &EndDetails, used: &Used) -> serde_json::Result<String> {
    let output = end.output.as_deref().and_then(|text| serde_json::from_str::<&RawValue>(text).ok());
    // An output that is no JSON cannot stand in the body, but is there all the same.
    let is_unreadable = end.output.is_some() && output.is_none();
    let context = callback.and_then(|callback| callback.context.as_deref());
    let body = envelope(run, end, output, is_unreadable, used, context)?;
    if output.is_some() && body.len() > limits::WEBHOOK_BODY_BYTES {
        envelope(run, end, None, true, used, context)
    } else {
        Ok(body)
    }
}

/// The detail of the event on the bus: the envelope without the output and without the caller's context.
fn status_changed_body(run: &Run, end: &EndDetails, used: &Used) -> serde_json::Result<String> {
    envelope(run, end, None, end.output.is_some(), used, None)
}

/// What a webhook says once a run has ended. The event on the bus says the same, without output and context.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Envelope<'a> {
    /// `1`
    spec_version: &'static str,
    /// `workflow.run.terminal`
    #[serde(rename = "type")]
    kind: &'static str,
    #[schema(value_type = TenantId)]
    tenant_id: &'a TenantId,
    run_id: RunId,
    #[schema(value_type = RunStatus)]
    status: &'static str,
    #[schema(value_type = Option<TerminationReason>, required)]
    termination_reason: Option<&'static str>,
    name: &'a str,
    #[schema(value_type = DefinitionId)]
    workflow_definition_id: String,
    #[schema(value_type = DefinitionName)]
    workflow_definition_name: &'a str,
    /// 0 for the draft.
    workflow_version: u32,
    #[schema(value_type = InstanceId)]
    workflow_instance_id: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime, required)]
    started_at: Option<String>,
    #[schema(format = DateTime, required)]
    completed_at: Option<String>,
    #[schema(value_type = Option<RunError>, required)]
    error: Option<&'a RunError>,
    /// What the run resulted in, as Step Functions has it.
    #[schema(value_type = Value, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a RawValue>,
    /// There is an output, and it is too large for a webhook, or no JSON.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    output_omitted: bool,
    /// What the run's LLM calls had used by its end: those that were reported, and those that were governed.
    usage: UsageTotals,
    /// The same, by model.
    usage_by_model: BTreeMap<&'a str, UsageTotals>,
    /// What the run was allowed to spend, and what became of it.
    budget: Spending,
    /// The caller's cap in US dollars, exact; `null` for none.
    #[schema(value_type = Option<f64>, minimum = 0, required)]
    execution_budget_usd: Option<UsdNumber>,
    /// `completionCallbackContext` of the request, byte for byte.
    #[schema(value_type = Value, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_callback_context: Option<&'a RawValue>,
}

fn envelope(
    run: &Run,
    end: &EndDetails,
    output: Option<&RawValue>,
    output_omitted: bool,
    used: &Used,
    context: Option<&RawValue>,
) -> serde_json::Result<String> {
    let ended = run.state.ended();
    let envelope = Envelope {
        spec_version: "1",
        kind: "workflow.run.terminal",
        tenant_id: &run.tenant_id,
        run_id: run.run_id,
        status: run.status().as_str(),
        termination_reason: ended.map(|ended| ended.reason.as_str()),
        name: &run.about.name,
        workflow_definition_id: run.spec.definition_id.to_string(),
        workflow_definition_name: run.spec.definition_name.as_str(),
        workflow_version: run.spec.version,
        workflow_instance_id: run.spec.instance_id.to_string(),
        created_at: rfc3339_millis(run.spec.created_at),
        started_at: run.state.started_at().map(rfc3339_millis),
        completed_at: ended.map(|ended| rfc3339_millis(ended.completed_at)),
        error: end.error.as_ref().or(ended.and_then(|ended| ended.error.as_ref())),
        output,
        output_omitted,
        usage: UsageTotals::from(&used.usage.total),
        usage_by_model: used.usage.by_model.iter().map(|(model, count)| (model.as_str(), count.into())).collect(),
        budget: Spending::of(run, used),
        execution_budget_usd: run.spec.execution_budget_micro_usd.map(MicroUsd::to_json_number),
        completion_callback_context: context,
    };
    serde_json::to_string(&envelope)
}
