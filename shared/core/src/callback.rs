//! Callbacks: what a terminal run owes, when each delivery is due, and what an attempt leads to. All pure.
//!
//! **Invariants:** a body is built once and sent byte-identical on every attempt; a delivery ends delivered or
//! dead-lettered; an attempt is recorded whether it succeeded or failed.

use crate::budget::MicroUsd;
use crate::canonical;
use crate::id::{DefinitionId, DefinitionName, InstanceId, RunId, TenantId};
use crate::lifecycle::{RunStatus, TerminationReason};
use crate::limits;
use crate::run::{EndDetails, Run, RunError};
use crate::snapshot::Callback;
use crate::time::{millis, millis_opt, rfc3339_millis};
use crate::usage::{UsageCount, UsageTotals};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use url::{Host, Url};
use utoipa::ToSchema;

/// One notification that a run owes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    pub tenant_id: TenantId,
    pub run_id: RunId,
    /// 1, 2… within the run.
    pub number: u32,
    pub channel: Channel,
    pub status: DeliveryStatus,
    /// Attempts begun, ever.
    pub attempts: u32,
    /// Attempts begun since the delivery was made or last sent again on request: the place in the schedule.
    pub round_attempts: u32,
    /// When the next attempt is due; while one is in flight, when it is given up for lost. `None` once ended.
    #[serde(default, with = "millis_opt", skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
    #[serde(with = "millis")]
    pub created_at: Timestamp,
    #[serde(default, with = "millis_opt", skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter_reason: Option<String>,
    /// Optimistic lock.
    pub rev: u64,
    /// The body; stored apart, so that a change of the delivery does not rewrite it.
    #[serde(skip)]
    pub body: String,
}

/// Where a delivery goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Channel {
    /// A signed POST.
    Webhook { url: String },
    /// "Workflow Run Status Changed" on the event bus.
    EventBus,
}

impl Channel {
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::EventBus => "event-bus",
        }
    }

    /// What may fail as one: the receiver's origin, or the bus.
    pub fn destination(&self) -> String {
        match self {
            Self::Webhook { url } => {
                Url::parse(url).map_or_else(|_| url.clone(), |url| url.origin().ascii_serialization())
            }
            Self::EventBus => self.as_str().to_owned(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DeliveryStatus {
    /// Waits for its time.
    Scheduled,
    /// An attempt is under way, or was when its sender died.
    InFlight,
    Delivered,
    DeadLettered,
}

impl DeliveryStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "SCHEDULED",
            Self::InFlight => "IN_FLIGHT",
            Self::Delivered => "DELIVERED",
            Self::DeadLettered => "DEAD_LETTERED",
        }
    }

    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Delivered | Self::DeadLettered)
    }
}

/// One try at a delivery, for the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// 1, 2… within the delivery.
    pub number: u32,
    #[serde(with = "millis")]
    pub at: Timestamp,
    pub duration_ms: u64,
    pub outcome: AttemptOutcome,
}

/// How a try went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "class")]
pub enum AttemptOutcome {
    /// 2xx, or accepted by the event bus.
    #[serde(rename_all = "camelCase")]
    Delivered { http_status: Option<u16> },
    /// 410: the receiver wants no more.
    Gone,
    /// Any other status. `retry_after_seconds` only from 429 and 503.
    #[serde(rename_all = "camelCase")]
    Rejected { http_status: u16, retry_after_seconds: Option<u64> },
    /// No answer: `timeout`, `connect`, `reset`, `tls`, `bus`…, or `refused_address` when the guard said no.
    #[serde(rename_all = "camelCase")]
    Unreachable { error_class: String },
}

/// Seconds from one attempt to the next: eight attempts over about a day. The first wait is taken within the
/// invocation that made the first attempt; the others by the sweep.
pub const RETRY_SCHEDULE_SECONDS: [i64; 7] = [2, 60, 300, 1_800, 7_200, 21_600, 50_400];
/// A `Retry-After` is followed only within these bounds, in seconds.
pub const RETRY_AFTER_SECONDS: std::ops::RangeInclusive<i64> = 1..=3_600;
/// Bytes of a callback URL.
pub const URL_BYTES: usize = 2_048;
/// How long an attempt may be in flight before another sender takes over, in seconds.
pub const LEASE_SECONDS: i64 = 60;

