//! Nothing grows with the table: calls, items and bytes of each operation, with few runs and with many. What grows with its
//! answer grows no faster than that.
//!
//! `cargo test` counts over small tables. `SLUICE_SCALE=100000 cargo test -p sluice-aws --test adapters scale -- --nocapture`
//! does the same over tables of up to so many runs, a tenth of them open, and shows every count with the time it took.

use crate::support::sample::{self, mine, noon};
use crate::support::table::{Table, theirs};
use aws_sdk_dynamodb::types::{PutRequest, WriteRequest};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sluice_aws::dynamo::item::{Item, from_request, from_run, from_snapshot};
use sluice_core::concurrency::{Concurrency, OnLimit, QueueRef, SlotScope};
use sluice_core::definition::{Definition, Version, VersionDocument};
use sluice_core::flow::create_run::{Command, create_run};
use sluice_core::flow::dispatch_runs::dispatch_runs;
use sluice_core::flow::reconcile_runs::{Bounds, SweepSummary, reconcile_runs};
use sluice_core::flow::retain_run::{Purged, purge_expired};
use sluice_core::id::{DefinitionRef, TenantId};
use sluice_core::lifecycle::{EngineEnd, RunEvent, RunStatus, StopIntent};
use sluice_core::operator::TenantSettings;
use sluice_core::ports::{LoadRun, ManageDefinitions, ManageOperator, ReadRuns, RunFilter, Sweep};
use sluice_core::run::{Run, RunState, Times};
use sluice_testkit::clock::FixedClock;
use sluice_testkit::engine::MemoryEngine;
use sluice_testkit::fault::lock;
use sluice_testkit::fixture;
use sluice_testkit::store::MemoryStore;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Runs on a page of a list.
const PAGE: u32 = 5;
/// Items that a filtered list looks at for one page, at most.
const FILTERED: u64 = 800;
/// Shards of the indexes, for each of which a sweep asks for what is open, due and expired.
const SHARDS: u32 = 16;
/// Open runs on a page.
const OPEN_PAGE: u32 = 200;

/// How many runs are in the largest table.
#[expect(clippy::disallowed_methods, reason = "a test has no config module, and this changes only how much it counts")]
fn largest() -> Option<u32> {
    std::env::var("SLUICE_SCALE").ok().and_then(|text| text.parse().ok())
}

/// Powers of ten, up to `most`.
fn powers(first: u32, most: u32) -> Vec<u32> {
    std::iter::successors(Some(first), |power| power.checked_mul(10)).take_while(|power| *power <= most).collect()
}

/// What an operation took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    calls: BTreeMap<String, u32>,
    /// Items that the table looked at, or wrote.
    items: u64,
    bytes: usize,
}

struct Measured<T> {
    counts: Counts,
    took: Duration,
    answer: T,
}

async fn measure<T>(table: &Table, work: impl Future<Output = T>) -> Measured<T> {
    table.relay.listen();
    let begun = Instant::now();
    let answer = work.await;
    let took = begun.elapsed();
    let mut counts = Counts::default();
    for exchange in table.relay.heard() {
        let length = |value: &Value| value.as_array().map_or(0, Vec::len) as u64;
        counts.items += match exchange.operation.as_str() {
            "Query" => exchange.answer["ScannedCount"].as_u64().expect("a count"),
            "TransactWriteItems" => length(&exchange.request["TransactItems"]),
            "BatchGetItem" => exchange.request["RequestItems"]
                .as_object()
                .into_iter()
                .flat_map(|tables| tables.values())
                .map(|of| length(&of["Keys"]))
                .sum(),
            "BatchWriteItem" => exchange.request["RequestItems"]
                .as_object()
                .into_iter()
                .flat_map(|tables| tables.values())
                .map(length)
                .sum(),
            _ => 1,
        };
        counts.bytes += exchange.bytes;
        *counts.calls.entry(exchange.operation).or_default() += 1;
    }
    Measured { counts, took, answer }
}

