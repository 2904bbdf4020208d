//! The deployed template as a document: what an emulator ignores or cannot refuse.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::sync::LazyLock;

use serde_json::{Value, json};
use sluice_edge::metrics;
use sluice_local::{place, program};
use sluice_tests::{file, text};

const TEMPLATE: &str = "infra/template.yaml";
const SAMPLE_TEMPLATE: &str = "infra/local/sample/template.yaml";

/// The functions behind the API, each with a URL of its own; the others are for events.
pub const HTTP_FUNCTIONS: [&str; 6] =
    ["cancel-run", "control-run", "create-run", "invoke-definition", "manage-definitions", "read-runs"];
pub const EVENT_FUNCTIONS: [&str; 2] = ["reconcile-runs", "run-callback"];

/// Every route, as `POST /v1/workflow-runs`, and the function that answers it: the table that the API's description is
/// made from.
pub fn routes() -> BTreeMap<String, &'static str> {
    let routes = sluice_edge::openapi::ROUTES.iter();
    routes.map(|route| (format!("{} {}", route.method, route.path), route.function)).collect()
}

/// The template as JSON, its short-form functions written out as `sam` reads them.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let read = "import json, sys; from samtranslator.yaml_helper import yaml_parse; \
                print(json.dumps(yaml_parse(open(sys.argv[1], encoding='utf-8').read()), default=str))";
    let output =
        run(Command::new(program("python").expect("the Python environment")).args(["-c", read]).arg(file(TEMPLATE)));
    serde_json::from_str(&output).expect("the template as JSON")
});

/// What a program printed. It must have ended well.
fn run(command: &mut Command) -> String {
    let home = place::target().join("e2e/programs");
    // A program's own settings and caches stay in this checkout.
    let output = command
        .current_dir(place::project())
        .env("HOME", home)
        .env("SAM_CLI_TELEMETRY", "0")
        .output()
        .expect("the program starts");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", said(&output.stdout), said(&output.stderr));
    said(&output.stdout)
}

fn resources() -> impl Iterator<Item = (&'static str, &'static Value)> {
    let resources = DOCUMENT["Resources"].as_object().expect("resources");
    resources.iter().map(|(id, resource)| (id.as_str(), resource))
}

fn of_type(kind: &str) -> impl Iterator<Item = (&'static str, &'static Value)> {
    resources()
        .filter(move |(_, resource)| resource["Type"] == *kind)
        .map(|(id, resource)| (id, &resource["Properties"]))
}

fn resource(id: &str) -> &'static Value {
    let found = &DOCUMENT["Resources"][id]["Properties"];
    assert!(!found.is_null(), "there is no resource {id}");
    found
}

/// `CreateRun` of `create-run`: what its resources' names begin with.
fn logical(function: &str) -> String {
    function.split('-').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

fn functions() -> impl Iterator<Item = &'static str> {
    HTTP_FUNCTIONS.into_iter().chain(EVENT_FUNCTIONS)
}

fn reference(id: &str) -> Value {
    json!({"Ref": id})
}

fn arn(id: &str) -> Value {
    json!({"Fn::GetAtt": [id, "Arn"]})
}

/// A resource or ARN in few characters; an ARN of this account and region has `::` in their place.
fn short(value: &Value) -> String {
    if let Some(text) = value.as_str().or(value["Fn::Sub"].as_str()) {
        return text
            .replace("arn:${AWS::Partition}:", "arn:")
            .replace(":${AWS::Region}:${AWS::AccountId}:", "::")
            .replace("::${AWS::AccountId}:", "::");
    }
    if let Some(parts) = value["Fn::GetAtt"].as_array() {
        let parts: Vec<&str> = parts.iter().filter_map(Value::as_str).collect();
        return parts.join(".");
    }
    value.to_string()
}

fn list(value: &Value) -> Vec<&Value> {
    value.as_array().map_or_else(|| vec![value], |items| items.iter().collect())
}

/// The statements of all policies of a role.
fn statements(role: &str) -> Vec<&'static Value> {
    let own = resource(role)["Policies"].as_array().into_iter().flatten();
    own.flat_map(|policy| list(&policy["PolicyDocument"]["Statement"])).collect()
}

