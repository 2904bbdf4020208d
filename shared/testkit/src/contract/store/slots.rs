//! Concurrency slots and queues: taken, joined, left and freed with the run itself, and never lost.

use super::*;
use crate::contract::becomes;
use crate::contract::sample::{self, claim, delivery, mine, new_run, noon, queued, run, run_of, slot_run, yours};
use crate::fixture::definition_id;
use jiff::{SignedDuration, Timestamp};
use sluice_core::change::{NewRun, RunChange};
use sluice_core::concurrency::{Concurrency, Limit, OnLimit, QueueRef, SlotScope};
use sluice_core::id::{DefinitionId, RunId, TenantId};
use sluice_core::lifecycle::{EngineEnd, RunEvent, RunStatus, StopIntent};
use sluice_core::limits;
use sluice_core::ports::{Changed, Recorded};
use sluice_core::run::{Run, RunState};
use std::collections::BTreeMap;

/// The index of queues may lag.
async fn queue_becomes(ground: &impl Ground, queue: &QueueRef, expected: &[RunId]) {
    let queued = async || ground.ports().queued_runs(queue, 1_000).await.expect("an answer");
    becomes(expected.to_vec(), || ground.pause(), queued).await;
}

async fn place_becomes(ground: &impl Ground, run: &Run, expected: Option<u32>) {
    becomes(expected, || ground.pause(), async || ground.ports().queue_position(run).await.expect("an answer")).await;
}

pub fn limit(scope: SlotScope, most: u32) -> Limit {
    Limit { scope, concurrency: Concurrency { max_concurrent_runs: most, on_limit: OnLimit::Queue } }
}

pub fn of_definition(most: u32) -> Limit {
    limit(SlotScope::Definition, most)
}

pub fn of_tenant(most: u32) -> Limit {
    limit(SlotScope::Tenant, most)
}

pub fn tenant_queue() -> QueueRef {
    QueueRef { tenant_id: mine(), definition_id: None }
}

pub fn definition_queue() -> QueueRef {
    QueueRef { tenant_id: mine(), definition_id: Some(definition_id(7)) }
}

pub fn second(number: u32) -> Timestamp {
    noon() + SignedDuration::from_secs(i64::from(number))
}

/// A run made `number` seconds after noon, which takes a slot of each of these limits.
pub fn admitted(number: u32, limits: &[Limit]) -> NewRun {
    slot_run(run(&mine(), number, second(number)), limits)
}

/// One that waits for this limit.
pub fn waiting(number: u32, limit: Limit) -> NewRun {
    queued(run(&mine(), number, second(number)), limit)
}

pub async fn record(store: &impl RecordRun, new: &NewRun) -> Recorded {
    store.record_run(new).await.expect("an answer")
}

pub async fn change(store: &impl ChangeRun, change: &RunChange) -> Changed {
    store.change_run(change).await.expect("an answer")
}

pub fn dispatched(run: &Run, limits: &[Limit]) -> RunChange {
    let mut after = run.after(RunEvent::Dispatched, second(60)).expect("a change");
    after.slots = limits.iter().map(|limit| limit.scope).collect();
    let mut change = RunChange::new(run, after);
    change.slots.taken = limits.to_vec();
    change
}

pub fn canceled(run: &Run) -> RunChange {
    let after = run.after(RunEvent::StopAsked(StopIntent::CanceledByCaller), second(90)).expect("a change");
    RunChange::new(run, after)
}

pub async fn a_run_takes_a_slot_of_each_of_its_limits_and_its_end_frees_them(table: &impl Ground) {
    let store = table.ports();
    let new = admitted(1, &[of_definition(2), of_tenant(2)]);
    assert_eq!(record(&store, &new).await, Recorded::Created);
    assert_eq!((table.count(&definition_queue()).await, table.count(&tenant_queue()).await), ((1, 0), (1, 0)));
    let found = store.load_run(&mine(), new.run.run_id).await.expect("loaded").expect("a run");
    assert_eq!(found, new.run);

    let end = RunChange { deliveries: vec![delivery(&found, 1, noon())], ..canceled(&found) };
    assert_eq!(end.slots.freed, [SlotScope::Definition, SlotScope::Tenant]);
    assert_eq!(change(&store, &end).await, Changed::Done);
    assert!(matches!(change(&store, &end).await, Changed::Stale(Some(_))));
    assert_eq!((table.count(&definition_queue()).await, table.count(&tenant_queue()).await), ((0, 0), (0, 0)));
}