/// Puts items in, many at a time.
async fn seed(table: &Table, items: impl Iterator<Item = Item>) {
    let mut batch = Vec::new();
    let mut items = items.peekable();
    while let Some(item) = items.next() {
        let put = PutRequest::builder().set_item(Some(theirs(item))).build().expect("a put");
        batch.push(WriteRequest::builder().put_request(put).build());
        if batch.len() == 25 || items.peek().is_none() {
            let writes = std::mem::take(&mut batch);
            let call = table.client.batch_write_item().request_items(&table.settings.table, writes);
            let left = call.send().await.expect("written").unprocessed_items.unwrap_or_default();
            assert!(left.is_empty(), "{left:?}");
        }
    }
}

/// Everything that is written with a run.
fn items_of(run: &Run) -> [Item; 3] {
    let new = sample::new_run(run, None, None);
    let request = new.request_text.expect("a request");
    [from_run(run).expect("an item"), from_snapshot(run, &new.snapshot_text), from_request(run, &request)]
}

fn ended(number: u32, created_at: Timestamp, due_at: Timestamp) -> Run {
    let run = Run { state: sample::running(), ..sample::run(&mine(), number, created_at) };
    let ended = run.after(RunEvent::EngineEnded(EngineEnd::Succeeded), created_at).expect("a change");
    sample::due(&ended, Some(due_at))
}

fn now() -> Timestamp {
    noon() + SignedDuration::from_mins(5)
}

/// The same few runs in every table: those that are asked for, the newest.
fn subjects() -> impl Iterator<Item = Run> {
    (0..PAGE + 1).map(|number| {
        let created_at = noon() + SignedDuration::from_secs(i64::from(number));
        ended(number, created_at, now() + SignedDuration::from_hours(24))
    })
}

/// Older ones, which are kept for days.
fn crowd(count: u32) -> impl Iterator<Item = Run> {
    (0..count).map(|number| {
        let created_at = noon() - SignedDuration::from_secs(86_400 + i64::from(number));
        ended(1_000_000 + number, created_at, now() + SignedDuration::from_hours(24))
    })
}

/// What open runs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Well,
    /// Their ends were lost.
    Ended,
    Stopping,
    /// Their time is up.
    Late,
}

impl Kind {
    fn run(self, engine: &MemoryEngine, number: u32) -> Run {
        let created_at = noon() - SignedDuration::from_millis(i64::from(number));
        let mut run = sample::run(&mine(), 10_000_000 + number, created_at);
        run.updated_at = created_at;
        let times = Times::started(created_at);
        run.state = match self {
            Self::Well | Self::Ended => RunState::running(times),
            Self::Stopping => sample::stopping(StopIntent::CanceledByCaller),
            Self::Late => {
                run.spec.max_run_duration_seconds = Some(60);
                RunState::running(times)
            }
        };
        engine.start_foreign(&run.spec.state_machine_arn, run.run_id, &run.tenant_id);
        if self == Self::Ended {
            engine.end(&run.execution_arn(), EngineEnd::Succeeded, Some("{}"), created_at).expect("it ran");
        }
        run
    }
}

/// Open runs of one kind beside a crowd, and the engine that executes them.
async fn table_of(runs: u32, open: u32, kind: Kind) -> (Table, MemoryEngine) {
    let (table, engine) = (Table::new().await, MemoryEngine::default());
    let open = (0..open).map(|number| kind.run(&engine, number));
    seed(&table, subjects().chain(crowd(runs)).chain(open).flat_map(|run| items_of(&run))).await;
    (table, engine)
}

async fn sweep(table: &Table, engine: &MemoryEngine) -> SweepSummary {
    let bounds = Bounds::of_a_minute(now() + SignedDuration::from_hours(1));
    Box::pin(reconcile_runs(&table.store, engine, &clock(), bounds)).await
}

