//! The pages of the project, and those of their tables that are made of the code.
//!
//! A table stands between the lines `<!-- made of the code: NAME -->` and `<!-- end -->`. Whoever changes a bound or a code
//! makes the tables anew with `cargo run --quiet -p sluice-tests --bin pages`; a contract holds them to the code.

use std::fs;
use std::path::{Path, PathBuf};

use sluice_core::limits;
use sluice_edge::fault::FaultCode;
use sluice_edge::problem::KINDS;
use sluice_local::place;

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
        _ => panic!("no table is called {name}"),
    }
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
