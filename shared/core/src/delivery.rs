//! Deliveries: what a run owes to a receiver, when each is due, and what an attempt leads to. All pure.
//!
//! **Invariants:** a body is built once and sent byte-identical on every attempt; a delivery ends delivered or
//! dead-lettered; an attempt is recorded whether it succeeded or failed.

use crate::canonical;
use crate::id::{RunId, TenantId};
use crate::time::{millis, millis_opt};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use url::Url;
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
