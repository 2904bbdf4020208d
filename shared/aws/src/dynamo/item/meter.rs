//! Windows of meters: what was counted in each; and what the sweep counted.

use super::form::{Item, ItemError, ItemResult, V, check, n, read, s, write};
use crate::dynamo::keys;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_dynamo::AttributeValue;
use sluice_core::id::TenantId;
use sluice_core::meter::{Count, Reading};
use sluice_core::open_runs::OpenRuns;
use sluice_core::time::millis;

const METER: &str = "meter";
const COUNTED: &str = "counted";
const OPEN_RUNS: &str = "open-runs";

/// How long a window is kept for those whose clocks are late. DynamoDB deletes it some time after that.
const KEPT: SignedDuration = SignedDuration::from_mins(10);

/// The expression that counts on a window of a meter, which makes the window where there is none yet; names and values of it.
pub fn count(count: &Count) -> (&'static str, (&'static str, &'static str), Item) {
    let forgotten = count.key.ends_at().saturating_add(KEPT).map_or(i64::MAX, |at| at.as_second());
    let values = Item::from([
        (":kind".into(), s(METER)),
        (":v".into(), n(V)),
        (":ttl".into(), n(forgotten)),
        (":by".into(), n(count.by)),
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

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredOpenRuns {
    counted: u32,
    #[serde(with = "millis")]
    at: Timestamp,
    ttl: i64,
}

pub fn from_open_runs(tenant: &TenantId, open: &OpenRuns) -> ItemResult<Item> {
    let ttl = open.holds_until().saturating_add(KEPT).map_or(i64::MAX, |at| at.as_second());
    write(OPEN_RUNS, &StoredOpenRuns { counted: open.count, at: open.at, ttl }, keys::open_runs(tenant))
}

pub fn to_open_runs(item: Item) -> ItemResult<OpenRuns> {
    let StoredOpenRuns { counted, at, .. } = read(OPEN_RUNS, item)?;
    Ok(OpenRuns { count: counted, at })
}
