//! The table as DynamoDB would keep it: embedded, put back to what it was before each event that is played.

use crate::error::{Error, Result};
use crate::services::Answer;
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// As the functions are told to call it.
pub const NAME: &str = "sluice-benchmark";

/// Indexes with their keys, and what they hold: as `infra/template.yaml` makes them. Where one is missing, the playing fails.
const INDEXES: [(&str, &str, &str, &str); 7] = [
    ("byTenant", "tenantKey", "timeKey", "ALL"),
    ("byDefinition", "definitionKey", "timeKey", "ALL"),
    ("byStatus", "statusKey", "timeKey", "ALL"),
    ("open", "openShard", "openAt", "ALL"),
    ("due", "dueShard", "dueAt", "ALL"),
    ("queue", "queueKey", "queueAt", "KEYS_ONLY"),
    ("discover", "discoverShard", "timeKey", "ALL"),
];

/// The single table.
pub struct Table {
    database: Database,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Table").finish_non_exhaustive()
    }
}

impl Table {
    /// One without items.
    ///
    /// # Errors
    /// When there can be no table.
    pub fn empty() -> Result<Self> {
        let table = Self { database: Database::memory().map_err(Error::wrong("the embedded table"))? };
        table.sure("CreateTable", &description())?;
        Ok(table)
    }

    /// What this table answers, errors of DynamoDB's included.
    pub fn call(&self, operation: &str, body: &str) -> Answer {
        let told = |error: &DynoxideError| Answer::whole(error.status_code(), error.to_json());
        self.dispatch(operation, body).map_or_else(|error| told(&error), |body| Answer::whole(200, body))
    }

    /// The same for calls of ours, which have to succeed.
    ///
    /// # Errors
    /// When it is refused.
    pub fn sure(&self, operation: &str, body: &Value) -> Result<Value> {
        let answer = self.call(operation, &body.to_string());
        if answer.status != 200 {
            return Err(Error::Wrong(format!("{operation} on the embedded table: {}", answer.text())));
        }
        serde_json::from_str(answer.text()).map_err(Error::wrong(operation))
    }

    /// Every item.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn items(&self) -> Result<Vec<Value>> {
        let found = self.sure("Scan", &json!({"TableName": NAME}))?;
        // The items of a benchmark are few: a second page would be a mistake.
        if found.get("LastEvaluatedKey").is_some() {
            return Err(Error::Wrong("the embedded table has outgrown one page".to_owned()));
        }
        Ok(found["Items"].as_array().cloned().unwrap_or_default())
    }

    /// Has these items and no others from now on.
    ///
    /// # Errors
    /// When one of them is refused.
    pub fn restore(&mut self, items: &[Value]) -> Result<()> {
        *self = Self::empty()?;
        for item in items {
            self.sure("PutItem", &json!({"TableName": NAME, "Item": item}))?;
        }
        Ok(())
    }

    fn dispatch(&self, operation: &str, body: &str) -> std::result::Result<String, DynoxideError> {
        let database = &self.database;
        match operation {
            "CreateTable" => said(body, |asked| database.create_table(asked)),
            "GetItem" => said(body, |asked| database.get_item(asked)),
            "BatchGetItem" => said(body, |asked| database.batch_get_item(asked)),
            "Query" => said(body, |asked| database.query(asked)),
            "Scan" => said(body, |asked| database.scan(asked)),
            "PutItem" => said(body, |asked| database.put_item(asked)),
            "UpdateItem" => said(body, |asked| database.update_item(asked)),
            "DeleteItem" => said(body, |asked| database.delete_item(asked)),
            "BatchWriteItem" => said(body, |asked| database.batch_write_item(asked)),
            "TransactGetItems" => said(body, |asked| database.transact_get_items(asked)),
            "TransactWriteItems" => said(body, |asked| database.transact_write_items(asked)),
            other => Err(DynoxideError::ValidationException(format!("the benchmark's table does not know {other}"))),
        }
    }
}

fn said<Asked: DeserializeOwned, Said: Serialize>(
    body: &str,
    call: impl FnOnce(Asked) -> std::result::Result<Said, DynoxideError>,
) -> std::result::Result<String, DynoxideError> {
    let unreadable = |error: serde_json::Error| DynoxideError::SerializationException(error.to_string());
    let said = call(serde_json::from_str(body).map_err(unreadable)?)?;
    serde_json::to_string(&said).map_err(unreadable)
}

fn description() -> Value {
    let key = |hash: &str, range: &str| json!([{"AttributeName": hash, "KeyType": "HASH"}, {"AttributeName": range, "KeyType": "RANGE"}]);
    let mut names: Vec<&str> =
        INDEXES.iter().flat_map(|(_, hash, range, _)| [*hash, *range]).chain(["pk", "sk"]).collect();
    names.sort_unstable();
    names.dedup();
    let attributes: Vec<Value> =
        names.iter().map(|name| json!({"AttributeName": name, "AttributeType": "S"})).collect();
    let indexes: Vec<Value> = INDEXES
        .iter()
        .map(|(name, hash, range, holds)| {
            json!({"IndexName": name, "KeySchema": key(hash, range), "Projection": {"ProjectionType": holds}})
        })
        .collect();
    json!({
        "TableName": NAME,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": attributes,
        "KeySchema": key("pk", "sk"),
        "GlobalSecondaryIndexes": indexes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_put_back_to_what_it_was() {
        let mut table = Table::empty().expect("a table");
        let item = json!({"pk": {"S": "a"}, "sk": {"S": "b"}, "tenantKey": {"S": "t"}, "timeKey": {"S": "1"}});
        table.sure("PutItem", &json!({"TableName": NAME, "Item": item})).expect("put");
        let before = table.items().expect("items");
        table
            .sure("DeleteItem", &json!({"TableName": NAME, "Key": {"pk": {"S": "a"}, "sk": {"S": "b"}}}))
            .expect("gone");
        assert!(table.items().expect("items").is_empty());
        table.restore(&before).expect("restored");
        assert_eq!(table.items().expect("items"), [item]);
        let listed = json!({
            "TableName": NAME, "IndexName": "byTenant", "KeyConditionExpression": "tenantKey = :t",
            "ExpressionAttributeValues": {":t": {"S": "t"}},
        });
        assert_eq!(table.sure("Query", &listed).expect("a page")["Count"], 1);
    }

    #[test]
    fn what_dynamodb_refuses_is_refused_in_its_words() {
        let table = Table::empty().expect("a table");
        let put = json!({
            "TableName": NAME, "Item": {"pk": {"S": "a"}, "sk": {"S": "b"}},
            "ConditionExpression": "attribute_exists(pk)",
        });
        let answer = table.call("PutItem", &put.to_string());
        assert!(answer.status == 400 && answer.text().contains("ConditionalCheckFailedException"), "{answer:?}");
        assert_eq!(table.call("Unheard", "{}").status, 400);
    }
}