impl Delivery {
    /// `webhook-id`: the same on every attempt and every redelivery, so that a receiver can drop repeats.
    pub fn webhook_id(&self) -> String {
        format!("{}.{}", self.run_id, self.number)
    }

    pub fn is_due(&self, now: Timestamp) -> bool {
        self.next_attempt_at.is_some_and(|at| at <= now)
    }

    /// The delivery with an attempt begun at `now`; `None` when it is not due.
    pub fn begin(&self, now: Timestamp) -> Option<Self> {
        self.is_due(now).then(|| Self {
            status: DeliveryStatus::InFlight,
            attempts: self.attempts + 1,
            round_attempts: self.round_attempts + 1,
            next_attempt_at: Some(now + SignedDuration::from_secs(LEASE_SECONDS)),
            rev: self.rev + 1,
            ..self.clone()
        })
    }

    /// The delivery to be sent again from `now` on, from the beginning of its schedule; `None` while an attempt is under way.
    pub fn again(&self, now: Timestamp) -> Option<Self> {
        let is_under_way = self.status == DeliveryStatus::InFlight && !self.is_due(now);
        (!is_under_way).then(|| Self {
            status: DeliveryStatus::Scheduled,
            round_attempts: 0,
            next_attempt_at: Some(now),
            ended_at: None,
            dead_letter_reason: None,
            rev: self.rev + 1,
            ..self.clone()
        })
    }

    /// The delivery after its attempt ended with `outcome` at `now`.
    pub fn after(&self, outcome: &AttemptOutcome, now: Timestamp) -> Self {
        let mut next = Self { rev: self.rev + 1, next_attempt_at: None, ..self.clone() };
        let dead = |next: &mut Self, reason: &str| {
            next.status = DeliveryStatus::DeadLettered;
            next.ended_at = Some(now);
            next.dead_letter_reason = Some(reason.to_owned());
        };
        let retry_after = match outcome {
            AttemptOutcome::Delivered { .. } => {
                next.status = DeliveryStatus::Delivered;
                next.ended_at = Some(now);
                return next;
            }
            AttemptOutcome::Gone => {
                dead(&mut next, "gone");
                return next;
            }
            AttemptOutcome::Rejected { retry_after_seconds, .. } => *retry_after_seconds,
            AttemptOutcome::Unreachable { .. } => None,
        };
        match self.wait_seconds(retry_after) {
            Some(seconds) => {
                next.status = DeliveryStatus::Scheduled;
                next.next_attempt_at = Some(now + SignedDuration::from_secs(seconds));
            }
            None => dead(&mut next, "attempts_exhausted"),
        }
        next
    }

    /// The wait after the attempt under way, jittered by up to a tenth so that receivers are not hit in step. The jitter
    /// comes from the delivery itself: the schedule of a delivery can be computed.
    fn wait_seconds(&self, retry_after: Option<u64>) -> Option<i64> {
        let scheduled = *RETRY_SCHEDULE_SECONDS.get(usize::try_from(self.round_attempts).ok()?.checked_sub(1)?)?;
        let asked = retry_after.map_or(0, |seconds| {
            i64::try_from(seconds).unwrap_or(i64::MAX).clamp(*RETRY_AFTER_SECONDS.start(), *RETRY_AFTER_SECONDS.end())
        });
        let digest = canonical::sha256_hex(&[&self.webhook_id(), &self.attempts.to_string()]);
        let thousandth = i64::from_str_radix(&digest[..4], 16).unwrap_or(0) % 1_000;
        Some(scheduled.max(asked) + scheduled * thousandth / 10_000)
    }
}

/// The deliveries that the end of a run owes: one on the event bus, and one webhook where the caller asked for it.
pub fn owed(
    run: &Run,
    callback: Option<&Callback>,
    end: &EndDetails,
    usage: &UsageCount,
    now: Timestamp,
) -> Vec<Delivery> {
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
        deliveries.push(delivery(1, Channel::Webhook { url }, webhook_body(run, Some(callback), end, usage)));
    }
    let number = deliveries.len() as u32 + 1;
    deliveries.push(delivery(number, Channel::EventBus, status_changed_body(run, end, usage)));
    deliveries
}

