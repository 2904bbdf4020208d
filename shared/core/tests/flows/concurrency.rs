use crate::world::{World, command, with_key};
use proptest::prelude::*;
use sluice_core::concurrency::{Concurrency, OnLimit, QueueRef, SlotScope};
use sluice_core::flow::create_run::Accepted;
use sluice_core::flow::dispatch_runs::{Dispatched, dispatch_runs};
use sluice_core::flow::manage_definitions::{DefinitionChange, change_definition};
use sluice_core::flow::manage_operator::save_tenant;
use sluice_core::flow::transition_run::announce;
use sluice_core::flow::{Answer, Refusal};
use sluice_core::id::DefinitionRef;
use sluice_core::lifecycle::{EngineEnd, RunStatus, TerminationReason};
use sluice_core::operator::TenantSettings;
use sluice_core::ports::{Clock, ReadQueue, StoreErrorClass};
use sluice_core::run::Run;
use sluice_testkit::fault::Fault;
use sluice_testkit::store::Counter;
use sluice_testkit::{block_on, fixture};

impl World {
    fn limit_definition(&self, concurrency: Option<Concurrency>) {
        let definition = DefinitionRef::Id(fixture::definition_id(7));
        let said = DefinitionChange { concurrency: Some(concurrency), ..DefinitionChange::default() };
        block_on(change_definition(&self.store, &self.caller, &definition, said, self.clock.now())).expect("changed");
    }

    fn limit_tenant(&self, concurrency: Concurrency) {
        let operator = sluice_core::caller::Caller { is_operator: true, ..self.caller.clone() };
        let settings =
            TenantSettings { concurrency: Some(concurrency), ..TenantSettings::open(self.caller.tenant.clone()) };
        let destinations = fixture::policy().destinations;
        block_on(save_tenant(&self.store, &operator, &destinations, settings)).expect("saved");
    }

    fn make(&self, id: u128) -> Answer<Accepted> {
        self.clock.advance(1);
        self.create(command(), id)
    }

    fn queue(&self, scope: SlotScope) -> QueueRef {
        let definition_id = (scope == SlotScope::Definition).then(|| fixture::definition_id(7));
        QueueRef { tenant_id: self.caller.tenant.clone(), definition_id }
    }

    fn dispatch(&self, scope: SlotScope) -> Dispatched {
        block_on(dispatch_runs(&self.store, &self.engine, &self.queue(scope), self.clock.now())).expect("dispatches")
    }

    fn counter(&self, scope: SlotScope) -> Counter {
        self.store.counter(&self.queue(scope))
    }

    fn position(&self, run: &Run) -> Option<u32> {
        block_on(self.store.queue_position(&self.run(run.run_id))).expect("reads")
    }

    fn claim_and_end(&self, run: &Run) {
        assert!(self.engine.claim(&self.store, &run.execution_arn(), self.clock.now()));
        self.end(run, EngineEnd::Succeeded, Some("{}")).expect("settled");
    }

    /// What the counters must say of the runs there are.
    fn check_counters(&self) -> Result<(), TestCaseError> {
        for scope in [SlotScope::Definition, SlotScope::Tenant] {
            let runs = self.store.runs();
            let held = runs.iter().filter(|run| run.slots.contains(&scope)).count() as i64;
            let queued = runs.iter().filter(|run| run.state.queue() == Some(scope)).count() as i64;
            prop_assert_eq!(self.counter(scope), Counter { held, queued });
            prop_assert!(runs.iter().all(|run| run.slots.is_empty() || !run.status().is_terminal()));
            prop_assert!(runs.iter().all(|run| run.state.queue().is_some() == (run.status() == RunStatus::Queued)));
        }
        Ok(())
    }
}

fn limit(max_concurrent_runs: u32, on_limit: OnLimit) -> Concurrency {
    Concurrency { max_concurrent_runs, on_limit }
}

