//! How a tenant's receivers fare, and who of those in trouble may be sent to now. All pure.
//!
//! A receiver is in trouble when its last attempt failed or was slow. The health of a tenant names those only, so most
//! tenants have none, and a receiver that answers well costs no write.
//!
//! **Invariants:** a receiver that is not in trouble is not bounded; attempts at those in trouble hold seats, a few for
//! each receiver and a few for the whole tenant; a seat that is given back goes to who waits for it; a seat that
//! nobody gives back is free again after its time. What is held back stays due: the health decides when a delivery is
//! sent, never whether.
//!
//! Decision (2026-11-27): one attempt that failed or was slow is trouble enough. The bound that follows is mild (four at a
//! time are dozens a second for a receiver that answers), the next good answer ends it, and a receiver that takes its time
//! is known before the queue has sent it anything.

use super::{Attempt, AttemptOutcome, Delivery, LEASE_SECONDS, Pace, webhook_id};
use crate::id::{RunId, TenantId};
use crate::time::millis;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Attempts that are under way at one receiver in trouble at a time.
pub const RECEIVER_AT_ONCE: usize = 4;
/// Attempts that are under way at all receivers in trouble of one tenant at a time.
pub const TENANT_AT_ONCE: usize = 8;
/// Deliveries of a tenant that are told as soon as there is a seat for them. More than these are left to the sweep.
pub const MOST_WAITING: usize = 50;
/// Receivers in trouble that a tenant's health names. Where there are more, all of the tenant's receivers count as in trouble.
pub const MOST_TROUBLED: usize = 50;
/// After so many seconds without another attempt nothing is known of a receiver any more.
pub const TROUBLE_SECONDS: i64 = 86_400;
/// A seat that was given to a delivery which waited is kept for so many seconds, until its message has come.
pub const HAND_ON_SECONDS: i64 = 15;

/// The health of a tenant's receivers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    pub tenant_id: TenantId,
    /// The receivers in trouble, by their origins.
    #[serde(default)]
    pub troubled: BTreeMap<String, Trouble>,
    /// The seats that are taken, by [`Delivery::webhook_id`].
    #[serde(default)]
    pub seats: BTreeMap<String, Seat>,
    /// Deliveries that wait for a seat, the one that waits longest first.
    #[serde(default)]
    pub waiting: Vec<Waiting>,
    #[serde(with = "millis")]
    pub updated_at: Timestamp,
    /// The revision: every write adds one and is made only if nobody else has written in between. 0: never written.
    pub rev: u64,
}

/// The last attempt at a receiver in trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    #[serde(with = "millis")]
    pub at: Timestamp,
}

/// A seat for an attempt at a receiver in trouble.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    pub origin: String,
    /// When the seat is free again though nobody has given it back.
    #[serde(with = "millis")]
    pub until: Timestamp,
}

/// A delivery that waits for a seat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    pub origin: String,
    pub run_id: RunId,
    pub number: u32,
}

/// Whether it is a delivery's turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The receiver is not in trouble.
    Free,
    /// It may, once this was written.
    Seated(Health),
    /// Not now. The delivery is told when there is a seat for it, once this was written.
    Waits(Health),
    /// Not now. It waits already, or so many wait that it is left to the sweep.
    Crowded,
}

/// What an attempt says of its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Well,
    /// It failed, or was slow.
    Badly,
    /// Nothing was sent.
    Unknown,
}

impl Verdict {
    /// What this attempt says. A receiver that wants no more messages has answered well.
    pub fn of(attempt: &Attempt) -> Self {
        let is_slow = u128::from(attempt.duration_ms) > Pace::AtTheEnd.patience().as_millis();
        match &attempt.outcome {
            AttemptOutcome::Delivered { .. } | AttemptOutcome::Gone if !is_slow => Self::Well,
            AttemptOutcome::Unreachable { error_class } if error_class == AttemptOutcome::NOT_LISTED => Self::Unknown,
            AttemptOutcome::Delivered { .. }
            | AttemptOutcome::Gone
            | AttemptOutcome::Rejected { .. }
            | AttemptOutcome::Unreachable { .. } => Self::Badly,
        }
    }
}

impl Health {
    /// The health of a tenant of whose receivers nothing is known.
    pub fn unknown(tenant_id: TenantId) -> Self {
        let (troubled, seats, waiting) = Default::default();
        Self { tenant_id, troubled, seats, waiting, updated_at: Timestamp::UNIX_EPOCH, rev: 0 }
    }

    /// When all that this says is out of date.
    pub fn ends_at(&self) -> Timestamp {
        self.updated_at + SignedDuration::from_secs(TROUBLE_SECONDS)
    }

