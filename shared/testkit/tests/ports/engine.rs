//! The engine in memory. It runs nothing by itself: this does what its state machines say, a step at every pause.

use jiff::Timestamp;
use sluice_core::arn::{ExecutionArn, StateMachineArn};
use sluice_core::id::RunId;
use sluice_core::lifecycle::EngineEnd;
use sluice_core::run::{EndDetails, RunError};
use sluice_testkit::contract::engine::{Bench, Difference, FAILURE, Machine};
use sluice_testkit::engine::{Execution, MemoryEngine};
use sluice_testkit::fixture;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};

struct InMemory {
    engine: MemoryEngine,
    runs: AtomicU32,
}

fn arn(machine: Machine) -> StateMachineArn {
    format!("arn:aws:states:eu-west-1:123456789012:stateMachine:{machine:?}").parse().expect("an ARN")
}

fn noon() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().expect("a time")
}

fn token_of(run_id: RunId) -> String {
    format!("token of {run_id}")
}

impl InMemory {
    fn step(&self, arn_of_it: &ExecutionArn, execution: &Execution) {
        let details = |output: Option<&str>, error: Option<RunError>| EndDetails {
            stopped_at: Some(noon()),
            output: output.map(str::to_owned),
            error,
        };
        let is = |machine: Machine| execution.state_machine_arn == arn(machine);
        let token = token_of(execution.run_id);
        let end = if is(Machine::Succeeds) {
            Some((EngineEnd::Succeeded, details(Some(&execution.input), None)))
        } else if is(Machine::Fails) {
            Some((EngineEnd::Failed, details(None, Some(RunError::from_engine(FAILURE.0, FAILURE.1)))))
        } else if is(Machine::TimesOut) {
            Some((EngineEnd::TimedOut, details(None, None)))
        } else if is(Machine::Asks) {
            match self.engine.take_outcome(&token) {
                Some(Ok(output)) => Some((EngineEnd::Succeeded, details(Some(&output), None))),
                Some(Err(error)) => Some((EngineEnd::Failed, details(None, Some(error)))),
                None => {
                    self.engine.wait_for(arn_of_it, &token);
                    None
                }
            }
        } else {
            None
        };
        if let Some((end, details)) = end {
            self.engine.end_with(arn_of_it, end, details);
        }
    }
}

impl Bench for InMemory {
    type Engine = MemoryEngine;

    fn engine(&self) -> &MemoryEngine {
        &self.engine
    }

    fn machine(&self, machine: Machine) -> StateMachineArn {
        arn(machine)
    }

    fn fresh_run(&self) -> RunId {
        fixture::run_id(u128::from(self.runs.fetch_add(1, Ordering::Relaxed)))
    }

    async fn token(&self, run_id: RunId) -> Option<String> {
        let token = token_of(run_id);
        self.engine.is_waited_for(&token).then_some(token)
    }

    async fn pause(&self) {
        sluice_testkit::turn().await;
        for (arn, execution) in self.engine.executions() {
            if execution.end.is_none() {
                self.step(&arn, &execution);
            }
        }
    }

    fn differs(&self, _difference: Difference) -> bool {
        false
    }
}

fn in_memory(rule: impl for<'a> FnOnce(&'a InMemory) -> Pin<Box<dyn Future<Output = ()> + 'a>>) {
    let bench = InMemory { engine: MemoryEngine::default(), runs: AtomicU32::new(1) };
    bench.engine.delete_machine(&arn(Machine::Gone));
    // So that there is more than one page of anything.
    bench.engine.list_in_pages_of(3);
    sluice_testkit::block_on(rule(&bench));
}

sluice_testkit::engine_rules!(in_memory);
