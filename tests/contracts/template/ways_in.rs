//! The ways in: the routes of the API, the functions' URLs, the events, the schedule.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sluice_core::delivery::{Pace, RETRY_SCHEDULE_SECONDS};

use super::{DOCUMENT, HTTP_FUNCTIONS, arn, list, logical, of_type, reference, resource, short};

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
    let urls = of_type("AWS::Lambda::Url").filter(|(_, url)| url["AuthType"] == "AWS_IAM").count();
    assert_eq!(urls, HTTP_FUNCTIONS.len(), "a function for events has no URL");
    // A long poll of 20 s ends before its function does, and its function before the gateway gives up after 30 s.
    let timeout = |function: &str| resource(function)["Timeout"].as_u64().expect("a timeout");
    assert!((21..30).contains(&timeout("ReadRunsFunction")));
    assert!(timeout("ControlRunFunction") < 30);
}

/// The target of a rule: EventBridge tries for a day, and what it cannot hand over lies in a queue.
fn target(id: &str, of: &str) -> Value {
    json!([{
        "Id": id,
        "Arn": arn(of),
        "RetryPolicy": {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185},
        "DeadLetterConfig": {"Arn": arn("EventDeadLetters")},
    }])
}

#[test]
fn every_end_of_a_run_and_every_due_delivery_reaches_run_callback_or_a_queue() {
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
    let (due, freed) = (resource("DeliveryDueRule"), resource("SlotFreedRule"));
    for (rule, detail_type) in [(due, "Delivery Due"), (freed, "Slot Freed")] {
        assert_eq!(rule["EventBusName"], reference("EventBusName"));
        let pattern =
            json!({"source": ["sluice"], "detail-type": [detail_type], "account": [reference("AWS::AccountId")]});
        assert_eq!(rule["EventPattern"], pattern);
    }
    for (rule, id) in [(ended, "RunEndedRule"), (freed, "SlotFreedRule")] {
        assert_eq!(rule["Targets"], target("run-callback", "RunCallbackFunction"), "{id}");
        let allowed = of_type("AWS::Lambda::Permission").any(|(_, permission)| {
            permission["SourceArn"] == arn(id)
                && permission["Principal"] == "events.amazonaws.com"
                && permission["FunctionName"] == reference("RunCallbackFunction")
        });
        assert!(allowed, "{id} may not invoke run-callback");
    }
    // A receiver that takes its time holds up neither ends nor slots: what is due waits in a queue of its own.
    assert_eq!(due["Targets"], target("delivery-queue", "DeliveryQueue"));
    let rules: Vec<Value> = of_type("AWS::Events::Rule").map(|(id, _)| arn(id)).collect();
    assert_eq!(rules.len(), 3);
    let writers = &resource("EventDeadLettersPolicy")["PolicyDocument"]["Statement"][0];
    for rule in &rules {
        let allowed = writers["Condition"]["ArnEquals"]["aws:SourceArn"].as_array().expect("rules");
        assert!(allowed.contains(rule) && allowed.len() == rules.len(), "{rule}");
    }
    let failed = &resource("RunCallbackFunction")["EventInvokeConfig"];
    assert_eq!(
        failed["DestinationConfig"]["OnFailure"],
        json!({"Type": "SQS", "Destination": arn("CallbackDeadLetters")})
    );
}

#[test]
fn due_deliveries_wait_in_a_queue_that_takes_a_bounded_share_of_the_functions() {
    let queue = resource("DeliveryQueue");
    // Only the rule fills it.
    let writers = list(&resource("DeliveryQueuePolicy")["PolicyDocument"]["Statement"]);
    assert_eq!(resource("DeliveryQueuePolicy")["Queues"], json!([reference("DeliveryQueue")]));
    let [writer] = writers[..] else { panic!("{writers:?}") };
    assert_eq!(
        *writer,
        json!({
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn("DeliveryQueue"),
            "Condition": {"ArnEquals": {"aws:SourceArn": arn("DeliveryDueRule")}},
        })
    );
    assert_eq!(queue["SqsManagedSseEnabled"], true);
    // The pause before the second attempt.
    assert_eq!(queue["DelaySeconds"], RETRY_SCHEDULE_SECONDS[0]);
    // <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html>: six times the function's timeout at
    // least, and five tries at least before a message is given up.
    let timeout = resource("RunCallbackFunction")["Timeout"].as_u64().expect("a timeout");
    let visibility = queue["VisibilityTimeout"].as_u64().expect("a timeout");
    assert!(visibility >= 6 * timeout, "{visibility} s for a function of {timeout} s");
    let redrive = &queue["RedrivePolicy"];
    assert_eq!(redrive["deadLetterTargetArn"], arn("DeliveryDeadLetters"));
    let tries = redrive["maxReceiveCount"].as_u64().expect("a count");
    assert!(tries >= 5);
    // It is kept until it was tried so often, and in the dead-letter queue for longer than here.
    let kept = queue["MessageRetentionPeriod"].as_u64().expect("a time");
    assert!(kept > tries * visibility);
    assert!(resource("DeliveryDeadLetters")["MessageRetentionPeriod"].as_u64().is_some_and(|there| there > kept));

    let mappings: Vec<_> = of_type("AWS::Lambda::EventSourceMapping").map(|(_, mapping)| mapping).collect();
    let [mapping] = mappings[..] else { panic!("{mappings:?}") };
    assert_eq!(
        *mapping,
        json!({
            "EventSourceArn": arn("DeliveryQueue"),
            "FunctionName": reference("RunCallbackFunction"),
            "BatchSize": 1,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "ScalingConfig": {"MaximumConcurrency": reference("DeliveryConcurrency")},
        })
    );
    // An attempt with everything around it ends well before its function, and before its lease.
    assert!(Pace::FromTheQueue.patience().as_secs() * 2 < timeout);
    let parameter = &DOCUMENT["Parameters"]["DeliveryConcurrency"];
    // Lambda takes from 2 to 1,000.
    assert_eq!((&parameter["MinValue"], &parameter["MaxValue"]), (&json!(2), &json!(1_000)));
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
