//! What operations ask and what is read in their answers, beside what the SDK's own clients send and read.

use crate::support::http::{Scripted, Whole, json, serve};
use crate::support::{sdk, table};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemInputBuilder;
use aws_sdk_dynamodb::operation::update_item::{UpdateItemInput, UpdateItemOutput};
use aws_sdk_dynamodb::types::{
    ConditionCheck, Delete, DeleteRequest, KeysAndAttributes, Put, ReturnValue as TheirReturnValue,
    ReturnValuesOnConditionCheckFailure, Select, TransactWriteItem as TheirWriteItem, Update, WriteRequest,
};
use aws_sdk_eventbridge::operation::put_events::{PutEvents, PutEventsInput};
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use aws_sdk_sfn::operation as sfn;
use aws_sdk_sfn::types::ExecutionStatus;
use proptest::prelude::*;
use serde_dynamo::AttributeValue;
use serde_json::Value;
use sluice_aws::clients::Clients;
use sluice_aws::config::Settings;
use sluice_aws::dynamo::item::{Item, of_sdk};
use sluice_aws::dynamo::operation::{
    self, BatchGetItem, BatchWriteItem, Change, DeleteItem, GetItem, Names, PutItem, Query, ReturnValue,
    TransactWriteItem, TransactWriteItems, UpdateItem,
};
use sluice_aws::sfn::operation::{StartExecution, StartExecutionInput};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

/// Headers that say who calls and when, and the SDK's about itself.
const OWN: [&str; 6] =
    ["authorization", "x-amz-date", "user-agent", "x-amz-user-agent", "amz-sdk-invocation-id", "amz-sdk-request"];

type Request = (String, BTreeMap<String, String>, Value);

/// Takes requests down, and answers each with an empty object.
async fn recorder() -> (Settings, Arc<Mutex<Vec<Request>>>) {
    let taken: Arc<Mutex<Vec<Request>>> = Arc::default();
    let seen = Arc::clone(&taken);
    let address = serve(move |request: Whole| {
        let headers = request.headers().iter().filter(|(name, _)| !OWN.contains(&name.as_str()));
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()));
        let line = format!("{} {}", request.method(), request.uri());
        let body = serde_json::from_slice(request.body()).expect("JSON");
        seen.lock().expect("the list").push((line, headers.collect(), body));
        async { Some(json(200, "{}")) }
    })
    .await;
    (Settings::for_test(&format!("http://{address}")), taken)
}

/// Makes a call by the service and by its SDK's client, and compares what was sent: the members of a body are in no order.
macro_rules! same {
    ($recorder:expr, $service:ident, $operation:ty, $input:expr) => {{
        let input = $input;
        same!($recorder, $service, $operation, input.clone().build(), input);
    }};
    ($recorder:expr, $service:ident, $operation:ty, $ours:expr, $theirs:expr) => {{
        let (settings, taken) = &$recorder;
        // An empty object is no answer to some: only what was sent counts here.
        drop(Clients::new(settings).$service.call::<$operation>($ours).await);
        drop($theirs.send_with(&sdk::$service(settings)).await);
        let taken: Vec<Request> = taken.lock().expect("the list").drain(..).collect();
        let [ours, theirs] = &taken[..] else { panic!("{taken:?}") };
        assert_eq!(ours, theirs, stringify!($operation));
    }};
}

const TEXT: &str = "a \"text\" of \u{e9}, \u{1f680} and \u{7}";

/// Every kind of attribute that is written.
fn attributes() -> Item {
    let text = || AttributeValue::S(TEXT.to_owned());
    let kinds = [
        ("pk", text()),
        ("n", AttributeValue::N("1.50e3".to_owned())),
        ("bool", AttributeValue::Bool(true)),
        ("null", AttributeValue::Null(true)),
        ("set", AttributeValue::Ss(vec![TEXT.to_owned(), "b".to_owned()])),
        ("list", AttributeValue::L(vec![text(), AttributeValue::L(Vec::new())])),
        ("map", AttributeValue::M([(TEXT.into(), AttributeValue::M(HashMap::new()))].into())),
    ];
    kinds.map(|(name, value)| (name.into(), value)).into()
}

