//! What runs cost on AWS: counts times prices.
//!
//! The counts of the table come from the adapters' own transactions ([`units`]), the transitions from the runner's states
//! ([`transitions`]), the prices from [`prices`]. What no test can count is assumed here, and said on the page.

pub mod prices;
pub mod transitions;
pub mod units;

use prices::Price;
use transitions::{Runner, Workers};
use units::Workload;

use crate::text;

/// What a call to AWS takes, and what a receiver takes to answer, seconds. Assumed.
const CALL_SECONDS: f64 = 0.010;
const RECEIVER_SECONDS: f64 = 0.100;
/// What a function works besides, an invocation, seconds. Assumed.
const WORK_SECONDS: f64 = 0.005;
/// Memory of a function, GB: `MemorySize` in the template.
const MEMORY_GB: f64 = 0.5;
/// What an invocation logs, with what Lambda says of it and the metrics in it, KB; and a request to the API. Assumed.
const INVOCATION_LOG_KB: f64 = 2.0;
const REQUEST_LOG_KB: f64 = 0.4;
/// Days of a month here.
const DAYS: f64 = 30.0;
/// Long polls that Lambda keeps open at a queue that has nothing, and how long each lasts, seconds.
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html>
const POLLERS: f64 = 5.0;
const POLL_SECONDS: f64 = 20.0;
/// Write units a second that one partition takes.
/// Source: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html>
pub const PARTITION_WRITES: f64 = 1_000.0;
/// Into how many partitions the indexes of what is open and what is due are divided.
pub const SHARDS: f64 = 16.0;
/// Runs of which about one is counted on its tenant's meter, at the default limit.
const COUNTED_OF: f64 = 30.0;

/// The indexes that runs are in.
const INDEXES: [&str; 6] = ["byTenant", "byDefinition", "byStatus", "open", "due", "queue"];

/// What a million runs of a kind cost, by component, USD.
pub fn of_a_million(workload: &Workload) -> Vec<(String, f64)> {
    let million = 1_000_000.0;
    let transitions = transitions_of(workload) as f64;
    let (requests, invocations) = (requests(workload), invocations(workload));
    let mut parts = vec![
        ("API Gateway: requests".to_owned(), prices::HTTP_REQUEST.of(requests * million)),
        ("Lambda: invocations".to_owned(), prices::INVOCATION.of(invocations * million)),
        ("Lambda: GB-seconds".to_owned(), prices::GB_SECOND.of(seconds(workload) * MEMORY_GB * million)),
        ("Step Functions: transitions".to_owned(), prices::TRANSITION.of(transitions * million)),
        ("DynamoDB: writes of the table".to_owned(), prices::WRITE_UNIT.of(workload.writes("table") * million)),
    ];
    for index in INDEXES {
        parts.push((format!("DynamoDB: writes of `{index}`"), prices::WRITE_UNIT.of(workload.writes(index) * million)));
    }
    let logs = invocations * INVOCATION_LOG_KB + requests * REQUEST_LOG_KB;
    parts.push(("DynamoDB: reads".to_owned(), prices::READ_UNIT.of(workload.read_units() * million)));
    parts.push(("EventBridge: its end is told on the bus".to_owned(), prices::EVENT.of(million)));
    parts.push(("SQS: nothing of it is late".to_owned(), prices::MESSAGE.of(0.0)));
    parts.push(("CloudWatch: logs, metrics in them".to_owned(), prices::LOG_KILOBYTE.of(logs * million)));
    parts
}

/// State transitions of a run.
pub fn transitions_of(workload: &Workload) -> u64 {
    match workload.workers {
        None => Runner::new().of_nodes(&workload.nodes, workload.stages),
        Some(workers) => Workers::new().of_nodes(&workload.nodes, workers),
    }
}

/// Requests: one that creates it, and one that answers.
fn requests(workload: &Workload) -> f64 {
    1.0 + workload.steps_of("an answer is given").count() as f64
}

/// Questions of its workers.
fn questions(workload: &Workload) -> f64 {
    workload.steps_of("a worker asks").count() as f64
}