#[test]
fn a_run_above_a_rejecting_limit_is_refused_and_nothing_is_written() {
    let world = World::new();
    world.limit_definition(Some(limit(2, OnLimit::Reject)));
    world.make(1).expect("accepted");
    let second = world.make(2).expect("accepted").run;
    let writes = world.store.writes();
    let refused = world.create(with_key(command(), "a-key", "payload"), 3);
    assert!(matches!(refused, Err(Refusal::TooManyRuns { scope: SlotScope::Definition, limit: 2 })), "{refused:?}");
    assert_eq!(world.store.writes(), writes);
    world.claim_and_end(&second);
    let accepted = world.create(with_key(command(), "a-key", "payload"), 4).expect("the key was not used up");
    assert!(!accepted.replayed);
}

#[test]
fn runs_wait_in_the_order_of_their_creation_and_start_as_slots_come_free() {
    let world = World::new();
    world.limit_definition(Some(limit(1, OnLimit::Queue)));
    let first = world.make(1).expect("accepted").run;
    let (second, third) = (world.make(2).expect("queued").run, world.make(3).expect("queued").run);
    assert_eq!(
        (first.status(), second.status(), third.status()),
        (RunStatus::Pending, RunStatus::Queued, RunStatus::Queued)
    );
    assert_eq!((world.position(&second), world.position(&third), world.position(&first)), (Some(1), Some(2), None));
    assert!(world.engine.execution(&second.execution_arn()).is_none(), "what waits has not started");
    assert!(world.engine.claim(&world.store, &first.execution_arn(), world.clock.now()));
    let settled = world.end(&first, EngineEnd::Succeeded, Some("{}")).expect("settled");
    assert_eq!(settled.freed, [world.queue(SlotScope::Definition)]);
    block_on(announce(&world.engine, &settled));
    assert_eq!(world.engine.take_freed(), settled.freed, "the end tells whose turn it is");
    assert_eq!(world.dispatch(SlotScope::Definition).started, 1);
    assert_eq!(world.run(second.run_id).status(), RunStatus::Pending);
    assert!(world.engine.execution(&second.execution_arn()).is_some());
    assert_eq!(
        (world.position(&third), world.counter(SlotScope::Definition)),
        (Some(1), Counter { held: 1, queued: 1 })
    );
}

#[test]
fn a_new_run_does_not_pass_those_that_wait() {
    let world = World::new();
    world.limit_definition(Some(limit(1, OnLimit::Queue)));
    let first = world.make(1).expect("accepted").run;
    let second = world.make(2).expect("queued").run;
    world.claim_and_end(&first);
    let third = world.make(3).expect("queued, although a slot is free").run;
    assert_eq!(third.status(), RunStatus::Queued);
    world.dispatch(SlotScope::Definition);
    assert_eq!(
        (world.run(second.run_id).status(), world.run(third.run_id).status()),
        (RunStatus::Pending, RunStatus::Queued)
    );
}

#[test]
fn a_queued_run_is_canceled_at_once_and_leaves_its_queue() {
    let world = World::new();
    world.limit_definition(Some(limit(1, OnLimit::Queue)));
    let first = world.make(1).expect("accepted").run;
    let second = world.make(2).expect("queued").run;
    world.cancel(second.run_id).expect("canceled");
    let canceled = world.run(second.run_id);
    assert_eq!(
        (canceled.status(), canceled.state.ended().map(|ended| ended.reason)),
        (RunStatus::Canceled, Some(TerminationReason::CanceledByCaller))
    );
    assert_eq!(world.counter(SlotScope::Definition), Counter { held: 1, queued: 0 });
    world.claim_and_end(&first);
    assert_eq!(world.dispatch(SlotScope::Definition), Dispatched::default());
}