#[tokio::test]
async fn every_operation_is_asked_for_as_its_sdk_asks() {
    let recorder = recorder().await;
    let names = || Names::from([("#n".into(), "n".into()), ("#m".into(), TEXT.into())]);
    let of_names = |names: Names| names.into_iter().map(|(name, of)| (name.into_owned(), of.into_owned())).collect();
    let their_names = || Some(of_names(names()));
    macro_rules! told {
        ($builder:expr) => {
            $builder
                .table_name("t")
                .condition_expression(TEXT)
                .set_expression_attribute_names(their_names())
                .set_expression_attribute_values(Some(table::theirs(attributes())))
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        };
    }
    let bare = || Change { table_name: "t", ..Change::default() };
    let told = || Change {
        condition_expression: Some(TEXT.into()),
        expression_attribute_names: names(),
        expression_attribute_values: attributes(),
        return_values_on_condition_check_failure: Some(ReturnValue::AllOld),
        ..bare()
    };
    let of_key = || Change { key: Some(attributes()), ..told() };
    let put = || Change { item: Some(attributes()), ..told() };
    let update = |returns| Change { update_expression: Some(TEXT.into()), return_values: returns, ..of_key() };
    let item = || Some(table::theirs(attributes()));
    use aws_sdk_dynamodb::operation::{
        batch_get_item::BatchGetItemInput, batch_write_item::BatchWriteItemInput, delete_item::DeleteItemInput,
        get_item::GetItemInput, put_item::PutItemInput, query::QueryInput,
        transact_write_items::TransactWriteItemsInput, update_item::UpdateItemInput,
    };
    use sfn::{
        describe_execution as describe, list_executions as list, send_task_failure as fail,
        send_task_success as answer, start_execution as start, stop_execution as stop,
    };
    let keys = [attributes(), attributes()];
    for (projection, names) in [(None, Names::new()), (Some("#n"), names())] {
        let wanted = operation::KeysAndAttributes {
            keys: &keys,
            projection_expression: projection,
            expression_attribute_names: &names,
            consistent_read: true,
        };
        let batch = operation::BatchGetItemInput { request_items: [("t", wanted)].into() };
        let wanted = KeysAndAttributes::builder()
            .set_keys(Some(vec![table::theirs(attributes()), table::theirs(attributes())]))
            .consistent_read(true);
        let wanted = wanted.set_projection_expression(projection.map(str::to_owned));
        let wanted = wanted
            .set_expression_attribute_names((!names.is_empty()).then(|| of_names(names.clone())))
            .build()
            .expect("keys");
        same!(recorder, dynamodb, BatchGetItem, batch, BatchGetItemInput::builder().request_items("t", wanted));
    }
    let deletes = [operation::WriteRequest { delete_request: operation::DeleteRequest { key: attributes() } }];
    let batch = operation::BatchWriteItemInput { request_items: [("t", &deletes[..])].into() };
    let delete = DeleteRequest::builder().set_key(item()).build().expect("a delete");
    let delete = WriteRequest::builder().delete_request(delete).build();
    same!(recorder, dynamodb, BatchWriteItem, batch, BatchWriteItemInput::builder().request_items("t", vec![delete]));
    same!(recorder, dynamodb, DeleteItem, of_key(), told!(DeleteItemInput::builder().set_key(item())));
    let bare_delete = Change { key: Some(attributes()), ..bare() };
    let their_bare_delete = DeleteItemInput::builder().table_name("t").set_key(item());
    same!(recorder, dynamodb, DeleteItem, bare_delete, their_bare_delete);
    let get = operation::GetItemInput { table_name: "t", key: attributes(), consistent_read: true };
    let their_get = GetItemInput::builder().table_name("t").set_key(item()).consistent_read(true);
    same!(recorder, dynamodb, GetItem, get, their_get);
    same!(recorder, dynamodb, PutItem, put(), told!(PutItemInput::builder().set_item(item())));
    for (ours, returns) in [
        (None, None),
        (Some(ReturnValue::None), Some(TheirReturnValue::None)),
        (Some(ReturnValue::AllNew), Some(TheirReturnValue::AllNew)),
        (Some(ReturnValue::AllOld), Some(TheirReturnValue::AllOld)),
    ] {
        let their_update = UpdateItemInput::builder().set_key(item()).update_expression(TEXT);
        same!(recorder, dynamodb, UpdateItem, update(ours), told!(their_update.set_return_values(returns)));
    }
    let query = operation::QueryInput {
        table_name: "t",
        index_name: Some("i"),
        consistent_read: false,
        scan_index_forward: true,
        key_condition_expression: TEXT.to_owned(),
        filter_expression: Some("f".to_owned()),
        projection_expression: Some("p".to_owned()),
        expression_attribute_names: names(),
        expression_attribute_values: attributes(),
        select: Some(operation::Select::Count),
        limit: Some(7),
        exclusive_start_key: Some(attributes()),
    };
    let their_query = QueryInput::builder()
        .table_name("t")
        .index_name("i")
        .consistent_read(false)
        .scan_index_forward(true)
        .key_condition_expression(TEXT)
        .filter_expression("f")
        .projection_expression("p")
        .set_expression_attribute_names(their_names())
        .set_expression_attribute_values(item())
        .select(Select::Count)
        .limit(7)
        .set_exclusive_start_key(item());
    same!(recorder, dynamodb, Query, query, their_query);
    let writes = operation::TransactWriteItemsInput {
        transact_items: vec![
            TransactWriteItem::Put(put()),
            TransactWriteItem::Update(update(None)),
            TransactWriteItem::Delete(of_key()),
            TransactWriteItem::ConditionCheck(of_key()),
        ],
        client_request_token: "a token",
    };
    let one = TheirWriteItem::builder;
    let their_update = Update::builder().set_key(item()).update_expression(TEXT);
    let their_writes = TransactWriteItemsInput::builder()
        .client_request_token("a token")
        .transact_items(one().put(told!(Put::builder().set_item(item())).build().expect("a put")).build())
        .transact_items(one().update(told!(their_update).build().expect("an update")).build())
        .transact_items(one().delete(told!(Delete::builder().set_key(item())).build().expect("a delete")).build())
        .transact_items(
            one().condition_check(told!(ConditionCheck::builder().set_key(item())).build().expect("a check")).build(),
        );
    same!(recorder, dynamodb, TransactWriteItems, writes, their_writes);
    let entry = || PutEventsRequestEntry::builder().source("sluice").detail(TEXT).build();
    same!(recorder, events, PutEvents, PutEventsInput::builder().entries(entry()));
    let arn = "arn:aws:states:eu-west-1:123456789012:execution:a:b";
    same!(recorder, sfn, describe::DescribeExecution, describe::DescribeExecutionInput::builder().execution_arn(arn));
    let input = list::ListExecutionsInput::builder().state_machine_arn(arn).status_filter(ExecutionStatus::Running);
    same!(recorder, sfn, list::ListExecutions, input.max_results(10));
    let input = fail::SendTaskFailureInput::builder().task_token(TEXT).error("e").cause(TEXT);
    same!(recorder, sfn, fail::SendTaskFailure, input);
    let input = answer::SendTaskSuccessInput::builder().task_token(TEXT).output(TEXT);
    same!(recorder, sfn, answer::SendTaskSuccess, input);
    let input = StartExecutionInput { state_machine_arn: arn, name: "n", input: TEXT };
    let their_input = start::StartExecutionInput::builder().state_machine_arn(arn).name("n").input(TEXT);
    same!(recorder, sfn, StartExecution, input, their_input);
    let input = stop::StopExecutionInput::builder().execution_arn(arn).error("e").cause(TEXT);
    same!(recorder, sfn, stop::StopExecution, input);
}

