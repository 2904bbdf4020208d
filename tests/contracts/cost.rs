//! What runs cost: the page is made of the model (see `pages`), and here the model is held to the runners, to the adapters' counts
//! and to what the pages say in words.

use sluice_core::generation::Generation;
use sluice_core::ports::SHARDS;
use sluice_core::tenant_limits::TenantLimits;
use sluice_tests::cost::transitions::{KINDS, Runner, Workers};
use sluice_tests::cost::{self, prices, units};
use sluice_tests::text;

use crate::runner;

const PAGE: &str = "infra/cost.md";
/// Times the transitions of the first generation that the second may take.
const DEARER: f64 = 1.3;

/// The runs of both generations.
fn all() -> impl Iterator<Item = units::Workload> {
    [Generation::First, Generation::Second].into_iter().flat_map(units::workloads)
}

/// A page in one line.
fn words(path: &str) -> String {
    text(path).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_node_enters_the_states_that_its_kind_leads_to() {
    let runner = Runner::new();
    assert_eq!(runner.way("lambda"), ["RecordStart", "ChooseKind", "InvokeFunction", "FindUsage", "RecordResult"]);
    assert_eq!(runner.way("external"), ["RecordStart", "ChooseKind", "ShowWaiting", "AwaitAnswer", "RecordAnswer"]);
    assert_eq!(runner.way("value"), ["RecordStart", "ChooseKind", "RecordValue"]);
    let machine = runner::machine().of_nodes();
    for kind in KINDS {
        // Each state leads to the next one of the way, and the last one ends it.
        let way = runner.way(kind);
        assert!(machine.state(way.last().expect("a state"))["End"] == true, "{kind}: {way:?}");
        for pair in way.windows(2) {
            let state = machine.state(pair[0]).to_string();
            assert!(state.contains(&format!("\"{}\"", pair[1])), "{kind}: {} does not lead to {}", pair[0], pair[1]);
        }
    }
}

#[test]
fn a_worker_enters_the_states_that_the_kind_of_its_node_leads_to() {
    let workers = Workers::new();
    for (kind, state) in [("lambda", "InvokeFunction"), ("stateMachine", "RunStateMachine"), ("ecs", "RunContainer")] {
        assert_eq!(workers.way(kind), [state, "Ask", "Act"]);
        // It waits, and chooses again.
        assert_eq!(workers.of_a_retry(kind), 5);
    }
    for kind in ["external", "value"] {
        assert!(workers.way(kind).is_empty(), "no worker is at a node of kind {kind}");
    }
    // Claim, Work, Conclude, Outcome, Finish; and Ask, Act, Leave.
    assert_eq!((workers.of_a_run(), workers.of_a_worker()), (5, 3));
}

#[test]
fn the_second_generation_takes_hardly_more_transitions_than_the_first() {
    let (first, second) = (Runner::new(), Workers::new());
    for kind in KINDS {
        let (before, now) = (first.way(kind).len() as f64, second.way(kind).len() as f64);
        assert!(now <= DEARER * before, "a node of kind {kind} takes {now} transitions instead of {before}");
    }
    let [before, now] = [Generation::First, Generation::Second].map(units::workloads);
    assert_eq!((before.len(), now.len()), (4, 4));
    for (before, now) in before.iter().zip(&now) {
        assert_eq!((&before.name, &before.nodes), (&now.name, &now.nodes));
        let taken = [before, now].map(|one| cost::transitions_of(one) as f64);
        assert!(taken[1] <= DEARER * taken[0], "{}: {} transitions instead of {}", now.name, taken[1], taken[0]);
        let total = |one: &units::Workload| cost::of_a_million(one).iter().map(|(_, usd)| usd).sum::<f64>();
        let (usd_before, usd) = (total(before), total(now));
        assert!(usd <= DEARER * usd_before, "{}: {usd} USD for a million instead of {usd_before}", now.name);
    }
}

#[test]
fn a_run_asks_once_for_each_attempt_and_once_for_each_worker() {
    for run in units::workloads(Generation::Second) {
        let workers = run.workers.expect("it has workers");
        let worked = run.nodes.iter().filter(|kind| !Workers::new().way(kind).is_empty()).count() as u64;
        let questions = run.steps_of("a worker asks").count() as u64;
        assert_eq!(questions, workers + worked, "{}", run.name);
        assert!((cost::advances(&run) - (questions + 1) as f64).abs() < f64::EPSILON, "and once how the run ends");
    }
}

#[test]
fn the_readme_says_the_transitions_of_the_runner() {
    for said in [cost::said_of_transitions(), cost::said_of_first_transitions()] {
        assert!(words("infra/README.md").contains(&said), "infra/README.md must say: {said}");
    }
}

#[test]
fn the_readme_says_how_often_an_idle_queue_is_asked() {
    let polls = cost::idle_polls();
    assert!((polls - 648_000.0).abs() < 1.0, "{polls}");
    let said = "about 650,000 requests a month";
    assert!((polls / 650_000.0 - 1.0).abs() < 0.01 && words("infra/README.md").contains(said), "{polls}");
}

#[test]
fn a_tenant_reaches_its_own_limit_before_its_hottest_key_does() {
    let allowed = f64::from(TenantLimits::DEFAULT.starts_per_minute) / 60.0;
    let [first, least] = [Generation::First, Generation::Second].map(|generation| {
        let runs = units::workloads(generation);
        let hottest = runs.iter().map(|run| cost::hot_keys(run).into_iter().next().expect("lists have keys"));
        hottest.map(|key| key.runs_per_second).fold(f64::MAX, f64::min)
    });
    let limit = first.min(least);
    assert!(allowed < limit, "{allowed} starts a second are allowed, and {limit} runs a second are the limit");
    let said = format!("{least} runs a second");
    for page in [PAGE, "infra/README.md"] {
        assert!(words(page).contains(&said), "{page} must name the limit: {said}");
    }
}

#[test]
fn the_counts_are_those_of_the_template_and_the_core() {
    assert!((cost::SHARDS - f64::from(SHARDS)).abs() < f64::EPSILON);
    let template = text("infra/template.yaml");
    for said in ["MemorySize: 512", "ScheduleExpression: rate(1 minute)", "BillingMode: PAY_PER_REQUEST"] {
        assert!(template.contains(said), "the model counts on {said}");
    }
    let indexes = ["byTenant", "byDefinition", "byStatus", "open", "due", "queue", "discover"];
    assert_eq!(template.matches("IndexName: ").count(), indexes.len());
    for workload in all() {
        for arm in workload.steps.iter().flat_map(|step| step.writes.keys()) {
            assert!(arm == "table" || indexes.contains(&arm.as_str()), "{arm} is priced nowhere");
        }
    }
}

#[test]
fn a_run_of_one_node_costs_what_its_counts_say() {
    let (runner, second) = (Runner::new(), Workers::new());
    for one in all().filter(|workload| workload.name == "one node") {
        let transitions = match one.workers {
            None => runner.of_a_run() + runner.of_a_stage() + runner.way("lambda").len() as u64,
            Some(workers) => second.of_a_run() + workers * second.of_a_worker() + second.way("lambda").len() as u64,
        };
        assert_eq!(cost::transitions_of(&one), transitions);
        let parts = cost::of_a_million(&one);
        let of = |name: &str| parts.iter().find(|(part, _)| part == name).map(|(_, usd)| *usd).expect("a part");
        // 0.025 USD for a thousand.
        assert!((of("Step Functions: transitions") - transitions as f64 * 25.0).abs() < 0.001);
        let units: f64 = one.steps.iter().flat_map(|step| step.writes.values()).sum();
        let of_writes = |(part, usd): &(String, f64)| part.starts_with("DynamoDB: writes").then_some(*usd);
        let writes: f64 = parts.iter().filter_map(of_writes).sum();
        assert!((writes - units * prices::WRITE_UNIT.usd_per_million).abs() < 0.001, "every write is priced once");
    }
}

#[test]
fn every_price_names_the_page_of_aws_that_says_it() {
    for price in prices::ALL {
        assert!(price.page.starts_with("https://aws.amazon.com/") && price.page.ends_with('/'), "{price:?}");
        assert!(price.usd_per_million > 0.0 && !price.note.is_empty(), "{price:?}");
    }
}
