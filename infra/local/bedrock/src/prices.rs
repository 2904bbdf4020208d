//! The models that the stand-in serves, and what they cost: a table that it is given, as JSON.
//!
//! **Invariant:** what is not in the table is not served, and nothing is inherited: a profile is a model of its own.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::decimal::{FemtoUsd, billionths};
use crate::usage::Usage;

/// The table that is used where none is given.
const BUILT_IN: &str = include_str!("../prices.json");

/// Billionths of a US dollar: for a million tokens, or for a text unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(u64);

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let literal = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let read = billionths(&literal).map(Self);
        read.ok_or_else(|| D::Error::custom(format!("{literal} is no price in US dollars of at most 9 decimals")))
    }
}

/// US dollars for a million tokens of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rates {
    pub input: Rate,
    pub output: Rate,
    #[serde(default)]
    pub cache_read: Option<Rate>,
    #[serde(default, rename = "cacheWrite5m")]
    pub cache_write_5m: Option<Rate>,
    #[serde(default, rename = "cacheWrite1h")]
    pub cache_write_1h: Option<Rate>,
}

/// The rates of calls that read more than so many tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LongContext {
    pub above_tokens: u64,
    pub rates: Rates,
}

/// What one service tier costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tier {
    pub rates: Rates,
    #[serde(default)]
    pub long: Option<LongContext>,
}

/// A model under all names that it is billed alike.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Model {
    pub ids: Vec<String>,
    /// Tokens that it reads at most.
    pub context_tokens: u64,
    /// Tokens that it writes at most, and where a call says nothing.
    pub max_output_tokens: u64,
    /// Whether `CountTokens` knows it. Bedrock counts for some models, by their plain ids only.
    #[serde(default)]
    pub counts_tokens: bool,
    pub tiers: BTreeMap<String, Tier>,
    #[serde(default)]
    pub guardrail_text_unit: Option<Rate>,
}

impl Model {
    /// Whether a cache keeps something of it for so long.
    pub fn caches(&self, tier: &str, for_an_hour: bool) -> bool {
        self.tiers.get(tier).is_some_and(|tier| {
            let write = if for_an_hour { tier.rates.cache_write_1h } else { tier.rates.cache_write_5m };
            tier.rates.cache_read.is_some() && write.is_some()
        })
    }

    /// What a call costs that was served by `tier`. What has no rate costs as much as the dearest input: it is never free.
    pub fn cost(&self, tier: &str, usage: &Usage) -> FemtoUsd {
        let Some(tier) = self.tiers.get(tier) else { return FemtoUsd::default() };
        let rates = match tier.long {
            Some(long) if usage.context() > long.above_tokens => long.rates,
            Some(_) | None => tier.rates,
        };
        let input_rates = [Some(rates.input), rates.cache_read, rates.cache_write_5m, rates.cache_write_1h];
        let dearest = input_rates.into_iter().flatten().map(|rate| rate.0).max().unwrap_or_default();
        let tokens = [
            (Some(rates.input), usage.input),
            (Some(rates.output), usage.output),
            (rates.cache_read, usage.cache_read),
            (rates.cache_write_5m, usage.cache_write_5m),
            (rates.cache_write_1h, usage.cache_write_1h),
        ]
        .map(|(rate, tokens)| FemtoUsd::of_tokens(rate.map_or(dearest, |rate| rate.0), tokens));
        let unit = self.guardrail_text_unit.map_or(0, |rate| rate.0);
        tokens.into_iter().chain([FemtoUsd::of_pieces(unit, usage.guardrail_text_units)]).sum()
    }
}

/// Why a table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidTable {
    #[error("the price table cannot be read: {0}")]
    Json(#[source] serde_json::Error),
    #[error("the price table names {0} twice")]
    Repeated(String),
    #[error("the price table has no tier \"default\" for {0}")]
    NoDefault(String),
}

/// All models that are served.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceTable {
    models: Vec<Model>,
}

