//! What tokens cost: exact decimals, dated, by service tier and length of the context.
//!
//! **Invariants:** a rate is what its operator wrote, to the ninth decimal of a US dollar per million tokens; nothing of a price
//! is guessed or inherited: what no rate is declared for cannot be asked for, and what is used all the same costs as much as the
//! dearest thing beside it.

use crate::budget::NanoUsd;
use crate::governor::terms::{CacheTtl, ServiceTier};
use crate::governor::usage::TokenUsage;
use crate::limits;
use crate::number::{exponent_of, is_whole, whole_literal};
use crate::time::{millis, millis_opt};
use crate::violation::ViolationCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Billionths of a US dollar for a million tokens: one is a millionth of a nano-dollar a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rate(pub u64);

/// Why a price was refused. Shown to operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRate {
    #[error("must be a number of US dollars")]
    NotANumber,
    #[error("must not be negative")]
    Negative,
    #[error("must have at most 9 decimals")]
    TooFine,
    #[error("must be at most {} US dollars", limits::PRICE_USD)]
    TooLarge,
}

impl InvalidRate {
    pub const fn code(self) -> ViolationCode {
        match self {
            Self::NotANumber => ViolationCode::WrongType,
            Self::TooFine => ViolationCode::Invalid,
            Self::Negative | Self::TooLarge => ViolationCode::OutOfRange,
        }
    }
}

/// A JSON number of US dollars in billionths, exactly.
///
/// # Errors
/// When it is no number, negative, finer than a billionth, or above [`limits::PRICE_USD`].
pub fn billionths(literal: &str) -> Result<u64, InvalidRate> {
    if serde_json::from_str::<serde_json::Number>(literal).is_err() {
        return Err(InvalidRate::NotANumber);
    }
    let (mantissa, exponent) = match literal.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent_of(exponent).ok_or(InvalidRate::NotANumber)?),
        None => (literal, 0),
    };
    let shifted = format!("{mantissa}e{}", exponent.saturating_add(9));
    let is_negative = literal.starts_with('-');
    match whole_literal(&shifted) {
        Some(number) if number < 0 => Err(InvalidRate::Negative),
        Some(number) => {
            let number = u64::try_from(number).map_err(|_| InvalidRate::TooLarge)?;
            if number > limits::PRICE_USD * 1_000_000_000 { Err(InvalidRate::TooLarge) } else { Ok(number) }
        }
        None if is_negative => Err(InvalidRate::Negative),
        None if is_whole(&shifted) => Err(InvalidRate::TooLarge),
        None => Err(InvalidRate::TooFine),
    }
}

impl Rate {
    /// Reads a JSON number literal of US dollars per million tokens.
    ///
    /// # Errors
    /// As [`billionths`].
    pub fn parse(literal: &str) -> Result<Self, InvalidRate> {
        billionths(literal).map(Self)
    }

    /// What so many tokens cost, in millionths of a nano-dollar.
    pub fn of(self, tokens: u64) -> u128 {
        u128::from(self.0) * u128::from(tokens)
    }
}

/// Millionths of a nano-dollar in whole nano-dollars, rounded up. What is more than can be counted is the most that can.
pub fn rounded_up(millionths: u128) -> NanoUsd {
    NanoUsd(u64::try_from(millionths.div_ceil(1_000_000)).unwrap_or(u64::MAX))
}

/// What tokens of each kind cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rates {
    /// Tokens that were neither read from a cache nor written to one.
    pub input: Rate,
    pub output: Rate,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<Rate>,
    #[serde(default, rename = "cacheWrite5m", skip_serializing_if = "Option::is_none")]
    pub cache_write_5m: Option<Rate>,
    #[serde(default, rename = "cacheWrite1h", skip_serializing_if = "Option::is_none")]
    pub cache_write_1h: Option<Rate>,
}

impl Rates {
    pub const fn cache_write(&self, ttl: CacheTtl) -> Option<Rate> {
        match ttl {
            CacheTtl::FiveMinutes => self.cache_write_5m,
            CacheTtl::OneHour => self.cache_write_1h,
        }
    }

    /// The highest that a token of input can cost.
    pub fn dearest_input(&self) -> Rate {
        let cached = [self.cache_read, self.cache_write_5m, self.cache_write_1h];
        cached.into_iter().flatten().fold(self.input, Rate::max)
    }