pub async fn a_full_limit_refuses_a_run_and_nothing_is_written(table: &impl Ground) {
    let store = table.ports();
    assert_eq!(record(&store, &admitted(1, &[of_definition(1), of_tenant(5)])).await, Recorded::Created);
    let mut second = admitted(2, &[of_definition(1), of_tenant(5)]);
    second.run.about.replay_of = Some(sample::run_id(1));
    let key = claim("key", "payload");
    second.idempotency = new_run(&second.run, Some(key.clone()), None).idempotency;
    assert_eq!(record(&store, &second).await, Recorded::Full(vec![SlotScope::Definition]));
    assert_eq!(store.load_run(&mine(), second.run.run_id).await.expect("loaded"), None);
    assert!(store.load_snapshot(&mine(), second.run.run_id).await.expect("loaded").is_none());
    assert_eq!(store.load_request(&mine(), second.run.run_id).await.expect("loaded"), None);
    assert!(store.list_links(&mine(), sample::run_id(1)).await.expect("listed").replays.is_empty());
    assert_eq!(store.first_with_key(&mine(), &key, noon()).await.expect("an answer"), None, "the key is not used up");
    assert_eq!((table.count(&definition_queue()).await, table.count(&tenant_queue()).await), ((1, 0), (1, 0)));
}

pub async fn every_full_limit_is_named(table: &impl Ground) {
    let store = table.ports();
    assert_eq!(record(&store, &admitted(1, &[of_definition(1), of_tenant(1)])).await, Recorded::Created);
    let refused = record(&store, &admitted(2, &[of_definition(1), of_tenant(1)])).await;
    assert_eq!(refused, Recorded::Full(vec![SlotScope::Definition, SlotScope::Tenant]));
    let refused = record(&store, &admitted(2, &[of_definition(2), of_tenant(1)])).await;
    assert_eq!(refused, Recorded::Full(vec![SlotScope::Tenant]));
    assert_eq!(record(&store, &admitted(2, &[of_definition(2), of_tenant(2)])).await, Recorded::Created);
    // A limit that was lowered below what is held is full.
    let refused = record(&store, &admitted(3, &[of_tenant(1)])).await;
    assert_eq!(refused, Recorded::Full(vec![SlotScope::Tenant]));
}

pub async fn nobody_passes_those_who_wait(table: &impl Ground) {
    let store = table.ports();
    for (number, limit, queue) in [(1, of_tenant(1), tenant_queue()), (4, of_definition(1), definition_queue())] {
        assert_eq!(record(&store, &admitted(number, &[limit])).await, Recorded::Created);
        assert_eq!(record(&store, &waiting(number + 1, limit)).await, Recorded::Created);
        let first = store.load_run(&mine(), sample::run_id(number)).await.expect("loaded").expect("a run");
        assert_eq!(change(&store, &canceled(&first)).await, Changed::Done);
        assert_eq!(table.count(&queue).await, (0, 1), "a slot is free, and one waits for it");
        assert_eq!(record(&store, &admitted(number + 2, &[limit])).await, Recorded::Full(vec![limit.scope]));
        assert_eq!(record(&store, &waiting(number + 2, limit)).await, Recorded::Created, "behind the other one");
        assert_eq!(table.count(&queue).await, (0, 2));
    }
}

pub async fn a_run_joins_a_queue_only_where_the_limit_is_reached_or_others_wait(table: &impl Ground) {
    let store = table.ports();
    for (number, limit, queue) in [(1, of_definition(1), definition_queue()), (3, of_tenant(1), tenant_queue())] {
        let early = waiting(number + 1, limit);
        assert_eq!(record(&store, &early).await, Recorded::NotFull);
        assert_eq!(store.load_run(&mine(), early.run.run_id).await.expect("loaded"), None);
        assert_eq!(table.count(&queue).await, (0, 0));
        let first = admitted(number, &[limit]);
        assert_eq!(record(&store, &first).await, Recorded::Created);
        assert_eq!(record(&store, &early).await, Recorded::Created);
        assert_eq!(record(&store, &early).await, Recorded::Created, "the same call again");
        assert_eq!(table.count(&queue).await, (1, 1));
        let found = store.load_run(&mine(), early.run.run_id).await.expect("loaded").expect("a run");
        assert_eq!((found.status(), found.state.queue()), (RunStatus::Queued, Some(limit.scope)));
        // The counter stays, and says that nobody is there any more.
        for left in [first.run, found] {
            assert_eq!(change(&store, &canceled(&left)).await, Changed::Done);
        }
        assert_eq!(record(&store, &waiting(number + 10, limit)).await, Recorded::NotFull);
    }
}

