//! What a call costs at most, and with how long an answer it fits into what is left.
//!
//! **Invariants:** no call that is served as it was read costs more than its worst case, by any of the prices that may hold while
//! it is under way; a longer answer never has a lower worst case than a shorter one.

use crate::budget::NanoUsd;
use crate::governor::call::{Call, InvalidCall, OutputRange};
use crate::governor::model::{Model, Tariff, Unpriced};
use crate::governor::price::{Rate, Rates, rounded_up};
use jiff::Timestamp;

/// Characters that a guardrail counts as one text unit.
/// Source: <https://aws.amazon.com/bedrock/pricing/>
const TEXT_UNIT_CHARS: u64 = 1_000;
/// Characters of the longest token of any vocabulary in use: spaces, in `o200k_base`.
pub const TOKEN_CHARS: u64 = 128;

/// Why a call is not made, whatever is left.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCallable {
    #[error(transparent)]
    Unpriced(Unpriced),
    #[error(transparent)]
    Invalid(InvalidCall),
}

/// What a call costs at most, by the length of its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorstCase {
    pub output: OutputRange,
    /// What is paid for its tokens in each case that may come: by each price, tier and band of the context.
    cases: Vec<Case>,
    guardrail: Option<Guardrail>,
}

/// In millionths of a nano-dollar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Case {
    input: u128,
    /// Of each token of an answer, in all answers.
    token: u128,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Guardrail {
    /// The dearest.
    text_unit: NanoUsd,
    input_units: u64,
    answers: u64,
}

impl WorstCase {
    /// Of a call of this model at `now`, with the prices by which it is to be settled.
    ///
    /// # Errors
    /// When something in it has no price, or the model would refuse it.
    pub fn of(call: &Call, model: &Model, now: Timestamp) -> Result<(Self, Tariff), NotCallable> {
        let output = call.output(model.max_output_tokens).map_err(NotCallable::Invalid)?;
        let tariff = model.tariff(call, now).map_err(NotCallable::Unpriced)?;
        let input_tokens = call.input.most_tokens(model.context_tokens);
        let tiers = tariff.prices.iter().flat_map(|price| {
            // A tier that has no room may hand the call on to the default one.
            let tiers = [tariff.tier, Default::default()];
            tiers.into_iter().filter_map(|tier| price.tiers.get(&tier))
        });
        let bands = tiers.flat_map(|tier| tier.bands(input_tokens));
        let case = |(rates, tokens): (Rates, u64)| Case {
            input: dearest_input(&rates, call, model).of(tokens),
            token: rates.output.of(call.answers),
        };
        let cases = bands.map(case).collect();
        let units = |price: &crate::governor::price::Price| price.guardrail_text_unit;
        let guardrail = call.has_guardrail.then(|| Guardrail {
            text_unit: tariff.prices.iter().filter_map(units).max().unwrap_or_default(),
            input_units: input_text_units(call),
            answers: call.answers,
        });
        Ok((Self { output, cases, guardrail }, tariff))
    }

    /// With an answer of at most so many tokens.
    pub fn cost(&self, max_tokens: u64) -> NanoUsd {
        let tokens = self.cases.iter().map(|case| {
            let output = case.token.saturating_mul(u128::from(max_tokens));
            case.input.saturating_add(output)
        });
        let guardrail = self.guardrail.map_or(0, |guardrail| {
            let units = guardrail.input_units.saturating_add(output_text_units(max_tokens, guardrail.answers));
            u128::from(guardrail.text_unit.0).saturating_mul(units.into()).saturating_mul(1_000_000)
        });
        rounded_up(tokens.max().unwrap_or_default().saturating_add(guardrail))
    }

    /// As it was asked.
    pub fn most(&self) -> NanoUsd {
        self.cost(self.output.most)
    }

    /// Lowered as far as it may be.
    pub fn least(&self) -> NanoUsd {
        self.cost(self.output.least)
    }

    /// The longest answer with which it costs no more than `rest`; `None` where even the shortest costs more.
    pub fn within(&self, rest: NanoUsd) -> Option<u64> {
        let fits = |tokens| self.cost(tokens) <= rest;
        let OutputRange { least, most } = self.output;
        if !fits(least) {
            return None;
        }
        // The last length is one that fits, and the one after `above` is one that does not, or is too long.
        let (mut fitting, mut above) = (least, most);
        while fitting < above {
            let middle = above - (above - fitting) / 2;
            if fits(middle) { fitting = middle } else { above = middle - 1 }
        }
        Some(fitting)
    }
}

/// What a token of input costs at most in this call.
fn dearest_input(rates: &Rates, call: &Call, model: &Model) -> Rate {
    if model.caches_unasked {
        return rates.dearest_input();
    }
    let written = call.cache_writes.iter().filter_map(|ttl| rates.cache_write(*ttl));
    written.chain(rates.cache_read).fold(rates.input, Rate::max)
}

/// Text units of a call's input at most. A text that ends begins a unit of its own, so each message may have one more.
pub fn input_text_units(call: &Call) -> u64 {
    call.input.text_tokens.div_ceil(TEXT_UNIT_CHARS).saturating_add(call.input.messages)
}

