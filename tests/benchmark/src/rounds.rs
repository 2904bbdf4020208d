//! All cases once in each round, with echo before and after them, and what comes of all rounds together.

use crate::case::Case;
use crate::error::{Error, Result};
use crate::measure::{Bench, Condition, Sample};
use crate::stats::{Alike, Spread, median, percentile, ratios};
use std::collections::BTreeMap;

/// Rounds of nothing but echo, before anything else is measured.
const CHECKS: usize = 5;
/// With calls that take long, so many fewer events are enough.
const FEWER: usize = 10;

/// What is measured of a case, in the order in which it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    Cold,
    Init,
    First,
    ColdCpu,
    WarmP50,
    WarmP99,
    WarmCpu,
    PeakMemory,
    DelayedFirst,
    DelayedWarmP50,
    HeldFirst,
    HeldWarmP50,
    HeldWarmP99,
}

impl Measure {
    /// What it is, and its unit.
    pub const fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::Cold => ("cold: init and first request", "ms"),
            Self::Init => ("init", "ms"),
            Self::First => ("first request", "ms"),
            Self::ColdCpu => ("cold CPU", "ms"),
            Self::WarmP50 => ("warm p50", "µs"),
            Self::WarmP99 => ("warm p99", "µs"),
            Self::WarmCpu => ("warm CPU a request", "µs"),
            Self::PeakMemory => ("peak RSS", "MB"),
            Self::DelayedFirst => ("first request, calls delayed", "ms"),
            Self::DelayedWarmP50 => ("warm p50, calls delayed", "ms"),
            Self::HeldFirst => ("first request, CPU held", "ms"),
            Self::HeldWarmP50 => ("warm p50, CPU held", "µs"),
            Self::HeldWarmP99 => ("warm p99, CPU held", "µs"),
        }
    }
}

/// How much is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub rounds: usize,
    /// Events for each process after the first.
    pub warm: usize,
    /// Processes for each figure of a cold start in a round.
    pub colds: usize,
    pub delay: Option<std::time::Duration>,
    pub share: Option<f64>,
    /// Goes on although echo is not like itself.
    pub despite_noise: bool,
}

/// A figure of one case over all rounds.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Figure {
    pub measure: Measure,
    /// To echo in the same round.
    pub ratio: Spread,
    /// Medians, in the measure's unit.
    pub value: f64,
    pub floor: f64,
}

/// Everything that was measured.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Echo beside echo, before and while the rest was measured.
    pub before: Alike,
    pub during: Alike,
    /// In the order of the cases.
    pub figures: Vec<Vec<Figure>>,
}

impl Outcome {
    /// What speaks against believing the figures.
    pub fn noise(&self) -> Vec<String> {
        let said = |when: &str, alike: &Alike| alike.noise().map(|noise| format!("{when}: {noise}"));
        [said("before", &self.before), said("while it was measured", &self.during)].into_iter().flatten().collect()
    }
}

/// Figures of one round, in the measure's unit.
type Round = BTreeMap<Measure, f64>;

/// Measures all cases. `told` hears how far it is.
///
/// # Errors
/// When echo is not like itself before anything is measured, or an answer is wrong.
pub fn measure(
    bench: &mut Bench,
    echo: &mut Case,
    cases: &mut [Case],
    plan: &Plan,
    told: &mut dyn FnMut(&str),
) -> Result<Outcome> {
    let before = check(bench, echo, plan, told)?;
    let mut floors: Vec<[Round; 2]> = Vec::new();
    let mut rounds: Vec<Vec<Round>> = vec![Vec::new(); cases.len()];
    for number in 1..=plan.rounds {
        told(&format!("round {number} of {}", plan.rounds));
        let begin = round(bench, echo, plan)?;
        for (case, rounds) in cases.iter_mut().zip(&mut rounds) {
            rounds.push(round(bench, case, plan)?);
        }
        floors.push([begin, round(bench, echo, plan)?]);
    }
    let twice = |measure| {
        let each = |at: usize| column(floors.iter().map(move |floor| &floor[at]), measure);
        ratios(&each(1), &each(0))
    };
    let during = Alike::of(&twice(Measure::WarmP50), &twice(Measure::WarmCpu));
    let floor: Vec<Round> = floors.iter().map(mean).collect();
    let figures = rounds.iter().map(|rounds| figures(rounds, &floor)).collect();
    Ok(Outcome { before, during, figures })
}

