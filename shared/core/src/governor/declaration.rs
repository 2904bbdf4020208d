//! A model as an operator declares it, in the operator's own words, and what is wrong with them.

use crate::admitted::Tenants;
use crate::budget::NanoUsd;
use crate::governor::model::Model;
use crate::governor::model_id::ModelId;
use crate::governor::price::{InvalidRate, LongContext, Price, Rate, Rates, TierPrice, billionths};
use crate::governor::terms::ServiceTier;
use crate::id::ModelKey;
use crate::limits;
use crate::place::{At, Field, Part};
use crate::time::from_rfc3339;
use crate::violation::{Invalid, ViolationCode};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// What is said of a model. Numbers of US dollars are JSON literals as they were written.
#[derive(Clone, Debug)]
pub struct ModelDeclaration {
    pub key: ModelKey,
    pub ids: Vec<String>,
    pub tenants: Tenants,
    pub context_tokens: u64,
    pub max_output_tokens: u64,
    pub counts_tokens: bool,
    pub caches_unasked: bool,
    pub prices: Vec<PriceDeclaration>,
}

#[derive(Clone, Debug, Default)]
pub struct PriceDeclaration {
    /// RFC 3339. It has to be said.
    pub from: Option<String>,
    pub until: Option<String>,
    /// By the tier's name.
    pub tiers: BTreeMap<String, TierDeclaration>,
    pub guardrail_text_unit: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct TierDeclaration {
    pub rates: RatesDeclaration,
    pub long: Option<LongDeclaration>,
}

#[derive(Clone, Debug, Default)]
pub struct LongDeclaration {
    pub above_tokens: u64,
    pub rates: RatesDeclaration,
}

/// US dollars per million tokens.
#[derive(Clone, Debug, Default)]
pub struct RatesDeclaration {
    pub input: Option<String>,
    pub output: Option<String>,
    pub cache_read: Option<String>,
    pub cache_write_5m: Option<String>,
    pub cache_write_1h: Option<String>,
}

impl ModelDeclaration {
    /// The model that is declared, as of `now`; its revision is the store's to say.
    ///
    /// # Errors
    /// Everything that is wrong, each with its place.
    pub fn read(self, now: Timestamp) -> Result<Model, Invalid> {
        let mut invalid = Invalid::default();
        let ids = read_ids(&self.ids, &mut invalid);
        for (field, tokens) in
            [(Field::ContextTokens, self.context_tokens), (Field::MaxOutputTokens, self.max_output_tokens)]
        {
            let allowed = limits::MODEL_TOKENS;
            if !allowed.contains(&tokens) {
                let message = format_args!("must be from {} to {}", allowed.start(), allowed.end());
                invalid.add(field, ViolationCode::OutOfRange, message);
            }
        }
        let mut prices = read_prices(&self.prices, self.context_tokens, &mut invalid);
        invalid.into_result()?;
        prices.sort_by_key(|price| price.from);
        let Self { key, tenants, context_tokens, max_output_tokens, counts_tokens, caches_unasked, .. } = self;
        Ok(Model {
            key,
            ids,
            tenants,
            context_tokens,
            max_output_tokens,
            counts_tokens,
            caches_unasked,
            prices,
            updated_at: now,
            rev: 0,
        })
    }
}

fn read_ids(ids: &[String], invalid: &mut Invalid) -> BTreeSet<ModelId> {
    let at = Field::ModelIds.at();
    bounded(ids.len(), limits::MODEL_IDS, "ids", &at, invalid);
    let mut read = BTreeSet::new();
    for (index, id) in ids.iter().enumerate() {
        match id.parse::<ModelId>() {
            Ok(id) if !read.insert(id.clone()) => {
                let message = format_args!("{id} is given twice");
                invalid.add(at.index(index), ViolationCode::Repeated, message);
            }
            Ok(_) => {}
            Err(error) => invalid.add(at.index(index), ViolationCode::Invalid, error),
        }
    }
    read
}

fn bounded(number: usize, most: usize, what: &str, at: &At<'_>, invalid: &mut Invalid) {
    let message = format_args!("must be 1 to {most} {what}");
    if number == 0 {
        invalid.add(at, ViolationCode::OutOfRange, message);
    } else if number > most {
        invalid.add(at, ViolationCode::TooMany, message);
    }
}

/// Those that are right, in their order.
fn read_prices(prices: &[PriceDeclaration], context_tokens: u64, invalid: &mut Invalid) -> Vec<Price> {
    let at = Field::Prices.at();
    bounded(prices.len(), limits::MODEL_PRICES, "prices", &at, invalid);
    let mut read: Vec<(usize, Price)> = Vec::new();
    for (index, price) in prices.iter().enumerate().take(limits::MODEL_PRICES) {
        let here = at.index(index);
        let Some(price) = read_price(price, context_tokens, &here, invalid) else { continue };
        if let Some((other, _)) = read.iter().find(|(_, other)| other.overlaps(&price)) {
            let message = format_args!("is of a time at which price {other} holds as well: end that one with until");
            invalid.add(here.part(Part::From), ViolationCode::Repeated, message);
        }
        read.push((index, price));
    }
    read.into_iter().map(|(_, price)| price).collect()
}

/// `None` where its times or something else in it cannot be told.
fn read_price(price: &PriceDeclaration, context_tokens: u64, at: &At<'_>, invalid: &mut Invalid) -> Option<Price> {
    let from = read_time(price.from.as_deref(), &at.part(Part::From), invalid);
    let until = price.until.as_deref().map(|until| read_time(Some(until), &at.part(Part::Until), invalid));
    if from.is_none() && price.from.is_none() {
        invalid.add(at.part(Part::From), ViolationCode::MissingField, "must say since when the price holds");
    }
    if let (Some(from), Some(Some(until))) = (from, until)
        && until <= from
    {
        invalid.add(at.part(Part::Until), ViolationCode::OutOfRange, "must be after from");
    }
    let tiers_at = at.part(Part::Tiers);
    if price.tiers.is_empty() {
        invalid.add(tiers_at, ViolationCode::OutOfRange, "must have a price for at least one service tier");
    }
    let mut tiers = BTreeMap::new();
    for (name, tier) in &price.tiers {
        let here = tiers_at.key(name);
        let read = read_tier(tier, context_tokens, &here, invalid);
        match (name.parse::<ServiceTier>(), read) {
            (Ok(name), Some(tier)) => drop(tiers.insert(name, tier)),
            (Ok(_), None) => {}
            (Err(message), _) => invalid.add(here, ViolationCode::Invalid, message),
        }
    }
    let unit_at = at.part(Part::GuardrailTextUnit);
    let unit = price.guardrail_text_unit.as_deref().map(|literal| noted(billionths(literal), &unit_at, invalid));
    let guardrail_text_unit = match unit {
        Some(nano) => Some(NanoUsd(nano?)),
        None => None,
    };
    let until = match until {
        Some(until) => Some(until?),
        None => None,
    };
    Some(Price { from: from?, until, tiers, guardrail_text_unit })
}

fn read_time(text: Option<&str>, at: &At<'_>, invalid: &mut Invalid) -> Option<Timestamp> {
    let text = text?;
    let time = from_rfc3339(text);
    if time.is_none() {
        invalid.add(at, ViolationCode::Invalid, "must be a time as RFC 3339 has it, such as 2026-11-01T00:00:00Z");
    }
    time
}

fn read_tier(tier: &TierDeclaration, context_tokens: u64, at: &At<'_>, invalid: &mut Invalid) -> Option<TierPrice> {
    let rates = read_rates(&tier.rates, at, invalid);
    let long = tier.long.as_ref().map(|long| {
        let here = at.part(Part::LongContext);
        if !(1..context_tokens).contains(&long.above_tokens) {
            let message = format_args!("must be at least 1, and less than the {context_tokens} of the context");
            invalid.add(here.part(Part::AboveTokens), ViolationCode::OutOfRange, message);
        }
        let rates = read_rates(&long.rates, &here, invalid)?;
        Some(LongContext { above_tokens: long.above_tokens, rates })
    });
    match long {
        Some(long) => Some(TierPrice { rates: rates?, long: Some(long?) }),
        None => Some(TierPrice { rates: rates?, long: None }),
    }
}

fn read_rates(rates: &RatesDeclaration, at: &At<'_>, invalid: &mut Invalid) -> Option<Rates> {
    let mut read = |part, literal: &Option<String>| {
        literal.as_deref().map(|literal| noted(Rate::parse(literal), &at.part(part), invalid))
    };
    let input = read(Part::Input, &rates.input);
    let output = read(Part::Output, &rates.output);
    let cached = [
        read(Part::CacheRead, &rates.cache_read),
        read(Part::CacheWrite5m, &rates.cache_write_5m),
        read(Part::CacheWrite1h, &rates.cache_write_1h),
    ];
    for (part, rate) in [(Part::Input, input), (Part::Output, output)] {
        if rate.is_none() {
            invalid.add(at.part(part), ViolationCode::MissingField, "must be given: nothing is free unless it costs 0");
        }
    }
    let [cache_read, cache_write_5m, cache_write_1h] = cached.map(Option::flatten);
    Some(Rates { input: input??, output: output??, cache_read, cache_write_5m, cache_write_1h })
}

fn noted<T>(read: Result<T, InvalidRate>, at: &At<'_>, invalid: &mut Invalid) -> Option<T> {
    read.map_err(|error| invalid.add(at, error.code(), error)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn rates(input: &str, output: &str) -> RatesDeclaration {
        RatesDeclaration { input: text(input), output: text(output), ..RatesDeclaration::default() }
    }

    fn price(from: &str, until: Option<&str>) -> PriceDeclaration {
        let tier = TierDeclaration { rates: rates("1.1", "5.5"), long: None };
        PriceDeclaration {
            from: text(from),
            until: until.map(str::to_owned),
            tiers: BTreeMap::from([("default".to_owned(), tier)]),
            guardrail_text_unit: None,
        }
    }

    fn declared(prices: Vec<PriceDeclaration>) -> ModelDeclaration {
        ModelDeclaration {
            key: "haiku".parse().expect("a key"),
            ids: vec!["us.anthropic.claude-haiku-4-5-20251001-v1:0".to_owned()],
            tenants: Tenants::everyone(),
            context_tokens: 200_000,
            max_output_tokens: 64_000,
            counts_tokens: true,
            caches_unasked: false,
            prices,
        }
    }

    fn with_rates(change: impl FnOnce(&mut TierDeclaration)) -> ModelDeclaration {
        let mut price = price("2026-01-01T00:00:00Z", None);
        change(price.tiers.get_mut("default").expect("it is there"));
        declared(vec![price])
    }

    fn said(declaration: ModelDeclaration) -> Vec<(String, ViolationCode)> {
        let invalid = declaration.read(Timestamp::UNIX_EPOCH).expect_err("refused");
        invalid.violations.into_iter().map(|one| (one.place.to_string(), one.code)).collect()
    }

    #[test]
    fn a_declaration_is_read_exactly() {
        let later = price("2026-06-01T00:00:00Z", None);
        let earlier = price("2026-01-01T00:00:00Z", Some("2026-06-01T00:00:00Z"));
        let model = declared(vec![later, earlier]).read(Timestamp::UNIX_EPOCH).expect("valid");
        assert_eq!(model.prices.len(), 2);
        assert!(model.prices[0].from < model.prices[1].from, "from the earliest on");
        let rates = model.prices[0].tiers[&ServiceTier::Default].rates;
        assert_eq!((rates.input, rates.output), (Rate(1_100_000_000), Rate(5_500_000_000)));
    }

    #[test]
    fn every_fault_of_a_declaration_is_told_with_its_place() {
        use ViolationCode::{Invalid, MissingField, OutOfRange, Repeated, WrongType};
        let undated = PriceDeclaration { from: None, ..price("", None) };
        let guarded = |literal: &str| PriceDeclaration {
            guardrail_text_unit: text(literal),
            ..price("2026-01-01T00:00:00Z", None)
        };
        let mut unknown = price("2026-01-01T00:00:00Z", None);
        unknown.tiers.insert("reserved".to_owned(), TierDeclaration { rates: rates("1", "1"), long: None });
        let tierless = PriceDeclaration { tiers: BTreeMap::new(), ..price("2026-01-01T00:00:00Z", None) };
        let long = |above_tokens| LongDeclaration { above_tokens, rates: rates("1", "-1") };
        let tier = r#"Prices[0].Tiers{"default"}"#;
        for (declaration, place, code) in [
            (with_rates(|tier| tier.rates.input = text("-1")), format!("{tier}.Input"), OutOfRange),
            (with_rates(|tier| tier.rates.output = text("0.0000000001")), format!("{tier}.Output"), Invalid),
            (with_rates(|tier| tier.rates.cache_read = text("\"1\"")), format!("{tier}.CacheRead"), WrongType),
            (with_rates(|tier| tier.rates.cache_write_5m = text("1e9")), format!("{tier}.CacheWrite5m"), OutOfRange),
            (with_rates(|tier| tier.rates.cache_write_1h = text("-0.1")), format!("{tier}.CacheWrite1h"), OutOfRange),
            (with_rates(|tier| tier.rates.input = None), format!("{tier}.Input"), MissingField),
            (with_rates(|tier| tier.rates.output = None), format!("{tier}.Output"), MissingField),
            (with_rates(|tier| tier.long = Some(long(1))), format!("{tier}.LongContext.Output"), OutOfRange),
            (declared(vec![undated]), "Prices[0].From".to_owned(), MissingField),
            (declared(vec![price("2026", None)]), "Prices[0].From".to_owned(), Invalid),
            (declared(vec![price("2026-01-01T00:00:00Z", Some("soon"))]), "Prices[0].Until".to_owned(), Invalid),
            (
                declared(vec![price("2026-01-01T00:00:00Z", Some("2026-01-01T00:00:00Z"))]),
                "Prices[0].Until".to_owned(),
                OutOfRange,
            ),
            (
                declared(vec![price("2026-01-01T00:00:00Z", None), price("2026-02-01T00:00:00Z", None)]),
                "Prices[1].From".to_owned(),
                Repeated,
            ),
            (
                declared(vec![
                    price("2026-03-01T00:00:00Z", None),
                    price("2026-02-01T00:00:00Z", Some("2026-03-01T00:00:00.001Z")),
                ]),
                "Prices[1].From".to_owned(),
                Repeated,
            ),
            (declared(vec![guarded("-1")]), "Prices[0].GuardrailTextUnit".to_owned(), OutOfRange),
            (declared(vec![unknown]), r#"Prices[0].Tiers{"reserved"}"#.to_owned(), Invalid),
            (declared(vec![tierless]), "Prices[0].Tiers".to_owned(), OutOfRange),
            (declared(Vec::new()), "Prices".to_owned(), OutOfRange),
        ] {
            assert_eq!(said(declaration), [(place, code)]);
        }
        let beyond =
            with_rates(|tier| tier.long = Some(LongDeclaration { above_tokens: 200_000, rates: rates("1", "1") }));
        assert_eq!(said(beyond), [(format!("{tier}.LongContext.AboveTokens"), OutOfRange)]);
    }

    #[test]
    fn ids_and_lengths_are_checked() {
        let good = || declared(vec![price("2026-01-01T00:00:00Z", None)]);
        let id = "us.anthropic.claude-haiku-4-5-20251001-v1:0";
        let arn = format!("arn:aws:bedrock:us-east-1:123456789012:inference-profile/{id}");
        let twice = ModelDeclaration { ids: vec![id.to_owned(), arn, "x".to_owned()], ..good() };
        assert_eq!(
            said(twice),
            [("ModelIds[1]".to_owned(), ViolationCode::Repeated), ("ModelIds[2]".to_owned(), ViolationCode::Invalid)]
        );
        assert_eq!(
            said(ModelDeclaration { ids: Vec::new(), ..good() }),
            [("ModelIds".to_owned(), ViolationCode::OutOfRange)]
        );
        let none = ModelDeclaration { context_tokens: 0, max_output_tokens: 0, ..good() };
        let places: Vec<_> = said(none).into_iter().map(|(place, _)| place).collect();
        assert_eq!(places, ["ContextTokens", "MaxOutputTokens"]);
        let many = vec![price("2026-01-01T00:00:00Z", None); limits::MODEL_PRICES + 1];
        assert_eq!(said(declared(many))[0], ("Prices".to_owned(), ViolationCode::TooMany));
    }
}
