//! What watches over a stack: alarms, dashboard, and the pages that say what to do about them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sluice_edge::metrics;
use sluice_tests::text;

use super::{GOVERNOR, arn, functions, list, logical, of_type, reference, resource, short};

#[test]
fn nothing_goes_wrong_without_an_alarm() {
    let actions = json!({"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]});
    let alarms: BTreeSet<String> = of_type("AWS::CloudWatch::Alarm")
        .map(|(id, alarm)| {
            assert_eq!(alarm["AlarmActions"], actions, "{id} tells nobody");
            assert!(alarm["AlarmDescription"].as_str().is_some_and(|text| text.len() > 10), "{id} says nothing");
            let dimension = &alarm["Dimensions"][0];
            let of = dimension["Value"]["Ref"].as_str().map(str::to_owned);
            let of = of.or_else(|| dimension["Value"]["Fn::GetAtt"][0].as_str().map(str::to_owned));
            let of = of.unwrap_or_else(|| short(&dimension["Value"]));
            format!(
                "{} of {of} {} {}",
                alarm["MetricName"].as_str().unwrap_or("?"),
                comparison(alarm),
                alarm["Threshold"]
            )
        })
        .collect();
    let mut expected: BTreeSet<String> = functions()
        .flat_map(|function| {
            ["Errors", "Throttles"].map(|metric| format!("{metric} of {}Function > 0", logical(function)))
        })
        .collect();
    expected.extend(of_type("AWS::SQS::Queue").map(|(id, queue)| match is_taken_from(id) {
        // Whoever takes its messages may be behind.
        true => format!("ApproximateAgeOfOldestMessage of {id} > 300"),
        false => {
            assert_eq!(queue["MessageRetentionPeriod"], 1_209_600, "{id} keeps what it has for 14 days");
            format!("ApproximateNumberOfMessagesVisible of {id} > 0")
        }
    }));
    expected.insert("Invocations of ReconcileRunsFunction < 1".to_owned());
    expected.insert("5xx of Api > 0".to_owned());
    expected.insert("5XXError of ${AWS::StackName}-governor > 0".to_owned());
    let own = [
        "DeliveriesDeadLettered of AWS::StackName > 0",
        "DeliveryLag of AWS::StackName > 300000",
        "EstimatorBreaches of AWS::StackName > 0",
        "HoldsLost of AWS::StackName > 0",
        "PoisonEvents of AWS::StackName > 0",
        "RedrivenExecutions of AWS::StackName > 0",
        "StartsDelayed of AWS::StackName > 10",
        "SweepCutShort of AWS::StackName > 0",
        "SweepFaults of AWS::StackName > 0",
    ];
    expected.extend(own.map(str::to_owned));
    assert_eq!(alarms, expected);
}

/// Whether a function takes the queue's messages; else they lie there until somebody looks.
fn is_taken_from(queue: &str) -> bool {
    of_type("AWS::Lambda::EventSourceMapping").any(|(_, mapping)| mapping["EventSourceArn"] == arn(queue))
}

fn comparison(alarm: &Value) -> &str {
    match alarm["ComparisonOperator"].as_str() {
        Some("GreaterThanThreshold") => ">",
        Some("LessThanThreshold") => "<",
        other => panic!("{other:?}"),
    }
}

/// Holds the name and dimensions of one of our own metrics to what the functions write.
fn assert_written(what: &str, name: &str, dimensions: &[&str]) {
    let metric = metrics::ALL.iter().find(|metric| metric.name == name);
    let metric = metric.unwrap_or_else(|| panic!("{what}: no function writes {name}"));
    let sets = metric.dimension_sets();
    assert!(sets.iter().any(|set| set == dimensions), "{what}: {name} is not reported by {dimensions:?} but {sets:?}");
}

#[test]
fn an_alarm_is_on_a_metric_that_is_written() {
    for (id, alarm) in of_type("AWS::CloudWatch::Alarm") {
        if alarm["Namespace"] == metrics::NAMESPACE {
            let dimensions = alarm["Dimensions"].as_array().into_iter().flatten();
            let dimensions: Vec<&str> = dimensions.filter_map(|dimension| dimension["Name"].as_str()).collect();
            assert_written(id, alarm["MetricName"].as_str().unwrap_or_default(), &dimensions);
            assert_eq!(alarm["Dimensions"][0]["Value"], reference("AWS::StackName"), "{id}");
        }
    }
}

#[test]
fn the_dashboard_shows_metrics_that_are_written_and_every_function() {
    let body = resource("Dashboard")["DashboardBody"]["Fn::Sub"].as_str().expect("a body");
    let body: Value = serde_json::from_str(body).expect("JSON");
    let mut shown = BTreeSet::new();
    for widget in body["widgets"].as_array().expect("widgets") {
        let properties = &widget["properties"];
        let title = properties["title"].as_str().expect("a title");
        assert_eq!((&widget["type"], &properties["region"]), (&json!("metric"), &json!("${AWS::Region}")), "{title}");
        for row in properties["metrics"].as_array().expect("metrics") {
            let words: Vec<&str> = list(row).into_iter().filter_map(Value::as_str).collect();
            if let Some(expression) = row[0]["expression"].as_str() {
                // SEARCH('{Namespace,Dimension,…} MetricName="Name" …', …)
                let part = |from: &str, to: char| expression.split_once(from)?.1.split(to).next();
                let schema: Vec<&str> = part("{", '}').expect("a schema").split(',').collect();
                if schema[0] == metrics::NAMESPACE {
                    assert_written(title, part("MetricName=\"", '"').expect("a name"), &schema[1..]);
                }
            } else if words[0] == metrics::NAMESPACE {
                let dimensions: Vec<&str> = words[2..].iter().step_by(2).copied().collect();
                assert_written(title, words[1], &dimensions);
                assert_eq!(words[3], "${AWS::StackName}", "{title}");
            } else {
                shown.insert(format!("{} of {}", words[1], words[3]));
            }
        }
    }
    for function in functions() {
        for metric in ["Errors", "Throttles", "Duration"] {
            // What is deployed on a condition can be named by its name only.
            let name = match function == GOVERNOR {
                true => format!("{metric} of ${{AWS::StackName}}-{function}"),
                false => format!("{metric} of ${{{}Function}}", logical(function)),
            };
            assert!(shown.contains(&name), "the dashboard does not show {name}");
        }
    }
    for (id, _) in of_type("AWS::SQS::Queue") {
        let name = format!("ApproximateNumberOfMessagesVisible of ${{{id}.QueueName}}");
        assert!(shown.contains(&name), "the dashboard does not show {name}");
    }
}

/// The rows of the page's table with this header, as their cells.
fn table(header: &str) -> Vec<Vec<String>> {
    let page = text("infra/README.md");
    let (_, below) = page.split_once(header).unwrap_or_else(|| panic!("infra/README.md has no table {header}"));
    let rows = below.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::to_owned).collect()).collect()
}

