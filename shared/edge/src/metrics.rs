//! Metrics: lines in CloudWatch's embedded metric format on standard output, beside the log. No call is made:
//! CloudWatch Logs makes metrics of them. Lambda passes lines that are JSON on as they are, also with the log format
//! JSON. Source:
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
//!
//! **Invariants:** the value of a dimension is a word of this code (`&'static str`), never an id or anything a caller
//! wrote; an id is at most a plain property of the line. [`ALL`] is every metric there is: alarms, the dashboard and
//! the pages name only these.
//!
//! A new metric is one entry of the table below, a [`Line`] where it happens, and a word in the list of
//! `infra/README.md`.
//!
//! Decision (2026-11-22): metrics are formatted by this small module: `metrics_cloudwatch_embedded` 0.10 writes one
//! set of dimensions per line, so no metric could be by deployment and by function at once.

use jiff::Timestamp;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use sluice_core::delivery::{Delivery, DeliveryStatus};
use sluice_core::flow::create_run::Accepted;
use sluice_core::flow::dispatch_runs::Dispatched;
use sluice_core::flow::reconcile_runs::SweepSummary;
use sluice_core::flow::record_usage::UsageRecorded;
use sluice_core::id::{RunId, TenantId};
use sluice_core::lifecycle::RunStatus;
use sluice_core::run::Run;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::OnceLock;

pub const NAMESPACE: &str = "Sluice";
/// The stack's name: what tells two deployments in one account apart.
pub const DEPLOYMENT: &str = "Deployment";
/// The function, such as `create-run`.
pub const FUNCTION: &str = "Function";

/// As CloudWatch spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    Count,
    Milliseconds,
}

impl Unit {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Milliseconds => "Milliseconds",
        }
    }
}

/// One metric. It is there by deployment, by deployment and function, and by deployment and each dimension in `by`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Metric {
    pub name: &'static str,
    pub unit: Unit,
    pub by: &'static [&'static str],
}

impl Metric {
    /// The dimensions it is reported with.
    pub fn dimension_sets(&self) -> Vec<Vec<&'static str>> {
        dimension_sets(self.by)
    }
}

