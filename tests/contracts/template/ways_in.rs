//! The ways in: the routes of the API, the functions' URLs, the events, the schedule.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{DOCUMENT, HTTP_FUNCTIONS, arn, logical, of_type, reference, resource, short};

#[test]
fn every_route_is_spelled_out_and_leads_to_its_function() {
    let open =
        sluice_edge::route::ROUTES.iter().filter(|route| route.access == sluice_edge::route::Access::ReportToken);
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
    let expected = super::routes().into_iter().map(|(route, function)| (route, logical(function) + "Integration"));
    assert_eq!(routes, expected.collect());
}

#[test]
fn every_open_route_has_a_throttle_of_its_own_below_that_of_the_api() {
    let (_, stage) = of_type("AWS::ApiGatewayV2::Stage").next().expect("a stage");
    let own = stage["RouteSettings"].as_object().expect("settings of routes");
    let open = sluice_edge::route::ROUTES.iter();
    let open = open.filter(|route| route.access == sluice_edge::route::Access::ReportToken);
    let open: BTreeSet<String> = open.map(|route| format!("{} {}", route.method, route.path)).collect();
    assert_eq!(own.keys().cloned().collect::<BTreeSet<_>>(), open);
    for (route, settings) in own {
        let of_all = &stage["DefaultRouteSettings"];
        assert_eq!(settings["DetailedMetricsEnabled"], of_all["DetailedMetricsEnabled"], "{route}");
        for limit in ["ThrottlingRateLimit", "ThrottlingBurstLimit"] {
            assert_eq!(of_all[limit], reference(limit));
            let of_all = DOCUMENT["Parameters"][limit]["Default"].as_u64().expect("a number");
            // Free JSON: CloudFormation makes no number of what a parameter says.
            let own = settings[limit].as_u64().unwrap_or_else(|| panic!("{route}: {limit} is no number"));
            assert!(0 < own && 2 * own <= of_all, "{route}: {own} of {of_all}");
        }
    }
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
    let machines = "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:stateMachine:${AWS::StackName}_";
    let machines = json!({"Fn::Sub": machines});
    let ended = resource("RunEndedRule");
    assert_eq!(
        ended["EventPattern"],
        json!({
            "source": ["aws.states"],
            "detail-type": ["Step Functions Execution Status Change"],
            "detail": {"stateMachineArn": [{"prefix": machines}], "status": ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"]},
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
