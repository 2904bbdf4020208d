//! What a run consumes of the table and its indexes, over the real flows and the runner's own writes, as the engine counts it:
//! sizes rounded up to 1 KB, twice as much for the table in a transaction, and for an index what its entry's change takes.
//!
//! The snapshots `units` and `units-2`, of the runner's first and second generation, are the one source of these counts: the
//! pages' costs and the limit of a hot tenant are made of them.

use crate::runner::{write, write_head};
use crate::support::crew::Worker;
use crate::support::relay::Exchange;
use crate::support::sample::{self, noon};
use crate::support::table::Table;
use serde_dynamo::AttributeValue;
use serde_json::{Value, json};
use sluice_aws::dynamo::item::{Item, n, s, text};
use sluice_aws::dynamo::keys;
use sluice_core::concurrency::{Concurrency, OnLimit};
use sluice_core::delivery::Delivery;
use sluice_core::flow::advance_run::{Conclusion, advance_run, conclude};
use sluice_core::flow::control_run::answer_node;
use sluice_core::flow::create_run::{Command, create_run};
use sluice_core::flow::deliver::{Delivered, Outlook, send};
use sluice_core::flow::manage_definitions::add_version;
use sluice_core::flow::transition_run::{AT_THE_END, settle};
use sluice_core::generation::Generation;
use sluice_core::id::{DefinitionRef, NodeId, RunId};
use sluice_core::lifecycle::{EngineEnd, RunEvent, RunStatus};
use sluice_core::meter::Chance;
use sluice_core::operator::{ComputeNode, TenantSettings};
use sluice_core::ports::{Clock, LoadRun, ManageOperator};
use sluice_core::run::{EndDetails, Run};
use sluice_core::snapshot::{Callback, NodeRun, Snapshot, SnapshotNode};
use sluice_core::time::rfc3339_millis;
use sluice_testkit::clock::FixedClock;
use sluice_testkit::engine::MemoryEngine;
use sluice_testkit::fixture;
use sluice_testkit::receiver::MemoryReceiver;
use std::collections::{BTreeMap, BTreeSet};

/// What each node gives, bytes of JSON.
const RESULT_BYTES: usize = 500;
/// The indexes with their partition keys.
const PARTITIONS: [(&str, &str); 7] = [
    (keys::BY_TENANT, keys::TENANT_KEY),
    (keys::BY_DEFINITION, keys::DEFINITION_KEY),
    (keys::BY_STATUS, keys::STATUS_KEY),
    (keys::OPEN, keys::OPEN_SHARD),
    (keys::DUE, keys::DUE_SHARD),
    (keys::QUEUE, keys::QUEUE_KEY),
    (keys::DISCOVER, keys::DISCOVER_SHARD),
];

/// A kind of run.
struct Workload {
    name: &'static str,
    nodes: Value,
    edges: Value,
    callback: bool,
    /// Whether its tenant may have only so many at once.
    limited: bool,
}

fn workloads() -> [Workload; 4] {
    let lambda = |id: &str| json!({"id": id, "type": "processor", "processor": "word-frequencies"});
    let one = |name, node: Value, limited| Workload {
        name,
        nodes: json!([node]),
        edges: json!([]),
        callback: false,
        limited,
    };
    let edge = |from: &str, to: &str| json!({"from": from, "to": to});
    [
        one("one node", lambda("a"), false),
        one("one node under a limit", lambda("a"), true),
        Workload {
            name: "five nodes and a callback",
            nodes: json!(["a", "b", "c", "d", "e"].map(lambda)),
            edges: json!([
                edge("a", "b"),
                edge("a", "c"),
                edge("a", "d"),
                edge("b", "e"),
                edge("c", "e"),
                edge("d", "e")
            ]),
            callback: true,
            limited: false,
        },
        one("an external node", json!({"id": "a", "type": "external"}), false),
    ]
}

/// One step of a run's life, and what it consumed.
struct Step {
    name: &'static str,
    calls: Vec<String>,
    /// Write units by `table` or index.
    writes: BTreeMap<String, f64>,
    read_units: f64,
    /// Write units by partition, its ids left out.
    partitions: BTreeMap<String, f64>,
}

struct World {
    table: Table,
    engine: MemoryEngine,
    receiver: MemoryReceiver,
    clock: FixedClock,
    before: BTreeMap<(String, String), Item>,
    steps: Vec<Step>,
}

