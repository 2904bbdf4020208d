//! The governor: deployed only where models are named, with rights on exactly these, behind two doors without an authorizer.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_core::call_id::LEASE;
use sluice_tests::text;

use super::{
    DOCUMENT, GOVERNOR, GOVERNS, arn, list, logical, of_type, reference, resource, resources, short, statements,
};

/// Everything that is deployed for the governor: what is named after it or after its function.
fn of_the_governor() -> impl Iterator<Item = (&'static str, &'static Value)> {
    let of_function = logical(GOVERNOR);
    let own_alarms = ["EstimatorBreachesAlarm", "HoldsLostAlarm"];
    resources().filter(move |(id, _)| {
        id.starts_with("Governor") || id.starts_with(of_function.as_str()) || own_alarms.contains(id)
    })
}

/// The names that a value refers to.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        // What is said on the condition may name what is there on it.
        Value::Object(fields) if fields.get("Fn::If").is_some_and(|choice| choice[0] == GOVERNS) => {
            references(&fields["Fn::If"][2], found);
        }
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

#[test]
fn nothing_of_the_governor_is_deployed_where_no_model_is_named() {
    let first = json!({"Fn::Select": [0, reference("GovernedModelArns")]});
    assert_eq!(DOCUMENT["Conditions"][GOVERNS], json!({"Fn::Not": [{"Fn::Equals": [first, ""]}]}));
    let parameter = &DOCUMENT["Parameters"]["GovernedModelArns"];
    assert_eq!((&parameter["Type"], &parameter["Default"]), (&json!("CommaDelimitedList"), &json!("")));
    let own: BTreeSet<&str> = of_the_governor().map(|(id, _)| id).collect();
    assert!(own.len() > 15, "{own:?}");
    for (id, resource) in resources() {
        assert_eq!(resource["Condition"] == GOVERNS, own.contains(id), "{id}");
        if !own.contains(id) {
            // What is always there cannot name what is not.
            let mut named = BTreeSet::new();
            references(&resource["Properties"], &mut named);
            let missing: Vec<&String> = named.iter().filter(|name| own.contains(name.as_str())).collect();
            assert!(missing.is_empty(), "{id} names {missing:?}, which may not be there");
        }
    }
    for (name, output) in DOCUMENT["Outputs"].as_object().expect("outputs") {
        let mut named = BTreeSet::new();
        references(&output["Value"], &mut named);
        let of_governor = named.iter().any(|name| own.contains(name.as_str()));
        assert_eq!(output["Condition"] == GOVERNS, of_governor, "{name}");
    }
}

#[test]
fn only_the_governor_calls_models_and_only_those_that_are_named() {
    let mut calling = BTreeSet::new();
    for (role, _) in of_type("AWS::IAM::Role") {
        for statement in statements(role) {
            let actions: BTreeSet<&str> = list(&statement["Action"]).into_iter().filter_map(Value::as_str).collect();
            if actions.iter().any(|action| action.starts_with("bedrock:")) {
                let needed = ["bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream", "bedrock:CountTokens"];
                assert_eq!(actions, BTreeSet::from(needed), "{role}");
                assert_eq!(statement["Resource"], reference("GovernedModelArns"), "{role}");
                calling.insert(role);
            }
        }
    }
    assert_eq!(calling, BTreeSet::from([&*(logical(GOVERNOR) + "Role")]));
    // A processor that may call models by itself is governed by nobody.
    let page = text("infra/README.md");
    let told = page.lines().any(|line| line.contains("bedrock:Invoke*") && line.contains("processors"));
    assert!(told, "infra/README.md does not say to take bedrock:Invoke* from the roles of processors");
}

/// A call that names a guardrail needs a right to that as well.
/// Source: <https://docs.aws.amazon.com/bedrock/latest/userguide/guardrails-permissions.html>
#[test]
fn the_governor_applies_the_guardrails_that_are_named_and_no_others() {
    let first = json!({"Fn::Select": [0, reference("GovernedGuardrailArns")]});
    assert_eq!(DOCUMENT["Conditions"]["AppliesGuardrails"], json!({"Fn::Not": [{"Fn::Equals": [first, ""]}]}));
    let parameter = &DOCUMENT["Parameters"]["GovernedGuardrailArns"];
    assert_eq!((&parameter["Type"], &parameter["Default"]), (&json!("CommaDelimitedList"), &json!("")));
    let policies = of_type("AWS::IAM::Policy").filter(|(_, policy)| policy.to_string().contains("bedrock:"));
    let policies: Vec<&str> = policies.map(|(id, _)| id).collect();
    assert_eq!(policies, ["ApplyGuardrailsPolicy"]);
    assert_eq!(DOCUMENT["Resources"]["ApplyGuardrailsPolicy"]["Condition"], "AppliesGuardrails");
    let policy = resource("ApplyGuardrailsPolicy");
    let role = logical(GOVERNOR) + "Role";
    let none = reference("AWS::NoValue");
    assert_eq!(policy["Roles"], json!([{"Fn::If": [GOVERNS, reference(&role), none]}]));
    let right = json!({
        "Sid": "ApplyGuardrails", "Effect": "Allow",
        "Action": "bedrock:ApplyGuardrail", "Resource": reference("GovernedGuardrailArns"),
    });
    assert_eq!(policy["PolicyDocument"]["Statement"], json!([right]));
}

