//! What every item has: its key, its kind, the version of its shape. And how attributes are read and written.

pub use super::attributes::{Item, Map};
use crate::dynamo::keys::{self, Key};
use aws_sdk_dynamodb::types as sdk;
use serde::Serialize;
use serde::de::value::MapDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer};
use serde_dynamo::AttributeValue;
use std::collections::HashMap;

/// An item as the SDK shows it, which it does where a condition did not hold.
pub fn of_sdk(item: &HashMap<String, sdk::AttributeValue>) -> Item {
    item.iter().map(|(name, value)| (name.clone().into(), value.clone().into())).collect()
}

/// The version of every stored shape.
pub const V: &str = "1";

impl Key {
    pub fn into_item(self) -> Item {
        Item::from([(keys::PK.into(), AttributeValue::S(self.pk)), (keys::SK.into(), AttributeValue::S(self.sk))])
    }

    /// The key of an item that was read.
    pub fn of(item: &Item) -> Option<Self> {
        Some(Self::new(text(item, keys::PK)?, text(item, keys::SK)?))
    }
}

/// An item that no released version wrote, or that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ItemError {
    #[error("the item is no {expected} but {found}")]
    Kind { expected: &'static str, found: String },
    #[error("the item has shape {0:?}, which this version does not know")]
    Shape(Option<String>),
    #[error("the {kind} does not read or write as attributes: {source}")]
    Attributes { kind: &'static str, source: serde_dynamo::Error },
    #[error("the {kind} has no valid {attribute}")]
    Attribute { kind: &'static str, attribute: &'static str },
    #[error("a run that is {status} has no {attribute}")]
    Surplus { status: &'static str, attribute: &'static str },
    #[error("the document of the {kind} does not read or write as JSON: {source}")]
    Document { kind: &'static str, source: serde_json::Error },
}

pub type ItemResult<T> = Result<T, ItemError>;

/// A text attribute.
pub fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    match item.get(name) {
        Some(AttributeValue::S(text)) => Some(text),
        Some(_) | None => None,
    }
}

pub fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// The parsed text attribute that an item of this kind must have.
pub(super) fn parsed<T: std::str::FromStr>(kind: &'static str, item: &Item, attribute: &'static str) -> ItemResult<T> {
    let found = text(item, attribute).and_then(|text| text.parse().ok());
    found.ok_or(ItemError::Attribute { kind, attribute })
}

/// The number that an item of this kind must have.
pub(super) fn number<T: std::str::FromStr>(kind: &'static str, item: &Item, attribute: &'static str) -> ItemResult<T> {
    let found = match item.get(attribute) {
        Some(AttributeValue::N(number)) => number.parse().ok(),
        Some(_) | None => None,
    };
    found.ok_or(ItemError::Attribute { kind, attribute })
}

/// The document of an item of this kind, JSON text.
pub(super) fn document<'a>(kind: &'static str, item: &'a Item) -> ItemResult<&'a str> {
    check(kind, item)?;
    text(item, DOCUMENT).ok_or(ItemError::Attribute { kind, attribute: DOCUMENT })
}

pub(super) const DOCUMENT: &str = "document";
pub(super) const RUN_ID: &str = "runId";
pub(super) const TENANT_ID: &str = "tenantId";

pub fn n(number: impl std::fmt::Display) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// Gives an item what every item has.
pub(super) fn stamped(mut item: Item, kind: &'static str, key: Key) -> Item {
    item.extend(key.into_item());
    item.insert("kind".into(), s(kind));
    item.insert("v".into(), n(V));
    item
}

pub(super) fn write<T: Serialize>(kind: &'static str, stored: &T, key: Key) -> ItemResult<Item> {
    let attributes = attributes(kind, stored)?.into_iter().map(|(name, value)| (name.into(), value));
    Ok(stamped(attributes.collect(), kind, key))
}

/// What is stored, as attributes.
pub(super) fn attributes<T: Serialize>(kind: &'static str, stored: &T) -> ItemResult<Map> {
    let failed = |source| ItemError::Attributes { kind, source };
    let AttributeValue::M(attributes) = serde_dynamo::to_attribute_value(stored).map_err(failed)? else {
        return Err(failed(serde::ser::Error::custom("a value has no attributes")));
    };
    Ok(attributes)
}

pub(super) fn check(kind: &'static str, item: &Item) -> ItemResult<()> {
    let found = text(item, "kind");
    if found != Some(kind) {
        return Err(ItemError::Kind { expected: kind, found: found.unwrap_or("of no kind").to_owned() });
    }
    match item.get("v") {
        Some(AttributeValue::N(shape)) if shape == V => Ok(()),
        Some(AttributeValue::N(shape)) => Err(ItemError::Shape(Some(shape.clone()))),
        Some(_) | None => Err(ItemError::Shape(None)),
    }
}

pub(super) fn read<T: DeserializeOwned>(kind: &'static str, item: Item) -> ItemResult<T> {
    check(kind, &item)?;
    let attributes = MapDeserializer::new(item.into_iter().map(|(name, value)| (name, Stored(value))));
    T::deserialize(attributes).map_err(|source| ItemError::Attributes { kind, source })
}

/// An attribute of an item that is read.
struct Stored(AttributeValue);

impl IntoDeserializer<'_, serde_dynamo::Error> for Stored {
    type Deserializer = serde_dynamo::Deserializer;

    fn into_deserializer(self) -> Self::Deserializer {
        serde_dynamo::Deserializer::from_attribute_value(self.0)
    }
}

pub(super) fn set(item: &mut Item, attributes: impl IntoIterator<Item = (&'static str, String)>) {
    item.extend(attributes.into_iter().map(|(name, value)| (name.into(), s(value))));
}
