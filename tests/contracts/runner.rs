//! The state machine as a document.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sluice_tests::json;

pub const RUNNER: &str = "infra/state-machines/runner.asl.json";
pub const SECOND_RUNNER: &str = "infra/state-machines/runner-2.asl.json";

/// A state machine, or the inner one of a Map.
pub struct Machine {
    pub start: String,
    pub states: BTreeMap<String, Value>,
}

pub fn machine() -> Machine {
    Machine::of(&json(RUNNER))
}

/// The second generation.
pub fn second_machine() -> Machine {
    Machine::of(&json(SECOND_RUNNER))
}

impl Machine {
    pub fn of(document: &Value) -> Self {
        let states = document["States"].as_object().expect("a machine has states");
        Self {
            start: document["StartAt"].as_str().expect("a machine has a start").to_owned(),
            states: states.iter().map(|(name, state)| (name.clone(), state.clone())).collect(),
        }
    }

    pub fn state(&self, name: &str) -> &Value {
        self.states.get(name).unwrap_or_else(|| panic!("there is no state {name}"))
    }

    /// The machine that runs one node, inside the Map over a stage.
    pub fn of_nodes(&self) -> Self {
        Self::of(&self.state("RunStage")["ItemProcessor"])
    }

    /// The machine of one worker of the second generation.
    pub fn of_workers(&self) -> Self {
        Self::of(&self.state("Work")["ItemProcessor"])
    }

    fn targets(state: &Value) -> impl Iterator<Item = &str> {
        let handlers = ["Choices", "Catch"].into_iter().flat_map(|name| state[name].as_array().into_iter().flatten());
        let next = handlers.map(|handler| &handler["Next"]);
        next.chain([&state["Next"], &state["Default"]]).filter_map(Value::as_str)
    }
}

/// The kind of node a choice is for: `$states.input.run.kind = 'lambda'`.
pub fn asks_for_kind(choice: &Value) -> Option<&str> {
    let condition = choice["Condition"].as_str()?;
    condition.split("run.kind = '").nth(1)?.split('\'').next()
}

fn all() -> [Machine; 4] {
    let (machine, second) = (machine(), second_machine());
    let (nodes, workers) = (machine.of_nodes(), second.of_workers());
    [machine, nodes, second, workers]
}

/// Attribute names in an update expression: what stands before `=`, and after `ADD` and `REMOVE`.
fn written_attributes(arguments: &Value) -> BTreeSet<String> {
    let names = &arguments["ExpressionAttributeNames"];
    let expression = arguments["UpdateExpression"].as_str().expect("an update expression");
    let mut found = BTreeSet::new();
    let (mut clause, mut before) = ("", "");
    for part in expression.split(", ").flat_map(|part| part.split_inclusive(' ')) {
        let word = part.trim();
        match word {
            "SET" | "ADD" | "REMOVE" => clause = word,
            _ if word.is_empty() => continue,
            // What stands behind `=` is read.
            _ if before == "=" => {}
            _ if word.starts_with(':') || word.starts_with("if_not_exists") || word == "=" || word.ends_with(')') => {}
            _ => {
                let name = names[word].as_str().unwrap_or(word);
                assert!(!clause.is_empty(), "{expression}");
                found.insert(name.to_owned());
            }
        }
        before = word;
    }
    found
}

#[test]
fn every_state_is_reached_and_every_transition_leads_somewhere() {
    for machine in all() {
        let mut reached = BTreeSet::from([machine.start.as_str()]);
        let mut open = vec![machine.start.as_str()];
        while let Some(name) = open.pop() {
            for target in Machine::targets(machine.state(name)) {
                if reached.insert(target) {
                    open.push(target);
                }
            }
        }
        let all: BTreeSet<&str> = machine.states.keys().map(String::as_str).collect();
        assert_eq!(reached, all);
    }
}

#[test]
fn the_first_state_claims_the_run_or_ends_the_execution() {
    for machine in [machine(), second_machine()] {
        assert_eq!(machine.start, "Claim");
        let claim = machine.state("Claim");
        assert_eq!(claim["Resource"], "arn:${Partition}:states:::dynamodb:updateItem");
        assert_eq!(
            claim["Arguments"]["ConditionExpression"],
            "#status = :pending OR (#status = :running AND executionArn = :execution)"
        );
        let refused = claim["Catch"].as_array().expect("catchers");
        assert_eq!(refused.len(), 1, "anything but a refusal fails the execution");
        assert_eq!(refused[0]["Next"], "ClaimRefused");
        let end = machine.state("ClaimRefused");
        assert_eq!((&end["Type"], &end["Error"]), (&"Fail".into(), &"Sluice.ClaimRefused".into()));
    }
}

