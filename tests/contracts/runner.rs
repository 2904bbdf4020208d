//! The state machine as a document.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sluice_tests::json;

pub const RUNNER: &str = "infra/state-machines/runner.asl.json";

/// A state machine, or the inner one of a Map.
pub struct Machine {
    pub start: String,
    pub states: BTreeMap<String, Value>,
}

pub fn machine() -> Machine {
    Machine::of(&json(RUNNER))
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

fn both() -> [Machine; 2] {
    let machine = machine();
    let nodes = machine.of_nodes();
    [machine, nodes]
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
    for machine in both() {
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
    let machine = machine();
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

#[test]
fn every_kind_of_node_has_one_way_through() {
    let nodes = machine().of_nodes();
    let choices = nodes.state("ChooseKind")["Choices"].as_array().expect("choices");
    let kinds: Vec<&str> = choices.iter().filter_map(asks_for_kind).collect();
    assert_eq!(kinds, ["lambda", "stateMachine", "ecs", "external", "value"]);
    assert_eq!(choices.len(), kinds.len());
}

#[test]
fn a_refused_condition_is_never_tried_again() {
    // DynamoDB's optimized integration and the SDK integration spell the error differently.
    for machine in both() {
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
    for machine in both() {
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
    let text = sluice_tests::text(RUNNER);
    let substitutions: BTreeSet<&str> = text.split("${").skip(1).filter_map(|rest| rest.split('}').next()).collect();
    assert_eq!(substitutions, BTreeSet::from(["Partition", "RunCallbackArn", "TableName"]));
    assert_eq!(text.matches("{%").count(), text.matches("%}").count());
    assert_eq!(json(RUNNER)["QueryLanguage"], "JSONata");
}
