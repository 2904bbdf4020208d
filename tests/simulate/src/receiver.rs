//! The receiver of webhooks: fails in every way, remembers everything.

use crate::fault::{Dice, FaultKind};
use crate::mutant::Mutation;
use jiff::Timestamp;
use sluice_core::callback::{AttemptOutcome, Delivery};
use sluice_core::id::RunId;
use sluice_core::ports::SendWebhook;
use sluice_testkit::fault::lock;
use sluice_testkit::store::MemoryStore;
use std::sync::{Arc, Mutex};

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    pub run_id: RunId,
    pub webhook_id: String,
    pub body: String,
    pub accepted: bool,
    /// Whether the run's end was durable when the request left.
    pub was_terminal: bool,
}

#[derive(Clone, Debug)]
pub struct SimReceiver {
    pub received: Arc<Mutex<Vec<Received>>>,
    pub dice: Dice,
    pub store: MemoryStore,
    pub mutation: Option<Mutation>,
}

impl SimReceiver {
    /// The fault of this request, if it has one, and whether the receiver did its work all the same.
    fn trouble(&self, delivery: &Delivery) -> Option<(AttemptOutcome, bool)> {
        use FaultKind as F;
        let unreachable = |class: &str| AttemptOutcome::Unreachable { error_class: class.to_owned() };
        let rejected = |http_status, retry_after_seconds| AttemptOutcome::Rejected { http_status, retry_after_seconds };
        // Some receivers are simply dead, and stay so.
        if delivery.run_id.0.as_u128() % 13 == 3 {
            self.dice.count(if delivery.attempts == 8 { F::Exhausted } else { F::ReceiverError });
            return Some((rejected(500, None), false));
        }
        if self.dice.inject(F::ReceiverError, 8) {
            return Some((rejected(500 + self.dice.pick(4) as u16, None), false));
        }
        if self.dice.inject(F::ReceiverHangs, 12) {
            return Some((unreachable("timeout"), true));
        }
        if self.dice.inject(F::ReceiverResets, 12) {
            return Some((unreachable("reset"), true));
        }
        if self.dice.inject(F::ReceiverRetryAfter, 12) {
            return Some((
                rejected(if self.dice.pick(2) == 0 { 429 } else { 503 }, Some(u64::from(self.dice.pick(10_000)))),
                false,
            ));
        }
        if self.dice.inject(F::ReceiverForbids, 16) {
            return Some((rejected(403, None), false));
        }
        if self.dice.inject(F::ReceiverRedirects, 16) {
            return Some((rejected(302, None), false));
        }
        if self.dice.inject(F::ReceiverVanished, 16) {
            return Some((unreachable("dns"), false));
        }
        if self.dice.inject(F::ReceiverGone, 20) {
            return Some((AttemptOutcome::Gone, false));
        }
        None
    }
}

impl SendWebhook for SimReceiver {
    async fn send_webhook(&self, _url: &str, delivery: &Delivery, now: Timestamp) -> AttemptOutcome {
        sluice_testkit::turn().await;
        let trouble = self.trouble(delivery);
        let body = match self.mutation {
            Some(Mutation::BodyRebuiltPerAttempt) => format!("{}{now}", delivery.body),
            _ => delivery.body.clone(),
        };
        let was_terminal =
            self.store.run(&delivery.tenant_id, delivery.run_id).is_some_and(|run| run.status.is_terminal());
        lock(&self.received).push(Received {
            run_id: delivery.run_id,
            webhook_id: delivery.webhook_id(),
            body,
            accepted: trouble.as_ref().is_none_or(|(_, did_the_work)| *did_the_work),
            was_terminal,
        });
        sluice_testkit::turn().await;
        trouble.map_or(AttemptOutcome::Delivered { http_status: Some(200) }, |(outcome, _)| outcome)
    }
}
