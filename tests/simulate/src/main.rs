//! `cargo run -p simulate -- --seeds N [--from SEED]`: plays N seeds and prints how often each fault was injected.

use simulate::{FaultKind, Play, shorten, simulate};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, default: u64| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse().ok().or(Some(default))
    };
    let (seeds, from) = (option("--seeds", 1_000).unwrap_or(1_000), option("--from", 0).unwrap_or(0));
    let mut injected: BTreeMap<FaultKind, u64> = BTreeMap::new();
    let mut out = std::io::stdout().lock();
    for seed in from..from + seeds {
        let outcome = simulate(&Play::new(seed));
        if outcome.violation.is_some() {
            return report(&mut out, seed);
        }
        for (kind, times) in outcome.injected {
            *injected.entry(kind).or_default() += times;
        }
    }
    let mut survived = 0;
    for kind in FaultKind::ALL {
        let times = injected.get(kind).copied().unwrap_or(0);
        survived += usize::from(times > 0);
        let verdict = if times > 0 { "survived" } else { "NOT INJECTED" };
        let _ = writeln!(out, "{}  {:<58} {times:>10}  {verdict}", kind.code(), kind.text());
    }
    let _ = writeln!(out, "{survived} of {} faults survived", FaultKind::ALL.len());
    if survived == FaultKind::ALL.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints a failing play as short as it gets.
fn report(out: &mut impl Write, seed: u64) -> ExitCode {
    if let Some((play, outcome)) = shorten(&Play::new(seed)) {
        for line in &outcome.log {
            let _ = writeln!(out, "{line}");
        }
        if let Some(violation) = outcome.violation {
            let _ =
                writeln!(out, "seed {seed}, {} steps: {} broken: {}", play.steps, violation.invariant, violation.text);
        }
    }
    ExitCode::FAILURE
}