    pub fn is_troubled(&self, origin: &str, now: Timestamp) -> bool {
        let lasts = |trouble: &Trouble| now.duration_since(trouble.at) < SignedDuration::from_secs(TROUBLE_SECONDS);
        self.troubled.get(origin).is_some_and(lasts)
            || self.troubled.values().filter(|trouble| lasts(trouble)).count() >= MOST_TROUBLED
    }

    /// Whether an attempt at `delivery`, which is due, may begin.
    pub fn admit(&self, delivery: &Delivery, origin: &str, now: Timestamp) -> Turn {
        if !self.is_troubled(origin, now) {
            return Turn::Free;
        }
        let mut next = self.next(now);
        let id = delivery.webhook_id();
        // A seat that is there already was given to this delivery while it waited, or to a sender of it that died: who may
        // send it is decided by the delivery itself.
        if next.seats.contains_key(&id) || next.has_room(origin) {
            next.waiting.retain(|waiting| waiting.webhook_id() != id);
            next.take_seat(id, origin, now, LEASE_SECONDS);
            return Turn::Seated(next);
        }
        if next.waiting.len() >= MOST_WAITING || next.waiting.iter().any(|waiting| waiting.webhook_id() == id) {
            return Turn::Crowded;
        }
        let (run_id, number) = (delivery.run_id, delivery.number);
        next.waiting.push(Waiting { origin: origin.to_owned(), run_id, number });
        Turn::Waits(next)
    }

    /// The health after an attempt, and the deliveries that now have a seat or need none any more: they are to be told.
    /// `None` when nothing changes.
    pub fn after(
        &self,
        delivery: &Delivery,
        origin: &str,
        verdict: Verdict,
        now: Timestamp,
    ) -> Option<(Self, Vec<Waiting>)> {
        let mut next = self.next(now);
        let had_seat = next.seats.remove(&delivery.webhook_id()).is_some();
        let changed = match verdict {
            Verdict::Well => next.troubled.remove(origin).is_some(),
            Verdict::Badly => {
                let is_named = next.troubled.contains_key(origin) || next.troubled.len() < MOST_TROUBLED;
                is_named && next.troubled.insert(origin.to_owned(), Trouble { at: now }) != Some(Trouble { at: now })
            }
            Verdict::Unknown => false,
        };
        if !had_seat && !changed {
            return None;
        }
        let told = next.hand_on(now);
        Some((next, told))
    }

    /// The next revision, without what is out of date.
    fn next(&self, now: Timestamp) -> Self {
        let mut next = Self { rev: self.rev + 1, updated_at: now, ..self.clone() };
        next.troubled.retain(|_, trouble| now.duration_since(trouble.at) < SignedDuration::from_secs(TROUBLE_SECONDS));
        next.seats.retain(|_, seat| seat.until > now);
        next
    }

    fn has_room(&self, origin: &str) -> bool {
        let at_receiver = self.seats.values().filter(|seat| seat.origin == origin).count();
        at_receiver < RECEIVER_AT_ONCE && self.seats.len() < TENANT_AT_ONCE
    }

    fn take_seat(&mut self, id: String, origin: &str, now: Timestamp, seconds: i64) {
        let until = now + SignedDuration::from_secs(seconds);
        self.seats.insert(id, Seat { origin: origin.to_owned(), until });
    }

    /// Gives what is free to those who wait, in their order.
    fn hand_on(&mut self, now: Timestamp) -> Vec<Waiting> {
        let mut told = Vec::new();
        for waiting in std::mem::take(&mut self.waiting) {
            let needs_seat = self.is_troubled(&waiting.origin, now);
            if needs_seat && !self.has_room(&waiting.origin) {
                self.waiting.push(waiting);
                continue;
            }
            if needs_seat {
                self.take_seat(waiting.webhook_id(), &waiting.origin, now, HAND_ON_SECONDS);
            }
            told.push(waiting);
        }
        told
    }
}

impl Waiting {
    fn webhook_id(&self) -> String {
        webhook_id(self.run_id, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::{Channel, DeliveryStatus};

    const SLOW: &str = "https://slow.example";
    const WELL: &str = "https://well.example";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_795_800_000 + seconds).expect("a time")
    }

    fn tenant() -> TenantId {
        "acme".parse().expect("a tenant")
    }

    fn delivery(number: u32) -> Delivery {
        Delivery {
            tenant_id: tenant(),
            run_id: "0190163d-8694-439b-aea5-966c26f8ad91".parse().expect("a run id"),
            number,
            channel: Channel::Webhook { url: format!("{SLOW}/hook") },
            status: DeliveryStatus::Scheduled,
            attempts: 0,
            round_attempts: 0,
            next_attempt_at: Some(at(0)),
            created_at: at(0),
            ended_at: None,
            dead_letter_reason: None,
            rev: 1,
            body: "{}".to_owned(),
        }
    }