/// A role's rights, one line each.
fn rights(role: &str) -> String {
    let mut lines = Vec::new();
    for statement in statements(role) {
        assert_eq!(statement["Effect"], "Allow", "{statement}");
        let texts = |name: &str| list(&statement[name]).into_iter().map(short).collect::<Vec<_>>().join(" ");
        let condition = statement.get("Condition").map_or_else(String::new, |condition| format!(" if {condition}"));
        lines.push(format!(
            "{}: {} on {}{condition}",
            statement["Sid"].as_str().unwrap_or("-"),
            texts("Action"),
            texts("Resource")
        ));
    }
    lines.join("\n")
}

#[test]
fn sam_finds_nothing_to_complain_about() {
    let sam = program("sam").expect("the Python environment");
    run(Command::new(sam).args(["validate", "--lint", "--region", "eu-west-1", "--template"]).arg(file(TEMPLATE)));
}

#[test]
fn cfn_lint_finds_nothing_to_complain_about() {
    let cfn_lint = program("cfn-lint").expect("the Python environment");
    run(Command::new(cfn_lint)
        .args(["--non-zero-exit-code", "informational", "--"])
        .args([file(TEMPLATE), file(SAMPLE_TEMPLATE)]));
}

#[test]
fn the_table_keeps_what_it_must_and_forgets_what_it_may() {
    let table = resource("Table");
    assert_eq!(table["BillingMode"], "PAY_PER_REQUEST");
    assert_eq!(table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"], true);
    assert_eq!(table["TimeToLiveSpecification"], json!({"AttributeName": "ttl", "Enabled": true}));
    assert_eq!(table["SSESpecification"]["SSEEnabled"], true);
    assert_eq!(table["DeletionProtectionEnabled"], reference("TableDeletionProtection"));
    assert_eq!(DOCUMENT["Parameters"]["TableDeletionProtection"]["Default"], "true");
    let whole = &DOCUMENT["Resources"]["Table"];
    for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
        assert_eq!(whole[policy], reference("TableDeletionPolicy"));
    }
    assert_eq!(DOCUMENT["Parameters"]["TableDeletionPolicy"]["Default"], "Retain");
}

#[test]
fn the_indexes_are_those_the_store_asks() {
    let key = |schema: &Value| -> String {
        let names = schema.as_array().into_iter().flatten().filter_map(|part| part["AttributeName"].as_str());
        names.collect::<Vec<_>>().join(" ")
    };
    let table = resource("Table");
    assert_eq!(key(&table["KeySchema"]), "pk sk");
    let indexes: BTreeMap<&str, String> = table["GlobalSecondaryIndexes"]
        .as_array()
        .expect("indexes")
        .iter()
        .map(|index| {
            let name = index["IndexName"].as_str().expect("a name");
            // Whose turn it is says the key alone; the run is loaded before it is moved.
            let projected = if name == "queue" { "KEYS_ONLY" } else { "ALL" };
            assert_eq!(index["Projection"]["ProjectionType"], projected, "{name}");
            (name, key(&index["KeySchema"]))
        })
        .collect();
    let expected = [
        ("byTenant", "tenantKey timeKey"),
        ("byDefinition", "definitionKey timeKey"),
        ("byStatus", "statusKey timeKey"),
        ("open", "openShard openAt"),
        ("due", "dueShard dueAt"),
        ("queue", "queueKey queueAt"),
        ("discover", "discoverShard timeKey"),
    ];
    assert_eq!(indexes, expected.map(|(name, key)| (name, key.to_owned())).into());
    for attribute in table["AttributeDefinitions"].as_array().expect("attributes") {
        assert_eq!(attribute["AttributeType"], "S");
    }
}

