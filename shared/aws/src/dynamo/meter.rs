//! Counting on meters: one write, without a condition.

use super::{Store, failed, item, keys};
use aws_sdk_dynamodb::operation::update_item::{UpdateItem, UpdateItemInput};
use sluice_core::meter::Count;
use sluice_core::ports::{CountOnMeter, StoreResult};

impl CountOnMeter for Store {
    async fn count(&self, count: &Count) -> StoreResult<()> {
        let (expression, (placeholder, attribute), values) = item::count(count);
        let update = UpdateItemInput::builder()
            .table_name(&*self.table)
            .set_key(Some(keys::meter(&count.key).into_item()))
            .update_expression(expression)
            .expression_attribute_names(placeholder, attribute)
            .set_expression_attribute_values(Some(values));
        self.dynamodb
            .call::<UpdateItem>(update.build())
            .await
            .map(|_| ())
            .map_err(|error| failed("count on a meter", &error))
    }
}