pub fn update() -> Change<'static> {
    Change { table_name: "t", ..Change::default() }
}

pub fn their_update() -> UpdateItemInputBuilder {
    UpdateItemInput::builder().table_name("t")
}

/// An item as DynamoDB answers with it, of every kind of attribute.
const ITEM: &str = r#"{"pk":{"S":"\u00e9 \"x\" \ud83d\ude80"},"n":{"N":"1.50e3"},"l":{"L":[{"NULL":true},{"BOOL":false},{"L":[]}]},
    "m":{"M":{"k":{"SS":["a","b"]},"e":{"M":{}}}},"ns":{"NS":["1","2.0"]},"b":{"B":"AQI="},"bs":{"BS":["AQI="]}}"#;

#[tokio::test]
async fn what_dynamodb_answers_is_read_as_the_sdk_reads_it() {
    let said = Arc::new(Mutex::new(String::new()));
    let answer = Arc::clone(&said);
    let scripted = Scripted::start(move |_| (200, answer.lock().expect("it").clone())).await;
    let settings = Settings::for_test(&scripted.endpoint);
    let (ours, theirs) = (Clients::new(&settings).dynamodb, sdk::dynamodb(&settings));
    let answers = |body: &str| *said.lock().expect("it") = body.replace("ITEM", ITEM);
    let of_sdks = |items: &[HashMap<String, _>]| items.iter().map(of_sdk).collect::<Vec<Item>>();
    for body in ["{}", r#"{"Item":ITEM}"#, r#"{"ConsumedCapacity":{"TableName":"t","CapacityUnits":1.5},"Item":{}}"#] {
        answers(body);
        let get = operation::GetItemInput { table_name: "t", key: attributes(), consistent_read: true };
        let ours = ours.call::<GetItem>(get).await.expect("an answer").item;
        let theirs = theirs.get_item().table_name("t").send().await.expect("an answer").item;
        assert_eq!(ours, theirs.as_ref().map(of_sdk), "{body}");
    }
    for body in ["{}", r#"{"Count":7,"ScannedCount":9}"#, r#"{"Items":[ITEM,{}],"Count":2,"LastEvaluatedKey":ITEM}"#] {
        answers(body);
        let query = operation::QueryInput { table_name: "t", ..operation::QueryInput::default() };
        let ours = ours.call::<Query>(query).await.expect("an answer");
        let theirs = theirs.query().table_name("t").send().await.expect("an answer");
        assert_eq!(ours.items.unwrap_or_default(), of_sdks(theirs.items()), "{body}");
        assert_eq!(i32::try_from(ours.count), Ok(theirs.count()), "{body}");
        assert_eq!(ours.last_evaluated_key, theirs.last_evaluated_key().map(of_sdk), "{body}");
    }
    for body in [
        "{}",
        r#"{"Responses":{"t":[ITEM,ITEM]},"UnprocessedKeys":{}}"#,
        r#"{"UnprocessedKeys":{"t":{"Keys":[ITEM]}}}"#,
    ] {
        answers(body);
        let get = operation::BatchGetItemInput { request_items: BTreeMap::new() };
        let ours = ours.call::<BatchGetItem>(get).await.expect("an answer");
        let theirs = theirs.batch_get_item().send().await.expect("an answer");
        let found = ours.responses.unwrap_or_default().remove("t").unwrap_or_default();
        let theirs_found = theirs.responses().and_then(|all| all.get("t")).map_or(&[][..], Vec::as_slice);
        assert_eq!(found, of_sdks(theirs_found), "{body}");
        let left = ours.unprocessed_keys.unwrap_or_default().remove("t").map_or_else(Vec::new, |left| left.keys);
        let their_left = theirs.unprocessed_keys().and_then(|all| all.get("t")).map_or(&[][..], |left| left.keys());
        assert_eq!(left, of_sdks(their_left), "{body}");
    }
    for body in ["{}", r#"{"UnprocessedItems":{"t":[{"DeleteRequest":{"Key":ITEM}}]}}"#] {
        answers(body);
        let write = operation::BatchWriteItemInput { request_items: BTreeMap::new() };
        let ours = ours.call::<BatchWriteItem>(write).await.expect("an answer");
        let theirs = theirs.batch_write_item().send().await.expect("an answer");
        let left = ours.unprocessed_items.unwrap_or_default().remove("t").unwrap_or_default();
        let left: Vec<Item> = left.into_iter().map(|write| write.delete_request.key).collect();
        let their_left = theirs.unprocessed_items().and_then(|all| all.get("t")).map_or(&[][..], Vec::as_slice);
        let their_left: Vec<Item> =
            their_left.iter().filter_map(|write| write.delete_request()).map(|write| of_sdk(write.key())).collect();
        assert_eq!(left, their_left, "{body}");
    }
    answers(r#"{"Attributes":ITEM,"ItemCollectionMetrics":{"SizeEstimateRangeGB":[0,1]}}"#);
    let written = ours.call::<UpdateItem>(update()).await.expect("an answer").attributes;
    let theirs = their_update().send_with(&theirs).await.expect("an answer");
    assert_eq!(written, their_attributes(theirs));
    ours.call::<PutItem>(update()).await.expect("an answer");
}

/// What was made of an answer: the attributes in it, or whether an error could be read in it, with its code and its message.
fn made<E: ProvideErrorMetadata>(answer: Result<Option<Item>, SdkError<E>>) -> Result<Option<Item>, String> {
    let told = |error: SdkError<E>| {
        let is_read = matches!(error, SdkError::ServiceError(_));
        format!("{is_read} {:?} {:?}", error.code(), error.message())
    };
    answer.map_err(told)
}

fn their_attributes(output: UpdateItemOutput) -> Option<Item> {
    output.attributes.as_ref().map(of_sdk)
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
            let ours = made(service.call::<UpdateItem>(update()).await.map(|output| output.attributes));
            let theirs = their_update().send_with(&sdk::dynamodb(&settings)).await;
            assert_eq!(ours, made(theirs.map(their_attributes)));
        });
    }
}
