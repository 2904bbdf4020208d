//! What a version says of the running of a node beyond what it runs: whether, how often, with which items, for how long, and
//! what its failure means. And where a run starts that does not start at the beginning.
//!
//! Decision (2026-11-27): a loop and a fan-out on one node are refused: which of them is within the other would have to be
//! said, and two nodes say it.
//!
//! Decision (2026-11-27): an external node that expires is answered by the sweep, by the same road as an answer from outside:
//! so paused time can be left out, progress that is reported starts the time anew, and no state of the runner waits for it.

use crate::condition::{self, Condition, Standing};
use crate::graph::Closure;
use crate::id::NodeId;
use crate::limits;
use crate::number::{whole, whole_option};
use crate::place::{At, Field, Part};
use crate::schedule::{Doer, FanOut, Task};
use crate::template::{self, Variables};
use crate::violation::{Invalid, ViolationCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use utoipa::ToSchema;

/// The node again until a condition holds, which reads the node's own last result too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Loop {
    pub until: Condition,
    /// Beyond it the run ends FAILED with `looping_risk`.
    #[schema(minimum = 1, maximum = 100)]
    #[serde(deserialize_with = "whole")]
    pub max_iterations: u32,
}

/// The processor once for each item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForEach {
    /// A list, or a JSON pointer to one in `{input, variables, results}`.
    #[schema(value_type = Value)]
    pub items: Items,
    #[schema(minimum = 1, maximum = 40, default = 10)]
    #[serde(default = "ForEach::ten", deserialize_with = "whole")]
    pub max_concurrency: u32,
    /// More items fail the node. A run's history has room for so many.
    #[schema(minimum = 1, maximum = 1000, default = 100)]
    #[serde(default = "ForEach::hundred", deserialize_with = "whole")]
    pub max_items: u32,
}

impl ForEach {
    const fn ten() -> u32 {
        10
    }

    const fn hundred() -> u32 {
        100
    }
}

/// Where the items of a fan-out are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum Items {
    Pointer(String),
    List(Vec<Value>),
}

impl TryFrom<Value> for Items {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        match value {
            Value::String(pointer) => Ok(Self::Pointer(pointer)),
            Value::Array(list) => Ok(Self::List(list)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
                Err("must be a list, or a JSON pointer to one")
            }
        }
    }
}

impl From<Items> for Value {
    fn from(items: Items) -> Self {
        match items {
            Items::Pointer(pointer) => Self::String(pointer),
            Items::List(list) => Self::Array(list),
        }
    }
}

impl Items {
    /// The items there are, of `{input, variables, results}`. `None` when that is no list.
    pub fn read<'a>(&'a self, facts: &'a Value) -> Option<&'a [Value]> {
        match self {
            Self::Pointer(pointer) => facts.pointer(pointer)?.as_array().map(Vec::as_slice),
            Self::List(list) => Some(list),
        }
    }
}

/// What the failure of a node means to its run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    #[default]
    Fail,
    /// The run goes on; what depends on the node reads `null` and its error.
    Continue,
}

/// What happens when nobody has answered in time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnExpiry {
    #[default]
    Fail,
    /// The node fails, and the run goes on.
    Continue,
    /// This is the answer.
    Answer(Value),
}

/// All of it, for one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Directives {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    #[serde(default, rename = "loop", skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Loop>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_each: Option<ForEach>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// Of one attempt.
    #[schema(minimum = 1, maximum = 2592000)]
    #[serde(default, deserialize_with = "whole_option", skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    /// Of an external node's wait for its answer, from its last sign of progress.
    #[schema(minimum = 1, maximum = 2592000)]
    #[serde(default, deserialize_with = "whole_option", skip_serializing_if = "Option::is_none")]
    pub expires_after_seconds: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_expiry: Option<OnExpiry>,
}

impl Directives {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The nodes whose results have to be read to decide whether, how often and with which items the node runs.
    pub fn reads(&self) -> BTreeSet<String> {
        let conditions = self.when.iter().chain(self.repeat.iter().map(|repeat| &repeat.until));
        let items = self.for_each.iter().filter_map(|for_each| match &for_each.items {
            Items::Pointer(pointer) => condition::node_read(pointer),
            Items::List(_) => None,
        });
        conditions.flat_map(Condition::reads).chain(items).collect()
    }

    /// As other tenants may see them of a private node: not what decides, and with what it runs.
    #[must_use]
    pub fn shown_to_others(self) -> Self {
        Self { when: None, repeat: None, for_each: None, on_expiry: None, ..self }
    }

