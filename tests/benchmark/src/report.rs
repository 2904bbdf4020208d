//! What was measured, for people and for programs.

use crate::backend::Heard;
use crate::calls::{named, round_trips};
use crate::case::Case;
use crate::rounds::{Figure, Measure, Outcome, Plan};
use crate::size::Size;
use serde_json::{Value, json};
use std::fmt::Write;

/// What is told of the machine and of the plan.
#[derive(Clone, Debug)]
pub struct Setting<'a> {
    pub plan: &'a Plan,
    pub cpu: usize,
    pub system_roots: usize,
    /// How processes were held to their share.
    pub way: &'static str,
}

/// One row of the table.
struct Row {
    measure: String,
    ratio: String,
    rounds: String,
    here: String,
    echo: String,
}

/// The table, and what it needs to be understood.
pub fn markdown(setting: &Setting<'_>, echo: &Case, cases: &[Case], outcome: &Outcome) -> String {
    let mut text = head(setting, outcome);
    text.push_str("| function | measure | ratio to echo | middle half of rounds | here | echo |\n");
    text.push_str("|---|---|---|---|---|---|\n");
    for (case, figures) in cases.iter().zip(&outcome.figures) {
        for Row { measure, ratio, rounds, here, echo } in rows(setting, echo, case, figures) {
            let _infallible = writeln!(text, "| {} | {measure} | {ratio} | {rounds} | {here} | {echo} |", case.name);
        }
    }
    text
}

fn head(setting: &Setting<'_>, outcome: &Outcome) -> String {
    let Setting { plan, cpu, system_roots, way } = setting;
    let mut text = format!(
        "{} rounds, {} warm requests, {} cold starts in each; everything on CPU {cpu}; {system_roots} system roots and ours.\n",
        plan.rounds, plan.warm, plan.colds
    );
    for (when, alike) in [("Before", &outcome.before), ("During", &outcome.during)] {
        let (p50, cpu) = (alike.p50.median, alike.cpu.median);
        let _infallible = writeln!(text, "{when}: echo beside echo {p50:.3} in p50, {cpu:.3} in CPU.");
    }
    for noise in outcome.noise() {
        let _infallible = writeln!(text, "**NOISY, not to be quoted** ({noise})");
    }
    if let Some(delay) = plan.delay {
        let _infallible = writeln!(text, "Delayed: each call is answered {} ms later.", delay.as_millis());
    }
    if let Some(share) = plan.share {
        let _infallible = writeln!(text, "Held: {share} of a CPU after init, {way}.");
    }
    text.push('\n');
    text
}

fn rows(setting: &Setting<'_>, echo: &Case, case: &Case, figures: &[Figure]) -> Vec<Row> {
    let mut rows: Vec<Row> = figures.iter().map(|figure| row(setting.plan, figure)).collect();
    if let (Some(size), Some(floor)) = (case.size, echo.size) {
        match (size.zipped, floor.zipped) {
            (Some(zipped), Some(floor_zipped)) => {
                rows.push(weight("stripped size", size.file, floor.file));
                rows.push(weight("zipped size", zipped, floor_zipped));
            }
            (None, _) | (_, None) => rows.push(weight("size, with symbols", size.file, floor.file)),
        }
    }
    if let Some(played) = &case.played {
        let [init, first, _] = played;
        rows.push(Row {
            measure: "connections, new process".to_owned(),
            ratio: (init.connections + first.connections).to_string(),
            rounds: String::new(),
            here: format!("{} in init, {} in the first request", init.connections, first.connections),
            echo: String::new(),
        });
        for (measure, heard) in PLAYED.iter().zip(played) {
            let trips = round_trips(&heard.calls);
            if trips.is_empty() && *measure == PLAYED[0] {
                continue;
            }
            rows.push(Row {
                measure: (*measure).to_owned(),
                ratio: trips.len().to_string(),
                rounds: String::new(),
                here: named(&trips),
                echo: String::new(),
            });
        }
    }
    rows
}

