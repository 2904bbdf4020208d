//! Receivers that fail or take their time, beside others.

use crate::world::World;
use jiff::{SignedDuration, Timestamp};
use sluice_core::delivery::health::{MOST_WAITING, RECEIVER_AT_ONCE, TENANT_AT_ONCE};
use sluice_core::delivery::{AttemptOutcome, Channel, Delivery, DeliveryStatus};
use sluice_core::flow::deliver::{Delivered, deliver};
use sluice_core::id::TenantId;
use sluice_core::ports::{Clock, DeliveryRef, ReceiverHealth, SendWebhook, StoreErrorClass};
use sluice_testkit::contract::at_once;
use sluice_testkit::fault::{Fault, lock};
use sluice_testkit::{block_on, fixture};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SLOW: &str = "https://s123456789012345678901234567890s.lambda-url.eu-west-1.on.aws";
const DEAD: &str = "https://d123456789012345678901234567890d.lambda-url.eu-west-1.on.aws";
const WELL: &str = "https://w123456789012345678901234567890w.lambda-url.eu-west-1.on.aws";

fn tenant(name: &str) -> TenantId {
    name.parse().expect("a tenant")
}

/// A delivery that is due, of a run with this number.
fn due(world: &World, tenant_id: &TenantId, number: u128, origin: &str) -> DeliveryRef {
    let (tenant_id, run_id, now) = (tenant_id.clone(), fixture::run_id(number), world.clock.now());
    let delivery = Delivery {
        tenant_id: tenant_id.clone(),
        run_id,
        number: 1,
        channel: Channel::Webhook { url: format!("{origin}/hook") },
        status: DeliveryStatus::Scheduled,
        attempts: 0,
        round_attempts: 0,
        next_attempt_at: Some(now),
        created_at: now,
        ended_at: None,
        dead_letter_reason: None,
        rev: 1,
        body: "{}".to_owned(),
    };
    world.store.seed_delivery(delivery, Vec::new());
    DeliveryRef { tenant_id, run_id, number: 1 }
}

fn delivery(world: &World, of: &DeliveryRef) -> Delivery {
    let found = world.store.deliveries().into_iter().map(|(delivery, _)| delivery);
    let mut found = found.filter(|delivery| (delivery.run_id, delivery.number) == (of.run_id, of.number));
    found.next().expect("a delivery")
}

/// Keeps every request for a while, and sees how many it has of each receiver at a time.
#[derive(Clone, Debug, Default)]
struct Crowd {
    /// Requests under way and the most there ever were, by tenant and by URL.
    seen: Arc<Mutex<BTreeMap<String, (usize, usize)>>>,
    /// Senders of a delivery at a time.
    senders: Arc<Mutex<BTreeSet<String>>>,
    /// Those whose URL begins so get no answer.
    dead: Option<&'static str>,
}

impl Crowd {
    fn most(&self, of: &str) -> usize {
        lock(&self.seen).get(of).map_or(0, |(_, most)| *most)
    }
}

impl SendWebhook for Crowd {
    async fn send_webhook(
        &self,
        url: &str,
        delivery: &Delivery,
        _now: jiff::Timestamp,
        _patience: Duration,
    ) -> AttemptOutcome {
        let of = [url.to_owned(), delivery.tenant_id.to_string()];
        assert!(lock(&self.senders).insert(delivery.webhook_id()), "two send {}", delivery.webhook_id());
        for of in &of {
            let mut seen = lock(&self.seen);
            let (now, most) = seen.entry(of.clone()).or_default();
            *now += 1;
            *most = (*most).max(*now);
        }
        for _ in 0..50 {
            sluice_testkit::turn().await;
        }
        for of in &of {
            if let Some((now, _)) = lock(&self.seen).get_mut(of) {
                *now -= 1;
            }
        }
        lock(&self.senders).remove(&delivery.webhook_id());
        match self.dead.is_some_and(|dead| url.starts_with(dead)) {
            true => AttemptOutcome::Unreachable { error_class: "timeout".to_owned() },
            false => AttemptOutcome::Delivered { http_status: Some(200) },
        }
    }
}

