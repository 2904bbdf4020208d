//! The stacks, and the processors that the journeys bring.

use std::process::Command;
use std::sync::{LazyLock, Mutex};

use serde_json::{Value, json};
use sluice_local::{Error, Options, Stack, program};

use super::JSON;

/// The stack that nobody breaks.
pub static STACK: LazyLock<Stack> = LazyLock::new(|| {
    let stack = start("journeys");
    deploy_function(&stack, "echo").expect("the processor echo");
    deploy_function(&stack, "spend").expect("the processor spend");
    deploy_nested(&stack).expect("the processor nested");
    stack
});

/// The stack for the journeys that break something.
pub static FAULTS: LazyLock<Stack> = LazyLock::new(|| start("faults"));
pub static TURN: Mutex<()> = Mutex::new(());

fn start(name: &str) -> Stack {
    Stack::start(&Options::test(name), &mut |_| {}).unwrap_or_else(|error| panic!("the stack {name}: {error}"))
}

/// A processor of the journeys' own: a function, in the folder of its key.
fn deploy_function(stack: &Stack, key: &str) -> Result<(), Error> {
    let name = format!("sluice-processor-{key}");
    let package = stack.folder.join(format!("{key}.zip"));
    let bootstrap = sluice_tests::file(format!("tests/journeys/{key}/bootstrap"));
    let zipped = Command::new(program("python")?).args(["-m", "zipfile", "-c"]).arg(&package).arg(bootstrap).status();
    assert!(zipped.is_ok_and(|status| status.success()), "the package of {name}");
    let of_the_sample =
        stack.aws("lambda", "get_function_configuration", json!({"FunctionName": "sluice-processor-hold"}))?;
    stack.aws(
        "lambda",
        "create_function",
        json!({
            "FunctionName": name,
            "Runtime": "provided.al2023",
            "Handler": "bootstrap",
            "Architectures": of_the_sample["Architectures"],
            "Role": of_the_sample["Role"],
            "Timeout": 30,
            "Code": {"ZipFile": {"$file": package}},
        }),
    )?;
    let arn = format!("arn:aws:lambda:{}:{}:function:{name}", stack.region, stack.account);
    declare(stack, key, &json!({"kind": "lambda", "functionArn": arn, "tenants": ["*"], "tags": ["$LATEST"]}));
    Ok(())
}

/// The processor echo as a state machine.
fn deploy_nested(stack: &Stack) -> Result<(), Error> {
    let echo = json!({
        "QueryLanguage": "JSONata",
        "StartAt": "Fail?",
        "States": {
            "Fail?": {
                "Type": "Choice",
                "Choices": [{"Condition": "{% $states.input.params.fail = true %}", "Next": "Fail"}],
                "Default": "Echo",
            },
            "Fail": {"Type": "Fail", "Error": "Nested.Told", "Cause": "it was told to"},
            "Echo": {"Type": "Pass", "Output": "{% $states.input %}", "End": true},
        },
    });
    let runner = stack.aws("stepfunctions", "describe_state_machine", json!({"stateMachineArn": stack.runner_arn}))?;
    let made = stack.aws(
        "stepfunctions",
        "create_state_machine",
        json!({"name": "sluice-processor-nested", "definition": echo.to_string(), "roleArn": runner["roleArn"]}),
    )?;
    let body = json!({"kind": "stateMachine", "stateMachineArn": made["stateMachineArn"], "tenants": ["*"]});
    declare(stack, "nested", &body);
    Ok(())
}

fn declare(stack: &Stack, key: &str, body: &Value) {
    let path = format!("/v1/processors/{key}");
    let answer = stack.request("PUT", &path, &JSON, body.to_string()).expect("an answer");
    assert!(answer.status < 300, "{path}: {} {}", answer.status, answer.text());
}
