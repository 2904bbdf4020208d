//! How services are called, beside how the SDK's own clients call them: the same requests, and as many attempts.

use crate::support::http::{Scripted, Whole, json, serve};
use crate::support::sdk;
use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation as dynamodb;
use aws_sdk_dynamodb::types::{
    AttributeValue, DeleteRequest, KeysAndAttributes, Put, ReturnValue, TransactWriteItem, WriteRequest,
};
use aws_sdk_eventbridge::operation::put_events::{PutEvents, PutEventsInput};
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use aws_sdk_sfn::operation as sfn;
use aws_sdk_sfn::types::ExecutionStatus;
use proptest::prelude::*;
use sluice_aws::call::Service;
use sluice_aws::clients::Clients;
use sluice_aws::config::Settings;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use tokio::task::JoinSet;

/// Headers that say who calls and when, and the SDK's about itself.
const OWN: [&str; 6] =
    ["authorization", "x-amz-date", "user-agent", "x-amz-user-agent", "amz-sdk-invocation-id", "amz-sdk-request"];

type Request = (String, BTreeMap<String, String>, Vec<u8>);

/// Takes requests down, and answers each with an empty object.
async fn recorder() -> (Settings, Arc<Mutex<Vec<Request>>>) {
    let taken: Arc<Mutex<Vec<Request>>> = Arc::default();
    let seen = Arc::clone(&taken);
    let address = serve(move |request: Whole| {
        let headers = request.headers().iter().filter(|(name, _)| !OWN.contains(&name.as_str()));
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()));
        let line = format!("{} {}", request.method(), request.uri());
        seen.lock().expect("the list").push((line, headers.collect(), request.body().to_vec()));
        async { Some(json(200, "{}")) }
    })
    .await;
    (Settings::for_test(&format!("http://{address}")), taken)
}

/// Makes a call by the service and by its SDK's client, and compares what was sent.
macro_rules! same {
    ($recorder:expr, $service:ident, $operation:ty, $input:expr) => {{
        let (settings, taken) = &$recorder;
        let input = $input;
        // An empty object is no answer to some: only what was sent counts here.
        drop(Clients::new(settings).$service.call::<$operation>(input.clone().build()).await);
        drop(input.send_with(&sdk::$service(settings)).await);
        let taken: Vec<Request> = taken.lock().expect("the list").drain(..).collect();
        let [ours, theirs] = &taken[..] else { panic!("{taken:?}") };
        assert_eq!(ours, theirs, stringify!($operation));
    }};
}

fn key(text: &str) -> [(String, AttributeValue); 2] {
    [("pk".to_owned(), AttributeValue::S(text.to_owned())), ("n".to_owned(), AttributeValue::N("1.50e3".to_owned()))]
}

