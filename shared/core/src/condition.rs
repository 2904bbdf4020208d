//! Conditions: whether a node runs, and whether a loop is over. This is their only reader.
//!
//! **Invariants:** reading a condition has an end and never fails: what reads nothing is false, and so is a condition that
//! is none. Numbers are compared exactly, as they are written.
//!
//! Decision (2026-11-27): no expression language. A condition is JSON that a form can show and a check can read, and the
//! same function reads it in the service, in the simulation and in tests.
//!
//! Decision (2026-11-27): `exists: false` asks for nothing to be there, so it alone holds where nothing is read; `null` is
//! something. Every other operator is false there, `notEquals` among them.

use crate::decimal;
use crate::limits::{CONDITION_BYTES, CONDITION_DEPTH, CONDITIONS};
use crate::place::{At, Part};
use crate::template::Variables;
use crate::violation::{Invalid, ViolationCode};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Number, Value};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use utoipa::ToSchema;

/// Where the results of nodes are, in what a condition reads.
const RESULTS: &str = "results";

/// A condition: a `pointer` with one operator, or one of `all`, `any` and `not`. This is its wire and its stored form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self", rename_all = "camelCase", deny_unknown_fields)]
pub struct Condition {
    /// JSON pointer (RFC 6901) into `{input, variables, results}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub equals: Option<Value>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub not_equals: Option<Value>,
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    pub within: Option<Vec<Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exists: Option<bool>,
    /// A number, or a text, which is ordered by its code points.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub less_than: Option<Value>,
    /// As `lessThan`.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub greater_than: Option<Value>,
    #[schema(no_recursion)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<Vec<Condition>>,
    #[schema(no_recursion)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub any: Option<Vec<Condition>>,
    #[schema(no_recursion)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not: Option<Box<Condition>>,
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The derived function of the same name, which is not this trait's.
        Self::serialize(self, serializer)
    }
}

