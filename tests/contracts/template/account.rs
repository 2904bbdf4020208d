//! What only a real account asks for, and no emulator: each of these would have failed, cost or let somebody in there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sluice_tests::text;

use super::{DOCUMENT, HTTP_FUNCTIONS, arn, functions, list, logical, of_type, reference, resource, short, statements};
use crate::runner::Machine;

/// The services whose end the runner waits for, by the resource of the state, and the rule that Step Functions makes for each
/// in our account: <https://docs.aws.amazon.com/step-functions/latest/dg/service-integration-iam-templates.html>.
const MANAGED_RULES: [(&str, &str); 2] = [
    ("states:startExecution.sync", "StepFunctionsGetEventsForStepFunctionsExecutionRule"),
    ("ecs:runTask.sync", "StepFunctionsGetEventsForECSTaskRule"),
];

/// The statements of a role that allow this action.
fn allowing(role: &str, action: &str) -> Vec<&'static Value> {
    let mut found = statements(role);
    found.retain(|statement| {
        statement["Effect"] == "Allow" && list(&statement["Action"]).iter().any(|it| *it == action)
    });
    found
}

/// What those statements are for, in few characters.
fn resources_of(statements: &[&Value]) -> BTreeSet<String> {
    statements.iter().flat_map(|statement| list(&statement["Resource"])).map(short).collect()
}

fn task_resources(machine: &Machine) -> BTreeSet<String> {
    machine.states.values().filter_map(|state| state["Resource"].as_str()).map(str::to_owned).collect()
}

#[test]
fn the_runner_may_hear_the_end_of_every_service_it_waits_for() {
    let machine = crate::runner::machine();
    let mut resources = task_resources(&machine);
    resources.extend(task_resources(&machine.of_nodes()));
    let awaited: BTreeSet<String> = resources
        .iter()
        .filter(|resource| resource.contains(".sync"))
        .map(|resource| {
            let rule = MANAGED_RULES.iter().find(|(service, _)| resource.contains(service));
            let (_, rule) = rule.unwrap_or_else(|| panic!("which rule does Step Functions make for {resource}?"));
            format!("arn:events::rule/{rule}")
        })
        .collect();
    assert!(!awaited.is_empty());
    // In the role itself: a policy of its own, or one with a condition, may not be there when the state machine is made.
    for action in ["events:PutTargets", "events:PutRule", "events:DescribeRule"] {
        for role in ["RunnerRole", "SecondRunnerRole"] {
            assert_eq!(resources_of(&allowing(role, action)), awaited, "{role}: {action}");
        }
    }
}

/// Every pattern of state machines or executions that a function's role names.
fn machine_patterns() -> BTreeSet<String> {
    let all = functions().flat_map(|function| statements(&(logical(function) + "Role")));
    let resources = all.flat_map(|statement| list(&statement["Resource"])).map(short);
    resources.filter(|resource| resource.starts_with("arn:states:")).collect()
}

#[test]
fn the_end_of_every_machine_that_may_be_started_is_heard() {
    let started: BTreeSet<String> = functions()
        .flat_map(|function| resources_of(&allowing(&(logical(function) + "Role"), "states:StartExecution")))
        .collect();
    assert!(!started.is_empty());
    let patterns = resource("RunEndedRule")["EventPattern"]["detail"]["stateMachineArn"].as_array().expect("a list");
    let heard = patterns.iter().map(|pattern| format!("{}*", short(&pattern["prefix"])));
    assert_eq!(heard.collect::<BTreeSet<_>>(), started);
    // Whatever else is done with executions is done with the same machines.
    for pattern in machine_patterns() {
        let of_machines = pattern.replace(":execution:", ":stateMachine:").replace("_*:*", "_*");
        assert!(started.contains(&of_machines), "{pattern}");
    }
    for runner in ["Runner", "SecondRunner"] {
        let machine = format!("arn:states::stateMachine:{}", short(&resource(runner)["Name"]));
        assert!(started.iter().any(|pattern| matches(pattern, &machine)), "{runner} itself may not be started");
    }
}