    fn after(health: &Health, number: u32, origin: &str, verdict: Verdict, seconds: i64) -> (Health, Vec<u32>) {
        let (next, told) = health.after(&delivery(number), origin, verdict, at(seconds)).expect("a change");
        (next, told.into_iter().map(|told| told.number).collect())
    }

    fn in_trouble() -> Health {
        after(&Health::unknown(tenant()), 1, SLOW, Verdict::Badly, 0).0
    }

    /// Admits deliveries in their order; which of them were given a seat, which wait, and which are left to the sweep.
    fn admit(
        health: &mut Health,
        numbers: impl IntoIterator<Item = u32>,
        origin: &str,
    ) -> (Vec<u32>, Vec<u32>, Vec<u32>) {
        let (mut seated, mut waits, mut crowded) = (vec![], vec![], vec![]);
        for number in numbers {
            match health.admit(&delivery(number), origin, at(1)) {
                Turn::Free => panic!("{origin} is in trouble"),
                Turn::Seated(next) => {
                    *health = next;
                    seated.push(number);
                }
                Turn::Waits(next) => {
                    *health = next;
                    waits.push(number);
                }
                Turn::Crowded => crowded.push(number),
            }
        }
        (seated, waits, crowded)
    }

    #[test]
    fn a_receiver_that_answers_well_is_not_bounded_and_costs_no_write() {
        let health = Health::unknown(tenant());
        assert_eq!(health.after(&delivery(1), WELL, Verdict::Well, at(0)), None);
        assert_eq!(health.admit(&delivery(1), WELL, at(0)), Turn::Free);
        // Nor when another one of the tenant is in trouble.
        assert_eq!(in_trouble().admit(&delivery(2), WELL, at(1)), Turn::Free);
        assert_eq!(in_trouble().after(&delivery(2), WELL, Verdict::Well, at(1)), None);
    }

    #[test]
    fn a_verdict_is_about_the_answer_and_its_time() {
        let unreachable = |class: &str| AttemptOutcome::Unreachable { error_class: class.to_owned() };
        let delivered = AttemptOutcome::Delivered { http_status: Some(200) };
        let rejected = AttemptOutcome::Rejected { http_status: 500, retry_after_seconds: None };
        for (outcome, seconds, expected) in [
            (&delivered, 0, Verdict::Well),
            (&delivered, 2, Verdict::Well),
            (&delivered, 3, Verdict::Badly),
            (&AttemptOutcome::Gone, 1, Verdict::Well),
            (&AttemptOutcome::Gone, 5, Verdict::Badly),
            (&rejected, 0, Verdict::Badly),
            (&unreachable("timeout"), 2, Verdict::Badly),
            (&unreachable(AttemptOutcome::NOT_LISTED), 0, Verdict::Unknown),
        ] {
            let attempt = Attempt { number: 1, at: at(0), duration_ms: seconds * 1_000, outcome: outcome.clone() };
            assert_eq!(Verdict::of(&attempt), expected, "{outcome:?} after {seconds} s");
        }
    }

    #[test]
    fn attempts_at_one_receiver_in_trouble_are_few_and_seats_are_handed_on_in_order() {
        let mut health = in_trouble();
        let (seated, waits, crowded) = admit(&mut health, 1..=60, SLOW);
        assert_eq!(seated, [1, 2, 3, 4]);
        assert_eq!(waits, (5..=54).collect::<Vec<_>>());
        assert_eq!(crowded, (55..=60).collect::<Vec<_>>());
        // Who waits already does not wait twice.
        assert_eq!(admit(&mut health, [7], SLOW), (vec![], vec![], vec![7]));
        let (next, told) = after(&health, 2, SLOW, Verdict::Badly, 2);
        assert_eq!(told, [5]);
        health = next;
        // The seat is that delivery's: nobody who comes by takes it.
        assert_eq!(admit(&mut health, [61, 5], SLOW), (vec![5], vec![61], vec![]));
    }

    #[test]
    fn a_receiver_that_is_well_again_frees_all_that_wait_for_it() {
        let mut health = in_trouble();
        admit(&mut health, 1..=10, SLOW);
        let (health, told) = after(&health, 1, SLOW, Verdict::Well, 2);
        assert_eq!(told, (5..=10).collect::<Vec<_>>());
        assert!(health.waiting.is_empty() && health.troubled.is_empty());
        assert_eq!(health.admit(&delivery(11), SLOW, at(3)), Turn::Free);
        // The seats of those under way are given back one by one.
        assert_eq!(health.seats.len(), 3);
        assert_eq!(after(&health, 2, SLOW, Verdict::Well, 3).0.seats.len(), 2);
    }

