//! An embedded DynamoDB with the single table, as the template makes it.

use super::relay::Relay;
use super::sdk;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue as Theirs, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType,
    Projection, ProjectionType, ScalarAttributeType,
};
use dynoxide::Database;
use serde_dynamo::AttributeValue;
use sluice_aws::call::Service;
use sluice_aws::clients::Clients;
use sluice_aws::config::Settings;
use sluice_aws::dynamo::Store;
use sluice_aws::dynamo::item::{Item, of_sdk};
use sluice_aws::dynamo::keys::Key;
use std::collections::HashMap;
use tokio::net::TcpListener;

/// A table of its own for one test.
#[derive(Clone, Debug)]
pub struct Table {
    pub store: Store,
    pub relay: Relay,
    pub settings: Settings,
    pub service: Service,
    /// For what no function does.
    pub client: Client,
}

/// Indexes with their keys, and what they hold.
const INDEXES: [(&str, &str, &str, ProjectionType); 7] = [
    ("byTenant", "tenantKey", "timeKey", ProjectionType::All),
    ("byDefinition", "definitionKey", "timeKey", ProjectionType::All),
    ("byStatus", "statusKey", "timeKey", ProjectionType::All),
    ("open", "openShard", "openAt", ProjectionType::All),
    ("due", "dueShard", "dueAt", ProjectionType::All),
    ("queue", "queueKey", "queueAt", ProjectionType::KeysOnly),
    ("discover", "discoverShard", "timeKey", ProjectionType::All),
];

impl Table {
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(dynoxide::server::serve_on(listener, Database::memory().expect("a database")));
        let relay = Relay::before(address).await;
        let settings = Settings::for_test(&relay.endpoint);
        let (service, client) = (Clients::new(&settings).dynamodb, sdk::dynamodb(&settings));
        create(&client, &settings.table).await;
        relay.take_passed();
        let store = Store::new(service.clone(), &settings.table);
        Self { store, relay, settings, service, client }
    }

    /// Another process: the same table, nothing remembered.
    pub fn another_store(&self) -> Store {
        Store::new(self.service.clone(), &self.settings.table)
    }

    pub async fn item(&self, key: Key) -> Option<Item> {
        let call = self.client.get_item().table_name(&self.settings.table).set_key(Some(theirs(key.into_item())));
        call.consistent_read(true).send().await.expect("an answer").item.as_ref().map(of_sdk)
    }

    pub async fn put(&self, item: Item) {
        let call = self.client.put_item().table_name(&self.settings.table).set_item(Some(theirs(item)));
        call.send().await.expect("an answer");
    }

    pub async fn delete(&self, key: Key) {
        let call = self.client.delete_item().table_name(&self.settings.table).set_key(Some(theirs(key.into_item())));
        call.send().await.expect("an answer");
    }

    /// What the runner does: `updateItem` with its own expressions. Returns whether the condition held.
    pub async fn update(
        &self,
        key: Key,
        condition: Option<&str>,
        expression: &str,
        names: &[(&str, &str)],
        values: &[(&str, AttributeValue)],
    ) -> bool {
        let mut call = self
            .client
            .update_item()
            .table_name(&self.settings.table)
            .set_key(Some(theirs(key.into_item())))
            .set_condition_expression(condition.map(str::to_owned))
            .update_expression(expression);
        for (name, attribute) in names {
            call = call.expression_attribute_names(*name, *attribute);
        }
        for (name, value) in values {
            call = call.expression_attribute_values(*name, value.clone().into());
        }
        match call.send().await {
            Ok(_) => true,
            Err(error) => {
                let error = error.into_service_error();
                assert!(error.is_conditional_check_failed_exception(), "{error:?}");
                false
            }
        }
    }

    /// Everything in the table, by key.
    pub async fn everything(&self) -> std::collections::BTreeMap<(String, String), Item> {
        let found = self.client.scan().table_name(&self.settings.table).send().await.expect("an answer");
        let key = |item: &Item| Key::of(item).map(|key| (key.pk, key.sk)).expect("a key");
        found.items.unwrap_or_default().iter().map(of_sdk).map(|item| (key(&item), item)).collect()
    }
}

/// An item as the SDK has it.
pub fn theirs(item: Item) -> HashMap<String, Theirs> {
    item.into_iter().map(|(name, value)| (name.into_owned(), value.into())).collect()
}

pub async fn create(client: &Client, table: &str) {
    let schema = |hash: &str, range: &str| {
        [(hash, KeyType::Hash), (range, KeyType::Range)]
            .into_iter()
            .map(|(name, kind)| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().expect("a key"))
            .collect::<Vec<_>>()
    };
    let mut names: Vec<&str> =
        INDEXES.iter().flat_map(|(_, hash, range, _)| [*hash, *range]).chain(["pk", "sk"]).collect();
    names.sort_unstable();
    names.dedup();
    let attributes = names.into_iter().map(|name| {
        AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(ScalarAttributeType::S)
            .build()
            .expect("an attribute")
    });
    let indexes = INDEXES.into_iter().map(|(name, hash, range, holds)| {
        GlobalSecondaryIndex::builder()
            .index_name(name)
            .set_key_schema(Some(schema(hash, range)))
            .projection(Projection::builder().projection_type(holds).build())
            .build()
            .expect("an index")
    });
    client
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .set_key_schema(Some(schema("pk", "sk")))
        .set_attribute_definitions(Some(attributes.collect()))
        .set_global_secondary_indexes(Some(indexes.collect()))
        .send()
        .await
        .expect("a table");
}
