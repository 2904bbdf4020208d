use crate::world::{World, command, with_callback};
use jiff::{SignedDuration, Timestamp};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};
use sluice_core::caller::Caller;
use sluice_core::catalog::SettingsKey;
use sluice_core::delivery::{
    AttemptOutcome, Channel, Delivery, DeliveryStatus, LEASE_SECONDS, RETRY_AFTER_SECONDS, RETRY_SCHEDULE_SECONDS,
};
use sluice_core::destination::Destinations;
use sluice_core::flow::deliver::{Delivered, Outlook, send};
use sluice_core::flow::manage_operator::save_tenant;
use sluice_core::flow::transition_run::{AT_THE_END, Transition, settle};
use sluice_core::lifecycle::{EngineEnd, RunEvent};
use sluice_core::limits;
use sluice_core::operator::TenantSettings;
use sluice_core::ports::{Clock, DeliveryRef, LoadRun, ReadCatalog, StoreError, StoreErrorClass};
use sluice_core::run::EndDetails;
use sluice_core::snapshot::Callback;
use sluice_testkit::block_on;
use sluice_testkit::fault::Fault;
use sluice_testkit::fixture::{self, CALLBACK_URL};
use std::collections::BTreeSet;
use std::time::Duration;
use url::Url;

const REJECTED: AttemptOutcome = AttemptOutcome::Rejected { http_status: 500, retry_after_seconds: None };

