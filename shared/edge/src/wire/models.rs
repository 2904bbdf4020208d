//! Models, what they are called and what they cost. A price is spelled alike in what is declared and in what is shown, so that
//! who changes one reads it, changes it, and sends it back.

use super::operator::tenants;
use super::schema::{ModelIdText, TenantOrAll, UsdPrice};
use crate::fault::Faults;
use crate::json;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sluice_core::budget::NanoUsd;
use sluice_core::governor::declaration::{
    LongDeclaration, ModelDeclaration, PriceDeclaration, RatesDeclaration, TierDeclaration,
};
use sluice_core::governor::model::Model;
use sluice_core::governor::price::{LongContext, Price, Rate, Rates, TierPrice};
use sluice_core::id::ModelKey;
use sluice_core::number::whole;
use sluice_core::time::rfc3339_millis;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// `PUT /v1/models/{key}`
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = DeclareModel)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelBody {
    /// Everything by which calls may name it. A regional profile (`us.…`) is not the model behind it: each id that costs the same is
    /// named here, and one that costs something else belongs to another model.
    #[schema(value_type = Vec<ModelIdText>, min_items = 1, max_items = 45)]
    ids: Vec<String>,
    /// Who may call it; `["*"]` for everyone.
    #[schema(value_type = Vec<TenantOrAll>)]
    tenants: Vec<String>,
    /// Tokens that it reads at most.
    #[schema(minimum = 1, maximum = 1000000000)]
    #[serde(deserialize_with = "whole")]
    context_tokens: u64,
    /// Tokens that it writes at most, thinking included.
    #[schema(minimum = 1, maximum = 1000000000)]
    #[serde(deserialize_with = "whole")]
    max_output_tokens: u64,
    /// Whether Bedrock's `CountTokens` knows it.
    #[schema(default = false)]
    counts_tokens: Option<bool>,
    /// Whether it writes to a cache although no call asks it to: then every input may cost what a cache write does.
    #[schema(default = false)]
    caches_unasked: Option<bool>,
    /// No two of them at the same time. While none holds, calls are refused.
    #[schema(min_items = 1, max_items = 50)]
    prices: Vec<PriceWire>,
}

impl json::Body for ModelBody {
    const OBJECTS: &'static [&'static str] = &["", "/prices/*", "/prices/*/tiers/*", "/prices/*/tiers/*/longContext"];
}

/// What a model costs for some time.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ModelPrice)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PriceWire {
    /// Since when the price holds.
    #[schema(value_type = String, format = DateTime, required)]
    from: Option<String>,
    /// Before when it holds. Absent: for as long as nothing else is said.
    #[schema(format = DateTime)]
    until: Option<String>,
    /// By service tier: `default`, `priority`, `flex`. A tier that is not there cannot be asked for.
    tiers: BTreeMap<String, TierWire>,
    /// Of a thousand characters that a guardrail looks at, by all policies that it has. Absent: calls with guardrails are refused.
    #[schema(value_type = Option<UsdPrice>)]
    guardrail_text_unit: Option<Box<RawValue>>,
}

/// What a million tokens cost in one service tier. What is absent is not priced: a call that asks for it is refused.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ModelTierPrice)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TierWire {
    #[schema(value_type = UsdPrice, required)]
    input: Option<Box<RawValue>>,
    #[schema(value_type = UsdPrice, required)]
    output: Option<Box<RawValue>>,
    #[schema(value_type = Option<UsdPrice>)]
    cache_read: Option<Box<RawValue>>,
    /// To write to a cache for five minutes.
    #[schema(value_type = Option<UsdPrice>)]
    #[serde(rename = "cacheWrite5m")]
    cache_write_5m: Option<Box<RawValue>>,
    /// To write to a cache for an hour.
    #[schema(value_type = Option<UsdPrice>)]
    #[serde(rename = "cacheWrite1h")]
    cache_write_1h: Option<Box<RawValue>>,
    /// Instead of all of these, for calls with a long input.
    long_context: Option<LongContextWire>,
}