/// Writes the table once, as constants and as [`ALL`].
macro_rules! metrics {
    ($($(#[$doc:meta])* $id:ident = $name:literal $unit:ident by [$($dimension:literal),*];)+) => {
        $($(#[$doc])* pub static $id: Metric = Metric { name: $name, unit: Unit::$unit, by: &[$($dimension),*] };)+
        /// Every metric.
        pub static ALL: &[&Metric] = &[$(&$id),+];
    };
}

metrics! {
    /// Runs recorded for the first time.
    RUNS_ACCEPTED = "RunsAccepted" Count by [];
    /// Requests that were answered with the first run of their idempotency key.
    RUNS_REPLAYED = "RunsReplayed" Count by [];
    /// Requests for a run that were refused. `Reason` is the problem's code.
    RUNS_REFUSED = "RunsRefused" Count by ["Reason"];
    /// Executions started. `Source` is `request`, `event` (of a queued run that was given a slot) or `reconciler`.
    RUNS_STARTED = "RunsStarted" Count by ["Source"];
    /// Runs recorded whose start was left to the reconciler.
    STARTS_DELAYED = "StartsDelayed" Count by [];
    /// Runs that ended. `Source` is who found out: `event`, `reconciler` or `request`.
    RUNS_SETTLED = "RunsSettled" Count by ["Source", "Status"];
    /// Times the engine was to stop an execution.
    STOPS_ASKED = "StopsAsked" Count by [];
    /// Times something was sent. `Channel` is `webhook` or `event-bus`.
    DELIVERY_ATTEMPTS = "DeliveryAttempts" Count by ["Channel"];
    DELIVERIES_DELIVERED = "DeliveriesDelivered" Count by ["Channel"];
    /// Due deliveries that were not sent now, because their receiver is in trouble.
    DELIVERIES_HELD_BACK = "DeliveriesHeldBack" Count by [];
    /// Deliveries given up. `Reason` is `gone` (the receiver wants no more) or `attempts_exhausted`.
    DELIVERIES_DEAD_LETTERED = "DeliveriesDeadLettered" Count by ["Channel", "Reason"];
    /// From the run's end to the answer 2xx; not of what was sent again on request.
    DELIVERY_LAG = "DeliveryLag" Milliseconds by ["Channel"];
    /// Events that nothing can be made of.
    POISON_EVENTS = "PoisonEvents" Count by [];
    /// Events that failed, to be retried by Lambda.
    EVENTS_FAILED = "EventsFailed" Count by [];
    /// Executions that ended again, otherwise than their run: somebody redrove them.
    REDRIVEN_EXECUTIONS = "RedrivenExecutions" Count by [];
    /// Runs the sweep found open.
    OPEN_RUNS = "OpenRuns" Count by [];
    /// Of these, runs that wait for a slot.
    QUEUED_RUNS = "QueuedRuns" Count by [];
    /// Concurrency slots that open runs hold.
    SLOTS_HELD = "SlotsHeld" Count by [];
    /// Starts that the sweep asked the engine for again.
    STARTS_ASKED = "StartsAsked" Count by [];
    /// Executions that the sweep asked the engine about: the account has about 15 such calls a second.
    EXECUTIONS_DESCRIBED = "ExecutionsDescribed" Count by [];
    /// Expired runs whose items the sweep deleted.
    RUNS_PURGED = "RunsPurged" Count by [];
    /// LLM calls that were reported for the first time.
    CALLS_RECORDED = "CallsRecorded" Count by [];
    /// Runs stopped because they had spent more than they may.
    BUDGET_STOPS = "BudgetStops" Count by [];
    /// Runs whose resume or answer the sweep gave to the runner again.
    HANDED_OVER = "HandedOver" Count by [];
    /// Parts of the sweep that failed.
    SWEEP_FAULTS = "SweepFaults" Count by [];
    /// Sweeps that came to the end of their time or of their describes.
    SWEEP_CUT_SHORT = "SweepCutShort" Count by [];
    /// Calls of models that were granted, and are over.
    CALLS_GOVERNED = "CallsGoverned" Count by [];
    /// Of these, calls whose answer was lowered to what was left.
    CALLS_CLAMPED = "CallsClamped" Count by [];
    /// Calls that had to wait for others, granted or not.
    CALLS_WAITED = "CallsWaited" Count by [];
    /// Calls that the governor refused. `Reason` is why.
    CALLS_REFUSED = "CallsRefused" Count by ["Reason"];
    /// Calls of which nobody knows what they used: they cost all that was set aside for them.
    HOLDS_LOST = "HoldsLost" Count by [];
    /// Calls that cost more than their worst case: none ever should.
    ESTIMATOR_BREACHES = "EstimatorBreaches" Count by [];
    /// From a call's coming to its being sent on, without what it waited for others.
    GOVERNOR_OVERHEAD = "GovernorOverhead" Milliseconds by [];
    PANICS = "Panics" Count by [];
}

/// One line: what happened at once, and by which dimensions.
#[derive(Debug, Default)]
pub struct Line {
    points: Vec<(&'static Metric, u64)>,
    dimensions: Vec<(&'static str, &'static str)>,
    properties: Vec<(&'static str, String)>,
}

impl Line {
    #[must_use]
    pub fn with(mut self, metric: &'static Metric, value: u64) -> Self {
        self.points.push((metric, value));
        self
    }

    #[must_use]
    pub fn by(mut self, dimension: &'static str, value: &'static str) -> Self {
        self.dimensions.push((dimension, value));
        self
    }

    /// For looking it up in the log.
    #[must_use]
    pub fn about(mut self, tenant: &TenantId, run_id: RunId) -> Self {
        self.properties.push(("tenant.id", tenant.to_string()));
        self.properties.push(("run.id", run_id.to_string()));
        self
    }

    /// The line as CloudWatch reads it. Pure.
    ///
    /// # Errors
    /// Never: every key is text.
    pub fn to_json(&self, deployment: &str, function: &str, now: Timestamp) -> serde_json::Result<String> {
        serde_json::to_string(&Written { line: self, deployment, function, now })
    }

    /// The dimensions by which this line tells the metric apart, beside the deployment and the function. What the line does not
    /// say, the metric cannot be told apart by.
    fn told_apart(&self, metric: &'static Metric) -> Vec<&'static str> {
        let is_said = |name: &&str| self.dimensions.iter().any(|(said, _)| said == name);
        metric.by.iter().copied().filter(is_said).collect()
    }

    /// Writes the line where [`init`] has said; nowhere before that.
    pub fn write(self) {
        if let Some(Emitter { deployment, function, now, write }) = EMITTER.get() {
            match self.to_json(deployment, function, now()) {
                Ok(line) => write(&line),
                Err(error) => tracing::error!(error.cause = %error, "a line of metrics cannot be written"),
            }
        }
    }
}

struct Written<'a> {
    line: &'a Line,
    deployment: &'a str,
    function: &'a str,
    now: Timestamp,
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { line, deployment, function, now } = self;
        let mut directives: BTreeMap<Vec<&str>, Vec<Definition>> = BTreeMap::new();
        for (metric, _) in &line.points {
            let definition = Definition { name: metric.name, unit: metric.unit.as_str() };
            directives.entry(line.told_apart(metric)).or_default().push(definition);
        }
        let directives = directives.into_iter().map(|(by, metrics)| Directive {
            namespace: NAMESPACE,
            dimensions: dimension_sets(&by),
            metrics,
        });
        let aws = Aws { timestamp: now.as_millisecond(), cloud_watch_metrics: directives.collect() };
        let mut root = serializer.serialize_map(None)?;
        root.serialize_entry("_aws", &aws)?;
        root.serialize_entry(DEPLOYMENT, deployment)?;
        root.serialize_entry(FUNCTION, function)?;
        for (name, value) in &line.dimensions {
            root.serialize_entry(name, value)?;
        }
        for (metric, value) in &line.points {
            root.serialize_entry(metric.name, value)?;
        }
        for (name, value) in &line.properties {
            root.serialize_entry(name, value)?;
        }
        root.end()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Aws<'a> {
    timestamp: i64,
    cloud_watch_metrics: Vec<Directive<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive<'a> {
    namespace: &'static str,
    dimensions: Vec<Vec<&'a str>>,
    metrics: Vec<Definition>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    name: &'static str,
    unit: &'static str,
}

fn dimension_sets<'a>(by: &[&'a str]) -> Vec<Vec<&'a str>> {
    let mut sets = vec![vec![DEPLOYMENT], vec![DEPLOYMENT, FUNCTION]];
    sets.extend(by.iter().map(|dimension| vec![DEPLOYMENT, *dimension]));
    sets
}

/// Who writes, and where to.
#[derive(Clone, Debug)]
pub struct Emitter {
    pub deployment: String,
    pub function: &'static str,
    pub now: fn() -> Timestamp,
    /// Takes one line, without its end.
    pub write: fn(&str),
}

static EMITTER: OnceLock<Emitter> = OnceLock::new();

/// Sets the process up for metrics. The first call counts.
pub fn init(emitter: Emitter) {
    // A second call would be a test's, in the same process, with the same words.
    let _first = EMITTER.set(emitter);
}

impl Emitter {
    /// Standard output. `lambda_name` is the function's whole name: `<stack>-<function>`.
    pub(crate) fn to_stdout(function: &'static str, lambda_name: &str) -> Self {
        let stack = lambda_name.strip_suffix(function).and_then(|stack| stack.strip_suffix('-'));
        let deployment = stack.filter(|stack| !stack.is_empty()).unwrap_or(lambda_name);
        let deployment = if deployment.is_empty() { "local" } else { deployment };
        Self { deployment: deployment.to_owned(), function, now, write: write_line }
    }

    /// A test's, which keeps the lines itself.
    pub fn for_test(write: fn(&str)) -> Self {
        Self { deployment: "test".to_owned(), function: "under-test", now: || Timestamp::UNIX_EPOCH, write }
    }
}

#[expect(clippy::disallowed_methods, reason = "when a line is written, as in the log: nothing is decided by it")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// In one piece, so that no line of the log comes between.
fn write_line(line: &str) {
    // Without an output there is nobody to tell of it.
    let _unseen = std::io::stdout().lock().write_all(format!("{line}\n").as_bytes());
}

/// One of something, with nothing else to say.
pub fn count(metric: &'static Metric) {
    Line::default().with(metric, 1).write();
}

/// What became of a request for a run.
pub fn run_accepted(accepted: &Accepted) {
    let Accepted { run, replayed, start_delayed, ended } = accepted;
    let line = Line::default().about(&run.tenant_id, run.run_id).by("Source", "request");
    let line = match (replayed, start_delayed, ended) {
        (true, _, _) => line.with(&RUNS_REPLAYED, 1),
        // It is started when a slot is free.
        (false, _, None) if run.status() == RunStatus::Queued => line.with(&RUNS_ACCEPTED, 1),
        (false, true, _) => line.with(&RUNS_ACCEPTED, 1).with(&STARTS_DELAYED, 1),
        (false, false, None) => line.with(&RUNS_ACCEPTED, 1).with(&RUNS_STARTED, 1),
        (false, false, Some(status)) => {
            line.with(&RUNS_ACCEPTED, 1).with(&RUNS_SETTLED, 1).by("Status", status.as_str())
        }
    };
    line.write();
}

/// A request for a run was refused. `code` is the problem's.
pub fn run_refused(code: &'static str) {
    Line::default().with(&RUNS_REFUSED, 1).by("Reason", code).write();
}

/// Queued runs that were given a slot.
pub fn dispatched(source: &'static str, dispatched: &Dispatched) {
    if dispatched.started == 0 && dispatched.start_delayed == 0 {
        return;
    }
    let line = Line::default().by("Source", source).with(&RUNS_STARTED, dispatched.started.into());
    line.with(&STARTS_DELAYED, dispatched.start_delayed.into()).write();
}

/// A run that has just ended.
pub fn run_settled(source: &'static str, run: &Run) {
    let line = Line::default().about(&run.tenant_id, run.run_id);
    line.with(&RUNS_SETTLED, 1).by("Source", source).by("Status", run.status().as_str()).write();
}

/// A delivery after an attempt.
pub fn delivery_attempted(after: &Delivery) {
    let line = Line::default().about(&after.tenant_id, after.run_id).by("Channel", after.channel.as_str());
    let line = line.with(&DELIVERY_ATTEMPTS, 1);
    let line = match after.status {
        DeliveryStatus::Scheduled | DeliveryStatus::InFlight => line,
        DeliveryStatus::Delivered => {
            let line = line.with(&DELIVERIES_DELIVERED, 1);
            match lag_ms(after) {
                Some(lag_ms) => line.with(&DELIVERY_LAG, lag_ms),
                None => line,
            }
        }
        DeliveryStatus::DeadLettered => {
            let is_gone = after.dead_letter_reason.as_deref() == Some("gone");
            line.with(&DELIVERIES_DEAD_LETTERED, 1).by("Reason", if is_gone { "gone" } else { "attempts_exhausted" })
        }
    };
    line.write();
}

/// From the run's end, as the body tells it, to the end of the delivery: a lost event is time lost as well.
fn lag_ms(delivery: &Delivery) -> Option<u64> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        completed_at: Option<Timestamp>,
    }
    if delivery.attempts != delivery.round_attempts {
        return None; // sent again on request
    }
    let body: Option<Body> = serde_json::from_str(&delivery.body).ok();
    let since = body.and_then(|body| body.completed_at).unwrap_or(delivery.created_at);
    u64::try_from(delivery.ended_at?.duration_since(since).as_millis()).ok()
}

/// LLM calls were reported.
pub fn usage_recorded(recorded: &UsageRecorded) {
    Line::default()
        .with(&CALLS_RECORDED, recorded.recorded.into())
        .with(&BUDGET_STOPS, recorded.stopped.into())
        .about(&recorded.run.tenant_id, recorded.run.run_id)
        .write();
}

/// A granted call, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GovernedCall {
    pub is_clamped: bool,
    pub waited: bool,
    pub is_lost: bool,
    pub is_breach: bool,
    pub overhead_ms: u64,
}

