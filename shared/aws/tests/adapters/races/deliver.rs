//! Two senders of one delivery.

use super::arena::{Arena, late, play, rounds};
use crate::support::sample::{self, noon};
use crate::support::table::Table;
use jiff::Timestamp;
use sluice_aws::dynamo::item;
use sluice_core::delivery::{AttemptOutcome, Delivery, DeliveryStatus, LEASE_SECONDS};
use sluice_core::flow::deliver::{Delivered, deliver};
use sluice_core::ports::{DeliveryRef, ReadRuns, SendWebhook};
use sluice_testkit::clock::FixedClock;
use sluice_testkit::engine::MemoryEngine;
use sluice_testkit::fixture::{self, CALLBACK_URL};
use sluice_testkit::receiver::{MemoryReceiver, Received};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// A delivery of a tenant of its own: how one's receivers fare is shared by all of a tenant's senders.
async fn due(table: &Table, round: u32) -> Delivery {
    let tenant = fixture::tenant(&format!("mine-{round}"));
    let delivery = sample::delivery(&sample::run(&tenant, round, noon()), 1, noon());
    table.put(item::from_delivery(&delivery).expect("an item")).await;
    table.put(item::from_delivery_body(&delivery)).await;
    delivery
}

fn clock() -> FixedClock {
    FixedClock::at(&noon().to_string())
}

async fn send(table: Table, webhook: impl SendWebhook, clock: FixedClock, delivery: Delivery) -> Delivered {
    let delivery = DeliveryRef { tenant_id: delivery.tenant_id, run_id: delivery.run_id, number: delivery.number };
    let bus = MemoryEngine::default();
    let sent = deliver(&table.store, &bus, &webhook, &clock, &delivery);
    Box::pin(sent).await.expect("an answer")
}

/// The delivery as it is now, and the numbers of the attempts on record.
async fn on_record(table: &Table, delivery: &Delivery) -> (Delivery, Vec<u32>) {
    let mut found = table.store.list_deliveries(&delivery.tenant_id, delivery.run_id).await.expect("listed");
    let (found, attempts) = found.pop().expect("a delivery");
    (found, attempts.iter().map(|attempt| attempt.number).collect())
}

/// All of them are the same message, numbered from 1 without a gap or a repeat.
fn are_attempts_at(received: &[Received], delivery: &Delivery, count: u32) {
    let numbers: Vec<u32> = received.iter().map(|received| received.attempt).collect();
    assert_eq!(numbers, (1..=count).collect::<Vec<_>>());
    for received in received {
        let message = (received.url.as_str(), received.webhook_id.clone(), received.body.as_str());
        assert_eq!(message, (CALLBACK_URL, delivery.webhook_id(), delivery.body.as_str()));
    }
}

fn numbers_of(delivered: &Delivered) -> Vec<u32> {
    match delivered {
        Delivered::Attempted(_, attempt) => vec![attempt.number],
        Delivered::HeldBack | Delivered::Nothing => Vec::new(),
    }
}

/// Every third round the receiver refuses the first attempt, so that the loser of the race may make the second.
async fn sender_against_sender(arena: Arena, round: u32) -> &'static str {
    let delivery = due(arena.party(0), round).await;
    let (receiver, clock) = (MemoryReceiver::default(), clock());
    let is_refused_once = round.is_multiple_of(3);
    if is_refused_once {
        receiver.answer_next([AttemptOutcome::Rejected { http_status: 500, retry_after_seconds: None }]);
    }
    let (one, other) = arena
        .race(
            round,
            |table| send(table, receiver.clone(), clock.clone(), delivery.clone()),
            |table| send(table, receiver.clone(), clock.clone(), delivery.clone()),
        )
        .await;
    let (after, recorded) = on_record(arena.party(0), &delivery).await;
    let count = after.attempts;
    are_attempts_at(&receiver.received(), &delivery, count);
    assert_eq!(recorded, (1..=count).collect::<Vec<_>>());
    let expected = if is_refused_once && count == 1 { DeliveryStatus::Scheduled } else { DeliveryStatus::Delivered };
    assert_eq!(after.status, expected);
    let (one, other) = (numbers_of(&one), numbers_of(&other));
    let mut both = [one.clone(), other.clone()].concat();
    both.sort_unstable();
    assert_eq!(both, recorded, "each attempt was one sender's");
    match (one.is_empty(), other.is_empty()) {
        (false, true) => "the one sent it",
        (true, false) => "the other sent it",
        // The second attempt fell due while the one who had made the first was on its way to make it.
        (false, false) => {
            assert!(is_refused_once && count == 2, "round {round}");
            "each made an attempt"
        }
        (true, true) => panic!("round {round}: nobody sent it"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_senders_one_makes_an_attempt() {
    let arena = Arena::new(4).await;
    let tally = play(&arena, rounds(300), sender_against_sender).await;
    tally.has_all("sender against sender", &["the one sent it", "the other sent it"]);
}

/// A receiver so slow that the lease of whoever waits for it runs out: when it has taken the message, another sender is
/// let loose, against the note that the message was taken.
#[derive(Clone, Debug)]
struct Slow {
    receiver: MemoryReceiver,
    clock: FixedClock,
    taken: Arc<Notify>,
    table: Table,
    reads: u32,
}

impl SendWebhook for Slow {
    async fn send_webhook(&self, url: &str, delivery: &Delivery, now: Timestamp, patience: Duration) -> AttemptOutcome {
        let outcome = self.receiver.send_webhook(url, delivery, now, patience).await;
        self.clock.advance(LEASE_SECONDS);
        self.taken.notify_one();
        late(self.table.clone(), self.reads, async { outcome }).await
    }
}

async fn late_record_against_next_sender(arena: Arena, round: u32) -> &'static str {
    let delivery = due(arena.party(0), round).await;
    let (receiver, clock, taken) = (MemoryReceiver::default(), clock(), Arc::new(Notify::new()));
    let (one_at, other_at) = (arena.party(round as usize).clone(), arena.party(round as usize + 1).clone());
    let slow = Slow {
        receiver: receiver.clone(),
        clock: clock.clone(),
        taken: Arc::clone(&taken),
        table: one_at.clone(),
        reads: round % 5,
    };
    let late = tokio::spawn(send(one_at, slow, clock.clone(), delivery.clone()));
    let next = tokio::spawn({
        let (receiver, delivery) = (receiver.clone(), delivery.clone());
        async move {
            taken.notified().await;
            send(other_at, receiver, clock, delivery).await
        }
    });
    let (late, next) = (late.await.expect("no panic"), next.await.expect("no panic"));
    assert_eq!(numbers_of(&late), [1]);
    let (after, recorded) = on_record(arena.party(0), &delivery).await;
    assert_eq!(after.status, DeliveryStatus::Delivered);
    let count = after.attempts;
    are_attempts_at(&receiver.received(), &delivery, count);
    match (numbers_of(&next).as_slice(), count) {
        ([], 1) => {
            assert_eq!(recorded, [1]);
            "recorded in time"
        }
        ([2], 2) => {
            // Whoever lost the lease has no say any more; but what was sent stands in the record.
            assert_eq!(recorded, [1, 2]);
            "sent again"
        }
        other => panic!("round {round}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_sender_that_lost_its_lease_changes_nothing() {
    let arena = Arena::new(4).await;
    let tally = play(&arena, rounds(300), late_record_against_next_sender).await;
    tally.has_all("late record against next sender", &["recorded in time", "sent again"]);
}
