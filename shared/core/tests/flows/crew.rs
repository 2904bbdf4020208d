//! An execution of the second generation's state machine, played: its workers ask, do what they are told, and ask again. What
//! happens next is drawn from a seed; calls fail before and after their effect.

use crate::course::started_at;
use crate::world::World;
use serde_json::{Value, json};
use sluice_core::flow::advance_run::{Asked, Conclusion, Ended, advance_run, conclude};
use sluice_core::flow::create_run::Command;
use sluice_core::id::{NodeId, RunId};
use sluice_core::lifecycle::EngineEnd;
use sluice_core::ports::{Clock, StoreErrorClass};
use sluice_core::report::NodeOutcome;
use sluice_core::run::{EndDetails, Run, RunError};
use sluice_core::step::Step;
use sluice_testkit::block_on;
use sluice_testkit::contract::at_once;
use sluice_testkit::fault::Fault;
use std::collections::BTreeMap;

/// What happens next.
#[derive(Clone, Debug)]
pub struct Seed(fastrand::Rng);

impl Seed {
    pub fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    pub fn below(&mut self, most: usize) -> usize {
        self.0.usize(0..most.max(1))
    }

    pub fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }
}

/// What a processor is handed, and what it does with that.
pub type Processor<'a> = &'a dyn Fn(&Value) -> Result<Value, &'static str>;

/// Gives back what it was handed, in short.
pub fn echo(request: &Value) -> Result<Value, &'static str> {
    let field = |name: &str| request.get(name).cloned().unwrap_or(Value::Null);
    Ok(
        json!({"of": field("nodeId"), "inputs": field("inputs"), "item": field("item"), "iteration": field("iteration")}),
    )
}

#[derive(Debug)]
enum Doing {
    Asking,
    /// With the token of its last try.
    Waiting(String),
    Working(Value),
    Left,
}

#[derive(Debug)]
struct Worker {
    turn: u32,
    tries: u32,
    ended: Option<Ended>,
    doing: Doing,
}

/// One attempt, as it was begun and ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt {
    pub node: String,
    pub item: Option<u64>,
    pub iteration: u64,
    pub attempt: u64,
}

impl Attempt {
    fn of(unit: &Value) -> Self {
        Self {
            node: unit["node"].as_str().expect("a node").to_owned(),
            item: unit["item"].as_u64(),
            iteration: unit["iteration"].as_u64().expect("an iteration"),
            attempt: unit["attempt"].as_u64().expect("an attempt"),
        }
    }
}

pub struct Crew<'a> {
    pub world: &'a World,
    pub run_id: RunId,
    pub seed: Seed,
    workers: Vec<Worker>,
    /// What was begun and ended, in order.
    pub begun: Vec<(Attempt, Value)>,
    pub ended: Vec<Attempt>,
}

impl<'a> Crew<'a> {
    /// The workers of a new run that its execution has claimed.
    pub fn of(world: &'a World, id: u128, command: Command, seed: u64) -> Self {
        let run = world.create(command, id).expect("accepted").run;
        let arn = run.execution_arn();
        assert!(world.engine.claim(&world.store, &arn, world.clock.now()), "claimed");
        let input = world.engine.execution(&arn).expect("started").input;
        let input: Value = serde_json::from_str(&input).expect("JSON");
        let workers = input["workers"].as_array().expect("workers").len();
        let worker = |_| Worker { turn: 1, tries: 0, ended: None, doing: Doing::Asking };
        let workers = (0..workers).map(worker).collect();
        Self { world, run_id: run.run_id, seed: Seed::new(seed), workers, begun: Vec::new(), ended: Vec::new() }
    }

    pub fn plain(world: &'a World, id: u128) -> Self {
        Self::of(world, id, started_at(None), id as u64)
    }

    pub fn run(&self) -> Run {
        self.world.run(self.run_id)
    }

    /// From now on one call in so many fails, before or after its effect.
    pub fn fail(&mut self, one_in: usize) {
        for faults in [&self.world.store.faults, &self.world.engine.faults] {
            let mut seed = Seed(self.seed.0.fork());
            faults.set(move |_| {
                let class = StoreErrorClass::Unavailable;
                let fault = if seed.one_in(2) { Fault::Before(class) } else { Fault::After(class) };
                seed.one_in(one_in).then_some(fault)
            });
        }
    }

