//! A webhook receiver in memory: remembers what it got and answers as told.

use crate::clock::FixedClock;
use crate::fault::lock;
use jiff::{SignedDuration, Timestamp};
use sluice_core::delivery::{AttemptOutcome, Delivery};
use sluice_core::ports::SendWebhook;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub url: String,
    pub webhook_id: String,
    pub attempt: u32,
    pub body: String,
    pub at: Timestamp,
    /// How long its sender would have waited for the answer.
    pub patience: Duration,
}

/// Clones share one receiver. Answers 200 unless told otherwise.
#[derive(Clone, Debug, Default)]
pub struct MemoryReceiver {
    received: Arc<Mutex<Vec<Received>>>,
    answers: Arc<Mutex<VecDeque<AttemptOutcome>>>,
    slow: Arc<Mutex<Option<Slow>>>,
}

/// What moves the time while somebody waits, and how long an answer takes, by the beginning of the URL.
#[derive(Debug)]
struct Slow {
    clock: FixedClock,
    takes: Vec<(String, Duration)>,
}

impl MemoryReceiver {
    /// Queues the answers to the next requests.
    pub fn answer_next(&self, outcomes: impl IntoIterator<Item = AttemptOutcome>) {
        lock(&self.answers).extend(outcomes);
    }

    /// From now on answers at URLs that begin so take that long by this clock. Whoever is less patient is told `timeout`.
    pub fn answer_after(&self, url: &str, takes: Duration, clock: &FixedClock) {
        let mut slow = lock(&self.slow);
        let slow = slow.get_or_insert_with(|| Slow { clock: clock.clone(), takes: Vec::new() });
        slow.takes.retain(|(known, _)| known != url);
        slow.takes.push((url.to_owned(), takes));
    }

    /// Waits for the answer, and says whether it came in time.
    fn wait(&self, url: &str, patience: Duration) -> bool {
        let slow = lock(&self.slow);
        let Some(Slow { clock, takes: all }) = slow.as_ref() else { return true };
        let Some((_, takes)) = all.iter().find(|(known, _)| url.starts_with(known)) else { return true };
        clock.pass(SignedDuration::try_from(*takes.min(&patience)).unwrap_or(SignedDuration::ZERO));
        *takes <= patience
    }

    pub fn received(&self) -> Vec<Received> {
        lock(&self.received).clone()
    }
}

impl SendWebhook for MemoryReceiver {
    async fn send_webhook(&self, url: &str, delivery: &Delivery, now: Timestamp, patience: Duration) -> AttemptOutcome {
        crate::turn().await;
        lock(&self.received).push(Received {
            url: url.to_owned(),
            webhook_id: delivery.webhook_id(),
            attempt: delivery.attempts,
            body: delivery.body.clone(),
            at: now,
            patience,
        });
        let answer = lock(&self.answers).pop_front();
        crate::turn().await;
        if !self.wait(url, patience) {
            return AttemptOutcome::Unreachable { error_class: "timeout".to_owned() };
        }
        answer.unwrap_or(AttemptOutcome::Delivered { http_status: Some(200) })
    }
}