    /// In millionths of a nano-dollar.
    fn cost(&self, usage: &TokenUsage) -> u128 {
        let unpriced = self.dearest_input();
        [
            (Some(self.input), usage.input),
            (Some(self.output), usage.output),
            (self.cache_read, usage.cache_read),
            (self.cache_write_5m, usage.cache_write_5m),
            (self.cache_write_1h, usage.cache_write_1h),
        ]
        .into_iter()
        .map(|(rate, tokens)| rate.unwrap_or(unpriced).of(tokens))
        .fold(0, u128::saturating_add)
    }
}

/// What tokens cost where the whole input, with what was read from a cache or written to one, is above a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LongContext {
    pub above_tokens: u64,
    pub rates: Rates,
}

/// What one service tier costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TierPrice {
    pub rates: Rates,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long: Option<LongContext>,
}

impl TierPrice {
    /// In millionths of a nano-dollar.
    pub fn cost(&self, usage: &TokenUsage) -> u128 {
        let rates = match &self.long {
            Some(long) if usage.context() > long.above_tokens => &long.rates,
            Some(_) | None => &self.rates,
        };
        rates.cost(usage)
    }

    /// The rates that can apply to an input of at most so many tokens, each with the most tokens it can apply to.
    pub fn bands(&self, input_tokens: u64) -> impl Iterator<Item = (Rates, u64)> {
        let below = self.long.map_or(input_tokens, |long| input_tokens.min(long.above_tokens));
        let above = self.long.filter(|long| input_tokens > long.above_tokens);
        [Some((self.rates, below)), above.map(|long| (long.rates, input_tokens))].into_iter().flatten()
    }
}

/// What a model costs for some time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    #[serde(with = "millis")]
    pub from: Timestamp,
    /// The price holds until before this time; `None` for as long as nothing else is said.
    #[serde(default, with = "millis_opt", skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// By service tier. A tier that is not there cannot be asked for.
    pub tiers: BTreeMap<ServiceTier, TierPrice>,
    /// Of a thousand characters that a guardrail looks at, by all policies that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guardrail_text_unit: Option<NanoUsd>,
}

impl Price {
    /// Whether it holds at some time from `from` to `to`, both included.
    pub fn holds_within(&self, from: Timestamp, to: Timestamp) -> bool {
        self.from <= to && self.until.is_none_or(|until| from < until)
    }

