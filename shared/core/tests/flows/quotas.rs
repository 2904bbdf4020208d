//! Ten thousand open runs of any kind, within the quotas of Step Functions in its smallest regions.

use crate::world::World;
use jiff::{SignedDuration, Timestamp};
use sluice_core::concurrency::{Concurrency, OnLimit, QueueRef, SlotScope};
use sluice_core::flow::create_run::start_input;
use sluice_core::flow::reconcile_runs::{Bounds, SweepSummary};
use sluice_core::lifecycle::{EngineEnd, StopIntent};
use sluice_core::operator::TenantSettings;
use sluice_core::ports::{AnswerNode, Clock, ManageOperator, RecordRun, StartExecution, StartRequest, StoreErrorClass};
use sluice_core::run::{Run, RunState, Times};
use sluice_testkit::contract::sample;
use sluice_testkit::contract::store::answers::{answer, answered};
use sluice_testkit::fault::{Fault, lock};
use sluice_testkit::store::Counter;
use sluice_testkit::{block_on, fixture};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Open runs at once.
const MANY: u32 = 10_000;
/// Tenants among whom queued runs are.
const TENANTS: u32 = 500;
/// A sweep begins nothing new after so many seconds.
const LENGTH: i64 = 45;
/// Calls that are under way at a time, where a sweep works on several things at once.
const AT_ONCE: i32 = 8;

/// The calls that have a quota, by the names of the memory engine: the bucket of the smallest regions, and the tokens that come
/// into it in a second. See [`Bounds::of_a_minute`] for the source.
const BUCKETS: [(&str, f64, f64); 5] = [
    ("list running executions", 100.0, 2.0),
    ("describe the execution", 250.0, 10.0),
    ("stop the execution", 500.0, 25.0),
    ("start the execution", 800.0, 150.0),
    ("answer the task", 1_500.0, 300.0),
];
/// Calls that a sweep makes one after the other.
const ALONE: [&str; 4] = ["list running executions", "list open runs", "list due deliveries", "list expired runs"];

/// A bucket of tokens.
#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    most: f64,
    refill: f64,
    at: Timestamp,
}

impl Bucket {
    /// Takes a token, if there is one.
    fn take(&mut self, now: Timestamp) -> bool {
        let millis = now.duration_since(self.at).as_millis() as f64;
        self.tokens = (self.tokens + self.refill * millis / 1_000.0).min(self.most);
        self.at = now;
        let is_there = self.tokens >= 1.0;
        self.tokens -= if is_there { 1.0 } else { 0.0 };
        is_there
    }
}

/// What passed: calls, and those for which there was no token.
#[derive(Clone, Debug, Default)]
struct Passed {
    calls: BTreeMap<&'static str, u32>,
    throttled: BTreeMap<&'static str, u32>,
}

/// Lets every call of the world take its time, and those of the engine their token.
fn meter(world: &World, kind: Kind) -> Arc<Mutex<Passed>> {
    let passed = Arc::new(Mutex::new(Passed::default()));
    let begun = world.clock.now();
    let mut buckets: BTreeMap<&str, Bucket> = BUCKETS
        .into_iter()
        .map(|(name, most, refill)| (name, Bucket { tokens: most, most, refill, at: begun }))
        .collect();
    let (clock, noted, latency) = (world.clock.clone(), Arc::clone(&passed), kind.latency());
    let passes = move |operation: &'static str| {
        // A name that is no call of its own: it says whether an index lags.
        if operation == "keep the open index up to date" {
            return None;
        }
        clock.pass(if ALONE.contains(&operation) { latency } else { latency / AT_ONCE });
        let (mut noted, mut fault) = (lock(&noted), None);
        // Starting what is there already, the adapter looks whose it is.
        let looks = (kind == Kind::Hung && operation == "start the execution").then_some("describe the execution");
        for called in [operation].into_iter().chain(looks) {
            *noted.calls.entry(called).or_default() += 1;
            if buckets.get_mut(called).is_some_and(|bucket| !bucket.take(clock.now())) {
                *noted.throttled.entry(called).or_default() += 1;
                fault = Some(Fault::Before(StoreErrorClass::Throttled));
            }
        }
        fault
    };
    let passes = Arc::new(Mutex::new(passes));
    let again = Arc::clone(&passes);
    world.store.faults.set(move |operation| lock(&passes)(operation));
    world.engine.faults.set(move |operation| lock(&again)(operation));
    passed
}