    /// Fills the placeholders of all strings. After that they have to be checked again.
    pub fn fill(&mut self, variables: &Variables, at: &At<'_>, invalid: &mut Invalid) {
        if let Some(when) = &mut self.when {
            when.fill(variables, &at.part(Part::When), invalid);
        }
        if let Some(repeat) = &mut self.repeat {
            repeat.until.fill(variables, &at.part(Part::Loop).part(Part::Until), invalid);
        }
        if let Some(for_each) = &mut self.for_each {
            let at = at.part(Part::ForEach);
            let at = at.part(Part::Items);
            let mut items = Value::from(for_each.items.clone());
            variables.fill(&mut items, &at, invalid);
            match Items::try_from(items) {
                Ok(items) => for_each.items = items,
                Err(message) => invalid.add(at, ViolationCode::WrongType, message),
            }
        }
        if let Some(OnExpiry::Answer(answer)) = &mut self.on_expiry {
            variables.fill(answer, &at.part(Part::OnExpiry).part(Part::Answer), invalid);
        }
    }

    /// Checks what can be checked before a run exists. `standing` says where a named node stands to this one; `schema` is
    /// that of an external node's answers.
    pub fn check(
        &self,
        doer: Doer,
        schema: Option<&Value>,
        standing: &dyn Fn(&str) -> Standing,
        at: &At<'_>,
        invalid: &mut Invalid,
    ) {
        // Only an `until` reads what the node itself has made.
        let before = |name: &str| match standing(name) {
            Standing::Itself => Standing::NotBefore,
            other @ (Standing::Before | Standing::NotBefore | Standing::Unknown) => other,
        };
        if let Some(when) = &self.when {
            when.check(&before, &at.part(Part::When), invalid);
        }
        if let Some(repeat) = &self.repeat {
            let at = at.part(Part::Loop);
            if doer == Doer::Nobody {
                invalid.add(at, ViolationCode::Invalid, "a node that does nothing is not repeated");
            }
            check_range(repeat.max_iterations, &limits::LOOP_ITERATIONS, &at.part(Part::MaxIterations), invalid);
            repeat.until.check(standing, &at.part(Part::Until), invalid);
        }
        if let Some(for_each) = &self.for_each {
            self.check_for_each(for_each, doer, &before, &at.part(Part::ForEach), invalid);
        }
        if self.on_failure.is_some() && doer == Doer::Nobody {
            invalid.add(at.part(Part::OnFailure), ViolationCode::Invalid, "a node that does nothing does not fail");
        }
        if let Some(seconds) = self.timeout_seconds {
            let at = at.part(Part::Timeout);
            check_range(seconds, &limits::NODE_SECONDS, &at, invalid);
            if doer != Doer::Worker {
                let message = "only a node that runs a processor has attempts with a timeout";
                invalid.add(at, ViolationCode::Invalid, message);
            }
        }
        self.check_expiry(doer, schema, at, invalid);
    }

    fn check_for_each(
        &self,
        for_each: &ForEach,
        doer: Doer,
        before: &dyn Fn(&str) -> Standing,
        at: &At<'_>,
        invalid: &mut Invalid,
    ) {
        if doer != Doer::Worker {
            invalid.add(at, ViolationCode::Invalid, "only a node that runs a processor runs it for each item");
        }
        if self.repeat.is_some() {
            invalid.add(at, ViolationCode::Invalid, "a node has a loop or items, not both");
        }
        check_range(for_each.max_concurrency, &limits::ITEMS_AT_ONCE, &at.part(Part::MaxConcurrency), invalid);
        check_range(for_each.max_items, &limits::ITEMS, &at.part(Part::MaxItems), invalid);
        let items = at.part(Part::Items);
        match &for_each.items {
            Items::Pointer(pointer) => condition::check_pointer(pointer, before, &items, invalid),
            Items::List(list) if list.len() > for_each.max_items as usize => {
                let message =
                    format_args!("has {} items, above the {} that are allowed", list.len(), for_each.max_items);
                invalid.add(items, ViolationCode::TooMany, message);
            }
            Items::List(_) => {}
        }
    }