pub async fn recording_a_run_again_takes_no_second_slot(table: &impl Ground) {
    let store = table.ports();
    for (number, key) in [(1, None), (2, Some(claim("key", "payload")))] {
        let mut new = admitted(number, &[of_tenant(number)]);
        new.idempotency = new_run(&new.run, key, None).idempotency;
        assert_eq!(record(&store, &new).await, Recorded::Created);
        assert_eq!(record(&store, &new).await, Recorded::Created, "although its own slot was the last one");
        assert_eq!(table.count(&tenant_queue()).await, (i64::from(number), 0));
    }
}

pub async fn a_taken_key_is_said_before_a_full_limit(table: &impl Ground) {
    let store = table.ports();
    let with_key = |mut new: NewRun| {
        new.idempotency = new_run(&new.run, Some(claim("key", "payload")), None).idempotency;
        new
    };
    let first = with_key(admitted(1, &[of_tenant(1)]));
    assert_eq!(record(&store, &first).await, Recorded::Created);
    for second in [admitted(2, &[of_tenant(1)]), waiting(2, of_tenant(5))] {
        let Recorded::KeyTaken(record) = record(&store, &with_key(second)).await else { panic!("taken") };
        assert_eq!(record.run, first.run);
    }
    assert_eq!(table.count(&tenant_queue()).await, (1, 0));
}

/// One run holds the definition's only slot, and another one waits for it.
pub async fn one_waits(store: &impl Ports) -> (Run, Run) {
    let (first, second) = (admitted(1, &[of_definition(1), of_tenant(5)]), waiting(2, of_definition(1)));
    assert_eq!(record(store, &first).await, Recorded::Created);
    assert_eq!(record(store, &second).await, Recorded::Created);
    (first.run, second.run)
}

pub async fn a_queued_run_is_dispatched_into_the_slots_it_needs(table: &impl Ground) {
    let store = table.ports();
    let (first, second) = one_waits(&store).await;
    assert_eq!(change(&store, &canceled(&first)).await, Changed::Done);
    let next = dispatched(&second, &[of_definition(1), of_tenant(5)]);
    assert_eq!(next.slots.left, Some(SlotScope::Definition));
    assert_eq!(change(&store, &next).await, Changed::Done);
    assert_eq!((table.count(&definition_queue()).await, table.count(&tenant_queue()).await), ((1, 0), (1, 0)));
    let found = store.load_run(&mine(), second.run_id).await.expect("loaded").expect("a run");
    assert_eq!(found, next.run);
    assert_eq!((found.status(), found.state.queue(), found.slots.len()), (RunStatus::Pending, None, 2));
    queue_becomes(table, &definition_queue(), &[]).await;
    assert_eq!(change(&store, &canceled(&found)).await, Changed::Done);
    assert_eq!((table.count(&definition_queue()).await, table.count(&tenant_queue()).await), ((0, 0), (0, 0)));
}

pub async fn a_dispatch_takes_the_first_slot_that_is_ever_taken_of_a_limit(table: &impl Ground) {
    let store = table.ports();
    let of = |definition: u128, number: u32| run_of(&mine(), number, definition_id(definition), second(number));
    let first = slot_run(of(7, 1), &[of_definition(1)]);
    let second = queued(of(7, 2), of_definition(1));
    assert_eq!(record(&store, &first).await, Recorded::Created);
    assert_eq!(record(&store, &second).await, Recorded::Created);
    assert_eq!(change(&store, &canceled(&first.run)).await, Changed::Done);
    let next = dispatched(&second.run, &[of_definition(1), of_tenant(1)]);
    assert_eq!(change(&store, &next).await, Changed::Done, "the first of the tenant");
    let third = queued(of(8, 3), of_tenant(1));
    assert_eq!(record(&store, &third).await, Recorded::Created);
    assert_eq!(change(&store, &canceled(&next.run)).await, Changed::Done);
    let last = dispatched(&third.run, &[of_definition(1), of_tenant(1)]);
    assert_eq!(change(&store, &last).await, Changed::Done, "the first of the other definition");
    let other = QueueRef { tenant_id: mine(), definition_id: Some(definition_id(8)) };
    assert_eq!((table.count(&other).await, table.count(&tenant_queue()).await), ((1, 0), (1, 0)));
}