/// Sends deliveries as the queue would, all at once.
fn send_all(world: &World, crowd: &Crowd, deliveries: &[DeliveryRef]) -> Vec<Delivered> {
    let sent = deliveries.iter().map(|delivery| deliver(&world.store, &world.engine, crowd, &world.clock, delivery));
    block_on(at_once(sent)).into_iter().map(|sent| sent.expect("the store answers")).collect()
}

/// A receiver whose last attempt failed.
fn put_in_trouble(world: &World, tenant_id: &TenantId, number: u128, origin: &str) {
    world.receiver.answer_next([AttemptOutcome::Rejected { http_status: 500, retry_after_seconds: None }]);
    world.deliver_at_the_end(&due(world, tenant_id, number, origin));
    world.engine.take_announced();
}

fn has_arrived(world: &World, delivery: &DeliveryRef) -> bool {
    let mut all = world.store.deliveries().into_iter();
    all.any(|(found, _)| found.run_id == delivery.run_id && found.status == DeliveryStatus::Delivered)
}

#[test]
fn who_settles_runs_leaves_a_receiver_in_trouble_to_the_queue() {
    let (world, acme) = (World::new(), tenant("acme"));
    put_in_trouble(&world, &acme, 1, SLOW);
    let owed = due(&world, &acme, 2, SLOW);
    assert_eq!(world.deliver_at_the_end(&owed), Delivered::HeldBack);
    assert_eq!(world.engine.take_announced(), std::slice::from_ref(&owed));
    // Its neighbours are not minded, neither the tenant's other receivers nor other tenants at the same place.
    for (tenant_id, number, origin) in [(&acme, 3, WELL), (&tenant("globex"), 4, SLOW)] {
        let owed = due(&world, tenant_id, number, origin);
        assert!(matches!(world.deliver_at_the_end(&owed), Delivered::Attempted(..)));
        assert!(has_arrived(&world, &owed));
    }
    // It answers well again, and is well again.
    assert!(matches!(world.deliver(&owed), Delivered::Attempted(..)));
    let next = due(&world, &acme, 5, SLOW);
    assert!(matches!(world.deliver_at_the_end(&next), Delivered::Attempted(..)));
}

#[test]
fn a_receiver_in_trouble_has_few_attempts_at_a_time_and_one_that_is_well_as_many_as_come() {
    let (world, acme, globex) = (World::new(), tenant("acme"), tenant("globex"));
    put_in_trouble(&world, &acme, 1, DEAD);
    let crowd = Crowd { dead: Some(DEAD), ..Crowd::default() };
    let dead: Vec<_> = (100..130).map(|number| due(&world, &acme, number, DEAD)).collect();
    let well: Vec<_> = (200..230).map(|number| due(&world, &acme, number, WELL)).collect();
    let others: Vec<_> = (300..330).map(|number| due(&world, &globex, number, SLOW)).collect();
    send_all(&world, &crowd, &[dead, well.clone(), others.clone()].concat());
    assert!((1..=RECEIVER_AT_ONCE).contains(&crowd.most(&format!("{DEAD}/hook"))), "{crowd:?}");
    assert_eq!(crowd.most(&format!("{WELL}/hook")), 30, "{crowd:?}");
    assert_eq!(crowd.most("globex"), 30, "{crowd:?}");
    assert!(well.iter().chain(&others).all(|delivery| has_arrived(&world, delivery)));
}

#[test]
fn a_tenant_with_many_receivers_in_trouble_has_few_attempts_at_a_time() {
    let (world, acme) = (World::new(), tenant("acme"));
    let crowd = Crowd { dead: Some("https://"), ..Crowd::default() };
    let origins: Vec<String> = (0..10).map(|number| SLOW.replace("s1", &format!("s{number}"))).collect();
    let mut deliveries = Vec::new();
    for (number, origin) in (0..).zip(&origins) {
        put_in_trouble(&world, &acme, number, origin);
        deliveries.extend((0..10).map(|of| due(&world, &acme, 1_000 + number * 100 + of, origin)));
    }
    send_all(&world, &crowd, &deliveries);
    assert!((1..=TENANT_AT_ONCE).contains(&crowd.most("acme")), "{crowd:?}");
}