#[test]
fn a_call_may_last_as_long_as_its_function_and_no_hold_ends_before_it() {
    let function = resource(&(logical(GOVERNOR) + "Function"));
    let seconds = function["Timeout"].as_u64().expect("a timeout");
    // The most that Lambda gives: <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>.
    assert_eq!(seconds, 900);
    assert!(LEASE.unsigned_abs() > Duration::from_secs(seconds), "a call whose lease is over costs its whole hold");
    assert_eq!(resource("GovernorMethod")["Integration"]["TimeoutInMillis"], seconds * 1_000);
    let memory = &DOCUMENT["Parameters"]["GovernCallsMemory"];
    assert_eq!(function["MemorySize"], reference("GovernCallsMemory"));
    assert_eq!(memory["MaxValue"], 10_240);
}

/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode-lambda.html>
#[test]
fn the_first_door_streams_and_keeps_every_body_as_it_is() {
    let api = reference("GovernorApi");
    let door = resource("GovernorApi");
    // A private or regional API may be idle for five minutes, one at the edge for 30 seconds.
    assert_eq!(door["EndpointConfiguration"], json!({"Types": ["REGIONAL"]}));
    assert_eq!(door["BinaryMediaTypes"], json!(["*/*"]));
    let proxy = resource("GovernorProxy");
    assert_eq!((&proxy["RestApiId"], &proxy["PathPart"]), (&api, &json!("{proxy+}")));
    let method = resource("GovernorMethod");
    assert_eq!((&method["RestApiId"], &method["ResourceId"]), (&api, &reference("GovernorProxy")));
    assert_eq!((&method["HttpMethod"], &method["AuthorizationType"]), (&json!("ANY"), &json!("NONE")));
    let integration = &method["Integration"];
    assert_eq!(
        (&integration["Type"], &integration["IntegrationHttpMethod"], &integration["ResponseTransferMode"]),
        (&json!("AWS_PROXY"), &json!("POST"), &json!("STREAM"))
    );
    let uri = "arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path/2021-11-15/functions/${GovernCallsFunction.Arn}\
               /response-streaming-invocations";
    assert_eq!(integration["Uri"], json!({"Fn::Sub": uri}));
    let permission = resource("GovernorApiPermission");
    assert_eq!(permission["Principal"], "apigateway.amazonaws.com");
    assert!(short(&permission["SourceArn"]).starts_with("arn:execute-api::${GovernorApi}/"), "only from this API");
    // A deployment has what is there when it is made.
    assert_eq!(DOCUMENT["Resources"]["GovernorDeployment"]["DependsOn"], "GovernorMethod");
    let stage = resource("GovernorStage");
    assert_eq!((&stage["RestApiId"], &stage["DeploymentId"]), (&api, &reference("GovernorDeployment")));
    let url = "https://${GovernorApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}/";
    let url = json!({"Fn::Sub": format!("{url}{}", stage["StageName"].as_str().expect("a name"))});
    let own = json!({"Fn::If": ["HasGovernorUrl", reference("GovernorUrl"), url]});
    let told = &DOCUMENT["Globals"]["Function"]["Environment"]["Variables"]["SLUICE_GOVERNOR_URL"];
    assert_eq!(*told, json!({"Fn::If": [GOVERNS, own, ""]}), "whoever makes a run tells it where its governor is");
    assert_eq!(DOCUMENT["Outputs"]["GovernorUrl"]["Value"], own);
}

#[test]
fn a_door_that_is_open_to_the_network_has_a_throttle_and_writes_no_path_down() {
    let stage = resource("GovernorStage");
    // The path carries the grant: nothing of it is logged or traced.
    assert_eq!((stage.get("AccessLogSetting"), &stage["TracingEnabled"]), (None, &json!(false)));
    let settings = list(&stage["MethodSettings"]);
    let [settings] = settings[..] else { panic!("{settings:?}") };
    assert_eq!(
        *settings,
        json!({
            "ResourcePath": "/*", "HttpMethod": "*",
            "LoggingLevel": "OFF", "DataTraceEnabled": false, "MetricsEnabled": false,
            "ThrottlingRateLimit": reference("GovernorRateLimit"), "ThrottlingBurstLimit": reference("GovernorBurstLimit"),
        })
    );
}

#[test]
fn the_second_door_is_a_function_url_that_streams_with_both_permissions() {
    let function = logical(GOVERNOR) + "Function";
    assert_eq!(
        *resource("GovernCallsUrl"),
        json!({"TargetFunctionArn": arn(&function), "AuthType": "NONE", "InvokeMode": "RESPONSE_STREAM"})
    );
    let open: Vec<&Value> = of_type("AWS::Lambda::Permission")
        .map(|(_, permission)| permission)
        .filter(|permission| permission["Principal"] == "*")
        .collect();
    let permission = |action: &str, only: (&str, Value)| {
        let (name, value) = only;
        json!({"FunctionName": reference(&function), "Action": action, "Principal": "*", name: value})
    };
    // Nobody may invoke it but through its URL.
    assert_eq!(
        open,
        [
            &permission("lambda:InvokeFunction", ("InvokedViaFunctionUrl", json!(true))),
            &permission("lambda:InvokeFunctionUrl", ("FunctionUrlAuthType", json!("NONE"))),
        ]
    );
    let urls = of_type("AWS::Lambda::Url").filter(|(_, url)| url["AuthType"] == "NONE").count();
    assert_eq!(urls, 1, "no other function is open to the network");
}

#[test]
fn the_page_explains_every_parameter_of_the_governor() {
    let page = text("infra/README.md");
    let parameters = DOCUMENT["Parameters"].as_object().expect("parameters");
    let own: Vec<&String> = parameters.keys().filter(|name| name.starts_with("Govern")).collect();
    assert!(own.len() >= 6, "{own:?}");
    for parameter in own {
        assert!(page.contains(&format!("`{parameter}`")), "infra/README.md does not name {parameter}");
    }
}
