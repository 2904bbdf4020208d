//! Governed calls of a run: what it is recorded and started with for them, and where what they cost is seen.

use crate::world::{World, command, with_callback};
use serde_json::{Value, json};
use sluice_core::budget::{MicroUsd, NanoUsd};
use sluice_core::call_id::{CallId, LEASE};
use sluice_core::flow::Refusal;
use sluice_core::flow::create_run::{Command, Fresh, Policy, create_run};
use sluice_core::flow::read_runs::{get_spending, get_usage};
use sluice_core::flow::record_usage::{UsageRecorded, record_usage};
use sluice_core::flow::retain_run::delete_run;
use sluice_core::governor::access::{Grant, Holder, Pass};
use sluice_core::governor::ledger::change::{Reserve, Settle};
use sluice_core::governor::record::{AboutCall, CallRecord, Outcome};
use sluice_core::governor::usage::TokenUsage;
use sluice_core::lifecycle::{EngineEnd, RunStatus};
use sluice_core::operator::ComputeNode;
use sluice_core::ports::{Clock, GovernCalls, ManageOperator, Reserved, RunRef};
use sluice_core::run::Run;
use sluice_core::usage::LlmCall;
use sluice_testkit::{block_on, fixture};

#[test]
fn a_run_begins_with_its_ledger_and_its_processors_are_told_its_grant() {
    let url = "https://api.example/prod";
    for (own, of_node, cap_is) in [
        (None, None, None),
        (Some(7), None, Some(7_000)),
        (None, Some(5), Some(5_000)),
        (Some(7), Some(5), Some(5_000)),
        (Some(3), Some(5), Some(3_000)),
    ] {
        for governor_url in [None, Some(url.parse().expect("a URL"))] {
            let world = World::new();
            let node =
                ComputeNode { max_budget: of_node.map(MicroUsd), rev: 2, ..fixture::compute_node(world.clock.now()) };
            assert!(block_on(world.store.save_compute_node(&node)).expect("saved"));
            let policy = Policy { governor_url, ..fixture::policy() };
            let command = Command { execution_budget: Ok(own.map(MicroUsd)), ..command() };
            let fresh = Fresh { run_id: fixture::run_id(1), grant: Grant::new(9) };
            let now = world.clock.now();
            let created = create_run(&world.store, &world.engine, &policy, &world.caller, command, fresh, now);
            let run = block_on(created).expect("accepted").run;
            let ledger = world.store.governed(&RunRef { tenant_id: run.tenant_id.clone(), run_id: run.run_id });
            let ledger = ledger.expect("it was recorded with the run");
            assert_eq!((&ledger.grant, ledger.cap), (&Grant::new(9), cap_is.map(NanoUsd)));
            let admits = |holder: Holder, node: &str| {
                ledger.admits(&Pass { grant: Grant::new(9), holder, node_id: node.parse().expect("a node") })
            };
            let processor = |key: &str| Holder::Processor(key.parse().expect("a key"));
            assert!(admits(processor("readability"), "readability") && admits(Holder::Worker, "readability"));
            assert!(admits(Holder::Worker, "text") && !admits(Holder::Worker, "nowhere"));
            assert!(!admits(processor("readability"), "frequencies") && !admits(processor("readability"), "text"));
            let input = world.engine.execution(&run.execution_arn()).expect("started").input;
            let input: Value = serde_json::from_str(&input).expect("JSON");
            let told = format!("{url}/g/acme.{}.{}", run.run_id, Grant::new(9).reveal());
            let expected = if policy.governor_url.is_some() { json!(told) } else { Value::Null };
            assert_eq!(input.get("governor"), Some(&expected));
        }
    }
}

fn reference(run: &Run) -> RunRef {
    RunRef { tenant_id: run.tenant_id.clone(), run_id: run.run_id }
}

impl World {
    /// Sets so much aside for a call of the run.
    fn hold(&self, run: &Run, number: u128, amount: u64) -> CallId {
        let grant = self.store.governed(&reference(run)).expect("a ledger").grant;
        let holder = Holder::Processor("readability".parse().expect("a key"));
        let pass = Pass { grant, holder, node_id: "readability".parse().expect("a node") };
        let call_id = CallId::new(self.clock.now(), number);
        let reserve = Reserve { call_id, pass, amount: NanoUsd(amount), is_lowered: false };
        assert_eq!(block_on(self.store.reserve(&reference(run), &reserve)).expect("an answer"), Reserved::Done);
        call_id
    }

