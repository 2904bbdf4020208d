//! Money: whole micro-dollars, read exactly from the text a caller wrote. No floating point.

use crate::violation::ViolationCode;
use std::fmt;

/// An amount in millionths of a US dollar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct MicroUsd(pub u64);

/// Why a budget was refused. Shown to callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBudget {
    #[error("must be a number of US dollars")]
    NotANumber,
    #[error("must not be negative")]
    Negative,
    #[error("must have at most {0} decimals")]
    TooPrecise(u32),
    #[error("must be at most {0} US dollars")]
    TooLarge(MicroUsd),
}

impl InvalidBudget {
    /// One mistake has one code, whichever amount it is made with.
    pub const fn code(self) -> ViolationCode {
        match self {
            Self::NotANumber => ViolationCode::WrongType,
            Self::Negative | Self::TooLarge(_) => ViolationCode::OutOfRange,
            Self::TooPrecise(_) => ViolationCode::TooPrecise,
        }
    }
}

/// An amount in billionths of a US dollar: what single calls cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct NanoUsd(pub u64);

impl From<MicroUsd> for NanoUsd {
    fn from(micro: MicroUsd) -> Self {
        Self(micro.0.saturating_mul(1_000))
    }
}

impl NanoUsd {
    /// Reads a JSON number literal. What is finer than a nano-dollar is rounded up: reporters compute with floating point,
    /// and a cap must not be passed by rounding.
    ///
    /// # Errors
    /// When it is no number, negative, or above `most`.
    pub fn parse(literal: &str, most: MicroUsd) -> Result<Self, InvalidBudget> {
        parse(literal, 9, Finer::RoundUp, Self::from(most).0, most).map(Self)
    }

    /// As a JSON number in US dollars, exact and without an exponent.
    pub fn to_json_number(self) -> serde_json::Number {
        let text = decimal(self.0, 9);
        serde_json::from_str(&text).unwrap_or_else(|_| serde_json::Number::from(0))
    }
}

impl MicroUsd {
    pub const PER_USD: u64 = 1_000_000;

    pub const fn from_usd(usd: u64) -> Self {
        Self(usd * Self::PER_USD)
    }

    /// Reads a JSON number literal (`1.25`, `1e-6`, `-0`), exactly.
    ///
    /// # Errors
    /// When it is no number, negative, finer than a micro-dollar, or above `most`.
    pub fn parse(literal: &str, most: Self) -> Result<Self, InvalidBudget> {
        parse(literal, 6, Finer::Refuse, most.0, most).map(Self)
    }

    /// Reads a cap: 0 is none.
    ///
    /// # Errors
    /// As [`MicroUsd::parse`].
    pub fn parse_cap(literal: &str, most: Self) -> Result<Option<Self>, InvalidBudget> {
        Self::parse(literal, most).map(|cap| Some(cap).filter(|cap| *cap > Self::default()))
    }

    /// As a JSON number in US dollars, exact and without an exponent: `1.25`, `0.000001`, `100000`.
    pub fn to_json_number(self) -> serde_json::Number {
        serde_json::from_str(&self.to_string()).unwrap_or_else(|_| serde_json::Number::from(0))
    }
}

impl fmt::Display for MicroUsd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&decimal(self.0, 6))
    }
}

