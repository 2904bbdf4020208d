//! What runs cost, as the pages say it in words, is what the runner and the queue make of them.

use sluice_tests::cost;
use sluice_tests::cost::transitions::{KINDS, Runner};
use sluice_tests::text;

use crate::runner;

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
