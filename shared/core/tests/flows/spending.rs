//! Budgets over runs: what a run is under, and that none is made for which nothing is left.

use crate::world::{World, command, with_key};
use sluice_core::budget::{MicroUsd, NanoUsd};
use sluice_core::definition::VersionRule;
use sluice_core::flow::create_run::{Accepted, Command};
use sluice_core::flow::manage_definitions::add_version;
use sluice_core::flow::read_budgets::{Purse, read_budgets};
use sluice_core::flow::replay_run::{self, replay_run};
use sluice_core::flow::{Answer, Refusal};
use sluice_core::governor::ledger::change::{Draw, DrawPart};
use sluice_core::governor::ledger::{Ledger, OnBudgetExceeded};
use sluice_core::governor::quota::{Budget, Period, QuotaOwner};
use sluice_core::id::{DefinitionRef, UserId};
use sluice_core::lifecycle::EngineEnd;
use sluice_core::operator::{ComputeNode, TenantSettings, Tenants};
use sluice_core::ports::{Clock, Drawn, GovernCalls, ManageOperator, RunRef};
use sluice_core::run::Run;
use sluice_testkit::{block_on, fixture};
use std::collections::{BTreeMap, BTreeSet};

fn budget(period: Period, max: Option<u64>, per_user: Option<u64>) -> Budget {
    Budget { period, max: max.map(MicroUsd::from_usd), per_user_max: per_user.map(MicroUsd::from_usd) }
}

fn user(name: &str) -> Option<UserId> {
    Some(name.parse().expect("a user"))
}

fn of(name: &str) -> Command {
    Command { user_id: user(name), ..command() }
}

fn reference(run: &Run) -> RunRef {
    RunRef { tenant_id: run.tenant_id.clone(), run_id: run.run_id }
}

impl World {
    /// A world in which the tenant and its compute node have these budgets.
    fn under(of_tenant: Option<Budget>, of_node: Option<Budget>) -> Self {
        let world = Self::new();
        world.budget(of_tenant, 1);
        let node = ComputeNode { budget: of_node, rev: 2, ..fixture::compute_node(world.clock.now()) };
        assert!(block_on(world.store.save_compute_node(&node)).expect("saved"));
        world
    }

    fn budget(&self, budget: Option<Budget>, rev: u64) {
        let settings = TenantSettings { budget, rev, ..TenantSettings::open(self.caller.tenant.clone()) };
        assert!(block_on(self.store.save_tenant(&settings)).expect("saved"));
    }

    fn ledger(&self, run: &Run) -> Ledger {
        self.store.governed(&reference(run)).expect("it was recorded with the run")
    }

    /// Draws so much on everything that the run is under.
    fn draw(&self, run: &Run, usd: u64, period: Period) {
        let amount = NanoUsd(usd * 1_000_000_000);
        let part = DrawPart { period: period.at(self.clock.now()), amount, most: NanoUsd(u64::MAX) };
        let parts: BTreeMap<_, _> =
            self.ledger(run).allowances.into_keys().map(|owner| (owner, part.clone())).collect();
        assert!(!parts.is_empty());
        let drawn = block_on(self.store.draw(&reference(run), &Draw { parts })).expect("an answer");
        assert_eq!(drawn, Drawn::Done);
    }

    fn once_more(&self, original: u128, id: u128, command: replay_run::Command) -> Answer<Accepted> {
        let (policy, now) = (fixture::policy(), self.clock.now());
        let (original, fresh) = (fixture::run_id(original), fixture::fresh(fixture::run_id(id)));
        block_on(replay_run(&self.store, &self.engine, &policy, &self.caller, original, command, fresh, now))
    }
}