#[test]
fn a_run_waits_before_the_limit_that_holds_it_up() {
    let world = World::new();
    world.limit_definition(Some(limit(1, OnLimit::Queue)));
    world.limit_tenant(limit(1, OnLimit::Queue));
    let first = world.make(1).expect("accepted").run;
    let second = world.make(2).expect("queued").run;
    assert_eq!(second.state.queue(), Some(SlotScope::Definition));
    // The definition's limit is raised; now the tenant's alone holds the run up.
    world.limit_definition(Some(limit(5, OnLimit::Queue)));
    assert_eq!(world.dispatch(SlotScope::Definition).moved, 1);
    assert_eq!(world.run(second.run_id).state.queue(), Some(SlotScope::Tenant));
    world.claim_and_end(&first);
    assert_eq!(world.dispatch(SlotScope::Tenant).started, 1);
    assert_eq!(world.run(second.run_id).slots.len(), 2);
}

#[test]
fn a_look_at_a_queue_counts_all_that_it_moved_and_started() {
    for count in 1..=4 {
        let world = World::new();
        world.limit_definition(Some(limit(1, OnLimit::Queue)));
        world.limit_tenant(limit(1, OnLimit::Queue));
        let first = world.make(1).expect("accepted").run;
        for id in 0..count {
            world.make(2 + u128::from(id)).expect("queued");
        }
        world.limit_definition(None);
        let moved = Dispatched { moved: count, ..Dispatched::default() };
        assert_eq!(world.dispatch(SlotScope::Definition), moved);
        world.claim_and_end(&first);
        let operator = sluice_core::caller::Caller { is_operator: true, ..world.caller.clone() };
        let settings = TenantSettings { rev: 2, ..TenantSettings::open(world.caller.tenant.clone()) };
        let destinations = fixture::policy().destinations;
        block_on(save_tenant(&world.store, &operator, &destinations, settings)).expect("saved");
        let started = Dispatched { started: count, ..Dispatched::default() };
        assert_eq!(world.dispatch(SlotScope::Tenant), started);
    }
}

#[test]
fn a_look_at_a_queue_tells_apart_how_each_start_went() {
    type Trouble = fn(&World);
    let no_answer: Trouble = |world| {
        let fault = Fault::Before(StoreErrorClass::Unavailable);
        world.engine.faults.set(move |called| (called == "start the execution").then_some(fault));
    };
    let refusal: Trouble = |world| world.engine.refuse_starts(Some("AccessDenied"));
    let none: Trouble = |_| {};
    for count in 1..=4 {
        let ended = vec![RunStatus::Failed; count as usize];
        for (trouble, expected) in [
            (none, Dispatched { started: count, ..Dispatched::default() }),
            (no_answer, Dispatched { start_delayed: count, ..Dispatched::default() }),
            (refusal, Dispatched { ended, ..Dispatched::default() }),
        ] {
            let queued = || {
                let world = World::new();
                world.limit_definition(Some(limit(1, OnLimit::Queue)));
                world.make(1).expect("accepted");
                for id in 0..count {
                    world.make(2 + u128::from(id)).expect("queued");
                }
                world.limit_definition(Some(limit(10, OnLimit::Queue)));
                trouble(&world);
                world
            };
            assert_eq!(queued().dispatch(SlotScope::Definition), expected);
            let swept = queued().reconcile();
            assert_eq!((swept.queued, swept.dispatched), (count, expected.started));
            assert_eq!(swept.ended, expected.ended);
        }
    }
}

#[test]
fn a_sweep_counts_the_slots_that_are_held_and_the_runs_that_wait() {
    for (of_definition, of_tenant) in [(Some(3), Some(4)), (None, Some(2)), (Some(2), None), (None, None)] {
        let world = World::new();
        world.limit_definition(of_definition.map(|most| limit(most, OnLimit::Queue)));
        if let Some(most) = of_tenant {
            world.limit_tenant(limit(most, OnLimit::Queue));
        }
        let runs: Vec<Run> = (1..=5).map(|id| world.make(id).expect("accepted").run).collect();
        let held: usize = runs.iter().map(|run| run.slots.len()).sum();
        let queued = runs.iter().filter(|run| run.status() == RunStatus::Queued).count();
        let summary = world.reconcile();
        assert_eq!((summary.open, summary.queued as usize, summary.slots_held as usize), (5, queued, held));
    }
}

