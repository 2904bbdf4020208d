//! Windows of meters: what was counted in each.

use super::form::{Item, ItemError, ItemResult, V, check, n, s};
use aws_sdk_dynamodb::types::AttributeValue;
use jiff::SignedDuration;
use sluice_core::meter::{Count, Reading};

const METER: &str = "meter";
const COUNTED: &str = "counted";

/// How long a window is kept for those whose clocks are late. DynamoDB deletes it some time after that.
const KEPT: SignedDuration = SignedDuration::from_mins(10);

/// The expression that counts on a window of a meter, which makes the window where there is none yet; names and values of it.
pub fn count(count: &Count) -> (&'static str, (&'static str, &'static str), Item) {
    let forgotten = count.key.ends_at().saturating_add(KEPT).map_or(i64::MAX, |at| at.as_second());
    let values = Item::from([
        (":kind".to_owned(), s(METER)),
        (":v".to_owned(), n(V)),
        (":ttl".to_owned(), n(forgotten)),
        (":by".to_owned(), n(count.by)),
    ]);
    ("SET kind = :kind, v = :v, #ttl = :ttl ADD counted :by", ("#ttl", "ttl"), values)
}

pub fn to_reading(item: &Item) -> ItemResult<Reading> {
    check(METER, item)?;
    match item.get(COUNTED) {
        Some(AttributeValue::N(number)) => {
            number.parse().map(Reading).map_err(|_| ItemError::Attribute { kind: METER, attribute: COUNTED })
        }
        Some(_) | None => Err(ItemError::Attribute { kind: METER, attribute: COUNTED }),
    }
}