pub async fn a_dispatch_without_a_slot_writes_nothing(table: &impl Ground) {
    let store = table.ports();
    let (_, second) = one_waits(&store).await;
    let next = dispatched(&second, &[of_definition(1), of_tenant(5)]);
    assert_eq!(change(&store, &next).await, Changed::Full(vec![SlotScope::Definition]));
    let both = dispatched(&second, &[of_definition(1), of_tenant(1)]);
    assert_eq!(change(&store, &both).await, Changed::Full(vec![SlotScope::Definition, SlotScope::Tenant]));
    assert_eq!(store.load_run(&mine(), second.run_id).await.expect("loaded"), Some(second.clone()));
    assert_eq!((table.count(&definition_queue()).await, table.count(&tenant_queue()).await), ((1, 1), (1, 0)));
    queue_becomes(table, &definition_queue(), &[second.run_id]).await;
}

pub async fn a_dispatch_does_not_mind_those_who_wait_behind_it(table: &impl Ground) {
    let store = table.ports();
    let (first, second) = one_waits(&store).await;
    assert_eq!(record(&store, &waiting(3, of_definition(1))).await, Recorded::Created);
    assert_eq!(change(&store, &canceled(&first)).await, Changed::Done);
    assert_eq!(change(&store, &dispatched(&second, &[of_definition(1)])).await, Changed::Done);
    assert_eq!(table.count(&definition_queue()).await, (1, 1));
}

pub async fn a_stale_change_is_stale_before_it_is_full_and_moves_nothing(table: &impl Ground) {
    let store = table.ports();
    let (_, second) = one_waits(&store).await;
    assert_eq!(change(&store, &canceled(&second)).await, Changed::Done);
    let late = change(&store, &dispatched(&second, &[of_definition(1), of_tenant(5)])).await;
    assert_eq!(late, Changed::Stale(Some(Box::new(canceled(&second).run))));
    assert_eq!((table.count(&definition_queue()).await, table.count(&tenant_queue()).await), ((1, 0), (1, 0)));
}

pub async fn a_run_goes_on_to_wait_in_another_queue(table: &impl Ground) {
    let store = table.ports();
    let (_, second) = one_waits(&store).await;
    let moved = second.in_state(RunState::Queued { queue: SlotScope::Tenant }, noon());
    let moving = RunChange::new(&second, moved.clone());
    assert_eq!((moving.slots.left, moving.slots.joined), (Some(SlotScope::Definition), Some(SlotScope::Tenant)));
    assert_eq!(change(&store, &moving).await, Changed::Done);
    assert_eq!((table.count(&definition_queue()).await, table.count(&tenant_queue()).await), ((1, 0), (1, 1)));
    queue_becomes(table, &definition_queue(), &[]).await;
    queue_becomes(table, &tenant_queue(), &[second.run_id]).await;
    place_becomes(table, &moved, Some(1)).await;
    // Out of the tenant's queue into slots of both limits: one counter is left and taken from at once.
    assert_eq!(change(&store, &dispatched(&moved, &[of_definition(2), of_tenant(2)])).await, Changed::Done);
    assert_eq!((table.count(&definition_queue()).await, table.count(&tenant_queue()).await), ((2, 0), (2, 0)));
}

pub async fn a_queued_run_that_is_canceled_leaves_its_queue(table: &impl Ground) {
    let store = table.ports();
    let (_, second) = one_waits(&store).await;
    assert_eq!(change(&store, &canceled(&second)).await, Changed::Done);
    assert_eq!(table.count(&definition_queue()).await, (1, 0));
    queue_becomes(table, &definition_queue(), &[]).await;
}

