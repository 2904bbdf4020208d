//! How many events an execution of the runner can write into its history at worst, counted from the state machine's own
//! states, and the bound that versions are held to.
//!
//! Events by kind of state: <https://docs.aws.amazon.com/step-functions/latest/apireference/API_HistoryEvent.html>.
//! Counted is the longest way through the machine on which every service call fails as often as its retriers allow, every
//! attempt at a node is used up, and what can be written twice is.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use sluice_core::definition::VersionDocument;
use sluice_core::flow::Refusal;
use sluice_core::history as bound;
use sluice_core::limits;
use sluice_core::operator::{Processor, ProcessorTarget, Tenants};

use crate::crew::{Crew, NESTED};
use crate::runner::{self, Machine};

/// Step Functions ends an execution with more events than this.
const STEP_FUNCTIONS_STOPS_AT: u64 = 25_000;

/// `ExecutionStarted`, and how it ended.
const EXECUTION: u64 = 2;
/// `MapIterationStarted`, and how it ended.
const ITERATION: u64 = 2;

/// How often the states that close a circle may be entered. **Invariant:** every circle of the machine goes through one of
/// them, otherwise there is no bound (and [`Longest::from`] says so).
type Gates = BTreeMap<&'static str, u64>;

struct Longest<'a> {
    machine: &'a Machine,
    /// The kind of node whose iteration this is; decides the choices that ask for it.
    kind: Option<&'a str>,
    known: BTreeMap<(String, Gates), Option<u64>>,
    under_way: Vec<(String, Gates)>,
}

impl<'a> Longest<'a> {
    fn of(machine: &'a Machine, kind: Option<&'a str>, gates: &Gates) -> u64 {
        let mut longest = Self { machine, kind, known: BTreeMap::new(), under_way: Vec::new() };
        longest.from(&machine.start, gates).expect("the machine can end")
    }

    /// Events from entering `name` to the machine's end, or `None` when that way is shut.
    fn from(&mut self, name: &str, gates: &Gates) -> Option<u64> {
        let mut gates = gates.clone();
        if let Some(left) = gates.get_mut(name) {
            *left = left.checked_sub(1)?;
        }
        let here = (name.to_owned(), gates);
        if let Some(known) = self.known.get(&here) {
            return *known;
        }
        assert!(!self.under_way.contains(&here), "nothing bounds the circle through {name}");
        self.under_way.push(here.clone());
        let longest = self
            .ways(name)
            .into_iter()
            .filter_map(|(events, to)| match to {
                Some(to) => Some(events + self.from(&to, &here.1)?),
                None => Some(events),
            })
            .max();
        self.under_way.pop();
        self.known.insert(here, longest);
        longest
    }

    /// The ways out of a state: the events on each, and where it leads (`None`: the end).
    fn ways(&self, name: &str) -> Vec<(u64, Option<String>)> {
        let state = self.machine.state(name);
        let next = || state["Next"].as_str().map(str::to_owned);
        match state["Type"].as_str() {
            Some("Task") => {
                let (attempts, last) = task_attempts(state);
                self.ways_with_catchers(state, 1 + attempts + last + 1, next())
            }
            // Entered, started, succeeded or failed, exited; the iterations are counted with their nodes.
            Some("Map") => self.ways_with_catchers(state, 4, next()),
            Some("Choice") => state["Choices"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|choice| {
                    self.kind.is_none_or(|kind| runner::asks_for_kind(choice).is_none_or(|asked| asked == kind))
                })
                .map(|choice| choice["Next"].as_str())
                .chain([state["Default"].as_str()])
                .map(|to| (2, to.map(str::to_owned)))
                .collect(),
            Some("Pass" | "Wait") => vec![(2, next())],
            Some("Fail") => vec![(1, None)],
            other => panic!("{name}: what does a {other:?} write into the history?"),
        }
    }

    fn ways_with_catchers(&self, state: &Value, events: u64, next: Option<String>) -> Vec<(u64, Option<String>)> {
        let mut ways = vec![(events, next)];
        let mut evaluation_is_caught = false;
        for catcher in state["Catch"].as_array().into_iter().flatten() {
            // An expression that fails after the call has succeeded writes one event more: EvaluationFailed.
            let by_evaluation = !evaluation_is_caught && names(catcher, "States.QueryEvaluationError");
            evaluation_is_caught |= by_evaluation;
            let events = events + u64::from(by_evaluation);
            let target = catcher["Next"].as_str().expect("a catcher leads somewhere");
            // Who says that the run has failed leaves the next choice no choice.
            match self.on_failed(target).filter(|_| catcher["Assign"]["failed"] == true) {
                Some(after) => ways.push((events + 2, Some(after.to_owned()))),
                None => ways.push((events, Some(target.to_owned()))),
            }
        }
        ways
    }

