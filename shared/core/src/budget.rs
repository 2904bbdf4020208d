//! Money: whole micro-dollars, read from the digits a caller wrote. No floating point. A cap is what its caller computed with
//! doubles, so that what is finer than a micro-dollar is cut off: a cap is never more than was asked for.

use crate::number::exponent_of;
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
    #[error("must be 0, or at least 0.000001 US dollars")]
    TooSmall,
    #[error("must be at most {0} US dollars")]
    TooLarge(MicroUsd),
}

impl InvalidBudget {
    /// One mistake has one code, whichever amount it is made with.
    pub const fn code(self) -> ViolationCode {
        match self {
            Self::NotANumber => ViolationCode::WrongType,
            Self::Negative | Self::TooSmall | Self::TooLarge(_) => ViolationCode::OutOfRange,
        }
    }
}

/// An amount in billionths of a US dollar: what single calls cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct NanoUsd(pub u64);

/// An amount as JSON has it: a number of US dollars, exact and without an exponent. It is never another number: were it none, what
/// it stands in could not be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsdNumber(String);

impl serde::Serialize for UsdNumber {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number: serde_json::Number = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        number.serialize(serializer)
    }
}

impl fmt::Display for UsdNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

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
    pub fn to_json_number(self) -> UsdNumber {
        UsdNumber(decimal(self.0, 9))
    }
}

impl MicroUsd {
    pub const PER_USD: u64 = 1_000_000;

    pub const fn from_usd(usd: u64) -> Self {
        Self(usd * Self::PER_USD)
    }

    /// Reads a JSON number literal (`1.25`, `1e-6`, `-0`, `0.30000000000000004`). What is finer than a micro-dollar is cut
    /// off; what would come to nothing that way is refused, for 0 may mean that there is no cap.
    ///
    /// # Errors
    /// When it is no number, negative, above `most`, or above 0 and below a micro-dollar.
    pub fn parse(literal: &str, most: Self) -> Result<Self, InvalidBudget> {
        parse(literal, 6, Finer::CutOff, most.0, most).map(Self)
    }

    /// Reads a cap: 0 is none.
    ///
    /// # Errors
    /// As [`MicroUsd::parse`].
    pub fn parse_cap(literal: &str, most: Self) -> Result<Option<Self>, InvalidBudget> {
        Self::parse(literal, most).map(|cap| Some(cap).filter(|cap| *cap > Self::default()))
    }

    /// As a JSON number in US dollars, exact and without an exponent: `1.25`, `0.000001`, `100000`.
    pub fn to_json_number(self) -> UsdNumber {
        UsdNumber(decimal(self.0, 6))
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
    CutOff,
    RoundUp,
}

/// A JSON number literal in units of `10^-decimals`.
fn parse(literal: &str, decimals: u32, finer: Finer, most_units: u64, most: MicroUsd) -> Result<u64, InvalidBudget> {
    let (negative, unsigned) = match literal.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, literal),
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], exponent_of(&unsigned[at + 1..]).ok_or(InvalidBudget::NotANumber)?),
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
    let power = exponent + i64::from(decimals) - fraction.len() as i64 + trailing_zeros as i64;
    let too_large = InvalidBudget::TooLarge(most);
    let units = match (u32::try_from(power), finer) {
        (Ok(power), _) => {
            let scale = 10u64.checked_pow(power).ok_or(too_large)?;
            significant.parse::<u64>().ok().and_then(|digits| digits.checked_mul(scale)).ok_or(too_large)?
        }
        (Err(_), _) if power > 0 => return Err(too_large),
        (Err(_negative), finer) => {
            // What is cut off is not nothing: the last significant digit is no zero.
            let cut = usize::try_from(-power).unwrap_or(usize::MAX);
            let kept = significant.len().checked_sub(cut).map_or("", |kept| &significant[..kept]);
            let whole = if kept.is_empty() { 0 } else { kept.parse::<u64>().map_err(|_| too_large)? };
            match finer {
                Finer::RoundUp => whole.checked_add(1).ok_or(too_large)?,
                Finer::CutOff if whole == 0 => return Err(InvalidBudget::TooSmall),
                Finer::CutOff if whole >= most_units => return Err(too_large),
                Finer::CutOff => whole,
            }
        }
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
            ("0.30000000000000004", 300_000),
            ("0.1e0", 100_000),
            ("1.1234569", 1_123_456),
            ("0.0000019999", 1),
            ("99999.9999999", 99_999_999_999),
            ("0e99999999999", 0),
            ("-0.0e-99999999999", 0),
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
            ("0.0000001", InvalidBudget::TooSmall),
            ("0.00000099999", InvalidBudget::TooSmall),
            ("1e-7", InvalidBudget::TooSmall),
            ("1e-999", InvalidBudget::TooSmall),
            ("1e-99999999999", InvalidBudget::TooSmall),
            ("100000.0000001", InvalidBudget::TooLarge(MOST)),
            ("100000.000001", InvalidBudget::TooLarge(MOST)),
            ("1e30", InvalidBudget::TooLarge(MOST)),
            ("99999999999999999999999999", InvalidBudget::TooLarge(MOST)),
            ("\"1\"", InvalidBudget::NotANumber),
            ("null", InvalidBudget::NotANumber),
            ("NaN", InvalidBudget::NotANumber),
            ("", InvalidBudget::NotANumber),
            (".5", InvalidBudget::NotANumber),
            ("1.", InvalidBudget::NotANumber),
            ("1e99999999999", InvalidBudget::TooLarge(MOST)),
            ("1e", InvalidBudget::NotANumber),
            ("1e+", InvalidBudget::NotANumber),
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

    proptest! {
        #[test]
        fn a_cap_that_was_computed_is_the_one_that_was_meant(cents in 1..1_000_u32, times in 1..1_000_u32) {
            // As a caller computes it: 0.1 + 0.2, or 3 * 0.1.
            let computed = f64::from(times) * (f64::from(cents) / 100.0);
            let meant = u64::from(cents) * u64::from(times) * 10_000;
            let read = MicroUsd::parse(&computed.to_string(), MOST).expect("a cap");
            prop_assert!(read.0 == meant || read.0 + 1 == meant, "{computed}: {read:?}, not {meant}");
        }

        #[test]
        fn a_cap_is_never_more_than_was_asked_for(literal in r"[0-9]{1,5}\.[0-9]{1,20}") {
            if let Ok(read) = MicroUsd::parse(&literal, MOST) {
                let (whole, fraction) = literal.split_once('.').expect("a point");
                let micro: u64 = format!("{whole}{:0<6.6}", fraction).parse().expect("digits");
                prop_assert_eq!(read, MicroUsd(micro));
            }
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

    #[test]
    fn an_amount_is_written_as_its_number_or_not_at_all() {
        for (nano, text) in [(0, "0"), (1, "0.000000001"), (1_250_000_000, "1.25"), (u64::MAX, "18446744073.709551615")]
        {
            assert_eq!(serde_json::to_string(&NanoUsd(nano).to_json_number()).expect("JSON"), text);
        }
        for text in ["", "1.", "one", "1,5", "--1"] {
            serde_json::to_string(&UsdNumber(text.to_owned())).expect_err(text);
        }
    }
}
