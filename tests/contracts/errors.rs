//! The names of errors that AWS gives, and what the runner does about each: <https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html>.

use serde_json::Value;

use crate::runner::{Machine, machine};

/// How DynamoDB's own integration, and the one of the SDK, name an error that they have no name for. A refused expression comes so, and
/// perhaps a throttle: it is neither surely for good nor surely for now.
const UNNAMED: [(&str, &str, &str); 2] = [
    (":::dynamodb:updateItem", "DynamoDB.", "DynamoDB.AmazonDynamoDBException"),
    (":::aws-sdk:dynamodb:updateItem", "DynamoDb.", "DynamoDb.DynamoDbException"),
];

fn both() -> [Machine; 2] {
    let outer = machine();
    let inner = outer.of_nodes();
    [outer, inner]
}

/// Every state with a resource, with its name.
fn tasks(machines: &[Machine]) -> impl Iterator<Item = (&String, &str, &Value)> {
    let states = machines.iter().flat_map(|machine| &machine.states);
    states.filter_map(|(name, state)| Some((name, state["Resource"].as_str()?, state)))
}

fn handlers<'a>(state: &'a Value, kind: &str) -> impl Iterator<Item = (Vec<&'a str>, &'a Value)> {
    state[kind].as_array().into_iter().flatten().map(|handler| {
        let errors = handler["ErrorEquals"].as_array().into_iter().flatten();
        (errors.filter_map(Value::as_str).collect(), handler)
    })
}

#[test]
fn an_error_of_the_table_without_a_name_is_tried_again_and_then_treated_like_a_refused_expression() {
    let machines = both();
    let mut found = 0;
    for (name, resource, state) in tasks(&machines) {
        let Some((_, prefix, unnamed)) = UNNAMED.iter().find(|(of, ..)| resource.contains(of)) else { continue };
        found += 1;
        let retried = handlers(state, "Retry")
            .find(|(errors, _)| errors.contains(unnamed) || errors.contains(&"States.ALL"))
            .unwrap_or_else(|| panic!("{name} does not try again after {unnamed}"));
        assert!(retried.1["MaxAttempts"] != 0, "{name} never tries again after {unnamed}, which may be a throttle");
        // Where a refused expression has a way of its own, so has its other name.
        for (errors, handler) in handlers(state, "Catch") {
            let refusal = format!("{prefix}ValidationException");
            if errors.contains(&refusal.as_str()) {
                assert!(errors.contains(unnamed), "{name} leads {refusal} to {} and {unnamed} not", handler["Next"]);
            }
        }
    }
    assert!(found >= 8, "{found} states write to the table");
}

#[test]
fn every_invocation_outlasts_a_busy_account() {
    let machines = both();
    let mut found = 0;
    for (name, _, state) in tasks(&machines).filter(|(_, resource, _)| resource.contains("lambda:invoke")) {
        found += 1;
        let throttled = "Lambda.TooManyRequestsException";
        let (errors, retrier) = handlers(state, "Retry")
            .find(|(errors, _)| errors.contains(&throttled) || errors.contains(&"States.ALL"))
            .unwrap_or_else(|| panic!("{name} does not try again after {throttled}"));
        // A retrier of its own: Step Functions counts each by itself, so that nothing else has fewer attempts left.
        assert_eq!(errors, [throttled], "{name}");
        let number = |field: &str| retrier[field].as_u64().unwrap_or_else(|| panic!("{name} has no {field}"));
        assert!((8..=12).contains(&number("MaxAttempts")) && number("MaxDelaySeconds") <= 60, "{name}: {retrier}");
        let waits = (0..number("MaxAttempts")).map(|n| {
            (number("IntervalSeconds") * number("BackoffRate").pow(u32::try_from(n).expect("small")))
                .min(number("MaxDelaySeconds"))
        });
        assert!(waits.sum::<u64>() >= 300, "{name} gives up within minutes");
    }
    assert_eq!(found, 2);
}