    pub fn mend(&self) {
        self.world.store.faults.clear();
        self.world.engine.faults.clear();
    }

    /// Something happens to one of those to whom something can happen; `false` when there is nobody.
    pub fn step(&mut self, processor: Processor<'_>) -> bool {
        let can = |worker: &Worker| match &worker.doing {
            Doing::Asking | Doing::Working(_) => true,
            Doing::Waiting(token) => !self.world.engine.is_waited_for(token),
            Doing::Left => false,
        };
        let able: Vec<usize> = (0..self.workers.len()).filter(|index| can(&self.workers[*index])).collect();
        let Some(index) = able.get(self.seed.below(able.len())).copied() else { return false };
        match std::mem::replace(&mut self.workers[index].doing, Doing::Asking) {
            Doing::Asking => {
                let others: Vec<usize> = able.iter().copied().filter(|other| *other != index).collect();
                let asks = |crew: &Self, other: &usize| matches!(crew.workers[*other].doing, Doing::Asking);
                let others: Vec<usize> = others.into_iter().filter(|other| asks(self, other)).collect();
                // Some ask in the same moment.
                let most = self.seed.below(others.len() + 1);
                self.ask(std::iter::once(index).chain(others.into_iter().take(most)).collect());
            }
            Doing::Waiting(token) => self.hear(index, &token),
            Doing::Working(told) => self.work(index, &told, processor),
            Doing::Left => self.workers[index].doing = Doing::Left,
        }
        true
    }

    fn ask(&mut self, indices: Vec<usize>) {
        let (world, now, arn) = (self.world, self.world.clock.now(), self.run().execution_arn());
        let questions: Vec<Asked> = indices.iter().map(|index| self.question(*index)).collect();
        let tokens: Vec<String> = questions.iter().map(|asked| asked.token.clone()).collect();
        tokens.iter().for_each(|token| world.engine.wait_for(&arn, token));
        let answers = questions.into_iter().map(|asked| advance_run(&world.store, &world.engine, asked, now));
        let answers = block_on(at_once(answers));
        for ((index, token), answer) in indices.into_iter().zip(tokens).zip(answers) {
            // A function that fails fails the task, which is tried again with another token, unless it was told before.
            let is_told = !world.engine.is_waited_for(&token);
            self.workers[index].doing = if answer.is_ok() || is_told { Doing::Waiting(token) } else { Doing::Asking };
        }
    }

    fn question(&mut self, index: usize) -> Asked {
        let worker = &mut self.workers[index];
        worker.tries += 1;
        assert!(worker.tries < 200, "worker {index} asks for ever");
        Asked {
            tenant_id: self.world.caller.tenant.clone(),
            run_id: self.run_id,
            worker: index,
            turn: worker.turn,
            token: format!("{}-{}-{index}-{}", self.run_id, worker.turn, worker.tries),
            ended: worker.ended.clone(),
        }
    }

    fn hear(&mut self, index: usize, token: &str) {
        let Some(told) = self.world.engine.take_answer(token) else { panic!("worker {index} was told nothing") };
        let told: Value = serde_json::from_str(&told).expect("JSON");
        let worker = &mut self.workers[index];
        (worker.turn, worker.tries) = (worker.turn + 1, 0);
        match told["do"].as_str() {
            Some("leave") => worker.doing = Doing::Left,
            Some("work") => {
                self.begun.push((Attempt::of(&told["unit"]), told["request"].clone()));
                worker.doing = Doing::Working(told);
            }
            other => panic!("{other:?}"),
        }
    }

    fn work(&mut self, index: usize, told: &Value, processor: Processor<'_>) {
        let attempt = Attempt::of(&told["unit"]);
        let request = &told["request"];
        let outcome = match processor(request) {
            Ok(value) => NodeOutcome::Result(value.to_string()),
            Err(code) => NodeOutcome::Failure(RunError { code: code.to_owned(), message: "it failed".to_owned() }),
        };
        self.workers[index].ended = Some(Ended {
            node_id: attempt.node.parse().expect("a node"),
            item: attempt.item.map(|item| item as u32),
            iteration: attempt.iteration as u32,
            attempt: attempt.attempt as u32,
            outcome,
            is_final: false,
            usage: Vec::new(),
        });
        self.ended.push(attempt);
    }

