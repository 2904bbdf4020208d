//! The receivers of webhooks: they fail in every way, and remember everything.

use crate::clock::SimClock;
use crate::fault::{Dice, FaultKind};
use crate::mutant::Mutation;
use jiff::{SignedDuration, Timestamp};
use sluice_core::delivery::{AttemptOutcome, Delivery};
use sluice_core::id::{RunId, TenantId};
use sluice_core::ports::{Clock, DeliveryRef, SendWebhook};
use sluice_testkit::fault::lock;
use sluice_testkit::fixture;
use sluice_testkit::store::MemoryStore;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Where the runs of a play want their webhooks. The last receiver is dead, and stays so.
pub const RECEIVERS: [&str; 3] = [
    fixture::CALLBACK_URL,
    "https://b123456789012345678901234567890b.lambda-url.eu-west-1.on.aws/hook",
    "https://d123456789012345678901234567890d.lambda-url.eu-west-1.on.aws/hook",
];

/// The origin of a receiver, as a tenant's list has it.
pub fn origin(url: &str) -> String {
    url.trim_end_matches("/hook").to_owned()
}

/// A signature is good for five minutes around its time.
const SIGNATURE_LIFE: SignedDuration = SignedDuration::from_mins(5);
/// The last attempt of a round.
const LAST_ATTEMPT: u32 = 8;

/// How long a sender waits for a slow receiver.
const SLOW: Duration = Duration::from_secs(10);

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    pub tenant: TenantId,
    pub run_id: RunId,
    pub url: String,
    pub webhook_id: String,
    /// The attempt's number, from 1.
    pub attempt: u32,
    pub body: String,
    pub accepted: bool,
    /// Whether the run's end was durable when the request left.
    pub was_terminal: bool,
}

#[derive(Clone, Debug)]
pub struct SimReceiver {
    pub received: Arc<Mutex<Vec<Received>>>,
    pub dice: Dice,
    pub clock: SimClock,
    pub store: MemoryStore,
    pub mutation: Option<Mutation>,
    /// What one sender has sent: the webhook and the number of the attempt.
    pub sent: Arc<Mutex<Vec<(DeliveryRef, u32)>>>,
}

impl SimReceiver {
    /// The same receivers, as another sender sees them.
    pub fn for_another_sender(&self) -> Self {
        Self { sent: Arc::default(), ..self.clone() }
    }

    /// The fault of this request, if it has one, and whether the receiver did its work all the same.
    fn trouble(&self, url: &str, delivery: &Delivery, signed_at: Timestamp) -> Option<(AttemptOutcome, bool)> {
        use FaultKind as F;
        let unreachable = |class: &str| AttemptOutcome::Unreachable { error_class: class.to_owned() };
        let rejected = |http_status, retry_after_seconds| AttemptOutcome::Rejected { http_status, retry_after_seconds };
        if self.clock.true_time().duration_since(signed_at).abs() > SIGNATURE_LIFE {
            self.dice.count(F::SignatureSkewed);
            return Some((rejected(403, None), false));
        }
        if url == RECEIVERS[2] {
            self.dice.count(if delivery.round_attempts == LAST_ATTEMPT { F::Exhausted } else { F::ReceiverError });
            return Some((rejected(500, None), false));
        }
        if !self.dice.roll(2) && !self.dice.roll(2) {
            return None;
        }
        let (kind, outcome, did_the_work) = match self.dice.pick(9) {
            0 => (F::ReceiverError, rejected(500 + self.dice.pick(4) as u16, None), false),
            1 => (F::ReceiverHangs, unreachable("timeout"), true),
            2 => (F::ReceiverResets, unreachable("reset"), true),
            3 => {
                let status = if self.dice.pick(2) == 0 { 429 } else { 503 };
                (F::ReceiverRetryAfter, rejected(status, Some(u64::from(self.dice.pick(10_000)))), false)
            }
            4 => (F::ReceiverForbids, rejected(403, None), false),
            5 => (F::CredentialsExpired, unreachable("credentials"), false),
            6 => (F::ReceiverRedirects, rejected(302, None), false),
            7 => (F::ReceiverVanished, unreachable("dns"), false),
            _ => (F::ReceiverGone, AttemptOutcome::Gone, false),
        };
        self.dice.count(kind);
        Some((outcome, did_the_work))
    }
}

impl SendWebhook for SimReceiver {
    async fn send_webhook(
        &self,
        url: &str,
        delivery: &Delivery,
        now: Timestamp,
        _patience: Duration,
    ) -> AttemptOutcome {
        sluice_testkit::turn().await;
        let is_slow = self.dice.inject(FaultKind::ReceiverSlow, 10);
        let trouble = match is_slow {
            // It does its work, and nobody waits for it so long.
            true => Some((AttemptOutcome::Unreachable { error_class: "timeout".to_owned() }, true)),
            false => self.trouble(url, delivery, now),
        };
        let body = match self.mutation {
            Some(Mutation::BodyRebuiltPerAttempt) => format!("{}{now}", delivery.body),
            _ => delivery.body.clone(),
        };
        // What is purged had ended: a sender that lost its lease may come late.
        let run = self.store.run(&delivery.tenant_id, delivery.run_id);
        let was_terminal = run.is_none_or(|run| run.status().is_terminal());
        lock(&self.received).push(Received {
            tenant: delivery.tenant_id.clone(),
            run_id: delivery.run_id,
            url: url.to_owned(),
            webhook_id: delivery.webhook_id(),
            attempt: delivery.attempts,
            body,
            accepted: trouble.as_ref().is_none_or(|(_, did_the_work)| *did_the_work),
            was_terminal,
        });
        let reference =
            DeliveryRef { tenant_id: delivery.tenant_id.clone(), run_id: delivery.run_id, number: delivery.number };
        lock(&self.sent).push((reference, delivery.attempts));
        sluice_testkit::turn().await;
        if is_slow {
            self.clock.sleep(SLOW).await;
        }
        trouble.map_or(AttemptOutcome::Delivered { http_status: Some(200) }, |(outcome, _)| outcome)
    }
}