fn ended(world: &World) -> Vec<DeliveryRef> {
    let run = world.running(1);
    world.end(&run, EngineEnd::Succeeded, Some(r#"{"results":{"store":{"n":1.10}}}"#)).expect("settled").owed
}

fn webhook(world: &World) -> Delivery {
    world.store.deliveries().into_iter().find(|(delivery, _)| delivery.number == 1).expect("a webhook").0
}

#[test]
fn the_context_and_the_output_come_back_byte_for_byte() {
    let world = World::new();
    let context = r#"{"n":12345678901234567890123,"x":1.10,"k":"\u00e9", "a":  [ ]}"#;
    let mut command = with_callback(command());
    command.callback =
        command.callback.map(|callback| Callback { context: Some(crate::world::raw(context)), ..callback });
    let run = world.create(command, 1).expect("accepted").run;
    world.engine.claim(&world.store, &run.execution_arn(), world.clock.now());
    let owed =
        world.end(&run, EngineEnd::Succeeded, Some(r#"{"results":{"store":{"n":1.10}}}"#)).expect("settled").owed;
    world.deliver(&owed[0]);
    let body = world.receiver.received()[0].body.clone();
    assert!(body.ends_with(&format!("\"completionCallbackContext\":{context}}}")), "{body}");
    assert!(body.contains(r#""output":{"results":{"store":{"n":1.10}}}"#), "{body}");
    let envelope: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((&envelope["type"], envelope.get("outputOmitted")), (&json!("workflow.run.terminal"), None));
    assert_eq!(
        (envelope["status"].clone(), envelope["terminationReason"].clone()),
        (json!("SUCCEEDED"), json!("completed"))
    );
}

#[test]
fn the_status_event_carries_neither_output_nor_context() {
    let world = World::new();
    let owed = ended(&world);
    world.deliver(&owed[1]);
    let detail: Value = serde_json::from_str(&world.engine.published()[0]).expect("JSON");
    assert_eq!(detail["status"], "SUCCEEDED");
    assert_eq!((detail.get("output"), detail.get("completionCallbackContext")), (None, None));
}

#[test]
fn a_large_output_is_left_out_and_said_so() {
    let world = World::new();
    let run = world.running(1);
    let output = format!("{{\"results\":\"{}\"}}", "x".repeat(310 * 1024));
    world.end(&run, EngineEnd::Succeeded, Some(&output)).expect("settled");
    let body: Value = serde_json::from_str(&webhook(&world).body).expect("JSON");
    assert_eq!((body.get("output"), body["outputOmitted"].clone()), (None, json!(true)));
}

#[test]
fn a_webhook_has_as_much_output_as_its_bound_leaves_room_for() {
    let sent = |letters: usize| {
        let world = World::new();
        let run = world.running(1);
        let output = format!("{{\"results\":\"{}\"}}", "x".repeat(letters));
        world.end(&run, EngineEnd::Succeeded, Some(&output)).expect("settled");
        webhook(&world).body
    };
    let room = limits::WEBHOOK_BODY_BYTES - sent(0).len();
    let (fits, does_not) = (sent(room), sent(room + 1));
    assert_eq!(fits.len(), limits::WEBHOOK_BODY_BYTES);
    let is_omitted = |body: &str| serde_json::from_str::<Value>(body).expect("JSON")["outputOmitted"] == json!(true);
    assert_eq!((is_omitted(&fits), is_omitted(&does_not)), (false, true));
}

#[test]
fn two_failures_then_a_success_are_three_attempts_of_one_message() {
    let world = World::new();
    let owed = ended(&world);
    world.receiver.answer_next([REJECTED, AttemptOutcome::Unreachable { error_class: "timeout".to_owned() }]);
    let began = world.clock.now();
    let attempt = |delivered| match delivered {
        Delivered::Attempted(delivery, attempt) => (delivery.status, attempt.number),
        Delivered::HeldBack | Delivered::Nothing => panic!("an attempt was due"),
    };
    assert_eq!(attempt(world.deliver_at_the_end(&owed[0])), (DeliveryStatus::Scheduled, 1));
    assert_eq!(world.clock.now(), began, "who settles runs does not wait for the second attempt");
    assert_eq!(world.engine.take_announced(), owed[..1], "it is told when it is due");
    assert_eq!(attempt(world.deliver(&owed[0])), (DeliveryStatus::Scheduled, 2));
    assert_eq!(world.clock.now().duration_since(began).as_secs(), 2, "about two seconds later");
    assert!(world.engine.take_announced().is_empty(), "the third is the sweep's");
    assert_eq!(world.deliver(&owed[0]), Delivered::Nothing, "the third is not due yet");
    world.clock.advance(70);
    assert_eq!(world.reconcile().announced, 2, "this one and the one on the event bus");
    assert!(world.engine.take_announced().contains(&owed[0]));
    world.deliver(&owed[0]);
    let received = world.receiver.received();
    assert_eq!(received.len(), 3);
    assert!(received.iter().all(|one| one.webhook_id == received[0].webhook_id && one.body == received[0].body));
    assert_eq!(received.iter().map(|one| one.attempt).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(webhook(&world).status, DeliveryStatus::Delivered);
}

#[test]
fn a_receiver_that_never_answers_ends_in_a_dead_letter_after_about_a_day() {
    let world = World::new();
    let owed = ended(&world);
    let began = world.clock.now();
    world.receiver.answer_next(std::iter::repeat_n(REJECTED, 100));
    while !webhook(&world).status.has_ended() {
        world.clock.advance(60);
        world.deliver(&owed[0]);
    }
    let (delivery, attempts) = world.store.deliveries().remove(0);
    assert_eq!(delivery.dead_letter_reason.as_deref(), Some("attempts_exhausted"));
    assert_eq!(
        (delivery.attempts as usize, attempts.len()),
        (RETRY_SCHEDULE_SECONDS.len() + 1, RETRY_SCHEDULE_SECONDS.len() + 1)
    );
    let hours = world.clock.now().duration_since(began).as_hours();
    assert!((20..=28).contains(&hours), "{hours}");
}

#[test]
fn who_settles_runs_is_held_for_two_seconds_and_whoever_is_told_by_the_queue_waits_for_the_answer() {
    for (takes_ms, at_the_end) in [(0, true), (2_000, true), (2_001, false), (5_000, false), (10_000, false)] {
        let world = World::new();
        let owed = ended(&world);
        let takes = Duration::from_millis(takes_ms);
        world.receiver.answer_after(CALLBACK_URL, takes, &world.clock);
        let began = world.clock.now();
        world.deliver_at_the_end(&owed[0]);
        let held = world.clock.now().duration_since(began);
        assert!(held.as_millis() <= 2_000, "held for {held}");
        assert_eq!(webhook(&world).status == DeliveryStatus::Delivered, at_the_end, "{takes:?}");
        world.deliver(&owed[0]);
        assert_eq!(webhook(&world).status, DeliveryStatus::Delivered, "{takes:?}: within ten seconds is in time");
        let (_, attempts) = world.store.deliveries().remove(0);
        let timeout = AttemptOutcome::Unreachable { error_class: "timeout".to_owned() };
        let delivered = AttemptOutcome::Delivered { http_status: Some(200) };
        let expected = if at_the_end { vec![delivered] } else { vec![timeout, delivered] };
        assert_eq!(attempts.into_iter().map(|attempt| attempt.outcome).collect::<Vec<_>>(), expected, "{takes:?}");
    }
}

#[test]
fn an_answer_after_more_than_ten_seconds_is_none() {
    let world = World::new();
    let owed = ended(&world);
    world.receiver.answer_after(CALLBACK_URL, Duration::from_secs(11), &world.clock);
    world.deliver_at_the_end(&owed[0]);
    world.deliver(&owed[0]);
    assert_eq!((webhook(&world).status, webhook(&world).attempts), (DeliveryStatus::Scheduled, 2));
}

#[test]
fn a_lost_announcement_of_the_second_attempt_is_the_sweeps() {
    let world = World::new();
    let owed = ended(&world);
    world.receiver.answer_next([REJECTED]);
    world.engine.faults.once("announce due deliveries", Fault::Before(StoreErrorClass::Throttled));
    world.deliver_at_the_end(&owed[0]);
    assert!(world.engine.take_announced().is_empty());
    world.clock.advance(60);
    world.reconcile();
    assert!(world.engine.take_announced().contains(&owed[0]));
    world.deliver(&owed[0]);
    assert_eq!(webhook(&world).status, DeliveryStatus::Delivered);
}

#[test]
fn gone_means_gone() {
    let world = World::new();
    let owed = ended(&world);
    world.receiver.answer_next([AttemptOutcome::Gone]);
    world.deliver(&owed[0]);
    assert_eq!(webhook(&world).status, DeliveryStatus::DeadLettered);
    assert_eq!(webhook(&world).dead_letter_reason.as_deref(), Some("gone"));
    assert_eq!(world.receiver.received().len(), 1);
}

#[test]
fn retry_after_is_followed_within_bounds() {
    for (asked, least, most) in [(30, 30, 31), (0, 2, 3), (1_000_000, 3_600, 3_601)] {
        let world = World::new();
        let owed = ended(&world);
        world
            .receiver
            .answer_next([AttemptOutcome::Rejected { http_status: 429, retry_after_seconds: Some(asked) }, REJECTED]);
        let before = world.clock.now();
        world.deliver(&owed[0]);
        assert_eq!(world.engine.take_announced().len(), usize::from(asked == 0), "a long pause is not announced");
        let first_wait = webhook(&world).next_attempt_at.expect("scheduled").duration_since(before).as_secs();
        assert!((least..=most).contains(&first_wait), "asked {asked}, waited {first_wait}");
    }
}

#[test]
fn a_destination_that_is_listed_no_more_is_sent_nothing_until_it_is_listed_again() {
    let world = World::new();
    let owed = ended(&world);
    let operator = Caller { is_operator: true, ..fixture::caller("operator") };
    let list = |url: &str| {
        let origin = Url::parse(url).expect("a URL").origin().ascii_serialization();
        let tenant = world.caller.tenant.clone();
        let found = block_on(world.store.get(&SettingsKey(tenant.clone()))).expect("an answer");
        let settings = found.map_or_else(|| TenantSettings::open(tenant), |found| TenantSettings::clone(&found));
        let settings = TenantSettings { destinations: Some(vec![origin]), ..settings };
        let destinations = fixture::policy().destinations;
        block_on(save_tenant(&world.store, &operator, &destinations, settings)).expect("saved");
    };
    list("https://another12345678901234567890another.lambda-url.eu-west-1.on.aws");
    for attempts in [1, 2] {
        world.deliver(&owed[0]);
        world.clock.advance(70);
        assert_eq!((world.receiver.received().len(), webhook(&world).attempts), (0, attempts));
    }
    list(CALLBACK_URL);
    world.deliver(&owed[0]);
    assert_eq!((world.receiver.received().len(), webhook(&world).status), (1, DeliveryStatus::Delivered));
}

#[test]
fn an_attempt_whose_record_is_lost_is_made_again_after_its_lease() {
    let world = World::new();
    let owed = ended(&world);
    let mut calls = 0;
    world.store.faults.set(move |operation| {
        calls += u32::from(operation == "change the delivery");
        (operation == "change the delivery" && calls == 2).then_some(Fault::Before(StoreErrorClass::Unavailable))
    });
    let lost = sluice_testkit::block_on(sluice_core::flow::deliver::deliver(
        &world.store,
        &world.engine,
        &world.receiver,
        &world.clock,
        &owed[0],
    ));
    assert!(lost.is_err());
    world.store.faults.clear();
    assert_eq!(world.deliver(&owed[0]), Delivered::Nothing, "the attempt may still be under way");
    world.clock.advance(61);
    world.deliver(&owed[0]);
    assert_eq!(world.receiver.received().len(), 2, "at least once");
    assert_eq!(webhook(&world).status, DeliveryStatus::Delivered);
}

/// Ends a run as whoever is told of it by an event does, up to what it then sends.
fn settle_and_begin(world: &World, id: u128) -> (Outlook, Transition) {
    let run = world.running(id);
    let settled = async {
        let found = world.store.load_with(&run.tenant_id, run.run_id, AT_THE_END).await?.expect("a run");
        let outlook = Outlook::of(&world.store, &run.tenant_id).await;
        let (event, now) = (RunEvent::EngineEnded(EngineEnd::Succeeded), world.clock.now());
        let may_begin = |delivery: &Delivery| outlook.lets_through(delivery, now);
        let settled = settle(&world.store, found, event, &EndDetails::default(), may_begin, now).await?;
        Ok::<_, StoreError>((outlook, settled.expect("an end")))
    };
    block_on(settled).expect("the store answers")
}

#[test]
fn whoever_settles_a_run_begins_to_send_in_the_same_transaction() {
    let world = World::new();
    let writes = |world: &World| world.store.writes();
    let (outlook, settled) = settle_and_begin(&world, 1);
    assert_eq!((settled.begun.len(), settled.owed.len()), (2, 0));
    for (delivery, attempts) in world.store.deliveries() {
        assert_eq!((delivery.status, delivery.attempts, attempts.len()), (DeliveryStatus::InFlight, 1, 0));
        let reference = DeliveryRef::of(&delivery);
        assert_eq!(world.deliver(&reference), Delivered::Nothing, "nobody else sends it meanwhile");
    }
    let before = writes(&world);
    let sent = send(&world.store, &world.engine, &world.receiver, &world.clock, &outlook, &settled.begun, &[]);
    assert_eq!(block_on(sent).len(), 2);
    assert_eq!(writes(&world), before + 2, "the record of each attempt");
    for (delivery, attempts) in world.store.deliveries() {
        assert_eq!((delivery.status, delivery.attempts, attempts.len()), (DeliveryStatus::Delivered, 1, 1));
    }
    assert_eq!(world.receiver.received().len(), 1);
}

#[test]
fn what_was_begun_and_never_sent_is_sent_by_another_after_its_lease() {
    let world = World::new();
    let (_outlook, settled) = settle_and_begin(&world, 1);
    world.clock.advance(61);
    for begun in &settled.begun {
        assert!(matches!(world.deliver(&DeliveryRef::of(begun)), Delivered::Attempted(..)));
    }
    assert_eq!(world.receiver.received().len(), 1);
    assert_eq!(webhook(&world).status, DeliveryStatus::Delivered);
}

#[test]
fn a_receiver_of_which_nothing_is_known_is_left_to_the_queue_and_the_bus_is_told() {
    let world = World::new();
    world.store.faults.once("load the receivers' health", Fault::Before(StoreErrorClass::Unavailable));
    let (_outlook, settled) = settle_and_begin(&world, 1);
    let begun: Vec<&str> = settled.begun.iter().map(|begun| begun.channel.as_str()).collect();
    assert_eq!((begun, settled.owed.len()), (vec!["event-bus"], 1));
    assert!(matches!(world.deliver(&settled.owed[0]), Delivered::Attempted(..)));
    assert_eq!(world.receiver.received().len(), 1);
}

/// Of two runs that are the same but for what lies beside the snapshot, nobody can tell from their ends which is the older.
#[test]
fn a_run_from_before_its_ending_was_kept_apart_ends_as_any_other() {
    let bodies = [false, true].map(|is_old| {
        let world = World::new();
        let run = world.running(1);
        let found = block_on(world.store.load_with(&run.tenant_id, run.run_id, AT_THE_END)).expect("loaded");
        assert!(found.is_some_and(|found| found.ending.is_some_and(|ending| ending.callback.is_some())));
        if is_old {
            let snapshot = block_on(world.store.load_snapshot(&run.tenant_id, run.run_id)).expect("reads");
            let text = snapshot.expect("a snapshot").to_text().expect("JSON");
            world.store.seed_run(run.clone(), Some(text));
        }
        let owed = world.end(&run, EngineEnd::Succeeded, Some(r#"{"results":{"store":1.10}}"#)).expect("an end").owed;
        assert_eq!(owed.len(), 2);
        world.store.deliveries().into_iter().map(|(delivery, _)| delivery.body).collect::<Vec<_>>()
    });
    assert_eq!(bodies[0], bodies[1]);
}

#[test]
fn late_and_repeated_events_change_nothing() {
    let world = World::new();
    let run = world.running(1);
    world.end(&run, EngineEnd::Succeeded, Some("{}")).expect("settled");
    let settled = world.run(run.run_id);
    for end in [EngineEnd::Succeeded, EngineEnd::Failed, EngineEnd::TimedOut, EngineEnd::Aborted] {
        assert_eq!(world.settle(&run, end, &Default::default()), None);
    }
    assert_eq!(world.run(run.run_id), settled);
    assert_eq!(world.store.deliveries().len(), 2);
}

#[test]
fn only_function_urls_of_allowed_regions_are_destinations() {
    let destinations =
        Destinations { regions: vec!["eu-west-1".to_owned()], extra_origins: vec!["http://127.0.0.1:9000".to_owned()] };
    let id = "abcdefghijklmnopqrstuvwxyz012345";
    for good in [
        format!("https://{id}.lambda-url.eu-west-1.on.aws"),
        format!("https://{id}.lambda-url.eu-west-1.on.aws/"),
        format!("https://{id}.lambda-url.eu-west-1.on.aws/a/b?c=d"),
        "http://127.0.0.1:9000/hooks/x".to_owned(),
    ] {
        assert!(destinations.admit(&good).is_ok(), "{good}");
    }
    for bad in [
        format!("http://{id}.lambda-url.eu-west-1.on.aws/"),
        format!("https://{id}.lambda-url.eu-west-1.on.aws:443/"),
        format!("https://{id}.lambda-url.eu-west-1.on.aws:8443/"),
        format!("https://{id}.lambda-url.us-east-1.on.aws/"),
        format!("https://{id}.lambda-url.eu-west-1.on.aws.evil.example/"),
        format!("https://user@{id}.lambda-url.eu-west-1.on.aws/"),
        format!("https://user:pw@{id}.lambda-url.eu-west-1.on.aws/"),
        format!("https://{id}.lambda-url.eu-west-1.on.aws/#fragment"),
        format!("https://{id}.lambda-url.eu-west-1.on.aws@evil.example/"),
        format!("https://{id}.lambda-url.eu-west-1.on.aws\\@evil.example/"),
        format!("https://x.{id}.lambda-url.eu-west-1.on.aws/"),
        format!("HTTPS://{id}.lambda-url.eu-west-1.on.aws/"),
        format!("https://{}.lambda-url.eu-west-1.on.aws/", id.to_uppercase()),
        format!("https://{id}.lambda-url.eu-west-1.on.aws./"),
        format!(" https://{id}.lambda-url.eu-west-1.on.aws/"),
        format!("https:{id}.lambda-url.eu-west-1.on.aws/"),
        "https://.lambda-url.eu-west-1.on.aws/".to_owned(),
        "https://169.254.169.254/".to_owned(),
        "https://[::1]/".to_owned(),
        "http://127.0.0.1:9001/".to_owned(),
        "http://127.0.0.1:9000@evil.example/".to_owned(),
        "file:///etc/passwd".to_owned(),
        String::new(),
    ] {
        assert!(destinations.admit(&bad).is_err(), "{bad}");
    }
}

/// A delivery of a run, with so many attempts of its round begun, the last of which is under way.
fn under_way(run: u128, number: u32, attempts: u32, round_attempts: u32, now: Timestamp) -> Delivery {
    Delivery {
        tenant_id: fixture::tenant("acme"),
        run_id: fixture::run_id(run),
        number,
        channel: Channel::Webhook { url: CALLBACK_URL.to_owned() },
        status: DeliveryStatus::InFlight,
        attempts,
        round_attempts,
        next_attempt_at: Some(now),
        created_at: now,
        ended_at: None,
        dead_letter_reason: None,
        rev: 3,
        body: "{}".to_owned(),
    }
}

proptest! {
    /// After the last attempt of its round a delivery is given up; until then it waits for the scheduled time, or for
    /// what the receiver asked for where that is longer, and up to a tenth of the scheduled time on top.
    #[test]
    fn after_a_failure_a_delivery_waits_for_its_time_and_up_to_a_tenth_of_it(
        (run, number, others) in (any::<u128>(), 1..4_u32, 0..50_u32),
        round in 1..10_u32,
        asked in option::of(prop_oneof![0..5_000_u64, Just(u64::MAX)]),
    ) {
        let now = Timestamp::UNIX_EPOCH;
        let delivery = under_way(run, number, others + round, round, now);
        let outcome = AttemptOutcome::Rejected { http_status: 503, retry_after_seconds: asked };
        let next = delivery.after(&outcome, now);
        prop_assert_eq!(next.rev, delivery.rev + 1);
        let Some(scheduled) = RETRY_SCHEDULE_SECONDS.get(round as usize - 1) else {
            prop_assert_eq!((next.status, next.next_attempt_at), (DeliveryStatus::DeadLettered, None));
            prop_assert_eq!(next.ended_at, Some(now));
            prop_assert_eq!(next.dead_letter_reason.as_deref(), Some("attempts_exhausted"));
            return Ok(());
        };
        prop_assert_eq!((next.status, next.ended_at), (DeliveryStatus::Scheduled, None));
        prop_assert_eq!(&next.dead_letter_reason, &None);
        let (least_asked, most_asked) = (*RETRY_AFTER_SECONDS.start(), *RETRY_AFTER_SECONDS.end());
        let asked = asked.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX));
        let asked = asked.map_or(0, |seconds| seconds.clamp(least_asked, most_asked));
        let wait = next.next_attempt_at.expect("another attempt").duration_since(now).as_secs();
        let least = asked.max(*scheduled);
        prop_assert!((least..=least + scheduled / 10).contains(&wait), "{wait} after attempt {round}, asked {asked}");
    }
}

#[test]
fn deliveries_that_fail_together_are_spread_over_the_tenth_that_is_added() {
    let now = Timestamp::UNIX_EPOCH;
    let scheduled = RETRY_SCHEDULE_SECONDS[6];
    let round = RETRY_SCHEDULE_SECONDS.len() as u32;
    let wait = |delivery: Delivery| {
        let next = delivery.after(&REJECTED, now).next_attempt_at.expect("another attempt");
        next.duration_since(now) - SignedDuration::from_secs(scheduled)
    };
    let runs = (0..500).map(|run| under_way(run, 1, round, round, now));
    let numbers = (1..=500).map(|number| under_way(1, number, round, round, now));
    let attempts = (0..500).map(|others| under_way(1, 1, round + others, round, now));
    for deliveries in [runs.collect::<Vec<_>>(), numbers.collect(), attempts.collect()] {
        let added: BTreeSet<i64> = deliveries.into_iter().map(|delivery| wait(delivery).as_secs()).collect();
        let (first, last) = (added.first().copied().unwrap_or(0), added.last().copied().unwrap_or(0));
        assert!(first < scheduled / 100 && last > scheduled * 9 / 100, "from {first} to {last} s");
        assert!(added.len() > 300, "{} different times", added.len());
    }
}

proptest! {
    /// What becomes of a delivery changes what it says and nothing else.
    #[test]
    fn a_delivery_is_begun_sent_again_and_ended_with_everything_else_as_it_was(
        (status, due_in) in (0..4_usize, option::of(-100..100_i64)),
        (attempts, round, rev) in (0..20_u32, 0..8_u32, 0..1_000_u64),
        is_over in any::<bool>(),
    ) {
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000);
        let statuses = [
            DeliveryStatus::Scheduled,
            DeliveryStatus::InFlight,
            DeliveryStatus::Delivered,
            DeliveryStatus::DeadLettered,
        ];
        let before = Delivery {
            status: statuses[status],
            next_attempt_at: due_in.map(|seconds| now + SignedDuration::from_secs(seconds)),
            created_at: Timestamp::UNIX_EPOCH,
            ended_at: is_over.then_some(Timestamp::UNIX_EPOCH),
            dead_letter_reason: is_over.then(|| "gone".to_owned()),
            rev,
            ..under_way(1, 2, attempts, round, now)
        };
        let is_due = due_in.is_some_and(|seconds| seconds <= 0);
        let begun = Delivery {
            status: DeliveryStatus::InFlight,
            attempts: attempts + 1,
            round_attempts: round + 1,
            next_attempt_at: Some(now + SignedDuration::from_secs(LEASE_SECONDS)),
            rev: rev + 1,
            ..before.clone()
        };
        prop_assert_eq!((before.is_due(now), before.begin(now)), (is_due, is_due.then_some(begun)));
        let again = Delivery {
            status: DeliveryStatus::Scheduled,
            round_attempts: 0,
            next_attempt_at: Some(now),
            ended_at: None,
            dead_letter_reason: None,
            rev: rev + 1,
            ..before.clone()
        };
        let is_under_way = before.status == DeliveryStatus::InFlight && !is_due;
        prop_assert_eq!(before.again(now), (!is_under_way).then_some(again));
        let delivered = Delivery {
            status: DeliveryStatus::Delivered,
            next_attempt_at: None,
            ended_at: Some(now),
            rev: rev + 1,
            ..before.clone()
        };
        prop_assert_eq!(&before.after(&AttemptOutcome::Delivered { http_status: Some(204) }, now), &delivered);
        let dead_letter_reason = Some("gone".to_owned());
        let gone = Delivery { status: DeliveryStatus::DeadLettered, dead_letter_reason, ..delivered };
        prop_assert_eq!(before.after(&AttemptOutcome::Gone, now), gone);
        prop_assert_eq!(before.is_scheduled(), before.status == DeliveryStatus::Scheduled);
        prop_assert_eq!(before.status.has_ended(), status >= 2);
    }
}
