//! Reading fields that several bodies have. Each reports what is wrong and lets the others be looked at too.

use crate::fault::{Faults, ReadingCode, Token};
use crate::http::Request;
use serde_json::Value;
use serde_json::value::RawValue;
use sluice_core::budget::{InvalidBudget, MicroUsd};
use sluice_core::definition::VersionRule;
use sluice_core::directive::Start;
use sluice_core::flow::create_run::{Command, Source};
use sluice_core::id::{InvalidId, NodeId};
use sluice_core::idempotency::{IdempotencyClaim, Operation};
use sluice_core::limits;
use sluice_core::number::{is_whole, whole_literal};
use sluice_core::retention::Retention;
use sluice_core::snapshot::Callback;
use sluice_core::template::Variables;
use sluice_core::violation::ViolationCode;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

/// What both ways to a run take, by the names of the body.
#[derive(Debug, Default)]
pub struct RunFields {
    pub name: Option<String>,
    pub input: Option<Box<RawValue>>,
    pub data_sources: Option<BTreeMap<String, Value>>,
    pub data_targets: Option<BTreeMap<String, Value>>,
    pub processor_params: Option<BTreeMap<String, BTreeMap<String, Value>>>,
    pub tags: Option<BTreeMap<String, String>>,
    pub layers: Option<Vec<String>>,
    pub labels: Option<BTreeMap<String, String>>,
    pub variables: Option<BTreeMap<String, Value>>,
    pub runtime_variables: Option<BTreeMap<String, Value>>,
    pub execution_budget_usd: Option<Box<RawValue>>,
    pub max_run_duration_seconds: Option<u64>,
    pub completion_callback_url: Option<String>,
    pub completion_callback_context: Option<Box<RawValue>>,
    pub retention: Option<Retention>,
    pub evaluation_of: Option<String>,
    pub user_id: Option<String>,
    pub from_node_id: Option<String>,
    pub results: Option<BTreeMap<String, Value>>,
}

impl RunFields {
    pub fn into_command(self, source: Source, idempotency: Option<IdempotencyClaim>, faults: &mut Faults) -> Command {
        let callback = match (self.completion_callback_url, self.completion_callback_context) {
            (Some(url), context) => Some(Callback { url, context }),
            (None, Some(_)) => {
                let message = "needs completionCallbackUrl: there is nowhere to send it";
                faults.add("/completionCallbackContext", ReadingCode::NeedsOtherField, message);
                None
            }
            (None, None) => None,
        };
        let layers = self.layers.unwrap_or_default();
        let start = match (self.from_node_id, self.results) {
            (Some(node), results) => {
                let results = by_node("/results", results, faults);
                id("/fromNodeId", &node, faults).map(|from_node_id| Start { from_node_id, results })
            }
            (None, Some(_)) => {
                let message = "needs fromNodeId: they stand in place of what comes before it";
                faults.add("/results", ReadingCode::NeedsOtherField, message);
                None
            }
            (None, None) => None,
        };
        Command {
            name: self.name,
            input: self.input,
            data_sources: by_node("/dataSources", self.data_sources, faults),
            data_targets: by_node("/dataTargets", self.data_targets, faults),
            processor_params: by_node("/processorParams", self.processor_params, faults),
            tags: by_node("/tags", self.tags, faults)
                .into_iter()
                .filter_map(|(node, tag)| Some((node.clone(), id(format_args!("/tags/{node}"), &tag, faults)?)))
                .collect(),
            layers: layers
                .iter()
                .enumerate()
                .filter_map(|(index, layer)| id(format_args!("/layers/{index}"), layer, faults))
                .collect(),
            labels: self.labels.unwrap_or_default(),
            variables: Variables {
                variables: self.variables.unwrap_or_default(),
                runtime_variables: self.runtime_variables.unwrap_or_default(),
            },
            execution_budget: cap("/executionBudgetUsd", self.execution_budget_usd.as_deref(), faults),
            max_run_duration_seconds: self.max_run_duration_seconds,
            callback,
            retention: self.retention,
            evaluation_of: self.evaluation_of.and_then(|run| id("/evaluationOf", &run, faults)),
            user_id: self.user_id.and_then(|user| id("/userId", &user, faults)),
            start,
            idempotency,
            ..Command::new(source)
        }
    }
}

