//! The rules of the store ports, over DynamoDB.

use crate::support::table::Table;
use std::pin::Pin;

fn over_dynamodb(rule: impl for<'a> FnOnce(&'a Table) -> Pin<Box<dyn Future<Output = ()> + 'a>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { rule(&Table::new().await).await });
}

sluice_testkit::store_rules!(over_dynamodb);
