//! Tables of what is refused, and where.

use serde_json::{Value, json};
use sluice_core::condition::Standing;
use sluice_core::directive::{Directives, Items, Role, Start};
use sluice_core::graph::Graph;
use sluice_core::id::NodeId;
use sluice_core::place::Field;
use sluice_core::schedule::{Doer, FanOut, Task};
use sluice_core::template::Variables;
use sluice_core::violation::Invalid;
use std::collections::BTreeMap;

fn read(directives: &Value) -> Directives {
    serde_json::from_value(directives.clone()).unwrap_or_else(|error| panic!("{directives}: {error}"))
}

fn standing(name: &str) -> Standing {
    match name {
        "before" => Standing::Before,
        "itself" => Standing::Itself,
        "after" => Standing::NotBefore,
        _ => Standing::Unknown,
    }
}

fn said(invalid: &Invalid) -> Vec<String> {
    invalid.violations.iter().map(|one| format!("{}: {}", one.place, one.code.as_str())).collect()
}

fn refusals(directives: &Value, doer: Doer) -> Vec<String> {
    let mut invalid = Invalid::default();
    let schema = json!({"type": "object"});
    read(directives).check(doer, Some(&schema), &standing, &Field::Document.at(), &mut invalid);
    said(&invalid)
}

#[test]
fn what_is_refused_of_a_node_and_where() {
    use Doer::{Nobody, Outside, Worker};
    let of = |pointer: &str| json!({"pointer": pointer, "exists": true});
    let none: [&str; 0] = [];
    for (directives, doer, expected) in [
        (json!({}), Nobody, &none[..]),
        (json!({"when": of("/results/before")}), Nobody, &none),
        (json!({"when": of("/results/itself")}), Worker, &["Document.When.Pointer: invalid"]),
        (json!({"when": of("/results/after")}), Worker, &["Document.When.Pointer: invalid"]),
        (json!({"when": of("/results/nobody")}), Worker, &["Document.When.Pointer: unknown_node"]),
        (json!({"when": {"pointer": "/input", "lessThan": {}}}), Worker, &["Document.When.LessThan: wrong_type"]),
        (json!({"loop": {"until": of("/results/itself"), "maxIterations": 100}}), Worker, &none),
        (json!({"loop": {"until": of("/results/itself"), "maxIterations": 2}}), Outside, &none),
        (
            json!({"loop": {"until": of("/input"), "maxIterations": 0}}),
            Worker,
            &["Document.Loop.MaxIterations: out_of_range"],
        ),
        (
            json!({"loop": {"until": of("/input"), "maxIterations": 101}}),
            Worker,
            &["Document.Loop.MaxIterations: out_of_range"],
        ),
        (
            json!({"loop": {"until": of("/results/after"), "maxIterations": 1}}),
            Worker,
            &["Document.Loop.Until.Pointer: invalid"],
        ),
        (json!({"loop": {"until": of("/input"), "maxIterations": 1}}), Nobody, &["Document.Loop: invalid"]),
        (json!({"forEach": {"items": "/results/before/list"}}), Worker, &none),
        (json!({"forEach": {"items": [1, 2], "maxItems": 2}}), Worker, &none),
        (json!({"forEach": {"items": "{{list}}"}}), Worker, &none),
        (json!({"forEach": {"items": [1, 2, 3], "maxItems": 2}}), Worker, &["Document.ForEach.Items: too_many"]),
        (json!({"forEach": {"items": "/results/itself"}}), Worker, &["Document.ForEach.Items: invalid"]),
        (json!({"forEach": {"items": "list"}}), Worker, &["Document.ForEach.Items: invalid"]),
        (
            json!({"forEach": {"items": [], "maxConcurrency": 41}}),
            Worker,
            &["Document.ForEach.MaxConcurrency: out_of_range"],
        ),
        (
            json!({"forEach": {"items": [], "maxConcurrency": 0}}),
            Worker,
            &["Document.ForEach.MaxConcurrency: out_of_range"],
        ),
        (json!({"forEach": {"items": [], "maxItems": 1001}}), Worker, &["Document.ForEach.MaxItems: out_of_range"]),
        (json!({"forEach": {"items": []}}), Outside, &["Document.ForEach: invalid"]),
        (
            json!({"forEach": {"items": []}, "loop": {"until": of("/input"), "maxIterations": 1}}),
            Worker,
            &["Document.ForEach: invalid"],
        ),
        (json!({"onFailure": "continue"}), Worker, &none),
        (json!({"onFailure": "fail"}), Nobody, &["Document.OnFailure: invalid"]),
        (json!({"timeoutSeconds": 1}), Worker, &none),
        (json!({"timeoutSeconds": 0}), Worker, &["Document.Timeout: out_of_range"]),
        (json!({"timeoutSeconds": 60}), Outside, &["Document.Timeout: invalid"]),
        (json!({"expiresAfterSeconds": 60, "onExpiry": {"answer": {}}}), Outside, &none),
        (json!({"expiresAfterSeconds": 60, "onExpiry": "continue"}), Outside, &none),
        (json!({"expiresAfterSeconds": 2592001}), Outside, &["Document.ExpiresAfter: out_of_range"]),
        (json!({"expiresAfterSeconds": 60}), Worker, &["Document.ExpiresAfter: invalid"]),
        (json!({"onExpiry": "fail"}), Outside, &["Document.OnExpiry: invalid"]),
        (
            json!({"expiresAfterSeconds": 60, "onExpiry": {"answer": 1}}),
            Outside,
            &["Document.OnExpiry.Answer: schema_violation"],
        ),
    ] {
        assert_eq!(refusals(&directives, doer), expected, "{directives}");
    }
    for unreadable in [
        json!({"loop": {"until": {}, "maxIterations": 1.5}}),
        json!({"loop": {"maxIterations": 1}}),
        json!({"forEach": {"items": 1}}),
        json!({"forEach": {"items": {}}}),
        json!({"onFailure": "ignore"}),
        json!({"onExpiry": "retry"}),
        json!({"timeoutSeconds": -1}),
        json!({"unless": {}}),
    ] {
        assert!(serde_json::from_value::<Directives>(unreadable.clone()).is_err(), "{unreadable}");
    }
}

