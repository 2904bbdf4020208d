//! Counting on meters: one write, without a condition.

use super::operation::{Change, Names, UpdateItem};
use super::{Store, failed, item, keys};
use sluice_core::meter::Count;
use sluice_core::ports::{CountOnMeter, StoreResult};

impl CountOnMeter for Store {
    async fn count(&self, count: &Count) -> StoreResult<()> {
        let (expression, (placeholder, attribute), values) = item::count(count);
        let update = Change {
            key: Some(keys::meter(&count.key).into_item()),
            update_expression: Some(expression.into()),
            expression_attribute_names: Names::from([(placeholder.into(), attribute.into())]),
            expression_attribute_values: values,
            ..self.change()
        };
        self.dynamodb.call::<UpdateItem>(update).await.map(|_| ()).map_err(|error| failed("count on a meter", &error))
    }
}