    pub fn overlaps(&self, other: &Self) -> bool {
        let begins_before_end = |one: &Self, other: &Self| other.until.is_none_or(|until| one.from < until);
        begins_before_end(self, other) && begins_before_end(other, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_rate_is_read_exactly_or_not_at_all() {
        for (literal, rate) in [
            ("0", Ok(0)),
            ("-0.0", Ok(0)),
            ("1", Ok(1_000_000_000)),
            ("0.000000001", Ok(1)),
            ("1e-9", Ok(1)),
            ("1.1", Ok(1_100_000_000)),
            ("5.50", Ok(5_500_000_000)),
            ("0.0000000010", Ok(1)),
            ("2.5E2", Ok(250_000_000_000)),
            ("1000000", Ok(1_000_000_000_000_000)),
            ("1000000.000000001", Err(InvalidRate::TooLarge)),
            ("1e99", Err(InvalidRate::TooLarge)),
            ("1e99999999999999999999", Err(InvalidRate::TooLarge)),
            ("0.0000000001", Err(InvalidRate::TooFine)),
            ("1.1000000001", Err(InvalidRate::TooFine)),
            ("1e-10", Err(InvalidRate::TooFine)),
            ("0.30000000000000004", Err(InvalidRate::TooFine)),
            ("-1", Err(InvalidRate::Negative)),
            ("-0.0000000001", Err(InvalidRate::Negative)),
            ("-1e99", Err(InvalidRate::Negative)),
            ("\"1\"", Err(InvalidRate::NotANumber)),
            ("", Err(InvalidRate::NotANumber)),
            ("NaN", Err(InvalidRate::NotANumber)),
            (".5", Err(InvalidRate::NotANumber)),
            ("null", Err(InvalidRate::NotANumber)),
        ] {
            assert_eq!(Rate::parse(literal), rate.map(Rate), "{literal}");
        }
    }

    fn rates(input: u64, output: u64) -> Rates {
        Rates { input: Rate(input), output: Rate(output), cache_read: None, cache_write_5m: None, cache_write_1h: None }
    }

    #[test]
    fn each_kind_of_token_costs_its_rate_and_the_sum_is_rounded_up_once() {
        // Claude Haiku 4.5 by its regional profile: 1.1 in, 5.5 out, 0.11 read, 1.375 and 2.2 written.
        let haiku = Rates {
            cache_read: Some(Rate(110_000_000)),
            cache_write_5m: Some(Rate(1_375_000_000)),
            cache_write_1h: Some(Rate(2_200_000_000)),
            ..rates(1_100_000_000, 5_500_000_000)
        };
        let price = TierPrice { rates: haiku, long: None };
        let usage = TokenUsage { input: 10, output: 100, cache_read: 1_000, cache_write_5m: 200, cache_write_1h: 30 };
        // 11,000 + 550,000 + 110,000 + 275,000 + 66,000 nano-dollars.
        assert_eq!(rounded_up(price.cost(&usage)), NanoUsd(1_012_000));
        let third = TierPrice { rates: rates(333_333, 333_333), long: None };
        let usage = TokenUsage { input: 1, output: 1, ..TokenUsage::default() };
        assert_eq!((third.cost(&usage), rounded_up(third.cost(&usage))), (666_666, NanoUsd(1)));
    }

    #[test]
    fn what_is_used_unpriced_costs_the_dearest_rate() {
        let price = TierPrice { rates: Rates { cache_write_5m: Some(Rate(7)), ..rates(5, 1) }, long: None };
        let usage = TokenUsage { cache_write_1h: 1, cache_read: 1, ..TokenUsage::default() };
        assert_eq!(price.cost(&usage), 14);
    }

    #[test]
    fn a_long_context_counts_everything_that_was_read() {
        let long = LongContext { above_tokens: 200, rates: rates(20, 15) };
        let price = TierPrice { rates: rates(10, 10), long: Some(long) };
        let cost =
            |input, cache_read| price.cost(&TokenUsage { input, cache_read, output: 1, ..TokenUsage::default() });
        assert_eq!((cost(200, 0), cost(201, 0), cost(1, 200)), (2_010, 4_035, 4_035));
        assert_eq!(price.bands(200).collect::<Vec<_>>(), [(rates(10, 10), 200)]);
        assert_eq!(price.bands(300).collect::<Vec<_>>(), [(rates(10, 10), 200), (rates(20, 15), 300)]);
    }

    #[test]
    fn prices_overlap_where_some_time_has_both() {
        let at = |day: i64| Timestamp::from_second(day * 86_400).expect("a time");
        let price = |from, until: Option<i64>| Price {
            from: at(from),
            until: until.map(at),
            tiers: BTreeMap::new(),
            guardrail_text_unit: None,
        };
        for (one, other, overlap) in [
            (price(0, Some(1)), price(1, Some(2)), false),
            (price(0, Some(2)), price(1, Some(3)), true),
            (price(0, None), price(5, None), true),
            (price(0, Some(5)), price(5, None), false),
            (price(0, None), price(-5, Some(0)), false),
            (price(3, None), price(0, None), true),
            (price(0, Some(9)), price(2, Some(3)), true),
        ] {
            assert_eq!((one.overlaps(&other), other.overlaps(&one)), (overlap, overlap), "{one:?} {other:?}");
        }
        let day = price(1, Some(2));
        let holds = [(0, 0, false), (0, 1, true), (1, 1, true), (2, 3, false), (0, 9, true)];
        assert!(holds.iter().all(|(from, to, holds)| day.holds_within(at(*from), at(*to)) == *holds));
    }

    proptest! {
        #[test]
        fn every_rate_survives_its_own_text(nano in 0..=limits::PRICE_USD * 1_000_000_000) {
            let literal = format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000);
            prop_assert_eq!(Rate::parse(&literal), Ok(Rate(nano)));
            let finer = format!("{literal}1");
            prop_assert_eq!(Rate::parse(&finer), Err(InvalidRate::TooFine));
        }
    }
}