    #[test]
    fn a_tenant_has_few_seats_however_many_of_its_receivers_are_in_trouble() {
        let origins: Vec<String> = (0..5).map(|number| format!("https://{number}.example")).collect();
        let mut health = Health::unknown(tenant());
        for origin in &origins {
            health = after(&health, 99, origin, Verdict::Badly, 0).0;
        }
        let mut seated = 0;
        for (index, origin) in (0..).zip(&origins) {
            seated += admit(&mut health, index * 10..index * 10 + 10, origin).0.len();
        }
        assert_eq!(seated, TENANT_AT_ONCE);
    }

    #[test]
    fn a_tenant_with_too_many_receivers_in_trouble_is_in_trouble_with_all() {
        let mut health = Health::unknown(tenant());
        for number in 0..MOST_TROUBLED {
            assert!(!health.is_troubled(WELL, at(0)));
            health = after(&health, 1, &format!("https://{number}.example"), Verdict::Badly, 0).0;
        }
        assert!(health.is_troubled(WELL, at(0)));
        assert_eq!(health.after(&delivery(1), WELL, Verdict::Badly, at(1)), None, "it names no more of them");
        assert!(!after(&health, 1, "https://0.example", Verdict::Well, 1).0.is_troubled(WELL, at(1)));
    }

    #[test]
    fn what_nobody_gives_back_or_says_again_is_over_after_its_time() {
        let mut health = in_trouble();
        admit(&mut health, 1..=6, SLOW);
        let later = at(1 + LEASE_SECONDS);
        let Turn::Seated(next) = health.admit(&delivery(7), SLOW, later) else { panic!("the seats are free") };
        assert_eq!(next.seats.len(), 1);
        assert_eq!(health.admit(&delivery(7), SLOW, at(TROUBLE_SECONDS)), Turn::Free);
        let named =
            |seconds| after(&in_trouble(), 2, WELL, Verdict::Badly, seconds).0.troubled.into_keys().collect::<Vec<_>>();
        assert_eq!(named(TROUBLE_SECONDS - 1), [SLOW, WELL]);
        assert_eq!(named(TROUBLE_SECONDS), [WELL]);
    }

    #[test]
    fn what_is_said_of_receivers_is_out_of_date_a_day_after_the_last_change() {
        let day = SignedDuration::from_secs(TROUBLE_SECONDS);
        let mut health = Health::unknown(tenant());
        for (number, seconds) in [(1, 0), (2, 7), (3, 3_600)] {
            health = after(&health, number, SLOW, Verdict::Badly, seconds).0;
            assert_eq!((health.updated_at, health.ends_at()), (at(seconds), at(seconds) + day));
            let (Turn::Seated(next) | Turn::Waits(next)) = health.admit(&delivery(number), SLOW, at(seconds + 5))
            else {
                panic!("there is a seat")
            };
            assert_eq!((next.updated_at, next.ends_at()), (at(seconds + 5), at(seconds + 5) + day));
            health = next;
        }
    }

    #[test]
    fn whatever_happens_seats_stay_few_and_nobody_waits_for_a_receiver_that_is_well() {
        // Every sequence of what may happen to a few deliveries at two receivers, by a counter that is read as digits.
        for seed in 0_u64..3_000 {
            let mut health = Health::unknown(tenant());
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            for step in 0..60 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let number = (random >> 33) as u32 % 30;
                let origin = if number.is_multiple_of(2) { SLOW } else { WELL };
                let verdict =
                    [Verdict::Well, Verdict::Badly, Verdict::Badly, Verdict::Unknown][(random >> 40) as usize % 4];
                let before = health.rev;
                if (random >> 50) % 2 == 0 {
                    if let Some((next, _)) = health.after(&delivery(number), origin, verdict, at(step)) {
                        health = next;
                    }
                } else if let Turn::Seated(next) | Turn::Waits(next) = health.admit(&delivery(number), origin, at(step))
                {
                    health = next;
                }
                assert!(health.rev == before || health.rev == before + 1);
                assert!(health.waiting.len() <= MOST_WAITING);
                for origin in [SLOW, WELL] {
                    let waits = health.waiting.iter().any(|waiting| waiting.origin == origin);
                    let seated = health.seats.values().filter(|seat| seat.origin == origin).count();
                    assert!(seated <= RECEIVER_AT_ONCE, "seed {seed}, step {step}: {health:?}");
                    assert!(!waits || health.is_troubled(origin, at(step)), "seed {seed}, step {step}: {health:?}");
                }
            }
        }
    }
}