impl World {
    async fn of(workload: &Workload, generation: Generation) -> Self {
        let table = Table::new().await;
        fixture::seed(&table.store, "mine", noon()).await;
        if generation == Generation::Second {
            let state_machine_arn = fixture::second_runner_arn();
            let node = ComputeNode { state_machine_arn, rev: 2, ..fixture::compute_node(noon()) };
            assert!(table.store.save_compute_node(&node).await.expect("saved"));
        }
        let document = serde_json::from_value(json!({"nodes": workload.nodes, "edges": workload.edges}));
        let (owner, definition) = (fixture::caller("mine"), DefinitionRef::Id(fixture::definition_id(7)));
        let document = document.expect("a document");
        add_version(&table.store, &owner, &definition, document, true, noon()).await.expect("added");
        if workload.limited {
            let concurrency = Some(Concurrency { max_concurrent_runs: 10, on_limit: OnLimit::Queue });
            let settings = TenantSettings { concurrency, rev: 1, ..TenantSettings::open(sample::mine()) };
            assert!(table.store.save_tenant(&settings).await.expect("saved"));
        }
        Self {
            table,
            engine: MemoryEngine::default(),
            receiver: MemoryReceiver::default(),
            clock: FixedClock::at(&rfc3339_millis(noon())),
            before: BTreeMap::new(),
            steps: Vec::new(),
        }
    }

    async fn begin(&mut self) {
        self.before = self.table.everything().await;
        self.table.relay.listen();
    }

    async fn end(&mut self, name: &'static str) {
        let exchanges = self.table.relay.heard();
        let after = self.table.everything().await;
        let (mut writes, mut read_units) = (BTreeMap::new(), 0.0);
        for (arm, units, is_write) in exchanges.iter().flat_map(consumed) {
            if is_write {
                *writes.entry(arm).or_default() += units;
            } else {
                read_units += units;
            }
        }
        let partitions = partitions(&writes, &self.before, &after);
        let calls = exchanges.into_iter().map(|exchange| exchange.operation).collect();
        self.steps.push(Step { name, calls, writes, read_units, partitions });
        self.clock.advance(1);
    }

    async fn create(&self, workload: &Workload, run_id: RunId) -> Run {
        let mut command = Command::new(fixture::active(DefinitionRef::Id(fixture::definition_id(7))));
        if workload.callback {
            command.callback = Some(Callback { url: fixture::CALLBACK_URL.to_owned(), context: None });
        }
        let (policy, caller, now) = (fixture::policy(), fixture::caller("mine"), self.clock.now());
        let created =
            create_run(&self.table.store, &self.engine, &policy, &caller, command, fixture::fresh(run_id), now);
        Box::pin(created).await.expect("accepted").run
    }

    /// What one state of the runner writes to the step of a node.
    async fn write_step(&self, run: &Run, node: &NodeId, state: &str, given: &[(&str, AttributeValue)]) {
        let given = [&[(":now", s(rfc3339_millis(self.clock.now()))), (":attempt", n(1))], given].concat();
        assert!(write(&self.table, state, keys::step(&run.tenant_id, run.run_id, node), &given).await, "{state}");
    }

    /// What one state of the runner writes to the head.
    async fn write_head(&self, run: &Run, state: &str, status: RunStatus, given: &[(&str, AttributeValue)]) {
        let now = rfc3339_millis(self.clock.now());
        assert!(write_head(&self.table, run, state, status.as_str(), &now, given).await, "{state}");
    }

    async fn run_node(&mut self, run: &Run, node: &NodeId, kind: &NodeRun, stage: usize) {
        let is_external = *kind == NodeRun::External;
        self.begin().await;
        let given = [
            (":runId", s(run.run_id.to_string())),
            (":tenantId", s("mine")),
            (":nodeId", s(node.as_str())),
            (":nodeType", s(if is_external { "external" } else { "processor" })),
            (":stage", n(stage)),
        ];
        self.write_step(run, node, "RecordStart", &given).await;
        self.end("a node begins").await;
        let result = result();
        if is_external {
            self.begin().await;
            let nodes = [(":nodes", AttributeValue::Ss(vec![node.to_string()]))];
            self.write_head(run, "ShowWaiting", RunStatus::WaitingForInput, &nodes).await;
            self.write_step(run, node, "AwaitAnswer", &[(":token", s("t".repeat(700)))]).await;
            self.end("a node waits").await;
            self.answer(run, node, result).await;
            self.begin().await;
            self.write_step(run, node, "RecordAnswer", &[]).await;
        } else {
            self.begin().await;
            self.write_step(run, node, "RecordResult", &[(":bytes", n(result.len())), (":result", s(result))]).await;
        }
        self.end("a node ends").await;
    }