#[test]
fn every_function_of_the_project_is_deployed_under_its_own_name() {
    let folders = fs::read_dir(file("functions")).expect("functions/");
    let folders: BTreeSet<String> = folders
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("Cargo.toml").exists())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(folders, functions().map(str::to_owned).collect());
    let deployed: BTreeSet<&str> = of_type("AWS::Serverless::Function").map(|(id, _)| id).collect();
    let named: BTreeSet<String> = functions().map(|function| logical(function) + "Function").collect();
    assert_eq!(deployed, named.iter().map(String::as_str).collect());
    for function in functions() {
        let properties = resource(&(logical(function) + "Function"));
        assert_eq!(properties["FunctionName"], json!({"Fn::Sub": format!("${{AWS::StackName}}-{function}")}));
        assert_eq!(properties["CodeUri"], format!("../target/lambda/{function}/"));
        assert_eq!(properties["Role"], arn(&(logical(function) + "Role")), "a role of its own");
        // Everything that functions share stands in one place.
        for shared in ["Runtime", "Handler", "Architectures", "Tracing", "Environment", "Layers", "Events", "Policies"]
        {
            assert!(properties.get(shared).is_none(), "{function} has {shared} of its own");
        }
    }
    let globals = &DOCUMENT["Globals"]["Function"];
    assert_eq!(
        (&globals["Runtime"], &globals["Handler"], &globals["Architectures"], &globals["Tracing"]),
        (&json!("provided.al2023"), &json!("bootstrap"), &json!([{"Ref": "Architecture"}]), &json!("Active"))
    );
    assert_eq!(DOCUMENT["Parameters"]["Architecture"]["Default"], "arm64");
}

#[test]
fn a_function_is_told_what_the_contract_says_and_nothing_for_development() {
    let variables = DOCUMENT["Globals"]["Function"]["Environment"]["Variables"].as_object().expect("variables");
    let names: BTreeSet<&str> = variables.keys().map(String::as_str).collect();
    let expected = [
        "SLUICE_CALLBACK_REGIONS",
        "SLUICE_EVENT_BUS",
        "SLUICE_LOG",
        "SLUICE_MAX_BUDGET_USD",
        "SLUICE_OPERATOR_PRINCIPALS",
        "SLUICE_OPERATOR_SCOPE",
        "SLUICE_PRINCIPAL_TENANTS",
        "SLUICE_RUNNER_ARN",
        "SLUICE_TABLE",
        "SLUICE_TENANT_CLAIM",
    ];
    assert_eq!(names, expected.into());
    for development in ["SLUICE_LOCAL_TENANT", "SLUICE_EXTRA_CALLBACK_ORIGINS", "AWS_ENDPOINT_URL"] {
        assert!(!text(TEMPLATE).contains(development), "{development}");
    }
}

#[test]
fn every_log_is_kept_for_a_set_time_and_never_has_data() {
    let retention = reference("LogRetentionDays");
    let logs: BTreeSet<&str> = of_type("AWS::Logs::LogGroup")
        .map(|(id, group)| {
            assert_eq!(group["RetentionInDays"], retention, "{id}");
            id
        })
        .collect();
    for function in functions() {
        let group = logical(function) + "Logs";
        let logging = &resource(&(logical(function) + "Function"))["LoggingConfig"];
        assert_eq!(*logging, json!({"LogFormat": "JSON", "LogGroup": reference(&group)}));
        assert!(logs.contains(group.as_str()), "{group}");
        assert_eq!(
            resource(&group)["LogGroupName"],
            json!({"Fn::Sub": format!("/aws/lambda/${{AWS::StackName}}-{function}")})
        );
    }
    let runner = resource("Runner");
    assert_eq!(runner["Logging"]["IncludeExecutionData"], false);
    assert_eq!(
        runner["Logging"]["Destinations"],
        json!([{"CloudWatchLogsLogGroup": {"LogGroupArn": arn("RunnerLogs")}}])
    );
    // A name that Step Functions may always write to: it does not lengthen the account's one log policy.
    assert!(short(&resource("RunnerLogs")["LogGroupName"]).starts_with("/aws/vendedlogs/"));
    let (_, stage) = of_type("AWS::ApiGatewayV2::Stage").next().expect("a stage");
    let format: Value = serde_json::from_str(stage["AccessLogSettings"]["Format"].as_str().expect("a format"))
        .expect("an access log of JSON lines");
    let logged: BTreeSet<&str> =
        format.as_object().into_iter().flatten().filter_map(|(_, value)| value.as_str()).collect();
    // No path, query, header, body or identity of the caller.
    let allowed = [
        "$context.authorizer.error",
        "$context.identity.sourceIp",
        "$context.integrationErrorMessage",
        "$context.integrationStatus",
        "$context.requestId",
        "$context.requestTime",
        "$context.responseLatency",
        "$context.routeKey",
        "$context.status",
    ];
    assert_eq!(logged, allowed.into());
}

