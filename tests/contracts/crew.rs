//! Runs of the runner's second generation over the ports in memory: made of a version, and carried on by the flows themselves, as
//! `advance-run` does.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sluice_core::definition::VersionDocument;
use sluice_core::flow::Answer;
use sluice_core::flow::advance_run::{advance_run, conclude};
use sluice_core::flow::control_run::answer_node;
use sluice_core::flow::create_run::{Command, create_run};
use sluice_core::flow::manage_definitions::add_version;
use sluice_core::id::DefinitionRef;
use sluice_core::operator::{ComputeNode, Processor, ProcessorTarget};
use sluice_core::ports::{Clock, LoadRun, ManageOperator, StoreErrorClass};
use sluice_core::run::Run;
use sluice_core::snapshot::Snapshot;
use sluice_edge::runner::{ConclusionView, Question};
use sluice_testkit::clock::FixedClock;
use sluice_testkit::engine::MemoryEngine;
use sluice_testkit::fault::Fault;
use sluice_testkit::store::MemoryStore;
use sluice_testkit::{block_on, fixture};

const TENANT: &str = "acme";
/// A processor that is a state machine; of those that are functions, `readability` is one.
pub const NESTED: &str = "nested";

/// A definition whose runs the second generation drives.
pub struct Crew {
    pub store: MemoryStore,
    pub engine: MemoryEngine,
    clock: FixedClock,
    /// Task tokens that have not been answered.
    tokens: BTreeSet<String>,
    /// Nodes that somebody outside has answered.
    pub answered: u32,
}

impl Crew {
    pub fn new() -> Self {
        let (store, clock) = (MemoryStore::default(), FixedClock::default());
        let now = clock.now();
        let node =
            ComputeNode { state_machine_arn: fixture::second_runner_arn(), rev: 2, ..fixture::compute_node(now) };
        let arn = "arn:aws:states:eu-west-1:123456789012:stateMachine:nested".parse().expect("an ARN");
        let mut nested: Processor = fixture::processors(now).pop().expect("a processor");
        nested.key = NESTED.parse().expect("a key");
        nested.target = ProcessorTarget::StateMachine { state_machine_arn: arn };
        block_on(async {
            fixture::seed(&store, TENANT, now).await;
            assert!(store.save_compute_node(&node).await.expect("saved"));
            assert!(store.save_processor(&nested).await.expect("saved"));
        });
        Self { store, engine: MemoryEngine::default(), clock, tokens: BTreeSet::new(), answered: 0 }
    }

    /// A new version of the definition, active.
    pub fn define(&self, document: &Value) -> Answer<()> {
        let document: VersionDocument = serde_json::from_value(document.clone()).expect("the document's shape");
        let (owner, definition) = (fixture::caller(TENANT), DefinitionRef::Id(fixture::definition_id(7)));
        let added = add_version(&self.store, &owner, &definition, document, true, self.clock.now());
        block_on(Box::pin(added)).map(|_| ())
    }

    /// A run of the active version that its execution has claimed, with its plan.
    pub fn begin(&self, number: u128) -> (Run, Snapshot) {
        let command = Command::new(fixture::active(DefinitionRef::Id(fixture::definition_id(7))));
        let (policy, caller, now) = (fixture::policy(), fixture::caller(TENANT), self.clock.now());
        let fresh = fixture::fresh(fixture::run_id(number));
        let created = create_run(&self.store, &self.engine, &policy, &caller, command, fresh, now);
        let run = block_on(Box::pin(created)).expect("accepted").run;
        assert!(self.engine.claim(&self.store, &run.execution_arn(), now), "claimed");
        let snapshot = block_on(self.store.load_snapshot(&run.tenant_id, run.run_id)).expect("loaded");
        (run, snapshot.expect("a snapshot"))
    }

    /// What its execution was started with.
    pub fn input(&self, run: &Run) -> Value {
        let input = self.engine.execution(&run.execution_arn()).expect("it was started").input;
        serde_json::from_str(&input).expect("JSON")
    }

    /// Answers what the state machine asks, as the player hears it. From the call of this number on, all calls of the function
    /// fail.
    pub fn answer(&mut self, run: &Run, payload: &Value, failing: Option<usize>) -> Value {
        let now = self.clock.now();
        if let Some(mut left) = failing {
            for faults in [&self.store.faults, &self.engine.faults] {
                faults.set(move |_| {
                    let fails = left == 0;
                    left = left.saturating_sub(1);
                    fails.then_some(Fault::Before(StoreErrorClass::Unavailable))
                });
            }
        }
        let question = Question::read(&payload.to_string(), now).expect("the runner asks what is read");
        let answer = match question {
            Question::Work(asked) => {
                let token = asked.token.clone();
                self.engine.wait_for(&run.execution_arn(), &token);
                self.tokens.insert(token.clone());
                let advanced = block_on(Box::pin(advance_run(&self.store, &self.engine, asked, now)));
                self.mend();
                self.answer_from_outside(run);
                let told = self.told();
                let is_told = told.iter().any(|told| told["token"] == token);
                match advanced {
                    // A task that has been answered does not fail any more.
                    Err(_) if !is_told => json!({"told": told, "error": "Lambda.Unknown"}),
                    Ok(()) | Err(_) => json!({"told": told}),
                }
            }
            Question::Outcome { tenant_id, run_id } => match block_on(conclude(&self.store, &tenant_id, run_id)) {
                Ok(conclusion) => json!({"payload": ConclusionView::of(conclusion).expect("JSON")}),
                Err(_) => json!({"error": "Lambda.Unknown"}),
            },
        };
        self.mend();
        answer
    }

    fn mend(&self) {
        self.store.faults.clear();
        self.engine.faults.clear();
    }

    /// Somebody outside answers at once.
    fn answer_from_outside(&mut self, run: &Run) {
        let caller = fixture::caller(TENANT);
        loop {
            let current = self.store.run(&run.tenant_id, run.run_id).expect("a run");
            let Some(node) = current.state.waiting_nodes().iter().next().cloned() else { return };
            let (node, value) = (node.parse().expect("a node"), r#"{"done":true,"items":[1]}"#.to_owned());
            let now = self.clock.now();
            let answered = answer_node(&self.store, &self.engine, &caller, run.run_id, &node, value, now);
            block_on(Box::pin(answered)).expect("it waits");
            self.answered += 1;
        }
    }

    fn told(&mut self) -> Vec<Value> {
        let outcomes = self.tokens.iter().filter_map(|token| Some((token.clone(), self.engine.take_outcome(token)?)));
        let outcomes: Vec<_> = outcomes.collect();
        let told = outcomes.into_iter().filter_map(|(token, outcome)| {
            self.tokens.remove(&token);
            // A try that has failed is told that it is asked again: its task is over.
            let output: Value = serde_json::from_str(&outcome.ok()?).expect("JSON");
            Some(json!({"token": token, "output": output}))
        });
        told.collect()
    }
}
