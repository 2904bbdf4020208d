//! Money without rounding: a decimal of at most nine places in US dollars becomes a whole number of billionths.
//!
//! A price is billionths of a dollar for a million tokens, so that one token costs a whole number of femto-dollars (10^-15).
//! Costs are summed in these, and become pico- and nano-dollars only where they are shown, rounded up.

/// Femto-dollars in a pico-dollar.
const PICO: u128 = 1_000;
/// Femto-dollars in a nano-dollar.
const NANO: u128 = 1_000_000;
/// Femto-dollars in a dollar.
const DOLLAR: u128 = 1_000_000_000_000_000;

/// A decimal like `1.375` in billionths. `None` where it is none, negative, finer than a billionth, or beyond 10^9.
pub fn billionths(literal: &str) -> Option<u64> {
    let (whole, fraction) = literal.split_once('.').unwrap_or((literal, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 9 || fraction.len() > 9 || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    if literal.ends_with('.') {
        return None;
    }
    format!("{whole}{fraction:0<9}").parse().ok()
}

/// An exact amount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FemtoUsd(pub u128);

impl FemtoUsd {
    /// What so many tokens cost, at a price of billionths of a dollar for a million of them.
    pub fn of_tokens(billionths_per_million: u64, tokens: u64) -> Self {
        Self(u128::from(billionths_per_million) * u128::from(tokens))
    }

    /// What so many pieces cost, at a price of billionths of a dollar for each.
    pub fn of_pieces(billionths: u64, pieces: u64) -> Self {
        Self(u128::from(billionths) * u128::from(pieces) * NANO)
    }

    /// Whole pico-dollars, rounded up.
    pub const fn pico(self) -> u128 {
        self.0.div_ceil(PICO)
    }

    /// Whole nano-dollars, rounded up: what the governor's books hold of a call.
    pub const fn nano(self) -> u128 {
        self.0.div_ceil(NANO)
    }

    /// In dollars, to the last place.
    pub fn dollars(self) -> String {
        format!("{}.{:015}", self.0 / DOLLAR, self.0 % DOLLAR)
    }
}

impl std::iter::Sum for FemtoUsd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        Self(amounts.map(|amount| amount.0).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_exactly_or_not_at_all() {
        for (literal, read) in [
            ("0", Some(0)),
            ("1", Some(1_000_000_000)),
            ("1.375", Some(1_375_000_000)),
            ("0.000000001", Some(1)),
            ("0.0000000001", None),
            ("999999999.999999999", Some(999_999_999_999_999_999)),
            ("1000000000", None),
            ("-1", None),
            ("1.", None),
            (".5", None),
            ("1e3", None),
            ("", None),
        ] {
            assert_eq!(billionths(literal), read, "{literal}");
        }
    }

    #[test]
    fn a_cost_is_exact_and_rounded_up_only_where_it_is_shown() {
        let cost = FemtoUsd::of_tokens(1_375_000_001, 3);
        assert_eq!((cost.0, cost.pico(), cost.nano()), (4_125_000_003, 4_125_001, 4_126));
        assert_eq!(cost.dollars(), "0.000004125000003");
        assert_eq!(FemtoUsd::of_pieces(150_000, 2).dollars(), "0.000300000000000");
    }
}
