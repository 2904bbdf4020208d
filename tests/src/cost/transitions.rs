//! How many state transitions a run takes, by the runners' own states: every state that is entered counts as one.

use serde_json::Value;

use crate::json;

const RUNNER: &str = "infra/state-machines/runner.asl.json";
const SECOND_RUNNER: &str = "infra/state-machines/runner-2.asl.json";

/// The kinds of node that the runner runs.
pub const KINDS: [&str; 5] = ["lambda", "stateMachine", "ecs", "external", "value"];

/// The state machine of the first generation.
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

/// The state machine of the second generation.
pub struct Workers(Value);

impl Workers {
    /// That of the template.
    pub fn new() -> Self {
        Self(json(SECOND_RUNNER))
    }

    /// Around the workers.
    pub fn of_a_run(&self) -> u64 {
        count(&self.around())
    }

    /// One worker that does nothing: it comes, and is told to leave.
    pub fn of_a_worker(&self) -> u64 {
        count(&self.stay())
    }

    /// The states that a worker enters for a node of this kind, until it has chosen what to do next. None for a node that needs
    /// nobody, or somebody outside.
    ///
    /// # Panics
    /// When a worker never comes back to that choice.
    pub fn way(&self, kind: &str) -> Vec<&str> {
        let choice = self.choice();
        let asked = format!("run.kind = '{kind}'");
        let mut next = self.choices().find(|one| one["Condition"].as_str().is_some_and(|text| text.contains(&asked)));
        let mut way = Vec::new();
        while let Some(name) = next.and_then(|state| state["Next"].as_str()) {
            way.push(name);
            if name == choice {
                return way;
            }
            assert!(way.len() < 100, "{kind} goes round and round: {way:?}");
            next = Some(&self.states()[name]);
        }
        assert!(way.is_empty(), "{kind} ends at {way:?}");
        way
    }

    /// What another attempt at a node of this kind adds.
    pub fn of_a_retry(&self, kind: &str) -> u64 {
        count(&self.way(kind)) + count(&self.back_off())
    }

    /// All that a run of so many workers takes.
    pub fn of_nodes(&self, kinds: &[String], workers: u64) -> u64 {
        let nodes: u64 = kinds.iter().map(|kind| count(&self.way(kind))).sum();
        self.of_a_run() + workers * self.of_a_worker() + nodes
    }

    /// Of these, the ones that do nothing but decide or pass on.
    pub fn deciding(&self, kinds: &[String], workers: u64) -> u64 {
        let decides = |state: &Value| matches!(state["Type"].as_str(), Some("Choice" | "Pass" | "Map"));
        let around = self.around().into_iter().filter(|name| decides(&self.0["States"][*name])).count() as u64;
        let of = |way: Vec<&str>| way.into_iter().filter(|name| decides(&self.states()[*name])).count() as u64;
        let nodes: u64 = kinds.iter().map(|kind| of(self.way(kind))).sum();
        around + workers * of(self.stay()) + nodes
    }

    fn states(&self) -> &Value {
        &self.0["States"]["Work"]["ItemProcessor"]["States"]
    }

    /// The states of the machine itself, when all goes well.
    fn around(&self) -> Vec<&str> {
        let mut way = Vec::new();
        let mut next = self.0["StartAt"].as_str();
        while let Some(name) = next {
            way.push(name);
            let state = &self.0["States"][name];
            next = state["Next"].as_str().or_else(|| state["Default"].as_str());
        }
        way
    }

    /// The one choice by what a worker was told.
    fn choice(&self) -> &str {
        let mut choices = self.states().as_object().into_iter().flatten().filter(|(_, one)| one["Type"] == "Choice");
        match (choices.next(), choices.next()) {
            (Some((name, _)), None) => name,
            other => panic!("one choice is known here: {other:?}"),
        }
    }

    fn choices(&self) -> impl Iterator<Item = &Value> {
        self.states()[self.choice()]["Choices"].as_array().into_iter().flatten()
    }

    /// Where the choice leads for what is told so.
    fn told(&self, word: &str) -> &str {
        let mut told = self.choices().filter(|one| one["Condition"].as_str().is_some_and(|text| text.contains(word)));
        told.next().and_then(|one| one["Next"].as_str()).unwrap_or_else(|| panic!("nobody is told {word}"))
    }

    /// The states of a worker for which there is nothing to do.
    fn stay(&self) -> Vec<&str> {
        let (mut way, choice) = (Vec::new(), self.choice());
        let mut next = self.0["States"]["Work"]["ItemProcessor"]["StartAt"].as_str();
        while let Some(name) = next {
            way.push(name);
            next = if name == choice { Some(self.told("'leave'")) } else { self.states()[name]["Next"].as_str() };
        }
        way
    }

    /// What comes before a repeated attempt, until it is chosen.
    fn back_off(&self) -> Vec<&str> {
        let wait = self.told("seconds > 0");
        let back = self.states()[wait]["Next"].as_str();
        assert_eq!(back, Some(self.choice()), "{wait} leads back to the choice");
        [wait].into_iter().chain(back).collect()
    }
}

impl Default for Workers {
    fn default() -> Self {
        Self::new()
    }
}

fn count(way: &[&str]) -> u64 {
    way.len() as u64
}