/// The webhook's body, at most [`limits::WEBHOOK_BODY_BYTES`] plus the caller's context.
fn webhook_body(run: &Run, callback: Option<&Callback>, end: &EndDetails, usage: &UsageCount) -> String {
    let output = end.output.as_deref().and_then(|text| serde_json::from_str::<&RawValue>(text).ok());
    let context = callback.and_then(|callback| callback.context.as_deref());
    let body = envelope(run, end, output, false, usage, context);
    if output.is_some() && body.len() > limits::WEBHOOK_BODY_BYTES {
        envelope(run, end, None, true, usage, context)
    } else {
        body
    }
}

/// The event's detail: the envelope without output and without the caller's context.
fn status_changed_body(run: &Run, end: &EndDetails, usage: &UsageCount) -> String {
    envelope(run, end, None, end.output.is_some(), usage, None)
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
    /// There is an output, and it is too large for a webhook.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    output_omitted: bool,
    /// What the run had reported of its LLM calls by its end.
    usage: UsageTotals,
    /// The caller's cap in US dollars, exact; `null` for none.
    #[schema(value_type = Option<f64>, minimum = 0, required)]
    execution_budget_usd: Option<serde_json::Number>,
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
    usage: &UsageCount,
    context: Option<&RawValue>,
) -> String {
    let envelope = Envelope {
        spec_version: "1",
        kind: "workflow.run.terminal",
        tenant_id: &run.tenant_id,
        run_id: run.run_id,
        status: run.status.as_str(),
        termination_reason: run.termination_reason.map(TerminationReason::as_str),
        name: &run.name,
        workflow_definition_id: run.definition_id.to_string(),
        workflow_definition_name: run.definition_name.as_str(),
        workflow_version: run.version,
        workflow_instance_id: run.instance_id.to_string(),
        created_at: rfc3339_millis(run.created_at),
        started_at: run.started_at.map(rfc3339_millis),
        completed_at: run.completed_at.map(rfc3339_millis),
        error: end.error.as_ref().or(run.error.as_ref()),
        output,
        output_omitted,
        usage: UsageTotals::from(usage),
        execution_budget_usd: run.execution_budget_micro_usd.map(MicroUsd::to_json_number),
        completion_callback_context: context,
    };
    serde_json::to_string(&envelope).unwrap_or_default()
}

/// Where webhooks may go: Lambda Function URLs in the allowed regions. `extra_origins` exist on a laptop only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destinations {
    pub regions: Vec<String>,
    pub extra_origins: Vec<String>,
}

/// An allowed destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    pub url: Url,
    /// The region to sign for.
    pub region: String,
    /// Whether it is one of the `extra_origins` and therefore not held to the rules of the open network.
    pub is_extra: bool,
}

impl Destinations {
    /// Checks a callback URL as its caller wrote it.
    ///
    /// # Errors
    /// A sentence for the caller.
    pub fn admit(&self, text: &str) -> Result<Destination, &'static str> {
        const FORM: &str = "must be a Lambda Function URL: https://<url-id>.lambda-url.<region>.on.aws/…";
        if text.len() > URL_BYTES || !text.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) {
            return Err("must be at most 2048 printable ASCII characters");
        }
        let url = Url::parse(text).map_err(|_| FORM)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not carry user information");
        }
        if url.fragment().is_some() {
            return Err("must not carry a fragment");
        }
        let origin = url.origin().ascii_serialization();
        if self.extra_origins.contains(&origin) {
            let region = self.regions.first().cloned().unwrap_or_default();
            return Ok(Destination { url, region, is_extra: true });
        }
        if url.scheme() != "https" || url.port().is_some() {
            return Err(FORM);
        }
        let Some(Host::Domain(host)) = url.host() else {
            return Err(FORM);
        };
        let [id, "lambda-url", region, "on", "aws"] = host.split('.').collect::<Vec<_>>()[..] else {
            return Err(FORM);
        };
        let is_id =
            (8..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        // The text itself must spell the host: what a parser mends (tabs, case, backslashes, %-escapes) is refused.
        let spelled = text
            .strip_prefix("https://")
            .and_then(|rest| rest.strip_prefix(host))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || rest.starts_with('?'));
        if !is_id || !spelled {
            return Err(FORM);
        }
        if !self.regions.iter().any(|allowed| allowed == region) {
            return Err("is in a region that callbacks may not go to");
        }
        Ok(Destination { region: region.to_owned(), url, is_extra: false })
    }
}