/// Whom the refusal is about, and when to come again.
fn told(answer: Answer<Accepted>) -> (&'static str, Period, u32) {
    match answer {
        Err(Refusal::BudgetExhausted { whose, period, retry_after_seconds }) => (whose, period, retry_after_seconds),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_run_is_under_the_quotas_that_its_tenant_its_node_and_its_user_have() {
    let both = Some(budget(Period::Day, Some(10), Some(2)));
    for (of_tenant, of_node, name, kinds) in [
        (None, None, Some("ann"), vec![]),
        (both, None, None, vec!["this tenant"]),
        (both, None, Some("ann"), vec!["this tenant", "this user"]),
        (None, both, Some("ann"), vec!["everybody on this compute node", "this user on this compute node"]),
        (Some(budget(Period::Month, None, Some(1))), both, None, vec!["everybody on this compute node"]),
        (
            Some(budget(Period::Month, None, Some(1))),
            both,
            Some("ann"),
            vec!["everybody on this compute node", "this user", "this user on this compute node"],
        ),
    ] {
        let world = World::under(of_tenant, of_node);
        let run = world.create(Command { user_id: name.and_then(user), ..command() }, 1).expect("accepted").run;
        let allowances = world.ledger(&run).allowances;
        assert!(allowances.values().all(Option::is_none), "nothing is drawn yet");
        let owners: BTreeSet<&str> = allowances.keys().map(QuotaOwner::whose).collect();
        assert_eq!(owners, kinds.into_iter().collect(), "{of_tenant:?} {of_node:?} {name:?}");
        assert_eq!(run.spec.user_id, name.and_then(user));
    }
}

#[test]
fn nothing_is_begun_for_which_nothing_is_left_until_the_period_is_over() {
    for period in [Period::Day, Period::Month] {
        let world = World::under(Some(budget(period, Some(10), Some(2))), None);
        let first = world.create(with_key(of("ann"), "a-key", "payload"), 1).expect("accepted").run;
        assert!(world.engine.claim(&world.store, &first.execution_arn(), world.clock.now()));
        world.draw(&first, 2, period);
        world.end(&first, EngineEnd::Succeeded, Some("{}")).expect("settled");
        let seconds = {
            let now = world.clock.now();
            u32::try_from(period.end(now).as_second() - now.as_second()).expect("seconds")
        };
        let writes = world.store.writes();
        let (whose, told_of, after) = told(world.create(of("ann"), 2));
        assert_eq!((whose, told_of), ("this user", period));
        assert!((seconds..=seconds + 1).contains(&after), "{after} is not {seconds}");
        told(world.create(with_key(of("ann"), "other", "payload"), 3));
        told(world.once_more(1, 4, replay_run::Command::default()));
        told(world.once_more(1, 5, replay_run::Command { version: Some(VersionRule::Active), ..Default::default() }));
        assert_eq!(world.store.writes(), writes, "nothing was written");
        // Who repeats a key is told of the first run.
        let again = world.create(with_key(of("ann"), "a-key", "payload"), 6).expect("answered");
        assert!(again.replayed && again.run == first);
        // Others go on, and so does the same run for somebody else.
        world.create(of("bob"), 7).expect("another user");
        world.create(command(), 8).expect("nobody in particular");
        let for_bob = replay_run::Command { user_id: user("bob"), ..Default::default() };
        assert_eq!(world.once_more(1, 9, for_bob).expect("another user").run.spec.user_id, user("bob"));
        // It was said when there is something again.
        world.clock.advance(i64::from(after));
        let later = world.once_more(1, 10, replay_run::Command::default()).expect("the next period").run;
        assert_eq!(later.spec.user_id, user("ann"), "whoever it was for");
        assert_eq!(world.ledger(&later).allowances.len(), 2);
    }
}

#[test]
fn a_budget_that_is_new_or_gone_counts_at_once_in_every_process() {
    let world = World::under(None, None);
    let warm = world.create(of("ann"), 1).expect("accepted").run;
    assert_eq!(world.ledger(&warm).allowances, BTreeMap::new());
    world.budget(Some(budget(Period::Day, Some(3), None)), 2);
    let run = world.create(of("ann"), 2).expect("accepted").run;
    world.draw(&run, 3, Period::Day);
    assert_eq!(told(world.create(of("ann"), 3)).0, "this tenant");
    // Another period has books of its own.
    world.budget(Some(budget(Period::Month, Some(3), None)), 3);
    world.create(of("ann"), 4).expect("accepted");
    world.budget(Some(budget(Period::Day, Some(4), None)), 4);
    world.create(of("ann"), 5).expect("there is more");
    world.budget(Some(budget(Period::Day, Some(0), None)), 5);
    told(world.create(command(), 6));
    world.budget(None, 6);
    world.create(command(), 7).expect("accepted");
}

#[test]
fn what_a_version_says_of_a_spent_cap_is_frozen_with_its_runs() {
    let world = World::under(None, None);
    let first = world.create(command(), 1).expect("accepted").run;
    let mut document = fixture::document();
    document.on_budget_exceeded = OnBudgetExceeded::Refuse;
    let (at, now) = (DefinitionRef::Id(fixture::definition_id(7)), world.clock.now());
    block_on(add_version(&world.store, &world.caller, &at, document, true, now)).expect("added");
    let second = world.create(command(), 2).expect("accepted").run;
    let rules = [&first, &second].map(|run| (run.spec.on_budget_exceeded, world.ledger(run).on_exceeded));
    let (stop, refuse) = (OnBudgetExceeded::Stop, OnBudgetExceeded::Refuse);
    assert_eq!(rules, [(stop, stop), (refuse, refuse)]);
    for (run, id, rule) in [(&first, 3, stop), (&second, 4, refuse)] {
        assert!(world.engine.claim(&world.store, &run.execution_arn(), world.clock.now()));
        world.end(run, EngineEnd::Succeeded, Some("{}")).expect("settled");
        let again = world.once_more(id - 2, id, replay_run::Command::default()).expect("accepted").run;
        assert_eq!((again.spec.on_budget_exceeded, world.ledger(&again).on_exceeded), (rule, rule));
    }
}

#[test]
fn what_is_left_is_told_of_the_tenant_its_compute_nodes_and_a_user() {
    let usd = |usd: u64| NanoUsd(usd * 1_000_000_000);
    let purse = |most, drawn| Some(Purse { most: usd(most), drawn: usd(drawn) });
    let world = World::under(Some(budget(Period::Day, Some(10), Some(5))), Some(budget(Period::Month, None, Some(7))));
    for (key, tenants) in [("foreign", vec!["another"]), ("plain", vec!["acme"])] {
        let node = ComputeNode {
            key: key.parse().expect("a key"),
            tenants: Tenants(tenants.into_iter().map(|tenant| tenant.parse().expect("a tenant")).collect()),
            budget: (key == "foreign").then(|| budget(Period::Day, Some(1), None)),
            ..fixture::compute_node(world.clock.now())
        };
        assert!(block_on(world.store.save_compute_node(&node)).expect("saved"));
    }
    let run = world.create(of("ann"), 1).expect("accepted").run;
    world.draw(&run, 6, Period::Day);
    let read = |name: Option<&str>| {
        let user = name.and_then(user);
        block_on(read_budgets(&world.store, &world.caller, user.as_ref(), world.clock.now())).expect("an answer")
    };
    let states = read(Some("ann"));
    let nodes: Vec<Option<&str>> =
        states.iter().map(|state| state.compute_node.as_ref().map(|key| key.as_str())).collect();
    assert_eq!(nodes, [None, Some("default")]);
    // By the day that the draws were made in; those on the node are of another period than its own.
    assert_eq!((states[0].all, states[0].user), (purse(10, 6), purse(5, 6)));
    assert_eq!((states[1].all, states[1].user), (None, purse(7, 0)));
    assert_eq!(states[0].all.map(|purse| purse.left()), Some(usd(4)));
    assert_eq!(states[0].user.map(|purse| purse.left()), Some(usd(0)), "never below nothing");
    assert_eq!(states[0].ends_at, Period::Day.end(world.clock.now()));
    let others = read(Some("bob"));
    assert_eq!((others[0].all, others[0].user), (purse(10, 6), purse(5, 0)));
    assert_eq!(read(None).iter().map(|state| state.user).collect::<Vec<_>>(), [None, None]);
    world.clock.advance(86_400);
    assert_eq!(read(Some("ann"))[0].all, purse(10, 0));
}

#[test]
fn a_purse_is_told_only_of_what_the_budget_says() {
    let purse = |most: Option<u64>| most.map(|usd| Purse { most: NanoUsd(usd * 1_000_000_000), drawn: NanoUsd(0) });
    for (max, per_user) in [(Some(10), None), (None, Some(3)), (Some(10), Some(3))] {
        let said = Some(budget(Period::Day, max, per_user));
        for (of_tenant, of_node) in [(said, None), (None, said), (said, said)] {
            let world = World::under(of_tenant, of_node);
            for asked in [None, user("ann")] {
                let states = read_budgets(&world.store, &world.caller, asked.as_ref(), world.clock.now());
                let states = block_on(states).expect("an answer");
                let nodes: Vec<bool> = states.iter().map(|state| state.compute_node.is_some()).collect();
                let expected = [of_tenant.map(|_| false), of_node.map(|_| true)];
                assert_eq!(nodes, expected.into_iter().flatten().collect::<Vec<_>>());
                for state in states {
                    let of_user = asked.as_ref().and_then(|_| purse(per_user));
                    assert_eq!((state.all, state.user), (purse(max), of_user), "{said:?} of {asked:?}");
                }
            }
        }
    }
}

#[test]
fn what_a_run_has_drawn_and_not_spent_is_given_back_after_its_end_by_the_sweep() {
    for (of_tenant, of_node, quotas) in [
        (Some(budget(Period::Day, Some(10), None)), None, 1),
        (Some(budget(Period::Day, Some(10), Some(5))), None, 2),
        (Some(budget(Period::Day, Some(10), Some(5))), Some(budget(Period::Day, Some(7), None)), 3),
    ] {
        let world = World::under(of_tenant, of_node);
        let run = world.create(of("ann"), 1).expect("accepted").run;
        world.draw(&run, 4, Period::Day);
        let drawn = || {
            let ann = user("ann");
            let states = read_budgets(&world.store, &world.caller, ann.as_ref(), world.clock.now());
            let states = block_on(states).expect("an answer");
            let purses: Vec<Purse> = states.iter().flat_map(|state| [state.all, state.user]).flatten().collect();
            assert_eq!(purses.len(), quotas as usize);
            purses.iter().map(|purse| purse.drawn.0).sum::<u64>()
        };
        assert_eq!(drawn(), u64::from(quotas) * 4_000_000_000);
        assert!(world.engine.claim(&world.store, &run.execution_arn(), world.clock.now()));
        world.end(&run, EngineEnd::Succeeded, Some("{}")).expect("settled");
        world.clock.advance(60);
        let swept = world.reconcile();
        assert_eq!((swept.balanced, swept.faults.as_slice(), drawn()), (quotas, [].as_slice(), 0));
        assert_eq!(world.reconcile().balanced, 0, "once");
    }
}