fn clock() -> FixedClock {
    FixedClock::at(&sluice_core::time::rfc3339_millis(now()))
}

/// A tenant of which one more run may be executing, and so many wait.
async fn seed_queue(table: &Table, waiting: u32) -> QueueRef {
    let tenant: TenantId = "queues".parse().expect("a tenant");
    let concurrency = Some(Concurrency { max_concurrent_runs: 1, on_limit: OnLimit::Queue });
    let settings = TenantSettings { concurrency, rev: 1, ..TenantSettings::open(tenant.clone()) };
    assert!(table.store.save_tenant(&settings).await.expect("saved"));
    assert!(table.store.save_compute_node(&fixture::compute_node(noon())).await.expect("saved"));
    let runs = (0..waiting).map(|number| {
        let created_at = noon() + SignedDuration::from_millis(i64::from(number));
        let run = sample::run(&tenant, 20_000_000 + number, created_at);
        Run { state: RunState::Queued { queue: SlotScope::Tenant }, ..run }
    });
    seed(table, runs.flat_map(|run| items_of(&run))).await;
    QueueRef { tenant_id: tenant, definition_id: None }
}

/// Three runs of one shard whose time is over.
async fn seed_expired(table: &Table) {
    let expired = |number: u32| ended(30_000_000 + 16 * number, noon(), noon() + SignedDuration::from_secs(1));
    seed(table, (0..3).map(expired).flat_map(|run| items_of(&run))).await;
}

async fn purge(table: &Table) -> u32 {
    let mut purged = 0;
    let shard = sluice_aws::dynamo::keys::shard(sample::run_id(30_000_000));
    let expired = table.store.expired_runs(shard, now(), 200, None).await.expect("a page");
    for run in expired.items {
        let done = Box::pin(purge_expired(&table.store, &run, now())).await.expect("purged");
        purged += u32::from(done == Purged::Deleted);
    }
    purged
}

