//! The clock of the machine.

use crate::deadline;
use jiff::Timestamp;
use sluice_core::ports::Clock;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    /// Cut to milliseconds, as times are stored: a time read back equals the time that was written.
    #[expect(clippy::disallowed_methods, reason = "this is the Clock port")]
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// Every call of the adapters of this crate ends by then.
    async fn until<F: Future>(&self, end: Option<Timestamp>, work: F) -> F::Output {
        let Some(end) = end else { return work.await };
        let left = Duration::try_from(end.duration_since(self.now())).unwrap_or(Duration::ZERO);
        deadline::until(Instant::now() + left, work).await
    }
}