/// What a million tokens cost where the whole input, what was read from a cache or written to one included, is above a threshold.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ModelLongContextPrice)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LongContextWire {
    /// Less than the model's context.
    #[schema(minimum = 1, maximum = 1000000000)]
    #[serde(deserialize_with = "whole")]
    above_tokens: u64,
    #[schema(value_type = UsdPrice, required)]
    input: Option<Box<RawValue>>,
    #[schema(value_type = UsdPrice, required)]
    output: Option<Box<RawValue>>,
    #[schema(value_type = Option<UsdPrice>)]
    cache_read: Option<Box<RawValue>>,
    /// To write to a cache for five minutes.
    #[schema(value_type = Option<UsdPrice>)]
    #[serde(rename = "cacheWrite5m")]
    cache_write_5m: Option<Box<RawValue>>,
    /// To write to a cache for an hour.
    #[schema(value_type = Option<UsdPrice>)]
    #[serde(rename = "cacheWrite1h")]
    cache_write_1h: Option<Box<RawValue>>,
}

impl ModelBody {
    /// What is said of the model: what is wrong with that, the core says.
    ///
    /// # Errors
    /// Everything that is wrong with the body itself.
    pub fn into_declaration(self, key: ModelKey) -> Result<ModelDeclaration, Faults> {
        let mut faults = Faults::default();
        let tenants = tenants(&self.tenants, &mut faults);
        faults.into_result()?;
        Ok(ModelDeclaration {
            key,
            ids: self.ids,
            tenants,
            context_tokens: self.context_tokens,
            max_output_tokens: self.max_output_tokens,
            counts_tokens: self.counts_tokens.unwrap_or(false),
            caches_unasked: self.caches_unasked.unwrap_or(false),
            prices: self.prices.into_iter().map(PriceWire::into_declaration).collect(),
        })
    }
}

/// A number as it was written.
fn literal(raw: Option<Box<RawValue>>) -> Option<String> {
    raw.map(|raw| raw.get().to_owned())
}

impl PriceWire {
    fn into_declaration(self) -> PriceDeclaration {
        PriceDeclaration {
            from: self.from,
            until: self.until,
            tiers: self.tiers.into_iter().map(|(name, tier)| (name, tier.into_declaration())).collect(),
            guardrail_text_unit: literal(self.guardrail_text_unit),
        }
    }
}

impl TierWire {
    fn into_declaration(self) -> TierDeclaration {
        let rates = RatesDeclaration {
            input: literal(self.input),
            output: literal(self.output),
            cache_read: literal(self.cache_read),
            cache_write_5m: literal(self.cache_write_5m),
            cache_write_1h: literal(self.cache_write_1h),
        };
        TierDeclaration { rates, long: self.long_context.map(LongContextWire::into_declaration) }
    }
}

impl LongContextWire {
    fn into_declaration(self) -> LongDeclaration {
        let rates = RatesDeclaration {
            input: literal(self.input),
            output: literal(self.output),
            cache_read: literal(self.cache_read),
            cache_write_5m: literal(self.cache_write_5m),
            cache_write_1h: literal(self.cache_write_1h),
        };
        LongDeclaration { above_tokens: self.above_tokens, rates }
    }
}

/// A model.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Model)]
#[serde(rename_all = "camelCase")]
pub struct ModelView {
    #[schema(value_type = ModelKey)]
    key: String,
    /// Each as it is billed: that of an ARN which names nothing else is the id in it.
    #[schema(value_type = Vec<ModelIdText>)]
    ids: Vec<String>,
    /// To a tenant: as far as it is the tenant itself.
    #[schema(value_type = Vec<TenantOrAll>)]
    tenants: Vec<String>,
    context_tokens: u64,
    max_output_tokens: u64,
    counts_tokens: bool,
    caches_unasked: bool,
    /// From the earliest on.
    prices: Vec<PriceWire>,
    #[schema(format = DateTime)]
    updated_at: String,
}