/// Only an object is a condition: a list would be taken for its fields in their order.
impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Condition;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a condition")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Condition, A::Error> {
                Condition::deserialize(MapAccessDeserializer::new(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A value that may be `null` and is there all the same.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Where a node stands to the one whose condition names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has ended by then, whatever happens.
    Before,
    /// It is the node itself, whose last result an `until` reads.
    Itself,
    /// It may run later, or at the same time.
    NotBefore,
    Unknown,
}

/// What a condition is, once it is looked at.
enum Form<'a> {
    Test(&'a str, Test<'a>),
    All(&'a [Condition]),
    Any(&'a [Condition]),
    Not(&'a Condition),
    /// Nothing, or more than one thing at once.
    None,
}

#[derive(Clone, Copy)]
enum Test<'a> {
    Equals(&'a Value),
    NotEquals(&'a Value),
    In(&'a [Value]),
    Exists(bool),
    LessThan(&'a Value),
    GreaterThan(&'a Value),
}

impl Condition {
    fn tests(&self) -> impl Iterator<Item = Test<'_>> {
        [
            self.equals.as_ref().map(Test::Equals),
            self.not_equals.as_ref().map(Test::NotEquals),
            self.within.as_deref().map(Test::In),
            self.exists.map(Test::Exists),
            self.less_than.as_ref().map(Test::LessThan),
            self.greater_than.as_ref().map(Test::GreaterThan),
        ]
        .into_iter()
        .flatten()
    }

    fn form(&self) -> Form<'_> {
        let mut tests = self.tests();
        match (&self.pointer, tests.next(), tests.next(), &self.all, &self.any, &self.not) {
            (Some(pointer), Some(test), None, None, None, None) => Form::Test(pointer, test),
            (None, None, None, Some(all), None, None) => Form::All(all),
            (None, None, None, None, Some(any), None) => Form::Any(any),
            (None, None, None, None, None, Some(not)) => Form::Not(not),
            _ => Form::None,
        }
    }

    fn inner(&self) -> impl Iterator<Item = &Self> {
        let lists = [&self.all, &self.any].into_iter().flatten().flatten();
        lists.chain(self.not.as_deref())
    }

    /// Whether it holds of `{input, variables, results}`.
    pub fn holds(&self, facts: &Value) -> bool {
        match self.form() {
            Form::Test(pointer, test) => test.holds(facts.pointer(pointer)),
            Form::All(all) => !all.is_empty() && all.iter().all(|one| one.holds(facts)),
            Form::Any(any) => any.iter().any(|one| one.holds(facts)),
            Form::Not(not) => !not.holds(facts),
            Form::None => false,
        }
    }

    /// The nodes whose results it reads, by their names.
    pub fn reads(&self) -> BTreeSet<String> {
        let own = self.pointer.as_deref().and_then(node_read);
        own.into_iter().chain(self.inner().flat_map(Self::reads)).collect()
    }

    /// Fills the placeholders of its strings. After that it has to be checked again.
    pub fn fill(&mut self, variables: &Variables, at: &At<'_>, invalid: &mut Invalid) {
        if let Some(pointer) = &mut self.pointer {
            fill_text(pointer, variables, &at.part(Part::Pointer), invalid);
        }
        for (part, value) in [
            (Part::Equals, &mut self.equals),
            (Part::NotEquals, &mut self.not_equals),
            (Part::LessThan, &mut self.less_than),
            (Part::GreaterThan, &mut self.greater_than),
        ] {
            if let Some(value) = value {
                variables.fill(value, &at.part(part), invalid);
            }
        }
        let within = at.part(Part::In);
        for (index, value) in self.within.iter_mut().flatten().enumerate() {
            variables.fill(value, &within.index(index), invalid);
        }
        for (part, list) in [(Part::All, &mut self.all), (Part::Any, &mut self.any)] {
            let at = at.part(part);
            for (index, one) in list.iter_mut().flatten().enumerate() {
                one.fill(variables, &at.index(index), invalid);
            }
        }
        if let Some(not) = &mut self.not {
            not.fill(variables, &at.part(Part::Not), invalid);
        }
    }

    /// Checks what can be checked before a run exists: its form, its size, what it compares, and the nodes it names, of
    /// which `standing` says where they stand.
    pub fn check(&self, standing: &dyn Fn(&str) -> Standing, at: &At<'_>, invalid: &mut Invalid) {
        let bytes = serde_json::to_string(self).map_or(usize::MAX, |text| text.len());
        if bytes > CONDITION_BYTES {
            return invalid.add(
                at,
                ViolationCode::TooLarge,
                format_args!("a condition has at most {CONDITION_BYTES} bytes"),
            );
        }
        if self.count() > CONDITIONS {
            let message = format_args!("a condition has at most {CONDITIONS} conditions in it");
            return invalid.add(at, ViolationCode::TooMany, message);
        }
        self.check_below(standing, at, 1, invalid);
    }

    fn count(&self) -> usize {
        1 + self.inner().map(Self::count).sum::<usize>()
    }

    fn check_below(&self, standing: &dyn Fn(&str) -> Standing, at: &At<'_>, depth: usize, invalid: &mut Invalid) {
        if depth > CONDITION_DEPTH {
            let message = format_args!("conditions are nested at most {CONDITION_DEPTH} deep");
            return invalid.add(at, ViolationCode::TooMany, message);
        }
        match self.form() {
            Form::Test(pointer, test) => {
                check_pointer(pointer, standing, &at.part(Part::Pointer), invalid);
                test.check(at, invalid);
            }
            Form::All(list) | Form::Any(list) if list.is_empty() => {
                invalid.add(at, ViolationCode::OutOfRange, "has at least one condition");
            }
            Form::All(_) | Form::Any(_) | Form::Not(_) => {}
            Form::None => {
                let message = "must be a pointer with one of equals, notEquals, in, exists, lessThan and greaterThan, \
                               or one of all, any and not";
                invalid.add(at, ViolationCode::Invalid, message);
            }
        }
        for (part, list) in [(Part::All, &self.all), (Part::Any, &self.any)] {
            let at = at.part(part);
            for (index, one) in list.iter().flatten().enumerate() {
                one.check_below(standing, &at.index(index), depth + 1, invalid);
            }
        }
        if let Some(not) = &self.not {
            not.check_below(standing, &at.part(Part::Not), depth + 1, invalid);
        }
    }
}

impl Test<'_> {
    fn holds(self, read: Option<&Value>) -> bool {
        let is_ordered = |limit: &Value, wanted: Ordering| read.and_then(|read| order(read, limit)) == Some(wanted);
        match self {
            Test::Equals(value) => read.is_some_and(|read| same(read, value)),
            Test::NotEquals(value) => read.is_some_and(|read| !same(read, value)),
            Test::In(values) => read.is_some_and(|read| values.iter().any(|value| same(read, value))),
            Test::Exists(wanted) => read.is_some() == wanted,
            Test::LessThan(limit) => is_ordered(limit, Ordering::Less),
            Test::GreaterThan(limit) => is_ordered(limit, Ordering::Greater),
        }
    }

    fn check(self, at: &At<'_>, invalid: &mut Invalid) {
        let (part, limit) = match self {
            Test::LessThan(limit) => (Part::LessThan, limit),
            Test::GreaterThan(limit) => (Part::GreaterThan, limit),
            Test::In([]) => {
                let message = "has at least one value: nothing is in an empty list";
                return invalid.add(at.part(Part::In), ViolationCode::OutOfRange, message);
            }
            Test::Equals(_) | Test::NotEquals(_) | Test::In(_) | Test::Exists(_) => return,
        };
        if !limit.is_number() && !limit.is_string() {
            invalid.add(
                at.part(part),
                ViolationCode::WrongType,
                "must be a number or a text: nothing else has an order",
            );
        }
    }
}

/// Reports a pointer that reads nothing at all, or of a node that does not come before. One with a placeholder in it is
/// looked at when it is filled.
pub fn check_pointer(pointer: &str, standing: &dyn Fn(&str) -> Standing, at: &At<'_>, invalid: &mut Invalid) {
    if has_placeholder(pointer) {
        return;
    }
    let mut names = pointer.split('/');
    let root = names.next().filter(|before| before.is_empty()).and_then(|_| names.next()).unwrap_or_default();
    if !["input", "variables", RESULTS].contains(&root) {
        let message = "must be a JSON pointer that begins with /input, /variables or /results/{nodeId}";
        return invalid.add(at, ViolationCode::Invalid, message);
    }
    if pointer.split('~').skip(1).any(|after| !after.starts_with(['0', '1'])) {
        return invalid.add(at, ViolationCode::Invalid, "in a JSON pointer ~ is written ~0, and / within a name ~1");
    }
    let Some(node) = node_read(pointer) else {
        if root == RESULTS {
            invalid.add(at, ViolationCode::Invalid, "must name the node whose result is read: /results/{nodeId}");
        }
        return;
    };
    match standing(&node) {
        Standing::Before | Standing::Itself => {}
        Standing::NotBefore => {
            let message = format_args!("the node {node:?} does not come before: no path of edges leads from it");
            invalid.add(at, ViolationCode::Invalid, message);
        }
        Standing::Unknown => {
            let message = format_args!("there is no node {node:?} in this version");
            invalid.add(at, ViolationCode::UnknownNode, message);
        }
    }
}

/// The node that a pointer reads, by its name.
pub fn node_read(pointer: &str) -> Option<String> {
    let name = pointer.strip_prefix('/')?.strip_prefix(RESULTS)?.strip_prefix('/')?.split('/').next()?;
    let name = name.replace("~1", "/").replace("~0", "~");
    (!name.is_empty()).then_some(name)
}

fn has_placeholder(text: &str) -> bool {
    text.contains("{{") || text.contains("[[")
}

/// Fills a text that has to stay one.
pub fn fill_text(text: &mut String, variables: &Variables, at: &At<'_>, invalid: &mut Invalid) {
    let mut value = Value::String(std::mem::take(text));
    variables.fill(&mut value, at, invalid);
    match value {
        Value::String(filled) => *text = filled,
        Value::Number(_) | Value::Bool(_) => *text = value.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            invalid.add(at, ViolationCode::WrongType, "must be a text, and its placeholder has no text as its value");
        }
    }
}

fn order_of(left: &Number, right: &Number) -> Option<Ordering> {
    decimal::order(&left.to_string(), &right.to_string())
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => order_of(left, right),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

/// Whether two values are equal: numbers by what they are, objects whatever the order of their keys.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => order_of(left, right) == Some(Ordering::Equal),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            let has_same = |(key, value)| right.get(key).is_some_and(|other| same(value, other));
            left.len() == right.len() && left.iter().all(has_same)
        }
        _ => left == right,
    }
}