    /// Where a choice leads once the run has failed.
    fn on_failed(&self, name: &str) -> Option<&str> {
        let choices = self.machine.state(name)["Choices"].as_array()?;
        choices.iter().find(|choice| choice["Condition"] == "{% $failed %}")?["Next"].as_str()
    }
}

/// Events of all attempts but the last, and of the last.
fn task_attempts(state: &Value) -> (u64, u64) {
    let resource = state["Resource"].as_str().expect("a task has a resource");
    // Scheduled, started, succeeded or failed; and submitted where the state waits for more than the call.
    let waits = resource.contains(".sync") || resource.ends_with(".waitForTaskToken");
    let attempt = 3 + u64::from(waits);
    let retriers = state["Retry"].as_array().map(Vec::as_slice).unwrap_or_default();
    let repeats_evaluations = retriers
        .iter()
        .find(|retrier| names(retrier, "States.QueryEvaluationError"))
        .is_some_and(|retrier| retrier["MaxAttempts"] != 0);
    assert!(!repeats_evaluations, "an expression that failed fails again: {resource} must not be repeated for it");
    let repeated: u64 = retriers.iter().map(|retrier| retrier["MaxAttempts"].as_u64().unwrap_or(3)).sum();
    (repeated * attempt, attempt)
}

/// Whether a retrier or catcher is for this error.
fn names(handler: &Value, error: &str) -> bool {
    handler["ErrorEquals"].as_array().into_iter().flatten().any(|named| named == error || named == "States.ALL")
}

/// Everything around the nodes.
fn around(machine: &Machine, stages: u64, pauses: u64) -> u64 {
    EXECUTION + Longest::of(machine, None, &Gates::from([("RunStage", stages), ("PauseGate", pauses)]))
}

/// One node with all its attempts, whatever of `kinds` it turns out to be.
fn node(nodes: &Machine, kinds: &[&str], attempts: u64) -> u64 {
    let gates = Gates::from([("BackOff", attempts - 1)]);
    let longest = kinds.iter().map(|kind| Longest::of(nodes, Some(kind), &gates));
    ITERATION + longest.max().expect("a node is of some kind")
}

/// What is behind a processor's key may change after a version was checked, so its node counts as the dearest kind.
const PROCESSOR_KINDS: [&str; 3] = ["lambda", "stateMachine", "ecs"];

fn counted(document: &VersionDocument, stages: usize) -> u64 {
    let machine = runner::machine();
    let nodes = machine.of_nodes();
    let of_nodes: u64 = document
        .nodes
        .iter()
        .map(|each| {
            let kinds: &[&str] = match (each.node_type.as_str(), &each.processor) {
                ("external", _) => &["external"],
                (_, Some(_)) => &PROCESSOR_KINDS,
                (_, None) => &["value"],
            };
            node(&nodes, kinds, u64::from(each.retry.unwrap_or_default().max_attempts))
        })
        .sum();
    around(&machine, stages as u64, 0) + of_nodes
}

fn document(nodes: Value, edges: &[(&str, &str)]) -> VersionDocument {
    let edges: Vec<Value> = edges.iter().map(|(from, to)| json!({"from": from, "to": to})).collect();
    serde_json::from_value(json!({"nodes": nodes, "edges": edges})).expect("a version document")
}

fn processors() -> BTreeMap<sluice_core::id::ProcessorKey, Arc<Processor>> {
    let processor = Processor {
        key: "p".parse().expect("a key"),
        target: ProcessorTarget::Lambda {
            function_arn: "arn:aws:lambda:eu-west-1:123456789012:function:p".parse().expect("an ARN"),
        },
        tenants: Tenants::everyone(),
        tags: None,
        description: None,
        updated_at: "2026-01-01T00:00:00Z".parse().expect("a time"),
        rev: 1,
    };
    BTreeMap::from([(processor.key.clone(), Arc::new(processor))])
}

