//! Money: whole micro-dollars, read exactly from the text a caller wrote. No floating point.

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
    #[error("must have at most 6 decimals")]
    TooPrecise,
    #[error("must be at most {0} US dollars")]
    TooLarge(MicroUsd),
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
        if whole.is_empty()
            || !is_digits(whole)
            || !is_digits(fraction)
            || (mantissa.contains('.') && fraction.is_empty())
        {
            return Err(InvalidBudget::NotANumber);
        }
        let digits = format!("{whole}{fraction}");
        let significant = digits.trim_start_matches('0').trim_end_matches('0');
        if significant.is_empty() {
            return Ok(Self(0)); // also "-0" and "0e99"
        }
        if negative {
            return Err(InvalidBudget::Negative);
        }
        let trailing_zeros = digits.len() - digits.trim_end_matches('0').len();
        // significant * 10^power micro-dollars
        let power = i64::from(exponent) + 6 - fraction.len() as i64 + trailing_zeros as i64;
        if power < 0 {
            return Err(InvalidBudget::TooPrecise);
        }
        let too_large = InvalidBudget::TooLarge(most);
        let scale = u32::try_from(power).ok().and_then(|power| 10u64.checked_pow(power)).ok_or(too_large)?;
        let micro = significant.parse::<u64>().ok().and_then(|digits| digits.checked_mul(scale)).ok_or(too_large)?;
        if micro > most.0 { Err(too_large) } else { Ok(Self(micro)) }
    }

    /// As a JSON number in US dollars, exact and without an exponent: `1.25`, `0.000001`, `100000`.
    pub fn to_json_number(self) -> serde_json::Number {
        serde_json::from_str(&self.to_string()).unwrap_or_else(|_| serde_json::Number::from(0))
    }
}

impl fmt::Display for MicroUsd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / Self::PER_USD, self.0 % Self::PER_USD);
        if fraction == 0 {
            return write!(formatter, "{whole}");
        }
        let digits = format!("{fraction:06}");
        write!(formatter, "{whole}.{}", digits.trim_end_matches('0'))
    }
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
            ("0.0000001", InvalidBudget::TooPrecise),
            ("1.1234567", InvalidBudget::TooPrecise),
            ("1e-7", InvalidBudget::TooPrecise),
            ("1e-999", InvalidBudget::TooPrecise),
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
}