/// How the many runs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Running, and nothing is the matter.
    Well,
    /// Their executions have ended, and no event told of it.
    Ended,
    /// Their stop was asked for.
    Stopping,
    /// Their time is up.
    Late,
    /// An answer was recorded that their runner does not have.
    Owed,
    /// Never started.
    Unstarted,
    /// Started long ago, and never claimed.
    Hung,
    /// Each waits in a queue of its own tenant, for a slot that is free.
    Queued,
    /// The first twentieth of them is of each of these, the rest is well.
    Mixed,
}

const KINDS: [Kind; 9] = [
    Kind::Well,
    Kind::Ended,
    Kind::Stopping,
    Kind::Late,
    Kind::Owed,
    Kind::Unstarted,
    Kind::Hung,
    Kind::Queued,
    Kind::Mixed,
];

impl Kind {
    /// What each call takes, of whichever service: quick ones use up the tokens, and slow ones the time.
    fn latency(self) -> SignedDuration {
        SignedDuration::from_millis(if matches!(self, Self::Well | Self::Late | Self::Mixed) { 10 } else { 2 })
    }

    /// Of which kind the run of this number is.
    fn of(self, number: u32) -> Self {
        if self != Self::Mixed {
            return self;
        }
        let kind = KINDS.get((number / (MANY / 20)) as usize).copied();
        kind.filter(|kind| *kind != Self::Mixed).unwrap_or(Self::Well)
    }
}

/// A run of this kind, five minutes old, as its table and its engine know it.
fn put(world: &World, kind: Kind, number: u32, now: Timestamp) {
    let created_at = now - SignedDuration::from_mins(5);
    let tenant = match kind {
        Kind::Queued => fixture::tenant(&format!("tenant-{}", number % TENANTS)),
        Kind::Well
        | Kind::Ended
        | Kind::Stopping
        | Kind::Late
        | Kind::Owed
        | Kind::Unstarted
        | Kind::Hung
        | Kind::Mixed => world.caller.tenant.clone(),
    };
    let mut run = Run { run_id: sample::run_id(number), ..sample::run(&tenant, number, created_at) };
    let times = || Times::started(created_at);
    run.state = match kind {
        Kind::Well | Kind::Ended | Kind::Mixed => RunState::running(times()),
        Kind::Stopping => sample::stopping(StopIntent::CanceledByCaller),
        Kind::Late => {
            run.spec.max_run_duration_seconds = Some(60);
            RunState::running(times())
        }
        Kind::Owed => sample::waiting(&["approval"]),
        Kind::Unstarted | Kind::Hung => run.state,
        Kind::Queued => RunState::Queued { queue: SlotScope::Tenant },
    };
    let snapshot = sample::snapshot(&run);
    let state_machine_arn = &run.spec.state_machine_arn;
    match kind {
        Kind::Unstarted | Kind::Queued => {}
        Kind::Hung => {
            let input = start_input(&snapshot, &world.store.record_keys(&tenant, run.run_id)).expect("an input");
            let request = StartRequest { state_machine_arn, run_id: run.run_id, input: &input };
            block_on(world.engine.start_execution(&request)).expect("started");
        }
        Kind::Well | Kind::Ended | Kind::Stopping | Kind::Late | Kind::Owed | Kind::Mixed => {
            world.engine.start_foreign(state_machine_arn, run.run_id, &tenant);
        }
    }
    match kind {
        Kind::Ended => {
            assert!(world.engine.end(&run.execution_arn(), EngineEnd::Succeeded, Some("{}"), created_at).is_some());
        }
        Kind::Owed => {
            let node = "approval".parse().expect("a node");
            world.store.seed_run(run.clone(), None);
            world.store.begin_wait(&tenant, run.run_id, &node, &format!("token-{number}"));
            let change = answered(&run, node.as_str());
            block_on(world.store.answer_node(&change, &node, &answer("{}"))).expect("answered");
            world.engine.wait_for(&run.execution_arn(), &format!("token-{number}"));
            run = change.run;
        }
        Kind::Queued => {
            let concurrency = Some(Concurrency { max_concurrent_runs: 100, on_limit: OnLimit::Queue });
            let settings = TenantSettings { concurrency, rev: 1, ..TenantSettings::open(tenant.clone()) };
            let counter = Counter { held: 0, queued: i64::from(MANY / TENANTS) };
            world.store.seed_counter(&QueueRef { tenant_id: tenant, definition_id: None }, counter);
            // Saved with its first run.
            let _known = block_on(world.store.save_tenant(&settings)).expect("asked");
        }
        Kind::Well | Kind::Stopping | Kind::Late | Kind::Unstarted | Kind::Hung | Kind::Mixed => {}
    }
    world.store.seed_run(run, Some(snapshot.to_text().expect("JSON")));
}

