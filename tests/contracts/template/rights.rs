//! What each role may do, and that it may do no more.

use serde_json::{Value, json};

use super::{functions, list, logical, of_type, resource, short, statements};

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
    Table: dynamodb:GetItem dynamodb:BatchGetItem dynamodb:Query dynamodb:PutItem dynamodb:UpdateItem dynamodb:ConditionCheckItem on Table.Arn
    Executions: states:StopExecution states:DescribeExecution on arn:states::execution:${AWS::StackName}_*:*
    Announce: events:PutEvents on arn:events::event-bus/${EventBusName} if {"StringEqualsIfExists":{"events:source":"sluice"}}
    Log: logs:CreateLogStream logs:PutLogEvents on CancelRunLogs.Arn
    Trace: xray:PutTraceSegments xray:PutTelemetryRecords on *

    control-run
    Table: dynamodb:GetItem dynamodb:BatchGetItem dynamodb:Query dynamodb:PutItem dynamodb:UpdateItem dynamodb:DeleteItem dynamodb:BatchWriteItem dynamodb:ConditionCheckItem on Table.Arn
    Indexes: dynamodb:Query on ${Table.Arn}/index/due
    StartRuns: states:StartExecution on arn:states::stateMachine:${AWS::StackName}_*
    Executions: states:StopExecution states:DescribeExecution on arn:states::execution:${AWS::StackName}_*:*
    AnswerTasks: states:SendTaskSuccess states:SendTaskFailure on arn:states::stateMachine:${AWS::StackName}_*
    Announce: events:PutEvents on arn:events::event-bus/${EventBusName} if {"StringEqualsIfExists":{"events:source":"sluice"}}
    Log: logs:CreateLogStream logs:PutLogEvents on ControlRunLogs.Arn
    Trace: xray:PutTraceSegments xray:PutTelemetryRecords on *

    create-run
    Table: dynamodb:GetItem dynamodb:BatchGetItem dynamodb:Query dynamodb:PutItem dynamodb:UpdateItem dynamodb:ConditionCheckItem on Table.Arn
    StartRuns: states:StartExecution on arn:states::stateMachine:${AWS::StackName}_*
    Executions: states:DescribeExecution on arn:states::execution:${AWS::StackName}_*:*
    Announce: events:PutEvents on arn:events::event-bus/${EventBusName} if {"StringEqualsIfExists":{"events:source":"sluice"}}
    Log: logs:CreateLogStream logs:PutLogEvents on CreateRunLogs.Arn
    Trace: xray:PutTraceSegments xray:PutTelemetryRecords on *

    invoke-definition
    Table: dynamodb:GetItem dynamodb:BatchGetItem dynamodb:Query dynamodb:PutItem dynamodb:UpdateItem dynamodb:ConditionCheckItem on Table.Arn
    StartRuns: states:StartExecution on arn:states::stateMachine:${AWS::StackName}_*
    Executions: states:DescribeExecution on arn:states::execution:${AWS::StackName}_*:*
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
    Meters: dynamodb:UpdateItem on Table.Arn if {"ForAllValues:StringLike":{"dynamodb:LeadingKeys":["METER#WAITS*"]},"Null":{"dynamodb:LeadingKeys":"false"}}
    Indexes: dynamodb:Query on ${Table.Arn}/index/byTenant ${Table.Arn}/index/byDefinition ${Table.Arn}/index/byStatus ${Table.Arn}/index/queue
    Log: logs:CreateLogStream logs:PutLogEvents on ReadRunsLogs.Arn
    Trace: xray:PutTraceSegments xray:PutTelemetryRecords on *

    advance-run
    Table: dynamodb:GetItem dynamodb:BatchGetItem dynamodb:Query dynamodb:PutItem dynamodb:UpdateItem dynamodb:ConditionCheckItem on Table.Arn
    Executions: states:StopExecution on arn:states::execution:${AWS::StackName}_*:*
    AnswerTasks: states:SendTaskSuccess states:SendTaskFailure on arn:states::stateMachine:${AWS::StackName}_*
    Log: logs:CreateLogStream logs:PutLogEvents on AdvanceRunLogs.Arn
    Trace: xray:PutTraceSegments xray:PutTelemetryRecords on *

    reconcile-runs
    Table: dynamodb:GetItem dynamodb:BatchGetItem dynamodb:Query dynamodb:PutItem dynamodb:UpdateItem dynamodb:DeleteItem dynamodb:BatchWriteItem dynamodb:ConditionCheckItem on Table.Arn
    Indexes: dynamodb:Query on ${Table.Arn}/index/open ${Table.Arn}/index/due ${Table.Arn}/index/queue
    StartRuns: states:StartExecution on arn:states::stateMachine:${AWS::StackName}_*
    Executions: states:StopExecution states:DescribeExecution on arn:states::execution:${AWS::StackName}_*:*
    AnswerTasks: states:SendTaskSuccess states:SendTaskFailure on arn:states::stateMachine:${AWS::StackName}_*
    ListExecutions: states:ListExecutions on arn:states::stateMachine:${AWS::StackName}_*
    Announce: events:PutEvents on arn:events::event-bus/${EventBusName} if {"StringEqualsIfExists":{"events:source":"sluice"}}
    Log: logs:CreateLogStream logs:PutLogEvents on ReconcileRunsLogs.Arn
    Trace: xray:PutTraceSegments xray:PutTelemetryRecords on *

    run-callback
    Table: dynamodb:GetItem dynamodb:BatchGetItem dynamodb:Query dynamodb:PutItem dynamodb:UpdateItem dynamodb:ConditionCheckItem on Table.Arn
    Indexes: dynamodb:Query on ${Table.Arn}/index/queue
    StartRuns: states:StartExecution on arn:states::stateMachine:${AWS::StackName}_*
    Executions: states:StopExecution states:DescribeExecution on arn:states::execution:${AWS::StackName}_*:*
    Announce: events:PutEvents on arn:events::event-bus/${EventBusName} if {"StringEqualsIfExists":{"events:source":"sluice"}}
    CallFunctionUrls: lambda:InvokeFunctionUrl on arn:lambda:*:*:function:* if {"StringEquals":{"lambda:FunctionUrlAuthType":"AWS_IAM"}}
    CallFunctionsByUrl: lambda:InvokeFunction on arn:lambda:*:*:function:* if {"Bool":{"lambda:InvokedViaFunctionUrl":"true"}}
    OnlyReceiversOfThisAccount: never lambda:InvokeFunctionUrl lambda:InvokeFunction on arn:lambda:*:${AWS::AccountId}:function:* if {"StringNotEquals":{"aws:ResourceTag/sluice-receiver":"true"}}
    NeverSluiceItself: never lambda:InvokeFunctionUrl lambda:InvokeFunction on arn:lambda::function:${AWS::StackName}-create-run arn:lambda::function:${AWS::StackName}-create-run:* arn:lambda::function:${AWS::StackName}-invoke-definition arn:lambda::function:${AWS::StackName}-invoke-definition:* arn:lambda::function:${AWS::StackName}-cancel-run arn:lambda::function:${AWS::StackName}-cancel-run:* arn:lambda::function:${AWS::StackName}-control-run arn:lambda::function:${AWS::StackName}-control-run:* arn:lambda::function:${AWS::StackName}-read-runs arn:lambda::function:${AWS::StackName}-read-runs:* arn:lambda::function:${AWS::StackName}-manage-definitions arn:lambda::function:${AWS::StackName}-manage-definitions:* arn:lambda::function:${AWS::StackName}-run-callback arn:lambda::function:${AWS::StackName}-run-callback:* arn:lambda::function:${AWS::StackName}-reconcile-runs arn:lambda::function:${AWS::StackName}-reconcile-runs:* arn:lambda::function:${AWS::StackName}-advance-run arn:lambda::function:${AWS::StackName}-advance-run:* arn:lambda::function:${AWS::StackName}-govern-calls arn:lambda::function:${AWS::StackName}-govern-calls:*
    KeepFailedEvents: sqs:SendMessage on CallbackDeadLetters.Arn
    TakeDueDeliveries: sqs:ReceiveMessage sqs:DeleteMessage sqs:GetQueueAttributes on DeliveryQueue.Arn
    Log: logs:CreateLogStream logs:PutLogEvents on RunCallbackLogs.Arn
    Trace: xray:PutTraceSegments xray:PutTelemetryRecords on *

    govern-calls
    Table: dynamodb:GetItem dynamodb:BatchGetItem dynamodb:Query dynamodb:PutItem dynamodb:UpdateItem dynamodb:ConditionCheckItem on Table.Arn
    Executions: states:StopExecution states:DescribeExecution on arn:states::execution:${AWS::StackName}_*:*
    CallModels: bedrock:InvokeModel bedrock:InvokeModelWithResponseStream bedrock:CountTokens on {"Ref":"GovernedModelArns"}
    Log: logs:CreateLogStream logs:PutLogEvents on GovernCallsLogs.Arn
    Trace: xray:PutTraceSegments xray:PutTelemetryRecords on *
    "#);
}

