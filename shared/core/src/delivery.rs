//! Deliveries: messages about the end of a run, when each is due, and what follows from an attempt to send it. All
//! pure.
//!
//! **Invariants:** a body is built once and sent byte-identical on every attempt; a delivery ends delivered or
//! dead-lettered; an attempt is recorded whether it succeeded or failed.

pub mod health;

use crate::canonical;
use crate::id::{RunId, TenantId};
use crate::time::{millis, millis_opt};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use url::Url;
use utoipa::ToSchema;

/// One message that a run owes to a receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    pub tenant_id: TenantId,
    pub run_id: RunId,
    /// Counts the deliveries of the run from 1.
    pub number: u32,
    pub channel: Channel,
    pub status: DeliveryStatus,
    /// How many attempts were ever begun.
    pub attempts: u32,
    /// How many attempts were begun since the delivery was created or somebody last asked for it again. This is its
    /// place in the [schedule](RETRY_SCHEDULE_SECONDS).
    pub round_attempts: u32,
    /// When the next attempt is due; while an attempt is in flight, when that attempt counts as lost. `None` once the
    /// delivery has ended.
    #[serde(default, with = "millis_opt", skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
    #[serde(with = "millis")]
    pub created_at: Timestamp,
    #[serde(default, with = "millis_opt", skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter_reason: Option<String>,
    /// The revision: every write adds one and is made only if nobody else has written in between.
    pub rev: u64,
    /// The body of the message. It is stored apart from the delivery, so that a change of the delivery does not rewrite
    /// it.
    #[serde(skip)]
    pub body: String,
}

/// Where a delivery goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Channel {
    /// A signed POST.
    Webhook { url: String },
    /// The event "Workflow Run Status Changed" on the event bus.
    EventBus,
}

impl Channel {
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::EventBus => "event-bus",
        }
    }

    /// What webhooks to the same receiver have in common, so that they may fail together: the origin of their URL. `None`
    /// for the event bus, which is the deployment's own.
    pub fn origin(&self) -> Option<String> {
        match self {
            Self::Webhook { url } => {
                Some(Url::parse(url).map_or_else(|_| url.clone(), |url| url.origin().ascii_serialization()))
            }
            Self::EventBus => None,
        }
    }
}

/// Whoever takes the webhooks of one tenant at one origin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Receiver {
    pub tenant_id: TenantId,
    pub origin: String,
}

/// Who makes an attempt, and so how much patience there is for the receiver's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Whoever has just recorded the run's end, and holds up other runs' ends while it waits.
    AtTheEnd,
    /// Whoever was told by the queue that the delivery is due.
    FromTheQueue,
}

impl Pace {
    /// The time of the whole attempt. What a receiver is promised is the longer one.
    pub const fn patience(self) -> Duration {
        match self {
            Self::AtTheEnd => Duration::from_secs(2),
            Self::FromTheQueue => Duration::from_secs(10),
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

/// The record of one attempt to send a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Counts the attempts at the delivery from 1.
    pub number: u32,
    #[serde(with = "millis")]
    pub at: Timestamp,
    pub duration_ms: u64,
    pub outcome: AttemptOutcome,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "class")]
pub enum AttemptOutcome {
    /// The receiver answered with a status from 200 to 299, or the event bus accepted the event.
    #[serde(rename_all = "camelCase")]
    Delivered { http_status: Option<u16> },
    /// The receiver answered 410: it wants no more messages.
    Gone,
    /// The receiver answered with any other status. `retry_after_seconds` is read from an answer of 429 or 503 only.
    #[serde(rename_all = "camelCase")]
    Rejected { http_status: u16, retry_after_seconds: Option<u64> },
    /// There was no answer. The class is one of `timeout`, `connect`, `reset`, `tls`, `bus` and their like, or
    /// `refused_address` when the receiver's address is not one that may be called.
    #[serde(rename_all = "camelCase")]
    Unreachable { error_class: String },
}

impl AttemptOutcome {
    /// The class when the tenant's own list of destinations does not have the receiver: nothing was sent.
    pub const NOT_LISTED: &str = "refused_destination";
}

/// Seconds from one attempt to the next: eight attempts over about a day. Whoever made the first attempt announces the
/// second, which the queue delays; the sweep hands out all later ones.
pub const RETRY_SCHEDULE_SECONDS: [i64; 7] = [2, 60, 300, 1_800, 7_200, 21_600, 50_400];
/// The seconds of a `Retry-After` header are brought within these bounds.
pub const RETRY_AFTER_SECONDS: std::ops::RangeInclusive<i64> = 1..=3_600;
/// After so many seconds an attempt in flight counts as lost, and another sender may take the delivery over.
pub const LEASE_SECONDS: i64 = 60;

impl Delivery {
    /// The header `webhook-id`. It is the same on every attempt and every redelivery, so that a receiver can drop
    /// repeats.
    pub fn webhook_id(&self) -> String {
        webhook_id(self.run_id, self.number)
    }

    /// Who is to be told; `None` for the event bus.
    pub fn receiver(&self) -> Option<Receiver> {
        self.channel.origin().map(|origin| Receiver { tenant_id: self.tenant_id.clone(), origin })
    }

    pub fn is_due(&self, now: Timestamp) -> bool {
        self.next_attempt_at.is_some_and(|at| at <= now)
    }

    /// Whether no attempt is under way and one is to come.
    pub fn is_scheduled(&self) -> bool {
        self.status == DeliveryStatus::Scheduled
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

    /// The delivery when somebody asks at `now` to have it sent again: due at once, at the beginning of its schedule.
    /// `None` while an attempt is under way.
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

    /// The delivery after its attempt has ended with `outcome` at `now`.
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

    /// The seconds to wait after the attempt that is under way; `None` after the last. Up to a tenth is added, so that
    /// many deliveries do not reach a receiver at the same moment. The addition is computed from the delivery, so the
    /// schedule of a delivery can be known.
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

fn webhook_id(run_id: RunId, number: u32) -> String {
    format!("{run_id}.{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_stored_and_shown_by_its_word() {
        use DeliveryStatus::{DeadLettered, Delivered, InFlight, Scheduled};
        let words = [Scheduled, InFlight, Delivered, DeadLettered].map(DeliveryStatus::as_str);
        assert_eq!(words, ["SCHEDULED", "IN_FLIGHT", "DELIVERED", "DEAD_LETTERED"]);
    }
}
