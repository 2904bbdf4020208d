//! Whole numbers, in any of their spellings: `5`, `5.0`, `50e-1` and `0.5E1` are one integer to JSON and to JSON Schema.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Unexpected, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// The whole number that a JSON number's literal stands for; `None` when it is none, or one of more than 38 digits.
pub fn whole_literal(literal: &str) -> Option<i128> {
    match read(literal) {
        Read::Whole(number) => Some(number),
        Read::TooLarge | Read::Fraction | Read::NoNumber => None,
    }
}

/// Whether a JSON number's literal stands for a whole number, however large.
pub fn is_whole(literal: &str) -> bool {
    matches!(read(literal), Read::Whole(_) | Read::TooLarge)
}

enum Read {
    Whole(i128),
    /// Whole, and beyond every integer there is.
    TooLarge,
    Fraction,
    NoNumber,
}

fn read(literal: &str) -> Read {
    let unsigned = literal.strip_prefix('-').unwrap_or(literal);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)),
        None => (unsigned, Some(0)),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some(exponent) = exponent.filter(|_| is_digits(whole) && is_digits(fraction)) else { return Read::NoNumber };
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Read::Whole(0);
    }
    let trailing_zeros = digits.len() - digits.trim_end_matches('0').len();
    // significant * 10^power
    let power = exponent.saturating_add(trailing_zeros as i64).saturating_sub(fraction.len() as i64);
    let Ok(power) = u32::try_from(power) else {
        return if power < 0 { Read::Fraction } else { Read::TooLarge };
    };
    let scale = 10_i128.checked_pow(power);
    let number = scale.and_then(|scale| significant.parse::<i128>().ok()?.checked_mul(scale));
    number.map_or(Read::TooLarge, |number| Read::Whole(if unsigned.len() == literal.len() { number } else { -number }))
}

/// An exponent, as large as is needed to tell that a number is far too large or far too small.
pub(crate) fn exponent_of(text: &str) -> Option<i64> {
    let (is_negative, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let exponent = digits.parse::<i64>().unwrap_or(i64::MAX / 4).min(i64::MAX / 4);
    Some(if is_negative { -exponent } else { exponent })
}

/// Reads an integer in any spelling; use with `#[serde(deserialize_with)]`.
///
/// # Errors
/// For what is no whole number, or one that `T` does not hold.
pub fn whole<'de, T: TryFrom<i128>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(AnySpelling(PhantomData))
}

/// [`whole`] for a field that may be absent or `null`; with `#[serde(default)]`.
///
/// # Errors
/// As [`whole`].
pub fn whole_option<'de, T: TryFrom<i128>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(Option::<Whole<T>>::deserialize(deserializer)?.map(|Whole(number)| number))
}

struct Whole<T>(T);

impl<'de, T: TryFrom<i128>> Deserialize<'de> for Whole<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        whole(deserializer).map(Self)
    }
}

struct AnySpelling<T>(PhantomData<T>);

impl<T: TryFrom<i128>> AnySpelling<T> {
    fn of<E: Error>(self, number: i128) -> Result<T, E> {
        T::try_from(number).map_err(|_| E::invalid_value(self.unexpected(number), &self))
    }

    fn unexpected(&self, number: i128) -> Unexpected<'static> {
        Unexpected::Signed(i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX }))
    }
}