fn filters() -> [(&'static str, RunFilter); 4] {
    let every = RunFilter::default;
    [
        ("list", every()),
        ("list of a status", RunFilter { statuses: BTreeSet::from([RunStatus::Running]), ..every() }),
        ("list of a definition", RunFilter { definition_id: Some(fixture::definition_id(7)), ..every() }),
        ("list by a label", RunFilter { label: Some(("nobody".to_owned(), "has it".to_owned())), ..every() }),
    ]
}

/// Every operation over one table, with what it took.
async fn operations(runs: u32, open: u32) -> Vec<(&'static str, Counts, Duration)> {
    let (table, engine) = table_of(runs, open, Kind::Well).await;
    let mut done = Vec::new();
    let subject = sample::run_id(0);
    let got = measure(&table, table.store.load_run(&mine(), subject)).await;
    assert!(got.answer.expect("loaded").is_some());
    done.push(("get", got.counts, got.took));
    for (name, filter) in filters() {
        let listed = measure(&table, table.store.list_runs(&mine(), &filter, PAGE, None)).await;
        let expected =
            if name == "list by a label" { 0 } else { PAGE.min(if filter.statuses.is_empty() { PAGE } else { open }) };
        assert_eq!(listed.answer.expect("a page").items.len(), expected as usize, "{name}");
        done.push((name, listed.counts, listed.took));
    }
    let swept = measure(&table, sweep(&table, &engine)).await;
    assert_eq!((swept.answer.open, swept.answer.faults.as_slice()), (open, [].as_slice()));
    done.push(("sweep", swept.counts, swept.took));
    let queue = seed_queue(&table, open.max(3)).await;
    let dispatched = measure(&table, Box::pin(dispatch_runs(&table.store, &engine, &queue, now()))).await;
    assert_eq!(dispatched.answer.expect("an answer").started, 1);
    done.push(("dispatch", dispatched.counts, dispatched.took));
    seed_expired(&table).await;
    let purged = measure(&table, purge(&table)).await;
    assert_eq!(purged.answer, 3);
    done.push(("purge three", purged.counts, purged.took));
    done
}

fn show(line: &str) {
    if largest().is_some() {
        eprintln!("{line}");
    }
}

#[tokio::test]
async fn no_operation_grows_with_the_table() {
    let runs = powers(10, largest().unwrap_or(1_000)).into_iter().filter(|runs| largest().is_none() || *runs != 100);
    show("| runs | open | operation | calls | items | bytes | ms |\n|---|---|---|---|---|---|---|");
    let open = 10;
    let mut first: BTreeMap<&str, Counts> = BTreeMap::new();
    for runs in runs {
        for (name, counts, took) in operations(runs, open).await {
            let calls: u32 = counts.calls.values().sum();
            show(&format!(
                "| {runs} | {open} | {name} | {calls} | {} | {} | {} |",
                counts.items,
                counts.bytes,
                took.as_millis()
            ));
            if name == "list by a label" {
                assert!(counts.items <= FILTERED && calls <= 4, "{name} over {runs} runs: {counts:?}");
                continue;
            }
            let least = first.entry(name).or_insert_with(|| counts.clone());
            assert_eq!(&counts, least, "{name} over {runs} runs");
        }
    }
}

#[tokio::test]
async fn a_sweep_and_a_dispatch_grow_no_faster_than_what_is_open() {
    let open = powers(1, largest().map_or(100, |runs| runs / 10).max(1));
    show("| open | operation | calls | items | bytes | ms |\n|---|---|---|---|---|---|");
    let mut one: BTreeMap<&str, Counts> = BTreeMap::new();
    for open in open {
        for (name, counts, took) in operations(10, open).await {
            let calls: u32 = counts.calls.values().sum();
            show(&format!(
                "| {open} | {name} | {calls} | {} | {} | {} |",
                counts.items,
                counts.bytes,
                took.as_millis()
            ));
            let least = one.entry(name).or_insert_with(|| counts.clone()).clone();
            let of_one: u32 = least.calls.values().sum();
            let pages = open / OPEN_PAGE + SHARDS;
            match name {
                // Five questions a shard, a page more for every full one, and a note for a tenant that has many.
                "sweep" => {
                    assert!(calls <= 4 * SHARDS + pages + 1, "{name} over {open} open runs: {counts:?}");
                    assert!(counts.items <= least.items + u64::from(open), "{name} over {open} open runs: {counts:?}");
                }
                // As many are looked up as may be moved on.
                "dispatch" => {
                    assert_eq!(calls, of_one, "{name} of {open}: {counts:?}");
                    assert!(counts.items <= least.items + 25, "{name} of {open}: {counts:?}");
                }
                "list of a status" => assert!(counts.items <= u64::from(PAGE) && calls <= of_one),
                "list by a label" => assert!(counts.items <= FILTERED),
                _ => assert_eq!((calls, counts.items), (of_one, least.items), "{name} beside {open} open runs"),
            }
        }
    }
}

/// The calls of the engine by name, from now on.
fn count_calls(engine: &MemoryEngine) -> Arc<Mutex<BTreeMap<&'static str, u32>>> {
    let counts = Arc::new(Mutex::new(BTreeMap::new()));
    let counted = Arc::clone(&counts);
    engine.faults.set(move |operation| {
        *lock(&counted).entry(operation).or_default() += 1;
        None
    });
    counts
}

