//! The table: what it keeps, and the indexes that the store asks.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{DOCUMENT, reference, resource};

#[test]
fn the_table_keeps_what_it_must_and_forgets_what_it_may() {
    let table = resource("Table");
    assert_eq!(table["BillingMode"], "PAY_PER_REQUEST");
    assert_eq!(table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"], true);
    assert_eq!(table["TimeToLiveSpecification"], json!({"AttributeName": "ttl", "Enabled": true}));
    assert_eq!(table["DeletionProtectionEnabled"], reference("TableDeletionProtection"));
    assert_eq!(DOCUMENT["Parameters"]["TableDeletionProtection"]["Default"], "true");
    let whole = &DOCUMENT["Resources"]["Table"];
    assert_eq!(whole["DeletionPolicy"], reference("TableDeletionPolicy"));
    let replaced = json!({"Fn::FindInMap": ["ReplacedTable", reference("TableDeletionPolicy"), "Policy"]});
    assert_eq!(whole["UpdateReplacePolicy"], replaced);
}

#[test]
fn the_indexes_are_those_the_store_asks() {
    let key = |schema: &Value| -> String {
        let names = schema.as_array().into_iter().flatten().filter_map(|part| part["AttributeName"].as_str());
        names.collect::<Vec<_>>().join(" ")
    };
    let table = resource("Table");
    assert_eq!(key(&table["KeySchema"]), "pk sk");
    let indexes: BTreeMap<&str, String> = table["GlobalSecondaryIndexes"]
        .as_array()
        .expect("indexes")
        .iter()
        .map(|index| {
            let name = index["IndexName"].as_str().expect("a name");
            // Whose turn it is says the key alone; the run is loaded before it is moved.
            let projected = if name == "queue" { "KEYS_ONLY" } else { "ALL" };
            assert_eq!(index["Projection"]["ProjectionType"], projected, "{name}");
            (name, key(&index["KeySchema"]))
        })
        .collect();
    let expected = [
        ("byTenant", "tenantKey timeKey"),
        ("byDefinition", "definitionKey timeKey"),
        ("byStatus", "statusKey timeKey"),
        ("open", "openShard openAt"),
        ("due", "dueShard dueAt"),
        ("queue", "queueKey queueAt"),
        ("discover", "discoverShard timeKey"),
    ];
    assert_eq!(indexes, expected.map(|(name, key)| (name, key.to_owned())).into());
    for attribute in table["AttributeDefinitions"].as_array().expect("attributes") {
        assert_eq!(attribute["AttributeType"], "S");
    }
}
