//! Runs, their idempotency keys, their ends, their deliveries; and definitions beside them.

use super::definitions::{one, version_key};
use super::*;
use crate::contract::at_once;
use crate::contract::sample::{self, at, claim, delivery, mine, new_run, noon, run, yours};
use jiff::SignedDuration;
use sluice_core::catalog::{ClaimKey, InstanceKey, NameKey};
use sluice_core::change::{NewRun, RunChange};
use sluice_core::definition::{Definition, VersionRule};
use sluice_core::delivery::{Attempt, AttemptOutcome};
use sluice_core::idempotency::{IdempotencyClaim, Operation};
use sluice_core::instance::{Instance, InstanceContent};
use sluice_core::lifecycle::{RunEvent, StopIntent};
use sluice_core::limits;
use sluice_core::ports::{Changed, DefinitionSaved, DeliveryRef, Part, Recorded, StopAsked};
use sluice_core::run::{About, Run};
use sluice_core::snapshot::Ending;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub fn in_an_hour() -> jiff::Timestamp {
    noon() + SignedDuration::from_hours(1)
}

pub async fn a_recorded_run_is_read_back_as_it_was_written(ground: &impl Ground) {
    let store = ground.ports();
    let run = run(&mine(), 1, noon());
    let new = new_run(&run, None, None);
    assert_eq!(store.record_run(&new).await.expect("recorded"), Recorded::Created);
    assert_eq!(store.load_run(&mine(), run.run_id).await.expect("loaded"), Some(run.clone()));
    let snapshot = store.load_snapshot(&mine(), run.run_id).await.expect("loaded").expect("a snapshot");
    assert_eq!(snapshot.to_text().expect("JSON"), new.snapshot_text);
    assert_eq!(snapshot.input.expect("an input").get(), r#"{"b": 1.10, "a": 12345678901234567890123}"#);
    assert_eq!(store.load_output(&mine(), run.run_id).await.expect("loaded"), None);
    assert_eq!(store.load_request(&mine(), run.run_id).await.expect("loaded"), new.request_text);
    assert_eq!(store.load_request(&yours(), run.run_id).await.expect("loaded"), None);
}

pub async fn recording_the_same_run_again_is_created_again(ground: &impl Ground) {
    let store = ground.ports();
    for (number, claim) in [(1, None), (2, Some(claim("key", "payload")))] {
        let new = new_run(&run(&mine(), number, noon()), claim, Some(in_an_hour()));
        assert_eq!(store.record_run(&new).await.expect("recorded"), Recorded::Created);
        assert_eq!(store.record_run(&new).await.expect("recorded again"), Recorded::Created);
    }
}

pub async fn the_second_request_with_a_key_gets_the_first_run(ground: &impl Ground) {
    let store = ground.ports();
    let (first, second) = (run(&mine(), 1, noon()), run(&mine(), 2, noon()));
    let first_claim = claim("key", "payload");
    store.record_run(&new_run(&first, Some(first_claim.clone()), Some(in_an_hour()))).await.expect("recorded");
    let other = new_run(&second, Some(claim("key", "other payload")), Some(in_an_hour()));
    let Recorded::KeyTaken(record) = store.record_run(&other).await.expect("an answer") else { panic!("taken") };
    assert_eq!((record.run, record.payload_hash.as_str()), (first.clone(), "payload"));
    assert_eq!(store.load_run(&mine(), second.run_id).await.expect("loaded"), None, "nothing was written");
    let found = store.first_with_key(&mine(), &first_claim, noon()).await.expect("an answer").expect("a record");
    assert_eq!(found.run, first);
    assert!(found.is_repeated_by(&first_claim));
}

pub async fn of_many_racers_with_one_key_one_is_created_and_all_learn_its_run(ground: &impl Ground) {
    let store = ground.ports();
    let store = &store;
    let racers = (0..32).map(|number| async move {
        let run = run(&mine(), number, noon());
        let new = new_run(&run, Some(claim("key", "payload")), Some(in_an_hour()));
        match store.record_run(&new).await.expect("an answer") {
            Recorded::Created => (true, run.run_id),
            Recorded::KeyTaken(first) => (false, first.run.run_id),
            Recorded::Full(_) | Recorded::NotFull | Recorded::QueueFull => panic!("nothing is limited"),
        }
    });
    let (mut created, mut learned) = (0, BTreeSet::new());
    for (is_creator, run_id) in at_once(racers).await {
        created += u32::from(is_creator);
        learned.insert(run_id);
    }
    assert_eq!((created, learned.len()), (1, 1));
    for number in 0..32 {
        let id = sample::run_id(number);
        let found = store.load_run(&mine(), id).await.expect("loaded");
        assert_eq!(found.is_some(), learned.contains(&id), "only the winner's run exists");
    }
}

pub async fn an_expired_key_is_free_again_and_one_that_never_expires_is_not(ground: &impl Ground) {
    let store = ground.ports();
    let claim = claim("key", "payload");
    store
        .record_run(&new_run(&run(&mine(), 1, noon()), Some(claim.clone()), Some(in_an_hour())))
        .await
        .expect("recorded");
    let just_before = in_an_hour() - SignedDuration::from_millis(1);
    assert!(store.first_with_key(&mine(), &claim, just_before).await.expect("an answer").is_some());
    assert!(store.first_with_key(&mine(), &claim, in_an_hour()).await.expect("an answer").is_none());

    let too_early = new_run(&run(&mine(), 2, just_before), Some(claim.clone()), None);
    assert!(matches!(store.record_run(&too_early).await, Ok(Recorded::KeyTaken(_))));
    let in_time = new_run(&run(&mine(), 3, in_an_hour()), Some(claim.clone()), None);
    assert_eq!(store.record_run(&in_time).await.expect("recorded"), Recorded::Created);

    let much_later = at("2036-01-01T00:00:00Z");
    let late = new_run(&run(&mine(), 4, much_later), Some(claim.clone()), None);
    assert!(
        matches!(store.record_run(&late).await, Ok(Recorded::KeyTaken(first)) if first.run.run_id == sample::run_id(3))
    );
    let found = store.first_with_key(&mine(), &claim, much_later).await.expect("an answer").expect("a record");
    assert_eq!(found.expires_at, None);
}

pub async fn keys_of_tenants_and_operations_are_apart(ground: &impl Ground) {
    let store = ground.ports();
    use sluice_core::idempotency::{IdempotencyClaim, Operation};
    for (number, (tenant, operation)) in [
        (mine(), Operation::Create),
        (yours(), Operation::Create),
        (mine(), Operation::Invoke),
        (mine(), Operation::Replay),
    ]
    .into_iter()
    .enumerate()
    {
        let claim = IdempotencyClaim { operation, ..claim("key", "payload") };
        let new = new_run(&run(&tenant, number as u32, noon()), Some(claim), Some(in_an_hour()));
        assert_eq!(store.record_run(&new).await.expect("recorded"), Recorded::Created, "{tenant} {operation:?}");
    }
}

pub async fn another_tenants_run_does_not_exist(ground: &impl Ground) {
    let store = ground.ports();
    let run = run(&yours(), 1, noon());
    store.record_run(&new_run(&run, Some(claim("key", "payload")), None)).await.expect("recorded");
    assert_eq!(store.load_run(&mine(), run.run_id).await.expect("an answer"), None);
    assert!(store.load_snapshot(&mine(), run.run_id).await.expect("an answer").is_none());
    assert!(store.list_steps(&mine(), run.run_id).await.expect("an answer").is_empty());
    assert!(store.list_deliveries(&mine(), run.run_id).await.expect("an answer").is_empty());
    assert!(store.first_with_key(&mine(), &claim("key", "payload"), noon()).await.expect("an answer").is_none());
}

pub async fn a_change_on_an_old_rev_writes_nothing_and_shows_the_run_as_it_is(ground: &impl Ground) {
    let store = ground.ports();
    let run = run(&mine(), 1, noon());
    store.record_run(&new_run(&run, None, None)).await.expect("recorded");
    let claimed = run.after(RunEvent::Claimed, in_an_hour()).expect("a change");
    let change = RunChange::new(&run, claimed.clone());
    assert_eq!(store.change_run(&change).await.expect("changed"), Changed::Done);

    let canceled = run.after(RunEvent::StopAsked(StopIntent::CanceledByCaller), in_an_hour()).expect("a change");
    let late = RunChange {
        output: Some("{}".to_owned()),
        deliveries: vec![delivery(&run, 1, noon())],
        ..RunChange::new(&run, canceled)
    };
    assert_eq!(store.change_run(&late).await.expect("an answer"), Changed::Stale(Some(Box::new(claimed))));
    assert_eq!(store.load_output(&mine(), run.run_id).await.expect("an answer"), None);
    assert!(store.list_deliveries(&mine(), run.run_id).await.expect("an answer").is_empty());
}

pub async fn a_run_that_does_not_exist_cannot_be_changed(ground: &impl Ground) {
    let store = ground.ports();
    let run = run(&mine(), 1, noon());
    let change = RunChange::new(&run, run.clone());
    assert_eq!(store.change_run(&change).await.expect("an answer"), Changed::Stale(None));
}

pub async fn a_run_that_goes_on_is_stopped_unread_as_if_it_had_been_read(ground: &impl Ground) {
    let store = ground.ports();
    let intent = StopIntent::CanceledByCaller;
    let pending = run(&mine(), 1, noon());
    let later = noon() + SignedDuration::from_secs(1);
    let running = Run { state: sample::running(), ..pending.clone() };
    let asked = running.after(RunEvent::PauseAsked, noon()).expect("a pause is asked for");
    let waiting =
        running.awaiting("approval", noon()).and_then(|run| run.awaiting("budget", noon())).expect("it waits");
    let answered = waiting.answered("budget", noon()).expect("answered");
    let resumed = asked.parked("token", noon()).and_then(|run| run.after(RunEvent::Resumed, later)).expect("resumed");
    let paused = asked.parked("token", noon()).expect("parked");
    let stopping = running.after(RunEvent::StopAsked(StopIntent::TimedOut), noon()).expect("a stop");
    let ended = pending.after(RunEvent::StopAsked(intent), noon()).expect("an end");
    let goes_on = [running, asked, waiting, answered, resumed].map(|run| (run, true));
    let others = [pending, paused, stopping, ended].map(|run| (run, false));
    for (number, (stored, is_recorded)) in (1..).zip(goes_on.into_iter().chain(others)) {
        let stored = Run { run_id: sample::run_id(number), ..stored };
        store.record_run(&new_run(&stored, None, None)).await.expect("recorded");
        assert_eq!(store.ask_to_stop(&yours(), stored.run_id, intent, later).await.expect("asked"), None);
        let after = match is_recorded {
            true => stored.after(RunEvent::StopAsked(intent), later).expect("a stop"),
            false => stored,
        };
        let told = store.ask_to_stop(&mine(), after.run_id, intent, later).await.expect("asked");
        assert_eq!(told, Some(StopAsked { run: after.clone(), is_recorded }), "{number}");
        let again = store.ask_to_stop(&mine(), after.run_id, intent, later).await.expect("asked");
        assert_eq!(again, Some(StopAsked { run: after.clone(), is_recorded: false }), "{number}");
        assert_eq!(store.load_run(&mine(), after.run_id).await.expect("loaded"), Some(after), "{number}");
    }
}

pub async fn a_run_is_loaded_with_those_of_its_parts_that_are_there(ground: &impl Ground) {
    let store = ground.ports();
    let run = run(&mine(), 1, noon());
    let (node, nobody) = ("approval".parse().expect("a node"), "nobody".parse().expect("a node"));
    let parts = [Part::Snapshot, Part::Request, Part::Output, Part::Ledger, Part::Ending, Part::Step(&node)];
    assert!(store.load_with(&mine(), run.run_id, &parts).await.expect("loaded").is_none());
    let ending = Ending { answered: vec![node.clone()], ..Ending::default() };
    let ending_text = Some(serde_json::to_string(&ending).expect("JSON"));
    let new = NewRun { ending_text, ..new_run(&run, None, None) };
    store.record_run(&new).await.expect("recorded");
    assert!(store.load_with(&yours(), run.run_id, &parts).await.expect("loaded").is_none());
    let bare = store.load_with(&mine(), run.run_id, &[]).await.expect("loaded").expect("a run");
    assert_eq!(bare.run, run);
    assert!(bare.snapshot.is_none() && bare.request.is_none() && bare.ending.is_none() && bare.step.is_none());
    let loaded = store.load_with(&mine(), run.run_id, &parts).await.expect("loaded").expect("a run");
    assert_eq!(loaded.snapshot.expect("a snapshot").to_text().expect("JSON"), new.snapshot_text);
    assert_eq!((loaded.request, loaded.output, loaded.ledger), (new.request_text, None, Some(new.ledger)));
    assert_eq!(loaded.ending.expect("an ending").answered, ending.answered);
    assert!(loaded.step.is_none());
    let (known, begun) = (BTreeSet::new(), BTreeSet::from([node, nobody]));
    let found = store.known_calls(&mine(), run.run_id, &known, &begun).await.expect("an answer");
    assert_eq!(found, (BTreeMap::new(), BTreeSet::new()));
}

pub async fn the_end_of_a_run_is_written_with_all_that_it_owes(ground: &impl Ground) {
    let store = ground.ports();
    let run = run(&mine(), 1, noon());
    store.record_run(&new_run(&run, None, None)).await.expect("recorded");
    let canceled = run.after(RunEvent::StopAsked(StopIntent::CanceledByCaller), in_an_hour()).expect("a change");
    let owed = vec![delivery(&run, 1, in_an_hour()), delivery(&run, 2, in_an_hour())];
    let output = r#"{"results": {"store": 1.10}}"#.to_owned();
    let change =
        RunChange { output: Some(output.clone()), deliveries: owed.clone(), ..RunChange::new(&run, canceled.clone()) };
    assert_eq!(store.change_run(&change).await.expect("changed"), Changed::Done);
    assert_eq!(store.load_run(&mine(), run.run_id).await.expect("loaded"), Some(canceled));
    assert_eq!(store.load_output(&mine(), run.run_id).await.expect("loaded"), Some(output));
    for delivery in owed {
        let reference = DeliveryRef { tenant_id: mine(), run_id: run.run_id, number: delivery.number };
        assert_eq!(store.load_delivery(&reference).await.expect("loaded"), Some(delivery));
    }
    let listed = store.list_deliveries(&mine(), run.run_id).await.expect("listed");
    assert_eq!(listed.iter().map(|(delivery, _)| delivery.number).collect::<Vec<_>>(), [1, 2]);
    assert!(listed.iter().all(|(delivery, attempts)| delivery.body.is_empty() && attempts.is_empty()));
}

/// A run that ended and owes one delivery, due at noon.
pub async fn owing(store: &impl Ports) -> DeliveryRef {
    let run = run(&mine(), 1, noon());
    store.record_run(&new_run(&run, None, None)).await.expect("recorded");
    let after = run.after(RunEvent::StopAsked(StopIntent::CanceledByCaller), noon()).expect("a change");
    let deliveries = vec![delivery(&run, 1, noon())];
    store.change_run(&RunChange { deliveries, ..RunChange::new(&run, after) }).await.expect("changed");
    DeliveryRef { tenant_id: mine(), run_id: run.run_id, number: 1 }
}

pub async fn of_many_senders_one_gets_the_delivery(ground: &impl Ground) {
    let store = ground.ports();
    let reference = owing(&store).await;
    let loaded = store.load_delivery(&reference).await.expect("loaded").expect("a delivery");
    let begun = loaded.begin(noon()).expect("due");
    // All of them write exactly the same, at the same millisecond.
    let senders = (0..16).map(|_| async { store.change_delivery(&begun, None).await.expect("an answer") });
    let winners = at_once(senders).await.into_iter().filter(|is_first| *is_first).count();
    assert_eq!(winners, 1);
    assert_eq!(store.load_delivery(&reference).await.expect("loaded"), Some(begun));
}

pub async fn an_attempt_is_recorded_with_its_delivery(ground: &impl Ground) {
    let store = ground.ports();
    let reference = owing(&store).await;
    let mut current = store.load_delivery(&reference).await.expect("loaded").expect("a delivery");
    let outcomes = [
        AttemptOutcome::Rejected { http_status: 503, retry_after_seconds: Some(7) },
        AttemptOutcome::Unreachable { error_class: "reset".to_owned() },
        AttemptOutcome::Delivered { http_status: None },
    ];
    let mut made = Vec::new();
    for outcome in outcomes {
        let now = current.next_attempt_at.expect("owed");
        current = current.begin(now).expect("due");
        assert!(store.change_delivery(&current, None).await.expect("begun"));
        let attempt = Attempt { number: current.attempts, at: now, duration_ms: 12, outcome };
        current = current.after(&attempt.outcome, now);
        assert!(store.change_delivery(&current, Some(&attempt)).await.expect("recorded"));
        assert!(!store.change_delivery(&current, Some(&attempt)).await.expect("an answer"), "not twice");
        made.push(attempt);
    }
    let body = std::mem::take(&mut current.body);
    assert!(!body.is_empty());
    assert_eq!(store.list_deliveries(&mine(), reference.run_id).await.expect("listed"), [(current, made)]);
}

pub async fn a_late_attempt_is_kept_and_changes_nothing_else(ground: &impl Ground) {
    let store = ground.ports();
    let reference = owing(&store).await;
    let loaded = store.load_delivery(&reference).await.expect("loaded").expect("a delivery");
    let attempt = |number: u32, duration_ms| Attempt {
        number,
        at: noon(),
        duration_ms,
        outcome: AttemptOutcome::Delivered { http_status: Some(200) },
    };
    for (number, duration_ms) in [(2, 20), (1, 10), (2, 99)] {
        store.record_late_attempt(&reference, &attempt(number, duration_ms)).await.expect("recorded");
    }
    assert_eq!(store.load_delivery(&reference).await.expect("loaded"), Some(loaded));
    let listed = store.list_deliveries(&mine(), reference.run_id).await.expect("listed").remove(0);
    assert_eq!(listed.1, [attempt(1, 10), attempt(2, 20)], "each once, as it was kept first");
    assert!(store.list_deliveries(&yours(), reference.run_id).await.expect("listed").is_empty());
}

pub async fn of_many_attempts_the_newest_are_listed(ground: &impl Ground) {
    let store = ground.ports();
    let reference = owing(&store).await;
    let outcome = AttemptOutcome::Delivered { http_status: Some(200) };
    let attempts: Vec<Attempt> = (1..=limits::DELIVERY_ATTEMPTS + 2)
        .map(|number| Attempt { number, at: noon(), duration_ms: 1, outcome: outcome.clone() })
        .collect();
    for attempt in &attempts {
        store.record_late_attempt(&reference, attempt).await.expect("recorded");
    }
    let listed = store.list_deliveries(&mine(), reference.run_id).await.expect("listed").remove(0);
    assert_eq!(listed.1, attempts[2..]);
}

pub async fn a_name_belongs_to_one_definition_of_a_tenant(ground: &impl Ground) {
    let store = ground.ports();
    let first = sample::definition(&mine(), 1, "report");
    assert_eq!(store.create_definition(&first, 1_000).await.expect("created"), DefinitionSaved::Done);
    assert_eq!(store.create_definition(&first, 1_000).await.expect("created again"), DefinitionSaved::Done);
    let second = sample::definition(&mine(), 2, "report");
    assert_eq!(store.create_definition(&second, 1_000).await.expect("an answer"), DefinitionSaved::NameTaken(first.id));
    assert_eq!(store.load_definition(&mine(), second.id).await.expect("an answer"), None);
    let theirs = sample::definition(&yours(), 3, "report");
    assert_eq!(store.create_definition(&theirs, 1_000).await.expect("created"), DefinitionSaved::Done);
    let key = NameKey { tenant: mine(), name: first.name.clone() };
    assert_eq!(one(&store, key).await.map(|named| named.id), Some(first.id));
}

pub async fn of_two_changes_to_a_definition_one_wins(ground: &impl Ground) {
    let store = ground.ports();
    let first = sample::definition(&mine(), 1, "report");
    store.create_definition(&first, 1_000).await.expect("created");
    let next = Definition { latest_version: 1, active_version: Some(1), rev: 2, ..first.clone() };
    let version = sample::version(&first, 1);
    assert!(store.change_definition(&next, Some(&version)).await.expect("changed"));
    let late = Definition { display_name: Some("late".to_owned()), ..next.clone() };
    assert!(!store.change_definition(&late, None).await.expect("an answer"));
    assert_eq!(store.load_definition(&mine(), first.id).await.expect("loaded"), Some(next));
    assert_eq!(one(&store, version_key(&mine(), first.id, 1)).await, Some(version.into()));
    assert_eq!(one(&store, version_key(&yours(), first.id, 1)).await, None);
}

pub async fn a_runs_replays_are_found_with_it(ground: &impl Ground) {
    let store = ground.ports();
    let original = run(&mine(), 1, noon());
    store.record_run(&new_run(&original, None, None)).await.expect("recorded");
    let replays = |number: u32| {
        let run = run(&mine(), number, noon() + SignedDuration::from_secs(i64::from(number)));
        Run { about: About { replay_of: Some(original.run_id), replay_depth: 1, ..run.about }, ..run }
    };
    let keyed = new_run(&replays(2), Some(claim("key", "payload")), Some(in_an_hour()));
    for new in [&keyed, &keyed, &new_run(&replays(3), None, None)] {
        assert_eq!(store.record_run(new).await.expect("recorded"), Recorded::Created);
    }
    let second = new_run(&replays(4), Some(claim("key", "payload")), Some(in_an_hour()));
    assert!(matches!(store.record_run(&second).await, Ok(Recorded::KeyTaken(_))));
    let list = |tenant, id| {
        let store = store.clone();
        async move { store.list_links(&tenant, id).await.expect("listed").replays.into_iter().collect::<BTreeSet<_>>() }
    };
    let expected = BTreeSet::from([sample::run_id(2), sample::run_id(3)]);
    assert_eq!(list(mine(), original.run_id).await, expected, "and none of a run that was not recorded");
    assert!(list(yours(), original.run_id).await.is_empty());
    assert!(list(mine(), sample::run_id(2)).await.is_empty());
    assert_eq!(
        store.load_run(&mine(), sample::run_id(3)).await.expect("loaded"),
        Some(replays(3)),
        "and the replay knows its original"
    );
}

pub async fn what_evaluates_a_run_is_found_with_it_beside_what_repeats_it(ground: &impl Ground) {
    let store = ground.ports();
    let original = run(&mine(), 1, noon());
    store.record_run(&new_run(&original, None, None)).await.expect("recorded");
    let made = |number: u32, replay_of, evaluation_of| {
        let run = run(&mine(), number, noon() + SignedDuration::from_secs(i64::from(number)));
        Run { about: About { replay_of, evaluation_of, ..run.about }, ..run }
    };
    let id = Some(original.run_id);
    for new in [made(2, None, id), made(3, id, None), made(4, id, id), made(5, None, Some(sample::run_id(4)))] {
        assert_eq!(store.record_run(&new_run(&new, None, None)).await.expect("recorded"), Recorded::Created);
        assert_eq!(store.load_run(&mine(), new.run_id).await.expect("loaded"), Some(new));
    }
    let links = store.list_links(&mine(), original.run_id).await.expect("listed");
    let of = |ids: Vec<_>| ids.into_iter().collect::<BTreeSet<_>>();
    assert_eq!(of(links.evaluations), BTreeSet::from([sample::run_id(2), sample::run_id(4)]));
    assert_eq!(of(links.replays), BTreeSet::from([sample::run_id(3), sample::run_id(4)]));
    let links = store.list_links(&yours(), original.run_id).await.expect("listed");
    assert!(links.evaluations.is_empty() && links.replays.is_empty());
}

pub async fn a_late_repetition_is_known_by_the_run_itself_and_leaves_it_alone(ground: &impl Ground) {
    let store = ground.ports();
    for (number, claim) in [(1, None), (2, Some(claim("key", "payload")))] {
        let run = run(&mine(), number, noon());
        let new = new_run(&run, claim, Some(in_an_hour()));
        assert_eq!(store.record_run(&new).await.expect("recorded"), Recorded::Created);
        let claimed = run.after(RunEvent::Claimed, in_an_hour()).expect("a change");
        let change = RunChange::new(&run, claimed.clone());
        store.change_run(&change).await.expect("changed");
        assert_eq!(store.record_run(&new).await.expect("recorded again"), Recorded::Created);
        assert_eq!(store.load_run(&mine(), run.run_id).await.expect("loaded"), Some(claimed), "and left alone");
    }
}

pub async fn an_instance_is_recorded_with_its_first_run_and_stays_as_it_is(ground: &impl Ground) {
    let store = ground.ports();
    let instance = |minutes: i64| {
        let run = run(&mine(), 1, noon());
        let content = InstanceContent {
            definition_id: run.spec.definition_id,
            version: VersionRule::Active,
            compute_node: run.spec.compute_node,
            processor_configs: BTreeMap::new(),
        };
        let created_at = noon() + SignedDuration::from_mins(minutes);
        Instance { tenant: mine(), id: content.id(&mine()), content, created_at, hint: None }
    };
    let with_instance = |number: u32, claim, minutes: i64| {
        let new = new_run(&run(&mine(), number, noon()), claim, Some(in_an_hour()));
        NewRun { instance: Some(Arc::new(instance(minutes))), ..new }
    };
    let key = || InstanceKey { tenant: mine(), id: instance(0).id };
    // What is refused leaves nothing.
    let taken = new_run(&run(&mine(), 1, noon()), Some(claim("key", "payload")), Some(in_an_hour()));
    assert_eq!(store.record_run(&taken).await.expect("recorded"), Recorded::Created);
    let refused = with_instance(2, Some(claim("key", "payload")), 0);
    assert!(matches!(store.record_run(&refused).await, Ok(Recorded::KeyTaken(_))));
    assert_eq!(one(&store, key()).await, None);
    for (number, minutes) in [(3, 1), (4, 2), (3, 3)] {
        let recorded = store.record_run(&with_instance(number, None, minutes)).await.expect("recorded");
        assert_eq!(recorded, Recorded::Created);
        assert_eq!(one(&store, key()).await, Some(instance(1)), "as the first run made it");
    }
    // Of racers none is refused for it.
    let racers = (10..18).map(|number| {
        let store = store.clone();
        let new = with_instance(number, None, i64::from(number));
        async move { store.record_run(&new).await.expect("recorded") }
    });
    assert!(at_once(racers).await.into_iter().all(|recorded| recorded == Recorded::Created));
    assert_eq!(one(&store, key()).await, Some(instance(1)));
}

pub async fn the_first_request_with_a_key_is_found_beside_other_things(ground: &impl Ground) {
    let store = ground.ports();
    let first = new_run(&run(&mine(), 1, noon()), Some(claim("key", "payload")), Some(in_an_hour()));
    assert_eq!(store.record_run(&first).await.expect("recorded"), Recorded::Created);
    let record = first.idempotency.map(|(_, record)| record);
    assert_eq!(one(&store, ClaimKey::of(&mine(), &claim("key", "another"))).await, record);
    assert_eq!(one(&store, ClaimKey::of(&mine(), &claim("other", "payload"))).await, None);
    assert_eq!(one(&store, ClaimKey::of(&yours(), &claim("key", "payload"))).await, None);
    let of_a_replay = IdempotencyClaim { operation: Operation::Replay, ..claim("key", "payload") };
    assert_eq!(one(&store, ClaimKey::of(&mine(), &of_a_replay)).await, None);
}
