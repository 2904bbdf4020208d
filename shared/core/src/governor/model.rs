//! A model as the operator has declared it: the ids it answers to, who may call it, how much it takes, and what it costs.
//!
//! Decision (2026-11-28): prices change while calls are under way, and nobody says by which of two prices such a call is billed.
//! So the worst case is taken over every price that may hold until the hold's lease is over, and a call is settled at the
//! dearest of those that held between its reserve and its settling.

use crate::admitted::Tenants;
use crate::budget::NanoUsd;
use crate::call_id::LEASE;
use crate::governor::call::Call;
use crate::governor::model_id::ModelId;
use crate::governor::price::{Price, TierPrice, rounded_up};
use crate::governor::terms::{CacheTtl, ServiceTier};
use crate::governor::usage::CallUsage;
use crate::id::ModelKey;
use jiff::Timestamp;
use std::collections::BTreeSet;

/// A declared model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    pub key: ModelKey,
    pub ids: BTreeSet<ModelId>,
    pub tenants: Tenants,
    /// Tokens that it reads at most.
    pub context_tokens: u64,
    /// Tokens that it writes at most, thinking included: as many as it writes where a call says nothing.
    pub max_output_tokens: u64,
    /// Whether `CountTokens` knows it.
    pub counts_tokens: bool,
    /// Whether it writes to a cache although no call asks it to: then every input may cost what a cache write does.
    pub caches_unasked: bool,
    /// None of them at the same time as another; from the earliest on.
    pub prices: Vec<Price>,
    pub updated_at: Timestamp,
    /// Its optimistic lock, from 1.
    pub rev: u64,
}

/// What a call asks for and no price is declared for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unpriced {
    #[error("the model has no price at this time")]
    Date,
    #[error("the model has no price for the service tier {0}")]
    Tier(ServiceTier),
    #[error("the model has no price for writing to a cache for {}", match .0 { CacheTtl::FiveMinutes => "5 minutes", CacheTtl::OneHour => "an hour" })]
    CacheWrite(CacheTtl),
    #[error("the model has no price for the text units of a guardrail")]
    Guardrail,
    #[error("no price is declared for a guardrail on anything but text")]
    GuardrailOnContent,
    #[error("no price is declared for system tools")]
    SystemTool,
    #[error("no price is declared for latency-optimized inference")]
    LatencyOptimized,
}

/// What a call may cost: the prices that may hold while it is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tariff {
    pub prices: Vec<Price>,
    /// The tier that is asked for.
    pub tier: ServiceTier,
    /// Since when.
    pub since: Timestamp,
}

impl Model {
    /// The prices by which a call is made at `now`.
    ///
    /// # Errors
    /// When something that it asks for has no price.
    pub fn tariff(&self, call: &Call, now: Timestamp) -> Result<Tariff, Unpriced> {
        if call.uses_system_tools {
            return Err(Unpriced::SystemTool);
        }
        if call.is_latency_optimized {
            return Err(Unpriced::LatencyOptimized);
        }
        if call.has_guardrail && call.input.has_other_content {
            return Err(Unpriced::GuardrailOnContent);
        }
        if !self.prices.iter().any(|price| price.holds_within(now, now)) {
            return Err(Unpriced::Date);
        }
        let until = now + LEASE;
        let prices: Vec<Price> = self.prices.iter().filter(|price| price.holds_within(now, until)).cloned().collect();
        for price in &prices {
            let tier = price.tiers.get(&call.tier).ok_or(Unpriced::Tier(call.tier))?;
            let rates = [Some(tier.rates), tier.long.map(|long| long.rates)];
            for ttl in &call.cache_writes {
                if rates.iter().flatten().any(|rates| rates.cache_write(*ttl).is_none()) {
                    return Err(Unpriced::CacheWrite(*ttl));
                }
            }
            if call.has_guardrail && price.guardrail_text_unit.is_none() {
                return Err(Unpriced::Guardrail);
            }
        }
        Ok(Tariff { prices, tier: call.tier, since: now })
    }
}

impl Tariff {
    /// What a call used, by the dearest of the prices that held from its reserve to `settled_at`. A tier that served it and has
    /// no price costs as the dearest tier does.
    pub fn cost(&self, usage: &CallUsage, settled_at: Timestamp) -> NanoUsd {
        let held = self.prices.iter().filter(|price| price.holds_within(self.since, settled_at.max(self.since)));
        held.map(|price| self.cost_by(price, usage)).max().unwrap_or_default()
    }