#[test]
fn directives_are_stored_as_they_were_said() {
    let said = json!({
        "when": {"pointer": "/input/a", "equals": null},
        "loop": {"until": {"pointer": "/results/x", "in": [1]}, "maxIterations": 3},
        "forEach": {"items": [{"a": 1.50}], "maxConcurrency": 2, "maxItems": 5},
        "onFailure": "continue", "timeoutSeconds": 5, "expiresAfterSeconds": 6, "onExpiry": {"answer": null},
    });
    assert_eq!(serde_json::to_value(read(&said)).expect("JSON"), said);
    assert_eq!(serde_json::to_value(read(&json!({}))).expect("JSON"), json!({}));
    let text = r#"{"forEach":{"items":[1.50,10000000000000000000001],"maxConcurrency":10,"maxItems":100}}"#;
    let read: Directives = serde_json::from_str(text).expect("directives");
    assert_eq!(serde_json::to_string(&read).expect("JSON"), text, "numbers stay as they are written");
}

#[test]
fn placeholders_may_make_a_list_and_nothing_but_a_list_or_a_pointer() {
    let variables = Variables {
        variables: BTreeMap::from([("list".to_owned(), json!([1, 2])), ("n".to_owned(), json!(1))]),
        ..Variables::default()
    };
    let fill = |items: Value| {
        let (mut directives, mut invalid) = (read(&json!({"forEach": {"items": items}})), Invalid::default());
        directives.fill(&variables, &Field::Document.at(), &mut invalid);
        (directives.for_each.expect("it is there").items, said(&invalid))
    };
    assert_eq!(fill(json!("{{list}}")), (Items::List(vec![json!(1), json!(2)]), vec![]));
    assert_eq!(fill(json!(["{{n}}"])), (Items::List(vec![json!(1)]), vec![]));
    assert_eq!(fill(json!("/input/{{n}}")), (Items::Pointer("/input/1".to_owned()), vec![]));
    assert_eq!(fill(json!("{{n}}")).1, ["Document.ForEach.Items: wrong_type"]);
    let facts = json!({"input": {"list": [1, 2, 3], "text": "a"}});
    let count = |pointer: &str| Items::Pointer(pointer.to_owned()).read(&facts).map(<[Value]>::len);
    assert_eq!([count("/input/list"), count("/input/text"), count("/input/nothing")], [Some(3), None, None]);
}

#[test]
fn a_start_in_the_middle_runs_what_comes_after_and_takes_results_of_what_comes_before() {
    // a -> b -> d, c -> d, e alone.
    let ids: Vec<NodeId> = ["a", "b", "c", "d", "e"].iter().map(|id| id.parse().expect("an id")).collect();
    let ids: Vec<&NodeId> = ids.iter().collect();
    let closure = Graph::new(5, [(0, 1), (1, 3), (2, 3)]).expect("a graph").closure();
    let schema = json!({"type": "integer"});
    let roles = |from: &str, results: Value| {
        let start: Start = serde_json::from_value(json!({"fromNodeId": from, "results": results})).expect("a start");
        start.roles(&ids, &closure, |node| (node == 0).then_some(&schema)).map_err(|invalid| said(&invalid))
    };
    use Role::{Given, LeftOut, Runs};
    assert_eq!(roles("b", json!({})), Ok(vec![LeftOut, Runs, LeftOut, Runs, LeftOut]));
    assert_eq!(roles("b", json!({"a": 1})), Ok(vec![Given, Runs, LeftOut, Runs, LeftOut]));
    assert_eq!(roles("a", json!({})), Ok(vec![Runs, Runs, LeftOut, Runs, LeftOut]));
    assert_eq!(roles("x", json!({"a": "1"})), Err(vec!["FromNode: unknown_node".to_owned()]));
    let refused = roles("b", json!({"a": "1", "b": 1, "c": 1, "d": 1, "x": 1}));
    let expected = ["<a>: schema_violation", "<b>: invalid", "<c>: invalid", "<d>: invalid", "<x>: unknown_node"];
    assert_eq!(refused, Err(expected.map(|rest| format!("Results{rest}")).to_vec()));
}

#[test]
fn the_runner_sees_of_a_node_what_decides_over_its_course() {
    let retry = (3, 2, 5);
    assert_eq!(
        Directives::default().task(Doer::Worker, retry),
        Task { max_attempts: 3, retry_interval_seconds: 2, retry_backoff_rate: 5, ..Task::default() }
    );
    let all = read(&json!({
        "when": {}, "onFailure": "continue", "onExpiry": "continue", "forEach": {"items": [1], "maxConcurrency": 4},
    }));
    let task = all.task(Doer::Worker, retry);
    assert_eq!(task.fan_out, Some(FanOut { max_items: 1, max_concurrency: 4 }));
    assert!(task.is_conditional && task.goes_on && task.goes_on_when_expired);
    let looped = read(&json!({"loop": {"until": {}, "maxIterations": 7}})).task(Doer::Outside, retry);
    assert_eq!((looped.max_iterations, looped.is_conditional), (Some(7), false));
}
