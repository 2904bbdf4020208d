//! A webhook receiver in memory: remembers what it got and answers as told.

use crate::fault::lock;
use jiff::Timestamp;
use sluice_core::delivery::{AttemptOutcome, Delivery};
use sluice_core::ports::SendWebhook;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// One request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub url: String,
    pub webhook_id: String,
    pub attempt: u32,
    pub body: String,
    pub at: Timestamp,
}

/// Clones share one receiver. Answers 200 unless told otherwise.
#[derive(Clone, Debug, Default)]
pub struct MemoryReceiver {
    received: Arc<Mutex<Vec<Received>>>,
    answers: Arc<Mutex<VecDeque<AttemptOutcome>>>,
}

impl MemoryReceiver {
    /// Queues the answers to the next requests.
    pub fn answer_next(&self, outcomes: impl IntoIterator<Item = AttemptOutcome>) {
        lock(&self.answers).extend(outcomes);
    }

    pub fn received(&self) -> Vec<Received> {
        lock(&self.received).clone()
    }
}

impl SendWebhook for MemoryReceiver {
    async fn send_webhook(&self, url: &str, delivery: &Delivery, now: Timestamp) -> AttemptOutcome {
        crate::turn().await;
        lock(&self.received).push(Received {
            url: url.to_owned(),
            webhook_id: delivery.webhook_id(),
            attempt: delivery.attempts,
            body: delivery.body.clone(),
            at: now,
        });
        let answer = lock(&self.answers).pop_front();
        crate::turn().await;
        answer.unwrap_or(AttemptOutcome::Delivered { http_status: Some(200) })
    }
}