#[test]
fn each_runner_and_the_schedule_have_exactly_their_rights() {
    insta::assert_snapshot!(["RunnerRole", "SecondRunnerRole", "ReconcileScheduleRole"].map(rights).join("\n\n"), @r#"
    Table: dynamodb:UpdateItem on Table.Arn
    InvokeProcessors: lambda:InvokeFunction on arn:lambda::function:${ProcessorFunctionPattern} arn:lambda::function:${ProcessorFunctionPattern}:*
    ReportUsage: lambda:InvokeFunction on arn:lambda::function:${AWS::StackName}-run-callback
    StartProcessors: states:StartExecution on arn:states::stateMachine:${ProcessorStateMachinePattern}
    FollowProcessors: states:DescribeExecution states:StopExecution on arn:states::execution:${ProcessorStateMachinePattern}:*
    HearProcessorsEnd: events:PutTargets events:PutRule events:DescribeRule on arn:events::rule/StepFunctionsGetEventsForStepFunctionsExecutionRule arn:events::rule/StepFunctionsGetEventsForECSTaskRule
    Trace: xray:PutTraceSegments xray:PutTelemetryRecords xray:GetSamplingRules xray:GetSamplingTargets on *
    DeliverLogs: logs:CreateLogDelivery logs:GetLogDelivery logs:UpdateLogDelivery logs:DeleteLogDelivery logs:ListLogDeliveries logs:PutResourcePolicy logs:DescribeResourcePolicies logs:DescribeLogGroups on *

    Table: dynamodb:UpdateItem on Table.Arn
    InvokeProcessors: lambda:InvokeFunction on arn:lambda::function:${ProcessorFunctionPattern} arn:lambda::function:${ProcessorFunctionPattern}:*
    AskWhatToDo: lambda:InvokeFunction on arn:lambda::function:${AWS::StackName}-advance-run
    StartProcessors: states:StartExecution on arn:states::stateMachine:${ProcessorStateMachinePattern}
    FollowProcessors: states:DescribeExecution states:StopExecution on arn:states::execution:${ProcessorStateMachinePattern}:*
    HearProcessorsEnd: events:PutTargets events:PutRule events:DescribeRule on arn:events::rule/StepFunctionsGetEventsForStepFunctionsExecutionRule arn:events::rule/StepFunctionsGetEventsForECSTaskRule
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
            let actions = list(&statement["Action"]);
            let calls =
                actions.iter().any(|action| action.as_str().is_some_and(|action| action.starts_with("lambda:")));
            statement["Effect"] == "Allow" && calls
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

/// A role's rights, one line each.
fn rights(role: &str) -> String {
    let mut lines = Vec::new();
    for statement in statements(role) {
        let never = match statement["Effect"].as_str() {
            Some("Allow") => "",
            Some("Deny") => "never ",
            other => panic!("{other:?}: {statement}"),
        };
        let texts = |name: &str| list(&statement[name]).into_iter().map(short).collect::<Vec<_>>().join(" ");
        let condition = statement.get("Condition").map_or_else(String::new, |condition| format!(" if {condition}"));
        lines.push(format!(
            "{}: {never}{} on {}{condition}",
            statement["Sid"].as_str().unwrap_or("-"),
            texts("Action"),
            texts("Resource")
        ));
    }
    lines.join("\n")
}