    async fn answer(&mut self, run: &Run, node: &NodeId, result: String) {
        self.begin().await;
        let (caller, now) = (fixture::caller("mine"), self.clock.now());
        let answered = answer_node(&self.table.store, &self.engine, &caller, run.run_id, node, result, now);
        Box::pin(answered).await.expect("answered");
        self.end("an answer is given").await;
    }

    async fn ask(&mut self, run: &Run, worker: &Worker) {
        self.begin().await;
        let asked = worker.asks(run);
        self.engine.wait_for(&run.execution_arn(), &asked.token);
        let advanced = advance_run(&self.table.store, &self.engine, asked, self.clock.now());
        Box::pin(advanced).await.expect("answered");
        self.end("a worker asks").await;
    }

    /// The nodes of a run of the second generation: whatever its workers are told, and whatever somebody outside has to answer,
    /// one thing after the other.
    async fn run_workers(&mut self, run: &Run, snapshot: &Snapshot) -> String {
        let mut waiting = Worker::all(&self.engine, run);
        for worker in &waiting {
            self.ask(run, worker).await;
        }
        let is_external = |node: &&SnapshotNode| node.run == NodeRun::External;
        for node in snapshot.nodes.iter().filter(is_external) {
            self.answer(run, &node.node_id, result()).await;
        }
        while let Some(at) = waiting.iter().position(|worker| !self.engine.is_waited_for(&worker.token())) {
            let mut worker = waiting.remove(at);
            let told = self.engine.take_outcome(&worker.token()).expect("it was told").expect("something to do");
            if worker.does(&told, &result()).is_some() {
                self.ask(run, &worker).await;
                waiting.push(worker);
            }
        }
        assert!(waiting.is_empty(), "nobody tells them anything: {waiting:?}");
        self.begin().await;
        let concluded = conclude(&self.table.store, &run.tenant_id, run.run_id).await.expect("concluded");
        self.end("its outcome is asked for").await;
        match concluded {
            Conclusion::Results(results) => format!(r#"{{"results":{results}}}"#),
            failure @ Conclusion::Failure { .. } => panic!("{failure:?}"),
        }
    }

    /// The nodes of a run of the first generation, stage by stage, with the runner's own writes.
    async fn run_stages(&mut self, run: &Run, snapshot: &Snapshot) -> String {
        for (stage, nodes) in snapshot.stages.iter().enumerate() {
            self.begin().await;
            self.write_head(run, "PauseCheck", RunStatus::Running, &[(":stage", n(stage))]).await;
            self.end("a stage begins").await;
            for node in nodes {
                let kind = &snapshot.nodes.iter().find(|known| known.node_id == *node).expect("a node").run;
                self.run_node(run, node, kind, stage).await;
            }
        }
        let results: BTreeMap<&str, String> =
            snapshot.leaves.iter().map(|leaf| (leaf.as_str(), "r".repeat(RESULT_BYTES - 2))).collect();
        json!({"results": results}).to_string()
    }

    /// Ends a run by its event and tells of it, as `run-callback` does.
    async fn settle(&mut self, run: &Run, details: &EndDetails) {
        self.begin().await;
        let (store, now) = (&self.table.store, self.clock.now());
        let found = store.load_with(&run.tenant_id, run.run_id, AT_THE_END).await.expect("loaded").expect("a run");
        let outlook = match run.snapshot.has_callback {
            true => Outlook::of(store, &run.tenant_id).await,
            false => Outlook::BLIND,
        };
        let may_begin = |delivery: &Delivery| outlook.lets_through(delivery, now);
        let event = RunEvent::EngineEnded(EngineEnd::Succeeded);
        let settled = settle(store, found, event, details, may_begin, now).await.expect("an answer").expect("it ended");
        assert!(settled.owed.is_empty(), "{:?}", settled.owed);
        self.end("it ends").await;
        for begun in &settled.begun {
            self.tell(&outlook, begun).await;
        }
    }

    async fn tell(&mut self, outlook: &Outlook, begun: &Delivery) {
        let name = if begun.number == 1 { "the first is told" } else { "the second is told" };
        self.begin().await;
        let begun = std::slice::from_ref(begun);
        let told = send(&self.table.store, &self.engine, &self.receiver, &self.clock, outlook, begun, &[]).await;
        let is_told = |told: &Delivered| matches!(told, Delivered::Attempted(after, _) if after.status.has_ended());
        assert!(told.iter().all(|told| told.as_ref().is_ok_and(|(_, told)| is_told(told))), "{told:?}");
        self.end(name).await;
    }

    /// Bytes of a run's items by the first word of their sort keys; of several, the last.
    async fn sizes(&self, run_id: &RunId) -> BTreeMap<String, usize> {
        let own = keys::run_pk(&sample::mine(), *run_id);
        let everything = self.table.everything().await;
        let items = everything.iter().filter(|((pk, _), _)| *pk == own);
        items.map(|((_, sk), item)| (sk.split('#').next().unwrap_or(sk).to_owned(), size(item))).collect()
    }

    /// The whole life of a run.
    async fn live(&mut self, workload: &Workload, run_id: RunId) -> Snapshot {
        self.begin().await;
        let run = self.create(workload, run_id).await;
        self.end("a request creates it").await;
        let snapshot =
            self.table.store.load_snapshot(&run.tenant_id, run_id).await.expect("loaded").expect("a snapshot");
        self.begin().await;
        self.write_head(&run, "Claim", RunStatus::Running, &[(":execution", s(run.execution_arn()))]).await;
        self.end("its execution claims it").await;
        let output = match run.spec.generation() {
            Generation::First => self.run_stages(&run, &snapshot).await,
            Generation::Second => self.run_workers(&run, &snapshot).await,
        };
        let output = Some(output);
        self.settle(&run, &EndDetails { output, ..EndDetails::default() }).await;
        snapshot
    }
}

/// What a call consumed, by table and index, and whether by writing.
fn consumed(exchange: &Exchange) -> Vec<(String, f64, bool)> {
    let is_write = !matches!(exchange.operation.as_str(), "GetItem" | "BatchGetItem" | "Query");
    let found = &exchange.answer["ConsumedCapacity"];
    let all = found.as_array().map_or_else(|| vec![found.clone()], Clone::clone);
    let units = |of: &Value| of["CapacityUnits"].as_f64().unwrap_or_else(|| panic!("no units: {exchange:?}"));
    let mut arms = Vec::new();
    for one in &all {
        arms.push(("table".to_owned(), units(&one["Table"]), is_write));
        let indexes = one["GlobalSecondaryIndexes"].as_object().into_iter().flatten();
        arms.extend(indexes.map(|(name, of)| (name.clone(), units(of), is_write)));
    }
    arms
}

/// What a node gives.
fn result() -> String {
    format!("\"{}\"", "r".repeat(RESULT_BYTES - 2))
}

/// A partition without the ids that tell it from others of its kind.
fn kind_of(partition: &str) -> String {
    let mut words: Vec<&str> = partition.split('#').collect();
    for at in 1..words.len() {
        match words[at - 1] {
            "T" => words[at] = "tenant",
            "RUN" => words[at] = "run",
            "DEF" => words[at] = "definition",
            "OPEN" | "DUE" | "EXPIRE" | "DISCOVER" | "BOARDS" => words[at] = "shard",
            _ => {}
        }
    }
    words.join("#")
}

/// Write units by partition: those of the table by the items that changed, those of an index by where its entries were and are.
fn partitions(
    writes: &BTreeMap<String, f64>,
    before: &BTreeMap<(String, String), Item>,
    after: &BTreeMap<(String, String), Item>,
) -> BTreeMap<String, f64> {
    let all: BTreeSet<&(String, String)> = before.keys().chain(after.keys()).collect();
    let changed: Vec<_> =
        all.into_iter().map(|key| (key, before.get(key), after.get(key))).filter(|(_, old, new)| old != new).collect();
    let mut found = BTreeMap::new();
    let mut add = |arm: &str, partition: &str, units: f64| {
        *found.entry(format!("{arm} {}", kind_of(partition))).or_insert(0.0) += units;
    };
    for (arm, units) in writes {
        let Some((_, key)) = PARTITIONS.iter().find(|(index, _)| index == arm) else {
            // Counters are small: the rest is the run's own.
            let others: Vec<&str> =
                changed.iter().map(|((pk, _), ..)| pk.as_str()).filter(|pk| !pk.contains("#RUN#")).collect();
            others.iter().for_each(|pk| add(arm, pk, 2.0));
            let own = changed.iter().find(|((pk, _), ..)| pk.contains("#RUN#")).expect("the run changed");
            add(arm, &own.0.0, units - 2.0 * others.len() as f64);
            continue;
        };
        let at = |item: Option<&Item>| item.and_then(|item| text(item, key)).map(str::to_owned);
        let moves: BTreeSet<_> = changed.iter().map(|(_, old, new)| (at(*old), at(*new))).collect();
        let moves: Vec<_> = moves.into_iter().filter(|(old, new)| old.is_some() || new.is_some()).collect();
        match moves.as_slice() {
            // What moves is a little larger where it comes to than where it goes from.
            [(Some(old), Some(new))] if old != new => {
                add(arm, old, (units / 2.0).floor());
                add(arm, new, (units / 2.0).ceil());
            }
            [(old, new)] => add(arm, new.as_ref().or(old.as_ref()).expect("one of them"), *units),
            // Workers were owed word, and had it at once: the entry has come and gone.
            [] if arm == keys::QUEUE => add(arm, &keys::boards_shard(0), *units),
            several => panic!("{arm}: {several:?}"),
        }
    }
    found
}

/// Bytes of an item, as DynamoDB counts them: names and values.
fn size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

fn value_size(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(number) => number.len().div_ceil(2) + 1,
        AttributeValue::Bool(_) | AttributeValue::Null(_) => 1,
        AttributeValue::Ss(set) => set.iter().map(String::len).sum(),
        AttributeValue::L(list) => 3 + list.iter().map(|one| 1 + value_size(one)).sum::<usize>(),
        AttributeValue::M(map) => {
            3 + map.len() + map.iter().map(|(name, value)| name.len() + value_size(value)).sum::<usize>()
        }
        AttributeValue::B(_) | AttributeValue::Bs(_) | AttributeValue::Ns(_) => panic!("no item has {value:?}"),
    }
}