#[test]
fn what_waits_for_a_slow_receiver_is_told_when_there_is_a_seat_and_needs_no_sweep() {
    let (world, acme) = (World::new(), tenant("acme"));
    let takes = Duration::from_secs(5);
    world.receiver.answer_after(SLOW, takes, &world.clock);
    let first = due(&world, &acme, 1, SLOW);
    world.deliver_at_the_end(&first);
    let mut told = world.engine.take_announced();
    assert_eq!(told, std::slice::from_ref(&first));
    // As many as may wait, and those that have a seat meanwhile.
    let owed: Vec<_> = (10..10 + MOST_WAITING as u128).map(|number| due(&world, &acme, number, SLOW)).collect();
    for delivery in &owed {
        world.deliver_at_the_end(delivery);
    }
    told.extend(world.engine.take_announced());
    let began = world.clock.now();
    let mut held_back = 0;
    while !told.is_empty() {
        // More at a time than there are seats for.
        for some in told.chunks(RECEIVER_AT_ONCE + 2) {
            let sent = some
                .iter()
                .map(|delivery| deliver(&world.store, &world.engine, &world.receiver, &world.clock, delivery));
            let sent = block_on(at_once(sent)).into_iter().map(|sent| sent.expect("the store answers"));
            held_back += sent.filter(|sent| *sent == Delivered::HeldBack).count();
        }
        told = world.engine.take_announced();
    }
    let left: Vec<_> = owed.iter().chain([&first]).filter(|delivery| !has_arrived(&world, delivery)).collect();
    assert!(left.is_empty(), "{} are left after {}", left.len(), world.clock.now().duration_since(began));
    assert!(held_back > 0, "nobody waited");
    for (delivery, attempts) in world.store.deliveries() {
        assert_eq!(delivery.attempts as usize, attempts.len(), "every attempt has its record");
    }
}

#[test]
fn who_is_held_back_is_told_once_that_there_is_a_seat() {
    let (world, acme) = (World::new(), tenant("acme"));
    put_in_trouble(&world, &acme, 1, SLOW);
    let owed: Vec<_> = (2..4 + RECEIVER_AT_ONCE as u128).map(|number| due(&world, &acme, number, SLOW)).collect();
    drop(world.engine.take_announced());
    let sent = send_all(&world, &Crowd { dead: Some(SLOW), ..Crowd::default() }, &owed);
    let told = world.engine.take_announced();
    let held_back =
        owed.iter().zip(sent).filter(|(_, sent)| *sent == Delivered::HeldBack).map(|(delivery, _)| delivery);
    let times: Vec<usize> = held_back.map(|delivery| told.iter().filter(|told| *told == delivery).count()).collect();
    assert!(!times.is_empty() && times.iter().all(|times| *times == 1), "{times:?}");
}

#[test]
fn a_repeated_message_sends_nothing_twice_and_takes_no_second_seat() {
    let (world, acme) = (World::new(), tenant("acme"));
    put_in_trouble(&world, &acme, 1, SLOW);
    let crowd = Crowd { dead: Some(SLOW), ..Crowd::default() };
    let owed = due(&world, &acme, 2, SLOW);
    let sent = send_all(&world, &crowd, &vec![owed.clone(); 10]);
    assert_eq!(sent.iter().filter(|sent| matches!(sent, Delivered::Attempted(..))).count(), 1);
    let health = block_on(world.store.load_health(&acme)).expect("the store answers");
    assert!(health.seats.is_empty() && health.waiting.is_empty(), "{health:?}");
}

#[test]
fn trouble_with_the_health_loses_no_delivery_and_no_record() {
    for operation in ["load the receivers' health", "change the receivers' health"] {
        for fault in [Fault::Before(StoreErrorClass::Unavailable), Fault::After(StoreErrorClass::Unavailable)] {
            // Before the attempt, and after it.
            for nth in [1, 2] {
                let (world, acme) = (World::new(), tenant("acme"));
                put_in_trouble(&world, &acme, 1, SLOW);
                let owed = due(&world, &acme, 2, SLOW);
                let mut calls = 0;
                world.store.faults.set(move |called| {
                    calls += u32::from(called == operation);
                    (called == operation && calls == nth).then_some(fault)
                });
                let sent = deliver(&world.store, &world.engine, &world.receiver, &world.clock, &owed);
                assert!(block_on(sent).is_err(), "{operation} {fault:?} {nth}");
                world.store.faults.clear();
                assert_eq!(has_arrived(&world, &owed), nth == 2, "{operation} {fault:?} {nth}");
                world.clock.advance(61);
                world.deliver(&owed);
                assert!(has_arrived(&world, &owed), "{operation} {fault:?} {nth}");
                let records: usize = world.store.deliveries().iter().map(|(_, attempts)| attempts.len()).sum();
                assert_eq!(world.receiver.received().len(), records, "{operation} {fault:?} {nth}");
            }
        }
    }
}

