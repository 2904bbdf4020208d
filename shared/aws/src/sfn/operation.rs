//! The operation of Step Functions that every run needs: its request in JSON by serde, as in `dynamo/operation.rs`.
//! Source: <https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html>

use crate::call::{Done, by_serde};
use serde::Serialize;

by_serde! {
    aws_sdk_sfn as "AWSStepFunctions":
    StartExecution(StartExecutionInput<'a>) -> Done, start_execution::StartExecutionError;
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StartExecutionInput<'a> {
    pub state_machine_arn: &'a str,
    pub name: &'a str,
    pub input: &'a str,
}
