//! One node's way through the runner: the state machine's own expressions, evaluated by the emulator's interpreter, with
//! what the services answer given in advance.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sluice_core::arn::{FunctionArn, QualifiedArn, StateMachineArn};
use sluice_core::operator::{ContainerTask, LaunchType};
use sluice_core::snapshot::{NodeRun, RecordKeys, Snapshot};
use sluice_local::program;
use sluice_tests::{file, json, processor_contract, violations};

use crate::runner::RUNNER;

const RUN_ID: &str = "0b0f5c1e-64a5-4d3a-9a5e-5d9f3e0c7a11";

/// How a node went.
struct Walk {
    /// The states it entered.
    way: Vec<String>,
    /// Every call of a service: state and arguments.
    calls: Vec<(String, Value)>,
    /// What its iteration ended with.
    output: Value,
}

impl Walk {
    fn arguments(&self, state: &str) -> Vec<&Value> {
        self.calls.iter().filter(|(of, _)| of == state).map(|(_, arguments)| arguments).collect()
    }

    /// What the table is told, where every value is `{"S": ...}` or `{"N": ...}`.
    fn written(&self, state: &str, name: &str) -> String {
        let arguments = self.arguments(state);
        let [arguments] = arguments[..] else { panic!("{state} is called once: {arguments:?}") };
        let value = &arguments["ExpressionAttributeValues"][name];
        value["S"].as_str().or(value["N"].as_str()).unwrap_or_else(|| panic!("{state}: {arguments}")).to_owned()
    }
}

/// A node of a run with a cap and a layer.
struct Node {
    kind: NodeRun,
    max_attempts: u32,
    /// A value's.
    data_source: Option<Value>,
    /// Where the run's calls of models go. None at all is what the input of a run says that is older than the governor.
    governor: Option<Value>,
    /// By state, what its calls come to, the last one for all that follow.
    answers: BTreeMap<&'static str, Vec<Value>>,
}

fn node(kind: NodeRun) -> Node {
    Node { kind, max_attempts: 1, data_source: None, governor: None, answers: BTreeMap::new() }
}

fn function() -> Node {
    let arn: FunctionArn = "arn:aws:lambda:eu-west-1:123456789012:function:p".parse().expect("an ARN");
    node(NodeRun::Lambda { function_arn: QualifiedArn::new(&arn, Some(&"live".parse().expect("a tag"))) })
}

/// A service's answer, and its refusal.
fn gives(result: &Value) -> Value {
    json!({"result": result})
}

fn fails(error: &str) -> Value {
    json!({"error": error, "cause": format!("because of {error}")})
}

impl Node {
    fn when(mut self, state: &'static str, answers: impl IntoIterator<Item = Value>) -> Self {
        self.answers.insert(state, answers.into_iter().collect());
        self
    }

    fn with_attempts(self, max_attempts: u32) -> Self {
        Self { max_attempts, ..self }
    }

    fn governed_by(self, governor: Value) -> Self {
        Self { governor: Some(governor), ..self }
    }

