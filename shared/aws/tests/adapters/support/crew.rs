//! A worker of the runner's second generation, played: what it asks, and what it makes of what it is told.

use serde_json::Value;
use sluice_core::flow::advance_run::{Asked, Ended};
use sluice_core::report::NodeOutcome;
use sluice_core::run::Run;
use sluice_testkit::engine::MemoryEngine;

/// A worker between two questions.
#[derive(Clone, Debug)]
pub struct Worker {
    pub number: usize,
    pub turn: u32,
    pub ended: Option<Ended>,
}

impl Worker {
    /// One that has not asked yet.
    pub fn new(number: usize) -> Self {
        Self { number, turn: 1, ended: None }
    }

    /// All that the execution of a run has, as its input counts them.
    pub fn all(engine: &MemoryEngine, run: &Run) -> Vec<Self> {
        let input = engine.execution(&run.execution_arn()).expect("it was started").input;
        let input: Value = serde_json::from_str(&input).expect("JSON");
        (0..input["workers"].as_array().expect("its workers").len()).map(Self::new).collect()
    }

    /// What it waits with.
    pub fn token(&self) -> String {
        // As long as those of Step Functions are.
        format!("{:0>700}", format!("{} {}", self.number, self.turn))
    }

    pub fn asks(&self, run: &Run) -> Asked {
        Asked {
            tenant_id: run.tenant_id.clone(),
            run_id: run.run_id,
            worker: self.number,
            turn: self.turn,
            token: self.token(),
            ended: self.ended.clone(),
        }
    }

    /// It is at the first attempt at a node, and ends it with this result.
    pub fn ends(&mut self, node: &str, result: &str) {
        self.turn += 1;
        self.ended = Some(Ended {
            node_id: node.parse().expect("a node"),
            item: None,
            iteration: 1,
            attempt: 1,
            outcome: NodeOutcome::Result(result.to_owned()),
            is_final: false,
            usage: Vec::new(),
        });
    }

    /// It does what it was told, which comes to this result. The node; none when it was told to leave.
    pub fn does(&mut self, told: &str, result: &str) -> Option<String> {
        let told: Value = serde_json::from_str(told).expect("JSON");
        let unit = &told["unit"];
        if told["do"] == "leave" {
            return None;
        }
        assert_eq!((unit["iteration"].as_u64(), unit["attempt"].as_u64()), (Some(1), Some(1)), "{told}");
        let node = unit["node"].as_str().expect("a node").to_owned();
        self.ends(&node, result);
        Some(node)
    }
}