/// Invocations of advance-run: one a question of a worker, and one that says how the run ends.
pub fn advances(workload: &Workload) -> f64 {
    questions(workload) + workload.steps_of("its outcome is asked for").count() as f64
}

/// How long advance-run works for it, seconds, were every worker told by it.
pub fn advance_seconds(workload: &Workload) -> f64 {
    let steps = ["a worker asks", "its outcome is asked for"].into_iter().flat_map(|name| workload.steps_of(name));
    let table_calls: usize = steps.map(|step| step.calls.len()).sum();
    (table_calls as f64 + questions(workload)) * CALL_SECONDS + advances(workload) * WORK_SECONDS
}

/// Invocations: one a request, one by its end, and those by the runner.
fn invocations(workload: &Workload) -> f64 {
    requests(workload) + 1.0 + advances(workload)
}

/// How long functions run for it.
fn seconds(workload: &Workload) -> f64 {
    let of_functions = workload.steps.iter().filter(|step| !is_of_the_runner(&step.name));
    let table_calls: usize = of_functions.map(|step| step.calls.len()).sum();
    let tasks = match workload.workers {
        // Each answer from outside is handed to a task.
        None => requests(workload) - 1.0,
        // Each question is answered once, by whoever has something for its worker.
        Some(_) => questions(workload),
    };
    // The start, the answers to tasks, the event.
    let other_calls = 2.0 + tasks;
    let calls = (table_calls as f64 + other_calls) * CALL_SECONDS;
    let receiver = if workload.callback { RECEIVER_SECONDS } else { 0.0 };
    calls + receiver + invocations(workload) * WORK_SECONDS
}

/// Whether the runner writes it by itself.
fn is_of_the_runner(step: &str) -> bool {
    ["its execution claims it", "a stage begins", "a node begins", "a node waits", "a node ends"].contains(&step)
}

/// What a month costs in which nobody asks, by component: how many, and USD.
pub fn of_a_month() -> Vec<(String, f64, f64)> {
    let sweeps = DAYS * 24.0 * 60.0;
    // Each asks every shard for what is open, due and expired: half a unit, because an index is read eventually consistent.
    let questions = 3.0 * SHARDS;
    let polls = idle_polls();
    let alarms = text("infra/template.yaml").matches("Type: AWS::CloudWatch::Alarm").count() as f64;
    let priced = |what: &str, count: f64, price: Price| (what.to_owned(), count, price.of(count));
    vec![
        priced("sweeps by the scheduler, free of charge up to 14 million", sweeps, prices::SCHEDULED),
        priced("invocations of reconcile-runs", sweeps, prices::INVOCATION),
        priced(
            "GB-seconds of reconcile-runs",
            sweeps * (questions * CALL_SECONDS + WORK_SECONDS) * MEMORY_GB,
            prices::GB_SECOND,
        ),
        priced("read units of its questions", sweeps * questions * 0.5, prices::READ_UNIT),
        priced("long polls of the queue, free of charge up to a million", polls, prices::MESSAGE),
        priced("KB of logs", sweeps * INVOCATION_LOG_KB, prices::LOG_KILOBYTE),
        ("alarms".to_owned(), alarms, alarms * prices::ALARM_MONTH),
        ("dashboards".to_owned(), 1.0, prices::DASHBOARD_MONTH),
    ]
}

/// Requests of a month to a queue in which there is nothing.
pub fn idle_polls() -> f64 {
    POLLERS * DAYS * 86_400.0 / POLL_SECONDS
}

/// A partition that many runs of one tenant write to.
#[derive(Clone, Debug)]
pub struct HotKey {
    pub partition: String,
    /// Write units of a run.
    pub units: f64,
    /// Runs a second of one tenant until it takes no more.
    pub runs_per_second: f64,
}

/// The partitions of a kind of run, the hottest first. What only the run itself writes to is none.
pub fn hot_keys(workload: &Workload) -> Vec<HotKey> {
    let shared = workload.partitions.iter().filter(|(partition, _)| !partition.starts_with("table T#tenant#RUN#"));
    let mut keys: Vec<HotKey> = shared
        .map(|(partition, units)| {
            let partitions = if partition.ends_with("#shard") { SHARDS } else { 1.0 };
            let runs_per_second = (PARTITION_WRITES * partitions / units).floor();
            HotKey { partition: partition.clone(), units: *units, runs_per_second }
        })
        .collect();
    keys.sort_by(|one, other| one.runs_per_second.total_cmp(&other.runs_per_second));
    keys
}

