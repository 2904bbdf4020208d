//! How services are called, beside how the SDK's own clients call them: as many attempts.

use crate::operations::{their_update, update};
use crate::support::http::Scripted;
use crate::support::sdk;
use aws_sdk_sfn::error::SdkError;
use aws_sdk_sfn::operation as sfn;
use sluice_aws::call::Service;
use sluice_aws::clients::Clients;
use sluice_aws::config::Settings;
use sluice_aws::dynamo::operation::UpdateItem;
use sluice_aws::sfn::operation::{StartExecution, StartExecutionInput};
use std::sync::{Arc, Mutex};
use tokio::task::JoinSet;

const START: StartExecutionInput<'_> = StartExecutionInput { state_machine_arn: "arn", name: "n", input: "{}" };

/// A service that answers every call so.
async fn answering(status: u16, code: &str) -> Scripted {
    let body = format!(r#"{{"__type":"com.amazonaws.service#{code}","message":"as told"}}"#);
    Scripted::start(move |_| (status, body.clone())).await
}

/// Codes that services answer with, those of throttles and of trouble that passes among them.
const CODES: [&str; 24] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottledException",
    "TooManyRequestsException",
    "ProvisionedThroughputExceededException",
    "TransactionInProgressException",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
    "LimitExceededException",
    "RequestThrottled",
    "SlowDown",
    "PriorRequestNotComplete",
    "EC2ThrottledException",
    "RequestTimeout",
    "RequestTimeoutException",
    "ReplicatedWriteConflictException",
    "InternalServerError",
    "TransactionConflictException",
    "ConditionalCheckFailedException",
    "ValidationException",
    "AccessDeniedException",
    "ExecutionAlreadyExists",
    "Unheard",
];

/// How many attempts a service gets that answers so: of ours, and of the SDK's clients.
async fn attempts(status: u16, code: &str) -> (usize, usize) {
    let scripted = answering(status, code).await;
    let settings = Settings::for_test(&scripted.endpoint);
    let clients = Clients::new(&settings);
    drop(clients.dynamodb.call::<UpdateItem>(update()).await);
    drop(start_by(&clients.sfn).await);
    let ours = scripted.asked().len();
    drop(their_update().send_with(&sdk::dynamodb(&settings)).await);
    let start = sfn::start_execution::StartExecutionInput::builder().state_machine_arn("arn");
    drop(start.send_with(&sdk::sfn(&settings)).await);
    (ours, scripted.asked().len() - ours)
}

#[tokio::test]
async fn a_call_is_tried_again_where_the_sdk_tries_again() {
    let mut cases = JoinSet::new();
    for status in [200, 400, 403, 408, 429, 500, 501, 502, 503, 504] {
        for code in CODES {
            cases.spawn(async move { (status, code, attempts(status, code).await) });
        }
    }
    while let Some(case) = cases.join_next().await {
        let (status, code, (ours, theirs)) = case.expect("no panic");
        assert_eq!(ours, theirs, "{status} {code}");
    }
}

#[tokio::test]
async fn what_may_be_carried_out_late_is_sent_once() {
    for status in [400, 500, 503] {
        let scripted = answering(status, "ThrottlingException").await;
        let dynamodb = Clients::new(&Settings::for_test(&scripted.endpoint)).dynamodb;
        let failed = dynamodb.call_once::<UpdateItem>(update()).await;
        assert!(failed.is_err());
        assert_eq!(scripted.asked().len(), 1, "{status}");
    }
}

async fn start_by(service: &Service) -> Result<(), SdkError<sfn::start_execution::StartExecutionError>> {
    service.call::<StartExecution>(START).await.map(drop)
}

/// 500 for all, 10 for each attempt more after trouble that passes, 1 back for each success.
#[tokio::test]
async fn a_service_in_trouble_is_not_asked_more_and_more() {
    let broken = Arc::new(Mutex::new(true));
    let is_broken = Arc::clone(&broken);
    let scripted = Scripted::start(move |_| {
        let status = if *is_broken.lock().expect("it") { 503 } else { 200 };
        (status, r#"{"executionArn":"arn","startDate":1}"#.to_owned())
    });
    let scripted = scripted.await;
    let sfn = Clients::new(&Settings::for_test(&scripted.endpoint)).sfn;
    for _ in 0..40 {
        start_by(&sfn).await.expect_err("it is broken");
    }
    assert_eq!(scripted.asked().len(), 40 + 50, "the quota is spent");
    *broken.lock().expect("it") = false;
    for _ in 0..9 {
        start_by(&sfn).await.expect("it is well");
    }
    *broken.lock().expect("it") = true;
    start_by(&sfn).await.expect_err("it is broken");
    assert_eq!(scripted.asked().len(), 90 + 9 + 1, "nine are too few for another attempt");
    *broken.lock().expect("it") = false;
    start_by(&sfn).await.expect("it is well");
    *broken.lock().expect("it") = true;
    start_by(&sfn).await.expect_err("it is broken");
    assert_eq!(scripted.asked().len(), 100 + 1 + 2, "ten pay for one");
}