    /// Lets everything happen until nobody can do anything.
    pub fn go(&mut self, processor: Processor<'_>) {
        for _ in 0..100_000 {
            if !self.step(processor) {
                return;
            }
        }
        panic!("it goes on for ever");
    }

    pub fn have_left(&self) -> bool {
        self.workers.iter().all(|worker| matches!(worker.doing, Doing::Left))
    }

    /// Lets it go to its end, with sweeps where a word was lost, and settles the run.
    pub fn finish(&mut self, processor: Processor<'_>) -> Conclusion {
        for _ in 0..50 {
            self.go(processor);
            if self.have_left() {
                return self.conclude();
            }
            self.world.clock.advance(60);
            let swept = self.world.reconcile();
            assert!(!swept.cut_short, "{swept:?}");
        }
        panic!("nobody carries it on: {:?}", self.workers);
    }

    fn conclude(&self) -> Conclusion {
        self.mend();
        let conclusion =
            block_on(conclude(&self.world.store, &self.world.caller.tenant, self.run_id)).expect("concluded");
        let (end, details) = match &conclusion {
            Conclusion::Results(results) => {
                let output = Some(format!(r#"{{"results":{results}}}"#));
                (EngineEnd::Succeeded, EndDetails { output, ..EndDetails::default() })
            }
            Conclusion::Failure { error, cause } => {
                let error = Some(RunError::from_engine(error, cause));
                (EngineEnd::Failed, EndDetails { error, ..EndDetails::default() })
            }
        };
        let run = self.run();
        let (end, details) = self.world.engine.end_with(&run.execution_arn(), end, details).expect("it runs");
        self.world.settle(&run, end, &details);
        conclusion
    }

    pub fn results(&mut self, processor: Processor<'_>) -> Value {
        match self.finish(processor) {
            Conclusion::Results(results) => serde_json::from_str(&results).expect("JSON"),
            failure @ Conclusion::Failure { .. } => panic!("{failure:?}"),
        }
    }

    pub fn failure(&mut self, processor: Processor<'_>) -> String {
        match self.finish(processor) {
            Conclusion::Failure { error, .. } => error,
            results @ Conclusion::Results(_) => panic!("{results:?}"),
        }
    }

    /// How often each node was begun, items and iterations included.
    pub fn attempts(&self) -> BTreeMap<&str, usize> {
        let mut attempts = BTreeMap::new();
        for (attempt, _) in &self.begun {
            *attempts.entry(attempt.node.as_str()).or_default() += 1;
        }
        attempts
    }

    /// What the processor of a node was handed last.
    pub fn request(&self, node: &str) -> &Value {
        let found = self.begun.iter().rev().find(|(attempt, _)| attempt.node == node);
        &found.unwrap_or_else(|| panic!("{node} never began")).1
    }

    pub fn step_of(&self, node: &str) -> Step {
        let node: NodeId = node.parse().expect("a node");
        let (world, now) = (self.world, self.world.clock.now());
        let read = sluice_core::flow::read_runs::get_step(&world.store, &world.caller, self.run_id, &node, now);
        block_on(read).expect("a step")
    }

    /// The words for where the nodes stand, in the order of the stages.
    pub fn statuses(&self) -> BTreeMap<String, &'static str> {
        let (world, now) = (self.world, self.world.clock.now());
        let read = sluice_core::flow::read_runs::list_steps(&world.store, &world.caller, self.run_id, 1_000, None, now);
        let steps = block_on(read).expect("a page").items;
        steps.into_iter().map(|step| (step.node_id.to_string(), step.status.as_str())).collect()
    }
}

/// The second generation's machine runs what the world's definition says.
pub fn world_of(nodes: Value, edges: &[(&str, &str)]) -> World {
    world_with(nodes, edges, json!({}))
}

/// [`world_of`], with more of the version.
pub fn world_with(nodes: Value, edges: &[(&str, &str)], more: Value) -> World {
    let edges: Vec<Value> = edges.iter().map(|(from, to)| json!({"from": from, "to": to})).collect();
    let mut document = json!({"nodes": nodes, "edges": edges});
    if let (Value::Object(document), Value::Object(more)) = (&mut document, more) {
        document.extend(more);
    }
    World::of_workers(document)
}