pub async fn slots_of_tenants_and_definitions_are_apart(table: &impl Ground) {
    let store = table.ports();
    let limits = [of_definition(1), of_tenant(2)];
    let of = |tenant: &TenantId, definition: u128, number: u32| {
        slot_run(run_of(tenant, number, definition_id(definition), noon()), &limits)
    };
    for new in [of(&mine(), 7, 1), of(&yours(), 7, 2), of(&mine(), 8, 3)] {
        assert_eq!(record(&store, &new).await, Recorded::Created);
    }
    let refused = record(&store, &of(&mine(), 8, 4)).await;
    assert_eq!(refused, Recorded::Full(vec![SlotScope::Definition, SlotScope::Tenant]));
    assert_eq!(record(&store, &of(&yours(), 8, 5)).await, Recorded::Created);
    for (tenant, definition, expected) in
        [(mine(), None, 2), (mine(), Some(7), 1), (mine(), Some(8), 1), (yours(), None, 2), (yours(), Some(7), 1)]
    {
        let queue = QueueRef { tenant_id: tenant, definition_id: definition.map(definition_id) };
        assert_eq!(table.count(&queue).await, (expected, 0), "{queue:?}");
    }
}

pub async fn queues_are_read_by_age_and_each_by_itself(table: &impl Ground) {
    let store = table.ports();
    record(&store, &admitted(0, &[of_definition(1), of_tenant(1)])).await;
    let theirs = slot_run(run(&yours(), 100, noon()), &[of_tenant(1)]);
    record(&store, &theirs).await;
    record(&store, &queued(run(&yours(), 101, noon()), of_tenant(1))).await;
    // Recorded in another order than they were made.
    for number in [5, 3, 9, 7] {
        assert_eq!(record(&store, &waiting(number, of_tenant(1))).await, Recorded::Created);
    }
    assert_eq!(record(&store, &waiting(4, of_definition(1))).await, Recorded::Created);
    let ids = |numbers: &[u32]| numbers.iter().map(|number| sample::run_id(*number)).collect::<Vec<_>>();
    queue_becomes(table, &tenant_queue(), &ids(&[3, 5, 7, 9])).await;
    assert_eq!(store.queued_runs(&tenant_queue(), 2).await.expect("an answer"), ids(&[3, 5]));
    queue_becomes(table, &definition_queue(), &ids(&[4])).await;
    let of_yours = |definition_id| QueueRef { tenant_id: yours(), definition_id };
    queue_becomes(table, &of_yours(None), &ids(&[101])).await;
    queue_becomes(table, &of_yours(Some(definition_id(7))), &[]).await;
}

pub async fn a_place_in_a_queue_is_counted_from_one(table: &impl Ground) {
    let store = table.ports();
    let open = admitted(0, &[of_tenant(1)]);
    record(&store, &open).await;
    // Two of one millisecond stand in the order of their ids.
    let at_once = [2, 1].map(|number| queued(run(&mine(), number, second(1)), of_tenant(1)));
    let later = waiting(3, of_tenant(1));
    for new in at_once.iter().chain([&later]) {
        assert_eq!(record(&store, new).await, Recorded::Created);
    }
    for (new, expected) in [(&at_once[1], 1), (&at_once[0], 2), (&later, 3)] {
        place_becomes(table, &new.run, Some(expected)).await;
    }
    place_becomes(table, &open.run, None).await;
    let ended = canceled(&later.run).run;
    place_becomes(table, &ended, None).await;
}

pub async fn a_queue_holds_as_many_as_it_may(table: &impl Ground) {
    let store = table.ports();
    for (number, scope, queue) in
        [(1, SlotScope::Tenant, tenant_queue()), (2, SlotScope::Definition, definition_queue())]
    {
        let one = waiting(number, limit(scope, 1));
        table.set_count(&queue, 1, limits::QUEUED_RUNS).await;
        assert_eq!(record(&store, &one).await, Recorded::QueueFull);
        assert_eq!(record(&store, &waiting(number, limit(scope, 5))).await, Recorded::QueueFull, "others wait");
        assert_eq!(store.load_run(&mine(), sample::run_id(number)).await.expect("loaded"), None);
        table.set_count(&queue, 1, limits::QUEUED_RUNS - 1).await;
        assert_eq!(record(&store, &one).await, Recorded::Created);
        assert_eq!(table.count(&queue).await, (1, i64::from(limits::QUEUED_RUNS)));
    }
}

/// Numbers that are random and always the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