    fn cost_by(&self, price: &Price, usage: &CallUsage) -> NanoUsd {
        let served = usage.tier.unwrap_or(self.tier);
        let tiers = match price.tiers.get(&served) {
            Some(tier) => vec![tier],
            None => price.tiers.values().collect::<Vec<&TierPrice>>(),
        };
        let tokens = tiers.into_iter().map(|tier| tier.cost(&usage.tokens)).max().unwrap_or_default();
        let unit = price.guardrail_text_unit.unwrap_or_default();
        let units = u128::from(unit.0).saturating_mul(usage.guardrail_text_units.into()).saturating_mul(1_000_000);
        rounded_up(tokens.saturating_add(units))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::governor::price::{Rate, Rates};
    use crate::governor::usage::TokenUsage;
    use std::collections::BTreeMap;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn rates(rate: u64) -> Rates {
        let (input, output) = (Rate(rate), Rate(rate));
        Rates { input, output, cache_read: None, cache_write_5m: Some(Rate(2 * rate)), cache_write_1h: None }
    }

    fn price(from: i64, until: Option<i64>, rate: u64) -> Price {
        let default = TierPrice { rates: rates(rate), long: None };
        let priority = TierPrice { rates: rates(2 * rate), long: None };
        let tiers = BTreeMap::from([(ServiceTier::Default, default), (ServiceTier::Priority, priority)]);
        Price { from: at(from), until: until.map(at), tiers, guardrail_text_unit: Some(NanoUsd(3)) }
    }

    fn model(prices: Vec<Price>) -> Model {
        Model {
            key: "haiku".parse().expect("a key"),
            ids: BTreeSet::from(["anthropic.claude".parse().expect("an id")]),
            tenants: Tenants::everyone(),
            context_tokens: 200_000,
            max_output_tokens: 64_000,
            counts_tokens: true,
            caches_unasked: false,
            prices,
            updated_at: at(0),
            rev: 1,
        }
    }

    #[test]
    fn what_is_not_priced_is_refused_and_nothing_is_inherited() {
        let mut bare = price(0, None, 1);
        bare.guardrail_text_unit = None;
        let model = model(vec![bare]);
        let plain = Call::default();
        for (call, unpriced) in [
            (Call { tier: ServiceTier::Flex, ..plain.clone() }, Unpriced::Tier(ServiceTier::Flex)),
            (Call { has_guardrail: true, ..plain.clone() }, Unpriced::Guardrail),
            (Call { uses_system_tools: true, ..plain.clone() }, Unpriced::SystemTool),
            (Call { is_latency_optimized: true, ..plain.clone() }, Unpriced::LatencyOptimized),
            (
                Call { cache_writes: BTreeSet::from([CacheTtl::FiveMinutes, CacheTtl::OneHour]), ..plain.clone() },
                Unpriced::CacheWrite(CacheTtl::OneHour),
            ),
        ] {
            assert_eq!(model.tariff(&call, at(1)), Err(unpriced), "{call:?}");
        }
        assert_eq!(model.tariff(&plain, at(-1)), Err(Unpriced::Date));
        assert!(model.tariff(&plain, at(1)).is_ok());
        assert!(model.tariff(&Call { tier: ServiceTier::Priority, ..plain }, at(1)).is_ok());
    }

    #[test]
    fn a_price_that_will_hold_within_the_lease_is_a_price_of_the_call() {
        let model = model(vec![price(0, Some(1_000), 1), price(1_000, None, 5)]);
        let prices = |now| model.tariff(&Call::default(), at(now)).map(|tariff| tariff.prices.len());
        assert_eq!(
            [prices(0), prices(39), prices(40), prices(999), prices(1_000)],
            [Ok(1), Ok(1), Ok(2), Ok(2), Ok(1)]
        );
        // A price that ends without another one is one of the calls before its end.
        let ending = self::model(vec![price(0, Some(1_000), 1)]);
        assert!(ending.tariff(&Call::default(), at(999)).is_ok());
        assert_eq!(ending.tariff(&Call::default(), at(1_000)), Err(Unpriced::Date));
    }

    #[test]
    fn a_call_is_settled_at_the_dearest_price_that_held_meanwhile() {
        let usage =
            CallUsage { tokens: TokenUsage { input: 1_000_000, ..TokenUsage::default() }, ..CallUsage::default() };
        for (first, second, costs) in [(1, 5, [1, 5, 5]), (5, 1, [5, 5, 5])] {
            let model = model(vec![price(0, Some(1_000), first), price(1_000, None, second)]);
            let tariff = model.tariff(&Call::default(), at(900)).expect("priced");
            assert_eq!([950, 1_000, 1_500].map(|settled| tariff.cost(&usage, at(settled)).0), costs);
        }
    }

    #[test]
    fn the_tier_that_served_is_the_one_that_is_paid() {
        let model = model(vec![price(0, None, 1)]);
        let call = Call { tier: ServiceTier::Priority, ..Call::default() };
        let tariff = model.tariff(&call, at(1)).expect("priced");
        let tokens = TokenUsage { input: 1_000_000, ..TokenUsage::default() };
        let cost = |tier| tariff.cost(&CallUsage { tokens, tier, guardrail_text_units: 10 }, at(2)).0;
        assert_eq!([cost(None), cost(Some(ServiceTier::Default)), cost(Some(ServiceTier::Priority))], [32, 31, 32]);
        assert_eq!(cost(Some(ServiceTier::Flex)), 32, "unpriced: as the dearest");
    }
}
