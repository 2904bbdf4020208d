//! The functions and the runner: how they are deployed, what they are told, what they log.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_aws::clients::{ATTEMPT_TIMEOUT, ENGINE_TIMEOUT, STORE_TIMEOUT};
use sluice_core::generation::Generation;
use sluice_core::limits;
use sluice_core::tenant_limits::TenantLimits;
use sluice_edge::serve::ANSWER_RESERVE;
use sluice_edge::telemetry::CALLS_RESERVE;
use sluice_tests::{file, text};

use super::{DOCUMENT, TEMPLATE, arn, functions, logical, of_type, reference, resource, short};

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
        "SLUICE_CALLBACK_ROLE_ARN",
        "SLUICE_EVENT_BUS",
        "SLUICE_GOVERNOR_URL",
        "SLUICE_LOG",
        "SLUICE_MAX_BUDGET_USD",
        "SLUICE_OPERATOR_PRINCIPALS",
        "SLUICE_OPERATOR_SCOPE",
        "SLUICE_PRINCIPAL_TENANTS",
        "SLUICE_READ_RUNS_CONCURRENCY",
        "SLUICE_RUNNER_ARN",
        "SLUICE_TABLE",
        "SLUICE_TENANT_CLAIM",
        "SLUICE_TENANT_DEFINITIONS",
        "SLUICE_TENANT_OPEN_RUNS",
        "SLUICE_TENANT_STARTS_PER_MINUTE",
        "SLUICE_TENANT_WAITS_AT_ONCE",
        "SLUICE_UNLISTED_TENANTS",
    ];
    assert_eq!(names, expected.into());
    // What is set aside for the long polls is what they are told to keep within.
    let set_aside = &resource("ReadRunsFunction")["ReservedConcurrentExecutions"];
    assert_eq!(variables["SLUICE_READ_RUNS_CONCURRENCY"], reference("ReadRunsConcurrency"));
    assert!(set_aside.to_string().contains(r#"{"Ref":"ReadRunsConcurrency"}"#), "{set_aside}");
    // Each function knows who sends webhooks, and refuses it.
    assert_eq!(variables["SLUICE_CALLBACK_ROLE_ARN"], arn("RunCallbackRole"));
    for development in ["SLUICE_LOCAL_TENANT", "SLUICE_EXTRA_CALLBACK_ORIGINS", "AWS_ENDPOINT_URL"] {
        assert!(!text(TEMPLATE).contains(development), "{development}");
    }
}

#[test]
fn what_a_tenant_may_take_is_a_parameter_that_begins_where_the_code_does() {
    let variables = &DOCUMENT["Globals"]["Function"]["Environment"]["Variables"];
    let default = TenantLimits::DEFAULT;
    for (parameter, variable, default, allowed) in [
        (
            "TenantStartsPerMinute",
            "SLUICE_TENANT_STARTS_PER_MINUTE",
            default.starts_per_minute,
            limits::TENANT_STARTS_PER_MINUTE,
        ),
        ("TenantWaitsAtOnce", "SLUICE_TENANT_WAITS_AT_ONCE", default.waits_at_once, limits::TENANT_WAITS_AT_ONCE),
        ("TenantOpenRuns", "SLUICE_TENANT_OPEN_RUNS", default.open_runs, limits::TENANT_OPEN_RUNS),
        ("TenantDefinitions", "SLUICE_TENANT_DEFINITIONS", default.definitions, limits::TENANT_DEFINITIONS),
    ] {
        assert_eq!(variables[variable], reference(parameter));
        let said = &DOCUMENT["Parameters"][parameter];
        assert_eq!(
            (&said["Default"], &said["MinValue"], &said["MaxValue"]),
            (&json!(default), &json!(allowed.start()), &json!(allowed.end())),
            "{parameter}"
        );
        assert!(text("infra/README.md").contains(&format!("`{parameter}`")), "{parameter} is not in the page");
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
        assert_eq!(
            *logging,
            json!({"LogFormat": "JSON", "ApplicationLogLevel": "TRACE", "LogGroup": reference(&group)})
        );
        assert!(logs.contains(group.as_str()), "{group}");
        assert_eq!(
            resource(&group)["LogGroupName"],
            json!({"Fn::Sub": format!("/aws/lambda/${{AWS::StackName}}-{function}")})
        );
    }
    for runner in ["Runner", "SecondRunner"] {
        let (logging, group) = (&resource(runner)["Logging"], format!("{runner}Logs"));
        assert_eq!(logging["IncludeExecutionData"], false, "{runner}");
        assert_eq!(logging["Destinations"], json!([{"CloudWatchLogsLogGroup": {"LogGroupArn": arn(&group)}}]));
        // A name that Step Functions may always write to: it does not lengthen the account's one log policy.
        assert!(short(&resource(&group)["LogGroupName"]).starts_with("/aws/vendedlogs/"), "{runner}");
    }
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
fn each_runner_is_a_traced_standard_machine_made_from_its_file() {
    for (runner, name, told, function) in [
        ("Runner", "runner", "RunCallbackArn", "RunCallbackFunction"),
        ("SecondRunner", "runner-2", "AdvanceRunArn", "AdvanceRunFunction"),
    ] {
        let (id, runner) = (runner, resource(runner));
        assert_eq!(runner["Name"], json!({"Fn::Sub": format!("${{AWS::StackName}}_{name}")}));
        assert_eq!((&runner["Type"], &runner["Tracing"]["Enabled"]), (&json!("STANDARD"), &json!(true)), "{id}");
        assert_eq!(runner["DefinitionUri"], format!("state-machines/{name}.asl.json"));
        let substitutions = runner["DefinitionSubstitutions"].as_object().expect("substitutions");
        let names: BTreeSet<&str> = substitutions.keys().map(String::as_str).collect();
        assert_eq!(names, BTreeSet::from(["Partition", told, "TableName"]));
        // By its name, which is the function's: a reference would be a circle, since every function is told the runner's ARN.
        let function = resource(function)["FunctionName"]["Fn::Sub"].as_str().expect("a name");
        assert_eq!(short(&substitutions[told]), format!("arn:lambda::function:{function}"));
        assert_eq!(runner["Role"], arn(&format!("{id}Role")));
    }
}

#[test]
fn new_runs_take_the_generation_that_the_parameter_says_and_both_are_deployed() {
    let chosen = json!({"Fn::If": ["SecondGeneration", reference("SecondRunner"), reference("Runner")]});
    assert_eq!(DOCUMENT["Globals"]["Function"]["Environment"]["Variables"]["SLUICE_RUNNER_ARN"], chosen);
    assert_eq!(DOCUMENT["Outputs"]["RunnerArn"]["Value"], chosen);
    let parameter = &DOCUMENT["Parameters"]["RunnerGeneration"];
    assert_eq!((&parameter["Default"], &parameter["AllowedValues"]), (&json!("2"), &json!(["1", "2"])));
    // What the code knows the second one by.
    for (runner, generation) in [("Runner", Generation::First), ("SecondRunner", Generation::Second)] {
        let machine = resource(runner);
        assert!(machine.get("Condition").is_none(), "{runner} is always there");
        let name = machine["Name"]["Fn::Sub"].as_str().expect("a name").replace("${AWS::StackName}", "sluice");
        let arn = format!("arn:aws:states:eu-west-1:123456789012:stateMachine:{name}").parse().expect("an ARN");
        assert_eq!(Generation::of(&arn), generation, "{runner}");
    }
}

#[test]
fn every_function_has_time_for_a_call_that_hangs_and_another_try() {
    for function in functions() {
        let own = &resource(&(logical(function) + "Function"))["Timeout"];
        let timeout = own.as_u64().or_else(|| DOCUMENT["Globals"]["Function"]["Timeout"].as_u64()).expect("a timeout");
        let calls = Duration::from_secs(timeout) - Duration::try_from(CALLS_RESERVE).expect("some time");
        // One attempt hangs, another is made, and what it says is acted on by one more call.
        assert!(3 * ATTEMPT_TIMEOUT <= calls, "{function}: {ATTEMPT_TIMEOUT:?} of {calls:?}");
        // No call outlives the invocation, whichever bound is met first; and the answer has its time after the last call.
        assert!(ENGINE_TIMEOUT.max(STORE_TIMEOUT) <= calls, "{function}: {calls:?}");
        assert!(CALLS_RESERVE > ANSWER_RESERVE, "{function}");
    }
}