pub async fn no_slot_leaks_over_a_long_random_life(table: &impl Ground) {
    let store = table.ports();
    let mut dice = Dice(0x5eed_1234_5678_9abc);
    let mut runs: BTreeMap<RunId, Run> = BTreeMap::new();
    for turn in 0..250_u32 {
        // The limits move, as operators move them.
        let limits = [of_definition(1 + dice.below(3) as u32), of_tenant(2 + dice.below(3) as u32)];
        let definition: DefinitionId = definition_id(7 + u128::from(dice.below(2)));
        let open: Vec<Run> = runs.values().filter(|run| !run.status().is_terminal()).cloned().collect();
        let turn_of = dice.below(9);
        // Mostly those who wait are dispatched, and those who hold a slot end.
        let wanted = |run: &&Run| (run.status() == RunStatus::Queued) == (turn_of < 6);
        let likely = if dice.below(8) > 0 { open.iter().find(wanted).cloned() } else { None };
        let any = (!open.is_empty()).then(|| open[dice.below(open.len() as u64) as usize].clone());
        let changed = match (turn_of, likely.or(any)) {
            (0..=2, _) | (_, None) => {
                let fresh = run_of(&mine(), turn, definition, second(turn));
                let new = match dice.below(3) {
                    0 => slot_run(fresh, &limits),
                    1 => queued(fresh, limits[0]),
                    _ => queued(fresh, limits[1]),
                };
                let recorded = record(&store, &new).await;
                // A lost answer: the same call again.
                if recorded == Recorded::Created {
                    assert_eq!(record(&store, &new).await, Recorded::Created);
                    runs.insert(new.run.run_id, new.run);
                }
                None
            }
            (3..=5, Some(run)) if run.status() == RunStatus::Queued => Some(dispatched(&run, &limits)),
            (3..=5, Some(run)) => run.after(RunEvent::Claimed, second(turn)).map(|after| RunChange::new(&run, after)),
            (6, Some(run)) if run.status() == RunStatus::Queued => {
                let is_tenants = run.state.queue() == Some(SlotScope::Tenant);
                let other = if is_tenants { SlotScope::Definition } else { SlotScope::Tenant };
                let moved = run.in_state(RunState::Queued { queue: other }, noon());
                Some(RunChange::new(&run, moved))
            }
            (_, Some(run)) => {
                let stop = RunEvent::StopAsked(StopIntent::CanceledByCaller);
                let end = RunEvent::EngineEnded(EngineEnd::Aborted);
                let after = run.after(stop, second(turn)).or_else(|| run.after(end, second(turn)));
                after.map(|after| RunChange::new(&run, after))
            }
        };
        if let Some(next) = changed {
            match change(&store, &next).await {
                Changed::Done => {
                    assert!(matches!(change(&store, &next).await, Changed::Stale(Some(_))), "not twice");
                    runs.insert(next.run.run_id, next.run);
                }
                Changed::Full(scopes) => assert!(!scopes.is_empty() && !next.slots.taken.is_empty()),
                Changed::Stale(_) => panic!("nobody else changes it"),
            }
        }
        if turn % 10 == 0 {
            check(table, &runs).await;
        }
    }
    check(table, &runs).await;
    let count = |of: fn(&Run) -> bool| runs.values().filter(|run| of(run)).count();
    let (ended, dispatched) =
        (count(|run| run.status().is_terminal()), count(|run| run.state.dispatched_at().is_some()));
    assert!(ended > 10 && dispatched > 5, "a life worth its name: {ended} ended, {dispatched} dispatched");
}

pub async fn check(table: &impl Ground, runs: &BTreeMap<RunId, Run>) {
    for definition in [None, Some(definition_id(7)), Some(definition_id(8))] {
        let queue = QueueRef { tenant_id: mine(), definition_id: definition };
        let scope = queue.scope();
        let mut here: Vec<&Run> =
            runs.values().filter(|run| definition.is_none_or(|id| run.spec.definition_id == id)).collect();
        here.sort_by_key(|run| (run.spec.created_at, run.run_id));
        let held = here.iter().filter(|run| run.slots.contains(&scope)).count() as i64;
        let waiting: Vec<RunId> =
            here.iter().filter(|run| run.state.queue() == Some(scope)).map(|run| run.run_id).collect();
        assert_eq!(table.count(&queue).await, (held, waiting.len() as i64), "{queue:?}");
        queue_becomes(table, &queue, &waiting).await;
        assert!(here.iter().all(|run| run.state.queue().is_none() || run.status() == RunStatus::Queued));
        assert!(here.iter().all(|run| run.slots.is_empty() || !run.status().is_terminal()));
    }
}
