//! Reads single fields of a body, and says what is wrong with them.

use serde_json::{Map, Value};
use sluice_core::governor::terms::ServiceTier;
use sluice_core::number::whole_literal;

/// Why a body is not understood. The operation's own validation error says it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("the body must be a JSON object")]
    NotAnObject,
    #[error("{0} must be a whole number that is not negative")]
    NotWhole(String),
    #[error("{0} is given twice, in two ways")]
    Twice(&'static str),
    #[error("{0} must be default, priority or flex")]
    Tier(&'static str),
    #[error("the field {0} is not governed")]
    Ungoverned(String),
}

/// Whether a field of any API bounds the length of an answer.
pub(super) fn is_limit(name: &str) -> bool {
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let name = name.to_ascii_lowercase();
    name.contains("max") && (name.contains("token") || name.contains("gen") || name.contains("length"))
}

pub(super) fn object(value: &Value) -> Result<&Map<String, Value>, Unreadable> {
    value.as_object().ok_or(Unreadable::NotAnObject)
}

/// The limit of an answer in the one field of these that is given.
pub(super) fn limit(fields: &Map<String, Value>, names: &[&'static str]) -> Result<Option<u64>, Unreadable> {
    let mut found = None;
    for name in names {
        if let Some(number) = number(fields.get(*name), name)?
            && found.replace(number).is_some()
        {
            return Err(Unreadable::Twice(name));
        }
    }
    Ok(found)
}

pub(super) fn number(value: Option<&Value>, name: &str) -> Result<Option<u64>, Unreadable> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => {
            let whole = whole_literal(&number.to_string()).and_then(|number| u64::try_from(number).ok());
            whole.map(Some).ok_or_else(|| Unreadable::NotWhole(name.to_owned()))
        }
        Some(Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_)) => {
            Err(Unreadable::NotWhole(name.to_owned()))
        }
    }
}

pub(super) fn tier(text: Option<&str>, name: &'static str) -> Result<ServiceTier, Unreadable> {
    text.and_then(|text| text.parse().ok()).ok_or(Unreadable::Tier(name))
}

pub(super) fn is_optimized(latency: Option<&str>) -> bool {
    latency.is_some_and(|latency| latency != "standard")
}
