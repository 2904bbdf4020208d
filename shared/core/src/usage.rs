//! What a run's LLM calls used and cost: each call, and the totals of the run, of its nodes, of providers and of
//! models.
//!
//! **Invariants:** a call counts once, however often and by whomever it is reported; costs are whole nano-dollars, read
//! exactly.

use crate::budget::{NanoUsd, UsdNumber};
use crate::call_id::CallId;
use crate::id::NodeId;
use crate::limits;
use crate::place::{At, Part};
use crate::time::millis;
use crate::violation::{Invalid, ViolationCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// One LLM call of a run, as it was reported first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LlmCall {
    /// Unique in the run, so that it is harmless to report a call again. 1 to 128 characters.
    pub call_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    pub provider: String,
    pub model: String,
    #[serde(default)]
    pub input_tokens: u64,
    #[serde(default)]
    pub output_tokens: u64,
    #[serde(default)]
    pub cached_tokens: u64,
    #[serde(default)]
    pub cost_nano_usd: NanoUsd,
    #[serde(default)]
    pub latency_ms: u64,
    #[serde(with = "millis")]
    pub reported_at: Timestamp,
}

/// Tokens and milliseconds of one call at most: sums of any number of them fit.
const MOST_OF_A_CALL: u64 = 1_000_000_000_000;

impl LlmCall {
    /// Reports what is wrong with the report, below `at`.
    pub fn check(&self, at: &At<'_>, invalid: &mut Invalid) {
        for (part, text) in
            [(Part::CallId, &self.call_id), (Part::Provider, &self.provider), (Part::Model, &self.model)]
        {
            let is_printable = !text.chars().any(char::is_control);
            if text.is_empty() || text.chars().count() > limits::USAGE_TEXT_CHARS || !is_printable {
                let most = limits::USAGE_TEXT_CHARS;
                let message = format_args!("must be 1 to {most} characters without control characters");
                invalid.add(at.part(part), ViolationCode::OutOfRange, message);
            }
        }
        for (part, number) in [
            (Part::InputTokens, self.input_tokens),
            (Part::OutputTokens, self.output_tokens),
            (Part::CachedTokens, self.cached_tokens),
            (Part::Latency, self.latency_ms),
        ] {
            if number > MOST_OF_A_CALL {
                let message = format_args!("must be at most {MOST_OF_A_CALL}");
                invalid.add(at.part(part), ViolationCode::OutOfRange, message);
            }
        }
    }
}

/// What a number of calls come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageCount {
    pub calls: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cached_tokens: u64,
    pub cost_nano_usd: NanoUsd,
    /// Of all calls together; with `calls` it gives the average.
    pub latency_ms: u64,
    pub latency_ms_max: u64,
}

impl UsageCount {
    fn add(&mut self, call: &LlmCall) {
        self.calls += 1;
        self.input_tokens = self.input_tokens.saturating_add(call.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(call.output_tokens);
        self.cached_tokens = self.cached_tokens.saturating_add(call.cached_tokens);
        self.cost_nano_usd = NanoUsd(self.cost_nano_usd.0.saturating_add(call.cost_nano_usd.0));
        self.latency_ms = self.latency_ms.saturating_add(call.latency_ms);
        self.latency_ms_max = self.latency_ms_max.max(call.latency_ms);
    }

    /// Rounded down; 0 without calls.
    pub fn latency_ms_average(&self) -> u64 {
        self.latency_ms.checked_div(self.calls).unwrap_or(0)
    }
}

/// A [`UsageCount`] as callers and receivers see it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = UsageTotals)]
#[serde(rename_all = "camelCase")]
pub struct UsageTotals {
    calls: u64,
    input_tokens: u64,
    output_tokens: u64,
    cached_tokens: u64,
    /// US dollars, exact.
    #[schema(value_type = f64, minimum = 0)]
    cost_usd: UsdNumber,
    latency_ms_average: u64,
    latency_ms_max: u64,
}

impl From<&UsageCount> for UsageTotals {
    fn from(count: &UsageCount) -> Self {
        Self {
            calls: count.calls,
            input_tokens: count.input_tokens,
            output_tokens: count.output_tokens,
            cached_tokens: count.cached_tokens,
            cost_usd: count.cost_nano_usd.to_json_number(),
            latency_ms_average: count.latency_ms_average(),
            latency_ms_max: count.latency_ms_max,
        }
    }
}

/// A call as it is kept: by the report with which it was recorded; `None` of a governed one, and of one from before there were
/// reports with ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedCall {
    pub call: LlmCall,
    pub report: Option<CallId>,
}

/// Everything a run has used so far, summed from its calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageSums {
    pub total: UsageCount,
    pub by_node: BTreeMap<String, UsageCount>,
    pub by_provider: BTreeMap<String, UsageCount>,
    pub by_model: BTreeMap<String, UsageCount>,
}

/// What the calls of all further providers, and of all further models, are summed under.
pub const OTHERS: &str = "(others)";