#[test]
fn the_bound_of_a_version_is_exactly_what_the_runner_can_write() {
    let retried = |attempts: u32| json!({"maxAttempts": attempts});
    let value = json!([{"id": "a", "type": "data-source"}]);
    let source = json!([{"id": "a", "type": "data-source", "processor": "p", "retry": retried(3)}]);
    let once = json!([{"id": "a", "type": "processor", "processor": "p"}]);
    let ten_times = json!([{"id": "a", "type": "processor", "processor": "p", "retry": retried(10)}]);
    let external = json!([{"id": "a", "type": "external"}]);
    let external_twice = json!([{"id": "a", "type": "external", "retry": retried(2)}]);
    let pipeline = json!([
        {"id": "a", "type": "data-source"},
        {"id": "b", "type": "processor", "processor": "p", "retry": retried(2)},
        {"id": "c", "type": "external"},
        {"id": "d", "type": "processor", "processor": "p", "retry": retried(7)},
        {"id": "e", "type": "data-target", "processor": "p"},
    ]);
    let tenant = "acme".parse().expect("a tenant");
    for document in [
        document(value, &[]),
        document(source, &[]),
        document(once, &[]),
        document(ten_times, &[]),
        document(external, &[]),
        document(external_twice, &[]),
        document(pipeline, &[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("d", "e")]),
    ] {
        let layout = document.check(&tenant, &processors()).expect("a valid version");
        assert_eq!(
            document.worst_case_history_events(&layout),
            counted(&document, layout.stages.len()),
            "{}",
            json!(document.nodes)
        );
    }
}

#[test]
fn the_bound_of_the_second_generation_is_exactly_what_it_can_write() {
    let machine = runner::second_machine();
    let workers = machine.of_workers();
    assert_eq!(EXECUTION + Longest::of(&machine, None, &Gates::new()), bound::PER_RUN);
    for (kind, state) in [("lambda", "InvokeFunction"), ("stateMachine", "RunStateMachine"), ("ecs", "RunContainer")] {
        let longest = |attempts, repetitions| {
            let gates = Gates::from([(state, attempts), ("BackOff", repetitions)]);
            ITERATION + Longest::of(&workers, Some(kind), &gates)
        };
        assert_eq!(longest(0, 0), bound::PER_WORKER, "{kind}");
        let attempt = longest(1, 0) - longest(0, 0);
        assert_eq!(longest(3, 0) - longest(0, 0), 3 * attempt, "{kind}: each attempt costs the same");
        assert_eq!(longest(3, 2) - longest(3, 0), 2 * bound::PER_REPETITION, "{kind}");
        assert!(
            attempt <= bound::PER_ATTEMPT && (kind != "lambda" || attempt == bound::PER_ATTEMPT),
            "{kind}: {attempt}"
        );
    }
}

/// What a run of the second generation writes at worst, counted from its states: one worker does everything, and the others come
/// and leave. `attempts` and `repetitions` of the whole run.
fn counted_of_workers(workers: u64, attempts: u64, repetitions: u64) -> u64 {
    let machine = runner::second_machine();
    let inner = machine.of_workers();
    let kinds = [("lambda", "InvokeFunction"), ("stateMachine", "RunStateMachine"), ("ecs", "RunContainer")];
    let longest = |attempts, repetitions| {
        let of = |(kind, state)| {
            Longest::of(&inner, Some(kind), &Gates::from([(state, attempts), ("BackOff", repetitions)]))
        };
        ITERATION + kinds.map(of).into_iter().max().expect("a kind")
    };
    let around = EXECUTION + Longest::of(&machine, None, &Gates::new());
    around + (workers - 1) * longest(0, 0) + longest(attempts, repetitions)
}

/// Attempts of a node and repetitions among them, as its version says them: of every item, in every iteration.
fn times(node: &Value) -> (u64, u64) {
    let number = |value: &Value| value.as_u64();
    if node["type"] == "external" || node["processor"].is_null() {
        return (0, 0);
    }
    let fan = &node["forEach"];
    let items = match fan["items"].as_array() {
        Some(list) => list.len() as u64,
        None if fan.is_null() => 1,
        None => number(&fan["maxItems"]).unwrap_or(100),
    };
    let times = items * number(&node["loop"]["maxIterations"]).unwrap_or(1);
    let attempts = number(&node["retry"]["maxAttempts"]).unwrap_or(1);
    (times * attempts, times * (attempts - 1))
}

fn of_all(version: &Value) -> (u64, u64) {
    let nodes = version["nodes"].as_array().into_iter().flatten().map(times);
    nodes.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
}