/// Echo beside echo.
fn check(bench: &mut Bench, echo: &mut Case, plan: &Plan, told: &mut dyn FnMut(&str)) -> Result<Alike> {
    told("echo beside echo");
    let (mut p50, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..CHECKS {
        let plain = Plan { delay: None, share: None, ..plan.clone() };
        let (one, other) = (round(bench, echo, &plain)?, round(bench, echo, &plain)?);
        let ratio = |measure| ratios(&column([&other].into_iter(), measure), &column([&one].into_iter(), measure));
        p50.extend(ratio(Measure::WarmP50));
        cpu.extend(ratio(Measure::WarmCpu));
    }
    let alike = Alike::of(&p50, &cpu);
    match alike.noise() {
        Some(noise) if !plan.despite_noise => Err(Error::Noisy(noise)),
        Some(_) | None => Ok(alike),
    }
}

/// All figures of a case in one round.
fn round(bench: &mut Bench, case: &mut Case, plan: &Plan) -> Result<Round> {
    let plain = Condition::default();
    let mut colds = Vec::new();
    for _ in 1..plan.colds {
        colds.push(bench.measure(case, plain, 0)?);
    }
    let warm = bench.measure(case, plain, plan.warm)?;
    colds.push(warm.clone());
    let cold = |of: &dyn Fn(&Sample) -> std::time::Duration| {
        median(&colds.iter().map(|sample| of(sample).as_secs_f64() * 1e3).collect::<Vec<_>>())
    };
    let mut round = Round::from([
        (Measure::Cold, cold(&|sample| sample.init + sample.first)),
        (Measure::Init, cold(&|sample| sample.init)),
        (Measure::First, cold(&|sample| sample.first)),
        (Measure::ColdCpu, cold(&|sample| sample.init_cpu + sample.first_cpu)),
        (Measure::WarmP50, percentile(&warm.warm, 0.5)),
        (Measure::WarmP99, percentile(&warm.warm, 0.99)),
        (Measure::WarmCpu, warm.warm_cpu.as_secs_f64() * 1e6),
        (Measure::PeakMemory, warm.memory as f64 / 1e6),
    ]);
    let few = (plan.warm / FEWER).max(1);
    if let Some(delay) = plan.delay {
        let delayed = bench.measure(case, Condition { delay, ..plain }, few)?;
        round.insert(Measure::DelayedFirst, delayed.first.as_secs_f64() * 1e3);
        round.insert(Measure::DelayedWarmP50, percentile(&delayed.warm, 0.5) / 1e3);
    }
    if plan.share.is_some() {
        let held = bench.measure(case, Condition { share: plan.share, ..plain }, few)?;
        round.insert(Measure::HeldFirst, held.first.as_secs_f64() * 1e3);
        round.insert(Measure::HeldWarmP50, percentile(&held.warm, 0.5));
        round.insert(Measure::HeldWarmP99, percentile(&held.warm, 0.99));
    }
    Ok(round)
}

fn column<'a>(rounds: impl Iterator<Item = &'a Round>, measure: Measure) -> Vec<f64> {
    rounds.map(|round| round.get(&measure).copied().unwrap_or(f64::NAN)).collect()
}

fn mean(both: &[Round; 2]) -> Round {
    let [one, other] = both;
    one.iter()
        .map(|(measure, value)| (*measure, f64::midpoint(*value, other.get(measure).copied().unwrap_or(*value))))
        .collect()
}

fn figures(rounds: &[Round], floor: &[Round]) -> Vec<Figure> {
    let measures: Vec<Measure> = rounds.first().into_iter().flat_map(|round| round.keys().copied()).collect();
    measures
        .into_iter()
        .map(|measure| {
            let (values, floor) = (column(rounds.iter(), measure), column(floor.iter(), measure));
            let ratio = Spread::of(&ratios(&values, &floor));
            Figure { measure, ratio, value: median(&values), floor: median(&floor) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_median_of_ratios_and_not_the_ratio_of_medians() {
        let round = |value| Round::from([(Measure::WarmP50, value)]);
        // The second round was twice as slow for everybody.
        let rounds: Vec<Round> = [100.0, 220.0, 90.0].map(round).into();
        let floor: Vec<Round> = [10.0, 20.0, 10.0].map(round).into();
        let [figure] = figures(&rounds, &floor)[..] else { panic!("one figure") };
        assert_eq!((figure.ratio.median, figure.value, figure.floor), (10.0, 100.0, 10.0));
    }

    #[test]
    fn the_floor_of_a_round_is_echo_before_and_after_it() {
        let both = [Round::from([(Measure::Init, 2.0)]), Round::from([(Measure::Init, 4.0)])];
        assert_eq!(mean(&both)[&Measure::Init], 3.0);
    }
}
