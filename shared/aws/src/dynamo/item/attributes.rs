//! An item: attributes by their names.

use serde::de::value::MapDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_dynamo::AttributeValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::mem::replace;
use std::ops::Index;
use std::{fmt, vec};

/// Most names are known when this is compiled.
pub type Name = Cow<'static, str>;
/// Attributes within an attribute.
pub type Map = HashMap<String, AttributeValue>;

/// Attributes, sorted by their names, of which none is there twice. They are few, so that a list takes less than a map.
#[derive(Clone, Default, PartialEq)]
pub struct Item(Vec<(Name, AttributeValue)>);

impl Item {
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| (**other).cmp(name))
    }

    pub fn get(&self, name: &str) -> Option<&AttributeValue> {
        self.find(name).ok().map(|at| &self.0[at].1)
    }

    pub fn contains_key(&self, name: &str) -> bool {
        self.find(name).is_ok()
    }

    /// Sets an attribute, and gives what it was.
    pub fn insert(&mut self, name: Name, value: AttributeValue) -> Option<AttributeValue> {
        match self.find(&name) {
            Ok(at) => Some(replace(&mut self.0[at].1, value)),
            Err(at) => {
                self.0.insert(at, (name, value));
                None
            }
        }
    }

    pub fn remove_entry(&mut self, name: &str) -> Option<(Name, AttributeValue)> {
        self.find(name).ok().map(|at| self.0.remove(at))
    }

    pub fn remove(&mut self, name: &str) -> Option<AttributeValue> {
        self.remove_entry(name).map(|(_, value)| value)
    }

    pub fn retain(&mut self, mut keeps: impl FnMut(&str, &mut AttributeValue) -> bool) {
        self.0.retain_mut(|(name, value)| keeps(name, value));
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Name, &AttributeValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Name> {
        self.0.iter().map(|(name, _)| name)
    }
}

impl Index<&str> for Item {
    type Output = AttributeValue;

    /// # Panics
    /// Where there is no such attribute.
    fn index(&self, name: &str) -> &AttributeValue {
        self.get(name).expect("an attribute of that name")
    }
}

impl Extend<(Name, AttributeValue)> for Item {
    fn extend<I: IntoIterator<Item = (Name, AttributeValue)>>(&mut self, attributes: I) {
        let attributes = attributes.into_iter();
        self.0.reserve(attributes.size_hint().0);
        for (name, value) in attributes {
            self.insert(name, value);
        }
    }
}

impl FromIterator<(Name, AttributeValue)> for Item {
    fn from_iter<I: IntoIterator<Item = (Name, AttributeValue)>>(attributes: I) -> Self {
        let mut item = Self::new();
        item.extend(attributes);
        item
    }
}

impl<const N: usize> From<[(Name, AttributeValue); N]> for Item {
    fn from(attributes: [(Name, AttributeValue); N]) -> Self {
        attributes.into_iter().collect()
    }
}

impl IntoIterator for Item {
    type Item = (Name, AttributeValue);
    type IntoIter = vec::IntoIter<(Name, AttributeValue)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Item {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        attributes(deserializer)
    }
}

/// Attributes that are read, in whatever holds them.
fn attributes<'de, K, T, D>(deserializer: D) -> Result<T, D::Error>
where
    K: From<String>,
    T: Default + Extend<(K, AttributeValue)>,
    D: Deserializer<'de>,
{
    struct Attributes<K, T>(PhantomData<fn() -> (K, T)>);

    impl<'de, K: From<String>, T: Default + Extend<(K, AttributeValue)>> Visitor<'de> for Attributes<K, T> {
        type Value = T;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("attributes by their names")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut read: A) -> Result<T, A::Error> {
            let mut attributes = T::default();
            while let Some((name, Attribute(value))) = read.next_entry::<String, _>()? {
                attributes.extend([(name.into(), value)]);
            }
            Ok(attributes)
        }
    }

    deserializer.deserialize_map(Attributes(PhantomData))
}

/// An attribute that is read. As `serde_dynamo` reads it, but that no text is made of the name of its type.
struct Attribute(AttributeValue);

#[derive(Deserialize)]
enum Typed {
    S(String),
    N(String),
    #[serde(rename = "BOOL")]
    Bool(bool),
    #[serde(rename = "NULL")]
    Null(bool),
    #[serde(deserialize_with = "attributes")]
    M(Map),
    L(Vec<Attribute>),
    #[serde(rename = "SS")]
    Ss(Vec<String>),
    #[serde(rename = "NS")]
    Ns(Vec<String>),
    B(String),
    #[serde(rename = "BS")]
    Bs(Vec<String>),
}

impl<'de> Deserialize<'de> for Attribute {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Typed::deserialize(deserializer)? {
            Typed::S(text) => AttributeValue::S(text),
            Typed::N(number) => AttributeValue::N(number),
            Typed::Bool(is_true) => AttributeValue::Bool(is_true),
            Typed::Null(is_null) => AttributeValue::Null(is_null),
            Typed::M(attributes) => AttributeValue::M(attributes),
            Typed::L(attributes) => AttributeValue::L(attributes.into_iter().map(|Self(value)| value).collect()),
            Typed::Ss(texts) => AttributeValue::Ss(texts),
            Typed::Ns(numbers) => AttributeValue::Ns(numbers),
            // Which are in no item of ours: the library knows how they are written.
            Typed::B(text) => AttributeValue::deserialize(MapDeserializer::new([("B", text)].into_iter()))?,
            Typed::Bs(texts) => AttributeValue::deserialize(MapDeserializer::new([("BS", texts)].into_iter()))?,
        }))
    }
}