#[test]
fn every_kind_of_node_has_one_way_through() {
    let nodes = machine().of_nodes();
    let choices = nodes.state("ChooseKind")["Choices"].as_array().expect("choices");
    let kinds: Vec<&str> = choices.iter().filter_map(asks_for_kind).collect();
    assert_eq!(kinds, ["lambda", "stateMachine", "ecs", "external", "value"]);
    assert_eq!(choices.len(), kinds.len());
    // Of the second generation: what needs nobody, or somebody outside, takes no worker.
    let workers = second_machine().of_workers();
    let choices = workers.state("Act")["Choices"].as_array().expect("choices");
    assert_eq!(choices.iter().filter_map(asks_for_kind).collect::<Vec<_>>(), ["lambda", "stateMachine", "ecs"]);
}

#[test]
fn whatever_a_worker_does_it_asks_again_with_the_unit_it_was_given() {
    let workers = second_machine().of_workers();
    for name in ["InvokeFunction", "RunStateMachine", "RunContainer"] {
        let state = workers.state(name);
        assert_eq!(state["Next"], "Ask");
        assert_eq!(state["Output"]["ended"]["unit"], "{% $states.input.act.unit %}", "{name}");
        assert_eq!(state["Output"]["turn"], "{% $states.input.turn %}", "{name}");
        let catchers = state["Catch"].as_array().expect("catchers");
        assert!(catchers.last().is_some_and(|last| last["ErrorEquals"][0] == "States.ALL"), "{name}");
        for catcher in catchers {
            assert_eq!(catcher["Next"], "Ask", "{name}");
            let output = catcher["Output"].as_str().expect("an expression");
            assert!(output.contains("'unit': $states.input.act.unit") && output.contains("'error':"), "{name}");
        }
    }
    let ask = workers.state("Ask");
    assert_eq!(ask["Output"]["turn"], "{% $states.input.turn + 1 %}");
    assert_eq!(ask["Resource"], "arn:${Partition}:states:::lambda:invoke.waitForTaskToken");
}

#[test]
fn a_refused_condition_is_never_tried_again() {
    // DynamoDB's optimized integration and the SDK integration spell the error differently.
    for machine in all() {
        for (name, state) in &machine.states {
            let Some(resource) = state["Resource"].as_str().filter(|resource| resource.contains("dynamodb:updateItem"))
            else {
                continue;
            };
            let named = |error: &str| {
                let retriers = state["Retry"].as_array().map(Vec::as_slice).unwrap_or_default();
                let first = retriers.iter().find(|retrier| {
                    let errors = retrier["ErrorEquals"].as_array().into_iter().flatten();
                    errors.into_iter().any(|named| named == error || named == "States.ALL")
                });
                first.map_or(0, |retrier| retrier["MaxAttempts"].as_u64().unwrap_or(3))
            };
            for error in ["DynamoDB.ConditionalCheckFailedException", "DynamoDb.ConditionalCheckFailedException"] {
                assert_eq!(named(error), 0, "{name} ({resource}) repeats {error}");
            }
        }
    }
}

#[test]
fn the_runner_writes_only_what_others_read() {
    let mut head = BTreeSet::new();
    let mut step = BTreeSet::new();
    for machine in all() {
        for state in machine.states.values().filter(|state| state["Arguments"]["TableName"] == "${TableName}") {
            let arguments = &state["Arguments"];
            let written = written_attributes(arguments);
            if arguments["Key"]["sk"]["S"] == "HEAD" {
                // Everyone's optimistic lock.
                assert!(written.contains("rev"), "{arguments}");
                assert_eq!(written.contains("status"), written.contains("statusKey"), "{arguments}");
                head.extend(written);
            } else {
                step.extend(written);
            }
        }
    }
    let sorted = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
    assert_eq!(
        head,
        sorted(&[
            "executionArn",
            "pauseToken",
            "pausedAt",
            "rev",
            "stageIndex",
            "startedAt",
            "status",
            "statusKey",
            "updatedAt",
            "waitingNodes"
        ])
    );
    assert_eq!(
        step,
        sorted(&[
            "answer",
            "answerBytes",
            "answerErrorCode",
            "answerErrorMessage",
            "answeredToken",
            "attempt",
            "endedAt",
            "errorCode",
            "errorMessage",
            "kind",
            "nodeId",
            "nodeType",
            "result",
            "resultBytes",
            "runId",
            "stage",
            "startedAt",
            "status",
            "taskToken",
            "tenantId",
            "updatedAt",
            "v",
            "waitingSince"
        ])
    );
}

#[test]
fn every_expression_is_closed_and_every_substitution_is_known() {
    for (runner, known) in [
        (RUNNER, ["Partition", "RunCallbackArn", "TableName"]),
        (SECOND_RUNNER, ["AdvanceRunArn", "Partition", "TableName"]),
    ] {
        let text = sluice_tests::text(runner);
        let substitutions: BTreeSet<&str> =
            text.split("${").skip(1).filter_map(|rest| rest.split('}').next()).collect();
        assert_eq!(substitutions, BTreeSet::from(known));
        assert_eq!(text.matches("{%").count(), text.matches("%}").count());
        assert_eq!(json(runner)["QueryLanguage"], "JSONata");
    }
}