#[test]
fn every_sweep_looks_at_those_who_have_waited_longest() {
    let (world, acme, globex) = (World::new(), tenant("acme"), tenant("globex"));
    put_in_trouble(&world, &acme, 16, DEAD);
    for number in 2..2_502 {
        due(&world, &acme, number * 16, DEAD);
    }
    world.clock.advance(1);
    for number in 0..3 {
        let longest = due(&world, &globex, (100_000 + number) * 16, WELL);
        world.store.seed_delivery(
            Delivery { next_attempt_at: Some(Timestamp::UNIX_EPOCH), ..delivery(&world, &longest) },
            Vec::new(),
        );
        world.reconcile();
        assert!(world.engine.take_announced().contains(&longest), "sweep {number}");
        world.clock.advance(60);
    }
}

#[test]
fn nobody_is_hidden_for_long_behind_what_a_dead_receiver_is_owed() {
    let (world, acme, globex) = (World::new(), tenant("acme"), tenant("globex"));
    // All in one shard, and more than a sweep looks at.
    put_in_trouble(&world, &acme, 16, DEAD);
    for number in 2..2_502 {
        due(&world, &acme, number * 16, DEAD);
    }
    world.clock.advance(1);
    let hidden = due(&world, &globex, 100_000 * 16, WELL);
    for sweep in 1.. {
        assert!(sweep <= 6, "it is still hidden");
        world.reconcile();
        let told = world.engine.take_announced();
        assert!(told.iter().filter(|delivery| **delivery != hidden).count() <= 25, "to a receiver in trouble");
        if told.contains(&hidden) {
            break;
        }
        world.clock.pass(SignedDuration::from_secs(60));
    }
    world.deliver(&hidden);
    assert!(has_arrived(&world, &hidden));
}

#[test]
fn three_thousand_due_webhooks_of_healthy_receivers_leave_within_five_minutes_beside_a_dead_one() {
    let (world, acme, globex) = (World::new(), tenant("acme"), tenant("globex"));
    // Ids are spread over the shards as random ones are, not evenly.
    let mut random = 7_u128;
    let mut next_id = || {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d_1405_7b7e_f767_814f).wrapping_add(0x9e37_79b9_7f4a_7c15);
        random >> 20
    };
    put_in_trouble(&world, &acme, next_id(), SLOW);
    for _ in 0..1_500 {
        due(&world, &acme, next_id(), SLOW);
    }
    world.clock.advance(1);
    let mut healthy = BTreeSet::new();
    for number in 0..3_600 {
        let origin = format!("https://{:032}.lambda-url.eu-west-1.on.aws", number % 200);
        let of = if number % 2 == 0 { &acme } else { &globex };
        healthy.insert(due(&world, of, next_id(), &origin));
    }
    let mut sweeps = 0;
    let is_left = |world: &World| {
        let mut left = 0;
        world.store.each_delivery(|delivery| {
            let is_slow = delivery.channel.origin().as_deref() == Some(SLOW);
            left += u32::from(!is_slow && !delivery.status.has_ended());
        });
        left
    };
    while is_left(&world) > 0 {
        sweeps += 1;
        assert!(sweeps <= 5, "{} are left", is_left(&world));
        world.reconcile();
        let told = world.engine.take_announced();
        let to_the_dead = told.iter().filter(|delivery| !healthy.contains(delivery)).count();
        assert!(to_the_dead <= 25, "{to_the_dead} to a receiver in trouble in one sweep");
        let before = world.clock.now();
        for delivery in told.iter().filter(|delivery| healthy.contains(delivery)) {
            world.deliver(delivery);
        }
        assert_eq!(world.clock.now(), before, "healthy receivers answer at once");
        world.clock.pass(SignedDuration::from_secs(60));
    }
}
