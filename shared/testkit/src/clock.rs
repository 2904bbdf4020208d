//! A clock that stands still until it is moved.

use crate::fault::lock;
use jiff::{SignedDuration, Timestamp};
use sluice_core::ports::Clock;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Clones share one time. A sleep does not wait: it moves the time.
#[derive(Clone, Debug)]
pub struct FixedClock(Arc<Mutex<Timestamp>>);

impl Default for FixedClock {
    /// 2026-11-22T04:40:00Z.
    fn default() -> Self {
        Self::at("2026-11-22T04:40:00Z")
    }
}

impl FixedClock {
    /// # Panics
    /// When `text` is no RFC 3339 time.
    pub fn at(text: &str) -> Self {
        let Ok(at) = text.parse() else { panic!("{text} is no time") };
        Self(Arc::new(Mutex::new(at)))
    }

    pub fn advance(&self, seconds: i64) {
        *lock(&self.0) += SignedDuration::from_secs(seconds);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        *lock(&self.0)
    }

    async fn sleep(&self, duration: Duration) {
        crate::turn().await;
        let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        *lock(&self.0) += SignedDuration::from_nanos(nanos);
    }
}
