//! A clock that knows how long a call has waited for others: what is left of its time is the governor's own.

use jiff::Timestamp;
use sluice_core::ports::Clock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The clock of one call, from its coming on.
#[derive(Debug)]
pub struct Watch<'a, C> {
    clock: &'a C,
    began: Timestamp,
    waited_ms: AtomicU64,
}

impl<'a, C: Clock> Watch<'a, C> {
    pub fn new(clock: &'a C) -> Self {
        Self { clock, began: clock.now(), waited_ms: AtomicU64::new(0) }
    }

    pub fn has_waited(&self) -> bool {
        self.waited_ms.load(Ordering::Relaxed) > 0
    }

    /// Milliseconds since the call came, without those that it waited.
    pub fn overhead(&self) -> u64 {
        let taken = u64::try_from(self.clock.now().duration_since(self.began).as_millis()).unwrap_or_default();
        taken.saturating_sub(self.waited_ms.load(Ordering::Relaxed))
    }
}

impl<C: Clock> Clock for Watch<'_, C> {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration).await;
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.waited_ms.fetch_add(millis, Ordering::Relaxed);
    }
}
