//! What a run is recorded and started with, so that its calls of language models can be governed.

use crate::world::{World, command};
use serde_json::{Value, json};
use sluice_core::budget::{MicroUsd, NanoUsd};
use sluice_core::flow::create_run::{Command, Fresh, Policy, create_run};
use sluice_core::governor::access::{Grant, Holder, Pass};
use sluice_core::operator::ComputeNode;
use sluice_core::ports::{Clock, ManageOperator, RunRef};
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
