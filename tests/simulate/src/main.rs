//! `cargo run --release -p simulate -- --seeds N [--from SEED] [--at-least TIMES [--minutes M]] [--workers]`: plays N seeds, and
//! more until every fault was injected that often or the time is up; prints how often each fault was injected. With `--workers`
//! all runs are of the second generation, and only the faults that strike their workers have to come that often.

use simulate::{FaultKind, NOT_SIMULATED, Play, shorten, simulate};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, default: u64| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let (seeds, from, at_least) = (option("--seeds", 1_000), option("--from", 0), option("--at-least", 0));
    let only_workers = arguments.iter().any(|argument| argument == "--workers");
    let longest = Duration::from_secs(60 * option("--minutes", 15));
    let begun = Instant::now();
    let mut injected: BTreeMap<FaultKind, u64> = BTreeMap::new();
    let mut out = std::io::stdout().lock();
    let mut seed = from;
    while seed < from + seeds || (is_short_of(&injected, at_least, only_workers) && begun.elapsed() < longest) {
        let play = Play { only_workers, ..Play::new(seed) };
        let outcome = simulate(&play);
        if outcome.violation.is_some() {
            return report(&mut out, &play);
        }
        for (kind, times) in outcome.injected {
            *injected.entry(kind).or_default() += times;
        }
        seed += 1;
    }
    let mut survived = 0;
    for kind in FaultKind::ALL {
        let times = injected.get(kind).copied().unwrap_or(0);
        survived += usize::from(times > 0);
        let verdict = if times > 0 { "survived" } else { "NOT INJECTED" };
        let _ = writeln!(out, "{}  {:<58} {times:>10}  {verdict}", kind.code(), kind.text());
    }
    for (code, text, reason) in NOT_SIMULATED {
        let _ = writeln!(out, "{code}  {text:<58} not played: {reason}");
    }
    let (plays, seconds) = (seed - from, begun.elapsed().as_secs());
    let _ = writeln!(out, "{plays} plays of {} steps in {seconds} s", Play::STEPS);
    let _ = writeln!(out, "{survived} of {} faults survived", FaultKind::ALL.len());
    if survived == FaultKind::ALL.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn is_short_of(injected: &BTreeMap<FaultKind, u64>, at_least: u64, only_workers: bool) -> bool {
    let mut wanted = FaultKind::ALL.iter().filter(|kind| !only_workers || kind.code().starts_with('T'));
    wanted.any(|kind| injected.get(kind).copied().unwrap_or(0) < at_least)
}

/// Prints a failing play as short as it gets.
fn report(out: &mut impl Write, play: &Play) -> ExitCode {
    if let Some((shortest, outcome)) = shorten(play) {
        for line in &outcome.log {
            let _ = writeln!(out, "{line}");
        }
        if let Some(violation) = outcome.violation {
            let (seed, steps) = (play.seed, shortest.steps);
            let _ = writeln!(out, "seed {seed}, {steps} steps: {} broken: {}", violation.invariant, violation.text);
        }
    }
    ExitCode::FAILURE
}