/// A run's id that no meter counts: about every thirtieth is counted.
fn uncounted(from: u32) -> RunId {
    let limit = fixture::policy().tenant_limits.starts_per_minute;
    let mut ids = (from..).map(sample::run_id);
    ids.find(|id| Chance::from(*id).weight(limit).is_none()).expect("most are not")
}

/// What each kind of run consumes under a generation of the runner.
async fn counted(generation: Generation) -> String {
    let mut all = serde_json::Map::new();
    for workload in workloads() {
        let mut world = World::of(&workload, generation).await;
        // The first of a definition makes an instance, and its process learns what there is.
        world.create(&workload, uncounted(1_000)).await;
        let snapshot = Box::pin(world.live(&workload, uncounted(2_000))).await;
        assert_eq!(snapshot.spec.generation(), generation);
        let mut partitions: BTreeMap<&str, f64> = BTreeMap::new();
        for (name, units) in world.steps.iter().flat_map(|step| &step.partitions) {
            *partitions.entry(name).or_default() += units;
        }
        let steps: Vec<Value> = world
            .steps
            .iter()
            .map(|step| json!({"step": step.name, "calls": step.calls, "writes": step.writes, "readUnits": step.read_units}))
            .collect();
        let kinds: Vec<Value> =
            snapshot.nodes.iter().map(|node| serde_json::to_value(&node.run).expect("JSON")["kind"].clone()).collect();
        let mut found = json!({
            "nodes": kinds,
            "stages": snapshot.stages.len(),
            "callback": workload.callback,
            "steps": steps,
            "partitions": partitions,
            "sizes": world.sizes(&snapshot.run_id).await,
        });
        if generation == Generation::Second {
            found["workers"] = json!(snapshot.schedule().expect("a schedule").workers());
        }
        all.insert(workload.name.to_owned(), found);
    }
    serde_json::to_string_pretty(&Value::Object(all)).expect("JSON")
}

#[tokio::test]
async fn what_a_run_consumes_is_what_its_costs_are_made_of() {
    let text = counted(Generation::First).await;
    insta::assert_snapshot!("units", text);
}

#[tokio::test]
async fn what_a_run_of_the_second_generation_consumes_is_what_its_costs_are_made_of() {
    let text = counted(Generation::Second).await;
    insta::assert_snapshot!("units-2", text);
}