    /// The execution input, as a start makes it from a snapshot.
    fn execution_input(&self) -> Value {
        let node_type = if self.kind == NodeRun::External { "external" } else { "processor" };
        let node_type = if self.kind == NodeRun::Value { "data-source" } else { node_type };
        let snapshot: Snapshot = serde_json::from_value(json!({
            "runId": RUN_ID,
            "tenantId": "acme",
            "createdBy": "somebody",
            "createdAt": "2026-11-01T00:00:00Z",
            "workflowDefinitionId": "5f0c7f3e-7f55-4a5f-9a4e-0b0f5c1e64a5",
            "workflowDefinitionName": "report",
            "workflowVersion": 1,
            "workflowInstanceId": "8d9f3e0c-7a11-4d3a-9a5e-64a50b0f5c1e",
            "computeNodeId": "default",
            "stateMachineArn": "arn:aws:states:eu-west-1:123456789012:stateMachine:sluice-runner",
            "executionBudgetMicroUsd": 1_250_000,
            "computeNodeBudgetMicroUsd": 50_000_000,
            "userId": "ann",
            "maxRunDurationSeconds": null,
            "nodes": [{
                "nodeId": "work", "nodeType": node_type, "run": self.kind,
                "maxAttempts": self.max_attempts, "retryIntervalSeconds": 1, "retryBackoffRate": 2,
                "params": {"top": 3}, "dependsOn": [], "dataSource": self.data_source, "dataTarget": null,
            }],
            "edges": [],
            "stages": [["work"]],
            "leaves": ["work"],
            "input": {"title": "A text"},
            "layers": ["models"],
            "callback": null,
        }))
        .expect("a snapshot");
        let status_keys = BTreeMap::from([("WAITING_FOR_INPUT", "T#acme#WAITING_FOR_INPUT".to_owned())]);
        let keys = RecordKeys { pk: format!("T#acme#RUN#{RUN_ID}"), status_keys };
        let input = snapshot.execution_input(&keys).expect("an input");
        let mut input: serde_json::Map<String, Value> = serde_json::from_str(&input).expect("the input as JSON");
        match &self.governor {
            Some(governor) => input.insert("governor".to_owned(), governor.clone()),
            None => input.remove("governor").and(input.remove("userId")),
        };
        Value::Object(input)
    }