/// IAM's matching of a pattern with `*`.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|left| {
            (0..=left.len()).filter(|at| left.is_char_boundary(*at)).any(|at| matches(rest, &left[at..]))
        }),
    }
}

#[test]
fn no_stack_starts_stops_or_answers_the_runs_of_another() {
    let named = |pattern: &str, stack: &str| pattern.replace("${AWS::StackName}", stack);
    let runner = short(&resource("Runner")["Name"]);
    let stacks = ["sluice", "sluice-prod", "sluice-runner", "sluicerunner", "sluice-prod-runner", "s"];
    for stack in stacks {
        for other in stacks.iter().filter(|other| **other != stack) {
            let machine = format!("arn:states::stateMachine:{}", named(&runner, other));
            let execution = format!("{}:0b0f5c1e", machine.replace(":stateMachine:", ":execution:"));
            for pattern in machine_patterns().iter().map(|pattern| named(pattern, stack)) {
                assert!(!matches(&pattern, &machine) && !matches(&pattern, &execution), "{pattern} is {other}'s too");
            }
        }
    }
}

/// What a resource is made after: what it names, and what it says it depends on.
fn predecessors(id: &str) -> BTreeSet<String> {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("Ref").and_then(Value::as_str).map(str::to_owned));
                found.extend(fields.get("Fn::GetAtt").and_then(|parts| parts[0].as_str()).map(str::to_owned));
                if let Some(text) = fields.get("Fn::Sub").and_then(Value::as_str) {
                    let names = text.split("${").skip(1).filter_map(|rest| rest.split(['}', '.']).next());
                    found.extend(names.map(str::to_owned));
                }
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let whole = &DOCUMENT["Resources"][id];
    let mut found = BTreeSet::new();
    references(&whole["Properties"], &mut found);
    found.extend(list(&whole["DependsOn"]).into_iter().filter_map(Value::as_str).map(str::to_owned));
    found
}

#[test]
fn only_one_change_of_the_api_is_made_at_a_time() {
    let kinds = ["Integration", "Route", "Authorizer", "Stage"];
    let mut left: BTreeSet<&str> = kinds
        .iter()
        .flat_map(|kind| of_type(&format!("AWS::ApiGatewayV2::{kind}")).map(|(id, _)| id).collect::<Vec<_>>())
        .collect();
    assert!(left.len() > 50);
    // Made in the order of their dependencies, there must be one that can come next, never two.
    while !left.is_empty() {
        let next: Vec<&str> = left
            .iter()
            .filter(|id| predecessors(id).iter().all(|before| !left.contains(before.as_str())))
            .copied()
            .collect();
        // The authorizer is there with JWT only, so the first route may come beside it where nothing names it.
        assert_eq!(next.len(), 1, "these would be made side by side: {next:?}");
        left.remove(next[0]);
    }
}

#[test]
fn a_first_create_that_fails_leaves_no_table_behind() {
    let parameter = &DOCUMENT["Parameters"]["TableDeletionPolicy"];
    assert_eq!(parameter["Default"], "RetainExceptOnCreate");
    let kept = ["RetainExceptOnCreate", "Retain", "Delete"];
    assert_eq!(parameter["AllowedValues"], json!(kept));
    // CloudFormation knows RetainExceptOnCreate as a DeletionPolicy only.
    for policy in kept {
        let replaced = &DOCUMENT["Mappings"]["ReplacedTable"][policy]["Policy"];
        assert_eq!(*replaced, if policy == "Delete" { "Delete" } else { "Retain" });
    }
}

