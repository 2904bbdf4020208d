//! The operations of DynamoDB that the store asks for: requests and answers in its JSON, by serde; failures as the SDK reads them.
//! Each is what the SDK's operation of that name is, with the members that are used here.
//! Source: <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Operations_Amazon_DynamoDB.html>
//!
//! Decision (2026-11-29): not the SDK's form of requests and answers. It has maps of its own for items, between the text and the form
//! that `serde_dynamo` reads and writes, which took an eighth of a request's time. `tests/benchmark/README.md` has the figures,
//! `tests/adapters/operations.rs` holds both beside the SDK's.

use super::item::Item;
use crate::call::{Done, by_serde};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

by_serde! {
    aws_sdk_dynamodb as "DynamoDB_20120810":
    BatchGetItem(BatchGetItemInput<'a>) -> BatchGetItemOutput, batch_get_item::BatchGetItemError;
    BatchWriteItem(BatchWriteItemInput<'a>) -> BatchWriteItemOutput, batch_write_item::BatchWriteItemError;
    DeleteItem(Change<'a>) -> Done, delete_item::DeleteItemError;
    GetItem(GetItemInput<'a>) -> GetItemOutput, get_item::GetItemError;
    PutItem(Change<'a>) -> Done, put_item::PutItemError;
    Query(QueryInput<'a>) -> QueryOutput, query::QueryError;
    TransactWriteItems(TransactWriteItemsInput<'a>) -> Done, transact_write_items::TransactWriteItemsError;
    UpdateItem(Change<'a>) -> UpdateItemOutput, update_item::UpdateItemError;
}

/// What an expression calls attributes whose names are reserved words.
pub type Names = BTreeMap<Cow<'static, str>, Cow<'static, str>>;

/// A change of one item, alone or in a transaction: a put has the item, all others have its key.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Change<'a> {
    pub table_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_expression: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition_expression: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Names::is_empty")]
    pub expression_attribute_names: Names,
    #[serde(skip_serializing_if = "Item::is_empty")]
    pub expression_attribute_values: Item,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_values: Option<ReturnValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_values_on_condition_check_failure: Option<ReturnValue>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReturnValue {
    AllNew,
    AllOld,
    None,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TransactWriteItemsInput<'a> {
    pub transact_items: Vec<TransactWriteItem<'a>>,
    pub client_request_token: &'a str,
}

#[derive(Debug, Serialize)]
pub enum TransactWriteItem<'a> {
    ConditionCheck(Change<'a>),
    Delete(Change<'a>),
    Put(Change<'a>),
    Update(Change<'a>),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetItemInput<'a> {
    pub table_name: &'a str,
    pub key: Item,
    pub consistent_read: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BatchGetItemInput<'a> {
    pub request_items: BTreeMap<&'a str, KeysAndAttributes<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeysAndAttributes<'a> {
    pub keys: &'a [Item],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projection_expression: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub expression_attribute_names: &'a Names,
    pub consistent_read: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BatchWriteItemInput<'a> {
    pub request_items: BTreeMap<&'a str, &'a [WriteRequest]>,
}

/// Of the two kinds of such writes, the store makes one.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct WriteRequest {
    pub delete_request: DeleteRequest,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteRequest {
    pub key: Item,
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueryInput<'a> {
    pub table_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index_name: Option<&'a str>,
    pub consistent_read: bool,
    pub scan_index_forward: bool,
    pub key_condition_expression: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter_expression: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projection_expression: Option<String>,
    pub expression_attribute_names: Names,
    pub expression_attribute_values: Item,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub select: Option<Select>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclusive_start_key: Option<Item>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Select {
    Count,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetItemOutput {
    pub item: Option<Item>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateItemOutput {
    pub attributes: Option<Item>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BatchGetItemOutput {
    pub responses: Option<BTreeMap<String, Vec<Item>>>,
    pub unprocessed_keys: Option<BTreeMap<String, UnprocessedKeys>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UnprocessedKeys {
    pub keys: Vec<Item>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BatchWriteItemOutput {
    pub unprocessed_items: Option<BTreeMap<String, Vec<WriteRequest>>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueryOutput {
    pub items: Option<Vec<Item>>,
    #[serde(default)]
    pub count: u32,
    pub last_evaluated_key: Option<Item>,
}
