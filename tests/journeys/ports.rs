//! The adapters over the stack's own services, held to the rules that the ports in memory are held to: what the flows and
//! the simulation take for granted is so where Sluice runs. `sluice_testkit::contract` has the rules.

mod engine;
mod store;

use serde_json::{Value, json};
use sluice_aws::config::Settings;
use sluice_local::Stack;
use std::future::Future;

use crate::world::{STACK, list};

/// The adapters' settings for the stack, as its administrator.
fn settings(table: &str) -> Settings {
    let stack: &Stack = &STACK;
    let variable = |name: &str| match name {
        "AWS_REGION" => Some(stack.region),
        "AWS_ACCESS_KEY_ID" => Some(stack.credentials.access_key_id.as_str()),
        "AWS_SECRET_ACCESS_KEY" => Some(stack.credentials.secret_access_key.as_str()),
        "AWS_ENDPOINT_URL" => Some(stack.aws_endpoint_url.as_str()),
        "SLUICE_TABLE" => Some(table),
        _ => None,
    };
    Settings::from_variables(|name| variable(name).map(str::to_owned)).expect("settings")
}

/// A table as the template makes it, empty. Not the deployed one: its own sweep would take what is put there for its own.
fn table(name: &str) -> String {
    let deployed = aws("dynamodb", "describe_table", json!({"TableName": STACK.table}));
    let deployed = &deployed["Table"];
    let indexes = list(&deployed["GlobalSecondaryIndexes"]);
    let index = |index: &Value| {
        json!({
            "IndexName": index["IndexName"],
            "KeySchema": index["KeySchema"],
            "Projection": index["Projection"],
        })
    };
    let name = format!("ports-{name}");
    let made = json!({
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": deployed["KeySchema"],
        "AttributeDefinitions": deployed["AttributeDefinitions"],
        "GlobalSecondaryIndexes": indexes.iter().map(index).collect::<Vec<_>>(),
    });
    aws("dynamodb", "create_table", made);
    name
}

fn aws(service: &str, operation: &str, params: Value) -> Value {
    STACK.aws(service, operation, params).unwrap_or_else(|error| panic!("{service} {operation}: {error}"))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(future)
}