#[test]
fn a_jwt_authorizer_has_an_issuer_and_an_audience_or_is_refused() {
    let rule = &DOCUMENT["Rules"]["JwtNeedsAnIssuer"];
    assert_eq!(rule["RuleCondition"], json!({"Fn::Equals": [{"Ref": "AuthorizerType"}, "JWT"]}));
    let asserted: Vec<&Value> = list(&rule["Assertions"]).into_iter().map(|it| &it["Assert"]).collect();
    let (_, authorizer) = of_type("AWS::ApiGatewayV2::Authorizer").next().expect("an authorizer");
    let configuration = authorizer["JwtConfiguration"].as_object().expect("its configuration");
    for (name, value) in configuration {
        let parameter = predecessor_parameter(value);
        let given = json!({"Fn::Not": [{"Fn::Equals": [{"Ref": parameter}, ""]}]});
        assert!(asserted.contains(&&given), "{name} may be empty: {asserted:?}");
    }
}

/// The one parameter that a value is made of.
fn predecessor_parameter(value: &Value) -> String {
    let inner = value.get("Fn::Split").map_or(value, |split| &split[1]);
    inner["Ref"].as_str().unwrap_or_else(|| panic!("{value} is no parameter")).to_owned()
}

#[test]
fn our_own_filter_alone_decides_what_is_logged() {
    // With JSON logs Lambda drops what is below INFO, unless it is told otherwise.
    for function in functions() {
        let logging = &resource(&(logical(function) + "Function"))["LoggingConfig"];
        assert_eq!(
            (&logging["LogFormat"], &logging["ApplicationLogLevel"]),
            (&json!("JSON"), &json!("TRACE")),
            "{function}"
        );
    }
}

#[test]
fn an_alarm_on_silence_waits_until_there_could_have_been_something() {
    for (id, alarm) in of_type("AWS::CloudWatch::Alarm").filter(|(_, alarm)| alarm["TreatMissingData"] == "breaching") {
        assert!(
            alarm["EvaluationPeriods"].as_u64().is_some_and(|periods| periods >= 2),
            "{id} alarms after a first deploy"
        );
    }
}

/// What a reference names, and what a reference names that is there on a condition.
fn named(value: &Value) -> Option<&str> {
    value["Ref"].as_str().or(value["Fn::If"][1]["Ref"].as_str())
}

#[test]
fn nothing_costs_money_that_nobody_asked_for() {
    let (_, stage) = of_type("AWS::ApiGatewayV2::Stage").next().expect("a stage");
    assert_eq!(
        stage["DefaultRouteSettings"]["DetailedMetricsEnabled"],
        json!({"Fn::If": ["HasDetailedRouteMetrics", true, false]})
    );
    assert_eq!(DOCUMENT["Parameters"]["DetailedRouteMetrics"]["Default"], "false");
    let encryption = &resource("Table")["SSESpecification"]["Fn::If"];
    let own = json!({"SSEEnabled": true, "SSEType": "KMS", "KMSMasterKeyId": reference("TableKmsKeyArn")});
    // Not enabled: encrypted all the same, with a key that AWS owns.
    assert_eq!(*encryption, json!(["HasTableKey", own, {"SSEEnabled": false}]));
    assert_eq!(DOCUMENT["Parameters"]["TableKmsKeyArn"]["Default"], "");
    // Who uses the table uses its key.
    let users: BTreeSet<&str> = of_type("AWS::IAM::Role")
        .map(|(id, _)| id)
        .filter(|role| statements(role).iter().any(|statement| list(&statement["Resource"]).contains(&&arn("Table"))))
        .collect();
    let policy = resource("TableKeyPolicy");
    let given: BTreeSet<&str> = list(&policy["Roles"]).into_iter().filter_map(named).collect();
    assert_eq!(given, users);
    for limit in ["AdvanceRunConcurrency", "ReadRunsConcurrency", "RunCallbackConcurrency", "GovernCallsConcurrency"] {
        // An account may have a quota of 10: what sets some aside must not be there by itself.
        assert_eq!(DOCUMENT["Parameters"][limit]["Default"], 0, "{limit}");
        let function = resource(&limit.replace("Concurrency", "Function"));
        let set_aside = json!({"Fn::If": [format!("Has{limit}"), reference(limit), reference("AWS::NoValue")]});
        assert_eq!(function["ReservedConcurrentExecutions"], set_aside, "{limit}");
    }
}

