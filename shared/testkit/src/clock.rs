//! A clock that stands still until it is moved.

use crate::fault::lock;
use jiff::{SignedDuration, Timestamp};
use sluice_core::ports::Clock;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Clones share one time. A sleep does not wait: it moves the time.
#[derive(Clone, Debug)]
pub struct FixedClock {
    time: Arc<Mutex<Timestamp>>,
    /// Turns that a sleep leaves to others before it moves the time.
    turns: u32,
    /// When the calls of work had to have ended, of all work that had to.
    ends: Arc<Mutex<Vec<Timestamp>>>,
}

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
        Self { time: Arc::new(Mutex::new(at)), turns: 1, ends: Arc::default() }
    }

    /// The same clock for whoever sleeps beside work: time passes only once that work has had every chance to go on, as it
    /// would were it waiting for something that never comes.
    #[must_use]
    pub fn patient(&self) -> Self {
        Self { turns: 10_000, ..self.clone() }
    }

    /// When the calls of work had to have ended, since this was asked last.
    pub fn take_ends(&self) -> Vec<Timestamp> {
        std::mem::take(&mut lock(&self.ends))
    }

    pub fn advance(&self, seconds: i64) {
        self.pass(SignedDuration::from_secs(seconds));
    }

    pub fn pass(&self, duration: SignedDuration) {
        *lock(&self.time) += duration;
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        *lock(&self.time)
    }

    async fn sleep(&self, duration: Duration) {
        for _ in 0..self.turns {
            crate::turn().await;
        }
        let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        *lock(&self.time) += SignedDuration::from_nanos(nanos);
    }

    fn until<F: Future>(&self, end: Option<Timestamp>, work: F) -> impl Future<Output = F::Output> {
        lock(&self.ends).extend(end);
        work
    }
}