/// Units of `10^-decimals` US dollars as a decimal number.
fn decimal(units: u64, decimals: usize) -> String {
    let digits = format!("{units:0>width$}", width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    match fraction.trim_end_matches('0') {
        "" => whole.to_owned(),
        fraction => format!("{whole}.{fraction}"),
    }
}

/// What becomes of decimals beyond the smallest unit.
#[derive(Clone, Copy)]
enum Finer {
    Refuse,
    RoundUp,
}

/// A JSON number literal in units of `10^-decimals`.
fn parse(literal: &str, decimals: u32, finer: Finer, most_units: u64, most: MicroUsd) -> Result<u64, InvalidBudget> {
    let (negative, unsigned) = match literal.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, literal),
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], unsigned[at + 1..].parse::<i32>().map_err(|_| InvalidBudget::NotANumber)?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) || (mantissa.contains('.') && fraction.is_empty())
    {
        return Err(InvalidBudget::NotANumber);
    }
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Ok(0); // also "-0" and "0e99"
    }
    if negative {
        return Err(InvalidBudget::Negative);
    }
    let trailing_zeros = digits.len() - digits.trim_end_matches('0').len();
    // significant * 10^power units
    let power = i64::from(exponent) + i64::from(decimals) - fraction.len() as i64 + trailing_zeros as i64;
    let too_large = InvalidBudget::TooLarge(most);
    let units = match (u32::try_from(power), finer) {
        (Ok(power), _) => {
            let scale = 10u64.checked_pow(power).ok_or(too_large)?;
            significant.parse::<u64>().ok().and_then(|digits| digits.checked_mul(scale)).ok_or(too_large)?
        }
        (Err(_negative), Finer::RoundUp) => {
            // What is cut off is not nothing: the last significant digit is no zero.
            let cut = usize::try_from(-power).unwrap_or(usize::MAX);
            let kept = significant.len().checked_sub(cut).map_or("", |kept| &significant[..kept]);
            let whole = if kept.is_empty() { 0 } else { kept.parse::<u64>().map_err(|_| too_large)? };
            whole.checked_add(1).ok_or(too_large)?
        }
        (Err(_negative), Finer::Refuse) => return Err(InvalidBudget::TooPrecise(decimals)),
    };
    if units > most_units { Err(too_large) } else { Ok(units) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOST: MicroUsd = MicroUsd::from_usd(100_000);

    #[test]
    fn literals_are_read_exactly() {
        for (literal, micro) in [
            ("0.1", 100_000),
            ("1.25", 1_250_000),
            ("0.000001", 1),
            ("1e-6", 1),
            ("1E-06", 1),
            ("2.5e3", 2_500_000_000),
            ("0", 0),
            ("-0", 0),
            ("-0.0", 0),
            ("0e99", 0),
            ("1.10", 1_100_000),
            ("1.0000000", 1_000_000),
            ("100000", 100_000_000_000),
            ("10.0e4", 100_000_000_000),
        ] {
            assert_eq!(MicroUsd::parse(literal, MOST), Ok(MicroUsd(micro)), "{literal}");
        }
    }

    #[test]
    fn what_is_no_budget_is_refused_with_its_reason() {
        for (literal, error) in [
            ("-1", InvalidBudget::Negative),
            ("-0.0000001", InvalidBudget::Negative),
            ("0.0000001", InvalidBudget::TooPrecise(6)),
            ("1.1234567", InvalidBudget::TooPrecise(6)),
            ("1e-7", InvalidBudget::TooPrecise(6)),
            ("1e-999", InvalidBudget::TooPrecise(6)),
            ("100000.000001", InvalidBudget::TooLarge(MOST)),
            ("1e30", InvalidBudget::TooLarge(MOST)),
            ("99999999999999999999999999", InvalidBudget::TooLarge(MOST)),
            ("\"1\"", InvalidBudget::NotANumber),
            ("null", InvalidBudget::NotANumber),
            ("NaN", InvalidBudget::NotANumber),
            ("", InvalidBudget::NotANumber),
            (".5", InvalidBudget::NotANumber),
            ("1.", InvalidBudget::NotANumber),
            ("1e99999999999", InvalidBudget::NotANumber),
        ] {
            assert_eq!(MicroUsd::parse(literal, MOST), Err(error), "{literal}");
        }
    }

    proptest! {
        #[test]
        fn an_amount_survives_its_own_text(micro in 0..=MOST.0) {
            prop_assert_eq!(MicroUsd::parse(&MicroUsd(micro).to_string(), MOST), Ok(MicroUsd(micro)));
        }
    }

    #[test]
    fn a_call_s_cost_is_read_in_nano_dollars_and_rounded_up() {
        for (literal, nano) in [
            ("0", 0),
            ("0.000000001", 1),
            ("1.25", 1_250_000_000),
            ("0.30000000000000004", 300_000_001),
            ("1e-30", 1),
            ("0.0000000019", 2),
        ] {
            assert_eq!(NanoUsd::parse(literal, MOST), Ok(NanoUsd(nano)), "{literal}");
        }
        assert_eq!(NanoUsd::parse("100000.0000000001", MOST), Err(InvalidBudget::TooLarge(MOST)));
        assert_eq!(NanoUsd(1_250_000_000).to_json_number().to_string(), "1.25");
        assert_eq!(NanoUsd(1).to_json_number().to_string(), "0.000000001");
    }
}