/// What a decision saves of a million runs of a kind, USD; less than nothing where it costs.
pub fn savings(workload: &Workload) -> Vec<(&'static str, f64)> {
    let million = 1_000_000.0;
    let writes = |units: f64| prices::WRITE_UNIT.of(units * million);
    let per_index = workload.writes("byTenant");
    let sparse: f64 = ["open", "due", "queue"].map(|index| workload.writes(index)).iter().sum();
    let polls = DAYS * 86_400.0 * POLLERS;
    let told = workload.steps.iter().filter(|step| step.name.ends_with(" is told")).count() as f64;
    let other = prices::INVOCATION.of(million) + prices::EVENT.of(million) + prices::MESSAGE.of(3.0 * million);
    let checks = workload.steps.first().map_or(0.0, |created| created.read_units);
    vec![
        ("the snapshot is apart from the head, which every change writes to the table and to each list", {
            let apart: u64 = ["SNAPSHOT", "REQUEST"].iter().filter_map(|kind| workload.sizes.get(*kind)).sum();
            let kilobytes = (apart as f64 / 1024.0).ceil();
            let changes = workload.steps.iter().filter(|step| step.writes.contains_key("byTenant")).count() as f64;
            // Each change of the head would write it to the table and to three lists, and to that of open runs.
            writes((changes - 1.0) * kilobytes * 5.0 + 4.0 * kilobytes)
        }),
        ("`open`, `due` and `queue` hold a run only while it is", writes(3.0 * per_index - sparse)),
        ("what may change is read, not checked in the transaction (two units a check)", {
            writes(2.0 * checks) - prices::READ_UNIT.of(checks * million)
        }),
        ("one start of about thirty is counted on its tenant's meter", writes(1.0 - 1.0 / COUNTED_OF)),
        ("whoever records an end tells of it: no event, no message, no invocation for that", told * other),
        ("metrics are in the log: no `PutMetricData`", prices::PUT_METRIC.of(invocations(workload) * million)),
        ("one runner for all definitions: its states that only decide (a machine for each would have none)", {
            let deciding = match workload.workers {
                None => Runner::new().deciding(&workload.nodes, workload.stages),
                Some(workers) => Workers::new().deciding(&workload.nodes, workers),
            };
            -prices::TRANSITION.of(deciding as f64 * million)
        }),
        ("polls of a month wait for 20 seconds, not one (whatever the number of runs)", {
            prices::MESSAGE.of(polls - idle_polls())
        }),
    ]
}

/// The README's sentence about transitions.
///
/// # Panics
/// When the kinds that it names together differ.
pub fn said_of_transitions() -> String {
    let workers = Workers::new();
    let [function, machine, container, ..] = transitions::KINDS.map(|kind| workers.way(kind).len());
    assert!(function == machine && function == container, "the sentence names these three together");
    format!(
        "{} a run, {} a worker, of which a run has as many as its nodes can be at work at once; {function} a node that is done; a \
         retry adds {}.",
        workers.of_a_run(),
        workers.of_a_worker(),
        workers.of_a_retry("lambda"),
    )
}

/// The same of the runner's first generation.
///
/// # Panics
/// When the kinds that it names together differ.
pub fn said_of_first_transitions() -> String {
    let runner = Runner::new();
    let of = |kind| runner.way(kind).len();
    let [function, machine, container, external, value] = transitions::KINDS.map(of);
    assert!(function == machine && function == external, "the sentence names these three together");
    format!(
        "{} a run, {} a stage; {function} a node that is a Lambda function, a state machine or somebody outside, \
         {container} a container task, {value} a data source. A retry adds {} ({} of somebody outside), usage in a result {}.",
        runner.of_a_run(),
        runner.of_a_stage(),
        runner.of_a_retry("lambda"),
        runner.of_a_retry("external"),
        runner.of_usage("lambda"),
    )
}
