//! How many state transitions a run takes, by the runner's own states: every state that is entered counts as one.

use serde_json::Value;

use crate::json;

const RUNNER: &str = "infra/state-machines/runner.asl.json";

/// The kinds of node that the runner runs.
pub const KINDS: [&str; 5] = ["lambda", "stateMachine", "ecs", "external", "value"];

/// The state machine.
pub struct Runner(Value);

impl Runner {
    /// That of the template.
    pub fn new() -> Self {
        Self(json(RUNNER))
    }

    /// Around the stages: the states of a run without any.
    pub fn of_a_run(&self) -> u64 {
        self.stages(0)
    }

    /// What one stage more adds.
    pub fn of_a_stage(&self) -> u64 {
        self.stages(1) - self.stages(0)
    }

    /// The states that a node of this kind enters, when all goes well and its result tells of no usage.
    ///
    /// # Panics
    /// When the machine runs no such kind.
    pub fn way(&self, kind: &str) -> Vec<&str> {
        self.walk(kind, None, None)
    }

    /// What another attempt at a node of this kind adds.
    pub fn of_a_retry(&self, kind: &str) -> u64 {
        let fails = self.task_of(kind);
        count(&self.walk(kind, Some(fails), None)) - count(&self.way(kind))
    }

    /// What usage in the result of a node of this kind adds.
    pub fn of_usage(&self, kind: &str) -> u64 {
        count(&self.walk(kind, None, Some("ReportUsage"))) - count(&self.way(kind))
    }

    /// All that a run takes.
    pub fn of_nodes(&self, kinds: &[String], stages: u64) -> u64 {
        let nodes: u64 = kinds.iter().map(|kind| count(&self.way(kind))).sum();
        self.of_a_run() + stages * self.of_a_stage() + nodes
    }

    /// Of these, the ones that do nothing but decide or pass on: a machine made for one definition would have none of them.
    pub fn deciding(&self, kinds: &[String], stages: u64) -> u64 {
        let decides = |state: &Value| matches!(state["Type"].as_str(), Some("Choice" | "Pass" | "Map"));
        let around: usize = self.around(stages).into_iter().filter(|name| decides(&self.0["States"][name])).count();
        let nodes = kinds.iter().flat_map(|kind| self.way(kind)).filter(|name| decides(&self.nodes()[name])).count();
        (around + nodes) as u64
    }

    fn stages(&self, stages: u64) -> u64 {
        count(&self.around(stages))
    }

    fn nodes(&self) -> &Value {
        &self.0["States"]["RunStage"]["ItemProcessor"]["States"]
    }

    /// The states of the machine itself, over so many stages.
    fn around(&self, stages: u64) -> Vec<&str> {
        let (mut way, mut left) = (Vec::new(), stages);
        let mut next = self.0["StartAt"].as_str();
        while let Some(name) = next {
            way.push(name);
            let state = &self.0["States"][name];
            next = match (state["Type"].as_str(), left) {
                // Another stage, or the end of them all.
                (Some("Choice"), 1..) => {
                    left -= 1;
                    let mut choices =
                        state["Choices"].as_array().into_iter().flatten().filter_map(|one| one["Next"].as_str());
                    choices.find(|name| self.0["States"][*name]["Type"] == "Task")
                }
                (Some("Choice"), 0) => state["Default"].as_str(),
                _ => state["Next"].as_str(),
            };
        }
        way
    }

    /// The state that does a node's work, of which another attempt may be made.
    fn task_of(&self, kind: &str) -> &str {
        let mut tasks = self.way(kind).into_iter().filter(|name| {
            let mut catches = self.nodes()[*name]["Catch"].as_array().into_iter().flatten();
            catches.any(|one| one["Next"] == "TryAgain")
        });
        tasks.next().unwrap_or_else(|| panic!("{kind} is tried once"))
    }

    /// The states of a node's way. Of `fails` the first attempt fails; `takes` is the choice that is taken where it can be.
    fn walk(&self, kind: &str, fails: Option<&str>, takes: Option<&str>) -> Vec<&str> {
        let (mut way, mut fails) = (Vec::new(), fails);
        let mut next = self.0["States"]["RunStage"]["ItemProcessor"]["StartAt"].as_str();
        while let Some(name) = next {
            way.push(name);
            assert!(way.len() < 100, "{kind} goes round and round: {way:?}");
            let state = &self.nodes()[name];
            next = if fails == Some(name) {
                fails = None;
                Some("TryAgain")
            } else if state["Type"] == "Choice" {
                self.choice(state, name, kind, takes)
            } else {
                state["Next"].as_str()
            };
        }
        way
    }

    fn choice<'a>(&self, state: &'a Value, name: &str, kind: &str, takes: Option<&str>) -> Option<&'a str> {
        let choices = || state["Choices"].as_array().into_iter().flatten();
        let asked = format!("run.kind = '{kind}'");
        let of_kind = choices().find(|one| one["Condition"].as_str().is_some_and(|text| text.contains(&asked)));
        let wanted = choices().find(|one| one["Next"].as_str() == takes && takes.is_some());
        match (name, of_kind.or(wanted)) {
            (_, Some(one)) => one["Next"].as_str(),
            ("ChooseKind", None) => panic!("nobody runs {kind}"),
            // Another attempt is made.
            ("TryAgain", None) => choices().next().and_then(|one| one["Next"].as_str()),
            (_, None) => state["Default"].as_str(),
        }
    }
}

impl Default for Runner {
    fn default() -> Self {
        Self::new()
    }
}

fn count(way: &[&str]) -> u64 {
    way.len() as u64
}