#[test]
fn the_bound_of_a_run_with_loops_fan_out_and_retries_is_exactly_what_its_states_can_write() {
    let node = |id: &str, more: Value| {
        let mut node = json!({"id": id, "type": "processor", "processor": "readability"});
        node.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        node
    };
    let retry = |attempts: u32| json!({"maxAttempts": attempts});
    let until = |id: &str| json!({"pointer": format!("/results/{id}/done"), "equals": true});
    let again = |id: &str, most: u32| json!({"until": until(id), "maxIterations": most});
    let edge = |from: &str, to: &str| json!({"from": from, "to": to});
    let versions = [
        (1, json!({"nodes": [node("a", json!({}))]})),
        (1, json!({"nodes": [node("a", json!({"retry": retry(3)}))]})),
        (1, json!({"nodes": [node("a", json!({"processor": NESTED, "retry": retry(2), "timeoutSeconds": 5}))]})),
        (1, json!({"nodes": [node("a", json!({"loop": again("a", 5)}))]})),
        (1, json!({"nodes": [node("a", json!({"loop": again("a", 4), "retry": retry(3)}))]})),
        (3, json!({"nodes": [node("a", json!({"forEach": {"items": [1, 2, 3], "maxConcurrency": 9}}))]})),
        (
            2,
            json!({"nodes": [node("a", json!({"forEach": {"items": [1, 2, 3], "maxConcurrency": 2}, "retry": retry(2)}))]}),
        ),
        // Nobody runs them: they write nothing.
        (1, json!({"nodes": [{"id": "a", "type": "external", "retry": retry(4)}, {"id": "b", "type": "data-source"}]})),
        // A condition and a failure that may be write nothing of their own.
        (
            5,
            json!({
                "nodes": [
                    node("a", json!({"retry": retry(2)})),
                    node("b", json!({"when": until("a"), "onFailure": "continue", "loop": again("b", 2)})),
                    node("c", json!({"forEach": {"items": "/results/a/items", "maxItems": 7, "maxConcurrency": 4}, "retry": retry(2)})),
                    node("d", json!({})),
                    {"id": "e", "type": "external"},
                ],
                "edges": [edge("a", "b"), edge("a", "c"), edge("b", "d"), edge("c", "d"), edge("e", "d")],
                "failFast": false,
            }),
        ),
    ];
    for (workers, version) in versions {
        let crew = Crew::new();
        crew.define(&version).unwrap_or_else(|refusal| panic!("{refusal:?}: {version}"));
        let schedule = crew.begin(1).1.schedule().expect("a schedule");
        assert_eq!(u64::from(schedule.workers()), workers, "{version}");
        let (attempts, repetitions) = of_all(&version);
        assert_eq!(bound::worst_case(&schedule), counted_of_workers(workers, attempts, repetitions), "{version}");
    }
}

#[test]
fn a_version_is_refused_from_the_first_event_above_the_bound_on() {
    let items = |most: u32| {
        let fan = json!({"items": "/input/items", "maxItems": most, "maxConcurrency": 10});
        json!({"nodes": [{"id": "a", "type": "processor", "processor": "readability", "forEach": fan}]})
    };
    let events = |most: u32| {
        let (attempts, repetitions) = of_all(&items(most));
        counted_of_workers(10, attempts, repetitions)
    };
    let most = (1..300).rev().find(|most| events(*most) <= limits::HISTORY_EVENTS).expect("some fit");
    assert!(most >= 200, "{most} items are few");
    assert!(Crew::new().define(&items(most)).is_ok(), "{most} items fit");
    let refused = Crew::new().define(&items(most + 1));
    let Err(Refusal::Invalid(invalid)) = refused else { panic!("{refused:?}") };
    let said = format!("{} events", events(most + 1));
    assert!(format!("{invalid:?}").contains(&said), "{invalid:?} does not say {said}");
}

#[test]
fn the_reserve_above_the_bound_is_enough_for_a_hundred_pauses() {
    let machine = runner::machine();
    let one = around(&machine, 1, 1) - around(&machine, 1, 0);
    let hundred = around(&machine, 1, 100) - around(&machine, 1, 0);
    assert_eq!(hundred, 100 * one, "each pause costs the same");
    let reserve = STEP_FUNCTIONS_STOPS_AT - limits::HISTORY_EVENTS;
    assert!(hundred <= reserve, "100 pauses write {hundred} events, {reserve} are kept for them");
}

#[test]
fn counting_finds_the_longest_way_and_every_retry_on_it() {
    let machine = Machine::of(&json!({
        "StartAt": "Call",
        "States": {
            "Call": {
                "Type": "Task", "Resource": "arn:aws:states:::states:startExecution.sync:2", "Next": "Done",
                "Retry": [{"ErrorEquals": ["A"], "MaxAttempts": 2}, {"ErrorEquals": ["B"]}],
                "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Again"}]
            },
            "Again": {"Type": "Wait", "Next": "Call"},
            "Done": {"Type": "Pass", "End": true}
        }
    }));
    // Entered, five failed attempts, the last one, exited: 1 + 5 * 4 + 4 + 1; caught, EvaluationFailed may come with it.
    let way = |repeats| Longest::of(&machine, None, &Gates::from([("Again", repeats)]));
    assert_eq!(way(0), 26 + 2);
    assert_eq!(way(3), 3 * (26 + 1 + 2) + 26 + 2);
}
