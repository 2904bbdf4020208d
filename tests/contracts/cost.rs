//! What runs cost: the page is made of the model (see `pages`), and here the model is held to the runner, to the adapters' counts
//! and to what the pages say in words.

use sluice_core::ports::SHARDS;
use sluice_core::tenant_limits::TenantLimits;
use sluice_tests::cost::transitions::{KINDS, Runner};
use sluice_tests::cost::{self, prices, units};
use sluice_tests::text;

use crate::runner;

const PAGE: &str = "infra/cost.md";

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
fn the_readme_says_the_transitions_of_the_runner() {
    let said = cost::said_of_transitions();
    assert!(words("infra/README.md").contains(&said), "infra/README.md must say: {said}");
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
    let mut least = f64::MAX;
    for workload in units::workloads() {
        let hottest = cost::hot_keys(&workload).into_iter().next().expect("lists have keys");
        least = least.min(hottest.runs_per_second);
    }
    let allowed = f64::from(TenantLimits::DEFAULT.starts_per_minute) / 60.0;
    assert!(allowed < least, "{allowed} starts a second are allowed, and {least} runs a second are the limit");
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
    for workload in units::workloads() {
        for arm in workload.steps.iter().flat_map(|step| step.writes.keys()) {
            assert!(arm == "table" || indexes.contains(&arm.as_str()), "{arm} is priced nowhere");
        }
    }
}

#[test]
fn a_run_of_one_node_costs_what_its_counts_say() {
    let workloads = units::workloads();
    let one = workloads.iter().find(|workload| workload.name == "one node").expect("it is there");
    let runner = Runner::new();
    let transitions = runner.of_a_run() + runner.of_a_stage() + runner.way("lambda").len() as u64;
    assert_eq!(runner.of_nodes(&one.nodes, one.stages), transitions);
    let parts = cost::of_a_million(one);
    let of = |name: &str| parts.iter().find(|(part, _)| part == name).map(|(_, usd)| *usd).expect("a part");
    // 0.025 USD for a thousand.
    assert!((of("Step Functions: transitions") - transitions as f64 * 25.0).abs() < 0.001);
    let units: f64 = one.steps.iter().flat_map(|step| step.writes.values()).sum();
    let writes: f64 = parts.iter().filter(|(part, _)| part.starts_with("DynamoDB: writes")).map(|(_, usd)| usd).sum();
    assert!((writes - units * prices::WRITE_UNIT.usd_per_million).abs() < 0.001, "every write is priced once");
}

#[test]
fn every_price_names_the_page_of_aws_that_says_it() {
    for price in prices::ALL {
        assert!(price.page.starts_with("https://aws.amazon.com/") && price.page.ends_with('/'), "{price:?}");
        assert!(price.usd_per_million > 0.0 && !price.note.is_empty(), "{price:?}");
    }
}
