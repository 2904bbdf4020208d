//! The runner played in virtual time: the real state machine, walked by [player.py](player.py), whose workers ask the real
//! board what to do. What it shows is how long runs take, and what they write into their histories.

mod shapes;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use shapes::{Dice, Shape};
use sluice_core::board::{Act, Board, Outcome, Question, Told, Unit, Verdict};
use sluice_core::graph::Graph;
use sluice_core::history;
use sluice_core::schedule::{Doer, FanOut, Schedule, Task, WORKERS};
use sluice_local::program;
use sluice_tests::{file, json};

use crate::runner::{RUNNER, SECOND_RUNNER};

/// What a run may take beyond its longest path.
const TOLERANCE: f64 = 1.05;

/// A Python process that plays one state machine.
struct Player {
    python: Child,
    says: ChildStdin,
    hears: BufReader<ChildStdout>,
}

/// How a run went.
struct Played {
    seconds: f64,
    transitions: u64,
    events: u64,
    end: Value,
}

impl Player {
    fn of(machine: &str) -> Self {
        let mut python = Command::new(program("python").expect("the Python environment"))
            .arg(file("tests/contracts/player.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let says = python.stdin.take().expect("its input");
        let hears = BufReader::new(python.stdout.take().expect("its output"));
        let mut player = Self { python, says, hears };
        player.say(&json!({"machine": json(machine)}));
        player
    }

    fn say(&mut self, line: &Value) {
        writeln!(self.says, "{line}").expect("it reads");
        self.says.flush().expect("it reads");
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.hears.read_line(&mut line).expect("it writes");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("the player has said {line:?}: {error}"))
    }

    /// Plays a run; `decide` is the function that the machine asks.
    fn play(&mut self, input: &Value, calls: &Value, mut decide: impl FnMut(&Value) -> Value) -> Played {
        self.say(&json!({"input": input, "calls": calls}));
        loop {
            let said = self.hear();
            let Some(end) = said.get("end") else {
                let answer = decide(&said["ask"]);
                self.say(&answer);
                continue;
            };
            let number = |name: &str| end[name].as_u64().expect("a number");
            return Played {
                seconds: end["seconds"].as_f64().expect("seconds"),
                transitions: number("transitions"),
                events: number("events"),
                end: end.clone(),
            };
        }
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.python.kill().ok();
        self.python.wait().ok();
    }
}

/// The function that decides, over a board in memory.
struct Decider<'a> {
    schedule: &'a Schedule,
    board: Board,
    /// The tokens that are kept beside the board, by worker.
    tokens: BTreeMap<usize, String>,
    /// The workers that are owed word, as they are kept beside the board.
    wake: BTreeSet<usize>,
    /// Whether it is asked things whose answers are lost, and fails.
    trouble: Option<Dice>,
    items: u32,
}

impl<'a> Decider<'a> {
    fn new(schedule: &'a Schedule) -> Self {
        Self {
            schedule,
            board: Board::new(schedule),
            tokens: BTreeMap::new(),
            wake: BTreeSet::new(),
            trouble: None,
            items: 0,
        }
    }

    fn answer(&mut self, payload: &Value) -> Value {
        if self.trouble.as_mut().is_some_and(|dice| dice.roll(12) == 0) {
            return json!({"error": "Lambda.Unknown"});
        }
        let detail = &payload["detail"];
        assert_eq!((&detail["tenantId"], &detail["runId"]), (&json!("acme"), &json!("run")));
        match payload["detail-type"].as_str() {
            Some("Work Asked For") => self.work(detail),
            Some("Outcome Asked For") => self.outcome(),
            other => panic!("nobody asks for {other:?}"),
        }
    }