    fn check_expiry(&self, doer: Doer, schema: Option<&Value>, at: &At<'_>, invalid: &mut Invalid) {
        if let Some(seconds) = self.expires_after_seconds {
            let at = at.part(Part::ExpiresAfter);
            check_range(seconds, &limits::NODE_SECONDS, &at, invalid);
            if doer != Doer::Outside {
                invalid.add(at, ViolationCode::Invalid, "only an external node waits for an answer");
            }
        }
        let Some(on_expiry) = &self.on_expiry else { return };
        let at = at.part(Part::OnExpiry);
        if self.expires_after_seconds.is_none() {
            invalid.add(at, ViolationCode::Invalid, "says what happens after expiresAfterSeconds, which is not given");
        }
        if let (OnExpiry::Answer(answer), Some(schema)) = (on_expiry, schema) {
            template::check_schema(schema, answer, &at.part(Part::Answer), invalid);
        }
    }

    /// The answer of an external node that nobody has answered in time, where it has one.
    pub const fn expired(&self) -> Option<&Value> {
        match &self.on_expiry {
            Some(OnExpiry::Answer(answer)) => Some(answer),
            Some(OnExpiry::Fail | OnExpiry::Continue) | None => None,
        }
    }

    /// The node as the runner sees it. `retry` is attempts, seconds before the second, and how many times longer each
    /// further wait is.
    pub fn task(
        &self,
        doer: Doer,
        (max_attempts, retry_interval_seconds, retry_backoff_rate): (u32, u32, u32),
    ) -> Task {
        let expires_quietly = self.on_expiry == Some(OnExpiry::Continue);
        Task {
            doer,
            max_attempts,
            retry_interval_seconds,
            retry_backoff_rate,
            is_conditional: self.when.is_some(),
            max_iterations: self.repeat.as_ref().map(|repeat| repeat.max_iterations),
            fan_out: self.for_each.as_ref().map(|for_each| FanOut {
                max_items: match &for_each.items {
                    Items::List(list) => u32::try_from(list.len()).unwrap_or(u32::MAX),
                    Items::Pointer(_) => for_each.max_items,
                },
                max_concurrency: for_each.max_concurrency,
            }),
            goes_on: self.on_failure == Some(OnFailure::Continue),
            goes_on_when_expired: expires_quietly,
            is_left_out: false,
        }
    }
}

fn check_range<T: PartialOrd + std::fmt::Display>(
    value: T,
    allowed: &RangeInclusive<T>,
    at: &At<'_>,
    invalid: &mut Invalid,
) {
    if !allowed.contains(&value) {
        let message = format_args!("must be from {} to {}", allowed.start(), allowed.end());
        invalid.add(at, ViolationCode::OutOfRange, message);
    }
}

/// Where a run starts that does not start at the beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Start {
    pub from_node_id: NodeId,
    /// In place of what the nodes before it would have given.
    #[serde(default)]
    pub results: BTreeMap<NodeId, Value>,
}

/// What a node is to a run that starts in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is where the run starts, or comes after that.
    Runs,
    /// Its result is given.
    Given,
    /// It is skipped.
    LeftOut,
}

impl Start {
    /// What each node is, by its index; `ids` are those of all nodes, and `schema` is that of a node's answers.
    ///
    /// # Errors
    /// A start at no node of the version, and results for what does not come before it or that break their schema.
    pub fn roles<'a>(
        &self,
        ids: &[&NodeId],
        closure: &Closure,
        schema: impl Fn(usize) -> Option<&'a Value>,
    ) -> Result<Vec<Role>, Invalid> {
        let find = |id: &NodeId| ids.iter().position(|one| *one == id);
        let Some(from) = find(&self.from_node_id) else {
            let message = format_args!("there is no node {} in this version", self.from_node_id);
            return Err(Invalid::one(Field::FromNode, ViolationCode::UnknownNode, message));
        };
        let mut invalid = Invalid::default();
        let results = Field::Results.at();
        for (id, value) in &self.results {
            let at = results.node(id);
            match find(id) {
                None => {
                    let message = format_args!("there is no node {id} in this version");
                    invalid.add(at, ViolationCode::UnknownNode, message);
                }
                Some(node) if !closure.leads(node, from) => {
                    let message = format_args!("{id} does not come before {}", self.from_node_id);
                    invalid.add(at, ViolationCode::Invalid, message);
                }
                Some(node) => {
                    if let Some(schema) = schema(node) {
                        template::check_schema(schema, value, &at, &mut invalid);
                    }
                }
            }
        }
        invalid.into_result()?;
        let role = |(node, id): (usize, &&NodeId)| {
            if node == from || closure.leads(from, node) {
                Role::Runs
            } else if self.results.contains_key(*id) {
                Role::Given
            } else {
                Role::LeftOut
            }
        };
        Ok(ids.iter().enumerate().map(role).collect())
    }
}