#[tokio::test]
async fn every_operation_is_asked_for_as_its_sdk_asks() {
    let recorder = recorder().await;
    let text = "a \"text\" of \u{e9}, \u{1f680} and \u{7}";
    let item = || Some(key(text).into());
    let keys = || KeysAndAttributes::builder().set_keys(Some(vec![key(text).into()])).build().expect("keys");
    let delete = || DeleteRequest::builder().set_key(item()).build().expect("a delete");
    let write = || WriteRequest::builder().delete_request(delete()).build();
    let put = || Put::builder().table_name("t").set_item(item()).build().expect("a put");
    let entry = || PutEventsRequestEntry::builder().source("sluice").detail(text).build();
    use dynamodb::{
        batch_get_item as get_batch, batch_write_item as write_batch, delete_item, get_item, put_item, query,
        transact_write_items as transact, update_item,
    };
    use sfn::{
        describe_execution as describe, list_executions as list, send_task_failure as fail,
        send_task_success as answer, start_execution as start, stop_execution as stop,
    };
    let batch = get_batch::BatchGetItemInput::builder().request_items("t", keys());
    same!(recorder, dynamodb, get_batch::BatchGetItem, batch);
    let batch = write_batch::BatchWriteItemInput::builder().request_items("t", vec![write()]);
    same!(recorder, dynamodb, write_batch::BatchWriteItem, batch);
    let input = delete_item::DeleteItemInput::builder().table_name("t").set_key(item());
    same!(recorder, dynamodb, delete_item::DeleteItem, input);
    let input = get_item::GetItemInput::builder().table_name("t").set_key(item()).consistent_read(true);
    same!(recorder, dynamodb, get_item::GetItem, input);
    let input = put_item::PutItemInput::builder().table_name("t").set_item(item()).condition_expression(text);
    same!(recorder, dynamodb, put_item::PutItem, input);
    let input = query::QueryInput::builder().table_name("t").key_condition_expression(text).limit(7);
    same!(recorder, dynamodb, query::Query, input);
    let writes = TransactWriteItem::builder().put(put()).build();
    let input = transact::TransactWriteItemsInput::builder().transact_items(writes).client_request_token("a token");
    same!(recorder, dynamodb, transact::TransactWriteItems, input);
    let input = update_item::UpdateItemInput::builder().table_name("t").set_key(item());
    same!(recorder, dynamodb, update_item::UpdateItem, input.return_values(ReturnValue::AllNew));
    same!(recorder, events, PutEvents, PutEventsInput::builder().entries(entry()));
    let arn = "arn:aws:states:eu-west-1:123456789012:execution:a:b";
    same!(recorder, sfn, describe::DescribeExecution, describe::DescribeExecutionInput::builder().execution_arn(arn));
    let input = list::ListExecutionsInput::builder().state_machine_arn(arn).status_filter(ExecutionStatus::Running);
    same!(recorder, sfn, list::ListExecutions, input.max_results(10));
    let input = fail::SendTaskFailureInput::builder().task_token(text).error("e").cause(text);
    same!(recorder, sfn, fail::SendTaskFailure, input);
    let input = answer::SendTaskSuccessInput::builder().task_token(text).output(text);
    same!(recorder, sfn, answer::SendTaskSuccess, input);
    let input = start::StartExecutionInput::builder().state_machine_arn(arn).name("n").input(text);
    same!(recorder, sfn, start::StartExecution, input);
    let input = stop::StopExecutionInput::builder().execution_arn(arn).error("e").cause(text);
    same!(recorder, sfn, stop::StopExecution, input);
}

fn start() -> Result<sfn::start_execution::StartExecutionInput, BuildError> {
    sfn::start_execution::StartExecutionInput::builder().state_machine_arn("arn").build()
}

fn update() -> dynamodb::update_item::builders::UpdateItemInputBuilder {
    dynamodb::update_item::UpdateItemInput::builder().table_name("t")
}

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
    drop(clients.dynamodb.call::<dynamodb::update_item::UpdateItem>(update().build()).await);
    drop(start_by(&clients.sfn).await);
    let ours = scripted.asked().len();
    drop(update().send_with(&sdk::dynamodb(&settings)).await);
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
        let failed = dynamodb.call_once::<dynamodb::update_item::UpdateItem>(update().build()).await;
        assert!(failed.is_err());
        assert_eq!(scripted.asked().len(), 1, "{status}");
    }
}

async fn start_by(service: &Service) -> Result<(), SdkError<sfn::start_execution::StartExecutionError>> {
    service.call::<sfn::start_execution::StartExecution>(start()).await.map(drop)
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

/// What was made of an answer: an output, or whether an error could be read in it, with its code and its message.
fn made<O: Debug, E: ProvideErrorMetadata>(answer: Result<O, SdkError<E>>) -> Result<String, String> {
    let told = |error: SdkError<E>| {
        let is_read = matches!(error, SdkError::ServiceError(_));
        format!("{is_read} {:?} {:?}", error.code(), error.message())
    };
    answer.map(|output| format!("{output:?}")).map_err(told)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a service answers, nobody panics, and what can be read is what the SDK reads.
    #[test]
    fn any_answer_is_read_as_the_sdk_reads_it(status in 200_u16..600, body in prop_oneof![
        ".{0,40}",
        "\\{\"(Attributes|__type|message)\":\"?[a-zA-Z#]{0,12}\"?\\}",
        Just(r#"{"Attributes":{"c":{"L":[{"N":"1e400"},{"NULL":true},{"BOOL":false}]}}}"#.to_owned()),
    ]) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async move {
            let scripted = Scripted::start(move |_| (status, body.clone())).await;
            let settings = Settings::for_test(&scripted.endpoint);
            let service = Clients::new(&settings).dynamodb;
            let ours = made(service.call::<dynamodb::update_item::UpdateItem>(update().build()).await);
            assert_eq!(ours, made(update().send_with(&sdk::dynamodb(&settings)).await));
        });
    }
}