    fn work(&mut self, detail: &Value) -> Value {
        let number = |name: &str| detail[name].as_u64().expect("a number") as usize;
        let (worker, turn) = (number("worker"), number("turn") as u32);
        let token = detail["token"].as_str().expect("a token").to_owned();
        let ended = detail["ended"].as_object().map(|ended| {
            let unit: Unit = serde_json::from_value(ended["unit"].clone()).expect("a unit of work");
            let outcome = if ended.contains_key("error") { Outcome::Failure } else { Outcome::Success };
            assert!(ended.contains_key("error") != ended.contains_key("value"), "{detail}");
            (unit, outcome)
        });
        self.board.ask(self.schedule, worker, turn, ended).expect("it is its turn");
        self.tokens.insert(worker, token);
        while let Some(question) = self.board.question() {
            let verdict = match question {
                Question::When(node) => Verdict::Holds(node % 3 > 0),
                Question::Items(_) => Verdict::Items(self.items),
                Question::Until(node) => Verdict::Holds(self.board.iteration(node) > 1),
            };
            self.board.decide(self.schedule, question, verdict);
        }
        self.wake
            .extend(self.board.hand_out(self.schedule).iter().map(|told| told.worker).filter(|one| *one != worker));
        if self.trouble.as_mut().is_some_and(|dice| dice.roll(12) == 0) {
            // It has written its decision, and then it crashes: nobody is told.
            return json!({"error": "Lambda.Unknown"});
        }
        // The one who asks last, as the function does.
        let order = std::mem::take(&mut self.wake).into_iter().chain([worker]);
        let told = order.filter_map(|one| self.board.owed(one));
        let told: Vec<Value> =
            told.map(|one| json!({"token": self.tokens.get(&one.worker), "output": output(&one)})).collect();
        json!({"told": told})
    }

    fn outcome(&self) -> Value {
        assert!(self.board.is_over());
        match self.board.failure() {
            Some(failure) => json!({"payload": {"error": "Sluice.Failed", "cause": failure.node.to_string()}}),
            None => json!({"payload": {"results": {}}}),
        }
    }
}

fn name(node: usize) -> String {
    format!("node-{node}")
}

/// What a worker is told, as the function tells it.
fn output(told: &Told) -> Value {
    match told.act {
        Act::Leave => json!({"do": "leave"}),
        Act::Work { unit, seconds } => json!({
            "do": "work", "unit": unit, "seconds": seconds, "timeoutSeconds": 99_999_999,
            "run": {"kind": "lambda", "functionArn": "arn:aws:lambda:eu-west-1:123456789012:function:p"},
            "request": {"nodeId": name(unit.node), "attempt": unit.attempt},
        }),
    }
}

fn input(schedule: &Schedule) -> Value {
    json!({
        "tenantId": "acme", "runId": "run", "workers": (0..schedule.workers()).collect::<Vec<_>>(),
        "record": {"pk": "T#acme#RUN#run", "statusKeys": {"RUNNING": "T#acme#RUNNING"}},
    })
}

fn schedule(shape: &Shape) -> Schedule {
    let graph = Graph::new(shape.seconds.len(), shape.edges.iter().copied()).expect("no circle");
    Schedule::new(graph, vec![Task::default(); shape.seconds.len()], true).expect("a schedule")
}

fn calls(shape: &Shape) -> Value {
    let calls = shape.seconds.iter().enumerate().map(|(node, seconds)| (name(node), json!([{"seconds": seconds}])));
    Value::Object(calls.collect())
}

fn longest_path(shape: &Shape, graph: &Graph) -> f64 {
    let mut ends = vec![0.0_f64; graph.len()];
    for &node in graph.order() {
        let begins = graph.dependencies(node).iter().map(|&before| ends[before]).fold(0.0, f64::max);
        ends[node] = begins + shape.seconds[node];
    }
    ends.into_iter().fold(0.0, f64::max)
}

/// Nodes by stage, as the first runner has them.
fn stages(graph: &Graph) -> Vec<Vec<usize>> {
    let mut stages: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (node, depth) in graph.depths().into_iter().enumerate() {
        stages.entry(depth).or_default().push(node);
    }
    stages.into_values().collect()
}