#[test]
fn the_runner_is_a_traced_standard_machine_made_from_its_file() {
    let runner = resource("Runner");
    assert_eq!(runner["Type"], "STANDARD");
    assert_eq!(runner["Tracing"]["Enabled"], true);
    assert_eq!(runner["DefinitionUri"], "state-machines/runner.asl.json");
    let substitutions = runner["DefinitionSubstitutions"].as_object().expect("substitutions");
    let names: BTreeSet<&str> = substitutions.keys().map(String::as_str).collect();
    assert_eq!(names, BTreeSet::from(["Partition", "RunCallbackArn", "TableName"]));
    // By its name, which is the function's: a reference would be a circle, since every function is told the runner's ARN.
    let name = resource("RunCallbackFunction")["FunctionName"]["Fn::Sub"].as_str().expect("a name");
    assert_eq!(short(&substitutions["RunCallbackArn"]), format!("arn:lambda::function:{name}"));
    assert_eq!(runner["Role"], arn("RunnerRole"));
}

#[test]
fn every_route_is_spelled_out_and_leads_to_its_function() {
    let open = sluice_edge::openapi::ROUTES.iter().filter(|route| route.takes_token);
    let open: Vec<String> = open.map(|route| format!("{} {}", route.method, route.path)).collect();
    assert_eq!(open.len(), 1, "one route is open to the network");
    let routes: BTreeMap<String, String> = of_type("AWS::ApiGatewayV2::Route")
        .map(|(id, route)| {
            assert_eq!(route["ApiId"], reference("Api"), "{id}");
            let key = route["RouteKey"].as_str().expect("a key");
            if open == [key] {
                // Its callers have no identity, but a token of the run.
                assert_eq!((&route["AuthorizationType"], route.get("AuthorizerId")), (&json!("NONE"), None));
            } else {
                // Who they are is proved before a function is reached, whichever way the operator has chosen.
                assert_eq!(route["AuthorizationType"], json!({"Fn::If": ["UseJwt", "JWT", "AWS_IAM"]}), "{id}");
                assert_eq!(
                    route["AuthorizerId"],
                    json!({"Fn::If": ["UseJwt", {"Ref": "JwtAuthorizer"}, {"Ref": "AWS::NoValue"}]}),
                    "{id}"
                );
            }
            let target = route["Target"]["Fn::Sub"].as_str().expect("a target");
            let integration = target.strip_prefix("integrations/${").and_then(|rest| rest.strip_suffix('}'));
            (key.to_owned(), integration.expect("an integration").to_owned())
        })
        .collect();
    let expected = self::routes().into_iter().map(|(route, function)| (route, logical(function) + "Integration"));
    assert_eq!(routes, expected.collect());
}

#[test]
fn an_http_function_has_an_integration_a_permission_and_a_url_with_iam() {
    for function in HTTP_FUNCTIONS {
        let name = logical(function);
        let integration = resource(&format!("{name}Integration"));
        assert_eq!(integration["IntegrationType"], "AWS_PROXY");
        assert_eq!(integration["IntegrationUri"], arn(&format!("{name}Function")));
        assert_eq!(integration["PayloadFormatVersion"], "2.0");
        let permission = resource(&format!("{name}ApiPermission"));
        assert_eq!(permission["FunctionName"], reference(&format!("{name}Function")));
        assert_eq!(permission["Principal"], "apigateway.amazonaws.com");
        assert!(short(&permission["SourceArn"]).starts_with("arn:execute-api::${Api}/"), "only from this API");
        assert_eq!(
            *resource(&format!("{name}Url")),
            json!({"TargetFunctionArn": arn(&format!("{name}Function")), "AuthType": "AWS_IAM"})
        );
    }
    let urls = of_type("AWS::Lambda::Url").count();
    assert_eq!(urls, HTTP_FUNCTIONS.len(), "a function for events has no URL");
    // A long poll of 20 s ends before its function does, and its function before the gateway gives up after 30 s.
    let timeout = |function: &str| resource(function)["Timeout"].as_u64().expect("a timeout");
    assert!((21..30).contains(&timeout("ReadRunsFunction")));
    assert!(timeout("ControlRunFunction") < 30);
}

