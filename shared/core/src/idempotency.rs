//! One contract for every way in: same key and same payload, the first answer again; same key and another payload,
//! a conflict that names the first run.
//!
//! Decision (2026-11-22): idempotency keys live 24 hours, longer where a retention rule keeps the run longer.
//! Without a rule the run is kept for good; its key is not.

use crate::id::IdempotencyKey;
use crate::limits;
use crate::retention::Retention;
use crate::run::Run;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The operations whose keys are apart from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    Create,
    Invoke,
    Replay,
}

impl Operation {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Invoke => "invoke",
            Self::Replay => "replay",
        }
    }
}

/// What a caller sent to make a request repeatable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyClaim {
    pub operation: Operation,
    pub key: IdempotencyKey,
    /// SHA-256 of what was understood of the request, the key aside. It has been computed in another way before: a key that
    /// was used then and is repeated within its day is refused as another request's, and no second run is made.
    pub payload_hash: String,
}

/// What is kept of the first request with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyRecord {
    pub payload_hash: String,
    /// The run as it was answered the first time.
    pub run: Run,
    /// From when the key is free again. `None`: as long as the run is kept, which is for good.
    pub expires_at: Option<Timestamp>,
}

impl IdempotencyRecord {
    /// The record of a run that a claim's first request made at `now`. It lives for a day, and longer where the request, its
    /// definition or its tenant says that the run is kept longer.
    pub fn first(claim: &IdempotencyClaim, run: &Run, now: Timestamp) -> Self {
        let expires_at = match run.spec.retention.map(|retention| retention.max_age_seconds) {
            Some(Retention::KEEP) => None,
            Some(seconds) => Some(seconds.max(limits::IDEMPOTENCY_SECONDS)),
            None => Some(limits::IDEMPOTENCY_SECONDS),
        };
        let expires_at = expires_at.map(|seconds| now + SignedDuration::from_secs(seconds));
        Self { payload_hash: claim.payload_hash.clone(), run: run.clone(), expires_at }
    }

    /// Whether the key is free again. TTL deletion may lag by days, so it is never trusted.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    pub fn is_repeated_by(&self, claim: &IdempotencyClaim) -> bool {
        self.payload_hash == claim.payload_hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_written_by_its_own_name() {
        for (operation, name) in
            [(Operation::Create, "create"), (Operation::Invoke, "invoke"), (Operation::Replay, "replay")]
        {
            assert_eq!(operation.as_str(), name);
            assert_eq!(serde_json::to_value(operation).expect("JSON"), name);
        }
    }
}