/// What the first runner takes: of each stage its longest node.
fn seconds_by_stages(shape: &Shape, graph: &Graph) -> f64 {
    let longest = |stage: &Vec<usize>| stage.iter().map(|&node| shape.seconds[node]).fold(0.0, f64::max);
    stages(graph).iter().map(longest).sum()
}

/// The input of the first runner for the same run.
fn input_by_stages(graph: &Graph) -> Value {
    let node = |&node: &usize| {
        json!({
            "nodeId": name(node), "nodeType": "processor", "maxAttempts": 1, "retryIntervalSeconds": 1, "retryBackoffRate": 2,
            "params": {}, "dependsOn": graph.dependencies(node).iter().map(|&before| name(before)).collect::<Vec<_>>(),
            "dataSource": null, "dataTarget": null,
            "run": {"kind": "lambda", "functionArn": "arn:aws:lambda:eu-west-1:123456789012:function:p"},
        })
    };
    let stages: Vec<Vec<Value>> = stages(graph).iter().map(|stage| stage.iter().map(node).collect()).collect();
    json!({
        "tenantId": "acme", "runId": "run", "stages": stages, "leaves": [], "input": null, "layers": [], "valueBytes": {},
        "executionBudgetUsd": null, "executionBudgetMicroUsd": null, "computeNodeBudgetUsd": null,
        "computeNodeBudgetMicroUsd": null, "inlineResultBytes": 1_024,
        "record": {"pk": "T#acme#RUN#run", "statusKeys": {"RUNNING": "T#acme#RUNNING"}},
    })
}

fn nobody(ask: &Value) -> Value {
    panic!("the first runner asks nobody: {ask}")
}

#[test]
fn a_run_takes_as_long_as_its_longest_path() {
    let mut player = Player::of(SECOND_RUNNER);
    let (mut played, mut by_longest, mut before_by_longest, mut worst_before) = (0, 0.0, 0.0, 0.0_f64);
    for shape in shapes::all() {
        let schedule = schedule(&shape);
        let graph = schedule.graph();
        if graph.width(&vec![1; graph.len()], WORKERS + 1) > WORKERS {
            continue;
        }
        let mut decider = Decider::new(&schedule);
        let run = player.play(&input(&schedule), &calls(&shape), |ask| decider.answer(ask));
        assert_eq!(run.end["output"], json!({"results": {}}), "{}: {}", shape.name, run.end);
        let longest = longest_path(&shape, graph);
        assert!(
            run.seconds >= longest && run.seconds <= longest * TOLERANCE,
            "{}: {} s, and its longest path is {longest} s",
            shape.name,
            run.seconds
        );
        let worst = history::worst_case(&schedule);
        assert!(run.events <= worst, "{}: {} events, {worst} at worst", shape.name, run.events);
        let before = seconds_by_stages(&shape, graph) / longest;
        played += 1;
        by_longest += run.seconds / longest;
        before_by_longest += before;
        worst_before = worst_before.max(before);
    }
    assert!(played >= 200, "{played} are too few");
    let (now, before) = (by_longest / f64::from(played), before_by_longest / f64::from(played));
    // The figures of the note in infra/state-machines.
    assert!(now < 1.02 && before > 1.1 && worst_before > 1.7, "{now} now; {before} before, {worst_before} at worst");
}