/// What stands between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn the_runbook_says_what_to_do_about_every_alarm_and_no_other() {
    let rows = table("| alarm | means | do |");
    let named: Vec<&str> = rows.iter().flat_map(|row| quoted(&row[0])).collect();
    assert!(rows.iter().all(|row| row.len() == 3), "a row has not three cells");
    // `…Errors` is that alarm of every function.
    let names = |name: &str, alarm: &str| match name.strip_prefix('…') {
        Some(kind) => functions().any(|function| format!("{}{kind}Alarm", logical(function)) == alarm),
        None => format!("{name}Alarm") == alarm,
    };
    let alarms: Vec<&str> = of_type("AWS::CloudWatch::Alarm").map(|(id, _)| id).collect();
    for alarm in &alarms {
        assert!(named.iter().any(|name| names(name, alarm)), "infra/README.md does not say what to do about {alarm}");
    }
    for name in named {
        assert!(alarms.iter().any(|alarm| names(name, alarm)), "infra/README.md knows an alarm {name} that is none");
    }
}

#[test]
fn the_page_lists_every_metric_with_its_dimensions() {
    let mut listed = BTreeMap::new();
    for row in table("| metric | also by |") {
        let by: Vec<String> = quoted(&row[1]).map(str::to_owned).collect();
        for name in quoted(&row[0]) {
            assert!(listed.insert(name.to_owned(), by.clone()).is_none(), "{name} is listed twice");
        }
    }
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let written: BTreeMap<String, Vec<String>> =
        metrics::ALL.iter().map(|metric| (metric.name.to_owned(), owned(metric.by))).collect();
    assert_eq!(listed, written);
}