#[tokio::test]
async fn what_a_sweep_asks_of_the_engine_has_bounds_whatever_is_open() {
    let bounds = Bounds::of_a_minute(now());
    let open = powers(1, largest().map_or(100, |runs| runs / 10).max(1));
    show(
        "| open | they are | DynamoDB | ListExecutions | DescribeExecution | StopExecution | ms |\n|---|---|---|---|---|---|---|",
    );
    for (kind, open) in
        open.iter().flat_map(|open| [Kind::Well, Kind::Ended, Kind::Stopping, Kind::Late].map(|kind| (kind, *open)))
    {
        let (table, engine) = table_of(0, open, kind).await;
        let counted = count_calls(&engine);
        let swept = measure(&table, sweep(&table, &engine)).await;
        assert_eq!((swept.answer.open, swept.answer.faults.as_slice()), (open, [].as_slice()), "{kind:?}");
        let counted = lock(&counted).clone();
        let of = |name| counted.get(name).copied().unwrap_or(0);
        let (lists, describes, stops) =
            (of("list running executions"), of("describe the execution"), of("stop the execution"));
        let calls: u32 = swept.counts.calls.values().sum();
        show(&format!(
            "| {open} | {kind:?} | {calls} | {lists} | {describes} | {stops} | {} |",
            swept.took.as_millis()
        ));
        assert!(lists <= open.div_ceil(1_000).min(bounds.lists), "{kind:?}: {lists} lists over {open}");
        assert_eq!(
            stops,
            if matches!(kind, Kind::Stopping | Kind::Late) { open.min(bounds.stops) } else { 0 },
            "{kind:?}"
        );
        let described = if matches!(kind, Kind::Ended | Kind::Stopping) { open.min(bounds.describes) } else { 0 };
        assert_eq!(describes, described, "{kind:?} over {open}");
        // Each of those that are acted on takes a few calls of its own.
        let acted_on = describes + stops;
        assert!(calls <= 4 * SHARDS + open / OPEN_PAGE + SHARDS + 1 + 8 * acted_on, "{kind:?} over {open}: {calls}");
    }
}

/// So many nodes: all but one give a value, and that one takes them all.
fn document(nodes: u32) -> Value {
    let id = |number: u32| format!("node-{number}");
    let mut all: Vec<Value> = (1..nodes).map(|number| json!({"id": id(number), "type": "data-source"})).collect();
    all.push(json!({"id": id(0), "type": "processor", "processor": "word-frequencies"}));
    let edges: Vec<Value> = (1..nodes).map(|number| json!({"from": id(number), "to": id(0)})).collect();
    json!({"nodes": all, "edges": edges})
}

/// Puts a version in as it would be stored, with more nodes than the history of a run would have room for at worst.
async fn seed_version(store: &MemoryStore, nodes: u32) {
    let seeded = fixture::seed(store, "mine", noon()).await;
    let document: VersionDocument = serde_json::from_value(document(nodes)).expect("a document");
    let mut definition =
        Definition { active_version: Some(2), latest_version: 2, rev: seeded.rev + 1, ..seeded.clone() };
    definition.note_processors(2, &document);
    let (created_at, created_by) = (noon(), "mine/someone".to_owned());
    let version = Version { definition_id: seeded.id, number: 2, document, created_at, created_by };
    assert!(store.change_definition(&definition, Some(&version)).await.expect("an answer"));
}

/// A plan has no calls to count: its time is shown, with the whole flow around it over ports in memory.
#[tokio::test]
async fn a_run_of_many_nodes_is_planned() {
    show("| nodes | µs to create a run in memory |\n|---|---|");
    for nodes in [10, 100, 500] {
        let (store, engine) = (MemoryStore::default(), MemoryEngine::default());
        seed_version(&store, nodes).await;
        let (caller, policy) = (fixture::caller("mine"), fixture::policy());
        let definition = DefinitionRef::Id(fixture::definition_id(7));
        let mut took = Vec::new();
        for number in 0..10 {
            let command = Command::new(fixture::active(definition.clone()));
            let begun = Instant::now();
            let created =
                create_run(&store, &engine, &policy, &caller, command, fixture::fresh(fixture::run_id(number)), noon());
            Box::pin(created).await.expect("accepted");
            took.push(begun.elapsed().as_micros());
        }
        took.sort_unstable();
        show(&format!("| {nodes} | {} |", took[took.len() / 2]));
    }
}
