//! The order of numbers as they are written: exact, however long a literal is and however large its exponent. No literal is
//! written out, so that `1e999999999` costs what its letters cost.

use crate::number::exponent_of;
use std::cmp::Ordering;

/// The order of two JSON numbers by their literals: `1`, `1.0` and `10e-1` are equal, and `9007199254740993` is above
/// `9007199254740992`. `None` when one of them is no JSON number.
pub fn order(left: &str, right: &str) -> Option<Ordering> {
    let (left, right) = (Decimal::read(left)?, Decimal::read(right)?);
    Some(left.cmp(&right))
}

/// `0.digits * 10^magnitude`, where the first and the last digit are not 0. Zero has no digits.
struct Decimal {
    is_negative: bool,
    magnitude: i64,
    digits: String,
}

impl Decimal {
    fn read(literal: &str) -> Option<Self> {
        let unsigned = literal.strip_prefix('-').unwrap_or(literal);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(whole) || !is_digits(fraction) {
            return None;
        }
        let all = format!("{whole}{fraction}");
        let digits = all.trim_start_matches('0');
        let leading = i64::try_from(all.len() - digits.len()).ok()?;
        let digits = digits.trim_end_matches('0').to_owned();
        if digits.is_empty() {
            return Some(Self { is_negative: false, magnitude: 0, digits });
        }
        let magnitude = exponent.saturating_add(i64::try_from(whole.len()).ok()?).saturating_sub(leading);
        Some(Self { is_negative: unsigned.len() < literal.len(), magnitude, digits })
    }

    fn cmp(&self, other: &Self) -> Ordering {
        let size = match (self.digits.is_empty(), other.digits.is_empty()) {
            (true, true) => return Ordering::Equal,
            (true, false) => return if other.is_negative { Ordering::Greater } else { Ordering::Less },
            (false, true) => return if self.is_negative { Ordering::Less } else { Ordering::Greater },
            // Digits are compared as text: neither ends in a zero, so that the longer of two with one beginning is larger.
            (false, false) => self.magnitude.cmp(&other.magnitude).then_with(|| self.digits.cmp(&other.digits)),
        };
        match (self.is_negative, other.is_negative) {
            (false, false) => size,
            (true, true) => size.reverse(),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_ordered_by_what_they_are_and_not_by_how_they_are_written() {
        use Ordering::{Equal, Greater, Less};
        for (left, right, expected) in [
            ("1", "1.0", Equal),
            ("1", "10e-1", Equal),
            ("-0", "0.000", Equal),
            ("0e99999999999999999999", "0", Equal),
            ("100", "1E2", Equal),
            ("0.1", "0.10000000000000000000000000000001", Less),
            ("9007199254740993", "9007199254740992", Greater),
            ("0.30000000000000004", "0.3", Greater),
            ("1e400", "1e399", Greater),
            ("1e99999999999999999999", "1", Greater),
            ("1e-99999999999999999999", "0", Greater),
            ("-1e400", "1e-400", Less),
            ("-2", "-1", Less),
            ("-0.5", "0", Less),
            ("0", "-0.5", Greater),
            ("12", "2", Greater),
            ("0.012", "0.02", Less),
        ] {
            assert_eq!(order(left, right), Some(expected), "{left} {right}");
            assert_eq!(order(right, left), Some(expected.reverse()), "{right} {left}");
        }
        for literal in ["", "-", "1.", ".5", "five", "1e", "0x5", " 1"] {
            assert_eq!((order(literal, "1"), order("1", literal)), (None, None), "{literal}");
        }
    }

    proptest! {
        #[test]
        fn whole_numbers_are_ordered_as_integers(left in any::<i64>(), right in any::<i64>(), zeros in 0_usize..5) {
            let spelled = format!("{left}.{}", "0".repeat(zeros + 1));
            prop_assert_eq!(order(&spelled, &right.to_string()), Some(left.cmp(&right)));
            let shifted = format!("{right}{}e-{zeros}", "0".repeat(zeros));
            prop_assert_eq!(order(&left.to_string(), &shifted), Some(left.cmp(&right)));
        }

        #[test]
        fn no_text_panics(left in ".{0,12}", right in "-?[0-9]{0,3}\\.?[0-9]{0,3}[eE]?[+-]?[0-9]{0,22}") {
            let there = order(&left, &right);
            prop_assert_eq!(order(&right, &left), there.map(Ordering::reverse));
        }
    }
}