#[test]
fn the_stricter_rule_decides_where_two_limits_are_reached() {
    let world = World::new();
    world.limit_definition(Some(limit(1, OnLimit::Queue)));
    world.limit_tenant(limit(1, OnLimit::Reject));
    world.make(1).expect("accepted");
    let refused = world.make(2);
    assert!(matches!(refused, Err(Refusal::TooManyRuns { scope: SlotScope::Tenant, limit: 1 })), "{refused:?}");
}

#[test]
fn the_sweep_dispatches_what_nobody_told_of() {
    let world = World::new();
    world.limit_definition(Some(limit(1, OnLimit::Queue)));
    let first = world.make(1).expect("accepted").run;
    let second = world.make(2).expect("queued").run;
    world.claim_and_end(&first);
    assert!(world.engine.take_freed().is_empty(), "nobody was told");
    let summary = world.reconcile();
    assert_eq!((summary.queued, summary.dispatched), (1, 1));
    assert_eq!(world.run(second.run_id).status(), RunStatus::Pending);
}

#[test]
fn a_limit_that_is_taken_away_holds_nobody_up() {
    let world = World::new();
    world.limit_definition(Some(limit(1, OnLimit::Queue)));
    world.make(1).expect("accepted");
    let second = world.make(2).expect("queued").run;
    world.limit_definition(None);
    assert_eq!(world.reconcile().dispatched, 1);
    let second = world.run(second.run_id);
    assert_eq!((second.status(), second.slots.len()), (RunStatus::Pending, 0));
}

#[test]
fn a_repeated_create_is_told_of_its_queued_run() {
    let world = World::new();
    world.limit_definition(Some(limit(1, OnLimit::Queue)));
    world.make(1).expect("accepted");
    let queued = world.create(with_key(command(), "a-key", "payload"), 2).expect("queued").run;
    let again = world.create(with_key(command(), "a-key", "payload"), 3).expect("answered");
    assert!(again.replayed);
    assert_eq!(again.run, queued);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn slots_are_what_open_runs_hold_after_any_sequence(
        steps in prop::collection::vec((0u8..7, 0usize..12), 1..60),
        most in 1u32..4,
        both in any::<bool>(),
    ) {
        let world = World::new();
        world.limit_definition(Some(limit(most, OnLimit::Queue)));
        if both {
            world.limit_tenant(limit(most + 1, OnLimit::Queue));
        }
        let mut made = 0u128;
        for (step, which) in steps {
            let runs = world.store.runs();
            let chosen = runs.get(which % runs.len().max(1)).cloned();
            match (step, chosen) {
                (0 | 1, _) | (_, None) => {
                    made += 1;
                    let _refused_when_full = world.make(made);
                }
                (2, Some(run)) => drop(world.cancel(run.run_id)),
                (3, Some(run)) => {
                    world.engine.claim(&world.store, &run.execution_arn(), world.clock.now());
                }
                (4, Some(run)) => drop(world.end(&run, EngineEnd::Succeeded, Some("{}"))),
                (5, Some(_)) => {
                    world.dispatch(SlotScope::Definition);
                    world.dispatch(SlotScope::Tenant);
                }
                (_, Some(_)) => world.limit_definition(Some(limit(1 + which as u32 % 4, OnLimit::Queue))),
            }
            world.check_counters()?;
        }
        // Whatever is open ends, and whatever waits gets its turn.
        for _ in 0..200 {
            let open: Vec<Run> = world.store.runs().into_iter().filter(|run| !run.status().is_terminal()).collect();
            if open.is_empty() {
                break;
            }
            for run in open {
                world.engine.claim(&world.store, &run.execution_arn(), world.clock.now());
                world.end(&run, EngineEnd::Succeeded, Some("{}"));
            }
            world.clock.advance(61);
            world.reconcile();
            world.check_counters()?;
        }
        prop_assert!(world.store.runs().iter().all(|run| run.status().is_terminal()));
        prop_assert!(world.store.counters().values().all(|counter| *counter == Counter::default()));
    }
}