const PLAYED: [&str; 3] = ["round trips of init", "round trips, new process", "round trips, warm"];

fn weight(measure: &str, size: u64, floor: u64) -> Row {
    let (size, floor) = (size as f64, floor as f64);
    Row {
        measure: measure.to_owned(),
        ratio: digits(size / floor),
        rounds: String::new(),
        here: format!("{} MB", digits(size / 1e6)),
        echo: format!("{} MB", digits(floor / 1e6)),
    }
}

fn row(plan: &Plan, figure: &Figure) -> Row {
    let Figure { measure, ratio, value, floor } = figure;
    let (name, unit) = measure.text();
    let delay = plan.delay.unwrap_or_default().as_millis();
    let share = plan.share.unwrap_or(1.0);
    let name = match measure {
        Measure::DelayedFirst | Measure::DelayedWarmP50 => format!("{name} {delay} ms"),
        Measure::HeldFirst | Measure::HeldWarmP50 | Measure::HeldWarmP99 => format!("{name} to {share}"),
        Measure::Cold
        | Measure::Init
        | Measure::First
        | Measure::ColdCpu
        | Measure::WarmP50
        | Measure::WarmP99
        | Measure::WarmCpu
        | Measure::PeakMemory => name.to_owned(),
    };
    Row {
        measure: name,
        ratio: digits(ratio.median),
        rounds: format!("{} to {}", digits(ratio.from), digits(ratio.to)),
        here: format!("{} {unit}", digits(*value)),
        echo: format!("{} {unit}", digits(*floor)),
    }
}

/// As many digits as mean something.
fn digits(number: f64) -> String {
    match number {
        small if small < 10.0 => format!("{small:.2}"),
        middle if middle < 100.0 => format!("{middle:.1}"),
        large => format!("{large:.0}"),
    }
}

/// The same for programs.
pub fn json(setting: &Setting<'_>, echo: &Case, cases: &[Case], outcome: &Outcome) -> Value {
    let Setting { plan, cpu, system_roots, way } = setting;
    let told: Vec<Value> = cases
        .iter()
        .zip(&outcome.figures)
        .map(|(case, figures)| {
            let figures: Vec<Value> = figures.iter().map(figure).collect();
            let played = case.played.as_ref().map(
                |[init, first, warm]| json!({"init": heard(init), "newProcess": heard(first), "warm": heard(warm)}),
            );
            json!({"name": case.name, "figures": figures, "size": size(case.size), "roundTrips": played})
        })
        .collect();
    json!({
        "plan": {
            "rounds": plan.rounds, "warm": plan.warm, "colds": plan.colds, "cpu": cpu, "systemRoots": system_roots,
            "delayMs": plan.delay.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
            "share": plan.share, "held": plan.share.map(|_| way),
        },
        "echo": {"size": size(echo.size), "besideEcho": {"before": outcome.before, "during": outcome.during}},
        "noise": outcome.noise(),
        "cases": told,
    })
}

fn figure(figure: &Figure) -> Value {
    let (_, unit) = figure.measure.text();
    json!({
        "measure": figure.measure, "unit": unit, "ratio": figure.ratio, "value": figure.value, "echo": figure.floor,
    })
}

fn size(size: Option<Size>) -> Option<Value> {
    size.map(|size| json!({"bytes": size.file, "zippedBytes": size.zipped}))
}

fn heard(heard: &Heard) -> Value {
    let trips = round_trips(&heard.calls);
    json!({"count": trips.len(), "calls": trips, "newConnections": heard.connections})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_exact_as_they_are() {
        let cases = [(0.031, "0.03"), (1.7, "1.70"), (14.23, "14.2"), (1_234.5, "1234"), (f64::NAN, "NaN")];
        for (number, text) in cases {
            assert_eq!(digits(number), text);
        }
    }
}
