use jiff::{SignedDuration, Timestamp};
use sluice_core::ports::Clock;
use sluice_testkit::fault::lock;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

/// The world's time, as one Lambda instance sees it: off by its own skew.
#[derive(Clone, Debug)]
pub struct SimClock {
    time: Arc<Mutex<Timestamp>>,
    skew: SignedDuration,
}

impl SimClock {
    pub fn new(start: Timestamp) -> Self {
        Self { time: Arc::new(Mutex::new(start)), skew: SignedDuration::ZERO }
    }

    pub fn skewed_by(&self, skew: SignedDuration) -> Self {
        Self { time: Arc::clone(&self.time), skew }
    }

    pub fn advance(&self, duration: SignedDuration) {
        *lock(&self.time) += duration;
    }

    /// Time without skew.
    pub fn true_time(&self) -> Timestamp {
        *lock(&self.time)
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.true_time() + self.skew
    }

    async fn sleep(&self, duration: Duration) {
        let wake = self.now() + SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
        poll_fn(|_| if self.now() >= wake { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}
