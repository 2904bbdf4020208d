//! Step Functions as the stack has it, with state machines made for the rules.

use serde_json::{Value, json};
use sluice_aws::{Aws, Engine};
use sluice_core::arn::StateMachineArn;
use sluice_core::id::RunId;
use sluice_testkit::contract::engine::{Bench, Difference, FAILURE, Machine};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::LazyLock;
use std::time::Duration;

use super::{aws, block_on, settings, table};
use crate::world::{STACK, text};

struct OnTheStack {
    engine: Engine,
}

/// Where executions of [`Machine::Asks`] put their tokens.
static TOKENS: LazyLock<String> = LazyLock::new(|| table("tokens"));

static MACHINES: LazyLock<BTreeMap<Machine, StateMachineArn>> = LazyLock::new(|| {
    let runner = aws("stepfunctions", "describe_state_machine", json!({"stateMachineArn": STACK.runner_arn}));
    let make = |machine: Machine| {
        let definition = definition(machine).to_string();
        let name = format!("ports-{machine:?}");
        let params = json!({"name": name, "definition": definition, "roleArn": runner["roleArn"]});
        let made = aws("stepfunctions", "create_state_machine", params);
        if machine == Machine::Gone {
            aws("stepfunctions", "delete_state_machine", json!({"stateMachineArn": made["stateMachineArn"]}));
        }
        (machine, text(&made["stateMachineArn"]).parse().expect("an ARN"))
    };
    [
        Machine::Waits,
        Machine::WaitsToo,
        Machine::Succeeds,
        Machine::Fails,
        Machine::TimesOut,
        Machine::Asks,
        Machine::Gone,
    ]
    .map(make)
    .into()
});

fn definition(machine: Machine) -> Value {
    let state = match machine {
        Machine::Waits | Machine::WaitsToo | Machine::Gone => json!({"Type": "Wait", "Seconds": 120, "End": true}),
        Machine::Succeeds => json!({"Type": "Pass", "End": true}),
        Machine::Fails => json!({"Type": "Fail", "Error": FAILURE.0, "Cause": FAILURE.1}),
        Machine::TimesOut => json!({"Type": "Wait", "Seconds": 2, "End": true}),
        Machine::Asks => json!({
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:dynamodb:updateItem.waitForTaskToken",
            "Arguments": {
                "TableName": *TOKENS,
                "Key": {"pk": {"S": "{% $states.context.Execution.Name %}"}, "sk": {"S": "TOKEN"}},
                "UpdateExpression": "SET taskToken = :token",
                "ExpressionAttributeValues": {":token": {"S": "{% $states.context.Task.Token %}"}},
            },
            "End": true,
        }),
    };
    let mut definition = json!({"QueryLanguage": "JSONata", "StartAt": "Only", "States": {"Only": state}});
    if machine == Machine::TimesOut {
        definition["TimeoutSeconds"] = json!(1);
    }
    definition
}

impl Bench for OnTheStack {
    type Engine = Engine;

    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn machine(&self, machine: Machine) -> StateMachineArn {
        MACHINES[&machine].clone()
    }

    fn fresh_run(&self) -> RunId {
        RunId(uuid::Uuid::now_v7())
    }

    async fn token(&self, run_id: RunId) -> Option<String> {
        let key = json!({"pk": {"S": run_id}, "sk": {"S": "TOKEN"}});
        let found = aws("dynamodb", "get_item", json!({"TableName": *TOKENS, "Key": key, "ConsistentRead": true}));
        found["Item"]["taskToken"]["S"].as_str().map(str::to_owned)
    }

    async fn pause(&self) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    fn differs(&self, difference: Difference) -> bool {
        // All that ministack 1.5.33 has; a rule that finds one of them gone fails.
        match difference {
            // It keeps whatever it was given, and runs with `{}` where that is no JSON.
            Difference::InputNotChecked => true,
            // It reads no `TimeoutSeconds` but those of tasks.
            Difference::NoTimeOut => true,
            // It takes a token out of its list only when an answer has come.
            Difference::TokenOutlivesStop => true,
        }
    }
}

fn on_the_stack(rule: impl for<'a> FnOnce(&'a OnTheStack) -> Pin<Box<dyn Future<Output = ()> + 'a>>) {
    LazyLock::force(&MACHINES);
    block_on(async {
        let bench = OnTheStack { engine: Aws::connect(&settings(&STACK.table)).await.engine };
        rule(&bench).await;
    });
}

sluice_testkit::engine_rules!(on_the_stack);