    fn put_record(&self, run: &Run, call_id: CallId, held: u64, cost: u64) -> CallRecord {
        let (node_id, model) = ("readability".parse().expect("a node"), "haiku".parse().expect("a key"));
        let record = CallRecord {
            call_id,
            about: Some(AboutCall { node_id, attempt: 1, model, latency_ms: 10 }),
            outcome: Outcome::Used,
            tokens: TokenUsage { input: 7, output: 3, ..TokenUsage::default() },
            held: NanoUsd(held),
            cost: NanoUsd(cost),
            settled_at: self.clock.now(),
        };
        block_on(self.store.record_call(&reference(run), &record)).expect("an answer")
    }

    fn settle_hold(&self, run: &Run, record: &CallRecord) {
        assert!(block_on(self.store.settle(&reference(run), &Settle::from(record))).expect("an answer").is_some());
    }

    fn report_call(&self, run: &Run, call_id: String, cost: u64) -> UsageRecorded {
        let call = LlmCall {
            call_id,
            node_id: None,
            provider: "bedrock".to_owned(),
            model: "haiku".to_owned(),
            input_tokens: 7,
            output_tokens: 3,
            cached_tokens: 0,
            cost_nano_usd: NanoUsd(cost),
            latency_ms: 10,
            reported_at: self.clock.now(),
        };
        let (store, engine, caller, now) = (&self.store, &self.engine, &self.caller, self.clock.now());
        block_on(record_usage(store, engine, caller, run.run_id, vec![call], now)).expect("recorded")
    }
}

/// However far it has come when the report arrives.
#[test]
fn a_governed_call_that_is_reported_as_well_counts_once() {
    for stage in 0..3 {
        let world = World::new();
        let run = world.running(1);
        let call_id = world.hold(&run, 1, 900);
        let record = (stage > 0).then(|| world.put_record(&run, call_id, 900, 400));
        if stage > 1 {
            world.settle_hold(&run, record.as_ref().expect("its record"));
        }
        let told = world.report_call(&run, call_id.to_string(), 777);
        assert_eq!((told.recorded, told.repeated), (0, 1), "{stage}");
        // A call that nobody governs, under an id of that form.
        let other = CallId::new(world.clock.now(), 2).to_string();
        assert_eq!(
            (world.report_call(&run, other.clone(), 5).recorded, world.report_call(&run, other, 5).recorded),
            (1, 0)
        );
        if stage < 2 {
            let record = record.unwrap_or_else(|| world.put_record(&run, call_id, 900, 400));
            world.settle_hold(&run, &record);
        }
        let usage = block_on(get_usage(&world.store, &world.caller, run.run_id, world.clock.now())).expect("reads");
        assert_eq!((usage.total.calls, usage.total.cost_nano_usd, usage.total.input_tokens), (2, NanoUsd(405), 14));
        assert_eq!((usage.by_model["haiku"].calls, usage.by_node["readability"].cost_nano_usd), (2, NanoUsd(400)));
    }
}