/// A granted call is over. Zeros are written too: a call without a breach is what ends an alarm.
pub fn call_settled(call: &GovernedCall) {
    Line::default()
        .with(&CALLS_GOVERNED, 1)
        .with(&CALLS_CLAMPED, call.is_clamped.into())
        .with(&CALLS_WAITED, call.waited.into())
        .with(&HOLDS_LOST, call.is_lost.into())
        .with(&ESTIMATOR_BREACHES, call.is_breach.into())
        .with(&GOVERNOR_OVERHEAD, call.overhead_ms)
        .write();
}

/// A call was refused.
pub fn call_refused(reason: &'static str) {
    Line::default().with(&CALLS_REFUSED, 1).by("Reason", reason).write();
}

/// A call that was not granted has waited, or has not.
pub fn call_waited(has_waited: bool) {
    if has_waited {
        count(&CALLS_WAITED);
    }
}

/// What one sweep did. Zeros are written too: a sweep without faults is what ends an alarm.
pub fn swept(summary: &SweepSummary) {
    let counted = Line::default()
        .by("Source", "reconciler")
        .with(&OPEN_RUNS, summary.open.into())
        .with(&QUEUED_RUNS, summary.queued.into())
        .with(&SLOTS_HELD, summary.slots_held.into())
        .with(&HOLDS_LOST, summary.holds_lost.into())
        .with(&RUNS_PURGED, summary.purged.into())
        .with(&RUNS_STARTED, u64::from(summary.started) + u64::from(summary.dispatched))
        .with(&STARTS_ASKED, summary.starts_asked.into())
        .with(&EXECUTIONS_DESCRIBED, summary.described.into())
        .with(&STOPS_ASKED, u64::from(summary.stops_asked) + u64::from(summary.timed_out))
        .with(&HANDED_OVER, summary.handed_over.into())
        .with(&SWEEP_FAULTS, summary.faults.len() as u64)
        .with(&SWEEP_CUT_SHORT, summary.cut_short.into());
    counted.write();
    for status in RunStatus::ALL {
        let ended = summary.ended.iter().filter(|ended| **ended == status).count() as u64;
        if ended > 0 {
            let line = Line::default().by("Source", "reconciler").by("Status", status.as_str());
            line.with(&RUNS_SETTLED, ended).write();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use sluice_testkit::metrics::{check, points};
    use std::collections::BTreeSet;

    #[test]
    fn every_metric_has_one_name_and_few_dimensions() {
        let names: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            assert!(metric.name.chars().all(char::is_alphanumeric), "{}", metric.name);
            for dimension in metric.by {
                assert!(["Source", "Status", "Reason", "Channel"].contains(dimension), "{}: {dimension}", metric.name);
            }
        }
    }

    fn read(line: &Line, function: &str) -> Value {
        let line = line.to_json("sluice", function, Timestamp::UNIX_EPOCH).expect("a line");
        serde_json::from_str(&line).expect("JSON")
    }

    #[test]
    fn a_line_is_what_cloudwatch_reads() {
        let line = Line::default()
            .about(&sluice_testkit::fixture::tenant("dev"), sluice_testkit::fixture::run_id(7))
            .with(&RUNS_ACCEPTED, 1)
            .with(&RUNS_STARTED, 1)
            .with(&STARTS_DELAYED, 0)
            .by("Source", "request");
        let line = read(&line, "create-run");
        check(&line);
        assert_eq!(
            line,
            json!({
                "_aws": {"Timestamp": 0, "CloudWatchMetrics": [
                    {"Namespace": "Sluice", "Dimensions": [["Deployment"], ["Deployment", "Function"]],
                     "Metrics": [{"Name": "RunsAccepted", "Unit": "Count"}, {"Name": "StartsDelayed", "Unit": "Count"}]},
                    {"Namespace": "Sluice", "Dimensions": [["Deployment"], ["Deployment", "Function"], ["Deployment", "Source"]],
                     "Metrics": [{"Name": "RunsStarted", "Unit": "Count"}]},
                ]},
                "Deployment": "sluice", "Function": "create-run", "Source": "request",
                "tenant.id": "dev", "run.id": "00000000-0000-0000-0000-000000000007",
                "RunsAccepted": 1, "RunsStarted": 1, "StartsDelayed": 0,
            })
        );
    }

    #[test]
    fn every_metric_can_be_written_with_and_without_its_dimensions() {
        for metric in ALL {
            let bare = read(&Line::default().with(metric, 3), "f");
            check(&bare);
            assert_eq!(points(&bare), [format!("{} 3", metric.name)]);
            let full = metric.by.iter().fold(Line::default().with(metric, 3), |line, name| line.by(name, "word"));
            let full = read(&full, "f");
            check(&full);
            let sets = full["_aws"]["CloudWatchMetrics"][0]["Dimensions"].as_array().map_or(0, Vec::len);
            assert_eq!(sets, 2 + metric.by.len(), "{}", metric.name);
        }
    }

    #[test]
    fn the_deployment_is_what_stands_before_the_function() {
        for (lambda_name, deployment) in
            [("sluice-create-run", "sluice"), ("a-b-create-run", "a-b"), ("create-run", "create-run"), ("", "local")]
        {
            assert_eq!(Emitter::to_stdout("create-run", lambda_name).deployment, deployment, "{lambda_name}");
        }
    }
}