    fn walk(self) -> Walk {
        let input = self.execution_input();
        let asked = json!({
            "machine": json(RUNNER)["States"]["RunStage"]["ItemProcessor"],
            "input": input["stages"][0][0],
            "executionInput": input,
            "variables": {"stageIndex": 0, "results": {}, "causeLimit": 8_192},
            "answers": self.answers,
        });
        let mut python = Command::new(program("python").expect("the Python environment"))
            .arg(file("tests/contracts/walk.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let mut stdin = python.stdin.take().expect("its input");
        stdin.write_all(asked.to_string().as_bytes()).expect("it reads");
        drop(stdin);
        let done = python.wait_with_output().expect("it ends");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let found: Value = serde_json::from_slice(&done.stdout).expect("what it found");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let all = |name: &str| found[name].as_array().expect("a list").clone();
        Walk {
            way: all("way").iter().map(text).collect(),
            calls: all("calls").iter().map(|call| (text(&call["state"]), call["arguments"].clone())).collect(),
            output: found.get("output").unwrap_or_else(|| panic!("the iteration must end well: {found}")).clone(),
        }
    }
}

#[test]
fn a_result_that_tells_of_no_usage_is_recorded_at_once() {
    let results = [
        json!({"words": 812}),
        json!(null),
        json!("usage"),
        json!({"usage": []}),
        json!([{"usage": [{"callId": "1"}]}]),
    ];
    for result in results {
        let walk = function().when("InvokeFunction", [gives(&json!({"Payload": result}))]).walk();
        assert_eq!(walk.way, ["RecordStart", "ChooseKind", "InvokeFunction", "FindUsage", "RecordResult"], "{result}");
        assert_eq!(walk.output, json!({"nodeId": "work", "result": result}));
        assert_eq!(walk.written("RecordResult", ":result"), result.to_string());
    }
}

#[test]
fn a_result_of_any_letters_runs_like_one_of_ascii() {
    // 120,000 bytes each.
    for letter in ["a", "é", "漢", "😀"] {
        let result = json!({"text": letter.repeat(120_000 / letter.len())});
        let walk = function().when("InvokeFunction", [gives(&json!({"Payload": result}))]).walk();
        assert_eq!(walk.way.last().map(String::as_str), Some("RecordResult"), "{letter}: {}", walk.output);
        let recorded: Value = serde_json::from_str(&walk.written("RecordResult", ":result")).expect("JSON");
        assert!(recorded == result, "{letter}: the result is kept whole");
        let bytes: u64 = walk.written("RecordResult", ":bytes").parse().expect("a number");
        assert!(bytes >= 120_000, "{letter}: never less than it is: {bytes}");
        assert_eq!(walk.output["result"]["resultRef"]["bytes"], bytes, "{letter}: too large to travel inline");
    }
}

#[test]
fn no_size_is_counted_by_encoding() {
    let runner = sluice_tests::text(RUNNER);
    for function in ["$encodeUrl", "$base64encode", "$eval"] {
        assert!(!runner.contains(function), "{function} takes as long as the text is");
    }
}

#[test]
fn a_value_and_an_answer_are_recorded_by_their_names_and_not_as_the_engine_reads_them() {
    let value = json!({"text": "é"});
    let source = Node { data_source: Some(value.clone()), ..node(NodeRun::Value) };
    let walk = source.walk();
    assert_eq!(walk.way, ["RecordStart", "ChooseKind", "RecordValue"]);
    assert_eq!(walk.written("RecordValue", ":bytes"), value.to_string().len().to_string());
    assert_eq!(walk.output, json!({"nodeId": "work", "result": value}));
    let walk = node(NodeRun::External).when("AwaitAnswer", [gives(&value)]).walk();
    let arguments = walk.arguments("RecordAnswer")[0];
    let writes = arguments["UpdateExpression"].as_str().expect("an expression");
    assert!(writes.contains("resultBytes = answerBytes"), "{writes}");
    let removed = writes.split("REMOVE").nth(1).expect("something is removed");
    assert!(!removed.split(", ").any(|name| name.trim() == "answer"), "the answer is the result: {writes}");
    assert_eq!(walk.output, json!({"nodeId": "work", "result": value}));
    for state in ["RecordValue", "RecordAnswer"] {
        let values =
            crate::runner::machine().of_nodes().state(state)["Arguments"]["ExpressionAttributeValues"].to_string();
        assert!(!values.contains("$reply"), "{state} writes what the engine has made of it");
    }
}

#[test]
fn a_busy_account_takes_no_attempt_of_a_node() {
    let throttled = || fails("Lambda.TooManyRequestsException");
    let mut answers: Vec<Value> = (0..10).map(|_| throttled()).collect();
    answers.push(gives(&json!({"Payload": {"words": 812}})));
    let walk = function().when("InvokeFunction", answers).walk();
    assert_eq!(walk.arguments("InvokeFunction").len(), 11);
    assert_eq!(walk.output["result"], json!({"words": 812}));
    assert_eq!(walk.written("RecordResult", ":attempt"), "1");
    // It is not waited for without end.
    let walk = function().when("InvokeFunction", [throttled()]).walk();
    assert_eq!(walk.arguments("InvokeFunction").len(), 11);
    assert_eq!(walk.written("RecordFailure", ":error"), "Lambda.TooManyRequestsException");
}

#[test]
fn a_result_that_the_table_refuses_fails_the_node_by_either_name_of_the_refusal() {
    for error in ["DynamoDB.ValidationException", "DynamoDB.AmazonDynamoDBException"] {
        let node = function().when("InvokeFunction", [gives(&json!({"Payload": 1}))]);
        let walk = node.when("RecordResult", [fails(error)]).walk();
        assert_eq!(walk.way.last().map(String::as_str), Some("RecordFailure"), "{error}: {:?}", walk.way);
        assert_eq!(walk.written("RecordFailure", ":error"), error);
    }
}

#[test]
fn what_a_result_says_of_usage_is_reported_before_the_result_is_recorded() {
    let arn: StateMachineArn = "arn:aws:states:eu-west-1:123456789012:stateMachine:p".parse().expect("an ARN");
    let machine = NodeRun::StateMachine { state_machine_arn: QualifiedArn::new(&arn, None) };
    let cases = [(function(), "InvokeFunction", "Payload"), (node(machine), "RunStateMachine", "Output")];
    for (node, state, field) in cases {
        // One call: a list of one must stay a list.
        let result =
            json!({"text": "done", "usage": [{"callId": "1", "provider": "p", "model": "m", "costUsd": 0.25}]});
        let recorded = gives(&json!({"Payload": {"recorded": 1, "repeated": 0}}));
        let walk = node.when(state, [gives(&json!({field: result}))]).when("ReportUsage", [recorded]).walk();
        assert_eq!(walk.way, ["RecordStart", "ChooseKind", state, "FindUsage", "ReportUsage", "RecordResult"]);
        let detail =
            json!({"tenantId": "acme", "runId": RUN_ID, "nodeId": "work", "attempt": 1, "usage": result["usage"]});
        let payload = json!({"source": "sluice.runner", "detail-type": "Usage Reported", "detail": detail});
        assert_eq!(walk.arguments("ReportUsage"), [&json!({"FunctionName": "${RunCallbackArn}", "Payload": payload})]);
        assert_eq!(walk.written("RecordResult", ":result"), result.to_string(), "the result is kept whole");
        assert_eq!(walk.output["result"], result);
    }
}

#[test]
fn usage_that_cannot_be_recorded_fails_the_node_for_good() {
    let spent = json!({"Payload": {"usage": [{"callId": "1"}]}});
    for (error, times) in [("Sluice.InvalidUsage", 1), ("States.DataLimitExceeded", 1), ("Lambda.ServiceException", 4)]
    {
        let node = function().with_attempts(3).when("InvokeFunction", [gives(&spent)]);
        let walk = node.when("ReportUsage", [fails(error)]).walk();
        assert_eq!(walk.arguments("ReportUsage").len(), times, "{error}");
        assert_eq!(walk.arguments("InvokeFunction").len(), 1, "another attempt would spend again");
        assert_eq!(walk.way.last().map(String::as_str), Some("RecordFailure"));
        assert_eq!(walk.written("RecordFailure", ":error"), error);
        assert_eq!(walk.written("RecordFailure", ":cause"), format!("because of {error}"));
        assert_eq!(walk.output["failed"], true);
    }
    let late = [fails("Lambda.TooManyRequestsException"), gives(&json!({"Payload": {"recorded": 1}}))];
    let walk = function().when("InvokeFunction", [gives(&spent)]).when("ReportUsage", late).walk();
    assert_eq!(walk.output["result"], spent["Payload"]);
}

#[test]
fn an_answer_that_says_failure_is_a_failed_attempt() {
    let answers = [fails("Model.Refused"), gives(&json!({"approved": true}))];
    let walk = node(NodeRun::External).with_attempts(2).when("AwaitAnswer", answers).walk();
    let wait = ["ChooseKind", "ShowWaiting", "AwaitAnswer"];
    let way = [&["RecordStart"][..], &wait, &["TryAgain", "BackOff"], &wait, &["RecordAnswer"]].concat();
    assert_eq!(walk.way, way);
    let waits = walk.arguments("AwaitAnswer");
    let attempts: Vec<&Value> = waits.iter().map(|wait| &wait["ExpressionAttributeValues"][":attempt"]["N"]).collect();
    assert_eq!(attempts, ["1", "2"]);
    let token = |wait: &Value| wait["ExpressionAttributeValues"][":token"].clone();
    assert_ne!(token(waits[0]), token(waits[1]), "an answer to the first wait is none to the second");
    assert_eq!(walk.output["result"], json!({"approved": true}));

    let walk = node(NodeRun::External).with_attempts(2).when("AwaitAnswer", [fails("Model.Refused")]).walk();
    assert_eq!(walk.arguments("AwaitAnswer").len(), 2);
    assert_eq!(walk.written("RecordFailure", ":attempt"), "2");
    let failure = (walk.written("RecordFailure", ":error"), walk.written("RecordFailure", ":cause"));
    assert_eq!(failure, ("Model.Refused".to_owned(), "because of Model.Refused".to_owned()));
}

/// The node of a container task, its revision chosen by a tag.
fn container(change: impl FnOnce(&mut ContainerTask)) -> Node {
    let mut task = ContainerTask {
        cluster_arn: "arn:aws:ecs:eu-west-1:123456789012:cluster/work".parse().expect("an ARN"),
        task_definition_arn: "arn:aws:ecs:eu-west-1:123456789012:task-definition/summarize".parse().expect("an ARN"),
        container_name: "worker".to_owned(),
        launch_type: None,
        subnets: Vec::new(),
        security_groups: Vec::new(),
        assign_public_ip: false,
    };
    change(&mut task);
    let tag = "7".parse().expect("a revision");
    let revision = QualifiedArn::new(&task.task_definition_arn, Some(&tag));
    node(NodeRun::Ecs(task.of(revision)))
}

#[test]
fn a_container_task_is_run_as_it_was_declared_and_told_all_of_its_contract() {
    let ended = json!({
        "TaskArn": "arn:aws:ecs:eu-west-1:123456789012:task/work/1", "StopCode": "EssentialContainerExited",
        "StoppedReason": "Essential container in task exited",
        "Containers": [{"ContainerArn": "c", "Name": "worker", "ExitCode": 0, "LastStatus": "STOPPED"}],
    });
    let walk = container(|_| {}).when("RunContainer", [gives(&ended)]).walk();
    assert_eq!(walk.way, ["RecordStart", "ChooseKind", "RunContainer", "RecordResult"]);
    let mut arguments = walk.arguments("RunContainer")[0].clone();
    let told = arguments["Overrides"]["ContainerOverrides"][0]["Environment"][0]["Value"].take();
    assert_eq!(
        arguments,
        json!({
            "Cluster": "arn:aws:ecs:eu-west-1:123456789012:cluster/work",
            "TaskDefinition": "arn:aws:ecs:eu-west-1:123456789012:task-definition/summarize:7",
            "Overrides": {"ContainerOverrides": [
                {"Name": "worker", "Environment": [{"Name": "SLUICE_TASK_INPUT", "Value": null}]},
            ]},
        })
    );
    let told: Value = serde_json::from_str(told.as_str().expect("a text")).expect("JSON");
    assert_eq!(violations(&processor_contract("input"), &told), Vec::<String>::new(), "{told}");
    assert_eq!(told["executionBudgetMicroUsd"], 1_250_000);
    assert_eq!(told["computeNodeBudgetMicroUsd"], 50_000_000);
    assert_eq!(told["layers"], json!(["models"]));
    assert_eq!((&told["params"]["top"], &told["attempt"]), (&json!(3), &json!(1)));
    let result = json!({
        "taskArn": ended["TaskArn"], "stoppedReason": ended["StoppedReason"],
        "containers": [{"name": "worker", "exitCode": 0}],
    });
    assert_eq!(walk.output["result"], result);

    let walk = container(|task| {
        task.launch_type = Some(LaunchType::Fargate);
        task.subnets = vec!["subnet-1".to_owned()];
        task.security_groups = vec!["sg-1".to_owned()];
        task.assign_public_ip = true;
    })
    .when("RunContainer", [gives(&ended)])
    .walk();
    let arguments = walk.arguments("RunContainer")[0];
    assert_eq!(arguments["LaunchType"], "FARGATE");
    let network = json!({"Subnets": ["subnet-1"], "SecurityGroups": ["sg-1"], "AssignPublicIp": "ENABLED"});
    assert_eq!(arguments["NetworkConfiguration"], json!({"AwsvpcConfiguration": network}));

    let two = container(|task| task.subnets = vec!["subnet-1".to_owned(), "subnet-2".to_owned()]);
    let walk = two.when("RunContainer", [gives(&ended)]).walk();
    let network = json!({"Subnets": ["subnet-1", "subnet-2"], "AssignPublicIp": "DISABLED"});
    assert_eq!(walk.arguments("RunContainer")[0]["NetworkConfiguration"], json!({"AwsvpcConfiguration": network}));
}

#[test]
fn a_container_task_that_fails_is_a_failed_attempt() {
    let walk = container(|_| {}).with_attempts(2).when("RunContainer", [fails("States.TaskFailed")]).walk();
    assert_eq!(walk.arguments("RunContainer").len(), 2);
    assert_eq!(walk.written("RecordFailure", ":error"), "States.TaskFailed");
}

/// A governor's door, with the grant of the run.
const DOOR: &str = "https://a1b2c3.execute-api.eu-west-1.amazonaws.com/v1/g/acme.0b0f5c1e-64a5-4d3a-9a5e-5d9f3e0c7a11.abcdef0123456789abcdef0123456789";

/// What a processor of each kind is handed: the state that calls it, and its inputs, one of each attempt.
fn handed(governor: Option<&Value>) -> [(&'static str, Vec<Value>); 3] {
    let governed = |node: Node| match governor {
        Some(governor) => node.governed_by(governor.clone()),
        None => node,
    };
    let tried = || [fails("Model.Down"), fails("Model.Down"), gives(&json!({"Payload": 1, "Output": 1}))];
    let arn: StateMachineArn = "arn:aws:states:eu-west-1:123456789012:stateMachine:p".parse().expect("an ARN");
    let machine = node(NodeRun::StateMachine { state_machine_arn: QualifiedArn::new(&arn, None) });
    [(function(), "InvokeFunction"), (machine, "RunStateMachine"), (container(|_| {}), "RunContainer")].map(
        |(node, state)| {
            let walk = governed(node).with_attempts(3).when(state, tried()).walk();
            let of_call = |arguments: &&Value| match state {
                "InvokeFunction" => arguments["Payload"].clone(),
                "RunStateMachine" => arguments["Input"].clone(),
                _ => arguments["Overrides"]["ContainerOverrides"][0]["Environment"].clone(),
            };
            (state, walk.arguments(state).iter().map(of_call).collect())
        },
    )
}

/// The input in a container's environment.
fn task_input(environment: &Value) -> Value {
    assert_eq!(environment[0]["Name"], "SLUICE_TASK_INPUT");
    serde_json::from_str(environment[0]["Value"].as_str().expect("a text")).expect("JSON")
}

#[test]
fn each_attempt_at_a_governed_node_has_a_governor_of_its_own() {
    let contract = processor_contract("input");
    for (state, attempts) in handed(Some(&json!(DOOR))) {
        assert_eq!(attempts.len(), 3, "{state}");
        for (number, given) in (1..).zip(attempts) {
            let url = format!("{DOOR}/work/{number}");
            let input = if state == "RunContainer" { task_input(&given) } else { given.clone() };
            assert_eq!(violations(&contract, &input), Vec::<String>::new(), "{state}: {input}");
            assert_eq!((&input["governor"], &input["attempt"]), (&json!({"url": url}), &json!(number)), "{state}");
            assert_eq!(input["userId"], "ann", "{state}");
            if state == "RunContainer" {
                let variable = json!({"Name": "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "Value": url});
                assert_eq!(given.as_array().map(|all| &all[1..]), Some(&[variable][..]), "SDKs find it by themselves");
            }
        }
    }
}

#[test]
fn a_run_that_nobody_governs_is_handed_null_whenever_it_was_made() {
    let contract = processor_contract("input");
    for governor in [None, Some(Value::Null)] {
        for (state, attempts) in handed(governor.as_ref()) {
            for given in attempts {
                let input = if state == "RunContainer" { task_input(&given) } else { given.clone() };
                assert_eq!(violations(&contract, &input), Vec::<String>::new(), "{state}: {input}");
                assert_eq!(input.get("governor"), Some(&Value::Null), "{state}");
                // A run that is older than the governor names nobody.
                let user = governor.as_ref().map_or(Value::Null, |_| json!("ann"));
                assert_eq!(input.get("userId"), Some(&user), "{state}");
                if state == "RunContainer" {
                    assert_eq!(given.as_array().map(Vec::len), Some(1), "no endpoint but AWS' own");
                }
            }
        }
    }
}
