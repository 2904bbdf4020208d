//! The pages of the project, and those of their tables that are made of the code.
//!
//! A table stands between the lines `<!-- made of the code: NAME -->` and `<!-- end -->`. Whoever changes a bound or a code
//! makes the tables anew with `cargo run --quiet -p sluice-tests --bin pages`; a contract holds them to the code.

use std::fs;
use std::path::{Path, PathBuf};

use sluice_core::generation::Generation;
use sluice_core::limits;
use sluice_edge::fault::FaultCode;
use sluice_edge::problem::KINDS;
use sluice_local::place;

use crate::cost::{self, prices, transitions, units};

const BEGIN: &str = "<!-- made of the code: ";
const END: &str = "<!-- end -->";

/// The table of this name, its lines.
///
/// # Panics
/// When there is none.
pub fn table(name: &str) -> Vec<String> {
    match name {
        "limits" => made(
            ["bound", "value", "what it bounds"],
            limits::ALL.iter().map(|limit| [code(limit.name), (limit.value)(), unlinked(limit.meaning)]),
        ),
        "problems" => made(
            ["status", "code", "what it says"],
            KINDS.iter().map(|kind| [kind.status.to_string(), code(kind.code), kind.title.to_owned()]),
        ),
        "violations" => {
            made(["code", "what it says"], FaultCode::all().map(|one| [code(one.as_str()), one.meaning().to_owned()]))
        }
        "prices" => made(
            ["what", "USD a million", "AWS' page", "its price"],
            prices::ALL.iter().map(|price| {
                [
                    price.what.to_owned(),
                    format!("{}", price.usd_per_million),
                    price.page.to_owned(),
                    price.note.to_owned(),
                ]
            }),
        ),
        "transitions" => transitions(),
        "costs of a million runs" => costs(Generation::Second),
        "costs of a million runs, first generation" => costs(Generation::First),
        "both generations" => both_generations(),
        "write units" => write_units(Generation::Second),
        "write units, first generation" => write_units(Generation::First),
        "hot keys" => made(
            ["a run of", "hottest partition", "write units a run", "runs a second of one tenant"],
            units::workloads(Generation::Second).iter().flat_map(|workload| {
                let keys = cost::hot_keys(workload).into_iter().take(3);
                let row = |key: cost::HotKey| {
                    [
                        workload.name.clone(),
                        code(&key.partition),
                        key.units.to_string(),
                        key.runs_per_second.to_string(),
                    ]
                };
                keys.map(row).collect::<Vec<_>>()
            }),
        ),
        "savings" => savings(),
        "costs of a month" => made(
            ["what", "how many", "USD"],
            cost::of_a_month().into_iter().map(|(what, count, usd)| [what, format!("{count:.0}"), dollars(usd)]),
        ),
        _ => panic!("no table is called {name}"),
    }
}

fn dollars(usd: f64) -> String {
    format!("{usd:.2}")
}

/// A table with a column for each kind of run.
fn by_workload(first: &str, rows: &[Vec<String>]) -> Vec<String> {
    let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let mut header = vec![first.to_owned()];
    header.extend(units::workloads(Generation::Second).into_iter().map(|workload| workload.name));
    let mut lines = vec![line(&header), format!("|{}", "---|".repeat(header.len()))];
    lines.extend(rows.iter().map(|row| line(row)));
    lines
}

/// Of each kind of node, under both generations.
fn transitions() -> Vec<String> {
    let (workers, stages) = (transitions::Workers::new(), transitions::Runner::new());
    made(
        ["kind of node", "transitions", "its states", "in the first generation", "its states there"],
        transitions::KINDS.iter().map(|kind| {
            let [now, before] = [workers.way(kind), stages.way(kind)];
            [code(kind), now.len().to_string(), now.join(", "), before.len().to_string(), before.join(", ")]
        }),
    )
}

/// What changed from the first generation of the runner to the second.
fn both_generations() -> Vec<String> {
    let [before, now] = [Generation::First, Generation::Second].map(units::workloads);
    let total = |one: &units::Workload| cost::of_a_million(one).iter().map(|(_, usd)| usd).sum::<f64>();
    let calls = |one: &units::Workload| one.steps.iter().map(|step| step.calls.len()).sum::<usize>().to_string();
    let units = |one: &units::Workload| one.steps.iter().flat_map(|step| step.writes.values()).sum::<f64>().to_string();
    let row = |name: &str, of: &dyn Fn(&units::Workload) -> String| {
        let both = before.iter().zip(&now).map(|(before, now)| format!("{} instead of {}", of(now), of(before)));
        [name.to_owned()].into_iter().chain(both).collect::<Vec<_>>()
    };
    let rows = [
        row("USD for a million runs", &|one| dollars(total(one))),
        row("transitions of a run", &|one| cost::transitions_of(one).to_string()),
        row("write units of a run", &units),
        row("calls of a run to the table", &calls),
        row("invocations of advance-run", &|one| cost::advances(one).to_string()),
        row("milliseconds of advance-run", &|one| format!("{:.0}", cost::advance_seconds(one) * 1_000.0)),
        row("workers", &|one| one.workers.map_or_else(|| "none".to_owned(), |workers| workers.to_string())),
    ];
    by_workload("second generation, and first", &rows)
}