#[test]
fn every_end_of_a_run_and_every_due_delivery_reaches_run_callback_or_a_queue() {
    let target = json!([{
        "Id": "run-callback",
        "Arn": arn("RunCallbackFunction"),
        "RetryPolicy": {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185},
        "DeadLetterConfig": {"Arn": arn("EventDeadLetters")},
    }]);
    let ended = resource("RunEndedRule");
    assert_eq!(
        ended["EventPattern"],
        json!({
            "source": ["aws.states"],
            "detail-type": ["Step Functions Execution Status Change"],
            "detail": {"stateMachineArn": [{"Ref": "Runner"}], "status": ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"]},
        })
    );
    assert!(ended.get("EventBusName").is_none(), "Step Functions tells only the default bus");
    let due = resource("DeliveryDueRule");
    assert_eq!(due["EventBusName"], reference("EventBusName"));
    assert_eq!(
        (&due["EventPattern"]["source"], &due["EventPattern"]["detail-type"]),
        (&json!(["sluice"]), &json!(["Delivery Due", "Slot Freed"]))
    );
    for (rule, id) in [(ended, "RunEndedRule"), (due, "DeliveryDueRule")] {
        assert_eq!(rule["Targets"], target, "{id}");
        let allowed = of_type("AWS::Lambda::Permission").any(|(_, permission)| {
            permission["SourceArn"] == arn(id)
                && permission["Principal"] == "events.amazonaws.com"
                && permission["FunctionName"] == reference("RunCallbackFunction")
        });
        assert!(allowed, "{id} may not invoke run-callback");
    }
    let writers = &resource("EventDeadLettersPolicy")["PolicyDocument"]["Statement"][0];
    assert_eq!(
        writers["Condition"]["ArnEquals"]["aws:SourceArn"],
        json!([arn("RunEndedRule"), arn("DeliveryDueRule")])
    );
    let failed = &resource("RunCallbackFunction")["EventInvokeConfig"];
    assert_eq!(
        failed["DestinationConfig"]["OnFailure"],
        json!({"Type": "SQS", "Destination": arn("CallbackDeadLetters")})
    );
}

#[test]
fn the_sweep_runs_every_minute_and_is_never_run_twice_for_one() {
    let schedule = resource("ReconcileSchedule");
    assert_eq!(schedule["ScheduleExpression"], "rate(1 minute)");
    assert_eq!(schedule["Target"]["Arn"], arn("ReconcileRunsFunction"));
    assert_eq!(schedule["Target"]["DeadLetterConfig"]["Arn"], arn("ScheduleDeadLetters"));
    assert_eq!(schedule["Target"]["RoleArn"], arn("ReconcileScheduleRole"));
    let function = resource("ReconcileRunsFunction");
    assert_eq!(function["EventInvokeConfig"]["MaximumRetryAttempts"], 0);
    assert!(function["Timeout"].as_u64().expect("a timeout") < 60);
}

#[test]
fn nothing_goes_wrong_without_an_alarm() {
    let actions = json!({"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]});
    let alarms: BTreeSet<String> = of_type("AWS::CloudWatch::Alarm")
        .map(|(id, alarm)| {
            assert_eq!(alarm["AlarmActions"], actions, "{id} tells nobody");
            assert!(alarm["AlarmDescription"].as_str().is_some_and(|text| text.len() > 10), "{id} says nothing");
            let dimension = &alarm["Dimensions"][0];
            let of = dimension["Value"]["Ref"].as_str().map(str::to_owned);
            let of = of.unwrap_or_else(|| dimension["Value"]["Fn::GetAtt"][0].as_str().unwrap_or("?").to_owned());
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
    expected.extend(of_type("AWS::SQS::Queue").map(|(id, queue)| {
        assert_eq!(queue["MessageRetentionPeriod"], 1_209_600, "{id} keeps what it has for 14 days");
        format!("ApproximateNumberOfMessagesVisible of {id} > 0")
    }));
    expected.insert("Invocations of ReconcileRunsFunction < 1".to_owned());
    expected.insert("5xx of Api > 0".to_owned());
    let own = [
        "DeliveriesDeadLettered of AWS::StackName > 0",
        "DeliveryLag of AWS::StackName > 300000",
        "PoisonEvents of AWS::StackName > 0",
        "RedrivenExecutions of AWS::StackName > 0",
        "StartsDelayed of AWS::StackName > 10",
        "SweepCutShort of AWS::StackName > 0",
        "SweepFaults of AWS::StackName > 0",
    ];
    expected.extend(own.map(str::to_owned));
    assert_eq!(alarms, expected);
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
            let name = format!("{metric} of ${{{}Function}}", logical(function));
            assert!(shown.contains(&name), "the dashboard does not show {name}");
        }
    }
    for (id, _) in of_type("AWS::SQS::Queue") {
        let name = format!("ApproximateNumberOfMessagesVisible of ${{{id}.QueueName}}");
        assert!(shown.contains(&name), "the dashboard does not show {name}");
    }
}

/// The rows of the README's table with this header, as their cells.
fn table(header: &str) -> Vec<Vec<String>> {
    let readme = text("README.md");
    let (_, below) = readme.split_once(header).unwrap_or_else(|| panic!("the README has no table {header}"));
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
        assert!(named.iter().any(|name| names(name, alarm)), "the README does not say what to do about {alarm}");
    }
    for name in named {
        assert!(alarms.iter().any(|alarm| names(name, alarm)), "the README knows an alarm {name} that is none");
    }
}

#[test]
fn the_readme_lists_every_metric_with_its_dimensions() {
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

/// Statements that name every resource there is.
const UNBOUND: [&str; 2] = ["Trace", "DeliverLogs"];

#[test]
fn no_right_is_for_everything_but_where_aws_knows_no_resource() {
    for (role, _) in of_type("AWS::IAM::Role") {
        for statement in statements(role) {
            let sid = statement["Sid"].as_str().unwrap_or_default();
            for action in list(&statement["Action"]) {
                assert!(!action.as_str().expect("an action").contains('*'), "{role}: {action}");
            }
            for resource in list(&statement["Resource"]) {
                if resource == "*" {
                    assert!(UNBOUND.contains(&sid), "{role}: {statement}");
                }
            }
            if sid == "Trace" {
                let actions = list(&statement["Action"]);
                assert!(actions.iter().all(|action| action.as_str().is_some_and(|action| action.starts_with("xray:"))));
            }
        }
        assert!(resource(role).get("ManagedPolicyArns").is_none(), "{role} has rights that nobody here has chosen");
    }
}

#[test]
fn every_function_has_exactly_its_rights() {
    let all: Vec<String> =
        functions().map(|function| format!("{function}\n{}", rights(&(logical(function) + "Role")))).collect();
    insta::assert_snapshot!(all.join("\n\n"), @r#"
    cancel-run
    Table: dynamodb:GetItem dynamodb:Query dynamodb:PutItem dynamodb:UpdateItem dynamodb:ConditionCheckItem on Table.Arn
    Executions: states:StopExecution states:DescribeExecution on arn:states::execution:${AWS::StackName}-*:*
    Announce: events:PutEvents on arn:events::event-bus/${EventBusName} if {"StringEqualsIfExists":{"events:source":"sluice"}}
    Log: logs:CreateLogStream logs:PutLogEvents on CancelRunLogs.Arn
    Trace: xray:PutTraceSegments xray:PutTelemetryRecords on *

    control-run
    Table: dynamodb:GetItem dynamodb:BatchGetItem dynamodb:Query dynamodb:PutItem dynamodb:UpdateItem dynamodb:DeleteItem dynamodb:BatchWriteItem dynamodb:ConditionCheckItem on Table.Arn
    Indexes: dynamodb:Query on ${Table.Arn}/index/due
    StartRuns: states:StartExecution on arn:states::stateMachine:${AWS::StackName}-*
    Executions: states:StopExecution states:DescribeExecution on arn:states::execution:${AWS::StackName}-*:*
    AnswerTasks: states:SendTaskSuccess states:SendTaskFailure on arn:states::stateMachine:${AWS::StackName}-*
    Announce: events:PutEvents on arn:events::event-bus/${EventBusName} if {"StringEqualsIfExists":{"events:source":"sluice"}}
    Log: logs:CreateLogStream logs:PutLogEvents on ControlRunLogs.Arn
    Trace: xray:PutTraceSegments xray:PutTelemetryRecords on *

    create-run
    Table: dynamodb:GetItem dynamodb:BatchGetItem dynamodb:Query dynamodb:PutItem dynamodb:UpdateItem dynamodb:ConditionCheckItem on Table.Arn
    StartRuns: states:StartExecution on arn:states::stateMachine:${AWS::StackName}-*
    Executions: states:DescribeExecution on arn:states::execution:${AWS::StackName}-*:*
    Announce: events:PutEvents on arn:events::event-bus/${EventBusName} if {"StringEqualsIfExists":{"events:source":"sluice"}}
    Log: logs:CreateLogStream logs:PutLogEvents on CreateRunLogs.Arn
    Trace: xray:PutTraceSegments xray:PutTelemetryRecords on *

    invoke-definition
    Table: dynamodb:GetItem dynamodb:BatchGetItem dynamodb:Query dynamodb:PutItem dynamodb:UpdateItem dynamodb:ConditionCheckItem on Table.Arn
    StartRuns: states:StartExecution on arn:states::stateMachine:${AWS::StackName}-*
    Executions: states:DescribeExecution on arn:states::execution:${AWS::StackName}-*:*
    Announce: events:PutEvents on arn:events::event-bus/${EventBusName} if {"StringEqualsIfExists":{"events:source":"sluice"}}
    Log: logs:CreateLogStream logs:PutLogEvents on InvokeDefinitionLogs.Arn
    Trace: xray:PutTraceSegments xray:PutTelemetryRecords on *

    manage-definitions
    Table: dynamodb:GetItem dynamodb:BatchGetItem dynamodb:Query dynamodb:PutItem dynamodb:UpdateItem dynamodb:DeleteItem dynamodb:ConditionCheckItem on Table.Arn
    Indexes: dynamodb:Query on ${Table.Arn}/index/byTenant ${Table.Arn}/index/discover
    Log: logs:CreateLogStream logs:PutLogEvents on ManageDefinitionsLogs.Arn
    Trace: xray:PutTraceSegments xray:PutTelemetryRecords on *

    read-runs
    Table: dynamodb:GetItem dynamodb:BatchGetItem dynamodb:Query on Table.Arn
    Indexes: dynamodb:Query on ${Table.Arn}/index/byTenant ${Table.Arn}/index/byDefinition ${Table.Arn}/index/byStatus ${Table.Arn}/index/queue
    Log: logs:CreateLogStream logs:PutLogEvents on ReadRunsLogs.Arn
    Trace: xray:PutTraceSegments xray:PutTelemetryRecords on *

    reconcile-runs
    Table: dynamodb:GetItem dynamodb:BatchGetItem dynamodb:Query dynamodb:PutItem dynamodb:UpdateItem dynamodb:DeleteItem dynamodb:BatchWriteItem dynamodb:ConditionCheckItem on Table.Arn
    Indexes: dynamodb:Query on ${Table.Arn}/index/open ${Table.Arn}/index/due ${Table.Arn}/index/queue
    StartRuns: states:StartExecution on arn:states::stateMachine:${AWS::StackName}-*
    Executions: states:StopExecution states:DescribeExecution on arn:states::execution:${AWS::StackName}-*:*
    AnswerTasks: states:SendTaskSuccess states:SendTaskFailure on arn:states::stateMachine:${AWS::StackName}-*
    ListExecutions: states:ListExecutions on arn:states::stateMachine:${AWS::StackName}-*
    Announce: events:PutEvents on arn:events::event-bus/${EventBusName} if {"StringEqualsIfExists":{"events:source":"sluice"}}
    Log: logs:CreateLogStream logs:PutLogEvents on ReconcileRunsLogs.Arn
    Trace: xray:PutTraceSegments xray:PutTelemetryRecords on *

    run-callback
    Table: dynamodb:GetItem dynamodb:BatchGetItem dynamodb:Query dynamodb:PutItem dynamodb:UpdateItem dynamodb:ConditionCheckItem on Table.Arn
    Indexes: dynamodb:Query on ${Table.Arn}/index/queue
    StartRuns: states:StartExecution on arn:states::stateMachine:${AWS::StackName}-*
    Executions: states:StopExecution states:DescribeExecution on arn:states::execution:${AWS::StackName}-*:*
    Announce: events:PutEvents on arn:events::event-bus/${EventBusName} if {"StringEqualsIfExists":{"events:source":"sluice"}}
    CallFunctionUrls: lambda:InvokeFunctionUrl on arn:lambda:*:*:function:* if {"StringEquals":{"lambda:FunctionUrlAuthType":"AWS_IAM"}}
    CallFunctionsByUrl: lambda:InvokeFunction on arn:lambda:*:*:function:* if {"Bool":{"lambda:InvokedViaFunctionUrl":"true"}}
    KeepFailedEvents: sqs:SendMessage on CallbackDeadLetters.Arn
    Log: logs:CreateLogStream logs:PutLogEvents on RunCallbackLogs.Arn
    Trace: xray:PutTraceSegments xray:PutTelemetryRecords on *
    "#);
}

#[test]
fn the_runner_and_the_schedule_have_exactly_their_rights() {
    insta::assert_snapshot!(rights("RunnerRole") + "\n\n" + &rights("ReconcileScheduleRole"), @r#"
    Table: dynamodb:UpdateItem on Table.Arn
    InvokeProcessors: lambda:InvokeFunction on arn:lambda::function:${ProcessorFunctionPattern} arn:lambda::function:${ProcessorFunctionPattern}:*
    ReportUsage: lambda:InvokeFunction on arn:lambda::function:${AWS::StackName}-run-callback
    StartProcessors: states:StartExecution on arn:states::stateMachine:${ProcessorStateMachinePattern}
    FollowProcessors: states:DescribeExecution states:StopExecution on arn:states::execution:${ProcessorStateMachinePattern}:*
    HearProcessorsEnd: events:PutTargets events:PutRule events:DescribeRule on arn:events::rule/StepFunctionsGetEventsForStepFunctionsExecutionRule
    Trace: xray:PutTraceSegments xray:PutTelemetryRecords xray:GetSamplingRules xray:GetSamplingTargets on *
    DeliverLogs: logs:CreateLogDelivery logs:GetLogDelivery logs:UpdateLogDelivery logs:DeleteLogDelivery logs:ListLogDeliveries logs:PutResourcePolicy logs:DescribeResourcePolicies logs:DescribeLogGroups on *

    -: lambda:InvokeFunction on ReconcileRunsFunction.Arn
    -: sqs:SendMessage on ScheduleDeadLetters.Arn
    "#);
}

#[test]
fn a_function_url_is_called_only_where_it_checks_signatures() {
    let calls: Vec<&Value> = statements("RunCallbackRole")
        .into_iter()
        .filter(|statement| {
            list(&statement["Action"])
                .iter()
                .any(|action| action.as_str().is_some_and(|action| action.starts_with("lambda:")))
        })
        .collect();
    assert_eq!(calls.len(), 2);
    for call in calls {
        let condition = &call["Condition"];
        match call["Action"].as_str() {
            Some("lambda:InvokeFunctionUrl") => {
                assert_eq!(*condition, json!({"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}}));
            }
            Some("lambda:InvokeFunction") => {
                assert_eq!(*condition, json!({"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}));
            }
            other => panic!("{other:?}"),
        }
    }
}