#[test]
fn a_runs_budget_is_shown_and_told_with_its_end() {
    let world = World::new();
    let cap = Command { execution_budget: Ok(Some(MicroUsd(2))), ..with_callback(command()) };
    let run = world.create(cap, 1).expect("accepted").run;
    assert!(world.engine.claim(&world.store, &run.execution_arn(), world.clock.now()));
    let settled = world.hold(&run, 1, 900);
    world.hold(&run, 2, 300);
    let record = world.put_record(&run, settled, 900, 400);
    world.settle_hold(&run, &record);
    world.report_call(&run, "theirs".to_owned(), 5);
    let expected = r#"{"capUsd":0.000002,"spentUsd":0.000000405,"heldUsd":0.0000003,"lostUsd":0,"calls":2,"clamped":0,"refused":0}"#;
    let shown = block_on(get_spending(&world.store, &world.caller, run.run_id, world.clock.now())).expect("reads");
    assert_eq!(serde_json::to_string(&shown).expect("JSON"), expected);
    let ended = world.end(&run, EngineEnd::Succeeded, None).expect("settled");
    world.deliver(&ended.owed[0]);
    let body = &world.receiver.received()[0].body;
    assert!(body.contains(&format!(r#""budget":{expected}"#)), "{body}");
    let told: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!((&told["usage"]["calls"], &told["usageByModel"]["haiku"]["calls"]), (&json!(2), &json!(2)));
}

#[test]
fn what_governed_calls_have_spent_counts_when_a_report_is_weighed() {
    for (reported, is_stopped) in [(1_600, false), (1_601, true)] {
        let world = World::new();
        let cap = Command { execution_budget: Ok(Some(MicroUsd(2))), ..command() };
        let run = world.create(cap, 1).expect("accepted").run;
        assert!(world.engine.claim(&world.store, &run.execution_arn(), world.clock.now()));
        let call_id = world.hold(&run, 1, 900);
        let record = world.put_record(&run, call_id, 900, 400);
        world.settle_hold(&run, &record);
        let told = world.report_call(&run, "theirs".to_owned(), reported);
        assert_eq!((told.stopped, told.run.status() == RunStatus::Canceling), (is_stopped, is_stopped), "{reported}");
        assert_eq!(world.store.governed(&reference(&run)).expect("a ledger").is_open(), !is_stopped);
    }
}

/// The other way about: what was only reported is not there any more for a call.
#[test]
fn a_reserve_sees_what_was_reported() {
    let world = World::new();
    let cap = Command { execution_budget: Ok(Some(MicroUsd(2))), ..command() };
    let run = world.create(cap, 1).expect("accepted").run;
    assert!(world.engine.claim(&world.store, &run.execution_arn(), world.clock.now()));
    world.report_call(&run, "theirs".to_owned(), 1_600);
    let ledger = world.store.governed(&reference(&run)).expect("a ledger");
    assert_eq!((ledger.left(), ledger.spent), (NanoUsd(400), NanoUsd(1_600)));
    let pass = Pass {
        grant: ledger.grant,
        holder: Holder::Processor("readability".parse().expect("a key")),
        node_id: "readability".parse().expect("a node"),
    };
    let reserve = |number, amount| {
        let call_id = CallId::new(world.clock.now(), number);
        let reserve = Reserve { call_id, pass: pass.clone(), amount: NanoUsd(amount), is_lowered: false };
        block_on(world.store.reserve(&reference(&run), &reserve)).expect("an answer")
    };
    assert!(matches!(reserve(1, 401), Reserved::Denied(Some(_))));
    assert_eq!(reserve(2, 400), Reserved::Done);
}

/// What is held keeps its run: a record that came after the purge would stay for ever.
#[test]
fn a_run_is_kept_while_a_call_of_it_is_under_way() {
    let world = World::new();
    let run = world.running(1);
    let call_id = world.hold(&run, 1, 900);
    let ended = world.end(&run, EngineEnd::Succeeded, None).expect("settled");
    for owed in &ended.owed {
        world.deliver(owed);
    }
    let (store, caller) = (&world.store, &world.caller);
    let delete = || block_on(delete_run(store, caller, run.run_id, world.clock.now()));
    let refused = delete();
    assert!(matches!(refused, Err(Refusal::Conflict { .. })), "{refused:?}");
    let record = world.put_record(&run, call_id, 900, 400);
    world.settle_hold(&run, &record);
    delete().expect("deleted");
    assert!(!store.knows(&caller.tenant, run.run_id), "nothing of it is left");
    // A call that comes later finds nothing to be held on.
    let grant = Grant::new(1);
    let holder = Holder::Processor("readability".parse().expect("a key"));
    let pass = Pass { grant, holder, node_id: "readability".parse().expect("a node") };
    let late = Reserve { call_id, pass, amount: NanoUsd(1), is_lowered: false };
    assert_eq!(block_on(store.reserve(&reference(&run), &late)).expect("an answer"), Reserved::Denied(None));
}

#[test]
fn the_sweep_settles_what_nobody_settled() {
    let world = World::new();
    let run = world.running(1);
    let (known, _unknown) = (world.hold(&run, 1, 900), world.hold(&run, 2, 300));
    world.put_record(&run, known, 900, 400);
    let lease = LEASE.as_secs();
    world.clock.advance(lease - 1);
    let early = world.reconcile();
    assert_eq!((early.holds_lost, early.holds_settled), (0, 0));
    world.clock.advance(1);
    let swept = world.reconcile();
    assert_eq!((swept.holds_lost, swept.holds_settled), (1, 1));
    let ledger = world.store.governed(&reference(&run)).expect("a ledger");
    assert_eq!((ledger.spent, ledger.lost, ledger.held()), (NanoUsd(700), NanoUsd(300), NanoUsd(0)));
    let after = world.reconcile();
    assert_eq!((after.holds_lost, after.holds_settled), (0, 0));
}
