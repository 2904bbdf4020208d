//! What runs cost on AWS, as far as the pages say it in words: transitions, by the runner's states ([`transitions`]), and how often
//! an idle queue is asked.

pub mod transitions;

use transitions::Runner;

/// Days of a month here.
const DAYS: f64 = 30.0;
/// Long polls that Lambda keeps open at a queue that has nothing, and how long each lasts, seconds.
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html>
const POLLERS: f64 = 5.0;
const POLL_SECONDS: f64 = 20.0;

/// Requests of a month to a queue in which there is nothing.
pub fn idle_polls() -> f64 {
    POLLERS * DAYS * 86_400.0 / POLL_SECONDS
}

/// The README's sentence about transitions.
pub fn said_of_transitions() -> String {
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