/// Transitions and events of a node are what one node more adds.
#[test]
fn a_plain_node_takes_no_more_than_it_did() {
    let (mut first, mut second) = (Player::of(RUNNER), Player::of(SECOND_RUNNER));
    let chain = |size: usize| Shape {
        name: format!("chain of {size}"),
        seconds: vec![10.0; size],
        edges: (1..size).map(|node| (node - 1, node)).collect(),
    };
    let fan = |size: usize| Shape {
        name: format!("{size} between two"),
        seconds: vec![10.0; size + 2],
        edges: (2..size + 2).flat_map(|node| [(0, node), (node, 1)]).collect(),
    };
    let layers = |size: usize| Shape {
        name: format!("{size} layers of 8"),
        seconds: vec![10.0; size * 8],
        edges: (8..size * 8).flat_map(|node| [(node - 8, node), (node / 8 * 8 - 8 + (node + 1) % 8, node)]).collect(),
    };
    let forest = |size: usize| Shape { name: format!("forest of {size}"), seconds: vec![10.0; size], edges: vec![] };
    for (small, large) in [(chain(5), chain(15)), (fan(5), fan(35)), (layers(2), layers(5)), (forest(5), forest(35))] {
        let mut added = |shape: &Shape| {
            let schedule = schedule(shape);
            let before = first.play(&input_by_stages(schedule.graph()), &calls(shape), nobody);
            let by_stages = seconds_by_stages(shape, schedule.graph());
            assert!(before.seconds >= by_stages && before.seconds < by_stages * TOLERANCE, "{}", shape.name);
            let mut decider = Decider::new(&schedule);
            let now = second.play(&input(&schedule), &calls(shape), |ask| decider.answer(ask));
            [before.transitions, now.transitions, before.events, now.events].map(|count| count as f64)
        };
        let (few, many) = (added(&small), added(&large));
        let nodes = (large.seconds.len() - small.seconds.len()) as f64;
        let [transitions_before, transitions, events_before, events] =
            [0, 1, 2, 3].map(|index| (many[index] - few[index]) / nodes);
        assert!(
            transitions <= 1.3 * transitions_before && events <= 1.3 * events_before,
            "{}: {transitions} transitions a node instead of {transitions_before}, {events} events instead of {events_before}",
            large.name
        );
    }
}

#[test]
fn lost_answers_crashes_and_failures_end_every_run_within_its_worst_case() {
    let mut player = Player::of(SECOND_RUNNER);
    let mut dice = Dice(7);
    for round in 0..40 {
        let nodes = 2 + dice.roll(14);
        let edges = (0..nodes * 2).map(|_| (dice.roll(nodes), dice.roll(nodes)));
        let edges = edges.collect::<Vec<_>>().into_iter().filter(|(a, b)| a != b).map(|(a, b)| (a.min(b), a.max(b)));
        let graph = Graph::new(nodes, edges).expect("no circle");
        let mut task = |_| {
            let mut task =
                Task { max_attempts: 1 + dice.roll(3) as u32, goes_on: dice.roll(2) == 0, ..Task::default() };
            match dice.roll(8) {
                0 => task.fan_out = Some(FanOut { max_items: 5, max_concurrency: 1 + dice.roll(3) as u32 }),
                1 => task.max_iterations = Some(2),
                2 => task.is_conditional = true,
                3 => task.doer = Doer::Nobody,
                _ => {}
            }
            task
        };
        let tasks = (0..nodes).map(&mut task).collect();
        let schedule = Schedule::new(graph, tasks, round % 2 == 0).expect("a schedule");
        let calls = (0..nodes).map(|node| {
            let call = |_| match dice.roll(6) {
                0 => json!({"seconds": 3, "error": "Model.Refused"}),
                1 => json!({"seconds": 1, "error": "Lambda.TooManyRequestsException"}),
                _ => json!({"seconds": dice.roll(90)}),
            };
            (name(node), Value::Array((0..20).map(call).collect()))
        });
        let calls = Value::Object(calls.collect::<Vec<_>>().into_iter().collect());
        let mut decider = Decider { items: 5, trouble: Some(Dice(round)), ..Decider::new(&schedule) };
        let run = player.play(&input(&schedule), &calls, |ask| decider.answer(ask));
        assert!(run.events <= history::worst_case(&schedule), "round {round}: {}", run.end);
        if run.end["error"] == "Sluice.Undecided" || run.end["error"] == "Lambda.Unknown" {
            continue;
        }
        assert_eq!(
            run.end["error"] == "Sluice.Failed",
            decider.board.failure().is_some(),
            "round {round}: {}",
            run.end
        );
        assert!(decider.board.is_over(), "round {round}");
    }
}