impl<'de, T: TryFrom<i128>> Visitor<'de> for AnySpelling<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if T::try_from(-1).is_ok() { "a whole number" } else { "a whole number, not negative" })
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        self.of(number.into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        self.of(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        // Written out, so that one way decides what is whole.
        match whole_literal(&format!("{number:e}")) {
            Some(whole) => self.of(whole),
            None => Err(E::invalid_type(Unexpected::Float(number), &self)),
        }
    }

    /// A number whose literal `serde_json` keeps comes as a map of one entry.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        const LITERAL: &str = "$serde_json::private::Number";
        match map.next_key::<String>()? {
            Some(key) if key == LITERAL => match read(&map.next_value::<String>()?) {
                Read::Whole(number) => self.of(number),
                Read::TooLarge => Err(A::Error::invalid_value(self.unexpected(i128::MAX), &self)),
                Read::Fraction | Read::NoNumber => Err(A::Error::invalid_type(Unexpected::Float(0.5), &self)),
            },
            Some(_) | None => Err(A::Error::invalid_type(Unexpected::Map, &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;
    use serde_json::Value;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Sample {
        #[serde(default, deserialize_with = "whole_option")]
        count: Option<u32>,
        #[serde(default, deserialize_with = "whole")]
        offset: i64,
    }

    fn count(literal: &str) -> Result<Option<u32>, String> {
        let read = serde_json::from_str::<Sample>(&format!("{{\"count\":{literal}}}"));
        read.map(|sample| sample.count).map_err(|error| error.to_string())
    }

    #[test]
    fn a_whole_number_is_one_in_any_spelling() {
        for (literal, number) in [
            ("5", 5),
            ("5.0", 5),
            ("5e0", 5),
            ("5E+0", 5),
            ("50e-1", 5),
            ("0.5e1", 5),
            ("51782.000", 51_782),
            ("4294967295.0", u32::MAX),
            ("0", 0),
            ("-0", 0),
            ("0.0e99999999999999999999", 0),
            ("-0.0", 0),
        ] {
            assert_eq!(count(literal), Ok(Some(number)), "{literal}");
        }
        assert_eq!((count("null"), serde_json::from_str::<Sample>("{}").expect("reads").count), (Ok(None), None));
        let offset =
            |literal: &str| serde_json::from_str::<Sample>(&format!("{{\"offset\":{literal}}}")).map(|it| it.offset);
        assert_eq!(offset("-12.50e2").expect("reads"), -1_250);
        assert_eq!(offset("9007199254740993.0").expect("reads"), 9_007_199_254_740_993, "beyond the doubles");
    }

    #[test]
    fn a_whole_number_is_one_however_large() {
        for literal in ["0", "-5.0", "1e400", "-12.50e2", &"9".repeat(400), "0.5e99999999999999999999"] {
            assert!(is_whole(literal), "{literal}");
        }
        for literal in ["", "-", "5.", ".5", "5.5", "1e", "+5", "0x5", "5e-1", "five", " 5"] {
            assert!(!is_whole(literal), "{literal}");
        }
    }

    #[test]
    fn what_is_none_is_refused_with_what_it_must_be() {
        for (literal, said) in [
            ("5.5", "invalid type: floating point `0.5`, expected a whole number, not negative"),
            ("5.00000000000000000001", "invalid type: floating point"),
            ("5e-1", "invalid type: floating point"),
            ("1e-99999999999999999999", "invalid type: floating point"),
            ("-1", "invalid value: integer `-1`, expected a whole number, not negative"),
            ("4294967296", "invalid value: integer"),
            ("1e400", "invalid value: integer"),
            ("1e99999999999999999999", "invalid value: integer"),
            ("\"5\"", "invalid type: string"),
            ("true", "invalid type: boolean"),
            ("[5]", "invalid type: sequence"),
            ("{\"a\":5}", "invalid type: map"),
        ] {
            let error = count(literal).expect_err(literal);
            assert!(error.contains(said), "{literal}: {error}");
        }
    }

    #[test]
    fn other_formats_have_numbers_of_their_own() {
        for (value, number) in [(serde_json::json!(5), Some(5)), (Value::Null, None)] {
            let sample = Sample::deserialize(serde_json::json!({"count": value, "offset": 0})).expect("reads");
            assert_eq!(sample.count, number);
        }
    }

    proptest! {
        #[test]
        fn every_spelling_of_a_number_is_that_number(number in any::<i64>(), zeros in 0_usize..4, shift in 0_u32..4) {
            let digits = number.unsigned_abs().to_string();
            let sign = if number < 0 { "-" } else { "" };
            let spelled = [
                format!("{sign}{digits}.{}", "0".repeat(zeros + 1)),
                format!("{sign}{digits}{}e-{shift}", "0".repeat(shift as usize)),
                format!("{sign}0.{digits}E{}", digits.len()),
                format!("{sign}{digits}e+0"),
            ];
            for literal in spelled {
                prop_assert_eq!(whole_literal(&literal), Some(number.into()), "{}", literal);
            }
            prop_assert_eq!(whole_literal(&format!("{sign}{digits}.{}1", "0".repeat(zeros))), None);
        }
    }
}