#[test]
fn a_task_is_given_its_task_role_and_its_execution_role() {
    let policy = list(&resource("RunnerContainerPolicy")["PolicyDocument"]["Statement"]);
    let pass = policy.iter().find(|statement| statement["Action"] == "iam:PassRole").expect("a right to pass roles");
    let roles: Vec<String> = list(&pass["Resource"]).into_iter().map(short).collect();
    for parameter in ["ProcessorTaskRolePattern", "ProcessorExecutionRolePattern"] {
        assert!(roles.iter().any(|role| role.ends_with(&format!(":role/${{{parameter}}}"))), "{parameter}: {roles:?}");
        let described = DOCUMENT["Parameters"][parameter]["Description"].as_str().unwrap_or_default();
        assert!(described.contains("role"), "{parameter}");
    }
}

/// The permissions that a loop over accounts and functions makes, one of each: what `Fn::ForEach` repeats.
fn repeated_permissions() -> (Value, Vec<&'static Value>) {
    let outer = &DOCUMENT["Resources"]["Fn::ForEach::CallerAccounts"];
    assert_eq!(outer[1], reference("CallerAccounts"));
    let inner = &outer[2]["Fn::ForEach::CalledFunctions"];
    let made = inner[2].as_object().expect("what is made for each");
    (inner[1].clone(), made.values().collect())
}

#[test]
fn another_account_that_is_named_has_both_rights_on_every_url_and_no_other() {
    let (called, permissions) = repeated_permissions();
    let called: BTreeSet<&str> = list(&called).into_iter().filter_map(Value::as_str).collect();
    assert_eq!(called, BTreeSet::from(HTTP_FUNCTIONS));
    let mut actions = BTreeMap::new();
    for permission in permissions {
        assert_eq!(permission["Condition"], "HasCallerAccounts");
        let properties = &permission["Properties"];
        assert_eq!(properties["Principal"], reference("CallerAccount"));
        assert_eq!(short(&properties["FunctionName"]), "${AWS::StackName}-${CalledFunction}");
        let after: BTreeSet<String> =
            list(&permission["DependsOn"]).into_iter().filter_map(Value::as_str).map(str::to_owned).collect();
        assert_eq!(after, HTTP_FUNCTIONS.iter().map(|function| logical(function) + "Function").collect());
        let only_by_url = (properties["FunctionUrlAuthType"].clone(), properties["InvokedViaFunctionUrl"].clone());
        actions.insert(properties["Action"].as_str().expect("an action"), only_by_url);
    }
    assert_eq!(
        actions,
        BTreeMap::from([
            ("lambda:InvokeFunctionUrl", (json!("AWS_IAM"), Value::Null)),
            ("lambda:InvokeFunction", (Value::Null, json!(true))),
        ])
    );
    assert_eq!(DOCUMENT["Parameters"]["CallerAccounts"]["Default"], "");
    // No account is a list of one empty text, for which a permission would be made.
    let first = json!({"Fn::Select": [0, reference("CallerAccounts")]});
    assert_eq!(DOCUMENT["Conditions"]["HasCallerAccounts"], json!({"Fn::Not": [{"Fn::Equals": [first, ""]}]}));
}