impl UsageSums {
    /// What these calls come to. Decision (2026-11-28): a report that names one more model than a run's sums have room for is not
    /// refused, since nobody who has spent can take it back; the sums name the first ones, and one for the others.
    pub fn of<'a>(calls: impl IntoIterator<Item = &'a LlmCall>) -> Self {
        let mut sums = Self::default();
        for call in calls {
            sums.total.add(call);
            if let Some(node) = &call.node_id {
                sums.by_node.entry(node.to_string()).or_default().add(call);
            }
            named(&mut sums.by_provider, &call.provider).add(call);
            named(&mut sums.by_model, &call.model).add(call);
        }
        sums
    }
}

fn named<'a>(sums: &'a mut BTreeMap<String, UsageCount>, name: &str) -> &'a mut UsageCount {
    let has_room = sums.len() + 1 < limits::USAGE_NAMES || sums.contains_key(name);
    sums.entry(if has_room { name } else { OTHERS }.to_owned()).or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn call(id: &str, node: Option<&str>, model: &str, cost: u64, latency_ms: u64) -> LlmCall {
        LlmCall {
            call_id: id.to_owned(),
            node_id: node.map(|node| node.parse().expect("a node")),
            provider: "acme".to_owned(),
            model: model.to_owned(),
            input_tokens: 10,
            output_tokens: 5,
            cached_tokens: 1,
            cost_nano_usd: NanoUsd(cost),
            latency_ms,
            reported_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn calls_are_summed_by_run_node_provider_and_model() {
        let calls = [
            call("1", Some("a"), "small", 100, 10),
            call("2", Some("b"), "small", 200, 40),
            call("3", None, "large", 5, 1),
        ];
        let sums = UsageSums::of(&calls);
        assert_eq!((sums.total.calls, sums.total.input_tokens), (3, 30));
        assert_eq!((sums.total.cost_nano_usd, sums.total.latency_ms_max), (NanoUsd(305), 40));
        assert_eq!(sums.total.latency_ms_average(), 17);
        assert_eq!(sums.by_node.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(sums.by_model["small"].calls, 2);
        assert_eq!(sums.by_provider["acme"].calls, 3);
    }

    proptest! {
        #[test]
        fn every_number_of_every_call_is_in_the_sums(
            numbers in prop::collection::vec((any::<[u16; 5]>(), 0..3_usize, 0..3_usize), 0..20)
        ) {
            let (nodes, models) = ([None, Some("a"), Some("b")], ["small", "large", "other"]);
            let calls: Vec<LlmCall> = numbers
                .iter()
                .map(|([input, output, cached, cost, latency], node, model)| LlmCall {
                    input_tokens: u64::from(*input),
                    output_tokens: u64::from(*output),
                    cached_tokens: u64::from(*cached),
                    ..call("x", nodes[*node], models[*model], u64::from(*cost), u64::from(*latency))
                })
                .collect();
            let count = |of: &dyn Fn(&LlmCall) -> bool| {
                let of: Vec<&LlmCall> = calls.iter().filter(|call| of(call)).collect();
                let sum = |field: fn(&LlmCall) -> u64| of.iter().copied().map(field).sum();
                UsageCount {
                    calls: of.len() as u64,
                    input_tokens: sum(|call| call.input_tokens),
                    output_tokens: sum(|call| call.output_tokens),
                    cached_tokens: sum(|call| call.cached_tokens),
                    cost_nano_usd: NanoUsd(sum(|call| call.cost_nano_usd.0)),
                    latency_ms: sum(|call| call.latency_ms),
                    latency_ms_max: of.iter().map(|call| call.latency_ms).max().unwrap_or(0),
                }
            };
            let sums = UsageSums::of(&calls);
            prop_assert_eq!(sums.total, count(&|_| true));
            prop_assert_eq!(sums.total.latency_ms_average(), sums.total.latency_ms / sums.total.calls.max(1));
            for node in ["a", "b"] {
                let of_node = count(&|call| call.node_id.as_ref().is_some_and(|id| id.as_str() == node));
                prop_assert_eq!(sums.by_node.get(node).copied().unwrap_or_default(), of_node);
            }
            for model in models {
                let of_model = count(&|call| call.model == model);
                prop_assert_eq!(sums.by_model.get(model).copied().unwrap_or_default(), of_model);
            }
            prop_assert_eq!(sums.by_provider.get("acme").copied().unwrap_or_default(), sums.total);
        }
    }

    #[test]
    fn names_are_bounded() {
        let many: Vec<_> = (0..150).map(|n| call(&n.to_string(), None, &format!("model-{n}"), 1, 1)).collect();
        let sums = UsageSums::of(many.iter().chain(&many));
        assert_eq!((sums.by_model.len(), sums.total.calls), (limits::USAGE_NAMES, 300));
        assert_eq!((sums.by_model["model-98"].calls, sums.by_model[OTHERS].calls), (2, 2 * 51));
        assert_eq!(UsageSums::of(&many[..99]).by_model.len(), 99);
        for (count, has_others) in [(98, false), (99, false), (100, true), (101, true)] {
            assert_eq!(UsageSums::of(&many[..count]).by_model.contains_key(OTHERS), has_others, "{count}");
        }
    }
}