fn costs(generation: Generation) -> Vec<String> {
    let all: Vec<Vec<(String, f64)>> = units::workloads(generation).iter().map(cost::of_a_million).collect();
    let names = all.first().into_iter().flatten().map(|(name, _)| name.clone());
    let mut rows: Vec<Vec<String>> = names
        .enumerate()
        .map(|(at, name)| [name].into_iter().chain(all.iter().map(|parts| dollars(parts[at].1))).collect())
        .collect();
    let totals = all.iter().map(|parts| format!("**{}**", dollars(parts.iter().map(|(_, usd)| usd).sum())));
    rows.push(["**all**".to_owned()].into_iter().chain(totals).collect());
    by_workload("USD for a million runs", &rows)
}

fn write_units(generation: Generation) -> Vec<String> {
    let workloads = units::workloads(generation);
    let arms = ["table", "byTenant", "byDefinition", "byStatus", "open", "due", "queue"];
    let mut rows: Vec<Vec<String>> = arms
        .iter()
        .map(|arm| [code(arm)].into_iter().chain(workloads.iter().map(|one| one.writes(arm).to_string())).collect())
        .collect();
    let mut row = |name: &str, of: fn(&units::Workload) -> String| {
        rows.push([name.to_owned()].into_iter().chain(workloads.iter().map(of)).collect());
    };
    row("read units", |one| one.read_units().to_string());
    row("calls", |one| one.steps.iter().map(|step| step.calls.len()).sum::<usize>().to_string());
    row("bytes of its head", |one| one.sizes.get("HEAD").copied().unwrap_or(0).to_string());
    by_workload("units of a run", &rows)
}

fn savings() -> Vec<String> {
    let all: Vec<Vec<(&str, f64)>> = units::workloads(Generation::Second).iter().map(cost::savings).collect();
    let names = all.first().into_iter().flatten().map(|(name, _)| (*name).to_owned());
    let rows: Vec<Vec<String>> = names
        .enumerate()
        .map(|(at, name)| [name].into_iter().chain(all.iter().map(|parts| dollars(parts[at].1))).collect())
        .collect();
    by_workload("USD saved in a million runs", &rows)
}

fn made<const COLUMNS: usize>(header: [&str; COLUMNS], rows: impl Iterator<Item = [String; COLUMNS]>) -> Vec<String> {
    let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let mut lines = vec![line(&header.map(str::to_owned)), format!("|{}", "---|".repeat(COLUMNS))];
    lines.extend(rows.map(|cells| line(&cells)));
    lines
}

fn code(name: &str) -> String {
    format!("`{name}`")
}

/// A sentence of the code's documentation without the links that only that documentation can follow.
fn unlinked(meaning: &str) -> String {
    meaning.trim().replace("[`", "`").replace("`]", "`").replace('|', "\\|")
}

/// A page with its tables made anew.
///
/// # Panics
/// When a table has no end, or a name that no table has.
pub fn renewed(page: &str) -> String {
    let mut lines = Vec::new();
    let mut old = page.lines();
    while let Some(line) = old.next() {
        lines.push(line.to_owned());
        if let Some(name) = line.strip_prefix(BEGIN) {
            lines.push(String::new());
            lines.extend(table(name.trim_end_matches(" -->")));
            lines.extend([String::new(), END.to_owned()]);
            assert!(old.any(|line| line == END), "{line}: the table has no end");
        }
    }
    lines.join("\n") + "\n"
}

/// Every page of the project, by its path from the root, in order.
///
/// # Panics
/// When a folder cannot be read.
pub fn all() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    collect(Path::new(""), &mut pages);
    pages.sort();
    pages
}

fn collect(folder: &Path, pages: &mut Vec<PathBuf>) {
    let path = place::project().join(folder);
    let entries = fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let below = folder.join(&name);
        if entry.path().is_dir() {
            if !name.starts_with('.') && name != "target" {
                collect(&below, pages);
            }
        } else if name.ends_with(".md") {
            pages.push(below);
        }
    }
}