/// What is said of a text that is no time.
pub const NOT_A_TIME: &str = "must be an RFC 3339 time, such as 2026-11-22T04:39:48Z";

/// What is said of a query's text that is no time because of a space.
pub const A_PLUS: &str =
    "must be an RFC 3339 time, such as 2026-11-22T04:39:48Z; a + in a query is a space: write it as %2B";

pub use sluice_core::time::from_rfc3339 as time;

/// An identifier.
pub fn id<T: FromStr<Err = InvalidId>>(at: impl Display, text: &str, faults: &mut Faults) -> Option<T> {
    match text.parse() {
        Ok(id) => Some(id),
        Err(InvalidId(message)) => {
            faults.add(at, ViolationCode::Invalid, message);
            None
        }
    }
}

/// An ARN of the wanted kind.
pub fn arn<T: FromStr<Err = InvalidId>>(at: impl Display, text: &str, faults: &mut Faults) -> Option<T> {
    match text.parse() {
        Ok(arn) => Some(arn),
        Err(InvalidId(message)) => {
            faults.add(at, ViolationCode::InvalidArn, message);
            None
        }
    }
}

/// A map by node id.
fn by_node<T>(at: impl Display, map: Option<BTreeMap<String, T>>, faults: &mut Faults) -> BTreeMap<NodeId, T> {
    map.unwrap_or_default()
        .into_iter()
        .filter_map(|(key, value)| Some((id(format_args!("{at}/{}", Token(&key)), &key, faults)?, value)))
        .collect()
}

/// A JSON number, as its caller wrote it.
pub fn number(at: impl Display, raw: Option<&RawValue>, faults: &mut Faults) -> Option<String> {
    let literal = raw?.get();
    if literal.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        return Some(literal.to_owned());
    }
    faults.add(at, ViolationCode::WrongType, "must be a number");
    None
}

/// A cap on what may be spent, in US dollars. What is a number and no cap is told by who holds it against the other rules.
pub fn cap(at: impl Display, raw: Option<&RawValue>, faults: &mut Faults) -> Result<Option<MicroUsd>, InvalidBudget> {
    match number(at, raw, faults) {
        Some(literal) => MicroUsd::parse_cap(&literal, MicroUsd::from_usd(limits::BUDGET_USD)),
        None => Ok(None),
    }
}

/// `3`, `"active"`, `"latest"` or `"draft"`; active when absent.
pub fn version(at: impl Display, raw: Option<&RawValue>, faults: &mut Faults) -> VersionRule {
    match raw.map(RawValue::get) {
        None => VersionRule::Active,
        Some("\"active\"") => VersionRule::Active,
        Some("\"latest\"") => VersionRule::Latest,
        Some("\"draft\"") => VersionRule::Draft,
        Some(literal) => match whole_literal(literal).and_then(|number| u32::try_from(number).ok()) {
            Some(number) if number > 0 => VersionRule::Number(number),
            Some(_) | None => {
                let code = if is_whole(literal) { ViolationCode::OutOfRange } else { ViolationCode::Invalid };
                faults.add(at, code, "must be \"active\", \"latest\", \"draft\" or a version number from 1");
                VersionRule::Active
            }
        },
    }
}

/// The idempotency key of the header or of the body's `field`, with what it is the key of.
pub fn claim(
    request: &Request,
    operation: Operation,
    field: &str,
    in_body: Option<&str>,
    payload_hash: String,
    faults: &mut Faults,
) -> Option<IdempotencyClaim> {
    const NAME: &str = "Idempotency-Key";
    let in_header = match request.single(NAME) {
        Ok(in_header) => in_header,
        Err(repeated) => {
            faults.extend(repeated);
            return None;
        }
    };
    if let (Some(header), Some(body)) = (in_header, in_body)
        && header != body
    {
        faults.add(
            format_args!("/{field}"),
            ReadingCode::KeyMismatch,
            "must equal the Idempotency-Key header, or be left out",
        );
        return None;
    }
    let (at, text) = match (in_header, in_body) {
        (Some(text), _) => (format!("header:{NAME}"), text),
        (None, Some(text)) => (format!("/{field}"), text),
        (None, None) => return None,
    };
    let key = id(at, text, faults)?;
    Some(IdempotencyClaim { operation, key, payload_hash })
}