impl From<&Model> for ModelView {
    fn from(model: &Model) -> Self {
        Self {
            key: model.key.to_string(),
            ids: model.ids.iter().map(ToString::to_string).collect(),
            tenants: model.tenants.0.iter().cloned().map(String::from).collect(),
            context_tokens: model.context_tokens,
            max_output_tokens: model.max_output_tokens,
            counts_tokens: model.counts_tokens,
            caches_unasked: model.caches_unasked,
            prices: model.prices.iter().map(PriceWire::from).collect(),
            updated_at: rfc3339_millis(model.updated_at),
        }
    }
}

/// Billionths of a US dollar as a JSON number, exact and without an exponent.
fn number(billionths: u64) -> Option<Box<RawValue>> {
    RawValue::from_string(NanoUsd(billionths).to_json_number().to_string()).ok()
}

fn shown(rate: Option<Rate>) -> Option<Box<RawValue>> {
    number(rate?.0)
}

impl From<&Price> for PriceWire {
    fn from(price: &Price) -> Self {
        let tiers = price.tiers.iter().map(|(name, tier)| (name.to_string(), TierWire::from(tier)));
        Self {
            from: Some(rfc3339_millis(price.from)),
            until: price.until.map(rfc3339_millis),
            tiers: tiers.collect(),
            guardrail_text_unit: price.guardrail_text_unit.and_then(|unit| number(unit.0)),
        }
    }
}

impl From<&TierPrice> for TierWire {
    fn from(tier: &TierPrice) -> Self {
        let Rates { input, output, cache_read, cache_write_5m, cache_write_1h } = tier.rates;
        Self {
            input: number(input.0),
            output: number(output.0),
            cache_read: shown(cache_read),
            cache_write_5m: shown(cache_write_5m),
            cache_write_1h: shown(cache_write_1h),
            long_context: tier.long.as_ref().map(LongContextWire::from),
        }
    }
}

impl From<&LongContext> for LongContextWire {
    fn from(long: &LongContext) -> Self {
        let Rates { input, output, cache_read, cache_write_5m, cache_write_1h } = long.rates;
        Self {
            above_tokens: long.above_tokens,
            input: number(input.0),
            output: number(output.0),
            cache_read: shown(cache_read),
            cache_write_5m: shown(cache_write_5m),
            cache_write_1h: shown(cache_write_1h),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    #[test]
    fn what_is_shown_of_a_model_declares_the_same_model() {
        let said = r#"{"ids":["us.acme.small"],"tenants":["acme"],"contextTokens":2e5,"maxOutputTokens":64000,
            "prices":[{"from":"2026-01-01T00:00:00+01:00","until":"2026-07-01T00:00:00Z","guardrailTextUnit":15e-5,
                "tiers":{"default":{"input":3.3,"output":0.16500E+2,"cacheRead":0.000000001,"cacheWrite1h":0,
                    "longContext":{"aboveTokens":1000.0,"input":6.6,"output":24.75,"cacheWrite5m":8.25}}}}]}"#;
        let read = |text: &str| {
            let declared =
                json::read::<ModelBody>(text).expect("a body").into_declaration("small".parse().expect("a key"));
            declared.expect("a declaration").read(Timestamp::UNIX_EPOCH).expect("a model")
        };
        let model = read(said);
        let mut shown = serde_json::to_value(ModelView::from(&model)).expect("JSON");
        // Numbers as they are written out, which a number made by Rust would not be.
        let shown_tier: serde_json::Value = serde_json::from_str(
            r#"{"input":3.3,"output":16.5,"cacheRead":0.000000001,"cacheWrite5m":null,"cacheWrite1h":0,
                "longContext":{"aboveTokens":1000,"input":6.6,"output":24.75,"cacheRead":null,"cacheWrite5m":8.25,
                    "cacheWrite1h":null}}"#,
        )
        .expect("JSON");
        assert_eq!(shown["prices"][0]["tiers"]["default"].to_string(), shown_tier.to_string());
        assert_eq!(shown["prices"][0]["from"], "2025-12-31T23:00:00.000Z");
        for field in ["key", "updatedAt"] {
            assert!(shown.as_object_mut().and_then(|fields| fields.remove(field)).is_some(), "{field}");
        }
        assert_eq!(read(&shown.to_string()), model);
    }
}