fn world_of(kind: Kind) -> World {
    let world = World::new();
    let now = world.clock.now();
    (0..MANY).for_each(|number| put(&world, kind.of(number), number, now));
    world
}

/// One sweep, with what passed in it and how long it took.
fn sweep(kind: Kind, bounds: impl Fn(Bounds) -> Bounds) -> (SweepSummary, Passed, SignedDuration) {
    let world = world_of(kind);
    let begun = world.clock.now();
    let passed = meter(&world, kind);
    let usual = Bounds::of_a_minute(begun + SignedDuration::from_secs(LENGTH));
    let summary = world.reconcile_within(bounds(usual));
    let passed = lock(&passed).clone();
    (summary, passed, world.clock.now().duration_since(begun))
}

#[test]
fn a_sweep_over_ten_thousand_open_runs_stays_within_every_quota_and_its_time() {
    for kind in KINDS {
        let (summary, passed, took) = sweep(kind, |bounds| bounds);
        assert_eq!(passed.throttled, BTreeMap::new(), "{kind:?}: {passed:?}");
        assert_eq!((summary.open, summary.faults.as_slice()), (MANY, [].as_slice()), "{kind:?}");
        assert!(took <= SignedDuration::from_secs(LENGTH), "{kind:?} took {took:?}: {passed:?}");
        let calls = |name| passed.calls.get(name).copied().unwrap_or(0);
        let named = |name, expected| assert_eq!(calls(name), expected, "{kind:?}: {name} in {passed:?}");
        let lists = match kind {
            Kind::Unstarted | Kind::Hung | Kind::Queued => 0,
            // What has ended is on no list, but there is one.
            Kind::Ended => 1,
            Kind::Well | Kind::Stopping | Kind::Late | Kind::Owed => MANY / 1_000,
            Kind::Mixed => calls("list running executions").clamp(9, 10),
        };
        if kind == Kind::Late {
            assert!(calls("list running executions") <= lists);
        } else {
            named("list running executions", lists);
        }
        match kind {
            Kind::Well => assert_eq!(passed.calls.len(), 7, "nothing but lists, and one note: {passed:?}"),
            Kind::Ended => named("describe the execution", 100),
            Kind::Stopping => {
                named("stop the execution", 250);
                named("describe the execution", 100);
            }
            Kind::Late => named("stop the execution", 250),
            Kind::Owed => named("answer the task", 1_000),
            Kind::Unstarted => named("start the execution", 75),
            Kind::Hung => named("describe the execution", 150),
            Kind::Queued => assert!((600..=800).contains(&calls("start the execution")), "{passed:?}"),
            Kind::Mixed => {}
        }
        assert_eq!(summary.cut_short, kind != Kind::Well, "{kind:?}: the next sweep goes on with others");
    }
}

#[test]
fn a_sweep_without_bounds_would_run_into_the_quotas() {
    let unbounded = |bounds| Bounds { stops: MANY, starts: MANY, describes: MANY, ..bounds };
    for (kind, call) in [
        (Kind::Ended, "describe the execution"),
        (Kind::Stopping, "stop the execution"),
        (Kind::Late, "stop the execution"),
        (Kind::Hung, "describe the execution"),
    ] {
        let (_, passed, _) = sweep(kind, unbounded);
        assert!(passed.throttled.contains_key(call), "{kind:?}: {passed:?}");
    }
}