impl PriceTable {
    /// # Errors
    /// When it is not of this form, or says two things of one id.
    pub fn parse(text: &str) -> Result<Self, InvalidTable> {
        let table: Self = serde_json::from_str(text).map_err(InvalidTable::Json)?;
        let mut seen = std::collections::BTreeSet::new();
        for model in &table.models {
            for id in &model.ids {
                if !seen.insert(id) {
                    return Err(InvalidTable::Repeated(id.clone()));
                }
                if !model.tiers.contains_key("default") {
                    return Err(InvalidTable::NoDefault(id.clone()));
                }
            }
        }
        Ok(table)
    }

    /// A model of each family, at prices like those of November 2026.
    ///
    /// # Errors
    /// None, unless the table that is compiled in is broken.
    pub fn built_in() -> Result<Self, InvalidTable> {
        Self::parse(BUILT_IN)
    }

    /// The model that is billed under this id: plain, a profile's, or the ARN of either, which is told by its end.
    pub fn model(&self, id: &str) -> Option<&Model> {
        let resource = id.strip_prefix("arn:").and_then(|arn| arn.splitn(5, ':').nth(4));
        let plain = resource.and_then(|resource| {
            let (kind, plain) = resource.split_once('/')?;
            ["foundation-model", "inference-profile"].contains(&kind).then_some(plain)
        });
        let name = plain.unwrap_or(id);
        self.models.iter().find(|model| model.ids.iter().any(|found| found == name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HAIKU: &str = "us.anthropic.claude-haiku-4-5-20251001-v1:0";

    #[test]
    fn each_kind_costs_its_rate() {
        let table = PriceTable::built_in().expect("a table");
        let haiku = table.model(HAIKU).expect("a model");
        let usage = Usage {
            input: 10,
            output: 100,
            cache_read: 1_000,
            cache_write_5m: 200,
            cache_write_1h: 30,
            guardrail_text_units: 0,
        };
        assert_eq!(haiku.cost("default", &usage).nano(), 11_000 + 550_000 + 110_000 + 275_000 + 66_000);
    }

    #[test]
    fn a_long_context_costs_its_own_rates_and_counts_what_the_cache_gave() {
        let table = PriceTable::built_in().expect("a table");
        let sonnet = table.model("us.anthropic.claude-sonnet-4-5-20250929-v1:0").expect("a model");
        let cost = |input, cache_read| sonnet.cost("default", &Usage { input, cache_read, ..Usage::default() }).nano();
        assert_eq!(cost(200_000, 0), 200_000 * 3_300);
        assert_eq!(cost(200_001, 0), 200_001 * 6_600);
        assert_eq!(cost(1, 200_000), 6_600 + 200_000 * 660);
    }

    #[test]
    fn every_form_of_a_name_finds_its_model_and_a_profile_is_another_one() {
        let table = PriceTable::built_in().expect("a table");
        let plain = HAIKU.trim_start_matches("us.");
        let found = |id: &str| table.model(id).map(|model| model.ids[0].clone());
        assert_eq!(found(&format!("arn:aws:bedrock:us-east-1::foundation-model/{plain}")), found(plain));
        assert_eq!(found(&format!("arn:aws:bedrock:us-east-1:000000000000:inference-profile/{HAIKU}")), found(HAIKU));
        assert_ne!(found(plain), found(HAIKU));
        assert_eq!(found("arn:aws:bedrock:us-east-1:000000000000:provisioned-model/abc"), None);
    }

    #[test]
    fn a_table_that_says_two_things_or_rounds_is_refused() {
        let table = |price: &str, id: &str| {
            PriceTable::parse(&format!(
                r#"{{"models":[{{"ids":["a.b","{id}"],"contextTokens":1,"maxOutputTokens":1,"tiers":{{"default":{{"rates":{{"input":{price},"output":1}}}}}}}}]}}"#
            ))
        };
        assert!(table("1.1", "a.c").is_ok() && table("\"1.1\"", "a.c").is_ok());
        assert!(matches!(table("1.1", "a.b"), Err(InvalidTable::Repeated(_))));
        for price in ["-1", "0.0000000001", "1e2", "null"] {
            assert!(matches!(table(price, "a.c"), Err(InvalidTable::Json(_))), "{price}");
        }
    }
}