/// Text units of answers of so many tokens each at most.
pub fn output_text_units(max_tokens: u64, answers: u64) -> u64 {
    max_tokens.saturating_mul(TOKEN_CHARS).div_ceil(TEXT_UNIT_CHARS).saturating_mul(answers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admitted::Tenants;
    use crate::governor::call::Input;
    use crate::governor::price::{LongContext, Price, TierPrice};
    use crate::governor::terms::{CacheTtl, ServiceTier};
    use crate::governor::usage::{CallUsage, TokenUsage};
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn model(prices: Vec<Price>) -> Model {
        Model {
            key: "any".parse().expect("a key"),
            ids: BTreeSet::new(),
            tenants: Tenants::everyone(),
            context_tokens: 200_000,
            max_output_tokens: 64_000,
            counts_tokens: false,
            caches_unasked: false,
            prices,
            updated_at: at(0),
            rev: 1,
        }
    }

    fn rates(input: u64, output: u64) -> Rates {
        let scale = 1_000_000;
        Rates {
            input: Rate(input * scale),
            output: Rate(output * scale),
            cache_read: Some(Rate(input * scale / 10)),
            cache_write_5m: Some(Rate(input * scale * 5 / 4)),
            cache_write_1h: Some(Rate(input * scale * 2)),
        }
    }

    fn price(tiers: &[(ServiceTier, TierPrice)]) -> Price {
        Price {
            from: at(0),
            until: None,
            tiers: BTreeMap::from_iter(tiers.iter().copied()),
            guardrail_text_unit: Some(NanoUsd(7)),
        }
    }

    fn plain(rates: Rates) -> TierPrice {
        TierPrice { rates, long: None }
    }

    fn worst(call: &Call, model: &Model) -> WorstCase {
        WorstCase::of(call, model, at(1)).expect("callable").0
    }

    #[test]
    fn the_highest_price_that_can_apply_is_set_aside() {
        let long = LongContext { above_tokens: 100_000, rates: rates(20, 15) };
        let priority = plain(rates(17, 17));
        let model = model(vec![price(&[
            (ServiceTier::Default, TierPrice { rates: rates(10, 10), long: Some(long) }),
            (ServiceTier::Priority, priority),
        ])]);
        let input = |tokens| Input { counted: Some(tokens), ..Input::default() };
        let call = |tokens| Call { input: input(tokens), max_tokens: Some(100), ..Call::default() };
        let marked = |ttl| Call { cache_writes: BTreeSet::from([ttl]), ..call(1_000) };
        for (call, nano) in [
            (call(0), 1_000),
            (call(1_000), 11_000),
            (call(100_000), 1_001_000),
            (call(100_001), 20 * 100_001 + 1_500),
            (marked(CacheTtl::FiveMinutes), 13_500),
            (marked(CacheTtl::OneHour), 21_000),
            (Call { tier: ServiceTier::Priority, ..call(1_000) }, 18_700),
            (Call { answers: 3, ..call(1_000) }, 13_000),
            // 2 units of text, 1 of a message, and 13 of an answer.
            (
                Call {
                    has_guardrail: true,
                    input: Input { text_tokens: 1_001, messages: 1, ..input(1_000) },
                    ..call(1_000)
                },
                11_000 + 16 * 7,
            ),
            // It has no room at this tier, and is served by a dearer one.
            (Call { tier: ServiceTier::Priority, ..call(150_000) }, 20 * 150_000 + 1_500),
        ] {
            assert_eq!(worst(&call, &model).most(), NanoUsd(nano), "{call:?}");
        }
        let unasked = Model { caches_unasked: true, ..model };
        assert_eq!(worst(&call(1_000), &unasked).most(), NanoUsd(21_000));
    }

    #[test]
    fn an_answer_is_lowered_to_what_is_left_and_no_further() {
        let model = model(vec![price(&[(ServiceTier::Default, plain(rates(10, 10)))])]);
        let input = Input { counted: Some(1_000), ..Input::default() };
        let asked = worst(&Call { input, max_tokens: Some(4_000), ..Call::default() }, &model);
        assert_eq!((asked.least(), asked.most()), (NanoUsd(20_240), NanoUsd(50_000)));
        for (rest, tokens) in [
            (0, None),
            (20_239, None),
            (20_240, Some(1_024)),
            (20_250, Some(1_025)),
            (49_999, Some(3_999)),
            (50_000, Some(4_000)),
            (u64::MAX, Some(4_000)),
        ] {
            assert_eq!(asked.within(NanoUsd(rest)), tokens, "{rest}");
        }
        let short = worst(&Call { input, max_tokens: Some(10), ..Call::default() }, &model);
        assert_eq!((short.least(), short.within(NanoUsd(10_099))), (NanoUsd(10_100), None));
    }

    fn any_rates() -> impl Strategy<Value = Rates> {
        let rate = || (0..50_000_000_000_u64).prop_map(Rate);
        (rate(), rate(), rate(), rate(), rate()).prop_map(|(input, output, read, short, hour)| Rates {
            input,
            output,
            cache_read: Some(read),
            cache_write_5m: Some(short),
            cache_write_1h: Some(hour),
        })
    }

    fn any_price() -> impl Strategy<Value = TierPrice> {
        (any_rates(), proptest::option::of((1..200_000_u64, any_rates()))).prop_map(|(rates, long)| TierPrice {
            rates,
            long: long.map(|(above_tokens, rates)| LongContext { above_tokens, rates }),
        })
    }

    /// A call, and how its tokens are spread: what of the input it reads, and of that what a cache has part in.
    #[derive(Clone, Debug)]
    struct Served {
        call: Call,
        read: u64,
        parts: [u64; 3],
        written: u64,
        units: u64,
        tier: Option<ServiceTier>,
    }

    fn any_served() -> impl Strategy<Value = Served> {
        let input = (0..300_000_u64, 0..100_u64, any::<bool>(), any::<bool>());
        let output = (proptest::option::of(1..64_000_u64), 1..4_u64, 0..=1_000_u64);
        let marks = (any::<bool>(), any::<bool>(), any::<bool>());
        let shares = (0..=1_000_u64, proptest::array::uniform3(0..=1_000_u64), 0..=1_000_u64);
        (input, output, marks, shares).prop_map(|(input, (max_tokens, answers, _), marks, shares)| {
            let (text_tokens, messages, has_tools, has_other_content) = input;
            let (short, hour, is_priority) = marks;
            let has_guardrail = !has_other_content;
            let mut cache_writes = BTreeSet::new();
            cache_writes.extend(short.then_some(CacheTtl::FiveMinutes));
            cache_writes.extend(hour.then_some(CacheTtl::OneHour));
            let tier = if is_priority { ServiceTier::Priority } else { ServiceTier::Default };
            let input = Input { text_tokens, messages, has_tools, has_other_content, counted: None };
            let call = Call { input, max_tokens, answers, cache_writes, tier, has_guardrail, ..Call::default() };
            let (read, parts, written) = shares;
            let served =
                if read % 2 == 0 { None } else { Some(if read % 3 == 0 { ServiceTier::Default } else { tier }) };
            Served { call, read, parts, written, units: written, tier: served }
        })
    }

    proptest! {
        /// However a call is served, within its text, its context and its limit: it costs no more than was set aside.
        #[test]
        fn no_call_costs_more_than_its_worst_case(
            served in any_served(),
            prices in proptest::collection::vec((any_price(), any_price(), 0..1_000_u64), 1..3),
            settled in 0..2_000_i64,
        ) {
            let prices: Vec<Price> = prices.iter().enumerate().map(|(index, (default, priority, unit))| Price {
                from: at(index as i64 * 500),
                until: (index + 1 < prices.len()).then(|| at((index as i64 + 1) * 500)),
                tiers: BTreeMap::from([(ServiceTier::Default, *default), (ServiceTier::Priority, *priority)]),
                guardrail_text_unit: Some(NanoUsd(*unit)),
            }).collect();
            let model = model(prices);
            let (worst, tariff) = WorstCase::of(&served.call, &model, at(1)).expect("callable");
            let share = |of: u64, share: u64| of * share / 1_000;
            let read = share(served.call.input.most_tokens(model.context_tokens), served.read);
            // Only what it asks to be kept is written to a cache.
            let writes = |ttl| if served.call.cache_writes.contains(&ttl) { 1 } else { 0 };
            let cache_read = share(read, served.parts[0]);
            let cache_write_5m = share(read - cache_read, served.parts[1]) * writes(CacheTtl::FiveMinutes);
            let cache_write_1h = share(read - cache_read - cache_write_5m, served.parts[2]) * writes(CacheTtl::OneHour);
            let input = read - cache_read - cache_write_5m - cache_write_1h;
            let output = share(worst.output.most * served.call.answers, served.written);
            let units = if served.call.has_guardrail {
                let chars = served.call.input.text_tokens + worst.output.most * TOKEN_CHARS * served.call.answers;
                share(chars / TEXT_UNIT_CHARS, served.units)
            } else { 0 };
            let tokens = TokenUsage { input, output, cache_read, cache_write_5m, cache_write_1h };
            let usage = CallUsage { tokens, tier: served.tier, guardrail_text_units: units };
            let cost = tariff.cost(&usage, at(settled.min(960)));
            prop_assert!(cost <= worst.most(), "{cost:?} > {:?} of {usage:?}", worst.most());
        }

        #[test]
        fn the_longest_answer_that_fits_is_found(served in any_served(), price in any_price(), rest in any::<u32>()) {
            let prices = vec![self::price(&[(ServiceTier::Default, price), (ServiceTier::Priority, price)])];
            let worst = worst(&served.call, &model(prices));
            let rest = NanoUsd(u64::from(rest));
            match worst.within(rest) {
                None => prop_assert!(worst.least() > rest),
                Some(tokens) => {
                    prop_assert!((worst.output.least..=worst.output.most).contains(&tokens));
                    prop_assert!(worst.cost(tokens) <= rest);
                    prop_assert!(tokens == worst.output.most || worst.cost(tokens + 1) > rest);
                }
            }
        }
    }
}