#[test]
fn the_ready_caller_policy_is_good_for_nothing_but_calls_through_the_urls() {
    let policy = resource("UrlCallerPolicy");
    let conditions: BTreeMap<&str, &Value> = list(&policy["PolicyDocument"]["Statement"])
        .into_iter()
        .map(|statement| {
            assert_eq!(statement["Effect"], "Allow");
            let called: Vec<String> = list(&statement["Resource"]).into_iter().map(short).collect();
            let mut wanted = HTTP_FUNCTIONS.map(|function| logical(function) + "Function.Arn").to_vec();
            wanted.sort_by_key(|name| called.iter().position(|found| found == name));
            assert_eq!(called, wanted);
            (statement["Action"].as_str().expect("one action"), &statement["Condition"])
        })
        .collect();
    assert_eq!(
        conditions,
        BTreeMap::from([
            ("lambda:InvokeFunctionUrl", &json!({"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}})),
            ("lambda:InvokeFunction", &json!({"Bool": {"lambda:InvokedViaFunctionUrl": "true"}})),
        ])
    );
    assert_eq!(DOCUMENT["Outputs"]["UrlCallerPolicyArn"]["Value"], reference("UrlCallerPolicy"));
}

#[test]
fn a_webhook_reaches_no_function_of_the_account_that_is_no_receiver_and_none_of_sluice() {
    let denied: Vec<&Value> =
        statements("RunCallbackRole").into_iter().filter(|statement| statement["Effect"] == "Deny").collect();
    let calls = allowing("RunCallbackRole", "lambda:InvokeFunctionUrl");
    assert_eq!(calls.len(), 1, "{calls:?}");
    for statement in &denied {
        let actions: BTreeSet<&str> = list(&statement["Action"]).into_iter().filter_map(Value::as_str).collect();
        assert_eq!(actions, BTreeSet::from(["lambda:InvokeFunctionUrl", "lambda:InvokeFunction"]), "{statement}");
    }
    let [others, own] = denied[..] else { panic!("two refusals: {denied:?}") };
    // A condition that asks what a tag is not holds where there is none.
    assert_eq!(others["Condition"], json!({"StringNotEquals": {"aws:ResourceTag/sluice-receiver": "true"}}));
    assert_eq!(others["Resource"]["Fn::Sub"], "arn:${AWS::Partition}:lambda:*:${AWS::AccountId}:function:*");
    assert_eq!(own.get("Condition"), None, "a tag opens no function of Sluice's own");
    let named: BTreeSet<String> = list(&own["Resource"]).into_iter().map(short).collect();
    let all: BTreeSet<String> = functions()
        .flat_map(|function| {
            let name = short(&resource(&(logical(function) + "Function"))["FunctionName"]);
            [format!("arn:lambda::function:{name}"), format!("arn:lambda::function:{name}:*")]
        })
        .collect();
    assert_eq!(named, all);
}

#[test]
fn the_pages_and_the_script_for_an_account_name_what_there_is() {
    let known = |section: &str| -> BTreeSet<&str> {
        DOCUMENT[section].as_object().expect("a section").keys().map(String::as_str).collect()
    };
    let page = text("infra/first-hour.md");
    let (_, given) = page.split_once("--parameter-overrides").expect("a command");
    let given: Vec<&str> = given.lines().next().unwrap_or_default().split_whitespace().collect();
    assert!(given.len() >= 3);
    for pair in given {
        let name = pair.split('=').next().unwrap_or_default();
        assert!(known("Parameters").contains(name), "there is no parameter {name}");
    }
    let script = text("infra/smoke/smoke.py");
    let outputs = script.split("self.outputs[\"").skip(1).filter_map(|rest| rest.split('"').next());
    let outputs: BTreeSet<&str> = outputs.collect();
    assert!(outputs.contains("ApiUrl") && outputs.is_subset(&known("Outputs")), "{outputs:?}");
    // What only an account can tell, each with the way to see it.
    for question in ["StopExecution", "JSONata", "State.EnteredTime", "IAM"] {
        let rows = page.lines().filter(|line| line.starts_with('|') && line.contains(question));
        assert!(rows.into_iter().any(|row| row.matches(" | ").count() == 2), "{question}");
    }
    // What costs money only when it is asked for is named with its price, and the danger with the way round it.
    let page = text("infra/README.md");
    for parameter in ["DetailedRouteMetrics", "TableKmsKeyArn"] {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{parameter}`")));
        assert!(row.is_some_and(|row| row.contains(" USD ")), "{parameter}: {row:?}");
    }
    for named in
        ["UrlCallerPolicyArn", "lambda:InvokedViaFunctionUrl", "sluice-receiver", "CallerAccounts", "PrincipalTenants"]
    {
        assert!(page.contains(named), "the page does not name {named}");
    }
}
