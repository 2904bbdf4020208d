//! Figures of many: percentiles, medians, ratios, and whether the machine was quiet enough to believe them.

/// What echo may differ from itself: as far as a function's ratio may be luck.
pub const ALIKE: std::ops::RangeInclusive<f64> = 0.97..=1.03;

/// The smallest value that at least this share of all is not above (nearest rank). `NaN` of nothing.
pub fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1).min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// The middle one, or the mean of the two in the middle. `NaN` of nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.len() % 2, sorted.get(middle)) {
        (_, None) => f64::NAN,
        (0, Some(upper)) => sorted.get(middle - 1).map_or(*upper, |lower| f64::midpoint(*lower, *upper)),
        (_, Some(only)) => *only,
    }
}

/// A figure of all rounds: the median, and the range of the middle half.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Spread {
    pub median: f64,
    pub from: f64,
    pub to: f64,
}

impl Spread {
    pub fn of(values: &[f64]) -> Self {
        Self { median: median(values), from: percentile(values, 0.25), to: percentile(values, 0.75) }
    }
}

/// Each value over that of the floor in the same round.
pub fn ratios(values: &[f64], floor: &[f64]) -> Vec<f64> {
    values.iter().zip(floor).map(|(value, floor)| value / floor).collect()
}

/// Echo beside echo: the median over rounds of one over the other.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Alike {
    pub p50: Spread,
    pub cpu: Spread,
}

impl Alike {
    /// `p50` and `cpu` are the ratios of the rounds.
    pub fn of(p50: &[f64], cpu: &[f64]) -> Self {
        Self { p50: Spread::of(p50), cpu: Spread::of(cpu) }
    }

    /// What speaks against believing figures of these rounds, if anything does.
    pub fn noise(&self) -> Option<String> {
        let odd = |name: &str, spread: &Spread| {
            (!ALIKE.contains(&spread.median)).then(|| {
                format!(
                    "echo beside echo reads {:.3} in {name} (its rounds {:.3} to {:.3})",
                    spread.median, spread.from, spread.to
                )
            })
        };
        let said: Vec<String> =
            [odd("warm p50", &self.p50), odd("warm CPU", &self.cpu)].into_iter().flatten().collect();
        (!said.is_empty()).then(|| said.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_values_that_there_are() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let cases = [(0.5, 50.0), (0.99, 99.0), (0.01, 1.0), (0.0, 1.0), (1.0, 100.0), (0.505, 51.0)];
        for (share, expected) in cases {
            assert_eq!(percentile(&hundred, share), expected, "{share}");
        }
        assert_eq!(percentile(&[7.0], 0.99), 7.0);
        assert!(percentile(&[], 0.5).is_nan());
    }

    #[test]
    fn a_median_lies_in_the_middle() {
        for (values, expected) in [(&[3.0, 1.0, 2.0][..], 2.0), (&[4.0, 1.0, 3.0, 2.0], 2.5), (&[9.0], 9.0)] {
            assert_eq!(median(values), expected, "{values:?}");
        }
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_ratio_is_of_the_same_round() {
        // The machine was three times as slow in the second round: nobody sees it.
        assert_eq!(ratios(&[20.0, 60.0, 22.0], &[2.0, 6.0, 2.2]), [10.0, 10.0, 10.0]);
    }

    #[test]
    fn figures_are_believed_where_echo_is_like_itself() {
        let quiet = [0.98, 1.0, 1.01, 1.02, 0.99];
        assert_eq!(Alike::of(&quiet, &quiet).noise(), None);
        // One wild round among five says nothing.
        assert_eq!(Alike::of(&[0.99, 1.0, 1.9, 1.01, 1.0], &quiet).noise(), None);
        let slower = [1.04, 1.05, 1.0, 1.06, 1.04];
        let said = Alike::of(&slower, &quiet).noise().expect("noise");
        assert!(said.contains("1.040 in warm p50") && !said.contains("CPU"), "{said}");
        let said = Alike::of(&slower, &[0.9; 5]).noise().expect("noise");
        assert!(said.contains("p50") && said.contains("0.900 in warm CPU"), "{said}");
        // No round at all is no reason to believe anything.
        assert!(Alike::of(&[], &[]).noise().is_some());
    }
}
